"""Certificates against optima in extended precision: rounding is part of every bound, and ends a run that it stops."""

import sys
from fractions import Fraction
from importlib.util import find_spec

import numpy as np
import pytest
from extended import Extended, judged, random_problem

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.counter import Counter
from pdecontrol.fem.bounds import Constants, Rounding
from pdecontrol.fem.steady import SteadyMap
from pdecontrol.linear.direct import direct_solver
from pdecontrol.linear.residual import Excess, Rows

if np.finfo(np.longdouble).eps > 1e-18:
    pytest.skip(f"no extended precision on {sys.platform}", allow_module_level=True)

amg = pytest.mark.skipif(find_spec("pyamg") is None, reason="needs pyamg")
MESHES = {1: lambda: pc.unit_interval(60), 2: lambda: pc.unit_square(10), 3: lambda: pc.unit_cube(4)}


# -- u* = k/1.01 on every mesh: nearly singular equations -------------------------------------------------------------


def constant(where, c, dim, mesh):
    """A problem whose states are constants u/k, with k."""
    equation, boundary, k = {
        "reaction": (pc.Elliptic(reaction=c), {}, c),
        "diffusion": (pc.Elliptic(1 / c, 1.0), {}, 1.0),
        "Robin": (pc.Elliptic(), {"boundary": pc.Robin(c, c)}, None),
    }[where]
    volume = mesh.volumes.sum()
    if where == "Robin":  # y = 1 + u solves the equation for the boundary load c u: u* = -1/1.01 for the target 0
        control, k, target = pc.Actuators([c], on="boundary"), 1.0, 0.0
        return pc.ControlProblem(equation, control, pc.Tracking(target), [pc.Tikhonov(1e-2 * volume)], boundary), -1.0
    terms = [pc.Tikhonov(1e-2 * volume / k**2)]
    return pc.ControlProblem(equation, pc.Actuators([1.0]), pc.Tracking(1.0), terms, boundary), k


@pytest.mark.parametrize("c", [1e-2, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("dim", MESHES)
@pytest.mark.parametrize("where", ["reaction", "diffusion", "Robin"])
def test_nearly_singular_equations(where, dim, c):
    mesh = MESHES[dim]()
    problem, k = constant(where, c, dim, mesh)
    for degree in (1, 2):
        for tol in (1e-6, 1e-13):
            result = pc.solve(problem, mesh, pc.Embedded(degree=degree), tol=tol)
            error = abs(result.control.array[0] - k / 1.01)
            assert error <= result.certificate.bound
            assert result.status in (pc.Status.CERTIFIED, pc.Status.ROUNDING) and result.solves["total"] < 60
        if c >= 1e-6:
            assert pc.solve(problem, mesh, pc.Embedded(degree=degree)).success and error <= 1e-8 * abs(k)
        assert "condition number" in result.certificate.assumption


@amg
@pytest.mark.parametrize("where", ["reaction", "Robin"])
def test_nearly_singular_equations_by_multigrid(where):
    for c in (1e-2, 1e-5):
        mesh = pc.unit_square(12)
        problem, k = constant(where, c, 2, mesh)
        result = pc.solve(problem, mesh, pc.Embedded(linear_solver="amg"))
        assert abs(result.control.array[0] - k / 1.01) <= result.certificate.bound


def test_a_singular_equation_has_no_bound():
    """Reaction at minus an eigenvalue of the discrete equation: nothing is certified on hope, and it is named."""
    mesh = pc.unit_square(8)
    map = pc.discretise(reference.poisson(1e-2).problem, mesh)
    free, stiffness = map.system.lifting.free, map.system.matrix.toarray()
    mass = map.solution.mass.toarray()[np.ix_(free, free)]
    eigenvalue = np.linalg.eigvals(np.linalg.solve(mass, stiffness)).real.min()
    bounds = []
    for distance in (1e-2, 1e-6, 1e-10, 0.0):
        problem = pc.ControlProblem(
            pc.Elliptic(reaction=-eigenvalue * (1 - distance)), pc.Distributed(), pc.Tracking(lambda x: x[0]),
            [pc.Tikhonov(1e-2)], {"boundary": pc.Dirichlet()},
        )  # fmt: skip
        result = pc.solve(problem, mesh, tol=1e-8)
        bounds.append(result.certificate.relative)
        if distance > 1e-8:
            extended = Extended(problem, pc.discretise(problem, mesh))
            error = extended.norm(result.control.array - extended.optimum(result.control.array))
            assert error <= result.certificate.bound
    assert bounds[0] < 1e-8 < bounds[-1] and not result.success
    assert "resonant" in result.certificate.assumption or "singular" in result.certificate.assumption


# -- against extended precision ---------------------------------------------------------------------------------------


def inclusion(contrast, alpha, n):
    """Diffusion 2^k in an inner square, and 1 outside: the matrix has exact entries."""
    inside = lambda x: (np.abs(x - 0.5) < 0.25).all(axis=0)  # noqa: E731
    mesh = pc.unit_square(n).tag_part("in", inside).tag_part("out", lambda x: ~inside(x))
    problem = pc.ControlProblem(
        pc.Elliptic({"in": 2.0**contrast, "out": 1.0}), pc.Distributed(),
        pc.Tracking(lambda x: np.sin(3 * x[0]) * x[1]), [pc.Tikhonov(alpha), pc.L1(1e-4 * alpha), pc.Box(-3, 3)],
        {"boundary": pc.Dirichlet()},
    )  # fmt: skip
    return problem, mesh


def errors_and_bounds(problem, mesh, degree=1, tolerances=(1e-6, 1e-10, 1e-13), **options):
    """Pairs of the error and the bound of the results for some tolerances, all from one map."""
    map = pc.discretise(problem, mesh, pc.Embedded(degree=degree))
    extended = Extended(problem, map)
    for tol in tolerances:
        result = pc.minimise(problem, map, tol=tol, **options)
        optimum = extended.optimum(result.control.array)
        if optimum is not None:
            yield extended.norm(result.control.array - optimum) - extended.allowance(optimum), result.certificate.bound


@pytest.mark.parametrize("contrast", [0, 10, 20, 30])
def test_contrasts(contrast):
    count = 0
    for alpha in (1.0, 1e-3, 1e-5, 1e-8):
        for error, bound in errors_and_bounds(*inclusion(contrast, alpha, 8), max_solves=2000):
            assert error <= bound
            count += 1
    assert count >= 10


def test_contrasts_on_a_finer_mesh():
    """Stiff parts cost few digits: at a contrast of 2^20 an answer is certified to 1e-6."""
    problem, mesh = inclusion(20, 1e-3, 16)
    ((error, bound),) = errors_and_bounds(problem, mesh, tolerances=(1e-6,))
    assert error <= bound and pc.solve(problem, mesh).success


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pdecontrol.AdvectionWarning")
def test_random_problems():
    """150 small problems of all kinds: no bound below the error, no gap below the excess of the objective."""
    generator, count = np.random.default_rng(20261), 0
    for _ in range(150):
        outcome = judged(*random_problem(generator), generator)
        for error, bound, excess, gap in outcome[1] if outcome else ():
            assert excess <= gap and (bound is None or error <= bound)
            count += 1
    assert count >= 270


def claimed(problem, mesh, degree, generator):
    """Pairs of the errors and the claimed ones of S(u) and of S* w, for some control and dual vector."""
    map = pc.discretise(problem, mesh, pc.Embedded(degree=degree))
    extended = Extended(problem, map)
    u, w = generator.standard_normal(map.control.size), generator.standard_normal(map.observation.size)
    at = map.at(u)
    difference = at.value - extended.state(u)
    yield float(np.sqrt(difference @ extended.observation @ difference)), at.error
    adjoint = at.solve_adjoint(w)
    exact = (extended.matrix.T @ (extended.observation @ w.astype(np.longdouble))) / extended.control
    yield extended.norm(adjoint.gradient - exact), adjoint.error


@pytest.mark.filterwarnings("ignore::pdecontrol.AdvectionWarning")
def test_errors_of_states_and_gradients():
    generator = np.random.default_rng(20262)
    ratios = [claim / error for _ in range(100) for error, claim in claimed(*random_problem(generator), generator)]
    assert min(ratios) >= 1.0 and np.median(ratios) <= 300


# -- planted errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planted", ["rounding", "differences", "constants"])
@pytest.mark.filterwarnings("ignore::pdecontrol.AdvectionWarning")
def test_what_is_left_out_shows(planted, monkeypatch):
    """Claims without rounding, with residuals that are not in differences, or with constants far too small."""
    if planted == "rounding":
        monkeypatch.setattr(Rows, "rounding", lambda self, x, *_, **__: 0.0 * x)
        for name in ("load", "functional"):
            right = getattr(Rounding, name)
            monkeypatch.setattr(Rounding, name, lambda self, a, right=right: 0.0 * right(self, a))
    elif planted == "differences":
        monkeypatch.setattr(Rows, "product", lambda self, x: self._local @ x)
    else:
        monkeypatch.setattr(SteadyMap, "constants", Constants(1.3e-3, 1.3e-3, 1.0))
    generator = np.random.default_rng(20262)
    pairs = [pair for _ in range(60) for pair in claimed(*random_problem(generator), generator)]
    assert sum(error > claim for error, claim in pairs) >= 5


# -- runs that rounding ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "primal-dual", "fista", "admm"])
def test_a_tolerance_that_rounding_does_not_allow_ends_soon(method):
    problem, mesh = reference.poisson(1e-4).problem, pc.unit_square(16)
    best = pc.solve(problem, mesh, method=method, tol=1e-10)
    result = pc.solve(problem, mesh, method=method, tol=1e-16)
    assert best.success and result.status is pc.Status.ROUNDING and not result.success
    assert result.certificate.bound <= 1.1 * best.certificate.bound
    assert result.certificate.bound <= 16 * result.certificate.floor
    assert result.solves["total"] <= 2.5 * best.solves["total"]


def test_a_long_interval():
    mesh = pc.unit_interval(20_000)
    result = pc.solve(reference.poisson(1e-2).problem, mesh, tol=1e-12)
    space, exact = result.control.space, reference.poisson(1e-2).control
    assert result.status is pc.Status.ROUNDING and result.certificate.relative < 1e-7
    assert space.norm(result.control.array - exact(space.points)) < 1.0
    finer = pc.solve(reference.poisson(1e-2).problem, mesh, tol=1e-6)
    assert finer.success
    difference = space.norm(result.control.array - finer.control.array)
    assert difference <= result.certificate.bound + finer.certificate.bound


@pytest.mark.parametrize("alpha", [1e-2, 1e-5, 1e-8])
@pytest.mark.parametrize("method", ["auto", "primal-dual", "fista", "admm"])
@pytest.mark.parametrize("linear_solver", ["direct", pytest.param("amg", marks=amg)])
def test_a_target_that_is_reached_by_no_control(linear_solver, method, alpha):
    """S(0) = y_d: u* = 0, and the misfit of every state is rounding."""
    target = lambda x: 1 + x[0]  # noqa: E731
    problem = pc.ControlProblem(
        pc.Elliptic(), pc.Distributed(), pc.Tracking(target), [pc.Tikhonov(alpha)], {"boundary": pc.Dirichlet(target)}
    )
    result = pc.solve(problem, pc.unit_square(16), pc.Embedded(linear_solver=linear_solver), method=method)
    assert result.status is pc.Status.REACHED and result.solves["total"] < 100
    assert "to rounding" in str(result) and result.certificate.norm <= result.certificate.bound <= 1e-6


# -- the parts --------------------------------------------------------------------------------------------------------


def test_factors_are_refined_where_they_lose_digits():
    """A stiff chain on a weak spring: plain back substitution errs by 1e-6, refinement by differences by 1e-14."""
    import scipy.sparse as sp

    n, weak = 200, 1e-10
    stiffness = sp.diags([-np.ones(n - 1), np.r_[1, 2 * np.ones(n - 2), 1], -np.ones(n - 1)], [-1, 0, 1]).tocsr()
    sums = np.zeros(n)
    sums[0] = weak
    matrix = (stiffness + sp.diags(sums)).tocsr()  # 1 + 1e-10 loses six digits of the spring
    b = np.zeros(n)
    b[-1] = 1.0
    exact = 1 / weak + np.arange(n)
    excess = Excess(sums, 1e-16 * sums, True)
    refined = direct_solver(matrix, Counter(), True, excess)
    assert np.abs(refined.solve(b).x / exact - 1).max() <= 2e-14
    assert np.abs(sp.linalg.splu(matrix.tocsc()).solve(b) / exact - 1).max() > 1e-14
    solution = refined.solve(b)
    assert refined.recognise(b, solution.x).error < np.inf and refined.recognise(b, 0.9 * solution.x) is None


# -- the other engine, and iterative solvers --------------------------------------------------------------------------


@pytest.mark.parametrize("linear_solver", ["direct", "amg"])
@pytest.mark.parametrize("where", ["reaction", "Robin"])
def test_nearly_singular_equations_on_the_distributed_engine(where, linear_solver):
    pytest.importorskip("dolfinx")
    mesh = pc.unit_square(8)
    for c in (1e-2, 1e-5, 1e-8) if linear_solver == "direct" else (1e-2, 1e-4):
        problem, k = constant(where, c, 2, mesh)
        result = pc.solve(problem, mesh, pc.Parallel(linear_solver=linear_solver), tol=1e-9)
        assert abs(result.control.gather().array[0] - k / 1.01) <= result.certificate.bound
        assert result.certificate.relative <= (1e-6 if linear_solver == "direct" else 1.0)


def dense_inverse(apply, size):
    return np.stack([apply(e) for e in np.eye(size)], axis=1)


@pytest.mark.parametrize("engine", [pytest.param("skfem", marks=amg), "dolfinx"])
def test_the_constant_of_iterative_bounds_is_from_below(engine):
    """mu, a tenth of an estimate, is below the spectrum of B A, and not by much more than that tenth."""
    if engine == "dolfinx":
        pytest.importorskip("dolfinx")
    rough = lambda x: 10 ** (3 * np.sin(40 * x[0]) * np.cos(37 * x[1]))  # noqa: E731
    problem = pc.ControlProblem(
        pc.Elliptic(rough), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1.0)], {"boundary": pc.Dirichlet()}
    )
    backend = (pc.Embedded if engine == "skfem" else pc.Parallel)(linear_solver="amg")
    with pc.discretise(problem, pc.unit_square(24), backend) as map:
        factors, block = map.factors, map.system.matrix
        matrix = (block if engine == "skfem" else block.local).toarray()
        inverse, mu = dense_inverse(factors.inverse.precondition, len(matrix)), factors.norm.least**2
        root = np.linalg.cholesky(matrix)
        least = np.linalg.eigvalsh(root.T @ (inverse + inverse.T) / 2 @ root)[0]
        assert 0.08 * least <= mu <= 0.3 * least


# -- what an attack found ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["skfem", "dolfinx"])
@pytest.mark.parametrize("size", [1e4, 1e8, 1e12])
def test_dirichlet_data_that_cancel(engine, size):
    """A y_D of size eps |A| |y_D|, with one unknown and its optimum in fractions."""
    if engine == "dolfinx":
        pytest.importorskip("dolfinx")
    data = lambda x: size * np.where(x[0] < 0.5, 1.0, -1 / 3)  # noqa: E731
    problem = pc.ControlProblem(
        pc.Elliptic(lambda x: np.where(x[0] < 0.5, 1 / 3, 1.0)), pc.Distributed(),
        pc.Tracking(0.3, points=[[0.5]]), [pc.Tikhonov(1e-3)], {"boundary": pc.Dirichlet(data)},
    )  # fmt: skip
    exact, map = pc.discretise(problem, pc.unit_interval(2)), pc.discretise(problem, pc.unit_interval(2), engine)
    system = exact.system
    y, u = system.lifting.initial(), exact.control.zeros()
    matrix, (free,) = system.equation.jacobian(y, u).toarray(), system.lifting.free
    a, others = Fraction(matrix[free, free]), [i for i in range(3) if i != free]
    load = -system.equation.residual(0 * y, u)
    b = Fraction(load[free]) - sum(Fraction(matrix[free, i]) * Fraction(y[i]) for i in others)
    mass = [Fraction(float(m)) for m in exact.control.mass]
    gain = mass[free] / a
    optimum = float(gain * (Fraction(0.3) - b / a) / (Fraction(1e-3) * mass[free] + gain**2))
    result = pc.minimise(problem, map, tol=1e-12)
    error = result.control.gather().array - np.where(np.arange(3) == free, optimum, 0.0)
    assert exact.control.norm(error) <= result.certificate.bound


def test_sums_of_many_equal_terms():
    """Actuators: y = u and u* = 1/1001; a sum of n equal terms may err by n eps if it is taken in a row."""
    for mesh, diffusion in ((pc.unit_square(100), 1.0), (pc.unit_interval(100_000), 1e-9)):
        problem = pc.ControlProblem(
            pc.Elliptic(diffusion, 1.0), pc.Actuators([1.0]), pc.Tracking(1.0), [pc.Tikhonov(1e3)], {}
        )
        result = pc.solve(problem, mesh, tol=1e-13)
        assert abs(result.control.array[0] - np.longdouble(1) / 1001) <= result.certificate.bound


@pytest.mark.parametrize("preconditioner", ["bcgs sor", "gmres ilu"])
def test_iterative_solvers_of_an_indefinite_equation(preconditioner):
    """The constants of a certificate come from solves that are as tight as those of the certificate itself."""
    pytest.importorskip("dolfinx")
    mesh = pc.unit_square(6).tag_part("a", lambda x: x[0] < 0.5).tag_part("b", lambda x: x[0] >= 0.5)
    problem = pc.ControlProblem(
        pc.Elliptic({"a": 1.0, "b": 1e5}, -14.06), pc.Distributed(), pc.Tracking(lambda x: 1 + np.sin(3 * x[0])),
        [pc.Tikhonov(3e-2)], {"left": pc.Dirichlet()},
    )  # fmt: skip
    direct = pc.discretise(problem, mesh, pc.Embedded(degree=2))
    kind, inner = preconditioner.split()
    options = {f"{w}_{k}": v for w in ("state", "adjoint") for k, v in (("ksp_type", kind), ("pc_type", inner))}
    with pc.discretise(problem, mesh, pc.Parallel(2, options=options)) as map:
        result = pc.minimise(problem, map, tol=1e-7, max_solves=500)
        optimum = Extended(problem, direct).optimum(result.control.gather().array)
        error = direct.control.norm(result.control.gather().array - optimum.astype(float))
        assert result.certificate.bound is None or error <= result.certificate.bound
        for one, other in zip(map.constants[:2], direct.constants[:2], strict=True):
            assert one >= 0.5 * other


@pytest.mark.parametrize("kind", ["cg jacobi", "cg icc", "gmres jacobi"])
def test_weak_preconditioners_on_stiff_thin_cells(kind):
    """A spectrum that conjugate gradients do not get to the end of gives no bound, and no wrong one."""
    pytest.importorskip("dolfinx")
    mesh = pc.unit_square(6).transform(lambda x: np.vstack([x[:1], 1e-2 * x[1:]]))
    mesh = mesh.tag_part("a", lambda x: x[0] < 0.5).tag_part("b", lambda x: x[0] >= 0.5)
    for contrast in (1e4, 6e8):
        problem = pc.ControlProblem(
            pc.Elliptic({"a": 1.0, "b": contrast}, 1.0), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-3)],
            {"left": pc.Dirichlet()},
        )  # fmt: skip
        exact, (krylov, inner) = pc.solve(problem, mesh, tol=1e-6), kind.split()
        options = {"state_ksp_type": krylov, "state_pc_type": inner}
        try:
            result = pc.solve(problem, mesh, pc.Parallel(options=options), tol=1e-6, max_solves=300)
        except pc.PdecontrolError:
            continue  # the solver is too slow, and says so
        error = exact.control.space.norm(result.control.gather().array - exact.control.array)
        bound = result.certificate.bound
        assert bound is None or error <= bound + exact.certificate.bound


def test_zero_where_the_reference_hides_beta():
    """alpha reference - beta rounds to zero, and u* is 6e-8."""
    problem = pc.ControlProblem(
        pc.Elliptic(1.0, 1e6), pc.Actuators([1.0]), pc.Tracking(0.0), [pc.Tikhonov(1e-9, reference=1e9), pc.L1(1.0)], {}
    )
    certificate = pc.solve(problem, pc.unit_interval(4), max_solves=100).certificate
    assert not certificate.optimal and (certificate.bound is None or certificate.bound >= 6e-8)


def test_bounds_do_not_underflow():
    problem = pc.ControlProblem(
        pc.Elliptic(), pc.Distributed(), pc.Tracking(0.0), [pc.Tikhonov(1e-30)], {"boundary": pc.Dirichlet()}
    )
    map = pc.discretise(problem, pc.unit_interval(4))
    assert pc.certify(problem, 1e-120, map).bound >= map.control.norm(np.full(5, 1e-120))
