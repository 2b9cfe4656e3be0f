"""The terms of the objective bound to their spaces: values, proximal maps and Fenchel-Young residuals."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, Data
from .errors import DataError, ProblemError
from .maps import SolutionMap
from .problem import L1, Box, ControlProblem, Tikhonov, Tracking
from .space import Space

EPS = float(np.finfo(float).eps)
UNDERFLOW = 1e-150  # what the norm of numbers whose squares underflow may be


def soft(v: Array, threshold: float) -> Array:
    """sgn(v) max(|v| - threshold, 0)."""
    return v - np.clip(v, -threshold, threshold) if threshold > 0 else v


@dataclass(frozen=True, eq=False, repr=False)
class ControlCost:
    """G(u) = alpha/2 ||u - reference||^2 + beta ||u||_L1, lower <= u <= upper, on a space with diagonal mass.

    The reference and the bounds are numbers where they are constant, which is several times faster.
    """

    space: Space
    alpha: float
    reference: Array | float
    beta: float
    lower: Array | float
    upper: Array | float

    def feasible(self, u: Array) -> bool:
        return not self.space.any((u < self.lower) | (u > self.upper))

    @property
    def diameter(self) -> float:
        """||upper - lower||."""
        return self.space.norm(self.space.zeros() + (self.upper - self.lower))

    @property
    def radius(self) -> float:
        """The largest norm of a feasible control."""
        return self.space.norm(np.maximum(np.abs(self.lower), np.abs(self.upper)) + self.space.zeros())

    def value(self, u: Array) -> float:
        """G(u) of a feasible u."""
        integrand = (0.5 * self.alpha) * (u - self.reference) ** 2
        if self.beta > 0:
            integrand += self.beta * np.abs(u)
        return self.space.integral(integrand)

    def prox(self, v: Array, r: float) -> Array:
        """argmin_u r G(u) + 1/2 ||u - v||^2."""
        inner = soft(v + r * self.alpha * self.reference, r * self.beta) / (1.0 + r * self.alpha)
        return np.clip(inner, self.lower, self.upper)

    def argmin(self, q: Array) -> Array:
        """argmin_u G(u) + <q, u>; with alpha = 0 the minimiser nearest to zero."""
        if self.alpha > 0:
            return np.clip(soft(self.alpha * self.reference - q, self.beta) / self.alpha, self.lower, self.upper)
        zero = np.clip(0.0, self.lower, self.upper)
        return np.where(q < -self.beta, self.upper, np.where(q > self.beta, self.lower, zero))

    def argmin_error(self, q: Array) -> float:
        """The norm of the change of q that makes up for what rounding does in argmin(q)."""
        size = np.abs(q) + self.alpha * np.abs(self.reference) + self.beta
        return 2 * EPS * self.space.norm(size)

    def inactive(self, q: Array) -> NDArray[np.bool_]:
        """Where argmin(q) is strictly inside the box and not at the kink: its derivative is -1/alpha there."""
        v = self.alpha * self.reference - q
        u = soft(v, self.beta) / self.alpha
        return (np.abs(v) > self.beta if self.beta > 0 else True) & (u > self.lower) & (u < self.upper)

    def residual(self, u: Array, q: Array) -> float:
        """G(u) + G*(-q) + <q, u> >= 0, free of cancellation; infinite for infeasible u.

        Notes
        -----
        With z = argmin G + <q, .>, -(q + alpha (z - reference)) splits into a subgradient s of beta |.| at z and a
        normal n of the box at z; the integrand is alpha/2 (u - z)^2 + (beta |u| - s u) + n (z - u).
        """
        if not self.feasible(u):
            return np.inf
        z = self.argmin(q)
        normal = -(q + self.alpha * (z - self.reference))
        integrand = 0.5 * self.alpha * (u - z) ** 2
        if self.beta > 0:
            s = self.beta * np.sign(z) + (z == 0.0) * np.clip(normal, -self.beta, self.beta)
            integrand += self.beta * np.abs(u) - s * u
            normal -= s
        at_bound = (z <= self.lower) | (z >= self.upper)
        return max(self.space.integral(integrand + at_bound * normal * (z - u)), 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class StateCost:
    """F(y) = 1/2 ||y - target||^2 over the tracked components, plus the sum of the linear ones.

    `tracked` is 1 on components that a Tracking observes and 0 on the values of `Linear` functionals. Weights of
    the observations are part of the inner product of their space, so that F is 1-strongly convex.
    """

    space: Space
    target: Array
    tracked: Array

    @cached_property
    def _linear(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.tracked == 0)

    def _with_linear(self, components: Array, value: float) -> Array:
        components[self._linear] = value
        return components

    def value(self, y: Array) -> float:
        misfit = self._with_linear(y - self.target, 0.0)
        return 0.5 * self.space.norm(misfit) ** 2 + self.space.sum(y[self._linear])

    def gradient(self, y: Array) -> Array:
        return self._with_linear(y - self.target, 1.0)

    def initial_dual(self) -> Array:
        """The dual vector of a cold start: 0 on the tracked components, 1 (all of dom F*) on linear ones."""
        return 1.0 - self.tracked

    def in_domain(self, p: Array) -> Array:
        """The dual vector with its linear components in dom F*, which is 1."""
        return self._with_linear(p.copy(), 1.0)

    def prox_conjugate(self, v: Array, s: float) -> Array:
        """argmin_p s F*(p) + 1/2 ||p - v||^2."""
        return self._with_linear((v - s * self.target) / (1.0 + s), 1.0)

    def distance(self, y: Array, p: Array) -> float:
        """d = ||y - target - p|| over tracked components; F(y) + F*(p) - <y, p> = d^2/2 for p in dom F*."""
        return self.space.norm(self._with_linear(y - self.target - p, 0.0))

    def met_by(self, y: Array) -> bool:
        """Whether y is the target but for rounding: the dual vector 0 tells more then than y - target, mere noise."""
        size = self.space.norm(y)
        return size > 0 and self.distance(y, self.space.zeros()) <= 1e-8 * size

    def distance_error(self, y: Array, p: Array) -> float:
        """What rounding may be in d, a difference of larger numbers."""
        size = np.abs(y - self.target) + np.abs(p)
        hidden = UNDERFLOW if self.space.any(size) else 0.0
        return EPS * self.space.norm(self._with_linear(size, 0.0)) + hidden


@dataclass(frozen=True, eq=False, repr=False)
class Objective:
    """F(S(u)) + G(u) with its two costs bound to the spaces of a map."""

    state: StateCost
    control: ControlCost
    sensors: Array | None = None  # the points (dim, k) of observations, for figures

    def value(self, u: Array, y: Array) -> float:
        return self.state.value(y) + self.control.value(u)

    def gap(self, u: Array, y: Array, p: Array, q: Array) -> float:
        """P(u) - D(p) for y = S(u) and q = S* p: the sum of two Fenchel-Young residuals."""
        return 0.5 * self.state.distance(y, p) ** 2 + self.control.residual(u, q)

    def fingerprint(self, map: SolutionMap) -> str:
        """A digest of the discretised problem: equation, target, weights and bounds."""
        control = self.control
        parts = [map.fingerprint, repr((control.alpha, control.beta))]
        parts += [control.space.digest(array) for array in (control.reference, control.lower, control.upper)]
        parts += [self.state.space.digest(array) for array in (self.state.target, self.state.tracked)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def bind(problem: ControlProblem, map: SolutionMap) -> Objective:
    """The objective of a problem in the spaces of a map.

    The observation space of the map has one factor for each Tracking of the problem, then one for each Linear.

    Raises
    ------
    DataError
        If a target, a reference or a bound is NaN or has the wrong shape.
    ProblemError
        If the bounds cross somewhere, or the map does not observe what the problem tracks.
    """
    space = map.control
    tikhonov = problem.term(Tikhonov) or Tikhonov(0.0)
    l1, box = problem.term(L1) or L1(0.0), problem.term(Box) or Box()
    lower = space.interpolate(box.lower, "the lower bound of Box", infinite=True)
    upper = space.interpolate(box.upper, "the upper bound of Box", infinite=True)
    with space.group.agree():
        _check_bounds(space, lower, upper, tikhonov.alpha)
    reference = space.interpolate(tikhonov.reference, "the reference of Tikhonov")
    control = ControlCost(
        space, float(tikhonov.alpha), _compress(reference), float(l1.beta), _compress(lower), _compress(upper)
    )

    factors, observations = map.observation.factors, problem.observations
    if len(factors) != len(observations):
        raise ProblemError(
            f"the problem observes {len(observations)} quantities, the map {len(factors)}: it is the map of another "
            "problem, discretise this one."
        )
    several = sum(isinstance(item, Tracking) for item in observations) > 1
    target, tracked = [], []
    for number, (item, factor) in enumerate(zip(observations, factors, strict=True), start=1):
        tracked.append(np.full(factor.size, float(isinstance(item, Tracking))))
        if isinstance(item, Tracking):
            name = f"the target of Tracking {number}" if several else "the target of Tracking"
            target.append(factor.interpolate(item.target, name))
        else:
            target.append(np.zeros(factor.size))
    state = StateCost(map.observation, np.concatenate(target), np.concatenate(tracked))
    points = [item.points for item in observations if isinstance(item, Tracking) and item.points is not None]
    return Objective(state, control, np.hstack(points) if points else None)


def _check_bounds(space: Space, lower: Array, upper: Array, alpha: float) -> None:
    if np.any(lower > upper):
        at = int(np.argmax(lower > upper))
        where = f"entry {at}" if space.points is None else f"x = {space.points[:, at].round(6).tolist()}"
        raise ProblemError(f"Box: the lower bound {lower[at]:.6g} is above the upper bound {upper[at]:.6g} at {where}.")
    if alpha == 0 and not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise ProblemError(
            "alpha = 0 needs bounds that are finite everywhere: add a Tikhonov term or bound the control."
        )
    if np.any(np.isposinf(lower)) or np.any(np.isneginf(upper)):
        raise ProblemError("Box: no finite control satisfies the bounds, one of them is infinite on the wrong side.")


def _compress(array: Array) -> Array | float:
    """The number that an array repeats, or the array."""
    return float(array[0]) if array.size and np.all(array == array[0]) else array


def as_control(data: Data, space: Space, name: str) -> Array:
    """A control as a vector of its space; raises DataError if it is NaN or has the wrong shape."""
    try:
        return space.interpolate(data, name)
    except DataError as error:
        raise DataError(f"{error} A control of this problem has {space.count} values.") from None
