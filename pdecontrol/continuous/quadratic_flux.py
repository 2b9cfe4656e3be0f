"""Equilibrated fluxes of Galerkin solutions of degree 2.

As in `flux`, with the functions of next to lowest degree of Raviart and Thomas: on a triangle with the edges opposite
to its vertices x_i, for i = 0, 1, 2 and edges from x_j to x_k counterclockwise,

    (x - x_i) / 2|K|             flows out of edge i alone, evenly
    curl(lam_j lam_k)            has no divergence, and on edge i alone the normal component (lam_j - lam_k)/|edge|
    lam_i (x - x_i) / 2|K|       has no normal components; the sum of the three is zero

In the sum over vertices a, the divergence gives the last coefficients at once, and what flows through edges but for a
constant. This and the coefficients of the curls on the edges from a minimise the error

    || kappa^(-1/2) (sigma_a - I_a) ||,    I_a the interpolant of lam_a kappa grad y_h on each triangle

The interpolant, and not lam_a kappa grad y_h itself: its divergence is the projection of that of lam_a kappa grad y_h.

References
----------
D. Braess, V. Pillwein, J. Schoeberl, Comput. Methods Appl. Mech. Engrg. 198 (2009) 1189-1197.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..arrays import Array, Indices
from .patches import Patches
from .samples import rule
from .triangles import EDGES, Triangles

AROUND = np.array([[-1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])  # what is free round a vertex


class Coefficients(NamedTuple):
    """Of the functions above: what flows out of the first triangle of each facet (f,), curls (f,), and inner (3, n)."""

    flows: Array
    curls: Array
    inner: Array


class Group(NamedTuple):
    """Patches of as many triangles, all on the boundary or all inside.

    Attributes
    ----------
    patches : (k,), which ones.
    places : (k, m), those of their corners in order.
    inverse : (k, l, l), of the matrix for the constant and the curls, with rows of the identity for fixed ones.
    fixed : (k, l), which unknowns are prescribed.
    """

    patches: Indices
    places: Indices
    inverse: Array
    fixed: Array

    def unknowns(self) -> Iterator[list[int]]:
        """Those of each triangle: the constant, and the curls where it is entered and left."""
        edges = self.fixed.shape[1] - 1
        return ([0, 1 + j, 1 + (j + 1) % edges] for j in range(self.places.shape[1]))


class QuadraticFlux:
    """||sigma - kappa grad y_h||_K with -div sigma = Pi_1 r, for solutions y_h of degree 2.

    Parameters and errors as for `LinearFlux`.
    """

    def __init__(self, triangles: Triangles, kappa: Array, dirichlet: Array) -> None:
        self._triangles, count = triangles, triangles.count
        patches = self._patches = Patches(triangles, dirichlet)
        self._stiffness = -2 * triangles.areas * kappa * np.einsum("din,dkn->ikn", *[triangles.gradients] * 2)
        self._gram = gram(triangles)
        self._vertex, self._cell = np.divmod(patches.corner, count)
        entry, exit = patches.entry // count, patches.exit // count
        self._edges = np.stack([entry, exit, 3 + entry, 3 + exit], axis=1)
        self._weights = AROUND / kappa[self._cell, None, None]
        self._groups = list(self._grouped())

    def __call__(self, y: Array, moments: Array, flux: Array) -> Array:
        """The norms on all triangles, (n,), unweighted.

        Parameters
        ----------
        y : (6, n), the solution at the vertices and at the middles of edges of each triangle, in the order of `EDGES`.
        moments, flux : as for `LinearFlux`.
        """
        own, (flows, curls, _) = self._own(y), self.coefficients(y, moments, flux)
        before, behind = (np.stack([own[i, (i + k) % 3] for i in range(3)]) for k in (1, 2))
        turn = np.where(self._triangles.positive, 0.5, -0.5)
        through = self._patches.through(flows) - (before + behind) / 2
        tilt = curls[self._patches.facets].reshape(3, -1) - turn * (before - behind)
        inner = with_divergence(-self._residual(own, moments).sum(axis=0))
        error = np.concatenate([through, tilt, inner]).T[:, :, None]
        return np.sqrt(np.maximum((error * (self._gram @ error)).sum(axis=(1, 2)), 0.0))

    def coefficients(self, y: Array, moments: Array, flux: Array) -> Coefficients:
        """Those of sigma; parameters as for the norms."""
        patches, own, data = self._patches, self._own(y), self._patches.data(flux)
        surplus = (moments.sum(axis=1) + own.sum(axis=1) / 6)[self._vertex, self._cell]
        entering = -patches.running(surplus)
        leaving = entering - surplus
        constant = patches.constants(np.zeros(patches.vertices.size), leaving, data.sum(axis=0))
        entered, last = 3 * (data[0] - data[1]) * [[1], [-1]]
        load, left = self._load(own, moments, entering, leaving), np.empty_like(leaving)
        for group in self._groups:
            b = np.zeros(group.fixed.shape)
            for j, at in enumerate(group.unknowns()):
                b[:, at] -= load[group.places[:, j]]
            given = np.zeros(group.fixed.shape)
            given[:, 0], given[:, 1], given[:, -1] = (each[group.patches] for each in (constant, entered, last))
            x = (group.inverse @ np.where(group.fixed, given, b)[:, :, None])[:, :, 0]
            constant[group.patches], entered[group.patches] = x[:, 0], x[:, 1]
            for j, (_, _, behind) in enumerate(group.unknowns()):
                left[group.places[:, j]] = x[:, behind]
        flows = patches.flows(leaving + np.repeat(constant, patches.sizes), constant)
        return Coefficients(flows, patches.on_facets(left, entered), with_divergence(-moments.sum(axis=1)))

    def divergence(self, coefficients: Coefficients) -> Array:
        """div sigma at the vertices of each triangle, (3, n)."""
        through, inner = self._patches.through(coefficients.flows), coefficients.inner
        return (through.sum(axis=0) + (3 * inner - inner.sum(axis=0)) / 2) / self._triangles.areas

    def _grouped(self) -> Iterator[Group]:
        patches = self._patches
        rows, columns = self._edges[:, :, None], self._edges[:, None]
        local = self._weights @ self._gram[self._cell[:, None, None], rows, columns] @ AROUND.T
        for size, open in np.unique(np.stack([patches.sizes, patches.open]), axis=1).T:
            own = np.flatnonzero((patches.sizes == size) & (patches.open == open))
            places, edges = patches.begin[own, None] + np.arange(size), size + open
            matrix, fixed = np.zeros((own.size, edges + 1, edges + 1)), np.zeros((own.size, edges + 1), dtype=bool)
            group = Group(own, places, matrix, fixed)
            for j, at in enumerate(group.unknowns()):
                for row, products in zip(at, local[places[:, j]].transpose(1, 0, 2), strict=True):
                    matrix[:, row, at] += products
            first, last = patches.prescribed[:, own]
            fixed[:, 0], fixed[:, 1], fixed[:, -1] = first | last, first, last
            matrix[fixed] = np.broadcast_to(np.eye(edges + 1), matrix.shape)[fixed]
            yield group._replace(inverse=np.linalg.inv(matrix))

    def _load(self, own: Array, moments: Array, entering: Array, leaving: Array) -> Array:
        """(3n, 3), products of what is free round vertices and the error without, for the corners in order."""
        vertex, cell, (entry, exit) = self._vertex, self._cell, self._edges[:, :2].T
        at_entry, at_exit = own[entry, vertex, cell], own[exit, vertex, cell]
        known = (
            -entering - at_entry / 3 - own[entry, exit, cell] / 6,
            leaving - at_exit / 3 - own[exit, entry, cell] / 6,
            -at_entry / 2,
            at_exit / 2,
        )
        error = np.zeros((self._triangles.count, 9, 3))
        error[cell[:, None], self._edges, vertex[:, None]] = np.stack(known, axis=1)
        error[:, 6:] = with_divergence(-self._residual(own, moments)).transpose(2, 0, 1)
        products = (self._gram @ error)[cell[:, None], self._edges, vertex[:, None]]
        return np.asarray((self._weights @ products[:, :, None])[:, :, 0])

    def _own(self, y: Array) -> Array:
        """kappa dy/dn times the length of edge i, outward at vertex j, (3, 3, n)."""
        slopes = np.empty((3, 3, y.shape[1]))  # of y in the barycentric coordinate k at vertex j
        for k in range(3):
            slopes[k, k] = 3 * y[k]
        for edge, (j, k) in enumerate(EDGES):
            slopes[j, k], slopes[k, j] = 4 * y[3 + edge] - y[j], 4 * y[3 + edge] - y[k]
        return np.asarray(np.einsum("ikn,kjn->ijn", self._stiffness, slopes))

    def _residual(self, own: Array, moments: Array) -> Array:
        """int (r + kappa Lap y) lam_i lam_j, (3, 3, n)."""
        return moments - (1 + np.eye(3))[:, :, None] / 24 * np.einsum("iin->n", own)


def with_divergence(moments: Array) -> Array:
    """The coefficients (3, ..) of lam_i (x - x_i) / 2|K| for a divergence, up to a constant, with int lam_i div."""
    return 8 * (moments - moments.mean(axis=0))


def gram(triangles: Triangles) -> Array:
    """The products of the functions above on all triangles, (n, 9, 9)."""
    lam, weights = rule(2, 4)
    arms = np.einsum("qv,dvn->dqn", lam, triangles.corners)[:, None] - triangles.corners[:, :, None]
    arms /= 2 * triangles.areas
    turned = np.stack([triangles.gradients[1], -triangles.gradients[0]])[:, :, None]
    curls = [lam[:, k, None] * turned[:, j] + lam[:, j, None] * turned[:, k] for j, k in ((1, 2), (2, 0), (0, 1))]
    fields = np.concatenate([arms, np.stack(curls, axis=1), lam.T[:, :, None] * arms], axis=1)
    fields *= np.sqrt(weights[:, None] * triangles.areas)
    rows = fields.transpose(3, 1, 0, 2).reshape(triangles.count, 9, -1)
    return np.asarray(rows @ rows.transpose(0, 2, 1))
