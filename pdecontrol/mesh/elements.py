"""Piecewise polynomials on the cells and facets of a mesh."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..errors import DataError
from .lagrange import Lagrange
from .mesh import Mesh


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
    return _compact(mesh, mesh.cells if part is None else mesh.cells[:, mesh.part(part)], degree)


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
    return _compact(mesh, mesh.facets(tag), degree)


def _compact(mesh: Mesh, simplices: Array, degree: int) -> Lagrange:
    """Degrees of freedom numbered in the order of the simplices or, for degree 1, of their vertices."""
    if degree not in (0, 1):
        raise DataError(f"Piecewise polynomials on parts and boundaries have degree 0 or 1, got {degree!r}.")
    if degree == 0:
        return Lagrange(mesh.points, simplices, np.arange(simplices.shape[1])[None], 0, bends=mesh.bends)
    dofs = np.unique(simplices, return_inverse=True)[1].reshape(simplices.shape)
    return Lagrange(mesh.points, simplices, dofs, 1, bends=mesh.bends)
