"""Conjugate gradients: the plain method, and one that deflates a recycled space and returns one.

Sources: Y. Saad, M. Yeung, J. Erhel, F. Guyomarc'h, A deflated version of the conjugate gradient algorithm, SIAM J.
Sci. Comput. 21 (2000), 1909-1926; for windows of directions, S. Wang, E. de Sturler, G. Paulino, Large-scale topology
optimization using preconditioned Krylov subspace methods with recycling, Int. J. Numer. Methods Eng. 69 (2007),
2441-2468. The numbers in the margin are the steps of algorithm 3.6 of the first, in short: 1 the start, 2 the first
direction, 3 the length of a step, 4 the iterate and its residual, 5 the next direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..errors import DataError
from .krylov import Callback, Iteration, KrylovResult, Outcome
from .operator import Operator
from .recycle import INDEPENDENT, RecycledSpace

WINDOW = 2  # directions that are kept for the next space, as a multiple of k
GROWTH = 1e8  # of the residual, at most cond(A)^1/2 as the energy of the error falls: A is singular to rounding

Inner = Callable[[Array, Array], float]


class Step(NamedTuple):
    """x += length * direction; then <r, M^-1 r> is a `ratio` of what it was, and a `reduction` of what it was first.

    `image` is what the operator returned besides the product.
    """

    length: float
    direction: Array
    image: Any
    ratio: float
    reduction: float


def steps(
    operator: Callable[[Array], tuple[Array, Any]], b: Array, inner: Inner, precondition: Callable[[Array], Array]
) -> Iterator[Step]:
    """The steps of conjugate gradients for A x = b from 0, for d -> (A d, anything).

    A and the preconditioner M^-1 are self-adjoint in the inner product. Where they are not positive, or r = 0, the last
    step has the length 0.
    """
    r = b
    d = z = precondition(r)  # 2
    first = rz = inner(r, z)
    while True:
        ad, image = operator(d)
        curvature = inner(d, ad)
        if not (curvature > 0 and rz > 0):
            yield Step(0.0, d, image, 1.0, 1.0)
            return
        length = rz / curvature  # 3
        r = r - length * ad  # 4
        z = precondition(r)
        rz, before = inner(r, z), rz
        yield Step(length, d, image, rz / before, rz / first)
        d = z + (rz / before) * d  # 5


def conjugate_gradients(
    operator: Callable[[Array], tuple[Array, Array]], b: Array, inner: Inner, tolerance: float, limit: int
) -> tuple[Array, Array, bool]:
    """x with A x = b to a relative residual, and B x, for d -> (A d, B d) with A self-adjoint in the inner product.

    Stops at negative curvature, or after so many steps, with what it has; the last tells whether x is as good as asked.
    """
    x, bx = np.zeros_like(b), np.zeros(())
    for step in islice(steps(operator, b, inner, lambda r: r), limit):
        x, bx = x + step.length * step.direction, bx + step.length * step.image
        if step.reduction <= tolerance**2:
            return x, bx, True
    return x, bx, False


def least_ritz_value(
    product: Callable[[Array], Array], b: Array, inner: Inner, precondition: Callable[[Array], Array], limit: int
) -> tuple[float, int]:
    """The least Ritz value of M^-1 A that conjugate gradients meet on the way to 1e-8 from b, and the number of steps.

    It is 0 where A is not positive.
    """
    lengths, ratios = list[float](), list[float]()
    for step in islice(steps(lambda d: (product(d), None), b, inner, precondition), limit):
        if step.length == 0:
            return 0.0, len(lengths)
        lengths.append(step.length)
        ratios.append(step.ratio)
        if step.reduction <= 1e-16:
            break
    inverse, ratio = 1.0 / np.array(lengths), np.array(ratios[:-1])
    off = np.sqrt(ratio) * inverse[:-1]
    tridiagonal = np.diag(inverse + np.append(0.0, ratio * inverse[:-1])) + np.diag(off, 1) + np.diag(off, -1)
    return float(np.linalg.eigvalsh(tridiagonal)[0]), len(lengths)


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is an outcome
def cg(
    matrix: Any, b: Array, preconditioner: Any = None, *, start: Array | None = None,
    space: RecycledSpace | None = None, same_matrix: bool = False, k: int = 0, tolerance: float = 1e-8,
    max_products: int = 10_000, callback: Callback | None = None,
) -> KrylovResult:  # fmt: skip
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
    The `KrylovResult`; its outcome says whether it converged.

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
    run = Iteration(matrix, b, preconditioner, start, space, tolerance, max_products, callback)
    if k < 0:
        raise DataError(f"the number of recycled vectors is 0 or more, got k = {k}.")
    window = _Window(run, space, same_matrix, k)
    while run.goes_on:
        before = run.size
        new = run.judge(_descend(run, window))
        if run.outcome is None and new > 0.5 * before:
            run.outcome = Outcome.ROUNDING
        run.limit()
    return run.result(window.space())


def _descend(run: Iteration, window: _Window) -> Array:
    """x after steps until the residual of the recursion is small enough, or something ends them."""
    A, U, C = run.A, window.U, window.C
    part = A.inner(U, run.r)  # 1
    x: Array = run.x + U @ part
    r: Array = run.r - C @ part
    estimate = reach = A.norm(r)
    goal = max(run.target, 1e-15 * reach)  # the recursion of r means nothing below its rounding
    z = run.precondition(r)
    rho = float(A.inner(r, z).real)
    p: Array = z - U @ A.inner(C, z)  # 2
    going = True
    while going and estimate > goal:
        q = run.apply(p)
        curvature = float(A.inner(p, q).real)
        if not (0 < curvature < np.inf and rho > 0 and estimate <= GROWTH * reach):
            run.outcome = Outcome.BREAKDOWN if np.isfinite(curvature) else Outcome.NOT_FINITE
            break
        alpha = rho / curvature  # 3
        x = x + alpha * p  # 4
        r = r - alpha * q
        if C.shape[1]:
            r = r - C @ A.inner(U, r)  # U^H r = 0 but for rounding, which would grow
        estimate = A.norm(r)
        going = run.watch(estimate)
        if not (window.k or (going and estimate > goal)):
            break  # nobody needs M^-1 r any more
        before, z = z, run.precondition(r)
        rho, last = float(A.inner(r, z).real), rho
        if window.k and np.isfinite(rho):
            window.add(p, q, (before - z) / alpha, curvature**0.5)
        p = (rho / last) * p + z  # 5
        if C.shape[1]:
            p = p - U @ A.inner(C, z)
    return x


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
    """The best space so far: Ritz vectors on it and on windows of directions, with S = A R and T = M^-1 A R.

    `U` and `C` = A U are the space to deflate.
    """

    def __init__(self, run: Iteration, space: RecycledSpace | None, same_matrix: bool, k: int) -> None:
        self._A, self.k = run.A, k
        space = run.carried(space if k > 0 else None, same_matrix)
        self.U, self.C = _conjugate(run.A, space.vectors[:, :k], space.images[:, :k])
        T = np.stack([run.precondition(c) for c in self.C.T], axis=1) if self.C.shape[1] else self.C
        self._basis = [self.U, self.C, T]
        self._new: list[tuple[Array, Array, Array]] = []

    def add(self, p: Array, q: Array, z: Array, length: float) -> None:
        """A direction, q = A p and z = M^-1 A p, and (p^H A p)^1/2."""
        self._new.append((p / length, q / length, z / length))
        if len(self._new) == WINDOW * self.k:
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
        vectors = basis @ vectors[:, : self.k]
        self._basis = [R @ vectors, S @ vectors, T @ vectors]

    def space(self) -> RecycledSpace | None:
        """The space for the next system."""
        if self._new:
            self._compress()
        vectors, images, _ = self._basis
        return RecycledSpace(vectors, images) if vectors.shape[1] else None


def _hermitian(matrix: Array) -> Array:
    return (matrix + matrix.conj().T) / 2
