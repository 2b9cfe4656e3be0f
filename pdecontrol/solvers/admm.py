"""Inexact ADMM for F(S(u)) + G(u) with smooth F: a smooth problem for u, a pointwise one for z, and u = z in the end.

With G = alpha/2 ||. - reference||^2 + H, e(u) the derivative of the augmented Lagrangian in u, S linearised at z, and P
= F'' or an upper bound of it where F is not quadratic:

    e(u) = alpha (u - reference) + grad(F o S)(z) + S'(z)* P S'(z) (u - z) + l + rho (u - z)

    1.  u+ = z + d with e(u+) = 0 by conjugate gradients, until ||e(u+)|| <= sigma ||e(u)||
    2.  z+ = prox_H/rho( u+ + l/rho )
    3.  l+ = l + rho (u+ - z+)
    4.  at some iterations, rho times the root of what u - z is of u, over what rho (z+ - z) is of l

References
----------
R. Glowinski, Y. Song, X. Yuan, H. Yue, Ann. Appl. Math. 38 (2022) 115-158: the scheme with its criterion, for affine S.
The first rho, best in the worst case: P. Giselsson, S. Boyd, IEEE Trans. Autom. Control 62 (2017) 532-544. Step 4:
B. Wohlberg, arXiv 1704.06209.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil, inf, sqrt
from typing import ClassVar

from ..arrays import Array
from ..errors import ConvergenceError
from ..linear.cg import conjugate_gradients
from ..maps import Linearisation, SolutionMap, map_norm
from ..terms import Objective
from .method import CONTROL, INCREMENT, PRODUCT, Algorithm, Start, State, accuracy

BALANCED = (5, 10, 20, 40, 80, 160, 320)  # iterations at which rho may change: in theory it has to come to rest
MAX_CG = 500


@dataclass(frozen=True, eq=False, repr=False)
class SplitState(State):
    """u is z, the feasible one of the two, and (dual, adjoint) are those of S(z); `residual` that of e(u)."""

    multiplier: Array = field(metadata=CONTROL)
    rho: float
    residual: float = inf
    iterations: int = 0
    at: Linearisation | None = None


@dataclass(frozen=True)
class AlternatingDirections(Algorithm[SplitState]):
    """See the module; two solves a CG step and two more an iteration. Parameters as in `ADMM`."""

    rho: float | None

    state: ClassVar[type[State]] = SplitState

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> SplitState:
        control, at = objective.control, map.at(start.u)
        dual = objective.state.gradient(at.value)
        adjoint = at.solve_adjoint(dual)
        rho = self.rho or penalty(control.alpha, map_norm(map, at, objective.state.free) / sqrt(objective.state.scale))
        multiplier = -(control.alpha * (start.u - control.reference) + adjoint.gradient)
        patience = 10 + ceil(2.0 * rho / control.alpha) if control.alpha > 0 else 0
        return SplitState(start.u, at.value, dual, adjoint, multiplier, rho, at=at, warm=at.warm, patience=patience)

    def step(self, objective: Objective, map: SolutionMap, state: SplitState) -> SplitState:
        for rho in (state.rho * 4.0**k for k in range(1 if map.affine else 20)):
            try:
                return self._step(objective, map, state, rho)
            except ConvergenceError as error:  # of the state at z+, which a larger rho leaves nearer to z
                failure = error
        raise failure

    def _step(self, objective: Objective, map: SolutionMap, state: SplitState, rho: float) -> SplitState:
        control, space, z, l = objective.control, map.control, state.u, state.multiplier
        at = state.at
        if at is None or map.affine:
            at = map.at(z, state.warm, accuracy(objective, map, PRODUCT) if map.affine else None)
        e = control.alpha * (z - control.reference) + state.adjoint.gradient + l
        d, left = self._direction(objective, map, state, at, rho, e)  # 1
        u = z + d
        new = replace(control, alpha=0.0).prox(u + l / rho, 1.0 / rho)  # 2
        multiplier = l + rho * (u - new)  # 3
        after = rho
        if self.rho is None and state.iterations + 1 in BALANCED:
            after = rho * _balance(map, u, new, multiplier, rho * (new - z))  # 4
        residual = space.norm(left - rho * (new - z) + after * (u - new))
        at = map.at(new, state.warm, accuracy(objective, map, INCREMENT) if map.affine else None)
        dual = objective.state.gradient(at.value)
        adjoint = at.solve_adjoint(dual, state.adjoint.state)
        return SplitState(
            new, at.value, dual, adjoint, multiplier, after, residual, state.iterations + 1,
            None if map.affine else at, warm=at.warm, patience=state.patience,
        )  # fmt: skip

    def _direction(
        self, objective: Objective, map: SolutionMap, state: SplitState, at: Linearisation, rho: float, e: Array
    ) -> tuple[Array, Array]:
        """d = u+ - z and e(u+), given e(z)."""
        alpha, space, second = objective.control.alpha, map.control, objective.state.second(state.y)
        sigma = 0.99 * sqrt(2.0) / (sqrt(2.0) + sqrt(rho / (alpha or rho)))
        size, goal = space.norm(e), sigma * state.residual
        if size <= goal:
            return space.zeros(), e

        def operator(h: Array) -> tuple[Array, Array]:
            observed = at.tangent(h)
            curved = second(observed) if objective.state.quadratic else observed / objective.state.scale
            product = (alpha + rho) * h + at.adjoint(curved)
            return product, product

        d, image, _ = conjugate_gradients(operator, -e, space.inner, min(sigma, goal / size), MAX_CG)
        return d, e + image


def penalty(alpha: float, norm: float) -> float:
    """(m L)^1/2 for the moduli m and L of strong convexity and of smoothness of the problem for u."""
    if norm == 0.0:
        return alpha or 1.0
    return sqrt(alpha * (alpha + norm**2)) if alpha > 0 else 0.1 * norm**2


def _balance(map: SolutionMap, u: Array, z: Array, multiplier: Array, change: Array) -> float:
    """The factor by which rho is to change, 1 where that would be little."""
    norm = map.control.norm
    primal, dual = norm(u - z) * norm(multiplier), norm(change) * norm(z)
    factor = min(max(sqrt(primal / dual), 0.1), 10.0) if dual > 0 else 1.0
    return 1.0 if 2 / 3 < factor < 1.5 else factor
