"""Continuous piecewise linear functions among states of higher degree: the first coarser level of multigrid."""

from __future__ import annotations

import numpy as np

from ..arrays import Indices
from ..linear.matrix import Triplets
from .engine import Engine


def linear_functions(engine: Engine, numbers: Indices, rows: int) -> Triplets | None:
    """From values at free vertices to free entries of states, of which this process owns so many.

    None for states of degree 1, and where no vertex is free.

    `numbers` are those of `Lifting`, among all processes, -1 for entries that are not free.
    """
    if engine.degree == 1:
        return None
    at, nodes = engine.on_cells(numbers), engine.barycentric
    start = int(np.sum(engine.group.collect(rows)[: engine.group.rank]))
    own, first = np.unique(at, return_index=True)
    inside = (own >= start) & (own < start + rows)
    cell, local = np.divmod(first[inside], at.shape[1])
    own, shares, corners = own[inside], nodes[local], at[:, nodes.argmax(axis=0)][cell]
    vertices = own[shares.max(axis=1) == 1.0]
    everywhere = np.concatenate(engine.group.collect(vertices))
    if not everywhere.size:
        return None
    columns = np.searchsorted(everywhere, corners)
    columns[(corners < 0) | (shares == 0.0)] = -1
    place = np.repeat(own, corners.shape[1]), columns.ravel()
    return Triplets.between(*place, shares.ravel(), (rows, vertices.size))
