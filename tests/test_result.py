"""Results on disk: whole, refused when damaged, never executed."""

import io
import json
import zipfile

import numpy as np
import pytest

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.files import read_arrays, write_arrays


@pytest.fixture(scope="module")
def result():
    return pc.solve(reference.stadler(1e-3).problem, pc.unit_square(10), pc.Embedded(degree=2), method="primal-dual")


def test_round_trip(result, tmp_path):
    path = result.save(tmp_path / "deep" / "run")
    assert path == tmp_path / "deep" / "run.npz"
    loaded = pc.load(path)
    assert loaded.certificate == result.certificate and loaded.status is result.status
    assert loaded.solves == result.solves and loaded.method == result.method and loaded.success
    assert np.array_equal(loaded.history["bound"], result.history["bound"], equal_nan=True)
    points = np.random.default_rng(1).uniform(0, 1, (2, 50))
    for name in ("control", "state", "adjoint"):
        old, new = getattr(result, name), getattr(loaded, name)
        assert np.array_equal(old.array, new.array) and np.array_equal(old(points), new(points))
        assert old.space.norm(old.array) == new.space.norm(new.array)
    assert str(loaded) == str(result)


def test_loaded_results_start_runs(result, tmp_path):
    loaded = pc.load(result.save(tmp_path / "run"))
    again = pc.solve(
        reference.stadler(1e-3).problem, pc.unit_square(10), pc.Embedded(degree=2), method="primal-dual", start=loaded
    )
    assert len(again.history) <= 3


def test_actuator_results_are_saved(tmp_path):
    problem = pc.ControlProblem(
        equation=pc.Elliptic(reaction=1.0),
        control=pc.Actuators([1.0, lambda x: x[0]]),
        tracking=pc.Tracking(lambda x: x[0]),
        terms=[pc.Tikhonov(1e-2)],
    )
    result = pc.solve(problem, pc.unit_interval(10))
    loaded = pc.load(result.save(tmp_path / "run"))
    assert np.array_equal(loaded.control.array, result.control.array)
    with pytest.raises(pc.DataError, match="2 numbers"):
        loaded.control(np.zeros((1, 1)))


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_truncated_files_are_refused(result, tmp_path, keep):
    path = result.save(tmp_path / "run")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(pc.ResultFileError, match="damaged"):
        pc.load(path)


def test_flipped_bits_are_refused(result, tmp_path):
    path = result.save(tmp_path / "run")
    content = bytearray(path.read_bytes())
    refused = 0
    for position in np.random.default_rng(2).integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            loaded = pc.load(path)
        except pc.ResultFileError:
            refused += 1
        else:  # a byte of the archive's bookkeeping that carries nothing
            assert np.array_equal(loaded.control.array, result.control.array)
    assert refused >= 50


def test_pickles_and_strangers_are_refused(result, tmp_path):
    path = tmp_path / "evil.npz"
    array = io.BytesIO()
    np.lib.format.write_array(array, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", array.getvalue())
    with pytest.raises(pc.ResultFileError):
        pc.load(path)
    path.write_bytes(b"\x80\x04}\x94\x8c\x01a\x94K\x01s.")  # a pickled dictionary
    with pytest.raises(pc.ResultFileError):
        pc.load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(pc.ResultFileError):
        pc.load(path)
    with pytest.raises(pc.ResultFileError, match="no file"):
        pc.load(tmp_path / "nothing.npz")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "run.npz"
    solve_on(path)
    return path


def solve_on(path, restart=False):
    problem, mesh = reference.stadler(1e-3).problem, pc.unit_square(6)
    return pc.solve(problem, mesh, method="primal-dual", max_iterations=3 + restart, checkpoint=path, restart=restart)


def contents(path):
    with np.load(path) as file:
        arrays = dict(file.items())
    return json.loads(arrays.pop("header").tobytes()), arrays


def tampered(header, arrays):
    """Files whose header or arrays were changed, one entry at a time."""
    for name in header:
        yield {key: value for key, value in header.items() if key != name}, arrays
        for value in (None, "text", [1], {}, -1.5):
            if value != header[name]:
                yield header | {name: value}, arrays
    for name, a in arrays.items():
        yield header, {key: array for key, array in arrays.items() if key != name}
        for other in (np.full(np.shape(a), "x"), np.stack([a, a]), a + 1j, np.zeros(0), np.full(a.shape, np.nan)):
            if other.shape != a.shape or other.dtype != a.dtype or not np.array_equal(a, other, equal_nan=True):
                yield header, arrays | {name: other}


@pytest.mark.parametrize("kind", ["result", "checkpoint"])
def test_changed_contents_are_refused(result, checkpoint, tmp_path, kind):
    path, tried = tmp_path / "changed.npz", 0
    source = result.save(tmp_path / "whole") if kind == "result" else checkpoint
    whole = contents(source)
    for header, arrays in tampered(*whole):
        np.savez(path, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **arrays)
        with pytest.raises(pc.ResultFileError) as caught:
            read_arrays(path, kind)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
        tried += 1
    assert tried > 150


@pytest.mark.parametrize("kind", ["result", "checkpoint"])
def test_files_with_other_entries_are_refused(result, checkpoint, tmp_path, kind):
    """Whole files, of a version that writes something else."""
    source = result.save(tmp_path / "whole") if kind == "result" else checkpoint
    header, arrays = read_arrays(source, kind)
    cut = {"result": "control.array", "checkpoint": "best.state"}[kind]
    others = [(header, {}), (header, arrays | {cut: arrays[cut][:-1]})]
    # The last ones are younger than the format.
    names = set(header) - {"kind", "format", "memory", "weight", "projection"}
    others += [({key: value for key, value in header.items() if key != name}, arrays) for name in names]
    for changed in others:
        path = write_arrays(tmp_path / "other.npz", *changed)
        with pytest.raises(pc.ResultFileError, match=r"other\.npz is (damaged|a checkpoint)"):
            pc.load(path) if kind == "result" else solve_on(path, restart=True)


def test_files_of_another_kind_are_refused(result, checkpoint, tmp_path):
    path = result.save(tmp_path / "run")
    with pytest.raises(pc.ResultFileError, match="is not a result"):
        pc.load(checkpoint)
    with pytest.raises(pc.ResultFileError, match="is not a checkpoint"):
        solve_on(path, restart=True)
    for wrong in (5, None, b"run.npz"):
        with pytest.raises(pc.ResultFileError, match=r"text or a pathlib\.Path"):
            pc.load(wrong)
        with pytest.raises(pc.ResultFileError, match=r"text or a pathlib\.Path"):
            result.save(wrong)


def test_a_full_disk_loses_nothing(result, tmp_path, monkeypatch):
    path = result.save(tmp_path / "run")
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(pc.ResultFileError, match="No space"):
        result.save(path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["run.npz"]


def test_print(result):
    text = str(result)
    for word in ("certified", "||u - u*|| <=", "PDE solves", "primal-dual", "assuming an affine equation"):
        assert word in text
