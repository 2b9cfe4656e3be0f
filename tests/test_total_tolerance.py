"""Tolerances on the distance to the continuous optimum: refinement, limits, files, figures, and what is refused."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from test_mpi import PROGRAMS, mpirun

import pdecontrol as pc
from pdecontrol.continuous.adapt import Goal, needed, observed_order, share_to_mark
from pdecontrol.continuous.analysis import Analysis
from pdecontrol.continuum import Level, Parts
from pdecontrol.errors import DataError, ProblemError
from pdecontrol.reference import box, poisson, stadler

sys.path.insert(0, str(PROGRAMS))
import total_tolerance

DIRICHLET = {"boundary": pc.Dirichlet()}
CORNER = pc.ControlProblem(
    pc.Elliptic(), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-3), pc.L1(1e-3), pc.Box(-5, 5)], DIRICHLET
)


@pytest.fixture(scope="module")
def corner():
    return pc.solve(CORNER, pc.l_shape(2), pc.Embedded(2), total_tol=2e-2)


def distance(one, other, count=200):
    """The distance of two controls on the L, by their values at points."""
    axis = -1 + 2 * (np.arange(count) + 0.5) / count
    points = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    points = points[:, (points[0] < 0) | (points[1] > 0)]
    return np.sqrt(3 * np.mean((one(points) - other(points)) ** 2))


def test_a_corner_is_refined_until_the_bound_meets_the_tolerance(corner):
    known = corner.certificate.continuous
    assert corner.success and corner.tol == 2e-2 and known.meets(2e-2) and known.relative <= 2e-2
    assert known.route == "corner" and 2.4 < known.order < 6.5
    assert sum(known.parts) == pytest.approx(known.bound, rel=1e-12)
    levels = corner.levels
    assert [level.unknowns for level in levels] == sorted({level.unknowns for level in levels})
    assert known.unknowns == levels[-1].unknowns < 2500 and levels[-1].bound == known.bound
    assert np.array_equal(corner.history["bound"], [level.bound for level in levels])
    assert (np.diff(corner.history["solves"]) > 0).all() and corner.history["solves"][-1] <= corner.solves["total"]
    smallest = levels[-1].mesh.points[:, levels[-1].mesh.cells[:, np.argmin(levels[-1].mesh.volumes)]]
    assert np.abs(smallest).max() < 0.1  # at the re-entrant corner
    finer = pc.solve(CORNER, pc.l_shape(2), pc.Embedded(2), total_tol=2e-3)
    apart = distance(corner.control, finer.control)
    assert known.bound / 60 < apart <= known.bound + finer.certificate.continuous.bound
    assert abs(corner.objective - finer.objective) < 0.01 * finer.objective


def test_uniform_refinement_and_absolute_tolerances():
    options = {"total_atol": 2.0, "backend": pc.Embedded(1)}
    uniform = pc.solve(CORNER, pc.l_shape(4), adapt=False, **options)
    adaptive = pc.solve(CORNER, pc.l_shape(4), **options)
    for result in (uniform, adaptive):
        assert result.success and result.certificate.continuous.bound <= 2.0 < result.levels[-2].bound
    assert [level.mesh.cells.shape[1] for level in uniform.levels[:2]] == [96, 384]
    assert adaptive.levels[-1].unknowns < uniform.levels[-1].unknowns


def test_limits_end_with_a_bound_and_what_would_be_needed():
    for limits, status in (({"max_unknowns": 600}, pc.Status.UNKNOWNS), ({"max_solves": 25}, pc.Status.SOLVES)):
        result = pc.solve(CORNER, pc.l_shape(4), total_tol=1e-3, **limits)
        known = result.certificate.continuous
        assert result.status is status and not result.success and not known.meets(1e-3)
        assert result.levels[-1].unknowns <= 600 and known.bound == result.levels[-1].bound
        assert "unknowns would be needed" in known.assumption
    seen = []
    stopped = pc.solve(
        CORNER, pc.l_shape(4), total_tol=1e-3, callback=lambda row: seen.append(row.bound) or len(seen) == 2
    )
    assert stopped.status is pc.Status.STOPPED and len(stopped.levels) == 2
    assert seen == [level.bound for level in stopped.levels]


def test_the_keyboard_ends_with_what_there_is(monkeypatch):
    improved, calls = Analysis.improved, []

    def interrupted(self, q):
        calls.append(self.mesh)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return improved(self, q)

    monkeypatch.setattr(Analysis, "improved", interrupted)
    result = pc.solve(CORNER, pc.l_shape(4), total_tol=1e-3)
    assert result.status is pc.Status.INTERRUPTED and not result.success and len(result.levels) == 2
    assert result.certificate.continuous.bound == result.levels[-1].bound
    one = pc.solve(CORNER, pc.l_shape(4), continuous=True)
    assert one.status is pc.Status.INTERRUPTED and one.certificate.relative <= 1e-6
    assert one.certificate.continuous is None is one.certificate.discretisation


def test_what_is_needed_follows_from_the_order():
    mesh = pc.unit_square(1)
    rows = [Level(mesh, n, 8.0 / n, 1.0, Parts(0, 0, 0, 0), np.zeros(2), 0, 0.0) for n in (100, 400)]
    assert observed_order(rows) == pytest.approx(2.0) and np.isnan(observed_order(rows[:1]))
    assert needed(tuple(rows), Goal(0.0, 1e-3, True, 1e9, 1e9)) == pytest.approx(8000)
    assert needed(tuple(rows[:1]), Goal(0.0, 1e-3, True, 1e9, 1e9)) == np.inf
    assert share_to_mark(10.0, 1.0, 2) == 0.75 and share_to_mark(1.0, 1.0, 2) == pytest.approx(0.1 / 0.875)


def test_files_and_figures(corner, tmp_path):
    loaded = pc.load(corner.save(tmp_path / "corner"))
    points = total_tolerance.POINTS
    assert np.array_equal(loaded.control(points), corner.control(points))
    assert np.array_equal(loaded.control.gradient(points), corner.control.gradient(points))
    assert str(loaded.certificate) == str(corner.certificate) and loaded.levels == ()
    assert loaded.certificate.continuous.parts == corner.certificate.continuous.parts
    figure = corner.plot_levels(tmp_path / "levels.png")
    assert (tmp_path / "levels.png").stat().st_size > 10_000
    assert "of the continuous problem" in figure.get_suptitle()
    with pytest.raises(DataError, match="total_tol"):
        loaded.plot_levels()


@pytest.mark.parametrize("element", ["P1", "P0", "variational"])
def test_one_mesh_and_its_control(element):
    exact = box(1e-3)
    problem, mesh = replace(exact.problem, control=pc.Distributed(element=element)), pc.unit_square(32)
    result = pc.solve(problem, mesh, continuous=True)
    known = result.certificate.continuous
    axis = (np.arange(150) + 0.5) / 150
    points = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    error = np.sqrt(np.mean((result.control(points) - exact.control(points)) ** 2))
    assert known.bound == pytest.approx(3.57e-2, rel=0.02) and 1.8 < known.bound / error < 2.3
    assert known.route == "convex" and "continuous" in str(result)
    with pc.discretise(problem, mesh) as map:
        plain = pc.minimise(problem, map)
        before = map.solves.total
        given = pc.certify(problem, plain.control, map, continuous=True).continuous
        assert map.solves.total > before and given.state_bound is None is given.gap
        own = known.bound + given.parts.distance
        assert given.bound == pytest.approx(own, rel=0.01) and given.parts.distance < known.bound
        true = pc.certify(problem, exact.control, map, continuous=True).continuous
    assert true.bound >= true.parts.distance > 0.9 * error


def test_controls_as_functions_are_what_the_adjoint_state_makes_of_them():
    result = pc.solve(stadler(1e-4).problem, pc.unit_square(16))
    points = np.random.default_rng(3).uniform(0.01, 0.99, (2, 500))
    q = result.adjoint(points)
    z = np.clip(-np.sign(q) * np.maximum(abs(q) - 1e-3, 0) / 1e-4, -30, 30)
    np.testing.assert_allclose(result.control(points), z, atol=1e-10)
    nodes = result.control.space.nodes
    np.testing.assert_allclose(result.control(nodes), result.control.array, atol=1e-8)
    slope, h = result.control.gradient(points), 1e-7
    for i in range(2):
        moved = points.copy()
        moved[i] += h
        quotient = (result.control(moved) - result.control(points)) / h
        assert np.median(np.abs(quotient - slope[i])) <= 1e-5 * np.abs(slope).max()
    with pytest.raises(DataError, match="outside"):
        result.control(np.array([[1.5], [0.5]]))


def test_three_dimensions_have_an_estimate_and_say_so():
    result = pc.solve(box(1e-2, 3).problem, pc.unit_cube(4), continuous=True)
    assert result.certificate.continuous.bound is None and result.certificate.discretisation > 0
    assert "not in three" in str(result) and "estimate" in str(result)


HALF = pc.unit_square(4).tag_part("half", lambda x: x[0] < 0.5)
REFUSED = {
    "Parabolic": (pc.ControlProblem(
        pc.Parabolic(pc.Elliptic(), T=1.0, steps=4), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)],
        DIRICHLET), pc.unit_square(4)),
    "not linear": (pc.ControlProblem(
        pc.Elliptic(semilinear=pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2, lambda y: 6 * y)), pc.Distributed(),
        pc.Tracking(1.0), [pc.Tikhonov(1e-2)], DIRICHLET), pc.unit_square(4)),
    "advection": (replace(CORNER, equation=pc.Elliptic(advection=(1.0, 0.0))), pc.l_shape(2)),
    "Robin": (replace(CORNER, boundary={"boundary": pc.Robin(1.0)}), pc.l_shape(2)),
    "Actuators": (replace(CORNER, control=pc.Actuators([lambda x: x[0]])), pc.l_shape(2)),
    "at points": (replace(CORNER, tracking=pc.Tracking([1.0], points=[[0.5], [0.5]])), pc.l_shape(2)),
    "Tikhonov": (replace(CORNER, terms=[pc.Box(-1, 1)]), pc.l_shape(2)),
    "not in three": (box(1e-2, 3).problem, pc.unit_cube(2)),
    "is an array": (replace(CORNER, tracking=pc.Tracking(np.ones(21))), pc.l_shape(2)),
    "part by part": (replace(CORNER, terms=[pc.Tikhonov(1e-2), pc.Box({"half": -1.0}, 1.0)]), HALF),
    "inside of cells": (replace(CORNER, equation=pc.Elliptic(diffusion=lambda x: 1 + x[0] ** 2)), pc.l_shape(2)),
    "finite-element function": (
        replace(CORNER, boundary={"boundary": pc.Dirichlet(lambda x: np.sin(3 * x[0]))}), pc.l_shape(2)),
    "constant on facets": (
        replace(poisson(1e-2).problem, boundary={"left": pc.Dirichlet(), "top": pc.Neumann(lambda x: x[0])}),
        pc.unit_square(4)),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_tolerances_without_a_bound_are_refused_before_any_solve(reason, monkeypatch):
    problem, mesh = REFUSED[reason]

    def solved(*_, **__):
        raise AssertionError("something was solved")

    monkeypatch.setattr("pdecontrol.linear.solver.LinearSolver.solve", solved)
    with pytest.raises(ProblemError, match=f"total_tol.*{reason}"):
        pc.solve(problem, mesh, total_tol=1e-2)


def test_other_bad_input_is_refused():
    mesh = pc.l_shape(2)
    for options, message in (
        ({"total_tol": 0.0}, "total_tol"), ({"total_tol": -1.0}, "total_tol"), ({"total_tol": np.nan}, "total_tol"),
        ({"total_tol": "small"}, "total_tol"), ({"total_tol": 0.1, "adapt": 3}, "adapt"),
        ({"total_atol": -1.0}, "total_atol"), ({"total_tol": 0.1, "max_unknowns": 0}, "max_unknowns"),
        ({"total_tol": 0.1, "checkpoint": "file.npz"}, "checkpoint"), ({"total_tol": 0.1, "atol": 0.1}, "atol"),
        ({"total_tol": 0.1, "max_solves": -3}, "max_solves"), ({"total_tol": 0.1, "discretisation": True}, "leave one"),
        ({"total_tol": 0.1, "backend": pc.Embedded(3)}, "degree"),
    ):  # fmt: skip
        with pytest.raises(ProblemError, match=message):
            pc.solve(CORNER, mesh, **options)
    zero = replace(CORNER, terms=[pc.Tikhonov(1e-3), pc.L1(1.0)])
    with pytest.raises(ProblemError, match="total_atol"):
        pc.solve(zero, mesh, total_tol=0.1)
    assert pc.solve(zero, mesh, total_tol=0.1, total_atol=5.0, max_unknowns=3000).levels


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
def test_several_processes_find_the_same_digits(tmp_path):
    pytest.importorskip("dolfinx", reason="the distributed engine needs dolfinx")
    expected = total_tolerance.answers(pc.Embedded, tmp_path)
    for ranks in (1, 2, 3):
        mpirun(ranks, PROGRAMS / "total_tolerance.py", tmp_path / "found.npy")
        found = np.load(tmp_path / "found.npy")
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9, err_msg=f"{ranks} ranks")


def test_controls_of_networks_have_a_bound_to_the_continuous_optimum():
    exact = box(1e-2)
    network = pc.solve(exact.problem, [(0, 1), (0, 1)], method="pinn")
    with pc.discretise(exact.problem, pc.unit_square(24), pc.Embedded(2)) as map:
        known = pc.certify(exact.problem, network.control, map, continuous=True).continuous
    points = np.random.default_rng(0).random((2, 20_000))
    error = np.sqrt(np.mean((network.control(points) - exact.control(points)) ** 2))
    assert error <= known.bound < 2e-3 and known.norm == pytest.approx(np.sqrt(0.134022), rel=1e-3)
