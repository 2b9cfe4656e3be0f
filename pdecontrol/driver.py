"""From a problem and a mesh to a certified result: engine, method and start are chosen here, and nothing else done."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from time import perf_counter
from typing import Any, TypedDict, Unpack

import numpy as np

from .agreement import SITES, compare, describe
from .arrays import Array, Data, undivided
from .certificate import Certificate, certify_any
from .errors import MeshError, ProblemError
from .fem.engine import Engine
from .fem.steady import SteadyMap
from .fem.system import System
from .field import Field
from .maps import SolutionMap
from .mesh.mesh import Mesh
from .parallel import ALONE, Group, started_ranks, world
from .problem import ControlProblem, Tracking, check_number
from .result import Result, npz
from .solvers import FISTA, METHODS, SemismoothNewton, loop
from .solvers.method import Method, Start
from .terms import Objective, as_control, bind

StartData = Data | Field | Result | None
BACKENDS = ("auto", "skfem", "dolfinx")


def discretise(
    problem: ControlProblem,
    mesh: Mesh,
    backend: str = "auto",
    degree: int = 1,
    linear_solver: str = "auto",
    petsc_options: Mapping[str, object] | None = None,
) -> SolutionMap:
    """The exact map u -> y = S(u) of a problem on a mesh.

    Parameters
    ----------
    problem, mesh : what to discretise.
    backend : the finite-element engine: "skfem", embedded and serial, "dolfinx", distributed by MPI, or "auto": the
        distributed engine where the MPI launcher started several processes, and the embedded one else.
    degree : of the state, 1 or 2, or any with "dolfinx"; controls are P1 with lumped mass, or P0.
    linear_solver : "direct", "amg" (conjugate gradients with algebraic multigrid), or "auto": multigrid for large
        symmetric problems.
    petsc_options : for "dolfinx", options of PETSc with the prefix ``state_`` or ``adjoint_``, such as
        {"state_pc_type": "hypre"}. Those of the command line win.

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
    >>> map.solve(map.control.zeros()).shape
    (81,)
    """
    compare(
        _group(backend), "discretise",
        {"backend": backend, "mesh": mesh, "problem": problem, "degree": degree, "linear_solver": linear_solver,
         "petsc_options": petsc_options}, getattr(mesh, "points", None),
    )  # fmt: skip
    _check_problem(problem, "problem, mesh")
    if not isinstance(mesh, Mesh):
        raise MeshError(f"expected a mesh (unit_square(n), read_mesh(path), ..), got {_no_mesh(mesh)}.")
    if backend not in BACKENDS:
        raise ProblemError(f"unknown backend {backend!r}: take one of {', '.join(map(repr, BACKENDS))}.")
    if linear_solver not in ("auto", "direct", "amg"):
        raise ProblemError(f"unknown linear_solver {linear_solver!r}: take 'auto', 'direct' or 'amg'.")
    if backend == "auto":
        backend = "dolfinx" if started_ranks() > 1 else "skfem"
    with _group(backend).together():
        return SteadyMap(System(problem, _engine(mesh, backend, degree, linear_solver, petsc_options)))


def _group(backend: str) -> Group:
    """The processes that compute together: on the embedded engine each does so alone."""
    return ALONE if backend == "skfem" or started_ranks() == 1 else world()


def _check_problem(problem: object, order: str, map: object = ...) -> None:
    """Raise ProblemError for what is no problem or no map, as when arguments are swapped."""
    if not isinstance(problem, ControlProblem):
        kind = type(problem).__name__
        raise ProblemError(f"expected a ControlProblem, got {kind}: the order of the arguments is {order}.")
    if map is not ... and not isinstance(map, SolutionMap):
        kind = type(map).__name__
        raise ProblemError(
            f"expected a map, as discretise(problem, mesh) makes it, got {kind}: the order of the arguments is {order}."
        )


def _no_mesh(mesh: object) -> str:
    """What was given for a mesh, and how to make one of it."""
    if isinstance(mesh, (str, Path)):
        return f"a path: read the file first, by read_mesh({str(mesh)!r})"
    remedies = {
        "dolfinx": "pass its points (dim, n) and cells (dim + 1, m) as Mesh(points, cells), or its file to read_mesh",
        "meshio": "pass Mesh(mesh.points.T[:dim], mesh.cells_dict['triangle'].T), or its file to read_mesh",
        "skfem": "pass Mesh(mesh.p, mesh.t)",
    }
    library = type(mesh).__module__.partition(".")[0]
    if library in remedies:
        return f"a mesh of {library}: {remedies[library]}"
    return type(mesh).__name__


def _engine(
    mesh: Mesh, backend: str, degree: int, linear_solver: str, petsc_options: Mapping[str, object] | None
) -> Engine:
    if not isinstance(degree, Integral) or isinstance(degree, bool) or degree < 1:
        raise ProblemError(f"the degree of the state is a positive integer, not {degree!r}.")
    if backend == "dolfinx":
        from .fem.dolfinx import DolfinxEngine

        return DolfinxEngine(mesh, degree, linear_solver, petsc_options)
    if degree > 2:
        raise ProblemError(f"the degree of the state is 1 or 2, not {degree}: higher ones need backend='dolfinx'.")
    if petsc_options:
        raise ProblemError("petsc_options need backend='dolfinx'.")
    from .fem.skfem import SkfemEngine

    return SkfemEngine(mesh, degree, linear_solver)


class Options(TypedDict, total=False):
    """Optional arguments of `solve`, `minimise` and `continuation`; see `minimise`."""

    atol: float
    start: StartData
    max_iterations: int
    max_solves: float
    callback: loop.Callback | None
    checkpoint: str | Path | None
    checkpoint_seconds: float
    checkpoint_iterations: float
    restart: bool
    progress: bool | None


def solve(
    problem: ControlProblem,
    mesh: Mesh,
    backend: str = "auto",
    method: str | Method[Any] = "auto",
    tol: float = 1e-6,
    *,
    degree: int = 1,
    linear_solver: str = "auto",
    petsc_options: Mapping[str, object] | None = None,
    discretisation: bool = False,
    **options: Unpack[Options],
) -> Result:
    """min F(S(u)) + alpha/2 ||u - r||^2 + beta ||u||_L1 over a box: discretise, solve, certify.

    Parameters
    ----------
    problem, mesh, backend, degree, linear_solver, petsc_options : see `discretise`.
    method, tol, options : see `minimise`: atol, start, max_iterations, max_solves, callback, checkpoint,
        checkpoint_seconds, restart, progress.
    discretisation : also estimate the distance to the continuous optimum, by solving on the refined mesh (its solves
        and time are not counted in the result).

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
    begin = perf_counter()
    own = {"method": method, "tol": tol, "discretisation": discretisation}
    compare(_group(backend), "solve", own | _comparable(options))
    with discretise(problem, mesh, backend, degree, linear_solver, petsc_options) as map:
        setup = perf_counter() - begin
        result = minimise(problem, map, method, tol, **options)
    result = replace(result, seconds=setup + result.seconds)
    if discretisation and result.certificate.bound is None:
        warnings.warn(
            "no estimate of the discretisation error: there is no bound on the distance to the discrete optimum, so "
            "that the difference to the control on a refined mesh says nothing.", stacklevel=2,
        )  # fmt: skip
    elif discretisation:
        with discretise(problem, mesh.refine(), backend, degree, linear_solver, petsc_options) as fine:
            estimate = estimate_discretisation(problem, result, fine)
        result = replace(result, certificate=replace(result.certificate, discretisation=estimate))
    return result


def minimise(
    problem: ControlProblem,
    map: SolutionMap,
    method: str | Method[Any] = "auto",
    tol: float = 1e-6,
    *,
    atol: float = 0.0,
    start: StartData = None,
    max_iterations: int = 10_000,
    max_solves: float = np.inf,
    callback: loop.Callback | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    checkpoint_iterations: float = np.inf,
    restart: bool = False,
    progress: bool | None = None,
) -> Result:
    """min F(S(u)) + G(u) for a problem and any map S that observes what the problem tracks.

    Parameters
    ----------
    problem, map : the terms of the objective, and S.
    method : "auto", "primal-dual", "fista", "proximal-gradient", "semismooth-newton", or an object such as
        PrimalDual(steps="classical").
    tol, atol : success is bound <= tol (||u|| - bound) or bound <= atol, the bound being certified; without a Tikhonov
        term, duality gap <= tol max(abs(P), abs(D)).
    start : a control (number, function, field, or array, a whole vector as `Field.gather` makes it), or a Result, whose
        dual vector is used too.
    max_iterations, max_solves : limits; the result is then returned with success False. Norm estimates and
        certificates count as solves.
    callback : called with each row of the history; return True to stop.
    checkpoint, checkpoint_seconds, checkpoint_iterations, restart : a file to save the state to, after how many seconds
        or iterations, and whether to go on from it, on any number of processes.
    progress : print rows of the history: True, False, or None for a terminal after two seconds.

    Returns
    -------
    The `Result`, with its certificate. Ctrl-C returns what there is.

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
    _check_problem(problem, "problem, map", map)
    compare(map.control.group, "minimise", {"problem": problem, "method": method, "tol": tol} | _comparable(
        {"atol": atol, "start": start, "max_iterations": max_iterations, "max_solves": max_solves, "callback": callback,
         "checkpoint": checkpoint, "checkpoint_seconds": checkpoint_seconds,
         "checkpoint_iterations": checkpoint_iterations, "restart": restart}), map.control.points,
    )  # fmt: skip
    check_number(tol, "tol", positive=True)
    check_number(atol, "atol")
    check_number(checkpoint_seconds, "checkpoint_seconds")
    check_number(max_iterations, "max_iterations")
    if max_solves != np.inf:
        check_number(max_solves, "max_solves")
    if checkpoint_iterations != np.inf:
        check_number(checkpoint_iterations, "checkpoint_iterations", positive=True)
    if callback is not None and not callable(callback):
        raise ProblemError(f"callback takes a function of the latest row of the history, got {callback!r}.")
    if progress not in (True, False, None):
        raise ProblemError(f"progress is True, False or None, got {progress!r}.")
    if restart and checkpoint is None:
        raise ProblemError("restart=True needs the file to go on from: checkpoint=path.")
    saving = None
    if checkpoint is not None:
        saving = loop.Checkpoint(npz(checkpoint), checkpoint_seconds, checkpoint_iterations, restart)
    with map.control.group.together():
        _refuse_other(problem, map)
        objective = bind(problem, map)
        chosen, note = _method(method, objective, map)
        return loop.minimise(
            objective,
            map,
            chosen,
            _start(objective, map, start),
            loop.Stopping(float(tol), float(atol), max_iterations, max_solves),
            callback=callback,
            checkpoint=saving,
            progress=progress,
            note=note,
        )


def _refuse_other(problem: ControlProblem, map: SolutionMap) -> None:
    """Raise ProblemError for a map from `discretise` of another equation, control or observation.

    Targets and terms may differ: they are not the map's. The same pieces in another problem are the map's without a
    look; others are discretised, and their fingerprints compared.
    """
    if not isinstance(map, SteadyMap) or _same_pieces(problem, map.system.problem):
        return
    system = map.system
    other = System(problem, system.engine)
    if other.fingerprint == system.fingerprint:
        return
    points, tables = system.engine.mesh.points, []
    with map.control.group.agree():
        for stated in (system.problem, problem):
            observed = [
                replace(item, target=0.0) if isinstance(item, Tracking) else item for item in stated.observations
            ]
            data = {"equation": stated.equation, "boundary": stated.boundary, "control": stated.control}
            sites = points[:, :: points.shape[1] // SITES + 1]
            facts = describe("problem", data | {"what is observed": observed}, sites)
            tables.append({fact.name: fact for fact in facts})
    there, here = tables
    for name in dict.fromkeys([*there, *here]):
        if there.get(name) != here.get(name):
            was, now = (table[name].phrase if name in table else "missing" for table in tables)
            now = now if now != was else "one with other values"
            name = name.removeprefix("problem[").replace("']", "", 1).removeprefix("'")
            what = f"its {name} is {was}, that of this problem is {now}"
            break
    else:
        what = "its data have other values"
    raise ProblemError(
        f"the map belongs to another problem: {what}. discretise(problem, mesh) makes the map of this one."
    )


def _same_pieces(one: ControlProblem, other: ControlProblem) -> bool:
    """Whether two problems differ in targets of the same observations and in terms of the control at most."""
    conditions = [[(tag, id(item)) for tag, item in problem.boundary.items()] for problem in (one, other)]
    observed = [[id(item) for item in problem.observations] for problem in (one, other)]
    equal = one.equation is other.equation and one.control is other.control
    return equal and conditions[0] == conditions[1] and observed[0] == observed[1]


def _comparable(options: Options) -> dict[str, Any]:
    """What of the options must not differ between processes."""
    said: dict[str, Any] = {name: value for name, value in options.items() if name != "progress"}
    if isinstance(start := said.get("start"), Result):
        said["start"] = {"control": start.control, "dual": start.dual}
    if said.get("callback") is not None:
        said["callback"] = "given"
    if said.get("checkpoint") is not None:
        said["checkpoint"] = str(said["checkpoint"])
    return said


def certify(problem: ControlProblem, control: Data | Field, map: SolutionMap) -> Certificate:
    """A bound on the distance of any control to the optimum, however it was found.

    Parameters
    ----------
    problem : the problem whose optimum is meant.
    control : a number, a function of x, a field, or an array, a whole vector of the map's control space, in the order
        of `Field.gather`; feasible or not.
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
    >>> certificate.bound > 0
    True
    """
    _check_problem(problem, "problem, control, map", map)
    data = {"problem": problem, "control": control}
    compare(map.control.group, "certify", data, map.control.points)
    with map.control.group.together():
        _refuse_other(problem, map)
        return certify_any(bind(problem, map), map, _control(control, map, "the control"))


def continuation(
    problem: ControlProblem,
    mesh: Mesh,
    alpha: Sequence[float] | None = None,
    beta: Sequence[float] | None = None,
    *,
    backend: str = "auto",
    method: str | Method[Any] = "auto",
    tol: float = 1e-6,
    degree: int = 1,
    linear_solver: str = "auto",
    petsc_options: Mapping[str, object] | None = None,
    **options: Unpack[Options],
) -> list[Result]:
    """Solve along a path of weights alpha and beta, each stage started from the one before.

    Parameters
    ----------
    problem, mesh, backend, degree, linear_solver, petsc_options : see `discretise`; the map is built once.
    alpha, beta : the weights of the stages, of equal length where both are given; None keeps the problem's.
    method, tol, options : see `minimise`; limits are those of one stage, and checkpoints have its number at the end.

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
    own = {"alpha": alpha, "beta": beta, "method": method, "tol": tol}
    compare(_group(backend), "continuation", own | _comparable(options))
    _check_problem(problem, "problem, mesh")
    paths = [_weights(path, name) for path, name in ((alpha, "alpha"), (beta, "beta")) if path is not None]
    if len({len(path) for path in paths}) != 1 or not paths[0]:
        raise ProblemError(
            "continuation needs alpha or beta as lists of weights, of equal length where both are given."
        )
    stages = [
        problem.with_weights(None if alpha is None else paths[0][i], None if beta is None else paths[-1][i])
        for i in range(len(paths[0]))
    ]
    checkpoint = options.pop("checkpoint", None)
    results: list[Result] = []
    with discretise(problem, mesh, backend, degree, linear_solver, petsc_options) as map:
        for number, stage in enumerate(stages):
            if checkpoint is not None:
                path = npz(checkpoint)
                options["checkpoint"] = path.with_name(f"{path.stem}-{number}.npz")
            results.append(minimise(stage, map, method, tol, **options))
            options["start"] = results[-1]
    return results


def _weights(path: Any, name: str) -> list[float]:
    """The weights of the stages of a continuation, checked."""
    if isinstance(path, (str, bytes)) or not np.iterable(path):
        raise ProblemError(f"continuation: {name} is a list of weights, one for each stage, got {path!r}.")
    return [check_number(weight, f"continuation: each weight in {name}") for weight in path]


def estimate_discretisation(problem: ControlProblem, result: Result, fine: SolutionMap) -> float | None:
    """||u_h - u|| in the norm of the control space, estimated from the solution on the uniformly refined mesh.

    Parameters
    ----------
    problem, result : what was solved, and its result on a mesh.
    fine : the map of the problem on the refinement of that mesh.

    Returns
    -------
    The estimate, or None if the refined problem was not solved.

    Notes
    -----
    For nodal controls and actuators, 4/3 ||u_h - u_{h/2}|| at the nodes of the coarse mesh, as for errors of order 2.
    For P0 controls, where u_h is nearly the projection of u_{h/2}, (4/3)^(1/2) ||u_h - u_{h/2}|| in L2. The refined
    problem is solved from u_h to a fiftieth of that difference.
    """
    coarse = result.control.gather()
    u, space = coarse.array, coarse.space

    def estimate(control: Field) -> float:
        refined = control.gather()
        return result.group.on_root(lambda: distance(refined))

    def distance(refined: Field) -> float:
        if space.elements is None:
            return space.norm(refined.array - u) * 4 / 3
        if space.elements.degree == 1:
            # Vertices keep their numbers in the refined mesh; by place, both sides of a slit would have one value.
            vertices = np.zeros(space.size, dtype=int)
            vertices[space.elements.dofs] = space.elements.simplices
            elements = refined.space.elements
            assert elements is not None  # as the space that was refined has them
            return space.norm(elements.nodal(refined.array)[vertices] - u) * 4 / 3
        parents = np.tile(u, refined.array.size // u.size)  # child j of cell c is cell c + j m
        return refined.space.norm(refined.array - parents) * (4 / 3) ** 0.5

    start: StartData = result.control
    refined = minimise(problem, fine, tol=1e-3, start=start)
    bound = refined.certificate.bound
    if bound is not None and refined.success and bound > 0.02 * estimate(refined.control):
        refined = minimise(problem, fine, tol=1e-14, atol=0.02 * estimate(refined.control), start=refined)
    if not refined.success:
        warnings.warn(f"no estimate of the discretisation error: on the refined mesh, {refined.message}", stacklevel=3)
        return None
    return estimate(refined.control)


def _control(data: Data | Field, map: SolutionMap, name: str) -> Array:
    space = map.control
    if not isinstance(data, Field):
        return as_control(data, space, name)
    if data.space is space:
        return space.checked(data.array, name)
    whole, target = undivided(data), space.whole

    def fits() -> bool:
        here, there = target.points, whole.space.whole.points
        return here is None or (there is not None and np.array_equal(here, there))

    if not space.group.on_root(fits):
        return as_control(whole, space, name)
    with space.group.agree():
        array = as_control(whole.gather().array, target, name) if space.group.root else np.zeros(0)
    return space.scatter(array)


def _start(objective: Objective, map: SolutionMap, start: StartData) -> Start:
    """Zero moved into the box, with a cold dual; or the control given, with the dual vector of a Result if it fits."""
    if start is None:
        zero = np.clip(map.control.zeros(), objective.control.lower, objective.control.upper)
        return Start(zero, cold=True)
    if isinstance(start, Result):
        u = _control(start.control, map, "start")
        observation = map.observation
        if start.dual is not None and start.dual.space.count == observation.count:
            dual = start.dual.array
            if start.dual.space is not observation:
                dual = observation.scatter(undivided(start.dual).gather().array)
            return Start(u, objective.state.nearest(dual))
        return Start(u)
    return Start(_control(start, map, "start"))


def _method(method: str | Method[Any], objective: Objective, map: SolutionMap) -> tuple[Method[Any], str]:
    """The method asked for, or for "auto" the one that suits the problem, with the reason."""
    if isinstance(method, Method):
        return method, ""
    if str(method) in METHODS:
        return METHODS[str(method)](), ""
    if method != "auto":
        names = ", ".join(repr(name) for name in ("auto", *METHODS))
        raise ProblemError(f"unknown method {method!r}: take one of {names}, or an object such as PrimalDual().")
    if objective.control.alpha == 0:
        return FISTA(), "auto: there is no Tikhonov term"
    kind = "linear" if map.affine else "nonlinear"
    return SemismoothNewton(), f"auto: alpha > 0 and a {kind} equation, where it needs the fewest solves"
