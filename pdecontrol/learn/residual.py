"""The error of a predicted solution of a coercive equation, bounded by its residual in a dual norm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf, sqrt

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh, splu

from ..arrays import Array, real_array
from ..errors import DataError, ProblemError

EPS = float(np.finfo(float).eps)
INDEFINITE = "the reference matrix of a residual bound must be positive definite."
INFLATED = 1e-6  # of the least eigenvalue, by which Lanczos iteration may overestimate it


@dataclass(frozen=True)
class PredictionBound:
    """How far a prediction x~ is from the solution x of A x = b.

    Attributes
    ----------
    energy : a bound on the energy norm ((x - x~)' A (x - x~))^1/2.
    relative : on the energy norm of the error relative to that of x; infinite where the bound is no less than x~.
    l2 : on the Euclidean norm of x - x~; times h^(d/2) it is that of functions on a grid.
    scale : the factor c by which the prediction was multiplied, 1 unless it was asked for.
    """

    energy: float
    relative: float
    l2: float
    scale: float = 1.0


class ResidualBound:
    """e' A e <= r' K^-1 r / a for e = x - x~, r = b - A x~, where e' A e >= a e' K e for all e.

    One symmetric positive definite K, factorised once, serves all equations of a family. Where also e' A e <= b e' K e,
    the bound is between the error and (b/a)^1/2 times the error.

    Parameters
    ----------
    reference : K, such as the matrix of the coefficient 1 on the same mesh with the same Dirichlet nodes.

    Raises
    ------
    ProblemError
        If K is not symmetric positive definite.

    Notes
    -----
    The bound is for the solution of the discrete equation. Rounding is included: that of the residual, by the sizes of
    its terms, in the same norm, and that of factors, by what is left of one solution. In the Euclidean norm,
    |e|^2 <= e' A e / (a lambda), with the least eigenvalue lambda of K; on grids of finite volumes that is less than
    its limit 2 pi^2 h^2.

    Examples
    --------
    >>> from pdecontrol.learn.families import Darcy
    >>> family = Darcy(n=15, field="threshold")
    >>> sample = family.draw(np.random.default_rng(1))
    >>> matrix, b = family.system(sample)
    >>> bound = ResidualBound(family.reference()).bound(matrix, b, 0 * b, family.coercivity(sample))
    >>> x = splu(sp.csc_matrix(matrix)).solve(b)
    >>> error = (x @ (matrix @ x)) ** 0.5
    >>> bool(error <= bound.energy <= 2 * error)
    True
    """

    def __init__(self, reference: sp.spmatrix) -> None:
        matrix = sp.csc_matrix(reference, dtype=float)
        if not np.isfinite(matrix.data).all() or abs(matrix - matrix.T).max() > 1e-12 * abs(matrix).max():
            raise ProblemError("the reference matrix of a residual bound must be symmetric, with finite entries.")
        self._matrix = matrix
        try:
            self._factors = splu(matrix)
        except RuntimeError:  # singular
            raise ProblemError(INDEFINITE) from None
        if not (self.least > 0 and np.all(self._factors.U.diagonal() > 0)):
            raise ProblemError(INDEFINITE)

    @cached_property
    def least(self) -> float:
        """The least eigenvalue of K, estimated from below."""
        start = np.ones(self._matrix.shape[0])
        if start.size <= 3:
            value = np.linalg.eigvalsh(self._matrix.toarray())[0]
        else:
            value = eigsh(self._matrix, k=1, sigma=0.0, v0=start, return_eigenvectors=False)[0]
        return float(value) * (1.0 - INFLATED)

    @cached_property
    def _loss(self) -> float:
        """The relative error of solutions with the factors in the norm of K, from one of them."""
        b = self._matrix @ np.ones(self._matrix.shape[0])
        return 4.0 * max(float(np.linalg.norm(self._factors.solve(b) - 1.0) / sqrt(b.size)), EPS)

    def bound(
        self, matrix: sp.spmatrix, b: Array, prediction: Array, coercivity: float, rescale: bool = False
    ) -> PredictionBound:
        """The bound for one equation and one prediction.

        Parameters
        ----------
        matrix, b : A, symmetric, and b.
        prediction : x~, any vector (n,), with the values of the free nodes.
        coercivity : a, such as the least coefficient.
        rescale : bound c x~ with c = b' x~ / (x~' A x~), which never errs by more in the energy norm.

        Raises
        ------
        DataError
            For predictions that are not finite or have another shape, before anything is computed.
        ProblemError
            Where a is not positive: for indefinite equations there is no such bound.
        """
        x, b = real_array(prediction, "the prediction"), real_array(b, "the right-hand side")
        if x.shape != b.shape or x.shape != (self._matrix.shape[0],):
            raise DataError(f"the prediction has shape {x.shape}, needed is ({self._matrix.shape[0]},).")
        if not (np.isfinite(x).all() and np.isfinite(b).all() and np.isfinite(matrix.data).all()):
            raise DataError("a prediction, or its equation, has values that are not finite: it is refused.")
        if not 0 < coercivity < inf:
            raise ProblemError(f"a residual bounds the error of coercive equations alone, got a = {coercivity}.")
        image, scale = matrix @ x, 1.0
        if rescale and (energy := float(x @ image)) > 0:
            scale = float(b @ x) / energy
            x, image = scale * x, scale * image
        size = sqrt(max(float(x @ image), 0.0))
        rounding = 2.0 * EPS * (_widest(matrix) + 2) * (np.abs(b) + abs(matrix) @ np.abs(x))
        norm = self._dual_norm(b - image) + sqrt(float(rounding @ rounding) / self.least)
        eta = norm / sqrt(coercivity)
        size *= 1.0 - EPS * (b.size + 4)
        return PredictionBound(
            eta, eta / (size - eta) if eta < size else inf, eta / sqrt(coercivity * self.least), scale
        )

    def _dual_norm(self, r: Array) -> float:
        """(r' K^-1 r)^1/2, from above."""
        return sqrt(max(float(r @ self._factors.solve(r)), 0.0)) * (1.0 + self._loss + EPS * r.size)


def _widest(matrix: sp.spmatrix) -> int:
    """The most entries in a row."""
    return int(np.diff(sp.csr_matrix(matrix).indptr).max())
