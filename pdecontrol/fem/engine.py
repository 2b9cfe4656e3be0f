"""What a finite-element engine provides: regions, matrices, spaces and linear solvers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, Indices
from ..counter import Counter
from ..errors import ProblemError
from ..layout import Layout
from ..linear.residual import Excess
from ..linear.solver import LinearSolver
from ..mesh.mesh import Mesh
from ..parallel import Group
from ..problem import Boundary, Distributed, Weak
from ..space import Space

if TYPE_CHECKING:
    from .equations.elliptic import Equation, Load
    from .sampler import Sampler


# Orders of quadrature on cells, by dimension and degree, of which both engines have the same rules. Their weights are
# positive and their points inside, as those of `compat.sound_order`, which chooses for higher degrees.
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
    keys: Indices

    @abstractmethod
    def points(self, chosen: Indices) -> Array:
        """The quadrature points (dim, len(chosen), quadrature) of some of them."""

    @abstractmethod
    def functional(self, weight: Array) -> Array:
        """v -> int weight v, for weights (count, quadrature)."""

    @abstractmethod
    def values(self, y: Array) -> Array:
        """Values (count, quadrature) of a state."""

    @abstractmethod
    def dofs(self) -> Indices:
        """The entries of a state on this process that belong to nodes of the region, ascending."""


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
    exact : whether linear systems are solved to rounding, once `prepare` has chosen how.
    """

    name: str
    group: Group
    mesh: Mesh
    degree: int
    size: int
    nodes: Array
    cells: Region
    exact: bool

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
    def matrix(self, terms: Sequence[tuple[str, Region, Array]]) -> Any:
        """The sum of terms (kind, region, weight).

        The kinds are "diffusion", int weight grad y . grad v, "advection", int weight . grad y v, and "mass",
        int weight y v, which alone may be on facets.
        """

    @abstractmethod
    def block(self, matrix: Any, dofs: Indices) -> Any:
        """The rows and columns of some entries of this process."""

    @abstractmethod
    def prepare(self, definite: bool, affine: bool, unknowns: int) -> None:
        """Choose the linear solver for so many unknowns on all processes, before any matrix is made."""

    @abstractmethod
    def solver(
        self, block: Any, definite: bool, counter: Counter, points: Array, excess: Excess | None
    ) -> LinearSolver:
        """A block made ready for solves; its unknowns sit at the points, `excess` is what is known of its row sums."""

    @abstractmethod
    def solution(self) -> Space:
        """The space of states, in L2."""

    @abstractmethod
    def nodal(self, dofs: Indices, mass: Any) -> Space:
        """The space of values at some entries of states, with the matrix of its inner product."""

    @abstractmethod
    def control(self, control: Distributed | Boundary) -> tuple[Space, Any]:
        """The space of controls, and their coupling to the equation."""

    def weak(self, equation: Weak, sampler: Sampler, boundary: list[tuple[str, Region, Array]], load: Load) -> Equation:
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

    def __abs__(self) -> Columns:
        return Columns(self._group, abs(self._rows))

    @property
    def T(self) -> Transposed:
        """The transposed matrix."""
        return Transposed(self)

    def transposed(self, p: Array) -> Array:
        """The product of the transposed matrix with p."""
        if isinstance(self._rows, np.ndarray):  # in pairs: equal terms would round alike in a row
            sums = np.sum(np.ascontiguousarray(self._rows.T) * p, axis=1)
        else:
            sums = self._rows.T @ p
        total = np.sum(self._group.collect(sums), axis=0)
        return np.asarray(total) if self._group.root else np.zeros(0)

    def space(self) -> Space:
        """The space of the vectors that it is applied to."""
        return numbers(self._group, np.ones(self._rows.shape[1]))


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
