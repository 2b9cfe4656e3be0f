"""Matrices of the norms that errors of networks are measured in."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

from ..arrays import Array
from ..space import Space


def gradient_matrix(points: Array, cells: Array) -> sp.csr_matrix:
    """B: of values at points (dim, n), the gradient on each simplex (dim + 1, m) times the root of its volume.

    B'B is the stiffness matrix of linear elements.
    """
    dim = len(points)
    edges = (points[:, cells[1:]] - points[:, cells[:1]]).T  # (cells, dim, dim), an edge in each row
    reference = np.hstack([-np.ones((dim, 1)), np.eye(dim)])
    volumes = np.abs(np.linalg.det(edges)) / math.factorial(dim)
    entries = np.sqrt(volumes)[:, None, None] * (np.linalg.inv(edges) @ reference)
    columns, starts = np.repeat(cells.T, dim, axis=0), np.arange(0, entries.size + 1, dim + 1)
    return sp.csr_matrix((entries.ravel(), columns.ravel(), starts), (starts.size - 1, points.shape[1]))


def mass(space: Space) -> sp.csr_matrix:
    """The matrix of ||y||^2, over time the sum of those of the levels."""
    if space.factors:
        return sp.block_diag([mass(factor) for factor in space.factors], format="csr")
    if space.levels is not None:
        return sp.kron(sp.diags(space.levels.weights), mass(space.base), format="csr")
    return sp.csr_matrix(sp.diags(space.mass) if space.diagonal else space.mass)


def sobolev(space: Space, states: Space) -> sp.csr_matrix | None:
    """The matrix of ||y||^2 + ||grad y||^2 of linear elements on cells, None where there are others.

    Over time it is the sum of those of the levels, without derivatives by time. Values at the nodes of states are these
    elements too. Factors that are no functions on cells, such as values at points, have their own norms.
    """
    if space.factors:
        parts = [sobolev(factor, states) for factor in space.factors]
        if all(part is None for part in parts):
            return None
        filled = [mass(factor) if part is None else part for factor, part in zip(space.factors, parts, strict=True)]
        return sp.block_diag(filled, format="csr")
    if space.levels is not None:
        base = sobolev(space.base, states)
        return None if base is None else sp.kron(sp.diags(space.levels.weights), base, format="csr")
    elements = space.elements or states.base.elements
    if elements is None or elements.degree != 1 or len(elements.simplices) <= len(elements.vertices):
        return None
    if space.points is None or not np.array_equal(space.points, elements.points):
        return None
    slopes = gradient_matrix(elements.points, elements.dofs)
    return sp.csr_matrix(mass(space) + slopes.T @ slopes)
