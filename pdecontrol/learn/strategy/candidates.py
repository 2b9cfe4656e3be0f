"""Ways to solve a sequence of systems, each under a name, and what one solve leaves to the next."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from ...arrays import Array
from ...errors import PdecontrolError, ProblemError, SingularEquationError
from ...linear.cg import cg
from ...linear.direct import Refactored, sparse_factors
from ...linear.gcrodr import gcrodr
from ...linear.krylov import Callback, KrylovResult, Outcome, Products
from ...linear.recycle import RecycledSpace, orthonormal_images
from . import precondition

System = tuple[sp.csr_matrix, Array]


class Family(Protocol):
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
class Candidate:
    """A named way to solve a sequence of systems.

    Parameters
    ----------
    name : under which it is asked for and reported.
    solver : "superposition", "refactor", "lu", "krylov" (conjugate gradients where the matrix is definite, else GMRES)
        or "gmres".
    preconditioner : for Krylov methods, a key of `PRECONDITIONERS`.
    recycled : how many vectors are carried from system to system.
    ordered : whether the systems are solved in the greedy order of their features.
    projected : how many earlier solutions the initial guess is taken from.
    """

    name: str
    solver: str = "krylov"
    preconditioner: str = "jacobi"
    recycled: int = 0
    ordered: bool = False
    projected: int = 0

    @property
    def needs_petsc(self) -> bool:
        """Whether it uses PETSc."""
        return self.solver == "refactor" or self.preconditioner in ("hypre", "incomplete")

    def __str__(self) -> str:
        if self.solver in DIRECT:
            return DIRECT[self.solver]
        method = {"krylov": "CG or GMRES(40)", "gmres": "GMRES(40)"}[self.solver]
        if self.recycled:
            method = {"krylov": "deflated CG or GCRO-DR", "gmres": "GCRO-DR(40)"}[self.solver]
            method += f", {self.recycled} vectors carried"
        extra = ", sorted" * self.ordered + f", guesses from {self.projected} solutions" * bool(self.projected)
        return f"{method}, {PRECONDITIONERS[self.preconditioner]}{extra}"


DIRECT = {
    "superposition": "one factorisation, a basis of the right-hand sides",
    "refactor": "sparse factors, analysed once (PETSc)",
    "lu": "sparse factors (SuperLU)",
}
PRECONDITIONERS = {
    "mean": "mean operator",
    "hypre": "BoomerAMG",
    "multigrid": "classical multigrid (pyamg)",
    "incomplete": "incomplete factors",
    "jacobi": "Jacobi",
}
_BUILD = {
    "hypre": precondition.boomeramg, "multigrid": precondition.multigrid, "incomplete": precondition.incomplete,
    "jacobi": precondition.jacobi,
}  # fmt: skip
_NEEDS = {
    "hypre": precondition.has_hypre, "multigrid": precondition.has_pyamg, "incomplete": precondition.has_petsc,
}  # fmt: skip

CANDIDATES = {
    candidate.name: candidate
    for candidate in [
        Candidate("superposition", "superposition"),
        Candidate("mean", preconditioner="mean"),
        Candidate("refactor", "refactor"),
        Candidate("incomplete", preconditioner="incomplete"),
        Candidate("jacobi"),
        Candidate("hypre", preconditioner="hypre"),
        Candidate("multigrid", preconditioner="multigrid"),
        Candidate("lu", "lu"),
        Candidate("projected", preconditioner="mean", projected=20),
        Candidate("recycled-mean", preconditioner="mean", recycled=20),
        Candidate("recycled-incomplete", preconditioner="incomplete", recycled=20),
        Candidate("recycled", recycled=20),
        Candidate("recycled-sorted", recycled=20, ordered=True),
        Candidate("gmres", "gmres"),
        Candidate("skr-unsorted", "gmres", recycled=20),
        Candidate("skr", "gmres", recycled=20, ordered=True),
    ]
}


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


@dataclass(eq=False)
class Answer:
    """The solution of one system, and what it took.

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


def assemble(family: Family, sample: Any) -> System:
    """The system of a sample, its matrix in rows."""
    matrix, b = family.system(sample)
    if not sp.issparse(matrix):
        raise ProblemError(f"the matrix of {type(family).__name__} must be a sparse one of scipy, not {type(matrix)}.")
    return matrix if matrix.format == "csr" else sp.csr_matrix(matrix), b


def missing(candidate: Candidate, traits: Traits, matrix: sp.csr_matrix) -> str | None:
    """Why a candidate cannot solve a family, None if it can."""
    if candidate.solver == "superposition" and not traits.constant:
        return "the matrix changes from sample to sample"
    if candidate.solver == "refactor":
        if not traits.pattern:
            return "the matrices have different sparsities"
        return precondition.has_petsc(matrix)
    if candidate.solver in ("krylov", "gmres") and candidate.preconditioner in _NEEDS:
        return _NEEDS[candidate.preconditioner](matrix)
    return None


def loaded() -> bool:
    """Whether PETSc has been loaded."""
    return "petsc4py.PETSc" in sys.modules


class Chain:
    """Solves one system after another by a candidate, with what is carried along.

    Parameters
    ----------
    candidate, family, traits : how to solve, and what.
    reference : the inverse of the mean operator, if it is there already.
    tolerance : of the true relative residuals.
    """

    def __init__(
        self, candidate: Candidate, family: Family, traits: Traits, tolerance: float,
        reference: Callable[[], precondition.ReferenceInverse],
    ) -> None:  # fmt: skip
        self.candidate, self._traits, self._tolerance = candidate, traits, tolerance
        self._refactored = Refactored(traits.definite) if candidate.solver == "refactor" else None
        if candidate.solver not in DIRECT:
            mean = candidate.preconditioner == "mean"
            self._build = precondition.mean_operator(reference()) if mean else _BUILD[candidate.preconditioner]
        if candidate.needs_petsc:
            from ...linear.petsc import load

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

    def solve(self, matrix: sp.csr_matrix, b: Array, seconds: float = np.inf) -> Answer:
        """x with ||b - A x|| <= tolerance ||b||, unless it takes more than so many seconds."""
        begin = perf_counter()
        if not (np.isfinite(matrix.data).all() and np.isfinite(b).all()):
            return Answer(None, np.nan, "the system has entries that are NaN or infinite", Products())
        try:
            if self.candidate.solver in DIRECT:
                answer = self._direct(matrix, b)
            else:
                answer = self._iterate(matrix, b, begin + seconds)
        except PdecontrolError as error:
            return Answer(None, np.nan, str(error), Products(), {"solve": perf_counter() - begin})
        answer.seconds["solve"] = perf_counter() - begin - answer.seconds.get("set-up", 0.0)
        return answer

    def _direct(self, matrix: sp.csr_matrix, b: Array) -> Answer:
        begin = perf_counter()
        factors = (
            sparse_factors(matrix, self._traits.definite)
            if self._refactored is None
            else self._refactored.factorise(matrix)
        )
        setup = perf_counter() - begin
        scale, products = float(np.linalg.norm(b)), Products()
        x = factors.solve(b)
        residual = b - matrix @ x
        products.residuals += 1
        for _ in range(2):  # iterative refinement, above all for factors without pivoting
            size = float(np.linalg.norm(residual))
            if not np.isfinite(size) or size <= self._tolerance * scale:
                break
            x = x + factors.solve(residual)
            residual = b - matrix @ x
            products.residuals += 1
        return _answer(x, residual, scale, self._tolerance, products, setup)

    def _iterate(self, matrix: sp.csr_matrix, b: Array, deadline: float) -> Answer:
        candidate, begin = self.candidate, perf_counter()
        preconditioner, free = self._build(matrix, self._traits.definite)
        setup, products = perf_counter() - begin, Products()
        late: Callback | None = None if deadline == np.inf else lambda _: perf_counter() > deadline
        try:
            start = self._guess(matrix, b, products) if self._earlier else None
            common: dict[str, Any] = {
                "start": start, "space": self._space, "k": candidate.recycled, "tolerance": self._tolerance,
                "max_products": 20_000, "callback": late,
            }  # fmt: skip
            method = cg if candidate.solver == "krylov" and self._traits.definite else gcrodr
            found: KrylovResult = method(matrix, b, preconditioner, **common)
        finally:
            free()
        if found.converged and candidate.recycled:
            self._space = found.space
        if found.converged and candidate.projected:
            self._earlier = [*self._earlier, found.x][-candidate.projected :]
        found.products.refresh += products.refresh
        failure = "" if found.converged else found.outcome.value
        if found.outcome is Outcome.STOPPED:
            failure = "too slow"
        return Answer(found.x, found.residual, failure, found.products, {"set-up": setup})

    def _guess(self, matrix: sp.csr_matrix, b: Array, products: Products) -> Array:
        """argmin ||b - A x|| over the span of earlier solutions."""
        earlier = np.stack(self._earlier, axis=1)
        products.refresh += earlier.shape[1]
        space = orthonormal_images(earlier, matrix @ earlier)
        return space.vectors @ (space.images.conj().T @ b)


def superpose(systems: Sequence[System], factors: Callable[[Array], Array], tolerance: float) -> list[Answer]:
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
        Answer(X[:, i], float(relative[i]), str(failures[i]), Products(residuals=int(products[i])), dict(share))
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


def _answer(x: Array, residual: Array, scale: float, tolerance: float, products: Products, setup: float) -> Answer:
    relative = float(np.linalg.norm(residual)) / (scale or 1.0)
    if not np.isfinite(relative):
        raise SingularEquationError("the matrix of the equation is singular (its factors give NaN).")
    failure = "" if relative <= tolerance else Outcome.ROUNDING.value
    return Answer(x, relative, failure, products, {"set-up": setup})
