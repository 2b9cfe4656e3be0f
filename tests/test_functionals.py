"""Costs of the state that are not half a square, and maps with an image of the control beside the state."""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp
from matrix_map import MatrixMap, random_problem

import pdecontrol as pc
from pdecontrol.certificate import certify_projection
from pdecontrol.maps import map_norm
from pdecontrol.solvers import loop
from pdecontrol.solvers.certifier import Certifier
from pdecontrol.solvers.given_control import certify_any
from pdecontrol.solvers.method import Start
from pdecontrol.space import Space
from pdecontrol.stacked import Stacked
from pdecontrol.terms import ControlCost, Functional, LinearFunctional, Objective, Quadratic, StateCost, bind
from pdecontrol.verify import adjoint_error, hessian_rates


@dataclass(frozen=True, eq=False)
class Huber(Functional):
    """F(y) = int h(y - target), h(t) = t^2/(2 delta) for |t| <= delta, |t| - delta/2 beyond; diagonal mass."""

    space: Space
    target: np.ndarray
    modulus: float  # delta

    def value(self, y):
        t, delta = np.abs(y - self.target), self.modulus
        return self.space.integral(np.where(t <= delta, t**2 / (2 * delta), t - delta / 2))

    def gradient(self, y):
        return np.clip((y - self.target) / self.modulus, -1.0, 1.0)

    def second(self, y, h):
        return (np.abs(y - self.target) <= self.modulus) * h / self.modulus

    def residual(self, y, p):
        t, g = y - self.target, self.gradient(y)  # F(y) + F*(p) - <y, p>, p being in the unit ball
        return self.space.integral(self.modulus / 2 * (p - g) ** 2 + (g - p) * (t - self.modulus * g))

    def rounding(self, y, p):
        return 4e-16 * self.space.norm(np.abs(y) + np.abs(self.target) + self.modulus * np.abs(p))

    def prox_conjugate(self, v, s):
        return np.clip((v - s * self.target) / (1.0 + s * self.modulus), -1.0, 1.0)

    def nearest(self, p):
        return np.clip(p, -1.0, 1.0)

    def fingerprint(self):
        return f"huber{self.modulus}" + self.space.digest(self.target)


def functionals(generator):
    space = Space(generator.uniform(0.5, 2.0, 5))
    target = generator.normal(size=5)
    return [
        Quadratic(space, target),
        Huber(space, target, 0.3),
        Huber(space, target, 2.0),
        LinearFunctional(Space(np.ones(2))),
    ]


@pytest.mark.parametrize("number", range(4))
def test_the_laws_of_functionals(number):
    """Fenchel-Young residual, its zero at the gradient, Moreau's identity, Lipschitz constant, derivative."""
    generator = np.random.default_rng(3)
    f = functionals(generator)[number]
    for _ in range(50):
        y, z, v = generator.normal(size=(3, f.space.size)) * 2
        p, q = f.gradient(y), f.gradient(z)
        assert f.residual(y, p) == pytest.approx(0.0, abs=1e-12) and f.residual(y, q) >= 0
        # F*(q) = <z, q> - F(z), so that the residual is the Bregman distance
        bregman = f.value(y) - f.value(z) - f.space.inner(q, y - z)
        assert f.residual(y, q) == pytest.approx(bregman, rel=1e-10, abs=1e-12)
        w = y + 2 * generator.normal(size=f.space.size)
        assert f.space.inner(q - f.gradient(w), w - y) <= f.slack / 4 * f.residual(y, q) + 1e-12
        if f.modulus < np.inf:
            assert f.modulus * f.space.inner(q - p, q - p) <= f.space.inner(q - p, z - y) * (1 + 1e-12)
        for s in (0.2, 5.0):
            prox = f.prox_conjugate(v, s)
            assert np.allclose(f.gradient((v - prox) / s), prox, atol=1e-12)
        assert np.allclose(f.gradient(y + 1e-7 * z) - f.gradient(y - 1e-7 * z), 2e-7 * f.second(y, z), atol=1e-12)


def problem_with(functional, generator, alpha):
    """A random problem with another F on the observation."""
    objective, map, _ = random_problem(generator, alpha, functionals=0, observations=1)
    cost = StateCost([functional(map.observation.factors[0])])
    return Objective(cost, objective.control), map


def minimiser(objective, map, steps=6000):
    """u* by accelerated proximal gradients, written down once more."""
    space, c, state = map.control, objective.control, objective.state
    size = np.linalg.norm(map.matrix, 2) ** 2 * map.observation.factors[0].mass.max() / space.mass.min() / state.modulus
    u = v = np.clip(space.zeros(), c.lower, c.upper)
    root = np.sqrt(c.alpha / (size + c.alpha))
    for _ in range(steps):
        before = u
        q = space.riesz(map.matrix.T @ map.observation.dual(state.gradient(map.matrix @ v + map.offset)))
        u = c.prox(v - q / size, 1 / size)
        v = u + (1 - root) / (1 + root) * (u - before)
    assert space.norm(u - before) <= 1e-12 * (1 + space.norm(u))
    return u


@pytest.mark.parametrize("delta", [0.1, 1.0])
def test_the_general_certificate_is_never_violated_nor_far(delta):
    """||z - u*|| <= (residual/alpha)^1/2, which F's own Lipschitz constant makes small near the optimum."""
    generator, ratios, alpha = np.random.default_rng(41), [], 0.1
    while len(ratios) < 30:
        objective, map = problem_with(lambda s: Huber(s, generator.normal(size=s.size), delta), generator, alpha)
        if not map.observation.factors[0].diagonal:
            continue
        u = minimiser(objective, map)
        for noise in (1.0, 1e-3, 1e-8):
            p = objective.state.nearest(objective.state.gradient(map.matrix @ u + map.offset)
                                        + noise * generator.normal(size=map.observation.size))  # fmt: skip
            certified = certify_projection(objective, map, p)
            error = map.control.norm(certified.control - u)
            assert error <= certified.certificate.bound + 1e-12
            ratios.append(certified.certificate.bound / error if error > 1e-10 else np.nan)
            judged = u + noise * generator.normal(size=u.size)
            assert map.control.norm(judged - u) <= certify_any(objective, map, judged).bound + 1e-12
    assert 1 <= np.nanmin(ratios) < 3


def test_a_certificate_that_takes_the_squares_bound_for_another_functional_is_wrong():
    """The planted error: d^2/4 with d^2 = 2 residual, as for half a square, is violated by an almost linear F."""
    map = MatrixMap(np.eye(1), np.zeros(1), Space(np.ones(1)), Space(np.ones(1)))
    cost = ControlCost(map.control, 1.0, 0.0, 0.0, -np.inf, np.inf)
    f = Huber(map.control, np.array([1.0]), 1e-3)
    p = np.array([-0.2])  # where u* = -p* is about 1
    z, u = 0.2, 1 / 1.001
    residual = f.residual(np.array([z]), p)
    sharp, general = np.sqrt(2 * residual) / 2, np.sqrt(residual)
    assert sharp < u - z <= general
    certified = certify_projection(Objective(StateCost([f]), cost), map, p)
    assert certified.control == pytest.approx(z) and certified.certificate.bound == pytest.approx(general, rel=1e-6)


def test_steps_take_the_modulus_of_the_dual():
    """With a Huber function, whose F* is delta-strongly convex, primal-dual steps contract as they should."""
    generator = np.random.default_rng(11)
    objective, map = problem_with(lambda s: Huber(s, generator.normal(size=s.size), 0.05), generator, 0.5)
    while not map.observation.factors[0].diagonal:
        objective, map = problem_with(lambda s: Huber(s, generator.normal(size=s.size), 0.05), generator, 0.5)
    norm = map_norm(map, map.at(map.control.zeros()), objective.state.free)
    from pdecontrol.solvers.steps import choose_steps

    r, s = choose_steps("balanced", objective, norm, map.solve(map.control.zeros()))
    assert 0.5 * r == pytest.approx(0.05 * s) and r * s * norm**2 <= (4 + 2 * 0.5 * r) / 3
    assert choose_steps("classical", objective, norm, map.observation.zeros())[0] * 0.5 > 0


def stacked(problem, mesh):
    map = pc.discretise(problem, mesh)
    n = map.control.size
    matrix = sp.random(7, n, density=0.3, random_state=np.random.default_rng(1), format="csr")
    return map, matrix, Stacked(map, matrix, Space(np.linspace(0.5, 2.0, 7)))


CUBIC = pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2)


@pytest.mark.parametrize("semilinear", [None, CUBIC], ids=["linear", "cubic"])
def test_stacked_maps(semilinear):
    """Value, law, gradient and Hessian of a map with K u beside S(u)."""
    equation = pc.Elliptic(reaction=1.0, semilinear=semilinear)
    problem = pc.ControlProblem(equation, pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)])
    map, matrix, both = stacked(problem, pc.unit_square(4))
    assert adjoint_error(both) < 1e-13
    generator = np.random.default_rng(5)
    u, h = 3.0 + generator.normal(size=(2, map.control.size))
    at = both.at(u)
    assert np.array_equal(at.value, np.concatenate([map.solve(u), matrix @ u]))
    outer = lambda w: w[::-1] * np.linspace(1.0, 2.0, w.size) * np.linspace(1.0, 2.0, w.size)[::-1]  # noqa: E731
    w = both.observation.zeros() + 1.0
    image = at.second(h, w, at.solve_adjoint(w), lambda k: k)
    step = 1e-5

    def gradient(v):
        there = both.at(v)
        return there.adjoint(w + there.value - at.value)

    difference = (gradient(u + step * h) - gradient(u - step * h)) / (2 * step)
    assert np.allclose(image, difference, rtol=1e-6, atol=1e-7 * np.abs(image).max())
    assert np.isfinite(at.second(h, w, at.solve_adjoint(w), outer)).all()
    assert both.solves.total == map.solves.total > 0
    if semilinear is None:
        assert at.error > 0 and at.solve_adjoint(w).error > 0
        assert both.at(u, accuracy=1e-3).error is None


def test_stacked_maps_are_told_apart():
    problem = pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)])
    map, matrix, both = stacked(problem, pc.unit_square(4))
    others = Stacked(map, 1.001 * matrix, both.image), Stacked(map, matrix, Space(np.ones(7)))
    assert len({both.fingerprint, *(other.fingerprint for other in others), map.fingerprint}) == 4


class Cubic(pc.SolutionMap):
    """S(u) = K u + (K u)^3/10, a map of one's own, with or without second derivatives."""

    affine, exact = False, True

    def __init__(self, n=40, twice=True):
        x = (np.arange(n) + 0.5) / n
        self.K = np.exp(-0.5 * ((x[:, None] - x) / 0.05) ** 2) / (n * 0.05 * np.sqrt(2 * np.pi))
        self.control = self.observation = pc.Space(np.full(n, 1 / n), points=x[None])
        self.twice, self.fingerprint = twice, f"cubic, {n} points"

    def at(self, u, start=None, accuracy=None):
        assert start is None  # as its linearisations have no warm start
        return CubicAt(self, u)


class CubicAt(pc.Linearisation):
    def __init__(self, map, u):
        self.map, self.z = map, map.K @ u

    @property
    def value(self):
        self.map.solves.state += 1
        return self.z + 0.1 * self.z**3

    def tangent(self, h):
        self.map.solves.tangent += 1
        return (1 + 0.3 * self.z**2) * (self.map.K @ h)

    def solve_adjoint(self, w, start=None):
        self.map.solves.adjoint += 1
        return pc.Adjoint(self.map.K.T @ ((1 + 0.3 * self.z**2) * w))

    def second(self, h, w, adjoint, outer):
        curved = 0.6 * self.z * (self.map.K @ h) * w
        return self.adjoint(outer(self.tangent(h))) + self.map.K.T @ curved


def test_a_nonlinear_map_of_ones_own():
    """Newton's first step must not raise the objective for good, nor a run return more than it has seen."""
    map = Cubic()
    for u in (np.ones(40), np.linspace(-3, 3, 40)):
        assert adjoint_error(map, u) < 1e-13 and np.abs(hessian_rates(map, u) - 3).max() < 0.1
    problem = pc.ControlProblem(tracking=pc.Tracking(map.solve(np.ones(40))), terms=[pc.Tikhonov(1e-3)])
    first = 0.5 * map.observation.norm(map.solve(np.ones(40))) ** 2
    for start in (None, 0.9):
        result = pc.minimise(problem, map, tol=1e-4, max_iterations=300, start=start)
        assert result.success and result.objective < 1e-2 * first
    other = pc.minimise(problem, map, "primal-dual", tol=1e-4)
    assert map.control.norm(other.control.array - result.control.array) <= 2e-4 * map.control.norm(other.control.array)
    limited = pc.minimise(problem, map, max_iterations=1, tol=1e-12)
    assert limited.objective <= min(first, limited.history["objective"].min() * (1 + 1e-12))


def test_a_map_without_second_derivatives_has_no_bound():
    map = Cubic(twice=False)
    problem = pc.ControlProblem(tracking=pc.Tracking(map.solve(np.ones(40))), terms=[pc.Tikhonov(1e-3)])
    certificate = pc.certify(problem, 1.0, map)
    assert certificate.bound is None and "the map has no second derivatives" in certificate.assumption
    result = pc.minimise(problem, map, max_iterations=20)
    assert "has no second derivatives" in result.method and result.certificate.bound is None and not result.success


def test_problems_for_maps_of_ones_own_state_nothing_that_is_ignored():
    tracking, terms = pc.Tracking(1.0), [pc.Tikhonov(1.0)]
    for wrong in (
        {"boundary": {"left": pc.Dirichlet()}}, {"tracking": pc.Tracking(1.0, weight=2.0)},
        {"tracking": pc.Tracking(1.0, on="left")}, {"terms": [pc.Tikhonov(1.0), pc.Linear(-12.0)]},
    ):  # fmt: skip
        with pytest.raises(pc.ProblemError, match="without an equation states no conditions"):
            pc.ControlProblem(**({"tracking": tracking, "terms": terms} | wrong))
    problem, map = pc.ControlProblem(tracking=tracking, terms=terms), Cubic()
    del map.fingerprint
    with pytest.raises(pc.ProblemError, match="the map Cubic has no fingerprint"):
        pc.minimise(problem, map)
    full = Cubic(2)
    full.control = pc.Space(np.array([[2.0, 1.0], [1.0, 2.0]]))
    with pytest.raises(pc.ProblemError, match="must have a diagonal mass"):
        pc.certify(problem, 0.0, full)
    with pytest.raises(pc.ProblemError, match="this problem does not state"):
        pc.minimise(problem, pc.discretise(pc.reference.poisson(1.0).problem, pc.unit_square(2)))


def test_stacked_maps_over_an_observation_without_factors():
    map = Cubic()
    both = Stacked(map, sp.eye(40), map.control)
    assert both.observation.size == 80 == both.solve(np.ones(40)).size and adjoint_error(both, np.ones(40)) < 1e-13


def test_fista_and_proximal_gradients_take_the_lipschitz_constant_of_the_functional():
    """With a Huber function of small delta, steps 1/||S||^2 are 1/delta times too long."""
    space = Space(np.ones(3))
    map = MatrixMap(np.diag([1.0, 0.5, 0.2]), np.zeros(3), space, space)
    cost = ControlCost(space, 0.1, 0.0, 0.0, -np.full(3, np.inf), np.full(3, np.inf))
    objective = Objective(StateCost([Huber(space, np.array([1.0, -1.0, 0.3]), 0.05)]), cost)
    u = minimiser(objective, map)
    for method in (pc.FISTA(), pc.ProximalGradient(), pc.PrimalDual(), pc.SemismoothNewton(), pc.ADMM()):
        stopping = loop.Stopping(1e-6, 0.0, 5000, np.inf)
        result = loop.run(objective, map, method, Start(space.zeros(), cold=True), stopping, progress=False)
        assert result.success and space.norm(result.control.array - u) <= result.certificate.bound + 1e-10


def test_what_a_stacked_map_is_not_for():
    problem = pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)])
    map, matrix, both = stacked(problem, pc.unit_square(4))
    with pytest.raises(pc.DataError, match="expected K of shape"):
        Stacked(map, matrix.T, both.image)
    other = pc.ControlProblem(pc.Elliptic(reaction=7.0), pc.Distributed(), [pc.Tracking(1.0)] * 2, [pc.Tikhonov(1e-2)])
    with pytest.raises(pc.ProblemError, match="which a problem with an equation does not"):
        pc.minimise(other, both)
    one, two = (
        Stacked(map, sp.csr_matrix(([a], ([0], [i])), matrix.shape), both.image) for a, i in ((2.0, 0), (1.0, 1))
    )
    assert one.fingerprint != two.fingerprint


def test_results_of_maps_of_ones_own_are_read_again(tmp_path):
    """With other numbers of controls than of observations, whose adjoint is a control."""
    generator = np.random.default_rng(2)
    map = MatrixMap(generator.normal(size=(9, 5)), np.zeros(9), Space(np.ones(5)), Space(np.ones(9)))
    objective = Objective(
        StateCost([Quadratic(map.observation.factors[0], np.ones(9))]),
        ControlCost(map.control, 0.1, 0.0, 0.0, -np.ones(5), np.ones(5)),
    )

    class Plain(type(map.at(np.zeros(5)))):
        def solve_adjoint(self, w, start=None):
            return super().solve_adjoint(w)._replace(state=None)

    map.at = lambda u, start=None, accuracy=None: Plain(map, u)
    for method in (pc.PrimalDual(), pc.SemismoothNewton(), pc.FISTA(), pc.ADMM()):
        start, stopping = Start(np.zeros(5), cold=True), loop.Stopping(1e-6, 0.0, 500, np.inf)
        result = loop.run(objective, map, method, start, stopping, progress=False)
        assert result.success and result.adjoint.space is map.control
        loaded = pc.load(result.save(tmp_path / "own"))
        assert np.array_equal(loaded.adjoint.array, result.adjoint.array)


@pytest.mark.parametrize("limit", [0, 1])
def test_a_result_whose_dual_is_zero_has_an_adjoint_state(limit, tmp_path):
    problem = pc.ControlProblem(
        pc.Elliptic(reaction=0.1), pc.Distributed(element="P0"), pc.Tracking(1.0), [pc.Tikhonov(1e-3, 1.0)]
    )
    result = pc.solve(problem, pc.unit_square(4), method="primal-dual", max_iterations=limit)
    assert result.adjoint.space is result.state.space
    assert np.array_equal(pc.load(result.save(tmp_path / "zero")).adjoint.array, result.adjoint.array)


def test_errors_that_a_map_does_not_say():
    class Silent(MatrixMap):
        def at(self, u, start=None, accuracy=None):
            at = super().at(u, start, accuracy)
            solve = at.solve_adjoint
            at.solve_adjoint = lambda w, start=None: solve(w)._replace(error=None)
            return at

    map = Silent(np.eye(2), np.zeros(2), Space(np.ones(2)), Space(np.ones(2)))
    cost = ControlCost(map.control, 0.1, 0.0, 0.0, -np.ones(2), np.ones(2))
    with pytest.raises(pc.ProblemError, match="the map gives no error"):
        certify_any(Objective(StateCost([Quadratic(map.control, np.ones(2))]), cost), map, np.zeros(2))


@pytest.mark.parametrize("claimed", [-1.0, 0.0])
def test_a_lower_objective_never_takes_the_place_of_a_certified_control(claimed):
    """Nor that of a control with a lower one in truth: what the history says may be taken elsewhere."""
    map = Cubic()
    problem = pc.ControlProblem(tracking=pc.Tracking(map.solve(np.ones(40))), terms=[pc.Tikhonov(1e-3)])
    objective = bind(problem, map)
    algorithm = pc.SemismoothNewton().algorithm_for(objective, map)
    for status in (pc.Status.CERTIFIED, pc.Status.ITERATIONS):
        state = algorithm.begin(objective, map, Start(np.full(40, 0.9)))
        certifier = Certifier(objective, map, loop.Stopping(1e-4, 0.0, 100, np.inf))
        for iteration in range(60):
            certifier.consider(state, iteration)
            if certifier.verdict(1.0, 0) is pc.Status.CERTIFIED:
                break
            state = algorithm.step(objective, map, state)
        certifier.lowest = (claimed, np.full(40, 50.0))
        best, ended = certifier.finish(state, iteration, status)
        assert ended is pc.Status.CERTIFIED and best.certificate.meets(1e-4)
        assert best.certificate.objective == pytest.approx(objective.value(best.control, map.solve(best.control)))


def test_second_derivatives_that_are_missing(monkeypatch):
    map = Cubic()
    monkeypatch.delattr(CubicAt, "second")
    with pytest.raises(pc.ProblemError, match="CubicAt has no second derivatives: define second"):
        hessian_rates(map, np.ones(40))
