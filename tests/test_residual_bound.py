"""The residual bound of predictions: never less than the error, not much more, and nothing that is not finite."""

from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from pdecontrol.errors import DataError, ProblemError
from pdecontrol.learn.families import Darcy
from pdecontrol.learn.residual import ResidualBound

N = 15


@cache
def bound():
    return ResidualBound(Darcy(n=N).reference())


def cases():
    """Equations and predictions: 12/3, 12/2 with another spectrum, and predictions of all qualities, 480 in all."""
    generator = np.random.default_rng(20)
    for low, tau in ((3.0, 3.0), (2.0, 5.0), (0.1, 3.0)):
        family = Darcy(n=N, field="threshold", alpha=2.0, tau=tau, low=low)
        for _ in range(20):
            sample = family.draw(generator)
            matrix, b = family.system(sample)
            x = splu(sp.csc_matrix(matrix)).solve(b)
            size, coarse = np.linalg.norm(x), np.kron(x.reshape(N, N)[1::3, 1::3], np.ones((3, 3))).ravel()
            noise = generator.standard_normal((5, x.size))
            noise *= (size * np.array([10.0, 1e-1, 1e-4, 1e-10, 1e-15]) / np.linalg.norm(noise, axis=1))[:, None]
            for prediction in (0 * x, coarse, 3.0 * x, *(x + noise)):
                yield family, sample, matrix, b, x, prediction


def test_no_error_is_larger_than_its_bound_and_no_bound_much_larger_than_its_error():
    count = 0
    for family, sample, matrix, b, x, prediction in cases():
        found, error = bound().bound(matrix, b, prediction, family.coercivity(sample)), x - prediction
        energy, size = (np.sqrt(v @ (matrix @ v)) for v in (error, x))
        # what is compared with is a solution by factors, which has errors of its own
        own = 1e-13 * size
        assert energy <= found.energy + own and np.linalg.norm(error) <= found.l2 + 1e-13 * np.linalg.norm(x)
        assert energy <= found.relative * size * (1 + 1e-12) + own
        assert found.energy <= np.sqrt(12.0 / family.coercivity(sample)) * energy * (1 + 1e-6) + 1e-11 * size
        count += 1
    assert count == 480


def test_rounding_is_no_error_that_a_bound_misses():
    """Of a prediction that is the solution but for rounding, known in more digits than those of the bound."""
    family = Darcy(n=N, field="threshold")
    sample = family.draw(np.random.default_rng(1))
    matrix, b = family.system(sample)
    exact = x = splu(sp.csc_matrix(matrix)).solve(b).astype(np.longdouble)
    for _ in range(3):  # iterative refinement in extended precision
        dense = matrix.toarray().astype(np.longdouble)
        exact = exact + splu(sp.csc_matrix(matrix)).solve((b - dense @ exact).astype(float))
    error = exact - x
    found = bound().bound(matrix, b, x.astype(float), family.coercivity(sample))
    assert 0 < float(np.sqrt(error @ dense @ error)) <= found.energy < 1e-10


def test_scaling_never_makes_the_bound_on_the_energy_much_larger_and_finds_multiples_of_the_solution():
    for family, sample, matrix, b, x, prediction in cases():
        a = family.coercivity(sample)
        scaled = bound().bound(matrix, b, prediction, a, rescale=True)
        error = x - scaled.scale * prediction
        plain = np.sqrt((x - prediction) @ (matrix @ (x - prediction)))
        energy = np.sqrt(error @ (matrix @ error))
        size = np.sqrt(x @ (matrix @ x))
        assert energy <= plain * (1 + 1e-12) + 1e-13 * size and energy <= scaled.energy + 1e-13 * size
        if np.allclose(prediction, 3.0 * x):
            assert abs(scaled.scale - 1 / 3) < 1e-9 and scaled.relative < 1e-10


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_predictions_that_are_not_finite_are_refused(value):
    family = Darcy(n=N)
    sample = family.draw(np.random.default_rng(1))
    matrix, b = family.system(sample)
    prediction = 0 * b
    prediction[7] = value
    with pytest.raises(DataError, match="not finite"):
        bound().bound(matrix, b, prediction, 1.0)
    with pytest.raises(DataError, match="the prediction has shape"):
        bound().bound(matrix, b, prediction[1:], 1.0)
    for coercivity in (0.0, -1.0, value):
        with pytest.raises(ProblemError, match="coercive equations alone"):
            bound().bound(matrix, b, 0 * b, coercivity)


def test_reference_matrices_that_are_not_positive_definite_are_refused():
    laplacian = Darcy(n=4).reference()
    skew = laplacian.tolil()
    skew[0, 5] += 1.0
    for matrix, message in ((laplacian - 5 * sp.identity(16), "positive definite"), (skew.tocsr(), "symmetric")):
        with pytest.raises(ProblemError, match=message):
            ResidualBound(matrix)


def test_the_least_eigenvalue_is_that_of_the_grid_and_not_its_limit():
    h = 1 / (N + 1)
    assert 0 < 8 * np.sin(np.pi * h / 2) ** 2 - bound().least < 1e-5 * bound().least
    assert bound().least < 2 * np.pi**2 * h**2
