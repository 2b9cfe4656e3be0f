"""Problems solved by networks: exact solutions, conditions that hold exactly, finite elements, results and families."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from marks import needs_gmsh
from trial_cases import SQUARE

import pdecontrol as pc
from pdecontrol import interface_reference as reference
from pdecontrol.errors import ConvergenceError, DataError, MeshError, ProblemError
from pdecontrol.pinn import galerkin, strong
from pdecontrol.pinn.checks import checked_domain
from pdecontrol.pinn.features import random_features
from pdecontrol.pinn.functions.cubature import mesh_of
from pdecontrol.pinn.functions.domain import domain_of
from pdecontrol.pinn.functions.quadrature import cell_rule
from pdecontrol.pinn.galerkin import GalerkinMap
from pdecontrol.result import Status, _headline
from pdecontrol.verify import adjoint_error, taylor_rates

COLLOCATION = {"training": "collocation", "features": 150, "scale": 1.5, "points": 1000}
IN_TIME = {"features": 250, "scale": 0.8, "points": 1200}
EXACT = {  # problem, method, and bounds of the relative errors of state, adjoint state and control
    "circle": (reference.circle(), {"features": 150, "scale": 2.0}, (1e-4, 1e-4, 2e-4)),
    "control on the circle": (reference.control_on_circle(), {"features": 150, "scale": 2.0}, (1e-4, 1e-4, 1e-4)),
    "flux control": (reference.flux_control(), {"features": 150, "scale": 2.0}, (3e-5, 1e-3, 1e-3)),
    "scaled": (reference.scaled((1.0, 1e3)), {"features": 100, "scale": 1.5}, (1e-6, 1e-4, 1e-4)),
    "circle, strong": (reference.circle(), {**COLLOCATION, "near": [(0, 0)]}, (5e-3, 2e-3, 2e-3)),
    "control on the circle, strong": (reference.control_on_circle(), COLLOCATION, (2e-3, 1e-3, 1e-3)),
    "flux control, strong": (reference.flux_control(), COLLOCATION, (5e-4, 1e-2, 1e-2)),
    "scaled, strong": (reference.scaled((1.0, 1e3)), COLLOCATION, (1e-6, 5e-5, 5e-5)),
    "inclusions, strong": (
        reference.inclusions(), {**COLLOCATION, "features": 450, "scale": 2.0, "points": 2700}, (3e-2, 2e-2, 5e-2),
    ),
    "heat": (reference.heat(4), IN_TIME, (5e-3, 5e-3, 5e-3)),
    "moving": (reference.moving(4), IN_TIME, (5e-2, 5e-2, 5e-2)),
}  # fmt: skip
WEAK = ["circle", "control on the circle", "flux control", "scaled"]
NAMES = [
    pytest.param(name, marks=needs_gmsh if name in WEAK or exact.problem.control.on == "gamma" else ())
    for name, (exact, _, _) in EXACT.items()
]
ANYWHERE = np.random.default_rng(19683).uniform(-1, 1, (2, 2000))
INNER = ANYWHERE[:, np.abs(np.hypot(*ANYWHERE) - 0.5) > 1e-3]
SHARE = np.linspace(-1, 1, 41)
EDGE = np.hstack([[SHARE, side + 0 * SHARE] for side in (-1, 1)] + [[side + 0 * SHARE, SHARE] for side in (-1, 1)])


def by_networks(problem, mesh=None, soft=False, box=SQUARE, **method):
    """Solved by hard constraints, or by soft ones, with nodal values on a coarse mesh."""
    kind = pc.SoftConstraint if soft else pc.HardConstraint
    options = {name: method.pop(name) for name in ("progress", "tol", "max_iterations") if name in method}
    if mesh is None:
        mesh = mesh_of(domain_of(problem, box), 0.3)
    return pc.solve(problem, mesh, method=kind(**method), **options)


@pytest.fixture(scope="module")
def solved():
    """The solutions of all of EXACT, each found once."""

    @cache
    def solve(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(strong, "REFUSED", 0.1)  # few features have large residuals; errors are looked at here
            return by_networks(EXACT[name][0].problem, **EXACT[name][1])

    return solve


def times_of(name):
    return [(0.4,), (1.2,)] if name in ("heat", "moving") else [()]


def curve_of(interface, *time):
    """Points of an interface."""
    shape = interface.shape.at(*time) if isinstance(interface.shape, pc.Moving) else interface.shape
    [loop] = shape.curves(0.05, 0.1, SQUARE)
    return loop, shape.normal(loop)


def rounding(field):
    """Of the sum over all neurons."""
    trial = field.function
    return 1e-15 * trial.ansatz.size * np.abs(trial.network.outer).sum()


def relative(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


# -- exact solutions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_errors_against_exact_solutions(solved, name):
    (exact, _, bounds), result = EXACT[name], solved(name)
    on = exact.problem.control.on
    x = ANYWHERE if on is None else curve_of(exact.problem.interface[on])[0]
    for time in times_of(name):
        for field, sides, bound in zip(
            (result.state, result.adjoint), (exact.state, exact.adjoint), bounds, strict=False
        ):
            assert relative(field(ANYWHERE, *time), exact.at(sides, ANYWHERE, *time)) < bound
            assert relative(field(ANYWHERE, *time), (1 + 5 * bound) * exact.at(sides, ANYWHERE, *time)) > bound
        u = exact.at(exact.control, x, *time) if on is None else exact.control[on](x)
        assert relative(result.control(x, *time), u) < bounds[2]
    assert result.status is Status.SOLVED and result.success


@pytest.mark.parametrize("name", NAMES)
def test_conditions_and_bounds_hold_to_rounding(solved, name):
    (exact, _, _), result = EXACT[name], solved(name)
    problem = exact.problem
    on, box = problem.control.on, problem.term(pc.Box)
    for time in times_of(name):
        y, p = result.state(EDGE, *time), result.adjoint(EDGE, *time)
        wanted = exact.state["outside"](EDGE, *time)
        np.testing.assert_allclose(y, wanted, atol=1e-12 * max(1, np.abs(wanted).max()))
        np.testing.assert_allclose(p, 0, atol=1e-13)
        for item in problem.interface.values():
            gamma, _ = curve_of(item, *time)
            jumps = [
                field(gamma, *time, side="outside") - field(gamma, *time, side=item.inside)
                for field in (result.state, result.adjoint)
            ]
            value = item.value(gamma, *time) if callable(item.value) else item.value
            np.testing.assert_allclose(jumps[0], value + 0 * jumps[0], atol=1e-12 + rounding(result.state))
            np.testing.assert_allclose(jumps[1], 0, atol=1e-12 + rounding(result.adjoint))
        x = ANYWHERE if on is None else curve_of(problem.interface[on])[0]
        lower, upper = (bound(x) if callable(bound) else bound for bound in (box.lower, box.upper))
        u, slack = result.control(x, *time), 1e-11 * (on is not None)  # such controls are those of the nearest point
        assert (u >= lower - slack).all() and (u <= upper + slack).all()
        assert (u <= lower + slack).any() or (u >= upper - slack).any() or time == (1.2,)
    if times_of(name) != [()]:
        assert np.abs(result.state(ANYWHERE, 0.0)).max() <= 1e-13
        assert np.abs(result.adjoint(ANYWHERE, np.pi / 2)).max() <= 1e-13


@pytest.mark.parametrize("name", NAMES)
def test_jumps_of_fluxes_are_near_to_what_they_must_be(solved, name):
    (exact, _, bounds), result = EXACT[name], solved(name)
    equation, control = exact.problem.equation, exact.problem.control
    kappa = getattr(equation, "steady", equation).diffusion
    for time in times_of(name):
        for tag, item in exact.problem.interface.items():
            gamma, normal = curve_of(item, *time)
            wanted = item.flux(gamma) if callable(item.flux) else item.flux
            if control.on == tag:
                wanted = wanted + result.control(gamma)
            for field, flux, bound in ((result.state, wanted, bounds[0]), (result.adjoint, 0.0, bounds[1])):
                sides = [
                    kappa[part] * (field.gradient(gamma, *time, side=part) * normal).sum(axis=0)
                    for part in ("outside", item.inside)
                ]
                size = max(np.abs(sides).max(), 10.0)
                assert np.abs(sides[0] - sides[1] - flux).max() < max(60 * bound, 5e-3) * size
                if name == "flux control" and field is result.state:  # and the other sign is seen
                    assert np.abs(sides[0] - sides[1] + flux).max() > 0.3 * size


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_values(solved, name):
    result, item = solved(name), next(iter(EXACT[name][0].problem.interface.values()))
    for time in times_of(name):
        gamma, normal = curve_of(item, *time)
        for side, x in (("outside", gamma + 0.02 * normal), (item.inside, gamma - 0.02 * normal)):
            for field in (result.state, result.adjoint):
                step = 1e-3 * np.eye(2)[:, :, None]
                ahead, behind, far, back = ([field(x + k * s, *time, side=side) for s in step] for k in (1, -1, 2, -2))
                differences = (8 * (np.array(ahead) - behind) - (np.array(far) - back)) / 12e-3
                found = field.gradient(x, *time, side=side)
                np.testing.assert_allclose(found, differences, atol=1e-7 * np.abs(found).max())
        with pytest.raises(DataError, match="has no gradient"):
            result.control.gradient(ANYWHERE, *time)


@needs_gmsh
def test_the_other_sign_of_the_flux_is_no_solution():
    exact, method, bounds = EXACT["flux control"]
    gamma = exact.problem.interface["gamma"]
    wrong = replace(exact.problem, interface={"gamma": replace(gamma, flux=lambda x: -gamma.flux(x))})
    assert relative(by_networks(wrong, **method).state(ANYWHERE), exact.at(exact.state, ANYWHERE)) > 1000 * bounds[0]


@needs_gmsh
def test_few_features_on_the_star():
    exact = reference.star()
    result = by_networks(exact.problem, features=120, scale=3.0)
    assert result.objective == pytest.approx(exact.objective, rel=0.04)
    assert result.certificate.norm == pytest.approx(reference.STAR_NORM, rel=0.015)
    assert result.control(ANYWHERE).max() == pytest.approx(reference.STAR_MAXIMUM, rel=0.06)
    with pytest.raises(
        ConvergenceError, match=r"the residual of .* is \d.\de[+-]\d+ of .* at points held out.*150 random fea"
    ):
        by_networks(exact.problem, **COLLOCATION)


# -- the map of Galerkin's method --------------------------------------------------------------------------------------


def map_of(problem, features=60, scale=1.5, count=6):
    domain = checked_domain(problem, SQUARE)
    state, _ = pc.HardConstraint().trial_functions(problem, domain)
    layer = random_features(state, features, scale, np.random.default_rng(65536))
    return GalerkinMap(problem, state, layer, mesh_of(domain, 0.35, 1.2), count)


@needs_gmsh
@pytest.mark.parametrize("name", ["circle", "flux control"])
def test_the_map_has_an_exact_adjoint_and_derivatives(name):
    problem = EXACT[name][0].problem
    map = map_of(replace(problem, terms=[*problem.terms, pc.Linear(lambda x: 1 + x[0], on="inside")]))
    generator = np.random.default_rng(59049)
    u, h = generator.standard_normal((2, map.control.size))
    assert adjoint_error(map) < 1e-13
    np.testing.assert_allclose(taylor_rates(map), 2, atol=0.02)
    np.testing.assert_allclose(map.at(u + h).value - map.at(u).value, map.at(u).tangent(h), atol=1e-10)
    # and solutions are those of the weak form: a(y, v) = l(v) + b(u, v) in an orthonormal basis
    finer = cell_rule(mesh_of(map.domain, 0.2, 0.6), problem.interface, 12)
    energies = map.basis.T @ map._energy(finer) @ map.basis
    assert np.abs(energies - np.eye(len(energies))).max() < 2e-3


@needs_gmsh
def test_a_layer_too_steep_for_its_quadrature_is_refused():
    with pytest.raises(ConvergenceError, match="the quadrature is too coarse for the features: of 40 functions"):
        map_of(EXACT["circle"][0].problem, features=40, scale=20.0, count=20)
    with pytest.raises(ConvergenceError, match="smaller scale"):  # also for more points than the rule ends with
        map_of(EXACT["circle"][0].problem, features=10, scale=40.0, count=27)


@needs_gmsh
def test_a_quadrature_that_is_not_verified_is_a_trap(monkeypatch):
    exact, method, bounds = EXACT["circle"]
    assert map_of(exact.problem, method["features"], method["scale"]).points > 10_000
    for name in ("AGREEMENT", "TOGETHER"):
        monkeypatch.setattr(galerkin, name, np.inf)
    trapped = by_networks(exact.problem, **method)
    assert "3600 points of quadrature" in trapped.method and trapped.success  # it has no idea
    assert relative(trapped.state(ANYWHERE), exact.at(exact.state, ANYWHERE)) > 10 * bounds[0]
    assert relative(trapped.adjoint(ANYWHERE), exact.at(exact.adjoint, ANYWHERE)) > 100 * bounds[1]


# -- objectives --------------------------------------------------------------------------------------------------------


def exact_objective(exact, points, weights, nodes=20):
    """J(u*) by a rule for the domain, and Gauss points in time."""
    equation, target = exact.problem.equation, exact.problem.tracking[0].target
    times = [((), 1.0)]
    if isinstance(equation, pc.Parabolic):
        t, w = np.polynomial.legendre.leggauss(nodes)
        times = [((0.5 * equation.T * (1 + s),), 0.5 * equation.T * share) for s, share in zip(t, w, strict=True)]
    return sum(
        share * weights @ (
            0.5 * (exact.at(exact.state, points, *time) - exact.at(target, points, *time)) ** 2
            + 0.5 * exact.at(exact.control, points, *time) ** 2
        )
        for time, share in times
    )  # fmt: skip


@needs_gmsh
@pytest.mark.parametrize("name", ["circle", "circle, strong", "heat"])
def test_objectives_are_those_of_exact_solutions(solved, name):
    exact, result = EXACT[name][0], solved(name)
    rule = cell_rule(mesh_of(domain_of(exact.problem, SQUARE), 0.2, 0.4), exact.problem.interface, 10)
    assert result.objective == pytest.approx(exact_objective(exact, rule.points, rule.weights), rel=2e-5)
    assert np.isnan(result.history["objective"]).all() == (name != "circle")


def test_objectives_on_moving_domains(solved):
    s = -1 + (np.arange(160) + 0.5) / 80
    points = np.stack(np.meshgrid(s, s)).reshape(2, -1)
    wanted = exact_objective(EXACT["moving"][0], points, np.full(s.size**2, 1 / 80**2))
    assert solved("moving").objective == pytest.approx(wanted, rel=2e-3)


@needs_gmsh
@pytest.mark.parametrize("name", WEAK)
def test_objectives_are_those_of_the_map(solved, name):
    result = solved(name)
    assert result.objective == pytest.approx(result.history["objective"][-1], rel=1e-5)


# -- problems of all kinds against fitted elements ---------------------------------------------------------------------


def window(x):
    return (1 - x[0] ** 2) * (1 - x[1] ** 2)


def bilinear(x):
    return 0.2 * x[0] * x[1]


def target(x):
    return bilinear(x) + window(x) * np.cos(x[0] - x[1])


FLOW = pc.Elliptic(
    {"inside": lambda x: 1 + 0.3 * x[0], "outside": 3.0},
    source={"inside": lambda x: 1 + 2 * x[0], "outside": lambda x: window(x) * (1 + x[0])},
)
SMALL = pc.Tikhonov(0.1)
POINTS = np.array([[0.2, -0.7, 0.1], [0.1, 0.3, -0.8]])


def stated(**changes):
    """A problem with coefficients that vary, jumps of values and fluxes, and a circle."""
    gamma = pc.Interface(pc.Circle(0.5), value=lambda x: 0.3 * x[0], flux=1.0)
    given = {
        "equation": FLOW, "control": pc.Distributed(), "tracking": pc.Tracking(target), "terms": [SMALL],
        "boundary": {"boundary": pc.Dirichlet(bilinear)}, "interface": {"gamma": gamma},
    }  # fmt: skip
    return pc.ControlProblem(**(given | changes))


WIDE = ((-1.0, 2.0), (-0.9, 1.1))
KINDS = {  # what is stated otherwise, and bounds of the relative errors of state, adjoint state and objective
    "reference": (
        {"terms": [pc.Tikhonov(0.1, {"inside": 0.5, "outside": window}), pc.Box(-1.0, 0.6)]}, (3e-3, 1e-3, 5e-4),
    ),
    "sparse on a part": (
        {"control": pc.Distributed("inside"), "terms": [SMALL, pc.L1(0.02), pc.Box(-1, 0.5)]}, (3e-3, 1e-3, 5e-4),
    ),
    "on the circle": (
        {"control": pc.Boundary("gamma"), "terms": [SMALL, pc.L1(0.02), pc.Box(lambda x: -0.4 + 0 * x[0], 0.2)]},
        (3e-3, 1e-3, 5e-4),
    ),
    "points": ({"tracking": pc.Tracking([0.9, -0.4, 0.3], points=POINTS, weight=2.0)}, (5e-3, 0.1, 3e-3)),
    "seen in parts": (
        {"tracking": [pc.Tracking({"outside": target}, "outside"), pc.Tracking(lambda x: x[0], "gamma", weight=0.5)]},
        (3e-3, 5e-3, 5e-4),
    ),
    "linear": (
        {"terms": [SMALL, pc.Linear(window, on="inside"), pc.Linear(lambda x: 0.3 * x[1], on="gamma")]},
        (3e-3, 2e-3, 2e-3),
    ),
    "reaction": ({"equation": replace(FLOW, reaction={"inside": 5.0, "outside": window})}, (3e-3, 1e-3, 5e-4)),
    "bang-bang": ({"terms": [pc.Box(-1.0, 1.0)]}, (3e-3, 1e-3, 1e-3)),
    "two inclusions": (
        {
            "equation": pc.Elliptic(
                {"first": 0.5, "second": 4.0, "outside": 1.0},
                source={"first": 1.0, "second": lambda x: x[0], "outside": 0.0},
            ),
            "interface": {
                "one": pc.Interface(pc.Circle(0.3, (-0.5, 0.4)), value=0.2, inside="first"),
                "two": pc.Interface(pc.Ellipse((0.35, 0.3), (0.4, -0.3)), flux=lambda x: x[0], inside="second"),
            },
            "tracking": pc.Tracking({"first": 1.0, "second": -1.0, "outside": target}),
            "terms": [SMALL, pc.Box({"first": -0.5, "second": -0.2, "outside": -1.0}, 0.5)],
        },
        (1e-2, 1e-2, 1e-3),
    ),
    "sides": (
        {
            "boundary": {
                "left": pc.Dirichlet(lambda x: x[1]), "right": pc.Dirichlet(lambda x: 3 + x[1]),
                "bottom": pc.Dirichlet(lambda x: -1 + 1.5 * (x[0] + 1)),
                "top": pc.Dirichlet(lambda x: 1 + 1.5 * (x[0] + 1)),
            },
        },
        (1e-3, 2e-3, 5e-4),
    ),
    "without interface": (
        {"equation": pc.Elliptic(lambda x: 1 + 0.3 * x[0], reaction=1.0, source=window), "interface": {}},
        (1e-3, 1e-4, 5e-5),
    ),
    "wide": ({}, (4e-3, 2e-3, 1e-3)),
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted():
    """Solutions by fitted elements of degree 2."""

    @cache
    def solve(name):
        problem, box = stated(**KINDS.get(name, ({},))[0]), WIDE if name == "wide" else SQUARE
        mesh = mesh_of(domain_of(problem, box), 0.05, 0.1, grading=0.3)
        return problem, box, pc.solve(problem, mesh, pc.Embedded(2))

    return solve


def differences(result, other, problem, box):
    """Of states, adjoint states and objectives, relative; away from curves, whose chords are no part of both sides."""
    x = np.random.default_rng(2187).uniform(*np.array(box).T[:, :, None], (2, 1500))
    for item in problem.interface.values():
        x = x[:, np.linalg.norm(item.shape.project(x) - x, axis=0) > 0.01]
    found = [relative(a(x), b(x)) for a, b in ((result.state, other.state), (result.adjoint, other.adjoint))]
    return np.array([*found, abs(result.objective / other.objective - 1)])


@needs_gmsh
@pytest.mark.parametrize("name", KINDS)
def test_galerkin_against_fitted_elements(fitted, name, monkeypatch):
    (problem, box, other), bounds = fitted(name), np.array(KINDS[name][1])
    found = differences(by_networks(problem, box=box, features=140, scale=2.0), other, problem, box)
    assert (found < bounds).all()
    if name != "wide":  # and what is stated otherwise makes a difference
        assert (differences(other, fitted("plain")[2], problem, box) > 5 * bounds).any()


@needs_gmsh
@pytest.mark.parametrize("name", ["reference", "on the circle", "linear", "reaction", "without interface"])
def test_collocation_against_fitted_elements(fitted, name, monkeypatch):
    monkeypatch.setattr(strong, "REFUSED", 0.1)  # see above
    problem, box, other = fitted(name)
    result = by_networks(problem, training="collocation", features=250, scale=2.0, points=2000)
    assert (differences(result, other, problem, box) < (1.5e-2, 1e-2, 2e-3)).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("points", "take Galerkin's method"),
        ("bang-bang", "alpha > 0"),
        ("two inclusions", r"is [12].\de-01 of .* at points held out"),
    ],
)
def test_what_collocation_does_not_solve_is_refused(name, message):
    with pytest.raises((ProblemError, ConvergenceError), match=message):
        by_networks(stated(**KINDS[name][0]), training="collocation", features=150, scale=2.0)


# -- choice ------------------------------------------------------------------------------------------------------------


@needs_gmsh
def test_galerkins_method_says_why(solved):
    weak = solved("circle").method
    assert weak.startswith("hard constraints, Galerkin's method (150 of 150 random features of scale 2, ")
    assert weak.endswith("; as the equation is steady, with a quadrature that can be verified)")
    assert "semismooth Newton" in weak


def test_collocation_says_why(solved, monkeypatch):
    assert solved("circle, strong").method == (
        "hard constraints, collocation (2250 rows, 150 random features of scale 1.5)"
    )
    assert solved("heat").method.endswith("of scale 0.8; as there is no verified quadrature in time)")
    monkeypatch.setattr("pdecontrol.pinn.functions.cubature.find_spec", lambda name: None)
    exact, method, bounds = EXACT["circle, strong"]
    result = by_networks(exact.problem, SQUARE, **{**method, "training": "auto"})
    assert result.method.endswith("; as there is no verified quadrature without gmsh)")
    assert relative(result.state(ANYWHERE), exact.at(exact.state, ANYWHERE)) < bounds[0]
    assert result.objective == pytest.approx(solved("circle, strong").objective, rel=1e-2)
    with pytest.raises(
        ProblemError, match="training='galerkin' is for steady equations, and interfaces that meshes of"
    ):
        by_networks(exact.problem, training="galerkin")


def test_soft_constraints_are_a_method_too():
    exact = EXACT["circle"][0]
    result = by_networks(exact.problem, soft=True, boundary=10.0, value=10.0, features=150, scale=1.5, points=1200)
    assert result.method.startswith("soft constraints, collocation (") and "verified" not in result.method
    assert relative(result.control(ANYWHERE), exact.at(exact.control, ANYWHERE)) < 0.05
    misses = np.abs(result.state(EDGE) - exact.state["outside"](EDGE)).max()
    assert 1e-8 < misses < 0.05  # conditions are those of a least-squares problem


@needs_gmsh
@pytest.mark.parametrize("training", [pc.Collocation(100, 1.5), pc.LevenbergMarquardt(neurons=12, iterations=40)])
def test_trainings_are_given_as_objects(training):
    exact = EXACT["control on the circle"][0]
    result = by_networks(exact.problem, training=training, points=500, seed=3)
    assert f"hard constraints, {training.name} (" in result.method
    assert relative(result.adjoint(ANYWHERE), exact.at(exact.adjoint, ANYWHERE)) < 0.1
    assert result.history["estimate"][-1] < 0.05


REFUSED = {
    "training": (
        {"training": "newton"},
        r"training is one of \('auto', 'galerkin', 'collocation'\) or a Training, got",
    ),
    "one feature": ({"features": 1}, "features is an integer, 2 or more, got 1"),
    "half a feature": ({"features": 2.5}, "features is an integer, 2 or more, got 2.5"),
    "true": ({"points": True}, "points is an integer, 2 or more, got True"),
    "seed": ({"seed": None}, "seed is an integer, 0 or more, got None"),
    "scale": ({"scale": 0.0}, "HardConstraint: scale"),
    "near": ({"near": [(0.0,)]}, r"near is a list of places \(x, y\), got \[\(0.0,\)\]"),
    "near a word": ({"near": ["ab"]}, "near is a list of places"),
    "factor": ({"factor": "learnt"}, "factor is a function or 'learned', got 'learnt'"),
    "lifting": ({"lifting": "auto"}, "lifting is a function or 'learned', got 'auto'"),
    "kink": ({"kink": "phi"}, "kink is a function or 'learned', got 'phi'"),
    "soft and weak": ({"soft": True, "training": "galerkin"}, "Galerkin's method needs functions that satisfy"),
    "soft weight": ({"soft": True, "value": 0.0}, "SoftConstraint: value"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_parameters_of_methods_are_refused(name):
    method, message = REFUSED[name]
    with pytest.raises(ProblemError, match=message):
        by_networks(EXACT["circle"][0].problem, **method)


def test_options_that_are_not_taken_are_refused():
    for option in ({"max_iterations": 3}, {"start": 1.0}):
        with pytest.raises(ProblemError, match=f"{next(iter(option))} is an option of methods for maps"):
            pc.solve(EXACT["circle"][0].problem, SQUARE, method=pc.HardConstraint(**COLLOCATION), **option)
    with pytest.raises(ProblemError, match="discretisation, continuous and total_tol"):
        pc.solve(EXACT["circle"][0].problem, SQUARE, method="pinn", discretisation=True)
    with pytest.raises(ProblemError, match="training='galerkin' is for steady equations"):
        by_networks(EXACT["heat"][0].problem, training="galerkin")


@needs_gmsh
def test_galerkins_method_takes_limits_of_iterations():
    result = by_networks(EXACT["circle"][0].problem, features=40, scale=1.5, max_iterations=1)
    assert result.status is Status.ITERATIONS and not result.success
    texts = [text.get_text() for text in result.plot().findobj(lambda item: hasattr(item, "get_text"))]
    assert not any("certified" in text or "duality gap" in text for text in texts)


@needs_gmsh
def test_an_interrupt_ends_galerkins_method_whatever_the_features_lack(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pdecontrol.pinn.weak.FEATURES", 40)
    monkeypatch.setattr("pdecontrol.pinn.weak.ENOUGH", 1e-9)
    problem, mesh = EXACT["circle"][0].problem, mesh_of(domain_of(EXACT["circle"][0].problem, SQUARE), 0.3)
    result = pc.solve(problem, mesh, method=pc.HardConstraint(scale=1.5), callback=interrupt)
    assert result.status is Status.INTERRUPTED and "of 40 random features" in result.method
    with pytest.raises(ProblemError, match=r"HardConstraint\(features="):
        pc.solve(problem, mesh, method="pinn", checkpoint="never.npz")


@pytest.mark.parametrize("training", [pytest.param("galerkin", marks=needs_gmsh), "collocation"])
def test_where_nothing_is_to_be_done_zero_is_the_solution(training):
    problem = replace(EXACT["circle"][0].problem, equation=pc.Elliptic({"inside": 1.0, "outside": 10.0}))
    problem = replace(problem, tracking=pc.Tracking(0.0), interface={"gamma": pc.Interface(pc.Circle(0.5))})
    result = by_networks(replace(problem, boundary={"boundary": pc.Dirichlet()}), features=40, training=training)
    assert result.status is Status.SOLVED and not result.control.array.any()
    assert result.plot() is not None


@needs_gmsh
def test_objectives_have_the_l1_term():
    fixed, values = [pc.Tikhonov(1.0), pc.Box(-0.5, -0.5)], []
    for terms in (fixed, [*fixed, pc.L1(0.3)]):
        problem = replace(EXACT["circle"][0].problem, terms=terms)
        values.append(by_networks(problem, features=40, scale=1.5).objective)
    assert values[1] - values[0] == pytest.approx(0.3 * 0.5 * 4, rel=1e-7)


def test_references_are_asked_for_where_the_control_acts():
    problem = replace(
        EXACT["circle"][0].problem,
        control=pc.Distributed("inside"),
        terms=[pc.Tikhonov(1.0, {"inside": lambda x: x[0]})],
    )
    found = by_networks(problem, **COLLOCATION)
    whole = replace(problem, terms=[pc.Tikhonov(1.0, lambda x: x[0])])
    assert found.objective == pytest.approx(by_networks(whole, **COLLOCATION).objective, rel=1e-12)


def test_a_mesh_of_a_rectangle_has_the_nodal_values():
    exact, method, _ = EXACT["circle, strong"]
    mesh = pc.unit_square((7, 5)).transform(lambda x: 2 * x - 1)
    result = pc.solve(exact.problem, mesh, method=pc.HardConstraint(**method))
    space = result.control.space
    assert np.array_equal(space.elements.points, mesh.points)
    assert result.state.space.elements.points.shape == (2, 15 * 11)
    for field in (result.state, result.adjoint, result.control):
        nodes = field.space.elements.points
        np.testing.assert_allclose(field.array, field(nodes), rtol=1e-12, atol=1e-12)
    for other in (
        pc.Mesh([[-1, 1, -1], [-1, -1, 1]], [[0], [1], [2]]), pc.unit_cube(1), pc.unit_interval(4),
    ):  # fmt: skip
        with pytest.raises(ProblemError, match="the mesh is none of a rectangle"):
            pc.solve(exact.problem, other, method="pinn")


def test_controls_on_interfaces_need_a_mesh_that_has_them():
    exact, method, _ = EXACT["flux control, strong"]
    with pytest.raises(ProblemError, match="the control on 'gamma' has values at nodes of a mesh fitted to it"):
        by_networks(exact.problem, pc.unit_square(4).transform(lambda x: 2 * x - 1), **method)
    moving = replace(EXACT["moving"][0].problem, control=pc.Boundary("gamma"))
    with pytest.raises(ProblemError, match="controls on interfaces that move have none"):
        by_networks(moving, **IN_TIME)


@needs_gmsh
def test_meshes_of_parts_have_values_on_both_sides():
    exact, method, _ = EXACT["flux control, strong"]
    mesh = pc.fitted_mesh(SQUARE, exact.problem.interface, 0.3)
    state = by_networks(exact.problem, mesh, **method).state
    nodes = state.space.elements.points
    gamma = np.flatnonzero(np.abs(np.hypot(*nodes) - 0.5) < 1e-9)
    jump = exact.problem.interface["gamma"].value
    rounded = nodes[:, gamma].round(9)
    _, first, pairs = np.unique(rounded, axis=1, return_index=True, return_inverse=True)
    spread = [np.ptp(state.array[gamma[pairs == k]]) for k in range(first.size)]
    np.testing.assert_allclose(spread, np.abs(jump(nodes[:, gamma[first]])), atol=1e-9)


@pytest.mark.parametrize("name", [pytest.param("scaled", marks=needs_gmsh), "scaled, strong"])
def test_the_same_seed_gives_the_same_numbers(solved, name):
    exact, method, bounds = EXACT[name]
    first, again, other = (
        solved(name),
        by_networks(exact.problem, **method),
        by_networks(exact.problem, **method, seed=1),
    )
    for one, two, three in zip(*((r.state, r.adjoint) for r in (first, again, other)), strict=True):
        assert np.array_equal(one(ANYWHERE), two(ANYWHERE))
        assert 0 < relative(three(ANYWHERE), one(ANYWHERE)) < 5 * max(bounds)
    assert first.objective == again.objective and first.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize("method", [pytest.param({"features": 40, "scale": 1.5}, marks=needs_gmsh), COLLOCATION])
def test_progress_is_quiet_unless_it_is_asked_for(method, capfd):
    by_networks(EXACT["circle"][0].problem, **method)
    assert capfd.readouterr() == ("", "")
    by_networks(EXACT["circle"][0].problem, **method, progress=True)
    printed = capfd.readouterr().err
    assert len(printed.splitlines()) > 1 or method is COLLOCATION


# -- results -----------------------------------------------------------------------------------------------------------

BOTH = [pytest.param("circle", marks=needs_gmsh), "circle, strong"]


@pytest.mark.parametrize("name", BOTH)
def test_there_is_no_bound_but_what_is_left(solved, name):
    result = solved(name)
    certificate = result.certificate
    assert certificate.bound is None and certificate.gap is None and certificate.relative is None
    assert certificate.assumption.startswith("nothing: no bound is known; ")
    assert result.status is Status.SOLVED and result.success and np.isnan(result.history["bound"]).all()
    left = re.search(
        r"by half of the features y and p differ by \S+ in L2, .* the control is within about (\S+) of the optimum$"
        if name == "circle"
        else r"the residual of the optimality system is (\S+) of .* at points held out$",
        certificate.assumption,
    )
    assert 0 < float(left[1]) <= (1e-6 if name == "circle" else 0.02)
    assert (result.solves["total"] > 0) == (name == "circle") and result.history["estimate"][-1] < 0.02
    assert (np.diff(result.history["seconds"]) >= 0).all()
    assert "assuming nothing" in str(result) and "<=" not in str(result).split("certificate")[1].splitlines()[0]
    u = EXACT[name][0].at(EXACT[name][0].control, ANYWHERE)
    assert certificate.norm == pytest.approx(2 * np.sqrt(np.mean(u**2)), rel=0.03)  # the area is four


@needs_gmsh
@pytest.mark.parametrize("name", ["circle", "flux control", "circle, strong"])
def test_finite_elements_certify_controls_of_networks(solved, name):
    problem, result = EXACT[name][0].problem, solved(name)
    mesh = pc.fitted_mesh(SQUARE, problem.interface, 0.1)
    with pc.discretise(problem, mesh, pc.Embedded(2)) as map:
        certificate = pc.certify(problem, result.control, map)
        optimum = pc.minimise(problem, map, tol=1e-10)
        u = map.control.interpolate(result.control)
        distance = map.control.norm(u - optimum.control.array)
    assert distance <= certificate.bound * (1 + 1e-6) + optimum.certificate.bound
    assert 0 < certificate.bound < 0.1 * map.control.norm(u) and certificate.bound < 50 * distance
    with pc.discretise(problem, mesh, pc.Embedded(2)) as map:  # and a worse control has a larger bound
        assert pc.certify(problem, 0.9 * u, map).bound > 2 * certificate.bound


@pytest.mark.parametrize("name", [*BOTH, "heat"])
def test_results_are_drawn_saved_and_exported(solved, name, tmp_path):
    result = solved(name)
    headline = _headline(result)
    assert headline.startswith(f"hard constraints, {'Galerkin' if name == 'circle' else 'collocation'}")
    assert "no certificate" in headline and "certified" not in headline and "PDE" not in headline
    figure = result.plot(tmp_path / "found.png")
    texts = [text.get_text() for text in figure.findobj(lambda item: hasattr(item, "get_text"))]
    assert (tmp_path / "found.png").stat().st_size > 10_000
    assert any("what is left of the optimality system" in text for text in texts)
    assert not any("certified" in text or "distance" in text for text in texts)
    again = pc.load(result.save(tmp_path / "found.npz"))
    assert again.method == result.method and again.status is Status.SOLVED
    assert again.certificate == result.certificate and str(again) == str(result)
    for field in ("state", "adjoint", "control", "lower", "upper"):
        assert np.array_equal(getattr(again, field).array, getattr(result, field).array)
    assert np.array_equal(again.history["estimate"], result.history["estimate"])
    if name != "heat":
        paths = result.export(tmp_path / "found.vtu")
        assert len(paths) == 2 and all(path.exists() for path in paths)


# -- given and learned functions ---------------------------------------------------------------------------------------

CHEAP = {"training": "collocation", "features": 120, "scale": 1.5, "points": 900}


def automatic(problem):
    """h, g and phi that are made from the geometry, as functions of x."""
    domain = domain_of(problem, SQUARE)
    state, _ = pc.HardConstraint().trial_functions(problem, domain)

    def of(function, side):
        return lambda x: function(domain.places(x, None, side)).value

    return {
        "factor": lambda x: state.factor(domain.places(x)).value,
        "lifting": {tag: of(state.lifting, tag) for tag in domain.tags},
        "kink": {tag: of(state.kink, tag) for tag in domain.tags},
    }


@needs_gmsh
def test_given_functions_that_equal_automatic_ones_give_the_same_answer():
    exact, method = EXACT["flux control"][0], CHEAP
    plain = by_networks(exact.problem, **method)
    made = automatic(exact.problem)
    for names in (["factor"], ["lifting"], ["kink"], list(made)):
        given = by_networks(exact.problem, **method, **{name: made[name] for name in names})
        for one, other in ((given.state, plain.state), (given.adjoint, plain.adjoint), (given.control, plain.control)):
            assert 0 < relative(one(INNER), other(INNER)) < 1e-7


def test_other_functions_than_automatic_ones_give_good_answers():
    exact = EXACT["circle"][0]
    others = {
        "factor": lambda x: np.cos(np.pi / 2 * x[0]) * np.cos(np.pi / 2 * x[1]),
        "lifting": exact.state["outside"],
        "kink": {"inside": lambda x: 4 * (x**2).sum(axis=0), "outside": 1.0},
    }
    for given in (*({name: item} for name, item in others.items()), others):
        assert (errors(by_networks(exact.problem, **CHEAP, **given), exact) < (3e-3, 3e-3)).all()


def errors(result, exact):
    """Relative ones of state and control."""
    pairs = (result.state, exact.state), (result.control, exact.control)
    return np.array([relative(field(ANYWHERE), exact.at(sides, ANYWHERE)) for field, sides in pairs])


@pytest.mark.parametrize("names", [["factor"], ["lifting"], ["kink"], ["factor", "lifting", "kink"]])
def test_learned_functions_give_good_answers(names):
    exact = EXACT["circle"][0]
    result = by_networks(exact.problem, **CHEAP, **dict.fromkeys(names, "learned"))
    assert (errors(result, exact) < (3e-2, 3e-3)).all()
    y = exact.state["outside"](EDGE)
    assert np.abs(result.state(EDGE) - y).max() < 1e-7 and np.abs(result.adjoint(EDGE)).max() < 1e-12
    u = result.control(ANYWHERE)
    assert u.min() == -1 and u.max() <= 1


@needs_gmsh
def test_galerkins_method_takes_given_and_learned_functions():
    exact = EXACT["circle"][0]
    for given in ({"factor": lambda x: np.cos(np.pi / 2 * x[0]) * np.cos(np.pi / 2 * x[1])}, {"lifting": "learned"}):
        result = by_networks(exact.problem, features=100, scale=2.0, **given)
        assert (errors(result, exact) < (1e-2, 2e-3)).all()


# -- families ----------------------------------------------------------------------------------------------------------


@needs_gmsh
def test_a_member_of_a_family_is_certified():
    family = pc.Parametric(lambda radius: reference.circle(radius=radius).problem, radius=(0.45, 0.5))
    solution = pc.solve_parametric(family, SQUARE, features=150, members=40)
    member, problem = solution.member(radius=0.47), family.at(radius=0.47)
    assert isinstance(member, pc.Result) and member.status is Status.SOLVED and member.success
    assert member.certificate.bound is None and "all members of a family at once" in member.method
    with pc.discretise(problem, pc.fitted_mesh(SQUARE, problem.interface, 0.1), pc.Embedded(2)) as map:
        certificate, optimum = pc.certify(problem, member.control, map), pc.minimise(problem, map)
        u = map.control.interpolate(member.control)
        distance = map.control.norm(u - optimum.control.array)
    assert distance <= certificate.bound * (1 + 1e-6) + optimum.certificate.bound
    assert 0 < certificate.bound < 0.05 * map.control.norm(u)


@needs_gmsh
def test_level_sets_have_sides():
    shape = pc.LevelSet(lambda x: x[0] ** 2 + x[1] ** 2 - 0.25)
    exact = reference.circle()
    problem = replace(exact.problem, interface={"gamma": pc.Interface(shape)})
    result = pc.solve(problem, SQUARE, method=pc.HardConstraint(features=150, scale=2.0))
    near, inside = np.array([[0.1, 0.495], [0.1, 0.0]]), exact.control["inside"]
    np.testing.assert_allclose(result.control(near, side="inside"), inside(near), atol=1e-3)
    map = pc.discretise(problem, pc.fitted_mesh(SQUARE, problem.interface, size=0.2), pc.Embedded(2))
    assert pc.certify(problem, result.control, map).relative < 0.05


@pytest.mark.parametrize("near", [(0.1, 0.2), [(0.1,)], "ab", [(np.nan, 0.0)]])
def test_places_that_are_none(near):
    with pytest.raises(ProblemError, match="near is a list of places"):
        pc.HardConstraint(near=near)


def test_sides_without_networks_are_explained():
    with pytest.raises(MeshError, match="are for networks, method='pinn'"):
        pc.solve(reference.circle().problem, SQUARE)
