"""The file of a training, from which it goes on as if there had been no stop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ...arrays import Array
from ...errors import ResultFileError
from ...files import read_arrays, readable, write_arrays
from ...solvers.checkpoint import Checkpoint
from ..system.system import System
from .training import Step, Task

Arrays = Mapping[str, Array]


class Stage(NamedTuple):
    """Where a training is after some iterations of a start.

    Attributes
    ----------
    residual, held_out : |r| at the points and at those held out, relative to `System.scale`.
    weights : of the networks, arrays that are not changed afterwards.
    rest : what else is needed to go on from here as if there had been no stop.
    """

    iteration: int
    residual: float
    held_out: float
    weights: Arrays
    rest: Arrays


class Saved(NamedTuple):
    """The last and the best stage, the history, the number of the start, the iterations before it, and what to note."""

    last: Stage
    best: Stage
    steps: list[Step]
    start: int
    offset: int
    note: str


class Archive:
    """The file of one training; one that goes on from it has the same fingerprint and the same method."""

    def __init__(self, checkpoint: Checkpoint, task: Task, method: str) -> None:
        self._checkpoint, self._path = checkpoint, checkpoint.file
        self._fingerprint, self._method = fingerprint(task), method
        self._time, self._iteration = -np.inf, 0

    def due(self, iteration: int) -> bool:
        """Whether it is time to save."""
        late = perf_counter() - self._time >= self._checkpoint.seconds
        return late or iteration - self._iteration >= self._checkpoint.iterations

    def write(self, saved: Saved) -> None:
        self._time, self._iteration = perf_counter(), saved.steps[-1].iteration
        header: dict[str, Any] = {"kind": "training", "fingerprint": self._fingerprint, "method": self._method}
        header |= {"start": saved.start, "offset": saved.offset, "note": saved.note}
        arrays = {"steps": np.array(saved.steps)}
        for name, stage in (("last", saved.last), ("best", saved.best)):
            header[name] = [stage.iteration, stage.residual, stage.held_out]
            for kind in ("weights", "rest"):
                arrays |= {f"{name}.{kind}.{key}": np.asarray(value) for key, value in getattr(stage, kind).items()}
        write_arrays(self._path, header, arrays)

    def read(self) -> Saved | None:
        """What the file has, nothing where it is not there or has no more than a beginning; raises ResultFileError."""
        if not self._path.exists():
            return None
        with readable(self._path):
            header, arrays = read_arrays(self._path, "training")
            last, best = (_unpacked(name, header[name], arrays) for name in ("last", "best"))
            steps = [Step(int(row[0]), *row[1:].tolist()) for row in arrays["steps"]]
            saved = Saved(last, best, steps, header["start"], header["offset"], header["note"])
        if not self._checkpoint.restart:
            if steps[-1].iteration:
                raise ResultFileError(
                    f"{self._path} is the checkpoint of a training after {steps[-1].iteration} iterations, which a new "
                    "one would write over: go on from it by restart=True, give another name, or delete it."
                )
            return None
        if header["fingerprint"] != self._fingerprint:
            raise ResultFileError(f"{self._path} is the checkpoint of a different problem, trial space or seed.")
        if header["method"] != self._method:
            raise ResultFileError(f"{self._path} is a checkpoint of {header['method']}, not of {self._method}.")
        self._time, self._iteration = perf_counter(), steps[-1].iteration
        return saved


def _unpacked(name: str, numbers: list[float], arrays: Arrays) -> Stage:
    weights, rest = (
        {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}
        for start in (f"{name}.weights.", f"{name}.rest.")
    )
    return Stage(int(numbers[0]), float(numbers[1]), float(numbers[2]), weights, rest)


def fingerprint(task: Task) -> str:
    """A checksum of the systems and the seed, by which a checkpoint recognises its training."""
    checksum = hashlib.sha256(str(task.seed).encode())
    for system in (task.system, task.held_out):
        for array in _contents(system):
            checksum.update(np.ascontiguousarray(array).tobytes())
    return checksum.hexdigest()


def _contents(system: System) -> Iterator[Array]:
    for block in system.blocks:
        yield block.load
        for operator in (*block.operators, *([] if block.other is None else [block.other])):
            yield from (array for array in vars(operator).values() if array is not None)
        if block.factor is not None:
            yield block.factor
        if block.control is not None:
            yield from map(np.asarray, block.control)
