"""How far a control is from the optimum of the continuous problem, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .arrays import Array
from .mesh.mesh import Mesh


class Parts(NamedTuple):
    """What adds up to a bound to the continuous optimum.

    Attributes
    ----------
    adjoint : how far the discrete adjoint state may be from the exact one for the discrete state.
    projection : what is left of the discrete optimality system.
    state : how far the discrete state may be from the exact one.
    data : what bounds and references leave that are not affine on cells.
    """

    adjoint: float
    projection: float
    state: float
    data: float


@dataclass(frozen=True)
class Continuous:
    """How far a control z, a function known at all points, is from the optimum u* of the continuous problem, in L2.

    Attributes
    ----------
    bound : an upper bound on ||z - u*||; None where there is none.
    norm : ||z||.
    state_bound : one on the distance of their states, in the norm of what is tracked.
    gap : one on J(z) - J(u*).
    route : from fluxes to states: "convex" (proved constants on convex polygons, layers and intervals), "corner"
        (re-entrant corners by explicit singular functions), "computed" (a computed constant, with its probability) or
        "energy" (Friedrichs' inequality); empty where there is none.
    unknowns : of the discrete state.
    parts : see `Parts`.
    assumption : what the bound rests on, or why there is none.
    order : of the bound in the size of the cells, as seen on the last two meshes; NaN on one mesh.
    """

    bound: float | None
    norm: float
    state_bound: float
    gap: float
    route: str
    unknowns: int
    parts: Parts
    assumption: str
    order: float = np.nan

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "parts", Parts(**self.parts) if isinstance(self.parts, Mapping) else Parts(*self.parts)
        )

    @classmethod
    def none(cls, reason: str) -> Continuous:
        """Why there is no bound."""
        return cls(None, np.nan, np.nan, np.nan, "", 0, Parts(np.nan, np.nan, np.nan, np.nan), f"nothing: {reason}")

    @property
    def relative(self) -> float | None:
        """bound / (norm - bound), at least ||z - u*|| / ||u*||; infinite where the bound does not exclude u* = 0."""
        if self.bound is None:
            return None
        return self.bound / (self.norm - self.bound) if self.bound < self.norm else np.inf

    def meets(self, tol: float, atol: float = 0.0) -> bool:
        """bound <= tol (||z|| - bound), or bound <= atol."""
        return self.bound is not None and (self.bound <= tol * (self.norm - self.bound) or self.bound <= atol)

    def __str__(self) -> str:
        if self.bound is None:
            return f"no bound to the optimum of the continuous problem, assuming {self.assumption}"
        share = f"{self.bound / self.norm:.1e} of ||u|| = {self.norm:.6g}" if self.norm > 0 else "u = 0"
        return (
            f"||u - u_continuous|| <= {self.bound:.3e}   ({share}, {self.unknowns} unknowns)\n"
            f"assuming {self.assumption}"
        )


class Level(NamedTuple):
    """One mesh of a run that was refined until a bound to the continuous optimum met its tolerance.

    `shares` (cells,) are what each cell adds to the bound; `solves` and `seconds` are those so far.
    """

    mesh: Mesh
    unknowns: int
    bound: float
    norm: float
    parts: Parts
    shares: Array
    solves: float
    seconds: float
