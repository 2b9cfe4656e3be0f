"""h, zero on the boundary, and phi, with a kink at each interface: they make any network satisfy conditions exactly."""

from __future__ import annotations

import numpy as np

from ...arrays import Array
from ...errors import ProblemError
from ...problem import Moving, Shape
from .domain import Domain, Places
from .jet import Jet, constant, divergence, rate_of

SLOPE = 4.0  # of the kink at an interface, by halves of the shorter side of the domain
FLAT = 1e-3  # slopes of a level, relative to the steepest, which make no kink
DEPTH = 2 / 3  # of the inradius, beyond which the kink is constant


def bubble(domain: Domain, places: Places) -> Jet:
    """h = product of 4 (x_i - low) (high - x_i) / (high - low)^2: zero on the boundary alone, and 1 in the middle."""
    points = places.points
    values, slopes, curvatures = np.empty((3, *points.shape))
    for axis, (low, high) in enumerate(domain.box):
        x, scale = points[axis], 4 / (high - low) ** 2
        values[axis] = scale * (x - low) * (high - x)
        slopes[axis], curvatures[axis] = scale * (low + high - 2 * x), -2 * scale
    a, b = values
    return Jet(a * b, np.array([slopes[0] * b, a * slopes[1]]), curvatures[0] * b + a * curvatures[1], np.zeros(a.size))


def label(domain: Domain, places: Places) -> Jet:
    """z, a number for each part: 1 outside of all interfaces, and from -1 on inside of the first, the second, .."""
    innermost = domain.innermost(places)
    return constant(np.where(innermost < 0, 1.0, 2 * innermost / max(len(domain.interface), 1) - 1), innermost.size)


class Kink:
    """phi, the third coordinate of networks: 1 outside of all interfaces, continuous, and with a kink at each.

    Inside it is 1 + A s where the level s of a shape is smooth everywhere inside, as that of ellipses; and otherwise
    1 + A d/3 ((1 + s/d)^3 - 1) for s from 0 to -d, two thirds of the inradius, and constant further inside: twice
    differentiable on either side, with the slope A |grad s| at the interface.
    """

    def __init__(self, domain: Domain) -> None:
        self._domain, self._slope = domain, steepness(domain)
        self._depths = {tag: self._depth(tag) for tag in domain.interface}

    def __call__(self, places: Places) -> Jet:
        phi = constant(1.0, places.points.shape[1])
        for row, tag in zip(places.inside, self._domain.interface, strict=True):
            if row.any():
                phi = phi + self._bump(tag, places).where(row)
        return phi

    def _bump(self, tag: str, places: Places) -> Jet:
        domain, points, t = self._domain, places.points, places.t
        shape, depth = domain.shape(tag, t), self._depths[tag]
        level, gradient = shape.level(points), shape.gradient(points)
        laplacian, rate = divergence(shape.gradient, points, domain.diameter), np.zeros(level.size)
        if isinstance(domain.interface[tag].shape, Moving):
            assert domain.span is not None and t is not None
            rate = rate_of(lambda t: domain.shape(tag, t).level(points), t, domain.span)
        if np.isinf(depth):
            return Jet(*(self._slope * item for item in (level, gradient, laplacian, rate)))
        share = np.clip(1 + level / depth, 0.0, None)
        slope, curvature = self._slope * share**2, 2 * self._slope / depth * share
        bent = curvature * (gradient**2).sum(axis=0) + slope * laplacian
        return Jet(self._slope * depth / 3 * (share**3 - 1), slope * gradient, bent, slope * rate)

    def _depth(self, tag: str) -> float:
        """d, the smallest of those at some times where the shape moves; infinite where none is needed."""
        domain, depth = self._domain, np.inf
        moves = isinstance(domain.interface[tag].shape, Moving)
        for t in np.linspace(*domain.span, 9).tolist() if moves and domain.span else [None]:
            shape = domain.shape(tag, t)
            points = np.hstack(loops_of(domain, tag, shape))
            slopes = np.linalg.norm(shape.gradient(points), axis=0)
            if slopes.min() < FLAT * slopes.max():
                where = f"x = {points[:, np.argmin(slopes)].round(6).tolist()}" + (
                    "" if t is None else f", t = {t:.6g}"
                )
                raise ProblemError(
                    f"interface {tag!r}: the gradient of its level vanishes at {where}: phi has no kink."
                )
            if not shape.entire:
                depth = min(depth, DEPTH * _inradius(domain, shape))
        return depth


def steepness(domain: Domain) -> float:
    """A, the slope of the kink: like the coordinates of networks, it does not depend on the unit of length."""
    return 2 * SLOPE / min(high - low for low, high in domain.box)


def loops_of(domain: Domain, tag: str, shape: Shape) -> list[Array]:
    """Points on the curves of an interface; raises ProblemError where there are none, or not all are in the domain."""
    try:
        loops = shape.curves(domain.diameter / 100, 0.1, domain.box)
    except ProblemError as error:
        raise ProblemError(f"interface {tag!r}: {error}") from error
    if not loops:
        raise ProblemError(f"interface {tag!r}: its level has no zero in the domain.")
    low, high = np.array(domain.box).T[:, :, None]
    for loop in loops:
        gap = np.minimum(loop - low, high - loop).min(axis=0)
        if gap.min() < 1e-3 * domain.diameter:
            where = loop[:, np.argmin(gap)].round(6).tolist()
            raise ProblemError(
                f"interface {tag!r} leaves the domain or comes near to its boundary, at x = {where}; trial spaces need "
                f"a distance of {1e-3 * domain.diameter:.2g}."
            )
    return loops


def _inradius(domain: Domain, shape: Shape) -> float:
    """The largest distance from the curve of a point inside, among those of a grid, measured by the level."""
    axes = [np.linspace(low, high, 82)[1:-1] for low, high in domain.box]
    grid = np.stack(np.meshgrid(*axes)).reshape(2, -1)
    inside = grid[:, shape.contains(grid)]
    return float(np.minimum(shape.distance(inside), -shape.level(inside)).max(initial=1e-3 * domain.diameter))
