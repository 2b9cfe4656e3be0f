"""Waves in a random medium with sound-hard walls, as a family of equations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from ..arrays import Array
from ..problem import check_number
from .family import Family, Sample, check_size
from .random_fields import CosineSeries


@dataclass(frozen=True)
class NeumannHelmholtz(Family):
    """-Laplace u - (omega / c)^2 u = 0 in the unit square, du/dn = 1 on the top for 0.35 <= x <= 0.65, 0 elsewhere.

    c = 20 + tanh(g) with the Gaussian field g of `CosineSeries`.

    Parameters
    ----------
    n : squares along each axis.
    omega : the frequency; n / omega = 1/10 is the resolution of the published data.
    modes, tau : of the field.

    Notes
    -----
    Bilinear elements on squares, c bilinear on them, integrals by 3 x 3 points of Gauss. Real, symmetric and
    indefinite, without damping: a residual is no bound on the error. That with n = 100 and omega = 1000 is the one of
    de Hoop et al., arXiv 2203.13181.

    Examples
    --------
    >>> family = NeumannHelmholtz(n=16, omega=160)
    >>> family.draw(np.random.default_rng(1))["speed"].shape
    (17, 17)
    """

    name: ClassVar[str] = "neumann-helmholtz"
    n: int = 32
    omega: float = 320.0
    modes: int = 100
    tau: float = 3.0

    def __post_init__(self) -> None:
        check_size(self, "n", 2)
        check_number(self.omega, "omega", positive=True)
        _ = self._field

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.n + 1, self.n + 1)

    @cached_property
    def _field(self) -> CosineSeries:
        return CosineSeries(self.n + 1, self.modes, self.tau)

    def draw(self, generator: np.random.Generator) -> Sample:
        return {"speed": 20.0 + np.tanh(self._field.sample(generator))}

    def system(self, sample: Sample) -> tuple[sp.csr_matrix, Array]:
        return self._matrix(sample["speed"]), self._load

    def reference(self) -> sp.csr_matrix:
        return self._matrix(np.full(self.grid, 20.0))

    def coercivity(self, sample: Sample) -> float | None:
        return None

    def features(self, samples: Sequence[Sample]) -> Array:
        return np.stack([sample["speed"].ravel() for sample in samples])

    def solution(self, sample: Sample, x: Array) -> Array:
        return x.reshape(self.grid)

    @cached_property
    def _cells(self) -> Array:
        """The corners (cells, 4) of the squares: along the first axis, then along the second."""
        numbers = np.arange((self.n + 1) ** 2).reshape(self.grid)
        corners = [numbers[i : i + self.n, j : j + self.n].ravel() for i in (0, 1) for j in (0, 1)]
        return np.stack(corners, axis=1)

    def _matrix(self, speed: Array) -> sp.csr_matrix:
        """K - omega^2 M(1 / c^2)."""
        points, weights = np.array([-1.0, 0.0, 1.0]) * math.sqrt(0.6), np.array([5.0, 8.0, 5.0]) / 9
        hats = np.stack([1 - points, 1 + points]) / 2  # values at the points of an interval
        shapes = np.einsum("ap,bq->abpq", hats, hats).reshape(4, 9)
        squares = np.outer(weights, weights).ravel() / (4 * self.n**2)
        line, slope = np.array([[2.0, 1.0], [1.0, 2.0]]) / 6, np.array([[1.0, -1.0], [-1.0, 1.0]])
        stiffness = np.kron(slope, line) + np.kron(line, slope)
        density = squares * (self.omega / (speed.ravel()[self._cells] @ shapes)) ** 2
        local = stiffness - np.einsum("cp,ap,bp->cab", density, shapes, shapes)
        rows, columns = np.repeat(self._cells, 4, axis=1), np.tile(self._cells, (1, 4))
        size = (self.n + 1) ** 2
        return sp.coo_matrix((local.ravel(), (rows.ravel(), columns.ravel())), (size, size)).tocsr()

    @cached_property
    def _load(self) -> Array:
        """The integrals of the functions on the top over the part with a flux."""
        nodes = np.linspace(0.0, 1.0, self.n + 1)
        left, right = np.clip(nodes[:-1], 0.35, 0.65), np.clip(nodes[1:], 0.35, 0.65)
        upper = ((right - nodes[:-1]) ** 2 - (left - nodes[:-1]) ** 2) * self.n / 2
        b = np.zeros(self.grid)
        b[1:, -1] += upper
        b[:-1, -1] += (right - left) - upper
        return b.ravel()
