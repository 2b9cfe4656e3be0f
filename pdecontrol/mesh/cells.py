"""Cells and facets as columns of vertex numbers: their orientation, numbering and refinement."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ..arrays import Array
from ..errors import MeshError

# Vertices of the children of a simplex of dimension 0 to 3: (i, j) is the midpoint of the vertices i and j.
# Tetrahedra follow J. Bey, Tetrahedral grid refinement, Computing 55 (1995): the diagonal joins 02 and 13.
_CHILDREN: tuple[tuple[tuple[tuple[int, int], ...], ...], ...] = (
    (((0, 0),),),
    (((0, 0), (0, 1)), ((0, 1), (1, 1))),
    (((0, 0), (0, 1), (0, 2)), ((0, 1), (1, 1), (1, 2)), ((0, 2), (1, 2), (2, 2)), ((1, 2), (0, 2), (0, 1))),
    (((0, 0), (0, 1), (0, 2), (0, 3)), ((0, 1), (1, 1), (1, 2), (1, 3)), ((0, 2), (1, 2), (2, 2), (2, 3)),
     ((0, 3), (1, 3), (2, 3), (3, 3)), ((0, 1), (0, 2), (0, 3), (1, 3)), ((0, 1), (0, 2), (1, 2), (1, 3)),
     ((0, 2), (0, 3), (1, 3), (2, 3)), ((0, 2), (1, 2), (1, 3), (2, 3))),
)  # fmt: skip


def facets_of(cells: Array) -> Array:
    """Vertices (dim, (dim + 1) m) of the facets of the cells: those opposite to the first vertices, and so on."""
    return np.hstack([np.delete(cells, i, axis=0) for i in range(len(cells))])


def oriented(points: Array, cells: Array) -> Array:
    """The cells with positive orientation."""
    with np.errstate(over="ignore", invalid="ignore"):
        determinants = edge_determinants(points, cells)
        lengths = [np.linalg.norm(points[:, row] - points[:, cells[0]], axis=0) for row in cells[1:]]
        boxes = np.prod(lengths, axis=0)
    lost = ~((boxes < 1e150) & ((boxes > 1e-150) | (boxes == 0.0)))
    if lost.any():
        raise MeshError(
            f"Cell {np.argmax(lost)} is so large or small that its volume overflows or is lost; rescale the mesh."
        )
    flat = np.abs(determinants) <= 1e-13 * boxes
    if flat.any():
        raise MeshError(f"Cell {np.argmax(flat)} is degenerate, its vertices span no volume; repair the mesh.")
    # Of all transpositions of a tetrahedron only 02 and 13 keep the diagonal of Bey's rule.
    dim = len(points)
    first, last = max(dim - 2, 0), dim
    negative = determinants < 0
    cells[first, negative], cells[last, negative] = cells[last, negative], cells[first, negative]
    return cells


def edge_determinants(points: Array, cells: Array) -> Array:
    """Signed volumes of the cells, times dim!."""
    return np.linalg.det((points[:, cells[1:]] - points[:, cells[:1]]).T)


def number_columns(columns: Array) -> tuple[Array, Array]:
    """Number the distinct columns: where each occurs first, and the number of every column."""
    order = np.lexsort(columns[::-1])
    ordered = columns[:, order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    numbers = np.empty_like(order)
    numbers[order] = np.cumsum(new) - 1
    return order[new], numbers


def edges_of(cells: Array, count: int) -> Array:
    """The edges of cells of so many points, each as one number, sorted: the lower point times count, plus the other."""
    return np.unique([edge_key(a, b, count) for a, b in combinations(cells, 2)])


def children(simplices: Array, edges: Array, count: int) -> Array:
    """The simplices with every interval cut in 2, triangle in 4, tetrahedron in 8.

    Child j of simplex i of m is number i + j m. The midpoints of the edges have the numbers from count on.
    """
    vertices = {(i, i): row for i, row in enumerate(simplices)}
    for i, j in combinations(range(len(simplices)), 2):
        vertices[i, j] = count + np.searchsorted(edges, edge_key(simplices[i], simplices[j], count))
    return np.hstack([np.array([vertices[pair] for pair in child]) for child in _CHILDREN[len(simplices) - 1]])


def edge_key(a: Array, b: Array, count: int) -> Array:
    """Edges of a mesh of so many points, each as one number (see `edges_of`)."""
    return np.minimum(a, b) * count + np.maximum(a, b)
