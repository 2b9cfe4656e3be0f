"""DeepONets and low-rank maps: sizes, linearity, transposes, principal modes, boundary values, and what is refused."""

import numpy as np
import pytest
from marks import needs_torch

from pdecontrol.errors import DataError

pytestmark = needs_torch

GRID = [5, 6]
LOW_RANK = {"controls": 12, "states": 10, "rank": 4, "widths": [8], "channels": [3]}


def made(kind, name, seed=1, double=True, **options):
    """A network with its points, and random numbers for all weights: some begin as 0."""
    import torch

    from pdecontrol.learn.operators.registry import build

    generator = torch.Generator().manual_seed(seed)
    network = build(kind, name, options)
    network = network.double() if double else network
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    dimension = options.get("dimension", 2)
    if kind == "prediction":
        network.place(torch.rand(options["points"], dimension, generator=generator))
    else:
        places = torch.rand(options.get("points", 12), dimension, generator=generator)
        network.place(places, places[: options.get("states")])
    return network


def numbers(*shape, seed=3):
    import torch

    return torch.as_tensor(np.random.default_rng(seed).standard_normal(shape))


def largest(x):
    return x.abs().max().item()


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"basis": 40, "widths": [40], "trunk": [40]}, 7_401),
        ({"basis": 20, "widths": [20], "trunk": [40], "branch": "stacked"}, 41_701),
    ],
)
def test_networks_have_as_many_parameters_as_those_of_the_antiderivative(options, count):
    network = made("prediction", "deeponet", inputs=[[100]], points=101, dimension=1, **options)
    assert sum(weight.numel() for weight in network.parameters()) == count


def test_the_numbers_of_a_stacked_branch_share_no_weights():
    import torch

    network = made("prediction", "deeponet", inputs=[[7]], points=4, basis=5, branch="stacked", widths=[3, 3])
    b = network.branches(numbers(2, 7))
    gradients = torch.autograd.grad(b[:, 2].sum(), list(network.branches.parameters()))
    for gradient in gradients:
        assert (gradient[2] != 0).any() and not gradient[[0, 1, 3, 4]].any()


@pytest.mark.parametrize("branch", ["dense", "stacked", "convolutional"])
def test_all_samples_at_the_same_points_are_the_aligned_form(branch):
    network = made("prediction", "deeponet", inputs=[GRID], points=9, basis=5, branch=branch, widths=[4], channels=[3])
    u, points = numbers(3, 30), network.trunk.points
    assert largest(network.aligned(points.expand(3, -1, -1), u) - network(u)) < 1e-14
    other = numbers(3, 9, 2)
    expected = network.branches(u[1:2]) @ network.trunk(other[1]).T + network.constant
    assert largest(network.aligned(other, u)[1] - expected) < 1e-13


@pytest.mark.parametrize("branch", ["dense", "stacked", "convolutional"])
def test_the_last_layer_of_the_trunk_alone_is_activated(branch):
    import torch

    network = made("prediction", "deeponet", inputs=[GRID], points=9, basis=8, branch=branch, widths=[4], channels=[3])
    t, b = network.trunk(), network.branches(numbers(20, 30))
    assert (t >= 0).all() and (t > 0).any() and (b < 0).any() and (b > 0).any()
    corners = torch.tensor([[5.0, -2.0], [7.0, 0.0], [6.0, -2.0], *[[6.0, -1.0]] * 6]).double()
    network.place(corners)
    unit = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, -1.0], *[[0.0, 0.0]] * 6]).double()
    assert largest(network.trunk() - network.trunk.layers(unit)) < 1e-14


def test_several_inputs_multiply_the_numbers_of_their_branches():
    one = made("prediction", "mionet", inputs=[[7]], points=9, basis=5)
    assert (
        largest(one(numbers(3, 7)) - made("prediction", "deeponet", inputs=[[7]], points=9, basis=5)(numbers(3, 7)))
        == 0
    )
    two = made("prediction", "mionet", inputs=[[7], GRID], points=9, basis=5)
    u, a = numbers(3, 7), numbers(3, 30)
    first, second = two.branches.branches
    expected = sum((first(u) * second(a))[:, [k]] * two.trunk()[:, k] for k in range(5)) + two.constant
    assert largest(two(u, a) - expected) < 1e-12


def test_all_modes_give_back_the_training_outputs_and_none_their_mean():
    import torch

    outputs = numbers(20, 6) @ numbers(6, 6, seed=4) + 3.0
    network = made("prediction", "pod-deeponet", inputs=[[7]], points=6, basis=6)
    network.prepare(outputs)
    coefficients = (outputs - network.mean) @ torch.linalg.inv(network.modes)
    assert largest(coefficients.mean(dim=0)) < 1e-13 and largest(coefficients.std(dim=0, correction=0) - 1) < 1e-12
    assert largest(network.mean + coefficients @ network.modes - outputs) < 1e-12
    few = made("prediction", "pod-deeponet", inputs=[[7]], points=6, basis=2)
    few.prepare(outputs)
    assert largest(few.modes - network.modes[:2]) < 1e-13
    few.branches.branches[0].layers = torch.nn.Linear(7, 2, bias=False).double()
    assert largest(few(torch.zeros(1, 7, dtype=torch.float64)) - outputs.mean(dim=0)) < 1e-14


@pytest.mark.parametrize("name", ["deeponet", "pod-deeponet"])
def test_boundary_values_hold_exactly_whatever_the_weights_are(name):
    from pdecontrol.learn.operators.model import PredictionModel

    outputs = numbers(30, 7, 7)
    outputs[:, [0, -1], :] = outputs[:, :, [0, -1]] = 0.0
    network = made("prediction", name, inputs=[[7, 7]], points=25, basis=5, branch="convolutional", channels=[3])
    model = PredictionModel(network, [(7, 7)], (7, 7), pointwise=True, margin=1).double()
    model.fit([outputs], outputs)
    network.prepare(model.output_normaliser(outputs[:, 1:-1, 1:-1]).flatten(1))
    y = model(numbers(4, 7, 7, seed=5))
    assert (y[:, [0, -1]] == 0.0).all() and (y[:, :, [0, -1]] == 0.0).all() and (y[:, 1:-1, 1:-1] != 0.0).all()


AFFINE = {
    "diagonal": ("low-rank", LOW_RANK | {"core": "diagonal"}),
    "full": ("low-rank", LOW_RANK),
    "trunk": ("low-rank", LOW_RANK | {"trunk": [6]}),
    "self-adjoint": ("self-adjoint", {"points": 12, "rank": 4, "widths": [8], "channels": [3]}),
    "self-adjoint diagonal": ("self-adjoint", {"points": 12, "rank": 4, "core": "diagonal", "trunk": [6]}),
}
COEFFICIENTS = [None, ("dense", [2, 3]), ("convolutional", GRID)]


def control(name, coefficient, **more):
    """A control network, a coefficient that it encodes, and what it makes of it."""
    kind, options = AFFINE[name]
    given = {} if coefficient is None else {"branch": coefficient[0], "coefficient": coefficient[1]}
    network = made("control", kind, **options, **given, **more)
    a = None if coefficient is None else numbers(1, *coefficient[1])
    return network, a, network.encode(a)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
@pytest.mark.parametrize("name", AFFINE)
def test_networks_are_linear_in_the_control_for_all_weights(name, coefficient):
    network, a, encoded = control(name, coefficient)
    u, v = numbers(2, 5, 12)
    combined = 2 * network.apply_to(encoded, u) - 3 * network.apply_to(encoded, v)
    together = network(2 * u - 3 * v, None if a is None else a.expand(5, *a.shape[1:]))
    assert largest(combined) > 1e-3 and largest(together - combined) < 1e-13 * largest(combined)


@pytest.mark.parametrize("coefficient", COEFFICIENTS[1:])
@pytest.mark.parametrize("name", AFFINE)
def test_each_coefficient_has_its_own_controls_or_one_has_all(name, coefficient):
    network, _, _ = control(name, coefficient)
    a, u = numbers(3, *coefficient[1], seed=8), numbers(3, 12)
    together = network(u, a)
    for i in range(3):
        alone = network.apply_to(network.encode(a[i : i + 1]), u)[i]
        assert largest(together[i] - alone) < 1e-12 * largest(alone)


@pytest.mark.parametrize("core", ["diagonal", "full"])
def test_networks_begin_without_the_coefficient(core):
    from pdecontrol.learn.operators.registry import build

    network = build("control", "low-rank", LOW_RANK | {"core": core, "coefficient": GRID, "constant": True}).double()
    u = numbers(2, 12)
    assert largest(network(u, numbers(2, *GRID)) - network.control(u) @ network.functions().T) < 1e-14


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_a_constant_makes_affine_networks(coefficient):
    network, _, encoded = control("full", coefficient, constant=True)
    u, h = numbers(2, 5, 12)
    change = network.apply_to(encoded, u + h) - network.apply_to(encoded, u)
    linear, constant = network.apply_to(encoded, h), network.apply_to(encoded, 0 * h)
    assert largest(change - (linear - constant)) < 1e-13 * largest(linear)
    assert largest(constant) > 1e-3


@pytest.mark.parametrize("name", ["diagonal", "full"])
def test_the_transpose_is_that_of_the_factors(name):
    import torch

    network, _, encoded = control(name, COEFFICIENTS[1])
    functions, core, _ = encoded
    core = torch.diag(core[0]) if name == "diagonal" else core[0]
    w = numbers(10)
    found = torch.autograd.functional.vjp(lambda u: network.apply_to(encoded, u)[0], numbers(1, 12), w)[1][0]
    assert largest(found - network.control.weight.T @ (core.T @ (functions.T @ w))) < 1e-13


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
@pytest.mark.parametrize("name", ["self-adjoint", "self-adjoint diagonal"])
def test_the_self_adjoint_form_is_symmetric_and_positive_semidefinite_with_its_masses(name, coefficient):
    import torch

    network, _, encoded = control(name, coefficient)
    mass = 0.01 * (0.5 + torch.rand(12, generator=torch.Generator().manual_seed(2)).double())
    places = numbers(12, 2)
    network.place(places, places, mass)
    encoded = network.encode(None if coefficient is None else numbers(1, *coefficient[1]))
    S = network.apply_to(encoded, torch.eye(12, dtype=torch.float64)).T
    form = mass[:, None] * S
    assert largest(form - form.T) < 1e-13 * largest(form)
    assert torch.linalg.eigvalsh(form)[0] > -1e-13 * largest(form)
    assert largest(S - S.T) > 1e-3 * largest(S)


def test_the_adjoint_of_the_self_adjoint_form_in_the_spaces_of_a_problem_is_itself():
    import torch

    import pdecontrol as pc
    from pdecontrol.learn.learned import LearnedMap
    from pdecontrol.learn.operators.model import ControlModel

    problem = pc.ControlProblem(
        equation=pc.Elliptic(),
        control=pc.Distributed(),
        tracking=pc.Tracking(0.0),
        terms=[pc.Tikhonov(1e-3)],
        boundary={"boundary": pc.Dirichlet()},
    )
    mesh = pc.unit_square(8)
    exact = pc.discretise(problem, pc.Mesh(mesh.points**1.5, mesh.cells))  # its masses differ from point to point
    points = torch.as_tensor(exact.control.points)
    inner = torch.as_tensor(np.flatnonzero((np.abs(exact.control.points - 0.5) < 0.49).all(axis=0)))
    network = made("control", "self-adjoint", seed=2, points=49, rank=5)
    masses = torch.as_tensor(exact.control.dual(np.ones(81)))[inner]
    network.place(points[:, inner].T, points[:, inner].T, masses)
    assert abs(network.mass.mean().item() - 1) < 1e-14
    map = LearnedMap(ControlModel(network, (points, points), (inner, inner)), exact)
    u, w = np.random.default_rng(1).standard_normal((2, 81))
    assert abs(map.control.inner(map.solve(u), w) / map.control.inner(u, map.solve(w)) - 1) < 1e-12
    same = map.solve(map.control.riesz(map.observation.dual(w)))
    adjoint = map.at(u).adjoint(w)
    assert np.abs(adjoint - same).max() < 1e-12 * np.abs(same).max()


def pairs(map, count=40):
    """Pairs y = S u and q = S^T w."""
    u, w = numbers(count, map.shape[1]), numbers(count, map.shape[0], seed=6)
    return u, u @ map.T, w, w @ map


@pytest.mark.parametrize("core", ["diagonal", "full"])
def test_a_map_of_this_rank_is_found_by_the_first_factors_alone(core):
    map = numbers(10, 4) @ numbers(4, 12, seed=4)
    network = made("control", "low-rank", **LOW_RANK | {"core": core})
    network.core.values.data.zero_()
    u, y, w, q = pairs(map)
    network.prepare(u, y, w, q)
    assert largest(network(u) - y) < 1e-10 * largest(y)
    shifted = made("control", "low-rank", **LOW_RANK | {"core": core, "constant": True})
    shifted.core.values.data.zero_()
    shifted.prepare(u, y + 5.0, w, q)
    assert largest(shifted(u) - y) < 1e-10 * largest(y)


@pytest.mark.parametrize("both", [True, False])
def test_a_self_adjoint_map_of_this_rank_is_found_by_the_first_factors_alone(both):
    import torch

    mass = 0.5 + torch.rand(12, generator=torch.Generator().manual_seed(2)).double()
    mass /= mass.mean()
    v = numbers(12, 4)
    u, y, w, q = pairs(v @ v.T * mass)
    network = made("control", "self-adjoint", points=12, rank=4)
    network.place(numbers(12, 2), numbers(12, 2), mass)
    network.core.values.data.zero_()
    network.prepare(u, y, *((w, q) if both else ()))
    assert largest(network(u) - y) < 1e-10 * largest(y)


def test_the_first_factors_are_the_best_ones_for_two_kinds_of_pairs():
    import torch

    from pdecontrol.learn.operators.core import fitted

    u, y, w, q = (numbers(20, 3, seed=seed) for seed in range(4))
    found = fitted(u, y, w, q).requires_grad_()
    loss = (u @ found.T - y).square().sum() + (w @ found - q).square().sum()
    assert largest(torch.autograd.grad(loss, found)[0]) < 1e-12


def test_a_nonlinear_network_multiplies_the_numbers_of_control_and_coefficient():
    options = {"controls": 12, "states": 10, "basis": 4}
    plain = made("control", "deeponet", **options)
    u, h, a = numbers(5, 12), numbers(5, 12, seed=5), numbers(5, 2, 3)
    assert not plain.affine
    assert largest(plain(u + h) - plain(u) - plain(h) + plain(0 * u)) > 1e-3
    assert largest(plain(u) - plain.branch(u) @ plain.trunk().T - plain.constant) < 1e-13
    family = made("control", "deeponet", coefficient=[2, 3], **options)
    products = family.branch(u) * family.coefficient(a)
    assert largest(family(u, a) - products @ family.trunk().T - family.constant) < 1e-12
    assert largest(family.apply_to(family.encode(a[:1]), u)[0] - family(u, a)[0]) < 1e-12


@pytest.mark.parametrize("double", [True, False])
def test_networks_compute_in_the_precision_of_their_weights(double):
    import torch

    expected = torch.float64 if double else torch.float32
    u, a = numbers(2, 12).to(expected), numbers(2, *GRID).to(expected)
    more = {"branch": "convolutional", "coefficient": GRID, "double": double}
    for kind, options in AFFINE.values():
        assert made("control", kind, **options, **more)(u, a).dtype == expected
    assert made("control", "deeponet", controls=12, states=10, **more)(u, a).dtype == expected


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("prediction", "deeponet", {"inputs": [[7]], "points": 12, "basis": 3}),
        ("prediction", "pod-deeponet", {"inputs": [[7]], "points": 12, "basis": 3}),
        ("control", "deeponet", {"controls": 12, "states": 12, "basis": 3}),
        ("control", "low-rank", {"controls": 12, "states": 12, "rank": 3, "trunk": [4], "constant": True}),
        ("control", "self-adjoint", {"points": 12, "rank": 3}),
    ],
)
def test_points_modes_and_masses_are_saved_with_the_weights(tmp_path, kind, name, options):
    import torch

    from pdecontrol.learn.operators.model import ControlModel, PredictionModel, described
    from pdecontrol.learn.trained import Trained

    network = made(kind, name, double=False, **options)
    if kind == "prediction":
        network.prepare(numbers(20, 12).float())
        model = PredictionModel(network, [(7,)], (12,))
    else:
        points, entries = numbers(2, 12).float(), torch.arange(12)
        network.place(points.T, points.T, numbers(12).float().abs())
        model = ControlModel(network, (points, points), (entries, entries))
    header = {"task": kind, "network": name, "options": options, "model": described(model)}
    one = Trained(model, header)
    other = Trained.load(one.save(tmp_path / "network"))
    x = np.random.default_rng(2).standard_normal((3, 7 if kind == "prediction" else 12))
    assert (one.predict(x) == other.predict(x)).all() and np.isfinite(one.predict(x)).all()


PLANTED = {
    "an activation": ("prediction", "deeponet", {"inputs": [[7]], "points": 9, "activation": "exec"}, "activation"),
    "a branch": ("prediction", "mionet", {"inputs": [[7]], "points": 9, "branch": "wide"}, "no branch 'wide'"),
    "a width": ("prediction", "deeponet", {"inputs": [[7]], "points": 9, "widths": [-3]}, "negative"),
    "a huge size": ("control", "low-rank", dict.fromkeys(["controls", "states", "rank"], 10**12), "low-rank: "),
    "no grid": ("prediction", "deeponet", {"inputs": [[7]], "points": 9, "branch": "convolutional"}, "of the plane"),
    "no input": ("prediction", "deeponet", {"inputs": [], "points": 9}, "one or more"),
    "no coordinates": ("prediction", "deeponet", {"inputs": [[7]], "points": 9, "dimension": 0}, "one coordinate"),
    "modes": ("prediction", "pod-deeponet", {"inputs": [[7]], "points": 9, "basis": 10}, "not 10"),
    "a core": ("control", "low-rank", LOW_RANK | {"core": "half"}, "no core 'half'"),
    "a rank": ("control", "low-rank", LOW_RANK | {"rank": 11}, "not 11"),
    "a large rank": ("control", "self-adjoint", {"points": 9, "rank": 11}, "not 11"),
    "a branch of a core": ("control", "low-rank", LOW_RANK | {"branch": "stacked"}, "'dense' or"),
}  # fmt: skip


@pytest.mark.parametrize("error", PLANTED)
def test_options_that_do_not_fit_are_refused(error):
    kind, name, options, message = PLANTED[error]
    with pytest.raises(DataError, match=message):
        made(kind, name, **options)


def test_arrays_that_do_not_fit_are_refused():
    network = made("prediction", "deeponet", inputs=[[7]], points=9)
    with pytest.raises(DataError, match="on 7 points got one on 8"):
        network(numbers(2, 8))
    with pytest.raises(DataError, match="of 1 input functions got 2"):
        network(numbers(2, 7), numbers(2, 7))
    with pytest.raises(DataError, match=r"9 points of 2 coordinates got an array of shape \(9, 3\)"):
        network.place(numbers(9, 3))
    with pytest.raises(DataError, match="as many training outputs or more"):
        made("prediction", "pod-deeponet", inputs=[[7]], points=9, basis=5).prepare(numbers(4, 9))
    symmetric = made("control", "self-adjoint", points=12, rank=4)
    with pytest.raises(DataError, match="at the same points"):
        symmetric.place(numbers(12, 2), numbers(12, 2, seed=4))
    with pytest.raises(DataError, match="12 positive masses"):
        symmetric.place(numbers(12, 2), numbers(12, 2), numbers(12))
    with pytest.raises(DataError, match="rank 4 begins with"):
        made("control", "low-rank", **LOW_RANK).prepare(*pairs(numbers(10, 12), count=3))


def test_points_that_nobody_gave_are_seen():
    from pdecontrol.learn.operators.registry import build

    network = build("prediction", "deeponet", {"inputs": [[7]], "points": 9}).double()
    assert network(numbers(2, 7)).isnan().all()
