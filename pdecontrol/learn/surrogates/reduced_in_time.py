"""Galerkin's method in principal modes of states, for parabolic equations: a march in a few unknowns."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np

from ...arrays import Array
from ...counter import Counter
from ...errors import ProblemError
from ...fem.evolution import Evolution
from ...fem.parabolic import ParabolicLinearisation, ParabolicMap
from ...fem.steps import AffineSteps
from ...maps import Adjoint, Linearisation, SolutionMap
from .modes import digest, principal_modes, snapshots_of
from .offset import state_at_zero


class ReducedMarch(SolutionMap):
    """S~(u) = S(0) + O x(u), V' (B_n x_n - N_n x_(n-1) - f_n(u)) = 0 with x_n in the span of V, from x_0 = 0.

    The steps are those of the equation itself in the span of principal modes of states; their adjoint is the transpose
    to rounding. The trajectory without control is one solve of the map, counted there, none where no data drive it.

    Parameters
    ----------
    map : of an affine parabolic equation on a single process, which stays open.
    snapshots : trajectories (K, n) in the space `solution` of the map, as `at(u).full_state()` gives them; their
        differences from that without control count, those of each time.
    modes : their number, as many as the snapshots allow by default.

    Raises
    ------
    DataError
        For snapshots that are no finite trajectories, or all of them that without control.
    ProblemError
        For other maps, and a number of modes that is not positive.

    Examples
    --------
    >>> import numpy as np, pdecontrol as pc
    >>> equation, terms = pc.Parabolic(pc.Elliptic(), T=1.0, steps=8), [pc.Tikhonov(1e-2)]
    >>> problem = pc.ControlProblem(equation, pc.Distributed(), pc.Tracking(1.0), terms, {"boundary": pc.Dirichlet()})
    >>> map = pc.discretise(problem, pc.unit_interval(20))
    >>> u = map.control.interpolate(lambda x, t: t * x[0])
    >>> reduced = ReducedMarch(map, [map.at(u).full_state()])
    >>> bool(abs(reduced.solve(u) - map.solve(u)).max() < 1e-9)
    True
    """

    affine = twice = True

    def __init__(self, map: SolutionMap, snapshots: Any, modes: int | None = None) -> None:
        if not (isinstance(map, ParabolicMap) and map.affine and map.control.group.size == 1):
            raise ProblemError(
                f"ReducedMarch takes the map of an affine parabolic equation on a single process, got {map!r}."
            )
        states = snapshots_of(snapshots, map.solution.size)
        self.map, self.control, self.observation = map, map.control, map.observation
        without = state_at_zero(map)
        self.offset = map.evolution.observation.apply(map.solution.steps(without))
        rows = (states - without).reshape(-1, map.solution.base.size)
        basis = principal_modes(rows[:, map.evolution.free], modes)
        self.fingerprint = f"ReducedMarch {basis.shape[1]} modes of {digest(states)} of {map.fingerprint}"
        self._march = copy(map)
        self._march.solves = Counter()
        self._march.linear = ReducedSteps(map.evolution, self._march.solves, basis)

    @property
    def solves(self) -> Counter:
        return self._march.solves

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        u = self.control.checked(u, "the control")
        return _Reduced(self, u, ParabolicLinearisation(self._march, u, None, 1.0))  # which asks for no bounds


class _Reduced(Linearisation):
    """A reduced march for a control; what it errs by is not known."""

    error = np.inf

    def __init__(self, map: ReducedMarch, u: Array, at: ParabolicLinearisation) -> None:
        self._map, self._u, self._at = map, u, at

    @cached_property
    def value(self) -> Array:
        return self._map.offset + self._at.tangent(self._u)

    def tangent(self, h: Array) -> Array:
        return self._at.tangent(h)

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        return Adjoint(self._at.solve_adjoint(w).gradient, np.inf)

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        return self.adjoint(outer(self.tangent(h)))


class ReducedSteps(AffineSteps):
    """Those of an affine evolution in the span of orthonormal columns V: V' B_n V and V' N_n V."""

    def __init__(self, evolution: Evolution, counter: Counter, basis: Array) -> None:
        super().__init__(evolution, counter)
        self._basis = basis
        self._inverses = dict[tuple[int, float], Array]()
        self._carriers = dict[tuple[int, float], Array]()

    def inverse(self, n: int) -> Array:
        """(V' B_n V)^-1."""
        evolution, key = self.evolution, self.evolution.key(n)
        if key not in self._inverses:
            equation = evolution.levels[n + 1].equation
            matrix = evolution.block(equation.jacobian(*evolution.reference(n), evolution.shift(n)))
            self._inverses[key] = np.linalg.inv(self._basis.T @ (matrix @ self._basis))
        return self._inverses[key]

    def carrier(self, n: int) -> Array:
        """V' N_n V."""
        key = id(self.evolution.levels[n].equation), self.evolution.shift(n)
        if key not in self._carriers:
            images = [self.previous(n, column) for column in self._basis.T]
            self._carriers[key] = self._basis.T @ np.stack(images, axis=1)
        return self._carriers[key]

    def forward(
        self, functionals: Array, start: Array | None = None, accuracy: float | None = None, noise: Array | None = None
    ) -> tuple[Array, float | None]:
        loads = functionals @ self._basis
        for n in range(self.count):
            if n > 0:
                loads[n] += self.carrier(n) @ loads[n - 1]
            loads[n] = self.inverse(n) @ loads[n]
        return loads @ self._basis.T, None

    def backward(
        self, functionals: Array, start: Array | None = None, accuracy: float | None = None, noise: Array | None = None
    ) -> tuple[Array, float | None]:
        loads = functionals @ self._basis
        for n in reversed(range(self.count)):
            if n + 1 < self.count:
                loads[n] += self.carrier(n + 1).T @ loads[n + 1]
            loads[n] = self.inverse(n).T @ loads[n]
        return loads @ self._basis.T, None
