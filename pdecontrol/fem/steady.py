"""Steady solution maps: one state solve, its tangent and its exact adjoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial

import numpy as np

from ..arrays import Array
from ..errors import ConvergenceError
from ..linear.solver import LinearSolver
from ..maps import Adjoint, Linearisation, SolutionMap
from .bounds import Constants, Rounding, norm_bound, spectral_constants
from .collective import Collective
from .newton import steady_state
from .system import System

LONG = 500  # steps of conjugate gradients where nothing else is left
FEW = 8  # their steps for each inactive control, 1 but for rounding, which makes it 4 at small weights
KEPT = 3  # factorised matrices of a nonlinear map, for as many linearisations


class SteadyMap(SolutionMap):
    """S(u) = O y with e(y, u) = 0, discretised first, so that the adjoint is the exact transpose.

    Notes
    -----
    S'(u) = -O e_y^-1 e_u and S'(u)* = -M_u^-1 e_u' e_y^-T O' M_y. For affine equations the matrix is factorised once,
    when it is first needed.
    """

    exact = twice = True

    def __init__(self, system: System) -> None:
        self.system = system
        self.control, self.observation = system.control, system.observation.space
        self.solution, self.fingerprint = system.solution, system.fingerprint
        affine = system.equation.affine
        self.rounding = None if affine is None else Rounding(system, affine)
        self.affine = affine is not None
        self._open: list[LinearSolver] = []
        self._collectives: dict[tuple[bool, ...], Collective | None] = {}

    @property
    def factored(self) -> bool:
        """Whether linear systems are solved by sparse factors, to rounding, and not iteratively."""
        return self.system.engine.exact

    @cached_property
    def factors(self) -> LinearSolver:
        """The matrix of an affine map, ready to solve with."""
        return self.factorise(self.system.lifting.initial(), self.control.zeros())

    def factorise(self, y: Array, u: Array) -> LinearSolver:
        """The matrix at a state and control, ready to solve with; older ones are closed."""
        with self.solves.timing():
            self._open.append(self.system.factorise(y, u, self.solves))
        for solver in self._open[:-KEPT]:
            solver.close()
        del self._open[:-KEPT]
        return self._open[-1]

    @property
    def arithmetic(self) -> str:  # type: ignore[override]
        if not self.affine:
            return (
                "rounding of sparse factors estimated by what a solution loses to it" if self.factored
                else "linear systems solved iteratively to relative residuals of 1e-13, which are neglected"
            )  # fmt: skip
        what = "rounding of sparse factors" if self.factored else "errors of iterative linear solvers"
        constants = self.constants
        if constants.condition is None:
            return f"{what} bounded by estimated spectral constants"
        named = "ill-conditioned or nearly resonant: " if constants.condition > 1e10 else ""
        if constants.observation == np.inf:
            named = "singular to working precision: "
        return f"{what} bounded by estimated norms ({named}condition number {constants.condition:.0e})"

    @cached_property
    def constants(self) -> Constants:
        """What a residual of an affine equation may amount to in the observation and in the gradient."""
        return spectral_constants(self.system, self.factors, self.solves)

    @cached_property
    def norm_bound(self) -> float:
        if not self.affine:
            return 0.0
        try:
            return norm_bound(self.system, self.factors, self.constants)
        except ConvergenceError:  # of a solver of the user's
            return 0.0

    def newton_system(
        self, at: Linearisation, r: Array, weights: Callable[[Array], Array], second: Callable[[Array], Array],
        forcing: float, max_cg: int, norm: float | None = None,
    ) -> tuple[Array, Adjoint]:  # fmt: skip
        """See `SolutionMap`; by a system in the state and the adjoint solution at once where that is less work.

        On intervals it is, and with iterative solvers. With factors, conjugate gradients may do half as much first,
        unless `max_cg` is 0 and not so few controls are inactive that these steps suffice.
        """
        by_gradients, alone = partial(self.by_gradients, at, r, weights, second, forcing), max_cg or LONG
        if self.system.banded:
            norm = norm or 1.0  # systems are solved at once, whatever it is
        collective = self._collective(second) if norm else None
        if collective is None or norm is None:
            return by_gradients(alone)[0]
        w = weights(self.control.zeros() + 1.0)
        top = self.control.max(w)
        if not collective.serves(top):
            return by_gradients(alone)[0]
        half = collective.affordable(top, norm)
        few = FEW * self.control.sum(w > 0) < half
        if (steps := half if few else min(max_cg, half)) > 0:
            found, enough = by_gradients(steps)
            if enough:
                return found
        solution = collective.solve(r, w, top, norm, forcing)
        if solution is None:
            return by_gradients(alone)[0]
        observed, lam = solution
        return r + second(observed), Adjoint(self.system.equation.coupling.transposed(lam), None, lam)

    def _collective(self, second: Callable[[Array], Array]) -> Collective | None:
        """What solves Newton systems at once, where the equation and what is tracked allow it."""
        space = self.observation
        tracked = tuple(map(space.any, space.split(second(space.zeros() + 1.0))))
        if self.affine and tracked not in self._collectives:
            self._collectives[tracked] = Collective.of(self.system, tracked, self.factors, self.solves)
        return self._collectives.get(tracked)

    def close(self) -> None:
        """Free what the linear solvers hold; the map can be used again, at the cost of a factorisation."""
        for solver in self._open:
            solver.close()
        self._open.clear()
        for collective in self._collectives.values():
            if collective is not None:
                collective.close()
        self._collectives.clear()
        self.__dict__.pop("factors", None)

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> SteadyLinearisation:
        return SteadyLinearisation(self, self.control.checked(u, "the control"), start, accuracy)


class SteadyLinearisation(Linearisation):
    """The map at u: the state is found when first needed (affine) or at once (nonlinear)."""

    def __init__(self, map: SteadyMap, u: Array, start: Array | None, accuracy: float | None) -> None:
        self._map, self._system, self._u = map, map.system, u
        self._equation, self._observation = map.system.equation, map.system.observation
        self._restrict = map.system.lifting.restrict
        self._start, self._accuracy = start, accuracy
        self._rounding = map.rounding if accuracy is None else None  # where bounds are asked for
        self._own: LinearSolver | None = None
        if not map.affine:
            _ = self._solved  # an equation that cannot be solved fails here

    @cached_property
    def _solved(self) -> tuple[Array, Array, float | None]:
        """The state, what is observed of it, and the bound on its residual."""
        factors = self._map.factors if self._map.affine else None  # timed apart
        with self._map.solves.solving("state"):
            y = self._system.lifting.initial()
            error: float | None = 0.0
            if factors is not None:
                noise = None if self._rounding is None else self._rounding.load(self._u)
                b = self._system.load + self._restrict(self._equation.couple(*self._point, self._u))
                step, error = self._solve(factors, b, self._start, noise)
                y += step
            else:
                if self._start is not None:
                    y += self._system.lifting.extend(self._system.lifting.unknowns(self._start))
                y = steady_state(self._system, self._u, y, self._map.solves)
            return y, self._observation.apply(y), error

    def _solve(
        self, solver: LinearSolver, b: Array, start: Array | None = None, noise: Array | None = None
    ) -> tuple[Array, float | None]:
        """e_y^-1 or e_y^-T of a functional on the free entries, zero on others, and the bound on its residual."""
        near = None if start is None else self._system.lifting.unknowns(start)
        solution = solver.solve(b, near, self._accuracy, 0.0 if noise is None else self._restrict(noise))
        return self._system.lifting.extend(solution.x), solution.error

    @property
    def _factors(self) -> LinearSolver:
        if self._map.affine:
            return self._map.factors
        if self._own is None or self._own.closed:
            self._own = self._map.factorise(self.state, self._u)
        return self._own

    @property
    def _point(self) -> tuple[Array, Array]:
        """Where derivatives of the equation are taken: for an affine one anywhere, without a solve."""
        return (self._system.lifting.initial() if self._map.affine else self.state), self._u

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
        if self._rounding is None:
            return 4.0 * self._factors.loss * self._map.observation.norm(observed)
        if residual in (0.0, np.inf):
            return residual
        return residual * self._map.constants.observation + self._rounding.observed(y)

    def tangent(self, h: Array) -> Array:
        factors = self._factors
        with self._map.solves.solving("tangent"):
            b = self._restrict(self._equation.couple(*self._point, h))
            return self._observation.apply(self._solve(factors, b)[0])

    def tangents(self, h: Array) -> Array:
        loads = (self._equation.couple(*self._point, row) for row in h)
        return np.stack([self._observation.apply(eta) for eta in self._solve_all(self._factors, "tangent", loads)])

    def adjoints(self, w: Array) -> Array:
        functionals, solver = (self._observation.transposed(row) for row in w), self._factors.transposed
        states = self._solve_all(solver, "adjoint", functionals)
        return np.stack([self._equation.couple_transposed(*self._point, p) for p in states])

    def _solve_all(self, solver: LinearSolver, kind: str, functionals: Iterable[Array]) -> Iterator[Array]:
        """e_y^-1 or e_y^-T of several functionals."""
        b = np.stack([self._restrict(functional) for functional in functionals]).T  # columns as factors take them
        with self._map.solves.solving(kind, b.shape[1]):
            x = solver.solve_columns(b, self._accuracy)
        return map(self._system.lifting.extend, x.T)

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        solver, b = self._factors.transposed, self._restrict(self._observation.transposed(w))
        noise = None if self._rounding is None else self._rounding.functional(w)
        if noise is not None and start is not None:
            near = self._system.lifting.unknowns(start)
            with self._map.solves.timing():
                known = solver.recognise(b, near, self._restrict(noise))
            if known is not None:
                return self._adjoint_of(self._system.lifting.extend(known.x), known.error)
        with self._map.solves.solving("adjoint"):
            return self._adjoint_of(*self._solve(solver, b, start, noise))

    def _adjoint_of(self, p: Array, residual: float | None) -> Adjoint:
        gradient, error = self._equation.couple_transposed(*self._point, p), residual
        if self._accuracy is not None or error is None:
            return Adjoint(gradient, None, p)
        if self._rounding is None:
            error = 4.0 * self._factors.loss * self._map.control.norm(gradient)
        elif 0 < error < np.inf:
            error = error * self._map.constants.gradient + self._rounding.gradient(p)
        return Adjoint(gradient, error, p)

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        factors, point = self._factors, self._point
        with self._map.solves.solving("tangent"):
            eta, _ = self._solve(factors, self._restrict(self._equation.couple(*point, h)))
        with self._map.solves.solving("adjoint"):
            functional = self._observation.transposed(outer(self._observation.apply(eta)))
            if self._map.affine:
                p, _ = self._solve(factors.transposed, self._restrict(functional))
                return self._equation.couple_transposed(*point, p)
            assert adjoint.state is not None
            curved, image = self._equation.second(*point, adjoint.state, eta, h)
            p, _ = self._solve(factors.transposed, self._restrict(functional - curved))
            return self._equation.couple_transposed(*point, p) - image

    def state_errors(self) -> tuple[float, float]:
        """The residual of the state relative to that of y_D, and a bound on its relative error in the energy norm.

        The bound includes the rounding of the residual. It is NaN where it is not known: unless the equation is affine
        and symmetric positive definite, and solved by factors.
        """
        system, zero = self._system, self._system.lifting.initial()
        b, r = (-system.residual(y, self._u) for y in (zero, self.state))
        residual = system.norm(r) / (system.norm(b) or 1.0)
        if not (self._rounding is not None and self._equation.definite and self._map.factored):
            return residual, np.nan
        x, factors = system.lifting.unknowns(self.state - zero), self._map.factors
        r, rounding = factors.residual(x, b, system.lifting.restrict(self._rounding.load(self._u)))
        eta = sum(float(v @ factors.solve(v).x) ** 0.5 for v in (r, rounding))
        energy = float(x @ (b - r)) ** 0.5
        return residual, eta / (energy - eta) if eta < energy else np.inf
