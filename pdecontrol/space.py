"""Spaces: coefficient vectors with their inner product, and functions in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .lagrange import Lagrange, real_array
from .parallel import ALONE, Group

Array = NDArray[np.float64]
Data = float | Callable[[Array], Array] | Array
LARGEST = 1e150  # of data: squares do not overflow


def call(function: Callable[[Array], Any], points: Array, scale: float, name: str) -> Any:
    """What a function of space returns at the columns of points; for the parameters and errors see `sample`.

    The points are rounded to twelve decimals of `scale`, so that data with jumps are the same however the points were
    computed. Decimals keep the numbers at which users put their jumps, and no point leaves an interval between such.
    """
    decimals = 12 - math.floor(math.log10(scale))
    try:
        return function(np.round(points, decimals))
    except Exception as error:
        raise DataError(
            f"{name}: the function failed on x of shape {points.shape}: {type(error).__name__}: {error}. "
            "Functions of space take x of shape (dim, n) and return n values."
        ) from error


def sample(data: Data, points: Array, scale: float, name: str, infinite: bool = False) -> Array:
    """Values data(x) at the columns x of points, checked.

    Parameters
    ----------
    data : a number, an array (n,), or a function of x with shape (dim, n) that returns (n,) or a number.
    points : shape (dim, n), rounded to about 1e-12 of `scale` before a function sees them.
    scale : a length, the diameter of the domain.
    name : what the data are, for the message.
    infinite : whether infinite values are allowed, as in bounds.

    Raises
    ------
    DataError
        If the values have the wrong shape, are NaN, or are infinite or too large to be squared where they must not be.
    """
    count = points.shape[1]
    if callable(data) and not count:
        return np.zeros(0)  # a process that owns nothing there
    if callable(data):
        data = call(data, points, scale, name)
    try:
        values = real_array(data, name).copy()
    except DataError:
        kind = f" of {data.dtype.name} values" if isinstance(data, np.ndarray) else ""
        raise DataError(f"{name}: expected a number or {count} real values, got {type(data).__name__}{kind}.") from None
    if values.ndim == 0:
        values = np.full(count, float(values))
    if values.shape != (count,):
        raise DataError(
            f"{name}: expected shape ({count},), one value a point, got {values.shape}. "
            "Functions of space take x of shape (dim, n) and return n values."
        )
    bad = np.isnan(values) if infinite else ~np.isfinite(values)
    if bad.any():
        where = points[:, np.argmax(bad)].round(6).tolist() if points.size else int(np.argmax(bad))
        raise DataError(f"{name}: {bad.sum()} of {count} values are NaN or infinite, the first at x = {where}.")
    if not infinite and np.abs(values).max(initial=0.0) > LARGEST:
        raise DataError(f"{name} reaches {np.abs(values).max():.1e}, where squares overflow: choose other units.")
    return values


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
        data = whole_field(data)
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


@dataclass(frozen=True, eq=False)
class Field:
    """A function of a space: values, evaluation at points, export, plot."""

    array: Array
    space: Space
    name: str = "field"

    def __post_init__(self) -> None:
        array = real_array(self.array, self.name)
        if array.shape != (self.space.size,):
            raise DataError(f"{self.name}: expected an array of shape ({self.space.size},), got {array.shape}.")
        object.__setattr__(self, "array", array)

    def __repr__(self) -> str:
        return f"<Field {self.name!r}, {self.array.size} values>"

    def __call__(self, points: Array) -> Array:
        """Values at points of shape (dim, n); raises DataError for points outside the domain.

        Under MPI all processes call it, each with its own points.
        """
        group, whole = self.space.group, self.gather()
        with group.agree():
            points = real_array(points, "points")
        parts = group.collect_on_root(points)

        def evaluate() -> list[Array]:
            return [whole._elements().evaluate(whole.array, part) for part in parts]

        if group.size == 1:
            return evaluate()[0]
        with group.agree():
            values = evaluate() if group.root else []
        return group.distribute(values)

    def gather(self) -> Field:
        """The whole function on a single process: on rank 0, where it is divided; an empty one on others."""
        return Field(self.space.gather(self.array), self.space.whole, self.name)

    def save(self, path: str | Path) -> Path:
        """Write the function to a file for ParaView, in the format of its ending, .vtu by default."""
        from .export import export

        return export({self.name: self}, path)

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the function; returns the matplotlib figure (on rank 0), written to `path` if one is given."""
        from .plot import draw

        return draw({self.name: self}, path)

    def finite_values(self) -> Array:
        """The values; raises DataError if some are NaN or infinite, as those of an unknown state are."""
        if not np.isfinite(self.array).all():
            raise DataError(f"{self.name} has values that are NaN or infinite.")
        return self.array

    def _elements(self) -> Lagrange:
        if self.space.elements is None:
            raise DataError(f"{self.name} is a vector of {self.space.size} numbers, not a function of space.")
        return self.space.elements


def check_fields(fields: Any, name: str) -> None:
    """Raise DataError unless fields are given by their names."""
    if not isinstance(fields, Mapping) or not all(isinstance(field, Field) for field in fields.values()):
        raise DataError(f"{name} takes fields by name, {{name: field}}.")


def whole_field(data: Any) -> Any:
    """Data as they are, but for a divided field: that is made whole on every process, which may then call it alone."""
    if isinstance(data, Field) and data.space.group.size > 1:
        return data.space.group.share(data.gather())
    return data
