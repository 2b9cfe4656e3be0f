"""Multilayer perceptrons, and many small ones side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


def activation(name: str) -> nn.Module:
    """The activation of a name; raises ValueError for others."""
    if name not in ACTIVATIONS:
        raise ValueError(f"there is no activation {name!r}; there are: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def perceptron(sizes: Sequence[int], bend: str, last_bent: bool = False) -> nn.Sequential:
    """Linear layers between spaces of these sizes, an activation after each but the last, or after all."""
    modules: list[nn.Module] = []
    for size, following in pairwise(sizes):
        modules += [nn.Linear(size, following), activation(bend)]
    return nn.Sequential(*(modules if last_bent else modules[:-1]))


class SideBySide(nn.Module):
    """y_k = W_k x_k + c_k, one linear layer for each k.

    Parameters
    ----------
    count : of layers.
    inputs, outputs : of each.
    bias : whether there are c_k.
    """

    def __init__(self, count: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(count, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, outputs).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, count, outputs) of x (batch, count, inputs)."""
        y = torch.einsum("bki,koi->bko", x, self.weight)
        return y if self.bias is None else y + self.bias
