"""The geometry of conforming triangles: edges, neighbours, gradients of barycentric coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arrays import Array, Indices
from ..mesh.cells import number_columns

EDGES = ((0, 1), (1, 2), (0, 2))  # the local vertices of edge 0, 1, 2 of a triangle
OPPOSITE = np.array([1, 2, 0])  # the edge opposite to vertex 0, 1, 2


@dataclass(frozen=True, eq=False)
class Triangles:
    """A conforming mesh of n triangles in the plane.

    Parameters
    ----------
    points : (2, p), the vertices.
    cells : (3, n), the vertex numbers of each triangle, in any orientation.
    """

    points: Array
    cells: Indices

    @property
    def count(self) -> int:
        """The number of triangles."""
        return self.cells.shape[1]

    @cached_property
    def corners(self) -> Array:
        """Where the vertices of each triangle are: (2, 3, n)."""
        return np.asarray(self.points[:, self.cells])

    @cached_property
    def _determinants(self) -> Array:
        a, b = self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0]
        return np.asarray(a[0] * b[1] - a[1] * b[0])

    @cached_property
    def areas(self) -> Array:
        """(n,)."""
        return np.abs(self._determinants) / 2

    @cached_property
    def positive(self) -> Array:
        """Whether the vertices of each triangle run counterclockwise: (n,)."""
        return np.asarray(self._determinants > 0)

    @cached_property
    def gradients(self) -> Array:
        """Of the barycentric coordinates: (2, 3, n)."""
        along = np.roll(self.corners, -2, axis=1) - np.roll(self.corners, -1, axis=1)  # the edge opposite to each
        return np.stack([-along[1], along[0]]) / self._determinants

    @cached_property
    def lengths(self) -> Array:
        """Of the three edges, in the order of `EDGES`: (3, n)."""
        return np.stack([np.linalg.norm(self.corners[:, b] - self.corners[:, a], axis=0) for a, b in EDGES])

    @cached_property
    def diameters(self) -> Array:
        """(n,)."""
        return np.asarray(self.lengths.max(axis=0))

    @cached_property
    def _numbered(self) -> tuple[Indices, Indices]:
        columns = np.sort(np.concatenate([self.cells[list(edge)] for edge in EDGES], axis=1), axis=0)
        first, numbers = number_columns(columns)
        return columns[:, first], numbers.reshape(3, self.count)

    @property
    def facets(self) -> Indices:
        """The vertex numbers of all edges, each once, ascending in each column: (2, f)."""
        return self._numbered[0]

    @property
    def facets_of(self) -> Indices:
        """The numbers of the edges of each triangle, in the order of `EDGES`: (3, n)."""
        return self._numbered[1]

    @cached_property
    def cells_of(self) -> Indices:
        """The triangles on both sides of each edge, -1 for the second one on the boundary: (2, f)."""
        numbers, cells = self.facets_of.ravel(), np.tile(np.arange(self.count), 3)
        order = np.argsort(numbers, kind="stable")
        begin = np.searchsorted(numbers[order], np.arange(self.facets.shape[1]))
        sides = np.full((2, begin.size), -1)
        sides[0] = cells[order][begin]
        inner = np.bincount(numbers) == 2
        sides[1, inner] = cells[order][begin[inner] + 1]
        return sides

    @property
    def boundary(self) -> Array:
        """Whether each edge is on the boundary: (f,)."""
        return np.asarray(self.cells_of[1] < 0)

    @cached_property
    def facet_lengths(self) -> Array:
        """(f,)."""
        a, b = self.points[:, self.facets[0]], self.points[:, self.facets[1]]
        return np.asarray(np.linalg.norm(b - a, axis=0))
