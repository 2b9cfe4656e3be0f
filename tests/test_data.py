"""Datasets: what is on disk, by one process or several, after kills, damage, full disks, failures and wrong calls."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy

from pdecontrol import cli
from pdecontrol.errors import ConvergenceError, DatasetError, ProblemError
from pdecontrol.learn import files
from pdecontrol.learn.data import Dataset, generate, open_dataset
from pdecontrol.learn.source import Batch

zarr = pytest.importorskip("zarr", reason="datasets need zarr")
PROGRAM = Path(__file__).parent / "programs" / "generate.py"
sys.path.insert(0, str(PROGRAM.parent))
from generate import Systems  # noqa: E402

COUNT, SEED, CHUNK = 23, 7, 5  # of five chunks the last has three samples


def make(directory, source=None, **options):
    options = {"count": COUNT, "seed": SEED, "chunk": CHUNK} | options
    return generate(source or Systems(), directory=directory, **options)


def draw(number):
    return np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(number,)))


def lines(path):
    return path.read_text().split() if path.exists() else []


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def finished(directory):
    return len(list((directory / "chunks").glob("[0-9]*.json")))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make(tmp_path_factory.mktemp("original") / "dataset")


@pytest.fixture
def copy(original, tmp_path):
    """The directory of a complete dataset that a test may damage."""
    return Path(shutil.copytree(original.directory, tmp_path / "copy"))


class Altered(Systems):
    """The test's source, with what it gives changed."""

    def __init__(self, change, **options):
        super().__init__(**options)
        object.__setattr__(self, "change", change)

    def batch(self, plan, generators, tolerance):
        made = super().batch(plan, generators, tolerance)
        self.change(made)
        return made


class TestSources:
    def test_complex_values_are_refused(self, tmp_path):
        def change(batch):
            batch.arrays["solution"] = batch.arrays["solution"] * 1j

        with pytest.raises(DatasetError, match="complex values of solution"):
            make(tmp_path / "data", Altered(change))

    def test_residuals_above_the_tolerance_are_failures(self, tmp_path):
        def change(batch):
            batch.residuals[1] = 1.0

        with pytest.raises(ConvergenceError, match=r"sample 1: the residual 1.0e\+00 is above the tolerance"):
            make(tmp_path / "data", Altered(change))

    def test_failures_of_strangers_are_refused(self, tmp_path):
        with pytest.raises(DatasetError, match="a failure of sample 99 of 5"):
            make(tmp_path / "data", Altered(lambda batch: batch.failures.update({99: "no"})))

    def test_names_of_arrays_stay_in_the_dataset(self, tmp_path):
        class Path(Systems):
            @property
            def shapes(self):
                return {"../../evil": (2,)}

        with pytest.raises(DatasetError, match=r"names an array '\.\./\.\./evil'"):
            make(tmp_path / "data", Path())
        assert not (tmp_path / "data").exists()

    def test_samples_without_a_bound_are_counted(self, tmp_path):
        def change(batch):
            batch.bounds[0] = np.nan

        made = make(tmp_path / "data", Altered(change))
        assert made.summary["without_bound"] == 5 and "none for 5 samples" in str(made)


class TestContents:
    def test_samples_are_those_of_their_generators_solved(self, original):
        assert len(original) == COUNT and original.complete and original.check() == []
        matrices, solutions = original["matrix"][:], original["solution"][:]
        assert matrices.shape == (COUNT, 6, 6) and solutions.shape == (COUNT, 6)
        for number in range(COUNT):
            generator = draw(number)
            generator.random()
            assert np.array_equal(matrices[number], Systems()._matrix(generator))
        defect = np.linalg.norm(np.einsum("nij,nj->ni", matrices, solutions) - 1.0, axis=1) / np.sqrt(6)
        assert np.allclose(original["residual"][:], defect, rtol=0, atol=1e-15)
        assert np.array_equal(original["bound"][:], 2 * original["residual"][:])

    def test_plain_zarr_reads_it(self, original):
        group = zarr.open(str(original.directory / "data.zarr"), mode="r")
        array = group["solution"]
        assert array.shape == (COUNT, 6) and array.chunks == (CHUNK, 6) and array.dtype == np.float64
        assert np.array_equal(array[:], original["solution"][:])
        metadata = json.loads((original.directory / "data.zarr" / "solution" / ".zarray").read_text())
        assert metadata["zarr_format"] == 2

    def test_manifest(self, original):
        manifest = json.loads((original.directory / "manifest.json").read_text())
        assert manifest.pop("sha256") and manifest == original.manifest
        assert manifest["definition"] == Systems().definition
        asked = {name: manifest[name] for name in ("count", "seed", "chunk", "tolerance", "strategy", "on_failure")}
        assert asked == {
            "count": COUNT, "seed": SEED, "chunk": CHUNK, "tolerance": 1e-8, "strategy": "auto", "on_failure": "stop"
        }  # fmt: skip
        assert manifest["arrays"]["matrix"] == {"shape": [6, 6], "dtype": "<f8"}
        assert set(manifest["arrays"]) == {"matrix", "solution", "residual", "bound"}
        assert manifest["versions"] == {name: version(name) for name in ("pdecontrol", "numpy", "scipy")}

    def test_random_numbers_of_the_plan_are_none_of_a_sample(self, original):
        first = original.manifest["plan"]["first"]
        assert len(first) == 12 and original.manifest["plan"]["count"] == COUNT
        assert not set(first) & {draw(number).random() for number in range(COUNT)}

    def test_records_and_summary(self, original):
        records = [files.read(original.directory / "chunks" / f"{number:06d}.json") for number in range(5)]
        assert [record["samples"] for record in records] == [5, 5, 5, 5, 3]
        residuals = np.concatenate([record["residuals"] for record in records])
        assert np.array_equal(residuals, original["residual"][:])
        for number, record in enumerate(records):
            for name, checksum in record["checksums"].items():
                values = original[name][CHUNK * number : CHUNK * (number + 1)]
                assert hashlib.sha256(values.tobytes()).hexdigest() == checksum
        summary = original.summary
        assert summary == files.read(original.directory / "summary.json")
        assert (summary["samples"], summary["failures"], summary["counts"]["factorisations"]) == (COUNT, {}, COUNT)
        assert summary["worst_residual"] == residuals.max() and summary["worst_bound"] == 2 * residuals.max()
        assert summary["median_residual"] == np.median(residuals)
        assert summary["counts"]["seconds"] > 0

    def test_equal_calls_have_equal_files_but_for_what_was_measured(self, original, tmp_path):
        other = make(tmp_path)
        here, there = contents(tmp_path), contents(original.directory)
        measured = {Path("summary.json")} | {Path("chunks") / f"{number:06d}.json" for number in range(5)}
        assert here.keys() == there.keys() and {name for name in here if here[name] != there[name]} <= measured
        assert other.summary["digest"] == original.summary["digest"]
        assert other.summary | {"counts": {}} == original.summary | {"counts": {}}

    def test_samples_do_not_depend_on_chunks(self, original, tmp_path):
        for chunk in (1, 4, 100):
            other = make(tmp_path / str(chunk), chunk=chunk)
            for name in ("matrix", "solution", "residual", "bound"):
                assert np.array_equal(other[name][:], original[name][:])

    def test_table(self, original):
        table = dict(line.split(maxsplit=1) for line in str(original).splitlines())
        assert table["family"] == "systems: size=6, shift=4.0, failing=0.0"
        assert table["samples"] == "23 of 23, seed 7"
        assert table["strategy"] == "direct (they are small)"
        assert table["failures"] == "none" and table["size"].endswith(f"MB in {original.directory}")
        worst = f"{original.summary['worst_residual']:.1e}"
        assert table["residual"].startswith(f"worst {worst}, median ") and "tolerance 1e-08" in table["residual"]
        assert table["time"].endswith(" ms a sample (solve 1 ms)")
        assert repr(original) == f"<Dataset: 23 of 23 samples, {original.directory}>"

    def test_an_unknown_array_is_named(self, original):
        with pytest.raises(KeyError, match="no array 'state'; there are: matrix, solution, residual, bound"):
            original["state"]

    def test_blas_has_one_thread(self, original):
        assert original.manifest["plan"]["threads"] == 1 and original.summary["counts"]["threads"] == 5


def test_two_processes_write_the_same(original, tmp_path):
    other = make(tmp_path / "dataset", processes=2)
    assert other.summary["digest"] == original.summary["digest"] and other.check() == []
    name = "manifest.json"
    assert (other.directory / name).read_bytes() == (original.directory / name).read_bytes()
    assert other.summary["counts"]["threads"] == 5


class TestGoingOn:
    def test_a_healthy_dataset_is_left_alone(self, copy, tmp_path):
        before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
        again = make(copy, Systems(log=str(tmp_path / "log")))
        assert again.complete and lines(tmp_path / "log") == []
        assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before

    @pytest.mark.parametrize("processes", [1, 2])
    def test_killed_at_any_moment(self, original, tmp_path, processes):
        directory, log = tmp_path / "dataset", tmp_path / "log"
        source = {"log": str(log), "pause": 0.05}
        arguments = {
            "count": COUNT, "seed": SEED, "chunk": CHUNK, "directory": str(directory), "processes": processes
        }  # fmt: skip
        moments = [(1, 0.0), (2, 0.049), (4, 0.053)] if processes == 1 else [(4, 0.051)]
        command = [sys.executable, str(PROGRAM), json.dumps(source), json.dumps(arguments)]
        for begun, wait in moments:
            process = subprocess.Popen(command, start_new_session=True)
            while lines(log).count("batch") < begun and process.poll() is None:
                time.sleep(0.002)
            time.sleep(wait)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            lost = lines(log).count("batch") - finished(directory)
            assert 0 <= lost <= processes * len(moments)
        partial = open_dataset(directory)
        assert not partial.complete and 0 < len(partial.check()) == 5 - finished(directory)
        assert partial.summary["samples"] == 5 * finished(directory)
        assert f"{partial.summary['samples']} of 23" in str(partial)
        whole = make(directory, Systems(log=str(log)))
        assert whole.complete and whole.summary["digest"] == original.summary["digest"]
        assert lines(log).count("plan") == 1 and lines(log).count("batch") <= 5 + processes * len(moments)
        assert not list(directory.rglob(".*.tmp"))

    def test_killed_while_it_plans(self, tmp_path):
        directory = tmp_path / "dataset"
        directory.mkdir()
        (directory / ".manifest.json.123.tmp").write_text("{")
        assert make(directory).complete and not list(directory.rglob(".*.tmp"))

    @pytest.mark.slow
    def test_orphans_end(self, original, tmp_path):
        """Workers whose parent was killed finish their chunk, which nobody minds."""
        directory, log = tmp_path / "dataset", tmp_path / "log"
        source = json.dumps({"log": str(log), "pause": 0.2})
        arguments = {"count": COUNT, "seed": SEED, "chunk": CHUNK, "directory": str(directory), "processes": 2}
        command = [sys.executable, str(PROGRAM), source, json.dumps(arguments)]
        process = subprocess.Popen(command, start_new_session=True)
        while lines(log).count("batch") < 3:
            time.sleep(0.002)
        process.kill()
        process.wait()
        whole = make(directory, Systems(log=str(log)))
        assert whole.summary["digest"] == original.summary["digest"] and lines(log).count("batch") <= 7
        for _ in range(1000):
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.01)
        else:
            pytest.fail("workers outlive their parent")
        assert whole.check() == []

    def test_a_larger_count_extends(self, original, tmp_path):
        log = tmp_path / "log"
        source = Systems(log=str(log))
        make(tmp_path / "dataset", source, count=12)
        assert lines(log) == ["plan"] + 3 * ["batch"]
        longer = make(tmp_path / "dataset", source)
        assert lines(log) == ["plan"] + 6 * ["batch"]
        assert len(longer) == COUNT and longer.complete and longer.check() == []
        assert longer.summary["digest"] == original.summary["digest"]
        with pytest.raises(DatasetError, match="count is 23 there, 12 here"):
            make(tmp_path / "dataset", source, count=12)

    def test_a_larger_count_that_is_interrupted(self, original, tmp_path, monkeypatch):
        """Whatever write fails on the way to a larger dataset, the larger call goes on."""
        for number in range(100):
            directory = tmp_path / str(number)
            make(directory, count=12)
            with writes_fail(monkeypatch, number) as failed, suppress(DatasetError):
                make(directory)
            if not failed:
                break
            assert make(directory).summary["digest"] == original.summary["digest"]
        assert number > 10

    def test_other_versions_are_told(self, tmp_path, monkeypatch):
        make(tmp_path, count=12)
        monkeypatch.setattr(np, "__version__", "9.0")
        monkeypatch.setattr(scipy, "__version__", "9.1")
        make(tmp_path, count=12)
        with pytest.warns(UserWarning, match=r"rounding may differ: numpy is '.*' there, '9.0' here; "):
            make(tmp_path)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    path.write_bytes(b"")


def another_digit(path):
    """Still JSON, but not what was written."""
    text = path.read_text()
    assert text.count('"samples": ') == 1
    path.write_text(text.replace('"samples": ', '"samples": 1'))


class TestDamage:
    @pytest.mark.parametrize("harm", [flip, cut, empty, Path.unlink])
    @pytest.mark.parametrize("name", ["matrix/2.0.0", "solution/4.0", "residual/2"])
    def test_of_values_is_found_and_mended(self, original, copy, tmp_path, harm, name):
        harm(copy / "data.zarr" / name)
        self.mend(original, copy, tmp_path / "log", [2 if "2" in name else 4])

    @pytest.mark.parametrize("harm", [flip, cut, empty, Path.unlink, another_digit])
    def test_of_records_is_found_and_mended(self, original, copy, tmp_path, harm):
        harm(copy / "chunks" / "000001.json")
        self.mend(original, copy, tmp_path / "log", [1])

    def test_of_several_chunks(self, original, copy, tmp_path):
        flip(copy / "data.zarr" / "matrix" / "0.0.0")
        cut(copy / "data.zarr" / "matrix" / "3.0.0")
        (copy / "chunks" / "000004.json").unlink()
        self.mend(original, copy, tmp_path / "log", [0, 3, 4])

    def mend(self, original, directory, log, damaged):
        assert open_dataset(directory).check() == damaged
        numbers = ", ".join(map(str, damaged))
        message = f"{len(damaged)} of 5 chunks are missing, damaged or of another call, and made again: {numbers}$"
        with pytest.warns(UserWarning, match=message) as told:
            again = make(directory, Systems(log=str(log)))
        assert told[0].filename == __file__
        assert lines(log) == ["batch"] * len(damaged)
        assert again.check() == [] and again.summary["digest"] == original.summary["digest"]

    def test_every_byte_counts(self, copy):
        dataset, generator = open_dataset(copy), np.random.default_rng(0)
        for path in [*sorted((copy / "data.zarr").glob("*/1*")), copy / "chunks" / "000001.json"]:
            content = path.read_bytes()
            for position in generator.integers(len(content), size=20):
                changed = bytearray(content)
                changed[position] ^= 1 << int(generator.integers(8))
                path.write_bytes(changed)
                assert dataset.check() == [1]
            path.write_bytes(content)
        assert dataset.check() == []

    @pytest.mark.parametrize("harm", [cut, empty, Path.unlink])
    @pytest.mark.parametrize("name", ["solution/.zarray", ".zgroup"])
    def test_of_the_description_of_arrays_is_mended(self, copy, harm, name, original):
        harm(copy / "data.zarr" / name)
        broken = open_dataset(copy)
        with pytest.raises(DatasetError, match=r"the metadata in .*data.zarr are damaged: the same call mends them"):
            broken["solution"]
        make(copy)
        assert contents(copy) == contents(original.directory)

    @pytest.mark.parametrize("harm", [flip, cut, empty, Path.unlink])
    def test_of_the_summary_is_mended(self, copy, harm, original):
        harm(copy / "summary.json")
        assert open_dataset(copy).summary == original.summary
        make(copy)
        assert contents(copy) == contents(original.directory)

    @pytest.mark.parametrize("harm", [flip, cut, empty])
    def test_of_the_manifest_is_an_error(self, copy, harm):
        harm(copy / "manifest.json")
        before = contents(copy)
        for call in (make, open_dataset):
            with pytest.raises(DatasetError, match=r"manifest.json is missing or damaged \("):
                call(copy)
        assert contents(copy) == before

    def test_a_manifest_of_another_format(self, copy):
        manifest = files.read(copy / "manifest.json")
        files.write_sealed(copy / "manifest.json", manifest | {"format": 1})
        with pytest.raises(DatasetError, match="format is 1 there, 2 here"):
            make(copy)
        with pytest.raises(DatasetError, match="another version of pdecontrol"):
            open_dataset(copy)


@contextmanager
def writes_fail(monkeypatch, number):
    """From write `number` on the disk is full; yields a list of the writes that failed."""
    failed, done = [], iter(range(10**6))

    def fsync(descriptor):
        if next(done) >= number:
            failed.append(descriptor)
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fsync)
        yield failed


class TestFullDisk:
    def test_at_any_write(self, original, tmp_path, monkeypatch):
        for number in range(100):
            directory = tmp_path / str(number)
            with writes_fail(monkeypatch, number) as failed:
                try:
                    make(directory)
                except DatasetError as error:
                    message = str(error)
                    assert message.startswith(str(directory)) and "No space left on device" in message
                    assert "finished chunks are kept, and the same call goes on from there" in message
            if not failed:
                break
            assert not list(directory.rglob(".*.tmp"))
            kept, log = finished(directory), tmp_path / f"{number}.log"
            assert kept == max(0, number - 6) // 5
            assert make(directory, Systems(log=str(log))).summary["digest"] == original.summary["digest"]
            assert lines(log).count("batch") == 5 - kept
        assert number == 1 + 5 + 5 * 5 + 1

    def test_of_a_system(self, tmp_path):
        """The shell allows files of half a kilobyte, which is less than a manifest."""
        call = json.dumps({"count": 3, "seed": 0, "directory": str(tmp_path / "dataset")})
        command = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", sys.executable, str(PROGRAM), "{}", call]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        path = tmp_path / "dataset" / "manifest.json"
        assert run.stdout.startswith(f"rank 0: DatasetError: {path} cannot be written (")


class TestOtherDatasets:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"source": Systems(size=7)}, r"definition.size is 6 there, 7 here"),
            ({"source": Systems(shift=4.5)}, r"definition.shift is 4.0 there, 4.5 here"),
            ({"seed": 8}, "seed is 7 there, 8 here"),
            ({"count": 22}, "count is 23 there, 22 here"),
            ({"tolerance": 1e-9}, "tolerance is 1e-08 there, 1e-09 here"),
            ({"chunk": 6}, "chunk is 5 there, 6 here"),
            ({"strategy": "direct"}, "strategy is 'auto' there, 'direct' here"),
            ({"seed": 0, "chunk": 1, "count": 24}, "dataset: chunk is 5 there, 1 here; seed is 7 there, 0 here"),
        ],
    )  # fmt: skip
    def test_are_not_touched(self, original, change, message):
        before = contents(original.directory)
        with pytest.raises(DatasetError, match=message):
            make(original.directory, **change)
        assert contents(original.directory) == before

    def test_are_told_without_a_plan(self, original, tmp_path):
        with pytest.raises(DatasetError, match="another dataset"):
            make(original.directory, Systems(size=7, log=str(tmp_path / "log")))
        assert lines(tmp_path / "log") == []

    def test_other_files(self, tmp_path):
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(DatasetError, match=r"has other files but no manifest.json: give another directory"):
            make(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_nothing_there(self, tmp_path):
        with pytest.raises(DatasetError, match=r"there is no dataset in .*: manifest.json is missing"):
            open_dataset(tmp_path / "nowhere")


@pytest.fixture(scope="module", params=["with locks", "without locks"])
def writers(request):
    """A function that has two processes make a dataset at once, each its own call, and returns what they print."""
    command = [sys.executable, str(PROGRAM.parent / "writers.py"), request.param]
    with ExitStack() as running:
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        pair = [running.enter_context(subprocess.Popen(command, **pipe)) for _ in range(2)]
        assert [writer.stdout.readline() for writer in pair] == 2 * ["ready\n"]

        def write(directory, *calls):
            for writer, (source, options) in zip(pair, calls, strict=True):
                arguments = {"count": COUNT, "seed": SEED, "chunk": CHUNK, "directory": str(directory)} | options
                print(json.dumps([source, arguments]), file=writer.stdin, flush=True)
            return [writer.stdout.readline().rstrip() for writer in pair]

        yield write


class TestTwoWriters:
    ROUNDS = 6

    @pytest.mark.parametrize("other", [({}, {"seed": 8}), ({"shift": 5.0}, {}), ({}, {"chunk": 4})])
    def test_other_calls_leave_one_dataset_and_one_refusal(self, original, tmp_path, writers, other):
        """The first manifest counts, whoever wrote it; all chunks are of the call that it describes."""
        source, options = other
        calls = [({}, {}), other]
        expected = [
            original.summary["digest"],
            make(tmp_path / "other", Systems(**source), **options).summary["digest"],
        ]
        for number in range(self.ROUNDS):
            directory = tmp_path / str(number)
            printed = writers(directory, *calls)
            (winner,) = [i for i in range(2) if printed[i] == expected[i]]
            assert printed[1 - winner].startswith("rank 0: DatasetError: ")
            assert "holds another dataset: " in printed[1 - winner] or "another call is writing" in printed[1 - winner]
            dataset = open_dataset(directory)
            assert dataset.complete and dataset.check() == []
            asked = {"seed": SEED, "chunk": CHUNK, "tolerance": 1e-8} | calls[winner][1]
            assert asked == {name: dataset.manifest[name] for name in asked}
            assert not list(directory.rglob(".*.tmp"))

    def test_equal_calls_leave_one_dataset(self, original, tmp_path, writers):
        for number in range(self.ROUNDS):
            directory = tmp_path / str(number)
            printed = writers(directory, ({}, {}), ({}, {}))
            refused = [line for line in printed if line != original.summary["digest"]]
            assert len(refused) <= 1 and all("another call is writing" in line for line in refused)
            dataset = open_dataset(directory)
            assert dataset.complete and dataset.check() == []
            assert dataset.summary["digest"] == original.summary["digest"]

    def test_the_lock_of_a_killed_writer_is_free(self, original, tmp_path):
        directory, log = tmp_path / "dataset", tmp_path / "log"
        arguments = {"count": COUNT, "seed": SEED, "chunk": CHUNK, "directory": str(directory)}
        command = [sys.executable, str(PROGRAM), json.dumps({"log": str(log), "pause": 60.0}), json.dumps(arguments)]
        with subprocess.Popen(command) as process:
            while lines(log) != ["plan", "batch"] and process.poll() is None:
                time.sleep(0.002)
            try:
                with pytest.raises(DatasetError, match=r"another call is writing to .*dataset: wait until"):
                    make(directory)
            finally:
                process.kill()
        assert make(directory).summary["digest"] == original.summary["digest"]

    def test_a_complete_dataset_that_can_only_be_read_is_opened_by_its_call(self, copy):
        (copy / ".lock").unlink()
        (copy / ".lock").mkdir()  # which cannot be opened for writing, by root neither
        assert make(copy).complete

    def test_a_file_system_without_links(self, original, tmp_path, monkeypatch):
        def link(source, target):
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(files.os, "link", link)
        assert make(tmp_path / "dataset").summary["digest"] == original.summary["digest"]
        assert not files.create_sealed(tmp_path / "dataset" / "manifest.json", {})
        assert make(tmp_path / "dataset").check() == [] and not list(tmp_path.rglob(".*.tmp"))

    def test_chunks_of_another_call_are_found_and_made_again(self, original, copy, tmp_path):
        other = make(tmp_path / "other", seed=8)
        for path in [other.directory / "chunks" / "000003.json", *other.directory.glob("data.zarr/*/3*")]:
            shutil.copy(path, copy / path.relative_to(other.directory))
        TestDamage().mend(original, copy, tmp_path / "log", [3])

    def test_chunks_of_a_shorter_dataset_are_found(self, original, copy, tmp_path):
        """Those that a writer of fewer samples left behind the back of one who made more."""
        shorter = make(tmp_path / "shorter", count=22)
        for path in [shorter.directory / "chunks" / "000004.json", *shorter.directory.glob("data.zarr/*/4*")]:
            shutil.copy(path, copy / path.relative_to(shorter.directory))
        assert open_dataset(copy).check() == [4]

    def test_what_others_replace_meanwhile_is_told(self, original, tmp_path):
        """Planted: a writer of another call, that no lock has stopped, replaces the first chunk after it was made."""
        other, directory = make(tmp_path / "other", seed=8), tmp_path / "dataset"

        def replace(batch):
            if finished(directory) == 4:
                shutil.copy(other.directory / "chunks" / "000000.json", directory / "chunks")

        with pytest.raises(DatasetError, match="another process has replaced chunks meanwhile: the same call makes"):
            make(directory, Altered(replace))
        assert not open_dataset(directory).complete and open_dataset(directory).check() == [0]
        with pytest.warns(
            UserWarning, match="1 of 5 chunks are missing, damaged or of another call, and made again: 0"
        ):
            assert make(directory).summary["digest"] == original.summary["digest"]


class TestFailures:
    BAD = tuple(number for number in range(COUNT) if draw(number).random() < 0.15)

    def test_stop(self, tmp_path):
        assert 10 > self.BAD[0] >= 5 and len(self.BAD) < 6
        with pytest.raises(ConvergenceError) as raised:
            make(tmp_path, Systems(failing=0.15))
        first = self.BAD[0]
        assert str(raised.value).startswith(f"sample {first}: drew {draw(first).random():.3f}")
        assert "on_failure='skip' leaves such samples out; finished chunks are kept" in str(raised.value)
        assert finished(tmp_path) == 1 and not open_dataset(tmp_path).complete

    def test_skip(self, original, tmp_path):
        dataset = make(tmp_path, Systems(failing=0.15), on_failure="skip")
        assert dataset.complete and dataset.check() == []
        assert dataset.summary["failures"] == {str(i): f"drew {draw(i).random():.3f}" for i in self.BAD}
        good = [number for number in range(COUNT) if number not in self.BAD]
        for name in ("matrix", "solution", "residual", "bound"):
            assert np.array_equal(dataset[name][:][good], original[name][:][good])
            assert np.isnan(dataset[name][:][list(self.BAD)]).all()
        assert dataset.summary["worst_residual"] == original["residual"][:][good].max()
        assert f"failures        {len(self.BAD)}; sample {self.BAD[0]}: drew " in str(dataset)
        assert make(tmp_path, Systems(failing=0.15), on_failure="skip").summary == dataset.summary

    def test_stop_then_skip_then_stop(self, tmp_path):
        log = tmp_path / "log"
        source, directory = Systems(failing=0.15, log=str(log)), tmp_path / "dataset"
        with pytest.raises(ConvergenceError):
            make(directory, source)
        assert make(directory, source, on_failure="skip").complete
        assert lines(log).count("batch") == 6 and lines(log).count("plan") == 1
        with pytest.raises(ConvergenceError, match=f"sample {self.BAD[0]}: "):
            make(directory, source)
        assert lines(log).count("batch") == 6 and open_dataset(directory).complete

    def test_all_fail(self, tmp_path):
        dataset = make(tmp_path, Systems(failing=1.0), on_failure="skip")
        assert dataset.complete and dataset.check() == [] and np.isnan(dataset["solution"][:]).all()
        assert dataset.summary["worst_residual"] is None and "worst none" in str(dataset)
        with pytest.raises(ConvergenceError, match=r"sample 4: .*; and 18 more\. on_failure"):
            make(tmp_path, Systems(failing=1.0))

    def test_values_that_are_not_finite_are_failures(self, tmp_path, monkeypatch):
        def batch(self, plan, generators, tolerance):
            ones = np.ones(len(generators))
            solutions = np.outer(ones, ones[: self.size].repeat(2)[: self.size])
            solutions[1, 2] = np.inf
            residuals = np.where(np.arange(len(ones)) == 0, np.nan, 1e-9)
            matrices = np.ones((len(ones), self.size, self.size))
            return Batch({"matrix": matrices, "solution": solutions}, residuals, -np.sqrt(-ones - 0j).real * np.nan)

        monkeypatch.setattr(Systems, "batch", batch)
        dataset = make(tmp_path, count=5, on_failure="skip")
        assert dataset.summary["failures"] == {"0": "residual is not finite", "1": "solution is not finite"}
        assert np.isnan(dataset["matrix"][:2]).all() and np.isfinite(dataset["matrix"][2:]).all()
        assert np.isnan(dataset["bound"][:]).all() and dataset.summary["worst_bound"] is None
        assert dataset.check() == []

    @pytest.mark.parametrize("name", ["matrix", "solution"])
    def test_wrong_shapes_are_told(self, tmp_path, monkeypatch, name):
        monkeypatch.setattr(Systems, "shapes", {"matrix": (6, 6), "solution": (6,)} | {name: (3,)})
        with pytest.raises(DatasetError, match=rf"the source gave {name} the shape \(5, 6.*\), not \(5, 3\)"):
            make(tmp_path)

    def test_an_array_that_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Systems, "shapes", {"state": (3,)})
        with pytest.raises(DatasetError, match=r"the source gave state the shape \(0,\), not \(5, 3\)"):
            make(tmp_path)


class TestWorkers:
    """The trouble is in the third of five chunks."""

    @pytest.mark.parametrize(
        ("trouble", "error", "message"),
        [
            ("divide", ZeroDivisionError, "^unforeseen"),
            ("die", DatasetError, "a worker process died: .*finished chunks are kept"),
        ],
    )
    def test_an_error_stops_all(self, original, tmp_path, trouble, error, message):
        with pytest.raises(error, match=message) as raised:
            make(tmp_path, Systems(trouble=trouble), processes=2)
        if trouble == "divide":
            assert "in batch" in raised.value.__notes__[0]
        assert 1 <= finished(tmp_path) <= 3
        assert make(tmp_path).summary["digest"] == original.summary["digest"]

    def test_failures_of_samples(self, tmp_path):
        with pytest.raises(ConvergenceError, match=f"^sample {TestFailures.BAD[0]}: drew "):
            make(tmp_path, Systems(failing=0.15), processes=2, count=10)
        assert finished(tmp_path) <= 1

    def test_a_source_that_cannot_be_sent(self, tmp_path):
        @dataclass(frozen=True)
        class Local(Systems):
            pass

        with pytest.raises(DatasetError, match=r"cannot be sent to other processes \(.*Local.*\): take class"):
            make(tmp_path / "dataset", Local(), processes=2)
        assert not (tmp_path / "dataset").exists()
        assert make(tmp_path / "dataset", Local()).complete

    def test_a_source_of_an_interactive_session(self, tmp_path, monkeypatch):
        session = ModuleType("__main__")
        session.Own = type("Own", (Systems,), {"__module__": "__main__"})
        monkeypatch.setitem(sys.modules, "__main__", session)
        with pytest.raises(DatasetError, match="it is defined in an interactive session"):
            make(tmp_path / "dataset", session.Own(), processes=2)

    def test_the_keyboard(self, original, tmp_path):
        with pytest.raises(KeyboardInterrupt, match="finished chunks are kept, and the same call goes on from there"):
            make(tmp_path, Systems(trouble="interrupt"))
        assert finished(tmp_path) == 2
        assert make(tmp_path).summary["digest"] == original.summary["digest"]

    def test_the_keyboard_and_workers(self, tmp_path):
        directory, log = tmp_path / "dataset", tmp_path / "log"
        call = {"count": COUNT, "seed": SEED, "chunk": CHUNK, "directory": str(directory), "processes": 2}
        source = {"log": str(log), "pause": 0.3}
        command = [sys.executable, str(PROGRAM), json.dumps(source), json.dumps(call)]
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
        while lines(log).count("batch") < 3:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGINT)
        errors = process.communicate()[1]
        assert process.returncode not in (0, None) and errors.count("Traceback") == 1
        assert errors.endswith("finished chunks are kept, and the same call goes on from there.\n")
        assert finished(directory) >= 1 and not list(directory.rglob(".*.tmp"))


class TestWrongCalls:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"count": 0}, "count is an integer, 1 or more, not 0"),
            ({"count": 2.0}, "count is an integer, 1 or more, not 2.0"),
            ({"count": True}, "count is an integer"),
            ({"chunk": 0}, "chunk is an integer, 1 or more, not 0"),
            ({"chunk": None}, "chunk is an integer, 1 or more, not None"),
            ({"chunk": 10**8}, "chunk: 100000000 samples of matrix have over 2 GB: take 7456540 or fewer"),
            ({"processes": 0}, "processes is an integer, 1 or more, not 0"),
            ({"processes": "all"}, "processes is an integer, 1 or more, not 'all'"),
            ({"seed": -1}, "seed is an integer, 0 or more, not -1"),
            ({"seed": None}, "seed is an integer, 0 or more, not None"),
            ({"tolerance": 0.0}, "tolerance is a number between 0 and 1, not 0.0"),
            ({"tolerance": 1}, "tolerance is a number between 0 and 1, not 1"),
            ({"tolerance": float("nan")}, "tolerance is a number between 0 and 1, not nan"),
            ({"tolerance": "small"}, "tolerance is a number between 0 and 1, not 'small'"),
            ({"tolerance": 1e-15}, "tolerance 1e-15 is below what arithmetic allows: take 1e-14 or more"),
            ({"on_failure": "ignore"}, "unknown on_failure 'ignore': take 'stop' or 'skip'"),
            ({"source": "poisson"}, "expected a Source, got str"),
            ({"source": Systems(shift=float("nan"))}, "the definition and the plan of a source are JSON values"),
        ],
    )
    def test_are_told_before_any_work(self, tmp_path, options, message):
        with pytest.raises(DatasetError, match=message):
            make(tmp_path / "dataset", **({"source": Systems(log=str(tmp_path / "log"))} | options))
        assert not list(tmp_path.iterdir())

    def test_unknown_strategy(self, tmp_path):
        with pytest.raises(ProblemError, match="unknown strategy 'magic'"):
            make(tmp_path / "dataset", strategy="magic")
        assert make(tmp_path / "dataset").complete

    def test_numbers_of_numpy(self, original, tmp_path):
        numbers = {"count": np.int64(COUNT), "seed": np.uint32(SEED), "chunk": np.int32(CHUNK)}
        other = make(tmp_path, tolerance=np.float64(1e-8), **numbers)
        assert other.manifest == original.manifest

    def test_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(DatasetError, match="file is a file: give a directory"):
            make(tmp_path / "file")

    def test_a_directory_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(DatasetError, match=r"file/dataset cannot be written \(Not a directory\)"):
            make(tmp_path / "file" / "dataset", Systems(log=str(tmp_path / "log")))
        assert lines(tmp_path / "log") == []

    @pytest.mark.parametrize("name", ["zarr", "tqdm", "threadpoolctl"])
    def test_without_a_library(self, tmp_path, monkeypatch, name):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(DatasetError, match=f"datasets need {name}: pip install zarr threadpoolctl tqdm"):
            make(tmp_path / "dataset")


class TestProgress:
    def terminal(self, monkeypatch):
        stream = io.StringIO()
        stream.isatty = lambda: True
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    def test_forced(self, tmp_path, capsys):
        make(tmp_path, progress=True)
        shown = capsys.readouterr()
        assert "23/23" in shown.err and "sample/s" in shown.err and shown.out == ""

    def test_gone_on_with(self, tmp_path, capsys):
        make(tmp_path, count=10)
        make(tmp_path, progress=True)
        assert "10/23" in capsys.readouterr().err

    @pytest.mark.parametrize("progress", [None, False])
    def test_silent_without_a_terminal(self, tmp_path, capsys, progress):
        make(tmp_path, progress=progress)
        assert capsys.readouterr() == ("", "")

    def test_silent_on_a_terminal_for_two_seconds(self, tmp_path, monkeypatch):
        terminal = self.terminal(monkeypatch)
        make(tmp_path)
        assert terminal.getvalue() == ""

    def test_on_a_terminal_later(self, tmp_path, monkeypatch):
        tqdm, terminal, clock = pytest.importorskip("tqdm"), self.terminal(monkeypatch), iter(range(10**6))
        bar = tqdm.tqdm

        def fast(*args, **options):
            assert options["delay"] == 2
            made = bar(*args, **options)
            made._time = lambda: made.start_t + 10 + next(clock)
            return made

        monkeypatch.setattr(tqdm, "tqdm", fast)
        make(tmp_path)
        assert "23/23" in terminal.getvalue()


@dataclass(frozen=True)
class Family(Systems):
    """Small systems."""

    exact: bool = False


class TestCommand:
    @pytest.fixture(autouse=True)
    def families(self, monkeypatch):
        module = ModuleType("pdecontrol.learn.catalogue")
        module.FAMILIES = {"systems": Family, "more": Systems}
        monkeypatch.setitem(sys.modules, module.__name__, module)

    def test_generates(self, tmp_path, capsys):
        arguments = ["generate", "systems", "size=4", "shift=5", "exact=true", "--count", "7", "--seed", "3"]
        arguments += ["--output", str(tmp_path / "new"), "--tolerance", "1e-6", "--strategy", "direct", "--chunk", "2"]
        assert cli.main([*arguments, "--on-failure", "skip"]) == 0
        dataset = open_dataset(tmp_path / "new")
        assert isinstance(dataset, Dataset) and dataset.complete
        assert dataset.manifest["definition"] == Systems(size=4, shift=5.0).definition
        asked = [dataset.manifest[name] for name in ("count", "seed", "tolerance", "strategy", "chunk", "on_failure")]
        assert asked == [7, 3, 1e-6, "direct", 2, "skip"]
        assert capsys.readouterr().out == f"{dataset}\n"

    def test_defaults(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert cli.main(["generate", "systems"]) == 0
        manifest = open_dataset(Path("results") / "systems").manifest
        assert [manifest[name] for name in ("count", "seed", "chunk", "tolerance")] == [100, 0, 100, 1e-8]

    def test_list(self, capsys):
        assert cli.main(["generate", "--list"]) == 0
        out = capsys.readouterr().out
        assert out.startswith("systems              Small systems.\n")
        assert "size=6 shift=4.0 failing=0.0 log= pause=0.0 trouble= exact=False" in out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "name a family; there are: systems, more"),
            (["poisson"], "there is no family 'poisson'; there are: systems, more"),
            (["systems", "width=3"], "'width=3' is no parameter; there are: size=6 shift=4.0 "),
            (["systems", "size"], "'size' is no parameter; there are: "),
            (["systems", "size=big"], "size=big: expected a value of type int"),
            (["systems", "size=2.5"], "size=2.5: expected a value of type int"),
            (["systems", "shift="], "shift=: expected a value of type float"),
            (["systems", "exact=maybe"], "exact=maybe: expected a value of type bool"),
        ],
    )
    def test_unknown_names_and_values(self, arguments, message, capsys, tmp_path):
        assert cli.main(["generate", *arguments, "--output", str(tmp_path / "new")]) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith(f"pdecontrol: {message}") and printed.err.count("\n") == 1
        assert printed.out == "" and not (tmp_path / "new").exists()

    def test_a_parameter_without_default(self, capsys, monkeypatch):
        @dataclass(frozen=True)
        class Bare:
            """Nothing."""

            length: float

        monkeypatch.setitem(sys.modules["pdecontrol.learn.catalogue"].FAMILIES, "bare", Bare)
        assert cli.main(["generate", "bare"]) == 2
        assert capsys.readouterr().err == "pdecontrol: length has no default: give length=VALUE\n"
        assert cli.main(["generate", "--list"]) == 0
        assert "length=.." in capsys.readouterr().out

    def test_errors_and_the_keyboard(self, tmp_path, capsys):
        output = ["--output", str(tmp_path / "new")]
        assert cli.main(["generate", "systems", "failing=1", *output]) == 1
        assert capsys.readouterr().err.startswith("pdecontrol: sample 0: drew ")
        assert cli.main(["generate", "systems", "--count", "0", *output]) == 1
        assert capsys.readouterr().err == "pdecontrol: count is an integer, 1 or more, not 0.\n"
        output[1] += "er"
        assert cli.main(["generate", "systems", "trouble=interrupt", "--seed", str(SEED), *output]) == 130
        error = capsys.readouterr().err
        assert error.startswith("pdecontrol: interrupted: ") and error.endswith("goes on from there.\n")
