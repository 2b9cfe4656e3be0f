"""From a problem and a mesh to a certified result: engine, method and start are chosen here and nothing else is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Union

import numpy as np

from .certificate import Certificate, judge
from .errors import DataError, MeshError, ProblemError
from .fem.elliptic import EllipticMap
from .fem.meshes import Mesh
from .maps import SolutionMap, map_norm
from .problem import L1, ControlProblem, Distributed, Tikhonov
from .result import Result, Row
from .solvers import FISTA, METHODS, PrimalDual, SemismoothNewton, loop
from .space import Array, Data, Field
from .terms import Objective, as_control, bind

StartData = Union[None, Data, Field, Result]
BACKENDS = ("auto", "skfem")


def discretise(
    problem: ControlProblem,
    mesh: Mesh,
    backend: str = "auto",
    degree: int = 1,
    linear_solver: str = "auto",
) -> SolutionMap:
    """The exact map u -> y = S(u) of a problem on a mesh.

    Parameters
    ----------
    problem, mesh : what to discretise.
    backend : the finite-element engine, "skfem" (also "auto").
    degree : of the state, 1 or 2; controls are P1 with lumped mass, or P0.
    linear_solver : "direct", "amg" (CG with pyamg), or "auto": multigrid for large symmetric 3D problems.

    Raises
    ------
    ProblemError, DataError, MeshError, SingularEquationError
        Before any long work, for what cannot be solved.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(),
    ...     boundary={"boundary": pc.Dirichlet()},
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(1.0),
    ...     terms=[pc.Tikhonov(1e-2)],
    ... )
    >>> map = pc.discretise(problem, pc.unit_square(8))
    >>> map.solve(map.control.zeros()).max()
    0.0
    """
    if not isinstance(problem, ControlProblem):
        raise ProblemError(f"expected a ControlProblem, got {type(problem).__name__}.")
    if not isinstance(mesh, Mesh):
        raise MeshError(f"expected a mesh (unit_square(n), read_mesh(path), ..), got {type(mesh).__name__}.")
    if backend not in BACKENDS:
        raise ProblemError(f"unknown backend {backend!r}: take one of {', '.join(map(repr, BACKENDS))}.")
    if degree not in (1, 2):
        raise ProblemError(f"the degree of the state is 1 or 2, not {degree!r}.")
    if linear_solver not in ("auto", "direct", "amg"):
        raise ProblemError(f"unknown linear_solver {linear_solver!r}: take 'auto', 'direct' or 'amg'.")
    from .fem.skfem import SkfemSystem

    return EllipticMap(SkfemSystem(problem, mesh, degree, linear_solver))


def solve(
    problem: ControlProblem,
    mesh: Mesh,
    backend: str = "auto",
    method: str | loop.Method = "auto",
    tol: float = 1e-6,
    *,
    atol: float = 0.0,
    degree: int = 1,
    linear_solver: str = "auto",
    start: StartData = None,
    max_iterations: int = 10_000,
    max_solves: float = np.inf,
    callback: Callable[[Row], bool | None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    restart: bool = False,
    progress: bool | None = None,
    discretisation: bool = False,
) -> Result:
    """min F(S(u)) + alpha/2 ||u - r||^2 + beta ||u||_L1 over a box: discretise, solve, certify.

    Parameters
    ----------
    problem, mesh, backend, degree, linear_solver : see `discretise`.
    method : "auto", "primal-dual", "fista", "proximal-gradient", "semismooth-newton", or an object such as
        PrimalDual(steps="classical").
    tol, atol : success is bound <= tol (||u|| - bound) or bound <= atol, the bound being certified; without a Tikhonov
        term, duality gap <= tol max(|P|, |D|).
    start : a control (number, function, array, field), or a Result, whose dual vector is used too.
    max_iterations, max_solves : limits; the result is then returned with success False.
    callback : called with each row of the history; return True to stop.
    checkpoint, checkpoint_seconds, restart : file to save the state to, how often, and whether to go on from it.
    progress : print rows of the history: True, False, or None for a terminal after two seconds.
    discretisation : also estimate the distance to the continuous optimum, by solving on the refined mesh.

    Returns
    -------
    The `Result`, with its certificate.

    Examples
    --------
    >>> import numpy as np, pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(diffusion=1.0),
    ...     boundary={"boundary": pc.Dirichlet(0.0)},
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(lambda x: np.sin(2*np.pi*x[0]) * np.sin(2*np.pi*x[1]) * np.exp(2*x[0]) / 6),
    ...     terms=[pc.Tikhonov(1e-5), pc.L1(1e-3), pc.Box(-30, 30)],
    ... )
    >>> result = pc.solve(problem, mesh=pc.unit_square(16), tol=1e-6)
    >>> result.success and result.certificate.relative <= 1e-6
    True
    """
    map = discretise(problem, mesh, backend, degree, linear_solver)
    options = dict(
        atol=atol, max_iterations=max_iterations, max_solves=max_solves, callback=callback, checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds, restart=restart, progress=progress,
    )  # fmt: skip
    result = minimise(problem, map, method, tol, start=start, **options)
    if discretisation:
        estimate = estimate_discretisation(problem, mesh, result, backend, degree, linear_solver)
        result = replace(result, certificate=replace(result.certificate, discretisation=estimate))
    return result


def minimise(
    problem: ControlProblem,
    map: SolutionMap,
    method: str | loop.Method = "auto",
    tol: float = 1e-6,
    *,
    atol: float = 0.0,
    start: StartData = None,
    max_iterations: int = 10_000,
    max_solves: float = np.inf,
    callback: Callable[[Row], bool | None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    restart: bool = False,
    progress: bool | None = None,
) -> Result:
    """Solve a problem with any map that observes what it tracks; for the parameters see `solve`.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(lambda x: x[0]),
    ...     terms=[pc.Tikhonov(1e-2)],
    ... )
    >>> map = pc.discretise(problem, pc.unit_interval(20))
    >>> pc.minimise(problem, map, pc.PrimalDual(steps="classical"), tol=1e-4).success
    True
    """
    if not (np.isfinite(tol) and tol > 0 and np.isfinite(atol) and atol >= 0):
        raise ProblemError(f"tol must be positive and atol not negative, got tol={tol}, atol={atol}.")
    if restart and checkpoint is None:
        raise ProblemError("restart=True needs the file to go on from: checkpoint=path.")
    objective = bind(problem, map)
    begin = _start(objective, map, start)
    chosen, note = _method(method, objective, map, begin)
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.suffix != ".npz":
        path = path.with_name(path.name + ".npz")
    return loop.minimise(
        objective, map, chosen, begin, tol, atol,
        limits=loop.Limits(max_iterations, max_solves),
        callback=callback,
        checkpoint=None if path is None else loop.Checkpoint(path, checkpoint_seconds, restart),
        progress=progress,
        note=note,
    )  # fmt: skip


def certify(problem: ControlProblem, control: Data | Field, map: SolutionMap) -> Certificate:
    """A bound on the distance of any control to the optimum, however it was found.

    Parameters
    ----------
    problem : the problem whose optimum is meant.
    control : an array of the map's control space, a field, a function of x or a number; feasible or not.
    map : the exact map, from `discretise`.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(lambda x: x[0]),
    ...     terms=[pc.Tikhonov(1e-2)],
    ... )
    >>> map = pc.discretise(problem, pc.unit_interval(20))
    >>> certificate = pc.certify(problem, 0.3, map)
    >>> 0.0 < certificate.bound < 10.0
    True
    """
    return judge(bind(problem, map), map, _control(control, map, "the control"))


def continuation(
    problem: ControlProblem,
    mesh: Mesh,
    alpha: Sequence[float] | None = None,
    beta: Sequence[float] | None = None,
    *,
    backend: str = "auto",
    degree: int = 1,
    linear_solver: str = "auto",
    **options,
) -> list[Result]:
    """Solve along a path of weights alpha and beta, each stage started from the one before.

    Parameters
    ----------
    problem, mesh, backend, degree, linear_solver : see `discretise`; the map is built once.
    alpha, beta : the weights of the stages, of equal length where both are given; None keeps the problem's.
    options : of `minimise`, such as method, tol, start and max_solves (for each stage).

    Returns
    -------
    One result a stage.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(lambda x: x[0]),
    ...     terms=[pc.Tikhonov(1.0)],
    ... )
    >>> results = pc.continuation(problem, pc.unit_interval(20), alpha=[1.0, 0.1, 0.01])
    >>> [result.success for result in results]
    [True, True, True]
    """
    paths = [path for path in (alpha, beta) if path is not None]
    if not paths or any(len(path) != len(paths[0]) for path in paths) or len(paths[0]) == 0:
        raise ProblemError("continuation needs alpha or beta as lists of weights, of equal length where both are given.")
    map = discretise(problem, mesh, backend, degree, linear_solver)
    results: list[Result] = []
    start = options.pop("start", None)
    for stage in range(len(paths[0])):
        weights = {
            kind: path[stage] for kind, path in ((Tikhonov, alpha), (L1, beta)) if path is not None
        }  # fmt: skip
        staged = with_weights(problem, weights.get(Tikhonov), weights.get(L1))
        results.append(minimise(staged, map, start=start, **options))
        start = results[-1]
    return results


def with_weights(problem: ControlProblem, alpha: float | None = None, beta: float | None = None) -> ControlProblem:
    """The problem with other weights; a term that it lacks is added."""
    terms = list(problem.terms)
    old = next((term for term in terms if isinstance(term, Tikhonov)), Tikhonov(0.0))
    if alpha is not None:
        terms = [term for term in terms if not isinstance(term, Tikhonov)] + [replace(old, alpha=alpha)]
    if beta is not None:
        terms = [term for term in terms if not isinstance(term, L1)] + [L1(beta)]
    return replace(problem, terms=terms)


def estimate_discretisation(
    problem: ControlProblem, mesh: Mesh, result: Result, backend: str, degree: int, linear_solver: str
) -> float:
    """||u_h - u|| in the nodal norm, estimated from the solution on the uniformly refined mesh.

    Notes
    -----
    u_h - u is ||u_h - u_{h/2}|| / (1 - 2^-k) for errors of order k: 2 for nodal controls, 1 for P0. The refined problem
    is solved to a tenth of what it is compared with, from u_h.
    """
    fine = mesh.refine()
    map = discretise(problem, fine, backend, degree, linear_solver)
    coarse, u = result.control.space, result.control.array
    if coarse.elements is None:
        start: Data = u
        order = 2
    else:
        order = 2 if coarse.elements.degree else 1
        start = result.control(map.control.points) if isinstance(problem.control, Distributed) else 0.0
    refined = minimise(problem, map, SemismoothNewton() if _newton_applies(problem) else "auto", 1e-4, start=start)
    if coarse.elements is None:
        difference = refined.control.array - u
    elif order == 2:
        difference = refined.control(coarse.points) - u
    else:
        children = refined.control.array.reshape(-1, u.size)  # child j of cell c is cell c + j m
        difference = children.mean(axis=0) - u
    return coarse.norm(difference) / (1.0 - 2.0**-order)


def _newton_applies(problem: ControlProblem) -> bool:
    return any(isinstance(term, Tikhonov) and term.alpha > 0 for term in problem.terms)


def _control(data, map: SolutionMap, name: str) -> Array:
    if isinstance(data, Field):
        data = data.array if data.space.size == map.control.size else data
    return as_control(data, map.control, name)


def _start(objective: Objective, map: SolutionMap, start: StartData) -> loop.Start:
    """Zero moved into the box with a cold dual; or the control given, with its dual vector if a Result has one that fits."""
    if start is None:
        return loop.Start(np.clip(map.control.zeros(), objective.control.lower, objective.control.upper), None)
    if isinstance(start, Result):
        u = _control(start.control, map, "start")
        fits = start.dual is not None and start.dual.shape == objective.state.target.shape
        return loop.Start(u, start.dual if fits else objective.state.gradient(map.solve(u)))
    u = _control(start, map, "start")
    return loop.Start(u, objective.state.gradient(map.solve(u)))


def _method(method: str | loop.Method, objective: Objective, map: SolutionMap, start: loop.Start) -> tuple[loop.Method, str]:
    """The method asked for, or for "auto" the one that suits ||S||^2/alpha, with the reason."""
    if isinstance(method, loop.Method):
        return method, ""
    if isinstance(method, str) and method in METHODS:
        return METHODS[method](), ""
    if method != "auto":
        names = ", ".join(repr(name) for name in ("auto", *METHODS))
        raise ProblemError(f"unknown method {method!r}: take one of {names}, or an object such as PrimalDual().")
    alpha = objective.control.alpha
    if alpha == 0:
        return PrimalDual(steps="accelerated"), "auto: there is no Tikhonov term"
    if not map.affine:
        return SemismoothNewton(), "auto: the equation is nonlinear"
    norm = map_norm(map.at(start.u), map, objective.state.tracked)
    ratio = norm**2 / alpha
    if ratio <= 3.0:
        return FISTA(norm=norm), f"auto: ||S||^2/alpha = {ratio:.2g} is at most 3"
    return SemismoothNewton(), f"auto: ||S||^2/alpha = {ratio:.2g} is above 3"
