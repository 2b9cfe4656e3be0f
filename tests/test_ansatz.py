"""Trial functions satisfy conditions exactly, whatever the weights are, and their derivatives are those of them."""

import numpy as np
import pytest
from trial_cases import CASES, edge, random_network

from pdecontrol.pinn.functions.domain import Domain
from pdecontrol.pinn.functions.factors import Kink, loops_of
from pdecontrol.pinn.functions.sampling import draw
from pdecontrol.problem import Circle, Interface, Star

DRAWS = 10
AXIS = np.array([[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
STEP = 2.5e-4
NODES = np.array([1, 2, -1, -2])
FIRST = np.array([8, -1, -8, 1]) / 12


def networks(ansatz):
    generator = np.random.default_rng(1729)
    return [random_network(ansatz, generator) for _ in range(DRAWS)]


def on_edges(domain):
    """Points of the boundary, its corners among them."""
    share = np.linspace(0, 1, 57)
    (left, right), (bottom, top) = domain.box
    sides = [(np.full(57, x), bottom + (top - bottom) * share) for x in (left, right)]
    sides += [(left + (right - left) * share, np.full(57, y)) for y in (bottom, top)]
    return np.hstack(sides).round(9)  # functions see points rounded to twelve decimals


def on_curve(domain, tag, t):
    """1000 points of an interface and more."""
    shape = domain.shape(tag, t)
    loop = np.hstack(loops_of(domain, tag, shape))
    return shape.project(loop[:, np.arange(1000) % loop.shape[1]] + 1e-3 * np.sin(np.arange(2000)).reshape(2, -1))


@pytest.mark.parametrize("name", CASES)
def test_boundary_values_are_exact(name):
    case = CASES[name]
    x = on_edges(case.domain)
    for t in case.times:
        places, wanted = case.domain.places(x, t), edge(x, t or 0.0)
        state, adjoint = (space.value(places) for space in case.spaces)
        for network in networks(case.spaces[0]):
            assert np.abs(network.apply(state) - wanted).max() <= 1e-13 * np.abs(wanted).max()
            assert not network.apply(adjoint).any()
        assert np.abs(state.inputs[2] - 1).max() == 0.0


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.interface])
def test_jumps_are_exact(name):
    case = CASES[name]
    for t in case.times:
        for tag, item in case.interface.items():
            x = on_curve(case.domain, tag, t)
            sides = [case.domain.on(tag, x, inner, t) for inner in (False, True)]
            wanted = case.domain.values(item.value, sides[0], "the jump")
            (y_outer, y_inner), (p_outer, p_inner) = ([space.value(side) for side in sides] for space in case.spaces)
            for network in networks(case.spaces[0]):
                assert np.abs(network.apply(y_outer) - network.apply(y_inner) - wanted).max() <= 1e-12
                assert np.abs(network.apply(p_outer) - network.apply(p_inner)).max() <= 1e-12


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.interface])
def test_normal_derivatives_have_jumps_that_weights_decide_upon(name):
    case = CASES[name]
    t = None if case.domain.span is None else 0.4
    for tag in case.interface:
        x = on_curve(case.domain, tag, t)
        normal = case.domain.shape(tag, t).normal(x)
        for space in case.spaces:
            outer, inner = (space.first(case.domain.on(tag, x, side, t)) for side in (False, True))
            jumps = []
            for network in networks(space)[:2]:
                slopes = [np.array([network.apply(op) for op in side[1:]]) for side in (outer, inner)]
                jumps.append(((slopes[0] - slopes[1]) * normal).sum(axis=0) / space.size)
            assert np.abs(jumps[1] - jumps[0]).max() > 0.3


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.initial is not None])
def test_initial_values_of_states_and_final_ones_of_adjoint_states_are_exact(name):
    case = CASES[name]
    x = np.random.default_rng(4104).uniform(-1, 1, (2, 500))
    begin, end = (case.domain.places(x, t) for t in case.domain.span)
    wanted = case.domain.values(case.initial, begin, "the initial value")
    (y_begin, y_end), (p_begin, p_end) = ([space.value(at) for at in (begin, end)] for space in case.spaces)
    for network in networks(case.spaces[0]):
        assert np.abs(network.apply(y_begin) - wanted).max() <= 1e-15 * np.abs(wanted).max()
        assert not network.apply(p_end).any()
        assert np.abs(network.apply(p_begin)).max() > 1e-2 < np.abs(network.apply(y_end) - edge(x, 1.2)).max()


def smooth_points(ansatz, t, count=400):
    """Points around which phi is smooth, away from interfaces and from where phi becomes constant."""
    domain = ansatz.domain
    low, high = np.array(domain.box).T[:, :, None]
    x = low + (high - low) * np.random.default_rng(13832).uniform(0.01, 0.99, (2, count))

    def kind(x):
        places = domain.places(x, t)
        return np.vstack([places.inside, ansatz.kink(places).gradient.any(axis=0)])

    around = [kind(x + 3 * STEP * unit[:, None]) for unit in AXIS.T]
    return x[:, np.all([(other == kind(x)).all(axis=0) for other in around], axis=0)]


def close(found, wanted):
    return np.abs(found - wanted).max() <= 1e-6 * max(np.abs(wanted).max(), 1.0)


@pytest.mark.parametrize("kind", ["spaces", "free"])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_the_values(name, kind):
    case = CASES[name]
    for ansatz in getattr(case, kind):
        network = random_network(ansatz, np.random.default_rng(20683))

        def applied(x, t, what, ansatz=ansatz, network=network):
            operators = getattr(ansatz, what)(ansatz.domain.places(x, t))
            return np.array([network.apply(op) for op in (operators if isinstance(operators, tuple) else [operators])])

        for t in case.times:
            x = smooth_points(ansatz, t)
            assert x.shape[1] > 150
            found = applied(x, t, "second")
            assert np.array_equal(found[0], applied(x, t, "value")[0])
            assert np.array_equal(found[:3], applied(x, t, "first"))
            shifts = [[x + k * STEP * np.eye(2)[:, [axis]] for k in NODES] for axis in (0, 1)]
            # (axis, of value and slopes, n)
            slopes = np.array([np.tensordot(FIRST, [applied(y, t, "first") for y in s], 1) for s in shifts]) / STEP
            assert close(found[1], slopes[0, 0]) and close(found[2], slopes[1, 0])
            assert close(found[3], slopes[0, 1] + slopes[1, 2])
            if t is not None and t not in case.domain.span:
                assert close(found[4], FIRST @ [applied(x, t + k * STEP, "value")[0] for k in NODES] / STEP)


def test_labels_tell_parts_apart():
    for name, wanted in (
        ("circle", {-1.0, 1.0}),
        ("two", {-1.0, 0.0, 1.0}),
        ("nested", {-1.0, 0.0, 1.0}),
        ("none", {1.0}),
    ):
        case = CASES[name]
        places = draw(case.domain, 500, 0, 0, np.random.default_rng(39312)).interior[0]
        labels = case.free[0].kink(places).value
        assert set(labels) == wanted
        assert all(np.unique(labels[case.domain.part(places, tag)]).size == 1 for tag in case.domain.tags)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_kinks_do_not_depend_on_the_unit_of_length(unit):
    x = np.random.default_rng(7).uniform(-1, 1, (2, 200))
    for state in (lambda s: Circle(0.5 * s), lambda s: Star(0.5 * s, 0.1 * s, arms=3)):
        values = []
        for scale in (1.0, unit):
            domain = Domain(((-scale, scale), (-scale, scale)), {"gamma": Interface(state(scale))}, "outside")
            values.append(Kink(domain)(domain.places(scale * x)).value)
        assert np.abs(values[0] - values[1]).max() < 1e-9
