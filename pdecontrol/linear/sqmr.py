"""SQMR: quasi-minimal residuals for symmetric matrices, by short recurrences.

Source: R. W. Freund, N. M. Nachtigal, A new Krylov-subspace method for symmetric indefinite linear systems, in: W. F.
Ames (ed.), Proceedings of the 14th IMACS World Congress (1994), 1253-1256.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from .krylov import Callback, Iteration, KrylovResult, Outcome


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is an outcome
def sqmr(
    matrix: Any, b: Array, preconditioner: Any = None, *, start: Array | None = None, tolerance: float = 1e-8,
    max_products: int = 10_000, callback: Callback | None = None,
) -> KrylovResult:  # fmt: skip
    """A x = b for symmetric A, ||b - A x|| <= tolerance ||b||.

    Parameters
    ----------
    matrix : A, real and symmetric, definite or not; of the kinds that `gcrodr` takes.
    b : the right-hand side (n,), the entries that this process owns.
    preconditioner : M^-1, real and symmetric, definite or not, and fixed.
    start, tolerance, max_products, callback : see `gcrodr`.

    Returns
    -------
    The `KrylovResult`; its outcome says whether it converged. It may break down or stagnate where GMRES would not.

    Raises
    ------
    DataError
        For shapes that do not fit, and values that are not finite.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> A = sp.diags([-1.0, 0.3, -1.0], [-1, 0, 1], shape=(60, 60)).tocsr()
    >>> sqmr(A, np.ones(60)).converged
    True
    """
    run = Iteration(matrix, b, preconditioner, start, None, tolerance, max_products, callback)
    while run.goes_on:
        before = run.size
        new = run.judge(_descend(run))
        if run.outcome is None and new > 0.5 * before:
            run.outcome = Outcome.ROUNDING
        run.limit()
    return run.result(None)


def _descend(run: Iteration) -> Array:
    """x after steps until its residual is small enough, or something ends them."""
    A, x, r, rest = run.A, run.x, run.r, run.r
    q = run.precondition(r)
    tau, theta, rho = A.norm(r), 0.0, float(A.inner(r, q))
    d = image = np.zeros_like(x)
    while True:
        w = run.apply(q)
        sigma = float(A.inner(q, w))
        if rho == 0 or sigma == 0 or not np.isfinite(sigma):
            run.outcome = Outcome.BREAKDOWN if np.isfinite(sigma) else Outcome.NOT_FINITE
            return x
        step = rho / sigma
        r = r - step * w
        before, theta = theta, A.norm(r) / tau
        share = 1.0 / (1.0 + theta**2)
        tau *= theta * np.sqrt(share)
        d, image = (share * (before**2 * old + step * new) for old, new in ((d, q), (image, w)))
        x, rest = x + d, rest - image
        estimate = A.norm(rest)
        if not run.watch(estimate) or estimate <= run.target:
            return x
        u = run.precondition(r)
        rho, last = float(A.inner(r, u)), rho
        q = u + (rho / last) * q
