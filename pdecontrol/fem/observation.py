"""What is observed of a state: parts of it, its values at points, and functionals of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, joined, transposed
from ..errors import DataError, ProblemError
from ..problem import Linear, Times, Tracking
from ..space import Space, product
from .engine import constant_mass
from .rectangular import NarrowMatrix, absolute, numbers, transpose
from .sampler import Sampler


class Part(NamedTuple):
    """One observation: its space, and the matrix (states, entries of the space) that is the transpose of O.

    `gram` adds O' M_y O to a matrix of the engine, where functions are observed, and not numbers.
    """

    space: Space
    matrix: Any
    gram: Callable[[Any], Any] | None = None


class Observation:
    """O y, in parts."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts, self._transposes = parts, [transpose(part.matrix) for part in parts]
        self.space = product([part.space for part in parts])

    def apply(self, y: Array) -> Array:
        """O y."""
        return joined([np.asarray(matrix @ y) for matrix in self._transposes])

    def transposed(self, w: Array) -> Array:
        """O' M_y w."""
        pieces = zip(self._parts, self.space.split(w), strict=True)
        first, *others = (np.asarray(part.matrix @ part.space.dual(piece)) for part, piece in pieces)
        return sum(others, first)

    def gram(self, tracked: Sequence[bool], base: Any) -> Any | None:
        """O' M_y T O added to a matrix, T = 1 on those parts tracked that are functions; None where there are none."""
        grams = [part.gram for part, yes in zip(self._parts, tracked, strict=True) if yes and part.gram is not None]
        for gram in grams:
            base = gram(base)
        return base if grams else None

    def columns(self, tracked: Sequence[bool]) -> Iterator[NarrowMatrix]:
        """B with B B' = O' M_y T O, for those parts tracked that are numbers."""
        for part, yes in zip(self._parts, tracked, strict=True):
            if yes and part.gram is None:
                yield part.matrix.scaled(np.sqrt(part.space.mass))

    @cached_property
    def absolute(self) -> Observation:
        """|O| and |O|' |M_y|, for the sizes of the sums that the others take."""
        return Observation([Part(Space(absolute(part.space.mass)), absolute(part.matrix)) for part in self._parts])


class ObservationOverTime:
    """Of trajectories (N, n) in the entries of states: O_k y at some of the times, in parts.

    Each part has the space of what is observed, one over these times, their numbers, and for each of them the matrix
    that is the transpose of O_k.
    """

    def __init__(self, parts: Sequence[tuple[Space, list[int], list[Any]]]) -> None:
        self._parts = [(space, levels, matrices, list(map(transpose, matrices))) for space, levels, matrices in parts]
        self._numbers = [{level: k for k, level in enumerate(levels)} for _, levels, _ in parts]
        self.space = product([space for space, *_ in parts])

    def apply(self, y: Array) -> Array:
        """O y."""
        observed = self.space.zeros()
        for level, row in enumerate(y):
            self.observe(level, row, observed)
        return observed

    def observe(self, level: int, y: Array, observed: Array) -> None:
        """Enter what is observed of the state at one time."""
        for part, (space, _, _, transposes), piece in self._with_numbers(observed):
            if level in part:
                space.steps(piece)[part[level]] = transposes[part[level]] @ y

    def transposed(self, w: Array, shape: tuple[int, int]) -> Array:
        """O' M_y w, functionals on states for each time."""
        at = self.functionals(w, shape[1])
        return np.stack([at(level) for level in range(shape[0])])

    def functionals(self, w: Array, size: int) -> Callable[[int], Array]:
        """The functional of O' M_y w on states at one time, of that many entries, by the number of the time."""
        parts = [
            (part, matrices, space.steps(space.dual(piece)))
            for part, (space, _, matrices, _), piece in self._with_numbers(w)
        ]

        def at(level: int) -> Array:
            result = np.zeros(size)
            for part, matrices, rows in parts:
                if level in part:
                    result += matrices[part[level]] @ rows[part[level]]
            return result

        return at

    def _with_numbers(self, observed: Array) -> Iterator[tuple[dict[int, int], tuple[Any, ...], Array]]:
        """Of each part the places of its levels, what it consists of, and its piece of what is observed."""
        return zip(self._numbers, self._parts, self.space.split(observed), strict=True)

    @cached_property
    def absolute(self) -> ObservationOverTime:
        """|O| and |O|' |M_y|, for the sizes of the sums that the others take."""
        return ObservationOverTime([
            (absolute_mass(space), levels, [absolute(matrix) for matrix in matrices])
            for space, levels, matrices, _ in self._parts
        ])  # fmt: skip


def absolute_mass(space: Space) -> Space:
    """Vectors of a space over time with the sizes of the entries of the mass."""
    assert space.levels is not None
    return Space(absolute(space.base.mass)).over(space.times, space.levels.weights)


def observation_over_time(
    items: Sequence[Tracking | Linear], sampler: Sampler, solution: Space, times: Array, weights: Callable[..., Array]
) -> ObservationOverTime:
    """The observation of trajectories at t_1 < .. < t_N; `weights(a, b)` (N,) are those of integrals from a to b.

    `solution` is the space of states at one time.
    """
    parts = []
    for item in items:
        name = type(item).__name__
        levels, shares = _levels(item.times, times, weights, name)
        sampler.digests.append((f"{name} at {times[levels].tolist()}", repr(shares.tolist())))
        if isinstance(item, Tracking):
            space, matrix, _ = _track(item, sampler, solution)
            matrices = [matrix] * len(levels)
        else:
            matrices = []
            for t in times[levels].tolist():
                sampler.time = t
                space, matrix, _ = _integrate(item, sampler)
                matrices.append(matrix)
        parts.append((space.over(times[levels], shares), levels, matrices))
    return ObservationOverTime(parts)


def _levels(when: Times, times: Array, weights: Callable[..., Array], name: str) -> tuple[list[int], Array]:
    """The numbers of the times at which something is observed, and their weights, 1 for a single time."""
    if when == "all" or isinstance(when, tuple):
        a, b = when if isinstance(when, tuple) else (-np.inf, np.inf)
        shares = weights(a, b)
        levels = np.flatnonzero(shares > 1e-12 * shares.max())
        if not shares.any():
            raise ProblemError(f"{name}: the times {when!r} have nothing in common with those of the equation.")
        return levels.tolist(), shares[levels]
    t = times[-1] if when == "final" else float(when)
    level = int(np.argmin(np.abs(times - t)))
    if abs(times[level] - t) > 1e-9 * np.abs(times).max():
        raise ProblemError(
            f"{name}: t = {t:g} is not among the times of the equation, from {times[0]:g} to {times[-1]:g}; next to it "
            f"is {times[level]:g}."
        )
    return [level], np.ones(1)


def observation(items: Sequence[Tracking | Linear], sampler: Sampler, solution: Space) -> Observation:
    """The observation for terms of the state, in their order; `solution` is the space of states."""
    return Observation([
        _track(item, sampler, solution) if isinstance(item, Tracking) else _integrate(item, sampler) for item in items
    ])  # fmt: skip


def _integrate(term: Linear, sampler: Sampler) -> Part:
    region, group = sampler.region(term.on, "Linear"), sampler.engine.group
    load = region.functional(sampler(term.weight, region, "the weight of Linear"))
    return Part(numbers(group, np.ones(1)), NarrowMatrix(group, sp.csc_matrix(load[:, None])))


def _track(tracking: Tracking, sampler: Sampler, solution: Space) -> Part:
    engine, points = sampler.engine, tracking.points
    if points is not None:
        columns = NarrowMatrix(engine.group, _probe(points, sampler))
        sampler.digests.append((f"Tracking at points, weight {tracking.weight!r}", repr(points.tolist())))
        weights = np.full(points.shape[1], tracking.weight)
        return Part(numbers(engine.group, weights, points), columns)
    region = sampler.region(tracking.on, "Tracking")
    dofs = region.dofs()
    sampler.note(f"Tracking, weight {tracking.weight!r}", region)
    whole = region is engine.cells
    plain = solution.mass if whole else engine.block(engine.matrix([constant_mass(region)]), dofs)
    mass = plain if tracking.weight == 1.0 else tracking.weight * plain
    chosen = sp.csr_matrix((np.ones(dofs.size), (dofs, np.arange(dofs.size))), (engine.size, dofs.size))

    def gram(base: Any) -> Any:
        return engine.matrix([constant_mass(region, tracking.weight)], base)

    return Part(engine.nodal(dofs, mass), chosen, gram)


def _probe(points: Array, sampler: Sampler) -> sp.csr_matrix:
    dim = sampler.engine.mesh.dim
    if points.shape[0] != dim:
        advice = transposed(points, dim)
        raise DataError(f"Tracking: points of shape {points.shape} in {dim}D, expected ({dim}, k){advice}.")
    try:
        return sampler.engine.probe(points)
    except DataError as error:
        raise DataError(f"the points of Tracking: {error}") from None
