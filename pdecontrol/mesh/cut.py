"""Meshes cut along interfaces: functions on them have two values there, one on each side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..arrays import Array, Indices
from ..errors import MeshError
from .cells import edge_key, edges_of, facets_of, number_columns
from .mesh import Mesh, known
from .quadratic import Bends

OUTER = "+"  # ends the tag of the outer side of an interface


def cut(mesh: Mesh, inside: Mapping[str, str]) -> Mesh:
    """The mesh with the vertices on interfaces twice: cells on the inner side have copies, cells on the outer side not.

    Parameters
    ----------
    mesh : with the facets of each interface as a boundary inside the domain.
    inside : for the tag of each interface, the part that lies on the inner side of it.

    Returns
    -------
    The mesh, with copies last, in the order of what they are copies of. The tag of an interface, or of a piece of
    one, has the facets on the inner side, the tag with a "+" at its end those on the outer side, likewise. They
    are no part of "boundary", which is still that of the domain. Cells keep their numbers, bent edges their places.

    Raises
    ------
    MeshError
        If a tag is unknown, facets do not separate the part from others, or interfaces meet each other or the boundary.

    Examples
    --------
    >>> from pdecontrol.mesh.shapes import disc
    >>> mesh = disc(4).tag_part("core", lambda x: x[0] ** 2 + x[1] ** 2 < 0.25).tag_interface("ring", "core")
    >>> halves = cut(mesh, {"ring": "core"})
    >>> mesh.facets("ring").shape[1], halves.points.shape[1] - mesh.points.shape[1]
    (12, 12)
    """
    taken: dict[int, str] = {}
    on = {tag: _checked(mesh, tag, part, taken) for tag, part in inside.items()}
    originals = np.array(sorted(taken), dtype=np.int64)
    count, cells = mesh.points.shape[1], mesh.cells.copy()
    for tag, part in inside.items():
        chosen = mesh.part(part)
        own = cells[:, chosen]
        follow = np.isin(own, on[tag])
        own[follow] = count + np.searchsorted(originals, own[follow])
        cells[:, chosen] = own
    near = np.flatnonzero(np.isin(mesh.cells, originals).any(axis=0))
    before, after = np.sort(facets_of(mesh.cells[:, near]), axis=0), facets_of(cells[:, near])
    moved = (facets_of(mesh.cells[:, near]) != after).any(axis=0)
    boundaries = {}
    for tag, facets in mesh.boundaries.items():
        inner, outer = (_renumbered(facets, before, after, wanted, originals) for wanted in (moved, ~moved))
        boundaries[tag] = inner
        if (inner != outer).any(axis=0).all():  # an interface, or a piece of one
            boundaries[tag + OUTER] = outer
    bends = mesh.bends and _bent_copies(mesh.bends, originals, count, cells)
    return known(np.hstack([mesh.points, mesh.points[:, originals]]), cells, mesh.parts, boundaries, False, bends)


def _checked(mesh: Mesh, tag: str, part: str, taken: dict[int, str]) -> Indices:
    """The vertices on an interface, which are entered in those that are taken."""
    for name, tags, kind in ((tag, mesh.boundaries, "boundary"), (part, mesh.parts, "part")):
        if name not in tags:
            raise MeshError(f"interface {tag!r}: the mesh has no {kind} {name!r}, it has {list(tags)}.")
    facets = mesh.facets(tag)
    vertices = np.unique(facets)
    for vertex in np.intersect1d(vertices, mesh.facets("boundary")).tolist():
        raise MeshError(f"interface {tag!r} touches the boundary of the domain at x = {_place(mesh, vertex)}.")
    for vertex in vertices.tolist():
        if vertex in taken:
            raise MeshError(f"the interfaces {taken[vertex]!r} and {tag!r} meet at x = {_place(mesh, vertex)}.")
        taken[vertex] = tag
    near = np.flatnonzero(np.isin(mesh.cells, vertices).any(axis=0))
    within = np.isin(near, mesh.part(part))
    _, numbers = number_columns(np.hstack([facets, np.sort(facets_of(mesh.cells[:, near]), axis=0)]))
    own, others = numbers[: facets.shape[1]], numbers[facets.shape[1] :]
    sides = np.bincount(others, np.tile(within, mesh.dim + 1), numbers.max() + 1)
    cells = np.bincount(others, minlength=numbers.max() + 1)
    separating = (cells == 2) & (sides == 1)
    if not separating[own].all():
        facet = facets[:, np.argmin(separating[own])]
        found = "both" if sides[own[np.argmin(separating[own])]] else "neither"
        raise MeshError(
            f"interface {tag!r}: of the two cells at the facet around x = {_place(mesh, facet)} {found} belong to the "
            f"part {part!r}, where one must."
        )
    if _enclosed(mesh, near, np.tile(within, mesh.dim + 1) & np.isin(others, own)) < 0:
        raise MeshError(
            f"interface {tag!r}: the part {part!r} lies on its outer side; `inside` is the tag of the part that the "
            "interface is around."
        )
    loose = separating.copy()
    loose[own] = False
    columns = np.flatnonzero(loose[others])
    if columns.size:
        facet = facets_of(mesh.cells[:, near])[:, columns]
        there = np.isin(facet, vertices).any(axis=0)
        if there.any():
            where = _place(mesh, facet[:, np.argmax(there)])
            raise MeshError(
                f"interface {tag!r} has gaps: it ends at the facet around x = {where}, "
                f"which separates the part {part!r} from others too and has no such tag."
            )
    return vertices


def _enclosed(mesh: Mesh, cells: Indices, chosen: Array) -> float:
    """dim! times the volume that the chosen facets of cells are around, negative where the cells are outside of it."""
    facets = mesh.points[:, facets_of(mesh.cells[:, cells])[:, chosen]]
    opposite, numbers = np.divmod(np.flatnonzero(chosen), cells.size)
    within = mesh.points[:, None, mesh.cells[opposite, cells[numbers]]]
    centre = facets.mean(axis=(1, 2), keepdims=True)
    cones, own = (np.linalg.det(np.moveaxis(facets - tip, 2, 0)) for tip in (centre, within))
    volumes = cones * np.sign(own)
    total = float(volumes.sum())
    return 0.0 if abs(total) < 1e-9 * np.abs(volumes).sum() else total  # of a point of an interval


def _bent_copies(bends: Bends, originals: Indices, count: int, cells: Array) -> Bends:
    """The bent edges in the new numbers: those of the interfaces twice, once on each side."""
    edges, places = bends
    copies = np.where(np.isin(edges, originals), count + np.searchsorted(originals, edges), edges)
    every = np.hstack([np.array([a[0], b[1]]) for a in (edges, copies) for b in (edges, copies)])
    keys, first = np.unique(edge_key(every[0], every[1], count + originals.size), return_index=True)
    first = first[np.isin(keys, edges_of(cells, count + originals.size))]
    return every[:, first], np.tile(places, 4)[:, first]


def _place(mesh: Mesh, vertices: Array | int) -> list[float]:
    where = mesh.points[:, np.atleast_1d(vertices)].mean(axis=1)
    return list((where.round(6) + 0.0).tolist())


def _renumbered(facets: Array, before: Array, after: Array, wanted: Array, originals: Indices) -> Array:
    """Facets in the new numbers, which are those of a wanted cell where its two cells have different ones."""
    touched = np.flatnonzero(np.isin(facets, originals).any(axis=0))
    if not touched.size:
        return facets
    order = np.argsort(~wanted, kind="stable")[::-1]
    _, numbers = number_columns(np.hstack([facets[:, touched], before[:, order]]))
    place = np.zeros(numbers.max() + 1, dtype=np.int64)
    place[numbers[touched.size :]] = order  # the last one stays, which is wanted if any is
    result = facets.copy()
    result[:, touched] = np.sort(after[:, place[numbers[: touched.size]]], axis=0)
    return result
