"""Semismooth Newton on the normal map of F(S(u)) + G(u), for nonlinear S and smooth F.

Find l with R(l) = l - grad(F o S)(u) = 0, u = argmin G + <l, .>:

    1.  (I + D H) w = -D R   by conjugate gradients, H the Hessian of F o S at u and D = -u'(l)
    2.  l+ = l + t d,  d = -R - H w,  t halved until ||R|| decreases; if it does not, one proximal gradient step

References
----------
S. M. Robinson, Math. Oper. Res. 17 (1992) 691-714. D, 1/alpha on the inactive set: G. Stadler, Comput. Optim. Appl. 44
(2009) 159-181.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from math import sqrt
from typing import ClassVar

from ..arrays import Array
from ..errors import ConvergenceError
from ..linear.cg import conjugate_gradients
from ..maps import Linearisation, SolutionMap
from ..terms import Objective
from .method import CONTROL, Algorithm, Start, State
from .proximal_gradient import backtrack


@dataclass(frozen=True, eq=False, repr=False)
class NormalMapState(State):
    """u = argmin G + <l, .>, (dual, adjoint) those of S(u); norm is that of the last proximal gradient step."""

    l: Array = field(metadata=CONTROL)
    first_residual: float
    smallest_residual: float
    norm: float
    at: Linearisation | None = None


@dataclass(frozen=True)
class NormalMapNewton(Algorithm[NormalMapState]):
    """See the module; two solves a CG step. Parameters as in `SemismoothNewton`."""

    forcing: float
    max_cg: int

    state: ClassVar[type[State]] = NormalMapState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> NormalMapState:
        at, norm = map.at(start.u), sqrt(objective.control.alpha)
        p = objective.state.gradient(at.value)
        adjoint = at.solve_adjoint(p)
        with suppress(ConvergenceError):  # of the state at argmin G + <q, .>
            state = _evaluated(objective, map, adjoint.gradient, at.warm, norm)
            if objective.value(state.u, state.y) <= objective.value(start.u, at.value):
                return state
        u, _, norm = backtrack(objective, map, State(start.u, at.value, p, adjoint, warm=at.warm), norm)
        return _evaluated(objective, map, adjoint.gradient + norm**2 * (u - start.u), at.warm, norm)

    def step(self, objective: Objective, map: SolutionMap, state: NormalMapState) -> NormalMapState:
        space = map.control
        at = state.at or map.at(state.u, state.warm)
        residual = state.l - state.adjoint.gradient
        if not space.any(residual):
            return state
        derivative, second = objective.control.derivative(state.l), objective.state.second(state.y)

        def operator(w: Array) -> tuple[Array, Array]:
            hessian_w = at.second(w, state.dual, state.adjoint, second)
            return w + derivative(hessian_w), hessian_w

        size, first = space.norm(residual), state.first_residual
        tolerance = 0.1 * min(self.forcing, sqrt(size / first) if first > 0 else 1.0)
        _, hessian_w = conjugate_gradients(operator, derivative(-residual), space.inner, tolerance, self.max_cg)  # 1
        d = -residual - hessian_w
        for t in (0.5**k for k in range(6)):  # 2
            try:
                trial = _evaluated(objective, map, state.l + t * d, at.warm, state.norm, state)
            except ConvergenceError:  # of the state at the trial control
                continue
            if trial.smallest_residual <= (1.0 - 0.1 * t) * state.smallest_residual:
                return trial
        u, _, norm = backtrack(objective, map, state, state.norm)
        l = state.adjoint.gradient + norm**2 * (u - state.u)  # so that u = argmin G + <l, .>
        return _evaluated(objective, map, l, at.warm, norm, state)


def _evaluated(
    objective: Objective,
    map: SolutionMap,
    l: Array,
    warm: Array | None,
    norm: float,
    before: NormalMapState | None = None,
) -> NormalMapState:
    """The state with the control, its gradient and the residual of l."""
    u = objective.control.argmin(l)
    at = map.at(u, warm)
    dual = objective.state.gradient(at.value)
    adjoint = at.solve_adjoint(dual)
    size = map.control.norm(l - adjoint.gradient)
    first, smallest = (before.first_residual, min(before.smallest_residual, size)) if before else (size, size)
    return NormalMapState(u, at.value, dual, adjoint, l, first, smallest, norm, at, warm=at.warm)
