"""Functions of time: strips of times, images of space and time, graphs against time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..arrays import Array
from ..mesh.lagrange import Lagrange
from ..times import Times
from .colours import Paint, draw_colours, painted
from .panels import BOUND, CYCLE, LINE, Panel, add_colour_bar, along, draw_panel, graph_axes

COLUMNS = 5  # times in a strip
_CURVES = 8  # numbers that are drawn as curves; more of them are an image
_PIXELS = 400  # along each side of an image of space and time


def in_strips(panel: Panel) -> bool:
    """Whether a function is one of time on a surface or a solid, which takes a row of a figure."""
    elements, _, times = panel
    return elements is not None and len(elements.simplices) > 2 and times is not None and times.levels.size > 1


def in_curves(panel: Panel) -> bool:
    """Whether a function is drawn as curves against time: a few numbers."""
    elements, rows, times = panel
    few = rows.shape[-1] <= _CURVES and (elements is None or len(elements.simplices) == 1)
    return few and times is not None and times.levels.size > 1


def draw_any(figure: Any, position: Any, title: str, panel: Panel, classes: Paint | None = None) -> Axes:
    """Draw a function that is not `in_strips` on new axes of a figure; of classes each point has that of its node."""
    elements, rows, times = panel
    if times is None:
        return draw_panel(figure, position, title, panel)
    if times.levels.size == 1:
        return draw_panel(figure, position, f"{title}, $t = {times.levels[0]:.3g}$", (elements, rows[0], None))
    if in_curves(panel):
        return _draw_curves(figure, position, title, panel, times)
    return _draw_image(figure, position, title, panel, times, classes)


def draw_strip(figure: Any, title: str, panel: Panel, classes: Paint | None = None) -> list[Axes]:
    """Draw a function at times from the first to the last on a row of axes, with colours that are the same for all."""
    elements, rows, times = panel
    assert elements is not None and times is not None
    paint, shown = classes or painted(rows), []
    for number, level in enumerate(chosen(times)):
        axes, colours = draw_colours(figure, (1, COLUMNS, number + 1), elements, rows[level], paint)
        where = axes.get_title()
        axes.set_title(f"$t = {times.levels[level]:.3g}$", fontsize=9)
        axes.tick_params(labelsize=7)
        if number and axes.name != "3d":
            axes.tick_params(labelleft=False)
        shown.append(axes)
    if classes is None:
        add_colour_bar(figure, shown[-1], colours)
    figure.supylabel("\n".join(filter(None, [title, where.strip()])), fontsize=10)
    return shown


def chosen(times: Times) -> list[int]:
    """The levels in a strip: those nearest to times at equal distances."""
    levels = times.levels
    wanted = np.linspace(levels[0], levels[-1], COLUMNS)
    return np.unique(np.abs(levels[:, None] - wanted).argmin(axis=0)).tolist()


def constant(times: Times) -> Times:
    """Times of functions that have the values of the nearest level, where others are linear between levels."""
    levels = times.levels
    if times.edges is not None or levels.size == 1:
        return times
    return Times(levels, np.concatenate([levels[:1], (levels[1:] + levels[:-1]) / 2, levels[-1:]]))


def draw_bound_in_time(axes: Axes, panel: Panel, bound: Array) -> None:
    """Draw a bound (N, n) of numbers that are drawn as curves, as far as it is in view."""
    _, _, times = panel
    assert times is not None
    view = axes.get_ylim()
    same = bool((bound == bound[:, :1]).all())
    for number, column in enumerate(bound.T[:1] if same else bound.T):
        colour = BOUND if same else CYCLE[number]
        _draw_curve(axes, times, np.where(np.isfinite(column), column, np.nan), color=colour, linestyle="--", lw=1.0)
    axes.set_ylim(view)


def _draw_curves(figure: Any, position: Any, title: str, panel: Panel, times: Times) -> Axes:
    elements, rows, _ = panel
    axes = graph_axes(figure, position, "$t$")
    for number, column in enumerate(rows.T):
        label = f"{number + 1}" if elements is None else f"$x = {elements.points[0, number]:.3g}$"
        colour = LINE if rows.shape[1] == 1 else CYCLE[number]
        _draw_curve(axes, times, column, color=colour, label=label, lw=1.6)
    axes.set_xlim(*times.span)
    axes.margins(y=0.08)
    if rows.shape[1] > 1 or elements is not None:
        axes.legend(fontsize=7, frameon=False, ncols=4, loc="best", title=None if elements else "actuator",
                    title_fontsize=7, handlelength=1.2, columnspacing=1.0)  # fmt: skip
    axes.set_title(title, fontsize=10)
    return axes


def _draw_curve(axes: Axes, times: Times, values: Array, **style: Any) -> None:
    """Draw a function of time, as steps where it is constant on intervals."""
    if times.edges is None:
        axes.plot(times.levels, values, **style)
    else:
        axes.plot(np.repeat(times.edges, 2)[1:-1], np.repeat(values, 2), **style)


def _draw_image(figure: Any, position: Any, title: str, panel: Panel, times: Times, classes: Paint | None) -> Axes:
    elements, rows, _ = panel
    if classes is not None:
        times = constant(times)
    axes = figure.add_subplot(*position)
    axes.tick_params(labelsize=8)
    span, sample, label = _across(elements, rows.shape[1], classes is not None)
    first, last = times.span
    moments = first + (np.arange(_PIXELS) + 0.5) / _PIXELS * (last - first)
    x = span[0] + (np.arange(_PIXELS) + 0.5) / _PIXELS * (span[1] - span[0])
    weights = sample(x)
    values = np.stack([weights(times.at(rows, t)) for t in moments])
    paint = classes or painted(rows)
    colours = axes.imshow(
        values, origin="lower", extent=(*span, first, last), aspect="auto", interpolation="nearest", cmap=paint.cmap,
        norm=paint.norm,
    )  # fmt: skip
    axes.set_xlabel(label, fontsize=9)
    axes.set_ylabel("$t$", fontsize=9)
    axes.set_title(title, fontsize=10)
    if classes is None:
        add_colour_bar(figure, axes, colours)
    return axes


Sampling = Callable[[Array], Callable[[Array], Array]]  # from abscissae (p,) to what takes coefficients to values (p,)


def _across(elements: Lagrange | None, count: int, nearest: bool) -> tuple[tuple[float, float], Sampling, str]:
    """What is drawn horizontally: the range, how functions are sampled there, or their nearest nodes, and the label."""
    if elements is None or len(elements.simplices) == 1:
        return (0.5, count + 0.5), lambda x: lambda row: row[np.round(x).astype(int) - 1], "actuator"
    if len(elements.vertices) == 1:
        used = elements.vertices[0, elements.simplices]
        return (float(used.min()), float(used.max())), lambda x: _on_interval(elements, x, nearest), "$x$"
    length, ends, dofs, label = along(elements)

    def on_curves(x: Array) -> Callable[[Array], Array]:
        facet = np.clip(np.searchsorted(ends[1], x), 0, ends.shape[1] - 1)
        share = np.clip((x - ends[0, facet]) / (ends[1, facet] - ends[0, facet]), 0, 1)
        if nearest:
            share = np.round(share)
        return lambda row: (1 - share) * row[dofs[0, facet]] + share * row[dofs[1, facet]]

    return (0.0, length), on_curves, label


def _on_interval(elements: Lagrange, x: Array, nearest: bool) -> Callable[[Array], Array]:
    inside = elements.contains(x[None])
    matrix = elements.sampling(x[None, inside])
    nodes = np.asarray(matrix.argmax(axis=1)).ravel()

    def values(row: Array) -> Array:
        result = np.full(x.size, np.nan)
        result[inside] = row[nodes] if nearest else matrix @ row
        return result

    return values
