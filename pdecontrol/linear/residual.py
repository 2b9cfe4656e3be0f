"""Residuals of linear systems in differences, and what rounding may be in them: that is part of every bound.

Products with a matrix A are written in differences,

    (A x)_i = sum_j A_ij (x_j - x_i) + t_i x_i,    t = A 1,

where t is known better than from A: diffusion and advection annihilate constants. Stiff parts of the domain, in which x
hardly varies, and equations that nearly have constants in their kernel then cost few digits. A residual is known, entry
by entry, to no more than

    rho_i = g (sum_j P_ij |x_j - x_i| + |b_i|) + tau_i |x_i|,    g = 2 eps = ROUNDING,

where P_ij = (d_i d_j)^1/2 on the pattern of a positive definite A, d its diagonal, and P_ij = d_i + d_j for others, d
the largest entries of the rows: an entry is a sum over elements of terms no larger than P_ij, however much of it
cancels. tau is what t may err by. All signs of rho are allowed for at once, as those of uniform meshes may agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from .matrix import ROUNDING, SharedMatrix


class Excess(NamedTuple):
    """t = A 1 and what it may err by, tau; `symmetric` if A is, so that they are those of A' too."""

    sums: Array
    errors: Array
    symmetric: bool


class Rows:
    """The rows of a matrix on this process: residuals of A x = b in differences, and what rounding may be in them.

    Parameters
    ----------
    matrix : A.
    definite : whether it is symmetric positive definite.
    excess : t and tau; by the entries of the matrix if None.

    Attributes
    ----------
    diagonal : d.
    width : the largest number of entries in a row, of all processes.
    stieltjes : whether A is definite without positive entries off the diagonal, but for rounding: then A^-1 >= 0.
    """

    def __init__(self, matrix: SharedMatrix, definite: bool, excess: Excess | None) -> None:
        self.matrix, self._local, self._forward = matrix, matrix.local, matrix.halo.forward
        local, self.group = matrix.local, matrix.halo.group
        self.width = max(self.group.collect(int(np.diff(local.indptr).max(initial=0))))
        self.diagonal = np.abs(local.diagonal())
        if not definite and self.diagonal.size:
            self.diagonal = np.maximum(self.diagonal, abs(local).max(axis=1).toarray().ravel())
        self._row = np.repeat(np.arange(local.shape[0]), np.diff(local.indptr))
        self._column = local.indices.astype(np.intp)
        self._work = np.empty((2, local.nnz))  # new arrays of this size would take longer than what is done with them
        ends = self._row, self._column
        root = np.sqrt(self.diagonal) if definite else self.diagonal
        left, right = (values[place] for values, place in zip((root, self._forward(root)), ends, strict=True))
        self._sizes = left * right if definite else left + right
        ones = np.ones(local.shape[0])
        self._excess = excess or Excess(local @ self._forward(ones), ROUNDING * self._sum(self._sizes), definite)
        self.symmetric = self._excess.symmetric
        positive = np.count_nonzero(local.data > 2 * ROUNDING * self._sizes) if definite else 0
        self.stieltjes = definite and not self.group.any(positive > self.diagonal.size)

    @property
    def transposed(self) -> Rows | TransposedRows:
        """The rows of A'."""
        return self if self.symmetric else TransposedRows(self)

    def product(self, x: Array) -> Array:
        """A x."""
        terms = self._differences(x)
        terms *= self._local.data
        return self._sum(terms) + self._excess.sums * x

    def rounding(self, x: Array, b: Array, noise: Array | float) -> Array:
        """rho, with what b may err by for noise."""
        terms = self._differences(x)
        terms *= self._sizes
        spread = self._sum(np.abs(terms, out=terms))
        return ROUNDING * (spread + np.abs(b)) + self._excess.errors * np.abs(x) + noise

    def size(self, r: Array) -> float:
        """(r' D^-1 r)^1/2 with D = diag(d)."""
        scaled = r / np.sqrt(self.diagonal)
        return float(np.sqrt(self.group.sum(np.einsum("i,i->", scaled, scaled))))

    def plain_spread(self, x: Array) -> Array:
        """sum_j P_ij |x_j|, that of products which are not in differences."""
        return self._sum(self._sizes * np.abs(self._forward(x))[self._column])

    def _differences(self, x: Array) -> Array:
        """x_j - x_i, in an array that belongs to the caller until this is called again."""
        ends, starts = self._work
        np.take(self._forward(x), self._column, out=ends, mode="clip")  # "clip" writes to `out` itself
        ends -= np.take(x, self._row, out=starts, mode="clip")
        return ends

    def _sum(self, entries: Array) -> Array:
        """The sums of the entries of each row."""
        starts = self._local.indptr[:-1]  # no row is empty: each has its diagonal
        return np.asarray(np.add.reduceat(entries, starts)) if starts.size else np.zeros(0)


class TransposedRows:
    """Those of the transpose of a matrix that is not symmetric: products are not in differences."""

    symmetric = stieltjes = False

    def __init__(self, rows: Rows) -> None:
        self.transposed, self.group, self.size = rows, rows.group, rows.size
        self.diagonal, self.width = rows.diagonal, rows.width

    def product(self, x: Array) -> Array:
        return self.transposed.matrix.apply_transposed(x)

    def rounding(self, x: Array, b: Array, noise: Array | float) -> Array:
        return ROUNDING * (self.transposed.plain_spread(x) + np.abs(b)) + noise


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
