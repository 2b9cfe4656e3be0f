"""Random fields: the coefficients and right-hand sides of families of equations.

A field g is a few plain numbers, and `sample` draws from it. Lognormal coefficients are np.exp(g), coefficients of two
phases `threshold(g, low, high)`; as fields of their own they are in `media`.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

import numpy as np
import scipy.fft

from ..arrays import Array
from ..errors import ProblemError
from ..mesh.mesh import Mesh
from ..problem import check_number


@dataclass(frozen=True)
class RandomField(ABC):
    """A random function by its values at fixed points.

    Notes
    -----
    Law: samples from generators in the same state are the same bit for bit, and all take equally many random numbers.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample."""

    @abstractmethod
    def sample(self, generator: np.random.Generator) -> Array:
        """The values of one draw."""

    @property
    def definition(self) -> dict[str, Any]:
        """Class and parameters as JSON values; a mesh is a digest of its points and cells."""
        return {"field": type(self).__name__} | {name: _plain(value) for name, value in self.__getstate__().items()}

    def __getstate__(self) -> dict[str, Any]:
        # Another process makes what is cached anew: sparse factors cannot be sent.
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def _check(self, *positive: str, **integers: int) -> None:
        """Raise ProblemError unless some parameters are positive, and others integers from the given ones on."""
        for name in positive:
            check_number(getattr(self, name), f"{type(self).__name__}: {name}", positive=True)
        for name, least in integers.items():
            value, label = getattr(self, name), f"{type(self).__name__}: {name}"
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise ProblemError(f"{label} must be an integer of at least {least}, got {value!r}.")


@dataclass(frozen=True)
class _Spectral(RandomField):
    """g = sum_k a_k xi_k phi_k with a_k = sigma (lambda_k + tau^2)^(-alpha/2), on a grid of points^dimension points."""

    points: int
    dimension: int
    alpha: float
    tau: float
    deviation: float | None

    def __post_init__(self) -> None:
        self._check("alpha", "tau", *(["deviation"] if self.deviation is not None else []), points=2, dimension=1)
        if self.alpha <= self.dimension / 2:
            raise ProblemError(
                f"{type(self).__name__}: alpha must be larger than dimension / 2, got {self.alpha} in dimension "
                f"{self.dimension}: the variance would grow without bound with the number of points."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.points,) * self.dimension

    def _amplitudes(self, waves: Array) -> Array:
        """The a_k, without that of k = 0, for the square roots of the lambda_k along one axis."""
        squares = sum(axis**2 for axis in np.meshgrid(*[waves] * self.dimension, indexing="ij"))
        sigma = self.tau ** (self.alpha - self.dimension / 2)
        amplitudes = np.asarray(sigma * (squares + self.tau**2) ** (-self.alpha / 2))
        amplitudes.flat[0] = 0.0
        return amplitudes if self.deviation is None else amplitudes * (self.deviation / np.linalg.norm(amplitudes))


@dataclass(frozen=True)
class PeriodicField(_Spectral):
    """g = Re sum_k sqrt(2) sigma (4 pi^2 k.k + tau^2)^(-alpha/2) xi_k exp(2 pi i k.x), a periodic Gaussian field.

    The xi_k are complex normal of variance 1, and k = 0 is left out: every sample has mean zero. With the
    defaults, np.exp(g) is the diffusion of Wang et al., Accelerating data generation for neural operators via Krylov
    subspace recycling, ICLR 2024.

    Parameters
    ----------
    points : s, the number of points x = i/s along each axis; k runs from -s/2 to s/2 - 1.
    dimension : d, at least 1.
    alpha : decay of the spectrum, larger than d/2.
    tau : inverse correlation length.
    deviation : the standard deviation of g at every point; None takes sigma = tau^(alpha - d/2).

    Examples
    --------
    >>> PeriodicField(50, deviation=0.5).sample(np.random.default_rng(5)).shape
    (50, 50)
    """

    dimension: int = 2
    alpha: float = 2.5
    tau: float = 7.0
    deviation: float | None = None

    def sample(self, generator: np.random.Generator) -> Array:
        real, imaginary = generator.standard_normal((2, *self.shape))
        modes = self._amplitudes(2 * np.pi * scipy.fft.fftfreq(self.points, 1 / self.points)) * (real + 1j * imaginary)
        return np.ascontiguousarray(scipy.fft.ifftn(modes, norm="forward").real)  # without division by s^d


@dataclass(frozen=True)
class CosineField(_Spectral):
    """g = sum_k sigma (pi^2 k.k + tau^2)^(-alpha/2) xi_k phi_k, a Gaussian field with dg/dn = 0 on the unit cube.

    The xi_k are iid N(0, 1) and phi_k is the product of the sqrt(2) cos(pi k_j x_j) with k_j > 0; k = 0 is left out:
    every sample has mean zero. With the defaults, threshold(g, 3, 12) is the Darcy coefficient of Li et al., Fourier
    neural operator for parametric partial differential equations, ICLR 2021.

    Parameters
    ----------
    points : s, the number of cells along each axis, at whose centres g is given; k_j runs from 0 to s - 1.
    dimension, alpha, tau : as for `PeriodicField`.
    deviation : the root of the variance of g, averaged over the grid; None takes sigma = tau^(alpha - d/2).

    Examples
    --------
    >>> g = CosineField(32).sample(np.random.default_rng(5))
    >>> np.unique(threshold(g, low=3, high=12)).tolist()
    [3.0, 12.0]
    """

    dimension: int = 2
    alpha: float = 2.0
    tau: float = 3.0
    deviation: float | None = None

    def sample(self, generator: np.random.Generator) -> Array:
        modes = self._amplitudes(np.pi * np.arange(0.0, self.points)) * generator.standard_normal(self.shape)
        # The transform sums orthonormal vectors, which are the phi_k s^(-d/2).
        return np.asarray(scipy.fft.idctn(self.points ** (self.dimension / 2) * modes, norm="ortho"))


@dataclass(frozen=True)
class CosineSeries(RandomField):
    """g = sum_l theta_l (pi^2 l.l + tau^2)^(-1) phi_l over the `modes` smallest l.l > 0, on the unit square.

    The theta_l are iid N(0, 1) and phi_l is the product of the sqrt(2) cos(pi l_j x_j) with l_j > 0; of equal l.l
    the smallest l_1 comes first. With the defaults, 20 + np.tanh(g) is the wave speed of de Hoop et al., The
    cost-accuracy trade-off in operator learning with neural networks, arXiv 2203.13181.

    Parameters
    ----------
    points : the number of points along each axis, at equal distances from 0 to 1.
    modes : the number of terms.
    tau : inverse correlation length.

    Examples
    --------
    >>> CosineSeries(33).sample(np.random.default_rng(5)).shape
    (33, 33)
    """

    points: int
    modes: int = 100
    tau: float = 3.0

    def __post_init__(self) -> None:
        self._check("tau", points=2, modes=1)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.points, self.points)

    def sample(self, generator: np.random.Generator) -> Array:
        waves = np.arange(math.isqrt(2 * self.modes) + 2)  # a quarter disc of this radius has more than `modes` pairs
        squares = np.add.outer(waves**2, waves**2)
        chosen = np.argsort(squares, axis=None, kind="stable")[1 : self.modes + 1]
        coefficients = np.zeros(squares.shape)
        theta = generator.standard_normal(self.modes)
        coefficients.flat[chosen] = theta / (np.pi**2 * squares.flat[chosen] + self.tau**2)
        cosines = np.cos(np.pi * np.outer(waves, np.linspace(0.0, 1.0, self.points)))
        cosines[1:] *= math.sqrt(2)
        return np.asarray(cosines.T @ coefficients @ cosines)


@dataclass(frozen=True)
class ChebyshevSeries(RandomField):
    """g = sum_k c_k T_k(2 x - 1) for k = 0, .., degree, with c_k iid uniform in (-1, 1).

    Parameters
    ----------
    points : the x, numbers from 0 to 1.
    degree : of the polynomial.

    Examples
    --------
    >>> series = ChebyshevSeries([0.0, 0.25, 1.0], degree=1)
    >>> series.evaluate(np.array([1.0, 0.5])).round(12).tolist()
    [0.5, 0.75, 1.5]
    """

    points: Sequence[float]
    degree: int = 5

    def __post_init__(self) -> None:
        self._check(degree=0)
        points = np.asarray(self.points)
        if points.ndim != 1 or points.dtype.kind not in "iuf" or not ((points >= 0) & (points <= 1)).all():
            raise ProblemError("ChebyshevSeries: points must be a list of numbers from 0 to 1.")
        object.__setattr__(self, "points", tuple(points.astype(float).tolist()))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.points),)

    def sample(self, generator: np.random.Generator) -> Array:
        return self.evaluate(self.coefficients(generator))

    def coefficients(self, generator: np.random.Generator) -> Array:
        """The c_k (degree + 1,) of the sample that the generator would give."""
        return generator.uniform(-1.0, 1.0, self.degree + 1)

    def evaluate(self, coefficients: Array) -> Array:
        """Values (.., points) of the series with coefficients (.., degree + 1)."""
        angles = np.arccos(2 * np.array(self.points) - 1)
        return np.asarray(coefficients @ np.cos(np.outer(np.arange(self.degree + 1), angles)))


def threshold(g: Array, low: float, high: float) -> Array:
    """a = high where g >= 0, low elsewhere: a medium of two phases.

    Examples
    --------
    >>> threshold(np.array([-0.1, 0.0, 2.0]), low=3, high=12).tolist()
    [3.0, 12.0, 12.0]
    """
    return np.where(g >= 0, float(high), float(low))


def _plain(value: Any) -> Any:
    """A parameter as a JSON value."""
    if isinstance(value, RandomField):
        return value.definition
    if not isinstance(value, Mesh):
        return np.asarray(value).tolist()
    return hashlib.sha256(value.points.tobytes() + value.cells.tobytes()).hexdigest()
