"""Surrogates by another map: that of another equation, or of a coarser mesh."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from ...arrays import Array
from ...counter import Counter
from ...errors import ProblemError
from ...maps import Adjoint, Linearisation, SolutionMap
from .offset import observed_at_zero
from .transfers import Identity, Transfer, interpolation


class Surrogate(SolutionMap):
    """u -> T(0) + T_y (S(T_u u) - S(0)): another map S as a surrogate of T, with transfers between their spaces.

    Not exact, whatever S is: its adjoints err by an unknown amount. Applications are S's solves, on S's counter. What
    source, boundary and initial values make without control is exact: T(0) is one solve of T, counted there, when it is
    first needed, and none where there are no such data.

    Parameters
    ----------
    map : S, such as that of the mean coefficient, or of a coarse mesh.
    like : T, the map that it stands for, whose spaces it has; it stays open.
    controls, observations : T_u^* and T_y; by default the identity, for maps of the same spaces.

    Raises
    ------
    ProblemError
        Without transfers, for spaces that are not those of the other map.
    """

    def __init__(
        self,
        map: SolutionMap,
        like: SolutionMap,
        controls: Transfer | None = None,
        observations: Transfer | None = None,
    ) -> None:
        self.map, self.like, self.control, self.observation = map, like, like.control, like.observation
        self.solution, self.adjoints = map.solution, map.adjoints
        self.affine, self.twice = map.affine, map.twice
        self.controls = controls or Identity(map.control, like.control)
        self.observations = observations or Identity(map.observation, like.observation)
        names = self.controls.name, self.observations.name
        self.fingerprint = f"{map.fingerprint} by {names} for {like.fingerprint}"

    @property
    def solves(self) -> Counter:
        return self.map.solves

    def close(self) -> None:
        self.map.close()

    @cached_property
    def offset(self) -> Array:
        """T(0) - T_y S(0)."""
        return observed_at_zero(self.like) - self.observations.up(observed_at_zero(self.map))

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        return _Transferred(self, self.map.at(self.controls.down(u), start, accuracy))


class _Transferred(Linearisation):
    """A map at a restricted control; its errors as a surrogate are not known."""

    error = np.inf

    def __init__(self, surrogate: Surrogate, at: Linearisation) -> None:
        self._surrogate, self._at = surrogate, at
        self._controls, self._observations = surrogate.controls, surrogate.observations

    @property
    def value(self) -> Array:
        return self._surrogate.offset + self._observations.up(self._at.value)

    @property
    def state(self) -> Array | None:
        return self._at.state

    @property
    def warm(self) -> Array | None:
        return self._at.warm

    def tangent(self, h: Array) -> Array:
        return self._observations.up(self._at.tangent(self._controls.down(h)))

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        found = self._at.solve_adjoint(self._observations.down(w), start)
        return Adjoint(self._controls.up(found.gradient), np.inf, found.state)

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        def outside(eta: Array) -> Array:
            return self._observations.down(outer(self._observations.up(eta)))

        controls, dual = self._controls, self._observations.down(w)
        return controls.up(self._at.second(controls.down(h), dual, adjoint, outside))


class CoarseMesh(Surrogate):
    """The map of the same problem on a coarser mesh or with fewer steps, between the spaces of a finer one.

    Controls and observations are interpolated: in space by finite elements, in time as in the spaces, and they are
    constant before the first and after the last time of the coarse one. Points outside of the coarse mesh, near curved
    boundaries, have the values of the nearest node.

    Parameters
    ----------
    coarse, like : the maps on the coarse mesh and on the one that it stands for, each on a single process. Controls and
        what is observed are functions of finite elements, or plain numbers, as many in both.

    Raises
    ------
    ProblemError
        Where there are several processes.
    DataError
        For spaces that do not correspond.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.reference.box(1e-3).problem
    >>> surrogate = CoarseMesh(pc.discretise(problem, pc.unit_square(8)), pc.discretise(problem, pc.unit_square(16)))
    >>> surrogate.control.size, surrogate.affine, surrogate.exact
    (289, True, False)
    """

    def __init__(self, coarse: SolutionMap, like: SolutionMap) -> None:
        if like.control.group.size > 1:
            raise ProblemError("CoarseMesh is for maps on a single process.")
        states = coarse.solution.base
        spaces = (coarse.control, like.control), (coarse.observation, like.observation)
        controls = Transfer(*spaces[0], interpolation(*spaces[0], "controls"))
        observations = Transfer(*spaces[1], interpolation(*spaces[1], "observations", states))
        super().__init__(coarse, like, controls, observations)
