"""Sparse matrices whose rows are divided among processes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from ..arrays import Array, Indices
from ..parallel import ALONE, Group, Halo

ROUNDING = 2 * float(np.finfo(float).eps)  # of one entry of a matrix or vector, relative to the terms that it sums


class SharedMatrix:
    """The rows of a matrix that this process owns, with the columns that it sees.

    Parameters
    ----------
    local : (owned, owned and ghosts).
    halo : of the columns; that of one process by itself if None.
    """

    def __init__(self, local: sp.spmatrix, halo: Halo | None = None) -> None:
        self.local = sp.csr_matrix(local)
        self.halo = halo or Halo(ALONE, self.local.shape[0], np.zeros(0, dtype=int))

    @property
    def shape(self) -> tuple[int, int]:
        """Those of the entries that this process owns."""
        return self.local.shape[0], self.halo.owned

    @property
    def ndim(self) -> int:
        return 2

    def __matmul__(self, a: Array) -> Array:
        return np.asarray(self.local @ self.halo.forward(a))

    def __add__(self, other: SharedMatrix) -> SharedMatrix:
        """The sum, which sees the columns of both."""
        halo, parts = self.halo, [self.local, other.local]
        if halo.group.any(not np.array_equal(halo.numbers, other.halo.numbers)):
            numbers = [matrix.halo.numbers[halo.owned :] for matrix in (self, other)]
            ghosts = np.union1d(*numbers)
            halo = Halo(halo.group, halo.owned, ghosts)
            own = np.arange(halo.owned)
            for i, theirs in enumerate(numbers):
                columns = np.concatenate([own, halo.owned + np.searchsorted(ghosts, theirs)])
                entries = parts[i].tocoo()
                place = (entries.row, columns[entries.col])
                parts[i] = sp.csr_matrix((entries.data, place), (len(own), halo.numbers.size))
        return SharedMatrix(parts[0] + parts[1], halo)

    def __rmul__(self, factor: float) -> SharedMatrix:
        return SharedMatrix(factor * self.local, self.halo)

    def __abs__(self) -> SharedMatrix:
        return SharedMatrix(abs(self.local), self.halo)

    def apply_transposed(self, a: Array) -> Array:
        """A' a."""
        return self.halo.reverse(np.asarray(self.local.T @ a))

    def whole(self) -> sp.csr_matrix:
        """The whole matrix, on each process."""
        part = self.local.tocoo()
        own = part.row + self.halo.starts[self.halo.group.rank], self.halo.numbers[part.col], part.data
        rows, columns, entries = map(np.concatenate, zip(*self.halo.group.collect(own), strict=True))
        return sp.csr_matrix((entries, (rows, columns)), (int(self.halo.starts[-1]),) * 2)

    def block(self, chosen: Indices) -> SharedMatrix:
        """The rows and columns of some of the owned entries."""
        start = int(np.sum(self.halo.group.collect(chosen.size)[: self.halo.group.rank]))
        numbers = np.full(self.halo.owned, -1)
        numbers[chosen] = start + np.arange(chosen.size)
        seen = self.halo.forward(numbers)
        ghosts = np.flatnonzero(seen[self.halo.owned :] >= 0) + self.halo.owned
        local = self.local[chosen][:, np.concatenate([chosen, ghosts])]
        return SharedMatrix(local, Halo(self.halo.group, chosen.size, seen[ghosts]))

    def merged(self, numbers: Indices) -> SharedMatrix:
        """E' A E, where E gives each owned entry the value of that with the global number given for it.

        The rows and columns of entries that are no one's value are empty.
        """
        halo, rank = self.halo, self.halo.group.rank
        own = slice(halo.starts[rank], halo.starts[rank + 1])
        part, columns = self.local.tocoo(), halo.forward(numbers)
        rows, columns, entries = numbers[part.row], columns[part.col], part.data
        here = (rows >= own.start) & (rows < own.stop)
        moved = halo.group.collect((rows[~here], columns[~here], entries[~here]))
        theirs = [np.concatenate(arrays) for arrays in zip(*moved, strict=True)]
        chosen = (theirs[0] >= own.start) & (theirs[0] < own.stop)
        pieces = zip((rows[here], columns[here], entries[here]), theirs, strict=True)
        rows, columns, entries = (np.concatenate([piece, more[chosen]]) for piece, more in pieces)
        inside = (columns >= own.start) & (columns < own.stop)
        ghosts = np.unique(columns[~inside])
        local = np.where(inside, columns - own.start, halo.owned + np.searchsorted(ghosts, columns))
        shape = (halo.owned, halo.owned + ghosts.size)
        return SharedMatrix(
            sp.csr_matrix((entries, (rows - own.start, local)), shape), Halo(halo.group, halo.owned, ghosts)
        )


class Triplets(NamedTuple):
    """Entries of a matrix by their numbers among all processes, to be added up where several share a place."""

    rows: Indices
    columns: Indices
    values: Array
    shape: tuple[int, int]  # how many rows and columns this process owns

    @classmethod
    def between(cls, rows: Indices, columns: Indices, values: Array, shape: tuple[int, int]) -> Triplets:
        """Those of entries that have numbers at all."""
        known = (rows >= 0) & (columns >= 0)
        return cls(rows[known], columns[known], values[known], shape)

    def on_owners(self, group: Group) -> sp.csr_matrix:
        """The rows that this process owns, with the columns of all."""
        ends, columns = np.cumsum(group.collect(self.shape[0])), int(group.sum(self.shape[1]))
        owner = np.searchsorted(ends, self.rows, side="right")
        entries, mine = (self.rows, self.columns, self.values), owner == group.rank
        start = ends[group.rank] - self.shape[0]
        moved = group.collect(tuple(part[~mine] for part in entries))
        rows, numbers, values = (np.concatenate(parts) for parts in zip(*moved, strict=True))
        here = (rows >= start) & (rows < ends[group.rank])
        theirs = rows[here], numbers[here], values[here]
        rows, numbers, values = (np.concatenate([a[mine], b]) for a, b in zip(entries, theirs, strict=True))
        return sp.csr_matrix((values, (rows - start, numbers)), (self.shape[0], columns))


def shared(matrix: SharedMatrix | sp.spmatrix) -> SharedMatrix:
    """A matrix of one process by itself as one whose rows may be divided."""
    return matrix if isinstance(matrix, SharedMatrix) else SharedMatrix(matrix)


def kernel_row(matrix: SharedMatrix | sp.spmatrix) -> int | None:
    """A row of this process in a connected component on which constants lie in the kernel, if there is one."""
    whole = shared(matrix)
    halo, local, rows = whole.halo, whole.local, whole.local.shape[0]
    sums, sizes = (np.asarray(part.sum(axis=1)).ravel() for part in (local, abs(local)))
    loose = np.abs(sums) <= 8 * ROUNDING * sizes
    if not halo.group.any(loose.any()):
        return None
    starts = np.append(local.indptr, np.full(halo.numbers.size - rows, local.nnz))
    square = sp.csr_matrix((local.data, local.indices, starts), (halo.numbers.size,) * 2)
    count, component = connected_components(square, directed=False)
    # Components of a process meet those of others in its ghosts.
    starts = np.cumsum([0, *halo.group.collect(count)])
    own = starts[halo.group.rank] + component
    elsewhere = halo.forward(own[:rows])[rows:]
    pairs = np.unique(np.stack([own[rows:], elsewhere]), axis=1)
    links = np.hstack(halo.group.collect(pairs)).astype(int)
    graph = sp.coo_matrix((np.ones(links.shape[1]), (links[0], links[1])), (starts[-1], starts[-1]))
    _, merged = connected_components(graph, directed=False)
    whole = merged[own[:rows]]
    firm = np.unique(np.concatenate(halo.group.collect(np.unique(whole[~loose]))))
    row = np.flatnonzero(~np.isin(whole, firm))
    return int(row[0]) if row.size else None
