"""Variational controls: orders, the law of the adjoint, both engines on any number of ranks, what users see of them."""

import sys
from dataclasses import replace
from pathlib import Path

import meshio
import numpy as np
import pytest
from cases import heat, interval, problem, square, wave
from test_isoparametric import bent, poisson, ringed

import pdecontrol as pc
from pdecontrol.driver import estimate_discretisation
from pdecontrol.errors import DataError, ProblemError
from pdecontrol.plot import pieces_around
from pdecontrol.reference import box
from pdecontrol.verify import adjoint_error, observed_orders

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from variational import VARIATIONAL, answers

VARIED = pc.Distributed(element="variational")


def skewed(n):
    return pc.unit_square(n).transform(lambda x: x + 0.05 * np.sin(2 * np.pi * x) * np.sin(5 * x[::-1]))


def solved(n, degree, control=VARIED):
    """E1 with a box that is active on a third of the square, and the norm of functions at points, and these."""
    return pc.solve(replace(box(1e-2).problem, control=control), skewed(n), pc.Embedded(degree), tol=1e-8)


@pytest.mark.parametrize(("degree", "order"), [(1, 2), (2, 3)])
def test_the_order_is_that_of_the_states_and_nodal_controls_lose_it_at_kinks(degree, order):
    sizes, errors, nodal, projected = (12, 24, 48), [], [], []
    for n in sizes:
        u, other = solved(n, degree).control, solved(n, degree, pc.Distributed()).control
        exact = box(1e-2).control(u.space.points)
        errors.append(u.space.norm(u.array - exact))
        interpolant = other.space.evaluate(other.array, u.space.points)
        nodal.append(u.space.norm(interpolant - exact))
        projected.append(u.space.norm(other(u.space.points) - exact))
    assert order - 0.15 <= observed_orders(errors, 1 / np.array(sizes))[-1] <= order + 0.15
    assert 1.3 <= observed_orders(nodal, 1 / np.array(sizes))[-1] <= 1.7  # 3/2: interpolation at the kinks
    # What the adjoint state makes of it has the order of nodal loads.
    assert 1.85 <= observed_orders(projected, 1 / np.array(sizes))[-1] <= 2.15 + 0.7 * (degree - 1)


@pytest.mark.parametrize("degree", [1, 2])
def test_the_control_is_what_the_adjoint_state_is_clipped_to(degree):
    result = solved(8, degree)
    u, space = result.control.array, result.control.space
    assert np.abs(u - np.clip(-result.adjoint(space.points) / 1e-2, -0.5, 0.5)).max() <= 1e-12
    assert result.success and result.certificate.bound <= 1e-8 * space.norm(u)
    assert 0.2 < space.integral((np.abs(u) == 0.5).astype(float)) < 0.45


@pytest.mark.parametrize("name", VARIATIONAL)
def test_adjoints_are_exact(name):
    make, degree, given = VARIATIONAL[name]
    backend = pc.Embedded if degree < 3 else pytest.importorskip("dolfinx") and pc.Parallel
    with pc.discretise(given, make(), backend(degree)) as map:
        u = map.control.interpolate(wave)
        assert adjoint_error(map, u) <= 1e-12
        assert adjoint_error(Lighter(map), u) > 1e-6


class Lighter:
    """A map in whose control space the first points weigh a thousandth more than they do."""

    def __init__(self, map):
        self._map, mass = map, map.control.mass.copy()
        mass[: mass.size // 4] *= 1.001
        self.control = replace(map.control, mass=mass)

    def __getattr__(self, name):
        return getattr(self._map, name)


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("part", [None, "patch"])
def test_entries_are_values_at_points_and_the_function_is_a_state_where_they_are_of_one(degree, part):
    control = pc.Distributed(part, "variational")
    with pc.discretise(problem(control=control), square(), pc.Embedded(degree)) as map:
        space, state = map.control, map.field(np.ones(map.control.size))
        assert space.nodes.shape == (2, space.size) and space.size == space.mass.size
        cells = square().cells if part is None else square().cells[:, square().part(part)]
        assert space.integral(np.ones(space.size)) == pytest.approx(pc.Mesh(square().points, square().cells).volumes[
            slice(None) if part is None else square().part(part)].sum(), rel=1e-13)  # fmt: skip
        middles = square().points[:, cells].mean(axis=1)
        same = pc.Field(state(space.nodes), space)
        assert same(middles) == pytest.approx(state(middles), rel=1e-12)
        assert same.gradient(middles) == pytest.approx(state.gradient(middles), rel=1e-10)


def test_bent_cells_have_their_own_weights_and_points():
    areas, points = [], 0.497 * np.stack([np.cos(range(9)), np.sin(range(9))])
    for mesh in (ringed(8), bent(ringed(8), "gamma", 0.5)):
        with pc.discretise(poisson(control=pc.Distributed("inside", "variational")), mesh, pc.Embedded(2)) as map:
            space, state = map.control, map.field(np.ones(map.control.size))
            areas.append(space.integral(np.ones(space.size)))
            same = pc.Field(state(space.nodes), space)
    assert same(points) == pytest.approx(state(points), rel=1e-10)  # some are beyond the polygon
    assert abs(areas[1] - np.pi / 4) < 1e-4 < 5e-3 < np.pi / 4 - areas[0]


def test_data_of_parts_are_those_of_the_cells():
    terms = [pc.Box({"lower": 0.1, "upper": lambda x: 1 + x[0]}, 5.0)]
    result = pc.solve(problem(control=VARIED, terms=terms, tracking=pc.Tracking(-1.0)), square())
    x, cells = result.control.space.points, np.arange(square().cells.shape[1])
    lower = np.repeat(np.isin(cells, square().part("lower")), x.shape[1] // cells.size)
    assert result.control.array == pytest.approx(np.where(lower, 0.1, 1 + x[0]), abs=1e-11)


@pytest.mark.parametrize("name", [name for name in VARIATIONAL if "P3" not in name])
def test_both_engines_have_the_same_entries(name):
    pytest.importorskip("dolfinx", reason="the distributed engine needs dolfinx")
    one, other = answers(pc.Embedded, [name]), answers(pc.Parallel, [name])
    assert len(one) == len(other) == 5
    for what, array in one.items():
        assert np.abs(array - other[what]).max() <= 1e-10 * np.abs(array).max(), what


@pytest.fixture(scope="module")
def serial():
    pytest.importorskip("dolfinx", reason="the distributed engine needs dolfinx")
    return answers(pc.Parallel)


@pytest.mark.xdist_group("mpi")
@pytest.mark.parametrize("ranks", [2, 3])
def test_entries_are_in_the_same_order_on_any_number_of_ranks(serial, ranks, tmp_path):
    pytest.importorskip("mpi4py")
    from test_mpi import mpirun

    mpirun(ranks, Path(__file__).parent / "programs" / "variational.py", tmp_path / "found.npz")
    found = np.load(tmp_path / "found.npz")
    assert len(serial) == 5 * len(VARIATIONAL)
    for what, array in serial.items():
        assert np.abs(array - found[what]).max() <= 1e-9 * np.abs(array).max(), what


def test_files_hold_controls_and_figures_their_sets(tmp_path):
    given = problem(
        control=pc.Distributed("patch", "variational"), terms=[pc.Box(-0.5, lambda x: 1 + x[0])], alpha=0.02
    )
    result = pc.solve(given, square(), pc.Embedded(2))
    again = pc.load(result.save(tmp_path / "varied"))
    middles = square().points[:, square().cells[:, square().part("patch")]].mean(axis=1)
    assert np.array_equal(again.control(middles), replace(result.control, function=None)(middles))
    assert np.array_equal(again.control.space.points, result.control.space.points)
    assert pc.solve(given, square(), pc.Embedded(2), start=again).solves["total"] < result.solves["total"]
    written = meshio.read(result.control.save(tmp_path / "control.vtu"))
    cells = written.cells_dict["triangle6"]
    assert cells.size == np.unique(cells).size == 6 * square().part("patch").size
    drawn = {ax.get_title(): ax for ax in again.plot(tmp_path / "varied.png").axes}
    sets = next(ax for title, ax in drawn.items() if title.startswith("where"))
    shares = [float(t.get_text().split(": ")[1].split()[0]) for t in sets.get_legend().get_texts()]
    assert len(shares) > 1 and sum(shares) == pytest.approx(100, abs=0.2)
    shown = drawn["control $u$"].collections[0].get_array()
    assert shown.min() >= -0.5 and shown.max() <= 1 + square().points[0].max()


@pytest.mark.parametrize("make", [interval, square])
def test_pieces_belong_to_the_nearest_points_of_their_cells(make):
    mesh = make()
    with pc.discretise(problem(control=VARIED), mesh, pc.Embedded(2)) as map:
        space, pieces = map.control, pieces_around(map.control.elements, map.control.points)
        assert np.array_equal(np.unique(pieces.dofs), np.arange(space.size))
        assert pieces.lumped_mass().sum() == pytest.approx(mesh.volumes.sum(), rel=1e-13)
        owners, middles = pieces.dofs[0], pieces.vertices[:, pieces.simplices].mean(axis=1)
        count = space.size // mesh.cells.shape[1]
        cell = mesh_cells(mesh, middles)
        assert np.array_equal(owners // count, cell)
        own = np.linalg.norm(middles - space.points[:, owners], axis=0)
        for k in range(count):
            assert (own <= np.linalg.norm(middles - space.points[:, cell * count + k], axis=0) + 1e-12).all()


def mesh_cells(mesh, points):
    """The numbers of the cells of points."""
    from pdecontrol.mesh.elements import cell_lagrange

    return np.round(cell_lagrange(mesh, 0).evaluate(np.arange(mesh.cells.shape[1], dtype=float), points)).astype(int)


def test_controls_in_time():
    given = heat(control=VARIED, terms=[pc.Box(-2.0, lambda x, t: 3 - t)])
    result = pc.solve(given, square())
    assert result.success
    x, (first, *_) = np.array([[0.3], [0.4]]), result.control.space.times
    assert result.control(x, first) == result.control.at(first)(x)
    assert result.control.at(first).array.size == result.control.space.base.size


@pytest.mark.parametrize(("degree", "n"), [(1, 12), (2, 8)])
def test_the_error_of_discretisation_is_estimated(degree, n):
    result, given = solved(n, degree), replace(box(1e-2).problem, control=VARIED)
    space, u = result.control.space, result.control.array
    error = space.norm(u - box(1e-2).control(space.points))
    estimate = estimate_discretisation(given, result, skewed(n), pc.Embedded(degree))
    assert 0.7 * error <= estimate <= 1.5 * error


@pytest.mark.parametrize("make", [pc.Coefficient, lambda element: pc.Boundary("left", element)])
def test_other_controls_are_not_variational(make):
    with pytest.raises(ProblemError, match="a control is variational where it is Distributed"):
        make(element="variational")


def test_mistakes():
    with pytest.raises(ProblemError, match="not 'P2'"):
        pc.Distributed(element="P2")
    with pytest.raises(DataError, match="outside of the domain"):
        solved(4, 1).control([[2.0], [0.0]])


def test_nodal_controls_make_quadratic_states_of_second_order_and_others_do_not():
    # -Laplace y = 1 with y = -|x|^2/4, which is quadratic
    def exact(x):
        return -(x**2).sum(axis=0) / 4

    def errors(element, n):
        stated = pc.ControlProblem(
            pc.Elliptic(), pc.Distributed(element=element), pc.Tracking(0.0), [pc.Tikhonov(1.0)],
            {"boundary": pc.Dirichlet(exact)},
        )  # fmt: skip
        with pc.discretise(stated, pc.unit_square(n), pc.Embedded(degree=2)) as map:
            y = map.field(np.ones(map.control.size))
        x = np.random.default_rng(141421).uniform(size=(2, 2000))
        slopes = y.gradient(x) + x / 2
        return np.sqrt([np.mean((y(x) - exact(x)) ** 2), np.mean(slopes**2)])

    orders = np.log2(errors("P1", 8) / errors("P1", 16))
    assert 1.8 < orders[0] < 2.2 and 0.8 < orders[1] < 1.2
    assert errors("P0", 8).max() < 1e-12 and errors("variational", 8).max() < 1e-12
