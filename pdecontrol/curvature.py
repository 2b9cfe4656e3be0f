"""How far the cost of the state is from convex, where the map is nonlinear."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arrays import Array
from .maps import Adjoint, Linearisation, SolutionMap
from .spectrum import smallest_eigenvalue
from .terms import Objective


def smallest_curvature(
    objective: Objective, map: SolutionMap, at: Linearisation, adjoint: Adjoint, restrict: Callable[[Array], Array]
) -> float:
    """min(0, smallest eigenvalue of the Hessian of F o S, restricted by a projection), from below, to alpha/3 at least.

    Notes
    -----
    S'* F'' S' is positive semidefinite, so that the smallest eigenvalue of <F'(S(u)), S''> is a bound. As that operator
    is small near a target that is met, a few Lanczos steps find it, of two solves each; where it says that there is
    little convexity, at most 40 more are taken with the whole Hessian. What they leave unresolved makes the value
    smaller. None of this is a proof: an eigenvector confined to a few nodes is hardly in the start, and may be missed
    where other eigenvalues are large.
    """
    w, resolution = objective.state.gradient(at.value), 0.1 * objective.control.alpha
    if not map.control.any(restrict(map.control.zeros() + 1.0)):
        return 0.0

    def smallest(outer: Callable[[Array], Array], steps: int, floor: float) -> float:
        def apply(h: Array) -> Array:
            return restrict(at.second(restrict(h), w, adjoint, outer))

        return min(0.0, smallest_eigenvalue(apply, map.control, steps, resolution, floor))

    least = smallest(np.zeros_like, 10, -2.0 * resolution)
    if least >= -3.0 * resolution:
        return least
    return max(least, smallest(objective.state.second(at.value), 40, -np.inf))
