"""Functions: vectors of a space with evaluation, files and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import Array, real_array
from .errors import DataError
from .mesh.lagrange import Lagrange
from .parallel import Group
from .space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        return self.space.evaluate(self.array, points, self.name)

    def at(self, t: float) -> Field:
        """The function of space at a time t, of one of space and time."""
        return Field(self.space.at(self.array, t), self.space.base, f"{self.name} at t = {t:g}")

    def gather(self) -> Field:
        """The whole function on a single process: on rank 0, where it is divided; an empty one on others."""
        return Field(self.space.gather(self.array), self.space.whole, self.name)

    def undivided(self) -> Field:
        """The whole function on every process, each of which may then call it alone."""
        return self if self.space.group.size == 1 else self.space.group.share(self.gather())

    def save(self, path: str | Path) -> Path:
        """Write the function to a file for ParaView, in the format of its ending, .vtu by default."""
        return export({self.name: self}, path)

    def plot(self, path: str | Path | None = None) -> Figure | None:
        """Draw the function; returns the matplotlib figure (on rank 0), written to `path` if one is given."""
        return draw({self.name: self}, path)

    @property
    def panel(self) -> tuple[Lagrange | None, Array]:
        """What figures and files know of it: elements and values, checked by `finite_values`."""
        if self.space.levels is not None:
            raise DataError(f"{self.name} depends on time: take {self.name}.at(t), at a time t.")
        return self.space.elements, self.finite_values()

    def finite_values(self) -> Array:
        """The values; raises DataError if some are NaN or infinite, as those of an unknown state are."""
        if not np.isfinite(self.array).all():
            raise DataError(f"{self.name} has values that are NaN or infinite.")
        return self.array


def draw(fields: Mapping[str, Field], path: str | Path | None = None) -> Figure | None:
    """Draw functions, a panel each; the figure (on rank 0) is written to `path` if one is given.

    Functions on solids are shown on a plane through the middle, functions on curves in the plane against arc length.

    Parameters
    ----------
    fields : the functions by title.
    path : file, its ending tells the format; folders on the way are made.

    Raises
    ------
    DataError
        If there is nothing to draw, or values are not finite.

    Examples
    --------
    >>> from pdecontrol.mesh.elements import cell_lagrange
    >>> from pdecontrol.mesh.shapes import unit_square
    >>> elements = cell_lagrange(unit_square(8), 1)
    >>> figure = draw({"x": Field(elements.points[0], Space(elements.lumped_mass(), elements))})
    >>> figure.axes[0].get_title()
    'x'
    """
    from . import plot

    group = _group(fields, "draw", "draw")
    whole = {title: field.gather() for title, field in fields.items()}
    return group.only_on_root(lambda: plot.draw({title: field.panel for title, field in whole.items()}, path))


def export(fields: Mapping[str, Field], path: str | Path) -> Path:
    """Write functions on the same cells to one file for ParaView and other viewers; returns its path.

    Nodal functions become point data, those that are constant on cells cell data; functions of degree 2 keep it.

    Parameters
    ----------
    fields : the functions by name.
    path : the ending tells the format: .vtu by default, .xdmf, which needs h5py, or any other of meshio, and on the
        distributed engine .bp (VTX), where dolfinx has it. There .xdmf and .bp are written by all processes at once,
        without h5py, controls as functions that vanish outside of their domain; other formats by rank 0. Folders on the
        way are made.

    Raises
    ------
    DataError
        If the functions are on different cells, are vectors of plain numbers, or the format is unknown or needs h5py,
        which is not there.

    Examples
    --------
    >>> export({"state": result.state, "adjoint": result.adjoint}, "state.vtu")    # doctest: +SKIP
    """
    from .export import write

    group = _group(fields, "export", "write")
    path = Path(group.share(str(path)))
    path = path if path.suffix else path.with_name(path.name + ".vtu")
    first, *others = (field.space for field in fields.values())
    if first.layout is not None and first.layout.write is not None and path.suffix in (".xdmf", ".bp"):
        group.on_root(lambda: path.parent.mkdir(parents=True, exist_ok=True))
        if any(space is not first for space in others):
            raise DataError("an .xdmf or .bp file takes functions of one space: write each to its own file.")
        with group.agree():
            arrays = {name: field.finite_values() for name, field in fields.items()}
        first.layout.write(path, arrays)
    else:
        whole = {name: field.gather() for name, field in fields.items()}
        group.only_on_root(lambda: write({name: field.panel for name, field in whole.items()}, path))
    return path


def _group(fields: Any, name: str, verb: str) -> Group:
    """The processes that share some fields, given by their names; raises DataError for anything else."""
    if not isinstance(fields, Mapping) or not all(isinstance(field, Field) for field in fields.values()):
        raise DataError(f"{name} takes fields by name, {{name: field}}.")
    if not fields:
        raise DataError(f"there is nothing to {verb}: give at least one field.")
    first: Field = next(iter(fields.values()))
    return first.space.group
