"""Named sources of training data: waves with sound-hard walls, and antiderivatives."""

import numpy as np
import pytest
from scipy.sparse.linalg import spsolve

import pdecontrol as pc
from pdecontrol.errors import ProblemError
from pdecontrol.learn.antiderivative import Antiderivative
from pdecontrol.learn.helmholtz import NeumannHelmholtz


def relative(found, true):
    return float(np.mean(np.linalg.norm(found - true, axis=1) / np.linalg.norm(true, axis=1)))


def exact_waves(wavenumber, x):
    """sum_k flux_k cos(k pi x) cos(b y) / (-b sin b), b^2 = wavenumber^2 - (k pi)^2, on the grid of the x (p, p)."""
    k = np.pi * np.arange(400)
    flux = np.full(400, 0.3)
    flux[1:] = 2 * (np.sin(0.65 * k[1:]) - np.sin(0.35 * k[1:])) / k[1:]
    b, y = np.sqrt(wavenumber**2 - k**2 + 0j), x[:, None]
    along = -1j * (np.exp(1j * b * (1 + y)) + np.exp(1j * b * (1 - y))) / (b * (np.exp(2j * b) - 1))
    return np.real(np.cos(np.outer(x, k)) @ (flux * along).T)


def test_waves_in_a_uniform_medium_tend_to_their_series():
    errors = []
    for n in (16, 32):
        matrix, b = NeumannHelmholtz(n, omega=160.0).system({"speed": np.full((n + 1, n + 1), 20.0)})
        exact = exact_waves(8.0, np.linspace(0.0, 1.0, n + 1))
        found = spsolve(matrix.tocsc(), b).reshape(n + 1, n + 1)
        errors.append(np.abs(found - exact)[:, : n // 2].max() / np.abs(exact).max())
    assert errors[1] < 0.05 and 3.4 < errors[0] / errors[1] < 4.6


def test_waves_have_the_spread_of_the_published_set_up(tmp_path):
    """At 33 x 33 points a constant prediction errs by 21 %, a linear one by 7 %."""
    data = pc.generate(NeumannHelmholtz(), 400, 5, tmp_path / "waves", tolerance=1e-10, strategy="lu")
    c, u = (data[name][:].reshape(400, -1) for name in ("speed", "solution"))
    assert c.min() >= 19.3 and c.max() <= 20.7 and data.summary["worst_residual"] <= 1e-10
    mean, x = u[:320].mean(axis=0), (c - c[:320].mean(axis=0)) / c[:320].std()
    assert relative(np.tile(mean, (80, 1)), u[320:]) == pytest.approx(0.21, abs=0.03)
    weights = np.linalg.solve(x[:320] @ x[:320].T + 50 * np.eye(320), u[:320] - mean)
    assert 0.05 < relative(mean + x[320:] @ x[:320].T @ weights, u[320:]) < 0.11


def test_antiderivatives_are_exact_and_their_inputs_have_the_covariance(tmp_path):
    data = pc.generate(Antiderivative(sensors=41, points=21), 4000, 5, tmp_path / "data")
    u, y, x = data["input"][:], data["solution"][:], np.linspace(0.0, 1.0, 41)
    covariance = np.exp(-(np.subtract.outer(x, x) ** 2) / (2 * 0.2**2))
    assert np.abs(u.T @ u / 4000 - covariance).max() < 0.08
    simpson = np.cumsum((u[:, :-2:2] + 4 * u[:, 1:-1:2] + u[:, 2::2]) / 120, axis=1)
    assert np.abs(y[:, 1:] - simpson).max() < 1e-5 and np.abs(y[:, 0]).max() < 1e-14


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Antiderivative(length=0.001), "length must be at least 0.01"),
        (lambda: Antiderivative(points=1), "points must be an integer, 2 or more"),
        (lambda: Antiderivative().plan([], 1, 1e-8, "lu"), "found by a formula"),
        (lambda: NeumannHelmholtz(n=1), "n must be an integer, 2 or more"),
        (lambda: NeumannHelmholtz(omega=0.0), "omega must be positive"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ProblemError, match=message):
        make()
