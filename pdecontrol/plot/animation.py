"""Animations of functions of time, as .gif files."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure

from ..errors import DataError
from ..files import replacing
from .moving import draw_any, in_curves
from .panels import Panel, draw_panel

_FRAMES = 60  # at most
_SECONDS = 5.0  # that an animation lasts, about


def animate(panels: Mapping[str, Panel], path: Path) -> None:
    """Write functions, by title, at times from the first to the last of the first of them that has any to a .gif file.

    Colours and ranges are the same at all times. A few numbers are drawn as curves against time.
    """
    if path.suffix.lower() != ".gif":
        raise DataError(f"{path}: animations are .gif files.")
    times = next((times for _, _, times in panels.values() if times is not None), None)
    if times is None:
        raise DataError(f"{', '.join(panels)}: nothing depends on time, there is nothing to animate.")
    moments = np.linspace(times.levels[0], times.levels[-1], min(times.levels.size, _FRAMES))
    digits = max(0, 1 - math.floor(math.log10(np.ptp(moments) / moments.size or 1.0)))
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.5 * rows + 0.3), layout="constrained")
    writer = PillowWriter(fps=int(np.clip(moments.size / _SECONDS, 4, 12)))
    shown, places = sys.stderr.isatty(), []
    with replacing(path) as temporary, writer.saving(figure, str(temporary), dpi=90):
        for number, t in enumerate(moments.tolist()):
            figure.clear()
            for index, (title, panel) in enumerate(panels.items()):
                _draw(figure, (rows, columns, index + 1), title, panel, t)
            figure.suptitle(f"$t = {t:.{digits}f}$", fontsize=11)
            if number == 0:  # where the axes are is found once, for all frames
                figure.draw_without_rendering()
                places = [axes.get_position(original=True) for axes in figure.axes]
                figure.set_layout_engine("none")
            for axes, place in zip(figure.axes, places, strict=True):
                axes.set_position(place)
            writer.grab_frame()
            if shown:
                end = "\r" if number + 1 < moments.size else "\n"
                print(f"{path}: {number + 1} of {moments.size} frames", end=end, file=sys.stderr, flush=True)


def _draw(figure: Figure, position: tuple[int, int, int], title: str, panel: Panel, t: float) -> None:
    """Draw a function at a time on new axes, or at the nearest one that it has."""
    elements, rows, times = panel
    if times is None:
        draw_panel(figure, position, title, panel)
    elif in_curves(panel):
        draw_any(figure, position, title, panel).axvline(t, color="0.4", linewidth=1.0)
    else:
        row = times.at(rows, float(np.clip(t, *times.span)))
        draw_panel(figure, position, title, (elements, row, None), rows)
