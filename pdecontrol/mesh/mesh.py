"""Simplicial meshes as arrays, with named parts and boundaries, for any finite-element engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import MeshError
from .bisection import bisection, marked_cells
from .cells import children, edge_determinants, edges_of, facets_of, number_columns, oriented
from .checks import check_numbers, checked_array, checked_boundaries, checked_part, tagged_facets, welded
from .quadratic import Bends, checked_bends
from .simplices import Simplices


@dataclass(frozen=True, eq=False)
class Mesh:
    """A conforming mesh of intervals, triangles or tetrahedra with named parts and boundaries.

    Parameters
    ----------
    points : shape (dim, n), the vertices, with dim from 1 to 3.
    cells : shape (dim + 1, m), the vertex numbers of each cell. They are reordered so that every cell is
        positively oriented.
    parts : for each tag the numbers of its cells.
    boundaries : for each tag the vertex numbers of its facets, shape (dim, k), each column sorted. The facets
        may lie inside the domain (an interface). The tag "boundary" is always there and holds the facets of
        exactly one cell.
    weld : what becomes of cells that touch without being connected, where points are at the same place or lie on a
        facet that does not have them as vertex (hanging nodes). They are refused unless said otherwise: True merges
        the points at the same place, False leaves apart what touches, as the two sides of a slit. Functions of x and
        fields that are given as data have the same value on both sides.
    bends : edges (2, k), vertex numbers, that are bent to go through places (dim, k) in their middle, in 2D and 3D.
        Cells are then images of the reference cell under the quadratic map through their vertices and the middles of
        their edges, and states have degree 2 or higher.

    Raises
    ------
    MeshError
        If the arrays do not describe a mesh, its cells overlap or touch without being connected, or a tag refers to
        cells or facets that are not in it.

    Notes
    -----
    What overlaps or gapes by less than 1e-6 of the edges there is taken to touch. Every facet inside the domain must
    have its two cells on its two sides. Of the facets on the boundary no vertex may be at the place of another, or in
    or on another of their cells; no middle may lie in another cell; they may not cross; and all of them together wind
    once around points inside of them, of which each connected part of the boundary has one or more. What none of this
    shows are parts of a domain that lie over each other though their boundaries neither cross nor come near.

    Examples
    --------
    >>> mesh = Mesh([[0, 1, 0], [0, 0, 1]], [[0], [1], [2]])
    >>> mesh.facets("boundary").tolist()
    [[0, 0, 1], [1, 2, 2]]
    >>> mesh.refine().cells.shape
    (3, 4)
    """

    points: Array
    cells: Array
    parts: dict[str, Array] = field(default_factory=dict)
    boundaries: dict[str, Array] = field(default_factory=dict)
    weld: bool | None = None
    bends: Bends | None = None

    def __post_init__(self) -> None:
        points = checked_array(self.points, float, "points")
        cells = checked_array(self.cells, np.int64, "cells")
        if not 1 <= len(points) <= 3 or len(cells) != len(points) + 1 or not cells.size:
            advice = ""
            if points.shape[1] + 1 == cells.shape[1] <= 4:
                advice = ": a point a row and a cell a row: transpose them"
            raise MeshError(
                "A mesh takes points of shape (dim, n) and cells of shape (dim + 1, m) with dim from 1 to 3 "
                f"and m > 0, got points {points.shape} and cells {cells.shape}{advice}."
            )
        if not np.isfinite(points).all():
            raise MeshError(f"Point {np.argmin(np.isfinite(points).all(axis=0))} of the mesh is not finite.")
        check_numbers(points, cells)
        given: dict[str, Any] = {"parts": self.parts, "boundaries": self.boundaries}
        for kind, tags in given.items():
            if not isinstance(tags, Mapping) or not all(isinstance(tag, str) for tag in tags):
                raise MeshError(f"The {kind} of a mesh are a dictionary of tags, got {type(tags).__name__}.")
        cells, tagged = oriented(points, cells), tagged_facets(self.boundaries, self.parts, *points.shape)
        bends = self.bends
        if bends is not None:
            bends = checked_array(bends[0], np.int64, "bent edges"), checked_array(bends[1], float, "their middles")
        if self.weld not in (True, False, None):
            raise MeshError(f"weld is True, False or None, not {self.weld!r}.")
        if self.weld:
            points, cells, renumbered = welded(points, cells)
            tagged = {tag: np.sort(renumbered[facets], axis=0) for tag, facets in tagged.items()}
            check_numbers(points, cells)
            object.__setattr__(self, "weld", None)
            bends = bends and (renumbered[bends[0]], bends[1])
        parts = {tag: checked_part(tag, numbers, cells.shape[1]) for tag, numbers in self.parts.items()}
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "cells", cells)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "boundaries", checked_boundaries(points, cells, tagged, self.weld is False))
        object.__setattr__(self, "bends", bends and checked_bends(points, cells, bends))

    def __repr__(self) -> str:
        return (
            f"<Mesh in {self.dim}D: {self.points.shape[1]} points, {self.cells.shape[1]} cells, "
            f"parts {list(self.parts)}, boundaries {list(self.boundaries)}>"
        )

    @property
    def dim(self) -> int:
        """Dimension of the domain, 1 to 3."""
        return len(self.points)

    @cached_property
    def volumes(self) -> Array:
        """Volumes of the cells, shape (m,)."""
        if self.bends is not None:
            return Simplices(self.points, self.cells, self.bends).measures
        return edge_determinants(self.points, self.cells) / math.factorial(self.dim)

    @cached_property
    def diameter(self) -> float:
        """Diameter of the bounding box."""
        return float(np.linalg.norm(np.ptp(self.points, axis=1)))

    def part(self, tag: str) -> Array:
        """Numbers of the cells of a part, ascending; raises MeshError for an unknown tag."""
        return _lookup(self.parts, tag, "part")

    def facets(self, tag: str) -> Array:
        """Vertex numbers (dim, k) of the facets of a boundary; raises MeshError for an unknown tag."""
        return _lookup(self.boundaries, tag, "boundary")

    def tag_part(self, name: str, predicate: Callable[[Array], Array]) -> Mesh:
        """The mesh with a further part: the cells whose midpoint satisfies the predicate.

        Parameters
        ----------
        name : the tag; a part that already has it is replaced.
        predicate : function of the midpoints, shape (dim, m), that returns booleans (m,).

        Raises
        ------
        MeshError
            If the predicate selects nothing or returns anything else.

        Examples
        --------
        >>> from pdecontrol.mesh.shapes import unit_interval
        >>> unit_interval(4).tag_part("half", lambda x: x[0] < 0.5).part("half").tolist()
        [0, 1]
        """
        chosen = _select(name, predicate, self.points[:, self.cells].mean(axis=1))
        if name == "boundary":
            raise MeshError('"boundary" is reserved for the facets on the boundary; rename the part.')
        if name in self.boundaries:
            raise MeshError(f'"{name}" names both a part and a boundary; rename one of them.')
        parts = {**self.parts, name: np.flatnonzero(chosen)}
        return known(self.points, self.cells, parts, self.boundaries, self.weld, self.bends)

    def tag_boundary(self, name: str, predicate: Callable[[Array], Array]) -> Mesh:
        """The mesh with a further boundary: the boundary facets whose midpoint satisfies the predicate.

        Parameters
        ----------
        name : the tag; a boundary that already has it is replaced.
        predicate : function of the midpoints, shape (dim, m), that returns booleans (m,).

        Raises
        ------
        MeshError
            If the predicate selects nothing or returns anything else.

        Examples
        --------
        >>> from pdecontrol.mesh.shapes import unit_square
        >>> mesh = unit_square(4).tag_boundary("inlet", lambda x: (x[0] == 0) & (x[1] > 0.5))
        >>> mesh.facets("inlet").shape
        (2, 2)
        """
        facets = self.boundaries["boundary"]
        chosen = _select(name, predicate, self.points[:, facets].mean(axis=1))
        if name in self.parts:
            raise MeshError(f'"{name}" names both a part and a boundary; rename one of them.')
        if name == "boundary":
            raise MeshError('"boundary" is reserved for all facets on the boundary of the domain; take another name.')
        boundaries = {**self.boundaries, name: facets[:, chosen]}
        return known(self.points, self.cells, self.parts, boundaries, self.weld, self.bends)

    def tag_interface(self, name: str, inside: str) -> Mesh:
        """The mesh with a further boundary inside the domain: the facets between a part and all other cells.

        Parameters
        ----------
        name : the tag; a boundary that already has it is replaced.
        inside : the part.

        Raises
        ------
        MeshError
            For an unknown part, one that has no such facets, or a name that is taken.

        Examples
        --------
        >>> from pdecontrol.mesh.shapes import unit_square
        >>> mesh = unit_square(4).tag_part("core", lambda x: abs(x - 0.5).max(axis=0) < 0.25)
        >>> mesh.tag_interface("gamma", "core").facets("gamma").shape
        (2, 8)
        """
        within = np.zeros(self.cells.shape[1], dtype=bool)
        within[self.part(inside)] = True
        if name in self.parts or name == "boundary":
            raise MeshError(f'The tag "{name}" is that of a part or of the whole boundary; take another name.')
        columns = np.sort(facets_of(self.cells), axis=0)
        first, numbers = number_columns(columns)
        sides = np.bincount(numbers, np.tile(within, self.dim + 1))
        chosen = first[(np.bincount(numbers) == 2) & (sides == 1)]
        if not chosen.size:
            raise MeshError(f'The part "{inside}" has no facets in common with other cells; it makes no interface.')
        return known(
            self.points, self.cells, self.parts, {**self.boundaries, name: columns[:, chosen]}, self.weld, self.bends
        )

    def transform(self, function: Callable[[Array], Array]) -> Mesh:
        """The mesh with its points x of shape (dim, n) moved to function(x).

        Raises
        ------
        MeshError
            If the function returns another shape, or the image of the mesh overlaps or touches itself.

        Examples
        --------
        >>> from pdecontrol.mesh.shapes import unit_square
        >>> unit_square(2).transform(lambda x: 3 * x).volumes.sum().item()
        9.0
        """
        points = checked_array(
            _called(function, self.points.copy(), "the map of the points"), float, "the image of the points"
        )
        if points.shape != self.points.shape:
            raise MeshError(f"The map of the points must return shape {self.points.shape}, got {points.shape}.")
        if not np.isfinite(points).all():
            raise MeshError("The map of the points returns values that are not finite.")
        determinants = edge_determinants(points, self.cells)
        if determinants.min() < 0 < determinants.max():
            raise MeshError(
                f"The map folds the mesh: it turns cell {np.argmin(determinants)} over but not cell "
                f"{np.argmax(determinants)}; use an invertible map."
            )
        bends = self.bends and (self.bends[0], _called(function, self.bends[1].copy(), "the map of the middles"))
        return replace(self, points=points, bends=bends)

    def refine(self) -> Mesh:
        """The mesh with every interval cut in 2, triangle in 4, tetrahedron in 8 (Bey's rule).

        The first n points are those of this mesh. Child j of cell c is cell c + j m, child j of facet f of a
        boundary is facet f + j k of it, where m and k count the cells and facets of this mesh.

        Examples
        --------
        >>> from pdecontrol.mesh.shapes import unit_square
        >>> coarse = unit_square(2)
        >>> fine = coarse.refine()
        >>> parents = np.arange(fine.cells.shape[1]) % coarse.cells.shape[1]
        """
        if self.bends is not None:
            raise MeshError("A mesh with bent edges is not refined: refine the straight mesh, then bend its edges.")
        n, m = self.points.shape[1], self.cells.shape[1]
        edges = edges_of(self.cells, n)
        midpoints = (self.points[:, edges // n] + self.points[:, edges % n]) / 2
        blocks = m * np.arange(2**self.dim)[:, None]
        points = np.hstack([self.points, midpoints])
        return known(
            points,
            oriented(points, children(self.cells, edges, n)),
            {tag: (numbers + blocks).ravel() for tag, numbers in self.parts.items()},
            {tag: np.sort(children(facets, edges, n), axis=0) for tag, facets in self.boundaries.items()},
            self.weld,
        )

    def bisect(self, marked: Array) -> Mesh:
        """The mesh with the marked intervals cut in 2, triangles in 4, and those beside them as far as they must be.

        Triangles are cut at their longest edges: no angle becomes less than half the smallest one of the cell that it
        came from, however often this is repeated. The first n points are those of this mesh. The first child of a
        cell, or of a facet of a boundary, has its number, the others come after all of these.

        Parameters
        ----------
        marked : the numbers of cells, or booleans (m,).

        Raises
        ------
        MeshError
            For tetrahedra, bent edges, and numbers or booleans that mark no cells of this mesh.

        Examples
        --------
        >>> from pdecontrol.mesh.shapes import unit_square
        >>> mesh = unit_square(2)
        >>> for _ in range(3):
        ...     mesh = mesh.bisect((mesh.points[:, mesh.cells] == 0).all(axis=0).any(axis=0))
        >>> mesh.cells.shape
        (3, 44)
        """
        if self.dim > 2:
            raise MeshError("Tetrahedra are not bisected; refine() cuts all of them.")
        if self.bends is not None:
            raise MeshError("A mesh with bent edges is not bisected: bisect the straight mesh, then bend its edges.")
        cut = bisection(self.points, self.cells, marked_cells(marked, self.cells.shape[1]))
        points = np.hstack([self.points, self.points[:, cut.edges].mean(axis=1)])
        parts = {tag: np.flatnonzero(np.isin(cut.parents, numbers)) for tag, numbers in self.parts.items()}
        boundaries = {tag: cut.facets(facets) for tag, facets in self.boundaries.items()}
        return known(points, oriented(points, cut.cells), parts, boundaries, self.weld)


def known(
    points: Array, cells: Array, parts: dict[str, Array], boundaries: dict[str, Array], weld: bool | None = None,
    bends: Bends | None = None,
) -> Mesh:  # fmt: skip
    """A mesh from arrays that need no check."""
    mesh = object.__new__(Mesh)
    values: dict[str, Any] = {"points": points, "cells": cells, "parts": parts, "boundaries": boundaries, "weld": weld}
    values["bends"] = bends
    for name, value in values.items():
        object.__setattr__(mesh, name, value)
    return mesh


def _select(name: str, predicate: Callable[[Array], Array], midpoints: Array) -> Array:
    if not isinstance(name, str):
        raise MeshError(f"A tag is a string, got {name!r}.")
    chosen = np.asarray(_called(predicate, midpoints, f'the predicate of "{name}"'))
    if chosen.dtype != bool or chosen.shape != midpoints.shape[1:]:
        raise MeshError(
            f'The predicate of "{name}" must return booleans of shape {midpoints.shape[1:]} for x of shape '
            f"{midpoints.shape}, got {chosen.dtype} of shape {chosen.shape}."
        )
    if not chosen.any():
        raise MeshError(f'The predicate of "{name}" selects nothing; it is evaluated at midpoints.')
    return chosen


def _called(function: Callable[[Array], Any], points: Array, name: str) -> Any:
    try:
        return function(points)
    except Exception as error:
        raise MeshError(f"{name} failed on x of shape {points.shape}: {type(error).__name__}: {error}.") from error


def _lookup(tags: dict[str, Array], tag: Any, kind: str) -> Array:
    if not isinstance(tag, str) or tag not in tags:
        known = ", ".join(f'"{name}"' for name in tags) or "none"
        raise MeshError(f'The mesh has no {kind} "{tag}"; it has: {known}.')
    return tags[tag]
