"""What pyamg does besides its work: its random numbers are the same in each run."""

import warnings
from contextlib import suppress

import numpy as np
import pytest

import pdecontrol as pc
from pdecontrol.errors import ConvergenceError, ProblemError
from pdecontrol.learn.families import Darcy
from pdecontrol.learn.strategy import precondition
from pdecontrol.linear.multigrid import calling_pyamg

pytest.importorskip("pyamg", reason="needs pyamg")


def problem(**equation):
    return pc.ControlProblem(
        equation=pc.Elliptic(**equation),
        boundary={"boundary": pc.Dirichlet(0.0)},
        control=pc.Distributed(),
        tracking=pc.Tracking(lambda x: np.sin(5 * x[0]) * x[1]),
        terms=[pc.Tikhonov(1e-3), pc.L1(1e-4), pc.Box(-3, 3)],
    )


def state():
    """That of numpy's global generator, as something to compare."""
    name, key, *rest = np.random.get_state()  # noqa: NPY002
    return [name, key.tobytes(), *rest]


@pytest.mark.parametrize("method", ["auto", "primal-dual"])
def test_two_runs_are_equal_bit_for_bit(method):
    before = state()
    maps = [pc.discretise(problem(), pc.unit_square(40), pc.Embedded(linear_solver="amg")) for _ in range(2)]
    one, two = (pc.minimise(problem(), map, method=method, tol=1e-5) for map in maps)
    assert one.solves["inner"] == two.solves["inner"] > 0
    assert one.control.array.tobytes() == two.control.array.tobytes()
    assert one.certificate == two.certificate
    histories = [result.history.arrays() for result in (one, two)]
    assert len(histories[0]) >= 5 and histories[0].keys() == histories[1].keys()
    for name in histories[0].keys() - {"history.seconds"}:
        assert histories[0][name].tobytes() == histories[1][name].tobytes(), name
    assert state() == before


def test_preconditioners_of_sequences_of_systems_too():
    family, before = Darcy(n=31), state()
    matrix = family.system(family.draw(np.random.default_rng(3)))[0]
    b = np.random.default_rng(4).standard_normal(matrix.shape[0])
    one, two = (precondition.multigrid(matrix, True).apply(b) for _ in range(2))
    assert one.tobytes() == two.tobytes() and state() == before


def test_the_global_generator_has_its_state_after_errors_too():
    before = state()
    with pytest.raises(ValueError, match="scale < 0"), calling_pyamg():
        np.random.exponential(-1.0)  # noqa: NPY002
    assert state() == before


def test_its_breakdowns_at_the_rounding_are_no_news():
    """The contrast is beyond what double precision resolves, which an error says."""
    inner = problem(diffusion=lambda x: np.where(abs(x - 0.5).max(axis=0) < 0.25, 2.0**55, 1.0))
    map = pc.discretise(inner, pc.unit_square(16), pc.Embedded(linear_solver="amg"))
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("ignore")
        before = list(warnings.filters)
        with suppress(ConvergenceError, ProblemError):
            map.solve(np.random.default_rng(0).standard_normal(map.control.size))
        assert warnings.filters == before
    assert not [str(warning.message) for warning in given]
