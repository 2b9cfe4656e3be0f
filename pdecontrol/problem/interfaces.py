"""Interfaces inside of a domain, as data."""

from __future__ import annotations

from dataclasses import dataclass

from ..arrays import Data
from .shapes import Moving, Shape
from .stated import Stated


@dataclass(frozen=True, eq=False, repr=False)
class Interface(Stated):
    """[y] = value and [kappa dy/dn] = flux on Gamma, [w] = w outside - w inside, n from inside to outside."""

    shape: Shape | Moving | None = None
    value: Data = 0.0
    flux: Data = 0.0
    inside: str = "inside"
