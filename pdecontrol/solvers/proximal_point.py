"""Proximal points for F(S(u)) + G(u) without a Tikhonov term, for affine S and quadratic F.

    1.  u = argmin F(S(u)) + G(u) + a/2 ||u - c||^2   by Newton's method on the dual, of which each iteration is a step,
        until its duality gap is no more than what the weight leaves of that of the problem
    2.  c = u,  a+ = 0.3 a

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
from ..few import by_numbers, count
from ..maps import SolutionMap, map_norm
from ..terms import Objective
from .dual_newton import DualNewton, DualState, newton_step, projected
from .method import CONTROL, Algorithm, Start, State
from .newton_path import SHARP, SMALL

FIRST = 0.04  # the first weight, a part of ||S||^2: at such ones Newton's method takes a step or two
LEAST = 1e-13  # weight, likewise, from which on rounding of S(u) is seen in the control
FALL = 0.3  # by which the weight falls: from one not much larger the sets of the next problem are nearly right


@dataclass(frozen=True, eq=False, repr=False)
class ProximalState(DualState):
    """The state of Newton's method at the weight a around the centre c; norm is ||P L||."""

    centre: Array = field(metadata=CONTROL)
    weight: float
    norm: float


@dataclass(frozen=True)
class ProximalPoints(Algorithm[ProximalState]):
    """See the module; one solve where the centre moves, else those of a Newton step."""

    forcing: float
    max_cg: int

    state: ClassVar[type[State]] = ProximalState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> ProximalState:
        norm = map.norm_bound or map_norm(map, map.at(start.u), objective.state.free)
        weight = FIRST * norm**2 or 1.0
        inner = DualNewton(self.forcing, self.max_cg).begin(around(objective, start.u, weight), map, start)
        return _of(inner, start.u, weight, norm)

    def step(self, objective: Objective, map: SolutionMap, state: ProximalState) -> ProximalState:
        centre, weight, norm = state.centre, state.weight, state.norm
        inner = objective.state.residual(state.y, state.dual)
        if inner > objective.control.residual(state.u, state.adjoint.gradient):
            few = by_numbers(map) if weight <= SMALL * norm**2 and count(map)[0] else None
            problem, forcing = around(objective, centre, weight), SHARP * self.forcing
            new, _ = newton_step(problem, map, state, forcing, self.max_cg, norm, few)  # 1
        else:
            centre, weight = state.u, max(FALL * weight, LEAST * norm**2)  # 2
            new = projected(around(objective, centre, weight), map, state.dual, state.adjoint, state.warm, 0.0)
            new = replace(new, at_once=state.at_once)
        return _of(new, centre, weight, norm)


def around(objective: Objective, centre: Array, weight: float) -> Objective:
    """F(S(u)) + G(u) + a/2 ||u - c||^2."""
    return replace(objective, control=replace(objective.control, alpha=weight, reference=centre))


def _of(inner: DualState, centre: Array, weight: float, norm: float) -> ProximalState:
    """The state of Newton's method as one of proximal points."""
    values = {item.name: getattr(inner, item.name) for item in fields(DualState)}
    return ProximalState(**values, centre=centre, weight=weight, norm=norm)
