"""From samples and the name of a network to what is trained."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...arrays import Array
from ...errors import DataError
from ...maps import SolutionMap
from ..norms import mass, sobolev
from ..operators import registry
from ..operators.model import ControlModel, PredictionModel
from ..places import places
from .losses import Norm, h1, hsloss_mgno, l2, quadratic
from .recipe import Recipe
from .task import ControlTask, PredictionTask

Arrays = Mapping[str, Array]
Network = tuple[str, Mapping[str, Any]]


def prediction_task(
    network: Network, arrays: Arrays, recipe: Recipe, trained: int, device: str
) -> tuple[PredictionTask, dict[str, Any]]:
    """What learns the array "solution" from the others, and all options of the network; units are those of the samples
    that are trained on.

    Functions on grids are those of the unit cube, its boundary included. Where the solutions have the same values there
    in all samples, these are kept.
    """
    tensors = {name: torch.as_tensor(array, dtype=torch.float32) for name, array in arrays.items()}
    output = tensors.pop("solution")
    inputs, shape = list(tensors.values()), tuple(output.shape[1:])
    if recipe.loss == "hsloss_mgno" and len(shape) != 2:
        raise DataError(f"loss='hsloss_mgno' is of grids of the plane, these solutions have the shape {shape}.")
    margin = int(_fixed_boundary(arrays["solution"]))
    inner = [size - 2 * margin for size in shape]
    axes = [torch.linspace(0.0, 1.0, size)[margin : size - margin] for size in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, len(shape))
    facts = {
        "inputs": [list(x.shape[1:]) for x in inputs], "points": len(points), "dimension": len(shape), "grid": inner,
        "margin": margin,
    }  # fmt: skip
    made, options = _built("prediction", network, facts, recipe.seed)
    if made.on_grid and any(tuple(x.shape[1:]) != shape for x in inputs):
        shapes = ", ".join(f"{name} {tuple(x.shape[1:])}" for name, x in tensors.items())
        raise DataError(f"{network[0]} takes functions on the grid {shape} of the solution alone, there are: {shapes}.")
    model = PredictionModel(made, [tuple(x.shape[1:]) for x in inputs], shape, recipe.pointwise, margin)
    made.place(points)
    model.fit([x[:trained] for x in inputs], output[:trained])
    cut = (slice(None), *(slice(margin, size - margin) for size in shape))
    made.prepare(
        ((output[:trained][cut] - model.output_normaliser.mean) / model.output_normaliser.deviation).flatten(1)
    )
    inputs, output = [x.to(device) for x in inputs], output.to(device)
    norm = {"auto": h1, "h1": h1, "l2": l2, "hsloss_mgno": hsloss_mgno}[recipe.loss]
    return PredictionTask(model.to(device), trained, inputs, output, norm, {"L2": l2, "H1": h1}), options


def _fixed_boundary(solutions: Array) -> bool:
    """Whether all samples have the same values on all sides of the grid."""
    for axis in range(1, solutions.ndim):
        sides = solutions.take([0, -1], axis=axis)
        if (sides != sides[:1]).any():
            return False
    return True


def control_task(
    network: Network, arrays: Arrays, map: SolutionMap, recipe: Recipe, trained: int, device: str
) -> tuple[ControlTask, dict[str, Any]]:
    """What learns a map from pairs of controls and states, duals and gradients, and all options of the network.

    `map` is the exact one, without a coefficient; nothing but its spaces and S(0) is taken of it.
    """
    a = arrays.get("coefficient")
    u, y, w, q = (
        array if a is not None else array[:, None]
        for array in (arrays[name] for name in ("control", "observation", "dual", "gradient"))
    )
    functional, several = np.apply_along_axis(map.observation.dual, 2, w), u.shape[1]
    taken = np.flatnonzero((q != 0).any(axis=(0, 1)))  # other entries do not act on the state, as at Dirichlet nodes
    given = np.flatnonzero((y != y[:1, :1]).any(axis=(0, 1)))
    made, options, inside, grid = _placed(network, map, (taken, given), a, recipe.seed)
    offset = map.solve(map.control.zeros()) if a is None and made.affine else _without(y[0, 0], given)
    where = [torch.as_tensor(places(space)) for space in (map.control, map.observation)]
    model = ControlModel(made, (where[0], where[1]), inside, grid, None if a is None else a.shape[1:])
    pairs = [torch.as_tensor(array, dtype=torch.float32).flatten(0, 1) for array in (u, y, functional, q)]
    learned = [part[: trained * several] for part in pairs]
    masses, coefficient = _diagonal(map.control), None if a is None else torch.as_tensor(a, dtype=torch.float32)
    units = None if coefficient is None else coefficient[:trained]
    model.fit(learned[0], learned[1], units, torch.as_tensor(offset, dtype=torch.float32))
    _prepare(model, learned, masses)
    controls, states, functionals, gradients = (part.to(device) for part in pairs)
    if coefficient is not None and map.affine:
        _check_offset(network[0], model, map, coefficient[:1])
    norms, adjoint_norms = _norms(map, controls)
    adjoint = _chosen(recipe.loss, adjoint_norms) if recipe.adjoint else None
    task = ControlTask(
        model.to(device), trained * several, controls, states, functionals, gradients,
        None if coefficient is None else coefficient.to(device), several, masses.to(device),
        _chosen(recipe.loss, norms), adjoint, norms, adjoint_norms,
    )  # fmt: skip
    return task, options


def _built(kind: str, network: Network, facts: Mapping[str, Any], seed: int) -> tuple[Any, dict[str, Any]]:
    """A network with the random weights of a seed, and all of its options: what is given, and what the data say."""
    name, given = network
    networks: Mapping[str, type] = registry.PREDICTIONS if kind == "prediction" else registry.CONTROLS
    known = inspect.signature(networks[name]).parameters if name in networks else {}
    options = {fact: value for fact, value in facts.items() if fact in known} | dict(given)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return registry.build(kind, name, options), options


def _placed(
    network: Network, map: SolutionMap, entries: tuple[Array, Array], a: Array | None, seed: int
) -> tuple[Any, dict[str, Any], tuple[Tensor, Tensor], tuple[int, ...] | None]:
    """The network where entries of control and state are, its options, these entries in its order, and its grid."""
    points = [places(space)[:, chosen] for space, chosen in zip((map.control, map.observation), entries, strict=True)]
    grid, kind = None, registry.CONTROLS.get(network[0])
    if kind is not None and kind.on_grid:
        (grid, order), (other, states) = (_grid(found, map.observation.scale) for found in points)
        same = grid == other and np.allclose(points[0][:, order], points[1][:, states], atol=1e-9 * map.control.scale)
        if not same:
            raise DataError(
                f"{network[0]} takes controls and states on the same grid: those that act are on {grid}, those that "
                f"are not fixed on {other} points. Take a network on lists of points, such as 'low-rank'."
            )
        points, entries = [points[0][:, order], points[1][:, states]], (entries[0][order], entries[1][states])
    facts = {
        "controls": len(entries[0]), "states": len(entries[1]), "points": len(entries[1]),
        "dimension": len(points[1]), "coefficient": None if a is None else list(a.shape[1:]),
        "grid": None if grid is None else list(grid),
    }  # fmt: skip
    made, options = _built("control", network, facts, seed)
    masses = _diagonal(map.control)[torch.as_tensor(entries[0])]
    made.place(*(torch.as_tensor(found.T, dtype=torch.float32) for found in points), masses)
    return made, options, (torch.as_tensor(entries[0]), torch.as_tensor(entries[1])), grid


def _grid(points: Array, scale: float) -> tuple[tuple[int, ...], Array]:
    """The shape of a tensor grid of points (d, n), and their order in it; raises DataError for others."""
    rounded = np.round(points / scale, 9) + 0.0
    shape = tuple(len(np.unique(row)) for row in rounded)
    if not shape or np.prod(shape) != points.shape[1] or np.unique(rounded, axis=1).shape != points.shape:
        raise DataError(
            f"the {points.shape[1]} points where controls act, or states are not fixed, form no grid: take a network "
            "on lists of points, as 'low-rank', or the mesh of a square with conditions on all of its boundary."
        )
    return shape, np.lexsort(rounded[::-1])


def _without(y: Array, given: Array) -> Array:
    """A state with 0 where the network gives values."""
    result = y.copy()
    result[given] = 0.0
    return result


def _check_offset(name: str, model: ControlModel, map: SolutionMap, a: Tensor) -> None:
    """Raise DataError where states without control depend on the coefficient, but for no weights the network's do."""
    missing = torch.as_tensor(map.solve(map.control.zeros()), dtype=torch.float32) - model.offset
    if missing.abs().max() <= 1e-5 * model.state_unit:
        return
    found = (model(torch.zeros(1, map.control.size), a)[0] * missing).sum()
    gradients = torch.autograd.grad(found, list(model.parameters()), allow_unused=True)
    if not any(gradient is not None and gradient.any() for gradient in gradients):
        raise DataError(
            f"states without control are not zero here, and depend on the coefficient, but {name} is linear in the "
            "control: take constant=true where it has this option, or a network that is not linear."
        )


def _diagonal(space: Any) -> Tensor:
    return torch.as_tensor(mass(space).diagonal(), dtype=torch.float32)


def _prepare(model: ControlModel, parts: list[Tensor], masses: Tensor) -> None:
    """Show the network pairs y = S u, q = S' w in its own units; functionals have the size of states."""
    u, y, functional, q = parts
    u, y = u / model.control_unit, (y - model.offset) / model.state_unit
    size = functional.square().mean().sqrt()
    transposed = q * masses * (model.control_unit / model.state_unit) / size
    model.network.prepare(
        u[:, model.taken], y[:, model.given], functional[:, model.given] / size, transposed[:, model.taken]
    )


def _norms(map: SolutionMap, like: Tensor) -> tuple[dict[str, Norm], dict[str, Norm]]:
    """The norms of states and of gradients."""
    found = []
    for space in (map.observation, map.control):
        norms, matrix = {"L2": quadratic(mass(space), like)}, sobolev(space, map.solution)
        found.append(norms if matrix is None else norms | {"H1": quadratic(matrix, like)})
    return found[0], found[1]


def _chosen(loss: str, norms: Mapping[str, Norm]) -> Norm:
    name = {"auto": "H1" if "H1" in norms else "L2", "h1": "H1", "l2": "L2"}.get(loss, loss)
    if name not in norms:
        raise DataError(
            f"loss={loss!r} is not known of these controls or states: hsloss_mgno is of predictions on grids, h1 of "
            "linear elements on cells. Take 'l2', or 'auto'."
        )
    return norms[name]
