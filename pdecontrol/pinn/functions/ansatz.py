"""Trial functions Y = g + h N(x, phi(x)), which satisfy conditions exactly whatever the network N is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ...arrays import Array
from ..networks.operator import Operator
from .domain import Domain, Places
from .factors import Kink, bubble, label
from .jet import Jet, constant

Function = Callable[[Places], Jet]


@dataclass(frozen=True, eq=False)
class Ansatz:
    """Y = g + s w h N(xi, phi, tau, mu) at points x and times t.

    The inputs of N are the coordinates xi of x, from -1 to 1 in the rectangle, the kink phi, the time tau, from -1 to
    1, and further numbers mu, which are the same everywhere.

    Parameters
    ----------
    domain : where x is.
    factor, kink, lifting : h, phi and g, of places; g = 0 where there is none.
    window : w, of functions of time: t - t_0 for those that are known "before", T - t for those "after", and 1 for
        others.
    size : of the network's share, in which adjoint states are measured.
    parameters : mu (k,).
    """

    domain: Domain
    factor: Function
    kink: Function
    lifting: Function | None = None
    window: Literal["before", "after"] | None = None
    size: float = 1.0
    parameters: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def inputs(self) -> int:
        """The number of inputs of N."""
        return 3 + (self.domain.span is not None) + self.parameters.size

    def value(self, places: Places) -> Operator:
        """Y."""
        return self._all(places)[0]

    def first(self, places: Places) -> tuple[Operator, Operator, Operator]:
        """Y and its two derivatives."""
        value, along, across, _, _ = self._all(places)
        return value, along, across

    def second(self, places: Places) -> tuple[Operator, Operator, Operator, Operator, Operator]:
        """Y, its two derivatives, its Laplacian, and its derivative by time, which is zero where there is no time."""
        return self._all(places)

    def _all(self, places: Places) -> tuple[Operator, Operator, Operator, Operator, Operator]:
        """With H = w h: H N, w h_i N + H d_i . grad N and w Lap h N + (2 w h_i d_i + H Lap phi e_z) . grad N
        + H (d_i . grad)^2 N, where d_i = xi_i' e_i + phi_i e_z; by time w' h N + H (tau' e_tau + phi_t e_z) . grad N.
        """
        n, h, phi = places.points.shape[1], self.factor(places), self.kink(places)
        g = constant(0.0, n) if self.lifting is None else self.lifting(places)
        w, rate_of_w = self._window(places.t)
        inputs = np.empty((self.inputs, n))
        directions = np.zeros((2, *inputs.shape))
        for axis, (low, high) in enumerate(self.domain.box):
            inputs[axis] = (2 * places.points[axis] - low - high) / (high - low)
            directions[axis, axis] = 2 / (high - low)
            directions[axis, 2] = phi.gradient[axis]
        inputs[2] = phi.value
        slope_by_time = np.zeros(inputs.shape)
        slope_by_time[2] = phi.rate
        if self.domain.span is not None:
            begin, end = self.domain.span
            inputs[3] = (2 * (places.t or 0.0) - begin - end) / (end - begin)
            slope_by_time[3] = 2 / (end - begin)
        inputs[self.inputs - self.parameters.size :] = self.parameters[:, None]
        size = w * h.value
        first = [
            Operator(inputs, w * h.gradient[axis], size * directions[axis], None, None, g.gradient[axis])
            for axis in (0, 1)
        ]
        mixed = 2 * w * (h.gradient[:, None] * directions).sum(axis=0)
        mixed[2] += size * phi.laplacian
        return (
            Operator(inputs, size, np.zeros(inputs.shape), None, None, g.value),
            *first,
            Operator(inputs, w * h.laplacian, mixed, size, directions, g.laplacian),
            Operator(inputs, rate_of_w * h.value + w * h.rate, size * slope_by_time, None, None, g.rate),
        )  # type: ignore[return-value]

    def _window(self, t: float | None) -> tuple[float, float]:
        """s w and its derivative."""
        if self.window is None or self.domain.span is None or t is None:
            return self.size, 0.0
        begin, end = self.domain.span
        rising = self.window == "before"
        return self.size * (t - begin if rising else end - t), self.size * (1.0 if rising else -1.0)


def hard(domain: Domain, lifting: Function, size: float) -> tuple[Ansatz, Ansatz]:
    """Those of the state, and of the adjoint state of a size."""
    state = Ansatz(domain, lambda places: bubble(domain, places), Kink(domain), lifting, domain.span and "before")
    return state, adjoint_of(state, size)


def adjoint_of(state: Ansatz, size: float) -> Ansatz:
    """The trial functions of adjoint states of a size that belong to those of states: zero on the boundary and at T."""
    return replace(state, lifting=None, window=state.domain.span and "after", size=size)


def soft(domain: Domain, size: float) -> tuple[Ansatz, Ansatz]:
    """Y = N(xi, z) with the label z of the part, and P = size N(xi, z): no condition holds for all weights.

    M.-C. Lai et al. (see `interface_reference`), Algorithm 1: the conditions are rows of `System` (soft=).
    """
    state = Ansatz(domain, lambda places: constant(1.0, places.points.shape[1]), lambda places: label(domain, places))
    return state, replace(state, size=size)
