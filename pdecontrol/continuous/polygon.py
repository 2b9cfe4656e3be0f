"""The polygon that triangles fill: its corners, their angles, and the conditions on its sides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ..arrays import Array, Indices
from .triangles import EDGES, Triangles

TOLERANCE = 1e-9  # of angles, and a tenth of it of places, relative to the diameter of the domain


@dataclass(frozen=True, eq=False)
class Polygon:
    """The sides of a domain, from each corner to the next one with the domain on the left.

    Parameters
    ----------
    corners : (2, k), where sides end: in direction, or because the condition changes.
    after : (k,), the corner at the other end of the side that begins at each corner.
    dirichlet : (k,), whether that side is under Dirichlet conditions; natural ones hold on the others.
    """

    corners: Array
    after: Indices
    dirichlet: Array

    @cached_property
    def before(self) -> Indices:
        """The corner from which each one is reached: (k,)."""
        return np.argsort(self.after)

    @cached_property
    def directions(self) -> Array:
        """Unit vectors along the sides: (2, k)."""
        along = self.corners[:, self.after] - self.corners
        return along / np.linalg.norm(along, axis=0)

    @cached_property
    def angles(self) -> Array:
        """The interior angle at each corner, in (0, 2 pi]: (k,)."""
        out, back = self.directions, -self.directions[:, self.before]
        angles = np.arctan2(out[0] * back[1] - out[1] * back[0], (out * back).sum(axis=0)) % (2 * np.pi)
        return np.where(angles < TOLERANCE, angles + 2 * np.pi, angles)

    @cached_property
    def changes(self) -> Array:
        """Whether the condition changes at each corner: (k,)."""
        return self.dirichlet != self.dirichlet[self.before]

    @cached_property
    def singular(self) -> Array:
        """Whether solutions are not in H2 there, (k,): angles beyond pi, beyond pi/2 where the condition changes."""
        return self.angles > np.where(self.changes, np.pi / 2, np.pi) + TOLERANCE

    @cached_property
    def rectangle(self) -> bool:
        """Whether it is a rectangle, without changes of the condition along a side."""
        return self.angles.size == 4 and bool((np.abs(self.angles - np.pi / 2) < TOLERANCE).all())


def polygon_of(triangles: Triangles, dirichlet: Array) -> Polygon | None:
    """The polygon of a mesh; None where its boundary touches itself in a vertex.

    Parameters
    ----------
    dirichlet : (f,), whether each facet is under Dirichlet conditions; only those on the boundary count.

    Notes
    -----
    Vertices closer than 1e-10 of the diameter of the domain to the line between two others are taken to be on it.
    """
    tails, heads, facets = _boundary(triangles)
    if np.unique(tails).size < tails.size:
        return None
    following = np.zeros(triangles.points.shape[1], dtype=np.int64)
    following[tails] = np.arange(tails.size)
    points = triangles.points[:, tails]
    tolerance = TOLERANCE / 10 * float(np.linalg.norm(np.ptp(points, axis=1)))
    condition = dirichlet[facets]
    corners, after, left = list[int](), list[int](), np.ones(tails.size, dtype=bool)
    while left.any():
        loop = [int(np.argmax(left))]
        while (edge := int(following[heads[loop[-1]]])) != loop[0]:
            loop.append(edge)
        left[loop] = False
        chosen = _ends(points[:, loop], condition[loop], tolerance)
        after += (len(corners) + np.roll(np.arange(len(chosen)), -1)).tolist()
        corners += [loop[i] for i in chosen]
    return Polygon(points[:, corners], np.array(after), condition[corners])


def _boundary(triangles: Triangles) -> tuple[Indices, Indices, Indices]:
    """The edges on the boundary from tail to head with the domain on the left, and the numbers of their facets."""
    edges = np.array(EDGES)
    edges[2] = edges[2, ::-1]  # 01, 12, 20
    local, cells = np.nonzero(triangles.boundary[triangles.facets_of])
    ends = np.stack([triangles.cells[edges[local, i], cells] for i in (0, 1)])
    turned = ~triangles.positive[cells]
    ends[:, turned] = ends[::-1, turned]
    return ends[0], ends[1], triangles.facets_of[local, cells]


def _ends(points: Array, condition: Array, tolerance: float) -> list[int]:
    """The vertices of a closed loop (2, m) at which its straight sides end, ascending but for where it begins.

    The point farthest from any point is a corner; between two ends, the point farthest from the line between them is
    one, if it is not on that line.
    """
    count = condition.size
    first = int(np.argmax(np.linalg.norm(points - points[:, :1], axis=0)))
    order = (first + np.arange(count + 1)) % count
    there, kind = points[:, order], condition[order]
    ends = {0, count, *(1 + np.flatnonzero(kind[1:count] != kind[: count - 1])).tolist()}
    pieces = list(pairwise(sorted(ends)))
    while pieces:
        a, b = pieces.pop()
        if b - a < 2:
            continue
        along, inner = there[:, b] - there[:, a], there[:, a + 1 : b] - there[:, a, None]
        share = np.clip(along @ inner / max(float(along @ along), tolerance**2), 0, 1)
        distances = np.linalg.norm(inner - along[:, None] * share, axis=0)
        middle = a + 1 + int(np.argmax(distances))
        if distances.max() > tolerance:
            ends.add(middle)
            pieces += [(a, middle), (middle, b)]
    return [int(order[i]) for i in sorted(ends)[:-1]]
