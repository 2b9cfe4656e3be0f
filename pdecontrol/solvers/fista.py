"""FISTA for F(S(u)) + G(u) with affine S and smooth F, in the strongly convex form where alpha > 0.

    1.  u+ = prox_tG(v - t grad(F o S)(v)),  t = 1/||S||^2
    2.  v+ = u+ + m (u+ - u),  m = (1 - sqrt(c))/(1 + sqrt(c)),  c = alpha/(||S||^2 + alpha)

References
----------
A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2 (2009) 183-202, whose m it is where alpha = 0. The strongly convex form:
Y. Nesterov, Introductory Lectures on Convex Optimization (2004), section 2.2, with alpha in the proximal map.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import ClassVar

from ..arrays import Array
from ..maps import SolutionMap, map_norm
from ..terms import Objective
from .method import CONTROL, INCREMENT, Algorithm, Start, State, accuracy


@dataclass(frozen=True, eq=False, repr=False)
class AcceleratedState(State):
    """(dual, adjoint) belong to the extrapolated point v; norm the root of the Lipschitz
    constant of the gradient, ||S|| where F is half a square, momentum t of Beck and Teboulle.
    """

    v: Array = field(metadata=CONTROL)
    norm: float
    momentum: float


@dataclass(frozen=True)
class AcceleratedProximalGradient(Algorithm[AcceleratedState]):
    """See the module; one state and one adjoint solve an iteration."""

    norm: float | None

    state: ClassVar[type[State]] = AcceleratedState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> AcceleratedState:
        at, alpha = map.at(start.u), objective.control.alpha
        norm = (self.norm or map_norm(map, at, objective.state.free)) / sqrt(objective.state.scale)
        dual = objective.state.gradient(at.value)
        adjoint, patience = at.solve_adjoint(dual), 10 + ceil(2.0 * norm / sqrt(alpha)) if alpha > 0 else 0
        return AcceleratedState(start.u, at.value, dual, adjoint, start.u, norm, 1.0, warm=at.warm, patience=patience)

    def step(self, objective: Objective, map: SolutionMap, state: AcceleratedState) -> AcceleratedState:
        alpha, norm = objective.control.alpha, state.norm
        u = objective.control.prox(state.v - state.adjoint.gradient / norm**2, 1.0 / norm**2)  # 1
        at = map.at(u, state.warm, accuracy(objective, map, INCREMENT))
        y = at.value
        momentum = 0.5 * (1.0 + sqrt(1.0 + 4.0 * state.momentum**2))
        root = sqrt(alpha / (norm**2 + alpha))
        m = (1.0 - root) / (1.0 + root) if alpha > 0 else (state.momentum - 1.0) / momentum
        v = u + m * (u - state.u)  # 2
        dual = objective.state.gradient(y + m * (y - state.y))  # at v, S being affine
        adjoint = at.solve_adjoint(dual, state.adjoint.state)
        return AcceleratedState(u, y, dual, adjoint, v, norm, momentum, warm=at.warm, patience=state.patience)
