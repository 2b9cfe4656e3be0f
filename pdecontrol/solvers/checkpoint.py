"""Checkpoints: the file that holds what a run has so far, from which it goes on, on any number of processes."""

from __future__ import annotations

import warnings
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ..arrays import Array
from ..certificate import Certificate, Certified
from ..errors import ProblemError, ResultFileError
from ..files import npz, read_arrays, readable, write_arrays
from ..maps import Adjoint, Linearisation, SolutionMap
from ..problem import check_number
from ..result import History
from .certifier import Certifier
from .method import AnyState, State
from .schedule import Schedule

NUMBERS = ("modulus", "zero_tested", "certified_at", "considered_at", "best_at")  # of a certifier
BEST = {"control": "control", "state": "solution", "adjoint": None, "dual": "observation"}  # its parts, their spaces
ABSENT = {"state": None, "dual": None}  # what may be missing: states are, where memory is limited
ADJOINT = {"gradient": "control", "error": None, "state": "solution"}


@dataclass(frozen=True)
class Checkpoint:
    """Where a run saves its state, and when.

    Parameters
    ----------
    path : the file, replaced as a whole; .npz is added if missing.
    seconds, iterations : after how many of them it is written again, besides at the start and at the end.
    restart : whether to go on from the file, if it exists.

    Examples
    --------
    >>> checkpoint = Checkpoint("control.npz", seconds=300, restart=True)
    """

    path: str | Path
    seconds: float = 60.0
    iterations: float = np.inf
    restart: bool = False

    def __post_init__(self) -> None:
        check_number(self.seconds, "checkpoint_seconds")
        if self.iterations != np.inf:
            check_number(self.iterations, "checkpoint_iterations", positive=True)
        npz(self.path)  # which raises for what is no path

    @property
    def file(self) -> Path:
        return npz(self.path)


def as_checkpoint(given: Checkpoint | str | Path | None, **said: Any) -> Checkpoint | None:
    """A checkpoint that is given as such or by its path, with what is said of it besides."""
    said = {name: value for name, value in said.items() if value is not None and (value or name != "restart")}
    checkpoint = given if isinstance(given, Checkpoint) else Checkpoint("none" if given is None else given)
    checkpoint = replace(checkpoint, **said)
    if given is None and checkpoint.restart:
        raise ProblemError("restart=True needs the file to go on from: checkpoint=path.")
    return None if given is None else checkpoint


class Archive:
    """The file of one run; a run that goes on from it has the same fingerprint and the same method."""

    def __init__(self, checkpoint: Checkpoint, map: SolutionMap, fingerprint: str, method: str) -> None:
        self.checkpoint, self.path = checkpoint, checkpoint.file
        self.map, self.group, self.fingerprint, self.method = map, map.control.group, fingerprint, method
        self.exists = self.group.on_root(self.path.exists)
        self._time, self._iteration = perf_counter(), 0

    def due(self, iteration: int) -> bool:
        """Whether it is time to save."""
        late = self.group.share(perf_counter() - self._time >= self.checkpoint.seconds)
        return late or iteration - self._iteration >= self.checkpoint.iterations

    def save(self, state: State, iteration: int, certifier: Certifier, history: History) -> None:
        """Write the file; a failure warns, since the run is worth more."""
        try:
            self.write(state, iteration, certifier, history)
        except ResultFileError as error:
            if self.group.root:
                warnings.warn(f"no checkpoint: {error}", stacklevel=3)

    def write(self, state: State, iteration: int, certifier: Certifier, history: History) -> None:
        self._time, self._iteration = perf_counter(), iteration
        best, ledger = certifier.best, certifier.ledger
        header = {
            "kind": "checkpoint", "fingerprint": self.fingerprint, "method": self.method, "iteration": iteration,
            "seconds": ledger.seconds, "solves": ledger.solves, "schedule": asdict(certifier.schedule),
            "best": None if best is None else asdict(best.certificate),
        }  # fmt: skip
        header |= {name: getattr(certifier, name) for name in NUMBERS}
        arrays = pack(state, self.map) | history.arrays()
        for name, space in BEST.items() if best is not None else ():
            arrays |= _packed(f"best.{name}", getattr(best, name), space, self.map)
        self.group.on_root(lambda: write_arrays(self.path, header, arrays))

    def refuse_to_overwrite(self) -> None:
        """A forgotten restart=True must not destroy a checkpoint, nor a wrong name another file."""
        header, _ = self.group.on_root(lambda: read_arrays(self.path, "checkpoint"))
        if header["iteration"]:
            raise ResultFileError(
                f"{self.path} is the checkpoint of a run after {header['iteration']} iterations, which a new run would "
                "write over: go on from it by restart=True, give another name, or delete it."
            )

    def read(self, cls: type[AnyState], certifier: Certifier) -> tuple[AnyState, int, History]:
        """The state, the iteration and the history of the run in the file; its certificates go to the certifier."""
        with readable(self.path):
            header, arrays = self.group.on_root(lambda: read_arrays(self.path, "checkpoint"))
            if header["fingerprint"] != self.fingerprint:
                raise ResultFileError(f"{self.path} is the checkpoint of a different problem, mesh or engine.")
            if header["method"] != self.method:
                raise ResultFileError(f"{self.path} is a checkpoint of {header['method']}, not of {self.method}.")
            state = unpack(cls, arrays, self.map)
            for name in NUMBERS:
                setattr(certifier, name, header[name])
            if header["best"] is not None:
                parts = {
                    name: _unpacked(f"best.{name}", space, arrays, self.map, ABSENT.get(name, MISSING))
                    for name, space in BEST.items()
                }
                certifier.best = Certified(certificate=Certificate(**header["best"]), **parts)
                certifier.unverified = True
            certifier.schedule = Schedule(**header["schedule"])
            certifier.ledger.go_on(header["solves"], header["seconds"])
            self._iteration = header["iteration"]
            return state, self._iteration, History.from_arrays(arrays)


def pack(state: State, map: SolutionMap) -> dict[str, Array]:
    """The vectors and numbers of a state, by name, with whole vectors on rank 0."""
    packed: dict[str, Array] = {}
    for item in fields(state):
        packed |= _packed(f"state.{item.name}", getattr(state, item.name), item.metadata.get("space"), map)
    return packed


def unpack(cls: type[AnyState], packed: dict[str, Array], map: SolutionMap) -> AnyState:
    """The state that `pack` took apart."""
    values: dict[str, Any] = {
        item.name: _unpacked(f"state.{item.name}", item.metadata.get("space"), packed, map, item.default)
        for item in fields(cls)
    }
    return cls(**values)


def _packed(name: str, value: Any, space: str | None, map: SolutionMap) -> dict[str, Array]:
    if isinstance(value, Adjoint):
        parts = [_packed(f"{name}.{part}", getattr(value, part), where, map) for part, where in ADJOINT.items()]
        return {key: array for part in parts for key, array in part.items()}
    if value is None or isinstance(value, Linearisation):
        return {}
    if space is None and np.ndim(value) == 0:
        return {name: np.asarray(value)}
    rows = value if isinstance(value, tuple) else (value,)
    if space is None or map.control.group.any(any(np.shape(row) != (getattr(map, space).size,) for row in rows)):
        raise ResultFileError(
            f"{name} cannot be kept in a checkpoint: it is no flat vector of a space that it declares, as a state of a "
            "method does by field(metadata=CONTROL), OBSERVATION or SOLUTION."
        )
    whole = [getattr(map, space).gather(row) for row in rows]
    return {name: np.stack(whole) if isinstance(value, tuple) else whole[0]} if rows else {}


def _unpacked(name: str, space: str | None, packed: dict[str, Array], map: SolutionMap, default: Any = MISSING) -> Any:
    if f"{name}.gradient" in packed:
        return Adjoint(*(_unpacked(f"{name}.{part}", where, packed, map, None) for part, where in ADJOINT.items()))
    if name not in packed and default is not MISSING:
        return default
    value = packed[name]
    if space is None:
        return value.item()
    scatter = getattr(map, space).scatter
    return scatter(value) if value.ndim == 1 else tuple(scatter(row) for row in value)
