"""Meshes refined until a bound to the continuous optimum meets a tolerance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np

from ..continuum import Continuous, Level
from ..counter import Counter
from ..errors import SolveLimitError
from ..field import Field
from ..mesh.mesh import Mesh
from .analysis import Analysis
from .marking import marked

THETA = 0.75  # the most of the bound that is refined at once
AIM = 0.9  # of the tolerance, for the last mesh


class Goal(NamedTuple):
    """What a bound is to meet, and what may be spent on it.

    Attributes
    ----------
    tol, atol : bound <= tol (||z|| - bound), or bound <= atol.
    adapt : whether cells are refined where the bound comes from, or all of them.
    unknowns : of states, the most that there may be.
    solves : PDE solves, the most that there may be.
    """

    tol: float
    atol: float
    adapt: bool
    unknowns: float
    solves: float


class Refined(NamedTuple):
    """Where refinement ended, with the adjoint state there; whether the goal was met, or which limit; the levels."""

    mesh: Mesh
    certificate: Continuous
    adjoint: Field
    met: bool
    limit: str
    levels: tuple[Level, ...]
    solves: dict[str, float]


def refined(
    analysis: Analysis, adjoint: Field, goal: Goal,
    watch: Callable[[Level, float], bool | None] = lambda level, objective: None, alone: bool = True,
) -> Refined:  # fmt: skip
    """Solve, bound, mark and bisect from an adjoint state of the discrete optimum, until the bound meets a goal.

    Parameters
    ----------
    analysis : of the problem on the first mesh.
    adjoint : an adjoint state near that of the optimum.
    goal : see `Goal`.
    watch : told of each level and of the objective there; it ends the run by True.
    alone : whether no other process waits, so that Ctrl-C returns what there is.
    """
    begin, spent, levels = perf_counter(), Counter().snapshot(), list[Level]()
    problem, mesh, degree = analysis.problem, analysis.mesh, analysis.degree
    q = analysis.on_nodes(adjoint)
    found: Refined | None = None
    while True:
        counter = analysis.map.solves
        before = counter.snapshot()
        try:
            with counter.limited(before["total"] + goal.solves - spent["total"]):
                point, bound = analysis.improved(q)
        except SolveLimitError:
            if found is None:
                raise
            return found._replace(limit="solves")
        except KeyboardInterrupt:
            if found is None or not alone:
                raise
            return found._replace(limit="interrupted")
        spent = {kind: count + spent[kind] for kind, count in counter.since(before).items()}
        unknowns = int(analysis.map.system.lifting.free.size)
        levels.append(
            Level(
                mesh,
                unknowns,
                bound.control,
                bound.norm,
                bound.parts,
                bound.shares,
                spent["total"],
                perf_counter() - begin,
            )
        )
        certificate = analysis.certificate(bound, order=observed_order(levels))
        met = certificate.meets(goal.tol, goal.atol)
        adjoint = Field(point.q, analysis.map.solution, "adjoint")
        found = Refined(mesh, certificate, adjoint, met, "", tuple(levels), spent)
        if watch(levels[-1], analysis.optimality.objective(point)) and not met:
            return found._replace(limit="stopped")
        if met:
            return found
        theta = share_to_mark(bound.control, target(levels[-1], goal), degree)
        finer = mesh.bisect(marked(bound.shares, theta)) if goal.adapt else mesh.refine()
        if unknowns * finer.cells.shape[1] / mesh.cells.shape[1] > goal.unknowns:
            return found._replace(limit="unknowns")
        try:
            mesh, analysis = finer, Analysis(problem, finer, degree)
            q = analysis.on_nodes(adjoint)
        except KeyboardInterrupt:
            if not alone:
                raise
            return found._replace(limit="interrupted")


def observed_order(levels: Sequence[Level]) -> float:
    """The order of the bound in the size of the cells, by the last level and one with 2/3 of its unknowns or fewer.

    NaN where there is none.
    """
    fine = levels[-1]
    coarse = [level for level in levels if level.unknowns * 1.5 <= fine.unknowns][-1:]
    if not coarse:
        return np.nan
    ratio = np.log(fine.unknowns / coarse[0].unknowns) / fine.mesh.dim
    return float(np.log(coarse[0].bound / fine.bound) / ratio)


def needed(levels: tuple[Level, ...], goal: Goal) -> float:
    """The unknowns that would be needed, at the order seen; infinite where none is."""
    order, last = observed_order(levels), levels[-1]
    if not order > 0:
        return np.inf
    return float(last.unknowns * (last.bound / target(last, goal)) ** (last.mesh.dim / order))


def target(level: Level, goal: Goal) -> float:
    """The bound that meets a goal, for a control of the norm that it has on a level."""
    return max(goal.atol, level.norm * goal.tol / (1 + goal.tol))


def share_to_mark(bound: float, wanted: float, degree: int) -> float:
    """The share of the bound in the cells to refine: 3/4, and less where fewer cells will do to meet the goal."""
    gained = 1 - 0.5 ** (degree + 1)  # of the share of a cell, by its halves
    return min(THETA, (1 - AIM * wanted / bound) / gained)
