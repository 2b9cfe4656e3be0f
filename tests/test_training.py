"""Training of networks with one hidden layer: derivatives, accuracy, and what becomes of runs that stop or fail."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pdecontrol.errors import ConvergenceError, ProblemError, ResultFileError
from pdecontrol.interface_reference import circle, control_on_circle, flux_control, heat
from pdecontrol.pinn.functions.ansatz import hard
from pdecontrol.pinn.functions.domain import domain_of
from pdecontrol.pinn.functions.lifting import Lifting
from pdecontrol.pinn.functions.projection import projection
from pdecontrol.pinn.functions.sampling import draw
from pdecontrol.pinn.networks.layer import Layer
from pdecontrol.pinn.networks.network import Shallow
from pdecontrol.pinn.system.block import Block
from pdecontrol.pinn.system.system import System
from pdecontrol.pinn.training.archive import Stage
from pdecontrol.pinn.training.levenberg_marquardt import LevenbergMarquardt
from pdecontrol.pinn.training.monitor import PATIENCE, SMALL, STARTS, WINDOW, Monitor
from pdecontrol.pinn.training.pair import Pair, by_hidden, by_outer
from pdecontrol.pinn.training.training import Task
from pdecontrol.pinn.training.variable_projection import VariableProjection
from pdecontrol.problem import Tikhonov
from pdecontrol.result import Status
from pdecontrol.solvers.checkpoint import Checkpoint

METHODS = LevenbergMarquardt, VariableProjection
SQUARE = [(-1, 1), (-1, 1)]
INF = float("inf")


def task_of(problem, count=1000, on_curves=128, near=((0.0, 0.0),), seed=11, **run):
    domain = domain_of(problem, SQUARE)
    jumps = {tag: item.value for tag, item in problem.interface.items()}
    lifting = Lifting(domain, dict(problem.boundary), jumps, getattr(problem.equation, "initial", None))
    ansatz = hard(domain, lifting, problem.term(Tikhonov).alpha)
    generator = np.random.default_rng(seed)
    systems = [System(problem, *ansatz, draw(domain, count, on_curves, 0, generator, near)) for _ in range(2)]
    return Task(*systems, seed=seed, **run)


def random_pair(system, neurons, generator):
    def network(count):
        layer = Layer(generator.uniform(-1.5, 1.5, (system.state.inputs, count)), generator.uniform(-1, 1, count))
        return Shallow(layer, 0.6 * generator.standard_normal(count))

    return Pair(*map(network, neurons))


def error_of_derivative(system, pair, generator):
    """Of the Jacobian in a random direction, against a central difference of fourth order, relative."""
    jacobian = np.hstack([by_hidden(system, pair), by_outer(system, pair)])
    direction, step = generator.standard_normal(jacobian.shape[1]), 1e-3
    one, minus, two, twice = (pair.moved(k * step * direction).residual(system) for k in (1, -1, 2, -2))
    difference = (8 * (one - minus) - (two - twice)) / (12 * step)
    smooth = kinks(system, pair) == kinks(system, pair.moved(2 * step * direction))
    smooth &= kinks(system, pair) == kinks(system, pair.moved(-2 * step * direction))
    assert smooth.mean() > 0.9
    return np.abs(jacobian @ direction - difference)[smooth].max() / np.abs(difference).max()


def kinks(system, pair):
    """For each row whether a bound is met."""
    found = []
    for block in system.blocks:
        slope = np.zeros(block.load.size)
        if block.control is not None:
            slope = block.control.slope(pair.of(not block.of_state).apply(block.other))
        found.append(slope)
    return np.concatenate(found)


PROBLEMS = {"on the domain": (circle, 300), "on the interface": (flux_control, 300), "over time": (lambda: heat(4), 40)}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_jacobian_is_the_derivative_of_the_residual(name):
    generator, (make, count) = np.random.default_rng(5), PROBLEMS[name]
    system = task_of(make().problem, count, 80).system
    for neurons in ((7, 7), (5, 9)):
        pair = random_pair(system, neurons, generator)
        active = kinks(system, pair)
        assert np.any(active == 0) and np.any(active != 0)  # bounds met and not
        assert error_of_derivative(system, pair, generator) < 1e-7


def test_a_wrong_derivative_is_found(monkeypatch):
    generator = np.random.default_rng(5)
    system = task_of(circle().problem, 300, 80).system
    pair = random_pair(system, (7, 7), generator)
    right_jacobian, right_slope = Layer.jacobian, Block.slope
    with monkeypatch.context() as planted:
        planted.setattr(Block, "slope", lambda block, v: -right_slope(block, v))
        assert error_of_derivative(system, pair, generator) > 1e-3
    with monkeypatch.context() as planted:
        planted.setattr(Layer, "jacobian", lambda layer, op, outer: 1.0001 * right_jacobian(layer, op, outer))
        assert error_of_derivative(system, pair, generator) > 1e-6
    assert error_of_derivative(system, pair, generator) < 1e-7


def errors(exact, task, trained):
    """Relative errors of control and state on a grid."""
    system, domain = task.system, task.system.domain
    axis = np.linspace(-1, 1, 65)
    x = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    places = domain.places(x)
    y, p = (
        net.apply(ansatz.value(places)) for net, ansatz in zip(trained[:2], (system.state, system.adjoint), strict=True)
    )
    u = projection(task.system.problem, domain, places).value(p)
    return [
        np.linalg.norm(found - exact.at(wanted, x)) / np.linalg.norm(exact.at(wanted, x))
        for found, wanted in ((u, exact.control), (y, exact.state))
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_short_training_finds_the_solution(method):
    exact = circle()
    task = task_of(exact.problem)
    trained = method(neurons=20, iterations=40, seconds=INF).train(task)
    assert trained.status is Status.SOLVED and len(trained.steps) == 41
    u, y = errors(exact, task, trained)
    assert u < 2e-3 and y < 4e-3
    residual = task.held_out.residual(trained.state.apply, trained.adjoint.apply)
    best = min(step.held_out for step in trained.steps)
    assert np.linalg.norm(residual) / task.held_out.scale == pytest.approx(best, rel=1e-12)
    assert all(a.residual > b.residual for a, b in itertools.pairwise(trained.steps))


def test_the_wrong_sign_of_the_coupling_is_seen_in_the_solution():
    exact = circle()
    task = task_of(exact.problem)
    for block in task.system.blocks:
        if block.control is not None:
            block.factor[:] *= -1
    trained = VariableProjection(neurons=20, iterations=20, seconds=INF).train(task)
    assert max(errors(exact, task, trained)) > 0.03


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_goes_on_is_one_that_never_stopped(method, tmp_path):
    task = task_of(control_on_circle().problem, 200, 64)
    whole = method(neurons=6, iterations=9, seconds=INF).train(task)
    path = tmp_path / "training.npz"
    method(neurons=6, iterations=4, seconds=INF).train(task._replace(checkpoint=Checkpoint(path)))
    again = task._replace(checkpoint=Checkpoint(path, restart=True))
    parts = method(neurons=6, iterations=9, seconds=INF).train(again)
    for name, array in Pair(*whole[:2]).arrays().items():
        assert np.array_equal(array, Pair(*parts[:2]).arrays()[name])
    assert [step[:3] for step in parts.steps] == [step[:3] for step in whole.steps]
    assert [step.seconds for step in parts.steps] == sorted(step.seconds for step in parts.steps)


def test_a_file_of_another_training_is_refused(tmp_path):
    task = task_of(circle().problem, 100, 32)
    checkpoint = Checkpoint(tmp_path / "training.npz", restart=True)
    method = LevenbergMarquardt(neurons=4, iterations=2)
    method.train(task._replace(checkpoint=checkpoint))
    for other, training, message in (
        (task._replace(seed=12), method, "different problem"),
        (task_of(circle((1.0, 5.0)).problem, 100, 32), method, "different problem"),
        (task, LevenbergMarquardt(neurons=5), "is a checkpoint of LevenbergMarquardt.neurons=4., not of"),
        (task, VariableProjection(neurons=4), "is a checkpoint of"),
    ):
        with pytest.raises(ResultFileError, match=message):
            training.train(other._replace(checkpoint=checkpoint))
    with pytest.raises(ResultFileError, match="after 2 iterations, which a new one would write over"):
        method.train(task._replace(checkpoint=replace(checkpoint, restart=False)))
    with pytest.raises(ResultFileError, match="cannot be written"):
        method.train(task._replace(checkpoint=Checkpoint("/proc/none/training.npz")))


def test_an_interpolant_of_few_points_is_no_solution():
    trained = LevenbergMarquardt(neurons=30, iterations=60, seconds=INF).train(task_of(circle().problem, 20, 8))
    assert trained.status in (Status.STALLED, Status.ITERATIONS)
    assert min(step.residual for step in trained.steps) < 1e-3 < 0.1 < min(step.held_out for step in trained.steps)


# -- the loop, with histories made up --------------------------------------------------------------------------------


def monitor_of(iterations=1000.0, **run):
    return Monitor(task_of(circle().problem, 20, 8)._replace(**run), "made up", iterations, INF)


def made_up(*starts):
    """Stages with given residuals, and the same at the points held out but for pairs; starts count from one."""

    def stages(start, last):
        for iteration, value in enumerate(starts[start]):
            if last is not None and iteration <= last.iteration:
                continue
            if isinstance(value, type):
                raise value
            residual, held_out = value if isinstance(value, tuple) else (value, value)
            yield Stage(iteration, residual, held_out, {"w": np.array([start, iteration])}, {})

    return stages


@pytest.mark.parametrize(
    ("starts", "status", "best", "note"),
    [
        ([[1.0, 0.5, (0.1, 0.2), (0.01, 0.7)]], Status.ITERATIONS, (0, 2), "3 iterations in"),
        ([[1.0, 0.5, 0.005]], Status.SOLVED, (0, 2), "start 1 stalled in iteration 2"),
        ([[1.0, 0.005], [1.0, 0.002, 0.004]], Status.SOLVED, (1, 1), "start 1 stalled in iteration 1"),
        ([[1.0, np.nan], [0.9, 0.7]] + 2 * [[1.0]], Status.STALLED, (1, 1), "start 1 diverged: the residual is not"),
        (STARTS * [[1.0, np.inf]], Status.DIVERGED, (0, 0), "start 4 diverged: the residual is not finite"),
        (STARTS * [[1.0, 0.5, *(PATIENCE * [(0.1, 10.0)])]], Status.DIVERGED, (0, 1), "rose from 5.0e-01 in iteration"),
        (STARTS * [[1.0, *(WINDOW * [0.999]), 0.1]], Status.STALLED, (0, 1), "start 1 stalled in iteration 50"),
        ([[1.0, 0.5, KeyboardInterrupt]], Status.INTERRUPTED, (0, 1), "1 iterations in"),
        ([[1.0, SMALL, KeyboardInterrupt]], Status.INTERRUPTED, (0, 1), "1 iterations in"),
    ],
)
def test_how_trainings_end(starts, status, best, note):
    monitor = monitor_of(3.0 if status in (Status.ITERATIONS, Status.SOLVED) else 1000.0)
    found, said = monitor.run(made_up(*starts))
    assert found is status and note in said
    assert tuple(monitor.best.weights["w"]) == best


def test_no_weights_at_all_are_an_error():
    with pytest.raises(ConvergenceError, match="no weights with a finite residual: start 1 diverged"):
        monitor_of().run(made_up(*(STARTS * [[np.nan]])))


def test_an_interrupt_before_there_are_weights_is_one():
    with pytest.raises(KeyboardInterrupt):
        monitor_of().run(made_up([KeyboardInterrupt]))


def test_an_interrupted_run_goes_on_from_its_file(tmp_path):
    checkpoint = Checkpoint(tmp_path / "training.npz", restart=True)
    first = monitor_of(checkpoint=checkpoint)
    assert first.run(made_up([1.0, np.nan], [0.9, 0.4, KeyboardInterrupt]))[0] is Status.INTERRUPTED
    second = monitor_of(4.0, checkpoint=checkpoint)
    status, note = second.run(made_up([1.0, np.nan], [0.9, 0.4, 0.3, 0.6, 0.2]))
    assert "start 1 diverged" in note and status is Status.ITERATIONS and second.best.held_out == 0.3
    assert [(step.iteration, step.residual) for step in second.steps] == [
        (0, 1.0),
        (1, 0.9),
        (2, 0.4),
        (3, 0.3),
        (4, 0.6),
    ]


@pytest.mark.parametrize("progress", [True, False, None])
def test_progress_is_printed_where_it_is_wanted(progress, capsys):
    monitor_of(3.0, progress=progress).run(made_up([1.0, 0.5, 0.25, 0.125]))
    lines = capsys.readouterr().err.splitlines()
    if progress:
        assert lines[0].split() == ["iteration", "residual", "held", "out", "seconds", "remaining"]
        assert lines[1].split()[:2] == ["0", "1.00e+00"] and lines[-2].split()[:3] == ["3", "1.25e-01", "1.25e-01"]
    else:
        assert not lines


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"neurons": 0}, "LevenbergMarquardt: neurons must be positive, got 0"),
        ({"neurons": 2.5}, "neurons must be an integer, got 2.5"),
        ({"neurons": "many"}, "neurons must be a finite number"),
        ({"seconds": -1.0}, "LevenbergMarquardt: seconds must be positive"),
        ({"iterations": float("nan")}, "LevenbergMarquardt: iterations must be a finite number"),
        ({"seconds": INF}, "needs a limit, of seconds or of iterations"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ProblemError, match=message):
        LevenbergMarquardt(**parameters)
