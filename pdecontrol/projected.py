"""Results whose controls are known at all points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .fem.steady import SteadyMap
from .maps import SolutionMap
from .problem import Box, ControlProblem, Distributed, Tikhonov
from .projection import Projection
from .result import Result
from .terms import Objective

SAME = 1e-9  # relative to the control: what is projected anew from the adjoint state is the control


def with_projection(problem: ControlProblem, map: SolutionMap, objective: Objective, result: Result) -> Result:
    """The result with its control as the function that its adjoint state makes of it, where that is what it is.

    That is for distributed controls of steady linear equations, which the method projected from the adjoint state, with
    bounds and references that are not given part by part.
    """
    control, box, tikhonov = objective.control, problem.term(Box) or Box(), problem.term(Tikhonov)
    if not (isinstance(map, SteadyMap) and map.affine and isinstance(problem.control, Distributed) and control.alpha):
        return result
    assert tikhonov is not None
    if any(isinstance(item, Mapping) for item in (tikhonov.reference, box.lower, box.upper)):
        return result
    gradient = map.system.equation.coupling.transposed(result.adjoint.array)
    off = map.control.norm(control.argmin(gradient) - result.control.array)
    if not off <= SAME * map.control.norm(result.control.array):
        return result
    return replace(
        result,
        control=replace(result.control, function=Projection.of(problem, result.adjoint, result.control)),
    )
