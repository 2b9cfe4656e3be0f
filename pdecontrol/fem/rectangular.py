"""Matrices B with a row for each entry of states, divided among the processes: B @ h, and transpose(B) @ p."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, Indices
from ..layout import Layout
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


def transpose(matrix: Any) -> Any:
    """B', made once: products with it build nothing."""
    return Transpose(matrix) if isinstance(matrix, (NarrowMatrix, HaloMatrix)) else matrix.T


def numbers(group: Group, weights: Array, points: Array | None = None) -> Space:
    """Plain numbers with a weighted inner product, all of which rank 0 holds."""
    whole = Space(weights, points=points)
    if group.size == 1:
        return whole
    own = len(weights) if group.root else 0
    mine = Space(weights[:own], points=None if points is None else points[:, :own], diameter=whole.scale)
    return replace(mine, layout=Layout(group, np.arange(own)[None], lambda: mine))
