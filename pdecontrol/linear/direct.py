"""Sparse factors, those of SuperLU for any matrix, and the linear solver by them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

import scipy.sparse as sp
from scipy.sparse.linalg import SuperLU, splu

from ..arrays import Array
from ..counter import Counter
from ..errors import ProblemError, SingularEquationError
from .cholesky import cholesky_factors
from .matrix import SharedMatrix
from .residual import Excess, Rows
from .solver import Inverse, LinearSolver


def sparse_factors(matrix: sp.spmatrix, definite: bool) -> SuperLU:
    """A = L U by SuperLU.

    Parameters
    ----------
    matrix : A, real or complex.
    definite : whether it is symmetric positive definite: then the order of minimum degree on A + A' is kept, without
        pivoting. On others an off-diagonal pivot would ruin that order (a hundredfold fill with strong advection): they
        take COLAMD.

    Raises
    ------
    SingularEquationError, ProblemError
        For a singular matrix; for factors that do not fit into memory.
    """
    matrix = sp.csc_matrix(matrix)
    symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    try:
        return splu(matrix, **(symmetric if definite else {}))
    except RuntimeError as error:
        raise SingularEquationError(f"the matrix of the equation is singular ({error}).") from None
    except MemoryError:
        raise ProblemError(
            f"the factors of a matrix with {matrix.shape[0]} unknowns do not fit into memory: "
            "take a coarser mesh, or linear_solver='amg' (pip install pyamg)."
        ) from None


class Factors(Inverse):
    """A^-1 by factors, which solve with A' too, and `free` what they hold."""

    exact = True

    def __init__(
        self, solve: Callable[[Array], Array], solve_transposed: Callable[[Array], Array],
        entries: Callable[[], float] = lambda: 0.0, free: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self._solve, self._solve_transposed, self._entries, self._free = solve, solve_transposed, entries, free

    @cached_property
    def entries(self) -> float:
        return self._entries()

    def apply(self, b: Array, reduction: float = 0.0) -> Array:
        return self._solve(b)

    def transposed(self, symmetric: bool) -> Factors:
        return self if symmetric else Factors(self._solve_transposed, self._solve, self._entries)

    def close(self) -> None:
        self._free()


def direct_solver(matrix: sp.spmatrix, counter: Counter, definite: bool, excess: Excess | None = None) -> LinearSolver:
    """The solver of a matrix by its factors; `definite` is whether it is symmetric positive definite."""
    counter.factorisations += 1
    symmetric = cholesky_factors(matrix) if definite else None
    if symmetric is None:
        factors = sparse_factors(matrix, definite)
        inverse = Factors(factors.solve, partial(factors.solve, trans="T"), lambda: factors.nnz)
    else:
        inverse = Factors(symmetric.solve, symmetric.solve, symmetric.entries, symmetric.close)
    return LinearSolver(Rows(SharedMatrix(matrix), definite, excess), inverse, None, counter)
