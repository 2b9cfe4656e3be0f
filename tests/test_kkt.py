"""Newton systems by collective multigrid, against factors of the same systems and products with the map itself."""

import numpy as np
import pytest
import scipy.sparse as sp
from cases import AFFINE
from scipy.sparse.linalg import splu

import pdecontrol as pc
from pdecontrol.fem.collective import Collective
from pdecontrol.fem.linear_functions import linear_functions
from pdecontrol.fem.skfem import SkfemEngine
from pdecontrol.linear import kkt
from pdecontrol.linear.sqmr import sqmr
from pdecontrol.maps import map_norm
from pdecontrol.parallel import ALONE
from pdecontrol.terms import bind

pytest.importorskip("pyamg", reason="needs pyamg")

# Few numbers, as observations or as controls, are no matter of multigrid.
FEW = ("tracking at points", "a linear functional alone")
TRIED = [case for case in AFFINE if case.name not in FEW and not isinstance(case.problem.control, pc.Actuators)]


@pytest.fixture
def at_once(monkeypatch):
    """Newton systems are never left to conjugate gradients."""
    monkeypatch.setattr(Collective, "affordable", lambda *_: 0)


def newton(map, problem, chi, alpha, seed=1, max_cg=500, forcing=1e-9):
    """A random right-hand side of a Newton system, its solution, and what it took."""
    objective = bind(problem, map)
    second = objective.state.second(map.observation.zeros())
    at = map.at(map.control.zeros(), accuracy=1e-3)
    r = second(np.random.default_rng(seed).standard_normal(map.observation.size))
    norm, before = map_norm(map, at, objective.state.free), map.solves.snapshot()
    d, adjoint = map.newton_system(at, r, lambda h: chi * h / alpha, second, forcing, max_cg, norm)
    return r, d, adjoint, map.solves.since(before), second, norm


@pytest.mark.parametrize("case", TRIED, ids=str)
def test_solutions_are_those_of_the_system(case, at_once):
    """With L and its adjoint, column by column, from solves."""
    map, alpha = case.fresh_map(), 1e-5
    chi = (np.random.default_rng(0).random(map.control.size) < 0.6) * 1.0
    r, d, adjoint, solves, second, norm = newton(map, case.problem, chi, alpha)
    at = map.at(map.control.zeros())
    forward = np.stack([second(at.tangent(e)) for e in np.eye(map.control.size)], axis=1)
    backward = np.stack([at.adjoint(e) for e in np.eye(map.observation.size)], axis=1)
    exact = np.linalg.solve(np.eye(r.size) + forward @ (chi[:, None] / alpha * backward), r)
    assert solves["systems"] == chi.any() and solves["total"] == (0 if chi.any() else 2)
    assert map.observation.norm(d - exact) <= (1e-5 + 1e-15 * norm**2 / alpha) * map.observation.norm(exact)
    assert map.control.norm(adjoint.gradient - backward @ d) <= 1e-5 * map.control.norm(backward @ d)


def box(mesh, alpha, degree=1, **options):
    problem = pc.reference.box(alpha, mesh.dim).problem
    return problem, pc.discretise(problem, mesh, pc.Embedded(degree, **options))


def inactive(map):
    return 1.0 * (np.abs(np.sin(2 * np.pi * map.control.nodes).prod(axis=0)) < 0.5)


def oracle(map, chi, alpha, r):
    """eta by factors of the whole system."""
    system = map.system
    A, M = system.matrix, system.lifting.block(map.solution.mass)
    C = system.engine.control(pc.Distributed())[1][system.lifting.free]
    W = C @ sp.diags(chi / (alpha * map.control.mass)) @ C.T
    f = system.lifting.restrict(system.observation.transposed(r))
    return splu(sp.bmat([[-M, A.T], [A, W]], format="csc")).solve(np.append(f, 0.0 * f))[: f.size]


CYCLES = {  # at 1e-2, 1e-4, .., 1e-10
    "2D": (lambda: pc.unit_square(64), 1, (4, 6, 10, 20, 38)),
    "3D": (lambda: pc.unit_cube(16), 1, (3, 6, 8, 16, 19)),
    "2D, P2": (lambda: pc.unit_square(32), 2, (3, 6, 9, 20, 41)),
}


@pytest.mark.parametrize("name", CYCLES)
def test_cycles_are_few_for_every_weight(name, at_once):
    make, degree, expected = CYCLES[name]
    mesh = make()
    for alpha, count in zip((1e-2, 1e-4, 1e-6, 1e-8, 1e-10), expected, strict=True):
        problem, map = box(mesh, alpha, degree)
        r, d, _, solves, *_ = newton(map, problem, inactive(map), alpha, forcing=0.1)
        exact = r + map.system.lifting.extend(oracle(map, inactive(map), alpha, r))
        assert solves["systems"] == 1 and 0.7 * count <= solves["cycles"] <= 1.4 * count, (alpha, solves["cycles"])
        assert map.observation.norm(d - exact) <= 1e-2 * map.observation.norm(exact)


def test_a_uniform_damping_would_not_do_in_3D(at_once):
    """Coarse levels couple more nodes than the finest, whose damping is too little for them."""
    problem, map = box(pc.unit_cube(32), 1e-6, linear_solver="amg")
    one = collective(map, problem)._kkt
    for Q, radii in zip(one._Q[:-1], one.radii, strict=False):
        exact = sp.linalg.eigs(sp.diags(1 / Q.diagonal()) @ Q, 1, tol=1e-2)[0][0].real
        assert 0.99 * exact <= radii[1] <= 1.1 * exact
    few = newton(map, problem, inactive(map), 1e-6)[3]["cycles"]
    one.radii = [[kkt.DAMPING / 0.65] * 3] * len(one.radii)
    assert newton(map, problem, inactive(map), 1e-6)[3]["cycles"] > 1.5 * few


@pytest.mark.parametrize("case", [case for case in AFFINE if case.degree == 2], ids=str)
def test_linear_functions_are_among_states_of_degree_2(case):
    """A linear function with its values at free vertices: only where others are next to fixed ones is it another."""
    system = case.map.system
    lifting, nodes, dim = system.lifting, system.engine.nodes, case.mesh.dim
    P = linear_functions(system.engine, lifting.numbers, lifting.free.size).on_owners(ALONE)
    vertex = np.isin(lifting.free, system.engine.elements.dofs[: dim + 1])
    u = np.arange(1.0, dim + 1) @ nodes[:, lifting.free] + 5.0
    whole = P @ np.ones(P.shape[1]) > 1 - 1e-12
    assert P.shape[1] == vertex.sum() and whole[vertex].all() and whole.mean() > 0.3
    assert (P @ u[vertex])[whole] == pytest.approx(u[whole], rel=1e-12)


def collective(map, problem):
    """What solves its Newton systems."""
    second = bind(problem, map).state.second(map.observation.zeros())
    return map._collective(second)


def test_the_cycle_is_symmetric():
    problem, map = box(pc.unit_square(32), 1e-6)
    kkt_of = collective(map, problem)._kkt
    W = kkt_of._hierarchy.project(kkt_of._hierarchy.gram(kkt_of._C, inactive(map) / map.control.mass))
    cycle = kkt.Cycle(kkt_of._hierarchy, kkt_of._A, kkt_of._Q, W, 1e-3, True, kkt_of.radii)
    v, w = np.random.default_rng(2).standard_normal((2, 2 * map.system.lifting.free.size))
    for operator in (cycle, cycle.product):
        assert v @ operator(w) == pytest.approx(w @ operator(v), rel=1e-10)
    assert np.linalg.norm(v - cycle(cycle.product(v))) < 0.9 * np.linalg.norm(v)


def test_advection_takes_the_transpose(at_once):
    problem = pc.ControlProblem(
        equation=pc.Elliptic(advection=(3.0, -2.0), reaction=1.0), boundary={"left": pc.Dirichlet()},
        control=pc.Boundary("right", element="P0"), tracking=pc.Tracking(1.0), terms=[pc.Tikhonov(1e-6)],
    )  # fmt: skip
    map = pc.discretise(problem, pc.unit_square(40))
    r, d, _, solves, second, _ = newton(map, problem, np.ones(map.control.size), 1e-6)
    at = map.at(map.control.zeros())
    left = r - d - second(at.tangent(at.adjoint(d) / 1e-6))
    assert map.observation.norm(left) <= 1e-2 * map.observation.norm(r) and solves["cycles"] < 25


def test_runs_are_reproducible(at_once):
    state, found = np.random.get_state()[1].copy(), []  # noqa: NPY002
    for _ in range(2):
        problem, map = box(pc.unit_cube(10), 1e-6, linear_solver="amg")
        found.append(newton(map, problem, inactive(map), 1e-6))
    assert np.array_equal(found[0][1], found[1][1]) and found[0][3]["cycles"] == found[1][3]["cycles"]
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_conjugate_gradients_where_they_are_less_work():
    """With factors: at large weights to the end, at small ones half as long as a system takes, or not at all."""
    problem, map = box(pc.unit_square(40), 1e-2)
    solves = newton(map, problem, inactive(map), 1e-2)[3]
    assert solves["systems"] == 0 and solves["total"] < 30
    spent = [newton(map, problem, inactive(map), 1e-9, max_cg=most)[3] for most in (500, 0)]
    assert [solves["systems"] for solves in spent] == [1, 1] and spent[0]["total"] > spent[1]["total"] + 20
    assert newton(map, problem, inactive(map), 1e-2)[3]["systems"] == 0


def test_iterative_solvers_never_take_them():
    problem, map = box(pc.unit_square(24), 1e-2, linear_solver="amg")
    assert newton(map, problem, inactive(map), 1e-2)[3]["systems"] == 1


@pytest.mark.parametrize("largest", [0, 10_000], ids=["conjugate gradients", "factors"])
def test_what_takes_over_where_cycles_do_not_converge(largest, at_once, monkeypatch):
    monkeypatch.setattr(kkt, "FACTORABLE", largest)
    monkeypatch.setattr(kkt, "SHORT", 2)
    monkeypatch.setattr(kkt, "LONG", 3)
    problem, map = box(pc.unit_square(24), 1e-6)
    r, d, _, solves, second, _ = newton(map, problem, inactive(map), 1e-6)
    at = map.at(map.control.zeros())
    left = r - d - second(at.tangent(inactive(map) * at.adjoint(d) / 1e-6))
    assert map.observation.norm(left) <= 1e-5 * map.observation.norm(r)
    again = newton(map, problem, inactive(map), 1e-6)[3]
    assert (solves["systems"], again["systems"]) == (1, 1 if largest else 0)
    assert again["cycles"] <= 2 and (solves["total"] == 0 if largest else solves["total"] > 10)


def test_conjugate_gradients_are_left_where_there_is_no_system():
    """Nothing is inactive, after systems that were solved at once: max_cg = 0."""
    problem, map = box(pc.unit_square(8), 1e-4)
    second = bind(problem, map).state.second(map.observation.zeros())
    r = np.random.default_rng(0).standard_normal(map.observation.size)
    d, adjoint = map.newton_system(map.at(map.control.zeros()), r, lambda h: 0 * h, second, 1e-9, 0, 0.05)
    assert np.allclose(d, r) and np.allclose(adjoint.gradient, map.at(map.control.zeros()).adjoint(r))


@pytest.mark.parametrize("seed", range(5))
def test_sqmr_is_gmres_where_it_does_not_break_down(seed):
    generator = np.random.default_rng(seed)
    Q = np.linalg.qr(generator.standard_normal((60, 60)))[0]
    values = generator.uniform(1, 10, 60) * generator.choice([-1, 1], 60)
    A, b = (Q * values) @ Q.T, generator.standard_normal(60)
    M = sp.diags(1 / generator.uniform(1, 3, 60)).toarray()
    result = sqmr(A, b, M, tolerance=1e-10)
    assert result.converged and np.linalg.norm(b - A @ result.x) <= 1e-10 * np.linalg.norm(b)
    assert result.history[-1] == pytest.approx(result.residual, rel=1e-3)
    assert result.products.preconditioner <= 120
    assert sqmr(A, b, M, start=result.x, tolerance=1e-9).products.steps == 0


def test_sqmr_ends_where_it_must():
    singular = np.diag([1.0, -1.0])
    assert sqmr(singular, np.ones(2)).outcome.name == "BREAKDOWN"  # q' A q = 0 at once
    assert sqmr(np.diag(np.arange(1.0, 21.0)), np.ones(20), max_products=6).outcome.name == "LIMIT"
    assert sqmr(np.eye(3), np.zeros(3)).converged


def test_few_inactive_controls_take_as_many_steps_of_conjugate_gradients():
    """L D L* has their rank: no system is solved at once, however small the weight."""
    map = pc.discretise(pc.reference.stadler(1e-8).problem, pc.unit_square(24))
    weights, r = map.control.zeros(), np.random.default_rng(5).normal(size=map.observation.size)
    weights[map.system.lifting.free[[40, 100, 333]]] = 1e8
    d, change = map.newton_system(map.at(map.control.zeros()), r, lambda h: weights * h, lambda h: h, 1e-8, 0, 0.05)
    assert map.solves.systems == 0 and map.solves.total <= 2 * (3 + 2)
    at = map.at(map.control.zeros())
    left = d + at.tangent(weights * at.solve_adjoint(d).gradient) - at.tangent(map.control.zeros()) - r
    assert map.observation.norm(left) <= 1e-7 * map.observation.norm(r)
    assert np.allclose(change.gradient, at.solve_adjoint(d).gradient, rtol=1e-6, atol=1e-12)


def test_steps_of_conjugate_gradients_that_do_not_suffice_are_no_solution():
    """They are tried first, and then the system is solved at once."""
    problem, map = box(pc.unit_square(16), 1e-11)
    r, d, _, solves, second, _ = newton(map, problem, inactive(map), 1e-11)
    at = map.at(map.control.zeros())
    left = r - d - second(at.tangent(inactive(map) * at.adjoint(d) / 1e-11))
    assert solves["systems"] == 1 and map.observation.norm(left) <= 1e-3 * map.observation.norm(r)


def test_without_multigrid_there_are_conjugate_gradients(at_once, monkeypatch):
    monkeypatch.setattr(SkfemEngine, "multigrid", False)
    problem, map = box(pc.unit_square(16), 1e-4)
    solves = newton(map, problem, inactive(map), 1e-4)[3]
    assert solves["systems"] == 0 and solves["total"] > 10
