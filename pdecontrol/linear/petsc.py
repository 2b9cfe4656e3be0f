"""Matrices, factors and preconditioners of PETSc, serial and under MPI."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array
from ..errors import DataError, ProblemError, SingularEquationError
from ..parallel import ALONE, Group, MPIGroup, world
from .matrix import SharedMatrix
from .operator import Operator


def petsc_operator(item: Any) -> Operator:
    """v -> A v of a matrix (Mat), v -> M^-1 v of a preconditioner (PC), on the entries that this process owns.

    The operator holds nothing of PETSc but the item, whose later changes it follows.

    Raises
    ------
    DataError
        For other objects of PETSc, matrices that are not square, and preconditioners that PETSc cannot set up.
    """
    from petsc4py import PETSc

    if isinstance(item, PETSc.Mat):
        (rows, columns), apply = item.getSizes(), item.mult
    elif isinstance(item, PETSc.PC):
        _set_up(item)
        (rows, columns), apply = item.getOperators()[0].getSizes(), item.apply
    else:
        raise DataError(f"expected a Mat or a PC of PETSc, got {type(item).__name__}.")
    comm, scalar = item.getComm(), np.dtype(PETSc.ScalarType)
    group = _group(comm.tompi4py())
    with group.agree():
        if rows[1] != columns[1]:
            raise DataError(f"the matrix must be square, its shape is {(rows[1], columns[1])}.")
        if rows[0] != columns[0]:
            raise DataError("the rows and columns of the matrix must be distributed alike.")

    def product(v: Array) -> Array:
        if np.iscomplexobj(v) and scalar.kind != "c":
            return product(v.real) + 1j * product(v.imag)
        result = np.empty(rows[0], scalar)
        vectors = [PETSc.Vec().createWithArray(array, rows, comm=comm) for array in (v, result)]
        try:
            apply(*vectors)
        finally:
            for vector in vectors:
                vector.destroy()  # left to the garbage collection, PETSc would keep it to the end of the job
        return result

    return Operator(product, rows[0], scalar, group)


def _set_up(preconditioner: Any) -> None:
    from petsc4py import PETSc

    try:
        preconditioner.setUp()
    except PETSc.Error as error:
        raise DataError(
            f"the preconditioner {preconditioner.getType()} breaks down for this matrix (PETSc's error {error.ierr})."
        ) from None


def _group(comm: Any) -> Group:
    from mpi4py import MPI

    if comm.size == 1:
        return ALONE
    same = MPI.Comm.Compare(comm, MPI.COMM_WORLD) in (MPI.IDENT, MPI.CONGRUENT)
    return world() if same else _other(comm.py2f(), comm.rank, comm.size)


@cache
def _other(handle: int, rank: int, size: int) -> Group:
    from mpi4py import MPI

    return MPIGroup(MPI.Comm.f2py(handle))


def load() -> None:
    """Load PETSc, which takes a while."""
    from petsc4py import PETSc  # noqa: F401


def has_package(name: str) -> bool:
    """Whether PETSc was built with a package."""
    from petsc4py import PETSc

    return bool(PETSc.Sys.hasExternalPackage(name))


class Refactored:
    """Factors of one matrix after another of the same sparsity on this process alone, ordered and analysed once.

    Parameters
    ----------
    definite : whether the matrices are symmetric positive definite (Cholesky), else LU without pivoting, whose
        residual the caller checks.
    """

    def __init__(self, definite: bool) -> None:
        self._definite = definite
        self._pattern: tuple[Array, Array] | None = None
        self._items: tuple[Any, ...] = ()

    def factorise(self, matrix: sp.csr_matrix) -> None:
        """Make the factors of a matrix; those of the one before are lost."""
        from petsc4py import PETSc

        pattern = (matrix.indptr, matrix.indices)
        if self._pattern is None or not all(map(np.array_equal, self._pattern, pattern)):
            self.close()
            self._analyse(matrix)
        else:
            integers = (part.astype(PETSc.IntType) for part in pattern)
            self._matrix.setValuesCSR(*integers, matrix.data)
            self._matrix.assemble()
        self._pattern = pattern
        self.ksp.setOperators(self._matrix)
        try:
            self.ksp.setUp()
            self.ksp.getPC().setUp()
        except PETSc.Error as error:
            self.close()
            raise ProblemError(
                f"PETSc cannot factorise the matrix (error {error.ierr}): is an entry of its diagonal missing?"
            ) from None

    def _analyse(self, matrix: sp.csr_matrix) -> None:
        from petsc4py import PETSc

        self._matrix = petsc_matrix(SharedMatrix(matrix), self._definite)
        self._x, self._b = self._matrix.createVecs()
        self.ksp = PETSc.KSP().create(PETSc.COMM_SELF)
        self.ksp.setType("preonly")
        self.ksp.getPC().setType("cholesky" if self._definite else "lu")
        self.ksp.getPC().setFactorSolverType("petsc")
        self._items = self.ksp, self._matrix, self._x, self._b

    def solve(self, b: Array) -> Array:
        """A^-1 b for one (n,) or several (n, c) right-hand sides."""
        if b.ndim == 2:
            return np.stack([self.solve(column) for column in b.T], axis=1)
        self._b.array[:] = b
        self.ksp.solve(self._b, self._x)
        if self.ksp.getConvergedReason() < 0:
            raise SingularEquationError("the matrix of the equation is singular, or needs pivoting (a zero pivot).")
        return np.array(self._x.array)

    def close(self) -> None:
        """Free what PETSc holds."""
        for item in self._items:
            item.destroy()
        self._pattern, self._items = None, ()


def petsc_preconditioner(matrix: sp.csr_matrix, kind: str, definite: bool) -> Operator:
    """M^-1 of a kind of PETSc (ilu, icc, hypre, ..) for a matrix on this process alone, to be closed."""
    from petsc4py import PETSc

    made, pc = petsc_matrix(SharedMatrix(matrix), definite), PETSc.PC().create(PETSc.COMM_SELF)

    def close() -> None:
        pc.destroy()
        made.destroy()

    pc.setOperators(made)
    pc.setType(kind)
    try:
        operator = petsc_operator(pc)
    except DataError:
        close()
        raise
    operator.close = close
    return operator


def petsc_matrix(matrix: SharedMatrix, definite: bool) -> Any:
    """A matrix of PETSc, on the processes that share it."""
    from petsc4py import PETSc

    local, halo, integer = matrix.local, matrix.halo, PETSc.IntType
    shape = (local.shape[0], int(halo.starts[-1]))
    ordered = sp.csr_matrix((local.data, halo.numbers[local.indices].astype(integer), local.indptr), shape, copy=True)
    ordered.sort_indices()
    csr = (ordered.indptr.astype(integer), ordered.indices.astype(integer), ordered.data)
    comm = getattr(halo.group, "comm", PETSc.COMM_SELF)
    result = PETSc.Mat().createAIJWithArrays((shape,) * 2, csr, comm=comm)
    if definite:
        result.setOption(PETSc.Mat.Option.SPD, True)
    return result
