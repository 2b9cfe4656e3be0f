"""The one loop: every method runs through it, and it alone stops, certifies, records and saves."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import ClassVar, NamedTuple

import numpy as np

from ..certificate import Certificate, Certified, project, project_nonlinear
from ..errors import ProblemError, ResultFileError, SolveLimitError
from ..maps import Adjoint, Linearisation, SolutionMap
from ..result import History, Result, Row, Status, read_arrays, write_arrays
from ..space import Array, Field
from ..terms import Objective


@dataclass(frozen=True, eq=False)
class State:
    """What a method carries from one iteration to the next.

    u is the control and y the observation S(u); `dual` is a dual vector and `adjoint` its adjoint solution, None before
    the first. Methods add what is theirs. Everything but linearisations is written to checkpoints.
    """

    u: Array
    y: Array
    dual: Array | None
    adjoint: Adjoint | None


class Start(NamedTuple):
    """Where a method begins: a control, and a dual vector where one is known (None: cold, "primal" unknown)."""

    u: Array
    p: Array | None


class Method(ABC):
    """An optimisation algorithm: frozen parameters, explicit state."""

    name: ClassVar[str]
    state: ClassVar[type[State]]

    @abstractmethod
    def begin(self, objective: Objective, map: SolutionMap, start: Start) -> State:
        """The state before the first iteration."""

    @abstractmethod
    def step(self, objective: Objective, map: SolutionMap, state: State) -> State:
        """One iteration."""

    @abstractmethod
    def best_dual(self, objective: Objective, state: State) -> tuple[Array, Adjoint | None]:
        """The dual vector that gives the best certificate for affine maps, with its adjoint solution where known."""


class Limits(NamedTuple):
    """When the loop gives up: iterations and PDE solves (norm estimates and certificates included)."""

    iterations: int = 10_000
    solves: float = np.inf


class Checkpoint(NamedTuple):
    """Where and how often (in seconds) the loop saves its state; `restart` to go on from the file if it exists."""

    path: Path
    seconds: float = 60.0
    restart: bool = False


class Schedule:
    """When the next certificate is worth its solves.

    A free estimate of the error (the duality gap of the method's own pair) says when to begin; from then on the last
    bound and the rate at which the estimate falls say when the bound will meet its target.
    """

    def __init__(self) -> None:
        self.estimates: list[float] = []
        self.due = 0
        self.bounds: list[float] = []

    def wants(self, iteration: int, estimate: float, target: float) -> bool:
        self.estimates.append(estimate)
        if self.due >= 0:
            return iteration >= self.due
        return estimate <= 30.0 * target

    def rate(self) -> float:
        """Factor by which the estimate falls in one iteration, from the recent ones."""
        recent = [e for e in self.estimates if np.isfinite(e) and e > 0]
        window = min(len(recent) - 1, max(3, len(recent) // 4))
        if window < 2:
            return 0.5
        return float(np.clip((recent[-1] / recent[-1 - window]) ** (1.0 / window), 0.05, 0.995))

    def certified(self, iteration: int, bound: float, target: float) -> None:
        self.bounds.append(bound)
        if iteration == 0:
            self.due = -1  # wait for the estimate
        elif not np.isfinite(bound) or bound <= 0 or target <= 0:
            self.due = iteration + max(1, iteration // 4)
        else:
            ahead = np.log(bound / target) / -np.log(self.rate())
            self.due = iteration + int(np.clip(np.ceil(ahead), 1, max(10, iteration)))

    @property
    def stalled(self) -> bool:
        """Whether the last five bounds brought nothing: rounding, or a method at its end."""
        return len(self.bounds) > 8 and min(self.bounds[-5:]) > 0.95 * min(self.bounds[:-5])


def minimise(
    objective: Objective,
    map: SolutionMap,
    method: Method,
    start: Start,
    tol: float = 1e-6,
    atol: float = 0.0,
    limits: Limits = Limits(),
    callback: Callable[[Row], bool | None] | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool | None = None,
    note: str = "",
) -> Result:
    """min F(S(u)) + G(u): iterate a method until its projected control is certified, or a limit is met.

    Parameters
    ----------
    objective, map : what to minimise; see `terms.bind`.
    method : the algorithm.
    start : where it begins.
    tol, atol : success is bound <= tol (||u|| - bound), or bound <= atol, or u = 0 shown optimal; without a Tikhonov
        term, gap <= tol max(|P|, |D|).
    limits : of iterations and solves.
    callback : called with the latest row of the history; True stops the run.
    checkpoint : where to save the state on the way.
    progress : whether to print rows of the history; None prints on a terminal once two seconds have passed.
    note : what to report about the choice of the method.

    Returns
    -------
    The projected control with the best certificate. Ctrl-C and limits return what there is, with success False.
    """
    if objective.control.alpha == 0 and not map.affine:
        raise ProblemError("alpha = 0 with a nonlinear equation has no certificate: add a Tikhonov term.")
    run = _Run(objective, map, method, tol, atol, limits, callback, progress)
    state = run.begin(start, checkpoint)
    status = Status.ITERATIONS
    try:
        status = run.iterate(state, checkpoint)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    return run.finish(status, checkpoint, note)


class _Run:
    """The state of one call of `minimise`."""

    def __init__(self, objective, map, method, tol, atol, limits, callback, progress) -> None:
        self.objective, self.map, self.method = objective, map, method
        self.tol, self.atol, self.limits, self.callback = tol, atol, limits, callback
        self.printer = Printer(progress)
        self.schedule = Schedule()
        self.history = History()
        self.best: Certified | None = None
        self.modulus: float | None = None
        self.state: State | None = None
        self.uncertified = True
        self.iteration = 0
        self.clock = perf_counter()
        self.earlier = map.solves.snapshot()
        self.fingerprint = objective.fingerprint(map)

    def begin(self, start: Start, checkpoint: Checkpoint | None) -> State:
        self.map.solves.limit = self.map.solves.total + self.limits.solves
        restart = checkpoint is not None and checkpoint.restart and checkpoint.path.exists()
        try:
            if restart:
                self.state = self._read(checkpoint.path)
            else:
                self.state = self.method.begin(self.objective, self.map, start)
        except SolveLimitError:
            self.map.solves.limit = np.inf
            raise ProblemError(
                f"max_solves = {self.limits.solves:.0f} does not suffice to start {self.method.name}: allow more."
            ) from None
        return self.state

    def iterate(self, state: State, checkpoint: Checkpoint | None) -> Status:
        saved = perf_counter()
        reserve = 3 if self.map.affine else 4
        everything = self.map.solves.limit
        while True:
            estimate, target = self._estimate(state)
            bound = None
            if self.schedule.wants(self.iteration, estimate, target):
                self.map.solves.limit = everything
                bound = self._certify(state)
            row = self._record(state, estimate, bound)
            if (
                bound is not None
                and self.best is not None
                and self.best.certificate.meets(self.tol, self.atol)
            ):
                return Status.CERTIFIED
            if self.schedule.stalled:
                return Status.STALLED
            if self.callback is not None and self.callback(row):
                return Status.STOPPED
            if self.iteration >= self.limits.iterations:
                return Status.ITERATIONS
            if checkpoint is not None and perf_counter() - saved >= checkpoint.seconds:
                self._write(checkpoint.path)
                saved = perf_counter()
            self.map.solves.limit = everything - reserve
            try:
                state = self.method.step(self.objective, self.map, state)
            except SolveLimitError:
                self.map.solves.limit = everything
                return Status.SOLVES
            self.state, self.uncertified = state, True
            self.iteration += 1

    def finish(self, status: Status, checkpoint: Checkpoint | None, note: str) -> Result:
        assert self.state is not None
        if status is not Status.CERTIFIED and self.uncertified:
            try:
                self._certify(self.state)
            except SolveLimitError:
                pass
        self.map.solves.limit = np.inf
        if checkpoint is not None:
            self._write(checkpoint.path)
        if self.best is not None and self.best.certificate.meets(self.tol, self.atol):
            status = Status.CERTIFIED
        best = self.best or self._uncertified_result()
        self.printer.close()
        return Result(
            control=Field(best.control, self.map.control, "control"),
            state=Field(best.state, self.map.solution, "state"),
            adjoint=Field(best.adjoint, self.map.solution, "adjoint"),
            certificate=best.certificate,
            status=status,
            method=self.method.name + (f" ({note})" if note else ""),
            history=self.history,
            solves=self.map.solves.since(self.earlier),
            seconds=perf_counter() - self.clock,
            tol=self.tol,
            fingerprint=self.fingerprint,
            dual=self.state.dual,
        )

    def _uncertified_result(self) -> Certified:
        state, nothing = self.state, self.map.solution.zeros()
        certificate = Certificate(
            None, self.map.control.norm(state.u), None, self.objective.value(state.u, state.y),
            "nothing: the limit of solves left none for a certificate",
        )  # fmt: skip
        return Certified(state.u, certificate, nothing * np.nan, nothing * np.nan)

    def _estimate(self, state: State) -> tuple[float, float]:
        """A free estimate of what the certificate will say, and what it should say."""
        if state.adjoint is None or state.dual is None:
            return np.inf, 0.0
        objective = self.objective
        gap = objective.gap(state.u, state.y, state.dual, state.adjoint.gradient)
        if objective.control.alpha == 0:
            value = objective.value(state.u, state.y)
            return gap / max(abs(value), abs(value - gap), 1e-300), self.tol
        norm = self.map.control.norm(state.u)
        return float(np.sqrt(2.0 * gap / objective.control.alpha)), max(self.tol * norm, self.atol)

    def _certify(self, state: State) -> float:
        objective, map = self.objective, self.map
        if map.affine:
            certified = project(objective, map, *self.method.best_dual(objective, state))
        else:
            certified = self._certify_nonlinear(state)
        self.uncertified = False
        certificate = certified.certificate
        measure = certificate.relative_gap if objective.control.alpha == 0 else certificate.bound
        measure = np.inf if measure is None else measure
        if self.best is None or certificate.optimal or measure <= min(self.schedule.bounds, default=np.inf):
            self.best = certified
        target = self.tol if objective.control.alpha == 0 else max(self.tol * certificate.norm, self.atol)
        self.schedule.certified(self.iteration, measure, target)
        return measure

    def _certify_nonlinear(self, state: State) -> Certified:
        """With the modulus known from the last certificate, unless success is near: then it is computed at z."""
        start = self.best.state if self.best is not None else None
        at = self.map.at(state.u, start)
        modulus = self.modulus if self.modulus is not None else self.objective.control.alpha
        certified, _ = project_nonlinear(self.objective, self.map, at, modulus)
        if certified.certificate.meets(self.tol, self.atol):
            certified, self.modulus = project_nonlinear(self.objective, self.map, at)
        return certified

    def _record(self, state: State, estimate: float, bound: float | None) -> Row:
        row = Row(
            self.iteration,
            self.objective.value(state.u, state.y),
            estimate,
            np.nan if bound is None else bound,
            int(self.map.solves.total - self.earlier["total"]),
            perf_counter() - self.clock,
        )
        self.history.append(row)
        self.printer.show(row)
        return row

    def _write(self, path: Path) -> None:
        header = {
            "kind": "checkpoint", "fingerprint": self.fingerprint, "method": repr(self.method),
            "iteration": self.iteration, "seconds": perf_counter() - self.clock,
            "solves": self.map.solves.since(self.earlier), "due": self.schedule.due,
        }  # fmt: skip
        arrays = {f"state.{name}": value for name, value in pack(self.state).items()}
        arrays |= self.history.arrays() | {
            "estimates": np.array(self.schedule.estimates), "bounds": np.array(self.schedule.bounds)
        }  # fmt: skip
        write_arrays(path, header, arrays)

    def _read(self, path: Path) -> State:
        header, arrays = read_arrays(path, "checkpoint")
        if header["fingerprint"] != self.fingerprint:
            raise ResultFileError(
                f"{path} is a checkpoint of a different problem, mesh or weights: it is left alone."
            )
        if header["method"] != repr(self.method):
            raise ResultFileError(f"{path} is a checkpoint of {header['method']}, not of {self.method!r}.")
        self.iteration = header["iteration"]
        self.clock -= header["seconds"]
        self.map.solves.add(header["solves"])
        self.map.solves.limit += header["solves"]["total"]
        self.history = History.from_arrays(arrays)
        self.schedule.due = header["due"]
        self.schedule.estimates, self.schedule.bounds = list(arrays["estimates"]), list(arrays["bounds"])
        return unpack(self.method.state, {n[6:]: a for n, a in arrays.items() if n.startswith("state.")})


def pack(state: State) -> dict[str, Array]:
    """The arrays and numbers of a state, by name."""
    arrays: dict[str, Array] = {}
    for item in fields(state):
        value = getattr(state, item.name)
        if value is None or isinstance(value, Linearisation):
            continue
        if isinstance(value, Adjoint):
            arrays |= {f"{item.name}.{part}": np.asarray(a) for part, a in value._asdict().items()}
        else:
            arrays[item.name] = np.asarray(value)
    return arrays


def unpack(kind: type[State], arrays: dict[str, Array]) -> State:
    """The state from its arrays; what is missing is None."""
    values: dict[str, object] = {}
    for item in fields(kind):
        if f"{item.name}.gradient" in arrays:
            g, f, e = (arrays[f"{item.name}.{part}"] for part in Adjoint._fields)
            values[item.name] = Adjoint(g, f, float(e))
        elif item.name in arrays:
            value = arrays[item.name]
            values[item.name] = value.item() if value.ndim == 0 else value
        else:
            values[item.name] = None
    return kind(**values)  # type: ignore[arg-type]


class Printer:
    """Prints rows of the history: always, never, or (None) on a terminal once two seconds have passed."""

    HEADER = (
        f"{'iteration':>9} {'objective':>15} {'estimate':>10} {'certified':>10} {'solves':>7} {'seconds':>8}"
    )

    def __init__(self, progress: bool | None) -> None:
        self.always = progress is True
        self.quiet = progress is False or (progress is None and not sys.stderr.isatty())
        self.started = False
        self.last = 0.0

    def show(self, row: Row) -> None:
        if self.quiet or (not self.always and row.seconds < 2.0):
            return
        if not np.isfinite(row.bound) and row.seconds - self.last < 0.5 and row.iteration % 10:
            return
        if not self.started:
            print(self.HEADER, file=sys.stderr)
            self.started = True
        self.last = row.seconds
        bound = f"{row.bound:10.2e}" if np.isfinite(row.bound) else " " * 10
        estimate = f"{row.estimate:10.2e}" if np.isfinite(row.estimate) else " " * 10
        print(
            f"{row.iteration:9d} {row.objective:15.9e} {estimate} {bound} {row.solves:7d} {row.seconds:8.1f}",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    def close(self) -> None:
        if self.started:
            print(file=sys.stderr)
