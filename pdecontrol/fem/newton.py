"""Newton's method for the state."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..errors import ConvergenceError, SingularEquationError
from .system import System

REMEDY = "the semilinear term, or start from a control nearer to the solution."


@np.errstate(over="ignore", invalid="ignore")  # backtracking deals with overflow
def newton(system: System, u: Array, y: Array, counter: Counter) -> Array:
    """e(y, u) = 0 by Newton's method with backtracking on the residual, from y.

    Iterates to the rounding of the residual, which the exactness of tangents and adjoints rests on. Raises
    ConvergenceError if 50 steps do not suffice, or no step length reduces the residual.
    """
    r = system.residual(y, u)
    first = size = system.norm(r)
    for iteration in range(50):
        if not np.isfinite(size):
            break
        if size == 0.0:
            return y
        try:
            factors = system.factorise(y, u, counter)
        except SingularEquationError:
            if iteration > 0:
                raise
            # r' may vanish where the iteration starts, as that of y^3 does at 0: start elsewhere.
            y = y + system.lifting.extend(np.ones_like(r))
            r = system.residual(y, u)
            first = size = system.norm(r)
            factors = system.factorise(y, u, counter)
        try:
            step = -factors.solve(r).x
        finally:
            factors.close()
        counter.linear += 1
        small = system.norm(step) <= 1e-9 * np.fmax(system.norm(y), 1e-300) or size <= 1e-10 * first
        length, trial, r = _reduce(system, u, y, step, size, small)
        if length == 0.0:
            return y
        if length < 1e-6:
            raise ConvergenceError(
                f"Newton's method for the state stopped at a residual of {size:.1e} (first {first:.1e}): no "
                f"step reduces it. Check {REMEDY}"
            )
        y, size = trial, system.norm(r)
        # The error after a full step is of the order of its square.
        if length == 1.0 and system.norm(step) <= 1e-9 * system.norm(y):
            return y
    reason = "in 50 steps" if np.isfinite(size) else "as the semilinear term is NaN or infinite at its start"
    raise ConvergenceError(
        f"Newton's method for the state did not converge {reason} (residual {size:.1e}, first {first:.1e}): "
        f"check {REMEDY}"
    )


def _reduce(system: System, u: Array, y: Array, step: Array, size: float, small: bool) -> tuple[float, Array, Array]:
    """The first of the lengths 1, 1/2, .. that reduces the residual, with what it leads to.

    It is less than 1e-6 where none does, and zero where the first does not and the residual may be rounding (small).
    """
    length, whole = 1.0, system.lifting.extend(step)
    while length >= 1e-6:
        trial = y + length * whole
        r = system.residual(trial, u)
        if system.norm(r) <= (1.0 - 1e-4 * length) * size:
            break
        length = 0.0 if small else length / 2
    return length, trial, r
