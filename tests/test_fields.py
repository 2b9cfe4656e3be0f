"""Random fields: their spectra, covariances and definitions."""

import copy
import inspect
import json
import math
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.fft import dctn
from scipy.special import gamma, kv

from pdecontrol.errors import ProblemError
from pdecontrol.fem.engine import Integral, diffusion
from pdecontrol.fem.skfem import SkfemEngine
from pdecontrol.learn import random_fields
from pdecontrol.learn.matern import MaternField
from pdecontrol.learn.random_fields import (
    ChebyshevSeries,
    CosineField,
    CosineSeries,
    PeriodicField,
    RandomField,
    threshold,
)
from pdecontrol.mesh.shapes import disc, unit_cube, unit_interval, unit_square

FIELDS = {
    "periodic": PeriodicField(8),
    "periodic 1D": PeriodicField(7, dimension=1, alpha=1.0, tau=2.0),
    "periodic 3D": PeriodicField(4, dimension=3, deviation=0.4),
    "cosine": CosineField(8),
    "cosine 1D": CosineField(9, dimension=1, deviation=2.0),
    "cosine 3D": CosineField(4, dimension=3),
    "cosine series": CosineSeries(9, modes=20),
    "chebyshev": ChebyshevSeries(np.linspace(0.0, 1.0, 11)),
    "matern 1D": MaternField(unit_interval(20), 0.3, order=1),
    "matern": MaternField(disc(4), 0.8, deviation=2.0),
    "matern, odd": MaternField(unit_square(5), 0.5, order=3),
    "matern 3D": MaternField(unit_cube(3), 0.5),
}


@pytest.fixture(params=FIELDS, ids=list(FIELDS))
def field(request):
    return FIELDS[request.param]


def samples(field, count, seed=71):
    generator = np.random.default_rng(seed)
    return np.array([field.sample(generator) for _ in range(count)])


class Fixed:
    """A generator that draws the given numbers, in their order, and counts them."""

    def __init__(self, numbers):
        self.numbers, self.used = numbers, 0

    def standard_normal(self, shape):
        start, self.used = self.used, self.used + math.prod(np.atleast_1d(shape))
        return self.numbers[start : self.used].reshape(shape)

    def uniform(self, low, high, shape):
        return self.standard_normal(shape)


EARLIER = {
    "periodic": 0.007192142120529363, "periodic 1D": -0.1836614342759833, "periodic 3D": -0.015291086122364184,
    "cosine": 0.05666859017918888, "cosine 1D": 1.0218118229594997, "cosine 3D": -0.38032024787456253,
    "cosine series": -0.07547031009415085, "chebyshev": -1.445763795506468, "matern 1D": -0.7861788299825742,
    "matern": 2.9396273337392986, "matern, odd": 1.989038025350398, "matern 3D": 1.494218323840136,
}  # fmt: skip


# -- all fields -----------------------------------------------------------------------------------------------


def test_every_field_is_tested():
    known = [*vars(random_fields).values(), MaternField]
    classes = [item for item in known if isinstance(item, type) and issubclass(item, RandomField)]
    assert {type(field) for field in FIELDS.values()} == {item for item in classes if not inspect.isabstract(item)}
    assert len(classes) == 7 and len(FIELDS) == 12


def test_a_seed_gives_the_same_sample(field):
    first, second, other = (field.sample(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first.shape == field.shape and first.dtype == float and np.isfinite(first).all()
    assert first.tobytes() == second.tobytes()
    assert not np.isclose(first, other).any()


def test_samples_take_equally_many_numbers(field):
    few, many = Fixed(np.zeros(1000)), Fixed(np.ones(1000))
    zero = field.sample(few)
    field.sample(many)
    assert few.used == many.used > 0 and (zero == 0).all()


def test_samples_are_those_of_earlier_versions():
    # Datasets on disk continue only if a seed keeps its samples.
    values = {name: field.sample(np.random.default_rng(2026)).flat[3] for name, field in FIELDS.items()}
    assert values == pytest.approx(EARLIER, rel=1e-10)


def test_a_definition_is_json_and_separates_fields():
    texts = [json.dumps(field.definition) for field in FIELDS.values()]
    assert len(set(texts)) == len(FIELDS)
    for field, text in zip(FIELDS.values(), texts, strict=True):
        assert json.loads(text) == field.definition
    assert PeriodicField(np.int64(8)).definition == PeriodicField(8).definition
    mesh = unit_square(4)
    definition = MaternField(mesh, 0.5).definition
    assert definition == MaternField(unit_square(4), 0.5).definition
    assert definition != MaternField(mesh.transform(lambda x: 1.001 * x), 0.5).definition


def test_a_field_goes_to_another_process_after_use(field):
    expected = field.sample(np.random.default_rng(5))
    sent = copy.deepcopy(field)  # by the protocol of multiprocessing: without what cannot be sent
    assert set(vars(sent)) < set(vars(field)) or "_factors" not in vars(field)
    assert np.array_equal(sent.sample(np.random.default_rng(5)), expected)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: PeriodicField(1), "points"),
        (lambda: PeriodicField(8.0), "points"),
        (lambda: PeriodicField(True), "points"),
        (lambda: PeriodicField(8, dimension=0), "dimension"),
        (lambda: PeriodicField(8, alpha=1.0), "alpha"),
        (lambda: PeriodicField(8, alpha="large"), "alpha"),
        (lambda: CosineField(8, dimension=3, alpha=1.5), "alpha"),
        (lambda: CosineField(8, tau=0.0), "tau"),
        (lambda: CosineField(8, tau=math.inf), "tau"),
        (lambda: CosineField(8, deviation=-1.0), "deviation"),
        (lambda: CosineSeries(8, modes=0), "modes"),
        (lambda: CosineSeries(1), "points"),
        (lambda: CosineSeries(8, tau=-3.0), "tau"),
        (lambda: ChebyshevSeries([0.0, 1.5]), "points"),
        (lambda: ChebyshevSeries([0.0, math.nan]), "points"),
        (lambda: ChebyshevSeries(5), "points"),
        (lambda: ChebyshevSeries("x"), "points"),
        (lambda: ChebyshevSeries([0.0], degree=-1), "degree"),
        (lambda: MaternField(0.5, 0.5), "mesh"),
        (lambda: MaternField(unit_interval(9), 0.0), "length"),
        (lambda: MaternField(unit_interval(9), 0.1), "length"),
        (lambda: MaternField(unit_square(9), 0.5, order=1), "order"),
        (lambda: MaternField(unit_cube(2), 0.5, order=1), "order"),
        (lambda: MaternField(unit_cube(2), 0.5, order=2.5), "order"),
        (lambda: MaternField(unit_square(9), 0.5, deviation=0.0), "deviation"),
    ],
)
def test_a_bad_parameter_is_named(make, name):
    with pytest.raises(ProblemError, match=rf"\w+(Field|Series): {name} must be"):
        make()


def test_threshold():
    g = np.array([[-1e-300, 0.0], [2.0, -3.0]])
    assert threshold(g, low=3, high=12).tolist() == [[3.0, 12.0], [12.0, 3.0]]
    values = threshold(samples(CosineField(16), 50), 3, 12)
    assert set(values.ravel()) == {3.0, 12.0}
    assert 0.45 < (values == 12).mean() < 0.55


# -- fields on grids -------------------------------------------------------------------------------------------


def amplitude(k, dimension, alpha, tau, unit):
    """sigma (lambda_k + tau^2)^(-alpha/2) with lambda_k = unit^2 |k|^2."""
    return tau ** (alpha - dimension / 2) * (unit**2 * sum(i**2 for i in k) + tau**2) ** (-alpha / 2)


@pytest.mark.parametrize(("points", "dimension"), [(6, 1), (5, 1), (6, 2), (5, 2), (4, 3)])
def test_periodic_field_is_its_sum(points, dimension):
    field = PeriodicField(points, dimension)
    numbers = np.random.default_rng(8).standard_normal(2 * points**dimension)
    real, imaginary = numbers.reshape(2, *field.shape)
    waves = [*range((points + 1) // 2), *range(-(points // 2), 0)]
    x = np.indices(field.shape) / points
    g = np.zeros(field.shape)
    for place in product(range(points), repeat=dimension):
        k = [waves[i] for i in place]
        if any(k):
            xi = (real[place] + 1j * imaginary[place]) / math.sqrt(2)
            wave = np.exp(2j * np.pi * np.tensordot(k, x, 1))
            g += (math.sqrt(2) * amplitude(k, dimension, 2.5, 7.0, 2 * np.pi) * xi * wave).real
    assert field.sample(Fixed(numbers)) == pytest.approx(g, abs=1e-13)


@pytest.mark.parametrize(("points", "dimension"), [(6, 1), (5, 2), (4, 3)])
def test_cosine_field_is_its_sum(points, dimension):
    field = CosineField(points, dimension)
    xi = np.random.default_rng(8).standard_normal(field.shape)
    x = (np.indices(field.shape) + 0.5) / points
    g = np.zeros(field.shape)
    for k in product(range(points), repeat=dimension):
        if any(k):
            wave = math.sqrt(2) ** np.count_nonzero(k) * np.cos(np.pi * (x.T * k).T).prod(axis=0)
            g += amplitude(k, dimension, 2.0, 3.0, np.pi) * xi[k] * wave
    assert field.sample(Fixed(xi.ravel())) == pytest.approx(g, abs=1e-13)


@pytest.mark.parametrize("field", [PeriodicField(32), PeriodicField(31), CosineField(32), CosineField(12, 3)])
def test_mean_of_every_sample_is_zero(field):
    for g in samples(field, 20):
        assert abs(g.mean()) < 1e-15 * np.abs(g).max() * math.sqrt(g.size)


@pytest.mark.parametrize(
    "field",
    [PeriodicField(32), PeriodicField(64, 1, alpha=1.5), PeriodicField(32, deviation=1.0), CosineField(32),
     CosineField(64, 1), CosineField(12, 3), CosineField(32, deviation=3.0), PeriodicField(12, 3, deviation=0.5)],
)  # fmt: skip
def test_deviation(field):
    waves = [*range(field.points)] if isinstance(field, CosineField) else np.fft.fftfreq(field.points) * field.points
    unit = np.pi if isinstance(field, CosineField) else 2 * np.pi
    modes = [
        amplitude(k, field.dimension, field.alpha, field.tau, unit) for k in product(waves, repeat=field.dimension)
    ]
    expected = field.deviation or np.linalg.norm(modes[1:])
    squares = np.mean(samples(field, 1000) ** 2, axis=tuple(range(1, field.dimension + 1)))
    window = 4 * squares.std() / math.sqrt(len(squares))
    assert window < 0.2 * expected**2
    assert abs(squares.mean() - expected**2) < window


def test_deviation_does_not_depend_on_the_grid():
    for make in (PeriodicField, CosineField):
        coarse, fine = (np.std(samples(make(points, alpha=3.0), 500)) for points in (16, 48))
        assert coarse == pytest.approx(fine, rel=0.08)


def check_spectrum(field, alpha):
    """The variances of the modes of 500 samples fall as (lambda + tau^2)^(-alpha), up to 5 % of alpha."""
    g, k = samples(field, 500), np.indices(field.shape)
    if isinstance(field, CosineField):
        modes, eigenvalues = dctn(g, axes=(1, 2), norm="ortho"), np.pi**2 * (k**2).sum(axis=0)
    else:
        modes, eigenvalues = np.fft.fft2(g), 4 * np.pi**2 * (np.minimum(k, field.points - k) ** 2).sum(axis=0)
    logs = np.log(eigenvalues + field.tau**2), np.log(np.mean(np.abs(modes) ** 2, axis=0))
    slope = np.polyfit(*(values.ravel()[1:] for values in logs), 1)[0]
    assert -1.05 * alpha < slope < -0.95 * alpha, f"slope {slope} for alpha {alpha}"


@pytest.mark.parametrize("make", [PeriodicField, CosineField])
@pytest.mark.parametrize("alpha", [1.5, 2.5])
def test_spectrum(make, alpha):
    field = make(32, alpha=alpha)
    check_spectrum(field, alpha)
    for planted in (0.93, 1.07):
        with pytest.raises(AssertionError, match="slope"):
            check_spectrum(replace(field, alpha=planted * alpha), alpha)


@pytest.mark.parametrize("points", [50, 100])
def test_contrast_of_the_published_coefficients(points):
    g = samples(PeriodicField(points), 500)
    deviations, contrasts = g.std(axis=(1, 2)), np.exp(np.ptp(g, axis=(1, 2)))
    assert 0.15 < np.median(deviations) < 0.19
    assert 2.35 < np.median(contrasts) < 2.6


# -- series ----------------------------------------------------------------------------------------------------


def test_cosine_series_is_its_sum():
    field = CosineSeries(7, modes=4)
    theta = np.array([0.5, -1.0, 2.0, 0.3])
    x, y = np.indices((7, 7)) / 6
    g = np.zeros((7, 7))
    for t, l in zip(theta, [(0, 1), (1, 0), (1, 1), (0, 2)], strict=True):
        wave = np.cos(np.pi * l[0] * x) * np.cos(np.pi * l[1] * y) * math.sqrt(2) ** np.count_nonzero(l)
        g += t / (np.pi**2 * (l[0] ** 2 + l[1] ** 2) + 9) * wave
    assert field.sample(Fixed(theta)) == pytest.approx(g, abs=1e-14)


@pytest.mark.parametrize("modes", [1, 2, 3, 7, 100, 1000])
def test_cosine_series_takes_the_smallest_modes(modes):
    pairs = sorted(product(range(modes + 1), repeat=2), key=lambda l: (l[0] ** 2 + l[1] ** 2, l))[1 : modes + 1]
    # At x = y = 0 mode l has the value 2^(count of nonzero l_j / 2) / (pi^2 |l|^2 + 9).
    corner = [CosineSeries(2, modes).sample(Fixed(row))[0, 0] for row in np.eye(modes)]
    expected = [2 ** (np.count_nonzero(l) / 2) / (np.pi**2 * (l[0] ** 2 + l[1] ** 2) + 9) for l in pairs]
    assert corner == pytest.approx(expected, rel=1e-12)


def test_wave_speed_of_the_helmholtz_benchmark():
    c = 20 + np.tanh(samples(CosineSeries(33), 500))
    assert 19.3 < c.min() < 19.7 and 20.3 < c.max() < 20.7


def test_chebyshev_coefficients_come_back_from_values():
    x = np.linspace(0.0, 1.0, 30)
    series = ChebyshevSeries(x)
    c = series.coefficients(np.random.default_rng(5))
    values = series.sample(np.random.default_rng(5))
    assert np.polynomial.chebyshev.chebfit(2 * x - 1, values, 5) == pytest.approx(c, abs=1e-12)
    several = series.evaluate(np.stack([c, 2 * c]))
    assert several == pytest.approx(np.stack([values, 2 * values]), abs=1e-14)


def test_chebyshev_coefficients_are_uniform():
    generator = np.random.default_rng(5)
    c = np.array([ChebyshevSeries([0.5]).coefficients(generator) for _ in range(2000)])
    assert c.shape == (2000, 6) and np.abs(c).max() < 1
    assert c.var() == pytest.approx(1 / 3, abs=0.01) and np.abs(c.mean(axis=0)).max() < 0.06


# -- fields on meshes ------------------------------------------------------------------------------------------


def matern(field, r):
    """The covariance at distances r."""
    nu = field.order - field.mesh.dim / 2
    u = np.maximum(np.sqrt(8 * nu) / field.length * r, 1e-9)
    return field.deviation**2 * 2 ** (1 - nu) / gamma(nu) * u**nu * kv(nu, u)


def lumped_mass(mesh):
    shares = np.broadcast_to(mesh.volumes / len(mesh.cells), mesh.cells.shape)
    return np.bincount(mesh.cells.ravel(), shares.ravel())


def centre(mesh):
    """The vertex nearest to (1/2, .., 1/2), and the distances of all from it."""
    at = int(np.argmin(np.linalg.norm(mesh.points - 0.5, axis=0)))
    return at, np.linalg.norm(mesh.points - mesh.points[:, [at]], axis=0)


def covariance_with(field, at):
    """The covariance of the field at all vertices with that at a vertex, without chance.

    The noise of a field of even order is M^(1/2) xi, and its map to the field is symmetric: cov e = S M S e.
    """
    root = np.sqrt(lumped_mass(field.mesh))
    unit = np.zeros(len(root))
    unit[at] = 1.0
    response = field.sample(Fixed(unit)) / root[at]
    return field.sample(Fixed(root * response))


def covariance(field):
    """The covariance of the field, without chance: its values for each number that it draws."""
    probe = Fixed(np.zeros(10_000))
    field.sample(probe)
    columns = np.array([field.sample(Fixed(unit)) for unit in np.eye(probe.used)])
    return columns.T @ columns


@pytest.mark.parametrize(
    ("mesh", "orders"),
    [(unit_interval(15), (1, 2, 3, 4)), (disc(3), (2, 3, 4, 5)), (unit_cube((2, 3, 2)), (2, 3, 4))],
    ids=["1D", "2D", "3D"],
)
def test_matern_field_solves_its_equation(mesh, orders):
    """Its covariance is c^2 (K^-1 M)^(order - 1) K^-1, here with the stiffness matrix of scikit-fem."""
    mesh = mesh.transform(lambda x: 1.5 * x + 0.1 * x**2 + 0.2 * x[::-1])
    engine = SkfemEngine(mesh, 1, "direct")
    stiffness = engine.matrix([Integral(diffusion, engine.cells, np.ones(engine.basis.dx.shape))]).toarray()
    for order in orders:
        field, nu = MaternField(mesh, 1.2, order, deviation=1.3), order - mesh.dim / 2
        kappa = math.sqrt(8 * nu) / 1.2
        inverse = np.linalg.inv(kappa**2 * np.diag(lumped_mass(mesh)) + stiffness)
        expected = np.linalg.matrix_power(inverse @ np.diag(lumped_mass(mesh)), order - 1) @ inverse
        variance = gamma(nu) / (gamma(order) * (4 * np.pi) ** (mesh.dim / 2) * kappa ** (2 * nu))
        assert covariance(field) == pytest.approx(1.3**2 / variance * expected, rel=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_matern_covariance_of_every_order(order):
    errors = []
    for n in (40, 80):
        field = MaternField(unit_interval(n), 0.2, order, deviation=1.3)
        at, r = centre(field.mesh)
        matrix = covariance(field)
        error = (matrix[at] - matern(field, r))[r < 0.2] / 1.3**2
        assert np.abs(error).max() < 0.022
        assert matrix[0, 0] == pytest.approx(2 * 1.3**2, rel=0.03)  # at the boundary
        errors.append(np.linalg.norm(error) / math.sqrt(error.size))
    assert 3.4 < errors[0] / errors[1] < 4.6


@pytest.mark.parametrize(
    ("make", "divisions", "length", "order", "final"),
    [
        (unit_square, (20, 40, 80), 0.2, 2, 0.0191),
        (unit_square, (40, 80), 0.1, 2, 0.0532),
        (unit_square, (20, 40, 80), 0.2, 4, 0.0060),
        (lambda n: disc(n).transform(lambda x: 0.5 + 0.5 * x), (10, 20, 40), 0.2, 2, 0.0249),
        (unit_cube, (6, 12, 24), 0.2, 2, 0.0621),
    ],
    ids=["2D", "2D, short", "2D, smooth", "disc", "3D"],
)
def test_matern_covariance_does_not_depend_on_the_mesh(make, divisions, length, order, final):
    errors = []
    for n in divisions:
        field = MaternField(make(n), length, order, deviation=0.7)
        at, r = centre(field.mesh)
        error = (covariance_with(field, at) - matern(field, r))[r < length] / 0.7**2
        errors.append(np.linalg.norm(error) / math.sqrt(error.size))
    assert np.abs(error).max() == pytest.approx(final, rel=0.05)
    assert all(2.3 < coarse / fine < 5.5 for coarse, fine in pairwise(errors))


@pytest.mark.parametrize("order", [2, 3])
def test_matern_samples_have_deviation_and_length(order):
    for length in (0.15, 0.3):
        field = MaternField(unit_square(40), length, order, deviation=1.3)
        g = samples(field, 600).reshape(-1, 41, 41)[:, 12:29, 12:29]  # at least 0.3 from the boundary
        assert 0.95 < g.std() / 1.3 < 1.06
        for steps in (3, 6, 12):
            correlation = np.mean(g[:, steps:] * g[:, :-steps]) / g.var()
            assert correlation == pytest.approx(matern(field, steps / 40) / 1.3**2, abs=0.05)
