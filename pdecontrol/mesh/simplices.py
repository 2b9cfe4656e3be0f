"""The geometry of sets of simplices: volumes, barycentric coordinates, and the search for points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array, Indices
from .quadratic import EDGES, Bends, Quadratic, edge_offsets, simplex_rule, weighted_sum

# Relative to the diameter: a simplex this near contains the point up to rounding, which ends the search, and
# points farther than this from all simplices are refused.
_INSIDE = 1e-12
_OUTSIDE = 1e-8


@dataclass(frozen=True, eq=False)
class Simplices:
    """Simplices of dimension k in space: cells, or facets of a boundary.

    Parameters
    ----------
    vertices : shape (dim, nv).
    simplices : shape (k + 1, m), k <= dim, the vertex numbers.
    bends : edges and places of their middles, where some are bent (see `Mesh`). The barycentric coordinates of points
        are then those on the reference simplex.
    """

    vertices: Array
    simplices: Array
    bends: Bends | None = None

    @cached_property
    def _diameter(self) -> float:
        return float(np.linalg.norm(np.ptp(self.vertices, axis=1)))

    @cached_property
    def _factors(self) -> tuple[Array, Array]:
        """QR factors of the matrices whose columns are the edges from vertex 0: no normal equations, so that
        stretched simplices keep their accuracy.
        """
        edges = self.vertices[:, self.simplices[1:]] - self.vertices[:, self.simplices[:1]]
        q, r = np.linalg.qr(np.moveaxis(edges, 2, 0))
        return q, r

    @cached_property
    def measures(self) -> Array:
        """The volumes (m,), of the dimension of the simplices."""
        diagonal = np.diagonal(self._factors[1], axis1=1, axis2=2)
        volumes = np.abs(diagonal.prod(axis=1)) / math.factorial(len(self.simplices) - 1)
        if self.bends is not None:
            volumes[self.bent] = self.bent_integrals(lambda coordinates: np.ones(coordinates.shape[1]), 0)
        return np.asarray(volumes)

    @cached_property
    def shares(self) -> Array:
        """The integrals (k + 1, m) of the barycentric coordinates, which add up to the volumes."""
        shares = np.tile(self.measures / len(self.simplices), (len(self.simplices), 1))
        if self.bends is not None:
            shares[:, self.bent] = self.bent_integrals(lambda coordinates: coordinates, 1)
        return shares

    @cached_property
    def _offsets(self) -> Array:
        if self.bends is None:
            return np.zeros((len(self.vertices), math.comb(len(self.simplices), 2), 0))
        return edge_offsets(self.vertices, self.simplices, self.bends)

    @cached_property
    def bent(self) -> Indices:
        """The numbers of the simplices with bent edges."""
        return np.flatnonzero(self._offsets.any(axis=(0, 1)))

    @cached_property
    def maps(self) -> Quadratic:
        """The maps of the reference simplex to these."""
        return Quadratic(self.vertices[:, self.simplices[:, self.bent]], self._offsets[:, :, self.bent])

    def bent_integrals(self, functions: Callable[[Array], Array], degree: int) -> Array:
        """The integrals (.., bent simplices) of functions (.., q) of barycentric coordinates (k + 1, q).

        They are exact for polynomials of a degree on cells, and exact but for rounding on bent edges and faces.
        """
        dim = len(self.simplices) - 1
        points = (degree + dim) // 2 + 1 if dim == len(self.vertices) else degree + 8
        coordinates, weights = simplex_rule(dim, points)
        return np.asarray(functions(coordinates) @ (self.maps.densities(coordinates[:, None]) * weights).T)

    def at(self, coordinates: Array) -> Array:
        """Where barycentric coordinates (k + 1, q) are in each simplex, shape (dim, q, m)."""
        points = weighted_sum(self.vertices[:, self.simplices][:, :, None], coordinates[..., None])
        if self.bends is not None:
            points[:, :, self.bent] = np.swapaxes(self.maps.points(coordinates[:, None]), 1, 2)
        return points

    @cached_property
    def _gradients(self) -> Array:
        """Gradients of the barycentric coordinates, shape (dim, k + 1, m)."""
        q, r = self._factors
        rows = np.moveaxis(np.linalg.solve(r, q.transpose(0, 2, 1)), 0, 2)
        return np.moveaxis(np.concatenate([-rows.sum(axis=0, keepdims=True), rows]), 1, 0)

    @cached_property
    def _scale(self) -> Array:
        """Mean extent of the simplices along each axis, shape (dim, 1).

        The search works in coordinates divided by it: there, meshes stretched along an axis are regular.
        """
        extents = np.ptp(self.vertices[:, self.simplices], axis=1).mean(axis=1, keepdims=True)
        return np.maximum(extents, 1e-6 * self._diameter)

    @cached_property
    def _midpoints(self) -> Array:
        return self.vertices[:, self.simplices].mean(axis=1) / self._scale

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._midpoints.T)

    @cached_property
    def _balls(self) -> list[tuple[float, Array, cKDTree]]:
        """For simplices of similar size: a radius of balls around their midpoints that contain them, their
        numbers, and the tree of their midpoints.
        """
        corners = self.vertices[:, self.simplices]
        if self.bends is not None:  # bent simplices are in the convex hull of corners and control points of Bezier
            middles = [corners[:, [i, j]].mean(axis=1) for i, j in EDGES[: self._offsets.shape[1]]]
            corners = np.concatenate([corners, np.stack(middles, axis=1) + 2 * self._offsets], axis=1)
        corners = corners / self._scale[:, None]
        radii = np.linalg.norm(corners - self._midpoints[:, None], axis=0).max(axis=0)
        radii += _OUTSIDE * self._diameter / self._scale.min()
        size_classes = np.frexp(radii)[1]
        groups = [np.flatnonzero(size_classes == size_class) for size_class in np.unique(size_classes)]
        return [(radii[group].max(), group, cKDTree(self._midpoints[:, group].T)) for group in groups]

    def locate(self, points: Array, reach: float = 0.0) -> tuple[Array, Array, Array]:
        """For each point (dim, p) the simplex that contains it, or is near, its barycentric coordinates (k + 1, p)
        there, and whether the simplex contains it up to 1e-8 of the diameter, or a share of its longest edge.
        """
        count = points.shape[1]
        found = np.zeros(count, dtype=np.int64)
        coordinates = np.zeros((len(self.simplices), count))
        distance = np.full(count, np.inf)
        for rows, candidates in self._candidates(points, distance):
            values, distances = self._barycentric(points[:, rows], candidates)
            order = np.lexsort((candidates, distances, rows))
            best = order[np.unique(rows[order], return_index=True)[1]]
            best = best[distances[best] < distance[rows[best]]]
            found[rows[best]] = candidates[best]
            coordinates[:, rows[best]] = values[:, best]
            distance[rows[best]] = distances[best]
        allowed = np.full(count, _OUTSIDE * self._diameter)
        if reach:
            corners = self.vertices[:, self.simplices[:, found]]
            edges = [np.linalg.norm(corners[:, i] - corners[:, j], axis=0) for i, j in EDGES[: self._offsets.shape[1]]]
            allowed = np.maximum(allowed, reach * np.max(edges, axis=0, initial=0.0))
        return found, coordinates, distance <= allowed

    def gradients(self, found: Indices, coordinates: Array) -> Array:
        """The gradients (dim, k + 1, p) of the barycentric coordinates, at a point (k + 1, p) of each simplex found."""
        gradients = self._gradients[:, :, found]
        if self.bends is not None:
            curved = np.flatnonzero(np.isin(found, self.bent))
            corners = self.vertices[:, self.simplices[:, found[curved]]]
            maps = Quadratic(corners, self._offsets[:, :, found[curved]])
            gradients[:, :, curved] = maps.gradients(coordinates[:, curved])
        return np.asarray(gradients)

    def _candidates(self, points: Array, distance: Array) -> Iterator[tuple[Array, Array]]:
        """Pairs of points and simplices that may contain them, for the points with no simplex so far.

        A simplex with one of the nearest midpoints nearly always does; else all are tried whose ball contains
        the point.
        """
        inside = _INSIDE * self._diameter
        finite = np.isfinite(points).all(axis=0)
        for nearest in (2, 12):
            open_points = np.flatnonzero(finite & (distance > inside))
            nearest = min(nearest, self.simplices.shape[1])
            neighbours = self._tree.query((points[:, open_points] / self._scale).T, range(1, nearest + 1))[1]
            yield np.repeat(open_points, nearest), neighbours.ravel()
        open_points = np.flatnonzero(finite & (distance > inside))
        for chunk in np.array_split(open_points, len(open_points) // 500 + 1):
            tree = cKDTree((points[:, chunk] / self._scale).T)
            for radius, simplices, midpoints in self._balls:
                pairs = tree.sparse_distance_matrix(midpoints, radius, output_type="ndarray")
                yield chunk[pairs["i"]], simplices[pairs["j"]]

    def _barycentric(self, points: Array, candidates: Array) -> tuple[Array, Array]:
        """Barycentric coordinates of each point in its candidate, shape (k + 1, p), and the distance to it.

        The distance is the largest of those to the plane of the simplex and, from outside, to those of its
        faces.
        """
        corners = self.vertices[:, self.simplices[:, candidates]]
        gradients = self._gradients[:, :, candidates]
        coordinates = np.einsum("dip,dp->ip", gradients, points - corners[:, 0])
        coordinates[0] += 1
        distances = _distances(points - np.einsum("ip,dip->dp", coordinates, corners), coordinates, gradients)
        if self.bends is not None:
            near = np.flatnonzero(distances <= self._sag[candidates])
            maps = Quadratic(corners[:, :, near], self._offsets[:, :, candidates[near]])
            found = maps.coordinates(points[:, near], coordinates[:, near])
            coordinates[:, near], missing = found, points[:, near] - maps.points(found[:, :, None])[:, :, 0]
            distances[near] = _distances(missing, found, maps.gradients(found))
        return coordinates, distances

    @cached_property
    def _sag(self) -> Array:
        """A bound (m,) on how far points of the bent simplices are from the straight ones, negative for these."""
        sag = np.full(self.simplices.shape[1], -np.inf)
        sag[self.bent] = 1.5 * np.linalg.norm(self._offsets[:, :, self.bent], axis=0).max(axis=0)
        return sag + _OUTSIDE * self._diameter


def _distances(missing: Array, coordinates: Array, gradients: Array) -> Array:
    """The largest of the distances to the plane of a simplex, missing (dim, p), and those to its faces from outside."""
    slopes = np.maximum(np.linalg.norm(gradients, axis=0), np.finfo(float).tiny)
    return np.maximum(np.linalg.norm(missing, axis=0), (-coordinates / slopes).max(axis=0))
