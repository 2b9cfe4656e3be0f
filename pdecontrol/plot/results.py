"""Figures of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ..arrays import Array
from .colours import Paint, draw_colours, draw_seams
from .figures import Block, arranged, block
from .moving import draw_any, draw_bound_in_time, draw_strip, in_curves, in_strips
from .panels import LINE, Panel, draw_bound, draw_panel, written
from .pieces import pieces_of_entries

_COLOURS = {"least": "#2166ac", "zero": "#e4e4e4", "other": "#f2c14e", "greatest": "#b2182b"}
_WHERE = "where $u$ is zero or at a bound"
_SETS = Paint(ListedColormap(list(_COLOURS.values())), Normalize(-0.5, 3.5))


class Entries(NamedTuple):
    """The entries of a control with their bounds and what measure each has; `panel` has elements of which they are."""

    panel: Panel
    bounds: Sequence[Array | None]
    measures: Array


class Convergence(NamedTuple):
    """The history of a run: a free estimate and a certified bound against PDE solves, say, nan where not computed.

    There is no tolerance (nan) where nothing is certified.
    """

    title: str
    tolerance: float
    solves: Array
    estimate: Array
    bound: Array
    axis: str = "PDE solves"


def draw_result(
    panels: Mapping[str, Panel],
    bounds: Sequence[Array | None],
    entries: Entries,
    sensors: Array | None,
    convergence: Convergence,
    headline: str,
    path: str | Path | None = None,
) -> Figure:
    """Draw state, control and adjoint, where the control is zero or at a bound, and the history of a result.

    Parameters
    ----------
    panels : state, control and adjoint, in this order, by title.
    bounds : the lower and the upper bound of the control, as it is drawn.
    entries : of the control, and of its bounds: what is drawn may be a function that is fitted to them.
    sensors : the points (dim, k) of observations.
    convergence, headline : how good the control is.
    path : file, its ending tells the format; folders on the way are made.

    Notes
    -----
    Bounds are dashed where the control is a graph, and marked where they are active. Circles on the state are the
    points of observations; those of solids are projected on the section.
    """
    state, control, _ = panels.values()
    elements, _, times = control
    with_sets = elements is not None and len(elements.simplices) > 1
    sets = _sets(*entries) if with_sets else None
    if state[2] is not None or times is not None:
        figure = _in_time(panels, bounds, sets, sensors, convergence)
    else:
        columns = 3 if with_sets else 2
        figure = Figure(figsize=(4.1 * columns, 7.2), layout="constrained")
        of_state, of_control, _ = (
            draw_panel(figure, (2, columns, number + 1), title, panel)
            for number, (title, panel) in enumerate(panels.items())
        )
        if sensors is not None:
            _draw_sensors(of_state, state, sensors)
        _bounded(of_control, control, bounds)
        shown = [] if sets is None else [of_control, _draw_sets(figure, (2, columns, 4), sets)]
        if state[0] is not None and elements is not None and len(elements.vertices) == len(elements.simplices) - 1 == 2:
            for axes in shown:
                draw_seams(axes, state[0])
        _draw_history(figure.add_subplot(2, columns, (5, 6) if with_sets else 4), convergence)
    figure.suptitle(headline, fontsize=11)
    return written(figure, path)


def _in_time(
    panels: Mapping[str, Panel],
    bounds: Sequence[Array | None],
    sets: Sets | None,
    sensors: Array | None,
    convergence: Convergence,
) -> Figure:
    """The same for functions of time: strips and panels in their order, the sets after the control."""
    blocks = [block(title, panel) for title, panel in panels.items()]
    (of_state, of_control, _), (state, control, _) = blocks, panels.values()
    if sensors is not None and not in_curves(state):
        blocks[0] = Block(of_state.wide, lambda *place: _mark_sensors(of_state.draw(*place), sensors))
    if in_curves(control) or control[2] is None:
        blocks[1] = Block(False, lambda *place: _bounded(of_control.draw(*place), control, bounds))
    if sets is not None:
        wide = in_strips(sets.panel)
        blocks.insert(2, Block(wide, partial(_draw_sets_in_strip if wide else _draw_sets, sets=sets)))
    blocks.append(Block(False, lambda figure, place: _draw_history(figure.add_subplot(*place), convergence)))
    return arranged(blocks, spread=True)


def _draw_sensors(axes: Axes, state: Panel, sensors: Array) -> None:
    """Mark the points of observations on the picture of a state."""
    elements, y, _ = state
    x, y = (sensors[0], elements.evaluate(y, sensors)) if elements and len(sensors) == 1 else sensors[:2]
    axes.plot(x, y, "o", markersize=4, markerfacecolor="white", markeredgecolor="black", label="sensors", zorder=5)
    axes.legend(fontsize=7, loc="best", framealpha=0.7)


class Sets(NamedTuple):
    """Where a control is exactly zero, and where it is at its bounds: classes of its entries, and their legend."""

    panel: Panel
    handles: list[Patch]


def _sets(control: Panel, bounds: Sequence[Array | None], measures: Array) -> Sets:
    elements, rows, times = control
    u = rows.ravel()
    classes = np.full(u.size, 2)
    labels = {1: "$u = 0$", 2: "other values"}
    classes[u == 0.0] = 1
    for number, bound, name in zip((0, 3), bounds, ("lower", "upper"), strict=True):
        active = np.zeros(u.size, dtype=bool) if bound is None else u == bound
        if active.any():
            classes[active] = number
            value = u[active][0]
            constant = bool((u[active] == value).all())
            labels[number] = f"$u = {value:.4g}$ ({name} bound)" if constant else f"$u$ at the {name} bound"
    handles = []
    for number, colour in enumerate(_COLOURS.values()):
        share = measures[classes == number].sum() / measures.sum()
        if share:
            percent = f"{100 * share:.1f}" if share >= 5e-4 else "< 0.1"
            handles.append(Patch(color=colour, label=f"{labels[number]}: {percent} %"))
    return Sets((elements, classes.reshape(rows.shape), times), handles)


def _draw_sets(figure: Any, position: Any, sets: Sets) -> Axes:
    """Draw the sets on new axes."""
    elements, classes, times = sets.panel
    assert elements is not None
    if times is None or times.levels.size == 1:
        pieces, owners = pieces_of_entries(elements)
        axes, _ = draw_colours(figure, position, pieces, classes.ravel()[owners], _SETS)
    else:
        axes = draw_any(figure, position, "", sets.panel, _SETS)
        axes.set_xlabel("")
    axes.set_title(_WHERE + axes.get_title(), fontsize=10)
    axes.legend(
        handles=sets.handles, fontsize=8, ncols=2, columnspacing=1.2, handlelength=1.2, frameon=False,
        loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=2.4,
    )  # fmt: skip
    return axes


def _draw_sets_in_strip(figure: Any, sets: Sets) -> None:
    """Draw the sets at several times."""
    elements, classes, times = sets.panel
    assert elements is not None
    pieces, owners = pieces_of_entries(elements)
    draw_strip(figure, _WHERE, (pieces, classes[:, owners], times), _SETS)
    figure.legend(handles=sets.handles, fontsize=8, ncols=4, frameon=False, loc="outside lower center")


def _mark_sensors(shown: Axes | list[Axes], sensors: Array) -> None:
    """Mark the points of observations of a state of time: on strips, or by lines where its image has one coordinate."""
    if isinstance(shown, list):
        for axes in shown:
            axes.plot(*sensors[:2], "o", markersize=3, markerfacecolor="white", markeredgecolor="black", zorder=5)
    else:
        for x in sensors[0]:
            shown.axvline(x, color="black", linewidth=0.8, linestyle=":")


def _bounded(axes: Axes, control: Panel, bounds: Sequence[Array | None]) -> None:
    """Draw the bounds of a control that is drawn as a graph."""
    elements, values, times = control
    for bound in bounds:
        if bound is not None and times is None:
            draw_bound(axes, elements, bound)
        elif bound is not None:
            draw_bound_in_time(axes, control, bound.reshape(values.shape))


def _draw_history(axes: Axes, convergence: Convergence) -> None:
    """Draw the estimate of every iteration and the certified bounds against the PDE solves, say, that they took."""
    title, tolerance, solves, estimate, bound, axis = convergence
    known = np.isfinite(estimate) & (estimate > 0)
    certified = np.isfinite(bound) & (bound > 0)
    shown = [*([tolerance] if np.isfinite(tolerance) else []), *estimate[known], *bound[certified]]
    axes.set_yscale("log")
    if shown:
        axes.set_ylim(min(shown) / (500.0 if (bound == 0.0).any() else 5.0), max(shown) * 5.0)
    axes.set_xlim(0, 1.03 * max(solves, default=1.0))
    axes.plot(solves[known], estimate[known], ".-", color=LINE, linewidth=1.4, markersize=3, label="free estimate")
    if np.isfinite(tolerance):
        axes.plot(solves[certified], bound[certified], "o", color=_COLOURS["greatest"], label="certified", markersize=6)
        axes.axhline(tolerance, color="0.4", linewidth=1, linestyle="--", label="tolerance")
    for reached in solves[bound == 0.0]:
        axes.annotate("certified: 0", (reached, 0.0), (-4, 14), xycoords=axes.get_xaxis_transform(), ha="right",
                      textcoords="offset points", fontsize=8, arrowprops={"arrowstyle": "->"})  # fmt: skip
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(axis, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="best")
