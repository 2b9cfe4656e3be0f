"""The primal-dual method for F(S(u)) + G(u) with nonlinear S, linearised at the extrapolated control.

    1.  u+ = prox_rG( u - r S'(ubar)* p )
    2.  ubar+ = u+ + theta (u+ - u)
    3.  p+ = prox_sF*( p + s S(ubar+) )
    4.  at some iterations, steps (r, s) by the rule for the norm of S'(ubar+)
    5.  where the residual (||u+ - u||^2/r + ||p+ - p||^2/s)^1/2 of the fixed point does not fall as it should, back to
        where it was smallest, with shorter steps

References
----------
C. Clason, T. Valkonen, arXiv 1606.06219, with the linearisation at u.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import hypot, inf, sqrt
from typing import ClassVar

from ..arrays import Array
from ..errors import ConvergenceError
from ..maps import Linearisation, SolutionMap, map_norm
from ..terms import Objective
from .method import CONTROL, OBSERVATION, SOLUTION, Algorithm, Start, State
from .primal_dual import adjoint_of
from .steps import Steps, choose_steps, patience, theta

CHECKS = (5, 20, 80, 320)  # iterations at which the norm is looked at again


@dataclass(frozen=True, eq=False, repr=False)
class NonlinearState(State):
    """y and the adjoint belong to ubar; r and s are those of the rule for `norm`, divided by `shortening`.

    Where the residual of the fixed point was smallest since the steps were set, the iteration was `nearest` to it, and
    has not come nearer in so many iterations since.
    """

    ubar: Array = field(metadata=CONTROL)
    r: float
    s: float
    norm: float
    nearest_u: Array = field(metadata=CONTROL)
    nearest_ubar: Array = field(metadata=CONTROL)
    nearest_dual: Array = field(metadata=OBSERVATION)
    nearest_warm: Array | None = field(default=None, metadata=SOLUTION)
    residual: float = inf
    smallest_residual: float = inf
    since_smallest: int = 0
    iterations: int = 0
    shortening: float = 1.0


@dataclass(frozen=True)
class NonlinearPrimalDual(Algorithm[NonlinearState]):
    """See the module; one state and one adjoint solve an iteration. Parameters as in `PrimalDual`."""

    steps: Steps
    norm: float | None

    state: ClassVar[type[State]] = NonlinearState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> NonlinearState:
        at = map.at(start.u)
        p = start.dual(objective, at)
        norm = self.norm or map_norm(map, at, objective.state.free)
        r, s = choose_steps(self.steps, objective, norm, at.value)
        return NonlinearState(
            start.u, at.value, p, adjoint_of(map, at, p), start.u, r, s, norm, start.u, start.u, p, at.warm,
            warm=at.warm, patience=patience(objective.control.alpha, r, s * objective.state.scale),
        )  # fmt: skip

    def step(self, objective: Objective, map: SolutionMap, state: NonlinearState) -> NonlinearState:
        if _astray(map, state):
            return self._repaired(objective, map, state)  # 5
        u, ubar, at, r, s = self._forward(objective, map, state)  # 1, 2
        p = objective.state.prox_conjugate(state.dual + s * at.value, s)  # 3
        residual = hypot(map.control.norm(u - state.u) / sqrt(r), map.observation.norm(p - state.dual) / sqrt(s))
        new = replace(
            state, u=u, y=at.value, dual=p, adjoint=adjoint_of(map, at, p), warm=at.warm, ubar=ubar,
            residual=residual, since_smallest=state.since_smallest + 1, iterations=state.iterations + 1,
        )  # fmt: skip
        if r < state.r:
            new = self._for_norm(objective, new, state.norm, state.shortening * (state.r / r))
        elif residual < 0.8 * state.smallest_residual:
            new = replace(_nearest(new), residual=residual, smallest_residual=residual)
        if new.iterations in CHECKS and isinstance(self.steps, str):  # 4
            norm = map_norm(map, at, objective.state.free)
            if norm < 0.95 * state.norm:
                new = self._for_norm(objective, new, norm, new.shortening)
            elif norm > 1.05 * state.norm:
                new = self._for_norm(objective, new, norm, longest=new.r)
        return new

    def _forward(
        self, objective: Objective, map: SolutionMap, state: NonlinearState
    ) -> tuple[Array, Array, Linearisation, float, float]:
        """u+, ubar+ and the map there, with both steps halved until the equation has a state at ubar+."""
        for r, s in ((state.r / 2**k, state.s / 2**k) for k in range(30)):
            u = objective.control.prox(state.u - r * state.adjoint.gradient, r)
            ubar = u + theta(self.steps, objective.control.alpha, r, s * objective.state.scale) * (u - state.u)
            try:
                return u, ubar, map.at(ubar, state.warm), r, s
            except ConvergenceError as error:
                failure = error
        raise failure

    def _repaired(self, objective: Objective, map: SolutionMap, state: NonlinearState) -> NonlinearState:
        """The nearest state, with the steps that the norm there asks for, and shorter ones than led away from it."""
        at, p, norm = map.at(state.nearest_ubar, state.nearest_warm), state.nearest_dual, state.norm
        if isinstance(self.steps, str):
            norm = max(norm, map_norm(map, at, objective.state.free))
        nearest = replace(
            state, u=state.nearest_u, y=at.value, dual=p, adjoint=adjoint_of(map, at, p), warm=at.warm,
            ubar=state.nearest_ubar, iterations=state.iterations + 1,
        )  # fmt: skip
        return self._for_norm(objective, nearest, norm, longest=state.r / sqrt(2.0))

    def _for_norm(
        self, objective: Objective, state: NonlinearState, norm: float, shortening: float = 1.0, longest: float = inf
    ) -> NonlinearState:
        """The state with the steps for a norm, shortened, and by more where r is to be at most `longest`."""
        r, s = choose_steps(self.steps, objective, norm, state.y)
        shortening = max(shortening, r / longest)
        r, s = r / shortening, s / shortening
        return replace(
            _nearest(state), r=r, s=s, norm=norm, shortening=shortening, residual=inf, smallest_residual=inf,
            patience=patience(objective.control.alpha, r, s * objective.state.scale),
        )  # fmt: skip


def _astray(map: SolutionMap, state: NonlinearState) -> bool:
    """Whether the iteration, above its rounding, does not contract as one with valid steps does."""
    size = map.control.norm(state.u) / sqrt(state.r) + map.observation.norm(state.dual) / sqrt(state.s)
    late = state.since_smallest > state.patience
    return state.residual > 1e-11 * size and (late or state.residual > 3.0 * state.smallest_residual)


def _nearest(state: NonlinearState) -> NonlinearState:
    """The state as the one to go back to."""
    return replace(
        state, nearest_u=state.u, nearest_ubar=state.ubar, nearest_dual=state.dual, nearest_warm=state.warm,
        since_smallest=0,
    )  # fmt: skip
