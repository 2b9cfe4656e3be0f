"""The cost of the control: Tikhonov, L1 and box, with the proximal map and the Fenchel-Young residual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..space import Space

EPS = float(np.finfo(float).eps)


def soft(v: Array, threshold: float | Array) -> Array:
    """sgn(v) max(|v| - threshold, 0)."""
    return v - np.clip(v, -threshold, threshold) if np.any(threshold > 0) else v


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
    def linear(self) -> bool:
        """Whether argmin is affine: without L1 term and bounds."""
        bounded = np.isfinite(self.lower) | np.isfinite(self.upper)
        return self.beta == 0 and not self.space.any(bounded)

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
            u = soft(self.alpha * self.reference - q, self.beta) / self.alpha
            return np.minimum(np.maximum(u, self.lower), self.upper)  # a third of the time of np.clip
        zero = np.clip(0.0, self.lower, self.upper)
        return np.where(q < -self.beta, self.upper, np.where(q > self.beta, self.lower, zero))

    def argmin_error(self, q: Array) -> float:
        """The norm of the change of q that makes up for what rounding does in argmin(q)."""
        size = np.abs(q) + self.alpha * np.abs(self.reference) + self.beta
        return 2 * EPS * self.space.norm(size)

    def derivative(self, q: Array) -> Callable[[Array], Array]:
        """D = -argmin'(q), self-adjoint with 0 <= D <= 1/alpha: 1/alpha strictly inside the box and off the kink."""
        v = self.alpha * self.reference - q
        u = soft(v, self.beta) / self.alpha
        inactive = (np.abs(v) > self.beta if self.beta > 0 else True) & (u > self.lower) & (u < self.upper)
        return lambda h: inactive * h / self.alpha

    def vanishes(self, q: Array, error: float) -> bool:
        """Whether argmin is zero for every vector within the error of q, in norm, and whatever rounding does."""
        # At each node; where there is a reference, alpha reference - q is rounded before it is compared with beta.
        spread = error / np.sqrt(self.space.mass)
        size = np.abs(q) + self.alpha * np.abs(self.reference) + self.beta
        spread = spread + np.where(np.asarray(self.reference) == 0.0, 0.0, 4 * EPS * size)
        return not any(self.space.any(self.argmin(end)) for end in (q - spread, q + spread))

    def raised(self, error: float) -> float:
        """How much an error of q in norm raises the residual of argmin(q): e^2/(2 alpha), or e diam(box)."""
        if error == 0.0 or self.alpha > 0:
            return error and error**2 / (2 * self.alpha)
        return error * self.diameter

    def fingerprint(self) -> str:
        """A digest of weights, reference and bounds."""
        digests = [self.space.digest(array) for array in (self.reference, self.lower, self.upper)]
        return repr((self.alpha, self.beta)) + "".join(digests)

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
