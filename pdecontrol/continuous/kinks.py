"""z = argmin G + <q, .> pointwise, integrated exactly: cells are cut where it has kinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from ..arrays import Array, Indices
from ..terms.control import soft
from .samples import Points, Scattered, Several, Whole, children, rule, shapes
from .triangles import EDGES

DIVISIONS = 4  # of simplices with kinks where q is quadratic, before it is taken for affine
ORDER = 4  # of the rule on pieces: squares of quadratic functions


@dataclass(frozen=True, eq=False)
class Cost:
    """alpha/2 ||u - r||^2 + beta ||u||_L1 over lower <= u <= upper, with data that are affine on each cell.

    Parameters
    ----------
    alpha, beta : numbers, alpha > 0.
    reference, lower, upper : (dim + 1, n), the values at the corners of each cell, infinite where there is no bound.
    cells : (k,), where there is a control.
    """

    alpha: float
    beta: float
    reference: Array
    lower: Array
    upper: Array
    cells: Indices

    def argmin(
        self, q: Array, reference: Array | float, lower: Array | float, upper: Array | float
    ) -> tuple[Array, Array]:
        """z, and whether it is strictly inside of the bounds and off the kink of the L1 term."""
        v = self.alpha * reference - q
        z = soft(v, self.beta) / self.alpha
        free = (z > lower) & (z < upper)
        return np.clip(z, lower, upper), free & (np.abs(v) > self.beta) if self.beta else free

    def at(self, points: Points) -> tuple[Array | float, Array | float, Array | float]:
        """The reference and the bounds at points, numbers where they are the same everywhere."""
        reference, lower, upper = (
            points.values(data)
            if np.isfinite(data).all() and np.ptp(data[:, self.cells])
            else float(data[0, self.cells[0]])
            for data in (self.reference, self.lower, self.upper)
        )
        return reference, lower, upper

    def kinks(self, q: Array, data: tuple[Array | float, ...]) -> list[Array]:
        """Functions of which one at least vanishes where z has a kink; arrays of the shape of q."""
        reference, lower, upper = data
        v = self.alpha * reference - q
        thresholds = (self.beta, -self.beta) if self.beta else (0.0,)
        found = [v - threshold for threshold in thresholds] if self.beta else []
        for bound in (lower, upper):
            if np.isfinite(bound).all():
                found += [v - threshold - self.alpha * bound for threshold in thresholds]
                if self.beta and np.ndim(bound):
                    found.append(np.broadcast_to(bound, v.shape))
        return found


class Minimiser(NamedTuple):
    """z at points of quadrature, and whether it is inactive there; ||q - q~|| on each cell, (n,)."""

    points: Points
    z: Array
    inactive: Array
    off: Array


class _Pieces(NamedTuple):
    """Simplices in cells: barycentric corners (s, dim + 1, dim + 1), and the values (s, dim + 1) of q~ there if any."""

    cells: Indices
    corners: Array
    q: Array

    def chosen(self, which: Array) -> _Pieces:
        """Some of them."""
        return _Pieces(self.cells[which], self.corners[which], self.q[which] if len(self.q) else self.q)

    def of(self, data: Array) -> Array:
        """The values at corners (s, dim + 1) of data (dim + 1, n) that are affine on cells."""
        if not np.isfinite(data).all():
            return np.full(self.q.shape, data[0, 0])
        return np.asarray(np.einsum("svb,bs->sv", self.corners, data[:, self.cells]))


def minimiser(cost: Cost, q: Array, dofs: Indices, volumes: Array) -> Minimiser:
    """z = argmin G + <q~, .> for q of degree 1 or 2, given by its coefficients.

    Notes
    -----
    For degree 1, q~ = q. For degree 2, cells in which z may have a kink are divided, four times where it remains
    possible, and there q~ is the interpolant on the smallest simplices; in others it is q. With data that are affine on
    cells, z is a polynomial between its kinks.
    """
    local, corners = q[dofs], len(cost.reference)
    cells = _Pieces(cost.cells, np.broadcast_to(np.eye(corners), (cost.cells.size, corners, corners)), np.zeros((0, 0)))
    kinked = _have_kinks(cost, local, cells)
    whole, pieces = Whole.of(cost.cells[~kinked], volumes, ORDER, corners - 1), cells.chosen(kinked)
    smooth = list[_Pieces]()
    for _ in range(DIVISIONS if len(dofs) > corners else 0):
        pieces = _Pieces(np.repeat(pieces.cells, 2 ** (corners - 1)), children(pieces.corners), pieces.q)
        kinked = _have_kinks(cost, local, pieces)
        smooth.append(pieces.chosen(~kinked))
        pieces = pieces.chosen(kinked)
    pieces = _Pieces(pieces.cells, pieces.corners, _at_nodes(local, pieces, np.eye(corners)).T)
    off = _distance(local, pieces, volumes)
    for level in _levels(cost):
        pieces = _cut(pieces, level(pieces))
    cut, others = _points(pieces, volumes), [_points(each, volumes) for each in smooth]
    points = Several((whole, *others, cut))
    affine = (pieces.q @ rule(corners - 1, ORDER)[0].T).ravel()
    values = np.concatenate([whole.values(local), *(each.values(local) for each in others), affine])
    z, inactive = cost.argmin(values, *cost.at(points))
    return Minimiser(points, z, inactive, off)


def _points(pieces: _Pieces, volumes: Array) -> Scattered:
    """Those of the rule on pieces, by the volumes (n,) of all cells."""
    share = np.abs(np.linalg.det(pieces.corners))
    return Scattered.of(pieces.cells, pieces.corners, share * volumes[pieces.cells], ORDER)


def _at_nodes(local: Array, pieces: _Pieces, nodes: Array) -> Array:
    """The values (l, s) of polynomials, given on all cells by those at nodes, at places (l, dim + 1) in each piece."""
    inside = np.einsum("lv,svb->bls", nodes, pieces.corners)
    basis = shapes(inside.reshape(len(inside), -1), len(local)).reshape(len(local), *inside.shape[1:])
    return np.asarray(np.einsum("kls,ks->ls", basis, local[:, pieces.cells]))


def _have_kinks(cost: Cost, local: Array, pieces: _Pieces) -> Array:
    """Whether z may have a kink in each piece: by coefficients of Bernstein, which enclose values."""
    corners, edges = len(cost.reference), EDGES[: len(local) - len(cost.reference)]
    middles = np.eye(corners)
    nodes = np.concatenate([middles, *([(middles[i] + middles[j]) / 2] for i, j in edges)])

    def enclosing(data: Array) -> Array:
        values = _at_nodes(data, pieces, nodes)
        for k, (i, j) in enumerate(edges):
            values[corners + k] = 2 * values[corners + k] - (values[i] + values[j]) / 2
        return values

    def bound(data: Array) -> Array | float:
        constant = not np.isfinite(data).all() or not np.ptp(data[:, cost.cells])
        return float(data[0, cost.cells[0]]) if constant else enclosing(data)

    kinked = np.zeros(pieces.cells.size, dtype=bool)
    for level in cost.kinks(enclosing(local), (bound(cost.reference), bound(cost.lower), bound(cost.upper))):
        kinked |= (level.min(axis=0) < 0) & (level.max(axis=0) > 0)
    return kinked


def _distance(local: Array, pieces: _Pieces, volumes: Array) -> Array:
    """||q - q~|| on each cell."""
    if len(local) == pieces.corners.shape[1]:
        return np.zeros(volumes.size)
    points = _points(pieces, volumes)
    affine = (pieces.q @ rule(pieces.corners.shape[1] - 1, ORDER)[0].T).ravel()
    return np.sqrt(points.sums((points.values(local) - affine) ** 2, volumes.size))


def _levels(cost: Cost) -> Iterator[Callable[[_Pieces], Array]]:
    """Functions of pieces, in turn: each is affine on those that were cut by the ones before."""

    def v(pieces: _Pieces) -> Array:
        return cost.alpha * pieces.of(cost.reference) - pieces.q

    def free(pieces: _Pieces) -> Array:
        # v - beta and v + beta have one sign on each piece, which rounding must not take from its corners.
        values = v(pieces)
        middle = values.mean(axis=1, keepdims=True)
        return np.where(np.abs(middle) > cost.beta, values - np.sign(middle) * cost.beta, 0.0) / cost.alpha

    def beyond(pieces: _Pieces, threshold: float) -> Array:
        return v(pieces) - threshold

    def outside(pieces: _Pieces, bound: Array) -> Array:
        return free(pieces) - pieces.of(bound)

    if cost.beta:
        yield partial(beyond, threshold=cost.beta)
        yield partial(beyond, threshold=-cost.beta)
    for bound in (cost.lower, cost.upper):
        if np.isfinite(bound).all():
            yield partial(outside, bound=bound)


def _cut(pieces: _Pieces, level: Array) -> _Pieces:
    """Each piece cut where a function vanishes that is affine on it, by its values (s, dim + 1) at the corners."""
    positive, corners = level > 0, level.shape[1]
    count = positive.sum(axis=1)
    hit = (count > 0) & (level.min(axis=1) < 0)
    rows, alone = np.arange(hit.sum()), count[hit] == 1
    lone = np.where(alone, positive[hit].argmax(axis=1), positive[hit].argmin(axis=1))
    # Corner by corner from the one that is alone on its side: barycentric coordinates, q and the function in one array.
    values = np.concatenate([pieces.corners[hit], pieces.q[hit][:, :, None], level[hit][:, :, None]], axis=2)
    apex, *others = (values[rows, (lone + step) % corners] for step in range(corners))
    crossings = [apex + (other - apex) * (apex[:, -1] / (apex[:, -1] - other[:, -1]))[:, None] for other in others]
    if corners == 2:
        new: list[tuple[Array, ...]] = [(apex, crossings[0]), (crossings[0], others[0])]
    else:
        (first, second), (near, far) = crossings, others
        new = [(apex, first, second), (first, near, far), (first, far, second)]
    parts = np.concatenate([np.stack(part, axis=1) for part in new])
    return _Pieces(
        np.concatenate([pieces.cells[~hit], *[pieces.cells[hit]] * len(new)]),
        np.concatenate([pieces.corners[~hit], parts[:, :, :corners]]),
        np.concatenate([pieces.q[~hit], parts[:, :, corners]]),
    )
