"""Whether arrays describe a mesh."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import MeshError
from . import conformity
from .cells import facets_of, number_columns


def checked_array(values: Any, kind: type, name: str, ndim: int = 2) -> Array:
    """A copy of the values as an array of floats or integers."""
    try:
        array = np.array(values)
        result: Array = array.astype(kind, casting="same_kind" if array.size else "unsafe")
    except (TypeError, ValueError):
        raise MeshError(f"Expected numbers of type {np.dtype(kind)} for {name}.") from None
    if result.ndim != ndim:
        raise MeshError(f"Expected an array with {ndim} axes for {name}, got shape {result.shape}.")
    return result


def check_numbers(points: Array, cells: Array) -> None:
    """Raise MeshError unless each point is a vertex of a cell, and all cells differ."""
    n = points.shape[1]
    wrong = ((cells < 0) | (cells >= n)).any(axis=0)
    if wrong.any():
        raise MeshError(f"Cell {np.argmax(wrong)} refers to points that do not exist; there are {n} points.")
    unused = np.bincount(cells.ravel(), minlength=n) == 0
    if unused.any():
        raise MeshError(f"{unused.sum()} points belong to no cell, the first is {np.argmax(unused)}; remove them.")
    repeated = np.ones(cells.shape[1], dtype=bool)
    repeated[number_columns(np.sort(cells, axis=0))[0]] = False
    if repeated.any():
        raise MeshError(f"Cell {np.argmax(repeated)} has the same vertices as another cell; remove it.")


def tagged_facets(boundaries: Mapping[str, Array], parts: Container[str], dim: int, count: int) -> dict[str, Array]:
    """The facets of the tags, with sorted columns, of a mesh of so many points."""
    tagged = {}
    for tag, facets in boundaries.items():
        if tag in parts:
            raise MeshError(f'"{tag}" names both a part and a boundary; rename one of them.')
        tagged[tag] = np.sort(checked_array(facets, np.int64, f'boundary "{tag}"'), axis=0)
        if len(tagged[tag]) != dim or not tagged[tag].size:
            raise MeshError(
                f'Boundary "{tag}" takes the vertex numbers of at least one facet, of shape '
                f"({dim}, k), got {tagged[tag].shape}."
            )
        if tagged[tag][0].min() < 0 or tagged[tag][-1].max() >= count:
            raise MeshError(f'Boundary "{tag}" refers to points that do not exist; there are {count} points.')
    return tagged


def checked_part(tag: str, numbers: Array, count: int) -> Array:
    """The numbers of the cells of a part, ascending, once each."""
    if tag == "boundary":
        raise MeshError('"boundary" is reserved for the facets on the boundary; rename the part.')
    numbers = np.unique(checked_array(numbers, np.int64, f'part "{tag}"', ndim=1))
    if not numbers.size or numbers[0] < 0 or numbers[-1] >= count:
        raise MeshError(f'Part "{tag}" must list at least one cell, by numbers from 0 to {count - 1}.')
    return numbers


def welded(points: Array, cells: Array) -> tuple[Array, Array, Array]:
    """Points and cells with those points of the boundary merged that are at the same place, and the new numbers."""
    first, numbers = number_columns(np.sort(facets_of(cells), axis=0))
    places = first[np.bincount(numbers) == 1]
    kept, renumbered = np.unique(conformity.coincident(conformity.shell(points, cells, places)), return_inverse=True)
    return points[:, kept], renumbered[cells], renumbered


def checked_boundaries(points: Array, cells: Array, tagged: dict[str, Array], apart: bool) -> dict[str, Array]:
    """The facets on the boundary, and those of the tags, once each; cells neither overlap nor touch (see `Mesh`)."""
    own = np.sort(facets_of(cells), axis=0)
    columns = np.hstack([own, *tagged.values()])
    first, numbers = number_columns(columns)
    own_numbers, start = numbers[: own.shape[1]], own.shape[1]
    cells_of_facet = np.bincount(own_numbers, minlength=len(first))
    if cells_of_facet.max() > 2:
        vertices = columns[:, first[np.argmax(cells_of_facet)]].tolist()
        raise MeshError(f"The facet with the vertices {vertices} belongs to more than two cells.")
    outer = first[cells_of_facet == 1]
    boundary = columns[:, outer]
    for tag, facets in tagged.items():
        facet_numbers = numbers[start : start + facets.shape[1]]
        start += facets.shape[1]
        count = cells_of_facet[facet_numbers]
        if not count.all():
            raise MeshError(
                f'Boundary "{tag}" has a facet with the vertices {facets[:, np.argmin(count)].tolist()}, '
                "which is not a facet of any cell."
            )
        kept = np.sort(np.unique(facet_numbers, return_index=True)[1])
        if tag == "boundary" and (count.max() > 1 or len(kept) != boundary.shape[1]):
            raise MeshError(
                '"boundary" is reserved for all facets on the boundary of the domain, but other facets '
                "have this name; rename them."
            )
        tagged[tag] = facets[:, kept]
    conformity.refuse_folds(points, cells, own_numbers)
    conformity.refuse_overlaps(conformity.shell(points, cells, outer), apart)
    return {"boundary": boundary, **tagged}
