"""Steady solution maps: one state solve, its tangent and its exact adjoint."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np

from ..errors import ConvergenceError, SingularEquationError
from ..maps import Adjoint, Counter, Linearisation, SolutionMap, lanczos
from ..space import Array, Space
from .linear import LinearSolver


class SteadySystem(Protocol):
    """A discretised equation A y + R(y) = load + C u with observation O y, as an engine provides it.

    State arrays y contain the fixed (Dirichlet) entries; tangents and adjoint solutions vanish there. Functionals
    on states are arrays of values on the basis. `exact` tells whether linear systems are solved to rounding.
    """

    control: Space
    observation: Space
    solution: Space
    affine: bool
    exact: bool

    @property
    def fingerprint(self) -> str: ...
    def initial(self) -> Array: ...  # zero with the Dirichlet values
    def residual(self, y: Array, u: Array) -> Array: ...  # load + C u - A y - R(y)
    def couple(self, h: Array) -> Array: ...  # C h
    def couple_transposed(self, p: Array) -> Array: ...  # M_u^-1 C' p
    def observe(self, y: Array) -> Array: ...  # O y
    def observe_transposed(self, w: Array) -> Array: ...  # O' M_y w
    def curvature(self, y: Array, p: Array, eta: Array) -> Array: ...  # R''(y)[eta, .] p
    def factorise(self, y: Array, counter: Counter) -> LinearSolver: ...  # A + R'(y) on the free entries
    def extend(self, free: Array) -> Array: ...  # free entries -> state array with zeros on the fixed ones
    def restrict(self, y: Array) -> Array: ...  # its transpose


class EllipticMap(SolutionMap):
    """S(u) = O y with A y + R(y) = load + C u, discretised first, so that the adjoint is the exact transpose.

    Notes
    -----
    S'(u) = O (A + R'(y))^-1 C and S'(u)* = M_u^-1 C' (A + R'(y))^-T O' M_y. For linear equations the matrix is
    factorised once, when it is first needed.
    """

    def __init__(self, system: SteadySystem) -> None:
        self.system = system
        self.control, self.observation, self.solution = system.control, system.observation, system.solution
        self.affine = system.affine
        self.fingerprint = system.fingerprint
        self.solves = Counter()
        self.arithmetic = (
            "linear systems solved by sparse factors, rounding neglected"
            if system.exact
            else "linear systems solved iteratively, with error bounds from estimated spectral constants"
        )

    @cached_property
    def factors(self) -> LinearSolver:
        """The matrix of an affine map, ready to solve with."""
        with self.solves.timing():
            return self.system.factorise(self.system.initial(), self.solves)

    def at(self, u: Array, start: Array | None = None) -> Linearisation:
        return SteadyLinearisation(self, self.control.interpolate(u, "the control"), start)

    @cached_property
    def constants(self) -> tuple[float, float]:
        """(||O A^-1/2||, ||M_u^-1 C' A^-1/2||), norms from the energy norm, estimated from above to 1 %."""
        system, factors = self.system, self.factors

        def inverse(functional: Array) -> Array:
            with self.solves.solving("tangent"):
                return system.extend(factors.solve(system.restrict(functional)).x)

        observed = lanczos(lambda w: system.observe(inverse(system.observe_transposed(w))), self.observation, 12, 0.005)
        controlled = lanczos(lambda h: system.couple_transposed(inverse(system.couple(h))), self.control, 12, 0.005)
        return 1.01 * float(np.sqrt(observed)), 1.01 * float(np.sqrt(controlled))


class SteadyLinearisation(Linearisation):
    """The map at u: the state is found when first needed (affine) or at once (nonlinear)."""

    def __init__(self, map: EllipticMap, u: Array, start: Array | None) -> None:
        self._map, self._system, self._u = map, map.system, u
        self._start = start
        if not map.affine:
            _ = self._solved  # an equation that cannot be solved fails here

    @cached_property
    def _solved(self) -> tuple[Array, Array, float]:
        """The state, what is observed of it, and its error in the energy norm."""
        factors = self._map.factors if self._map.affine else None  # timed apart
        with self._map.solves.solving("state"):
            y, error = self._system.initial(), 0.0
            if factors is not None:
                x, error = factors.solve(self._system.restrict(self._system.residual(y, self._u)))
                y += self._system.extend(x)
            else:
                if self._start is not None:
                    y += self._system.extend(self._system.restrict(self._start))
                y = newton(self._system, self._u, y, self._map.solves)
            return y, self._system.observe(y), error

    @cached_property
    def _factors(self) -> LinearSolver:
        if self._map.affine:
            return self._map.factors
        with self._map.solves.timing():
            return self._system.factorise(self.state, self._map.solves)

    @property
    def state(self) -> Array:
        return self._solved[0]

    @property
    def value(self) -> Array:
        return self._solved[1]

    @property
    def error(self) -> float:
        energy = self._solved[2]
        return energy and energy * self._map.constants[0]

    def tangent(self, h: Array) -> Array:
        factors = self._factors
        with self._map.solves.solving("tangent"):
            return self._system.observe(self._tangent_state(factors, h))

    def solve_adjoint(self, w: Array) -> Adjoint:
        factors = self._factors
        with self._map.solves.solving("adjoint"):
            functional = self._system.restrict(self._system.observe_transposed(w))
            p, energy = factors.solve(functional, transposed=True)
            field = self._system.extend(p)
            gradient = self._system.couple_transposed(field)
        return Adjoint(gradient, field, energy and energy * self._map.constants[1])

    def hessian(self, h: Array, adjoint: Adjoint, weights: Array) -> Array:
        factors = self._factors
        with self._map.solves.solving("tangent"):
            eta = self._tangent_state(factors, h)
        with self._map.solves.solving("adjoint"):
            functional = self._system.observe_transposed(weights * self._system.observe(eta))
            if not self._map.affine:
                functional -= self._system.curvature(self.state, adjoint.field, eta)
            p = factors.solve(self._system.restrict(functional), transposed=True).x
            return self._system.couple_transposed(self._system.extend(p))

    def _tangent_state(self, factors: LinearSolver, h: Array) -> Array:
        return self._system.extend(factors.solve(self._system.restrict(self._system.couple(h))).x)


@np.errstate(over="ignore", invalid="ignore")  # backtracking deals with overflow
def newton(system: SteadySystem, u: Array, y: Array, counter: Counter) -> Array:
    """A y + R(y) = load + C u by Newton's method with backtracking on the residual, from y.

    Iterates to the rounding of the residual, which the exactness of tangents and adjoints rests on.

    Raises
    ------
    ConvergenceError
        If 50 steps do not suffice, or no step length reduces the residual.
    """
    residual = system.restrict(system.residual(y, u))
    first = size = float(np.linalg.norm(residual))
    for iteration in range(50):
        if not np.isfinite(size):
            break
        if size == 0.0:
            return y
        try:
            factors = system.factorise(y, counter)
        except SingularEquationError:
            if iteration > 0:
                raise
            # r' may vanish where the iteration starts, as that of y^3 does at 0: start elsewhere.
            y = y + system.extend(np.ones_like(residual))
            residual = system.restrict(system.residual(y, u))
            first = size = float(np.linalg.norm(residual))
            factors = system.factorise(y, counter)
        step = system.extend(factors.solve(residual).x)
        counter.linear += 1
        length = 1.0
        while True:
            trial = y + length * step
            residual = system.restrict(system.residual(trial, u))
            new = float(np.linalg.norm(residual))
            if new <= (1.0 - 1e-4 * length) * size:
                break
            if np.linalg.norm(step) <= 1e-9 * np.fmax(np.linalg.norm(y), 1e-300) or size <= 1e-10 * first:
                return y  # at the rounding of the residual
            length /= 2
            if length < 1e-6:
                raise ConvergenceError(
                    f"Newton's method for the state stopped at a residual of {size:.1e} (first {first:.1e}): no "
                    "step reduces it. Check the semilinear term, or start from a control nearer to the solution."
                )
        # The error after a full step is of the order of its square.
        converged = length == 1.0 and bool(np.linalg.norm(step) <= 1e-9 * np.linalg.norm(trial))
        y, size = trial, new
        if converged:
            return y
    reason = "in 50 steps" if np.isfinite(size) else "as the semilinear term is NaN or infinite at its start"
    raise ConvergenceError(
        f"Newton's method for the state did not converge {reason} (residual {size:.1e}, first {first:.1e}): "
        "check the semilinear term, or start from a control nearer to the solution."
    )
