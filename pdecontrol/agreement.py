"""Whether the processes that compute together were given the same problem, mesh and options."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from numbers import Real
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array, takes_time
from .errors import ProblemError
from .field import Field
from .parallel import Group

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
    group.meet(call)
    points = np.zeros((0, 0)) if points is None else points
    shares = group.collect(points[:, :: points.shape[1] * group.size // SITES + 1])
    sites = np.hstack([share for share in shares if len(share) == len(shares[0])])
    with group.agree():
        facts = [Fact("the function called", call)]
        for name, value in data.items():
            facts += facts_of(name, value, sites)
    if len(set(group.collect(_hash(repr(facts).encode())))) == 1:
        return
    tables = [{fact.name: fact for fact in table} for table in group.collect(facts)]
    for name in dict.fromkeys(name for table in tables for name in table):
        first, *others = (table.get(name, Fact(name, "missing")) for table in tables)
        rank, other = next(((rank, fact) for rank, fact in enumerate(others, start=1) if fact != first), (0, first))
        if rank:
            there = other.phrase if other.phrase != first.phrase else "one with other values"
            raise ProblemError(
                f"{name} differs between the processes: {first.phrase} on rank 0, {there} on rank {rank}. Give all of "
                "them the same; random draws need the same seed."
            )


class Fact(NamedTuple):
    """What is compared of a datum: a phrase, and a hash of its values."""

    name: str
    phrase: str
    values: str = ""


def facts_of(name: str, value: Any, sites: Array) -> Iterator[Fact]:
    """The facts of a datum and of all that is in it, functions by their values at sites (dim, n)."""
    if isinstance(value, Field):
        yield Fact(name, "a field", _hash(value.array.tobytes()) if value.space.group.size == 1 else "")
    elif is_dataclass(value) and not isinstance(value, type):
        yield Fact(name, type(value).__name__)
        for item in fields(value):
            yield from facts_of(f"{name}.{item.name}", getattr(value, item.name), sites)
    elif isinstance(value, Mapping):
        keys = value if name.endswith("boundary") else sorted(value, key=repr)  # the order of conditions matters
        yield Fact(name, f"{{{', '.join(map(repr, keys))}}}")
        for key, item in value.items() if name.endswith("boundary") else sorted(value.items(), key=repr):
            yield from facts_of(f"{name}[{key!r}]", item, sites)
    elif isinstance(value, np.ndarray):
        yield Fact(name, f"an array of shape {value.shape}", _hash(value.tobytes()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from _items(name, value, sites)
    elif callable(value):
        yield Fact(name, *_function(value, sites))
    elif isinstance(value, Real) and not isinstance(value, bool):
        yield Fact(name, repr(float(value)).removesuffix(".0"))
    else:
        plain = value is None or isinstance(value, (str, bool))
        yield Fact(name, repr(value) if plain else type(value).__name__)


def _items(name: str, value: Sequence[Any], sites: Array) -> Iterator[Fact]:
    kinds = [type(item).__name__ for item in value]
    if all(isinstance(item, Real) for item in value):
        yield from facts_of(name, np.array(value, dtype=float), sites)
    elif all(map(is_dataclass, value)):  # the terms of a problem are known by their kinds
        yield Fact(name, f"[{', '.join(kinds)}]")
        for number, (kind, item) in enumerate(zip(kinds, value, strict=True), start=1):
            several = f" {kinds[:number].count(kind)}" if kinds.count(kind) > 1 else ""
            yield from facts_of(f"{kind}{several}", item, sites)
    else:
        yield Fact(name, f"{len(value)} items")
        for number, item in enumerate(value, start=1):
            yield from facts_of(f"{name}, item {number}", item, sites)


def _function(function: Callable[..., Any], sites: Array) -> tuple[str, str]:
    """A function by what it does and by its values, to nine digits: those of processes may differ by rounding."""
    if not sites.size or isinstance(function, type):
        return getattr(function, "__name__", "a function"), _code(function)
    far = np.geomspace(1e-2, 1e6, 60)  # for functions of y
    others = 0.5 * (sites[:, 1:] + sites[:, :-1]), np.tile([*far, *-far], (len(sites), 1))
    phrase, *hashes = _values(function, sites), *(_values(function, points)[1] for points in others)
    return phrase[0], " ".join([phrase[1], *hashes, _code(function)])


def _values(function: Callable[..., Any], points: Array) -> tuple[str, str]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            time = [0.5] if takes_time(function) else []
            values = np.asarray(function(points.copy(), *time), dtype=float)
        except Exception as error:  # it need not be one of x, nor defined there
            return f"a function that raises {type(error).__name__}", type(error).__name__
        size = 10.0 ** np.floor(np.log10(np.abs(values[np.isfinite(values)]).max(initial=1e-300)))
        hashed = _hash((np.round(values / size, 9) + 0.0).tobytes())
    return f"a function with values of shape {values.shape}", f"{size:g} {hashed}"


def _code(function: Callable[..., Any]) -> str:
    """A hash of what a function does and of the numbers and words that it takes from elsewhere."""
    return _hash(repr(_plain(function, 4)).encode())


def _plain(value: Any, depth: int) -> Any:
    """What of a value, or of a function and all that it holds, can be compared: code, numbers and words."""
    if value is None or isinstance(value, (Real, str, bytes)):
        return value
    if depth == 0:
        return type(value).__name__
    if isinstance(value, (tuple, list)):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, partial):
        return [_plain(item, depth - 1) for item in (value.func, value.args, sorted(value.keywords.items()))]
    value = getattr(value, "__func__", value)
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        held = [value.__code__, value.__defaults__, *cells]
        held += [value.__globals__.get(name) for name in value.__code__.co_names if name in value.__globals__]
        return [_plain(item, depth - 1) for item in held]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, *(_plain(item, depth - 1) for item in value.co_consts)]
    return type(value).__name__


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
