"""The terms of the objective bound to their spaces: values, proximal maps and Fenchel-Young residuals."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from .errors import DataError, ProblemError
from .maps import SolutionMap
from .problem import L1, Box, ControlProblem, Linear, Tikhonov
from .space import Array, Space


def soft(v: Array, threshold: float) -> Array:
    """sgn(v) max(|v| - threshold, 0)."""
    return v - np.clip(v, -threshold, threshold)


@dataclass(frozen=True, eq=False)
class ControlCost:
    """G(u) = alpha/2 ||u - reference||^2 + beta ||u||_L1 over lower <= u <= upper, on a space with diagonal mass."""

    space: Space
    alpha: float
    reference: Array
    beta: float
    lower: Array
    upper: Array

    def feasible(self, u: Array) -> bool:
        return bool(np.all((u >= self.lower) & (u <= self.upper)))

    def value(self, u: Array) -> float:
        """G(u) of a feasible u."""
        return 0.5 * self.alpha * self.space.norm(u - self.reference) ** 2 + self.beta * self.space.integral(
            np.abs(u)
        )

    def prox(self, v: Array, r: float) -> Array:
        """argmin_u r G(u) + 1/2 ||u - v||^2."""
        inner = soft(v + r * self.alpha * self.reference, r * self.beta) / (1.0 + r * self.alpha)
        return np.clip(inner, self.lower, self.upper)

    def argmin(self, q: Array) -> Array:
        """argmin_u G(u) + <q, u>; with alpha = 0 the minimiser nearest to zero."""
        if self.alpha > 0:
            return np.clip(
                soft(self.alpha * self.reference - q, self.beta) / self.alpha, self.lower, self.upper
            )
        zero = np.clip(0.0, self.lower, self.upper)
        return np.where(q < -self.beta, self.upper, np.where(q > self.beta, self.lower, zero))

    def inactive(self, q: Array) -> Array:
        """Where argmin(q) is strictly inside the box and not at the kink: its derivative there is -1/alpha."""
        v = self.alpha * self.reference - q
        u = soft(v, self.beta) / self.alpha
        return (np.abs(v) > self.beta if self.beta > 0 else True) & (u > self.lower) & (u < self.upper)

    def residual(self, u: Array, q: Array) -> float:
        """G(u) + G*(-q) + <q, u> >= 0, free of cancellation; infinite for infeasible u.

        Notes
        -----
        With z = argmin G + <q, .>, mu = -(q + alpha (z - reference)) splits into a subgradient s of beta |.| at z and
        a normal nu of the box at z, and the integrand is alpha/2 (u - z)^2 + (beta |u| - s u) + nu (z - u).
        """
        if not self.feasible(u):
            return np.inf
        z = self.argmin(q)
        mu = -(q + self.alpha * (z - self.reference))
        s = np.where(z == 0.0, np.clip(mu, -self.beta, self.beta), self.beta * np.sign(z))
        inside = (z > self.lower) & (z < self.upper)
        nu = np.where(inside, 0.0, mu - s)
        return self.space.integral(
            0.5 * self.alpha * (u - z) ** 2 + (self.beta * np.abs(u) - s * u) + nu * (z - u)
        )


@dataclass(frozen=True, eq=False)
class StateCost:
    """F(y) = 1/2 ||y - target||^2 over the tracked components, plus the sum of the linear ones.

    `tracked` is 1 on components that a Tracking observes and 0 on the values of `Linear` functionals; weights of the
    observations are part of the inner product of the observation space, so that F is 1-strongly convex.
    """

    space: Space
    target: Array
    tracked: Array

    def value(self, y: Array) -> float:
        return 0.5 * self.space.norm(self.tracked * (y - self.target)) ** 2 + float(
            y[self.tracked == 0].sum()
        )

    def gradient(self, y: Array) -> Array:
        return np.where(self.tracked == 1, y - self.target, 1.0)

    def initial_dual(self) -> Array:
        """The dual vector of a cold start: 0 on the tracked components, 1 (all of dom F*) on the linear ones."""
        return 1.0 - self.tracked

    def prox_conjugate(self, v: Array, s: float) -> Array:
        """argmin_p s F*(p) + 1/2 ||p - v||^2."""
        return np.where(self.tracked == 1, (v - s * self.target) / (1.0 + s), 1.0)

    def distance(self, y: Array, p: Array) -> float:
        """d = ||y - target - p|| over the tracked components; F(y) + F*(p) - <y, p> = d^2/2 for p in dom F*."""
        return self.space.norm(self.tracked * (y - self.target - p))


@dataclass(frozen=True, eq=False)
class Objective:
    """F(S(u)) + G(u) with its two costs bound to the spaces of a map."""

    state: StateCost
    control: ControlCost

    def value(self, u: Array, y: Array) -> float:
        return self.state.value(y) + self.control.value(u)

    def gap(self, u: Array, y: Array, p: Array, q: Array) -> float:
        """P(u) - D(p) for y = S(u) and q = S* p: the sum of two Fenchel-Young residuals."""
        return 0.5 * self.state.distance(y, p) ** 2 + self.control.residual(u, q)

    def fingerprint(self, map: SolutionMap) -> str:
        """A digest of the discretised problem: equation, target, weights and bounds."""
        control = self.control
        digest = hashlib.sha256(map.fingerprint.encode())
        digest.update(np.array([control.alpha, control.beta]).tobytes())
        for array in (control.reference, control.lower, control.upper, self.state.target, self.state.tracked):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def bind(problem: ControlProblem, map: SolutionMap) -> Objective:
    """The objective of a problem in the spaces of a map.

    The observation space of the map has one factor for each Tracking of the problem, then one for each Linear term.

    Raises
    ------
    DataError
        If a target, a reference or a bound is NaN or has the wrong shape.
    ProblemError
        If the bounds cross somewhere, or the map does not observe what the problem tracks.
    """
    space = map.control
    found = {type(term): term for term in problem.terms if not isinstance(term, Linear)}
    tikhonov, l1, box = found.get(Tikhonov, Tikhonov(0.0)), found.get(L1, L1(0.0)), found.get(Box, Box())
    lower = space.interpolate(box.lower, "the lower bound of Box", infinite=True)
    upper = space.interpolate(box.upper, "the upper bound of Box", infinite=True)
    if np.any(lower > upper):
        at = int(np.argmax(lower - upper))
        raise ProblemError(
            f"Box: the lower bound {lower[at]:.6g} is above the upper bound {upper[at]:.6g} at entry {at}."
        )
    if tikhonov.alpha == 0 and not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise ProblemError(
            "alpha = 0 needs bounds that are finite everywhere: add a Tikhonov term or bound the control."
        )
    if np.any(np.isposinf(lower)) or np.any(np.isneginf(upper)):
        raise ProblemError(
            "Box: no finite control satisfies the bounds, one of them is infinite on the wrong side."
        )
    reference = space.interpolate(tikhonov.reference, "the reference of Tikhonov")
    control = ControlCost(space, float(tikhonov.alpha), reference, float(l1.beta), lower, upper)

    factors = map.observation.factors
    linear = sum(isinstance(term, Linear) for term in problem.terms)
    if len(factors) != len(problem.tracking) + linear:
        raise ProblemError(
            f"the problem observes {len(problem.tracking) + linear} quantities, the map {len(factors)}."
        )
    target, tracked = [], []
    for number, factor in enumerate(factors):
        observed = number < len(problem.tracking)
        tracked.append(np.full(factor.size, float(observed)))
        if not observed:
            target.append(np.zeros(factor.size))
            continue
        name = (
            f"the target of Tracking {number + 1}" if len(problem.tracking) > 1 else "the target of Tracking"
        )
        target.append(factor.interpolate(problem.tracking[number].target, name))
    state = StateCost(map.observation, np.concatenate(target), np.concatenate(tracked))
    return Objective(state, control)


def as_control(data, space: Space, name: str) -> Array:
    """A control as a vector of its space; raises DataError if it is NaN or has the wrong shape."""
    try:
        return space.interpolate(data, name)
    except DataError as error:
        raise DataError(f"{error} A control of this problem has {space.size} values.") from None
