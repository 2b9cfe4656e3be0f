"""Terms of the objective, as data: of the state and of the control."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ..arrays import Array, Data, Piecewise, real_array
from ..errors import DataError, ProblemError
from .stated import Stated, check_number, check_tag

Times = str | float | tuple[float, float]


def _check_times(times: Any, name: str) -> None:
    """Raise ProblemError unless times are "all", "final", a time, or an interval of them."""
    if isinstance(times, str) and times in ("all", "final"):
        return
    ends = times if isinstance(times, tuple) else (times,)
    known = all(isinstance(end, Real) and math.isfinite(end) for end in ends)
    if not known or len(ends) > 2 or (isinstance(times, tuple) and not ends[0] < ends[-1]):
        raise ProblemError(f"{name}: times are 'all', 'final', a time, or an interval (a, b), got {times!r}.")


@dataclass(frozen=True, eq=False, repr=False)
class Tracking(Stated):
    """weight/2 ||y - target||^2 on the domain, on a part or a boundary (`on`), or at points.

    Of parabolic equations it is the integral of that over time, or its value at a time.

    Parameters
    ----------
    target : y_d, a number or a function of x (interpolated in the state space), one of them for the tag of each part,
        or an array: of values at `points`, or at the nodes of the domain, part or boundary, those of degree 1 in the
        order of the points of the mesh.
    on : tag of a part (L2 norm over it) or of a boundary (L2 norm along it); None is the whole domain.
    points : shape (dim, k): the sum of squares over these points instead of an L2 norm.
    weight : a positive number.
    times : of parabolic equations: "all", from the initial time on; "final"; a time among those of the equation; or an
        interval (a, b). Where there are several, targets are functions of x, or of (x, t), or arrays with a row for
        each time.

    Examples
    --------
    >>> tracking = [Tracking(1.0, on="core"), Tracking([0.9, 1.1], points=np.array([[0.2, 0.8], [0.5, 0.5]]))]
    >>> at_the_end = Tracking(lambda x: x[0], times="final")
    """

    target: Piecewise
    on: str | None = None
    points: Array | None = None
    weight: float = 1.0
    times: Times = "all"

    def __post_init__(self) -> None:
        _check_times(self.times, "Tracking")
        object.__setattr__(self, "weight", check_number(self.weight, "the weight of Tracking", positive=True))
        check_tag(self.on, "Tracking")
        if self.points is not None:
            if self.on is not None:
                raise ProblemError("Tracking takes a tag (on=) or points, not both.")
            try:
                points = real_array(self.points, "Tracking").copy()
            except DataError as error:
                raise ProblemError(f"Tracking: points must be real numbers in an array (dim, k) ({error})") from None
            if points.ndim != 2 or points.shape[1] == 0 or not np.isfinite(points).all():
                raise ProblemError(f"Tracking: points must be finite and of shape (dim, k), got {points.shape}.")
            object.__setattr__(self, "points", points)


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Stated):
    """The linear functional int weight y of the state, over the domain, a part or a boundary (`on`).

    Of parabolic equations it is an integral over time too, or taken at a time; see `Tracking`.

    Examples
    --------
    >>> outflow = Linear(-12.0, on="boundary")
    """

    weight: Data
    on: str | None = None
    times: Times = "all"

    def __post_init__(self) -> None:
        check_tag(self.on, "Linear")
        _check_times(self.times, "Linear")


@dataclass(frozen=True, eq=False, repr=False)
class Tikhonov(Stated):
    """alpha/2 ||u - reference||^2.

    Examples
    --------
    >>> terms = [Tikhonov(1e-4, reference=lambda x: x[0])]
    """

    alpha: float
    reference: Data = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check_number(self.alpha, "the Tikhonov weight alpha"))


@dataclass(frozen=True, eq=False, repr=False)
class L1(Stated):
    """beta ||u||_L1, which makes the control exactly zero on a set.

    Examples
    --------
    >>> terms = [Tikhonov(1e-5), L1(1e-3)]
    """

    beta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", check_number(self.beta, "the L1 weight beta"))


@dataclass(frozen=True, eq=False, repr=False)
class Box(Stated):
    """lower <= u <= upper: numbers, functions of x, or arrays, which are whole vectors of the control space.

    In time, functions of (x, t) too, or of t alone with a value for each of `Actuators`, or one for all.

    Examples
    --------
    >>> terms = [Tikhonov(1e-4), Box(lower=0.0, upper=lambda x: 1 + x[0])]
    """

    lower: Data = -np.inf
    upper: Data = np.inf

    def __post_init__(self) -> None:
        for name, bound in (("lower", self.lower), ("upper", self.upper)):
            if isinstance(bound, Real) and math.isnan(bound):
                raise ProblemError(f"Box: the {name} bound is NaN.")
        if isinstance(self.lower, Real) and isinstance(self.upper, Real) and self.lower > self.upper:
            raise ProblemError(f"Box: the lower bound {self.lower} is above the upper bound {self.upper}.")


Term = Linear | Tikhonov | L1 | Box
