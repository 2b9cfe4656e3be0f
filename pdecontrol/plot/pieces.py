"""Simplices in pieces that belong to one entry each of a vector."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from ..arrays import Array
from ..mesh.lagrange import Lagrange
from ..mesh.mesh import Mesh
from ..mesh.simplices import Simplices

_CHUNK = 10_000  # simplices at a time


def pieces_of_entries(elements: Lagrange) -> tuple[Lagrange, Array]:
    """Simplices or their parts that belong to one degree of freedom each, and which: of functions of degree 0 and 1."""
    return (elements, np.arange(elements.size)) if elements.degree == 0 else _nodal_pieces(elements)


def _nodal_pieces(elements: Lagrange) -> tuple[Lagrange, Array]:
    """Simplices cut at their barycentres into pieces that belong to one node each, and these nodes.

    The pieces of a node have the volume that the lumped mass gives it.
    """
    points, owners = [], []
    corners = elements.vertices[:, elements.simplices]
    for order in permutations(range(len(elements.simplices))):
        ordered = corners[:, order, :]
        counts = np.arange(1, len(order) + 1)[None, :, None]
        points.append(np.cumsum(ordered, axis=1) / counts)
        owners.append(elements.dofs[order[0]])
    vertices = np.concatenate(points, axis=2)
    simplices = np.arange(vertices[0].size).reshape(vertices[0].shape)
    cells = np.arange(simplices.shape[1])[None]
    return Lagrange(vertices.reshape(len(vertices), -1), simplices, cells, 0), np.concatenate(owners)


def pieces_around(elements: Lagrange, points: Array) -> Lagrange:
    """Simplices cut twice into halves, each piece with the value of the point (dim, n) of its simplex that is nearest.

    The points come simplex by simplex, as many in each. The degrees of freedom of the result are values at the points.
    """
    corners, count = elements.simplices.shape
    dim = corners - 1
    lattice = Mesh(np.hstack([np.zeros((dim, 1)), np.eye(dim)]), np.arange(corners)[:, None]).refine().refine()
    shares = np.vstack([1 - lattice.points.sum(axis=0), lattice.points])
    within = points.reshape(len(points), count, -1)
    places, owners = [], []
    for first in range(0, count, _CHUNK):
        chosen = slice(first, first + _CHUNK)
        at = Simplices(elements.vertices, elements.simplices[:, chosen], elements.bends).at(shares)
        middles = at[:, lattice.cells].mean(axis=1)
        distances = np.linalg.norm(middles[:, :, :, None] - within[:, None, chosen], axis=0)
        places.append(at)
        owners.append(distances.argmin(axis=2) + within.shape[2] * np.arange(count)[chosen])
    vertices = np.concatenate(places, axis=2)
    simplices = lattice.cells[:, :, None] + shares.shape[1] * np.arange(count)
    dofs = np.concatenate(owners, axis=1).reshape(1, -1)
    return Lagrange(np.swapaxes(vertices, 1, 2).reshape(len(vertices), -1), simplices.reshape(corners, -1), dofs, 0)
