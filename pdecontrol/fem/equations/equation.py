"""The discretised state equation e(y, u) = 0, steady or of one time step, behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from ...arrays import Array
from ...errors import ProblemError
from ..control import Coupling


class Affine(NamedTuple):
    """What bounds of rounding need to know of e(y, u) = A y - f - C u."""

    load_size: Array  # of the terms of f, entry by entry, however much of them cancels
    symmetric: bool  # A
    row_sums: tuple[Array, Array] | None = None  # A 1 and the sizes of its terms, where known better than from A


class StateEquation(ABC):
    """e(y, u) = 0 with its derivatives.

    States y have the entries of this process, those that Dirichlet conditions fix among them; e(y, u) is a functional
    on states, of which the map takes the free entries. An equation has a residual, a matrix and, unless it is affine, a
    second derivative; one in which the control is not a load, -C u, has its own `couple` and `couple_transposed` too.

    Notes
    -----
    The signs are such that S' h = e_y^-1 couple(h) and S'* w = couple_transposed(p) with p = e_y^-T w. With
    eta = e_y^-1 couple(h) and (f, g) = second(p, eta, h), the derivative of S'* w along h is

        couple_transposed(e_y^-T (w' - f)) - g,    w' the derivative of w.
    """

    coupling: Coupling  # C, and the space of u
    affine: Affine | None  # None for equations that are not
    definite: bool  # whether e_y is symmetric positive definite, wherever `definite_at` does not deny it
    fingerprint: str  # of what the sampled data do not tell
    varies: bool = False  # with time, beyond what the data say

    @abstractmethod
    def residual(self, y: Array, u: Array) -> Array:
        """e(y, u)."""

    @abstractmethod
    def jacobian(self, y: Array, u: Array, shift: float = 0.0) -> Any:
        """The matrix of e_y + shift * mass; the shift is that of implicit time steps."""

    def second(self, y: Array, u: Array, p: Array, eta: Array, h: Array) -> tuple[Array, Array]:
        """<p, e_yy eta + e_yu h>, a functional on states, and M_u^-1 <p, e_uy eta + e_uu h>."""
        raise ProblemError(f"{type(self).__name__} is not affine and has no second derivatives: define second.")

    def definite_at(self, y: Array, u: Array, shift: float = 0.0) -> bool:
        """Whether e_y + shift * mass is known to be symmetric positive definite there."""
        return self.definite

    def couple(self, y: Array, u: Array, h: Array) -> Array:
        """-e_u h."""
        return self.coupling.apply(h)

    def couple_transposed(self, y: Array, u: Array, p: Array) -> Array:
        """-M_u^-1 e_u' p."""
        return self.coupling.transposed(p)
