"""Figures of meshes that were refined until a bound was met."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from ..arrays import Array
from ..mesh.cells import edges_of
from ..mesh.elements import cell_lagrange
from ..mesh.mesh import Mesh
from .colours import Paint, draw_colours, painted
from .panels import BOUND, CYCLE, LINE, add_colour_bar, written

_PLAIN = Paint(ListedColormap(["#f4f4f4"]), Normalize(0.0, 1.0))
_SHARES = r", $\log_{10}$(share / mean share)"
_LEAST = 1e-3  # of the mean: cells whose shares are smaller have this colour
_PARTS = ("adjoint state", "optimality system", "state", "data")


class Levels(NamedTuple):
    """How good the answer was on each of L meshes.

    Parameters
    ----------
    unknowns : (L,), of the state.
    bound : (L,), on the relative distance to the optimum; inf or nan where there is none.
    parts : (4, L), what adds up to the bound: by the adjoint, of its discretisation and of its values between the
        kinks of the control, then by the state, of its discretisation and of optimality that is not yet reached.
    tolerance : what the bound is meant to reach.
    order : in the size of the cells, of the errors where the solution is smooth.
    """

    unknowns: Array
    bound: Array
    parts: Array
    tolerance: float
    order: float


def draw_levels(
    meshes: Sequence[Mesh], shares: Array, levels: Levels, headline: str, path: str | Path | None = None
) -> Figure:
    """Draw the first, middle and last mesh, the bound against the unknowns, and what adds up to it on each level.

    Parameters
    ----------
    meshes : of intervals or triangles, one a level.
    shares : (m,), what each cell of the last mesh adds to the bound.
    levels, headline : how good the answers are.
    path : file, its ending tells the format; folders on the way are made.
    """
    last = len(meshes) - 1
    shown = sorted({0, (last + 1) // 2, last})
    figure = Figure(figsize=(12.6, 7.4), layout="constrained")
    for place, level in enumerate(shown):
        position = (2, 6, (2 * place + 1, 2 * place + 2))
        _draw_mesh(figure, position, level, meshes[level], shares if level == last else None)
    _draw_bound(figure.add_subplot(2, 6, (7, 9)), levels, meshes[0].dim)
    _draw_parts(figure.add_subplot(2, 6, (10, 12)), levels)
    figure.suptitle(headline, fontsize=11)
    return written(figure, path)


def _draw_mesh(figure: Figure, position: Any, level: int, mesh: Mesh, shares: Array | None) -> None:
    """Draw a mesh on new axes, its cells in the colours of their shares."""
    count, elements = mesh.cells.shape[1], cell_lagrange(mesh, 0)
    if shares is None:
        axes, _ = draw_colours(figure, position, elements, np.zeros(count), _PLAIN)
    else:
        values = np.log10(np.maximum(shares / (shares.mean() or 1.0), _LEAST))
        axes, colours = draw_colours(figure, position, elements, values, painted(values))
        add_colour_bar(figure, axes, colours)
    if mesh.dim == 1:
        x = mesh.points[0]
        segments = np.stack([np.stack([x, 0 * x], axis=1), np.stack([x, 0 * x + 1], axis=1)], axis=1)
    else:
        lines = np.divmod(edges_of(mesh.cells, mesh.points.shape[1]), mesh.points.shape[1])
        segments = mesh.points[:, np.stack(lines)].transpose(2, 1, 0)
    width = min(0.5, 25.0 / np.sqrt(count))
    axes.add_collection(LineCollection(list(segments), colors="0.15", linewidths=width, rasterized=True))
    axes.set_title(f"level {level}: {count} cells" + ("" if shares is None else _SHARES), fontsize=10)


def _draw_bound(axes: Axes, levels: Levels, dim: int) -> None:
    """Draw the bound against the unknowns, and how it would fall for smooth solutions on uniform meshes."""
    known = np.isfinite(levels.bound) & (levels.bound > 0)
    unknowns, bound = levels.unknowns[known], levels.bound[known]
    axes.set(xscale="log", yscale="log")
    if unknowns.size:
        power = levels.order / dim
        slope = bound[-1] * (unknowns / unknowns[-1]) ** -power
        axes.plot(unknowns, slope, color="0.6", linewidth=1, linestyle=":", label=f"$N^{{-{power:.3g}}}$")
    axes.plot(unknowns, bound, "o-", color=LINE, linewidth=1.4, markersize=4, label="bound")
    axes.axhline(levels.tolerance, color=BOUND, linewidth=1, linestyle="--", label="tolerance")
    least, most = min([levels.tolerance, *bound]), max([levels.tolerance, *bound])
    axes.set_ylim(least / 3, 3 * most)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_title(r"bound on the distance to the continuous optimum, $\|u-u^*\|/\|u\|$", fontsize=10)
    axes.set_xlabel("unknowns $N$ of the state", fontsize=9)
    _finish(axes)


def _draw_parts(axes: Axes, levels: Levels) -> None:
    """Draw the percentage of each part in the bound as a bar a level."""
    total = levels.parts.sum(axis=0)
    percent = 100 * levels.parts / np.where(total > 0, total, 1.0)
    numbers, below = np.arange(total.size), np.zeros(total.size)
    for label, colour, heights in zip(_PARTS, CYCLE, percent, strict=False):
        axes.bar(numbers, heights, bottom=below, color=colour, width=0.7, label=label)
        below = below + heights
    axes.set(xlim=(-0.75, total.size - 0.25), ylim=(0, 100))
    axes.set_title("what adds up to the bound, per cent", fontsize=10)
    axes.set_xlabel("level", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _finish(axes)
    axes.legend(fontsize=8, ncols=2, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _finish(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="best")
