"""Marches in time that are gone through forwards and backwards, kept whole or by snapshots."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from ..arrays import Array
from ..errors import ProblemError

Vectors = tuple[Array, ...]  # of one time level
Step = tuple[int, Vectors, Vectors]


class March(ABC):
    """x_(n+1) = advance(n, x_n) for n = 0, .., N - 1.

    Parameters
    ----------
    count, first : N and x_0.
    advance : computes a step, from its arguments alone.
    """

    def __init__(self, count: int, first: Vectors, advance: Callable[[int, Vectors], Vectors]) -> None:
        self.count, self.first, self.advance = count, first, advance

    @abstractmethod
    def after(self, n: int, x: Vectors) -> Vectors:
        """x_(n+1), given x_n."""

    @abstractmethod
    def forward(self) -> Iterator[Step]:
        """(n, x_n, x_(n+1)) for n = 0, .., N - 1."""

    @abstractmethod
    def backward(self) -> Iterator[Step]:
        """(n, x_n, x_(n+1)) for n = N - 1, .., 0."""


class WholeMarch(March):
    """All levels are kept, and each step is computed once."""

    def __init__(self, count: int, first: Vectors, advance: Callable[[int, Vectors], Vectors]) -> None:
        super().__init__(count, first, advance)
        self._levels = [first]

    def after(self, n: int, x: Vectors) -> Vectors:
        if n + 1 == len(self._levels):
            self._levels.append(self.advance(n, x))
        return self._levels[n + 1]

    def forward(self) -> Iterator[Step]:
        x = self.first
        for n in range(self.count):
            before, x = x, self.after(n, x)
            yield n, before, x

    def backward(self) -> Iterator[Step]:
        for _ in self.forward():
            pass
        for n in reversed(range(self.count)):
            yield n, self._levels[n], self._levels[n + 1]


class SnapshotMarch(March):
    """Some levels are kept, by a schedule of snapshots, and steps from them computed again on the way back.

    A way forwards keeps what the next one backwards begins with, which uses it up.

    Notes
    -----
    The schedule takes the fewest steps where each is computed anew for its reversal. Here the level where the last
    reversed step began is still at hand, and is not computed again.

    References
    ----------
    A. Griewank, A. Walther, ACM Trans. Math. Softw. 26 (2000) 19-45.
    """

    def __init__(
        self, count: int, first: Vectors, advance: Callable[[int, Vectors], Vectors], snapshots: int
    ) -> None:  # fmt: skip
        super().__init__(count, first, advance)
        self._snapshots = snapshots
        self._begun: tuple[Iterator[Any], dict[int, Vectors], Step] | None = None

    def after(self, n: int, x: Vectors) -> Vectors:
        return self.advance(n, x)

    def forward(self) -> Iterator[Step]:
        from checkpoint_schedules import EndForward, MultistageCheckpointSchedule

        self._begun = None
        schedule = MultistageCheckpointSchedule(self.count, self._snapshots, 0)
        kept, level, x = dict[int, Vectors](), 0, self.first
        before = x
        for action in schedule:
            if isinstance(action, EndForward):
                break
            _expect(action.n0 == level)
            if action.write_ics:
                kept[level] = x
            for n in range(level, action.n1):
                before, x = x, self.advance(n, x)
                yield n, before, x
            level = action.n1
        _expect(level == self.count)
        self._begun = schedule, kept, (level - 1, before, x)

    def backward(self) -> Iterator[Step]:
        from checkpoint_schedules import Copy, Forward, Move, Reverse

        if self._begun is None:
            for _ in self.forward():
                pass
        assert self._begun is not None
        (schedule, kept, (n, before, x)), self._begun = self._begun, None
        level = reversed_to = self.count
        beginning = before
        for action in schedule:
            if isinstance(action, Copy):
                level, x = action.n, kept[action.n]
            elif isinstance(action, Move):
                level, x = action.n, kept.pop(action.n)
            elif isinstance(action, Forward):
                _expect(action.n0 == level)
                if action.write_ics:
                    kept[level] = x
                for n in range(level, action.n1):
                    before, x = x, beginning if n + 1 == reversed_to else self.advance(n, x)
                level = action.n1
            elif isinstance(action, Reverse):
                _expect(level == action.n1 == reversed_to and action.n0 == n == level - 1)
                reversed_to, beginning = n, before
                yield n, before, x
        _expect(reversed_to == 0)


def _expect(sound: bool) -> None:
    if not sound:
        raise RuntimeError("the schedule of snapshots leaves out a step: take another version of checkpoint_schedules.")


def march(
    count: int, first: Vectors, advance: Callable[[int, Vectors], Vectors], snapshots: int | None = None
) -> March:
    """A march that keeps so many levels at once, or all of them."""
    if snapshots is None:
        return WholeMarch(count, first, advance)
    return SnapshotMarch(count, first, advance, snapshots)


def check_snapshots(snapshots: int | None, affine: bool) -> None:
    """Raise ProblemError where a limit does nothing, or cannot be kept for want of a package."""
    if snapshots is None:
        return
    if affine:
        raise ProblemError(
            "Parabolic: snapshots limits what is kept of trajectories of nonlinear equations. This one is affine, its "
            "derivatives need no trajectory: leave snapshots out."
        )
    if find_spec("checkpoint_schedules") is None:
        raise ProblemError("Parabolic(snapshots=..) needs checkpoint_schedules: pip install checkpoint_schedules.")
