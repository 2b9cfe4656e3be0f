"""What a map has done, in PDE solves and what they consisted of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter

import numpy as np

from .errors import SolveLimitError


@dataclass
class Counter:
    """What a map has done: PDE solves by kind, and what they consisted of.

    `state`, `tangent` and `adjoint` count solves of the whole equation; `linear` the Newton steps inside nonlinear
    state solves, `factorisations` the matrices factorised or preconditioners built, `refinements` the back
    substitutions that refine solutions of factors or estimate what their rounding amounts to, `inner` the iterations of
    iterative linear solvers and the sweeps of marches that are parallel in time, `recomputed` the steps in time that
    were computed again where memory is limited, `seconds` the time spent in all of it. `applications` are those of a
    surrogate on the way, states, tangents and adjoints, and `surrogate_seconds` the time spent in these; they are no
    solves, and not part of the total. `directions` are the steps whose direction it gave. `systems` are Newton systems
    that were solved at once, in so many `cycles` of multigrid; they are no solves either.
    """

    state: int = 0
    tangent: int = 0
    adjoint: int = 0
    linear: int = 0
    factorisations: int = 0
    refinements: int = 0
    inner: int = 0
    recomputed: int = 0
    seconds: float = 0.0
    applications: int = 0
    surrogate_seconds: float = 0.0
    directions: int = 0
    systems: int = 0
    cycles: int = 0
    limit: float = np.inf

    def __post_init__(self) -> None:
        self.watch: Callable[[int, int], None] | None = None  # told of each step of a march, and of how many

    def step(self, number: int, total: int) -> None:
        """Tell whoever watches of a step of a march in time."""
        if self.watch is not None:
            self.watch(number, total)

    @property
    def total(self) -> int:
        """State, tangent and adjoint solves together."""
        return self.state + self.tangent + self.adjoint

    @contextmanager
    def solving(self, kind: str, count: int = 1) -> Iterator[None]:
        """Count and time so many solves of the kind; raises SolveLimitError where the limit does not allow them."""
        if self.total + count > self.limit:
            raise SolveLimitError(f"the limit of {self.limit:.0f} solves is reached")
        setattr(self, kind, getattr(self, kind) + count)
        with self.timing():
            yield

    def add_applications(self, of: Counter, earlier: dict[str, float]) -> None:
        """Count what a surrogate, whose counter that is, has done after a snapshot of it."""
        spent = of.since(earlier)
        self.applications += int(spent["total"])
        self.surrogate_seconds += spent["seconds"]

    @contextmanager
    def limited(self, limit: float) -> Iterator[None]:
        """Refuse solves beyond a total, or an outer limit, with SolveLimitError."""
        before, self.limit = self.limit, min(limit, self.limit)
        try:
            yield
        finally:
            self.limit = before

    @contextmanager
    def timing(self) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds += perf_counter() - start

    def snapshot(self) -> dict[str, float]:
        """The counts as a dictionary with their total."""
        counts = asdict(self)
        del counts["limit"]
        return counts | {"total": self.total}

    def since(self, earlier: dict[str, float]) -> dict[str, float]:
        """What was counted after an earlier snapshot."""
        return {name: value - earlier[name] for name, value in self.snapshot().items()}
