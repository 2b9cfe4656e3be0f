"""Figures of functions: graphs against a number, a coordinate or arc length, and colours elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from ..arrays import Array
from ..errors import DataError
from ..files import replacing
from ..mesh.lagrange import Lagrange
from ..times import Times
from .colours import draw_colours, linear_pieces, padded_range, painted

LINE, BOUND = "#1f4e79", "#b2182b"
CYCLE = (LINE, "#d9822b", "#2e8b57", "#7b4ea3", "#3aa6b9", "#8c6d31", "#d1578f", "#5a5a5a")

# A function: its elements, none for plain numbers, and coefficients; rows of these with their times, where it has such.
Panel = tuple[Lagrange | None, Array, Times | None]


def draw_panel(figure: Any, position: Any, title: str, panel: Panel, scale: Array | None = None) -> Axes:
    """Draw a function of space on new axes of a figure, with the range of `scale`, by default of its own values."""
    elements, array, _ = panel
    kind = None if elements is None else (len(elements.vertices), len(elements.simplices) - 1)
    if elements is None:
        axes = graph_axes(figure, position, "actuator")
        bars = axes.bar(np.arange(1, array.size + 1), array, color=LINE, width=0.7)
        if array.size <= 12:
            axes.bar_label(bars, fmt="%.3g", fontsize=7, padding=2)
            axes.margins(y=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif kind == (1, 0):
        axes = graph_axes(figure, position, "$x$")
        axes.stem(elements.points[0], array, linefmt=LINE, basefmt=" ")
        axes.set_xlim(*padded_range(elements.vertices[0]))
    elif kind == (1, 1):
        axes = graph_axes(figure, position, "$x$")
        _draw_lines(axes, *linear_pieces(elements, array))
    elif kind == (2, 1):
        axes = graph_axes(figure, position, "")
        _draw_along(axes, elements, array)
    else:
        axes, colours = draw_colours(figure, position, elements, array, painted(array if scale is None else scale))
        add_colour_bar(figure, axes, colours)
        scale = None
    if scale is not None:
        low, high = min(0.0, float(scale.min())), max(0.0, float(scale.max()))
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low) or 1.0)
    axes.set_title(title + axes.get_title(), fontsize=10)
    return axes


def draw_bound(axes: Axes, elements: Lagrange | None, array: Array) -> None:
    """Draw a bound of a function that is drawn as a graph, as far as it is in view; others have none."""
    view = axes.get_ylim()
    if elements is None or len(elements.simplices) == 1:
        x = np.arange(1, array.size + 1) if elements is None else elements.points[0]
        finite = np.isfinite(array)
        axes.plot(x[finite], array[finite], "_", color=BOUND, markersize=16)
    elif len(elements.vertices) == 1:
        _draw_lines(axes, *linear_pieces(elements, array), BOUND, "dashed")
    elif len(elements.vertices) == len(elements.simplices) == 2:
        for _, x, values in _arcs(elements, np.where(np.isfinite(array), array, np.nan)):
            ends = np.stack([x[:-1], x[1:]])  # one line, so that dashes go on from facet to facet
            _draw_lines(axes, ends.T.reshape(1, -1, 1), values.T.reshape(-1, 1), BOUND, "dashed")
    axes.set_ylim(view)


def add_colour_bar(figure: Any, axes: Any, colours: Any) -> None:
    """Explain the colours on axes beside them."""
    if axes.name == "3d":
        bar = figure.colorbar(colours, ax=axes, shrink=0.7)
    else:
        own = axes.get_aspect() != "auto"
        shown = (
            axes.get_aspect() * np.ptp(axes.get_ylim()) / np.ptp(axes.get_xlim()) if own else 1.0
        )  # height over width
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


def graph_axes(figure: Any, position: Any, label: str) -> Axes:
    """New axes for a graph against what the label says."""
    axes = figure.add_subplot(*position)
    axes.axhline(0.0, color="0.75", linewidth=0.8, zorder=0)
    axes.set_xlabel(label, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return axes


def _draw_lines(axes: Axes, points: Array, values: Array, color: str = LINE, style: str = "solid") -> None:
    segments = np.stack([points[0].T, values.T], axis=2)[np.isfinite(values).any(axis=0)]
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
        starts.append(start)
    axes.set_xlabel(_from(starts), fontsize=9)


def along(elements: Lagrange) -> tuple[float, Array, Array, str]:
    """The length of curves in the plane, the arc lengths (2, m) at the ends of facets and their dofs, and a label."""
    ends, dofs, starts = [], [], []
    numbers = np.arange(float(elements.size))
    for start, x, values in _arcs(elements, numbers):
        ends.append(np.stack([x[:-1], x[1:]]))
        dofs.append(values.astype(int))
        starts.append(start)
    return float(ends[-1][1, -1]), np.hstack(ends), np.hstack(dofs), _from(starts)


def _from(starts: list[Array]) -> str:
    """From where arc lengths are measured."""
    corners = [f"({start[0]:.3g}, {start[1]:.3g})" for start in starts]
    return f"arc length from {', then '.join(corners[:3]) + (', ..' if len(corners) > 3 else '')}"


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


def written(figure: Figure, path: str | Path | None) -> Figure:
    """The figure, written to a file if one is given, whose ending tells the format."""
    if path is not None:
        path = Path(path)
        if path.suffix.removeprefix(".") not in figure.canvas.get_supported_filetypes():
            raise DataError(f"{path}: matplotlib does not write this format; take .png, .pdf or .svg.")
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=200)
    return figure
