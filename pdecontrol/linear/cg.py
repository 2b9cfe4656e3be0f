"""Conjugate gradients that deflate a recycled space and return one.

Sources: Y. Saad, M. Yeung, J. Erhel, F. Guyomarc'h, A deflated version of the conjugate gradient algorithm, SIAM J.
Sci. Comput. 21 (2000), 1909-1926, algorithm 3.6, whose steps stand in the margin; for windows of directions, S. Wang,
E. de Sturler, G. Paulino, Large-scale topology optimization using preconditioned Krylov subspace methods with
recycling, Int. J. Numer. Methods Eng. 69 (2007), 2441-2468.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import DataError
from .operator import Operator, as_operator
from .recycle import INDEPENDENT, RecycledSpace
from .solution import Callback, KrylovSolution, Outcome, Products, carried, check_system, common_dtype, wants_to_stop

WINDOW = 2  # directions that are kept for the next space, as a multiple of k
GROWTH = 1e8  # of the residual, at most cond(A)^1/2 as the energy of the error falls: A is singular to rounding


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is an outcome
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
        For shapes that do not fit, values that are not finite, and a `same_matrix` that is not the same.

    Notes
    -----
    Short recurrences: a step takes one product with A and with M^-1, whatever k is, and the projection on the space.
    Its next version holds the Ritz vectors of M^-1 A of smallest Ritz value, in the inner product of A, on the old
    space and all directions, taken in windows of 2 k. For the directions M^-1 A P comes from the preconditioned
    residuals; M^-1 A U costs k applications of M^-1 more.

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
    scale = check_system(A, M, b, start, space, tolerance, max_products)
    if k < 0:
        raise DataError(f"the number of recycled vectors is 0 or more, got k = {k}.")
    dtype = common_dtype(A, M, b, start, space)
    products, history = Products(), list[float]()
    target = tolerance * scale

    def precondition(r: Array) -> Array:
        products.preconditioner += M is not None
        return r if M is None else np.asarray(M.apply(r), dtype)

    x, r = np.zeros(A.size, dtype), b.astype(dtype)
    if start is not None and scale > 0:
        x, r = start.astype(dtype), b - A.apply(start)
        products.residuals += 1
    ritz = None
    U = C = np.empty((A.size, 0), dtype)
    if k > 0:
        if space is not None and space.size:
            space = carried(A, space, same_matrix, products)
            U, C = _conjugate(A, space.vectors[:, :k].astype(dtype), space.images[:, :k].astype(dtype))
        ritz = _Window(A, U, C, np.stack([precondition(c) for c in C.T], axis=1) if C.size else C, k)

    size = A.norm(r)
    outcome = None if np.isfinite(size) else Outcome.NOT_FINITE
    while outcome is None and size > target:
        part = A.inner(U, r)  # 1
        trial: Array = x + U @ part
        rest: Array = r - C @ part
        estimate = reach = A.norm(rest)
        goal = max(target, 1e-15 * reach)  # the recursion of r means nothing below its rounding
        z = precondition(rest)
        rho = float(A.inner(rest, z).real)
        p: Array = z - U @ A.inner(C, z)  # 2
        while outcome is None and estimate > goal:
            q = A.apply(p)
            products.steps += 1
            curvature = float(A.inner(p, q).real)
            if not np.isfinite(curvature):
                outcome = Outcome.NOT_FINITE
                break
            if curvature <= 0 or rho <= 0 or estimate > GROWTH * reach:
                outcome = Outcome.BREAKDOWN
                break
            alpha = rho / curvature  # 5
            trial = trial + alpha * p  # 6
            rest = rest - alpha * q
            if C.shape[1]:
                rest = rest - C @ A.inner(U, rest)  # U^H r = 0 but for rounding, which would grow
            estimate = A.norm(rest)
            history.append(estimate / scale)
            if wants_to_stop(callback, estimate / scale, A.group):
                outcome = Outcome.STOPPED
            elif products.total + 2 > max_products:  # a step and a residual
                outcome = Outcome.LIMIT
            if ritz is None and (outcome is not None or estimate <= goal):
                break  # nobody needs M^-1 r any more
            before, z = z, precondition(rest)
            rho, last = float(A.inner(rest, z).real), rho
            if ritz is not None and np.isfinite(rho):
                ritz.add(p / curvature**0.5, q / curvature**0.5, (before - z) / (alpha * curvature**0.5))
            p = (rho / last) * p + z  # 7, 8
            if C.shape[1]:
                p = p - U @ A.inner(C, z)
        rest = b - A.apply(trial)
        products.residuals += 1
        new = A.norm(rest)
        if not np.isfinite(new):
            outcome = Outcome.NOT_FINITE
        elif new <= target:
            outcome = Outcome.CONVERGED
        elif outcome is None and new > 0.5 * size:
            outcome = Outcome.ROUNDING
        elif outcome is None and products.total + 2 > max_products:
            outcome = Outcome.LIMIT
        if new < size or outcome is Outcome.STOPPED:
            x, r, size = trial, rest, new
    recycled = None if ritz is None else ritz.space()
    return KrylovSolution(x, recycled, outcome or Outcome.CONVERGED, size / (scale or 1.0), products, history)


def _conjugate(A: Operator, U: Array, C: Array) -> tuple[Array, Array]:
    """U and C = A U in a basis with U^H A U = I; what depends on the rest, or makes A indefinite, is left out."""
    for _ in range(2):
        basis = _orthonormal(_hermitian(A.inner(U, C)))
        U, C = U @ basis, C @ basis
    return U, C


def _orthonormal(mass: Array) -> Array:
    """Vectors B with B^H mass B = I, where a Hermitian matrix is positive beyond rounding."""
    diagonal = np.diagonal(mass).real
    scale = np.where(diagonal > 0, 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    values, vectors = np.linalg.eigh(scale[:, None] * mass * scale)
    kept = values > INDEPENDENT * values.max(initial=0.0)
    return scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])


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
        basis = _orthonormal(_hermitian(self._A.inner(R, S)))  # directions lose their independence to rounding
        _, vectors = np.linalg.eigh(_hermitian(basis.conj().T @ self._A.inner(S, T) @ basis))
        vectors = basis @ vectors[:, : self._k]
        self._basis = [R @ vectors, S @ vectors, T @ vectors]

    def space(self) -> RecycledSpace | None:
        """The space for the next system."""
        if self._new:
            self._compress()
        vectors, images, _ = self._basis
        return RecycledSpace(vectors, images) if vectors.shape[1] else None


def _hermitian(matrix: Array) -> Array:
    return (matrix + matrix.conj().T) / 2
