"""Levels of the algebraic multigrid of PETSc, on one process or several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array
from .hierarchy import Hierarchy
from .ksp import MULTIGRID
from .matrix import SharedMatrix, Triplets
from .petsc import petsc_matrix


class PetscMatrix:
    """A matrix of PETSc for products with the entries of this process; it is destroyed when it is closed."""

    def __init__(self, mat: Any) -> None:
        self.mat, (self._right, self._left) = mat, mat.createVecs()

    def __matmul__(self, x: Array) -> Array:
        self._right.array[:] = x
        self.mat.mult(self._right, self._left)
        return np.array(self._left.array)

    def apply_transposed(self, x: Array) -> Array:
        """M' x."""
        self._left.array[:] = x
        self.mat.multTranspose(self._left, self._right)
        return np.array(self._right.array)

    @property
    def T(self) -> TransposedMatrix:
        """M', which lives as long as this."""
        return TransposedMatrix(self)

    def diagonal(self) -> Array:
        """Of a square matrix."""
        self.mat.getDiagonal(self._left)
        return np.array(self._left.array)

    def __abs__(self) -> PetscMatrix:
        starts, columns, entries = self.mat.getValuesCSR()
        csr = starts, columns, np.abs(entries)
        return PetscMatrix(type(self.mat)().createAIJ(size=self.mat.getSizes(), csr=csr, comm=self.mat.getComm()))

    def close(self) -> None:
        """Free what PETSc holds; all processes do."""
        for item in (self.mat, self._right, self._left):
            item.destroy()


class TransposedMatrix:
    """Products with a transpose."""

    def __init__(self, matrix: PetscMatrix) -> None:
        self._matrix = matrix

    def __matmul__(self, x: Array) -> Array:
        return self._matrix.apply_transposed(x)


class Blocks:
    """[-Q, s A'; s A, W] for products with the entries of this process."""

    def __init__(self, A: Any, transposed: Any, Q: Any, W: Any, s: float) -> None:
        self._A, self._transposed, self._Q, self._W, self._s = A, transposed, Q, W, s

    def __matmul__(self, x: Array) -> Array:
        eta, nu = np.split(x, 2)
        first, second = self._s * (self._transposed @ nu) - self._Q @ eta, self._s * (self._A @ eta) + self._W @ nu
        return np.concatenate([first, second])


class PetscHierarchy(Hierarchy):
    """The prolongations of GAMG for the symmetric part of a matrix, below those of a first prolongation."""

    def __init__(self, matrix: SharedMatrix, symmetric: bool, first: Triplets | None) -> None:
        from petsc4py import PETSc

        self.group, self.size = matrix.halo.group, matrix.shape[0]
        self._comm = getattr(self.group, "comm", PETSc.COMM_SELF)
        part, self._pc = petsc_matrix(matrix, symmetric), PETSc.PC().create(self._comm)
        if not symmetric:
            other = part.transpose(PETSc.Mat())
            part.axpy(1.0, other)
            other.destroy()
        finest = [] if first is None else [self.columns(first)]
        for P in finest:
            finer, part = part, part.ptap(P.mat)
            finer.destroy()
        options, prefix = PETSc.Options(), "levels_"
        for name, value in MULTIGRID.items():
            options[prefix + name] = value
        self._pc.setOptionsPrefix(prefix)
        self._pc.setType("gamg")
        self._pc.setOperators(part)
        self._pc.setFromOptions()
        self._pc.setUp()
        for name in MULTIGRID:
            options.delValue(prefix + name)
        part.destroy()
        numbers = range(self._pc.getMGLevels() - 1, 0, -1)
        self._prolongations = finest + [PetscMatrix(self._pc.getMGInterpolation(number)) for number in numbers]
        sizes = self.group.collect([self.size, *(P.mat.getSizes()[1][0] for P in self._prolongations)])
        self._ends = np.cumsum(sizes, axis=0)[self.group.rank]
        self._starts = self._ends - sizes[self.group.rank]

    def matrix(self, matrix: SharedMatrix, columns: Sequence[Triplets] = ()) -> PetscMatrix:
        result = petsc_matrix(matrix, False)
        for entries in columns:
            B = self.columns(entries)
            addend = self.gram(B, np.ones(entries.shape[1]))
            result.axpy(1.0, addend.mat)
            self.release([B, addend])
        return PetscMatrix(result)

    def columns(self, entries: Triplets) -> PetscMatrix:
        from petsc4py import PETSc

        own = entries.on_owners(self.group)
        csr = tuple(part.astype(PETSc.IntType) for part in (own.indptr, own.indices))
        sizes = [(count, int(self.group.sum(count))) for count in entries.shape]
        return PetscMatrix(PETSc.Mat().createAIJ(size=sizes, csr=(*csr, own.data), comm=self._comm))

    def gram(self, columns: PetscMatrix, weights: Array) -> PetscMatrix:
        from petsc4py import PETSc

        scaled, transposed = columns.mat.copy(), columns.mat.transpose(PETSc.Mat())
        scale = scaled.createVecRight()
        scale.array[:] = weights
        scaled.diagonalScale(None, scale)
        product = PetscMatrix(scaled.matMult(transposed))
        for item in (scale, scaled, transposed):
            item.destroy()
        return product

    def project(self, matrix: PetscMatrix) -> list[Any]:
        levels = [matrix]
        for P in self._prolongations:
            levels.append(PetscMatrix(levels[-1].mat.ptap(P.mat)))
        return levels

    def system(self, A: Any, transposed: Any, Q: Any, W: Any, s: float) -> Blocks:
        return Blocks(A, transposed, Q, W, s)

    def prolong(self, level: int, x: Array) -> Array:
        return self._prolongations[level] @ x

    def restrict(self, level: int, r: Array) -> Array:
        return self._prolongations[level].T @ r

    def whole(self, matrix: PetscMatrix) -> sp.csr_matrix:
        starts, columns, entries = matrix.mat.getValuesCSR()
        rows = sp.csr_matrix((entries, columns, starts), (starts.size - 1, matrix.mat.getSize()[1]))
        return sp.vstack(self.group.collect(rows), format="csr")

    def gather(self, x: Array) -> Array:
        return np.concatenate(self.group.collect(x), axis=-1)

    def own(self, level: int, x: Array) -> Array:
        return x[..., self._starts[level] : self._ends[level]]

    def release(self, matrices: Iterable[PetscMatrix]) -> None:
        for matrix in matrices:
            matrix.close()

    def close(self) -> None:
        self.release(self._prolongations)
        self._pc.destroy()
