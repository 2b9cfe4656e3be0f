"""Surrogates without training: the law of adjoints, how near they are, their counters, and what is refused."""

from dataclasses import replace
from functools import cache

import cases
import numpy as np
import pytest
import scipy.sparse as sp

import pdecontrol as pc
from pdecontrol import verify
from pdecontrol.errors import DataError, ProblemError
from pdecontrol.learn.surrogates import (
    CoarseMesh,
    ReducedBasis,
    ReducedMarch,
    SineGalerkin,
    Surrogate,
    SurrogateState,
    VCycle,
)
from pdecontrol.learn.surrogates.offset import undriven
from pdecontrol.spectrum import smooth_start

N = 16
PROBLEM = pc.ControlProblem(
    equation=pc.Elliptic(source=lambda x: np.sin(3 * x[0])),
    boundary={"boundary": pc.Dirichlet()},
    control=pc.Distributed(),
    tracking=pc.Tracking(lambda x: np.sin(3 * x[1])),
    terms=[pc.Tikhonov(1e-3), pc.Box(-3, 3)],
)
CUBIC = pc.Semilinear(lambda y: 10 * y**3, lambda y: 30 * y**2)
SEMILINEAR = replace(PROBLEM, equation=pc.Elliptic(semilinear=CUBIC))


@cache
def exact(problem=PROBLEM, n=N):
    return pc.discretise(problem, pc.unit_square(n))


def controls(count, seed=3):
    x, y = exact().control.points
    waves = np.random.default_rng(seed).uniform(-4, 4, (count, 4))
    return [np.sin(a * x + b) * np.cos(c * y + d) for a, b, c, d in waves]


def reduced(modes=None):
    return ReducedBasis(exact(), [exact().at(u).full_state() for u in controls(6)], modes)


MAKE = {
    "sines": lambda: SineGalerkin(exact(), 8),
    "reduced basis": lambda: reduced(4),
    "V-cycle": lambda: VCycle(exact()),
    "three V-cycles": lambda: VCycle(exact(), 3),
    "coarse mesh": lambda: CoarseMesh(exact(n=8), exact()),
    "mean coefficient": lambda: Surrogate(
        exact(replace(PROBLEM, equation=replace(PROBLEM.equation, diffusion=1.1))), exact()
    ),
}
ERRORS = {"sines": 0.02, "V-cycle": 0.3, "three V-cycles": 0.01, "coarse mesh": 0.05, "mean coefficient": 0.1}


@pytest.mark.parametrize("name", MAKE)
def test_the_adjoint_is_the_transpose_in_the_inner_products_of_the_spaces_and_the_map_is_affine(name):
    surrogate, (u, v) = MAKE[name](), controls(2, 7)
    assert surrogate.affine and not surrogate.exact and verify.adjoint_error(surrogate) < 1e-13
    at = surrogate.at(u)
    assert np.abs(at.tangent(v) - (surrogate.solve(u + v) - at.value)).max() < 1e-13
    assert at.solve_adjoint(at.value).error == np.inf


@pytest.mark.parametrize("name", ERRORS)
def test_surrogates_are_as_near_as_they_should_be(name):
    surrogate, map = MAKE[name](), exact()
    for u in controls(3, 11):
        y = map.solve(u)
        assert map.observation.norm(surrogate.solve(u) - y) <= ERRORS[name] * map.observation.norm(y)


def test_applications_are_on_the_surrogates_own_counter():
    map, surrogate, u = exact(), MAKE["sines"](), controls(1)[0]
    before, at = map.solves.total, surrogate.at(u)
    _ = at.value, at.tangent(u), at.adjoint(at.value), surrogate.without
    assert map.solves.total == before + 1  # the state without control
    assert (surrogate.solves.state, surrogate.solves.tangent, surrogate.solves.adjoint) == (1, 1, 1)


def test_a_reduced_basis_has_the_states_that_it_is_made_of_and_more_sines_are_better():
    u = controls(6)[2]
    assert np.abs(reduced().solve(u) - exact().solve(u)).max() < 1e-12
    errors = [np.abs(SineGalerkin(exact(), k).solve(u) - exact().solve(u)).max() for k in (2, 4, 8, 15)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-12  # the last ones span all states


def test_the_sines_of_a_box_span_states_in_three_dimensions():
    problem = pc.ControlProblem(
        pc.Elliptic(), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-3)], {"boundary": pc.Dirichlet()}
    )
    map = pc.discretise(problem, pc.unit_cube(6))
    u = map.control.interpolate(lambda x: x[0] * x[1])
    assert np.abs(SineGalerkin(map, 5).solve(u) - map.solve(u)).max() < 1e-13


def test_a_coarse_mesh_keeps_observations_of_a_part_and_at_points():
    points = np.array([[0.3, 0.7], [0.2, 0.6]])
    problem = replace(PROBLEM, tracking=pc.Tracking([1.0, 2.0], points=points))
    fine, coarse = (pc.discretise(problem, pc.unit_square(n)) for n in (16, 8))
    surrogate, u = CoarseMesh(coarse, fine), controls(1)[0]
    assert verify.adjoint_error(surrogate) < 1e-13
    assert np.abs(surrogate.solve(u) - fine.solve(u)).max() < 0.03


def test_the_state_of_a_surrogate_has_exact_derivatives():
    map, surrogate, u = exact(), MAKE["sines"](), controls(1)[0]
    at, true = SurrogateState(surrogate, map).at(u), map.at(u)
    assert np.array_equal(at.value, surrogate.solve(u)) and at.error == np.inf
    w = true.value
    assert np.array_equal(at.adjoint(w), true.adjoint(w)) and at.solve_adjoint(w).error < 1e-10
    assert np.array_equal(at.tangent(u), true.tangent(u))
    assert verify.adjoint_error(SurrogateState(surrogate, map)) < 1e-13


def test_an_exact_adjoint_makes_the_optimum_much_better():
    problem = pc.reference.stadler(1e-3).problem
    map = pc.discretise(problem, pc.unit_square(N))
    sines, norm = SineGalerkin(map, 6), map.control.norm
    best = pc.minimise(problem, map, tol=1e-8).control.array
    results = [pc.minimise(problem, one, tol=1e-6) for one in (sines, SurrogateState(sines, map))]
    errors = [norm(result.control.array - best) / norm(best) for result in results]
    assert errors[1] < 0.2 * errors[0] < 0.01
    assert all(result.certificate.relative is None for result in results)  # nothing bounds its distance to the optimum


def test_what_does_not_fit_is_refused():
    other = exact(n=8)
    with pytest.raises(ProblemError, match="take CoarseMesh"):
        Surrogate(other, exact())
    with pytest.raises(ProblemError, match="SineGalerkin takes the map of a steady affine equation"):
        SineGalerkin(exact(SEMILINEAR))
    with pytest.raises(DataError, match="snapshots are finite states"):
        ReducedBasis(exact(), np.ones((3, 5)))
    with pytest.raises(DataError, match="all the state without control"):
        ReducedBasis(exact(), [exact().at(exact().control.zeros()).full_state()])
    heavy = replace(PROBLEM, tracking=pc.Tracking(lambda x: np.sin(3 * x[1]), weight=2.0))
    with pytest.raises(ProblemError, match="other inner products"):
        Surrogate(exact(heavy), exact())
    turned = pc.Mesh(pc.unit_square(N).points[:, ::-1], N * (N + 2) - pc.unit_square(N).cells)
    with pytest.raises(ProblemError, match="not at the points of the map"):
        Surrogate(pc.discretise(PROBLEM, turned), exact())
    for make in (SineGalerkin, VCycle, lambda map, k: ReducedBasis(map, np.ones((1, map.solution.size)), k)):
        for number in (0, 1.5, True):
            with pytest.raises(ProblemError, match="must be a positive integer"):
                make(exact(), number)
    with pytest.raises(ProblemError, match="SurrogateState takes affine maps"):
        SurrogateState(exact(SEMILINEAR), exact(SEMILINEAR))


def test_fingerprints_tell_surrogates_apart():
    made = [make() for make in MAKE.values()] + [SineGalerkin(exact(), 4), exact()]
    assert len({map.fingerprint for map in made}) == len(made)
    assert MAKE["reduced basis"]().fingerprint == MAKE["reduced basis"]().fingerprint


DRIVEN = replace(
    PROBLEM,
    equation=pc.Elliptic(diffusion=lambda x: 1 + x[0], source=5.0),
    boundary={"boundary": pc.Dirichlet(lambda x: x[0] - x[1])},
)


def heat(steps, **changes):
    equation = pc.Parabolic(
        pc.Elliptic(diffusion=0.1, source=lambda x, t: t + x[0]), T=1.0, steps=steps, initial=lambda x: x[0] - x[1]
    )
    return replace(DRIVEN, equation=equation, terms=[pc.Tikhonov(1e-3)], **changes)


def bad_part(make, part, change):
    """A surrogate of which one function is changed."""
    surrogate = make()
    right = getattr(surrogate, part)
    setattr(surrogate, part, lambda b: change(right(b)))
    return surrogate


WRONG = {
    "reduced basis": lambda: bad_part(reduced, "transposed", lambda x: 1.0001 * x),
    "V-cycle": lambda: bad_part(lambda: VCycle(exact()), "transposed", lambda x: x + 1e-3 * x[::-1]),
    "coarse mesh": lambda: shifted(MAKE["coarse mesh"]()),
    "no symmetric smoothing": lambda: one_sided(VCycle(exact())),
}


def shifted(surrogate):
    right = surrogate.observations.down
    surrogate.observations.down = lambda w: right(np.roll(w, 1))
    return surrogate


def one_sided(surrogate):
    """With Gauss-Seidel sweeps forward before and after: what stands for its transpose is not that."""
    lower = sp.tril(surrogate._matrix).tocsc()
    cycle, solve = surrogate._cycle, sp.linalg.splu(lower).solve

    def apply(b):
        x = solve(b)
        x = x + cycle @ (b - surrogate._matrix @ x)
        return x + solve(b - surrogate._matrix @ x)

    surrogate.inverse = surrogate.transposed = apply
    return surrogate


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_transpose_is_seen(name):
    assert verify.adjoint_error(WRONG[name]()) > 1e-6


OF_DRIVEN = {
    "sines": lambda map: SineGalerkin(map, 3),
    "V-cycle": VCycle,
    "reduced basis": lambda map: ReducedBasis(map, [map.solve(map.control.zeros() + 1.0)]),
    "coarse mesh": lambda map: CoarseMesh(exact(DRIVEN, 4), map),
    "another equation": lambda map: Surrogate(exact(), map),
}


@pytest.mark.parametrize("make", OF_DRIVEN.values(), ids=OF_DRIVEN)
def test_what_data_make_without_control_is_exact_and_costs_one_solve(make):
    map = pc.discretise(DRIVEN, pc.unit_square(N))
    surrogate, zero = make(map), map.control.zeros()
    before = map.solves.total
    y = [surrogate.solve(u) for u in (zero, zero + 1.0, zero)]
    assert map.solves.total - before <= 1 and np.abs(y[0] - map.solve(zero)).max() < 1e-13
    assert np.array_equal(y[0], y[2]) and verify.adjoint_error(surrogate) < 1e-13


UNFORCED = pc.Parabolic(pc.Elliptic(), T=1.0, steps=4)
ZERO = {"boundary": pc.Dirichlet()}
MOVING = {"boundary": pc.Dirichlet(lambda x, t: t)}


@pytest.mark.parametrize(
    "problem",
    [
        PROBLEM,
        replace(PROBLEM, equation=pc.Elliptic()),
        SEMILINEAR,
        replace(SEMILINEAR, boundary={"left": pc.Neumann(1.0), "right": pc.Dirichlet()}),
        heat(4),
        replace(heat(4), equation=UNFORCED, boundary=ZERO),
        replace(heat(4), equation=UNFORCED, boundary=MOVING),
    ],
)
def test_equations_without_data_are_known_by_their_state_without_control(problem):
    map = exact(problem, 4)
    assert undriven(map) == (not map.solve(map.control.zeros()).any())


HARD = ("jump", "interface", "part", "disc", "variational", "tracked", "uneven", "points", "quasilinear", "actuators")
ROUGH = ("initial value on a part", "3D", "quasilinear", "diffusion by part")
CASES = [case for case in cases.STEADY + cases.PARABOLIC if any(word in case.name for word in HARD)]


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_meshes_twice_as_coarse_serve_all_problems(case):
    fine = pc.discretise(case.problem, case.mesh.refine(), pc.Embedded(case.degree))
    surrogate, u = CoarseMesh(case.map, fine), case.size * smooth_start(fine.control)
    assert verify.adjoint_error(surrogate, u) < 1e-12
    y, without, norm = fine.solve(u), fine.solve(fine.control.zeros()), fine.observation.norm
    assert norm(surrogate.solve(fine.control.zeros()) - without) <= 1e-9 * norm(without)
    share = 0.9 if any(word in case.name for word in ROUGH) else 0.15
    assert norm(surrogate.solve(u) - y) <= share * norm(y - without)


@pytest.mark.parametrize("changes", [{}, {"tracking": pc.Tracking(1.0, times="final")}, {"control": pc.InitialValue()}])
@pytest.mark.parametrize("steps", [16, 8])
def test_a_coarse_map_may_take_fewer_steps_in_time(changes, steps):
    fine, coarse = exact(heat(16, **changes)), exact(heat(steps, **changes), 8)
    surrogate, u = CoarseMesh(coarse, fine), fine.control.interpolate(lambda x: np.cos(3 * x[0]))
    assert verify.adjoint_error(surrogate) < 1e-13 and not surrogate.exact
    y, norm = fine.solve(u), fine.observation.norm
    assert norm(surrogate.solve(u) - y) <= 0.25 * norm(y - fine.solve(0 * u))


def test_sines_are_refused_where_states_are_free_on_a_side():
    with pytest.raises(ProblemError, match="Dirichlet conditions on all sides"):
        SineGalerkin(exact(replace(DRIVEN, boundary={"left": pc.Dirichlet()})), 4)


EVOLUTIONS = [case for case in cases.PARABOLIC if "3D" not in case.name]


@pytest.mark.parametrize("case", EVOLUTIONS, ids=repr)
def test_a_reduced_march_has_the_trajectories_that_it_is_made_of(case):
    map, generator = case.fresh_map(), np.random.default_rng(8)
    us = [case.control() * size for size in (1.0, -2.0)] + [generator.standard_normal(map.control.size)]
    surrogate = ReducedMarch(map, [map.at(u).full_state() for u in us])
    assert surrogate.affine and not surrogate.exact and verify.adjoint_error(surrogate) < 1e-12
    before = map.solves.total
    u, y, norm = us[0] + us[2], map.solve(us[0] + us[2]), map.observation.norm
    at, counted = surrogate.at(u), surrogate.solves.total
    assert norm(at.value - y) <= 1e-7 * norm(y)
    assert norm(surrogate.at(0 * u).value - map.solve(0 * u)) <= 1e-12 * norm(y)
    assert at.error == at.solve_adjoint(y).error == np.inf
    assert map.solves.total == before + 2 and surrogate.solves.total == counted + 3


def test_fewer_modes_of_trajectories_are_worse_and_wrong_ones_are_refused():
    map = exact(heat(8), 8)
    us = [map.control.interpolate(lambda x, t, k=k: np.sin(k * x[0]) * np.cos(t + x[1])) for k in range(1, 7)]
    states, u = [map.at(u).full_state() for u in us], us[2]
    errors = [map.observation.norm(ReducedMarch(map, states, k).solve(u) - map.solve(u)) for k in (1, 4, 10)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2] > 0
    with pytest.raises(ProblemError, match="affine parabolic equation"):
        ReducedMarch(exact(), [exact().solve(exact().control.zeros())])
    with pytest.raises(DataError, match="snapshots are finite states"):
        ReducedMarch(map, states[0][1:])
    with pytest.raises(DataError, match="all the state without control"):
        ReducedMarch(map, map.at(0 * u).full_state())


def test_a_wrong_transpose_of_a_reduced_march_is_seen():
    map = exact(heat(8), 8)
    surrogate = ReducedMarch(map, map.at(map.control.zeros() + 1.0).full_state(), 3)
    steps = surrogate._march.linear
    right = steps.backward
    steps.backward = lambda functionals, *rest: right(functionals[::-1], *rest)
    assert verify.adjoint_error(surrogate) > 1e-6


CURVED = [case for case in cases.NONLINEAR if "3D" not in case.name]
CURVED += [case for case in cases.NONLINEAR_PARABOLIC if case.name in ("cubic in time", "bilinear in time")]


@pytest.mark.parametrize("case", CURVED, ids=repr)
def test_coarse_meshes_of_nonlinear_equations_have_first_and_second_derivatives(case):
    fine = pc.discretise(case.problem, case.mesh.refine(), pc.Embedded(case.degree))
    surrogate, u = CoarseMesh(case.map, fine), case.size * smooth_start(fine.control)
    assert surrogate.twice and not surrogate.affine and verify.adjoint_error(surrogate, u) < 1e-12
    assert np.abs(verify.tangent_rates(surrogate, u) - 2.0).max() < 0.1
    assert np.abs(verify.hessian_rates(surrogate, u) - 3.0).max() < 0.15
    right = surrogate.observations.down
    surrogate.observations.down = lambda w: 1.01 * right(w)
    assert verify.adjoint_error(surrogate, u) > 1e-6
