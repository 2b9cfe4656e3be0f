"""Spaces: coefficient vectors with their inner product, and functions in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .errors import DataError
from .lagrange import Lagrange

Array = NDArray[np.float64]
Data = float | Callable[[Array], Array] | Array


def call(function: Callable[[Array], Any], points: Array, scale: float, name: str) -> Any:
    """What a function of space returns at the columns of points; for the parameters and errors see `sample`.

    The points are rounded to twelve decimals of `scale`, so that data with jumps are the same however the points were
    computed. Decimals keep the numbers at which users put their jumps, and no point leaves an interval between such.
    """
    decimals = 12 - math.floor(math.log10(scale))
    try:
        return function(np.round(points, decimals))
    except Exception as error:
        raise DataError(
            f"{name}: the function failed on x of shape {points.shape}: {type(error).__name__}: {error}. "
            "Functions of space take x of shape (dim, n) and return n values."
        ) from error


def sample(data: Data, points: Array, scale: float, name: str, infinite: bool = False) -> Array:
    """Values data(x) at the columns x of points, checked.

    Parameters
    ----------
    data : a number, an array (n,), or a function of x with shape (dim, n) that returns (n,) or a number.
    points : shape (dim, n), rounded to about 1e-12 of `scale` before a function sees them.
    scale : a length, the diameter of the domain.
    name : what the data are, for the message.
    infinite : whether infinite values are allowed, as in bounds.

    Raises
    ------
    DataError
        If the values have the wrong shape, are NaN, or are infinite where they must not be.
    """
    count = points.shape[1]
    if callable(data):
        data = call(data, points, scale, name)
    try:
        raw = np.asarray(data)
        if raw.dtype.kind not in "biuf":  # not None, text or complex numbers
            raise TypeError
        values = raw.astype(float)
    except (TypeError, ValueError):
        raise DataError(f"{name}: expected a number or {count} real values, got {type(data).__name__}.") from None
    if values.ndim == 0:
        values = np.full(count, float(values))
    if values.shape != (count,):
        raise DataError(
            f"{name}: expected shape ({count},), one value a point, got {values.shape}. "
            "Functions of space take x of shape (dim, n) and return n values."
        )
    bad = np.isnan(values) if infinite else ~np.isfinite(values)
    if bad.any():
        where = points[:, np.argmax(bad)].round(6).tolist() if points.size else int(np.argmax(bad))
        raise DataError(f"{name}: {bad.sum()} of {count} values are NaN or infinite, the first at x = {where}.")
    return values


@dataclass(frozen=True, eq=False)
class Space:
    """Vectors a of shape (n,) with the inner product <a, b> = a' M b.

    Every reduction that an algorithm needs goes through its spaces, so that algorithms are array expressions.

    Parameters
    ----------
    mass : the matrix M, as its diagonal (n,) where it is diagonal.
    elements : the finite elements whose coefficients the vectors are; None for plain numbers.
    points : (dim, n), where data are sampled; the nodes of `elements` by default.
    factors : the spaces of which this one is the product, in order.
    """

    mass: Any
    elements: Lagrange | None = None
    points: Array | None = None
    factors: tuple[Space, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.points is None and self.elements is not None:
            object.__setattr__(self, "points", self.elements.points)

    @property
    def size(self) -> int:
        return int(self.mass.shape[0])

    @property
    def nodes(self) -> Array:
        """The points (dim, n) where data are sampled; raises DataError for plain numbers."""
        if self.points is None:
            raise DataError(f"a space of {self.size} plain numbers has no points.")
        return self.points

    @property
    def diagonal(self) -> bool:
        """Whether M is diagonal, so that proximal maps act pointwise."""
        return bool(self.mass.ndim == 1)

    @cached_property
    def scale(self) -> float:
        """Diameter of the domain, 1 for plain numbers."""
        corners = self.elements.vertices if self.elements is not None else self.points
        return float(np.linalg.norm(np.ptp(corners, axis=1))) or 1.0 if corners is not None else 1.0

    def zeros(self) -> Array:
        return np.zeros(self.size)

    def dual(self, a: Array) -> Array:
        """M a, the functional <a, .> as a vector of values on the basis."""
        return self.mass * a if self.diagonal else self.mass @ a

    def riesz(self, functional: Array) -> Array:
        """M^-1 f, the vector that represents a functional; for diagonal M."""
        return functional / self.mass

    def inner(self, a: Array, b: Array) -> float:
        return float(np.einsum("i,i->", a, self.dual(b)))  # one thread: the same sum on every run

    def norm(self, a: Array) -> float:
        return float(np.sqrt(max(self.inner(a, a), 0.0)))

    def integral(self, a: Array) -> float:
        """<1, a>."""
        return float(self.dual(a).sum())

    def interpolate(self, data: Data, name: str = "data", infinite: bool = False) -> Array:
        """Nodal values of a number, an array or a function of x; raises DataError (see `sample`)."""
        points = self.points if self.points is not None else np.zeros((0, self.size))
        if callable(data) and self.points is None:
            raise DataError(f"{name}: this space has no points, give {self.size} numbers instead of a function.")
        return sample(data, points, self.scale, name, infinite)

    def split(self, a: Array) -> list[Array]:
        """The components of a vector of a product space."""
        return np.split(a, np.cumsum([factor.size for factor in self.factors])[:-1])


def product(factors: Sequence[Space]) -> Space:
    """The product of spaces: vectors stacked, inner products added."""
    blocks = [
        sp.csr_matrix((f.mass, 2 * (np.arange(f.size),))) if f.diagonal else sp.csr_matrix(f.mass) for f in factors
    ]
    mass = sp.csr_matrix(sp.block_diag(blocks))
    return Space(mass, factors=tuple(factors))


@dataclass(frozen=True, eq=False)
class Field:
    """A function of a space: values, evaluation at points, export, plot."""

    array: Array
    space: Space
    name: str = "field"

    def __repr__(self) -> str:
        return f"<Field {self.name!r}, {self.array.size} values>"

    def __call__(self, points: Array) -> Array:
        """Values at points of shape (dim, n); raises DataError for points outside the domain."""
        return self._elements().evaluate(self.array, np.asarray(points, dtype=float))

    def save(self, path: str | Path) -> Path:
        """Write the function to a file for ParaView, in the format of its ending, .vtu by default."""
        from .export import export

        return export({self.name: self}, path)

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the function; returns the matplotlib figure, written to `path` if one is given."""
        from .plot import draw

        return draw({self.name: self}, path)

    def finite_values(self) -> Array:
        """The values; raises DataError if some are NaN or infinite, as those of an unknown state are."""
        if not np.isfinite(self.array).all():
            raise DataError(f"{self.name} has values that are NaN or infinite.")
        return self.array

    def _elements(self) -> Lagrange:
        if self.space.elements is None:
            raise DataError(f"{self.name} is a vector of {self.space.size} numbers, not a function of space.")
        return self.space.elements
