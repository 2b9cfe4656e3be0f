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

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from ..errors import ProblemError
from ..maps import Adjoint, Linearisation, SolutionMap, map_norm
from ..problem import check_number
from ..space import Array, Space
from ..terms import Objective
from .method import INCREMENT, Method, Start, State, accuracy

Steps = Literal["classical", "enlarged", "balanced", "accelerated"] | tuple[float, float]
SAFETY = 0.999
PATIENCE = 20


@dataclass(frozen=True, eq=False, repr=False)
class PrimalDualState(State):
    """r and s are the steps, norm the estimate of ||S'||, trail the last four observations, y being the latest.

    The primal step takes the gradient S'* p, extrapolated where alpha = 0 and the steps are accelerated.

    For nonlinear maps y = S(ubar), the adjoint is taken at ubar, least is the smallest ||u+ - u|| so far and waited the
    number of iterations without a smaller one.
    """

    r: float
    s: float
    norm: float
    trail: tuple[Array, ...]
    gradient: Array
    ubar: Array
    least: float = np.inf
    waited: int = 0


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
        no theorem holds, both steps shrink when a secant shows a larger norm, and are halved when the control has
        not come to rest any further for 20 iterations.
    norm : ||S||, estimated by Lanczos iteration (and counted) if None.

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
            if self.steps not in ("classical", "enlarged", "balanced", "accelerated"):
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
        at = map.at(start.u, accuracy=accuracy(objective, map, INCREMENT))
        if start.p is not None:
            p = start.p
        else:
            p = objective.state.initial_dual() if start.cold else objective.state.gradient(at.value)
        norm = self.norm if self.norm is not None else map_norm(at, map, objective.state.tracked)
        r, s = self._steps(objective, norm, at.value)
        y = at.value
        adjoint = _adjoint(map, at, p)
        return PrimalDualState(start.u, y, p, adjoint, at.state, r, s, norm, (y,), adjoint.gradient, start.u)

    def step(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> PrimalDualState:
        return (self._affine_step if map.affine else self._nonlinear_step)(objective, map, state)

    def best_dual(self, objective: Objective, state: PrimalDualState) -> tuple[Array, None]:
        """S(u) - y_d at observations extrapolated from the last four, which the slowest modes hardly enter."""
        return objective.state.gradient(extrapolate(state.trail, objective.state.space)), None

    def _affine_step(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> PrimalDualState:
        alpha, r, s = objective.control.alpha, state.r, state.s
        u = objective.control.prox(state.u - r * state.gradient, r)  # 1
        eta = accuracy(objective, map, INCREMENT)
        at = map.at(u, state.field, eta)
        y = at.value
        theta = self._theta(alpha, r, s)
        if self.steps == "accelerated" and alpha == 0:  # F* is strongly convex: the dual is extrapolated instead
            p = objective.state.prox_conjugate(state.dual + s * y, s)  # 3
            adjoint = _adjoint(map, at, p, state.adjoint.field, eta)
            gradient = adjoint.gradient + theta * (adjoint.gradient - state.adjoint.gradient)  # 2
            r, s = r / theta, s * theta
        else:
            y_bar = y + theta * (y - state.y)  # 2, S being affine
            p = objective.state.prox_conjugate(state.dual + s * y_bar, s)  # 3
            adjoint = _adjoint(map, at, p, state.adjoint.field, eta)
            gradient = adjoint.gradient
        trail = (*state.trail[-3:], y)
        return PrimalDualState(u, y, p, adjoint, at.state, r, s, state.norm, trail, gradient, u)

    def _nonlinear_step(self, objective: Objective, map: SolutionMap, state: PrimalDualState) -> PrimalDualState:
        r, s = state.r, state.s
        u = objective.control.prox(state.u - r * state.gradient, r)  # 1
        ubar = u + self._theta(objective.control.alpha, r, s) * (u - state.u)  # 2
        at = map.at(ubar, state.field)
        y = at.value
        p = objective.state.prox_conjugate(state.dual + s * y, s)  # 3
        norm = max(state.norm, _secant(objective, map, ubar - state.ubar, y - state.y))
        if norm > state.norm:
            r, s = r * state.norm / norm, s * state.norm / norm
        change = map.control.norm(u - state.u)
        least, waited = (change, 0) if change < 0.9 * state.least else (state.least, state.waited + 1)
        if waited == PATIENCE:
            r, s, least, waited = r / 2, s / 2, np.inf, 0
        adjoint, trail = _adjoint(map, at, p), (*state.trail[-3:], y)
        return PrimalDualState(u, y, p, adjoint, at.state, r, s, norm, trail, adjoint.gradient, ubar, least, waited)

    def _theta(self, alpha: float, r: float, s: float) -> float:
        """The length of the extrapolation."""
        if self.steps != "accelerated":
            return 1.0
        return 1.0 / (1.0 + 2.0 * alpha * r) if alpha > 0 else 1.0 / float(np.sqrt(1.0 + 2.0 * s))

    def _steps(self, objective: Objective, norm: float, y: Array) -> tuple[float, float]:
        if not isinstance(self.steps, str):
            return self.steps
        alpha = objective.control.alpha
        if norm == 0.0:  # nothing that is tracked depends on the control: any steps will do
            return 1.0, 1.0
        if alpha == 0:
            ratio = _scale(objective, y)
            root = float(np.sqrt(SAFETY * (4.0 / 3.0 if self.steps in ("enlarged", "balanced") else 1.0)))
            return ratio * root / norm, root / (ratio * norm)
        x = float(np.sqrt(alpha)) / norm
        if self.steps == "enlarged":
            return SAFETY * (4.0 + 2.0 * x) / 3.0 * x / alpha, x
        if self.steps == "balanced":
            x = balanced_step(norm, alpha)
        return x / alpha, x


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


def extrapolate(trail: Sequence[Array], space: Space) -> Array:
    """Reduced rank extrapolation of a linearly converging sequence: its affine combination of least change.

    Notes
    -----
    The weights g with sum 1 minimise ||sum_i g_i (y_{i+1} - y_i)||: the modes of the iteration that are slow or
    oscillate are removed, one less than there are weights. R. P. Eddy, in: Information Linkage Between Applied
    Mathematics and Industry (1979) 387-396.
    """
    changes = [after - before for before, after in pairwise(trail)]
    duals = [space.dual(change) for change in changes]
    gram = np.array([[space.apply(b, a) for b in duals] for a in changes])
    if len(changes) < 2 or not np.trace(gram) > 0:
        return trail[-1]
    weights = np.linalg.solve(gram / np.trace(gram) + 1e-12 * np.eye(len(gram)), np.ones(len(gram)))
    return np.tensordot(weights / weights.sum(), np.stack(trail[1:]), axes=1)


def _adjoint(
    map: SolutionMap, at: Linearisation, p: Array, start: Array | None = None, eta: float | None = None
) -> Adjoint:
    """S'* p, without a solve where p = 0; from a solution, with the accuracy eta."""
    if not map.observation.any(p):
        return Adjoint(map.control.zeros(), map.solution.zeros(), 0.0)
    return at.solve_adjoint(p, start, eta)


def _scale(objective: Objective, y: Array) -> float:
    """sqrt(r/s) for alpha = 0: the size of the box over that of the misfit, which balances the O(1/k) bound."""
    control, state = objective.control, objective.state
    box = control.radius
    misfit = state.space.norm(state.tracked * (y - state.target))
    return box / misfit if box > 0 and misfit > 0 else 1.0


def _secant(objective: Objective, map: SolutionMap, du: Array, dy: Array) -> float:
    """||S(ubar+) - S(ubar)|| / ||ubar+ - ubar||, a lower bound of the Lipschitz constant that costs no solve."""
    length = map.control.norm(du)
    return map.observation.norm(objective.state.tracked * dy) / length if length > 0 else 0.0
