"""Linear solvers of the embedded engine behind one signature: sparse LU, and CG with algebraic multigrid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from ..errors import ConvergenceError, ProblemError
from ..krylov.amg import calling_pyamg
from ..krylov.direct import sparse_factors
from ..maps import Counter, lanczos
from ..space import Array, Space

LARGE = 30_000


class Solution(NamedTuple):
    """x with A x = b, and a bound on its error in the energy norm (x' A x)^1/2.

    The bound is 0 for direct solvers, and infinite where an accuracy was asked for.
    """

    x: Array
    error: float


class LinearSolver(ABC):
    """A matrix made ready for many right-hand sides; `exact` solvers err by rounding alone."""

    exact: bool
    closed: bool = False

    def close(self) -> None:
        """Free what the solver holds; on several processes, all of them do. A closed one is not used again."""
        self.closed = True

    @abstractmethod
    def solve(
        self, b: Array, transposed: bool = False, start: Array | None = None, accuracy: float | None = None
    ) -> Solution:
        """x with A x = b, or A' x = b; for `start` and `accuracy` see `maps.Linearisation`."""


class Direct(LinearSolver):
    """Sparse LU factors (SuperLU)."""

    exact = True

    def __init__(self, matrix: sp.spmatrix, counter: Counter, definite: bool) -> None:
        self._factors = sparse_factors(matrix, definite)
        counter.factorisations += 1

    def solve(
        self, b: Array, transposed: bool = False, start: Array | None = None, accuracy: float | None = None
    ) -> Solution:
        return Solution(self._factors.solve(b, "T" if transposed else "N"), 0.0)


class Multigrid(LinearSolver):
    """Conjugate gradients preconditioned by smoothed aggregation (pyamg), for positive definite matrices.

    Notes
    -----
    With the preconditioner B and a lower bound mu of the spectrum of B A, the residual r = b - A x bounds the error
    e of x: e' A e = r' A^-1 r <= r' B r / mu. The value of mu is a tenth of a Lanczos estimate. The rounding of r
    itself is at most eps (|A| |x| + |b|), and is added to it: for nearly singular equations it is what counts.
    """

    exact = False
    tolerance = 1e-11

    def __init__(self, matrix: sp.spmatrix, counter: Counter) -> None:
        import pyamg

        matrix = sp.csr_matrix(matrix)
        self._cg = pyamg.krylov.cg
        self._matrix, self._absolute = matrix, abs(matrix)
        self._counter = counter
        # Sorting out weak connections is what keeps anisotropic and jumping coefficients at few iterations.
        strength = ("symmetric", {"theta": 0.08})
        with calling_pyamg():
            hierarchy = pyamg.smoothed_aggregation_solver(matrix, strength=strength, max_coarse=200)
        self._preconditioner = hierarchy.aspreconditioner()
        counter.factorisations += 1
        energy = Space(matrix)
        self._mu = 0.1 * lanczos(lambda x: self._preconditioner @ (matrix @ x), energy, 20, 0.05, largest=False)
        if not self._mu > 0:
            raise ProblemError("the matrix of the equation is not positive definite: use linear_solver='direct'.")

    def solve(
        self, b: Array, transposed: bool = False, start: Array | None = None, accuracy: float | None = None
    ) -> Solution:
        scale = float(np.linalg.norm(b))
        if scale == 0.0:
            return Solution(np.zeros_like(b), 0.0)
        x = np.zeros_like(b) if start is None else start
        residual = b if start is None else b - self._matrix @ x
        size = float(np.linalg.norm(residual))
        goal = max(self.tolerance * scale, size * (accuracy or 0.0))
        # In passes, each on the residual of the last: one alone drifts away again at the rounding of the residual.
        for _ in range(6):
            if size <= goal:
                break
            step = self._pass(residual, max(goal / size, 1e-6))
            rest = b - self._matrix @ (x + step)
            if not np.linalg.norm(rest) <= 0.5 * size:
                break
            x, residual, size = x + step, rest, float(np.linalg.norm(rest))
        if accuracy is not None:
            return Solution(x, np.inf)
        rounding = np.finfo(float).eps * (self._absolute @ np.abs(x) + np.abs(b))
        if not size <= 100 * self.tolerance * scale + 10 * np.linalg.norm(rounding):
            raise ConvergenceError(
                f"CG with multigrid stopped at a relative residual of {size / scale:.1e}: use linear_solver='direct'."
            )
        return Solution(x, self._energy_bound(residual) + self._energy_bound(rounding))

    def _pass(self, b: Array, tolerance: float) -> Array:
        iterations: list[None] = []
        with calling_pyamg():
            x, _ = self._cg(
                self._matrix, b, tol=tolerance, maxiter=300, M=self._preconditioner,
                callback=lambda _: iterations.append(None),
            )  # fmt: skip
        self._counter.inner += len(iterations)
        return np.asarray(x)

    def _energy_bound(self, r: Array) -> float:
        """At least (r' A^-1 r)^1/2."""
        return float(np.sqrt(r @ (self._preconditioner @ r) / self._mu))


def undetermined(matrix: sp.spmatrix) -> int | None:
    """A row of a connected component of the matrix on which constants lie in its kernel, if there is one."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    count, component = connected_components(matrix, directed=False)
    largest = np.zeros(count)
    np.maximum.at(largest, component, np.abs(sums) / np.asarray(abs(matrix).sum(axis=1)).ravel())
    loose = np.flatnonzero(largest <= 1e-13)
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


def make_solver(matrix: sp.spmatrix, kind: str, definite: bool, counter: Counter) -> LinearSolver:
    """The solver of a kind, made ready; `definite` is whether the matrix is symmetric positive definite."""
    return Multigrid(matrix, counter) if kind == "amg" else Direct(matrix, counter, definite)
