"""Nonlinear maps of controls between a few numbers, on the principal modes of states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import DataError
from .core import modes
from .deeponet import WIDTHS
from .layers import perceptron
from .network import ControlNetwork

BASIS = 20


class ReducedMap(ControlNetwork):
    """y = V (C z + f(z)) + y_0, z = B u: V the principal modes of the states, f a perceptron, C and B matrices.

    Parameters
    ----------
    controls, states : the numbers of points of u and of y.
    basis : of modes, and of numbers z, 20 by default, or as many as there are points.
    widths, activation : of f, its hidden layers.

    Notes
    -----
    A DeepONet on principal modes (arXiv 2111.05512) with a linear path beside the branch. `prepare` takes V and y_0,
    the mean state, from the training data, and begins with B as the principal modes of q = S'^T w, that is of what the
    derivatives of S see of controls. The coefficients of the modes are in one unit, so that errors are those of y.

    Examples
    --------
    >>> import torch
    >>> u, y = torch.randn(20, 9), torch.randn(20, 5)
    >>> network = ReducedMap(controls=9, states=5, basis=5)
    >>> network.prepare(u, y)
    >>> network(u).shape
    torch.Size([20, 5])
    """

    on_grid, affine = False, False
    modes: Tensor
    mean: Tensor

    def __init__(
        self,
        controls: int,
        states: int,
        basis: int | None = None,
        widths: Sequence[int] = (*WIDTHS, *WIDTHS),
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        basis = min(BASIS, controls, states) if basis is None else basis
        if not 1 <= basis <= min(controls, states):
            raise ValueError(f"a map from {controls} to {states} numbers has from 1 to as many modes, not {basis}")
        self.control = nn.Linear(controls, basis, bias=False)
        self.linear = nn.Linear(basis, basis, bias=False)
        self.branch = perceptron([basis, *widths, basis], activation)
        self.register_buffer("modes", torch.full((basis, states), torch.nan))
        self.register_buffer("mean", torch.full((states,), torch.nan))

    def prepare(self, u: Tensor, y: Tensor, w: Tensor | None = None, q: Tensor | None = None) -> None:
        basis = len(self.modes)
        if len(y) < basis:
            raise DataError(f"{basis} modes take as many samples or more, got {len(y)}.")
        self.mean.copy_(y.mean(dim=0))
        self.modes.copy_(modes((y - self.mean).double(), basis).T)
        if q is not None:
            seen = modes(q.double(), basis).T
            with torch.no_grad():
                self.control.weight.copy_(seen / (u @ seen.T.to(u)).std().clamp(min=1e-12))

    def encode(self, a: Tensor | None) -> Any:
        return None

    def apply_to(self, encoded: Any, u: Tensor) -> Tensor:
        z = self.control(u)
        y: Tensor = (self.linear(z) + self.branch(z)) @ self.modes + self.mean
        return y
