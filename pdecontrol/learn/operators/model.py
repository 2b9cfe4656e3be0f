"""Networks with units, boundary values and the places of their points: what is trained, saved and applied."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from .network import ControlNetwork, Prediction
from .normaliser import Normaliser


class PredictionModel(nn.Module):
    """y = prediction of input functions, all in their own units.

    Parameters
    ----------
    network : in normalised numbers.
    inputs, output : the shapes of one sample of each function.
    grid : the shape of the grid of networks on grids, which inputs and output have with `margin` more points on each
        side: those of the inputs are left out, those of the output are `boundary` (the Dirichlet values).
    pointwise : whether the output is normalised point by point, else by two numbers.

    Notes
    -----
    Boundary values hold exactly, whatever the weights are.
    """

    boundary: Tensor

    def __init__(
        self,
        network: Prediction,
        inputs: list[tuple[int, ...]],
        output: tuple[int, ...],
        pointwise: bool = False,
        margin: int = 0,
    ) -> None:
        super().__init__()
        self.network, self.output, self.margin = network, output, margin
        self.inner = tuple(size - 2 * margin for size in output)
        self.normalisers = nn.ModuleList(Normaliser() for _ in inputs)
        self.output_normaliser = Normaliser(self.inner if pointwise else ())
        self.register_buffer("boundary", torch.zeros(output))

    def fit(self, inputs: list[Tensor], output: Tensor) -> None:
        """Take units from samples, and the boundary values, which must be those of all of them."""
        for normaliser, data in zip(self.normalisers, inputs, strict=True):
            normaliser.fit(data)
        self.output_normaliser.fit(self._inner(output))
        if self.margin:
            self.boundary.copy_(output[0])
            self._inner(self.boundary[None]).zero_()

    def forward(self, *inputs: Tensor) -> Tensor:
        """(count, *output) of inputs (count, *shape) each."""
        z = [normaliser(x) for normaliser, x in zip(self.normalisers, inputs, strict=True)]
        if self.network.on_grid:
            y = self.network(torch.stack([self._inner(x) for x in z], dim=1))[:, 0]
        else:
            y = self.network(*(x.flatten(1) for x in z)).reshape(len(z[0]), *self.inner)
        y = self.output_normaliser.inverse(y)
        return y if not self.margin else self.boundary + pad(y, [self.margin] * (2 * len(self.inner)))

    def _inner(self, x: Tensor) -> Tensor:
        """Functions on the grid without the margin."""
        return x[(slice(None), *(slice(self.margin, size + self.margin) for size in self.inner))]


class ControlModel(nn.Module):
    """y = offset + E s N(u / t, a): the map of a control problem on vectors of its spaces.

    Parameters
    ----------
    network : N, in normalised numbers.
    sizes : the numbers of controls and of observed values.
    inside : the entries of the control that N takes, and those of the observation that it gives, in the order of its
        points, E puts 0 elsewhere: there the offset is the state, whatever the weights are.
    grid : the shape of the grid of networks on grids.
    coefficient : the shape of one coefficient, None for problems with a fixed one.

    Notes
    -----
    Units s, t of controls and states are plain factors, so that affine networks make affine models.
    """

    offset: Tensor
    control_unit: Tensor
    state_unit: Tensor
    taken: Tensor
    given: Tensor

    def __init__(
        self,
        network: ControlNetwork,
        sizes: tuple[int, int],
        inside: tuple[Tensor, Tensor],
        grid: tuple[int, ...] | None = None,
        coefficient: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.sizes, self.grid = network, sizes, grid
        self.affine = network.affine
        self.normaliser = None if coefficient is None else Normaliser()
        self.register_buffer("offset", torch.zeros(sizes[1]))
        self.register_buffer("control_unit", torch.ones(()))
        self.register_buffer("state_unit", torch.ones(()))
        self.register_buffer("taken", inside[0])
        self.register_buffer("given", inside[1])

    def fit(self, u: Tensor, y: Tensor, a: Tensor | None, offset: Tensor) -> None:
        """Take units from samples, and the offset as it is given: S(0), or the values where the network gives none."""
        self.offset.copy_(offset)
        self.control_unit.copy_(u.square().mean().sqrt())
        self.state_unit.copy_((y - offset).square().mean().sqrt())
        if self.normaliser is not None and a is not None:
            self.normaliser.fit(a)

    def encode(self, a: Tensor | None) -> Any:
        """What of the coefficients (count, *shape) `apply_to` needs."""
        return self.network.encode(None if self.normaliser is None or a is None else self.normaliser(a))

    def apply_to(self, encoded: Any, u: Tensor) -> Tensor:
        """S(u) (count, m) of controls (count, n)."""
        z = u[:, self.taken] / self.control_unit
        if self.grid is not None:
            z = z.reshape(len(z), 1, *self.grid)
        y = self.state_unit * self.network.apply_to(encoded, z).reshape(len(z), -1)
        return self.offset.expand(len(y), -1).index_add(1, self.given, y)

    def forward(self, u: Tensor, a: Tensor | None = None) -> Tensor:
        return self.apply_to(self.encode(a), u)
