"""GCRO-DR: restarted GMRES that takes a recycled space and returns one.

Source: M. Parks, E. de Sturler, G. Mackey, D. Johnson, S. Maiti, Recycling Krylov subspaces for sequences of linear
systems, SIAM J. Sci. Comput. 28 (2006), 1651-1674. The numbers in the margin are the steps of its appendix, in short:
1 the residual, 2 the carried space, 3 and 4 cycles, 5 what is carried on.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import DataError
from .krylov import Callback, Iteration, KrylovResult, Outcome
from .recycle import RecycledSpace, harmonic_ritz, independent, orthonormal_images

SINGULAR = 1e-14  # columns of G that depend on others to this relative accuracy do so but for rounding


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is an outcome
def gcrodr(
    matrix: Any, b: Array, preconditioner: Any = None, *, start: Array | None = None,
    space: RecycledSpace | None = None, same_matrix: bool = False, m: int = 40, k: int = 20, tolerance: float = 1e-8,
    max_products: int = 10_000, callback: Callback | None = None,
) -> KrylovResult:  # fmt: skip
    """A x = b by GMRES with deflated restarts, ||b - A x|| <= tolerance ||b||, recycling k vectors.

    Parameters
    ----------
    matrix : A, a numpy or scipy matrix, a LinearOperator, or a matrix of PETSc; real or complex.
    b : the right-hand side (n,), the entries that this process owns.
    preconditioner : M^-1 from the right, of the same kinds, or a preconditioner (PC) of PETSc. It may change from one
        application to the next (flexible).
    start : where to begin, zero by default.
    space : what an earlier solve returned, for this or another matrix of the same size. Its k images A U are computed
        anew and counted as `refresh`.
    same_matrix : the space comes from this very matrix: its images are valid, which one product confirms.
    m, k : dimensions of the whole search space and of its recycled part, 0 <= k < m; k = 0 is GMRES(m).
    tolerance : of the true residual, relative to b.
    max_products : with the matrix, of all kinds; those for start and space, and one step, are made in any case.
    callback : called with the relative residual after each step; return True (on one process at least) to stop.

    Returns
    -------
    The `KrylovResult`; its outcome says whether it converged.

    Raises
    ------
    DataError
        For shapes that do not fit, values that are not finite, and a `same_matrix` that is not the same.

    Notes
    -----
    A U = C and C^H C = I at all times. The search space is [U, Z] with Z = M^-1 V from the Arnoldi process with
    (I - C C^H) A M^-1, orthogonalised twice; U is in solution space. See `harmonic_ritz` for what is kept of it.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> A = sp.diags([-1.0, 2.5, -1.2], [-1, 0, 1], shape=(400, 400)).tocsr()
    >>> first = gcrodr(A, np.ones(400), m=20, k=8)
    >>> second = gcrodr(1.1 * A, np.arange(400.0), m=20, k=8, space=first.space)
    >>> first.converged and second.converged, second.products.refresh
    (True, 8)
    """
    run = Iteration(matrix, b, preconditioner, start, space, tolerance, max_products, callback)  # 1
    if not (isinstance(m, Integral) and isinstance(k, Integral) and 0 <= k < m):
        raise DataError(
            f"integers 0 <= k < m are needed for the recycled and the whole dimension, got k = {k}, m = {m}."
        )
    space = run.carried(space if k > 0 else None, same_matrix)  # 2
    space = orthonormal_images(space.vectors, space.images, run.A.group)
    return run.result(_cycles(run, RecycledSpace(space.vectors[:, :k], space.images[:, :k]), m, k))


def _cycles(run: Iteration, space: RecycledSpace, m: int, k: int) -> RecycledSpace | None:
    """Cycles until something ends them; the space to carry on."""
    A, cycle, idle = run.A, _Cycle(run, m), 0
    while run.goes_on:
        U, C, before = space.vectors, space.images, run.size
        trial, rest = run.x, run.r
        for _ in range(2):  # the first leaves a part that may be large compared with what remains
            part = A.inner(C, rest)
            trial, rest = trial + U @ part, rest - C @ part
        estimate = A.norm(rest)
        cycle.begin(U, C, rest, estimate)  # 3
        going = True
        while going and cycle.open and estimate > run.target:
            estimate = cycle.step()
            going = run.watch(estimate)
        if run.outcome is Outcome.NOT_FINITE:
            break
        new = run.judge(trial + cycle.update())  # 4
        idle = 0 if new < (1 - 1e-9) * before else idle + 1
        broken = cycle.exhausted and not space.size  # the Krylov space is invariant, and has no solution if idle
        if run.outcome is None and idle and (broken or idle > (k > 0)):  # with another space there would be hope
            promised = estimate <= max(run.target, 0.5 * new)
            run.outcome = Outcome.ROUNDING if promised else Outcome.BREAKDOWN if broken else Outcome.STAGNATED
        run.limit()
        if k > 0:  # 5
            space = RecycledSpace(U[:, :0], C[:, :0]) if idle and space.size else RecycledSpace(*cycle.recycled(k))
    return space if space.size else None


class _Cycle:
    """A search space V^ = [U D, Z] with A V^ = W G and W = [C, V], built step by step."""

    def __init__(self, run: Iteration, m: int) -> None:
        self._run, self._A, self._m = run, run.A, m
        self._W = np.empty((run.A.size, m + 1), run.dtype, order="F")
        self._Z = np.empty((run.A.size, m), run.dtype, order="F")

    def begin(self, U: Array, C: Array, r: Array, beta: float) -> None:
        """Start from r with (I - C C^H) r = r and ||r|| = beta."""
        self._c = self._j = c = C.shape[1]
        lengths = np.sqrt(self._A.group.total(np.einsum("ij,ij->j", U.conj(), U).real))
        self._Z[:, :c] = U / lengths
        self._W[:, :c], self._W[:, c] = C, r / (beta or 1.0)
        self._G = np.zeros((self._m + 1, self._m), self._W.dtype)
        self._G[range(c), range(c)] = 1.0 / lengths
        self._null = np.ones(self._m + 1 - c, self._W.dtype)
        self._beta, self.exhausted = beta, False

    @property
    def open(self) -> bool:
        """Whether the space can grow."""
        return self._j < self._m and not self.exhausted

    def step(self) -> float:
        """One Arnoldi step; returns the norm of the residual, NaN where a product is not finite."""
        A, W, G, j = self._A, self._W, self._G, self._j
        z = self._run.precondition(W[:, j])
        w = np.array(self._run.apply(z), dtype=W.dtype)
        self._Z[:, j] = z
        before, basis = A.norm(w), W[:, : j + 1]
        if not np.isfinite(before):
            return np.nan
        for _ in range(2):  # once is not enough for C^H V = 0 to hold to rounding
            h = A.inner(basis, w)
            w -= basis @ h
            G[: j + 1, j] += h
        following = A.norm(w)
        self._j = j + 1
        self.exhausted = following <= 1e-14 * before
        if self.exhausted:
            Q = independent(G[: j + 1, : j + 1], SINGULAR)[0]
            start = np.eye(j + 1)[self._c]
            return self._beta * float(np.linalg.norm(start - Q @ Q[self._c].conj()))
        G[j + 1, j] = following
        W[:, j + 1] = w / following
        # With the Hessenberg block H of V and a row vector w^T H = 0, w_0 = 1, the least residual is beta / ||w||.
        i = j - self._c
        self._null[i + 1] = -(self._null[: i + 1] @ G[self._c : j + 1, j]) / following
        return self._beta / float(np.linalg.norm(self._null[: i + 2]))

    @property
    def _rows(self) -> int:
        return self._j + 1 - self.exhausted

    def update(self) -> Array:
        """V^ y with y = argmin ||beta e_c - G y||."""
        Q, R, columns = independent(self._G[: self._rows, : self._j], SINGULAR)
        return self._Z[:, columns] @ np.linalg.solve(R, self._beta * Q[self._c].conj())

    def recycled(self, k: int) -> tuple[Array, Array]:
        """U and C = A U for the next cycle, or the next system."""
        W, Z = self._W[:, : self._rows], self._Z[:, : self._j]
        P, Q = harmonic_ritz(self._G[: self._rows, : self._j], self._A.inner(W, Z), k)
        return Z @ P, W @ Q
