"""Cholesky factors of symmetric positive definite matrices, by CHOLMOD, which PETSc brings, or QDLDL.

CHOLMOD works by blocks, which is several times faster in 3D; QDLDL, an LDL' column by column, is as fast in 2D, and
needs no PETSc. Both store half the entries of SuperLU, which comes last. LAPACK has those of tridiagonal matrices.

References
----------
Y. Chen, T. A. Davis, W. W. Hager, S. Rajamanickam, ACM Trans. Math. Softw. 35 (2008) 22. QDLDL: B. Stellato, G. Banjac,
P. Goulart, A. Bemporad, S. Boyd, Math. Program. Comput. 12 (2020) 637-672.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any
from weakref import finalize

import numpy as np
import scipy.sparse as sp
from scipy.linalg.lapack import dpttrf, dpttrs

from ..arrays import Array
from ..errors import SingularEquationError
from .matrix import SharedMatrix

LOADED = 10_000  # unknowns from which factors are worth the time that PETSc takes to load
SPARSE = 13  # entries a row up to which QDLDL is faster than the blocks of SuperLU: those of triangles, not tetrahedra
PREFIX = "pdecontrol_cholesky_"
# Blocks pay in 3D and on very large meshes in 2D; beneath, columns stay in the cache.
OPTIONS = {"mat_cholmod_supernodal_switch": 200, "mat_cholmod_print": 0}


def cholesky_factors(matrix: sp.spmatrix) -> Cholmod | Qdldl | Tridiagonal | None:
    """The factors of a symmetric positive definite matrix; None where SuperLU is faster, or the others fail."""
    matrix = sp.csr_matrix(matrix)
    size = matrix.shape[0]
    if is_tridiagonal(matrix):
        with suppress(SingularEquationError):
            return Tridiagonal(matrix)
    if size > LOADED and has_cholmod():
        with suppress(SingularEquationError):
            return Cholmod(matrix)
    if matrix.nnz <= SPARSE * size and has_qdldl():
        with suppress(SingularEquationError):
            return Qdldl(matrix)
    return None


def is_tridiagonal(matrix: sp.csr_matrix) -> bool:
    """Whether it is, as those of elements of degree 1 on an interval are."""
    rows, size = np.diff(matrix.indptr), matrix.shape[0]
    return bool(size > 1 and rows.max() <= 3 and np.all(abs(matrix.indices - np.repeat(np.arange(size), rows)) <= 1))


@cache
def has_cholmod() -> bool:
    """Whether PETSc is there with SuiteSparse and real numbers; it is loaded for that."""
    try:
        from petsc4py import PETSc
    except Exception:  # whatever a broken installation raises: others can factorise too
        return False
    return bool(PETSc.Sys.hasExternalPackage("suitesparse")) and np.dtype(PETSc.ScalarType).kind == "f"


@cache
def has_qdldl() -> bool:
    """Whether QDLDL is there."""
    try:
        import qdldl  # noqa: F401
    except Exception:
        return False
    return True


class Cholmod:
    """Factors of CHOLMOD, on this process alone; `close` frees what PETSc holds."""

    def __init__(self, matrix: sp.csr_matrix) -> None:
        from petsc4py import PETSc

        from .petsc import petsc_matrix

        database, made = PETSc.Options(PREFIX), petsc_matrix(SharedMatrix(matrix), True)
        self._x, self._b = made.createVecs()
        pc = PETSc.PC().create(PETSc.COMM_SELF)
        items: list[Any] = [pc, made, self._x, self._b]
        self.close = finalize(self, _destroy, items)  # left to the garbage collection, PETSc would keep them
        self.close.atexit = False
        for name, value in OPTIONS.items():
            database[name] = value
        try:
            pc.setOptionsPrefix(PREFIX)
            pc.setOperators(made)
            pc.setType("cholesky")
            pc.setFactorSolverType("cholmod")
            pc.setUp()
            self._factors = pc.getFactorMatrix()
            items.append(self._factors)
        except PETSc.Error as error:
            self.close()
            raise SingularEquationError(f"CHOLMOD cannot factorise the matrix (error {error.ierr}).") from None
        finally:
            for name in OPTIONS:
                database.delValue(name)

    def solve(self, b: Array) -> Array:
        """A^-1 b for one (n,) or several (n, k) right-hand sides."""
        if b.ndim == 2:
            return self._solve_block(b)
        self._b.array[:] = b
        self._factors.solve(self._b, self._x)
        return np.array(self._x.array)

    def entries(self) -> float:
        """Those of L and L'."""
        return 2.0 * float(self._factors.getInfo()["nz_used"])

    def _solve_block(self, b: Array) -> Array:
        from petsc4py import PETSc

        x = np.empty(b.shape, order="F")
        sides, solutions = (
            PETSc.Mat().createDense(b.shape, array=array, comm=PETSc.COMM_SELF) for array in (np.asfortranarray(b), x)
        )
        self._factors.matSolve(sides, solutions)
        sides.destroy()
        solutions.destroy()
        return x


def _destroy(items: list[Any]) -> None:
    for item in items:
        item.destroy()


class Qdldl:
    """Factors of QDLDL."""

    def __init__(self, matrix: sp.csr_matrix) -> None:
        import qdldl

        try:
            self._factors: Any = qdldl.Solver(sp.triu(matrix, format="csc"), upper=True)
        except (RuntimeError, ValueError) as error:
            raise SingularEquationError(f"QDLDL cannot factorise the matrix ({error}).") from None

    def solve(self, b: Array) -> Array:
        """A^-1 b for one (n,) or several (n, k) right-hand sides."""
        if b.ndim == 2:
            return np.stack([self.solve(column) for column in b.T], axis=1)
        return np.asarray(self._factors.solve(np.ascontiguousarray(b)))

    def entries(self) -> float:
        """Those of L and L'."""
        return 2.0 * float(self._factors.factors()[0].nnz)

    def close(self) -> None:
        """Nothing is held that is not freed with this."""


class Tridiagonal:
    """Factors of LAPACK."""

    def __init__(self, matrix: sp.csr_matrix) -> None:
        *self._factors, failed = dpttrf(matrix.diagonal(), matrix.diagonal(1))
        if failed:
            raise SingularEquationError(f"LAPACK cannot factorise the matrix (row {failed}).")

    def solve(self, b: Array) -> Array:
        """A^-1 b for one (n,) or several (n, k) right-hand sides."""
        return np.asarray(dpttrs(*self._factors, b)[0])

    def entries(self) -> float:
        """Those of L and L'."""
        return 2.0 * sum(part.size for part in self._factors)

    def close(self) -> None:
        """Nothing is held that is not freed with this."""
