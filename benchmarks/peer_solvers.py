"""The solvers that benchmarks/peers.py compares with, each on the matrices of a problem, as users would call them.

A peer is a function (matrices, watch, option) -> work. Methods that iterate on controls show each to `watch`, which
stops them at the first that is near enough to the optimum, at no cost to them. Solvers of quadratic programs run to a
tolerance, and show their answer. `PEERS` has for each the options to try, of which the best counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from resource import RUSAGE_SELF, getrusage
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from peer_problems import ActiveSets, Array, Matrices, reduced
from scipy.optimize import fmin_l_bfgs_b
from scipy.sparse.linalg import splu

Watch = Callable[[Array], None]


def cpu_seconds() -> float:
    """Of this process, to microseconds: its clock moves in steps of milliseconds where its CPU time is limited."""
    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def by_superlu(A: sp.csc_matrix) -> Callable[[Array], Array]:
    return splu(A, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve


def by_qdldl(A: sp.csc_matrix) -> Callable[[Array], Array]:
    import qdldl

    return qdldl.Solver(A).solve


def by_petsc(A: sp.csc_matrix, kind: str = "petsc") -> Callable[[Array], Array]:
    from petsc4py import PETSc

    rows = A.tocsr()
    matrix = PETSc.Mat().createAIJ(A.shape, csr=(rows.indptr, rows.indices, rows.data), comm=PETSc.COMM_SELF)
    matrix.setOption(PETSc.Mat.Option.SPD, True)
    pc = PETSc.PC().create(PETSc.COMM_SELF)
    pc.setOperators(matrix)
    pc.setType("cholesky")
    pc.setFactorSolverType(kind)
    if kind == "petsc":
        pc.setFactorOrdering("nd")
    else:
        PETSc.Options()["mat_cholmod_supernodal_switch"] = 200  # columns, which are faster in 2D
    pc.setUp()
    b, x = matrix.createVecs()

    def solve(functional: Array) -> Array:
        b.array[:] = functional
        pc.apply(b, x)
        return x.array.copy()

    return solve


FACTORS = {"SuperLU": by_superlu, "QDLDL": by_qdldl, "PETSc": by_petsc, "CHOLMOD": partial(by_petsc, kind="cholmod")}


def factors(m: Matrices) -> Callable[[Array], Array]:
    """A^-1, A symmetric positive definite, by the factors that a problem names."""
    return FACTORS[m.factors](m.A)


def fastest(A: sp.csc_matrix) -> str:
    """The factors of those that are there that take least for thirty solves, by the least of some times."""

    def once(name: str) -> float:
        begun = cpu_seconds()
        solve, factorised = FACTORS[name](A), cpu_seconds()
        for _ in range(3):
            solve(np.ones(A.shape[0]))
        return factorised - begun + 10 * (cpu_seconds() - factorised)

    def seconds(name: str) -> float:
        begun, runs = cpu_seconds(), list[float]()
        while len(runs) < 5 and cpu_seconds() - begun < 1.0:
            try:
                runs.append(once(name))
            except Exception:  # of a package that is missing, or was made without it
                return np.inf
        return min(runs)

    return min(FACTORS, key=seconds)


class Reduced:
    """The objective in w = M^1/2 u, over alpha; with an L1 term in the positive and negative parts of w.

    Attributes
    ----------
    solves : with A or A', so far.
    """

    def __init__(self, m: Matrices, watch: Watch) -> None:
        self.m, self._watch, self._solve, self._root = m, watch, factors(m), np.sqrt(m.M)
        self._scale, self._C, self._transpose, self._Q = m.alpha or 1.0, m.C.tocsr(), m.C.T.tocsr(), m.Q.tocsr()
        lower, upper = self._root * m.lower, self._root * m.upper
        self.lower, self.upper, self._weight = lower, upper, 0.0
        if m.beta > 0:  # for bounds on both sides of zero
            self.lower, self.upper = np.zeros(2 * lower.size), np.concatenate([upper, -lower])
            self._weight = m.beta / self._scale * np.tile(self._root, 2)
        self.solves = 0

    def joined(self, x: Array) -> Array:
        """w of the variables."""
        return x if self.m.beta == 0 else x[: x.size // 2] - x[x.size // 2 :]

    def split(self, w: Array) -> Array:
        """The derivative by the variables of a function with that by w."""
        return w if self.m.beta == 0 else np.concatenate([w, -w])

    def __call__(self, x: Array) -> tuple[float, Array]:
        """The value and its gradient."""
        m, w = self.m, self.joined(x)
        self._watch(w / self._root)
        y = self._solve(m.b + self._C @ (w / self._root))
        image = self._Q @ y
        p = self._solve(image - m.g)
        self.solves += 2
        tikhonov = m.alpha / self._scale
        value = (y @ image / 2 - m.g @ y) / self._scale + tikhonov * (w @ w) / 2 + np.sum(self._weight * x)
        return value, self.split((self._transpose @ p) / self._root / self._scale + tikhonov * w) + self._weight

    def hessian(self, x: Array) -> Array:
        """The second derivative times x."""
        m, w = self.m, self.joined(x)
        p = self._solve(self._Q @ self._solve(self._C @ (w / self._root)))
        self.solves += 2
        return self.split((self._transpose @ p) / self._root / self._scale + m.alpha / self._scale * w)

    def __str__(self) -> str:
        return f"{self.solves} solves"


def lbfgsb(m: Matrices, watch: Watch, memory: int) -> Any:
    """L-BFGS-B of scipy, which stops where rounding of the objective does not let it go on."""
    reduced = Reduced(m, watch)
    bounds = np.stack([reduced.lower, reduced.upper], axis=1)
    start, far = np.zeros(reduced.lower.size), 10**6
    watch.work = reduced
    fmin_l_bfgs_b(reduced, start, bounds=bounds, m=memory, factr=0.0, pgtol=0.0, maxfun=far, maxiter=far, maxls=50)
    return reduced


def tao(m: Matrices, watch: Watch, kind: str) -> Any:
    """A method of PETSc's TAO with bounds, Hessians as products."""
    from petsc4py import PETSc

    reduced = Reduced(m, watch)
    watch.work = reduced
    size, comm = reduced.lower.size, PETSc.COMM_SELF

    def vector(values: Array) -> Any:
        return PETSc.Vec().createWithArray(np.array(values), comm=comm)

    def gradient(tao: Any, x: Any, g: Any) -> float:
        value, g.array[:] = reduced(x.array_r)
        return float(value)

    class Hessian:
        def mult(self, matrix: Any, x: Any, result: Any) -> None:
            result.array[:] = reduced.hessian(x.array_r)

    options = PETSc.Options()
    options["tao_subset_type"] = "matrixfree"
    if kind == "bnls":
        options["tao_bnk_pc_type"] = "none"
    method, x = PETSc.TAO().create(comm), vector(np.zeros(size))
    method.setType(kind)
    method.setObjectiveGradient(gradient, vector(np.zeros(size)))
    matrix = PETSc.Mat().createPython((size, size), Hessian(), comm=comm)
    matrix.setUp()
    if kind != "bqnkls":
        method.setHessian(lambda *_: None, matrix)
    finite = np.clip([reduced.lower, reduced.upper], -1e20, 1e20)
    method.setVariableBounds((vector(finite[0]), vector(finite[1])))
    method.setTolerances(gatol=0.0, grtol=0.0, gttol=0.0)
    method.setMaximumIterations(10**6)
    method.setFromOptions()
    method.solve(x)
    watch(reduced.joined(x.array_r) / np.sqrt(m.M))
    return reduced


class Program(NamedTuple):
    """min x'Px/2 + c'x, Ax = b, low <= x <= high; the control is the last entries (or parts of it) times `scale`."""

    P: sp.csc_matrix
    c: Array
    A: sp.csc_matrix
    b: Array
    low: Array
    high: Array
    control: Callable[[Array], Array]


def program(m: Matrices, least: float = 0.0) -> Program:
    """The quadratic program in (y, w), w = M^1/2 u in two parts where there is an L1 term; objective over alpha.

    Or over something larger: neither is best for all problems.
    """
    scale, root, n, k = max(m.alpha or 1e-4, least), np.sqrt(m.M), m.b.size, m.M.size
    B = m.C @ sp.diags(1 / root)
    parts = [B, -B] if m.beta > 0 else [B]
    ridge = sp.identity(k) * (m.alpha / scale)
    if m.beta > 0:
        ridge = sp.kron([[1, -1], [-1, 1]], ridge)
    box = (
        [root * m.lower, root * m.upper]
        if m.beta == 0
        else [np.zeros(2 * k), np.append(root * m.upper, -root * m.lower)]
    )
    return Program(
        P=sp.block_diag([m.Q / scale, ridge], format="csc"),
        c=np.concatenate([-m.g / scale, np.tile(m.beta * root / scale, len(parts)) * (m.beta > 0)]),
        A=sp.hstack([m.A, *(-part for part in parts)], format="csc"),
        b=m.b,
        low=np.concatenate([np.full(n, -np.inf), box[0]]),
        high=np.concatenate([np.full(n, np.inf), box[1]]),
        control=lambda x: (x[n:] if m.beta == 0 else x[n : n + k] - x[n + k :]) / root,
    )  # fmt: skip


def piqp(m: Matrices, watch: Watch, tol: float, least: float = 0.0) -> str:
    """PIQP, a proximal interior point method."""
    import piqp

    p, solver = program(m, least), piqp.SparseSolver()
    solver.settings.eps_abs = solver.settings.eps_rel = tol
    solver.settings.eps_duality_gap_abs = solver.settings.eps_duality_gap_rel = tol
    solver.setup(p.P, p.c, p.A, p.b, None, None, None, p.low, p.high)
    solver.solve()
    watch.work = f"{solver.result.info.iter} its"
    watch(p.control(solver.result.x))


def osqp(m: Matrices, watch: Watch, tol: float) -> str:
    """OSQP, with polishing."""
    import osqp

    p, solver = program(m), osqp.OSQP()
    bounded = np.flatnonzero(np.isfinite(p.low) | np.isfinite(p.high))
    A = sp.vstack([p.A, sp.identity(p.c.size, format="csc")[bounded]], format="csc")
    ends = np.concatenate([p.b, p.low[bounded]]), np.concatenate([p.b, p.high[bounded]])
    options = {"eps_abs": tol, "eps_rel": tol, "polishing": True, "max_iter": 100_000, "verbose": False}
    solver.setup(sp.triu(p.P, format="csc"), p.c, A, *ends, **options)
    result = solver.solve(raise_error=False)
    watch.work = f"{result.info.iter} its"
    watch(p.control(result.x))


def clarabel(m: Matrices, watch: Watch, tol: float) -> str:
    """Clarabel, an interior point method."""
    import clarabel

    p, settings = program(m), clarabel.DefaultSettings()
    above, below = (np.flatnonzero(np.isfinite(ends)) for ends in (p.high, p.low))
    one = sp.identity(p.c.size, format="csc")
    A = sp.vstack([p.A, one[above], -one[below]], format="csc")
    b = np.concatenate([p.b, p.high[above], -p.low[below]])
    cones = [clarabel.ZeroConeT(p.b.size), clarabel.NonnegativeConeT(above.size + below.size)]
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tol
    result = clarabel.DefaultSolver(sp.triu(p.P, format="csc"), p.c, A, b, cones, settings).solve()
    watch.work = f"{result.iterations} its"
    watch(p.control(np.array(result.x)))


def active_sets(m: Matrices, watch: Watch, factors: str) -> str:
    """Undamped active sets from zero, a system with both states factorised for each."""
    system = ActiveSets(m, factors)
    u, inactive, fixed = system.sets(np.zeros(m.b.size))
    for count in range(1, 101):
        u, inactive, fixed = system.sets(system.solve(inactive, fixed)[1])
        watch.work = f"{count} factorisations"
        watch(u)
    return watch.work


def explicit_hessian(m: Matrices, watch: Watch, _: None) -> str:
    """A solve for each control, then active sets on the small dense problem."""
    small, inactive = reduced(m, factors(m)), np.ones(m.M.size, dtype=bool)
    H, ridge, u = small.Q.toarray(), m.alpha * m.M, np.zeros(m.M.size)
    watch.work = f"{m.M.size + 1} solves"
    for _ in range(50):
        rows = np.ix_(inactive, inactive)
        load = (small.g - H @ np.where(inactive, 0.0, u))[inactive]
        u[inactive] = np.linalg.solve(H[rows] + np.diag(ridge[inactive]), load)
        q = (H @ u - small.g) / m.M
        u = m.argmin(q)
        inactive = (u > m.lower) & (u < m.upper)
        watch(u)
    return watch.work


class Peer(NamedTuple):
    """A solver, the package it needs, the options to try, and which problems it is for."""

    solve: Callable[..., Any]
    package: str
    options: Sequence[Any]
    fits: Callable[[Matrices], bool] = lambda m: True


TOLERANCES = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13)
PEERS = {  # what is often fast first, as it limits the others
    "PIQP": Peer(piqp, "piqp", TOLERANCES),
    "PIQP, J over 0.01": Peer(partial(piqp, least=1e-2), "piqp", TOLERANCES, lambda m: m.alpha < 1e-2),
    "active sets, QDLDL": Peer(active_sets, "qdldl", ("QDLDL",), lambda m: m.pointwise and m.alpha > 0),
    "explicit Hessian": Peer(explicit_hessian, "scipy", (None,), lambda m: m.M.size <= 300 and m.alpha > 0 == m.beta),
    "TAO bnls": Peer(tao, "petsc4py", ("bnls",), lambda m: m.alpha > 0),
    "TAO bqnkls": Peer(tao, "petsc4py", ("bqnkls",), lambda m: m.alpha > 0),
    "TAO blmvm": Peer(tao, "petsc4py", ("blmvm",)),
    "L-BFGS-B": Peer(lbfgsb, "scipy", (5, 10, 20, 50)),
    "OSQP": Peer(osqp, "osqp", TOLERANCES),
    "Clarabel": Peer(clarabel, "clarabel", TOLERANCES),
    "active sets, SuperLU": Peer(active_sets, "scipy", ("SuperLU",), lambda m: m.pointwise and m.alpha > 0),
}
