"""Which cells to refine."""

from __future__ import annotations

import numpy as np

from ..arrays import Array, Indices


def marked(shares: Array, theta: float = 0.75) -> Indices:
    """The fewest cells whose shares (n,) add up to at least theta times the sum of all, the largest first [1]_.

    With a small theta meshes have somewhat fewer cells, and many more levels are solved.

    .. [1] W. Doerfler, A convergent adaptive algorithm for Poisson's equation, SIAM Journal on Numerical Analysis 33
       (1996), 1106-1124.
    """
    order = np.argsort(-shares, kind="stable")
    sums = np.append(0.0, np.cumsum(shares[order]))
    return order[: np.searchsorted(sums, theta * sums[-1])]
