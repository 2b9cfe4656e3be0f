"""The one loop: every method runs through it, and it alone stops, certifies, records and saves."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..certificate import Certificate, Certified, certify_any, certify_by_gap, certify_nonlinear, certify_projection
from ..errors import ConvergenceError, DataError, ProblemError, ResultFileError, SingularEquationError, SolveLimitError
from ..field import Field
from ..files import read_arrays, readable, write_arrays
from ..maps import Adjoint, SolutionMap
from ..result import History, Result, Row, Status
from ..terms import Objective
from .method import Method, Start, State, pack, unpack
from .schedule import Schedule

LEAST = 1e-140  # smaller norms may be wrong, as squares underflow
INFINITE = (DataError, np.linalg.LinAlgError)  # what infinite controls and matrices lead to

Callback = Callable[[Row], bool | None]


class Stopping(NamedTuple):
    """When the loop ends: the tolerances of the certificate, and limits of iterations and of PDE solves."""

    tol: float
    atol: float
    iterations: int
    solves: float


class Checkpoint(NamedTuple):
    """Where the loop saves its state, after how many seconds or iterations; `restart` to go on from that file."""

    path: Path
    seconds: float
    iterations: float
    restart: bool


def minimise(
    objective: Objective,
    map: SolutionMap,
    method: Method[Any],
    start: Start,
    stopping: Stopping,
    callback: Callback | None = None,
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
    stopping : success is bound <= tol (||u|| - bound), or bound <= atol, or u = 0 shown optimal; without a Tikhonov
        term, gap <= tol max(abs(P), abs(D)). Norm estimates and certificates count as solves.
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
    printer = Printer(progress if map.control.group.root else False)
    run = _Run(objective, map, method, stopping, callback, checkpoint, printer)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # which ends a run with a status
            run.begin(start)
    except INFINITE as error:
        raise ProblemError(f"{Status.OVERFLOW.value} ({error})") from error
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            status = run.iterate()
    except KeyboardInterrupt:
        if run.group.size > 1:
            raise  # the others may be elsewhere: `together` waits for them, or ends the job
        status = Status.INTERRUPTED
    except SolveLimitError:
        status = Status.SOLVES
    except BaseException as error:
        if run.group.shares(error):
            run.save()  # an error of the callback, say, loses nothing
        raise
    return run.finish(status, note)


class _Run:
    """One call of `minimise`: what it has so far."""

    def __init__(
        self,
        objective: Objective,
        map: SolutionMap,
        method: Method[Any],
        stopping: Stopping,
        callback: Callback | None,
        checkpoint: Checkpoint | None,
        printer: Printer,
    ) -> None:
        self.objective, self.map, self.method, self.stopping = objective, map, method, stopping
        self.group = map.control.group
        self.callback, self.checkpoint, self.printer = callback, checkpoint, printer
        self.state: State
        self.iteration = 0
        self.best: Certified | None = None
        self.least: tuple[float, Array] = (np.inf, np.zeros(0))  # the least objective and its control
        self.success = Status.CERTIFIED if map.exact else Status.CONVERGED
        self.unverified = False  # whether `best` comes from a file
        self.certified_at = -1
        self.best_at = 0.0  # solves
        self.modulus: float | None = objective.control.alpha
        self.concave = self.zero_tested = self.exhausted = self.reached = False
        self.schedule, self.history = Schedule(), History()
        self.clock, self.counts = perf_counter(), map.solves.snapshot()
        self.limit = map.solves.total + stopping.solves
        self.earlier: dict[str, float] = {}  # what a run before this one solved
        self.fingerprint = objective.fingerprint(map)

    def begin(self, start: Start) -> None:
        if self.checkpoint is not None and self.group.on_root(self.checkpoint.path.exists):
            if self.checkpoint.restart:
                with readable(self.checkpoint.path):
                    self._read(self.checkpoint.path)
                return
            self._refuse_to_overwrite(self.checkpoint.path)
        try:
            with self.map.solves.limited(self.limit):
                self.state = self.method.begin(self.objective, self.map, start)
        except SolveLimitError:
            raise ProblemError(
                f"max_solves = {self.stopping.solves:.0f} does not suffice to start {self.method.name}: allow more."
            ) from None
        self.zero_tested = not self.map.control.any(start.u)
        if self.zero_tested and self.map.affine and self.objective.state.met_by(self.state.y):
            with suppress(SolveLimitError), self.map.solves.limited(self.limit):
                self.best = certify_projection(self.objective, self.map, self.objective.state.start())
                self.exhausted, self.reached = self.best.certificate.exhausted, self.best.certificate.reached
        if self.checkpoint is not None:
            self._write(self.checkpoint.path)  # a path that cannot be written to is found out now

    def _refuse_to_overwrite(self, path: Path) -> None:
        """A forgotten restart=True must not destroy a checkpoint, nor a wrong name another file."""
        header, _ = self.group.on_root(lambda: read_arrays(path, "checkpoint"))
        if header["iteration"]:
            raise ResultFileError(
                f"{path} is the checkpoint of a run after {header['iteration']} iterations, which a new run would "
                "write over: go on from it by restart=True, give another name, or delete it."
            )

    def iterate(self) -> Status:
        saved, saved_at = perf_counter(), self.iteration
        reserve = 4 if self.map.affine else 5  # for the certificate of the last control
        while True:
            # A run that goes on from a checkpoint has the row of its iteration already.
            latest = self.history.last
            try:
                row = latest if latest is not None and latest.iteration == self.iteration else self._record()
            except INFINITE:
                return self._overflow()
            if not np.isfinite(row.objective) or self._underflows():
                return self._overflow()
            if self._meets():
                return self.success
            if self.best is not None and self.exhausted:
                return Status.REACHED if self.reached else Status.ROUNDING
            if self.concave:
                return Status.NONCONVEX
            if self.schedule.stalled(self.method.patience(self.objective, self.state)):
                near = self.best is not None and self.best.certificate.near_rounding
                return Status.ROUNDING if near else Status.STALLED
            if self.callback is not None and self._asks_to_stop(self.callback, row):
                return Status.STOPPED
            if self.iteration >= self.stopping.iterations:
                return Status.ITERATIONS
            if self.checkpoint is not None:
                late = self.group.share(perf_counter() - saved >= self.checkpoint.seconds)
                if late or self.iteration - saved_at >= self.checkpoint.iterations:
                    self.save()
                    saved, saved_at = perf_counter(), self.iteration
            # Near the rounding a step may go on for long in vain: no more solves than have led there.
            near_rounding = self.best is not None and self.best.certificate.near_rounding
            left = 2 * self.best_at - self._total
            enough = self.map.solves.total + left if near_rounding else np.inf
            before = self.state
            try:
                with self.map.solves.limited(min(self.limit - reserve, enough)):
                    self.state = self.method.step(self.objective, self.map, self.state)
            except ConvergenceError:
                if self.iteration == 0:
                    raise
                return Status.FAILED
            except SolveLimitError:
                if enough < self.limit - reserve:
                    return Status.ROUNDING
                raise
            except INFINITE:
                return self._overflow()
            self.iteration += 1
            self.exhausted |= self.state is before and near_rounding

    def _underflows(self) -> bool:
        """Whether the norm of the best control, which is not zero, is none."""
        best = self.best
        return best is not None and best.certificate.norm < LEAST and self.map.control.any(best.control)

    def _overflow(self) -> Status:
        """The status, or an error where there is nothing to return."""
        if self.best is None or self._underflows():
            raise ProblemError(Status.OVERFLOW.value)
        return Status.OVERFLOW

    def _asks_to_stop(self, callback: Callback, row: Row) -> bool:
        with self.group.agree():
            answer = bool(callback(row))
        return self.group.any(answer)

    def finish(self, status: Status, note: str) -> Result:
        self.save()  # before the last certificate, so that a restart goes on as if there had been no stop
        earlier, reassessed = self.best, not self.map.affine and status is not self.success
        if reassessed:
            self.best, self.modulus = None, None  # what is returned has its modulus computed, if solves are left
            self.certified_at = -1
        if self.certified_at < self.iteration and status is not Status.OVERFLOW:
            with suppress(SolveLimitError):
                self._certify()
        self.best = self.best or earlier
        if reassessed and earlier and self.best and earlier.certificate.objective < self.best.certificate.objective:
            self.best, self.unverified = earlier, True
        if self.unverified:
            with suppress(SolveLimitError, ConvergenceError):
                self._verify()
        best = self._uncertified() if self.best is None or self.unverified else self.best
        if best.certificate.meets(self.stopping.tol, self.stopping.atol):
            status = self.success
        self.printer.close()
        return Result(
            control=Field(best.control, self.map.control, "control"),
            state=Field(best.state, self.map.solution, "state"),
            adjoint=self._adjoint(best.adjoint),
            certificate=best.certificate,
            status=status,
            method=self.method.name + (f" ({note})" if note else ""),
            history=self.history,
            solves=self._solves,
            seconds=perf_counter() - self.clock,
            tol=self.stopping.tol,
            fingerprint=self.fingerprint,
            dual=Field(self.state.dual, self.map.observation, "dual"),
            lower=self._bound(self.objective.control.lower, "lower bound"),
            upper=self._bound(self.objective.control.upper, "upper bound"),
            sensors=self.objective.sensors,
        )

    def _meets(self) -> bool:
        """Whether the best certificate meets the tolerance; one from a file is computed again before it may."""
        best, stopping = self.best, self.stopping
        if best is not None and self.unverified and best.certificate.meets(stopping.tol, stopping.atol):
            self._verify()
        return self.best is not None and self.best.certificate.meets(stopping.tol, stopping.atol)

    def _verify(self) -> None:
        """Compute the certificate, the state and the adjoint of a control from a file again."""
        assert self.best is not None
        with self.map.solves.limited(self.limit):
            at = self.map.at(self.best.control)
            adjoint = at.solve_adjoint(self.objective.state.gradient(at.value))
            certificate = certify_any(self.objective, self.map, self.best.control)
        self.best = Certified(self.best.control, certificate, at.state, adjoint)
        self.unverified = False

    def _adjoint(self, adjoint: Adjoint) -> Field:
        """The adjoint PDE solution, or its gradient where the map has none."""
        if adjoint.state is None:
            return Field(adjoint.gradient, self.map.control, "adjoint")
        return Field(adjoint.state, self.map.solution, "adjoint")

    def _bound(self, values: Array | float, name: str) -> Field:
        return Field(self.map.control.zeros() + values, self.map.control, name)

    def _record(self) -> Row:
        """Certify if it is time to, and add a row to the history."""
        value = self.objective.value(self.state.u, self.state.y)
        if value < self.least[0]:
            self.least = value, self.state.u
        estimate, bound = np.nan, np.nan
        if self.schedule.looks(self.iteration):
            estimate, target = self._estimate(value)
            if self.schedule.wants(self.iteration, estimate, target):
                bound = self._certify()
        solves = int(self._total)
        row = Row(self.iteration, value, estimate, bound, solves, perf_counter() - self.clock)
        self.history.append(row)
        self.printer.show(row)
        return row

    def _estimate(self, value: float) -> tuple[float, float]:
        """What the method's own dual pair says of the error, at no solve, and the target to compare it with."""
        state, alpha = self.state, self.objective.control.alpha
        gap = self.objective.gap(state.u, state.y, state.dual, state.adjoint.gradient)
        if alpha == 0:
            return gap / max(abs(value), abs(value - gap), 1e-300), self._target(1.0)
        return float(np.sqrt(2.0 * gap / alpha)), self._target(self.map.control.norm(state.u))

    def _target(self, size: float) -> float:
        floor = 0.0 if self.best is None else self.best.certificate.floor
        return max(self.stopping.tol * size, self.stopping.atol, floor)

    def _certify(self) -> float:
        """The bound of a new certificate (the relative gap where alpha = 0); keeps the best."""
        with self.map.solves.limited(self.limit):
            try:
                certified = self._certify_affine() if self.map.affine else self._certify_nonlinear()
            except ConvergenceError:  # of the state at a projected control far from the iterate
                self.schedule.certified(self.iteration, np.inf)
                return np.inf
            if not self.zero_tested and not certified.certificate.excludes_zero:
                with suppress(SolveLimitError, ConvergenceError, SingularEquationError):
                    certified = self._zero() or certified
                self.zero_tested = True
        bound = certified.certificate.measure
        if self.best is None or bound < 0.9 * self.best.certificate.measure:
            self.best_at = self._total
        if self.best is None or self.concave or bound <= self.best.certificate.measure:
            self.best, self.unverified = certified, False
        self.certified_at = self.iteration
        self.schedule.certified(self.iteration, bound)
        now = certified.certificate
        self.reached |= now.reached
        self.exhausted |= now.exhausted or (now.near_rounding and self.schedule.settled)
        return bound

    def _certify_affine(self) -> Certified:
        """The projected control, or the iterate itself where its own duality gap says more."""
        objective, map, state = self.objective, self.map, self.state
        p, adjoint = self.method.best_dual(objective, state)
        certified = certify_projection(objective, map, p, adjoint, state.warm, state.adjoint.state)
        estimate, _ = self._estimate(objective.value(state.u, state.y))
        if estimate < certified.certificate.measure:
            own = certify_by_gap(objective, map, map.at(state.u, state.warm), state.u, state.dual, state.adjoint)
            certified = min(certified, own, key=lambda item: item.certificate.measure)
        return certified

    def _certify_nonlinear(self) -> Certified:
        """The modulus of convexity is assumed at first, and computed where success is near."""
        at = self.map.at(self.state.u, self.best.state if self.best is not None else None)
        certified, modulus = certify_nonlinear(self.objective, self.map, at, self.modulus)
        if self.modulus is not None and certified.certificate.meets(self.stopping.tol, self.stopping.atol):
            certified, modulus = certify_nonlinear(self.objective, self.map, at)
            self.concave = modulus <= 0
        self.modulus = modulus if modulus > 0 else self.modulus
        return certified

    def _zero(self) -> Certified | None:
        """The certificate of u = 0 if that is the fixed point of the optimality system, which no iterate may reach."""
        at = self.map.at(self.map.control.zeros())
        if self.map.affine and self.objective.state.met_by(at.value):
            return certify_projection(self.objective, self.map, self.objective.state.start())
        p = self.objective.state.gradient(at.value)
        adjoint = at.solve_adjoint(p)
        if self.map.control.any(self.objective.control.argmin(adjoint.gradient)):
            return None
        if self.map.affine:
            return certify_projection(self.objective, self.map, p, adjoint)
        return certify_nonlinear(self.objective, self.map, at)[0]

    @property
    def _total(self) -> float:
        return self.map.solves.total - self.counts["total"] + self.earlier.get("total", 0)

    @property
    def _solves(self) -> dict[str, float]:
        """What this run has solved so far, with the one that it goes on from."""
        return {name: n + self.earlier.get(name, 0) for name, n in self.map.solves.since(self.counts).items()}

    def save(self) -> None:
        """Write the checkpoint; a failure warns, since the run is worth more."""
        if self.checkpoint is not None:
            try:
                self._write(self.checkpoint.path)
            except ResultFileError as error:
                if self.group.root:
                    warnings.warn(f"no checkpoint: {error}", stacklevel=3)

    def _uncertified(self) -> Certified:
        """The control with the least objective, with its state and adjoint if solves are left for them."""
        value, u = min(self.least, (self.objective.value(self.state.u, self.state.y), self.state.u), key=itemgetter(0))
        field = np.full(self.map.solution.size, np.nan)
        adjoint = Adjoint(np.full(u.size, np.nan), None, field)
        with suppress(SolveLimitError, ConvergenceError), self.map.solves.limited(self.limit):
            at = self.map.at(u)
            field, value = at.state, self.objective.value(u, at.value)
            adjoint = at.solve_adjoint(self.objective.state.gradient(at.value))
        reason = "nothing: no certificate could be computed, for want of solves or of a state at the projected control"
        return Certified(u, Certificate(None, self.map.control.norm(u), None, value, reason), field, adjoint)

    def _write(self, path: Path) -> None:
        header = {
            "kind": "checkpoint",
            "fingerprint": self.fingerprint,
            "method": repr(self.method),
            "state": type(self.state).__name__,
            "iteration": self.iteration,
            "seconds": perf_counter() - self.clock,
            "solves": self._solves,
            "schedule": asdict(self.schedule),
            "modulus": self.modulus,
            "zero_tested": self.zero_tested,
            "certified_at": self.certified_at,
            "best_at": self.best_at,
            "best": None if self.best is None else asdict(self.best.certificate),
        }
        arrays = {f"state.{name}": value for name, value in pack(self.state, self.map).items()}
        arrays |= self.history.arrays()
        if self.best is not None:
            arrays["best.control"] = self.map.control.gather(self.best.control)
            arrays["best.state"] = self.map.solution.gather(self.best.state)
            arrays["best.gradient"] = self.map.control.gather(self.best.adjoint.gradient)
            if self.best.adjoint.state is not None:
                arrays["best.adjoint"] = self.map.solution.gather(self.best.adjoint.state)
        self.group.on_root(lambda: write_arrays(path, header, arrays))

    def _read(self, path: Path) -> None:
        header, arrays = self.group.on_root(lambda: read_arrays(path, "checkpoint"))
        if header["fingerprint"] != self.fingerprint:
            raise ResultFileError(f"{path} is the checkpoint of a different problem, mesh or engine.")
        if header["method"] != repr(self.method):
            raise ResultFileError(f"{path} is a checkpoint of {header['method']}, not of {self.method!r}.")
        states = {name.removeprefix("state."): a for name, a in arrays.items() if name.startswith("state.")}
        self.state = unpack(self.method, header["state"], states, self.map)
        self.iteration, self.modulus = header["iteration"], header["modulus"]
        self.zero_tested, self.certified_at = header["zero_tested"], header["certified_at"]
        self.best_at = header["best_at"]
        if header["best"] is not None:
            control, solution = self.map.control, self.map.solution
            self.best = Certified(
                control.scatter(arrays["best.control"]), Certificate(**header["best"]),
                solution.scatter(arrays["best.state"]), Adjoint(control.scatter(arrays["best.gradient"]), None,
                solution.scatter(arrays["best.adjoint"])),
            )  # fmt: skip
            self.unverified = True
        self.history = History.from_arrays(arrays)
        self.schedule = Schedule(**header["schedule"])
        self.earlier = header["solves"]
        self.limit -= self.earlier["total"]
        self.clock -= header["seconds"]


class Printer:
    """Prints rows of the history: always, never, or (None) on a terminal once two seconds have passed."""

    def __init__(self, progress: bool | None) -> None:
        self.always = progress is True
        self.quiet = progress is False or (progress is None and not sys.stderr.isatty())
        self.last: float | None = None

    def show(self, row: Row) -> None:
        """Rows with a certificate, every tenth, and at least one each half second."""
        if self.quiet or (not self.always and row.seconds < 2.0):
            return
        waited = self.last is None or row.seconds - self.last >= 0.5
        if np.isnan(row.bound) and row.iteration % 10 and not waited:
            return
        if self.last is None:
            self._print(("iteration", "objective", "estimate", "certified", "solves", "seconds"))
        self.last = row.seconds
        estimate, bound = (f"{v:.2e}" if np.isfinite(v) else "" for v in (row.estimate, row.bound))
        self._print((row.iteration, f"{row.objective:.9e}", estimate, bound, row.solves, f"{row.seconds:.1f}"))

    def close(self) -> None:
        if self.last is not None:
            print(file=sys.stderr)

    def _print(self, cells: tuple[object, ...]) -> None:
        widths = (9, 16, 10, 10, 7, 8)
        text = " ".join(f"{cell!s:>{width}}" for cell, width in zip(cells, widths, strict=True))
        print(text, file=sys.stderr, flush=True)
