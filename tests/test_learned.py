"""h, g and phi that are learned or given: conditions that trial functions have from them, and planted errors."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pdecontrol import interface_reference as reference
from pdecontrol.errors import DataError, ProblemError
from pdecontrol.pinn.functions.ansatz import Ansatz
from pdecontrol.pinn.functions.domain import Domain, domain_of
from pdecontrol.pinn.functions.factors import steepness
from pdecontrol.pinn.functions.given import Given, given_factor, given_kink, given_lifting
from pdecontrol.pinn.functions.jet import jet_of
from pdecontrol.pinn.functions.learned import learned_factor, learned_kink, learned_lifting
from pdecontrol.pinn.networks.deep import drawn
from pdecontrol.problem import Dirichlet, Interface
from pdecontrol.problem.shapes import Circle, Ellipse, Moving, Star

BOX = ((-1.0, 1.0), (-1.0, 1.0))
DOMAIN = Domain(BOX, {"gamma": Interface(Circle(0.5))}, "outside")
TURN = np.linspace(0.03, 6.2, 301)
CIRCLE = 0.5 * np.array([np.cos(TURN), np.sin(TURN)])


def boundary(domain, count=301):
    share = np.linspace(0, 1, count)
    (left, right), (bottom, top) = domain.box
    x, y = left + (right - left) * share, bottom + (top - bottom) * share
    edges = [np.array([np.full(count, side), y]) for side in (left, right)]
    return np.hstack([*edges, *(np.array([x, np.full(count, side)]) for side in (bottom, top))])


def inside(domain, count=300, seed=9):
    low, high = np.array(domain.box).T[:, :, None]
    return low + (high - low) * np.random.default_rng(seed).uniform(0.02, 0.98, (2, count))


@cache
def learned(box=BOX):
    """h, g and phi of the reference problem on the circle, in a rectangle around it."""
    problem = reference.circle().problem
    domain = domain_of(problem, box)
    lifting = learned_lifting(domain, dict(problem.boundary), {"gamma": lambda x: x[0] * x[1]})
    return domain, learned_factor(domain), lifting, learned_kink(domain)


@pytest.mark.parametrize("box", [BOX, ((-0.8, 3.0), (-2.0, 1.5))])
def test_learned_functions_satisfy_their_conditions(box):
    domain, factor, lifting, kink = learned(box)
    points = boundary(domain)
    edge, state = domain.places(points), reference.circle().state["outside"](points)
    assert np.abs(factor(edge).value).max() < 1e-11
    assert np.abs(lifting(edge).value - state).max() < 1e-7 * np.abs(state).max()
    outer, inner = (domain.on("gamma", CIRCLE, side) for side in (False, True))
    jump = lifting(outer).value - lifting(inner).value
    assert np.abs(jump - CIRCLE[0] * CIRCLE[1]).max() < 1e-12
    assert np.abs(kink(outer).value - kink(inner).value).max() < 1e-8
    assert np.abs((kink(inner).gradient * CIRCLE / 0.5).sum(axis=0) - steepness(domain)).max() < 1e-8
    assert factor(domain.places(inside(domain))).value.min() > 0


def test_the_learned_factor_is_a_product_of_cosines_and_the_kink_has_a_constant_laplacian():
    domain, factor, _, kink = learned()
    points = inside(domain)
    places = domain.places(points)
    assert np.abs(factor(places).value - np.cos(np.pi / 2 * points).prod(axis=0)).max() < 1e-3
    assert np.abs(kink(places).laplacian - 16.0 * places.inside[0]).max() < 0.5


@pytest.mark.parametrize("which", [1, 2, 3])
def test_derivatives_of_learned_functions_agree_with_differences(which):
    domain, *functions = learned()
    points = inside(domain)
    places = domain.places(points[:, np.abs(np.hypot(*points) - 0.5) > 0.02])
    function = functions[which - 1]
    found = function(places)
    wanted = jet_of(lambda x: function(places._replace(points=x)).value, places.points, domain.diameter, "it")
    assert np.abs(found.gradient - wanted.gradient).max() < 1e-6 * np.abs(wanted.gradient).max()
    assert np.abs(found.laplacian - wanted.laplacian).max() < 1e-4 * np.abs(wanted.laplacian).max()


def test_a_trial_function_with_learned_parts_has_boundary_values_and_jumps_whatever_its_network_is():
    domain, factor, lifting, kink = learned()
    ansatz = Ansatz(domain, factor, kink, lifting)
    points = boundary(domain)
    for seed in range(3):
        network = drawn(3, (20,), "tanh", np.random.default_rng(seed))
        values = network.apply(ansatz.value(domain.places(points)))
        assert np.abs(values - reference.circle().state["outside"](points)).max() < 1e-7
        outer, inner = (network.apply(ansatz.value(domain.on("gamma", CIRCLE, side))) for side in (False, True))
        assert np.abs(outer - inner - CIRCLE[0] * CIRCLE[1]).max() < 1e-8


def test_learned_boundary_values_that_depend_on_time_have_their_rate():
    domain = replace(DOMAIN, span=(0.0, 2.0))
    value = Dirichlet(lambda x, t: np.cos(t) * np.sin(x[0] + 2 * x[1]))
    lifting = learned_lifting(domain, {"boundary": value}, {"gamma": 0.0})
    points = boundary(domain)
    found, wave = lifting(domain.places(points, 1.3)), np.sin(points[0] + 2 * points[1])
    assert np.abs(found.value - np.cos(1.3) * wave).max() < 1e-7
    assert np.abs(found.rate + np.sin(1.3) * wave).max() < 1e-6


@pytest.mark.parametrize("shape", [Ellipse((0.6, 0.3), angle=0.5), Star(0.5, 0.05, arms=3)])
def test_other_shapes_have_a_learned_kink(shape):
    domain = Domain(BOX, {"gamma": Interface(shape)}, "outside")
    kink, points = learned_kink(domain), np.hstack(shape.curves(0.013, 0.1, BOX))
    outer, inner = (kink(domain.on("gamma", points, side)) for side in (False, True))
    assert np.abs(outer.value - inner.value).max() < 1e-5
    slopes = ((outer.gradient - inner.gradient) * shape.normal(points)).sum(axis=0)
    assert np.abs(slopes + 4).max() < 1e-4


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Star(0.5, 0.2, arms=5), "is too crooked"),
        (Moving(lambda t: Circle(0.4, (0.1 * t, 0.0))), "moves"),
    ],
)
def test_shapes_without_a_learned_kink_are_refused(shape, message):
    domain = Domain(BOX, {"gamma": Interface(shape)}, "outside", span=(0.0, 1.0))
    with pytest.raises(ProblemError, match=f"interface 'gamma'.*{message}"):
        learned_kink(domain)


def test_boundary_values_that_are_not_smooth_are_refused():
    with pytest.raises(DataError, match="the Dirichlet value is not smooth near x = "):
        learned_lifting(DOMAIN, {"boundary": Dirichlet(lambda x: np.abs(x[0] - 0.3))}, {"gamma": 0.0})


def bubble(x):
    return (x[0] ** 2 - 1) * (x[1] ** 2 - 1)


def paraboloid(x):
    return 4 * (x**2).sum(axis=0)


def lifted(x):
    return (x[0] ** 2 * x[1] ** 2 + 1) ** 1.5 / 10 + 0.9 / 8


PROBLEM = reference.circle().problem


def test_the_published_functions_are_taken_with_their_derivatives():
    factor, kink = given_factor(DOMAIN, bubble), given_kink(DOMAIN, {"inside": paraboloid, "outside": 1.0})
    lifting = given_lifting(DOMAIN, lifted, PROBLEM.boundary, {"gamma": 0.0})
    points = inside(DOMAIN)
    places = DOMAIN.places(points)
    x, y = points
    assert np.abs(factor(places).gradient - 2 * np.array([x * (y**2 - 1), y * (x**2 - 1)])).max() < 1e-9
    assert np.abs(factor(places).laplacian - 2 * (x**2 + y**2 - 2)).max() < 1e-6
    assert np.abs(kink(places).laplacian - 16.0 * places.inside[0]).max() < 1e-6
    slope = 0.3 * x * y**2 * (x**2 * y**2 + 1) ** 0.5
    assert np.abs(lifting(places).gradient[0] - slope).max() < 1e-9


def test_given_functions_may_depend_on_time_part_by_part():
    domain = replace(DOMAIN, span=(0.0, 2.0))
    wave = Given(domain, {"inside": lambda x, t: x[0] * np.exp(t), "outside": 2.0}, "g")
    places = domain.places(inside(domain), 1.7)
    found, wanted = wave(places), np.where(places.inside[0], places.points[0] * np.exp(1.7), 0.0)
    assert np.abs(found.rate - wanted).max() < 1e-8
    assert np.abs(found.value - wanted - 2.0 * ~places.inside[0]).max() < 1e-11


BAD = {
    "h on the boundary": (given_factor, (lambda x: bubble(x) + 1e-3,), "h on the boundary is 0.001 at x = "),
    "the sign of h": (given_factor, (lambda x: x[0] * bubble(x),), "of the other sign"),
    "g on the boundary": (
        given_lifting, (lambda x: lifted(x) + 1e-3 * (x[0] > 0.99), PROBLEM.boundary, {}), "g on the right side is",
    ),
    "a jump of g": (
        given_lifting, ({"inside": lambda x: lifted(x) + 1e-3, "outside": lifted}, PROBLEM.boundary, {"gamma": 0.0}),
        "the jump of g on 'gamma' is -0.001 at x = .* but that of y is 0 there",
    ),
    "a missing jump of g": (given_lifting, (lifted, PROBLEM.boundary, {"gamma": 0.1}), "but that of y is 0.1 there"),
    "a jump of phi": (given_kink, ({"inside": lambda x: paraboloid(x) + 1e-3, "outside": 1.0},), "the jump of phi on"),
    "a smooth phi": (given_kink, ({"inside": paraboloid, "outside": paraboloid},), "phi has no kink on 'gamma'"),
    "a flat phi": (
        given_kink, ({"inside": lambda x: 1 + (paraboloid(x) - 1) ** 2, "outside": 1.0},), "phi has no kink on 'gamma'",
    ),
    "a phi for all parts": (given_kink, (paraboloid,), "give it part by part"),
    "a phi for one part": (given_kink, ({"inside": paraboloid},), r"the parts \['inside'\] leave out"),
}  # fmt: skip


@pytest.mark.parametrize("error", BAD)
def test_planted_errors_are_refused(error):
    check, arguments, message = BAD[error]
    with pytest.raises(DataError, match=message):
        check(DOMAIN, *arguments)


def test_a_given_lifting_has_the_initial_values():
    domain = replace(DOMAIN, span=(0.0, 1.0))
    growing = {"boundary": Dirichlet(lambda x, t: (1 + t) * lifted(x))}
    given_lifting(domain, lambda x, t: (1 + t) * lifted(x), growing, {}, lifted)
    with pytest.raises(DataError, match="g at the initial time"):
        given_lifting(domain, lambda x, t: (1 + t) * lifted(x), growing, {}, lambda x: lifted(x) + 1e-3 * bubble(x))
    with pytest.raises(DataError, match="g on the left side"):
        given_lifting(domain, lifted, growing, {})
