"""One dimension: intervals, their fluxes, and the route from these to states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arrays import Array, Indices
from ..errors import ProblemError
from .routes import Route
from .samples import projected, rule


@dataclass(frozen=True, eq=False)
class Intervals:
    """A conforming mesh of n intervals, with the attributes of `Triangles`.

    Parameters
    ----------
    points : (1, p), the vertices, which are the facets.
    cells : (2, n), the ends of each interval, in any order.
    """

    points: Array
    cells: Indices

    @property
    def count(self) -> int:
        """The number of intervals."""
        return self.cells.shape[1]

    @cached_property
    def corners(self) -> Array:
        """Where the ends of each interval are: (1, 2, n)."""
        return np.asarray(self.points[:, self.cells])

    @cached_property
    def volumes(self) -> Array:
        """(n,)."""
        return np.abs(self.corners[0, 1] - self.corners[0, 0])

    @cached_property
    def facets(self) -> Indices:
        """The numbers of the vertices: (1, p)."""
        return np.arange(self.points.shape[1])[None]

    @cached_property
    def boundary(self) -> Array:
        """Whether each vertex is an end of the domain: (p,)."""
        return np.bincount(self.cells.ravel(), minlength=self.points.shape[1]) == 1


class IntervalFlux:
    """||sigma - kappa y_h'||_K with -sigma' = Pi_(m-1) r, for solutions y_h of degree m: sigma is a running sum.

    Parameters
    ----------
    intervals, kappa, dirichlet : the mesh, connected, (n,), and which vertices have Dirichlet conditions, (p,).
    """

    def __init__(self, intervals: Intervals, kappa: Array, dirichlet: Array) -> None:
        self._intervals, self._kappa = intervals, kappa
        x = intervals.corners[0]
        self._order = np.argsort(x.min(axis=0))
        self._turned = x[0] > x[1]
        ends = np.flatnonzero(intervals.boundary)
        self._ends = ends[np.argsort(intervals.points[0, ends])]
        self._prescribed = ~dirichlet[self._ends]

    def __call__(self, y: Array, moments: Array, flux: Array) -> Array:
        """The norms on all intervals, (n,).

        Parameters
        ----------
        y : (m + 1, n), the solution at the nodes of each interval: its ends, and its middle.
        moments : (2, 2, n), int_K r lam_i lam_j.
        flux : (1, 1, p), the outward flux kappa dy/dn at vertices, zero where nothing is prescribed.
        """
        h, degree = self._intervals.volumes, len(y) - 1
        lam, weights = rule(1, 4)
        s = np.where(self._turned, lam[:, :1], lam[:, 1:])  # from the left, (q, n)
        ends = projected(moments, h, degree - 1)
        left, right = ends[0], ends[-1]
        left, right = np.where(self._turned, right, left), np.where(self._turned, left, right)
        within = h * (left * s + (right - left) * s**2 / 2)
        own = self._kappa * self._slopes(y, s)
        totals = (h * (left + right) / 2)[self._order]
        before = np.empty_like(totals)
        before[self._order] = np.cumsum(totals) - totals
        off = -before - within - own  # but for one constant
        constant = -(weights[:, None] * off * (h / self._kappa)).sum() / (h / self._kappa).sum()
        given = flux[0, 0, self._ends]
        if self._prescribed[0]:
            constant = -given[0]
        elif self._prescribed[1]:
            constant = given[1] + totals.sum()
        return np.sqrt(h * (weights[:, None] * (off + constant) ** 2).sum(axis=0))

    def _slopes(self, y: Array, s: Array) -> Array:
        """y_h' at the places s from the left."""
        left, right = np.where(self._turned, y[1], y[0]), np.where(self._turned, y[0], y[1])
        slope = right - left
        if len(y) == 3:
            slope = slope + (4 * y[2] - 2 * (left + right)) * (1 - 2 * s)
        return np.asarray(np.broadcast_to(slope / self._intervals.volumes, s.shape))


def lowest_eigenvalue(intervals: Intervals, kappa: Array, reaction: Array, dirichlet: Array) -> float:
    """A number below ((kappa v', v') + (c v, v)) / ||v||^2, by the length of the domain and the conditions at ends."""
    length, ends = float(intervals.volumes.sum()), int(dirichlet[intervals.boundary].sum())
    return float(kappa.min() * (ends * np.pi / (2 * length)) ** 2 + reaction.min())


def interval_route(intervals: Intervals, kappa: Array, reaction: Array, lowest: float) -> Route:
    """||y - y_h||^2 <= F^2 sum_K (h_K/(pi kappa_K))^2 rho_K^2 with the interpolant I w.

    Raises
    ------
    ProblemError
        Where F is not known.

    Notes
    -----
    ||(w - I w)'||_K <= h/pi ||w''||_K, as (w - I w)' has mean zero, and kappa w'' = -(E - c w) in each interval. For F,
    and all signs, see `routes`.
    """
    middle = max(0.0, float(reaction.max() + reaction.min()) / 2)
    off = float(np.abs(reaction - middle).max())
    if off > 0 and lowest <= 0:
        raise ProblemError("the reaction varies, and the equation is not known to be coercive")
    growth = 1.0 + (off / lowest if off > 0 else 0.0)
    return Route("convex", "an interval", growth * intervals.volumes / (np.pi * kappa))
