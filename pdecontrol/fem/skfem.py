"""The embedded engine: control problems discretised with scikit-fem, serial, on scipy matrices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import skfem
from skfem.helpers import dot, grad

from ..errors import DataError, MeshError, ProblemError, SingularEquationError
from ..lagrange import Lagrange, cell_lagrange, facet_lagrange
from ..maps import Counter
from ..problem import Actuators, Boundary, ControlProblem, Dirichlet, Distributed, Linear, Neumann, Tracking
from ..space import Array, Data, Space, call, product, sample
from .linear import LinearSolver, choose_kind, make_solver, undetermined
from .meshes import Mesh

MESHES = {1: skfem.MeshLine, 2: skfem.MeshTri, 3: skfem.MeshTet}
ELEMENTS = {
    (1, 1): skfem.ElementLineP1, (2, 1): skfem.ElementTriP1, (3, 1): skfem.ElementTetP1,
    (1, 2): skfem.ElementLineP2, (2, 2): skfem.ElementTriP2, (3, 2): skfem.ElementTetP2,
}  # fmt: skip
# Orders of quadrature on cells. On tetrahedra most rules have negative weights, which could make the matrix indefinite
# where coefficients jump, or points on facets, where it is open on which side of a jump they lie: 2 and 7 have neither.
ORDERS = {(1, 1): 4, (2, 1): 4, (3, 1): 2, (1, 2): 6, (2, 2): 6, (3, 2): 7}

diffusion = skfem.BilinearForm(lambda y, v, w: w.weight * dot(grad(y), grad(v)))
advection = skfem.BilinearForm(lambda y, v, w: dot(w.weight, grad(y)) * v)
mass = skfem.BilinearForm(lambda y, v, w: w.weight * y * v)
functional = skfem.LinearForm(lambda v, w: w.weight * v)


class SkfemSystem:
    """The discretised equation of a control problem (see `elliptic.SteadySystem`).

    States are Lagrange elements of degree 1 or 2. Data of the equation are sampled at quadrature points, targets and
    Dirichlet values at nodes. A P1 control enters through its own diagonal mass, (C u, v) = sum_i m_i u_i v(x_i);
    on a boundary with quadratic states, through the mass of the boundary.
    """

    def __init__(self, problem: ControlProblem, mesh: Mesh, degree: int, linear_solver: str) -> None:
        self.problem, self.mesh = problem, mesh
        self._mesh = MESHES[mesh.dim](np.ascontiguousarray(mesh.points), np.ascontiguousarray(mesh.cells))
        self._element = ELEMENTS[mesh.dim, degree]()
        self._cell_order, self._facet_order = ORDERS[mesh.dim, degree], 2 * degree + 2
        self.basis = skfem.Basis(self._mesh, self._element, intorder=self._cell_order)
        dofs, simplices = np.asarray(self.basis.element_dofs), np.asarray(self._mesh.t)
        self.elements = Lagrange(mesh.points, simplices, dofs, degree)
        self._check_tags()
        self._fix()

        equation = problem.equation
        self.affine = equation.semilinear is None
        self._matrix, self._load, self._definite = self._assemble()
        self._kind = choose_kind(linear_solver, self.affine and self._definite, mesh.dim, self._free.size)
        self.exact = self._kind == "direct"
        if equation.semilinear is None:
            self._refuse_singular(self._free_block(self._matrix))
        else:
            self._r, self._dr = equation.semilinear.function, equation.semilinear.derivative
            coefficient = equation.semilinear.coefficient
            self._r_weight = self._on_cells(coefficient, "the coefficient of Semilinear", 0.0)

        self.solution = Space(self._mass(self.basis), self.elements)
        self.control, self._coupling = self._build_control()
        self.observation, self._observe = self._build_observation()
        self._observe_dual = (self.observation.mass @ self._observe).T.tocsr()
        self._coupling_transposed = self._coupling.T.tocsr()

    # -- what the maps ask for --------------------------------------------------------------------------------

    def initial(self) -> Array:
        return self._fixed_values.copy()

    def residual(self, y: Array, u: Array) -> Array:
        residual = self._load + self._coupling @ u - self._matrix @ y
        if not self.affine:
            residual -= self._functional(self._apply(self._r, self._values(y)))
        return np.asarray(residual)

    def couple(self, h: Array) -> Array:
        return np.asarray(self._coupling @ h)

    def couple_transposed(self, p: Array) -> Array:
        return self.control.riesz(self._coupling_transposed @ p)

    def observe(self, y: Array) -> Array:
        return np.asarray(self._observe @ y)

    def observe_transposed(self, w: Array) -> Array:
        return np.asarray(self._observe_dual @ w)

    def curvature(self, y: Array, p: Array, eta: Array) -> Array:
        values = self._values(y)
        # r'' only steers Newton's method for the control: a difference quotient of r' is exact enough.
        step = 1e-5 * (1.0 + np.abs(values))
        second = (self._apply(self._dr, values + step) - self._apply(self._dr, values - step)) / (2 * step)
        return self._functional(second * self._values(p) * self._values(eta))

    def factorise(self, y: Array, counter: Counter) -> LinearSolver:
        matrix, definite = self._matrix, self._definite
        if not self.affine:
            slope = self._r_weight * self._apply(self._dr, self._values(y))
            matrix = matrix + mass.assemble(self.basis, weight=slope)
            definite = definite and bool(np.all(slope >= 0))
        block = self._free_block(matrix)
        if not self.affine:
            self._refuse_singular(block)
        return make_solver(block, self._kind, definite, counter)

    def extend(self, free: Array) -> Array:
        y = np.zeros(self.basis.N)
        y[self._free] = free
        return y

    def restrict(self, y: Array) -> Array:
        return y[self._free]

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for matrix in (self._matrix, self._coupling, self._observe_dual):
            for array in (matrix.data, matrix.indices, matrix.indptr):
                digest.update(np.ascontiguousarray(array).tobytes())
        for array in (self._load, self._fixed, self._fixed_values):
            digest.update(array.tobytes())
        if not self.affine:
            far = np.geomspace(2.0, 1e6, 60)
            probe = np.concatenate([np.linspace(-2.0, 2.0, 41), far, -far])
            digest.update(self._apply(self._r, probe).tobytes())
            digest.update(self._r_weight.tobytes())
        return digest.hexdigest()

    # -- the equation -----------------------------------------------------------------------------------------

    def _fix(self) -> None:
        """Dirichlet values, and the free degrees of freedom."""
        self._fixed, self._fixed_values = np.zeros(self.basis.N, dtype=bool), np.zeros(self.basis.N)
        for tag, condition in self.problem.boundary.items():
            if isinstance(condition, Dirichlet):
                dofs = self.basis.get_dofs(facets=self._facets(tag, "boundary")).all()
                name, points = f"Dirichlet value on {tag!r}", self.elements.points[:, dofs]
                self._fixed[dofs] = True
                self._fixed_values[dofs] = sample(condition.value, points, self.mesh.diameter, name)
        self._free = np.flatnonzero(~self._fixed)
        if self._free.size == 0:
            raise ProblemError("every node carries a Dirichlet value, nothing is left to solve for: refine the mesh.")

    def _assemble(self) -> tuple[sp.csr_matrix, Array, bool]:
        """Matrix and load of the linear part, and whether the matrix is symmetric positive (semi-)definite."""
        equation = self.problem.equation
        kappa = self._on_cells(equation.diffusion, "diffusion", None)
        if np.any(kappa <= 0):
            cell, point = np.argwhere(kappa <= 0)[0]
            where = self._cell_points[:, cell, point].round(6).tolist()
            raise ProblemError(f"diffusion must be positive, it is {kappa[cell, point]:.6g} at x = {where}.")
        reaction = self._on_cells(equation.reaction, "reaction", 0.0)
        matrix = diffusion.assemble(self.basis, weight=kappa)
        if reaction.any():
            matrix = matrix + mass.assemble(self.basis, weight=reaction)
        if equation.advection is not None:
            velocity = self._on_cells(equation.advection, "advection", 0.0, self._components)
            matrix = matrix + advection.assemble(self.basis, weight=velocity)
        load = functional.assemble(self.basis, weight=self._on_cells(equation.source, "source", 0.0))
        for tag, condition in self.problem.boundary.items():
            if isinstance(condition, Dirichlet):
                continue
            basis = self._facet_basis(tag, "boundary")
            if isinstance(condition, Neumann):
                load += self._load_of(condition.flux, basis, f"Neumann flux on {tag!r}")
                continue
            name = f"Robin coefficient on {tag!r}"
            coefficient = self._at_quadrature(condition.coefficient, basis, name)
            if np.any(coefficient < 0):
                raise ProblemError(f"the {name} must not be negative, its least value is {coefficient.min():.6g}.")
            matrix = matrix + mass.assemble(basis, weight=coefficient)
            load += self._load_of(condition.value, basis, f"Robin value on {tag!r}")
        definite = equation.advection is None and bool(np.all(reaction >= 0))
        return sp.csr_matrix(matrix), load, definite

    def _refuse_singular(self, block: sp.csr_matrix) -> None:
        row = undetermined(block)
        if row is None:
            return
        where = self.elements.points[:, self._free[row]].round(6).tolist()
        reason = (
            "with Neumann conditions alone and no reaction" if self.affine else
            "where Newton's method is, with r' = 0, no reaction and Neumann conditions alone"
        )  # fmt: skip
        remedy = "" if self.affine else ", or start from a control (start=) with another state"
        raise SingularEquationError(
            f"the equation has no unique solution: {reason}, constants may be added to the state in the part of the "
            f"domain around x = {where}. Add a Dirichlet or Robin condition, or a positive reaction{remedy}."
        )

    def _free_block(self, matrix: sp.spmatrix) -> sp.csr_matrix:
        return sp.csr_matrix(matrix)[self._free][:, self._free]

    def _mass(self, basis: skfem.Basis) -> sp.csr_matrix:
        return sp.csr_matrix(mass.assemble(basis, weight=np.ones(basis.dx.shape)))

    def _load_of(self, data: Data, basis: skfem.Basis, name: str) -> Array:
        """The functional v -> int data v over the region of a basis."""
        return np.asarray(functional.assemble(basis, weight=self._at_quadrature(data, basis, name)))

    # -- the semilinear term ----------------------------------------------------------------------------------

    def _values(self, y: Array) -> Array:
        return np.asarray(self.basis.interpolate(y))

    def _apply(self, function: Callable[[Array], Array], values: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):  # Newton's method backtracks
            result = np.asarray(function(values.ravel()), dtype=float)
        return np.broadcast_to(result, values.size).reshape(values.shape)

    def _functional(self, values: Array) -> Array:
        """v -> int c values v, with the coefficient c of the semilinear term."""
        return np.asarray(functional.assemble(self.basis, weight=self._r_weight * values))

    # -- data at quadrature points ----------------------------------------------------------------------------

    @cached_property
    def _cell_points(self) -> Array:
        return np.asarray(self.basis.global_coordinates())

    def _at_quadrature(self, data: Data, basis: skfem.Basis, name: str) -> Array:
        points = np.asarray(basis.global_coordinates())
        values = sample(data, points.reshape(points.shape[0], -1), self.mesh.diameter, name)
        return values.reshape(points.shape[1:])

    def _scalar(self, data: Data, points: Array, name: str) -> Array:
        return sample(data, points, self.mesh.diameter, name)

    def _components(self, data: Any, points: Array, name: str) -> Array:
        """Values (dim, n) of a vector field given by its components, or by a function that returns them."""
        dim = self.mesh.dim
        values = call(data, points, self.mesh.diameter, name) if callable(data) else data
        values = list(values) if isinstance(values, (list, tuple, np.ndarray)) and np.iterable(values) else []
        if len(values) != dim:
            raise DataError(
                f"{name}: expected {dim} components in {dim}D, numbers or a function of x with values (dim, n)."
            )
        return np.stack([self._scalar(component, points, name) for component in values])

    def _on_cells(
        self, coefficient: Any, name: str, default: float | None, evaluate: Callable[..., Array] | None = None
    ) -> Array:
        """Values (.., cells, quadrature points) of a coefficient, which may differ from part to part.

        Where it is not given it is the default; with a default of None every cell needs a value.
        """
        evaluate = evaluate or self._scalar
        dim, count, quadrature = self._cell_points.shape
        if not isinstance(coefficient, Mapping):
            values = evaluate(coefficient, self._cell_points.reshape(dim, -1), name)
            return values.reshape(*values.shape[:-1], count, quadrature)
        shape = (dim, count, quadrature) if evaluate == self._components else (count, quadrature)
        values, known = np.full(shape, default or 0.0), np.zeros(count, dtype=bool)
        for tag, data in coefficient.items():
            cells = self._cells(tag, name)
            if known[cells].any():
                raise ProblemError(f"{name}: the part {tag!r} overlaps another part that has a value too.")
            known[cells] = True
            part = evaluate(data, self._cell_points[:, cells].reshape(dim, -1), f"{name} on {tag!r}")
            values[..., cells, :] = part.reshape(*part.shape[:-1], cells.size, quadrature)
        if not coefficient:
            raise ProblemError(f"{name}: its parts are given no value, the dictionary is empty.")
        if default is None and not known.all():
            raise ProblemError(
                f"{name}: {(~known).sum()} of {count} cells are in none of the parts {list(coefficient)}: give "
                "the others a value too."
            )
        return values

    # -- tags -------------------------------------------------------------------------------------------------

    def _unknown(self, tag: object, kind: str, name: str) -> MeshError:
        parts, boundaries = list(self.mesh.parts), list(self.mesh.boundaries)
        return MeshError(f"{name}: the mesh has no {kind} {tag!r}; its parts are {parts}, its boundaries {boundaries}.")

    def _cells(self, tag: str, name: str) -> Array:
        if tag not in self.mesh.parts:
            raise self._unknown(tag, "part", name)
        return self.mesh.part(tag)

    def _facets(self, tag: str, name: str) -> Array:
        """scikit-fem's facet numbers of a tagged boundary, in the order of the mesh."""
        if tag not in self.mesh.boundaries:
            raise self._unknown(tag, "boundary", name)
        keys, order = self._sorted_facets
        return np.asarray(order[np.searchsorted(keys, self._keys(self.mesh.facets(tag)))])

    @cached_property
    def _sorted_facets(self) -> tuple[Any, Any]:
        keys = self._keys(np.asarray(self._mesh.facets))
        order = np.argsort(keys)
        return keys[order], order

    def _keys(self, facets: Array) -> Array:
        shape = (self.mesh.points.shape[1],) * self.mesh.dim
        return np.asarray(np.ravel_multi_index(tuple(np.sort(facets, axis=0)), shape))

    def _facet_basis(self, tag: str, name: str) -> skfem.FacetBasis:
        return skfem.FacetBasis(self._mesh, self._element, facets=self._facets(tag, name), intorder=self._facet_order)

    def _region(self, tag: str | None, name: str) -> skfem.Basis:
        """The basis over the domain, a part or a boundary."""
        if tag is None:
            return self.basis
        if tag in self.mesh.parts:
            return skfem.Basis(self._mesh, self._element, elements=self.mesh.part(tag), intorder=self._cell_order)
        if tag in self.mesh.boundaries:
            return self._facet_basis(tag, name)
        raise self._unknown(tag, "part or boundary", name)

    def _check_tags(self) -> None:
        """Conditions lie on the boundary and do not overlap; the control meets no Dirichlet condition."""
        inside, free = -2, -1
        conditions = list(self.problem.boundary.items())
        owner = np.full(self._mesh.facets.shape[1], inside)
        owner[self._facets("boundary", "boundary")] = free
        for number, (tag, _) in enumerate(conditions):
            facets = self._facets(tag, "boundary")
            met = owner[facets].max(), owner[facets].min()
            if inside in met:
                raise ProblemError(
                    f"boundary[{tag!r}]: the tag names facets inside the domain, where there are no conditions."
                )
            if met[0] != free:
                raise ProblemError(
                    f"boundary: the tags {conditions[met[0]][0]!r} and {tag!r} share facets, each with a "
                    "condition. Give every facet at most one."
                )
            owner[facets] = number
        control, on = self.problem.control, self.problem.control.on
        if isinstance(control, Distributed) or (isinstance(control, Actuators) and on not in self.mesh.boundaries):
            return
        for number in np.unique(owner[self._facets(str(on), "Boundary control")]):
            if number == inside and isinstance(control, Boundary):
                raise ProblemError(f"Boundary control: the tag {on!r} names facets inside the domain.")
            if number >= 0 and isinstance(conditions[number][1], Dirichlet):
                raise ProblemError(
                    f"{type(control).__name__} control on {on!r} meets the Dirichlet condition on "
                    f"{conditions[number][0]!r}: Dirichlet control is not supported. Give that part a Neumann or "
                    "Robin condition."
                )

    # -- controls and observations ----------------------------------------------------------------------------

    def _build_control(self) -> tuple[Space, sp.csr_matrix]:
        control = self.problem.control
        if isinstance(control, Actuators):
            basis = self._region(control.on, "Actuators")
            loads = [
                self._load_of(shape, basis, f"shape {number} of Actuators")
                for number, shape in enumerate(control.shapes, start=1)
            ]
            return Space(np.ones(len(loads))), sp.csr_matrix(np.stack(loads, axis=1))
        degree = int(control.element == "P1")
        if isinstance(control, Boundary):
            basis = self._facet_basis(control.on, "Boundary control")
            elements = facet_lagrange(self.mesh, control.on, degree)
        elif control.on is None:
            basis, elements = self.basis, cell_lagrange(self.mesh, degree)
        else:
            self._cells(control.on, "Distributed control")
            basis = self._region(control.on, "Distributed control")
            elements = cell_lagrange(self.mesh, degree, control.on)
        lumped = elements.lumped_mass()
        if degree == 0:
            return Space(lumped, elements), integrals(basis)
        vertices = np.zeros(elements.size, dtype=int)
        vertices[elements.dofs] = elements.simplices
        if isinstance(control, Boundary) and self.elements.degree == 2:
            # Nodal loads on the boundary would cost quadratic states half an order.
            linear = ELEMENTS[self.mesh.dim, 1]()
            hats = skfem.FacetBasis(self._mesh, linear, facets=basis.find, intorder=self._facet_order)
            coupling = mass.assemble(hats, basis, weight=np.ones(basis.dx.shape))
            return Space(lumped, elements), sp.csr_matrix(coupling)[:, np.asarray(hats.nodal_dofs)[0, vertices]]
        # A vertex is a degree of freedom of the state too, under the number that scikit-fem gives it.
        rows, columns = np.asarray(self.basis.nodal_dofs)[0, vertices], np.arange(elements.size)
        return Space(lumped, elements), sp.csr_matrix((lumped, (rows, columns)), (self.basis.N, elements.size))

    def _build_observation(self) -> tuple[Space, sp.csr_matrix]:
        observe = [
            self._observe_tracking(item) if isinstance(item, Tracking) else self._observe_linear(item)
            for item in self.problem.observations
        ]
        return product([space for space, _ in observe]), sp.csr_matrix(sp.vstack([rows for _, rows in observe]))

    def _observe_linear(self, term: Linear) -> tuple[Space, sp.csr_matrix]:
        load = self._load_of(term.weight, self._region(term.on, "Linear"), "the weight of Linear")
        return Space(np.ones(1)), sp.csr_matrix(load)

    def _observe_tracking(self, tracking: Tracking) -> tuple[Space, sp.csr_matrix]:
        if tracking.points is not None:
            weights = np.full(tracking.points.shape[1], tracking.weight)
            return Space(weights, points=tracking.points), self._probe(tracking.points)
        basis = self._region(tracking.on, "Tracking")
        on_facets = isinstance(basis, skfem.FacetBasis)
        dofs = self.basis.get_dofs(facets=basis.find).all() if on_facets else np.unique(basis.element_dofs)
        gram = self.solution.mass if basis is self.basis else self._mass(basis)
        return Space(tracking.weight * gram[dofs][:, dofs], points=self.elements.points[:, dofs]), sp.identity(
            self.basis.N, format="csr"
        )[dofs]

    def _probe(self, points: Array) -> sp.csr_matrix:
        """y -> (y(x) for the columns x of points)."""
        if points.shape[0] != self.mesh.dim:
            raise DataError(
                f"Tracking: points of shape {points.shape} in {self.mesh.dim}D, expected ({self.mesh.dim}, k)."
            )
        count = self.mesh.cells.shape[1]
        try:
            cells = cell_lagrange(self.mesh, 0).evaluate(np.arange(count), points).round().astype(int)
        except DataError as error:
            raise DataError(f"the points of Tracking: {error}") from None
        mapping, dofs = self.basis.mapping, np.asarray(self.basis.element_dofs)[:, cells]
        local = mapping.invF(points[:, :, None], tind=cells)
        values = [self._element.gbasis(mapping, local, i, tind=cells)[0] for i in range(len(dofs))]
        rows = np.broadcast_to(np.arange(len(cells)), dofs.shape)
        entries = np.stack([np.asarray(v).reshape(-1) for v in values])
        return sp.csr_matrix((entries.ravel(), (rows.ravel(), dofs.ravel())), (len(cells), self.basis.N))


def integrals(basis: skfem.Basis) -> sp.csr_matrix:
    """The integral of each basis function over each simplex of a basis: (dofs, simplices)."""
    values = np.stack([np.sum(np.asarray(b[0]) * basis.dx, axis=1) for b in basis.basis])
    dofs = np.asarray(basis.element_dofs)
    columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return sp.csr_matrix((values.ravel(), (dofs.ravel(), columns.ravel())), (basis.N, values.shape[1]))
