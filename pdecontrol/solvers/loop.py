"""The one loop: every method runs through it, and it alone stops, certifies, records and saves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..certificate import Certified
from ..errors import ConvergenceError, DataError, ProblemError, SolveLimitError
from ..field import Field
from ..maps import SolutionMap
from ..parallel import Group
from ..result import History, Result, Row, Status
from ..terms import Objective
from .certifier import Certifier
from .checkpoint import Archive, Checkpoint
from .method import Algorithm, Method, Start, State, Stopping
from .progress import Printer

INFINITE = (DataError, np.linalg.LinAlgError)  # what infinite controls and matrices lead to

Callback = Callable[[Row], bool | None]


def run(
    objective: Objective,
    map: SolutionMap,
    method: Method,
    start: Start,
    stopping: Stopping,
    callback: Callback | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool | None = None,
    note: str = "",
) -> Result:
    """min F(S(u)) + G(u): iterate a method until its projected control is certified, or a limit is met.

    Returns the projected control with the best certificate; Ctrl-C and limits return what there is, with success False.
    The callback gets the latest row of the history, and stops the run by True; `progress` prints these rows, and None
    does so on a terminal once two seconds have passed; `note` says how the method was chosen.
    """
    if objective.control.alpha == 0 and not map.affine:
        raise ProblemError("alpha = 0 with a nonlinear equation has no certificate: add a Tikhonov term.")
    algorithm, group = method.algorithm_for(objective, map), map.control.group
    certifier, fingerprint = Certifier(objective, map, stopping), objective.fingerprint(map)
    printer = Printer(progress if group.root else False)
    archive = None if checkpoint is None else Archive(checkpoint, map, fingerprint, repr(method))

    def save() -> None:
        if archive is not None:
            archive.save(state, iteration, certifier, history)

    map.solves.watch = printer.step
    status: Status | None = None
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # which ends a run with a status
            state, iteration, history = _begin(method.name, algorithm, certifier, start, archive)
    except INFINITE as error:
        raise ProblemError(f"{Status.OVERFLOW.value} ({error})") from error
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            while status is None:
                status = _record(certifier, state, iteration, history, printer)
                status = status or _limit(history, stopping.iterations, callback, group)
                if status is None:
                    if archive is not None and archive.due(iteration):
                        save()
                    state, iteration, status = _step(algorithm, certifier, state, iteration)
    except KeyboardInterrupt:
        if group.size > 1:
            raise  # the others may be elsewhere: `together` waits for them, or ends the job
        status = Status.INTERRUPTED
    except SolveLimitError:
        status = Status.SOLVES
    except BaseException as error:
        if group.shares(error):
            save()  # an error of the callback, say, loses nothing
        raise
    save()  # before the last certificate, so that a restart goes on as if there had been no stop
    best, status = certifier.finish(state, iteration, status)
    map.solves.watch = None
    printer.close()
    title = method.name + (f" ({note})" if note else "")
    return _result(certifier, best, status, state, history, title, fingerprint)


def _begin(
    name: str, algorithm: Algorithm[Any], certifier: Certifier, start: Start, archive: Archive | None
) -> tuple[State, int, History]:
    """The state, its iteration and the history: those of the file if it is there to go on from, or new ones."""
    if archive is not None and archive.exists:
        if archive.checkpoint.restart:
            return archive.read(algorithm.state, certifier)
        archive.refuse_to_overwrite()
    try:
        with certifier.ledger.within_limit():
            state = algorithm.begin(certifier.objective, certifier.map, start)
    except SolveLimitError:
        limit = certifier.stopping.solves
        raise ProblemError(f"max_solves = {limit:.0f} does not suffice to start {name}: allow more.") from None
    certifier.begin(start.u, state)
    if archive is not None:
        archive.write(state, 0, certifier, History())  # a path that cannot be written to is found out now
    return state, 0, History()


def _record(certifier: Certifier, state: State, iteration: int, history: History, printer: Printer) -> Status | None:
    """Certify if it is time to, and add a row to the history; why the run should end, if it should."""
    row = history.last
    if row is None or row.iteration < iteration:  # a run that goes on from a checkpoint has that row already
        try:
            value, estimate, bound = certifier.consider(state, iteration)
        except INFINITE:
            return Status.OVERFLOW
        row = Row(iteration, value, estimate, bound, certifier.ledger.total, certifier.ledger.seconds)
        history.append(row)
        printer.show(row)
    return certifier.verdict(row.objective, state.patience, state.settled)


def _limit(history: History, iterations: int, callback: Callback | None, group: Group) -> Status | None:
    """Whether the callback or the limit of iterations ends the run."""
    row = history.last
    assert row is not None
    if callback is not None:
        with group.agree():
            answer = bool(callback(row))
        if group.any(answer):
            return Status.STOPPED
    return Status.ITERATIONS if row.iteration >= iterations else None


def _step(
    algorithm: Algorithm[Any], certifier: Certifier, state: State, iteration: int
) -> tuple[State, int, Status | None]:
    """One iteration; or the same state again, and why there is no other."""
    # Near the rounding a step may go on for long in vain: no more solves than have led there.
    enough = 2 * certifier.best_at if certifier.near_rounding else np.inf
    left = certifier.ledger.limit - (4 if certifier.map.affine else 5)  # for the certificate of the last control
    try:
        with certifier.ledger.up_to(min(left, enough)):
            new = algorithm.step(certifier.objective, certifier.map, state)
    except ConvergenceError:
        if iteration == 0:
            raise
        return state, iteration, Status.FAILED
    except SolveLimitError:
        return state, iteration, Status.ROUNDING if enough < left else Status.SOLVES
    except INFINITE:
        return state, iteration, Status.OVERFLOW
    certifier.exhausted |= new is state and certifier.near_rounding
    return new, iteration + 1, None


def _result(
    certifier: Certifier, best: Certified, status: Status, last: State, history: History, method: str, fingerprint: str
) -> Result:
    objective, map, ledger = certifier.objective, certifier.map, certifier.ledger
    state, adjoint_state = best.state, best.adjoint.state
    if state is None:  # where memory is limited
        at = map.at(best.control)
        state, adjoint_state = at.full_state(), at.full_adjoint(objective.state.gradient(at.value))
    adjoint = Field(best.adjoint.gradient, map.control, "adjoint")  # of maps without an adjoint PDE solution
    if adjoint_state is not None:
        adjoint = Field(adjoint_state, map.adjoints, "adjoint")
    return Result(
        control=Field(best.control, map.control, "control"),
        state=Field(state, map.solution, "state"),
        adjoint=adjoint,
        certificate=best.certificate,
        status=status,
        method=method,
        history=history,
        solves=ledger.solves,
        seconds=ledger.seconds,
        tol=certifier.stopping.tol,
        fingerprint=fingerprint,
        memory=map.memory,
        weight=objective.control.alpha if last.stage is None else last.stage,
        dual=Field(last.dual, map.observation, "dual"),
        lower=Field(map.control.zeros() + objective.control.lower, map.control, "lower bound"),
        upper=Field(map.control.zeros() + objective.control.upper, map.control, "upper bound"),
        sensors=objective.sensors,
    )
