"""What a Krylov method sees of a matrix: products, and the sums over processes that inner products need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from ..arrays import Array
from ..errors import DataError
from ..parallel import ALONE, Group


class Operator:
    """v -> A v on the entries that this process owns.

    Parameters
    ----------
    apply : the product, for vectors (n,).
    size : how many entries of a vector this process owns.
    dtype : of the matrix.
    group : the processes that share the vectors.
    block : the product for several columns (n, k) at once, where there is a faster one.
    """

    def __init__(
        self,
        apply: Callable[[Array], Array],
        size: int,
        dtype: np.dtype[Any],
        group: Group = ALONE,
        block: Callable[[Array], Array] | None = None,
    ) -> None:
        self.apply, self.size, self.dtype, self.group = apply, size, dtype, group
        self._block = block

    def columns(self, vectors: Array) -> Array:
        """A V for vectors as columns."""
        if self._block is not None:
            return self._block(vectors)
        images = np.empty(vectors.shape, np.result_type(self.dtype, vectors), order="F")
        for image, vector in zip(images.T, vectors.T, strict=True):
            image[:] = self.apply(vector)
        return images

    def inner(self, left: Array, right: Array) -> Array:
        """V^H W, or V^H w, or v^H w, summed over all processes."""
        product = (right.conj() @ left).conj() if right.ndim == 1 else left.conj().T @ right
        return self.group.total(np.asarray(product))

    def norm(self, vector: Array) -> float:
        """Euclidean norm over all processes."""
        return float(np.sqrt(self.inner(vector, vector).real))


def as_operator(matrix: Any, name: str = "the matrix") -> Operator:
    """The operator of a numpy or scipy matrix, a LinearOperator, or a matrix or preconditioner of PETSc.

    Raises
    ------
    DataError
        For anything else, for matrices that are not square, and for entries that are no finite numbers.
    """
    if isinstance(matrix, Operator):
        return matrix
    if type(matrix).__module__.startswith("petsc4py"):
        from .petsc import petsc_operator

        return petsc_operator(matrix)
    if not (sp.issparse(matrix) or isinstance(matrix, np.ndarray | LinearOperator)):
        raise DataError(f"{name} must be a numpy, scipy or PETSc matrix or a LinearOperator, got {type(matrix)}.")
    if len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
        raise DataError(f"{name} must be square, its shape is {matrix.shape}.")
    if matrix.dtype.kind not in "biufc":
        raise DataError(f"{name} must have numbers as entries, not {matrix.dtype}.")
    dtype = np.result_type(matrix.dtype, float)
    if isinstance(matrix, LinearOperator):
        return Operator(matrix.matvec, matrix.shape[0], dtype, block=matrix.matmat)
    if sp.issparse(matrix):
        matrix = matrix if matrix.format in ("csr", "csc") else matrix.tocsr()
    else:
        matrix = np.asarray(matrix)  # a product with np.matrix would have two dimensions
    if not np.isfinite(matrix.data if sp.issparse(matrix) else matrix).all():
        raise DataError(f"{name} has entries that are NaN or infinite.")
    return Operator(matrix.__matmul__, matrix.shape[0], dtype, block=matrix.__matmul__)
