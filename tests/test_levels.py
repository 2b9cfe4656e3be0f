"""Figures of meshes that were refined until a bound was met."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection

from pdecontrol.mesh.cells import edges_of
from pdecontrol.mesh.shapes import l_shape, unit_interval
from pdecontrol.plot import Levels, draw_levels

MESHES = {"interval": lambda: unit_interval(3), "L": lambda: l_shape(2)}


def refined(mesh, count):
    """So many meshes, each refined at the origin."""
    meshes = [mesh]
    for _ in range(count - 1):
        at = (meshes[-1].points[:, meshes[-1].cells] == 0).all(axis=0).any(axis=0)
        meshes.append(meshes[-1].bisect(at))
    return meshes


def levels(meshes, bound=None, parts=None):
    count = len(meshes)
    unknowns = np.array([mesh.points.shape[1] for mesh in meshes])
    bound = 10.0 / unknowns if bound is None else np.array(bound)
    parts = np.outer(np.arange(1, 5), np.arange(1, count + 1)) if parts is None else parts
    return Levels(unknowns, bound, parts, 1e-3, 2.0)


def drawn(meshes, shares=None, **options):
    shares = meshes[-1].volumes if shares is None else shares
    figure = draw_levels(meshes, shares, levels(meshes, **options), "how good it is")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # fails on anything that matplotlib cannot draw, warnings included
    assert np.asarray(canvas.buffer_rgba()).std() > 10
    return figure.axes


def label_of(axes, name):
    (line,) = [line for line in axes.lines if line.get_label() == name]
    return line


@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize(("count", "chosen"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (6, [0, 3, 5])])
def test_the_first_middle_and_last_mesh_are_drawn(name, count, chosen):
    meshes = refined(MESHES[name](), count)
    axes = drawn(meshes)
    shown = [one for one in axes if one.get_title().startswith("level")]
    titles = [f"level {level}: {meshes[level].cells.shape[1]} cells" for level in chosen]
    assert [one.get_title().split(",")[0] for one in shown] == titles
    assert ["share" in one.get_title() for one in shown] == [False] * (len(chosen) - 1) + [True]
    for one, level in zip(shown, chosen, strict=True):
        mesh = meshes[level]
        (lines,) = [item for item in one.collections if isinstance(item, LineCollection)]
        count = mesh.points.shape[1]
        assert len(lines.get_segments()) == (count if mesh.dim == 1 else edges_of(mesh.cells, count).size)
        lengths = sum(np.linalg.norm(np.diff(segment, axis=0)) for segment in lines.get_segments())
        if mesh.dim == 2:
            ends = np.divmod(edges_of(mesh.cells, count), count)
            expected = np.linalg.norm(mesh.points[:, ends[0]] - mesh.points[:, ends[1]], axis=0).sum()
            assert lengths == pytest.approx(expected)


def test_cells_have_the_colours_of_their_shares():
    meshes = refined(l_shape(2), 3)
    shares = np.random.default_rng(0).random(meshes[-1].cells.shape[1]) ** 4
    shares[5] = 0.0
    axes = next(one for one in drawn(meshes, shares) if "share" in one.get_title())
    (cells,) = [item for item in axes.collections if isinstance(item, PolyCollection)]
    assert np.allclose(cells.get_array(), np.log10(np.maximum(shares / shares.mean(), 1e-3)))
    assert drawn(meshes, np.zeros(shares.size))  # nothing to tell cells apart


@pytest.mark.parametrize("name", MESHES)
def test_the_bound_is_drawn_against_the_unknowns(name):
    meshes = refined(MESHES[name](), 4)
    power = 2 / meshes[0].dim
    axes = next(one for one in drawn(meshes, bound=[np.inf, 0.5, np.nan, 0.02]) if one.get_title().startswith("bound"))
    unknowns = [meshes[level].points.shape[1] for level in (1, 3)]
    line, slope = label_of(axes, "bound"), label_of(axes, f"$N^{{-{power:g}}}$")
    assert line.get_xdata().tolist() == unknowns and line.get_ydata().tolist() == [0.5, 0.02]
    x, y = slope.get_data()
    assert y[-1] == 0.02 and np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(-power)
    assert label_of(axes, "tolerance").get_ydata()[0] == 1e-3
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_ylim()[0] < 1e-3 < 0.5 < axes.get_ylim()[1]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_levels_without_a_bound_are_drawn(count):
    meshes = refined(l_shape(1), count)
    axes = next(one for one in drawn(meshes, bound=[np.inf] * count) if one.get_title().startswith("bound"))
    assert [line.get_label() for line in axes.lines] == ["bound", "tolerance"]


def test_bars_are_the_percentages_of_the_parts():
    meshes = refined(unit_interval(3), 3)
    parts = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [3.0, 2.0, 0.0], [0.0, 2.0, 0.0]])
    axes = next(one for one in drawn(meshes, parts=parts) if "per cent" in one.get_title())
    heights = [[bar.get_height() for bar in group] for group in axes.containers]
    assert heights == [[25, 0, 0], [0, 0, 0], [75, 50, 0], [0, 50, 0]]
    assert [bar.get_y() for bar in axes.containers[3]] == [100, 50, 0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["adjoint state", "optimality system", "state", "data"]


def test_figures_are_written(tmp_path):
    meshes = refined(l_shape(1), 2)
    draw_levels(meshes, meshes[-1].volumes, levels(meshes), "how good it is", tmp_path / "new" / "levels.svg")
    assert (tmp_path / "new" / "levels.svg").read_text(encoding="utf-8").startswith("<?xml")
