"""Conjugate gradients that deflate a recycled space and return one.

Sources: Y. Saad, M. Yeung, J. Erhel, F. Guyomarc'h, A deflated version of the conjugate gradient algorithm, SIAM J.
Sci. Comput. 21 (2000), 1909-1926, algorithm 3.6, whose steps stand in the margin; for windows of directions, S. Wang,
E. de Sturler, G. Paulino, Large-scale topology optimization using preconditioned Krylov subspace methods with
recycling, Int. J. Numer. Methods Eng. 69 (2007), 2441-2468.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cholesky, eigh, solve_triangular

from ..errors import DataError
from .operator import Array, Operator, as_operator
from .recycle import RecycledSpace
from .solution import Callback, KrylovSolution, Outcome, Products, check_system, common_dtype

WINDOW = 2  # directions that are kept for the next space, as a multiple of k


def cg(
    matrix: Any,
    b: Array,
    preconditioner: Any = None,
    *,
    start: Array | None = None,
    space: RecycledSpace | None = None,
    same_matrix: bool = False,
    k: int = 0,
    tolerance: float = 1e-8,
    max_products: int = 10_000,
    callback: Callback | None = None,
) -> KrylovSolution:
    """A x = b for symmetric positive definite A by deflated conjugate gradients, ||b - A x|| <= tolerance ||b||.

    Parameters
    ----------
    matrix : A, a numpy or scipy matrix, a LinearOperator, or a matrix of PETSc; Hermitian positive definite.
    b : the right-hand side (n,), the entries that this process owns.
    preconditioner : M^-1, Hermitian positive definite and fixed, of the same kinds or a PC of PETSc.
    start, space, same_matrix, tolerance, max_products, callback : see `gcrodr`.
    k : how many vectors to recycle; 0 is the usual conjugate gradient method.

    Returns
    -------
    The `KrylovSolution`; its outcome says whether it converged.

    Raises
    ------
    DataError
        For shapes that do not fit, and values that are not finite.

    Notes
    -----
    Short recurrences: a step takes one product with A and with M^-1, whatever k is, and the projection on the space.
    Its next version holds the Ritz vectors of M^-1 A of smallest Ritz value, in the inner product of A, on the old
    space and all directions, taken in windows of 2 k. With U^H A U = I; M^-1 A P comes from the preconditioned residuals, so
    only M^-1 A U costs k applications of M^-1 more.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> A = sp.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(200, 200)).tocsr()
    >>> b = np.random.default_rng(1).standard_normal((2, 200))
    >>> first = cg(A, b[0], k=10)
    >>> second = cg(A, b[1], k=10, space=first.space, same_matrix=True)
    >>> second.converged and second.products.total < 0.6 * first.products.total
    True
    """
    A = as_operator(matrix)
    M = None if preconditioner is None else as_operator(preconditioner, "the preconditioner")
    check_system(A, M, b, start, space, tolerance)
    if k < 0:
        raise DataError(f"the number of recycled vectors is 0 or more, got k = {k}.")
    dtype = common_dtype(A, M, b, start, space)
    products, history = Products(), list[float]()
    scale = A.norm(b)
    if scale == 0.0:
        return KrylovSolution(np.zeros(A.size, dtype), space, Outcome.CONVERGED, 0.0, products, history)
    target = tolerance * scale

    def precondition(r: Array) -> Array:
        products.preconditioner += M is not None
        return r if M is None else np.asarray(M.apply(r), dtype)

    x, r = np.zeros(A.size, dtype), b.astype(dtype)
    if start is not None:
        x, r = start.astype(dtype), b - A.apply(start)
        products.residuals += 1
    ritz = None
    U = C = np.empty((A.size, 0), dtype)
    if k > 0:
        if space is not None:
            images = space.images if same_matrix else A.columns(space.vectors)
            products.refresh += 0 if same_matrix else space.size
            U, C = _conjugate(A, space.vectors[:, :k].astype(dtype), images[:, :k].astype(dtype))
        ritz = _Window(A, U, C, np.stack([precondition(c) for c in C.T], axis=1) if C.size else C, k)

    size, outcome = A.norm(r), None
    while outcome is None and not size <= target:
        part = A.inner(U, r)  # 1
        x, r = x + U @ part, r - C @ part
        z = precondition(r)
        p: Array = z - U @ A.inner(C, z)  # 2
        rho, steps = float(A.inner(r, z).real), 0
        estimate = A.norm(r)
        while outcome is None and estimate > target:
            q = A.apply(p)
            products.steps += 1
            steps += 1
            curvature = float(A.inner(p, q).real)
            if not np.isfinite(curvature):
                outcome = Outcome.NOT_FINITE
            elif curvature <= 0 or rho <= 0:
                outcome = Outcome.BREAKDOWN
            if outcome is not None:
                break
            alpha = rho / curvature  # 5
            x = x + alpha * p  # 6
            r = r - alpha * q
            before, z = z, precondition(r)
            if ritz is not None:
                ritz.add(p / curvature**0.5, q / curvature**0.5, (before - z) / (alpha * curvature**0.5))
            rho, last = float(A.inner(r, z).real), rho
            p = (rho / last) * p + z  # 7, 8
            if C.shape[1]:
                p = p - U @ A.inner(C, z)
            estimate = A.norm(r)
            history.append(estimate / scale)
            if callback is not None and callback(estimate / scale):
                outcome = Outcome.STOPPED
            elif products.total >= max_products:
                outcome = Outcome.LIMIT
        r = b - A.apply(x)
        products.residuals += 1
        new = A.norm(r)
        if not np.isfinite(new):
            outcome = Outcome.NOT_FINITE
        elif new <= target:
            outcome = Outcome.CONVERGED
        elif outcome is None and new > 0.5 * size:
            outcome = Outcome.ROUNDING
        size = new
    recycled = space if ritz is None else ritz.space()
    return KrylovSolution(x, recycled, outcome or Outcome.CONVERGED, size / scale, products, history)


def _conjugate(A: Operator, U: Array, C: Array) -> tuple[Array, Array]:
    """U and C = A U in a basis with U^H A U = I; nothing where rounding or an indefinite matrix do not allow it."""
    lengths = np.sqrt(np.maximum(A.group.total(np.einsum("ij,ij->j", U.conj(), C).real), 0.0))
    U, C = U[:, lengths > 0] / lengths[lengths > 0], C[:, lengths > 0] / lengths[lengths > 0]
    try:
        factor = cholesky(_hermitian(A.inner(U, C)))
    except LinAlgError:
        return U[:, :0], C[:, :0]
    inverse = solve_triangular(factor, np.eye(len(factor)))
    return U @ inverse, C @ inverse


class _Window:
    """The best space so far: Ritz vectors on it and on windows of directions, with S = A R and T = M^-1 A R."""

    def __init__(self, A: Operator, R: Array, S: Array, T: Array, k: int) -> None:
        self._A, self._k = A, k
        self._basis = [R, S, T]
        self._new: list[tuple[Array, Array, Array]] = []

    def add(self, p: Array, q: Array, z: Array) -> None:
        """A direction with p^H A p = 1, q = A p and z = M^-1 A p."""
        self._new.append((p, q, z))
        if len(self._new) == WINDOW * self._k:
            self._compress()

    def _compress(self) -> None:
        """S^H M^-1 S y = theta R^H S y on the old space and the new directions."""
        R, S, T = (
            np.hstack([old, np.stack(new, axis=1)])
            for old, new in zip(self._basis, zip(*self._new, strict=True), strict=True)
        )
        self._new.clear()
        stiffness, mass = _hermitian(self._A.inner(S, T)), _hermitian(self._A.inner(R, S))
        try:
            _, vectors = eigh(stiffness, mass, subset_by_index=(0, min(self._k, len(mass)) - 1))
        except LinAlgError:
            return  # the directions have lost their independence to rounding: the space stays as it was
        self._basis = [R @ vectors, S @ vectors, T @ vectors]

    def space(self) -> RecycledSpace | None:
        """The space for the next system."""
        if self._new:
            self._compress()
        vectors, images, _ = self._basis
        return RecycledSpace(vectors, images) if vectors.shape[1] else None


def _hermitian(matrix: Array) -> Array:
    return (matrix + matrix.conj().T) / 2
