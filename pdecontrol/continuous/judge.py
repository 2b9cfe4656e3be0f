"""Certificates of controls with respect to the optimum of the continuous problem."""

from __future__ import annotations

from typing import NamedTuple

from ..arrays import Array, Data
from ..continuum import Continuous
from ..fem.steady import SteadyMap
from ..field import Field
from ..maps import SolutionMap
from ..problem import ControlProblem
from ..solvers import loop
from ..solvers.choice import choose
from ..solvers.method import Start, Stopping
from ..terms import Objective
from .analysis import Analysis
from .statement import NoRouteError

NEAR = 1e-4  # of the discrete optimum from which Newton's method begins


class Judged(NamedTuple):
    """A certificate, the adjoint state whose minimiser it is of, and the PDE solves by kind."""

    certificate: Continuous
    adjoint: Field | None
    solves: dict[str, float]


def judge_optimum(problem: ControlProblem, map: SolutionMap, adjoint: Field) -> Judged:
    """The certificate of the minimiser that is found from an adjoint state near that of the discrete optimum."""
    return _judge(problem, map, adjoint, None)


def judge_control(
    problem: ControlProblem, map: SolutionMap, objective: Objective, u: Array, control: Data
) -> Continuous:
    """The certificate of any control: of the minimiser near the discrete optimum, and the distance to that.

    Parameters
    ----------
    u, control : as a vector of the map, and as a number or a function.
    """
    if not isinstance(map, SteadyMap):
        return _unknown(map)
    method, note = choose("auto", objective, map)
    near = loop.run(
        objective, map, method, Start(u), Stopping(NEAR, 0.0, 10_000, float("inf")), progress=False, note=note
    )
    function = control.undivided() if isinstance(control, Field) else control
    return _judge(problem, map, near.adjoint, function).certificate


def _unknown(map: SolutionMap) -> Continuous:
    return Continuous.none(f"{map!r} is not a map of finite elements for a steady equation")


def _judge(problem: ControlProblem, map: SolutionMap, adjoint: Field, control: Data | None) -> Judged:
    if not isinstance(map, SteadyMap):
        return Judged(_unknown(map), None, {})
    q = adjoint.undivided()

    def alone() -> Judged:
        engine = map.system.engine
        try:
            analysis = Analysis(problem, engine.mesh, engine.degree, map if engine.name == "skfem" else None)
        except NoRouteError as reason:
            return Judged(Continuous.none(str(reason)), None, {})
        counter = analysis.map.solves
        before = counter.snapshot()
        point, bound = analysis.improved(analysis.on_nodes(q))
        certificate = analysis.certificate(bound)
        if control is not None:
            certificate = analysis.certificate_of(control, point, bound)
        return Judged(certificate, Field(point.q, analysis.map.solution, "adjoint"), counter.since(before))

    return map.control.group.on_root(alone)
