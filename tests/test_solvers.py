"""The methods and the loop: first iterates by hand, step rules, limits, interruption, checkpoints."""

from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
from cases import with_optimum
from matrix_map import MatrixMap, random_problem

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.arrays import Array
from pdecontrol.files import read_arrays
from pdecontrol.linear.cg import conjugate_gradients
from pdecontrol.maps import map_norm
from pdecontrol.solvers import loop
from pdecontrol.solvers.checkpoint import as_checkpoint, pack, unpack
from pdecontrol.solvers.choice import choose
from pdecontrol.solvers.dual_newton import line_search
from pdecontrol.solvers.extrapolation import extrapolate
from pdecontrol.solvers.method import CONTROL, OBSERVATION, Algorithm, Method, Start, State
from pdecontrol.solvers.normal_map_newton import NormalMapNewton
from pdecontrol.solvers.schedule import Schedule
from pdecontrol.solvers.steps import balanced_step
from pdecontrol.space import Space
from pdecontrol.terms import ControlCost, Objective, Quadratic, StateCost, bind

METHODS = [pc.PrimalDual(steps=steps) for steps in ("classical", "enlarged", "balanced", "accelerated")] + [
    pc.FISTA(),
    pc.ProximalGradient(),
    pc.ADMM(),
    pc.SemismoothNewton(),
]
NONLINEAR = [pc.SemismoothNewton(), pc.PrimalDual(), pc.ProximalGradient(), pc.FISTA(), pc.ADMM()]
identify = pytest.mark.parametrize("method", METHODS, ids=repr)


@pytest.fixture(scope="module")
def small():
    """A sparse problem with a box on a small mesh, with its map."""
    problem = reference.stadler(1e-3).problem
    return problem, pc.discretise(problem, pc.unit_square(12))


def semilinear(alpha=1e-2):
    return pc.ControlProblem(
        equation=pc.Elliptic(semilinear=pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2, coefficient=50.0)),
        boundary={"boundary": pc.Dirichlet()},
        control=pc.Distributed(),
        tracking=pc.Tracking(lambda x: 4 * np.sin(np.pi * x[0]) * x[1]),
        terms=[pc.Tikhonov(alpha), pc.L1(0.01), pc.Box(-30, 60)],
    )


def run(objective, map, method, tol=1e-8, iterations=20_000):
    start = Start(np.clip(np.zeros(map.control.size), objective.control.lower, objective.control.upper), cold=True)
    return loop.run(objective, map, method, start, loop.Stopping(tol, 0.0, iterations, np.inf), progress=False)


# -- the methods -----------------------------------------------------------------------------------------------------


def test_first_primal_dual_iterates_by_hand():
    generator = np.random.default_rng(8)
    objective, map, _ = random_problem(generator, 0.5, functionals=0)
    c, target = objective.control, np.concatenate([f.target for f in objective.state.functionals])
    method = pc.PrimalDual(steps=(0.3, 0.7)).algorithm_for(objective, map)
    u = np.clip(np.zeros(map.control.size), c.lower, c.upper)
    p = np.zeros(map.observation.size)
    state = method.begin(objective, map, Start(u, cold=True))
    for _ in range(3):
        q = map.matrix.T @ map.observation.dual(p) / map.control.mass
        new = np.clip(
            (lambda v: np.sign(v) * np.maximum(np.abs(v) - 0.3 * c.beta, 0))(u - 0.3 * q + 0.3 * 0.5 * c.reference)
            / (1 + 0.3 * 0.5), c.lower, c.upper,
        )  # fmt: skip
        p = (p + 0.7 * (map.matrix @ (2 * new - u) + map.offset - target)) / 1.7
        u = new
        state = method.step(objective, map, state)
        assert np.allclose(state.u, u, atol=1e-13) and np.allclose(state.dual, p, atol=1e-13)


@identify
def test_every_method_finds_the_optimum_of_random_problems(method):
    generator = np.random.default_rng(9)
    for _ in range(8):
        objective, map, optimum = random_problem(generator, 0.05)
        result = run(objective, map, method, 1e-9)
        # u = 0 can only be certified where it is found exactly
        assert result.status in (pc.Status.CERTIFIED, pc.Status.STALLED)
        error = map.control.norm(result.control.array - optimum)
        assert error <= 3e-9 * map.control.norm(optimum) + 1e-13
        assert error <= result.certificate.bound + 1e-13


@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 1.0, 1e3])
def test_balanced_step(alpha):
    """The rule satisfies the enlarged condition and the closed form, one of them with equality."""
    norm = 0.0507
    x = balanced_step(norm, alpha)
    kappa = x**2 * norm**2 / alpha / 0.999
    limits = 4 * (1 + x) / (3 + x), (4 + 2 * x) / 3
    assert kappa == pytest.approx(min(limits), rel=1e-12)


def test_balanced_step_reference_values():
    norm = 1 / (2 * np.pi**2)
    for alpha, x in ((1e-2, 3.254), (1e-3, 0.862), (1e-4, 0.241), (1e-5, 0.0733)):
        assert balanced_step(norm, alpha) == pytest.approx(x, rel=2e-3)


def test_enlarged_condition_is_necessary():
    """On a linear problem with an affine F* the iteration converges below (4 + 2 alpha r)/3 and diverges above."""
    alpha, r = 1e-2, 30.0
    for factor, converges in ((0.99, True), (1.02, False)):
        s = 1e-6  # F* is nearly affine on this scale: 1 + s = 1
        z2 = factor * (4 + 2 * alpha * r) / 3 / (r * s)
        map = MatrixMap(np.array([[np.sqrt(z2)]]), np.zeros(1), Space(np.ones(1)), Space(np.ones(1)))
        free = np.full(1, np.inf)
        objective = Objective(
            StateCost([Quadratic(map.observation.factors[0], np.ones(1))]),
            ControlCost(map.control, alpha, np.zeros(1), 0.0, -free, free),
        )
        method = pc.PrimalDual(steps=(r, s)).algorithm_for(objective, map)
        state = method.begin(objective, map, Start(np.zeros(1), cold=True))
        for _ in range(1000):
            state = method.step(objective, map, state)
        optimum = np.sqrt(z2) / (z2 + alpha)
        assert bool(abs(state.u[0] - optimum) < 1e-3 * optimum) is converges


def test_newton_converges_from_zero_where_undamped_active_sets_cycle():
    for n in (32, 64):
        for alpha in (1e-5, 1e-6):
            result = pc.solve(reference.box(alpha).problem, pc.unit_square(n), method="semismooth-newton", tol=1e-8)
            assert result.success
            assert len(result.history) <= 20


def test_line_search_and_conjugate_gradients():
    kinked = lambda t: np.where(t < 3.0, t - 5.0, 10.0 * t - 32.0)  # noqa: E731
    t = line_search(lambda t: float(kinked(t)), -5.0)
    assert abs(kinked(t)) <= 0.5
    generator = np.random.default_rng(10)
    a = generator.normal(size=(12, 12))
    mass = generator.uniform(0.5, 2.0, 12)
    matrix = np.diag(1 / mass) @ (a @ a.T + np.eye(12))  # self-adjoint in the weighted inner product
    b = generator.normal(size=12)
    x, bx, done = conjugate_gradients(lambda d: (matrix @ d, 3 * d), b, Space(mass).inner, 1e-12, 100)
    assert done and np.allclose(matrix @ x, b, atol=1e-9) and np.allclose(bx, 3 * x)
    assert conjugate_gradients(lambda d: (4 * d, d), b, Space(mass).inner, 1e-12, 1)[2]  # at the last step allowed


def test_extrapolation_removes_two_modes():
    generator = np.random.default_rng(11)
    limit, modes = generator.normal(size=20), generator.normal(size=(2, 20))
    factors = np.array([0.9, -0.8])
    trail = np.array([limit + factors**k @ modes for k in range(4)])
    assert np.abs(extrapolate(trail, Space(np.ones(20))) - limit).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "tol"), [(1e-1, 3e-7), (1e-2, 1e-5), (1e-3, 1e-4)])
def test_nonlinear_methods_agree(alpha, tol):
    problem, methods = semilinear(alpha), [pc.SemismoothNewton(), pc.PrimalDual(), pc.ADMM(), pc.FISTA()]
    if alpha > 1e-3:
        methods += [pc.PrimalDual(steps="classical"), pc.ProximalGradient()]
    map = pc.discretise(problem, pc.unit_square(6))
    best = pc.minimise(problem, map, tol=1e-9).control.array
    for method in methods:
        result = pc.minimise(problem, map, method, tol=tol)
        assert result.success and "convex" in result.certificate.assumption, method
        error = map.control.norm(result.control.array - best)
        assert error <= min(2 * tol * map.control.norm(best), result.certificate.bound + 1e-9), method


def test_without_tikhonov_term_the_gap_certifies():
    problem = pc.ControlProblem(
        equation=pc.Elliptic(),
        boundary={"boundary": pc.Dirichlet()},
        control=pc.Distributed(),
        tracking=pc.Tracking(lambda x: np.sin(2 * np.pi * x[0]) * np.sin(np.pi * x[1])),
        terms=[pc.Box(-1, 1), pc.L1(1e-4)],
    )
    map = pc.discretise(problem, pc.unit_square(16))
    values = []
    for method in ("auto", "fista", "admm", pc.PrimalDual(), pc.PrimalDual(steps="classical")):
        result = pc.minimise(problem, map, method, tol=1e-4)
        assert result.success and result.certificate.bound is None
        assert result.certificate.relative_gap <= 1e-4
        values.append(result.objective)
    assert np.ptp(values) <= 1e-4 * max(values)
    with pytest.raises(pc.ProblemError, match="Tikhonov"):
        pc.minimise(problem, map, "semismooth-newton")


# -- the loop --------------------------------------------------------------------------------------------------------


@identify
def test_solves_are_limited_and_counted(small, method):
    problem, map = small
    for limit in (20, 27):
        before = map.solves.total
        result = pc.minimise(problem, map, method, tol=1e-14, max_solves=limit)
        assert result.solves["total"] == map.solves.total - before <= limit
        assert result.status is pc.Status.SOLVES and not result.success
        assert result.certificate.bound is not None
        assert result.history["solves"][-1] <= limit


def test_too_few_solves_to_start_is_an_error(small):
    with pytest.raises(pc.ProblemError, match="max_solves = 2 does not suffice"):
        pc.minimise(*small, "primal-dual", max_solves=2)


def test_limit_of_iterations(small):
    result = pc.minimise(*small, "primal-dual", tol=1e-14, max_iterations=4)
    assert result.status is pc.Status.ITERATIONS
    assert result.history["iteration"].tolist() == [0, 1, 2, 3, 4]
    assert result.certificate.bound < np.inf


def test_callback_stops_and_ctrl_c_returns_what_there_is(small):
    seen = []
    result = pc.minimise(*small, "primal-dual", tol=1e-14, callback=lambda row: seen.append(row) or row.iteration == 3)
    assert result.status is pc.Status.STOPPED and [row.iteration for row in seen] == [0, 1, 2, 3]

    def interrupt(row):
        if row.iteration == 5:
            raise KeyboardInterrupt

    result = pc.minimise(*small, "primal-dual", tol=1e-14, callback=interrupt)
    assert result.status is pc.Status.INTERRUPTED and not result.success
    assert result.certificate.bound is not None and len(result.history) == 6


def test_rounding_ends_a_run_with_its_own_status(small):
    result = pc.minimise(*small, "primal-dual", tol=1e-30)
    assert result.status is pc.Status.ROUNDING
    assert result.certificate.relative < 1e-11


@identify
def test_restart_continues_exactly(small, method, tmp_path):
    """Run 2 N = N, restart, N."""
    problem, map = small
    whole = pc.minimise(problem, map, method, tol=1e-15, max_iterations=6)
    path = tmp_path / "run"
    pc.minimise(problem, map, method, tol=1e-15, max_iterations=3, checkpoint=path)
    parts = pc.minimise(problem, map, method, tol=1e-15, max_iterations=6, checkpoint=path, restart=True)
    assert np.abs(whole.control.array - parts.control.array).max() <= 1e-12 * np.abs(whole.control.array).max()
    assert parts.history["iteration"].tolist() == list(range(len(parts.history)))
    assert parts.history["objective"] == pytest.approx(whole.history["objective"], rel=1e-12)
    assert parts.solves["total"] == whole.solves["total"]


def test_restart_of_a_nonlinear_run(tmp_path):
    problem = semilinear()
    map = pc.discretise(problem, pc.unit_square(8))
    for method in NONLINEAR:
        path = tmp_path / repr(method)[:9]
        whole = pc.minimise(problem, map, method, tol=1e-15, max_iterations=4)
        pc.minimise(problem, map, method, tol=1e-15, max_iterations=2, checkpoint=path)
        parts = pc.minimise(problem, map, method, tol=1e-15, max_iterations=4, checkpoint=path, restart=True)
        assert np.abs(whole.control.array - parts.control.array).max() <= 1e-10 * np.abs(whole.control.array).max()


def test_restart_refuses_another_problem_or_method(small, tmp_path):
    problem, map = small
    path = tmp_path / "run.npz"
    pc.minimise(problem, map, "fista", max_iterations=2, tol=1e-15, checkpoint=path)
    saved = path.read_bytes()
    other = reference.stadler(1e-4).problem
    with pytest.raises(pc.ResultFileError, match="different problem"):
        pc.minimise(other, map, "fista", checkpoint=path, restart=True)
    with pytest.raises(pc.ResultFileError, match="checkpoint of FISTA"):
        pc.minimise(problem, map, "primal-dual", checkpoint=path, restart=True)
    path.write_bytes(saved[: len(saved) // 2])
    with pytest.raises(pc.ResultFileError, match="damaged"):
        pc.minimise(problem, map, "fista", checkpoint=path, restart=True)
    with pytest.raises(pc.ProblemError, match="checkpoint="):
        pc.minimise(problem, map, "fista", restart=True)


def test_warm_starts(small):
    """A result carries the dual vector on: control and dual together save more than the control alone."""
    problem, map = small
    cold = pc.minimise(problem, map, "primal-dual")
    warm = pc.minimise(problem, map, "primal-dual", start=cold)
    assert len(warm.history) <= 3 < len(cold.history)
    function = pc.minimise(problem, map, "primal-dual", start=lambda x: np.sin(np.pi * x[0]))
    assert function.success


def test_continuation():
    problem = reference.stadler(1e-5).problem
    path = pc.continuation(problem, pc.unit_square(16), alpha=[1e-3, 1e-4, 1e-5], beta=[3e-3, 2e-3, 1e-3])
    assert [result.success for result in path] == [True, True, True]
    direct = pc.solve(problem, pc.unit_square(16))
    space = direct.control.space
    assert space.norm(path[-1].control.array - direct.control.array) <= 2e-6 * space.norm(direct.control.array)
    with pytest.raises(pc.ProblemError, match="equal length"):
        pc.continuation(problem, pc.unit_square(4), alpha=[1.0], beta=[1.0, 2.0])


def test_progress_is_quiet_unless_asked(small, capsys):
    pc.minimise(*small, "primal-dual")
    assert capsys.readouterr() == ("", "")
    pc.minimise(*small, "primal-dual", progress=True)
    output = capsys.readouterr()
    assert output.out == "" and "certified" in output.err and len(output.err.splitlines()) >= 3


# -- what users ran into ---------------------------------------------------------------------------------------------


def bang_bang():
    return pc.ControlProblem(
        equation=pc.Elliptic(),
        boundary={"boundary": pc.Dirichlet()},
        control=pc.Distributed(),
        tracking=pc.Tracking(lambda x: 0.02 * np.sin(2 * np.pi * x[0])),
        terms=[pc.Box(-1, 1)],
    )


def test_without_tikhonov_term_the_better_of_iterate_and_projection_is_returned():
    """The projection of a nearly singular dual vector chatters; the iterate has the far smaller gap."""
    result = pc.solve(bang_bang(), pc.unit_square(24), tol=2e-3)
    assert result.success
    size = np.abs(result.control.array)
    assert np.mean((size > 0.0) & (size < 1.0)) >= 0.2  # a projection has values in {-1, 0, 1}


def test_zero_is_recognised_from_any_start():
    """u* = 0 is found by its optimality, not by iterates that underflow."""
    for equation in (pc.Elliptic(), pc.Elliptic(semilinear=pc.Semilinear(np.sinh, np.cosh))):
        problem = pc.ControlProblem(
            equation, pc.Distributed(), pc.Tracking(0.0), [pc.Tikhonov(1e-2)], {"boundary": pc.Dirichlet()}
        )
        result = pc.solve(problem, pc.unit_square(8), start=1.0)
        assert result.success and not result.control.array.any() and result.solves["total"] < 40


@identify
def test_any_limit_of_solves_is_kept(small, method):
    problem, map = small
    for limit in range(14):
        before = map.solves.total
        try:
            result = pc.minimise(problem, map, method, tol=1e-14, max_solves=limit)
        except pc.ProblemError:
            assert map.solves.total - before <= limit
        else:
            assert result.solves["total"] == map.solves.total - before <= limit
    assert map.solves.limit == np.inf


def test_the_solves_of_a_start_are_counted(small):
    problem, map = small
    before = map.solves.total
    result = pc.minimise(problem, map, "primal-dual", start=1.0)
    assert result.solves["total"] == map.solves.total - before


def test_a_checkpoint_that_cannot_be_written_is_found_out_at_once(small, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    calls = []
    with pytest.raises(pc.ResultFileError, match="cannot be written"):
        pc.minimise(*small, "fista", checkpoint=tmp_path / "file" / "run", callback=calls.append)
    assert not calls


def test_an_error_of_the_callback_leaves_a_checkpoint(small, tmp_path):
    def fails(row):
        if row.iteration == 5:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pc.minimise(*small, "fista", tol=1e-14, checkpoint=tmp_path / "run", callback=fails)
    result = pc.minimise(*small, "fista", tol=1e-14, checkpoint=tmp_path / "run", restart=True, max_iterations=6)
    assert result.history["iteration"].tolist() == list(range(7))


def test_fields_of_another_mesh_are_evaluated():
    problem = reference.stadler(1e-3).problem
    one = pc.solve(problem, pc.unit_square((4, 6)))
    map = pc.discretise(problem, pc.unit_square((6, 4)))
    by_field = pc.certify(problem, one.control, map)
    by_values = pc.certify(problem, one.control(map.control.points), map)
    assert by_field.bound == pytest.approx(by_values.bound, rel=1e-9)


def test_an_unchecked_modulus_is_not_called_checked():
    problem = semilinear()
    map = pc.discretise(problem, pc.unit_square(8))
    stopped = pc.minimise(problem, map, "proximal-gradient", max_iterations=1)
    assert "as its Hessian at u indicates" in stopped.certificate.assumption
    limited = pc.minimise(problem, map, "proximal-gradient", max_solves=stopped.solves["total"] - 3)
    assert limited.status is pc.Status.SOLVES and "was not checked" in limited.certificate.assumption
    assert np.isfinite(limited.state.array).all()


def concave(*terms):
    """Where y < 0 and the target is above, -r''(y) p (S' h)^2 is negative and outweighs a small alpha."""
    return pc.ControlProblem(
        pc.Elliptic(semilinear=pc.Semilinear(lambda y: 10 * y**3, lambda y: 30 * y**2)),
        pc.Distributed(), pc.Tracking(3.0), terms, {"boundary": pc.Dirichlet()},
    )  # fmt: skip


def test_a_modulus_that_holds_with_the_active_set_alone():
    problem = concave(pc.Tikhonov(1e-5), pc.Box(-20, -19))
    certificate = pc.certify(problem, -19.0, pc.discretise(problem, pc.unit_square(8)))
    assert certificate.bound is not None and "with the same active set" in certificate.assumption


@pytest.mark.parametrize("method", NONLINEAR, ids=repr)
def test_a_stationary_point_without_convexity_is_not_a_success(method):
    """u = -19 is one for a reference that is made for it; a weight of 10 makes the same point a minimum."""
    for alpha, status in ((1e-5, pc.Status.NONCONVEX), (10.0, pc.Status.CERTIFIED)):
        mesh = pc.unit_square(6)
        problem, map = with_optimum(concave(pc.Tikhonov(alpha)), mesh, np.full(mesh.points.shape[1], -19.0))
        result = pc.minimise(problem, map, method, start=-19.0, tol=1e-4)
        assert result.status is status and result.success is (alpha == 10.0)
        assert (result.certificate.bound is None) is (alpha == 1e-5) and np.isfinite(result.state.array).all()
        given = pc.certify(problem, -19.0, map)
        assert (given.bound is None) is (alpha == 1e-5) and ("nothing" in given.assumption) is (alpha == 1e-5)


def test_a_restart_notices_a_change_of_the_semilinear_term_far_out(tmp_path):
    def problem(cut):
        term = pc.Semilinear(lambda y: np.minimum(y**3, cut), lambda y: np.where(y**3 < cut, 3 * y**2, 0.0))
        return pc.ControlProblem(
            pc.Elliptic(semilinear=term), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)],
            {"boundary": pc.Dirichlet()},
        )  # fmt: skip

    maps = [pc.discretise(problem(cut), pc.unit_square(4)) for cut in (1e9, 1e3)]
    assert maps[0].fingerprint != maps[1].fingerprint


def test_a_dual_vector_of_another_problem_is_made_admissible():
    """A warm start must not carry a multiplier of a Linear functional that is not 1."""

    def problem(tracking, terms):
        return pc.ControlProblem(
            pc.Elliptic(reaction=1.0), pc.Distributed(), tracking, [pc.Tikhonov(1e-2), *terms],
        )  # fmt: skip

    points = np.array([[0.25, 0.75]])
    mesh = pc.unit_interval(16)
    first = pc.solve(problem(pc.Tracking(3.0, points=points), []), mesh)
    second = problem(pc.Tracking(3.0, points=points[:, :1]), [pc.Linear(1.0)])
    map = pc.discretise(second, mesh)
    cold = pc.minimise(second, map, tol=1e-9)
    for method in ("semismooth-newton", "primal-dual", "fista"):
        warm = pc.minimise(second, map, method, tol=1e-7, start=first)
        difference = map.control.norm(warm.control.array - cold.control.array)
        assert difference <= warm.certificate.bound + cold.certificate.bound


@identify
def test_a_restart_does_not_change_the_result(method, tmp_path):
    problem = reference.box(1e-4).problem
    map = pc.discretise(problem, pc.unit_square(12))
    whole = pc.minimise(problem, map, method, tol=1e-6)
    path = tmp_path / "run"
    pc.minimise(problem, map, method, tol=1e-6, max_iterations=len(whole.history) // 2, checkpoint=path)
    parts = pc.minimise(problem, map, method, tol=1e-6, checkpoint=path, restart=True)
    assert len(parts.history) == len(whole.history)
    difference = np.abs(whole.control.array - parts.control.array).max()
    assert difference <= 1e-12 * np.abs(whole.control.array).max()


def test_projected_controls_without_a_state_do_not_end_a_run():
    """-y'' - exp(y) = u has no solution for large u, which argmin G + <q, .> may be for small alpha."""
    term = pc.Semilinear(lambda y: -np.exp(y), lambda y: -np.exp(y))
    problem = pc.ControlProblem(
        pc.Elliptic(semilinear=term), pc.Distributed(), pc.Tracking(lambda x: 0.3 * np.sin(np.pi * x[0])),
        [pc.Tikhonov(1e-4), pc.Box(-50, 50)], {"boundary": pc.Dirichlet()},
    )  # fmt: skip
    map = pc.discretise(problem, pc.unit_interval(16))
    for method in ("semismooth-newton", "proximal-gradient"):
        result = pc.minimise(problem, map, method, tol=1e-3, max_iterations=40)
        assert result.objective < 1e-3 and len(result.history) > 1


def test_states_whose_linearisation_at_zero_is_singular():
    """-Lap y + y^3 = u with Neumann conditions: y = 1 for u = 1."""
    problem = pc.ControlProblem(
        pc.Elliptic(semilinear=pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2)),
        pc.Distributed(),
        pc.Tracking(1.0),
        [pc.Tikhonov(1e-2)],
    )
    map = pc.discretise(problem, pc.unit_square(4))
    assert np.allclose(map.solve(np.ones(map.control.size)), 1.0, atol=1e-9)
    assert np.allclose(map.solve(np.full(map.control.size, -8.0)), -2.0, atol=1e-9)


def test_continuation_keeps_a_checkpoint_for_each_stage(tmp_path):
    problem = reference.stadler(1e-3).problem
    run = {"mesh": pc.unit_square(8), "alpha": [1e-2, 1e-3], "checkpoint": tmp_path / "path", "restart": True}
    first = pc.continuation(problem, **run)
    del run["restart"]
    second = pc.continuation(problem, **run | {"checkpoint": pc.Checkpoint(tmp_path / "path", restart=True)})
    assert sorted(item.name for item in tmp_path.iterdir()) == ["path-0.npz", "path-1.npz"]
    for one, other in zip(first, second, strict=True):
        space = one.control.space
        assert space.norm(one.control.array - other.control.array) <= 2e-6 * space.norm(one.control.array)


@pytest.mark.parametrize("method", NONLINEAR, ids=repr)
def test_nonlinear_runs_within_any_limit_return_a_state(method):
    problem = semilinear()
    map = pc.discretise(problem, pc.unit_square(4))
    for limit in (20, 30, 45):
        result = pc.minimise(problem, map, method, tol=1e-13, max_solves=limit)
        assert result.solves["total"] <= limit and np.isfinite(result.state.array).all()


# -- steps of nonlinear maps -----------------------------------------------------------------------------------------


def cubic(weight, alpha, linear=0.0, reaction=0.0):
    term = pc.Semilinear(lambda y: weight * y**3 + linear * y, lambda y: 3 * weight * y**2 + linear)
    target = pc.Tracking(lambda x: np.sin(2 * np.pi * x[0]) * np.sin(2 * np.pi * x[1]) * np.exp(2 * x[0]) / 6)
    return pc.ControlProblem(
        pc.Elliptic(reaction=reaction, semilinear=term), pc.Distributed(), target,
        [pc.Tikhonov(alpha), pc.L1(1e-3), pc.Box(-30, 30)], {"boundary": pc.Dirichlet()},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem",
    [cubic(1, 1e-4), cubic(100, 1e-5), cubic(1, 1e-2, -20, 1)],
    ids=["y^3", "100 y^3", "y^3 - 20 y + y"],
)
def test_steps_recover_from_a_wrong_norm(problem):
    """The whole table: benchmarks/nonlinear_steps.py."""
    map = pc.discretise(problem, pc.unit_square(8))
    norm = map_norm(map, map.at(map.control.zeros()), lambda w: w)
    counts = []
    for factor in (1.0, 1 / 10, 3.0):
        result = pc.minimise(problem, map, pc.PrimalDual(norm=factor * norm), tol=1e-4, max_iterations=500)
        assert result.success
        counts.append(len(result.history) - 1)
    assert max(counts) <= 1.5 * counts[0] and counts[0] <= 1.5 * min(counts)


@pytest.mark.parametrize("n", [8, 16])
def test_primal_dual_is_certified_where_reaction_and_a_cube_hold_the_state(n):
    problem = pc.ControlProblem(
        pc.Elliptic(reaction=1.0, semilinear=pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2)),
        pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-3), pc.Box(-2, 2)],
    )  # fmt: skip
    result = pc.solve(problem, pc.unit_square(n), method="primal-dual", tol=1e-6)
    newton = pc.solve(problem, pc.unit_square(n), method="semismooth-newton", tol=1e-8)
    space = result.control.space
    assert result.success and len(result.history) <= 80
    assert space.norm(result.control.array - newton.control.array) <= 1.1e-6 * space.norm(newton.control.array)


@pytest.mark.slow
def test_steps_that_are_too_long_are_mended_from_the_best_state():
    """A pair is not replaced by a rule: it shrinks, from the state of the least residual."""
    problem = semilinear()
    map = pc.discretise(problem, pc.unit_square(6))
    objective = bind(problem, map)
    method = pc.PrimalDual(steps=(3e3, 3e1), norm=1.0).algorithm_for(objective, map)
    state = method.begin(objective, map, Start(map.control.zeros(), cold=True))
    repairs = 0
    for _ in range(200):
        before, state = state, method.step(objective, map, state)
        if state.r < before.r:
            repairs += 1
            assert state.r == pytest.approx(before.r / np.sqrt(2))
            assert np.array_equal(state.u, before.nearest_u) and np.array_equal(state.dual, before.nearest_dual)
            assert np.allclose(state.y, map.solve(before.nearest_ubar), atol=1e-10)
    best = pc.minimise(problem, map, "semismooth-newton", tol=1e-9).control.array
    assert repairs >= 3 and map.control.norm(state.u - best) <= 2e-3 * map.control.norm(best)


def test_states_that_do_not_exist_shorten_the_steps():
    term = pc.Semilinear(lambda y: -np.exp(y), lambda y: -np.exp(y))
    problem = pc.ControlProblem(
        pc.Elliptic(semilinear=term), pc.Distributed(), pc.Tracking(lambda x: 0.3 * np.sin(np.pi * x[0])),
        [pc.Tikhonov(1e-4), pc.Box(-50, 50)], {"boundary": pc.Dirichlet()},
    )  # fmt: skip
    map = pc.discretise(problem, pc.unit_interval(16))
    objective = bind(problem, map)
    method = pc.PrimalDual(norm=1e-4).algorithm_for(objective, map)
    state = method.begin(objective, map, Start(map.control.zeros(), cold=True))
    first = state.r
    for _ in range(3):
        state = method.step(objective, map, state)
    assert 2 * state.r <= first and np.isfinite(state.y).all()


@pytest.mark.slow
def test_restart_of_steps_that_were_mended(tmp_path):
    problem = semilinear()
    map = pc.discretise(problem, pc.unit_square(6))
    for number, method in enumerate((pc.PrimalDual(norm=1e-3), pc.PrimalDual(steps=(3e3, 3e1)))):
        whole = pc.minimise(problem, map, method, tol=1e-15, max_iterations=20)
        for half in (7, 16):
            path = tmp_path / f"{number}-{half}"
            pc.minimise(problem, map, method, tol=1e-15, max_iterations=half, checkpoint=path)
            parts = pc.minimise(problem, map, method, tol=1e-15, max_iterations=20, checkpoint=path, restart=True)
            assert parts.history["objective"] == pytest.approx(whole.history["objective"], rel=1e-9)


def test_every_state_comes_back_from_its_checkpoint():
    for problem in (semilinear(), reference.stadler(1e-3).problem):
        map = pc.discretise(problem, pc.unit_square(3))
        objective = bind(problem, map)
        for method in METHODS:
            algorithm = method.algorithm_for(objective, map)
            state = algorithm.begin(objective, map, Start(map.control.zeros(), cold=True))
            state = algorithm.step(objective, map, state)
            again = unpack(algorithm.state, pack(state, map), map)
            for item in fields(state):
                before, after = getattr(state, item.name), getattr(again, item.name)
                if item.name == "at":
                    assert after is None
                else:
                    assert type(before) is type(after)
                    np.testing.assert_equal(after, before)


@dataclass(frozen=True, eq=False, repr=False)
class OwnState(State):
    momentum: Array = field(metadata=CONTROL)
    observed: tuple[Array, ...] = field(default=(), metadata=OBSERVATION)
    count: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class UndeclaredState(State):
    momentum: Array
    observed: tuple[Array, ...] = field(default=(), metadata=OBSERVATION)
    count: int = 0


@dataclass(frozen=True)
class Own(Method, Algorithm):
    """A method of a user: gradient steps with momentum, which keeps the two observations before."""

    state: type[State] = OwnState
    shape: tuple[int, ...] = (-1,)
    name = "own"

    def algorithm_for(self, objective, map):
        return self

    def begin(self, objective, map, start):
        return self.evaluated(objective, map.at(start.u), start.u, map.control.zeros(), (), 0)

    def step(self, objective, map, state):
        momentum = 0.5 * state.momentum.ravel() - state.adjoint.gradient
        u = objective.control.prox(state.u + momentum, 1.0)
        return self.evaluated(objective, map.at(u), u, momentum, (*state.observed[-1:], state.y), state.count + 1)

    def evaluated(self, objective, at, u, momentum, observed, count):
        p = objective.state.gradient(at.value)
        return self.state(u, at.value, p, at.solve_adjoint(p), momentum.reshape(self.shape), observed, count)


def test_a_method_of_ones_own_goes_on_from_its_checkpoint(small, tmp_path):
    whole = pc.minimise(*small, Own(), tol=1e-15, max_iterations=6)
    checkpoint = pc.Checkpoint(tmp_path / "run")
    pc.minimise(*small, Own(), tol=1e-15, max_iterations=3, checkpoint=checkpoint)
    _, arrays = read_arrays(tmp_path / "run.npz", "checkpoint")
    assert arrays["state.observed"].shape == (2, small[1].observation.size) and arrays["state.count"] == 3
    checkpoint = replace(checkpoint, restart=True)
    parts = pc.minimise(*small, Own(), tol=1e-15, max_iterations=6, checkpoint=checkpoint)
    assert np.array_equal(whole.control.array, parts.control.array)
    assert parts.history["objective"] == pytest.approx(whole.history["objective"], rel=1e-14)


@pytest.mark.parametrize("method", [Own(UndeclaredState), Own(shape=(13, 13))], ids=["undeclared", "rows"])
def test_a_checkpoint_refuses_arrays_that_declare_no_space(small, tmp_path, method):
    """Several processes would each have written their part of it."""
    seen = []
    with pytest.raises(
        pc.ResultFileError, match=r"state\.momentum cannot be kept .* no flat vector of a space that it declares"
    ):
        pc.minimise(*small, method, checkpoint=tmp_path / "run", callback=seen.append)
    assert not seen and not list(tmp_path.iterdir())
    assert pc.minimise(*small, method, tol=1e-15, max_iterations=2).history["iteration"].tolist() == [0, 1, 2]


def test_a_checkpoint_is_an_object_or_a_path(small, tmp_path):
    run = {"tol": 1e-14, "method": "fista"}
    pc.minimise(*small, **run, max_iterations=2, checkpoint=pc.Checkpoint(tmp_path / "one", iterations=1))
    pc.minimise(*small, **run, max_iterations=2, checkpoint=tmp_path / "two", checkpoint_iterations=1)
    for name, restart in (("one", {"checkpoint": tmp_path / "one", "restart": True}),
                          ("two", {"checkpoint": pc.Checkpoint(tmp_path / "two"), "restart": True}),
                          ("two", {"checkpoint": pc.Checkpoint(str(tmp_path / "two.npz"), restart=True)})):  # fmt: skip
        result = pc.minimise(*small, **run, max_iterations=4, **restart)
        assert result.history["iteration"].tolist() == [0, 1, 2, 3, 4], name
    for wrong, message in (
        ({"seconds": -1.0}, "checkpoint_seconds must be at least zero"),
        ({"seconds": "soon"}, "checkpoint_seconds must be a finite number"),
        ({"iterations": 0}, "checkpoint_iterations must be positive"),
    ):
        with pytest.raises(pc.ProblemError, match=message):
            pc.Checkpoint("run", **wrong)
    with pytest.raises(pc.ResultFileError, match="a path is text"):
        pc.Checkpoint(5)
    assert as_checkpoint("run", seconds=0).seconds == 0 and as_checkpoint("run", seconds=None) == pc.Checkpoint("run")


# -- what methods need -----------------------------------------------------------------------------------------------


class Curved(MatrixMap):
    affine = twice = False


def test_methods_say_what_they_need_before_any_work():
    objective, map, _ = random_problem(np.random.default_rng(3), 0.1, functionals=0)
    curved = Curved(map.matrix, map.offset, map.control, map.observation.factors[0])
    with pytest.raises(pc.ProblemError, match="SemismoothNewton needs a map with second derivatives: use PrimalDual"):
        run(objective, curved, pc.SemismoothNewton())
    chosen, note = choose("auto", objective, curved)
    assert chosen == pc.PrimalDual() and note == "auto: the map is nonlinear and has no second derivatives"
    assert run(objective, curved, chosen, iterations=5).certificate.bound is None
    optimum = run(objective, map, pc.SemismoothNewton(), 1e-10).control.array
    objective.state.quadratic = False  # as F with another second derivative
    assert isinstance(pc.SemismoothNewton().algorithm_for(objective, map), NormalMapNewton)
    again = run(objective, map, pc.SemismoothNewton(), 1e-10).control.array
    assert map.control.norm(again - optimum) <= 1e-8 * map.control.norm(optimum)
    objective.state.smooth = False
    counts = map.solves.total, curved.solves.total
    for method in (pc.FISTA(), pc.ProximalGradient(), pc.ADMM(), pc.SemismoothNewton()):
        with pytest.raises(pc.ProblemError, match="needs a cost of the state with a derivative: use PrimalDual"):
            run(objective, map, method)
    assert counts == (map.solves.total, curved.solves.total)


def test_a_run_is_given_the_time_that_its_method_needs():
    schedule = Schedule()
    for iteration in range(130):
        schedule.certificate_due(iteration, 1.0, 1e-6)
        if iteration < 20:
            schedule.certified(iteration, 1.0)
    assert schedule.stalled(0) and schedule.stalled(99) and not schedule.stalled(200)
    x = balanced_step(1.0, 1e-5)
    map = MatrixMap(np.eye(2), np.zeros(2), Space(np.ones(2)), Space(np.ones(2)))
    free = np.full(2, np.inf)
    cost = ControlCost(map.control, 1e-5, np.zeros(2), 0.0, -free, free)
    objective = Objective(StateCost([Quadratic(map.observation.factors[0], np.ones(2))]), cost)
    for method, rate in ((pc.PrimalDual(norm=1.0), x), (pc.FISTA(norm=1.0), np.sqrt(1e-5))):
        state = method.algorithm_for(objective, map).begin(objective, map, Start(np.zeros(2), cold=True))
        assert state.patience == 10 + np.ceil(2 / rate)


def test_a_run_is_not_stalled_while_its_objective_falls():
    schedule, end = Schedule(), None
    for iteration in range(1000):
        schedule.evaluated(iteration, 1.0 + max(0.0, 1.0 - iteration / 400))
        schedule.certificate_due(iteration, 1.0, 1e-6)
        if iteration % 20 == 0:
            schedule.certified(iteration, 1.0)
        if schedule.stalled(0):
            end = end or iteration
    assert end == 400 + 400 // 3 + 1  # which is a quarter of the iterations so far


@pytest.mark.parametrize("method", ["fista", "primal-dual"])
def test_slow_runs_go_on(method):
    """Estimates and bounds that gain nothing for hundreds of iterations, on the way to an optimum."""
    target = pc.Tracking(lambda x: np.sin(2 * np.pi * x[0]) * np.exp(x[1]) + (x[0] > 0.6) * x[1])
    flux = pc.ControlProblem(
        pc.Elliptic(reaction=1.0), pc.Boundary("boundary"), target, [pc.Tikhonov(1e-5), pc.L1(3e-3), pc.Box(-20, 20)],
        {"boundary": pc.Neumann()},
    )  # fmt: skip
    reached = replace(bang_bang(), terms=[pc.Box(-0.5, 0.5)], tracking=reference.box(1e-8).problem.tracking,
                      equation=reference.box(1e-8).problem.equation)  # fmt: skip
    for problem, n in ((flux, 32), (reached, 16)):
        result = pc.minimise(problem, pc.discretise(problem, pc.unit_square(n)), method, max_iterations=500)
        values = result.history["objective"]
        assert result.status is pc.Status.ITERATIONS and values[-1] < 0.999 * values[150]


def test_nonlinear_runs_end_at_their_rounding():
    """Without repairs of what is only rounding, each of which costs a norm."""
    problem = cubic(1, 1e-2)
    map = pc.discretise(problem, pc.unit_square(6))
    result = pc.minimise(problem, map, pc.PrimalDual(), tol=1e-30)
    assert result.status is pc.Status.ROUNDING and result.certificate.relative < 1e-13
    assert len(result.history) <= 300 and result.solves["total"] <= 4 * len(result.history)
