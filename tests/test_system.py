"""The rows of the optimality system: exact solutions satisfy them, wrong signs do not, gradients are those of J."""

from dataclasses import replace

import numpy as np
import pytest
from marks import needs_gmsh
from scipy.linalg import lstsq
from test_interface_reference import FIRST, NODES, differences
from trial_cases import CASES, SQUARE, random_network

import pdecontrol as pc
from pdecontrol import interface_reference as reference
from pdecontrol.pinn.checks import checked_domain
from pdecontrol.pinn.features import random_features
from pdecontrol.pinn.functions.ansatz import Ansatz, hard, soft
from pdecontrol.pinn.functions.jet import Jet, constant
from pdecontrol.pinn.functions.lifting import Lifting
from pdecontrol.pinn.functions.projection import projection
from pdecontrol.pinn.functions.sampling import draw
from pdecontrol.pinn.system.system import System
from pdecontrol.pinn.training.collocation import Collocation
from pdecontrol.pinn.training.training import Task
from pdecontrol.problem import L1
from pdecontrol.space import Space
from pdecontrol.terms.control import ControlCost

EXACT = {
    "circle": reference.circle(),
    "circle without bounds": reference.circle(bounds=(-np.inf, np.inf)),
    "scaled": reference.scaled(),
    "scaled, other contrast": reference.scaled((1e3, 1.0)),
    "control on the circle": reference.control_on_circle(),
    "flux control": reference.flux_control(),
    "heat": reference.heat(4),
}


def exact_jet(domain, sides, places):
    """The jet of a function that is given on both sides, by differences of order eight."""
    total, time = constant(0.0, places.points.shape[1]), () if places.t is None else (places.t,)
    for tag, function in sides.items():
        x, chosen = places.points, domain.part(places, tag)
        rate = np.zeros(x.shape[1])
        if time:
            rate = FIRST @ np.array([function(x, places.t + s) for s in NODES])
        total = total + Jet(function(x, *time), *differences(function, x, *time), rate).where(chosen)
    return total


def known(domain, sides):
    """A trial space without a network: the function itself."""

    def nothing(places):
        return constant(0.0, places.points.shape[1])

    return Ansatz(domain, nothing, nothing, lambda places: exact_jet(domain, sides, places))


def smooth(sample):
    """Those points at which r^3 is smooth enough for differences."""
    return sample._replace(interior=[p.only(np.hypot(*p.points) > 0.4) for p in sample.interior])


def exact_system(exact, soft=None, changed=smooth, state=known, adjoint=known):
    """The system in the exact solution."""
    domain = checked_domain(exact.problem, SQUARE)
    count = 600 if domain.span is None else 40
    sample = changed(smooth(draw(domain, count, 120, 80, np.random.default_rng(87539))))
    return System(exact.problem, state(domain, exact.state), adjoint(domain, exact.adjoint), sample, soft)


def offset(operator):
    """L N for N = 0."""
    return operator.offset


def largest(system):
    """The largest row of each block, by its name, whatever the number of rows."""
    return {
        block.name: np.abs(block.residual(offset, offset)).max() * np.sqrt(block.load.size) for block in system.blocks
    }


@pytest.mark.parametrize("name", EXACT)
def test_exact_solutions_satisfy_all_rows(name):
    found = largest(exact_system(EXACT[name], soft=(1.0, 1.0)))
    assert max(found.values()) <= 1e-9, found
    assert len(found) == (10 if name == "heat" else 8)


def turned(sample):
    """Normals to the other side."""
    curves = {tag: [s._replace(normal=-s.normal) for s in pieces] for tag, pieces in sample.curves.items()}
    return sample._replace(curves=curves)


def exchanged(sample):
    """The outer side for the inner one."""
    curves = {tag: [s._replace(outer=s.inner, inner=s.outer) for s in pieces] for tag, pieces in sample.curves.items()}
    return sample._replace(curves=curves)


def backwards(domain, sides):
    """The other derivative by time."""
    right = known(domain, sides)

    def lifting(places):
        jet = right.lifting(places)
        return jet._replace(rate=-jet.rate)

    return replace(right, lifting=lifting)


def shifted(domain, sides):
    return known(domain, {tag: lambda x, *t, f=f: f(x, *t) + 1e-3 for tag, f in sides.items()})


PLANTED = {
    "normals turned": ("flux control", {"changed": turned}, {"the jump of the flux of the state on 'gamma'"}),
    "sides exchanged": (
        "scaled", {"changed": exchanged},
        {"the jump of the flux of the state on 'gamma'", "the jump on 'gamma' of the state"},
    ),
    "state backwards": ("heat", {"state": backwards}, {"the state equation"}),
    "adjoint state forwards": ("heat", {"adjoint": backwards}, {"the adjoint equation"}),
    "state shifted": ("circle", {"state": shifted}, {"the adjoint equation", "the boundary value of the state"}),
    "adjoint state shifted": (
        "heat", {"adjoint": shifted},
        {"the state equation", "the boundary value of the adjoint state", "the final value of the adjoint state"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_planted_errors_are_seen_in_their_rows_alone(name):
    exact, changes, wrong = PLANTED[name]
    found = largest(exact_system(EXACT[exact], soft=(1.0, 1.0), **changes))
    assert {name for name, size in found.items() if size > 1e-9} == wrong
    assert min(found[name] for name in wrong) > 5e-5


@pytest.mark.parametrize("name", ["scaled", "flux control", "heat"])
def test_the_other_sign_of_the_control_law_is_seen(name):
    wrong = []
    for block in exact_system(EXACT[name]).blocks:
        if block.control is not None:
            other = replace(block, control=block.control._replace(sign=-block.control.sign))
            wrong.append(np.abs(other.residual(offset, offset)).max() * np.sqrt(block.load.size))
    assert len(wrong) == 1 and wrong[0] > 0.1


def test_weights_of_soft_rows_and_their_names():
    exact = EXACT["heat"]
    domain = checked_domain(exact.problem, SQUARE)
    state, adjoint = soft(domain, 1.0)
    sample = draw(domain, 40, 30, 20, np.random.default_rng(110656))
    network = random_network(state, np.random.default_rng(149389))
    plain, heavy = (System(exact.problem, state, adjoint, sample, weights) for weights in ((1.0, 1.0), (10.0, 100.0)))
    ratios = {}
    for one, other in zip(plain.blocks, heavy.blocks, strict=True):
        rows = [np.linalg.norm(block.residual(network.apply, network.apply)) for block in (one, other)]
        ratios[one.name] = rows[1] / rows[0]
    heavier = {name for name, ratio in ratios.items() if abs(ratio - 10) < 1e-9}
    assert heavier == {f"the {what} of the {whose}" for what, whose in (
        ("boundary value", "state"), ("initial value", "state"),
        ("boundary value", "adjoint state"), ("final value", "adjoint state"),
    )}  # fmt: skip
    assert {name for name, ratio in ratios.items() if abs(ratio - 100) < 1e-8} == {
        f"the jump on 'gamma' of the {whose}" for whose in ("state", "adjoint state")
    }
    assert sum(abs(ratio - 1) < 1e-12 for ratio in ratios.values()) == 4
    assert [places.t for places in sample.ends] == [0.0, np.pi / 2]
    assert plain.size == 2 * (40 + 30 + 20 + 30 + 20)


# -- the control law ---------------------------------------------------------------------------------------------------

LAWS = {
    "box": [pc.Box(lambda x: -0.2 - x[0] ** 2, 0.3)],
    "sparse": [L1(0.05)],
    "sparse in a box": [L1(0.05), pc.Box({"inside": -0.2, "outside": 0.1}, 0.3)],
}


@pytest.mark.parametrize("reference", [0.0, lambda x: 0.2 * x[1]])
@pytest.mark.parametrize("control", [pc.Distributed(), pc.Boundary("gamma")], ids=["distributed", "interface"])
@pytest.mark.parametrize("name", LAWS)
def test_the_control_is_the_minimiser_that_finite_elements_take(name, control, reference):
    problem = replace(
        EXACT["circle"].problem, control=control, terms=[pc.Tikhonov(0.4, reference), *LAWS[name]]
    )  # fmt: skip
    domain = checked_domain(problem, SQUARE)
    generator = np.random.default_rng(195112)
    places = domain.places(generator.uniform(-1, 1, (2, 3000)))
    law, p = projection(problem, domain, places), generator.standard_normal(3000)
    cost = ControlCost(Space(np.ones(3000)), law.alpha, law.reference, law.beta, law.lower, law.upper)
    u = law.value(p)
    assert law.sign == (1.0 if control.on is None else -1.0)
    assert np.array_equal(u, cost.argmin(law.sign * p))
    # and no other control of the box costs less
    others = np.clip(u + generator.standard_normal((20, 3000)), law.lower, law.upper)
    costs = [0.2 * (v - law.reference) ** 2 + law.beta * np.abs(v) + law.sign * p * v for v in (u, *others)]
    assert (np.array(costs[1:]) >= costs[0] - 1e-14).all()
    step = 1e-6
    slopes, differ = law.slope(p), (law.value(p + step) - law.value(p - step)) / (2 * step)
    kinks = law.slope(p + step) != law.slope(p - step)
    assert kinks.mean() < 0.01 and 0.01 < (slopes != 0).mean() < 0.99
    np.testing.assert_allclose(slopes[~kinks], differ[~kinks], atol=1e-8)
    assert (u >= law.lower).all() and (u <= law.upper).all()


@pytest.mark.parametrize("name", CASES)
def test_controls_are_within_their_bounds_for_all_weights(name):
    case = CASES[name]
    generator = np.random.default_rng(216000)
    for t in case.times:
        places = case.domain.places(generator.uniform(-0.9, 1, (2, 400)), t)
        law, operator = projection(case.problem, case.domain, places), case.spaces[1].value(places)
        for _ in range(10):
            network = random_network(case.spaces[1], generator)
            u = law.value(30 * network.apply(operator))
            assert u.min() >= -0.3 and u.max() <= 0.2
            assert np.array_equal(u, np.clip(-30 * network.apply(operator) / 0.1, -0.3, 0.2))


# -- the reduced gradient ----------------------------------------------------------------------------------------------


def window(x):
    """Zero on the boundary, so that states and adjoint states are smooth at corners."""
    return (1 - x[0] ** 2) * (1 - x[1] ** 2)


def target(x):
    return window(x) * np.cos(x[0] - x[1])


def weight(x):
    return 0.5 + x[1]


def stated(control, time):
    """Coefficients that vary, jumps, and all that may be observed; in time what begins smoothly from zero."""
    if time:
        return pc.ControlProblem(
            pc.Parabolic(pc.Elliptic(lambda x: 1 + 0.3 * x[0], source=lambda x, t: t**2 * window(x)), T=1.0, steps=4),
            control,
            pc.Tracking(target),
            [pc.Tikhonov(0.3)],
            {"boundary": pc.Dirichlet()},
            {"gamma": pc.Interface(pc.Circle(0.5), flux=lambda x, t: t**2 * x[1])},
        )
    source = {"inside": lambda x: 1 + 2 * x[0], "outside": lambda x: window(x) + 0.5 * x[0] * x[1]}
    return pc.ControlProblem(
        pc.Elliptic(
            diffusion={"inside": lambda x: 1 + 0.3 * x[0], "outside": 3.0},
            reaction={"inside": 1.0, "outside": 0.5},
            source=source,
        ),
        control,
        [pc.Tracking(target), pc.Tracking(0.5, on="gamma", weight=2.0)],
        [pc.Tikhonov(0.3), pc.Linear(weight, on="inside")],
        {"boundary": pc.Dirichlet(lambda x: x[0] * x[1])},
        {"gamma": pc.Interface(pc.Circle(0.5), value=lambda x: 0.3 * x[0], flux=lambda x: 1 + x[1])},
    )


def direction(wave):
    """A smooth function of x and t, zero at first."""

    def function(x, t):
        phase = wave[0][:, None] * x[0] + wave[1][:, None] * x[1] + wave[2][:, None] * (t or 0.0)
        return window(x) * np.cos(phase).sum(axis=0) * (1.0 if t is None else t**2)

    return function


def fitted_rule(count=14):
    """Points and weights on the disc, on the rest of the square, and on the circle."""
    s, w = np.polynomial.legendre.leggauss(count)
    s, w = (1 + s) / 2, w / 2
    inner, outer, circle = [], [], []
    for quarter in range(4):
        turn = np.array([[0, -1], [1, 0]])
        turn = np.linalg.matrix_power(turn, quarter)
        angle = (s - 0.5) * np.pi / 2
        arc, slope = 0.5 * np.array([np.cos(angle), np.sin(angle)]), 0.5 * np.array([-np.sin(angle), np.cos(angle)])
        edge = np.array([np.ones(count), np.tan(angle)])
        along = np.array([np.zeros(count), 1 / np.cos(angle) ** 2])
        weight = w * np.pi / 2
        circle.append((turn @ arc, 0.5 * weight))
        for found, (start, by_start), (end, by_end) in (
            (inner, (0 * arc, 0 * slope), (arc, slope)), (outer, (arc, slope), (edge, along)),
        ):  # fmt: skip
            x = start[:, :, None] + (end - start)[:, :, None] * s
            by_angle = by_start[:, :, None] + (by_end - by_start)[:, :, None] * s
            across = (end - start)[:, :, None]
            volume = np.abs(across[0] * by_angle[1] - across[1] * by_angle[0])
            found.append((turn @ x.reshape(2, -1), (volume * weight[:, None] * w).ravel()))
    return [
        tuple(np.concatenate(arrays, axis=-1) for arrays in zip(*found, strict=True))
        for found in (inner, outer, circle)
    ]


class Collocated:
    """State and adjoint state for given controls, by least squares from the rows of the system."""

    def __init__(self, problem, features, scale, points):
        self.problem, self.domain = problem, checked_domain(problem, SQUARE)
        initial = getattr(problem.equation, "initial", None)
        jumps = {"gamma": problem.interface["gamma"].value}
        self.spaces = hard(self.domain, Lifting(self.domain, problem.boundary, jumps, initial), 1.0)
        generator = np.random.default_rng(250047)
        self.sample = draw(self.domain, *points, 0, generator)
        self.system = System(problem, *self.spaces, self.sample)
        self.layer = random_features(self.spaces[0], features, scale, generator)
        self.sign = projection(problem, self.domain, self.sample.interior[0]).sign

    def _solve(self, of_state, given):
        """Outer weights for several values `given` of the other function, each of a block."""
        blocks = [block for block in self.system.blocks if block.of_state == of_state]
        matrix = np.vstack([sum(self.layer.matrix(op) for op in block.operators) for block in blocks])
        right = [
            np.concatenate([-replace(block, control=None).residual(offset, lambda op, v=v: v(op)) for block in blocks])
            for v in given
        ]
        return lstsq(matrix, np.transpose(right), cond=1e-13, lapack_driver="gelsy")[0].T

    def states(self, controls):
        pieces = self.sample.interior
        if self.sign < 0:
            pieces = [sides.inner for sides in self.sample.curves["gamma"]]
        return self._solve(True, [
            lambda op, u=u: np.concatenate([u(p.points, p.t) for p in pieces]) for u in controls
        ])  # fmt: skip

    def adjoint(self, state):
        return self._solve(False, [lambda op: self.layer.matrix(op) @ state + op.offset])[0]

    def value(self, coefficients, of_state, places):
        operator = self.spaces[0 if of_state else 1].value(places)
        return self.layer.matrix(operator) @ coefficients + operator.offset


@pytest.mark.parametrize(
    ("control", "time"),
    [
        (pc.Distributed(), False),
        (pc.Distributed("inside"), False),
        (pc.Boundary("gamma"), False),
        (pc.Distributed(), True),
    ],
    ids=["distributed", "on a part", "interface", "parabolic"],
)
def test_the_reduced_gradient_is_alpha_u_plus_or_minus_p(control, time):
    problem = stated(control, time)
    found = Collocated(problem, *((750, 1.5, (3500, 400)) if time else (700, 2.0, (4000, 500))))
    u, *steps = map(direction, np.random.default_rng(287496).uniform(-2, 2, (6, 3, 4)))
    changed = [lambda x, t, s=s, d=d: u(x, t) + s * d(x, t) for d in steps for s in (1, -1)]
    states = found.states([u, *changed])
    adjoint = found.adjoint(states[0])
    (inner, inner_weights), (outer, outer_weights), (circle, circle_weights) = fitted_rule()
    J, of_u, of_p, sizes = np.zeros(len(changed)), np.zeros(5), np.zeros(5), np.zeros(5)
    s, w = np.polynomial.legendre.leggauss(7)
    for t, duration in zip((1 + s) / 2, w / 2, strict=True) if time else [(None, 1.0)]:
        places = found.domain.places(np.hstack([inner, outer]), t)
        weights = duration * np.concatenate([inner_weights, outer_weights])
        on_circle = found.domain.on("gamma", circle, True, t)
        acts, measure = (places, weights) if control.on is None else (on_circle, duration * circle_weights)
        if control.on == "inside":
            acts, measure = places.only(places.inside[0]), weights[places.inside[0]]
        p = found.value(adjoint, False, acts)
        for k, (v, c) in enumerate(zip(changed, states[1:], strict=True)):
            y = found.value(c, True, places)
            J[k] += weights @ (0.5 * (y - target(places.points)) ** 2)
            if not time:
                J[k] += inner_weights @ (weight(inner) * y[: inner_weights.size])
                J[k] += circle_weights @ (found.value(c, True, on_circle) - 0.5) ** 2
            J[k] += 0.15 * measure @ v(acts.points, t) ** 2
        for k, d in enumerate(steps):
            along = d(acts.points, t)
            of_u[k] += measure @ (0.3 * u(acts.points, t) * along)
            of_p[k] += measure @ (p * along)
            sizes[k] += measure @ np.abs(p * along)
    slopes = (J[::2] - J[1::2]) / 2  # J is quadratic
    assert (np.abs(slopes - of_u - found.sign * of_p) <= 1e-3 * sizes).all()
    assert (np.abs(slopes - of_u + found.sign * of_p) > 0.1 * sizes).any()


@needs_gmsh
@pytest.mark.parametrize("control", [pc.Distributed(), pc.Boundary("gamma")], ids=["distributed", "interface"])
def test_states_are_those_of_fitted_finite_elements(control):
    problem = stated(control, False)
    found = Collocated(problem, 700, 2.0, (4000, 500))
    u = direction(np.random.default_rng(328509).uniform(-2, 2, (3, 4)))
    coefficients = found.states([u])[0]
    mesh = pc.fitted_mesh(SQUARE, problem.interface, 0.04)
    with pc.discretise(problem, mesh, pc.Embedded(2)) as map:
        state = map.field(map.control.interpolate(lambda x: u(x, None)))
    x = np.random.default_rng(357911).uniform(-1, 1, (2, 800))
    x = x[:, np.abs(np.hypot(*x) - 0.5) > 0.02]
    y = found.value(coefficients, True, found.domain.places(x))
    assert np.abs(y - state(x)).max() <= 2e-3 * np.abs(y).max()


def error_of_control(exact, weights, seed):
    """Of collocation with 250 features, hard where there are no weights of soft conditions."""
    problem, near, generator = exact.problem, [(0.0, 0.0)], np.random.default_rng(seed)
    domain = checked_domain(problem, SQUARE)
    spaces = soft(domain, 1.0) if weights else hard(domain, Lifting(domain, problem.boundary, {"gamma": 0.0}), 1.0)
    systems = [System(problem, *spaces, draw(domain, n, n // 8, n // 8, generator, near), weights) for n in (2000, 500)]
    trained = Collocation(250, 2.0, near).train(Task(*systems, seed))
    places = domain.places(np.stack(np.meshgrid(*2 * [np.linspace(-1, 1, 65)])).reshape(2, -1))
    u = projection(problem, domain, places).value(trained.adjoint.apply(spaces[1].value(places)))
    missing, wanted = u - exact.at(exact.control, places.points), exact.at(exact.control, places.points)
    return np.linalg.norm(missing) / np.linalg.norm(wanted)


def test_hard_conditions_beat_soft_ones_the_more_the_worse_their_weights_are():
    found = {
        weights: np.median([error_of_control(EXACT["circle"], weights, seed) for seed in (11, 12, 13)])
        for weights in (None, (1.0, 1.0), (10.0, 10.0))
    }
    assert found[None] < 5e-4 and found[1.0, 1.0] < 5e-3
    assert found[1.0, 1.0] > 8 * found[None] and found[1.0, 1.0] > 3 * found[10.0, 10.0] > 3 * found[None]
