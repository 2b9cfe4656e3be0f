"""Levenberg and Marquardt's method for all weights of networks with one hidden layer.

The steps of `least_squares`, taken as they are. For such networks on interface problems: W.-F. Hu, T.-S. Lin, M.-C.
Lai, J. Comput. Phys. 469 (2022) 111576.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..system.system import System
from .least_squares import LeastSquares
from .pair import Pair


@dataclass(frozen=True)
class LevenbergMarquardt(LeastSquares):
    """min ||r(Y, P)||^2 over all weights of two networks, by (J^T J + mu diag(J^T J)) d = -J^T r.

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
    >>> training = LevenbergMarquardt(neurons=60, seconds=60.0)
    """

    name: ClassVar[str] = "Levenberg-Marquardt"

    def accept(self, system: System, pair: Pair) -> Pair:
        return pair
