"""Levels of algebraic multigrid: prolongations, and Galerkin products with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array
from ..parallel import ALONE, Group
from .matrix import Triplets


class Hierarchy(ABC):
    """P_0, P_1, ..: from functions on a level to those on the next finer one, the finest being number 0.

    Vectors have the entries of this process. Matrices of the levels have products with vectors, `T`, and a diagonal.
    """

    group: Group
    size: int  # of a vector of the finest level on this process

    @abstractmethod
    def matrix(self, matrix: Any, columns: Sequence[Triplets] = ()) -> Any:
        """A matrix of an engine as one of the finest level, with B B' added for matrices B."""

    @abstractmethod
    def columns(self, entries: Triplets) -> Any:
        """A matrix B with rows of the finest level, for `gram`."""

    @abstractmethod
    def gram(self, columns: Any, weights: Array) -> Any:
        """B diag(weights) B', a matrix of the finest level."""

    @abstractmethod
    def project(self, matrix: Any) -> list[Any]:
        """M_0 = M, M_1 = P_0' M_0 P_0, and so on to the coarsest level."""

    @abstractmethod
    def system(self, A: Any, transposed: Any, Q: Any, W: Any, s: float) -> Any:
        """[-Q, s A'; s A, W] of matrices of a level, for products with vectors (2 n,)."""

    @abstractmethod
    def prolong(self, level: int, x: Array) -> Array:
        """P x, to a level."""

    @abstractmethod
    def restrict(self, level: int, r: Array) -> Array:
        """P' r, from a level."""

    @abstractmethod
    def whole(self, matrix: Any) -> sp.csr_matrix:
        """The whole of a matrix of a level."""

    @abstractmethod
    def gather(self, x: Array) -> Array:
        """The whole of vectors (.., n) of a level."""

    @abstractmethod
    def own(self, level: int, x: Array) -> Array:
        """The entries of this process of whole vectors (.., n) of a level."""

    def release(self, matrices: Iterable[Any]) -> None:  # noqa: B027
        """Free what matrices hold; on several processes, all of them do."""

    def close(self) -> None:  # noqa: B027
        """Free what the prolongations hold; on several processes, all of them do."""


class LocalHierarchy(Hierarchy):
    """Prolongations of scipy, on one process."""

    group = ALONE

    def __init__(self, prolongations: list[sp.csr_matrix], size: int) -> None:
        self._prolongations, self.size = prolongations, size
        self._restrictions = [sp.csr_matrix(P.T) for P in prolongations]

    def matrix(self, matrix: sp.csr_matrix, columns: Sequence[Triplets] = ()) -> Any:
        copy = sp.csr_matrix(matrix, copy=True)  # others share its pattern
        copy.eliminate_zeros()
        for B in map(self.columns, columns):
            copy = copy + B @ B.T
        return copy

    def columns(self, entries: Triplets) -> sp.csr_matrix:
        return entries.on_owners(ALONE)

    def gram(self, columns: sp.csr_matrix, weights: Array) -> Any:
        chosen = columns[:, weights > 0]
        return sp.csr_matrix(chosen @ sp.diags(weights[weights > 0]) @ chosen.T)

    def project(self, matrix: Any) -> list[Any]:
        levels = [matrix]
        for P, R in zip(self._prolongations, self._restrictions, strict=True):
            levels.append(sp.csr_matrix(R @ levels[-1] @ P))
        return levels

    def system(self, A: Any, transposed: Any, Q: Any, W: Any, s: float) -> sp.csr_matrix:
        return sp.bmat([[-Q, s * transposed], [s * A, W]], format="csr")  # a product with it is faster than with four

    def prolong(self, level: int, x: Array) -> Array:
        return np.asarray(self._prolongations[level] @ x)

    def restrict(self, level: int, r: Array) -> Array:
        return np.asarray(self._restrictions[level] @ r)

    def whole(self, matrix: Any) -> sp.csr_matrix:
        return matrix

    def gather(self, x: Array) -> Array:
        return x

    def own(self, level: int, x: Array) -> Array:
        return x
