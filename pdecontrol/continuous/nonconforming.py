"""Finite elements of degree 1 for data that are constant on triangles, those of Crouzeix and Raviart as well."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee
from scipy.sparse.linalg import SuperLU

from ..arrays import Array, Indices
from ..linear.direct import sparse_factors
from ..space import Space
from ..spectrum import largest_eigenvalue
from .constants import poincare_constants
from .triangles import OPPOSITE, Triangles

CLOSE = 0.98  # times an eigenvalue is the first bound that is tried


class Linear:
    """The solution u of (kappa grad u, grad v) = (g, v) in a space of degree 1, for g constant on triangles.

    Parameters
    ----------
    triangles : the mesh.
    kappa : (n,).
    dofs : (3, n), the entries on each triangle, of a basis whose mean is 1/3 there.
    gradients : (2, 3, n), of that basis.
    fixed : whether each entry is zero; one more of each part of the domain on which none is.
    """

    def __init__(self, triangles: Triangles, kappa: Array, dofs: Indices, gradients: Array, fixed: Array) -> None:
        self._dofs, self._areas = dofs, triangles.areas
        local = np.einsum("din,djn->ijn", gradients, gradients) * (kappa * self._areas)
        rows, columns = np.broadcast_to(dofs[:, None], local.shape), np.broadcast_to(dofs, local.shape)
        matrix = sp.coo_matrix((local.ravel(), (rows.ravel(), columns.ravel())), (fixed.size, fixed.size)).tocsr()
        places = dofs.ravel(), np.tile(np.arange(triangles.count), 3)
        self._spread = sp.coo_matrix((np.ones(dofs.size), places), (fixed.size, triangles.count)).tocsr()
        parts, part = connected_components(self._spread @ self._spread.T, directed=False)
        self._part, self.loose = part[dofs[0]], np.bincount(part[fixed], minlength=parts) == 0
        first = np.unique(part, return_index=True)[1][self.loose]
        free = np.setdiff1d(np.flatnonzero(~fixed), first)
        # In this order minimum degree takes no time, which it can on meshes that were bisected again and again.
        self._free = free[reverse_cuthill_mckee(matrix[free][:, free], symmetric_mode=True)] if free.size else free
        self.matrix = matrix[self._free][:, self._free]
        self.masses = (self._spread @ self._areas)[self._free] / 3

    @cached_property
    def factors(self) -> SuperLU:
        """Of the matrix."""
        return sparse_factors(self.matrix, definite=True)

    def means(self, g: Array) -> Array:
        """The means of u on the triangles, (n,), for g with mean zero on parts on which nothing is fixed."""
        u = np.zeros(self._spread.shape[0])
        u[self._free] = self.factors.solve((self._spread @ (g * self._areas / 3))[self._free])
        return np.asarray(u[self._dofs].mean(axis=0))

    def balanced(self, g: Array) -> Array:
        """Without its mean on each part on which nothing is fixed."""
        if not self.loose.any():
            return g
        means = np.bincount(self._part, self._areas * g) / np.bincount(self._part, self._areas)
        return np.asarray(g - (self.loose * means)[self._part])


def continuous(triangles: Triangles, kappa: Array, dirichlet: Array) -> Linear:
    """Functions that are continuous at vertices."""
    fixed = np.zeros(triangles.points.shape[1], dtype=bool)
    fixed[triangles.facets[:, dirichlet & triangles.boundary]] = True
    return Linear(triangles, kappa, triangles.cells, triangles.gradients, fixed)


def nonconforming(triangles: Triangles, kappa: Array, dirichlet: Array) -> Linear:
    """Functions that are continuous at midpoints of edges (Crouzeix and Raviart), with a diagonal mass matrix."""
    fixed = dirichlet & triangles.boundary
    return Linear(triangles, kappa, triangles.facets_of[OPPOSITE], -2 * triangles.gradients, fixed)


def lowest_eigenvalue(triangles: Triangles, kappa: Array, dirichlet: Array) -> float:
    """A number below (kappa grad v, grad v) / ||v||^2, v = 0 on Dirichlet facets; 0 if a part of the domain has none.

    Notes
    -----
    The interpolant I v of Crouzeix and Raviart, by the means over edges, is the projection in the energy: 1/lambda <=
    1/lambda_h + max_K C_K^2/kappa_K for ||v - I v||_K <= C_K ||grad(v - I v)||_K. Means of v - I v over edges vanish,
    so that 2 int_K (v - I v) = - int_K (x - x_K).grad(v - I v), and C_K^2 = P_K^2 + (sum of the squared edges) / 144.
    And lambda_h > s where A - s M has positive pivots: no eigenvalue is missed.

    References
    ----------
    C. Carstensen, D. Gallistl, Numer. Math. 126 (2014) 33-51.
    """
    linear = nonconforming(triangles, kappa, dirichlet)
    if linear.loose.any():
        return 0.0
    constants = poincare_constants(triangles) ** 2 + (triangles.lengths**2).sum(axis=0) / 144
    return float(1 / (_inverse_of_lowest(linear) + (constants / kappa).max()))


def _inverse_of_lowest(linear: Linear) -> float:
    """A number above 1/lambda_h."""
    if not linear.masses.size:
        return 0.0
    inverse = largest_eigenvalue(lambda u: linear.factors.solve(linear.masses * u), Space(linear.masses))
    share = CLOSE
    while not _definite(linear.matrix - share / inverse * sp.diags(linear.masses)):
        share **= 2
    return inverse / share


def _definite(matrix: sp.spmatrix) -> bool:
    factors = sparse_factors(matrix, definite=True)  # without pivoting: L D L'
    return bool((factors.perm_r == factors.perm_c).all() and (factors.U.diagonal() > 0).all())
