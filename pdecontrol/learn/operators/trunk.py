"""Trunks: functions t_1 .. t_p at the points where networks give values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...errors import DataError
from .layers import perceptron


class Trunk(nn.Module):
    """t_k(x), a perceptron with p outputs, the last layer activated, of points in the unit box [-1, 1]^d around them.

    Parameters
    ----------
    points, dimension : the number of points and of their coordinates.
    count : p.
    widths : of the hidden layers.
    bend : the activation, "relu", "gelu" or "tanh".

    Notes
    -----
    Points are NaN until `place` gives them, and are saved with the weights.
    """

    points: Tensor

    def __init__(self, points: int, dimension: int, count: int, widths: Sequence[int], bend: str) -> None:
        super().__init__()
        if dimension < 1:
            raise ValueError("a trunk takes points with one coordinate or more")
        self.layers = perceptron([dimension, *widths, count], bend, last_bent=True)
        self.register_buffer("points", torch.full((points, dimension), torch.nan))

    def place(self, points: Tensor) -> None:
        """Take the points, (points, dimension)."""
        if points.shape != self.points.shape:
            raise DataError(
                f"a trunk for {len(self.points)} points of {self.points.shape[1]} coordinates got an array of shape "
                f"{tuple(points.shape)}."
            )
        self.points.copy_(points)

    def forward(self, points: Tensor | None = None) -> Tensor:
        """(.., p) at its own points, or at others (.., dimension)."""
        low, high = self.points.amin(dim=0), self.points.amax(dim=0)
        half = torch.where(high > low, 0.5 * (high - low), 1.0)
        found: Tensor = self.layers(((self.points if points is None else points) - 0.5 * (low + high)) / half)
        return found
