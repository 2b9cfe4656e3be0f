"""Sequences of systems solved by a candidate, with what one solve leaves to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import scipy.sparse as sp

from ...arrays import Array
from ...errors import PdecontrolError, SingularEquationError
from ...linear.cg import cg
from ...linear.direct import sparse_factors
from ...linear.gcrodr import gcrodr
from ...linear.krylov import Callback, KrylovResult, Outcome, Products
from ...linear.petsc import Refactored, load
from ...linear.recycle import RecycledSpace, orthonormal_images
from ...linear.residual import refine
from . import precondition
from .candidates import BUILD, DIRECT, Candidate
from .systems import System, Traits


@dataclass(eq=False)
class SolvedSystem:
    """The solution of one system, if there is one, and what it took.

    Attributes
    ----------
    x : the solution, None where there is none.
    residual : the true relative residual.
    failure : why there is none, or none as accurate as asked for; else empty.
    products : with the matrix, by purpose.
    seconds : by stage.
    bound : on the relative error in the energy norm, NaN where there is none.
    """

    x: Array | None = field(repr=False)
    residual: float
    failure: str
    products: Products
    seconds: dict[str, float] = field(default_factory=dict)
    bound: float = np.nan


@contextmanager
def timing(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """A block whose seconds are added to those of a stage."""
    begin = perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + perf_counter() - begin


class SequenceSolver:
    """Solves one system after another by a candidate, with what is carried along.

    Parameters
    ----------
    candidate, traits : how to solve, and what.
    tolerance : of the true relative residuals.
    reference : gives the inverse of the mean operator.
    """

    def __init__(
        self, candidate: Candidate, traits: Traits, tolerance: float,
        reference: Callable[[], precondition.ReferenceInverse],
    ) -> None:  # fmt: skip
        self.candidate, self._traits, self._tolerance = candidate, traits, tolerance
        self._refactored = Refactored(traits.definite) if candidate.solver == "refactor" else None
        if candidate.solver not in DIRECT:
            mean = candidate.preconditioner == "mean"
            self._build = precondition.mean_operator(reference()) if mean else BUILD[candidate.preconditioner]
        if candidate.needs_petsc:
            load()  # not while solves are timed
        self.restart()

    def restart(self) -> None:
        """Forget what was carried."""
        self._space: RecycledSpace | None = None
        self._earlier: list[Array] = []

    def close(self) -> None:
        """Free what factors hold."""
        if self._refactored is not None:
            self._refactored.close()

    def solve(self, matrix: sp.csr_matrix, b: Array, seconds: float = np.inf) -> SolvedSystem:
        """x with ||b - A x|| <= tolerance ||b||, unless it takes more than so many seconds."""
        begin = perf_counter()
        if not (np.isfinite(matrix.data).all() and np.isfinite(b).all()):
            return SolvedSystem(None, np.nan, "the system has entries that are NaN or infinite", Products())
        try:
            if self.candidate.solver in DIRECT:
                solved = self._direct(matrix, b)
            else:
                solved = self._iterate(matrix, b, begin + seconds)
        except PdecontrolError as error:
            return SolvedSystem(None, np.nan, str(error), Products(), {"solve": perf_counter() - begin})
        solved.seconds["solve"] = perf_counter() - begin - solved.seconds.get("set-up", 0.0)
        return solved

    def _direct(self, matrix: sp.csr_matrix, b: Array) -> SolvedSystem:
        seconds: dict[str, float] = {}
        with timing(seconds, "set-up"):
            if self._refactored is not None:
                self._refactored.factorise(matrix)
            factors = self._refactored or sparse_factors(matrix, self._traits.definite)
        scale, products = float(np.linalg.norm(b)), Products()

        def product(x: Array) -> Array:
            products.residuals += 1
            return np.asarray(matrix @ x)

        x = factors.solve(b)
        x, residual = refine(
            x, b - product(x), product, lambda r, _: factors.solve(r), np.linalg.norm, self._tolerance * scale, 2
        )  # above all for factors without pivoting
        relative = float(np.linalg.norm(residual)) / (scale or 1.0)
        if not np.isfinite(relative):
            raise SingularEquationError("the matrix of the equation is singular (its factors give NaN).")
        failure = "" if relative <= self._tolerance else Outcome.ROUNDING.value
        return SolvedSystem(x, relative, failure, products, seconds)

    def _iterate(self, matrix: sp.csr_matrix, b: Array, deadline: float) -> SolvedSystem:
        candidate, seconds, products = self.candidate, dict[str, float](), Products()
        with timing(seconds, "set-up"):
            preconditioner = self._build(matrix, self._traits.definite)
        late: Callback | None = None if deadline == np.inf else lambda _: perf_counter() > deadline
        try:
            start = self._guess(matrix, b, products) if self._earlier else None
            method: Callable[..., KrylovResult] = gcrodr
            if candidate.solver == "krylov" and self._traits.definite:
                method = cg
            found = method(
                matrix, b, preconditioner, start=start, space=self._space, k=candidate.recycled,
                tolerance=self._tolerance, max_products=20_000, callback=late,
            )  # fmt: skip
        finally:
            preconditioner.close()
        if found.converged and candidate.recycled:
            self._space = found.space
        if found.converged and candidate.projected:
            self._earlier = [*self._earlier, found.x][-candidate.projected :]
        found.products.refresh += products.refresh
        failure = "" if found.converged else found.outcome.value
        if found.outcome is Outcome.STOPPED:
            failure = "too slow"
        return SolvedSystem(found.x, found.residual, failure, found.products, seconds)

    def _guess(self, matrix: sp.csr_matrix, b: Array, products: Products) -> Array:
        """argmin ||b - A x|| over the span of earlier solutions."""
        earlier = np.stack(self._earlier, axis=1)
        products.refresh += earlier.shape[1]
        space = orthonormal_images(earlier, matrix @ earlier)
        return space.vectors @ (space.images.conj().T @ b)


def superpose(systems: Sequence[System], factors: Callable[[Array], Array], tolerance: float) -> list[SolvedSystem]:
    """Solve A x_i = b_i with one matrix: for right-hand sides that span all others, and by superposition.

    Parameters
    ----------
    systems : with the same matrix.
    factors : B -> A^-1 B.
    tolerance : of the true relative residuals; where superposition misses it, the system is solved by itself.
    """
    begin = perf_counter()
    matrix = systems[0][0]
    B = np.stack([b for _, b in systems], axis=1)
    scales = np.linalg.norm(B, axis=0)
    columns, coefficients = interpolation(B)
    X = refined(matrix, factors, B[:, columns]) @ coefficients if columns.size else np.zeros_like(B)
    residuals = np.linalg.norm(B - matrix @ X, axis=0)
    missed = np.flatnonzero(residuals > tolerance * scales)
    if missed.size:
        X[:, missed] = refined(matrix, factors, B[:, missed])
        residuals[missed] = np.linalg.norm(B[:, missed] - matrix @ X[:, missed], axis=0)
    share = {"solve": (perf_counter() - begin) / len(systems)}
    products = np.ones(len(systems), dtype=int)
    products[columns] += 1
    products[missed] += 2
    relative = residuals / np.where(scales > 0, scales, 1.0)
    failures = np.where(relative <= tolerance, "", Outcome.ROUNDING.value)
    return [
        SolvedSystem(X[:, i], float(relative[i]), str(failures[i]), Products(residuals=int(products[i])), dict(share))
        for i in range(len(systems))
    ]


def refined(matrix: sp.csr_matrix, factors: Callable[[Array], Array], B: Array) -> Array:
    """A^-1 B with one step of iterative refinement."""
    X = factors(B)
    return X + factors(B - matrix @ X)


def interpolation(B: Array) -> tuple[Array, Array]:
    """Columns J and coefficients T with B = B[:, J] T to rounding, found from a sparse sketch of the rows.

    Notes
    -----
    The sketch adds the rows of B up into few, with random weights. It has the rank of B unless the weights conspire,
    which the residuals of what is built on it reveal.
    """
    from scipy.linalg import qr, solve_triangular

    rows, count = B.shape
    kept = min(rows, 2 * count + 8)
    generator = np.random.default_rng(20240117)
    weights = generator.uniform(0.5, 1.5, rows) * generator.choice([-1.0, 1.0], rows)
    sketch = sp.csr_matrix((weights, (generator.integers(kept, size=rows), np.arange(rows))), (kept, rows)) @ B
    _, r, order = qr(sketch, mode="economic", pivoting=True)
    diagonal = np.abs(np.diagonal(r))
    rank = int(np.count_nonzero(diagonal > 1e-12 * diagonal.max(initial=0.0)))
    coefficients = np.zeros((rank, count), B.dtype)
    if rank:
        coefficients[:, order] = solve_triangular(r[:rank, :rank], r[:rank])
    return order[:rank], coefficients
