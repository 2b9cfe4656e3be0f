"""Points on closed curves of the plane, as far apart as their size and their turning allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from ..arrays import Array
from ..errors import ProblemError

GROWTH = 0.3  # of the spacing along a curve, so that a facet is at most exp(0.3) = 1.35 times as long as the next
FINEST = 2**17  # samples of a curve


def closed_curve(place: Callable[[Array], Array], size: float, turn: float) -> Array:
    """Points (2, n) on the closed curve place(t), 0 <= t < 1, at most `size` and `turn` radians from one to the next.

    The spacing h is the largest with h <= size, h <= turn / curvature and a growth of at most `GROWTH` along the curve;
    between two points the integral of 1 / h is the same, and at most 1.

    Raises
    ------
    ProblemError
        If the curve has a corner.
    """
    count = 512
    while True:
        t = np.arange(count + 1) / count
        x = place(t[:-1])
        chords = np.roll(x, -1, axis=1) - x
        lengths = np.linalg.norm(chords, axis=0)
        turning = turning_angles(chords)
        if lengths.max() <= size / 8 and turning.max() <= min(turn, 1.0) / 8:
            break
        if count >= FINEST:
            corner = x[:, (np.argmax(turning) + 1) % count]
            raise ProblemError(
                f"The curve turns by {turning.max():.2g} radians at x = {corner.round(6).tolist()}: it has a corner "
                "there; a curve with corners is a Polygon."
            )
        count *= 2
    # the turning at the end of chord i belongs to the halves of the chords i and i + 1
    curvature = np.roll(turning, 1) / (0.5 * (lengths + np.roll(lengths, 1)))
    # a margin for differences
    limits = 0.97 * np.minimum(size, turn / np.maximum(np.maximum(curvature, np.roll(curvature, 1)), 1e-300))
    measure = facets_up_to(lengths, limits, closed=True)
    shares = np.arange(max(int(np.ceil(measure[-1])), 4))
    return place(np.interp(shares * (measure[-1] / len(shares)), measure, t))


def traced(level: Callable[[Array], Array], box: Sequence[tuple[float, float]], size: float) -> list[Array]:
    """Closed polygons (2, n) along which a function of the plane vanishes, from its values on a grid in the box.

    The grid has steps of size / 2 or less. What is smaller may be missed.

    Raises
    ------
    ProblemError
        If the function has no change of sign on the grid, or vanishes on a curve that leaves the box.
    """
    import contourpy

    axes = [np.linspace(low, high, int(np.clip(2 * (high - low) / size, 64, 2048)) + 1) for low, high in box]
    grid = np.meshgrid(*axes)
    values = level(np.array([x.ravel() for x in grid])).reshape(grid[0].shape)
    stated = " x ".join(f"[{low:g}, {high:g}]" for low, high in box)
    if not values.min() < 0 < values.max():
        raise ProblemError(f"The level set has no sign change on {stated}.")
    polygons: list[Array] = []
    lines = contourpy.contour_generator(x=grid[0], y=grid[1], z=values, line_type="Separate").lines(0.0)
    for line in lines:
        points = np.asarray(line, dtype=float).T
        if (points[:, 0] != points[:, -1]).any():
            raise ProblemError(f"The level set leaves {stated} at x = {points[:, 0].round(6).tolist()}.")
        polygons.append(points[:, :-1])
    return polygons


def divided_sides(corners: Array, limit: Callable[[Array], Array]) -> list[Array]:
    """Points (2, n) on each side of a polygon, from its first corner on, without its last one.

    Their distances are at most limit(x), at most the sides there, and grow by at most `GROWTH` along the polygon.
    """
    ends = np.roll(corners, -1, axis=1)
    sides = np.linalg.norm(ends - corners, axis=0)
    samples, limits, lengths = [], [], []
    for start, end, side in zip(corners.T, ends.T, sides, strict=True):
        coarse = start[:, None] + (end - start)[:, None] * np.linspace(0, 1, 65)
        smallest = min(float(np.min(limit(coarse))), side)
        t = np.linspace(0, 1, max(int(8 * side / smallest), 16) + 1)
        x = start[:, None] + (end - start)[:, None] * t
        samples.append(x)
        limits.append(np.minimum(limit(x[:, :-1]), side))
        lengths.append(np.full(t.size - 1, side / (t.size - 1)))
    measure = facets_up_to(np.concatenate(lengths), np.concatenate(limits), closed=True)
    points, begin = [], 0
    for x in samples:
        part = measure[begin : begin + x.shape[1]] - measure[begin]
        begin += x.shape[1] - 1
        count = max(int(np.ceil(part[-1] - 1e-9)), 1)
        t = np.interp(np.arange(count) * (part[-1] / count), part, np.linspace(0, 1, x.shape[1]))
        points.append(x[:, :1] + (x[:, -1:] - x[:, :1]) * t)
    return points


def facets_up_to(lengths: Array, limits: Array, closed: bool) -> Array:
    """The integral of 1 / h up to the ends of chords, for the largest spacing h below the limits at their starts."""
    turns = 3 if closed else 1
    # of the repeated curve only the middle is looked at
    s = np.concatenate([[0.0], np.cumsum(np.tile(lengths, turns))[:-1]])
    h = np.tile(limits, turns)
    h = GROWTH * s + np.minimum.accumulate(h - GROWTH * s)
    h = np.minimum.accumulate((h + GROWTH * s)[::-1])[::-1] - GROWTH * s
    h = h[len(lengths) : 2 * len(lengths)] if closed else h
    density = 0.5 * (1 / h + 1 / np.roll(h, -1)) if closed else 1 / h
    return np.concatenate([[0.0], np.cumsum(lengths * density)])


def turning_angles(chords: Array) -> Array:
    """The angle between each chord and the next one, from 0 to pi."""
    following = np.roll(chords, -1, axis=1)
    cross = chords[0] * following[1] - chords[1] * following[0]
    return np.asarray(np.abs(np.arctan2(cross, (chords * following).sum(axis=0))))


def signed_area(points: Array) -> float:
    """The area within a closed polygon, positive where it goes anticlockwise."""
    following = np.roll(points, -1, axis=1)
    return float(0.5 * np.sum(points[0] * following[1] - points[1] * following[0]))


def inside_polygon(corners: Array, x: Array) -> Array:
    """Whether points (2, n) lie within a closed polygon."""
    (a, b), (c, d) = corners, np.roll(corners, -1, axis=1)
    slopes = (c - a) / np.where(b == d, 1.0, d - b)

    def inside(first: Array, second: Array) -> Array:
        crossed = ((b > second) != (d > second)) & (first < a + slopes * (second - b))
        return np.asarray(crossed.sum(axis=1) % 2 == 1)

    return np.concatenate([inside(*part[:, :, None]) for part in _chunks(x, corners.shape[1])])


def nearest_on_polygon(corners: Array, x: Array) -> tuple[Array, Array, Array]:
    """The nearest points of a closed polygon, the numbers of their sides, and where on these, from 0 to 1."""
    ends = np.roll(corners, -1, axis=1)
    along = ends - corners
    squares = (along**2).sum(axis=0)

    def nearest(part: Array) -> tuple[Array, Array, Array]:
        offset = part[:, :, None] - corners[:, None]
        shares = np.clip((offset * along[:, None]).sum(axis=0) / squares, 0.0, 1.0)
        side = ((offset - along[:, None] * shares) ** 2).sum(axis=0).argmin(axis=1)
        share = shares[np.arange(len(side)), side]
        return np.where(share < 1.0, corners[:, side] + along[:, side] * share, ends[:, side]), side, share

    feet, sides, shares = zip(*map(nearest, _chunks(x, corners.shape[1])), strict=True)
    return np.hstack(feet), np.concatenate(sides), np.concatenate(shares)


def distances(polygon: Array, x: Array) -> Array:
    """How far points (2, n) are from a closed polygon."""
    return np.asarray(np.linalg.norm(x - nearest_on_polygon(polygon, x)[0], axis=0))


def apart(one: Sequence[Array], other: Sequence[Array], reach: float) -> tuple[float, Array]:
    """The least distance of a vertex of some closed polygons to others, zero where they cross, and where that is.

    It is infinite where it is more than `reach` along an axis for all of them.
    """
    gap, place = np.inf, np.zeros(2)
    for first, second in product(one, other):
        beside = np.maximum(first.min(axis=1) - second.max(axis=1), second.min(axis=1) - first.max(axis=1))
        if beside.max() > reach:
            continue
        for polygon, x in ((first, second), (second, first)):
            far, within = distances(polygon, x), inside_polygon(polygon, x)
            found = 0.0 if within.any() and not within.all() else float(far.min())
            if found < gap:
                gap, place = found, x[:, np.argmin(far)]
    return gap, place


def _chunks(x: Array, count: int) -> list[Array]:
    """The points in parts, so that arrays of points and sides are not large."""
    step = max(200_000 // count, 1)
    return [x[:, begin : begin + step] for begin in range(0, max(x.shape[1], 1), step)]


def crossing(corners: Array) -> Array | None:
    """A place where two sides of a closed polygon cross or touch; None where they do not."""
    n = corners.shape[1]
    ends = np.roll(corners, -1, axis=1)
    low, high = np.minimum(corners, ends), np.maximum(corners, ends)
    for i in range(n):
        back = np.dot(ends[:, i] - corners[:, i], ends[:, (i + 1) % n] - ends[:, i]) < 0
        if back and _side(corners[:, i], ends[:, i], ends[:, [(i + 1) % n]])[0] == 0:
            return np.asarray(ends[:, i])
        others = np.setdiff1d(np.arange(i + 2, n), [(i - 1) % n])
        first, last = (_side(corners[:, i], ends[:, i], x[:, others]) for x in (corners, ends))
        for j in others[first * last <= 0]:
            here, there = _side(corners[:, j], ends[:, j], np.array([corners[:, i], ends[:, i]]).T)
            below, above = np.maximum(low[:, i], low[:, j]), np.minimum(high[:, i], high[:, j])
            if here * there <= 0 and (below <= above).all():
                return np.asarray(0.5 * (below + above))
    return None


def _side(start: Array, end: Array, x: Array) -> Array:
    """Positive for points x on the left of the line from the start to the end, negative on the right."""
    return np.asarray((end[0] - start[0]) * (x[1] - start[1]) - (end[1] - start[1]) * (x[0] - start[0]))
