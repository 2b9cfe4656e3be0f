"""Spaces: coefficient vectors with their inner product, and functions in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, Data, real_array, sample, undivided
from .errors import DataError
from .mesh.lagrange import Lagrange
from .parallel import ALONE, Group


def _shape(data: Any) -> tuple[int, ...]:
    """The shape of an array, () for what is none."""
    try:
        return () if callable(data) else np.shape(data)
    except ValueError:
        return ()  # nested lists of different lengths


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
    write : writes functions, by name, to an .xdmf or .bp file, from all processes at once; None where that cannot be.
    """

    group: Group
    keys: NDArray[np.int64]
    whole: Callable[[], Space]
    write: Callable[[Path, dict[str, Array]], None] | None = None

    def __repr__(self) -> str:
        return f"<Layout: {self.keys.shape[1]} entries on rank {self.group.rank} of {self.group.size}>"


@dataclass(frozen=True, eq=False)
class Space:
    """Vectors a of shape (n,) with the inner product <a, b> = a' M b.

    Every reduction that an algorithm needs goes through its spaces, so that algorithms are array expressions. Where
    several processes share a space, each holds the n entries that it owns, in the order that they have in the whole
    vector, and every method but `zeros`, `dual`, `riesz` and `split` is called by all of them.

    Parameters
    ----------
    mass : the matrix M, as its diagonal (n,) where it is diagonal; None for products.
    elements : the finite elements whose coefficients the vectors are; None for plain numbers, and where the space is
        divided.
    points : (dim, n), where data are sampled; the nodes of `elements` by default.
    factors : the spaces of which this one is the product, in order.
    diameter : of the domain; that of the elements or points by default.
    layout : how it is divided; None on a single process.
    """

    mass: Any
    elements: Lagrange | None = None
    points: Array | None = None
    factors: tuple[Space, ...] = field(default=())
    diameter: float | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if self.points is None and self.elements is not None:
            object.__setattr__(self, "points", self.elements.points)

    def __repr__(self) -> str:
        if self.factors:
            return f"<Space: a product of {len(self.factors)} spaces, {self.size} entries>"
        what = "plain numbers" if self.points is None else f"entries at points in {len(self.points)}D"
        share = "" if self.group.size == 1 else f" on rank {self.group.rank} of {self.group.size}"
        return f"<Space: {self.size} {what}{share}>"

    @property
    def size(self) -> int:
        """The number of entries on this process."""
        return sum(f.size for f in self.factors) if self.mass is None else int(self.mass.shape[0])

    @cached_property
    def count(self) -> int:
        """The number of entries on all processes."""
        return int(self.group.sum(self.size))

    @property
    def group(self) -> Group:
        """The processes that share the space."""
        if self.factors:
            return self.factors[0].group
        return ALONE if self.layout is None else self.layout.group

    @property
    def nodes(self) -> Array:
        """The points (dim, n) where data are sampled; raises DataError for plain numbers."""
        if self.points is None:
            raise DataError(f"a space of {self.count} plain numbers has no points.")
        return self.points

    @property
    def diagonal(self) -> bool:
        """Whether M is diagonal, so that proximal maps act pointwise."""
        return self.mass is not None and bool(self.mass.ndim == 1)

    @cached_property
    def scale(self) -> float:
        """Diameter of the domain, 1 for plain numbers."""
        if self.diameter is not None:
            return self.diameter
        corners = self.elements.vertices if self.elements is not None else self.points
        return float(np.linalg.norm(np.ptp(corners, axis=1))) or 1.0 if corners is not None else 1.0

    def zeros(self) -> Array:
        return np.zeros(self.size)

    def dual(self, a: Array) -> Array:
        """M a, the functional <a, .> as a vector of values on the basis."""
        if self.mass is None:
            return np.concatenate([f.dual(part) for f, part in zip(self.factors, self.split(a), strict=True)])
        return self.mass * a if self.diagonal else self.mass @ a

    def riesz(self, functional: Array) -> Array:
        """M^-1 f, the vector that represents a functional; for diagonal M."""
        return functional / self.mass

    def apply(self, functional: Array, a: Array) -> float:
        """f(a), a functional given by its values on the basis."""
        return self.group.sum(np.einsum("i,i->", functional, a))  # one thread: the same sum on every run

    def inner(self, a: Array, b: Array) -> float:
        return self.apply(a, self.dual(b))

    def norm(self, a: Array) -> float:
        return float(np.sqrt(max(self.inner(a, a), 0.0)))

    def sum(self, a: Array) -> float:
        """The sum of the entries."""
        return self.group.sum(a.sum())

    def integral(self, a: Array) -> float:
        """<1, a>."""
        return self.sum(self.dual(a))

    def max(self, a: Array) -> float:
        """The greatest entry."""
        return max(self.group.collect(float(a.max(initial=-np.inf))))

    def any(self, a: NDArray[Any]) -> bool:
        """Whether an entry is not zero (or true)."""
        return self.group.any(a.any())

    def interpolate(self, data: Data, name: str = "data", infinite: bool = False) -> Array:
        """Nodal values of a number, an array or a function of x; raises DataError (see `sample`).

        An array is a whole vector, in the order of `gather`, the same on all processes that share the space.
        """
        data = undivided(data)
        if self.group.size > 1:
            count, shapes = self.count, set(self.group.collect(_shape(data)))
            if shapes - {()}:
                with self.group.agree():
                    if len(shapes) > 1:
                        raise DataError(
                            f"{name}: an array is a whole vector, of {count} values, the same on all ranks."
                        )
                    values = sample(data, np.zeros((0, count)), self.scale, name, infinite=True)
                data = self.scatter(values)
        return self.checked(data, name, infinite)

    def checked(self, data: Data, name: str, infinite: bool = False) -> Array:
        """Like `interpolate`, for arrays that have the entries of this process already."""
        with self.group.agree():
            points = self.points if self.points is not None else np.zeros((0, self.size))
            if callable(data) and self.points is None:
                raise DataError(f"{name}: this space has no points, give {self.size} numbers instead of a function.")
            return sample(data, points, self.scale, name, infinite)

    def split(self, a: Array) -> list[Array]:
        """The components of a vector of a product space."""
        return np.split(a, np.cumsum([factor.size for factor in self.factors])[:-1])

    # -- between the processes --------------------------------------------------------------------------------

    @cached_property
    def whole(self) -> Space:
        """The same space on a single process: on rank 0, where this one is divided; it has no entries on others."""
        if self.factors:
            return product([factor.whole for factor in self.factors])
        if self.layout is None:
            return self
        return self.layout.whole()

    def gather(self, a: Array) -> Array:
        """The whole vector, in an order that does not depend on the partition: on rank 0, empty on others."""
        if self.factors:
            pairs = zip(self.factors, self.split(a), strict=True)
            return np.concatenate([factor.gather(part) for factor, part in pairs])
        if self.layout is None:
            return a
        parts, order = self.group.collect_on_root(np.asarray(a)), self._order
        return np.concatenate(parts)[order] if self.group.root else np.zeros(0)

    def scatter(self, whole: Array) -> Array:
        """The entries of this process of a whole vector on rank 0, what others give being ignored."""
        if self.factors:
            parts = np.split(whole, np.cumsum([f.count for f in self.factors])[:-1])
            return np.concatenate([factor.scatter(part) for factor, part in zip(self.factors, parts, strict=True)])
        count = self.count
        with self.group.agree():
            if self.group.root and np.shape(whole) != (count,):
                raise DataError(f"expected a whole vector of shape ({count},), got {np.shape(whole)}.")
            whole = real_array(whole, "a whole vector")
        if self.layout is None:
            return whole
        sizes, order = self.group.collect_on_root(self.size), self._order
        ordered = np.empty(len(whole))
        if self.group.root:
            ordered[order] = whole
        return np.array(self.group.distribute(np.split(ordered, np.cumsum(sizes)[:-1])))

    def digest(self, a: Array | float) -> str:
        """A hash of the values, the same on every partition."""
        if self.factors:
            pairs = zip(self.factors, self.split(a + self.zeros()), strict=True)
            return "".join(factor.digest(part) for factor, part in pairs)
        keys = np.arange(self.size)[None] if self.layout is None else self.layout.keys
        return digest(self.group, keys, a + self.zeros())

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        """On rank 0, where the entries of the whole vector stand among those of the processes."""
        assert self.layout is not None
        keys = self.group.collect_on_root(self.layout.keys)
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


def product(factors: Sequence[Space]) -> Space:
    """The product of spaces: vectors stacked, inner products added."""
    return Space(None, factors=tuple(factors))
