"""Boundary values, jumps and initial values as rows, for trial functions that do not have them by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ...arrays import Array
from ...problem import ControlProblem, Dirichlet, Parabolic, Tikhonov
from ..functions.ansatz import Ansatz
from ..functions.domain import Domain, Places
from ..functions.lifting import SIDES
from ..functions.sampling import Sample
from ..networks.operator import stacked
from .block import Block


def conditions(
    problem: ControlProblem, ansatz: Ansatz, sample: Sample, of_state: bool, boundary: float, value: float
) -> list[Block]:
    """Y = h0 on the boundary, [Y] = g0 on interfaces, Y(t_0) = y_0; or P = 0, [P] = 0, P(T) = 0 in units of alpha.

    Parameters
    ----------
    boundary, value : weights of the rows, the first on the boundary of the domain and of the span of time, the second
        on interfaces.
    """
    domain, whose = ansatz.domain, "state" if of_state else "adjoint state"
    unit = 1.0 if of_state else 1 / np.sqrt((problem.term(Tikhonov) or Tikhonov(0.0)).alpha)

    def rows(what: str, weight: float, sides: Sequence[Sequence[Places]], data: Callable[[Places], Array]) -> Block:
        """Values on the first side, less those on the second where there is one."""
        operators = tuple(
            stacked([ansatz.value(places).times(sign) for places in side])
            for sign, side in zip((1.0, -1.0), sides, strict=False)
        )
        load = np.concatenate([data(places) for places in sides[0]]) if of_state else np.zeros(operators[0].size)
        return Block(f"the {what} of the {whose}", of_state, operators, load, kind="value").weighted(weight * unit)

    blocks = [rows("boundary value", boundary, [sample.edges], partial(_on_edges, problem, domain))]
    for tag, pieces in sample.curves.items():
        sides = [[item.outer for item in pieces], [item.inner for item in pieces]]
        jump = partial(domain.values, problem.interface[tag].value, name=f"the jump of y on {tag!r}")
        blocks.append(rows(f"jump on {tag!r}", value, sides, jump))
    if isinstance(problem.equation, Parabolic):
        initial, (begin, end) = problem.equation.initial, sample.ends
        what = "initial value" if of_state else "final value"
        at = [[begin if of_state else end]]
        blocks.append(rows(what, boundary, at, partial(domain.values, initial, name="the initial value")))
    return blocks


def _on_edges(problem: ControlProblem, domain: Domain, places: Places) -> Array:
    """h0 (n,) at places on the sides of the rectangle."""
    values = np.zeros(places.points.shape[1])
    for axis, names in enumerate(SIDES):
        for end, name in zip(domain.box[axis], names, strict=True):
            condition = problem.boundary.get(name) or problem.boundary["boundary"]
            assert isinstance(condition, Dirichlet)
            on = places.points[axis] == end
            values[on] = domain.values(condition.value, places.only(on), "the Dirichlet value")
    return values
