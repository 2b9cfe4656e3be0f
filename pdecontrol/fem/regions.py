"""The cells and facets of the distributed engine that a process owns, with their quadrature points."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, Indices
from ..mesh.cells import number_columns
from ..mesh.simplices import Simplices
from . import compat
from .engine import CHUNK, Region
from .partition import Partition, facet_order


class DistributedRegion(Region):
    """A region whose integrals are sums over tabulated basis functions."""

    states: Partition
    cells: Indices  # of each cell or facet
    corners: Indices  # (count, k), the vertices, in the numbers of the mesh
    numbers: Indices  # what orders them on every partition
    rule: tuple[Array, Array]  # barycentric coordinates (quadrature, k) of the points, and shares of the measure
    shapes: Array  # the basis functions (count or 1, quadrature, local) of the cells

    @property
    @abstractmethod
    def slopes(self) -> Array:
        """The derivatives (count or 1, quadrature, local, dim) of the basis functions on the reference cell."""

    @cached_property
    @abstractmethod
    def measures(self) -> Array:
        """Volumes, areas or lengths (count,)."""

    @property
    @abstractmethod
    def coordinates(self) -> Array:
        """The barycentric coordinates (dim + 1, count or 1, quadrature) of the points in the cells."""

    @property
    def local(self) -> Indices:
        """The entries (count, local) of the states on their cells."""
        return self.states.dofs[self.cells]

    @property
    def dx(self) -> Array:
        """The weights (count, quadrature) of integrals."""
        dx = self.measures[:, None] * self.rule[1]
        if self.states.mesh.bends is not None:
            dx[self.geometry.bent] = self._bent_dx
        return dx

    @property
    def shares(self) -> Array:
        """The integrals (count, k) of the barycentric coordinates of each cell or facet."""
        if self.states.mesh.bends is not None:
            return self.geometry.shares.T
        return np.broadcast_to((self.measures / self.corners.shape[1])[:, None], self.corners.shape)

    def points(self, chosen: Indices) -> Array:
        if self.states.mesh.bends is not None:
            return np.swapaxes(self._simplices(self.corners[chosen]).at(self.rule[0].T), 1, 2)
        return np.einsum("qi,dci->dcq", self.rule[0], self.states.mesh.points[:, self.corners[chosen]])

    def functional(self, weight: Array, flux: Array | None = None) -> Array:
        values, dx = np.einsum("cq,cql->cl", weight * self.dx, self.shapes), self.dx
        if flux is not None:
            turned = np.einsum("dcq,cdr->cqr", flux * dx, self._inverse)
            if self.states.mesh.bends is not None:
                bent, inverse = self._bent_inverse
                turned[bent] = np.einsum("dcq,cqrd->cqr", (flux * dx)[:, bent], inverse)
            values += np.einsum("cqr,cqlr->cl", turned, self.slopes)
        return self.states.accumulate(self.local, values)

    def values(self, y: Array) -> Array:
        return np.einsum("cql,cl->cq", self.shapes, self.states.halo.forward(y)[self.local])

    def gradients(self, y: Array) -> Array:
        turned = np.einsum("cqlr,cl->cqr", self.slopes, self.states.halo.forward(y)[self.local])
        gradients = np.einsum("cqr,cdr->dcq", turned, self._inverse)
        if self.states.mesh.bends is not None:
            bent, inverse = self._bent_inverse
            gradients[:, bent] = np.einsum("cqr,cqrd->dcq", turned[bent], inverse)
        return gradients

    @property
    def _inverse(self) -> Array:
        """(count, dim, dim): gradients in straight cells are these times derivatives on the reference cell."""
        return np.linalg.inv(self.states.edges(self.cells))

    def _simplices(self, corners: Indices) -> Simplices:
        return Simplices(self.states.mesh.points, corners.T, self.states.mesh.bends)

    @cached_property
    def geometry(self) -> Simplices:
        """The cells or facets as images of the reference simplex, some of which have bent edges."""
        return self._simplices(self.corners)

    @cached_property
    def _bent_dx(self) -> Array:
        """The weights (bent, quadrature) of integrals over those with bent edges."""
        points, shares = self.rule
        return self.geometry.maps.densities(points.T[:, None]) * shares / math.factorial(points.shape[1] - 1)

    @cached_property
    def _bent_inverse(self) -> tuple[Indices, Array]:
        """The cells with bent edges, and the inverse (bent, quadrature, dim, dim) of the derivatives of their maps."""
        cells, coordinates = self._simplices(self.states.vertices[self.cells]), self.coordinates
        chosen = cells.bent if coordinates.shape[1] > 1 else slice(None)
        return cells.bent, np.linalg.inv(cells.maps.derivatives(coordinates[:, chosen]))

    def mixed_mass(self, at: Indices, functions: Array, columns: int) -> sp.csr_matrix:
        """int w v for functions w (quadrature, k), of which each cell or facet has those at its columns (count, k)."""
        entries = np.einsum("cq,cql,qi->cli", self.dx, self.shapes, functions)
        rows = np.broadcast_to(self.local[:, :, None], entries.shape)
        place = (rows.ravel(), np.broadcast_to(at[:, None, :], entries.shape).ravel())
        return sp.csr_matrix((entries.ravel(), place), (self.states.halo.numbers.size, columns))


class CellRegion(DistributedRegion):
    """All cells, or those of a part, that this process owns."""

    def __init__(self, states: Partition, chosen: Indices | None = None) -> None:
        self.states, self._chosen = states, chosen
        self.cells = np.arange(states.owned_cells) if chosen is None else chosen
        self.corners, self.numbers = states.vertices[self.cells], states.cell_numbers[self.cells]
        points, weights = states.rule
        self.rule = np.column_stack([1 - points.sum(axis=1), points]), weights / weights.sum()
        self.shapes = states.shapes(points)[None]
        self.count, self.quadrature, self.keys = self.cells.size, len(weights), self.numbers[None]

    @property
    def slopes(self) -> Array:
        return self.states.slopes(self.states.rule[0])[None]

    @property
    def coordinates(self) -> Array:
        return self.rule[0].T[:, None]

    @cached_property
    def measures(self) -> Array:
        if self.states.mesh.bends is not None:
            return self.geometry.measures
        result = np.empty(self.count)
        for start in range(0, self.count, CHUNK):
            edges = self.states.edges(self.cells[start : start + CHUNK])
            result[start : start + CHUNK] = np.abs(np.linalg.det(edges)) / math.factorial(self.states.mesh.dim)
        return result

    def dofs(self) -> Indices:
        return self.states.owned_among(self.local)

    def everywhere(self, weight: Array) -> Array:
        """The weight (.., owned cells, quadrature), zero on other cells than those of the part."""
        if self._chosen is None:
            return weight
        full = np.zeros((*weight.shape[:-2], self.states.owned_cells, self.quadrature))
        full[..., self._chosen, :] = weight
        return full


class FacetRegion(DistributedRegion):
    """The facets of a boundary or interface in the cells of this process, each on one process only.

    There are few of them, and FEniCSx takes no data at the quadrature points of facets: matrices are made here too.
    """

    def __init__(self, states: Partition, tag: str) -> None:
        facets, dim = states.mesh.facets(tag), states.mesh.dim
        self.states = states
        self.cells, self.opposite, self.numbers = own_facets(states, facets)
        self.count, self.keys = self.cells.size, facets[:, self.numbers]
        corners = [[j for j in range(dim + 1) if j != i] for i in range(dim + 1)]
        self.local_corners = np.array(corners)[self.opposite]
        self.corners = np.take_along_axis(states.vertices[self.cells], self.local_corners, axis=1)
        if dim == 1:
            points, weights = np.ones((1, 1)), np.ones(1)
        else:
            inner, weights = compat.quadrature_rule(dim - 1, compat.sound_order(dim - 1, 2 * states.degree + 2))
            points = np.column_stack([1 - inner.sum(axis=1), inner])
        self.rule, self.quadrature = (points, weights / weights.sum()), len(weights)
        reference = np.vstack([np.zeros(dim), np.eye(dim)])
        self._places = [points @ reference[corner] for corner in corners]  # the points, by the vertex opposite
        self.shapes = np.array([states.shapes(place) for place in self._places])[self.opposite]

    @property
    def slopes(self) -> Array:
        return np.array([self.states.slopes(place) for place in self._places])[self.opposite]

    @property
    def coordinates(self) -> Array:
        places = np.array(self._places)[self.opposite]
        return np.moveaxis(np.dstack([1 - places.sum(axis=2), places]), 2, 0)

    @cached_property
    def measures(self) -> Array:
        if self.states.mesh.bends is not None:
            return self.geometry.measures
        corners = np.moveaxis(self.states.mesh.points[:, self.corners], 0, 2)
        edges = corners[:, 1:] - corners[:, :1]
        gram = np.einsum("cid,cjd->cij", edges, edges)
        return np.sqrt(np.linalg.det(gram)) / math.factorial(self.states.mesh.dim - 1)

    def mass(self, weight: Array) -> Array:
        """The matrices (count, local, local) of the facets."""
        return np.einsum("cq,cql,cqm->clm", weight * self.dx, self.shapes, self.shapes)

    def dofs(self) -> Indices:
        layout, dim = self.states.space.dofmap.dof_layout, self.states.mesh.dim
        closures = [layout.entity_closure_dofs(dim - 1, i) for i in range(dim + 1)]
        order = facet_order(dim)
        mine = np.array([closures[order.index(i)] for i in range(dim + 1)])[self.opposite]
        return self.states.owned_among(np.take_along_axis(self.local, mine, axis=1))


def own_facets(states: Partition, facets: Indices) -> tuple[Indices, Indices, Indices]:
    """Cells of this process with facets of a tag, the vertices opposite, and the numbers of the facets in the tag.

    Of the two cells of a facet inside the domain, the one that comes first in the mesh has it.
    """
    dim, count = states.mesh.dim, facets.shape[1]
    touched = np.zeros(states.mesh.points.shape[1], dtype=bool)
    touched[facets] = True
    owned = states.vertices[: states.owned_cells]
    near = np.flatnonzero(touched[owned].sum(axis=1) >= dim)
    candidates = np.hstack([np.delete(owned[near], opposite, axis=1).T for opposite in range(dim + 1)])
    _, distinct = number_columns(np.hstack([facets, np.sort(candidates, axis=0)]))
    place = np.full(distinct.max(initial=-1) + 1, -1)
    place[distinct[:count]] = np.arange(count)
    numbers = place[distinct[count:]].reshape(dim + 1, near.size)
    opposites, which = np.nonzero(numbers >= 0)
    cells, numbers = near[which], numbers[opposites, which]
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, numbers, states.cell_numbers[cells])
    first = np.min(states.group.collect(first), axis=0)
    kept = np.flatnonzero(first[numbers] == states.cell_numbers[cells])
    kept = kept[np.argsort(numbers[kept])]
    return cells[kept], opposites[kept], numbers[kept]
