"""The baselines of learned predictions, and the quick mode of benchmarks/operators.py."""

import re
import sys

import numpy as np
import operator_baselines as baselines
import operator_cases as cases
import operators
import pytest
from marks import needs_torch
from scipy.sparse.linalg import spsolve

from pdecontrol.learn.families import Darcy
from pdecontrol.learn.random_fields import CosineField


@pytest.fixture(scope="module")
def linear():
    """y = m + L u for random functions on grids, to train on and for the test."""
    generator = np.random.default_rng(3)
    matrix, mean = generator.normal(size=(30, 12)), generator.normal(size=30)
    u = 5 + 2 * generator.normal(size=(80, 3, 4))
    y = (mean + u.reshape(80, 12) @ matrix.T).reshape(80, 5, 6)
    return u[:60], y[:60], u[60:], y[60:]


def test_the_mean_is_that_of_the_training(linear):
    inputs, outputs, tests, wanted = linear
    found = baselines.mean_prediction(inputs, outputs, tests)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, np.broadcast_to(outputs.mean(axis=0), wanted.shape))
    doubled = baselines.relative_errors(np.stack([2 * wanted[0], 0 * wanted[1]]), wanted[:2])
    np.testing.assert_allclose(doubled, 1.0)


@pytest.mark.parametrize("fewer", [60, 10])
def test_ridge_finds_linear_maps(linear, fewer):
    inputs, outputs, tests, wanted = linear
    ridge = baselines.Ridge(inputs[:fewer], outputs[:fewer])
    error = baselines.relative_errors(ridge(tests), wanted).max()
    assert error < 1e-5 if fewer == 60 else error > 1e-2  # there are 12 directions
    assert ridge.penalty == baselines.Ridge.penalties[0] or fewer < 60


def test_all_modes_are_exact_and_fewer_are_the_best(linear):
    _, outputs, _, wanted = linear
    errors = [((baselines.pod_floor(outputs, outputs, modes) - outputs) ** 2).sum() for modes in range(1, 13)]
    singular = np.linalg.svd((outputs - outputs.mean(axis=0)).reshape(60, -1), compute_uv=False)
    np.testing.assert_allclose(errors[:-1], [(singular[modes:] ** 2).sum() for modes in range(1, 12)], rtol=1e-9)
    assert baselines.relative_errors(baselines.pod_floor(outputs, wanted, 12), wanted).max() < 1e-12


def test_errors_in_h1_see_slopes():
    x = np.linspace(0.0, 1.0, 401)
    found = baselines.gradient_errors(np.sin(x)[None] + 0.01 * np.sin(20 * np.pi * x), np.sin(x)[None], x[1])
    assert found[0] == pytest.approx(0.01 * np.sqrt(0.5 + 200 * np.pi**2), rel=3e-3)  # of a norm of 1


@pytest.mark.parametrize(("largest", "verdict"), [(2.4, "PASS"), (2.6, "SHORT")])
def test_medians_are_judged_and_the_worst_is_shown(largest, verdict):
    rows = [{"L2": error, "H1": 9.0, "seconds": 1.0} for error in (0.1, largest, 7.0)]
    line = operators.judged("DeepONet", 7401, rows, {"L2": 2.5, "seconds": 60})
    assert line.endswith(f"L2 <= 2.5 %, 60 s: {verdict}") and f"{largest:.2f} (7.00)" in line


class Scaled:
    """What predicts the solutions of a family with an error of one part, and a number more at one node."""

    def __init__(self, family, factor=1.0):
        self.family, self.factor = family, factor

    def predict(self, inputs):
        systems = [self.family.system({"coefficient": a}) for a in inputs]
        return np.stack([np.pad(self.factor * spsolve(A.tocsc(), b).reshape(self.family.grid), 1) for A, b in systems])


def test_residuals_accept_what_is_good_enough_and_no_more():
    family = Darcy(7, tau=3.0, **cases.FLOW)
    field = CosineField(9, 2, 2.0, 3.0)
    inputs = np.stack([np.where(field.sample(np.random.default_rng(i)) > 0, 12.0, 3.0) for i in range(5)])
    dataset = type("Samples", (), {"arrays": ("coefficient", "solution")})()
    arrays = {"coefficient": inputs, "solution": Scaled(family).predict(inputs)}
    type(dataset).__getitem__ = lambda self, name: arrays[name]
    found = operators.bounds(family, dataset, Scaled(family, 1.045))
    assert found["L2"] == pytest.approx(4.5) and found["violations"] == 0
    assert found["accepted"][2] == 1 and 1 <= found["effectivity"] <= found["limit"] <= 2
    arrays["solution"] = 1.2 * arrays["solution"]  # the bound is no longer about these
    assert operators.bounds(family, dataset, Scaled(family, 1.045))["violations"] == 5


@needs_torch
def test_the_quick_mode(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(operators, "has_fno", lambda: False)
    monkeypatch.setattr(cases, "has_fno", lambda: False)
    arguments = ["operators.py", "--quick", "--case", "darcy", "--output", str(tmp_path)]
    printed = []
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", arguments)
        operators.main()
        printed.append(capsys.readouterr().out.splitlines()[1:])
    first, again = ([line for line in lines if "ridge" not in line] for lines in printed)  # its seconds differ
    assert first == again
    rows = {line[2:20].strip(): line[20:] for line in printed[0][3:]}
    errors = {name: float(re.search(r"([\d.]+) \(", row)[1]) for name, row in rows.items() if row.count("(") == 2}
    assert 20 < errors["mean"] < 32 and errors["ridge"] < 12 and errors["POD floor, 64"] < 3
    assert rows["MgNO"].split()[0] == "104579" and "skipped" in printed[0][-4]
    assert [rows[name].split()[-3] for name in ("as trained", "out of it")] == ["0", "0"]  # violations
    run = cases.Run(cases.darcy(), tmp_path / "darcy quick", quick=True)
    inputs, outputs, tests, wanted = run.samples
    assert len(inputs) == len(outputs) == 100 and len(tests) == len(wanted) == 20
    assert (inputs[:, None] != tests).any(axis=(2, 3)).all()  # none of the test is trained on
    header = run.ways["MgNO"](1).trained.header
    assert header["data"]["seed"] == 0 and header["data"]["count"] == 100


@needs_torch
@pytest.mark.parametrize("name", list(cases.LARGE))
def test_large_cases_have_grids_for_their_networks(name):
    from pdecontrol.learn.operators.registry import build

    case = cases.LARGE[name]()
    grid = list(case.source.grid)
    assert case.count * 0.95 > 64 and set(case.wanted) <= set(case.networks)
    for network, options, _ in case.networks.values():
        facts = {"inputs": [grid], "grid": grid} if network == "mgno" else {"inputs": [grid], "points": grid[0] ** 2}
        build("prediction", network, facts | options)


@needs_torch
def test_without_a_gpu_large_cases_are_skipped(monkeypatch, capsys):
    monkeypatch.setattr(operators, "has_cuda", lambda: False)
    monkeypatch.setattr(sys, "argv", ["operators.py", "--device", "cuda"])
    operators.main()
    assert capsys.readouterr().out == "there is no CUDA device here: nothing was run.\n"
