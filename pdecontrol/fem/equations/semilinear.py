"""Semilinear elliptic equations."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ...arrays import Array, real_array
from ...errors import ProblemError
from ...problem import Semilinear
from ..engine import Integral, mass
from ..sampler import Sampler
from .elliptic import LinearElliptic
from .equation import StateEquation


class SemilinearElliptic(StateEquation):
    """A linear elliptic equation with the term c r(y): e(y, u) = A y + R(y) - f - C u, (R(y), v) = int c r(y) v."""

    affine = None

    def __init__(self, term: Semilinear, linear: LinearElliptic, sampler: Sampler) -> None:
        self._linear, self._engine, self._cells = linear, sampler.engine, sampler.engine.cells
        self._r, self._slope = term.function, term.derivative
        self._weight = sampler.on_cells(term.coefficient, "the coefficient of Semilinear", 0.0)
        self.coupling, self.definite = linear.coupling, linear.definite
        far = np.append(np.geomspace(2.0, 1e6, 60), np.geomspace(1e7, 1e150, 40))
        probe = np.concatenate([np.linspace(-2.0, 2.0, 41), far, -far])
        self.fingerprint = hashlib.sha256(_probed(self._r, probe) + _probed(self._slope, probe)).hexdigest()

    def residual(self, y: Array, u: Array) -> Array:
        r = self._evaluate(self._r, self._cells.values(y))
        return self._linear.residual(y, u) + self._cells.functional(self._weight * r)

    def jacobian(self, y: Array, u: Array, shift: float = 0.0) -> Any:
        return self._linear.assemble([Integral(mass, self._cells, self._reaction(y) + shift)])

    def definite_at(self, y: Array, u: Array, shift: float = 0.0) -> bool:
        return self.definite and not self._engine.group.any(bool(np.any(self._reaction(y) + shift < 0)))

    def second(self, y: Array, u: Array, p: Array, eta: Array, h: Array) -> tuple[Array, Array]:
        cells, values = self._cells, self._cells.values(y)
        # r'' steers Newton's method and enters an estimate of convexity: a quotient of r' is exact enough.
        step = 1e-5 * (1.0 + np.abs(values))
        above, below = (self._evaluate(self._slope, values + s) for s in (step, -step))
        second = (above - below) / (2 * step)
        return cells.functional(
            self._weight * second * cells.values(p) * cells.values(eta)
        ), self.coupling.space.zeros()

    def _reaction(self, y: Array) -> Array:
        """c r'(y)."""
        return self._weight * self._evaluate(self._slope, self._cells.values(y))

    def _evaluate(self, function: Callable[[Array], Array], values: Array) -> Array:
        # Newton's method backtracks where values overflow.
        with self._engine.group.agree(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            try:
                result = np.broadcast_to(real_array(function(values.ravel()), "the values"), values.size)
            except Exception as error:
                raise ProblemError(
                    f"Semilinear: a function failed on an array of {values.size} values of y: "
                    f"{type(error).__name__}: {error}"
                ) from error
            return result.reshape(values.shape)


def _probed(function: Callable[[Array], Array], probe: Array) -> bytes:
    """The values of a function of y, one by one where it is not defined at all of them."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.asarray(function(probe), dtype=float).tobytes()
        except Exception as error:
            if probe.size == 1:
                return type(error).__name__.encode()
            return b"".join(_probed(function, value) for value in np.split(probe, probe.size))
