"""What a finite-element engine provides: regions, matrices, spaces and linear solvers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, Indices
from ..counter import Counter
from ..errors import ProblemError
from ..linear.hierarchy import Hierarchy
from ..linear.matrix import Triplets
from ..linear.residual import Excess
from ..linear.solver import LinearSolver
from ..mesh.mesh import Mesh
from ..mesh.quadratic import check_jacobians
from ..parallel import Group
from ..problem import Boundary, Distributed
from ..space import Space

# Orders of quadrature on cells, by dimension and degree, of which both engines have the same rules. Their weights are
# positive and their points inside, as those of `compat.sound_order`, which chooses for higher degrees.
ORDERS = {(1, 1): 4, (2, 1): 4, (3, 1): 2, (1, 2): 6, (2, 2): 6, (3, 2): 6}
CHUNK = 100_000  # cells whose points are made at a time


class Region(ABC):
    """Cells or facets on this process, with the quadrature points at which data are sampled."""

    count: int  # of cells or facets
    quadrature: int  # points on each
    keys: Indices  # (k, count), what identifies them on every partition

    @abstractmethod
    def points(self, chosen: Indices) -> Array:
        """The quadrature points (dim, len(chosen), quadrature) of some of them."""

    @abstractmethod
    def functional(self, weight: Array, flux: Array | None = None) -> Array:
        """v -> int weight v + flux . grad v, for weights (count, quadrature) and fluxes (dim, count, quadrature)."""

    @abstractmethod
    def values(self, y: Array) -> Array:
        """Values (count, quadrature) of a state."""

    @abstractmethod
    def gradients(self, y: Array) -> Array:
        """Gradients (dim, count, quadrature) of a state, on facets those of the cell that the facet is counted to."""

    @abstractmethod
    def dofs(self) -> Indices:
        """The entries of a state on this process that belong to nodes of the region, ascending."""


def diffusion(y: Any, v: Any, weight: Any, grad: Any, dot: Any) -> Any:
    """Weight grad y . grad v."""
    return weight * dot(grad(y), grad(v))


def advection(y: Any, v: Any, weight: Any, grad: Any, dot: Any) -> Any:
    """Weight . grad y v."""
    return dot(weight, grad(y)) * v


def carried(y: Any, v: Any, weight: Any, grad: Any, dot: Any) -> Any:
    """Weight . grad v y: the transpose of `advection`."""
    return dot(weight, grad(v)) * y


def mass(y: Any, v: Any, weight: Any, grad: Any, dot: Any) -> Any:
    """Weight y v."""
    return weight * y * v


class Integral(NamedTuple):
    """The bilinear form int integrand(y, v): an integrand in either engine's terms, and its weight on a region.

    Weights are numbers (count, quadrature) or vectors (dim, count, quadrature). Facets take `mass` alone.
    """

    integrand: Callable[..., Any]
    region: Region
    weight: Array


def constant_mass(region: Region, weight: float = 1.0) -> Integral:
    """Weight int y v over a region."""
    return Integral(mass, region, np.full((region.count, region.quadrature), weight))


def check_bends(mesh: Mesh, degree: int) -> None:
    """Raise an error if states of a degree cannot be on a mesh with bent edges."""
    if mesh.bends is None:
        return
    if degree < 2:
        raise ProblemError("states of degree 1 are on straight cells, and this mesh has bent edges: take degree=2.")
    check_jacobians(mesh.points, mesh.cells, mesh.bends)


class Engine(ABC):
    """Finite elements of one degree on a mesh, on one process or on several.

    Matrices take and return the entries of this process.
    """

    name: str
    group: Group
    mesh: Mesh
    degree: int
    size: int  # of a state on this process
    nodes: Array  # (dim, size), where its entries sit
    cells: Region  # all of them
    multigrid: bool  # whether there is a hierarchy
    exact: bool  # whether linear systems are solved to rounding, once `prepare` has chosen how

    @cached_property
    def sides(self) -> dict[str, Indices]:
        """For each part, whether entries of states of this process are in it."""
        sides = {tag: np.zeros(self.size, dtype=bool) for tag in self.mesh.parts}
        for tag, inside in sides.items():
            inside[self.part(tag).dofs()] = True
        return sides

    def members_among(self, entries: Indices) -> dict[str, Indices]:
        """For each part, which of some entries of states are in it."""
        return {tag: np.flatnonzero(inside[entries]) for tag, inside in self.sides.items()}

    def members_among_cells(self, numbers: Indices) -> dict[str, Indices]:
        """For each part, which of some cells, given by their numbers in the mesh, are in it."""
        return {tag: np.flatnonzero(np.isin(numbers, part)) for tag, part in self.mesh.parts.items()}

    @abstractmethod
    def members(self, tag: str) -> Indices:
        """The numbers, among the cells of this process, of those of a part."""

    @abstractmethod
    def part(self, tag: str) -> Region:
        """The cells of a part."""

    @abstractmethod
    def facets(self, tag: str) -> Region:
        """The facets of a boundary or interface."""

    @abstractmethod
    def matrix(self, terms: Sequence[Integral], base: Any = None) -> Any:
        """The sum of bilinear forms, and of a matrix that was made before."""

    @abstractmethod
    def gram(self, coupling: Any, weights: Array, base: Any) -> Any:
        """B diag(weights) B' for the matrix B of a coupling to controls, and a matrix that was made before."""

    @abstractmethod
    def block(self, matrix: Any, dofs: Indices) -> Any:
        """The rows and columns of some entries of this process."""

    @abstractmethod
    def prepare(self, definite: bool, affine: bool, unknowns: int) -> None:
        """Choose the linear solver for so many unknowns on all processes, before any is made."""

    @abstractmethod
    def solver(
        self, block: Any, definite: bool, counter: Counter, points: Array, excess: Excess | None
    ) -> LinearSolver:
        """A block made ready for solves; its unknowns sit at the points, `excess` is what is known of its row sums."""

    @abstractmethod
    def hierarchy(self, block: Any, symmetric: bool, first: Triplets | None) -> Hierarchy:
        """Levels of algebraic multigrid for the symmetric part of a block, below those of a first prolongation."""

    @abstractmethod
    def on_cells(self, y: Array) -> Array:
        """The values (cells, local) of a state on the cells of this process."""

    @property
    @abstractmethod
    def barycentric(self) -> Array:
        """The coordinates (local, dim + 1) of what `on_cells` gives for a cell."""

    @abstractmethod
    def solution(self) -> Space:
        """The space of states, in L2."""

    @abstractmethod
    def nodal(self, dofs: Indices, mass: Any) -> Space:
        """The space of values at some entries of states, with the matrix of its inner product."""

    @abstractmethod
    def control(self, control: Distributed | Boundary) -> tuple[Space, Any]:
        """The space of controls, and the matrix of their coupling to the equation."""

    @abstractmethod
    def probe(self, points: Array) -> sp.csr_matrix:
        """The columns v -> v(x) for the points x; raises DataError for points outside the domain."""
