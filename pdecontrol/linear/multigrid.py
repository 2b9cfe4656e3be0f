"""Conjugate gradients with algebraic multigrid of pyamg, which draws from numpy's global generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array
from ..counter import Counter
from .cg import steps
from .matrix import SharedMatrix
from .residual import Excess, Rows
from .solver import SLOW, EnergyNorm, Inverse, LinearSolver


@contextmanager
def calling_pyamg() -> Iterator[None]:
    """A block in which pyamg always draws the same random numbers.

    Its set-up estimates spectral radii from random vectors. The state of numpy's global generator, which is the
    caller's, is as before afterwards.
    """
    state = np.random.get_state()  # noqa: NPY002
    np.random.set_state(np.random.RandomState(20240116).get_state())  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def smoothed_aggregation(matrix: sp.csr_matrix) -> Any:
    """The solver of pyamg for a symmetric matrix."""
    import pyamg

    # Sorting out weak connections is what keeps anisotropic and jumping coefficients at few iterations.
    strength = ("symmetric", {"theta": 0.08})
    with calling_pyamg():
        return pyamg.smoothed_aggregation_solver(matrix, strength=strength, max_coarse=200)


def prolongations(matrix: sp.csr_matrix) -> list[sp.csr_matrix]:
    """Those of its levels, the finest first."""
    return [sp.csr_matrix(level.P) for level in smoothed_aggregation(matrix).levels[:-1]]


class Multigrid(Inverse):
    """Conjugate gradients preconditioned by smoothed aggregation (pyamg), for positive definite matrices."""

    exact = False
    tolerance = 1e-13
    name, advice = "CG with multigrid", "use linear_solver='direct'"

    def __init__(self, matrix: sp.csr_matrix, counter: Counter) -> None:
        self._matrix, self._counter = matrix, counter
        self._preconditioner = smoothed_aggregation(matrix).aspreconditioner()
        counter.factorisations += 1

    def precondition(self, r: Array) -> Array:
        """B r."""
        return np.asarray(self._preconditioner @ r)

    def apply(self, b: Array, reduction: float = 0.0) -> Array:
        x = np.zeros_like(b)
        for step in islice(steps(lambda d: (self._matrix @ d, None), b, np.dot, self.precondition), SLOW):
            self._counter.inner += 1
            x = x + step.length * step.direction
            if step.reduction <= reduction**2:
                break
        return x

    def transposed(self, symmetric: bool) -> Multigrid:
        return self


def multigrid_solver(
    matrix: sp.spmatrix, counter: Counter, points: Array, excess: Excess | None = None
) -> LinearSolver:
    """The solver of a positive definite matrix, whose unknowns sit at the points."""
    shared = SharedMatrix(matrix)
    inverse, rows = Multigrid(shared.local, counter), Rows(shared, True, excess)
    return LinearSolver(rows, inverse, EnergyNorm(rows, inverse, inverse.precondition, points, counter), counter)
