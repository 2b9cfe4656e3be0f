"""Families of linear systems as sources of datasets: drawn, solved by a chosen strategy, certified."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from ..arrays import Array
from ..errors import ProblemError
from .source import Batch, Source
from .strategy.choose import Plan, choose
from .strategy.solve import FamilySolver

Sample = dict[str, Array]


class Family(Source):
    """Linear systems A(theta) x = b(theta) with random parameters theta; frozen dataclasses of plain numbers.

    Notes
    -----
    Law: e' A e >= coercivity e' L e for all e, with L = reference(). So the error e of an approximate solution x with
    the residual r has e' A e <= eta^2 = r' L^-1 r / coercivity, and its energy norm relative to that of the solution is
    at most eta / ((x' A x)^1/2 - eta).
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def grid(self) -> tuple[int, ...]:
        """The shape of the unknowns."""

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> Sample:
        """The parameters of one sample, by name: they are stored with the solution."""

    @abstractmethod
    def system(self, sample: Sample) -> tuple[sp.csr_matrix, Array]:
        """The matrix and the right-hand side."""

    @abstractmethod
    def reference(self) -> sp.csr_matrix:
        """L, the matrix of the mean parameters."""

    @abstractmethod
    def coercivity(self, sample: Sample) -> float | None:
        """The factor of the law, None where there is none."""

    @abstractmethod
    def features(self, samples: Sequence[Sample]) -> Array:
        """Parameters of samples as rows (N, p), whose distances say how alike the matrices are."""

    @abstractmethod
    def solution(self, sample: Sample, x: Array) -> Array:
        """The solution on all nodes, with its values on the boundary."""

    @property
    def dimension(self) -> int:
        """Of the domain."""
        return len(self.grid)

    @property
    def definition(self) -> dict[str, Any]:
        return {"family": self.name} | self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        # another process sets up its own solver
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        sample = self.draw(np.random.default_rng(0))
        if taken := {"solution", "residual", "bound"} & set(sample):
            raise ProblemError(f"{self.name}: draw may not name a parameter {taken.pop()!r}.")
        solution = self.solution(sample, np.zeros(int(np.prod(self.grid))))
        return {name: np.shape(value) for name, value in sample.items()} | {"solution": solution.shape}

    def plan(
        self, generators: Sequence[np.random.Generator], count: int, tolerance: float, strategy: str
    ) -> dict[str, Any]:
        return choose(self, [self.draw(generator) for generator in generators], count, tolerance, strategy).to_json()

    def batch(self, plan: Mapping[str, Any], generators: Sequence[np.random.Generator], tolerance: float) -> Batch:
        solver = self._solver(plan, tolerance)
        samples = [self.draw(generator) for generator in generators]
        solved, seconds = solver.solve(samples)
        arrays = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
        empty = np.full(int(np.prod(self.grid)), np.nan)
        arrays["solution"] = np.stack(
            [
                self.solution(sample, empty if one.failure or one.x is None else one.x)
                for sample, one in zip(samples, solved, strict=True)
            ]
        )
        failures = {i: one.failure for i, one in enumerate(solved) if one.failure}
        good = np.array([not one.failure for one in solved])
        arrays["solution"][~good] = np.nan
        counts: dict[str, float] = {f"seconds {stage}": spent for stage, spent in seconds.items()}
        for kind in ("steps", "refresh", "residuals", "preconditioner"):
            counts[f"products {kind}"] = float(sum(getattr(one.products, kind) for one in solved))
        return Batch(
            arrays,
            np.where(good, [one.residual for one in solved], np.nan),
            np.where(good, [one.bound for one in solved], np.nan),
            failures,
            counts,
        )

    def _solver(self, plan: Mapping[str, Any], tolerance: float) -> FamilySolver:
        """The solver of a plan, kept from batch to batch with what it has set up."""
        known, tight, solver = self.__dict__.get("_kept", (None, None, None))
        if known != plan or tight != tolerance:
            if solver is not None:
                solver.close()
            solver = FamilySolver(Plan.from_json(plan), self, tolerance)
            self.__dict__["_kept"] = plan, tolerance, solver
        return solver


def check_size(family: Source, name: str, least: int = 1) -> None:
    """Raise ProblemError unless a parameter is an integer, `least` or more."""
    value = getattr(family, name)
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        kind = "a positive integer" if least == 1 else f"an integer, {least} or more"
        raise ProblemError(f"{name} must be {kind}, got {value!r}.")
    object.__setattr__(family, name, int(value))  # as JSON writes it


def check_choice(value: object, name: str, choices: Sequence[object]) -> None:
    """Raise ProblemError unless a value is one of the choices."""
    if value not in choices:
        raise ProblemError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}.")
