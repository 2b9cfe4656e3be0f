"""Functions of a trial space, evaluated anywhere, on either side of interfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..errors import DataError
from ..terms.control import soft
from .ansatz import Lifting
from .domain import Domain, Places
from .features import CHUNK, Features


@dataclass(frozen=True, eq=False)
class Trial:
    """w g + sum_j c_j psi_j, with w = 1 for states and 0 for adjoint states."""

    features: Features
    lifting: Lifting
    coefficients: Array
    weight: float

    def evaluate(self, points: Array, side: str | None = None) -> Array:
        """Values (n,) at points (2, n), those of a side of interfaces."""
        return np.concatenate([self.at(places) for places in places_of(self.features.domain, points, side)])

    def gradient(self, points: Array, side: str | None = None) -> Array:
        """Gradients (2, n) likewise."""
        return np.hstack([self._slopes(places) for places in places_of(self.features.domain, points, side)])

    def at(self, places: Places) -> Array:
        """Values at places."""
        result = self.features.values(places) @ self.coefficients
        return result + self.weight * self.lifting(places).value if self.weight else result

    def _slopes(self, places: Places) -> Array:
        result = self.features.first(places)[1] @ self.coefficients
        return result + self.weight * self.lifting(places).gradient if self.weight else result


@dataclass(frozen=True, eq=False)
class Projected:
    """u = argmin_v alpha/2 (v - r)^2 + beta |v| + q v over lower <= v <= upper, pointwise, with q = sign p.

    `data` gives the bounds and the reference at places.
    """

    adjoint: Trial
    sign: float
    alpha: float
    beta: float
    data: Callable[[Places], tuple[Array, ...]]

    def evaluate(self, points: Array, side: str | None = None) -> Array:
        """Values (n,) at points (2, n)."""
        return np.concatenate([self.at(places) for places in places_of(self.adjoint.features.domain, points, side)])

    def gradient(self, points: Array, side: str | None = None) -> Array:
        """None: a projection has kinks."""
        raise DataError("the control has no gradient: it is a projection, which has kinks.")

    def at(self, places: Places) -> Array:
        """Values at places."""
        q, (lower, upper, reference) = self.sign * self.adjoint.at(places), self.data(places)
        if self.alpha > 0:
            return np.clip(soft(self.alpha * reference - q, self.beta) / self.alpha, lower, upper)
        return np.where(q < -self.beta, upper, np.where(q > self.beta, lower, np.clip(0.0, lower, upper)))


def places_of(domain: Domain, points: Array, side: str | None) -> list[Places]:
    """Where points are, so many at a time; raises DataError for points outside of the domain."""
    low, high = np.array(domain.box).T[:, :, None]
    if points.ndim != 2 or len(points) != 2:
        raise DataError(f"Expected points of shape (2, p), got {points.shape}.")
    off = ((points < low - 1e-8 * domain.diameter) | (points > high + 1e-8 * domain.diameter)).any(axis=0)
    if off.any():
        first = int(np.argmax(off))
        raise DataError(
            f"{off.sum()} of {off.size} points are outside of the domain of the function, the first is point {first} "
            f"at x = {points[:, first].tolist()}; evaluate at points of the domain only."
        )
    parts = np.split(points, range(CHUNK, points.shape[1], CHUNK), axis=1)
    return [domain.places(part, side) for part in parts]
