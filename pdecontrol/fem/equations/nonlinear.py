"""Elliptic equations with nonlinear terms."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from ...arrays import Array
from ..engine import Engine, Integral, constant_mass
from .elliptic import LinearElliptic
from .equation import StateEquation
from .terms import Term


class NonlinearElliptic(StateEquation):
    """A linear elliptic equation with nonlinear terms: e(y, u) = A y + N_1(y) + .. - f - C u."""

    affine = None

    def __init__(self, linear: LinearElliptic, terms: Sequence[Term], engine: Engine) -> None:
        self._linear, self._terms, self._engine = linear, terms, engine
        self.coupling = linear.coupling
        self.definite = linear.definite and all(term.symmetric for term in terms)
        self.fingerprint = hashlib.sha256(b"".join(term.function.fingerprint for term in terms)).hexdigest()

    def residual(self, y: Array, u: Array) -> Array:
        return sum((term.residual(y) for term in self._terms), self._linear.residual(y, u))

    def jacobian(self, y: Array, u: Array, shift: float = 0.0) -> Any:
        shifted = [constant_mass(self._engine.cells, shift)] if shift else []
        return self._linear.assemble([*self._slopes(y), *shifted])

    def definite_at(self, y: Array, u: Array, shift: float = 0.0) -> bool:
        return all(term.symmetric for term in self._terms) and self._linear.definite_with(self._slopes(y), shift)

    def second(self, y: Array, u: Array, p: Array, eta: Array, h: Array) -> tuple[Array, Array]:
        return sum((term.second(y, p, eta) for term in self._terms), 0.0 * y), self.coupling.space.zeros()

    def _slopes(self, y: Array) -> list[Integral]:
        return [integral for term in self._terms for integral in term.slope(y)]
