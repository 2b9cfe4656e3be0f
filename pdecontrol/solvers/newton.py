"""Globalised semismooth Newton: on the dual of affine problems, on the normal map of nonlinear ones.

Affine S: minimise the dual function, convex with the gradient p + y_d - S(z), z = argmin G + <S* p, .>:

    1.  (I + L D L*) d = S(z) - y_d - p   by conjugate gradients, D = -z'(q), 1/alpha on the inactive set, else 0
    2.  p+ = p + t d with |phi'(t)| <= 0.1 |phi'(0)|, phi the dual function along d, which costs no solve

Nonlinear S: find l with R(l) = l - grad(F o S)(z) = 0, z = argmin G + <l, .>:

    1.  (I + D H) w = -D R   by conjugate gradients, H the Hessian of F o S and D = -(argmin G + <l, .>)'
    2.  l+ = l + t d,  d = -R - H w,  t halved until ||R|| decreases; if it does not, one proximal gradient step

References
----------
G. Stadler, Comput. Optim. Appl. 44 (2009) 159-181. The dual: X. Y. Zhao, D. Sun, K.-C. Toh, SIAM J. Optim. 20 (2010)
1737-1765. The normal map: S. M. Robinson, Math. Oper. Res. 17 (1992) 691-714. Undamped active sets cycle already on
small problems, hence both steps 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array
from ..errors import ConvergenceError, ProblemError
from ..linear.cg import conjugate_gradients
from ..maps import Adjoint, Linearisation, SolutionMap
from ..problem import check_number
from ..terms import Objective
from .method import INCREMENT, PRODUCT, Method, Start, State, accuracy
from .proximal import backtrack


@dataclass(frozen=True, eq=False, repr=False)
class DualState(State):
    """For affine maps: u = z(dual) and y = S(u); first is the norm of the first residual."""

    first: float


@dataclass(frozen=True, eq=False, repr=False)
class NormalState(State):
    """For nonlinear maps: u = argmin G + <l, .>; best is the smallest norm of R so far, the first being `first`.

    root is the square root of the local Lipschitz constant of the gradient.
    """

    l: Array
    first: float
    best: float
    root: float
    at: Linearisation | None = None


@dataclass(frozen=True)
class SemismoothNewton(Method[State]):
    """Semismooth Newton with conjugate gradients and a line search, for alpha > 0; two solves a CG step.

    Parameters
    ----------
    forcing : relative tolerance of the conjugate gradients, lowered as the residual falls.
    max_cg : limit of conjugate gradient steps in one Newton step.

    Examples
    --------
    >>> method = SemismoothNewton()
    """

    forcing: float = 0.3
    max_cg: int = 500

    name: ClassVar[str] = "semismooth Newton"
    states: ClassVar[tuple[type[State], ...]] = (DualState, NormalState)

    def __post_init__(self) -> None:
        check_number(self.forcing, "SemismoothNewton: forcing", positive=True)
        check_number(self.max_cg, "SemismoothNewton: max_cg", positive=True)
        if self.forcing >= 1 or self.max_cg < 1:
            raise ProblemError(f"SemismoothNewton: 0 < forcing < 1 and max_cg >= 1 are needed, got {self}.")

    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> State:
        if objective.control.alpha == 0:
            raise ProblemError("SemismoothNewton needs a Tikhonov term with alpha > 0: use PrimalDual or FISTA.")
        at = map.at(start.u)
        if map.affine and start.p is not None:
            p = start.p
        elif map.affine and start.cold and objective.state.met_by(at.value):
            p = objective.state.start()
        else:
            p = objective.state.gradient(at.value)
        adjoint = at.solve_adjoint(p)
        if map.affine:
            return _dual_state(objective, map, p, adjoint, at.warm, 0.0)
        root = float(np.sqrt(objective.control.alpha))
        try:
            return _normal_state(objective, map, adjoint.gradient, at.warm, root)
        except ConvergenceError:  # the state at argmin G + <q, .>: a proximal gradient step is nearer
            before = State(start.u, at.value, p, adjoint, at.warm)
            u, _, root = backtrack(objective, map, before, root)
            return _normal_state(objective, map, adjoint.gradient + root**2 * (u - start.u), at.warm, root)

    def step(self, objective: Objective, map: SolutionMap, state: State) -> State:
        if isinstance(state, NormalState):
            return self._normal_step(objective, map, state)
        assert isinstance(state, DualState)
        return self._dual_step(objective, map, state)

    def best_dual(self, objective: Objective, state: State) -> tuple[Array, Adjoint]:
        return state.dual, state.adjoint

    def patience(self, objective: Objective, state: State) -> int:
        return 0

    def _dual_step(self, objective: Objective, map: SolutionMap, state: DualState) -> DualState:
        p, q, z = state.dual, state.adjoint.gradient, state.u
        residual = objective.state.gradient(state.y) - p
        if not map.observation.any(residual):
            return state
        derivative_of_z, outer = objective.control.derivative(q), objective.state.second(state.y)
        at = map.at(z, accuracy=accuracy(objective, map, PRODUCT))

        def operator(d: Array) -> tuple[Array, Array]:
            q_d, _, warm = at.solve_adjoint(d)
            return d + outer(at.tangent(derivative_of_z(q_d))), q_d if warm is None else np.concatenate([q_d, warm])

        tolerance = self._tolerance(map.observation.norm(residual), state.first)
        d, images = conjugate_gradients(operator, residual, map.observation.inner, tolerance, self.max_cg)  # 1
        q_d, warm = np.split(images, [q.size])
        slope, curvature = -map.observation.inner(residual, d), map.observation.inner(d, d)

        def derivative(t: float) -> float:
            moved = objective.control.argmin(q + t * q_d) - z
            return slope + t * curvature - map.control.inner(moved, q_d)

        t = line_search(derivative, slope)
        p = p + t * d  # 2
        at = map.at(z, accuracy=accuracy(objective, map, INCREMENT))
        start = None if state.adjoint.state is None else state.adjoint.state + t * warm
        adjoint = at.solve_adjoint(p, start)
        return _dual_state(objective, map, p, adjoint, state.warm, state.first)

    def _normal_step(self, objective: Objective, map: SolutionMap, state: NormalState) -> NormalState:
        space = map.control
        at = state.at if state.at is not None else map.at(state.u, state.warm)
        residual = state.l - state.adjoint.gradient
        if not space.any(residual):
            return state
        derivative, outer = objective.control.derivative(state.l), objective.state.second(state.y)

        def operator(w: Array) -> tuple[Array, Array]:
            hessian_w = at.second(w, state.adjoint, outer)
            return w + derivative(hessian_w), hessian_w

        tolerance = 0.1 * self._tolerance(space.norm(residual), state.first)
        _, hessian_w = conjugate_gradients(operator, derivative(-residual), space.inner, tolerance, self.max_cg)  # 1
        direction = -residual - hessian_w
        for t in 0.5 ** np.arange(6):  # 2
            try:
                trial = _normal_state(objective, map, state.l + t * direction, at.warm, state.root, state)
            except ConvergenceError:  # of the state at the trial control
                continue
            if trial.best <= (1.0 - 0.1 * t) * state.best:
                return trial
        u, _, root = backtrack(objective, map, state, state.root)
        l = state.adjoint.gradient + root**2 * (u - state.u)  # so that u = argmin G + <l, .>
        return _normal_state(objective, map, l, at.warm, root, state)

    def _tolerance(self, size: float, first: float) -> float:
        return min(self.forcing, float(np.sqrt(size / first))) if first > 0 else self.forcing


def _dual_state(
    objective: Objective, map: SolutionMap, p: Array, adjoint: Adjoint, near: Array | None, first: float
) -> DualState:
    z = objective.control.argmin(adjoint.gradient)
    at = map.at(z, near, accuracy(objective, map, PRODUCT))
    return DualState(z, at.value, p, adjoint, at.warm, first or objective.state.distance(at.value, p))


def _normal_state(
    objective: Objective,
    map: SolutionMap,
    l: Array,
    start: Array | None,
    root: float,
    before: NormalState | None = None,
) -> NormalState:
    u = objective.control.argmin(l)
    at = map.at(u, start)
    dual = objective.state.gradient(at.value)
    adjoint = at.solve_adjoint(dual)
    size = map.control.norm(l - adjoint.gradient)
    first, best = (before.first, min(before.best, size)) if before is not None else (size, size)
    return NormalState(u, at.value, dual, adjoint, at.warm, l, first, best, root, at)


def line_search(derivative: Callable[[float], float], slope: float) -> float:
    """t > 0 with |phi'(t)| <= 0.1 |phi'(0)| for a convex phi with phi'(0) = slope < 0, trying t = 1 first."""
    low, high, t = 0.0, np.inf, 1.0
    for _ in range(60):
        value = derivative(t)
        if abs(value) <= 0.1 * abs(slope):
            break
        low, high = (t, high) if value < 0 else (low, t)
        t = 2.0 * t if np.isinf(high) else 0.5 * (low + high)
    return t
