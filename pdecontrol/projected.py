"""Controls as functions: what the optimality condition makes of an adjoint state, at all points."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .arrays import Array, Data, sample, undivided
from .errors import DataError
from .fem.steady import SteadyMap
from .field import Field
from .maps import SolutionMap
from .problem import L1, Box, ControlProblem, Distributed, Tikhonov
from .result import Result
from .terms import Objective
from .terms.control import soft

NAMES = ("reference", "lower", "upper")
SAME = 1e-9  # relative to the control: what is projected anew from the adjoint state is the control


@dataclass(frozen=True, eq=False)
class Projection:
    """z = clip(soft(alpha r - q, beta) / alpha, lower, upper), pointwise, by the terms of a problem.

    Parameters
    ----------
    problem : with a Tikhonov term.
    adjoint : q.
    nodal : a field of the controls, where there are such.
    """

    problem: ControlProblem
    adjoint: Field
    nodal: Field

    def undivided(self) -> Projection:
        """The same function on every process, each of which may then call it alone."""
        terms = [
            replace(term, **{name: undivided(getattr(term, name)) for name in NAMES if hasattr(term, name)})
            for term in self.problem.terms
        ]
        return Projection(replace(self.problem, terms=terms), self.adjoint.undivided(), self.nodal.undivided())

    def evaluate(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        alpha, beta, (reference, lower, upper) = self._terms(points, side)
        z = soft(alpha * reference - self.adjoint(points, side=side), beta) / alpha
        return np.clip(z, lower, upper)

    def gradient(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        """Zero at the bounds and where z is zero by the L1 term, else -grad q / alpha; for data that are numbers."""
        alpha, beta, (reference, lower, upper) = self._terms(points, side)
        if any(callable(item) or np.ndim(item) for item in self._data):
            raise DataError("the gradient of a control is known where its bounds and its reference are numbers.")
        v = alpha * reference - self.adjoint(points, side=side)
        z = soft(v, beta) / alpha
        free = (z > lower) & (z < upper) & ((np.abs(v) > beta) | (beta == 0))
        return np.asarray(np.where(free, self.adjoint.gradient(points, side=side) / -alpha, 0.0))

    @property
    def _data(self) -> tuple[Data, Data, Data]:
        tikhonov, box = self.problem.term(Tikhonov), self.problem.term(Box) or Box()
        assert tikhonov is not None
        return tikhonov.reference, box.lower, box.upper

    def _terms(self, points: Array, side: str | None) -> tuple[float, float, list[Array]]:
        tikhonov, l1 = self.problem.term(Tikhonov), self.problem.term(L1) or L1(0.0)
        assert tikhonov is not None
        self.nodal(points, side=side)  # which refuses points without a control
        names = "the reference of Tikhonov", "the lower bound of Box", "the upper bound of Box"
        space, values = self.nodal.space, []
        for item, name in zip(self._data, names, strict=True):
            if not callable(item) and np.ndim(item):
                values.append(Field(space.interpolate(item, name), space, name)(points, side=side))
            else:
                values.append(sample(item, points, space.scale, name, infinite=True))
        return tikhonov.alpha, l1.beta, values


def with_projection(problem: ControlProblem, map: SolutionMap, objective: Objective, result: Result) -> Result:
    """The result with its control as the function that its adjoint state makes of it, where that is what it is.

    That is for distributed controls of steady linear equations, which the method projected from the adjoint state.
    """
    control = objective.control
    if not (isinstance(map, SteadyMap) and map.affine and isinstance(problem.control, Distributed) and control.alpha):
        return result
    gradient = map.system.equation.coupling.transposed(result.adjoint.array)
    off = map.control.norm(control.argmin(gradient) - result.control.array)
    if not off <= SAME * map.control.norm(result.control.array):
        return result
    function = Projection(problem, result.adjoint, result.control)
    return replace(result, control=replace(result.control, function=function))
