"""Solve until the distance to the continuous optimum meets a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any, Unpack

import numpy as np

from .continuous.adapt import Goal, Refined, needed, refined
from .continuous.analysis import Analysis
from .continuous.judge import judge_optimum
from .continuous.statement import NoRouteError, unsupported
from .continuum import Continuous, Level
from .discretisation import discretise
from .errors import ProblemError, SolveLimitError
from .fem.backends import Backend, chosen
from .fem.steady import SteadyMap
from .field import Field
from .maps import SolutionMap
from .mesh.mesh import Mesh
from .optimise import RunOptions, minimise
from .problem import Box, ControlProblem, Tikhonov, Tracking, check_number
from .projection import Projection
from .result import History, Result, Row, Status
from .solvers.method import Method
from .solvers.progress import Printer

FIRST = 1e-4  # relative, of the discrete optimum on the first mesh
LIMITS = {
    "unknowns": Status.UNKNOWNS, "solves": Status.SOLVES, "stopped": Status.STOPPED, "interrupted": Status.INTERRUPTED
}  # fmt: skip


def goal_of(total_tol: float | None, total_atol: float, adapt: bool, max_unknowns: float, options: RunOptions) -> Goal:
    """The goal of what `solve` was given, checked; the limit of solves is taken out of the options."""
    if adapt not in (True, False):
        raise ProblemError(f"adapt is True or False, not {adapt!r}.")
    tol = 0.0 if total_tol is None else check_number(total_tol, "total_tol", positive=True)
    solves = options.pop("max_solves", np.inf)
    if solves != np.inf:
        check_number(solves, "max_solves")
    if max_unknowns != np.inf:
        check_number(max_unknowns, "max_unknowns", positive=True)
    return Goal(tol, check_number(total_atol, "total_atol"), adapt, max_unknowns, solves)


def check_goal(problem: ControlProblem, mesh: Mesh, backend: str | Backend, options: Mapping[str, Any]) -> None:
    """Raise ProblemError for a tolerance on the distance to the continuous optimum that has no bound or no sense."""
    reason = unsupported(problem, mesh, chosen(backend).degree) or of_one_mesh(problem)
    if reason is not None:
        raise _refused(reason)
    alone = "checkpoint", "checkpoint_seconds", "checkpoint_iterations", "restart", "atol", "discretisation"
    refused = [name for name in alone if options.get(name)]
    if refused:
        raise ProblemError(f"total_tol refines meshes, and {refused[0]} is of one mesh: leave one of them out.")


def _refused(reason: object) -> ProblemError:
    return ProblemError(
        f"total_tol: there is no bound to the optimum of the continuous problem, for {reason}. Leave it out: "
        "certificates say how far controls are from the optimum of the discrete problem, and discretisation=True "
        "estimates how far that is from the continuous one."
    )


def _analysis(problem: ControlProblem, map: SolutionMap) -> Analysis:
    """That on the first mesh, before anything is solved."""
    assert isinstance(map, SteadyMap)
    engine = map.system.engine
    try:
        return Analysis(problem, engine.mesh, engine.degree, map if engine.name == "skfem" else None)
    except NoRouteError as reason:
        raise _refused(reason) from None


def of_one_mesh(problem: ControlProblem) -> str | None:
    """Which data belong to one mesh, and cannot be taken to another one."""
    tikhonov, box = problem.term(Tikhonov) or Tikhonov(0.0), problem.term(Box) or Box()
    data: list[tuple[str, Any]] = [
        ("reference", tikhonov.reference), ("lower bound", box.lower), ("upper bound", box.upper),
        *(
            ("target", item.target)
            for item in problem.observations
            if isinstance(item, Tracking) and item.points is None
        ),
    ]  # fmt: skip
    for name, item in data:
        if isinstance(item, (np.ndarray, list, tuple)) and np.ndim(item) > 0:
            return f"the {name} is an array, which belongs to one mesh: give a function or a field"
    return None


def solve_refined(
    problem: ControlProblem, mesh: Mesh, backend: str | Backend, method: str | Method, tol: float, goal: Goal,
    **options: Unpack[RunOptions],
) -> Result:  # fmt: skip
    """The result on the mesh on which the bound meets the goal, or on the last one within the limits."""
    begin, history, rest = perf_counter(), History(), dict[str, Any](options)
    progress, callback = rest.pop("progress", None), rest.pop("callback", None)
    with discretise(problem, mesh, backend) as map:
        group = map.control.group
        analysis = group.only_on_root(lambda: _analysis(problem, map))
        limits = {"max_solves": goal.solves} | rest
        first = minimise(problem, map, method, max(tol, FIRST), progress=False, **limits)
        if first.status is Status.INTERRUPTED:
            return first
        if first.certificate.optimal and not goal.atol:
            raise ProblemError(
                "total_tol: u = 0 is the optimum on this mesh, and no distance to it is small beside it: give a "
                "total_atol, the distance that is small enough."
            )
        spent = first.solves["total"]
        q = first.adjoint.undivided()
        printer = Printer(progress if group.root else False)

        def watch(level: Level, objective: float) -> bool:
            row = Row(len(history), objective, np.nan, level.bound, int(spent + level.solves), perf_counter() - begin)
            history.append(row)
            printer.show(row)
            return bool(callback is not None and callback(row))

        def refine() -> tuple[Refined, History]:
            assert analysis is not None
            try:
                return refined(analysis, q, goal._replace(solves=goal.solves - spent), watch, group.size == 1), history
            except SolveLimitError:
                raise ProblemError(
                    f"max_solves = {goal.solves:.0f} does not suffice for a bound: allow more."
                ) from None

        found, history = group.on_root(refine)
        printer.close()
    rest.pop("start", None)
    with discretise(problem, found.mesh, backend) as map:
        zero = Field(map.control.zeros(), map.control)
        start = Projection.of(problem, found.adjoint, zero.undivided()).evaluate
        last = minimise(problem, map, method, tol, start=start, progress=False, **rest)
    control = replace(last.control, function=Projection.of(problem, found.adjoint, last.control))
    status = Status.CERTIFIED if found.met else LIMITS[found.limit]
    return replace(
        last,
        control=control,
        certificate=replace(last.certificate, continuous=_advised(found, goal)),
        status=status,
        method=f"{last.method}; {len(found.levels)} meshes",
        history=history,
        solves={kind: first.solves[kind] + found.solves[kind] + count for kind, count in last.solves.items()},
        seconds=perf_counter() - begin,
        tol=goal.tol,
        levels=found.levels,
    )


def _advised(found: Refined, goal: Goal) -> Continuous:
    """The certificate, with the unknowns that would be needed where the goal was not met."""
    if found.met:
        return found.certificate
    count, order = needed(found.levels, goal), found.certificate.order
    told = f"; at the order {order:.2f} that was seen, about {count:.1e} unknowns would be needed"
    return replace(found.certificate, assumption=found.certificate.assumption + (told if np.isfinite(count) else ""))


def with_distance(problem: ControlProblem, map: SolutionMap, result: Result) -> Result:
    """The result with a bound on the distance to the continuous optimum, and the control that it is of."""
    begin = perf_counter()
    try:
        judged = judge_optimum(problem, map, result.adjoint)
    except KeyboardInterrupt:
        if result.group.size > 1:
            raise
        return replace(result, status=Status.INTERRUPTED)
    certificate = replace(result.certificate, continuous=judged.certificate)
    if judged.adjoint is None:
        return replace(result, certificate=certificate)
    return replace(
        result,
        control=replace(result.control, function=Projection.of(problem, judged.adjoint, result.control)),
        certificate=certificate,
        solves={kind: count + judged.solves[kind] for kind, count in result.solves.items()},
        seconds=result.seconds + perf_counter() - begin,
    )
