"""The residual bound of predictions: never less than the error, not much more, and nothing that is not finite."""

from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import splu

import pdecontrol as pc
from pdecontrol.errors import DataError, ProblemError
from pdecontrol.learn.families import Darcy, Helmholtz, Poisson, Thermal
from pdecontrol.learn.residual import FamilyBound, ResidualBound, state_bound

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
    with pytest.raises(DataError, match="beyond 1e"):
        bound().bound(matrix, b, 0 * b + 1e101, 1.0)
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


def test_positive_definite_matrices_are_accepted_whatever_their_pivots():
    generator = np.random.default_rng(5)
    for _ in range(50):
        factor = generator.standard_normal((6, 6))
        matrix = factor @ factor.T + 1e-3 * np.eye(6)
        least = np.linalg.eigvalsh(matrix)[0]
        assert ResidualBound(sp.csr_matrix(matrix)).least == pytest.approx(least, rel=1e-5)
        with pytest.raises(ProblemError, match="positive definite"):
            ResidualBound(sp.csr_matrix(matrix - 1.5 * least * np.eye(6)))


FIELDS = ((3.0, 12.0, 3.0), (2.0, 12.0, 5.0), (1.0, 100.0, 3.0), (3.0, 12.0, 20.0))


def test_nothing_is_accepted_whose_error_exceeds_the_tolerance():
    """Of one bound for a family, in and out of the distribution, on all nodes: 432 predictions, three tolerances."""
    generator, count, accepted, missed = np.random.default_rng(7), 0, 0, 0
    for low, high, tau in FIELDS:
        family = Darcy(n=N, field="threshold", alpha=2.0, tau=tau, low=low, high=high)
        one = FamilyBound(family)
        for _ in range(12):
            sample = family.draw(generator)
            matrix, b = family.system(sample)
            x = splu(sp.csc_matrix(matrix)).solve(b)
            size = np.sqrt(x @ (matrix @ x))
            noise = splu(sp.csc_matrix(family.reference())).solve(generator.standard_normal((x.size, 8)))
            noise /= np.sqrt(np.einsum("ik,ik->k", noise, matrix @ noise))
            noise *= size * np.array([1e-6, 0.01, 0.03, 0.06, 0.1, 0.13, 0.2, 1.0])
            for error in (-x, *noise.T):
                found = one.bound(sample, family.solution(sample, x + error))
                relative = np.sqrt(error @ (matrix @ error)) / size
                count += 1
                for tolerance in (0.05, 0.1, 0.15):
                    assert not found.accepts(tolerance) or relative <= tolerance * (1 + 1e-12)
                    accepted += found.accepts(tolerance)
                    missed += relative <= tolerance and not found.accepts(tolerance)
                assert 1 - 1e-9 <= found.energy / (relative * size) <= np.sqrt(high / low) * (1 + 1e-6)
    assert count == 432 and accepted > missed  # of 1296 decisions


@pytest.mark.parametrize(
    "family", [Poisson(n=N), Thermal(n=16), Darcy(n=7, dimension=3)], ids=lambda family: family.name
)
def test_other_families_have_bounds_on_all_nodes(family):
    sample = family.draw(np.random.default_rng(3))
    matrix, b = family.system(sample)
    x = splu(sp.csc_matrix(matrix)).solve(b)
    error = np.random.default_rng(4).standard_normal(x.size) * np.abs(x).max()
    energy = np.sqrt(error @ (matrix @ error))
    found = FamilyBound(family).bound(sample, family.solution(sample, x + error))
    assert energy <= found.energy <= 3 * energy
    with pytest.raises(DataError, match="on the boundary, where values are given"):
        FamilyBound(family).bound(sample, family.solution(sample, x) + 0.1 * np.abs(x).max())


def test_predictions_of_families_are_checked():
    family = Darcy(n=N)
    sample, one = family.draw(np.random.default_rng(1)), FamilyBound(family)
    with pytest.raises(DataError, match="with the boundary"):
        one.bound(sample, np.zeros(N**2))
    for node in ((3, 4), (0, 0)):
        prediction = np.zeros((N + 2, N + 2))
        prediction[node] = np.nan
        with pytest.raises(DataError, match="not finite"):
            one.bound(sample, prediction)
    with pytest.raises(ProblemError, match="must be positive definite"):
        FamilyBound(Helmholtz(n=N))


def test_a_coercivity_that_the_prediction_contradicts_is_refused():
    family = Darcy(n=N, field="threshold")
    sample = family.draw(np.random.default_rng(1))
    matrix, b = family.system(sample)
    x = splu(sp.csc_matrix(matrix)).solve(b)
    with pytest.raises(ProblemError, match="less coercive than a = 11"):
        bound().bound(matrix, b, x, 11.0)


def test_predicted_states_of_a_control_problem_have_bounds():
    def map_of(diffusion):
        problem = pc.ControlProblem(
            pc.Elliptic(diffusion, source=1.0), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)],
            {"boundary": pc.Dirichlet(lambda x: x[0])},
        )  # fmt: skip
        return pc.discretise(problem, pc.unit_square(12))

    map, reference = map_of(lambda x: np.where(x[0] < 0.5, 3.0, 12.0)), ResidualBound(map_of(1.0).system.matrix)
    u = map.control.interpolate(lambda x: 50 * np.sin(5 * x[1]))
    y, generator = map.at(u).full_state(), np.random.default_rng(2)
    for size in (1.0, 1e-3, 1e-9):
        error = size * map.system.lifting.extend(generator.standard_normal(map.system.lifting.free.size))
        e = map.system.lifting.unknowns(error)
        energy = np.sqrt(e @ (map.system.matrix @ e))
        assert energy * (1 - 1e-6) <= state_bound(reference, map, u, y + error, 3.0).energy <= 2 * energy * (1 + 1e-3)
    with pytest.raises(DataError, match="NaN or infinite"):
        state_bound(reference, map, u, y + np.nan, 3.0)


@pytest.mark.parametrize("unit", [1e-90, 1e-40, 1e40, 1e90])
@pytest.mark.parametrize("size", [1e-95, 1e-60, 1.0, 1e60])
def test_bounds_do_not_depend_on_units(unit, size):
    """Squares of what is small underflow: then a bound would be 0."""
    family = Darcy(n=7, field="threshold")
    sample = family.draw(np.random.default_rng(2))
    matrix, b = family.system(sample)
    x, bound = np.linalg.solve(matrix.toarray(), b), ResidualBound(family.reference())
    prediction, a = x + 1e-3 * np.abs(x).max() * np.sin(np.arange(x.size)), family.coercivity(sample)
    one = bound.bound(matrix, b, prediction, a)
    other = bound.bound(unit * matrix, unit * size * b, size * prediction, unit * a)
    assert other.relative == pytest.approx(one.relative, rel=1e-9) and one.relative > 1e-5
    assert other.energy == pytest.approx(unit**0.5 * size * one.energy, rel=1e-9, abs=0.0)
    assert other.l2 == pytest.approx(size * one.l2, rel=1e-9, abs=0.0)


@pytest.mark.parametrize("unit", [1e-150, 1e150, 1e-250, 1e250])
def test_units_beyond_all_squares_are_refused(unit):
    family = Darcy(n=7, field="threshold")
    sample = family.draw(np.random.default_rng(2))
    matrix, b = family.system(sample)
    bound = ResidualBound(family.reference())
    for scaled in ((unit * matrix, unit * b, b), (matrix, unit * b, unit * b)):
        with pytest.raises(DataError, match="choose other units"):
            bound.bound(*scaled, 3.0)
    with pytest.raises(ProblemError, match="choose other units"):
        ResidualBound(unit * family.reference())
