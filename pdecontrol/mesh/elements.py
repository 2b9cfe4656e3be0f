"""Piecewise polynomials on the cells and facets of a mesh."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..arrays import Array, Indices
from ..errors import DataError
from .lagrange import Lagrange
from .mesh import Mesh
from .quadratic import EDGES, edge_offsets


def cell_lagrange(mesh: Mesh, degree: int, part: str | None = None) -> Lagrange:
    """Piecewise polynomials of degree 0 or 1 on the cells of a mesh, or of one part of it.

    Raises
    ------
    DataError
        For another degree.
    MeshError
        For an unknown part.

    Examples
    --------
    >>> from pdecontrol.mesh.shapes import unit_square
    >>> mesh = unit_square(4).tag_part("half", lambda x: x[0] < 0.5)
    >>> cell_lagrange(mesh, 1, "half").size
    15
    """
    numbers = cells_of(mesh, part)
    return _compact(mesh, mesh.cells[:, numbers], degree, _parts_among(mesh, numbers))


def facet_lagrange(mesh: Mesh, tag: str, degree: int) -> Lagrange:
    """Piecewise polynomials of degree 0 or 1 on the facets of a boundary of a mesh.

    Raises
    ------
    DataError
        For another degree.
    MeshError
        For an unknown boundary.

    Examples
    --------
    >>> from pdecontrol.mesh.shapes import unit_square
    >>> facet_lagrange(unit_square(4), "left", 0).lumped_mass().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    return _compact(mesh, mesh.facets(tag), degree, {})


def broken_lagrange(mesh: Mesh, degree: int, part: str | None = None) -> Lagrange:
    """Polynomials on each cell of a mesh, or of one part of it, that need not fit together.

    Each cell has vertices of its own; degrees of freedom are numbered cell by cell.

    Examples
    --------
    >>> from pdecontrol.mesh.shapes import unit_square
    >>> broken_lagrange(unit_square(1), 2).size
    12
    """
    numbers = cells_of(mesh, part)
    corners = mesh.cells[:, numbers]
    own = np.arange(corners.size).reshape(corners.shape, order="F")
    bends, nodes = None, None
    if mesh.bends is not None:
        offsets = edge_offsets(mesh.points, corners, mesh.bends)
        rows, cells = np.nonzero(offsets.any(axis=0))
        ends = np.array(EDGES)[rows].T
        middles = mesh.points[:, corners[ends, cells]].mean(axis=1)
        bends = (own[ends, cells], middles + offsets[:, rows, cells]) if rows.size else None
    lattice = [node for node in product(range(degree + 1), repeat=len(corners)) if sum(node) == degree]
    if degree > 2:
        nodes = np.array(sorted(lattice, key=lambda node: -max(node))) / degree
    dofs = np.arange(len(lattice) * numbers.size).reshape((len(lattice), numbers.size), order="F")
    parts = _parts_among(mesh, numbers)
    return Lagrange(mesh.points[:, corners.ravel(order="F")], own, dofs, degree, nodes, bends, parts)


def cells_of(mesh: Mesh, part: str | None) -> Indices:
    """The numbers of the cells of a part, or of all."""
    return np.arange(mesh.cells.shape[1]) if part is None else mesh.part(part)


def _parts_among(mesh: Mesh, numbers: Indices) -> dict[str, Indices]:
    """For each part that some cells belong to, which of them do."""
    parts = {tag: np.flatnonzero(np.isin(numbers, cells)) for tag, cells in mesh.parts.items()}
    return {tag: chosen for tag, chosen in parts.items() if chosen.size}


def _compact(mesh: Mesh, simplices: Array, degree: int, parts: dict[str, Indices]) -> Lagrange:
    """Degrees of freedom numbered in the order of the simplices or, for degree 1, of their vertices."""
    if degree not in (0, 1):
        raise DataError(f"Piecewise polynomials on parts and boundaries have degree 0 or 1, got {degree!r}.")
    if degree == 0:
        return Lagrange(mesh.points, simplices, np.arange(simplices.shape[1])[None], 0, None, mesh.bends, parts)
    dofs = np.unique(simplices, return_inverse=True)[1].reshape(simplices.shape)
    return Lagrange(mesh.points, simplices, dofs, 1, None, mesh.bends, parts)
