"""Training networks on datasets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array
from ..errors import DataError, DatasetError, PdecontrolError
from ..maps import SolutionMap
from ..spectrum import largest_eigenvalue
from .catalogue import source_of
from .control import ControlSamples
from .darcy_control import DarcyControl
from .data import Dataset
from .manifest import differences
from .source import Source
from .trained import Trained

if TYPE_CHECKING:
    from .training.recipe import Recipe
    from .training.task import Task

CONTROL = ("control", "observation", "dual", "gradient")


def train(
    dataset: Dataset,
    network: str,
    path: str | Path | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    source: Source | None = None,
    epochs: int = 100,
    batch: int = 16,
    rate: float = 2e-3,
    decay: float = 0.0,
    schedule: str = "cosine",
    warm_up: float = 0.1,
    clip: float = 1.0,
    loss: str = "auto",
    adjoint: bool = True,
    pointwise: bool = False,
    held_out: float = 0.1,
    patience: int | None = None,
    seed: int = 1,
    seconds: float = math.inf,
    checkpoint_seconds: float = 30.0,
    device: str = "auto",
    progress: bool | None = None,
) -> Trained:
    r"""min_N sum_i ||N(x_i) - y_i|| / ||y_i||, for control maps + ||S~'(u_i)* w_i - q_i|| / ||q_i||: train a network.

    Parameters
    ----------
    dataset : of `generate`, complete. One with controls, observations, duals and gradients is learned as the map of
        its control problem; else "solution" is predicted from all other arrays.
    network, options : its name in `pdecontrol.learn.operators.registry`, and its options; those that the data
        determine, as sizes, may be left out.
    path : of the checkpoint of the training, .npz. The same call with the same data goes on from it after any
        interruption, with the same numbers bit for bit on a CPU.
    source : of the dataset of a control problem, that it was generated from; named families need none.
    epochs, batch : passes through the samples that are trained on, and the samples of a step. Each control and dual of
        a coefficient is a sample.
    rate, decay, clip : of Adam: the largest learning rate, the factor of ||weights||^2 / 2 beside the loss, and what
        the norm of the gradient is cut to.
    schedule, warm_up : "cosine" or "one-cycle", step by step, and the part of all steps in which the rate rises.
    loss : "h1", relative errors in H1: of finite elements for control maps, by differences on grids; "l2"; "auto", h1
        where the space has it; or "hsloss_mgno", what was published as H1 error of MgNO, for comparison.
    adjoint : whether control maps learn gradients as well as states; without them their adjoint may be wrong by ten
        times more than their states.
    pointwise : whether predicted functions have units point by point.
    held_out : the part of the dataset, the last solutions or coefficients, by whose mean loss the best weights are
        chosen.
    patience : in epochs, after which a training without improvement ends.
    seed : of weights and of the order of samples.
    seconds : after which no epoch is begun.
    checkpoint_seconds : between checkpoints, which are written after whole epochs.
    device : "auto" is "cuda" where there is one. All is in single precision, with the settings of torch as they are:
        ``torch.set_float32_matmul_precision("high")`` allows TF32 on CUDA.
    progress : whether to print rows; None prints them on a terminal once two seconds have passed.

    Returns
    -------
    The `Trained` network with the best weights. Its header has the metrics: mean and largest relative errors of the
    samples held out, and what the training took. Ctrl-C ends the training with the best so far.

    Raises
    ------
    DataError, DatasetError
        For arguments and data that do not fit, before the training.
    ResultFileError
        For a checkpoint that is damaged or of another training, and one that cannot be written.
    ConvergenceError
        If the first epoch diverges.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> dataset = pc.open_dataset("data/darcy")  # doctest: +SKIP
    >>> trained = pc.train(dataset, "mgno", epochs=30)  # doctest: +SKIP
    """
    target = _device(device)
    from .operators.model import described
    from .training.archive import Archive
    from .training.loop import Loop, Printer, mean_errors
    from .training.recipe import Recipe

    recipe = Recipe(
        epochs, batch, rate, decay, schedule, warm_up, clip, loss, adjoint, pointwise, held_out, patience, seed
    )
    data, arrays = _read(dataset)
    task, chosen = _task(dataset, source, (network, options or {}), arrays, recipe, target)
    call = {"network": network, "options": chosen, "data": data, "recipe": asdict(recipe)}
    archive = Archive(path, call, checkpoint_seconds)
    loop = Loop(task, recipe, archive, Printer(progress))
    stage, status = loop.run(seconds)
    metrics = mean_errors(task, loop.held_out) | {
        "loss": stage.history[stage.best][1], "epochs": stage.epochs, "best epoch": stage.best + 1,
        "cpu seconds": stage.seconds, "samples": task.count, "held out": len(loop.held_out), "status": status,
        "data seconds": float(dataset.summary["counts"]["seconds"]),
    }  # fmt: skip
    kind = "control" if CONTROL[0] in arrays else "prediction"
    header = {"task": kind, "model": described(task.model), "seed": seed, "history": stage.history, "metrics": metrics}
    return Trained(task.model.cpu().eval(), call | header)


def operator_error(trained: Trained, exact: SolutionMap, coefficient: Array | None = None) -> float:
    """||S~' - S'|| / ||S'|| at u = 0, where S is affine everywhere, by power iteration.

    It takes two solves with the exact map in each step of both Lanczos iterations, which its counter counts.
    """
    learned, zero = trained.map(exact, coefficient), exact.control.zeros()
    at, near = exact.at(zero), learned.at(zero)

    def gap(h: Array) -> Array:
        difference = near.tangent(h) - at.tangent(h)
        return near.adjoint(difference) - at.adjoint(difference)

    whole = largest_eigenvalue(lambda h: at.adjoint(at.tangent(h)), exact.control)
    return math.sqrt(max(largest_eigenvalue(gap, exact.control), 0.0) / whole)


def operator_errors(trained: Trained, dataset: Dataset, source: Source | None = None, count: int = 3) -> Array:
    """`operator_error` at the last coefficients of a dataset, which were not trained on, or of its one map."""
    samples = _samples(dataset, source)
    if samples.coefficient is None:
        return np.array([operator_error(trained, samples.map_at())])
    last = _read(dataset)[1]["coefficient"][-count:]
    return np.array([operator_error(trained, samples.map_at(a), a) for a in last])


def summary(trained: Trained) -> str:
    """What a training took, and the errors on the samples held out, a line each."""
    header, metrics = trained.header, trained.header["metrics"]
    errors = [name.removesuffix(", worst") for name in metrics if name.endswith(", worst")]
    lines = [
        f"{'network':<15} {header['network']}, {trained.parameters} parameters, seed {header['seed']}",
        f"{'samples':<15} {metrics['samples']}, of which {metrics['held out']} are held out",
        f"{'training':<15} {metrics['status']}: {metrics['epochs']} epochs, the best {metrics['best epoch']}, "
        f"{metrics['cpu seconds']:.1f} s of the processor",
    ]
    return "\n".join(
        lines + [f"{name:<15} {metrics[name]:.2%}, worst {metrics[f'{name}, worst']:.2%}" for name in errors]
    )


def _read(dataset: Dataset) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a dataset is, and the arrays of the samples that did not fail."""
    if not isinstance(dataset, Dataset):
        raise DatasetError(f"expected a Dataset, of generate or open_dataset, got {type(dataset).__name__}.")
    if not dataset.complete:
        raise DatasetError(f"{dataset.directory} is not complete: repeat the call of generate that made it.")
    names = [name for name in dataset.arrays if name not in ("residual", "bound")]
    arrays = {name: np.asarray(dataset[name][:]) for name in names}
    good = np.all([np.isfinite(array).reshape(len(array), -1).all(axis=1) for array in arrays.values()], axis=0)
    manifest = dataset.manifest
    data = {name: manifest[name] for name in ("definition", "seed", "count")} | {"digest": dataset.summary["digest"]}
    return data, {name: array[good] for name, array in arrays.items()}


def _task(
    dataset: Dataset, source: Source | None, network: tuple[str, Mapping[str, Any]], arrays: dict[str, Array],
    recipe: Recipe, device: str,
) -> tuple[Task, dict[str, Any]]:  # fmt: skip
    from .training.assemble import control_task, prediction_task

    trained = recipe.trained(len(next(iter(arrays.values()))))
    if all(name in arrays for name in CONTROL):
        return control_task(network, arrays, _samples(dataset, source).map_at(), recipe, trained, device)
    if "solution" not in arrays or len(arrays) < 2:
        raise DatasetError(f"{dataset.directory} has no solutions to predict, its arrays are: {', '.join(arrays)}.")
    return prediction_task(network, arrays, recipe, trained, device)


def _samples(dataset: Dataset, source: Source | None) -> ControlSamples:
    """The samples of control problems behind a dataset; raises DatasetError for those of other sources."""
    definition = dataset.manifest["definition"]
    source = source_of(definition) if source is None else source
    if others := differences(definition, source.definition):
        raise DatasetError(f"{dataset.directory} is not of this source: {'; '.join(others)}.")
    samples = source.samples if isinstance(source, DarcyControl) else source
    if not isinstance(samples, ControlSamples):
        raise DatasetError(f"{type(source).__name__} has no map of a control problem.")
    return samples


def _device(device: str) -> str:
    try:
        import torch
    except ImportError:
        raise PdecontrolError("networks need torch: pip install torch.") from None
    if device not in ("auto", "cpu", "cuda"):
        raise DataError(f"device is 'auto', 'cpu' or 'cuda', not {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise DataError("there is no device 'cuda' here: take device='auto' or 'cpu'.")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
