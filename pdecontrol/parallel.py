"""The processes that share a computation, and how a space is divided among them.

Outside of the engines this is the only module that knows of MPI, which it imports when several processes run.
"""

from __future__ import annotations

import atexit
import builtins
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from time import monotonic, sleep
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from . import errors
from .arrays import Array

T = TypeVar("T")

# What the launchers of Open MPI, MPICH and its kin, and Slurm tell each process of their number.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
GRACE = 20.0  # seconds that the other processes have to report before one that failed ends the job


class Group:
    """One process that computes by itself; `MPIGroup` is several that do so together.

    Every method is collective: all processes of the group call it, in the same order.
    """

    rank: int = 0
    size: int = 1
    _agreed: Exception | None = None

    @property
    def root(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def collect(self, value: T) -> list[T]:
        """The values of all processes, on each of them, in the order of their ranks."""
        return [value]

    def collect_on_root(self, value: T) -> list[T]:
        """The values of all processes on rank 0, nothing on others."""
        return [value]

    def share(self, value: T) -> T:
        """The value of rank 0."""
        return value

    def distribute(self, values: list[T]) -> T:
        """Value number i of rank 0 on rank i."""
        return values[0]

    def sum(self, value: float) -> float:
        """The sum of the values, in the order of the ranks: the same on all of them."""
        return float(np.sum(self.collect(float(value)))) if self.size > 1 else float(value)

    def total(self, values: Array) -> Array:
        """The sums of the entries of arrays, in the order of the ranks: the same on all of them."""
        return values

    def norm(self, a: Array) -> float:
        """The Euclidean norm of the entries of all processes."""
        return float(np.sqrt(self.sum(np.einsum("i,i->", a, a))))

    def any(self, flag: bool | np.bool_) -> bool:
        """Whether the flag is true on one of them."""
        return any(self.collect(bool(flag)))

    @contextmanager
    def agree(self) -> Iterator[None]:
        """A block without communication: if it raises on one process, all raise the error of the first that did."""
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            error = caught
        reports = self.collect(None if error is None else describe(error))
        first = next((report for report in reports if report is not None), None)
        if first is not None:
            self._agreed = error if error is not None and describe(error) == first else restore(first)
            raise self._agreed

    def shares(self, error: BaseException) -> bool:
        """Whether all processes raised this error, so that they may go on to communicate."""
        return self.size == 1 or error is self._agreed

    def only_on_root(self, action: Callable[[], T]) -> T | None:
        """What an action without communication returns on rank 0, None on others; if it raises there, all raise."""
        with self.agree():
            return action() if self.root else None

    def on_root(self, action: Callable[[], T]) -> T:
        """What an action without communication returns on rank 0, on all; if it raises there, all raise."""
        value: Any = self.only_on_root(action)
        return self.share(value)

    def exchange_counts(self, counts: Array) -> Array:
        """From counts for each rank, what each rank has for this one."""
        return counts

    def exchange(self, values: Array, counts: Array, received: Array) -> Array:
        """Send values to the ranks, so many to each in their order, and return what they sent."""
        return values

    def meet(self, place: str) -> None:
        """Wait for all processes to come to a place; ends the job if one of them has ended instead."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block with communication, which must not leave others waiting: if they do not follow, ends the job."""
        yield


class MPIGroup(Group):
    """The processes of an MPI communicator."""

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.rank, self.size = comm.rank, comm.size
        self._farewell = comm.Dup()  # its barriers never meet other messages
        self._door = comm.Dup()

    def collect(self, value: T) -> list[T]:
        return list(self.comm.allgather(value))

    def collect_on_root(self, value: T) -> list[T]:
        return self.comm.gather(value) or []

    def share(self, value: T) -> T:
        return self.comm.bcast(value)

    def distribute(self, values: list[T]) -> T:
        return self.comm.scatter(values if self.root else None)

    def total(self, values: Array) -> Array:
        parts = np.empty((self.size, *values.shape), values.dtype)
        self.comm.Allgather(np.ascontiguousarray(values), parts)
        return parts.sum(axis=0)

    def exchange_counts(self, counts: Array) -> Array:
        received = np.empty_like(counts)
        self.comm.Alltoall(counts, received)
        return received

    def exchange(self, values: Array, counts: Array, received: Array) -> Array:
        result = np.empty(received.sum(), dtype=values.dtype)
        self.comm.Alltoallv([np.ascontiguousarray(values), counts], [result, received])
        return result

    def meet(self, place: str) -> None:
        request = self._door.Ibarrier()
        while not request.Test():
            before = (self.rank - 1) % self.size
            if self._door.Iprobe(source=before):
                print(
                    f"pdecontrol: rank {before} has ended while rank {self.rank} is in {place}: all processes call it, "
                    "and none of them with backend='skfem', which computes on each process alone. The job of "
                    f"{self.size} processes ends.", file=sys.stderr, flush=True,
                )  # fmt: skip
                self.comm.Abort(1)
            sleep(1e-3)

    def tell_of_the_end(self) -> None:
        """Let the process with the next number know when this one ends, which would let it wait for ever."""
        atexit.register(lambda: self._door.isend(None, (self.rank + 1) % self.size))

    @contextmanager
    def together(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._leave_with_all(self._farewell)
            raise
        self._farewell.Ibarrier().Wait()

    def end_on_errors(self) -> None:
        """Let an error that no process catches end the job, where it is raised on some processes only."""
        before, comm = sys.excepthook, self.comm.Dup()

        def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            before(kind, error, trace)
            self._leave_with_all(comm)

        sys.excepthook = hook

    def _leave_with_all(self, comm: Any) -> None:
        """Wait for the other processes to come here too, for the time of grace; if they do not, end the job."""
        request, end = comm.Ibarrier(), monotonic() + GRACE
        while not request.Test():
            if monotonic() > end:
                traceback.print_exc()
                print(
                    f"pdecontrol: rank {self.rank} failed alone, the job of {self.size} processes ends.",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
                self.comm.Abort(1)
            sleep(0.01)


class Halo:
    """The entries of vectors that neighbouring processes share: each owns some, and sees ghosts of others.

    Parameters
    ----------
    group : the processes.
    owned : how many entries this one owns.
    ghosts : the global numbers of those that it sees besides, where rank 0 owns the first numbers, and so on.
    """

    def __init__(self, group: Group, owned: int, ghosts: Array) -> None:
        self.group, self.owned = group, owned
        self.starts = np.cumsum([0, *group.collect(owned)])
        self.numbers = np.concatenate([self.starts[group.rank] + np.arange(owned), ghosts])
        if group.size == 1:
            return
        owner = np.searchsorted(self.starts, ghosts, side="right") - 1
        self._order = np.argsort(owner, kind="stable")
        self._wanted = np.bincount(owner, minlength=group.size)
        self._given = np.array(group.exchange_counts(self._wanted))
        asked = group.exchange(ghosts[self._order], self._wanted, self._given)
        self._shared = asked - self.starts[group.rank]

    def forward(self, a: Array) -> Array:
        """Owned entries, then those of the ghosts, fetched from their owners."""
        if self.group.size == 1:
            return a
        fetched = self.group.exchange(a[self._shared], self._given, self._wanted)
        result = np.empty(self.numbers.size, dtype=a.dtype)
        result[: self.owned] = a
        result[self.owned + self._order] = fetched
        return result

    def reverse(self, a: Array) -> Array:
        """The owned entries, with what others hold of them in their ghosts added: the transpose of `forward`."""
        if self.group.size == 1:
            return a
        returned = self.group.exchange(a[self.owned + self._order], self._wanted, self._given)
        result = a[: self.owned].copy()
        np.add.at(result, self._shared, returned)
        return result


ALONE = Group()


def started_ranks() -> int:
    """How many processes the MPI launcher started; 1 without a launcher."""
    if "mpi4py.MPI" in sys.modules:
        return int(sys.modules["mpi4py.MPI"].COMM_WORLD.size)
    return max((int(os.environ[name]) for name in _SIZES if os.environ.get(name, "").isdigit()), default=1)


@cache
def world() -> Group:
    """All processes that the MPI launcher started, this one alone without a launcher or without mpi4py."""
    if started_ranks() == 1:
        return ALONE
    try:
        from mpi4py import MPI
    except ImportError:
        return ALONE
    group = MPIGroup(MPI.COMM_WORLD)
    group.end_on_errors()
    group.tell_of_the_end()
    return group


def report(*values: object) -> None:
    """Print on rank 0 alone, so that a script prints the same under mpirun.

    Examples
    --------
    >>> report("objective", 0.5)
    objective 0.5
    """
    if world().root:
        print(*values, flush=True)


def describe(error: Exception) -> tuple[str, str]:
    """An error as what can be sent to another process."""
    return type(error).__name__, str(error)


def restore(report: tuple[str, str]) -> Exception:
    """The error that another process described."""
    name, message = report
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # those with more arguments, as UnicodeDecodeError
            pass
    return RuntimeError(f"{name}: {message}")
