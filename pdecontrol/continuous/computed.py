"""Constants of equations whose solutions need not be in H2, computed on the mesh.

Let w solve -div(kappa grad w) = g, and w_h the same equation in the continuous functions of degree 1. For g constant on
each cell, let u be the solution in the functions of degree 1 that are continuous at midpoints of edges (Crouzeix and
Raviart). Then p = kappa grad u - (x - x_K) g/2 has continuous normal components and -div p = g, so that

    ||kappa^(1/2) grad(w - w_h)||^2 <= ||kappa^(-1/2) (p - kappa grad w_h)||^2 = (g, B g)
    B g = Pi u - Pi w_h + g (sum of the squared edges of K) / (144 kappa)

with the means Pi over cells. For any g, w differs from the solution for Pi g by at most P_K ||g - Pi g||_K, so that

    ||kappa^(1/2) grad(w - w_h)|| <= N ||g||,    N^2 = max eig B + max P_K^2 / kappa

Eigenvalues are those of Lanczos' method from a random start, enlarged so that they are bounds with a probability.

References
----------
X. Liu, S. Oishi, SIAM J. Numer. Anal. 51 (2013) 1634-1654. p: L. D. Marini, SIAM J. Numer. Anal. 22 (1985) 493-496.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import numpy as np
import scipy.sparse as sp
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components

from ..arrays import Array, Indices
from ..linear.direct import sparse_factors
from ..space import Space
from ..spectrum import lanczos
from .constants import poincare_constants
from .routes import Form, Route
from .triangles import OPPOSITE

STEPS = 30
FAILURE = 1e-8  # the probability with which one of two eigenvalues is not a bound
SEED = 20240229
CHANCE = f"with probability 1 - {FAILURE:g} over the start of Lanczos' method"


def computed(form: Form) -> Route | None:
    """||y - y_h||^2 <= F^2 N^2 sum_K rho_K^2 / kappa_K, with w_h the solution of degree 1; None where F is not known.

    The data E - c w of w have mean zero on parts of the domain without Dirichlet conditions, where N is for such data.
    """
    if not np.isfinite(form.growth):
        return None
    triangles, kappa = form.triangles, form.kappa
    coarse = _Means(triangles.cells, triangles.gradients, _vertices(form), form)
    fine = _nonconforming(form)
    diagonal = (triangles.lengths**2).sum(axis=0) / (144 * kappa)

    def gap(g: Array) -> Array:
        g = fine.balanced(g)
        return fine.balanced(fine.solve(g) - coarse.solve(g) + diagonal * g)

    square = largest_eigenvalue(gap, triangles.areas) + float((poincare_constants(triangles) ** 2 / kappa).max())
    weights = form.growth * np.sqrt(square / kappa)
    return Route("computed", f"a constant computed on the mesh, {CHANCE}", weights)


def with_lowest(form: Form) -> Form:
    """The form with a computed lower bound of a(v, v) / ||v||^2, where each part has Dirichlet conditions.

    Notes
    -----
    The interpolant I v of Crouzeix and Raviart, by the means over edges, is the projection in the energy: 1/lambda <=
    1/lambda_h + max_K C_K^2/kappa_K for ||v - I v||_K <= C_K ||grad(v - I v)||_K. Means of v - I v over edges vanish,
    so that 2 int_K (v - I v) = - int_K (x - x_K).grad(v - I v), and C_K^2 = P_K^2 + (sum of the squared edges) / 144.

    References
    ----------
    C. Carstensen, D. Gallistl, Numer. Math. 126 (2014) 33-51.
    """
    triangles, fine = form.triangles, _nonconforming(form)
    if fine.loose.any():
        return form
    constants = poincare_constants(triangles) ** 2 + (triangles.lengths**2).sum(axis=0) / 144
    inverse = largest_eigenvalue(fine.inverse, fine.masses) + float((constants / form.kappa).max())
    return replace(form, computed=1 / inverse + float(form.reaction.min()))


def largest_eigenvalue(apply: Callable[[Array], Array], masses: Array) -> float:
    """A number above the largest eigenvalue of a positive semidefinite operator, but for a probability of 5e-9.

    Parameters
    ----------
    apply : self-adjoint in the inner product with the diagonal matrix of the masses, (n,).

    Notes
    -----
    The start b is uniform on the sphere. Let k steps end below t = (1 - e) times the largest eigenvalue. Then sum_i
    (lambda_i - t) p(lambda_i)^2 b_i^2 < 0 for all p of degree k - 1. With Chebyshev's polynomial on (0, t) this is
    e T(s)^2 b_1^2 < 1 - e, s = (1 + e)/(1 - e), and |b_1| < d has a probability of at most d (2n/pi)^(1/2). So a value
    divided by 1 - e is a bound, where e follows from the probability. The start depends on the number of entries alone.
    """
    start = np.random.default_rng(SEED).standard_normal(masses.size) / np.sqrt(masses)
    found = islice(lanczos(apply, start, Space(masses)), STEPS)
    [(values, _)] = deque(found, maxlen=1)
    return float(values[-1]) / (1 - _shortfall(masses.size))


def _shortfall(size: int) -> float:
    def surplus(e: float) -> float:
        chebyshev = (STEPS - 1) * np.arccosh((1 + e) / (1 - e)) - np.log(2)  # T(s) >= exp of it
        return float(np.log(2 * size / np.pi * (1 - e) / e) / 2 - chebyshev - np.log(FAILURE / 2))

    return float(brentq(surplus, 1e-6, 1 - 1e-6))


class _Means:
    """g -> Pi u for g constant on cells and u of degree 1, (kappa grad u, grad v) = (g, v), by its local basis."""

    def __init__(self, dofs: Indices, gradients: Array, fixed: Array, form: Form) -> None:
        self._dofs, self._areas, size = dofs, form.triangles.areas, fixed.size
        local = np.einsum("din,djn->ijn", gradients, gradients) * (form.kappa * self._areas)
        rows, columns = np.broadcast_to(dofs[:, None], local.shape), np.broadcast_to(dofs, local.shape)
        matrix = sp.coo_matrix((local.ravel(), (rows.ravel(), columns.ravel())), (size, size)).tocsr()
        cells = np.tile(np.arange(self._areas.size), 3)
        self._spread = sp.coo_matrix((np.ones(cells.size), (dofs.ravel(), cells)), (size, self._areas.size)).tocsr()
        parts, part = connected_components(self._spread @ self._spread.T, directed=False)
        held = np.bincount(part[fixed], minlength=parts) > 0
        first = np.unique(part, return_index=True)[1][~held]
        self.loose = ~held
        self._part = part[dofs[0]]
        self._free = np.setdiff1d(np.flatnonzero(~fixed), first)
        self._factors = sparse_factors(matrix[self._free][:, self._free], definite=True)
        self.masses = (self._spread @ self._areas)[self._free] / 3

    def solve(self, g: Array) -> Array:
        u = np.zeros(self._spread.shape[0])
        u[self._free] = self._factors.solve((self._spread @ (g * self._areas / 3))[self._free])
        return u[self._dofs].mean(axis=0)

    def inverse(self, u: Array) -> Array:
        """A^-1 M u on the free entries, for a basis whose mass matrix M is diagonal."""
        return np.asarray(self._factors.solve(self.masses * u))

    def balanced(self, g: Array) -> Array:
        """Without its mean on each part on which nothing is fixed."""
        if not self.loose.any():
            return g
        means = np.bincount(self._part, self._areas * g) / np.bincount(self._part, self._areas)
        return g - (self.loose * means)[self._part]


def _nonconforming(form: Form) -> _Means:
    fixed = form.dirichlet & form.triangles.boundary
    return _Means(form.triangles.facets_of[OPPOSITE], -2 * form.triangles.gradients, fixed, form)


def _vertices(form: Form) -> Array:
    """Whether each vertex is under Dirichlet conditions."""
    fixed = np.zeros(form.triangles.points.shape[1], dtype=bool)
    fixed[form.triangles.facets[:, form.dirichlet & form.triangles.boundary]] = True
    return fixed
