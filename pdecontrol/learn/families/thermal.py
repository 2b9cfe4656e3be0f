"""Heat conduction through blocks of random materials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from ...arrays import Array
from ...errors import ProblemError
from ...problem import check_number
from ..family import Family, Sample, check_size
from ..grid import diffusion


@dataclass(frozen=True)
class Thermal(Family):
    """-div(k grad u) = 0 in the unit square, u = temperature on the left, k du/dn = flux on the right, 0 elsewhere.

    Temperature and flux are uniform in (0, 1). The conductivity k is constant in each of blocks x blocks squares, its
    logarithm uniform with a given ratio of the largest to the smallest value; with one block k = 1: one matrix for all.

    Parameters
    ----------
    n : cells along each axis, a multiple of blocks.
    blocks : along each axis.
    contrast : the ratio, 1 or more.

    Notes
    -----
    Linear finite elements on squares cut in two. The matrix is affine in the blocks^2 conductivities.

    Examples
    --------
    >>> family = Thermal(n=16, blocks=2)
    >>> family.draw(np.random.default_rng(1))["conductivity"].shape
    (2, 2)
    """

    name: ClassVar[str] = "thermal"
    n: int = 64
    blocks: int = 1
    contrast: float = 10.0

    def __post_init__(self) -> None:
        check_size(self, "n")
        check_size(self, "blocks")
        if self.n % self.blocks:
            raise ProblemError(f"n must be a multiple of blocks, got n = {self.n} and blocks = {self.blocks}.")
        check_number(self.contrast, "contrast")
        if self.contrast < 1:
            raise ProblemError(f"contrast must be 1 or more, got {self.contrast}.")

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.n, self.n + 1)

    def draw(self, generator: np.random.Generator) -> Sample:
        temperature, flux = generator.uniform(0.0, 1.0, (2, 1))
        shape = (self.blocks, self.blocks)
        logarithm = np.zeros(shape) if self.blocks == 1 else generator.uniform(-0.5, 0.5, shape)
        return {"temperature": temperature, "flux": flux, "conductivity": self.contrast**logarithm}

    def _edges(self, sample: Sample) -> tuple[Array, Array]:
        """Weights of the edges along both axes: the mean conductivity of the cells beside them, 0 outside."""
        size = self.n // self.blocks
        k = np.pad(np.kron(sample["conductivity"], np.ones((size, size))), 1)
        return (k[1:-1, :-1] + k[1:-1, 1:]) / 2, (k[1:-1, 1:-1] + k[2:, 1:-1]) / 2

    def system(self, sample: Sample) -> tuple[sp.csr_matrix, Array]:
        along, across = self._edges(sample)
        b = np.zeros(self.grid)
        b[0] = along[0] * sample["temperature"]
        b[-1] += sample["flux"] / self.n
        b[-1, [0, -1]] -= sample["flux"] / (2 * self.n)
        return self._assemble(along, across), b.ravel()

    def _assemble(self, along: Array, across: Array) -> sp.csr_matrix:
        closed = np.zeros((1, self.n + 1)), np.zeros((self.n, 1))
        return diffusion([np.vstack([along, closed[0]]), np.hstack([closed[1], across, closed[1]])])

    def reference(self) -> sp.csr_matrix:
        return self._assemble(*self._edges({"conductivity": np.ones((self.blocks, self.blocks))}))

    def coercivity(self, sample: Sample) -> float | None:
        return float(sample["conductivity"].min())

    def features(self, samples: Sequence[Sample]) -> Array:
        return np.stack([np.log(sample["conductivity"]).ravel() for sample in samples])

    def solution(self, sample: Sample, x: Array) -> Array:
        return np.vstack([np.full((1, self.n + 1), sample["temperature"][0]), x.reshape(self.grid)])
