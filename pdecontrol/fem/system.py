"""From a problem to its discretised equation, for any finite-element engine."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, transposed
from ..counter import Counter
from ..errors import DataError, MeshError, ProblemError, SingularEquationError
from ..linear.matrix import ROUNDING, kernel_row
from ..linear.residual import Excess
from ..linear.solver import LinearSolver
from ..problem import (
    Actuators,
    Boundary,
    ControlProblem,
    Dirichlet,
    Distributed,
    Elliptic,
    Linear,
    Neumann,
    Robin,
    Tracking,
    Weak,
)
from ..space import Space, product
from .engine import Columns, Engine, Region, numbers
from .equations.elliptic import EllipticEquation, Equation, Load
from .sampler import Sampler

SUMS = 8 * ROUNDING  # relative to the sizes of all terms, what pairwise sums of any number of them may err by


class Observed(NamedTuple):
    """A part of the observation: some entries of the state, or the products with columns."""

    space: Space
    dofs: Array | None = None
    columns: Columns | None = None

    def observe(self, y: Array) -> Array:
        return y[self.dofs] if self.columns is None else self.columns.T @ y

    def transposed(self, w: Array, size: int) -> Array:
        functional = self.space.dual(w)
        if self.columns is not None:
            return self.columns @ functional
        result = np.zeros(size)
        result[self.dofs] = functional
        return result

    def observe_size(self, y: Array) -> Array:
        """The size of the sums that `observe` takes, entry by entry."""
        return np.abs(y[self.dofs]) if self.columns is None else abs(self.columns).T @ np.abs(y)

    def transposed_size(self, w: Array, size: int) -> Array:
        """The size of the sums that `transposed` takes, entry by entry."""
        functional = abs(self.space.mass) @ np.abs(w) if not self.space.diagonal else self.space.mass * np.abs(w)
        if self.columns is not None:
            return abs(self.columns) @ functional
        result = np.zeros(size)
        result[self.dofs] = functional
        return result


class System:
    """The discretised equation of a control problem (see `elliptic.SteadySystem`).

    States are Lagrange elements. Data of the equation are sampled at quadrature points, targets and Dirichlet values at
    nodes. A P1 control enters through its own diagonal mass, (C u, v) = sum_i m_i u_i v(x_i); on a boundary with states
    of higher degree, through the mass of the boundary.
    """

    def __init__(self, problem: ControlProblem, engine: Engine) -> None:
        self.problem, self.engine, self.mesh = problem, engine, engine.mesh
        self.sampler = Sampler(engine)
        self._regions: dict[str | None, Region] = {None: engine.cells}
        self._check_tags()
        self._fix()
        self.equation = self._discretise(problem.equation)
        self.affine = self.equation.affine
        engine.prepare(self.equation.definite, self.affine, int(engine.group.sum(self._free.size)))
        self.exact = engine.exact
        self._block: Any = None
        if self.affine:
            self._block = self._free_block(self.equation.matrix(self.initial()))
            self._refuse_singular(self._block)
        self.solution = engine.solution()
        self.control, self._coupling = self._build_control()
        self._observed = [
            self._track(item) if isinstance(item, Tracking) else self._integrate(item) for item in problem.observations
        ]
        self.observation = product([part.space for part in self._observed])

    # -- what the maps ask for --------------------------------------------------------------------------------

    def initial(self) -> Array:
        return self._fixed_values.copy()

    def residual(self, y: Array, u: Array) -> Array:
        return self.couple(u) - self.equation.apply(y)

    def load_noise(self, u: Array) -> Array:
        return ROUNDING * (self.couple_size(u) + self._load_size)

    @cached_property
    def _load_size(self) -> Array:
        """The sizes of the terms of load - A initial, entry by entry, however much of them cancels."""
        matrix = self.equation.matrix(self.initial())
        return self.equation.load_size + abs(matrix) @ np.abs(self.initial())

    def couple_size(self, h: Array) -> Array:
        return np.asarray(abs(self._coupling) @ np.abs(h))

    def couple_transposed_size(self, p: Array) -> Array:
        return self.control.riesz(abs(self._coupling).T @ np.abs(p))

    def couple(self, h: Array) -> Array:
        return np.asarray(self._coupling @ h)

    def couple_transposed(self, p: Array) -> Array:
        return self.control.riesz(self._coupling.T @ p)

    def observe(self, y: Array) -> Array:
        return np.concatenate([part.observe(y) for part in self._observed])

    def observe_transposed(self, w: Array) -> Array:
        parts = zip(self._observed, self.observation.split(w), strict=True)
        total = np.zeros(self.engine.size)
        for part, values in parts:
            total += part.transposed(values, self.engine.size)
        return total

    def transposed_noise(self, w: Array) -> Array:
        parts = zip(self._observed, self.observation.split(w), strict=True)
        return ROUNDING * sum((part.transposed_size(values, self.engine.size) for part, values in parts),
                              np.zeros(self.engine.size))  # fmt: skip

    def observation_error(self, y: Array) -> float:
        return SUMS * self.observation.norm(np.concatenate([part.observe_size(y) for part in self._observed]))

    def gradient_error(self, p: Array) -> float:
        return SUMS * self.control.norm(self.couple_transposed_size(p))

    def curvature(self, y: Array, p: Array, eta: Array) -> Array:
        return self.equation.curvature(y, p, eta)

    def factorise(self, y: Array, counter: Counter) -> LinearSolver:
        definite, block, excess = self.equation.definite, self._block, self.excess
        if not self.affine:
            definite = self.equation.definite_at(y)
            block = self._free_block(self.equation.matrix(y))
            self._refuse_singular(block)
        return self.engine.solver(block, definite, counter, self.engine.nodes[:, self._free], excess)

    @cached_property
    def excess(self) -> Excess | None:
        """The row sums of the matrix on the free entries, from those of all rows and the entries of fixed columns."""
        if self.equation.row_sums is None:
            return None
        (sums, sizes), fixed = self.equation.row_sums, self._fixed.astype(float)
        matrix = self.equation.matrix(self.initial())
        errors = ROUNDING * (sizes + abs(matrix) @ fixed)
        symmetric = self.equation.symmetric
        return Excess(self.restrict(sums - matrix @ fixed), self.restrict(errors), symmetric)

    def extend(self, free: Array) -> Array:
        y = np.zeros(self.engine.size)
        y[self._free] = free
        return y

    def restrict(self, y: Array) -> Array:
        return y[self._free]

    def norm(self, a: Array) -> float:
        return float(np.sqrt(self.engine.group.sum(np.einsum("i,i->", a, a))))

    @property
    def definite(self) -> bool:
        return self.affine and self.equation.definite

    @cached_property
    def fingerprint(self) -> str:
        """Of every datum, and of where it is: data are digested with their regions as they are sampled."""
        control = self.problem.control
        shape: list[object] = [type(control).__name__, getattr(control, "element", None)]
        for item in self.problem.observations:
            shape.append(type(item).__name__)
            if isinstance(item, Tracking):
                shape += [item.weight, None if item.points is None else item.points.tolist()]
        conditions = [(tag, type(condition).__name__) for tag, condition in self.problem.boundary.items()]
        text = repr((self.engine.name, self.engine.degree, shape, conditions, self.sampler.digests, self._mesh_digest))
        return hashlib.sha256((text + self.equation.fingerprint).encode()).hexdigest()

    @cached_property
    def _mesh_digest(self) -> str:
        """Of the points and cells; for forms, which may name any tag, of all tags too."""
        arrays = [("points", self.mesh.points), ("cells", self.mesh.cells)]
        if isinstance(self.problem.equation, Weak):
            arrays += [*self.mesh.parts.items(), *self.mesh.boundaries.items()]
        return repr(
            [(name, a.shape, hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()) for name, a in arrays]
        )

    # -- the equation -----------------------------------------------------------------------------------------

    def _fix(self) -> None:
        """Dirichlet values, of later conditions where several share a node, and the free entries."""
        engine = self.engine
        self._fixed, self._fixed_values = np.zeros(engine.size, dtype=bool), np.zeros(engine.size)
        for tag, condition in self.problem.boundary.items():
            if isinstance(condition, Dirichlet):
                dofs = self._facets(tag, "boundary").dofs()
                self._fixed[dofs] = True
                self._fixed_values[dofs] = self.sampler.at_nodes(condition.value, dofs, f"Dirichlet value on {tag!r}")
        self._free = np.flatnonzero(~self._fixed)
        if not engine.group.any(bool(self._free.size)):
            raise ProblemError("every node carries a Dirichlet value, nothing is left to solve for: refine the mesh.")

    def _discretise(self, equation: Elliptic | Weak) -> Equation:
        boundary, load, size = [], np.zeros(self.engine.size), np.zeros(self.engine.size)
        for tag, condition in self.problem.boundary.items():
            if isinstance(condition, Dirichlet):
                continue
            region = self._facets(tag, "boundary")
            if isinstance(condition, Neumann):
                values = self.sampler(condition.flux, region, f"Neumann flux on {tag!r}")
            else:
                boundary.append(self._robin(condition, region, f"Robin coefficient on {tag!r}"))
                values = self.sampler(condition.value, region, f"Robin value on {tag!r}")
            load += region.functional(values)
            size += region.functional(np.abs(values))
        if isinstance(equation, Weak):
            return self.engine.weak(equation, self.sampler, boundary, Load(load, size))
        return EllipticEquation(equation, self.engine, self.sampler, boundary, Load(load, size), self._cells)

    def _robin(self, condition: Robin, region: Region, name: str) -> tuple[str, Region, Array]:
        coefficient = self.sampler(condition.coefficient, region, name)
        with self.engine.group.agree():
            if np.any(coefficient < 0):
                raise ProblemError(f"the {name} must not be negative, its least value is {coefficient.min():.6g}.")
        return "mass", region, coefficient

    def _free_block(self, matrix: Any) -> Any:
        return self.engine.block(matrix, self._free)

    def _refuse_singular(self, block: Any) -> None:
        row = kernel_row(block)
        with self.engine.group.agree():
            if row is None:
                return
            where = self.engine.nodes[:, self._free[row]].round(6).tolist()
            reason = (
                "with Neumann conditions alone and no reaction" if self.affine else
                "where Newton's method is, with r' = 0, no reaction and Neumann conditions alone"
            )  # fmt: skip
            remedy = "" if self.affine else ", or start from a control (start=) with another state"
            raise SingularEquationError(
                f"the equation has no unique solution: {reason}, constants may be added to the state in the part of "
                f"the domain around x = {where}. Add a Dirichlet or Robin condition, or a positive reaction{remedy}."
            )

    # -- tags -------------------------------------------------------------------------------------------------

    def _unknown(self, tag: object, kind: str, name: str) -> MeshError:
        parts, boundaries = list(self.mesh.parts), list(self.mesh.boundaries)
        return MeshError(f"{name}: the mesh has no {kind} {tag!r}; its parts are {parts}, its boundaries {boundaries}.")

    def _cells(self, tag: str, name: str) -> Array:
        if tag not in self.mesh.parts:
            raise self._unknown(tag, "part", name)
        return self.engine.members(tag)

    def _facets(self, tag: str, name: str) -> Region:
        if tag not in self.mesh.boundaries:
            raise self._unknown(tag, "boundary", name)
        if tag not in self._regions:
            self._regions[tag] = self.engine.facets(tag)
        return self._regions[tag]

    def _region(self, tag: str | None, name: str) -> Region:
        """The domain, a part or a boundary."""
        if tag in self.mesh.boundaries:
            return self._facets(str(tag), name)
        if tag not in self._regions:
            if tag not in self.mesh.parts:
                raise self._unknown(tag, "part or boundary", name)
            self._regions[tag] = self.engine.part(str(tag))
        return self._regions[tag]

    def _check_tags(self) -> None:
        """Conditions lie on the boundary and do not overlap; the control meets no Dirichlet condition."""
        conditions = list(self.problem.boundary.items())
        for tag, _ in conditions:
            if tag not in self.mesh.boundaries:
                raise self._unknown(tag, "boundary", "boundary")
        owners = {}  # the condition of each facet, -1 for none
        for facet in self.mesh.boundaries["boundary"].T.tolist():
            owners[tuple(facet)] = -1
        for number, (tag, _) in enumerate(conditions):
            for facet in map(tuple, self.mesh.boundaries[tag].T.tolist()):
                if facet not in owners:
                    raise ProblemError(
                        f"boundary[{tag!r}]: the tag names facets inside the domain, where there are no conditions."
                    )
                if owners[facet] >= 0:
                    raise ProblemError(
                        f"boundary: the tags {conditions[owners[facet]][0]!r} and {tag!r} share facets, each with a "
                        "condition. Give every facet at most one."
                    )
                owners[facet] = number
        control, on = self.problem.control, self.problem.control.on
        if isinstance(control, Distributed) or (isinstance(control, Actuators) and on not in self.mesh.boundaries):
            return
        if on not in self.mesh.boundaries:
            raise self._unknown(on, "boundary", "Boundary control")
        for number in sorted({owners.get(tuple(facet), -2) for facet in self.mesh.boundaries[str(on)].T.tolist()}):
            if number == -2 and isinstance(control, Boundary):
                raise ProblemError(f"Boundary control: the tag {on!r} names facets inside the domain.")
            if number >= 0 and isinstance(conditions[number][1], Dirichlet):
                raise ProblemError(
                    f"{type(control).__name__} control on {on!r} meets the Dirichlet condition on "
                    f"{conditions[number][0]!r}: Dirichlet control is not supported. Give that part a Neumann or "
                    "Robin condition."
                )

    # -- controls and observations ----------------------------------------------------------------------------

    def _build_control(self) -> tuple[Space, Any]:
        control = self.problem.control
        if isinstance(control, Actuators):
            region = self._region(control.on, "Actuators")
            loads = [
                region.functional(self.sampler(shape, region, f"shape {number} of Actuators"))
                for number, shape in enumerate(control.shapes, start=1)
            ]
            columns = Columns(self.engine.group, np.stack(loads, axis=1))
            return columns.space(), columns
        if isinstance(control, Distributed) and control.on is not None:
            self._cells(control.on, "Distributed control")
        self.sampler.place(self._region(control.on, f"{type(control).__name__} control"), "the control")
        return self.engine.control(control)

    def _integrate(self, term: Linear) -> Observed:
        region = self._region(term.on, "Linear")
        load = region.functional(self.sampler(term.weight, region, "the weight of Linear"))
        columns = Columns(self.engine.group, load[:, None])
        return Observed(columns.space(), columns=columns)

    def _track(self, tracking: Tracking) -> Observed:
        if tracking.points is not None:
            columns = Columns(self.engine.group, self._probe(tracking.points))
            weights = np.full(tracking.points.shape[1], tracking.weight)
            return Observed(numbers(self.engine.group, weights, tracking.points), columns=columns)
        region = self._region(tracking.on, "Tracking")
        dofs, engine = region.dofs(), self.engine
        self.sampler.place(region, "Tracking")
        whole = region is engine.cells
        gram = self.solution.mass if whole else engine.block(engine.matrix([_ones(region)]), dofs)
        mass = gram if tracking.weight == 1.0 else tracking.weight * gram
        return Observed(engine.nodal(dofs, mass), dofs=dofs)

    def _probe(self, points: Array) -> sp.csr_matrix:
        if points.shape[0] != self.mesh.dim:
            dim, advice = self.mesh.dim, transposed(points, self.mesh.dim)
            raise DataError(f"Tracking: points of shape {points.shape} in {dim}D, expected ({dim}, k){advice}.")
        try:
            return self.engine.probe(points)
        except DataError as error:
            raise DataError(f"the points of Tracking: {error}") from None


def _ones(region: Region) -> tuple[str, Region, Array]:
    return "mass", region, np.ones((region.count, region.quadrature))
