"""How a network is trained, as plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from ...errors import DataError

SCHEDULES = ("cosine", "one-cycle")
LOSSES = ("auto", "h1", "l2", "hsloss_mgno")


@dataclass(frozen=True)
class Recipe:
    """Adam with a schedule of learning rates; see `train` for the parameters."""

    epochs: int
    batch: int
    rate: float
    decay: float
    schedule: str
    warm_up: float
    clip: float
    loss: str
    adjoint: bool
    pointwise: bool
    held_out: float
    patience: int | None
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("seed", 0), ("patience", 1)):
            value = getattr(self, name)
            if name == "patience" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise DataError(f"{name} must be an integer, {least} or more, got {value!r}.")
        for name, top in (("rate", math.inf), ("decay", math.inf), ("clip", math.inf), ("warm_up", 1), ("held_out", 1)):
            number: Any = getattr(self, name)
            real = isinstance(number, Real) and not isinstance(number, bool)
            if not real or not 0 <= number < top or (number == 0 and name not in ("decay", "warm_up")):
                raise DataError(f"{name} must be a number between 0 and {top}, got {number!r}.")
        for name, known in (("schedule", SCHEDULES), ("loss", LOSSES)):
            if getattr(self, name) not in known:
                raise DataError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")

    def trained(self, count: int) -> int:
        """How many of all samples are trained on; raises DataError if none or all are."""
        trained = count - max(1, round(self.held_out * count))
        if trained < 1:
            raise DataError(f"{count} samples are too few to train on some and hold out others.")
        return trained

    def rate_at(self, progress: float) -> float:
        """The learning rate when a part of all steps, from 0 to 1, is done.

        Cosine: linear from 0 to the rate, then a half wave to 0. One-cycle: half waves from a half of the rate to the
        whole, then to a hundredth of the half.
        """
        low, end = (0.0, 0.0) if self.schedule == "cosine" else (self.rate / 2, self.rate / 200)
        if progress < self.warm_up:
            part = progress / self.warm_up
            rise = part if self.schedule == "cosine" else (1 - math.cos(math.pi * part)) / 2
            return low + (self.rate - low) * rise
        part = (progress - self.warm_up) / (1 - self.warm_up)
        return end + (self.rate - end) * (1 + math.cos(math.pi * part)) / 2
