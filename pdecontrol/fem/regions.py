"""The cells and facets of the distributed engine that a process owns, with their quadrature points."""

from __future__ import annotations

import math
import weakref
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Array, Indices
from . import compat
from .engine import CHUNK, Region

if TYPE_CHECKING:
    from .dolfinx import DolfinxEngine


class CellRegion(Region):
    """All cells, or those of a part, that this process owns; forms are integrated by FEniCSx."""

    def __init__(self, engine: DolfinxEngine, chosen: Indices | None = None) -> None:
        self._engine: DolfinxEngine = weakref.proxy(engine)  # which holds this: communicators are freed at once
        self._chosen = chosen
        self.cells: Indices = np.arange(engine.owned_cells) if chosen is None else chosen
        self.count, self.quadrature = self.cells.size, len(engine.rule[1])
        self.keys = engine.cell_numbers[self.cells][None]

    def points(self, chosen: Indices) -> Array:
        corners = self._engine.vertices[self.cells[chosen]]
        reference = np.column_stack([1 - self._engine.rule[0].sum(axis=1), self._engine.rule[0]])
        return np.einsum("qi,dci->dcq", reference, self._engine.mesh.points[:, corners])

    def functional(self, weight: Array) -> Array:
        return self._engine.assemble_functional(self.everywhere(weight))

    def values(self, y: Array) -> Array:
        shapes = self._engine.shapes(self._engine.rule[0])
        return np.asarray(self._engine.halo.forward(y)[self._engine.dofs[self.cells]] @ shapes.T)

    def dofs(self) -> Indices:
        return self._engine.owned_among(self._engine.dofs[self.cells])

    def volumes(self) -> Array:
        """Volumes of the cells (count,)."""
        result = np.empty(self.count)
        for start in range(0, self.count, CHUNK):
            corners = self._engine.mesh.points[:, self._engine.vertices[self.cells[start : start + CHUNK]]]
            edges = np.moveaxis(corners[:, :, 1:] - corners[:, :, :1], 0, 1)
            result[start : start + CHUNK] = np.abs(np.linalg.det(edges)) / math.factorial(self._engine.mesh.dim)
        return result

    def integrals(self) -> tuple[Indices, Array]:
        """For each cell the dofs (count, local) and the integrals of their basis functions (count, local)."""
        points, weights = self._engine.rule
        means = weights @ self._engine.shapes(points) / weights.sum()
        return self._engine.dofs[self.cells], self.volumes()[:, None] * means

    def everywhere(self, weight: Array) -> Array:
        """The weight (.., owned cells, quadrature), zero on other cells than those of the part."""
        if self._chosen is None:
            return weight
        full = np.zeros((*weight.shape[:-2], self._engine.owned_cells, self.quadrature))
        full[..., self._chosen, :] = weight
        return full


class FacetRegion(Region):
    """The facets of a boundary or interface in the cells of this process, each on one process only.

    There are few of them, and FEniCSx takes no data at the quadrature points of facets: they are integrated here.
    """

    def __init__(self, engine: DolfinxEngine, tag: str) -> None:
        self._engine: DolfinxEngine = weakref.proxy(engine)
        facets = engine.mesh.facets(tag)
        cells, opposite, numbers = own_facets(engine, facets)
        dim, self.cells, self.numbers = engine.mesh.dim, cells, numbers
        self.count, self.keys = cells.size, facets[:, numbers]
        self.corners = np.array([[j for j in range(dim + 1) if j != i] for i in range(dim + 1)])[opposite]
        self.opposite = opposite
        if dim == 1:
            rule, self.weights = np.ones((1, 1)), np.ones(1)
        else:
            inner, self.weights = compat.quadrature_rule(dim - 1, compat.sound_order(dim - 1, 2 * engine.degree + 2))
            rule = np.column_stack([1 - inner.sum(axis=1), inner])
        self.quadrature = len(self.weights)
        reference = np.vstack([np.zeros(dim), np.eye(dim)])
        tabulated = [engine.shapes(rule @ np.delete(reference, i, axis=0)) for i in range(dim + 1)]
        self.barycentric = rule
        self.basis = np.array(tabulated)[opposite]  # (count, quadrature, local)
        self.local = engine.dofs[cells]  # (count, local)

    @cached_property
    def vertices(self) -> Indices:
        """The vertices (count, dim) of the facets, in the numbers of the mesh."""
        return np.take_along_axis(self._engine.vertices[self.cells], self.corners, axis=1)

    def points(self, chosen: Indices) -> Array:
        return np.einsum("qi,dci->dcq", self.barycentric, self._engine.mesh.points[:, self.vertices[chosen]])

    @cached_property
    def measures(self) -> Array:
        """Lengths or areas (count,) of the facets."""
        corners = np.moveaxis(self._engine.mesh.points[:, self.vertices], 0, 2)
        edges = corners[:, 1:] - corners[:, :1]
        gram = np.einsum("cid,cjd->cij", edges, edges)
        return np.sqrt(np.linalg.det(gram)) / math.factorial(self._engine.mesh.dim - 1)

    @cached_property
    def dx(self) -> Array:
        """The weights (count, quadrature) of integrals over the facets."""
        return self.measures[:, None] * self.weights / self.weights.sum()

    def functional(self, weight: Array) -> Array:
        values = np.einsum("cq,cql->cl", weight * self.dx, self.basis)
        return self._engine.accumulate(self.local, values)

    def mass(self, weight: Array) -> Array:
        """The matrices (count, local, local) of the facets."""
        return np.einsum("cq,cql,cqm->clm", weight * self.dx, self.basis, self.basis)

    def values(self, y: Array) -> Array:
        return np.einsum("cql,cl->cq", self.basis, self._engine.halo.forward(y)[self.local])

    def dofs(self) -> Indices:
        layout = self._engine.space.dofmap.dof_layout
        closures = [layout.entity_closure_dofs(self._engine.mesh.dim - 1, i) for i in range(self._engine.mesh.dim + 1)]
        order = facet_order(self._engine.mesh.dim)
        mine = np.array([closures[order.index(i)] for i in range(self._engine.mesh.dim + 1)])[self.opposite]
        return self._engine.owned_among(np.take_along_axis(self.local, mine, axis=1))

    def integrals(self) -> tuple[Indices, Array]:
        """For each facet the dofs (count, local) and the integrals of their basis functions (count, local)."""
        return self.local, np.einsum("cq,cql->cl", self.dx, self.basis)


def facet_order(dim: int) -> list[int]:
    """The vertex opposite to each facet of the reference cell, in the order of basix: an interval's are its ends."""
    return [1, 0] if dim == 1 else list(range(dim + 1))


def own_facets(engine: DolfinxEngine, facets: Indices) -> tuple[Indices, Indices, Indices]:
    """Cells of this process with facets of a tag, the vertices opposite, and the numbers of the facets in the tag.

    Of the two cells of a facet inside the domain, the one that comes first in the mesh has it.
    """
    dim = engine.mesh.dim
    touched = np.zeros(engine.mesh.points.shape[1], dtype=bool)
    touched[facets] = True
    compact = np.cumsum(touched) - 1  # large meshes have too many points for the products of their numbers
    owned = engine.vertices[: engine.owned_cells]
    near = np.flatnonzero(touched[owned].sum(axis=1) >= dim)
    shape = (int(touched.sum()),) * dim
    keys = np.ravel_multi_index(tuple(compact[facets]), shape)
    order = np.argsort(keys)
    found = []
    for opposite in range(dim + 1):
        candidates = np.delete(owned[near], opposite, axis=1)
        possible = touched[candidates].all(axis=1)
        corners = np.sort(compact[candidates[possible]].T, axis=0)
        own = np.ravel_multi_index(tuple(corners), shape)
        place = np.searchsorted(keys[order], own).clip(max=max(len(keys) - 1, 0))
        hit = np.flatnonzero(keys[order][place] == own) if len(keys) else np.zeros(0, dtype=int)
        found.append(np.stack([near[possible][hit], np.full(hit.size, opposite), order[place[hit]]]))
    cells, opposites, numbers = np.hstack(found)
    first = np.full(len(keys), np.iinfo(np.int64).max)
    np.minimum.at(first, numbers, engine.cell_numbers[cells])
    if engine.group.size > 1:
        first = np.min(engine.group.collect(first), axis=0)
    kept = np.flatnonzero(first[numbers] == engine.cell_numbers[cells])
    kept = kept[np.argsort(numbers[kept])]
    return cells[kept], opposites[kept], numbers[kept]
