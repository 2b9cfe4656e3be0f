"""What every Krylov method takes for granted and returns: outcomes, counted products, checks of the arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import DataError
from ..parallel import Group
from .operator import Operator
from .recycle import RecycledSpace

Callback = Callable[[float], bool | None]


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
class KrylovSolution:
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


def check_system(
    A: Operator,
    M: Operator | None,
    b: Array,
    start: Array | None,
    space: RecycledSpace | None,
    tolerance: float,
    max_products: int,
) -> float:
    """||b||, unless the system cannot be solved; on several processes all of them refuse.

    Raises
    ------
    DataError
        For shapes that do not fit, values that are not finite, tolerances outside (0, 1), and no products at all.
    """
    with A.group.agree():
        for name, vector in {"b": b, "the start": start}.items():
            if vector is not None:
                _check_vector(name, vector, A.size)
        if M is not None and M.size != A.size:
            raise DataError(f"the preconditioner is one of {M.size} unknowns, the matrix has {A.size}.")
        if space is not None and len(space.vectors) != A.size:
            raise DataError(f"the recycled space is one of {len(space.vectors)} unknowns, the matrix has {A.size}.")
        if space is not None and not np.isfinite(space.vectors).all():
            raise DataError("the recycled space has entries that are NaN or infinite.")
        if not 0 < tolerance < 1:
            raise DataError(f"the tolerance must lie between 0 and 1, got {tolerance}.")
        if max_products < 1:
            raise DataError(f"max_products must be positive, got {max_products}.")
    scale = A.norm(b)
    if not 1e-140 < scale < 1e140 and A.group.any(b.any()):
        raise DataError(f"the norm of b is {scale:.0e}, its square over- or underflows: scale the system.")
    return scale


def _check_vector(name: str, vector: Any, size: int) -> None:
    if not isinstance(vector, np.ndarray) or vector.dtype.kind not in "biufc":
        raise DataError(f"{name} must be an array of numbers, got {type(vector).__name__}.")
    if vector.shape != (size,):
        raise DataError(f"{name} must have the shape {(size,)} of the matrix, not {vector.shape}.")
    if not np.isfinite(vector).all():
        raise DataError(f"{name} has entries that are NaN or infinite.")


def carried(A: Operator, space: RecycledSpace, same_matrix: bool, products: Products) -> RecycledSpace:
    """U with A U by products, which are counted, where they are finite.

    With `same_matrix` the images are those that the space brings, which one product confirms.

    Raises
    ------
    DataError
        If they are not those of this matrix.
    """
    if not same_matrix:
        products.refresh += space.size
        images = A.columns(space.vectors)
        finite = np.isfinite(A.group.total(np.einsum("ij,ij->j", images.conj(), images).real))
        return RecycledSpace(space.vectors[:, finite], images[:, finite])
    weights = np.cos(np.arange(1.0, space.size + 1.0) ** 2)  # as good as random
    expected = space.images @ weights
    products.residuals += 1
    if A.norm(A.apply(space.vectors @ weights) - expected) > 1e-6 * A.norm(expected):
        raise DataError("the recycled space is not of this matrix: same_matrix=True needs the very same one.")
    return space


def wants_to_stop(callback: Callback | None, residual: float, group: Group) -> bool:
    """Whether the callback of one of the processes asks to stop; if one raises, all do."""
    stop = False
    if callback is not None:
        with group.agree():
            stop = bool(callback(residual))
        stop = group.any(stop)
    return stop


def common_dtype(
    A: Operator, M: Operator | None, b: Array, start: Array | None, space: RecycledSpace | None
) -> np.dtype[Any]:
    """The type of the solution: complex if anything is."""
    types = [A.dtype, b.dtype]
    types += [M.dtype] if M is not None else []
    types += [start.dtype] if start is not None else []
    types += [space.vectors.dtype] if space is not None else []
    return np.result_type(*types, float)
