"""Families of linear systems, as a strategy sees them, and what a few systems of one have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from ...arrays import Array
from ...errors import ProblemError

System = tuple[sp.csr_matrix, Array]


class SystemFamily(Protocol):
    """Linear systems A(theta) x = b(theta) with parameters theta; what a strategy needs to know of them."""

    @property
    def dimension(self) -> int:
        """Of the domain: it tells how factors fill in."""

    @property
    def grid(self) -> tuple[int, ...] | None:
        """The shape of the unknowns, where they form a grid."""

    def reference(self) -> sp.csr_matrix:
        """The matrix of the mean parameters, which stands for all of them in preconditioners."""

    def system(self, sample: Any) -> System:
        """The matrix and the right-hand side for the parameters of one sample."""

    def coercivity(self, sample: Any) -> float | None:
        """c with e' A e >= c e' L e for all e, L the reference; None where there is none."""

    def features(self, samples: Sequence[Any]) -> Array:
        """The parameters of samples as rows (N, p), whose Euclidean distances say how alike systems are."""


@dataclass(frozen=True)
class Traits:
    """What a few systems of a family have in common.

    Attributes
    ----------
    unknowns, nonzeros : of each matrix.
    complex, symmetric : of the matrices.
    definite : whether they are symmetric with diagonally dominant rows, in each connected part one of them strictly,
        hence positive definite.
    pattern : whether they share their sparsity.
    constant : whether all matrices are the same.
    matrix_rank, rhs_rank : how many matrices, or right-hand sides, span all that were looked at; None if all do.
    """

    unknowns: int
    nonzeros: int
    complex: bool
    symmetric: bool
    definite: bool
    pattern: bool
    constant: bool
    matrix_rank: int | None
    rhs_rank: int | None


def assemble(family: SystemFamily, sample: Any) -> System:
    """The system of a sample, its matrix in rows."""
    matrix, b = family.system(sample)
    if not sp.issparse(matrix):
        raise ProblemError(f"the matrix of {type(family).__name__} must be a sparse one of scipy, not {type(matrix)}.")
    return matrix if matrix.format == "csr" else sp.csr_matrix(matrix), b


def inspect(systems: Sequence[System]) -> Traits:
    """What systems have in common."""
    first = systems[0][0]
    matrices = [matrix for matrix, _ in systems]
    pattern = all(
        matrix.nnz == first.nnz and bool((matrix.indices == first.indices).all())
        and bool((matrix.indptr == first.indptr).all())
        for matrix in matrices[1:]
    )  # fmt: skip
    entries = np.stack([matrix.data for matrix in matrices], axis=1) if pattern else None
    constant = entries is not None and bool((entries == entries[:, :1]).all())
    symmetric = all(_symmetric(matrix) for matrix in (matrices[:1] if constant else matrices))
    return Traits(
        unknowns=first.shape[0],
        nonzeros=first.nnz,
        complex=any(np.iscomplexobj(matrix.data) for matrix in matrices),
        symmetric=symmetric,
        definite=symmetric and all(_dominant(matrix) for matrix in (matrices[:1] if constant else matrices)),
        pattern=pattern,
        constant=constant,
        matrix_rank=None if entries is None else _rank(entries),
        rhs_rank=_rank(np.stack([b for _, b in systems], axis=1)),
    )


def _symmetric(matrix: sp.csr_matrix) -> bool:
    difference = abs(matrix - matrix.conj().T)
    return bool(difference.max() <= 1e-14 * abs(matrix).max())


def _dominant(matrix: sp.csr_matrix) -> bool:
    diagonal = matrix.diagonal().real
    rest = np.asarray(abs(matrix).sum(axis=1)).ravel() - np.abs(matrix.diagonal())
    _, component = connected_components(matrix != 0, directed=False)
    strictly = np.bincount(component, diagonal > rest * (1 + 1e-12)) > 0  # else constants may be in the kernel
    return bool((diagonal > 0).all() and (diagonal >= rest * (1 - 1e-12)).all() and strictly.all())


def _rank(columns: Array) -> int | None:
    values = np.linalg.svd(np.linalg.qr(columns)[1], compute_uv=False)
    rank = int(np.count_nonzero(values > 1e-12 * values[0]))
    return rank if rank < columns.shape[1] else None
