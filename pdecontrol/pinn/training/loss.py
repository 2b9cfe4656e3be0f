"""The loss of two networks, a sum of squares of the optimality system, with its gradient by the weights: by torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ...arrays import Array
from ...errors import ProblemError
from ..functions.projection import Projection
from ..networks.deep import Deep, carried
from ..networks.operator import Operator, stacked
from ..system.system import System

Put = Callable[[Array], Tensor]


class Loss:
    """L(theta) = sum_b w_b |r_b|^2 over the blocks b of a system, theta all weights of both networks in a row.

    Parameters
    ----------
    system : r, at its points.
    weights : w_b for each block.
    networks : of the state and of the adjoint state, of which the shapes are taken.
    device : of the tensors; "auto" is CUDA where there is one.

    Raises
    ------
    ProblemError
        If there is no such device.
    """

    def __init__(self, system: System, weights: Sequence[float], networks: Sequence[Deep], device: str) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise ProblemError("torch finds no CUDA device here: take device='cpu'.")

        def put(array: Array) -> Tensor:
            return torch.tensor(array, dtype=torch.float64, device=device)

        np.empty(31 << 17)  # once glibc has freed so much it keeps what is freed later, and a step takes a quarter less
        self._networks, self._put, self._weights = networks, put, tuple(weights)
        self._first = networks[0].flat.size
        asked: tuple[list[Operator], list[Operator]] = ([], [])
        self._blocks = []
        for block in system.blocks:
            own, other = (0, 1) if block.of_state else (1, 0)
            rows = slice(len(asked[own]), len(asked[own]) + len(block.operators))
            asked[own].extend(block.operators)
            coupled = None
            if block.other is not None and block.factor is not None:
                control = None if block.control is None else _control(block.control, put)
                coupled = len(asked[other]), put(block.factor), control
                asked[other].append(block.other)
            self._blocks.append((own, rows, put(block.load), coupled))
        self._asked = tuple(_Asked(operators, put) for operators in asked)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """L and its gradient."""
        variable = self._put(theta).requires_grad_()
        total = self._total(variable)
        (gradient,) = torch.autograd.grad(total, variable)
        return total.item(), gradient.cpu().numpy()

    def _total(self, theta: Tensor) -> Tensor:
        parts = theta[: self._first], theta[self._first :]
        found = [asked(net.at(part)) for asked, net, part in zip(self._asked, self._networks, parts, strict=True)]
        total = theta.new_zeros(())
        for weight, (own, rows, load, coupled) in zip(self._weights, self._blocks, strict=True):
            residual = sum(found[own][rows], -load)
            if coupled is not None:
                index, factor, control = coupled
                value = found[1 - own][index]
                residual = residual + factor * (value if control is None else control(value))
            total = total + weight * residual.square().sum()
        return total


class _Asked:
    """What is asked of one network, all of it at once, and its values at the same points only once."""

    def __init__(self, operators: Sequence[Operator], put: Put) -> None:
        curved = [k for k, item in enumerate(operators) if item.bend is not None]
        shared = {k: j for k, item in enumerate(operators) for j in curved if _reads(item, operators[j])}
        plain = [k for k, item in enumerate(operators) if item.bend is None and k not in shared]
        self._groups = [_tensors(stacked([operators[k] for k in group]), put) for group in (curved, plain) if group]
        rows, start = {}, 0
        for k in curved + plain:
            rows[k] = slice(start, start + operators[k].size)
            start += operators[k].size
        self._taken = [
            (rows[shared.get(k, k)], put(item.value), put(item.offset), k not in shared)
            for k, item in enumerate(operators)
        ]

    def __call__(self, network: Deep) -> list[Tensor]:
        """L N for each operator L."""
        pairs = [carried(network.layers, ACTIVATIONS[network.activation], *group) for group in self._groups]
        values, derivatives = (torch.cat([pair[k] @ network.outer for pair in pairs]) for k in (0, 1))
        return [
            torch.addcmul(offset, value, values[rows]) + (derivatives[rows] if differs else 0.0)
            for rows, value, offset, differs in self._taken
        ]


def _reads(one: Operator, other: Operator) -> bool:
    """Whether an operator takes nothing but values at the points of another one."""
    return one.bend is None and not one.slope.any() and np.array_equal(one.inputs, other.inputs)


def _tensors(operator: Operator, put: Put) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """The arguments of `carried`."""
    bend, directions = operator.bend, operator.directions
    second = None if bend is None or directions is None else (put(bend[:, None]), put(directions.transpose(0, 2, 1)))
    return put(operator.inputs.T), put(operator.slope.T), second


def _control(given: Projection, put: Put) -> Callable[[Tensor], Tensor]:
    """`Projection.value` for tensors."""
    lower, upper, reference = put(given.lower), put(given.upper), put(given.alpha * given.reference)

    def control(p: Tensor) -> Tensor:
        v = reference - given.sign * p
        return torch.clamp((v - v.clamp(-given.beta, given.beta)) / given.alpha, lower, upper)

    return control


def _tanh(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s = 2 * torch.sigmoid(2 * z) - 1  # four times faster than torch.tanh
    first = 1 - s * s
    return s, first, -2 * s * first


def _sigmoid(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s = torch.sigmoid(z)
    first = s * (1 - s)
    return s, first, (1 - 2 * s) * first


ACTIVATIONS = {"tanh": _tanh, "sigmoid": _sigmoid}
