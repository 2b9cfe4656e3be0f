"""Whether the processes that compute together were given the same problem, mesh and options."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from numbers import Real
from typing import Any

import numpy as np

from .errors import ProblemError
from .parallel import Group
from .space import Array, Field

SITES = 1000  # points at which functions are compared


def compare(group: Group, call: str, data: Mapping[str, Any], points: Array | None = None) -> None:
    """Raise ProblemError, the same on all processes, that names the first of the data that differs between them.

    Parameters
    ----------
    group : the processes.
    call : the function that was called, which is compared too.
    data : what it was called with, by name. Functions of x are compared by their values at some points, other functions
        by whether they are given; divided fields have their own entries everywhere, and are the same.
    points : (dim, n), of this process, from which those points are taken.
    """
    if group.size == 1:
        return
    points = np.zeros((0, 0)) if points is None else points
    shares = group.collect(points[:, :: points.shape[1] * group.size // SITES + 1])
    sites = np.hstack([share for share in shares if len(share) == len(shares[0])])
    with group.agree():
        facts = [("the function called", call)]
        for name, value in data.items():
            facts += _describe(name, value, sites)
    if len(set(group.collect(_digest(repr(facts).encode())))) == 1:
        return
    tables = [dict(table) for table in group.collect(facts)]
    for name in dict.fromkeys(name for table in tables for name in table):
        said = [table.get(name, "missing") for table in tables]
        for rank, other in enumerate(said):
            if other != said[0]:
                raise ProblemError(
                    f"{name} differs between the processes: {said[0]} on rank 0, {other} on rank {rank}. All of them "
                    "give the same data; random numbers need the same seed, and files read by one are sent to others."
                )


def _describe(name: str, value: Any, sites: Array) -> Iterator[tuple[str, str]]:
    """What is compared of a value: pairs of the name of a datum, and a phrase on it."""
    if isinstance(value, Field):
        alone = value.space.group.size == 1
        yield name, f"a field [{_hash(value.array)}]" if alone else "a field"
    elif is_dataclass(value) and not isinstance(value, type):
        yield name, type(value).__name__
        for item in fields(value):
            yield from _describe(f"{name}.{item.name}", getattr(value, item.name), sites)
    elif isinstance(value, Mapping):
        yield name, f"{{{', '.join(map(repr, value))}}}"
        for key, item in value.items():
            yield from _describe(f"{name}[{key!r}]", item, sites)
    elif isinstance(value, np.ndarray):
        yield name, f"an array of shape {value.shape} [{_hash(value)}]"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from _describe_items(name, value, sites)
    elif callable(value):
        yield name, _function(value, sites)
    elif isinstance(value, Real) and not isinstance(value, bool):
        yield name, repr(float(value))
    else:
        yield name, repr(value) if value is None or isinstance(value, (str, bool)) else type(value).__name__


def _describe_items(name: str, value: Sequence[Any], sites: Array) -> Iterator[tuple[str, str]]:
    kinds = [type(item).__name__ for item in value]
    if all(isinstance(item, Real) for item in value):
        yield from _describe(name, np.array(value, dtype=float), sites)
    elif all(map(is_dataclass, value)):  # the terms of a problem are known by their kinds
        yield name, f"[{', '.join(kinds)}]"
        for number, (kind, item) in enumerate(zip(kinds, value, strict=True), start=1):
            several = f" {kinds[:number].count(kind)}" if kinds.count(kind) > 1 else ""
            yield from _describe(f"{kind}{several}", item, sites)
    else:
        yield name, f"{len(value)} items"
        for number, item in enumerate(value, start=1):
            yield from _describe(f"{name}, item {number}", item, sites)


def _function(function: Callable[..., Any], sites: Array) -> str:
    """A function by its values, to nine digits: those of one process may differ by rounding from those of another."""
    if not sites.size or isinstance(function, type):
        return getattr(function, "__name__", "a function")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            values = np.asarray(function(sites.copy()), dtype=float)
        except Exception as error:  # it need not be one of x, nor defined there
            return f"a function that raises {type(error).__name__}"
        size = 10.0 ** np.floor(np.log10(np.abs(values[np.isfinite(values)]).max(initial=1e-300)))
        digest = _hash(np.round(values / size, 9) + 0.0)
    return f"a function with values of shape {values.shape} below {10 * size:g} [{digest}]"


def _hash(array: np.ndarray[Any, Any]) -> str:
    return _digest(np.ascontiguousarray(array).tobytes())


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
