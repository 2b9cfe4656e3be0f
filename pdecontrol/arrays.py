"""Arrays of numbers, and data as users give them: numbers, arrays, or functions of space and time."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

Array = NDArray[Any]
Indices = NDArray[Any]
Data = float | Callable[..., Array] | Array  # functions of x, of x and t where there is time
Piecewise = Data | Mapping[str, Data]  # one for each tag of a part of the mesh
LARGEST = 1e150  # of data: squares do not overflow


def real_array(values: Any, name: str) -> Array:
    """An array of floats; raises DataError for complex numbers, objects, text, masks and rows of different lengths."""
    if isinstance(values, np.ma.MaskedArray) and np.any(values.mask):
        raise DataError(f"{name}: expected an array of numbers, got masked entries.")
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(f"{name}: expected an array of numbers, got rows of different lengths.") from None
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected real numbers, got {array.dtype.name} in {type(values).__name__}.")
    return array.astype(float, copy=False)


def joined(parts: list[Array]) -> Array:
    """The entries of all parts in a row; one part is itself."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def transposed(points: Array, dim: int) -> str:
    """What to advise where points have the wrong shape and their transpose would not."""
    if points.ndim == 2 and points.shape[1] == dim:
        return ", a point a row: transpose it (points.T)"
    return ": write points[None]" if points.ndim == 1 == dim else ""


def call(function: Callable[[Array], Any], points: Array, scale: float, name: str) -> Any:
    """What a function of space returns at the columns of points; for the parameters and errors see `sample`.

    The points are rounded to twelve decimals of `scale`, so that data with jumps are the same however the points were
    computed. Decimals keep the numbers at which users put their jumps, and no point leaves an interval between such.
    """
    decimals = 12 - math.floor(math.log10(scale))
    try:
        return function(np.round(points, decimals))
    except Exception as error:
        raise DataError(
            f"{name}: the function failed on x of shape {points.shape}: {type(error).__name__}: {error}. "
            "Functions of space take x of shape (dim, n) and return n values."
        ) from error


def sample(data: Data, points: Array, scale: float, name: str, infinite: bool = False) -> Array:
    """Values data(x) at the columns x of points, checked.

    Parameters
    ----------
    data : a number, an array (n,), or a function of x with shape (dim, n) that returns (n,) or a number.
    points : shape (dim, n), rounded to about 1e-12 of `scale` before a function sees them.
    scale : a length, the diameter of the domain.
    name : what the data are, for the message.
    infinite : whether infinite values are allowed, as in bounds.

    Raises
    ------
    DataError
        If the values have the wrong shape, are NaN, or are infinite or too large to be squared where they must not be.
    """
    count = points.shape[1]
    if callable(data) and not count:
        return np.zeros(0)  # a process that owns nothing there
    if callable(data):
        data = call(data, points, scale, name)
    try:
        values = real_array(data, name).copy()
    except DataError:
        kind = f" of {data.dtype.name} values" if isinstance(data, np.ndarray) else ""
        raise DataError(f"{name}: expected a number or {count} real values, got {type(data).__name__}{kind}.") from None
    if values.ndim == 0:
        values = np.full(count, float(values))
    if values.shape != (count,):
        raise DataError(
            f"{name}: expected shape ({count},), one value a point, got {values.shape}. "
            "Functions of space take x of shape (dim, n) and return n values."
        )
    if np.abs(values).max(initial=0.0) <= LARGEST:  # and none is NaN
        return values
    bad = np.isnan(values) if infinite else ~np.isfinite(values)
    if bad.any():
        where = points[:, np.argmax(bad)].round(6).tolist() if points.size else int(np.argmax(bad))
        raise DataError(f"{name}: {bad.sum()} of {count} values are NaN or infinite, the first at x = {where}.")
    if not infinite:
        raise DataError(f"{name} reaches {np.abs(values).max():.1e}, where squares overflow: choose other units.")
    return values


def takes_time(function: Callable[..., Any]) -> bool:
    """Whether a function is one of x and t: two positional parameters without defaults, where others have one.

    Fields say it themselves.
    """
    if hasattr(function, "takes_time"):
        return bool(function.takes_time)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions of C have none
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(item.kind in kinds and item.default is item.empty for item in parameters) == 2


def at_time(data: Any, t: float | None, name: str) -> Any:
    """Data at a time: a function of x and t as one of x, others as they are; raises DataError without a time."""
    if isinstance(data, Mapping):
        return {tag: at_time(item, t, f"{name} on {tag!r}") for tag, item in data.items()}
    if not (callable(data) and takes_time(data)):
        return data
    if t is None:
        raise DataError(f"{name} is a function of x and t, but there is no time: the equation is a steady one.")
    function = undivided(data)
    return lambda x: function(x, t)


def undivided(data: Any) -> Any:
    """Data as they are, but for a function divided among processes: that is made whole on each of them."""
    return data.undivided() if hasattr(data, "undivided") else data


def on_sides(data: Any, members: Mapping[str, Indices]) -> Any:
    """Data as they are, but for a function with two values on interfaces: that has, at points of which `members` has
    those in each part, the values on the side of that part.
    """
    return data.on_sides(members) if hasattr(data, "on_sides") else data
