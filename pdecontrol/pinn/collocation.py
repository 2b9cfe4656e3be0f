"""Random hidden layers whose outer weights are solved for: least squares in the strong optimality system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np
import scipy.linalg as sl

from ..arrays import Array
from ..result import Status
from .features import random_features
from .layer import Layer
from .network import Shallow
from .system import Block, Blocks
from .training import Step, Task, Trained, Training

STEPS = 50  # of Newton's method at most
SETTLED = 0.9  # factor by which a step reduces the residual, if there is more to gain
SHORTEST = 2.0**-20  # step of the line search
RIDGE = 1e-13  # of scaled normal equations


@dataclass(frozen=True)
class Collocation(Training):
    """min |r(Y, P)|^2 over the outer weights c of Y = g + h sum_j c_j tanh(w_j . (x, phi) + b_j), and likewise P.

    r is piecewise linear in c, as the control is a projection. Each step of Newton's method is one linear problem of
    least squares for the present active set, globalised by a line search upon |r|^2.

    Parameters
    ----------
    features : M, for state and adjoint state each.
    scale : of the slopes of the neurons.
    near : places in whose neighbourhood functions are not smooth.
    """

    features: int
    scale: float
    near: Sequence[Sequence[float]] = ()

    def train(self, task: Task) -> Trained:
        layer = random_features(
            task.system.state, self.features, self.scale, np.random.default_rng(task.seed), self.near
        )
        trained = outer_weights(layer, task.system, task.held_out)
        return trained._replace(note=f"{trained.note} of scale {self.scale:g}")


def outer_weights(layer: Layer, system: Blocks, held_out: Blocks) -> Trained:
    """The outer weights of state and adjoint state for one hidden layer."""
    begin, size = perf_counter(), system.scale
    rows = [Rows(block, layer) for block in system.blocks]
    c = np.zeros((2, layer.count))
    old, steps, status = _norm(rows, c), list[Step](), Status.ITERATIONS
    for number in range(1, STEPS + 1):
        c, new = _newton(rows, c, old)
        other = float(np.linalg.norm(held_out.residual(*(Shallow(layer, own).apply for own in c))))
        steps.append(Step(number, new / size, other / size, perf_counter() - begin))
        if new > SETTLED * old:
            status = Status.SOLVED
            break
        old = new
    note = f"collocation at {system.size} rows, {layer.count} random features"
    return Trained(Shallow(layer, c[0]), Shallow(layer, c[1]), steps, status, note)


class Rows:
    """A block of the system as matrices: own @ c + factor U(other @ c') - load for outer weights c and c'."""

    def __init__(self, block: Block, layer: Layer) -> None:
        self.block = block
        self.own = sum(layer.matrix(operator) for operator in block.operators)
        self.load = block.load - sum(operator.offset for operator in block.operators)
        self.other = None if block.other is None else layer.matrix(block.other)

    def residual(self, c: Array) -> Array:
        """The values for the outer weights c (2, M) of state and adjoint state."""
        own, other = c if self.block.of_state else c[::-1]
        total = self.own @ own - self.load
        if self.other is not None and self.block.other is not None:
            v = self.other @ other + self.block.other.offset
            total += self.block.factor * (v if self.block.control is None else self.block.control.value(v))
        return np.asarray(total)

    def coupling(self, c: Array) -> Array | None:
        """The derivative (n, M) by the weights of the other network."""
        if self.other is None or self.block.other is None:
            return None
        factor = self.block.factor
        if self.block.control is not None:
            other = c[1] if self.block.of_state else c[0]
            factor = factor * self.block.control.slope(self.other @ other + self.block.other.offset)
        return np.asarray(factor)[:, None] * self.other


class Normal(NamedTuple):
    """J'J and J'r of least squares."""

    matrix: Array
    right: Array


def _norm(rows: Sequence[Rows], c: Array) -> float:
    return float(np.sqrt(sum(np.sum(block.residual(c) ** 2) for block in rows)))


def _newton(rows: Sequence[Rows], c: Array, old: float) -> tuple[Array, float]:
    """One step for the active set at c, as long as the line search allows; the new weights and |r|."""
    matrix, right = _normal(rows, c)
    scales = np.sqrt(matrix.diagonal())
    scales[scales == 0] = 1.0
    scaled = matrix / scales / scales[:, None]
    factor = _cholesky(scaled)

    def solve(b: Array) -> Array:
        return np.asarray(sl.cho_solve(factor, b / scales) / scales)

    step = -solve(right)
    step -= solve(right + matrix @ step)
    step, length = step.reshape(c.shape), 1.0
    while length >= SHORTEST:
        new = _norm(rows, c + length * step)
        if new < (1 - 1e-4 * length) * old:
            return c + length * step, new
        length /= 2
    return c, old


def _cholesky(matrix: Array) -> tuple[Array, bool]:
    """Factors of a matrix with ones on its diagonal, and a ridge there: as small as rounding allows."""
    ridge = RIDGE
    while True:
        try:
            return sl.cho_factor(matrix + ridge * np.eye(len(matrix)), overwrite_a=True)
        except np.linalg.LinAlgError:
            if ridge > 1e-6:
                raise
            ridge *= 10


def _normal(rows: Sequence[Rows], c: Array) -> Normal:
    """The normal equations in the order of state and adjoint state."""
    count = c.shape[1]
    matrix, right = np.zeros((2, count, 2, count)), np.zeros((2, count))
    for block in rows:
        i, j = (0, 1) if block.block.of_state else (1, 0)
        residual, coupling = block.residual(c), block.coupling(c)
        matrix[i, :, i] += block.own.T @ block.own
        right[i] += block.own.T @ residual
        if coupling is not None:
            mixed = block.own.T @ coupling
            matrix[i, :, j] += mixed
            matrix[j, :, i] += mixed.T
            matrix[j, :, j] += coupling.T @ coupling
            right[j] += coupling.T @ residual
    return Normal(matrix.reshape(2 * count, 2 * count), right.ravel())
