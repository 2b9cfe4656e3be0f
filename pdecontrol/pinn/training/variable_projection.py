"""Variable projection: the outer weights solve a linear least-squares problem, and steps are for the hidden ones.

The residual r(w, c) is linear in the outer weights c but for the kinks of the control.

    1.  (w, c) + d  by the steps of `least_squares`, whose part for w has Kaufman's Jacobian, with a damped projection
    2.  c+ = argmin |r(w+, c)|, linearised at the c of step 1

Without damping in the projection steps follow neurons that nearly cancel each other, and training soon stalls.

References
----------
G. H. Golub, V. Pereyra, SIAM J. Numer. Anal. 10 (1973) 413-432; L. Kaufman, BIT 15 (1975) 49-57; with damping:
J. H. Hong, C. Zach, A. Fitzgibbon, CVPR 2017, 5939-5947 (joint optimisation with embedded point iterations).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..system.system import System
from .least_squares import LeastSquares
from .pair import Pair, solved


@dataclass(frozen=True)
class VariableProjection(LeastSquares):
    """min over hidden weights of min over outer ones of ||r(Y, P)||^2, for two networks.

    Parameters
    ----------
    neurons : of each of the two networks.
    seconds, iterations : limits, of which the one that is met first ends the training.

    Raises
    ------
    ProblemError
        If a parameter is not positive, or both limits are infinite.

    Examples
    --------
    >>> training = VariableProjection(neurons=40, iterations=100)
    """

    name: ClassVar[str] = "variable projection"

    def accept(self, system: System, pair: Pair) -> Pair:
        return solved(system, pair)
