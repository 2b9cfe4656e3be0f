"""Families of equations on grids of the unit square or cube, by finite volumes and elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from ..arrays import Array
from ..errors import ProblemError
from ..problem import check_number
from .family import Family, Sample, check_choice, check_size
from .grid import constant_load, diffusion, faces, laplacian, transport
from .random_fields import ChebyshevSeries, CosineField, PeriodicField, threshold


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
        series = {name: self._series.coefficients(generator) for name in ("source", "bottom", "top")}
        return series | {"sides": generator.uniform(-1.0, 1.0, 2)}

    @cached_property
    def _series(self) -> ChebyshevSeries:
        return ChebyshevSeries(np.linspace(0.0, 1.0, self.n + 2).tolist(), self.degree)

    def system(self, sample: Sample) -> tuple[sp.csr_matrix, Array]:
        values = self._boundary(sample)
        b = np.tile((self.n + 1.0) ** -2 * self._series.evaluate(sample["source"])[1:-1, None], self.n)
        b[0] += values[0, 1:-1]
        b[-1] += values[-1, 1:-1]
        b[:, 0] += values[1:-1, 0]
        b[:, -1] += values[1:-1, -1]
        return self._matrix, b.ravel()

    def _boundary(self, sample: Sample) -> Array:
        values = np.zeros((self.n + 2, self.n + 2))
        values[:, 0], values[:, -1] = (self._series.evaluate(sample[side]) for side in ("bottom", "top"))
        values[0, 1:-1], values[-1, 1:-1] = sample["sides"]
        return values

    def reference(self) -> sp.csr_matrix:
        return self._matrix

    @cached_property
    def _matrix(self) -> sp.csr_matrix:
        return laplacian(self.n, 2)

    def coercivity(self, sample: Sample) -> float | None:
        return 1.0

    def features(self, samples: Sequence[Sample]) -> Array:
        return np.stack([np.concatenate(list(sample.values())) for sample in samples])

    def solution(self, sample: Sample, x: Array) -> Array:
        values = self._boundary(sample)
        values[1:-1, 1:-1] = x.reshape(self.grid)
        return values


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
        return self.diffusion * laplacian(self.n, 2)

    def coercivity(self, sample: Sample) -> float | None:
        return 1.0

    def features(self, samples: Sequence[Sample]) -> Array:
        return np.stack([sample["stream"].ravel() for sample in samples])

    def solution(self, sample: Sample, x: Array) -> Array:
        return np.pad(x.reshape(self.grid), 1)
