"""Figures of fields and results, and their files for other programs."""

import warnings
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import meshio
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection, TriMesh
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

import pdecontrol as pc
from pdecontrol.export import _HDF5
from pdecontrol.field import draw, export
from pdecontrol.mesh.elements import broken_lagrange, cell_lagrange, facet_lagrange
from pdecontrol.mesh.shapes import disc, unit_cube, unit_interval, unit_square
from pdecontrol.plot.colours import linear_pieces

TERMS = [pc.Tikhonov(1e-4), pc.L1(1e-4), pc.Box(-1, 1)]


def field(elements, values, name="field"):
    array = np.broadcast_to(values(elements.points) if callable(values) else values, elements.size).astype(float)
    return pc.Field(array, pc.Space(np.ones(elements.size), elements), name)


def solved(mesh, control, degree=1, target=lambda x: 0.1 * x[0], terms=TERMS, **options):
    problem = pc.ControlProblem(
        equation=pc.Elliptic(reaction=1.0), control=control, tracking=pc.Tracking(target), terms=terms
    )
    return pc.solve(problem, mesh, pc.Embedded(degree=degree), **options)


def changed(result, **arrays):
    """A result with other arrays, or numbers, as control and bounds."""
    space = result.control.space
    fields = {name: pc.Field(array + np.zeros(space.size), space, name) for name, array in arrays.items()}
    return pc.Result(**{**result.__dict__, **fields})


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def only(axes, kind):
    (found,) = [item for item in axes.collections if isinstance(item, kind)]
    return found


def rendered(figure):
    """What the figure looks like: fails on anything that matplotlib cannot draw, warnings included."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


# -- draw ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [0, 1])
def test_lines_are_the_graph(degree):
    mesh = unit_interval(4).transform(lambda x: x**2)
    function = field(cell_lagrange(mesh, degree), lambda x: 3 * x[0])
    lines = only(draw({"f": function}).axes[0], LineCollection).get_segments()
    assert len(lines) == 4
    for line in lines:
        middle = line.mean(axis=0)
        assert middle == pytest.approx([middle[0], 3 * middle[0]])
        assert (np.ptp(line[:, 1]) == 0) == (degree == 0)


def test_quadratic_lines_pass_through_midpoints():
    result = solved(unit_interval(4), pc.Distributed(), degree=2)
    lines = only(draw({"y": result.state}).axes[0], LineCollection).get_segments()
    assert len(lines) == 8
    corners = np.concatenate(lines)
    assert np.allclose(result.state(corners[None, :, 0]), corners[:, 1])


def test_points_are_stems():
    mesh = unit_interval(4)
    figure = draw({"u": field(facet_lagrange(mesh, "boundary", 1), np.array([2.0, -1.0]))})
    markers = figure.axes[0].containers[0].markerline
    assert np.allclose(markers.get_xydata(), [[0, 2], [1, -1]])


def test_actuators_are_bars():
    figure = draw({"u": pc.Field(np.array([1.0, 0.0, -2.0]), pc.Space(np.ones(3)))})
    assert [bar.get_height() for bar in figure.axes[0].patches] == [1, 0, -2]


def test_plane_functions_are_smooth_and_constants_flat():
    mesh = disc(3)
    smooth, flat = draw(
        {"P1": field(cell_lagrange(mesh, 1), lambda x: x[0]), "P0": field(cell_lagrange(mesh, 0), lambda x: x[0])}
    ).axes[:2]
    assert isinstance(only(smooth, TriMesh), TriMesh)
    assert np.allclose(only(flat, PolyCollection).get_array(), cell_lagrange(mesh, 0).points[0])
    for axes in (smooth, flat):
        assert axes.get_aspect() == 1
        assert axes.get_xlim() == pytest.approx((-1, 1))


def test_quadratic_plane_functions_use_midpoints():
    result = solved(unit_square(3), pc.Distributed(), degree=2)
    values = only(draw({"y": result.state}).axes[0], TriMesh).get_array()
    assert len(values) == 4 * 3 * 18
    assert set(values) == set(result.state.array)


def test_zero_is_white_where_both_signs_occur():
    elements = cell_lagrange(unit_square(2), 0)
    both, positive, zero = (
        only(draw({"f": field(elements, values)}).axes[0], PolyCollection)
        for values in (lambda x: x[0] - 0.4, lambda x: 1 + x[0], 0.0)
    )
    assert min(both.cmap(both.norm(0.0))[:3]) > 0.95
    assert (positive.norm.vmin, positive.norm.vmax) == (1 + elements.points[0].min(), 1 + elements.points[0].max())
    assert min(zero.cmap(zero.norm(0.0))[:3]) > 0.95


def test_closed_curves_run_anticlockwise_from_their_lowest_left_corner():
    mesh = unit_square(4)
    axes = draw({"u": field(facet_lagrange(mesh, "boundary", 1), lambda x: x[0] + 10 * x[1])}).axes[0]
    points = np.concatenate(only(axes, LineCollection).get_segments())
    corners = {length: points[np.isclose(points[:, 0], length), 1] for length in range(5)}
    assert [set(values.round(9)) for values in corners.values()] == [{0}, {1}, {11}, {10}, {0}]
    assert axes.get_xlabel() == "arc length from (0, 0)"


def test_curves_with_ends_follow_each_other():
    mesh = unit_square(4).tag_boundary("sides", lambda x: (x[0] == 0) | (x[0] == 1))
    axes = draw({"u": field(facet_lagrange(mesh, "sides", 0), lambda x: x[0] + x[1])}).axes[0]
    lines = np.concatenate([part.get_segments() for part in axes.collections])
    middles = lines.mean(axis=1)
    assert len(middles) == 8
    # from (0, 0) upwards, then from (1, 0) upwards
    assert np.allclose(middles[:, 1], middles[:, 0])
    assert axes.get_xlabel() == "arc length from (0, 0), then (1, 0)"


def test_holes_and_pieces_of_curves_are_found():
    mesh = disc(8).tag_part("ring", lambda x: np.hypot(*x) > 0.5)
    arcs = mesh.tag_boundary("arcs", lambda x: abs(x[1]) > 0.5)
    axes = draw({"u": field(facet_lagrange(arcs, "arcs", 1), lambda x: x[1])}).axes[0]
    assert len(axes.collections) == 2
    for part in axes.collections:
        y = np.concatenate(part.get_segments())[:, 1]
        assert np.all(y > 0.4) or np.all(y < -0.4)


def test_solids_are_cut_in_the_middle():
    mesh = unit_cube(4).transform(lambda x: np.array([x[0] + x[2], 2 * x[1], 10 + x[2]]))
    for degree in (0, 1):
        function = field(cell_lagrange(mesh, degree), lambda x: x[0] + 100 * x[2])
        axes = draw({"f": function}).axes[0]
        assert axes.get_title() == "f at x[2] = 10.5"
        (image,) = axes.images
        values = image.get_array()
        left, right, bottom, top = image.get_extent()
        assert values.mask.any()
        x = left + (np.arange(values.shape[1]) + 0.5) / values.shape[1] * (right - left)
        inside = ~values.mask
        assert np.allclose(x[np.nonzero(inside)[1]].min(), 0.5, atol=0.02)
        error = np.abs(values - (x + 1050))[inside]
        assert error.max() < (1e-3 if degree else 30)
        assert (bottom, top) == (0, 2)


def test_surfaces_are_coloured():
    mesh = unit_cube(2)
    axes = draw({"u": field(facet_lagrange(mesh, "top", 0), lambda x: x[0] - 0.5)}).axes[0]
    faces = only(axes, Poly3DCollection)
    rendered(axes.figure)
    assert len(faces.get_facecolor()) == 8
    assert axes.get_zlim() == pytest.approx((0, 1), abs=0.05)


def test_panels_and_files(tmp_path):
    elements = cell_lagrange(unit_square(2), 1)
    fields = {f"f{i}": field(elements, float(i)) for i in range(4)}
    figure = draw(fields, tmp_path / "a" / "b" / "f.png")
    assert titles(figure) == list(fields)
    assert (tmp_path / "a" / "b" / "f.png").read_bytes().startswith(b"\x89PNG")
    fields["f0"].plot(tmp_path / "f.pdf")
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")


def test_what_cannot_be_drawn_is_refused(tmp_path):
    elements = cell_lagrange(unit_square(2), 1)
    with pytest.raises(pc.DataError, match="nothing to draw"):
        draw({})
    with pytest.raises(pc.DataError, match="values that are NaN"):
        draw({"gap": field(elements, np.nan)})
    for name in ("f.nix", "f"):
        with pytest.raises(pc.DataError, match=f"{name}: matplotlib does not write this format"):
            draw({"f": field(elements, 1.0)}, tmp_path / name)


# -- results -------------------------------------------------------------------------------------------------------


RESULTS = {
    "interval": lambda: solved(unit_interval(20), pc.Distributed()),
    "part of an interval, P0, P2": lambda: solved(
        unit_interval(20).tag_part("half", lambda x: x[0] < 0.5), pc.Distributed("half", "P0"), degree=2
    ),
    "ends of an interval": lambda: solved(unit_interval(20), pc.Boundary("boundary")),
    "square": lambda: solved(unit_square(8), pc.Distributed()),
    "disc, P0, P2": lambda: solved(disc(4), pc.Distributed(element="P0"), degree=2),
    "rim": lambda: solved(disc(4), pc.Boundary("boundary")),
    "sides, P0": lambda: solved(unit_square(6), pc.Boundary("left", "P0")),
    "cube": lambda: solved(unit_cube(3), pc.Distributed()),
    "surface": lambda: solved(unit_cube(3), pc.Boundary("boundary")),
    "face": lambda: solved(unit_cube(3), pc.Boundary("top")),
    "face across, P0": lambda: solved(unit_cube(3), pc.Boundary("left", "P0")),
    "actuators": lambda: solved(unit_square(6), pc.Actuators([lambda x: x[0], lambda x: x[1]])),
    "zero": lambda: solved(unit_square(4), pc.Distributed(), target=0.0),
    "no Tikhonov term": lambda: solved(unit_square(6), pc.Distributed(), terms=[pc.Box(-1, 1)], tol=1e-3),
    "unfinished": lambda: solved(unit_square(6), pc.Distributed(), method="primal-dual", max_iterations=1),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_drawn(name):
    result = RESULTS[name]()
    with_sets = name not in ("ends of an interval", "actuators")
    figure = result.plot()
    image = rendered(figure)
    assert image.std() > 10
    assert len(titles(figure)) == 4 + with_sets
    assert sum(title.startswith("where $u$ is zero") for title in titles(figure)) == with_sets
    assert result.method.split(" (")[0] in figure.texts[0].get_text()


def test_the_sets_have_the_measures_of_the_control():
    elements = cell_lagrange(unit_square(8), 1)
    base = solved(unit_square(8), pc.Distributed())
    space = base.control.space
    u = np.clip(np.round(4 * elements.points[0] - 1), -1, 2)
    u[u == 1] += 0.1 * elements.points[1, u == 1]
    result = changed(base, control=u, lower=-1 - np.maximum(elements.points[0] - 0.3, 0), upper=2.0)
    axes = next(axes for axes in result.plot().axes if axes.get_title().startswith("where"))
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    shares = [
        100 * space.integral(1.0 * chosen) for chosen in (u == -1, u == 0, (u != 0) & (abs(u) != 2) & (u > 0), u == 2)
    ]
    names = ("$u = -1$ (lower bound)", "$u = 0$", "other values", "$u = 2$ (upper bound)")
    assert labels == [f"{name}: {share:.1f} %" for name, share in zip(names, shares, strict=True)]
    # and the pixels agree
    pieces = only(axes, PolyCollection)
    corners = np.array([path.vertices[:3] for path in pieces.get_paths()])
    edges = corners[:, 1:] - corners[:, :1]
    areas = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) / 2
    drawn = [100 * areas[pieces.get_array() == number].sum() for number in range(4)]
    assert np.allclose(drawn, shares)


def set_labels(result):
    axes = next(axes for axes in result.plot().axes if axes.get_title().startswith("where"))
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_extreme_values_are_not_bounds():
    base = solved(unit_square(4), pc.Distributed())
    u = np.repeat([1.0, 2.0], [13, 12])
    result = changed(base, control=u, lower=-np.inf, upper=3.0)
    assert set_labels(result) == ["other values: 100.0 %"]
    assert set_labels(pc.Result(**{**result.__dict__, "lower": None, "upper": None})) == ["other values: 100.0 %"]


def test_bounds_that_vary_are_active_where_they_are():
    base = solved(unit_square(4), pc.Distributed())
    x, space = base.control.space.points[0], base.control.space
    result = changed(base, control=np.where(x < 0.4, x, np.where(x > 0.8, 1 - x, -5.0)), lower=x, upper=1 - x)
    low, high = (100 * space.integral(1.0 * inside) for inside in (x < 0.4, x > 0.8))
    assert set_labels(result) == [
        f"$u$ at the lower bound: {low:.1f} %", f"other values: {100 - low - high:.1f} %",
        f"$u = 0$ (upper bound): {high:.1f} %",
    ]  # fmt: skip
    real = solved(unit_square(8), pc.Distributed(), terms=[pc.Tikhonov(1e-5), pc.Box(-0.1, lambda x: 0.1 + 0.1 * x[1])])
    assert [label.split(":")[0] for label in set_labels(real)] == ["$u = -0.1$ (lower bound)", "other values",
                                                                   "$u$ at the upper bound"]  # fmt: skip


def dashed(axes):
    return [c for c in axes.collections if isinstance(c, LineCollection) and c.get_linestyle()[0][1] is not None]


@pytest.mark.parametrize(
    ("mesh", "control"), [(unit_interval(8), pc.Distributed()), (unit_square(4), pc.Boundary("top"))]
)
@pytest.mark.parametrize("element", ["P0", "P1"])
def test_bounds_are_dashed_in_graphs(mesh, control, element):
    upper = pc.Box(-1e9, lambda x: 0.02 + 0.1 * x[0])
    result = solved(mesh, replace(control, element=element), terms=[pc.Tikhonov(1e-4), upper])
    axes = next(axes for axes in result.plot().axes if axes.get_title() == "control $u$")
    lower, line = dashed(axes)
    assert np.concatenate(lower.get_segments())[:, 1].max() == -1e9
    expected = 0.02 + 0.1 * result.control.space.points[0]
    values = np.concatenate(line.get_segments())[:, 1]
    assert values.min() == pytest.approx(expected.min()) and values.max() == pytest.approx(expected.max())
    assert abs(axes.get_ylim()[0]) < 1  # far bounds do not shrink the control


def test_bounds_and_values_of_actuators_are_shown():
    shapes = [lambda x: x[0], lambda x: x[1], lambda x: x[0] * x[1]]
    result = solved(unit_square(6), pc.Actuators(shapes), terms=[pc.Tikhonov(1e-4), pc.Box(-np.inf, 0.03)])
    axes = next(axes for axes in result.plot().axes if axes.get_title() == "control $u$")
    assert [text.get_text() for text in axes.texts] == [f"{u:.3g}" for u in result.control.array]
    (marks,) = [line for line in axes.lines if line.get_marker() == "_" and line.get_xdata().size]
    assert np.array_equal(marks.get_xydata(), [[1, 0.03], [2, 0.03], [3, 0.03]])


@pytest.mark.parametrize("mesh", [unit_interval(8), unit_square(4), unit_cube(3)], ids=["1D", "2D", "3D"])
def test_sensors_are_marked_on_the_state(mesh, tmp_path):
    points = np.linspace(0.1, 0.7, 4) * np.ones((mesh.dim, 1))
    other = 0.5 * np.ones((mesh.dim, 1))
    tracking = [pc.Tracking(0.1, points=points), pc.Tracking(lambda x: x[0]), pc.Tracking(0.2, points=other)]
    stated = pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Distributed(), tracking, TERMS)
    result = pc.solve(stated, mesh)
    for shown in (result, pc.load(result.save(tmp_path / "result"))):
        state, control = shown.plot().axes[:2]
        (marks,) = [line for line in state.lines if line.get_label() == "sensors"]
        expected = np.hstack([points, other])
        assert np.array_equal(marks.get_xdata(), expected[0])
        assert np.allclose(marks.get_ydata(), result.state(expected) if mesh.dim == 1 else expected[1])
        assert not [line for line in control.lines if line.get_label() == "sensors"]
    assert solved(mesh, pc.Distributed()).sensors is None


def stretched(dim, *sides, far=0.0):
    mesh = {1: unit_interval, 2: unit_square, 3: unit_cube}[dim](3)
    return mesh.transform(lambda x: far + x * np.array(sides)[:, None])


DOMAINS = {
    "narrow": lambda: stretched(2, 0.05, 1.0), "flat": lambda: stretched(2, 1.0, 0.05),
    "narrower": lambda: stretched(2, 1.0, 1e-4), "small": lambda: disc(3, 1e-3),
    "far": lambda: stretched(2, 1e4, 1e4, far=7e4), "far and narrow": lambda: stretched(2, 50.0, 1e4, far=7e4),
    "far line": lambda: stretched(1, 1e4, far=7e4), "beam": lambda: stretched(3, 1.0, 0.05, 0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", DOMAINS)
def test_labels_of_ticks_do_not_overlap(name):
    mesh = DOMAINS[name]()
    elements = cell_lagrange(mesh, 1)
    figure = draw({title: field(elements, lambda x: 1 + x[0], title) for title in "abc"})
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    seen = 0
    for axes in (*figure.axes, *(bar for panel in figure.axes for bar in panel.child_axes)):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            labels = [label for tick in ticks for label in (tick.label1, tick.label2) if label.get_visible()]
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            for one, other in combinations(boxes, 2):
                assert not one.overlaps(other), (axes.get_title(), axis.axis_name)
            seen += len(boxes)
    assert seen > 10


def test_the_headline_rounds_the_bound_up():
    base = solved(unit_square(4), pc.Distributed())
    certificate = pc.Certificate(1.31e-7, 1.0, 1e-20, 0.25, "an affine equation")
    result = pc.Result(**{**base.__dict__, "certificate": certificate})
    title = result.plot().texts[0].get_text()
    assert r"1.4 \times 10^{-7}" in title
    assert "J = 0.25" in title
    assert f"{base.solves['total']:.0f} PDE solves" in title


def test_the_history_shows_estimates_and_certified_bounds():
    result = solved(unit_square(8), pc.Distributed(), method="primal-dual", tol=1e-4)
    axes = result.plot().axes
    panel = next(a for a in axes if a.get_title().startswith("distance"))
    estimate, certified, tolerance = panel.get_lines()
    history, norm = result.history, result.certificate.norm
    known = np.isfinite(history["bound"])
    assert np.array_equal(certified.get_xdata(), history["solves"][known])
    assert np.allclose(certified.get_ydata(), history["bound"][known] / norm)
    known = np.isfinite(history["estimate"])
    assert np.allclose(estimate.get_ydata(), history["estimate"][known] / norm)
    assert tolerance.get_ydata()[0] == 1e-4
    assert panel.get_yscale() == "log"


# -- export --------------------------------------------------------------------------------------------------------


def reread(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return meshio.read(path)


@pytest.mark.parametrize("mesh", [unit_interval(5), disc(3), unit_cube(2)], ids=["interval", "disc", "cube"])
@pytest.mark.parametrize("degree", [1, 2])
def test_export_round_trip(mesh, degree, tmp_path):
    result = solved(mesh, pc.Distributed(element="P0"), degree=degree)
    nodal = field(cell_lagrange(mesh, 1), lambda x: x[0])
    path = export(
        {"state": result.state, "adjoint": result.adjoint, "control": result.control, "x": nodal},
        tmp_path / "new" / "a",
    )
    assert path == tmp_path / "new" / "a.vtu"
    file = reread(path)
    kinds = {1: ("line", "triangle", "tetra"), 2: ("line3", "triangle6", "tetra10")}
    assert [block.type for block in file.cells] == [kinds[degree][mesh.dim - 1]]
    points = file.points[:, : mesh.dim].T
    assert not file.points[:, mesh.dim :].any()
    for name, values in file.point_data.items():
        assert np.isfinite(values).all()
        expected = {"state": result.state, "adjoint": result.adjoint, "x": nodal}[name](points)
        assert np.allclose(values, expected, atol=1e-12 * np.abs(expected).max())
    cells = file.cells[0].data.T
    middles, control = points[:, cells[: mesh.dim + 1]].mean(axis=1), result.control
    assert np.allclose(file.cell_data["control"][0], control.space.evaluate(control.array, middles))
    if degree == 2:
        # VTK: the nodes on edges follow the corners, in the order 01 12 02 03 13 23
        pairs = ((0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3))[: len(cells) - mesh.dim - 1]
        for row, (i, j) in zip(cells[mesh.dim + 1 :], pairs, strict=True):
            assert np.allclose(points[:, row], (points[:, cells[i]] + points[:, cells[j]]) / 2)


def test_export_of_parts_and_boundaries_has_their_points_only(tmp_path):
    mesh = unit_square(4).tag_part("half", lambda x: x[0] < 0.5)
    part = field(cell_lagrange(mesh, 1, "half"), lambda x: x[1])
    file = reread(part.save(tmp_path / "part"))
    assert len(file.points) == 15
    assert np.allclose(file.point_data["field"], file.points[:, 1])
    side = field(facet_lagrange(mesh, "right", 0), lambda x: x[1], "u")
    file = reread(side.save(tmp_path / "side.vtk"))
    assert np.allclose(file.points[:, 0], 1)
    assert np.allclose(file.cell_data["u"][0], file.points[file.cells[0].data, 1].mean(axis=1))
    ends = field(facet_lagrange(unit_interval(3), "boundary", 1), lambda x: 5 * x[0], "u")
    file = reread(ends.save(tmp_path / "ends"))
    assert file.cells[0].type == "vertex"
    assert np.allclose(file.point_data["u"], 5 * file.points[:, 0])


def test_results_are_exported_in_two_files(tmp_path):
    result = solved(unit_square(4), pc.Boundary("left"), degree=2)
    states, control = result.export(tmp_path / "r.vtu")
    assert set(reread(states).point_data) == {"state", "adjoint"}
    assert np.allclose(sorted(reread(control).point_data["control"]), sorted(result.control.array))
    actuated = solved(unit_square(4), pc.Actuators([1.0]))
    assert actuated.export(tmp_path / "s.vtu") == [tmp_path / "s.vtu"]


@pytest.mark.parametrize("ending", ["med", "H5M", "cgns", "hmf"])
def test_formats_that_need_h5py_say_so_at_once(ending, tmp_path, monkeypatch):
    monkeypatch.setattr("pdecontrol.export.find_spec", lambda name: None)
    monkeypatch.setattr("pdecontrol.export._meshio_mesh", lambda fields: pytest.fail("began to work"))
    result = solved(unit_square(4), pc.Distributed())
    with pytest.raises(pc.DataError, match=rf"new/f\.{ending}: \.{ending} files need h5py: take \.vtu, or pip install"):
        result.export(tmp_path / "new" / f"f.{ending}")
    assert not list(tmp_path.iterdir())


def test_formats_that_need_h5py_are_known():
    """So that none is refused without need, and none fails with an ImportError of its own."""
    kinds = {ending: kinds for ending, kinds in meshio.extension_to_filetypes.items() if ending in _HDF5}
    assert kinds.keys() == set(_HDF5)
    kinds["xdmf"] = ["xdmf"]  # written without
    modules = Path(meshio.__file__).parent.glob("*/*.py")
    users = {path.parent.name for path in modules if "import h5py" in path.read_text(encoding="utf-8")}
    assert users == {kind for several in kinds.values() for kind in several}


def test_what_cannot_be_exported_is_refused(tmp_path):
    mesh = unit_square(3)
    function = field(cell_lagrange(mesh, 1), 1.0)
    with pytest.raises(pc.DataError, match="nothing to write"):
        export({}, tmp_path / "f")
    with pytest.raises(pc.DataError, match="u is a vector of 2 numbers"):
        export({"u": pc.Field(np.ones(2), pc.Space(np.ones(2)))}, tmp_path / "f")
    with pytest.raises(pc.DataError, match="side lives on other cells"):
        export({"f": function, "side": field(facet_lagrange(mesh, "left", 1), 1.0)}, tmp_path / "f")
    with pytest.raises(pc.DataError, match="other lives on other cells"):
        export({"f": function, "other": field(cell_lagrange(unit_square(4), 1), 1.0)}, tmp_path / "f")
    with pytest.raises(pc.DataError, match="values that are NaN"):
        export({"gap": field(cell_lagrange(mesh, 1), np.nan)}, tmp_path / "f")
    with pytest.raises(pc.DataError, match=r"f\.nix: meshio cannot write this format"):
        export({"f": function}, tmp_path / "f.nix")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_pieces_cover_the_domain_and_have_the_values_at_every_degree(degree):
    elements = broken_lagrange(unit_square(3), degree)
    points, values = linear_pieces(elements, elements.points[0] - 2 * elements.points[1])
    edges = points[:, 1:] - points[:, :1]
    assert np.abs(np.linalg.det(edges.transpose(2, 0, 1))).sum() / 2 == pytest.approx(1.0)
    if degree:
        assert values == pytest.approx(points[0] - 2 * points[1], abs=1e-12)
    cells = broken_lagrange(unit_cube(2), degree)
    image = draw({"x": field(cells, lambda x: x[0])}).axes[0].images[0].get_array()
    assert not image.mask.any() and image.min() >= -1e-12 and image.max() <= 1 + 1e-12
