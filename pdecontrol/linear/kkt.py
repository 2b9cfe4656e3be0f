"""Newton systems of affine control problems as one symmetric system, by collective multigrid.

The unknowns are a change of the state, eta, and an adjoint solution lam, W = C diag(w / m) C' the weights w >= 0 of
controls seen through their coupling C, and Q = O' M T O what is tracked:

    [-Q  A'] [eta]   [f]
    [ A  W ] [lam] = [g].

With lam = s nu and the second row times s, s^-2 = max w, all levels of the multigrid of A smooth both unknowns at once,
by damped Jacobi steps with the two by two blocks of each node. The number of cycles hardly depends on the mesh, and
grows slowly with ||T O A^-1 C||^2 max w, up to about h^-4: where layers become thinner than cells, it may be large.

References
----------
S. Takacs, W. Zulehner, Convergence analysis of multigrid methods with collective point smoothers for optimal control
problems, Comput. Vis. Sci. 14 (2011), 131-141. A. Borzi, V. Schulz, Multigrid methods for PDE optimization, SIAM Rev.
51 (2009), 361-395.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from ..arrays import Array
from .gcrodr import gcrodr
from .hierarchy import Hierarchy
from .krylov import KrylovResult
from .matrix import Triplets
from .operator import Operator
from .sqmr import sqmr

SWEEPS = 2  # before and after the coarser levels alike, so that the cycle is symmetric
DAMPING = 1.6  # over the spectral radii of the diagonally scaled matrices
SHORT, LONG = 60, 120  # cycles by short recurrences, and by GMRES after them
RESTART = 60
USABLE = 100.0  # times the tolerance, what may be left of a residual where rounding ends the iteration
FACTORABLE = 10_000  # unknowns up to which factors of the system take over where cycles are no good


class Solution(NamedTuple):
    """eta and lam."""

    state: Array
    adjoint: Array
    cycles: int
    converged: bool


class KKT:
    """The matrices of one problem on all levels, for systems with many weights.

    Parameters
    ----------
    hierarchy : the multigrid of A.
    A, Q : matrices of an engine.
    columns : matrices B, of which B B' is added to Q.
    C, mass : the coupling, and m.
    symmetric : whether A is.

    Attributes
    ----------
    radii : the spectral radii of D^-1 M for the matrices M = A, Q and W with w = 1, and D their diagonals, by levels.
    """

    def __init__(
        self, hierarchy: Hierarchy, A: Any, Q: Any, columns: Sequence[Triplets], C: Triplets, mass: Array,
        symmetric: bool,
    ) -> None:  # fmt: skip
        self._hierarchy, self._symmetric, self._mass = hierarchy, symmetric, mass
        self._C = hierarchy.columns(C)
        self._A, self._Q = hierarchy.project(hierarchy.matrix(A)), hierarchy.project(hierarchy.matrix(Q, columns))
        full = hierarchy.project(hierarchy.gram(self._C, 1.0 / mass))
        self.radii = [[self._radius(M) for M in level] for level in zip(self._A, self._Q, full, strict=True)]
        hierarchy.release(full)
        self._unknowns, self._stuck = hierarchy.group.sum(hierarchy.size), 0.0

    def _radius(self, matrix: Any) -> float:
        """A bound on that of D^-1 M, near to it where M >= 0: max (D^-1 |M| x)/x for any x > 0, after L. Collatz."""
        absolute, diagonal = abs(matrix), np.abs(matrix.diagonal())
        x, radius = np.where(diagonal > 0, 1.0, 0.0), 0.0
        seen = diagonal > 0
        for _ in range(10):
            y = np.divide(absolute @ x, diagonal, out=np.zeros_like(x), where=seen)
            ratio = np.divide(y, x, out=np.zeros_like(x), where=x > 0)
            radius = max(self._hierarchy.group.collect(float(ratio.max(initial=0.0))))
            x = y / (radius or 1.0)
        self._hierarchy.release([absolute])
        return radius

    def solve(self, weights: Array, s: float, f: Array, tolerance: float, g: Array | float = 0.0) -> Solution:
        """eta and lam for the weights s^-2 w, 0 <= w <= 1, to a relative residual of the scaled system.

        By factors where cycles are no good and the system is not too large. Not converged is what has more than a
        hundred times this residual in the end, or above one per cent.
        """
        hierarchy = self._hierarchy
        W = hierarchy.project(hierarchy.gram(self._C, weights / self._mass))
        b = np.concatenate([f, s * g + np.zeros_like(f)])
        result, cycles = self._iterate(b, W, s, tolerance, 1 if s <= self._stuck else len(W))
        usable = max(tolerance, min(USABLE * tolerance, 1e-2))
        if result.residual > usable and self._unknowns <= FACTORABLE:
            self._stuck = max(self._stuck, s)
            result, more = self._iterate(b, W, s, tolerance, 1)
            cycles += more
        hierarchy.release(W)
        eta, nu = np.split(result.x, 2)
        return Solution(eta, s * nu, cycles, result.residual <= usable)

    def _iterate(self, b: Array, W: list[Any], s: float, tolerance: float, depth: int) -> tuple[KrylovResult, int]:
        """The scaled solution with so many levels, and the number of cycles."""
        hierarchy, cycles, start, left = self._hierarchy, 0, None, np.inf
        cycle = Cycle(hierarchy, self._A[:depth], self._Q[:depth], W[:depth], s, self._symmetric, self.radii[:depth])
        matrix, preconditioner = (
            Operator(apply, b.size, np.dtype(float), hierarchy.group) for apply in (cycle.product, cycle)
        )
        if self._symmetric:
            result = sqmr(matrix, b, preconditioner, tolerance=tolerance, max_products=SHORT + 2)
            start, cycles, left = result.x, result.products.preconditioner, result.residual
        if left > tolerance:
            options: dict[str, Any] = {"m": RESTART, "k": 0, "tolerance": tolerance, "max_products": LONG}
            result = gcrodr(matrix, b, preconditioner, start=start, **options)
            cycles += result.products.preconditioner
        return result, cycles

    def close(self) -> None:
        """Free what the matrices hold; on several processes, all of them do."""
        for matrices in (self._A, self._Q, [self._C]):
            self._hierarchy.release(matrices)
        self._hierarchy.close()


class Cycle:
    """One cycle for a right-hand side (2 n,), with the operators [-Q, s A'; s A, W] of all levels."""

    def __init__(
        self, hierarchy: Hierarchy, A: list[Any], Q: list[Any], W: list[Any], s: float, symmetric: bool,
        radii: list[list[float]],
    ) -> None:  # fmt: skip
        self._hierarchy = hierarchy
        blocks = zip(A, Q, W, radii, strict=True)
        self._levels = [
            _Level(hierarchy.system(a, a if symmetric else a.T, q, w, s), a, q, w, s, own) for a, q, w, own in blocks
        ]
        a, q, w = (hierarchy.whole(matrices[-1]) for matrices in (A, Q, W))
        self._coarsest = splu(sp.bmat([[-q, s * a.T], [s * a, w]], format="csc"))

    def product(self, x: Array) -> Array:
        """K x on the finest level."""
        return self._levels[0].product(x.reshape(2, -1)).ravel()

    def __call__(self, b: Array) -> Array:
        return self._descend(0, b.reshape(2, -1)).ravel()

    def _descend(self, number: int, b: Array) -> Array:
        level, hierarchy = self._levels[number], self._hierarchy
        if number == len(self._levels) - 1:
            whole = self._coarsest.solve(hierarchy.gather(b).ravel())
            return hierarchy.own(number, whole.reshape(2, -1))
        x = level.smooth(b)
        for _ in range(SWEEPS - 1):
            x += level.smooth(b - level.product(x))
        r = b - level.product(x)
        step = self._descend(number + 1, np.stack([hierarchy.restrict(number, part) for part in r]))
        x += np.stack([hierarchy.prolong(number, part) for part in step])
        for _ in range(SWEEPS):
            x += level.smooth(b - level.product(x))
        return x


class _Level:
    """[-Q, s A'; s A, W] on one level, for vectors (2, n)."""

    def __init__(self, matrix: Any, A: Any, Q: Any, W: Any, s: float, radii: list[float]) -> None:
        self._matrix = matrix
        a, q, w = (radius / DAMPING * M.diagonal() for M, radius in zip((A, Q, W), radii, strict=True))
        factor = 1.0 / (q * w + (s * a) ** 2)
        self._smoother = -factor * w, factor * s * a, factor * q

    def product(self, x: Array) -> Array:
        """K x."""
        return np.asarray(self._matrix @ x.ravel()).reshape(2, -1)

    def smooth(self, r: Array) -> Array:
        """r times the inverse of the two by two blocks of each node, with diagonals enlarged by the spectral radii."""
        first, mixed, last = self._smoother
        x = mixed * r[::-1]
        x[0] += first * r[0]
        x[1] += last * r[1]
        return x
