"""Spaces: coefficient vectors with their inner product, and functions in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from .arrays import Array, Data, Indices, Piecewise, joined, on_sides, real_array, sample, undivided
from .errors import DataError
from .layout import Layout, digest
from .mesh.lagrange import Lagrange
from .parallel import ALONE, Group
from .times import Levels, Times, shape_of


@dataclass(frozen=True, eq=False)
class Space:
    """Vectors a of shape (n,) with the inner product <a, b> = a' M b.

    Every reduction that an algorithm needs goes through its spaces, so that algorithms are array expressions. Where
    several processes share a space, each holds the n entries that it owns, in the order that they have in the whole
    vector, and every method but `zeros`, `riesz`, `split`, `steps` and `at` is called by all of them.

    Parameters
    ----------
    mass : the matrix M, as its diagonal (n,) where it is diagonal; None for products.
    elements : the finite elements whose coefficients the vectors are; None for plain numbers, and where the space is
        divided.
    points : (dim, n), where data are sampled; the nodes of `elements` by default. Over time (dim + 1, n), time last.
    factors : the spaces of which this one is the product, in order.
    diameter : of the domain; that of the elements or points by default.
    layout : how it is divided; None on a single process.
    members : the entries of this process in each part of the domain, for data that are given part by part.
    evaluator : takes coefficients and points (dim, p) to the values (p,) there; those of `elements` by default.
    levels : of a space over time, which `over` makes.
    fit : the matrix that takes vectors to coefficients of `elements`, where they are values at other points.
    numbers : whether they are plain numbers, at points perhaps, all of which rank 0 holds.
    """

    mass: Any
    elements: Lagrange | None = None
    points: Array | None = None
    factors: tuple[Space, ...] = ()
    diameter: float | None = None
    layout: Layout | None = None
    evaluator: Callable[[Array, Array], Array] | None = None
    levels: Levels | None = None
    members: Mapping[str, Indices] = field(default_factory=dict)
    fit: Any = None
    numbers: bool = False

    def __post_init__(self) -> None:
        if self.points is None and self.elements is not None:
            object.__setattr__(self, "points", self.elements.points)

    def __repr__(self) -> str:
        if self.factors:
            return f"<Space: a product of {len(self.factors)} spaces, {self.size} entries>"
        if self.levels is not None:
            return f"<Space: {self.times.size} levels of {self.base!r}>"
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
        """The points where data are sampled; raises DataError for plain numbers."""
        if self.points is not None:
            return self.points
        if self.levels is not None and self.base.points is not None:
            return self.levels.nodes
        raise DataError(f"a space of {self.count} plain numbers has no points.")

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
            return joined([f.dual(part) for f, part in zip(self.factors, self.split(a), strict=True)])
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

    def any(self, a: Array) -> bool:
        """Whether an entry is not zero (or true)."""
        return self.group.any(a.any())

    def interpolate(self, data: Piecewise, name: str = "data", infinite: bool = False) -> Array:
        """Nodal values of a number, an array or a function, or of one of them for each part of the domain, {tag: data};
        raises DataError (see `arrays.sample`).

        An array is a whole vector, in the order of `gather`, the same on all processes that share the space; over time
        (N, n) will do, and (n,) for all times. There, functions may have two arguments, x and a number t, and where the
        numbers have no points one, t.
        """
        if isinstance(data, Mapping):
            return self._piecewise(data, name, infinite)
        one: Data = on_sides(undivided(data), self.base.members)
        if self.levels is not None:
            count = self.base.count
            with self.group.agree():
                one = self.levels.flat(one, count, name)
        if self.group.size > 1:
            count, shapes = self.count, set(self.group.collect(shape_of(one)))
            if shapes - {()}:
                with self.group.agree():
                    if len(shapes) > 1:
                        raise DataError(
                            f"{name}: an array is a whole vector, of {count} values, the same on all ranks."
                        )
                    values = sample(one, np.zeros((0, count)), self.scale, name, infinite=True)
                one = self.scatter(values)
        return self.checked(one, name, infinite)

    def _piecewise(self, data: Mapping[str, Data], name: str, infinite: bool) -> Array:
        """Values of data given part by part; entries in several parts must have the same value by each."""
        base, result = self.base, np.full(self.size, np.nan)
        rows = result.reshape(-1, base.size)
        with self.group.agree():
            if not data:
                raise DataError(f"{name}: its parts are given no value, the dictionary is empty.")
            for tag in data:
                if tag not in base.members:
                    raise DataError(f"{name}: there is no part {tag!r} here, the parts are {list(base.members)}.")
        for tag, item in data.items():
            chosen = base.members[tag]
            layout = base.layout and replace(base.layout, keys=base.layout.keys[:, chosen])
            part = Space(
                np.ones(chosen.size), points=base.nodes[:, chosen], diameter=base.scale, layout=layout,
                members={tag: np.arange(chosen.size)},
            )  # fmt: skip
            if self.levels is not None:
                part = part.over(self.times, self.levels.weights, self.levels.times.edges)
            values = part.interpolate(item, f"{name} on {tag!r}", infinite).reshape(len(rows), chosen.size)
            known = ~np.isnan(rows[:, chosen])
            with self.group.agree():
                differ = known & ~np.isclose(rows[:, chosen], values, rtol=1e-9, atol=0.0)
                if differ.any():
                    where = base.nodes[:, chosen[np.argmax(differ.any(axis=0))]].round(6).tolist()
                    raise DataError(
                        f"{name}: parts that meet at x = {where} have different values there; functions have two "
                        "values on an Interface of the problem alone."
                    )
            rows[:, chosen] = values
        with self.group.agree():
            missing = np.isnan(rows).any(axis=0)
            if missing.any():
                where = base.nodes[:, np.argmax(missing)].round(6).tolist()
                raise DataError(f"{name}: the parts {list(data)} leave out the point x = {where}: give all a value.")
        return result

    def checked(self, data: Data, name: str, infinite: bool = False) -> Array:
        """Like `interpolate`, for arrays that have the entries of this process already."""
        with self.group.agree():
            if callable(data) and self.points is None and self.levels is None:
                raise DataError(f"{name}: this space has no points, give {self.size} numbers instead of a function.")
            if callable(data) and self.levels is not None:
                return self.levels.sample(data, self.scale, name, infinite)
            points = self.points if self.points is not None else np.zeros((0, self.size))
            return sample(data, points, self.scale, name, infinite)

    def split(self, a: Array) -> list[Array]:
        """The components of a vector of a product space."""
        if len(self.factors) == 1:
            return [a]
        return np.split(a, np.cumsum([factor.size for factor in self.factors])[:-1])

    # -- over time --------------------------------------------------------------------------------------------

    def over(self, times: Array, weights: Array, edges: Array | None = None) -> Space:
        """Functions of time with values in this space at t_1 < .. < t_N: <a, b> = sum_k w_k <a_k, b_k>.

        Vectors stay flat, (N n,), one level after the other: all that algorithms do with a space goes on to hold.
        Between the times they are linear or, with edges t_0 < .. < t_N of intervals, constant (see `Times`).
        Raises DataError unless times ascend and weights are positive.

        Examples
        --------
        >>> space = Space(np.ones(2)).over([0.5, 1.0], [0.5, 0.5])
        >>> a = np.array([1.0, 2.0, 3.0, 4.0])
        >>> space.inner(a, a), space.at(a, 1.0).tolist()
        (15.0, [3.0, 4.0])
        """
        known, weights = Times(times, edges), real_array(weights, "weights")
        times = known.levels
        if not (times.shape == weights.shape and np.isfinite(weights).all() and (weights > 0).all()):
            raise DataError("a space over time takes ascending times and as many positive weights.")
        if self.factors:
            return product([factor.over(times, weights, edges) for factor in self.factors])
        levels, points, layout = Levels(self, known, weights), self.points, self.layout
        if points is not None:  # long vectors: where data are sampled, but not of states
            points = levels.nodes if self.diagonal else None
        if layout is not None:
            numbers = self.scatter(np.arange(self.count, dtype=float)).astype(np.int64)
            keys = (self.count * np.arange(times.size)[:, None] + numbers).reshape(1, -1)
            layout = Layout(layout.group, keys, lambda: self.whole.over(times, weights, edges))
        mass = np.outer(weights, self.mass).ravel() if self.diagonal else levels
        return Space(mass, points=points, diameter=self.scale, layout=layout, levels=levels)

    @property
    def times(self) -> Array:
        """The times t_1 < .. < t_N of a space over time; raises DataError for others."""
        if self.levels is None:
            raise DataError(f"{self} is not one over time.")
        return self.levels.times.levels

    @property
    def base(self) -> Space:
        """The space of one level, of a space over time; others are their own."""
        return self if self.levels is None else self.levels.base

    def steps(self, a: Array) -> Array:
        """The view (N, n) of a vector over time."""
        return a.reshape(self.times.size, self.base.size)

    def at(self, a: Array, t: float) -> Array:
        """The values at a time (n,), a vector of the space of one level; raises DataError where there are none."""
        rows, levels = self.steps(a), self.levels
        assert levels is not None
        return levels.times.at(rows, t)

    def check_time(self, times: Sequence[float | None], name: str) -> None:
        """Raise DataError unless all processes ask a function of time for one time, and others for none."""
        given = set(map(repr, times))
        if self.levels is None and given != {"None"}:
            raise DataError(f"{name} does not depend on time: give it points alone.")
        if self.levels is not None and (len(given) > 1 or "None" in given):
            raise DataError(f"{name} depends on time: give points and a time t, the same on all processes.")

    # -- between the processes --------------------------------------------------------------------------------

    @cached_property
    def whole(self) -> Space:
        """The same space on a single process: on rank 0, where this one is divided; it has no entries on others."""
        if self.factors:
            return product([factor.whole for factor in self.factors])
        whole: Space = self if self.layout is None else self.layout.whole()
        return whole

    def gather(self, a: Array) -> Array:
        """The whole vector, in an order that does not depend on the partition: on rank 0, empty on others."""
        if self.factors:
            pairs = zip(self.factors, self.split(a), strict=True)
            return np.concatenate([factor.gather(part) for factor, part in pairs])
        return a if self.layout is None else self.layout.gather(a)

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
        return whole if self.layout is None else self.layout.scatter(whole)

    def coefficients(self, a: Array) -> Array:
        """The coefficients of `elements` of a vector (n,), or of rows of such; over time, those of each level."""
        if self.levels is not None:
            return self.base.coefficients(self.steps(a))
        return a if self.fit is None else np.asarray((self.fit @ a.T).T)

    def evaluate(
        self, a: Array, points: Array, name: str = "a function", t: float | None = None, side: str | None = None
    ) -> Array:
        """Values at points (dim, p), of which each process has its own, over time at one t, the same for all.

        Those of one side of an interface, where the tag of a part is given (see `Field`). Raises DataError for points
        outside, and for times where there are no values.
        """

        def values(whole: Space, array: Array, points: Array) -> Array:
            if whole.evaluator is not None and side is None:
                return whole.evaluator(array, points)
            return whole._finite_elements(name).evaluate(whole.coefficients(array), points, side)

        return self._sampled(a, points, name, t, side, values)

    def gradient(
        self, a: Array, points: Array, name: str = "a function", t: float | None = None, side: str | None = None
    ) -> Array:
        """Gradients (dim, p) at points, like `evaluate`."""

        def gradients(whole: Space, array: Array, points: Array) -> Array:
            return whole._finite_elements(name).gradient(whole.coefficients(array), points, side)

        return self._sampled(a, points, name, t, side, gradients)

    def _finite_elements(self, name: str) -> Lagrange:
        if self.elements is None and self.evaluator is None:
            raise DataError(f"{name} is a vector of {self.size} numbers, not a function of space.")
        if self.elements is None:
            raise DataError(f"{name} is not a function of finite elements, which alone have sides and gradients.")
        return self.elements

    def _sampled(
        self, a: Array, points: Array, name: str, t: float | None, side: str | None,
        values: Callable[[Space, Array, Array], Array],
    ) -> Array:  # fmt: skip
        """What a function of the whole space, its vector and points gives each process for its points."""
        if self.levels is not None or t is not None:
            times = self.group.collect(t)
            with self.group.agree():
                self.check_time(times, name)
                assert t is not None
                a = self.at(a, t)
            return self.base._sampled(a, points, name, None, side, values)
        sides, whole, array = set(self.group.collect(side)), self.whole, self.gather(a)
        with self.group.agree():
            points = real_array(points, "points")
            if len(sides) > 1:
                raise DataError(f"{name}: all processes give the same side, these gave {sorted(map(str, sides))}.")
        parts = self.group.collect_on_root(points)
        taken = self.group.only_on_root(lambda: [values(whole, array, part) for part in parts])
        return self.group.distribute(taken or [])

    def digest(self, a: Array | float) -> str:
        """A hash of the values, the same on every partition."""
        if self.factors:
            pairs = zip(self.factors, self.split(a + self.zeros()), strict=True)
            return "".join(factor.digest(part) for factor, part in pairs)
        keys = np.arange(self.size)[None] if self.layout is None else self.layout.keys
        return digest(self.group, keys, a + self.zeros())


def product(factors: Sequence[Space]) -> Space:
    """The product of spaces: vectors stacked, inner products added."""
    return Space(None, factors=tuple(factors))
