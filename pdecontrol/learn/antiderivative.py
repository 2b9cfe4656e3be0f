"""Antiderivatives of random functions: the smallest operator that networks are tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.polynomial import chebyshev as _untyped

from ..arrays import Array
from ..errors import ProblemError
from ..problem import check_number
from .family import check_size
from .source import Batch, Source

chebyshev: Any = _untyped
NODES = 6.0  # Chebyshev nodes for each length, beside 20


@dataclass(frozen=True)
class Antiderivative(Source):
    """y' = u on (0, 1), y(0) = 0, for Gaussian u with the covariance exp(-(x - x')^2 / (2 length^2)).

    Parameters
    ----------
    length : see above.
    sensors, points : at how many points with equal distances, 0 and 1 included, u and y are given.

    Notes
    -----
    u is the polynomial through a Gaussian vector at Chebyshev nodes, enough of them that its covariance is the one
    above to ten digits; so y is exact to rounding.

    Examples
    --------
    >>> Antiderivative().shapes
    {'input': (100,), 'solution': (101,)}
    """

    name: ClassVar[str] = "antiderivative"
    length: float = 0.2
    sensors: int = 100
    points: int = 101

    def __post_init__(self) -> None:
        check_number(self.length, "length", positive=True)
        if self.length < 0.01:
            raise ProblemError(f"length must be at least 0.01, got {self.length}.")
        check_size(self, "sensors", 2)
        check_size(self, "points", 2)

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @property
    def definition(self) -> dict[str, Any]:
        return {"family": self.name} | asdict(self)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"input": (self.sensors,), "solution": (self.points,)}

    @cached_property
    def _root(self) -> Array:
        """The matrix that takes independent numbers to Chebyshev coefficients of u on (-1, 1)."""
        count = 20 + round(NODES / self.length)
        nodes = chebyshev.chebpts1(count)
        covariance = np.exp(-((np.subtract.outer(nodes, nodes) / 2) ** 2) / (2 * self.length**2))
        values, vectors = np.linalg.eigh(covariance)
        return np.linalg.solve(chebyshev.chebvander(nodes, count - 1), vectors * np.sqrt(np.maximum(values, 0.0)))

    def plan(
        self, generators: Sequence[np.random.Generator], count: int, tolerance: float, strategy: str
    ) -> dict[str, Any]:
        if strategy != "auto":
            raise ProblemError(f"antiderivatives are found by a formula, not by strategy={strategy!r}: leave 'auto'.")
        return {"strategy": "formula", "reason": "antiderivatives of Chebyshev polynomials"}

    def batch(self, plan: Mapping[str, Any], generators: Sequence[np.random.Generator], tolerance: float) -> Batch:
        drawn = [self._root @ generator.standard_normal(self._root.shape[1]) for generator in generators]
        u = np.stack(drawn, axis=1)
        y = chebyshev.chebint(u, lbnd=-1, scl=0.5)  # d/dx is twice that by the coordinate on (-1, 1)
        defect = 2 * chebyshev.chebder(y) - u
        sensors, points = (np.linspace(-1.0, 1.0, count) for count in (self.sensors, self.points))
        arrays = {"input": chebyshev.chebval(sensors, u), "solution": chebyshev.chebval(points, y)}
        residuals = np.linalg.norm(defect, axis=0) / np.linalg.norm(u, axis=0)
        return Batch(arrays, residuals, np.full(len(generators), np.nan))
