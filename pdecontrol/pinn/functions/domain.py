"""Rectangles with inclusions: where points lie, and the data that parts have there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...arrays import Array, at_time, on_sides, sample
from ...errors import DataError, ProblemError
from ...problem import Box, ControlProblem, Interface, Linear, Moving, Parabolic, Polygon, Shape, Tikhonov


class Places(NamedTuple):
    """Points (2, n) at a time, and for each interface whether they count as inside of it (k, n), on it as its inner
    side.
    """

    points: Array
    inside: Array
    t: float | None = None

    def only(self, chosen: Any) -> Places:
        """Some of the points."""
        return Places(self.points[:, chosen], self.inside[:, chosen], self.t)


@dataclass(frozen=True, eq=False)
class Domain:
    """A rectangle with the inclusions of a problem, and a span of time where the equation is parabolic.

    Parameters
    ----------
    box : (low, high) for each of the two axes.
    interface : the interfaces of the problem, by tag, each with a shape.
    outside : the tag of the part that is in no interface.
    span : (t_0, T), or None.

    Notes
    -----
    A point belongs to the part `inside` of the innermost interface around it.
    """

    box: tuple[tuple[float, float], ...]
    interface: Mapping[str, Interface]
    outside: str
    span: tuple[float, float] | None = None

    @property
    def diameter(self) -> float:
        return float(np.linalg.norm([high - low for low, high in self.box]))

    @property
    def tags(self) -> list[str]:
        """The parts of the domain."""
        return list(dict.fromkeys([*(item.inside for item in self.interface.values()), self.outside]))

    @property
    def moves(self) -> bool:
        """Whether an interface moves."""
        return any(isinstance(item.shape, Moving) for item in self.interface.values())

    def shape(self, tag: str, t: float | None = None) -> Shape:
        """The shape of an interface, at a time where it moves; at the initial one unless it is given."""
        shape = self.interface[tag].shape
        if isinstance(shape, Moving):
            assert self.span is not None
            shape = shape.at(self.span[0] if t is None else t)
        assert isinstance(shape, Shape)
        return shape

    def places(self, points: Array, t: float | None = None, side: str | None = None) -> Places:
        """Where points lie; those of a side count to the part with this tag, if they are on the edge of it."""
        inside = np.zeros((len(self.interface), points.shape[1]), dtype=bool)
        for row, tag in zip(inside, self.interface, strict=True):
            row[:] = self.shape(tag, t).contains(points)
        places = Places(points, inside, t)
        return places if side is None else self._moved(places, side)

    def on(self, tag: str, points: Array, inner: bool, t: float | None = None) -> Places:
        """Points of an interface on one of its sides."""
        places = self.places(points, t)
        places.inside[list(self.interface).index(tag)] = inner
        return places

    def innermost(self, places: Places) -> Array:
        """The number (n,) of the innermost interface around each place, -1 where there is none."""
        found = np.full(places.points.shape[1], -1)
        for number in sorted(range(len(self.interface)), key=lambda number: len(self.around[number])):
            found[places.inside[number]] = number
        return found

    def part(self, places: Places, tag: str) -> Array:
        """Whether places are in a part."""
        named = [*(item.inside == tag for item in self.interface.values()), tag == self.outside]  # the last for -1
        return np.asarray(np.array(named)[self.innermost(places)])

    def values(self, data: Any, places: Places, name: str, default: float | None = None) -> Array:
        """Values (n,) of a number or a function, or of one for each part; those of bounds may be infinite."""
        infinite, data = "bound" in name, at_time(data, places.t, name)
        if not isinstance(data, Mapping):
            if hasattr(data, "on_sides"):
                data = on_sides(data, {tag: np.flatnonzero(self.part(places, tag)) for tag in self.tags})
            return sample(data, places.points, self.diameter, name, infinite)
        result = np.full(places.points.shape[1], np.nan if default is None else default)
        for tag, item in data.items():
            if tag not in self.tags:
                raise DataError(f"{name}: there is no part {tag!r} here, the parts are {self.tags}.")
            chosen = self.part(places, tag)
            result[chosen] = sample(item, places.points[:, chosen], self.diameter, f"{name} on {tag!r}", infinite)
        if np.isnan(result).any():
            where = places.points[:, np.argmax(np.isnan(result))].round(6).tolist()
            raise DataError(f"{name}: the parts {list(data)} leave out the point x = {where}: give all a value.")
        return result

    def positive(self, data: Any, places: Places, name: str) -> Array:
        """Values that must be positive."""
        values = self.values(data, places, name)
        if (values <= 0).any():
            where = places.points[:, np.argmin(values)].round(6).tolist()
            raise ProblemError(f"{name} must be positive, it is {values.min():.6g} at x = {where}.")
        return values

    @cached_property
    def around(self) -> list[set[int]]:
        """For each interface the numbers of those around it."""
        shapes = [self.shape(tag) for tag in self.interface]
        samples = [shape.curves(self.diameter, 1.0, self.box)[0][:, :1] for shape in shapes]
        return [
            {i for i, shape in enumerate(shapes) if i != j and bool(shape.contains(samples[j])[0])}
            for j in range(len(shapes))
        ]

    def _moved(self, places: Places, side: str) -> Places:
        """The places on the other side of an interface near which they are, where that belongs to the part."""
        if side in self.interface:  # of what is only there, the inner side
            places.inside[list(self.interface).index(side)] = True
            return places
        if side not in self.tags:
            raise DataError(f"the function has no side {side!r}, the parts of its domain are {self.tags}.")
        near = 1e-2 * self.diameter
        for row, tag in zip(places.inside, self.interface, strict=True):
            wrong = np.flatnonzero(~self.part(places, side))
            close = wrong[self.shape(tag, places.t).distance(places.points[:, wrong]) < near]
            row[close] = ~row[close]
            back = close[~self.part(places, side)[close]]
            row[back] = ~row[back]
        left = ~self.part(places, side)
        if left.any():
            first = int(np.argmax(left))
            raise DataError(
                f"{left.sum()} of {left.size} points are not in the part {side!r}, the first is point {first} at "
                f"x = {places.points[:, first].tolist()}; evaluate at points of it only."
            )
        return places


def domain_of(problem: ControlProblem, box: Any) -> Domain:
    """The rectangle of a problem with its inclusions; raises ProblemError for shapes that it cannot have."""
    try:
        sides = tuple((float(low), float(high)) for low, high in box)
    except (TypeError, ValueError):
        sides = ()
    if len(sides) != 2 or not all(-np.inf < low < high < np.inf for low, high in sides):
        raise ProblemError(f"method='pinn' takes a rectangle, [(low, high), (low, high)], for the domain, got {box!r}.")
    levels = problem.equation.levels if isinstance(problem.equation, Parabolic) else None
    for tag, item in problem.interface.items():
        if item.shape is None or isinstance(item.shape, Polygon):
            raise ProblemError(f"interface {tag!r}: a trial space needs a smooth shape, got {item.shape!r}.")
        if isinstance(item.shape, Moving) and levels is None:
            raise ProblemError(f"interface {tag!r} moves, but the equation is a steady one: state a Parabolic one.")
    span = None if levels is None else (float(levels[0]), float(levels[-1]))
    return Domain(sides, problem.interface, _outside(problem), span)


def data_of(problem: ControlProblem) -> list[tuple[str, Any]]:
    """All data of a problem that are numbers or functions of space, or those for each part, with their names."""
    equation = problem.equation
    steady: Any = equation.steady if isinstance(equation, Parabolic) else equation
    found = [(name, getattr(steady, name)) for name in ("diffusion", "reaction", "source")]
    if isinstance(equation, Parabolic):
        found.append(("the initial value", equation.initial))
    for tag, condition in problem.boundary.items():
        found += [(f"the Dirichlet value on {tag!r}", value) for value in vars(condition).values()]
    for tag, item in problem.interface.items():
        found += [(f"the jump of y on {tag!r}", item.value), (f"the jump of the flux on {tag!r}", item.flux)]
    for piece in problem.observations:
        if isinstance(piece, Linear):
            found.append(("the weight of Linear", piece.weight))
        elif piece.points is None:
            found.append(("the target of Tracking", piece.target))
    tikhonov, box = problem.term(Tikhonov) or Tikhonov(0.0), problem.term(Box) or Box()
    found.append(("the reference of Tikhonov", tikhonov.reference))
    return [*found, ("the lower bound of Box", box.lower), ("the upper bound of Box", box.upper)]


def _outside(problem: ControlProblem) -> str:
    """The tag of the part outside of all interfaces, as data name it that are given for all parts."""
    insides = {item.inside for item in problem.interface.values()}
    given = [set(data) for _, data in data_of(problem) if isinstance(data, Mapping)]
    named = set().union(*given) - insides
    if len(named) > 1:
        raise ProblemError(f"the data name the parts {sorted(named)} outside of all interfaces, where there is one.")
    if named - {"outside"} and not any(insides | named == tags for tags in given):
        raise ProblemError(
            f"the data name a part {named.pop()!r}, but the parts are {sorted(insides)} and 'outside', which has "
            "another tag where data for all parts give it one."
        )
    return named.pop() if named else "outside"
