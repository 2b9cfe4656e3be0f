"""FISTA with restart for F(S(u)) + G(u) with nonlinear S and smooth F.

    1.  u+ = prox_tG(v - t grad(F o S)(v)),  t = 1/norm^2, norm growing until the quadratic model of F at v lies above F
    2.  v+ = u+ + m (u+ - u),  m = (k - 1)/k+,  k+ = (1 + (1 + 4 k^2)^1/2)/2
    3.  where <v - u+, u+ - u> > 0: v+ = u+ and k+ = 1; where J would increase: u+ = v+ = u and k+ = 1

References
----------
A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2 (2009) 183-202. Step 3: B. O'Donoghue, E. Candes, Found. Comput. Math. 15
(2015) 715-732. The first norm tried in a step is the curvature met in the last, if that was less.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import ClassVar

from ..arrays import Array
from ..errors import ConvergenceError
from ..maps import Linearisation, SolutionMap, map_norm
from ..terms import Objective
from .method import CONTROL, OBSERVATION, Algorithm, Start, State
from .proximal_gradient import backtrack


@dataclass(frozen=True, eq=False, repr=False)
class RestartedState(State):
    """(dual, adjoint) belong to the extrapolated point v, where S is y_v; norm is the root of an estimate of the
    gradient's Lipschitz constant, ||S'|| where F is half a square.
    """

    v: Array = field(metadata=CONTROL)
    y_v: Array = field(metadata=OBSERVATION)
    norm: float
    momentum: float


@dataclass(frozen=True)
class RestartedProximalGradient(Algorithm[RestartedState]):
    """See the module; two state solves and an adjoint one an iteration, and a state solve for each norm tried."""

    norm: float | None

    state: ClassVar[type[State]] = RestartedState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> RestartedState:
        at = map.at(start.u)
        norm = (self.norm or map_norm(map, at, objective.state.free)) / sqrt(objective.state.scale)
        return _at_rest(objective, start.u, at, norm, 10 + ceil(2.0 * norm / sqrt(objective.control.alpha)))

    def step(self, objective: Objective, map: SolutionMap, state: RestartedState) -> RestartedState:
        space, v = map.control, state.v
        model = State(v, state.y_v, state.dual, state.adjoint, warm=state.warm)
        u, at, norm = backtrack(objective, map, model, state.norm)  # 1
        y = at.value
        if objective.value(u, y) > objective.value(state.u, state.y) and space.any(v - state.u):
            return _at_rest(objective, state.u, map.at(state.u, state.warm), norm, state.patience)  # 3
        norm = _curvature(objective, map, model, u, y, norm)
        momentum = 0.5 * (1.0 + sqrt(1.0 + 4.0 * state.momentum**2))
        if space.inner(v - u, u - state.u) > 0:
            return _at_rest(objective, u, at, norm, state.patience)  # 3
        v = u + (state.momentum - 1.0) / momentum * (u - state.u)  # 2
        try:
            at_v = map.at(v, at.warm)
        except ConvergenceError:  # of the state there
            return _at_rest(objective, u, at, norm, state.patience)
        y_v = at_v.value
        dual = objective.state.gradient(y_v)
        adjoint = at_v.solve_adjoint(dual)
        return RestartedState(u, y, dual, adjoint, v, y_v, norm, momentum, warm=at.warm, patience=state.patience)


def _at_rest(objective: Objective, u: Array, at: Linearisation, norm: float, patience: int) -> RestartedState:
    """The state with v = u."""
    y = at.value
    dual = objective.state.gradient(y)
    adjoint = at.solve_adjoint(dual)
    return RestartedState(u, y, dual, adjoint, u, y, norm, 1.0, warm=at.warm, patience=patience)


def _curvature(objective: Objective, map: SolutionMap, model: State, u: Array, y: Array, norm: float) -> float:
    """The root of 2 (F(S(u)) - F(S(v)) - <q, u - v>) / ||u - v||^2, between 1/2^1/2 and 1 of the norm accepted."""
    step = u - model.u
    above = objective.state.value(y) - objective.state.value(model.y)
    above -= map.control.inner(model.adjoint.gradient, step)
    square, size = norm**2, map.control.norm(step) ** 2
    return sqrt(min(max(2.0 * above / size, 0.5 * square), square)) if size > 0 else norm
