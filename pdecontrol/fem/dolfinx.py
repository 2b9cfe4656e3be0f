"""The distributed engine: finite elements of FEniCSx on the meshes of pdecontrol, divided among MPI processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, Indices
from ..counter import Counter
from ..errors import DataError
from ..layout import Layout
from ..linear.ksp import PetscOptions, petsc_solver
from ..linear.matrix import SharedMatrix
from ..linear.residual import Excess
from ..linear.solver import LinearSolver, choose_kind
from ..mesh.elements import cell_lagrange, facet_lagrange
from ..mesh.lagrange import Lagrange
from ..mesh.mesh import Mesh
from ..parallel import Group, Halo, MPIGroup, world
from ..problem import Boundary, Distributed, Weak
from ..space import Space
from . import compat
from .engine import ORDERS, Engine, Region, Transposed
from .equations.elliptic import Equation, Load
from .regions import CellRegion, FacetRegion, facet_order
from .sampler import Sampler

LARGE = {1: 10**9, 2: 150_000, 3: 15_000}  # unknowns from which multigrid is faster than factors, by dimension


class Coupling:
    """(C u, v) through a local matrix: (states, controls), both with ghosts; controls may sit at nodes of states.

    Parameters
    ----------
    local : (states with ghosts, columns).
    halo : of states.
    nodes : the entries of states that the controls are, where the columns are those of states; None where the columns
        are the controls of this process.
    """

    def __init__(self, local: sp.csr_matrix, halo: Halo, nodes: Indices | None) -> None:
        self._local, self._transpose, self._halo, self._nodes = local, local.T.tocsr(), halo, nodes

    def __matmul__(self, u: Array) -> Array:
        if self._nodes is not None:
            spread = np.zeros(self._halo.owned)
            spread[self._nodes] = u
            u = self._halo.forward(spread)
        return self._halo.reverse(self._local @ u)

    def __abs__(self) -> Coupling:
        return Coupling(abs(self._local), self._halo, self._nodes)

    @property
    def T(self) -> Transposed:
        """The transposed matrix."""
        return Transposed(self)

    def transposed(self, p: Array) -> Array:
        """The product of the transposed matrix with p."""
        result = self._transpose @ self._halo.forward(p)
        return np.asarray(result if self._nodes is None else self._halo.reverse(result)[self._nodes])


class DolfinxEngine(Engine):
    """States of any degree; linear solvers are "direct" (MUMPS), "amg" or "auto", and what PETSc's options say.

    Every process holds the arrays of the mesh, and owns a part of its cells, vertices and degrees of freedom. Data are
    sampled at the points of the embedded engine: quadrature rules and points are the same. Entries of a process are
    in the order of whole vectors, not in that of FEniCSx: on one process arrays mean what they mean elsewhere.
    """

    name = "dolfinx"

    def __init__(
        self, mesh: Mesh, degree: int, linear_solver: str, petsc_options: Mapping[str, object] | None = None
    ) -> None:
        compat.check()
        import ufl

        self.mesh, self.degree = mesh, degree
        self._linear_solver, self._options = linear_solver, PetscOptions(petsc_options)
        self.group, comm = _processes()
        self.order = ORDERS.get((mesh.dim, degree)) or compat.sound_order(mesh.dim, 2 * degree + 2)
        self.rule = compat.quadrature_rule(mesh.dim, self.order)
        rows = _share(mesh.cells.shape[1], self.group), _share(mesh.points.shape[1], self.group)
        self.domain = compat.create_mesh(
            comm, np.ascontiguousarray(mesh.cells[:, rows[0]].T), np.ascontiguousarray(mesh.points[:, rows[1]].T),
            mesh.dim,
        )  # fmt: skip
        topology = self.domain.topology
        self.owned_cells = topology.index_map(mesh.dim).size_local
        self.vertices = compat.cell_vertices(self.domain)
        self.cell_numbers = np.array(topology.original_cell_index, dtype=np.int64)
        self.space = compat.lagrange_space(self.domain, degree)
        self.size = self.space.dofmap.index_map.size_local
        self._element = compat.reference_element(mesh.dim, degree)
        self._number_entries()
        self.cells = CellRegion(self)

        quadrature = compat.quadrature_space(self.domain, mesh.dim, self.order)
        self._quadrature_dofs = compat.cell_dofs(quadrature)[: self.owned_cells]
        from dolfinx import fem

        self._weights = [fem.Function(quadrature) for _ in range(mesh.dim)]
        self._dx = ufl.dx(metadata={"quadrature_degree": self.order})
        self._forms: dict[str, Any] = {}
        self._outside, self._columns = np.zeros(0, dtype=np.int64), self._halo_of(np.zeros(0, dtype=np.int64))

    # -- nodes and cells --------------------------------------------------------------------------------------

    def _number_entries(self) -> None:
        """Sort the owned nodes by their keys.

        `_place` has the number of each entry of FEniCSx on this process, `_taken` the entry of each number.
        """
        dofs = compat.cell_dofs(self.space)
        nodes, keys = self._locate_nodes(dofs)
        order = np.lexsort(keys[::-1])
        self.nodes, self._keys = nodes[:, order], keys[:, order]
        ghosts = np.asarray(self.space.dofmap.index_map.ghosts, dtype=np.int64)
        self._taken = np.append(order, self.size + np.arange(ghosts.size))
        self._place = np.argsort(self._taken)
        self.dofs, self.halo = self._place[dofs], self._halo_of(ghosts)

    def _halo_of(self, ghosts: Indices) -> Halo:
        """The halo of entries that have these numbers in FEniCSx."""
        theirs = Halo(self.group, self.size, ghosts)
        numbers = theirs.forward(theirs.starts[self.group.rank] + self._place[: self.size])
        return Halo(self.group, self.size, numbers[self.size :])

    def spread(self, a: Array) -> Array:
        """The values of a state at the entries of FEniCSx on this process, ghosts included."""
        return self.halo.forward(a)[self._place]

    def gathered(self, values: Array) -> Array:
        """A functional from its values at the entries of FEniCSx on every process: the transpose of `spread`."""
        return self.halo.reverse(values[self._taken])

    def _locate_nodes(self, cell_dofs: Indices) -> tuple[Array, Indices]:
        """The points (dim, size) of the owned nodes and their keys, from corners in the order of their numbers.

        A node is known by the vertices of the vertex, edge, .. that it sits inside of, and by where it does.
        """
        dim, reference = self.mesh.dim, np.asarray(self._element.points)
        weights = np.column_stack([1 - reference.sum(axis=1), reference])
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

    def owned_among(self, dofs: Indices) -> Indices:
        """The entries of this process among those that any process lists, ascending."""
        marks = np.zeros(self.halo.numbers.size)
        marks[dofs.ravel()] = 1.0
        return np.flatnonzero(self.halo.reverse(marks))

    def accumulate(self, dofs: Indices, values: Array) -> Array:
        """The sum of values at dofs, over all processes."""
        total = np.zeros(self.halo.numbers.size)
        np.add.at(total, dofs.ravel(), values.ravel())  # bincount returns integers where there is nothing to count
        return self.halo.reverse(total)

    def members(self, tag: str) -> Indices:
        inside = np.zeros(self.mesh.cells.shape[1], dtype=bool)
        inside[self.mesh.part(tag)] = True
        return np.flatnonzero(inside[self.cell_numbers[: self.owned_cells]])

    def facet_numbers(self, region: FacetRegion) -> Indices:
        """The numbers that FEniCSx gives to the facets of a region."""
        topology, dim = self.domain.topology, self.mesh.dim
        topology.create_connectivity(dim, dim - 1)
        links = topology.connectivity(dim, dim - 1)
        order = facet_order(dim)
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
        return self.gathered(compat.assemble_vector(self._form("functional"), self._place.size))

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
                for dofs, entries in zip(self._taken[region.local].astype(np.int32), region.mass(weight), strict=True):
                    matrix.setValuesLocal(dofs, dofs, entries, addv=True)
        matrix.assemble()
        indptr, columns, values = matrix.getValuesCSR()
        matrix.destroy()
        start, stop = self.halo.starts[self.group.rank : self.group.rank + 2]
        inside = (columns >= start) & (columns < stop)
        # Rows also meet nodes of cells that only other processes have.
        outside = np.unique(columns[~inside]).astype(np.int64)
        if self.group.any(not np.array_equal(outside, self._outside)):
            self._outside, self._columns = outside, self._halo_of(outside)
        local = np.empty(columns.size, dtype=np.int64)
        local[inside] = self._place[columns[inside] - start]
        local[~inside] = self.size + np.searchsorted(outside, columns[~inside])
        theirs = sp.csr_matrix((values, local, indptr), (self.size, self._columns.numbers.size))
        rows = theirs[self._taken[: self.size]]
        rows.sort_indices()
        return SharedMatrix(rows, self._columns)

    def block(self, matrix: SharedMatrix, dofs: Indices) -> SharedMatrix:
        return matrix.block(dofs)

    def prepare(self, definite: bool, affine: bool, unknowns: int) -> None:
        refused = "without advection or negative reaction, and Weak(.., definite=True): use 'direct', or petsc_options"
        self._kind = choose_kind(self._linear_solver, definite, unknowns > LARGE[self.mesh.dim], refused)
        self.exact = self._options.exact(self._kind, definite)

    def solver(
        self, block: SharedMatrix, definite: bool, counter: Counter, points: Array, excess: Excess | None
    ) -> LinearSolver:
        kind = self._kind if definite else "direct"
        return petsc_solver(block, kind, definite, counter, self._options, points / self.mesh.diameter, excess)

    # -- spaces -----------------------------------------------------------------------------------------------

    def solution(self) -> Space:
        mass = self.matrix([("mass", self.cells, np.broadcast_to(1.0, (self.owned_cells, len(self.rule[1]))))])
        own = slice(0, self.owned_cells)
        whole = partial(
            _whole_states, self.mesh, self.degree, self.halo, self._keys, self.cell_numbers[own], self.dofs[own],
            np.array(self._element.points),
        )  # fmt: skip
        return Space(mass, points=self.nodes, diameter=self.mesh.diameter, layout=self._layout(self._keys, whole, None))

    def _layout(self, keys: Indices, whole: Callable[[], Space], control: Distributed | Boundary | None) -> Layout:
        """The layout of controls, or of states; it holds arrays alone, since results outlive engines."""
        write = partial(_write, self.mesh, self.degree, self.group, keys, control)
        writable = control is None or control.element == "P1" or isinstance(control, Distributed)
        return Layout(self.group, keys, whole, write if writable else None)

    def nodal(self, dofs: Indices, mass: Any) -> Space:
        # It needs no whole space but to be gathered: its vectors, in the order of the keys, are numbers.
        count = int(self.group.sum(len(dofs))) * self.group.root
        layout = Layout(self.group, self._keys[:, dofs], lambda: Space(np.ones(count)))
        return Space(mass, points=self.nodes[:, dofs], diameter=self.mesh.diameter, layout=layout)

    def control(self, control: Distributed | Boundary) -> tuple[Space, Any]:
        on_boundary = isinstance(control, Boundary)
        region = self._support(control)
        if control.element == "P0":
            return self._piecewise_control(control, region)
        corners = region.vertices if on_boundary else self.vertices[region.cells]
        measures = region.measures if on_boundary else region.volumes()
        at = self._vertex_dofs(region, on_boundary)
        shares = np.broadcast_to((measures / corners.shape[1])[:, None], corners.shape)
        lumped = self.accumulate(at, shares)
        nodes = self.owned_among(at)
        space = Space(
            lumped[nodes], points=self.nodes[:, nodes], diameter=self.mesh.diameter,
            layout=self._layout(
                self._keys[1:2, nodes], partial(_whole_control, self.mesh, self.group, control), control
            ),
        )  # fmt: skip
        total = self.halo.numbers.size
        if on_boundary and self.degree > 1:
            # Nodal loads on the boundary would cost states of higher degree half an order.
            inner = region.barycentric
            entries = np.einsum("cq,cql,qi->cli", region.dx, region.basis, inner)
            rows = np.broadcast_to(region.local[:, :, None], entries.shape)
            columns = np.broadcast_to(at[:, None, :], entries.shape)
            local = sp.csr_matrix((entries.ravel(), (rows.ravel(), columns.ravel())), (total, total))
            return space, Coupling(local, self.halo, nodes)
        return space, Coupling(sp.csr_matrix((lumped[nodes], (nodes, nodes)), (total, total)), self.halo, nodes)

    def _support(self, control: Distributed | Boundary) -> Any:
        """The region on which a control acts."""
        if isinstance(control, Boundary):
            return self.facets(control.on)
        return self.cells if control.on is None else self.part(control.on)

    def _vertex_dofs(self, region: Any, on_boundary: bool) -> Indices:
        """The dofs of the corners of each simplex, in their order."""
        layout = self.space.dofmap.dof_layout
        local = np.array([layout.entity_dofs(0, i)[0] for i in range(self.mesh.dim + 1)])
        if not on_boundary:
            return self.dofs[region.cells][:, local]
        return np.take_along_axis(region.local, local[region.corners], axis=1)

    def _piecewise_control(self, control: Distributed | Boundary, region: Any) -> tuple[Space, Any]:
        on_boundary = isinstance(control, Boundary)
        keys = region.numbers if on_boundary else region.keys[0]
        order = np.argsort(keys)
        dofs, values = (array[order] for array in region.integrals())
        columns = np.broadcast_to(np.arange(region.count)[:, None], dofs.shape)
        shape = (self.halo.numbers.size, region.count)
        local = sp.csr_matrix((values.ravel(), (dofs.ravel(), columns.ravel())), shape)
        corners = (region.vertices if on_boundary else self.vertices[region.cells])[order]
        space = Space(
            (region.measures if on_boundary else region.volumes())[order],
            points=self.mesh.points[:, np.sort(corners, axis=1)].mean(axis=2), diameter=self.mesh.diameter,
            layout=self._layout(
                keys[order][None], partial(_whole_control, self.mesh, self.group, control), control,
            ),
        )  # fmt: skip
        return space, Coupling(local, self.halo, None)

    def write(self, control: Distributed | Boundary | None, path: Path, arrays: dict[str, Array]) -> None:
        """Write states, or controls as functions that vanish elsewhere, to an .xdmf or .bp file."""
        from dolfinx import fem

        piecewise = control is not None and control.element == "P0"
        space = compat.lagrange_space(self.domain, 0) if piecewise else self.space
        places: Any = slice(None)
        if control is not None:
            region = self._support(control)
            if piecewise:
                keys = region.numbers if isinstance(control, Boundary) else region.keys[0]
                places = compat.cell_dofs(space)[region.cells[np.argsort(keys)], 0]
            else:
                places = self.owned_among(self._vertex_dofs(region, isinstance(control, Boundary)))
        functions = []
        for name, array in arrays.items():
            function = fem.Function(space)
            if piecewise:
                function.x.array[places] = array
            else:
                state = np.zeros(self.size)
                state[places] = array
                function.x.array[:] = self.spread(state)
            function.name = name
            functions.append(function)
        compat.write_functions(self.domain, functions, path, 0 if piecewise else self.degree)

    def weak(self, equation: Weak, sampler: Sampler, boundary: list[tuple[str, Region, Array]], load: Load) -> Equation:
        from .equations.weak import WeakEquation

        return WeakEquation(self, equation, sampler, boundary, load)

    def probe(self, points: Array) -> sp.csr_matrix:
        elements = Lagrange(self.mesh.points, self.vertices[: self.owned_cells].T, np.arange(self.owned_cells)[None], 0)
        with self.group.agree():
            inside = elements.contains(points) if self.owned_cells else np.zeros(points.shape[1], dtype=bool)
        hits = np.array(self.group.collect(inside))
        missing = ~hits.any(axis=0)
        if missing.any():
            first = int(np.argmax(missing))
            raise DataError(
                f"{missing.sum()} of {missing.size} points are outside of the domain of the function, the first is "
                f"point {first} at x = {points[:, first].tolist()}; evaluate at points of the domain only."
            )
        mine = np.flatnonzero(hits.argmax(axis=0) == self.group.rank)
        rows, columns, entries = np.zeros((3, 0))
        if mine.size:
            cells = elements.evaluate(np.arange(self.owned_cells), points[:, mine]).round().astype(int)
            corners = self.mesh.points[:, self.vertices[cells]]
            edges = np.moveaxis(corners[:, :, 1:] - corners[:, :, :1], 0, 1)
            reference = np.linalg.solve(edges, (points[:, mine] - corners[:, :, 0]).T[:, :, None])[:, :, 0]
            dofs = self.halo.numbers[self.dofs[cells]]
            rows, entries = dofs.ravel(), self.shapes(reference).ravel()
            columns = np.repeat(mine, dofs.shape[1])
        parts = self.group.collect((rows, columns, entries))
        rows, columns, entries = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        local = rows.astype(np.int64) - self.halo.starts[self.group.rank]
        own = (local >= 0) & (local < self.size)
        place = (local[own], columns[own].astype(np.int64))
        return sp.csr_matrix((entries[own], place), (self.size, points.shape[1]))


def _whole_states(
    mesh: Mesh, degree: int, halo: Halo, keys: Indices, cells: Indices, dofs: Indices, reference: Array
) -> Space:
    """The space of states on rank 0, from the dofs of the cells of each process."""
    plain = Space(np.ones(halo.owned), layout=Layout(halo.group, keys, lambda: plain))
    number = plain.scatter(np.arange(plain.count, dtype=float)).astype(np.int64)
    own = halo.forward(number)[dofs]
    parts = halo.group.collect_on_root((cells, own))
    if not halo.group.root:
        return Space(np.zeros(0))
    whole = np.empty((mesh.cells.shape[1], own.shape[1]), dtype=np.int64)
    for numbers, values in parts:
        whole[numbers] = values
    nodes = np.column_stack([1 - reference.sum(axis=1), reference])
    elements = Lagrange.from_nodes(mesh.points, mesh.cells, whole.T, degree, nodes)
    return Space(elements.mass_matrix(), elements, diameter=mesh.diameter)


def _whole_control(mesh: Mesh, group: Group, control: Distributed | Boundary) -> Space:
    """The space of controls on rank 0."""
    if not group.root:
        return Space(np.zeros(0))
    degree = int(control.element == "P1")
    if isinstance(control, Boundary):
        elements = facet_lagrange(mesh, control.on, degree)
    else:
        elements = cell_lagrange(mesh, degree, control.on)
    return Space(elements.lumped_mass(), elements, diameter=mesh.diameter)


def _write(
    mesh: Mesh, degree: int, group: Group, keys: Indices, control: Distributed | Boundary | None, path: Path,
    arrays: dict[str, Array],
) -> None:  # fmt: skip
    """Write functions of a space through an engine made for it: that of the space may be gone."""
    engine = DolfinxEngine(mesh, degree, "direct")
    space = engine.solution() if control is None else engine.control(control)[0]
    plain = Space(np.ones(keys.shape[1]), layout=Layout(group, keys, lambda: plain))
    engine.write(control, path, {name: space.scatter(plain.gather(array)) for name, array in arrays.items()})


def _processes() -> tuple[Group, Any]:
    from mpi4py import MPI

    group = world()
    return group, group.comm if isinstance(group, MPIGroup) else MPI.COMM_SELF


def _share(count: int, group: Group) -> slice:
    """The range of rows that a process contributes to the mesh."""
    return slice(count * group.rank // group.size, count * (group.rank + 1) // group.size)
