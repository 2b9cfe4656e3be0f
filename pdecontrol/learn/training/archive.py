"""The file of a training, from which it goes on as if there had been no stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ResultFileError
from ...files import npz, read_arrays, readable, write_arrays
from ..manifest import differences

KIND = "training"
Weights = dict[str, Tensor]


@dataclass
class Stage:
    """Where a training is after whole epochs; random numbers are those of the seed and the epoch, and not of a state.

    Attributes
    ----------
    history : of each epoch the mean loss, and that of the samples held out.
    best : the epoch with the smallest of the latter, -1 before the first.
    kept : the weights of then.
    weights, moments : of now: the model, and both moments of Adam for each of its parameters.
    seconds : of the processor, spent so far.
    """

    history: list[tuple[float, float]] = field(default_factory=list)
    best: int = -1
    kept: Weights = field(default_factory=dict)
    weights: Weights = field(default_factory=dict)
    moments: Weights = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        return len(self.history)


class Archive:
    """The file of one training, which another call with the same arguments and data goes on from."""

    def __init__(self, path: str | Path | None, call: dict[str, Any], interval: float) -> None:
        self._path, self._call, self._interval = None if path is None else npz(path), call, interval
        self._written = perf_counter()

    def read(self) -> Stage | None:
        """The stage of the file, None where there is no file; raises ResultFileError for that of another training."""
        if self._path is None or not self._path.exists():
            return None
        header, arrays = read_arrays(self._path, KIND)
        with readable(self._path):
            if others := differences(header["call"], self._call):
                raise ResultFileError(f"{self._path} holds another training: {'; '.join(others)}.")
            parts: dict[str, Weights] = {"kept": {}, "weights": {}, "moments": {}}
            for name, array in arrays.items():
                part, _, rest = name.partition("/")
                parts[part][rest] = torch.from_numpy(array)
            history = [(float(loss), float(held)) for loss, held in header["history"]]
            return Stage(history, int(header["best"]), **parts, seconds=float(header["seconds"]))

    def write(self, stage: Stage, final: bool = False) -> None:
        """Write a stage, where one is due."""
        if self._path is None or not stage.epochs:
            return
        if not final and perf_counter() - self._written < self._interval:
            return
        arrays = {
            f"{part}/{name}": value.numpy()
            for part in ("kept", "weights", "moments")
            for name, value in getattr(stage, part).items()
        }
        header = {"kind": KIND, "call": self._call, "history": stage.history, "best": stage.best}
        write_arrays(self._path, header | {"seconds": stage.seconds}, arrays)
        self._written = perf_counter()


def weights_of(model: nn.Module) -> Weights:
    """Copies of weights and units, on the processor."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def moments_of(optimiser: torch.optim.Adam) -> Weights:
    """Copies of what Adam keeps of each parameter, on the processor."""
    states = optimiser.state_dict()["state"]
    return {
        f"{number}/{name}": value.detach().cpu().clone()
        for number, state in states.items()
        for name, value in state.items()
    }


def restore(optimiser: torch.optim.Adam, moments: Weights) -> None:
    """Give an optimiser the moments of a stage."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = value.clone()
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
