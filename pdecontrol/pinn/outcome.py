"""What networks found, as a result: fields that are known everywhere, with their values at the nodes of elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, Indices
from ..certificate import Certificate
from ..fem.backends import Embedded
from ..fem.interfaces import divided
from ..field import Field
from ..mesh.elements import cell_lagrange, facet_lagrange
from ..mesh.lagrange import Lagrange
from ..mesh.mesh import Mesh
from ..problem import Boundary, ControlProblem, Parabolic
from ..result import History, Result, Row, Status
from ..space import Space
from .functions.cubature import objective
from .functions.domain import Domain, Places
from .functions.trial import Projected, Trial
from .training.training import Step

SHOWN = 60  # cells along the diameter, of figures and files


class Outcome(NamedTuple):
    """State, adjoint state and control, and how they came about.

    `left` says what is left of the optimality system: there is no bound on the distance to the optimum.
    """

    state: Trial
    adjoint: Trial
    control: Projected
    left: str
    status: Status
    method: str
    history: History
    solves: dict[str, float]
    fingerprint: str


def history_of(steps: Sequence[Step]) -> History:
    """The residuals at points held out, as estimates."""
    history = History()
    for step in steps:
        history.append(Row(step.iteration, np.nan, step.held_out, np.nan, step.iteration, step.seconds))
    return history


def result_of(problem: ControlProblem, outcome: Outcome, mesh: Mesh, tol: float, seconds: float) -> Result:
    """The result, with nodal values on a mesh."""
    value, norm = objective(problem, outcome.state, outcome.control)
    shown: dict[str, Any] = fields(problem, outcome.state, outcome.adjoint, outcome.control, mesh)
    return Result(
        **shown,
        certificate=Certificate(None, norm, None, value, f"nothing: no bound is known; {outcome.left}"),
        status=outcome.status,
        method=outcome.method,
        history=outcome.history,
        solves=outcome.solves,
        seconds=seconds,
        tol=tol,
        fingerprint=outcome.fingerprint,
    )


def fields(problem: ControlProblem, state: Trial, adjoint: Trial, control: Projected, mesh: Mesh) -> dict[str, Field]:
    """State, adjoint state, control and its bounds, for figures and files on a mesh, and at the times of the equation.

    States have nodal values of degree 2, controls of degree 1.
    """
    domain = state.ansatz.domain
    parts = set(domain.tags) <= set(mesh.parts)
    cut = divided(problem, mesh, 2) if parts and not domain.moves else mesh
    states = Embedded(degree=2).engine(cut).solution()
    assert states.elements is not None
    levels = problem.equation.levels if isinstance(problem.equation, Parabolic) else None
    y, p = (_values(domain, states.elements, None, levels, item.at) for item in (state, adjoint))
    on = problem.control.on if isinstance(problem.control, Boundary) else None
    if isinstance(problem.control, Boundary):
        elements = facet_lagrange(cut, str(on), 1)
    else:
        elements = cell_lagrange(cut, 1, problem.control.on)
    space = Space(elements.lumped_mass(), elements, diameter=cut.diameter)
    u = _values(domain, elements, on, levels, control.at)
    lower, upper = (
        _values(domain, elements, on, levels, lambda places, k=k: control.projection(places)[k]) for k in (3, 4)
    )
    if levels is not None:
        steps = np.diff(levels)
        weights = 0.5 * (np.append(steps, 0.0) + np.append(0.0, steps))
        states, space = states.over(levels, weights), space.over(levels, weights)
    return {
        "control": Field(u, space, "control", control),
        "state": Field(y, states, "state", state),
        "adjoint": Field(p, states, "adjoint", adjoint),
        "lower": Field(lower, space, "lower bound"),
        "upper": Field(upper, space, "upper bound"),
    }


def _values(domain: Domain, elements: Lagrange, curve: str | None, levels: Array | None, function: Any) -> Array:
    """The values at the nodes, at each time one row after the other."""
    rows = []
    for t in [None] if levels is None else levels.tolist():
        row = np.empty(elements.size)
        for dofs, places in _nodes(domain, elements, curve, t):
            row[dofs] = function(places)
        rows.append(row)
    return np.concatenate(rows)


def _nodes(domain: Domain, elements: Lagrange, curve: str | None, t: float | None) -> list[tuple[Indices, Places]]:
    """The nodes of elements on the domain, part by part, or of those on a curve, where they are."""
    everything = np.arange(elements.size)
    if curve is not None:
        return [(everything, domain.on(curve, elements.points, True, t))]
    parts = {tag: cells for tag, cells in elements.parts.items() if tag in domain.tags}
    if domain.moves or set(parts) != set(domain.tags):
        return [(everything, domain.places(elements.points, t))]
    dofs = [np.unique(elements.dofs[:, cells]) for cells in parts.values()]
    return [(own, domain.places(elements.points[:, own], t, tag)) for own, tag in zip(dofs, parts, strict=True)]
