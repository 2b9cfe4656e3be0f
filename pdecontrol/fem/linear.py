"""Linear solvers of the embedded engine behind one signature: sparse LU, and CG with algebraic multigrid.

What rounding does is part of every bound. The residual of A x = b is known, entry by entry, to no more than

    rho = g (P |x| + |b|),    P_ij = (d_i d_j)^1/2 on the pattern of A,    d its diagonal,    g = 2 eps,

for a positive definite A, and with P_ij = d_i + d_j, d the largest entries of the rows, for others. Both the products
of the residual and the entries of the matrix err by that: an entry is a sum over elements of terms no larger than P_ij,
however much of it cancels. All signs of rho are allowed for at once, as those of uniform meshes may agree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from ..errors import ConvergenceError, ProblemError
from ..krylov.direct import sparse_factors
from ..maps import Counter
from ..space import Array

LARGE = 30_000
ROUNDING = 2 * float(np.finfo(float).eps)  # g


class Solution(NamedTuple):
    """x with A x = b, and a bound on its residual in the norm of the solver, rounding included.

    The bound is infinite where an accuracy was asked for, as it would cost too much.
    """

    x: Array
    error: float


class LinearSolver(ABC):
    """A matrix made ready for many right-hand sides.

    Attributes
    ----------
    exact : whether it errs by rounding alone.
    energy : whether the norm of a residual r is at least (r' A^-1 r)^1/2, that of the error in the energy norm; else
        it is (r' D^-1 r)^1/2 with D = diag(`diagonal`).
    diagonal : d, see above.
    width : the largest number of entries in a row.
    """

    exact: bool
    energy: bool
    diagonal: Array
    width: int
    closed: bool = False

    def close(self) -> None:
        """Free what the solver holds; on several processes, all of them do. A closed one is not used again."""
        self.closed = True

    @abstractmethod
    def solve(
        self,
        b: Array,
        transposed: bool = False,
        start: Array | None = None,
        accuracy: float | None = None,
        noise: Array | float = 0.0,
    ) -> Solution:
        """x with A x = b, or A' x = b; for `start` and `accuracy` see `maps.Linearisation`.

        `noise` is what b may err by, entry by entry.
        """

    @abstractmethod
    def recognise(self, b: Array, x: Array, transposed: bool = False, noise: Array | float = 0.0) -> Solution | None:
        """x with its bound, if it is as good as `solve` would make it; else None."""


class Rounding:
    """rho for a matrix given by its pattern, of ones, and d."""

    def __init__(self, pattern: Any, diagonal: Array, definite: bool) -> None:
        self._pattern, self._diagonal, self._definite = pattern, diagonal, definite
        self._root = np.sqrt(diagonal) if definite else diagonal

    def __call__(self, x: Array, b: Array, noise: Array | float) -> Array:
        size = np.abs(x)
        if self._definite:
            spread = self._root * (self._pattern @ (self._root * size))
        else:
            spread = self._diagonal * (self._pattern @ size) + self._pattern @ (self._diagonal * size)
        return np.asarray(ROUNDING * (spread + np.abs(b)) + noise)


def refine(
    x: Array,
    b: Array,
    product: Callable[[Array], Array],
    correction: Callable[[Array, float], Array],
    size: Callable[[Array], float],
    goal: float,
    passes: int,
) -> tuple[Array, Array]:
    """x and b - A x, improved until the size of this residual is at most the goal.

    In passes, each on the residual of the last: one alone drifts away again at the rounding of the residual. A pass
    that does not halve the residual is dropped, and the last.
    """
    residual = b - product(x)
    least = size(residual)
    for _ in range(passes):
        if least <= goal:
            break
        trial = x + correction(residual, goal / least)
        rest = b - product(trial)
        new = size(rest)
        if not new <= 0.5 * least:
            break
        x, residual, least = trial, rest, new
    return x, residual


def row_sizes(rows: sp.csr_matrix, definite: bool) -> Array:
    """d of the first columns of rows: their diagonal, or their largest entries."""
    diagonal = np.abs(rows.diagonal())
    if definite or not diagonal.size:
        return diagonal
    return np.maximum(diagonal, abs(rows).max(axis=1).toarray().ravel())


class Direct(LinearSolver):
    """Sparse LU factors (SuperLU), with refinement."""

    exact = True
    energy = False

    def __init__(self, matrix: sp.spmatrix, counter: Counter, definite: bool) -> None:
        self._factors = sparse_factors(matrix, definite)
        self._matrix, self._counter, self._definite = sp.csr_matrix(matrix), counter, definite
        self.width = int(np.diff(self._matrix.indptr).max(initial=0))
        counter.factorisations += 1

    @cached_property
    def diagonal(self) -> Array:  # type: ignore[override]
        return row_sizes(self._matrix, self._definite)

    @cached_property
    def _rounding(self) -> Rounding:
        matrix = self._matrix
        pattern = sp.csr_matrix((np.ones(matrix.nnz), matrix.indices, matrix.indptr), matrix.shape)
        return Rounding(pattern, self.diagonal, self._definite)

    def solve(
        self,
        b: Array,
        transposed: bool = False,
        start: Array | None = None,
        accuracy: float | None = None,
        noise: Array | float = 0.0,
    ) -> Solution:
        x = self._back(b, transposed)
        if accuracy is not None:
            return Solution(x, np.inf)
        rounding = self._size(self._rounding(x, b, noise))

        def correction(residual: Array, _: float) -> Array:
            self._counter.refinements += 1
            return self._back(residual, transposed)

        product = self._matrix.T.__matmul__ if transposed else self._matrix.__matmul__
        x, residual = refine(x, b, product, correction, self._size, rounding, 3)
        return Solution(x, self._size(residual) + rounding)

    def recognise(self, b: Array, x: Array, transposed: bool = False, noise: Array | float = 0.0) -> Solution | None:
        residual = self._size(b - (self._matrix.T if transposed else self._matrix) @ x)
        rounding = self._size(self._rounding(x, b, noise))
        return Solution(x, residual + rounding) if residual <= rounding else None

    def _back(self, b: Array, transposed: bool) -> Array:
        return np.asarray(self._factors.solve(b, "T" if transposed else "N"))

    def _size(self, r: Array) -> float:
        return float(np.linalg.norm(r / np.sqrt(self.diagonal)))


class Multigrid(LinearSolver):
    """Conjugate gradients preconditioned by smoothed aggregation (pyamg), for positive definite matrices.

    Notes
    -----
    With the preconditioner B and a lower bound mu of the spectrum of B A, the residual r = b - A x bounds the error
    e of x: e' A e = r' A^-1 r <= r' B r / mu. The value of mu is a tenth of the least Ritz value of conjugate gradients
    from a right-hand side with all frequencies. The rounding of r is added to it: for nearly singular equations it is
    what counts.
    """

    exact = False
    energy = True
    tolerance = 1e-11

    def __init__(self, matrix: sp.spmatrix, counter: Counter) -> None:
        import pyamg

        matrix = sp.csr_matrix(matrix)
        self._cg = pyamg.krylov.cg
        self._matrix = matrix
        self._counter = counter
        # Sorting out weak connections is what keeps anisotropic and jumping coefficients at few iterations.
        hierarchy = pyamg.smoothed_aggregation_solver(matrix, strength=("symmetric", {"theta": 0.08}), max_coarse=200)
        self._preconditioner = hierarchy.aspreconditioner()
        counter.factorisations += 1
        self.diagonal, self.width = row_sizes(matrix, True), int(np.diff(matrix.indptr).max())
        pattern = sp.csr_matrix((np.ones(matrix.nnz), matrix.indices, matrix.indptr), matrix.shape)
        self._rounding = Rounding(pattern, self.diagonal, True)

    def solve(
        self,
        b: Array,
        transposed: bool = False,
        start: Array | None = None,
        accuracy: float | None = None,
        noise: Array | float = 0.0,
    ) -> Solution:
        scale = float(np.linalg.norm(b))
        if scale == 0.0 and accuracy is not None:
            return Solution(np.zeros_like(b), np.inf)
        x = np.zeros_like(b) if start is None else start
        goal = self.tolerance * scale
        if accuracy is not None:
            goal = max(goal, accuracy * float(np.linalg.norm(b - self._matrix @ x)))
        x, residual = refine(x, b, self._matrix.__matmul__, self._pass, np.linalg.norm, goal, 6)
        if accuracy is not None:
            return Solution(x, np.inf)
        rounding, size = self._rounding(x, b, noise), float(np.linalg.norm(residual))
        if not size <= 100 * goal + 10 * np.linalg.norm(rounding):
            raise ConvergenceError(
                f"CG with multigrid stopped at a relative residual of {size / scale:.1e}: use linear_solver='direct'."
            )
        return Solution(x, self._energy(residual) + self._energy(rounding))

    def recognise(self, b: Array, x: Array, transposed: bool = False, noise: Array | float = 0.0) -> Solution | None:
        residual = b - self._matrix @ x
        if not np.linalg.norm(residual) <= self.tolerance * np.linalg.norm(b):
            return None
        return Solution(x, self._energy(residual) + self._energy(self._rounding(x, b, noise)))

    def _pass(self, b: Array, tolerance: float) -> Array:
        iterations: list[None] = []
        x, _ = self._cg(
            self._matrix, b, tol=max(tolerance, 1e-6), maxiter=300, M=self._preconditioner,
            callback=lambda _: iterations.append(None),
        )  # fmt: skip
        self._counter.inner += len(iterations)
        return np.asarray(x)

    def _energy(self, r: Array) -> float:
        """At least (r' A^-1 r)^1/2."""
        return float(np.sqrt(r @ (self._preconditioner @ r) / self._mu))

    @cached_property
    def _mu(self) -> float:
        rough = np.modf(1e4 * np.sin(1e3 * np.arange(1.0, self.diagonal.size + 1)))[0]
        least, steps = least_ritz_value(self._matrix, self._preconditioner, rough * np.sqrt(self.diagonal))
        self._counter.inner += steps
        self._counter.tangent += 1  # one solve more, as far as its cost goes
        if not least > 0:
            raise ProblemError("the matrix of the equation is not positive definite: use linear_solver='direct'.")
        return 0.1 * least


def least_ritz_value(matrix: sp.csr_matrix, preconditioner: Any, b: Array) -> tuple[float, int]:
    """The least Ritz value of B A that conjugate gradients meet on their way to 1e-8 from b, and the number of steps."""
    r, z = b, preconditioner @ b
    d, rz = z, float(b @ z)
    goal, diagonal, off = 1e-16 * rz, list[float](), list[float]()
    carried = 0.0
    for _ in range(min(200, b.size)):
        ad = matrix @ d
        curvature = float(d @ ad)
        if not curvature > 0:
            return curvature, len(diagonal)
        a = rz / curvature
        diagonal.append(1 / a + carried)
        r = r - a * ad
        z = preconditioner @ r
        rz, before = float(r @ z), rz
        if rz <= goal:
            break
        ratio = rz / before
        carried = ratio / a
        off.append(float(np.sqrt(ratio)) / a)
        d = z + ratio * d
    tridiagonal = np.diag(diagonal) + np.diag(off[: len(diagonal) - 1], 1) + np.diag(off[: len(diagonal) - 1], -1)
    return float(np.linalg.eigvalsh(tridiagonal)[0]), len(diagonal)


def undetermined(matrix: sp.spmatrix) -> int | None:
    """A row of a connected component of the matrix on which constants lie in its kernel, if there is one."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    count, component = connected_components(matrix, directed=False)
    largest = np.zeros(count)
    np.maximum.at(largest, component, np.abs(sums) / np.asarray(abs(matrix).sum(axis=1)).ravel())
    loose = np.flatnonzero(largest <= 8 * ROUNDING)
    return int(np.argmax(component == loose[0])) if loose.size else None


def choose_kind(kind: str, definite: bool, dimension: int, unknowns: int) -> str:
    """Direct or multigrid: "auto" takes multigrid for large definite problems in 3D if pyamg is there."""
    there = find_spec("pyamg") is not None
    if kind == "auto":
        large = dimension == 3 and unknowns > LARGE
        return "amg" if large and definite and there else "direct"
    if kind == "amg" and not definite:
        raise ProblemError(
            "linear_solver='amg' takes symmetric positive definite equations, without advection, negative reaction or "
            "semilinear term: use 'direct'."
        )
    if kind == "amg" and not there:
        raise ProblemError("linear_solver='amg' needs pyamg: pip install 'pdecontrol[amg]'.")
    return kind


def make_solver(matrix: sp.spmatrix, kind: str, definite: bool, counter: Counter) -> LinearSolver:
    """The solver of a kind, made ready; `definite` is whether the matrix is symmetric positive definite."""
    return Multigrid(matrix, counter) if kind == "amg" else Direct(matrix, counter, definite)
