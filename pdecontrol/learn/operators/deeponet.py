"""DeepONets: branches of input functions times functions of the point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import DataError
from .branch import Branch, Branches
from .network import ControlNetwork, Prediction
from .trunk import Trunk

WIDTHS = (128,)
CHANNELS = (16, 32, 64)


class DeepONet(Prediction):
    """y(x) = sum_k b_k(u) t_k(x) + b_0, k <= p, for one input function; for several b_k = prod_i b_k^i(u_i) (MIONet).

    Parameters
    ----------
    inputs : the shape of each input function.
    points, dimension : the number of output points and of their coordinates; `place` gives them.
    basis : p.
    branch : "dense" (unstacked), "stacked", or "convolutional" for inputs on grids of the plane.
    widths, trunk : the hidden widths of branches and trunk.
    channels : of convolutional branches.
    activation : "relu", "gelu" or "tanh".

    Notes
    -----
    The last layer of a branch is linear, that of the trunk activated. All samples share the points (Cartesian form);
    `aligned` takes points of each sample. Sources: Lu, Jin, Pang, Zhang and Karniadakis (arXiv 1910.03193); Jin, Meng
    and Lu (arXiv 2202.06137) for several inputs.

    Examples
    --------
    >>> import torch
    >>> network = DeepONet([[100]], points=101, dimension=1, basis=40, widths=[40], trunk=[40])
    >>> network.place(torch.linspace(0, 1, 101)[:, None])
    >>> network(torch.zeros(8, 100)).shape, sum(weight.numel() for weight in network.parameters())
    (torch.Size([8, 101]), 7401)
    """

    on_grid = False

    def __init__(
        self,
        inputs: Sequence[Sequence[int]],
        points: int,
        dimension: int = 2,
        basis: int = 128,
        branch: str = "dense",
        widths: Sequence[int] = WIDTHS,
        trunk: Sequence[int] = WIDTHS,
        channels: Sequence[int] = CHANNELS,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.branches = Branches(inputs, basis, branch, widths, channels, activation)
        self.trunk = Trunk(points, dimension, basis, trunk, activation)
        self.constant = nn.Parameter(torch.zeros(()))

    def place(self, points: Tensor) -> None:
        self.trunk.place(points)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.branches(*inputs) @ self.trunk().T + self.constant

    def aligned(self, points: Tensor, *inputs: Tensor) -> Tensor:
        """(batch, points) at points (batch, points, dimension) of each sample."""
        return torch.einsum("bp,bnp->bn", self.branches(*inputs), self.trunk(points)) + self.constant


class PODDeepONet(Prediction):
    """y = mean + sum_k b_k(u) s_k v_k, with the principal modes v_k of the training outputs and their deviations s_k.

    Parameters
    ----------
    inputs, points, branch, widths, channels, activation : see `DeepONet`.
    basis : the number of modes, at most as many as points.

    Notes
    -----
    So the numbers b_k that the branches are to find have mean 0 and deviation 1 in the training data, from which
    `prepare` takes mean and modes. Source: Lu et al. (arXiv 2111.05512), section 3.1.3.

    Examples
    --------
    >>> import torch
    >>> network, outputs = PODDeepONet([[3]], points=5, basis=2), torch.linspace(-1, 1, 9)[:, None] ** torch.arange(5)
    >>> network.prepare(outputs)
    >>> bool(torch.allclose(network.mean, outputs.mean(dim=0)))
    True
    """

    on_grid = False
    mean: Tensor
    modes: Tensor

    def __init__(
        self,
        inputs: Sequence[Sequence[int]],
        points: int,
        basis: int = 64,
        branch: str = "dense",
        widths: Sequence[int] = WIDTHS,
        channels: Sequence[int] = CHANNELS,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if not 1 <= basis <= points:
            raise ValueError(f"functions on {points} points have from 1 to {points} modes, not {basis}")
        self.branches = Branches(inputs, basis, branch, widths, channels, activation)
        self.register_buffer("mean", torch.full((points,), torch.nan))
        self.register_buffer("modes", torch.full((basis, points), torch.nan))

    def prepare(self, outputs: Tensor) -> None:
        count, points = outputs.shape
        basis = len(self.modes)
        if points != len(self.mean) or count < basis:
            raise DataError(
                f"{basis} modes of functions on {len(self.mean)} points take as many training outputs or more, got an "
                f"array of shape {(count, points)}."
            )
        self.mean.copy_(outputs.mean(dim=0))
        _, sizes, modes = torch.linalg.svd((outputs - outputs.mean(dim=0)).double(), full_matrices=False)
        self.modes.copy_(sizes[:basis, None] / count**0.5 * modes[:basis])

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.mean + self.branches(*inputs) @ self.modes


class ControlDeepONet(ControlNetwork):
    """y(x) = sum_k b_k(u) c_k(a) t_k(x) + b_0, nonlinear in the control u; c_k = 1 for problems without coefficient.

    Parameters
    ----------
    controls, states, dimension : the number of points of u and of y, and of the coordinates of the latter.
    basis, widths, trunk, activation : see `DeepONet`.
    coefficient : the shape of a, None where there is none.
    branch, channels : of the coefficient; that of the control is dense.

    Examples
    --------
    >>> import torch
    >>> network = ControlDeepONet(controls=9, states=5, dimension=1, basis=4)
    >>> network.place(torch.linspace(0, 1, 9)[:, None], torch.linspace(0, 1, 5)[:, None])
    >>> network(torch.zeros(3, 9)).shape
    torch.Size([3, 5])
    """

    on_grid, affine = False, False

    def __init__(
        self,
        controls: int,
        states: int,
        dimension: int = 2,
        basis: int = 128,
        widths: Sequence[int] = WIDTHS,
        trunk: Sequence[int] = WIDTHS,
        coefficient: Sequence[int] | None = None,
        branch: str = "dense",
        channels: Sequence[int] = CHANNELS,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        self.branch = Branch([controls], basis, "dense", widths, (), activation)
        self.coefficient = (
            None if coefficient is None else Branch(coefficient, basis, branch, widths, channels, activation)
        )
        self.trunk = Trunk(states, dimension, basis, trunk, activation)
        self.constant = nn.Parameter(torch.zeros(()))

    def place(self, controls: Tensor, states: Tensor, mass: Tensor | None = None) -> None:
        self.trunk.place(states)

    def encode(self, a: Tensor | None) -> Any:
        """T and c(a)."""
        return self.trunk(), 1.0 if self.coefficient is None or a is None else self.coefficient(a)

    def apply_to(self, encoded: Any, u: Tensor) -> Tensor:
        functions, factors = encoded
        y: Tensor = (factors * self.branch(u)) @ functions.T + self.constant
        return y
