"""Nonlinear terms N(y) of an equation, functionals on states, with their first and second derivatives."""

from __future__ import annotations

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ...arrays import Array
from ...errors import ProblemError, StateError
from ...problem import Convection, Elliptic, FunctionOfState, Quasilinear, Semilinear
from ..engine import Engine, Integral, advection, carried, diffusion, mass
from ..sampler import Sampler
from .elliptic import place, refuse_unless_positive

FAR = np.append(np.geomspace(2.0, 1e6, 60), np.geomspace(1e7, 1e150, 40))
PROBE = np.concatenate([np.linspace(-2.0, 2.0, 41), FAR, -FAR])


class Term(ABC):
    """One of the terms of an equation."""

    function: FunctionAtPoints
    symmetric: bool  # whether N' is known to be an integral of `mass`

    @abstractmethod
    def residual(self, y: Array) -> Array:
        """N(y)."""

    @abstractmethod
    def slope(self, y: Array) -> Sequence[Integral]:
        """N'(y), a sum of bilinear forms."""

    @abstractmethod
    def second(self, y: Array, p: Array, eta: Array) -> Array:
        """v -> <p, N''(y) (eta, v)>."""


def nonlinear_terms(equation: Elliptic, sampler: Sampler) -> list[Term]:
    """Those that an equation has."""
    terms: list[Term] = []
    if isinstance(equation.diffusion, Quasilinear):
        terms.append(QuasilinearTerm(equation.diffusion, sampler))
    if equation.convection is not None:
        terms.append(ConvectionTerm(equation.convection, sampler))
    if equation.semilinear is not None:
        terms.append(SemilinearTerm(equation.semilinear, sampler))
    return terms


class FunctionAtPoints:
    """A function of y and its derivatives, of values (cells, quadrature) of y."""

    def __init__(self, term: FunctionOfState, engine: Engine) -> None:
        self._term, self._group = term, engine.group
        self.fingerprint = b"".join(_probed(term, which, PROBE) for which in ("function", "derivative"))

    def __call__(self, values: Array) -> Array:
        return self._evaluate("function", values)

    def slope(self, values: Array) -> Array:
        """The first derivative."""
        return self._evaluate("derivative", values)

    def curvature(self, values: Array) -> Array:
        """The second derivative: it steers Newton's method and enters an estimate of convexity, a quotient will do."""
        step = 1e-5 * (1.0 + np.abs(values))
        above, below = (self.slope(values + s) for s in (step, -step))
        return (above - below) / (2 * step)

    def _evaluate(self, which: Literal["function", "derivative"], values: Array) -> Array:
        with self._group.agree():
            result = self._term.values(which, values.ravel())
        return result.reshape(*result.shape[:-1], *values.shape)


class SemilinearTerm(Term):
    """(N(y), v) = int c r(y) v."""

    symmetric = True

    def __init__(self, term: Semilinear, sampler: Sampler) -> None:
        self.function, self._cells = FunctionAtPoints(term, sampler.engine), sampler.engine.cells
        self._weight = sampler.on_cells(term.coefficient, "the coefficient of Semilinear", 0.0)

    def residual(self, y: Array) -> Array:
        return self._cells.functional(self._weight * self.function(self._cells.values(y)))

    def slope(self, y: Array) -> Sequence[Integral]:
        return [Integral(mass, self._cells, self._weight * self.function.slope(self._cells.values(y)))]

    def second(self, y: Array, p: Array, eta: Array) -> Array:
        y, p, eta = map(self._cells.values, (y, p, eta))
        return self._cells.functional(self._weight * self.function.curvature(y) * p * eta)


class ConvectionTerm(Term):
    """(N(y), v) = int b(y) . grad y v."""

    symmetric = False

    def __init__(self, term: Convection, sampler: Sampler) -> None:
        self.function, self._cells = FunctionAtPoints(term, sampler.engine), sampler.engine.cells
        given, dim = len(term.values("function", np.zeros(1))), sampler.engine.mesh.dim
        if given != dim:
            raise ProblemError(f"Convection: the function has {given} components in {dim}D, where it needs {dim}.")

    def residual(self, y: Array) -> Array:
        return self._cells.functional(_dot(self.function(self._cells.values(y)), self._cells.gradients(y)))

    def slope(self, y: Array) -> Sequence[Integral]:
        values = self._cells.values(y)
        reaction = _dot(self.function.slope(values), self._cells.gradients(y))
        return [Integral(advection, self._cells, self.function(values)), Integral(mass, self._cells, reaction)]

    def second(self, y: Array, p: Array, eta: Array) -> Array:
        gradient, turned = self._cells.gradients(y), self._cells.gradients(eta)
        y, p, eta = map(self._cells.values, (y, p, eta))
        slope, curvature = self.function.slope(y), self.function.curvature(y)
        return self._cells.functional((_dot(curvature, gradient) * eta + _dot(slope, turned)) * p, slope * (eta * p))


class QuasilinearTerm(Term):
    """(N(y), v) = int k kappa(y) grad y . grad v."""

    symmetric = False

    def __init__(self, term: Quasilinear, sampler: Sampler) -> None:
        self.function, self._engine = FunctionAtPoints(term, sampler.engine), sampler.engine
        self._cells = sampler.engine.cells
        self._weight = sampler.on_cells(term.coefficient, "the coefficient of Quasilinear", None)
        refuse_unless_positive(self._weight, "the coefficient of Quasilinear", sampler.engine)

    def residual(self, y: Array) -> Array:
        flux = self._diffusion(self._cells.values(y)) * self._cells.gradients(y)
        return self._cells.functional(np.zeros(flux.shape[1:]), flux)

    def slope(self, y: Array) -> Sequence[Integral]:
        values = self._cells.values(y)
        flux = self._weight * self.function.slope(values) * self._cells.gradients(y)
        return [Integral(diffusion, self._cells, self._diffusion(values)), Integral(carried, self._cells, flux)]

    def second(self, y: Array, p: Array, eta: Array) -> Array:
        gradient, tested, turned = map(self._cells.gradients, (y, p, eta))
        y, eta = map(self._cells.values, (y, eta))
        slope, curvature = self._weight * self.function.slope(y), self._weight * self.function.curvature(y)
        weight = curvature * eta * _dot(gradient, tested) + slope * _dot(turned, tested)
        return self._cells.functional(weight, slope * eta * tested)

    def _diffusion(self, values: Array) -> Array:
        """k kappa(y); raises StateError where kappa is not positive."""
        kappa = self.function(values)
        with self._engine.group.agree():
            if np.any(kappa <= 0):
                cell, point = np.argwhere(kappa <= 0)[0]
                raise StateError(
                    f"Quasilinear: the diffusion must be positive, it is {kappa[cell, point]:.6g} at y = "
                    f"{values[cell, point]:.6g}, which is the state at x = {place(self._engine, cell, point)}. Give a "
                    "function that is positive there, or start from a control with another state."
                )
        return self._weight * kappa


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("dcq,dcq->cq", a, b)


def _probed(term: FunctionOfState, which: Literal["function", "derivative"], probe: Array) -> bytes:
    """A digest of the values for some y, one by one where a function is not defined at all of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return hashlib.sha256(term.values(which, probe).tobytes()).digest()
        except ProblemError:
            if probe.size == 1:
                return b"none"
            return b"".join(_probed(term, which, value) for value in np.split(probe, probe.size))
