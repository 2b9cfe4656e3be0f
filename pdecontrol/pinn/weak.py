"""Random hidden layers whose outer weights solve the optimality system in weak form, by Galerkin's method."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import ConvergenceError, ProblemError
from ..optimise import RunOptions, minimise
from ..problem import ControlProblem, Tikhonov
from ..result import History, Result, Status
from .features import random_features
from .functions.ansatz import Ansatz
from .functions.cubature import can_fit, mesh_of
from .functions.trial import Trial, projected
from .galerkin import GalerkinMap
from .method import NetworkMethod
from .networks.network import Shallow
from .outcome import Outcome
from .reporter import Reporter

SCALE, STEEPER = 2.0, 1.5  # of the first features, and by how much those are steeper of which there are twice as many
FEATURES, MOST = 400, 1600  # at first, and at most
ENOUGH, REFUSED = 5e-3, 0.1  # what half of the features may change, and what is no answer
CELL, TURN = 1 / 8, 1.2  # size of the cells of quadrature in diameters, and turn of an interface in one
GAUSS = 6  # points in each direction of cells, at first


class Span(NamedTuple):
    """The optimum in the span of so many features, and by how much it changes with half of them."""

    map: GalerkinMap
    result: Result
    features: int
    scale: float
    change: float


def by_galerkin(
    problem: ControlProblem, pair: tuple[Ansatz, Ansatz], method: NetworkMethod, tol: float, options: RunOptions
) -> Outcome:
    """State and adjoint state in the span of as many random features as half of them nearly suffice for."""
    state, adjoint = pair
    if state.domain.span is not None or not can_fit(state.domain):
        raise ProblemError("training='galerkin' is for steady equations, and interfaces that meshes of gmsh fit.")
    if method.features is None and options.get("checkpoint") is not None:
        raise ProblemError(
            "a checkpoint of Galerkin's method is for a number of features: HardConstraint(features=..)."
        )
    map, result, count, scale, change = _solved(problem, state, method, tol, options)
    if result.status is Status.CONVERGED and not change < REFUSED:
        raise ConvergenceError(
            f"by half of the features y or p differ by {change:.1e} in L2: this is no answer, take more of them."
        )
    y = Trial(state, Shallow(map.layer, map.basis @ result.state.array))
    p = Trial(adjoint, Shallow(map.layer, map.basis @ result.adjoint.array * (state.size / adjoint.size)))
    norm, last = max(result.certificate.norm, 1e-300), result.history.last
    unit = norm if any(isinstance(term, Tikhonov) for term in problem.terms) else 1.0  # gaps are relative already
    known = "unknown" if last is None else f"{last.estimate / unit:.1e}"
    history = History()
    for row in result.history:
        history.append(row._replace(estimate=row.estimate / unit, bound=np.nan))
    return Outcome(
        y, p, projected(problem, p),
        f"by half of the features y and p differ by {change:.1e} in L2, relative to them; among the trial functions "
        f"the control is within about {known} of the optimum",
        Status.SOLVED if result.status is Status.CONVERGED else result.status,
        f"hard constraints, Galerkin's method ({map.basis.shape[1]} of {count} random features of scale {scale:g}, "
        f"{map.points} points of quadrature; {result.method.split(' (')[0]}",
        history, result.solves, result.fingerprint,
    )  # fmt: skip


def _solved(
    problem: ControlProblem, state: Ansatz, method: NetworkMethod, tol: float, options: RunOptions
) -> Span:  # fmt: skip
    """The optimum among trial functions: of twice as many until half suffices, or no quadrature is found for more."""
    scale, count, gauss = method.scale or SCALE, method.features or FEATURES, method.points or GAUSS
    mesh = mesh_of(state.domain, CELL * state.domain.diameter, TURN)
    report, found = Reporter(options.get("progress")), None
    while True:
        layer = random_features(state, count, scale, np.random.default_rng(method.seed))
        report(f"{count} features of scale {scale:g}")
        try:
            map = GalerkinMap(problem, state, layer, mesh, gauss, report)
        except ConvergenceError:
            if found is None:
                raise
            return found
        result = minimise(problem, map, tol=tol, **(options | {"progress": False}))
        change = map.change(count // 2, result.state.array, result.adjoint.array)
        report(f"the optimum among them; half of them change it by {change:.1e}")
        found = Span(map, result, count, scale, change)
        ended = result.status is not Status.CONVERGED
        if ended or method.features is not None or count >= MOST or change <= ENOUGH:
            return found
        count, gauss, scale = 2 * count, map.count, scale if method.scale else STEEPER * scale
