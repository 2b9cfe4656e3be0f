"""What a method is: parameters of the user's choice, the algorithm they stand for, and its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from ..arrays import Array
from ..maps import Adjoint, Linearisation, SolutionMap
from ..terms import Objective

INCREMENT, PRODUCT = 1e-2, 1e-3


def accuracy(objective: Objective, map: SolutionMap, wanted: float) -> float:
    """What iterative linear solvers may leave of a residual: less where S amplifies more than alpha makes up for.

    `wanted` is INCREMENT of what a step of a method brings, or PRODUCT in products with a Hessian.
    """
    norm, root = map.norm_bound, float(np.sqrt(objective.control.alpha))
    return wanted * min(1.0, 5.0 * root / norm) if root > 0 and norm > 0 else wanted


# What the vectors of a state declare by metadata=..: the space of the map that they belong to.
CONTROL, OBSERVATION, SOLUTION = {"space": "control"}, {"space": "observation"}, {"space": "solution"}


@dataclass(frozen=True, eq=False, repr=False)
class State:
    """What a method carries from one iteration to the next.

    Methods add what is theirs: flat vectors and tuples of them, which declare their space, and numbers, all of which
    checkpoints hold; and linearisations, which they do without.

    Attributes
    ----------
    u, y : the control and the observation S(u).
    dual, adjoint : a dual vector and its adjoint solution.
    warm : from what the next solve for a control near to u begins.
    trail : the last observations, where a limit extrapolated from them gives a better certificate than `dual`.
    own : the map at u = argmin G + <S* dual, .>, where that and the adjoint know their errors, so that a certificate
        costs no solve.
    patience : the number of iterations within which a method that works gains something; 0 where that is not known.
    """

    u: Array = field(metadata=CONTROL)
    y: Array = field(metadata=OBSERVATION)
    dual: Array = field(metadata=OBSERVATION)
    adjoint: Adjoint
    _: KW_ONLY
    warm: Array | None = field(default=None, metadata=SOLUTION)
    trail: tuple[Array, ...] | None = field(default=None, metadata=OBSERVATION)
    own: Linearisation | None = None
    patience: int = 0

    @property
    def look(self) -> bool | None:
        """Whether the error is to be estimated now: after a Newton step it is; None leaves that to the schedule."""
        return None if self.own is None else True

    @property
    def stage(self) -> float | None:
        """The Tikhonov weight that the dual vector belongs to, where that is not the problem's."""
        return None

    @property
    def settled(self) -> bool:
        """Whether steps have ceased to bring anything, so that rounding is what is left."""
        return False


AnyState = TypeVar("AnyState", bound=State)


class Start(NamedTuple):
    """Where a method begins: a control u, and a dual vector p where one is known, with its Tikhonov weight.

    Without one it is F'(S(u)), or the nearest to zero in a cold start.
    """

    u: Array
    p: Array | None = None
    cold: bool = False
    weight: float = 0.0

    def dual(self, objective: Objective, at: Linearisation) -> Array:
        """The dual vector to begin with, given the map at u."""
        if self.p is not None:
            return self.p
        return objective.state.start() if self.cold else objective.state.gradient(at.value)


def cold_start(objective: Objective, map: SolutionMap) -> Start:
    """Zero moved into the box, with a cold dual vector."""
    return Start(np.clip(map.control.zeros(), objective.control.lower, objective.control.upper), cold=True)


class Stopping(NamedTuple):
    """When a run ends: the tolerances of the certificate, and limits of iterations and of PDE solves.

    Success is bound <= tol (||u|| - bound), or bound <= atol, or u = 0 shown optimal; without a Tikhonov term,
    gap <= tol max(abs(P), abs(D)). Norm estimates and certificates count as solves.
    """

    tol: float
    atol: float
    iterations: int
    solves: float


class Algorithm(ABC, Generic[AnyState]):
    """An iteration for one kind of map; `state` is the class of its states."""

    state: ClassVar[type[State]]

    @abstractmethod
    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> AnyState:
        """The state before the first iteration."""

    @abstractmethod
    def step(self, objective: Objective, map: SolutionMap, state: AnyState) -> AnyState:
        """One iteration; the state itself where nothing is left to gain."""


class Method(ABC):
    """What a user chooses: parameters, with the algorithm that they stand for."""

    name: ClassVar[str]

    @abstractmethod
    def algorithm_for(self, objective: Objective, map: SolutionMap) -> Algorithm[Any]:
        """The algorithm that fits the problem and its map; raises ProblemError where none does."""
