"""The linearised steps of an evolution, B_n x_n = f_n + N_n x_(n-1), forwards and, transposed, backwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..linear.matrix import ROUNDING, SharedMatrix, shared
from ..linear.nearby import nearby_solver
from ..linear.residual import Excess
from ..linear.solver import LinearSolver
from .evolution import Evolution


class Steps(ABC):
    """At the free entries, B_n = e_y + s M at the end of the step n = 0, .., N - 1, and N_n = s M - rest e_y at its
    beginning, with s = 1/(theta dt) and rest = (1 - theta)/theta.
    """

    def __init__(self, evolution: Evolution, counter: Counter) -> None:
        self.evolution, self.count, self._counter = evolution, evolution.lengths.size, counter
        self.rest = (1.0 - evolution.theta) / evolution.theta

    @abstractmethod
    def solver(self, n: int) -> LinearSolver:
        """B_n, ready to solve with."""

    @abstractmethod
    def old(self, n: int) -> SharedMatrix:
        """e_y at the beginning of a step, asked for where rest is not zero."""

    @abstractmethod
    def forward(
        self, functionals: Array, start: Array | None = None, accuracy: float | None = None, noise: Array | None = None
    ) -> tuple[Array, float | None]:
        """x_1, .., x_N with x_0 = 0, and the bound (sum_n r_n^2)^1/2 on residuals in the norms of the solvers.

        Functionals, starts and what the former may err by have a row for each step.
        """

    @abstractmethod
    def backward(
        self, functionals: Array, start: Array | None = None, accuracy: float | None = None, noise: Array | None = None
    ) -> tuple[Array, float | None]:
        """p_N, .., p_1 with B_n' p_n = f_n + N_(n+1)' p_(n+1), in the order of time, and the bound on residuals."""

    def close(self) -> None:  # noqa: B027
        """Free what the linear solvers hold; they are made again when needed."""

    @cached_property
    def mass(self) -> SharedMatrix:
        return shared(self.evolution.block(self.evolution.mass))

    @cached_property
    def _mass_sizes(self) -> SharedMatrix:
        return abs(self.mass)

    def previous(self, n: int, x: Array, transposed: bool = False) -> Array:
        """N_n x, or N_n' x."""
        result = self.evolution.shift(n) * (self.mass @ x)
        if self.rest:
            old = self.old(n)
            result = result - self.rest * (old.apply_transposed(x) if transposed else old @ x)
        return result

    def previous_sizes(self, n: int, x: Array, transposed: bool = False) -> Array:
        """|N_n| |x|, with the entries of the two matrices apart."""
        x = np.abs(x)
        result = self.evolution.shift(n) * (self._mass_sizes @ x)
        if self.rest:
            old = abs(self.old(n))
            result = result + self.rest * (old.apply_transposed(x) if transposed else old @ x)
        return result


class AffineSteps(Steps):
    """Those of an affine evolution, taken one after the other: one factorisation for each distinct matrix."""

    def __init__(self, evolution: Evolution, counter: Counter) -> None:
        super().__init__(evolution, counter)
        self._solvers = dict[tuple[int, float], LinearSolver]()
        self._definite = dict[tuple[int, float], bool]()
        self._old = dict[int, SharedMatrix]()

    def solver(self, n: int) -> LinearSolver:
        key = self.evolution.key(n)
        if key not in self._solvers:
            self._solvers[key] = step_solver(self.evolution, n, self._counter)
        return self._solvers[key]

    def definite(self, n: int) -> bool:
        """Whether the matrix of a step is known to be symmetric positive definite."""
        key = self.evolution.key(n)
        if key not in self._definite:
            equation, shift = self.evolution.levels[n + 1].equation, self.evolution.shift(n)
            self._definite[key] = equation.definite_at(*self.evolution.reference(n), shift)
        return self._definite[key]

    def old(self, n: int) -> SharedMatrix:
        key = id(self.evolution.levels[n].equation)
        if key not in self._old:
            evolution = self.evolution
            y, u = evolution.levels[n].lifting.initial(), evolution.steady_control()
            matrix = evolution.levels[n].equation.jacobian(y, u)
            self._old[key] = shared(evolution.block(matrix))
        return self._old[key]

    def forward(
        self, functionals: Array, start: Array | None = None, accuracy: float | None = None, noise: Array | None = None
    ) -> tuple[Array, float | None]:
        x, errors = np.empty_like(functionals), list[float | None]()
        carried = spread = np.zeros(functionals.shape[1])
        for n in range(self.count):
            uncertain = 0.0 if noise is None else noise[n] + ROUNDING * spread
            near = None if start is None else start[n]
            solution = self.solver(n).solve(functionals[n] + carried, near, accuracy, uncertain)
            x[n] = solution.x
            self._counter.step(n + 1, self.count)
            errors.append(solution.error)
            if n + 1 < self.count:
                carried = self.previous(n + 1, x[n])
                spread = self.previous_sizes(n + 1, x[n]) if noise is not None else spread
        return x, total(errors)

    def backward(
        self, functionals: Array, start: Array | None = None, accuracy: float | None = None, noise: Array | None = None
    ) -> tuple[Array, float | None]:
        p, errors = np.empty_like(functionals), list[float | None]()
        carried = spread = np.zeros(functionals.shape[1])
        for n in reversed(range(self.count)):
            uncertain = 0.0 if noise is None else noise[n] + ROUNDING * spread
            near = None if start is None else start[n]
            solution = self.solver(n).transposed.solve(functionals[n] + carried, near, accuracy, uncertain)
            p[n] = solution.x
            self._counter.step(self.count - n, self.count)
            errors.append(solution.error)
            if n > 0:
                carried = self.previous(n, p[n], True)
                spread = self.previous_sizes(n, p[n], True) if noise is not None else spread
        return p, total(errors)

    def close(self) -> None:
        for solver in self._solvers.values():
            solver.close()
        self._solvers.clear()


class TrajectorySteps:
    """Those of an evolution linearised along a trajectory with the controls u_1, .., u_N, given at states of it.

    Systems are solved by iterations, preconditioned by factors of the linear part; no factors are kept, nor what
    iterative solvers need, but matrices are, where the trajectory is.
    """

    def __init__(self, evolution: Evolution, u: Array, linear: AffineSteps, counter: Counter, keep: bool) -> None:
        self._evolution, self._u, self._linear, self._counter = evolution, u, linear, counter
        self._keep = keep
        self._solvers = dict[int, LinearSolver]()
        self._old = dict[int, SharedMatrix]()

    @contextmanager
    def solver(self, n: int, y: Array) -> Iterator[LinearSolver]:
        """B_n, ready to solve with, given the state at the end of the step."""
        solver = self._solvers.get(n)
        if solver is None:
            solver = linearised_solver(self._evolution, n, y, self._u[n], self._linear, self._counter)
            if self._keep and self._linear.solver(n).inverse.exact:
                self._solvers[n] = solver
        try:
            yield solver
        finally:
            if n not in self._solvers:
                solver.close()

    def previous(self, n: int, y: Array, x: Array, transposed: bool = False) -> Array:
        """N_n x, or N_n' x, given the state at the beginning of the step."""
        result, rest = self._evolution.shift(n) * (self._linear.mass @ x), self._linear.rest
        if rest:
            result = result - rest * self.at_beginning(n, y, x, transposed)
        return result

    def at_beginning(self, n: int, y: Array, x: Array, transposed: bool = False) -> Array:
        """e_y x, or e_y' x, at the beginning of the step."""
        old = self._old.get(n)
        if old is None:
            evolution = self._evolution
            old = shared(evolution.block(evolution.levels[n].equation.jacobian(y, self._u[n])))
            if self._keep:
                self._old[n] = old
        return np.asarray(old.apply_transposed(x) if transposed else old @ x)


def step_solver(evolution: Evolution, n: int, counter: Counter, at: tuple[Array, Array] | None = None) -> LinearSolver:
    """e_y + s M at the end of a step by factors, or as the engine has been told to; at the reference by default."""
    level, shift, engine = evolution.levels[n + 1], evolution.shift(n), evolution.engine
    y, u = at or evolution.reference(n)
    matrix = level.equation.jacobian(y, u, shift)
    excess, affine = None, level.equation.affine
    if affine is not None and affine.row_sums is not None:
        one, fixed = np.ones(engine.size), level.lifting.fixed.astype(float)
        sums = affine.row_sums[0] + shift * (evolution.mass @ one)
        sizes = affine.row_sums[1] + shift * (abs(evolution.mass) @ one)
        errors = ROUNDING * (sizes + abs(matrix) @ fixed)
        restrict = level.lifting.restrict
        excess = Excess(restrict(sums - matrix @ fixed), restrict(errors), affine.symmetric)
    block = evolution.block(matrix)
    definite = level.equation.definite_at(y, u, shift)
    return engine.solver(block, definite, counter, engine.nodes[:, evolution.free], excess)


def linearised_solver(
    evolution: Evolution, n: int, y: Array, u: Array, linear: AffineSteps, counter: Counter
) -> LinearSolver:
    """e_y + s M at a state, solved by iterations with the factors of the linear part."""
    near, level, shift = linear.solver(n), evolution.levels[n + 1], evolution.shift(n)
    if not near.inverse.exact:
        return step_solver(evolution, n, counter, (y, u))
    definite = linear.definite(n) and level.equation.definite_at(y, u, shift)
    matrix = shared(evolution.block(level.equation.jacobian(y, u, shift)))

    def factorise() -> LinearSolver:
        return step_solver(evolution, n, counter, (y, u))

    return nearby_solver(matrix, near, definite, counter, factorise)


def total(errors: list[float | None]) -> float | None:
    """(sum r^2)^1/2, None where one is not known."""
    known = [error for error in errors if error is not None]
    return float(np.linalg.norm(known)) if len(known) == len(errors) else None
