"""Datasets of solved samples: the same from any number of processes, and whole after any interruption."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from numbers import Integral, Real
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import scipy

import pdecontrol

from ..agreement import compare
from ..arrays import Array
from ..errors import ConvergenceError, DatasetError
from ..linear.petsc import load
from ..parallel import Group, world
from .files import (
    GOES_ON,
    LARGEST,
    LOCK,
    MANIFEST,
    SUMMARY,
    Files,
    alone,
    create_sealed,
    extra,
    read,
    write_sealed,
    writing,
)
from .source import Batch, Source
from .workers import check_sending, divide, share

FORMAT = 2
_LOOKED_AT = 12  # samples that the plan is chosen by
_NO_SAMPLE = 2**32 - 1  # a number that no sample has: their random numbers are none of a sample


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples of a family of equations on disk; dataset["solution"][:100] reads what it is asked for.

    Attributes
    ----------
    directory : where it is.
    manifest : what the samples are, and the plan by which they were solved.
    summary : number of samples, worst and median residual, worst bound, failures by sample, costs, and a checksum.
    """

    directory: Path
    manifest: dict[str, Any]
    summary: dict[str, Any]

    def __len__(self) -> int:
        return int(self.manifest["count"])

    def __getitem__(self, name: str) -> Any:
        if name not in self.arrays:
            raise KeyError(f"there is no array {name!r}; there are: {', '.join(self.arrays)}")
        return self.arrays[name]

    @property
    def complete(self) -> bool:
        """Whether all samples are there."""
        return bool(self.summary["samples"] == len(self))

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """The zarr arrays by name; NaN in samples that failed or are not there yet."""
        return self._files.arrays()

    def check(self) -> list[int]:
        """The chunks that are missing, damaged by their checksums, or of another call: `generate` makes them again."""
        return self._files.lost(self._files.chunks)

    @property
    def _files(self) -> Files:
        return Files(self.directory, self.manifest)

    def __repr__(self) -> str:
        return f"<Dataset: {self.summary['samples']} of {len(self)} samples, {self.directory}>"

    def __str__(self) -> str:
        manifest, summary, plan = self.manifest, self.summary, self.manifest["plan"]
        parameters = dict(manifest["definition"])
        family = parameters.pop("family", "samples")
        strategy, failures = plan.get("strategy", manifest["strategy"]), summary["failures"]
        seconds = {name: value for name, value in summary["counts"].items() if name.split()[0] == "seconds"}
        each = {name: f"{1e3 * value / summary['samples']:.3g} ms" for name, value in seconds.items()}
        total = each.pop("seconds", "unknown")
        stages = ", ".join(f"{name.removeprefix('seconds ')} {time}" for name, time in each.items())
        worst, median, bound = (
            "none" if summary[name] is None else f"{summary[name]:.1e}"
            for name in ("worst_residual", "median_residual", "worst_bound")
        )
        unbounded = f", none for {summary['without_bound']} samples" if summary["without_bound"] else ""
        first = next((f"; sample {number}: {reason}" for number, reason in failures.items()), "")
        return "\n".join([
            f"{'family':<15} {family}: {', '.join(f'{name}={value}' for name, value in parameters.items())}",
            f"{'samples':<15} {summary['samples']} of {len(self)}, seed {manifest['seed']}",
            f"{'strategy':<15} {strategy}" + (f" ({plan['reason']})" if "reason" in plan else ""),
            f"{'residual':<15} worst {worst}, median {median}, tolerance {manifest['tolerance']:g}",
            f"{'certificate':<15} worst bound on the relative error in the energy norm: {bound}{unbounded}",
            f"{'failures':<15} {len(failures) or 'none'}{first}",
            f"{'time':<15} {total} a sample" + (f" ({stages})" if stages else ""),
            f"{'size':<15} {self._files.size / 1e6:.3g} MB in {self.directory}",
        ])  # fmt: skip


def open_dataset(directory: str | Path) -> Dataset:
    """The dataset that `generate` wrote to a directory, complete or not; raises DatasetError if there is none."""
    directory = Path(directory)
    if not (directory / MANIFEST).exists():
        raise DatasetError(f"there is no dataset in {directory}: {MANIFEST} is missing.")
    manifest = read(directory / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise DatasetError(f"{directory} is a dataset of another version of pdecontrol.")
    return Dataset(directory, manifest, Files(directory, manifest).summary())


def generate(
    source: Source,
    count: int,
    seed: int,
    directory: str | Path,
    *,
    tolerance: float = 1e-8,
    strategy: str = "auto",
    processes: int = 1,
    chunk: int = 100,
    on_failure: str = "stop",
    progress: bool | None = None,
) -> Dataset:
    """A(a_i) y_i = f(a_i), i < count: draw samples of a family, solve each to a tolerance, keep all of it on disk.

    Parameters
    ----------
    source : the family of equations.
    count, seed : sample i is drawn by ``default_rng(SeedSequence(seed, spawn_key=(i,)))``, whatever the count.
    directory : where to write; on several ranks, that of rank 0. A call that was interrupted goes on when it is
        repeated; chunks that are missing, damaged or of another call are made again; a larger count extends the
        dataset, by the same plan. Only one call at a time writes to a directory.
    tolerance : of the relative residual of each sample.
    strategy : how to solve, a name that the source knows; "auto" measures.
    processes : on this machine; under mpirun the ranks divide the chunks instead. The values are the same.
    chunk : how many samples are solved and written together.
    on_failure : "stop" raises ConvergenceError for a sample that cannot be solved, "skip" leaves it NaN and counts it.
    progress : whether to show a bar; None shows it on a terminal once two seconds have passed.

    Raises
    ------
    ProblemError
        For arguments that differ between the processes of mpirun.
    DatasetError
        For wrong arguments, and for a directory with another dataset or other files, or that another call is writing
        to, before any work; for files that cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from pdecontrol.learn.families import Darcy
    >>> with TemporaryDirectory() as folder:
    ...     dataset = generate(Darcy(n=15), count=20, seed=1, directory=f"{folder}/darcy")
    ...     solutions = dataset["solution"][:]
    >>> solutions.shape, dataset.summary["worst_bound"] < 1e-8
    ((20, 17, 17), True)
    """
    group, directory = world(), Path(directory)
    _compare(group, source, {"count": count, "seed": seed, "tolerance": tolerance, "strategy": strategy, "chunk": chunk,
                             "on_failure": on_failure, "processes": processes})  # fmt: skip
    call = _call(source, count, seed, tolerance, strategy, chunk, on_failure)
    if _integer("processes", processes, 1) > 1:
        if group.size > 1:
            raise DatasetError(f"the {group.size} processes of mpirun divide the chunks: leave processes=1.")
        check_sending(source)
    with group.together(), ExitStack() as held:
        directory = Path(group.share(str(directory)))
        if group.size > 1 and find_spec("petsc4py"):
            with group.agree():
                load()  # PETSc begins on all ranks together, or waits for those where it does not
        group.on_root(lambda: held.enter_context(_enter(directory)))
        files = Files(directory, group.on_root(lambda: _manifest(source, directory, call)))
        group.on_root(files.prepare)
        with group.agree():
            lost = files.lost(files.chunks[group.rank :: group.size])
        todo = sorted(number for numbers in group.collect(lost) for number in numbers)
        group.on_root(lambda: _announce(files, todo))
        work = _Maker(source, files).make
        with _bar(files, todo, group, progress) as advance, _interruptible(directory):
            if processes > 1:
                divide(work, todo, processes, advance)
            else:
                share(work, todo, group, advance)
        return Dataset(directory, files.manifest, group.on_root(lambda: _finish(files)))


def _compare(group: Group, source: Any, arguments: dict[str, Any]) -> None:
    with group.agree():
        definition = source.definition if isinstance(source, Source) else type(source).__name__
    compare(group, "generate", {"source": definition, **arguments})


def _call(
    source: Source, count: int, seed: int, tolerance: float, strategy: str, chunk: int, on_failure: str
) -> dict[str, Any]:
    """The checked arguments that determine a dataset, as they stand in its manifest."""
    for name in ("zarr", "numcodecs", "tqdm", "threadpoolctl"):
        extra(name)
    if not isinstance(source, Source):
        raise DatasetError(f"expected a Source, got {type(source).__name__}.")
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 < tolerance < 1:
        raise DatasetError(f"tolerance is a number between 0 and 1, not {tolerance!r}.")
    if tolerance < 1e-14:
        raise DatasetError(f"tolerance {tolerance:g} is below what arithmetic allows: take 1e-14 or more.")
    if on_failure not in ("stop", "skip"):
        raise DatasetError(f"unknown on_failure {on_failure!r}: take 'stop' or 'skip'.")
    shapes = {**source.shapes, "residual": (), "bound": ()}
    for name in shapes:
        if not re.fullmatch(r"\w[\w-]*", name):
            raise DatasetError(f"the source names an array {name!r}: take letters, digits, _ and -.")
    call = {
        "format": FORMAT, "definition": source.definition, "count": _integer("count", count, 1),
        "seed": _integer("seed", seed, 0), "chunk": _integer("chunk", chunk, 1), "tolerance": float(tolerance),
        "strategy": strategy, "on_failure": on_failure,
        "arrays": {name: {"shape": list(shape), "dtype": "<f8"} for name, shape in shapes.items()},
    }  # fmt: skip
    for name, shape in shapes.items():
        size = 8 * int(np.prod(shape, dtype=float))
        if chunk * size > LARGEST:
            raise DatasetError(f"chunk: {chunk} samples of {name} have over 2 GB: take {LARGEST // size} or fewer.")
    return _plain(call)


def _integer(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise DatasetError(f"{name} is an integer, {least} or more, not {value!r}.")
    return int(value)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """What a later run reads of a value in JSON."""
    try:
        return dict(json.loads(json.dumps(value, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise DatasetError(f"the definition and the plan of a source are JSON values ({error}).") from None


def _enter(directory: Path) -> AbstractContextManager[None]:
    """A block in which this call alone writes to a directory, which is made, or holds a dataset or nothing."""
    if directory.exists() and not directory.is_dir():
        raise DatasetError(f"{directory} is a file: give a directory.")
    others = directory.exists() and any(path.name != LOCK and not path.match(".*.tmp") for path in directory.iterdir())
    if others and not (directory / MANIFEST).exists():  # in this order: another call may be creating it
        raise DatasetError(f"{directory} has other files but no {MANIFEST}: give another directory.")
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    return alone(directory)


def _manifest(source: Source, directory: Path, call: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a dataset, which is begun or gone on with."""
    if not (directory / MANIFEST).exists():
        with writing(directory):
            tempfile.TemporaryFile(dir=directory).close()  # before the plan, which takes long
        generators = [_generator(call["seed"], _NO_SAMPLE, i) for i in range(_LOOKED_AT)]
        with _one_thread():
            plan = source.plan(generators, call["count"], call["tolerance"], call["strategy"])
        manifest = {**call, "plan": _plain(plan), "versions": _versions()}
        if create_sealed(directory / MANIFEST, manifest):
            return manifest
    return _go_on(directory, call)


def _go_on(directory: Path, call: dict[str, Any]) -> dict[str, Any]:
    manifest = read(directory / MANIFEST)
    there = {name: manifest.get(name) for name in call}
    extended = manifest.get("count", 0) < call["count"]
    free = {"on_failure", "count"} if extended else {"on_failure"}
    differences = _differences(there | {name: call[name] for name in free}, call)
    if differences:
        raise DatasetError(f"{directory} holds another dataset: {'; '.join(differences)}.")
    if extended:
        files = Files(directory, manifest)
        with writing(directory):  # in this order, so that a kill between them leaves a dataset
            (directory / SUMMARY).unlink(missing_ok=True)
            if manifest["count"] % manifest["chunk"]:
                files.record(files.chunks[-1]).unlink(missing_ok=True)
    if there != call:
        manifest |= call
        write_sealed(directory / MANIFEST, manifest)
    return manifest


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in sorted({*there, *here}):
        a, b = there.get(name), here.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name} is {a!r} there, {b!r} here")
    return found


def _announce(files: Files, todo: list[int]) -> None:
    """Say what is unexpected before chunks are made, and let the dataset be complete no more."""
    summary = files.directory / SUMMARY
    damaged = [number for number in todo if summary.exists() or files.record(number).exists()]
    if damaged:
        numbers = ", ".join(map(str, damaged[:10])) + (", .." if len(damaged) > 10 else "")
        warnings.warn(
            f"{files.directory}: {len(damaged)} of {len(files.chunks)} chunks are missing, damaged or of another call, "
            f"and made again: {numbers}", stacklevel=5,
        )  # fmt: skip
    changes = _differences(files.manifest["versions"], _versions())
    if todo and changes:
        warnings.warn(f"{files.directory}: rounding may differ: {'; '.join(changes)}", stacklevel=5)
    if files.manifest["on_failure"] == "stop":
        _refuse(files.summary()["failures"])
    if todo:
        with writing(summary):
            summary.unlink(missing_ok=True)


def _finish(files: Files) -> dict[str, Any]:
    with suppress(DatasetError):
        return read(files.directory / SUMMARY)
    summary = files.summary()
    if summary["samples"] < files.manifest["count"]:
        raise DatasetError(
            f"{files.directory}: another process has replaced chunks meanwhile: the same call makes them again."
        )
    write_sealed(files.directory / SUMMARY, summary)
    return summary


@dataclass(frozen=True)
class _Maker:
    """What a process needs to make chunks."""

    source: Source
    files: Files

    def make(self, number: int) -> None:
        """Draw, solve, check and write the samples of a chunk."""
        manifest, samples, start = self.files.manifest, self.files.samples(number), perf_counter()
        generators = [_generator(manifest["seed"], sample) for sample in samples]
        with _one_thread():
            batch = self.source.batch(manifest["plan"], generators, manifest["tolerance"])
        arrays, failures = self._checked(batch, samples)
        if manifest["on_failure"] == "stop":
            _refuse(failures)
        counts = {"seconds": perf_counter() - start, **batch.counts}
        report = {
            "samples": len(samples), "failures": failures, "counts": {name: float(n) for name, n in counts.items()},
            "residuals": _numbers(arrays["residual"]), "bounds": _numbers(arrays["bound"]),
        }  # fmt: skip
        self.files.save(number, arrays, report)

    def _checked(self, batch: Batch, samples: range) -> tuple[dict[str, Array], dict[str, str]]:
        """The arrays of a batch, NaN where a sample failed, and what failed by the number of the sample."""
        arrays, failures = {}, dict(batch.failures)
        given = {**batch.arrays, "residual": batch.residuals, "bound": batch.bounds}
        for name, array in self.files.manifest["arrays"].items():
            shape = (len(samples), *array["shape"])
            if np.iscomplexobj(given.get(name, ())):
                raise DatasetError(f"the source gave complex values of {name}: give real and imaginary parts.")
            arrays[name] = np.array(given.get(name, ()), dtype=array["dtype"], order="C")
            if arrays[name].shape != shape:
                raise DatasetError(f"the source gave {name} the shape {arrays[name].shape}, not {shape}.")
            if name != "bound":
                finite = np.isfinite(arrays[name]).all(axis=tuple(range(1, len(shape))))
                failures = {int(i): f"{name} is not finite" for i in np.flatnonzero(~finite)} | failures
        tolerance, residuals = self.files.manifest["tolerance"], arrays["residual"]
        loose = np.flatnonzero(residuals > tolerance * (1 + 1e-12))
        failures = {int(i): f"the residual {residuals[i]:.1e} is above the tolerance" for i in loose} | failures
        if strangers := set(failures) - set(range(len(samples))):
            raise DatasetError(f"the source reports a failure of sample {strangers.pop()} of {len(samples)}.")
        for values in arrays.values():
            values[list(failures)] = np.nan
            values[np.isnan(values)] = np.nan  # all with the same bits, for the checksum
        return arrays, {str(samples[i]): failures[i] for i in sorted(failures)}


def _refuse(failures: dict[str, str]) -> None:
    if failures:
        reasons = "; ".join(f"sample {number}: {reason}" for number, reason in list(failures.items())[:5])
        more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
        raise ConvergenceError(f"{reasons}{more}. on_failure='skip' leaves such samples out; {GOES_ON}.")


def _numbers(values: Array) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _one_thread() -> Any:
    """One thread of BLAS, whose sums are the same in each run."""
    return extra("threadpoolctl").threadpool_limits(1)


def _versions() -> dict[str, str]:
    return {"pdecontrol": pdecontrol.__version__, "numpy": np.__version__, "scipy": scipy.__version__}


@contextmanager
def _bar(files: Files, todo: list[int], group: Group, progress: bool | None) -> Iterator[Callable[[int], object]]:
    """A bar over samples, and what moves it on by a chunk."""
    quiet = not group.root or progress is False or (progress is None and not sys.stderr.isatty())
    left = sum(len(files.samples(number)) for number in todo)
    with extra("tqdm").tqdm(
        total=files.manifest["count"], initial=files.manifest["count"] - left, unit="sample", disable=quiet,
        delay=0 if progress else 2, miniters=1, smoothing=0,
    ) as bar:  # fmt: skip
        yield lambda number: bar.update(len(files.samples(number)))


@contextmanager
def _interruptible(directory: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{directory}: {GOES_ON}.") from None
