"""The one interface between equations and algorithms: the map from controls to observations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, Self

import numpy as np

from .arrays import Array
from .counter import Counter
from .field import Field
from .space import Space


class Adjoint(NamedTuple):
    """q = S'(u)* w with the PDE solution behind it and a bound on ||q - S'(u)* w||.

    The bound is 0 for direct solvers, and infinite where an accuracy was asked for, as it would cost too much.
    """

    gradient: Array
    field: Array
    error: float


class Linearisation(ABC):
    """The derivative of a map at one control.

    Notes
    -----
    Law: <tangent(h), w>_Y == <h, adjoint(w)>_U for all h and w, in the inner products of the map's spaces.

    An `accuracy` is that of iterative linear solvers: the factor by which they reduce the residual that they begin
    with, that of `start` where it is given. Without one they go on to 1e-10 of the right-hand side or less. Direct
    solvers need neither.
    """

    @property
    @abstractmethod
    def value(self) -> Array:
        """S(u); computed when first asked for where the map is affine."""

    @property
    @abstractmethod
    def state(self) -> Array:
        """The PDE solution behind the value."""

    @property
    @abstractmethod
    def error(self) -> float:
        """A bound on ||value - S(u)||_Y from the algebraic error, 0 for direct solvers; see `Adjoint`."""

    @abstractmethod
    def tangent(self, h: Array, accuracy: float | None = None) -> Array:
        """S'(u) h."""

    @abstractmethod
    def solve_adjoint(self, w: Array, start: Array | None = None, accuracy: float | None = None) -> Adjoint:
        """S'(u)* w with its PDE solution and error; `start` is an adjoint PDE solution near to it."""

    @abstractmethod
    def hessian(self, h: Array, adjoint: Adjoint, weights: Array, accuracy: float | None = None) -> Array:
        """S'(u)* D S'(u) h + <w, S''(u)[h, .]> with D = diag(weights) and adjoint = solve_adjoint(w)."""

    def adjoint(self, w: Array) -> Array:
        """S'(u)* w."""
        return self.solve_adjoint(w).gradient


class SolutionMap(ABC):
    """u -> y = S(u), from the control space to the observation space.

    Attributes
    ----------
    control, observation, solution : the spaces of u, of what is observed of y, and of y itself.
    affine : whether S(u) = S(0) + L u.
    exact : whether it is the discrete equation's, not an approximation such as a learned map: only then are answers
        called certified. What is computed for other maps are bounds on the distance to *their* optimum.
    solves : the counter.
    fingerprint : a digest of the discretised equation, by which a restart recognises it.
    arithmetic : a phrase on how linear systems are solved, quoted in certificates.

    Notes
    -----
    Law: the linearisation's (see `Linearisation`), and at(u).value == solve(u).
    """

    control: Space
    observation: Space
    solution: Space
    affine: bool
    exact: bool = False
    solves: Counter
    fingerprint: str
    arithmetic: str

    def __repr__(self) -> str:
        kind = "affine" if self.affine else "nonlinear"
        return f"<{type(self).__name__}: {kind}, {self.control.size} controls, {self.observation.size} observed values>"

    @property
    def gain(self) -> float:
        """An upper bound of ||S|| for affine maps, 0 where none is known; by it iterative solvers are made accurate."""
        return 0.0

    @abstractmethod
    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        """The map at the control u (n,).

        `start` is a PDE solution from which nonlinear and iterative solves begin, `accuracy` that of an affine state
        (see `Linearisation`); nonlinear ones are solved to rounding.
        """

    def solve(self, u: Array, start: Array | None = None) -> Array:
        """S(u)."""
        return self.at(u, start).value

    def close(self) -> None:  # noqa: B027
        """Free what linear solvers hold; on several processes all of them do, before the map goes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def field(self, u: Array) -> Field:
        """The PDE solution for the control u."""
        return Field(self.at(u).state, self.solution, "state")


def smooth_start(space: Space) -> Array:
    """A seeded smooth function of the coordinates, or of the numbers of entries without: the same on any partition."""
    if space.factors:
        return np.concatenate([smooth_start(factor) for factor in space.factors])
    generator = np.random.default_rng(20230701)
    if space.points is None:
        number = np.arange(space.size) if space.layout is None else space.layout.keys[0]
        return 1.0 + 0.5 * np.sin(number**2 + 1.0)
    scaled = space.points / space.scale
    waves = generator.uniform(-3.0, 3.0, (6, scaled.shape[0]))
    return 1.0 + np.cos(waves @ scaled + generator.uniform(0, 6, (6, 1))).sum(axis=0) / 3.0


def rough_start(space: Space, share: float) -> Array:
    """Like `smooth_start`, with a share of all frequencies and signs: for eigenvectors that a smooth start may miss."""
    start = smooth_start(space)
    return start + share * np.modf(1e4 * np.sin(1e3 * start))[0]


def lanczos(apply: Callable[[Array], Array], start: Array, space: Space) -> Iterator[tuple[Array, Array]]:
    """Ritz values of a self-adjoint operator, in ascending order, and their residuals, after each application.

    Some eigenvalue is within the residual of each Ritz value: which one, and whether there are others beyond, is not
    known. The last pair comes when the space is exhausted.
    """
    v = start / space.norm(start)
    basis, diagonal, off = [v], list[float](), list[float]()
    for step in range(space.count):
        w = apply(basis[-1])
        diagonal.append(space.inner(w, basis[-1]))
        for b in basis * 2:  # twice is enough to keep the basis orthogonal
            w = w - space.inner(w, b) * b
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
        beta = space.norm(w) if step + 1 < space.count else 0.0
        yield values, beta * np.abs(vectors[-1])
        if beta <= 1e-14 * np.abs(values).max():
            return
        basis.append(w / beta)
        off.append(beta)


def largest_eigenvalue(apply: Callable[[Array], Array], space: Space, steps: int = 24, accuracy: float = 0.01) -> float:
    """The largest eigenvalue of a positive semidefinite operator on a space, to twice the accuracy from below.

    Notes
    -----
    A smooth start finds the leading modes of diffusion in three steps. Where reaction dominates, smooth functions are
    nearly eigenvectors of smaller eigenvalues, so that a small residual tells nothing before the rough part of the
    start has had its say: the Ritz value must have settled as well, which it cannot in one step.
    """
    before = value = 0.0
    for values, residuals in islice(lanczos(apply, rough_start(space, 0.3), space), steps):
        before, value = value, float(values[-1])
        if residuals[-1] <= accuracy * value and value - before <= 0.25 * accuracy * value:
            break
    return value


def smallest_eigenvalue(apply: Callable[[Array], Array], space: Space, steps: int, resolution: float) -> float:
    """A value below the smallest eigenvalue of a self-adjoint operator, by the resolution, or what many steps leave.

    Ritz values approach from above, and may rest within their residual of another eigenvalue for some steps: hence the
    resolution is subtracted whole, when a tenth of it is reached.
    """
    before = value = residual = np.inf
    for values, residuals in islice(lanczos(apply, rough_start(space, 1.0), space), steps):
        before, value, residual = value, float(values[0]), float(residuals[0])
        if max(residual, before - value) <= 0.1 * resolution:
            break
    return value - max(residual, resolution)


def map_norm(linearisation: Linearisation, map: SolutionMap, weights: Array) -> float:
    """||D S'(u)||, estimated from above to two per cent, with D = diag(weights) selecting the tracked components.

    Lanczos iteration on S'* D S', two solves a step, inflated by one per cent.
    """

    def apply(h: Array) -> Array:
        return linearisation.solve_adjoint(weights * linearisation.tangent(h, 1e-3), accuracy=1e-3).gradient

    return 1.01 * float(np.sqrt(max(largest_eigenvalue(apply, map.control), 0.0)))
