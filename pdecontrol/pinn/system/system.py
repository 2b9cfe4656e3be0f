"""The optimality system in strong form: state and adjoint equation, jumps of their fluxes, all at points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...arrays import Array
from ...errors import ProblemError
from ...problem import Boundary, ControlProblem, Elliptic, Linear, Parabolic, Tikhonov, Tracking
from ..functions.ansatz import Ansatz
from ..functions.domain import Places
from ..functions.jet import STEP
from ..functions.projection import Projection, controlled, joined, projection
from ..functions.sampling import Sample, Sides
from ..networks.operator import Operator, stacked
from .block import Block, Blocks
from .conditions import conditions


class System(Blocks):
    """r(Y, P) = 0, the optimality system of a problem at points, in blocks; |r|^2 is a mean of squares for each block.

    State and adjoint equations are divided by kappa, jumps of fluxes by the larger kappa, and those of the adjoint
    state by the square root of alpha as well, where P is measured in units of alpha.

    Parameters
    ----------
    problem, state, adjoint : the trial functions Y and P.
    sample : the points.
    soft : weights of boundary values and of jumps of values, where trial functions do not satisfy them by themselves.

    Raises
    ------
    ProblemError
        For what has no strong form, such as observations at points.
    """

    def __init__(
        self, problem: ControlProblem, state: Ansatz, adjoint: Ansatz, sample: Sample,
        soft: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        self.problem, self.state, self.adjoint, self.domain = problem, state, adjoint, state.domain
        equation = problem.equation
        steady = equation.steady if isinstance(equation, Parabolic) else equation
        assert isinstance(steady, Elliptic)
        self._steady: Elliptic = steady
        self._tikhonov = problem.term(Tikhonov) or Tikhonov(0.0)
        _refuse(problem, self._tikhonov)
        blocks = [self._equation(sample.interior, True), self._equation(sample.interior, False)]
        for tag, pieces in sample.curves.items():
            blocks += [self._flux(tag, pieces, True), self._flux(tag, pieces, False)]
        if soft is not None:
            blocks += conditions(problem, state, sample, True, *soft)
            blocks += conditions(problem, adjoint, sample, False, *soft)
        super().__init__([block.weighted(1 / np.sqrt(block.load.size)) for block in blocks if block.load.size])

    # -- the equations ----------------------------------------------------------------------------------------------

    def _equation(self, pieces: Sequence[Places], of_state: bool) -> Block:
        """-Lap Y - grad kappa/kappa . grad Y + c/kappa Y + Y_t/kappa = (f + U)/kappa, or that of P, with -P_t."""
        ansatz = self.state if of_state else self.adjoint
        operators, others, loads, factors, places_of_control = [], [], [], [], []
        weight = 1.0 if of_state else 1 / np.sqrt(self._tikhonov.alpha)
        for places in pieces:
            kappa, slope = self._diffusion(places)
            reaction = self.domain.values(self._steady.reaction, places, "reaction", 0.0)
            value, along, across, laplacian, rate = ansatz.second(places)
            operator = laplacian.times(-1.0) + along.times(-slope[0]) + across.times(-slope[1])
            operator = operator + value.times(reaction / kappa)
            if places.t is not None:
                operator = operator + rate.times((1.0 if of_state else -1.0) / kappa)
            operators.append(operator.times(weight))
            if of_state:
                loads.append(self.domain.values(self._steady.source, places, "source", 0.0) / kappa)
                factors.append(-self._controlled(places) / kappa)
                others.append(self.adjoint.value(places))
                places_of_control.append(places)
            else:
                factor, load = self._observed(places, None)
                loads.append(weight * load / kappa)
                factors.append(-weight * factor / kappa)
                others.append(self.state.value(places))
        name = "the state equation" if of_state else "the adjoint equation"
        block = Block(name, of_state, (stacked(operators),), np.concatenate(loads))
        if not np.any(np.hstack(factors)):
            return block
        control = self._projection(places_of_control) if of_state else None
        return replace(block, factor=np.concatenate(factors), other=stacked(others), control=control)

    def _flux(self, tag: str, pieces: Sequence[Sides], of_state: bool) -> Block:
        """[kappa dY/dn] = g1 (+ U), and [kappa dP/dn] = 0 less what is observed there, n from inside to outside."""
        ansatz = self.state if of_state else self.adjoint
        outer: list[Operator] = []
        inner: list[Operator] = []
        others, loads, factors, controlled = [], [], [], []
        control = self.problem.control
        for sides in pieces:
            kappas = [self.domain.positive(self._steady.diffusion, places, "diffusion") for places in sides[:2]]
            weight = 1 / np.maximum(*kappas) / (1.0 if of_state else np.sqrt(self._tikhonov.alpha))
            for sign, kappa, places, found in zip((1, -1), kappas, sides[:2], (outer, inner), strict=True):
                _, along, across = ansatz.first(places)
                flux = along.times(sides.normal[0]) + across.times(sides.normal[1])
                found.append(flux.times(sign * kappa * weight))
            places = sides.inner
            if of_state:
                name = f"the jump of the flux on {tag!r}"
                loads.append(weight * self.domain.values(self.domain.interface[tag].flux, places, name))
                factors.append(-weight)
                others.append(self.adjoint.value(places))
                controlled.append(places)
            else:
                factor, load = self._observed(places, tag)
                loads.append(-weight * load)
                factors.append(weight * factor)
                others.append(self.state.value(places))
        name = f"the jump of the flux of the {'state' if of_state else 'adjoint state'} on {tag!r}"
        block = Block(name, of_state, (stacked(outer), stacked(inner)), np.concatenate(loads), kind="flux")
        acts = isinstance(control, Boundary) and control.on == tag if of_state else bool(np.any(np.hstack(factors)))
        if not acts:
            return block
        projected = self._projection(controlled) if of_state else None
        return replace(block, factor=np.concatenate(factors), other=stacked(others), control=projected)

    # -- data -------------------------------------------------------------------------------------------------------

    def _diffusion(self, places: Places) -> tuple[Array, Array]:
        """kappa (n,) and grad kappa / kappa (2, n), by differences on the side where the places are."""
        data, slope = self._steady.diffusion, np.zeros(places.points.shape)
        kappa = self.domain.positive(data, places, "diffusion")
        if not any(map(callable, data.values() if isinstance(data, Mapping) else [data])):
            return kappa, slope
        step = STEP * self.domain.diameter
        for axis, unit in enumerate(step * np.eye(2)[:, :, None]):
            at = [
                self.domain.values(data, places._replace(points=places.points + k * unit), "diffusion")
                for k in (1, -1, 2, -2)
            ]
            slope[axis] = (8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * step) / kappa
        return kappa, slope

    def _observed(self, places: Places, tag: str | None) -> tuple[Array, Array]:
        """w and l in the right-hand side w Y + l of the adjoint equation, of what is observed there."""
        factor, load = np.zeros((2, places.points.shape[1]))
        for item in self.problem.observations:
            if (item.on in self.domain.interface) != (tag is not None) or (tag is not None and item.on != tag):
                continue
            chosen = np.ones(load.size, dtype=bool)
            if item.on is not None and tag is None:
                chosen = self.domain.part(places, item.on)
            if isinstance(item.times, tuple):
                chosen = chosen & (item.times[0] <= (places.t or 0.0) <= item.times[1])
            if isinstance(item, Tracking):
                factor[chosen] += item.weight
                target = self.domain.values(item.target, places.only(chosen), "the target of Tracking")
                load[chosen] -= item.weight * target
            else:
                load[chosen] += self.domain.values(item.weight, places.only(chosen), "the weight of Linear")
        return factor, load

    def _controlled(self, places: Places) -> Array:
        """1 where a control on the domain acts, and 0 elsewhere."""
        if isinstance(self.problem.control, Boundary):
            return np.zeros(places.points.shape[1])
        return controlled(self.problem, self.domain, places).astype(float)

    def _projection(self, pieces: Sequence[Places]) -> Projection:
        return joined([projection(self.problem, self.domain, places) for places in pieces])


def _refuse(problem: ControlProblem, tikhonov: Tikhonov) -> None:
    """Raise ProblemError for what has no strong form."""
    if tikhonov.alpha == 0:
        raise ProblemError("collocation needs a Tikhonov term with alpha > 0.")
    for item in problem.observations:
        points: Any = getattr(item, "points", None)
        if points is not None:
            raise ProblemError("collocation has no strong form of Tracking at points: take Galerkin's method.")
        if item.times != "all" and not isinstance(item.times, tuple):
            raise ProblemError(f"{type(item).__name__}: collocation observes all times or an interval of them.")
        if isinstance(item, Linear) and item.on in ("left", "right", "bottom", "top", "boundary"):
            raise ProblemError("collocation has no strong form of Linear on the boundary.")
