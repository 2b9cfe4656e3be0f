"""Proximal points for F(S(u)) + G(u) without a Tikhonov term, for affine S and quadratic F.

    1.  u = argmin F(S(u)) + G(u) + a/2 ||u - c||^2   by Newton's method on the dual, of which each iteration is a step,
        until its duality gap is no more than what the weight leaves of that of the problem
    2.  c = u,  a+ = a/2

With the residuals R of Fenchel and Young, the gap of u = argmin G + a/2 ||. - c||^2 + <q, .> and a dual vector p,
q = S* p, is R_F(S(u), p) in step 1, and R_F(S(u), p) + R_G(u, q) in the problem without the weight: step 1 ends where
the first is no more than the second. As -q - a (u - c) is a subgradient of G at u, R_G(u, q) <= a ||u - c|| diam(box),
and the gap vanishes with the weight.

References
----------
R. T. Rockafellar, SIAM J. Control Optim. 14 (1976) 877-898. With Newton's method for the dual problem, which is an
augmented Lagrangian method: X. Li, D. Sun, K.-C. Toh, SIAM J. Optim. 28 (2018) 433-458.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

from ..arrays import Array
from ..maps import SolutionMap, map_norm
from ..terms import Objective
from .dual_newton import DualNewton, DualState, projected
from .method import CONTROL, Algorithm, Start, State

FIRST = 0.04  # the first weight, a part of ||S||^2: at such ones Newton's method takes a step or two
FALL = 0.5  # by which the weight falls: from twice as large a one the sets of the next problem are nearly right


@dataclass(frozen=True, eq=False, repr=False)
class ProximalState(DualState):
    """The state of Newton's method at the weight a around the centre c."""

    centre: Array = field(metadata=CONTROL)
    weight: float


@dataclass(frozen=True)
class ProximalPoints(Algorithm[ProximalState]):
    """See the module; one solve where the centre moves, else those of a Newton step."""

    newton: DualNewton

    state: ClassVar[type[State]] = ProximalState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> ProximalState:
        weight = FIRST * map_norm(map, map.at(start.u), objective.state.free) ** 2 or 1.0
        inner = self.newton.begin(around(objective, start.u, weight), map, start)
        return at_weight(inner, start.u, weight)

    def step(self, objective: Objective, map: SolutionMap, state: ProximalState) -> ProximalState:
        centre, weight = state.centre, state.weight
        inner = objective.state.residual(state.y, state.dual)
        if inner > objective.control.residual(state.u, state.adjoint.gradient):
            new = self.newton.step(around(objective, centre, weight), map, state)  # 1
        else:
            centre, weight = state.u, FALL * weight  # 2
            new = projected(around(objective, centre, weight), map, state.dual, state.adjoint, state.warm, 0.0)
        return at_weight(new, centre, weight)


def around(objective: Objective, centre: Array, weight: float) -> Objective:
    """F(S(u)) + G(u) + a/2 ||u - c||^2."""
    return replace(objective, control=replace(objective.control, alpha=weight, reference=centre))


def at_weight(state: DualState, centre: Array, weight: float) -> ProximalState:
    """The state of Newton's method with its weight and centre."""
    known = {item.name: getattr(state, item.name) for item in fields(DualState)}
    return ProximalState(**known | {"centre": centre, "weight": weight})
