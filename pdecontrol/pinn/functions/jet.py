"""Smooth functions with their derivatives, by differences where only values are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...arrays import Array, Data, sample

STEP = 1e-3  # of differences of fourth order, relative to the diameter of the domain or the span of time
CENTRAL = ((1, 8 / 12), (-1, -8 / 12), (2, -1 / 12), (-2, 1 / 12))  # of the first derivative


class Jet(NamedTuple):
    """A function at points: its values (n,), gradient (2, n), Laplacian (n,) and derivative by time (n,).

    At interfaces they are those of one side.
    """

    value: Array
    gradient: Array
    laplacian: Array
    rate: Array

    def __add__(self, other: Jet) -> Jet:  # type: ignore[override]
        return Jet(*(a + b for a, b in zip(self, other, strict=True)))

    def __sub__(self, other: Jet) -> Jet:
        return Jet(*(a - b for a, b in zip(self, other, strict=True)))

    def where(self, chosen: Array) -> Jet:
        """The function where points are chosen, zero elsewhere."""
        return Jet(*(np.where(chosen, a, 0.0) for a in self))


def constant(value: float | Array, count: int) -> Jet:
    """A constant, or one at each point."""
    return Jet(np.zeros(count) + value, np.zeros((2, count)), np.zeros(count), np.zeros(count))


def jet_of(data: Data, points: Array, scale: float, name: str) -> Jet:
    """A function of space that is given by its values, with derivatives by differences."""
    if not callable(data):
        return constant(float(data), points.shape[1])

    def at(shift: Array) -> Array:
        return sample(data, points + shift[:, None], scale, name)

    step = STEP * scale
    middle, gradient, laplacian = at(np.zeros(2)), np.empty(points.shape), np.zeros(points.shape[1])
    for axis, unit in enumerate(step * np.eye(2)):
        one, two, minus, twice = at(unit), at(2 * unit), at(-unit), at(-2 * unit)
        gradient[axis] = (8 * (one - minus) - (two - twice)) / (12 * step)
        laplacian += (16 * (one + minus) - (two + twice) - 30 * middle) / (12 * step**2)
    return Jet(middle, gradient, laplacian, np.zeros(points.shape[1]))


def divergence(field: Callable[[Array], Array], points: Array, scale: float) -> Array:
    """div of a vector field (2, n), by differences."""
    total, step = np.zeros(points.shape[1]), 0.1 * STEP * scale  # of gradients, which have less noise than values
    for axis, unit in enumerate(step * np.eye(2)):
        total += sum(weight * field(points + k * unit[:, None])[axis] for k, weight in CENTRAL) / step
    return total


def rate_of(function: Callable[[float], Array], t: float, span: tuple[float, float]) -> Array:
    """The derivative by time of values (n,), by differences at five times of the span."""
    step = STEP * (span[1] - span[0])
    middle = min(max(t, span[0] + 2 * step), span[1] - 2 * step)
    nodes = middle + step * np.arange(-2, 3)
    shift = (t - middle) / step
    powers = np.arange(-2.0, 3.0)[None] ** np.arange(5)[:, None]
    slope = np.array([0.0, 1.0, 2 * shift, 3 * shift**2, 4 * shift**3]) / step
    weights = np.linalg.solve(powers, slope)
    return np.asarray(sum(weight * function(float(node)) for weight, node in zip(weights, nodes, strict=True)))
