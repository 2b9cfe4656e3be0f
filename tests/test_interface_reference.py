"""The reference problems with an interface satisfy what they state: equations, jumps, conditions, laws of control."""

import numpy as np
import pytest

from pdecontrol import interface_reference as reference
from pdecontrol.problem import Boundary, Box, Moving, Tikhonov

STEP = 0.02
NODES = np.arange(-4, 5) * STEP
FIRST = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280]) / STEP
SECOND = np.array([-1 / 560, 8 / 315, -1 / 5, 8 / 5, -205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560]) / STEP**2
CONTRASTS = [(1.0, 10.0), (1.0, 1e3), (1e3, 1.0), (1.0, 1e-3), (1e-3, 1.0)]
STEADY = {
    **{f"circle {kappa}": reference.circle(kappa) for kappa in [(1.0, 10.0), (1.0, 5.0)]},
    "circle, small alpha": reference.circle(alpha=1e-4, size=10.0),
    "circle, another radius": reference.circle((1.0, 4.0), radius=0.35),
    "circle without bounds": reference.circle(bounds=(-np.inf, np.inf)),
    **{f"scaled {kappa}": reference.scaled(kappa) for kappa in CONTRASTS},
    "control on the circle": reference.control_on_circle(),
    **{f"flux control {kappa}": reference.flux_control(kappa) for kappa in [(1.0, 10.0), (5.0, 0.5)]},
    "inclusions": reference.inclusions(),
}
IN_TIME = {
    "heat": reference.heat(8),
    "moving": reference.moving(8),
    "moving without bounds": reference.moving(8, bounds=(-np.inf, np.inf)),
}
SQUARE = [(-1.0, 1.0), (-1.0, 1.0)]


def differences(function, x, *time):
    """Gradient and Laplacian by differences of order eight."""
    axes = [np.stack([function(x + s * e[:, None], *time) for s in NODES]) for e in np.eye(2)]
    return np.stack([FIRST @ values for values in axes]), sum(SECOND @ values for values in axes)


def on(data, tag):
    return data[tag] if isinstance(data, dict) else data


def value(data, x, *time):
    return data(x, *time) if callable(data) else data + np.zeros(x.shape[1])


def points(exact, *time):
    """Points of all parts, away from the origin where r^3 is not smooth."""
    x = np.random.default_rng(11).uniform(-1, 1, (2, 1600 if len(exact.state) > 2 else 400))
    x = x[:, np.hypot(*x) > 0.15]
    number = exact.at({tag: lambda x, *_, i=i: np.full(x.shape[1], i) for i, tag in enumerate(exact.state)}, x, *time)
    return {tag: x[:, number == i] for i, tag in enumerate(exact.state)}


def curves(exact, *time):
    """Each interface with points on it and normals there."""
    for item in exact.problem.interface.values():
        shape = item.shape.at(*time) if isinstance(item.shape, Moving) else item.shape
        (x,) = shape.curves(0.05, 0.1, SQUARE)
        yield item, x, shape.normal(x)


def circle_points():
    angle = np.linspace(0, 2 * np.pi, 60)
    return 0.5 * np.stack([np.cos(angle), np.sin(angle)])


def edge_points():
    line = np.linspace(-1, 1, 15)
    ones = np.ones(15)
    return np.hstack([np.stack(pair) for pair in ((line, ones), (line, -ones), (ones, line), (-ones, line))])


def clipped(problem, x, raw):
    box = problem.term(Box) or Box()
    return np.clip(raw, value(box.lower, x), value(box.upper, x))


def jump(sides, curve, *time, kappa=None):
    """Outside minus inside, of values, or of fluxes along the normal."""
    item, x, n = curve
    if kappa is None:
        return sides["outside"](x, *time) - sides[item.inside](x, *time)
    outer, inner = (kappa[tag] * (n * differences(sides[tag], x, *time)[0]).sum(0) for tag in ("outside", item.inside))
    return outer - inner


@pytest.mark.parametrize("name", STEADY)
def test_state_and_adjoint_equations_on_both_sides(name):
    exact = STEADY[name]
    problem, kappa = exact.problem, exact.problem.equation.diffusion
    for tag, x in points(exact).items():
        assert x.shape[1] > 25
        u = 0.0 if isinstance(problem.control, Boundary) else exact.control[tag](x)
        y, p = exact.state[tag], exact.adjoint[tag]
        force = value(on(problem.equation.source, tag), x) + u
        np.testing.assert_allclose(-kappa[tag] * differences(y, x)[1], force, atol=1e-7 * abs(force).max())
        apart = y(x) - value(on(problem.tracking[0].target, tag), x)
        np.testing.assert_allclose(-kappa[tag] * differences(p, x)[1], apart, atol=1e-7 * abs(apart).max())


@pytest.mark.parametrize("name", STEADY)
def test_jumps_and_boundary_values(name):
    exact = STEADY[name]
    problem, kappa = exact.problem, exact.problem.equation.diffusion
    size = min(kappa.values())
    for curve in curves(exact):
        item, x, _ = curve
        u = exact.control["gamma"](x) if "gamma" in exact.control else 0.0
        np.testing.assert_allclose(jump(exact.state, curve), value(item.value, x), atol=1e-13)
        np.testing.assert_allclose(jump(exact.state, curve, kappa=kappa), value(item.flux, x) + u, atol=1e-8)
        np.testing.assert_allclose(jump(exact.adjoint, curve), 0, atol=1e-13)
        np.testing.assert_allclose(jump(exact.adjoint, curve, kappa=kappa), 0, atol=1e-9 * max(1, size))
    edge = edge_points()
    np.testing.assert_allclose(exact.state["outside"](edge), value(problem.boundary["boundary"].value, edge))
    np.testing.assert_allclose(exact.adjoint["outside"](edge), 0, atol=1e-15)


@pytest.mark.parametrize("name", STEADY)
def test_law_of_the_control(name):
    """J' = alpha u - p for [kappa dy/dn] = g1 + u with n outwards, alpha u + p for a source."""
    exact = STEADY[name]
    problem, alpha = exact.problem, exact.problem.term(Tikhonov).alpha
    if isinstance(problem.control, Boundary):
        x = circle_points()
        for p in exact.adjoint.values():
            np.testing.assert_allclose(exact.control["gamma"](x), clipped(problem, x, p(x) / alpha), atol=1e-14)
    else:
        for tag, x in points(exact).items():
            u = clipped(problem, x, -exact.adjoint[tag](x) / alpha)
            np.testing.assert_allclose(exact.control[tag](x), u, atol=1e-14)


def test_the_control_of_the_flux_tells_the_sign():
    exact, x = reference.flux_control(), circle_points()
    wrong = np.clip(-exact.adjoint["outside"](x) / 0.1, -1, 2)
    u = exact.control["gamma"](x)
    assert u.min() == -1 and u.max() == 2 and np.mean((u > -1) & (u < 2)) > 0.2
    assert np.linalg.norm(wrong - u) > np.linalg.norm(u)
    gamma = exact.problem.interface["gamma"]
    assert abs(gamma.value(x)).max() > 1 and abs(gamma.flux(x)).max() > 1


def test_root_mean_squares_of_the_circle():
    """Against values of an independent quadrature."""
    axis = -1 + (np.arange(1000) + 0.5) / 500
    x = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    bounded, free = reference.circle(), reference.circle(bounds=(-np.inf, np.inf))
    for exact, sides, expected in (
        (bounded, bounded.control, 0.2908912355),
        (free, free.control, 0.3054824636),
        (bounded, bounded.state, 0.1779840973),
    ):
        assert np.sqrt(np.mean(exact.at(sides, x) ** 2)) == pytest.approx(expected, rel=1e-5)
    assert np.mean(bounded.at(bounded.control, x) == -1) == pytest.approx(0.0325, abs=1e-4)


@pytest.mark.parametrize("name", IN_TIME)
def test_the_heat_equation_with_an_interface(name):
    exact = IN_TIME[name]
    problem = exact.problem
    steady, T, kappa = problem.equation.steady, problem.equation.T, problem.equation.steady.diffusion

    def rate(function, x, t):
        return FIRST @ np.stack([function(x, t + s) for s in NODES])

    for t in (0.3, 1.1):
        for tag, x in points(exact, t).items():
            y, p = exact.state[tag], exact.adjoint[tag]
            u = exact.control[tag](x, t)
            np.testing.assert_allclose(u, clipped(problem, x, -p(x, t)))
            left = rate(y, x, t) - kappa[tag] * differences(y, x, t)[1]
            np.testing.assert_allclose(left, steady.source[tag](x, t) + u, atol=1e-7)
            left = -rate(p, x, t) - kappa[tag] * differences(p, x, t)[1]
            np.testing.assert_allclose(left, y(x, t) - problem.tracking[0].target[tag](x, t), atol=1e-7)
        for sides in (exact.state, exact.adjoint):
            for curve in curves(exact, t):
                np.testing.assert_allclose(jump(sides, curve, t), 0, atol=1e-14)
                np.testing.assert_allclose(jump(sides, curve, t, kappa=kappa), 0, atol=1e-9)
            np.testing.assert_allclose(sides["outside"](edge_points(), t), 0, atol=1e-15)
    for sides, t in ((exact.state, 0.0), (exact.adjoint, T)):
        for tag, x in points(exact, t).items():
            np.testing.assert_allclose(sides[tag](x, t), 0, atol=1e-14)


def test_shares_on_which_bounds_hold():
    axis = -1 + (np.arange(200) + 0.5) / 100
    x = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    small, four, moving = STEADY["circle, small alpha"], STEADY["inclusions"], IN_TIME["moving"]
    assert np.mean(abs(small.at(small.control, x)) == 1) == pytest.approx(0.105, abs=2e-3)
    assert np.mean(abs(four.at(four.control, x)) == 1) == pytest.approx(0.093, abs=2e-3)
    assert np.mean(abs(moving.at(moving.control, x, 0.4)) == 0.3) == pytest.approx(0.33, abs=0.02)


def test_a_wrong_sign_of_a_jump_is_seen():
    exact = reference.scaled((1.0, 10.0))
    (curve,) = curves(exact)
    item, x, _ = curve
    assert abs(jump(exact.state, curve, kappa=exact.problem.equation.diffusion) + item.flux(x)).max() > 1
    assert abs(jump(exact.state, curve) + item.value(x)).max() > 1
