"""Ways to solve a sequence of systems, each under a name."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import scipy.sparse as sp

from . import precondition
from .systems import Traits


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
BUILD = {
    "hypre": precondition.boomeramg, "multigrid": precondition.multigrid, "incomplete": precondition.incomplete,
    "jacobi": precondition.jacobi,
}  # fmt: skip
NEEDS = {
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


def missing(candidate: Candidate, traits: Traits, matrix: sp.csr_matrix) -> str | None:
    """Why a candidate cannot solve a family, None if it can."""
    if candidate.solver == "superposition" and not traits.constant:
        return "the matrix changes from sample to sample"
    if candidate.solver == "refactor":
        if not traits.pattern:
            return "the matrices have different sparsities"
        return precondition.has_petsc(matrix)
    if candidate.solver in ("krylov", "gmres") and candidate.preconditioner in NEEDS:
        return NEEDS[candidate.preconditioner](matrix)
    return None


def loaded() -> bool:
    """Whether PETSc has been loaded."""
    return "petsc4py.PETSc" in sys.modules
