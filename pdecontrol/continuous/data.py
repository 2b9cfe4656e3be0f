"""Data of a problem, functions of space, integrated over cells to a tolerance that is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array, Data, Indices, sample, undivided
from ..errors import DataError
from ..mesh.mesh import Mesh
from .samples import Points, projected

ORDERS = ((6, 10), (4, 6))  # of two rules that must agree: on cells and their children, and on smaller ones
TOLERANCE = 1e-10  # of the moments on a simplex, relative to the size of the data
LEVELS = 12  # of divisions
MOST = 50_000  # simplices in all, beyond one a cell


@dataclass(frozen=True, eq=False)
class Integrated:
    """A function f on cells: its projection onto quadratic polynomials and what is left.

    Attributes
    ----------
    local : (l, n), the projection, by its values at corners and middles of edges.
    rest : (n,), ||f - projection|| on each cell.
    error : delta with abs(int f v - int projection v) <= delta ||v|| for functions v that are affine on cells, as far
        as two rules tell: for data with kinks and jumps inside of cells.
    """

    local: Array
    rest: Array
    error: float

    def __add__(self, other: Integrated) -> Integrated:
        return Integrated(self.local + other.local, self.rest + other.rest, self.error + other.error)

    def scaled(self, factor: float) -> Integrated:
        """The function times a number."""
        return Integrated(factor * self.local, abs(factor) * self.rest, abs(factor) * self.error)


def integrated(
    function: Callable[[Points], Array], cells: Indices, corners: Array, volumes: Array, exact: bool = False
) -> Integrated:
    """A function on some cells, zero on others; cells are divided where two rules differ.

    Parameters
    ----------
    function : takes points to values.
    cells, corners, volumes : numbers (k,) of cells, and of all cells the corners (dim, dim + 1, n) and volumes (n,).
    exact : whether it is a quadratic polynomial on each cell, for which one rule will do.
    """
    size, count = len(corners) + 1, volumes.size
    simplices, share, own = np.broadcast_to(np.eye(size), (cells.size, size, size)), 1.0, cells
    kept: list[tuple[Points, Array]] = []
    defects, scale, most = np.zeros((size, count)), 0.0, MOST
    for level in range(LEVELS + 1):
        low, high = (Points.of(own, simplices, share * volumes[own], order) for order in ORDERS[min(level, 2) // 2])
        values = function(low)
        if exact or not own.size:
            kept.append((low, values))
            break
        finer = function(high)
        scale = scale or float(np.sqrt(np.average(finer**2, weights=high.weights)))
        differences = np.abs(_first(low, values, own.size) - _first(high, finer, own.size))
        rough = differences.max(axis=0) > TOLERANCE * scale * share * volumes[own]
        most -= int(rough.sum()) * 2 ** (size - 1)
        done = ~rough if level < LEVELS and most > 0 else np.full(own.size, True)
        for row, found in zip(defects, differences[:, done], strict=True):
            row += np.bincount(own[done], found, count)
        kept.append(_chosen(high, finer, done))
        if done.all():
            break
        children = 2 ** (size - 1)
        own, simplices, share = np.repeat(own[rough], children), _children(simplices[rough]), share / children
    moments = sum(points.moments(values, count) for points, values in kept)
    local = projected(np.asarray(moments), volumes)
    rest = np.sqrt(sum(points.sums((values - points.values(local)) ** 2, count) for points, values in kept))
    # |v_0| + .. + |v_dim| <= c ||v||_K / |K|^(1/2) for affine v, with c^2 = d^2 (d + 1) for d = dim + 1 corners.
    error = size * np.sqrt(size + 1.0) * np.sqrt((defects.max(axis=0) ** 2 / volumes).sum())
    return Integrated(local, np.asarray(rest), float(error))


def _first(points: Points, values: Array, count: int) -> Array:
    """int f lam_i on each of so many simplices, (dim + 1, count); all have as many points."""
    weighted = (points.weights * values).reshape(count, -1)
    return np.asarray(np.einsum("kq,kqv->vk", weighted, points.coordinates.reshape(*weighted.shape, -1)))


def _chosen(points: Points, values: Array, chosen: Array) -> tuple[Points, Array]:
    """The points and values of some of the simplices."""
    each = np.repeat(chosen, points.cells.size // max(chosen.size, 1))
    return Points(points.cells[each], points.coordinates[each], points.weights[each]), values[each]


def _children(simplices: Array) -> Array:
    """Intervals in two halves, triangles in four, by their corners (s, dim + 1, dim + 1)."""
    if simplices.shape[1] == 2:
        a, b = simplices[:, 0], simplices[:, 1]
        middle = (a + b) / 2
        parts: list[tuple[Array, ...]] = [(a, middle), (middle, b)]
    else:
        a, b, c = simplices[:, 0], simplices[:, 1], simplices[:, 2]
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.stack([np.stack(part, axis=1) for part in parts], axis=1).reshape(-1, *simplices.shape[1:])


def by_parts(data: Any, mesh: Mesh, cells: Indices) -> list[tuple[Indices, Data]]:
    """Data with the cells where they hold, those of each tag where there are several; zero elsewhere."""
    if isinstance(data, Mapping):
        return [(np.intersect1d(mesh.part(tag), cells), undivided(item)) for tag, item in data.items()]
    return [(cells, undivided(data))]


def function_of(data: Data, corners: Array, scale: float, name: str) -> Callable[[Points], Array]:
    """Data, a number or a function of x, as a function of points in cells."""
    if not callable(data) and np.ndim(data) > 0:
        raise DataError(f"{name}: an array belongs to one mesh: give a function of x, or a field, for this bound.")
    return lambda points: sample(data, points.places(corners), scale, name)
