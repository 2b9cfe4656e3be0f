"""Matrices B with a row for each entry of states, divided among the processes: B @ h, and transpose(B) @ p."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, Indices
from ..layout import Layout
from ..linear.matrix import Triplets
from ..parallel import Group, Halo
from ..space import Space


class NarrowMatrix:
    """A matrix with few columns: rank 0 holds the vectors that it is applied to, every process has its rows."""

    def __init__(self, group: Group, columns: sp.spmatrix) -> None:
        self._group, self._columns, self._rows = group, sp.csc_matrix(columns), sp.csr_matrix(columns)
        self._filled = np.flatnonzero(np.diff(self._columns.indptr))

    def __matmul__(self, h: Array) -> Array:
        return np.asarray(self._rows @ self._group.share(h))

    def __abs__(self) -> NarrowMatrix:
        return NarrowMatrix(self._group, abs(self._columns))

    def scaled(self, weights: Array) -> NarrowMatrix:
        """B diag(weights), which rank 0 holds."""
        return NarrowMatrix(self._group, self._rows @ sp.diags(self._group.share(weights)))

    def triplets(self, numbers: Indices, rows: int) -> Triplets:
        """The entries, with numbers given to rows, of which this process owns some; rank 0 owns the columns."""
        local = sp.coo_matrix(self._rows)
        columns = local.shape[1] if self._group.root else 0
        return Triplets.between(numbers[local.row], local.col, local.data, (rows, columns))

    def transposed(self, p: Array) -> Array:
        """B' p."""
        columns, filled = self._columns, self._filled
        sums = np.zeros(columns.shape[1])
        if filled.size:  # in pairs, as numpy adds: equal terms would round alike in a row
            sums[filled] = np.add.reduceat(columns.data * p[columns.indices], columns.indptr[filled])
        total = np.sum(self._group.collect(sums), axis=0)
        return np.asarray(total) if self._group.root else np.zeros(0)


class HaloMatrix:
    """A matrix (states, controls) through a local one (states with ghosts, columns).

    Columns are the controls of this process, or states with ghosts, of which the controls are the entries `nodes`.
    """

    def __init__(self, local: sp.csr_matrix, halo: Halo, nodes: Indices | None = None) -> None:
        self._local, self._transpose, self._halo, self._nodes = local, local.T.tocsr(), halo, nodes

    def __matmul__(self, u: Array) -> Array:
        if self._nodes is not None:
            spread = np.zeros(self._halo.owned)
            spread[self._nodes] = u
            u = self._halo.forward(spread)
        return self._halo.reverse(self._local @ u)

    def __rmul__(self, factor: float) -> HaloMatrix:
        return HaloMatrix(factor * self._local, self._halo, self._nodes)

    def __abs__(self) -> HaloMatrix:
        return HaloMatrix(abs(self._local), self._halo, self._nodes)

    def transposed(self, p: Array) -> Array:
        """B' p."""
        result = self._transpose @ self._halo.forward(p)
        return np.asarray(result if self._nodes is None else self._halo.reverse(result)[self._nodes])

    def triplets(self, numbers: Indices, rows: int) -> Triplets:
        """The entries, with numbers given to rows, of which this process owns some."""
        halo, local = self._halo, self._local.tocoo()
        own = local.shape[1] if self._nodes is None else self._nodes.size
        start = int(np.sum(halo.group.collect(own)[: halo.group.rank]))
        columns = start + np.arange(own)
        if self._nodes is not None:
            spread = np.full(halo.owned, -1)
            spread[self._nodes] = columns
            columns = halo.forward(spread)
        return Triplets.between(halo.forward(numbers)[local.row], columns[local.col], local.data, (rows, own))

    def gram(self, weights: Array) -> sp.csr_matrix:
        """What the controls of this process add to B diag(weights) B', (states with ghosts, states with ghosts)."""
        own = self._local if self._nodes is None else self._local[:, self._nodes]
        return sp.csr_matrix(own @ sp.diags(weights) @ own.T)


class Transpose:
    """B' for a matrix B of this module."""

    def __init__(self, matrix: NarrowMatrix | HaloMatrix) -> None:
        self._matrix = matrix

    def __matmul__(self, p: Array) -> Array:
        return self._matrix.transposed(p)


def absolute(matrix: Any) -> Any:
    """|B|, for a sparse matrix without negative entries itself."""
    if sp.issparse(matrix) and matrix.data.min(initial=0.0) >= 0.0:
        return matrix
    return abs(matrix)


def transpose(matrix: Any) -> Any:
    """B', made once: products with it build nothing."""
    return Transpose(matrix) if isinstance(matrix, (NarrowMatrix, HaloMatrix)) else matrix.T


def triplets(matrix: Any, numbers: Indices, rows: int) -> Triplets:
    """The entries of a matrix of this module, or of scipy, with numbers given to rows, -1 for those left out."""
    if not sp.issparse(matrix):
        found: Triplets = matrix.triplets(numbers, rows)
        return found
    local = matrix.tocoo()
    return Triplets.between(numbers[local.row], local.col, local.data, (rows, local.shape[1]))


def numbers(group: Group, weights: Array, points: Array | None = None) -> Space:
    """Plain numbers with a weighted inner product, all of which rank 0 holds."""
    whole = Space(weights, points=points, numbers=True)
    if group.size == 1:
        return whole
    own = len(weights) if group.root else 0
    mine = replace(whole, mass=weights[:own], points=None if points is None else points[:, :own], diameter=whole.scale)
    return replace(mine, layout=Layout(group, np.arange(own)[None], lambda: mine))
