"""The race of candidates: all on the same few systems of a family, those that fall behind given up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np

from .candidates import CANDIDATES, Candidate, loaded, missing
from .precondition import ReferenceInverse
from .sequence import SequenceSolver
from .systems import System, SystemFamily, Traits

SHARE = 0.08  # of the predicted time of all samples that the race may take
SLOWER = 3.0  # a candidate that takes so many times the best is given up
ENOUGH = "the race has taken its share of the time"
LOADING = 0.8  # seconds that the first use of PETSc takes


@dataclass(frozen=True)
class Measurement:
    """What the race measured of a candidate: seconds and matrix products a system, or why it was not tried."""

    name: str
    seconds: float | None = None
    products: float | None = None
    systems: int = 0
    note: str = ""


class Race:
    """Candidates on the same few systems; those that fall behind are given up."""

    def __init__(
        self, family: SystemFamily, traits: Traits, systems: list[System], count: int, tolerance: float
    ) -> None:
        self._family, self._traits, self._systems = family, traits, systems
        self._count, self._tolerance = count, tolerance
        self._begin = perf_counter()
        # What factors take on a slow machine: before anything is measured, the best is not known to be worse.
        self._factors = max(2e-2, 2 * _least_seconds("lu", "", traits.unknowns, family.dimension))
        self._solvers: dict[str, SequenceSolver] = {}
        self._times: dict[str, list[float]] = {}
        self._products: dict[str, list[int]] = {}
        self._notes: dict[str, str] = {}

    def run(self) -> list[Measurement]:
        for name, candidate in CANDIDATES.items():
            obstacle = self._hopeless(candidate) or missing(candidate, self._traits, self._systems[0][0])
            if obstacle:
                self._notes[name] = obstacle
            else:
                self._try(candidate)
        self._final()
        for solver in self._solvers.values():
            solver.close()
        return sorted(
            (self._measurement(name) for name in CANDIDATES), key=lambda f: np.inf if f.seconds is None else f.seconds
        )

    @property
    def _best(self) -> float:
        return min((min(times) for times in self._times.values()), default=np.inf)

    def _spent(self) -> bool:
        return perf_counter() - self._begin > SHARE * self._count * self._best

    def _hopeless(self, candidate: Candidate) -> str:
        """Why a candidate need not be tried."""
        traits, best = self._traits, self._best
        if candidate.ordered:
            return "decided after the race"
        if candidate.projected and (traits.matrix_rank is None or traits.rhs_rank is None):
            return "the parameters do not enter through few matrices and right-hand sides"
        if candidate.solver == "gmres" and traits.definite:
            return "the matrices are definite: conjugate gradients"
        if candidate.name in ("jacobi", "recycled") and not traits.definite:
            return "the matrices are not definite: the same as gmres or skr-unsorted"
        if self._times and self._spent():
            return ENOUGH
        if candidate.needs_petsc and not loaded() and self._count * best < LOADING / 0.2:
            return "loading PETSc takes longer than it can save"
        if candidate.recycled:
            plain = self._products.get(_plain(candidate))
            if plain is not None and plain[0] < 2 * candidate.recycled:
                return f"recycling off: {plain[0]} products without, {candidate.recycled} for the refresh alone"
        predicted = _least_seconds(candidate.solver, candidate.preconditioner, traits.unknowns, self._family.dimension)
        if predicted > SLOWER * best:
            return f"takes at least {1e3 * predicted:.0f} ms"
        return ""

    def _try(self, candidate: Candidate) -> None:
        name = candidate.name
        self._solvers[name] = SequenceSolver(candidate, self._traits, self._tolerance, lambda: self._reference)
        longer = 2 if candidate.recycled else len(self._systems) - 1 if candidate.projected else 1
        for i, system in enumerate(self._systems[: 1 + longer]):
            # The first solve loads and analyses, and has nothing to recycle: it counts only where it is hopeless.
            limit = SLOWER * min(self._best, self._factors) * (1 if i else 2)
            spent = self._measure(name, system, limit, warming=i == 0 and len(self._systems) > 1)
            if not spent <= limit:
                return

    def _measure(self, name: str, system: System, limit: float = np.inf, warming: bool = False) -> float:
        """The seconds of a solve, recorded unless it is quick and warms up only; NaN if it fails: then given up."""
        solved = self._solvers[name].solve(*system, limit)
        spent = sum(solved.seconds.values())
        if solved.failure:
            self._notes[name] = solved.failure
            self._times.pop(name, None)
            self._products.pop(name, None)
            return np.nan
        if spent > limit or not warming:
            self._times.setdefault(name, []).append(spent)
            self._products.setdefault(name, []).append(solved.products.total)
        return spent

    def _final(self) -> None:
        """Measure those near to the best on more systems, but for those that have learned from them."""
        fresh = [name for name in self._times if not (CANDIDATES[name].recycled or CANDIDATES[name].projected)]
        for system in self._systems[2:6]:
            for name in sorted(fresh, key=lambda name: min(self._times[name])):
                near = min(self._times[name]) <= 1.5 * self._best and not self._spent()
                if near and np.isnan(self._measure(name, system)):
                    fresh.remove(name)

    @cached_property
    def _reference(self) -> ReferenceInverse:
        return ReferenceInverse(self._family.reference(), self._family.grid)

    def _measurement(self, name: str) -> Measurement:
        times, note = self._times.get(name), self._notes.get(name, "")
        if times is None:
            return Measurement(name, note=note)
        return Measurement(name, float(np.median(times)), float(np.mean(self._products[name])), len(times), note)


def _plain(candidate: Candidate) -> str:
    """The candidate without recycling."""
    if candidate.solver == "gmres":
        return "gmres"
    return candidate.preconditioner


def _least_seconds(solver: str, preconditioner: str, n: int, dimension: int) -> float:
    """Less than what factors and multigrid set-ups take on a fast machine, for they cannot be interrupted."""
    if solver in ("refactor", "lu"):
        flops = {1: 10.0 * n, 2: 10.0 * n**1.5, 3: 3.0 * n**2}[dimension]
        return flops * (2e-10 if solver == "refactor" else 1e-9)
    return {"hypre": 5e-7 * n, "multigrid": 1e-6 * n}.get(preconditioner, 0.0)
