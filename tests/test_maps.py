"""Solution maps on every case: the adjoint, Taylor's theorem, affinity, counters; and planted errors."""

import numpy as np
import pytest
from cases import AFFINE, CASES, NONLINEAR, NONLINEAR_PARABOLIC, PARABOLIC, problem

import pdecontrol as pc
from pdecontrol.errors import DataError, ProblemError, SolveLimitError
from pdecontrol.maps import Adjoint, Linearisation, SolutionMap
from pdecontrol.terms import bind
from pdecontrol.verify import adjoint_error, hessian_rates, observed_orders, tangent_rates, taylor_rates

each_case = pytest.mark.parametrize("case", CASES, ids=repr)
each_affine = pytest.mark.parametrize("case", AFFINE + PARABOLIC, ids=repr)
each_nonlinear = pytest.mark.parametrize("case", NONLINEAR + NONLINEAR_PARABOLIC, ids=repr)


def adjoint_limit(case):
    return 1e-12 if case.affine else 1e-9


def between(orders, low, high):
    return low <= orders.min() and orders.max() <= high


def test_all_cases_are_here():
    assert (len(AFFINE), len(NONLINEAR)) == (47, 19)
    assert (len(PARABOLIC), len(NONLINEAR_PARABOLIC)) == (17, 9)
    assert len({case.name for case in CASES}) == len(CASES) == 92
    assert all(case.map.affine == case.affine for case in CASES)
    assert {(case.mesh.dim, case.degree) for case in CASES} == {(d, k) for d in (1, 2, 3) for k in (1, 2)}


@each_case
def test_adjoint(case):
    assert adjoint_error(case.map, case.control()) <= adjoint_limit(case)


@each_case
def test_taylor(case):
    assert between(taylor_rates(case.map, case.control()), 1.9, 2.1)
    if case.problem.tracking or not case.affine:  # else the objective is linear, without a remainder
        objective = bind(case.problem, case.map)
        assert between(taylor_rates(case.map, case.control(), objective=objective), 1.9, 2.1)


@each_nonlinear
def test_tangent_and_hessian(case):
    u = case.control()
    assert between(tangent_rates(case.map, u), 1.9, 2.1)
    assert between(hessian_rates(case.map, u), 2.9, 3.1)


@each_case
def test_hessian_is_the_derivative_of_the_gradient_and_symmetric(case):
    map, u = case.map, case.control()
    generator = np.random.default_rng(602214)
    h, k = (case.size * generator.standard_normal(map.control.size) for _ in range(2))
    at = map.at(u)
    adjoint = at.solve_adjoint(at.value)
    image = at.second(h, at.value, adjoint, lambda w: w)
    step = 1.0 if case.affine else 1e-5
    above, below = (map.at(u + s * h) for s in (step, -step))
    difference = (above.adjoint(above.value) - below.adjoint(below.value)) / (2 * step)
    assert map.control.norm(image - difference) <= (1e-9 if case.affine else 1e-6) * map.control.norm(image)
    asymmetry = map.control.inner(image, k) - map.control.inner(at.second(k, at.value, adjoint, lambda w: w), h)
    assert abs(asymmetry) <= 1e-8 * map.control.norm(image) * map.control.norm(k)


@each_case
def test_value_is_what_solve_returns(case):
    map, u = case.map, case.control()
    y, at = map.solve(u), map.at(u)
    assert np.array_equal(at.value, y)
    assert np.array_equal(map.field(u).array, at.state)
    assert y.shape == (map.observation.size,) and at.state.shape == (map.solution.size,)
    assert len(map.observation.factors) == len(case.problem.observations)
    scale = map.observation.norm(y), map.control.norm(at.adjoint(y))
    assert all(error <= 1e-9 * size for error, size in zip((at.error, at.solve_adjoint(y).error), scale, strict=True))


@each_affine
def test_affine_maps_are(case):
    map, u = case.map, case.control()
    v = np.cos(np.arange(map.control.size))
    sides = map.solve(u + v) - map.solve(u) - map.solve(v) + map.solve(map.control.zeros())
    assert map.observation.norm(sides) <= 1e-12 * map.observation.norm(map.solve(u))
    tangent = map.at(v).tangent(u)
    error = map.observation.norm(map.solve(u) - map.solve(map.control.zeros()) - tangent)
    assert map.affine and error <= 1e-12 * map.observation.norm(tangent)


@each_nonlinear
def test_nonlinear_maps_are_strongly_so(case):
    """Else the tests of derivatives would show little."""
    map, u = case.map, case.control()
    zero = map.control.zeros()
    tangent = map.at(zero).tangent(u)
    difference = map.observation.norm(map.solve(u) - map.solve(zero) - tangent)
    assert not map.affine and difference >= 0.02 * map.observation.norm(tangent)


@pytest.mark.parametrize("case", NONLINEAR, ids=repr)
def test_start_changes_the_work_and_not_the_solution(case):
    map, u = case.fresh_map(), case.control()
    at = map.at(u)
    steps = map.solves.linear
    again = map.at(u, at.state)
    assert map.solves.linear - steps <= 1 < steps
    assert map.observation.norm(again.value - at.value) <= 1e-12 * map.observation.norm(at.value)


@each_case
def test_counters(case):
    map, u = case.fresh_map(), case.control()
    w = np.ones(map.observation.size)
    assert map.solves.total == 0
    at = map.at(u)
    assert map.solves.state == (0 if case.affine else 1)
    for _ in range(2):
        at.value, at.state  # noqa: B018
    adjoint = at.solve_adjoint(w)
    at.tangent(u), at.tangent(2 * u), at.adjoint(w)
    counts = map.solves.snapshot()
    assert (counts["state"], counts["tangent"], counts["adjoint"], counts["total"]) == (1, 2, 2, 5)
    if case.affine:
        map.solve(2 * u)
        matrices = {"actuators in time, points over an interval": 2, "heat, uneven Crank-Nicolson, P2": 2}
        matrices |= {"jumps in time, Crank-Nicolson, control on an interface": 2}
        matrices |= {"all data in time": 4, "coefficients in time, Crank-Nicolson": 4}
        assert (map.solves.factorisations, map.solves.linear) == (matrices.get(case.name, 1), 0)
        assert map.solves.inner == 0
    elif case in NONLINEAR:
        assert (
            map.solves.factorisations == map.solves.linear + 1
        )  # one more at the solution, for all of its derivatives
    before = map.solves.snapshot()
    at.second(u, w, adjoint, lambda w: w)
    since = map.solves.since(before)
    assert (since["state"], since["tangent"], since["adjoint"]) == (0, 1, 1)
    assert case in NONLINEAR_PARABOLIC or since["factorisations"] == 0
    assert map.solves.seconds > 0


@pytest.mark.parametrize("case", [AFFINE[4], NONLINEAR[1]], ids=repr)
def test_limit_of_solves(case):
    map = case.fresh_map()
    at = map.at(case.control())
    assert at.value is not None
    map.solves.limit = 3
    at.tangent(case.control()), at.adjoint(at.value)
    for call in (lambda: map.solve(case.control()), lambda: at.tangent(case.control()), lambda: at.adjoint(at.value)):
        with pytest.raises(SolveLimitError, match="limit of 3 solves"):
            call()
    assert map.solves.total == 3


@each_case
def test_fingerprints_tell_maps_apart(case):
    assert case.map.fingerprint == case.fresh_map().fingerprint
    assert sum(case.map.fingerprint == other.map.fingerprint for other in CASES) == 1


# -- planted errors ----------------------------------------------------------------------------------------------------


class Wrong(SolutionMap):
    """A map whose derivatives are passed through functions that spoil them."""

    def __init__(self, map, adjoint=lambda q: q, tangent=lambda y: y, hessian=lambda q: q):
        self.inner, self.spoil = map, (adjoint, tangent, hessian)
        self.control, self.observation, self.solution = map.control, map.observation, map.solution
        self.affine, self.solves, self.fingerprint, self.arithmetic = map.affine, map.solves, "wrong", "wrong"

    def at(self, u, start=None):
        return WrongLinearisation(self.inner.at(u, start), *self.spoil)


class WrongLinearisation(Linearisation):
    def __init__(self, at, adjoint, tangent, hessian):
        self.inner, self.spoil_adjoint, self.spoil_tangent, self.spoil_hessian = at, adjoint, tangent, hessian

    value = property(lambda self: self.inner.value)
    state = property(lambda self: self.inner.state)
    error = 0.0

    def tangent(self, h):
        return self.spoil_tangent(self.inner.tangent(h))

    def solve_adjoint(self, w, start=None):
        adjoint = self.inner.solve_adjoint(w, start)
        return Adjoint(self.spoil_adjoint(adjoint.gradient), 0.0, adjoint.state)

    def second(self, h, w, adjoint, outer):
        return self.spoil_hessian(self.inner.second(h, w, adjoint, outer))


def scaled(a):
    return 1.001 * a


def uneven(a):
    """Off by 0.1 % on average, more at one end."""
    return a * (1 + 0.002 * np.linspace(0, 1, a.size)) if a.size > 1 else scaled(a)


def broken(a):
    return np.full_like(a, np.nan)


@each_case
@pytest.mark.parametrize("spoil", [scaled, uneven])
def test_wrong_adjoint_is_found(case, spoil):
    wrong, u = Wrong(case.map, adjoint=spoil), case.control()
    assert adjoint_error(wrong, u) > 100 * adjoint_limit(case)
    assert not between(taylor_rates(wrong, u), 1.9, 2.1)


@each_case
def test_wrong_tangent_is_found(case):
    assert adjoint_error(Wrong(case.map, tangent=scaled), case.control()) > 100 * adjoint_limit(case)


@each_nonlinear
def test_wrong_tangent_and_hessian_are_found(case):
    """0.1 % of a small second derivative hides where the third is large: it takes 1 %."""
    u = case.control()
    assert not between(tangent_rates(Wrong(case.map, tangent=lambda y: 1.01 * y), u), 1.9, 2.1)
    assert not between(hessian_rates(Wrong(case.map, hessian=lambda q: 1.01 * q), u), 2.9, 3.1)


def test_nan_is_not_a_small_error():
    case = AFFINE[4]
    assert not adjoint_error(Wrong(case.map, adjoint=broken)) <= 1.0
    with pytest.raises(DataError, match="NaN"):
        taylor_rates(Wrong(case.map, adjoint=broken))


def test_affine_maps_have_no_remainder():
    for rates in (tangent_rates, hessian_rates):
        with pytest.raises(ProblemError, match="affine"):
            rates(AFFINE[0].map)


def test_observed_orders():
    sizes = np.array([0.5, 0.2, 0.1])
    assert np.allclose(observed_orders(3 * sizes**2.5, sizes), 2.5)
    assert np.allclose(observed_orders(sizes[::-1], sizes[::-1]), 1)
    for errors, other in (([1, 2], sizes), ([np.nan, 1, 1], sizes), ([1, -2, 1], sizes), ([1, 2, 1], [1, 1, 2])):
        with pytest.raises(DataError):
            observed_orders(errors, other)


# -- multigrid ---------------------------------------------------------------------------------------------------------


MULTIGRID = {
    "2D": lambda: (problem(pc.Elliptic({"lower": 1.0, "upper": 20.0}), tracking=pc.Tracking(1.0, weight=2.0)),
                   pc.unit_square(24)),
    "2D, Robin, reaction, observed on a part": lambda: (
        problem(pc.Elliptic(1.0, lambda x: x[0]), {"left": pc.Robin(1.0)}, pc.Boundary("top"),
                pc.Tracking(1.0, on="lower"), [pc.Linear(1.0, on="right")]), pc.unit_square(20)),
    "3D": lambda: (problem(control=pc.Distributed(element="P0")), pc.unit_cube(8)),
}  # fmt: skip


@pytest.mark.parametrize("name", MULTIGRID)
def test_multigrid_errs_less_than_it_says(name):
    stated, mesh = MULTIGRID[name]()
    axis = mesh.dim - 1
    mesh = mesh.tag_part("lower", lambda x: x[axis] < 0.5).tag_part("upper", lambda x: x[axis] > 0.5)
    direct, amg = (pc.discretise(stated, mesh, pc.Embedded(linear_solver=kind)) for kind in ("direct", "amg"))
    generator = np.random.default_rng(299792)
    for _ in range(3):
        u = 10 * generator.standard_normal(amg.control.size)
        w = generator.standard_normal(amg.observation.size)
        exact, at = direct.at(u), amg.at(u)
        error = amg.observation.norm(at.value - exact.value)
        assert error <= 1e-9 * amg.observation.norm(exact.value)
        assert 0 < error <= at.error <= 1e-6 * amg.observation.norm(exact.value)
        adjoint, reference = at.solve_adjoint(w), exact.adjoint(w)
        error = amg.control.norm(adjoint.gradient - reference)
        assert error <= 1e-9 * amg.control.norm(reference)
        assert 0 < error <= adjoint.error <= 1e-6 * amg.control.norm(reference)
    assert amg.solves.factorisations == 1 and amg.solves.inner >= amg.solves.total
    assert "iterative" in amg.arithmetic and "rounding" in direct.arithmetic
    assert adjoint_error(amg) <= 1e-9


def test_loose_multigrid_errs_less_than_it_says(monkeypatch):
    """At the tolerance of 1e-11 the errors are nearly rounding; at 1e-4 the bounds have something to bound."""
    from pdecontrol.linear.multigrid import Multigrid

    monkeypatch.setattr(Multigrid, "tolerance", 1e-4)
    stated, mesh = MULTIGRID["3D"]()
    direct, amg = (pc.discretise(stated, mesh, pc.Embedded(linear_solver=kind)) for kind in ("direct", "amg"))
    generator = np.random.default_rng(299792)
    for _ in range(3):
        u, w = generator.standard_normal(amg.control.size), generator.standard_normal(amg.observation.size)
        at, exact = amg.at(u), direct.at(u)
        error = amg.observation.norm(at.value - exact.value)
        assert 1e-8 * amg.observation.norm(exact.value) < error <= at.error <= 100 * error
        adjoint = at.solve_adjoint(w)
        assert 0 < amg.control.norm(adjoint.gradient - exact.adjoint(w)) <= adjoint.error


@pytest.mark.parametrize("equation", [pc.Elliptic(reaction=1e-4), pc.Elliptic(1e3, 1e-3)], ids=["1e-4", "1e-6"])
def test_multigrid_on_nearly_singular_equations_errs_less_than_it_says(equation):
    """The residual stops at its rounding, which constants amplify: alone it gives bounds 30 times too small."""
    stated, mesh = problem(equation, {}, pc.Boundary("top"), pc.Tracking(0.0, on="right")), pc.unit_square(24)
    direct, amg = (pc.discretise(stated, mesh, pc.Embedded(linear_solver=kind)) for kind in ("direct", "amg"))
    generator = np.random.default_rng(299792)
    for _ in range(3):
        u, w = generator.standard_normal(amg.control.size), generator.standard_normal(amg.observation.size)
        at, exact = amg.at(u), direct.at(u)
        assert amg.observation.norm(at.value - exact.value) <= at.error <= 1e-4 * amg.observation.norm(exact.value)
        adjoint = at.solve_adjoint(w)
        assert amg.control.norm(adjoint.gradient - exact.adjoint(w)) <= adjoint.error
