"""Certificates are bounds: on random problems whose optima are known, with inexact solves; planted errors show."""

from dataclasses import replace

import numpy as np
import pytest
from cases import with_optimum
from matrix_map import MatrixMap, random_problem

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.certificate import certify_by_gap, certify_projection, error_bound
from pdecontrol.solvers.given_control import certify_any
from pdecontrol.space import Space
from pdecontrol.terms import ControlCost, Objective, Quadratic, StateCost

ALPHAS = [1.0, 1e-2, 1e-4, 1e-6, 1e-8]


def exact(map):
    """The map without errors in its adjoint."""
    return type(map)(map.matrix, map.offset, map.control, map.observation)


def rounding(objective, map, u):
    """||g||/alpha >= ||u - u*|| for the smallest subgradient g of the objective at u, and what rounding hides of g."""
    c, map = objective.control, exact(map)
    p = objective.state.gradient(map.solve(u))
    q = map.at(u).adjoint(p)
    mu = -(q + c.alpha * (u - c.reference))
    r = mu - np.where(u == 0, np.clip(mu, -c.beta, c.beta), c.beta * np.sign(u))
    g = np.where(u <= c.lower, np.maximum(r, 0.0), np.where(u >= c.upper, np.minimum(r, 0.0), r))
    return (map.control.norm(g) + 1e-15 * map.observation.norm(p)) / c.alpha


def excess(objective, map, u, u_star):
    """J(u) - J(u*), less its rounding."""
    value, least = (objective.value(v, exact(map).solve(v)) for v in (u, u_star))
    return value - least - 1e-12 * abs(value)


def candidates(generator, objective, u):
    """Controls near and far from the optimum, feasible and not."""
    size = np.exp(generator.uniform(-12.0, 2.0))
    noisy = u + size * generator.normal(size=u.size)
    yield noisy
    yield np.clip(noisy, objective.control.lower, objective.control.upper)
    yield np.zeros_like(u)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_never_violated_on_random_problems(alpha, noise):
    generator = np.random.default_rng(round(1e8 * alpha) + round(10 * noise) + 7)
    count, effectivity = 0, []
    for _ in range(100):
        objective, map, u_star = random_problem(generator, alpha, noise * alpha * np.exp(generator.uniform(-8.0, 0.0)))
        allowance = rounding(objective, map, u_star)
        assert allowance <= 1e-4 * (1.0 + map.control.norm(u_star))
        assert noise or certify_any(objective, map, u_star).bound <= 100 * allowance
        for u in candidates(generator, objective, u_star):
            certificate = certify_any(objective, map, u)
            error = map.control.norm(u - u_star)
            assert error <= certificate.bound + allowance
            assert excess(objective, map, u, u_star) <= certificate.gap
            count += 1
            if error > 100 * allowance and np.isfinite(certificate.gap):
                effectivity.append(certificate.bound / error)
    assert count == 300
    assert min(effectivity) >= 1.0 - 1e-6
    print(f"alpha {alpha:.0e}, noise {noise}: effectivity {np.median(effectivity):.2g} (worst {max(effectivity):.2g})")


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_the_gap_is_never_violated_without_a_tikhonov_term(noise):
    generator, count = np.random.default_rng(19), 0
    for _ in range(100):
        objective, map, u_star = random_problem(generator, 0.0, noise)
        assert noise or certify_any(objective, map, u_star).gap <= 1e-12
        for u in candidates(generator, objective, u_star):
            certificate = certify_any(objective, map, u)
            assert certificate.bound is None and excess(objective, map, u, u_star) <= certificate.gap
            count += np.isfinite(certificate.gap)
    assert count >= 150


def test_planted_wrong_bounds_are_caught():
    """The tests above would see a bound that is too small by a factor of two, or a gap without its second residual."""
    generator = np.random.default_rng(3)
    too_small = wrong_gap = 0
    for _ in range(100):
        objective, map, u_star = random_problem(generator, 1e-2)
        for size in (1e-4, 1e-2):
            noisy = u_star + size * generator.normal(size=u_star.size)
            u = np.clip(noisy, objective.control.lower, objective.control.upper)
            certified = certify_projection(objective, map, objective.state.gradient(map.solve(u)))
            error = map.control.norm(certified.control - u_star)
            too_small += error > 0.5 * certified.certificate.bound
            wrong_gap += excess(objective, map, u, u_star) > 0.5 * certify_any(objective, map, u).gap
    assert too_small > 5
    assert wrong_gap > 20


def test_bound_is_sharp():
    """In one dimension with ||S||^2 = alpha the bound is attained."""
    alpha = 1e-2
    map = MatrixMap(np.array([[np.sqrt(alpha)]]), np.zeros(1), Space(np.ones(1)), Space(np.ones(1)))
    cost = ControlCost(map.control, alpha, np.zeros(1), 0.0, np.full(1, -np.inf), np.full(1, np.inf))
    objective = Objective(StateCost([Quadratic(map.control, np.ones(1))]), cost)
    u_star = np.sqrt(alpha) / (2 * alpha)
    certified = certify_projection(objective, map, np.array([0.3]))
    error = abs(certified.control[0] - u_star)
    assert error == pytest.approx(certified.certificate.bound, rel=1e-12)


def test_error_bound_formula():
    assert error_bound(2.0, 0.0, 4.0) == pytest.approx(2.0 / (2 * 2.0))
    assert error_bound(0.0, 3.0, 4.0) == pytest.approx(3.0 / 4.0)


def test_success_rule():
    certificate = pc.Certificate(bound=1e-6, norm=1.0, gap=0.0, objective=1.0, assumption="")
    assert not certificate.meets(1e-6)
    assert certificate.meets(1.0000011e-6)
    assert certificate.meets(1e-9, atol=1e-6)
    assert not replace(certificate, norm=0.0).meets(1.0)
    assert replace(certificate, norm=0.0, optimal=True).meets(1e-9)
    gap_only = pc.Certificate(bound=None, norm=1.0, gap=1e-7, objective=2.0, assumption="")
    assert gap_only.meets(1e-7) and not gap_only.meets(4e-8)


@pytest.mark.parametrize("method", ["semismooth-newton", "primal-dual", "fista", "admm"])
def test_inexact_linear_solvers(method):
    """With multigrid the bound holds, errors of the linear solver included, and says what it rests on."""
    problem = reference.box(1e-4).problem
    mesh = pc.unit_square(20)
    exact_map = pc.discretise(problem, mesh)
    u_star = pc.minimise(problem, exact_map, tol=1e-11).control.array
    map = pc.discretise(problem, mesh, pc.Embedded(linear_solver="amg"))
    for tol in (1e-3, 1e-6):
        result = pc.minimise(problem, map, method, tol=tol)
        assert result.success and "estimated" in result.certificate.assumption and result.solves["inner"] > 0
        assert map.control.norm(result.control.array - u_star) <= result.certificate.bound


def test_the_gap_is_primal_minus_dual():
    """Against D(p) = <p, S(0)> - F*(p) - G*(-q) with the conjugates written out, in problems of moderate size."""
    generator = np.random.default_rng(23)
    for _ in range(30):
        objective, map, _ = random_problem(generator, 0.5)
        c, f = objective.control, objective.state
        u = np.clip(generator.normal(size=map.control.size), c.lower, c.upper)
        y = generator.normal(size=map.observation.size)
        p = f.gradient(y)
        adjoint = map.at(u).solve_adjoint(p)
        z = c.argmin(adjoint.gradient)
        conjugate_g = -c.value(z) - map.control.inner(adjoint.gradient, z)
        conjugate_f = map.observation.inner(y, p) - f.value(y)
        dual = map.observation.inner(p, map.offset) - conjugate_f - conjugate_g
        for control in (u, z):
            primal = objective.value(control, map.solve(control))
            gap = certify_by_gap(objective, map, map.at(control), control, p, adjoint).certificate.gap
            assert gap == pytest.approx(primal - dual, rel=1e-9, abs=1e-9)
        projected = certify_projection(objective, map, p).certificate
        assert projected.optimal or projected.gap == pytest.approx(primal - dual, rel=1e-9, abs=1e-9)


def test_errors_of_solves_enter_the_certificate():
    """An error e of q is worth e^2/(2 alpha) in the gap of z, e diam(box) without alpha; one of S(z) adds to d."""
    generator = np.random.default_rng(29)
    objective, map, _ = random_problem(generator, 0.5)
    p = objective.state.gradient(generator.normal(size=map.observation.size))
    adjoint = map.at(np.zeros(map.control.size)).solve_adjoint(p)
    clean = certify_projection(objective, map, p, adjoint).certificate
    e = 0.3
    inexact = certify_projection(objective, map, p, adjoint._replace(error=e)).certificate
    assert inexact.gap == pytest.approx(clean.gap + e**2 / (2 * 0.5))
    assert inexact.bound == pytest.approx((e + np.sqrt(e**2 + 0.5 * 2 * clean.gap)) / (2 * 0.5))
    noise = generator.normal(size=map.observation.size)
    map.state_noise = lambda: noise
    d = objective.state.distance(map.solve(certify_projection(objective, exact(map), p, adjoint).control), p)
    assert certify_projection(objective, map, p, adjoint).certificate.bound == pytest.approx(
        (d + map.observation.norm(noise)) / (2 * np.sqrt(0.5))
    )
    box = replace(objective.control, alpha=0.0, lower=-np.ones(map.control.size), upper=np.ones(map.control.size))
    without = Objective(objective.state, box)
    gaps = [
        certify_projection(without, exact(map), p, adjoint._replace(error=size)).certificate.gap for size in (0.0, e)
    ]
    assert gaps[1] - gaps[0] == pytest.approx(e * map.control.norm(2 * np.ones(map.control.size)))


# -- nonlinear equations ----------------------------------------------------------------------------------------------


def cubic(alpha, target, weight=1.0):
    term = pc.Semilinear(lambda y: weight * y**3, lambda y: 3 * weight * y**2)
    return pc.ControlProblem(
        pc.Elliptic(0.3, semilinear=term), pc.Distributed(), pc.Tracking(target), [pc.Tikhonov(alpha)],
        {"boundary": pc.Dirichlet()},
    )  # fmt: skip


@pytest.mark.parametrize(("alpha", "sharp"), [(1.0, 1.01), (1e-1, 1.2), (1e-2, 4.5), (1e-3, np.inf)])
def test_nonlinear_bounds_against_known_optima(alpha, sharp):
    """Controls at all distances from u*, and those of runs that are stopped early: no bound is below the error."""
    generator, mesh, given, projected = np.random.default_rng(31), pc.unit_square(6), [], []
    for weight, target in ((1.0, 1.0), (20.0, 0.5)):
        size = pc.discretise(cubic(alpha, target), mesh).control.size
        u_star = generator.normal(size=size) + 2.0
        problem, map = with_optimum(cubic(alpha, target, weight), mesh, u_star)
        for distance in (1e-6, 1e-3, 1e-1, 1.0):
            u = u_star + distance * generator.normal(size=size)
            certificate = pc.certify(problem, u, map)
            assert "strongly convex" in certificate.assumption
            given.append(certificate.bound / map.control.norm(u - u_star))
        for iterations in (1, 2, 3):
            result = pc.minimise(problem, map, "proximal-gradient", max_iterations=iterations)
            projected.append(result.certificate.bound / map.control.norm(result.control.array - u_star))
    assert min(given) >= 1.0 and min(projected) >= 1.0 and max(given) <= sharp
