"""Random vectors of the spaces of control problems: smooth in space and in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from ..arrays import Array
from ..mesh.elements import cell_lagrange
from ..space import Space
from ..times import Times
from .matern import MaternField


class Part(NamedTuple):
    """How a factor of a space is drawn: its entries at one time, from values at vertices, times functions of time."""

    size: int
    sampling: csr_matrix | None
    waves: Array | None


@dataclass(frozen=True)
class Drawing:
    """Gaussian vectors of a space.

    Parameters
    ----------
    space : entries without points are independent normal numbers.
    fields : on one mesh; each vector is of one of them, equally likely.
    duration : the time after which the correlation is 0.14; in time vectors are sums of cosines.
    """

    space: Space
    fields: Sequence[MaternField]
    duration: float

    @cached_property
    def parts(self) -> list[Part]:
        vertices, parts = cell_lagrange(self.fields[0].mesh, 1), []
        for factor in self.space.factors or (self.space,):
            base = factor.base
            where = None if base.points is None else vertices.sampling(base.points)
            parts.append(Part(base.size, where, None if factor.levels is None else self._waves(factor.levels.times)))
        return parts

    def _waves(self, times: Times) -> Array:
        """Cosines (N, modes) with the spectrum exp(-(omega l)^2/2), l = duration/2, of variance 1 on the average."""
        first, last = times.span
        if first == last:
            return np.ones((1, 1))
        reach = 0.5 * self.duration / (last - first)
        omega = np.pi * np.arange(math.ceil(6.0 / (np.pi * reach)))  # what is left out has amplitudes below 2e-4
        amplitudes = np.exp(-((omega * reach) ** 2) / 4) * np.where(omega == 0, 1.0, math.sqrt(2))
        cosines = np.cos(np.outer((times.levels - first) / (last - first), omega))
        return cosines * amplitudes / math.sqrt(float(np.exp(-((omega * reach) ** 2) / 2).sum()))

    def sample(self, generator: np.random.Generator) -> Array:
        field = self.fields[0] if len(self.fields) == 1 else self.fields[generator.integers(len(self.fields))]

        def entries(part: Part) -> Array:
            if part.sampling is None:
                return field.deviation * generator.standard_normal(part.size)
            return np.asarray(part.sampling @ field.sample(generator))

        drawn = []
        for part in self.parts:
            if part.waves is None:
                drawn.append(entries(part))
            else:
                drawn.append((part.waves @ np.stack([entries(part) for _ in range(part.waves.shape[1])])).ravel())
        return np.concatenate(drawn)
