"""L by its rows or its columns: where few numbers are observed or controlled, solves are needed for these alone."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np

from .arrays import Array
from .maps import Adjoint, Linearisation, SolutionMap

MOST, ENTRIES = 300, 5e7  # rows or columns, and the numbers in them on one process
BLOCK = 32  # of these that are solved for at once


class FewNumbers(SolutionMap):
    """u -> S(0) + L u with the matrix of L, for affine maps with few observed numbers y_i or few controls u_j.

    Its rows take an adjoint solve each, (L u)_i = <L* e_i, u> / w_i with the weight w_i of y_i; its columns a tangent
    each, L u = sum_j u_j L e_j. Then everything is dense algebra, Newton systems of dual problems too.

    Parameters
    ----------
    map : S, on whose counter the solves are.

    Examples
    --------
    >>> import numpy as np, pdecontrol as pc
    >>> sensors = pc.Tracking(1.0, points=np.array([[0.2, 0.5, 0.7]]))
    >>> problem = pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Distributed(), sensors, [pc.Tikhonov(1e-4)])
    >>> map = pc.discretise(problem, pc.unit_interval(20))
    >>> few = FewNumbers(map)
    >>> few.vectors.shape, bool(abs(few.solve(map.control.nodes[0]) - map.solve(map.control.nodes[0])).max() < 1e-12)
    ((3, 21), True)
    """

    affine = True

    def __init__(self, map: SolutionMap) -> None:
        self.control, self.observation = map.control, map.observation
        self.group, self.fingerprint = map.control.group, map.fingerprint
        self.rows = count(map)[1]
        numbers = self.observation if self.rows else self.control
        at = map.at(map.control.zeros())
        self.offset = at.value
        self.mass = self._whole(numbers.dual(np.ones(numbers.size)))
        units, solve = np.eye(self.mass.size)[:, : numbers.size], at.adjoints if self.rows else at.tangents
        found = []
        for k in range(0, len(units), BLOCK):
            found.append(solve(units[k : k + BLOCK]))
            map.solves.step(min(k + BLOCK, len(units)), len(units))
        self.vectors = np.concatenate(found)
        self._gram: tuple[Array, Array] | None = None

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        return _Dense(self, u)

    def tangent(self, h: Array) -> Array:
        """L h."""
        return self._products(self.control.dual(h)) if self.rows else self._combined(h)

    def adjoint(self, p: Array) -> Array:
        """L* p."""
        return self._combined(p) if self.rows else self._products(self.observation.dual(p))

    def newton_system(
        self,
        at: Linearisation,
        r: Array,
        weights: Callable[[Array], Array],
        second: Callable[[Array], Array],
        forcing: float,
        max_cg: int,
        norm: float | None = None,
    ) -> tuple[Array, Adjoint]:
        """(I + P L D L*) d = r; by columns (I + L* P L D) x = L* r with x = L* d, and d = r - P L D x."""
        identity, diagonal = np.eye(self.mass.size), weights(np.ones(self.control.size))
        tracked = second(np.ones(self.observation.size))
        if self.rows:
            gram = self.group.total((self.vectors * self.control.dual(diagonal)) @ self.vectors.T)
            left = (self._whole(tracked) / self.mass)[:, None]
            d = self._own(np.linalg.solve(identity + left * gram, self._whole(r)))
            return d, Adjoint(self.adjoint(d), None)
        if self._gram is None or self.group.any(np.any(self._gram[0] != tracked)):
            images = np.stack([self.observation.dual(second(v)) for v in self.vectors])
            self._gram = tracked, self.group.total(images @ self.vectors.T)
        matrix = identity + self._gram[1] * self._whole(diagonal) / self.mass[:, None]
        x = self._own(np.linalg.solve(matrix, self._whole(self.adjoint(r))))
        return r - second(self.tangent(weights(x))), Adjoint(x, None)

    def _products(self, functional: Array) -> Array:
        return self._own(self.group.total(self.vectors @ functional) / self.mass)

    def _combined(self, numbers: Array) -> Array:
        return np.asarray(self._whole(numbers) @ self.vectors)

    def _own(self, numbers: Array) -> Array:
        """Numbers as their space has them, all on rank 0."""
        return numbers if self.group.root else numbers[:0]

    def _whole(self, numbers: Array) -> Array:
        """Numbers that rank 0 holds, on all processes."""
        return np.asarray(self.group.share(numbers))


class _Dense(Linearisation):
    """The map at u."""

    def __init__(self, map: FewNumbers, u: Array) -> None:
        self._map, self._u = map, u

    @property
    def value(self) -> Array:
        return self._map.offset + self._map.tangent(self._u)

    @property
    def error(self) -> None:
        return None

    def tangent(self, h: Array) -> Array:
        return self._map.tangent(h)

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        return Adjoint(self._map.adjoint(w), None)


_KNOWN: WeakKeyDictionary[SolutionMap, FewNumbers] = WeakKeyDictionary()


def by_numbers(map: SolutionMap) -> FewNumbers:
    """A map with few numbers by these; the solves are needed once."""
    if map not in _KNOWN:
        _KNOWN[map] = FewNumbers(map)
    return _KNOWN[map]


def count(map: SolutionMap) -> tuple[int, bool]:
    """How many numbers L has the rows or columns of, where they are few enough to be kept, else 0; whether rows."""
    observed, controlled = (
        space.count if all(factor.numbers for factor in space.factors or (space,)) else MOST + 1
        for space in (map.observation, map.control)
    )
    least, longest = min(observed, controlled), max(map.control.size, map.observation.size)
    few = (
        map.affine
        and not isinstance(map, FewNumbers)
        and least <= MOST
        and not map.control.group.any(least * longest > ENTRIES)
    )
    return (least if few else 0), observed <= controlled
