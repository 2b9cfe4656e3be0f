"""What finding the networks of state and adjoint state has in common, whichever way it is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from ...result import Status
from ...solvers.checkpoint import Checkpoint
from ..networks.network import Network
from ..system.system import System


class Step(NamedTuple):
    """One step of training: |r| at the points and at others, both relative to the data (`System.scale`)."""

    iteration: int
    residual: float
    held_out: float
    seconds: float


class Trained(NamedTuple):
    """Networks of the state and of the adjoint state, how they came about, and why that ended."""

    state: Network
    adjoint: Network
    steps: list[Step]
    status: Status
    note: str


class Task(NamedTuple):
    """What is to be trained: the system at the points, that at other points, the seed of random weights, and the run.

    `progress` is True, False, or None for a terminal after two seconds; a `checkpoint` holds all that is needed to go
    on as if there had been no stop.
    """

    system: System
    held_out: System
    seed: int
    progress: bool | None = None
    checkpoint: Checkpoint | None = None


class Training(ABC):
    """A way to find the weights, by its parameters."""

    name: ClassVar[str]

    @abstractmethod
    def train(self, task: Task) -> Trained:
        """Networks with small residuals; of all those that were seen the best at the points held out."""
