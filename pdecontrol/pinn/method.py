"""Problems on rectangles without a mesh: boundary values and jumps are exact, the weights of networks are sought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from time import perf_counter
from typing import Any, Unpack

import numpy as np

from ..certificate import Certificate
from ..counter import Counter
from ..errors import ConvergenceError, ProblemError
from ..mesh.mesh import Mesh
from ..optimise import RunOptions, check_problem, minimise
from ..problem import ControlProblem, Dirichlet, Parabolic, Tikhonov, check_number
from ..result import History, Result, Row, Status
from ..solvers.checkpoint import as_checkpoint
from .ansatz import Ansatz, hard
from .checks import checked_domain
from .collocation import Collocation
from .cubature import can_fit, mesh_of, objective
from .domain import Domain
from .features import random_features
from .galerkin import GalerkinMap
from .lifting import Lifting
from .network import Shallow
from .projection import projection
from .sampling import draw
from .shown import fields
from .system import System
from .training import Task, Trained, Training
from .trial import Projected, Trial

SCALES = (1.0, 1.5, 2.0, 3.0, 4.5)  # among which that of the features is chosen
PROBE = 150  # features for the choice
SHOWN = 60  # cells along the diameter, of figures and files
REFUSED = 0.05  # residual at points held out, relative to the data, beyond which there is no answer
TURN = 1.2  # of an interface in a cell of quadrature
ENOUGH = 2e-3  # of the energy, that the second half of the features adds


@dataclass(frozen=True)
class HardConstraint:
    """State and adjoint state g + h N(x, phi(x)) with networks N: boundary values, jumps and bounds hold exactly.

    h vanishes on the boundary, g has the data there and the jumps, phi has a kink at each interface; so conditions hold
    whatever the weights of N are. The control is the projection of the adjoint state, and feasible everywhere.

    Parameters
    ----------
    training : how the weights are found. "galerkin": a random hidden layer, whose outer weights solve the weak form;
        the jump of the flux is natural there, and the quadrature is verified. "collocation": a random hidden layer,
        with outer weights by least squares in the strong form. "auto": Galerkin's method for steady equations with
        interfaces that meshes of gmsh fit (for quadrature alone), else collocation. Or a `Training` of all weights.
    features : how many neurons a random hidden layer has, for state and adjoint state each. By default 400 and more
        until they suffice in Galerkin's method, and 400 for each part of the domain, 1200 in time, in collocation.
    scale : of their slopes, relative to half of the sides of the domain; chosen among six where it is None.
    points : of collocation in the interior, ten for each feature by default; or Gauss points in each direction of the
        cells of Galerkin's quadrature at first, which grow until a finer rule agrees.
    near : places (x, y) where functions are not smooth: points and features of collocation are clustered there.
    seed : of random numbers.

    Notes
    -----
    M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, The hard-constraint PINNs for interface optimal control problems, SIAM
    J. Sci. Comput. 47 (2025), Algorithm 2, have the ansatz, and train all weights.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.interface_reference.circle().problem
    >>> method = HardConstraint(training="collocation", features=50, scale=2.0)
    >>> result = pc.solve(problem, [(-1, 1), (-1, 1)], method=method)
    >>> result.success
    True
    """

    training: str | Training = "auto"
    features: int | None = None
    scale: float | None = None
    points: int | None = None
    near: Sequence[Sequence[float]] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        known = ("auto", "galerkin", "collocation")
        if not isinstance(self.training, Training) and self.training not in known:
            raise ProblemError(f"HardConstraint: training is one of {known} or a Training, got {self.training!r}.")
        for name, least in (("features", 2), ("points", 2), ("seed", 0)):
            value: Any = getattr(self, name)
            integer = isinstance(value, Integral) and not isinstance(value, bool)
            if (value is not None or name == "seed") and not (integer and value >= least):
                raise ProblemError(f"HardConstraint: {name} is an integer, {least} or more, got {value!r}.")
        if self.scale is not None:
            check_number(self.scale, "HardConstraint: scale", positive=True)


def solve_by_networks(
    problem: ControlProblem, domain: Any, method: HardConstraint, tol: float, **options: Unpack[RunOptions]
) -> Result:
    """A problem on a rectangle, by its sides or a mesh of it."""
    begin = perf_counter()
    check_problem(problem, "problem, domain")
    box = [(row.min(), row.max()) for row in domain.points] if isinstance(domain, Mesh) else domain
    where = checked_domain(problem, box)
    alpha = (problem.term(Tikhonov) or Tikhonov(0.0)).alpha
    fixed = {tag: item for tag, item in problem.boundary.items() if isinstance(item, Dirichlet)}
    jumps = {tag: item.value for tag, item in where.interface.items()}
    initial = problem.equation.initial if isinstance(problem.equation, Parabolic) else None
    state, adjoint = hard(where, Lifting(where, fixed, jumps, initial), alpha or 1.0)
    shown = domain if isinstance(domain, Mesh) else mesh_of(where, where.diameter / SHOWN)
    training, why = _chosen(problem, where, method)
    if training == "galerkin":
        result = _by_galerkin(problem, state, adjoint, method, tol, shown, options)
    else:
        result = _by_training(problem, state, adjoint, method, training, tol, shown, options)
    return replace(result, method=f"{result.method}{why})", seconds=perf_counter() - begin)


def _chosen(problem: ControlProblem, domain: Domain, method: HardConstraint) -> tuple[str | Training, str]:
    """How weights are found, and why."""
    if method.training != "auto":
        return method.training, ""
    if domain.span is None and can_fit(domain):
        return "galerkin", "; as the equation is steady, with a quadrature that can be verified"
    why = "in time" if domain.span is not None else "without gmsh"
    return "collocation", f"; as there is no verified quadrature {why}"


# -- Galerkin's method ------------------------------------------------------------------------------------------------


def _by_galerkin(
    problem: ControlProblem, state: Ansatz, adjoint: Ansatz, method: HardConstraint, tol: float, shown: Mesh,
    options: RunOptions,
) -> Result:  # fmt: skip
    if state.domain.span is not None or not can_fit(state.domain):
        raise ProblemError("training='galerkin' is for steady equations, and interfaces that meshes of gmsh fit.")
    scale = method.scale or _best_scale(problem, state, method)
    count = method.features or 400
    while True:
        map = _map(problem, state, count, scale, method)
        if method.features is not None or count >= 1600 or map.missing(count // 2) <= ENOUGH:
            break
        count, scale = 2 * count, scale if method.scale else 1.5 * scale
    result = minimise(problem, map, tol=tol, **options)
    layer = map.layer
    networks = [Shallow(layer, map.basis @ field.array) for field in (result.state, result.adjoint)]
    note = (
        f"hard constraints, Galerkin's method ({map.basis.shape[1]} of {count} random features of scale {scale:g}, "
        f"{map.points} points of quadrature; {result.method.split(' (')[0]}"
    )
    size = state.size / adjoint.size
    pair = Trial(state, networks[0]), Trial(adjoint, Shallow(layer, size * networks[1].outer))
    norm, value = result.certificate.norm, result.certificate.objective
    distance = np.inf if result.certificate.bound is None else result.certificate.bound / max(norm, 1e-300)
    assumption = (
        "nothing: no bound is known; relative to the control, the distance to the optimum among the trial functions is "
        f"{distance:.1e}, and half of them have all but {map.missing(count // 2):.1e} of the energy of the others"
    )
    history = History()
    for row in result.history:
        history.append(row._replace(estimate=row.estimate / max(norm, 1e-300), bound=np.nan))
    status = Status.SOLVED if result.status is Status.CONVERGED else result.status
    certificate = Certificate(None, norm, None, value, assumption)
    result = replace(result, method=note, certificate=certificate, status=status, history=history)
    return replace(result, **_fields(problem, *pair, shown))


def _map(problem: ControlProblem, state: Ansatz, count: int, scale: float, method: HardConstraint) -> GalerkinMap:
    layer = random_features(state, count, scale, np.random.default_rng(method.seed))
    mesh = mesh_of(state.domain, state.domain.diameter / 8, TURN)
    return GalerkinMap(problem, state, layer, mesh, method.points or 6)


def _best_scale(problem: ControlProblem, state: Ansatz, method: HardConstraint) -> float:
    """The scale with which few features capture the most energy of the adjoint state of a misfit of one."""
    energies, scales = [], []
    for scale in SCALES:
        try:
            map = _map(problem, state, min(PROBE, method.features or PROBE), scale, method)
        except ConvergenceError:  # too steep for its quadrature
            break
        scales.append(scale)
        energies.append(map.energy_of_adjoint)
    if not energies:
        raise ConvergenceError("no scale of the features has a quadrature that two rules agree upon: give points=12.")
    return scales[int(np.argmax(energies))]


# -- trainings --------------------------------------------------------------------------------------------------------


def _by_training(
    problem: ControlProblem, state: Ansatz, adjoint: Ansatz, method: HardConstraint, training: str | Training,
    tol: float, shown: Mesh, options: RunOptions,
) -> Result:  # fmt: skip
    own: dict[str, Any] = dict(options)
    progress = own.pop("progress", None)
    names = ("seconds", "iterations")
    said = {name: own.pop(f"checkpoint_{name}", None) for name in names} | {"restart": own.pop("restart", False)}
    checkpoint = as_checkpoint(own.pop("checkpoint", None), **said)
    if own:
        raise ProblemError(f"method='pinn': {next(iter(own))} is no option of trainings, but of Galerkin's method.")
    domain, generator = state.domain, np.random.default_rng(method.seed)
    count = method.features or (1200 if domain.span is not None else 400 * max(len(domain.tags), 1))
    if not isinstance(training, Training):
        scale = method.scale or _best_scale_of_collocation(problem, state, adjoint, method)
        training = Collocation(count, scale, method.near)
    points = method.points or (10 * count if isinstance(training, Collocation) else 2000)
    system, held_out = (
        System(problem, state, adjoint, draw(domain, n, max(n // 8, 1), 0, generator, method.near))
        for n in (points, max(points // 4, 200))
    )
    trained = training.train(Task(system, held_out, method.seed, progress, checkpoint))
    residual = min(step.held_out for step in trained.steps)
    if not residual < REFUSED:
        raise ConvergenceError(
            f"the optimality system has a residual of {residual:.1e} at points held out, relative to the data: this is "
            "no answer. In strong form curves that turn sharply and steep functions are out of reach: take "
            "training='galerkin', or finite elements."
        )
    pair = Trial(state, trained.state), Trial(adjoint, trained.adjoint)
    return _result(problem, trained, pair, shown, tol, residual)


def _best_scale_of_collocation(
    problem: ControlProblem, state: Ansatz, adjoint: Ansatz, method: HardConstraint
) -> float:
    """The scale with which few features leave the smallest residual at points held out."""
    generator = np.random.default_rng(method.seed)
    count = 2 * PROBE if state.domain.span is None else 3 * PROBE
    system, held_out = (
        System(problem, state, adjoint, draw(state.domain, n, n // 8, 0, generator, method.near))
        for n in (8 * count, 4 * count)
    )
    residuals = [
        Collocation(count, scale, method.near).train(Task(system, held_out, method.seed)).steps[-1].held_out
        for scale in SCALES
    ]
    return SCALES[int(np.argmin(residuals))]


def _result(
    problem: ControlProblem, trained: Trained, pair: tuple[Trial, Trial], shown: Mesh, tol: float, residual: float
) -> Result:
    found = _fields(problem, *pair, shown)
    control: Any = found["control"].function
    value, norm = objective(problem, pair[0], control)
    history = History()
    for step in trained.steps:
        history.append(Row(step.iteration, np.nan, step.held_out, np.nan, step.iteration, step.seconds))
    assumption = (
        f"nothing: no bound is known, the residual of the optimality system is {residual:.1e} of the data at points "
        "held out"
    )
    return Result(
        **found,
        certificate=Certificate(None, norm, None, value, assumption),
        status=trained.status,
        method=f"hard constraints, {trained.note}",
        history=history,
        solves=Counter().snapshot(),
        seconds=0.0,
        tol=tol,
        fingerprint="networks",
    )


def _fields(problem: ControlProblem, state: Trial, adjoint: Trial, shown: Mesh) -> dict[str, Any]:
    domain = state.ansatz.domain
    return fields(
        problem, state, adjoint, Projected(adjoint, lambda places: projection(problem, domain, places)), shown
    )
