"""Networks with several hidden layers, through which derivatives are carried beside the values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...arrays import Array
from .network import CHUNK
from .operator import Operator

Activation = Literal["tanh", "sigmoid"]
Pair = tuple[Any, Any]


@dataclass(frozen=True, eq=False)
class Deep:
    """N(x) = c . a_L with a_l = s(W_l' a_{l-1} + b_l) and a_0 = x: the output has no bias.

    Parameters
    ----------
    layers : (W_l, b_l) of the hidden layers, W_l (d_{l-1}, d_l).
    outer : c (d_L,).
    activation : s, "tanh" or "sigmoid", 1/(1 + exp(-z)).
    """

    layers: Sequence[Pair]
    outer: Any
    activation: Activation = "tanh"

    def apply(self, operator: Operator) -> Array:
        pieces = [operator[start : start + CHUNK] for start in range(0, max(operator.size, 1), CHUNK)]
        return np.concatenate([self._apply(piece) for piece in pieces]) + operator.offset

    @property
    def flat(self) -> Array:
        """All weights in a row."""
        return np.concatenate([array.ravel() for layer in self.layers for array in layer] + [self.outer])

    def at(self, flat: Any) -> Deep:
        """The network with other weights, in a row; of tensors, where they are one."""
        arrays, start = [], 0
        for array in [array for layer in self.layers for array in layer]:
            arrays.append(flat[start : start + array.size].reshape(array.shape))
            start += array.size
        layers = list(zip(arrays[::2], arrays[1::2], strict=True))
        return Deep(layers, flat[start : start + self.outer.size], self.activation)

    def _apply(self, operator: Operator) -> Array:
        bend, directions = operator.bend, operator.directions
        second = None if bend is None or directions is None else (bend[:, None], directions.transpose(0, 2, 1))
        values, derivatives = carried(
            self.layers, ACTIVATIONS[self.activation], operator.inputs.T, operator.slope.T, second
        )
        return np.asarray(operator.value * (values @ self.outer) + derivatives @ self.outer)


def carried(
    layers: Sequence[Pair], activation: Callable[[Any], tuple[Any, Any, Any]], x: Any, slope: Any, second: Pair | None
) -> Pair:
    """a_L and D a_L (n, d_L), where D = b . grad + c sum_k (d_k . grad)^2, for arrays or tensors.

    From a layer to the next, with z = W' a + b,

        a+ = s(z),   (d_k . grad) a+ = s'(z) W' (d_k . grad) a,
        D a+ = s'(z) W' D a + c s''(z) sum_k (W' (d_k . grad) a)^2.

    Parameters
    ----------
    layers : (W, b) of the hidden layers.
    activation : z -> (s(z), s'(z), s''(z)).
    x, slope : the inputs and b (n, d).
    second : c (n, 1) and d (m, n, d), None where there are no second derivatives.
    """
    bend, along = (None, None) if second is None else second
    first = 1.0
    for weights, biases in layers:
        if along is not None:
            along = (first * along) @ weights
        x, first, curvature = activation(x @ weights + biases)
        slope = first * (slope @ weights)
        if along is not None:
            slope = slope + curvature * (bend * (along * along).sum(0))
    return x, slope


def tanh(z: Array) -> tuple[Array, Array, Array]:
    """s = tanh z, s' and s''."""
    s = np.tanh(z)
    first = 1 - s**2
    return s, first, -2 * s * first


def sigmoid(z: Array) -> tuple[Array, Array, Array]:
    """s = 1/(1 + exp(-z)), s' and s''."""
    s = 0.5 + 0.5 * np.tanh(0.5 * z)
    first = s * (1 - s)
    return s, first, (1 - 2 * s) * first


ACTIVATIONS: dict[str, Callable[[Array], tuple[Array, Array, Array]]] = {"tanh": tanh, "sigmoid": sigmoid}


def drawn(inputs: int, widths: Sequence[int], activation: Activation, generator: np.random.Generator) -> Deep:
    """Weights and biases uniform in +-1/sqrt(d_{l-1}), the outer weights in +-1/sqrt(d_L)."""
    sizes = [inputs, *widths]
    layers = []
    for before, after in zip(sizes, widths, strict=False):
        bound = before**-0.5
        layers.append((generator.uniform(-bound, bound, (before, after)), generator.uniform(-bound, bound, after)))
    bound = sizes[-1] ** -0.5
    return Deep(layers, generator.uniform(-bound, bound, sizes[-1]), activation)
