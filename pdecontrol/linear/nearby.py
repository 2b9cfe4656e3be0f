"""Linear systems with matrices near to one whose factors are known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np

from ..arrays import Array
from ..counter import Counter
from .cg import steps
from .gcrodr import gcrodr
from .matrix import SharedMatrix
from .operator import Operator
from .residual import Rows
from .solver import Inverse, LinearSolver

FEW = 8  # iterations at a time
ENOUGH = 1e-3  # what they are to reduce the residual by: else factors are cheaper


class Nearby(Inverse):
    """A^-1 by conjugate gradients or GMRES, preconditioned by the factors of a matrix near to A.

    Where `FEW` iterations do not gain much, A is factorised, and its factors are freed at once.

    Parameters
    ----------
    product : x -> A x.
    size : of the vectors on this process.
    near : the inverse of the other matrix.
    definite : whether both matrices are symmetric positive definite.
    factorise : makes the solver of A by factors.
    """

    exact = False
    tolerance = 1e-13
    name, advice = "the Krylov iteration", "take shorter steps in time"

    def __init__(
        self, rows: Rows, near: Inverse, definite: bool, counter: Counter, factorise: Callable[[], LinearSolver],
        transposed: bool = False,
    ) -> None:  # fmt: skip
        self._rows, self._near, self._definite, self._counter = rows, near, definite, counter
        self._factorise, self._transposed = factorise, transposed
        matrix = rows.matrix
        self._product = matrix.apply_transposed if transposed else matrix.__matmul__

    def apply(self, b: Array, reduction: float = 0.0) -> Array:
        x = self._by_gradients(b, reduction) if self._definite else self._by_residuals(b, reduction)
        if x is not None:
            return x
        solver = self._factorise()
        try:
            return (solver.transposed if self._transposed else solver).inverse.apply(b)
        finally:
            solver.close()

    def _by_gradients(self, b: Array, reduction: float) -> Array | None:
        x, group = np.zeros_like(b), self._rows.group

        def inner(left: Array, right: Array) -> float:
            return group.sum(np.einsum("i,i->", left, right))

        for step in islice(steps(lambda d: (self._product(d), None), b, inner, self._near.apply), FEW):
            self._counter.inner += 1
            x = x + step.length * step.direction
            if step.reduction <= reduction**2:
                return x
        return x if step.reduction <= ENOUGH**2 else None

    def _by_residuals(self, b: Array, reduction: float) -> Array | None:
        operator = Operator(self._product, b.size, np.dtype(float), self._rows.group)
        near = Operator(self._near.apply, b.size, np.dtype(float), self._rows.group)
        result = gcrodr(operator, b, near, m=FEW, k=0, tolerance=max(reduction, 1e-15), max_products=FEW + 2)
        self._counter.inner += result.products.total
        return result.x if result.residual <= max(reduction, ENOUGH) else None

    def transposed(self, symmetric: bool) -> Nearby:
        if symmetric:
            return self
        near = self._near.transposed(False)
        return Nearby(self._rows, near, False, self._counter, self._factorise, not self._transposed)


def nearby_solver(
    matrix: SharedMatrix, near: LinearSolver, definite: bool, counter: Counter, factorise: Callable[[], LinearSolver]
) -> LinearSolver:
    """The solver of a matrix by means of that of another one."""
    rows = Rows(matrix, definite, None)
    return LinearSolver(rows, Nearby(rows, near.inverse, definite, counter, factorise), None, counter)
