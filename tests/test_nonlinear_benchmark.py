"""Small cases of benchmarks/nonlinear.py, and the reference problems in time."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import pdecontrol as pc
from pdecontrol import reference


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parent.parent / "benchmarks" / "nonlinear.py"
    specification = importlib.util.spec_from_file_location("nonlinear_benchmark", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules[specification.name]


def test_the_published_rule_counts_the_published_iterations(benchmark):
    problem = benchmark.burgers(100).problem
    map = pc.discretise(problem, pc.unit_interval(100))
    published, automatic = (
        benchmark.published_rule(problem, map, method, 100) for method in (pc.PrimalDual((1.0, 0.2)), pc.PrimalDual())
    )
    assert published == pytest.approx(71, abs=3) and automatic <= 34
    assert benchmark.published_rule(problem, map, pc.PrimalDual(), 5) is None


def test_a_table_and_the_ratio_of_states(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nonlinear.py", "--problem", "semilinear", "--size", "6", "--limit", "3"])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and lines[-1].startswith("a state takes as long as")


def test_the_exact_bilinear_control_and_its_norms():
    exact = reference.bilinear_heat(16)
    result = pc.solve(exact.problem, pc.unit_square(16))
    u, space = result.control.array, result.control.space
    optimum = space.interpolate(exact.control)
    assert space.norm(u - optimum) == pytest.approx(3.59e-2 * space.norm(optimum), rel=0.1)
    axis = (np.arange(100) + 0.5) / 100
    points = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    values = np.array([exact.control(points, t) for t in axis])
    assert np.sqrt(np.mean(values**2)) == pytest.approx(0.52411, abs=2e-4)
    assert np.mean(abs(values)) == pytest.approx(0.24684, abs=2e-4)


def test_the_semilinear_problem():
    result = pc.solve(reference.semilinear_heat(16).problem, pc.unit_square(16))
    u, space = result.control.array, result.control.space
    assert result.success and result.solves["total"] <= 120
    assert space.norm(u) == pytest.approx(4.33, abs=0.03)
    assert u.max() == 20 and u.min() == 0
