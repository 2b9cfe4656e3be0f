"""Units: networks see numbers of mean 0 and deviation 1, and what they return is taken back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST = 1e-5  # added to deviations, of which some may be zero


class Normaliser(nn.Module):
    """z = (x - mean) / (deviation + 1e-5 unit), point by point or with two numbers for all.

    Parameters
    ----------
    shape : of one sample x, where each point has its own mean and deviation; () for two numbers.

    Notes
    -----
    The unit is the root mean square of all x, so that data of any size are treated alike. Of functions that are to be
    mapped linearly only `scale` is to be used.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))

    def fit(self, data: Tensor) -> None:
        """Take mean and deviation from samples (count, *shape of one)."""
        axis = 0 if self.mean.ndim else tuple(range(data.ndim))
        self.mean.copy_(data.mean(dim=axis))
        unit = data.square().mean().sqrt()
        deviation = data.std(dim=axis, correction=0)
        self.deviation.copy_(deviation + SMALLEST * unit if unit > 0 else torch.ones_like(deviation))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation

    def inverse(self, z: Tensor) -> Tensor:
        return z * self.deviation + self.mean
