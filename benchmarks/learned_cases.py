"""Families of control problems, and the surrogates of their maps: classical ones, and networks trained on samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

import pdecontrol as pc
from pdecontrol.errors import DatasetError
from pdecontrol.learn.darcy_control import DarcyControl
from pdecontrol.learn.matern import MaternField
from pdecontrol.learn.surrogates import CoarseMesh, ReducedBasis, ReducedMarch, SineGalerkin, Surrogate, VCycle
from pdecontrol.learn.trained import Trained

BOUNDS = pc.Box(-30.0, 30.0)
GATED = {"epochs": 5, "batch": 12, "rate": 3e-3}
LOW_RANK = {"epochs": 20, "batch": 32, "rate": 2e-3, "loss": "l2", "schedule": "one-cycle"}
DIAGONAL = {"core": "diagonal", "rank": 128}


def has_cuda() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


@dataclass(frozen=True, eq=False)
class Query:
    """A problem with its exact map, the optimum and a bound on what that errs by, and the coefficient."""

    problem: pc.ControlProblem
    map: pc.SolutionMap
    optimum: Any
    error: float
    coefficient: Any


@dataclass(frozen=True, eq=False)
class Way:
    """How a surrogate for a query is made, and the seconds spent once on data and training."""

    surrogate: Callable[[Query], pc.SolutionMap]
    offline: float = 0.0


class Flow:
    """-div(a grad y) = u with random a of two phases and |u| <= 30: targets are smooth random fields."""

    alphas = (1e-4, 1e-6)
    count = 20

    def __init__(self, high: float, low: float, output: Path, seed: int, device: str, quick: bool) -> None:
        self.name = f"flow, contrast {high:g}/{low:g}"
        self.source = DarcyControl(n=8 if quick else 32, low=low, high=high)
        self.samples, self.output, self.seed, self.device = self.source.samples, output, seed, device
        self.fields, self.quick = (60 if quick else 2200), quick
        self.size = self.samples.map_at().control.size

    def queries(self, count: int) -> list[Callable[[float], Query]]:
        """Draws that no sample of the data has: their seeds are others."""
        return [lambda alpha, i=i: self._query(np.random.default_rng((2026, i)), alpha) for i in range(count)]

    def _query(self, generator: np.random.Generator, alpha: float) -> Query:
        a = self.samples.coefficient.sample(generator)
        target = 0.1 * MaternField(self.samples.mesh, 0.15).sample(generator)
        terms = [pc.Tikhonov(alpha), BOUNDS]
        problem = self.samples.problem_at(a, tracking=pc.Tracking(target), terms=terms)
        return solved(problem, pc.discretise(problem, self.samples.mesh), a)

    @cached_property
    def dataset(self) -> pc.Dataset:
        return pc.generate(self.source, self.fields, 0, self.output / self.name.replace("/", "-"))

    @property
    def data_seconds(self) -> float:
        return float(self.dataset.summary["counts"]["seconds"])

    @cached_property
    def ways(self) -> dict[str, Callable[[], Way]]:
        few = {"epochs": 2} if self.quick else {}
        rank = {"rank": 12} if self.quick else {}
        return {
            "mean coefficient": lambda: Way(self._mean),
            "coarse mesh": lambda: Way(self._coarse),
            "sine-Galerkin": lambda: Way(lambda query: SineGalerkin(query.map, 4 if self.quick else 8)),
            "reduced basis": self._reduced,
            "AMG V-cycle": lambda: Way(lambda query: VCycle(query.map)),
            "linear DeepONet": lambda: self._learned("low-rank", LOW_RANK | few, DIAGONAL | rank),
            "low-rank": lambda: self._learned("low-rank", LOW_RANK | few, rank),
            "self-adjoint": lambda: self._learned("self-adjoint", LOW_RANK | few, rank),
            "gated-multigrid": lambda: self._learned("gated-multigrid", GATED | few, {}),
        }

    def _mean(self, query: Query) -> pc.SolutionMap:
        mean = self.samples.problem_at(np.full_like(query.coefficient, query.coefficient.mean()))
        return Surrogate(pc.discretise(mean, self.samples.mesh), query.map)

    def _coarse(self, query: Query) -> pc.SolutionMap:
        mesh = pc.unit_square(self.source.n // 2)
        return CoarseMesh(pc.discretise(self.samples.problem_at(query.coefficient), mesh), query.map)

    def _reduced(self) -> Way:
        """128 principal modes of the states of 400 coefficients."""
        fields = min(400, self.fields)
        states = self.dataset["observation"][:fields].reshape(-1, self.size)
        start = process_time()
        states = np.linalg.svd(states, full_matrices=False)[2][: 12 if self.quick else 128]
        offline = self.data_seconds * fields / self.fields + process_time() - start
        return Way(lambda query: ReducedBasis(query.map, states), offline)

    def _learned(self, network: str, recipe: dict[str, Any], options: dict[str, Any]) -> Way:
        """A network of the output folder, trained if it is not there."""
        rank = "-".join(f"{value}" for value in options.values())
        path = self.output / f"{self.name.replace('/', '-')} {network} {rank} {self.seed}.npz"
        if path.exists():
            trained = Trained.load(path)
        else:
            trained = pc.train(self.dataset, network, options=options, seed=self.seed, device=self.device, **recipe)
            trained.save(path)
        metrics = trained.header["metrics"]
        print(
            f"{self.name}, {network}: {trained.parameters} parameters, {metrics['cpu seconds']:.0f} s, forward "
            f"{metrics['forward L2']:.1%}, adjoint {metrics['adjoint L2']:.1%} on samples held out"
        )
        offline = self.data_seconds + metrics["cpu seconds"]
        return Way(lambda query: trained.map(query.map, query.coefficient, self.device), offline)


class Heat:
    """y_t - Laplace y = u in (0,1)^2 x (0,1), |u| <= 20: one map, targets that are random in space and time."""

    alphas = (1e-3, 1e-5)
    count = 5

    def __init__(self, output: Path, seed: int, device: str, quick: bool) -> None:
        n, self.steps, self.fields = (8, 8, 12) if quick else (64, 64, 32)
        self.name, self.output, self.seed, self.device, self.quick = f"heat {n}", output, seed, device, quick
        self.mesh, self.coarse = pc.unit_square(n), pc.unit_square(n // 2)
        self.problem = pc.ControlProblem(
            equation=pc.Parabolic(pc.Elliptic(), 1.0, self.steps),
            boundary={"boundary": pc.Dirichlet()},
            control=pc.Distributed(),
            tracking=pc.Tracking(0.0),
            terms=[pc.Tikhonov(1.0), pc.Box(-20.0, 20.0)],
        )
        self.source = pc.ControlSamples(self.problem, self.mesh, length=(0.1, 0.5))
        self.size = self.source.map_at().control.size

    def queries(self, count: int) -> list[Callable[[float], Query]]:
        return [lambda alpha, i=i: self._query(np.random.default_rng((2026, i)), alpha) for i in range(count)]

    def _query(self, generator: np.random.Generator, alpha: float) -> Query:
        shapes, waves = generator.integers(1, 4, (2, 5)), generator.uniform(0, 6, 5)

        def target(x, t):
            parts = zip(*shapes, waves, strict=True)
            return sum(np.sin(np.pi * i * x[0]) * np.sin(np.pi * j * x[1]) * np.cos(w * t) for i, j, w in parts) / 10

        terms = [pc.Tikhonov(alpha), pc.Box(-20.0, 20.0)]
        problem = self.source.problem_at(tracking=pc.Tracking(target), terms=terms)
        return solved(problem, self.source.map_at(), None)

    @cached_property
    def dataset(self) -> pc.Dataset:
        return pc.generate(self.source, self.fields, 0, self.output / self.name, chunk=4)

    @property
    def data_seconds(self) -> float:
        return float(self.dataset.summary["counts"]["seconds"])

    @cached_property
    def ways(self) -> dict[str, Callable[[], Way]]:
        return {"coarse mesh": self._coarse, "reduced basis": self._reduced, "modes-in-time": self._learned}

    def _coarse(self) -> Way:
        coarse = CoarseMesh(pc.discretise(self.problem, self.coarse), self.source.map_at())
        return Way(lambda query: coarse)

    def _reduced(self) -> Way:
        """The principal modes of the states at all times of eight samples."""
        few, start = min(8, self.fields), process_time()
        reduced = ReducedMarch(self.source.map_at(), self.dataset["observation"][:few], 8 if self.quick else 64)
        return Way(lambda query: reduced, self.data_seconds * few / self.fields + process_time() - start)

    def _learned(self) -> Way:
        path = self.output / f"{self.name} modes-in-time {self.seed}.npz"
        if path.exists():
            trained = Trained.load(path)
        else:
            trained = pc.train(
                self.dataset, "modes-in-time", source=self.source, seed=self.seed, device=self.device,
                options={"steps": self.steps, "rank": 8 if self.quick else 64}, epochs=2 if self.quick else 10, batch=4,
                rate=1e-3, loss="l2",
            )  # fmt: skip
            trained.save(path)
        metrics = trained.header["metrics"]
        print(
            f"{self.name}, modes-in-time: {trained.parameters} parameters, {metrics['cpu seconds']:.0f} s, forward "
            f"{metrics['forward L2']:.1%}, adjoint {metrics['adjoint L2']:.1%} on samples held out"
        )
        learned = trained.map(self.source.map_at(), device=self.device)
        return Way(lambda query: learned, self.data_seconds + metrics["cpu seconds"])


def solved(problem: pc.ControlProblem, map: pc.SolutionMap, coefficient: Any) -> Query:
    """A query with its optimum, to 1e-9."""
    result = pc.minimise(problem, map, tol=1e-9, progress=False)
    if result.certificate.bound is None:
        raise DatasetError(f"the optimum of a query is not known: {result.message}")
    return Query(problem, map, result.control.array, result.certificate.bound, coefficient)


CASES = {
    "12/3": lambda *options: Flow(12.0, 3.0, *options),
    "100/1": lambda *options: Flow(100.0, 1.0, *options),
    "heat": Heat,
}
