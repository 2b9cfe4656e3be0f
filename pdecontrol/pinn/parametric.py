"""All problems of a family at once: networks that have the parameters as inputs too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import ConvergenceError, ProblemError
from ..problem import ControlProblem, Dirichlet, Parametric, Tikhonov
from .ansatz import Ansatz, hard
from .domain import domain_of
from .features import through
from .layer import Layer
from .lifting import Lifting
from .network import Shallow
from .projection import projection
from .sampling import draw
from .system import Rows, System
from .trial import Projected, Trial

CHECKED = 20  # members drawn anew, on which a solution is judged
LARGEST = 0.1  # of their residuals, relative to the data
POINTS = 500  # at which it is, and a fourth as many on interfaces


@dataclass(frozen=True, eq=False)
class Member:
    """One problem of a family with its state, adjoint state and control, functions of points, times and sides.

    `residual` is that of the optimality system at points which were not used, relative to the data.
    """

    problem: ControlProblem
    state: Trial
    adjoint: Trial
    control: Projected
    residual: float


@dataclass(frozen=True, eq=False)
class ParametricSolution:
    """State and adjoint state for all parameters.

    Parameters
    ----------
    family, box : the problems and their domain.
    state, adjoint : N(xi, phi, tau, mu) of both.
    residual : of the optimality system at the points of the solution, relative to the data.
    held_out : those of members drawn anew, by parameters and residual.
    """

    family: Parametric
    box: Any
    state: Shallow
    adjoint: Shallow
    residual: float
    seed: int
    held_out: Sequence[tuple[dict[str, float], float]] = ()

    def member(self, **parameters: float) -> Member:
        """The solution for parameters; raises ProblemError for those out of their ranges."""
        problem = self.family.at(**parameters)
        state, adjoint = _spaces(problem, self.box, self.family.scaled(parameters))
        generator = np.random.default_rng([self.seed, 1])
        system = System(problem, state, adjoint, draw(state.domain, POINTS, POINTS // 4, 0, generator))
        residual = float(np.linalg.norm(system.residual(self.state.apply, self.adjoint.apply))) / system.scale
        dual = Trial(adjoint, self.adjoint)
        control = Projected(dual, lambda places: projection(problem, state.domain, places))
        return Member(problem, Trial(state, self.state), dual, control, residual)


def solve_family(
    family: Parametric,
    box: Any,
    features: int = 1000,
    members: int = 500,
    points: int = 24,
    on_interfaces: int = 8,
    scale: float = 1.0,
    seed: int = 0,
) -> ParametricSolution:
    """The optimality systems of all members of a family, one least-squares problem in the span of random features.

    Y = g + h N(xi, phi, mu) with the parameters mu, scaled to (-1, 1), as inputs: conditions are exact for all members,
    and the residual is small in mean over all of them, each relative to its data.

    Parameters
    ----------
    family : the problems.
    box : their domain, [(low, high), (low, high)].
    features : how many neurons N has, for state and adjoint state each.
    members : of the family, drawn at random, which share the collocation points.
    points, on_interfaces : of each member.
    scale : of the slopes of features.
    seed : of all that is random.

    Raises
    ------
    ConvergenceError
        If the residual of a member that was not used is larger than a tenth of the data.

    Examples
    --------
    >>> from pdecontrol import interface_reference
    >>> family = Parametric(lambda radius: interface_reference.circle(radius=radius).problem, radius=(0.4, 0.5))
    >>> solution = solve_family(family, [(-1, 1), (-1, 1)], features=150, members=40)
    >>> solution.member(radius=0.45).residual < 0.1
    True
    """
    generator = np.random.default_rng(seed)
    systems = [
        _system(family, box, -np.cos(np.pi * share), points, on_interfaces, generator)
        for share in generator.uniform(size=(members, len(family.ranges)))
    ]
    rows = _together(systems)
    layer = _layer(systems, features, scale, generator)
    state, adjoint, residual = collocate(rows, layer)
    solution = ParametricSolution(family, box, state, adjoint, residual, seed)
    drawn = map(family.unscaled, generator.uniform(-1, 1, (CHECKED, len(family.ranges))))
    others = [(parameters, solution.member(**parameters).residual) for parameters in drawn]
    worst = max(others, key=lambda item: item[1])
    if not worst[1] <= LARGEST:
        raise ConvergenceError(
            f"the residual is {worst[1]:.2g} of the data for {worst[0]}, and {residual:.2g} at the points used: more "
            "features, or more members with more points, or narrower ranges."
        )
    return replace(solution, held_out=others)


def _system(
    family: Parametric, box: Any, scaled: Array, points: int, on_interfaces: int, generator: np.random.Generator
) -> System:
    """The optimality system of a member at points."""
    problem = family.at(**family.unscaled(scaled))
    state, adjoint = _spaces(problem, box, scaled)
    return System(problem, state, adjoint, draw(state.domain, points, on_interfaces, 0, generator))


def _spaces(problem: ControlProblem, box: Any, parameters: Array) -> tuple[Ansatz, Ansatz]:
    """The ansatz of state and adjoint state of a member."""
    domain = domain_of(problem, box)
    conditions = {tag: item for tag, item in problem.boundary.items() if isinstance(item, Dirichlet)}
    jumps = {tag: item.value for tag, item in problem.interface.items()}
    lifting = Lifting(domain, conditions, jumps, getattr(problem.equation, "initial", None))
    tikhonov = problem.term(Tikhonov)
    if tikhonov is None:
        raise ProblemError("collocation needs a Tikhonov term with alpha > 0.")
    state, adjoint = hard(domain, lifting, tikhonov.alpha)
    return replace(state, parameters=parameters), replace(adjoint, parameters=parameters)


def _together(systems: Sequence[System]) -> Rows:
    """The rows of several systems, |r|^2 the mean of theirs, each relative to its data."""
    weights = [1 / (system.scale * np.sqrt(len(systems))) for system in systems]
    return Rows(
        [block.weighted(weight) for system, weight in zip(systems, weights, strict=True) for block in system.blocks]
    )


def _layer(systems: Sequence[System], count: int, scale: float, generator: np.random.Generator) -> Layer:
    """Neurons whose planes meet places of the members, from 0.3 to 1.7 times the scale steep."""
    inputs = np.hstack([system.blocks[0].operators[0].inputs for system in systems])
    chosen = generator.integers(inputs.shape[1], size=count)
    return through(inputs[:, chosen], scale * generator.uniform(0.3, 1.7, count), generator)
