"""The primal-dual (Chambolle-Pock) family for F(S(u)) + G(u) with affine S.

    1.  u+ = prox_rG( u - r S* p )
    2.  ubar+ = u+ + theta (u+ - u)
    3.  p+ = prox_sF*( p + s S(ubar+) )

References
----------
A. Chambolle, T. Pock, J. Math. Imaging Vis. 40 (2011) 120-145 (Algorithms 1 to 3). Enlarged steps: B. He, F. Ma, S. Xu,
X. Yuan (the factor 4/3) and arXiv 2307.00296 (the condition with alpha).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..arrays import Array
from ..maps import Adjoint, Linearisation, SolutionMap, map_norm
from ..terms import Objective
from .method import CONTROL, INCREMENT, Algorithm, Start, State, accuracy
from .steps import Steps, choose_steps, patience, theta


@dataclass(frozen=True, eq=False, repr=False)
class PrimalDualState(State):
    """r and s are the steps; the primal step takes `gradient`, S* p or, with alpha = 0, S* pbar."""

    r: float
    s: float
    gradient: Array = field(metadata=CONTROL)


@dataclass(frozen=True)
class AffinePrimalDual(Algorithm[PrimalDualState]):
    """See the module; one state and one adjoint solve an iteration. Parameters as in `PrimalDual`."""

    steps: Steps
    norm: float | None

    state: ClassVar[type[State]] = PrimalDualState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> PrimalDualState:
        at = map.at(start.u)
        p = start.dual(objective, at)
        norm = self.norm or map_norm(map, at, objective.state.free)
        r, s = choose_steps(self.steps, objective, norm, at.value)
        adjoint = adjoint_of(map, at, p)
        return PrimalDualState(
            start.u, at.value, p, adjoint, r, s, adjoint.gradient, warm=at.warm, trail=(at.value,),
            patience=patience(objective.control.alpha, r, s * objective.state.scale),
        )  # fmt: skip

    def step(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> PrimalDualState:
        alpha, r, s = objective.control.alpha, state.r, state.s
        length = theta(self.steps, alpha, r, s * objective.state.scale)
        u = objective.control.prox(state.u - r * state.gradient, r)  # 1
        at = map.at(u, state.warm, accuracy(objective, map, INCREMENT))
        y = y_bar = at.value
        dual_extrapolated = self.steps == "accelerated" and alpha == 0  # as it is F* that is strongly convex
        if not dual_extrapolated:
            y_bar = y + length * (y - state.y)  # 2, S being affine
        p = objective.state.prox_conjugate(state.dual + s * y_bar, s)  # 3
        adjoint = adjoint_of(map, at, p, state.adjoint.state)
        gradient = adjoint.gradient
        if dual_extrapolated:
            gradient = gradient + length * (gradient - state.adjoint.gradient)  # 2
            r, s = r / length, s * length
        trail = (*(state.trail or ())[-3:], y)
        return PrimalDualState(u, y, p, adjoint, r, s, gradient, warm=at.warm, trail=trail, patience=state.patience)


def adjoint_of(map: SolutionMap, at: Linearisation, p: Array, start: Array | None = None) -> Adjoint:
    """S'* p, without a solve where p = 0."""
    if not map.observation.any(p):
        return Adjoint(map.control.zeros(), state=None if at.warm is None else map.solution.zeros())
    return at.solve_adjoint(p, start)
