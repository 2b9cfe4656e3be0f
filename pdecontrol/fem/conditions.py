"""Boundary conditions: where they may be, Dirichlet values, which are lifted, and natural ones, which add terms."""

from __future__ import annotations

from functools import cached_property
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, Indices
from ..errors import DataError, ProblemError
from ..mesh.cut import OUTER
from ..mesh.elements import facet_lagrange
from ..mesh.mesh import Mesh
from ..problem import (
    Actuators,
    Boundary,
    Coefficient,
    Condition,
    ControlProblem,
    Dirichlet,
    Distributed,
    InitialValue,
    Neumann,
)
from .engine import Integral, mass
from .sampler import Sampler, unknown
from .ties import Ties


class Lifting:
    """y = y_D + E x: Dirichlet values and jumps, and continuous functions of the free entries x of states.

    Free are the entries that carry no Dirichlet value and are not on the inner side of an interface, where y is that
    opposite less the jump. Of conditions that share a node the later one has it.
    """

    def __init__(self, problem: ControlProblem, sampler: Sampler, ties: Ties) -> None:
        size = sampler.engine.size
        self.fixed, self._values = np.zeros(size, dtype=bool), np.zeros(size)
        self._ties, self._engine = ties, sampler.engine
        for tag, condition in problem.boundary.items():
            if isinstance(condition, Dirichlet):
                dofs = sampler.region(tag, "boundary", "boundary").dofs()
                self.fixed[dofs] = True
                self._values[dofs] = sampler.at_nodes(condition.value, dofs, f"Dirichlet value on {tag!r}")
        follows = self.fixed.copy()
        for tag, dofs in ties.by_tag.items():
            follows[dofs] = True
            self._values[dofs] = -sampler.at_nodes(problem.interface[tag].value, dofs, f"the jump of y on {tag!r}")
        self.free = np.flatnonzero(~follows)
        if not sampler.engine.group.any(bool(self.free.size)):
            raise ProblemError("every node carries a Dirichlet value, nothing is left to solve for: refine the mesh.")

    def initial(self) -> Array:
        """y_D: zero with the Dirichlet values and the jumps."""
        return self._values.copy()

    def extend(self, x: Array) -> Array:
        """E x, which is zero where there are Dirichlet values."""
        y = np.zeros(self.fixed.size)
        y[self.free] = x
        return self._ties.spread(y)

    def restrict(self, functional: Array) -> Array:
        """E' f."""
        return self._ties.gathered(functional)[self.free]

    @cached_property
    def numbers(self) -> Indices:
        """The number, among all processes, of the free entry that each entry of this process is; -1 for none."""
        numbers = np.full(self.fixed.size, -1)
        numbers[self.free] = int(np.sum(self._engine.group.collect(self.free.size)[: self._engine.group.rank]))
        numbers[self.free] += np.arange(self.free.size)
        return self._ties.spread(numbers)

    def unknowns(self, y: Array) -> Array:
        """x of a state y = y_D + E x."""
        return y[self.free]

    def nearest(self, y: Array) -> Array:
        """The state with the Dirichlet values and the jumps that agrees with y at the free entries."""
        return self.initial() + self.extend(self.unknowns(y))

    def block(self, matrix: Any) -> Any:
        """E' A E."""
        return self._engine.block(self._ties.matrix(matrix), self.free)

    def mismatch(self, y: Array) -> Array:
        """What y differs by, entry by entry, from the Dirichlet values and, on inner sides, from what jumps demand."""
        return np.abs(y - self.nearest(y))


class Natural(NamedTuple):
    """What Neumann and Robin conditions add to an equation."""

    terms: list[Integral]  # int c y v
    load: Array  # int g v
    sizes: Array  # of its terms, entry by entry, however much of them cancels


def natural_conditions(problem: ControlProblem, sampler: Sampler) -> Natural:
    """kappa dy/dn + c y = g on the parts with Neumann (c = 0) and Robin conditions, [kappa dy/dn] = g on interfaces."""
    terms, load, sizes = [], np.zeros(sampler.engine.size), np.zeros(sampler.engine.size)
    for tag, interface in problem.interface.items():
        region = sampler.region(tag, "interface", "boundary")
        values = sampler(interface.flux, region, f"the jump of the flux on {tag!r}")
        load -= region.functional(values)
        sizes += region.functional(np.abs(values))
    for tag, condition in problem.boundary.items():
        if isinstance(condition, Dirichlet):
            continue
        region = sampler.region(tag, "boundary", "boundary")
        if isinstance(condition, Neumann):
            values = sampler(condition.flux, region, f"Neumann flux on {tag!r}")
        else:
            coefficient = sampler(condition.coefficient, region, f"Robin coefficient on {tag!r}")
            with sampler.engine.group.agree():
                if np.any(coefficient < 0):
                    when = "" if sampler.time is None else f" at t = {sampler.time:g}"
                    what = f"the Robin coefficient on {tag!r}{when} must not be negative"
                    raise ProblemError(f"{what}, its least value is {coefficient.min():.6g}.")
            terms.append(Integral(mass, region, coefficient))
            values = sampler(condition.value, region, f"Robin value on {tag!r}")
        load += region.functional(values)
        sizes += region.functional(np.abs(values))
    return Natural(terms, load, sizes)


def check_conditions(problem: ControlProblem, mesh: Mesh) -> None:
    """Conditions lie on the boundary and do not overlap; the control meets no Dirichlet condition; y has one value at
    the points where it is tracked.
    """
    _check_points(problem, mesh)
    conditions = list(problem.boundary.items())
    owners = _owners(conditions, mesh)
    control, on = problem.control, problem.control.on
    if isinstance(control, (Distributed, Coefficient, InitialValue)):
        return
    if isinstance(control, Actuators) and on not in mesh.boundaries:
        return
    for tag in problem.interface:
        if on == tag + OUTER:
            raise ProblemError(
                f"{type(control).__name__} control on {on!r}: an interface has one control, which is added to the jump "
                f"of the flux; take on={tag!r}."
            )
    if on not in mesh.boundaries:
        raise unknown(mesh, on, "boundary", "Boundary control")
    if on in problem.interface:
        return
    for number in sorted({owners.get(tuple(facet), -2) for facet in mesh.boundaries[str(on)].T.tolist()}):
        if number == -2 and isinstance(control, Boundary):
            raise ProblemError(
                f"Boundary control: the tag {on!r} names facets inside the domain; controls act there on an Interface "
                "of the problem with this tag."
            )
        if number >= 0 and isinstance(conditions[number][1], Dirichlet):
            raise ProblemError(
                f"{type(control).__name__} control on {on!r} meets the Dirichlet condition on "
                f"{conditions[number][0]!r}: Dirichlet control is not supported. Give that part a Neumann or "
                "Robin condition."
            )


def _check_points(problem: ControlProblem, mesh: Mesh) -> None:
    """Raise DataError for points of tracking on an interface where y jumps."""
    tracking: Any = problem.tracking
    for points in [item.points for item in tracking if item.points is not None and len(item.points) == mesh.dim]:
        for tag, interface in problem.interface.items():
            zero = isinstance(interface.value, Real) and interface.value == 0
            on = np.zeros(0, dtype=bool) if zero else facet_lagrange(mesh, tag, 0).contains(points)
            if on.any():
                raise DataError(
                    f"Tracking: the point x = {points[:, np.argmax(on)].tolist()} is on the interface {tag!r}, where y "
                    f"has two values: move it to one side, or track y on {tag!r} or {tag + OUTER!r}."
                )


def _owners(conditions: list[tuple[str, Condition]], mesh: Mesh) -> dict[tuple[int, ...], int]:
    """The number of the condition on each facet of the boundary, -1 for none."""
    for tag, _ in conditions:
        if tag not in mesh.boundaries:
            raise unknown(mesh, tag, "boundary", "boundary")
    owners = {tuple(facet): -1 for facet in mesh.boundaries["boundary"].T.tolist()}
    for number, (tag, _) in enumerate(conditions):
        for facet in map(tuple, mesh.boundaries[tag].T.tolist()):
            if facet not in owners:
                raise ProblemError(
                    f"boundary[{tag!r}]: the tag names facets inside the domain, where there are no conditions."
                )
            if owners[facet] >= 0:
                raise ProblemError(
                    f"boundary: the tags {conditions[owners[facet]][0]!r} and {tag!r} share facets, each with a "
                    "condition. Give every facet at most one."
                )
            owners[facet] = number
    return owners
