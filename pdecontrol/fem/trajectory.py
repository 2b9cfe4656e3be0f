"""Nonlinear evolutions at a control: their trajectory, tangent, exact adjoint and second derivative, swept through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..errors import ConvergenceError, StateError
from ..linear.solver import LinearSolver
from ..maps import Adjoint, Linearisation
from .evolution import Evolution
from .march import Vectors, march
from .newton import newton
from .steps import AffineSteps, TrajectorySteps, linearised_solver


class TrajectoryLinearisation(Linearisation):
    """The map of a nonlinear evolution at u, whose trajectory is computed at once.

    Sweeps go through the trajectory a step at a time. Where only snapshots of it are kept, the states between them are
    computed again, and no solution of a sweep is kept. Nothing begins from an earlier solution: answers do not depend
    on what is kept.
    """

    def __init__(
        self, evolution: Evolution, linear: AffineSteps, counter: Counter, u: Array, accuracy: float | None = None,
        snapshots: int | None = None,
    ) -> None:  # fmt: skip
        self._evolution, self._linear, self._counter, self._accuracy = evolution, linear, counter, accuracy
        self._u, self._controls = u, evolution.steps_of(u)
        self._count, self._size, self._snapshots = len(self._controls), evolution.engine.size, snapshots
        self._steps = TrajectorySteps(evolution, self._controls, linear, counter, keep=snapshots is None)
        self._state = None if snapshots else np.empty((self._count, self._size))
        advance = NewtonSteps(evolution, linear, counter, u, self._state)
        self._march = march(self._count, (evolution.first_state(u),), advance, snapshots)
        self._value = evolution.observation.space.zeros()
        with counter.solving("state"):
            for n, _, (y,) in self._march.forward():
                evolution.observation.observe(n, y, self._value)
                counter.step(n + 1, self._count)

    @property
    def value(self) -> Array:
        return self._value

    @property
    def state(self) -> Array | None:
        return None if self._state is None else self._state.ravel()

    def full_state(self) -> Array:
        if self._state is not None:
            return self._state.ravel()
        state = np.empty((self._count, self._size))
        with self._counter.timing():
            for n, _, (y,) in self._march.forward():
                state[n] = y
        return state.ravel()

    @property
    def error(self) -> float | None:
        if self._accuracy is not None:
            return None
        return 4.0 * self._loss * self._evolution.observation.space.norm(self.value)

    @property
    def _loss(self) -> float:
        """What solutions of a step lose to rounding or to the tolerance of iterations, relatively."""
        return max(1e-13, self._linear.solver(0).loss)

    # -- derivatives --------------------------------------------------------------------------------------------

    def tangent(self, h: Array) -> Array:
        observed = self._evolution.observation.space.zeros()
        eta, along = self._first_tangent(h), self._evolution.steps_of(h)
        with self._counter.solving("tangent"):
            for n, (before,), (y,) in self._march.forward():
                eta = self._tangent_step(n, before, y, eta, along[n], h)
                self._evolution.observation.observe(n, eta, observed)
                self._counter.step(n + 1, self._count)
        return observed

    def _first_tangent(self, h: Array) -> Array:
        """The change of y_0."""
        evolution = self._evolution
        return np.zeros(self._size) if evolution.initial is None else evolution.embedded(h)

    def _tangent_step(self, n: int, before: Array, y: Array, eta: Array, along: Array, h: Array) -> Array:
        """The change of the state after a step, from that before it, eta, and that of the control."""
        evolution, steps = self._evolution, self._steps
        lifting = evolution.levels[0].lifting
        functional = lifting.restrict(evolution.couple(n, y, before, self._controls[n], along))
        free = lifting.unknowns(eta)
        if n > 0 or evolution.initial is None:
            functional = functional + steps.previous(n, before, free)
        else:  # M y_0 is given by the control itself
            functional = functional + lifting.restrict(evolution.shift(0) * evolution.initial.apply(h))
            if self._linear.rest:
                functional = functional - self._linear.rest * steps.at_beginning(0, before, free)
        with steps.solver(n, y) as solver:
            return lifting.extend(solver.solve(functional, None, self._accuracy).x)

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        state = None if self._state is None else np.empty_like(self._state)
        with self._counter.solving("adjoint"):
            gradient = self._swept(w, state)
        error = None if self._accuracy is not None else 4.0 * self._loss * self._evolution.control.norm(gradient)
        return Adjoint(gradient, error, None if state is None else state.ravel())

    def full_adjoint(self, w: Array) -> Array:
        state = np.empty((self._count, self._size))
        with self._counter.timing():
            self._swept(w, state)
        return state.ravel()

    def _swept(self, w: Array, state: Array | None) -> Array:
        """S'(u)* w, with the solution of the adjoint equation entered in `state`."""
        sweep, gradient, shift = self._adjoint_sweep(w), self._evolution.control.zeros(), self._evolution.shift
        for n, (before,), (y,) in self._march.backward():
            with self._steps.solver(n, y) as solver:
                p = sweep(n, before, solver)
            self._enter(gradient, n, before, y, p)
            if state is not None:
                state[n] = shift(n) * p
            self._counter.step(self._count - n, self._count)
        return gradient

    def _adjoint_sweep(self, w: Array) -> AdjointSweep:
        load = self._evolution.observation.functionals(w, self._size)
        return AdjointSweep(self._evolution, self._steps, self._accuracy, load)

    def _enter(
        self, gradient: Array, n: int, before: Array, y: Array, p: Array, on_initial: Array | float = 0.0
    ) -> None:
        """Enter in -M_u^-1 E_u' p what a step adds to it, less a functional on y_0."""
        evolution = self._evolution
        if evolution.initial is None:
            row = evolution.couple_transposed(n, y, before, self._controls[n], p)
            evolution.control.steps(gradient)[n] = row / evolution.lengths[n]
        elif n == 0:
            lifting, rest = evolution.levels[0].lifting, self._linear.rest
            on_state = np.zeros(self._size) - on_initial
            if rest:
                carried = self._steps.at_beginning(0, before, lifting.unknowns(p), transposed=True)
                on_state = on_state - lifting.extend(rest * carried)
            nodal = evolution.initial.transposed(np.where(lifting.fixed, 0.0, on_state))
            gradient[:] = evolution.shift(0) * evolution.initial.transposed(p) + nodal / evolution.control.mass

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        evolution, along = self._evolution, self._evolution.steps_of(h)
        observed = evolution.observation.space.zeros()

        def advance(n: int, x: Vectors) -> Vectors:
            before, eta = x
            (y,) = self._march.after(n, (before,))
            return y, self._tangent_step(n, before, y, eta, along[n], h)

        pairs = march(self._count, (evolution.first_state(self._u), self._first_tangent(h)), advance, self._snapshots)
        with self._counter.solving("tangent"):
            for n, _, (_, eta) in pairs.forward():
                evolution.observation.observe(n, eta, observed)
                self._counter.step(n + 1, self._count)
        with self._counter.solving("adjoint"):
            multiplier, sweep = self._multipliers(w, adjoint), self._adjoint_sweep(outer(observed))
            gradient, curved = evolution.control.zeros(), np.zeros(self._size)
            images = np.zeros_like(along)
            for n, (before, eta_before), (y, eta) in pairs.backward():
                with self._steps.solver(n, y) as solver:
                    p = multiplier(n, before, solver)
                    on_new, on_old, images[n] = evolution.second(
                        n, y, before, self._controls[n], p, eta, eta_before, along[n]
                    )
                    p = sweep(n, before, solver, on_new + curved)
                self._enter(gradient, n, before, y, p, on_old)
                self._counter.step(self._count - n, self._count)
                curved = on_old
            return gradient if evolution.initial else gradient - (images / evolution.lengths[:, None]).ravel()

    def _multipliers(self, w: Array, adjoint: Adjoint) -> Callable[[int, Array, LinearSolver], Array]:
        """The multipliers of the steps, from the last to the first, behind solve_adjoint(w), which may have them."""
        shift, state = self._evolution.shift, adjoint.state
        if state is not None:
            rows = self._evolution.adjoints.steps(state)
            return lambda n, before, solver: rows[n] / shift(n)
        sweep = self._adjoint_sweep(w)
        return lambda n, before, solver: (shift(n) * sweep(n, before, solver)) / shift(n)  # rounded like kept ones

    def state_errors(self) -> tuple[float, float]:
        """The residuals of the steps relative to those of y_D, and NaN: no bound in the energy norm is known."""
        evolution, squares = self._evolution, np.zeros(2)
        for n, (before,), (y,) in self._march.forward():
            zero, zero_before = (evolution.levels[k].lifting.initial() for k in (n + 1, n))
            for k, (new, old) in enumerate(((y, before), (zero, zero_before if n > 0 else before))):
                carried = evolution.carried(old, self._u if n == 0 else None)
                residual = evolution.residual(n, new, old, carried, self._controls[n])
                squares[k] += evolution.engine.group.norm(residual) ** 2
        error, size = np.sqrt(squares).tolist()
        return error / (size or 1.0), np.nan


class NewtonSteps:
    """The state after a step, from the one before, entered in `states` if that is given."""

    def __init__(
        self, evolution: Evolution, linear: AffineSteps, counter: Counter, u: Array, states: Array | None
    ) -> None:  # fmt: skip
        self._evolution, self._linear, self._counter, self._u = evolution, linear, counter, u
        self._controls, self._states, self._computed = evolution.steps_of(u), states, 0

    def __call__(self, n: int, x: Vectors) -> Vectors:
        (y,), count = x, len(self._controls)
        if self._computed == count:
            self._counter.recomputed += 1
        else:
            self._computed += 1
        try:
            y = self._newton(n, y)
        except (ConvergenceError, StateError) as error:
            time = self._evolution.times[n + 1]
            raise type(error)(f"in step {n + 1} of {count}, to t = {time:g}: {error} Or take shorter steps.") from error
        if self._states is not None:
            self._states[n] = y
            y = self._states[n]
        return (y,)

    def _newton(self, n: int, before: Array) -> Array:
        evolution, u, counter = self._evolution, self._controls[n], self._counter
        carried, lifting = evolution.carried(before, self._u if n == 0 else None), evolution.levels[n + 1].lifting

        def residual(y: Array) -> Array:
            return evolution.residual(n, y, before, carried, u)

        def step(y: Array, r: Array) -> Array:
            solver = linearised_solver(evolution, n, y, u, self._linear, counter)
            try:
                free = solver.solve(r, accuracy=1e-6).x  # what Newton's method needs
            finally:
                solver.close()
            counter.linear += 1
            return -lifting.extend(free)

        start = lifting.nearest(before)
        return newton(residual, step, evolution.engine.group.norm, start)


class AdjointSweep:
    """B_n' p_n = f_n + N_(n+1)' p_(n+1), n = N, .., 1, a step at a time; f_n are functionals of `load`."""

    def __init__(
        self, evolution: Evolution, steps: TrajectorySteps, accuracy: float | None, load: Callable[[int], Array]
    ) -> None:
        self._lifting, self._steps, self._accuracy, self._load = evolution.levels[0].lifting, steps, accuracy, load
        self._carried = np.zeros(self._lifting.free.size)

    def __call__(self, n: int, before: Array, solver: LinearSolver, less: Array | float = 0.0) -> Array:
        """p at the end of the step n = N - 1, .., 0, given y at its beginning and B_n."""
        functional = self._lifting.restrict(self._load(n) - less) + self._carried
        p = solver.transposed.solve(functional, None, self._accuracy).x
        if n > 0:
            self._carried = self._steps.previous(n, before, p, transposed=True)
        return self._lifting.extend(p)
