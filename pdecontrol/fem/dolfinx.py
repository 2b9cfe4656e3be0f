"""The distributed engine: finite elements of FEniCSx on the meshes of pdecontrol, divided among MPI processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, Indices
from ..counter import Counter
from ..errors import DataError
from ..layout import Frames, Layout
from ..linear.gamg import PetscHierarchy
from ..linear.hierarchy import Hierarchy
from ..linear.ksp import PetscOptions, petsc_solver
from ..linear.matrix import SharedMatrix, Triplets
from ..linear.residual import Excess
from ..linear.solver import LinearSolver, choose_kind
from ..mesh.elements import cell_lagrange, facet_lagrange
from ..mesh.lagrange import Lagrange
from ..mesh.mesh import Mesh
from ..mesh.simplices import Simplices
from ..parallel import Group, Halo
from ..problem import Boundary, Distributed
from ..space import Space
from . import compat
from .engine import Engine, Integral, constant_mass, mass
from .partition import Partition
from .rectangular import HaloMatrix
from .regions import CellRegion, DistributedRegion, FacetRegion
from .variational import point_numbers, variational_layout

LARGE = {1: 10**9, 2: 150_000, 3: 15_000}  # unknowns from which multigrid is faster than factors, by dimension


class DolfinxEngine(Engine):
    """States of any degree; linear solvers are "direct" (MUMPS), "amg" or "auto", and what PETSc's options say.

    Data are sampled at the points of the embedded engine: quadrature rules and points are the same. `states` has the
    elements, and what of them this process owns.
    """

    name = "dolfinx"
    multigrid = True
    cells: CellRegion

    def __init__(
        self, mesh: Mesh, degree: int, linear_solver: str, options: Mapping[str, object] | None = None
    ) -> None:
        compat.check()
        import ufl
        from dolfinx import fem

        self.mesh, self.degree = mesh, degree
        self._linear_solver, self._options = linear_solver, PetscOptions(options)
        self.states = Partition(mesh, degree)
        self.group, self.size, self.nodes = self.states.group, self.states.size, self.states.nodes
        self.cells = CellRegion(self.states)
        quadrature = compat.quadrature_space(self.states.domain, mesh.dim, self.states.order)
        self._quadrature_dofs = compat.cell_dofs(quadrature)[: self.states.owned_cells]
        self._weights = [fem.Function(quadrature) for _ in range(mesh.dim)]
        self._dx = ufl.dx(metadata={"quadrature_degree": self.states.order})
        self._forms: dict[Any, Any] = {}
        none = np.zeros(0, dtype=np.int64)
        self._outside, self._columns = none, self.states.halo_of(none)

    def members(self, tag: str) -> Indices:
        inside = np.zeros(self.mesh.cells.shape[1], dtype=bool)
        inside[self.mesh.part(tag)] = True
        return np.flatnonzero(inside[self.states.cell_numbers[: self.states.owned_cells]])

    def part(self, tag: str) -> CellRegion:
        return CellRegion(self.states, self.members(tag))

    def facets(self, tag: str) -> FacetRegion:
        return FacetRegion(self.states, tag)

    # -- assembly ---------------------------------------------------------------------------------------------

    def _form(self, integrand: Callable[..., Any], vector: bool = False) -> Any:
        """The bilinear form of an integrand with the weights of this engine, compiled when first needed."""
        if integrand not in self._forms:
            import ufl

            y, v = ufl.TrialFunction(self.states.space), ufl.TestFunction(self.states.space)
            weight = ufl.as_vector(self._weights) if vector else self._weights[0]
            self._forms[integrand] = compat.form(integrand(y, v, weight, ufl.grad, ufl.inner) * self._dx)
        return self._forms[integrand]

    def matrix(self, terms: Sequence[Integral], base: SharedMatrix | None = None, form: Any = None) -> SharedMatrix:
        """The sum of bilinear forms, of a matrix that was made before, and of a compiled form of UFL."""
        from dolfinx.fem import petsc

        matrix = petsc.create_matrix(self._form(mass))
        if form is not None:
            petsc.assemble_matrix(matrix, form)
        for integrand, region, weight in terms:
            if isinstance(region, CellRegion):
                weights = np.atleast_3d(region.everywhere(weight).T).T
                for function, values in zip(self._weights, weights, strict=False):
                    function.x.array[self._quadrature_dofs] = values
                petsc.assemble_matrix(matrix, self._form(integrand, weight.ndim == 3))
            elif isinstance(region, FacetRegion):
                taken = self.states.taken[region.local].astype(np.int32)
                for dofs, entries in zip(taken, region.mass(weight), strict=True):
                    matrix.setValuesLocal(dofs, dofs, entries, addv=True)
        return self._rows(matrix) if base is None else base + self._rows(matrix)

    def gram(self, coupling: HaloMatrix, weights: Array, base: SharedMatrix) -> SharedMatrix:
        from dolfinx.fem import petsc

        matrix, local = petsc.create_matrix(self._form(mass)), coupling.gram(weights)
        taken = self.states.taken.astype(np.int32)
        matrix.setValuesLocalIJV(local.indptr, taken[local.indices], local.data, addv=True, rowmap=taken)
        return base + self._rows(matrix)

    def _rows(self, matrix: Any) -> SharedMatrix:
        """The rows of this process, of a matrix of PETSc that is destroyed."""
        matrix.assemble()
        indptr, columns, values = matrix.getValuesCSR()
        matrix.destroy()
        start, stop = self.states.halo.starts[self.group.rank : self.group.rank + 2]
        inside = (columns >= start) & (columns < stop)
        # Rows also meet nodes of cells that only other processes have.
        outside = np.unique(columns[~inside]).astype(np.int64)
        if self.group.any(not np.array_equal(outside, self._outside)):
            self._outside, self._columns = outside, self.states.halo_of(outside)
        local = np.empty(columns.size, dtype=np.int64)
        local[inside] = self.states.place[columns[inside] - start]
        local[~inside] = self.size + np.searchsorted(outside, columns[~inside])
        theirs = sp.csr_matrix((values, local, indptr), (self.size, self._columns.numbers.size))
        rows = theirs[self.states.taken[: self.size]]
        rows.sort_indices()
        return SharedMatrix(rows, self._columns)

    def block(self, matrix: SharedMatrix, dofs: Indices) -> SharedMatrix:
        return matrix.block(dofs)

    def prepare(self, definite: bool, affine: bool, unknowns: int) -> None:
        refused = (
            "without advection or negative reaction, and Weak(.., definite=True): use 'direct', or options of PETSc"
        )
        self._kind = choose_kind(self._linear_solver, definite, unknowns > LARGE[self.mesh.dim], refused)
        self.exact = self._options.exact(self._kind, definite)

    def solver(
        self, block: SharedMatrix, definite: bool, counter: Counter, points: Array, excess: Excess | None
    ) -> LinearSolver:
        kind = self._kind if definite else "direct"
        return petsc_solver(block, kind, definite, counter, self._options, points / self.mesh.diameter, excess)

    def hierarchy(self, block: SharedMatrix, symmetric: bool, first: Triplets | None) -> Hierarchy:
        return PetscHierarchy(block, symmetric, first)

    def on_cells(self, y: Array) -> Array:
        return np.asarray(self.states.halo.forward(y)[self.states.dofs])

    @property
    def barycentric(self) -> Array:
        return self.states.barycentric_nodes()

    # -- spaces -----------------------------------------------------------------------------------------------

    def solution(self) -> Space:
        states = self.states
        own = slice(0, states.owned_cells)
        whole = partial(
            _whole_states, self.mesh, self.degree, states.halo, states.keys, states.cell_numbers[own], states.dofs[own],
            states.barycentric_nodes(),
        )  # fmt: skip
        layout = self._layout(states.keys, whole, None)
        mass, members = self.matrix([constant_mass(self.cells)]), self.members_among(np.arange(self.size))
        return Space(mass, points=self.nodes, diameter=self.mesh.diameter, layout=layout, members=members)

    def _layout(self, keys: Indices, whole: Callable[[], Space], control: Distributed | Boundary | None) -> Layout:
        """The layout of controls, or of states; it holds arrays alone, since results outlive engines."""
        write = partial(_write, self.mesh, self.degree, self.group, keys, control)
        writable = control is None or control.element == "P1" or isinstance(control, Distributed)
        return Layout(self.group, keys, whole, write if writable else None)

    def nodal(self, dofs: Indices, mass: Any) -> Space:
        # It needs no whole space but to be gathered: its vectors, in the order of the keys, are numbers.
        count = int(self.group.sum(len(dofs))) * self.group.root
        layout = Layout(self.group, self.states.keys[:, dofs], lambda: Space(np.ones(count)))
        members = self.members_among(dofs)
        return Space(mass, points=self.nodes[:, dofs], diameter=self.mesh.diameter, layout=layout, members=members)

    def control(self, control: Distributed | Boundary) -> tuple[Space, HaloMatrix]:
        states, region = self.states, self._support(control)
        if control.element == "variational":
            return self._variational(control.on, region)
        if control.element == "P0":
            order, one = np.argsort(region.numbers), np.ones((region.quadrature, 1))
            corners = np.sort(region.corners[order], axis=1).T
            middle = np.full((len(corners), 1), 1 / len(corners))
            middles = Simplices(self.mesh.points, corners, self.mesh.bends).at(middle)[:, 0]
            members = {} if isinstance(control, Boundary) else self.members_among_cells(region.numbers[order])
            space = self._control_space(control, region.measures[order], middles, region.numbers[order], members)
            return space, HaloMatrix(region.mixed_mass(np.argsort(order)[:, None], one, region.count), states.halo)
        at, total = self._vertex_dofs(region), states.halo.numbers.size
        lumped, nodes = states.accumulate(at, region.shares), states.owned_among(at)
        members = self.members_among(nodes)
        space = self._control_space(control, lumped[nodes], self.nodes[:, nodes], states.keys[1, nodes], members)
        local = sp.csr_matrix((lumped[nodes], (nodes, nodes)), (total, total))
        if isinstance(control, Boundary) and self.degree > 1:
            # Nodal loads on the boundary would cost states of higher degree half an order.
            local = region.mixed_mass(at, region.rule[0], total)
        return space, HaloMatrix(local, states.halo, nodes)

    def _variational(self, part: str | None, region: DistributedRegion) -> tuple[Space, HaloMatrix]:
        order, rule, count = np.argsort(region.numbers), region.rule[0].T, region.quadrature
        numbers = np.empty((region.count, count), dtype=np.int64)
        numbers[order] = point_numbers(region.corners[order].T, rule)
        mass, points = np.empty(numbers.size), np.empty((self.mesh.dim, numbers.size))
        mass[numbers], points[:, numbers] = region.dx, region.points(np.arange(region.count))
        cells = np.repeat(region.numbers[order], count)
        layout = variational_layout(self.mesh, part, self.degree, rule, mass, points, self.group, cells)
        members = self.members_among_cells(cells)
        space = Space(mass, points=points, diameter=self.mesh.diameter, layout=layout, members=members)
        return space, HaloMatrix(region.mixed_mass(numbers, np.eye(count), numbers.size), self.states.halo)

    def _control_space(
        self, control: Distributed | Boundary, mass: Array, points: Array, keys: Indices, members: dict[str, Indices]
    ) -> Space:
        whole = partial(_whole_control, self.mesh, self.group, control)
        layout = self._layout(keys[None], whole, control)
        return Space(mass, points=points, diameter=self.mesh.diameter, layout=layout, members=members)

    def _support(self, control: Distributed | Boundary) -> DistributedRegion:
        """The region on which a control acts."""
        if isinstance(control, Boundary):
            return self.facets(control.on)
        return self.cells if control.on is None else self.part(control.on)

    def _vertex_dofs(self, region: DistributedRegion) -> Indices:
        """The entries (count, k) of the corners of each simplex, in their order."""
        layout = self.states.space.dofmap.dof_layout
        local = np.array([layout.entity_dofs(0, i)[0] for i in range(self.mesh.dim + 1)])
        if isinstance(region, FacetRegion):
            return np.take_along_axis(region.local, local[region.local_corners], axis=1)
        return region.local[:, local]

    def write(self, control: Distributed | Boundary | None, path: Path, frames: Frames) -> None:
        """Write states, or controls as functions that vanish elsewhere, to an .xdmf or .bp file."""
        from dolfinx import fem

        piecewise = control is not None and control.element == "P0"
        space = compat.lagrange_space(self.states.domain, 0) if piecewise else self.states.space
        places: Any = slice(None)
        if control is not None:
            region = self._support(control)
            if piecewise:
                places = compat.cell_dofs(space)[region.cells[np.argsort(region.numbers)], 0]
            else:
                places = self.states.owned_among(self._vertex_dofs(region))
        (start, first), *others = frames
        functions = {name: fem.Function(space) for name in first}
        for name, function in functions.items():
            function.name = name

        def times() -> Iterator[float]:
            for t, arrays in ((start, first), *others):
                for name, array in arrays.items():
                    if piecewise:
                        functions[name].x.array[places] = array
                    else:
                        state = np.zeros(self.size)
                        state[places] = array
                        functions[name].x.array[:] = self.states.spread(state)
                yield t

        degree = 0 if piecewise else self.degree
        highest = 1 if self.mesh.bends is None else 2
        compat.write_functions(self.states.domain, list(functions.values()), times(), path, degree, highest)

    def probe(self, points: Array) -> sp.csr_matrix:
        states, own = self.states, slice(0, self.states.owned_cells)
        elements = Lagrange.from_nodes(
            self.mesh.points, states.vertices[own].T, states.dofs[own].T, self.degree, states.barycentric_nodes(),
            self.mesh.bends,
        )  # fmt: skip
        with self.group.agree():
            inside = elements.contains(points) if states.owned_cells else np.zeros(points.shape[1], dtype=bool)
        hits = np.array(self.group.collect(inside))
        missing = ~hits.any(axis=0)
        if missing.any():
            first = int(np.argmax(missing))
            raise DataError(
                f"{missing.sum()} of {missing.size} points are outside of the domain of the function, the first is "
                f"point {first} at x = {points[:, first].tolist()}; evaluate at points of the domain only."
            )
        mine = np.flatnonzero(hits.argmax(axis=0) == self.group.rank)
        numbers, columns, entries = np.zeros((3, 0))
        if mine.size:
            found = elements.sampling(points[:, mine]).tocoo()
            numbers, columns, entries = states.halo.numbers[found.col], mine[found.row], found.data
        parts = self.group.collect((numbers, columns, entries))
        numbers, columns, entries = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        rows = numbers.astype(np.int64) - states.halo.starts[self.group.rank]
        here = (rows >= 0) & (rows < self.size)
        place = (rows[here], columns[here].astype(np.int64))
        return sp.csr_matrix((entries[here], place), (self.size, points.shape[1]))


def _whole_states(
    mesh: Mesh, degree: int, halo: Halo, keys: Indices, cells: Indices, dofs: Indices, nodes: Array
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
    elements = Lagrange.from_nodes(mesh.points, mesh.cells, whole.T, degree, nodes, mesh.bends, mesh.parts)
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
    frames: Frames,
) -> None:  # fmt: skip
    """Write functions of a space through an engine made for it: that of the space may be gone."""
    engine = DolfinxEngine(mesh, degree, "direct")
    space = engine.solution() if control is None else engine.control(control)[0]
    plain = Space(np.ones(keys.shape[1]), layout=Layout(group, keys, lambda: plain))
    moved = [(t, {name: space.scatter(plain.gather(array)) for name, array in arrays.items()}) for t, arrays in frames]
    engine.write(control, path, moved)
