"""Small cases of benchmarks/networks.py, and errors planted in what it measures."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from marks import needs_gmsh, needs_torch

import pdecontrol as pc

RELATIVE = {"circle": (0.2908912355, 0.1779840973), "unbounded": (0.3054824636, 0.1779840973)}  # of u and y


@pytest.fixture(scope="module")
def benchmark():
    folder = Path(__file__).parent.parent / "benchmarks"
    specification = importlib.util.spec_from_file_location("networks_benchmark", folder / "networks.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    sys.path.insert(0, str(folder))
    specification.loader.exec_module(module)
    yield module
    sys.path.remove(str(folder))
    for name in (specification.name, "network_cases", "network_published", "interfaces", "cartesian"):
        del sys.modules[name]


@pytest.fixture
def printed(benchmark, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["networks.py", *arguments])
        benchmark.main()
        return capsys.readouterr().out.splitlines()

    return run


def planted(benchmark, case, error=lambda x, *time: 1e-3):
    """The exact solution with an error."""
    exact = case.exact

    def wrong(sides):
        if "gamma" in sides:
            return lambda x: sides["gamma"](x) + error(x)
        return lambda x, *time: exact.at(sides, x, *time) + error(x, *time)

    return benchmark.Found(wrong(exact.state), wrong(exact.control))


def root_mean_square(benchmark, case, sides):
    """Of the exact solution, at other points than those of the errors."""
    if "gamma" in sides:
        return np.sqrt(
            np.mean(sides["gamma"](0.5 * np.array([np.cos(t := np.linspace(0, 6.283185, 777)), np.sin(t)])) ** 2)
        )
    return np.sqrt(np.mean(case.exact.at(sides, np.random.default_rng(7).uniform(-1, 1, (2, 400_000))) ** 2))


@pytest.mark.parametrize(
    "name", ["circle", "unbounded", "beta 5", "control", "alpha 1e-4", "(1e3, 1)", "(1, 1e-3), jumps", "inclusions"]
)
def test_an_error_of_a_thousandth_is_read_as_one(benchmark, name):
    case = benchmark.CASES[name]()
    errors = case.errors(planted(benchmark, case))
    for number, sides in (("u", case.exact.control), ("y", case.exact.state)):
        assert errors[number] * root_mean_square(benchmark, case, sides) == pytest.approx(1e-3, rel=0.01)
    for number, size in zip(("u", "y"), RELATIVE.get(name, ()), strict=False):
        assert errors[number] * size == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("name", ["heat", "moving"])
def test_errors_in_time_are_absolute_and_over_all_times_and_the_whole_square(benchmark, name):
    case = benchmark.CASES[name]()
    late = 0.5001 * case.problem.equation.levels[-1]
    for error, share in (
        (lambda x, t: 1e-3, 1.0),
        (lambda x, t: 1e-3 * (t > late), 7 / 15),
        (lambda x, t: 1e-3 * ((x[0] < 0) & (x[1] < 0)), 0.25),
    ):
        errors = case.errors(planted(benchmark, case, error))
        assert list(errors.values()) == pytest.approx([1e-3 * np.sqrt(share)] * 2, rel=1e-9)


def test_an_error_in_one_quarter_of_the_square_is_seen(benchmark):
    case = benchmark.CASES["circle"]()
    whole, quarter = (
        case.errors(planted(benchmark, case, error))["u"]
        for error in (lambda x: 1e-3, lambda x: 1e-3 * (x < 0).all(axis=0))
    )
    assert quarter == pytest.approx(whole / 2, rel=1e-9)


def test_points_of_errors_are_on_no_curve(benchmark):
    points = sys.modules["network_cases"].grid()
    assert np.abs(np.hypot(*points) - 0.5).min() > 1e-5 and np.abs(points).max() < 1
    assert points.mean(axis=1) == pytest.approx(0, abs=1e-14)


@needs_gmsh
def test_the_star_is_measured_by_fitted_elements(benchmark):
    case = sys.modules["network_cases"].star(0.1)
    errors = case.errors(planted(benchmark, case))
    assert errors["max u"] == pytest.approx(1e-3, abs=3e-5)
    assert errors["u"] == pytest.approx(1e-3 / (0.012215364 / 2), rel=1e-3)  # the norm over an area of four
    fitted = case.errors(benchmark.by_elements(case, 0.2, 1))
    assert 1e-4 < fitted["u"] < 0.1 and abs(fitted["J"]) < 0.02
    grid = case.errors(benchmark.by_grid(case, 0.05))
    assert grid["J"] == pytest.approx(-0.11, abs=0.005) and grid["max u"] == pytest.approx(0.065 * 0.0198289, rel=0.02)


def numbers(line):
    """u, y and the seconds of a row."""
    found = re.search(r"u +(\S+) .*y +(\S+) .* (\S+) s$", line)
    return tuple(map(float, found.groups()))


@needs_gmsh
def test_errors_against_time(benchmark, printed):
    lines = printed("time", "--quick")
    assert lines[0].startswith("1 seeds") and lines[2] == "circle"
    rows = {line[2:23].strip(): line for line in lines[3:]}
    limits = {
        "default": 1e-3, "collocation": 2e-2, "variable projection": 0.1, "Levenberg-Marquardt": 0.1, "soft": 0.1,
        "skfem P1": 0.1, "skfem P2": 2e-3, "dolfinx P1": 0.1, "dolfinx P2": 2e-3, "Cartesian": 0.05,
    }  # fmt: skip
    assert set(rows) == {name for name in limits if "dolfinx" not in name or benchmark.distributed()}
    for name, row in rows.items():
        trained = name in ("variable projection", "Levenberg-Marquardt")  # which may have no answer in one second
        assert (trained and "no answer" in row) or numbers(row)[0] < limits[name]
    assert numbers(rows["skfem P2"])[0] > 1e-4 and numbers(rows["skfem P1"])[0] > 1e-2


@needs_torch
def test_adam_is_run_by_name_and_gives_no_answer_too_early(benchmark, printed):
    lines = printed("time", "--quick", "--way", "adam")
    assert len(lines) == 4 and "20 steps" in lines[3] and "no answer" in lines[3]
    assert benchmark.adam("circle", quick=False).setting == "40000 steps"


@needs_gmsh
def test_the_published_table(benchmark, printed, monkeypatch):
    small = benchmark.by_networks
    monkeypatch.setattr(benchmark, "by_networks", lambda case, seed: small(case, seed, features=100, scale=2.0))
    lines = printed("published", "--quick")
    assert lines[2] == "circle, exact" and "u 1.6e-04" in lines[3] and "630 s" in lines[3]
    assert numbers(lines[4])[0] < 2e-3
    assert {row.case for row in benchmark.PUBLISHED} == set(benchmark.ADAM) == set(benchmark.COMPARED)


def test_exact_conditions_beat_soft_ones_at_unit_weights(benchmark, printed):
    lines = printed("soft", "--quick")
    exact, one, ten, _ = (numbers(line)[0] for line in lines[1:])
    assert exact < 0.3 * one and ten < one


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((1e-6, 2e-6, 2.9e-5), "PASS"), ((1e-6, 2e-6, -3.1e-5), "SHORT"), ((1e-6, 1.1e-5, 1.1e-5), "SHORT")],
)
def test_a_number_falls_short_by_its_median_or_by_its_worst_value(benchmark, values, verdict):
    line = benchmark.judged("circle", "u", 1e-5, values)
    assert line.split()[-1] == verdict and "1e-05" in line


def test_what_is_wanted_has_a_line_for_each_number(benchmark, printed, monkeypatch):
    def fails(seed):
        raise pc.ConvergenceError("too steep")

    monkeypatch.setitem(
        benchmark.WANTED, "circle", benchmark.Wanted(lambda seed: {"u": seed * 1e-5, "y": 1.0}, {"u": 1e-5, "y": 0.1})
    )
    monkeypatch.setitem(benchmark.WANTED, "star", benchmark.Wanted(fails, {"u": 1.0}))
    lines = printed("wanted", "--case", "circle", "star", "--seeds", "3")
    assert [line.split()[-1] for line in lines[2:]] == ["PASS", "SHORT", "SHORT"] and "too steep" in lines[-1]


def test_a_family_is_measured_over_its_members(benchmark):
    errors = benchmark.family_errors(0, count=5, features=250, members=120)
    assert 1e-4 < errors["u"] < 0.2 and 1e-4 < errors["y"] < 0.2 and errors["seconds"] > 0
