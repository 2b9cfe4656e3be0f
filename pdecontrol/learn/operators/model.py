"""Networks with units, boundary values and the places of their points: what is trained, saved and applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ...errors import DataError
from .network import ControlNetwork, Prediction
from .normaliser import Normaliser
from .registry import build


class PredictionModel(nn.Module):
    """y = prediction of input functions, all in their own units.

    Parameters
    ----------
    network : in normalised numbers.
    inputs, output : the shapes of one sample of each function.
    pointwise : whether the output is normalised point by point, else by two numbers.
    margin : points on each side of the grid where the output has its Dirichlet values: the network gives the others.

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
        self.network, self.inputs, self.output, self.margin = network, inputs, output, margin
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
            y = self.network(*(x[:, None] for x in z))[:, 0]
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
    places : where the entries of control and observation lie, (d, n) and (d, m), d = 0 for plain numbers.
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
    control_points: Tensor
    observation_points: Tensor

    def __init__(
        self,
        network: ControlNetwork,
        places: tuple[Tensor, Tensor],
        inside: tuple[Tensor, Tensor],
        grid: tuple[int, ...] | None = None,
        coefficient: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.grid, self.coefficient = network, grid, coefficient
        self.affine = network.affine
        self.normaliser = None if coefficient is None else Normaliser()
        self.register_buffer("control_points", places[0])
        self.register_buffer("observation_points", places[1])
        self.register_buffer("offset", torch.zeros(places[1].shape[1]))
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


def described(model: PredictionModel | ControlModel) -> dict[str, Any]:
    """What `rebuilt` needs beside the arrays of a model, as JSON values."""
    if isinstance(model, PredictionModel):
        pointwise = model.output_normaliser.mean.ndim > 0
        inputs, output = [list(shape) for shape in model.inputs], list(model.output)
        return {"inputs": inputs, "output": output, "pointwise": pointwise, "margin": model.margin}
    lists = [None if shape is None else list(shape) for shape in (model.grid, model.coefficient)]
    return dict(zip(("grid", "coefficient"), lists, strict=True))


def rebuilt(
    task: str, network: str, options: Mapping[str, Any], facts: Mapping[str, Any], arrays: Mapping[str, Any]
) -> PredictionModel | ControlModel:
    """The model of a file; raises DataError for networks that are not there and arrays that do not fit them."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with torch.device("meta"):  # nothing is allocated before the shapes are known to be those of the file
        found = build(task, network, options)
        if isinstance(found, Prediction):
            shapes = [tuple(shape) for shape in facts["inputs"]]
            model: PredictionModel | ControlModel = PredictionModel(
                found, shapes, tuple(facts["output"]), bool(facts["pointwise"]), int(facts["margin"])
            )
        else:
            grid, coefficient = (
                None if facts[name] is None else tuple(facts[name]) for name in ("grid", "coefficient")
            )
            places = tensors["control_points"], tensors["observation_points"]
            model = ControlModel(found, places, (tensors["taken"], tensors["given"]), grid, coefficient)
    expected = {name: (tuple(value.shape), value.dtype) for name, value in model.state_dict().items()}
    for name in {*expected, *tensors}:
        there = (tuple(tensors[name].shape), tensors[name].dtype) if name in tensors else None
        if expected.get(name) != there:
            raise DataError(f"{name} is {there} in the file, but {expected.get(name)} of {network} with these options")
        if there is not None and tensors[name].is_floating_point() and not tensors[name].isfinite().all():
            raise DataError(f"{name} has values that are not finite")
    for name, points in (("taken", "control_points"), ("given", "observation_points")):
        if name in tensors and not ((tensors[name] >= 0) & (tensors[name] < tensors[points].shape[1])).all():
            raise DataError(f"{name} has entries that are not there")
    model.load_state_dict(tensors, strict=True, assign=True)
    return model
