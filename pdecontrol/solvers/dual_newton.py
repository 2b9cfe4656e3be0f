"""Semismooth Newton on the dual of F(S(u)) + G(u), for affine S = S(0) + L and quadratic F with F'' = P.

The dual function phi is convex, with the gradient p - F'(S(z)), z = argmin G + <q, .>, q = L* p:

    1.  (I + P L D L*) d = F'(S(z)) - p   by conjugate gradients, D = -z'(q)
    2.  p+ = p + t d with |phi'(t)| <= 0.1 |phi'(0)| along d, which costs no solve

References
----------
X. Y. Zhao, D. Sun, K.-C. Toh, SIAM J. Optim. 20 (2010) 1737-1765. D, 1/alpha on the inactive set: G. Stadler, Comput.
Optim. Appl. 44 (2009) 159-181. Undamped active sets cycle already on small problems, hence step 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, sqrt
from typing import ClassVar

from ..arrays import Array
from ..maps import Adjoint, SolutionMap
from ..terms import Objective
from .method import INCREMENT, PRODUCT, Algorithm, Start, State, accuracy

SHARPEST = 5e-3  # of residuals on a path of weights: conjugate gradients gain as much a step in the next system


@dataclass(frozen=True, eq=False, repr=False)
class DualState(State):
    """u = argmin G + <S* dual, .>, y = S(u); whether the last Newton system was solved without conjugate gradients."""

    first_residual: float
    at_once: bool = field(default=False, kw_only=True)

    @property
    def look(self) -> bool | None:
        return True


@dataclass(frozen=True)
class DualNewton(Algorithm[DualState]):
    """See the module; two solves a CG step. Parameters as in `SemismoothNewton`."""

    forcing: float
    max_cg: int

    state: ClassVar[type[State]] = DualState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> DualState:
        at = map.at(start.u)
        # From zero one system leads to the end where z is affine; F'(S(u)) is noise where S(u) meets the target.
        known = start.p is not None or (start.cold and (objective.control.linear or objective.state.met_by(at.value)))
        p = start.dual(objective, at) if known else objective.state.gradient(at.value)
        rough = map.at(start.u, accuracy=accuracy(objective, map, INCREMENT)) if start.cold else at
        return projected(objective, map, p, rough.solve_adjoint(p), at.warm, 0.0)

    def step(self, objective: Objective, map: SolutionMap, state: DualState) -> DualState:
        return newton_step(objective, map, state, self.forcing, self.max_cg)[0]


def newton_step(
    objective: Objective, map: SolutionMap, state: DualState, forcing: float, max_cg: int, norm: float | None = None,
    systems: SolutionMap | None = None,
) -> tuple[DualState, float]:  # fmt: skip
    """A step with its length t <= 1 where there is the norm of `SolutionMap.newton_system`, found nearly exactly.

    Newton systems are solved by another map with the same derivative, where there is one.
    """
    p, q, z = state.dual, state.adjoint.gradient, state.u
    residual = objective.state.gradient(state.y) - p
    if not map.observation.any(residual):
        return state, 1.0
    derivative, second = objective.control.derivative(q), objective.state.second(state.y)
    at = map.at(z, accuracy=accuracy(objective, map, PRODUCT))
    size = map.observation.norm(residual)
    fallen = sqrt(size / state.first_residual) if state.first_residual > 0 else 1.0
    tolerance = min(forcing, fallen if norm is None else max(fallen, SHARPEST))
    before, limit = map.solves.systems, 0 if state.at_once else max_cg
    d, change = (systems or map).newton_system(at, residual, derivative, second, tolerance, limit, norm)  # 1
    at_once = map.solves.systems > before
    slope, curvature = -map.observation.inner(residual, d), map.observation.inner(d, d)

    def along(t: float) -> float:
        moved = objective.control.argmin(q + t * change.gradient) - z
        return slope + t * curvature - map.control.inner(moved, change.gradient)

    if norm is None:
        t = line_search(along, slope)
    else:  # exact directions: longer steps than 1 zigzag where active sets move node by node
        t = 1.0 if along(1.0) <= 0 else line_search(along, slope, 1e-3)
    p = p + t * d  # 2
    at = map.at(z, accuracy=accuracy(objective, map, INCREMENT))
    near = None if state.adjoint.state is None or change.state is None else state.adjoint.state + t * change.state
    new = projected(objective, map, p, at.solve_adjoint(p, near), state.warm, state.first_residual)
    return replace(new, at_once=at_once), t


def projected(
    objective: Objective, map: SolutionMap, p: Array, adjoint: Adjoint, warm: Array | None, first_residual: float
) -> DualState:
    """The state with the projected control of a dual vector."""
    z = objective.control.argmin(adjoint.gradient)
    at = map.at(z, warm, accuracy(objective, map, PRODUCT))
    first_residual = first_residual or objective.state.distance(at.value, p)
    return DualState(z, at.value, p, adjoint, first_residual, warm=at.warm)


def line_search(derivative: Callable[[float], float], slope: float, left: float = 0.1) -> float:
    """t > 0 with |phi'(t)| <= left |phi'(0)| for a convex phi with phi'(0) = slope < 0, trying t = 1 first."""
    low, high, t = 0.0, inf, 1.0
    for _ in range(60):
        value = derivative(t)
        if abs(value) <= left * abs(slope):
            break
        low, high = (t, high) if value < 0 else (low, t)
        t = 2.0 * t if high == inf else 0.5 * (low + high)
    return t
