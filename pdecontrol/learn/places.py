"""Where the entries of vectors lie, by which a network finds its way in the spaces of another mesh order or engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..arrays import Array
from ..errors import DataError
from ..space import Space


def places(space: Space) -> Array:
    """Points of the entries (d, n) of the whole vector of a space: x, over time (x, t), of products the factor last.

    Of plain numbers d = 0. On several processes all call it, and the first has them.
    """
    rows = [space.gather(row) for row in _own(space)]
    return np.stack(rows) if rows else np.zeros((0, space.count))


def _own(space: Space) -> Array:
    """Those of the entries of this process."""
    if len(space.factors) == 1:
        return _own(space.factors[0])
    if space.factors:
        parts = [_own(factor) for factor in space.factors]
        rows = max(len(part) for part in parts)
        padded = [np.pad(part, ((0, rows - len(part)), (0, 0))) for part in parts]
        return np.vstack([np.hstack(padded), np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts])])
    if space.levels is not None:
        base = _own(space.base)
        return np.vstack([np.tile(base, space.times.size), np.repeat(space.times, base.shape[1])])
    return np.zeros((0, space.size)) if space.points is None else np.asarray(space.points)


def order(known: Array, found: Array, scale: float, name: str) -> NDArray[np.intp]:
    """For each place that a network knows, the entry that lies there in a domain of this diameter.

    Raises DataError if none does.
    """
    if found.shape != known.shape:
        raise DataError(
            f"{name} has {found.shape[1]} entries of {len(found)} coordinates here, the network was trained for "
            f"{known.shape[1]} of {len(known)}: take the mesh and the problem of its data."
        )
    near = 1e-9 * scale
    if not known.size or np.abs(found - known).max() <= near:
        return np.arange(known.shape[1])
    distances, entries = cKDTree(found.T).query(known.T)
    if distances.max() > near or np.unique(entries).size < entries.size:
        worst = int(np.argmax(distances))
        raise DataError(
            f"{name} has no entry at {known[:, worst].round(6).tolist()}, where the network was trained to have one: "
            "take the mesh and the problem of its data."
        )
    return np.asarray(entries)
