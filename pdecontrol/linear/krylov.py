"""What every Krylov method does but for its steps: checks, counted products, true residuals, outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from ..arrays import Array
from ..errors import DataError
from .operator import Operator
from .petsc import petsc_operator
from .recycle import RecycledSpace

Callback = Callable[[float], bool | None]


def as_operator(matrix: Any, name: str = "the matrix") -> Operator:
    """The operator of a numpy or scipy matrix, a LinearOperator, or a matrix or preconditioner of PETSc.

    Raises
    ------
    DataError
        For anything else, for matrices that are not square, and for entries that are no finite numbers.
    """
    if isinstance(matrix, Operator):
        return matrix
    if type(matrix).__module__.startswith("petsc4py"):
        return petsc_operator(matrix)
    if not (sp.issparse(matrix) or isinstance(matrix, np.ndarray | LinearOperator)):
        raise DataError(f"{name} must be a numpy, scipy or PETSc matrix or a LinearOperator, got {type(matrix)}.")
    if len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
        raise DataError(f"{name} must be square, its shape is {matrix.shape}.")
    if matrix.dtype.kind not in "biufc":
        raise DataError(f"{name} must have numbers as entries, not {matrix.dtype}.")
    dtype = np.result_type(matrix.dtype, float)
    if isinstance(matrix, LinearOperator):
        return Operator(matrix.matvec, matrix.shape[0], dtype, block=matrix.matmat)
    if sp.issparse(matrix):
        matrix = matrix if matrix.format in ("csr", "csc") else matrix.tocsr()
    else:
        matrix = np.asarray(matrix)  # a product with np.matrix would have two dimensions
    if not np.isfinite(matrix.data if sp.issparse(matrix) else matrix).all():
        raise DataError(f"{name} has entries that are NaN or infinite.")
    return Operator(matrix.__matmul__, matrix.shape[0], dtype, block=matrix.__matmul__)


class Outcome(Enum):
    """How a linear solver ended; the value says what to do."""

    CONVERGED = "the true residual is below the tolerance"
    LIMIT = "the limit of products is reached: allow more, or take a better preconditioner"
    STOPPED = "stopped by the callback"
    STAGNATED = "no progress: a larger subspace or a better preconditioner may help"
    ROUNDING = "the residual is at its rounding: the tolerance is below what arithmetic allows for this matrix"
    BREAKDOWN = "breakdown: the matrix or the preconditioner is singular, or not positive definite where it must be"
    NOT_FINITE = "the matrix or the preconditioner returned NaN or infinity"


@dataclass
class Products:
    """What a linear solver did: applications of the matrix by purpose, and of the preconditioner.

    `steps` extend the Krylov space, `refresh` give the images of a carried space, `residuals` are explicit b - A x.
    """

    steps: int = 0
    refresh: int = 0
    residuals: int = 0
    preconditioner: int = 0

    def add(self, other: Products) -> None:
        """Count those of another solver too."""
        for kind in ("steps", "refresh", "residuals", "preconditioner"):
            setattr(self, kind, getattr(self, kind) + getattr(other, kind))

    @property
    def total(self) -> int:
        """All products with the matrix."""
        return self.steps + self.refresh + self.residuals


@dataclass(frozen=True, eq=False)
class KrylovResult:
    """What a Krylov method returns.

    Attributes
    ----------
    x : the solution (n,), the entries that this process owns.
    space : the space to carry to the next system, None where nothing is recycled.
    outcome : how it ended.
    residual : the true relative residual ||b - A x|| / ||b||.
    products : what it took.
    history : relative residuals, as estimated after each step.
    """

    x: Array = field(repr=False)
    space: RecycledSpace | None
    outcome: Outcome
    residual: float
    products: Products
    history: list[float] = field(repr=False)

    @property
    def converged(self) -> bool:
        """Whether the true residual is below the tolerance."""
        return self.outcome is Outcome.CONVERGED


class Iteration:
    """A x = b on its way, with the arguments of a Krylov method, which are checked.

    x is the best so far, r = b - A x and size the norm of it, target the one that is asked for; outcome tells how the
    iteration ended, None while it goes on.
    """

    def __init__(
        self, matrix: Any, b: Array, preconditioner: Any, start: Array | None, space: RecycledSpace | None,
        tolerance: float, max_products: int, callback: Callback | None,
    ) -> None:  # fmt: skip
        self.A = as_operator(matrix)
        self.M = None if preconditioner is None else as_operator(preconditioner, "the preconditioner")
        with self.A.group.agree():
            _check(self.A, self.M, b, start, space)
            if not 0 < tolerance < 1:
                raise DataError(f"the tolerance must lie between 0 and 1, got {tolerance}.")
            if max_products < 1:
                raise DataError(f"max_products must be positive, got {max_products}.")
        self._b, self._scale = b, self.A.norm(b)
        if not 1e-140 < self._scale < 1e140 and self.A.group.any(b.any()):
            raise DataError(f"the norm of b is {self._scale:.0e}, its square over- or underflows: scale the system.")
        self._max_products, self._callback = max_products, callback
        self.target, self.products, self._history = tolerance * self._scale, Products(), list[float]()
        kinds = [self.A.dtype, b.dtype, *(item.dtype for item in (self.M, start) if item is not None)]
        self.dtype = np.result_type(*kinds, *([] if space is None else [space.vectors.dtype]), float)
        self.x, self.r = np.zeros(self.A.size, self.dtype), b.astype(self.dtype)
        if start is not None and self._scale > 0:
            self.x, self.r = start.astype(self.dtype), b - self.A.apply(start)
            self.products.residuals += 1
        self.size = self.A.norm(self.r)
        self.outcome = None if np.isfinite(self.size) else Outcome.NOT_FINITE

    @property
    def goes_on(self) -> bool:
        """Whether the residual is too large, and nothing has ended the iteration."""
        return self.outcome is None and self.size > self.target

    def apply(self, p: Array) -> Array:
        """A p, a step."""
        self.products.steps += 1
        return self.A.apply(p)

    def precondition(self, r: Array) -> Array:
        """M^-1 r."""
        self.products.preconditioner += self.M is not None
        return r if self.M is None else np.asarray(self.M.apply(r), self.dtype)

    def carried(self, space: RecycledSpace | None, same_matrix: bool) -> RecycledSpace:
        """U with A U by products, which are counted, where they are finite.

        With `same_matrix` the images are those that the space brings, which one product confirms.
        """
        if space is None or not space.size:
            return RecycledSpace(*[np.empty((self.A.size, 0), self.dtype)] * 2)
        vectors = space.vectors.astype(self.dtype)
        if not same_matrix:
            self.products.refresh += space.size
            images = self.A.columns(vectors)
            finite = np.isfinite(self.A.group.total(np.einsum("ij,ij->j", images.conj(), images).real))
            return RecycledSpace(vectors[:, finite], images[:, finite])
        weights = np.cos(np.arange(1.0, space.size + 1.0) ** 2)  # as good as random
        expected = space.images @ weights
        self.products.residuals += 1
        if self.A.norm(self.A.apply(vectors @ weights) - expected) > 1e-6 * self.A.norm(expected):
            raise DataError("the recycled space is not of this matrix: same_matrix=True needs the very same one.")
        return RecycledSpace(vectors, space.images.astype(self.dtype))

    def watch(self, estimate: float) -> bool:
        """Record the residual as estimated after a step; False if it, the callback or the limit ends the iteration."""
        self._history.append(estimate / self._scale)
        if not np.isfinite(estimate):
            self.outcome = Outcome.NOT_FINITE
        elif self._wants_to_stop(estimate / self._scale):
            self.outcome = Outcome.STOPPED
        else:
            self.limit()
        return self.outcome is None

    def limit(self) -> None:
        """End where the products do not suffice for a step and a residual."""
        if self.outcome is None and self.products.total + 2 > self._max_products:
            self.outcome = Outcome.LIMIT

    def judge(self, trial: Array) -> float:
        """The norm of the true residual of a trial, which replaces x if it is better."""
        rest = self._b - self.A.apply(trial)
        self.products.residuals += 1
        new = self.A.norm(rest)
        if not np.isfinite(new):
            self.outcome = Outcome.NOT_FINITE
        elif new <= self.target:
            self.outcome = Outcome.CONVERGED
        if new < self.size or self.outcome is Outcome.STOPPED:
            self.x, self.r, self.size = trial, rest, new
        return new

    def result(self, space: RecycledSpace | None) -> KrylovResult:
        """What is returned, with the space to carry on."""
        outcome, residual = self.outcome or Outcome.CONVERGED, self.size / (self._scale or 1.0)
        return KrylovResult(self.x, space, outcome, residual, self.products, self._history)

    def _wants_to_stop(self, residual: float) -> bool:
        """Whether the callback of one of the processes asks to stop; if one raises, all do."""
        if self._callback is None:
            return False
        with self.A.group.agree():
            stop = bool(self._callback(residual))
        return self.A.group.any(stop)


def _check(A: Operator, M: Operator | None, b: Array, start: Array | None, space: RecycledSpace | None) -> None:
    vectors: dict[str, Any] = {"b": b, "the start": start}
    for name, vector in vectors.items():
        if vector is None:
            continue
        if not isinstance(vector, np.ndarray) or vector.dtype.kind not in "biufc":
            raise DataError(f"{name} must be an array of numbers, got {type(vector).__name__}.")
        if vector.shape != (A.size,):
            raise DataError(f"{name} must have the shape {(A.size,)} of the matrix, not {vector.shape}.")
        if not np.isfinite(vector).all():
            raise DataError(f"{name} has entries that are NaN or infinite.")
    if M is not None and M.size != A.size:
        raise DataError(f"the preconditioner is one of {M.size} unknowns, the matrix has {A.size}.")
    if space is not None and len(space.vectors) != A.size:
        raise DataError(f"the recycled space is one of {len(space.vectors)} unknowns, the matrix has {A.size}.")
    if space is not None and not np.isfinite(space.vectors).all():
        raise DataError("the recycled space has entries that are NaN or infinite.")
