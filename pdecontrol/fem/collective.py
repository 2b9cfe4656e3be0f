"""Newton systems of steady affine maps at once: on intervals, and elsewhere where it is less work than many solves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..linear.banded import Banded
from ..linear.kkt import KKT
from ..linear.matrix import shared
from ..linear.solver import LinearSolver
from .linear_functions import linear_functions
from .system import Blocks, System

ACCURACY = 1e-3  # of d in smooth modes, whose errors are amplified by ||P L||^2 max w in the residual of the dual
SHARP = 0.03  # of the residual that is asked of d
TIGHTEST, LOOSEST = 1e-11, 1e-2
# Entries that a cycle touches per entry of K, and cycles that the coarser levels of W and their factors are worth.
PRODUCTS, SETUP = 17.0, 8.0


class Collective:
    """(I + P L D L*) d = r as one system in d = r + P O eta and an adjoint solution, for many weights D = diag(w)."""

    def __init__(self, system: System, blocks: Blocks, solver: LinearSolver, counter: Counter) -> None:
        self._system, self._blocks, self._solver, self._counter = system, blocks, solver, counter
        self._failed = np.inf  # the least weights for which this has not converged

    @classmethod
    def of(cls, system: System, tracked: Sequence[bool], solver: LinearSolver, counter: Counter) -> Collective | None:
        """That of a system with a solver, where it has the blocks, and is banded or its engine has multigrid."""
        blocks = system.blocks(tracked) if system.banded or system.engine.multigrid else None
        return None if blocks is None else cls(system, blocks, solver, counter)

    @cached_property
    def _kkt(self) -> KKT | Banded:
        system, (A, Q, columns, C), affine = self._system, self._blocks, self._system.equation.affine
        if system.banded:
            return Banded(self._solver, A, Q, columns, C, system.control.mass)
        symmetric = affine is not None and affine.symmetric
        first = linear_functions(system.engine, system.lifting.numbers, system.lifting.free.size)
        hierarchy = system.engine.hierarchy(A, symmetric, first)
        self._counter.factorisations += 1
        return KKT(hierarchy, A, Q, columns, C, system.control.mass, symmetric)

    @cached_property
    def _states(self) -> float:
        return self._system.engine.group.sum(self._system.lifting.free.size)

    @cached_property
    def _entries(self) -> float:
        """Of K, W being as full as Q."""
        sizes = [np.count_nonzero(shared(matrix).local.data) for matrix in (self._blocks.A, self._blocks.Q)]
        return 2.0 * self._system.engine.group.sum(sum(sizes))

    def serves(self, top: float) -> bool:
        """Whether there is a system to solve for weights of this maximum, which has not failed for smaller ones."""
        return 0.0 < top < self._failed

    def affordable(self, top: float, norm: float) -> int:
        """How many steps of conjugate gradients, two solves each, are half as much work: worth a try, by factors.

        And half as many as there are states, after which they end but for rounding.
        """
        inverse = self._solver.inverse
        if self._system.banded or not inverse.exact or not inverse.entries:
            return 0
        cycles = 4.0 * (top * norm**2) ** 0.125  # as measured
        as_much = PRODUCTS * self._entries * (cycles + SETUP) / (4.0 * inverse.entries)
        return int(0.5 * min(as_much, self._states))

    def solve(self, r: Array, w: Array, top: float, norm: float, forcing: float) -> tuple[Array, Array] | None:
        """O eta and lam, both on all entries of states; None where the iteration does not converge."""
        lifting, observation = self._system.lifting, self._system.observation
        tolerance = max(TIGHTEST, min(LOOSEST, ACCURACY / (top * norm**2), SHARP * forcing))
        with self._counter.timing():
            f = lifting.restrict(observation.transposed(r))
            found = self._kkt.solve(w / top, top**-0.5, f, tolerance)
        self._counter.systems += 1
        self._counter.cycles += found.cycles
        if not found.converged:
            self._failed = min(self._failed, top)
            return None
        return observation.apply(lifting.extend(found.state)), lifting.extend(found.adjoint)

    def close(self) -> None:
        """Free what the multigrid holds."""
        if "_kkt" in self.__dict__:
            self._kkt.close()
