"""Quadrature on plane domains with interfaces: cells fitted to the curves themselves, to rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.polynomial import Chebyshev
from scipy.special import roots_legendre

from ...arrays import Array, Indices
from ...mesh.cells import facets_of, number_columns
from ...mesh.mesh import Mesh
from ...problem import Interface, Shape

LEAST = 0.6  # of the points in each direction of large cells, in small ones
ARC = 16  # Chebyshev points, by which an arc of a fitted cell is a polynomial to rounding


@dataclass(frozen=True, eq=False)
class Rule:
    """Points (2, n) with weights (n,), and the parts of the domain that they are in, or the normals of a curve.

    Attributes
    ----------
    points, weights : of integrals.
    parts : for each tag the numbers of the points in this part.
    normals : (2, n) on interfaces, from inside to outside.
    """

    points: Array
    weights: Array
    parts: Mapping[str, Indices]
    normals: Array | None = None


def cell_rule(mesh: Mesh, interface: Mapping[str, Interface], count: int) -> Rule:
    """The rule of count x count points on the largest cells of a mesh fitted to interfaces, less on others.

    A cell is a cone over its side on an interface, an arc c(t): x(s, t) = (1 - s) c(t) + s v with the opposite vertex
    v, and Gauss points in s and t; so the curves are met as they are, not as the mesh has them. Cells with several
    sides on interfaces are cut at their middles.
    """
    corners, owners, arcs = _cones(mesh, interface)
    sizes = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=0).max(axis=0)
    counts = np.ceil(count * np.maximum((sizes / sizes.max()) ** 0.25, LEAST)).astype(int)
    rules = []
    for tag, members in arcs.items():
        for own in np.unique(counts[members]).tolist():
            chosen = members[counts[members] == own]
            shape = _still(interface[tag]) if tag else None
            rules.append((*_cone_rule(corners[:, :, chosen], shape, own), np.repeat(owners[chosen], own**2)))
    points, weights, cells = (np.concatenate(arrays, axis=-1) for arrays in zip(*rules, strict=True))
    return Rule(points, weights, {tag: np.flatnonzero(np.isin(cells, part)) for tag, part in mesh.parts.items()})


def _cone_rule(corners: Array, shape: Shape | None, count: int) -> tuple[Array, Array]:
    """Points (2, n) and weights (n,) on cones over arcs of a shape between the first two corners (2, 3, m)."""
    t, share = roots_legendre(count)
    t, share = 0.5 * (1 + t), 0.5 * share
    curve, slope = _along(corners[:, :2], shape, t)
    tip = corners[:, 2, :, None]
    spread = (curve - tip)[0] * slope[1] - (curve - tip)[1] * slope[0]
    points = (1 - t) * curve[..., None] + t * tip[..., None]
    weights = np.abs(spread)[..., None] * share[:, None] * (share * (1 - t))
    return points.reshape(2, -1), weights.ravel()


def curve_rule(mesh: Mesh, tag: str, interface: Interface, count: int) -> Rule:
    """The rule of count points on each facet of an interface."""
    facets = mesh.facets(tag)
    t, share = roots_legendre(count)
    shape = _still(interface)
    curve, slope = _along(mesh.points[:, facets], shape, 0.5 * (1 + t))
    points = curve.reshape(2, -1)
    weights = (np.linalg.norm(slope, axis=0) * 0.5 * share).ravel()
    return Rule(points, weights, {}, shape.normal(points))


def _still(interface: Interface) -> Shape:
    """The shape of an interface that stands still."""
    assert isinstance(interface.shape, Shape)
    return interface.shape


def _cones(mesh: Mesh, interface: Mapping[str, Interface]) -> tuple[Array, Indices, dict[str, Indices]]:
    """Triangles (2, 3, m) whose first two corners are on an interface, or of none; their cells; and which are of which.

    The triangles of no interface have the tag "".
    """
    tags = list(interface)
    facets = [mesh.facets(tag) for tag in tags]
    sides = np.sort(facets_of(mesh.cells), axis=0)
    _, numbers = number_columns(np.hstack([sides, *facets]))
    owner = np.zeros(numbers.max() + 1, dtype=int)
    starts = np.cumsum([sides.shape[1], *(f.shape[1] for f in facets)])
    for number, (start, end) in enumerate(pairwise(starts.tolist()), start=1):
        owner[numbers[start:end]] = number
    of_side = owner[numbers[: sides.shape[1]]].reshape(3, -1)  # opposite to each corner
    count = (of_side > 0).sum(axis=0)
    corners, owners, kinds = [], [], []
    for opposite in range(3):
        order = [(opposite + 1) % 3, (opposite + 2) % 3, opposite]
        single = np.flatnonzero((count == 1) & (of_side[opposite] > 0))
        corners.append(mesh.points[:, mesh.cells[order][:, single]])
        owners.append(single)
        kinds.append(of_side[opposite, single])
        several = np.flatnonzero(count > 1)
        cut = mesh.points[:, mesh.cells[order][:, several]]
        cut[:, 2] = mesh.points[:, mesh.cells[:, several]].mean(axis=1)
        corners.append(cut)
        owners.append(several)
        kinds.append(of_side[opposite, several])
    plain = np.flatnonzero(count == 0)
    corners.append(mesh.points[:, mesh.cells[:, plain]])
    owners.append(plain)
    kinds.append(np.zeros(plain.size, dtype=int))
    kind = np.concatenate(kinds)
    return (
        np.concatenate(corners, axis=2), np.concatenate(owners),
        {tag: np.flatnonzero(kind == number) for number, tag in enumerate(["", *tags])},
    )  # fmt: skip


def _along(ends: Array, shape: Shape | None, t: Array) -> tuple[Array, Array]:
    """Points (2, m, len(t)) and derivatives of the arcs between ends (2, 2, m), chords where there is no shape."""
    start, chord = ends[:, 0, :, None], (ends[:, 1] - ends[:, 0])[:, :, None]
    if shape is None:
        return start + chord * t, chord + 0.0 * t
    nodes = 0.5 * (1 - np.cos(np.pi * np.arange(ARC) / (ARC - 1)))
    places = start + chord * nodes
    arcs = shape.project(places.reshape(2, -1)).reshape(places.shape)
    arcs[:, :, [0, -1]] = places[:, :, [0, -1]]
    to_values, to_slopes = (_interpolation(nodes, t, order) for order in (0, 1))
    return arcs @ to_values, arcs @ to_slopes


def _interpolation(nodes: Array, t: Array, order: int) -> Array:
    """The matrix (nodes, t) from values at nodes to the polynomial through them, or its derivative, at t."""
    degree = nodes.size - 1
    fits = [cast(Any, Chebyshev).fit(nodes, unit, degree, domain=(0.0, 1.0)) for unit in np.eye(nodes.size)]
    return np.array([(fit.deriv(order) if order else fit)(t) for fit in fits])
