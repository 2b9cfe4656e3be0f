"""The embedded engine: finite elements of scikit-fem, serial, on scipy matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
import scipy.sparse as sp
import skfem
from skfem.helpers import dot, grad

from ..arrays import Array, Indices
from ..counter import Counter
from ..errors import ProblemError
from ..linear.cholesky import has_cholmod
from ..linear.direct import direct_solver
from ..linear.hierarchy import Hierarchy, LocalHierarchy
from ..linear.matrix import Triplets
from ..linear.multigrid import multigrid_solver, prolongations
from ..linear.residual import Excess
from ..linear.solver import LinearSolver, choose_kind
from ..mesh.elements import cell_lagrange, facet_lagrange
from ..mesh.lagrange import Lagrange
from ..mesh.mesh import Mesh
from ..mesh.quadratic import Bends
from ..parallel import ALONE
from ..problem import Boundary, Distributed
from ..space import Space
from .engine import ORDERS, Engine, Integral, Region, check_bends, constant_mass, mass
from .variational import point_numbers, variational_space

MESHES = {1: skfem.MeshLine, 2: skfem.MeshTri, 3: skfem.MeshTet}
ELEMENTS = {
    (1, 1): skfem.ElementLineP1, (2, 1): skfem.ElementTriP1, (3, 1): skfem.ElementTetP1,
    (1, 2): skfem.ElementLineP2, (2, 2): skfem.ElementTriP2, (3, 2): skfem.ElementTetP2,
}  # fmt: skip

BENT = {2: skfem.MeshTri2, 3: skfem.MeshTet2}

LARGE = {"SuperLU": 30_000, "CHOLMOD": 100_000}  # unknowns from which multigrid is faster than factors in 3D


class SkfemRegion(Region):
    """The region of a basis of scikit-fem.

    Integrals are sums over its tabulated functions: nonlinear equations assemble much, and the forms of scikit-fem take
    several times as long.
    """

    places: Indices | None = None  # of the entries of its matrices, among those of the engine

    def __init__(self, basis: skfem.Basis, keys: Indices) -> None:
        self.basis = basis
        self.count, self.quadrature = basis.dx.shape
        self.keys = keys
        self._dofs, self._functions = np.asarray(basis.element_dofs), [functions[0] for functions in basis.basis]
        # On cells, functions have the same values on all of them.
        self._shapes = None if isinstance(basis, skfem.FacetBasis) else np.array([v[0] for v in self._functions])

    def points(self, chosen: Indices) -> Array:
        return self._points[:, chosen]

    @cached_property
    def _points(self) -> Array:
        return np.asarray(self.basis.global_coordinates())

    def functional(self, weight: Array, flux: Array | None = None) -> Array:
        weighted = weight * self.basis.dx
        if self._shapes is not None:
            local = self._shapes @ weighted.T
        else:
            local = np.array([(weighted * np.asarray(v)).sum(axis=1) for v in self._functions])
        if flux is not None:
            turned = flux * self.basis.dx
            local += [(turned * v.grad).sum(axis=(0, 2)) for v in self._functions]
        return np.bincount(self._dofs.ravel(), local.ravel(), self.basis.N)

    def values(self, y: Array) -> Array:
        if self._shapes is not None:
            return np.asarray(y[self._dofs].T @ self._shapes)
        pairs = zip(y[self._dofs], self._functions, strict=True)
        return np.asarray(sum(entries[:, None] * np.asarray(v) for entries, v in pairs))

    def gradients(self, y: Array) -> Array:
        pairs = zip(y[self._dofs], self._functions, strict=True)
        return np.asarray(sum(entries[:, None] * v.grad for entries, v in pairs))

    def bilinear(self, integrand: Callable[..., Any], weight: Array) -> Array:
        """The matrices (local, local, count) of cells or facets."""
        weighted, functions = weight * self.basis.dx, self._functions
        if integrand is mass and self._shapes is not None:
            products = self._shapes[:, None] * self._shapes
            return np.asarray(products @ weighted.T)
        return np.array([[integrand(y, v, weighted, grad, dot).sum(axis=1) for y in functions] for v in functions])

    @cached_property
    def entries(self) -> Indices:
        """Where the entries of these matrices belong: row times the number of unknowns plus column."""
        dofs = self._dofs.astype(np.int64)
        return np.asarray(dofs[:, None] * self.basis.N + dofs)

    def dofs(self) -> Indices:
        if isinstance(self.basis, skfem.FacetBasis):
            return np.unique(self.basis.get_dofs(facets=self.basis.find).all())
        return np.unique(self.basis.element_dofs)


class QuadraticMapping(skfem.MappingIsoparametric):  # type: ignore[misc]
    """The maps of quadratic cells; that of scikit-fem finds no coordinates to 1e-12 in cells far smaller than x."""

    def __init__(self, mesh: skfem.Mesh) -> None:
        super().__init__(mesh, mesh.elem(), mesh.bndelem)

    def invF(self, x: Array, tind: Indices | None = None) -> Array:
        found = np.full(x.shape, 1 / (len(x) + 1))
        for _ in range(8):
            found += np.einsum("ijkl,jkl->ikl", self.invDF(found, tind), x - self.F(found, tind))
        return found


class SkfemEngine(Engine):
    """States of degree 1 or 2; linear solvers are "direct", "amg" or "auto" (multigrid if it is faster)."""

    name = "skfem"
    group = ALONE

    def __init__(self, mesh: Mesh, degree: int, linear_solver: str) -> None:
        self.mesh, self.degree, self._solver = mesh, degree, linear_solver
        check_bends(mesh, degree)
        self._mesh = MESHES[mesh.dim](np.ascontiguousarray(mesh.points), np.ascontiguousarray(mesh.cells))
        if mesh.bends is not None:
            self._mesh = bent_mesh(self._mesh, mesh.bends)
        self._mapping = self._mesh.mapping() if mesh.bends is None else QuadraticMapping(self._mesh)
        self._element = ELEMENTS[mesh.dim, degree]()
        # scikit-fem has the rule of 24 points and order 6 on tetrahedra under the number 7.
        self._order = {(3, 2): 7}.get((mesh.dim, degree), ORDERS[mesh.dim, degree])
        self.basis = skfem.Basis(self._mesh, self._element, self._mapping, self._order)
        dofs = np.asarray(self.basis.element_dofs)
        self.elements = Lagrange(
            mesh.points, np.asarray(self._mesh.t), dofs, degree, bends=mesh.bends, parts=mesh.parts
        )
        self.size, self.nodes = int(self.basis.N), self.elements.points
        self.cells: SkfemRegion = SkfemRegion(self.basis, np.arange(mesh.cells.shape[1])[None])
        self._block: tuple[Indices, ...] = (np.zeros(0, dtype=int),)

    def members(self, tag: str) -> Indices:
        return self.mesh.part(tag)

    def part(self, tag: str) -> SkfemRegion:
        cells = self.members(tag)
        basis = skfem.Basis(self._mesh, self._element, self._mapping, self._order, cells)
        return SkfemRegion(basis, cells[None])

    def facets(self, tag: str) -> SkfemRegion:
        keys, order = self._sorted_facets
        numbers = np.asarray(order[np.searchsorted(keys, self._keys(self.mesh.facets(tag)))])
        basis = self._facet_basis(self._element, numbers)
        return SkfemRegion(basis, self.mesh.facets(tag))

    def _facet_basis(self, element: skfem.Element, facets: Indices) -> skfem.FacetBasis:
        return skfem.FacetBasis(self._mesh, element, self._mapping, 2 * self.degree + 2, facets=facets)

    @cached_property
    def _sorted_facets(self) -> tuple[Any, Any]:
        keys = self._keys(np.asarray(self._mesh.facets))
        order = np.argsort(keys)
        return keys[order], order

    def _keys(self, facets: Array) -> Array:
        shape = (self.mesh.points.shape[1],) * self.mesh.dim
        return np.asarray(np.ravel_multi_index(tuple(np.sort(facets, axis=0)), shape))

    def matrix(self, terms: Sequence[Integral], base: Any = None) -> sp.csr_matrix:
        keys, indices, indptr = self._pattern
        data = np.zeros(keys.size) if base is None else base.data.copy()
        for integrand, region, weight in terms:
            assert isinstance(region, SkfemRegion)
            if region.places is None:
                region.places = np.searchsorted(keys, region.entries.ravel())
            data += np.bincount(region.places, region.bilinear(integrand, weight).ravel(), keys.size)
        return sp.csr_matrix((data, indices, indptr), (self.size, self.size))

    @cached_property
    def _pattern(self) -> tuple[Indices, Indices, Indices]:
        """Where matrices have entries, the same for all of them."""
        assert isinstance(self.cells, SkfemRegion)
        keys = np.unique(self.cells.entries)
        rows = np.searchsorted(keys, self.size * np.arange(self.size + 1))
        return keys, (keys % self.size).astype(np.int32), rows.astype(np.int32)

    def gram(self, coupling: sp.csr_matrix, weights: Array, base: Any) -> sp.csr_matrix:
        keys, indices, indptr = self._pattern
        product = sp.coo_matrix(coupling @ sp.diags(weights) @ coupling.T)
        places = np.searchsorted(keys, product.row.astype(np.int64) * self.size + product.col)
        data = base.data + np.bincount(places, product.data, keys.size)
        return sp.csr_matrix((data, indices, indptr), (self.size, self.size))

    def block(self, matrix: sp.csr_matrix, dofs: Indices) -> sp.csr_matrix:
        _, indices, indptr = self._pattern
        if not np.array_equal(matrix.indices, indices):
            return matrix[dofs][:, dofs]
        if dofs is not self._block[0]:
            numbered = sp.csr_matrix((np.arange(1.0, indices.size + 1), indices, indptr), matrix.shape)[dofs][:, dofs]
            self._block = dofs, numbered.data.astype(int) - 1, numbered.indices, numbered.indptr
        _, chosen, indices, indptr = self._block
        return sp.csr_matrix((matrix.data[chosen], indices, indptr), (dofs.size, dofs.size))

    def prepare(self, definite: bool, affine: bool, unknowns: int) -> None:
        large = self.mesh.dim == 3 and unknowns > LARGE["SuperLU"]
        large = large and (unknowns > LARGE["CHOLMOD"] or not has_cholmod())
        there = find_spec("pyamg") is not None
        refused = "without advection, negative reaction or nonlinear term: use 'direct'"
        self._kind = choose_kind(self._solver, affine and definite, large and there, refused)
        if self._kind == "amg" and not there:
            raise ProblemError("linear_solver='amg' needs pyamg: pip install pyamg.")
        self.exact = self._kind == "direct"

    def solver(
        self, block: sp.csr_matrix, definite: bool, counter: Counter, points: Array, excess: Excess | None
    ) -> LinearSolver:
        if self._kind == "direct":
            return direct_solver(block, counter, definite, excess)
        return multigrid_solver(block, counter, points / self.mesh.diameter, excess)

    @property
    def multigrid(self) -> bool:  # type: ignore[override]
        return find_spec("pyamg") is not None

    def hierarchy(self, block: sp.csr_matrix, symmetric: bool, first: Triplets | None) -> Hierarchy:
        part, finest = block if symmetric else (block + block.T) / 2, []
        if first is not None:
            finest = [first.on_owners(ALONE)]
            part = finest[0].T @ part @ finest[0]
        return LocalHierarchy(finest + prolongations(sp.csr_matrix(part)), block.shape[0])

    def on_cells(self, y: Array) -> Array:
        return np.asarray(y[self.elements.dofs.T])

    @property
    def barycentric(self) -> Array:
        return self.elements.local_nodes

    def solution(self) -> Space:
        mass, members = self.matrix([constant_mass(self.cells)]), self.members_among(np.arange(self.size))
        return Space(mass, self.elements, members=members)

    def nodal(self, dofs: Indices, mass: Any) -> Space:
        members = self.members_among(dofs)
        return Space(mass, points=self.nodes[:, dofs], diameter=self.mesh.diameter, members=members)

    def control(self, control: Distributed | Boundary) -> tuple[Space, sp.csr_matrix]:
        if control.element == "variational":
            return self._variational(control.on)
        degree = int(control.element == "P1")
        if isinstance(control, Boundary):
            region, elements = self.facets(control.on), facet_lagrange(self.mesh, control.on, degree)
        else:
            region = self.cells if control.on is None else self.part(control.on)
            elements = cell_lagrange(self.mesh, degree, control.on)
        basis = region.basis
        lumped = elements.lumped_mass()
        if degree == 0:
            members = {} if isinstance(control, Boundary) else self.members_among_cells(region.keys[0])
            return Space(lumped, elements, diameter=self.mesh.diameter, members=members), integrals(basis)
        vertices = np.zeros(elements.size, dtype=int)
        vertices[elements.dofs] = elements.simplices
        # A vertex is a degree of freedom of the state too, under the number that scikit-fem gives it.
        rows = np.asarray(self.basis.nodal_dofs)[0, vertices]
        space = Space(lumped, elements, diameter=self.mesh.diameter, members=self.members_among(rows))
        if isinstance(control, Boundary) and self.degree == 2:
            # Nodal loads on the boundary would cost quadratic states half an order.
            hats = self._facet_basis(ELEMENTS[self.mesh.dim, 1](), basis.find)
            coupling = skfem.BilinearForm(lambda y, v, _: y * v).assemble(hats, basis)
            return space, sp.csr_matrix(coupling)[:, np.asarray(hats.nodal_dofs)[0, vertices]]
        columns = np.arange(elements.size)
        return space, sp.csr_matrix((lumped, (rows, columns)), (self.size, elements.size))

    def _variational(self, part: str | None) -> tuple[Space, sp.csr_matrix]:
        region = self.cells if part is None else self.part(part)
        cells, rule, dx = region.keys[0], region.basis.X, np.asarray(region.basis.dx)
        rule = np.vstack([1 - rule.sum(axis=0), rule])
        numbers = point_numbers(self.elements.simplices[:, cells], rule)
        mass, points = np.empty(dx.size), np.empty((self.mesh.dim, dx.size))
        mass[numbers], points[:, numbers] = dx, region.points(np.arange(region.count))
        entries = np.stack([np.broadcast_to(np.asarray(b[0]), dx.shape) * dx for b in region.basis.basis])
        rows = np.broadcast_to(np.asarray(region.basis.element_dofs)[:, :, None], entries.shape)
        place = rows.ravel(), np.broadcast_to(numbers, entries.shape).ravel()
        space = variational_space(self.mesh, part, self.degree, rule, mass, points)
        return space, sp.csr_matrix((entries.ravel(), place), (self.size, dx.size))

    def probe(self, points: Array) -> sp.csr_matrix:
        return self.elements.sampling(points).T.tocsr()


def bent_mesh(mesh: skfem.Mesh, bends: Bends) -> skfem.Mesh:
    """The mesh with bent edges, of scikit-fem."""
    quadratic = BENT[mesh.dim()].from_mesh(mesh)
    nodes = Lagrange(np.asarray(mesh.p), np.asarray(mesh.t), np.asarray(quadratic.dofs.element_dofs), 2, bends=bends)
    return replace(quadratic, doflocs=nodes.points)


def integrals(basis: skfem.Basis) -> sp.csr_matrix:
    """The integral of each basis function over each simplex of a basis: (dofs, simplices)."""
    values = np.stack([np.sum(np.asarray(b[0]) * basis.dx, axis=1) for b in basis.basis])
    dofs = np.asarray(basis.element_dofs)
    columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return sp.csr_matrix((values.ravel(), (dofs.ravel(), columns.ravel())), (basis.N, values.shape[1]))
