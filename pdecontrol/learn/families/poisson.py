"""Poisson's equation with random sources and boundary values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from ...arrays import Array
from ..family import Family, Sample, check_size
from ..grid import laplacian


@dataclass(frozen=True)
class Poisson(Family):
    """-Laplace u = f in the unit square, u = g on its boundary, f and g random Chebyshev series.

    f and the values on the lower and upper side are series of a degree in x, with coefficients uniform in (-1, 1);
    those on the left and right side are constants. One matrix for all samples, right-hand sides of rank 3 degree + 5.

    Parameters
    ----------
    n : inner nodes along each axis.
    degree : of the series.

    Examples
    --------
    >>> family = Poisson(n=15)
    >>> sorted(family.draw(np.random.default_rng(1)))
    ['bottom', 'sides', 'source', 'top']
    """

    name: ClassVar[str] = "poisson"
    n: int = 63
    degree: int = 5

    def __post_init__(self) -> None:
        check_size(self, "n")
        check_size(self, "degree")

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.n, self.n)

    def draw(self, generator: np.random.Generator) -> Sample:
        coefficients = generator.uniform(-1.0, 1.0, (3, self.degree + 1))
        return {
            "source": coefficients[0], "bottom": coefficients[1], "top": coefficients[2],
            "sides": generator.uniform(-1.0, 1.0, 2),
        }  # fmt: skip

    @cached_property
    def _polynomials(self) -> Array:
        """T_k at the nodes of an axis (n + 2, degree + 1)."""
        angles = np.arccos(np.linspace(-1.0, 1.0, self.n + 2))
        return np.cos(np.outer(angles, np.arange(self.degree + 1)))

    def system(self, sample: Sample) -> tuple[sp.csr_matrix, Array]:
        values = self._boundary(sample)
        b = np.tile((self.n + 1.0) ** -2 * (self._polynomials[1:-1] @ sample["source"])[:, None], self.n)
        b[0] += values[0, 1:-1]
        b[-1] += values[-1, 1:-1]
        b[:, 0] += values[1:-1, 0]
        b[:, -1] += values[1:-1, -1]
        return self._matrix, b.ravel()

    def _boundary(self, sample: Sample) -> Array:
        values = np.zeros((self.n + 2, self.n + 2))
        values[:, 0], values[:, -1] = self._polynomials @ sample["bottom"], self._polynomials @ sample["top"]
        values[0, 1:-1], values[-1, 1:-1] = sample["sides"]
        return values

    @cached_property
    def _matrix(self) -> sp.csr_matrix:
        return laplacian(self.n, 2)

    def reference(self) -> sp.csr_matrix:
        return self._matrix

    def coercivity(self, sample: Sample) -> float | None:
        return 1.0

    def features(self, samples: Sequence[Sample]) -> Array:
        return np.stack([np.concatenate(list(sample.values())) for sample in samples])

    def solution(self, sample: Sample, x: Array) -> Array:
        values = self._boundary(sample)
        values[1:-1, 1:-1] = x.reshape(self.grid)
        return values
