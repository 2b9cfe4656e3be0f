"""Linear solvers: what inverts a matrix nearly, refined on residuals in differences, with a bound on what is left."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple
from weakref import ref

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..errors import ConvergenceError, ProblemError
from .cg import least_ritz_value
from .residual import Rows, TransposedRows, refine

NEAR = 1e-6  # relative residuals of what factors have solved already
TOLERATED = 1e-10  # relative errors of smooth solutions by factors, for methods on their way
SLOW = 1000  # steps of conjugate gradients to 1e-8


class Approximation(NamedTuple):
    """x with A x = b nearly, and a bound on its residual in the norm of the solver, rounding included.

    The bound is None where an accuracy was asked for, as it would cost too much.
    """

    x: Array
    error: float | None


class Inverse(ABC):
    """b -> A^-1 b, nearly: by factors, or by iterations.

    Attributes
    ----------
    exact : whether it errs by rounding alone, as factors do.
    tolerance : of relative residuals, to which iterations are repeated.
    name, advice : what errors call the iterations, and what they advise.
    """

    exact: bool
    tolerance: float = 0.0
    name: str = ""
    advice: str = ""

    @property
    def entries(self) -> float:
        """Those of the factors L and U, of all processes; 0 for iterations, and where they are not known."""
        return 0.0

    @abstractmethod
    def apply(self, b: Array, reduction: float = 0.0) -> Array:
        """x with A x = b, by iterations until the residual is reduced by a factor; factors take b (n, k) too."""

    @abstractmethod
    def transposed(self, symmetric: bool) -> Inverse:
        """That of A', itself where it serves for both."""

    def close(self) -> None:  # noqa: B027
        """Free what it holds; on several processes, all of them do."""


class EnergyNorm:
    """(r' B r)^1/2 with the preconditioner B of conjugate gradients, for positive definite matrices.

    The unknowns sit at the points (dim, n), in units of the diameter of the domain.

    Notes
    -----
    With a lower bound mu of the spectrum of B A, the residual r = b - A x bounds the error e of x:
    e' A e = r' A^-1 r <= r' B r / mu. The value of mu is a tenth of the least Ritz value of conjugate gradients from a
    right-hand side with all frequencies. The rounding of r is added to it: for nearly singular equations it is what
    counts.
    """

    def __init__(
        self, rows: Rows, inverse: Inverse, precondition: Callable[[Array], Array], points: Array, counter: Counter
    ) -> None:
        self._rows, self._inverse, self._precondition = rows, inverse, precondition
        self._points, self._counter = points, counter

    def size(self, r: Array) -> float:
        """(r' B r)^1/2."""
        return float(np.sqrt(max(self._inner(r, self._precondition(r)), 0.0)))

    @cached_property
    def least(self) -> float:
        """mu^1/2, by which sizes are divided for the bound."""
        phase = 1e3 * (1.0 + self._points * np.arange(1, len(self._points) + 1)[:, None]).sum(axis=0)
        b = np.sqrt(self._rows.diagonal) * np.modf(1e4 * np.sin(phase))[0]
        limit = min(SLOW, 2 * int(self._rows.group.sum(b.size)))
        least, steps = least_ritz_value(self._rows.matrix.__matmul__, b, self._inner, self._precondition, limit)
        self._counter.inner += steps
        self._counter.tangent += 1  # one solve more, as far as its cost goes
        if steps == SLOW:
            raise ConvergenceError(f"{self._inverse.name} is too slow for an error bound: {self._inverse.advice}.")
        if not least > 0:
            raise ProblemError("the matrix of the equation is not positive definite: use linear_solver='direct'.")
        return float(np.sqrt(0.1 * least))

    def _inner(self, left: Array, right: Array) -> float:
        return self._rows.group.sum(np.einsum("i,i->", left, right))


class LinearSolver:
    """A matrix made ready for many right-hand sides.

    Parameters
    ----------
    rows, inverse : of the matrix: residuals, and nearly A^-1.
    norm : of residuals; (r' D^-1 r)^1/2 with D = diag(`diagonal`) if None.
    counter : of the map.
    original : the solver of A, if this is that of A'.

    Attributes
    ----------
    energy : whether bounds on residuals r are at least (r' A^-1 r)^1/2, that of the error in the energy norm.
    diagonal : d, see `residual`.
    width : the largest number of entries in a row.
    """

    closed = False

    def __init__(
        self, rows: Rows | TransposedRows, inverse: Inverse, norm: EnergyNorm | None, counter: Counter,
        original: LinearSolver | None = None,
    ) -> None:  # fmt: skip
        self._rows, self.inverse, self.norm, self._counter = rows, inverse, norm, counter
        self._original = None if original is None else ref(original)  # a circle would stay in memory for a while
        self.energy, self.diagonal, self.width = norm is not None, rows.diagonal, rows.width

    def close(self) -> None:
        """Free what the solver holds; on several processes, all of them do. A closed one is not used again."""
        if not self.closed:
            self.closed = True
            self.inverse.close()

    @property
    def transposed(self) -> LinearSolver:
        """That of A', itself where A is symmetric; it lives as long as this one."""
        original = self._original and self._original()
        return original or self._transposed or self

    @cached_property
    def _transposed(self) -> LinearSolver | None:
        """That of A', if it is another."""
        rows, inverse = self._rows.transposed, self.inverse.transposed(self._rows.symmetric)
        if rows is self._rows and inverse is self.inverse:
            return None
        return LinearSolver(rows, inverse, self.norm, self._counter, self)

    @cached_property
    def loss(self) -> float:
        """What smooth solutions by factors of A err by, relatively, before they are refined; 0 for iterations."""
        if self._original is not None and (original := self._original()) is not None:
            return original.loss
        if not self.inverse.exact:
            return 0.0
        x, residual = self.torsion
        self._counter.refinements += 1
        step = self.inverse.apply(residual)
        return self._largest(np.abs(step)) / self._largest(np.abs(x))

    @cached_property
    def growth(self) -> float:
        """A bound on the norm of (D^-1/2 A D^-1/2)^-1 where A is a Stieltjes matrix; infinite for others.

        As A^-1 >= 0, A x >= (1 - e) d gives A^-1 d <= x / (1 - e), and the spectral radius of A^-1 D is at most the
        largest entry of A^-1 d.
        """
        if not self._rows.stieltjes:
            return np.inf
        x, residual = self.torsion
        short = self._largest((residual + self._rows.rounding(x, self.diagonal, 0.0)) / self.diagonal)
        return self._largest(x) / (1.0 - short) if short < 0.1 else np.inf

    @cached_property
    def torsion(self) -> tuple[Array, Array]:
        """x = A^-1 d, not refined, and d - A x."""
        exact = self.inverse.exact
        self._counter.refinements += exact
        x = self.inverse.apply(self.diagonal) if exact else self.solve(self.diagonal).x
        return x, self.diagonal - self._rows.product(x)

    def _largest(self, values: Array) -> float:
        return max(self._rows.group.collect(float(values.max(initial=0.0))))

    def solve(
        self, b: Array, start: Array | None = None, accuracy: float | None = None, noise: Array | float = 0.0
    ) -> Approximation:
        """x with A x = b; for `start` and `accuracy` see `maps.Linearisation`, b may err by `noise` in each entry."""
        if not self._rows.group.any(b.any()):  # x = 0, as for the state of no control
            return Approximation(b, self._error(self._size(b + noise)) if accuracy is None else None)
        apply, exact = self.inverse.apply, self.inverse.exact
        x = apply(b) if exact else np.zeros_like(b) if start is None else start
        if accuracy is None:
            return self._refined(b, x, b - self._rows.product(x), noise)
        left = self.loss if exact else 0.0
        if not exact:
            x = x + apply(b if start is None else b - self._rows.product(x), accuracy)
        while left > TOLERATED:
            self._counter.refinements += 1
            x, left = x + apply(b - self._rows.product(x)), left * min(self.loss, 0.5)
        return Approximation(x, None)

    def solve_columns(self, b: Array, accuracy: float | None = None) -> Array:
        """x with A x = b for the columns of b (n, k), by factors at once where what they lose is tolerated."""
        if self.inverse.exact and self.loss <= TOLERATED:
            return self.inverse.apply(b)
        return np.stack([self.solve(column, accuracy=accuracy).x for column in b.T], axis=1)

    def recognise(self, b: Array, x: Array, noise: Array | float = 0.0) -> Approximation | None:
        """x with its bound, if it is as good as `solve` would make it; else None."""
        goal = NEAR if self.inverse.exact else self.inverse.tolerance
        r = b - self._rows.product(x)
        return self._refined(b, x, r, noise) if self._size(r) <= goal * self._size(b) else None

    def product(self, x: Array) -> Array:
        """A x."""
        return self._rows.product(x)

    def residual(self, x: Array, b: Array, noise: Array | float) -> tuple[Array, Array]:
        """b - A x in differences, and rho, what rounding may be in it, entry by entry."""
        return b - self._rows.product(x), self._rows.rounding(x, b, noise)

    def _refined(self, b: Array, x: Array, r: Array, noise: Array | float) -> Approximation:
        inverse, size = self.inverse, self._size

        def correction(residual: Array, reduction: float) -> Array:
            self._counter.refinements += inverse.exact
            return inverse.apply(residual, max(reduction, 1e-8))

        def rounding(x: Array) -> float:
            return size(self._rows.rounding(x, b, noise))

        goal = rounding(x) if inverse.exact else inverse.tolerance * size(b)
        x, r = refine(x, r, self._rows.product, correction, size, goal, 5)
        left, slack = size(r), goal if inverse.exact else rounding(x)  # before, x may have been zero
        if not inverse.exact and not left <= 100 * goal + 10 * slack:
            raise ConvergenceError(
                f"{inverse.name} stopped at a relative residual of {left / size(b):.1e}: {inverse.advice}."
            )
        return Approximation(x, self._error(left + slack))

    def _error(self, size: float) -> float:
        """The bound for residuals of a size."""
        return size / (self.norm.least if self.norm else 1.0)

    def _size(self, r: Array) -> float:
        return self.norm.size(r) if self.norm else self._rows.size(r)


def choose_kind(asked: str, definite: bool, large: bool, refused: str) -> str:
    """Direct or multigrid: "auto" takes multigrid for large definite problems."""
    if asked == "auto":
        return "amg" if large and definite else "direct"
    if asked == "amg" and not definite:
        raise ProblemError(f"linear_solver='amg' takes symmetric positive definite equations, {refused}.")
    return asked
