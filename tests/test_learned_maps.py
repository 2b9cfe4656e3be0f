"""Networks in the place of exact maps: the law of adjoints, derivatives, files, and what is refused."""

import json

import numpy as np
import pytest
from marks import needs_torch

import pdecontrol as pc
from pdecontrol import verify
from pdecontrol.errors import DataError, ResultFileError
from pdecontrol.files import read_arrays, write_arrays
from pdecontrol.learn.places import order, places
from pdecontrol.learn.trained import KIND, Trained

pytestmark = needs_torch
PROBLEM = pc.ControlProblem(
    equation=pc.Elliptic(),
    boundary={"boundary": pc.Dirichlet(0.5)},
    control=pc.Distributed(),
    tracking=pc.Tracking(lambda x: np.sin(3 * x[0])),
    terms=[pc.Tikhonov(1e-3), pc.Box(-3, 3)],
)
OPTIONS = {"controls": 49, "states": 49, "hidden": 5, "coefficients": 4}


@pytest.fixture(scope="module", autouse=True)
def registered():
    """Two networks of our own on the closed list, while these tests run."""
    import torch
    from torch import nn

    from pdecontrol.learn.operators import registry
    from pdecontrol.learn.operators.network import ControlNetwork

    class Bilinear(ControlNetwork):
        """y = T diag(C a + 1) B u + b."""

        on_grid, affine = False, True

        def __init__(self, controls=49, states=49, hidden=5, coefficients=4):
            super().__init__()
            self.branch, self.trunk = nn.Linear(controls, hidden, bias=False), nn.Linear(hidden, states)
            self.coefficient = nn.Linear(coefficients, hidden)

        def encode(self, a):
            return 1.0 if a is None else 1.0 + self.coefficient(a.flatten(1))

        def bend(self, z):
            return z

        def apply_to(self, encoded, u):
            return self.trunk(self.bend(encoded * self.branch(u)))

    class Curved(Bilinear):
        """The same with tanh in between, nonlinear in u."""

        affine = False

        def bend(self, z):
            return torch.tanh(z)

    registry.CONTROLS |= {"bilinear": Bilinear, "curved": Curved}
    yield
    del registry.CONTROLS["bilinear"], registry.CONTROLS["curved"]


def exact_map(backend="skfem", n=8):
    return pc.discretise(PROBLEM, pc.unit_square(n), backend)


def trained(name="bilinear", coefficient=None, seed=1):
    import torch

    from pdecontrol.learn.operators.model import ControlModel, described
    from pdecontrol.learn.operators.registry import build

    map = exact_map()
    points = torch.as_tensor(map.control.points)
    inner = torch.as_tensor(np.flatnonzero((np.abs(map.control.points - 0.5) < 0.49).all(axis=0)))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ControlModel(build("control", name, OPTIONS), (points, points), (inner, inner), None, coefficient)
    generator = np.random.default_rng(seed)
    u, y = (torch.as_tensor(generator.standard_normal((20, 81))).float() for _ in range(2))
    a = None if coefficient is None else torch.as_tensor(generator.random((20, *coefficient))).float()
    model.fit(3 * u, 0.2 * y, a, torch.full((81,), 0.5))
    header = {"task": "control", "network": name, "options": OPTIONS, "model": described(model), "seed": seed}
    return Trained(model, header)


A = np.array([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize("coefficient", [None, (2, 2)])
def test_the_adjoint_of_an_affine_network_is_its_transpose_in_the_inner_products_of_the_spaces(coefficient):
    map = trained(coefficient=coefficient).map(exact_map(), None if coefficient is None else A)
    assert map.affine and not map.exact
    assert verify.adjoint_error(map) < 1e-13
    u, v = np.random.default_rng(3).standard_normal((2, map.control.size))
    at = map.at(u)
    assert np.abs(at.tangent(v) - (map.solve(u + v) - at.value)).max() < 1e-13
    assert at.solve_adjoint(at.value).error == np.inf


def test_derivatives_of_a_network_that_is_not_affine_pass_taylor_tests():
    map = trained("curved").map(exact_map())
    u, h, w = np.random.default_rng(3).standard_normal((3, map.control.size))
    assert verify.adjoint_error(map, u) < 1e-12
    at, step = map.at(u), 1e-4
    difference = (map.solve(u + step * h) - map.solve(u - step * h)) / (2 * step)
    assert np.abs(difference - at.tangent(h)).max() < 1e-7 * np.abs(difference).max()
    outer = 2.0

    def gradient(v):
        linear = map.at(v)
        return linear.adjoint(outer * linear.value + w)

    second = at.second(h, outer * at.value + w, at.solve_adjoint(outer * at.value + w), lambda eta: outer * eta)
    difference = (gradient(u + step * h) - gradient(u - step * h)) / (2 * step)
    assert np.abs(difference - second).max() < 1e-6 * np.abs(second).max()


def test_boundary_values_hold_exactly_whatever_the_weights_are():
    map = trained().map(exact_map())
    y = map.solve(np.random.default_rng(2).standard_normal(map.control.size))
    edge = (np.abs(map.control.points - 0.5) > 0.49).any(axis=0)
    assert (y[edge] == 0.5).all() and not (y[~edge] == 0.5).any()


def test_a_map_of_another_engine_finds_its_points():
    pytest.importorskip("dolfinx")
    here, there = exact_map(), exact_map("dolfinx")
    one, other = (trained().map(map) for map in (here, there))
    data = lambda x: np.sin(5 * x[0]) + x[1] ** 2  # noqa: E731
    y = [map.solve(map.control.interpolate(data)) for map in (one, other)]
    assert np.abs(y[0] - there.observation.gather(y[1])).max() < 1e-14
    assert verify.adjoint_error(other) < 1e-13


def test_a_mesh_with_its_points_in_another_order_is_the_same():
    mesh, shuffle = pc.unit_square(8), np.random.default_rng(4).permutation(81)
    there = pc.discretise(PROBLEM, pc.Mesh(mesh.points[:, shuffle], np.argsort(shuffle)[mesh.cells]))
    one, other = (trained().map(map) for map in (exact_map(), there))
    u = np.random.default_rng(5).standard_normal(81)
    assert np.abs(one.solve(u)[shuffle] - other.solve(u[shuffle])).max() < 1e-14
    assert verify.adjoint_error(other) < 1e-13


@pytest.mark.parametrize(
    ("coefficient", "given", "message"),
    [
        (None, A, "takes no coefficient"),
        ((2, 2), None, r"give coefficient=, of shape \(2, 2\)"),
        ((2, 2), A[:1], r"finite values of shape \(2, 2\), got shape \(1, 2\)"),
        ((2, 2), np.nan * A, "finite values"),
    ],
)
def test_coefficients_that_do_not_fit_are_refused(coefficient, given, message):
    with pytest.raises(DataError, match=message):
        trained(coefficient=coefficient).map(exact_map(), given)


def test_meshes_that_are_not_those_of_the_training_are_refused():
    with pytest.raises(DataError, match=r"the control has 100 entries of 2 coordinates here, .* for 81 of 2"):
        trained().map(exact_map(n=9))
    points = exact_map().control.points
    with pytest.raises(DataError, match=r"x has no entry at \[.*\], where the network was trained to have one"):
        order(points, points * [[1.0], [0.9]], 1.0, "x")


def test_places_tell_factors_and_times_apart():
    space = pc.Space(np.ones(3), points=np.array([[0.0, 0.5, 1.0]]))
    assert places(space.over([1.0, 2.0], [1.0, 1.0])).tolist() == [[0.0, 0.5, 1.0] * 2, [1.0] * 3 + [2.0] * 3]
    from pdecontrol.space import product

    assert places(product([space, space])).tolist() == [[0.0, 0.5, 1.0] * 2, [0.0] * 3 + [1.0] * 3]
    assert places(pc.Space(np.ones(4))).shape == (0, 4)


@pytest.mark.parametrize(("name", "coefficient"), [("bilinear", None), ("bilinear", (2, 2)), ("curved", None)])
def test_a_saved_network_is_the_same(tmp_path, name, coefficient):
    one = trained(name, coefficient)
    other = Trained.load(one.save(tmp_path / "network"))
    assert other.header == one.header and other.digest == one.digest
    inputs = [np.random.default_rng(1).standard_normal((3, 81))] + ([] if coefficient is None else [np.stack([A] * 3)])
    assert (one.predict(*inputs) == other.predict(*inputs)).all()
    assert np.abs(one.predict(*(x[1] for x in inputs)) - one.predict(*inputs)[1]).max() < 1e-14
    assert (
        one.map(exact_map(), None if coefficient is None else A).fingerprint
        == other.map(exact_map(), None if coefficient is None else A).fingerprint
    )


def planted(tmp_path, change):
    """A file of a network, of which something is changed, with a checksum that fits."""
    header, arrays = read_arrays(trained().save(tmp_path / "good.npz"), KIND)
    change(header, arrays)
    return write_arrays(tmp_path / "bad.npz", header, arrays)


def set_weight(value):
    def change(header, arrays):
        arrays["network.trunk.weight"] = value(arrays["network.trunk.weight"])

    return change


PLANTED = {
    "another network": (lambda header, arrays: header.update(network="os.system"), "there is no control network"),
    "another task": (lambda header, arrays: header.update(task="prediction"), "there is no prediction network"),
    "another option": (lambda header, arrays: header["options"].update(command="x"), "has no option 'command'"),
    "another size": (lambda header, arrays: header["options"].update(hidden=6), "in the file, but"),
    "a huge size": (lambda header, arrays: header["options"].update(hidden=10**12), "in the file, but"),
    "a wrong size": (lambda header, arrays: header["options"].update(hidden="5"), "network of this version"),
    "a missing array": (lambda header, arrays: arrays.pop("network.trunk.bias"), "network.trunk.bias is None"),
    "an array more": (lambda header, arrays: arrays.update(more=np.zeros(3)), "more is"),
    "a missing entry": (lambda header, arrays: header.pop("model"), "damaged"),
    "no number": (set_weight(lambda w: np.nan * w), "not finite"),
    "another type": (set_weight(lambda w: w.astype(complex)), "complex128"),
    "an entry that is not there": (lambda header, arrays: arrays.update(given=arrays["given"] + 81), "are not there"),
    "the wrong kind": (lambda header, arrays: header.update(kind="result"), "is not a trained network"),
}  # fmt: skip


@pytest.mark.parametrize("error", PLANTED)
def test_files_that_were_tampered_with_are_refused(tmp_path, error):
    change, message = PLANTED[error]
    with pytest.raises(ResultFileError, match=message):
        Trained.load(planted(tmp_path, change))


def test_objects_in_files_are_not_read(tmp_path):
    header = np.frombuffer(json.dumps({"kind": KIND, "format": 2}).encode(), dtype=np.uint8)
    np.savez(tmp_path / "bad.npz", header=header, weights=np.array([print], dtype=object))
    with pytest.raises(ResultFileError, match="damaged"):
        Trained.load(tmp_path / "bad.npz")


def test_inputs_of_predictions_are_checked():
    one = trained(coefficient=(2, 2))
    with pytest.raises(DataError, match="takes 2 input functions, got 1"):
        one.predict(np.zeros(81))
    with pytest.raises(DataError, match=r"resample them to the grid of the training"):
        one.predict(np.zeros(82), A)
    with pytest.raises(DataError, match="not finite"):
        one.predict(np.full(81, np.nan), A)
    with pytest.raises(DataError, match="real numbers"):
        one.predict(np.full(81, "1"), A)
