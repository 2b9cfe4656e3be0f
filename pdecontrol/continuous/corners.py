"""Corners at which solutions are not in H2: they are sums of explicit singular functions and of one that is.

Let -Lap w = g with w = 0 or dw/dn = 0 on each side, and theta run from 0 to omega at a corner. With the exponents
lambda in (0, 1) for which sin(lambda theta + phi), phi = 0 or pi/2, meets the conditions on both of its sides,

    w = sum_i c_i s_i + v,    s = chi(r/R) r^lambda sin(lambda theta + phi)
    chi(r) = 1 + ((1 - lambda) r^2 - r^(2 - 2 lambda))/lambda for r < 1, and 0 beyond

where v is in H2, for sectors of radius R inside the domain. Of the cut-offs with chi(1) = chi'(1) = 0 this one has the
least ||Lap s||. With the harmonic function psi that is r^-lambda sin(lambda theta + phi) but for a function in H1, and
meets the conditions,

    c = (g, psi)/(lambda omega),    |c| <= m ||g||,    m = ||psi||/(lambda omega)
    |v|_2 = ||Lap v|| <= C ||g||,    C^2 = sum_i (m_i ||Lap s_i||)^2

as Lap v is the image of -g by an oblique projection, whose norm is that of its complement: it takes g to the sum of
c_i Lap s_i, which are orthogonal, both in one sector and because sectors are disjoint. Two bounds on ||psi||:

1.  0 <= psi <= (r^-lambda - r^lambda/P^(2 lambda)) sin(lambda theta) by the maximum principle, under Dirichlet
    conditions all round, if the domain lies in the sector of radius P between the lines that bound the corner.
2.  psi = s* + z, where s* is s with -lambda for lambda, but in the sine; -Lap z = Lap s*, and z meets the conditions:
    ||psi|| <= ||s*|| + ||z||, ||z|| <= ||Lap s*||/mu, ||z|| <= ||grad z||/mu^(1/2) with a lower bound mu of the first
    eigenvalue. And ||grad z||^2 <= e^2 = (Lap s*, f) for f with -Lap f = Lap s* in the sector and df/dr = 0 at its arc,
    as (Lap s*, v) = (grad f, grad v) for all v that meet the conditions in the sector. For the radius 1
    f = (r^lambda + ((1 + lambda) r^(2 - lambda) - r^(2 + lambda))/lambda) sin(lambda theta + phi).

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
from .constants import interpolation_constants
from .polygon import TOLERANCE, Polygon
from .routes import Form, Route
from .triangles import Triangles

ACCURACY = 1e-4  # of the squared interpolation errors, to which what is left is added
ORDER = 6  # of the quadrature rule for them
HALVINGS = 60  # of triangles at a corner at most; each leaves 2^(-2 lambda) of the error


def corner(form: Form) -> Route | None:
    """||y - y_h|| <= F/kappa (C (sum_K C_K^2 rho_K^2)^(1/2) + sum_i m_i sum_K rho_K ||grad(s_i - I s_i)||_K).

    w_h = I w. None unless there are such corners, kappa is the same everywhere, each part of the domain has Dirichlet
    conditions somewhere, and F is known.
    """
    polygon = form.polygon
    if polygon is None or not (polygon.singular.any() and form.homogeneous and np.isfinite(form.growth)):
        return None
    square, singular = 0.0, np.zeros(form.triangles.count)
    for each in singular_functions(form):
        square += (each.share * each.laplacian) ** 2
        if not np.isfinite(square):
            return None
        singular += each.share * each.interpolation_errors(form.triangles)
    scale = form.growth / form.kappa.min()
    weights = scale * np.sqrt(max(square, 1.0)) * interpolation_constants(form.triangles)
    return Route("corner", "corners by explicit singular functions", weights, scale * singular)


@dataclass(frozen=True, eq=False)
class SingularFunction:
    """s = chi(r/R) r^lambda sin(lambda theta + phi) at a corner.

    Parameters
    ----------
    place : (2,), the corner.
    direction : of the side that begins there, as an angle.
    omega : the interior angle.
    exponent, phase : lambda and phi.
    radius : R.
    share : a bound on the most of s in a solution for data of norm 1, ||psi||/(lambda omega).
    """

    place: Array
    direction: float
    omega: float
    exponent: float
    phase: float
    radius: float
    share: float

    @property
    def laplacian(self) -> float:
        """||Lap s||."""
        terms = _laplacian(self.exponent)
        return float((self.omega / 2 * _radial(*terms, *terms)) ** 0.5 * self.radius ** (self.exponent - 1))

    def __call__(self, x: Array) -> Array:
        """Values at points (2, ..)."""
        r, theta = _polar(x, self.place, self.direction, self.omega)
        return np.asarray(r**self.exponent * self._cutoff(r)[0] * np.sin(self.exponent * theta + self.phase))

    def gradient(self, x: Array) -> Array:
        """The gradient, (2, ..), at points (2, ..) other than the corner."""
        r, theta = _polar(x, self.place, self.direction, self.omega)
        chi, slope = self._cutoff(r)
        radial = (self.exponent * chi + slope) * np.sin(self.exponent * theta + self.phase)
        angular = self.exponent * chi * np.cos(self.exponent * theta + self.phase)
        cos, sin = np.cos(theta + self.direction), np.sin(theta + self.direction)
        along = np.stack([radial * cos - angular * sin, radial * sin + angular * cos])
        return np.asarray(r ** (self.exponent - 1) * along)

    def _cutoff(self, r: Array) -> tuple[Array, Array]:
        """Chi and r chi'."""
        (_, a, b), (_, p, q) = _terms(self.exponent)
        r = np.minimum(r / self.radius, 1.0)
        first, second = a * r**p, b * r**q
        return 1 + first + second, p * first + q * second

    def interpolation_errors(self, triangles: Triangles) -> Array:
        """||grad(s - I s)|| on each triangle, (n,), by a rule on parts that are halved until it settles."""
        distances = np.linalg.norm(triangles.corners.mean(axis=1) - self.place[:, None], axis=0)
        near = np.flatnonzero(distances - triangles.diameters < self.radius)
        parts, areas, owners = triangles.corners[:, :, near], triangles.areas[near], np.arange(near.size)
        slopes = np.einsum("vn,dvn->dn", self(parts), triangles.gradients[:, :, near])
        places, weights = get_quadrature(RefTri, ORDER)
        places, weights = np.vstack([1 - places.sum(axis=0), places]), 2 * weights

        def integrals(parts: Array, areas: Array, owners: Indices) -> Array:
            off = self.gradient(np.einsum("vq,dvn->dqn", places, parts)) - slopes[:, None, owners]
            return areas * (weights @ (off**2).sum(axis=0))

        before = integrals(parts, areas, owners)
        sizes = np.maximum(before, before.mean())  # a rule may see nothing of cells at the edge of the support
        squares, found = np.zeros(near.size), np.zeros(triangles.count)
        for level in range(HALVINGS):
            parts, areas, children = _quarters(parts), np.tile(areas / 4, 4), np.tile(owners, 4)
            after = integrals(parts, areas, children)
            sums = after.reshape(4, -1).sum(axis=0)
            left = np.abs(sums - before)
            settled = (left <= ACCURACY * sizes[owners]) | (level == HALVINGS - 1)
            squares += np.bincount(owners[settled], (sums + left)[settled], near.size)
            if settled.all():
                break
            going = np.tile(~settled, 4)
            parts, areas, owners, before = parts[:, :, going], areas[going], children[going], after[going]
        found[near] = np.sqrt(squares)
        return found


def singular_functions(form: Form) -> Iterator[SingularFunction]:
    """Those of all corners, in disjoint sectors; of infinite share where a part of the domain has no Dirichlet side."""
    polygon = form.polygon
    assert polygon is not None
    chosen = np.flatnonzero(polygon.singular)
    for i in chosen:
        place, omega = polygon.corners[:, i], float(polygon.angles[i])
        direction, phase = _angle(polygon.directions[:, i]), 0.0 if polygon.dirichlet[i] else np.pi / 2
        away = polygon.corners - place[:, None]
        others = np.linalg.norm(away, axis=0)
        sides = np.delete(_distances(away, away[:, polygon.after]), [i, polygon.before[i]])
        reach = float(min(sides.min(initial=np.inf), others[polygon.after[i]], others[polygon.before[i]]))
        radius = min(reach, others[chosen[chosen != i]].min(initial=np.inf) / 2)
        for exponent in np.pi / omega * (np.arange(1, 5) - 0.5 * polygon.changes[i]):
            if exponent > 1 - TOLERANCE:
                break
            if form.enclosed and _in_sector(polygon, i):
                norm = _dual_norm_in_sector(polygon, i)
            else:
                norm = _dual_norm(exponent, omega, reach, form.eigenvalue)
            yield SingularFunction(place, direction, omega, exponent, phase, radius, norm / (exponent * omega))


def _angle(direction: Array) -> float:
    return float(np.arctan2(direction[1], direction[0]))


def _polar(x: Array, place: Array, direction: float, omega: float) -> tuple[Array, Array]:
    """The distance from a corner, and the angle from the side that begins there, cut outside of the domain."""
    away = x - place.reshape(2, *[1] * (x.ndim - 1))
    margin = (2 * np.pi - omega) / 2
    return np.hypot(*away), (np.arctan2(away[1], away[0]) - direction + margin) % (2 * np.pi) - margin


def _terms(exponent: float) -> tuple[Array, Array]:
    """Coefficients and powers of chi."""
    return np.array([1.0, (1 - exponent) / exponent, -1 / exponent]), np.array([0.0, 2.0, 2 - 2 * exponent])


def _norm(exponent: float) -> float:
    """||s|| through (omega/2)^(1/2), for the radius 1 and -1 < lambda < 1."""
    coefficients, powers = _terms(exponent)
    return _radial(coefficients, powers + exponent, coefficients, powers + exponent) ** 0.5


def _laplacian(exponent: float) -> tuple[Array, Array]:
    """Coefficients and powers of the radial part of Lap s, for the radius 1."""
    coefficients = 4 * (1 - exponent) / exponent * np.array([1 + exponent, -1])
    return coefficients, np.array([exponent, -exponent])


def _radial(a: Array, p: Array, b: Array, q: Array) -> float:
    """The integral of (sum a_i r^p_i) (sum b_i r^q_i) r over (0, 1)."""
    return float((np.outer(a, b) / (np.add.outer(p, q) + 2)).sum())


def _dual_norm(exponent: float, omega: float, reach: float, eigenvalue: float) -> float:
    """||s*|| + min(e/mu^(1/2), ||Lap s*||/mu) for the best radius up to the reach, infinite where there is none."""
    if not (reach > 0 and eigenvalue > 0):
        return np.inf
    size, terms = _norm(-exponent), _laplacian(-exponent)
    f = np.array([1, (1 + exponent) / exponent, -1 / exponent]), np.array([0, 2 - 2 * exponent, 2]) + exponent
    e, d = (_radial(*terms, *f) / eigenvalue) ** 0.5, _radial(*terms, *terms) ** 0.5 / eigenvalue
    first, second = exponent * e / ((1 - exponent) * size), ((1 + exponent) * d / ((1 - exponent) * size)) ** 0.5
    sums = [r**-exponent * (size * r + min(e, d / r)) for r in (min(reach, first), min(reach, second))]
    return float((omega / 2) ** 0.5 * min(sums))


def _dual_norm_in_sector(polygon: Polygon, i: int) -> float:
    """||(r^-lambda - r^lambda/P^(2 lambda)) sin(lambda theta)|| over the polygon.

    The integral along r is explicit, the one along each side is one of quadrature, whose error is added.
    """
    away = polygon.corners - polygon.corners[:, [i]]
    lam, omega = np.pi / polygon.angles[i], float(polygon.angles[i])
    direction = _angle(polygon.directions[:, i])
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
    if polygon.angles[i] > 2 * np.pi - 1e-3:  # both lines are one
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
