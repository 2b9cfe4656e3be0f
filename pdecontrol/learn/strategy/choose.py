"""Which solver for which family of systems: look at a few, race the candidates on them, choose, and say why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from ...errors import ProblemError
from .candidates import CANDIDATES, missing
from .race import ENOUGH, Measurement, Race
from .systems import SystemFamily, Traits, assemble, inspect

PROBES = 12  # systems that are looked at, and on which candidates are raced
SORTED = {"recycled": "recycled-sorted", "skr-unsorted": "skr"}


@dataclass(frozen=True)
class Plan:
    """How to solve a family: the candidate, the reason, and what was measured.

    Attributes
    ----------
    strategy : the name of the candidate.
    reason : a sentence.
    traits : what the probed systems have in common.
    figures : the measured candidates, the fastest first, then those not tried.
    seconds : what looking and racing took.
    """

    strategy: str
    reason: str
    traits: Traits
    figures: list[Measurement] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """The plan that `to_json` gave."""
        figures = [Measurement(**figure) for figure in values["figures"]]
        return cls(**{**values, "traits": Traits(**values["traits"]), "figures": figures})

    def __str__(self) -> str:
        lines = [f"strategy        {self.strategy}: {CANDIDATES[self.strategy]}", f"because         {self.reason}"]
        for figure in self.figures:
            measured = figure.note
            if figure.seconds is not None:
                measured = f"{1e3 * figure.seconds:9.2f} ms {figure.products:8.1f} products a system  {measured}"
            lines.append(f"  {figure.name:<20}{measured}")
        return "\n".join(lines)


def choose(
    family: SystemFamily, samples: Sequence[Any], count: int, tolerance: float = 1e-8, strategy: str = "auto"
) -> Plan:
    """Choose how to solve `count` systems of a family.

    Parameters
    ----------
    family : the systems.
    samples : the parameters of a few of them (12 or so), none of which need be among the `count`.
    count : how many will be solved: it limits what the choice may cost.
    tolerance : of the true relative residuals.
    strategy : "auto", or the name of a candidate.

    Raises
    ------
    ProblemError
        For an unknown candidate, and for one that cannot solve these systems.
    """
    begin = perf_counter()
    if strategy != "auto" and strategy not in CANDIDATES:
        raise ProblemError(f"unknown strategy {strategy!r}: take 'auto' or one of {', '.join(CANDIDATES)}.")
    systems = [assemble(family, sample) for sample in samples[:PROBES]]
    systems = [(matrix, b) for matrix, b in systems if np.isfinite(matrix.data).all() and np.isfinite(b).all()]
    if not systems:
        raise ProblemError(f"the systems of {type(family).__name__} have entries that are NaN or infinite.")
    traits, figures = inspect(systems), list[Measurement]()
    name, reason = strategy, "as asked"
    if strategy != "auto":
        if obstacle := missing(CANDIDATES[strategy], traits, systems[0][0]):
            raise ProblemError(f"strategy={strategy!r} cannot be used: {obstacle}.")
    elif traits.constant:
        spanning = {None: "right-hand sides in blocks", 1: "one right-hand side spans all"}
        rank = spanning.get(traits.rhs_rank, f"{traits.rhs_rank} right-hand sides span all")
        name, reason = "superposition", f"the matrix is the same for all samples; {rank}"
    else:
        figures = Race(family, traits, systems, count, tolerance).run()
        name, reason = _winner(figures, count)
    return Plan(name, reason, traits, figures, perf_counter() - begin)


def _winner(figures: Sequence[Measurement], count: int) -> tuple[str, str]:
    """The candidate to take after a race, and why."""
    measured = [(figure.name, figure.seconds) for figure in figures if figure.seconds is not None]
    if not measured:
        return "lu", "no candidate solved the systems that were looked at: the most robust one"
    reason = f"fastest of {len(measured)} measured, {1e3 * measured[0][1]:.2f} ms"
    if len(measured) > 1:
        reason += f"; next {measured[1][0]} with {1e3 * measured[1][1]:.2f} ms"
    if any(figure.note == ENOUGH for figure in figures):
        reason += f"; for {count} samples no more were tried"
    name = SORTED.get(measured[0][0], measured[0][0])
    if name != measured[0][0]:
        reason += "; in greedy order, which costs next to nothing here and saves a few products"
    return name, reason
