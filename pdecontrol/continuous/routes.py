"""From fluxes to states: how local errors of an equilibrated flux bound the error of a Galerkin solution in L2.

For -div(kappa grad y) + c y = r, with its Galerkin solution y_h in a space that holds the continuous functions of
degree 1, let sigma be an equilibrated flux, rho_K = ||sigma - kappa grad y_h||_K + P_K ||osc||_K, and w the solution of
the same equation with the error E = y - y_h on the right. For any w_h of degree 1

    ||E||^2 = a(E, w - w_h) <= sum_K rho_K ||grad(w - w_h)||_K

Each route is a choice of w_h and what is known of w. In all of them -div(kappa grad w) = E - c w, and

    ||E - c w|| <= F ||E||,    F = 1 + max |c - m| / lambda,    m = max(0, (max c + min c) / 2)

since w solves the equation with the reaction m for the data g = E + (m - c) w, so that ||g - m w|| <= ||g||, as
(g, w) >= m ||w||^2; and ||w|| <= ||E|| / lambda for lambda ||v||^2 <= a(v, v). Constant reaction c >= 0 has F = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arrays import Array
from .constants import dirichlet_eigenvalue, interpolation_constants
from .nonconforming import lowest_eigenvalue
from .polygon import TOLERANCE, Polygon, polygon_of
from .triangles import Triangles


@dataclass(frozen=True, eq=False)
class Form:
    """a(v, w) = (kappa grad v, grad w) + (c v, w) for functions that vanish on the Dirichlet facets.

    Parameters
    ----------
    triangles : the mesh.
    kappa, reaction : (n,), kappa > 0 and c, constant on each triangle.
    dirichlet : (f,), whether each facet is under Dirichlet conditions; only those on the boundary count.
    """

    triangles: Triangles
    kappa: Array
    reaction: Array
    dirichlet: Array

    @cached_property
    def polygon(self) -> Polygon | None:
        return polygon_of(self.triangles, self.dirichlet)

    @cached_property
    def enclosed(self) -> bool:
        """Whether there are Dirichlet conditions all round."""
        return bool(self.dirichlet[self.triangles.boundary].all())

    @cached_property
    def homogeneous(self) -> bool:
        """Whether kappa is the same everywhere."""
        return bool(np.ptp(self.kappa) <= TOLERANCE / 10 * self.kappa.max())

    @cached_property
    def lowest(self) -> float:
        """A number below a(v, v) / ||v||^2, which tells something where it is positive."""
        least = float(self.reaction.min())
        simple = float(self.kappa.min()) * dirichlet_eigenvalue(self.triangles) if self.enclosed else 0.0
        if self.enclosed and simple + least > 0:
            return simple + least
        return lowest_eigenvalue(self.triangles, self.kappa, self.dirichlet) + least

    @cached_property
    def eigenvalue(self) -> float:
        """A number below ||grad v||^2 / ||v||^2."""
        return lowest_eigenvalue(self.triangles, np.ones(self.triangles.count), self.dirichlet)

    @cached_property
    def growth(self) -> float:
        """F with ||E - c w|| <= F ||E||, infinite where it is not known."""
        middle = max(0.0, (self.reaction.max() + self.reaction.min()) / 2)
        off = np.abs(self.reaction - middle).max()
        if off <= TOLERANCE / 10 * middle:
            return 1.0
        return 1.0 + float(off) / self.lowest if self.lowest > 0 else np.inf


@dataclass(frozen=True, eq=False)
class Route:
    """||y - y_h|| <= (sum_K (a_K rho_K)^2)^(1/2) + sum_K b_K rho_K in L2.

    Parameters
    ----------
    name : "convex", "corner", "computed" or "energy".
    assumption : what it rests on, a clause.
    weights : a, (n,).
    singular : b, (n,).
    """

    name: str
    assumption: str
    weights: Array
    singular: Array | float = 0.0

    def bound(self, rho: Array) -> float:
        """The bound on ||y - y_h|| for the local errors rho, (n,)."""
        return float(self.shares(rho).sum())

    def shares(self, rho: Array) -> Array:
        """What each cell adds to the bound, (n,): rho times the derivative of the bound."""
        local = self.weights * rho
        total = np.linalg.norm(local)
        return (local**2 / total if total > 0 else 0.0) + self.singular * rho


def convex(form: Form) -> Route | None:
    """||y - y_h||^2 <= F^2 / min kappa sum_K C_K^2 rho_K^2 / kappa_K, with w_h = I w; None where that is not proved.

    Notes
    -----
    For w in H2 of a polygon, with w = 0 or dw/dn = 0 on each side, |w|_2 = ||Lap w||: the difference of both squares is
    the integral of div(w_x w_yy - .., ..), on each side the product of a tangential derivative of grad w and its other
    component, of which one vanishes. And w is in H2 where no angle exceeds pi, and none pi/2 where the conditions
    change.

    If kappa jumps across lines parallel to a side of a rectangle, say x = const, the same identity in each layer leaves
    kappa w_x w_yy on both sides of a line: as kappa w_x and w_yy are the same on both sides, sum kappa |w|_2^2 =
    sum kappa ||Lap w||^2. That w is in H2 of each layer follows by reflection at the sides, even or odd: then w_y is
    in H1, as differences in y solve the same equation, and kappa w_x too, by the equation.

    References
    ----------
    P. Grisvard, Elliptic Problems in Nonsmooth Domains, 1985, section 4.3.1.
    """
    polygon = form.polygon
    if polygon is None or polygon.singular.any() or not np.isfinite(form.growth):
        return None
    if not (form.homogeneous or (polygon.rectangle and _layered(form, polygon))):
        return None
    weights = form.growth * interpolation_constants(form.triangles) / np.sqrt(form.kappa.min() * form.kappa)
    return Route("convex", "convex polygon" if form.homogeneous else "rectangle in plane layers", weights)


def _layered(form: Form, rectangle: Polygon) -> bool:
    """Whether kappa jumps only across facets parallel to one and the same side."""
    first, second = form.triangles.cells_of[:, ~form.triangles.boundary]
    kappa = form.kappa
    jumps = np.abs(kappa[first] - kappa[second]) > TOLERANCE / 10 * np.minimum(kappa[first], kappa[second])
    ends = form.triangles.points[:, form.triangles.facets[:, ~form.triangles.boundary][:, jumps]]
    along = ends[:, 1] - ends[:, 0]
    along = along / np.linalg.norm(along, axis=0)
    across = np.abs(rectangle.directions[:, :2].T @ along)
    return bool((across < TOLERANCE).all(axis=1).any())


def energy(form: Form) -> Route | None:
    """||y - y_h||^2 <= sum_K rho_K^2 / kappa_K / lambda with w_h = 0; None where no lambda > 0 is known.

    Notes
    -----
    a(E, E) <= sum_K rho_K ||grad E||_K and lambda ||E||^2 <= a(E, E): of first order for degree 1, of second for
    degree 2. Negative reaction costs 1 + max(-c)/lambda, since ||kappa^(1/2) grad E||^2 = a(E, E) - (c E, E).
    """
    if form.lowest <= 0:
        return None
    most = 1.0 + max(0.0, -float(form.reaction.min())) / form.lowest
    return Route("energy", "Friedrichs' inequality", np.sqrt(most / form.lowest / form.kappa))
