"""Recycled Krylov spaces: what one linear system leaves to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr

from ..arrays import Array
from ..errors import DataError
from ..parallel import ALONE, Group

INDEPENDENT = 1e-8  # a carried vector counts if its image has at least this part orthogonal to those of the others
REGULAR = 1e-12  # the same for the columns of G, among which nearly singular directions are the ones to keep


@dataclass(frozen=True, eq=False)
class RecycledSpace:
    """span U in solution space, with the images C = A U under the last matrix.

    Parameters
    ----------
    vectors : U (n, k), the entries that this process owns.
    images : C (n, k). Orthonormal after `gcrodr`, while `cg` leaves U with U^H A U = I.

    Notes
    -----
    U lives in solution space, whatever the preconditioner was. So it keeps its meaning when matrix and preconditioner
    change, and is refreshed by the products A U. While the matrix stays the same, C is valid and these are saved.
    """

    vectors: Array
    images: Array

    def __repr__(self) -> str:
        return f"<RecycledSpace: {self.vectors.shape[1]} vectors of {len(self.vectors)} entries>"

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.vectors.shape != self.images.shape:
            raise DataError(
                f"a recycled space takes two arrays of one shape (n, k), got {self.vectors.shape} and "
                f"{self.images.shape}."
            )

    @property
    def size(self) -> int:
        """The dimension k."""
        return int(self.vectors.shape[1])


def orthonormal_images(vectors: Array, images: Array, group: Group = ALONE) -> RecycledSpace:
    """U R^-1 and C = (A U) R^-1 with C^H C = I, from U and A U; columns that nearly depend on others are dropped.

    Parameters
    ----------
    vectors, images : U and A U (n, k).

    Notes
    -----
    The factors R of the processes are factorised once more together, which is as stable as Householder's method for
    the whole matrix and takes one message.
    """
    own, factor = np.linalg.qr(images)
    factors = group.collect(factor)
    start = sum(len(other) for other in factors[: group.rank])
    Q, R, columns = independent(np.vstack(factors), INDEPENDENT)
    return RecycledSpace(vectors[:, columns] @ np.linalg.inv(R), own @ Q[start : start + len(factor)])


def independent(matrix: Array, cutoff: float) -> tuple[Array, Array, Array]:
    """Q, R and columns J with A[:, J] = Q R, Q^H Q = I and R triangular, as many as are independent of each other.

    Parameters
    ----------
    matrix : A (l, j).
    cutoff : the least part of a column, relative to its length, that is orthogonal to those taken before.

    Notes
    -----
    With lengths 1, the rank is that of the directions: a short column counts like others.
    """
    lengths = np.linalg.norm(matrix, axis=0)
    if not lengths.any():
        return matrix[:, :0], np.empty((0, 0), matrix.dtype), np.empty(0, int)
    q, r, order = qr(matrix / np.where(lengths > 0, lengths, 1.0), mode="economic", pivoting=True)
    rank = int(np.count_nonzero(np.abs(np.diagonal(r)) > cutoff))
    columns = order[:rank]
    return q[:, :rank], r[:rank, :rank] * lengths[columns], columns


def harmonic_ritz(gain: Array, overlap: Array, count: int) -> tuple[Array, Array]:
    """The harmonic Ritz vectors V P of smallest abs(theta) on a search space V with A V = W G, W^H W = I.

    They solve G^H G z = theta G^H (W^H V) z: then A V z - theta V z is orthogonal to A V.

    Parameters
    ----------
    gain : G (l, j) of rank j or less, l >= j.
    overlap : W^H V (l, j).
    count : how many; one less where a pair of complex vectors of a real problem would be cut.

    Returns
    -------
    P (j, k) and Q (l, k) with A (V P) = W Q and Q^H Q = I: U = V P and C = W Q are a recycled space.

    Notes
    -----
    With the factors G = X R, the columns of W X are an orthonormal basis of A V. There A^-1 is represented by the
    matrix T = X^H (W^H V) R^-1, whose eigenvalues are the 1 / theta. This avoids the squared condition of G^H G.
    """
    X, R, columns = independent(gain, REGULAR)
    inverse = np.linalg.inv(R)
    values, vectors = np.linalg.eig(X.conj().T @ overlap[:, columns] @ inverse)
    basis = independent(_leading(values, vectors, count, real=not np.iscomplexobj(gain)), INDEPENDENT)[0]
    combination = np.zeros((gain.shape[1], basis.shape[1]), basis.dtype)
    combination[columns] = inverse @ basis
    return combination, X @ basis


def principal_angle(first: Array, second: Array) -> float:
    """||(I - P_C) P_Q||_2 = sin of the largest principal angle from span Q to span C.

    Parameters
    ----------
    first, second : bases Q (n, p) and C (n, q) as columns, of full rank.

    Notes
    -----
    It depends on the spaces alone, not on signs or rotations of the bases, and is 1 if Q has the larger dimension. It
    is the delta of Theorem 3.1 of Parks et al. (2006).

    Examples
    --------
    >>> principal_angle(np.eye(3)[:, :1], np.eye(3)[:, 1:])
    1.0
    """
    q, c = np.linalg.qr(first)[0], np.linalg.qr(second)[0]
    return min(1.0, float(np.linalg.norm(q - c @ (c.conj().T @ q), 2)))


def _leading(values: Array, vectors: Array, count: int, real: bool) -> Array:
    """The eigenvectors of the largest |values|; for real problems the real and imaginary part of each pair."""
    order = np.argsort(-np.abs(values), kind="stable")
    if not real:
        return vectors[:, order[:count]]
    columns: list[Array] = []
    for i in order:
        if values[i].imag < 0:
            continue  # its conjugate speaks for it
        pair = [vectors[:, i].real] if values[i].imag == 0 else [vectors[:, i].real, vectors[:, i].imag]
        if len(columns) + len(pair) > count:
            break
        columns += pair
    return np.stack(columns, axis=1) if columns else np.empty((len(values), 0))
