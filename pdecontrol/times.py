"""The times of functions of space and time, and what holds between them."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np

from .arrays import Array, real_array
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
        if not isinstance(t, Real):
            raise DataError(f"a time is a number, and they are taken one by one: got {type(t).__name__}.")
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
