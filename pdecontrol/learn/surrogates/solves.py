"""Surrogates of steady affine equations: another matrix in the place of the inverse of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from itertools import product as tuples
from typing import Any

import numpy as np
import scipy.sparse as sp

from ...arrays import Array
from ...errors import ProblemError
from ...fem.steady import SteadyMap
from ...linear.matrix import shared
from ...linear.multigrid import calling_pyamg
from ...maps import Adjoint, Linearisation, SolutionMap
from .modes import digest, positive, principal_modes, snapshots_of
from .offset import state_at_zero


class ApproximateSolves(SolutionMap):
    """S~(u) = O (y(0) + E W E' B u): an affine equation with a matrix W in the place of the inverse of its own.

    The state y(0) without control is exact: one solve of the map, counted there, when it is first needed, and none
    where no data drive it. The adjoint takes W', so that it is the transpose of S~ to rounding. Applications are on the
    surrogate's own counter.

    Parameters
    ----------
    map : of a steady affine equation on a single process, which stays open.

    Raises
    ------
    ProblemError
        For other maps.
    """

    affine = True

    def __init__(self, map: SolutionMap) -> None:
        if not (isinstance(map, SteadyMap) and map.affine and map.control.group.size == 1):
            raise ProblemError(
                f"{type(self).__name__} takes the map of a steady affine equation on a single process, got {map!r}."
            )
        self.map, self.system, self.control, self.observation = map, map.system, map.control, map.observation
        self.solution = map.solution
        self.fingerprint = f"{type(self).__name__} {self.described} of {map.fingerprint}"
        with self.solves.timing():
            self.prepare(shared(map.system.matrix).local)
            self.solves.factorisations += 1

    @cached_property
    def without(self) -> Array:
        """y(0)."""
        return state_at_zero(self.map)

    @property
    @abstractmethod
    def described(self) -> str:
        """The parameters, for the fingerprint."""

    @abstractmethod
    def prepare(self, matrix: sp.csr_matrix) -> None:
        """Set up W for the matrix of the equation on the free entries of states."""

    @abstractmethod
    def inverse(self, b: Array) -> Array:
        """W b."""

    @abstractmethod
    def transposed(self, b: Array) -> Array:
        """W' b."""

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        return _Approximate(self, self.control.checked(u, "the control"))


class _Approximate(Linearisation):
    """An affine surrogate at a control; what it errs by is not known."""

    error = np.inf

    def __init__(self, map: ApproximateSolves, u: Array) -> None:
        self._map, self._system, self._u = map, map.system, u

    @cached_property
    def state(self) -> Array:
        without = self._map.without
        with self._map.solves.solving("state"):
            return without + self._response(self._u)

    @property
    def value(self) -> Array:
        return self._system.observation.apply(self.state)

    def tangent(self, h: Array) -> Array:
        with self._map.solves.solving("tangent"):
            return self._system.observation.apply(self._response(h))

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        with self._map.solves.solving("adjoint"):
            p = self._applied(self._map.transposed, self._system.observation.transposed(w))
            gradient = self._system.equation.couple_transposed(self._system.lifting.initial(), self._u, p)
            return Adjoint(gradient, np.inf, p)

    def _response(self, h: Array) -> Array:
        """E W E' B h."""
        load = self._system.equation.couple(self._system.lifting.initial(), self._u, h)
        return self._applied(self._map.inverse, load)

    def _applied(self, inverse: Callable[[Array], Array], functional: Array) -> Array:
        lifting = self._system.lifting
        return lifting.extend(inverse(lifting.restrict(functional)))


class ReducedBasis(ApproximateSolves):
    """Galerkin's method with the true matrix in the span of the principal modes of states: W = V (V' K V)^-1 V'.

    Parameters
    ----------
    map : see `ApproximateSolves`.
    snapshots : states (N, n) in the space `solution` of the map, as `at(u).full_state()` gives them, or as a dataset
        has them for "observation" where all of the domain is tracked; their differences from y(0) count.
    modes : their number, as many as the snapshots allow by default.

    Raises
    ------
    DataError
        For snapshots that are no finite states, or all of them y(0).
    ProblemError
        For other maps, and a number of modes that is not positive.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> equation, tracking, terms = pc.Elliptic(reaction=1.0), pc.Tracking(1.0), [pc.Tikhonov(1e-2)]
    >>> map = pc.discretise(pc.ControlProblem(equation, pc.Distributed(), tracking, terms), pc.unit_interval(20))
    >>> u = map.control.interpolate(lambda x: x[0])
    >>> reduced = ReducedBasis(map, [map.at(u).full_state()])
    >>> bool(abs(reduced.solve(u) - map.solve(u)).max() < 1e-12)
    True
    """

    def __init__(self, map: SolutionMap, snapshots: Any, modes: int | None = None) -> None:
        self._snapshots, self._modes = snapshots_of(snapshots, map.solution.size), modes
        super().__init__(map)

    @property
    def described(self) -> str:
        return f"{self._modes} modes of {digest(self._snapshots)}"

    def columns(self) -> Array:
        """Vectors (n, m) of free entries whose span is meant, the most important first."""
        return principal_modes((self._snapshots - self.without)[:, self.system.lifting.free], self._modes)

    def prepare(self, matrix: sp.csr_matrix) -> None:
        self._basis, _ = np.linalg.qr(self.columns())
        self._small = np.linalg.inv(self._basis.T @ (matrix @ self._basis))

    def inverse(self, b: Array) -> Array:
        return np.asarray(self._basis @ (self._small @ (self._basis.T @ b)))

    def transposed(self, b: Array) -> Array:
        return np.asarray(self._basis @ (self._small.T @ (self._basis.T @ b)))


class SineGalerkin(ReducedBasis):
    """Galerkin's method in the span of products of k sines along each axis of a box, for states that are 0 around it.

    Parameters
    ----------
    map : see `ApproximateSolves`.
    k : sines along each axis.

    Raises
    ------
    ProblemError
        For other maps, and where states are free on a side of the box around the domain.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> map = pc.discretise(pc.reference.box(1e-3).problem, pc.unit_square(16))
    >>> surrogate = SineGalerkin(map, 8)
    >>> u = map.control.interpolate(1.0)
    >>> bool(abs(surrogate.solve(u) - map.solve(u)).max() < 2e-2 * map.solve(u).max())
    True
    """

    def __init__(self, map: SolutionMap, k: int = 8) -> None:
        self._k = positive(k, "k")
        ApproximateSolves.__init__(self, map)

    @property
    def described(self) -> str:
        return f"{self._k} sines"

    def columns(self) -> Array:
        points = self.system.engine.nodes
        corner, lengths = points.min(axis=1), np.ptp(points, axis=1)
        places = (points[:, self.system.lifting.free] - corner[:, None]) / lengths[:, None]
        if np.abs(places - 0.5).max() > 0.5 - 1e-9:
            raise ProblemError("SineGalerkin takes equations with Dirichlet conditions on all sides of a box.")
        waves = np.arange(1, self._k + 1)
        sines = [np.sin(np.pi * np.outer(x, waves)) for x in places]
        chosen = tuples(range(self._k), repeat=len(places))
        return np.stack([np.prod([s[:, j] for s, j in zip(sines, js, strict=True)], axis=0) for js in chosen], axis=1)


class VCycle(ApproximateSolves):
    """Cycles of algebraic multigrid on the true matrix, x+ = x + B (b - K x) from 0, for symmetric positive definite K.

    Parameters
    ----------
    map : see `ApproximateSolves`.
    cycles : V-cycles an application.
    """

    def __init__(self, map: SolutionMap, cycles: int = 1) -> None:
        self._cycles = positive(cycles, "cycles")
        super().__init__(map)
        if not self.system.equation.definite:
            raise ProblemError("VCycle takes equations with a symmetric positive definite matrix.")

    @property
    def described(self) -> str:
        return f"{self._cycles} cycles"

    def prepare(self, matrix: sp.csr_matrix) -> None:
        try:
            import pyamg
        except ImportError:
            raise ProblemError("VCycle needs pyamg: pip install pyamg.") from None
        with calling_pyamg():
            hierarchy = pyamg.smoothed_aggregation_solver(matrix, strength=("symmetric", {"theta": 0.08}))
        self._matrix, self._cycle = matrix, hierarchy.aspreconditioner()

    def inverse(self, b: Array) -> Array:
        x = np.asarray(self._cycle @ b)
        for _ in range(self._cycles - 1):
            x = x + self._cycle @ (b - self._matrix @ x)
        return x

    transposed = inverse
