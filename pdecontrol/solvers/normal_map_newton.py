"""Semismooth Newton on the normal map of F(S(u)) + G(u), for nonlinear S and smooth F.

Find l with R(l) = l - grad(F o S)(u) = 0, u = argmin G + <l, .>:

    1.  (I + D H) w = -D R   by conjugate gradients, H the Hessian of F o S at u and D = -u'(l)
    2.  l+ = l + t d,  d = -R - H w,  t halved until ||R|| decreases

If it does not, far from a solution, the method goes on without l until it is near one (where F is not quadratic, or
near a solution, it takes one proximal gradient step instead):

    3.  z = argmin F(S(u) + S'(u)(. - u)) + G   by the dual Newton method, with the gradient l of its last dual vector
    4.  u+ = u + t (z - u),  t halved until J decreases by a part of t <grad(F o S)(u), z - u> + t (G(z) - G(u))
    5.  where t = 1 and R(l) is small, back to step 1

References
----------
S. M. Robinson, Math. Oper. Res. 17 (1992) 691-714. D, 1/alpha on the inactive set: G. Stadler, Comput. Optim. Appl. 44
(2009) 159-181. Steps 3 and 4, with inexact models: J. D. Lee, Y. Sun, M. A. Saunders, SIAM J. Optim. 24 (2014)
1420-1443.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import ClassVar

from ..arrays import Array
from ..errors import ConvergenceError
from ..linear.cg import conjugate_gradients
from ..linearised import Linearised
from ..maps import Linearisation, SolutionMap
from ..terms import Objective
from .dual_newton import DualNewton, DualState, projected
from .method import CONTROL, OBSERVATION, Algorithm, Start, State
from .proximal_gradient import backtrack

GAP, SHARE = 0.0025, 0.1  # the duality gap left of a linearised problem, beside the first, and what J falls there
ARMIJO = 1e-4  # of the decrease that the slope promises
NEAR = 0.05  # ||R(l)|| / (alpha ||u||) from which the normal map is taken again


@dataclass(frozen=True, eq=False, repr=False)
class NormalMapState(State):
    """u = argmin G + <l, .> where there is an l; (dual, adjoint) are those of S(u), `model_dual` that of the
    last linearised problem, and norm that of the last proximal gradient step.
    """

    first_residual: float
    smallest_residual: float
    norm: float
    l: Array | None = field(default=None, metadata=CONTROL)
    model_dual: Array | None = field(default=None, metadata=OBSERVATION)
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
            state = evaluated(objective, map, adjoint.gradient, at.warm, norm)
            if objective.value(state.u, state.y) <= objective.value(start.u, at.value):
                return state
        step = objective.control.argmin(adjoint.gradient) - start.u
        norm = max(norm, map.observation.norm(at.tangent(step)) / (map.control.norm(step) or 1.0))
        u, _, norm = backtrack(objective, map, State(start.u, at.value, p, adjoint, warm=at.warm), norm)
        return evaluated(objective, map, adjoint.gradient + norm**2 * (u - start.u), at.warm, norm)

    def step(self, objective: Objective, map: SolutionMap, state: NormalMapState) -> NormalMapState:
        at = state.at or map.at(state.u, state.warm)
        if state.l is None:
            return self._linearised(objective, map, state, at)
        residual = state.l - state.adjoint.gradient
        if not map.control.any(residual):
            return state
        d = self._direction(objective, map, state, at, residual)  # 1
        for t in (0.5**k for k in range(6)):  # 2
            try:
                trial = evaluated(objective, map, state.l + t * d, at.warm, state.norm, state)
            except ConvergenceError:  # of the state at the trial control
                continue
            if trial.smallest_residual <= (1.0 - 0.1 * t) * state.smallest_residual:
                return trial
        if objective.state.quadratic and not self._near(objective, state):
            return self._linearised(objective, map, state, at)
        u, _, norm = backtrack(objective, map, state, state.norm)
        l = state.adjoint.gradient + norm**2 * (u - state.u)  # so that u = argmin G + <l, .>
        return evaluated(objective, map, l, at.warm, norm, state)

    def _direction(
        self, objective: Objective, map: SolutionMap, state: NormalMapState, at: Linearisation, residual: Array
    ) -> Array:
        """The semismooth Newton direction for l."""
        assert state.l is not None
        derivative, second = objective.control.derivative(state.l), objective.state.second(state.y)

        def operator(w: Array) -> tuple[Array, Array]:
            hessian_w = at.second(w, state.dual, state.adjoint, second)
            return w + derivative(hessian_w), hessian_w

        size, first = map.control.norm(residual), state.first_residual
        tolerance = 0.2 * min(self.forcing, max(sqrt(size / first), 0.1) if first > 0 else 1.0)
        right = derivative(-residual)
        _, hessian_w, _ = conjugate_gradients(operator, right, map.control.inner, tolerance, self.max_cg)
        return -residual - hessian_w

    def _linearised(
        self, objective: Objective, map: SolutionMap, state: NormalMapState, at: Linearisation
    ) -> NormalMapState:
        """A step to the solution of the problem with the linearised map, or towards it."""
        control, space, u, before = objective.control, map.control, state.u, objective.value(state.u, state.y)
        model = self._solve_model(objective, Linearised(map, u, at), state)  # 3
        d, l = model.u - u, model.adjoint.gradient
        slope = min(space.inner(state.adjoint.gradient, d) + control.value(model.u) - control.value(u), 0.0)
        for t in (0.5**k for k in range(40)):  # 4
            trial = model.u if t == 1.0 else u + t * d
            with suppress(ConvergenceError):  # of the state at the trial control
                new = map.at(trial, at.warm)
                if objective.value(trial, new.value) <= before + ARMIJO * t * slope + 1e-14 * abs(before):
                    break
        else:
            raise ConvergenceError(
                "semismooth Newton: no step along a linearised problem reduces the objective; check the map's adjoint."
            )
        dual = objective.state.gradient(new.value)
        adjoint = new.solve_adjoint(dual)
        stepped = NormalMapState(
            trial, new.value, dual, adjoint, state.first_residual, space.norm(l - adjoint.gradient), state.norm, l,
            model.dual, new, warm=new.warm,
        )  # fmt: skip
        return stepped if t == 1.0 and self._near(objective, stepped) else replace(stepped, l=None)  # 5

    def _near(self, objective: Objective, state: NormalMapState) -> bool:
        """Whether R(l) is small beside alpha u."""
        return state.smallest_residual <= NEAR * objective.control.alpha * objective.control.space.norm(state.u)

    def _solve_model(self, objective: Objective, model: Linearised, state: NormalMapState) -> DualState:
        """The solution of the problem with the linearised map, as near as its duality gap is small."""
        p, adjoint, before = state.dual, state.adjoint, objective.value(state.u, state.y)
        if state.model_dual is not None:
            p = state.model_dual
            adjoint = model.at(state.u).solve_adjoint(p)
        newton, inner = DualNewton(self.forcing, self.max_cg), projected(objective, model, p, adjoint, None, 0.0)
        first = 0.5 * inner.first_residual**2
        for _ in range(50):
            gap, decrease = objective.state.residual(inner.y, inner.dual), before - objective.value(inner.u, inner.y)
            if gap <= min(GAP * first, SHARE * decrease):
                break
            inner = newton.step(objective, model, inner)
        return inner


def evaluated(
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
    return NormalMapState(u, at.value, dual, adjoint, first, smallest, norm, l, None, at, warm=at.warm)
