"""The one loop of trainings of operators: it alone stops, keeps the best weights, prints and saves."""

from __future__ import annotations

import sys
from math import ceil, isfinite
from time import perf_counter, process_time

import numpy as np
import torch
from torch import Tensor

from ...errors import ConvergenceError
from ...parallel import world
from .archive import Archive, Stage, moments_of, restore, weights_of
from .recipe import Recipe
from .task import Task

TOGETHER = 64  # samples whose errors are computed at once


class Loop:
    """Adam on all samples but the last, which are held out.

    The weights with the smallest mean loss of the samples held out are the result.
    """

    def __init__(self, task: Task, recipe: Recipe, archive: Archive, printer: Printer) -> None:
        self._task, self._recipe, self._archive, self._printer = task, recipe, archive, printer
        self._steps = ceil(task.trained / recipe.batch)
        self._device = next(task.model.parameters()).device
        self._optimiser = torch.optim.Adam(task.model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
        self.held_out = torch.arange(task.trained, task.count, device=self._device)

    def run(self, seconds: float) -> tuple[Stage, str]:
        """Train, and leave the best weights in the model; the last stage, and why it ended."""
        stage = self._archive.read() or Stage()
        if stage.epochs:
            self._task.model.load_state_dict(stage.weights)
            restore(self._optimiser, stage.moments)
        begun, status = perf_counter(), "finished"
        try:
            while stage.epochs < self._recipe.epochs:
                if self._stale(stage):
                    status = "stopped early"
                    break
                if stage.epochs and perf_counter() - begun > seconds:
                    status = "out of time"
                    break
                stage = self._epoch(stage)
                if not isfinite(sum(stage.history[-1])):
                    status = "diverged"
                    break
                self._archive.write(stage)
                self._printer.show(stage, self._recipe.epochs)
        except KeyboardInterrupt:
            if not stage.epochs:
                raise
            status = "interrupted"
        if status != "diverged":
            self._archive.write(stage, final=True)
        if stage.best < 0:
            raise ConvergenceError("the training diverged in its first epoch: take a smaller rate.")
        self._printer.close(stage, self._recipe.epochs)
        self._task.model.load_state_dict(stage.kept)
        return stage, status

    def _stale(self, stage: Stage) -> bool:
        patience = self._recipe.patience
        return patience is not None and stage.epochs - 1 - stage.best >= patience

    def _epoch(self, stage: Stage) -> Stage:
        """The stage after one more epoch."""
        recipe, model, begun = self._recipe, self._task.model, process_time()
        order = np.random.default_rng([recipe.seed, stage.epochs]).permutation(self._task.trained)
        total = torch.zeros((), device=self._device)
        for i in range(self._steps):
            chosen = torch.as_tensor(order[i * recipe.batch : (i + 1) * recipe.batch], device=self._device)
            progress = (stage.epochs + (i + 0.5) / self._steps) / recipe.epochs
            self._optimiser.param_groups[0]["lr"] = recipe.rate_at(progress)
            self._optimiser.zero_grad()
            errors = self._task.loss(chosen)
            errors.mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            self._optimiser.step()
            total += errors.detach().sum()
        held = float(held_out_loss(self._task, self.held_out))
        history = [*stage.history, (float(total) / self._task.trained, held)]
        weights = weights_of(model)
        better = isfinite(held) and (stage.best < 0 or held < stage.history[stage.best][1])
        best, kept = (stage.epochs, weights) if better else (stage.best, stage.kept)
        spent = stage.seconds + process_time() - begun
        return Stage(history, best, kept, weights, moments_of(self._optimiser), spent)


def held_out_loss(task: Task, chosen: Tensor) -> Tensor:
    """The mean loss of samples that are not trained on."""
    losses = [task.loss(part).detach() for part in chosen.split(TOGETHER)]
    return torch.cat(losses).mean()


def mean_errors(task: Task, chosen: Tensor) -> dict[str, float]:
    """Means and largest of the relative errors of samples."""
    parts = [task.errors(part) for part in chosen.split(TOGETHER)]
    found = dict[str, float]()
    for name in parts[0]:
        errors = torch.cat([part[name] for part in parts])
        found |= {name: float(errors.mean()), f"{name}, worst": float(errors.max())}
    return found


class Printer:
    """Rows on a terminal (progress=None, once two seconds have passed), always or never."""

    def __init__(self, progress: bool | None) -> None:
        self._wait = 0.0 if progress is True else 2.0
        self._quiet = progress is False or not world().root or (progress is None and not sys.stderr.isatty())
        self._begun, self._first, self._last, self._shown = perf_counter(), 0, 0, -np.inf

    def show(self, stage: Stage, epochs: int) -> None:
        """One row each half second."""
        seconds = perf_counter() - self._begun
        if not self._first:
            self._first = stage.epochs
        if self._quiet or seconds < self._wait or seconds - self._shown < 0.5:
            return
        if not self._last:
            self._print(("epoch", "loss", "held out", "seconds", "remaining"))
        self._row(stage, epochs, seconds)

    def close(self, stage: Stage, epochs: int) -> None:
        """The last row, where some were printed."""
        if self._last:
            if self._last != stage.epochs:
                self._row(stage, epochs, perf_counter() - self._begun)
            print(file=sys.stderr)

    def _row(self, stage: Stage, epochs: int, seconds: float) -> None:
        self._last, self._shown = stage.epochs, seconds
        each = seconds / (stage.epochs - self._first + 1)
        loss, held_out = stage.history[-1]
        remaining = f"{(epochs - stage.epochs) * each:.0f}"
        self._print((stage.epochs, f"{loss:.2e}", f"{held_out:.2e}", f"{seconds:.1f}", remaining))

    def _print(self, cells: tuple[object, ...]) -> None:
        print(" ".join(f"{cell!s:>10}" for cell in cells), file=sys.stderr, flush=True)
