"""Residuals of linear systems in differences, and what rounding may be in them: that is part of every bound.

Products with a matrix A are written in differences,

    (A x)_i = sum_j A_ij (x_j - x_i) + t_i x_i,    t = A 1,

where t is known better than from A: diffusion and advection annihilate constants. Stiff parts of the domain, in which x
hardly varies, and equations that nearly have constants in their kernel then cost few digits. A residual is known, entry
by entry, to no more than

    rho_i = g (sum_j P_ij |x_j - x_i| + |b_i|) + tau_i |x_i|,    g = 2 eps,

where P_ij = (d_i d_j)^1/2 on the pattern of a positive definite A, d its diagonal, and P_ij = d_i + d_j for others, d
the largest entries of the rows: an entry is a sum over elements of terms no larger than P_ij, however much of it
cancels. tau is what t may err by. All signs of rho are allowed for at once, as those of uniform meshes may agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ..arrays import Array

ROUNDING = 2 * float(np.finfo(float).eps)  # g


class Excess(NamedTuple):
    """t = A 1 and what it may err by, tau; `symmetric` if A is, so that they are those of A' too."""

    sums: Array
    errors: Array
    symmetric: bool


class Rows:
    """The rows of a matrix on this process: residuals of A x = b in differences, and what rounding may be in them.

    Parameters
    ----------
    local : (owned, seen), the owned columns first.
    forward : from owned entries of vectors to those that the rows see.
    definite : whether the matrix is symmetric positive definite.
    excess : t and tau; by the entries of the matrix if None.
    """

    def __init__(
        self, local: sp.csr_matrix, forward: Callable[[Array], Array], definite: bool, excess: Excess | None
    ) -> None:
        self._local, self._forward, self._definite = local, forward, definite
        self.width = int(np.diff(local.indptr).max(initial=0))
        self.diagonal = np.abs(local.diagonal())
        if not definite and self.diagonal.size:
            self.diagonal = np.maximum(self.diagonal, abs(local).max(axis=1).toarray().ravel())
        self._row = np.repeat(np.arange(local.shape[0]), np.diff(local.indptr))
        ends = self._row, local.indices
        root = np.sqrt(self.diagonal) if definite else self.diagonal
        left, right = (values[place] for values, place in zip((root, forward(root)), ends, strict=True))
        self._sizes = left * right if definite else left + right
        ones = np.ones(local.shape[0])
        self._excess = excess or Excess(local @ forward(ones), ROUNDING * self._sum(self._sizes), definite)
        self.symmetric = self._excess.symmetric

    def product(self, x: Array) -> Array:
        """A x."""
        return self._sum(self._local.data * self._differences(x)) + self._excess.sums * x

    def rounding(self, x: Array, b: Array, noise: Array | float, transposed: bool = False) -> Array:
        """rho; that of b - A' x, not in differences, for the transpose of a matrix that is not symmetric."""
        if transposed and not self.symmetric:
            return (
                ROUNDING * (self._sum(self._sizes * np.abs(self._forward(x))[self._local.indices]) + np.abs(b)) + noise
            )
        spread = self._sum(self._sizes * np.abs(self._differences(x)))
        return ROUNDING * (spread + np.abs(b)) + self._excess.errors * np.abs(x) + noise

    def _differences(self, x: Array) -> Array:
        return self._forward(x)[self._local.indices] - x[self._row]

    def _sum(self, entries: Array) -> Array:
        """The sums of the entries of each row."""
        starts = self._local.indptr[:-1]  # no row is empty: each has its diagonal
        return np.asarray(np.add.reduceat(entries, starts)) if starts.size else np.zeros(0)


def refine(
    x: Array,
    r: Array,
    product: Callable[[Array], Array],
    correction: Callable[[Array, float], Array],
    size: Callable[[Array], float],
    goal: float,
    passes: int,
) -> tuple[Array, Array]:
    """x with its residual r, improved until the size of this is at most the goal.

    In passes, each on the residual of the last: one alone drifts away again at the rounding of the residual. A pass
    that does not halve the residual is dropped, and the last. r is that of the sum of all corrections; rounding this
    sum to an array changes x by eps |x|, which would amount to more in the residual than it matters.
    """
    least = size(r)
    for _ in range(passes):
        if least <= goal:
            break
        step = correction(r, goal / least)
        rest = r - product(step)
        new = size(rest)
        if not new <= 0.5 * least:
            break
        x, r, least = x + step, rest, new
    return x, r
