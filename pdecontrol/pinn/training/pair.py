"""Two networks with one hidden layer, for state and adjoint state, and what a system makes of their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ...arrays import Array
from ..networks.layer import Layer
from ..networks.network import Shallow
from ..networks.operator import Operator
from ..system.block import Block
from ..system.system import System
from .archive import Arrays

RIDGE = 1e-9  # of scaled normal equations for outer weights: neurons are nearly dependent


class Pair(NamedTuple):
    """The networks of the state and of the adjoint state.

    All weights in one vector are the hidden ones of the state and of the adjoint state, each followed by their biases,
    and then the outer ones of both.
    """

    state: Shallow
    adjoint: Shallow

    def of(self, state: bool) -> Shallow:
        return self.state if state else self.adjoint

    def moved(self, step: Array) -> Pair:
        """The networks with the weights w + step."""
        sizes = [array.size for net in self for array in (net.layer.weights, net.layer.biases)]
        sizes += [net.outer.size for net in self]
        *hidden, first, second = np.split(step, np.cumsum(sizes)[:-1])
        moved = []
        for network, weights, biases, outer in zip(self, hidden[::2], hidden[1::2], (first, second), strict=True):
            layer = network.layer
            layer = Layer(layer.weights + weights.reshape(layer.weights.shape), layer.biases + biases)
            moved.append(Shallow(layer, network.outer + outer))
        return Pair(*moved)

    def residual(self, system: System) -> Array:
        return system.residual(self.state.apply, self.adjoint.apply)

    def arrays(self) -> dict[str, Array]:
        """The weights by name."""
        found = {}
        for name, network in zip(self._fields, self, strict=True):
            found[f"{name}.weights"], found[f"{name}.biases"] = network.layer.weights, network.layer.biases
            found[f"{name}.outer"] = network.outer
        return found

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Pair:
        return cls(*(
            Shallow(Layer(arrays[f"{name}.weights"], arrays[f"{name}.biases"]), arrays[f"{name}.outer"])
            for name in cls._fields
        ))  # fmt: skip


def by_hidden(system: System, pair: Pair) -> Array:
    """The derivative of r by all hidden weights; one of the generalised ones where a control just meets its bounds."""
    widths = [network.layer.weights.size + network.layer.biases.size for network in pair]
    return _assembled(system, pair, widths, lambda network, operator: network.layer.jacobian(operator, network.outer))


def by_outer(system: System, pair: Pair) -> Array:
    """That by all outer weights."""
    widths = [network.outer.size for network in pair]
    return _assembled(system, pair, widths, lambda network, operator: network.layer.matrix(operator))


def solved(system: System, pair: Pair) -> Pair:
    """The networks with the outer weights of least |r|, linearised at those that they have."""
    matrix, r = by_outer(system, pair), pair.residual(system)
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    matrix /= scale
    factor = cho_factor(matrix.T @ matrix + RIDGE * np.eye(scale.size), check_finite=False)
    step = -cho_solve(factor, matrix.T @ r)
    step -= cho_solve(factor, matrix.T @ (r + matrix @ step))
    first, second = np.split(step / scale, [pair.state.outer.size])
    return Pair(
        Shallow(pair.state.layer, pair.state.outer + first), Shallow(pair.adjoint.layer, pair.adjoint.outer + second)
    )


def _assembled(system: System, pair: Pair, widths: list[int], part: Callable[[Shallow, Operator], Array]) -> Array:
    result, begin = np.zeros((system.size, sum(widths))), 0
    for block in system.blocks:
        rows = result[begin : begin + block.load.size]
        begin += block.load.size
        for state, operator in _operators(block, pair):
            columns = slice(0, widths[0]) if state else slice(widths[0], None)
            rows[:, columns] += part(pair.of(state), operator)
    return result


def _operators(block: Block, pair: Pair) -> Iterator[tuple[bool, Operator]]:
    """The linear functionals of the two networks that make up the derivative of the rows, that of the control too."""
    yield from ((block.of_state, operator) for operator in block.operators)
    if block.other is not None:
        yield not block.of_state, block.other.times(block.slope(pair.of(not block.of_state).apply(block.other)))
