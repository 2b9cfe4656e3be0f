"""Solution maps of parabolic equations: a march in time, its tangent and its exact adjoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np

from ..arrays import Array
from ..errors import ConvergenceError, StateError
from ..linear.matrix import ROUNDING
from ..maps import Adjoint, Linearisation, SolutionMap
from .bounds import SUMS, Constants
from .bounds_in_time import norm_bound, spectral_constants
from .circulant import CirculantSteps
from .evolution import Evolution
from .newton import newton
from .steps import AffineSteps, Steps, TrajectorySteps, linearised_solver


class ParabolicMap(SolutionMap):
    """S(u) = O y with E_n(y_n, y_(n-1), u_n) = 0, n = 1, .., N, discretised first, so that the adjoint is exact.

    States are trajectories, y_1, .., y_N one after the other; the adjoint PDE solution is that of the continuous
    equation, p_n/(theta dt_n) where p_n are the multipliers of the steps.
    """

    exact = twice = True

    def __init__(self, evolution: Evolution, march: str = "sequential") -> None:
        self.evolution = evolution
        self.control, self.observation = evolution.control, evolution.observation.space
        self.solution, self.adjoints = evolution.solution, evolution.adjoints
        self.fingerprint, self.affine = evolution.fingerprint, evolution.affine
        steps = CirculantSteps if march == "parallel-in-time" else AffineSteps
        self.linear: Steps = steps(evolution, self.solves)

    @property
    def factored(self) -> bool:
        """Whether linear systems are solved by sparse factors, to rounding, and not iteratively."""
        return self.evolution.engine.exact

    @property
    def arithmetic(self) -> str:  # type: ignore[override]
        if not self.affine:
            return "rounding estimated by what a solution loses to it, and linear systems solved to 1e-13"
        what = "rounding of sparse factors" if self.factored else "errors of iterative linear solvers"
        named = "singular to working precision: " if self.constants.observation == np.inf else ""
        return (
            f"{what} bounded by estimated norms of the march ({named}condition number {self.constants.condition:.0e})"
        )

    @cached_property
    def constants(self) -> Constants:
        """What residuals of the steps of an affine equation may amount to in the observation and in the gradient."""
        anywhere = self.at(self.control.zeros())
        return spectral_constants(self.evolution, self.linear, self.solves, anywhere.coupled, anywhere.gradient)

    @cached_property
    def norm_bound(self) -> float:
        if not self.affine:
            return 0.0
        try:
            return norm_bound(self.evolution, self.linear, self.constants)
        except ConvergenceError:  # of a solver of the user's
            return 0.0

    def close(self) -> None:
        """Free what the linear solvers hold; the map can be used again, at the cost of factorisations."""
        self.linear.close()

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> ParabolicLinearisation:
        return ParabolicLinearisation(self, self.control.checked(u, "the control"), start, accuracy)


class ParabolicLinearisation(Linearisation):
    """The map at u: the trajectory is found when first needed (affine) or at once (nonlinear)."""

    def __init__(self, map: ParabolicMap, u: Array, start: Array | None, accuracy: float | None) -> None:
        self._map, self._evolution, self._u = map, map.evolution, u
        self._steps_of_u = map.evolution.steps_of(u)
        self._start, self._accuracy = start, accuracy
        self._bounded = map.affine and accuracy is None  # where bounds are asked for
        if not map.affine:
            _ = self._solved  # an equation that cannot be solved fails here

    # -- the state ----------------------------------------------------------------------------------------------

    @cached_property
    def _solved(self) -> tuple[Array, float | None]:
        """The trajectory y_0, .., y_N and the bound on its residuals."""
        with self._map.solves.solving("state"):
            return self._march_linear() if self._map.affine else (self._march(), 0.0)

    def _march_linear(self) -> tuple[Array, float | None]:
        evolution = self._evolution
        y = self._lifted(np.zeros((evolution.lengths.size, evolution.free.size)))
        y[0] = evolution.first_state(self._u)
        functionals, noise, start = [], None, self._start
        for n, u in enumerate(self._steps_of_u):
            carried = evolution.carried(y[n], self._u if n == 0 else None)
            functionals.append(-evolution.residual(n, y[n + 1], y[n], carried, u))
        if self._bounded:
            noise = self._free(ROUNDING * evolution.load_sizes(self._u))
            noise += [evolution.rounding(n, y[n + 1], y[n]) for n in range(len(noise))]
        near = None if start is None else self._free(self._map.solution.steps(start)) - self._free(y[1:])
        x, residual = self._map.linear.forward(np.stack(functionals), near, self._accuracy, noise)
        y[1:, evolution.free] += x
        return y, residual

    def _march(self) -> Array:
        """By Newton's method in each step, from the state before: so that a trajectory depends on nothing else."""
        evolution, count = self._evolution, len(self._steps_of_u)
        y = self._lifted(np.zeros((count, evolution.free.size)))
        y[0] = evolution.first_state(self._u)
        for n, u in enumerate(self._steps_of_u):
            start = np.where(evolution.levels[n + 1].lifting.fixed, y[n + 1], y[n])
            try:
                y[n + 1] = self._newton(n, y[n], u, start)
            except (ConvergenceError, StateError) as error:
                raise type(error)(
                    f"in step {n + 1} of {count}, to t = {evolution.times[n + 1]:g}: {error} Or take shorter steps."
                ) from error
            self._map.solves.step(n + 1, count)
        return y

    def _newton(self, n: int, before: Array, u: Array, start: Array) -> Array:
        """The state after a step, from the one before."""
        evolution, map = self._evolution, self._map
        carried, lifting = evolution.carried(before, self._u if n == 0 else None), evolution.levels[n + 1].lifting

        def residual(y: Array) -> Array:
            return evolution.residual(n, y, before, carried, u)

        def step(y: Array, r: Array) -> Array:
            solver = linearised_solver(evolution, n, y, u, map.linear, map.solves)
            try:
                free = solver.solve(r, accuracy=1e-6).x  # what Newton's method needs
            finally:
                solver.close()
            map.solves.linear += 1
            return -lifting.extend(free)

        return newton(residual, step, evolution.engine.group.norm, start)

    def _lifted(self, free: Array) -> Array:
        """Trajectories (N + 1, n) with the Dirichlet values, from their free entries; the first is zero there."""
        evolution = self._evolution
        y = np.stack([level.lifting.initial() for level in evolution.levels])
        y[1:, evolution.free] = free
        return y

    def _free(self, rows: Array) -> Array:
        return rows[:, self._evolution.free]

    def _extended(self, free: Array) -> Array:
        """Rows with zeros at the fixed entries."""
        rows = np.zeros((len(free), self._evolution.engine.size))
        rows[:, self._evolution.free] = free
        return rows

    @property
    def state(self) -> Array:
        return np.asarray(self._solved[0][1:].ravel())

    @cached_property
    def value(self) -> Array:
        return self._evolution.observation.apply(self._solved[0][1:])

    @property
    def warm(self) -> Array | None:
        return self.state if self._map.affine else None

    @cached_property
    def error(self) -> float | None:
        residual = self._solved[1]
        if self._accuracy is not None or residual is None:
            return None
        if not self._map.affine:
            return 4.0 * self._loss * self._map.observation.norm(self.value)
        if residual in (0.0, np.inf):
            return residual
        observed = self._evolution.observation.absolute.apply(np.abs(self._solved[0][1:]))
        return residual * self._map.constants.observation + SUMS * self._map.observation.norm(observed)

    @property
    def _loss(self) -> float:
        """What solutions of a step lose to rounding or to the tolerance of iterations, relatively."""
        return max(1e-13, self._map.linear.solver(0).loss)

    # -- derivatives --------------------------------------------------------------------------------------------

    @cached_property
    def _steps(self) -> Steps:
        if self._map.affine:
            return self._map.linear
        return TrajectorySteps(self._evolution, self._solved[0], self._steps_of_u, self._map.linear, self._map.solves)

    @cached_property
    def _points(self) -> Array:
        """The trajectory where derivatives are taken: of an affine equation anywhere, without a solve."""
        if not self._map.affine:
            return self._solved[0]
        return self._lifted(np.zeros((len(self._steps_of_u), self._evolution.free.size)))

    def coupled(self, h: Array) -> tuple[Array, Array]:
        """-E_u h for each step, and the change of y_0."""
        evolution, y = self._evolution, self._points
        restrict = evolution.levels[0].lifting.restrict
        rows = zip(self._steps_of_u, evolution.steps_of(h), strict=True)
        functionals = np.stack([restrict(evolution.couple(n, y[n + 1], y[n], u, g)) for n, (u, g) in enumerate(rows)])
        if evolution.initial is None:
            return functionals, np.zeros(evolution.engine.size)
        eta = evolution.embedded(h)
        functionals[0] += restrict(evolution.shift(0) * evolution.initial.apply(h))
        if self._steps.rest:
            functionals[0] -= self._steps.rest * (self._steps.old(0) @ restrict(eta))
        return functionals, eta

    def gradient(self, p: Array, on_initial: Array | None = None) -> Array:
        """-M_u^-1 E_u' p with the multipliers p (N, n), less a functional on y_0."""
        evolution, y = self._evolution, self._points
        if evolution.initial is None:
            rows = [
                evolution.couple_transposed(n, y[n + 1], y[n], u, p[n]) / evolution.lengths[n]
                for n, u in enumerate(self._steps_of_u)
            ]
            return np.concatenate(rows)
        lifting, mass = evolution.levels[0].lifting, self._map.control.mass
        on_state = np.zeros(evolution.engine.size) if on_initial is None else -on_initial
        if self._steps.rest:
            carried = self._steps.old(0).apply_transposed(lifting.restrict(p[0]))
            on_state -= lifting.extend(self._steps.rest * carried)
        nodal = evolution.initial.transposed(lifting.extend(lifting.restrict(on_state))) / mass
        return evolution.shift(0) * evolution.initial.transposed(p[0]) + nodal

    def tangent(self, h: Array) -> Array:
        with self._map.solves.solving("tangent"):
            functionals, _ = self.coupled(h)
            eta, _ = self._steps.forward(functionals, accuracy=self._accuracy)
            return self._evolution.observation.apply(self._extended(eta))

    def _adjoint_load(self, w: Array) -> Array:
        shape = self._evolution.lengths.size, self._evolution.engine.size
        return self._free(self._evolution.observation.transposed(w, shape))

    @cached_property
    def _scales(self) -> Array:
        """From multipliers of the steps to the solution of the adjoint equation."""
        return np.array([[self._evolution.shift(n)] for n in range(self._evolution.lengths.size)])

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        evolution, noise = self._evolution, None
        if self._bounded:
            shape = evolution.lengths.size, evolution.engine.size
            noise = self._free(ROUNDING * evolution.observation.absolute.transposed(np.abs(w), shape))
        near = None if start is None else self._free(self._map.adjoints.steps(start)) / self._scales
        with self._map.solves.solving("adjoint"):
            p, residual = self._steps.backward(self._adjoint_load(w), near, self._accuracy, noise)
            p = self._extended(p)
            gradient = self.gradient(p)
        return Adjoint(gradient, self._adjoint_error(gradient, p, residual), (self._scales * p).ravel())

    def _adjoint_error(self, gradient: Array, p: Array, residual: float | None) -> float | None:
        if self._accuracy is not None or residual is None:
            return None
        if not self._map.affine:
            return 4.0 * self._loss * self._map.control.norm(gradient)
        if residual in (0.0, np.inf):
            return residual
        sums = SUMS * self._map.control.norm(self._evolution.gradient_sizes(np.abs(p)))
        return residual * self._map.constants.gradient + sums

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        evolution, y, count = self._evolution, self._points, len(self._steps_of_u)
        with self._map.solves.solving("tangent"):
            functionals, first = self.coupled(h)
            eta = np.vstack([first, self._extended(self._steps.forward(functionals, accuracy=self._accuracy)[0])])
        with self._map.solves.solving("adjoint"):
            load = self._adjoint_load(outer(evolution.observation.apply(eta[1:])))
            images, on_initial = np.zeros_like(h), None
            if not self._map.affine:
                assert adjoint.state is not None
                p, curved = self._map.adjoints.steps(adjoint.state) / self._scales, np.zeros_like(y)
                along = evolution.steps_of(h)
                parts = np.zeros_like(along)
                for n, u in enumerate(self._steps_of_u):
                    new, old, parts[n] = evolution.second(n, y[n + 1], y[n], u, p[n], eta[n + 1], eta[n], along[n])
                    curved[n + 1] += new
                    curved[n] += old
                load, on_initial = load - self._free(curved[1:]), curved[0]
                if evolution.initial is None:
                    images = (parts / evolution.lengths[:count, None]).ravel()
            p2, _ = self._steps.backward(load, accuracy=self._accuracy)
            return self.gradient(self._extended(p2), on_initial) - images

    def state_errors(self) -> tuple[float, float]:
        """The residuals of the steps relative to those of y_D, and NaN: no bound in the energy norm is known."""
        evolution, y = self._evolution, self._solved[0]
        zero = self._lifted(np.zeros((len(self._steps_of_u), evolution.free.size)))
        zero[0] = y[0]
        size, residual = (float(np.sqrt(sum(self._squares(rows)))) for rows in (zero, y))
        return residual / (size or 1.0), np.nan

    def _squares(self, y: Array) -> Iterator[float]:
        """The squares of the norms of the residuals of the steps, for any trajectory."""
        evolution = self._evolution
        for n, u in enumerate(self._steps_of_u):
            carried = evolution.carried(y[n], self._u if n == 0 else None)
            residual = evolution.residual(n, y[n + 1], y[n], carried, u)
            yield evolution.engine.group.sum(np.einsum("i,i->", residual, residual))
