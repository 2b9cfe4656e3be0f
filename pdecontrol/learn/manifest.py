"""The manifest of a dataset: what its samples are and how they are solved, fixed once and compared by later calls."""

from __future__ import annotations

import json
import re
import tempfile
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import scipy

import pdecontrol

from ..errors import DatasetError
from .files import LARGEST, MANIFEST, SUMMARY, Files, create_sealed, extra, read, write_sealed, writing
from .source import Source

FORMAT = 2
_LOOKED_AT = 12  # samples that the plan is chosen by
_NO_SAMPLE = 2**32 - 1  # a number that no sample has: their random numbers are none of a sample


def checked_call(
    source: Source, count: int, seed: int, tolerance: float, strategy: str, chunk: int, on_failure: str
) -> dict[str, Any]:
    """The checked arguments that determine a dataset, as they stand in its manifest."""
    for name in ("zarr", "numcodecs", "tqdm", "threadpoolctl"):
        extra(name)
    if not isinstance(source, Source):
        raise DatasetError(f"expected a Source, got {type(source).__name__}.")
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 < tolerance < 1:
        raise DatasetError(f"tolerance is a number between 0 and 1, not {tolerance!r}.")
    if tolerance < 1e-14:
        raise DatasetError(f"tolerance {tolerance:g} is below what arithmetic allows: take 1e-14 or more.")
    if on_failure not in ("stop", "skip"):
        raise DatasetError(f"unknown on_failure {on_failure!r}: take 'stop' or 'skip'.")
    shapes = {**source.shapes, "residual": (), "bound": ()}
    for name in shapes:
        if not re.fullmatch(r"\w[\w-]*", name):
            raise DatasetError(f"the source names an array {name!r}: take letters, digits, _ and -.")
    call = {
        "format": FORMAT, "definition": source.definition, "count": integer("count", count, 1),
        "seed": integer("seed", seed, 0), "chunk": integer("chunk", chunk, 1), "tolerance": float(tolerance),
        "strategy": strategy, "on_failure": on_failure,
        "arrays": {name: {"shape": list(shape), "dtype": "<f8"} for name, shape in shapes.items()},
    }  # fmt: skip
    for name, shape in shapes.items():
        size = 8 * int(np.prod(shape, dtype=float))
        if chunk * size > LARGEST:
            raise DatasetError(f"chunk: {chunk} samples of {name} have over 2 GB: take {LARGEST // size} or fewer.")
    return _plain(call)


def integer(name: str, value: int, least: int) -> int:
    """The value of an argument; raises DatasetError unless it is an integer, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise DatasetError(f"{name} is an integer, {least} or more, not {value!r}.")
    return int(value)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """What a later run reads of a value in JSON."""
    try:
        return dict(json.loads(json.dumps(value, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise DatasetError(f"the definition and the plan of a source are JSON values ({error}).") from None


def begin(source: Source, directory: Path, call: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a dataset, which is begun or gone on with."""
    if not (directory / MANIFEST).exists():
        with writing(directory):
            tempfile.TemporaryFile(dir=directory).close()  # before the plan, which takes long
        generators = [generator(call["seed"], _NO_SAMPLE, i) for i in range(_LOOKED_AT)]
        with one_thread():
            plan = source.plan(generators, call["count"], call["tolerance"], call["strategy"])
        manifest = {**call, "plan": _plain(plan), "versions": versions()}
        if create_sealed(directory / MANIFEST, manifest):
            return manifest
    return _go_on(directory, call)


def _go_on(directory: Path, call: dict[str, Any]) -> dict[str, Any]:
    manifest = read(directory / MANIFEST)
    there = {name: manifest.get(name) for name in call}
    extended = manifest.get("count", 0) < call["count"]
    free = {"on_failure", "count"} if extended else {"on_failure"}
    if others := differences(there | {name: call[name] for name in free}, call):
        raise DatasetError(f"{directory} holds another dataset: {'; '.join(others)}.")
    if extended:
        files = Files(directory, manifest)
        with writing(directory):  # in this order, so that a kill between them leaves a dataset
            (directory / SUMMARY).unlink(missing_ok=True)
            if manifest["count"] % manifest["chunk"]:
                files.record(files.chunks[-1]).unlink(missing_ok=True)
    if there != call:
        manifest |= call
        write_sealed(directory / MANIFEST, manifest)
    return manifest


def differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    """What two manifests differ in, in words."""
    found = []
    for name in sorted({*there, *here}):
        a, b = there.get(name), here.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name} is {a!r} there, {b!r} here")
    return found


def generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of a sample, by its number, or of what the key stands for."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def one_thread() -> Any:
    """One thread of BLAS, whose sums are the same in each run."""
    return extra("threadpoolctl").threadpool_limits(1)


def versions() -> dict[str, str]:
    """Of what rounding depends on."""
    return {"pdecontrol": pdecontrol.__version__, "numpy": np.__version__, "scipy": scipy.__version__}
