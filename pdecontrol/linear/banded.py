"""Newton systems of affine control problems by banded factors, on intervals.

The system of `linear.kkt`, its second row first, with lam = s nu and s^-2 = max w,

    [s A   W  ] [eta]   [s g]
    [-Q   s A'] [nu ] = [ f ],    W = C diag(s^2 w / m) C',

has a band of a few entries where the nodes are in the order in which they sit on an interval, and the two unknowns of a
node next to each other. Factors with row pivots (LAPACK) then cost less than ten steps of conjugate gradients, whatever
the weights are, and err by rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg.lapack import dgbtrf, dgbtrs
from scipy.sparse.csgraph import reverse_cuthill_mckee

from ..arrays import Array, Indices
from ..parallel import ALONE
from .kkt import Solution
from .matrix import Triplets, shared
from .residual import refine
from .solver import LinearSolver

PASSES = 2  # of refinement
USABLE = 1e-6  # of relative residuals: those of regular systems are about rounding


class Banded:
    """The matrices of one problem, for systems with many weights.

    Parameters
    ----------
    solver : that of A, whose products are in differences, and so the residuals.
    A, Q, columns, C, mass : as in `KKT`, on one process.
    """

    def __init__(
        self, solver: LinearSolver, A: Any, Q: Any, columns: Sequence[Triplets], C: Triplets, mass: Array
    ) -> None:
        self._product, self._transposed = solver.product, solver.transposed.product
        A, self._Q = shared(A).local.tocoo(), shared(Q).local
        for B in (entries.on_owners(ALONE) for entries in columns):
            self._Q = self._Q + B @ B.T
        Q, (first, second) = self._Q.tocoo(), _pairs(C.columns)
        self._entries, self._controls = (A.data, -Q.data), C.columns[first]
        self._W = C.rows[first], C.rows[second], C.values[first] * C.values[second] / mass[self._controls]
        order = reverse_cuthill_mckee(A.tocsr(), symmetric_mode=True)
        self._order = np.stack([order, order + order.size], axis=1).ravel()
        eta, nu = np.argsort(self._order).reshape(2, -1)
        rows = np.concatenate([eta[A.row], nu[A.col], nu[Q.row], eta[self._W[0]]])
        ends = np.concatenate([eta[A.col], nu[A.row], eta[Q.col], nu[self._W[1]]])
        self._widths = lower, upper = int(np.max(rows - ends)), int(np.max(ends - rows))
        self._shape = 2 * lower + upper + 1, 2 * order.size
        self._places = self._shape[0] * ends + lower + upper + rows - ends

    def solve(self, weights: Array, s: float, f: Array, tolerance: float, g: Array | float = 0.0) -> Solution:
        """eta and lam for the weights s^-2 w, 0 <= w <= 1, to a relative residual of the scaled system.

        Not converged is what is singular to working precision.
        """
        (A, Q), (row, column, products) = self._entries, self._W
        W = products * weights[self._controls]
        band = np.bincount(self._places, np.concatenate([s * A, s * A, Q, W]), self._shape[0] * self._shape[1])
        factors, pivots, _ = dgbtrf(band.reshape(self._shape, order="F"), *self._widths, overwrite_ab=True)
        b = np.concatenate([s * g + np.zeros_like(f), f])

        def product(x: Array) -> Array:
            eta, nu = x.reshape(2, -1)
            first = s * self._product(eta) + np.bincount(row, W * nu[column], nu.size)
            return np.concatenate([first, s * self._transposed(nu) - self._Q @ eta])

        def inverse(r: Array, reduction: float = 0.0) -> Array:
            x = np.empty_like(r)
            x[self._order], _ = dgbtrs(factors, *self._widths, r[self._order], pivots, overwrite_b=True)
            return x

        size, x = float(np.linalg.norm(b)), inverse(b)
        x, r = refine(x, b - product(x), product, inverse, np.linalg.norm, tolerance * size, PASSES)
        eta, nu = x.reshape(2, -1)
        return Solution(eta, s * nu, 0, bool(np.linalg.norm(r) <= USABLE * size))

    def close(self) -> None:
        """Nothing is held that is not freed with this."""


def _pairs(numbers: Indices) -> tuple[Indices, Indices]:
    """All i and j with the same number."""
    entries = sp.csr_matrix((np.ones(numbers.size), numbers, np.arange(numbers.size + 1)))
    same = (entries @ entries.T).tocoo()
    return same.row, same.col
