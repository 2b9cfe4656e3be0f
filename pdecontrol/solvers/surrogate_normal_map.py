"""Semismooth Newton directions from a surrogate S~, with exact residuals, on the normal map of nonlinear problems.

Find l with R(l) = l - grad(F o S)(u) = 0, u = argmin G + <l, .>:

    1.  (I + D H~) w = -D R,  d = -R - H~ w   by conjugate gradients, H~ the Hessian of F o S~ at u, D = -u'(l)
    2.  l+ = l + t d,  t halved until |R| decreases: an exact state and an exact adjoint solve each

It begins with l of the surrogate's optimum. Where H~ is that of the surrogate's state but F' that of the exact one, the
direction is that of an inexact Newton method. The surrogate is given up for good

    3.  where it fails, gives what is not finite, or no t reduces |R|, or two steps do not halve it.

Then the exact method of `normal_map_newton` goes on, from l if |R(l)| is a tenth of that of a cold start, else from the
latter.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, fields
from math import inf, sqrt
from typing import ClassVar

import numpy as np

from ..arrays import Array
from ..errors import ConvergenceError
from ..linear.cg import conjugate_gradients
from ..maps import SolutionMap
from ..terms import Objective
from .method import Algorithm, Start, State, cold_start
from .normal_map_newton import NormalMapNewton, NormalMapState, evaluated
from .surrogate import ENOUGH, FAILURES, SHARPER, WORTH, applying

HALVED = 0.5  # what two steps leave of the residual where the surrogate is worth its directions
TRIALS = 3  # of step lengths


@dataclass(frozen=True, eq=False, repr=False)
class SurrogateNormalMapState(NormalMapState):
    """The residuals |R| now and one step ago; `trusted` while directions come from the surrogate."""

    residual: float = inf
    before: float = inf
    trusted: bool = True


@dataclass(frozen=True)
class SurrogateNormalMapNewton(Algorithm[SurrogateNormalMapState]):
    """See the module. Parameters as in `SurrogateNewton`."""

    surrogate: SolutionMap
    forcing: float
    max_cg: int

    state: ClassVar[type[State]] = SurrogateNormalMapState

    @property
    def _exact(self) -> NormalMapNewton:
        return NormalMapNewton(self.forcing, self.max_cg)

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> SurrogateNormalMapState:
        l = None
        if start.cold:
            with applying(self.surrogate, map):
                l = self._own(objective)
        if l is not None:
            with suppress(ConvergenceError):  # of the state at the surrogate's optimum
                began = evaluated(objective, map, l, None, sqrt(objective.control.alpha))
                return _trusted(began, began.first_residual, None)
        return _untrusted(self._exact.begin(objective, map, start))

    def step(self, objective: Objective, map: SolutionMap, state: SurrogateNormalMapState) -> SurrogateNormalMapState:
        l = state.l
        if not state.trusted or l is None:
            return self._without(objective, map, state)
        if not map.control.any(l - state.adjoint.gradient):
            return state
        with applying(self.surrogate, map):
            d = self._direction(objective, state, l)
        if d is None:
            return self._without(objective, map, state)
        map.solves.directions += 1
        for t in (0.5**k for k in range(TRIALS)):  # 2
            with suppress(ConvergenceError):  # of the state at the trial control
                trial = evaluated(objective, map, l + t * d, state.warm, state.norm, state)
                size = map.control.norm(l + t * d - trial.adjoint.gradient)
                if size <= (1.0 - 0.1 * t) * state.residual:
                    return _trusted(trial, size, state)
        return self._without(objective, map, state)  # 3

    def _direction(self, objective: Objective, state: SurrogateNormalMapState, l: Array) -> Array | None:
        space, surrogate, residual = objective.control.space, self.surrogate, l - state.adjoint.gradient
        derivative, second = objective.control.derivative(l), objective.state.second(state.y)
        try:
            at = surrogate.at(state.u)
            adjoint = at.solve_adjoint(state.dual) if surrogate.twice else None

            def operator(w: Array) -> tuple[Array, Array]:
                if adjoint is None:
                    hessian_w = at.adjoint(second(at.tangent(w)))
                else:
                    hessian_w = at.second(w, state.dual, adjoint, second)
                return w + derivative(hessian_w), hessian_w

            tolerance = SHARPER * min(self.forcing, sqrt(state.residual / state.first_residual))
            right = derivative(-residual)
            _, hessian_w, _ = conjugate_gradients(operator, right, space.inner, tolerance, self.max_cg)  # 1
        except FAILURES:
            return None
        d = -residual - hessian_w
        return None if space.any(~np.isfinite(d)) else d

    def _own(self, objective: Objective) -> Array | None:
        """l of the surrogate's optimum, None where it has none."""
        newton, surrogate = self._exact, self.surrogate
        try:
            state = newton.begin(objective, surrogate, cold_start(objective, surrogate))
            for _ in range(30):
                if state.l is not None and state.smallest_residual <= ENOUGH * state.first_residual:
                    break
                state = newton.step(objective, surrogate, state)
        except FAILURES:
            return None
        l = state.adjoint.gradient if state.l is None else state.l
        return None if surrogate.control.any(~np.isfinite(l)) else l

    def _without(
        self, objective: Objective, map: SolutionMap, state: SurrogateNormalMapState
    ) -> SurrogateNormalMapState:
        """A step of the exact method."""
        if state.residual < inf:  # the first one
            cold = self._exact.begin(objective, map, cold_start(objective, map))
            if state.residual > WORTH * cold.first_residual:
                return _untrusted(cold)
        return _untrusted(self._exact.step(objective, map, state))


def _trusted(state: NormalMapState, size: float, before: SurrogateNormalMapState | None) -> SurrogateNormalMapState:
    """The state, and whether the surrogate is worth another step."""
    values = {item.name: getattr(state, item.name) for item in fields(NormalMapState)}
    trusted = before is None or size <= HALVED * before.before
    last = inf if before is None else before.residual
    return SurrogateNormalMapState(**values, residual=size, before=last, trusted=trusted)


def _untrusted(state: NormalMapState) -> SurrogateNormalMapState:
    values = {item.name: getattr(state, item.name) for item in fields(NormalMapState)}
    return SurrogateNormalMapState(**values, trusted=False)
