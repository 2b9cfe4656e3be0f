"""The times of functions of space and time, and what holds between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from .arrays import Array, real_array, sample, takes_time
from .errors import DataError


@dataclass(frozen=True, eq=False)
class Times:
    """Functions of time that are known at t_1 < .. < t_N: linear between these, or constant on intervals.

    Parameters
    ----------
    levels : the t_k (N,).
    edges : (N + 1,), where functions are constant on (edges[k], edges[k + 1]], and t_(k + 1) is in it; None where they
        are linear between the levels.

    Raises
    ------
    DataError
        Unless the levels ascend, and each is in its interval.

    Examples
    --------
    >>> rows = np.array([[1.0], [3.0]])
    >>> Times([0.5, 1.0]).at(rows, 0.75), Times([0.5, 1.0], [0.0, 0.5, 1.0]).at(rows, 0.75)
    (array([2.]), array([3.]))
    """

    levels: Array
    edges: Array | None = None

    def __post_init__(self) -> None:
        levels = real_array(self.levels, "times")
        if not (levels.ndim == 1 and levels.size and np.isfinite(levels).all() and (np.diff(levels) > 0).all()):
            raise DataError("the times of a function ascend, and there is one at least.")
        object.__setattr__(self, "levels", levels)
        if self.edges is None:
            return
        edges = real_array(self.edges, "edges of intervals")
        fit = edges.shape == (levels.size + 1,) and np.isfinite(edges).all() and (np.diff(edges) > 0).all()
        if not (fit and (edges[:-1] <= levels).all() and (levels <= edges[1:]).all()):
            raise DataError(f"{levels.size} intervals in time have {levels.size + 1} ascending edges around the times.")
        object.__setattr__(self, "edges", edges)

    def __repr__(self) -> str:
        first, last = self.span
        kind = "times" if self.edges is None else "intervals"
        return f"<Times: {self.levels.size} {kind} from {first:g} to {last:g}>"

    @property
    def span(self) -> tuple[float, float]:
        """Between which times functions have values."""
        ends = self.levels if self.edges is None else self.edges
        return float(ends[0]), float(ends[-1])

    def level(self, t: float) -> int:
        """The number of the interval of t, or that of the nearest level."""
        if self.edges is None:
            return int(np.argmin(np.abs(self.levels - t)))
        return int(np.clip(np.searchsorted(self.edges, t - self._slack) - 1, 0, self.levels.size - 1))

    def at(self, rows: Array, t: float) -> Array:
        """The values at t of a function with rows (N, n) at the levels, at these a view; raises DataError outside."""
        t = number(t)
        first, last = self.span
        if not first - self._slack <= t <= last + self._slack:
            raise DataError(f"there are no values at t = {t:g}, but from t = {first:g} to {last:g}.")
        level = self.level(t)
        if self.edges is not None or abs(self.levels[level] - t) <= self._slack:
            return np.asarray(rows[level])
        level = int(np.searchsorted(self.levels, t))
        before, after = self.levels[level - 1], self.levels[level]
        share = (t - before) / (after - before)
        return np.asarray((1 - share) * rows[level - 1] + share * rows[level])

    @property
    def _slack(self) -> float:
        """Times that differ by less are the same."""
        return 1e-9 * max(map(abs, self.span))


@dataclass(frozen=True, eq=False)
class Levels:
    """Times t_1 < .. < t_N with weights w_1, .., w_N, and the mass diag(w) x M of vectors over all of them.

    Parameters
    ----------
    base : the `Space` of one level, with the mass M.
    times : of the N levels, and what functions do between them.
    weights : (N,).
    """

    base: Any
    times: Times
    weights: Array
    ndim: ClassVar[int] = 2

    @property
    def shape(self) -> tuple[int, int]:
        size = self.weights.size * self.base.size
        return size, size

    @property
    def nodes(self) -> Array:
        """The points (dim + 1, N n) in space and time."""
        points, times = self.base.nodes, self.times.levels
        return np.vstack([np.tile(points, times.size), np.repeat(times, points.shape[1])])

    def __matmul__(self, a: Array) -> Array:
        rows = zip(self.weights, a.reshape(self.weights.size, self.base.size), strict=True)
        return np.concatenate([weight * self.base.dual(row) for weight, row in rows])

    def sample(self, function: Callable[..., Array], scale: float, name: str, infinite: bool) -> Array:
        """Values of a function of x, or of x and t, a level at a time."""
        if not takes_time(function):
            return np.tile(sample(function, self.base.nodes, scale, name, infinite), self.weights.size)
        return np.concatenate([
            sample(lambda x, t=t: function(x, t), self.base.nodes, scale, f"{name} at t = {t:g}", infinite)
            for t in self.times.levels.tolist()
        ])  # fmt: skip

    def _numbers(self, function: Callable[..., Array], t: float, count: int, name: str) -> Array:
        """What a function of time alone has for plain numbers, those of all processes."""
        wanted = f"Functions of time take a number t and return {count} values, or one for all."
        try:
            values = real_array(function(t), name)
        except Exception as error:
            raise DataError(f"{name}: the function failed at t = {t:g}: {error}. {wanted}") from error
        if values.shape not in ((), (count,)):
            raise DataError(f"{name} at t = {t:g}: got an array of shape {values.shape}. {wanted}")
        return np.broadcast_to(values, count)

    def flat(self, data: Any, count: int, name: str) -> Any:
        """A whole array, a level a row, flat, or one for all, as a flat one, and data that are no array as they are.

        So is what a function of time alone has for plain numbers, which one process may own all of.
        """
        if callable(data) and self.base.points is None:
            return np.concatenate([self._numbers(data, t, count, name) for t in self.times.levels.tolist()])
        shape, levels = shape_of(data), self.weights.size
        if shape in ((), (levels * count,)):
            return data
        if shape == (count,):
            return np.tile(data, levels)
        if shape != (levels, count):
            turned = ": transpose it" if shape == (count, levels) else ""
            raise DataError(
                f"{name}: expected shape ({levels}, {count}), {levels} times with {count} values each, or flat "
                f"({levels * count},), got {shape}{turned}."
            )
        return np.asarray(data).ravel()


def number(t: Any) -> float:
    """A time; raises DataError for what is no number."""
    if not isinstance(t, Real):
        raise DataError(f"a time is a number, and they are taken one by one: got {type(t).__name__}.")
    return float(t)


def shape_of(data: Any) -> tuple[int, ...]:
    """The shape of an array, () for what is none."""
    try:
        return () if callable(data) else np.shape(data)
    except ValueError:
        return ()  # nested lists of different lengths
