"""What shapes of inclusions have in common."""

from __future__ import annotations

import math
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array
from ..errors import ProblemError
from .stated import Stated

Box = Sequence[tuple[float, float]]
TINY = 1e-300  # a divisor where a gradient vanishes


class Shape(Stated, ABC):
    """{x : level(x) < 0}, a bounded region with the boundary Gamma, where the level vanishes."""

    dims: ClassVar[tuple[int, ...]] = (2,)  # of the spaces in which it lies
    entire: ClassVar[bool] = False  # whether its level is smooth everywhere inside

    @abstractmethod
    def level(self, x: Array) -> Array:
        """Values (n,), negative inside and positive outside; smooth near Gamma."""

    @abstractmethod
    def gradient(self, x: Array) -> Array:
        """The gradient (dim, n) of the level."""

    @abstractmethod
    def project(self, x: Array) -> Array:
        """Points (dim, n) on Gamma: the nearest ones, or those that Newton's method along the gradient finds."""

    @abstractmethod
    def curves(self, size: float, turn: float, box: Box) -> list[Array]:
        """Points on Gamma, one array (2, n) for each closed curve of it, anticlockwise, the end not repeated.

        Parameters
        ----------
        size : the largest distance between neighbours.
        turn : the largest angle, in radians, by which the curve may turn between neighbours.
        box : the lower and the upper end of each axis, between which a level set is looked for.
        """

    def contains(self, x: Array) -> Array:
        """Whether points are inside, booleans (n,)."""
        return self.level(x) < 0

    def normal(self, x: Array) -> Array:
        """The unit normal (dim, n), from inside to outside."""
        gradient = self.gradient(x)
        lengths = np.linalg.norm(gradient, axis=0)
        upwards = np.eye(len(gradient))[:, :1]  # a direction where there is none, as in the centre of a circle
        return np.where(lengths > 0, gradient / np.maximum(lengths, TINY), upwards)

    def distance(self, x: Array) -> Array:
        """The distances (n,) to the projections on Gamma."""
        return np.asarray(np.linalg.norm(x - self.project(x), axis=0))


def newton(shape: Shape, x: Array, otherwise: Callable[[Array], Array] | None) -> Array:
    """Roots of the level from x on along its gradient; where they are not found, `otherwise` says where to."""
    x = np.array(x, dtype=float)
    found, active = x.copy(), np.arange(x.shape[1])
    done = np.zeros(x.shape[1], dtype=bool)
    level = shape.level(x)
    for _ in range(100):
        here, gradient = found[:, active], shape.gradient(found[:, active])
        step = -level[active] * gradient / np.maximum((gradient**2).sum(axis=0), TINY)
        slope = np.linalg.norm(gradient, axis=0) * (1e-3 + np.linalg.norm(here, axis=0))
        near = np.abs(level[active]) <= 1e-15 * slope
        # where rounding lets the level fall no more, that is a root; elsewhere steps are halved until it falls
        waiting, factor = np.flatnonzero(~near), 1.0
        while waiting.size and factor > 1e-6:
            trial = here[:, waiting] + factor * step[:, waiting]
            values = shape.level(trial)
            falls = np.abs(values) < np.abs(level[active[waiting]])
            found[:, active[waiting[falls]]], level[active[waiting[falls]]] = trial[:, falls], values[falls]
            waiting, factor = waiting[~falls], factor / 2
        stuck = np.zeros(active.size, dtype=bool)
        stuck[waiting] = True
        done[active] = np.abs(level[active]) <= 1e-12 * slope
        active = active[~(near | stuck)]
        if not active.size:
            break
    if not done.all():
        if otherwise is None:
            place = x[:, np.argmin(done)].round(6).tolist()
            raise ProblemError(
                f"The level set cannot be projected from x = {place} on: along its gradient it has no zero, or "
                "the gradient is wrong."
            )
        found[:, ~done] = otherwise(x[:, ~done])
    return found


def direction(angle: Array) -> Array:
    """Unit vectors (2, n) of angles."""
    return np.array([np.cos(angle), np.sin(angle)])


def turned(angle: float) -> Array:
    """The matrix that turns by an angle."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def column(values: Sequence[float]) -> Array:
    """A vector as an array (dim, 1)."""
    return np.asarray(values, dtype=float)[:, None]


def check_numbers(values: Any, name: str, count: int) -> None:
    """Raise ProblemError unless these are so many finite numbers."""
    listed = list(values) if isinstance(values, (Sequence, np.ndarray)) else []
    if len(listed) != count or not all(map(_is_finite, listed)):
        plural = "a finite number" if count == 1 else f"{count} finite numbers"
        raise ProblemError(f"{name} must be {plural}, got {reprlib.repr(values if count > 1 else values[0])}.")


def _is_finite(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
