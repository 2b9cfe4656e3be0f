"""Transport by random flows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from ...arrays import Array
from ...problem import check_number
from ..family import Family, Sample, check_size
from ..grid import constant_load, diffusion, faces, transport
from ..random_fields import PeriodicField


@dataclass(frozen=True)
class ConvectionDiffusion(Family):
    """-diffusion Laplace u + w . grad u = 1 in the unit square, u = 0 on its boundary, with a random flow w.

    w = speed curl psi with a periodic Gaussian stream function psi whose gradient has deviation 1, so div w = 0.

    Parameters
    ----------
    n : inner nodes along each axis.
    diffusion, speed : see above; the flow dominates where speed / (2 diffusion (n + 1)) > 1.
    alpha, tau : exponent and inverse length of the spectrum of psi.

    Notes
    -----
    Upwind finite volumes with fluxes from differences of psi, which keep div w = 0: the matrix is an M-matrix, not
    symmetric, with a symmetric part above diffusion times that of the Laplacian.

    Examples
    --------
    >>> family = ConvectionDiffusion(n=15)
    >>> family.draw(np.random.default_rng(1))["stream"].shape
    (16, 16)
    """

    name: ClassVar[str] = "convection-diffusion"
    n: int = 63
    diffusion: float = 0.02
    speed: float = 1.0
    alpha: float = 3.5
    tau: float = 7.0

    def __post_init__(self) -> None:
        check_size(self, "n", 2)
        check_number(self.diffusion, "diffusion", positive=True)
        check_number(self.speed, "speed")
        _ = self._gaussian

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.n, self.n)

    @cached_property
    def _gaussian(self) -> PeriodicField:
        return PeriodicField(self.n + 1, 2, self.alpha, self.tau, 1.0)

    @cached_property
    def _steepness(self) -> float:
        """The deviation of the gradient of the field, from its spectrum."""
        waves = 2 * np.pi * np.fft.fftfreq(self.n + 1, 1 / (self.n + 1))
        squares = waves[:, None] ** 2 + waves**2
        weights = np.where(squares > 0, (squares + self.tau**2) ** -self.alpha, 0.0)
        return float(np.sqrt((weights * squares).sum() / weights.sum() / 2))

    def draw(self, generator: np.random.Generator) -> Sample:
        return {"stream": self._gaussian.sample(generator) * (self.speed / self._steepness)}

    def system(self, sample: Sample) -> tuple[sp.csr_matrix, Array]:
        psi = sample["stream"]
        flows = np.diff(psi, axis=1), -np.diff(psi, axis=0)  # through the faces
        upwind = [(self.diffusion + np.maximum(q, 0.0), self.diffusion + np.maximum(-q, 0.0)) for q in flows]
        return transport(upwind), constant_load(self.n, 2)

    def reference(self) -> sp.csr_matrix:
        return diffusion([face * self.diffusion for face in faces(np.ones((self.n + 2, self.n + 2)))])

    def coercivity(self, sample: Sample) -> float | None:
        return 1.0

    def features(self, samples: Sequence[Sample]) -> Array:
        return np.stack([sample["stream"].ravel() for sample in samples])

    def solution(self, sample: Sample, x: Array) -> Array:
        return np.pad(x.reshape(self.grid), 1)
