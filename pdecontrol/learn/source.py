"""What a dataset is made of: the interface between families of equations and files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import Array


@dataclass(eq=False)
class Batch:
    """Samples that were solved together, and how well.

    Attributes
    ----------
    arrays : by name, the values of all samples (count, ...); NaN where a sample failed.
    residuals : true relative residuals ||b - A x|| / ||b|| (count,), NaN where a sample failed.
    bounds : bounds on the relative error in the energy norm (count,), NaN where there is none.
    failures : what went wrong with a sample, by its number in the batch.
    counts : what the batch cost: products, factorisations, seconds by stage; added up over a dataset.
    """

    arrays: dict[str, Array] = field(repr=False)
    residuals: Array = field(repr=False)
    bounds: Array = field(repr=False)
    failures: dict[int, str] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)


class Source(ABC):
    """Random samples and the equations behind them.

    Notes
    -----
    Law: `batch` depends on the plan, the tolerance and the generators alone. So a dataset is the same however its
    batches are divided among processes.
    """

    @property
    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """All that determines the samples, as JSON values: what a rerun is compared with."""

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the arrays of one sample, by name."""

    @abstractmethod
    def plan(
        self, generators: Sequence[np.random.Generator], count: int, tolerance: float, strategy: str
    ) -> dict[str, Any]:
        """How to solve `count` samples, as JSON values: chosen once, from samples that the generators draw.

        Raises
        ------
        ProblemError
            For an unknown strategy, or one that the equations do not admit.
        """

    @abstractmethod
    def batch(self, plan: Mapping[str, Any], generators: Sequence[np.random.Generator], tolerance: float) -> Batch:
        """Draw and solve one sample for each generator."""
