"""Adjoints and states of which no error is known: certificates that they enter bound nothing, and are never NaN."""

import numpy as np
import pytest
from matrix_map import random_problem

from pdecontrol.certificate import certify_by_gap, certify_projection
from pdecontrol.maps import Linearisation


class Unknown(Linearisation):
    """A map at a control whose value errs by an unknown amount."""

    error = np.inf

    def __init__(self, at):
        self._at = at

    @property
    def value(self):
        return self._at.value

    def tangent(self, h):
        return self._at.tangent(h)

    def solve_adjoint(self, w, start=None):
        return self._at.solve_adjoint(w)


def bounds_nothing(certificate, alpha):
    assert certificate.bound == (np.inf if alpha > 0 else None)
    assert certificate.gap == np.inf and certificate.measure == np.inf and not certificate.optimal
    return not certificate.meets(1e3, 1e3)


@pytest.mark.parametrize("alpha", [1e-2, 0.0])
@pytest.mark.parametrize("seed", range(8))
def test_an_adjoint_of_infinite_error_makes_no_finite_bound_at_any_control(seed, alpha):
    objective, map, optimum = random_problem(np.random.default_rng(seed), alpha)
    at = map.at(optimum)
    p = objective.state.gradient(at.value)
    exact = at.solve_adjoint(p)
    adjoint = exact._replace(error=np.inf)
    assert bounds_nothing(certify_projection(objective, map, p, adjoint).certificate, alpha)
    projected = objective.control.argmin(adjoint.gradient)
    for u in (projected, optimum, 0.5 * (optimum + projected)):  # the distance to the projected control may be zero
        assert bounds_nothing(certify_by_gap(objective, map, map.at(u), u, p, adjoint).certificate, alpha)


@pytest.mark.parametrize("seed", range(8))
def test_a_state_of_infinite_error_makes_no_finite_bound(seed):
    objective, map, optimum = random_problem(np.random.default_rng(seed), 1e-2, functionals=0)
    at = map.at(optimum)
    p = objective.state.gradient(at.value)
    found = certify_by_gap(objective, map, Unknown(at), optimum, p, at.solve_adjoint(p)).certificate
    assert found.bound == np.inf and found.gap == np.inf


@pytest.mark.parametrize("alpha", [1e-2, 0.0])
def test_zero_is_not_shown_optimal_by_an_adjoint_of_infinite_error(alpha):
    objective, map, _ = random_problem(np.random.default_rng(2), alpha)
    zero = 0.0 * objective.control.reference
    cost = type(objective.control)(map.control, alpha, zero, 1e9, zero - 1.0, zero + 1.0)
    objective = type(objective)(objective.state, cost)
    p = objective.state.gradient(map.at(zero).value)
    exact = map.at(zero).solve_adjoint(p)
    assert certify_projection(objective, map, p, exact).certificate.optimal  # which the L1 term makes it
    assert not certify_projection(objective, map, p, exact._replace(error=np.inf)).certificate.optimal


@pytest.mark.parametrize("seed", range(8))
def test_a_state_that_is_known_is_not_taken_for_that_of_another_control(seed):
    """An adjoint whose error is not known is computed again, and projects to another control."""
    objective, map, optimum = random_problem(np.random.default_rng(seed), 1e-2)
    p = objective.state.gradient(map.solve(optimum))
    exact = map.at(optimum).solve_adjoint(p)
    rough = exact._replace(gradient=exact.gradient + 0.3 * np.abs(exact.gradient).max(), error=None)
    known = map.at(objective.control.argmin(rough.gradient))
    one = certify_projection(objective, map, p, rough, at=known)
    other = certify_projection(objective, map, p)
    assert one.certificate.bound == pytest.approx(other.certificate.bound, rel=1e-9, abs=1e-14)
    assert one.certificate.objective == pytest.approx(other.certificate.objective)
    assert map.control.norm(one.control - optimum) <= one.certificate.bound + 1e-12
