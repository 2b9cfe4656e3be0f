"""Transfers of functions between the spaces of two maps: interpolation, and its adjoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from ...arrays import Array
from ...errors import DataError, ProblemError
from ...linear.matrix import shared
from ...mesh.lagrange import Lagrange
from ...space import Space
from ..places import places


class Transfer:
    """P from a coarse space to a fine one by a matrix, and P* = M_c^-1 P' M_f, the adjoint in their inner products."""

    def __init__(self, coarse: Space, fine: Space, matrix: sp.csr_matrix) -> None:
        self._coarse, self._fine, self._matrix = coarse, fine, matrix

    @cached_property
    def name(self) -> str:
        """A digest of P."""
        parts = self._matrix.data, self._matrix.indices, self._matrix.indptr
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:8]

    def up(self, a: Array) -> Array:
        """P a."""
        return np.asarray(self._matrix @ a)

    def down(self, b: Array) -> Array:
        """P* b."""
        return self._inverse(self._matrix.T @ self._fine.dual(b))

    @cached_property
    def _inverse(self) -> Callable[[Array], Array]:
        return _inverse_mass(self._coarse)


class Identity(Transfer):
    """That of two spaces with the same points and inner product, however they are divided between processes.

    Raises
    ------
    ProblemError
        For other spaces.
    """

    name = "identity"

    def __init__(self, coarse: Space, fine: Space) -> None:
        self._coarse, self._fine = coarse, fine
        one, other = places(coarse), places(fine)
        with fine.group.agree():
            if one.shape != other.shape or np.abs(one - other).max(initial=0.0) > 1e-9 * fine.scale:
                raise ProblemError("the surrogate's spaces are not at the points of the map: take CoarseMesh.")
        a = fine.scatter(1.0 + np.cos(np.arange(fine.count)))
        one, other = coarse.gather(coarse.dual(self.down(a))), fine.gather(fine.dual(a))
        with fine.group.agree():
            if np.abs(one - other).max(initial=0.0) > 1e-9 * np.abs(other).max(initial=0.0):
                raise ProblemError("the surrogate's spaces have other inner products than those of the map.")

    def up(self, a: Array) -> Array:
        return self._fine.scatter(self._coarse.gather(a))

    def down(self, b: Array) -> Array:
        return self._coarse.scatter(self._fine.gather(b))


def interpolation(coarse: Space, fine: Space, name: str, states: Space | None = None) -> sp.csr_matrix:
    """The matrix that takes functions of a space to their values at the nodes of another, numbers to themselves.

    What is observed are values of `states` at some of their nodes.
    """
    if coarse.factors:
        if len(coarse.factors) != len(fine.factors):
            raise DataError(f"{name}: the coarse map has {len(coarse.factors)} of them, not {len(fine.factors)}.")
        pairs = zip(coarse.factors, fine.factors, strict=True)
        return sp.block_diag([interpolation(*pair, name, states) for pair in pairs], format="csr")
    if coarse.levels is not None and fine.levels is not None:
        known = coarse.levels.times
        shares = [known.at(np.eye(known.levels.size), t) for t in np.clip(fine.times, *known.span).tolist()]
        return sp.kron(np.stack(shares), interpolation(coarse.base, fine.base, name, states), format="csr")
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
    return splu(sp.csc_matrix(shared(space.mass).local)).solve
