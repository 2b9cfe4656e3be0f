"""Families of problems solved at once: their members against exact solutions, and what is refused."""

import numpy as np
import pytest

from pdecontrol import interface_reference as reference
from pdecontrol.errors import ConvergenceError, ProblemError
from pdecontrol.pinn.features import through
from pdecontrol.pinn.networks.layer import Layer
from pdecontrol.pinn.networks.network import Shallow
from pdecontrol.pinn.parametric import _system, _together, solve_parametric
from pdecontrol.problem import Parametric
from pdecontrol.terms.control import soft

SQUARE = [(-1.0, 1.0), (-1.0, 1.0)]


def circle(radius, contrast, alpha=1.0):
    return reference.circle((1.0, contrast), radius=radius, alpha=alpha)


def family(**ranges):
    return Parametric(lambda **parameters: circle(**parameters).problem, **ranges)


CIRCLES = family(radius=(0.4, 0.6), contrast=(4.0, 10.0))


@pytest.fixture(scope="module")
def solution():
    return solve_parametric(CIRCLES, SQUARE, features=300, members=120, points=20, on_interfaces=6)


def error(function, exact, sides):
    x = np.random.default_rng(17).uniform(-1, 1, (2, 2000))
    expected = exact.at(sides, x)
    return np.linalg.norm(function(x) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(("radius", "contrast"), [(0.5, 7.0), (0.43, 9.1), (0.57, 4.6)])
def test_members_of_a_family_against_exact_solutions(solution, radius, contrast):
    member, exact = solution.member(radius=radius, contrast=contrast), circle(radius, contrast)
    pairs = [(member.state, exact.state), (member.adjoint, exact.adjoint), (member.control, exact.control)]
    for function, sides in pairs:
        assert error(function, exact, sides) < 1e-2
    assert error(member.state, exact, circle(0.9 * radius, contrast).state) > 2e-2
    assert solution.residual(radius=radius, contrast=contrast) < 2e-2


def test_members_satisfy_conditions_exactly(solution):
    member, exact = solution.member(radius=0.47, contrast=5.5), circle(0.47, 5.5)
    share = np.linspace(-1, 1, 30)
    edge = np.array([[*share, *np.ones(30)], [*np.ones(30), *share]])
    np.testing.assert_allclose(member.state(edge), exact.state["outside"](edge), rtol=1e-12)
    np.testing.assert_allclose(member.adjoint(edge), 0, atol=1e-13)
    gamma = exact.shape.curves(0.1, 0.1, SQUARE)[0]
    for function in (member.state, member.adjoint):
        inner, outer = (function(gamma, side=side) for side in ("inside", "outside"))
        np.testing.assert_allclose(inner, outer, atol=1e-12)
    u = member.control(np.random.default_rng(2).uniform(-1, 1, (2, 500)))
    assert u.min() == -1 and u.max() <= 1


def test_members_are_judged_by_residuals_elsewhere(solution):
    assert len(solution.judged) == 20
    for parameters, residual in solution.judged[:3]:
        assert 0.5 < solution.residual(**parameters) / residual < 2
    assert 1e-3 < max(residual for _, residual in solution.judged) < 0.05


def test_a_family_that_is_not_resolved_has_no_answer():
    wide = family(radius=(0.3, 0.7), contrast=(2.0, 20.0))
    with pytest.raises(ConvergenceError, match=r"of what is given for {'radius': 0\.\d+, 'contrast'.*more features"):
        solve_parametric(wide, SQUARE, features=20, members=30)


def test_a_weight_may_be_a_parameter():
    found = solve_parametric(
        family(alpha=(0.1, 1.0), radius=(0.45, 0.5), contrast=(5.0, 6.0)), SQUARE, features=250, members=100
    )
    member, exact = found.member(alpha=0.3, radius=0.47, contrast=5.5), circle(0.47, 5.5, 0.3)
    assert error(member.control, exact, exact.control) < 3e-2


def test_a_family_in_time():
    heat = Parametric(lambda contrast: reference.heat(4, diffusion=(1.0, contrast)).problem, contrast=(2.0, 6.0))
    found = solve_parametric(heat, SQUARE, features=200, members=70, points=40, on_interfaces=12)
    member, exact = found.member(contrast=3.3), reference.heat(4, diffusion=(1.0, 3.3))
    x = np.random.default_rng(17).uniform(-1, 1, (2, 500))
    for function, sides in ((member.state, exact.state), (member.control, exact.control)):
        pairs = [(function(x, t), exact.at(sides, x, t)) for t in (0.0, 0.4, 0.8, 1.2, np.pi / 2)]
        found, expected = np.swapaxes(pairs, 0, 1)
        assert np.linalg.norm(found - expected) < 4e-2 * np.linalg.norm(expected)


def test_systems_together_are_the_mean_of_theirs():
    """|r|^2 = mean of |r_k|^2 / scale_k^2, with different alpha too."""
    generator = np.random.default_rng(5)
    several = family(alpha=(0.01, 1.0), radius=(0.4, 0.5), contrast=(5.0, 6.0))
    systems = [_system(several, SQUARE, mu, 30, 8, generator) for mu in generator.uniform(-1, 1, (3, 3))]
    layer = Layer(generator.standard_normal((6, 10)), generator.standard_normal(10))
    networks = [Shallow(layer, generator.standard_normal(10)).apply for _ in range(2)]
    joined = _together(systems)
    relative = [np.linalg.norm(system.residual(*networks)) / system.scale for system in systems]
    assert np.linalg.norm(joined.residual(*networks)) == pytest.approx(np.sqrt(np.mean(np.square(relative))), rel=1e-12)
    assert len(joined.blocks) == 4 and joined.size == sum(system.size for system in systems)
    assert joined.scale == pytest.approx(1, rel=1e-12)


def test_thresholds_at_points():
    v = np.array([2.0, -2.0, 0.5, 3.0])
    np.testing.assert_array_equal(soft(v, np.array([1.0, 0.5, 1.0, 0.0])), [1.0, -1.5, 0.0, 3.0])


def test_planes_of_neurons_meet_their_inputs():
    generator = np.random.default_rng(3)
    inputs, lengths = generator.uniform(-1, 1, (5, 40)), generator.uniform(0.5, 2, 40)
    layer = through(inputs, lengths, generator)
    np.testing.assert_allclose((layer.weights * inputs).sum(axis=0) + layer.biases, 0, atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(layer.weights, axis=0), lengths)


def test_parameters_in_units_of_their_ranges():
    mixed = Parametric(lambda a, b: reference.circle().problem, a=(1.0, 100.0), b=(-3.0, 5.0))
    np.testing.assert_allclose(mixed.scaled({"a": 10.0, "b": 1.0}), 0, atol=1e-15)  # a by its logarithm
    for corner in ([-1, -1], [1, 1], [-1, 1], [0.3, -0.7]):
        np.testing.assert_allclose(mixed.scaled(mixed.unscaled(np.array(corner))), corner, atol=1e-14)
    np.testing.assert_allclose(mixed.spread, 1)
    np.testing.assert_allclose(family(radius=(0.4, 0.6), contrast=(4.0, 40.0)).spread, [np.log(1.5) / 2, 1])
    assert repr(mixed) == "Parametric(a=(1, 100), b=(-3, 5))"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"radius": 0.61, "contrast": 5.0}, r"radius = 0.61 is not in its range from 0.4 to 0.6"),
        ({"radius": 0.5}, r"the parameters are \['radius', 'contrast'\], got \['radius'\]"),
        ({"radius": 0.5, "contrast": 5.0, "size": 1.0}, "got"),
        ({"radius": np.nan, "contrast": 5.0}, "the parameter 'radius' must be a finite number"),
        ({"radius": "0.5", "contrast": 5.0}, "the parameter 'radius' must be a finite number"),
    ],
)
def test_parameters_that_are_refused(solution, parameters, message):
    for refuses in (CIRCLES.at, solution.member):
        with pytest.raises(ProblemError, match=message):
            refuses(**parameters)


@pytest.mark.parametrize(
    ("make", "ranges", "message"),
    [
        (None, {"a": (0, 1)}, "takes a function"),
        (lambda a: None, {}, "takes a range for each parameter"),
        (lambda a: None, {"b": (0, 1)}, r"does not take the parameters \['b'\]: missing a required argument: 'a'"),
        (lambda a: None, {"a": (1, 1)}, r"'a' must be \(low, high\) with low < high"),
        (lambda a: None, {"a": (0, np.inf)}, "the range of 'a' must be 2 finite numbers"),
        (lambda a: None, {"a": 3}, "the range of 'a'"),
    ],
)
def test_families_that_are_refused(make, ranges, message):
    with pytest.raises(ProblemError, match=message):
        Parametric(make, **ranges)


def test_what_is_no_problem_is_refused():
    with pytest.raises(ProblemError, match="must return a ControlProblem, got None"):
        solve_parametric(Parametric(lambda a: None, a=(0.0, 1.0)), SQUARE)


def test_members_at_corners_are_checked_before_any_work():
    wide = Parametric(lambda radius: reference.circle(radius=radius).problem, radius=(0.4, 1.1))
    with pytest.raises(ProblemError, match="leaves the domain"):
        solve_parametric(wide, SQUARE, features=20, members=10)
