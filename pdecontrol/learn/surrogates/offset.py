"""S(0), what affine surrogates have in common with the map that they stand for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...arrays import Array
from ...fem.evolution import Evolution
from ...fem.parabolic import ParabolicMap
from ...fem.steady import SteadyMap
from ...fem.system import System
from ...maps import SolutionMap


def state_at_zero(map: SolutionMap) -> Array:
    """The state y(0) without control: one solve, counted by the map; none where no data drive it, where it is 0."""
    return map.solution.zeros() if undriven(map) else map.at(map.control.zeros()).full_state()


def observed_at_zero(map: SolutionMap) -> Array:
    """What is observed of it, S(0)."""
    return map.observation.zeros() if undriven(map) else map.solve(map.control.zeros())


def undriven(map: SolutionMap) -> bool:
    """Whether 0 solves the equation without control: there are no sources, boundary and initial values, or jumps."""
    if isinstance(map, SteadyMap):
        found = _steady(map.system)
    elif isinstance(map, ParabolicMap):
        found = _in_time(map.evolution)
    else:
        return False
    return not any(map.control.group.any(vector.any()) for vector in found)  # residuals are computed by all processes


def _steady(system: System) -> Iterator[Array]:
    """What drives a steady equation."""
    yield system.lifting.initial()
    yield system.residual(system.lifting.initial(), system.control.zeros())


def _in_time(evolution: Evolution) -> Iterator[Array]:
    """What drives an evolution."""
    zero = np.zeros_like(evolution.start)
    yield evolution.start
    yield from (level.lifting.initial() for level in evolution.levels)
    for n, u in enumerate(evolution.steps_of(evolution.control.zeros())):
        yield evolution.residual(n, zero, zero, zero, u)
