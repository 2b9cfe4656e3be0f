"""Random hidden layers whose outer weights are solved for: least squares in the strong optimality system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar, NamedTuple

import numpy as np
import scipy.linalg as sl

from ...arrays import Array
from ...result import Status
from ..features import random_features
from ..networks.layer import Layer
from ..networks.network import Shallow
from ..reporter import Reporter
from ..system.block import Block, Blocks
from .training import Step, Task, Trained, Training

STEPS = 50  # of Newton's method at most
SETTLED = 0.9  # factor by which a step reduces the residual, if there is more to gain
SHORTEST = 2.0**-20  # step of the line search
REFINEMENTS = 8  # of each linear problem, which is known by its normal equations
EXACT = 1e-8  # relative difference of residuals that are alike
RIDGE = 1e-13  # of scaled normal equations


@dataclass(frozen=True)
class Collocation(Training):
    """min ||r(Y, P)||^2 over the outer weights c of Y = g + h sum_j c_j tanh(w_j . (x, phi) + b_j), and likewise P.

    r is piecewise linear in c, as the control is a projection. Each step of Newton's method is one linear problem of
    least squares for the present active set, globalised by a line search upon ||r||^2.

    Parameters
    ----------
    features : M, for state and adjoint state each.
    scale : of the slopes of the neurons.
    near : places in whose neighbourhood functions are not smooth.
    """

    name: ClassVar[str] = "collocation"

    features: int
    scale: float
    near: Sequence[Sequence[float]] = ()

    def train(self, task: Task) -> Trained:
        layer = random_features(
            task.system.state, self.features, self.scale, np.random.default_rng(task.seed), self.near
        )
        trained = outer_weights(layer, task.system, task.held_out, Reporter(task.progress))
        return trained._replace(note=f"{trained.note} of scale {self.scale:g}")


def outer_weights(layer: Layer, system: Blocks, held_out: Blocks, report: Callable[[str], None]) -> Trained:
    """The outer weights of state and adjoint state for one hidden layer."""
    begin, size = perf_counter(), system.scale
    rows = [Rows(block, layer) for block in system.blocks]
    c = np.zeros((2, layer.count))
    report(f"normal equations of {system.size} rows and {2 * layer.count} weights")
    fixed, old = _fixed(rows, layer.count), _norm(rows, c)
    steps, status = list[Step](), Status.ITERATIONS
    for number in range(1, STEPS + 1):
        c, new, exact = _newton(rows, fixed, c, old)
        other = float(np.linalg.norm(held_out.residual(*(Shallow(layer, own).apply for own in c))))
        steps.append(Step(number, new / size, other / size, perf_counter() - begin))
        report(f"step {number}: residual {new / size:.1e}, at points held out {other / size:.1e}")
        if exact or new >= SETTLED * old:
            status = Status.SOLVED
            break
        old = new
    note = f"{system.size} rows, {layer.count} random features"
    return Trained(Shallow(layer, c[0]), Shallow(layer, c[1]), steps, status, note)


class Rows:
    """A block of the system as matrices: own @ c + factor U(other @ c') - load for outer weights c and c'."""

    def __init__(self, block: Block, layer: Layer) -> None:
        self.block = block
        first, *others = (layer.matrix(operator) for operator in block.operators)
        self.own: Array = sum(others, first)
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


class Linear(NamedTuple):
    """A block at some weights: its residual and its derivatives by the weights of N and of the other network."""

    of_state: bool
    residual: Array
    own: Array
    coupling: Array | None

    def forward(self, step: Array) -> Array:
        """The derivative along a step (2, M) of the weights."""
        own, other = step if self.of_state else step[::-1]
        return self.own @ own if self.coupling is None else self.own @ own + self.coupling @ other

    def backward(self, residual: Array) -> Array:
        """Its transpose."""
        own = self.own.T @ residual
        other = np.zeros(own.size) if self.coupling is None else self.coupling.T @ residual
        return np.array([own, other] if self.of_state else [other, own])


def _norm(rows: Sequence[Rows], c: Array) -> float:
    return float(np.sqrt(sum(np.sum(block.residual(c) ** 2) for block in rows)))


def _newton(rows: Sequence[Rows], fixed: Array, c: Array, old: float) -> tuple[Array, float, bool]:
    """One step for the active set at c, as long as the line search allows; the new weights and |r|, and whether that
    is what the linear problem has, so that there is no more to gain.
    """
    blocks = [Linear(item.block.of_state, item.residual(c), item.own, item.coupling(c)) for item in rows]
    matrix = fixed.copy()
    for item, block in zip(rows, blocks, strict=True):
        if item.block.control is not None and block.coupling is not None:
            free = block.coupling.any(axis=1)
            _couple(matrix, block.of_state, block.own[free], block.coupling[free])
    matrix = matrix.reshape(c.size, c.size)
    step = _least_squares(blocks, matrix)
    least = np.sqrt(sum(np.sum((block.residual + block.forward(step)) ** 2) for block in blocks))
    length = 1.0
    while length >= SHORTEST:
        new = _norm(rows, c + length * step)
        if new < (1 - 1e-4 * length) * old:
            return c + length * step, new, length == 1.0 and abs(new - least) <= EXACT * least
        length /= 2
    return c, old, False


def _least_squares(blocks: Sequence[Linear], matrix: Array) -> Array:
    """The step (2, M) with the least |r + J step|, by conjugate gradients with the normal equations J'J, which a ridge
    regularises, as preconditioner.
    """
    scales = np.sqrt(matrix.diagonal())
    scales[scales == 0] = 1.0
    factor = _cholesky(matrix / scales / scales[:, None])
    residuals = [block.residual for block in blocks]
    step = direction = np.zeros((2, scales.size // 2))
    old = np.inf
    for _ in range(REFINEMENTS):
        slope = -np.sum([block.backward(r) for block, r in zip(blocks, residuals, strict=True)], axis=0)
        preconditioned = (sl.cho_solve(factor, slope.ravel() / scales) / scales).reshape(step.shape)
        new = float(np.vdot(slope, preconditioned))
        if not new > 0:
            break
        direction = preconditioned + new / old * direction
        images = [block.forward(direction) for block in blocks]
        length = new / sum(np.vdot(image, image) for image in images)
        step = step + length * direction
        residuals = [r + length * image for r, image in zip(residuals, images, strict=True)]
        old = new
    return step


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


def _fixed(rows: Sequence[Rows], count: int) -> Array:
    """J'J, in the order of state and adjoint state (2, M, 2, M), without what depends on the active set."""
    matrix = np.zeros((2, count, 2, count))
    for item in rows:
        i = 0 if item.block.of_state else 1
        matrix[i, :, i] += item.own.T @ item.own
        coupling = item.coupling(np.zeros((2, count))) if item.block.control is None else None
        if coupling is not None:
            _couple(matrix, item.block.of_state, item.own, coupling)
    return matrix


def _couple(matrix: Array, of_state: bool, own: Array, coupling: Array) -> None:
    """Add what rows own @ c + coupling @ c' have in J'J besides own' own."""
    i, j = (0, 1) if of_state else (1, 0)
    mixed = own.T @ coupling
    matrix[i, :, j] += mixed
    matrix[j, :, i] += mixed.T
    matrix[j, :, j] += coupling.T @ coupling
