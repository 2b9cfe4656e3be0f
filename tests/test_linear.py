"""Linear solvers of both engines behind one interface: solutions, bounds, and adjoint solvers as values."""

import numpy as np
import pytest
import scipy.sparse as sp

from pdecontrol.counter import Counter
from pdecontrol.errors import ProblemError
from pdecontrol.linear.cg import conjugate_gradients, least_ritz_value
from pdecontrol.linear.direct import direct_solver
from pdecontrol.linear.matrix import SharedMatrix, kernel_row
from pdecontrol.linear.residual import Rows
from pdecontrol.linear.solver import EnergyNorm, choose_kind

N = 12
POINTS = np.stack(np.meshgrid(*[np.arange(1.0, N + 1) / (N + 1)] * 2, indexing="ij")).reshape(2, -1)


def laplacian(wind=0.0, reaction=0.0):
    second = sp.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(N, N))
    first = sp.diags([-1.0, 1.0], [-1, 1], shape=(N, N))
    one = sp.identity(N)
    matrix = sp.kron(second, one) + sp.kron(one, second) + wind * sp.kron(first, one) + reaction * sp.identity(N * N)
    return sp.csr_matrix(matrix)


def by_petsc(matrix, definite, counter, kind="direct", **options):
    pytest.importorskip("petsc4py")
    from pdecontrol.linear.ksp import PetscOptions, petsc_solver

    return petsc_solver(SharedMatrix(matrix), kind, definite, counter, PetscOptions(options), POINTS, None)


def by_multigrid(matrix, definite, counter):
    pytest.importorskip("pyamg")
    from pdecontrol.linear.multigrid import multigrid_solver

    return multigrid_solver(matrix, counter, POINTS)


SOLVERS = {
    "direct": (lambda m, definite, counter: direct_solver(m, counter, definite), True),
    "multigrid": (by_multigrid, False),
    "mumps": (by_petsc, True),
    "gamg": (lambda *args: by_petsc(*args, kind="amg"), False),
    "jacobi": (lambda *args: by_petsc(*args, state_pc_type="jacobi"), True),
    "other adjoint": (lambda *args: by_petsc(*args, adjoint_ksp_type="gmres", adjoint_pc_type="jacobi"), True),
}
CASES = [
    (name, wind) for name, (_, general) in SOLVERS.items() for wind in ((0.0, 0.4) if general else (0.0,))
]  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}, wind {case[1]}")
def case(request):
    name, wind = request.param
    matrix = laplacian(wind)
    solver = SOLVERS[name][0](matrix, wind == 0.0, Counter())
    yield name, matrix, solver
    solver.close()


def test_there_are_many():
    assert len(CASES) == 10


def test_solutions_of_both_directions_and_bounds_that_hold(case):
    """The law of adjoint solvers, and errors in the energy norm at most the bound where it is one of them."""
    _, matrix, solver = case
    b, c = np.random.default_rng(3).standard_normal((2, N * N))
    forward, adjoint = solver.solve(b), solver.transposed.solve(c)
    assert forward.x @ c == pytest.approx(b @ adjoint.x, rel=1e-8)
    for found, side, operator in ((forward, b, matrix), (adjoint, c, matrix.T)):
        exact = sp.linalg.spsolve(operator.tocsc(), side)
        assert np.linalg.norm(found.x - exact) <= 1e-8 * np.linalg.norm(exact)
        if solver.energy:
            error = found.x - exact
            assert (error @ matrix @ error) ** 0.5 <= found.error <= 1e-6


def test_the_adjoint_solver_is_a_value(case):
    name, matrix, solver = case
    symmetric = (matrix != matrix.T).nnz == 0
    assert solver.transposed.transposed is solver
    assert (solver.transposed is solver) == (symmetric and name != "other adjoint")


def test_an_accuracy_gives_no_bound(case):
    _, matrix, solver = case
    b = np.random.default_rng(4).standard_normal(N * N)
    for one, operator in ((solver, matrix), (solver.transposed, matrix.T)):
        found = one.solve(b, accuracy=1e-3)
        assert found.error is None and np.linalg.norm(b - operator @ found.x) <= 0.1 * np.linalg.norm(b)


def test_what_is_solved_is_recognised(case):
    _, _, solver = case
    b = np.random.default_rng(5).standard_normal(N * N)
    for one in (solver, solver.transposed):
        found = one.solve(b)
        assert one.recognise(b, found.x).error <= 2 * found.error and one.recognise(b, 1.1 * found.x) is None


def test_the_constant_costs_one_solve(case):
    """It is found once, when a bound in the energy norm is first asked for."""
    _, _, solver = case
    for _ in range(2):
        solver.solve(np.ones(N * N))
        assert solver._counter.tangent == int(solver.energy)


def test_the_least_ritz_value_is_the_least_eigenvalue():
    matrix = laplacian()
    b = np.random.default_rng(6).standard_normal(N * N)
    scale = 1.0 / matrix.diagonal()
    least, steps = least_ritz_value(matrix.__matmul__, b, np.dot, lambda r: scale * r, 1000)
    exact = np.linalg.eigvalsh(matrix.toarray() * 0.25)[0]
    assert exact <= least * (1 + 1e-9) <= 1.01 * exact and 20 <= steps <= N * N
    assert least_ritz_value((-matrix).__matmul__, b, np.dot, lambda r: r, 1000)[0] == 0.0


def test_conjugate_gradients_end_at_negative_curvature():
    d = np.array([1.0, -1.0, 2.0])
    x, image, done = conjugate_gradients(lambda v: (d * v, np.r_[v, v]), np.ones(3), np.dot, 1e-10, 10)
    assert x.shape == (3,) and image.shape == (6,) and not done
    x, image, _ = conjugate_gradients(lambda v: (-v, np.r_[v, v]), np.ones(3), np.dot, 1e-10, 10)
    assert not x.any() and image.shape == (6,) and not image.any()


def test_constants_in_the_kernel_of_a_component():
    free = sp.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(4, 4)).tolil()
    free[0, 0] = free[3, 3] = 1.0
    fixed = laplacian()
    assert kernel_row(fixed) is None and kernel_row(free) == 0
    assert kernel_row(sp.block_diag([fixed, free])) == N * N


def test_the_choice_between_factors_and_multigrid():
    assert choose_kind("auto", True, True, "") == "amg" and choose_kind("direct", True, True, "") == "direct"
    assert choose_kind("auto", False, True, "") == choose_kind("auto", True, False, "") == "direct"
    with pytest.raises(ProblemError, match="definite equations, without wind"):
        choose_kind("amg", False, True, "without wind")


def test_a_matrix_that_is_not_definite_has_no_bound():
    counter, rows = Counter(), Rows(SharedMatrix(laplacian(reaction=-0.5)), True, None)
    norm = EnergyNorm(rows, direct_solver(laplacian(), counter, True).inverse, lambda r: r, POINTS, counter)
    with pytest.raises(ProblemError, match="not positive definite"):
        _ = norm.least
