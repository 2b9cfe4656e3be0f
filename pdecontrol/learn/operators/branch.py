"""Branches: numbers b_1(u) .. b_p(u) of input functions on fixed points or grids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ...errors import DataError
from .layers import SideBySide, activation, perceptron

BRANCHES = ("dense", "convolutional", "stacked")


class Stacked(nn.Module):
    """b_k(u), p perceptrons that share nothing, without a bias in the last layer."""

    def __init__(self, points: int, count: int, widths: Sequence[int], bend: str) -> None:
        super().__init__()
        self.count, sizes = count, [points, *widths, 1]
        last = len(widths)
        modules: list[nn.Module] = []
        for i, (size, following) in enumerate(pairwise(sizes)):
            modules += [SideBySide(count, size, following, bias=i < last), activation(bend)]
        self.layers = nn.Sequential(*modules[:-1])

    def forward(self, u: Tensor) -> Tensor:
        found: Tensor = self.layers(u[:, None].expand(-1, self.count, -1))
        return found.squeeze(2)


def convolutional(
    shape: Sequence[int], count: int, channels: Sequence[int], widths: Sequence[int], bend: str
) -> nn.Sequential:
    """3 x 3 convolutions of stride 2 on a grid of the plane, a perceptron of what they give."""
    if len(shape) != 2:
        raise ValueError(f"a convolutional branch takes functions on grids of the plane, not of shape {list(shape)}")
    modules: list[nn.Module] = [nn.Unflatten(1, (1, *shape))]
    sides, before = tuple(shape), 1
    for after in channels:
        modules += [nn.Conv2d(before, after, 3, stride=2, padding=1), activation(bend)]
        sides, before = tuple((side + 1) // 2 for side in sides), after
    return nn.Sequential(*modules, nn.Flatten(), *perceptron([before * math.prod(sides), *widths, count], bend))


class Branch(nn.Module):
    """u -> (b_1(u), .., b_p(u)), the last layer linear.

    Parameters
    ----------
    shape : of one input function.
    count : p.
    kind : "dense", a perceptron; "stacked", p of them; "convolutional", for functions on grids of the plane.
    widths : of the hidden layers of the perceptrons.
    channels : of the convolutions.
    bend : the activation, "relu", "gelu" or "tanh".

    Raises
    ------
    ValueError
        For kinds and activations that are not there, and convolutions on other than grids of the plane.
    """

    def __init__(
        self, shape: Sequence[int], count: int, kind: str, widths: Sequence[int], channels: Sequence[int], bend: str
    ) -> None:
        super().__init__()
        if kind not in BRANCHES:
            raise ValueError(f"there is no branch {kind!r}; there are: {', '.join(BRANCHES)}")
        self.size = math.prod(shape)
        if kind == "convolutional":
            self.layers: nn.Module = convolutional(shape, count, channels, widths, bend)
        elif kind == "stacked":
            self.layers = Stacked(self.size, count, widths, bend)
        else:
            self.layers = perceptron([self.size, *widths, count], bend)

    def forward(self, u: Tensor) -> Tensor:
        """(batch, p) of functions (batch, *shape) or (batch, points)."""
        u = u.flatten(1)
        if u.shape[1] != self.size:
            raise DataError(f"a branch for functions on {self.size} points got one on {u.shape[1]}.")
        found: Tensor = self.layers(u)
        return found


class Branches(nn.Module):
    """b_k = prod_i b_k^i(u_i), the numbers of several input functions multiplied one by one."""

    def __init__(
        self,
        inputs: Sequence[Sequence[int]],
        count: int,
        kind: str,
        widths: Sequence[int],
        channels: Sequence[int],
        bend: str,
    ) -> None:
        super().__init__()
        if not inputs:
            raise ValueError("inputs are the shapes of one or more input functions")
        self.branches = nn.ModuleList(Branch(shape, count, kind, widths, channels, bend) for shape in inputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(inputs) != len(self.branches):
            raise DataError(f"a network of {len(self.branches)} input functions got {len(inputs)}.")
        product, *others = (branch(u) for branch, u in zip(self.branches, inputs, strict=True))
        for other in others:
            product = product * other
        return product
