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
from itertools import islice

import numpy as np
from scipy.optimize import brentq

from ..arrays import Array
from ..space import Space
from ..spectrum import lanczos
from .constants import poincare_constants
from .nonconforming import continuous, nonconforming
from .routes import Form, Route

STEPS = 30
FAILURE = 1e-8  # the probability with which an eigenvalue is not a bound
SEED = 20240229


def computed(form: Form) -> Route | None:
    """||y - y_h||^2 <= F^2 N^2 sum_K rho_K^2 / kappa_K, with w_h the solution of degree 1; None where F is not known.

    The data E - c w of w have mean zero on parts of the domain without Dirichlet conditions, where N is for such data.
    """
    if not np.isfinite(form.growth):
        return None
    triangles, kappa = form.triangles, form.kappa
    coarse, fine = (space(triangles, kappa, form.dirichlet) for space in (continuous, nonconforming))
    diagonal = (triangles.lengths**2).sum(axis=0) / (144 * kappa)

    def gap(g: Array) -> Array:
        g = fine.balanced(g)
        return fine.balanced(fine.means(g) - coarse.means(g) + diagonal * g)

    square = largest_eigenvalue(gap, triangles.areas) + float((poincare_constants(triangles) ** 2 / kappa).max())
    weights = form.growth * np.sqrt(square / kappa)
    return Route("computed", f"a computed constant, with probability 1 - {FAILURE:g}", weights)


def largest_eigenvalue(apply: Callable[[Array], Array], masses: Array) -> float:
    """A number above the largest eigenvalue of a positive semidefinite operator, but for a probability of 1e-8.

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
        return float(np.log(2 * size / np.pi * (1 - e) / e) / 2 - chebyshev - np.log(FAILURE))

    return float(brentq(surplus, 1e-6, 1 - 1e-6))
