"""Small cases of benchmarks/peers.py: its matrices, its optima, its peers and its table."""

import importlib.util
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse.linalg import splu

import pdecontrol as pc

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    specification = importlib.util.spec_from_file_location("peers_benchmark", FOLDER / "peers.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    sys.path.insert(0, str(FOLDER))
    specification.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))
    del sys.modules[specification.name], sys.modules["peer_problems"], sys.modules["peer_solvers"]


def posed(benchmark, name, alpha, n):
    """A problem, its map and its matrices."""
    case = benchmark.CASES[name]
    problem = case.make(alpha)
    map = pc.discretise(problem, case.mesh(n))
    return problem, map, benchmark.matrices_of(problem, map)


SMALL = [("E1", 1e-6, 12), ("S1", 1e-6, 16), ("B1", 1e-6, 12), ("B1s", 1e-5, 12), ("U", 1e-4, 8), ("I", 1e-6, 50),
         ("A4", 1e-4, 12), ("E3", 1e-4, 6)]  # fmt: skip


@pytest.mark.parametrize(("name", "alpha", "n"), SMALL)
def test_the_reference_is_the_optimum_of_the_matrices_and_of_the_program(benchmark, name, alpha, n):
    problem, map, m = posed(benchmark, name, alpha, n)
    u, solver = benchmark.optimum(m), splu(m.A)
    y = solver.solve(m.b + m.C @ u)
    q = m.C.T @ solver.solve(m.Q @ y - m.g, trans="T") / m.M
    assert m.norm(u - m.argmin(q)) <= 1e-8 * m.norm(u)  # rounding of q over alpha
    result = pc.minimise(problem, map, tol=1e-8, max_iterations=60)
    assert result.success and m.norm(u - result.control.array) <= result.certificate.bound * (1 + 1e-6)
    assert m.objective(u, y) == pytest.approx(result.objective, rel=1e-10)


def test_the_least_objective_without_a_tikhonov_term(benchmark):
    problem, map, m = posed(benchmark, "bang S1", 0.0, 16)
    best, result = benchmark.Optimum(m), pc.minimise(problem, map, tol=1e-4)
    excess = best.error(result.control.array)
    assert -1e-12 <= excess <= result.certificate.relative_gap
    nearer = benchmark.optimum(replace(m, alpha=1e-14))
    assert abs(best.error(nearer)) <= 1e-12


@pytest.mark.parametrize("name", ["S1", "E1", "A4"])
def test_every_peer_that_is_there_gets_to_the_optimum(benchmark, name):
    *_, m = posed(benchmark, name, 1e-4, 12)
    best, (peers, _) = benchmark.Optimum(m), benchmark.available(list(benchmark.PEERS))
    benchmark.warm_up(peers)
    fitting = {label: peer for label, peer in peers.items() if peer.fits(m)}
    for label, peer in fitting.items():
        run = benchmark.best_run(peer, partial(benchmark.attempt, peer, best, 20), 1)
        assert benchmark.reached(run) and run["work"], (label, run)
    assert {"L-BFGS-B", "explicit Hessian" if name == "A4" else "active sets, SuperLU"} <= set(fitting)


def test_a_table(benchmark, monkeypatch, capsys):
    names = ["L-BFGS-B", "OSQP", "active sets, SuperLU"]
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None if name == "osqp" else find_spec(name))
    arguments = ["E1", "A4", "--size", "8", "--weight", "1e-4", "--repeat", "1", "--peer", *names]
    monkeypatch.setattr(sys, "argv", ["peers.py", *arguments])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "missing: OSQP"
    (first,) = (line for line in lines if line.startswith("E1 "))
    assert all(word in first for word in ("semismooth Newton", "L-BFGS-B", "active sets, SuperLU"))
    assert sum(line.startswith("A4 ") for line in lines) == 1 and lines[-1].startswith("lost: ")


def test_false_bounds_and_endless_runs(benchmark):
    run = {"error": 2e-7, "bound": 1e-7, "seconds": 1.0}
    with pytest.raises(RuntimeError, match=r"FALSE CERTIFICATE: here: 1\.000e-07 for an error of 2\.000e-07"):
        benchmark.check_bound(run, "here")
    benchmark.check_bound(run | {"bound": 2e-7}, "here")

    def forever():
        while True:
            np.ones(10).sum()

    assert benchmark.forked(forever, 1) == {"failed": "> 1 s"}
    assert benchmark.forked(lambda: {"a": 1 / 0}, 1) == {"failed": "ZeroDivisionError: division by zero"}


def test_short_runs_take_time_where_it_is_limited(benchmark):
    def shortest():
        begun = [benchmark.cpu_seconds()]
        for _ in range(40):
            np.arange(100_000.0).sum()
            begun.append(benchmark.cpu_seconds())
        return {"seconds": min(np.diff(begun))}

    assert benchmark.forked(shortest, 5)["seconds"] > 0
