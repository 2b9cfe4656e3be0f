"""The primal-dual (Chambolle-Pock) family for F(S(u)) + G(u).

    1.  u+ = prox_rG( u - r S'(ubar)* p )
    2.  ubar = u+ + theta (u+ - u)
    3.  p+ = prox_sF*( p + s S(ubar) )

References
----------
A. Chambolle, T. Pock, J. Math. Imaging Vis. 40 (2011) 120-145 (Algorithms 1 to 3). Enlarged steps:
B. He, F. Ma, S. Xu, X. Yuan (the factor 4/3) and arXiv 2307.00296 (the condition with alpha). Nonlinear maps:
C. Clason, T. Valkonen, arXiv 1606.06219, here linearised at ubar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Union

import numpy as np

from ..errors import ProblemError
from ..maps import Adjoint, Linearisation, SolutionMap, map_norm
from ..space import Array
from ..terms import Objective
from .loop import Method, Start, State

Steps = Union[Literal["classical", "enlarged", "balanced", "accelerated"], tuple[float, float]]
SAFETY = 0.999


@dataclass(frozen=True, eq=False)
class PrimalDualState(State):
    """p is the dual iterate, r and s the steps, norm the estimate of ||S'||, y_before the observation one step before.

    For nonlinear maps y = S(ubar).
    """

    p: Array
    y_before: Array
    r: float
    s: float
    norm: float
    ubar: Array | None = None
    field: Array | None = None
    at: Linearisation | None = None


@dataclass(frozen=True)
class PrimalDual(Method):
    """The primal-dual method for affine and nonlinear maps; two solves an iteration.

    Parameters
    ----------
    steps : how r and s are found from alpha and the estimated ||S||.

        - "classical": r = 1/(sqrt(alpha) ||S||), s = alpha r, so that r s ||S||^2 = 1.
        - "enlarged": r larger by (4 + 2 alpha r)/3, the same s.
        - "balanced": s = alpha r with the largest r that both r s ||S||^2 <= (4 + 2 alpha r)/3 and the closed form
          of the contraction factor 1/(1 + alpha r) allow. The default.
        - "accelerated": r = 1/(sqrt(alpha) ||S||), s = alpha r, theta = 1/(1 + 2 alpha r); with alpha = 0, steps
          that change with the strong convexity of F* (Algorithm 2 of Chambolle and Pock).
        - a pair (r, s).

        With alpha = 0 the first three take r/s from the size of the box and of the misfit.
    norm : ||S||, estimated by Lanczos iteration (and counted) if None.

    Examples
    --------
    >>> method = PrimalDual(steps="classical")
    """

    steps: Steps = "balanced"
    norm: float | None = None

    name: ClassVar[str] = "primal-dual"
    state: ClassVar[type[State]] = PrimalDualState

    def __post_init__(self) -> None:
        if isinstance(self.steps, str):
            if self.steps not in ("classical", "enlarged", "balanced", "accelerated"):
                raise ProblemError(
                    f"unknown steps {self.steps!r}: take 'classical', 'enlarged', 'balanced', 'accelerated' or (r, s)."
                )
        elif len(self.steps) != 2 or not all(np.isfinite(v) and v > 0 for v in self.steps):
            raise ProblemError(f"steps must be a pair of positive numbers (r, s), got {self.steps!r}.")
        if self.norm is not None and not self.norm > 0:
            raise ProblemError(f"the norm of the map must be positive, got {self.norm}.")

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> PrimalDualState:
        at = map.at(start.u)
        p = objective.state.initial_dual() if start.p is None else start.p
        norm = self.norm if self.norm is not None else map_norm(at, map, objective.state.tracked)
        r, s = self._steps(objective, norm, at.value)
        if map.affine:
            return PrimalDualState(start.u, at.value, None, None, p, at.value, r, s, norm)
        return PrimalDualState(start.u, at.value, None, None, p, at.value, r, s, norm, start.u, at.state, at)

    def step(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> PrimalDualState:  # type: ignore[override]
        if map.affine:
            return self._affine_step(objective, map, state)
        return self._nonlinear_step(objective, map, state)

    def _affine_step(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> PrimalDualState:
        u, y, p, r, s = state.u, state.y, state.p, state.r, state.s
        adjoint = _adjoint(map, map.at(u), p)
        u_next = objective.control.prox(u - r * adjoint.gradient, r)  # 1
        y_next = map.solve(u_next)
        theta, r_next, s_next = self._relaxation(objective, state)
        y_bar = y_next + theta * (y_next - y)  # 2, S being affine
        p_next = objective.state.prox_conjugate(p + s_next * y_bar, s_next)  # 3
        return PrimalDualState(u_next, y_next, p, adjoint, p_next, y, r_next, s_next, state.norm)

    def _nonlinear_step(
        self, objective: Objective, map: SolutionMap, state: PrimalDualState
    ) -> PrimalDualState:
        u, p, r, s = state.u, state.p, state.r, state.s
        at = state.at if state.at is not None else map.at(state.ubar, state.field)
        adjoint = _adjoint(map, at, p)
        u_next = objective.control.prox(u - r * adjoint.gradient, r)  # 1
        theta, r, s = self._relaxation(objective, state)
        ubar = u_next + theta * (u_next - u)  # 2
        at_bar = map.at(ubar, at.state)
        p_next = objective.state.prox_conjugate(p + s * at_bar.value, s)  # 3
        norm = max(state.norm, self._secant(objective, map, ubar - state.ubar, at_bar.value - state.y))
        if norm > state.norm and not isinstance(self.steps, tuple):
            r, s = self._steps(objective, norm, at_bar.value)
        return PrimalDualState(
            u_next, at_bar.value, p, adjoint, p_next, r, s, norm, ubar, at_bar.state, at_bar
        )

    def best_dual(self, objective: Objective, state: PrimalDualState) -> tuple[Array, None]:  # type: ignore[override]
        """(S(u) + rho S(u_before))/(1 + rho) - y_d with rho = 1/(1 + alpha r).

        The slowest modes of the iteration have the factors +-rho; the mean removes those that alternate.
        """
        rho = 1.0 / (1.0 + objective.control.alpha * state.r)
        return objective.state.gradient((state.y + rho * state.y_before) / (1.0 + rho)), None

    @staticmethod
    def _secant(objective: Objective, map: SolutionMap, du: Array, dy: Array) -> float:
        """||S(ubar+) - S(ubar)|| / ||ubar+ - ubar||, a lower bound of the Lipschitz constant that costs no solve."""
        length = map.control.norm(du)
        return map.observation.norm(objective.state.tracked * dy) / length if length > 0 else 0.0

    def _relaxation(self, objective: Objective, state: PrimalDualState) -> tuple[float, float, float]:
        """theta and the steps r, s of the next dual and primal updates."""
        alpha, r, s = objective.control.alpha, state.r, state.s
        if self.steps != "accelerated":
            return 1.0, r, s
        if alpha > 0:
            return 1.0 / (1.0 + 2.0 * alpha * r), r, s
        theta = 1.0 / np.sqrt(1.0 + 2.0 * s)
        return theta, r / theta, s * theta

    def _steps(self, objective: Objective, norm: float, y: Array) -> tuple[float, float]:
        if not isinstance(self.steps, str):
            return self.steps
        alpha = objective.control.alpha
        if norm == 0.0:
            raise ProblemError("the observation does not depend on the control: check the tags of both.")
        if alpha == 0:
            ratio = self._scale(objective, y)
            kappa = SAFETY * (4.0 / 3.0 if self.steps in ("enlarged", "balanced") else 1.0)
            return ratio * np.sqrt(kappa) / norm, np.sqrt(kappa) / (ratio * norm)
        x = np.sqrt(alpha) / norm
        if self.steps == "classical":
            return x / alpha, x
        if self.steps == "enlarged":
            return SAFETY * (4.0 + 2.0 * x) / 3.0 * x / alpha, x
        if self.steps == "accelerated":
            return x / alpha, x
        x = balanced_step(norm, alpha)
        return x / alpha, x

    @staticmethod
    def _scale(objective: Objective, y: Array) -> float:
        """sqrt(r/s) for alpha = 0: the size of the box over that of the misfit, which balances the O(1/k) bound."""
        control, state = objective.control, objective.state
        box = control.space.norm(np.maximum(np.abs(control.lower), np.abs(control.upper)))
        misfit = state.space.norm(state.tracked * (y - state.target))
        return box / misfit if box > 0 and misfit > 0 else 1.0


def balanced_step(norm: float, alpha: float) -> float:
    """x = alpha r = s, the largest with x^2 ||S||^2/alpha = 0.999 min(4 (1 + x)/(3 + x), (4 + 2 x)/3).

    Notes
    -----
    Each bound is a polynomial in x: c x^2 (3 + x) = 4 (1 + x) and 3 c x^2 = 4 + 2 x with c = ||S||^2 / (0.999 alpha);
    the smaller positive root satisfies both.
    """
    c = norm**2 / (SAFETY * alpha)
    quadratic = (1.0 + np.sqrt(1.0 + 12.0 * c)) / (3.0 * c)
    cubic = max(
        root.real for root in np.roots([c, 3.0 * c, -4.0, -4.0]) if abs(root.imag) < 1e-12 * abs(root)
    )
    return float(min(quadratic, cubic))


def _adjoint(map: SolutionMap, at: Linearisation, p: Array) -> Adjoint:
    """S'* p, without a solve where p = 0."""
    if not p.any():
        return Adjoint(map.control.zeros(), map.solution.zeros(), 0.0)
    return at.solve_adjoint(p)
