"""The one interface between equations and algorithms: the map from controls to observations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from .arrays import Array
from .counter import Counter
from .errors import ProblemError
from .field import Field
from .linear.cg import conjugate_gradients
from .space import Space
from .spectrum import largest_eigenvalue


class Adjoint(NamedTuple):
    """q = S'(u)* w with a bound on ||q - S'(u)* w||, and the PDE solution behind it.

    The bound is None where it is not known, as computing it would cost too much. Maps that have an adjoint equation
    give its solution, from which a solve for another w may begin; where w is a linear combination, so is that start.
    """

    gradient: Array
    error: float | None = 0.0
    state: Array | None = None


class Linearisation(ABC):
    """A map at one control: the value S(u), the derivative S'(u) and its adjoint.

    Attributes
    ----------
    value : S(u); computed when first asked for where the map is affine.
    error : a bound on ||value - S(u)||_Y, None where it is not known; see `Adjoint`.
    state : the PDE solution behind the value, a vector of the map's space `solution`, or None where memory is limited:
        then `full_state` computes it again, and `full_adjoint` the one behind an adjoint.
    warm : from what the solve for a control near to this one may begin, a vector of `solution`, or None.

    Notes
    -----
    Law: <tangent(h), w>_Y == <h, adjoint(w)>_U for all h and w, in the inner products of the map's spaces.
    """

    @property
    @abstractmethod
    def value(self) -> Array: ...

    @property
    def error(self) -> float | None:
        return 0.0

    @property
    def state(self) -> Array | None:
        return self.value

    @property
    def warm(self) -> Array | None:
        return None

    @abstractmethod
    def tangent(self, h: Array) -> Array:
        """S'(u) h."""

    @abstractmethod
    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        """S'(u)* w with its error and PDE solution; `start` is the PDE solution for another w near to it."""

    def second(self, h: Array, w: Array, adjoint: Adjoint, outer: Callable[[Array], Array]) -> Array:
        """S'(u)* outer(S'(u) h) + <w, S''(u)[h, .]> with adjoint = solve_adjoint(w), for maps that are `twice`.

        With outer = F''(S(u)) and w = F'(S(u)) it is the Hessian of F o S applied to h, which takes two solves.
        """
        raise ProblemError(f"{type(self).__name__} has no second derivatives: define second, or leave twice = False.")

    def adjoint(self, w: Array) -> Array:
        """S'(u)* w."""
        return self.solve_adjoint(w).gradient

    def tangents(self, h: Array) -> Array:
        """S'(u) h for each row of h (k, n), which maps may solve for at once."""
        return np.stack([self.tangent(row) for row in h])

    def adjoints(self, w: Array) -> Array:
        """S'(u)* w for each row of w (k, n)."""
        return np.stack([self.adjoint(row) for row in w])

    def full_state(self) -> Array:
        """The PDE solution behind the value."""
        assert self.state is not None
        return self.state

    def full_adjoint(self, w: Array) -> Array | None:
        """The PDE solution behind S'(u)* w, None where there is no adjoint equation."""
        return self.solve_adjoint(w).state


class SolutionMap(ABC):
    """u -> y = S(u), from the control space to the observation space.

    Attributes
    ----------
    control, observation, solution : the spaces of u, of what is observed of y, and of y itself, the observation where
        there is no more. That of the control has a diagonal mass.
    adjoints : the space of the PDE solutions behind adjoints; that of states, but for the times where these differ.
    affine : whether S(u) = S(0) + L u.
    twice : whether linearisations have second derivatives; methods that need them say so.
    exact : whether it is the discrete equation's, not an approximation such as a learned map: only then are answers
        called certified. What is computed for other maps are bounds on the distance to *their* optimum.
    solves : the counter.
    fingerprint : a digest of the discretised equation, by which a restart recognises it.
    arithmetic : a phrase on the errors that are left, quoted in certificates.
    memory : a phrase on what is kept of PDE solutions, quoted in results; empty where nothing limits it.
    norm_bound : an upper bound of ||S|| for affine maps, 0 where none is known: by it iterative solvers are made
        accurate.

    Notes
    -----
    Law: the linearisation's (see `Linearisation`), and at(u).value == solve(u).
    """

    control: Space
    observation: Space
    affine: bool
    twice: bool = False
    exact: bool = False
    fingerprint: str
    arithmetic: str = "rounding and other errors of the map neglected"
    memory: str = ""

    def __repr__(self) -> str:
        kind = "affine" if self.affine else "nonlinear"
        return f"<{type(self).__name__}: {kind}, {self.control.size} controls, {self.observation.size} observed values>"

    @cached_property
    def solution(self) -> Space:
        return self.observation

    @cached_property
    def adjoints(self) -> Space:
        return self.solution

    @cached_property
    def solves(self) -> Counter:
        return Counter()

    @property
    def norm_bound(self) -> float:
        return 0.0

    @abstractmethod
    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        """The map at the control u (n,).

        `start` is what the linearisation at another control has as `warm`. `accuracy` is that of iterative linear
        solvers in all that the linearisation computes: the factor by which they reduce the residual that they begin
        with. Without one they go on to 1e-13 of the right-hand side or to rounding, and errors are known. States of
        nonlinear equations are solved to rounding.
        """

    def solve(self, u: Array, start: Array | None = None) -> Array:
        """S(u)."""
        return self.at(u, start).value

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
        """d and L* d with (I + P L D L*) d = r, L = S'(u): a Newton step on the dual of an affine problem.

        By conjugate gradients, two solves a step; maps that know their equation may do better.

        Parameters
        ----------
        at : the map where its derivative is L, as accurate as products with L need to be.
        r : a vector of the observation space, in the range of P.
        weights : D, pointwise.
        second : P, a projection.
        forcing, max_cg : the relative residual at which conjugate gradients stop, and after how many steps; 0 where the
            last system was better solved otherwise.
        norm : ||P L||, or an estimate of it; without it there are no more than these steps, whatever is left.

        Returns
        -------
        d, and L* d without a bound on its error, good enough for a line search.
        """
        return self.by_gradients(at, r, weights, second, forcing, max_cg)[0]

    def by_gradients(
        self, at: Linearisation, r: Array, weights: Callable[[Array], Array], second: Callable[[Array], Array],
        forcing: float, limit: int,
    ) -> tuple[tuple[Array, Adjoint], bool]:  # fmt: skip
        """The solution of a Newton system by so many steps of conjugate gradients, and whether these were enough."""

        def operator(d: Array) -> tuple[Array, Array]:
            image, _, field = at.solve_adjoint(d)
            return d + second(at.tangent(weights(image))), image if field is None else np.concatenate([image, field])

        d, images, enough = conjugate_gradients(operator, r, self.observation.inner, forcing, limit)
        image, field = np.split(images, [self.control.size])
        return (d, Adjoint(image, None, field if field.size else None)), enough

    def close(self) -> None:  # noqa: B027
        """Free what linear solvers hold; on several processes all of them do, before the map goes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def field(self, u: Array) -> Field:
        """The PDE solution for the control u."""
        return Field(self.at(u).full_state(), self.solution, "state")


def map_norm(map: SolutionMap, at: Linearisation, free: Callable[[Array], Array]) -> float:
    """||P S'(u)||, estimated from above to two per cent, with the projection P = free onto some of what is observed.

    Lanczos iteration on S'* P S', two solves a step, inflated by one per cent.
    """
    at = map.at(map.control.zeros(), accuracy=1e-3) if map.affine else at

    def apply(h: Array) -> Array:
        return at.adjoint(free(at.tangent(h)))

    return 1.01 * float(np.sqrt(max(largest_eigenvalue(apply, map.control), 0.0)))
