"""Functions on one side of an interface: values, gradients, what is refused, files and figures."""

import sys
from pathlib import Path

import meshio
import numpy as np
import pytest
from cases import box, cube, heat, interval, problem, rings, square, wave
from test_interfaces import BACKENDS, disc, stated, y_inside, y_outside
from test_isoparametric import bent, poisson, ringed

import pdecontrol as pc
from pdecontrol.errors import DataError
from pdecontrol.mesh.elements import cell_lagrange
from pdecontrol.space import Space
from pdecontrol.verify import observed_orders

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from variational import one_sided

TURN = np.linspace(0.1, 6.2, 40)
ON_GAMMA = 0.5 * np.stack([np.cos(TURN), np.sin(TURN)])
EXACT = {"inside": y_inside, "outside": y_outside}


def slope(y, x):
    """The gradient of an analytic function, by complex steps."""
    return np.stack([y(x + 1e-30j * axis[:, None]).imag / 1e-30 for axis in np.eye(len(x))])


def jumping(n, backend="skfem"):
    """The state with the jump y_outside - y_inside on the circle of radius 1/2."""
    with pc.discretise(stated(), disc(n), backend) as map:
        return map.field(map.control.zeros())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("side", EXACT)
def test_values_on_the_curve_are_those_of_the_side_with_the_orders_of_states(backend, side):
    if backend == "dolfinx":
        pytest.importorskip("dolfinx")
    errors, slopes = [], []
    for n in (8, 16, 32):
        state = jumping(n, backend)
        errors.append(np.abs(state(ON_GAMMA, side=side) - EXACT[side](ON_GAMMA)).max())
        missing = state.gradient(ON_GAMMA, side=side) - slope(EXACT[side], ON_GAMMA)
        slopes.append(np.sqrt((missing**2).mean()))
    assert 1.7 <= observed_orders(errors, 1 / np.array([8, 16, 32]))[-1] <= 2.3
    assert 0.7 <= observed_orders(slopes, 1 / np.array([8, 16, 32]))[-1] <= 1.3
    assert errors[0] < 0.1 < np.abs(y_inside(ON_GAMMA) - y_outside(ON_GAMMA)).min()


def test_isoparametric_cells_have_values_and_gradients_on_the_curve_of_the_orders_of_degree_two():
    sizes, errors = np.array([4, 8, 16]), {side: [] for side in EXACT}
    for n in sizes:
        with pc.discretise(stated(shape=pc.Circle(0.5)), disc(n), pc.Embedded(2)) as map:
            y = map.field(map.control.zeros())
        for side, exact in EXACT.items():
            missing = y.gradient(ON_GAMMA, side=side) - slope(exact, ON_GAMMA)
            errors[side].append([np.abs(y(ON_GAMMA, side=side) - exact(ON_GAMMA)).max(), np.sqrt((missing**2).mean())])
    for found in errors.values():
        of_values, of_gradients = (observed_orders(column, 1 / sizes)[-1] for column in np.transpose(found))
        assert 2.7 <= of_values <= 3.4 and 1.7 <= of_gradients <= 2.3


@pytest.mark.parametrize(
    "control", [pc.Distributed("inside"), pc.Boundary("gamma", "P0"), pc.Boundary("gamma")], ids=repr
)
def test_controls_on_a_side_are_evaluated_where_a_finer_mesh_goes_beyond_it(control):
    result = pc.solve(stated(control, shape=pc.Circle(0.5)), disc(4), discretisation=True)
    finer = pc.solve(stated(control, shape=pc.Circle(0.5)), disc(8), discretisation=True)
    assert 1.7 <= result.certificate.discretisation / finer.certificate.discretisation <= 5.5


def test_without_a_side_the_value_is_that_on_one_of_them():
    state = jumping(8)
    vertices = disc(8).points[:, np.unique(disc(8).facets("gamma"))]
    values = np.array([state(vertices, side=side) for side in EXACT])
    assert np.abs(values - state(vertices)).min(axis=0).max() <= 1e-12
    assert np.abs(values[0] - values[1]).min() > 0.1


def test_points_are_refused_that_are_farther_than_the_curve_may_be():
    state = jumping(4)
    edge = np.linalg.norm(np.subtract(*disc(4).points[:, disc(4).facets("gamma")[:, 0]].T))
    facet = disc(4).points[:, disc(4).facets("gamma")[:, :1]].mean(axis=1)
    outward = facet / np.linalg.norm(facet)
    assert np.isfinite(state(facet + 0.1 * edge * outward, side="inside")).all()
    with pytest.raises(DataError, match="1 of 1 points are not in the part 'inside', the first is point 0 at x ="):
        state(facet + 0.3 * edge * outward, side="inside")
    with pytest.raises(DataError, match="1 of 2 points are not in the part 'outside', the first is point 1"):
        state(np.array([[0.7, 0.0], [0.0, 0.0]]), side="outside")
    with pytest.raises(DataError, match="outside of the domain"):
        state(np.array([[1.1], [0.0]]))
    with pytest.raises(DataError, match=r"no side 'gamma', the parts of its domain are \['inside', 'outside'\]"):
        state(facet, side="gamma")


@pytest.mark.parametrize(
    ("make", "degree"), [(interval, 1), (interval, 2), (square, 1), (square, 2), (cube, 1), (cube, 2)]
)
def test_gradients_of_polynomials_are_exact(make, degree):
    mesh = make()
    exact = np.arange(1.0, mesh.dim + 1)[:, None]
    with pc.discretise(problem(boundary={"left": pc.Dirichlet()}), mesh, pc.Embedded(degree)) as map:
        nodes, x = map.solution.nodes, mesh.points[:, mesh.cells].mean(axis=1)
        y = pc.Field((exact * nodes**degree).sum(axis=0), map.solution)
        assert y.gradient(x) == pytest.approx(exact * degree * x ** (degree - 1), abs=1e-11)
        lower = mesh.points[:, mesh.cells[:, mesh.part("lower")]].mean(axis=1)
        assert np.array_equal(y.gradient(lower, side="lower"), y.gradient(lower))


def test_gradients_of_degree_three():
    pytest.importorskip("dolfinx")
    with pc.discretise(problem(), square(), pc.Parallel(3)) as map:
        nodes, x = map.solution.nodes, square().points[:, square().cells].mean(axis=1)
        y = pc.Field(nodes[0] ** 3 - nodes[0] * nodes[1], map.solution)
        assert y.gradient(x) == pytest.approx(np.stack([3 * x[0] ** 2 - x[1], -x[0]]), abs=1e-11)


def test_gradients_in_bent_cells_are_derivatives_of_values():
    with pc.discretise(poisson(), bent(ringed(6), "gamma", 0.5), pc.Embedded(2)) as map:
        y, h = map.field(map.control.interpolate(wave)), 1e-6
        for radius in (0.47, 0.499, 0.52):
            x = radius * np.stack([np.cos(TURN), np.sin(TURN)])
            steps = [h * axis[:, None] for axis in np.eye(2)]
            differences = np.stack([(y(x + step) - y(x - step)) / (2 * h) for step in steps])
            apart = np.abs(y.gradient(x) - differences).max(axis=0)
            assert np.quantile(apart, 0.9) <= 1e-8  # some points are within h of where cells meet
        for side in EXACT:
            assert np.abs(y(ON_GAMMA, side=side) - y(ON_GAMMA)).max() <= 1e-4


def test_both_sides_in_one_and_three_dimensions_and_of_nested_interfaces():
    given = problem(interface={"gamma": pc.Interface(value=2.0, inside="lower")})
    with pc.discretise(given, interval().tag_interface("gamma", "lower"), pc.Embedded(2)) as map:
        y, middle = map.field(map.control.zeros()), np.array([[0.4]])  # where the mesh has its middle
        assert y(middle, side="upper") - y(middle, side="lower") == pytest.approx([2.0], rel=1e-12)
        assert y.gradient(middle, side="upper") == pytest.approx(y.gradient(middle, side="lower"), rel=1e-10)
    core = {"inner": pc.Interface(value=lambda x: x[0], inside="core")}
    with pc.discretise(problem(interface=core), box().tag_part("rest", far)) as map:
        y, face = map.field(map.control.zeros()), np.array([[0.25, 0.75], [0.5, 0.4], [0.5, 0.6]])
        assert y(face, side="rest") - y(face, side="core") == pytest.approx(face[0], rel=1e-12)
    several = {"inner": pc.Interface(value=1.0, inside="core"), "outer": pc.Interface(value=-1.0, inside="bulk")}
    with pc.discretise(problem(interface=several), rings()) as map:
        y, vertex = map.field(map.control.zeros()), rings().points[:, rings().facets("inner")[:1, 0]]
        assert y(vertex, side="ring") - y(vertex, side="core") == pytest.approx([1.0], rel=1e-12)
        assert np.array_equal(y(vertex, side="bulk"), y(vertex)) or y(vertex, side="bulk") in (
            y(vertex, side="ring"), y(vertex, side="core"))  # fmt: skip


def far(x):
    return np.abs(x - 0.5).max(axis=0) > 0.25


def test_functions_of_time_have_sides():
    interface = {"inner": pc.Interface(value=lambda x, t: 1 + t, inside="core")}
    given = heat(initial={"core": -1.0, "ring": 0.0, "shell": 0.0}, interface=interface)
    result = pc.solve(given, rings(), tol=1e-3)
    vertex, t = rings().points[:, rings().facets("inner")[:1, 0]], result.state.space.times[-1]
    values = [result.state(vertex, t, side=side) for side in ("core", "ring")]
    assert values[1] - values[0] == pytest.approx([1 + t], rel=1e-10)
    assert values == [result.state.at(t)(vertex, side=side) for side in ("core", "ring")]
    assert np.array_equal(
        result.state.gradient(vertex, t, side="core"), result.state.at(t).gradient(vertex, side="core")
    )


def test_files_figures_and_exports_have_both_sides(tmp_path):
    given = stated(pc.Distributed(), terms=[pc.Box(-1.0, 1.0)])
    result = pc.solve(given, disc(8))
    again = pc.load(result.save(tmp_path / "sides"))
    for name in ("state", "control", "adjoint"):
        for side in EXACT:
            one, other = (getattr(r, name) for r in (result, again))
            assert np.array_equal(one(ON_GAMMA, side=side), other(ON_GAMMA, side=side))
    written = meshio.read(result.state.save(tmp_path / "state.vtu"))
    count = np.unique(disc(8).facets("gamma")).size
    assert len(written.points) == disc(8).points.shape[1] + count
    places, numbers = np.unique(written.points.round(9), axis=0, return_inverse=True)
    assert len(places) == disc(8).points.shape[1]
    twice = np.flatnonzero(np.bincount(numbers.ravel()) == 2)
    pairs = np.array([np.sort(written.point_data["state"][numbers.ravel() == place]) for place in twice])
    assert len(pairs) == count and np.ptp(pairs, axis=1).min() > 0.1
    panels = result.plot().axes
    seams = panels[0].collections[-1].get_segments()  # the interface, of either side
    assert {tuple(np.array(seam).mean(axis=0).round(9)) for seam in seams} == {
        tuple(x) for x in disc(8).points[:, disc(8).facets("gamma")].mean(axis=1).T.round(9).tolist()
    }
    plain = pc.solve(problem(), square()).plot().axes
    assert not plain[0].collections[-1].get_segments()


def test_controls_on_interfaces_are_drawn_against_arc_length(tmp_path):
    result = pc.solve(stated(pc.Boundary("gamma")), disc(8))
    axes = result.plot(tmp_path / "gamma.png").axes[1]
    drawn = np.concatenate(axes.collections[0].get_segments())
    gamma = disc(8).points[:, disc(8).facets("gamma")]
    assert np.ptp(drawn[:, 0]) == pytest.approx(np.linalg.norm(gamma[:, 0] - gamma[:, 1], axis=0).sum())
    assert drawn[0, 1] == drawn[-1, 1]  # the curve is closed
    exact, found = result.adjoint(ON_GAMMA, side="inside"), result.control(ON_GAMMA, side="gamma")
    assert np.abs(found - exact / 1e-2).max() <= 0.05 * np.abs(found).max()
    with pytest.raises(DataError, match="outside of the domain"):
        result.control(ON_GAMMA)


@pytest.mark.xdist_group("mpi")
def test_sides_on_two_ranks(tmp_path):
    pytest.importorskip("dolfinx")
    pytest.importorskip("mpi4py")
    from test_mpi import mpirun

    mpirun(2, Path(__file__).parent / "programs" / "variational.py", tmp_path / "found.npz", "sides")
    found, alone = np.load(tmp_path / "found.npz"), one_sided("skfem")
    for side in EXACT:
        assert np.abs(found[side] - alone[side]).max() <= 1e-9 * np.abs(alone[side]).max()
    assert "all processes give the same side" in str(found["differ"]) and "differ" not in alone


def test_what_has_no_sides_and_no_gradient():
    x = np.array([[0.5], [0.5]])
    flat = cell_lagrange(square(), 0)
    numbers, made = Space(np.ones(2)), Space(np.ones(2), evaluator=lambda a, points: a[0] + 0 * points[0])
    edge = pc.solve(problem(boundary={"left": pc.Dirichlet()}, control=pc.Boundary("right")), square()).control
    for field, message in (
        (pc.Field(flat.lumped_mass(), Space(flat.lumped_mass(), flat)), "constant on cells have no gradient"),
        (pc.Field(np.ones(2), numbers), "a vector of 2 numbers, not a function of space"),
        (pc.Field(np.ones(2), made), "not a function of finite elements"),
        (edge, "functions on a boundary or an interface have no gradient"),
    ):
        with pytest.raises(DataError, match=message):
            field.gradient(x)
    with pytest.raises(DataError, match="not a function of finite elements"):
        pc.Field(np.ones(2), made)(x, side="inside")
    assert pc.Field(np.ones(2), made)(x) == [1.0]
    with pytest.raises(DataError, match=r"no side 'lower', the parts of its domain are \['right'\]"):
        edge(np.array([[1.0], [0.5]]), side="lower")


TWO = {"inside": lambda x: x[0] - 3.0, "outside": lambda x: x[1] ** 2}


@pytest.mark.parametrize("backend", BACKENDS)
def test_functions_with_two_values_are_data_on_both_sides(backend):
    if backend == "dolfinx":
        pytest.importorskip("dolfinx")
    box = [pc.Box({"inside": -2.0, "outside": 1.0}, {"inside": -1.0, "outside": 2.0})]
    with pc.discretise(stated(terms=box), disc(6), backend) as map:
        nodes, u = map.observation.factors[0], pc.solve(stated(terms=box), disc(6), backend).control
        y = pc.Field(nodes.interpolate(TWO), map.solution)
        assert np.ptp(u.array) >= 2.0
        assert map.control.interpolate(u) == pytest.approx(u.array, abs=1e-9)
        assert nodes.interpolate(y) == pytest.approx(y.array, abs=1e-9)
        assert nodes.interpolate(dict.fromkeys(TWO, y)) == pytest.approx(y.array, abs=1e-9)
        moving = pc.Field(np.concatenate([y.array, 2 * y.array]), map.solution.over([0.5, 1.0], [1.0, 1.0]))
        over = nodes.over([0.5, 1.0], [1.0, 1.0])
        assert over.interpolate(moving) == pytest.approx(moving.array, abs=1e-9)
    with pc.discretise(stated(tracking=pc.Tracking(0.0, on="inside")), disc(12), backend) as finer:
        nodes = finer.observation.factors[0]
        missing = nodes.interpolate(y) - nodes.interpolate(TWO["inside"])
        assert np.abs(missing).max() < 0.05  # 3 with values of the other side


def test_functions_with_two_values_on_nested_interfaces_are_data():
    several = {"inner": pc.Interface(inside="core"), "outer": pc.Interface(inside="bulk")}
    with pc.discretise(problem(interface=several), rings()) as map:
        nodes = map.observation.factors[0]
        y = pc.Field(nodes.interpolate({"core": 1.0, "ring": 2.0, "shell": 3.0}), map.solution)
        assert nodes.interpolate(y) == pytest.approx(y.array, abs=1e-9)
