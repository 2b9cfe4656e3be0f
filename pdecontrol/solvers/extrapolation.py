"""Limits of vector sequences from their last terms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..arrays import Array
from ..space import Space


def extrapolate(trail: Sequence[Array], space: Space) -> Array:
    """Reduced rank extrapolation of a linearly converging sequence: its affine combination of least change.

    Notes
    -----
    The weights g with sum 1 minimise ||sum_i g_i (y_{i+1} - y_i)||: the modes of the iteration that are slow or
    oscillate are removed, one less than there are weights. R. P. Eddy, in: Information Linkage Between Applied
    Mathematics and Industry (1979) 387-396.
    """
    changes = [after - before for before, after in pairwise(trail)]
    duals = [space.dual(change) for change in changes]
    gram = np.array([[space.apply(b, a) for b in duals] for a in changes])
    if len(changes) < 2 or not np.trace(gram) > 0:
        return trail[-1]
    weights = np.linalg.solve(gram / np.trace(gram) + 1e-12 * np.eye(len(gram)), np.ones(len(gram)))
    return np.tensordot(weights / weights.sum(), np.stack(trail[1:]), axes=1)
