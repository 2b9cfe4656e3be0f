"""Semismooth Newton directions from a surrogate S~ of the map, with exact residuals, on the dual of affine problems.

    1.  (I + P L~ D L~*) d = F'(S(z)) - p   by conjugate gradients, D = -z'(q), P = F'': applications of the surrogate
    2.  p+ = p + t d with |phi'(t)| <= 0.1 |phi'(0)| along d, where q = L* p is affine: one exact adjoint solve
    3.  z = argmin G + <q, .>, S(z): one exact state solve, and with it the certificate of (z, p)

It begins with the dual vector of the problem that has S~ in the place of S. The surrogate is given up for good

    4.  where it fails, or gives what is not finite or no direction of descent,
    5.  where four steps do not halve the residual r = |F'(S(z)) - p|, which may grow in one, or reduce it by less a
        solve than a step of the exact method would, which takes as many steps of conjugate gradients as the
        surrogate's, two solves each.

Then the exact method goes on, from the dual vector reached if r is a tenth of that of a cold start, else from there.

References
----------
As of `dual_newton`, whose directions these approximate. What is exact decides, as with inexact models in trust regions:
D. P. Kouri, M. Heinkenschloss, D. Ridzal, B. G. van Bloemen Waanders, SIAM J. Sci. Comput. 35 (2013) A1847-A1879.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import inf, log, sqrt
from typing import ClassVar

import numpy as np

from ..arrays import Array
from ..linear.cg import conjugate_gradients
from ..maps import Adjoint, SolutionMap
from ..terms import Objective
from .dual_newton import line_search
from .method import Algorithm, Start, State, cold_start
from .newton_path import NewtonPath, PathState
from .surrogate import ENOUGH, FAILURES, SHARPER, WORTH, applying, usable

STEPS = 60  # to the optimum of the surrogate
WINDOW, HALVED = 4, 0.5  # so many steps leave that of the residual where the surrogate is worth its directions


@dataclass(frozen=True, eq=False, repr=False)
class SurrogateState(PathState):
    """The residual |F'(S(z)) - p|, the least one since the last look at the surrogate, that before, and how many steps
    ago that was; `trusted` while directions come from the surrogate.
    """

    residual: float = inf
    least: float = inf
    before: float = inf
    waited: int = 0
    trusted: bool = True


@dataclass(frozen=True)
class SurrogateDualNewton(Algorithm[SurrogateState]):
    """See the module; two exact solves a step. Parameters as in `SurrogateNewton`."""

    surrogate: SolutionMap
    forcing: float
    max_cg: int

    state: ClassVar[type[State]] = SurrogateState

    @property
    def _exact(self) -> NewtonPath:
        return NewtonPath(self.forcing, self.max_cg)

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> SurrogateState:
        p = start.p
        if start.cold:
            with applying(self.surrogate, map):
                p = self._dual(objective)
        if p is None:
            return _untrusted(self._exact.begin(objective, map, start))
        return self._projected(objective, map, p, map.at(start.u).solve_adjoint(p))

    def step(self, objective: Objective, map: SolutionMap, state: SurrogateState) -> SurrogateState:
        residual = objective.state.gradient(state.y) - state.dual
        if not map.observation.any(residual):
            return state
        d, worth = None, 0.0
        if state.trusted:
            with applying(self.surrogate, map):
                d, worth = self._direction(objective, state, residual)
        if d is None:
            return self._without(objective, map, state)
        map.solves.directions += 1
        change = map.at(state.u).solve_adjoint(d)  # 2
        q, q_d = state.adjoint.gradient, change.gradient
        slope, curvature = -map.observation.inner(residual, d), map.observation.inner(d, d)

        def along(t: float) -> float:
            moved = objective.control.argmin(q + t * q_d) - state.u
            return slope + t * curvature - map.control.inner(moved, q_d)

        t = line_search(along, slope)
        return self._projected(objective, map, state.dual + t * d, _sum(state.adjoint, t, change), state, worth)

    def _projected(
        self,
        objective: Objective,
        map: SolutionMap,
        p: Array,
        adjoint: Adjoint,
        before: SurrogateState | None = None,
        worth: float = 0.0,
    ) -> SurrogateState:
        """The state with the projected control of a dual vector, and whether the surrogate gains `worth` a solve."""
        z = objective.control.argmin(adjoint.gradient)
        at = map.at(z, None if before is None else before.warm)  # 3
        size = objective.state.distance(at.value, p)
        new = SurrogateState(
            z, at.value, p, adjoint, size, objective.control.alpha, True,
            warm=at.warm, own=at, residual=size, before=size,
        )  # fmt: skip
        if before is None:
            return new
        new = replace(new, first_residual=before.first_residual, before=before.before, waited=before.waited + 1)
        new = replace(new, least=min(before.least, size))
        if new.waited < WINDOW:
            return new
        gained = log(new.before / new.least) / (2 * WINDOW) if new.least > 0 else inf  # by each solve
        trusted = new.least <= HALVED * new.before and gained >= worth  # 5
        return replace(new, before=new.least, least=inf, waited=0, trusted=trusted)

    def _direction(self, objective: Objective, state: SurrogateState, residual: Array) -> tuple[Array | None, float]:
        """The direction, None where there is none, and what the exact method gains a solve, as a logarithm."""
        space, solves = objective.state.space, self.surrogate.solves
        derivative, second = objective.control.derivative(state.adjoint.gradient), objective.state.second(state.y)
        tolerance, before = min(self.forcing, sqrt(state.residual / state.first_residual)), solves.total
        try:
            at = self.surrogate.at(state.u)

            def operator(d: Array) -> tuple[Array, Array]:
                return d + second(at.tangent(derivative(at.adjoint(d)))), np.zeros(())

            d, *_ = conjugate_gradients(operator, residual, space.inner, SHARPER * tolerance, self.max_cg)  # 1
        except FAILURES:  # 4
            return None, 0.0
        gain = log(1.0 / tolerance)
        steps = 0.5 * (solves.total - before) * gain / (gain + log(1.0 / SHARPER))
        return (d if usable(d, residual, space) else None), gain / (2.0 * steps + 2.0)

    def _without(self, objective: Objective, map: SolutionMap, state: SurrogateState) -> SurrogateState:
        """A step of the exact method."""
        if state.own is not None:  # the first one
            cold = self._exact.begin(objective, map, cold_start(objective, map))
            if state.residual > WORTH * cold.first_residual:
                return _untrusted(cold)
        return _untrusted(self._exact.step(objective, map, state))

    def _dual(self, objective: Objective) -> Array | None:
        """The dual vector of the surrogate's optimum, None where it has none."""
        surrogate = self.surrogate
        try:
            state = self._exact.begin(objective, surrogate, Start(surrogate.control.zeros(), cold=True))
            for _ in range(STEPS):
                if state.last and objective.state.distance(state.y, state.dual) <= ENOUGH * state.first_residual:
                    break
                state = self._exact.step(objective, surrogate, state)
        except FAILURES:
            return None
        return None if surrogate.observation.any(~np.isfinite(state.dual)) else state.dual


def _untrusted(state: PathState) -> SurrogateState:
    values = {item.name: getattr(state, item.name) for item in fields(PathState)}
    return SurrogateState(**(values | {"own": None}), trusted=False)


def _sum(adjoint: Adjoint, t: float, change: Adjoint) -> Adjoint:
    """S*(p + t d) from S* p and S* d, with the errors of both."""
    error = None if adjoint.error is None or change.error is None else adjoint.error + t * change.error
    state = None if adjoint.state is None or change.state is None else adjoint.state + t * change.state
    return Adjoint(adjoint.gradient + t * change.gradient, error, state)
