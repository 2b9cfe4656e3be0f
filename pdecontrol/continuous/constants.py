"""Explicit constants of triangles: interpolation, Poincare, the lowest eigenvalue under Dirichlet conditions."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from .triangles import Triangles

BESSEL_0 = 2.404825557695773  # the first zero of J_0
BESSEL_1 = 3.8317059702075125  # the first positive zero of J_1


def interpolation_constants(triangles: Triangles) -> Array:
    """C_K with ||grad(w - I w)||_K <= C_K |w|_{2,K}, I w the linear interpolant of w at the vertices, (n,).

    Notes
    -----
    With the edges A, B, C and the area S: C_K^2 = (ABC/4S)^2 - (A^2 + B^2 + C^2)/30 - (S^2/5)(1/A^2 + 1/B^2 + 1/C^2),
    where |w|_2^2 is the sum of the squares of w_xx, w_xy, w_yx, w_yy.

    References
    ----------
    K. Kobayashi, On the interpolation constants over triangular elements, Applications of Mathematics 2015, 110-124.
    """
    squares, areas = triangles.lengths**2, triangles.areas
    circumradii = squares.prod(axis=0) / (4 * areas) ** 2
    return np.sqrt(circumradii - squares.sum(axis=0) / 30 - areas**2 / 5 * (1 / squares).sum(axis=0))


def poincare_constants(triangles: Triangles) -> Array:
    """P_K with ||v - mean v||_K <= P_K ||grad v||_K: the diameter through the first positive zero of J_1, (n,).

    References
    ----------
    R. S. Laugesen, B. A. Siudeja, Minimizing Neumann fundamental tones of triangles, J. Differential Equations 249
    (2010) 118-135.
    """
    return triangles.diameters / BESSEL_1


def dirichlet_eigenvalue(triangles: Triangles) -> float:
    """A number below ||grad v||^2 / ||v||^2 for all v that vanish on the whole boundary.

    The larger one of those of the rectangle along the axes around the domain, which holds more functions, and of the
    disc of the same area (Faber and Krahn).
    """
    sides = np.ptp(triangles.points[:, np.unique(triangles.cells)], axis=1)
    return float(max((np.pi**2 / sides**2).sum(), np.pi * BESSEL_0**2 / triangles.areas.sum()))
