"""Local refinement: cells cut in two at the middles of their longest edges, and those beside them until all conform."""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, Indices
from ..errors import MeshError
from .cells import edge_key
from .checks import checked_array


class Bisection(NamedTuple):
    """Intervals or triangles, some of them cut.

    Parameters
    ----------
    edges : (2, k), the vertices of the edges that are cut, the lower one first. The middle of edge i is vertex n + i.
    cells : (dim + 1, m). The first child of a cell has the number of the cell, the others come after all of these.
    parents : (m,), the cell in which each of them lies.
    points : n, the number of vertices before.
    """

    edges: Indices
    cells: Indices
    parents: Indices
    points: int

    def facets(self, facets: Indices) -> Indices:
        """Facets (dim, k) with those that are cut as halves: the first in their place, the second after all."""
        if len(facets) < 2:
            return facets
        (low, high), middles = facets, self._middles(facets)
        cut = middles >= 0
        first = np.where(cut, [low, middles], facets)
        return np.hstack([first, [high[cut], middles[cut]]])

    def _middles(self, edges: Indices) -> Indices:
        """The vertices in the middle of edges (2, k), -1 where they are not cut."""
        own, keys = (edge_key(pairs[0], pairs[1], self.points) for pairs in (self.edges, edges))
        places = np.searchsorted(own, keys)
        found = np.append(own, -1)[places] == keys
        return np.where(found, self.points + places, -1)


def bisection(points: Array, cells: Indices, marked: Indices) -> Bisection:
    """Cut all edges of the marked cells, and the longest edge of each cell of which any edge is cut.

    A triangle is cut from the middle of its longest edge, first to the opposite vertex, then to the middles of its
    other edges that are cut.

    Notes
    -----
    Of the two halves of a triangle the one with the second longest edge has it as its longest one, and is cut there.
    The quarters of the other half are similar to the whole triangle and to a quarter of the first half. All shapes are
    therefore those of repeated cuts at the longest edge, so that no angle, however often a mesh is cut, is less than
    half the smallest angle of the cell it came from [1]_.

    .. [1] I. G. Rosenberg, F. Stenger, A lower bound on the angles of triangles constructed by bisecting the longest
       side, Mathematics of Computation 29 (1975), 390-395. Refinement of this kind: M.-C. Rivara, Algorithms for
       refining triangular grids suitable for adaptive and multigrid techniques, International Journal for Numerical
       Methods in Engineering 20 (1984), 745-756.
    """
    count, parents = points.shape[1], np.arange(cells.shape[1])
    keys, numbers = np.unique([edge_key(a, b, count) for a, b in combinations(cells, 2)], return_inverse=True)
    ends = np.stack([keys // count, keys % count])
    lengths = np.linalg.norm(points[:, ends[0]] - points[:, ends[1]], axis=0)
    numbers = numbers.reshape(-1, len(parents))
    numbers = np.take_along_axis(numbers, np.argsort(-lengths[numbers], axis=0, kind="stable"), axis=0)
    cut = np.zeros(len(keys), dtype=bool)
    cut[numbers[:, marked]] = True
    while not cut[longest := numbers[0, cut[numbers].any(axis=0)]].all():
        cut[longest] = True
    middles = np.where(cut, count - 1 + np.cumsum(cut), -1)
    for edges in numbers:  # the longest of each cell first
        (a, b), middle = ends[:, edges[parents]], middles[edges[parents]]
        at_a, at_b = cells == a, cells == b
        split = (middle >= 0) & at_a.any(axis=0) & at_b.any(axis=0)
        second = np.where(at_a, middle, cells)[:, split]
        cells = np.hstack([np.where(at_b & split, middle, cells), second])
        parents = np.concatenate([parents, parents[split]])
    return Bisection(ends[:, cut], cells, parents, count)


def marked_cells(marked: Any, count: int) -> Indices:
    """The numbers of those of so many cells that are marked, by numbers or booleans; raises MeshError for others."""
    flags = np.asarray(marked)
    if flags.dtype == bool:
        if flags.shape != (count,):
            raise MeshError(f"Booleans that mark cells have shape ({count},), got {flags.shape}.")
        return np.flatnonzero(flags)
    numbers = checked_array(marked, np.int64, "the marked cells", ndim=1)
    wrong = (numbers < 0) | (numbers >= count)
    if wrong.any():
        raise MeshError(f"Marked cells have numbers from 0 to {count - 1}, got {numbers[np.argmax(wrong)]}.")
    return numbers
