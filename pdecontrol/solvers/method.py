"""What an optimisation algorithm is: frozen parameters, and a state that is passed in and returned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
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
    gain, root = map.norm_bound, float(np.sqrt(objective.control.alpha))
    return wanted * min(1.0, 5.0 * root / gain) if root > 0 and gain > 0 else wanted


@dataclass(frozen=True, eq=False, repr=False)
class State:
    """What a method carries from one iteration to the next.

    u is the control and y the observation S(u); `dual` is a dual vector and `adjoint` its adjoint solution. Methods add
    what is theirs: arrays and numbers, which checkpoints hold, and linearisations, which they do without. The next
    solve for a control near to u begins from `warm`.
    """

    u: Array
    y: Array
    dual: Array
    adjoint: Adjoint
    warm: Array | None


# The space of each array of a state; checkpoints hold whole vectors, whatever the partition.
SPACES = {
    "control": ("u", "ubar", "best_u", "best_ubar", "v", "l", "gradient", "adjoint.gradient"),
    "observation": ("y", "dual", "best_dual", "trail"),
    "solution": ("warm", "best_warm", "adjoint.state"),
}


AnyState = TypeVar("AnyState", bound=State)


class Start(NamedTuple):
    """Where a method begins: a control u, and a dual vector p where one is known.

    Without one it is S(u) - y_d, or zero in a cold start.
    """

    u: Array
    p: Array | None = None
    cold: bool = False


class Method(ABC, Generic[AnyState]):
    """An optimisation algorithm; `states` are the classes of the states it may be in."""

    name: ClassVar[str]
    states: ClassVar[tuple[type[State], ...]]

    @abstractmethod
    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> AnyState:
        """The state before the first iteration."""

    @abstractmethod
    def step(self, objective: Objective, map: SolutionMap, state: AnyState) -> AnyState:
        """One iteration."""

    @abstractmethod
    def best_dual(self, objective: Objective, state: AnyState) -> tuple[Array, Adjoint | None]:
        """The dual vector that gives the best certificate for affine maps, with its adjoint solution where known."""

    @abstractmethod
    def patience(self, objective: Objective, state: AnyState) -> int:
        """The number of iterations within which a method that works gains something; 0 where that is not known."""


def pack(state: State, map: SolutionMap) -> dict[str, Array]:
    """The arrays and numbers of a state, by name, with whole vectors on rank 0."""
    arrays: dict[str, Array] = {}
    for item in fields(state):
        value = getattr(state, item.name)
        if isinstance(value, Adjoint):
            arrays |= {f"{item.name}.{part}": np.asarray(a) for part, a in value._asdict().items() if a is not None}
        elif value is not None and not isinstance(value, Linearisation):
            arrays[item.name] = np.asarray(value)  # a tuple of arrays is stacked
    return _moved(arrays, map, "gather")


def unpack(method: Method[Any], kind: str, whole: dict[str, Array], map: SolutionMap) -> State:
    """The state of a method from the name of its class and what `pack` made of it."""
    arrays = _moved(whole, map, "scatter")
    cls = {cls.__name__: cls for cls in method.states}[kind]
    values: dict[str, object] = {}
    for item in fields(cls):
        if item.name == "adjoint":
            error = float(arrays["adjoint.error"]) if "adjoint.error" in arrays else None
            values["adjoint"] = Adjoint(arrays["adjoint.gradient"], error, arrays.get("adjoint.state"))
        elif item.name in arrays:
            value = arrays[item.name]
            values[item.name] = value.item() if value.ndim == 0 else value if value.ndim == 1 else tuple(value)
        else:
            values[item.name] = None
    return cls(**values)  # type: ignore[arg-type]


def _moved(arrays: dict[str, Array], map: SolutionMap, how: str) -> dict[str, Array]:
    """The arrays, with the vectors among them gathered or scattered by their spaces."""
    moved = dict(arrays)
    for where, names in SPACES.items():
        move = getattr(getattr(map, where), how)
        for name in names:
            if name in moved:
                rows = moved[name]
                moved[name] = move(rows) if rows.ndim == 1 else np.stack([move(row) for row in rows])
    return moved
