"""Flow through random porous media."""

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
from ..grid import constant_load, diffusion, faces, laplacian
from ..random_fields import CosineField, PeriodicField, threshold


@dataclass(frozen=True)
class Darcy(Family):
    """-div(a grad u) = 1 in the unit square or cube, u = 0 on its boundary, with a random coefficient a.

    Parameters
    ----------
    n : inner nodes along each axis; n + 1 with small prime factors makes fast transforms.
    dimension : 2 or 3.
    field : "lognormal", a = exp(g) with a periodic Gaussian field g, or "threshold", a = high where a Gaussian field
        with Neumann conditions is positive and low elsewhere.
    alpha, tau : exponent and inverse length of the field's spectrum.
    deviation : of g, 0 for that of its spectrum (about 0.17).
    low, high : of the threshold.

    Notes
    -----
    Finite volumes on the nodes, with harmonic means on faces. The lognormal field is that of the published comparison
    of Sorting Krylov Recycling (arXiv 2401.09516), whose operator is another one (see `PublishedDarcy`); the threshold
    field with tau = 3, 12 and 3 is that of the Darcy benchmark of neural operators (arXiv 2010.08895).

    Examples
    --------
    >>> matrix, b = (family := Darcy(n=15)).system(family.draw(np.random.default_rng(1)))
    >>> matrix.shape
    (225, 225)
    """

    name: ClassVar[str] = "darcy"
    n: int = 63
    dimension: int = 2
    field: str = "lognormal"
    alpha: float = 2.5
    tau: float = 7.0
    deviation: float = 0.0
    low: float = 3.0
    high: float = 12.0

    def __post_init__(self) -> None:
        check_size(self, "n")
        check_choice(self.dimension, "dimension", (2, 3))
        check_choice(self.field, "field", ("lognormal", "threshold"))
        check_number(self.low, "low", positive=True)
        check_number(self.high, "high", positive=True)
        check_number(self.deviation, "deviation")
        _ = self._gaussian

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.n,) * self.dimension

    @cached_property
    def _gaussian(self) -> PeriodicField | CosineField:
        kind = PeriodicField if self.field == "lognormal" else CosineField
        return kind(self.n + 2, self.dimension, self.alpha, self.tau, self.deviation or None)

    def draw(self, generator: np.random.Generator) -> Sample:
        g = self._gaussian.sample(generator)
        return {"coefficient": np.exp(g) if self.field == "lognormal" else threshold(g, self.low, self.high)}

    def system(self, sample: Sample) -> tuple[sp.csr_matrix, Array]:
        return diffusion(faces(sample["coefficient"])), constant_load(self.n, self.dimension)

    def reference(self) -> sp.csr_matrix:
        return laplacian(self.n, self.dimension)

    def coercivity(self, sample: Sample) -> float | None:
        return float(min(face.min() for face in faces(sample["coefficient"])))

    def features(self, samples: Sequence[Sample]) -> Array:
        return np.stack([sample["coefficient"].ravel() for sample in samples])

    def solution(self, sample: Sample, x: Array) -> Array:
        return np.pad(x.reshape(self.grid), 1)
