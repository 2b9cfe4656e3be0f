"""What the pieces of a problem have in common: data on one line, numbers and tags that are checked."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import fields
from numbers import Real
from typing import Any, cast

import numpy as np

from ..arrays import LARGEST, Array
from ..errors import ProblemError


class _Brief(reprlib.Repr):
    """Short descriptions: arrays by their shape, functions by their name."""

    def __init__(self) -> None:
        super().__init__()
        self.maxother = self.maxstring = 120

    def repr_ndarray(self, array: Array, level: int) -> str:
        return f"<array {array.shape}>"

    def repr_function(self, function: Callable[..., Any], level: int) -> str:
        return f"<{function.__name__.strip('<>')}>"


class Stated:
    """A piece of a problem, a dataclass, which prints on a line what differs from the defaults."""

    def __repr__(self) -> str:
        brief, shown = _Brief(), []
        for item in fields(cast(Any, self)):
            value = getattr(self, item.name)
            if value is not item.default:
                shown.append(f"{item.name}={brief.repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


def check_number(value: object, name: str, positive: bool = False) -> float:
    """The value as a float; raises ProblemError unless it is a finite number that is not negative (or is positive)."""
    number: Any = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    try:
        known = not isinstance(number, bool) and isinstance(number, Real) and math.isfinite(number)
    except OverflowError:  # an integer of hundreds of digits
        known = False
    if not known:
        raise ProblemError(f"{name} must be a finite number, got {reprlib.repr(value)}.")
    number = float(number)
    if number < 0 or (positive and number == 0):
        raise ProblemError(f"{name} must be {'positive' if positive else 'at least zero'}, got {value}.")
    if number > LARGEST:
        raise ProblemError(f"{name} is {number:.1e}, where squares overflow: choose other units.")
    return number


def check_tag(value: object, name: str, optional: bool = True) -> None:
    """Raise ProblemError for what is no tag."""
    if not isinstance(value, str) and not (optional and value is None):
        raise ProblemError(f"{name}: `on` is the tag of a part or boundary of the mesh, a string, got {value!r}.")
