"""Conditions on the boundary, as data."""

from __future__ import annotations

from dataclasses import dataclass

from ..arrays import Data
from .stated import Stated


@dataclass(frozen=True, eq=False, repr=False)
class Dirichlet(Stated):
    """y = value on the boundary part.

    Where the parts of two Dirichlet conditions meet, as at a corner, the one that comes later in the dictionary of
    conditions gives the value of the nodes that they share, on either engine and any number of processes.

    Examples
    --------
    >>> boundary = {"left": Dirichlet(1.0), "right": Dirichlet(lambda x: x[1])}
    """

    value: Data = 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Neumann(Stated):
    """kappa dy/dn = flux (+ control) on the boundary part. Where no condition is given, the flux is zero.

    Examples
    --------
    >>> boundary = {"top": Neumann(lambda x: x[0] * (1 - x[0]))}
    """

    flux: Data = 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Robin(Stated):
    """kappa dy/dn + coefficient y = value (+ control) on the boundary part.

    Examples
    --------
    >>> cooling = Robin(coefficient=2.0, value=2.0 * 20.0)  # kappa dy/dn = 2 (20 - y)
    """

    coefficient: Data
    value: Data = 0.0


Condition = Dirichlet | Neumann | Robin
