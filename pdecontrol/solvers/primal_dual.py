"""The primal-dual (Chambolle-Pock) family for F(S(u)) + G(u).

    1.  u+ = prox_rG( u - r S'(ubar)* p )
    2.  ubar+ = u+ + theta (u+ - u)
    3.  p+ = prox_sF*( p + s S(ubar+) )

References
----------
A. Chambolle, T. Pock, J. Math. Imaging Vis. 40 (2011) 120-145 (Algorithms 1 to 3). Enlarged steps: B. He, F. Ma, S. Xu,
X. Yuan (the factor 4/3) and arXiv 2307.00296 (the condition with alpha). Nonlinear maps: C. Clason, T. Valkonen,
arXiv 1606.06219, here linearised at ubar.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..arrays import Array
from ..errors import ConvergenceError, ProblemError
from ..maps import Adjoint, Linearisation, SolutionMap, map_norm
from ..problem import check_number
from ..terms import Objective
from .extrapolation import extrapolate
from .method import INCREMENT, Method, Start, State, accuracy
from .steps import RULES, Steps, choose_steps

CHECKS = (5, 20, 80, 320)  # iterations at which the norm of a nonlinear map is looked at again


@dataclass(frozen=True, eq=False, repr=False)
class PrimalDualState(State):
    """r and s are the steps, norm the estimate of ||S'||, trail the last four observations, y being the latest.

    The primal step takes the gradient S'* p, extrapolated where alpha = 0 and the steps are accelerated.

    For nonlinear maps y = S(ubar), and the adjoint is taken at ubar. There, `residual` is that of the fixed point,
    (||u+ - u||^2/r + ||p+ - p||^2/s)^1/2, `least` the smallest since the steps were set, after which what is named best
    was reached, `waited` the iterations without a smaller one, `count` all of them; steps are shorter than those of the
    rule by the factor `caution`.
    """

    r: float
    s: float
    norm: float
    trail: tuple[Array, ...]
    gradient: Array
    ubar: Array
    residual: float = np.inf
    least: float = np.inf
    waited: int = 0
    count: int = 0
    caution: float = 1.0
    best_u: Array | None = None
    best_ubar: Array | None = None
    best_dual: Array | None = None
    best_warm: Array | None = None


@dataclass(frozen=True)
class PrimalDual(Method[PrimalDualState]):
    """The primal-dual method for affine and nonlinear maps; two solves an iteration.

    Parameters
    ----------
    steps : how r and s are found from alpha and the estimated ||S||.

        - "classical": r = 1/(sqrt(alpha) ||S||), s = alpha r, so that r s ||S||^2 = 1.
        - "enlarged": r larger by (4 + 2 alpha r)/3, the same s.
        - "balanced": s = alpha r with the largest r that the enlarged condition r s ||S||^2 <= (4 + 2 alpha r)/3 and
          the closed form of the contraction factor allow. The default.
        - "accelerated": r = 1/(sqrt(alpha) ||S||), s = alpha r, theta = 1/(1 + 2 alpha r); with alpha = 0, steps that
          change with the strong convexity of F* (Algorithm 2 of Chambolle and Pock).
        - a pair (r, s).

        With alpha = 0 the first three take r/s from the size of the box and of the misfit. For nonlinear maps, where
        no theorem holds, a rule is applied again if ||S'|| has moved by 5 % after 5, 20, 80 or 320 iterations. Where
        the iteration does not contract as it should, it goes back to where it was nearest to a fixed point, and on with
        the steps for the norm there or shorter ones.
    norm : ||S||, at the start of a nonlinear map, estimated by Lanczos iteration (and counted) if None.

    Examples
    --------
    >>> method = PrimalDual(steps="classical")
    """

    steps: Steps = "balanced"
    norm: float | None = None

    name: ClassVar[str] = "primal-dual"
    states: ClassVar[tuple[type[State], ...]] = (PrimalDualState,)

    def __post_init__(self) -> None:
        if isinstance(self.steps, str):
            if self.steps not in RULES:
                raise ProblemError(
                    f"unknown steps {self.steps!r}: take 'classical', 'enlarged', 'balanced', 'accelerated' or (r, s)."
                )
        elif np.shape(self.steps) != (2,):
            raise ProblemError(f"steps must be a rule or a pair of positive numbers (r, s), got {self.steps!r}.")
        else:
            for step in self.steps:
                check_number(step, "each of the steps (r, s)", positive=True)
        if self.norm is not None:
            check_number(self.norm, "the norm of the map", positive=True)

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> PrimalDualState:
        at = map.at(start.u)
        if start.p is not None:
            p = start.p
        else:
            p = objective.state.start() if start.cold else objective.state.gradient(at.value)
        norm = self.norm if self.norm is not None else map_norm(map, at, objective.state.free)
        y = at.value
        r, s = choose_steps(self.steps, objective, norm, y)
        adjoint = _adjoint(map, at, p)
        state = PrimalDualState(start.u, y, p, adjoint, at.warm, r, s, norm, (y,), adjoint.gradient, start.u)
        return state if map.affine else _settled(state)

    def step(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> PrimalDualState:
        return (self._affine_step if map.affine else self._nonlinear_step)(objective, map, state)

    def best_dual(self, objective: Objective, state: PrimalDualState) -> tuple[Array, None]:
        """S(u) - y_d at observations extrapolated from the last four, which the slowest modes hardly enter."""
        return objective.state.gradient(extrapolate(state.trail, objective.state.space)), None

    def _affine_step(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> PrimalDualState:
        alpha, r, s = objective.control.alpha, state.r, state.s
        u = objective.control.prox(state.u - r * state.gradient, r)  # 1
        eta = accuracy(objective, map, INCREMENT)
        at = map.at(u, state.warm, eta)
        y = at.value
        theta = self._theta(alpha, r, s)
        if self.steps == "accelerated" and alpha == 0:  # F* is strongly convex: the dual is extrapolated instead
            p = objective.state.prox_conjugate(state.dual + s * y, s)  # 3
            adjoint = _adjoint(map, at, p, state.adjoint.state)
            gradient = adjoint.gradient + theta * (adjoint.gradient - state.adjoint.gradient)  # 2
            r, s = r / theta, s * theta
        else:
            y_bar = y + theta * (y - state.y)  # 2, S being affine
            p = objective.state.prox_conjugate(state.dual + s * y_bar, s)  # 3
            adjoint = _adjoint(map, at, p, state.adjoint.state)
            gradient = adjoint.gradient
        trail = (*state.trail[-3:], y)
        return PrimalDualState(u, y, p, adjoint, at.warm, r, s, state.norm, trail, gradient, u)

    def _nonlinear_step(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> PrimalDualState:
        if self._astray(objective, map, state):
            return self._repaired(objective, map, state)
        u, ubar, at, r, s = self._forward(objective, map, state)  # 1, 2
        y = at.value
        p = objective.state.prox_conjugate(state.dual + s * y, s)  # 3
        residual = float(
            np.hypot(map.control.norm(u - state.u) / r**0.5, map.observation.norm(p - state.dual) / s**0.5)
        )
        adjoint, trail = _adjoint(map, at, p), (*state.trail[-3:], y)
        new = replace(
            state, u=u, y=y, dual=p, adjoint=adjoint, warm=at.warm, r=r, s=s, trail=trail, gradient=adjoint.gradient,
            ubar=ubar, residual=residual, waited=state.waited + 1, count=state.count + 1,
        )  # fmt: skip
        if r < state.r:
            new = _settled(replace(new, caution=state.caution * state.r / r))
        elif residual < 0.9 * state.least:
            new = replace(_settled(new), residual=residual, least=residual)
        if new.count in CHECKS and isinstance(self.steps, str):
            norm = map_norm(map, at, objective.state.free)
            if norm < 0.95 * state.norm:
                new = self._set(objective, new, norm, new.caution)
            elif norm > 1.05 * state.norm:
                new = self._set(objective, new, norm, longest=new.r)
        return new

    def _set(
        self, objective: Objective, state: PrimalDualState, norm: float, caution: float = 1.0, longest: float = np.inf
    ) -> PrimalDualState:
        """The state with the steps for a norm, shorter by caution, and by more where r is to be at most `longest`."""
        r, s = choose_steps(self.steps, objective, norm, state.y)
        caution = max(caution, r / longest)
        return _settled(replace(state, r=r / caution, s=s / caution, norm=norm, caution=caution))

    def _astray(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> bool:
        """Whether the iteration, above its rounding, does not contract as one with valid steps does."""
        size = map.control.norm(state.u) / state.r**0.5 + map.observation.norm(state.dual) / state.s**0.5
        late = state.waited > self.patience(objective, state)
        return state.residual > 1e-11 * size and (late or state.residual > 3.0 * state.least)

    def _forward(
        self, objective: Objective, map: SolutionMap, state: PrimalDualState
    ) -> tuple[Array, Array, Linearisation, float, float]:
        """u+, ubar+ and the map there, with both steps halved until the equation has a state at ubar+."""
        r, s = state.r, state.s
        for _ in range(30):
            u = objective.control.prox(state.u - r * state.gradient, r)
            ubar = u + self._theta(objective.control.alpha, r, s) * (u - state.u)
            try:
                return u, ubar, map.at(ubar, state.warm), r, s
            except ConvergenceError as error:
                failure = error
            r, s = r / 2, s / 2
        raise failure

    def _repaired(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> PrimalDualState:
        """The best state, with the steps that the norm there asks for, and shorter ones than led away from it."""
        u, ubar, p, norm = state.best_u, state.best_ubar, state.best_dual, state.norm
        assert u is not None and ubar is not None and p is not None
        at = map.at(ubar, state.best_warm)
        if isinstance(self.steps, str):
            norm = max(norm, map_norm(map, at, objective.state.free))
        y, adjoint = at.value, _adjoint(map, at, p)
        best = replace(
            state, u=u, y=y, dual=p, adjoint=adjoint, warm=at.warm, trail=(y,), gradient=adjoint.gradient, ubar=ubar,
            count=state.count + 1,
        )  # fmt: skip
        return self._set(objective, best, norm, longest=state.r / 2**0.5)

    def patience(self, objective: Objective, state: PrimalDualState) -> int:
        x = min(objective.control.alpha * state.r, state.s)  # valid steps gain a factor of 1 + x in an iteration
        return 10 + int(np.ceil(2.0 / x)) if x > 0 else 0

    def _theta(self, alpha: float, r: float, s: float) -> float:
        """The length of the extrapolation."""
        if self.steps != "accelerated":
            return 1.0
        return 1.0 / (1.0 + 2.0 * alpha * r) if alpha > 0 else 1.0 / float(np.sqrt(1.0 + 2.0 * s))


def _adjoint(map: SolutionMap, at: Linearisation, p: Array, start: Array | None = None) -> Adjoint:
    """S'* p, without a solve where p = 0."""
    if not map.observation.any(p):
        return Adjoint(map.control.zeros())
    return at.solve_adjoint(p, start)


def _settled(state: PrimalDualState) -> PrimalDualState:
    """The state as the one to go back to, where nothing is known of what its steps bring."""
    return replace(
        state, residual=np.inf, least=np.inf, waited=0,
        best_u=state.u, best_ubar=state.ubar, best_dual=state.dual, best_warm=state.warm,
    )  # fmt: skip
