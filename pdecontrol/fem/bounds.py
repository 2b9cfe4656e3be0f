"""What residuals and rounding of an affine equation amount to in the observation and in the gradient."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..linear.matrix import ROUNDING
from ..linear.solver import LinearSolver
from ..spectrum import largest_eigenvalue
from .equations.equation import Affine
from .system import System

SUMS = 8 * ROUNDING  # relative to the sizes of all terms, what pairwise sums of any number of them may err by


class Rounding:
    """What rounding may be in the sums around the solves of A y = f + C u and A' p = O' M_y w, however much cancels."""

    def __init__(self, system: System, affine: Affine) -> None:
        self._system, self._affine = system, affine
        self._coupling, self._observation = system.equation.coupling, system.observation

    def load(self, u: Array) -> Array:
        """In f + C u - A y_D, entry by entry."""
        return ROUNDING * (self._coupling.absolute.apply(np.abs(u)) + self._load_size)

    @cached_property
    def _load_size(self) -> Array:
        """The sizes of the terms of f - A y_D."""
        y = self._system.lifting.initial()
        if not self._system.engine.group.any(bool(y.any())):
            return self._affine.load_size
        matrix = self._system.equation.jacobian(y, self._system.control.zeros())
        return self._affine.load_size + abs(matrix) @ np.abs(y)

    def functional(self, w: Array) -> Array:
        """In O' M_y w, entry by entry."""
        return ROUNDING * self._observation.absolute.transposed(np.abs(w))

    def observed(self, y: Array) -> float:
        """In y and O y, in the norm."""
        return SUMS * self._observation.space.norm(self._observation.absolute.apply(np.abs(y)))

    def gradient(self, p: Array) -> float:
        """In p and M_u^-1 C' p, in the norm."""
        return SUMS * self._coupling.space.norm(self._coupling.absolute.transposed(np.abs(p)))


class Constants(NamedTuple):
    """Factors from residuals of a state to its observation, and of an adjoint solution to its gradient.

    `condition` is an estimate of the condition number, None where residuals are measured in the energy norm.
    """

    observation: float
    gradient: float
    condition: float | None


def spectral_constants(system: System, factors: LinearSolver, counter: Counter) -> Constants:
    """What a residual may amount to in the observation and in the gradient, from the norm of the linear solver.

    Notes
    -----
    For residuals in the energy norm ||O A^-1/2|| and ||M_u^-1 C' A^-1/2||, else ||O A^-1 D^1/2|| and
    ||M_u^-1 C' A^-T D^1/2||. What A errs by is at most e = g width in the scaling of D^-1/2 A D^-1/2, with the
    condition number k: divided by 1 - 2 e k, the constants are those of the perturbed matrix too. They are infinite if
    that is less than 1/2, where A may as well be singular. A definite matrix whose row sums are known errs by little in
    its own energy norm, whatever k: it needs factors that solve at all.
    """
    exact = system.engine.exact
    with counter.timing() if exact else counter.solving("tangent"):
        growth = factors.growth
    norms = compared_norms(system, factors, growth) if growth < np.inf else None
    first, second, growth = lanczos_norms(system, factors, counter) if norms is None else (*norms, growth)
    if factors.energy:
        return Constants(first, second, None)
    condition = 2.0 * growth
    left = 1.0 - 2.0 * (ROUNDING * factors.width if exact else 1e-10) * condition
    if exact and system.equation.definite and system.excess is not None:
        left = 1.0 if factors.loss < 0.1 else 0.0
    if left < 0.5:
        return Constants(np.inf, np.inf, condition)
    return Constants(first / left, second / left, condition)


def compared_norms(system: System, factors: LinearSolver, growth: float) -> tuple[float, float] | None:
    """Both norms, bounded without a solve where that of (D^-1/2 A D^-1/2)^-1 is; None where the bounds are not sharp.

    The squares of ||O D^-1/2|| and ||M_u^-1 C' D^-1/2|| are at most the largest row sums of D^-1 |O|' |M_y| |O| and
    D^-1 |C| M_u^-1 |C|'. From below both norms are known by the vector x = A^-1 d: bounds may be three times as large.
    """
    observation, coupling, lifting = system.observation, system.equation.coupling, system.lifting
    group, d, x = system.engine.group, factors.diagonal, factors.torsion[0]
    ones, power = lifting.extend(np.ones(d.size)), 0.5 if factors.energy else 1.0
    sums = (
        observation.absolute.transposed(observation.absolute.apply(ones)),
        coupling.absolute.apply(coupling.absolute.transposed(ones)),
    )
    shares = group.collect([(lifting.restrict(row) / d).max(initial=0.0) for row in sums])
    first, second = np.sqrt(np.max(shares, axis=0)) * growth**power
    size, y = np.sqrt(group.sum((x @ d) if factors.energy else d.sum())), lifting.extend(x)
    seen = observation.space.norm(observation.apply(y)), system.control.norm(coupling.transposed(y))
    sharp = first * size <= 3.0 * seen[0] and second * size <= 3.0 * seen[1]
    return (float(first), float(second)) if sharp else None


def lanczos_norms(system: System, factors: LinearSolver, counter: Counter) -> tuple[float, float, float]:
    """Both norms, and that of (D^-1/2 A D^-1/2)^-1, by Lanczos iteration to thirty per cent and inflated by as much.

    On operators times their adjoints; where there is no energy norm, that of the gradient meets vectors v and A^-1 D v,
    whose growth estimates the last.
    """
    exact, lifting, growth = system.engine.exact, system.lifting, [0.0]
    coupling, observation = system.equation.coupling, system.observation

    def inverse(solver: LinearSolver, functional: Array) -> Array:
        # To full accuracy: at looser residuals soft parts are not there yet, and nor is what they amplify.
        counter.refinements += exact
        with counter.timing() if exact else counter.solving("tangent"):
            return solver.solve(functional, accuracy=1e-3 if exact else None).x

    def squared(solver: LinearSolver, functional: Array) -> Array:
        """A^-1 f, or A^-1 D A^-T f."""
        x = inverse(solver.transposed, lifting.restrict(functional))
        if not factors.energy:
            size = system.norm(np.sqrt(factors.diagonal) * x)
            x = inverse(solver, factors.diagonal * x)
            if size > 0:
                growth.append(system.norm(np.sqrt(factors.diagonal) * x) / size)
        return lifting.extend(x)

    def observed(w: Array) -> Array:
        return observation.apply(squared(factors, observation.transposed(w)))

    def controlled(h: Array) -> Array:
        return coupling.transposed(squared(factors.transposed, coupling.apply(h)))

    first, second = (
        1.3 * float(np.sqrt(max(largest_eigenvalue(apply, space, accuracy=0.3), 0.0)))
        for apply, space in ((observed, observation.space), (controlled, system.control))
    )
    return first, second, max(growth)


def norm_bound(system: System, factors: LinearSolver, constants: Constants) -> float:
    """||S|| <= ||O A^-1/2|| ||A^-1/2 C||, or ||O A^-1 D^1/2|| ||D^-1/2 C||, whose last factor is at most the root of
    the largest row sum of M_u^-1 |C|' D^-1 |C|.
    """
    if factors.energy:
        return constants.observation * constants.gradient
    coupling, lifting, space = system.equation.coupling.absolute, system.lifting, system.control
    scaled = lifting.restrict(coupling.apply(space.zeros() + 1.0)) / factors.diagonal
    return constants.observation * float(np.sqrt(space.max(coupling.transposed(lifting.extend(scaled)))))
