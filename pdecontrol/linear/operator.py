"""What a Krylov method sees of a matrix: products, and the sums over processes that inner products need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array
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
    close : frees what the product holds, where that is necessary.
    """

    def __init__(
        self,
        apply: Callable[[Array], Array],
        size: int,
        dtype: np.dtype[Any],
        group: Group = ALONE,
        block: Callable[[Array], Array] | None = None,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        self.apply, self.size, self.dtype, self.group = apply, size, dtype, group
        self._block, self.close = block, close

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
