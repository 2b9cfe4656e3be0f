"""What makes trial functions satisfy conditions exactly: Y = g + h N(x, phi(x)) for any N."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.polynomial import Chebyshev

from ..arrays import Array, Data, sample
from ..errors import DataError
from ..problem import Dirichlet, Shape
from .domain import Domain, Places, shape_of

SIDES = ("left", "right"), ("bottom", "top")
SLOPE = 4.0  # of the kink at an interface
STEP = 1e-3  # of differences, relative to the diameter
DEGREES = (16, 32, 64, 128)  # of polynomials along the sides


class Jet(NamedTuple):
    """A function at points: its values (n,), gradient (2, n) and Laplacian (n,), of one side at interfaces."""

    value: Array
    gradient: Array
    laplacian: Array

    def __add__(self, other: Jet) -> Jet:  # type: ignore[override]
        return Jet(*(a + b for a, b in zip(self, other, strict=True)))

    def __sub__(self, other: Jet) -> Jet:
        return Jet(*(a - b for a, b in zip(self, other, strict=True)))

    def where(self, chosen: Array) -> Jet:
        """The function where points are chosen, zero elsewhere."""
        return Jet(*(np.where(chosen, a, 0.0) for a in self))


def factor(domain: Domain, points: Array) -> Jet:
    """h = product of 4 (x_i - low) (high - x_i) / (high - low)^2: zero on the boundary alone, and 1 in the middle."""
    values, slopes, curvatures = np.empty((3, *points.shape))
    for axis, (low, high) in enumerate(domain.box):
        x, scale = points[axis], 4 / (high - low) ** 2
        values[axis] = scale * (x - low) * (high - x)
        slopes[axis], curvatures[axis] = scale * (low + high - 2 * x), -2 * scale
    a, b = values
    return Jet(a * b, np.array([slopes[0] * b, a * slopes[1]]), curvatures[0] * b + a * curvatures[1])


def kink(domain: Domain, places: Places) -> Jet:
    """phi, the third coordinate of trial functions: 1 outside of all interfaces, continuous, and with a kink at each.

    Inside, 1 + A ((1 + s/d)^3 - 1) where s is the level of the shape, between 0 and -d, two thirds of the inradius, so that the
    slope is 3 A/d there, and constant further inside: twice differentiable on either side.
    """
    n = places.points.shape[1]
    phi = Jet(np.ones(n), np.zeros((2, n)), np.zeros(n))
    for row, item in zip(places.inside, domain.interface.values(), strict=True):
        shape = shape_of(item)
        depth = 2 / 3 * inradius(domain, shape)
        points, amplitude = places.points, SLOPE * depth / 3
        level, gradient = shape.level(points), shape.gradient(points)
        share = np.clip(1 + level / depth, 0.0, None)
        slope, curvature = 3 * amplitude / depth * share**2, 6 * amplitude / depth**2 * share
        laplacian = _divergence(shape.gradient, points, STEP * domain.diameter)
        bump = Jet(
            amplitude * (share**3 - 1), slope * gradient, curvature * (gradient**2).sum(axis=0) + slope * laplacian
        )
        phi = phi + bump.where(row)
    return phi


def inradius(domain: Domain, shape: Shape) -> float:
    """The largest distance from the curve of a point inside, among those of a grid."""
    axes = [np.linspace(low, high, 82)[1:-1] for low, high in domain.box]
    grid = np.stack(np.meshgrid(*axes)).reshape(2, -1)
    inside = grid[:, shape.contains(grid)]
    return float(shape.distance(inside).max(initial=1e-3 * domain.diameter))


class Lifting:
    """g with g = h0 on the boundary and [g] = g0 on interfaces.

    By transfinite interpolation of the boundary data, polynomials along each side, less g0 inside of each interface.
    """

    def __init__(self, domain: Domain, conditions: Mapping[str, Dirichlet], jumps: Mapping[str, Data]) -> None:
        self._domain, self._jumps = domain, jumps
        self._sides = [
            [_along(domain, (conditions.get(name) or conditions["boundary"]).value, axis, end, name)
             for end, name in enumerate(pair)]
            for axis, pair in enumerate(SIDES)
        ]  # fmt: skip

    def __call__(self, places: Places) -> Jet:
        points, domain = places.points, self._domain
        g = self._interpolated(points)
        for row, (tag, jump) in zip(places.inside, self._jumps.items(), strict=True):
            if row.any():
                name = f"the jump of y on {tag!r}"
                g = g - _jet(jump, points, STEP * domain.diameter, domain.diameter, name).where(row)
        return g

    def _interpolated(self, points: Array) -> Jet:
        """Gordon and Hall's blend: the two linear interpolations between opposite sides, less that of the corners."""
        lows, widths = np.array([(low, high - low) for low, high in self._domain.box]).T
        s, t = (points - lows[:, None]) / widths[:, None]
        (left, right), (bottom, top) = self._sides
        l, r, b, u = left(points[1]), right(points[1]), bottom(points[0]), top(points[0])
        ends = np.array(self._domain.box[1])
        (c00, c01), (c10, c11) = left(ends)[0], right(ends)[0]
        value = (1 - s) * l[0] + s * r[0] + (1 - t) * b[0] + t * u[0]
        value -= (1 - s) * (1 - t) * c00 + (1 - s) * t * c01 + s * (1 - t) * c10 + s * t * c11
        by_s = r[0] - l[0] - ((1 - t) * (c10 - c00) + t * (c11 - c01))
        by_t = u[0] - b[0] - ((1 - s) * (c01 - c00) + s * (c11 - c10))
        gradient = np.array([
            by_s / widths[0] + (1 - t) * b[1] + t * u[1],
            by_t / widths[1] + (1 - s) * l[1] + s * r[1],
        ])  # fmt: skip
        return Jet(value, gradient, (1 - t) * b[2] + t * u[2] + (1 - s) * l[2] + s * r[2])


def _along(domain: Domain, data: Data, axis: int, end: int, name: str) -> Callable[[Array], tuple[Array, ...]]:
    """Boundary data on a side: their values, and two derivatives of a polynomial through them."""
    other = 1 - axis
    low, high = domain.box[other]
    for degree in DEGREES:
        nodes = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(np.pi * np.arange(degree + 1) / degree)
        points = np.empty((2, degree + 1))
        points[axis], points[other] = domain.box[axis][end], nodes
        values = sample(data, points, domain.diameter, "the Dirichlet value")
        fit = cast(Any, Chebyshev).fit(nodes, values, degree, domain=(low, high))
        if np.abs(fit.coef[-degree // 4 :]).max() <= 1e-13 * max(np.abs(values).max(), 1e-300):
            break
    else:
        raise DataError(f"the Dirichlet value on the {name} side is no smooth function, which a trial space needs.")
    first, second = fit.deriv(1), fit.deriv(2)

    def evaluate(x: Array) -> tuple[Array, ...]:
        points = np.empty((2, x.size))
        points[axis], points[other] = domain.box[axis][end], x
        return sample(data, points, domain.diameter, "the Dirichlet value"), first(x), second(x)

    return evaluate


def _jet(data: Data, points: Array, step: float, scale: float, name: str) -> Jet:
    """A function that is given by its values, with derivatives by differences of fourth order."""
    if not callable(data):
        return Jet(np.full(points.shape[1], float(data)), np.zeros(points.shape), np.zeros(points.shape[1]))

    def at(shift: Array) -> Array:
        return sample(data, points + shift[:, None], scale, name)

    middle, gradient, laplacian = at(np.zeros(2)), np.empty(points.shape), np.zeros(points.shape[1])
    for axis, unit in enumerate(step * np.eye(2)):
        one, two, minus, twice = at(unit), at(2 * unit), at(-unit), at(-2 * unit)
        gradient[axis] = (8 * (one - minus) - (two - twice)) / (12 * step)
        laplacian += (16 * (one + minus) - (two + twice) - 30 * middle) / (12 * step**2)
    return Jet(middle, gradient, laplacian)


def _divergence(field: Callable[[Array], Array], points: Array, step: float) -> Array:
    """div of a vector field by differences of fourth order."""
    total = np.zeros(points.shape[1])
    for axis, unit in enumerate(step * np.eye(2)):
        at = [field(points + k * unit[:, None])[axis] for k in (1, -1, 2, -2)]
        total += (8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * step)
    return total
