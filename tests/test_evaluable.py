"""Functions that are known at all points: values and times, data on both sides of interfaces, certificates."""

import re
from dataclasses import dataclass, replace
from functools import cache

import meshio
import numpy as np
import pytest
from marks import needs_gmsh
from test_interfaces import BACKENDS, disc

import pdecontrol as pc
from pdecontrol import interface_reference as reference
from pdecontrol.field import Field
from pdecontrol.mesh.elements import broken_lagrange, cell_lagrange, facet_lagrange
from pdecontrol.mesh.fit import snapped
from pdecontrol.space import Space

TIMES = np.array([0.5, 1.0, 2.0])
TURN = np.linspace(0.1, 6.2, 40)
ON_GAMMA = 0.5 * np.stack([np.cos(TURN), np.sin(TURN)])
SQUARE = [(-1, 1), (-1, 1)]


@dataclass(frozen=True)
class Wave:
    """x1 x2 + t^2 x1 on the disc of radius 1/2, 3 - x1 x2 + t^2 x1 outside; without t^2 where there is no time."""

    def evaluate(self, points, t=None, side=None):
        outside = self.outside(points, side)
        return points[0] * points[1] * (1 - 2 * outside) + 3.0 * outside + points[0] * (t or 0.0) ** 2

    def gradient(self, points, t=None, side=None):
        along = np.array([[1.0], [0.0]]) * (t or 0.0) ** 2
        return points[::-1] * (1 - 2 * self.outside(points, side)) + along

    def outside(self, points, side):
        return np.hypot(*points) > 0.5 if side is None else np.full(points.shape[1], side == "outside")


@dataclass(frozen=True)
class Analytic:
    """An exact solution as it is known on each side, or on the interface, and a constant more."""

    exact: reference.InterfaceReference
    more: float = 0.0

    def evaluate(self, points, t=None, side=None):
        sides, time = self.exact.control, () if t is None else (t,)
        if "gamma" in sides:
            return sides["gamma"](points, *time) + self.more
        return (self.exact.at(sides, points, *time) if side is None else sides[side](points, *time)) + self.more

    def gradient(self, points, t=None, side=None):
        raise NotImplementedError


def known(times=None, n=3):
    """A function with vectors of other values than its own, so that one sees which are taken."""
    elements = cell_lagrange(disc(n), 1)
    space = Space(elements.lumped_mass(), elements)
    space = space if times is None else space.over(times, np.ones(times.size))
    return Field(np.arange(space.size, dtype=float), space, "wave", Wave())


@pytest.mark.parametrize("side", [None, "inside", "outside"])
def test_values_and_gradients_are_those_of_the_function_at_all_times(side):
    still, moving = known(), known(TIMES)
    for t in (0.0, 0.7, 1.0, 9.0):  # between the times of the space, at one of them, and beyond
        assert np.array_equal(moving(ON_GAMMA, t, side=side), Wave().evaluate(ON_GAMMA, t, side))
        assert np.array_equal(moving.gradient(ON_GAMMA, t, side=side), Wave().gradient(ON_GAMMA, t, side))
    assert np.array_equal(still(ON_GAMMA, side=side), Wave().evaluate(ON_GAMMA, None, side))
    assert np.array_equal(still.gradient(ON_GAMMA, side=side), Wave().gradient(ON_GAMMA, None, side))
    for whole in (moving.gather(), moving.undivided()):
        assert np.array_equal(whole(ON_GAMMA, 0.7, side=side), moving(ON_GAMMA, 0.7, side=side))


@pytest.mark.parametrize("own", [True, False], ids=["function", "finite elements"])
def test_a_time_is_given_where_there_is_one_and_nowhere_else(own):
    fields = [known(), known(TIMES), known(TIMES).at(0.7)]
    still, moving, frozen = fields if own else [replace(field, function=None) for field in fields]
    inner = 0.5 * ON_GAMMA
    for take in (Field.__call__, Field.gradient):
        for one in (still, frozen):
            with pytest.raises(pc.DataError, match="does not depend on time: give it points alone"):
                take(one, inner, 0.7)
        with pytest.raises(pc.DataError, match="wave depends on time: give points and a time t"):
            take(moving, inner)
        with pytest.raises(pc.DataError, match="a time is a number, and they are taken one by one: got ndarray"):
            take(moving, inner, np.array([0.5, 1.0]))


def test_at_a_time_nodal_values_are_interpolated_and_the_function_is_frozen():
    moving = known(TIMES)
    frozen, rows = moving.at(0.75), moving.space.steps(moving.array)
    assert np.allclose(frozen.array, (rows[0] + rows[1]) / 2, rtol=1e-14) and not frozen.takes_time
    for side in ("inside", "outside"):
        assert np.array_equal(frozen(ON_GAMMA, side=side), moving(ON_GAMMA, 0.75, side=side))
        assert np.array_equal(frozen.gradient(ON_GAMMA, side=side), moving.gradient(ON_GAMMA, 0.75, side=side))
    with pytest.raises(pc.DataError, match=re.escape("no values at t = 9, but from t = 0.5 to 2")):
        moving.at(9.0)


def test_figures_and_files_have_the_nodal_values(tmp_path):
    still, moving = known(), known(TIMES)
    elements, values, times = moving.panel
    assert elements is moving.space.base.elements and np.array_equal(times.levels, TIMES)
    assert np.array_equal(values, moving.space.steps(moving.array))
    assert np.array_equal(np.sort(meshio.read(still.save(tmp_path / "still.vtu")).point_data["wave"]), still.array)
    moving.save(tmp_path / "moving.pvd")
    frames = sorted(tmp_path.rglob("moving*/*.vtu"))
    assert [np.ptp(meshio.read(frame).point_data["wave"]) for frame in frames] == 3 * [still.array.size - 1]
    for field in (still, moving):
        assert field.plot(tmp_path / "one.png").axes and (tmp_path / "one.png").stat().st_size
    assert moving.animate(tmp_path / "moving.gif").stat().st_size


def test_a_saved_result_has_the_nodal_values(tmp_path):
    problem = pc.ControlProblem(
        equation=pc.Elliptic(reaction=1.0),
        control=pc.Distributed(),
        tracking=pc.Tracking(1.0),
        terms=[pc.Tikhonov(1.0)],
    )
    solved = pc.solve(problem, pc.unit_square(2))
    control = replace(solved.control, function=Wave())
    back = pc.load(replace(solved, control=control).save(tmp_path / "result")).control
    node = control.space.nodes[:, -1:]
    assert np.array_equal(back.array, control.array) and back.function is None
    assert back(node) == pytest.approx(control.array[-1:]) and abs(control(node) - back(node)) > 0.1


def spaces(mesh):
    """Spaces in which both sides have values of their own, at the middles of edges too, and that of a part."""
    for elements in (broken_lagrange(mesh, 2), cell_lagrange(mesh, 0), cell_lagrange(mesh, 1, "outside")):
        members = {tag: np.unique(elements.dofs[:, cells]) for tag, cells in elements.parts.items()}
        yield Space(np.ones(elements.size), elements, members=members)


def test_as_data_they_have_the_values_of_each_side_also_where_a_mesh_goes_beyond_the_curve():
    """Chords of a coarse mesh leave points of the disc to the cells outside of it."""
    for space in spaces(disc(2)):
        over = space.over(TIMES, np.ones(3))
        for tag, own in space.members.items():
            at = space.nodes[:, own]
            assert np.allclose(space.interpolate(known(n=12))[own], Wave().evaluate(at, None, tag), atol=1e-11)
            rows = over.steps(over.interpolate(known(TIMES + 7.0, n=12)))
            exact = [Wave().evaluate(at, t, tag) for t in TIMES]
            assert np.allclose(rows[:, own], exact, atol=1e-11)


CONTROLS = {
    "P1": lambda n: reference.circle(),
    "P0": lambda n: reference.circle(element="P0"),
    "variational": lambda n: reference.circle(element="variational"),
    "on the circle": lambda n: reference.control_on_circle(),
    "on the circle, P0": lambda n: reference.control_on_circle(element="P0"),
    "of the flux": lambda n: reference.flux_control(),
    "in time": lambda n: reference.heat(8 * n, "crank-nicolson"),
}


@cache
def square(size, refined=0):
    interface = reference.circle().problem.interface
    mesh = pc.fitted_mesh(SQUARE, interface, size)
    for _ in range(refined):
        mesh = snapped(mesh.refine(), interface)
    return mesh


def exact_control(exact, more=0.0):
    """The exact control, with a vector on another mesh and at other times than those of maps."""
    problem, mesh = exact.problem, square(0.5)
    elements = facet_lagrange(mesh, "gamma", 1) if problem.control.on == "gamma" else cell_lagrange(mesh, 1)
    space = Space(elements.lumped_mass(), elements)
    if isinstance(problem.equation, pc.Parabolic):
        space = space.over(np.linspace(0.1, 1.5, 4), np.ones(4))
    return Field(space.zeros(), space, "control", Analytic(exact, more))


@needs_gmsh
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CONTROLS)
def test_the_certificate_of_an_exact_control_is_the_error_of_the_discretisation(name, backend):
    """||u - u_h*|| <= bound, where u_h* is known to 1e-10, and both fall with order two."""
    bounds = []
    for n in (1, 2):
        exact = CONTROLS[name](n)
        with pc.discretise(exact.problem, square(0.2, n - 1), backend) as map:
            bounds.append(pc.certify(exact.problem, exact_control(exact), map).bound)
            best = pc.minimise(exact.problem, map, tol=1e-10)
            error = map.control.interpolate(exact_control(exact)) - best.control.array
            distance = map.control.norm(error)
        assert best.success and 5e-4 < distance <= bounds[-1] + best.certificate.bound <= 1.05 * distance
    assert 3.2 <= bounds[0] / bounds[1] <= 5.0


@needs_gmsh
@pytest.mark.parametrize("name", ["P1", "variational", "on the circle", "in time"])
def test_a_planted_error_is_in_the_bound(name):
    """||s|| <= ||u + s - u_h*|| + ||u - u_h*||, with a shift s by far larger than the error of the discretisation."""
    exact = CONTROLS[name](1)
    with pc.discretise(exact.problem, square(0.1), "skfem") as map:
        least, planted = (pc.certify(exact.problem, exact_control(exact, more), map).bound for more in (0.0, 0.1))
        shift = map.control.norm(map.control.interpolate(0.1))
    assert least < 0.3 * shift and shift - least <= planted <= 1.2 * shift + least


@needs_gmsh
def test_a_run_starts_from_the_function_whatever_its_vector():
    exact = CONTROLS["P1"](1)
    with pc.discretise(exact.problem, square(0.2), "skfem") as map:
        starts = exact_control(exact), Field(map.control.zeros(), replace(map.control), function=Analytic(exact)), 0.0
        bounds = [
            pc.minimise(exact.problem, map, "fista", tol=1e-14, start=start, max_iterations=0).certificate.bound
            for start in starts
        ]
    assert bounds[0] == bounds[1] < 0.5 * bounds[2]


@needs_gmsh
def test_controls_with_time_are_refused_where_there_is_none():
    moving, still = CONTROLS["in time"](1), CONTROLS["P1"](1)
    with (
        pc.discretise(still.problem, square(0.5), "skfem") as map,
        pytest.raises(pc.DataError, match=r"depends on time, .* take field.at\(t\)"),
    ):
        pc.certify(still.problem, exact_control(moving), map)
    with pc.discretise(still.problem, square(0.5), "skfem") as map:
        values = map.control.interpolate(exact_control(moving).at(1.0))
        assert pc.certify(still.problem, exact_control(moving).at(1.0), map).norm == map.control.norm(values) > 0
