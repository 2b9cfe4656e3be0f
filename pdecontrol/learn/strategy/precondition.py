"""Preconditioners for sequences of matrices: what is set up once, and what for each matrix."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import scipy.sparse as sp
from scipy.fft import dstn

from ...arrays import Array
from ...errors import SingularEquationError
from ...linear.direct import sparse_factors
from ...linear.multigrid import calling_pyamg
from ...linear.operator import Operator
from ...linear.petsc import has_package, petsc_preconditioner

Build = Callable[[sp.csr_matrix, bool], Operator]


class ReferenceInverse:
    """L^-1 for one matrix L that stands for a whole family, by a fast transform where there is one, else by factors.

    Parameters
    ----------
    matrix : L.
    grid : the shape of the unknowns, where they form a grid. If sines diagonalise L, as for constant coefficients and
        homogeneous Dirichlet conditions, L^-1 is a fast sine transform; this is found out by a product.
    """

    def __init__(self, matrix: sp.csr_matrix, grid: tuple[int, ...] | None) -> None:
        self.matrix = matrix
        self._values = None if grid is None else _sine_eigenvalues(matrix, grid)
        if self._values is None:
            self._factors = sparse_factors(matrix, definite=False)

    @property
    def fast(self) -> bool:
        """Whether a transform is used."""
        return self._values is not None

    @property
    def least(self) -> float | None:
        """The smallest eigenvalue, where a transform tells it."""
        return None if self._values is None else float(self._values.min())

    def solve(self, b: Array) -> Array:
        """L^-1 b for one (n,) or several (n, c) right-hand sides."""
        if self._values is None:
            if np.iscomplexobj(b) and not np.iscomplexobj(self.matrix.data):
                return self._factors.solve(b.real) + 1j * self._factors.solve(b.imag)
            return self._factors.solve(b)
        if b.ndim == 2:
            return np.stack([self.solve(column) for column in b.T], axis=1)
        waves = dstn(b.reshape(self._values.shape), type=1, norm="ortho")
        waves /= self._values
        return dstn(waves, type=1, norm="ortho").ravel()


def _sine_eigenvalues(matrix: sp.csr_matrix, grid: tuple[int, ...]) -> Array | None:
    """The eigenvalues of a matrix that the sine transform diagonalises, None if it does not."""
    if np.iscomplexobj(matrix.data) or int(np.prod(grid)) != matrix.shape[0]:
        return None
    values = dstn((matrix @ dstn(np.ones(grid), type=1, norm="ortho").ravel()).reshape(grid), type=1, norm="ortho")
    probe = np.random.default_rng(20240116).standard_normal(grid)
    expected = dstn(values * dstn(probe, type=1, norm="ortho"), type=1, norm="ortho").ravel()
    found = matrix @ probe.ravel()
    if np.linalg.norm(found - expected) > 1e-11 * np.linalg.norm(found):
        return None
    return values if np.abs(values).min() > 1e-12 * np.abs(values).max() else None


def mean_operator(reference: ReferenceInverse) -> Build:
    """M^-1 = D^-1/2 L^-1 D^-1/2 with D = diag(A) / diag(L), L the operator of the mean parameters.

    The scaling takes over what varies slowly in the coefficient, and L^-1 the rest: for -div(a grad u) on a grid 9
    iterations whatever the mesh. Without it (D = 1) where the diagonals differ in sign.
    """
    diagonal = reference.matrix.diagonal()

    def build(matrix: sp.csr_matrix, definite: bool) -> Operator:
        ratio = matrix.diagonal() / diagonal
        scale = 1.0 / np.sqrt(ratio) if ratio.real.min() > 0 else np.ones_like(ratio)
        return Operator(lambda v: scale * reference.solve(scale * v), diagonal.size, scale.dtype)

    return build


def jacobi(matrix: sp.csr_matrix, definite: bool) -> Operator:
    """M^-1 = diag(A)^-1, 1 where the diagonal is 0."""
    diagonal = matrix.diagonal()
    scale = 1.0 / np.where(diagonal == 0, 1.0, diagonal)
    return Operator(lambda v: scale * v, scale.size, scale.dtype)


def incomplete(matrix: sp.csr_matrix, definite: bool) -> Operator:
    """M^-1 of incomplete factors without fill: Cholesky where the matrix is definite, else LU (PETSc)."""
    return petsc_preconditioner(matrix, "icc" if definite else "ilu", definite)


def boomeramg(matrix: sp.csr_matrix, definite: bool) -> Operator:
    """M^-1 of a V-cycle of BoomerAMG (PETSc with hypre)."""
    return petsc_preconditioner(matrix, "hypre", definite)


def multigrid(matrix: sp.csr_matrix, definite: bool) -> Operator:
    """M^-1 of a V-cycle of classical algebraic multigrid (pyamg)."""
    import pyamg

    try:
        with calling_pyamg():
            cycle = pyamg.ruge_stuben_solver(matrix).aspreconditioner()
    except (ValueError, np.linalg.LinAlgError) as error:
        raise SingularEquationError(f"multigrid breaks down for this matrix ({error}).") from None

    def apply(v: Array) -> Array:
        try:
            return cycle.matvec(v)
        except ValueError:  # its coarsest solver refuses what is not finite
            return np.full_like(v, np.nan)

    return Operator(apply, matrix.shape[0], matrix.dtype)


def has_petsc(matrix: sp.csr_matrix) -> str | None:
    """Why PETSc cannot take a matrix, None if it can."""
    if find_spec("petsc4py") is None:
        return "petsc4py is not installed"
    return "PETSc takes real matrices here" if np.iscomplexobj(matrix.data) else None


def has_hypre(matrix: sp.csr_matrix) -> str | None:
    """Why BoomerAMG cannot take a matrix, None if it can."""
    if missing := has_petsc(matrix):
        return missing
    return None if has_package("hypre") else "PETSc has no hypre"


def has_pyamg(matrix: sp.csr_matrix) -> str | None:
    """Why pyamg cannot take a matrix, None if it can."""
    if find_spec("pyamg") is None:
        return "pyamg is not installed: pip install pyamg"
    return "complex" if np.iscomplexobj(matrix.data) else None
