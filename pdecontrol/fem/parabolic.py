"""Solution maps of parabolic equations: a march in time, its tangent and its exact adjoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np

from ..arrays import Array
from ..errors import ConvergenceError
from ..linear.matrix import ROUNDING
from ..maps import Adjoint, Linearisation, SolutionMap
from .bounds import SUMS, Constants
from .bounds_in_time import norm_bound, spectral_constants
from .circulant import CirculantSteps
from .evolution import Evolution
from .march import check_snapshots
from .steps import AffineSteps, Steps
from .trajectory import TrajectoryLinearisation


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
        snapshots = evolution.parabolic.snapshots
        check_snapshots(snapshots, self.affine)
        if snapshots is not None:
            self.memory = f"{min(snapshots, evolution.lengths.size)} of {evolution.lengths.size} time levels kept"

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
        anywhere = ParabolicLinearisation(self, self.control.zeros(), None, None)
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

    def at(
        self, u: Array, start: Array | None = None, accuracy: float | None = None
    ) -> ParabolicLinearisation | TrajectoryLinearisation:
        u = self.control.checked(u, "the control")
        if self.affine:
            return ParabolicLinearisation(self, u, start, accuracy)
        assert isinstance(self.linear, AffineSteps)  # others refuse such equations
        snapshots = self.evolution.parabolic.snapshots
        return TrajectoryLinearisation(self.evolution, self.linear, self.solves, u, accuracy, snapshots)


class ParabolicLinearisation(Linearisation):
    """An affine map at u: the trajectory is found when first needed."""

    def __init__(self, map: ParabolicMap, u: Array, start: Array | None, accuracy: float | None) -> None:
        self._map, self._evolution, self._u = map, map.evolution, u
        self._steps_of_u = map.evolution.steps_of(u)
        self._start, self._accuracy = start, accuracy
        self._bounded = accuracy is None  # where bounds are asked for

    # -- the state ----------------------------------------------------------------------------------------------

    @cached_property
    def _solved(self) -> tuple[Array, float | None]:
        """The trajectory y_0, .., y_N and the bound on its residuals."""
        with self._map.solves.solving("state"):
            return self._march()

    def _march(self) -> tuple[Array, float | None]:
        evolution = self._evolution
        y = self._lifted(np.zeros((evolution.lengths.size, evolution.free.size)))
        y[0] = evolution.first_state(self._u)
        functionals, noise, start = [], None, self._start
        for n, u in enumerate(self._steps_of_u):
            carried = evolution.carried(y[n], self._u if n == 0 else None)
            functionals.append(-evolution.residual(n, y[n + 1], y[n], carried, u))
        if self._bounded:
            noise = self._restricted(ROUNDING * evolution.load_sizes(self._u))
            noise += [evolution.rounding(n, y[n + 1], y[n]) for n in range(len(noise))]
        free = evolution.free
        near = None if start is None else self._map.solution.steps(start)[:, free] - y[1:, free]
        x, residual = self._map.linear.forward(np.stack(functionals), near, self._accuracy, noise)
        y[1:] += self._extended(x)
        return y, residual

    def _lifted(self, free: Array) -> Array:
        """Trajectories (N + 1, n) with the Dirichlet values and jumps, from their free entries, zero for the first."""
        evolution = self._evolution
        y = np.stack([level.lifting.initial() for level in evolution.levels])
        y[1:] += self._extended(free)
        return y

    def _restricted(self, functionals: Array) -> Array:
        """Functionals on the free entries, row by row."""
        return np.stack([self._evolution.levels[0].lifting.restrict(row) for row in functionals])

    def _extended(self, free: Array) -> Array:
        """States of free entries, row by row."""
        return np.stack([self._evolution.levels[0].lifting.extend(row) for row in free])

    @property
    def state(self) -> Array:
        return np.asarray(self._solved[0][1:].ravel())

    @cached_property
    def value(self) -> Array:
        return self._evolution.observation.apply(self._solved[0][1:])

    @property
    def warm(self) -> Array:
        return self.state

    @cached_property
    def error(self) -> float | None:
        residual = self._solved[1]
        if self._accuracy is not None or residual is None:
            return None
        if residual in (0.0, np.inf):
            return residual
        observed = self._evolution.observation.absolute.apply(np.abs(self._solved[0][1:]))
        return residual * self._map.constants.observation + SUMS * self._map.observation.norm(observed)

    # -- derivatives --------------------------------------------------------------------------------------------

    @cached_property
    def _points(self) -> Array:
        """A trajectory, as derivatives are the same along all: no solve is needed for them."""
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
        if self._map.linear.rest:
            at_beginning = self._map.linear.old(0) @ evolution.levels[0].lifting.unknowns(eta)
            functionals[0] -= self._map.linear.rest * at_beginning
        return functionals, eta

    def gradient(self, p: Array) -> Array:
        """-M_u^-1 E_u' p with the multipliers p (N, n)."""
        evolution, y = self._evolution, self._points
        if evolution.initial is None:
            rows = [
                evolution.couple_transposed(n, y[n + 1], y[n], u, p[n]) / evolution.lengths[n]
                for n, u in enumerate(self._steps_of_u)
            ]
            return np.concatenate(rows)
        lifting, linear = evolution.levels[0].lifting, self._map.linear
        gradient = evolution.shift(0) * evolution.initial.transposed(p[0])
        if linear.rest:
            carried = linear.old(0).apply_transposed(lifting.unknowns(p[0]))
            gradient -= evolution.initial.transposed(lifting.extend(linear.rest * carried)) / self._map.control.mass
        return gradient

    def tangent(self, h: Array) -> Array:
        with self._map.solves.solving("tangent"):
            functionals, _ = self.coupled(h)
            eta, _ = self._map.linear.forward(functionals, accuracy=self._accuracy)
            return self._evolution.observation.apply(self._extended(eta))

    def _adjoint_load(self, w: Array) -> Array:
        shape = self._evolution.lengths.size, self._evolution.engine.size
        return self._restricted(self._evolution.observation.transposed(w, shape))

    @cached_property
    def _scales(self) -> Array:
        """From multipliers of the steps to the solution of the adjoint equation."""
        return np.array([[self._evolution.shift(n)] for n in range(self._evolution.lengths.size)])

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        evolution, noise = self._evolution, None
        if self._bounded:
            shape = evolution.lengths.size, evolution.engine.size
            noise = self._restricted(ROUNDING * evolution.observation.absolute.transposed(np.abs(w), shape))
        near = None if start is None else self._map.adjoints.steps(start)[:, evolution.free] / self._scales
        with self._map.solves.solving("adjoint"):
            p, residual = self._map.linear.backward(self._adjoint_load(w), near, self._accuracy, noise)
            p = self._extended(p)
            gradient = self.gradient(p)
        return Adjoint(gradient, self._adjoint_error(gradient, p, residual), (self._scales * p).ravel())

    def _adjoint_error(self, gradient: Array, p: Array, residual: float | None) -> float | None:
        if self._accuracy is not None or residual is None:
            return None
        if residual in (0.0, np.inf):
            return residual
        sums = SUMS * self._map.control.norm(self._evolution.gradient_sizes(np.abs(p)))
        return residual * self._map.constants.gradient + sums

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        load = self._adjoint_load(outer(self.tangent(h)))
        with self._map.solves.solving("adjoint"):
            p, _ = self._map.linear.backward(load, accuracy=self._accuracy)
            return self.gradient(self._extended(p))

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
