"""Datasets of solved samples: the same from any number of processes, and whole after any interruption."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..agreement import compare
from ..errors import DatasetError
from ..linear.petsc import load
from ..parallel import Group, world
from .chunks import Maker, refuse
from .files import GOES_ON, LOCK, MANIFEST, SUMMARY, Files, alone, extra, read, write_sealed, writing
from .manifest import FORMAT, begin, checked_call, differences, integer, versions
from .source import Source
from .workers import check_sending, divide, share


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
    group = world()
    arguments: dict[str, Any] = {"count": count, "seed": seed, "tolerance": tolerance, "strategy": strategy,
                                 "chunk": chunk, "on_failure": on_failure}  # fmt: skip
    _compare(group, source, arguments | {"processes": processes})
    call = checked_call(source, **arguments)
    return _generate(source, call, Path(directory), processes, progress, group)


def _generate(
    source: Source, call: dict[str, Any], directory: Path, processes: int, progress: bool | None, group: Group
) -> Dataset:
    if integer("processes", processes, 1) > 1:
        if group.size > 1:
            raise DatasetError(f"the {group.size} processes of mpirun divide the chunks: leave processes=1.")
        check_sending(source)
    with group.together(), ExitStack() as held:
        directory = Path(group.share(str(directory)))
        if group.size > 1 and find_spec("petsc4py"):
            with group.agree():
                load()  # PETSc begins on all ranks together, or waits for those where it does not
        group.on_root(lambda: held.enter_context(_enter(directory)))
        files = Files(directory, group.on_root(lambda: begin(source, directory, call)))
        group.on_root(files.prepare)
        with group.agree():
            lost = files.lost(files.chunks[group.rank :: group.size])
        todo = sorted(number for numbers in group.collect(lost) for number in numbers)
        group.on_root(lambda: _announce(files, todo))
        work = Maker(source, files).make
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


def _announce(files: Files, todo: list[int]) -> None:
    """Say what is unexpected before chunks are made, and let the dataset be complete no more."""
    summary = files.directory / SUMMARY
    damaged = [number for number in todo if summary.exists() or files.record(number).exists()]
    if damaged:
        numbers = ", ".join(map(str, damaged[:10])) + (", .." if len(damaged) > 10 else "")
        warnings.warn(
            f"{files.directory}: {len(damaged)} of {len(files.chunks)} chunks are missing, damaged or of another call, "
            f"and made again: {numbers}", stacklevel=7,
        )  # fmt: skip
    changes = differences(files.manifest["versions"], versions())
    if todo and changes:
        warnings.warn(f"{files.directory}: rounding may differ: {'; '.join(changes)}", stacklevel=7)
    if files.manifest["on_failure"] == "stop":
        refuse(files.summary()["failures"])
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
