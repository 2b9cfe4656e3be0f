"""The optimality system in strong form: state and adjoint equation, jumps of their fluxes, all at points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import ProblemError
from ..problem import Boundary, ControlProblem, Elliptic, Linear, Parabolic, Tikhonov, Tracking
from .ansatz import Ansatz
from .domain import Places
from .jet import STEP
from .operator import Operator, stacked
from .projection import Projection, joined, projection
from .sampling import Sample, Sides

Apply = Callable[[Operator], Array]  # L N of a network, its offset included


@dataclass(frozen=True, eq=False)
class Block:
    """Rows sum_k L_k N + factor v - load = 0, with a network N; v is the other one's, or the control made of it.

    Parameters
    ----------
    name : what the rows say.
    of_state : whether N is that of the state, or of the adjoint state.
    operators : the L_k, each with n points.
    load, factor : (n,); no factor where nothing of the other network is there.
    other : v of the other network.
    control : the projection, where v is the control.
    """

    name: str
    of_state: bool
    operators: tuple[Operator, ...]
    load: Array
    factor: Array | None = None
    other: Operator | None = None
    control: Projection | None = None

    def residual(self, own: Apply, other: Apply) -> Array:
        """The values (n,) of the rows."""
        total = sum(own(operator) for operator in self.operators) - self.load
        if self.other is not None:
            v = other(self.other)
            total += self.factor * (v if self.control is None else self.control.value(v))
        return np.asarray(total)

    def weighted(self, weight: float) -> Block:
        """The rows times a number."""
        operators = tuple(operator.times(weight) for operator in self.operators)
        factor = None if self.factor is None else weight * self.factor
        return replace(self, operators=operators, load=weight * self.load, factor=factor)


def joined_blocks(blocks: Sequence[Block]) -> Block:
    """All the rows of blocks that say the same."""
    first = blocks[0]
    operators = tuple(map(stacked, zip(*(block.operators for block in blocks), strict=True)))
    block = replace(first, operators=operators, load=np.concatenate([block.load for block in blocks]))
    if first.other is None:
        return block
    others = stacked([block.other for block in blocks if block.other is not None])
    controls = [block.control for block in blocks if block.control is not None]
    factor = np.concatenate([block.factor for block in blocks if block.factor is not None])
    return replace(block, factor=factor, other=others, control=joined(controls) if controls else None)


class Blocks:
    """r(Y, P) = 0 in blocks of rows."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = tuple(blocks)

    @property
    def size(self) -> int:
        """The number of rows."""
        return sum(block.load.size for block in self.blocks)

    def residual(self, state: Apply, adjoint: Apply) -> Array:
        """r."""
        return np.concatenate(
            [block.residual(*((state, adjoint) if block.of_state else (adjoint, state))) for block in self.blocks]
        )

    @property
    def scale(self) -> float:
        """|r| for Y = P = 0 but for what the trial functions have anyway, relative to which residuals are small."""
        return float(np.linalg.norm(self.residual(lambda op: op.offset, lambda op: op.offset)))


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
            blocks += self._soft(sample, *soft)
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
            kappas = [self._diffusion(places)[0] for places in sides[:2]]
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
        block = Block(name, of_state, (stacked(outer), stacked(inner)), np.concatenate(loads))
        acts = isinstance(control, Boundary) and control.on == tag if of_state else bool(np.any(np.hstack(factors)))
        if not acts:
            return block
        projected = self._projection(controlled) if of_state else None
        return replace(block, factor=np.concatenate(factors), other=stacked(others), control=projected)

    def _soft(self, sample: Sample, boundary: float, value: float) -> list[Block]:
        """Y = h0 on the boundary, [Y] = g0, Y(t_0) = y_0, and zero for P, P(T) = 0: rows where nothing else says it."""
        raise NotImplementedError

    # -- data -------------------------------------------------------------------------------------------------------

    def _diffusion(self, places: Places) -> tuple[Array, Array]:
        """kappa (n,) and grad kappa / kappa (2, n), by differences on the side where the places are."""
        kappa = self.domain.values(self._steady.diffusion, places, "diffusion")
        if np.any(kappa <= 0):
            where = places.points[:, np.argmax(kappa <= 0)].round(6).tolist()
            raise ProblemError(f"diffusion must be positive, it is {kappa.min():.6g} at x = {where}.")
        slope, step = np.zeros(places.points.shape), STEP * self.domain.diameter
        given = self._steady.diffusion
        if not any(map(callable, given.values() if isinstance(given, Mapping) else [given])):
            return kappa, slope
        for axis, unit in enumerate(step * np.eye(2)[:, :, None]):
            at = [
                self.domain.values(
                    self._steady.diffusion, places._replace(points=places.points + k * unit), "diffusion"
                )
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
            member = np.ones(load.size) if item.on is None or tag is not None else self._member(places, item.on)
            if isinstance(item.times, tuple):
                member = member * (item.times[0] <= (places.t or 0.0) <= item.times[1])
            if isinstance(item, Tracking):
                target = np.zeros(load.size)
                chosen = member > 0
                target[chosen] = self.domain.values(item.target, places.only(chosen), "the target of Tracking")
                factor += item.weight * member
                load -= item.weight * member * target
            else:
                load += member * self.domain.values(item.weight, places, "the weight of Linear")
        return factor, load

    def _controlled(self, places: Places) -> Array:
        """Where a control on the domain acts."""
        on = self.problem.control.on
        if isinstance(self.problem.control, Boundary):
            return np.zeros(places.points.shape[1])
        return np.ones(places.points.shape[1]) if on is None else self._member(places, on)

    def _member(self, places: Places, tag: str) -> Array:
        if tag not in self.domain.tags:
            raise ProblemError(f"there is no part or interface {tag!r}, the parts are {self.domain.tags}.")
        return self.domain.part(places, tag).astype(float)

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
