"""Functions: vectors of a space with evaluation, files and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import Array, Indices, real_array, undivided
from .errors import DataError
from .evaluable import Evaluable, Frozen, Sided
from .files import discard, settle, stage
from .parallel import Group
from .space import Space
from .times import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .plot import Panel


@dataclass(frozen=True, eq=False)
class Field:
    """A function of a space: values, evaluation at points, export, plot.

    Where it has a `function`, its values and gradients at points are those of the function, at all times, and the
    vector has the values at the nodes alone. Figures and files have these alone; `Result.save` says what it keeps.
    """

    array: Array
    space: Space
    name: str = "field"
    function: Evaluable | None = None

    def __post_init__(self) -> None:
        array = real_array(self.array, self.name)
        if array.shape != (self.space.size,):
            raise DataError(f"{self.name}: expected an array of shape ({self.space.size},), got {array.shape}.")
        object.__setattr__(self, "array", array)

    def __repr__(self) -> str:
        return f"<Field {self.name!r}, {self.array.size} values>"

    def __call__(self, points: Array, t: float | None = None, *, side: str | None = None) -> Array:
        """Values at points of shape (dim, n), of functions of time at a time t, a number; see `at`.

        Parameters
        ----------
        points : in the domain of the function.
        t : of functions of time alone.
        side : the tag of a part of the mesh, such as "inside": the values are those of the function on this part, in it
            and on its edge, and a little beyond, to points of a curve that the edge approximates. So they are near the
            facets, with the tag of the boundary or interface that a control is on. Without a side, at points of an
            interface, they are those of its outer side.

        Raises DataError for points outside the domain, or the part, and for times where there are no values. Under MPI
        all processes call it, each with its own points, and with the same time and side.

        Examples
        --------
        >>> result.state(points_of_gamma, side="outside")    # doctest: +SKIP
        """
        if self.function is not None:
            return self._known(self.function.evaluate, points, t, side)
        return self.space.evaluate(self.array, points, self.name, t, side)

    def gradient(self, points: Array, t: float | None = None, *, side: str | None = None) -> Array:
        """Gradients (dim, n) at points, of functions on cells; the parameters are those of values.

        Between cells, where gradients of finite elements jump, they are those in one of the cells.

        Examples
        --------
        >>> from pdecontrol.mesh.elements import cell_lagrange
        >>> from pdecontrol.mesh.shapes import unit_square
        >>> elements = cell_lagrange(unit_square(4), 1)
        >>> first = Field(elements.points[0], Space(elements.lumped_mass(), elements))
        >>> first.gradient(np.array([[0.3], [0.6]])).round(12).tolist()
        [[1.0], [0.0]]
        """
        if self.function is not None:
            return self._known(self.function.gradient, points, t, side)
        return self.space.gradient(self.array, points, self.name, t, side)

    def _known(self, take: Callable[..., Array], points: Array, t: float | None, side: str | None) -> Array:
        """What is known everywhere, at points, and at a time where it depends on that."""
        self.space.check_time([t], self.name)
        return take(real_array(points, "points"), None if t is None else number(t), side)

    def on_sides(self, members: Mapping[str, Indices]) -> Sided:
        """The function as data: at points of which `members` has those of each part, it has the values on that side."""
        return Sided(self, members)

    @property
    def takes_time(self) -> bool:
        """Whether it is a function of space and time."""
        return self.space.levels is not None

    def at(self, t: float) -> Field:
        """The function of space at a time t, of one of space and time; raises DataError where there are no values.

        Between the times of its space it is linear, or constant on intervals, as controls are (see `Space.over`); its
        `function` is taken at t itself.
        """
        array = self.space.at(self.array, t)
        frozen = None if self.function is None else Frozen(self.function, float(t))
        return Field(array, self.space.base, f"{self.name} at t = {t:g}", frozen)

    def gather(self) -> Field:
        """The whole function on a single process: on rank 0, where it is divided; an empty one on others."""
        function = getattr(self.function, "gather", lambda: self.function)()
        return Field(self.space.gather(self.array), self.space.whole, self.name, function)

    def undivided(self) -> Field:
        """The whole function on every process, each of which may then call it alone."""
        group, nodal = self.space.group, replace(self, function=None)
        return self if group.size == 1 else replace(group.share(nodal.gather()), function=undivided(self.function))

    def save(self, path: str | Path) -> Path:
        """Write the function to a file for ParaView, in the format of its ending (see `export`)."""
        return export({self.name: self}, path)

    def plot(self, path: str | Path | None = None) -> Figure | None:
        """Draw the function; returns the matplotlib figure (on rank 0), written to `path` if one is given."""
        return draw({self.name: self}, path)

    def animate(self, path: str | Path) -> Path:
        """Write a function of time as an animation, a .gif file (see `animate`)."""
        return animate({self.name: self}, path)

    @property
    def panel(self) -> Panel:
        """What figures know of it: elements, values checked by `finite_values`, and times with a row of values each."""
        array, levels = self.space.coefficients(self.finite_values()), self.space.levels
        return self.space.base.elements, array, None if levels is None else levels.times

    def finite_values(self) -> Array:
        """The values; raises DataError if some are NaN or infinite, as those of an unknown state are."""
        if not np.isfinite(self.array).all():
            raise DataError(f"{self.name} has values that are NaN or infinite.")
        return self.array


def draw(fields: Mapping[str, Field], path: str | Path | None = None) -> Figure | None:
    """Draw functions, a panel each; the figure (on rank 0) is written to `path` if one is given.

    Functions on solids are shown on a plane through the middle, functions on curves in the plane against arc length.
    Functions of time are shown at five times with the same colours; where space has one dimension, or is a curve, in an
    image with time upwards; and a few numbers as curves against time.

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


def animate(fields: Mapping[str, Field], path: str | Path) -> Path:
    """Write functions of time as an animation, a .gif file of at most 60 frames; returns its path.

    The scale is the same for all times, and progress is printed on terminals. Values between the times of a function
    are those of `Field.at`; before the first of them and after the last it stands still.

    Parameters
    ----------
    fields : the functions by title; one of them at least depends on time.
    path : a .gif file; folders on the way are made. It is written whole or not at all.

    Raises
    ------
    DataError
        If nothing depends on time, values are not finite, or the ending is another.

    Examples
    --------
    >>> animate({"state": result.state, "control": result.control}, "heat.gif")    # doctest: +SKIP
    """
    from . import plot

    group = _group(fields, "animate", "animate")
    path = Path(group.share(str(path)))
    whole = {title: field.gather() for title, field in fields.items()}
    group.only_on_root(lambda: plot.animate({title: field.panel for title, field in whole.items()}, path))
    return path


def export(fields: Mapping[str, Field], path: str | Path) -> Path:
    """Write functions on the same cells to one file for ParaView and other viewers; returns its path.

    Nodal functions become point data, those that are constant on cells cell data; functions of degree 2 keep it. Those
    of time are written at their times, which must be the same.

    Parameters
    ----------
    fields : the functions by name.
    path : the ending tells the format: .vtu by default, .xdmf, or any other of meshio; .pvd by default for functions of
        time, a list of .vtu files in a folder beside it, or .xdmf; and on the distributed engine .bp (VTX), where
        dolfinx has it. There .xdmf and .bp are written by all processes at once, controls as functions that vanish
        outside of their domain; other formats by rank 0. Folders on the way are made. Files are written whole or not
        at all.

    Raises
    ------
    DataError
        If the functions are on different cells or have different times, are vectors of plain numbers, or the format is
        unknown or needs h5py, which is not there.

    Examples
    --------
    >>> export({"state": result.state, "adjoint": result.adjoint}, "state.vtu")    # doctest: +SKIP
    """
    group = _group(fields, "export", "write")
    path = Path(group.share(str(path)))
    times = _times(fields)
    path = path if path.suffix else path.with_name(path.name + (".vtu" if times is None else ".pvd"))
    first, *others = (field.space.base for field in fields.values())
    if first.layout is not None and first.layout.write is not None and path.suffix in (".xdmf", ".bp"):
        if any(space is not first for space in others):
            raise DataError("an .xdmf or .bp file takes functions of one space: write each to its own file.")
        with group.agree():
            frames = [
                (t, {name: field.finite_values() for name, field in frame.items()})
                for t, frame in _frames(fields, times)
            ]
        staged = group.on_root(lambda: stage(path))
        try:
            first.layout.write(staged, frames)
            group.on_root(lambda: settle(staged, path))
        finally:
            if group.root:
                discard(staged)
    else:
        whole = {name: field.gather() for name, field in fields.items()}
        group.only_on_root(lambda: _write(whole, times, path))
    return path


def _write(fields: Mapping[str, Field], times: Array | None, path: Path) -> None:
    """Write whole functions to one file."""
    from .export import write

    for field in fields.values():
        field.finite_values()
    frames = _frames(fields, times)
    write([(t, {name: f.panel[:2] for name, f in frame.items()}) for t, frame in frames], path)


def _times(fields: Mapping[str, Field]) -> Array | None:
    """The times of functions, None where there are none; raises DataError where they differ."""
    of_time = {name: field.space.times for name, field in fields.items() if field.takes_time}
    if not of_time:
        return None
    first, times = next(iter(of_time.items()))
    other = next((name for name, own in of_time.items() if not np.array_equal(own, times)), None)
    if other is not None:
        raise DataError(f"{other} has other times than {first}: write it to its own file.")
    return times


def _frames(fields: Mapping[str, Field], times: Array | None) -> list[tuple[float, dict[str, Field]]]:
    """The functions of space at each time; without time, they are at t = 0."""
    if times is None:
        return [(0.0, dict(fields))]
    return [
        (t, {name: field.at(t) if field.takes_time else field for name, field in fields.items()})
        for t in times.tolist()
    ]


def _group(fields: Any, name: str, verb: str) -> Group:
    """The processes that share some fields, given by their names; raises DataError for anything else."""
    if not isinstance(fields, Mapping) or not all(isinstance(field, Field) for field in fields.values()):
        raise DataError(f"{name} takes fields by name, {{name: field}}.")
    if not fields:
        raise DataError(f"there is nothing to {verb}: give at least one field.")
    first: Field = next(iter(fields.values()))
    return first.space.group
