"""Quadratic maps of simplices: cells and facets of which some edges are bent, and sums over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import roots_jacobi

from ..arrays import Array, Indices
from ..errors import MeshError
from .cells import edge_key, edges_of

# The edges of a simplex of dimension k are the first k (k + 1) / 2 of these.
EDGES = ((0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3))

Bends = tuple[Array, Array]  # edges (2, n), sorted columns of vertex numbers, and places (dim, n) of their middles

_STEPS = 30  # of Newton's method, of which a point in a simplex takes four or five


@dataclass(frozen=True, eq=False)
class Quadratic:
    """Images of the reference simplex under x(l) = sum_i l_i v_i + sum_ij 4 l_i l_j d_ij, of barycentric coordinates l.

    Coordinates have the shape (k + 1, m, q), or (k + 1, 1, q) where they are the same in all simplices.

    Parameters
    ----------
    corners : shape (dim, k + 1, m), the vertices v_i.
    offsets : shape (dim, k (k + 1) / 2, m), the vectors d_ij from the midpoints of the edges to where they are bent to.
    """

    corners: Array
    offsets: Array

    def points(self, coordinates: Array) -> Array:
        """Where the coordinates are, shape (dim, m, q)."""
        result = weighted_sum(self.corners[..., None], coordinates)
        for number, (i, j) in enumerate(self._edges):
            result += self.offsets[:, number, :, None] * (4 * coordinates[i] * coordinates[j])
        return result

    def derivatives(self, coordinates: Array) -> Array:
        """The matrices (m, q, dim, k) of derivatives by the coordinates but the first, which makes their sum one."""
        edges = self.corners[:, 1:] - self.corners[:, :1]
        result = np.broadcast_to(edges[..., None], (*edges.shape, coordinates.shape[2])).copy()
        for number, (i, j) in enumerate(self._edges):
            offset = 4 * self.offsets[:, number, :, None]
            for own, other in ((i, j), (j, i)):
                change = offset * coordinates[other]
                if own == 0:
                    result -= change[:, None]
                else:
                    result[:, own - 1] += change
        return np.moveaxis(result, (2, 3), (0, 1))

    def densities(self, coordinates: Array) -> Array:
        """How much the maps stretch volumes, areas or lengths, shape (m, q)."""
        derivatives = self.derivatives(coordinates)
        if derivatives.shape[2] == derivatives.shape[3]:
            return np.asarray(np.abs(np.linalg.det(derivatives)))
        return np.asarray(np.sqrt(np.linalg.det(np.swapaxes(derivatives, 2, 3) @ derivatives)))

    def gradients(self, coordinates: Array) -> Array:
        """The gradients (dim, k + 1, m) of the coordinates, at a point (k + 1, m) of each simplex."""
        inverse = np.linalg.pinv(self.derivatives(coordinates[:, :, None])[:, 0])
        gradients = np.concatenate([-inverse.sum(axis=1, keepdims=True), inverse], axis=1)
        return np.moveaxis(gradients, (2, 1, 0), (0, 1, 2))

    def coordinates(self, points: Array, start: Array) -> Array:
        """The coordinates (k + 1, m) of a point (dim, m) in each simplex by Newton's method.

        On curves and surfaces, Gauss-Newton: those of a point near by.
        """
        found = np.clip(start, 0.0, 1.0)
        found /= found.sum(axis=0)
        for _ in range(_STEPS):
            inverse = np.linalg.pinv(self.derivatives(found[:, :, None])[:, 0])
            missing = points - self.points(found[:, :, None])[:, :, 0]
            step = np.einsum("mrd,dm->rm", inverse, missing)
            step /= np.maximum(np.abs(step).max(axis=0), 1.0)
            found[1:] += step
            found[0] = 1 - found[1:].sum(axis=0)
            if np.abs(step).max(initial=0.0) <= 1e-14:
                break
        return found

    @property
    def _edges(self) -> tuple[tuple[int, int], ...]:
        return EDGES[: self.offsets.shape[1]]


def weighted_sum(corners: Array, coordinates: Array) -> Array:
    """The sum of corners (dim, k + 1, ..) times coordinates (k + 1, ..), to the last bit the same in any company."""
    result = corners[:, 0] * coordinates[0]
    for i in range(1, len(coordinates)):
        result += corners[:, i] * coordinates[i]
    return np.asarray(result)


def edge_offsets(vertices: Array, simplices: Array, bends: Bends) -> Array:
    """The vectors (dim, edges, m) from the midpoints of the edges of simplices to their middles: zero if straight."""
    count, (edges, places) = vertices.shape[1], bends
    offsets = places - (vertices[:, edges[0]] + vertices[:, edges[1]]) / 2
    keys = edge_key(edges[0], edges[1], count)
    order = np.argsort(keys)
    pairs = EDGES[: math.comb(len(simplices), 2)]
    result = np.zeros((len(vertices), len(pairs), simplices.shape[1]))
    for row, (i, j) in enumerate(pairs):
        wanted = edge_key(simplices[i], simplices[j], count)
        numbers = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), order.size - 1)]
        bent = keys[numbers] == wanted
        result[:, row, bent] = offsets[:, numbers[bent]]
    return result


@cache
def simplex_rule(dim: int, count: int) -> tuple[Array, Array]:
    """Barycentric coordinates (dim + 1, q) and weights (q,) of a rule of order 2 count - 1 on the reference simplex.

    Gauss-Jacobi rules multiplied: A. H. Stroud, Approximate calculation of multiple integrals (1971), section 2.4.
    """
    coordinates, weights = np.ones((1, 1)), np.ones(1)
    for power in range(dim):
        x, w = roots_jacobi(count, power, 0)
        x, w = (1 + x) / 2, w / 2 ** (power + 1)
        inner = coordinates[:, None] * (1 - x[:, None])
        coordinates = np.vstack([np.repeat(x, weights.size)[None], inner.reshape(len(coordinates), -1)])
        weights = np.outer(w, weights).ravel()
    return coordinates, weights


def checked_bends(points: Array, cells: Array, bends: Bends) -> Bends:
    """Edges that are bent, each once, with places; raises MeshError unless they are that, and cells stay invertible."""
    edges, places = np.sort(bends[0], axis=0), bends[1]
    dim, count = points.shape
    if dim == 1 or edges.ndim != 2 or len(edges) != 2 or places.shape != (dim, edges.shape[1]) or not edges.size:
        raise MeshError(
            "bends are edges of shape (2, k) and places of shape (dim, k) of their middles, k > 0, in 2D or 3D, got "
            f"{edges.shape} and {places.shape} in {dim}D."
        )
    if not np.isfinite(places).all():
        raise MeshError(f"The middle of bent edge {np.argmin(np.isfinite(places).all(axis=0))} is not finite.")
    keys = edge_key(edges[0], edges[1], count)
    known = np.isin(keys, edges_of(cells, count))
    if not known.all():
        raise MeshError(f"Bent edge {np.argmin(known)}, {edges[:, np.argmin(known)].tolist()}, is not in the mesh.")
    if np.unique(keys).size < keys.size:
        raise MeshError("bends have an edge twice.")
    check_jacobians(points, cells, (edges, places))
    return edges, places


def check_jacobians(points: Array, cells: Array, bends: Bends) -> None:
    """Raise MeshError unless the maps of the bent cells keep the orientation at nodes and points of quadrature."""
    offsets = edge_offsets(points, cells, bends)
    bent: Indices = np.flatnonzero(offsets.any(axis=(0, 1)))
    maps = Quadratic(points[:, cells[:, bent]], offsets[:, :, bent])
    corners = np.eye(len(cells))
    middles = [(corners[:, i] + corners[:, j]) / 2 for i, j in maps._edges]
    places = np.column_stack([corners, *middles, simplex_rule(len(points), 4)[0]])[:, None]
    determinants = np.linalg.det(maps.derivatives(places))
    turned = determinants <= 0
    if turned.any():
        cell, place = np.argwhere(turned)[0]
        where = maps.points(places)[:, cell, place].round(6).tolist()
        raise MeshError(f"Cell {bent[cell]} with its bent edges folds over at x = {where}: refine the mesh there.")
