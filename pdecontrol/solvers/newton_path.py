"""Semismooth Newton on the dual of F(S(u)) + G(u) along a path of falling Tikhonov weights, for S = S(0) + L.

    1.  Newton's method at alpha itself, by conjugate gradients, while its steps are not damped much, and not for long;
    2.  else from p = 0 at the weight a = max(alpha, 0.01 ||L||^2), but where step 1 has come near the optimum:
    3.  Newton steps at the weight a, until the bound of its certificate is a tenth of the control
    4.  the active sets of a are kept for the weight b = a/10, at most, in equal ratios to alpha:
            v = argmin of b/2 ||u - r||^2 + <q + s, u> where z is inactive at a, s the slope there of the L1 term;
            v = z elsewhere
            (I + P L D L*) d = F'(S(v)) - p,  D = 1/b where z is inactive, 0 elsewhere
            p+ = p + d solves the problem with these sets;  back to step 3 with a = b

    5.  Where few numbers are observed or controlled, L is known by its rows or columns after as many solves. Then all
        this is dense algebra, and exact solves correct what rounding left.

Step 4 makes the number of Newton steps nearly independent of alpha. Where a control is inactive it hardly changes with
the weight, so that q falls with it: sets of the old q at the new weight would be wrong by that factor.

References
----------
As of `dual_newton`. Paths of active-set methods: M. Hintermueller, K. Kunisch, SIAM J. Optim. 17 (2006) 159-187.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import ceil, inf, log, sqrt
from typing import ClassVar

import numpy as np

from ..few import by_numbers, count
from ..maps import SolutionMap, map_norm
from ..terms import Objective
from .dual_newton import DualNewton, DualState, newton_step, projected
from .method import INCREMENT, PRODUCT, Algorithm, Start, State, accuracy, cold_start

CHEAP, DAMPED = 60, 0.4  # solves at alpha itself, and the least step there, beyond which the path is taken
LONG, SHORT = 3, 40  # times as many solves where steps are not damped at all; steps of conjugate gradients there
FIRST, FACTOR = 0.01, 0.1  # the first weight beside ||L||^2, and what the next is of one
SMALL = 1e-3  # alpha beside ||L||^2, where a start with the dual vector of a larger weight is worth step 4
IDLE = 8  # steps that bring nothing, after which rounding is what is left
FAR = 20.0  # the relative bound at the next weight that tells that its active sets are others
STAGE = 0.1  # the relative bound at which a weight has served its purpose
DIRECT = 16, 30  # controls, observed numbers, for which Newton's method at alpha is not even tried
MOST, ROUNDED = 100, 1e-8  # steps by few numbers, and the relative bound from which the next gain only rounding
SHARP = 0.1  # of the tolerance of conjugate gradients on the path
FROZEN, CAREFUL = 3e-4, 1e-8  # those with frozen sets, and after a step that was far from 1
LINEAR = 1e-7  # of the system that is all there is to solve without bounds and L1 term


@dataclass(frozen=True, eq=False, repr=False)
class PathState(DualState):
    """u = argmin of F(S(u)) + G(u) with the Tikhonov weight of the stage.

    Attributes
    ----------
    weight, last : of the stage, and whether it is alpha.
    norm : ||P L||, 0 while alpha itself is tried.
    tried : the solves of that.
    step : the length of the last Newton step.
    few : whether Newton systems are solved by the rows or columns of L.
    least, idle : the least bound of the stage, and how many steps have brought nothing since, damped ones an eighth.
    """

    weight: float
    last: bool
    norm: float = 0.0
    tried: int = 0
    step: float = 1.0
    few: bool = False
    least: float = inf
    idle: float = 0.0

    @property
    def stage(self) -> float | None:
        return self.weight

    @property
    def settled(self) -> bool:
        return self.idle >= IDLE

    @property
    def look(self) -> bool | None:
        return self.last


@dataclass(frozen=True)
class NewtonPath(Algorithm[PathState]):
    """See the module; two solves a step and those of its Newton system. Parameters as in `SemismoothNewton`."""

    forcing: float
    max_cg: int

    state: ClassVar[type[State]] = PathState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> PathState:
        before, (numbers, rows) = map.solves.total, count(map)
        if 0 < numbers <= DIRECT[rows] and before + numbers + 4 <= map.solves.limit:
            return self._by_numbers(objective, map)
        alpha, norm = objective.control.alpha, map.norm_bound
        if start.p is not None and start.weight > 1.5 * alpha and (norm == 0.0 or alpha <= SMALL * norm**2):
            earlier, norm = weighted(objective, start.weight), norm or 1.0
            known = projected(earlier, map, start.p, map.at(start.u).solve_adjoint(start.p), None, 0.0)
            return self._next(objective, map, _staged(known, objective, start.weight, norm))
        state = DualNewton(self.forcing, self.max_cg).begin(objective, map, start)
        return _staged(state, objective, alpha, tried=map.solves.total - before)

    def step(self, objective: Objective, map: SolutionMap, state: PathState) -> PathState:
        alpha, before = objective.control.alpha, map.solves.total
        if state.last and not map.observation.any(objective.state.gradient(state.y) - state.dual):
            return state
        if state.few:
            new, step = newton_step(objective, map, state, self.forcing, self.max_cg, 1.0, by_numbers(map))
            return _judged(_staged(new, objective, alpha, step=step, few=True), objective, state)
        if state.last and objective.control.linear:
            norm = map.norm_bound if 0.0 < map.norm_bound < inf else None
            new, step = newton_step(objective, map, state, LINEAR, self.max_cg, norm)
            return _judged(_staged(new, objective, alpha, state.norm, step=step), objective, state)
        if state.norm == 0.0:
            if state.step >= DAMPED and state.tried < CHEAP * (LONG if state.step == 1.0 else 1):  # 1
                new, step = newton_step(objective, map, state, self.forcing, min(SHORT, self.max_cg))
                return _staged(new, objective, alpha, tried=state.tried + map.solves.total - before, step=step)
            few = 0 < count(map)[0] <= (CHEAP if state.at_once else inf)  # rows of more take more solves than a path
            return self._by_numbers(objective, map) if few else self._first(objective, map, state)
        if state.last or not _solved(objective, state):  # 3
            usual = state.step >= 0.5
            forcing = SHARP * self.forcing if usual else CAREFUL
            new, step = newton_step(weighted(objective, state.weight), map, state, forcing, self.max_cg, state.norm)
            return _judged(_staged(new, objective, state.weight, state.norm, step=step), objective, state)
        return self._next(objective, map, state)

    def _by_numbers(self, objective: Objective, map: SolutionMap) -> PathState:
        """The solution by the rows or columns of L, to rounding, as the map sees it."""
        few = by_numbers(map)  # 5
        state, least = self.begin(objective, few, cold_start(objective, map)), inf
        for _ in range(MOST):
            state = self.step(objective, few, state)
            bound = _bound(objective, state) if state.last else inf
            if 0.5 * least <= bound <= ROUNDED * map.control.norm(state.u):
                break
            least = min(bound, least)
        adjoint = map.at(state.u).solve_adjoint(state.dual)
        z = objective.control.argmin(adjoint.gradient)
        own = map.at(z)
        exact = DualState(z, own.value, state.dual, adjoint, state.first_residual, warm=own.warm, own=own)
        return _staged(exact, objective, objective.control.alpha, few=True)

    def _first(self, objective: Objective, map: SolutionMap, state: PathState) -> PathState:
        """The first weight; alpha itself, with what has been found, where that is all or nearly solved."""
        alpha, at = objective.control.alpha, map.at(map.control.zeros())
        norm = max(map.norm_bound or map_norm(map, at, objective.state.free), sqrt(alpha))
        weight = max(alpha, FIRST * norm**2)
        if weight <= 1.5 * alpha or (state.step == 1.0 and _solved(objective, state)):
            return replace(state, norm=norm)
        p = objective.state.start()
        new = projected(weighted(objective, weight), map, p, at.solve_adjoint(p), None, 0.0)  # 2
        return _staged(new, objective, weight, norm)

    def _next(self, objective: Objective, map: SolutionMap, state: PathState) -> PathState:
        """The state at the next weight; at one not as far where that turns out to be too far."""
        alpha = objective.control.alpha
        stages = max(1, ceil(log(alpha / state.weight) / log(FACTOR) - 0.18))
        weight = alpha if stages == 1 else state.weight * (alpha / state.weight) ** (1.0 / stages)
        for _ in range(2):
            new = self._frozen(objective, map, state, weight)
            if _bound(objective, new) <= FAR * map.control.norm(new.u):
                break
            weight = sqrt(weight * state.weight)
        return new

    def _frozen(self, objective: Objective, map: SolutionMap, state: PathState, weight: float) -> PathState:
        """The solution for a weight with the active sets of that of the state."""
        old, new = weighted(objective, state.weight).control, weighted(objective, weight)
        p, q, wanted = state.dual, state.adjoint.gradient, accuracy(objective, map, PRODUCT)
        inactive = old.derivative(q)(np.ones_like(q)) > 0
        slope = old.beta * np.sign(old.alpha * old.reference - q)
        v = np.where(inactive, new.control.reference - (q + slope) / weight, state.u)  # 4
        at, before = map.at(v, state.warm, wanted), map.solves.systems
        d, change = map.newton_system(
            at, objective.state.gradient(at.value) - p, lambda h: inactive * h / weight,
            objective.state.second(at.value), FROZEN, 0 if state.at_once else self.max_cg, state.norm,
        )  # fmt: skip
        near = None if state.adjoint.state is None or change.state is None else state.adjoint.state + change.state
        adjoint = map.at(v, accuracy=accuracy(objective, map, INCREMENT)).solve_adjoint(p + d, near)
        solved = projected(new, map, p + d, adjoint, at.warm, state.first_residual)
        solved = replace(solved, at_once=map.solves.systems > before)
        return _staged(solved, objective, weight, state.norm)


def weighted(objective: Objective, weight: float) -> Objective:
    """The objective with another Tikhonov weight."""
    return replace(objective, control=replace(objective.control, alpha=weight))


def _bound(objective: Objective, state: PathState) -> float:
    """On the distance to the optimum for the weight of the stage, but for rounding."""
    return objective.state.distance(state.y, state.dual) / (2.0 * sqrt(state.weight))


def _solved(objective: Objective, state: PathState) -> bool:
    """Whether the weight of the stage has served its purpose."""
    return _bound(objective, state) <= STAGE * objective.control.space.norm(state.u)


def _judged(new: PathState, objective: Objective, old: PathState) -> PathState:
    """A state that knows whether its step has brought anything."""
    bound = _bound(objective, new)
    if bound <= 0.9 * old.least:
        return replace(new, least=bound)
    return replace(new, least=old.least, idle=old.idle + (1.0 if abs(new.step - 1.0) <= 0.1 else 0.125))


def _staged(
    state: DualState, objective: Objective, weight: float, norm: float = 0.0, tried: int = 0, step: float = 1.0,
    few: bool = False,
) -> PathState:  # fmt: skip
    """A state of Newton's method as one of the path."""
    values = {item.name: getattr(state, item.name) for item in fields(DualState)}
    last = weight == objective.control.alpha
    return PathState(**values, weight=weight, last=last, norm=norm, tried=tried, step=step, few=few)
