"""Functions on cells: quadratic polynomials by their values at corners and middles of edges, and others at points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from skfem.quadrature import get_quadrature
from skfem.refdom import RefLine, RefTri

from ..arrays import Array, Indices
from .triangles import EDGES

DOMAINS = {1: RefLine, 2: RefTri}


@cache
def rule(dim: int, order: int) -> tuple[Array, Array]:
    """Barycentric coordinates (q, dim + 1) of points inside the reference simplex, and positive weights of sum 1."""
    points, weights = get_quadrature(DOMAINS[dim], order)
    return np.vstack([1 - points.sum(axis=0), points]).T, weights / weights.sum()


class Points(ABC):
    """Points of quadrature in cells; arrays of values (s,) have an entry for each."""

    size: int

    @abstractmethod
    def places(self, corners: Array) -> Array:
        """Where they are, (dim, s), for the corners (dim, dim + 1, n) of all cells."""

    @abstractmethod
    def sums(self, values: Array, count: int) -> Array:
        """int values over each of so many cells, (count,)."""

    @abstractmethod
    def moments(self, values: Array, count: int) -> Array:
        """int values lam_i lam_j over each cell, (dim + 1, dim + 1, count)."""

    @abstractmethod
    def values(self, local: Array) -> Array:
        """The values (s,) of polynomials of degree 0, 1 or 2, given on all cells by those at their nodes (l, n)."""

    def oscillation(self, values: Array, volumes: Array, degree: int) -> Array:
        """||v - Pi v|| on each cell, (n,), with the projection Pi onto polynomials of a degree 0, 1 or 2."""
        off = values - self.values(projected(self.moments(values, volumes.size), volumes, degree))
        return np.sqrt(self.sums(off**2, volumes.size))


@dataclass(frozen=True, eq=False)
class Whole(Points):
    """Those of one rule on some cells.

    Parameters
    ----------
    cells, volumes : (k,), their numbers and volumes.
    coordinates, weights : (q, dim + 1) and (q,), barycentric, and of sum 1.
    """

    cells: Indices
    volumes: Array
    coordinates: Array
    weights: Array

    @classmethod
    def of(cls, cells: Indices, volumes: Array, order: int, dim: int) -> Whole:
        """Those of a rule, by the volumes (n,) of all cells."""
        return cls(cells, volumes[cells], *rule(dim, order))

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.cells.size * self.weights.size

    def places(self, corners: Array) -> Array:
        return np.stack([(row[:, self.cells].T @ self.coordinates.T).ravel() for row in corners])

    def sums(self, values: Array, count: int) -> Array:
        found = np.zeros(count)
        found[self.cells] = self.volumes * (values.reshape(-1, self.weights.size) @ self.weights)
        return found

    def moments(self, values: Array, count: int) -> Array:
        corners = self.coordinates.shape[1]
        products = np.einsum("q,qi,qj->qij", self.weights, self.coordinates, self.coordinates)
        found = np.zeros((corners, corners, count))
        local = values.reshape(-1, self.weights.size) @ products.reshape(-1, corners**2)
        found[:, :, self.cells] = (self.volumes[:, None] * local).T.reshape(corners, corners, -1)
        return found

    def values(self, local: Array) -> Array:
        return np.asarray(local[:, self.cells].T @ shapes(self.coordinates.T, len(local))).ravel()


@dataclass(frozen=True, eq=False)
class Scattered(Points):
    """Points anywhere in cells, any number in each.

    Parameters
    ----------
    cells : (s,), the cell of each point.
    coordinates : (s, dim + 1), its barycentric coordinates there.
    weights : (s,), which add up to the volumes.
    """

    cells: Indices
    coordinates: Array
    weights: Array

    @classmethod
    def of(cls, cells: Indices, corners: Array, volumes: Array, order: int) -> Scattered:
        """Those of a rule on simplices with corners (s, dim + 1, dim + 1), barycentric in the cells they are part of.

        The volumes are those of the simplices, (s,).
        """
        dim = corners.shape[1] - 1
        coordinates, weights = rule(dim, order)
        inside = np.einsum("qv,svb->sqb", coordinates, corners).reshape(-1, dim + 1)
        return cls(np.repeat(cells, weights.size), inside, np.outer(volumes, weights).ravel())

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.cells.size

    def places(self, corners: Array) -> Array:
        return np.einsum("sv,dvs->ds", self.coordinates, corners[:, :, self.cells])

    def sums(self, values: Array, count: int) -> Array:
        return np.bincount(self.cells, self.weights * values, count)

    def moments(self, values: Array, count: int) -> Array:
        corners = self.coordinates.shape[1]
        found = np.empty((corners, corners, count))
        weighted = self.weights * values
        for i in range(corners):
            for j in range(i + 1):
                products = weighted * self.coordinates[:, i] * self.coordinates[:, j]
                found[i, j] = found[j, i] = np.bincount(self.cells, products, count)
        return found

    def values(self, local: Array) -> Array:
        return np.asarray(np.einsum("ls,ls->s", local[:, self.cells], shapes(self.coordinates.T, len(local))))


@dataclass(frozen=True, eq=False)
class Several(Points):
    """Points of several kinds, one after the other."""

    kinds: tuple[Points, ...]

    @property
    def size(self) -> int:  # type: ignore[override]
        return sum(points.size for points in self.kinds)

    def _pairs(self, values: Array) -> Iterator[tuple[Points, Array]]:
        return zip(self.kinds, np.split(values, np.cumsum([points.size for points in self.kinds])[:-1]), strict=True)

    def places(self, corners: Array) -> Array:
        return np.hstack([points.places(corners) for points in self.kinds])

    def sums(self, values: Array, count: int) -> Array:
        return np.asarray(sum(points.sums(own, count) for points, own in self._pairs(values)))

    def moments(self, values: Array, count: int) -> Array:
        return np.asarray(sum(points.moments(own, count) for points, own in self._pairs(values)))

    def values(self, local: Array) -> Array:
        return np.concatenate([points.values(local) for points in self.kinds])


def shapes(lam: Array, count: int) -> Array:
    """The basis (count, s) of degree 0, 1 or 2, by its nodes, at barycentric coordinates (dim + 1, s)."""
    if count == 1:
        return np.ones((1, lam.shape[1]))
    if count == len(lam):
        return lam
    edges = EDGES[: count - len(lam)]
    return np.concatenate([lam * (2 * lam - 1), *([4 * lam[i] * lam[j]] for i, j in edges)])


def nodes(corners: int, degree: int) -> int:
    """How many there are on a cell."""
    return (1, corners, corners * (corners + 1) // 2)[degree]


class Reference(NamedTuple):
    """Integrals over the reference simplex of volume 1, of quadratic polynomials by their values at nodes.

    Attributes
    ----------
    gram : (l, l), of products of two.
    moments : (dim + 1, dim + 1, l), of one with two barycentric coordinates.
    rest : for degrees 0, 1 and 2, (l, l), of products of two less their projections onto that degree.
    """

    gram: Array
    moments: Array
    rest: tuple[Array, ...]


@cache
def reference(corners: int) -> Reference:
    """The integrals for so many corners, 2 or 3."""
    lam, weights = rule(corners - 1, 4)
    count = nodes(corners, 2)
    own = shapes(lam.T, count)
    gram = (own * weights) @ own.T
    rest = []
    for degree in range(3):
        lower = shapes(lam.T, nodes(corners, degree))
        mixed = (lower * weights) @ own.T
        rest.append(gram - mixed.T @ np.linalg.solve((lower * weights) @ lower.T, mixed))
    return Reference(gram, np.einsum("qi,qj,lq,q->ijl", lam, lam, own, weights), tuple(rest))


def quadratic(y: Array, dofs: Indices, corners: int) -> Array:
    """The values (l, n) at corners and middles of edges of a function of degree 1 or 2, given by its coefficients."""
    local = y[dofs]
    if len(dofs) > corners:
        return np.asarray(local)
    return np.concatenate([local, *([(local[i] + local[j]) / 2] for i, j in EDGES[: nodes(corners, 2) - corners])])


def projected(moments: Array, volumes: Array, degree: int = 2) -> Array:
    """The projection (l, n) onto polynomials of a degree of a function with moments int r lam_i lam_j."""
    corners = len(moments)
    first = moments.sum(axis=1)
    if degree == 0:
        return first.sum(axis=0, keepdims=True) / volumes
    lam, weights = rule(corners - 1, 4)
    own = shapes(lam.T, nodes(corners, degree))
    load = first
    if degree == 2:
        load = functional(moments, nodes(corners, 2))
    return np.linalg.solve((own * weights) @ own.T, load / volumes)


def functional(moments: Array, count: int) -> Array:
    """int r phi on each cell, (count, n), for the basis of degree 1 or 2, by the moments int r lam_i lam_j of r."""
    corners = len(moments)
    first = moments.sum(axis=1)
    if count == corners:
        return first
    rows = [2 * moments[i, i] - first[i] for i in range(corners)]
    return np.stack(rows + [4 * moments[i, j] for i, j in EDGES[: count - corners]])


def moments_of(local: Array, volumes: Array) -> Array:
    """int r lam_i lam_j (dim + 1, dim + 1, n) of quadratic r (l, n)."""
    corners = 2 if len(local) == 3 else 3
    return np.asarray(np.einsum("ijl,ln->ijn", reference(corners).moments, local) * volumes)


def squares(local: Array, volumes: Array, degree: int | None = None) -> Array:
    """||r||^2 on each cell (n,) of quadratic r (l, n), or of what is left of r without its projection onto a degree."""
    corners = 2 if len(local) == 3 else 3
    form = reference(corners).gram if degree is None else reference(corners).rest[degree]
    return np.maximum(np.einsum("ln,lk,kn->n", local, form, local) * volumes, 0.0)


def children(simplices: Array) -> Array:
    """Intervals in two halves, triangles in four, by their corners (s, dim + 1, dim + 1)."""
    if simplices.shape[1] == 2:
        a, b = simplices[:, 0], simplices[:, 1]
        middle = (a + b) / 2
        parts: list[tuple[Array, ...]] = [(a, middle), (middle, b)]
    else:
        a, b, c = simplices[:, 0], simplices[:, 1], simplices[:, 2]
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.stack([np.stack(part, axis=1) for part in parts], axis=1).reshape(-1, *simplices.shape[1:])
