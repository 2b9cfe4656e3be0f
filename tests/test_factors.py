"""Sparse factors of symmetric positive definite matrices: CHOLMOD, QDLDL and SuperLU solve alike, or stand in."""

import resource
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from factors import KINDS as MEASURED
from factors import THERE, measure

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.counter import Counter
from pdecontrol.errors import SingularEquationError, SolveLimitError
from pdecontrol.fem import skfem
from pdecontrol.linear import cholesky
from pdecontrol.linear.cholesky import Cholmod, Qdldl, Tridiagonal, cholesky_factors, has_cholmod
from pdecontrol.linear.direct import direct_solver
from pdecontrol.linear.residual import Excess

KINDS = {"CHOLMOD": Cholmod, "QDLDL": Qdldl, "SuperLU": type(None)}


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    """One kind of factors, whatever is there."""
    name = request.param
    if name == "QDLDL":
        pytest.importorskip("qdldl")
    if name == "CHOLMOD" and not has_cholmod():
        pytest.skip("needs PETSc with SuiteSparse")
    monkeypatch.setattr(cholesky, "LOADED", 0)
    monkeypatch.setattr(cholesky, "has_cholmod", lambda: name == "CHOLMOD")
    monkeypatch.setattr(cholesky, "has_qdldl", lambda: name == "QDLDL")
    monkeypatch.setattr(cholesky, "is_tridiagonal", lambda _: False)
    return KINDS[name]


def laplacian(n, dim=2):
    line, one = sp.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(n, n)), sp.identity(n)
    result = line
    for _ in range(dim - 1):
        result = sp.kron(result, one) + sp.kron(sp.identity(result.shape[0]), line)
    return sp.csr_matrix(result)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_all_kinds_solve_for_one_and_for_several(kind, dim):
    matrix = laplacian(9, dim)
    assert type(cholesky_factors(matrix)) is kind
    solver, b = direct_solver(matrix, Counter(), True), np.random.default_rng(dim).standard_normal((matrix.shape[0], 5))
    exact = np.linalg.solve(matrix.toarray(), b)
    columns = solver.solve_columns(b, 1e-3)
    assert columns.shape == b.shape and np.abs(columns - exact).max() <= 1e-13 * np.abs(exact).max()
    for column, x in zip(b.T, exact.T, strict=True):
        found = solver.solve(column)
        error = found.x - x
        assert np.sqrt(error @ matrix @ error) <= 1e-13 * np.sqrt(x @ column)
        assert np.linalg.norm((column - matrix @ found.x) / np.sqrt(solver.diagonal)) <= found.error <= 1e-12
    assert solver.transposed is solver
    assert 1.5 * matrix.nnz - 3 * len(b) <= solver.inverse.entries <= 20 * matrix.nnz
    solver.close()


def test_tridiagonal_matrices_take_LAPACK():
    """In the order of the points alone; where they are indefinite others do."""
    matrix, b = laplacian(9, 1), np.random.default_rng(0).standard_normal((9, 4))
    exact, factors = np.linalg.solve(matrix.toarray(), b), cholesky_factors(matrix)
    assert type(factors) is Tridiagonal and factors.entries() == 34
    assert np.allclose(factors.solve(b), exact, rtol=1e-13) and np.allclose(factors.solve(b[:, 1]), exact[:, 1])
    shuffled = np.random.default_rng(1).permutation(9)
    for other in (laplacian(2), sp.csr_matrix([[2.0]]), matrix[shuffled][:, shuffled], matrix - sp.identity(9)):
        assert type(cholesky_factors(other)) is not Tridiagonal
        assert np.allclose(other @ direct_solver(other, Counter(), True).solve(np.ones(other.shape[0])).x, 1.0)


def test_what_factors_lose_is_refined(kind):
    """A stiff chain on a weak spring: plain back substitution errs by 1e-6, refinement by differences by 1e-15."""
    n, weak = 200, 1e-10
    sums = np.r_[weak, np.zeros(n - 1)]
    stiffness = sp.diags([-np.ones(n - 1), np.r_[1, 2 * np.ones(n - 2), 1], -np.ones(n - 1)], [-1, 0, 1])
    matrix, b, exact = (stiffness + sp.diags(sums)).tocsr(), np.r_[np.zeros(n - 1), 1.0], 1 / weak + np.arange(n)
    solver = direct_solver(matrix, Counter(), True, Excess(sums, 1e-16 * sums, True))
    assert np.abs(solver.solve(b).x / exact - 1).max() <= 1e-14
    assert solver.loss > 1e-10
    for x in (solver.solve(b, accuracy=1e-3).x, solver.solve_columns(np.stack([b, b], axis=1), 1e-3)[:, 1]):
        assert np.abs(x / exact - 1).max() <= 1e-9  # both refine, as such factors lose too much


@pytest.mark.parametrize(
    "matrix",
    [laplacian(9) - 1.0 * sp.identity(81), sp.csr_matrix(np.array([[0.0, 1.0], [1.0, 0.0]]))],
    ids=["indefinite", "hollow"],
)
def test_what_is_not_definite_is_solved_all_the_same(kind, matrix):
    """Pivots may be negative; where there are no such factors SuperLU has its own."""
    assert (cholesky_factors(matrix) is None) == (kind is type(None) or matrix.shape[0] == 2)
    b = np.arange(1.0, matrix.shape[0] + 1)
    x = direct_solver(matrix, Counter(), matrix.shape[0] > 2).solve(b).x
    assert np.abs(matrix @ x - b).max() <= 1e-12 * np.abs(b).max()


@pytest.mark.parametrize("controls", ["distributed", "actuators"])
def test_many_tangents_and_adjoints_at_once(kind, controls):
    """They are those of one at a time, and counted as these."""
    problem = pc.ControlProblem(
        pc.Elliptic(), pc.Distributed() if controls == "distributed" else pc.Actuators([1.0, lambda x: x[0]]),
        pc.Tracking(1.0), [pc.Tikhonov(1e-3)], {"boundary": pc.Dirichlet(1.0)},
    )  # fmt: skip
    map = pc.discretise(problem, pc.unit_square(10))
    at, rng = map.at(map.control.zeros()), np.random.default_rng(1)
    h, w = rng.standard_normal((3, map.control.size)), rng.standard_normal((4, map.observation.size))
    before = map.solves.snapshot()
    images, gradients = at.tangents(h), at.adjoints(w)
    spent = map.solves.since(before)
    assert (spent["tangent"], spent["adjoint"], spent["state"]) == (3, 4, 0)
    assert images == pytest.approx(np.stack([at.tangent(row) for row in h]), rel=1e-10, abs=1e-13)
    assert gradients == pytest.approx(np.stack([at.adjoint(row) for row in w]), rel=1e-10, abs=1e-13)
    with map.solves.limited(map.solves.total + 2), pytest.raises(SolveLimitError):
        at.tangents(h)


def test_singular_matrices_are_refused(kind):
    with pytest.raises(SingularEquationError):
        direct_solver(sp.csr_matrix((3, 3)), Counter(), True)


def test_broken_libraries_are_passed_over(monkeypatch):
    for name in ("petsc4py", "qdldl"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not has_cholmod.__wrapped__() and not cholesky.has_qdldl.__wrapped__()
    monkeypatch.setattr(cholesky, "LOADED", 0)
    monkeypatch.setattr(cholesky, "has_cholmod", has_cholmod.__wrapped__)
    monkeypatch.setattr(cholesky, "has_qdldl", cholesky.has_qdldl.__wrapped__)
    assert cholesky_factors(laplacian(4)) is None
    assert np.allclose(direct_solver(laplacian(4), Counter(), True).solve(np.ones(16)).x @ laplacian(4), 1.0)


def test_small_problems_load_no_petsc(monkeypatch):
    monkeypatch.setattr(cholesky, "has_cholmod", lambda: pytest.fail("PETSc is loaded"))
    cholesky_factors(laplacian(20))


@pytest.mark.parametrize("unknowns", [29_000, 60_000, 120_000])
def test_where_multigrid_begins(unknowns, monkeypatch):
    pytest.importorskip("pyamg")
    engine = skfem.SkfemEngine(pc.unit_cube(2), 1, "auto")
    for there in (False, True):
        monkeypatch.setattr(skfem, "has_cholmod", lambda there=there: there)
        engine.prepare(True, True, unknowns)
        assert engine.exact == (unknowns < (100_000 if there else 30_000))


def test_certificates_do_not_depend_on_the_kind(kind):
    """The optimum of factors of SuperLU, to 1e-12, is within the bound of what each kind finds."""
    problem, mesh = reference.box(1e-4).problem, pc.unit_square(12)
    with pc.discretise(problem, mesh) as map:
        found = pc.minimise(problem, map)
        best = pc.minimise(problem, map, tol=1e-11)
    error = found.control.space.norm(found.control.array - best.control.array)
    assert found.success and error <= found.certificate.bound + best.certificate.bound <= 1e-6 * found.certificate.norm
    assert found.solves["total"] < 60


@pytest.mark.skipif(not has_cholmod(), reason="needs PETSc with SuiteSparse")
def test_factors_of_petsc_are_freed_and_leave_no_options():
    from petsc4py import PETSc

    matrix, before = laplacian(120), dict(PETSc.Options().getAll())

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def some(closed):
        for _ in range(6):
            solver = direct_solver(matrix, Counter(), True)
            solver.solve(np.ones(matrix.shape[0]))
            if closed:
                solver.close()

    some(True)
    first = peak()
    for closed in (True, False) * 3:
        some(closed)
    assert peak() - first < 20_000  # kB, of which one set of factors takes 6 000
    assert PETSc.Options().getAll() == before


@pytest.mark.parametrize("dim", [2, 3])
def test_the_benchmark_measures_every_kind(dim):
    rows = {kind: measure(kind, dim, 6) for kind in MEASURED if THERE[kind]()}
    assert rows["SuperLU"].total > 0 and len({row.solves for kind, row in rows.items() if kind != "multigrid"}) == 1
    assert all(row.error <= 1e-6 and row.run > 0 for row in rows.values())
