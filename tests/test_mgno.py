"""V-cycles: published sizes, multigrid theory without training, linearity, transposes, boundary conditions."""

import numpy as np
import pytest
from marks import needs_torch

from pdecontrol.errors import DataError

pytestmark = needs_torch

CYCLES = {
    "even": {}, "uneven": {"grid": [13, 10]}, "line": {"grid": [12]}, "both sides": {"post": [2, 1]},
    "nested": {"grid": [15, 15], "transfer": "nested", "restriction": "residual"},
    "periodic": {"padding": "circular", "restriction": "residual", "post": [1, 1]},
    "Neumann": {"grid": [15, 15], "transfer": "nested", "padding": "reflect"}, "cells": {"padding": "replicate"},
}  # fmt: skip
GATED = {"grid": [7, 7], "channels": 3, "features": 4, "cycles": 2, "smoothing": [1, 2], "post": [1]}


def cycle(grid=(12, 12), data=2, unknowns=3, smoothing=(1, 1, 2), **options):
    import torch

    from pdecontrol.learn.operators.multigrid import VCycle

    torch.manual_seed(1)
    levels = len(smoothing)
    return VCycle(grid, [data] * levels, [unknowns] * levels, smoothing, **options).double()


def built(name, kind="control", **options):
    import torch

    from pdecontrol.learn.operators.registry import build

    torch.manual_seed(1)
    return build(kind, name, options).double()


def normal(*shape, seed=0):
    import torch

    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape))


def assert_linear(apply, shape):
    """W(2a - 3b) = 2Wa - 3Wb, and the derivative's transpose is that of W."""
    import torch

    a, b = normal(2, *shape, seed=1), normal(2, *shape, seed=2)
    assert torch.allclose(apply(2 * a - 3 * b), 2 * apply(a) - 3 * apply(b), atol=1e-12)
    y = normal(*apply(a).shape, seed=3)
    _, transposed = torch.autograd.functional.vjp(apply, b, y)
    assert (apply(a) * y).sum().item() == pytest.approx((a * transposed).sum().item(), rel=1e-10)
    assert apply(a).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("name", "count"), [("darcy-rough", 572661), ("darcy-smooth", 678093), ("navier-stokes", 2885194)]
)
def test_published_networks_have_their_numbers_of_parameters(name, count):
    from pdecontrol.learn.operators.mgno import PUBLISHED, MgNO

    assert sum(weight.numel() for weight in MgNO([[1]], **PUBLISHED[name]).parameters()) == count


def test_small_networks_have_their_number_of_parameters():
    network = built("mgno", "prediction", inputs=[[1]], grid=[32, 32])
    assert sum(weight.numel() for weight in network.parameters()) == 114811


def test_other_published_networks_follow_the_same_rules():
    from pdecontrol.learn.operators.mgno import PUBLISHED, MgNO

    def pipe(f, n=24):
        return 9 * f * n * (8 + 7) + 5 * (9 * f * f + 9 * n * n + 16 * n * n) + f * n + n

    def helmholtz(f, n):
        smoothing, deconvolution = (1, 1, 1, 1, 2), (9, 16, 16, 9)
        total = 0
        for i, steps in enumerate(smoothing):
            data, unknowns = f * (i + 1), n * (i + 1)
            total += steps * (9 * data * unknowns + unknowns)
            total += (steps if i else 0) * (9 * data * unknowns + data)
            if i < 4:
                total += (9 * (f * f + n * n) + deconvolution[i] * n * n) * (i + 1) * (i + 2)
        return total

    expected = {
        "pipe": pipe(2) + 4 * pipe(24) + 24,
        "helmholtz": helmholtz(1, 20) + 3 * helmholtz(20, 20) + helmholtz(20, 1) + 4 * 2 * 20 * 101**2,
    }
    for name, inputs in (("pipe", 2), ("helmholtz", 1)):
        network = MgNO([[1]] * inputs, **PUBLISHED[name])
        assert sum(weight.numel() for weight in network.parameters()) == expected[name]


@pytest.mark.parametrize("name", CYCLES)
def test_cycles_are_linear_with_the_transpose_of_their_derivative(name):
    w = cycle(**CYCLES[name])
    assert w(normal(2, 2, *w.grid)).shape == (2, 3, *w.grid)
    assert_linear(w, (2, *w.grid))


def textbook(sides, pre, post, coarse):
    """The V-cycle of the 5-point Laplacian with damped Jacobi, full weighting and bilinear interpolation."""
    import torch

    levels = int(np.log2(sides + 1)) - 1
    w = cycle(
        (sides, sides), 1, 1, [*([pre] * (levels - 1)), coarse], post=[post] * (levels - 1), transfer="nested",
        restriction="residual", fixed=True,
    )  # fmt: skip
    stencil = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    with torch.no_grad():
        for level in range(levels):
            h = 2**level / (sides + 1)
            for operator in w.operators[level]:
                operator.weight.copy_(stencil / h**2)
            for smoother in w.smoothers[level]:
                smoother.weight.zero_()
                smoother.weight[0, 0, 1, 1] = 0.2 * h**2
    return w


@pytest.mark.parametrize(("pre", "post", "coarse", "rate"), [(1, 0, 2, 0.587), (1, 1, 20, 0.36)])
@pytest.mark.parametrize("sides", [31, 63, 127])
def test_weights_of_multigrid_contract_alike_on_all_grids(pre, post, coarse, rate, sides):
    import torch

    w, e = textbook(sides, pre, post, coarse), normal(1, 1, sides, sides)
    with torch.no_grad():
        for _ in range(25):
            before, e = e.norm(), e - w(w.operators[0][0](e))
            ratio, e = float(e.norm() / before), e / e.norm()
    assert ratio == pytest.approx(rate, abs=0.01)


def test_zeros_are_dirichlet_conditions_of_the_nodes_inside():
    n = 7
    line = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    matrix, u = np.kron(line, np.eye(n)) + np.kron(np.eye(n), line), normal(1, 1, n, n)
    found = textbook(n, 1, 1, 2).operators[0][0](u).detach().numpy().ravel() / (n + 1) ** 2
    assert np.allclose(found, matrix @ u.numpy().ravel(), atol=1e-12)


@pytest.mark.parametrize("padding", ["reflect", "replicate", "circular"])
def test_constants_are_in_the_kernel_of_other_conditions(padding):
    import torch

    operator = cycle((8, 8), 1, 1, padding=padding, restriction="residual").operators[0][0]
    with torch.no_grad():
        operator.weight.copy_(torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]))
    assert not operator(torch.ones(1, 1, 8, 8, dtype=torch.float64)).any()


def test_periodic_cycles_commute_with_shifts_by_cells_of_the_last_level():
    import torch

    w, f = cycle((16, 16), padding="circular", post=[1, 1]), normal(1, 2, 16, 16)
    assert torch.allclose(w(f.roll((4, 8), (2, 3))), w(f).roll((4, 8), (2, 3)), atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": [3, 3]}, "too small for 4 levels; sides of 8"),
        ({"grid": [12, 12], "padding": "circular"}, r"as \[16, 16\]"),
        ({"grid": [16, 16], "transfer": "odd"}, "even, nested"),
        ({"grid": [16, 16], "post": [0, 0, 0, 1]}, "smooths once or more"),
        ({"grid": [4, 4, 4]}, "one or two dimensions"),
    ],
)
def test_what_makes_no_cycle_is_refused(options, message):
    with pytest.raises(DataError, match=message):
        built("mgno", "prediction", inputs=[[1]], **options)


def test_other_grids_are_refused():
    with pytest.raises(DataError, match=r"grid \[16, 16\] got functions on \[8, 16\]"):
        built("mgno", grid=[16, 16])(normal(1, 1, 8, 16))


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("coefficient", [None, [7, 7], [8, 8]])
def test_gated_cycles_are_linear_in_the_control(coefficient, padding):
    network = built("gated-multigrid", coefficient=coefficient, padding=padding, **GATED)
    encoded = network.encode(None if coefficient is None else normal(2, *coefficient))
    assert_linear(lambda u: network.apply_to(encoded, u), (1, 7, 7))


def test_one_coefficient_serves_many_controls_and_acts():
    import torch

    network = built("gated-multigrid", coefficient=[8, 8], constant=True, **GATED)
    a, u, v = normal(1, 8, 8), normal(3, 1, 7, 7), normal(3, 1, 7, 7, seed=1)
    once = network.encode(a)
    assert torch.allclose(network.apply_to(once, u), network(u, a.expand(3, -1, -1)), atol=1e-14)
    assert (network(u, a) - network(u, -a)).abs().max() > 1e-6

    def y(z):
        return network.apply_to(once, z)

    assert y(0 * u).abs().max() > 1e-6
    assert torch.allclose(y(u + v) - y(u), y(v) - y(0 * u), atol=1e-14)


def test_coefficients_elsewhere_are_refused():
    with pytest.raises(DataError, match="neither on the nodes"):
        built("gated-multigrid", coefficient=[9, 9], **GATED)


def test_linear_functions_are_resampled_exactly():
    import torch

    from pdecontrol.learn.operators.resampling import resample

    def slopes(n, ring):
        x = torch.linspace(0, 1, n + 2 if ring else n, dtype=torch.float64)
        x = x[1:-1] if ring else x
        return (3 * x[:, None] - x[None, :])[None, None]

    assert torch.allclose(resample(slopes(9, False), [15, 17], None)[0, 0, :, 0], slopes(15, False)[0, 0, :, 0])
    y = resample(slopes(9, True), [19, 19], "constant")  # h = 1/10 and 1/20: every other node is one of the first grid
    assert torch.allclose(y[..., 1::2, 1::2], slopes(9, True), atol=1e-14)
    assert torch.allclose(y[..., 2:-2, 2:-2], slopes(19, True)[..., 2:-2, 2:-2], atol=1e-14)


def test_networks_work_on_another_grid_where_they_say_so():
    small = {"layers": 1, "channels": 2, "transfer": "nested", "smoothing": [1, 1]}
    network = built("mgno", "prediction", inputs=[[10, 10]], grid=[10, 10], working=[7, 7], **small)
    assert network(normal(2, 1, 10, 10)).shape == (2, 1, 10, 10)
    with pytest.raises(DataError, match=r"grid \[10, 10\] got functions on \[7, 7\]"):
        network(normal(2, 1, 7, 7))
    assert built("mgno", grid=[10, 10], working=[7, 7], **small)(normal(2, 1, 10, 10)).shape == (2, 1, 10, 10)
    options = GATED | {"grid": [10, 10]}
    gated = built("gated-multigrid", coefficient=[11, 11], working=[7, 7], **options)
    encoded = gated.encode(normal(2, 11, 11))
    assert_linear(lambda u: gated.apply_to(encoded, u), (1, 10, 10))


def test_a_margin_shows_each_point_its_neighbours_and_the_boundary():
    import torch

    small = {"layers": 1, "channels": 2, "transfer": "nested", "smoothing": [1], "margin": 1}
    network = built("mgno", "prediction", inputs=[[6, 9]], grid=[4, 7], **small)
    x = normal(1, 1, 6, 9)
    seen = network._neighbours(x)
    assert seen.shape == (1, 5, 4, 7)
    shifts = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    for channel, (i, j) in enumerate(shifts):
        assert torch.equal(seen[0, channel, 2, 3], x[0, 0, 3 + i, 4 + j])
    other = x.clone()
    other[..., 0, 4] += 1
    changed = (network(other) != network(x))[0, 0]
    assert changed[:, 2:5].any() and not changed[2:].any() and not changed[:, :1].any()
    with pytest.raises(DataError, match=r"grid \[6, 9\] got functions on \[4, 7\]"):
        network(normal(1, 1, 4, 7))
    with pytest.raises(DataError, match="0 or 1 points wide"):
        built("mgno", "prediction", inputs=[[8, 11]], grid=[4, 7], **small | {"margin": 2})
