"""The proximal gradient method for F(S(u)) + G(u) with smooth F.

    1.  u+ = prox_tG(u - t grad(F o S)(u)),  t = 1/||S||^2, or found by backtracking where S is nonlinear

References
----------
A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2 (2009) 183-202.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from ..arrays import Array
from ..errors import ConvergenceError
from ..maps import Linearisation, SolutionMap, map_norm
from ..terms import Objective
from .method import INCREMENT, Algorithm, Start, State, accuracy


@dataclass(frozen=True, eq=False, repr=False)
class ForwardBackwardState(State):
    """norm is an estimate of the root of the gradient's Lipschitz constant, ||S'|| where F is half a square."""

    norm: float


@dataclass(frozen=True)
class ForwardBackward(Algorithm[ForwardBackwardState]):
    """See the module; `advance` is one step, of a fixed length or with backtracking."""

    norm: float | None
    advance: Callable[[Objective, SolutionMap, ForwardBackwardState], ForwardBackwardState]

    state: ClassVar[type[State]] = ForwardBackwardState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> ForwardBackwardState:
        at = map.at(start.u)
        norm = (self.norm or map_norm(map, at, objective.state.free)) / sqrt(objective.state.scale)
        return _evaluated(objective, start.u, at, norm)

    def step(self, objective: Objective, map: SolutionMap, state: ForwardBackwardState) -> ForwardBackwardState:
        return self.advance(objective, map, state)


def fixed_step(objective: Objective, map: SolutionMap, state: ForwardBackwardState) -> ForwardBackwardState:
    """A step for affine maps."""
    norm = state.norm
    u = objective.control.prox(state.u - state.adjoint.gradient / norm**2, 1.0 / norm**2)  # 1
    at = map.at(u, state.warm, accuracy(objective, map, INCREMENT))
    return _evaluated(objective, u, at, norm, state.adjoint.state)


def backtracked_step(objective: Objective, map: SolutionMap, state: ForwardBackwardState) -> ForwardBackwardState:
    """A step for nonlinear maps, which tries twice the last length first."""
    return _evaluated(objective, *backtrack(objective, map, state, state.norm / sqrt(2.0)))


def _evaluated(
    objective: Objective, u: Array, at: Linearisation, norm: float, adjoint_start: Array | None = None
) -> ForwardBackwardState:
    y = at.value
    dual = objective.state.gradient(y)
    adjoint = at.solve_adjoint(dual, adjoint_start)
    return ForwardBackwardState(u, y, dual, adjoint, norm, warm=at.warm)


def backtrack(objective: Objective, map: SolutionMap, state: State, norm: float) -> tuple[Array, Linearisation, float]:
    """A proximal gradient step whose length 1/norm^2 is halved until the quadratic model lies above F.

    Returns the control, the map there and the norm accepted.
    """
    value, q = objective.state.value(state.y), state.adjoint.gradient
    misfit = objective.state.distance(state.y, map.observation.zeros())
    rounding = 1e-14 * (abs(value) + map.observation.norm(state.y) * misfit)
    for _ in range(60):
        u = objective.control.prox(state.u - q / norm**2, 1.0 / norm**2)  # 1
        step = u - state.u
        model = value + map.control.inner(q, step) + 0.5 * norm**2 * map.control.norm(step) ** 2
        try:
            at = map.at(u, state.warm)
            if objective.state.value(at.value) <= model + rounding:
                return u, at, norm
        except ConvergenceError:  # of the state at the trial control
            pass
        norm *= sqrt(2.0)
    raise ConvergenceError("proximal gradient: no step length reduces the objective; check the map's adjoint.")
