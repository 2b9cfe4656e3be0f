"""Cases of benchmarks/operators.py: data, networks with their recipes, and what is wanted of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
from operator_baselines import Ridge, fno, has_fno, mean_prediction, pod_floor

import pdecontrol as pc
from pdecontrol.learn.antiderivative import Antiderivative
from pdecontrol.learn.families import Darcy
from pdecontrol.learn.helmholtz import NeumannHelmholtz
from pdecontrol.learn.trained import Trained

FLOW = {"field": "threshold", "alpha": 2.0}
ONE_CYCLE = {"schedule": "one-cycle", "warm_up": 0.2, "rate": 2e-3, "decay": 1e-5, "held_out": 0.05}


class Found(NamedTuple):
    """Predictions for the test samples, the numbers that were fitted, and seconds of the processor."""

    values: Any
    parameters: int
    seconds: float
    trained: Trained | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A source of samples, and the networks that are trained on them.

    Parameters
    ----------
    source : of all samples; those of the test have another seed.
    count, tests : samples to train on, and test samples, which no training sees.
    networks : by name, the network, its options and its recipe.
    wanted : by name, the largest errors in percent, "L2" and "H1", and "seconds".
    modes : of the POD floor, if any.
    fno : epochs of the training of FNO, if any.
    elsewhere : a source of samples of another distribution, for residual bounds.
    """

    source: Any
    count: int
    networks: Mapping[str, tuple[str, dict[str, Any], dict[str, Any]]]
    wanted: Mapping[str, dict[str, float]]
    tests: int = 200
    modes: int = 0
    fno: int = 0
    elsewhere: Any = None


@dataclass(frozen=True, eq=False)
class Run:
    """A case with its folder of datasets and networks.

    With `quick` there are few samples and epochs, in a folder of their own.
    """

    case: Case
    folder: Path
    device: str = "cpu"
    quick: bool = False

    @cached_property
    def dataset(self) -> pc.Dataset:
        return pc.generate(self.case.source, 100 if self.quick else self.case.count, 0, self.folder / "training")

    @cached_property
    def samples(self) -> tuple[Any, Any, Any, Any]:
        """Inputs and outputs of the training, and of the test."""
        return (*pair(self.dataset), *pair(self.test(self.case.source, "test", 1)))

    def test(self, source: Any, name: str, seed: int) -> pc.Dataset:
        return pc.generate(source, 20 if self.quick else self.case.tests, seed, self.folder / name)

    @cached_property
    def ways(self) -> dict[str, Callable[[int], Found]]:
        """From a seed to predictions; those without random numbers take no notice of it."""
        inputs, outputs, tests, wanted = self.samples
        found: dict[str, Callable[[int], Found]] = {
            "mean": lambda seed: Found(mean_prediction(inputs, outputs, tests), outputs[0].size, 0.0),
            "ridge": lambda seed: self._ridge(),
        }
        if modes := min(self.case.modes, len(outputs) - 1):
            name = f"POD floor, {modes}"
            found[name] = lambda seed: Found(pod_floor(outputs, wanted, modes), modes * outputs[0].size, 0.0)
        for name in self.case.networks:
            found[name] = lambda seed, name=name: self._trained(name, seed)
        if self.case.fno and has_fno():
            found["FNO"] = self._fno
        return found

    def _ridge(self) -> Found:
        inputs, outputs, tests, _ = self.samples
        start = process_time()
        ridge = Ridge(inputs, outputs)
        seconds = process_time() - start
        return Found(ridge(tests), ridge.weights.size, seconds)

    def _trained(self, name: str, seed: int) -> Found:
        """What a training left in the folder, which goes on where it was interrupted."""
        network, options, recipe = self.case.networks[name]
        few = {"epochs": 2} if self.quick else {}
        trained = pc.train(
            self.dataset, network, self.folder / f"{name} {seed}.npz", options=options, seed=seed, device=self.device,
            **recipe | few,
        )  # fmt: skip
        return Found(
            trained.predict(self.samples[2]), trained.parameters, trained.header["metrics"]["cpu seconds"], trained
        )

    def _fno(self, seed: int) -> Found:
        epochs = 1 if self.quick else self.case.fno
        path = self.folder / f"FNO {epochs} {seed}.npz"
        if not path.exists():
            values, parameters, seconds = fno(*self.samples[:3], seed, epochs, device=self.device)
            np.savez(path, values=values, parameters=parameters, seconds=seconds)
        with np.load(path) as saved:
            return Found(saved["values"], int(saved["parameters"]), float(saved["seconds"]))


def pair(dataset: pc.Dataset) -> tuple[Any, Any]:
    """The input and the solutions of all samples."""
    name = next(name for name in dataset.arrays if name not in ("solution", "residual", "bound"))
    return np.asarray(dataset[name][:]), np.asarray(dataset["solution"][:])


def deeponets(epochs: int = 60) -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    """With convolutional branches and units point by point."""
    recipe = ONE_CYCLE | {"loss": "l2", "batch": 25, "epochs": epochs, "pointwise": True}
    return {
        "DeepONet": ("deeponet", {"branch": "convolutional"}, recipe),
        "POD-DeepONet": ("pod-deeponet", {"branch": "convolutional", "activation": "gelu"}, recipe),
    }


def antiderivative() -> Case:
    recipe = {"loss": "l2", "rate": 1e-3, "batch": 100, "epochs": 1100}
    stacked = {"branch": "stacked", "widths": [20], "trunk": [40], "basis": 20}
    networks = {
        "DeepONet": ("deeponet", {"widths": [40], "trunk": [40], "basis": 40}, recipe),
        "DeepONet, stacked": ("deeponet", stacked, recipe | {"epochs": 330}),
    }
    return Case(Antiderivative(), 1000, networks, {"DeepONet": {"L2": 2.5, "seconds": 60}})


def darcy() -> Case:
    """Contrast 12/3 on 32 x 32 cells."""
    recipe = ONE_CYCLE | {"loss": "h1", "batch": 16, "epochs": 80}
    networks = {**deeponets(), "MgNO": ("mgno", {"transfer": "nested"}, recipe)}
    wanted = {"DeepONet": {"L2": 5.5}, "MgNO": {"L2": 1.1, "H1": 2.2, "seconds": 200}}
    source, elsewhere = Darcy(31, tau=3.0, **FLOW), Darcy(31, tau=5.0, low=2.0, high=12.0, **FLOW)
    return Case(source, 1000, networks, wanted, modes=64, fno=30, elsewhere=elsewhere)


def helmholtz() -> Case:
    """Indefinite, two and a half waves on 33 x 33 nodes."""
    options = {"layers": 4, "channels": 16, "transfer": "nested", "padding": "reflect"}
    recipe = ONE_CYCLE | {"loss": "l2", "batch": 16, "epochs": 50, "rate": 3e-3, "pointwise": True}
    networks = {"MgNO": ("mgno", options, recipe)}
    return Case(NeumannHelmholtz(), 800, networks, {"MgNO": {"L2": 2.0, "seconds": 250}})


def large_flow(n: int, layers: int, epochs: int, limit: float, **options: Any) -> Case:
    """One of the published sizes, on nested grids of inner nodes."""
    network = {"layers": layers, "channels": 24, "smoothing": [1, 1, 1, 1, 1, 2], "transfer": "nested"}
    recipe = ONE_CYCLE | {"loss": "h1", "batch": 32, "epochs": epochs, "rate": 1e-3}
    return Case(Darcy(n, **FLOW, **options), 1280, {"MgNO": ("mgno", network, recipe)}, {"MgNO": {"L2": limit}})


def large_helmholtz() -> Case:
    options = {
        "layers": 4, "channels": 20, "smoothing": [1, 1, 1, 1, 2], "transfer": "nested", "padding": "reflect",
    }  # fmt: skip
    recipe = ONE_CYCLE | {"loss": "l2", "batch": 32, "epochs": 150, "rate": 1e-3, "pointwise": True}
    source = NeumannHelmholtz(n=100, omega=1000.0)
    return Case(source, 4000, {"MgNO": ("mgno", options, recipe)}, {"MgNO": {"L2": 1.5}})


SMALL: dict[str, Callable[[], Case]] = {"antiderivative": antiderivative, "darcy": darcy, "helmholtz": helmholtz}
LARGE: dict[str, Callable[[], Case]] = {
    "darcy-63": lambda: Case(Darcy(63, tau=3.0, **FLOW), 1000, deeponets(100), {"DeepONet": {"L2": 4.0}}, modes=64),
    "darcy-127": lambda: large_flow(127, 5, 300, 0.35, tau=3.0),
    "darcy-255": lambda: large_flow(255, 4, 250, 0.60, tau=5.0, low=2.0, high=12.0),
    "helmholtz-100": large_helmholtz,
}
