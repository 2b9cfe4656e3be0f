"""Equilibrated fluxes of Galerkin solutions of degree 1 in closed form.

For -div(kappa grad y) = r with the Galerkin solution y_h, a sum over vertices a with hat functions lam_a

    sigma = sum_a sigma_a,    -div sigma_a = Pi (lam_a r - kappa grad lam_a . grad y_h),    sigma_a . n = Pi lam_a g

has -div sigma = Pi r, the prescribed fluxes, and continuous normal components. In the functions of lowest degree of
Raviart and Thomas on the triangles round a, sigma_a is what flows round the vertex: it changes by the right-hand side
in each triangle, which leaves one constant, given where a flux is prescribed, and else such that the error is least,

    || kappa^(-1/2) (sigma_a - I_a) ||,    I_a the interpolant of lam_a kappa grad y_h

References
----------
D. Braess, J. Schoeberl, Math. Comp. 77 (2008) 651-672. P. Destuynder, B. Metivet, Math. Comp. 68 (1999) 1379-1396.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from .patches import Patches
from .triangles import Triangles


class LinearFlux:
    """||sigma - kappa grad y_h||_K with -div sigma = Pi_0 r, for solutions y_h of degree 1.

    Parameters
    ----------
    triangles : the mesh.
    kappa : (n,), positive.
    dirichlet : (f,), the facets under Dirichlet conditions; on all others of the boundary kappa dy/dn is prescribed.

    Raises
    ------
    NoRouteError
        Where the domain touches itself in a vertex, or Dirichlet conditions are inside of it.
    """

    def __init__(self, triangles: Triangles, kappa: Array, dirichlet: Array) -> None:
        self._triangles = triangles
        patches = self._patches = Patches(triangles, dirichlet)
        self._normals = -2 * triangles.areas * kappa * triangles.gradients  # outward, times edges and kappa
        self._arms = triangles.corners.mean(axis=1, keepdims=True) - triangles.corners
        arms, scale = self._arms.reshape(2, -1), np.tile(4 * triangles.areas * kappa, 3)[patches.corner]
        around = (arms[:, patches.exit] - arms[:, patches.entry]) / scale
        self._entering = (arms[:, patches.entry] * around).sum(axis=0)
        self._leaving = (arms[:, patches.exit] * around).sum(axis=0)
        self._square = patches.sums(self._leaving - self._entering)

    def __call__(self, y: Array, moments: Array, flux: Array) -> Array:
        """The norms on all triangles, (n,), unweighted.

        Parameters
        ----------
        y : (3, n), the solution at the vertices of each triangle.
        moments : (3, 3, n), int_K r lam_i lam_j.
        flux : (2, 2, f), the same of kappa dy/dn on facets, zero where nothing is prescribed; raises NoRouteError if it
            is not zero inside the domain.
        """
        error = self._patches.through(self.coefficients(y, moments, flux)) - self._own(y)
        areas = self._triangles.areas
        middle = np.einsum("in,din->dn", error, self._arms)
        spread = error.sum(axis=0) ** 2 * (self._triangles.lengths**2).sum(axis=0) / 36
        return np.sqrt(((middle**2).sum(axis=0) + spread) / (4 * areas))

    def coefficients(self, y: Array, moments: Array, flux: Array) -> Array:
        """int sigma . n over each facet, (f,), n out of its first triangle."""
        patches, half = self._patches, self._own(y) / 2
        surplus = (moments.sum(axis=1) + half).ravel()[patches.corner]
        half = half.ravel()
        entering = -patches.running(surplus)
        leaving = entering - surplus
        product = (leaving - half[patches.exit]) * self._leaving - (entering + half[patches.entry]) * self._entering
        constant = -patches.sums(product) / self._square
        constant = patches.constants(constant, leaving, patches.data(flux).sum(axis=0))
        return patches.flows(leaving + np.repeat(constant, patches.sizes), constant)

    def divergence(self, coefficients: Array) -> Array:
        """div sigma on each triangle, (n,)."""
        return self._patches.through(coefficients).sum(axis=0) / self._triangles.areas

    def _own(self, y: Array) -> Array:
        """The outward fluxes of kappa grad y through the edges opposite to the vertices, (3, n)."""
        slope = np.einsum("in,din->dn", y, self._triangles.gradients)
        return np.asarray(np.einsum("dn,din->in", slope, self._normals))
