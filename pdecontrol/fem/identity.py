"""Whether a map is that of a problem."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..agreement import SITES, facts_of
from ..errors import ProblemError
from ..maps import SolutionMap
from ..problem import ControlProblem, Parabolic, Tracking
from ..stacked import Stacked
from .parabolic import ParabolicMap
from .steady import SteadyMap

PIECES = ("equation", "boundary", "interface", "control")


def refuse_other(problem: ControlProblem, map: SolutionMap) -> None:
    """Raise ProblemError for a map from `discretise` of another equation, control or observation.

    Targets and terms may differ: they are not the map's. The same pieces in another problem are the map's without a
    look; others are discretised, and their fingerprints compared.
    """
    if isinstance(map, Stacked) and problem.equation is not None:
        raise ProblemError("a Stacked map observes an image of the control, which a problem with an equation does not.")
    if not isinstance(map, (SteadyMap, ParabolicMap)):
        return
    known = map.system if isinstance(map, SteadyMap) else map.evolution
    if _same_pieces(problem, known.problem):
        return
    if problem.equation is None:
        raise ProblemError("the map is that of an equation, which this problem does not state.")
    theirs, ours = (list(stated.interface) for stated in (known.problem, problem))
    if sorted(theirs) != sorted(ours):
        raise ProblemError(
            f"the map belongs to another problem: its interfaces are {theirs}, those of this problem are {ours}."
        )
    for tag, item in problem.interface.items():
        own = known.problem.interface[tag]
        if (item.inside, repr(item.shape)) != (own.inside, repr(own.shape)):
            raise ProblemError(
                f"the map belongs to another problem: its interface {tag!r} is {own!r}, here it is {item!r}."
            )
    in_time = [isinstance(stated.equation, Parabolic) for stated in (known.problem, problem)]
    if in_time[0] == in_time[1] and type(known)(problem, known.engine).fingerprint == known.fingerprint:
        return
    points, tables = known.engine.mesh.points, []
    with map.control.group.agree():
        for stated in (known.problem, problem):
            observed = [
                replace(item, target=0.0) if isinstance(item, Tracking) else item for item in stated.observations
            ]
            data: dict[str, Any] = {name: getattr(stated, name) for name in PIECES}
            sites = points[:, :: points.shape[1] // SITES + 1]
            facts = facts_of("problem", data | {"what is observed": observed}, sites)
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
    conditions = [
        [(tag, id(item)) for tag, item in (*problem.boundary.items(), *problem.interface.items())]
        for problem in (one, other)
    ]
    observed = [[id(item) for item in problem.observations] for problem in (one, other)]
    equal = one.equation is other.equation and one.control is other.control
    return equal and conditions[0] == conditions[1] and observed[0] == observed[1]
