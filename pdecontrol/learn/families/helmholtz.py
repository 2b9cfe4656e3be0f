"""Waves in random media."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from ...arrays import Array
from ...problem import check_number
from ..family import Family, Sample, check_choice, check_size
from ..grid import constant_load, diffusion, faces
from ..random_fields import PeriodicField


@dataclass(frozen=True)
class Helmholtz(Family):
    """-Laplace u - k^2 u = 1 in the unit square or cube, u = 0 on its boundary, with a random wave number k.

    k = wavenumber (1 + variation g) with a periodic Gaussian field g of variance 1.

    Parameters
    ----------
    n : inner nodes along each axis.
    dimension : 2 or 3.
    wavenumber, variation : the mean of k, and its relative deviation.

    Notes
    -----
    Symmetric and, for wave numbers above pi dimension^1/2, indefinite: the residual is no bound on the error there, so
    samples have none.

    Examples
    --------
    >>> family = Helmholtz(n=15, wavenumber=5)
    >>> family.draw(np.random.default_rng(1))["wavenumber"].shape
    (15, 15)
    """

    name: ClassVar[str] = "helmholtz"
    n: int = 63
    dimension: int = 2
    wavenumber: float = 10.0
    variation: float = 0.05

    def __post_init__(self) -> None:
        check_size(self, "n", 2)
        check_choice(self.dimension, "dimension", (2, 3))
        check_number(self.wavenumber, "wavenumber")
        check_number(self.variation, "variation")

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.n,) * self.dimension

    @cached_property
    def _gaussian(self) -> PeriodicField:
        return PeriodicField(self.n, self.dimension, deviation=1.0)

    def draw(self, generator: np.random.Generator) -> Sample:
        return {"wavenumber": self.wavenumber * (1.0 + self.variation * self._gaussian.sample(generator))}

    def _matrix(self, wavenumber: Array | float) -> sp.csr_matrix:
        return diffusion(self._faces, -((wavenumber / (self.n + 1.0)) ** 2))

    @cached_property
    def _faces(self) -> list[Array]:
        return faces(np.ones((self.n + 2,) * self.dimension))

    def system(self, sample: Sample) -> tuple[sp.csr_matrix, Array]:
        return self._matrix(sample["wavenumber"]), constant_load(self.n, self.dimension)

    def reference(self) -> sp.csr_matrix:
        return self._matrix(self.wavenumber)

    def coercivity(self, sample: Sample) -> float | None:
        return None

    def features(self, samples: Sequence[Sample]) -> Array:
        return np.stack([sample["wavenumber"].ravel() for sample in samples])

    def solution(self, sample: Sample, x: Array) -> Array:
        return np.pad(x.reshape(self.grid), 1)
