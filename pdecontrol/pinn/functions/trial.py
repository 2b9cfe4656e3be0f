"""Functions of trial spaces, evaluated anywhere, on either side of interfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...arrays import Array, real_array
from ...errors import DataError
from ...problem import ControlProblem
from ..networks.network import CHUNK, Network
from .ansatz import Ansatz
from .domain import Domain, Places
from .projection import Projection, projection


@dataclass(frozen=True, eq=False)
class Trial:
    """Y = g + h N(x, phi(x)) with a network N."""

    ansatz: Ansatz
    network: Network

    def evaluate(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        """Values (n,) at points (2, n) and a time, those of a side of interfaces."""
        pieces = places_of(self.ansatz.domain, points, t, side)
        return np.concatenate([np.zeros(0), *(self.at(places) for places in pieces)])

    def gradient(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        """Gradients (2, n) likewise."""
        pieces = places_of(self.ansatz.domain, points, t, side)
        slopes = [[self.network.apply(slope) for slope in self.ansatz.first(places)[1:]] for places in pieces]
        return np.hstack([np.zeros((2, 0)), *(np.array(slope) for slope in slopes)])

    def at(self, places: Places) -> Array:
        """Values at places."""
        return self.network.apply(self.ansatz.value(places))


@dataclass(frozen=True, eq=False)
class Projected:
    """The control of an adjoint state, feasible everywhere; `projection` gives what it takes at places."""

    adjoint: Trial
    projection: Callable[[Places], Projection]

    def evaluate(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        """Values (n,) at points (2, n) and a time."""
        pieces = places_of(self.adjoint.ansatz.domain, points, t, side)
        return np.concatenate([np.zeros(0), *(self.at(places) for places in pieces)])

    def gradient(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        """Raises DataError: a projection has kinks."""
        raise DataError("the control has no gradient: it is a projection, which has kinks.")

    def at(self, places: Places) -> Array:
        """Values at places."""
        return self.projection(places).value(self.adjoint.at(places))


def projected(problem: ControlProblem, adjoint: Trial) -> Projected:
    """The control of a problem that belongs to an adjoint state."""
    return Projected(adjoint, partial(projection, problem, adjoint.ansatz.domain))


def places_of(domain: Domain, points: Array, t: float | None, side: str | None) -> list[Places]:
    """Where points are, so many at a time; raises DataError for points and times where there are no values."""
    points = real_array(points, "points")
    low, high = np.array(domain.box).T[:, :, None]
    if points.ndim != 2 or len(points) != 2:
        raise DataError(f"Expected points of shape (2, p), got {points.shape}.")
    off = ~((points >= low - 1e-8 * domain.diameter) & (points <= high + 1e-8 * domain.diameter)).all(axis=0)
    if off.any():
        first = int(np.argmax(off))
        raise DataError(
            f"{off.sum()} of {off.size} points are outside of the domain of the function, the first is point {first} "
            f"at x = {points[:, first].tolist()}; evaluate at points of the domain only."
        )
    if (t is None) != (domain.span is None):
        what = "space and time: give a time t" if t is None else "space: there is no time t"
        raise DataError(f"this is a function of {what}.")
    if t is not None and domain.span is not None:
        slack = 1e-9 * (domain.span[1] - domain.span[0])
        if not domain.span[0] - slack <= t <= domain.span[1] + slack:
            raise DataError(f"there are no values at t = {t:g}, but from t = {domain.span[0]:g} to {domain.span[1]:g}.")
    pieces = np.split(points, range(CHUNK, points.shape[1], CHUNK), axis=1)
    return [domain.places(piece, t, side) for piece in pieces]
