"""Data of a problem, functions of space, integrated over cells to a tolerance that is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array, Data, Indices, sample, undivided
from ..mesh.mesh import Mesh
from .samples import Points, Scattered, Whole, children, nodes, projected, rule, shapes

ORDERS = ((6, 8), (4, 6))  # of two rules that must agree: on cells and their children, and on smaller ones
TOLERANCE = 1e-10  # of the moments on a simplex, relative to the size of the data
LEVELS = 12  # of divisions
MOST = {1: 20_000, 2: 60_000}  # simplices in all, beyond one a cell, by the degree of what data are integrated with


@dataclass(frozen=True, eq=False)
class Integrated:
    """A function f on cells: its projection onto quadratic polynomials and what is left.

    Attributes
    ----------
    local : (l, n), the projection, by its values at corners and middles of edges.
    rest : (n,), ||f - projection|| on each cell.
    error : delta with abs(int f v - int projection v) <= delta ||v|| for functions v that are polynomials of a degree,
        1 or 2, on cells, as far as two rules tell: for data with kinks and jumps inside of cells.
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
    function: Callable[[Points], Array], cells: Indices, corners: Array, volumes: Array, exact: bool = False,
    degree: int = 1,
) -> Integrated:  # fmt: skip
    """A function on some cells, zero on others; cells are divided where two rules differ.

    Parameters
    ----------
    function : takes points to values.
    cells, corners, volumes : numbers (k,) of cells, and of all cells the corners (dim, dim + 1, n) and volumes (n,).
    exact : whether it is a quadratic polynomial on each cell, for which one rule will do.
    degree : of the functions that it is integrated with, which the error is for.
    """
    size, count = len(corners) + 1, volumes.size
    kept: list[tuple[Points, Array]] = []
    scale, most, own = 0.0, MOST[degree], cells
    defects = np.zeros((nodes(size, degree), count))
    simplices, share = np.broadcast_to(np.eye(size), (cells.size, size, size)), 1.0
    for level in range(LEVELS + 1):
        low, high = (_rule(own, simplices, share * volumes, order, level) for order in ORDERS[min(level, 2) // 2])
        values = function(low)
        if exact or not own.size:
            kept.append((low, values))
            break
        finer = function(high)
        if level == 0:
            scale = float(np.sqrt(high.sums(finer**2, count).sum() / volumes[cells].sum()))
        tested = ((values, 0), (finer, 1))
        means, others = (_means(simplices, taken, level, which, degree) for taken, which in tested)
        differences = np.abs(means - others)
        rough = differences.max(axis=0) > TOLERANCE * scale
        most -= int(rough.sum()) * 2 ** (size - 1)
        done = ~rough if level < LEVELS and most > 0 else np.full(own.size, True)
        for row, found in zip(defects, differences[:, done] * share * volumes[own[done]], strict=True):
            row += np.bincount(own[done], found, count)
        kept.append(
            (_rule(own[done], simplices[done], share * volumes, ORDERS[min(level, 2) // 2][1], level),
             finer.reshape(own.size, -1)[done].ravel())
        )  # fmt: skip
        if done.all():
            break
        parts = 2 ** (size - 1)
        own, simplices, share = np.repeat(own[rough], parts), children(simplices[rough]), share / parts
    moments = sum(points.moments(values, count) for points, values in kept)
    local = projected(np.asarray(moments), volumes)
    rest = np.sqrt(sum(points.sums((values - points.values(local)) ** 2, count) for points, values in kept))
    # sum |v_i| <= (l/mu)^(1/2) ||v||_K / |K|^(1/2) for the values v_i of v at the l nodes, mu the least eigenvalue of
    # the mass matrix of the nodal basis on a cell of volume 1.
    lam, weights = rule(size - 1, 4)
    basis = shapes(lam.T, len(defects))
    constant = np.sqrt(len(defects) / np.linalg.eigvalsh((basis * weights) @ basis.T)[0])
    error = constant * np.sqrt((defects.max(axis=0) ** 2 / volumes).sum())
    return Integrated(local, np.asarray(rest), float(error))


def _rule(cells: Indices, simplices: Array, volumes: Array, order: int, level: int) -> Points:
    """A rule on simplices in cells, given by barycentric corners: at level 0 the cells themselves."""
    if level == 0:
        return Whole.of(cells, volumes, order, simplices.shape[1] - 1)
    return Scattered.of(cells, simplices, volumes[cells], order)


def _means(simplices: Array, values: Array, level: int, which: int, degree: int) -> Array:
    """The means of f phi on simplices in cells, (l, s), for the nodal basis of a degree, by one of two rules."""
    size = simplices.shape[1]
    lam, weights = rule(size - 1, ORDERS[min(level, 2) // 2][which])
    rows, count = values.reshape(-1, weights.size), nodes(size, degree)
    if level == 0:
        return np.asarray((rows @ (weights[:, None] * shapes(lam.T, count).T)).T)
    inside = np.einsum("qv,svb->bsq", lam, simplices).reshape(size, -1)
    return np.asarray((shapes(inside, count).reshape(count, *rows.shape) * rows) @ weights)


def norms(function: Callable[[Points], Array], cells: Indices, volumes: Array, dim: int) -> tuple[float, float]:
    """The norm of a function on some cells, less and more by what two rules of orders 6 and 10 differ by on each."""
    low, high = (
        points.sums(function(points) ** 2, volumes.size)
        for points in (Whole.of(cells, volumes, order, dim) for order in (6, 10))
    )
    square, off = float(high.sum()), float(np.abs(high - low).sum())
    return max(square - off, 0.0) ** 0.5, (square + off) ** 0.5


def by_parts(data: Any, mesh: Mesh, cells: Indices) -> list[tuple[Indices, Data]]:
    """Data with the cells where they hold, those of each tag where there are several; zero elsewhere."""
    if isinstance(data, Mapping):
        return [(np.intersect1d(mesh.part(tag), cells), undivided(item)) for tag, item in data.items()]
    return [(cells, undivided(data))]


def function_of(data: Data, corners: Array, scale: float, name: str) -> Callable[[Points], Array]:
    """Data, a number or a function of x, as a function of points in cells."""
    return lambda points: sample(data, points.places(corners), scale, name)
