"""The families of equations: exact solutions, orders of convergence, their bounds, and what defies physics."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from published import PublishedDarcy, PublishedHelmholtz
from scipy.sparse.linalg import spsolve

from pdecontrol.errors import ProblemError
from pdecontrol.learn.catalogue import FAMILIES
from pdecontrol.learn.families import ConvectionDiffusion, Darcy, Helmholtz, Poisson, Thermal
from pdecontrol.learn.family import Family
from pdecontrol.learn.grid import diffusion, faces
from pdecontrol.learn.helmholtz import NeumannHelmholtz

CASES = [
    Darcy(12), Darcy(12, deviation=1.5), Darcy(12, field="threshold", alpha=2.0, tau=3.0), Darcy(6, 3), Poisson(12),
    Helmholtz(12, wavenumber=7.0), Helmholtz(6, 3), Thermal(12), Thermal(12, 3), ConvectionDiffusion(12),
    ConvectionDiffusion(12, diffusion=1e-3), PublishedDarcy(12), PublishedHelmholtz(12),
    NeumannHelmholtz(12, omega=120.0),
]  # fmt: skip


def drawn(family, seed=1):
    return family.draw(np.random.default_rng(seed))


def smooth(n):
    """A coefficient a, and f = -div(a grad u) for u = sin(pi x) sin(pi y), on the nodes of a grid."""
    x, y = np.meshgrid(*[np.linspace(0, 1, n + 2)] * 2, indexing="ij")
    a, ax, ay = np.exp(0.3 * np.sin(2 * x + y)), 0.6 * np.cos(2 * x + y), 0.3 * np.cos(2 * x + y)
    sx, sy, cx, cy = np.sin(np.pi * x), np.sin(np.pi * y), np.cos(np.pi * x), np.cos(np.pi * y)
    f = a * (2 * np.pi**2 * sx * sy - np.pi * ax * cx * sy - np.pi * ay * sx * cy)
    return a, f[1:-1, 1:-1].ravel(), (sx * sy)[1:-1, 1:-1].ravel()


def error(family, n):
    """Of the solution with a smooth coefficient, in the mean square."""
    a, f, u = smooth(n)
    matrix, _ = family(n).system({"coefficient": a})
    return np.sqrt(np.mean((spsolve(matrix.tocsc(), f / (n + 1) ** 2) - u) ** 2))


def physics(family):
    """What the matrices of -div(a grad u) must be, and whether those of a family are, by name."""
    found = {"symmetric": True, "positive definite": True, "solution positive": True}
    for seed in range(3):
        matrix, b = family(30).system(drawn(family(30), seed))
        dense = matrix.toarray()
        found["symmetric"] &= np.abs(dense - dense.T).max() <= 1e-14 * np.abs(dense).max()
        found["positive definite"] &= np.linalg.eigvals(dense).real.min() > 0
        found["solution positive"] &= np.linalg.solve(dense, b).min() > 0
    return found | {"second order": 3.6 <= error(family, 15) / error(family, 31) <= 4.4}


def test_the_cases_are_all_families():
    assert {type(case).name for case in CASES if "published" not in type(case).name} == {
        name for name, source in FAMILIES.items() if issubclass(source, Family)
    }
    assert len(CASES) == 14


@pytest.mark.slow
def test_darcy_is_darcy():
    assert all(physics(Darcy).values()), physics(Darcy)


@pytest.mark.slow
def test_the_published_operator_is_not():
    assert not any(physics(PublishedDarcy).values()), physics(PublishedDarcy)


def test_the_published_operator_by_its_definition():
    n = 7
    sample = drawn(PublishedDarcy(n))
    a = sample["coefficient"]
    expected = np.zeros((n * n, n * n))
    for p in range(n * n):
        i, j = p // n + 1, p % n + 1
        expected[p, p] = 4 * a[i, j]
        if j > 1:
            expected[p, p - 1] = -a[i, j - 1]
        if j < n:
            expected[p, p + 1] = -a[i, j + 1]
        if i < n:
            expected[p, p + n] = -a[i + 1, j]
        if i > 1:
            expected[p, p - n] = -a[i - 1, j - 2] if j > 2 else -a[i - 2, n - 2 + j]
    matrix, b = PublishedDarcy(n).system(sample)
    np.testing.assert_array_equal(matrix.toarray(), expected)
    np.testing.assert_allclose(b, (n - 1.0) ** -2)


def test_without_the_slip_the_published_operator_is_a_laplacian():
    n = 6
    sample = drawn(PublishedDarcy(n))
    matrix, _ = PublishedDarcy(n).system(sample)
    laplacian = diffusion(faces(np.ones((n + 2, n + 2)))) @ sp.diags(sample["coefficient"][1:-1, 1:-1].ravel())
    difference = (matrix - laplacian).tocoo()
    assert np.count_nonzero(difference.data) == n * (n - 1)
    assert set(difference.row - difference.col) == {n}


@pytest.mark.parametrize("family", CASES, ids=repr)
def test_samples_are_what_the_family_says(family):
    sample = drawn(family)
    matrix, b = family.system(sample)
    size = int(np.prod(family.grid))
    assert matrix.shape == (size, size) and b.shape == (size,)
    assert {name: value.shape for name, value in sample.items()} | {
        "solution": family.solution(sample, b).shape
    } == family.shapes
    again = drawn(family)
    assert all(np.array_equal(sample[name], again[name]) for name in sample)
    assert any(not np.array_equal(sample[name], drawn(family, 2)[name]) for name in sample)
    assert family.features([sample, drawn(family, 2)]).shape[0] == 2
    assert family.definition["family"] == type(family).name


@pytest.mark.parametrize("family", CASES, ids=repr)
def test_law_of_the_coercivity(family):
    L = family.reference().toarray()
    for seed in range(3):
        sample = drawn(family, seed)
        c = family.coercivity(sample)
        if c is None:
            assert family.name in ("helmholtz", "neumann-helmholtz", "published-darcy", "published-helmholtz")
            continue
        matrix = family.system(sample)[0].toarray()
        least = scipy.linalg.eigh((matrix + matrix.T) / 2, L, eigvals_only=True)[0]
        assert c <= least * (1 + 1e-12)
        assert least <= 3 * c or family.name == "convection-diffusion"  # upwind flows add to it


def test_darcy_in_three_dimensions_is_of_second_order():
    def wrong(n):
        x = np.meshgrid(*[np.linspace(0, 1, n + 2)] * 3, indexing="ij")
        u = np.prod(np.sin(np.pi * np.array(x)), axis=0)[1:-1, 1:-1, 1:-1].ravel()
        matrix, _ = Darcy(n, 3).system({"coefficient": np.ones((n + 2,) * 3)})
        return np.abs(spsolve(matrix.tocsc(), 3 * np.pi**2 * u / (n + 1) ** 2) - u).max()

    assert 3.6 <= wrong(5) / wrong(11) <= 4.4


def test_poisson_is_exact_for_cubics_in_x():
    family = Poisson(14)
    u = np.polynomial.Chebyshev([0.3, -0.2, 0.5, 0.7], domain=[0, 1])
    f = -u.deriv(2)
    series = np.zeros(6)
    series[:4] = u.coef
    source = np.zeros(6)
    source[: len(f.coef)] = f.coef
    sample = {"source": source, "bottom": series, "top": series, "sides": np.array([u(0.0), u(1.0)])}
    matrix, b = family.system(sample)
    found = family.solution(sample, spsolve(matrix.tocsc(), b))
    np.testing.assert_allclose(found, np.tile(u(np.linspace(0, 1, 16))[:, None], 16), atol=1e-12)


def test_poisson_right_hand_sides_have_rank_twenty():
    family = Poisson(20)
    columns = np.stack([family.system(drawn(family, seed))[1] for seed in range(30)], axis=1)
    assert np.linalg.matrix_rank(columns, tol=1e-10) == 20


def test_helmholtz_is_of_second_order():
    k, terms = 7.0, np.arange(1, 1000, 2)

    def wrong(n):
        """The largest difference to the Fourier series of the solution for constant k, in the middle."""
        family = Helmholtz(n, wavenumber=k, variation=0.0)
        sample = drawn(family)
        matrix, b = family.system(sample)
        u = family.solution(sample, spsolve(matrix.tocsc(), b))
        i, j = np.meshgrid(terms, terms, indexing="ij")
        signs = np.sin(i * np.pi / 2) * np.sin(j * np.pi / 2)
        exact = (16 / (np.pi**2 * i * j) * signs / (np.pi**2 * (i**2 + j**2) - k**2)).sum()
        return abs(u[(n + 1) // 2, (n + 1) // 2] - exact)

    assert 3.5 <= wrong(31) / wrong(63) <= 4.5


def test_thermal_is_exact_for_layers():
    family = Thermal(12, blocks=3, contrast=10.0)
    sample = drawn(family)
    k = np.array([0.5, 2.0, 4.0])
    sample["conductivity"] = np.tile(k[:, None], 3)
    matrix, b = family.system(sample)
    u = family.solution(sample, spsolve(matrix.tocsc(), b))
    x = np.linspace(0, 1, 13)
    drop = np.interp(x, [0, 1 / 3, 2 / 3, 1], np.cumsum([0, *(1 / (3 * k))]))
    exact = sample["temperature"] + sample["flux"] * drop
    np.testing.assert_allclose(u, np.tile(exact[:, None], 13), atol=1e-12)


def test_thermal_matrices_are_affine_in_the_conductivities():
    family = Thermal(12, blocks=2)
    matrices = [family.system(drawn(family, seed))[0].data for seed in range(8)]
    assert np.linalg.matrix_rank(np.stack(matrices, axis=1), tol=1e-12) == 4


def test_flows_have_no_divergence_and_the_matrix_is_monotone():
    family = ConvectionDiffusion(14, diffusion=1e-3)
    matrix, _ = family.system(drawn(family))
    dense = matrix.toarray()
    off = dense - np.diag(np.diag(dense))
    assert off.max() <= 0 < np.diag(dense).min()
    inner = dense.reshape(14, 14, -1)[1:-1, 1:-1].sum(axis=-1)
    np.testing.assert_allclose(inner, 0, atol=1e-15)  # constants are in the kernel: div w = 0
    assert np.linalg.inv(dense).min() >= -1e-12


def test_convection_is_of_first_order():
    """-0.2 Laplace u + u_x = 1 with constant flow, against the same on a much finer grid."""

    def middle(n):
        family = ConvectionDiffusion(n, diffusion=0.2)
        edges = (np.arange(n + 1) + 0.5) / (n + 1)
        stream = np.tile(edges, (n + 1, 1))
        matrix, b = family.system({"stream": stream})
        return spsolve(matrix.tocsc(), b).reshape(n, n)[(n + 1) // 2 - 1, (n + 1) // 2 - 1]

    finest = middle(255)
    assert 0.2 < finest < 0.35  # u = x less the layers
    assert 1.8 <= (middle(15) - finest) / (middle(31) - finest) <= 2.6


@pytest.mark.parametrize(
    ("make", "culprit"),
    [
        (lambda: Darcy(0), "n must be"),
        (lambda: Darcy(2.5), "n must be"),
        (lambda: Darcy(8, 4), "dimension must be 2 or 3"),
        (lambda: Darcy(8, field="rough"), "field must be 'lognormal' or 'threshold'"),
        (lambda: Darcy(8, low=-1.0), "low must be positive"),
        (lambda: Darcy(8, deviation=float("nan")), "deviation must be a finite number"),
        (lambda: Darcy(8, tau=-7.0), "tau must be positive"),
        (lambda: Poisson(8, degree=0), "degree must be"),
        (lambda: Helmholtz(8, wavenumber=-1.0), "wavenumber must be"),
        (lambda: Thermal(8, 3), "n must be a multiple of blocks"),
        (lambda: Thermal(8, 2, contrast=0.5), "contrast must be 1 or more"),
        (lambda: ConvectionDiffusion(8, diffusion=0.0), "diffusion must be positive"),
    ],
)
def test_bad_parameters_are_named(make, culprit):
    with pytest.raises(ProblemError, match=culprit):
        make()
