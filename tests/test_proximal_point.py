"""Proximal points: problems without a Tikhonov term against optima known otherwise, counts, restarts, bad input."""

from dataclasses import replace

import numpy as np
import pytest
from matrix_map import random_problem
from scipy.optimize import lsq_linear

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.solvers import loop
from pdecontrol.solvers.choice import choose
from pdecontrol.solvers.method import Start
from pdecontrol.solvers.proximal_point import FALL
from pdecontrol.terms import bind


def stadler(*terms):
    """S1 with other terms than its own."""
    return replace(reference.stadler(1.0).problem, terms=terms)


SPARSE, BANG = stadler(pc.L1(1e-3), pc.Box(-30, 30)), stadler(pc.Box(-30, 30))


@pytest.fixture(scope="module")
def small():
    return BANG, pc.discretise(BANG, pc.unit_square(10))


def iterates(objective, map, count):
    algorithm = pc.ProximalPoint().algorithm_for(objective, map)
    u = np.clip(map.control.zeros(), objective.control.lower, objective.control.upper)
    state = algorithm.begin(objective, map, Start(u, cold=True))
    for _ in range(count):
        yield state
        state = algorithm.step(objective, map, state)


def least(objective, map):
    """min J by the active sets of a dense bounded least squares problem."""
    lower, upper = (map.control.zeros() + bound for bound in (objective.control.lower, objective.control.upper))
    offset = map.solve(map.control.zeros())
    columns = np.stack([map.solve(unit) - offset for unit in np.eye(map.control.size)], axis=1)
    gram = np.stack([map.observation.dual(unit) for unit in np.eye(map.observation.size)])
    root = np.linalg.cholesky(gram).T
    target = -objective.state.gradient(offset)
    found = lsq_linear(root @ columns, root @ target, (lower, upper), method="bvls", tol=1e-15, max_iter=500)
    return objective.value(found.x, map.solve(found.x))


def test_the_gap_is_never_below_the_excess_over_a_dense_optimum(small):
    problem, map = small
    objective = bind(problem, map)
    optimum = least(objective, map)
    result = pc.minimise(problem, map, pc.ProximalPoint(), tol=1e-9)
    assert result.success and abs(result.objective - optimum) <= 2e-9 * optimum
    seen = 0
    for state in iterates(objective, map, 60):
        excess = objective.value(state.u, state.y) - optimum
        gap = objective.gap(state.u, state.y, state.dual, state.adjoint.gradient)
        assert -1e-15 <= excess <= gap + 1e-15
        stopped = pc.certify(problem, state.u, map)
        assert stopped.bound is None and excess <= stopped.gap
        seen += gap > 1e-3 * optimum
    assert seen >= 10


def test_optima_of_random_problems():
    generator = np.random.default_rng(41)
    for _ in range(20):
        objective, map, optimum = random_problem(generator, 0.0)
        start = Start(np.clip(map.control.zeros(), objective.control.lower, objective.control.upper), cold=True)
        stopping = loop.Stopping(1e-8, 0.0, 500, np.inf)
        result = loop.run(objective, map, pc.ProximalPoint(), start, stopping, progress=False)
        value = objective.value(optimum, map.solve(optimum))
        excess = result.objective - value
        assert result.success or result.status in (pc.Status.ROUNDING, pc.Status.REACHED), result
        assert excess <= result.certificate.gap + 1e-12 * abs(value)


def test_the_gap_vanishes_with_the_weight(small):
    """Where a problem is solved, its gap is at most 2 a ||u - c|| diam(box), and the next has half of the weight."""
    problem, map = small
    objective = bind(problem, map)
    before, weights = None, []
    for state in iterates(objective, map, 60):
        if before is not None and state.weight < before.weight:
            gap = objective.gap(before.u, before.y, before.dual, before.adjoint.gradient)
            moved = map.control.norm(before.u - before.centre)
            assert gap <= 2 * before.weight * moved * objective.control.diameter
            assert np.array_equal(state.centre, before.u)
            weights.append(state.weight / before.weight)
        before = state
    assert weights == pytest.approx([FALL] * len(weights)) and len(weights) >= 10


@pytest.mark.parametrize(
    ("problem", "n", "fewest", "most"), [(SPARSE, 64, 60, 250), (BANG, 64, 100, 1000)], ids=["L1", "box"]
)
def test_counts(problem, n, fewest, most):
    if problem is BANG:  # whose Newton systems are for multigrid
        pytest.importorskip("pyamg")
    result = pc.solve(problem, pc.unit_square(n), tol=1e-6)
    assert result.success and result.method == "proximal point (auto: there is no Tikhonov term)"
    assert fewest <= result.solves["total"] <= most
    assert np.isfinite(result.history["bound"]).sum() <= 8  # a certificate takes solves


def test_a_start_near_the_optimum_is_kept(small):
    """u* is a fixed point for any weight."""
    problem, map = small
    best = pc.minimise(problem, map, tol=1e-10)
    again = pc.minimise(problem, map, tol=1e-8, start=best)
    assert again.success and len(again.history) == 1 < len(best.history) / 5


def test_a_target_that_can_be_reached_ends_at_rounding():
    """min J = 0, to which no gap is small; the best control is the one of least gap."""
    problem = replace(BANG, tracking=pc.Tracking(lambda x: np.sin(np.pi * x[0]) * np.sin(np.pi * x[1])))
    result = pc.solve(problem, pc.unit_square(8))
    assert result.status in (pc.Status.REACHED, pc.Status.ROUNDING) and result.objective < 1e-24
    assert result.objective <= result.certificate.gap


@pytest.mark.parametrize("half", [3, 9, 10])
def test_restart_bit_for_bit(small, half, tmp_path):
    problem, map = small
    run = {"method": "proximal-point", "tol": 1e-15}
    whole = pc.minimise(problem, map, **run, max_iterations=20)
    pc.minimise(problem, map, **run, max_iterations=half, checkpoint=tmp_path / "run")
    parts = pc.minimise(problem, map, **run, max_iterations=20, checkpoint=tmp_path / "run", restart=True)
    assert np.array_equal(whole.control.array, parts.control.array)
    assert np.array_equal(whole.history["objective"], parts.history["objective"])
    assert whole.solves["total"] == parts.solves["total"]


def test_few_numbers_take_few_solves():
    """The rows or columns of L, and then a state and an adjoint for each step."""
    target = BANG.tracking[0].target
    sensors = np.stack(np.meshgrid(*2 * [np.linspace(0.1, 0.9, 5)])).reshape(2, -1)
    quarters = [
        lambda x, i=i, j=j: (x[0] > i) & (x[0] < i + 0.5) & (x[1] > j) & (x[1] < j + 0.5)
        for i in (0, 0.5)
        for j in (0, 0.5)
    ]
    for problem in (
        replace(BANG, tracking=pc.Tracking(target(sensors), points=sensors)),
        replace(BANG, control=pc.Actuators(quarters)),
    ):
        result = pc.solve(problem, pc.unit_square(24), tol=1e-6)
        assert result.success and result.solves["total"] <= 200


def test_iterative_solvers():
    pytest.importorskip("pyamg", reason="needs pyamg")
    mesh, results = pc.unit_square(20), []
    for solver in ("direct", "amg"):
        map = pc.discretise(SPARSE, mesh, pc.Embedded(linear_solver=solver))
        results.append(pc.minimise(SPARSE, map, tol=1e-6))
        assert results[-1].success
    direct, iterative = results
    assert abs(direct.objective - iterative.objective) <= 1e-6 * direct.objective


def test_what_the_method_needs(small):
    problem, map = small
    with pytest.raises(pc.ProblemError, match="ProximalPoint is for problems without a Tikhonov term: use Semismooth"):
        pc.minimise(replace(problem, terms=[*problem.terms, pc.Tikhonov(1e-3)]), map, "proximal-point")
    with pytest.raises(pc.ProblemError, match="alpha = 0 needs a box with finite lower and upper bounds"):
        pc.minimise(stadler(pc.L1(1e-3)), map, "proximal-point")
    cubic = pc.Elliptic(semilinear=pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2))
    with pytest.raises(pc.ProblemError, match="alpha = 0 with a nonlinear equation has no certificate"):
        pc.solve(replace(problem, equation=cubic), pc.unit_square(4), method="proximal-point")
    for wrong in ({"forcing": 1.0}, {"max_cg": 0}):
        with pytest.raises(pc.ProblemError, match=r"forcing < 1 and max_cg >= 1|max_cg must be positive"):
            pc.ProximalPoint(**wrong)
    objective = bind(problem, map)
    objective.state.quadratic = False  # as F with another second derivative
    assert choose("auto", objective, map)[0] == pc.FISTA()
    with pytest.raises(pc.ProblemError, match="needs a linear equation and quadratic tracking: use FISTA"):
        pc.ProximalPoint().algorithm_for(objective, map)
