"""The discretised state equation e(y, u) = 0, steady or of one time step, behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from ...arrays import Array
from ...space import Space
from ..control import Coupling


class Affine(NamedTuple):
    """The parts of e(y, u) = A y - f - C u besides A, on which bounds of its rounding rest.

    Attributes
    ----------
    coupling : C.
    load_size : the sizes of the terms of f, entry by entry, however much of them cancels.
    symmetric : whether A is.
    row_sums : A 1 and the sizes of its terms, where they are known better than from A.
    """

    coupling: Coupling
    load_size: Array
    symmetric: bool
    row_sums: tuple[Array, Array] | None = None


class StateEquation(ABC):
    """e(y, u) = 0 with its first and second derivatives.

    States y have the entries of this process, with those that Dirichlet conditions fix; e(y, u) is a functional on
    states, of which the map takes the free entries. Data are sampled at quadrature points.

    Attributes
    ----------
    control : the space of u.
    affine : for affine equations their parts, else None.
    definite : whether e_y is symmetric positive definite wherever `definite_at` does not deny it.
    fingerprint : a digest of what the sampled data do not tell.

    Notes
    -----
    The signs are such that S' h = e_y^-1 couple(h) and S'* w = couple_transposed(e_y^-T w). For the derivative of
    S'* w along h, with p = e_y^-T w, eta = e_y^-1 couple(h), (f, g) = second(p, eta, h) and the derivative dw of w,

        p2 = e_y^-T (dw - f),      couple_transposed(p2) - g.

    Affine equations have couplings that depend on neither y nor u, and no second derivatives.
    """

    control: Space
    affine: Affine | None
    definite: bool
    fingerprint: str

    @abstractmethod
    def residual(self, y: Array, u: Array) -> Array:
        """e(y, u)."""

    @abstractmethod
    def jacobian(self, y: Array, u: Array, shift: float = 0.0) -> Any:
        """The matrix of e_y + shift * mass; the shift is that of implicit time steps."""

    @abstractmethod
    def definite_at(self, y: Array, u: Array) -> bool:
        """Whether e_y is symmetric positive definite there."""

    @abstractmethod
    def couple(self, y: Array, u: Array, h: Array) -> Array:
        """-e_u h."""

    @abstractmethod
    def couple_transposed(self, y: Array, u: Array, p: Array) -> Array:
        """-M_u^-1 e_u' p."""

    @abstractmethod
    def second(self, y: Array, u: Array, p: Array, eta: Array, h: Array) -> tuple[Array, Array]:
        """<p, e_yy eta + e_yu h>, a functional on states, and M_u^-1 <p, e_uy eta + e_uu h>."""
