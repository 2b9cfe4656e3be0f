"""The triangles round each vertex of a mesh, in order."""

from __future__ import annotations

import numpy as np

from ..arrays import Array, Indices
from .statement import NoRouteError
from .triangles import OPPOSITE, Triangles


class Patches:
    """The triangles round each vertex counterclockwise, on the boundary from one boundary edge to the other.

    Triangles have 3n corners, numbered `vertex * n + triangle` with the vertex 0, 1 or 2. The number of a corner is
    that of the opposite edge of the triangle too. Round a vertex, each triangle is entered through one edge and left
    through the next one.

    Parameters
    ----------
    triangles : the mesh.
    dirichlet : (f,), the facets under Dirichlet conditions; others on the boundary have a prescribed flux.

    Attributes
    ----------
    corner, entry, exit : (3n,), the corners in order, patch by patch, and where their triangles are entered and left.
    vertices : (v,), those of the patches.
    begin, end : (v,), the places of the first and the last corner of each patch.
    facets : (3n,), the facet of each edge.
    outward : (3n,), 1 where the triangle is the first one of its facet, else -1.
    open : (v,), whether the vertex is on the boundary.
    prescribed : (2, v), whether the flux is prescribed where the first triangle is entered, and the last one left.

    Raises
    ------
    NoRouteError
        Where the domain touches itself in a vertex, or Dirichlet conditions are inside of it.
    """

    def __init__(self, triangles: Triangles, dirichlet: Array) -> None:
        if dirichlet[~triangles.boundary].any():
            raise NoRouteError("there are Dirichlet conditions inside the domain")
        count = triangles.count
        self._triangles = triangles
        self.facets = triangles.facets_of[OPPOSITE].ravel()
        self.outward = np.where(triangles.cells_of[0, self.facets] == np.tile(np.arange(count), 3), 1.0, -1.0)
        numbers = np.arange(3 * count).reshape(3, count)
        following, preceding = np.roll(numbers, -1, axis=0), np.roll(numbers, 1, axis=0)
        entry = np.where(triangles.positive, preceding, following).ravel()
        exit = np.where(triangles.positive, following, preceding).ravel()
        present = np.bincount(triangles.cells.ravel()) > 0
        self.vertices = np.flatnonzero(present)
        self.corner, self.begin = self._in_order((np.cumsum(present) - 1)[triangles.cells.ravel()], entry, exit)
        self.entry, self.exit = entry[self.corner], exit[self.corner]
        self._left, self._outward = self.facets[self.exit], self.outward[self.exit]
        self.end = np.append(self.begin[1:], 3 * count) - 1
        self.sizes = self.end - self.begin + 1
        self.ends = self.facets[np.stack([self.entry[self.begin], self.exit[self.end]])]
        self.open = triangles.boundary[self.ends[0]]
        self.prescribed = (triangles.boundary & ~dirichlet)[self.ends]

    def _in_order(self, vertex: Indices, entry: Indices, exit: Indices) -> tuple[Indices, Indices]:
        """The corners, and where each patch begins."""
        triangles = self._triangles
        second = triangles.facets[1].astype(np.int64)

        def spoke(edges: Indices) -> Indices:
            facets = self.facets[edges].astype(np.int64)
            return 2 * facets + (second[facets] == triangles.cells.ravel())

        entered, left = spoke(entry), spoke(exit)
        behind = np.full(2 * second.size, -1)
        behind[entered] = np.arange(vertex.size)
        first = np.empty(self.vertices.size, dtype=np.int64)
        first[vertex] = np.arange(vertex.size)
        outer = np.flatnonzero(triangles.boundary[entered // 2])
        first[vertex[outer]] = outer
        sizes = np.bincount(vertex)
        begin = np.cumsum(sizes) - sizes
        order = np.full(vertex.size, -1)
        place, last, corner = begin, begin + sizes - 1, first
        while place.size:
            order[place] = corner
            corner = behind[left[corner]]
            on = (corner >= 0) & (place < last)
            place, last, corner = place[on] + 1, last[on], corner[on]
        if (order < 0).any():
            at = self.vertices[np.searchsorted(begin, np.argmin(order), side="right") - 1]
            raise NoRouteError(f"the domain touches itself at x = {triangles.points[:, at].round(6).tolist()}")
        return order, begin

    def sums(self, values: Array) -> Array:
        """(v,), of values (3n,) at the corners in order."""
        return np.asarray(np.add.reduceat(values, self.begin))

    def running(self, values: Array) -> Array:
        """(3n,), for each corner the sum of the values before it in its patch."""
        afresh = values.copy()
        afresh[self.begin[1:]] -= self.sums(values)[:-1]  # so that rounding is that of one patch
        sums = np.cumsum(afresh) - values
        return sums - np.repeat(sums[self.begin], self.sizes)

    def on_facets(self, left: Array, entered: Array) -> Array:
        """(f,), sums over all patches of values (3n,) where triangles are left, and (v,) where the first is entered."""
        count, first = self._triangles.facets.shape[1], self.facets[self.entry[self.begin[self.open]]]
        return np.bincount(self._left, left, count) + np.bincount(first, entered[self.open], count)

    def flows(self, leaving: Array, entering: Array) -> Array:
        """The same of what flows counterclockwise, positive on facets where it leaves their first triangle."""
        return self.on_facets(self._outward * leaving, -self.outward[self.entry[self.begin]] * entering)

    def through(self, flows: Array) -> Array:
        """(3, n), what leaves each triangle through its edges, of flows (f,) out of the first triangles of facets."""
        return np.asarray((self.outward * flows[self.facets]).reshape(3, -1))

    def constants(self, free: Array, leaving: Array, data: Array) -> Array:
        """(v,), what enters the first triangle of each patch, as prescribed, or free.

        Parameters
        ----------
        leaving : (3n,), what leaves each triangle where nothing enters the first one.
        data : (2, v), what is prescribed to leave the first and the last triangle.
        """
        first, last = self.prescribed
        return np.where(first, -data[0], np.where(last, data[1] - leaving[self.end], free))

    def data(self, moments: Array) -> Array:
        """int g lam^2 and int g lam mu (2, 2, v) on both ends of each patch, by product moments (2, 2, f) on facets.

        lam is 1 at the vertex of the patch, mu at the other one. Raises NoRouteError for data inside the domain.
        """
        if (moments.any(axis=(0, 1)) & ~self._triangles.boundary).any():
            raise NoRouteError("a flux is prescribed inside the domain")
        own = (self._triangles.facets[1, self.ends] == self.vertices).astype(int)
        return np.stack([moments[own, own, self.ends], moments[own, 1 - own, self.ends]])
