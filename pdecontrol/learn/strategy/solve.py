"""Whole families of systems solved by the candidate of a plan, and certified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from ...arrays import Array
from ...errors import ProblemError
from ...linear.direct import sparse_factors
from ...linear.krylov import Products
from .candidates import CANDIDATES
from .choose import Plan
from .ordering import greedy
from .precondition import ReferenceInverse
from .sequence import SequenceSolver, SolvedSystem, superpose, timing
from .systems import System, SystemFamily, assemble


class FamilySolver:
    """Solves samples of a family by the candidate of a plan; what is set up once is kept.

    Parameters
    ----------
    plan, family : how, and what.
    tolerance : of the true relative residuals.
    """

    def __init__(self, plan: Plan, family: SystemFamily, tolerance: float) -> None:
        self._plan, self._family, self._tolerance = plan, family, tolerance
        self._candidate = CANDIDATES[plan.strategy]
        self._sequence = SequenceSolver(self._candidate, plan.traits, tolerance, lambda: self.reference)
        self._factored: tuple[sp.csr_matrix, Any] | None = None

    @cached_property
    def reference(self) -> ReferenceInverse:
        """The inverse of the mean operator."""
        return ReferenceInverse(self._family.reference(), self._family.grid)

    def solve(self, samples: Sequence[Any]) -> tuple[list[SolvedSystem], dict[str, float]]:
        """The solutions in the order of the samples, and the seconds of each stage.

        What is carried from system to system begins anew. A system that the candidate cannot solve is tried by sparse
        factors; if that fails too the result says why.
        """
        self._sequence.restart()
        seconds = {"ordering": 0.0, "assembly": 0.0, "set-up": 0.0, "solve": 0.0, "certificate": 0.0}
        if samples and self._candidate.solver == "superposition":
            with timing(seconds, "assembly"):
                systems = [assemble(self._family, sample) for sample in samples]
            with timing(seconds, "solve"):
                solved = self._superpose(systems)
            with timing(seconds, "certificate"):
                for found, (matrix, b), sample in zip(solved, systems, samples, strict=True):
                    self._certify(found, matrix, b, sample)
            return solved, seconds
        order = np.arange(len(samples))
        with timing(seconds, "ordering"):
            if self._candidate.ordered and len(samples) > 2:
                order = greedy(self._family.features(samples))
        by_number: dict[int, SolvedSystem] = {}
        for i in order:
            with timing(seconds, "assembly"):
                matrix, b = assemble(self._family, samples[i])
            found = self._sequence.solve(matrix, b)
            if found.failure:
                found = self._rescue(matrix, b, found)
            for stage, spent in found.seconds.items():
                seconds[stage] += spent
            with timing(seconds, "certificate"):
                self._certify(found, matrix, b, samples[i])
            by_number[i] = found
        return [by_number[i] for i in range(len(samples))], seconds

    def _certify(self, solved: SolvedSystem, matrix: sp.csr_matrix, b: Array, sample: Any) -> None:
        """The bound eta / (|x| - eta), |x|^2 = x' A x and eta^2 = r' L^-1 r / coercivity, on the relative error.

        The rounding of r is added to it. With the least eigenvalue of L instead of L^-1 where that is good enough, as
        it is for direct solvers.
        """
        coercivity = None if solved.failure or solved.x is None else self._family.coercivity(sample)
        if coercivity is None or solved.x is None:
            return
        residual = b - matrix @ solved.x
        solved.products.residuals += 1
        square = float(np.vdot(solved.x, b - residual).real)
        if coercivity <= 0 or square < 0:
            raise ProblemError(f"the coercivity {coercivity:g} of {type(self._family).__name__} is wrong.")
        terms = matrix.nnz / len(b) + 1
        rounding = terms * np.finfo(float).eps / 2 * (abs(matrix) @ np.abs(solved.x) + np.abs(b))
        energy = square**0.5
        scale, least = coercivity**0.5, self.reference.least
        if least is not None:
            slack = float(np.linalg.norm(rounding)) / least**0.5
            solved.bound = _relative((float(np.linalg.norm(residual)) / least**0.5 + slack) / scale, energy)
        else:
            slack = self._dual_norm(rounding)
        if not solved.bound <= 1e-3 * self._tolerance:
            solved.bound = _relative((self._dual_norm(residual) + slack) / scale, energy)

    def _dual_norm(self, r: Array) -> float:
        """(r' L^-1 r)^1/2."""
        return float(np.vdot(r, self.reference.solve(r)).real) ** 0.5

    def _superpose(self, systems: list[System]) -> list[SolvedSystem]:
        """By superposition where the matrix is that of the first system, others by themselves."""
        matrix = systems[0][0]
        if self._factored is None or not _equal(self._factored[0], matrix):
            if self.reference.fast and _equal(self.reference.matrix, matrix):
                self._factored = matrix, self.reference
            else:
                self._factored = matrix, sparse_factors(matrix, self._plan.traits.definite)
        same = [i for i, (other, b) in enumerate(systems) if _equal(other, matrix) and np.isfinite(b).all()]
        found = superpose([systems[i] for i in same], self._factored[1].solve, self._tolerance)
        solved = dict(zip(same, found, strict=True))
        for i, (other, b) in enumerate(systems):
            if i not in solved:
                solved[i] = self._rescue(other, b, SolvedSystem(None, np.nan, "another matrix", Products()))
        return [solved[i] for i in range(len(systems))]

    def _rescue(self, matrix: sp.csr_matrix, b: Array, failed: SolvedSystem) -> SolvedSystem:
        traits = replace(self._plan.traits, definite=False)  # with pivots, whatever the other matrices are
        lu = SequenceSolver(CANDIDATES["lu"], traits, self._tolerance, lambda: self.reference)
        solved = lu.solve(matrix, b)
        solved.products.add(failed.products)
        for stage, spent in failed.seconds.items():
            solved.seconds[stage] = solved.seconds.get(stage, 0.0) + spent
        return solved

    def close(self) -> None:
        """Free what factors hold."""
        self._sequence.close()


def _relative(eta: float, energy: float) -> float:
    if eta == 0.0:
        return 0.0
    return eta / (energy - eta) if eta < energy else np.nan


def _equal(a: sp.csr_matrix, b: sp.csr_matrix) -> bool:
    parts = ((a.data, b.data), (a.indices, b.indices), (a.indptr, b.indptr))
    return a is b or all(np.array_equal(one, other) for one, other in parts)
