"""Problems with any map: the minimiser, and the certificate of any control."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from .agreement import compare
from .arrays import Array, Data
from .certificate import Certificate
from .continuous.judge import judge_control
from .errors import ProblemError
from .fem.identity import refuse_other
from .field import Field
from .maps import SolutionMap
from .problem import ControlProblem, check_number
from .projected import with_projection
from .result import Result
from .solvers import loop
from .solvers.checkpoint import Checkpoint, as_checkpoint
from .solvers.choice import choose
from .solvers.given_control import certify_given
from .solvers.method import Method, Stopping
from .starts import StartData, control_on, dual_on, start_on
from .terms import bind


class RunOptions(TypedDict, total=False):
    """Optional arguments of `solve`, `minimise` and `continuation`; see `minimise`."""

    atol: float
    start: StartData
    max_iterations: int
    max_solves: float
    callback: loop.Callback | None
    checkpoint: Checkpoint | str | Path | None
    checkpoint_seconds: float | None
    checkpoint_iterations: float | None
    restart: bool
    progress: bool | None


def minimise(
    problem: ControlProblem,
    map: SolutionMap,
    method: str | Method = "auto",
    tol: float = 1e-6,
    *,
    atol: float = 0.0,
    start: StartData = None,
    max_iterations: int = 10_000,
    max_solves: float = np.inf,
    callback: loop.Callback | None = None,
    checkpoint: Checkpoint | str | Path | None = None,
    checkpoint_seconds: float | None = None,
    checkpoint_iterations: float | None = None,
    restart: bool = False,
    progress: bool | None = None,
) -> Result:
    """min F(S(u)) + G(u) for a problem and any map S that observes what the problem tracks.

    Parameters
    ----------
    problem, map : the terms of the objective, and S.
    method : "auto", "primal-dual", "fista", "proximal-gradient", "admm", "semismooth-newton", "proximal-point", or an
        object such as PrimalDual(steps="classical").
    tol, atol : success is bound <= tol (||u|| - bound) or bound <= atol, the bound being certified; without a Tikhonov
        term, duality gap <= tol max(abs(P), abs(D)).
    start : a control (number, function, field, or array, a whole vector as `Field.gather` makes it), or a Result, whose
        dual vector is used too.
    max_iterations, max_solves : limits; the result is then returned with success False. Norm estimates and
        certificates count as solves.
    callback : called with each row of the history; return True to stop.
    checkpoint : a `Checkpoint`, or the path of one: a file to save the state to, and to go on from.
    checkpoint_seconds, checkpoint_iterations, restart : the parameters of that checkpoint.
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
    check_problem(problem, "problem, map", map)
    compare(map.control.group, "minimise", {"problem": problem, "method": method, "tol": tol} | comparable(
        {"atol": atol, "start": start, "max_iterations": max_iterations, "max_solves": max_solves, "callback": callback,
         "checkpoint": checkpoint, "checkpoint_seconds": checkpoint_seconds,
         "checkpoint_iterations": checkpoint_iterations, "restart": restart}), map.control.points,
    )  # fmt: skip
    check_number(tol, "tol", positive=True)
    check_number(atol, "atol")
    check_number(max_iterations, "max_iterations")
    if max_solves != np.inf:
        check_number(max_solves, "max_solves")
    if callback is not None and not callable(callback):
        raise ProblemError(f"callback takes a function of the latest row of the history, got {callback!r}.")
    if progress not in (True, False, None):
        raise ProblemError(f"progress is True, False or None, got {progress!r}.")
    saving = as_checkpoint(checkpoint, seconds=checkpoint_seconds, iterations=checkpoint_iterations, restart=restart)
    with map.control.group.together():
        refuse_other(problem, map)
        objective = bind(problem, map)
        chosen, note = choose(method, objective, map)
        result = loop.run(
            objective,
            map,
            chosen,
            start_on(map, objective, start),
            Stopping(float(tol), float(atol), max_iterations, max_solves),
            callback=callback,
            checkpoint=saving,
            progress=progress,
            note=note,
        )
        return with_projection(problem, map, objective, result)


def certify(
    problem: ControlProblem, control: Data | Field, map: SolutionMap, dual: Array | Field | Result | None = None,
    *, continuous: bool = False,
) -> Certificate:  # fmt: skip
    """||u - u*|| <= bound for any control u, however it was found.

    Parameters
    ----------
    problem : the problem whose optimum is meant.
    control : a number, a function of x, a field of any space, or known everywhere as that of a network, or an array, a
        whole vector of the map's control space, in the order of `Field.gather`; feasible or not.
    map : the map whose optimum is meant, as `discretise` makes it of the exact equation.
    dual : for linear equations a dual vector p where one is known, near to y - y_d at the optimum: numbers, a whole
        vector of the map's observation space, a field of it, or a Result, whose own is meant. Interior point methods
        and active sets have one: the adjoint equation has its right-hand side.
    continuous : also bound the distance of the control, as a function, to the optimum of the continuous problem,
        `certificate.continuous`, for linear elliptic equations on intervals and polygons with distributed controls.
        An array is the function of its space. The bound is the distance to a control that is near the continuous
        optimum, which takes a solve of the discrete problem, plus the bound of that one: finer meshes make it sharper.

    Raises
    ------
    DataError
        If the control or the dual vector is NaN, or has the wrong size.
    ProblemError
        If the map is not exact, or a dual vector is given with a nonlinear one.

    Notes
    -----
    Three solves. For linear equations with a Tikhonov term, where p could be better, up to 48 more for Newton steps
    that improve it, until the bound is at most three times the distance, or owed to rounding.

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
    check_problem(problem, "problem, control, map", map)
    given = dual.dual if isinstance(dual, Result) else dual
    data = {"problem": problem, "control": control, "dual": given}
    compare(map.control.group, "certify", data, map.control.points)
    with map.control.group.together():
        refuse_other(problem, map)
        if not map.exact:
            raise ProblemError(
                f"{map!r} is not exact: what it says of a control would hold for its own optimum. certify(problem, "
                "control, exact_map) takes the exact map, as discretise(problem, mesh) makes it."
            )
        if dual is not None and not map.affine:
            raise ProblemError("dual= is for linear equations: a nonlinear map certifies by its own adjoint.")
        u = control_on(map, control, "the control")
        objective = bind(problem, map)
        found = certify_given(objective, map, u, None if dual is None else dual_on(map, dual))
        if not continuous:
            return found
        known = callable(control) or np.ndim(control) == 0
        function = control if known else Field(u, map.control, "control")
        return replace(found, continuous=judge_control(problem, map, objective, u, function))


def check_problem(problem: object, order: str, map: object = ...) -> None:
    """Raise ProblemError for what is no problem or no map, as when arguments are swapped."""
    if not isinstance(problem, ControlProblem):
        kind = type(problem).__name__
        raise ProblemError(f"expected a ControlProblem, got {kind}: the order of the arguments is {order}.")
    if map is not ... and not isinstance(map, SolutionMap):
        kind = type(map).__name__
        raise ProblemError(
            f"expected a map, as discretise(problem, mesh) makes it, got {kind}: the order of the arguments is {order}."
        )
    if map is not ...:
        missing = [name for name in ("control", "observation", "affine", "fingerprint") if not hasattr(map, name)]
        if missing:
            raise ProblemError(f"the map {type(map).__name__} has no {missing[0]}: see SolutionMap.")
        if not map.control.diagonal:
            raise ProblemError("the inner product of controls must have a diagonal mass, that terms act pointwise.")


def comparable(options: RunOptions) -> dict[str, Any]:
    """What of the options must not differ between processes."""
    said: dict[str, Any] = {name: value for name, value in options.items() if name != "progress"}
    if isinstance(start := said.get("start"), Result):
        said["start"] = {"control": start.control, "dual": start.dual}
    if said.get("callback") is not None:
        said["callback"] = "given"
    if said.get("checkpoint") is not None:
        said["checkpoint"] = str(said["checkpoint"])
    return said
