"""Surrogates by another map, with transfers of controls and observations between the spaces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from ...arrays import Array
from ...counter import Counter
from ...errors import DataError, ProblemError
from ...maps import Adjoint, Linearisation, SolutionMap
from ...space import Space


class Surrogate(SolutionMap):
    """u -> T_y S(T_u u): another map as a surrogate, with transfers of controls and observations between the spaces.

    Not exact, whatever S is: its adjoints err by an unknown amount. Applications are S's solves, on S's counter.

    Parameters
    ----------
    map : S, such as that of the mean coefficient, or of a coarse mesh.
    like : the map that it stands for, whose spaces it has.
    controls, observations : matrices of T_u^* and T_y, in the entries of the spaces; None for the identity.

    Notes
    -----
    T_u = M_c^-1 P' M, the adjoint of the interpolation P of coarse controls, in the inner products of the spaces.
    """

    def __init__(self, map: SolutionMap, like: SolutionMap, controls: Any = None, observations: Any = None) -> None:
        self.map, self.control, self.observation = map, like.control, like.observation
        self.solution, self.adjoints = map.solution, map.adjoints
        self.affine, self.twice = map.affine, map.twice
        one = [sp.identity(space.size, format="csr") for space in (map.control, map.observation)]
        self.interpolate = one[0] if controls is None else controls
        self.prolong = one[1] if observations is None else observations
        wanted = [(like.control.size, map.control.size), (like.observation.size, map.observation.size)]
        if [self.interpolate.shape, self.prolong.shape] != wanted:
            raise ProblemError(
                f"transfers of shapes {self.interpolate.shape} and {self.prolong.shape} take {map!r} to the spaces of "
                f"another map where {wanted[0]} and {wanted[1]} are needed; for another mesh take CoarseMesh."
            )
        matrices = self.interpolate, self.prolong
        names = [hashlib.sha256(sp.csr_matrix(matrix).data.tobytes()).hexdigest()[:8] for matrix in matrices]
        self.fingerprint = f"{map.fingerprint} by {names}"

    @property
    def solves(self) -> Counter:
        return self.map.solves

    def close(self) -> None:
        self.map.close()

    def restrict(self, u: Array) -> Array:
        """T_u u."""
        return self.map.control.riesz(self.interpolate.T @ self.control.dual(u))

    @cached_property
    def _mass(self) -> Callable[[Array], Array]:
        return _inverse_mass(self.map.observation)

    def lower(self, w: Array) -> Array:
        """T_y^* w."""
        return self._mass(self.prolong.T @ self.observation.dual(w))

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        return _Transferred(self, self.map.at(self.restrict(u), start, accuracy))


class _Transferred(Linearisation):
    """A map at a restricted control; its errors as a surrogate are not known."""

    error = np.inf

    def __init__(self, surrogate: Surrogate, at: Linearisation) -> None:
        self._surrogate, self._at = surrogate, at

    @property
    def value(self) -> Array:
        return np.asarray(self._surrogate.prolong @ self._at.value)

    @property
    def state(self) -> Array | None:
        return self._at.state

    @property
    def warm(self) -> Array | None:
        return self._at.warm

    def tangent(self, h: Array) -> Array:
        return np.asarray(self._surrogate.prolong @ self._at.tangent(self._surrogate.restrict(h)))

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        found = self._at.solve_adjoint(self._surrogate.lower(w), start)
        return Adjoint(np.asarray(self._surrogate.interpolate @ found.gradient), np.inf, found.state)

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        surrogate = self._surrogate

        def outside(eta: Array) -> Array:
            return surrogate.lower(outer(np.asarray(surrogate.prolong @ eta)))

        found = self._at.second(surrogate.restrict(h), surrogate.lower(w), adjoint, outside)
        return np.asarray(surrogate.interpolate @ found)


class CoarseMesh(Surrogate):
    """The map of the same problem on a coarser mesh, with interpolation of controls and observations.

    Parameters
    ----------
    coarse, like : the maps on the coarse mesh and on the one that it stands for. Controls and what is observed are
        steady functions of finite elements, or plain numbers, as many in both.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.reference.box(1e-3).problem
    >>> surrogate = CoarseMesh(pc.discretise(problem, pc.unit_square(8)), pc.discretise(problem, pc.unit_square(16)))
    >>> surrogate.control.size, surrogate.affine, surrogate.exact
    (289, True, False)
    """

    def __init__(self, coarse: SolutionMap, like: SolutionMap) -> None:
        controls = _interpolation(coarse.control, like.control, "controls")
        observations = _interpolation(coarse.observation, like.observation, "observations", coarse.solution)
        super().__init__(coarse, like, controls, observations)


def _interpolation(coarse: Space, fine: Space, name: str, states: Space | None = None) -> sp.csr_matrix:
    """The matrix that takes functions of a space to their values at the nodes of another, numbers to themselves.

    What is observed are values of `states` at some of their nodes.
    """
    if coarse.factors:
        if len(coarse.factors) != len(fine.factors):
            raise DataError(f"{name}: the coarse map has {len(coarse.factors)} of them, not {len(fine.factors)}.")
        pairs = zip(coarse.factors, fine.factors, strict=True)
        return sp.block_diag([_interpolation(*pair, name, states) for pair in pairs], format="csr")
    if coarse.elements is None and coarse.size == fine.size and _same(coarse.points, fine.points):
        return sp.identity(coarse.size, format="csr")
    if coarse.points is not None and fine.points is not None and fine.levels is None:
        if coarse.elements is not None and coarse.fit is None:
            return coarse.elements.sampling(fine.points)
        if states is not None and states.elements is not None and states.points is not None:
            distance, nodes = cKDTree(states.points.T).query(coarse.points.T)
            if distance.max() <= 1e-9 * states.scale:
                return states.elements.sampling(fine.points)[:, nodes]
    raise DataError(
        f"{name}: steady functions of finite elements, or plain numbers, are taken from a coarse mesh to another, not "
        f"{coarse!r} to {fine!r}."
    )


def _same(points: Array | None, others: Array | None) -> bool:
    if points is None or others is None:
        return points is others
    return np.array_equal(points, others)


def _inverse_mass(space: Space) -> Callable[[Array], Array]:
    """M^-1 f of a space, for any M."""
    if space.factors:
        parts = [_inverse_mass(factor) for factor in space.factors]
        return lambda f: np.concatenate([part(piece) for part, piece in zip(parts, space.split(f), strict=True)])
    if space.diagonal:
        return space.riesz
    return splu(sp.csc_matrix(space.mass)).solve
