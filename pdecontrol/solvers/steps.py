"""Steps (r, s) of the primal-dual method from alpha and the norm of the map."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ..arrays import Array
from ..terms import Objective

Rule = Literal["classical", "enlarged", "balanced", "accelerated"]
Steps = Rule | tuple[float, float]
RULES = get_args(Rule)
SAFETY = 0.999


def choose_steps(steps: Steps, objective: Objective, norm: float, y: Array) -> tuple[float, float]:
    """(r, s) by a rule (see `PrimalDual`), or as they are given; y is the observation at the start."""
    if not isinstance(steps, str):
        return steps
    alpha, modulus = objective.control.alpha, objective.state.scale
    if norm == 0.0:  # nothing that is tracked depends on the control: any steps will do
        return 1.0, 1.0
    if alpha == 0:
        ratio = _scale(objective, y)
        root = float(np.sqrt(SAFETY * (4.0 / 3.0 if steps in ("enlarged", "balanced") else 1.0)))
        return ratio * root / norm, root / (ratio * norm)
    norm = norm / float(np.sqrt(modulus))  # alpha r = modulus s
    x = float(np.sqrt(alpha)) / norm
    if steps == "enlarged":
        return SAFETY * (4.0 + 2.0 * x) / 3.0 * x / alpha, x / modulus
    if steps == "balanced":
        x = balanced_step(norm, alpha)
    return x / alpha, x / modulus


def theta(steps: Steps, alpha: float, r: float, s: float) -> float:
    """The length of the extrapolation."""
    if steps != "accelerated":
        return 1.0
    return 1.0 / (1.0 + 2.0 * alpha * r) if alpha > 0 else 1.0 / float(np.sqrt(1.0 + 2.0 * s))


def patience(alpha: float, r: float, s: float) -> int:
    """The number of iterations in which valid steps gain something: a factor of 1 + min(alpha r, s) in each."""
    x = min(alpha * r, s)
    return 10 + int(np.ceil(2.0 / x)) if x > 0 else 0


def balanced_step(norm: float, alpha: float) -> float:
    """x = alpha r = s, the largest with x^2 ||S||^2/alpha <= 0.999 min(4 (1 + x)/(3 + x), (4 + 2 x)/3).

    Notes
    -----
    Each bound is a polynomial in x: c x^2 (3 + x) = 4 (1 + x) and 3 c x^2 = 4 + 2 x with c = ||S||^2/(0.999 alpha);
    the smaller positive root satisfies both.
    """
    c = norm**2 / (SAFETY * alpha)
    quadratic = (1.0 + np.sqrt(1.0 + 12.0 * c)) / (3.0 * c)
    cubic = np.roots([c, 3.0 * c, -4.0, -4.0]).real.max()  # one sign change: a single positive root
    return float(min(quadratic, cubic))


def _scale(objective: Objective, y: Array) -> float:
    """sqrt(r/s) for alpha = 0: the size of the box over that of the misfit, which balances the O(1/k) bound."""
    control, state = objective.control, objective.state
    box, misfit = control.radius, state.distance(y, state.space.zeros())
    return box / misfit if box > 0 and misfit > 0 else 1.0
