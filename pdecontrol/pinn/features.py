"""Random features: trial functions h tanh(w . (x, phi) + b), of which only the coefficients are sought."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from .ansatz import Jet, factor, kink
from .domain import Domain, Places

CHUNK = 20_000  # points at a time


@dataclass(frozen=True, eq=False)
class Features:
    """psi_j(x) = h(x) tanh(w_j . (x, phi(x)) + b_j), j = 1, .., M: zero on the boundary, with kinks at interfaces.

    Parameters
    ----------
    domain : the rectangle with its interfaces.
    weights : (3, M), of the coordinates relative to half of the sides, and of phi.
    biases : (M,).
    """

    domain: Domain
    weights: Array
    biases: Array

    @property
    def count(self) -> int:
        """M."""
        return self.biases.size

    def inputs(self, places: Places) -> tuple[Array, Jet]:
        """Coordinates (2, n) relative to half of the sides, and phi."""
        return _relative(self.domain, places.points), kink(self.domain, places)

    def values(self, places: Places) -> Array:
        """psi (n, M)."""
        x, phi = self.inputs(places)
        return factor(self.domain, places.points).value[:, None] * np.tanh(self._linear(x, phi))

    def first(self, places: Places) -> tuple[Array, Array]:
        """psi (n, M) and its gradients (2, n, M)."""
        x, phi = self.inputs(places)
        h, t = factor(self.domain, places.points), np.tanh(self._linear(x, phi))
        slope = h.value[:, None] * (1 - t**2)
        scales = _scales(self.domain)
        gradients = np.empty((2, *t.shape))
        for axis in (0, 1):
            gradients[axis] = h.gradient[axis][:, None] * t
            gradients[axis] += slope * (
                self.weights[axis] * scales[axis] + phi.gradient[axis][:, None] * self.weights[2]
            )
        return h.value[:, None] * t, gradients

    def _linear(self, x: Array, phi: Jet) -> Array:
        z = phi.value[:, None] * self.weights[2]
        z += x.T @ self.weights[:2]
        z += self.biases
        return z


def random_features(domain: Domain, count: int, scale: float, generator: np.random.Generator) -> Features:
    """Features with directions that are uniform on the sphere, slopes from 0.3 to 1.7 times the scale, and planes that
    meet a point of the domain each, uniformly.
    """
    directions = generator.standard_normal((3, count))
    directions /= np.linalg.norm(directions, axis=0)
    weights = scale * generator.uniform(0.3, 1.7, count) * directions
    low, high = np.array(domain.box).T
    centres = low[:, None] + (high - low)[:, None] * generator.uniform(size=(2, count))
    features = Features(domain, weights, np.zeros(count))
    x, phi = features.inputs(domain.places(centres))
    biases = -(weights[:2] * x).sum(axis=0) - weights[2] * phi.value
    return Features(domain, weights, biases)


def _scales(domain: Domain) -> Array:
    return np.array([2 / (high - low) for low, high in domain.box])


def _relative(domain: Domain, points: Array) -> Array:
    middles = np.array([0.5 * (low + high) for low, high in domain.box])
    return (points - middles[:, None]) * _scales(domain)[:, None]
