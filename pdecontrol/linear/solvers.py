"""Linear solvers of the embedded engine behind one signature: sparse LU, and CG with algebraic multigrid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from ..arrays import Array
from ..counter import Counter
from ..errors import ConvergenceError, ProblemError
from .amg import calling_pyamg
from .direct import sparse_factors
from .residual import ROUNDING, Excess, Rows, refine

LARGE = 30_000
NEAR = 1e-6  # relative residuals of what factors have solved already
TOLERATED = 1e-10  # relative errors of smooth solutions by factors, for methods on their way


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
    diagonal : d, see `residual`.
    width : the largest number of entries in a row.
    loss : what smooth solutions by factors err by, relatively, before they are refined; 0 where they are not factors'.
    """

    exact: bool
    energy: bool
    diagonal: Array
    width: int
    loss: float
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

    @abstractmethod
    def residual(self, x: Array, b: Array, noise: Array | float) -> tuple[Array, Array]:
        """b - A x in differences, and rho, what rounding may be in it, entry by entry."""


class Direct(LinearSolver):
    """Sparse LU factors (SuperLU), with refinement."""

    exact = True
    energy = False

    def __init__(self, matrix: sp.spmatrix, counter: Counter, definite: bool, excess: Excess | None = None) -> None:
        self._factors = sparse_factors(matrix, definite)
        self._matrix, self._counter, self._definite, self._given = sp.csr_matrix(matrix), counter, definite, excess
        counter.factorisations += 1

    @cached_property
    def _rows(self) -> Rows:
        return Rows(self._matrix, lambda x: x, self._definite, self._given)

    @property
    def diagonal(self) -> Array:  # type: ignore[override]
        return self._rows.diagonal

    @property
    def width(self) -> int:  # type: ignore[override]
        return self._rows.width

    def solve(
        self,
        b: Array,
        transposed: bool = False,
        start: Array | None = None,
        accuracy: float | None = None,
        noise: Array | float = 0.0,
    ) -> Solution:
        x = self._back(b, transposed)
        if accuracy is not None and self.loss <= TOLERATED:
            return Solution(x, np.inf)
        r = b - self._product(x, transposed)
        if accuracy is None:
            return self._refined(b, x, r, transposed, noise)
        left = self.loss
        while left > TOLERATED:
            self._counter.refinements += 1
            step, left = self._back(r, transposed), left * min(self.loss, 0.5)
            x, r = x + step, r - self._product(step, transposed)
        return Solution(x, np.inf)

    def recognise(self, b: Array, x: Array, transposed: bool = False, noise: Array | float = 0.0) -> Solution | None:
        r = b - self._product(x, transposed)
        return self._refined(b, x, r, transposed, noise) if self._size(r) <= NEAR * self._size(b) else None

    def residual(self, x: Array, b: Array, noise: Array | float) -> tuple[Array, Array]:
        return b - self._rows.product(x), self._rows.rounding(x, b, noise)

    def _refined(self, b: Array, x: Array, r: Array, transposed: bool, noise: Array | float) -> Solution:
        def correction(r: Array, _: float) -> Array:
            self._counter.refinements += 1
            return self._back(r, transposed)

        rounding = self._size(self._rows.rounding(x, b, noise, transposed))
        x, r = refine(x, r, lambda x: self._product(x, transposed), correction, self._size, rounding, 5)
        return Solution(x, self._size(r) + rounding)

    def _product(self, x: Array, transposed: bool) -> Array:
        return self._matrix.T @ x if transposed and not self._rows.symmetric else self._rows.product(x)

    @cached_property
    def loss(self) -> float:  # type: ignore[override]
        self._counter.refinements += 2
        x = self._back(self.diagonal, False)
        step = self._back(self.diagonal - self._rows.product(x), False)
        return float(np.abs(step).max() / np.abs(x).max())

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
    loss = 0.0
    tolerance = 1e-11

    def __init__(self, matrix: sp.spmatrix, counter: Counter, excess: Excess | None = None) -> None:
        import pyamg

        matrix = sp.csr_matrix(matrix)
        self._cg = pyamg.krylov.cg
        self._matrix = matrix
        self._counter = counter
        # Sorting out weak connections is what keeps anisotropic and jumping coefficients at few iterations.
        strength = ("symmetric", {"theta": 0.08})
        with calling_pyamg():
            hierarchy = pyamg.smoothed_aggregation_solver(matrix, strength=strength, max_coarse=200)
        self._preconditioner = hierarchy.aspreconditioner()
        counter.factorisations += 1
        self._rows = Rows(matrix, lambda x: x, True, excess)
        self.diagonal, self.width = self._rows.diagonal, self._rows.width

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
        residual = b if start is None else b - self._rows.product(x)
        goal = max(self.tolerance * scale, (accuracy or 0.0) * float(np.linalg.norm(residual)))
        x, residual = refine(x, residual, self._rows.product, self._pass, np.linalg.norm, goal, 6)
        if accuracy is not None:
            return Solution(x, np.inf)
        rounding, size = self._rows.rounding(x, b, noise), float(np.linalg.norm(residual))
        if not size <= 100 * goal + 10 * np.linalg.norm(rounding):
            raise ConvergenceError(
                f"CG with multigrid stopped at a relative residual of {size / scale:.1e}: use linear_solver='direct'."
            )
        return Solution(x, self._energy(residual) + self._energy(rounding))

    def recognise(self, b: Array, x: Array, transposed: bool = False, noise: Array | float = 0.0) -> Solution | None:
        residual = b - self._rows.product(x)
        if not np.linalg.norm(residual) <= self.tolerance * np.linalg.norm(b):
            return None
        return Solution(x, self._energy(residual) + self._energy(self._rows.rounding(x, b, noise)))

    def residual(self, x: Array, b: Array, noise: Array | float) -> tuple[Array, Array]:
        return b - self._rows.product(x), self._rows.rounding(x, b, noise)

    def _pass(self, b: Array, tolerance: float) -> Array:
        iterations: list[None] = []
        with calling_pyamg():
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
    """The least Ritz value of B A that conjugate gradients meet on the way to 1e-8 from b, and the number of steps."""
    r, z = b, preconditioner @ b
    d, rz = z, float(b @ z)
    goal, diagonal, off = 1e-16 * rz, list[float](), list[float]()
    carried = 0.0
    for _ in range(min(1000, 2 * b.size)):
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
        if len(diagonal) == 1000:
            raise ConvergenceError("CG with multigrid is too slow for an error bound: use linear_solver='direct'.")
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
        raise ProblemError("linear_solver='amg' needs pyamg: pip install pyamg.")
    return kind


def make_solver(
    matrix: sp.spmatrix, kind: str, definite: bool, counter: Counter, excess: Excess | None
) -> LinearSolver:
    """The solver of a kind, made ready; `definite` is whether the matrix is symmetric positive definite."""
    return Multigrid(matrix, counter, excess) if kind == "amg" else Direct(matrix, counter, definite, excess)
