"""When a certificate is worth its solves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

FALLEN, ROUNDING = 1e-10, 1e-24  # of an objective: what is a fall, and what of the first one is that of rounding


@dataclass
class Schedule:
    """Spaces the certificates of a run.

    A free estimate of the error, from the duality gap of the method's own pair, is compared with the target: first with
    a margin, since certificates are ahead of it, then times a part of the ratio of the last bound to its estimate.
    Where the estimate tells nothing, certificates come after 12, 34, 78, .. iterations.

    There is no estimate and no certificate before the iterations `next_estimate` and `next_certificate`; `latest` and
    `least` are iterations with the estimates there, `judged` is the estimate of the last certificate, `improved` the
    iteration of the least bound, `lowest` that at which the objective last fell by more than rounding, and `unit` the
    first objective.
    """

    ratio: float = 0.01
    bounds: list[float] = field(default_factory=list)
    next_certificate: int = 0
    next_estimate: int = 0
    latest: tuple[int, float] = (0, np.inf)
    least: tuple[int, float] = (0, np.inf)
    judged: float = np.inf
    improved: int = 0
    lowest: tuple[int, float] = (0, np.inf)
    unit: float = 0.0

    def evaluated(self, iteration: int, objective: float) -> None:
        """Take note of the objective at an iteration."""
        least = self.lowest[1]
        if least == np.inf:
            self.unit = abs(objective)
        if least == np.inf or objective < least - max(FALLEN * abs(least), ROUNDING * self.unit):
            self.lowest = iteration, objective

    def estimate_due(self, iteration: int) -> bool:
        """Whether to compute the estimate, which costs no solve but some vector operations."""
        return iteration >= self.next_estimate

    def certificate_due(self, iteration: int, estimate: float, target: float, sharp: bool = False) -> bool:
        """Whether to certify now; `estimate` and `target` are in the unit of the bounds.

        The first chance is taken, as it tells how far estimates are from bounds, but where the estimate is known to be
        `sharp`, twice the bound.
        """
        if sharp:
            self.ratio = 0.5
        (before, old), self.latest = self.latest, (iteration, estimate)
        if not estimate >= 0.95 * self.least[1]:
            self.least = self.latest
        self.next_estimate = iteration + 1
        if 0 < target < self.ratio * estimate and estimate < old < np.inf:
            rate = np.log(old / estimate) / (iteration - before)
            ahead = 0.7 * np.log(self.ratio * estimate / target) / rate
            self.next_estimate = iteration + int(np.clip(ahead, 1, max(1, iteration // 2)))
        if iteration < self.next_certificate:
            return estimate <= min(target, 0.9 * self.judged)
        late = iteration >= 2 * self.next_certificate + 10
        return late or not (self.bounds or sharp) or self.ratio * estimate <= target

    def certified(self, iteration: int, bound: float) -> None:
        """Take note of a bound; the next certificate may come after one iteration, later ones after 4 % more."""
        if bound <= 0.95 * min(self.bounds, default=np.inf):
            self.improved = iteration
        self.bounds.append(bound)
        self.judged = self.latest[1]
        self.next_certificate = iteration + max(1, iteration // 25)
        estimate = self.latest[1]
        if iteration > 0 and np.isfinite(bound) and np.isfinite(estimate) and estimate > 0:
            self.ratio = 0.3 * bound / estimate  # bounds gain on the estimate as the iteration settles

    @property
    def vanished(self) -> bool:
        """Whether the objective is that of rounding beside the first one."""
        return abs(self.lowest[1]) <= ROUNDING * self.unit

    @property
    def settled(self) -> bool:
        """Whether the last three certificates did not halve the bound."""
        return len(self.bounds) > 3 and min(self.bounds[-3:]) > 0.5 * min(self.bounds[:-3])

    def stalled(self, patience: int) -> bool:
        """Whether neither the last eight bounds nor half as many more iterations brought anything.

        No verdict comes within the `patience` of a method, the iterations in which it gains something if it works, nor
        while the objective falls.
        """
        now, fell = self.latest[0], self.lowest[0]
        gained = max(self.least[0], fell)
        return now - gained > max(100, patience) + gained // 2 or (
            len(self.bounds) > 12
            and min(self.bounds[-8:]) > 0.95 * min(self.bounds[:-8])
            and now - self.improved > patience
            and now - fell > max(patience, now // 4)
        )
