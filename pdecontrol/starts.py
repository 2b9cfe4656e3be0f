"""Controls and results as users have them, as vectors of the spaces of a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrays import Array, Data, real_array, undivided
from .errors import DataError
from .field import Field
from .maps import SolutionMap
from .result import Result
from .solvers.method import Start
from .space import Space
from .terms import Objective

StartData = Data | Field | Result | None


def start_on(map: SolutionMap, objective: Objective, start: StartData) -> Start:
    """Zero moved into the box, with a cold dual; or the control given, with the dual vector of a Result if it fits."""
    if start is None:
        zero = np.clip(map.control.zeros(), objective.control.lower, objective.control.upper)
        return Start(zero, cold=True)
    if isinstance(start, Result):
        u = control_on(map, start.control, "start")
        if start.dual is not None and start.dual.space.count == map.observation.count:
            return Start(u, objective.state.nearest(dual_on(map, start.dual)), weight=start.weight)
        return Start(u)
    return Start(control_on(map, start, "start"))


def dual_on(map: SolutionMap, data: Array | Field | Result) -> Array:
    """A dual vector, which may be that of a Result, as one of the observation space of a map."""
    space, given = map.observation, data.dual if isinstance(data, Result) else data
    if isinstance(given, Field) and given.space is space:
        return given.array
    count = space.count
    with space.group.agree():
        if not isinstance(given, (Field, np.ndarray, Sequence)):
            kind = "a Result without one" if isinstance(data, Result) else type(data).__name__
            raise DataError(f"dual: expected {count} numbers, a field of what is observed, or a Result, got {kind}.")
    whole = undivided(given).gather().array if isinstance(given, Field) else given
    with space.group.agree():
        if space.group.root:
            whole = real_array(whole, "dual")
            if whole.shape != (count,) or not np.isfinite(whole).all():
                raise DataError(f"dual: expected {count} finite numbers, got an array of shape {whole.shape}.")
    return space.scatter(whole)


def control_on(map: SolutionMap, data: Data | Field, name: str) -> Array:
    """A control, in whatever space, as a vector of the control space of a map."""
    space = map.control
    if not isinstance(data, Field):
        return _interpolated(data, space, name)
    if data.space is space:
        return space.checked(data.array, name)
    if data.takes_time and space.levels is None:
        raise DataError(f"{name} depends on time, a control of this problem does not: take field.at(t), at a time t.")
    if data.function is not None:
        return _interpolated(data, space, name)
    whole, target = undivided(data), space.whole

    def fits() -> bool:
        here, there = target.base.points, whole.space.base.whole.points
        return here is None or (there is not None and np.array_equal(here, there))

    if not space.group.on_root(fits):
        return _interpolated(whole, space, name)
    with space.group.agree():
        array = _at_times_of(target, whole.gather(), name) if space.group.root else np.zeros(0)
    return space.scatter(array)


def _at_times_of(space: Space, field: Field, name: str) -> Array:
    """A whole control with the points of a space as a vector of that, a level at a time where it is one over time."""
    if space.levels is None:
        return _interpolated(field.array, space, name)
    try:
        rows = [field.at(t).array if field.takes_time else field.array for t in space.times]
    except DataError as error:
        raise DataError(f"{name}: {error} The controls of this problem have others.") from None
    return _interpolated(np.stack(rows), space, name)


def _interpolated(data: Data, space: Space, name: str) -> Array:
    """A control as a vector of its space; raises DataError if it is NaN or has the wrong shape."""
    try:
        return space.interpolate(data, name)
    except DataError as error:
        raise DataError(f"{error} A control of this problem has {space.count} values.") from None
