"""Globalised semismooth Newton on the normal map.

Find the dual variable l with R(l) = l - grad(F o S)(z(l)) = 0, where z(l) = argmin G + <l, .>; then z(l) is the optimum.

    1.  (I + chi H chi / alpha) w = -chi R by conjugate gradients, chi the indicator of the inactive set, H the Hessian
        of F o S; w = chi d
    2.  d = -R - H w / alpha
    3.  l+ = l + t d, t halved until ||R|| decreases

References
----------
G. Stadler, Comput. Optim. Appl. 44 (2009) 159-181; the normal map: S. M. Robinson, Math. Oper. Res. 17 (1992) 691-714.
Undamped active sets cycle already on small problems, hence step 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import ProblemError
from ..maps import Linearisation, SolutionMap
from ..space import Array
from ..terms import Objective
from .loop import Method, Start, State


@dataclass(frozen=True, eq=False)
class NewtonState(State):
    """l is the dual variable with u = argmin G + <l, .>, first the norm of the first residual."""

    l: Array
    first: float
    field: Array
    at: Linearisation | None = None


@dataclass(frozen=True)
class SemismoothNewton(Method):
    """Semismooth Newton with conjugate gradients and backtracking, for alpha > 0; two solves a CG step and a trial.

    Parameters
    ----------
    max_cg : limit of conjugate gradient steps in one Newton step.

    Examples
    --------
    >>> method = SemismoothNewton()
    """

    max_cg: int = 500

    name: ClassVar[str] = "semismooth Newton"
    dual_certifies: ClassVar[bool] = True
    state: ClassVar[type[State]] = NewtonState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> NewtonState:
        if objective.control.alpha == 0:
            raise ProblemError(
                "SemismoothNewton needs a Tikhonov term with alpha > 0: use PrimalDual or FISTA."
            )
        at = map.at(start.u)
        dual = objective.state.gradient(at.value)
        return self._evaluated(objective, map, at.adjoint(dual), np.inf, at.state)

    def _evaluated(
        self, objective: Objective, map: SolutionMap, l: Array, first: float, field: Array
    ) -> NewtonState:
        u = objective.control.argmin(l)
        at = map.at(u, field)
        y = at.value
        dual = objective.state.gradient(y)
        adjoint = at.solve_adjoint(dual)
        first = min(first, map.control.norm(l - adjoint.gradient))
        return NewtonState(u, y, dual, adjoint, l, first, at.state, at)

    def step(self, objective: Objective, map: SolutionMap, state: NewtonState) -> NewtonState:  # type: ignore[override]
        space, alpha = map.control, objective.control.alpha
        residual = state.l - state.adjoint.gradient
        size = space.norm(residual)
        if size == 0.0:
            return state
        at = state.at if state.at is not None else map.at(state.u, state.field)
        chi = objective.control.inactive(state.l)

        def hessian(h: Array) -> Array:
            return at.hessian(h, state.adjoint, objective.state.tracked)

        tolerance = min(0.1, np.sqrt(size / max(state.first, size)))
        hessian_w = self._inner(hessian, chi, residual, alpha, space, tolerance)
        direction = -residual - hessian_w / alpha  # 2
        return self._search(objective, map, state, direction, size)

    def _inner(self, hessian, chi, residual: Array, alpha: float, space, tolerance: float) -> Array:
        """H w for the solution w of step 1; stops at negative curvature."""
        w, hw = space.zeros(), space.zeros()
        r = -np.where(chi, residual, 0.0)
        d, rr = r, space.inner(r, r)
        target = tolerance**2 * rr
        for _ in range(self.max_cg):
            if rr <= target or rr == 0.0:
                break
            hd = hessian(d)
            ad = d + np.where(chi, hd, 0.0) / alpha
            curvature = space.inner(d, ad)
            if curvature <= 0.0:
                break
            step = rr / curvature
            w, hw, r = w + step * d, hw + step * hd, r - step * ad
            rr, before = space.inner(r, r), rr
            d = r + (rr / before) * d
        return hw

    def _search(
        self, objective, map: SolutionMap, state: NewtonState, direction: Array, size: float
    ) -> NewtonState:
        length = 1.0
        while True:
            trial = self._evaluated(objective, map, state.l + length * direction, state.first, state.field)
            new = map.control.norm(trial.l - trial.adjoint.gradient)
            if new <= (1.0 - 1e-4 * length) * size or length < 1e-4:
                return trial
            length /= 2
