"""Terms of an equation that are functions of the state, as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..arrays import Array, Piecewise, real_array
from ..errors import ProblemError
from .stated import Stated


@dataclass(frozen=True, eq=False, repr=False)
class FunctionOfState(Stated, ABC):
    """A term given by a function of y and its derivative, which are compared when it is stated."""

    function: Callable[[Array], Any]
    derivative: Callable[[Array], Any]

    @staticmethod
    @abstractmethod
    def arranged(values: Any, count: int) -> Array | None:
        """What one of them returned for `count` values of y, as an array (.., count); None where that has no sense."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not all(map(callable, (self.function, self.derivative))):
            raise ProblemError(f"{name} takes two functions of y: the term and its derivative.")
        y, step = np.linspace(-1.07, 1.13, 9), 1e-5
        above, below = self.values("function", y + step), self.values("function", y - step)
        derivative = self.values("derivative", y)
        for which, values in (("function", above), ("function", below), ("derivative", derivative)):
            if not np.isfinite(values).any():
                raise ProblemError(f"{name}: the {which} is NaN or infinite at all y between -1 and 1.")
        if above.shape != derivative.shape:
            raise ProblemError(f"{name}: the function has {len(above)} components, its derivative {len(derivative)}.")
        with np.errstate(all="ignore"):
            difference = (above - below) / (2 * step)
            error = np.abs(difference - derivative)
            wrong = error > 1e-4 * np.maximum(1.0, np.abs(difference))  # False where either is not finite
        for component in np.atleast_2d(wrong):
            if component.sum() > 1:  # a single kink may fall on a difference
                place = np.unravel_index(np.argmax(np.where(wrong, error, 0.0)), wrong.shape)
                raise ProblemError(
                    f"{name}: the derivative given is not that of the function: at y = {y[place[-1]]:.3g} it is "
                    f"{derivative[place]:.6g}, a difference quotient gives {difference[place]:.6g}."
                )

    def values(self, which: Literal["function", "derivative"], y: Array) -> Array:
        """Values (.., n) of the function or the derivative for values (n,) of y; raises ProblemError if it fails."""
        name = type(self).__name__
        try:
            with np.errstate(all="ignore"):  # Newton's method backtracks where values overflow
                returned = getattr(self, which)(y)
                values = self.arranged(returned, y.size)
        except Exception as error:
            raise ProblemError(
                f"{name}: the {which} failed on an array of {y.size} values of y: {type(error).__name__}: {error}"
            ) from error
        if values is None:
            several = isinstance(returned, (list, tuple))
            shape = " and ".join(str(np.shape(part)) for part in (returned if several else [returned]))
            raise ProblemError(
                f"{name}: the {which} must return one value for each value of y, it returned the shape {shape} for "
                f"{y.shape}."
            )
        return values


@dataclass(frozen=True, eq=False, repr=False)
class Semilinear(FunctionOfState):
    """The term c r(y) on the left of the equation, given by r and its derivative r'.

    Parameters
    ----------
    function, derivative : r and r', applied to arrays of values of y and returning arrays of the same shape.
    coefficient : c, a number, a function of x, or one of them for each tag.

    Examples
    --------
    >>> cubic = Semilinear(lambda y: y**3, lambda y: 3 * y**2)
    """

    coefficient: Piecewise = 1.0

    @staticmethod
    def arranged(values: Any, count: int) -> Array | None:
        return _numbers(values, count)


@dataclass(frozen=True, eq=False, repr=False)
class Convection(FunctionOfState):
    """The term b(y) . grad y on the left of the equation, given by b and its derivative b'.

    It is not stabilised, and where it dominates the diffusion is not known before the state is: where the cell Peclet
    number ``|b(y)| h / (2 kappa)`` exceeds 1 (see `Elliptic`), states may oscillate.

    Parameters
    ----------
    function, derivative : b and b', applied to arrays (n,) of values of y and returning dim components, each a number
        or an array (n,); in one dimension one without a list around it will do.

    Examples
    --------
    >>> carried = Convection(lambda y: (y, y**2 / 2), lambda y: (1.0, y))
    """

    @staticmethod
    def arranged(values: Any, count: int) -> Array | None:
        rows = values if isinstance(values, (list, tuple)) or np.ndim(values) == 2 else [values]
        parts = [_numbers(row, count) for row in rows]
        return None if any(part is None for part in parts) else np.array(parts)


@dataclass(frozen=True, eq=False, repr=False)
class Quasilinear(FunctionOfState):
    """The diffusion k kappa(y), given by kappa > 0 and its derivative kappa'.

    Where a state makes kappa negative or zero a `StateError` says so; Newton's method shortens steps that would.

    Parameters
    ----------
    function, derivative : kappa and kappa', applied to arrays of values of y and returning arrays of the same shape.
    coefficient : k > 0, a number, a function of x, or one of them for each tag of a part of the mesh.

    Examples
    --------
    >>> conductivity = Quasilinear(lambda y: 0.05 + y**2, lambda y: 2 * y)
    """

    coefficient: Piecewise = 1.0

    @staticmethod
    def arranged(values: Any, count: int) -> Array | None:
        return _numbers(values, count)


def _numbers(values: Any, count: int) -> Array | None:
    """The values (count,) that a number or an array of so many gives; None for other shapes."""
    array = real_array(values, "values")
    return np.broadcast_to(array, (count,)) if array.shape in ((), (1,), (count,)) else None
