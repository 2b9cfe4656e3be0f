"""Steady solution maps: one state solve, its tangent and its exact adjoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..errors import ConvergenceError, SingularEquationError
from ..linear.matrix import ROUNDING
from ..linear.residual import Excess
from ..linear.solver import Approximation, LinearSolver
from ..maps import Adjoint, Linearisation, SolutionMap
from ..mesh.mesh import Mesh
from ..problem import ControlProblem
from ..space import Space
from ..spectrum import largest_eigenvalue
from .engine import Engine

KEPT = 3  # factorised matrices of a nonlinear map, for as many linearisations


class SteadySystem(Protocol):
    """A discretised equation A y + R(y) = load + C u with observation O y, as an engine provides it.

    State arrays y contain the fixed (Dirichlet) entries; tangents and adjoint solutions vanish there. Functionals
    on states are arrays of values on the basis. `exact` tells whether linear systems are solved to rounding.
    """

    problem: ControlProblem
    engine: Engine
    mesh: Mesh
    control: Space
    observation: Space
    solution: Space
    affine: bool

    exact: bool

    @property
    def definite(self) -> bool: ...  # whether an affine equation is symmetric positive definite
    @property
    def excess(self) -> Excess | None: ...  # of the matrix of an affine equation, where its row sums are known
    @property
    def fingerprint(self) -> str: ...
    def norm(self, a: Array) -> float: ...  # Euclidean, of the entries of all processes
    def initial(self) -> Array: ...  # zero with the Dirichlet values
    def residual(self, y: Array, u: Array) -> Array: ...  # load + C u - A y - R(y)
    def load_noise(self, u: Array) -> Array: ...  # what rounding may be in load + C u - A initial
    def couple(self, h: Array) -> Array: ...  # C h
    def couple_transposed(self, p: Array) -> Array: ...  # M_u^-1 C' p
    def couple_size(self, h: Array) -> Array: ...  # |C| |h|
    def couple_transposed_size(self, p: Array) -> Array: ...  # M_u^-1 |C|' |p|
    def observe(self, y: Array) -> Array: ...  # O y
    def observe_transposed(self, w: Array) -> Array: ...  # O' M_y w
    def transposed_noise(self, w: Array) -> Array: ...  # what rounding may be in it
    def observation_error(self, y: Array) -> float: ...  # the norm of what rounding may be in y and O y
    def gradient_error(self, p: Array) -> float: ...  # the norm of what rounding may be in p and M_u^-1 C' p
    def curvature(self, y: Array, p: Array, eta: Array) -> Array: ...  # R''(y)[eta, .] p
    def factorise(self, y: Array, counter: Counter) -> LinearSolver: ...  # A + R'(y) on the free entries
    def extend(self, free: Array) -> Array: ...  # free entries -> state array with zeros on the fixed ones
    def restrict(self, y: Array) -> Array: ...  # its transpose


class Constants(NamedTuple):
    """Factors from residuals of a state to its observation, and of an adjoint solution to its gradient.

    `condition` is an estimate of the condition number, None where residuals are measured in the energy norm.
    """

    observation: float
    gradient: float
    condition: float | None


class EllipticMap(SolutionMap):
    """S(u) = O y with A y + R(y) = load + C u, discretised first, so that the adjoint is the exact transpose.

    Notes
    -----
    S'(u) = O (A + R'(y))^-1 C and S'(u)* = M_u^-1 C' (A + R'(y))^-T O' M_y. For linear equations the matrix is
    factorised once, when it is first needed.
    """

    exact = twice = True

    def __init__(self, system: SteadySystem) -> None:
        self.system = system
        self.control, self.observation, self.solution = system.control, system.observation, system.solution
        self.affine = system.affine
        self.fingerprint = system.fingerprint
        self.solves = Counter()
        self._open: list[LinearSolver] = []

    @cached_property
    def factors(self) -> LinearSolver:
        """The matrix of an affine map, ready to solve with."""
        return self.factorise(self.system.initial())

    def factorise(self, y: Array) -> LinearSolver:
        """The matrix at a state, ready to solve with; older ones are closed."""
        with self.solves.timing():
            self._open.append(self.system.factorise(y, self.solves))
        for solver in self._open[:-KEPT]:
            solver.close()
        del self._open[:-KEPT]
        return self._open[-1]

    @property
    def arithmetic(self) -> str:  # type: ignore[override]
        system = self.system
        if not self.affine:
            return (
                "rounding of sparse factors estimated by what a solution loses to it" if system.exact
                else "linear systems solved iteratively to relative residuals of 1e-10, which are neglected"
            )  # fmt: skip
        what = "rounding of sparse factors" if system.exact else "errors of iterative linear solvers"
        constants = self.constants
        if constants.condition is None:
            return f"{what} bounded by estimated spectral constants"
        named = "ill-conditioned or nearly resonant: " if constants.condition > 1e10 else ""
        if constants.observation == np.inf:
            named = "singular to working precision: "
        return f"{what} bounded by estimated norms ({named}condition number {constants.condition:.0e})"

    @property
    def norm_bound(self) -> float:
        """||S|| <= ||O A^-1/2|| ||A^-1/2 C||, or ||O A^-1 D^1/2|| ||D^-1/2 C||, whose last factor is at most the root
        of the largest row sum of M_u^-1 |C|' D^-1 |C|.
        """
        if not self.affine:
            return 0.0
        try:
            constants = self.constants
        except ConvergenceError:  # of a solver of the user's
            return 0.0
        return constants.observation * (constants.gradient if self.factors.energy else self._scaled_coupling)

    @cached_property
    def _scaled_coupling(self) -> float:
        system, diagonal = self.system, self.factors.diagonal
        scaled = system.restrict(system.couple_size(self.control.zeros() + 1.0)) / diagonal
        return float(np.sqrt(self.control.max(system.couple_transposed_size(system.extend(scaled)))))

    def close(self) -> None:
        """Free what the linear solvers hold; the map can be used again, at the cost of a factorisation."""
        for solver in self._open:
            solver.close()
        self._open.clear()
        self.__dict__.pop("factors", None)

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        return SteadyLinearisation(self, self.control.checked(u, "the control"), start, accuracy)

    @cached_property
    def constants(self) -> Constants:
        """What a residual may amount to in the observation and in the gradient, from the norm of the linear solver.

        Notes
        -----
        For residuals in the energy norm ||O A^-1/2|| and ||M_u^-1 C' A^-1/2||, else ||O A^-1 D^1/2|| and
        ||M_u^-1 C' A^-T D^1/2||, by Lanczos iteration on these times their adjoints, to thirty per cent and inflated by
        as much. On its way the latter meets vectors v and A^-1 D v, whose growth estimates the condition number k of
        D^-1/2 A D^-1/2. What A errs by is at most e = g width in this scaling: divided by 1 - 2 e k, the constants are
        those of the perturbed matrix too. They are infinite if that is less than 1/2, where A may as well be singular.
        A definite matrix whose row sums are known errs by little in its own energy norm, whatever k: it needs factors
        that solve at all.
        """
        system, factors, growth = self.system, self.factors, [0.0]

        def inverse(solver: LinearSolver, functional: Array) -> Array:
            # To full accuracy: at looser residuals soft parts are not there yet, and nor is what they amplify.
            self.solves.refinements += system.exact
            with self.solves.timing() if system.exact else self.solves.solving("tangent"):
                return solver.solve(functional, accuracy=1e-3 if system.exact else None).x

        def squared(solver: LinearSolver, functional: Array) -> Array:
            """A^-1 f, or A^-1 D A^-T f."""
            x = inverse(solver.transposed, system.restrict(functional))
            if not factors.energy:
                size = system.norm(np.sqrt(factors.diagonal) * x)
                x = inverse(solver, factors.diagonal * x)
                if size > 0:
                    growth.append(system.norm(np.sqrt(factors.diagonal) * x) / size)
            return system.extend(x)

        observed, controlled = (
            1.3 * float(np.sqrt(max(largest_eigenvalue(apply, space, accuracy=0.3), 0.0)))
            for apply, space in (
                (lambda w: system.observe(squared(factors, system.observe_transposed(w))), self.observation),
                (lambda h: system.couple_transposed(squared(factors.transposed, system.couple(h))), self.control),
            )
        )
        if factors.energy:
            return Constants(observed, controlled, None)
        condition = 2.0 * max(growth)
        left = 1.0 - 2.0 * (ROUNDING * factors.width if system.exact else 1e-10) * condition
        if system.exact and system.definite and system.excess is not None:
            left = 1.0 if factors.loss < 0.1 else 0.0
        if left < 0.5:
            return Constants(np.inf, np.inf, condition)
        return Constants(observed / left, controlled / left, condition)


class SteadyLinearisation(Linearisation):
    """The map at u: the state is found when first needed (affine) or at once (nonlinear)."""

    def __init__(self, map: EllipticMap, u: Array, start: Array | None, accuracy: float | None) -> None:
        self._map, self._system, self._u = map, map.system, u
        self._start, self._accuracy = start, accuracy
        self._own: LinearSolver | None = None
        if not map.affine:
            _ = self._solved  # an equation that cannot be solved fails here

    @cached_property
    def _solved(self) -> tuple[Array, Array, float | None]:
        """The state, what is observed of it, and the bound on its residual."""
        factors = self._map.factors if self._map.affine else None  # timed apart
        with self._map.solves.solving("state"):
            y = self._system.initial()
            error: float | None = 0.0
            start = None if self._start is None else self._system.restrict(self._start)
            if factors is not None:
                b = self._system.restrict(self._system.residual(y, self._u))
                noise: Array | float = 0.0
                if self._accuracy is None:
                    noise = self._system.restrict(self._system.load_noise(self._u))
                x, error = factors.solve(b, start, self._accuracy, noise)
                y += self._system.extend(x)
            else:
                if start is not None:
                    y += self._system.extend(start)
                y = newton(self._system, self._u, y, self._map.solves)
            return y, self._system.observe(y), error

    @property
    def _factors(self) -> LinearSolver:
        if self._map.affine:
            return self._map.factors
        if self._own is None or self._own.closed:
            self._own = self._map.factorise(self.state)
        return self._own

    @property
    def state(self) -> Array:
        return self._solved[0]

    @property
    def value(self) -> Array:
        return self._solved[1]

    @property
    def warm(self) -> Array:
        return self.state

    @cached_property
    def error(self) -> float | None:
        y, observed, residual = self._solved
        if self._accuracy is not None or residual is None:
            return None
        if not self._map.affine:
            return 4.0 * self._factors.loss * self._map.observation.norm(observed)
        if residual in (0.0, np.inf):
            return residual
        return residual * self._map.constants.observation + self._system.observation_error(y)

    def tangent(self, h: Array) -> Array:
        factors = self._factors
        with self._map.solves.solving("tangent"):
            return self._system.observe(self._tangent_state(factors, h))

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        system, factors, accuracy = self._system, self._factors, self._accuracy
        functional = system.restrict(system.observe_transposed(w))
        near = None if start is None else system.restrict(start)
        noise: Array | float = 0.0
        if accuracy is None and self._map.affine:
            noise = system.restrict(system.transposed_noise(w))
            if near is not None:
                with self._map.solves.timing():
                    known = factors.transposed.recognise(functional, near, noise)
                if known is not None:
                    return self._adjoint_of(known)
        with self._map.solves.solving("adjoint"):
            return self._adjoint_of(factors.transposed.solve(functional, near, accuracy, noise))

    def _adjoint_of(self, solution: Approximation) -> Adjoint:
        field, error = self._system.extend(solution.x), solution.error
        gradient = self._system.couple_transposed(field)
        if self._accuracy is not None or error is None:
            return Adjoint(gradient, None, field)
        if not self._map.affine:
            error = 4.0 * self._factors.loss * self._map.control.norm(gradient)
        elif 0 < error < np.inf:
            error = error * self._map.constants.gradient + self._system.gradient_error(field)
        return Adjoint(gradient, error, field)

    def second(self, h: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        factors = self._factors
        with self._map.solves.solving("tangent"):
            eta = self._tangent_state(factors, h)
        with self._map.solves.solving("adjoint"):
            functional = self._system.observe_transposed(outer(self._system.observe(eta)))
            if not self._map.affine:
                assert adjoint.state is not None
                functional -= self._system.curvature(self.state, adjoint.state, eta)
            p = factors.transposed.solve(self._system.restrict(functional), accuracy=self._accuracy).x
            return self._system.couple_transposed(self._system.extend(p))

    def _tangent_state(self, factors: LinearSolver, h: Array) -> Array:
        b = self._system.restrict(self._system.couple(h))
        return self._system.extend(factors.solve(b, accuracy=self._accuracy).x)


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
    first = size = system.norm(residual)
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
            first = size = system.norm(residual)
            factors = system.factorise(y, counter)
        try:
            moved = factors.solve(residual).x
        finally:
            factors.close()
        step = system.extend(moved)
        counter.linear += 1
        length = 1.0
        while True:
            trial = y + length * step
            residual = system.restrict(system.residual(trial, u))
            new = system.norm(residual)
            if new <= (1.0 - 1e-4 * length) * size:
                break
            if system.norm(moved) <= 1e-9 * np.fmax(system.norm(y), 1e-300) or size <= 1e-10 * first:
                return y  # at the rounding of the residual
            length /= 2
            if length < 1e-6:
                raise ConvergenceError(
                    f"Newton's method for the state stopped at a residual of {size:.1e} (first {first:.1e}): no "
                    "step reduces it. Check the semilinear term, or start from a control nearer to the solution."
                )
        # The error after a full step is of the order of its square.
        converged = length == 1.0 and system.norm(moved) <= 1e-9 * system.norm(trial)
        y, size = trial, new
        if converged:
            return y
    reason = "in 50 steps" if np.isfinite(size) else "as the semilinear term is NaN or infinite at its start"
    raise ConvergenceError(
        f"Newton's method for the state did not converge {reason} (residual {size:.1e}, first {first:.1e}): "
        "check the semilinear term, or start from a control nearer to the solution."
    )
