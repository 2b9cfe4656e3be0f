"""The cost of the state, F: a sum of convex functionals, one for each observation."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, joined
from ..space import Space, product
from .control import EPS

UNDERFLOW = 1e-150  # what the norm of numbers whose squares underflow may be


class Functional(ABC):
    """A convex function F of one observation y, with its conjugate F*.

    Attributes
    ----------
    space : of the observation.
    modulus : of strong convexity of F*, so that F' is Lipschitz continuous with its inverse; 0 where F has no
        derivative, and infinite where F is affine, so that dom F* is a point.
    slack : c, the least known with <p - p*, y* - y> <= c/4 residual(y, p) for all y*, p* in dF(y*). The residual is
        no less than the left-hand side: 4 will do, and 2 is right for half a square.

    Notes
    -----
    Law: residual(y, p) = F(y) + F*(p) - <y, p> >= 0 for p in dom F*, and 0 for p = gradient(y).
    """

    space: Space
    modulus: float
    slack: ClassVar[float] = 4.0

    @abstractmethod
    def value(self, y: Array) -> float:
        """F(y)."""

    @abstractmethod
    def gradient(self, y: Array) -> Array:
        """F'(y), where F is smooth, else an element of dF(y)."""

    @abstractmethod
    def second(self, y: Array, h: Array) -> Array:
        """F''(y) h, for smooth F."""

    @abstractmethod
    def residual(self, y: Array, p: Array) -> float:
        """F(y) + F*(p) - <y, p> for p in dom F*, free of cancellation."""

    @abstractmethod
    def rounding(self, y: Array, p: Array) -> float:
        """The norm of the change of y that makes up for what rounding does in residual(y, p)."""

    @abstractmethod
    def prox_conjugate(self, v: Array, s: float) -> Array:
        """argmin_p s F*(p) + 1/2 ||p - v||^2."""

    @abstractmethod
    def nearest(self, p: Array) -> Array:
        """The vector of dom F* next to p."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of the data of F."""


@dataclass(frozen=True, eq=False)
class Quadratic(Functional):
    """F(y) = 1/2 ||y - target||^2, F*(p) = 1/2 ||p||^2 + <target, p>."""

    space: Space
    target: Array
    modulus: float = 1.0

    slack: ClassVar[float] = 2.0

    def value(self, y: Array) -> float:
        return 0.5 * self.space.norm(y - self.target) ** 2

    def gradient(self, y: Array) -> Array:
        return y - self.target

    def second(self, y: Array, h: Array) -> Array:
        return h

    def residual(self, y: Array, p: Array) -> float:
        return 0.5 * self.space.norm(y - self.target - p) ** 2

    def rounding(self, y: Array, p: Array) -> float:
        size = np.abs(y - self.target) + np.abs(p)
        return EPS * self.space.norm(size) + (UNDERFLOW if self.space.any(size) else 0.0)

    def prox_conjugate(self, v: Array, s: float) -> Array:
        return (v - s * self.target) / (1.0 + s)

    def nearest(self, p: Array) -> Array:
        return p

    def fingerprint(self) -> str:
        return "quadratic" + self.space.digest(self.target)


@dataclass(frozen=True, eq=False)
class LinearFunctional(Functional):
    """F(y) = <1, y>, F*(p) = 0 for p = 1, the only vector in its domain."""

    space: Space
    modulus: float = math.inf

    def value(self, y: Array) -> float:
        return self.space.integral(y)

    def gradient(self, y: Array) -> Array:
        return np.ones_like(y)

    def second(self, y: Array, h: Array) -> Array:
        return np.zeros_like(h)

    def residual(self, y: Array, p: Array) -> float:
        return 0.0

    def rounding(self, y: Array, p: Array) -> float:
        return 0.0

    def prox_conjugate(self, v: Array, s: float) -> Array:
        return np.ones_like(v)

    def nearest(self, p: Array) -> Array:
        return np.ones_like(p)

    def fingerprint(self) -> str:
        return "affine"


class StateCost:
    """F(y) = sum_i F_i(y_i) on a product of spaces, with what certificates and methods ask of it.

    Weights of the observations are part of the inner products of their spaces.
    """

    def __init__(self, functionals: Sequence[Functional]) -> None:
        self.functionals = tuple(functionals)
        self.space = product([functional.space for functional in functionals])

    @cached_property
    def smooth(self) -> bool:
        """Whether F has a Lipschitz continuous derivative."""
        return self.modulus > 0

    @cached_property
    def quadratic(self) -> bool:
        """Whether F'' is constant, and the identity but for affine parts."""
        return all(isinstance(functional, (Quadratic, LinearFunctional)) for functional in self.functionals)

    @cached_property
    def modulus(self) -> float:
        """Of strong convexity of F*."""
        return min(functional.modulus for functional in self.functionals)

    @property
    def scale(self) -> float:
        """The modulus as step lengths take it: 1 where it tells nothing of them."""
        return self.modulus if 0 < self.modulus < math.inf else 1.0

    def value(self, y: Array) -> float:
        return math.fsum(f.value(part) for f, part in self._parts(y))

    def gradient(self, y: Array) -> Array:
        return self._joined(f.gradient(part) for f, part in self._parts(y))

    def second(self, y: Array) -> Callable[[Array], Array]:
        """F''(y)."""
        return lambda h: self._joined(f.second(*parts) for f, *parts in self._parts(y, h))

    def prox_conjugate(self, v: Array, s: float) -> Array:
        """argmin_p s F*(p) + 1/2 ||p - v||^2."""
        return self._joined(f.prox_conjugate(part, s) for f, part in self._parts(v))

    def nearest(self, p: Array) -> Array:
        """The vector of dom F* next to p."""
        return self._joined(f.nearest(part) for f, part in self._parts(p))

    def start(self) -> Array:
        """The dual vector of a cold start."""
        return self.nearest(self.space.zeros())

    def free(self, p: Array) -> Array:
        """p with zeros where dom F* is a point."""
        return self._joined(part * (f.modulus < math.inf) for f, part in self._parts(p))

    def residual(self, y: Array, p: Array, error: float = 0.0) -> float:
        """F(y) + F*(p) - <y, p> for p in dom F*, at most, where y may err by a norm.

        Notes
        -----
        With the modulus m, the residual grows from y to y + h by <F'(y) - p, h> + ||h||^2/(2 m) at most, and
        ||F'(y) - p||^2 <= 2/m residual(y, p).
        """
        residual = math.fsum(f.residual(*parts) for f, *parts in self._parts(y, p))
        return (math.sqrt(residual) + math.sqrt(self.residual_from(error))) ** 2 if error > 0 else residual

    def residual_from(self, error: float) -> float:
        """What an error of y makes of a residual that vanishes."""
        return error and (error**2 / (2.0 * self.modulus) if self.modulus > 0 else math.inf)

    def distance(self, y: Array, p: Array, error: float = 0.0) -> float:
        """d with <p - p*, y* - y> <= d^2/4 for all y* and p* in dF(y*), p in dom F*, where y may err by a norm.

        For half a square it is ||y - target - p||.
        """
        d = math.hypot(*(math.sqrt(f.slack * f.residual(*parts)) for f, *parts in self._parts(y, p)))
        return d + self.distance_from(error)

    def distance_from(self, error: float) -> float:
        """What an error of y makes of a distance that vanishes."""
        if error == 0.0 or not self.smooth:
            return error and math.inf
        return error * math.sqrt(max(f.slack / (2.0 * f.modulus) for f in self.functionals))

    def met_by(self, y: Array) -> bool:
        """Whether y is the target but for rounding: the dual vector 0 tells more then than F'(y), mere noise."""
        size = self.space.norm(y)
        return size > 0 and self.distance(y, self.space.zeros()) <= 1e-8 * size

    def rounding(self, y: Array, p: Array) -> float:
        """The norm of the change of y that makes up for what rounding does in residual(y, p)."""
        return math.hypot(*(f.rounding(*parts) for f, *parts in self._parts(y, p)))

    def fingerprint(self) -> str:
        return "".join(functional.fingerprint() for functional in self.functionals)

    def _parts(self, *vectors: Array) -> list[tuple[Any, ...]]:
        return list(zip(self.functionals, *(self.space.split(vector) for vector in vectors), strict=True))

    def _joined(self, parts: Iterable[Array]) -> Array:
        return joined(list(parts))
