"""Principal modes of snapshots of states."""

from __future__ import annotations

import hashlib
from numbers import Integral
from typing import Any

import numpy as np

from ...arrays import Array, real_array
from ...errors import DataError, ProblemError

KEPT = 1e-10  # of the largest singular value: modes below it are lost to rounding


def snapshots_of(data: Any, size: int) -> Array:
    """States as finite rows (N, size); raises DataError for what is none."""
    states = np.atleast_2d(real_array(data, "snapshots"))
    if states.ndim != 2 or states.shape[1] != size or not np.isfinite(states).all():
        raise DataError(f"snapshots are finite states (N, {size}), got shape {states.shape}.")
    return states


def principal_modes(rows: Array, modes: int | None) -> Array:
    """Orthonormal columns (n, r), the leading singular vectors of rows (N, n), `modes` or as many as there are."""
    count = None if modes is None else positive(modes, "modes")
    if not rows.any():
        raise DataError("the snapshots are all the state without control: there is nothing to make a basis of.")
    left, sizes, _ = np.linalg.svd(rows.T, full_matrices=False)
    return np.asarray(left[:, sizes > KEPT * sizes[0]][:, :count])


def digest(array: Array) -> str:
    """By which fingerprints tell snapshots apart."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def positive(number: int, name: str) -> int:
    """A positive integer; raises ProblemError for what is none."""
    if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
        raise ProblemError(f"{name} must be a positive integer, got {number!r}.")
    return int(number)
