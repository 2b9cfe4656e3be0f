"""Functions as colours: on intervals, curves and surfaces, in the plane, on a section through a solid."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from ..arrays import Array
from ..mesh.cells import facets_of, number_columns
from ..mesh.lagrange import Lagrange

# Local nodes of the children of a quadratic interval and triangle.
_CHILDREN = {2: ((0, 2), (2, 1)), 3: ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5))}

_SLENDER = 4.0  # domains that are longer than so many widths are shown wider than they are
_PIXELS = 200  # along each side of a section through a solid


class Paint(NamedTuple):
    """How values become colours."""

    cmap: Colormap
    norm: Normalize


# Without the ends, which are nearly black.
_BLUE_TO_RED = LinearSegmentedColormap.from_list("blue_to_red", colormaps["RdBu_r"](np.linspace(0.06, 0.94, 65)))


def painted(array: Array) -> Paint:
    """Blue to red with zero in white for values of both signs, else the range of the values."""
    low, high = float(array.min()), float(array.max())
    size = max(-low, high)
    if low == high == 0.0 or (low < -1e-6 * size and high > 1e-6 * size):
        return Paint(_BLUE_TO_RED, Normalize(-(size or 1.0), size or 1.0))
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = 0.5 * max(abs(low), abs(high))
        low, high = low - half, high + half
    return Paint(colormaps["viridis"], Normalize(low, high))


def draw_colours(figure: Figure, position: Any, elements: Lagrange, array: Array, paint: Paint) -> tuple[Any, Any]:
    """Draw a function by colours; returns the axes, and what a bar of colours explains."""
    kind = (len(elements.vertices), len(elements.simplices) - 1)
    axes: Any = figure.add_subplot(*position, projection="3d" if kind == (3, 2) else None)
    axes.tick_params(labelsize=8)
    if kind == (3, 3):
        return axes, _draw_section(axes, elements, array, paint)
    points, values = linear_pieces(elements, array)
    style: dict[str, Any] = {"cmap": paint.cmap, "norm": paint.norm}
    if kind == (1, 1):
        left, right = points[0]
        bars = np.array([[left, 0 * left], [right, 0 * left], [right, 1 + 0 * left], [left, 1 + 0 * left]])
        colours: Any = PolyCollection(list(bars.transpose(2, 0, 1)), array=values[0], **style)
        axes.add_collection(colours)
        axes.set_yticks([])
        axes.set_xlim(*padded_range(elements.vertices[0]))
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
            draw_seams(axes, elements)
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


def _draw_section(axes: Axes, elements: Lagrange, array: Array, paint: Paint) -> Any:
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
    simplices, nodes, bends = elements.simplices[:, chosen], elements.nodes, elements.bends
    part = Lagrange(elements.vertices, simplices, dofs.reshape(shape), elements.degree, nodes, bends)
    return part, array[used]


def padded_range(x: Array) -> tuple[float, float]:
    """The range of the coordinates, and a little more."""
    margin = 0.05 * float(np.ptp(x))
    return float(x.min()) - margin, float(x.max()) + margin


def linear_pieces(elements: Lagrange, array: Array) -> tuple[Array, Array]:
    """Simplices as points (dim, k + 1, m) with values (k + 1, m), from degree 2 on cut at the midpoints of edges."""
    corners = len(elements.simplices)
    if elements.degree < 2:
        values = array[elements.dofs] + np.zeros((corners, 1))
        return elements.vertices[:, elements.simplices], values
    if elements.degree > 2:
        elements, array = elements.quadratic(array)
    dofs = _halves(elements)
    return elements.points[:, dofs], array[dofs]


def _halves(elements: Lagrange) -> Array:
    """The nodes of the simplices that those of degree 2 are cut into."""
    return np.hstack([elements.dofs[list(child)] for child in _CHILDREN[len(elements.simplices)]])


def draw_seams(axes: Axes, elements: Lagrange) -> None:
    """Draw interfaces as thin lines, with halos that show on dark colours."""
    halo = withStroke(linewidth=1.2, foreground="white", alpha=0.6)
    segments = list(_seams(elements).transpose(2, 1, 0))
    axes.add_collection(LineCollection(segments, colors="0.1", linewidths=0.5, path_effects=[halo]))


def _seams(elements: Lagrange) -> Array:
    """The edges (dim, 2, n) at which plane cells lie side by side without being connected, as at interfaces.

    There are none to be seen where no cells have a vertex in common.
    """
    if elements.simplices.size == np.unique(elements.simplices).size:
        return np.zeros((2, 2, 0))
    quadratic = elements.degree == 2
    corners, points = (_halves(elements), elements.points) if quadratic else (elements.simplices, elements.vertices)
    edges = np.sort(facets_of(corners), axis=0)
    first, numbers = number_columns(edges)
    single = edges[:, first[np.bincount(numbers) == 1]]
    middles = points[:, single].mean(axis=1) / np.ptp(elements.vertices, axis=1).max()
    _, places = number_columns(np.round(middles * 1e9))
    return np.asarray(points[:, single[:, np.bincount(places)[places] == 2]])
