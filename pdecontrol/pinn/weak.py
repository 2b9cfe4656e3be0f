"""Random hidden layers whose outer weights solve the optimality system in weak form, by Galerkin's method."""

from __future__ import annotations

import numpy as np

from ..errors import ConvergenceError, ProblemError
from ..optimise import RunOptions, minimise
from ..problem import ControlProblem
from ..result import History, Status
from .ansatz import Ansatz
from .cubature import can_fit, mesh_of
from .features import random_features
from .galerkin import GalerkinMap
from .method import NetworkMethod
from .network import Shallow
from .outcome import Outcome
from .trial import Trial, projected

SCALES = (1.0, 1.5, 2.0, 3.0, 4.5)  # among which that of the features is chosen
STEEPER = 1.5  # features are, of which there are twice as many
FEATURES, MOST, PROBE = 400, 1600, 150  # at first, at most, and for the choice of their scale
ENOUGH = 2e-3  # of the energy, that the second half of the features adds
CELL, TURN = 1 / 8, 1.2  # size of the cells of quadrature in diameters, and turn of an interface in one
GAUSS = 6  # points in each direction of cells, at first


def by_galerkin(
    problem: ControlProblem, pair: tuple[Ansatz, Ansatz], method: NetworkMethod, tol: float, options: RunOptions
) -> Outcome:
    """State and adjoint state in the span of as many random features as their energy asks for."""
    state, adjoint = pair
    if state.domain.span is not None or not can_fit(state.domain):
        raise ProblemError("training='galerkin' is for steady equations, and interfaces that meshes of gmsh fit.")
    scale = method.scale or _best_scale(problem, state, method)
    count = method.features or FEATURES
    while True:
        map = _map(problem, state, count, scale, method)
        missing = map.missing(count // 2)
        if method.features is not None or count >= MOST or missing <= ENOUGH:
            break
        count, scale = 2 * count, scale if method.scale else STEEPER * scale
    result = minimise(problem, map, tol=tol, **options)
    y = Trial(state, Shallow(map.layer, map.basis @ result.state.array))
    p = Trial(adjoint, Shallow(map.layer, map.basis @ result.adjoint.array * (state.size / adjoint.size)))
    norm, bound = max(result.certificate.norm, 1e-300), result.certificate.bound
    known = "unknown" if bound is None else f"{bound / norm:.1e}"
    history = History()
    for row in result.history:
        history.append(row._replace(estimate=row.estimate / norm, bound=np.nan))
    return Outcome(
        y, p, projected(problem, p),
        f"relative to the control, the distance to the optimum among the trial functions is {known}, and half of the "
        f"features have all but {missing:.1e} of the energy of an adjoint state",
        Status.SOLVED if result.status is Status.CONVERGED else result.status,
        f"hard constraints, Galerkin's method ({map.basis.shape[1]} of {count} random features of scale {scale:g}, "
        f"{map.points} points of quadrature; {result.method.split(' (')[0]}",
        history, result.solves, result.fingerprint,
    )  # fmt: skip


def _map(problem: ControlProblem, state: Ansatz, count: int, scale: float, method: NetworkMethod) -> GalerkinMap:
    layer = random_features(state, count, scale, np.random.default_rng(method.seed))
    mesh = mesh_of(state.domain, CELL * state.domain.diameter, TURN)
    return GalerkinMap(problem, state, layer, mesh, method.points or GAUSS)


def _best_scale(problem: ControlProblem, state: Ansatz, method: NetworkMethod) -> float:
    """The scale with which few features capture the most energy of the adjoint state of a misfit of one."""
    energies, scales = [], []
    for scale in SCALES:
        try:
            map = _map(problem, state, min(PROBE, method.features or PROBE), scale, method)
        except ConvergenceError:  # too steep for its quadrature, as steeper ones are
            break
        scales.append(scale)
        energies.append(map.energy_of_adjoint)
    if not energies:
        raise ConvergenceError("no scale of the features has a quadrature that two rules agree upon: give points=12.")
    return scales[int(np.argmax(energies))]
