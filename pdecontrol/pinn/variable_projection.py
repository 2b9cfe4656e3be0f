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

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from .least_squares import LeastSquares, Pair, by_outer
from .system import System

RIDGE = 1e-9  # of scaled normal equations, in which neurons are nearly dependent


@dataclass(frozen=True)
class VariableProjection(LeastSquares):
    """min over hidden weights of min over outer ones of |r(Y, P)|^2, for two networks.

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

    def settled(self, system: System, pair: Pair) -> Pair:
        matrix, r = by_outer(system, pair), pair.residual(system)
        scale = np.linalg.norm(matrix, axis=0)
        scale[scale == 0] = 1.0
        matrix /= scale
        factor = cho_factor(matrix.T @ matrix + RIDGE * np.eye(scale.size))
        step = -cho_solve(factor, matrix.T @ r)
        step -= cho_solve(factor, matrix.T @ (r + matrix @ step))
        hidden = sum(network.layer.weights.size + network.layer.biases.size for network in pair)
        return pair.moved(np.concatenate([np.zeros(hidden), step / scale]))
