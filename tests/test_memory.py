"""Trajectories kept by snapshots: the same answers to the last bit, less memory, and planted errors."""

import gc
import tracemalloc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from cases import BACKENDS, CN, CUBIC, NONLINEAR_PARABOLIC, PARABOLIC, heat, interval, square, wave

import pdecontrol as pc
from pdecontrol.errors import ProblemError
from pdecontrol.fem import march as marches
from pdecontrol.fem.march import march
from pdecontrol.terms import bind

checkpoint_schedules = pytest.importorskip("checkpoint_schedules", reason="snapshots need checkpoint_schedules")


def limited(problem, snapshots):
    return replace(problem, equation=replace(problem.equation, snapshots=snapshots))


def equal(left, right):
    assert left.dtype == float and left.size and np.array_equal(left, right)


def same_to_the_last_bit(case, snapshots, backend="skfem"):
    """Also where a sweep begins with what another has left, or has used up."""
    whole = case.fresh_map(backend=backend)
    parts = pc.discretise(limited(case.problem, snapshots), case.mesh, BACKENDS[backend](case.degree, "direct"))
    generator, u = np.random.default_rng(662607), case.control()[: whole.control.size]
    h, w = case.size * generator.standard_normal(u.size), generator.standard_normal(whole.observation.size)
    at, of = whole.at(u), parts.at(u)
    assert parts.solves.recomputed == 0
    equal(of.value, at.value)
    outer = bind(case.problem, whole).state.second(at.value)
    for _ in range(2):
        adjoint, other = at.solve_adjoint(w), of.solve_adjoint(w)
        equal(other.gradient, adjoint.gradient)
        equal(of.second(h, w, other, outer), at.second(h, w, adjoint, outer))
        equal(of.tangent(h), at.tangent(h))
    assert of.state is None and other.state is None and other.error == adjoint.error and of.error == at.error
    equal(of.full_adjoint(w), adjoint.state)
    equal(of.full_state(), at.state)
    equal(parts.field(u).array, at.state)
    assert of.state_errors()[0] == at.state_errors()[0] > 0
    assert parts.solves.recomputed > 0 == whole.solves.recomputed
    assert parts.fingerprint == whole.fingerprint


@pytest.mark.parametrize("snapshots", [1, 2, 4])
@pytest.mark.parametrize("case", NONLINEAR_PARABOLIC, ids=repr)
def test_sweeps_are_the_same_to_the_last_bit(case, snapshots):
    same_to_the_last_bit(case, snapshots)


@pytest.mark.filterwarnings("ignore:dolfinx .* is not among the tested versions")
@pytest.mark.parametrize("case", NONLINEAR_PARABOLIC[1:3], ids=repr)
def test_sweeps_are_the_same_on_the_distributed_engine(case):
    pytest.importorskip("dolfinx", reason="the distributed engine needs dolfinx")
    same_to_the_last_bit(case, 2, "dolfinx")


STEADY = pc.Elliptic(0.3, semilinear=CUBIC)
PROBLEMS = {
    "distributed": heat(STEADY, 4, terms=[pc.L1(1e-3), pc.Box(-20, 20)]),
    "actuators": heat(
        STEADY, 5, CN, wave, control=pc.Actuators([1.0, wave]), boundary={}, terms=[pc.Box(-2, 3)],
        tracking=pc.Tracking(wave, times="final"), alpha=1e-2,
    ),
    "initial value": heat(
        STEADY, 4, control=pc.InitialValue(), boundary={}, terms=[pc.L1(1e-3)],
        tracking=pc.Tracking(wave, times="final"), alpha=0.1,
    ),
}  # fmt: skip


def pieces(result):
    """All that a result says, but for times and counts."""
    fields = (result.control, result.state, result.adjoint, result.dual, result.lower, result.upper)
    columns = [result.history[name] for name in ("iteration", "objective", "estimate", "bound", "solves")]
    return [field.array for field in fields] + columns


METHODS = [pc.PrimalDual(), pc.SemismoothNewton(), pc.ProximalGradient(), pc.FISTA(), pc.ADMM()]


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, method) for name in PROBLEMS for method in METHODS[: 5 if name == "actuators" else 2]],
)
def test_results_are_the_same_to_the_last_bit(name, method):
    problem, options = PROBLEMS[name], {"method": method, "tol": 1e-3, "max_iterations": 8}
    whole = pc.solve(problem, interval(), "skfem", **options)
    parts = pc.solve(limited(problem, 2), interval(), "skfem", **options)
    for left, right in zip(pieces(parts), pieces(whole), strict=True):
        assert np.array_equal(left, right, equal_nan=True)
    assert repr(parts.certificate) == repr(whole.certificate) and parts.status is whole.status
    assert parts.fingerprint == whole.fingerprint and len(parts.history) > 1
    counts = {kind: parts.solves[kind] - whole.solves[kind] for kind in ("state", "tangent", "adjoint")}
    assert counts == {"state": 1, "tangent": 0, "adjoint": 0}  # the trajectory of the result
    assert whole.memory == "" and "time levels" not in str(whole)
    steps = parts.solves["recomputed"]
    count = whole.state.space.times.size
    assert steps > 0 and f"2 of {count} time levels kept, {steps:.0f} steps in time computed again" in str(parts)


def test_a_run_goes_on_from_its_file(tmp_path):
    problem, options = limited(PROBLEMS["actuators"], 2), {"method": "semismooth-newton", "tol": 1e-6}
    whole = pc.solve(problem, interval(), "skfem", **options)
    file = pc.Checkpoint(tmp_path / "run", restart=True)
    stopped = pc.solve(problem, interval(), "skfem", checkpoint=file, max_iterations=1, **options)
    result = pc.solve(problem, interval(), "skfem", checkpoint=file, **options)
    assert result.success and not stopped.success
    for left, right in zip(pieces(result), pieces(whole), strict=True):
        if left.size == whole.history["solves"].size:
            continue  # the run that stopped made certificates of its own
        equal(left, right)


def states_a_step(steady, control, snapshots):
    """By how many states the peak of memory in all sweeps grows with each time step."""
    peaks = []
    for steps in (6, 24):
        times, tracking = 0.01 * np.arange(steps + 1), pc.Tracking(wave, times="final")
        stated = heat(steady, times=times, control=control, tracking=tracking, boundary={})
        map = pc.discretise(limited(stated, snapshots), pc.unit_square(20), "skfem")
        u, w = map.control.zeros() + 1.0, np.ones(map.observation.size)
        for _ in range(2):  # the first time makes factors, and fills caches of numpy and Python
            gc.collect()
            gc.freeze()  # what other tests have left makes collections rare
            gc.collect()
            tracemalloc.start()
            at = map.at(u)
            adjoint = at.solve_adjoint(w)
            at.tangent(u), at.second(u, w, adjoint, lambda w: w)
            peak = tracemalloc.get_traced_memory()[1] / (8 * map.solution.base.size)
            tracemalloc.stop()
            gc.unfreeze()
        peaks.append(peak)
    return (peaks[1] - peaks[0]) / 18


@pytest.mark.parametrize(
    ("steady", "control"),
    [
        (STEADY, pc.Actuators([1.0, wave])),
        (pc.Elliptic(0.3, advection=(1.0, 2.0), semilinear=CUBIC), pc.InitialValue()),
    ],
    ids=["actuators", "advection, initial value"],
)
def test_memory_does_not_grow_with_the_number_of_steps(steady, control):
    """But for what Python has not yet freed; trajectories and matrices take more than twenty states a step."""
    assert states_a_step(steady, control, 3) < 5.0 < 20.0 < states_a_step(steady, control, None)


@pytest.mark.parametrize("snapshots", [None, 2])
@pytest.mark.parametrize("case", NONLINEAR_PARABOLIC[1:3], ids=repr)
def test_what_is_not_used_is_freed_at_once(case, snapshots):
    """Without the collector, which comes late where objects are few and large."""
    map, u = pc.discretise(limited(case.problem, snapshots), case.mesh, pc.Embedded(case.degree)), case.control()
    w = np.ones(map.observation.size)
    gc.disable()
    try:
        at = map.at(u)
        at.second(u, w, at.solve_adjoint(w), lambda w: w), at.tangent(u)
        steps = weakref.ref(at._steps)
        del at
        assert steps() is None
    finally:
        gc.enable()


# -- the march by itself -----------------------------------------------------------------------------------------------


def counting(count, snapshots, calls):
    """x_n = (n,), with the steps that are computed."""

    def advance(n, x):
        assert x[0] == n
        calls.append(n)
        return (np.array(n + 1.0),)

    return march(count, (np.array(0.0),), advance, snapshots)


@pytest.mark.parametrize("snapshots", [1, 3, 10, 59, 200])
def test_steps_come_in_order_and_few_are_computed_again(snapshots):
    calls, count = [], 60
    steps = counting(count, snapshots, calls)
    assert [(n, int(x[0]), int(y[0])) for n, x, y in steps.forward()] == [(n, n, n + 1) for n in range(count)]
    assert calls == list(range(count))
    expected = [(n, n, n + 1) for n in reversed(range(count))]
    assert [(n, int(x[0]), int(y[0])) for n, x, y in steps.backward()] == expected
    most = checkpoint_schedules.multistage.optimal_steps_binomial(count, min(snapshots, count - 1))
    assert count <= len(calls) <= most and (len(calls) < most or snapshots >= count - 1)
    calls.clear()  # what was kept is used up
    assert [n for n, *_ in steps.backward()] == list(reversed(range(count))) and len(calls) >= count


def test_one_step():
    for snapshots in (None, 1, 5):
        steps = counting(1, snapshots, [])
        assert [n for n, *_ in steps.backward()] == [n for n, *_ in steps.forward()] == [0]


def test_a_sweep_that_is_left_spoils_nothing():
    steps = counting(9, 2, [])
    next(steps.forward())
    assert [n for n, *_ in steps.backward()] == list(reversed(range(9)))
    next(steps.backward())
    assert [n for n, *_ in steps.backward()] == list(reversed(range(9)))


def spoilt(drop):
    """A schedule without some of its actions."""

    class Spoilt(checkpoint_schedules.MultistageCheckpointSchedule):
        def __next__(self):
            action = super().__next__()
            while drop(action):
                action = super().__next__()
            return action

    return Spoilt


@pytest.mark.parametrize(
    "drop",
    [
        lambda action: isinstance(action, checkpoint_schedules.Forward) and action.n0 == 2,
        lambda action: isinstance(action, checkpoint_schedules.Forward) and action.n1 == 9,
        lambda action: isinstance(action, checkpoint_schedules.Reverse) and action.n1 == 5,
        lambda action: isinstance(action, checkpoint_schedules.Reverse) and action.n1 == 1,
        lambda action: isinstance(action, checkpoint_schedules.Copy) and action.n == 0,
    ],
    ids=["a step", "the last step", "a step back", "the last step back", "a snapshot"],
)
def test_a_schedule_that_skips_a_level_is_caught(drop, monkeypatch):
    monkeypatch.setattr(checkpoint_schedules, "MultistageCheckpointSchedule", spoilt(drop))
    with pytest.raises(RuntimeError, match="leaves out a step"):
        for _ in counting(9, 2, []).backward():
            pass


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snapshots", [0, -1, 2.5, True, "3"])
def test_bad_limits(snapshots):
    with pytest.raises(ProblemError, match=r"snapshots is the number of time levels to keep, 1 or more, got"):
        pc.Parabolic(STEADY, T=1.0, steps=3, snapshots=snapshots)


def test_a_limit_that_does_nothing_is_refused():
    with pytest.raises(ProblemError, match="This one is affine, its derivatives need no trajectory"):
        pc.discretise(limited(PARABOLIC[0].problem, 3), square(), "skfem")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(marches, "find_spec", lambda name: None)
    with pytest.raises(ProblemError, match="needs checkpoint_schedules: pip install checkpoint_schedules"):
        pc.discretise(limited(PROBLEMS["distributed"], 3), interval(), "skfem")
