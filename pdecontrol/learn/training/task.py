"""What is trained on: samples as tensors, and the errors of a model on some of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

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
    count : the number of samples, each control of a coefficient one of its own.
    trained : how many of them, the first ones, are trained on.
    """

    model: PredictionModel | ControlModel
    count: int
    trained: int

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
    trained: int
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
    """||S~(u) - y|| / ||y|| + ||S~'(u)* w - q|| / ||q||.

    S~'(u)* w = M_u^-1 L' M_y w is the product of the vector M_y w with the derivative L of the network, by
    backpropagation. A network that is trained on states alone may have an adjoint that is wrong by ten times more.

    Parameters
    ----------
    control, observation, functional, gradient : u, y, M_y w, q, each (count, size).
    coefficient : a (count / pairs, ..), None where there is none.
    pairs : that follow each other and have the same coefficient.
    mass : the diagonal of M_u.
    norm, adjoint_norm : of the loss; without the latter it is the error of states alone.
    norms, adjoint_norms : that are reported, by name.
    """

    model: ControlModel
    trained: int
    control: Tensor
    observation: Tensor
    functional: Tensor
    gradient: Tensor
    coefficient: Tensor | None
    pairs: int
    mass: Tensor
    norm: Norm
    adjoint_norm: Norm | None
    norms: dict[str, Norm]
    adjoint_norms: dict[str, Norm]

    def __post_init__(self) -> None:
        self.count = len(self.control)

    def loss(self, chosen: Tensor) -> Tensor:
        u, y = self._state(chosen)
        forward = relative(self.norm, y, self.observation[chosen])
        if self.adjoint_norm is None:
            return forward
        return forward + relative(self.adjoint_norm, self._adjoint(u, y, chosen, trained=True), self.gradient[chosen])

    def errors(self, chosen: Tensor) -> Errors:
        u, y = self._state(chosen)
        q, found = self._adjoint(u, y, chosen, trained=False), {}
        for name, norm in self.norms.items():
            found[f"forward {name}"] = relative(norm, y, self.observation[chosen]).detach()
        for name, norm in self.adjoint_norms.items():
            found[f"adjoint {name}"] = relative(norm, q, self.gradient[chosen]).detach()
        return found

    def _state(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        u = self.control[chosen].requires_grad_()
        found: Tensor = self.model(u, None if self.coefficient is None else self.coefficient[chosen // self.pairs])
        return u, found

    def _adjoint(self, u: Tensor, y: Tensor, chosen: Tensor, trained: bool) -> Tensor:
        (transposed,) = torch.autograd.grad(y, u, self.functional[chosen], create_graph=trained, retain_graph=trained)
        return transposed / self.mass
