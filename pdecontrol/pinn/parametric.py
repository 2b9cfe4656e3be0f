"""All problems of a family at once: networks that have the parameters as inputs too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from time import perf_counter
from typing import Any

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..errors import ConvergenceError
from ..problem import Parametric
from ..result import Result, Status
from .checks import checked_domain
from .features import through
from .functions.cubature import mesh_of
from .functions.domain import domain_of
from .functions.sampling import draw
from .functions.trial import Trial, projected
from .method import HardConstraint
from .networks.layer import Layer
from .networks.network import Network
from .outcome import SHOWN, Outcome, history_of, result_of
from .reporter import Reporter
from .strong import left
from .system.block import Block, Blocks, joined_blocks
from .system.system import System
from .training.collocation import outer_weights
from .training.training import Step

CORNERS = 16  # of the box of parameters at most, whose members are checked as single problems are
CHECKED = 20  # members drawn anew, on which a solution is judged
LARGEST = 0.1  # of their residuals, relative to what is given in their rows
TIMES = 4  # of each member, where there is time
JUDGED = 500, 125  # points of a member in the interior and on interfaces, at which it is


@dataclass(frozen=True, eq=False)
class ParametricSolution:
    """State and adjoint state for all parameters.

    Parameters
    ----------
    family, box : the problems and their domain.
    state, adjoint : N(xi, phi, tau, mu) of both.
    steps : of Newton's method, with residuals of the optimality systems, each relative to its data.
    judged : parameters of members which were not used, with their residuals.
    note : on how they were found.
    seed : of the points at which residuals are taken.
    """

    family: Parametric
    box: Any
    state: Network
    adjoint: Network
    steps: Sequence[Step]
    judged: Sequence[tuple[dict[str, float], float]]
    note: str
    seed: int

    def member(self, **parameters: float) -> Result:
        """The solution for parameters; raises ProblemError for those out of their ranges."""
        begin, scaled = perf_counter(), self.family.scaled(parameters)
        system = _system(self.family, self.box, scaled, *JUDGED, np.random.default_rng([self.seed, 1]))
        state, adjoint = Trial(system.state, self.state), Trial(system.adjoint, self.adjoint)
        left_over = left(_residual(system, self.state, self.adjoint))
        outcome = Outcome(
            state, adjoint, projected(system.problem, adjoint), left_over, Status.SOLVED,
            f"hard constraints, all members of a family at once ({self.note})", history_of(self.steps),
            Counter().snapshot(), f"{self.family!r}{parameters}",
        )  # fmt: skip
        mesh = mesh_of(system.domain, system.domain.diameter / SHOWN)
        return result_of(system.problem, outcome, mesh, LARGEST, perf_counter() - begin)

    def residual(self, **parameters: float) -> float:
        """What is left of the optimality system of a member, relative to what is given, at points held out."""
        scaled = self.family.scaled(parameters)
        system = _system(self.family, self.box, scaled, *JUDGED, np.random.default_rng([self.seed, 1]))
        return _residual(system, self.state, self.adjoint)


def solve_parametric(
    family: Parametric,
    box: Any,
    features: int = 1000,
    members: int = 500,
    points: int = 20,
    on_interfaces: int = 6,
    scale: float = 0.8,
    seed: int = 0,
    progress: bool | None = None,
) -> ParametricSolution:
    """The optimality systems of all members of a family, one least-squares problem in the span of random features.

    Y = g + h N(xi, phi, mu) with the parameters mu, scaled to (-1, 1) or less, as inputs: conditions are exact for all
    members, and the residual is small in mean over all of them, each relative to its data. Parameters whose ranges are
    positive enter by their logarithms. Members are drawn the denser, the nearer to the ends of ranges.

    Parameters
    ----------
    family : the problems.
    box : their domain, [(low, high), (low, high)].
    features : how many neurons N has, for state and adjoint state each.
    members : of the family, drawn at random, which share the collocation points.
    points, on_interfaces : of each member.
    scale : of the slopes of features.
    seed : of all that is random.
    progress : whether to print it; None for a terminal after two seconds.

    Raises
    ------
    ProblemError, DataError
        If members at the corners of the box of parameters are none for trial functions.
    ConvergenceError
        If what is left of the system of a member that was not used is more than a tenth of what is given.

    Examples
    --------
    >>> from pdecontrol import interface_reference
    >>> family = Parametric(lambda radius: interface_reference.circle(radius=radius).problem, radius=(0.4, 0.5))
    >>> solution = solve_parametric(family, [(-1, 1), (-1, 1)], features=150, members=40)
    >>> solution.member(radius=0.45).success
    True
    """
    generator = np.random.default_rng(seed)
    used = -np.cos(np.pi * generator.uniform(size=(members, len(family.ranges))))
    others = generator.uniform(-1, 1, (CHECKED, len(family.ranges)))
    for corner in islice(product((-1.0, 1.0), repeat=len(family.ranges)), CORNERS):
        checked_domain(family.at(**family.unscaled(np.array(corner))), box)
    report, systems = Reporter(progress), list[System]()
    for number, scaled in enumerate(used):
        if number % 100 == 99:
            report(f"{number + 1} of {members} members")
        systems.append(_system(family, box, scaled, points, on_interfaces, generator))
    held_out = [_system(family, box, scaled, *JUDGED, generator) for scaled in others]
    layer = _layer(systems, features, scale, generator)
    trained = outer_weights(layer, _together(systems), _together(held_out), report)
    residuals = [_residual(system, trained.state, trained.adjoint) for system in held_out]
    judged = list(zip(map(family.unscaled, others), residuals, strict=True))
    worst, largest = max(judged, key=lambda item: item[1])
    if not largest <= LARGEST:
        raise ConvergenceError(
            f"the residual is {largest:.2g} of what is given for {worst}, and {trained.steps[-1].residual:.2g} at the "
            "points used: more features, more members with more points, or narrower ranges."
        )
    return ParametricSolution(family, box, trained.state, trained.adjoint, trained.steps, judged, trained.note, seed)


def _system(
    family: Parametric, box: Any, scaled: Array, points: int, on_interfaces: int, generator: np.random.Generator
) -> System:
    """The optimality system of a member at points."""
    problem = family.at(**family.unscaled(scaled))
    domain = domain_of(problem, box)
    pair = HardConstraint().trial_functions(problem, domain)
    state, adjoint = (replace(space, parameters=family.spread * scaled) for space in pair)
    return System(problem, state, adjoint, draw(domain, points, on_interfaces, 0, generator, slices=TIMES))


def _together(systems: Sequence[System]) -> Blocks:
    """The rows of several systems, |r|^2 the mean of theirs, each relative to its data."""
    found: dict[Any, list[Block]] = {}
    for system in systems:
        for block in system.blocks:
            alike = found.setdefault((block.name, block.other is None), [])
            alike.append(block.weighted(1 / (system.scale * np.sqrt(len(systems)))))
    return Blocks([joined_blocks(blocks) for blocks in found.values()])


def _residual(system: System, state: Network, adjoint: Network) -> float:
    """What is left, relative to right-hand sides."""
    return system.left(state.apply, adjoint.apply)


def _layer(systems: Sequence[System], count: int, scale: float, generator: np.random.Generator) -> Layer:
    """Neurons whose planes meet places of the members, from 0.3 to 1.7 times the scale steep."""
    inputs = np.hstack([system.blocks[0].operators[0].inputs for system in systems])
    chosen = generator.integers(inputs.shape[1], size=count)
    return through(inputs[:, chosen], scale * generator.uniform(0.3, 1.7, count), generator)
