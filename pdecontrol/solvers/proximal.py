"""Proximal gradient methods for F(S(u)) + G(u).

References
----------
A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2 (2009) 183-202. The strongly convex form: Y. Nesterov, Introductory
Lectures on Convex Optimization (2004), section 2.2, with alpha in the proximal map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array
from ..errors import ConvergenceError, ProblemError
from ..maps import Adjoint, Linearisation, SolutionMap, map_norm
from ..problem import check_number
from ..terms import Objective
from .method import INCREMENT, Method, Start, State, accuracy


@dataclass(frozen=True, eq=False, repr=False)
class ProximalGradientState(State):
    """norm is the estimate of ||S'||, the square root of the gradient's Lipschitz constant."""

    norm: float


@dataclass(frozen=True)
class ProximalGradient(Method[ProximalGradientState]):
    """u+ = prox_tG(u - t grad(F o S)(u)) with t = 1/||S||^2; for nonlinear maps t is found by backtracking.

    Parameters
    ----------
    norm : ||S||, estimated by Lanczos iteration (and counted) if None.

    Examples
    --------
    >>> method = ProximalGradient()
    """

    norm: float | None = None

    name: ClassVar[str] = "proximal gradient"
    states: ClassVar[tuple[type[State], ...]] = (ProximalGradientState,)

    def __post_init__(self) -> None:
        if self.norm is not None:
            check_number(self.norm, "the norm of the map", positive=True)

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> ProximalGradientState:
        at = map.at(start.u)
        norm = self.norm if self.norm is not None else map_norm(map, at, objective.state.free)
        return _evaluated(objective, start.u, at, norm)

    def step(self, objective: Objective, map: SolutionMap, state: ProximalGradientState) -> ProximalGradientState:
        norm = state.norm
        if not map.affine:
            return _evaluated(objective, *backtrack(objective, map, state, norm / float(np.sqrt(2.0))))
        u = objective.control.prox(state.u - state.adjoint.gradient / norm**2, 1.0 / norm**2)
        eta = accuracy(objective, map, INCREMENT)
        return _evaluated(objective, u, map.at(u, state.warm, eta), norm, state.adjoint.state)

    def best_dual(self, objective: Objective, state: ProximalGradientState) -> tuple[Array, Adjoint]:
        return state.dual, state.adjoint

    def patience(self, objective: Objective, state: ProximalGradientState) -> int:
        return 0


def _evaluated(
    objective: Objective, u: Array, at: Linearisation, norm: float, near: Array | None = None
) -> ProximalGradientState:
    y = at.value
    dual = objective.state.gradient(y)
    adjoint = at.solve_adjoint(dual, near)
    return ProximalGradientState(u, y, dual, adjoint, at.warm, norm)


def backtrack(objective: Objective, map: SolutionMap, state: State, root: float) -> tuple[Array, Linearisation, float]:
    """A proximal gradient step whose length 1/root^2 is halved until the quadratic model lies above F.

    Returns the control, the map there and the root of the Lipschitz constant accepted.
    """
    value, q = objective.state.value(state.y), state.adjoint.gradient
    misfit = objective.state.distance(state.y, map.observation.zeros())
    rounding = 1e-14 * (abs(value) + map.observation.norm(state.y) * misfit)
    for _ in range(60):
        u = objective.control.prox(state.u - q / root**2, 1.0 / root**2)
        step = u - state.u
        model = value + map.control.inner(q, step) + 0.5 * root**2 * map.control.norm(step) ** 2
        try:
            at = map.at(u, state.warm)
            if objective.state.value(at.value) <= model + rounding:
                return u, at, root
        except ConvergenceError:  # of the state at the trial control
            pass
        root *= float(np.sqrt(2.0))
    raise ConvergenceError("proximal gradient: no step length reduces the objective; check the map's adjoint.")


@dataclass(frozen=True, eq=False, repr=False)
class FISTAState(State):
    """(dual, adjoint) belong to the extrapolated point v; momentum is t of Beck and Teboulle where alpha = 0."""

    v: Array
    norm: float
    momentum: float


@dataclass(frozen=True)
class FISTA(Method[FISTAState]):
    """Accelerated proximal gradient for affine maps, in the strongly convex form where alpha > 0.

        1.  u+ = prox_tG(v - t grad(F o S)(v)),  t = 1/||S||^2
        2.  v+ = u+ + m (u+ - u),  m = (1 - sqrt(c))/(1 + sqrt(c)),  c = alpha/(||S||^2 + alpha)

    Parameters
    ----------
    norm : ||S||, estimated by Lanczos iteration (and counted) if None.

    Examples
    --------
    >>> method = FISTA()
    """

    norm: float | None = None

    name: ClassVar[str] = "FISTA"
    states: ClassVar[tuple[type[State], ...]] = (FISTAState,)

    def __post_init__(self) -> None:
        if self.norm is not None:
            check_number(self.norm, "the norm of the map", positive=True)

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> FISTAState:
        if not map.affine:
            raise ProblemError("FISTA takes linear equations: use SemismoothNewton, PrimalDual or ProximalGradient.")
        at = map.at(start.u)
        norm = self.norm if self.norm is not None else map_norm(map, at, objective.state.free)
        dual = objective.state.gradient(at.value)
        return FISTAState(start.u, at.value, dual, at.solve_adjoint(dual), at.warm, start.u, norm, 1.0)

    def step(self, objective: Objective, map: SolutionMap, state: FISTAState) -> FISTAState:
        alpha, norm = objective.control.alpha, state.norm
        u = objective.control.prox(state.v - state.adjoint.gradient / norm**2, 1.0 / norm**2)  # 1
        eta = accuracy(objective, map, INCREMENT)
        at = map.at(u, state.warm, eta)
        y = at.value
        momentum = 0.5 * (1.0 + float(np.sqrt(1.0 + 4.0 * state.momentum**2)))
        root = np.sqrt(alpha / (norm**2 + alpha))
        m = (1.0 - root) / (1.0 + root) if alpha > 0 else (state.momentum - 1.0) / momentum
        v = u + m * (u - state.u)  # 2
        dual = objective.state.gradient(y + m * (y - state.y))  # at v, S being affine
        adjoint = at.solve_adjoint(dual, state.adjoint.state)
        return FISTAState(u, y, dual, adjoint, at.warm, v, norm, momentum)

    def best_dual(self, objective: Objective, state: FISTAState) -> tuple[Array, Adjoint]:
        return state.dual, state.adjoint

    def patience(self, objective: Objective, state: FISTAState) -> int:
        alpha = objective.control.alpha  # the gap falls by 1 - sqrt(alpha)/||S|| in an iteration
        return 10 + int(np.ceil(2.0 * state.norm / np.sqrt(alpha))) if alpha > 0 else 0
