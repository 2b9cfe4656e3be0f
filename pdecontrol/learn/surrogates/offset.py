"""S(0), what affine surrogates have in common with the map that they stand for."""

from __future__ import annotations

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
        return not map.control.group.any(_steady(map.system))
    return isinstance(map, ParabolicMap) and not map.control.group.any(_in_time(map.evolution))


def _steady(system: System) -> bool:
    """Whether there is anything that drives a steady equation."""
    y = system.lifting.initial()
    return bool(y.any()) or bool(system.residual(y, system.control.zeros()).any())


def _in_time(evolution: Evolution) -> bool:
    """Whether there is anything that drives an evolution."""
    zero, controls = 0.0 * evolution.start, evolution.steps_of(evolution.control.zeros())
    if evolution.start.any() or any(level.lifting.initial().any() for level in evolution.levels):
        return True
    return any(evolution.residual(n, zero, zero, zero, u).any() for n, u in enumerate(controls))
