"""The one loop of trainings: it alone stops, keeps the best weights, prints and saves."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np

from ...errors import ConvergenceError, ResultFileError
from ...parallel import world
from ...result import Status
from .archive import Archive, Saved, Stage
from .training import Step, Task

SMALL = 0.01  # residual at the points held out, relative to the data, from which networks are worth something
RISE, PATIENCE = 10.0, 20  # of that residual above its best value in so many stages: it diverges
GAIN, WINDOW = 0.99, 50  # of |r|, and the stages within which it falls by that, or nothing improves any more
STARTS = 4  # at most

Stages = Callable[[int, Stage | None], Iterator[Stage]]


class Monitor:
    """Runs a training up to its limits, which count earlier runs that it goes on from.

    A start is given up, and another one made from other random weights, where it diverges (its residual is not finite,
    or at the points held out has been ten times its best value for twenty stages: too few points, or steps too large),
    or where nothing improves (by 1 % within fifty stages), unless it is good and half of the run is over.

    Parameters
    ----------
    task : what is trained.
    method : the training but for its limits: a run can go on from the file of another with different ones.
    iterations, seconds : the limits.

    Attributes
    ----------
    steps : the history.
    best : the stage with the smallest residual at the points held out, of all starts.

    Raises
    ------
    ResultFileError
        If the checkpoint cannot be written, or is that of another training or of a run that would be lost.
    """

    def __init__(self, task: Task, method: str, iterations: float, seconds: float) -> None:
        self.steps: list[Step] = []
        self.best: Stage | None = None
        self._last: Stage | None = None
        self._start = self._offset = 0  # the number of the start, and the iterations before it
        self._note = ""  # on the starts that were given up
        self._limits = iterations, seconds
        self._file = None
        if task.checkpoint is not None:
            self._file = Archive(task.checkpoint, task, method)
            saved = self._file.read()
            if saved is not None:
                self._last, self.best, self.steps, self._start, self._offset, self._note = saved
        self._clock = perf_counter() - self._seconds
        self._printer = _Printer(task.progress, self._limits)

    def run(self, stages: Stages) -> tuple[Status, str]:
        """Why the training ended, and what is to be said of that.

        `stages` takes the number of a start and the stage to go on from, None for a beginning, of which the first stage
        is iteration 0; where it ends nothing is left to improve.

        The status is SOLVED if the residual at points held out is small in the end, however that came about, and
        INTERRUPTED after Ctrl-C. Else ITERATIONS says that a limit cut the training short, STALLED that no start got
        any further, DIVERGED that the last one diverged. The note tells of each start that was given up.
        """
        status = self._limit()
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                while status is None:
                    status, said = self._run(stages(self._start, self._last))
                    if status is not Status.ITERATIONS:
                        self._note += f"start {self._start + 1} {said}; "
                        if self._again:
                            self._start, self._offset, self._last = self._start + 1, self._iteration + 1, None
                            status = None
        except KeyboardInterrupt:
            if self.best is None:
                raise
            status = Status.INTERRUPTED
        self._save(always=True)
        self._printer.close(self.steps)
        if self.best is None:
            raise ConvergenceError(f"training found no weights with a finite residual: {self._note.strip('; ')}.")
        if self._small and status is not Status.INTERRUPTED:
            status = Status.SOLVED
        return status, f"{self._note}{self._iteration} iterations in {self._seconds:.3g} seconds"

    @property
    def _iteration(self) -> int:
        return self.steps[-1].iteration if self.steps else 0

    @property
    def _seconds(self) -> float:
        return self.steps[-1].seconds if self.steps else 0.0

    @property
    def _small(self) -> bool:
        return self.best is not None and self.best.held_out <= SMALL

    def _run(self, stages: Iterator[Stage]) -> tuple[Status, str]:
        """One start, up to a limit or until it gets no further."""
        for stage in stages:
            if not np.isfinite([stage.residual, stage.held_out]).all():
                return Status.DIVERGED, f"diverged: the residual is not finite after iteration {self._iteration}"
            self._record(stage)
            status = self._limit()
            if status is not None:
                return status, ""
            failure = self._failure()
            if failure is not None:
                return failure
        return Status.STALLED, f"stalled in iteration {self._iteration}"

    @property
    def _again(self) -> bool:
        """Whether another start may do better: not if there are good weights, and half of the run is over."""
        iterations, seconds = self._limits
        early = self._iteration < iterations / 2 and self._seconds < seconds / 2
        return self._start + 1 < STARTS and (early or not self._small)

    def _record(self, stage: Stage) -> None:
        seconds = perf_counter() - self._clock
        step = Step(self._offset + stage.iteration, float(stage.residual), float(stage.held_out), seconds)
        self.steps.append(step)
        self._last = stage
        if self.best is None or stage.held_out < self.best.held_out:
            self.best = stage
        self._printer.show(step)
        self._save()

    def _limit(self) -> Status | None:
        """Whether a limit is met."""
        iterations, seconds = self._limits
        return Status.ITERATIONS if self._iteration >= iterations or self._seconds >= seconds else None

    def _failure(self) -> tuple[Status, str] | None:
        """Whether the start diverges, or gets no further."""
        steps = [step for step in self.steps if step.iteration >= self._offset]
        last = steps[-1]
        best = min(steps, key=lambda step: step.held_out)
        if len(steps) > PATIENCE and min(step.held_out for step in steps[-PATIENCE:]) > RISE * best.held_out:
            return Status.DIVERGED, (
                f"diverged: at points held out the residual rose from {best.held_out:.1e} in iteration "
                f"{best.iteration} to {last.held_out:.1e}, for lack of points or by large steps"
            )
        before = min((step.residual for step in steps[:-WINDOW]), default=np.inf)
        if min(step.residual for step in steps[-WINDOW:]) > GAIN * before:
            return Status.STALLED, f"stalled in iteration {last.iteration}"
        return None

    def _save(self, always: bool = False) -> None:
        if self._file is None or self._last is None or self.best is None:
            return
        if not (always or self._file.due(self._iteration)):
            return
        try:
            self._file.write(Saved(self._last, self.best, self.steps, self._start, self._offset, self._note))
        except ResultFileError as error:  # the run is worth more, but for a path that never was one
            if self._iteration == 0:
                raise
            warnings.warn(f"no checkpoint: {error}", stacklevel=4)


class _Printer:
    """Prints rows on the terminal: always, never, or (None) on a terminal once two seconds have passed."""

    def __init__(self, progress: bool | None, limits: tuple[float, float]) -> None:
        self._wait = 0.0 if progress is True else 2.0
        self._quiet = progress is False or not world().root or (progress is None and not sys.stderr.isatty())
        self._limits = limits
        self._last: Step | None = None

    def show(self, step: Step) -> None:
        """One row each half second."""
        if self._quiet or step.seconds < self._wait or (self._last and step.seconds - self._last.seconds < 0.5):
            return
        if self._last is None:
            self._print(("iteration", "residual", "held out", "seconds", "remaining"))
        self._row(step)

    def close(self, steps: list[Step]) -> None:
        """The last row, where some were printed."""
        if self._last is not None:
            if self._last is not steps[-1]:
                self._row(steps[-1])
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
