"""The one loop of trainings: it alone stops, keeps the best weights, prints and saves."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..errors import ResultFileError
from ..files import read_arrays, readable, write_arrays
from ..result import Status
from ..solvers.checkpoint import Checkpoint
from .system import System
from .training import Step, Task

Arrays = Mapping[str, Array]

SMALL = 0.01  # residual at the points held out, relative to the data, from which networks are worth something
RISE = 10.0  # of that residual above its best value, by which a training diverges
PATIENCE = 20  # records in a row above


class Stage(NamedTuple):
    """Where a training is after some iterations.

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


Stages = Callable[[Stage | None], Iterator[Stage]]


class Monitor:
    """Runs a training up to its limits, which count earlier runs that it goes on from.

    Parameters
    ----------
    task : what is trained.
    method : the training but for its limits: a run can go on from the file of another with different ones.
    iterations, seconds : the limits.

    Attributes
    ----------
    steps : the history.
    best : the stage with the smallest residual at the points held out.

    Raises
    ------
    ResultFileError
        If the checkpoint cannot be written, or is that of another training or of a run that would be lost.
    """

    def __init__(self, task: Task, method: str, iterations: float, seconds: float) -> None:
        self.steps: list[Step] = []
        self.best: Stage | None = None
        self._last: Stage | None = None
        self._limits = iterations, seconds
        self._file = None
        if task.checkpoint is not None:
            self._file = _File(task.checkpoint, _digest(task), method)
            self._last, self.best, self.steps = self._file.read()
        self._clock = perf_counter() - (self.steps[-1].seconds if self.steps else 0.0)
        self._printer = _Printer(task.progress, self._limits)

    def run(self, stages: Stages) -> tuple[Status, str]:
        """Why the training ended, and what is to be said of that.

        `stages` takes the stage to go on from, None for a beginning, of which the first stage yielded is iteration 0;
        a generator that ends has nothing to improve. Once a limit is met the status is CONVERGED if the residual at
        the points held out is small, and ITERATIONS else; if nothing improves, CONVERGED or STALLED; OVERFLOW where
        numbers are not finite any more, FAILED where the residual at the points held out rises, which is that of too
        few points or too large steps; and INTERRUPTED by Ctrl-C.
        """
        iterator = stages(self._last)
        end = self._end()
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                while end is None:
                    stage = next(iterator, None)
                    if stage is None:
                        end = self._judged(Status.STALLED), "nothing improves any more"
                    else:
                        self._record(stage)
                        end = self._end()
        except KeyboardInterrupt:
            end = Status.INTERRUPTED, "interrupted by the keyboard"
        self._save(always=True)
        if self.steps:
            self._printer.close(self.steps[-1])
        return end

    def _record(self, stage: Stage) -> None:
        step = Step(stage.iteration, stage.residual, stage.held_out, perf_counter() - self._clock)
        self.steps.append(step)
        if not _finite(step):
            return  # the file keeps the stage before
        self._last = stage
        if self.best is None or stage.held_out < self.best.held_out:
            self.best = stage
        self._printer.show(step)
        self._save()

    def _end(self) -> tuple[Status, str] | None:
        if not self.steps:
            return None
        step, (iterations, seconds) = self.steps[-1], self._limits
        if not _finite(step):
            return Status.OVERFLOW, f"the training diverged, its residual is not finite in iteration {step.iteration}"
        assert self.best is not None
        recent = [row.held_out for row in self.steps[-PATIENCE:]]
        if len(recent) == PATIENCE and min(recent) > RISE * self.best.held_out:
            return Status.FAILED, (
                f"the training diverged: at points held out the residual rose from {self.best.held_out:.1e} in "
                f"iteration {self.best.iteration} to {step.held_out:.1e}, take more points or smaller steps"
            )
        if step.iteration >= iterations:
            return self._judged(Status.ITERATIONS), f"{step.iteration} iterations"
        if step.seconds >= seconds:
            return self._judged(Status.ITERATIONS), f"{step.seconds:.0f} seconds"
        return None

    def _judged(self, otherwise: Status) -> Status:
        return Status.CONVERGED if self.best is not None and self.best.held_out <= SMALL else otherwise

    def _save(self, always: bool = False) -> None:
        if self._file is None or self._last is None or self.best is None or not (always or self._file.due(self._last)):
            return
        try:
            self._file.write(self._last, self.best, [step for step in self.steps if _finite(step)])
        except ResultFileError as error:  # the run is worth more, but for a path that never was one
            if self._last.iteration == 0:
                raise
            warnings.warn(f"no checkpoint: {error}", stacklevel=4)


class _File:
    """The checkpoint of a training: the last stage and the best one, with the history."""

    def __init__(self, checkpoint: Checkpoint, digest: str, method: str) -> None:
        self._checkpoint, self._path = checkpoint, checkpoint.file
        self._digest, self._method = digest, method
        self._time, self._iteration = -np.inf, 0

    def due(self, stage: Stage) -> bool:
        late = perf_counter() - self._time >= self._checkpoint.seconds
        return late or stage.iteration - self._iteration >= self._checkpoint.iterations

    def write(self, last: Stage, best: Stage, steps: list[Step]) -> None:
        self._time, self._iteration = perf_counter(), last.iteration
        header: dict[str, Any] = {"kind": "training", "fingerprint": self._digest, "method": self._method}
        arrays = {"steps": np.array(steps)}
        for name, stage in (("last", last), ("best", best)):
            header[name] = list(stage[:3])
            for kind in ("weights", "rest"):
                arrays |= {f"{name}.{kind}.{key}": np.asarray(value) for key, value in getattr(stage, kind).items()}
        write_arrays(self._path, header, arrays)

    def read(self) -> tuple[Stage | None, Stage | None, list[Step]]:
        """The last and the best stage and the history, or nothing where there is no file."""
        if not self._path.exists():
            return None, None, []
        with readable(self._path):
            header, arrays = read_arrays(self._path, "training")
            last, best = (_unpacked(name, header[name], arrays) for name in ("last", "best"))
            steps = [Step(int(row[0]), *row[1:].tolist()) for row in arrays["steps"]]
        if not self._checkpoint.restart:
            if last.iteration:
                raise ResultFileError(
                    f"{self._path} is the checkpoint of a training after {last.iteration} iterations, which a new one "
                    "would write over: go on from it by restart=True, give another name, or delete it."
                )
            return None, None, []
        if header["fingerprint"] != self._digest:
            raise ResultFileError(f"{self._path} is the checkpoint of a different problem, trial space or seed.")
        if header["method"] != self._method:
            raise ResultFileError(f"{self._path} is a checkpoint of {header['method']}, not of {self._method}.")
        self._time, self._iteration = perf_counter(), last.iteration
        return last, best, steps


class _Printer:
    """Prints rows on the terminal: always, never, or (None) on a terminal once two seconds have passed."""

    def __init__(self, progress: bool | None, limits: tuple[float, float]) -> None:
        self._wait = 0.0 if progress is True else 2.0
        self._quiet = progress is False or (progress is None and not sys.stderr.isatty())
        self._limits = limits
        self._last: Step | None = None

    def show(self, step: Step) -> None:
        """One row each half second."""
        if self._quiet or step.seconds < self._wait or (self._last and step.seconds - self._last.seconds < 0.5):
            return
        if self._last is None:
            self._print(("iteration", "residual", "held out", "seconds", "remaining"))
        self._row(step)

    def close(self, last: Step) -> None:
        """The last row, where some were printed."""
        if self._last is not None:
            if self._last is not last:
                self._row(last)
            print(file=sys.stderr)

    def _row(self, step: Step) -> None:
        self._last, left = step, self._remaining(step)
        remaining = f"{left:.0f}" if np.isfinite(left) else ""
        self._print((step.iteration, f"{step.residual:.2e}", f"{step.held_out:.2e}", f"{step.seconds:.1f}", remaining))

    def _remaining(self, step: Step) -> float:
        """Seconds to the nearer limit."""
        iterations, seconds = self._limits
        each = step.seconds / max(step.iteration, 1)
        return max(min(seconds - step.seconds, (iterations - step.iteration) * each), 0.0)

    def _print(self, cells: tuple[object, ...]) -> None:
        print(" ".join(f"{cell!s:>10}" for cell in cells), file=sys.stderr, flush=True)


def _finite(step: Step) -> bool:
    return bool(np.isfinite([step.residual, step.held_out]).all())


def _unpacked(name: str, numbers: list[float], arrays: Arrays) -> Stage:
    weights, rest = (
        {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}
        for start in (f"{name}.weights.", f"{name}.rest.")
    )
    return Stage(int(numbers[0]), float(numbers[1]), float(numbers[2]), weights, rest)


def _digest(task: Task) -> str:
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
