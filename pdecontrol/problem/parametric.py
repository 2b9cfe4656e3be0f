"""Problems that depend on parameters, as data."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import ProblemError
from .problem import ControlProblem
from .shape import check_numbers
from .stated import Stated


class Parametric(Stated):
    """The control problems make(mu) for all parameters mu in a box.

    Parameters
    ----------
    make : a function of named parameters, which returns the problem.
    ranges : the lower and the upper end of each parameter, by its name.

    Raises
    ------
    ProblemError
        For ranges that are none, or names that the function does not take.

    Examples
    --------
    >>> from pdecontrol import interface_reference
    >>> family = Parametric(lambda radius: interface_reference.circle(radius=radius).problem, radius=(0.3, 0.7))
    >>> family.at(radius=0.4).interface["gamma"].shape
    Circle(radius=0.4)
    """

    def __init__(self, make: Callable[..., ControlProblem], /, **ranges: tuple[float, float]) -> None:
        if not callable(make):
            raise ProblemError(f"Parametric takes a function that returns a problem, got {reprlib.repr(make)}.")
        for name, ends in ranges.items():
            check_numbers(ends, f"the range of {name!r}", 2)
            if not ends[0] < ends[1]:
                raise ProblemError(f"the range of {name!r} must be (low, high) with low < high, got {ends!r}.")
        if not ranges:
            raise ProblemError("Parametric takes a range for each parameter of the function, got none.")
        try:
            inspect.signature(make).bind(**dict.fromkeys(ranges, 0.0))
        except TypeError as error:
            raise ProblemError(
                f"the function of Parametric does not take the parameters {list(ranges)}: {error}."
            ) from error
        self.make, self.ranges = make, dict(ranges)

    def __repr__(self) -> str:
        ends = ", ".join(f"{name}=({low:g}, {high:g})" for name, (low, high) in self.ranges.items())
        return f"Parametric({ends})"

    def at(self, **parameters: float) -> ControlProblem:
        """The problem for parameters in their ranges; raises ProblemError for others."""
        self.scaled(parameters)
        problem: Any = self.make(**parameters)
        if not isinstance(problem, ControlProblem):
            raise ProblemError(f"the function of Parametric must return a ControlProblem, got {reprlib.repr(problem)}.")
        return problem

    def scaled(self, parameters: Mapping[str, float]) -> Array:
        """Parameters (k,) in units in which their ranges are from -1 to 1, logarithmic where these are positive.

        Raises ProblemError for parameters that are not in the box.
        """
        if set(parameters) != set(self.ranges):
            raise ProblemError(f"the parameters are {list(self.ranges)}, got {list(parameters)}.")
        for name, (low, high) in self.ranges.items():
            check_numbers([parameters[name]], f"the parameter {name!r}", 1)
            if not low <= parameters[name] <= high:
                raise ProblemError(f"{name} = {parameters[name]:g} is not in its range from {low:g} to {high:g}.")
        values = np.array([_measured(parameters[name], ends) for name, ends in self.ranges.items()])
        low, high = self._ends
        return np.asarray((2 * values - low - high) / (high - low))

    def unscaled(self, scaled: Array) -> dict[str, float]:
        """Parameters by name from those (k,) between -1 and 1."""
        low, high = self._ends
        values = (low + high + (high - low) * scaled) / 2
        return {
            name: float(np.clip(np.exp(value) if ends[0] > 0 else value, *ends))
            for (name, ends), value in zip(self.ranges.items(), values, strict=True)
        }

    @property
    def spread(self) -> Array:
        """By how much (k,) functions of scaled parameters vary, at most 1: for positive ones log(high/low)/2."""
        low, high = self._ends
        positive = [ends[0] > 0 for ends in self.ranges.values()]
        return np.where(positive, np.minimum((high - low) / 2, 1.0), 1.0)

    @property
    def _ends(self) -> Array:
        return np.array([[_measured(end, ends) for end in ends] for ends in self.ranges.values()]).T


def _measured(value: float, ends: tuple[float, float]) -> float:
    """A parameter, or its logarithm where the range is positive."""
    return float(np.log(value)) if ends[0] > 0 else value
