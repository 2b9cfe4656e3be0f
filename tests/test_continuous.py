"""Bounds to the continuous optimum: values, orders, random problems beside finer meshes, and planted errors."""

from dataclasses import replace

import numpy as np
import pytest
from continua import judgements, sample

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.continuous import bound, corners, routes, statement
from pdecontrol.continuous.bound import Estimator

DIRICHLET = {"boundary": pc.Dirichlet()}


def solved(problem, n, degree=1):
    mesh = pc.unit_square(n)
    return pc.solve(problem, mesh, pc.Embedded(degree=degree), continuous=True)


def error(exact, result, n):
    """The distance of the control to the exact one."""
    x, weights = sample(pc.unit_square(n), order=4)
    return float(np.sqrt(weights @ (result.control(x) - exact.control(x)) ** 2))


# -- values and orders -----------------------------------------------------------------------------------------------

EXACT = {
    "E1": reference.box, "mother": reference.poisson, "S1": reference.stadler,
    "ccdist1": lambda alpha: reference.boundary_observation(),
}  # fmt: skip
VALUES = [  # bounds at n = 32, where it is known, and 64, and the most that they may be of the error
    ("E1", 1e-2, 1.47e-2, 3.63e-3, 5), ("E1", 1e-3, 3.57e-2, 8.80e-3, 5), ("E1", 1e-4, 1.04e-1, 2.55e-2, 5),
    ("E1", 1e-5, 3.23e-1, 7.87e-2, 5), ("mother", 1e-2, None, 1.06e-4, 5), ("mother", 1e-4, None, 1.45e-3, 5),
    ("mother", 1e-6, None, 1.28e-2, 12), ("ccdist1", 1.0, None, 1.18e-3, 8), ("S1", 1e-4, None, 8.7e-2, 0),
    ("S1", 1e-5, None, 5.8e-1, 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "alpha", "coarse", "fine", "most"), VALUES)
def test_values_and_orders_of_degree_1(name, alpha, coarse, fine, most):
    exact = EXACT[name](alpha)
    results = [solved(exact.problem, n) for n in (32, 64)]
    bounds = [result.certificate.continuous.bound for result in results]
    assert coarse is None or bounds[0] == pytest.approx(coarse, rel=0.02)
    assert bounds[1] == pytest.approx(fine, rel=0.02)
    assert abs(np.log2(bounds[0] / bounds[1]) - 2) < 0.1
    if exact.control is not None:
        errors = [error(exact, result, n) for result, n in zip(results, (32, 64), strict=True)]
        assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.1
        assert 1 <= bounds[1] / errors[1] <= most
        assert errors[1] > results[1].certificate.bound  # which is one to the discrete optimum alone


@pytest.mark.parametrize(
    ("name", "alpha", "fine", "most"),
    [("E1", 1e-2, 3.83e-4, 9), ("E1", 1e-4, 1.98e-3, 45), ("mother", 1e-4, 1.07e-4, 18), ("S1", 1e-4, 1.46e-2, 0)],
)
def test_values_and_orders_of_degree_2(name, alpha, fine, most):
    exact = EXACT[name](alpha)
    results = [solved(exact.problem, n, 2) for n in (16, 32)]
    bounds = [result.certificate.continuous.bound for result in results]
    assert bounds[1] == pytest.approx(fine, rel=0.02) and abs(np.log2(bounds[0] / bounds[1]) - 3) < 0.1
    if exact.control is not None:
        errors = [error(exact, result, n) for result, n in zip(results, (16, 32), strict=True)]
        assert abs(np.log2(errors[0] / errors[1]) - 3) < 0.2
        assert 1 <= bounds[1] / errors[1] <= most


# -- random problems -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(8))
def test_bounds_of_random_problems(number):
    """240 certificates in all of 40 problems, and those of states, gaps and given controls."""
    found = [each for i in range(5) for each in judgements(np.random.default_rng([number, i]), 6, given=True)]
    assert len(found) == 45 and all(np.isfinite(each.bound) for each in found)
    assert not [each for each in found if each.violated]
    ratios = [each.ratio for each in found if each.informative]
    assert len(ratios) >= 12 and min(ratios) >= 1


def test_given_controls_are_compared_with_the_reference_itself():
    """Its interpolant, which is zero, is far from it."""
    r = reference.sines(8)
    terms = [pc.Tikhonov(1.0, reference=r)]
    problem = pc.ControlProblem(pc.Elliptic(), pc.Distributed(), pc.Tracking(0.0), terms, DIRICHLET)
    with pc.discretise(problem, pc.unit_square(8)) as map:
        known = pc.certify(problem, 0.0, map, continuous=True).continuous
    assert 0.499 < known.bound < 0.55  # u* = r / (1 + (128 pi^2)^-2)
    assert solved(problem, 8).certificate.continuous.norm < 0.5


@pytest.mark.parametrize("degree", [1, 2])
def test_nothing_to_do_has_a_bound_of_nothing(degree):
    problem = pc.ControlProblem(pc.Elliptic(), pc.Distributed(), pc.Tracking(0.0), [pc.Tikhonov(1e-3)], DIRICHLET)
    known = solved(problem, 4, degree).certificate.continuous
    assert known.bound < 1e-300 and known.norm == 0.0 and np.isfinite(known.parts).all()
    assert pc.solve(problem, pc.unit_square(4), pc.Embedded(degree=degree), total_atol=1e-9).success


@pytest.mark.parametrize("term", [pc.Tikhonov(1e-3, np.ones(25)), pc.Box(-np.ones(25), 1.0)])
def test_arrays_belong_to_one_mesh_and_have_neither_bound_nor_estimate(term):
    terms = [term] if isinstance(term, pc.Tikhonov) else [pc.Tikhonov(1e-3), term]
    result = solved(pc.ControlProblem(pc.Elliptic(), pc.Distributed(), pc.Tracking(1.0), terms, DIRICHLET), 4)
    known = result.certificate.continuous
    assert result.success and known.bound is None and "is an array" in known.assumption
    assert result.certificate.discretisation is None


# -- planted errors --------------------------------------------------------------------------------------------------

WEIGHTED = replace(
    reference.box(1e-3).problem, tracking=replace(reference.box(1e-3).problem.tracking[0], weight=100.0)
).with_weights(alpha=0.1)  # of which the optimum is that of E1


def flux():
    """-Lap y + y = u + f with the flux 1 on the right and -1 on the left: u* = -cos cos."""

    def cosines(x):
        return np.cos(np.pi * x).prod(axis=0)

    equation = pc.Elliptic(reaction=1.0, source=lambda x: x[0] + cosines(x))
    target = pc.Tracking(lambda x: x[0] - 1e-2 * (2 * np.pi**2 + 1) * cosines(x))
    conditions = {"left": pc.Neumann(-1.0), "right": pc.Neumann(1.0)}
    problem = pc.ControlProblem(equation, pc.Distributed(), target, [pc.Tikhonov(1e-2)], conditions)
    return reference.Reference(problem, lambda x: -cosines(x))


def bent(size=30.0):
    """A reference r that is farther from its interpolant than states of degree 2 err by; y_d = S r, so that u* = r."""

    def parabola(x):
        return x * (1 - x)

    def r(x):
        return 2 * size * (parabola(x[0]) + parabola(x[1]))

    target = pc.Tracking(lambda x: size * parabola(x[0]) * parabola(x[1]))
    problem = pc.ControlProblem(
        pc.Elliptic(), pc.Distributed(), target, [pc.Tikhonov(2.6e-3, reference=r)], DIRICHLET
    )  # fmt: skip
    return reference.Reference(problem, r)


def nothing(self, point):
    return np.zeros(self.optimality.statement.volumes.size)


def no_adjoint(patch):
    patch.setattr(Estimator, "_adjoint", nothing)


def no_state(patch):
    patch.setattr(Estimator, "_state", nothing)


def tenth(patch):
    for module in (routes, corners):
        right = module.interpolation_constants
        patch.setattr(module, "interpolation_constants", lambda cells, right=right: right(cells) / 10)


def turned_flux(patch):
    right = statement._flux
    patch.setattr(statement, "_flux", lambda *data: -right(*data))


def no_weight(patch):
    right = statement.stated

    def stated(*data):
        found = right(*data)
        return replace(found, weight=np.minimum(found.weight, 1.0))

    patch.setattr("pdecontrol.continuous.analysis.stated", stated)


def least(patch):
    right = bound.Form.lowest.func
    patch.setattr(bound.Form, "lowest", property(lambda self: 10 * right(self)))


CAUGHT = {
    "no error of the adjoint state": (no_adjoint, reference.poisson(1e-2), 16, 1),
    "no error of the state": (no_state, reference.box(1e-3), 16, 1),
    "a tenth of the constants": (tenth, reference.box(1e-3), 16, 1),
    "fluxes of the other sign": (turned_flux, flux(), 16, 1),
    "no weight of what is tracked": (no_weight, reference.Reference(WEIGHTED, reference.box(1e-3).control), 16, 1),
    "ten times the lowest eigenvalue": (least, bent(), 8, 2),
}


@pytest.mark.parametrize("name", CAUGHT)
def test_planted_errors_make_bounds_too_small(name, monkeypatch):
    plant, exact, n, degree = CAUGHT[name]
    result = solved(exact.problem, n, degree)
    assert error(exact, result, n) <= result.certificate.continuous.bound
    plant(monkeypatch)
    result = solved(exact.problem, n, degree)
    assert error(exact, result, n) > result.certificate.continuous.bound
