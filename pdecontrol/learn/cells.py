"""Coefficients of equations that are given cell by cell on grids."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

import numpy as np

from ..arrays import Array
from ..errors import ProblemError
from ..mesh.mesh import Mesh
from ..problem import ControlProblem, Elliptic, Parabolic


@dataclass(frozen=True, eq=False)
class GridFunction:
    """x -> the value of the cell that x lies in, of a grid of equal cells over a box.

    Parameters
    ----------
    values : (s_1, .., s_d), the first axis along x[0].
    lower, upper : the corners of the box; points beyond it have the value of the nearest cell.

    Notes
    -----
    On the meshes of `unit_square(s)` the cells are the squares, and integrals are exact.

    Examples
    --------
    >>> a = GridFunction(np.array([[1.0, 2.0], [3.0, 4.0]]), (0.0, 0.0), (1.0, 1.0))
    >>> a(np.array([[0.2, 0.9], [0.7, 0.1]])).tolist()
    [2.0, 3.0]
    """

    values: Array
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __call__(self, x: Array) -> Array:
        cells = []
        for axis, size in enumerate(self.values.shape):
            along = (x[axis] - self.lower[axis]) / (self.upper[axis] - self.lower[axis])
            cells.append(np.clip(np.floor(along * size).astype(int), 0, size - 1))
        return self.values[tuple(cells)]


def on_cells(values: Array, mesh: Mesh) -> GridFunction:
    """The function with the given values on the cells of a grid over the box around a mesh."""
    lower, upper = (tuple(ends.tolist()) for ends in (mesh.points.min(axis=1), mesh.points.max(axis=1)))
    return GridFunction(values, lower, upper)


def with_coefficient(problem: ControlProblem, name: str, value: GridFunction | float) -> ControlProblem:
    """The problem with another coefficient of its equation, or of the steady one; raises ProblemError for others."""
    equation = problem.equation
    steady = equation.steady if isinstance(equation, Parabolic) else equation
    known = [item.name for item in fields(Elliptic)] if isinstance(steady, Elliptic) else []
    if name not in known or name == "advection" or is_dataclass(getattr(steady, name)):
        raise ProblemError(f"{name!r} is no coefficient of {steady!r} that is a function of x: take 'diffusion', ..")
    changed = replace(cast(Any, steady), **{name: value})
    return replace(problem, equation=replace(equation, steady=changed) if isinstance(equation, Parabolic) else changed)
