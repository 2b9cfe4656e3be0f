"""What methods with a surrogate of the map have in common: its work is counted, and its failures are no errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..arrays import Array
from ..maps import SolutionMap
from ..space import Space

SHARPER = 0.1  # of the tolerance of the exact method, that of conjugate gradients with the surrogate
WORTH = 0.1  # of the residual of a cold start, from which exact steps begin where those of the surrogate ended
ENOUGH = 1e-3  # of the first residual, to which the surrogate's own problem is solved
FAILURES = Exception  # whatever a surrogate raises: the exact method goes on without it


@contextmanager
def applying(surrogate: SolutionMap, map: SolutionMap) -> Iterator[None]:
    """A block that counts what a surrogate does with the map that it stands for."""
    before = surrogate.solves.snapshot()
    try:
        yield
    finally:
        map.solves.add_applications(surrogate.solves, before)


def usable(d: Array, residual: Array, space: Space) -> bool:
    """Whether d is finite, and <residual, d> > 0."""
    return not space.any(~np.isfinite(d)) and space.inner(residual, d) > 0
