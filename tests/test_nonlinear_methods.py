"""Methods for nonlinear maps: Newton's with linearised problems, FISTA with restart, inexact ADMM; certificates."""

from dataclasses import replace

import numpy as np
import pytest
from matrix_map import random_problem

import pdecontrol as pc
from pdecontrol.certificate import certify_nonlinear
from pdecontrol.counter import Counter
from pdecontrol.linearised import Linearised
from pdecontrol.solvers import admm, normal_map_newton
from pdecontrol.solvers.method import Start
from pdecontrol.solvers.normal_map_newton import NormalMapNewton, NormalMapState
from pdecontrol.terms import bind
from pdecontrol.verify import adjoint_error, observed_orders


def cubic(alpha, weight=1.0, linear=0.0, reaction=0.0):
    term = pc.Semilinear(lambda y: weight * y**3 + linear * y, lambda y: 3 * weight * y**2 + linear)
    target = pc.Tracking(lambda x: np.sin(2 * np.pi * x[0]) * np.sin(2 * np.pi * x[1]) * np.exp(2 * x[0]) / 6)
    return pc.ControlProblem(
        pc.Elliptic(reaction=reaction, semilinear=term), pc.Distributed(), target,
        [pc.Tikhonov(alpha), pc.L1(1e-3), pc.Box(-30, 30)], {"boundary": pc.Dirichlet()},
    )  # fmt: skip


def burgers(alpha=0.1, viscosity=1 / 12, target=0.3):
    return pc.ControlProblem(
        pc.burgers(viscosity), pc.Distributed(), pc.Tracking(target),
        [pc.Tikhonov(alpha), pc.Box(-np.inf, 0.3)], {"boundary": pc.Dirichlet()},
    )  # fmt: skip


def started(problem, mesh, method):
    map = pc.discretise(problem, mesh)
    objective = bind(problem, map)
    algorithm = method.algorithm_for(objective, map)
    return objective, map, algorithm, algorithm.begin(objective, map, Start(map.control.zeros(), cold=True))


class Scalar(pc.SolutionMap):
    """S(u) = u + c u^2 of numbers."""

    affine, exact, twice, fingerprint = False, True, True, "scalar"

    def __init__(self, c):
        self.c = c
        self.control = self.observation = pc.Space(np.ones(1))

    def at(self, u, start=None, accuracy=None):
        return ScalarAt(self, u)


class ScalarAt(pc.Linearisation):
    def __init__(self, map, u):
        self.map, self.u = map, u

    @property
    def value(self):
        return self.u + self.map.c * self.u**2

    def tangent(self, h):
        return (1 + 2 * self.map.c * self.u) * h

    def solve_adjoint(self, w, start=None):
        return pc.Adjoint((1 + 2 * self.map.c * self.u) * w)

    def second(self, h, w, adjoint, outer):
        return self.adjoint(outer(self.tangent(h))) + 2 * self.map.c * h * w


# -- linearised maps and problems --------------------------------------------------------------------------------------


def test_a_linearised_map_touches_the_map_and_counts_on_it():
    map = pc.discretise(cubic(1e-2, 50.0), pc.unit_square(6))
    v, h = (20 * np.cos(k * np.arange(map.control.size)) for k in (1, 2))
    model = Linearised(map, v, map.at(v))
    assert model.affine and adjoint_error(model, v) <= 1e-12
    assert np.array_equal(model.solve(v), map.solve(v))
    errors = [map.observation.norm(map.solve(v + t * h) - model.solve(v + t * h)) for t in (1.0, 0.5, 0.25)]
    assert np.abs(observed_orders(errors, [4, 2, 1]) - 2).max() <= 0.2
    before = Counter(**{name: count for name, count in map.solves.snapshot().items() if name != "total"})
    model.solve(v + h), model.at(v).tangent(h), model.at(v).adjoint(map.observation.zeros())
    now = map.solves
    assert (now.state, now.tangent, now.adjoint) == (before.state, before.tangent + 2, before.adjoint + 1)


COUNTS = {
    "Burgers": (burgers(), pc.unit_interval(100), 7, 65),
    "Burgers, alpha 1e-4": (burgers(1e-4), pc.unit_interval(100), 20, 300),
    "Burgers, nu 1/100": (burgers(1e-2, 1 / 100, 1.0), pc.unit_interval(100), 7, 30),
    "y^3, alpha 1e-4": (cubic(1e-4), pc.unit_square(16), 7, 92),
    "100 y^3, alpha 1e-5": (cubic(1e-5, 100.0), pc.unit_square(16), 9, 174),
    "y^3, alpha 1e-6": (cubic(1e-6), pc.unit_square(16), 12, 300),
    "y^3 - 20 y": (cubic(1e-2, 1.0, -20.0, 1.0), pc.unit_square(16), 6, 61),
}


@pytest.mark.parametrize("name", COUNTS)
def test_solves_of_newtons_method_with_its_certificate(name):
    problem, mesh, steps, solves = COUNTS[name]
    result = pc.solve(problem, mesh, method="semismooth-newton", max_solves=1.02 * solves)
    assert result.success and len(result.history) - 1 <= steps and result.solves["total"] <= solves
    assert result.certificate.curvature > 0


def test_newtons_method_goes_on_within_its_linearised_problems(tmp_path):
    problem, path = burgers(1e-4), tmp_path / "run"
    map = pc.discretise(problem, pc.unit_interval(50))
    objective, _, newton, state = started(problem, pc.unit_interval(50), pc.SemismoothNewton())
    steps, values = 0, []
    while state.l is not None:
        assert steps < 20
        state, steps = newton.step(objective, map, state), steps + 1
    while state.l is None:
        values.append(objective.value(state.u, state.y))
        state = newton.step(objective, map, state)
    assert len(values) >= 2 and np.all(np.diff(values) < 0)
    assert np.array_equal(state.u, objective.control.argmin(state.l))
    whole = pc.minimise(problem, map, "semismooth-newton")
    run = {"method": "semismooth-newton", "checkpoint": path}
    pc.minimise(problem, map, **run, max_iterations=steps)
    parts = pc.minimise(problem, map, **run, restart=True)
    assert len(parts.history) == len(whole.history)
    assert np.abs(whole.control.array - parts.control.array).max() <= 1e-9 * np.abs(whole.control.array).max()


def linearised_step(monkeypatch, armijo):
    """From u = 0 with J(z) a little above J(0): by half of what a slope of the wrong sign would let pass."""
    alpha, target = 0.1, 1.0
    z = target / (1 + alpha)
    slope = -target * z + 0.5 * alpha * z**2
    misfit = np.sqrt(target**2 - alpha * z**2 - 1e-4 * slope)
    map = Scalar((target + misfit - z) / z**2)
    problem = pc.ControlProblem(tracking=pc.Tracking(target), terms=[pc.Tikhonov(alpha)])
    objective, u = bind(problem, map), np.zeros(1)
    at = map.at(u)
    dual = objective.state.gradient(at.value)
    state = NormalMapState(u, at.value, dual, at.solve_adjoint(dual), 1.0, 1.0, 1.0, at=at)
    monkeypatch.setattr(normal_map_newton, "ARMIJO", armijo)
    new = NormalMapNewton(0.3, 500).step(objective, map, state)
    assert new.l is None
    return new.u[0] / z, objective.value(new.u, new.y) < objective.value(u, at.value)


def test_steps_along_linearised_problems_reduce_the_objective(monkeypatch):
    assert linearised_step(monkeypatch, 1e-4) == (pytest.approx(0.5), True)
    assert linearised_step(monkeypatch, -1e-4) == (pytest.approx(1.0), False)  # as with the wrong sign of the slope


# -- primal-dual -------------------------------------------------------------------------------------------------------


def published(problem, mesh, method):
    """The iterations until no change of u or p is above 1e-5, relative to norms of 1 at least: the published rule."""
    objective, map, algorithm, state = started(problem, mesh, method)
    for iteration in range(1, 200):
        before, state = state, algorithm.step(objective, map, state)
        changes = [
            space.norm(now - then) / max(1.0, space.norm(then))
            for space, now, then in (
                (map.control, state.u, before.u), (map.observation, state.dual, before.dual))
        ]  # fmt: skip
        if iteration >= 3 and max(changes) <= 1e-5:
            return iteration
    return np.inf


@pytest.mark.parametrize("n", [100, 400])
def test_iterations_on_burgers_equation_by_the_published_rule(n):
    assert published(burgers(), pc.unit_interval(n), pc.PrimalDual()) <= 34
    assert abs(published(burgers(), pc.unit_interval(n), pc.PrimalDual(steps=(1.0, 0.2))) - 71) <= 3


def test_steps_at_the_limit_of_stability_are_shortened():
    """Where the residual falls, but far more slowly than valid steps make it."""
    problem = replace(cubic(1e-2, 1.0, -20.0, 1.0), tracking=pc.Tracking(1.0))
    result = pc.solve(problem, pc.unit_square(8), method="primal-dual", tol=1e-5, max_iterations=100)
    assert result.success


# -- FISTA with restart ------------------------------------------------------------------------------------------------


def test_fista_restarts_and_never_raises_the_objective():
    objective, map, fista, state = started(burgers(), pc.unit_interval(50), pc.FISTA())
    values, rests = [], 0
    for _ in range(30):
        values.append(objective.value(state.u, state.y))
        state = fista.step(objective, map, state)
        rests += state.momentum == 1.0 and np.array_equal(state.v, state.u)
        for u, y in ((state.u, state.y), (state.v, state.y_v)):
            assert np.allclose(y, map.solve(u), atol=1e-9)
    assert rests >= 2 and np.diff(values).max() <= 1e-12 * values[-1]
    best = pc.minimise(burgers(), map, tol=1e-8).control.array
    assert map.control.norm(state.u - best) <= 1e-3 * map.control.norm(best)


def test_the_steps_of_fista_follow_the_curvature():
    """The norm at the start is wrong by a factor of 30 either way."""
    problem, mesh = cubic(1e-2), pc.unit_square(8)
    counts = [
        len(pc.solve(problem, mesh, method=pc.FISTA(norm=norm), tol=1e-5).history) for norm in (0.0016, 0.05, 1.5)
    ]
    assert max(counts) <= min(counts) + 15


# -- ADMM --------------------------------------------------------------------------------------------------------------


def test_iterates_of_admm_solve_their_subproblems_to_the_criterion():
    objective, map, _ = random_problem(np.random.default_rng(21), 0.05, functionals=0)
    control, space, rho = objective.control, map.control, 0.2
    algorithm = pc.ADMM(rho=rho).algorithm_for(objective, map)
    state = algorithm.begin(objective, map, Start(np.clip(space.zeros(), control.lower, control.upper), cold=True))
    sigma = 0.99 * np.sqrt(2) / (np.sqrt(2) + np.sqrt(rho / control.alpha))
    u, exact = None, None
    for _ in range(12):
        z, l = state.u, state.multiplier

        def derivative(v, z=z, l=l):
            gradient = map.at(v).adjoint(objective.state.gradient(map.solve(v)))
            return control.alpha * (v - control.reference) + gradient + l + rho * (v - z)

        before = np.inf if u is None else space.norm(derivative(u))
        if u is not None:
            assert state.residual == pytest.approx(before, rel=1e-8)
        state = algorithm.step(objective, map, state)
        u = state.u + (state.multiplier - l) / rho  # by step 3
        assert space.norm(derivative(u)) <= sigma * min(before, space.norm(derivative(z))) * (1 + 1e-8) or u is z
        exact = replace(control, alpha=0.0).prox(u + l / rho, 1 / rho)
        assert np.allclose(state.u, exact, atol=1e-13) and control.feasible(state.u)


def test_admm_balances_its_penalty():
    """A first penalty that is wrong by 100 either way: its own one is found, a given one stays."""
    problem, mesh = cubic(1e-4), pc.unit_square(8)
    counts = []
    for factor in (1e-2, 1.0, 1e2):
        objective, map, algorithm, state = started(problem, mesh, pc.ADMM())
        best = pc.minimise(problem, map, tol=1e-8).control.array
        state = replace(state, rho=factor * state.rho)
        while map.control.norm(state.u - best) > 1e-4 * map.control.norm(best):
            assert state.iterations < 150
            state = algorithm.step(objective, map, state)
        counts.append(state.iterations)
    assert max(counts) <= 3 * min(counts)
    objective, map, algorithm, state = started(problem, mesh, pc.ADMM(rho=1e-3))
    for _ in range(6):
        state = algorithm.step(objective, map, state)
    assert state.rho == 1e-3


def test_admm_comes_nearer_where_there_is_no_state():
    term = pc.Semilinear(lambda y: -np.exp(y), lambda y: -np.exp(y))
    problem = pc.ControlProblem(
        pc.Elliptic(semilinear=term), pc.Distributed(), pc.Tracking(lambda x: 0.3 * np.sin(np.pi * x[0])),
        [pc.Tikhonov(1e-4), pc.Box(-50, 50)], {"boundary": pc.Dirichlet()},
    )  # fmt: skip
    objective, map, algorithm, state = started(problem, pc.unit_interval(16), pc.ADMM())
    state = replace(state, rho=1e-9, multiplier=state.multiplier + 1.0)
    new = algorithm.step(objective, map, state)
    assert new.rho >= 4e-9 and np.isfinite(new.y).all()


def test_penalties_where_something_vanishes():
    assert admm.penalty(1e-2, 0.0) == 1e-2 and admm.penalty(0.0, 0.0) == 1.0 and admm.penalty(0.0, 2.0) > 0


# -- certificates ------------------------------------------------------------------------------------------------------


def reduced_hessian(objective, map, u):
    """The Hessian of the smooth part at u on the directions of the inactive set, as a symmetric matrix; and on all."""
    at = map.at(u)
    p = objective.state.gradient(at.value)
    adjoint, outer = at.solve_adjoint(p), objective.state.second(at.value)
    root = np.sqrt(map.control.mass)
    matrix = np.stack(
        [root * at.second(e / root_e, p, adjoint, outer) for e, root_e in zip(np.eye(u.size), root, strict=True)]
    )
    inactive = objective.control.alpha * objective.control.derivative(adjoint.gradient)(np.ones(u.size)) == 1.0
    matrix += objective.control.alpha * np.eye(u.size)
    return np.linalg.eigvalsh(matrix[np.ix_(inactive, inactive)]), np.linalg.eigvalsh(matrix)


@pytest.mark.parametrize(("alpha", "weight", "level"), [(1e-2, 50.0, 1.0), (1e-4, 10.0, 3.0), (3e-3, 10.0, 2.0)])
def test_the_second_order_condition_is_reported(alpha, weight, level):
    """From below, where it is positive, positive on inactive directions alone, and negative."""
    term = pc.Semilinear(lambda y: weight * y**3, lambda y: 3 * weight * y**2)
    problem = pc.ControlProblem(
        pc.Elliptic(semilinear=term), pc.Distributed(), pc.Tracking(level),
        [pc.Tikhonov(alpha), pc.Box(-20, lambda x: np.where(x[0] < 0.3, -19.5, 30.0))], {"boundary": pc.Dirichlet()},
    )  # fmt: skip
    map = pc.discretise(problem, pc.unit_square(6))
    objective = bind(problem, map)
    for q in (19.9 * alpha, 10.0 * alpha, -alpha):
        certified, modulus = certify_nonlinear(objective, map, map.control.zeros() + q, None)
        inactive, everywhere = reduced_hessian(objective, map, certified.control)
        curvature = certified.certificate.curvature
        assert curvature == modulus and (certified.certificate.bound is not None) is (curvature > 0)
        assert curvature <= inactive[0] and curvature >= min(alpha, inactive[0], max(everywhere[0], 0)) - 0.71 * alpha
        assert ("second-order condition holds" in str(certified.certificate)) is (curvature > 0)


def test_the_second_order_condition_is_saved(tmp_path):
    result = pc.solve(burgers(), pc.unit_interval(20))
    loaded = pc.load(result.save(tmp_path / "result")).certificate
    assert loaded == result.certificate and 0.05 < loaded.curvature <= 0.1
    affine = pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)])
    assert pc.solve(affine, pc.unit_interval(4)).certificate.curvature is None


@pytest.mark.parametrize("method", ["primal-dual", "fista", "proximal-gradient", "admm"])
def test_maps_without_second_derivatives_settle_and_say_so(method):
    problem = cubic(1e-2)
    map = pc.discretise(problem, pc.unit_square(6))
    best = pc.minimise(problem, map, tol=1e-8)
    map.twice = False
    result = pc.minimise(problem, map, method, tol=1e-5)
    assert result.status is pc.Status.SETTLED and not result.success and "second derivatives" in result.message
    assert result.certificate.bound is None and "if F o S is convex" in result.certificate.assumption
    assert map.control.norm(result.control.array - best.control.array) <= 2e-5 * best.certificate.norm
    assert len(result.history) <= 100
