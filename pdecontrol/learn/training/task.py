"""What is trained on: samples as tensors, and the errors of a model on some of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..operators.model import ControlModel, PredictionModel
from .losses import Norm, relative

Errors = dict[str, Tensor]


class Task(ABC):
    """A model and samples of what it is to be.

    Attributes
    ----------
    model : what is trained.
    count : the number of samples.
    """

    model: PredictionModel | ControlModel
    count: int

    @abstractmethod
    def loss(self, chosen: Tensor) -> Tensor:
        """Errors (chosen,) of some samples, with what backpropagates them."""

    @abstractmethod
    def errors(self, chosen: Tensor) -> Errors:
        """Relative errors of some samples, by name; the norm last."""


@dataclass
class PredictionTask(Task):
    """||N(x) - y|| / ||y||.

    Parameters
    ----------
    inputs, output : of all samples (count, ..).
    norm : of the loss.
    norms : that are reported, by name.
    """

    model: PredictionModel
    inputs: Sequence[Tensor]
    output: Tensor
    norm: Norm
    norms: dict[str, Norm]

    def __post_init__(self) -> None:
        self.count = len(self.output)

    def loss(self, chosen: Tensor) -> Tensor:
        return relative(self.norm, self._predicted(chosen), self.output[chosen])

    def errors(self, chosen: Tensor) -> Errors:
        found, true = self._predicted(chosen), self.output[chosen]
        return {name: relative(norm, found, true).detach() for name, norm in self.norms.items()}

    def _predicted(self, chosen: Tensor) -> Tensor:
        found: Tensor = self.model(*(x[chosen] for x in self.inputs))
        return found


@dataclass
class ControlTask(Task):
    """||S~(u) - y|| / ||y|| + ||S~'(u)* w - q|| / ||q||, the mean of all pairs of a sample.

    S~'(u)* w = M_u^-1 L' M_y w is the product of the vector M_y w with the derivative L of the network, by
    backpropagation. A network that is trained on states alone may have an adjoint that is wrong by ten times more.

    Parameters
    ----------
    control, observation, functional, gradient : u, y, M_y w, q, each (count, pairs, size).
    coefficient : a (count, ..), None where there is none.
    mass : the diagonal of M_u.
    norm, adjoint_norm : of the loss; without the latter it is the error of states alone.
    norms, adjoint_norms : that are reported, by name.
    """

    model: ControlModel
    control: Tensor
    observation: Tensor
    functional: Tensor
    gradient: Tensor
    coefficient: Tensor | None
    mass: Tensor
    norm: Norm
    adjoint_norm: Norm | None
    norms: dict[str, Norm]
    adjoint_norms: dict[str, Norm]

    def __post_init__(self) -> None:
        self.count = len(self.control)

    def loss(self, chosen: Tensor) -> Tensor:
        encoded, pairs, total = self._encoded(chosen), self.control.shape[1], 0.0
        for j in range(pairs):
            u, y = self._state(encoded, chosen, j)
            total = total + relative(self.norm, y, self.observation[chosen, j])
            if self.adjoint_norm is not None:
                q = self._adjoint(u, y, chosen, j, trained=True)
                total = total + relative(self.adjoint_norm, q, self.gradient[chosen, j])
        return total / pairs

    def errors(self, chosen: Tensor) -> Errors:
        found = dict[str, list[Tensor]]()
        for j in range(self.control.shape[1]):
            u, y = self._state(self._encoded(chosen), chosen, j)
            q = self._adjoint(u, y, chosen, j, trained=False)
            for name, norm in self.norms.items():
                found.setdefault(f"forward {name}", []).append(relative(norm, y, self.observation[chosen, j]).detach())
            for name, norm in self.adjoint_norms.items():
                found.setdefault(f"adjoint {name}", []).append(relative(norm, q, self.gradient[chosen, j]).detach())
        return {name: torch.cat(parts) for name, parts in found.items()}

    def _encoded(self, chosen: Tensor) -> Any:
        return self.model.encode(None if self.coefficient is None else self.coefficient[chosen])

    def _state(self, encoded: Any, chosen: Tensor, j: int) -> tuple[Tensor, Tensor]:
        u = self.control[chosen, j].requires_grad_()
        return u, self.model.apply_to(encoded, u)

    def _adjoint(self, u: Tensor, y: Tensor, chosen: Tensor, j: int, trained: bool) -> Tensor:
        (transposed,) = torch.autograd.grad(
            y, u, self.functional[chosen, j], create_graph=trained, retain_graph=trained
        )
        return transposed / self.mass
