"""The objective F(S(u)) + G(u), and how it is bound to the spaces of a map."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..errors import ProblemError
from ..maps import SolutionMap
from ..problem import L1, Box, ControlProblem, Tikhonov, Tracking
from ..space import Space
from .control import ControlCost
from .state import Functional, LinearFunctional, Quadratic, StateCost


@dataclass(frozen=True, eq=False, repr=False)
class Objective:
    """F(S(u)) + G(u) with its two costs bound to the spaces of a map."""

    state: StateCost
    control: ControlCost
    sensors: Array | None = None  # the points (dim, k) of observations, for figures

    def value(self, u: Array, y: Array) -> float:
        return self.state.value(y) + self.control.value(u)

    def gap(self, u: Array, y: Array, p: Array, q: Array) -> float:
        """P(u) - D(p) for y = S(u) and q = S* p: the sum of two Fenchel-Young residuals."""
        return self.state.residual(y, p) + self.control.residual(u, q)

    def fingerprint(self, map: SolutionMap) -> str:
        """A digest of the discretised problem: equation, target, weights and bounds."""
        parts = map.fingerprint, self.control.fingerprint(), self.state.fingerprint()
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def bind(problem: ControlProblem, map: SolutionMap) -> Objective:
    """The objective of a problem in the spaces of a map.

    The observation space of the map has one factor for each Tracking of the problem, then one for each Linear; it may
    be a space without factors where there is one.

    Raises
    ------
    DataError
        If a target, a reference or a bound is NaN or has the wrong shape.
    ProblemError
        If the bounds cross somewhere, or the map does not observe what the problem tracks.
    """
    space = map.control
    tikhonov = problem.term(Tikhonov) or Tikhonov(0.0)
    l1, box = problem.term(L1) or L1(0.0), problem.term(Box) or Box()
    lower = space.interpolate(box.lower, "the lower bound of Box", infinite=True)
    upper = space.interpolate(box.upper, "the upper bound of Box", infinite=True)
    with space.group.agree():
        _check_bounds(space, lower, upper, tikhonov.alpha)
    reference = space.interpolate(tikhonov.reference, "the reference of Tikhonov")
    control = ControlCost(
        space, float(tikhonov.alpha), _compress(reference), float(l1.beta), _compress(lower), _compress(upper)
    )

    factors, observations = map.observation.factors or (map.observation,), problem.observations
    if len(factors) != len(observations):
        raise ProblemError(
            f"the problem observes {len(observations)} quantities, the map {len(factors)}: it is the map of another "
            "problem, discretise this one."
        )
    several = sum(isinstance(item, Tracking) for item in observations) > 1
    functionals: list[Functional] = []
    for number, (item, factor) in enumerate(zip(observations, factors, strict=True), start=1):
        if isinstance(item, Tracking):
            name = f"the target of Tracking {number}" if several else "the target of Tracking"
            functionals.append(Quadratic(factor, factor.interpolate(item.target, name)))
        else:
            functionals.append(LinearFunctional(factor))
    points = [item.points for item in observations if isinstance(item, Tracking) and item.points is not None]
    return Objective(StateCost(functionals), control, np.hstack(points) if points else None)


def _check_bounds(space: Space, lower: Array, upper: Array, alpha: float) -> None:
    if np.any(lower > upper):
        at = int(np.argmax(lower > upper))
        where = f"entry {at}" if space.points is None else f"x = {space.points[:, at].round(6).tolist()}"
        raise ProblemError(f"Box: the lower bound {lower[at]:.6g} is above the upper bound {upper[at]:.6g} at {where}.")
    if alpha == 0 and not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise ProblemError(
            "alpha = 0 needs bounds that are finite everywhere: add a Tikhonov term or bound the control."
        )
    if np.any(np.isposinf(lower)) or np.any(np.isneginf(upper)):
        raise ProblemError("Box: no finite control satisfies the bounds, one of them is infinite on the wrong side.")


def _compress(array: Array) -> Array | float:
    """The number that an array repeats, or the array."""
    return float(array[0]) if array.size and np.all(array == array[0]) else array
