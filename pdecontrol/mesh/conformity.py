"""Whether the cells of a mesh overlap, or touch without being connected.

Where every facet lies in one cell or between two, all is decided at the facets of exactly one cell: over a point there
are as many cells as times that these facets wind around it. They are few, so that the tests cost little.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..arrays import Array
from ..errors import MeshError
from .cells import facets_of

TOUCH = 1e-6  # what is nearer than this, relative to the edges there, touches
SAMPLES = 500_000  # pairs of facets for which windings are computed
CHUNK = 20_000
REMEDY = (
    "Pass weld=True to Mesh or read_mesh to merge them, or weld=False where they are meant to be apart, as at a slit"
)

MATCH = "Mesh the parts so that their facets match, or pass weld=False where they are meant to be apart, as at a slit"


class Shell(NamedTuple):
    """The facets of exactly one cell.

    Attributes
    ----------
    points, cells : of the mesh.
    facets : (dim, k), their vertices.
    owners : (k,), the cells.
    opposite : (k,), which vertex of the cell, from 0 to dim, is not in the facet.
    """

    points: Array
    cells: Array
    facets: Array
    owners: Array
    opposite: Array


def shell(points: Array, cells: Array, places: Array) -> Shell:
    """The facets at some places among `facets_of` the cells."""
    opposite, owners = np.divmod(places, cells.shape[1])
    return Shell(points, cells, np.sort(facets_of(cells)[:, places], axis=0), owners, opposite)


def refuse_folds(points: Array, cells: Array, numbers: Array) -> None:
    """Raise MeshError if two cells of positive orientation lie on the same side of a facet, given all their numbers."""
    facets = facets_of(cells)
    inversions = np.repeat(np.arange(len(cells)), cells.shape[1])
    for first, second in combinations(facets, 2):
        inversions += first > second
    signs = 1 - 2 * (inversions % 2)
    folded = np.abs(np.bincount(numbers, signs)) > 1.5
    if folded.any():
        pair = np.flatnonzero(numbers == np.argmax(folded))
        one, other = pair % cells.shape[1]
        raise MeshError(
            f"Cells {one} and {other} overlap: they lie on the same side of their common facet around x = "
            f"{_place(points[:, facets[:, pair[0]]].mean(axis=1))}; repair the mesh."
        )


def coincident(shell: Shell) -> Array:
    """For each point the first at the same place, among those of the shell; others stand for themselves."""
    vertices = np.unique(shell.facets)
    places, near = shell.points[:, vertices].T, TOUCH * _shortest_edges(shell)[vertices]
    tree = cKDTree(places)
    twins = np.flatnonzero(tree.query(places, k=2)[0][:, 1] <= near)
    which, others = _flat(tree.query_ball_point(places[twins], near[twins]))
    one = twins[which]
    same = np.linalg.norm(places[one] - places[others], axis=1) <= np.minimum(near[one], near[others])
    pairs = coo_matrix((same[same], (one[same], others[same])), (len(vertices), len(vertices)))
    labels = connected_components(pairs, directed=False)[1]
    result = np.arange(shell.points.shape[1])
    result[vertices] = vertices[np.unique(labels, return_index=True)[1]][labels]
    return result


def refuse_overlaps(shell: Shell, apart: bool) -> None:
    """Raise MeshError if cells overlap or, unless they are meant to stay apart, touch without being connected."""
    if not apart:
        _refuse_coincident(shell)
    _refuse_vertices_in_cells(shell, apart)
    _refuse_crossings(shell)
    _refuse_windings(shell)
    if not apart:
        _refuse_covered_facets(shell)


def _refuse_coincident(shell: Shell) -> None:
    first = coincident(shell)
    twins = np.flatnonzero(first != np.arange(len(first)))
    if twins.size:
        raise MeshError(
            f"Points {first[twins[0]]} and {twins[0]} of the mesh are both at x = {_place(shell.points[:, twins[0]])}, "
            f"the cells around them are not connected ({twins.size} points repeat others). {REMEDY}."
        )


def _refuse_vertices_in_cells(shell: Shell, apart: bool) -> None:
    """A vertex of the shell inside one of its cells is an overlap, on one of its facets a hanging node."""
    vertices, cells = np.unique(shell.facets), np.unique(shell.owners)
    outer = np.zeros((len(shell.cells), shell.cells.shape[1]), dtype=bool)
    outer[shell.opposite, shell.owners] = True
    near = TOUCH * _shortest_edges(shell)
    for which, at in _points_near_cells(shell.points[:, vertices], shell, cells):
        foreign = (shell.cells[:, cells[which]] != vertices[at]).all(axis=0)
        cell, point = cells[which[foreign]], vertices[at[foreign]]
        near_it = np.minimum(near[point], near[shell.cells[:, cell]].min(axis=0))
        distances = _distances(shell, cell, shell.points[:, point])
        inside = (distances > near_it).all(axis=0)
        if inside.any():
            hit = int(np.argmax(inside))
            raise _overlap(f"point {point[hit]} lies inside cell {cell[hit]}", shell.points[:, point[hit]])
        hanging = (distances >= -near_it).all(axis=0) & ((distances <= near_it) & outer[:, cell]).any(axis=0)
        if hanging.any() and not apart:
            hit = int(np.argmax(hanging))
            raise MeshError(
                f"Point {point[hit]} of the mesh is a hanging node: at x = {_place(shell.points[:, point[hit]])} it "
                f"lies on a facet of cell {cell[hit]} and is no vertex of it. {MATCH}."
            )


def _refuse_covered_facets(shell: Shell) -> None:
    """The middle of a facet of the shell is in no other cell: facets that lie on each other have the same vertices."""
    if len(shell.points) == 1:
        return
    middle, cells, near = shell.points[:, shell.facets].mean(axis=1), np.unique(shell.owners), _shortest_edges(shell)
    for which, at in _points_near_cells(middle, shell, cells):
        foreign = cells[which] != shell.owners[at]
        cell, at = cells[which[foreign]], at[foreign]
        near_it = TOUCH * np.minimum(near[shell.facets[:, at]].min(axis=0), near[shell.cells[:, cell]].min(axis=0))
        covered = (_distances(shell, cell, middle[:, at]) >= -near_it).all(axis=0)
        if covered.any():
            hit = int(np.argmax(covered))
            raise MeshError(
                f"Cells {shell.owners[at[hit]]} and {cell[hit]} of the mesh touch at x = {_place(middle[:, at[hit]])} "
                f"but have no facet in common. {MATCH}."
            )


def _refuse_crossings(shell: Shell) -> None:
    """No edge of a facet of the shell passes through another facet."""
    dim = len(shell.points)
    if dim == 1:
        return
    for one, other in _facets_near_facets(shell):
        for f, g in ((one, other), (other, one)):
            for ends in combinations(range(dim), 2):
                edges, facets = shell.facets[list(ends)][:, f], shell.facets[:, g]
                free = (edges[:, None] != facets[None]).all(axis=(0, 1))
                start, end = shell.points[:, edges[:, free]].transpose(1, 2, 0)
                corners = shell.points[:, facets[:, free]].transpose(1, 2, 0)
                # start + t (end - start) = corner 0 + sum_k s_k (corner k - corner 0)
                columns = np.stack([*(corner - corners[0] for corner in corners[1:]), start - end], axis=2)
                scale = np.prod(np.linalg.norm(columns, axis=1), axis=1)
                crosses = np.flatnonzero(np.abs(np.linalg.det(columns)) > TOUCH * scale)
                s = np.linalg.solve(columns[crosses], (start - corners[0])[crosses][:, :, None])[:, :, 0]
                shares = np.column_stack([s, 1 - s[:, :-1].sum(axis=1), 1 - s[:, -1]])
                hits = np.flatnonzero((shares > TOUCH).all(axis=1))
                if hits.size:
                    hit = crosses[hits[0]]
                    t = s[hits[0], -1]
                    cells = [int(shell.owners[x[free][hit]]) for x in (f, g)]
                    raise _overlap(
                        f"the boundary of cell {cells[0]} crosses that of cell {cells[1]}",
                        start[hit] + t * (end[hit] - start[hit]),
                    )


def _refuse_windings(shell: Shell) -> None:
    """The shell winds once around points just inside of it."""
    corners = shell.points[:, shell.facets]
    inner = shell.points[:, shell.cells[shell.opposite, shell.owners]]
    count = len(shell.owners)
    links = coo_matrix((np.ones(shell.facets.size), (shell.facets.ravel(), np.tile(np.arange(count), len(corners)))))
    labels = connected_components(links.T @ links, directed=False)[1] if len(corners) > 1 else np.zeros(count, int)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    parts = np.split(order, starts[1:])
    lower = np.minimum.reduceat(corners.min(axis=1)[:, order], starts, axis=1)
    upper = np.maximum.reduceat(corners.max(axis=1)[:, order], starts, axis=1)
    middle, outward = corners.mean(axis=1), np.sign(_volumes(corners - inner[:, None]))
    for i in np.union1d(order[starts], np.arange(0, count, math.ceil(count**2 / SAMPLES))):
        x = middle[:, [i]] + 1e-3 * (inner[:, [i]] - middle[:, [i]])
        # A part of the shell does not wind around what is beside it.
        near = np.flatnonzero(((lower <= x) & (x <= upper)).all(axis=0))
        around = np.concatenate([parts[part] for part in near])
        if np.sum(outward[around] * _turns(corners[:, :, around] - x[:, None])) > 1.5:
            raise _overlap(f"other cells lie over cell {shell.owners[i]}", x[:, 0])


def _turns(corners: Array) -> Array:
    """How much facets with corners (dim, dim, k) turn around the origin, 1 for all directions together."""
    if len(corners) == 1:
        return np.sign(_volumes(corners)) / 2
    if len(corners) == 2:
        return np.arctan2(_volumes(corners), (corners[:, 0] * corners[:, 1]).sum(axis=0)) / (2 * np.pi)
    # A. Van Oosterom, J. Strackee, The solid angle of a plane triangle, IEEE Trans. Biomed. Eng. 30 (1983)
    a, b, c = np.linalg.norm(corners, axis=0)
    ab, ac, bc = ((corners[:, i] * corners[:, j]).sum(axis=0) for i, j in combinations(range(3), 2))
    return np.arctan2(_volumes(corners), a * b * c + ab * c + ac * b + bc * a) / (2 * np.pi)


def _volumes(corners: Array) -> Array:
    """Determinants (k,) of (dim, dim, k): those of numpy take long for many small matrices."""
    if len(corners) == 1:
        return np.asarray(corners[0, 0])
    if len(corners) == 2:
        return np.asarray(corners[0, 0] * corners[1, 1] - corners[1, 0] * corners[0, 1])
    (a, b, c), (d, e, f), (g, h, i) = corners
    return np.asarray(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def _distances(shell: Shell, cells: Array, points: Array) -> Array:
    """Signed distances (dim + 1, k) of points (dim, k), one for each cell, from its facets, positive inside."""
    corners = shell.points[:, shell.cells[:, cells]]
    edges = np.moveaxis(corners[:, 1:] - corners[:, :1], 2, 0)  # (k, dim, dim), columns are edges
    gradients = np.linalg.inv(edges)
    gradients = np.concatenate([-gradients.sum(axis=1, keepdims=True), gradients], axis=1)
    shares = np.einsum("kid,dk->ik", gradients, points - corners[:, 0])
    shares[0] += 1
    return shares / np.linalg.norm(gradients, axis=2).T


def _points_near_cells(points: Array, shell: Shell, cells: Array) -> Iterator[tuple[Array, Array]]:
    """Pairs (numbers of cells, numbers of points), in chunks, with all points in the cells."""
    corners = shell.points[:, shell.cells[:, cells]]
    yield from _in_balls(points, corners, 1.0)


def _facets_near_facets(shell: Shell) -> Iterator[tuple[Array, Array]]:
    """Pairs of facets, in chunks, with all that meet."""
    corners = shell.points[:, shell.facets]
    lower, upper = corners.min(axis=1), corners.max(axis=1)
    radii = _radii(corners)
    for one, other in _in_balls(corners.mean(axis=1), corners, 2.0):
        smaller = (radii[other] < radii[one]) | ((radii[other] == radii[one]) & (other < one))
        meet = smaller & ((lower[:, one] <= upper[:, other]) & (lower[:, other] <= upper[:, one])).all(axis=0)
        if meet.any():
            yield one[meet], other[meet]


def _in_balls(points: Array, corners: Array, factor: float) -> Iterator[tuple[Array, Array]]:
    """Pairs (simplices, points) with the points in balls around the simplices, as large as these times a factor."""
    tree, centres, radii = cKDTree(points.T), corners.mean(axis=1).T, factor * (1 + TOUCH) * _radii(corners)
    for begin in range(0, len(centres), CHUNK):
        part = slice(begin, begin + CHUNK)
        which, at = _flat(tree.query_ball_point(centres[part], radii[part]))
        yield begin + which, at


def _radii(corners: Array) -> Array:
    return np.asarray(np.linalg.norm(corners - corners.mean(axis=1, keepdims=True), axis=0).max(axis=0))


def _flat(lists: Any) -> tuple[Array, Array]:
    """Lists as pairs: the number of the list, and the entry."""
    counts = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    entries = np.fromiter((entry for entries in lists for entry in entries), dtype=np.int64, count=counts.sum())
    return np.repeat(np.arange(len(lists)), counts), entries


def _shortest_edges(shell: Shell) -> Array:
    """The shortest edge at each point of the shell; infinite at others that are not near."""
    outer = np.zeros(shell.points.shape[1], dtype=bool)
    outer[shell.facets] = True
    near = shell.cells[:, outer[shell.cells].any(axis=0)]
    shortest = np.full(len(outer), np.inf)
    for a, b in combinations(near, 2):
        lengths = np.linalg.norm(shell.points[:, a] - shell.points[:, b], axis=0)
        np.minimum.at(shortest, a, lengths)
        np.minimum.at(shortest, b, lengths)
    return shortest


def _overlap(what: str, x: Array) -> MeshError:
    return MeshError(f"Cells of the mesh overlap: {what}, at x = {_place(x)}; repair the mesh.")


def _place(x: Array) -> list[float]:
    return [float(f"{value:.6g}") for value in x]
