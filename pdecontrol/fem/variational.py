"""Variational controls: values at the quadrature points of cells, in an order that is the same on every partition."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..arrays import Array, Indices
from ..layout import Layout
from ..mesh.elements import broken_lagrange, cells_of
from ..mesh.mesh import Mesh
from ..parallel import Group
from ..space import Space


def point_numbers(corners: Indices, rule: Array) -> Indices:
    """The numbers (m, q) of the points of cells, cell by cell, in each by coordinates that belong to ascending corners.

    Parameters
    ----------
    corners : (k, m), the vertices of each cell.
    rule : (k, q), the barycentric coordinates of its points.
    """
    orders, kinds = np.unique(np.argsort(corners, axis=0), axis=1, return_inverse=True)
    places = np.round(rule * 1e9).astype(np.int64)
    count = rule.shape[1]
    within = np.zeros((orders.shape[1], count), dtype=np.int64)
    for row, order in zip(within, orders.T, strict=True):
        row[np.lexsort(places[order][::-1])] = np.arange(count)
    return np.asarray(count * np.arange(corners.shape[1])[:, None] + within[kinds.ravel()])


def variational_space(mesh: Mesh, part: str | None, degree: int, rule: Array, mass: Array, points: Array) -> Space:
    """The whole space of controls on the cells of a part, or of all, by the weights and points of its entries."""
    elements, cells = broken_lagrange(mesh, degree, part), cells_of(mesh, part)
    numbers = point_numbers(mesh.cells[:, cells], rule)
    own = np.repeat(cells, rule.shape[1])
    members = {tag: np.flatnonzero(np.isin(own, chosen)) for tag, chosen in mesh.parts.items()}
    fit = elements.fit(rule, mass[numbers], numbers)
    return Space(mass, elements, points, diameter=mesh.diameter, members=members, fit=fit)


def variational_layout(
    mesh: Mesh, part: str | None, degree: int, rule: Array, mass: Array, points: Array, group: Group, keys: Indices
) -> Layout:
    """How the entries are divided among processes, of which each has weights, points, and the cell of each entry."""
    count = rule.shape[1]
    keys = np.stack([keys, np.tile(np.arange(count), keys.size // count)])
    return Layout(group, keys, partial(_whole, mesh, part, degree, rule, mass, points, group, keys))


def _whole(
    mesh: Mesh, part: str | None, degree: int, rule: Array, mass: Array, points: Array, group: Group, keys: Indices
) -> Space:
    own = Layout(group, keys, lambda: None)
    mass, *rows = (own.gather(row) for row in (mass, *points))
    if not group.root:
        return Space(np.zeros(0))
    return variational_space(mesh, part, degree, rule, mass, np.array(rows))
