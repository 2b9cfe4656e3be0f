"""What a run has cost so far, and its rows on the terminal."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from time import perf_counter

import numpy as np

from ..counter import Counter
from ..result import Row


class Ledger:
    """The PDE solves and the seconds of a run, those of the run that it goes on from included; `limit` is of solves."""

    def __init__(self, counter: Counter, limit: float) -> None:
        self.limit, self._counter = limit, counter
        self._counts, self._clock = counter.snapshot(), perf_counter()

    def go_on(self, solves: dict[str, float], seconds: float) -> None:
        """Count what an earlier run has cost as well."""
        self._counts = {name: count - solves[name] for name, count in self._counts.items()}
        self._clock -= seconds

    @property
    def solves(self) -> dict[str, float]:
        """The solves by kind; see `Counter`."""
        return self._counter.since(self._counts)

    @property
    def total(self) -> int:
        return int(self._counter.total - self._counts["total"])

    @property
    def seconds(self) -> float:
        return perf_counter() - self._clock

    def up_to(self, total: float) -> AbstractContextManager[None]:
        """A block that may go on to so many solves in total, and never beyond the limit: else SolveLimitError."""
        return self._counter.limited(self._counts["total"] + min(total, self.limit))

    def within_limit(self) -> AbstractContextManager[None]:
        return self.up_to(self.limit)


class Printer:
    """Prints rows of the history: always, never, or (None) on a terminal once two seconds have passed."""

    def __init__(self, progress: bool | None) -> None:
        self.always = progress is True
        self.quiet = progress is False or (progress is None and not sys.stderr.isatty())
        self.last: float | None = None
        self._begun = self._stepped = perf_counter()
        self._pending = False

    def step(self, number: int, total: int) -> None:
        """A step of a march in time, on the last line of a terminal, where one takes more than a second."""
        now = perf_counter()
        if self.quiet or not sys.stderr.isatty() or now - self._begun < 2.0 or now - self._stepped < 1.0:
            return
        self._stepped, self._pending = now, True
        print(f"\r{'':9} step {number} of {total} ", end="", file=sys.stderr, flush=True)

    def show(self, row: Row) -> None:
        """Rows with a certificate, every tenth, and at least one each half second."""
        self._stepped = perf_counter()
        if self.quiet or (not self.always and row.seconds < 2.0):
            return
        waited = self.last is None or row.seconds - self.last >= 0.5
        if np.isnan(row.bound) and row.iteration % 10 and not waited:
            return
        if self.last is None:
            self._print(("iteration", "objective", "estimate", "certified", "solves", "seconds"))
        self.last = row.seconds
        estimate, bound = (f"{v:.2e}" if np.isfinite(v) else "" for v in (row.estimate, row.bound))
        self._print((row.iteration, f"{row.objective:.9e}", estimate, bound, row.solves, f"{row.seconds:.1f}"))

    def close(self) -> None:
        if self.last is not None:
            print(file=sys.stderr)

    def _print(self, cells: tuple[object, ...]) -> None:
        widths, erase = (9, 16, 10, 10, 7, 8), "\r" if self._pending else ""
        self._pending = False
        text = " ".join(f"{cell!s:>{width}}" for cell, width in zip(cells, widths, strict=True))
        print(erase + text, file=sys.stderr, flush=True)
