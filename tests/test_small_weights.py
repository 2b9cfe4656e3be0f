"""Runs at small Tikhonov weights against optima in extended precision, and errors planted in what makes them short."""

import sys

import numpy as np
import pytest
from optima import Long, Optimality, random_problem

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.fem import collective
from pdecontrol.fem.bounds import Rounding
from pdecontrol.linear.residual import Rows
from pdecontrol.solvers.dual_newton import projected
from pdecontrol.solvers.newton_path import NewtonPath, _staged, weighted
from pdecontrol.terms.control import ControlCost

pytest.importorskip("pyamg", reason="needs pyamg")
if np.finfo(Long).eps > 1e-18:
    pytest.skip(f"no extended precision on {sys.platform}", allow_module_level=True)

MEANT = (pc.Status.CERTIFIED, pc.Status.ROUNDING, pc.Status.REACHED)
PROBLEMS = {"E1": lambda alpha: reference.box(alpha).problem, "S1": lambda alpha: reference.stadler(alpha).problem}


def flux(alpha):
    """B: the flux through the boundary as control."""
    target = pc.Tracking(lambda x: np.sin(2 * np.pi * x[0]) * np.exp(x[1]) + (x[0] > 0.6) * x[1])
    terms = [pc.Tikhonov(alpha), pc.Box(-2, 2)]
    return pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Boundary("boundary"), target, terms, {})


def errors_and_bounds(problem, mesh, backend, tolerances=(1e-6, 1e-13)):
    """Of runs to some tolerances, with their results; the error is less what the optimum may err by."""
    for tol in tolerances:
        map = pc.discretise(problem, mesh, backend)
        result = pc.minimise(problem, map, tol=tol, max_solves=800)
        optimality, u = Optimality(problem, map), result.control.array
        found = optimality.optimum(u)
        if found is not None:
            yield optimality.norm(found[0] - u) - found[1], result.certificate.bound, result


# -- bounds are true -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pdecontrol.AdvectionWarning")
@pytest.mark.parametrize("number", range(10))
def test_bounds_of_random_problems(number):
    problem, mesh, degree, words = random_problem(np.random.default_rng([3, number]), 0.6)
    backend = pc.Embedded(degree=degree, linear_solver="direct" if number % 2 or "advection" in words else "amg")
    judged = 0
    for alpha in (1e-4, 1e-7, 1e-10):
        for error, bound, result in errors_and_bounds(problem.with_weights(alpha, None), mesh, backend):
            assert error <= bound, (words, alpha)
            assert alpha < 1e-4 or result.status in MEANT, (words, alpha)
            judged += 1
    assert judged >= 5


@pytest.mark.parametrize("linear_solver", ["direct", "amg"])
@pytest.mark.parametrize("make", [*PROBLEMS.values(), flux])
def test_bounds_at_their_rounding(make, linear_solver):
    for alpha in (1e-6, 1e-10):
        backend = pc.Embedded(linear_solver=linear_solver)
        for error, bound, result in errors_and_bounds(make(alpha), pc.unit_square(24), backend, (1e-13,)):
            assert error <= bound <= 1e-2 * result.certificate.norm and not result.success


def test_bounds_without_rounding_are_too_small(monkeypatch):
    monkeypatch.setattr(Rows, "rounding", lambda self, x, *_, **__: 0.0 * x)
    for name in ("load", "functional", "observed", "gradient"):
        right = getattr(Rounding, name)
        monkeypatch.setattr(Rounding, name, lambda self, a, right=right: 0.0 * right(self, a))
    monkeypatch.setattr(ControlCost, "argmin_error", lambda *_: 0.0)
    monkeypatch.setattr("pdecontrol.linear.solver.refine", lambda x, r, *_: (x, 0.0 * r))  # residuals are rounding too
    judged = [
        error > bound
        for alpha in (1e-5, 1e-6, 1e-7)
        for error, bound, _ in errors_and_bounds(PROBLEMS["E1"](alpha), pc.unit_square(24), pc.Embedded(), (1e-13,))
    ]
    assert any(judged)


# -- runs are short --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "most"), [("E1", (15, 28, 42, 61)), ("S1", (20, 27, 48, 84))])
def test_large_weights_take_no_more_solves_for_the_path(name, most):
    for alpha, limit in zip((1e-2, 1e-3, 1e-4, 1e-5), most, strict=True):
        result = pc.solve(PROBLEMS[name](alpha), pc.unit_square(64))
        assert result.success and result.solves["total"] <= limit, alpha


@pytest.fixture
def systems(monkeypatch):
    """Those of E1 and S1 at small weights, where all are solved at once and none is expected to take many."""
    monkeypatch.setattr(collective.Collective, "affordable", lambda *_: 0)

    def count(most=150):
        runs = [(make(alpha), pc.unit_square(32)) for make in PROBLEMS.values() for alpha in (1e-8, 1e-10)]
        return np.array([pc.solve(*run, max_solves=most).solves["systems"] for run in runs])

    return count


@pytest.mark.parametrize("alpha", [1e-8, 1e-10])
@pytest.mark.parametrize("seed", [(11, 16), (6, 0)], ids=["P0", "P1"])
def test_small_problems_at_small_weights_end_soon(seed, alpha):
    """Where many steps of conjugate gradients cost no more than a system, and do not suffice."""
    problem, mesh, degree, _ = random_problem(np.random.default_rng(seed))
    problem, backend = problem.with_weights(alpha, None), pc.Embedded(degree=degree, linear_solver="direct")
    result = pc.minimise(problem, pc.discretise(problem, mesh, backend), max_solves=2400, progress=False)
    assert result.status in MEANT and result.solves["systems"] >= 1


FEW = (16, 32, 16, 32)


def test_systems_are_few(systems):
    assert np.all(systems() <= FEW)


def test_sets_of_the_new_weight_make_more_systems(systems, monkeypatch):
    def kept(self, objective, map, state):
        """The dual vector of a weight at the next one."""
        weight = max(0.1 * state.weight, objective.control.alpha)
        new = projected(weighted(objective, weight), map, state.dual, state.adjoint, None, state.first_residual)
        return _staged(new, objective, weight, state.norm)

    few = systems().sum()
    monkeypatch.setattr(NewtonPath, "_next", kept)
    assert systems().sum() >= 1.5 * few


def test_a_tolerance_without_the_weight_makes_many_more(systems, monkeypatch):
    few = systems().sum()
    monkeypatch.setattr(collective, "TIGHTEST", 1e-3)
    assert systems().sum() >= 2 * few
