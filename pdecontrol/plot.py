"""Figures of fields and results, and files for ParaView; the one module that needs matplotlib and meshio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import meshio
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, ListedColormap, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from .errors import DataError
from .lagrange import Lagrange
from .result import Result
from .space import Array, Field

_CELL_TYPES = {
    (1, 0): "vertex", (2, 0): "line", (3, 0): "triangle", (4, 0): "tetra",
    (1, 2): "vertex", (2, 2): "line3", (3, 2): "triangle6", (4, 2): "tetra10",
}  # fmt: skip

_LINE = "#1f4e79"
_COLOURS = {"least": "#2166ac", "zero": "#e6e6e6", "other": "#f2c14e", "greatest": "#b2182b"}
_SLICE = 240  # pixels along the longer side of a section through a solid


def draw(fields: Mapping[str, Field], path: str | Path | None = None) -> Figure:
    """Draw functions, a panel each; the figure is written to `path` if one is given.

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
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(lambda x: x[0]),
    ...     terms=[pc.Tikhonov(1e-2)],
    ... )
    >>> result = pc.solve(problem, pc.unit_square(8))
    >>> figure = draw({"state": result.state, "control": result.control})
    >>> [axes.get_title() for axes in figure.axes][:2]
    ['state', 'control']
    """
    if not fields:
        raise DataError("there is nothing to draw: give at least one field.")
    columns = min(len(fields), 3)
    rows = -(-len(fields) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.5 * rows), layout="constrained")
    for number, (title, field) in enumerate(fields.items()):
        _panel(figure, (rows, columns, number + 1), title, field)
    return _written(figure, path)


def draw_result(result: Result, path: str | Path | None = None) -> Figure:
    """Draw state, control and adjoint, where the control is zero or extreme, and the history of a result.

    Parameters
    ----------
    result : what was solved, or loaded from a file.
    path : file, its ending tells the format; folders on the way are made.

    Notes
    -----
    A result does not know the bounds of its problem. Values of the control that are exactly its least or greatest and
    taken more than once are marked as that: they are those at the bounds where these are constant and active.
    """
    fields = {"state $y$": result.state, "control $u$": result.control, "adjoint state $p$": result.adjoint}
    if result.control.space.elements is None:
        rows, columns, last = 2, 2, (2, 2, 4)
    else:
        rows, columns, last = 2, 3, (2, 3, (5, 6))
    figure = Figure(figsize=(4.1 * columns, 3.5 * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    for number, (title, field) in enumerate(fields.items()):
        _panel(figure, (rows, columns, number + 1), title, field)
    if result.control.space.elements is not None:
        _draw_sets(figure, (rows, columns, 4), result.control)
    _draw_history(figure.add_subplot(*last), result)
    figure.suptitle(_headline(result), fontsize=11)
    return _written(figure, path)


def export(fields: Mapping[str, Field], path: str | Path) -> Path:
    """Write functions on the same cells to one file for ParaView and other viewers; returns its path.

    Nodal functions become point data, those that are constant on cells cell data; functions of degree 2 keep it.

    Parameters
    ----------
    fields : the functions by name.
    path : the ending tells the format, .vtu by default or any other of meshio; folders on the way are made.

    Raises
    ------
    DataError
        If the functions are on different cells, are vectors of plain numbers, or the format is unknown.

    Examples
    --------
    >>> export({"state": result.state, "adjoint": result.adjoint}, "state.vtu")    # doctest: +SKIP
    """
    path = Path(path)
    path = path if path.suffix else path.with_name(path.name + ".vtu")
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = _meshio_mesh(fields)
    try:
        meshio.write(path, mesh)
    except (meshio.WriteError, meshio.ReadError, KeyError) as error:
        raise DataError(f"{path}: meshio cannot write this format ({error}); take .vtu, .vtk or .xdmf.") from None
    return path


def _meshio_mesh(fields: Mapping[str, Field]) -> meshio.Mesh:
    if not fields:
        raise DataError("there is nothing to write: give at least one field.")
    spaces = {name: field._elements() for name, field in fields.items()}
    frame = max(spaces.values(), key=lambda elements: elements.degree)
    for name, elements in spaces.items():
        same = np.array_equal(elements.vertices, frame.vertices) and np.array_equal(
            elements.simplices, frame.simplices
        )
        if not same:
            raise DataError(f"{name} lives on other cells than the other fields: write it to a file of its own.")
    if frame.degree == 2:
        used, cells = np.unique(frame.dofs, return_inverse=True)
        points = frame.points[:, used]
    else:
        used, cells = np.unique(frame.simplices, return_inverse=True)
        points = frame.vertices[:, used]
    cells = cells.reshape(-1, frame.simplices.shape[1])
    point_data, cell_data = {}, {}
    for name, field in fields.items():
        elements, array = spaces[name], _finite(field)
        if elements.degree == 0:
            cell_data[name] = [array[elements.dofs[0]]]
        else:
            point_data[name] = np.zeros(points.shape[1])
            point_data[name][cells] = _local(elements, array, len(cells))
    padded = np.zeros((points.shape[1], 3))
    padded[:, : len(points)] = points.T
    kind = _CELL_TYPES[len(frame.simplices), 2 if frame.degree == 2 else 0]
    return meshio.Mesh(padded, [(kind, cells.T)], point_data, cell_data)


def _local(elements: Lagrange, array: Array, count: int) -> Array:
    """Values at the corners of each simplex and, where count asks for them, at the midpoints of its edges."""
    values = array[elements.dofs]
    if len(values) < count:
        values = np.vstack([values, *((values[i] + values[j]) / 2 for i, j in elements._edges)[None]])
    return values
