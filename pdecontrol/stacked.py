"""u -> (S(u), K u): a map with a linear image of the control beside its observation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from .arrays import Array
from .errors import DataError
from .maps import Adjoint, Linearisation, SolutionMap
from .space import Space, product

EPS = float(np.finfo(float).eps)


class Stacked(SolutionMap):
    """u -> (S(u), K u), by which terms H(K u) are functionals of what is observed, like those of the state.

    Parameters
    ----------
    map : S.
    matrix : K, from the entries of the control to those of `image`.
    image : the space of K u.

    Examples
    --------
    >>> import pdecontrol as pc, numpy as np, scipy.sparse as sp
    >>> problem = pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)])
    >>> map = pc.discretise(problem, pc.unit_interval(2))
    >>> difference = sp.csr_matrix([[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0]])
    >>> stacked = Stacked(map, difference, pc.Space(np.ones(2)))
    >>> stacked.solve(np.array([1.0, 2.0, 4.0]))[-2:].tolist()
    [1.0, 2.0]
    """

    def __init__(self, map: SolutionMap, matrix: sp.spmatrix, image: Space) -> None:
        self.map, self.matrix, self.image = map, sp.csr_matrix(matrix), image
        if self.matrix.shape != (image.size, map.control.size):
            raise DataError(f"Stacked: expected K of shape {(image.size, map.control.size)}, got {self.matrix.shape}.")
        self.control, self.solution, self.solves = map.control, map.solution, map.solves
        self.observation = product([*(map.observation.factors or (map.observation,)), image])
        self.affine, self.twice, self.exact = map.affine, map.twice, map.exact
        self.arithmetic, self.memory = map.arithmetic, map.memory
        # Sums of so many terms err by EPS of their sizes for each of them.
        widths = (np.diff(side.indptr).max(initial=0) for side in (self.matrix, self.matrix.tocsc()))
        self.rounding = EPS * (2 + max(map.control.group.collect(int(max(widths)))))
        probes = (np.sin(k * (1.0 + np.arange(map.control.size))) for k in range(1, 4))
        self.fingerprint = map.fingerprint + "".join(image.digest(image.dual(self.matrix @ probe)) for probe in probes)

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        return StackedLinearisation(self, u, self.map.at(u, start, accuracy))

    def close(self) -> None:
        self.map.close()


class StackedLinearisation(Linearisation):
    """(S, K) at u, from S there."""

    def __init__(self, stacked: Stacked, u: Array, at: Linearisation) -> None:
        self._stacked, self._u, self._at = stacked, u, at

    @property
    def value(self) -> Array:
        return np.concatenate([self._at.value, self._stacked.matrix @ self._u])

    @property
    def error(self) -> float | None:
        if self._at.error is None:
            return None
        sizes = abs(self._stacked.matrix) @ np.abs(self._u)
        return float(np.hypot(self._at.error, self._stacked.rounding * self._stacked.image.norm(sizes)))

    @property
    def state(self) -> Array | None:
        return self._at.state

    @property
    def warm(self) -> Array | None:
        return self._at.warm

    def tangent(self, h: Array) -> Array:
        return np.concatenate([self._at.tangent(h), self._stacked.matrix @ h])

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        stacked = self._stacked
        observed, v = self._split(w)
        adjoint = self._at.solve_adjoint(observed, start)
        error = adjoint.error
        if error is not None:
            sizes = stacked.control.riesz(abs(stacked.matrix).T @ np.abs(stacked.image.dual(v)))
            error += stacked.rounding * stacked.control.norm(sizes)
        return Adjoint(adjoint.gradient + self._image(v), error, adjoint.state)

    def full_state(self) -> Array:
        return self._at.full_state()

    def full_adjoint(self, w: Array) -> Array | None:
        return self._at.full_adjoint(self._split(w)[0])

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        image = self._stacked.matrix @ h
        parts: list[Array] = []

        def observed(eta: Array) -> Array:
            parts[:] = self._split(outer(np.concatenate([eta, image])))
            return parts[0]

        return self._at.second(h, self._split(w)[0], adjoint, observed) + self._image(parts[1])

    def _split(self, w: Array) -> list[Array]:
        return np.split(w, [w.size - self._stacked.image.size])

    def _image(self, v: Array) -> Array:
        """K* v."""
        return self._stacked.control.riesz(self._stacked.matrix.T @ self._stacked.image.dual(v))
