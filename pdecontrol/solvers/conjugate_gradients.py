"""Conjugate gradients on a space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import Array
from ..space import Space


def conjugate_gradients(
    operator: Callable[[Array], tuple[Array, Array]], b: Array, space: Space, tolerance: float, steps: int
) -> tuple[Array, Array]:
    """x with A x = b to a relative residual, and B x, for an operator d -> (A d, B d) self-adjoint on the space.

    Stops at negative curvature with what it has.
    """
    x = np.zeros_like(b)
    bx = None
    r = d = b
    rr = space.inner(r, r)
    target = tolerance**2 * rr
    for _ in range(steps):
        ad, bd = operator(d)
        curvature = space.inner(d, ad)
        bx = np.zeros_like(bd) if bx is None else bx
        if curvature <= 0.0:
            break
        step = rr / curvature
        x, bx, r = x + step * d, bx + step * bd, r - step * ad
        rr, before = space.inner(r, r), rr
        if rr <= target:
            break
        d = r + (rr / before) * d
    return x, bx if bx is not None else x
