"""The embedded engine: finite elements of scikit-fem, serial, on scipy matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
import scipy.sparse as sp
import skfem
from skfem.helpers import dot, grad

from ..arrays import Array, Indices
from ..counter import Counter
from ..errors import ProblemError
from ..linear.direct import direct_solver
from ..linear.multigrid import multigrid_solver
from ..linear.residual import Excess
from ..linear.solver import LinearSolver, choose_kind
from ..mesh.elements import cell_lagrange, facet_lagrange
from ..mesh.lagrange import Lagrange
from ..mesh.mesh import Mesh
from ..parallel import ALONE
from ..problem import Boundary, Distributed
from ..space import Space
from .engine import ORDERS, Engine, Integral, Region, constant_mass, mass

MESHES = {1: skfem.MeshLine, 2: skfem.MeshTri, 3: skfem.MeshTet}
ELEMENTS = {
    (1, 1): skfem.ElementLineP1, (2, 1): skfem.ElementTriP1, (3, 1): skfem.ElementTetP1,
    (1, 2): skfem.ElementLineP2, (2, 2): skfem.ElementTriP2, (3, 2): skfem.ElementTetP2,
}  # fmt: skip

LARGE = 30_000  # unknowns from which multigrid is faster than factors in 3D

load = skfem.LinearForm(lambda v, w: w.weight * v)
flux_load = skfem.LinearForm(lambda v, w: w.weight * v + dot(w.flux, grad(v)))


@cache
def form(integrand: Callable[..., Any]) -> skfem.BilinearForm:
    """The bilinear form of an integrand (see `engine.Integral`)."""
    return skfem.BilinearForm(lambda y, v, w: integrand(y, v, w.weight, grad, dot))


class SkfemRegion(Region):
    """The region of a basis of scikit-fem."""

    def __init__(self, basis: skfem.Basis, keys: Indices) -> None:
        self.basis = basis
        self.count, self.quadrature = basis.dx.shape
        self.keys = keys

    def points(self, chosen: Indices) -> Array:
        return self._points[:, chosen]

    @cached_property
    def _points(self) -> Array:
        return np.asarray(self.basis.global_coordinates())

    def functional(self, weight: Array, flux: Array | None = None) -> Array:
        if flux is None:
            return np.asarray(load.assemble(self.basis, weight=weight))
        return np.asarray(flux_load.assemble(self.basis, weight=weight, flux=flux))

    def values(self, y: Array) -> Array:
        return np.asarray(self.basis.interpolate(y))

    def gradients(self, y: Array) -> Array:
        return np.asarray(self.basis.interpolate(y).grad)

    def dofs(self) -> Indices:
        if isinstance(self.basis, skfem.FacetBasis):
            return np.unique(self.basis.get_dofs(facets=self.basis.find).all())
        return np.unique(self.basis.element_dofs)


class SkfemEngine(Engine):
    """States of degree 1 or 2; linear solvers are "direct", "amg" or "auto" (multigrid if it is faster)."""

    name = "skfem"
    group = ALONE

    def __init__(self, mesh: Mesh, degree: int, linear_solver: str) -> None:
        self.mesh, self.degree, self._solver = mesh, degree, linear_solver
        self._mesh = MESHES[mesh.dim](np.ascontiguousarray(mesh.points), np.ascontiguousarray(mesh.cells))
        self._element = ELEMENTS[mesh.dim, degree]()
        # scikit-fem has the rule of 24 points and order 6 on tetrahedra under the number 7.
        self._order = {(3, 2): 7}.get((mesh.dim, degree), ORDERS[mesh.dim, degree])
        self.basis = skfem.Basis(self._mesh, self._element, intorder=self._order)
        dofs = np.asarray(self.basis.element_dofs)
        self.elements = Lagrange(mesh.points, np.asarray(self._mesh.t), dofs, degree)
        self.size, self.nodes = int(self.basis.N), self.elements.points
        self.cells = SkfemRegion(self.basis, np.arange(mesh.cells.shape[1])[None])

    def members(self, tag: str) -> Indices:
        return self.mesh.part(tag)

    def part(self, tag: str) -> SkfemRegion:
        cells = self.members(tag)
        basis = skfem.Basis(self._mesh, self._element, elements=cells, intorder=self._order)
        return SkfemRegion(basis, cells[None])

    def facets(self, tag: str) -> SkfemRegion:
        keys, order = self._sorted_facets
        numbers = np.asarray(order[np.searchsorted(keys, self._keys(self.mesh.facets(tag)))])
        basis = skfem.FacetBasis(self._mesh, self._element, facets=numbers, intorder=2 * self.degree + 2)
        return SkfemRegion(basis, self.mesh.facets(tag))

    @cached_property
    def _sorted_facets(self) -> tuple[Any, Any]:
        keys = self._keys(np.asarray(self._mesh.facets))
        order = np.argsort(keys)
        return keys[order], order

    def _keys(self, facets: Array) -> Array:
        shape = (self.mesh.points.shape[1],) * self.mesh.dim
        return np.asarray(np.ravel_multi_index(tuple(np.sort(facets, axis=0)), shape))

    def matrix(self, terms: Sequence[Integral]) -> sp.csr_matrix:
        parts = (form(integrand).assemble(region.basis, weight=weight) for integrand, region, weight in terms)  # type: ignore[attr-defined]
        return sp.csr_matrix(sum(parts, start=sp.csr_matrix((self.size, self.size))))

    def gram(self, coupling: sp.csr_matrix, weights: Array) -> sp.csr_matrix:
        return sp.csr_matrix(coupling @ sp.diags(weights) @ coupling.T)

    def block(self, matrix: sp.csr_matrix, dofs: Indices) -> sp.csr_matrix:
        return matrix[dofs][:, dofs]

    def prepare(self, definite: bool, affine: bool, unknowns: int) -> None:
        large, there = self.mesh.dim == 3 and unknowns > LARGE, find_spec("pyamg") is not None
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

    def solution(self) -> Space:
        return Space(self.matrix([constant_mass(self.cells)]), self.elements)

    def nodal(self, dofs: Indices, mass: Any) -> Space:
        return Space(mass, points=self.nodes[:, dofs], diameter=self.mesh.diameter)

    def control(self, control: Distributed | Boundary) -> tuple[Space, sp.csr_matrix]:
        degree = int(control.element == "P1")
        if isinstance(control, Boundary):
            basis, elements = self.facets(control.on).basis, facet_lagrange(self.mesh, control.on, degree)
        elif control.on is None:
            basis, elements = self.basis, cell_lagrange(self.mesh, degree)
        else:
            basis, elements = self.part(control.on).basis, cell_lagrange(self.mesh, degree, control.on)
        lumped = elements.lumped_mass()
        space = Space(lumped, elements, diameter=self.mesh.diameter)
        if degree == 0:
            return space, integrals(basis)
        vertices = np.zeros(elements.size, dtype=int)
        vertices[elements.dofs] = elements.simplices
        if isinstance(control, Boundary) and self.degree == 2:
            # Nodal loads on the boundary would cost quadratic states half an order.
            linear = ELEMENTS[self.mesh.dim, 1]()
            hats = skfem.FacetBasis(self._mesh, linear, facets=basis.find, intorder=2 * self.degree + 2)
            coupling = form(mass).assemble(hats, basis, weight=np.ones(basis.dx.shape))
            return space, sp.csr_matrix(coupling)[:, np.asarray(hats.nodal_dofs)[0, vertices]]
        # A vertex is a degree of freedom of the state too, under the number that scikit-fem gives it.
        rows, columns = np.asarray(self.basis.nodal_dofs)[0, vertices], np.arange(elements.size)
        return space, sp.csr_matrix((lumped, (rows, columns)), (self.size, elements.size))

    def probe(self, points: Array) -> sp.csr_matrix:
        return self.elements.sampling(points).T.tocsr()


def integrals(basis: skfem.Basis) -> sp.csr_matrix:
    """The integral of each basis function over each simplex of a basis: (dofs, simplices)."""
    values = np.stack([np.sum(np.asarray(b[0]) * basis.dx, axis=1) for b in basis.basis])
    dofs = np.asarray(basis.element_dofs)
    columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return sp.csr_matrix((values.ravel(), (dofs.ravel(), columns.ravel())), (basis.N, values.shape[1]))
