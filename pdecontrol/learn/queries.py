"""A family of control problems with the help of a learned map, and without it: solves, seconds, and when it pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, nan
from numbers import Integral
from statistics import median
from time import perf_counter

import numpy as np

from ..errors import DataError, ProblemError
from ..optimise import minimise
from ..problem import Box, Tikhonov, Tracking, check_number
from ..result import Result
from .catalogue import source_of
from .certify import certified
from .control import ControlSamples
from .darcy_control import DarcyControl
from .matern import MaternField
from .source import Source
from .trained import Trained

SEED = 2026  # before that of the call: no dataset draws these
SIZE, LENGTH, LARGEST = 0.1, 0.15, 30.0  # of targets, and of controls


@dataclass(frozen=True, eq=False)
class Query:
    """A problem that was solved with a learned map and without, both to the same certified tolerance.

    Attributes
    ----------
    result, cold : of `certified`, and of `minimise` with the exact map alone.
    seconds, cold_seconds : of both runs; that of `certified` has the learned map set up in it.
    """

    result: Result
    cold: Result
    seconds: float
    cold_seconds: float

    @property
    def error(self) -> float:
        """The certified bound on the error of the control, relative to it."""
        found = self.result.certificate.relative
        return nan if found is None else found

    @property
    def success(self) -> bool:
        return self.result.success and self.cold.success


def queries(
    trained: Trained,
    source: Source | None = None,
    count: int = 20,
    alpha: float = 1e-4,
    tol: float = 1e-3,
    seed: int = 0,
) -> Iterator[Query]:
    """Problems min 1/2 ||S_a(u) - y_d||^2 + alpha/2 ||u||^2, -30 <= u <= 30, for coefficients a not trained on.

    Parameters
    ----------
    trained : a network for the map of a control problem.
    source : of its data; named families need none.
    count : of problems, each with another coefficient, where the data had any, and another target y_d: a tenth of a
        smooth Gaussian field of the length 0.15, at the nodes of the mesh.
    alpha, tol : the weight of Tikhonov's term, and the tolerance to which each control is certified.
    seed : of the draws; those of datasets are others.

    Yields
    ------
    A `Query` for each, as soon as it is solved.

    Raises
    ------
    DataError, DatasetError, ProblemError
        For networks that are no such maps, and numbers that make no sense, before anything is solved.

    Examples
    --------
    >>> trained = Trained.load("media.npz")  # doctest: +SKIP
    >>> found = list(queries(trained, count=5))  # doctest: +SKIP
    >>> [query.result.solves["total"] for query in found], [query.cold.solves["total"] for query in found]
    ... # doctest: +SKIP
    ([4, 4, 4, 4, 4], [21, 20, 20, 20, 14])
    """
    if trained.header["task"] != "control":
        raise DataError("a prediction is no map of a control problem: train it on samples of one (ControlSamples).")
    found = source_of(trained.header["data"]["definition"]) if source is None else source
    samples = found.samples if isinstance(found, DarcyControl) else found
    if not isinstance(samples, ControlSamples):
        raise DataError(f"{type(samples).__name__} has no map of a control problem.")
    for name, number, least in (("count", count, 1), ("seed", seed, 0)):
        if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
            raise ProblemError(f"{name} must be an integer of at least {least}, got {number!r}.")
    check_number(alpha, "alpha", positive=True)
    check_number(tol, "tol", positive=True)
    draws = (np.random.default_rng((SEED, seed, i)) for i in range(count))
    return (_query(trained, samples, draw, alpha, tol) for draw in draws)


def _query(trained: Trained, samples: ControlSamples, draw: np.random.Generator, alpha: float, tol: float) -> Query:
    a = None if samples.coefficient is None else samples.coefficient.sample(draw)
    target = SIZE * MaternField(samples.mesh, LENGTH).sample(draw)
    terms = [Tikhonov(alpha), Box(-LARGEST, LARGEST)]
    problem = samples.problem_at(a, tracking=Tracking(target), terms=terms)
    map, other = samples.map_at(a), samples.map_at(a)  # each with its own factors, once
    start = perf_counter()
    result = certified(problem, trained.map(map, a), map, tol, progress=False)
    middle = perf_counter()
    cold = minimise(problem, other, tol=tol, progress=False)
    return Query(result, cold, middle - start, perf_counter() - middle)


HEAD = f"{'':>5}{'error':>9}{'exact solves':>14}{'cold':>6}{'applications':>14}{'ms':>9}{'cold ms':>9}"


def row(number: int, query: Query) -> str:
    """A query in a line of a table, whose head is HEAD."""
    counts = query.result.solves
    failed = "" if query.success else "  not certified"
    return (
        f"{number:5d}{query.error:9.1e}{counts['total']:14d}{query.cold.solves['total']:6d}"
        f"{counts['applications']:14d}{1e3 * query.seconds:9.1f}{1e3 * query.cold_seconds:9.1f}{failed}"
    )


def break_even(found: Sequence[Query], offline: float) -> str:
    """After how many queries the seconds spent on data and training are won back, by medians."""
    saved = median(query.cold_seconds for query in found) - median(query.seconds for query in found)
    if saved <= 0:
        return f"never: a query takes {-1e3 * saved:.4g} ms longer than without"
    return f"after {ceil(offline / saved)} queries, each of which saves {1e3 * saved:.4g} ms"


def offline_seconds(trained: Trained) -> tuple[float, float]:
    """What data and training took; raises DataError for networks that do not say it."""
    metrics = trained.header["metrics"]
    if "data seconds" not in metrics:
        raise DataError("this network does not say what its data took: train it again.")
    return float(metrics["data seconds"]), float(metrics["cpu seconds"])
