"""The embedded engine: control problems discretised with scikit-fem, serial, on scipy matrices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import scipy.sparse as sp
import skfem
from skfem.helpers import dot, grad

from ..errors import DataError, MeshError, ProblemError
from ..lagrange import Lagrange, cell_lagrange, facet_lagrange
from ..maps import Counter
from ..problem import (
    Actuators,
    Boundary,
    ControlProblem,
    Dirichlet,
    Distributed,
    Linear,
    Neumann,
    Robin,
    Tracking,
)
from ..space import Array, Data, Space, product, sample
from .linear import LinearSolver, make_solver
from .meshes import Mesh

MESHES = {1: skfem.MeshLine, 2: skfem.MeshTri, 3: skfem.MeshTet}
ELEMENTS = {
    (1, 1): skfem.ElementLineP1, (2, 1): skfem.ElementTriP1, (3, 1): skfem.ElementTetP1,
    (1, 2): skfem.ElementLineP2, (2, 2): skfem.ElementTriP2, (3, 2): skfem.ElementTetP2,
}  # fmt: skip


@skfem.BilinearForm
def stiffness(y, v, w):
    return w.diffusion * dot(grad(y), grad(v)) + w.reaction * y * v


@skfem.BilinearForm
def convection(y, v, w):
    return dot(w.advection, grad(y)) * v


@skfem.BilinearForm
def mass(y, v, w):
    return w.weight * y * v


@skfem.LinearForm
def functional(v, w):
    return w.weight * v


class SkfemSystem:
    """The discretised equation of a control problem (see `elliptic.SteadySystem`).

    States are Lagrange elements of degree 1 or 2. Data of the equation are sampled at quadrature points, targets and
    Dirichlet values at nodes. A P1 control enters through its own diagonal mass: (C u, v) = sum_i m_i u_i v(x_i).
    """

    def __init__(self, problem: ControlProblem, mesh: Mesh, degree: int, linear_solver: str) -> None:
        self.problem, self.mesh = problem, mesh
        self._linear_solver = linear_solver
        self._skfem_mesh = MESHES[mesh.dim](mesh.points, mesh.cells)
        self._element = ELEMENTS[mesh.dim, degree]()
        self._order = 2 * degree + 2
        self.basis = skfem.Basis(self._skfem_mesh, self._element, intorder=self._order)
        vertices, simplices = mesh.points, np.asarray(self._skfem_mesh.t)
        self.elements = Lagrange(vertices, simplices, np.asarray(self.basis.element_dofs), degree)
        self._cell_points = np.asarray(self.basis.global_coordinates())
        self._conditions = self._check_boundary()

        self._fixed = np.zeros(self.basis.N, dtype=bool)
        self._fixed_values = np.zeros(self.basis.N)
        for tag, condition in problem.boundary.items():
            if isinstance(condition, Dirichlet):
                dofs = self.basis.get_dofs(facets=self._facets(tag)).all()
                self._fixed[dofs] = True
                points = self.elements.points[:, dofs]
                self._fixed_values[dofs] = sample(
                    condition.value, points, mesh.diameter, f"Dirichlet value on {tag!r}"
                )
        self._free = np.flatnonzero(~self._fixed)
        if self._free.size == 0:
            raise ProblemError(
                "every node carries a Dirichlet value, nothing is left to solve for: refine the mesh."
            )

        self._matrix, self._load = self._assemble_equation()
        self._symmetric = problem.equation.advection is None
        self.affine = problem.equation.semilinear is None
        if not self.affine:
            self._semilinear = problem.equation.semilinear
            self._semilinear_weight = self._on_cells(
                self._semilinear.coefficient, "the coefficient of Semilinear", 0.0
            )
        self.solution = Space(self._mass(self.basis), self.elements)
        self.control, self._coupling = self._build_control()
        self.observation, self._observe = self._build_observation()
        self._observe_dual = (self.observation.mass @ self._observe).T.tocsr()
        self._coupling_transposed = self._coupling.T.tocsr()

    # -- what the maps ask for -------------------------------------------------------------------------------------

    def initial(self) -> Array:
        return self._fixed_values.copy()

    def residual(self, y: Array, u: Array) -> Array:
        residual = self._load + self._coupling @ u - self._matrix @ y
        if not self.affine:
            residual -= self._weighted(self._semilinear.function, y)
        return self._vanish(residual)

    def couple(self, h: Array) -> Array:
        return self._vanish(self._coupling @ h)

    def couple_transposed(self, p: Array) -> Array:
        return self.control.riesz(self._coupling_transposed @ p)

    def observe(self, y: Array) -> Array:
        return self._observe @ y

    def observe_transposed(self, w: Array) -> Array:
        return self._vanish(self._observe_dual @ w)

    def curvature(self, y: Array, p: Array, eta: Array) -> Array:
        values, adjoint, direction = (self._values(a) for a in (y, p, eta))
        # r'' only steers Newton's method for the control, so that a difference quotient of r' is exact enough.
        step = 1e-5 * (1.0 + np.abs(values))
        derivative = self._semilinear.derivative
        second = (derivative(values + step) - derivative(values - step)) / (2 * step)
        weight = self._semilinear_weight * second * adjoint * direction
        return self._vanish(functional.assemble(self.basis, weight=weight))

    def factorise(self, y: Array, counter: Counter) -> LinearSolver:
        matrix = self._matrix
        if not self.affine:
            weight = self._semilinear_weight * self._apply(self._semilinear.derivative, self._values(y))
            matrix = matrix + mass.assemble(self.basis, weight=weight)
        matrix = sp.csr_matrix(matrix)[self._free][:, self._free]
        kind = self._linear_solver if self.affine or self._linear_solver == "amg" else "direct"
        return make_solver(matrix, kind, self._symmetric and self.affine, self.mesh.dim, counter)

    def extend(self, free: Array) -> Array:
        y = np.zeros(self.basis.N)
        y[self._free] = free
        return y

    def restrict(self, y: Array) -> Array:
        return y[self._free]

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for matrix in (self._matrix, self._coupling, self._observe_dual):
            for array in (matrix.data, matrix.indices, matrix.indptr):
                digest.update(np.ascontiguousarray(array).tobytes())
        for array in (self._load, self._fixed, self._fixed_values):
            digest.update(array.tobytes())
        if not self.affine:
            probe = np.linspace(-2.0, 2.0, 41)
            digest.update(self._apply(self._semilinear.function, probe).tobytes())
            digest.update(self._semilinear_weight.tobytes())
        return digest.hexdigest()

    # -- the semilinear term ---------------------------------------------------------------------------------------

    def _values(self, y: Array) -> Array:
        return np.asarray(self.basis.interpolate(y))

    def _apply(self, function: Callable[[Array], Array], values: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # Newton's method backtracks from overflow
            return np.broadcast_to(np.asarray(function(values), dtype=float), values.shape).copy()

    def _weighted(self, function: Callable[[Array], Array], y: Array) -> Array:
        weight = self._semilinear_weight * self._apply(function, self._values(y))
        return functional.assemble(self.basis, weight=weight)

    # -- assembly --------------------------------------------------------------------------------------------------

    def _vanish(self, dual: Array) -> Array:
        dual[self._fixed] = 0.0
        return dual

    def _mass(self, basis: skfem.Basis) -> sp.csr_matrix:
        return sp.csr_matrix(mass.assemble(basis, weight=np.ones(basis.dx.shape)))

    def _assemble_equation(self) -> tuple[sp.csr_matrix, Array]:
        equation = self.problem.equation
        diffusion = self._on_cells(equation.diffusion, "diffusion", None)
        if np.any(diffusion <= 0):
            cell, point = np.argwhere(diffusion <= 0)[0]
            where = self._cell_points[:, cell, point].round(6).tolist()
            raise ProblemError(
                f"diffusion must be positive, it is {diffusion[cell, point]:.6g} at x = {where}."
            )
        reaction = self._on_cells(equation.reaction, "reaction", 0.0)
        matrix = stiffness.assemble(self.basis, diffusion=diffusion, reaction=reaction)
        if equation.advection is not None:
            matrix = matrix + convection.assemble(
                self.basis, advection=self._vector_on_cells(equation.advection)
            )
        load = functional.assemble(self.basis, weight=self._on_cells(equation.source, "source", 0.0))
        for tag, condition in self.problem.boundary.items():
            if isinstance(condition, Dirichlet):
                continue
            basis = self._facet_basis(tag)
            if isinstance(condition, Robin):
                coefficient = self._at_quadrature(
                    condition.coefficient, basis, f"Robin coefficient on {tag!r}"
                )
                if np.any(coefficient < 0):
                    raise ProblemError(f"the Robin coefficient on {tag!r} must not be negative, its least value is "
                                       f"{coefficient.min():.6g}.")  # fmt: skip
                matrix = matrix + mass.assemble(basis, weight=coefficient)
                load = load + functional.assemble(
                    basis, weight=self._at_quadrature(condition.value, basis, f"Robin value on {tag!r}")
                )
            elif isinstance(condition, Neumann):
                load = load + functional.assemble(
                    basis, weight=self._at_quadrature(condition.flux, basis, f"Neumann flux on {tag!r}")
                )
        return sp.csr_matrix(matrix), load

    def _at_quadrature(self, data: Data, basis: skfem.Basis, name: str) -> Array:
        points = np.asarray(basis.global_coordinates())
        values = sample(data, points.reshape(points.shape[0], -1), self.mesh.diameter, name)
        return values.reshape(points.shape[1:])

    def _on_cells(self, coefficient, name: str, default: float | None) -> Array:
        """Values (cells, quadrature points) of a coefficient, which may differ from part to part."""
        return self._by_part(coefficient, name, default, self._scalar)[0]

    def _vector_on_cells(self, coefficient) -> Array:
        """Values (dim, cells, quadrature points) of a vector coefficient, zero on the parts left out."""
        return self._by_part(coefficient, "advection", 0.0, self._vector)

    def _scalar(self, data, points: Array, label: str) -> Array:
        return sample(data, points, self.mesh.diameter, label)[None]

    def _vector(self, data, points: Array, label: str) -> Array:
        values = data(points) if callable(data) else data
        if np.ndim(values) == 0 or len(values) != self.mesh.dim:
            raise DataError(f"{label}: expected {self.mesh.dim} components in {self.mesh.dim}D.")
        return np.concatenate([self._scalar(component, points, label) for component in values])

    def _by_part(self, coefficient, name: str, default: float | None, evaluate) -> Array:
        """Values (components, cells, quadrature points); a default of None means that every cell needs a value."""
        dim, count, quadrature = self._cell_points.shape
        parts = coefficient if isinstance(coefficient, Mapping) else {None: coefficient}
        known = np.zeros(count, dtype=bool)
        values: Array | None = None
        for tag, data in parts.items():
            cells = np.arange(count) if tag is None else self.mesh.part(tag)
            if known[cells].any():
                raise ProblemError(f"{name}: the part {tag!r} overlaps another part that has a value too.")
            known[cells] = True
            label = name if tag is None else f"{name} on {tag!r}"
            part = evaluate(data, self._cell_points[:, cells].reshape(dim, -1), label)
            if values is None:
                values = np.full((part.shape[0], count, quadrature), 0.0 if default is None else default)
            values[:, cells] = part.reshape(-1, cells.size, quadrature)
        if values is None or (default is None and not known.all()):
            raise ProblemError(
                f"{name}: {(~known).sum()} of {count} cells are in none of the parts {list(parts)}."
            )
        return values

    # -- tags ------------------------------------------------------------------------------------------------------

    def _facets(self, tag: str) -> Array:
        """scikit-fem's facet numbers of a tagged boundary, in the order of the mesh."""
        wanted, all_facets = self.mesh.facets(tag), np.sort(np.asarray(self._skfem_mesh.facets), axis=0)
        size = self.mesh.points.shape[1]
        keys = [
            np.ravel_multi_index(tuple(f), (size,) * f.shape[0])
            for f in (np.sort(wanted, axis=0), all_facets)
        ]
        order = np.argsort(keys[1])
        return order[np.searchsorted(keys[1], keys[0], sorter=order)]

    def _facet_basis(self, tag: str) -> skfem.FacetBasis:
        return skfem.FacetBasis(
            self._skfem_mesh, self._element, facets=self._facets(tag), intorder=self._order
        )

    def _check_boundary(self) -> None:
        """Conditions must lie on the boundary and must not overlap; a boundary control must not meet Dirichlet data."""
        outer = set(map(int, self._facets("boundary")))
        owner: dict[int, str] = {}
        for tag in self.problem.boundary:
            for facet in map(int, self._facets(tag)):
                if facet not in outer:
                    raise ProblemError(f"boundary[{tag!r}]: the tag names facets inside the domain.")
                if facet in owner:
                    raise ProblemError(
                        f"boundary: the tags {owner[facet]!r} and {tag!r} share facets, each with a condition."
                    )
                owner[facet] = tag
        control = self.problem.control
        if isinstance(control, Boundary):
            for facet in map(int, self._facets(control.on)):
                if facet not in outer:
                    raise ProblemError(
                        f"Boundary control: the tag {control.on!r} names facets inside the domain."
                    )
                if isinstance(self.problem.boundary.get(owner.get(facet, "")), Dirichlet):
                    raise ProblemError(
                        f"Boundary control on {control.on!r} meets the Dirichlet condition on {owner[facet]!r}: "
                        "Dirichlet control is not supported. Give that part a Neumann or Robin condition."
                    )

    def _region(self, tag: str | None) -> skfem.Basis:
        """The basis over the domain, a part or a boundary."""
        if tag is None:
            return self.basis
        if tag in self.mesh.parts:
            return skfem.Basis(
                self._skfem_mesh, self._element, elements=self.mesh.part(tag), intorder=self._order
            )
        if tag in self.mesh.boundaries:
            return self._facet_basis(tag)
        raise MeshError(
            f"unknown tag {tag!r}: the mesh has the parts {sorted(self.mesh.parts)} and the boundaries "
            f"{sorted(self.mesh.boundaries)}."
        )

    # -- controls and observations ---------------------------------------------------------------------------------

    def _build_control(self) -> tuple[Space, sp.csr_matrix]:
        control = self.problem.control
        if isinstance(control, Actuators):
            columns = []
            for number, shape in enumerate(control.shapes):
                basis = self._region(control.on)
                weight = self._at_quadrature(shape, basis, f"shape {number + 1} of Actuators")
                columns.append(functional.assemble(basis, weight=weight))
            return Space(np.ones(len(columns))), sp.csr_matrix(np.stack(columns, axis=1))
        degree = 0 if control.element == "P0" else 1
        if isinstance(control, Distributed):
            if control.on is not None:
                self.mesh.part(control.on)
            elements, basis = cell_lagrange(self.mesh, degree, control.on), self._region(control.on)
        else:
            elements, basis = facet_lagrange(self.mesh, control.on, degree), self._facet_basis(control.on)
        lumped = elements.lumped_mass()
        if degree == 0:
            return Space(lumped, elements), integrals(basis)
        # A vertex is a degree of freedom of the state too, under the number that scikit-fem gives it.
        vertices = np.zeros(elements.size, dtype=int)
        vertices[elements.dofs] = elements.simplices
        rows = np.asarray(self.basis.nodal_dofs)[0, vertices]
        shape = (self.basis.N, elements.size)
        return Space(lumped, elements), sp.csr_matrix((lumped, (rows, np.arange(elements.size))), shape)

    def _build_observation(self) -> tuple[Space, sp.csr_matrix]:
        observed = [self._observe_tracking(tracking) for tracking in self.problem.tracking]
        for term in self.problem.terms:
            if isinstance(term, Linear):
                basis = self._region(term.on)
                weight = self._at_quadrature(term.weight, basis, "the weight of Linear")
                observed.append((Space(np.ones(1)), sp.csr_matrix(functional.assemble(basis, weight=weight))))
        return product([space for space, _ in observed]), sp.csr_matrix(
            sp.vstack([matrix for _, matrix in observed])
        )

    def _observe_tracking(self, tracking: Tracking) -> tuple[Space, sp.csr_matrix]:
        if tracking.points is not None:
            if tracking.points.shape[0] != self.mesh.dim:
                raise DataError(f"Tracking: points of shape {tracking.points.shape} in {self.mesh.dim}D.")
            try:
                matrix = sp.csr_matrix(self.basis.probes(tracking.points))
            except ValueError:
                raise DataError("Tracking: some of the points lie outside the mesh.") from None
            return Space(np.full(matrix.shape[0], tracking.weight), points=tracking.points), matrix
        basis = self._region(tracking.on)
        gram = tracking.weight * self._mass(basis)
        facets = isinstance(basis, skfem.FacetBasis)
        dofs = self.basis.get_dofs(facets=basis.find).all() if facets else np.unique(basis.element_dofs)
        matrix = sp.identity(self.basis.N, format="csr")[dofs]
        return Space(gram[dofs][:, dofs], points=self.elements.points[:, dofs]), matrix


def integrals(basis: skfem.Basis) -> sp.csr_matrix:
    """The integral of each basis function over each simplex of a basis: (dofs, simplices)."""
    values = np.stack(
        [np.sum(np.broadcast_to(b[0].value, basis.dx.shape) * basis.dx, axis=1) for b in basis.basis]
    )
    dofs = np.asarray(basis.element_dofs)
    columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return sp.csr_matrix((values.ravel(), (dofs.ravel(), columns.ravel())), (basis.N, values.shape[1]))
