"""Functions and results over time: files, figures, animations, starts and checkpoints."""

import warnings
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import meshio
import numpy as np
import pytest
from heat_map import Heat, moving, solved, stated
from matplotlib.backends.backend_agg import FigureCanvasAgg
from meshio.xdmf import TimeSeriesReader
from PIL import Image

import pdecontrol as pc
from pdecontrol.field import animate, draw, export
from pdecontrol.mesh.elements import cell_lagrange, facet_lagrange
from pdecontrol.plot import animation
from pdecontrol.plot.figures import arranged
from pdecontrol.space import Space, product
from pdecontrol.starts import control_on

EDGES = np.array([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
MESH = pc.unit_square(4)


def field(elements, function=moving, edges=None, name="y", times=EDGES[1:]):
    space = Space(elements.lumped_mass(), elements).over(times, np.full(len(times), 0.2), edges)
    return pc.Field(space.interpolate(function), space, name)


def numbers(values, name="u", edges=EDGES):
    space = Space(np.ones(np.shape(values)[1])).over(EDGES[1:], np.diff(EDGES), edges)
    return pc.Field(np.ravel(values).astype(float), space, name)


def rendered(figure):
    figure.set_dpi(50)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


# -- files -----------------------------------------------------------------------------------------------------------


def series(path):
    """Times, points and data by name of a series that was written."""
    if path.suffix == ".pvd":
        found = ElementTree.parse(path).getroot().findall("Collection/DataSet")
        files = [meshio.read(path.parent / item.get("file")) for item in found]
        data = [file.point_data | {name: values[0] for name, values in file.cell_data.items()} for file in files]
        return [float(item.get("timestep")) for item in found], files[0].points, data
    with TimeSeriesReader(path) as file:
        points, _ = file.read_points_cells()
        steps = [file.read_data(number) for number in range(file.num_steps)]
    return [t for t, *_ in steps], points, [at | {name: cells[0] for name, cells in of.items()} for _, at, of in steps]


@pytest.mark.parametrize("ending", [".pvd", ".xdmf"])
def test_series_for_paraview_have_the_values_of_each_time(ending, tmp_path):
    state, other = field(cell_lagrange(MESH, 1)), field(cell_lagrange(MESH, 0), lambda x, t: x[0] + t, EDGES, "u")
    still = replace(state.at(0.5), name="still")
    path = export({"y": state, "u": other, "still": still}, tmp_path / f"new/heat{ending}")
    times, points, data = series(path)
    assert times == EDGES[1:].tolist()
    middles = cell_lagrange(MESH, 0).points
    for t, values in zip(times, data, strict=True):
        assert set(values) == {"y", "u", "still"}
        assert np.array_equal(values["y"], state(points[:, :2].T, t))
        assert np.array_equal(values["u"], other(middles, t))
        assert np.array_equal(values["still"], still(points[:, :2].T))
    assert {item.name for item in path.parent.iterdir()} == {path.name} | (
        {"heat-times"} if ending == ".pvd" else set()
    )


def test_series_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    long, short = field(cell_lagrange(MESH, 1)), field(cell_lagrange(MESH, 1), times=EDGES[1:3])
    path = long.save(tmp_path / "y")
    assert path == tmp_path / "y.pvd" and len(list((tmp_path / "y-times").iterdir())) == 6
    before, write = path.read_bytes(), meshio.write
    piece = (tmp_path / "y-times/0001.vtu").read_bytes()
    for ending in ("pvd", "xdmf"):
        monkeypatch.setattr(meshio, "write", lambda path, mesh: 1 / (path.stem[1:5] != "0001") and write(path, mesh))
        if ending == "xdmf":
            monkeypatch.setattr("pdecontrol.export._meshio_mesh", lambda functions: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            short.save(tmp_path / f"y.{ending}")
        monkeypatch.undo()
        assert path.read_bytes() == before and (tmp_path / "y-times/0001.vtu").read_bytes() == piece
        assert {item.name for item in tmp_path.iterdir()} == {"y.pvd", "y-times"}
    short.save(path)  # takes the place of the longer one
    assert series(path)[0] == [0.1, 0.2] and len(list((tmp_path / "y-times").iterdir())) == 2
    (tmp_path / "y-times/mine.txt").write_text("of somebody else")
    with pytest.raises(pc.DataError, match="y-times, where there is something else: take another name"):
        long.save(path)
    assert (tmp_path / "y-times/mine.txt").exists() and series(path)[0] == [0.1, 0.2]


def test_what_cannot_be_a_series_is_refused(tmp_path):
    state, other = field(cell_lagrange(MESH, 1)), field(cell_lagrange(MESH, 1), times=EDGES[2:])
    for make, message in (
        (
            lambda: export({"y": state, "p": other}, tmp_path / "a"),
            "p has other times than y: write it to its own file",
        ),
        (lambda: state.save(tmp_path / "y.vtu"), r"y\.vtu: functions of time are written to \.pvd or \.xdmf files"),
        (lambda: numbers(np.ones((6, 2))).save(tmp_path / "u"), "u is a vector of 2 numbers"),
        (lambda: replace(state, array=state.array * np.nan).save(tmp_path / "y"), "values that are NaN"),
        (lambda: export({"y": state, "z": field(facet_lagrange(MESH, "left", 1))}, tmp_path / "a"), "on other cells"),
    ):
        with pytest.raises(pc.DataError, match=message):
            make()
    assert not list(tmp_path.iterdir())


def test_xdmf_of_a_steady_function_needs_no_h5py(tmp_path):
    steady = field(cell_lagrange(MESH, 1)).at(0.5)
    for ending in (".xdmf", ".pvd"):
        times, points, (data,) = series(steady.save(tmp_path / f"y{ending}"))
        assert times == [0.0] and np.array_equal(data["y at t = 0.5"], steady(points[:, :2].T))
    assert {item.name for item in tmp_path.iterdir()} == {"y.xdmf", "y.pvd", "y-times"}


@pytest.fixture(scope="module")
def result():
    return solved(MESH)


@pytest.mark.parametrize("control", ["P1", "P0", "left", 2])
def test_results_come_back_from_files(control, tmp_path):
    result = solved(MESH, control)
    loaded = pc.load(result.save(tmp_path / "run"))
    for name in ("control", "state", "adjoint", "lower"):
        old, new = getattr(result, name), getattr(loaded, name)
        assert np.array_equal(old.array, new.array) and old.space.norm(old.array) == new.space.norm(new.array)
        assert (
            np.array_equal(old.space.times, new.space.times)
            and old.space.levels.times.span == new.space.levels.times.span
        )
        assert np.array_equal(old.at(0.3).array, new.at(0.3).array)
    points = np.array([[0.0, 0.0], [0.3, 0.8]])
    assert np.array_equal(loaded.state(points, 0.3), result.state(points, 0.3))
    if isinstance(control, str):
        assert np.array_equal(loaded.control(points, 0.05), result.control(points, 0.05))
    again = pc.load(loaded.save(tmp_path / "again"))
    assert np.array_equal(again.state.array, result.state.array)


def test_adjoints_at_other_times_are_saved_and_exported(result, tmp_path):
    base = result.state.space.base
    space = base.over(result.state.space.times - 1 / 12, np.full(6, 1 / 6))
    other = replace(result, adjoint=pc.Field(result.adjoint.array, space, "adjoint"))
    loaded = pc.load(other.save(tmp_path / "run"))
    assert np.array_equal(loaded.adjoint.space.times, space.times)
    assert np.array_equal(loaded.state.space.times, result.state.space.times)
    paths = other.export(tmp_path / "r.pvd")
    assert [path.name for path in paths] == ["r.pvd", "r-adjoint.pvd", "r-control.pvd"]
    assert [series(path)[0][0] for path in paths] == pytest.approx([1 / 6, 1 / 12, 1 / 6])
    assert [path.name for path in result.export(tmp_path / "s.xdmf")] == ["s.xdmf", "s-control.xdmf"]
    assert set(series(tmp_path / "s.xdmf")[2][0]) == {"state", "adjoint"}


def test_products_and_points_come_back_from_files(result, tmp_path):
    parts = [Space(np.array([2.0, 1.0]), points=np.array([[0.1, 0.7]])), Space(np.ones(3))]
    space = product(parts).over([0.5, 1.0], [0.5, 0.5], [0.0, 0.5, 1.0])
    state = pc.Field(np.arange(10.0), space, "state")
    loaded = pc.load(replace(result, state=state, adjoint=replace(state, name="adjoint")).save(tmp_path / "run"))
    assert loaded.state.space.norm(state.array) == space.norm(state.array)
    first, second = loaded.state.space.factors
    assert np.array_equal(first.base.points, parts[0].points) and second.base.points is None
    assert first.levels.times.span == (0.0, 1.0)


# -- figures -----------------------------------------------------------------------------------------------------------


def test_a_strip_shows_five_times_with_the_same_colours():
    times = np.linspace(0.05, 1.0, 20)
    state = field(cell_lagrange(MESH, 1), lambda x, t: t * x[0], times=times)
    figure = state.plot()
    axes = figure.axes
    assert [a.get_title() for a in axes] == ["$t = 0.05$", "$t = 0.3$", "$t = 0.55$", "$t = 0.75$", "$t = 1$"]
    limits = {(a.collections[0].norm.vmin, a.collections[0].norm.vmax) for a in axes}
    assert limits == {(0.0, 1.0)}
    for a, t in zip(axes, times[[0, 5, 10, 14, 19]], strict=True):
        assert np.max(a.collections[0].get_array()) == pytest.approx(t)
    assert rendered(figure).std() > 10
    few = field(cell_lagrange(MESH, 1), times=[0.1, 0.9]).plot()
    assert [a.get_title() for a in few.axes] == ["$t = 0.1$", "$t = 0.9$"]
    one = field(cell_lagrange(MESH, 1), times=[0.5]).plot()
    assert [a.get_title() for a in one.axes] == ["y, $t = 0.5$"]


def test_functions_on_an_interval_are_images_of_space_and_time():
    mesh = pc.unit_interval(10)
    linear = field(cell_lagrange(mesh, 1), lambda x, t: x[0] + 2 * t)
    (image,) = linear.plot().axes[0].images
    left, right, bottom, top = image.get_extent()
    assert (left, right, bottom, top) == (0, 1, 0.1, 1)
    values = np.asarray(image.get_array())
    t = bottom + (np.arange(len(values)) + 0.5) / len(values) * (top - bottom)
    x = (np.arange(values.shape[1]) + 0.5) / values.shape[1]
    assert np.allclose(values, x + 2 * t[:, None])
    steps = field(cell_lagrange(mesh, 0), lambda x, t: x[0] + 2 * t, EDGES)
    (image,) = steps.plot().axes[0].images
    assert image.get_extent() == [0, 1, 0, 1]
    values = np.asarray(image.get_array())
    assert len(np.unique(values.round(9))) == len(np.unique((steps.array).round(9)))
    assert values[0, 0] == pytest.approx(0.05 + 0.2) and values[-1, -1] == pytest.approx(0.95 + 2)
    part = mesh.tag_part("parts", lambda x: (x[0] < 0.25) | (x[0] > 0.75))
    (image,) = field(cell_lagrange(part, 1, "parts")).plot().axes[0].images
    assert np.ma.masked_invalid(image.get_array()).mask.mean() == pytest.approx(0.6, abs=0.01)


def test_functions_on_curves_are_images_over_arc_length():
    axes = field(facet_lagrange(MESH, "boundary", 1), lambda x, t: x[0] + 10 * x[1] + 100 * t).plot().axes[0]
    (image,) = axes.images
    values, extent = np.asarray(image.get_array()), image.get_extent()
    assert extent == [0, 4, 0.1, 1] and axes.get_xlabel() == "arc length from (0, 0)"
    length = (np.arange(values.shape[1]) + 0.5) / values.shape[1] * 4
    corners = np.interp(length, [0, 1, 2, 3, 4], [0, 1, 11, 10, 0])
    t = 0.1 + (np.arange(len(values)) + 0.5) / len(values) * 0.9
    assert np.allclose(values, corners + 100 * t[:, None])


def test_few_numbers_are_curves_and_many_an_image():
    rows = np.outer(np.arange(6.0), [1, -1, 0.5])
    axes = numbers(rows).plot().axes[0]
    curves = [line for line in axes.lines if len(line.get_xdata()) > 2]
    for column, line in zip(rows.T, curves, strict=True):
        x, y = line.get_data()
        assert np.array_equal(x, np.repeat(EDGES, 2)[1:-1]) and np.array_equal(y, np.repeat(column, 2))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["1", "2", "3"]
    line = numbers(rows[:, :1], edges=None).plot().axes[0].lines[-1]
    assert np.array_equal(line.get_xydata(), np.stack([EDGES[1:], rows[:, 0]], axis=1))
    (image,) = numbers(np.tile(np.arange(12.0), (6, 1))).plot().axes[0].images
    assert image.get_extent() == [0.5, 12.5, 0, 1] and set(np.unique(image.get_array())) == set(range(12))
    ends = field(facet_lagrange(pc.unit_interval(4), "boundary", 1)).plot().axes[0]
    assert [text.get_text() for text in ends.get_legend().get_texts()] == ["$x = 0$", "$x = 1$"]


RESULTS = {
    "square": lambda: solved(MESH),
    "square, P0": lambda: solved(MESH, "P0"),
    "side": lambda: solved(MESH, "left"),
    "actuators": lambda: solved(MESH, 3, terms=(pc.Tikhonov(1e-3), pc.Box(-0.1, 0.2))),
    "interval": lambda: solved(pc.unit_interval(10)),
    "interval, P0": lambda: solved(pc.unit_interval(10), "P0"),
    "ends": lambda: solved(pc.unit_interval(10), "boundary"),
    "cube": lambda: solved(pc.unit_cube(2), steps=2),
    "surface": lambda: solved(pc.unit_cube(2), "top", steps=2),
    "one step": lambda: solved(MESH, steps=1),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_over_time_are_drawn(name):
    figure = RESULTS[name]().plot()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rendered(figure).std() > 10
    shown = [
        *(axes.get_title() for axes in figure.axes),
        *(text.get_text() for part in figure.subfigs for text in part.texts),
    ]
    for title in ("state $y$", "control $u$", "adjoint state $p$", "distance"):
        assert sum(text.startswith(title) for text in shown) == 1, (title, shown)
    sets = sum(text.startswith("where $u$ is zero") for text in shown)
    assert sets == (name not in ("actuators", "ends"))
    assert "certified" in figure.texts[0].get_text()


def test_bounds_and_sensors_are_shown_over_time(result):
    controlled = solved(MESH, 3, terms=(pc.Tikhonov(1e-4), pc.Box(lambda t: [-0.1, -t, -np.inf], 0.05)))
    axes = next(a for a in controlled.plot().axes if a.get_title() == "control $u$")
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert len(dashed) == 4
    assert dashed[1].get_ydata() == pytest.approx(-np.repeat(np.arange(1, 7) / 6, 2))
    assert np.isnan(dashed[2].get_ydata()).all() and set(dashed[3].get_ydata()) == {0.05}
    figure = replace(result, sensors=np.array([[0.2, 0.7], [0.5, 0.5]])).plot()
    marked = [
        a
        for a in figure.axes
        if any(line.get_marker() == "o" and len(line.get_xdata()) == 2 for line in a.lines)
        and not a.get_title().startswith("distance")
    ]
    assert len(marked) == 5


def test_the_sets_over_time_have_the_measures_of_the_control():
    interval = solved(pc.unit_interval(10))
    axes = next(a for a in interval.plot().axes if a.get_title().startswith("where"))
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    space, u = interval.control.space, interval.control.array
    shares = [100 * space.integral(1.0 * (u == value)) / space.integral(1.0 + 0 * u) for value in (-0.5, 0, 0.8)]
    for share, name in zip(shares, ("(lower bound)", "$u = 0$", "(upper bound)"), strict=True):
        assert not share or any(label.endswith(f"{name}: {share:.1f} %") for label in labels), labels
    (image,) = axes.images
    drawn = [100 * (image.get_array() == number).mean() for number in (0, 1, 3)]
    assert drawn == pytest.approx(shares, abs=0.6)


def test_steady_and_moving_functions_share_a_figure():
    fields = {
        "y": field(cell_lagrange(MESH, 1)),
        "k": field(cell_lagrange(MESH, 0)).at(0.5),
        "u": numbers(np.ones((6, 2))),
    }
    figure = draw(fields)
    assert len(figure.subfigs) == 2 and [len(part.axes) for part in figure.subfigs] == [5, 2]
    assert rendered(figure).std() > 10
    assert arranged([]).axes == []


# -- animations --------------------------------------------------------------------------------------------------------


def test_animations_have_a_frame_for_each_time(result, tmp_path):
    path = result.animate(tmp_path / "new" / "heat.gif")
    with Image.open(path) as image:
        assert image.n_frames == 6 and image.info["loop"] == 0
        frames = []
        for number in range(6):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB"), dtype=float))
    assert all(np.abs(one - other).mean() > 0.5 for one, other in pairwise(frames))
    assert len({frame.shape for frame in frames}) == 1
    assert [item.name for item in path.parent.iterdir()] == ["heat.gif"]


def test_long_animations_leave_out_times_and_print_nothing(tmp_path, capfd, monkeypatch):
    assert animation._FRAMES == 60
    monkeypatch.setattr(animation, "_FRAMES", 5)
    times = np.linspace(0.01, 1.0, 100)
    long = pc.Field(np.sin(9 * times), Space(np.ones(1)).over(times, np.full(100, 0.01)), "u")
    path = long.animate(tmp_path / "u.gif")
    with Image.open(path) as image:
        assert image.n_frames == 5
    assert capfd.readouterr() == ("", "")


def test_progress_is_printed_on_terminals(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    numbers(np.arange(12.0).reshape(6, 2)).animate(tmp_path / "u.gif")
    assert "u.gif: 6 of 6 frames\n" in capfd.readouterr().err


def test_what_cannot_be_animated_is_refused(result, tmp_path):
    with pytest.raises(pc.DataError, match=r"heat\.mp4: animations are \.gif files"):
        result.animate(tmp_path / "heat.mp4")
    with pytest.raises(pc.DataError, match=r"y at t = 0\.1: nothing depends on time"):
        field(cell_lagrange(MESH, 1)).at(0.1).animate(tmp_path / "y.gif")
    with pytest.raises(pc.DataError, match="values that are NaN"):
        numbers(np.full((6, 2), np.nan)).animate(tmp_path / "y.gif")
    with pytest.raises(pc.DataError, match="there is nothing to animate"):
        animate({}, tmp_path / "y.gif")
    assert not list(tmp_path.iterdir())


# -- starts and checkpoints --------------------------------------------------------------------------------------------


FINE = np.linspace(0.0, 1.0, 13)


@pytest.mark.parametrize("control", ["P1", "P0", "left", 3])
def test_a_control_of_other_times_is_a_start(control):
    coarse, fine = Heat(MESH, EDGES, control), Heat(MESH, FINE, control)
    rows = np.random.default_rng(4).normal(size=(6, coarse.control.base.size))
    start = pc.Field(rows.ravel(), coarse.control, "u")
    found = fine.control.steps(control_on(fine, start, "start"))
    which = [0, 1, 2, 3, 3, 3, 4, 4, 5, 5, 5, 5]  # the coarse intervals in which the fine ones end
    assert np.array_equal(found, rows[which])
    assert np.array_equal(control_on(coarse, start, "start"), rows.ravel())
    still = pc.Field(rows[0], coarse.control.base, "u")
    assert np.array_equal(fine.control.steps(control_on(fine, still, "start")), np.tile(rows[0], (12, 1)))


def test_a_control_of_another_mesh_and_other_times_is_a_start():
    coarse, fine = Heat(MESH, EDGES), Heat(pc.unit_square(8), FINE)
    start = pc.Field(coarse.control.interpolate(lambda x, t: x[0] + t), coarse.control, "u")
    found = fine.control.steps(control_on(fine, start, "start"))
    levels = EDGES[1:][np.searchsorted(EDGES, FINE[1:] - 1e-9) - 1]
    assert found == pytest.approx(fine.control.base.points[0] + levels[:, None])


def test_starts_that_do_not_fit_are_refused():
    map, other = Heat(MESH, EDGES, 3), Heat(MESH, EDGES / 2, 3)
    steady = pc.discretise(steady_problem(), MESH)
    field = pc.Field(np.zeros(18), other.control, "u")
    for run, start, message in (
        (map, field, r"start: there are no values at t = 0\.7, but from t = 0 to 0\.5\. The controls of this problem"),
        (
            map,
            np.zeros((5, 3)),
            r"start: expected shape \(6, 3\), 6 times with 3 values each, or flat \(18,\), got \(5, 3\)",
        ),
        (
            map,
            numbers(np.zeros((6, 2))),
            r"start: expected shape \(6, 3\), .*got \(6, 2\)\. A control of this problem has 18",
        ),
        (steady, field, r"start depends on time, a control of this problem does not: take field\.at\(t\)"),
    ):
        with pytest.raises(pc.DataError, match=message):
            control_on(run, start, "start")


def steady_problem():
    return pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Distributed(), pc.Tracking(0.0), [pc.Tikhonov(1e-3)])


@pytest.mark.parametrize("method", ["primal-dual", "semismooth-newton", "fista"])
def test_runs_over_time_go_on_from_checkpoints(method, tmp_path):
    map = Heat(MESH, EDGES)
    problem, path = stated(map), tmp_path / "run"
    whole = pc.minimise(problem, map, method, tol=1e-12, max_iterations=6)
    pc.minimise(problem, map, method, tol=1e-12, max_iterations=3, checkpoint=path)
    parts = pc.minimise(problem, map, method, tol=1e-12, max_iterations=6, checkpoint=path, restart=True)
    assert np.array_equal(parts.control.array, whole.control.array)
    with pytest.raises(pc.PdecontrolError, match="of a different problem"):
        pc.minimise(stated(Heat(MESH, FINE)), Heat(MESH, FINE), method, checkpoint=path, restart=True)


def test_results_of_other_times_are_warm_starts(result, tmp_path):
    loaded = pc.load(result.save(tmp_path / "run"))
    map = Heat(MESH, np.linspace(0.0, 1.0, 7))
    again = pc.minimise(stated(map), map, "primal-dual", tol=1e-3, start=loaded)
    cold = pc.minimise(stated(map), map, "primal-dual", tol=1e-3)
    assert again.success and len(again.history) < len(cold.history) / 2
    fine = Heat(MESH, FINE)
    assert pc.minimise(stated(fine), fine, "primal-dual", tol=1e-3, start=loaded).success
