"""What trial spaces are not made for: one error with the culprit, before any work."""

from dataclasses import replace

import numpy as np
import pytest

import pdecontrol as pc
from pdecontrol.errors import DataError, ProblemError
from pdecontrol.pinn.checks import checked_domain
from pdecontrol.pinn.functions.ansatz import hard
from pdecontrol.pinn.functions.lifting import Lifting
from pdecontrol.problem import L1, Interface

BOX = [(-1, 1), (-1, 1)]
ZERO = {"boundary": pc.Dirichlet()}


def stated(equation=None, shape=None, **changes):
    """A problem with the circle of radius 1/2, or others."""
    interface = changes.pop("interface", {"gamma": Interface(shape or pc.Circle(0.5))})
    problem = pc.ControlProblem(
        equation=equation or pc.Elliptic({"inside": 1.0, "outside": 10.0}),
        control=pc.Distributed(),
        tracking=pc.Tracking(1.0),
        terms=[pc.Tikhonov(1.0), pc.Box(-1, 1)],
        boundary=ZERO,
        interface=interface,
    )
    return replace(problem, **changes)


def heat(shape, **changes):
    return stated(pc.Parabolic(pc.Elliptic(), T=1.0, steps=4), shape, **changes)


def bounds(lower, upper):
    return stated(terms=[pc.Tikhonov(1.0), pc.Box(lower, upper)])


def level(function):
    return stated(shape=pc.LevelSet(function))


def circles(*others):
    """The circle of radius 1/2 and others, by centre and radius."""
    found = {"gamma": Interface(pc.Circle(0.5))}
    return found | {f"gamma{i}": Interface(pc.Circle(r, c), inside=f"in{i}") for i, (c, r) in enumerate(others)}


GEOMETRY = {
    "no change of sign": (lambda: level(lambda x: 1 + x[0] ** 2), r"interface 'gamma': The level set has no sign cha"),
    "open level set": (lambda: level(lambda x: x[0]), r"interface 'gamma': The level set leaves \[-1, 1\] x"),
    "inside out": (lambda: level(lambda x: 0.25 - x[0] ** 2 - x[1] ** 2), "its level is negative on the boundary"),
    "beyond the domain": (lambda: stated(shape=pc.Circle(0.6, (0.5, 0))), r"'gamma' leaves the domain .* x = \[1.1, 0"),
    "away from the domain": (lambda: stated(shape=pc.Circle(0.5, (9, 0))), "'gamma' leaves the domain"),
    "touching the boundary": (lambda: stated(shape=pc.Circle(0.5, (0.5, 0))), r"near to its boundary, at x = \[1.0, 0"),
    "near to the boundary": (lambda: stated(shape=pc.Circle(0.999)), "trial spaces need a distance of 0.0028"),
    "a polygon": (lambda: stated(shape=pc.Polygon([(0, 0), (0.5, 0), (0, 0.5)])), "'gamma': a trial space needs a smo"),
    "a sphere": (lambda: stated(shape=pc.Sphere(0.5)), "'gamma': A sphere is a surface"),
    "no shape": (lambda: stated(interface={"gamma": Interface()}), "'gamma': a trial space needs a smooth shape, got "),
    "crossing": (lambda: stated(interface=circles(((0.4, 0), 0.3))), "'gamma' and 'gamma0' cross or come near"),
    "touching": (lambda: stated(interface=circles(((0.7, 0), 0.2))), r"cross or come near .* x = \[0.5, 0"),
    "near to each other": (lambda: stated(interface=circles(((0.7, 0), 0.199))), "need a distance of 0.0028"),
    "touching from inside": (lambda: stated(interface=circles(((0.3, 0), 0.2))), "'gamma' and 'gamma0' cross or come"),
    "same circle": (lambda: stated(interface=circles(((0, 0), 0.5))), "'gamma' and 'gamma0' cross or come near"),
    "one part on both sides": (
        lambda: stated(interface=circles() | {"core": Interface(pc.Circle(0.2))}),
        "'core' has the part 'inside' on both",
    ),
    "moving beyond": (
        lambda: heat(pc.Moving(lambda t: pc.Circle(0.4, (0.7 * t, 0)))),
        "at t = 0.875: interface 'gamma' leaves the domain",
    ),
    "moving, steady": (lambda: stated(shape=pc.Moving(lambda t: pc.Circle(0.4))), "'gamma' moves, but the equation is"),
    "moving, becoming none": (
        lambda: heat(pc.Moving(lambda t: pc.Circle(0.4) if t < 0.5 else None)),
        "at t = 0.5: a moving shape must return a shape at t = 0.5, got None",
    ),
    "moving, becoming a polygon": (
        lambda: heat(pc.Moving(lambda t: pc.Circle(0.4) if t < 0.5 else pc.Polygon([(0, 0), (0.5, 0), (0, 0.5)]))),
        "at t = 0.5: interface 'gamma': a trial space needs a smooth shape",
    ),
    "moving, vanishing": (
        lambda: heat(pc.Moving(lambda t: pc.LevelSet(lambda x: x[0] ** 2 + x[1] ** 2 - 0.25 * (0.7 - t)))),
        "at t = 0.75: interface 'gamma': The level set has no sign change",
    ),
    "moving into another": (
        lambda: heat(
            None,
            interface={
                "still": Interface(pc.Circle(0.2, (0.7, 0)), inside="stone"),
                "gamma": Interface(pc.Moving(lambda t: pc.Circle(0.3, (0.4 * t - 0.1, 0)))),
            },
        ),
        "at t = 0.75: interfaces 'still' and 'gamma' cross or come near",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GEOMETRY)
def test_interfaces_that_trial_spaces_cannot_follow_are_refused(name):
    state, message = GEOMETRY[name]
    with pytest.raises(ProblemError, match=message):
        checked_domain(state(), BOX)


def flat(power):
    """A level set whose gradient vanishes in the point (0, 1/2) of it, unless the power is 0."""
    return pc.LevelSet(lambda x: (x[0] ** 2 + x[1] ** 2 - 0.25) * (x[0] ** 2 + (x[1] - 0.5) ** 2 + 1e-6) ** power)


def test_an_interface_without_a_slope_has_no_kink():
    domain = checked_domain(stated(shape=flat(1)), BOX)
    with pytest.raises(ProblemError, match=r"'gamma': the gradient of its level vanishes at x = \[.*0.*, 0.[45].*kink"):
        hard(domain, Lifting(domain, ZERO, {"gamma": 0.0}), 1.0)
    moving = checked_domain(heat(pc.Moving(lambda t: flat(t == 1))), BOX)
    with pytest.raises(ProblemError, match=r"'gamma': the gradient of its level vanishes at x = .*, t = 1: phi"):
        hard(moving, Lifting(moving, ZERO, {"gamma": 0.0}, 0.0), 1.0)


def flow(**terms):
    return stated(pc.Elliptic(**terms))


def on_sides(*tags):
    return stated(boundary={tag: pc.Dirichlet() for tag in tags})


def observed(**options):
    return stated(tracking=pc.Tracking(1.0, **options))


def observed_in_time(times):
    return heat(None, tracking=pc.Tracking(1.0, times=times))


KINDS = {
    "advection": (lambda: flow(advection=[1.0, 0.0]), "equations without advection: take finite elements"),
    "semilinear": (lambda: flow(semilinear=pc.Semilinear(np.tanh, lambda y: 1 - np.tanh(y) ** 2)), "without semilinea"),
    "convection": (lambda: stated(pc.burgers(1.0, (1.0, 0.0))), "without convection"),
    "in time": (lambda: stated(pc.Parabolic(pc.burgers(1.0, (1.0, 0.0)), T=1.0, steps=2)), "without convection"),
    "quasilinear": (lambda: flow(diffusion=pc.Quasilinear(lambda y: 1 + y**2, lambda y: 2 * y)), "not for a Quasilin"),
    "weak": (lambda: stated(pc.Weak(lambda y, v, domain: y * v)), r"for Elliptic equations .*, not Weak"),
    "no equation": (
        lambda: pc.ControlProblem(tracking=pc.Tracking(1.0), terms=[pc.Tikhonov(1.0)]), "for Elliptic eq.*, not None",
    ),
    "boundary control": (
        lambda: stated(control=pc.Boundary("top"), boundary={}), r"control on 'top': .* on an interface, \['gamma'\]",
    ),
    "control on the outer side": (lambda: stated(control=pc.Boundary("gamma+")), r"control on 'gamma\+'"),
    "actuators": (lambda: stated(control=pc.Actuators([1.0])), r"take Distributed controls.*, not Actuators"),
    "coefficient": (lambda: stated(control=pc.Coefficient()), "take Distributed controls.*, not Coefficient"),
    "initial value": (lambda: heat(None, control=pc.InitialValue()), "take Distributed controls.*, not InitialValue"),
    "control on no part": (lambda: stated(control=pc.Distributed("insid")), r"Distributed: there is no part 'insid', "),
    "control on an interface": (lambda: stated(control=pc.Distributed("gamma")), "Distributed: there is no part 'gamm"),
    "Neumann": (lambda: stated(boundary=ZERO | {"top": pc.Neumann(1.0)}), r"boundary\['top'\]: .*, not Neumann"),
    "Robin": (lambda: stated(boundary={"boundary": pc.Robin(1.0)}), r"boundary\['boundary'\]: .*, not Robin"),
    "no condition": (lambda: stated(boundary={}), r"whole boundary, .* none on \['bottom', 'left', 'right', 'top'\]"),
    "some sides": (lambda: on_sides("left", "right", "top"), r"on the whole boundary, .* none on \['bottom'\]"),
    "an unknown side": (lambda: on_sides("boundary", "front"), r"boundary\['front'\]: a rectangle has"),
    "a later condition": (lambda: on_sides("left", "boundary"), "state the condition for 'boundary' before"),
    "no part observed": (lambda: observed(on="insid"), r"Tracking: there is no part or interface 'insid', the parts a"),
    "boundary observed": (lambda: observed(on="top"), "Tracking on 'top': y is given on the boundary"),
    "outer side observed": (lambda: observed(on="gamma+"), r"Tracking on 'gamma\+': .* the inner side, 'gamma'"),
    "flow over the boundary": (
        lambda: stated(terms=[pc.Tikhonov(1.0), pc.Linear(1.0, on="boundary")]), "Linear on 'boundary': y is given",
    ),
    "points outside": (lambda: observed(points=np.array([[0.0], [1.5]])), "not all points are in the domain"),
    "points in space": (lambda: observed(points=np.zeros((3, 2))), "not all points are in the domain"),
    "a late time": (lambda: observed_in_time(2.0), "Tracking: the time 2 is not between 0 and 1"),
    "a late interval": (lambda: observed_in_time((0.5, 2.0)), "Tracking: the time 2 is not between 0 and 1"),
    "bounds cross": (lambda: bounds(lambda x: x[0], lambda x: 0.5 + 0 * x[0]), r"lower bound .* above .* 0.5 at x = "),
    "bounds cross in time": (
        lambda: heat(None, terms=[pc.Tikhonov(1.0), pc.Box(lambda x, t: t + 0 * x[0], 0.6)]), "above .* at x = .*, t =",
    ),
    "no diffusion": (lambda: flow(diffusion=lambda x: x[0] - 0.2), r"diffusion must be positive, it is -1.2 at x = \["),
    "no diffusion outside": (lambda: flow(diffusion={"inside": 1, "outside": 0}), "diffusion must be positive, it is "),
    "array of bounds": (lambda: bounds(np.zeros(5), 1.0), "the lower bound of Box: arrays are values on a mesh, and"),
    "array of targets": (lambda: stated(tracking=pc.Tracking(np.zeros(5))), "the target of Tracking: arrays are value"),
    "array on a part": (lambda: flow(source={"inside": np.zeros(5)}), "source: arrays are values on a mesh"),
    "tag of two things": (
        lambda: stated(interface={"left": Interface(pc.Circle(0.5))}), '"left" names an interface and a boundary',
    ),
    "part like an interface": (
        lambda: stated(flow().equation, interface={"gamma": Interface(pc.Circle(0.5)), "b": Interface(pc.Circle(0.2),
                       inside="gamma")}), '"gamma" names both a part and a boundary',
    ),
    "a part misspelt": (lambda: flow(diffusion={"inisde": 1.0, "outside": 2.0}), r"name the parts \['inisde', 'outsid"),
    "one part misspelt": (lambda: flow(source={"inisde": 1.0}), r"name a part 'inisde', but the parts are \['inside'"),
    "no rectangle": (lambda: None, "takes a rectangle"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_problems_that_trial_spaces_are_not_made_for_are_refused(name):
    state, message = KINDS[name]
    problem = state()
    with pytest.raises(ProblemError, match=message) as caught:
        checked_domain(*((stated(), "square") if problem is None else (problem, BOX)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


DATA = {
    "not finite": (lambda: flow(source=lambda x: np.where(x[0] > 0.5, np.nan, 1.0)), "source: .* values are NaN"),
    "not finite on a part": (lambda: flow(diffusion={"inside": lambda x: 1 / 0 * x[0], "outside": 1.0}), "diffusion o"),
    "left out": (lambda: flow(diffusion={"inside": 1.0}), r"diffusion: the parts \['inside'\] leave out the point x ="),
    "wrong shape": (lambda: flow(reaction=lambda x: x), r"reaction: expected shape \(1089,\), one value a point"),
    "bound is NaN": (lambda: bounds(lambda x: np.where(x[0] > 0, np.nan, 0.0), 1.0), "lower bound of Box: .* Na"),
    "time in a steady problem": (lambda: flow(source=lambda x, t: t * x[0]), "source is a function of x and t, but"),
}  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_data_that_make_no_sense_are_refused(name):
    state, message = DATA[name]
    with pytest.raises(DataError, match=message):
        checked_domain(state(), BOX)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"boundary": pc.Dirichlet(lambda x: np.abs(x[0]))}, "on the bottom side is no smooth function"),
        (
            ZERO | {"left": pc.Dirichlet(1.0)},
            r"on 'left' and 'bottom' differ at the corner x = \[-1.0, -1.0\]: 1 and 0",
        ),
        (ZERO | {"top": pc.Dirichlet(lambda x: 1 + x[0])}, r"on 'right' and 'top' differ at the corner x = \[1.0, 1.0"),
        ({"boundary": pc.Dirichlet(lambda x: np.where(x[1] > 0, np.inf, 0))}, "Dirichlet value: .* NaN or infinite"),
    ],
)
def test_boundary_values_that_no_smooth_function_has_are_refused(conditions, message):
    domain = checked_domain(stated(boundary=conditions), BOX)
    with pytest.raises(DataError, match=message):
        Lifting(domain, conditions, {"gamma": 0.0})


def test_what_is_right_is_taken():
    nested = circles(((0.1, 0), 0.2), ((0.75, 0.75), 0.1))
    domain = checked_domain(stated(pc.Elliptic(), interface=nested), BOX)
    assert domain.tags == ["inside", "in0", "in1", "outside"] and domain.around == [set(), {0}, set()]
    other = {"inside": 1.0, "shell": 10.0}
    assert checked_domain(stated(pc.Elliptic(other)), BOX).outside == "shell"
    assert checked_domain(stated(pc.Elliptic(), interface={}), [(0, 3), (0, 1)]).tags == ["outside"]
    # bounds and references of a control on a part are looked at there alone
    part = stated(
        control=pc.Distributed("inside"),
        terms=[pc.Tikhonov(1.0, lambda x: np.where(np.hypot(*x) < 0.6, 0.0, np.nan)), pc.Box({"inside": -1}), L1(0.1)],
    )
    assert checked_domain(part, BOX).tags == ["inside", "outside"]
    turning = pc.Moving(lambda t: pc.Circle(0.3, (0.4 * np.cos(t), 0.4 * np.sin(t))))
    assert checked_domain(heat(turning), BOX).moves


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: stated(shape=pc.Circle(0.6, (0.5, 0))), "leaves the domain"),
        (lambda: bounds(lambda x: x[0], lambda x: 0.5 + 0 * x[0]), "is above the upper bound 0.5"),
        (lambda: stated(control=pc.Coefficient()), "not Coefficient"),
    ],
)
def test_solve_refuses_before_any_work(state, message, monkeypatch):
    def never(*_):
        raise AssertionError("long work has begun")

    monkeypatch.setattr("pdecontrol.pinn.method.hard", never)
    monkeypatch.setattr("pdecontrol.pinn.weak.mesh_of", never)
    monkeypatch.setattr("pdecontrol.pinn.solve.mesh_of", never)
    with pytest.raises(ProblemError, match=message):
        pc.solve(state(), BOX, method="pinn")
