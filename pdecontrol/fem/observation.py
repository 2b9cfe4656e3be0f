"""What is observed of a state: parts of it, its values at points, and functionals of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, transposed
from ..errors import DataError
from ..problem import Linear, Tracking
from ..space import Space, product
from .engine import constant_mass
from .rectangular import NarrowMatrix, numbers, transpose
from .sampler import Sampler


class Observation:
    """O y, in parts: of each a space, and the matrix (states, entries of the space) that is the transpose of O."""

    def __init__(self, parts: Sequence[tuple[Space, Any]]) -> None:
        self._parts, self._transposes = parts, [transpose(matrix) for _, matrix in parts]
        self.space = product([space for space, _ in parts])

    def apply(self, y: Array) -> Array:
        """O y."""
        return np.concatenate([matrix @ y for matrix in self._transposes])

    def transposed(self, w: Array) -> Array:
        """O' M_y w."""
        pieces = zip(self._parts, self.space.split(w), strict=True)
        return np.asarray(sum(matrix @ space.dual(piece) for (space, matrix), piece in pieces))

    @cached_property
    def absolute(self) -> Observation:
        """|O| and |O|' |M_y|, for the sizes of the sums that the others take."""
        return Observation([(Space(abs(space.mass)), abs(matrix)) for space, matrix in self._parts])


def observation(items: Sequence[Tracking | Linear], sampler: Sampler, solution: Space) -> Observation:
    """The observation for terms of the state, in their order; `solution` is the space of states."""
    return Observation([
        _track(item, sampler, solution) if isinstance(item, Tracking) else _integrate(item, sampler) for item in items
    ])  # fmt: skip


def _integrate(term: Linear, sampler: Sampler) -> tuple[Space, Any]:
    region, group = sampler.region(term.on, "Linear"), sampler.engine.group
    load = region.functional(sampler(term.weight, region, "the weight of Linear"))
    return numbers(group, np.ones(1)), NarrowMatrix(group, load[:, None])


def _track(tracking: Tracking, sampler: Sampler, solution: Space) -> tuple[Space, Any]:
    engine, points = sampler.engine, tracking.points
    if points is not None:
        columns = NarrowMatrix(engine.group, _probe(points, sampler))
        sampler.digests.append((f"Tracking at points, weight {tracking.weight!r}", repr(points.tolist())))
        return numbers(engine.group, np.full(points.shape[1], tracking.weight), points), columns
    region = sampler.region(tracking.on, "Tracking")
    dofs = region.dofs()
    sampler.note(f"Tracking, weight {tracking.weight!r}", region)
    whole = region is engine.cells
    gram = solution.mass if whole else engine.block(engine.matrix([constant_mass(region)]), dofs)
    mass = gram if tracking.weight == 1.0 else tracking.weight * gram
    chosen = sp.csr_matrix((np.ones(dofs.size), (dofs, np.arange(dofs.size))), (engine.size, dofs.size))
    return engine.nodal(dofs, mass), chosen


def _probe(points: Array, sampler: Sampler) -> sp.csr_matrix:
    dim = sampler.engine.mesh.dim
    if points.shape[0] != dim:
        advice = transposed(points, dim)
        raise DataError(f"Tracking: points of shape {points.shape} in {dim}D, expected ({dim}, k){advice}.")
    try:
        return sampler.engine.probe(points)
    except DataError as error:
        raise DataError(f"the points of Tracking: {error}") from None
