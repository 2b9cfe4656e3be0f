"""The error of a predicted solution of a coercive equation, bounded by its residual in a dual norm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf, sqrt

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh

from ..arrays import Array, real_array
from ..errors import DataError, ProblemError, SingularEquationError
from ..fem.steady import SteadyMap
from ..linear.direct import sparse_factors
from .family import Family, Sample

EPS = float(np.finfo(float).eps)
INDEFINITE = "the reference matrix of a residual bound must be positive definite."
LARGEST = 1e100  # of values, whose squares are numbers still, and their inverses
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

    def accepts(self, tolerance: float) -> bool:
        """Whether the relative error in the energy norm is shown to be at most the tolerance."""
        return self.relative <= tolerance


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
    e' e <= e' A e / (a lambda), with the least eigenvalue lambda of K; on grids of finite volumes that is less than
    its limit 2 pi^2 h^2.

    Examples
    --------
    >>> from scipy.sparse.linalg import splu
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
        entries = float(abs(matrix).max())
        if not 1 / LARGEST < entries < LARGEST:
            raise ProblemError(
                f"the reference matrix of a residual bound has entries of size {entries:.0e}: choose other units."
            )
        if not np.isfinite(matrix.data).all() or abs(matrix - matrix.T).max() > 1e-12 * abs(matrix).max():
            raise ProblemError("the reference matrix of a residual bound must be symmetric, with finite entries.")
        self._matrix = matrix
        try:
            self._factors = sparse_factors(matrix, definite=True)
        except SingularEquationError:
            raise ProblemError(INDEFINITE) from None
        pivots, kept = self._factors.U.diagonal(), np.array_equal(self._factors.perm_r, self._factors.perm_c)
        if not (kept and np.all(pivots > 0) and self.least > 0):
            raise ProblemError(INDEFINITE)

    @cached_property
    def least(self) -> float:
        """The least eigenvalue of K, estimated from below."""
        start = np.random.default_rng(161803).standard_normal(self._matrix.shape[0])
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
            Where a is not positive: for indefinite equations there is no such bound. Where the prediction itself shows
            that a is too large.
        """
        x, b = real_array(prediction, "the prediction"), real_array(b, "the right-hand side")
        if x.shape != b.shape or x.shape != (self._matrix.shape[0],):
            raise DataError(f"the prediction has shape {x.shape}, needed is ({self._matrix.shape[0]},).")
        if not (np.isfinite(x).all() and np.isfinite(b).all() and np.isfinite(matrix.data).all()):
            raise DataError("a prediction, or its equation, has values that are not finite: it is refused.")
        size = float(abs(matrix).max())
        largest = max(float(np.abs(x).max()), float(np.abs(b).max()) / (size or 1.0)) or 1.0
        if not (1 / LARGEST < size < LARGEST and 1 / LARGEST < largest < LARGEST):
            raise DataError(
                f"an equation or a prediction has sizes ({size:.0e}, {largest:.0e}) beyond 1e+-100: choose other units."
            )
        if not 0 < coercivity < inf:
            raise ProblemError(f"a residual bounds the error of coercive equations alone, got a = {coercivity}.")
        # in units where the largest entries are 1, so that no square underflows
        matrix, x, b, coercivity = matrix / size, x / largest, b / (size * largest), coercivity / size
        image, scale = matrix @ x, 1.0
        if rescale and (own := float(x @ image)) > 0:
            scale = float(b @ x) / own
            x, image = scale * x, scale * image
        rounding = 2.0 * EPS * (_widest(matrix) + 2) * (np.abs(b) + abs(matrix) @ np.abs(x))
        square, lost = float(x @ image), float(np.abs(x) @ rounding)
        if square + lost < (1.0 - 1e-9) * coercivity * float(x @ (self._matrix @ x)):
            raise ProblemError(
                f"the equation is less coercive than a = {size * coercivity:g}: the bound would be wrong."
            )
        energy = sqrt(max(square - lost, 0.0))
        norm = self._dual_norm(b - image) + sqrt(float(rounding @ rounding) / self.least)
        eta = norm / sqrt(coercivity)
        relative = eta / (energy - eta) if eta < energy else inf
        return PredictionBound(
            sqrt(size) * largest * eta, relative, largest * eta / sqrt(coercivity * self.least), scale
        )

    def _dual_norm(self, r: Array) -> float:
        """(r' K^-1 r)^1/2, from above."""
        return sqrt(max(float(r @ self._factors.solve(r)), 0.0)) * (1.0 + self._loss + EPS * r.size)


class FamilyBound:
    """The bounds for predicted solutions of a family of coercive equations, such as `Darcy`.

    Parameters
    ----------
    family : of equations; its reference matrix is factorised once.

    Raises
    ------
    ProblemError
        If that is not symmetric positive definite.

    Examples
    --------
    >>> from pdecontrol.learn.families import Darcy
    >>> family = Darcy(n=15, field="threshold")
    >>> sample = family.draw(np.random.default_rng(1))
    >>> FamilyBound(family).bound(sample, np.zeros((17, 17))).accepts(0.1)
    False
    """

    def __init__(self, family: Family) -> None:
        self._family, self._residual = family, ResidualBound(family.reference())
        self._numbers = np.arange(1.0, float(np.prod(family.grid)) + 1.0)

    def bound(self, sample: Sample, prediction: Array, rescale: bool = False) -> PredictionBound:
        """The bound for a prediction on all nodes, an array as `Family.solution` gives it.

        Parameters
        ----------
        sample : the parameters of the equation.
        prediction : with its values on the boundary, which are to be those of the equation to 1e-6 of the largest; the
            bound is for the prediction with these made exact.
        rescale : see `ResidualBound.bound`.

        Raises
        ------
        DataError
            For predictions that are not finite, have another shape, or other values on the boundary.
        ProblemError
            For equations that are not coercive.
        """
        coercivity = self._family.coercivity(sample)
        if coercivity is None:
            raise ProblemError(f"equations of {self._family.name!r} are not coercive: no residual bounds an error.")
        x = self._unknowns(sample, real_array(prediction, "the prediction"))
        matrix, b = self._family.system(sample)
        return self._residual.bound(matrix, b, x, coercivity, rescale)

    def _unknowns(self, sample: Sample, values: Array) -> Array:
        known = self._family.solution(sample, np.zeros(self._numbers.size))
        if values.shape != known.shape:
            raise DataError(f"the prediction has shape {values.shape}, needed is {known.shape}, with the boundary.")
        if not np.isfinite(values).all():
            raise DataError("a prediction has values that are not finite: it is refused.")
        numbers = np.rint(self._family.solution(sample, self._numbers) - known).astype(int)
        fixed = numbers == 0
        wrong = np.abs(values - known)[fixed].max(initial=0.0)
        if wrong > 1e-6 * np.abs(values).max():
            raise DataError(f"the prediction errs by {wrong:.3g} on the boundary, where values are given: set them.")
        x = np.empty(self._numbers.size)
        x[numbers[~fixed] - 1] = values[~fixed]
        return x


def state_bound(reference: ResidualBound, map: SteadyMap, u: Array, y: Array, coercivity: float) -> PredictionBound:
    """The bound for a predicted state y of the affine equation of a map at the control u; nothing is solved with it.

    Parameters
    ----------
    reference : made of ``system.matrix`` of the map with the coefficient 1, say, on the same mesh.
    map, u : the equation, and the control.
    y : the state, in the space ``map.solution``, but for its Dirichlet values, which are taken to be exact. The bounds
        are relative to states less these.
    coercivity : see `ResidualBound.bound`.

    Raises
    ------
    DataError, ProblemError
        As `ResidualBound.bound`, and for nonlinear equations and those that are not symmetric positive definite.
    """
    system = map.system
    if not (map.affine and system.equation.definite):
        raise ProblemError("a residual bounds the error of states of symmetric positive definite equations alone.")
    b = -system.residual(system.lifting.initial(), map.control.checked(u, "the control"))
    y = map.solution.checked(y, "the state")
    x = system.lifting.unknowns(y - system.lifting.initial())
    return reference.bound(system.matrix, b, x, coercivity)


def _widest(matrix: sp.spmatrix) -> int:
    """The most entries in a row."""
    return int(np.diff(sp.csr_matrix(matrix).indptr).max())
