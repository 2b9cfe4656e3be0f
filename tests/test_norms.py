"""Norms and ends of spectra, from above or below as they claim, against dense eigenvalues."""

from itertools import islice

import numpy as np
import pytest
from cases import AFFINE, Case, problem, rotation, wave

import pdecontrol as pc
from pdecontrol.curvature import smallest_curvature
from pdecontrol.fem.bounds import compared_norms
from pdecontrol.maps import map_norm
from pdecontrol.space import Space
from pdecontrol.spectrum import lanczos, largest_eigenvalue, smallest_eigenvalue, surely_below
from pdecontrol.terms import bind


def reaction(diffusion, n=12, **other):
    return Case(f"diffusion {diffusion}, reaction 1", problem(pc.Elliptic(diffusion, 1.0), **other), unit(n))


pytestmark = pytest.mark.filterwarnings("ignore::pdecontrol.AdvectionWarning")


def unit(n):
    return lambda: pc.unit_square(n).tag_part("corner", lambda x: x.max(axis=0) < 0.4)


SEVERAL = [
    pc.Tracking(wave, weight=0.1),
    pc.Tracking(1.0, on="corner", weight=5.0),
    pc.Tracking(2.0, points=[[0.3], [0.5]]),
]
HARD = [reaction(d, boundary={}) for d in (1e-3, 1e-5, 1e-7)] + [
    Case("reaction, zero on the boundary", problem(pc.Elliptic(1e-6, 1.0)), unit(12)),
    Case("reaction, P0", problem(pc.Elliptic(1e-5, 1.0), {}, control=pc.Distributed(element="P0")), unit(12)),
    Case("reaction in 3D", problem(pc.Elliptic(1e-5, 1.0), {}), lambda: pc.unit_cube(6)),
    Case("reaction, several observations", problem(pc.Elliptic(1e-5, 1.0), {}, tracking=SEVERAL), unit(12)),
    Case("advection 1e-2", problem(pc.Elliptic(1e-2, advection=(1.0, 0.5))), unit(12)),
    Case("advection 1e-4", problem(pc.Elliptic(1e-4, 1.0, advection=rotation)), unit(12)),
    Case("reaction of a patch alone", problem(pc.Elliptic(
        lambda x: np.where(x.max(axis=0) < 0.15, 1e-6, 1.0), lambda x: np.where(x.max(axis=0) < 0.15, 20.0, 0.0))),
        unit(16)),
]  # fmt: skip
TRACKED = [case for case in AFFINE if case.problem.tracking] + HARD


def largest(apply, space):
    """The largest eigenvalue of an operator that is self-adjoint on a space."""
    columns = np.stack([apply(e) for e in np.eye(space.size)], axis=1)
    gram = np.stack([space.dual(column) for column in columns.T], axis=1)
    mass = np.stack([space.dual(e) for e in np.eye(space.size)], axis=1)
    root = np.linalg.inv(np.linalg.cholesky(mass))
    return np.linalg.eigvalsh(root @ gram @ root.T)[-1]


@pytest.mark.parametrize("case", TRACKED, ids=repr)
def test_norms_are_from_above_and_within_two_per_cent(case):
    map = case.map
    free = bind(case.problem, map).state.free
    at = map.at(map.control.zeros())
    before = map.solves.total
    estimate = map_norm(map, at, free)
    assert map.solves.total - before <= (8 if case in AFFINE else 48)
    exact = np.sqrt(largest(lambda h: at.adjoint(free(at.tangent(h))), map.control))
    assert exact <= estimate <= 1.02 * exact


def test_all_kinds_of_norms_are_tested():
    assert len(TRACKED) == 56


def test_the_norm_of_diffusion_takes_six_solves():
    for n in (16, 32):
        map = pc.discretise(problem(), pc.unit_square(n))
        estimate = map_norm(map, map.at(map.control.zeros()), lambda w: w)
        assert map.solves.total == 6
        assert 1.0 <= estimate * 2 * np.pi**2 / (1 - 0.7 / n**2) <= 1.02


@pytest.mark.parametrize("case", [AFFINE[4], AFFINE[24], HARD[1], HARD[2], HARD[6]], ids=repr)
def test_constants_of_iterative_certificates_are_from_above(case):
    """||O A^-1/2|| and ||M_u^-1 C' A^-1/2||, which turn errors in the energy norm into those of state and gradient."""
    pytest.importorskip("pyamg", reason="needs pyamg")
    iterative, direct = case.fresh_map("amg"), case.map
    system, inverse = direct.system, direct.factors
    lifting, observation, coupling = system.lifting, system.observation, system.equation.coupling
    solve = lambda f: lifting.extend(inverse.solve(lifting.restrict(f)).x)  # noqa: E731
    observed = largest(lambda w: observation.apply(solve(observation.transposed(w))), direct.observation)
    controlled = largest(lambda h: coupling.transposed(solve(coupling.apply(h))), direct.control)
    constants = iterative.constants
    for constant, exact in zip((constants.observation, constants.gradient), (observed, controlled), strict=True):
        assert np.sqrt(exact) <= constant <= 1.31 * np.sqrt(exact)
    assert iterative.norm_bound == constants.observation * constants.gradient


@pytest.mark.parametrize("case", [*AFFINE[4:8], AFFINE[24], *HARD[1:3], *HARD[6:9]], ids=repr)
def test_constants_of_factors_are_from_above(case):
    """||O A^-1 D^1/2|| and ||M_u^-1 C' A^-T D^1/2||, and what they say of ||S|| and of the condition number."""
    map = case.map
    system, factors = map.system, map.factors
    lifting, observation, coupling = system.lifting, system.observation, system.equation.coupling

    def between(functional, solver):
        x = solver.transposed.solve(lifting.restrict(functional)).x
        return lifting.extend(solver.solve(factors.diagonal * x).x)

    observed = largest(lambda w: observation.apply(between(observation.transposed(w), factors)), map.observation)
    controlled = largest(lambda h: coupling.transposed(between(coupling.apply(h), factors.transposed)), map.control)
    constants = map.constants
    for constant, exact in zip((constants.observation, constants.gradient), (observed, controlled), strict=True):
        assert np.sqrt(exact) <= constant <= 1.31 * np.sqrt(exact)
    root = np.sqrt(factors.diagonal)
    inverse = np.linalg.norm(root[:, None] * np.linalg.inv(system.matrix.toarray()) * root, 2)
    assert 0.2 * inverse <= constants.condition <= 2 * inverse
    at = map.at(map.control.zeros())
    assert map.norm_bound**2 >= largest(lambda h: at.adjoint(at.tangent(h)), map.control)


@pytest.mark.parametrize("solver", ["direct", "amg"])
@pytest.mark.parametrize("mesh", [pc.unit_interval(40), pc.unit_square(12), pc.unit_cube(5)], ids=["1D", "2D", "3D"])
def test_norms_of_diffusion_are_bounded_by_a_single_solve(mesh, solver):
    """A^-1 >= 0 there: A^-1 d says all, and no Lanczos step is made."""
    pytest.importorskip("pyamg", reason="needs pyamg")
    map = pc.discretise(problem(), mesh, pc.Embedded(linear_solver=solver))
    inverse, root = np.linalg.inv(map.system.matrix.toarray()), np.sqrt(map.factors.diagonal)
    lifting, observation, coupling = map.system.lifting, map.system.observation, map.system.equation.coupling
    half = inverse * root if solver == "direct" else np.linalg.cholesky(inverse)
    observed = np.stack([observation.apply(lifting.extend(column)) for column in half.T])
    controlled = np.stack([coupling.transposed(lifting.extend(column)) for column in half.T])
    exact = [
        np.sqrt(np.linalg.eigvalsh(rows @ np.stack([space.dual(row) for row in rows]).T)[-1])
        for rows, space in ((observed, map.observation), (controlled, map.control))
    ]
    constants = map.constants
    assert map.solves.tangent <= 2 and map.solves.refinements <= 2
    for constant, norm in zip((constants.observation, constants.gradient), exact, strict=True):
        assert norm <= constant <= 1.75 * norm
    assert map.factors.growth >= np.linalg.norm(root[:, None] * inverse * root, 2)


def test_what_has_no_bound_by_a_single_solve():
    """Positive entries off the diagonal, and diffusions that differ so much that the bound would be bad."""
    plain = pc.discretise(problem(), pc.unit_square(8)).factors
    reacting = pc.discretise(problem(pc.Elliptic(reaction=100.0)), pc.unit_square(8)).factors
    assert plain.growth < np.inf == reacting.growth
    stiff = pc.discretise(problem(pc.Elliptic(lambda x: np.where(x[0] < 0.5, 1e6, 1.0))), pc.unit_square(8))
    assert stiff.factors.growth < np.inf
    assert compared_norms(stiff.system, stiff.factors, stiff.factors.growth) is None
    assert stiff.constants.observation < np.inf and stiff.solves.refinements > 6


def test_norms_of_unsymmetric_equations_that_are_solved_iteratively():
    """Lanczos steps on A^-1 say nothing where A is not symmetric; on A^-1 D A^-T they do."""
    pytest.importorskip("dolfinx", reason="unsymmetric equations are solved iteratively by PETSc alone")
    options = {"state_ksp_type": "gmres", "state_pc_type": "ilu"}
    for speed in (1.0, 20.0, 200.0):
        stated = problem(pc.Elliptic(0.01, advection=(speed, 0.0)))
        map = pc.discretise(stated, pc.unit_square(8), pc.Parallel(options=options))
        direct = pc.discretise(stated, pc.unit_square(8))
        at = direct.at(direct.control.zeros())
        exact = np.sqrt(largest(lambda h, at=at: at.adjoint(at.tangent(h)), direct.control))
        assert not map.factored
        assert exact <= map.norm_bound <= 1.3 * direct.norm_bound or (
            map.norm_bound == 0.0 and speed > 1.0
        )  # too fast for the solver


@pytest.mark.parametrize("method", [pc.PrimalDual(), pc.FISTA(), pc.ProximalGradient(), pc.ADMM()], ids=repr)
@pytest.mark.parametrize("diffusion", [1e-5, 1e-6, 1e-7])
def test_first_order_methods_certify_where_reaction_dominates(method, diffusion):
    result = pc.solve(problem(pc.Elliptic(diffusion, 1.0), {}, alpha=1e-2), pc.unit_square(64), method=method)
    assert result.success and len(result.history) <= 100


def test_lanczos_finds_both_ends():
    generator = np.random.default_rng(12)
    values = np.linspace(-1.0, 2.0, 30) ** 3
    basis, _ = np.linalg.qr(generator.normal(size=(30, 30)))
    matrix, space = basis @ np.diag(values) @ basis.T, Space(np.ones(30))
    for ritz, residuals in lanczos(lambda x: matrix @ x, generator.normal(size=30), space):
        assert all(np.abs(values - a).min() <= b + 1e-12 for a, b in zip(ritz, residuals, strict=True))
    assert np.allclose(ritz, values, atol=1e-8)  # when the space is exhausted
    assert 0.98 * 8.0 <= largest_eigenvalue(lambda x: matrix @ x, space) <= 8.0 + 1e-12
    assert -1.0 - 0.01 <= smallest_eigenvalue(lambda x: matrix @ x, space, 30, 0.01) <= -1.0


def test_a_ritz_value_that_has_not_settled_is_not_taken():
    """A start that is nearly an eigenvector of a smaller eigenvalue has a small residual at once."""
    space = Space(np.full(200, 1 / 200))
    start = np.ones(200)
    start[0] = 0.02 * np.sqrt(200)
    diagonal = np.ones(200)
    diagonal[0] = 2.0
    steps = [
        residuals[-1] / values[-1] for values, residuals in islice(lanczos(lambda x: diagonal * x, start, space), 1)
    ]
    assert steps[0] < 0.03
    assert largest_eigenvalue(lambda x: diagonal * x, space) == pytest.approx(2.0, rel=0.01)


def random_point(generator, mesh):
    """A semilinear problem and a control with its linearisation and adjoint."""
    weight, level, alpha = generator.uniform(1, 60), generator.uniform(-3, 3), 10.0 ** generator.uniform(-5, -2)
    term = pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2, weight)
    posed = problem(pc.Elliptic(0.3, semilinear=term), tracking=pc.Tracking(level), alpha=alpha)
    map = pc.discretise(posed, mesh)
    objective = bind(posed, map)
    at = map.at(generator.normal(size=map.control.size) * generator.uniform(0, 40))
    return objective, map, at, at.solve_adjoint(objective.state.gradient(at.value))


def test_no_eigenvector_is_overlooked():
    """A negative eigenvalue of a single entry, among others that all starts hold: a bound, or none, at every place."""
    space, found = Space(np.full(400, 1 / 400)), 0
    for place in range(0, 400, 11):
        diagonal = np.linspace(0.0, 0.5, 400)
        diagonal[place] = -0.4
        value = surely_below(lambda x, d=diagonal: d * x, space, 40, 0.1, -0.9)
        assert value <= -0.4
        found += value > -0.6
    assert found > 20
    assert surely_below(lambda x: -x, space, 40, 0.1, -0.9) == -np.inf


@pytest.mark.parametrize(("place", "width", "deep"), [(0.637, 0.01, 2.0), (0.61, 0.0073, 3.6), (0.4, 0.0102, 2.8)])
def test_what_is_confined_to_a_few_nodes_is_seen(place, width, deep):
    """A misfit of the other sign in a gap of two cells makes one eigenvalue negative, far from what a start shows."""
    cubic = pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2)
    target = pc.Tracking(lambda x: np.where(np.abs(x[0] - place) < width, -deep, 1.0))
    posed = pc.ControlProblem(
        pc.Elliptic(1e-5, 1.0, semilinear=cubic), pc.Distributed(), target, [pc.Tikhonov(1.0, reference=1.5)]
    )
    map = pc.discretise(posed, pc.unit_interval(200))
    objective, at = bind(posed, map), map.at(pc.minimise(posed, map, tol=1e-3).control.array)
    w = objective.state.gradient(at.value)
    adjoint = at.solve_adjoint(w)
    hessian = np.stack([at.second(e, w, adjoint, objective.state.second(at.value)) for e in np.eye(map.control.size)])
    root = np.sqrt(map.control.mass)
    scaled = hessian / root[:, None] * root
    exact = np.linalg.eigvalsh((scaled + scaled.T) / 2)[0]
    value = smallest_curvature(objective, map, at, adjoint, lambda h: h)
    assert exact < -0.005 and -0.71 <= value <= min(exact, 0.0)


def test_curvature_is_from_below_on_random_problems():
    """Never above the smallest eigenvalue of the Hessian, and seldom more than 0.7 alpha below it."""
    generator = np.random.default_rng(40)
    mesh, negative = pc.unit_square(5), 0
    for _ in range(40):
        objective, map, at, adjoint = random_point(generator, mesh)
        w = objective.state.gradient(at.value)
        opposite = lambda h, at=at, adjoint=adjoint, w=w: -at.second(h, w, adjoint, lambda v: v)  # noqa: E731
        exact = -largest(opposite, map.control)
        value = smallest_curvature(objective, map, at, adjoint, lambda h: h)
        alpha = objective.control.alpha
        assert min(exact, 0.0) - 0.71 * alpha <= value <= min(exact, 0.0)
        negative += exact < -0.1 * alpha
    assert negative >= 10
