"""Piecewise polynomials on simplices: where they sit, their values at points and at vertices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
from scipy.sparse import csr_matrix

from ..arrays import Array, Indices, real_array, transposed
from ..errors import DataError
from .cells import number_columns
from .quadratic import EDGES, Bends
from .simplices import Simplices

# Of the longest edge of a simplex: so far beyond the edge of a part its functions have values. An arc of a circle is
# 0.134 away from its chord where that is as long as the radius.
_BEYOND = 0.15


@dataclass(frozen=True, eq=False)
class Lagrange:
    """Piecewise polynomials on a set of simplices (cells, or facets of a boundary).

    Parameters
    ----------
    vertices : shape (dim, nv).
    simplices : shape (k + 1, m), k <= dim, the vertex numbers of the simplices.
    dofs : shape (local, m), the numbers of the degrees of freedom in coefficient vectors: the simplex itself
        for degree 0; its vertices for degree 1; its vertices, then its edges for degree 2, in the order 01 12
        02 03 13 23. For higher degrees, its vertices first, then as `nodes` has them.
    degree : of the polynomials.
    nodes : (local, k + 1), for degrees from 3 on the barycentric coordinates of the local degrees of freedom.
    bends : edges and places of their middles, where some are bent (see `Mesh`). The functions on a simplex with bent
        edges are polynomials of the coordinates on the reference simplex.
    parts : for each part of the domain, or boundary, which of the simplices are in it.

    Raises
    ------
    DataError
        If the degree has no nodes, or the shapes do not fit together.

    Examples
    --------
    >>> from pdecontrol.mesh.elements import cell_lagrange
    >>> from pdecontrol.mesh.shapes import unit_square
    >>> space = cell_lagrange(unit_square(4), 1)
    >>> space.evaluate(space.points[0], [[0.3], [0.6]]).round(12).tolist()
    [0.3]
    """

    vertices: Array
    simplices: Array
    dofs: Array
    degree: int
    nodes: Array | None = None
    bends: Bends | None = None
    parts: Mapping[str, Indices] = field(default_factory=dict)

    def __repr__(self) -> str:
        dim, (corners, count) = len(self.vertices), self.simplices.shape
        return f"<Lagrange of degree {self.degree} on {count} simplices of dimension {corners - 1} in {dim}D>"

    def __post_init__(self) -> None:
        if self.nodes is None and self.degree not in (0, 1, 2):
            raise DataError(
                f"The degree of piecewise polynomials without nodes must be 0, 1 or 2, got {self.degree!r}."
            )
        corners = len(self.simplices)
        local = math.comb(corners - 1 + self.degree, self.degree)
        if corners - 1 > len(self.vertices) or self.dofs.shape != (local, self.simplices.shape[1]):
            raise DataError(
                f"Degree {self.degree} on simplices of shape {self.simplices.shape} in dimension "
                f"{len(self.vertices)} takes dofs of shape {(local, self.simplices.shape[1])}, "
                f"got {self.dofs.shape}."
            )

    @cached_property
    def size(self) -> int:
        """Number of degrees of freedom."""
        return int(self.dofs.max()) + 1

    @cached_property
    def points(self) -> Array:
        """Where each degree of freedom sits, shape (dim, size): a vertex or a midpoint."""
        points = np.full((len(self.vertices), self.size), np.nan)
        points[:, self.dofs] = self._geometry.at(self.local_nodes.T)
        return points

    def evaluate(self, array: Array, points: Array, side: str | None = None) -> Array:
        """Values at points of shape (dim, p) of the function with the given coefficients (size,).

        Where the function jumps, at a point on two simplices, the value is that on one of them. With the tag of a part
        as `side`, it is that of the simplices of the part, whose polynomials go on beyond its edge: a little, to where
        the curve is that the edge approximates.

        Raises
        ------
        DataError
            If a point is farther from all simplices than 1e-8 of the diameter, or from those of the side than 0.15 of
            the longest edge of the nearest one; if there is no such part, or a shape is wrong.

        Examples
        --------
        >>> from pdecontrol.mesh.elements import cell_lagrange
        >>> from pdecontrol.mesh.shapes import unit_interval
        >>> space = cell_lagrange(unit_interval(2), 0)
        >>> space.evaluate([3.0, 4.0], [[0.1, 0.9]]).tolist()
        [3.0, 4.0]
        """
        return self.sampling(points, side) @ self._checked_array(array)

    def gradient(self, array: Array, points: Array, side: str | None = None) -> Array:
        """Gradients (dim, p) at points of the function with the given coefficients; on cells, see `evaluate`.

        Examples
        --------
        >>> from pdecontrol.mesh.elements import cell_lagrange
        >>> from pdecontrol.mesh.shapes import unit_square
        >>> space = cell_lagrange(unit_square(4), 1)
        >>> space.gradient(space.points[0] - 2 * space.points[1], [[0.3], [0.6]]).round(12).tolist()
        [[1.0], [-2.0]]
        """
        if len(self.simplices) <= len(self.vertices):
            raise DataError("functions on a boundary or an interface have no gradient, those on cells have one.")
        if self.degree == 0:
            raise DataError("functions that are constant on cells have no gradient.")
        found, coordinates = self._located(self._checked(points), side)
        own = self._checked_array(array)[self.dofs[:, found]]
        slopes = np.einsum("lp,lip->ip", own, self._slopes(coordinates))
        return np.einsum("ip,dip->dp", slopes, self._geometry.gradients(found, coordinates))

    def sampling(self, points: Array, side: str | None = None) -> csr_matrix:
        """The matrix (p, size) that takes coefficients to the values at points of shape (dim, p); see `evaluate`."""
        found, coordinates = self._located(self._checked(points), side)
        columns = self.dofs[:, found]
        rows = np.broadcast_to(np.arange(len(found)), columns.shape)
        entries = self._shapes(coordinates).ravel(), (rows.ravel(), columns.ravel())
        return csr_matrix(entries, (len(found), self.size))

    def _located(self, points: Array, side: str | None) -> tuple[Indices, Array]:
        """The simplices of points, and the barycentric coordinates (k + 1, p) in them."""
        where = "outside of the domain of the function"
        if side is None:
            found, coordinates, inside = self._geometry.locate(points)
            self._prefer_outer(points, found, coordinates)
        else:
            if side not in self.parts:
                raise DataError(f"the function has no side {side!r}, the parts of its domain are {list(self.parts)}.")
            where = f"not in the part {side!r}"
            numbers, coordinates, inside = self._sides[side].locate(points, _BEYOND)
            found = self.parts[side][numbers]
        outside = ~inside
        if outside.any():
            first = np.argmax(outside)
            raise DataError(
                f"{outside.sum()} of {len(outside)} points are {where}, the first is point {first} at "
                f"x = {points[:, first].tolist()}; evaluate at points of {'it' if side else 'the domain'} only."
            )
        return found, coordinates

    def _prefer_outer(self, points: Array, found: Indices, coordinates: Array) -> None:
        """Of points on interfaces take the simplices on the outer side, in place."""
        if not self.parts or self.degree == 0:
            return
        copies, opposite = self._opposite
        on = np.flatnonzero((copies[self.simplices[:, found]] | (np.abs(coordinates) < 1e-9)).all(axis=0))
        if not on.size or not opposite.size:
            return
        outer = Simplices(self.vertices, self.simplices[:, opposite], self.bends)
        numbers, others, inside = outer.locate(points[:, on])
        found[on[inside]], coordinates[:, on[inside]] = opposite[numbers[inside]], others[:, inside]

    @cached_property
    def _opposite(self) -> tuple[Array, Indices]:
        """Whether vertices repeat the place of one before, as on inner sides of interfaces; simplices at the latter."""
        first, numbers = number_columns(self.vertices)
        copies = first[numbers] != np.arange(numbers.size)
        at = np.zeros(copies.size, dtype=bool)
        at[first[numbers[copies]]] = True
        simplices = at[self.simplices].any(axis=0) & ~copies[self.simplices].any(axis=0)
        return copies, np.flatnonzero(simplices)

    def contains(self, points: Array, side: str | None = None) -> Array:
        """Whether `evaluate` takes each of the points of shape (dim, p), on the side of a part: booleans (p,).

        Examples
        --------
        >>> from pdecontrol.mesh.elements import cell_lagrange
        >>> from pdecontrol.mesh.shapes import unit_interval
        >>> cell_lagrange(unit_interval(2), 1).contains([[0.5, 1.5]]).tolist()
        [True, False]
        """
        points = self._checked(points)
        return (self._geometry.locate(points) if side is None else self._sides[side].locate(points, _BEYOND))[2]

    def nodal(self, array: Array) -> Array:
        """Values at the vertices, shape (nv,), NaN at those of no simplex.

        For degree 0 they are the means of the values on the adjacent simplices, weighted by volume.

        Examples
        --------
        >>> from pdecontrol.mesh.elements import cell_lagrange
        >>> from pdecontrol.mesh.shapes import unit_interval
        >>> cell_lagrange(unit_interval(2), 0).nodal([3.0, 4.0]).tolist()
        [3.0, 3.5, 4.0]
        """
        array = self._checked_array(array)
        count = self.vertices.shape[1]
        if self.degree == 0:
            weights = np.broadcast_to(self._geometry.measures, self.simplices.shape)
            total = np.bincount(self.simplices.ravel(), weights.ravel(), count)
            sums = np.bincount(self.simplices.ravel(), (weights * array[self.dofs]).ravel(), count)
            return np.divide(sums, total, out=np.full(count, np.nan), where=total > 0)
        values = np.full(count, np.nan)
        values[self.simplices] = array[self.dofs[: len(self.simplices)]]
        return values

    def lumped_mass(self) -> Array:
        """Diagonal (size,) of the lumped mass matrix: each simplex shares its volume among its nodes.

        The volume is that of the dimension of the simplices; a point has volume 1.

        Raises
        ------
        DataError
            For degrees from 2 on, where equal shares are not the integrals of the basis.

        Examples
        --------
        >>> from pdecontrol.mesh.elements import cell_lagrange
        >>> from pdecontrol.mesh.shapes import unit_interval
        >>> cell_lagrange(unit_interval(2), 1).lumped_mass().tolist()
        [0.25, 0.5, 0.25]
        """
        if self.degree > 1:
            raise DataError(f"Polynomials of degree {self.degree} have no positive lumped mass; use degree 0 or 1.")
        shares = self._geometry.shares if self.degree else self._geometry.measures[None]
        return np.bincount(self.dofs.ravel(), shares.ravel(), self.size)

    def mass_matrix(self) -> csr_matrix:
        """The matrix (size, size) of the L2 inner product over the simplices.

        Examples
        --------
        >>> from pdecontrol.mesh.elements import cell_lagrange
        >>> from pdecontrol.mesh.shapes import unit_interval
        >>> (cell_lagrange(unit_interval(1), 1).mass_matrix().toarray() * 6).round(12).tolist()
        [[2.0, 1.0], [1.0, 2.0]]
        """
        powers = self._powers[:, None] + self._powers[None]
        dim, factorial = len(self.simplices) - 1, np.vectorize(math.factorial, otypes=[float])
        # The integral of a product of powers of barycentric coordinates, over the volume of the simplex.
        gram = math.factorial(dim) * factorial(powers).prod(axis=2) / math.factorial(2 * self.degree + dim)
        local = self._coefficients.T @ gram @ self._coefficients
        entries = local[:, :, None] * self._geometry.measures
        if self.bends is not None:
            entries[:, :, self._geometry.bent] = self._geometry.bent_integrals(self._products, 2 * self.degree)
        rows, columns = np.broadcast_arrays(self.dofs[:, None], self.dofs[None])
        return csr_matrix((entries.ravel(), (rows.ravel(), columns.ravel())), (self.size, self.size))

    def quadratic(self, array: Array) -> tuple[Lagrange, Array]:
        """The interpolant of degree 2 of a function of higher degree, with its coefficients."""
        corners, edges = self.simplices, self._edges
        pairs = np.hstack([np.sort(corners[[i, j]], axis=0) for i, j in edges])
        _, numbers = np.unique(pairs, axis=1, return_inverse=True)
        vertices = self.vertices.shape[1]
        dofs = np.vstack([corners, vertices + numbers.reshape(len(edges), -1)])
        elements = Lagrange(self.vertices, corners, dofs, 2, bends=self.bends)
        values = self._shapes(elements.local_nodes.T).T @ array[self.dofs]
        coefficients = np.zeros(elements.size)
        coefficients[dofs] = values
        return elements, coefficients

    def fit(self, coordinates: Array, weights: Array, numbers: Indices) -> csr_matrix:
        """The matrix from values at points of the simplices to the coefficients of the function that fits them best.

        That is by least squares on each simplex, the functions on which are to have nothing in common.

        Parameters
        ----------
        coordinates : (k + 1, q), barycentric, of the points, the same in all simplices.
        weights : (m, q), of their squares.
        numbers : (m, q), of the values in the vectors that the matrix takes.
        """
        shapes = self._shapes(coordinates)
        weighted = shapes * weights[:, None]
        local = np.linalg.solve(weighted @ shapes.T, weighted)
        rows = np.broadcast_to(self.dofs.T[:, :, None], local.shape)
        columns = np.broadcast_to(numbers[:, None], local.shape)
        return csr_matrix((local.ravel(), (rows.ravel(), columns.ravel())), (self.size, numbers.size))

    @classmethod
    def from_nodes(
        cls, vertices: Array, simplices: Array, dofs: Array, degree: int, nodes: Array, bends: Bends | None = None,
        parts: Mapping[str, Indices] | None = None,
    ) -> Lagrange:  # fmt: skip
        """Those whose local degrees of freedom sit at nodes (local, k + 1), in any order of those of degree 2."""
        if degree > 2:
            return cls(vertices, simplices, dofs, degree, nodes, bends, parts or {})
        own = cls(vertices, simplices, dofs, degree).local_nodes
        order = np.abs(own[:, None] - nodes[None]).sum(axis=2).argmin(axis=1)
        return cls(vertices, simplices, dofs[order], degree, None, bends, parts or {})

    @cached_property
    def local_nodes(self) -> Array:
        """Barycentric coordinates (local, k + 1) of the local degrees of freedom."""
        if self.nodes is not None:
            return self.nodes
        corners = len(self.simplices)
        nodes = np.eye(corners) if self.degree else np.full((1, corners), 1 / corners)
        if self.degree == 2:
            nodes = np.vstack([nodes, *((nodes[i] + nodes[j]) / 2 for i, j in self._edges)])
        return nodes

    @cached_property
    def _powers(self) -> Array:
        """The exponents (local, k + 1) of the products of barycentric coordinates that span the polynomials."""
        every = product(range(self.degree + 1), repeat=len(self.simplices))
        return np.array([powers for powers in every if sum(powers) == self.degree])

    @cached_property
    def _coefficients(self) -> Array:
        """The basis functions (columns) in terms of these products."""
        return np.linalg.inv((self.local_nodes[:, None] ** self._powers).prod(axis=2))

    def _shapes(self, coordinates: Array) -> Array:
        """The basis functions (local, p) at barycentric coordinates (k + 1, p)."""
        if self.degree == 0:
            return np.ones((1, coordinates.shape[1]))
        if self.degree == 1:
            return coordinates
        return self._coefficients.T @ (coordinates[None] ** self._powers[:, :, None]).prod(axis=1)

    def _slopes(self, coordinates: Array) -> Array:
        """The derivatives (local, k + 1, p) of the basis functions by the barycentric coordinates (k + 1, p)."""
        lowered = np.maximum(self._powers[:, None] - np.eye(len(coordinates), dtype=int), 0)
        products = (coordinates ** lowered[..., None]).prod(axis=2)
        return np.einsum("nl,nip->lip", self._coefficients, self._powers[:, :, None] * products)

    def _products(self, coordinates: Array) -> Array:
        shapes = self._shapes(coordinates)
        return np.asarray(shapes[:, None] * shapes)

    @property
    def _edges(self) -> tuple[tuple[int, int], ...]:
        return EDGES[: math.comb(len(self.simplices), 2)]

    @cached_property
    def _geometry(self) -> Simplices:
        return Simplices(self.vertices, self.simplices, self.bends)

    @cached_property
    def _sides(self) -> dict[str, Simplices]:
        """The simplices of each part."""
        return {tag: Simplices(self.vertices, self.simplices[:, part], self.bends) for tag, part in self.parts.items()}

    def _checked_array(self, array: Array) -> Array:
        array = np.asarray(array)
        if array.shape != (self.size,):
            raise DataError(f"Expected {self.size} coefficients, got an array of shape {array.shape}.")
        return array

    def _checked(self, points: Array) -> Array:
        points, dim = real_array(points, "points"), len(self.vertices)
        if points.ndim != 2 or len(points) != dim:
            raise DataError(f"Expected points of shape ({dim}, p), got {points.shape}{transposed(points, dim)}.")
        return points
