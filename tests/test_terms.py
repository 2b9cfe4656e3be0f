"""Proximal maps, projected controls and Fenchel-Young residuals against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdecontrol.space import Space, product
from pdecontrol.terms import ControlCost, LinearFunctional, Quadratic, StateCost
from pdecontrol.terms.control import soft

number = st.floats(-3.0, 3.0, allow_subnormal=False)


@st.composite
def costs(draw):
    lower = draw(st.sampled_from([-2.0, -0.5, 0.0, 0.7]))
    upper = lower + draw(st.sampled_from([0.0, 0.5, 2.5]))
    alpha, beta = draw(st.sampled_from([0.0, 1e-3, 1.0])), draw(st.sampled_from([0.0, 0.1, 1.0]))
    one = np.ones(1)
    return ControlCost(Space(2.0 * one), alpha, draw(number) * one, beta, lower * one, upper * one)


def grid(cost):
    return np.append(np.linspace(cost.lower[0], cost.upper[0], 20001), np.clip(0.0, cost.lower, cost.upper))


def integrand(cost, u):
    return 0.5 * cost.alpha * (u - cost.reference) ** 2 + cost.beta * np.abs(u)


@settings(max_examples=200, deadline=None)
@given(costs(), number, st.sampled_from([0.01, 1.0, 50.0]))
def test_prox_minimises(cost, v, r):
    u = cost.prox(np.array([v]), r)
    points = grid(cost)
    best = np.min(r * integrand(cost, points) + 0.5 * (points - v) ** 2)
    assert cost.feasible(u)
    assert (r * integrand(cost, u) + 0.5 * (u - v) ** 2)[0] <= best + 1e-12 * (1 + abs(best))


@settings(max_examples=200, deadline=None)
@given(costs(), number)
def test_argmin_minimises_and_its_residual_vanishes(cost, q):
    q = np.array([q])
    z = cost.argmin(q)
    points = grid(cost)
    assert (integrand(cost, z) + q * z)[0] <= np.min(integrand(cost, points) + q * points) + 1e-12
    assert cost.residual(z, q) == 0.0


@settings(max_examples=200, deadline=None)
@given(costs(), number, st.floats(0.0, 1.0))
def test_residual_is_the_fenchel_young_gap(cost, q, t):
    q = np.array([q])
    u = cost.lower + t * (cost.upper - cost.lower)
    z = cost.argmin(q)
    gap = 2.0 * (integrand(cost, u) + q * u - integrand(cost, z) - q * z)[0]  # the mass is 2
    assert cost.residual(u, q) == pytest.approx(gap, abs=1e-12)
    assert cost.residual(u, q) >= 0.0
    assert cost.residual(cost.upper + 1.0, q) == np.inf


def test_residual_is_free_of_cancellation():
    """At a distance delta from the minimiser the residual is alpha delta^2/2, to all digits."""
    one = np.ones(1)
    cost = ControlCost(Space(one), 1.0, 1e8 * one, 0.0, -np.inf * one, np.inf * one)
    z = cost.argmin(one)
    delta = 2.0**-20
    assert cost.residual(z + delta, one) == pytest.approx(delta**2 / 2, rel=1e-12)


@pytest.mark.parametrize("planted", [1.01, 0.99])
def test_planted_prox_is_caught(planted):
    """A prox with a step wrong by one per cent does not minimise."""
    one = np.ones(1)
    cost = ControlCost(Space(one), 1.0, 0 * one, 0.1, -2 * one, 2 * one)
    u = cost.prox(one, planted * 0.5)
    points = grid(cost)
    assert (0.5 * integrand(cost, u) + 0.5 * (u - 1.0) ** 2)[0] > np.min(
        0.5 * integrand(cost, points) + 0.5 * (points - 1.0) ** 2
    ) + 1e-7


def test_soft_threshold_gives_exact_zeros():
    v = np.array([-2.0, -1.0, -0.3, 0.0, 0.3, 1.0, 2.0])
    assert soft(v, 1.0).tolist() == [-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


def test_the_kink_of_argmin_without_a_tikhonov_term():
    """beta |u| + q u on a box is least at 0 up to |q| = beta, and at an end beyond, by however little."""
    beta, near = 0.3, np.nextafter(0.3, 1.0)
    q = np.array([-1.0, -near, -beta, -0.999 * beta, 0.0, 0.999 * beta, beta, near, 1.0])
    cost = ControlCost(Space(np.ones(q.size)), 0.0, 0.0, beta, -2.0, 1.0)
    assert cost.argmin(q).tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -2.0]


def test_inactive_set_is_the_derivative_of_argmin():
    generator = np.random.default_rng(5)
    n = 400
    cost = ControlCost(
        Space(np.ones(n)), 0.3, generator.normal(size=n), 0.4, np.full(n, -1.0), generator.uniform(-0.5, 1.5, n)
    )
    q = generator.normal(size=n)
    slope = (cost.argmin(q + 1e-7) - cost.argmin(q - 1e-7)) / 2e-7
    assert np.allclose(slope, -cost.derivative(q)(np.ones(n)), atol=1e-6)


def test_state_cost():
    """F and F* are conjugate, prox of F* by Moreau, linear components included."""
    generator = np.random.default_rng(6)
    space = product([Space(generator.uniform(0.5, 2.0, 5)), Space(np.ones(1))])
    target = generator.normal(size=5)
    cost = StateCost([Quadratic(space.factors[0], target), LinearFunctional(space.factors[1])])
    y = generator.normal(size=6)
    assert cost.value(y) == pytest.approx(0.5 * space.norm(np.append(y[:5] - target, 0.0)) ** 2 + y[5])
    p = cost.gradient(y)
    assert cost.distance(y, p) == 0.0
    for s in (0.1, 3.0):
        v = generator.normal(size=6)
        prox = cost.prox_conjugate(v, s)
        y_moreau = (v - prox) / s  # = argmin F(y) + s/2 ||y - v/s||^2
        stationarity = cost.gradient(y_moreau) + s * (y_moreau - v / s)
        assert np.abs(stationarity).max() < 1e-13
