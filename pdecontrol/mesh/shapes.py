"""Meshes of plain shapes: intervals, boxes, discs, the L-shaped domain."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from itertools import permutations
from numbers import Real
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import MeshError
from .cells import facets_of, number_columns, oriented
from .mesh import Mesh, known

Divisions = int | Sequence[int]


def unit_interval(n: Divisions) -> Mesh:
    """The interval (0, 1) in n equal cells, with the boundaries "left" and "right".

    Raises
    ------
    MeshError
        If n is not a positive integer.

    Examples
    --------
    >>> unit_interval(4).points.tolist()
    [[0.0, 0.25, 0.5, 0.75, 1.0]]
    """
    return _unit_box(n, ["left", "right"])


def unit_square(n: Divisions) -> Mesh:
    """The unit square in n by n squares, each cut in two triangles along the diagonal x0 = x1.

    Parameters
    ----------
    n : number of squares along each axis, or a pair of such numbers.

    The boundaries are "left" and "right" (x0 = 0 and 1), "bottom" and "top" (x1 = 0 and 1).

    Raises
    ------
    MeshError
        If n is not a positive integer or a pair of them.

    Examples
    --------
    >>> unit_square((4, 2)).cells.shape
    (3, 16)
    """
    return _unit_box(n, ["left", "right"], ["bottom", "top"])


def unit_cube(n: Divisions) -> Mesh:
    """The unit cube in n by n by n cubes, each cut in six tetrahedra around its diagonal (Kuhn).

    Parameters
    ----------
    n : number of cubes along each axis, or a triple of such numbers.

    The boundaries are "left" and "right" (x0 = 0 and 1), "front" and "back" (x1 = 0 and 1), "bottom" and
    "top" (x2 = 0 and 1).

    Raises
    ------
    MeshError
        If n is not a positive integer or a triple of them.

    Examples
    --------
    >>> unit_cube(2).cells.shape
    (4, 48)
    """
    return _unit_box(n, ["left", "right"], ["front", "back"], ["bottom", "top"])


def disc(n: int, radius: float = 1.0) -> Mesh:
    """The disc around the origin in 6 n^2 triangles: ring k of the n rings of points has 6 k points.

    Raises
    ------
    MeshError
        If n is not a positive integer or the radius is not positive and finite.

    Examples
    --------
    >>> disc(3).cells.shape
    (3, 54)
    """
    n = _count(n)
    if not isinstance(radius, Real) or not 0 < radius < math.inf:
        raise MeshError(f"A disc needs a positive finite radius, got {radius}.")
    points = [np.zeros((2, 1))]
    cells = []
    for k in range(1, n + 1):
        angle = np.pi / 3 * np.arange(6 * k) / k
        points.append(radius * (k / n) * np.array([np.cos(angle), np.sin(angle)]))
        # Each sixth of the annulus has k edges on its outer ring and k - 1 on its inner one.
        sector, i = np.divmod(np.arange(6 * k), k)
        cells.append([_ring(k, sector, i), _ring(k, sector, i + 1), _ring(k - 1, sector, i)])
        inward = i < k - 1
        sector, i = sector[inward], i[inward]
        cells.append([_ring(k, sector, i + 1), _ring(k - 1, sector, i + 1), _ring(k - 1, sector, i)])
    circle = 1 + 3 * n * (n - 1) + np.arange(6 * n)
    facets = np.sort([circle, np.roll(circle, -1)], axis=0)
    facets = facets[:, np.lexsort(facets[::-1])]
    vertices = np.hstack(points)
    return known(vertices, oriented(vertices, np.hstack(cells)), {}, {"boundary": facets})


def l_shape(n: int) -> Mesh:
    """The L-shaped domain, (-1, 1)^2 without [0, 1) x (-1, 0], in 6 n^2 triangles: n squares a unit of length.

    Each square is cut in two triangles along the diagonal that points to the upper right. States are singular at the
    re-entrant corner, the origin, like r^(2/3).

    Raises
    ------
    MeshError
        If n is not a positive integer.

    Examples
    --------
    >>> l_shape(2).cells.shape
    (3, 24)
    """
    n = _count(n)
    square = unit_square(2 * n)
    grid = np.rint(2 * n * square.points) - n
    middles = grid[:, square.cells].mean(axis=1)
    vertices, cells = np.unique(square.cells[:, (middles[0] < 0) | (middles[1] > 0)], return_inverse=True)
    cells = cells.reshape(3, -1)
    columns = np.sort(facets_of(cells), axis=0)
    first, numbers = number_columns(columns)
    return known(grid[:, vertices] / n, cells, {}, {"boundary": columns[:, first[np.bincount(numbers) == 1]]})


def _unit_box(n: Divisions, *sides: list[str]) -> Mesh:
    """The unit box, each of its small boxes cut into one simplex for each order of the axes (Kuhn)."""
    dim = len(sides)
    divisions = [_count(i) for i in n] if isinstance(n, Sequence) else [_count(n)] * dim
    if len(divisions) != dim:
        raise MeshError(f"A mesh of dimension {dim} takes {dim} numbers of cells, got {len(divisions)}.")
    axes = [np.arange(i + 1) / i for i in divisions]
    # The first axis varies fastest, both in the points and in the boxes.
    points = np.array([x.ravel(order="F") for x in np.meshgrid(*axes, indexing="ij")])
    steps = np.cumprod([1, *(i + 1 for i in divisions)])[:dim]
    boxes = np.meshgrid(*map(np.arange, divisions), indexing="ij")
    corners = steps @ [x.ravel(order="F") for x in boxes]
    paths = np.array([np.cumsum([0, *steps[list(order)]]) for order in permutations(range(dim))]).T
    paths = oriented(points, paths)  # all boxes are alike
    cells = np.hstack([path[:, None] + corners for path in paths.T])
    outer = [np.sort(np.delete(cells, i, axis=0)[:, on], axis=0) for i, on in _on_sides(points, cells)]
    facets = np.hstack(outer)
    facets = facets[:, np.lexsort(facets[::-1])]
    boundaries = {
        name: facets[:, (points[axis, facets] == value).all(axis=0)]
        for axis, names in enumerate(sides)
        for value, name in enumerate(names)
    }
    return known(points, cells, {}, {"boundary": facets, **boundaries})


def _on_sides(points: Array, cells: Array) -> Iterator[tuple[int, Array]]:
    """For each corner, the cells of the unit box whose facet opposite to it lies on a side."""
    sides = [axis == value for axis in points for value in (0.0, 1.0)]
    on = np.packbits(np.array(sides), axis=0)[0]  # a bit for each side
    for i in range(len(cells)):
        yield i, np.flatnonzero(np.bitwise_and.reduce(on[np.delete(cells, i, axis=0)], axis=0))


def _ring(k: int, sector: Array, i: Array) -> Array:
    """Numbers of the points i of the sectors of ring k of a disc; ring 0 is the centre."""
    return 1 + 3 * k * (k - 1) + (sector * k + i) % (6 * k) if k else np.zeros_like(i)


def _count(n: Any) -> int:
    try:
        count = 0 if isinstance(n, bool) else operator.index(n)
    except TypeError:
        count = 0
    if count < 1:
        raise MeshError(f"The number of cells must be a positive integer, got {n!r}.")
    return count
