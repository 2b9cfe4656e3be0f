"""How processes divide work: the ranks of an MPI job in turn, or worker processes of one machine as they get done."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import connection, get_context
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ..errors import DatasetError
from ..parallel import Group, describe, restore

Work = Callable[[int], object]


def share(work: Work, numbers: Sequence[int], group: Group, advance: Work) -> None:
    """Work on each number on one of the ranks; an error is raised on all, at the end of the turn.

    Parameters
    ----------
    work, numbers : what to do, without communication.
    group : the ranks.
    advance : called with every number that is done.
    """
    for first in range(0, len(numbers), group.size):
        turn = numbers[first : first + group.size]
        with group.agree():
            for number in turn[group.rank : group.rank + 1]:
                work(number)
        for number in turn:
            advance(number)


def divide(work: Work, numbers: Sequence[int], processes: int, advance: Work) -> None:
    """Work on each number in one of several new processes, which get the next as they get done.

    Parameters
    ----------
    work, numbers : what to do; see `check_sending`.
    processes : how many.
    advance : called with every number that is done.

    Raises
    ------
    Exception
        The first one of a worker; all others are stopped then.
    DatasetError
        If a worker dies.
    """
    context, waiting = get_context("spawn"), iter(numbers)
    workers = []
    busy: dict[Any, int] = {}
    try:
        for number in islice(waiting, processes):
            pipe, end = context.Pipe()
            worker = context.Process(target=_serve, args=(work, end), daemon=True)
            worker.start()
            workers.append(worker)
            end.close()  # of which the worker has its own, so that its death closes the pipe
            busy[pipe] = number
            with _alive():
                pipe.send(number)
        while busy:
            answers: list[Any] = connection.wait(list(busy))
            for ready in answers:
                number = busy.pop(ready)
                with _alive():
                    failure = ready.recv()
                if failure is not None:
                    error = restore(failure[0])
                    error.add_note(failure[1])
                    raise error
                advance(number)
                for number in islice(waiting, 1):
                    busy[ready] = number
                    with _alive():
                        ready.send(number)
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


@contextmanager
def _alive() -> Iterator[None]:
    """A block that talks with a worker."""
    try:
        yield
    except (EOFError, OSError):
        raise DatasetError(
            "a worker process died: for want of memory, or because it cannot import the script, whose call of generate "
            "must stand under `if __name__ == '__main__':`; finished chunks are kept, and the same call goes on."
        ) from None


def _serve(work: Work, pipe: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that gives out numbers decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # not at once: half-written files are removed
    with suppress(EOFError, OSError):  # that process has ended
        while True:
            number = pipe.recv()
            try:
                work(number)
            except Exception as error:
                pipe.send((describe(error), traceback.format_exc()))
            else:
                pipe.send(None)


def check_sending(source: object) -> None:
    """Raise DatasetError for an object that cannot be sent to new processes."""
    try:
        sent = bytes(ForkingPickler.dumps(source))
        if b"__main__" in sent and not hasattr(sys.modules["__main__"], "__file__"):
            raise ValueError("it is defined in an interactive session")
    except Exception as error:  # of many kinds
        raise DatasetError(
            f"the source cannot be sent to other processes ({error}): take classes and functions defined at the top of "
            "a module, or one process, or mpirun."
        ) from None
