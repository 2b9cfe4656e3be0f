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
from ...mesh.lagrange import Lagrange
from ...space import Space
from .offset import observed_at_zero


class Surrogate(SolutionMap):
    """u -> T(0) + T_y (S(T_u u) - S(0)): another map S as a surrogate of T, with transfers between their spaces.

    Not exact, whatever S is: its adjoints err by an unknown amount. Applications are S's solves, on S's counter. What
    source, boundary and initial values make without control is exact: T(0) is one solve of T, counted there, when it is
    first needed, and none where there are no such data.

    Parameters
    ----------
    map : S, such as that of the mean coefficient, or of a coarse mesh.
    like : T, the map that it stands for, whose spaces it has; it stays open.
    controls, observations : matrices of T_u^* and T_y, in the entries of the spaces; None for the identity.

    Raises
    ------
    ProblemError
        For spaces that are not those of the other map, or transfers that do not fit.

    Notes
    -----
    T_u = M_c^-1 P' M, the adjoint of the interpolation P of coarse controls, in the inner products of the spaces.
    """

    def __init__(self, map: SolutionMap, like: SolutionMap, controls: Any = None, observations: Any = None) -> None:
        self.map, self.like, self.control, self.observation = map, like, like.control, like.observation
        self.solution, self.adjoints = map.solution, map.adjoints
        self.affine, self.twice = map.affine, map.twice
        self.interpolate = _identity(map.control, like.control) if controls is None else controls
        self.prolong = _identity(map.observation, like.observation) if observations is None else observations
        wanted = [(like.control.size, map.control.size), (like.observation.size, map.observation.size)]
        if [self.interpolate.shape, self.prolong.shape] != wanted:
            raise ProblemError(
                f"transfers of shapes {self.interpolate.shape} and {self.prolong.shape} take {map!r} to the spaces of "
                f"another map where {wanted[0]} and {wanted[1]} are needed; for another mesh take CoarseMesh."
            )
        names = [_digest(sp.csr_matrix(matrix)) for matrix in (self.interpolate, self.prolong)]
        self.fingerprint = f"{map.fingerprint} by {names} for {like.fingerprint}"

    @property
    def solves(self) -> Counter:
        return self.map.solves

    def close(self) -> None:
        self.map.close()

    @cached_property
    def offset(self) -> Array:
        """T(0) - T_y S(0)."""
        return observed_at_zero(self.like) - self.prolong @ observed_at_zero(self.map)

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
        return np.asarray(self._surrogate.offset + self._surrogate.prolong @ self._at.value)

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
        controls = _interpolation(coarse.control, like.control, "controls")
        observations = _interpolation(coarse.observation, like.observation, "observations", states)
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
    if coarse.levels is not None and fine.levels is not None:
        known = coarse.levels.times
        shares = [known.at(np.eye(known.levels.size), t) for t in np.clip(fine.times, *known.span).tolist()]
        return sp.kron(np.stack(shares), _interpolation(coarse.base, fine.base, name, states), format="csr")
    both = coarse.levels is None and fine.levels is None
    if both and coarse.elements is None and coarse.size == fine.size and _same(coarse.points, fine.points):
        return sp.identity(coarse.size, format="csr")
    if both and coarse.points is not None and fine.points is not None:
        if coarse.elements is not None:
            sampled = _sampled(coarse.elements, fine)
            return sampled if coarse.fit is None else sampled @ coarse.fit
        observed = None if states is None else _observed(coarse, states)
        if states is not None and states.elements is not None and observed is not None:
            return _sampled(states.elements, fine) @ observed
    raise DataError(
        f"{name}: functions of finite elements, or plain numbers, are taken from a coarse mesh to another, not "
        f"{coarse!r} to {fine!r}."
    )


def _sampled(elements: Lagrange, fine: Space) -> sp.csr_matrix:
    """The matrix of values at the points of a space, on their side of interfaces; outside of the mesh, at nodes."""
    points = fine.nodes
    outside = np.flatnonzero(~elements.contains(points))
    if outside.size:
        points, nodes = points.copy(), elements.points
        points[:, outside] = nodes[:, cKDTree(nodes.T).query(points[:, outside].T)[1]]
    sampled = elements.sampling(points).tolil()
    for tag in sorted(set(elements.parts) & set(fine.members), key=lambda tag: -elements.parts[tag].size):
        own = fine.members[tag]
        own = own[elements.contains(points[:, own], tag)]
        sampled[own] = elements.sampling(points[:, own], tag)
    return sampled.tocsr()


def _observed(coarse: Space, states: Space) -> sp.csr_matrix | None:
    """The matrix from values at some nodes of states to states; None if they are not at nodes.

    Nodes on both sides of an interface that are no more than one entry here, have its value: jumps are data.
    """
    if coarse.size == states.size:
        return sp.identity(coarse.size, format="csr")
    found = cKDTree(coarse.nodes.T).query_ball_point(states.nodes.T, 1e-9 * states.scale)
    counts = np.array([len(entries) for entries in found])
    columns = np.array([entry for entries in found for entry in entries], dtype=int)
    if np.unique(columns).size < coarse.size:
        return None
    rows = np.repeat(np.arange(states.size), counts)
    return sp.csr_matrix((1.0 / counts[rows], (rows, columns)), (states.size, coarse.size))


def _identity(space: Space, other: Space) -> sp.csr_matrix:
    """That of two spaces with the same entries."""
    if space.size == other.size and not _near(space, other):
        raise ProblemError(
            "the entries of the surrogate's spaces are at other points: for another mesh take CoarseMesh."
        )
    return sp.identity(space.size, format="csr")


def _near(space: Space, other: Space) -> bool:
    """Whether the entries are at the same points, where they have any."""
    if space.factors and len(space.factors) == len(other.factors):
        return all(map(_near, space.factors, other.factors))
    one, two = space.base.points, other.base.points
    if one is None or two is None:
        return one is two
    return one.shape == two.shape and bool(np.abs(one - two).max(initial=0.0) <= 1e-9 * space.scale)


def _digest(matrix: sp.csr_matrix) -> str:
    parts = matrix.data, matrix.indices, matrix.indptr
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:8]


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
    if space.levels is not None:
        level, weights = _inverse_mass(space.base), space.levels.weights
        return lambda f: np.concatenate([level(row) / w for row, w in zip(space.steps(f), weights, strict=True)])
    return splu(sp.csc_matrix(space.mass)).solve
