"""Networks, as trial functions see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...arrays import Array
from .layer import Layer
from .operator import Operator

CHUNK = 10_000  # points at a time


class Network(Protocol):
    """A function N of the inputs of an ansatz."""

    def apply(self, operator: Operator) -> Array:
        """L N (n,), with the offset of L."""
        ...


@dataclass(frozen=True, eq=False)
class Shallow:
    """N(x) = sum_j c_j tanh(w_j . x + b_j).

    Parameters
    ----------
    layer : the neurons.
    outer : c (M,).
    """

    layer: Layer
    outer: Array

    def apply(self, operator: Operator) -> Array:
        pieces = [slice(start, start + CHUNK) for start in range(0, max(operator.size, 1), CHUNK)]
        values = [self.layer.matrix(operator[piece]) @ self.outer for piece in pieces]
        return np.concatenate(values) + operator.offset
