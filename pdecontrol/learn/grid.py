"""Finite volumes on grids of the unit cube: two-point fluxes between neighbours, assembled in one go."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..arrays import Array


def harmonic_mean(a: Array, b: Array) -> Array:
    """2 a b / (a + b), the conductivity of two half cells in series."""
    return 2.0 * a * b / (a + b)


def faces(a: Array) -> list[Array]:
    """Coefficients of the faces of the inner nodes of a grid, along each axis: harmonic means of both nodes.

    Parameters
    ----------
    a : coefficients at all nodes (n + 2, ..., n + 2), boundary included.

    Returns
    -------
    For each axis the (n + 1, n, ..) faces, with n + 1 along that axis.
    """
    found = []
    for axis in range(a.ndim):
        inner = a[tuple(slice(None) if other == axis else slice(1, -1) for other in range(a.ndim))]
        found.append(harmonic_mean(_part(inner, axis, None, -1), _part(inner, axis, 1, None)))
    return found


def diffusion(coefficients: Sequence[Array], shift: Array | float = 0.0) -> sp.csr_matrix:
    """(A u)_i = sum over the faces of i of c_ij (u_i - u_j) + shift_i u_i, with u = 0 beyond the grid.

    Parameters
    ----------
    coefficients : c, for each axis the faces (.., n + 1, ..) as of `faces`; those on the boundary count on the
        diagonal.
    shift : added to the diagonal.
    """
    return transport([(c, c) for c in coefficients], shift)


def transport(flows: Sequence[tuple[Array, Array]], shift: Array | float = 0.0) -> sp.csr_matrix:
    """(A u)_i = sum over the faces of i of outflow u_i - inflow u_j, where forward and backward flows differ.

    Parameters
    ----------
    flows : for each axis f and g (.., n + 1, ..): the flow through a face from the lower to the upper node is
        f u_lower - g u_upper.
    shift : added to the diagonal.
    """
    shape = tuple(size - (axis == 0) for axis, size in enumerate(flows[0][0].shape))
    diagonal = np.zeros(shape) + shift
    blocks = []
    for axis, (forward, backward) in enumerate(flows):
        diagonal += _part(forward, axis, 1, None) + _part(backward, axis, None, -1)
        blocks += [-_part(backward, axis, 1, -1).ravel(), -_part(forward, axis, 1, -1).ravel()]
    indices, indptr, order = _pattern(shape)
    values = np.concatenate([diagonal.ravel(), *blocks])[order]
    return sp.csr_matrix((values, indices, indptr), (diagonal.size,) * 2)


def laplacian(n: int, dimension: int) -> sp.csr_matrix:
    """The matrix of -Laplace, times h^2, on n inner nodes along each axis."""
    return diffusion(faces(np.ones((n + 2,) * dimension)))


def constant_load(n: int, dimension: int) -> Array:
    """The right-hand side 1, times h^2, on n inner nodes along each axis."""
    return np.full(n**dimension, (n + 1.0) ** -2)


@lru_cache(maxsize=8)
def _pattern(shape: tuple[int, ...]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.intp]]:
    """Columns and row starts of the matrix, and where its entries stand in the blocks of `transport`."""
    numbers = np.arange(np.prod(shape)).reshape(shape)
    rows, columns = [numbers.ravel()], [numbers.ravel()]
    for axis in range(len(shape)):
        lower, upper = _part(numbers, axis, None, -1).ravel(), _part(numbers, axis, 1, None).ravel()
        rows += [lower, upper]
        columns += [upper, lower]
    row, column = np.concatenate(rows), np.concatenate(columns)
    order = np.lexsort((column, row))
    starts = np.cumsum(np.bincount(row, minlength=numbers.size))
    return column[order].astype(np.int32), np.append(0, starts).astype(np.int32), order


def _part(a: NDArray[Any], axis: int, start: int | None, stop: int | None) -> NDArray[Any]:
    return a[(slice(None),) * axis + (slice(start, stop),)]
