"""Random media: positive coefficients made of random fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from .random_fields import RandomField, threshold


@dataclass(frozen=True)
class Threshold(RandomField):
    """a = high where a field g >= 0, low elsewhere: a random medium of two phases.

    Examples
    --------
    >>> from pdecontrol.learn.random_fields import CosineField
    >>> sorted(set(Threshold(CosineField(8), low=3, high=12).sample(np.random.default_rng(5)).ravel().tolist()))
    [3.0, 12.0]
    """

    field: RandomField
    low: float
    high: float

    def __post_init__(self) -> None:
        self._check("low", "high")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.field.shape

    def sample(self, generator: np.random.Generator) -> Array:
        return threshold(self.field.sample(generator), self.low, self.high)


@dataclass(frozen=True)
class Lognormal(RandomField):
    """a = mean exp(g) for a field g.

    Examples
    --------
    >>> from pdecontrol.learn.random_fields import CosineField
    >>> bool(Lognormal(CosineField(8), mean=2.0).sample(np.random.default_rng(5)).min() > 0)
    True
    """

    field: RandomField
    mean: float = 1.0

    def __post_init__(self) -> None:
        self._check("mean")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.field.shape

    def sample(self, generator: np.random.Generator) -> Array:
        return self.mean * np.exp(self.field.sample(generator))
