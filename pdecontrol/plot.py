"""Figures of fields and results; the one module that needs matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from .arrays import Array
from .errors import DataError
from .field import Field, check_fields
from .files import replacing
from .mesh.lagrange import Lagrange
from .result import Result

# Local nodes of the children of a quadratic interval and triangle.
_CHILDREN = {2: ((0, 2), (2, 1)), 3: ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5))}

_LINE, _BOUND = "#1f4e79", "#b2182b"
_SET_COLOURS = {"least": "#2166ac", "zero": "#e4e4e4", "other": "#f2c14e", "greatest": "#b2182b"}
_SLENDER = 4.0  # domains that are longer than so many widths are shown wider than they are
_PIXELS = 200  # along each side of a section through a solid


def draw(fields: Mapping[str, Field], path: str | Path | None = None) -> Figure | None:
    """Draw functions, a panel each; the figure is written to `path` if one is given.

    Under MPI all processes call it, and rank 0 draws.

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
    check_fields(fields, "draw")
    if not fields:
        raise DataError("there is nothing to draw: give at least one field.")
    group = next(iter(fields.values())).space.group
    whole = {title: field.gather() for title, field in fields.items()}
    with group.agree():
        return _draw(whole, path) if group.root else None


def _draw(fields: Mapping[str, Field], path: str | Path | None) -> Figure:
    columns = min(len(fields), 3)
    rows = -(-len(fields) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.5 * rows), layout="constrained")
    for number, (title, field) in enumerate(fields.items()):
        _draw_field(figure, (rows, columns, number + 1), title, field)
    return _written(figure, path)


def draw_result(result: Result, path: str | Path | None = None) -> Figure | None:
    """Draw state, control and adjoint, where the control is zero or at a bound, and the history of a result.

    Parameters
    ----------
    result : what was solved, or loaded from a file.
    path : file, its ending tells the format; folders on the way are made.

    Notes
    -----
    Bounds are dashed where the control is a graph, and marked where they are active. Circles on the state are the
    points of observations; those of solids are projected on the section.
    """
    whole = result.gather()
    with result.group.agree():
        return _draw_result(whole, path) if result.group.root else None


def _draw_result(result: Result, path: str | Path | None) -> Figure:
    fields = {"state $y$": result.state, "control $u$": result.control, "adjoint state $p$": result.adjoint}
    elements = result.control.space.elements
    with_sets = elements is not None and len(elements.simplices) > 1
    columns = 3 if with_sets else 2
    figure = Figure(figsize=(4.1 * columns, 7.2), layout="constrained")
    state, control, _ = (
        _draw_field(figure, (2, columns, number + 1), title, field)
        for number, (title, field) in enumerate(fields.items())
    )
    if result.sensors is not None:
        _draw_sensors(state, result.state, result.sensors)
    for bound in (result.lower, result.upper):
        if bound is not None and _is_graph(bound):
            _draw_bound(control, bound)
    if elements is not None and with_sets:
        _draw_sets(figure, (2, columns, 4), result, elements)
    _draw_history(figure.add_subplot(2, columns, (5, 6) if with_sets else 4), result)
    figure.suptitle(_headline(result), fontsize=11)
    return _written(figure, path)


class _Paint(NamedTuple):
    """How values become colours."""

    cmap: Colormap
    norm: Normalize


# Without the ends, which are nearly black.
_BLUE_TO_RED = LinearSegmentedColormap.from_list("blue_to_red", colormaps["RdBu_r"](np.linspace(0.06, 0.94, 65)))
_SETS = _Paint(ListedColormap(list(_SET_COLOURS.values())), Normalize(-0.5, 3.5))


def _paint(array: Array) -> _Paint:
    """Blue to red with zero in white for values of both signs, else the range of the values."""
    low, high = float(array.min()), float(array.max())
    size = max(-low, high)
    if low == high == 0.0 or (low < -1e-6 * size and high > 1e-6 * size):
        return _Paint(_BLUE_TO_RED, Normalize(-(size or 1.0), size or 1.0))
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = 0.5 * max(abs(low), abs(high))
        low, high = low - half, high + half
    return _Paint(colormaps["viridis"], Normalize(low, high))


def _is_graph(field: Field) -> bool:
    """Whether a function is drawn as a graph, against a number, a coordinate or arc length."""
    elements = field.space.elements
    return elements is None or len(elements.vertices) == 1 or len(elements.vertices) == len(elements.simplices) == 2


def _draw_field(figure: Figure, position: Any, title: str, field: Field) -> Axes:
    array, elements = field.finite_values(), field.space.elements
    kind = None if elements is None else (len(elements.vertices), len(elements.simplices) - 1)
    if elements is None:
        axes = _graph_axes(figure, position, "actuator")
        bars = axes.bar(np.arange(1, array.size + 1), array, color=_LINE, width=0.7)
        if array.size <= 12:
            axes.bar_label(bars, fmt="%.3g", fontsize=7, padding=2)
            axes.margins(y=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif kind == (1, 0):
        axes = _graph_axes(figure, position, "$x$")
        axes.stem(elements.points[0], array, linefmt=_LINE, basefmt=" ")
        axes.set_xlim(*_padded_range(elements.vertices[0]))
    elif kind == (1, 1):
        axes = _graph_axes(figure, position, "$x$")
        _draw_lines(axes, *_linear_pieces(elements, array))
    elif kind == (2, 1):
        axes = _graph_axes(figure, position, "")
        _draw_along(axes, elements, array)
    else:
        axes, colours = _draw_colours(figure, position, elements, array, _paint(array))
        if axes.name == "3d":
            bar = figure.colorbar(colours, ax=axes, shrink=0.7)
        else:
            shown = axes.get_aspect() * np.ptp(axes.get_ylim()) / np.ptp(axes.get_xlim())  # height over width
            wide = max(1.0, shown)
            bar = figure.colorbar(colours, cax=axes.inset_axes((1.0 + 0.05 * wide, 0.05, 0.04 * wide, 0.9)))
            if shown < 0.5:
                bar.locator = MaxNLocator(2)
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_visible(False)
        if isinstance(bar.formatter, ScalarFormatter):
            bar.formatter.set_powerlimits((-2, 3))
            bar.formatter.set_useMathText(True)
            bar.ax.yaxis.get_offset_text().set(fontsize=8, horizontalalignment="left")
            bar.update_ticks()
    axes.set_title(title + axes.get_title(), fontsize=10)
    return axes


def _draw_sensors(axes: Axes, state: Field, sensors: Array) -> None:
    """Mark the points of observations on the picture of a state."""
    x, y = (sensors[0], state(sensors)) if len(sensors) == 1 else sensors[:2]
    axes.plot(x, y, "o", markersize=4, markerfacecolor="white", markeredgecolor="black", label="sensors", zorder=5)
    axes.legend(fontsize=7, loc="best", framealpha=0.7)


def _draw_bound(axes: Axes, bound: Field) -> None:
    """Draw a bound of a control that is drawn as a graph, as far as it is in view."""
    array, elements = bound.array, bound.space.elements
    view = axes.get_ylim()
    if elements is None or len(elements.simplices) == 1:
        x = np.arange(1, array.size + 1) if elements is None else elements.points[0]
        finite = np.isfinite(array)
        axes.plot(x[finite], array[finite], "_", color=_BOUND, markersize=16)
    elif len(elements.vertices) == 1:
        _draw_lines(axes, *_linear_pieces(elements, array), _BOUND, "dashed")
    else:
        for _, x, values in _arcs(elements, array):
            _draw_lines(axes, np.stack([x[:-1], x[1:]])[None], values, _BOUND, "dashed")
    axes.set_ylim(view)


def _graph_axes(figure: Figure, position: Any, label: str) -> Axes:
    axes = figure.add_subplot(*position)
    axes.axhline(0.0, color="0.75", linewidth=0.8, zorder=0)
    axes.set_xlabel(label, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return axes


def _padded_range(x: Array) -> tuple[float, float]:
    margin = 0.05 * float(np.ptp(x))
    return float(x.min()) - margin, float(x.max()) + margin


def _linear_pieces(elements: Lagrange, array: Array) -> tuple[Array, Array]:
    """Simplices as points (dim, k + 1, m) with values (k + 1, m), those of degree 2 cut at the midpoints of edges."""
    corners = len(elements.simplices)
    if elements.degree < 2:
        values = array[elements.dofs] + np.zeros((corners, 1))
        return elements.vertices[:, elements.simplices], values
    dofs = np.hstack([elements.dofs[list(child)] for child in _CHILDREN[corners]])
    return elements.points[:, dofs], array[dofs]


def _draw_lines(axes: Axes, points: Array, values: Array, color: str = _LINE, style: str = "solid") -> None:
    segments = np.stack([points[0].T, values.T], axis=2)[np.isfinite(values).all(axis=0)]
    width, cap = (1.6, "round") if style == "solid" else (1.0, "butt")
    axes.add_collection(LineCollection(list(segments), colors=color, linewidths=width, capstyle=cap, linestyles=style))
    axes.autoscale_view()


def _draw_along(axes: Axes, elements: Lagrange, array: Array) -> None:
    """Draw a function on curves in the plane against arc length."""
    starts = []
    for start, x, values in _arcs(elements, array):
        _draw_lines(axes, np.stack([x[:-1], x[1:]])[None], values)
        if x[0] > 0.0:
            axes.axvline(x[0], color="0.6", linewidth=0.8, linestyle=":")
        starts.append(f"({start[0]:.3g}, {start[1]:.3g})")
    shown = ", then ".join(starts[:3]) + (", .." if len(starts) > 3 else "")
    axes.set_xlabel(f"arc length from {shown}", fontsize=9)


def _arcs(elements: Lagrange, array: Array) -> Iterator[tuple[Array, Array, Array]]:
    """For each curve its first point, the arc length at its vertices, and the values at the ends of its facets."""
    length = 0.0
    for path, facets in _chains(elements):
        corners = elements.vertices[:, path]
        x = length + np.insert(np.cumsum(np.linalg.norm(np.diff(corners), axis=0)), 0, 0.0)
        if elements.degree == 0:
            values = np.repeat(array[elements.dofs[0, facets]][None], 2, axis=0)
        else:
            nodal = elements.nodal(array)[path]
            values = np.stack([nodal[:-1], nodal[1:]])
        yield corners[:, 0].round(9) + 0.0, x, values
        length = float(x[-1])


def _chains(elements: Lagrange) -> list[tuple[list[int], list[int]]]:
    """The curves that facets form, each as its vertices and facets in order; closed ones run anticlockwise."""
    facets_at: dict[int, list[int]] = {}
    for facet, ends in enumerate(elements.simplices.T.tolist()):
        for vertex in ends:
            facets_at.setdefault(vertex, []).append(facet)
    # Curves with ends start there; what is left is closed and starts at its lowest corner on the left.
    starts = sorted(facets_at, key=lambda v: (len(facets_at[v]) == 2, *elements.vertices[:, v].tolist()))
    chains = []
    for start in starts:
        while facets_at[start]:
            path, facets = [start], []
            while facets_at[path[-1]]:
                facet = facets_at[path[-1]][0]
                a, b = elements.simplices[:, facet].tolist()
                facets_at[a].remove(facet)
                facets_at[b].remove(facet)
                path.append(b if path[-1] == a else a)
                facets.append(facet)
            x, y = elements.vertices[:, path]
            if path[0] == path[-1] and np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) < 0:
                path, facets = path[::-1], facets[::-1]
            chains.append((path, facets))
    return chains


def _draw_colours(figure: Figure, position: Any, elements: Lagrange, array: Array, paint: _Paint) -> tuple[Any, Any]:
    """Draw a function by colours: on intervals, curves and surfaces, in the plane, on a section through a solid."""
    kind = (len(elements.vertices), len(elements.simplices) - 1)
    axes: Any = figure.add_subplot(*position, projection="3d" if kind == (3, 2) else None)
    axes.tick_params(labelsize=8)
    if kind == (3, 3):
        return axes, _draw_section(axes, elements, array, paint)
    points, values = _linear_pieces(elements, array)
    style: dict[str, Any] = {"cmap": paint.cmap, "norm": paint.norm}
    if kind == (1, 1):
        left, right = points[0]
        bars = np.array([[left, 0 * left], [right, 0 * left], [right, 1 + 0 * left], [left, 1 + 0 * left]])
        colours: Any = PolyCollection(list(bars.transpose(2, 0, 1)), array=values[0], **style)
        axes.add_collection(colours)
        axes.set_yticks([])
        axes.set_xlim(*_padded_range(elements.vertices[0]))
        return axes, colours
    low, high = elements.vertices.min(axis=1), elements.vertices.max(axis=1)
    if kind == (2, 1):
        colours = LineCollection(list(points.transpose(2, 1, 0)), array=values.mean(axis=0), linewidths=5, **style)
        axes.add_collection(colours)
        axes.margins(0.05)
    elif kind == (3, 2):
        colours = ScalarMappable(**style)
        faces = colours.to_rgba(values.mean(axis=0))
        axes.add_collection3d(
            Poly3DCollection(points.transpose(2, 1, 0), facecolors=faces, edgecolors=faces, linewidths=0.2)
        )
        flat = (high - low).max() * 0.1  # a face has no extent along its normal
        middle, half = (low + high) / 2, np.maximum(high - low, flat) / 2
        low, high = middle - half, middle + half
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
        axes.set_box_aspect(np.maximum(high - low, (high - low).max() / _SLENDER))
        _limit_ticks(axes, high - low)
        return axes, colours
    else:
        corners = points.reshape(2, -1)
        triangles = np.arange(corners.shape[1]).reshape(3, -1).T
        if elements.degree == 0:
            colours = axes.tripcolor(*corners, triangles, facecolors=values[0], rasterized=True, **style)
        else:
            style["shading"] = "gouraud"
            colours = axes.tripcolor(*corners, triangles, values.ravel(), rasterized=True, **style)
        axes.margins(0.0)
    axes.update_datalim(elements.vertices.T)
    axes.autoscale_view()
    _set_aspect(axes, high - low)
    return axes, colours


def _set_aspect(axes: Axes, extents: Array) -> None:
    """Show a plane domain as it is, or a slender one wider."""
    flat = extents.max() / _SLENDER if extents.min() == 0.0 else 0.0  # a straight side has no extent along its normal
    width, height = np.maximum(extents, flat)
    ratio = float(height / width)
    axes.set_aspect(np.clip(ratio, 1 / _SLENDER, _SLENDER) / ratio)
    _limit_ticks(axes, extents)


def _limit_ticks(axes: Any, extents: Array) -> None:
    """Few ticks on short sides, so that their labels do not overlap."""
    for name, extent in zip("xyz", extents, strict=False):
        axes.locator_params(axis=name, nbins=max(1, math.floor(5 * extent / extents.max())))


def _draw_section(axes: Axes, elements: Lagrange, array: Array, paint: _Paint) -> Any:
    """Draw a function of a solid on the plane through its middle, normal to the last axis."""
    low, high = elements.vertices.min(axis=1), elements.vertices.max(axis=1)
    middle = 0.5 * (low[2] + high[2])
    # Off the faces of cells that lie in the plane: there a function that is constant on cells has two values.
    height = middle + 1e-6 * (high[2] - low[2])
    heights = elements.vertices[2, elements.simplices]
    elements, array = _restricted(elements, array, (heights.min(axis=0) <= height) & (heights.max(axis=0) >= height))
    cut = elements.vertices[:2, elements.simplices].reshape(2, -1)
    left, right = cut.min(axis=1), cut.max(axis=1)
    x, y = (a + (np.arange(_PIXELS) + 0.5) / _PIXELS * (b - a) for a, b in zip(left, right, strict=True))
    grid = np.stack([*(a.ravel() for a in np.meshgrid(x, y)), np.full(_PIXELS**2, height)])
    values = np.full(_PIXELS**2, np.nan)
    inside = elements.contains(grid)
    values[inside] = elements.evaluate(array, grid[:, inside])
    axes.set_title(f" at x[2] = {middle:.4g}")
    image = axes.imshow(
        values.reshape(_PIXELS, _PIXELS),
        origin="lower",
        extent=(left[0], right[0], left[1], right[1]),
        interpolation="nearest",
        cmap=paint.cmap,
        norm=paint.norm,
    )
    _set_aspect(axes, right - left)
    return image


def _restricted(elements: Lagrange, array: Array, chosen: Array) -> tuple[Lagrange, Array]:
    """The function on some of the simplices."""
    used, dofs = np.unique(elements.dofs[:, chosen], return_inverse=True)
    shape = (len(elements.dofs), -1)
    part = Lagrange(elements.vertices, elements.simplices[:, chosen], dofs.reshape(shape), elements.degree)
    return part, array[used]


def _draw_sets(figure: Figure, position: Any, result: Result, elements: Lagrange) -> None:
    """Draw where a control is exactly zero, and where it is at its bounds."""
    u, space = result.control.array, result.control.space
    classes = np.full(u.size, 2)
    labels = {1: "$u = 0$", 2: "other values"}
    classes[u == 0.0] = 1
    for number, bound, name in ((0, result.lower, "lower"), (3, result.upper, "upper")):
        active = np.zeros(u.size, dtype=bool) if bound is None else u == bound.array
        if active.any():
            classes[active] = number
            value = u[active][0]
            constant = bool((u[active] == value).all())
            labels[number] = f"$u = {value:.4g}$ ({name} bound)" if constant else f"$u$ at the {name} bound"
    pieces, owners = (elements, elements.dofs[0]) if elements.degree == 0 else _nodal_pieces(elements)
    axes, _ = _draw_colours(figure, position, pieces, classes[owners], _SETS)
    whole = space.integral(np.ones(u.size))
    handles = []
    for number, colour in enumerate(_SET_COLOURS.values()):
        share = space.integral(1.0 * (classes == number)) / whole
        if share:
            percent = f"{100 * share:.1f}" if share >= 5e-4 else "< 0.1"
            handles.append(Patch(color=colour, label=f"{labels[number]}: {percent} %"))
    axes.set_title("where $u$ is zero or at a bound" + axes.get_title(), fontsize=10)
    axes.legend(
        handles=handles, fontsize=8, ncols=2, columnspacing=1.2, handlelength=1.2, frameon=False,
        loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=2.4,
    )  # fmt: skip


def _nodal_pieces(elements: Lagrange) -> tuple[Lagrange, Array]:
    """Simplices cut at their barycentres into pieces that belong to one node each, and these nodes.

    The pieces of a node have the volume that the lumped mass gives it.
    """
    points, owners = [], []
    corners = elements.vertices[:, elements.simplices]
    for order in permutations(range(len(elements.simplices))):
        ordered = corners[:, order, :]
        counts = np.arange(1, len(order) + 1)[None, :, None]
        points.append(np.cumsum(ordered, axis=1) / counts)
        owners.append(elements.dofs[order[0]])
    vertices = np.concatenate(points, axis=2)
    simplices = np.arange(vertices[0].size).reshape(vertices[0].shape)
    cells = np.arange(simplices.shape[1])[None]
    return Lagrange(vertices.reshape(len(vertices), -1), simplices, cells, 0), np.concatenate(owners)


def _draw_history(axes: Axes, result: Result) -> None:
    """Draw the estimate of every iteration and the certified bounds against the PDE solves they took."""
    history, certificate = result.history, result.certificate
    by_gap = certificate.bound is None
    unit = 1.0 if by_gap or certificate.norm == 0.0 else certificate.norm
    solves = history["solves"]
    estimate, bound = history["estimate"] / unit, history["bound"] / unit
    known = np.isfinite(estimate) & (estimate > 0)
    certified = np.isfinite(bound) & (bound > 0)
    shown = [result.tol, *estimate[known], *bound[certified]]
    axes.set_yscale("log")
    axes.set_ylim(min(shown) / (500.0 if (bound == 0.0).any() else 5.0), max(shown) * 5.0)
    axes.set_xlim(0, 1.03 * max(solves, default=1.0))
    axes.plot(solves[known], estimate[known], ".-", color=_LINE, linewidth=1.4, markersize=3, label="free estimate")
    axes.plot(solves[certified], bound[certified], "o", color=_SET_COLOURS["greatest"], label="certified", markersize=6)
    for reached in solves[bound == 0.0]:
        axes.annotate("certified: 0", (reached, 0.0), (-4, 14), xycoords=axes.get_xaxis_transform(), ha="right",
                      textcoords="offset points", fontsize=8, arrowprops={"arrowstyle": "->"})  # fmt: skip
    axes.axhline(result.tol, color="0.4", linewidth=1, linestyle="--", label="tolerance")
    axes.set_title("relative duality gap" if by_gap else r"distance to the optimum, $\|u-u^*\|/\|u\|$", fontsize=10)
    axes.set_xlabel("PDE solves", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="best")


def _headline(result: Result) -> str:
    """The method, how good the control is, the objective and the effort."""
    certificate = result.certificate
    if certificate.optimal:
        quality = "$u = 0$ shown optimal"
    elif certificate.relative == 0.0:
        quality = "certified $u = u^*$ up to rounding"
    elif certificate.relative is not None:
        quality = rf"certified $\|u-u^*\| \leq {_rounded_up(certificate.relative)}\,\|u\|$"
    elif certificate.relative_gap is not None:
        quality = rf"certified $J(u)-J(u^*) \leq {_rounded_up(certificate.relative_gap)}\,|J(u)|$"
    else:
        quality = "no certificate"
    method = result.method.split(" (")[0]
    return f"{method}: {quality},  $J = {_tex(f'{result.objective:.7g}')}$,  {result.solves['total']:.0f} PDE solves"


def _rounded_up(bound: float) -> str:
    """A positive bound to two digits."""
    unit = 10.0 ** (math.floor(math.log10(bound)) - 1)
    return _tex(f"{math.ceil(bound / unit) * unit:.1e}")


def _tex(number: str) -> str:
    digits, _, exponent = number.partition("e")
    return rf"{digits} \times 10^{{{int(exponent)}}}" if exponent else digits


def _written(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        path = Path(path)
        if path.suffix.removeprefix(".") not in figure.canvas.get_supported_filetypes():
            raise DataError(f"{path}: matplotlib does not write this format; take .png, .pdf or .svg.")
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=200)
    return figure
