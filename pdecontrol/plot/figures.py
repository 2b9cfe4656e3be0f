"""Figures of several functions: how panels and rows of them are arranged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from .moving import draw_any, draw_strip, in_strips
from .panels import Panel, written


class Block(NamedTuple):
    """Something to draw: on a row of its own, by draw(figure), or on axes, by draw(figure, position)."""

    wide: bool
    draw: Callable[..., Any]


def draw(panels: Mapping[str, Panel], path: str | Path | None = None) -> Figure:
    """Draw functions, a panel each by its title; the figure is written to `path` if one is given."""
    return written(arranged([block(title, panel) for title, panel in panels.items()]), path)


def block(title: str, panel: Panel) -> Block:
    """A function to draw, at several times on a row where it is one of time on more than a curve."""
    if in_strips(panel):
        return Block(True, lambda figure: draw_strip(figure, title, panel))
    return Block(False, lambda figure, position: draw_any(figure, position, title, panel))


def arranged(blocks: Sequence[Block], spread: bool = False) -> Figure:
    """A figure of rows: the wide blocks in their order, then the others, the last of which may spread to the end."""
    wide, narrow = ([item for item in blocks if item.wide is kind] for kind in (True, False))
    columns = 2 if len(narrow) == 4 else min(len(narrow), 3)
    count = -(-len(narrow) // (columns or 1))
    if not wide:
        figure = Figure(figsize=(4.2 * columns, 3.5 * count), layout="constrained")
        for number, item in enumerate(narrow):
            last = spread and number + 1 == len(narrow)
            item.draw(figure, (count, columns, (number + 1, count * columns) if last else number + 1))
        return figure
    heights = [2.9] * len(wide) + [3.5] * count
    figure = Figure(figsize=(13.0, sum(heights)), layout="constrained")
    rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, item in zip(rows, wide, strict=False):
        item.draw(row)
    for number, item in enumerate(narrow):
        line, place = divmod(number, columns)
        item.draw(rows[len(wide) + line], (1, columns, place + 1))
    return figure
