"""Controls: their space, and how they enter an equation."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, Indices
from ..linear.matrix import Triplets
from ..problem import Actuators, Boundary, Coefficient, ControlProblem, Distributed, InitialValue
from ..space import Space
from .engine import Engine
from .rectangular import NarrowMatrix, absolute, numbers, transpose, triplets
from .sampler import Sampler


class Coupling:
    """C: the functional on states that a control is, and its adjoint M_u^-1 C'.

    A P1 control enters through its own diagonal mass, (C u, v) = sum_i m_i u_i v(x_i); on a boundary with states of
    higher degree, through the mass of the boundary.
    """

    def __init__(self, space: Space, matrix: Any) -> None:
        self.space, self._matrix, self._transpose = space, matrix, transpose(matrix)

    def apply(self, h: Array) -> Array:
        """C h."""
        return np.asarray(self._matrix @ h)

    def transposed(self, p: Array) -> Array:
        """M_u^-1 C' p."""
        return self.space.riesz(self._transpose @ p)

    def triplets(self, numbers: Indices, rows: int) -> Triplets:
        """The entries of C; see `rectangular.triplets`."""
        return triplets(self._matrix, numbers, rows)

    def gram(self, engine: Engine, weights: Array, base: Any) -> Any:
        """A matrix and C diag(weights / m) C', that of (weights C* y, C* v) with C* = M_u^-1 C' and M_u = diag(m)."""
        return engine.gram(self._matrix, self.space.riesz(weights), base)

    @cached_property
    def absolute(self) -> Coupling:
        """|C|, for the sizes of the sums that the others take."""
        return Coupling(self.space, absolute(self._matrix))


def coupling(problem: ControlProblem, sampler: Sampler) -> Coupling:
    """The coupling of the control to the equation: (u, v), and -(u, v) on an interface, where it adds to the jump."""
    control, sign = problem.control, -1.0 if problem.control.on in problem.interface else 1.0
    if isinstance(control, Actuators):
        region = sampler.region(control.on, "Actuators")
        loads = [
            sp.csc_matrix(region.functional(sampler(shape, region, f"shape {number} of Actuators"))[:, None])
            for number, shape in enumerate(control.shapes, start=1)
        ]  # each vanishes at most nodes
        group = sampler.engine.group
        return Coupling(numbers(group, np.ones(len(loads))), NarrowMatrix(group, sign * sp.hstack(loads)))
    if isinstance(control, InitialValue):
        control = Distributed(control.on)  # of y_0
    kind = type(control).__name__
    if not isinstance(control, Boundary) and control.on is not None:
        sampler.members(control.on, f"{kind} control")
    sampler.note(f"{kind} {control.element}", sampler.region(control.on, f"{kind} control"))
    if isinstance(control, Coefficient):
        control = Distributed(control.on, control.element)
    space, matrix = sampler.engine.control(control)
    return Coupling(space, sign * matrix)
