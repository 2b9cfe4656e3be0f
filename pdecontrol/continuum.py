"""How far a control is from the optimum of the continuous problem, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .arrays import Array
from .mesh.mesh import Mesh


class Parts(NamedTuple):
    """What adds up to a bound to the continuous optimum: distances of controls, whose sum is the bound.

    Parameters
    ----------
    adjoint : by the error of the discrete adjoint state. A finer mesh makes it smaller, as it does `state`.
    projection : by what is left of the optimality system, and by kinks of the control that are not straight in a cell.
    state : by the error of the discrete state.
    data : by bounds and references of the control that are not affine on cells.
    distance : of a given control to the one that is projected from an adjoint state; zero for results.
    """

    adjoint: float
    projection: float
    state: float
    data: float
    distance: float = 0.0


@dataclass(frozen=True)
class Continuous:
    """How far a control u, as a function, is from the optimum u* of the continuous problem, in L2.

    Attributes
    ----------
    bound : an upper bound on ||u - u*||; None where there is none.
    norm : ||u||, or somewhat less.
    state_bound : one on ||S(u) - S(u*)|| for the exact states, in the norm of what is tracked; None for given controls.
    gap : one on J(u) - J(u*) with exact states; None for given controls.
    route : how errors of fluxes become errors of states: "convex" (proved constants on convex polygons, layers and
        intervals), "corner" (corners by explicit singular functions), "computed" (a computed constant, with its
        probability) or "energy" (Friedrichs' inequality); empty where there is none. See "Distance to the continuous
        optimum" in the documentation.
    unknowns : of the discrete state.
    parts : see `Parts`.
    assumption : what the bound rests on, or why there is none.
    order : of the bound in the size of the cells, as seen on the last meshes; NaN on one mesh.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.reference.box(1e-2).problem
    >>> result = pc.solve(problem, pc.unit_square(16), pc.Embedded(degree=2), continuous=True)
    >>> continuous = result.certificate.continuous
    >>> continuous.route, continuous.relative < 0.01
    ('convex', True)
    """

    bound: float | None
    norm: float
    state_bound: float | None
    gap: float | None
    route: str
    unknowns: int
    parts: Parts
    assumption: str
    order: float = np.nan

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", Parts(*self.parts))

    @classmethod
    def none(cls, reason: str) -> Continuous:
        """Why there is no bound."""
        return cls(None, np.nan, None, None, "", 0, Parts(0.0, 0.0, 0.0, 0.0), f"nothing: {reason}")

    @property
    def relative(self) -> float | None:
        """bound / (norm - bound), at least ||u - u*|| / ||u*||; infinite where the bound does not exclude u* = 0."""
        if self.bound is None:
            return None
        return self.bound / (self.norm - self.bound) if self.bound < self.norm else np.inf

    def meets(self, tol: float, atol: float = 0.0) -> bool:
        """bound <= tol (||u|| - bound), or bound <= atol."""
        return self.bound is not None and (self.bound <= tol * (self.norm - self.bound) or self.bound <= atol)

    def __str__(self) -> str:
        if self.bound is None:
            return f"no bound to the optimum of the continuous problem: {self.assumption.removeprefix('nothing: ')}"
        share = f"{self.bound / self.norm:.1e} of ||u|| = {self.norm:.6g}" if self.norm > 0 else "u = 0"
        return (
            f"||u - u_continuous|| <= {self.bound:.3e}   ({share}, {self.unknowns} unknowns)\n"
            f"assuming {self.assumption}"
        )


class Level(NamedTuple):
    """One mesh of a run that was refined until a bound to the continuous optimum met its tolerance.

    Parameters
    ----------
    mesh, unknowns : with the number of unknowns of a state on it.
    bound, norm, parts : see `Continuous`.
    shares : (cells,), what each cell adds to the parts of the adjoint state and the state.
    solves, seconds : those so far, without the first solve and the last.
    """

    mesh: Mesh
    unknowns: int
    bound: float
    norm: float
    parts: Parts
    shares: Array
    solves: float
    seconds: float
