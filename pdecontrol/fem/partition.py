"""Lagrange elements of FEniCSx on a mesh of pdecontrol, divided among MPI processes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array, Indices
from ..mesh.cells import edge_key, edges_of
from ..mesh.mesh import Mesh
from ..mesh.quadratic import EDGES, edge_offsets
from ..parallel import Group, Halo, MPIGroup, world
from . import compat
from .engine import ORDERS, check_bends


class Partition:
    """The cells, nodes and entries of states that a process owns, and those that it sees.

    Every process holds the arrays of the mesh. Entries of a process are in the order of whole vectors, not in that of
    FEniCSx: on one process arrays mean what they mean elsewhere. `place` has the number of each entry of FEniCSx on
    this process, `taken` the entry of each number.
    """

    def __init__(self, mesh: Mesh, degree: int) -> None:
        check_bends(mesh, degree)
        self.mesh, self.degree = mesh, degree
        self.group, comm = _processes()
        self.order = ORDERS.get((mesh.dim, degree)) or compat.sound_order(mesh.dim, 2 * degree + 2)
        self.rule = compat.quadrature_rule(mesh.dim, self.order)
        self.domain = compat.create_mesh(comm, *_rows(mesh, self.group), mesh.dim)
        topology = self.domain.topology
        self.owned_cells = topology.index_map(mesh.dim).size_local  # which come first
        self.vertices = compat.cell_vertices(self.domain)  # (cells, dim + 1), in the numbers of the mesh
        self.cell_numbers = np.array(topology.original_cell_index, dtype=np.int64)
        self.space = compat.lagrange_space(self.domain, degree)
        self.size = self.space.dofmap.index_map.size_local
        self.element = compat.reference_element(mesh.dim, degree)
        self._number_entries()

    def _number_entries(self) -> None:
        """Sort the owned nodes by their keys."""
        dofs = compat.cell_dofs(self.space)
        nodes, keys = self._locate_nodes(dofs)
        order = np.lexsort(keys[::-1])
        self.nodes, self.keys = nodes[:, order], keys[:, order]
        ghosts = np.asarray(self.space.dofmap.index_map.ghosts, dtype=np.int64)
        self.taken = np.append(order, self.size + np.arange(ghosts.size))
        self.place = np.argsort(self.taken)
        self.dofs, self.halo = self.place[dofs], self.halo_of(ghosts)

    def halo_of(self, ghosts: Indices) -> Halo:
        """The halo of entries that have these numbers in FEniCSx."""
        theirs = Halo(self.group, self.size, ghosts)
        numbers = theirs.forward(theirs.starts[self.group.rank] + self.place[: self.size])
        return Halo(self.group, self.size, numbers[self.size :])

    def spread(self, a: Array) -> Array:
        """The values of a state at the entries of FEniCSx on this process, ghosts included."""
        return self.halo.forward(a)[self.place]

    def gathered(self, values: Array) -> Array:
        """A functional from its values at the entries of FEniCSx on every process: the transpose of `spread`."""
        return self.halo.reverse(values[self.taken])

    def _locate_nodes(self, cell_dofs: Indices) -> tuple[Array, Indices]:
        """The points (dim, size) of the owned nodes and their keys, from corners in the order of their numbers.

        A node is known by the vertices of the vertex, edge, .. that it sits inside of, and by where it does.
        """
        dim, weights = self.mesh.dim, self.barycentric_nodes()
        points, keys = np.zeros((dim, self.size)), np.zeros((2 * dim + 3, self.size), dtype=np.int64)
        for local, row in enumerate(weights):
            inside = np.flatnonzero(row > 1e-12)
            dofs = cell_dofs[:, local]
            own = np.flatnonzero(dofs < self.size)
            corners = self.vertices[own][:, inside]
            order = np.argsort(corners, axis=1)
            corners, shares = np.take_along_axis(corners, order, axis=1), row[inside][order]
            at = np.zeros((dim, own.size))
            for i in range(inside.size):
                at += shares[:, i] * self.mesh.points[:, corners[:, i]]
            if self.mesh.bends is not None:
                offsets = edge_offsets(self.mesh.points, corners.T, self.mesh.bends)
                for number, (i, j) in enumerate(EDGES[: offsets.shape[1]]):
                    at += 4 * shares[:, i] * shares[:, j] * offsets[:, number]
            points[:, dofs[own]] = at
            key = np.zeros((2 * dim + 3, own.size), dtype=np.int64)
            key[0] = inside.size
            # scikit-fem orders the inner nodes of intervals as the cells, other nodes by their vertices
            key[1 : 1 + inside.size] = self.cell_numbers[own] if dim == 1 and inside.size == 2 else corners.T
            key[dim + 2 : dim + 1 + inside.size] = np.round(1e6 * shares[:, :-1].T)
            keys[:, dofs[own]] = key
        return points, keys

    def barycentric_nodes(self) -> Array:
        """The barycentric coordinates (local, dim + 1) of the nodes of a cell."""
        reference = np.array(self.element.points)
        return np.column_stack([1 - reference.sum(axis=1), reference])

    def shapes(self, points: Array) -> Array:
        """The basis functions (n, local) at points (n, dim) of the reference cell."""
        return self._tabulate(points, 0)[0]

    def slopes(self, points: Array) -> Array:
        """The derivatives (n, local, dim) of the basis functions at points (n, dim) of the reference cell."""
        return np.moveaxis(self._tabulate(points, 1)[1:], 0, 2)

    def _tabulate(self, points: Array, order: int) -> Array:
        table = np.asarray(self.element.tabulate(order, np.ascontiguousarray(points)))
        return table.reshape(len(table), len(points), -1)

    def edges(self, cells: Indices) -> Array:
        """The edges (n, dim, dim) from the first corner of some cells: the derivatives of their maps, transposed."""
        corners = self.mesh.points[:, self.vertices[cells]]
        return np.moveaxis(corners[:, :, 1:] - corners[:, :, :1], (1, 2), (0, 1))

    def owned_among(self, dofs: Indices) -> Indices:
        """The entries of this process among those that any process lists, ascending."""
        marks = np.zeros(self.halo.numbers.size)
        marks[dofs.ravel()] = 1.0
        return np.flatnonzero(self.halo.reverse(marks))

    def accumulate(self, dofs: Indices, values: Array) -> Array:
        """The sum of values at dofs, over all processes."""
        total = np.bincount(dofs.ravel(), values.ravel(), self.halo.numbers.size)
        return self.halo.reverse(total.astype(float, copy=False))  # integers where there is nothing to count

    def facet_numbers(self, cells: Indices, opposite: Indices) -> Indices:
        """The numbers that FEniCSx gives to the facets of cells opposite to some of their corners."""
        topology, dim = self.domain.topology, self.mesh.dim
        topology.create_connectivity(dim, dim - 1)
        links, order = topology.connectivity(dim, dim - 1), facet_order(dim)
        pairs = zip(cells.tolist(), opposite.tolist(), strict=True)
        return np.array([links.links(cell)[order.index(corner)] for cell, corner in pairs], dtype=np.int64)


def facet_order(dim: int) -> list[int]:
    """The vertex opposite to each facet of the reference cell, in the order of basix: an interval's are its ends."""
    return [1, 0] if dim == 1 else list(range(dim + 1))


def _processes() -> tuple[Group, Any]:
    from mpi4py import MPI

    group = world()
    return group, group.comm if isinstance(group, MPIGroup) else MPI.COMM_SELF


def _rows(mesh: Mesh, group: Group) -> tuple[Indices, Array]:
    """The rows of cells and points that a process contributes, of cells with bent edges also the middles of these."""
    points, cells = mesh.points, mesh.cells[:, _share(mesh.cells.shape[1], group)]
    if mesh.bends is not None:
        count, (bent, places) = points.shape[1], mesh.bends
        edges = edges_of(mesh.cells, count)
        middles = (points[:, edges // count] + points[:, edges % count]) / 2
        middles[:, np.searchsorted(edges, edge_key(bent[0], bent[1], count))] = places
        keys = np.array([edge_key(cells[i], cells[j], count) for i, j in compat.reference_edges(mesh.dim)])
        points, cells = np.hstack([points, middles]), np.vstack([cells, count + np.searchsorted(edges, keys)])
    rows = _share(points.shape[1], group)
    return np.ascontiguousarray(cells.T), np.ascontiguousarray(points[:, rows].T)


def _share(count: int, group: Group) -> slice:
    """The range of rows that a process contributes to the mesh."""
    return slice(count * group.rank // group.size, count * (group.rank + 1) // group.size)
