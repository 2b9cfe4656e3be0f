"""Outer weights of random hidden layers: linear problems that are solved beyond their normal equations."""

from dataclasses import replace

import numpy as np
import pytest

from pdecontrol import interface_reference as reference
from pdecontrol.pinn.features import random_features
from pdecontrol.pinn.functions.ansatz import hard
from pdecontrol.pinn.functions.domain import domain_of
from pdecontrol.pinn.functions.lifting import Lifting
from pdecontrol.pinn.functions.sampling import draw
from pdecontrol.pinn.system.system import System
from pdecontrol.pinn.training.collocation import Linear, Rows, _couple, _fixed, _least_squares, outer_weights
from pdecontrol.problem import L1, Box, Tikhonov


def made(exact, features, points, seed=0):
    problem = exact.problem
    domain = domain_of(problem, [(-1, 1), (-1, 1)])
    spaces = hard(domain, Lifting(domain, problem.boundary, {"gamma": 0.0}), 1.0)
    generator = np.random.default_rng(seed)
    systems = [System(problem, *spaces, draw(domain, n, n // 8, 0, generator)) for n in (points, points // 2)]
    return random_features(spaces[0], features, 1.5, generator), *systems


def dense(rows, c):
    """J (n, 2 M) and r."""
    blocks = [Linear(item.block.of_state, item.residual(c), item.own, item.coupling(c)) for item in rows]
    zero = np.zeros(rows[0].own.shape)
    pieces = []
    for block in blocks:
        own, other = block.own, zero[:1] if block.coupling is None else block.coupling
        other = np.broadcast_to(other, own.shape)
        pieces.append(np.hstack([own, other] if block.of_state else [other, own]))
    return blocks, np.vstack(pieces), np.concatenate([block.residual for block in blocks])


def normal(rows, blocks, count):
    matrix = _fixed(rows, count)
    for item, block in zip(rows, blocks, strict=True):
        if item.block.control is not None:
            free = block.coupling.any(axis=1)
            _couple(matrix, block.of_state, block.own[free], block.coupling[free])
    return matrix.reshape(2 * count, -1)


def test_normal_equations_are_those_of_the_derivative():
    layer, system, _ = made(reference.circle(), 30, 300)
    rows, c = [Rows(block, layer) for block in system.blocks], 0.3 * np.random.default_rng(4).standard_normal((2, 30))
    blocks, jacobian, residual = dense(rows, c)
    np.testing.assert_allclose(normal(rows, blocks, 30), jacobian.T @ jacobian, rtol=1e-10, atol=1e-10)
    direction, step = np.random.default_rng(5).standard_normal((2, 30)), 1e-6
    at = [np.concatenate([item.residual(c + sign * step * direction) for item in rows]) for sign in (1, -1)]
    np.testing.assert_allclose((at[0] - at[1]) / (2 * step), jacobian @ direction.ravel(), atol=1e-6)
    assert np.linalg.norm(residual) > 0


def test_least_squares_are_solved_where_normal_equations_fail():
    layer, system, _ = made(reference.circle(), 300, 1500)
    rows = [Rows(block, layer) for block in system.blocks]
    blocks, jacobian, residual = dense(rows, np.zeros((2, 300)))
    scaled = jacobian / np.linalg.norm(jacobian, axis=0)
    assert np.linalg.cond(scaled) > 1e8
    best = np.linalg.norm(residual + jacobian @ np.linalg.lstsq(jacobian, -residual, rcond=1e-15)[0])
    step = _least_squares(blocks, normal(rows, blocks, 300))
    assert np.linalg.norm(residual + jacobian @ step.ravel()) < 1.05 * best


@pytest.mark.parametrize(("bounds", "most"), [((-np.inf, np.inf), 1), ((-1.0, 1.0), 4)])
def test_without_bounds_one_step_is_enough(bounds, most):
    trained = outer_weights(*made(reference.circle(bounds=bounds), 100, 1000), lambda _: None)
    assert 1 <= len(trained.steps) <= most and trained.steps[-1].residual < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_newton_ends_where_the_derivative_vanishes_for_the_active_set_there(seed):
    """|r| of the next active set may be less than the linear problem has, which is no reason to stop."""
    exact = reference.circle(alpha=1e-2)
    exact = replace(exact, problem=replace(exact.problem, terms=[Tikhonov(1e-2), L1(2e-3), Box(-1.0, 0.3)]))
    layer, system, held_out = made(exact, 120, 800, seed)
    trained = outer_weights(layer, system, held_out, lambda _: None)
    c = np.array([trained.state.outer, trained.adjoint.outer])
    _, jacobian, residual = dense([Rows(block, layer) for block in system.blocks], c)
    slope = jacobian.T @ residual / np.linalg.norm(jacobian, axis=0)
    assert np.linalg.norm(slope) < 0.01 * np.linalg.norm(residual)
