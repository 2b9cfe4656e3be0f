"""Re-entrant corners: solutions are sums of explicit singular functions and of one in H2.

With Dirichlet conditions all round, -Lap w = g has w = sum_i c_i s_i + v, v in H2 and zero on the boundary. In polar
coordinates at a corner with the angle omega, lambda = pi/omega < 1,

    s = chi(r/R) r^lambda sin(lambda theta),    chi(r) = 1 + ((1 - lambda) r^2 - r^(2 - 2 lambda))/lambda for r < 1

and 0 beyond, in a sector of radius R inside the domain: of the cut-offs with chi(1) = chi'(1) = 0 the one with the
least ||Lap s||. With the harmonic function psi that is r^-lambda sin(lambda theta) but for a function in H1, and zero on
the boundary elsewhere,

    c = (g, psi)/pi,    |c| <= ||psi|| ||g||/pi
    |v|_2 = ||Lap v|| <= C ||g||,    C^2 = sum_i (||Lap s_i|| ||psi_i||/pi)^2

as Lap v is the image of -g by an oblique projection, whose norm is that of its complement, which takes g to
sum (g, psi_i)/pi Lap s_i, and these are orthogonal, as sectors are disjoint. ||psi|| is below the lesser of two bounds:

1.  0 <= psi <= (r^-lambda - r^lambda/P^(2 lambda)) sin(lambda theta) by the maximum principle, if the domain lies
    in the sector of radius P between the lines that bound the corner.
2.  psi = s* + z, where s* is s with -lambda for lambda, but in the sine; -Lap z = Lap s*, z = 0 on the boundary. So
    ||psi|| <= ||s*|| + ||Lap s*||/mu with a lower bound mu of the first eigenvalue.

References
----------
P. Grisvard, Singularities in Boundary Value Problems, 1992, chapter 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad
from skfem.quadrature import get_quadrature
from skfem.refdom import RefTri

from ..arrays import Array, Indices
from .constants import dirichlet_eigenvalue, interpolation_constants
from .polygon import TOLERANCE, Polygon
from .routes import Form, Route
from .triangles import Triangles

ACCURACY = 1e-4  # of the squared interpolation errors, to which what is left is added
ORDER = 6  # of the quadrature rule for them
HALVINGS = 60  # of triangles at a corner at most; each leaves 2^(-2 lambda) of the error
LARGEST = 10.0  # C of the route; with many corners, as of polygons for round holes, a computed constant is much smaller


def corner(form: Form) -> Route | None:
    """||y - y_h|| <= F/kappa (C (sum_K C_K^2 rho_K^2)^(1/2) + sum_i ||psi_i||/pi sum_K rho_K ||grad(s_i - I s_i)||_K).

    w_h = I w. None unless there are Dirichlet conditions all round, kappa is the same everywhere, F is known,
    and C is not large.
    """
    polygon = form.polygon
    if polygon is None or not (form.enclosed and form.homogeneous and np.isfinite(form.growth)):
        return None
    eigenvalue, square, singular = dirichlet_eigenvalue(form.triangles), 0.0, np.zeros(form.triangles.count)
    for each in singular_functions(polygon, eigenvalue):
        if not each.radius > 0:  # sides touch
            return None
        square += (each.laplacian * each.share) ** 2
        if square > LARGEST**2:
            return None
        singular += each.share * each.interpolation_errors(form.triangles)
    scale = form.growth / form.kappa.min()
    weights = scale * np.sqrt(square) * interpolation_constants(form.triangles)
    return Route("corner", "re-entrant corners by explicit singular functions", weights, scale * singular)


@dataclass(frozen=True, eq=False)
class SingularFunction:
    """s at a re-entrant corner.

    Parameters
    ----------
    place : (2,), the corner.
    direction : of the side that begins there, as an angle.
    omega : the interior angle.
    radius : of its support.
    share : a bound on ||psi||/pi, the most of s in a solution for data of norm 1.
    """

    place: Array
    direction: float
    omega: float
    radius: float
    share: float

    @property
    def exponent(self) -> float:
        """lambda = pi/omega."""
        return np.pi / self.omega

    @property
    def laplacian(self) -> float:
        """||Lap s||."""
        return _norms(self.exponent, self.omega)[1] * self.radius ** (self.exponent - 1)

    def __call__(self, x: Array) -> Array:
        """Values at points (2, ..)."""
        r, theta = _polar(x, self.place, self.direction, self.omega)
        return r**self.exponent * self._cutoff(r)[0] * np.sin(self.exponent * theta)

    def gradient(self, x: Array) -> Array:
        """The gradient, (2, ..), at points (2, ..) other than the corner."""
        r, theta = _polar(x, self.place, self.direction, self.omega)
        chi, slope = self._cutoff(r)
        radial = (self.exponent * chi + slope) * np.sin(self.exponent * theta)
        angular = self.exponent * chi * np.cos(self.exponent * theta)
        cos, sin = np.cos(theta + self.direction), np.sin(theta + self.direction)
        return r ** (self.exponent - 1) * np.stack([radial * cos - angular * sin, radial * sin + angular * cos])

    def _cutoff(self, r: Array) -> tuple[Array, Array]:
        """Chi and r chi'."""
        (_, a, b), (_, p, q) = _terms(self.exponent)
        r = np.minimum(r / self.radius, 1.0)
        first, second = a * r**p, b * r**q
        return 1 + first + second, p * first + q * second

    def interpolation_errors(self, triangles: Triangles) -> Array:
        """||grad(s - I s)|| on each triangle, (n,), by a rule on parts that are halved until it settles."""
        slopes = np.einsum("vn,dvn->dn", self(triangles.corners), triangles.gradients)
        distances = np.linalg.norm(triangles.corners.mean(axis=1) - self.place[:, None], axis=0)
        cells = np.flatnonzero(distances - triangles.diameters < self.radius)
        parts, areas, squares = triangles.corners[:, :, cells], triangles.areas[cells], np.zeros(triangles.count)
        places, weights = get_quadrature(RefTri, ORDER)
        places, weights = np.vstack([1 - places.sum(axis=0), places]), 2 * weights

        def integrals(parts: Array, areas: Array, cells: Indices) -> Array:
            off = self.gradient(np.einsum("vq,dvn->dqn", places, parts)) - slopes[:, None, cells]
            return areas * (weights @ (off**2).sum(axis=0))

        before = integrals(parts, areas, cells)
        sizes = np.bincount(cells, before, triangles.count)
        for level in range(HALVINGS):
            parts, areas, owners = _quarters(parts), np.tile(areas / 4, 4), np.tile(cells, 4)
            after = integrals(parts, areas, owners)
            sums = after.reshape(4, -1).sum(axis=0)
            left = np.abs(sums - before)
            settled = (left <= ACCURACY * sizes[cells]) | (level == HALVINGS - 1)
            squares += np.bincount(cells[settled], (sums + left)[settled], triangles.count)
            going = np.tile(~settled, 4)
            parts, areas, cells, before = parts[:, :, going], areas[going], owners[going], after[going]
        return np.sqrt(squares)


def singular_functions(polygon: Polygon, eigenvalue: float) -> Iterator[SingularFunction]:
    """Those of all re-entrant corners, with disjoint supports.

    Parameters
    ----------
    eigenvalue : a lower bound of the first eigenvalue under Dirichlet conditions.
    """
    chosen = np.flatnonzero(polygon.singular)
    for i in chosen:
        place, omega, out = polygon.corners[:, i], float(polygon.angles[i]), polygon.directions[:, i]
        away = polygon.corners - place[:, None]
        others = np.linalg.norm(away, axis=0)
        own = [i, polygon.before[i]]
        sides = np.delete(_distances(away, away[:, polygon.after]), own)
        reach = float(min(sides.min(initial=np.inf), others[polygon.after[i]], others[polygon.before[i]]))
        radius = min(reach, others[chosen[chosen != i]].min(initial=np.inf) / 2)
        norm = _dual_norm(np.pi / omega, omega, reach, eigenvalue)
        if _in_sector(polygon, i):
            norm = min(norm, _dual_norm_in_sector(polygon, i))
        yield SingularFunction(place, float(np.arctan2(out[1], out[0])), omega, radius, norm / np.pi)


def _polar(x: Array, place: Array, direction: float, omega: float) -> tuple[Array, Array]:
    """The distance from a corner, and the angle from the side that begins there, cut outside of the domain."""
    away = x - place.reshape(2, *[1] * (x.ndim - 1))
    margin = (2 * np.pi - omega) / 2
    return np.hypot(*away), (np.arctan2(away[1], away[0]) - direction + margin) % (2 * np.pi) - margin


def _terms(exponent: float) -> tuple[Array, Array]:
    """Coefficients and powers of chi."""
    return np.array([1.0, (1 - exponent) / exponent, -1 / exponent]), np.array([0.0, 2.0, 2 - 2 * exponent])


def _norms(exponent: float, omega: float) -> tuple[float, float]:
    """||s|| and ||Lap s|| for the radius 1, s = chi r^lambda sin(abs(lambda) theta), -1 < lambda < 1."""
    coefficients, powers = _terms(exponent)
    size = (np.outer(coefficients, coefficients) / (powers[:, None] + powers + 2 * exponent + 2)).sum()
    # Lap s = (p + q r^(-2 lambda)) r^lambda sin
    p, q = 4 * (1 - exponent**2) / exponent, -4 * (1 - exponent) / exponent
    curvature = p**2 / (2 + 2 * exponent) + p * q + q**2 / (2 - 2 * exponent)
    return float(np.sqrt(omega / 2 * size)), float(np.sqrt(omega / 2 * curvature))


def _dual_norm(exponent: float, omega: float, reach: float, eigenvalue: float) -> float:
    """||s*|| + ||Lap s*||/mu for the best radius up to the reach."""
    size, curvature = _norms(-exponent, omega)
    best = np.sqrt((1 + exponent) / (1 - exponent) * curvature / size / eigenvalue)
    radius = min(reach, best)
    return float(radius ** (1 - exponent) * (size + curvature / (radius**2 * eigenvalue)))


def _dual_norm_in_sector(polygon: Polygon, i: int) -> float:
    """||(r^-lambda - r^lambda/P^(2 lambda)) sin(lambda theta)|| over the polygon.

    The integral along r is explicit, the one along each side is one of quadrature, whose error is added.
    """
    away = polygon.corners - polygon.corners[:, [i]]
    lam, omega = np.pi / polygon.angles[i], float(polygon.angles[i])
    direction = float(np.arctan2(*polygon.directions[::-1, i]))
    outer = np.linalg.norm(away, axis=0).max() ** (2 * lam)
    total = 0.0
    for a, b in zip(away.T, away[:, polygon.after].T, strict=True):
        if not (a.any() and b.any()):  # along the ray theta = 0 or omega
            continue

        def inner(t: float, a: Array = a, b: Array = b) -> float:
            r, theta = _polar(a + t * (b - a), np.zeros(2), direction, omega)
            radial = r ** (-2 * lam) / (2 - 2 * lam) - 1 / outer + r ** (2 * lam) / ((2 + 2 * lam) * outer**2)
            return float(radial * np.sin(lam * theta) ** 2 * (a[0] * b[1] - a[1] * b[0]))

        total += sum(quad(inner, 0, 1, epsrel=1e-9))
    return float(np.sqrt(total))


def _in_sector(polygon: Polygon, i: int) -> bool:
    """Whether no side enters the open sector outside of the two lines that bound a re-entrant corner."""
    if polygon.angles[i] > 2 * np.pi - 1e-3:
        return False
    frame = np.stack([polygon.directions[:, i], -polygon.directions[:, polygon.before[i]]], axis=1)
    a = np.linalg.solve(frame, polygon.corners - polygon.corners[:, [i]])
    b = a[:, polygon.after]
    with np.errstate(divide="ignore", invalid="ignore"):
        level = (a[1] - a[0]) / (a[1] - a[0] - b[1] + b[0])  # where both coordinates agree, if they do between the ends
    level = np.where((level > 0) & (level < 1), level, 0.0)
    deepest = np.stack([a, b, a + level * (b - a)]).min(axis=1).max()
    return bool(deepest <= TOLERANCE * np.abs(a).max())


def _distances(a: Array, b: Array) -> Array:
    """From the origin to the segments between points (2, k)."""
    along = b - a
    share = np.clip(-(a * along).sum(axis=0) / (along**2).sum(axis=0), 0, 1)
    return np.asarray(np.linalg.norm(a + share * along, axis=0))


def _quarters(corners: Array) -> Array:
    """The four children (2, 3, 4 n) of triangles (2, 3, n)."""
    a, b, c = np.moveaxis(corners, 1, 0)
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    return np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (bc, ca, ab))], axis=2)
