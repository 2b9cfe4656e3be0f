"""Newton's method for the state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..errors import ConvergenceError, SingularEquationError, StateError
from .system import System

REMEDY = "the nonlinear terms of the equation, or start from a control nearer to the solution."


def steady_state(system: System, u: Array, y: Array, counter: Counter) -> Array:
    """The state of a control, from y; factors serve for one step."""

    def residual(y: Array) -> Array:
        return system.residual(y, u)

    def step(y: Array, r: Array) -> Array:
        factors = system.factorise(y, u, counter)
        try:
            free = factors.solve(r).x
        finally:
            factors.close()
        counter.linear += 1
        return -system.lifting.extend(free)

    steps = counter.linear
    try:
        return newton(residual, step, system.norm, y)
    except SingularEquationError:
        if counter.linear > steps:
            raise
        # r' may vanish where the iteration starts, as that of y^3 does at 0: start elsewhere.
        return newton(residual, step, system.norm, y + system.lifting.extend(np.ones(system.lifting.free.size)))


@np.errstate(over="ignore", invalid="ignore")  # backtracking deals with overflow
def newton(
    residual: Callable[[Array], Array],
    step: Callable[[Array, Array], Array],
    norm: Callable[[Array], float],
    y: Array,
) -> Array:
    """e(y) = 0 by Newton's method with backtracking on the residual, from y.

    Iterates to the rounding of the residual, which the exactness of tangents and adjoints rests on.

    Parameters
    ----------
    residual : y -> e(y); a `StateError` where y has values that the equation is not defined for.
    step : (y, e(y)) -> -e_y(y)^-1 e(y), of the shape of y.
    norm : the one of residuals and of states, of all processes.
    y : where it starts.

    Raises
    ------
    ConvergenceError
        If 50 steps do not suffice, or no step length reduces the residual.
    """
    r = residual(y)
    first = size = norm(r)
    for count in range(50):
        if not np.isfinite(size):
            raise _failure("as the residual is NaN or infinite at its start", count, size, first)
        if size == 0.0:
            return y
        whole = step(y, r)
        small = norm(whole) <= 1e-9 * np.fmax(norm(y), 1e-300) or size <= 1e-10 * first
        length, trial, r = _reduce(residual, norm, y, whole, size, small)
        if length == 0.0:
            return y
        if length < 1e-6:
            raise _failure("as no length of its next step reduces the residual", count, size, first)
        y, size = trial, norm(r)
        # The error after a full step is of the order of its square.
        if length == 1.0 and norm(whole) <= 1e-9 * norm(y):
            return y
    raise _failure("", 50, size, first)


def _failure(reason: str, steps: int, size: float, first: float) -> ConvergenceError:
    return ConvergenceError(
        f"Newton's method for the state did not converge{reason and f', {reason}'}: after {steps} steps the residual "
        f"is {size:.1e}, the first was {first:.1e}. Check {REMEDY}"
    )


def _reduce(
    residual: Callable[[Array], Array], norm: Callable[[Array], float], y: Array, step: Array, size: float, small: bool
) -> tuple[float, Array, Array]:
    """The first of the lengths 1, 1/2, .. that reduces the residual, with what it leads to.

    It is less than 1e-6 where none does, and zero where the first does not and the residual may be rounding (small).
    """
    length, trial, r = 1.0, y, y
    while length >= 1e-6:
        trial = y + length * step
        try:
            r = residual(trial)
        except StateError:  # too far
            length /= 2
            continue
        if norm(r) <= (1.0 - 1e-4 * length) * size:
            break
        length = 0.0 if small else length / 2
    return length, trial, r
