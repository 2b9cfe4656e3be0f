"""Certificates of controls found elsewhere: bounds that are sharp at small weights, by given and by improved duals."""

from dataclasses import replace

import numpy as np
import pytest
from matrix_map import random_problem
from test_certificate import candidates, excess, rounding

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.solvers.given_control import LIMIT, certify_given


@pytest.mark.parametrize("alpha", [1.0, 1e-4, 1e-8])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_never_violated_whatever_the_dual_vector(alpha, noise):
    generator, sharp = np.random.default_rng(round(1e8 * alpha) + round(10 * noise)), []
    for _ in range(25):
        objective, map, u_star = random_problem(generator, alpha, noise * alpha * np.exp(generator.uniform(-8.0, 0.0)))
        allowance = rounding(objective, map, u_star)
        p_star = objective.state.gradient(map.matrix @ u_star + map.offset)
        for u in candidates(generator, objective, u_star):
            error, size = map.control.norm(u - u_star), np.exp(generator.uniform(-12.0, 2.0))
            for p in (None, p_star + size * generator.normal(size=p_star.size)):
                before = map.solves.total
                certificate = certify_given(objective, map, u, p)
                assert map.solves.total - before <= 4 + LIMIT
                assert error <= certificate.bound + allowance
                assert excess(objective, map, u, u_star) <= certificate.gap
                if not noise and error > 1e3 * allowance:
                    sharp.append(certificate.bound / error)
    assert noise or alpha < 1.0 or np.median(sharp) <= 3.1


def sensors(alpha):
    """S1 with 16 sensors in place of the whole target."""
    problem = reference.stadler(alpha).problem
    points = np.stack(np.meshgrid(*2 * [np.linspace(0.1, 0.9, 4)])).reshape(2, -1)
    return replace(problem, tracking=pc.Tracking(problem.tracking[0].target(points), points=points))


@pytest.mark.parametrize(
    ("problem", "size"),
    [(reference.box(1e-6).problem, 3e-8), (reference.box(1e-8).problem, 3e-8), (sensors(1e-8), 1e-6)],
    ids=["E1-1e-6", "E1-1e-8", "sensors-1e-8"],
)
def test_a_control_near_the_optimum_of_a_problem_with_a_small_weight(problem, size):
    pytest.importorskip("pyamg")  # for systems that take hundreds of solves otherwise
    map = pc.discretise(problem, pc.unit_square(64))
    best = pc.minimise(problem, map, tol=3e-9)
    u, x = best.control.array, map.control.points
    for error in (np.sin(np.pi * x[0]) * x[1], np.random.default_rng(2).normal(size=u.size)):
        given = u + size * map.control.norm(u) / map.control.norm(error) * error
        distance = map.control.norm(given - u)
        before = map.solves.total
        certificate = pc.certify(problem, given, map)
        assert map.solves.total - before <= 3 + LIMIT
        assert distance - best.certificate.bound <= certificate.bound <= 3.1 * distance
        before = map.solves.total
        by_dual = pc.certify(problem, given, map, dual=best)
        assert map.solves.total - before == 3 and distance - best.certificate.bound <= by_dual.bound <= 1.5 * distance


def test_what_may_be_given_as_a_dual_vector():
    problem = reference.stadler(1e-5).problem
    mesh = pc.unit_square(12)
    map = pc.discretise(problem, mesh)
    best = pc.minimise(problem, map, tol=1e-9)
    u = best.control.array + 1e-7
    bounds = [
        pc.certify(problem, u, map, dual=dual).bound
        for dual in (best, best.dual, best.dual.array, best.dual.array.tolist(), replace(best, weight=0.0))
    ]
    assert np.ptp(bounds) == 0.0
    other = pc.minimise(problem, pc.discretise(problem, pc.unit_square(12)), tol=1e-9)  # on spaces of its own
    assert pc.certify(problem, u, map, dual=other).bound == pytest.approx(bounds[0], rel=1e-3)


def test_dual_vectors_that_do_not_fit():
    problem = reference.stadler(1e-5).problem
    map = pc.discretise(problem, pc.unit_square(6))
    best = pc.solve(problem, pc.unit_square(4))
    for dual, message in (
        (np.zeros(7), r"dual: expected 49 finite numbers, got an array of shape \(7,\)"),
        (best, r"dual: expected 49 finite numbers, got an array of shape \(25,\)"),
        (np.full(49, np.nan), "dual: expected 49 finite numbers"),
        (replace(best, dual=None), "dual: expected 49 numbers, a field of what is observed, or a Result, got a Result"),
        (np.sin, "dual: expected 49 numbers, a field of what is observed, or a Result, got ufunc"),
    ):
        with pytest.raises(pc.DataError, match=message):
            pc.certify(problem, 0.0, map, dual=dual)
    cubic = pc.Elliptic(semilinear=pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2))
    nonlinear = replace(problem, equation=cubic)
    with pytest.raises(pc.ProblemError, match="dual= is for linear equations"):
        pc.certify(nonlinear, 0.0, pc.discretise(nonlinear, pc.unit_square(6)), dual=np.zeros(49))


def test_gaps_without_a_tikhonov_term():
    """No steps are taken, and a dual vector that is known is worth what it is."""
    problem = replace(reference.stadler(1.0).problem, terms=[pc.L1(1e-3), pc.Box(-30, 30)])
    map = pc.discretise(problem, pc.unit_square(12))
    best = pc.minimise(problem, map, tol=1e-8)
    given = np.clip(best.control.array + 1e-3, -30, 30)
    plain, by_dual = pc.certify(problem, given, map), pc.certify(problem, given, map, dual=best)
    assert plain.bound is None and 0 < by_dual.gap < plain.gap
    assert by_dual.objective - best.objective <= by_dual.gap


def test_duals_in_time():
    problem = reference.heat(8, 1e-6).problem
    map = pc.discretise(problem, pc.unit_square(6))
    best = pc.minimise(problem, map, tol=1e-7)
    given = best.control.array * (1 + 1e-5)
    distance = map.control.norm(given - best.control.array)
    assert distance <= pc.certify(problem, given, map, dual=best).bound <= 1.5 * distance


def test_a_run_that_has_been_certified_is_so_when_it_is_taken_up_again(tmp_path):
    """Its dual vector is in the file: the control alone would not do."""
    problem = reference.box(1e-7).problem
    map = pc.discretise(problem, pc.unit_square(16))
    first = pc.minimise(problem, map, tol=1e-8, checkpoint=tmp_path / "run")
    again = pc.minimise(problem, map, tol=1e-8, checkpoint=tmp_path / "run", restart=True)
    assert first.success and again.success and len(again.history) == len(first.history)
    assert again.certificate.bound == pytest.approx(first.certificate.bound, rel=0.1)
