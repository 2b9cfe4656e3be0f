"""Orders of systems: greedy against brute force, lengths of paths on random fields, features; and planted errors."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pdecontrol.errors import DataError
from pdecontrol.learn.strategy.ordering import (
    _euclidean_bounds,
    _hilbert_index,
    cosine_features,
    greedy,
    hilbert,
    improve,
    path_length,
    principal_features,
)

METRICS = {"euclidean": 2, "cityblock": 1}
each_metric = pytest.mark.parametrize("metric", METRICS)
lattice_points = arrays(
    float, st.tuples(st.integers(1, 14), st.integers(1, 4)), elements=st.integers(-2, 2), fill=st.nothing()
)


def permeability(count, size, seed):
    """exp of periodic Gaussian random fields, covariance tau^(2 alpha - 2) (4 pi^2 |k|^2 + tau^2)^-alpha."""
    generator, alpha, tau = np.random.default_rng(seed), 2.5, 7.0
    k = np.fft.fftfreq(size, 1.0 / size)
    decay = (4.0 * np.pi**2 * (k[:, None] ** 2 + k**2) + tau**2) ** (-alpha / 2)
    decay[0, 0] = 0.0
    noise = generator.standard_normal((2, count, size, size)) / np.sqrt(2.0)
    return np.exp(np.fft.ifft2(size**2 * np.sqrt(2.0) * tau ** (alpha - 1) * decay * (noise[0] + 1j * noise[1])).real)


def brute_force(x, metric="euclidean", first_of_ties=True):
    order, left = [0], list(range(1, len(x)))
    while left:
        best = np.inf
        for j in left:
            distance = np.linalg.norm(x[order[-1]] - x[j], METRICS[metric])
            if distance < best or (distance == best and not first_of_ties):
                best, nearest = distance, j
        order.append(nearest)
        left.remove(nearest)
    return order


def families():
    generator = np.random.default_rng(3)
    x = generator.standard_normal((200, 32))
    scales = 10.0 ** generator.integers(-6, 7, 32)
    return {
        "normal": x,
        "lattice": np.round(x),
        "line": np.round(4.0 * x[:, :1]),
        "signs": np.sign(x),
        "duplicates": x[generator.integers(0, 20, 200)],
        "equal": np.ones((200, 32)),
        "badly scaled": 1e8 + scales * x,
        "offset": 1e9 + np.round(x, 3),
        "tiny": 1e-99 + 1e-100 * x,
        "outlier": x * np.where(np.arange(200) == 77, 1e12, 1.0)[:, None],
        "clusters": x + 1e7 * generator.integers(0, 3, (200, 1)),
        "fields": permeability(200, 16, 1).reshape(200, -1),
        "duplicate fields": permeability(20, 16, 1).reshape(20, -1)[generator.integers(0, 20, 200)],
        "noise": generator.random((200, 100)),
        "few long": generator.random((20, 500)),
    }


FAMILIES = families()
each_family = pytest.mark.parametrize("x", FAMILIES.values(), ids=FAMILIES)


def mean_hop(x, order):
    """Relative to that of random orders, here the given one."""
    return path_length(x, order) / path_length(x, np.arange(len(x)))


def tail(x, order):
    """The mean hop of the last tenth of the path, relative to random order."""
    last = order[-len(order) // 10 :]
    return path_length(x[last], np.arange(len(last))) / (len(last) - 1) / (path_length(x, np.arange(len(x))) / len(x))


# -- greedy ---------------------------------------------------------------------------------------------------


@each_family
@each_metric
def test_greedy_is_the_brute_force_search(x, metric):
    assert greedy(x, metric).tolist() == brute_force(x, metric)


@each_metric
@given(x=lattice_points)
def test_greedy_takes_the_first_of_equally_near(x, metric):
    assert greedy(x, metric).tolist() == brute_force(x, metric)


def test_comparison_would_catch_a_wrong_tie_rule():
    caught = {name for name, x in FAMILIES.items() if greedy(x).tolist() != brute_force(x, first_of_ties=False)}
    assert caught == {"lattice", "line", "signs", "duplicates", "equal", "duplicate fields"}


@each_family
def test_bounds_are_below_the_distances(x):
    rows, points, scale = _euclidean_bounds(x)
    exact = np.linalg.norm((x[:, None] - x) / scale, axis=2) ** 2
    bounds = np.einsum("ip,jp->ij", rows, points)
    assert (bounds <= exact).all()
    assert bounds.sum() >= 0.85 * exact.sum() - 1e-25


def test_long_rows_are_reduced_where_that_loses_little():
    assert _euclidean_bounds(FAMILIES["fields"])[0].shape == (200, 66)
    assert _euclidean_bounds(FAMILIES["noise"])[0].shape == (200, 102)


@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-20, 20))
@settings(max_examples=20)
def test_greedy_ignores_rotation_shift_and_scale(seed, exponent):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((60, 5))
    rotation = np.linalg.qr(generator.standard_normal((5, 5)))[0]
    assert (greedy(10.0**exponent * (x @ rotation + generator.standard_normal(5))) == greedy(x)).all()


@pytest.mark.parametrize(("count", "low", "high"), [(100, 0.65, 0.75), (1000, 0.56, 0.64)])
def test_greedy_path_is_short(count, low, high):
    fields = permeability(count, 64, seed=5)
    assert 0.15 <= np.log(fields).std() <= 0.19
    x = fields.reshape(count, -1)
    assert low <= mean_hop(x, greedy(x)) <= high


def test_path_by_cosines_is_as_short():
    fields = permeability(2000, 32, seed=6)
    x = fields.reshape(2000, -1)
    assert 0.97 <= path_length(x, greedy(cosine_features(fields))) / path_length(x, greedy(x)) <= 1.03


# -- improve --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "low", "high"), [(100, 0.93, 0.98), (1000, 0.97, 0.99)])
def test_improve_shortens_the_greedy_path_and_its_tail(count, low, high):
    x = cosine_features(permeability(count, 32, seed=7))
    order = greedy(x)
    better = improve(order, x)
    assert sorted(better) == list(range(count))
    assert low <= path_length(x, better) / path_length(x, order) <= high
    assert tail(x, order) > 0.75 and tail(x, better) < 0.85 * tail(x, order)


@each_metric
@given(x=lattice_points, random=st.randoms(use_true_random=False))
def test_improve_is_no_longer_and_leaves_no_part_to_reverse(x, metric, random):
    n = len(x)
    order = random.sample(range(n), n)
    better = improve(order, x, metric)
    length = path_length(x, better, metric)
    assert sorted(better) == list(range(n)) and length <= path_length(x, order, metric)
    for start in range(n):
        for stop in range(start + 2, n + 1):
            reversed_part = np.concatenate([better[:start], better[start:stop][::-1], better[stop:]])
            assert path_length(x, reversed_part, metric) >= length * (1.0 - 1e-11)


def test_improve_mends_a_planted_detour():
    x = np.arange(300.0)[:, None]
    order = np.concatenate([np.arange(40), np.arange(170, 39, -1), np.arange(171, 300)])
    assert path_length(x, order) == 299.0 + 2 * 130.0
    assert (improve(order, x) == np.arange(300)).all()
    assert (order[40:171] == np.arange(170, 39, -1)).all()  # an argument is not overwritten


def test_improve_works_on_long_rows():
    fields = permeability(300, 16, seed=8).reshape(300, -1)
    order = greedy(fields)
    assert 0.95 <= path_length(fields, improve(order, fields)) / path_length(fields, order) <= 0.985


# -- hilbert --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "bits"), [(1, 5), (2, 1), (2, 5), (3, 3), (4, 2), (6, 2)])
def test_hilbert_curve_visits_neighbouring_cells(dim, bits):
    cells = np.indices((2**bits,) * dim).reshape(dim, -1)
    index = _hilbert_index(cells.copy(), bits)
    assert sorted(index) == list(range(2 ** (bits * dim)))
    assert (np.abs(np.diff(cells[:, np.argsort(index)], axis=1)).sum(axis=0) == 1).all()


@pytest.mark.parametrize(("count", "low", "high"), [(100, 0.74, 0.86), (1000, 0.68, 0.76)])
def test_hilbert_path_is_between_greedy_and_random(count, low, high):
    x = cosine_features(permeability(count, 32, seed=9))
    order = hilbert(x)
    assert sorted(order) == list(range(count))
    assert low <= mean_hop(x, order) <= high
    assert mean_hop(x, greedy(x)) < low


def test_hilbert_sorts_numbers():
    x = np.random.default_rng(11).permutation(5000)
    order = hilbert(x[:, None])
    assert (x[order] == np.arange(5000)).all()


@given(x=lattice_points)
def test_hilbert_is_a_permutation(x):
    assert sorted(hilbert(x)) == list(range(len(x)))


# -- features -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9,), (8, 10), (4, 5, 6)])
def test_cosine_features_are_no_farther_apart_than_fields(shape):
    fields = np.random.default_rng(12).standard_normal((10, *shape))
    features = cosine_features(fields, 4)
    assert features.shape == (10, 4 ** len(shape))
    for a, b in pairwise(fields):
        assert np.linalg.norm(cosine_features((a - b)[None], 4)) <= np.linalg.norm(a - b)
    cube = fields.reshape(10, -1)[:, : 4 ** len(shape)].reshape(10, *[4] * len(shape))
    np.testing.assert_allclose(
        np.linalg.norm(cosine_features(cube, 4), axis=1), np.linalg.norm(cube.reshape(10, -1), axis=1)
    )


def test_cosine_features_are_coefficients_of_cosines():
    s = (np.arange(12) + 0.5) / 12
    field = 3.0 + 2.0 * np.cos(np.pi * s)[:, None] * np.cos(2.0 * np.pi * s)
    expected = np.zeros((4, 4))
    expected[0, 0], expected[1, 2] = 3.0 * 12, 2.0 * 6
    np.testing.assert_allclose(cosine_features(field[None], 4).reshape(4, 4), expected, atol=1e-13)


@pytest.mark.parametrize("shape", [(30, 3, 4), (9, 5, 5), (7, 7)])
def test_principal_features_are_those_of_the_singular_values(shape):
    fields = 5.0 + np.random.default_rng(13).standard_normal(shape)
    x = fields.reshape(len(fields), -1)
    x = x - x.mean(axis=0)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    signs = np.sign(vt[np.arange(3), np.abs(vt[:3]).argmax(axis=1)])
    np.testing.assert_allclose(principal_features(fields, 3), signs * (u * s)[:, :3], atol=1e-12)
    every = principal_features(fields, min(x.shape))
    np.testing.assert_allclose(np.linalg.norm(every, axis=1), np.linalg.norm(x, axis=1))


# -- bad input ------------------------------------------------------------------------------------------------

X = np.arange(12.0).reshape(4, 3)
BAD = {
    "nan": (
        lambda: greedy(np.where(X == 7.0, np.nan, X)),
        "features: 1 numbers are NaN or infinite, the first in samp.* 2",
    ),
    "infinite": (lambda: hilbert(np.where(X > 3.0, np.inf, X)), "features: 8 numbers .* sample 1"),
    "row": (lambda: greedy(X[0]), r"features: expected shape \(n, p\).*got \(3,\)"),
    "fields": (lambda: greedy(X[None]), r"features: expected shape \(n, p\).*got \(1, 4, 3\)"),
    "none": (lambda: greedy(None), "features: expected an array of real numbers, got NoneType"),
    "ragged": (lambda: greedy([[1.0], [1.0, 2.0]]), "features: expected an array of real numbers, got list"),
    "complex": (lambda: hilbert(1j * X), "features: expected an array of real numbers"),
    "number": (lambda: principal_features(2.0, 1), "fields: expected at least one number"),
    "empty": (lambda: greedy(np.zeros((0, 3))), r"features: expected at least one number .* got \(0, 3\)"),
    "metric": (lambda: greedy(X, "manhattan"), "metric: 'manhattan' is unknown, expected one of euclidean, cityblock"),
    "metric of improve": (lambda: improve([0, 1, 2, 3], X, "l1"), "metric: 'l1'"),
    "repeated": (lambda: path_length(X, [0, 1, 1, 3]), "order: not a permutation of 0, ..., 3, 2 is missing"),
    "negative": (lambda: improve([0, 1, 2, -1], X), "order: not a permutation .* 3 is missing"),
    "short": (lambda: improve([0, 1, 2], X), r"order: expected 4 integers, got int64 of shape \(3,\)"),
    "real order": (lambda: path_length(X, [0.0, 1.0, 2.0, 3.0]), "order: expected 4 integers, got float64"),
    "coarse": (
        lambda: cosine_features(np.ones((2, 9, 5))),
        r"fields: expected .* s >= count = 8 >= 1, got \(2, 9, 5\)",
    ),
    "flat": (lambda: cosine_features(np.ones(4), 1), r"fields: expected shape \(n, s, ..., s\)"),
    "no cosines": (lambda: cosine_features(np.ones((2, 4)), 0), "count = 0"),
    "nan field": (lambda: cosine_features(np.full((2, 9), np.nan)), "fields: 18 numbers are NaN"),
    "too many": (lambda: principal_features(X, 4), "count: 4 principal directions of 4 rows of 3 numbers"),
}


@pytest.mark.parametrize("call", BAD)
def test_bad_input_is_named(call):
    function, message = BAD[call]
    with pytest.raises(DataError, match=message):
        function()


@each_metric
def test_one_sample(metric):
    x = np.ones((1, 3))
    assert greedy(x, metric).tolist() == improve([0], x, metric).tolist() == hilbert(x).tolist() == [0]
    assert path_length(x, [0], metric) == 0.0
