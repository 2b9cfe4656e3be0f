"""Equations in which the control multiplies the state."""

from __future__ import annotations

from math import comb
from typing import Any

from ...arrays import Array
from ...problem import Coefficient
from ..engine import Engine
from .equation import StateEquation


class ControlledReaction(StateEquation):
    """e(y, u) = e_0(y) + C (u P y), where e_0 is an equation without control and P y = M_u^-1 C' y.

    P y has the values of y at the nodes of P1 controls, or its means over the cells of P0 controls. The new term is
    (u P y, P v) in the inner product of the controls, so that the equation is symmetric if it was.
    """

    affine = None

    def __init__(self, base: StateEquation, control: Coefficient, engine: Engine) -> None:
        self._base, self._engine, self.coupling = base, engine, base.coupling
        self.definite, self.fingerprint, self.varies = base.definite, base.fingerprint, base.varies
        self._zero = base.coupling.space.zeros()
        # ||P y||^2 <= bound ||y||^2 in the inner products of controls and states: by Jensen for means; the largest
        # |y(x)|^2 at the vertices of a simplex over the mean of y^2 is this for polynomials of the degree.
        nodal = control.element == "P1"
        self._bound = comb(engine.degree + engine.mesh.dim, engine.degree) ** 2 if nodal else 1

    def residual(self, y: Array, u: Array) -> Array:
        return self._base.residual(y, self._zero) + self.coupling.apply(u * self._seen(y))

    def jacobian(self, y: Array, u: Array, shift: float = 0.0) -> Any:
        return self.coupling.gram(self._engine, u, self._base.jacobian(y, self._zero, shift))

    def definite_at(self, y: Array, u: Array, shift: float = 0.0) -> bool:
        least = min(-self.coupling.space.max(-u), 0.0)
        return self._base.definite_at(y, self._zero, shift + self._bound * least)

    def second(self, y: Array, u: Array, p: Array, eta: Array, h: Array) -> tuple[Array, Array]:
        mixed = self.coupling.apply(h * self._seen(p))
        if self._base.affine is None:
            mixed = mixed + self._base.second(y, self._zero, p, eta, self._zero)[0]
        return mixed, self._seen(eta) * self._seen(p)

    def couple(self, y: Array, u: Array, h: Array) -> Array:
        return -self.coupling.apply(h * self._seen(y))

    def couple_transposed(self, y: Array, u: Array, p: Array) -> Array:
        return -self._seen(y) * self._seen(p)

    def _seen(self, y: Array) -> Array:
        """P y."""
        return self.coupling.transposed(y)
