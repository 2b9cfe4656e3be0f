"""The two sides of interfaces: entries of states on the inner side follow those opposite to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array, Indices
from ..errors import ProblemError
from ..linear.matrix import SharedMatrix, shared
from ..mesh.cut import OUTER
from ..parallel import Halo
from .sampler import Sampler


class Ties:
    """E: continuous functions among the states of a mesh that is cut along interfaces.

    `inner` are the entries of this process on inner sides, `by_tag` those of each interface.
    """

    def __init__(self, tags: Iterable[str], sampler: Sampler) -> None:
        self._engine = engine = sampler.engine
        pairs = {tag: _opposite(tag, sampler) for tag in tags}
        self.by_tag = {tag: inner for tag, (inner, _) in pairs.items()}
        none = np.zeros(0, dtype=np.int64)
        self.inner = np.concatenate([none, *(inner for inner, _ in pairs.values())])
        outer = np.concatenate([none, *(numbers for _, numbers in pairs.values())])
        self._halo = Halo(engine.group, engine.size, outer)
        self._outer, self._alone = outer, engine.group.size == 1
        self._any = bool(pairs)

    def spread(self, y: Array) -> Array:
        """E: the entries of inner sides replaced by those opposite, in place."""
        if self._any:
            y[self.inner] = self._fetched(y)
        return y

    def gathered(self, functional: Array) -> Array:
        """E': those of inner sides added to those opposite."""
        if not self._any:
            return functional
        if self._alone:
            return functional + np.bincount(self._outer, functional[self.inner], functional.size)
        return self._halo.reverse(np.concatenate([functional, functional[self.inner]]))

    def matrix(self, matrix: Any) -> Any:
        """E' A E, in which the entries of inner sides have no part."""
        if not self._any:
            return matrix
        numbers = self._halo.starts[self._engine.group.rank] + np.arange(self._engine.size)
        numbers[self.inner] = self._outer
        tied = shared(matrix).merged(numbers)
        return tied if isinstance(matrix, SharedMatrix) else tied.local

    def _fetched(self, y: Array) -> Array:
        """The entries opposite to those of inner sides."""
        return y[self._outer] if self._alone else self._halo.forward(y)[self._engine.size :]


def _opposite(tag: str, sampler: Sampler) -> tuple[Indices, Indices]:
    """The entries of this process on the inner side of an interface, and the global numbers of those opposite."""
    engine = sampler.engine
    if tag + OUTER not in engine.mesh.boundaries:
        raise ProblemError(f"interface {tag!r}: the map has none of this tag; discretise the problem that states it.")
    inner, outer = (sampler.region(name, "interface", "boundary").dofs() for name in (tag, tag + OUTER))
    start = int(np.sum(engine.group.collect(engine.size)[: engine.group.rank]))
    parts = engine.group.collect((engine.nodes[:, outer], start + outer))
    places, numbers = (np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True))
    _, which = cKDTree(places.T).query(engine.nodes[:, inner].T)
    return inner, numbers[which]
