"""h, g and phi as functions that are given, with what they must satisfy checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...arrays import Array, Data, Piecewise, at_time, takes_time
from ...errors import DataError
from ...problem import Dirichlet
from .domain import Domain, Places
from .factors import loops_of
from .jet import Jet, constant, jet_of, rate_of
from .lifting import SIDES
from .sampling import chebyshev

EXACT = 1e-8  # what conditions may miss, relative to the values
KINK = 1e-6  # the smallest kink, relative to the largest one and to the values
GRID = 41  # points on each axis, at which signs and initial values are looked at


class Given:
    """A function of places, with derivatives by differences of fourth order.

    Parameters
    ----------
    domain : where places are.
    data : a number or a function of x, or of x and t, or one for each part, {tag: data}; functions must have values
        two hundredths of the domain's diameter beyond the boundary, or the interface, too.
    name : of the function, for messages.
    """

    def __init__(self, domain: Domain, data: Piecewise, name: str) -> None:
        self._domain, self._data, self._name = domain, data, name
        items: list[Any] = list(data.values()) if isinstance(data, Mapping) else [data]
        self._changes = any(callable(item) and takes_time(item) for item in items)

    def __call__(self, places: Places) -> Jet:
        jet = self._at(places)
        if self._changes and self._domain.span is not None and places.t is not None:
            rate = rate_of(lambda t: self._at(places._replace(t=t)).value, places.t, self._domain.span)
            jet = jet._replace(rate=rate)
        return jet

    def _at(self, places: Places) -> Jet:
        domain, data, name = self._domain, at_time(self._data, places.t, self._name), self._name
        if not isinstance(data, Mapping):
            return jet_of(data, places.points, domain.diameter, name)
        domain.values(data, places, name)  # none is left out
        jet = constant(0.0, places.points.shape[1])
        for tag, item in data.items():
            chosen = np.flatnonzero(domain.part(places, tag))
            if chosen.size:
                found = jet_of(item, places.points[:, chosen], domain.diameter, f"{name} on {tag!r}")
                for whole, part in zip(jet, found, strict=True):
                    whole[..., chosen] = part
        return jet


def given_factor(domain: Domain, h: Piecewise) -> Given:
    """h, zero on the boundary and of one sign inside.

    Raises
    ------
    DataError
        If it is not.

    Examples
    --------
    >>> from pdecontrol.problem import Circle, Interface
    >>> domain = Domain(((-1, 1), (-1, 1)), {"gamma": Interface(Circle(0.5))}, "outside")
    >>> h = given_factor(domain, lambda x: np.cos(np.pi / 2 * x[0]) * np.cos(np.pi / 2 * x[1]))
    >>> h(domain.places(np.zeros((2, 1)))).laplacian.round(6) + 0.5 * np.pi**2 < 1e-6
    array([ True])
    """
    factor = Given(domain, h, "h")
    edges, inside = np.hstack(chebyshev(domain, GRID)), _grid(domain)
    for t in _times(domain):
        values = factor(domain.places(inside, t)).value
        sign, size = np.sign(values[np.argmax(np.abs(values))]), np.abs(values).max()
        _compare(edges, factor(domain.places(edges, t)).value, 0.0, size, "h on the boundary", "it must be")
        if (sign * values).min() <= 0:
            worst = int(np.argmin(sign * values))
            raise DataError(
                f"h is {values[worst]:.6g} at x = {inside[:, worst].round(6).tolist()}, and of the other sign "
                "elsewhere inside: it must be zero on the boundary alone."
            )
    return factor


def given_lifting(
    domain: Domain,
    g: Piecewise,
    conditions: Mapping[str, Dirichlet],
    jumps: Mapping[str, Data],
    initial: Piecewise | None = None,
) -> Given:
    """g with g = h0 on the boundary, [g] = g0 on interfaces and g = y_0 at the initial time.

    Raises
    ------
    DataError
        If it is not.
    """
    lifting = Given(domain, g, "g")
    names = [name for pair in SIDES for name in pair]
    for t in _times(domain):
        for name, edge in zip(names, chebyshev(domain, GRID), strict=True):
            places = domain.places(edge, t)
            condition = (conditions.get(name) or conditions["boundary"]).value
            wanted = domain.values(condition, places, "the Dirichlet value")
            _compare(edge, lifting(places).value, wanted, 0.0, f"g on the {name} side", "the Dirichlet value is")
        for tag in domain.interface:
            for loop in loops_of(domain, tag, domain.shape(tag, t)):
                outer, inner = (domain.on(tag, loop, side, t) for side in (False, True))
                values = lifting(outer).value, lifting(inner).value
                wanted = domain.values(jumps.get(tag, 0.0), inner, f"the jump of y on {tag!r}")
                size = np.abs(values).max()
                _compare(loop, values[0] - values[1], wanted, size, f"the jump of g on {tag!r}", "that of y is")
    if initial is not None and domain.span is not None:
        points = _grid(domain)
        places = domain.places(points, domain.span[0])
        wanted = domain.values(initial, places, "the initial value")
        _compare(points, lifting(places).value, wanted, 0.0, "g at the initial time", "the initial value is")
    return lifting


def given_kink(domain: Domain, phi: Mapping[str, Data]) -> Given:
    """phi, for each part a smooth function, continuous and with a kink at interfaces.

    Raises
    ------
    DataError
        If it is not.
    """
    if not isinstance(phi, Mapping):
        raise DataError(f"phi has a kink at interfaces: give it part by part, for {domain.tags}.")
    kink = Given(domain, phi, "phi")
    for t in _times(domain):
        for tag in domain.interface:
            shape = domain.shape(tag, t)
            for loop in loops_of(domain, tag, shape):
                outer, inner = (kink(domain.on(tag, loop, side, t)) for side in (False, True))
                size = max(np.abs(outer.value).max(), np.abs(inner.value).max())
                _compare(loop, outer.value - inner.value, 0.0, size, f"the jump of phi on {tag!r}", "it must be")
                slopes = np.abs(((outer.gradient - inner.gradient) * shape.normal(loop)).sum(axis=0))
                if slopes.min() <= KINK * max(slopes.max(), size / domain.diameter):
                    where = loop[:, np.argmin(slopes)].round(6).tolist()
                    raise DataError(f"phi has no kink on {tag!r} at x = {where}, where its slope must jump.")
    return kink


def _times(domain: Domain) -> list[Any]:
    """Some at which conditions are looked at."""
    return [None] if domain.span is None else np.linspace(*domain.span, 3).tolist()


def _grid(domain: Domain) -> Array:
    """Points (2, n) inside."""
    axes = [np.linspace(low, high, GRID + 2)[1:-1] for low, high in domain.box]
    return np.stack(np.meshgrid(*axes)).reshape(2, -1)


def _compare(points: Array, found: Array, wanted: Array | float, size: float, what: str, other: str) -> None:
    """Raise DataError where values are not those that are wanted."""
    wanted = wanted + np.zeros(found.size)
    wrong = np.abs(found - wanted)
    if wrong.max() > EXACT * max(size, np.abs(wanted).max(), np.abs(found).max()):
        k = int(np.argmax(wrong))
        where = points[:, k].round(6).tolist()
        raise DataError(f"{what} is {found[k]:.6g} at x = {where}, but {other} {wanted[k]:.6g} there.")
