"""Norms of functions that networks give, and their relative errors, sample by sample."""

from __future__ import annotations

from collections.abc import Callable

import scipy.sparse as sp
import torch
from torch import Tensor

Norm = Callable[[Tensor], Tensor]
SMALLEST = 1e-30  # of squares: the root has no derivative at zero


def relative(norm: Norm, found: Tensor, true: Tensor) -> Tensor:
    """||found - true|| / ||true|| (count,) of functions (count, ..)."""
    return norm(found - true) / norm(true)


def quadratic(matrix: sp.spmatrix, like: Tensor) -> Norm:
    """(e' A e)^1/2 for a symmetric matrix, in the precision and on the device of a tensor."""
    entries = sp.coo_matrix(matrix)
    indices = torch.tensor([entries.row.tolist(), entries.col.tolist()])
    made = torch.sparse_coo_tensor(indices, torch.tensor(entries.data), entries.shape, check_invariants=True)
    A = made.to(like.device, like.dtype).coalesce()

    def norm(e: Tensor) -> Tensor:
        flat = e.flatten(1)
        return _root((flat * torch.sparse.mm(A, flat.T).T).sum(dim=1))

    return norm


def l2(e: Tensor) -> Tensor:
    """The root mean square of the values on a grid."""
    return _root(e.flatten(1).square().mean(dim=1))


def h1(e: Tensor) -> Tensor:
    """(||e||^2 + ||grad e||^2)^1/2 of values on a grid of the unit cube, its boundary included, by differences."""
    square = e.flatten(1).square().mean(dim=1)
    for axis in range(1, e.ndim):
        slope = torch.diff(e, dim=axis) * (e.shape[axis] - 1)
        square = square + slope.flatten(1).square().mean(dim=1)
    return _root(square)


def hsloss_mgno(e: Tensor) -> Tensor:
    """The quantity that was published as H1 error of MgNO, for comparison alone: it is no Sobolev norm.

    |(1 + k_x^2 + k_y^2)^1/2 F e| with the orthonormal discrete Fourier transform F of a field that is not periodic, the
    integers k_x and k_y without 2 pi and replaced by 0 from 20 on (arXiv 2310.19809, the authors' code).
    """
    rows, columns = (_waves(size, e) for size in e.shape[1:])
    weights = (1 + rows[:, None] ** 2 + columns**2).sqrt()
    transformed = torch.fft.fft2(e, norm="ortho") * weights
    return _root(transformed.abs().square().flatten(1).sum(dim=1))


def _waves(size: int, like: Tensor) -> Tensor:
    k = torch.fft.fftfreq(size, 1 / size, device=like.device, dtype=like.dtype)
    return torch.where(k.abs() < 20, k, 0.0)


def _root(square: Tensor) -> Tensor:
    return square.clamp_min(SMALLEST).sqrt()
