"""g, which has the boundary values, the jumps and the initial values of the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.polynomial.chebyshev import chebvander

from ...arrays import Array, Data, Piecewise, at_time, sample, takes_time
from ...errors import DataError, ProblemError
from ...problem import Dirichlet
from .domain import Domain, Places
from .factors import loops_of
from .jet import Jet, constant, jet_of, rate_of

SIDES = ("left", "right"), ("bottom", "top")
DEGREES = (16, 32, 64, 128)  # of polynomials along the sides
Side = Callable[[Array], tuple[Array, Array, Array]]
Sides = Sequence[Sequence[Data]]  # of functions on the boundary: on the left and right side, and on the bottom and top
Extend = Callable[[Domain, Sides], Callable[[Array], Jet]]


class Lifting:
    """g with g = h0 on the boundary, [g] = g0 on interfaces, and g = y_0 at the initial time.

    With a linear extension B of boundary data, g = B[h0] - g0 inside of interfaces, and in time
    g(t) = y_0 + B[h0(t) - h0(t_0)] - (g0(t) - g0(t_0)) inside of them.

    Parameters
    ----------
    domain : the rectangle.
    conditions : the Dirichlet conditions by tag, "boundary" or all four sides.
    jumps : g0 by the tags of interfaces.
    initial : y_0, None for steady equations.
    extend : B, which is `blended` by default, transfinite interpolation with polynomials along each side.

    Raises
    ------
    DataError
        If data are not smooth along a side, sides do not match at a corner, or initial values do not match them.
    """

    def __init__(
        self,
        domain: Domain,
        conditions: Mapping[str, Dirichlet],
        jumps: Mapping[str, Data],
        initial: Piecewise | None = None,
        extend: Extend | None = None,
    ) -> None:
        self._domain, self._jumps, self._initial, self._extend = domain, jumps, initial, extend or blended
        self._data = [[(conditions.get(name) or conditions["boundary"]).value for name in pair] for pair in SIDES]
        around: list[Any] = [*self._data[0], *self._data[1]]
        moving = any(callable(item) and takes_time(item) for item in around)
        self._changes = moving or any(callable(item) and takes_time(item) for item in jumps.values())
        self._begin = None if initial is None else self._extended(None if domain.span is None else domain.span[0])
        self._still = None if moving else self._begin or self._extended(None)
        if initial is not None:
            self._check_initial()

    def __call__(self, places: Places) -> Jet:
        g = self._at(places, places.t)
        if self._changes and self._domain.span is not None and places.t is not None:
            g = g._replace(rate=rate_of(lambda t: self._at(places, t).value, places.t, self._domain.span))
        return g

    def _at(self, places: Places, t: float | None) -> Jet:
        """g at a time, but for its derivative by time."""
        initial = self._begin is not None
        g = self._initially(places) if initial else constant(0.0, places.points.shape[1])
        if not (initial and not self._changes):
            g = g + (self._still or self._extended(t))(places.points)
            if self._begin is not None:
                g = g - self._begin(places.points)
            for row, tag in zip(places.inside, self._jumps, strict=True):
                if row.any():
                    g = g - self._jump(tag, places.points, t).where(row)
                    if self._begin is not None and self._domain.span is not None:
                        g = g + self._jump(tag, places.points, self._domain.span[0]).where(row)
        return g

    def _jump(self, tag: str, points: Array, t: float | None) -> Jet:
        name = f"the jump of y on {tag!r}"
        return jet_of(at_time(self._jumps[tag], t, name), points, self._domain.diameter, name)

    def _initially(self, places: Places) -> Jet:
        """y_0, on each part what is given there."""
        domain, data = self._domain, self._initial
        if not isinstance(data, Mapping):
            assert data is not None
            return jet_of(data, places.points, domain.diameter, "the initial value")
        total = constant(0.0, places.points.shape[1])
        domain.values(data, places, "the initial value")  # none is left out
        for tag, item in data.items():
            chosen = domain.part(places, tag)
            if chosen.any():
                total = total + jet_of(item, places.points, domain.diameter, "the initial value").where(chosen)
        return total

    def _check_initial(self) -> None:
        """Raise DataError where y_0 has other values on the boundary or other jumps than the state."""
        domain, begin = self._domain, self._begin
        assert begin is not None and domain.span is not None
        share = np.linspace(0, 1, 41)
        (left, right), (bottom, top) = domain.box
        edges = [[np.full(41, x), bottom + (top - bottom) * share] for x in (left, right)]
        edges += [[left + (right - left) * share, np.full(41, y)] for y in (bottom, top)]
        points = np.hstack([np.array(edge) for edge in edges])
        wanted, found = begin(points).value, self._initially(domain.places(points, domain.span[0])).value
        self._compare(points, found, wanted, "the initial value on the boundary", "the Dirichlet value")
        if domain.moves and isinstance(self._initial, Mapping):
            raise ProblemError(
                "initial values of a problem with a moving interface are one function, not part by part."
            )
        for tag in domain.interface:
            for loop in loops_of(domain, tag, domain.shape(tag)):
                sides = [self._initially(domain.on(tag, loop, inner, domain.span[0])).value for inner in (False, True)]
                wanted = self._jump(tag, loop, domain.span[0]).value
                self._compare(loop, sides[0] - sides[1], wanted, f"the jump of the initial value on {tag!r}", "value")

    def _compare(self, points: Array, found: Array, wanted: Array, what: str, other: str) -> None:
        wrong = np.abs(found - wanted)
        if wrong.max() > 1e-8 * max(np.abs(wanted).max(), np.abs(found).max(), 1e-12):
            k = int(np.argmax(wrong))
            raise DataError(
                f"{what} is {found[k]:.6g} at x = {points[:, k].round(6).tolist()}, but {other} is {wanted[k]:.6g} "
                "there: a trial space needs initial values that match."
            )

    def _extended(self, t: float | None) -> Callable[[Array], Jet]:
        """B h0 at a time."""
        name = "the Dirichlet value"
        return self._extend(self._domain, [[at_time(item, t, name) for item in pair] for pair in self._data])


def blended(domain: Domain, data: Sides) -> Callable[[Array], Jet]:
    """Gordon and Hall's blend B: the linear interpolations between opposite sides, less that of the corners."""
    sides = [
        [_along(domain, data[axis][end], axis, end, name) for end, name in enumerate(pair)]
        for axis, pair in enumerate(SIDES)
    ]
    lows, widths = np.array([(low, high - low) for low, high in domain.box]).T
    (left, right), (bottom, top) = sides
    ends = np.array(domain.box[1])
    (c00, c01), (c10, c11) = corners = left(ends)[0], right(ends)[0]
    along = np.transpose([bottom(np.array(domain.box[0]))[0], top(np.array(domain.box[0]))[0]])
    if np.abs(along - corners).max() > 1e-10 * max(np.abs(along).max(), np.abs(corners).max()):
        k = np.unravel_index(np.argmax(np.abs(along - corners)), (2, 2))
        place = [domain.box[axis][end] for axis, end in enumerate(k)]
        raise DataError(
            f"the Dirichlet values on {SIDES[0][k[0]]!r} and {SIDES[1][k[1]]!r} differ at the corner x = {place}: "
            f"{corners[k[0]][k[1]]:.6g} and {along[k]:.6g}; a trial space needs values that match."
        )

    def blend(points: Array) -> Jet:
        s, t = (points - lows[:, None]) / widths[:, None]
        l, r, b, u = left(points[1]), right(points[1]), bottom(points[0]), top(points[0])
        value = (1 - s) * l[0] + s * r[0] + (1 - t) * b[0] + t * u[0]
        value -= (1 - s) * (1 - t) * c00 + (1 - s) * t * c01 + s * (1 - t) * c10 + s * t * c11
        by_s = r[0] - l[0] - ((1 - t) * (c10 - c00) + t * (c11 - c01))
        by_t = u[0] - b[0] - ((1 - s) * (c01 - c00) + s * (c11 - c10))
        gradient = np.array([
            by_s / widths[0] + (1 - t) * b[1] + t * u[1],
            by_t / widths[1] + (1 - s) * l[1] + s * r[1],
        ])  # fmt: skip
        laplacian = (1 - t) * b[2] + t * u[2] + (1 - s) * l[2] + s * r[2]
        return Jet(value, gradient, laplacian, np.zeros(s.size))

    return blend


def _along(domain: Domain, data: Data, axis: int, end: int, name: str) -> Side:
    """Boundary data on a side: their values, and two derivatives of a polynomial through them."""
    other = 1 - axis
    low, high = domain.box[other]
    for degree in DEGREES:
        nodes = 0.5 * (low + high) + 0.5 * (high - low) * _nodes(degree)
        points = np.empty((2, degree + 1))
        points[axis], points[other] = domain.box[axis][end], nodes
        values = sample(data, points, domain.diameter, "the Dirichlet value")
        fit = cast(Any, Chebyshev)(_interpolation(degree) @ values, domain=(low, high))
        if np.abs(fit.coef[-degree // 4 :]).max() <= 1e-12 * max(np.abs(values).max(), 1e-300):
            break
    else:
        raise DataError(f"the Dirichlet value on the {name} side is no smooth function, which a trial space needs.")
    first, second = fit.deriv(1), fit.deriv(2)

    def evaluate(x: Array) -> tuple[Array, Array, Array]:
        points = np.empty((2, x.size))
        points[axis], points[other] = domain.box[axis][end], x
        return sample(data, points, domain.diameter, "the Dirichlet value"), first(x), second(x)

    return evaluate


def _nodes(degree: int) -> Array:
    """Chebyshev's points of the second kind, from -1 to 1."""
    return np.asarray(-np.cos(np.pi * np.arange(degree + 1) / degree))


@cache
def _interpolation(degree: int) -> Array:
    """The matrix from values at these points to the Chebyshev coefficients of the polynomial through them."""
    return np.asarray(np.linalg.inv(cast(Any, chebvander)(_nodes(degree), degree)))
