"""How far the cost of the state is from convex, where the map is nonlinear."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arrays import Array
from .maps import Adjoint, Linearisation, SolutionMap
from .spectrum import smallest_eigenvalue, surely_below
from .terms import Objective


def smallest_curvature(
    objective: Objective, map: SolutionMap, at: Linearisation, adjoint: Adjoint, restrict: Callable[[Array], Array]
) -> float:
    """min(0, smallest eigenvalue of the Hessian of F o S, restricted by a projection), from below.

    Notes
    -----
    S'* F'' S' is positive semidefinite, so that the smallest eigenvalue of <F'(S(u)), S''> is a bound. As that operator
    is small near a target that is met, some Lanczos steps find it, of two solves each, to a fifth of alpha and with one
    per cent of doubt (see `spectrum.surely_below`). Where it says that there is little convexity, at most 40 are taken
    with the whole Hessian: what large eigenvalues of that may hide is not seen.
    """
    w, alpha = objective.state.gradient(at.value), objective.control.alpha
    if not map.control.any(restrict(map.control.zeros() + 1.0)):
        return 0.0

    def applied(outer: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda h: restrict(at.second(restrict(h), w, adjoint, outer))

    least = surely_below(applied(np.zeros_like), map.control, 20, 0.2 * alpha, -0.5 * alpha)
    if least == -np.inf:
        least = smallest_eigenvalue(applied(objective.state.second(at.value)), map.control, 40, 0.1 * alpha)
    return min(0.0, least)
