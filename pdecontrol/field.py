"""Functions: vectors of a space with evaluation, files and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array, real_array
from .errors import DataError
from .mesh.lagrange import Lagrange
from .space import Space


@dataclass(frozen=True, eq=False)
class Field:
    """A function of a space: values, evaluation at points, export, plot."""

    array: Array
    space: Space
    name: str = "field"

    def __post_init__(self) -> None:
        array = real_array(self.array, self.name)
        if array.shape != (self.space.size,):
            raise DataError(f"{self.name}: expected an array of shape ({self.space.size},), got {array.shape}.")
        object.__setattr__(self, "array", array)

    def __repr__(self) -> str:
        return f"<Field {self.name!r}, {self.array.size} values>"

    def __call__(self, points: Array) -> Array:
        """Values at points of shape (dim, n); raises DataError for points outside the domain.

        Under MPI all processes call it, each with its own points.
        """
        group, whole = self.space.group, self.gather()
        with group.agree():
            points = real_array(points, "points")
        parts = group.collect_on_root(points)

        def evaluate() -> list[Array]:
            return [whole._elements().evaluate(whole.array, part) for part in parts]

        if group.size == 1:
            return evaluate()[0]
        with group.agree():
            values = evaluate() if group.root else []
        return group.distribute(values)

    def gather(self) -> Field:
        """The whole function on a single process: on rank 0, where it is divided; an empty one on others."""
        return Field(self.space.gather(self.array), self.space.whole, self.name)

    def undivided(self) -> Field:
        """The whole function on every process, each of which may then call it alone."""
        return self if self.space.group.size == 1 else self.space.group.share(self.gather())

    def save(self, path: str | Path) -> Path:
        """Write the function to a file for ParaView, in the format of its ending, .vtu by default."""
        from .export import export

        return export({self.name: self}, path)

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the function; returns the matplotlib figure (on rank 0), written to `path` if one is given."""
        from .plot import draw

        return draw({self.name: self}, path)

    def finite_values(self) -> Array:
        """The values; raises DataError if some are NaN or infinite, as those of an unknown state are."""
        if not np.isfinite(self.array).all():
            raise DataError(f"{self.name} has values that are NaN or infinite.")
        return self.array

    def _elements(self) -> Lagrange:
        if self.space.elements is None:
            raise DataError(f"{self.name} is a vector of {self.space.size} numbers, not a function of space.")
        return self.space.elements


def check_fields(fields: Any, name: str) -> None:
    """Raise DataError unless fields are given by their names."""
    if not isinstance(fields, Mapping) or not all(isinstance(field, Field) for field in fields.values()):
        raise DataError(f"{name} takes fields by name, {{name: field}}.")
