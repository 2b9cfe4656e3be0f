"""Networks with several hidden layers: their derivatives, and training by Adam and L-BFGS."""

import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from marks import needs_torch

from pdecontrol import interface_reference as reference
from pdecontrol.errors import ProblemError, ResultFileError
from pdecontrol.pinn.functions.ansatz import hard, soft
from pdecontrol.pinn.functions.domain import domain_of
from pdecontrol.pinn.functions.lifting import Lifting
from pdecontrol.pinn.functions.sampling import draw
from pdecontrol.pinn.networks.deep import drawn
from pdecontrol.pinn.networks.layer import Layer
from pdecontrol.pinn.networks.network import CHUNK
from pdecontrol.pinn.networks.operator import Operator
from pdecontrol.pinn.system.system import System
from pdecontrol.pinn.training.adam import Adam
from pdecontrol.pinn.training.training import Task
from pdecontrol.problem import L1
from pdecontrol.result import Status
from pdecontrol.solvers.checkpoint import Checkpoint


def operator(count=30, inputs=3, second=True, seed=5):
    generator = np.random.default_rng(seed)
    x, slope = generator.uniform(-1, 1, (2, inputs, count))
    value, bend, offset = generator.standard_normal((3, count))
    directions = generator.standard_normal((2, inputs, count))
    return Operator(x, value, slope, bend if second else None, directions if second else None, offset)


def values(network, at, inputs):
    count = at.size
    plain = Operator(inputs, np.ones(count), np.zeros(inputs.shape), None, None, np.zeros(count))
    return network.apply(plain)


def along(network, at, direction, order, step=1e-3):
    """The derivative of a network along directions at points, by central differences of fourth order."""
    shifted = [values(network, at, at.inputs + k * step * direction) for k in (-2, -1, 0, 1, 2)]
    weights = {1: np.array([1, -8, 0, 8, -1]) / 12, 2: np.array([-1, 16, -30, 16, -1]) / 12}[order]
    return weights @ shifted / step**order


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("widths", [(7,), (8, 5), (6, 6, 6)])
def test_derivatives_agree_with_differences(widths, activation):
    at = operator()
    network = drawn(3, widths, activation, np.random.default_rng(3))
    wanted = at.offset + at.value * values(network, at, at.inputs) + along(network, at, at.slope, 1)
    wanted += at.bend * sum(along(network, at, direction, 2) for direction in at.directions)
    assert np.abs(network.apply(at) - wanted).max() < 1e-6 * np.abs(wanted).max()


@pytest.mark.parametrize("count", [40, CHUNK + 3])
@pytest.mark.parametrize("second", [True, False])
def test_one_hidden_layer_is_a_layer(second, count):
    at, network = operator(count, second=second), drawn(3, (9,), "tanh", np.random.default_rng(3))
    ((weights, biases),) = network.layers
    wanted = Layer(weights, biases).matrix(at) @ network.outer + at.offset
    assert np.abs(network.apply(at) - wanted).max() < 1e-13 * np.abs(wanted).max()


CASES = ["distributed", "control on the interface", "parabolic", "soft threshold", "soft conditions"]


@cache
def task(case="distributed"):
    """A small one of training, with points in space, on the interface, and in time."""
    problem = {
        "control on the interface": reference.control_on_circle,
        "parabolic": lambda: reference.heat(4),
    }.get(case, reference.circle)().problem  # fmt: skip
    if case == "soft threshold":
        problem = replace(problem, terms=[*problem.terms, L1(0.1)])
    domain, generator = domain_of(problem, [(-1, 1), (-1, 1)]), np.random.default_rng(11)
    jumps = {tag: item.value for tag, item in problem.interface.items()}
    lifting = Lifting(domain, dict(problem.boundary), jumps, getattr(problem.equation, "initial", None))
    if case == "soft conditions":
        ansatzes, weights = soft(domain, 1.0), (2.0, 3.0)
    else:
        ansatzes, weights = hard(domain, lifting, 1.0), None
    systems = [System(problem, *ansatzes, draw(domain, 60, 20, 20, generator), weights) for _ in range(2)]
    return Task(*systems, 7, progress=False)


def networks(system, widths, seed=2):
    generator = np.random.default_rng(seed)
    return [drawn(ansatz.inputs, widths, "tanh", generator) for ansatz in (system.state, system.adjoint)]


@needs_torch
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("widths", [(20,), (8, 6)])
def test_the_loss_is_the_residual_and_has_its_gradient(case, widths):
    from pdecontrol.pinn.training.loss import Loss

    system = task(case).system
    state, adjoint = networks(system, widths)
    theta = 3 * np.concatenate([state.flat, adjoint.flat])
    state, adjoint = state.at(theta[: state.flat.size]), adjoint.at(theta[state.flat.size :])
    weights = 1.0 + np.arange(len(system.blocks))
    loss = Loss(system, weights, (state, adjoint), "cpu")
    value, gradient = loss(theta)
    parts = [
        np.sum(block.residual(one.apply, other.apply) ** 2)
        for block in system.blocks
        for one, other in [(state, adjoint) if block.of_state else (adjoint, state)]
    ]
    assert value == pytest.approx(np.dot(weights, parts), rel=1e-12)
    direction, step = np.random.default_rng(4).standard_normal(theta.size), 1e-6
    difference = (loss(theta + step * direction)[0] - loss(theta - step * direction)[0]) / (2 * step)
    assert gradient @ direction == pytest.approx(difference, rel=1e-6)


SHORT = Adam(widths=(10,), steps=60, rates=[(0, 1e-2), (30, 3e-3)], refinement=40, every=20, device="cpu")


@needs_torch
def test_training_reduces_the_residual_and_goes_on_as_if_there_had_been_no_stop(tmp_path):
    whole = SHORT.train(task())
    first, adam, last = (whole.steps[k] for k in (0, 3, -1))
    assert adam.residual < 0.5 * first.residual and last.residual < 0.5 * adam.residual
    for refinement in (0, 20):  # a stop between Adam and L-BFGS, and one amidst the latter
        file = Checkpoint(tmp_path / f"{refinement}.npz", seconds=0.0)
        begun = replace(SHORT, refinement=refinement).train(task()._replace(checkpoint=file))
        resumed = SHORT.train(task()._replace(checkpoint=replace(file, restart=True)))
        assert len(begun.steps) < len(resumed.steps) == len(whole.steps)
        assert [step[:3] for step in resumed.steps] == [step[:3] for step in whole.steps]
        assert np.array_equal(resumed.state.flat, whole.state.flat)
        assert np.array_equal(resumed.adjoint.flat, whole.adjoint.flat)


@needs_torch
def test_an_interrupted_run_goes_on_and_only_as_itself(tmp_path, monkeypatch):
    from pdecontrol.pinn.training.loss import Loss

    calls, whole = [], Loss.__call__

    def interrupted(self, theta):
        calls.append(theta)
        if len(calls) == 50:
            raise KeyboardInterrupt
        return whole(self, theta)

    file = Checkpoint(tmp_path / "file.npz", seconds=0.0)
    with monkeypatch.context() as patched:
        patched.setattr(Loss, "__call__", interrupted)
        begun = SHORT.train(task()._replace(checkpoint=file))
    assert begun.status is Status.INTERRUPTED and [step.iteration for step in begun.steps] == [0, 20, 40]
    again = task()._replace(checkpoint=replace(file, restart=True))
    with pytest.raises(ResultFileError, match="is a checkpoint of Adam"):
        replace(SHORT, weights=(1, 1, 1, 1)).train(again)
    assert [step[:3] for step in SHORT.train(again).steps] == [step[:3] for step in SHORT.train(task()).steps]


@needs_torch
def test_the_best_weights_are_kept_where_training_diverges():
    trained = replace(SHORT, rates=[(0, 1e-2), (30, 1e3)], steps=2000, refinement=0, every=2).train(task())
    best = min(step.held_out for step in trained.steps)
    held_out = task().held_out
    found = np.linalg.norm(held_out.residual(trained.state.apply, trained.adjoint.apply)) / held_out.scale
    assert found == best < 1e-2 * trained.steps[-1].held_out
    assert trained.status is Status.DIVERGED and "diverged" in trained.note


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"widths": 100}, "widths is a list or a tuple, got 100"),
        ({"rates": [1e-3]}, "rates are pairs"),
        ({"widths": ()}, "a hidden layer at least"),
        ({"widths": (10, 0)}, "each of widths must be an integer of at least 1, got 0"),
        ({"steps": 0.5}, "steps must be an integer of at least 0"),
        ({"every": 0}, "every must be an integer of at least 1"),
        ({"rates": [(10, 1e-3)]}, "from step 0 on"),
        ({"rates": [(0, 1e-3), (5, -1.0)]}, "a rate must be positive"),
        ({"weights": (1.0, 1.0)}, "there are four weights"),
        ({"activation": "relu"}, "activation is 'tanh' or 'sigmoid'"),
        ({"seconds": 0}, "seconds must be positive"),
        ({"device": "gpu"}, "device is 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_bad_parameters_are_named(given, message):
    with pytest.raises(ProblemError, match=message):
        Adam(**given)


def test_without_torch_adam_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "pdecontrol.pinn.training.loss", None)
    with pytest.raises(ProblemError, match=r"pip install 'pdecontrol\[torch\]'"):
        SHORT.train(task())
