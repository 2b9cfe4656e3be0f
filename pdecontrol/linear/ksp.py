"""Linear solvers of PETSc: sparse factors of MUMPS, Krylov solvers with algebraic multigrid, and what options say."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..errors import ConvergenceError, ProblemError, SingularEquationError
from ..parallel import Group
from .direct import Factors
from .matrix import SharedMatrix
from .petsc import petsc_matrix
from .residual import Excess, Rows
from .solver import EnergyNorm, Inverse, LinearSolver

PREFIXES = ("state_", "adjoint_")
FACTORS = ("lu", "cholesky")

DIRECT: dict[str, object] = {"ksp_type": "preonly", "pc_factor_mat_solver_type": "mumps", "mat_mumps_icntl_14": 60}
# Without aggressive coarsening a solve takes two thirds of the iterations; the name of the option has changed.
MULTIGRID: dict[str, object] = {"pc_gamg_aggressive_coarsening": 0, "pc_gamg_square_graph": 0}


class PetscInverse(Inverse):
    """A^-1 by a Krylov solver and a preconditioner of PETSc, which destroys the matrix when it is closed."""

    tolerance = 1e-13
    name, advice = "the linear solver", "use linear_solver='direct' or other options of PETSc"

    def __init__(
        self, matrix: Any, group: Group, options: PetscOptions, kind: str, definite: bool, counter: Counter,
        prefix: str = "state_",
    ) -> None:  # fmt: skip
        from petsc4py import PETSc

        self.matrix, self._group, self._counter = matrix, group, counter
        self._options, self._kind, self._definite = options, kind, definite
        self._x, self._b = matrix.createVecs()
        self.ksp = PETSc.KSP().create(matrix.getComm())
        self._adjoint: PetscInverse | None = None
        try:
            self.ksp.setOperators(matrix)
            counter.factorisations += 1
            options.apply(self.ksp, prefix, kind, definite)
        except BaseException:
            self.close()
            raise
        if self.ksp.getType() == "cg":
            self.ksp.setNormType(PETSc.KSP.NormType.NATURAL)
        self.exact = self.ksp.getType() == "preonly" and self.ksp.getPC().getType() in FACTORS

    @property
    def entries(self) -> float:
        if not self.exact:
            return 0.0
        pc = self.ksp.getPC()
        found = pc.getFactorMatrix().getInfo(pc.getFactorMatrix().InfoType.GLOBAL_SUM)["nz_used"]
        return float(found) * (1.0 + (pc.getType() == "cholesky"))

    def apply(self, b: Array, reduction: float = 0.0) -> Array:
        return self._solved(self.ksp.solve, b, reduction)

    def _solved(self, solve: Callable[[Any, Any], None], b: Array, reduction: float = 0.0) -> Array:
        if b.ndim == 2:
            return np.stack([self._solved(solve, column, reduction) for column in b.T], axis=1)
        if not self._group.any(b.any()):
            return np.zeros_like(b)
        self._b.array[:] = b
        if not self.exact:
            self.ksp.setTolerances(rtol=reduction, atol=0.0, divtol=1e100, max_it=1000)
        solve(self._b, self._x)
        reason = self.ksp.getConvergedReason()
        if reason < 0 and reason not in (-3, -5):  # after too many iterations or a breakdown the residual decides
            if self.exact:
                raise SingularEquationError("the matrix of the equation is singular (its factorisation failed).")
            raise ConvergenceError(
                f"the linear solver {self.ksp.getType()} with {self.ksp.getPC().getType()} failed (reason {reason}): "
                f"{self.advice}."
            )
        if not self.exact:
            self._counter.inner += self.ksp.getIterationNumber()
        return np.array(self._x.array)

    def precondition(self, r: Array) -> Array:
        """B r."""
        self._b.array[:] = r
        self.ksp.getPC().apply(self._b, self._x)
        return np.array(self._x.array)

    def transposed(self, symmetric: bool) -> Inverse:
        """Symmetric matrices have one solver for both, and factors solve with the transpose, unless options differ."""
        from petsc4py import PETSc

        if symmetric and not self._options.differ:
            return self
        if self.exact and not self._options.differ:
            return Factors(partial(self._solved, self.ksp.solveTranspose), self.apply, lambda: self.entries)
        # a matrix of its own: with Krylov solvers solveTranspose may be silently wrong
        matrix = self.matrix if symmetric else self.matrix.transpose(PETSc.Mat())
        settings = self._options, self._kind, self._definite, self._counter
        self._adjoint = PetscInverse(matrix, self._group, *settings, "adjoint_")
        return self._adjoint

    def close(self) -> None:
        if self._adjoint is not None:
            self._adjoint.close()
        for item in (self.ksp, self.matrix, self._x, self._b):
            item.destroy()


def petsc_solver(
    matrix: SharedMatrix, kind: str, definite: bool, counter: Counter, options: PetscOptions, points: Array,
    excess: Excess | None,
) -> LinearSolver:  # fmt: skip
    """The solver of a matrix, whose unknowns sit at the points, with the preconditioner of the state for the norm."""
    inverse = PetscInverse(petsc_matrix(matrix, definite), matrix.halo.group, options, kind, definite, counter)
    rows, norm = Rows(matrix, definite, excess), None
    if definite and not options.exact(kind, definite):
        norm = EnergyNorm(rows, inverse, inverse.precondition, points, counter)
    return LinearSolver(rows, inverse, norm, counter)


class PetscOptions:
    """Options of PETSc for the solvers with the prefixes state_ and adjoint_; those of the command line win.

    Raises
    ------
    ProblemError
        For a name without one of the prefixes.
    """

    def __init__(self, options: Mapping[str, object] | None) -> None:
        if not isinstance(options or {}, Mapping):
            raise ProblemError(f"options of PETSc are a dictionary, got {options!r}.")
        self._options = dict(options or {})
        for name in self._options:
            if not str(name).startswith(PREFIXES):
                raise ProblemError(f"options of PETSc: {name!r} must begin with state_ or adjoint_, without a dash.")
        self._options |= _command_line()
        own = [{name.removeprefix(p): v for name, v in self._options.items() if name.startswith(p)} for p in PREFIXES]
        self.differ = bool(own[1]) and own[0] != own[1]

    def exact(self, kind: str, definite: bool) -> bool:
        """Whether both solvers are factors."""
        chosen = [self._wanted(prefix, kind, definite) for prefix in PREFIXES[: 1 + self.differ]]
        return all(
            wanted[f"{prefix}ksp_type"] == "preonly" and wanted[f"{prefix}pc_type"] in FACTORS
            for prefix, wanted in zip(PREFIXES, chosen, strict=False)
        )

    def _wanted(self, prefix: str, kind: str, definite: bool) -> dict[str, object]:
        """The options of a prefix: those of the command line, of the user, and defaults that go with them."""
        from petsc4py import PETSc

        database = PETSc.Options()
        given = {name: value for name, value in self._options.items() if name.startswith(prefix)}
        for name in ("ksp_type", "pc_type"):  # PETSC_OPTIONS and its files
            if database.hasName(prefix + name):
                given[prefix + name] = database.getString(prefix + name)
        factors = "cholesky" if definite else "lu"
        preconditioner = given.get(f"{prefix}pc_type", factors if kind == "direct" else "gamg")
        defaults: dict[str, object] = {"ksp_type": "cg" if definite else "gmres", "pc_type": preconditioner}
        if preconditioner in FACTORS:
            defaults |= DIRECT
        elif preconditioner == "gamg":
            defaults |= MULTIGRID
        return {prefix + name: value for name, value in defaults.items()} | given

    def apply(self, ksp: Any, prefix: str, kind: str, definite: bool) -> None:
        """Set up a solver with the options of its prefix."""
        from petsc4py import PETSc

        database, wanted = PETSc.Options(), self._wanted(prefix, kind, definite)
        ours = {name: value for name, value in wanted.items() if not database.hasName(name)}
        for name, value in ours.items():
            database[name] = value
        try:
            ksp.setOptionsPrefix(prefix)
            ksp.setFromOptions()
            ksp.setUp()
        except PETSc.Error as error:
            given = {name: value for name, value in wanted.items() if name in self._options}
            if given:
                raise ProblemError(f"PETSc refuses the options {given} ({_reason(error)}).") from None
            raise SingularEquationError(f"the matrix cannot be factorised ({_reason(error)}).") from None
        finally:
            for name in ours:
                database.delValue(name)


def _reason(error: Exception) -> str:
    """What PETSc says of an error, without its trace."""
    lines = [line.partition("] ")[2] or line for line in str(error).splitlines()]
    return next((line.strip() for line in lines if line.strip() and "() at " not in line and "error code" not in line),
                lines[0])  # fmt: skip


def _command_line() -> dict[str, object]:
    """The options -state_.. and -adjoint_.. of the command line; raises ProblemError for other spellings."""
    found: dict[str, object] = {}
    words = sys.argv[1:]
    for word, following in zip(words, [*words[1:], "-"], strict=False):
        name = word.lstrip("-")
        if not word.startswith("-") or not name.startswith(PREFIXES):
            continue
        if word.startswith("--") or "=" in word:
            raise ProblemError(f"{word}: options of PETSc are written -{name.partition('=')[0]} value.")
        flag = following.startswith("-") and not following[1:2].isdigit()
        found[name] = None if flag else following
    return found
