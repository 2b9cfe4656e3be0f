"""Functions that are known at all points, and functions with two values on interfaces as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .arrays import Array, Indices


class Evaluable(Protocol):
    """A function that is known at all points, on either side of interfaces, and at all times where it depends on t."""

    def evaluate(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        """Values (n,) at points (dim, n)."""
        ...

    def gradient(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        """Gradients (dim, n)."""
        ...


@dataclass(frozen=True, eq=False)
class Frozen:
    """The function of space that one of space and time is at a time."""

    function: Evaluable
    time: float

    def evaluate(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        return self.function.evaluate(points, self.time, side)

    def gradient(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        return self.function.gradient(points, self.time, side)


@dataclass(frozen=True, eq=False)
class Sided:
    """A `Field` at points of which `members` has those of each part, with values on the side of the smallest one."""

    field: Any
    members: Mapping[str, Indices]

    @property
    def takes_time(self) -> bool:
        return bool(self.field.takes_time)

    def __call__(self, points: Array, t: float | None = None) -> Array:
        field, elements = self.field, self.field.space.base.whole.elements
        result: Array = field(points, t)
        parts = {} if elements is None else {tag: own for tag, own in elements.parts.items() if tag in self.members}
        for tag in sorted(parts, key=lambda tag: -parts[tag].size):
            own = self.members[tag]
            if field.function is None:  # finite elements end at the edge of their part
                own = own[elements.contains(points[:, own], tag)]
            result[own] = field(points[:, own], t, side=tag)
        return result
