"""Newton's method along a path of weights, and maps by few numbers: counts, laws, restarts, warm starts."""

from dataclasses import replace

import numpy as np
import pytest
from cases import problem as posed
from cases import wave

import pdecontrol as pc
from pdecontrol.few import FewNumbers, by_numbers, count
from pdecontrol.solvers import newton_path
from pdecontrol.solvers.newton_path import NewtonPath
from pdecontrol.terms import bind

NAMES = ("E1", "S1")
ACTUATED = pc.Actuators([lambda x, a=a: (np.abs(x[0] - a) < 0.15) * 1.0 for a in (0.2, 0.5, 0.8)])
SENSORS = np.random.default_rng(1).uniform(0.1, 0.9, (2, 9))


def stated(name, alpha):
    return (pc.reference.box(alpha) if name == "E1" else pc.reference.stadler(alpha)).problem


def solved(name, alpha, n, **options):
    problem = stated(name, alpha)
    map = pc.discretise(problem, pc.unit_square(n), pc.Embedded(**options))
    return problem, map, pc.minimise(problem, map, progress=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_newton_systems_hardly_depends_on_the_weight(name):
    pytest.importorskip("pyamg")
    for alpha, most in ((1e-7, 16), (1e-8, 16), (1e-10, 32)):
        result = solved(name, alpha, 64, linear_solver="amg")[2]
        assert result.success and result.certificate.relative <= 1e-6
        assert 5 <= result.solves["systems"] <= most


@pytest.mark.parametrize("name", NAMES)
def test_conjugate_gradients_alone_go_along_the_path_too(name, monkeypatch):
    """As learned maps and marches have no other way."""
    monkeypatch.setattr(pc.fem.steady.SteadyMap, "_collective", lambda *_: None)
    result = solved(name, 1e-8, 64)[2]
    assert result.success and result.solves["systems"] == 0
    assert 200 <= result.solves["total"] <= (2000 if name == "E1" else 500)


def test_sets_of_the_new_weight_would_be_of_no_use(monkeypatch):
    """The dual vector kept, with the active sets that it has at the next weight: many more steps."""
    pytest.importorskip("pyamg")

    def kept(self, objective, map, state):
        alpha = objective.control.alpha
        weight = max(alpha, 0.1 * state.weight)
        known = newton_path.projected(
            newton_path.weighted(objective, weight), map, state.dual, state.adjoint, state.warm, state.first_residual
        )
        return newton_path._staged(known, objective, weight, state.norm)

    good = solved("E1", 1e-8, 32, linear_solver="amg")[2]
    monkeypatch.setattr(NewtonPath, "_next", kept)
    bad = solved("E1", 1e-8, 32, linear_solver="amg")[2]
    assert bad.success and bad.solves["systems"] >= 1.5 * good.solves["systems"]


@pytest.mark.parametrize("name", NAMES)
def test_the_weight_is_tried_first_and_what_is_easy_costs_no_more(name):
    """No more solves than Newton's method at the weight itself takes."""
    for alpha, most in zip(
        (1e-2, 1e-3, 1e-4, 1e-5), (15, 28, 42, 61) if name == "E1" else (20, 27, 48, 84), strict=True
    ):
        result = solved(name, alpha, 64)[2]
        assert result.success and 0.6 * most <= result.solves["total"] <= most


@pytest.mark.parametrize("name", NAMES)
def test_the_path_and_the_weight_itself_lead_to_the_same_control(name, monkeypatch):
    problem, map, result = solved(name, 1e-7, 24)
    monkeypatch.setattr(newton_path, "DAMPED", 0.0)
    monkeypatch.setattr(newton_path, "CHEAP", np.inf)
    cold = pc.minimise(problem, map, tol=1e-9, progress=False)
    distance = map.control.norm(cold.control.array - result.control.array)
    assert distance <= cold.certificate.bound + result.certificate.bound


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_a_path_goes_on_from_its_checkpoint_bit_for_bit(tmp_path, steps):
    problem, map, whole = solved("S1", 1e-8, 16)
    path = tmp_path / "run.npz"
    pc.minimise(problem, map, checkpoint=path, max_iterations=steps, progress=False)
    rest = pc.minimise(problem, map, checkpoint=path, restart=True, progress=False)
    assert np.array_equal(rest.control.array, whole.control.array)
    assert np.array_equal(rest.history["iteration"], whole.history["iteration"])


def test_a_path_that_is_cut_short_returns_a_control_and_a_bound_that_holds():
    problem, map, best = solved("S1", 1e-8, 16)
    for solves in (12, 30, 60, 100):
        result = pc.minimise(problem, map, max_solves=solves, progress=False)
        assert not result.success and result.solves["total"] <= solves
        distance = map.control.norm(result.control.array - best.control.array)
        assert distance <= result.certificate.bound + best.certificate.bound


def test_a_dual_vector_of_a_larger_weight_is_a_start(tmp_path):
    alphas = [1e-4, 1e-6, 1e-7, 1e-8]
    for name in NAMES:
        results = pc.continuation(stated(name, 1e-4), pc.unit_square(32), alpha=alphas, progress=False)
        assert all(result.success for result in results) and [result.weight for result in results] == alphas
        cold = pc.solve(stated(name, 1e-4).with_weights(1e-8, None), pc.unit_square(32), progress=False)
        assert results[-1].solves["total"] <= 0.8 * cold.solves["total"]
        distance = results[-1].control.space.norm(results[-1].control.array - cold.control.array)
        assert distance <= cold.certificate.bound + results[-1].certificate.bound
    assert pc.load(results[-1].save(tmp_path / "last.npz")).weight == 1e-8


def test_the_error_is_looked_at_after_every_step():
    """The step that meets the tolerance is the last one."""
    for name in NAMES:
        problem, map, result = solved(name, 1e-7, 48)
        objective, target = bind(problem, map), 1e-6 * result.certificate.norm
        assert objective.control.alpha == 1e-7 and result.history["estimate"][-1] <= 10 * target
        assert (result.history["estimate"][:-1] > target)[np.isfinite(result.history["estimate"][:-1])].all()


# -- few numbers ------------------------------------------------------------------------------------------------------

FEW = {
    "points": posed(tracking=pc.Tracking(0.3, points=SENSORS)),
    "weighted points, L1, box": posed(
        tracking=pc.Tracking(0.3, points=SENSORS, weight=3.0), terms=[pc.L1(1e-4), pc.Box(-1, 40)]
    ),
    "points and a functional": posed(
        tracking=pc.Tracking(wave, points=SENSORS), terms=[pc.Linear(lambda x: 0.1 * x[0])]
    ),
    "actuators": posed(control=ACTUATED),
    "actuators, a box, parts": posed(
        control=ACTUATED, tracking=[pc.Tracking(wave, on="lower"), pc.Tracking(0.2, on="right")], terms=[pc.Box(-3, 5)]
    ),
    "actuators and points": posed(control=ACTUATED, tracking=pc.Tracking(0.3, points=SENSORS)),
    "values at points of a boundary control": posed(
        equation=pc.Elliptic(reaction=1.0), boundary={}, control=pc.Boundary("right"),
        tracking=pc.Tracking(0.3, points=SENSORS),
    ),
}  # fmt: skip


def mesh():
    return pc.unit_square(12).tag_part("lower", lambda x: x[0] < 0.5)


@pytest.fixture(params=FEW, name="few")
def _few(request):
    return FEW[request.param], pc.discretise(FEW[request.param], mesh())


def test_maps_by_few_numbers_are_the_maps(few):
    _, map = few
    before, dense = map.solves.total, FewNumbers(map)
    assert map.solves.total - before == count(map)[0] + 1
    draw = np.random.default_rng(0)
    u, w = draw.standard_normal(map.control.size), draw.standard_normal(map.observation.size)
    assert map.observation.norm(dense.solve(u) - map.solve(u)) <= 1e-11 * map.observation.norm(map.solve(u))
    exact = map.at(u).adjoint(w)
    assert map.control.norm(dense.at(u).adjoint(w) - exact) <= 1e-11 * map.control.norm(exact)


def test_newton_systems_of_few_numbers(few):
    problem, map = few
    objective, dense = bind(problem, map), by_numbers(map)
    draw = np.random.default_rng(0)
    second = objective.state.second(map.observation.zeros())
    r, chi = second(draw.standard_normal(map.observation.size)), draw.random(map.control.size) < 0.6
    d, adjoint = dense.newton_system(dense.at(map.control.zeros()), r, lambda h: chi * h / 1e-5, second, 0.1, 1)
    at = map.at(map.control.zeros())
    left = d + second(at.tangent(chi * at.adjoint(d) / 1e-5))
    assert map.observation.norm(left - r) <= 1e-9 * map.observation.norm(r)
    assert map.control.norm(adjoint.gradient - at.adjoint(d)) <= 1e-9 * map.control.norm(adjoint.gradient)


@pytest.mark.parametrize("alpha", [1e-2, 1e-5, 1e-8])
def test_few_observations_take_as_many_solves_and_three_more(alpha):
    for name in ("points", "weighted points, L1, box", "points and a functional"):
        problem = FEW[name].with_weights(alpha, None)
        map = pc.discretise(problem, mesh())
        result = pc.minimise(problem, map, progress=False)
        assert result.success and result.solves["total"] == count(map)[0] + 3
        objective = bind(problem, map)
        plain = newton_path.DualNewton(0.3, 500)
        state = plain.begin(objective, map, newton_path.cold_start(objective, map))
        for _ in range(200):
            state = plain.step(objective, map, state)
            if newton_path._bound(objective, replace_stage(state, alpha)) <= 1e-9 * map.control.norm(state.u):
                break
        distance = map.control.norm(result.control.array - state.u)
        assert distance <= result.certificate.bound + 1e-6 * map.control.norm(state.u)


def replace_stage(state, alpha):
    """A state of Newton's method as one of the path at its end."""
    return newton_path.PathState(state.u, state.y, state.dual, state.adjoint, state.first_residual, alpha, True)


def test_another_weight_takes_no_more_solves_than_its_certificate():
    problem = FEW["points"]
    map = pc.discretise(problem, mesh())
    totals = [
        pc.minimise(problem.with_weights(alpha, None), map, progress=False).solves["total"]
        for alpha in 10.0 ** -np.arange(2, 9)
    ]
    assert totals == [12, *(2 for _ in totals[1:])]


def test_few_actuators_take_columns_where_the_weight_itself_takes_longer():
    problem = FEW["actuators, a box, parts"].with_weights(1e-9, None)
    map = pc.discretise(problem, mesh())
    result = pc.minimise(problem, map, progress=False)
    assert result.success and result.solves["total"] <= 40


def test_few_numbers_are_restarted_and_limited(tmp_path):
    problem = FEW["points"].with_weights(1e-8, None)
    map = pc.discretise(problem, mesh())
    whole = pc.minimise(problem, map, tol=1e-13, progress=False)
    pc.minimise(problem, map, tol=1e-13, progress=False, checkpoint=tmp_path / "run.npz", max_iterations=0)
    rest = pc.minimise(problem, map, tol=1e-13, progress=False, checkpoint=tmp_path / "run.npz", restart=True)
    assert map.control.norm(rest.control.array - whole.control.array) <= whole.certificate.bound
    short = pc.minimise(problem, pc.discretise(problem, mesh()), max_solves=11, progress=False)
    assert short.solves["total"] <= 11 and short.certificate.bound > 0


def test_long_rows_and_many_numbers_are_left_alone(monkeypatch):
    map = pc.discretise(FEW["points"], mesh())
    assert count(map) == (9, True) and count(FewNumbers(map))[0] == 0
    monkeypatch.setattr("pdecontrol.few.ENTRIES", 9 * 168)
    assert count(map)[0] == 0
    monkeypatch.setattr("pdecontrol.few.ENTRIES", 9 * 169)
    assert count(map)[0] == 9
    monkeypatch.setattr("pdecontrol.few.MOST", 8)
    assert count(map)[0] == 0
    assert count(pc.discretise(posed(), mesh()))[0] == 0
    assert (
        count(
            pc.discretise(
                replace(posed(), control=pc.Boundary("right"), boundary={}, equation=pc.Elliptic(reaction=1.0)), mesh()
            )
        )[0]
        == 0
    )


@pytest.mark.parametrize("alpha", [1e-4, 1e-6, 1e-8])
def test_without_bounds_and_l1_term_there_is_hardly_more_than_one_system(alpha):
    free, map = posed(alpha=alpha), pc.discretise(posed(), pc.unit_square(32))
    wide = posed(alpha=alpha, terms=[pc.Box(-1e9, 1e9)])
    result, other = (pc.minimise(problem, map) for problem in (free, wide))
    assert result.success and other.success and len(result.history) <= 4
    assert result.solves["total"] <= 0.8 * other.solves["total"]
    error = map.control.norm(result.control.array - other.control.array)
    assert error <= result.certificate.bound + other.certificate.bound
