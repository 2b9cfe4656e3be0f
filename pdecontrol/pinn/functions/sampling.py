"""Random points: in a domain, on both sides of its interfaces, on its boundary, and in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...problem import Moving
from .domain import Domain, Places
from .factors import loops_of

SLICES = 400  # times at most, which share the points
CLUSTERED = 0.2  # of the points are near those places where functions are not smooth
REACH = 0.125  # of the diameter, around such places


class Sides(NamedTuple):
    """Points on an interface, as those of its outer and of its inner side, and the normals (2, n)."""

    outer: Places
    inner: Places
    normal: Array


class Sample(NamedTuple):
    """Points in the interior, on interfaces by tag, and on the boundary, at each of some times; and at both ends."""

    interior: list[Places]
    curves: dict[str, list[Sides]]
    edges: list[Places]
    ends: list[Places]


def draw(
    domain: Domain,
    count: int,
    on_curves: int,
    on_edges: int,
    generator: np.random.Generator,
    near: Sequence[Sequence[float]] = (),
    slices: int = SLICES,
) -> Sample:
    """So many points in the interior, on the interfaces and on the boundary, uniformly, at some random times.

    At the initial and at the final time there are as many as on the boundary. A fifth of those in the interior are
    clustered around the places `near`, where functions are not smooth.
    """
    slices = 1 if domain.span is None else min(slices, count)
    curves: dict[str, list[Sides]] = {tag: [] for tag in domain.interface}
    sample = Sample([], curves, [], [])
    initial = {tag: loops_of(domain, tag, domain.shape(tag)) for tag in domain.interface}
    lengths = {tag: sum(map(_length, loops)) for tag, loops in initial.items()}
    for number in range(slices):
        t = None
        if domain.span is not None:
            t = float(domain.span[0] + (domain.span[1] - domain.span[0]) * (number + generator.uniform()) / slices)
        sample.interior.append(domain.places(_interior(domain, _share(count, number, slices), generator, near), t))
        for tag in domain.interface:
            shape = domain.shape(tag, t)
            moves = isinstance(domain.interface[tag].shape, Moving)
            loops = loops_of(domain, tag, shape) if moves else initial[tag]
            own = _share(round(on_curves * lengths[tag] / sum(lengths.values())), number, slices)
            points = shape.project(_along(loops, own, generator))
            outer, inner = (domain.on(tag, points, side, t) for side in (False, True))
            curves[tag].append(Sides(outer, inner, shape.normal(points)))
        sample.edges.append(domain.places(_edges(domain, _share(on_edges, number, slices), generator), t))
    for t in domain.span or ():
        sample.ends.append(domain.places(_interior(domain, on_edges, generator, near), t))
    return sample


def chebyshev(domain: Domain, count: int) -> list[Array]:
    """Chebyshev points (2, count + 1) on the left, right, bottom and top side."""
    nodes = 0.5 - 0.5 * np.cos(np.pi * np.arange(count + 1) / count)
    edges = []
    for axis in (0, 1):
        low, high = domain.box[1 - axis]
        for end in domain.box[axis]:
            points = np.full((2, nodes.size), end)
            points[1 - axis] = low + (high - low) * nodes
            edges.append(points)
    return edges


def _share(count: int, number: int, slices: int) -> int:
    """How many of the points one of the slices has."""
    return (number + 1) * count // slices - number * count // slices


def _interior(domain: Domain, count: int, generator: np.random.Generator, near: Sequence[Sequence[float]]) -> Array:
    low, high = np.array(domain.box).T[:, :, None]
    points = low + (high - low) * generator.uniform(size=(2, count))
    if near:
        clustered = round(CLUSTERED * count)
        points[:, :clustered] = around(domain, clustered, generator, near)
    return points


def around(domain: Domain, count: int, generator: np.random.Generator, near: Sequence[Sequence[float]]) -> Array:
    """Points (2, count) of the domain, the nearer to some places the denser."""
    low, high = np.array(domain.box).T[:, :, None]
    centres = np.array(near, dtype=float).T[:, generator.integers(len(near), size=count)]
    radius = REACH * domain.diameter * generator.uniform(size=count) ** 2
    angle = generator.uniform(0, 2 * np.pi, count)
    return np.clip(centres + radius * np.array([np.cos(angle), np.sin(angle)]), low, high)


def _length(loop: Array) -> float:
    """Of a closed polygon."""
    return float(np.linalg.norm(np.roll(loop, -1, axis=1) - loop, axis=0).sum())


def _along(loops: list[Array], count: int, generator: np.random.Generator) -> Array:
    """Points (2, count) on closed polygons, uniformly."""
    start = np.hstack(loops)
    sides = np.hstack([np.roll(loop, -1, axis=1) - loop for loop in loops])
    lengths = np.cumsum(np.linalg.norm(sides, axis=0))
    place = generator.uniform(0, lengths[-1], count)
    side = np.minimum(np.searchsorted(lengths, place), lengths.size - 1)
    return np.asarray(start[:, side] + sides[:, side] * generator.uniform(size=count))


def _edges(domain: Domain, count: int, generator: np.random.Generator) -> Array:
    """Points (2, count) on the boundary."""
    low, high = np.array(domain.box).T
    points = low[:, None] + (high - low)[:, None] * generator.uniform(size=(2, count))
    axis, end = generator.integers(2, size=(2, count))
    points[axis, np.arange(count)] = np.where(end == 1, high[axis], low[axis])
    return points
