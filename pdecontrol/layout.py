"""How vectors are divided among processes, and what of them does not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array
from .parallel import Group

Frames = Iterable[tuple[float, dict[str, Array]]]  # functions, by name, at times that ascend


@dataclass(frozen=True, eq=False)
class Layout:
    """How the vectors of a space are divided among the processes of a group.

    Parameters
    ----------
    group : the processes.
    keys : (k, n), what identifies each entry of this process on every partition. Whole vectors, and the entries of
        each process, are ordered by keys, the first row counting most; those of different entries differ.
    whole : the same space on a single process, with its entries in the order of the keys: on rank 0, an empty one on
        others; called by all.
    write : writes functions, by name, at some times, to an .xdmf or .bp file, from all processes at once; None where
        that cannot be.
    """

    group: Group
    keys: NDArray[np.int64]
    whole: Callable[[], Any]
    write: Callable[[Path, Frames], None] | None = None

    def __repr__(self) -> str:
        return f"<Layout: {self.keys.shape[1]} entries on rank {self.group.rank} of {self.group.size}>"

    def gather(self, a: Array) -> Array:
        """The whole vector on rank 0, an empty one on others."""
        parts, order = self.group.collect_on_root(np.asarray(a)), self._order
        return np.concatenate(parts)[order] if self.group.root else np.zeros(0)

    def scatter(self, whole: Array) -> Array:
        """The entries of this process of a whole vector on rank 0."""
        sizes, order = self.group.collect_on_root(self.keys.shape[1]), self._order
        ordered = np.empty(len(whole))
        if self.group.root:
            ordered[order] = whole
        return np.array(self.group.distribute(np.split(ordered, np.cumsum(sizes)[:-1])))

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        """On rank 0, where the entries of the whole vector stand among those of the processes."""
        keys = self.group.collect_on_root(self.keys)
        return np.lexsort(np.hstack(keys)[::-1]) if self.group.root else np.zeros(0, dtype=np.intp)


def digest(group: Group, keys: NDArray[np.int64], values: Array) -> str:
    """A hash of the values (n,) or (rows, n) of entries with keys (k, n), in any order and on any partition."""
    columns = np.vstack([keys.astype(np.uint64), (np.atleast_2d(values) + 0.0).view(np.uint64)])
    mixed = np.zeros(keys.shape[1], dtype=np.uint64)
    for column in columns:  # multiply and shift, as hash functions for tables do; overflow is meant
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    total = sum(int(part) for part in group.collect(int(mixed.sum(dtype=np.uint64))))
    return f"{total % 2**64:016x}"
