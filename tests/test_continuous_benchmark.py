"""Small cases of benchmarks/continuous.py."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from pdecontrol import reference


@pytest.fixture(scope="module")
def benchmark():
    file = Path(__file__).parent.parent / "benchmarks" / "continuous.py"
    specification = importlib.util.spec_from_file_location("continuous_benchmark", file)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules[specification.name]


def test_a_campaign_finds_no_violated_bound(benchmark, capsys):
    assert benchmark.campaign(1, seed=2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:12].strip() for line in lines[2:-1]] == ["gap", "given", "states", "z, degree 1", "z, degree 2"]


def test_a_violated_bound_is_counted(benchmark, monkeypatch):
    low = benchmark.Judgement("square, gap", 1.0, 1.2, 0.1)
    monkeypatch.setattr(benchmark, "judgements", lambda *_, **__: [low])
    assert benchmark.campaign(3, seed=2) == 3


def test_the_table_has_orders(benchmark, capsys):
    assert benchmark.table(["mother 1e-02"], [8, 16], 24) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[2:4] for row in rows] == [["1", "8"], ["1", "16"], ["2", "4"], ["2", "8"]]
    assert np.abs(np.array([row[-2:] for row in rows[1::2]], dtype=float) - [[2], [3]]).max() < 0.3


def test_what_a_tolerance_takes(benchmark):
    case = benchmark.GOALS["L"]
    assert benchmark.to_tolerance(case, 4, 2, True, 0.3, 5000)[1] < 600
    assert benchmark.to_tolerance(case, 4, 2, True, 1e-3, 100)[0].startswith("not at ")


def test_the_parts_of_the_cost(benchmark):
    seconds = benchmark.measured(reference.stadler(1e-4).problem, 8)
    assert seconds.whole > 0 and seconds.solve > 0 and seconds.factors > 0
