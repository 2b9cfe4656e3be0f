"""From a problem to its discretised equation, for any finite-element engine."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp

from ..errors import DataError, MeshError, ProblemError, SingularEquationError
from ..maps import Counter
from ..parallel import Group
from ..problem import (
    Actuators, Boundary, ControlProblem, Dirichlet, Distributed, Elliptic, Linear, Neumann, Robin, Tracking, Weak,
)  # fmt: skip
from ..space import Array, Data, Layout, Space, call, digest, product, sample
from .linear import LinearSolver
from .meshes import Mesh

# Orders of quadrature on cells, by dimension and degree. On tetrahedra most rules have negative weights, which could
# make the matrix indefinite where coefficients jump, or points on facets, where it is open on which side they lie.
ORDERS = {(1, 1): 4, (2, 1): 4, (3, 1): 2, (1, 2): 6, (2, 2): 6, (3, 2): 6}
CHUNK = 100_000  # cells whose points are made at a time


class Region(ABC):
    """Cells or facets on this process, with the quadrature points at which data are sampled.

    Attributes
    ----------
    count : the number of cells or facets.
    quadrature : the number of points on each.
    keys : (k, count), what identifies them on every partition.
    """

    count: int
    quadrature: int
    keys: Array

    @abstractmethod
    def points(self, chosen: Array) -> Array:
        """The quadrature points (dim, len(chosen), quadrature) of some of them."""

    @abstractmethod
    def functional(self, weight: Array) -> Array:
        """v -> int weight v, for weights (count, quadrature)."""

    @abstractmethod
    def values(self, y: Array) -> Array:
        """Values (count, quadrature) of a state."""

    @abstractmethod
    def dofs(self) -> Array:
        """The entries of a state on this process that belong to nodes of the region, ascending."""


class Equation(Protocol):
    """apply(y) = A y + R(y) - load, and its derivatives; `definite` tells of A, where R is not there."""

    affine: bool
    definite: bool

    @property
    def fingerprint(self) -> str: ...
    def apply(self, y: Array) -> Array: ...
    def matrix(self, y: Array) -> Any: ...
    def definite_at(self, y: Array) -> bool: ...  # with R
    def curvature(self, y: Array, p: Array, eta: Array) -> Array: ...  # R''(y)[eta, .] p


class Engine(ABC):
    """Finite elements of one degree on a mesh, on one process or on several.

    Matrices take and return the entries of this process, by `A @ y` and `A.T @ y`.

    Attributes
    ----------
    group : the processes.
    mesh, degree : what is discretised.
    size : the number of entries of a state on this process.
    nodes : (dim, size), where they sit.
    cells : the region of all cells.
    exact, bounded : whether linear systems are solved to rounding, or with error bounds, once `prepare` has chosen how.
    """

    name: str
    group: Group
    mesh: Mesh
    degree: int
    size: int
    nodes: Array
    cells: Region
    exact: bool
    bounded: bool

    @abstractmethod
    def members(self, tag: str) -> Array:
        """The numbers, among the cells of this process, of those of a part."""

    @abstractmethod
    def part(self, tag: str) -> Region:
        """The cells of a part."""

    @abstractmethod
    def facets(self, tag: str) -> Region:
        """The facets of a boundary or interface."""

    @abstractmethod
    def matrix(self, terms: Sequence[tuple[str, Region, Array]]) -> Any:
        """The sum of terms (kind, region, weight).

        The kinds are "diffusion", int weight grad y . grad v, "advection", int weight . grad y v, and "mass",
        int weight y v, which alone may be on facets.
        """

    @abstractmethod
    def block(self, matrix: Any, dofs: Array) -> Any:
        """The rows and columns of some entries of this process."""

    @abstractmethod
    def prepare(self, definite: bool, affine: bool, unknowns: int) -> None:
        """Choose the linear solver for so many unknowns on all processes, before any matrix is made."""

    @abstractmethod
    def solver(self, block: Any, definite: bool, counter: Counter, points: Array) -> LinearSolver:
        """A block made ready for solves; its unknowns sit at the points."""

    @abstractmethod
    def loose_row(self, block: Any) -> int | None:
        """A row of this process in a connected component of a matrix on which constants lie in its kernel, if any."""

    @abstractmethod
    def solution(self) -> Space:
        """The space of states, in L2."""

    @abstractmethod
    def control(self, control: Distributed | Boundary) -> tuple[Space, Any]:
        """The space of controls, and their coupling to the equation."""

    def weak(
        self, equation: Weak, sampler: Sampler, boundary: list[tuple[str, Region, Array]], load: Array
    ) -> Equation:
        """The equation of a form, with what conditions add to it."""
        raise ProblemError("an equation given by a form (Weak) needs backend='dolfinx'.")

    @abstractmethod
    def probe(self, points: Array) -> sp.csr_matrix:
        """The columns v -> v(x) for the points x; raises DataError for points outside the domain."""


class Columns:
    """A matrix with few columns: rank 0 holds the vectors that it is applied to, every process has its rows."""

    def __init__(self, group: Group, rows: Any) -> None:
        self._group, self._rows = group, rows

    def __matmul__(self, h: Array) -> Array:
        return np.asarray(self._rows @ self._group.share(h))

    @property
    def T(self) -> Transposed:  # noqa: N802
        """The transposed matrix."""
        return Transposed(self)

    def transposed(self, p: Array) -> Array:
        """The product of the transposed matrix with p."""
        total = np.sum(self._group.collect(self._rows.T @ p), axis=0)
        return np.asarray(total) if self._group.root else np.zeros(0)

    def space(self, weight: float = 1.0) -> Space:
        """The space of the vectors that it is applied to."""
        return numbers(self._group, np.full(self._rows.shape[1], weight))


class Transposed:
    """The transpose of a matrix that has a method `transposed`."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix

    def __matmul__(self, p: Array) -> Array:
        return np.asarray(self._matrix.transposed(p))


def numbers(group: Group, weights: Array, points: Array | None = None) -> Space:
    """Plain numbers with a weighted inner product, all of which rank 0 holds."""
    whole = Space(weights, points=points)
    if group.size == 1:
        return whole
    own = len(weights) if group.root else 0
    mine = Space(weights[:own], points=None if points is None else points[:, :own], diameter=whole.scale)
    return replace(mine, layout=Layout(group, np.arange(own)[None], lambda: mine))


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
        self.exact, self.bounded = engine.exact, engine.bounded
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

    def curvature(self, y: Array, p: Array, eta: Array) -> Array:
        return self.equation.curvature(y, p, eta)

    def factorise(self, y: Array, counter: Counter) -> LinearSolver:
        definite, block = self.equation.definite, self._block
        if not self.affine:
            definite = self.equation.definite_at(y)
            block = self._free_block(self.equation.matrix(y))
            self._refuse_singular(block)
        return self.engine.solver(block, definite, counter, self.engine.nodes[:, self._free])

    def extend(self, free: Array) -> Array:
        y = np.zeros(self.engine.size)
        y[self._free] = free
        return y

    def restrict(self, y: Array) -> Array:
        return y[self._free]

    def norm(self, a: Array) -> float:
        return float(np.sqrt(self.engine.group.sum(np.einsum("i,i->", a, a))))

    @cached_property
    def fingerprint(self) -> str:
        control, observations = self.problem.control, self.problem.observations
        shape = [type(control).__name__, control.on, getattr(control, "element", None)]
        shape += [(type(item).__name__, item.on, getattr(item, "weight", None)) for item in observations
                  if isinstance(item, Tracking)]  # fmt: skip
        conditions = [(tag, type(condition).__name__) for tag, condition in self.problem.boundary.items()]
        text = repr((self.engine.name, self.engine.degree, shape, conditions, self.sampler.digests, self._mesh_digest))
        return hashlib.sha256((text + self.equation.fingerprint).encode()).hexdigest()

    @cached_property
    def _mesh_digest(self) -> str:
        cells = self.mesh.cells
        corners = self.mesh.points[:, cells[:, : 2 * CHUNK]].reshape(-1, min(cells.shape[1], 2 * CHUNK))
        part = hashlib.sha256(np.ascontiguousarray(corners).tobytes()).hexdigest()
        return repr((self.mesh.points.shape, cells.shape, part))

    # -- the equation -----------------------------------------------------------------------------------------

    def _fix(self) -> None:
        """Dirichlet values, and the free entries."""
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
        boundary, load = [], np.zeros(self.engine.size)
        for tag, condition in self.problem.boundary.items():
            if isinstance(condition, Dirichlet):
                continue
            region = self._facets(tag, "boundary")
            if isinstance(condition, Neumann):
                load += region.functional(self.sampler(condition.flux, region, f"Neumann flux on {tag!r}"))
                continue
            boundary.append(self._robin(condition, region, f"Robin coefficient on {tag!r}"))
            load += region.functional(self.sampler(condition.value, region, f"Robin value on {tag!r}"))
        if isinstance(equation, Weak):
            return self.engine.weak(equation, self.sampler, boundary, load)
        return EllipticEquation(equation, self.engine, self.sampler, boundary, load, self._cells)

    def _robin(self, condition: Robin, region: Region, name: str) -> tuple[str, Region, Array]:
        coefficient = self.sampler(condition.coefficient, region, name)
        with self.engine.group.agree():
            if np.any(coefficient < 0):
                raise ProblemError(f"the {name} must not be negative, its least value is {coefficient.min():.6g}.")
        return "mass", region, coefficient

    def _free_block(self, matrix: Any) -> Any:
        return self.engine.block(matrix, self._free)

    def _refuse_singular(self, block: Any) -> None:
        row = self.engine.loose_row(block)
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
        whole = region is engine.cells
        gram = self.solution.mass if whole else engine.block(engine.matrix([_ones(region)]), dofs)
        mass = gram if tracking.weight == 1.0 else tracking.weight * gram
        layout = self.solution.layout
        if layout is not None:
            # Observations need no whole space but to be gathered: its vectors, in the order of the keys.
            layout = Layout(layout.group, layout.keys[:, dofs], lambda: Space(np.zeros(0)))
        space = Space(mass, points=engine.nodes[:, dofs], diameter=self.mesh.diameter, layout=layout)
        return Observed(space, dofs=dofs)

    def _probe(self, points: Array) -> sp.csr_matrix:
        if points.shape[0] != self.mesh.dim:
            raise DataError(
                f"Tracking: points of shape {points.shape} in {self.mesh.dim}D, expected ({self.mesh.dim}, k)."
            )
        try:
            return self.engine.probe(points)
        except DataError as error:
            raise DataError(f"the points of Tracking: {error}") from None


def _ones(region: Region) -> tuple[str, Region, Array]:
    return "mass", region, np.ones((region.count, region.quadrature))


class Sampler:
    """Values of data at quadrature points and nodes, with a digest of each, by which a restart knows the problem."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.digests: list[tuple[str, str]] = []

    def __call__(self, data: Data, region: Region, name: str, chosen: Array | None = None) -> Array:
        """Values (count, quadrature) on a region, or on the chosen cells of it."""
        return self._sample(data, region, name, chosen, self._scalar, 1)[0]

    def components(self, data: Any, region: Region, name: str, chosen: Array | None = None) -> Array:
        """Values (dim, count, quadrature) of a vector field given by its components, or by a function with those."""
        return self._sample(data, region, name, chosen, self._vector, self._engine.mesh.dim)

    def at_nodes(self, data: Data, dofs: Array, name: str) -> Array:
        points = self._engine.nodes[:, dofs]
        with self._engine.group.agree():
            values = self._scalar(data, points, name)[0]
        rounded = np.round(points / self._engine.mesh.diameter * 1e9).astype(np.int64)
        self.digests.append((name, digest(self._engine.group, rounded, values)))
        return values

    def _sample(
        self, data: Any, region: Region, name: str, chosen: Array | None, evaluate: Callable[..., Array], rows: int
    ) -> Array:
        cells = np.arange(region.count) if chosen is None else chosen
        shape = (rows, cells.size, region.quadrature)
        if isinstance(data, (int, float)):
            value = float(evaluate(data, np.zeros((self._engine.mesh.dim, 1)), name)[0, 0])
            self.digests.append((name, repr(value)))
            return np.broadcast_to(value, shape)
        values = np.empty(shape)
        with self._engine.group.agree():
            for start in range(0, cells.size, CHUNK):
                part = slice(start, min(start + CHUNK, cells.size))
                points = region.points(cells[part])
                values[:, part] = evaluate(data, points.reshape(len(points), -1), name).reshape(
                    rows, -1, region.quadrature
                )
        self.digests.append((name, digest(self._engine.group, region.keys[:, cells], _sums(values))))
        return values

    def _scalar(self, data: Data, points: Array, name: str) -> Array:
        return sample(data, points, self._engine.mesh.diameter, name)[None]

    def _vector(self, data: Any, points: Array, name: str) -> Array:
        dim, diameter = self._engine.mesh.dim, self._engine.mesh.diameter
        values = call(data, points, diameter, name) if callable(data) else data
        values = list(values) if isinstance(values, (list, tuple, np.ndarray)) and np.iterable(values) else []
        if len(values) != dim:
            raise DataError(
                f"{name}: expected {dim} components in {dim}D, numbers or a function of x with values (dim, n)."
            )
        return np.vstack([self._scalar(component, points, name) for component in values])


def _sums(values: Array) -> Array:
    """Sums (rows, cells) of values (rows, cells, points) that do not depend on the order of the points."""
    ordered = np.sort(values, axis=2)
    weights = np.arange(1.0, ordered.shape[2] + 1)
    return np.asarray((ordered @ weights).reshape(len(values), -1))


class EllipticEquation:
    """-div(kappa grad y) + b . grad y + c y + r(y) = f with natural conditions: apply(y) = A y + R(y) - load."""

    def __init__(
        self,
        equation: Elliptic,
        engine: Engine,
        sampler: Sampler,
        boundary: list[tuple[str, Region, Array]],
        load: Array,
        members: Callable[[str, str], Array],
    ) -> None:
        self._engine, self._sampler, self._members = engine, sampler, members
        cells = engine.cells
        kappa = self._on_cells(equation.diffusion, "diffusion", None)
        with engine.group.agree():
            if np.any(kappa <= 0):
                cell, point = np.argwhere(kappa <= 0)[0]
                where = cells.points(np.array([cell]))[:, 0, point].round(6).tolist()
                raise ProblemError(f"diffusion must be positive, it is {kappa[cell, point]:.6g} at x = {where}.")
        reaction = self._on_cells(equation.reaction, "reaction", 0.0)
        terms = [("diffusion", cells, kappa), *boundary]
        if engine.group.any(bool(reaction.any())):
            terms.append(("mass", cells, reaction))
        if equation.advection is not None:
            terms.append(("advection", cells, self._on_cells(equation.advection, "advection", 0.0, vector=True)))
        self._terms = terms
        self._load = load + cells.functional(self._on_cells(equation.source, "source", 0.0))
        self.definite = equation.advection is None and not engine.group.any(bool(np.any(reaction < 0)))
        self._semilinear = equation.semilinear
        self.affine = equation.semilinear is None
        if equation.semilinear is not None:
            self._r_weight = self._on_cells(equation.semilinear.coefficient, "the coefficient of Semilinear", 0.0)

    @cached_property
    def _linear(self) -> Any:
        return self._engine.matrix(self._terms)

    def apply(self, y: Array) -> Array:
        result = self._linear @ y - self._load
        if self._semilinear is not None:
            values = self._engine.cells.values(y)
            result += self._engine.cells.functional(self._r_weight * _evaluate(self._semilinear.function, values))
        return np.asarray(result)

    def matrix(self, y: Array) -> Any:
        if self._semilinear is None:
            return self._linear
        return self._engine.matrix([*self._terms, ("mass", self._engine.cells, self._slope(y))])

    def definite_at(self, y: Array) -> bool:
        """Whether the matrix at y is symmetric positive definite."""
        return self.definite and not self._engine.group.any(bool(np.any(self._slope(y) < 0)))

    def curvature(self, y: Array, p: Array, eta: Array) -> Array:
        cells = self._engine.cells
        values = cells.values(y)
        # r'' only steers Newton's method for the control: a difference quotient of r' is exact enough.
        step = 1e-5 * (1.0 + np.abs(values))
        derivative = self._semilinear.derivative
        second = (_evaluate(derivative, values + step) - _evaluate(derivative, values - step)) / (2 * step)
        return cells.functional(self._r_weight * second * cells.values(p) * cells.values(eta))

    @property
    def fingerprint(self) -> str:
        """Of what the sampled data do not tell: the function r."""
        if self._semilinear is None:
            return ""
        far = np.geomspace(2.0, 1e6, 60)
        probe = np.concatenate([np.linspace(-2.0, 2.0, 41), far, -far])
        return hashlib.sha256(_evaluate(self._semilinear.function, probe).tobytes()).hexdigest()

    def _slope(self, y: Array) -> Array:
        return self._r_weight * _evaluate(self._semilinear.derivative, self._engine.cells.values(y))

    def _on_cells(self, coefficient: Any, name: str, default: float | None, vector: bool = False) -> Array:
        """Values (.., cells, quadrature points) of a coefficient, which may differ from part to part.

        Where it is not given it is the default; with a default of None every cell needs a value.
        """
        evaluate = self._sampler.components if vector else self._sampler
        cells, group = self._engine.cells, self._engine.group
        if not isinstance(coefficient, Mapping):
            return evaluate(coefficient, cells, name)
        leading = (self._engine.mesh.dim,) if vector else ()
        values = np.full((*leading, cells.count, cells.quadrature), default or 0.0)
        known = np.zeros(cells.count, dtype=bool)
        if not coefficient:
            raise ProblemError(f"{name}: its parts are given no value, the dictionary is empty.")
        for tag, data in coefficient.items():
            chosen = self._members(tag, name)
            with group.agree():
                if known[chosen].any():
                    raise ProblemError(f"{name}: the part {tag!r} overlaps another part that has a value too.")
            known[chosen] = True
            values[..., chosen, :] = evaluate(data, cells, f"{name} on {tag!r}", chosen)
        missing, total = group.sum((~known).sum()), group.sum(cells.count)
        if default is None and missing:
            raise ProblemError(
                f"{name}: {missing:.0f} of {total:.0f} cells are in none of the parts {list(coefficient)}: give "
                "the others a value too."
            )
        return values


def _evaluate(function: Callable[[Array], Array], values: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):  # Newton's method backtracks
        result = np.asarray(function(values.ravel()), dtype=float)
    return np.broadcast_to(result, values.size).reshape(values.shape)
