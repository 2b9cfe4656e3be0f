"""The distributed engine: finite elements of FEniCSx on the meshes of pdecontrol, divided among MPI processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..errors import DataError, MeshError, PdecontrolError, ProblemError
from ..lagrange import Lagrange, cell_lagrange, facet_lagrange
from ..maps import Counter
from ..parallel import ALONE, Group, Halo, MPIGroup, world
from ..problem import Boundary, Distributed, Weak
from ..space import Array, Data, Layout, Space
from . import compat
from .linear import LinearSolver
from .meshes import Mesh
from .petsc import Options, PetscSolver, SharedMatrix, choose_kind
from .system import CHUNK, ORDERS, Engine, Region, Sampler, Transposed


class CellRegion(Region):
    """All cells, or those of a part, that this process owns; forms are integrated by FEniCSx."""

    def __init__(self, engine: DolfinxEngine, chosen: Array | None = None) -> None:
        self._engine, self._chosen = engine, chosen
        self.order = engine.order
        self.cells = np.arange(engine.owned_cells) if chosen is None else chosen
        self.count, self.quadrature = self.cells.size, len(engine.rule[1])
        self.keys = engine.cell_numbers[self.cells][None]

    def points(self, chosen: Array) -> Array:
        corners = self._engine.vertices[self.cells[chosen]]
        reference = np.column_stack([1 - self._engine.rule[0].sum(axis=1), self._engine.rule[0]])
        return np.einsum("qi,dci->dcq", reference, self._engine.mesh.points[:, corners])

    def functional(self, weight: Array) -> Array:
        return self._engine.assemble_functional(self._everywhere(weight))

    def values(self, y: Array) -> Array:
        shapes = self._engine.shapes(self._engine.rule[0])
        return np.asarray(self._engine.halo.forward(y)[self._engine.dofs[self.cells]] @ shapes.T)

    def dofs(self) -> Array:
        return self._engine.owned_among(self._engine.dofs[self.cells])

    def volumes(self) -> Array:
        """Volumes of the cells (count,)."""
        result = np.empty(self.count)
        for start in range(0, self.count, CHUNK):
            corners = self._engine.mesh.points[:, self._engine.vertices[self.cells[start : start + CHUNK]]]
            edges = np.moveaxis(corners[:, :, 1:] - corners[:, :, :1], 0, 1)
            result[start : start + CHUNK] = np.abs(np.linalg.det(edges)) / math.factorial(self._engine.mesh.dim)
        return result

    def integrals(self) -> tuple[Array, Array]:
        """For each cell the dofs (count, local) and the integrals of their basis functions (count, local)."""
        points, weights = self._engine.rule
        means = weights @ self._engine.shapes(points) / weights.sum()
        return self._engine.dofs[self.cells], self.volumes()[:, None] * means

    def everywhere(self, weight: Array) -> Array:
        """The weight (.., owned cells, quadrature), zero on other cells than those of the part."""
        return self._everywhere(weight)

    def _everywhere(self, weight: Array) -> Array:
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
        self._engine = engine
        facets = engine.mesh.facets(tag)
        cells, opposite, numbers = _own_facets(engine, facets)
        dim, self.cells, self.numbers = engine.mesh.dim, cells, numbers
        self.count, self.keys = cells.size, facets[:, numbers]
        self.corners = np.array([[j for j in range(dim + 1) if j != i] for i in range(dim + 1)])[opposite]
        self.opposite = opposite
        if dim == 1:
            rule, self.weights = np.ones((1, 1)), np.ones(1)
        else:
            inner, self.weights = compat.quadrature_rule(dim - 1, 2 * engine.degree + 2)
            rule = np.column_stack([1 - inner.sum(axis=1), inner])
        self.quadrature = len(self.weights)
        reference = np.vstack([np.zeros(dim), np.eye(dim)])
        tabulated = [engine.shapes(rule @ np.delete(reference, i, axis=0)) for i in range(dim + 1)]
        self._rule = rule
        self.basis = np.array(tabulated)[opposite]  # (count, quadrature, local)
        self.local = engine.dofs[cells]  # (count, local)

    @cached_property
    def vertices(self) -> Array:
        """The vertices (count, dim) of the facets, in the numbers of the mesh."""
        return np.take_along_axis(self._engine.vertices[self.cells], self.corners, axis=1)

    def points(self, chosen: Array) -> Array:
        return np.einsum("qi,dci->dcq", self._rule, self._engine.mesh.points[:, self.vertices[chosen]])

    @cached_property
    def measures(self) -> Array:
        corners = np.moveaxis(self._engine.mesh.points[:, self.vertices], 0, 2)
        edges = corners[:, 1:] - corners[:, :1]
        gram = np.einsum("cid,cjd->cij", edges, edges)
        return np.sqrt(np.linalg.det(gram)) / math.factorial(self._engine.mesh.dim - 1)

    @cached_property
    def _dx(self) -> Array:
        return self.measures[:, None] * self.weights / self.weights.sum()

    def functional(self, weight: Array) -> Array:
        values = np.einsum("cq,cql->cl", weight * self._dx, self.basis)
        return self._engine.accumulate(self.local, values)

    def mass(self, weight: Array) -> Array:
        """The matrices (count, local, local) of the facets."""
        return np.einsum("cq,cql,cqm->clm", weight * self._dx, self.basis, self.basis)

    def values(self, y: Array) -> Array:
        return np.einsum("cql,cl->cq", self.basis, self._engine.halo.forward(y)[self.local])

    def dofs(self) -> Array:
        layout = self._engine.space.dofmap.dof_layout
        closures = [layout.entity_closure_dofs(self._engine.mesh.dim - 1, i) for i in range(self._engine.mesh.dim + 1)]
        order = _facet_order(self._engine.mesh.dim)
        mine = np.array([closures[order.index(i)] for i in range(self._engine.mesh.dim + 1)])[self.opposite]
        return self._engine.owned_among(np.take_along_axis(self.local, mine, axis=1))

    def integrals(self) -> tuple[Array, Array]:
        """For each facet the dofs (count, local) and the integrals of their basis functions (count, local)."""
        return self.local, np.einsum("cq,cql->cl", self._dx, self.basis)


def _facet_order(dim: int) -> list[int]:
    """The vertex opposite to each facet of the reference cell, in the order of basix: an interval's are its ends."""
    return [1, 0] if dim == 1 else list(range(dim + 1))


def _own_facets(engine: DolfinxEngine, facets: Array) -> tuple[Array, Array, Array]:
    """Cells of this process with facets of a tag, the vertices opposite, and the numbers of the facets in the tag.

    Of the two cells of a facet inside the domain, the one that comes first in the mesh has it.
    """
    dim, count = engine.mesh.dim, engine.mesh.points.shape[1]
    touched = np.zeros(count, dtype=bool)
    touched[facets] = True
    owned = engine.vertices[: engine.owned_cells]
    near = np.flatnonzero(touched[owned].sum(axis=1) >= dim)
    keys = _facet_keys(facets, count)
    order = np.argsort(keys)
    found = []
    for opposite in range(dim + 1):
        own = _facet_keys(np.sort(np.delete(owned[near], opposite, axis=1).T, axis=0), count)
        place = np.searchsorted(keys[order], own).clip(max=max(len(keys) - 1, 0))
        hit = np.flatnonzero(keys[order][place] == own) if len(keys) else np.zeros(0, dtype=int)
        found.append(np.stack([near[hit], np.full(hit.size, opposite), order[place[hit]]]))
    cells, opposites, numbers = np.hstack(found)
    first = np.full(len(keys), np.iinfo(np.int64).max)
    np.minimum.at(first, numbers, engine.cell_numbers[cells])
    if engine.group.size > 1:
        first = np.min(engine.group.collect(first), axis=0)
    kept = np.flatnonzero(first[numbers] == engine.cell_numbers[cells])
    kept = kept[np.argsort(numbers[kept])]
    return cells[kept], opposites[kept], numbers[kept]


def _facet_keys(facets: Array, count: int) -> Array:
    """One number for each column of sorted vertex numbers."""
    return np.asarray(np.ravel_multi_index(tuple(facets), (count,) * len(facets)))


class Coupling:
    """(C u, v) through a local matrix: (states, controls), both with ghosts; controls may sit at nodes of states.

    Parameters
    ----------
    local : (states with ghosts, columns).
    halo : of states.
    nodes : the entries of states that the controls are, where the columns are those of states; None where the columns
        are the controls of this process.
    """

    def __init__(self, local: sp.csr_matrix, halo: Halo, nodes: Array | None) -> None:
        self._local, self._transpose, self._halo, self._nodes = local, local.T.tocsr(), halo, nodes

    def __matmul__(self, u: Array) -> Array:
        if self._nodes is not None:
            spread = np.zeros(self._halo.owned)
            spread[self._nodes] = u
            u = self._halo.forward(spread)
        return self._halo.reverse(self._local @ u)

    @property
    def T(self) -> Transposed:  # noqa: N802
        """The transposed matrix."""
        return Transposed(self)

    def transposed(self, p: Array) -> Array:
        """The product of the transposed matrix with p."""
        result = self._transpose @ self._halo.forward(p)
        return np.asarray(result if self._nodes is None else self._halo.reverse(result)[self._nodes])


class DolfinxEngine(Engine):
    """States of any degree; linear solvers are "direct" (MUMPS), "amg" or "auto", and what PETSc's options say.

    Every process holds the arrays of the mesh, and owns a part of its cells, vertices and degrees of freedom. Data are
    sampled at the points of the embedded engine: both quadrature rules and points are the same.
    """

    name = "dolfinx"

    def __init__(
        self, mesh: Mesh, degree: int, linear_solver: str, petsc_options: Mapping[str, object] | None = None
    ) -> None:
        compat.check()
        import ufl

        self.mesh, self.degree = mesh, degree
        self._linear_solver, self._options = linear_solver, Options(petsc_options)
        self.group, comm = _processes()
        self.order = ORDERS.get((mesh.dim, degree), 2 * degree + 2)
        self.rule = compat.quadrature_rule(mesh.dim, self.order)
        rows = _share(mesh.cells.shape[1], self.group), _share(mesh.points.shape[1], self.group)
        self.domain = compat.create_mesh(
            comm, np.ascontiguousarray(mesh.cells[:, rows[0]].T), np.ascontiguousarray(mesh.points[:, rows[1]].T),
            mesh.dim,
        )  # fmt: skip
        topology = self.domain.topology
        self.owned_cells = topology.index_map(mesh.dim).size_local
        self.vertices = compat.cell_vertices(self.domain)
        self.cell_numbers = np.asarray(topology.original_cell_index, dtype=np.int64)
        self.space = compat.lagrange_space(self.domain, degree)
        self.dofs = compat.cell_dofs(self.space)
        index_map = self.space.dofmap.index_map
        self.size = index_map.size_local
        self.halo = Halo(self.group, self.size, np.asarray(index_map.ghosts, dtype=np.int64))
        self._element = compat.reference_element(mesh.dim, degree)
        self.nodes, self._keys = self._locate_nodes()
        self.cells = CellRegion(self)

        quadrature = compat.quadrature_space(self.domain, mesh.dim, self.order)
        self._quadrature_dofs = compat.cell_dofs(quadrature)[: self.owned_cells]
        from dolfinx import fem

        self._weights = [fem.Function(quadrature) for _ in range(mesh.dim)]
        self._dx = ufl.dx(metadata={"quadrature_degree": self.order})
        self._forms: dict[str, Any] = {}
        self._columns: Halo | None = None

    # -- nodes and cells --------------------------------------------------------------------------------------

    def _locate_nodes(self) -> tuple[Array, Array]:
        """The points (dim, size) of the owned nodes and their keys, from corners in the order of their numbers.

        A node is known by the vertices of the vertex, edge, .. that it sits inside of, and by where it does.
        """
        dim, reference = self.mesh.dim, np.asarray(self._element.points)
        weights = np.column_stack([1 - reference.sum(axis=1), reference])
        points, keys = np.zeros((dim, self.size)), np.zeros((2 * dim + 3, self.size), dtype=np.int64)
        for local, row in enumerate(weights):
            inside = np.flatnonzero(row > 1e-12)
            dofs = self.dofs[:, local]
            own = np.flatnonzero(dofs < self.size)
            corners = self.vertices[own][:, inside]
            order = np.argsort(corners, axis=1)
            corners, shares = np.take_along_axis(corners, order, axis=1), row[inside][order]
            at = np.zeros((dim, own.size))
            for i in range(inside.size):
                at += shares[:, i] * self.mesh.points[:, corners[:, i]]
            points[:, dofs[own]] = at
            key = np.zeros((2 * dim + 3, own.size), dtype=np.int64)
            key[0] = inside.size
            # scikit-fem orders the inner nodes of intervals as the cells, other nodes by their vertices
            key[1 : 1 + inside.size] = self.cell_numbers[own] if dim == 1 and inside.size == 2 else corners.T
            key[dim + 2 : dim + 1 + inside.size] = np.round(1e6 * shares[:, :-1].T)
            keys[:, dofs[own]] = key
        return points, keys

    def shapes(self, points: Array) -> Array:
        """The basis functions (n, local) at points (n, dim) of the reference cell."""
        table = np.asarray(self._element.tabulate(0, np.ascontiguousarray(points)))
        return table.reshape(len(points), -1)

    def owned_among(self, dofs: Array) -> Array:
        """The entries of this process among those that any process lists, ascending."""
        marks = np.zeros(self.halo.numbers.size)
        marks[dofs.ravel()] = 1.0
        return np.flatnonzero(self.halo.reverse(marks))

    def accumulate(self, dofs: Array, values: Array) -> Array:
        """The sum of values at dofs, over all processes."""
        total = np.zeros(self.halo.numbers.size)
        np.add.at(total, dofs.ravel(), values.ravel())  # bincount returns integers where there is nothing to count
        return self.halo.reverse(total)

    def members(self, tag: str) -> Array:
        return np.flatnonzero(self._inside(tag)[self.cell_numbers[: self.owned_cells]])

    def _inside(self, tag: str) -> Array:
        inside = np.zeros(self.mesh.cells.shape[1], dtype=bool)
        inside[self.mesh.part(tag)] = True
        return inside

    def facet_numbers(self, region: FacetRegion) -> Array:
        """The numbers that FEniCSx gives to the facets of a region."""
        topology, dim = self.domain.topology, self.mesh.dim
        topology.create_connectivity(dim, dim - 1)
        links = topology.connectivity(dim, dim - 1)
        order = _facet_order(dim)
        pairs = zip(region.cells.tolist(), region.opposite.tolist(), strict=True)
        return np.array([links.links(cell)[order.index(opposite)] for cell, opposite in pairs], dtype=np.int64)

    def part(self, tag: str) -> CellRegion:
        return CellRegion(self, self.members(tag))

    def facets(self, tag: str) -> FacetRegion:
        return FacetRegion(self, tag)

    # -- assembly ---------------------------------------------------------------------------------------------

    def _form(self, kind: str) -> Any:
        """The form of a kind with the weight of this engine, compiled when first needed."""
        if kind not in self._forms:
            import ufl

            y, v = ufl.TrialFunction(self.space), ufl.TestFunction(self.space)
            weight = self._weights[0]
            integrands = {
                "diffusion": lambda: weight * ufl.inner(ufl.grad(y), ufl.grad(v)),
                "advection": lambda: ufl.inner(ufl.as_vector(self._weights), ufl.grad(y)) * v,
                "mass": lambda: weight * y * v,
                "functional": lambda: weight * v,
            }
            self._forms[kind] = compat.form(integrands[kind]() * self._dx)
        return self._forms[kind]

    def _set_weight(self, weight: Array) -> None:
        for function, values in zip(self._weights, np.atleast_3d(weight.T).T, strict=False):
            function.x.array[self._quadrature_dofs] = values

    def assemble_functional(self, weight: Array) -> Array:
        """v -> int weight v, for weights at the quadrature points of the owned cells."""
        self._set_weight(weight)
        return self.halo.reverse(compat.assemble_vector(self._form("functional"), self.halo.numbers.size))

    def matrix(self, terms: Sequence[tuple[str, Region, Array]]) -> SharedMatrix:
        kinds = [kind for kind, region, _ in terms if isinstance(region, CellRegion)]
        matrix = compat.create_matrix(self._form(kinds[0] if kinds else "mass"))
        for kind, region, weight in terms:
            if isinstance(region, CellRegion):
                self._set_weight(region.everywhere(weight))
                compat.add_to_matrix(matrix, self._form(kind))
        return self._finish(matrix, terms)

    def matrix_of(self, form: Any, terms: Sequence[tuple[str, Region, Array]]) -> SharedMatrix:
        """The matrix of a compiled form, with terms on facets."""
        matrix = compat.create_matrix(form)
        compat.add_to_matrix(matrix, form)
        return self._finish(matrix, terms)

    def _finish(self, matrix: Any, terms: Sequence[tuple[str, Region, Array]]) -> SharedMatrix:
        """Add the terms on facets, and take the rows of this process."""
        for _, region, weight in terms:
            if isinstance(region, FacetRegion):
                for dofs, entries in zip(region.local.astype(np.int32), region.mass(weight), strict=True):
                    matrix.setValuesLocal(dofs, dofs, entries, addv=True)
        matrix.assemble()
        indptr, columns, values = matrix.getValuesCSR()
        matrix.destroy()
        start, stop = self.halo.starts[self.group.rank : self.group.rank + 2]
        local = columns - start
        outside = np.flatnonzero((columns < start) | (columns >= stop))
        # Rows also meet nodes of cells that only other processes have.
        ghosts = np.unique(columns[outside]).astype(np.int64)
        known = self._columns is not None and np.array_equal(ghosts, self._columns.numbers[self.size :])
        if self.group.any(not known):
            self._columns = Halo(self.group, self.size, ghosts)
        assert self._columns is not None
        local[outside] = self.size + np.searchsorted(self._columns.numbers[self.size :], columns[outside])
        shape = (self.size, self._columns.numbers.size)
        return SharedMatrix(sp.csr_matrix((values, local, indptr), shape), self._columns)

    def block(self, matrix: SharedMatrix, dofs: Array) -> SharedMatrix:
        return matrix.block(dofs)

    def prepare(self, definite: bool, affine: bool, unknowns: int) -> None:
        self._kind = choose_kind(self._linear_solver, definite, self.mesh.dim, unknowns)
        self.exact = self._kind == "direct" and not self._options.iterative
        self.bounded = not self.exact and definite and affine

    def solver(self, block: SharedMatrix, definite: bool, counter: Counter, points: Array) -> LinearSolver:
        kind = self._kind if definite else "direct"
        return PetscSolver(block, kind, definite, counter, self._options, points)

    def loose_row(self, block: SharedMatrix) -> int | None:
        return block.loose_row()

    # -- spaces -----------------------------------------------------------------------------------------------

    def solution(self) -> Space:
        mass = self.matrix([("mass", self.cells, np.broadcast_to(1.0, (self.owned_cells, len(self.rule[1]))))])
        layout = Layout(self.group, self._keys, self._whole, partial(self._write, None))
        return Space(mass, points=self.nodes, diameter=self.mesh.diameter, layout=layout)

    def _whole(self) -> Space:
        """The space of states on rank 0."""
        number = np.empty(self.size, dtype=np.int64)
        layout = Layout(self.group, self._keys, self._whole)
        plain = Space(np.ones(self.size), layout=layout)
        number = plain.scatter(np.arange(plain.count, dtype=float)).astype(np.int64)
        own = self.halo.forward(number)[self.dofs[: self.owned_cells]]
        parts = self.group.collect_on_root((self.cell_numbers[: self.owned_cells], own))
        if not self.group.root:
            return Space(np.zeros(0))
        dofs = np.empty((self.mesh.cells.shape[1], own.shape[1]), dtype=np.int64)
        for cells, values in parts:
            dofs[cells] = values
        reference = np.asarray(self._element.points)
        nodes = np.column_stack([1 - reference.sum(axis=1), reference])
        elements = Lagrange.from_nodes(self.mesh.points, self.mesh.cells, dofs.T, self.degree, nodes)
        return Space(elements.mass_matrix(), elements, diameter=self.mesh.diameter)

    def control(self, control: Distributed | Boundary) -> tuple[Space, Any]:
        on_boundary = isinstance(control, Boundary)
        region: Any = self.facets(control.on) if on_boundary else self.cells if control.on is None else (
            self.part(control.on)
        )  # fmt: skip
        degree = int(control.element == "P1")
        if degree == 0:
            return self._piecewise_control(control, region)
        corners = region.vertices if on_boundary else self.vertices[region.cells]
        measures = region.measures if on_boundary else region.volumes()
        at = self._vertex_dofs(region, on_boundary)
        shares = np.broadcast_to((measures / corners.shape[1])[:, None], corners.shape)
        lumped = self.accumulate(at, shares)
        nodes = np.flatnonzero(lumped)
        space = Space(
            lumped[nodes], points=self.nodes[:, nodes], diameter=self.mesh.diameter,
            layout=Layout(
                self.group, self._keys[1:2, nodes], self._whole_control(control, degree), partial(self._write, nodes)
            ),
        )  # fmt: skip
        total = self.halo.numbers.size
        if on_boundary and self.degree > 1:
            # Nodal loads on the boundary would cost states of higher degree half an order.
            inner = region._rule
            entries = np.einsum("cq,cql,qi->cli", region._dx, region.basis, inner)
            rows = np.broadcast_to(region.local[:, :, None], entries.shape)
            columns = np.broadcast_to(at[:, None, :], entries.shape)
            local = sp.csr_matrix((entries.ravel(), (rows.ravel(), columns.ravel())), (total, total))
            return space, Coupling(local, self.halo, nodes)
        return space, Coupling(sp.csr_matrix((lumped[nodes], (nodes, nodes)), (total, total)), self.halo, nodes)

    def _vertex_dofs(self, region: Any, on_boundary: bool) -> Array:
        """The dofs of the corners of each simplex, in their order."""
        layout = self.space.dofmap.dof_layout
        local = np.array([layout.entity_dofs(0, i)[0] for i in range(self.mesh.dim + 1)])
        if not on_boundary:
            return self.dofs[region.cells][:, local]
        return np.take_along_axis(region.local, local[region.corners], axis=1)

    def _piecewise_control(self, control: Distributed | Boundary, region: Any) -> tuple[Space, Any]:
        on_boundary = isinstance(control, Boundary)
        dofs, values = region.integrals()
        columns = np.broadcast_to(np.arange(region.count)[:, None], dofs.shape)
        shape = (self.halo.numbers.size, region.count)
        local = sp.csr_matrix((values.ravel(), (dofs.ravel(), columns.ravel())), shape)
        corners = region.vertices if on_boundary else self.vertices[region.cells]
        space = Space(
            region.measures if on_boundary else region.volumes(),
            points=self.mesh.points[:, np.sort(corners, axis=1)].mean(axis=2), diameter=self.mesh.diameter,
            layout=Layout(
                self.group, region.numbers[None] if on_boundary else region.keys, self._whole_control(control, 0),
                None if on_boundary else partial(self._write_piecewise, region.cells),
            ),
        )  # fmt: skip
        return space, Coupling(local, self.halo, None)

    def _write(self, nodes: Array | None, path: Path, arrays: dict[str, Array]) -> None:
        """Write states, or functions at some nodes of states that vanish at others, to an .xdmf or .bp file."""
        from dolfinx import fem

        functions = []
        for name, array in arrays.items():
            spread = np.zeros(self.size)
            spread[slice(None) if nodes is None else nodes] = array
            function = fem.Function(self.space)
            function.x.array[:] = self.halo.forward(spread)
            function.name = name
            functions.append(function)
        compat.write_functions(self.domain, functions, path, self.degree)

    def _write_piecewise(self, cells: Array, path: Path, arrays: dict[str, Array]) -> None:
        """Write functions that are constant on some cells, and vanish on others, to an .xdmf or .bp file."""
        from dolfinx import fem

        space = compat.lagrange_space(self.domain, 0)
        functions = []
        for name, array in arrays.items():
            function = fem.Function(space)
            function.x.array[compat.cell_dofs(space)[cells, 0]] = array
            function.name = name
            functions.append(function)
        compat.write_functions(self.domain, functions, path, 0)

    def _whole_control(self, control: Distributed | Boundary, degree: int) -> Any:
        mesh, group = self.mesh, self.group

        def whole() -> Space:
            if not group.root:
                return Space(np.zeros(0))
            if isinstance(control, Boundary):
                elements = facet_lagrange(mesh, control.on, degree)
            else:
                elements = cell_lagrange(mesh, degree, control.on)
            return Space(elements.lumped_mass(), elements, diameter=mesh.diameter)

        return whole

    def weak(
        self, equation: Weak, sampler: Sampler, boundary: list[tuple[str, Region, Array]], load: Array
    ) -> WeakEquation:
        return WeakEquation(self, equation, sampler, boundary, load)

    def probe(self, points: Array) -> sp.csr_matrix:
        elements = Lagrange(
            self.mesh.points, self.vertices[: self.owned_cells].T, np.arange(self.owned_cells)[None], 0
        )
        inside = np.zeros(points.shape[1], dtype=bool)
        if self.owned_cells:
            inside = elements.contains(points)
        with self.group.agree():
            hits = np.array(self.group.collect(inside))
        missing = ~hits.any(axis=0)
        if missing.any():
            first = int(np.argmax(missing))
            raise DataError(
                f"{missing.sum()} of {missing.size} points are outside of the domain of the function, the first is "
                f"point {first} at x = {points[:, first].tolist()}; evaluate at points of the domain only."
            )
        mine = np.flatnonzero(hits.argmax(axis=0) == self.group.rank)
        local = np.zeros((self.halo.numbers.size, points.shape[1]))
        if mine.size:
            cells = elements.evaluate(np.arange(self.owned_cells), points[:, mine]).round().astype(int)
            corners = self.mesh.points[:, self.vertices[cells]]
            edges = np.moveaxis(corners[:, :, 1:] - corners[:, :, :1], 0, 1)
            reference = np.linalg.solve(edges, (points[:, mine] - corners[:, :, 0]).T[:, :, None])[:, :, 0]
            for column, (cell, row) in enumerate(zip(cells, self.shapes(reference), strict=True)):
                local[self.dofs[cell], mine[column]] = row
        return sp.csr_matrix(np.stack([self.halo.reverse(column) for column in local.T], axis=1))


class Domain:
    """What the form of a `Weak` equation may use: coordinates, normal, measures by tag, and functions of x."""

    def __init__(self, engine: DolfinxEngine, sampler: Sampler) -> None:
        import ufl

        self._engine, self._sampler = engine, sampler
        self.x = ufl.SpatialCoordinate(engine.domain)
        self.normal = ufl.FacetNormal(engine.domain)
        self.mesh = engine.domain

    @cached_property
    def dx(self) -> TaggedMeasure:
        """The measure of the domain; dx("inside") that of a part."""
        engine, mesh = self._engine, self._engine.mesh
        inside = np.array([engine._inside(tag)[engine.cell_numbers[: engine.owned_cells]] for tag in mesh.parts])
        return TaggedMeasure("dx", self.mesh, mesh.dim, np.arange(engine.owned_cells), inside, list(mesh.parts), engine)

    @cached_property
    def ds(self) -> TaggedMeasure:
        """The measure of the boundary; ds("inlet") that of one of its parts."""
        engine, mesh = self._engine, self._engine.mesh
        boundary = engine.facets("boundary")
        facets = engine.facet_numbers(boundary)
        count, tags = mesh.points.shape[1], list(mesh.boundaries)
        keys = _facet_keys(np.sort(boundary.vertices.T, axis=0), count)
        inside = np.array([np.isin(keys, _facet_keys(mesh.facets(tag), count)) for tag in tags])
        return TaggedMeasure("ds", self.mesh, mesh.dim - 1, facets, inside, tags, engine)

    def function(self, data: Data, name: str = "a function of Weak") -> Any:
        """The interpolant of a number or a function of x in the space of states."""
        from dolfinx import fem

        values = self._sampler.at_nodes(data, np.arange(self._engine.size), name)
        function = fem.Function(self._engine.space)
        function.x.array[:] = self._engine.halo.forward(values)
        return function


class TaggedMeasure:
    """A measure of UFL that is called with tags of the mesh; tags may overlap."""

    def __init__(
        self, kind: str, mesh: Any, dim: int, entities: Array, inside: Array, tags: list[str], engine: DolfinxEngine
    ) -> None:
        import ufl
        from dolfinx.mesh import meshtags

        self._kind, self._tags = kind, tags
        # Entities with the same tags have the same number, the bits of which are the tags.
        bits = (1 << np.arange(len(tags), dtype=np.int64)) @ inside.reshape(len(tags), -1) if tags else 0 * entities
        self._classes = sorted({int(c) for part in engine.group.collect(np.unique(bits)) for c in part})
        order = np.argsort(entities)
        values = np.searchsorted(self._classes, bits).astype(np.int32)[order] + 1
        self._markers = meshtags(mesh, dim, entities[order].astype(np.int32), values)
        self._measure = ufl.Measure(kind, domain=mesh, subdomain_data=self._markers)

    def __call__(self, tag: str | None = None, **options: Any) -> Any:
        if tag is None:
            return self._measure(**options)
        if tag not in self._tags:
            raise MeshError(f"{self._kind}: the mesh has no tag {tag!r} there; it has {self._tags}.")
        bit = 1 << self._tags.index(tag)
        numbers = tuple(i for i, c in enumerate(self._classes, start=1) if c & bit)
        if not numbers:
            raise MeshError(f"{self._kind}: the facets of {tag!r} are not on the boundary.")
        return self._measure(numbers, **options)

    def __rmul__(self, integrand: Any) -> Any:
        return integrand * self._measure


class WeakEquation:
    """F(y; v) as an equation (see `system.Equation`), with its derivatives by UFL."""

    def __init__(
        self, engine: DolfinxEngine, equation: Weak, sampler: Sampler, boundary: list[tuple[str, Region, Array]],
        load: Array,
    ) -> None:  # fmt: skip
        import ufl
        from dolfinx import fem

        self._engine, self._boundary, self._load = engine, boundary, load
        self._y, self._p, self._eta = (fem.Function(engine.space) for _ in range(3))
        v = ufl.TestFunction(engine.space)
        domain = Domain(engine, sampler)
        try:
            residual = equation.residual(self._y, v, domain)
            arguments = residual.arguments()
        except PdecontrolError:
            raise
        except Exception as error:
            raise ProblemError(f"the form of Weak failed: {type(error).__name__}: {error}.") from error
        if len(arguments) != 1:
            raise ProblemError("the form of Weak must be linear in the test function v, and have no trial function.")
        jacobian = ufl.derivative(residual, self._y, ufl.TrialFunction(engine.space))
        expanded = ufl.algorithms.expand_derivatives(jacobian)
        self.affine = self._y not in expanded.coefficients()
        self.definite = equation.definite
        self._signature = residual.signature()
        second = ufl.derivative(ufl.derivative(ufl.replace(residual, {v: self._p}), self._y, self._eta), self._y, v)
        self._residual, self._jacobian = compat.form(residual), compat.form(jacobian)
        self._second = None if self.affine else compat.form(second)
        self._robin = engine.matrix(boundary) if boundary else None

    @property
    def fingerprint(self) -> str:
        """The signature of the form."""
        return str(self._signature)

    def apply(self, y: Array) -> Array:
        self._set(self._y, y)
        result = self._assemble(self._residual) - self._load
        return result if self._robin is None else result + self._robin @ y

    def matrix(self, y: Array) -> SharedMatrix:
        self._set(self._y, y)
        return self._engine.matrix_of(self._jacobian, self._boundary)

    def definite_at(self, y: Array) -> bool:
        return self.definite

    def curvature(self, y: Array, p: Array, eta: Array) -> Array:
        for function, array in ((self._y, y), (self._p, p), (self._eta, eta)):
            self._set(function, array)
        return self._assemble(self._second)

    def _set(self, function: Any, array: Array) -> None:
        function.x.array[:] = self._engine.halo.forward(array)

    def _assemble(self, form: Any) -> Array:
        return self._engine.halo.reverse(compat.assemble_vector(form, self._engine.halo.numbers.size))


def _processes() -> tuple[Group, Any]:
    from mpi4py import MPI

    group = world()
    return group, group.comm if isinstance(group, MPIGroup) else MPI.COMM_SELF


def _share(count: int, group: Group) -> slice:
    """The range of rows that a process contributes to the mesh."""
    return slice(count * group.rank // group.size, count * (group.rank + 1) // group.size)
