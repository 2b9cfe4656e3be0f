"""Least squares for all weights of two networks with one hidden layer: Jacobians by hand, damped steps, the iteration.

The hidden weights begin at random, the outer ones with the solution of the linear problem for them. Then

    1.  J, r: the Jacobian and the residual at the weights w
    2.  (J^T J + mu D) d = -J^T r,  D = diag(J^T J)
    3.  w+ = w + d, or what a method makes of it;  mu grows until |r| decreases
    4.  mu times max(1/3, 1 - (2 g - 1)^3), with the gain g of |r|^2 over that of the linear model

References
----------
D. W. Marquardt, J. SIAM 11 (1963) 431-441 (steps 2 and 3, with his D); H. B. Nielsen, Damping parameter in Marquardt's
method, IMM-REP-1999-05 (step 4).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ..arrays import Array
from ..errors import ProblemError
from ..problem import check_number
from .ansatz import Ansatz
from .archive import Arrays, Stage
from .layer import Layer
from .monitor import Monitor
from .network import Shallow
from .operator import Operator
from .system import Block, System
from .training import Task, Trained, Training

HIDDEN = 1.5  # size of random weights
RIDGE = 1e-9  # of scaled normal equations for outer weights: neurons are nearly dependent
DAMPING = 0.01  # the first mu
TRIES = 30  # of larger mu, after which nothing improves
TINY = 1e-14  # least of D, beside its sum
WINDOW, GAIN = 50, 0.99  # |r| falls by this in so many iterations, or nothing improves


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
    factor = cho_factor(matrix.T @ matrix + RIDGE * np.eye(scale.size))
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


@dataclass(frozen=True)
class LeastSquares(Training):
    """Trains two networks of so many neurons for so many seconds or iterations, whichever is over first."""

    neurons: int = 40
    seconds: float = 20.0
    iterations: float = np.inf

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.neurons < 1 or self.neurons != int(self.neurons):
            raise ProblemError(f"{name}: neurons is a positive integer, got {self.neurons!r}.")
        for limit in ("seconds", "iterations"):
            if getattr(self, limit) != np.inf:
                check_number(getattr(self, limit), f"{name}: {limit}", positive=True)
        if self.seconds == self.iterations == np.inf:
            raise ProblemError(f"{name} needs a limit, of seconds or of iterations.")

    @abstractmethod
    def accept(self, system: System, pair: Pair) -> Pair:
        """What the method makes of the networks after a step."""

    def train(self, task: Task) -> Trained:
        monitor = Monitor(task, f"{type(self).__name__}(neurons={self.neurons})", self.iterations, self.seconds)
        status, note = monitor.run(partial(self._stages, task))
        assert monitor.best is not None
        return Trained(*Pair.from_arrays(monitor.best.weights), monitor.steps, status, note)

    def _stages(self, task: Task, start: int, last: Stage | None) -> Iterator[Stage]:
        system, scale, held_out = task.system, task.system.scale, task.held_out
        if last is None:
            generator = np.random.default_rng([task.seed, start])
            random = Pair(self._random(system.state, generator), self._random(system.adjoint, generator))
            pair = solved(system, random)
            iteration, mu = 0, DAMPING
        else:
            pair, iteration, mu = Pair.from_arrays(last.weights), last.iteration, float(last.rest["damping"])
        r = pair.residual(system)
        while True:
            if last is None or iteration > last.iteration:
                inside = float(np.linalg.norm(r)) / scale
                outside = float(np.linalg.norm(pair.residual(held_out))) / held_out.scale
                yield Stage(iteration, inside, outside, pair.arrays(), {"damping": np.array(mu)})
            found = self._step(system, pair, r, mu)
            if found is None:
                return
            (pair, r, mu), iteration = found, iteration + 1

    def _random(self, ansatz: Ansatz, generator: np.random.Generator) -> Shallow:
        """A network with a random hidden layer."""
        weights = generator.uniform(-HIDDEN, HIDDEN, (ansatz.inputs, self.neurons))
        biases = generator.uniform(-HIDDEN, HIDDEN, self.neurons)
        return Shallow(Layer(weights, biases), np.zeros(self.neurons))

    def _step(self, system: System, pair: Pair, r: Array, mu: float) -> tuple[Pair, Array, float] | None:
        """The networks after a step that reduces |r|, their r, and the next mu; None where none does."""
        j = np.hstack([by_hidden(system, pair), by_outer(system, pair)])  # 1
        normal, gradient, before, growth = j.T @ j, j.T @ r, float(r @ r), 2.0
        diagonal = np.diag(normal) + TINY * np.trace(normal)
        for _ in range(TRIES):
            damped = normal + np.diag(mu * diagonal)
            with suppress(LinAlgError):  # of a matrix that is singular to rounding
                d = -cho_solve(cho_factor(damped), gradient)  # 2
                trial = self.accept(system, pair.moved(d))  # 3
                new = trial.residual(system)
                after = float(new @ new)
                if after < before:
                    gain = (before - after) / (before - float(np.sum((r + j @ d) ** 2)))
                    return trial, new, mu * float(max(1 / 3, 1 - (2 * gain - 1) ** 3))  # 4
            mu, growth = growth * mu, 2 * growth
        return None
