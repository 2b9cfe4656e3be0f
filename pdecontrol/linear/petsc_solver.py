"""Linear solvers of the distributed engine: sparse factors of MUMPS, and CG with algebraic multigrid, through PETSc."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..arrays import Array, Indices
from ..counter import Counter
from ..errors import ConvergenceError, ProblemError, SingularEquationError
from ..parallel import Halo
from .residual import ROUNDING, Excess, Rows, refine
from .solvers import NEAR, TOLERATED, LinearSolver, Solution

PREFIXES = ("state_", "adjoint_")
FACTORS = ("lu", "cholesky")
LARGE = {1: 10**9, 2: 150_000, 3: 15_000}  # unknowns from which multigrid is faster than factors, by dimension

DIRECT: dict[str, object] = {"ksp_type": "preonly", "pc_factor_mat_solver_type": "mumps", "mat_mumps_icntl_14": 60}
# Without aggressive coarsening a solve takes two thirds of the iterations; the name of the option has changed.
MULTIGRID: dict[str, object] = {"pc_gamg_aggressive_coarsening": 0, "pc_gamg_square_graph": 0}


class SharedMatrix:
    """The rows of a matrix that this process owns, with the columns that it sees.

    Parameters
    ----------
    local : (owned, owned and ghosts).
    halo : of the columns.
    """

    def __init__(self, local: sp.csr_matrix, halo: Halo) -> None:
        self.local, self.halo = local, halo

    @property
    def shape(self) -> tuple[int, int]:
        """Those of the entries that this process owns."""
        return self.local.shape[0], self.halo.owned

    @property
    def ndim(self) -> int:
        return 2

    def __matmul__(self, a: Array) -> Array:
        return np.asarray(self.local @ self.halo.forward(a))

    def __rmul__(self, factor: float) -> SharedMatrix:
        return SharedMatrix(factor * self.local, self.halo)

    def __abs__(self) -> SharedMatrix:
        return SharedMatrix(abs(self.local), self.halo)

    def block(self, chosen: Indices) -> SharedMatrix:
        """The rows and columns of some of the owned entries."""
        start = int(np.sum(self.halo.group.collect(chosen.size)[: self.halo.group.rank]))
        numbers = np.full(self.halo.owned, -1)
        numbers[chosen] = start + np.arange(chosen.size)
        seen = self.halo.forward(numbers)
        ghosts = np.flatnonzero(seen[self.halo.owned :] >= 0) + self.halo.owned
        local = self.local[chosen][:, np.concatenate([chosen, ghosts])]
        return SharedMatrix(local, Halo(self.halo.group, chosen.size, seen[ghosts]))

    def loose_row(self) -> int | None:
        """A row of this process in a connected component on which constants lie in the kernel, if there is one."""
        from scipy.sparse.csgraph import connected_components

        halo, rows = self.halo, self.local.shape[0]
        sums = np.abs(self.local.sum(axis=1)).ravel()
        loose = np.asarray(sums).ravel() <= 8 * ROUNDING * np.asarray(abs(self.local).sum(axis=1)).ravel()
        square = sp.csr_matrix(
            (self.local.data, self.local.indices, np.append(self.local.indptr, np.full(halo.numbers.size - rows,
             self.local.nnz))), (halo.numbers.size,) * 2)  # fmt: skip
        count, component = connected_components(square, directed=False)
        # Components of a process meet those of others in its ghosts.
        starts = np.cumsum([0, *halo.group.collect(count)])
        own = starts[halo.group.rank] + component
        elsewhere = halo.forward(own[:rows])[rows:]
        pairs = np.unique(np.stack([own[rows:], elsewhere]), axis=1)
        links = np.hstack(halo.group.collect(pairs)).astype(int)
        graph = sp.coo_matrix((np.ones(links.shape[1]), (links[0], links[1])), (starts[-1], starts[-1]))
        _, merged = connected_components(graph, directed=False)
        whole = merged[own[:rows]]
        firm = np.unique(np.concatenate(halo.group.collect(np.unique(whole[~loose]))))
        row = np.flatnonzero(~np.isin(whole, firm))
        return int(row[0]) if row.size else None


class PetscSolver(LinearSolver):
    """A matrix with a Krylov solver and preconditioner of PETSc.

    Notes
    -----
    The error bound of conjugate gradients is that of `linear.Multigrid`. They measure residuals in its norm,
    (r' B r)^1/2.
    """

    tolerance = 1e-10

    def __init__(
        self, matrix: SharedMatrix, kind: str, definite: bool, counter: Counter, options: Options, points: Array,
        diameter: float, excess: Excess | None,
    ) -> None:  # fmt: skip
        from petsc4py import PETSc

        self._shared, self._counter, self._options, self._points = matrix, counter, options, points
        self._kind, self._definite, self._diameter = kind, definite, diameter
        group = matrix.halo.group
        comm = getattr(group, "comm", PETSc.COMM_SELF)
        self._matrix = _assembled(matrix, comm)
        self._matrix.setOption(PETSc.Mat.Option.SYMMETRIC, definite)
        if definite:
            self._matrix.setOption(PETSc.Mat.Option.SPD, True)
        self._x, self._b = self._matrix.createVecs()
        self._ksps: dict[str, Any] = {}
        self._transpose: Any = None
        try:
            self._solver("state_")
        except BaseException:
            self.close()
            raise
        self.exact = options.exact(kind, definite)
        self.energy = definite and not self.exact
        self._rows = Rows(sp.csr_matrix(matrix.local), matrix.halo.forward, definite, excess)
        self.diagonal, self.width = self._rows.diagonal, max(group.collect(self._rows.width))

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        for ksp in self._ksps.values():
            ksp.destroy()
        self._ksps.clear()
        for item in (self._matrix, self._transpose, self._x, self._b):
            if item is not None:
                item.destroy()

    def solve(
        self,
        b: Array,
        transposed: bool = False,
        start: Array | None = None,
        accuracy: float | None = None,
        noise: Array | float = 0.0,
    ) -> Solution:
        factored = self._factored(transposed)
        if factored:
            x = self._apply(b, transposed, 0.0)
        else:
            x = np.zeros_like(b) if start is None else start
        if accuracy is not None:
            left = self.loss if factored else 1.0
            while left > TOLERATED:
                self._counter.refinements += factored
                x = x + self._apply(b - self._product(x, transposed), transposed, accuracy)
                left *= min(self.loss, 0.5) if factored else 0.0
            return Solution(x, np.inf)
        return self._refined(b, x, b - self._product(x, transposed), transposed, noise)

    def recognise(self, b: Array, x: Array, transposed: bool = False, noise: Array | float = 0.0) -> Solution | None:
        goal = NEAR if self._factored(transposed) else self.tolerance
        r = b - self._product(x, transposed)
        return self._refined(b, x, r, transposed, noise) if self._size(r) <= goal * self._size(b) else None

    def _refined(self, b: Array, x: Array, r: Array, transposed: bool, noise: Array | float) -> Solution:
        factored = self._factored(transposed)

        def correction(residual: Array, reduction: float) -> Array:
            self._counter.refinements += factored
            return self._apply(residual, transposed, max(reduction, 1e-8))

        rounding = self._size(self._rows.rounding(x, b, noise, transposed))
        goal = rounding if factored else self.tolerance * self._size(b)
        x, r = refine(x, r, lambda x: self._product(x, transposed), correction, self._size, goal, 5)
        if not factored:  # before, x may have been zero
            rounding = self._size(self._rows.rounding(x, b, noise, transposed))
        size = self._size(r)
        if not factored and not size <= 100 * goal + 10 * rounding:
            raise ConvergenceError(
                f"the linear solver stopped at a relative residual of {size / self._size(b):.1e}: "
                "use linear_solver='direct' or other petsc_options."
            )
        return Solution(x, (size + rounding) / self._least)

    @cached_property
    def loss(self) -> float:  # type: ignore[override]
        if not self._factored(False):
            return 0.0
        self._counter.refinements += 2
        x = self._apply(self.diagonal, False, 0.0)
        step = self._apply(self.diagonal - self._rows.product(x), False, 0.0)
        most = [max(sizes) for sizes in zip(*self._shared.halo.group.collect((_most(step), _most(x))), strict=True)]
        return float(most[0] / most[1])

    def residual(self, x: Array, b: Array, noise: Array | float) -> tuple[Array, Array]:
        return b - self._rows.product(x), self._rows.rounding(x, b, noise)

    def _any(self, a: Array) -> bool:
        return self._shared.halo.group.any(bool(a.any()))

    def _product(self, x: Array, transposed: bool) -> Array:
        if not transposed or self._rows.symmetric:
            return self._rows.product(x)
        self._x.array[:] = x
        self._matrix.multTranspose(self._x, self._b)
        return np.array(self._b.array)

    def _apply(self, b: Array, transposed: bool, tolerance: float) -> Array:
        """One call of the Krylov solver from zero."""
        if not self._any(b):
            return np.zeros_like(b)
        ksp, exact = self._solver(self._prefix(transposed)), self._factored(transposed)
        self._b.array[:] = b
        if not exact:
            ksp.setTolerances(rtol=tolerance, atol=0.0, divtol=1e100, max_it=1000)
        if exact and transposed and not self._definite and ksp is self._ksps["state_"]:
            ksp.solveTranspose(self._b, self._x)
        else:
            ksp.solve(self._b, self._x)
        reason = ksp.getConvergedReason()
        if reason < 0 and reason not in (-3, -5):  # after too many iterations or a breakdown the residual decides
            if exact:
                raise SingularEquationError("the matrix of the equation is singular (its factorisation failed).")
            raise ConvergenceError(
                f"the linear solver {ksp.getType()} with {ksp.getPC().getType()} failed (reason {reason}): "
                "use linear_solver='direct' or other petsc_options."
            )
        if not exact:
            self._counter.inner += ksp.getIterationNumber()
        return np.array(self._x.array)

    def _prefix(self, transposed: bool) -> str:
        """Symmetric matrices have one solver for both, and factors solve with the transpose, unless options differ."""
        ksp = self._solver("state_")
        both = self._definite or (ksp.getType() == "preonly" and ksp.getPC().getType() in FACTORS)
        return "adjoint_" if transposed and (not both or self._options.differ) else "state_"

    def _factored(self, transposed: bool) -> bool:
        """Whether solves are exact but for rounding."""
        ksp = self._solver(self._prefix(transposed))
        return ksp.getType() == "preonly" and ksp.getPC().getType() in FACTORS

    def _solver(self, prefix: str) -> Any:
        if prefix not in self._ksps:
            from petsc4py import PETSc

            matrix = self._matrix
            if prefix == "adjoint_" and not self._definite:
                # a matrix of its own: with Krylov solvers solveTranspose may be silently wrong
                self._transpose = matrix.transpose(PETSc.Mat())
                matrix = self._transpose
            ksp = PETSc.KSP().create(matrix.getComm())
            self._ksps[prefix] = ksp
            ksp.setOperators(matrix)
            self._counter.factorisations += 1
            self._options.apply(ksp, prefix, self._kind, self._definite)
            if ksp.getType() == "cg":
                ksp.setNormType(PETSc.KSP.NormType.NATURAL)
        return self._ksps[prefix]

    def _size(self, r: Array) -> float:
        """(r' B r)^1/2 with the preconditioner B of conjugate gradients, else (r' D^-1 r)^1/2."""
        if not self.energy:
            return self._norm(r / np.sqrt(self.diagonal))
        self._b.array[:] = r
        self._ksps["state_"].getPC().apply(self._b, self._x)
        return float(np.sqrt(max(self._shared.halo.group.sum(np.einsum("i,i->", r, self._x.array)), 0.0)))

    @cached_property
    def _least(self) -> float:
        """mu^1/2 with a tenth of the least Ritz value of B A for mu, from a solve with a right-hand side that has all
        frequencies; 1 where the norm is not that of the energy.
        """
        from petsc4py import PETSc

        if not self.energy:
            return 1.0

        scaled = self._points / self._diameter
        phase = 1e3 * (1.0 + scaled * np.arange(1, len(scaled) + 1)[:, None]).sum(axis=0)
        self._b.array[:] = np.sqrt(self.diagonal) * np.modf(1e4 * np.sin(phase))[0]
        ksp = PETSc.KSP().create(self._matrix.getComm())
        ksp.setOperators(self._matrix)
        ksp.setPC(self._ksps["state_"].getPC())
        ksp.setType("cg")
        ksp.setComputeEigenvalues(True)
        ksp.setTolerances(rtol=1e-8, atol=0.0, divtol=1e100, max_it=1000)
        ksp.solve(self._b, self._x)
        converged = ksp.getConvergedReason() > 0
        self._counter.inner += ksp.getIterationNumber()
        self._counter.tangent += 1  # one solve more, as far as its cost goes
        least = float(np.real(ksp.computeEigenvalues()).min())
        ksp.destroy()
        if not converged:
            raise ConvergenceError(
                "the linear solver is too slow for an error bound: use linear_solver='direct' or other petsc_options."
            )
        if not least > 0:
            raise ProblemError("the matrix of the equation is not positive definite: use linear_solver='direct'.")
        return float(np.sqrt(0.1 * least))

    def _norm(self, a: Array) -> float:
        return float(np.sqrt(self._shared.halo.group.sum(np.einsum("i,i->", a, a))))


def _most(a: Array) -> float:
    return float(np.abs(a).max(initial=0.0))


class Options:
    """Options of PETSc for the solvers with the prefixes state_ and adjoint_; those of the command line win.

    Raises
    ------
    ProblemError
        For a name without one of the prefixes.
    """

    def __init__(self, options: Mapping[str, object] | None) -> None:
        if not isinstance(options or {}, Mapping):
            raise ProblemError(f"petsc_options takes a dictionary, got {options!r}.")
        self._options = dict(options or {})
        for name in self._options:
            if not str(name).startswith(PREFIXES):
                raise ProblemError(f"petsc_options: {name!r} must begin with state_ or adjoint_, without a dash.")
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


def _assembled(matrix: SharedMatrix, comm: Any) -> Any:
    from petsc4py import PETSc

    integer = PETSc.IntType
    local = sp.csr_matrix(matrix.local)
    columns = matrix.halo.numbers[local.indices].astype(integer)
    ordered = sp.csr_matrix(
        (local.data, columns, local.indptr), (local.shape[0], int(matrix.halo.starts[-1])), copy=True
    )
    ordered.sort_indices()
    csr = (ordered.indptr.astype(integer), ordered.indices.astype(integer), ordered.data)
    return PETSc.Mat().createAIJ(size=((local.shape[0], int(matrix.halo.starts[-1])),) * 2, csr=csr, comm=comm)


def choose_kind(kind: str, definite: bool, dimension: int, unknowns: int) -> str:
    """Direct or multigrid: "auto" takes multigrid for large definite problems."""
    if kind == "auto":
        return "amg" if definite and unknowns > LARGE[dimension] else "direct"
    if kind == "amg" and not definite:
        raise ProblemError(
            "linear_solver='amg' takes symmetric positive definite equations, without advection or negative reaction, "
            "and Weak(.., definite=True): use 'direct', or petsc_options."
        )
    return kind
