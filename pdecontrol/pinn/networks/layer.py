"""Networks with one hidden layer, N(x) = sum_j c_j tanh(w_j . x + b_j), and their derivatives by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import Array
from .operator import Operator


@dataclass(frozen=True, eq=False)
class Layer:
    """The neurons tanh(w_j . x + b_j), j = 1, .., M.

    Parameters
    ----------
    weights : w (d, M).
    biases : b (M,).
    """

    weights: Array
    biases: Array

    @property
    def count(self) -> int:
        """M."""
        return self.biases.size

    def matrix(self, operator: Operator) -> Array:
        """The operator without its offset, applied to each neuron: (n, M), so that L N = matrix @ c + offset."""
        return self.matrices([operator])[0]

    def matrices(self, operators: Sequence[Operator]) -> list[Array]:
        """Those of several operators with the same inputs, of which tanh is computed once."""
        t = self._hidden(operators[0].inputs)
        first = t * t
        np.subtract(1, first, out=first)
        result: list[Array] = []
        for operator in operators:
            if operator.bend is None:
                matrix: Array = operator.slope.T @ self.weights
            else:  # s'' = -2 s s'
                matrix = self._squares(operator)
                matrix *= -2.0 * operator.bend[:, None]
                matrix *= t
                matrix += operator.slope.T @ self.weights
            matrix *= first
            matrix += operator.value[:, None] * t
            result.append(matrix)
        return result

    def jacobian(self, operator: Operator, outer: Array) -> Array:
        """The derivative (n, (d + 1) M) of L N by the weights, in the order of w.ravel(), and the biases, at c = outer.

        With s = tanh(z), z = w . x + b: of a s + (b . w) s' + c sum_k (d_k . w)^2 s'' by w it is
        (a s' + (b . w) s'' + c sum_k (d_k . w)^2 s''') x + b s' + 2 c sum_k (d_k . w) d_k s''.
        """
        t = self._hidden(operator.inputs)
        first = 1 - t**2
        second = -2 * t * first
        along = operator.value[:, None] * first + (operator.slope.T @ self.weights) * second
        if operator.bend is not None:
            third = first * (6 * t**2 - 2)
            along += operator.bend[:, None] * self._squares(operator) * third
        along *= outer
        by_weights = operator.inputs.T[:, :, None] * along[:, None, :]
        by_weights += operator.slope.T[:, :, None] * (first * outer)[:, None, :]
        if operator.bend is not None and operator.directions is not None:
            curved = 2 * operator.bend[:, None] * second * outer
            for direction in operator.directions:
                by_weights += direction.T[:, :, None] * ((direction.T @ self.weights) * curved)[:, None, :]
        return np.hstack([by_weights.reshape(operator.size, -1), along])

    def _hidden(self, inputs: Array) -> Array:
        z = inputs.T @ self.weights
        z += self.biases
        return np.tanh(z, out=z)

    def _squares(self, operator: Operator) -> Array:
        """sum_k (d_k . w_j)^2."""
        assert operator.directions is not None
        total = np.zeros((operator.size, self.count))
        for direction in operator.directions:
            along = direction.T @ self.weights
            along *= along
            total += along
        return total
