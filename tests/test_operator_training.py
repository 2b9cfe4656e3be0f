"""Training networks on datasets: losses, adjoint pairs, going on after a kill, and what is refused."""

import json

import numpy as np
import pytest
from marks import needs_torch

import pdecontrol as pc
from pdecontrol import cli
from pdecontrol.errors import DataError, DatasetError, ResultFileError
from pdecontrol.learn.antiderivative import Antiderivative
from pdecontrol.learn.darcy_control import DarcyControl
from pdecontrol.learn.families import Darcy
from pdecontrol.learn.norms import mass, sobolev
from pdecontrol.learn.train import operator_error, operator_errors, train
from pdecontrol.learn.trained import Trained

pytestmark = needs_torch
torch = pytest.importorskip("torch")

FAMILY = DarcyControl(n=7, pairs=2, shortest=0.2)
SMALL = {"rank": 8, "core": "diagonal", "branch": "dense", "widths": [16]}


def stated(**options):
    return pc.ControlProblem(
        equation=pc.Elliptic(source=1.0),
        boundary={"boundary": pc.Dirichlet(0.5)},
        control=pc.Distributed(),
        tracking=pc.Tracking(0.0),
        terms=[pc.Tikhonov(1e-2)],
        **options,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def media(folder):
    return pc.generate(FAMILY, 80, 3, folder / "media")


@pytest.fixture(scope="module")
def single(folder):
    """Samples of one map, whose states have values on the boundary."""
    return pc.generate(pc.ControlSamples(stated(), pc.unit_square(7)), 150, 3, folder / "single")


SOURCE = pc.ControlSamples(stated(), pc.unit_square(7))


@pytest.fixture(scope="module")
def darcy(folder):
    return pc.generate(Darcy(7, field="threshold", alpha=2.0, tau=3.0), 60, 3, folder / "darcy")


def small(dataset, path=None, **options):
    return train(dataset, "low-rank", path, **{"options": SMALL, "epochs": 6, "progress": False, **options})


def same(one, two):
    weights = zip(one.model.state_dict().values(), two.model.state_dict().values(), strict=True)
    return one.header["history"] == two.header["history"] and all(torch.equal(a, b) for a, b in weights)


class TestLosses:
    def test_norms_of_finite_elements_are_integrals(self):
        map = pc.discretise(stated(), pc.unit_square(4))
        x, y = map.solution.points
        e = np.sin(3 * x) + x * y
        elements = map.solution.elements
        corners = elements.points[:, elements.dofs]
        gradients = elements.gradient(e, corners.mean(axis=1))
        at_middles = (e[elements.dofs] + e[np.roll(elements.dofs, 1, axis=0)]) / 2  # exact for squares of linear ones
        area = 0.5 / 16
        l2, slopes = area * (at_middles**2).mean(axis=0).sum(), area * (gradients**2).sum()
        for space in (map.observation, map.solution):
            assert e @ mass(space) @ e == pytest.approx(l2, rel=1e-12)
            assert e @ sobolev(space, map.solution) @ e == pytest.approx(l2 + slopes, rel=1e-12)

    def test_norms_in_torch_are_those_of_the_matrices(self):
        from pdecontrol.learn.training.losses import quadratic, relative

        map = pc.discretise(stated(), pc.unit_square(4))
        matrix, rows = sobolev(map.observation, map.solution), np.random.default_rng(5).normal(size=(3, 2, 25))
        true, found = (torch.tensor(part) for part in rows.swapaxes(0, 1))
        by_hand = [
            np.sqrt((b - a) @ matrix @ (b - a) / (a @ matrix @ a)) for a, b in zip(rows[:, 0], rows[:, 1], strict=True)
        ]
        np.testing.assert_allclose(relative(quadratic(matrix, true), found, true), by_hand, rtol=1e-12)

    def test_differences_on_grids_are_exact_for_linear_functions_with_their_boundary(self):
        from pdecontrol.learn.training.losses import h1, hsloss_mgno

        x = torch.linspace(0.0, 1.0, 9, dtype=torch.float64)
        e = (3 * x[:, None] - 2 * x)[None]
        assert float(h1(e)) == pytest.approx(float((e.square().mean() + 13).sqrt()), rel=1e-12)
        assert abs(float(hsloss_mgno(e)) / float(h1(e)) - 1) > 0.1

    def test_the_published_quantity_weighs_waves(self):
        from pdecontrol.learn.training.losses import hsloss_mgno

        x = torch.arange(64, dtype=torch.float64) / 64
        for k, m, weight in ((3, 0, 10), (3, 4, 26), (25, 4, 17)):  # those from 20 on count as 0
            e = torch.cos(2 * torch.pi * (k * x[:, None] + m * x))[None]
            assert float(hsloss_mgno(e)) == pytest.approx(weight**0.5 * float(e.norm()), rel=1e-10)


def exact_task(dataset, planted=None):
    """The errors of a network whose weights are the exact matrix, in double precision."""
    from pdecontrol.learn.operators import registry
    from pdecontrol.learn.operators.network import ControlNetwork
    from pdecontrol.learn.training.assemble import control_task
    from pdecontrol.learn.training.loop import mean_errors
    from pdecontrol.learn.training.recipe import Recipe

    class Matrix(ControlNetwork):
        on_grid, affine = False, True

        def __init__(self, controls: int, states: int) -> None:
            super().__init__()
            self.matrix = torch.nn.Linear(controls, states, bias=False)

        def encode(self, a):
            return None

        def apply_to(self, encoded, u):
            return self.matrix(u)

    arrays = {name: dataset[name][:] for name in ("control", "observation", "dual", "gradient")}
    if planted:
        planted(arrays)
    recipe = Recipe(1, 16, 1e-3, 0.0, "cosine", 0.1, 1.0, "auto", True, False, 0.1, None, 1)
    exact = SOURCE.map_at()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.CONTROLS, "matrix", Matrix)
        task, _ = control_task(("matrix", {}), arrays, exact, recipe, 135, "cpu")
    model, at = task.model, exact.at(exact.control.zeros())
    inner = model.taken.numpy()
    columns = np.stack([at.tangent(row)[model.given.numpy()] for row in np.eye(exact.control.size)[inner]], axis=1)
    units = float(model.control_unit / model.state_unit)
    with torch.no_grad():
        model.network.matrix.weight.copy_(torch.tensor(units * columns))
    errors = mean_errors(task, torch.arange(135, 150))
    model.eval()
    return errors, Trained(model, {"task": "control", "network": "matrix"}), exact


class TestAdjointPairs:
    def test_the_exact_map_has_no_error(self, single):
        errors, trained, exact = exact_task(single)
        assert max(errors.values()) < 1e-4  # single precision
        assert set(errors) >= {"forward L2", "forward H1", "adjoint L2", "adjoint H1, worst"}
        assert operator_error(trained, exact) < 1e-5
        assert exact.solves.total > 20

    def test_twice_the_map_is_off_by_its_norm(self, single):
        _, trained, exact = exact_task(single)
        with torch.no_grad():
            trained.model.network.matrix.weight.mul_(2.0)
        assert operator_error(trained, exact) == pytest.approx(1.0, rel=1e-3)

    def test_a_wrong_pairing_of_duals_raises_the_adjoint_error_alone(self, single):
        """Planted: duals whose mass has been lost."""

        def planted(arrays):
            arrays["dual"] = np.linalg.solve(mass(SOURCE.map_at().observation).toarray(), arrays["dual"].T).T / 64

        errors, *_ = exact_task(single, planted)
        assert errors["forward L2"] < 1e-4 and errors["adjoint L2"] > 0.2

    def test_what_acts_and_what_is_fixed_is_found_in_the_samples(self, single):
        _, trained, exact = exact_task(single)
        inner = np.flatnonzero(((exact.control.points > 0) & (exact.control.points < 1)).all(axis=0))
        assert trained.model.taken.tolist() == trained.model.given.tolist() == inner.tolist()
        found = trained.model(torch.randn(2, 64)).detach().numpy()
        assert np.all(np.delete(found, inner, axis=1) == 0.5)

    def test_adjoint_pairs_improve_adjoint_and_operator(self, media):
        options = {"options": SMALL | {"rank": 24, "core": "full"}, "epochs": 30}
        both, forward = small(media, **options), small(media, adjoint=False, **options)
        errors = [trained.header["metrics"] for trained in (both, forward)]
        assert errors[0]["forward L2"] < 0.35 and errors[0]["adjoint L2"] < 0.3
        assert errors[0]["adjoint H1"] < 0.85 * errors[1]["adjoint H1"]
        assert operator_errors(both, media).max() < operator_errors(forward, media).min()

    def test_a_map_that_is_in_reach_is_learned(self, single):
        trained = train(
            single, "low-rank", source=SOURCE, options={"rank": 36}, epochs=40, loss="l2", rate=3e-3, progress=False
        )
        metrics = trained.header["metrics"]
        assert metrics["forward L2"] < 0.02 and metrics["adjoint L2"] < 0.05
        assert operator_errors(trained, single, SOURCE).max() < 0.03
        u = single["control"][3]
        exact = SOURCE.map_at().solve(u)
        assert np.linalg.norm(trained.predict(u) - exact) < 0.05 * np.linalg.norm(exact)


class TestPredictions:
    def test_boundary_values_are_kept_and_errors_fall(self, darcy, tmp_path):
        options = {"basis": 16, "widths": [32], "trunk": [32]}
        trained = train(darcy, "deeponet", options=options, epochs=60, rate=5e-3, loss="l2", progress=False)
        first, last = trained.header["history"][0], trained.header["history"][-1]
        assert last[0] < 0.5 * first[0] and trained.header["metrics"]["L2"] < 0.3
        found = trained.predict(darcy["coefficient"][:2])
        assert found.shape == (2, 9, 9) and not found[:, 0].any() and not found[:, :, -1].any()
        again = Trained.load(trained.save(tmp_path / "network.npz"))
        np.testing.assert_array_equal(again.predict(darcy["coefficient"][:2]), found)
        assert again.header["options"]["inputs"] == [[9, 9]] and again.header["data"]["count"] == 60

    def test_grids_see_coefficients_on_the_boundary(self, darcy, tmp_path):
        options = {"layers": 1, "channels": 2, "smoothing": [1], "transfer": "nested"}
        trained = train(darcy, "mgno", options=options, epochs=1, progress=False)
        a = darcy["coefficient"][0]
        other = a.copy()
        other[0, 4] = 15.0 - other[0, 4]  # the other phase
        one, two = trained.predict(np.stack([a, other]))
        assert (one != two).any() and not one[0].any() and not one[:, -1].any()
        again = type(trained).load(trained.save(tmp_path / "flow"))
        np.testing.assert_array_equal(again.predict(other), trained.predict(other))

    def test_seeds_make_weights(self, darcy):
        def weights(seed):
            torch.manual_seed(0)
            options = {"basis": 4, "widths": [8], "trunk": [8]}
            trained = train(darcy, "deeponet", options=options, epochs=1, seed=seed, progress=False)
            return torch.cat([weight.flatten() for weight in trained.model.parameters()]), torch.rand(())

        (one, state), (two, _), (other, _) = weights(3), weights(3), weights(4)
        torch.manual_seed(0)
        assert torch.equal(one, two) and not torch.equal(one, other) and state == torch.rand(())

    def test_the_published_quantity_is_of_the_plane(self, darcy, folder):
        trained = train(darcy, "pod-deeponet", options={"basis": 8}, epochs=2, loss="hsloss_mgno", progress=False)
        assert trained.header["metrics"]["loss"] != pytest.approx(trained.header["metrics"]["H1"], rel=0.05)
        lines = pc.generate(Antiderivative(sensors=11, points=11), 20, 3, folder / "lines")
        with pytest.raises(DataError, match="is of grids of the plane"):
            train(lines, "pod-deeponet", options={"basis": 8}, loss="hsloss_mgno")

    def test_rows_are_printed(self, darcy, capsys):
        train(darcy, "pod-deeponet", options={"basis": 8}, epochs=2, progress=True)
        printed = capsys.readouterr().err.splitlines()
        assert printed[0].split() == ["epoch", "loss", "held", "out", "seconds", "remaining"]
        assert [row.split()[0] for row in printed[1:-1]] == ["1", "2"]


class Killed(Exception):
    pass


def killed_after(epochs, error, patch):
    from pdecontrol.learn.training.loop import Loop

    epoch = Loop._epoch

    def until(self, stage):
        if stage.epochs == epochs:
            raise error
        return epoch(self, stage)

    patch.setattr(Loop, "_epoch", until)


class TestGoingOn:
    @pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
    def test_after_a_kill_the_curve_is_the_same_bit_for_bit(self, media, tmp_path, schedule):
        whole = small(media, schedule=schedule, decay=1e-4)
        with pytest.MonkeyPatch.context() as patch:
            killed_after(3, Killed(), patch)
            with pytest.raises(Killed):
                small(media, tmp_path / "run", schedule=schedule, decay=1e-4, checkpoint_seconds=0.0)
        assert same(small(media, tmp_path / "run", schedule=schedule, decay=1e-4), whole)
        assert same(small(media, tmp_path / "run", schedule=schedule, decay=1e-4), whole)  # nothing is left to do

    def test_an_interrupted_training_returns_its_best_and_goes_on(self, media, tmp_path):
        with pytest.MonkeyPatch.context() as patch:
            killed_after(4, KeyboardInterrupt(), patch)
            part = small(media, tmp_path / "run")
        assert part.header["metrics"]["status"] == "interrupted" and part.header["metrics"]["epochs"] == 4
        assert same(small(media, tmp_path / "run"), small(media))

    def test_a_limit_of_seconds_ends_it_after_an_epoch(self, media, tmp_path):
        assert small(media, tmp_path / "run", seconds=1e-9).header["metrics"]["epochs"] == 1
        assert same(small(media, tmp_path / "run"), small(media))

    def test_it_ends_early_with_the_best_weights(self, media, monkeypatch):
        from pdecontrol.learn.training import loop

        losses, seen = iter([5.0, 3.0, 4.0, 3.5, 1.0]), []
        monkeypatch.setattr(
            loop,
            "held_out_loss",
            lambda task, _: seen.append(task.model.network.control.weight.clone()) or next(losses),
        )
        trained = small(media, patience=2)
        assert len(seen) == 4 and trained.header["metrics"]["status"] == "stopped early"
        assert trained.header["metrics"]["best epoch"] == 2
        assert torch.equal(trained.model.network.control.weight, seen[1]) and not torch.equal(seen[1], seen[3])

    def test_what_diverges_says_so(self, media, monkeypatch):
        from pdecontrol.learn.training import loop

        monkeypatch.setattr(loop, "held_out_loss", lambda *_: np.nan)
        with pytest.raises(pc.ConvergenceError, match="diverged in its first epoch"):
            small(media)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"rate": 1e-3}, "recipe.rate is 0.002 there, 0.001 here"),
            ({"options": SMALL | {"rank": 9}}, "options.rank is 8 there, 9 here"),
            ({"seed": 5}, "recipe.seed is 1 there, 5 here"),
        ],
    )
    def test_other_arguments_are_refused(self, media, tmp_path, options, message):
        small(media, tmp_path / "run", epochs=1)
        with pytest.raises(ResultFileError, match=message):
            small(media, tmp_path / "run", **{"epochs": 1, **options})

    def test_other_data_and_damaged_files_are_refused(self, media, tmp_path):
        small(media, tmp_path / "run.npz", epochs=1)
        others = pc.generate(FAMILY, 81, 3, tmp_path / "others")
        with pytest.raises(ResultFileError, match=r"data.count is 80 there, 81 here; data.digest is '\w+' there"):
            small(others, tmp_path / "run.npz", epochs=1)
        content = bytearray((tmp_path / "run.npz").read_bytes())
        half = len(content) // 2
        content[half : half + 200] = bytes(200)
        (tmp_path / "run.npz").write_bytes(content)
        with pytest.raises(ResultFileError, match="damaged"):
            small(media, tmp_path / "run.npz", epochs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer, 1 or more"),
        ({"rate": 0.0}, "rate must be a number"),
        ({"warm_up": 1.0}, "warm_up must be a number between 0 and 1"),
        ({"held_out": 1.0}, "held_out must be a number"),
        ({"held_out": 0.999}, "80 samples are too few"),
        ({"patience": 0}, "patience must be an integer"),
        ({"loss": "mse"}, "loss must be one of auto, h1, l2, hsloss_mgno"),
        ({"loss": "hsloss_mgno"}, "is of predictions on grids"),
        ({"device": "tpu"}, "device is 'auto', 'cpu' or 'cuda'"),
        ({"options": {"ranks": 8}}, "low-rank has no option 'ranks'"),
    ],
)
def test_bad_arguments(media, options, message):
    with pytest.raises(DataError, match=message):
        small(media, **options)


def test_data_that_do_not_fit(media, single, darcy):
    with pytest.raises(DatasetError, match="'control-problem', which has no name here: give their source"):
        small(single)
    with pytest.raises(DatasetError, match="is not of this source: degree is 1 there, None here"):
        small(single, source=FAMILY)
    with pytest.raises(DataError, match="there is no control network 'mlp'"):
        train(media, "mlp")
    with pytest.raises(DatasetError, match="expected a Dataset"):
        train("data", "low-rank")


def test_linear_networks_for_maps_that_are_not_are_refused(tmp_path):
    field = FAMILY.samples.coefficient
    source = pc.ControlSamples(stated(), pc.unit_square(7), coefficient=field, pairs=1)
    data = pc.generate(source, 20, 3, tmp_path / "data")
    with pytest.raises(DataError, match="low-rank is linear in the control: take constant=true"):
        small(data, source=source)
    trained = small(data, source=source, options=SMALL | {"constant": True})
    assert np.all(trained.predict(data["control"][0], data["coefficient"][:1])[:, :8] == 0.5)


def test_grids_have_the_axes_of_the_coordinates(media, monkeypatch):
    from pdecontrol.learn.operators import registry
    from pdecontrol.learn.operators.network import ControlNetwork

    class Gate(ControlNetwork):
        """y = s a u with the coefficient in the lower left cell of each node."""

        on_grid, affine = True, True

        def __init__(self, grid: list[int]) -> None:
            super().__init__()
            self.grid, self.scale = grid, torch.nn.Parameter(torch.ones(()))

        def encode(self, a):
            return a[:, None, :-1, :-1]

        def apply_to(self, encoded, u):
            return self.scale * encoded * u

    monkeypatch.setitem(registry.CONTROLS, "gate", Gate)
    model = train(media, "gate", epochs=1, rate=1e-12, progress=False).model
    map, a = FAMILY.samples.map_at(), media["coefficient"][1]
    x = map.control.points
    cells = np.clip(np.round(7 * x).astype(int) - 1, 0, 6)
    expected = a[cells[0], cells[1]] * (x[0] + 10 * x[1])
    mean, deviation = model.normaliser.mean, model.normaliser.deviation
    with torch.no_grad():
        found = model(torch.tensor(x[0] + 10 * x[1])[None].float(), torch.tensor(a)[None].float() * deviation + mean)[0]
    inner = ((x > 0) & (x < 1)).all(axis=0)
    units = model.state_unit / model.control_unit
    np.testing.assert_allclose(found[inner], units * torch.tensor(expected[inner]), rtol=1e-4)
    assert not found[~inner].any() and model.network.grid == [6, 6]


def test_points_without_a_grid_are_named():
    from pdecontrol.learn.training.assemble import _grid

    square = pc.unit_square(3).points
    shape, order = _grid(square[:, ::-1], 1.0)
    assert shape == (4, 4) and np.allclose(square[:, ::-1][:, order].T.reshape(4, 4, 2)[2, 1], [2 / 3, 1 / 3])
    with pytest.raises(DataError, match="form no grid: take a network on lists of points"):
        _grid(square[:, 1:], 1.0)


def test_the_command(media, tmp_path, capsys):
    output = tmp_path / "net.npz"
    options = [f"{name}={json.dumps(value)}" for name, value in SMALL.items()]
    command = ["train", str(media.directory), "low-rank", *options, "--epochs", "2", "--output", str(output)]
    assert cli.main([*command, "--operator", "1"]) == 0
    out = capsys.readouterr().out
    assert "160, of which 16 are held out" in out and "operator norm" in out and "finished: 2 epochs" in out
    assert Trained.load(output).header["options"]["widths"] == [16] and len(list(tmp_path.iterdir())) == 1
    assert cli.main(["train", str(tmp_path), "low-rank"]) == 1
    with pytest.MonkeyPatch.context() as patch:
        killed_after(1, KeyboardInterrupt(), patch)
        assert cli.main(command) == 130
    assert "the same command goes on" in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 2
    assert cli.main([*command, "--operator", "0"]) == 0 and len(list(tmp_path.iterdir())) == 1
    assert cli.main(["train", str(media.directory), "low-rank", "rank"]) == 2
    assert "'rank' is no option" in capsys.readouterr().err
