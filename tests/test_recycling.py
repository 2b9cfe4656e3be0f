"""A small case of every table of benchmarks/recycling.py."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from published import PublishedDarcy

from pdecontrol.learn.families import Darcy, Thermal
from pdecontrol.learn.strategy.ordering import greedy


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parent.parent / "benchmarks" / "recycling.py"
    specification = importlib.util.spec_from_file_location("recycling_benchmark", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules[specification.name]


def test_decomposition(benchmark):
    family = PublishedDarcy(24)
    rows = list(benchmark.decomposition(family, 8, 1e-8, benchmark.diagonal, 4, ("right", "space", "left")))
    assert [row.name for row in rows][2:5] == [
        "GCRO-DR(40,20), each system cold", "carried, unsorted", "carried, sorted",
    ]  # fmt: skip
    gmres, _, cold, unsorted, ordered = rows[:5]
    assert all(row.converged == row.systems for row in rows)
    assert gmres.steps > 1.5 * cold.steps and gmres.refresh == cold.refresh == 0
    assert unsorted.steps < cold.steps and ordered.steps <= 1.03 * unsorted.steps
    for row in rows[3:]:
        assert 16 <= row.refresh <= 20 and row.residual >= 1
        assert row.all == pytest.approx(np.mean(row.each))
    for row in rows[:7]:
        assert row.worst <= 1e-8
    systems, samples = benchmark.drawn(family, 8)
    assert benchmark.gcrotmk(systems, greedy(family.features(samples))) > ordered.all


def test_tables_print_what_they_say(benchmark, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "families", lambda small: [Darcy(10), Thermal(10)])
    monkeypatch.setattr(benchmark, "Poisson", lambda n: Thermal(10))
    monkeypatch.setattr(benchmark, "Thermal", lambda n: Thermal(10))
    benchmark.constant(20)
    benchmark.times(12, 1, True)
    printed = capsys.readouterr().out
    assert printed.count("times the best") == 2 and "auto over the best candidate, worst family" in printed
    assert "superposition        the matrix changes from sample to sample." in printed
    assert printed.count("worst residual") >= 20
    assert "thermal      superposition" in printed


def test_small_families_are_the_same_families(benchmark):
    names = [[family.name for family in benchmark.families(small)] for small in (True, False)]
    assert names[0] == names[1] and len(set(names[0])) == 7
    assert max(np.prod(family.grid) for family in benchmark.families(True)) <= 1600
