"""From a grid to another, where a network says that it works on another one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate, pad

MODES = {1: "linear", 2: "bilinear"}


def resample(x: Tensor, grid: Sequence[int], ring: str | None) -> Tensor:
    """Functions (batch, channels, *sides) on another grid of the same interval or rectangle, by linear interpolation.

    Parameters
    ----------
    ring : what is around the nodes: "constant" for zeros on the boundary, "replicate" for unknown values there, None
        where the boundary is part of both grids.
    """
    if list(x.shape[2:]) == list(grid):
        return x
    dimension, mode = len(grid), MODES[len(grid)]
    if ring is None:
        return interpolate(x, list(grid), mode=mode, align_corners=True)
    wide = interpolate(pad(x, [1, 1] * dimension, ring), [n + 2 for n in grid], mode=mode, align_corners=True)
    for axis in range(2, 2 + dimension):
        wide = wide.narrow(axis, 1, wide.shape[axis] - 2)
    return wide
