"""Quadrature on both sides of interfaces and along them: areas, lengths, moments, Gauss's theorem."""

import numpy as np
import pytest
from marks import needs_gmsh
from trial_cases import CASES, SQUARE, STILL

import pdecontrol as pc
from pdecontrol.pinn.functions.cubature import mesh_of, on_curve, on_domain
from pdecontrol.pinn.functions.quadrature import cell_rule, curve_rule

FITTED = [name for name in [*STILL, "wide"] if name != "none"]
LEAST = {"star": 1e-7, "two": 1e-7}  # relative error: arcs of their cells turn sharply


def flower(radius, depth, arms):
    return lambda s: radius + depth * np.sin(arms * s)


def oval(a, b):
    return lambda s: 1 / np.sqrt((np.cos(s) / a) ** 2 + (np.sin(s) / b) ** 2)


RADII = {
    "circle": {"gamma": flower(0.5, 0.0, 0)},
    "ellipse": {"gamma": oval(0.6, 0.25)},
    "wide": {"gamma": oval(0.6, 0.25)},
    "star": {"gamma": flower(0.5, 0.2, 5)},
    "two": {"one": flower(0.3, 0.0, 0), "two": flower(0.3, 0.05, 3)},
    "nested": {"core": flower(0.25, 0.0, 0), "shell": oval(0.7, 0.6)},
    "level set": {"gamma": lambda s: (0.1 / (np.cos(s) ** 4 + np.sin(s) ** 4)) ** 0.25},
}


def polar(radius, count=2000):
    """Area and length of a curve r(s), by the trapezoidal rule, which is exact to rounding."""
    s = 2 * np.pi * np.arange(count) / count
    r, slope = radius(s), radius(s + 1e-30j).imag / 1e-30
    return np.pi * np.mean(r**2), 2 * np.pi * np.mean(np.hypot(r, slope))


def rules(name, count=10):
    """A rule on the cells, and those on the curves."""
    case = CASES[name]
    mesh = mesh_of(case.domain, 0.35, 1.2)
    curves = {tag: curve_rule(mesh, tag, item, 2 * count) for tag, item in case.interface.items()}
    return case.domain, mesh, cell_rule(mesh, case.interface, count), curves


@needs_gmsh
@pytest.mark.parametrize("name", FITTED)
def test_areas_and_lengths_are_those_of_the_curves(name):
    domain, mesh, rule, curves = rules(name)
    places, least = domain.places(rule.points), LEAST.get(name, 1e-10)
    for number, (tag, radius) in enumerate(RADII[name].items()):
        area, length = polar(radius)
        assert rule.weights[places.inside[number]].sum() == pytest.approx(area, rel=least)
        assert curves[tag].weights.sum() == pytest.approx(length, rel=least)
        # the mesh itself has chords, and others on either side of curves
        chords = cell_rule(mesh, {}, 4)
        assert abs(chords.weights.sum() - np.prod(np.diff(domain.box))) < 1e-12
        assert abs(chords.weights[domain.places(chords.points).inside[number]].sum() / area - 1) > 1e4 * least
    if name == "star":
        assert polar(RADII[name]["gamma"])[0] == pytest.approx(np.pi * (0.25 + 0.02), rel=1e-14)


@needs_gmsh
@pytest.mark.parametrize("name", FITTED)
def test_parts_are_disjoint_and_where_they_are(name):
    domain, _, rule, _ = rules(name)
    places, numbers = domain.places(rule.points), np.concatenate(list(rule.parts.values()))
    assert set(rule.parts) == set(domain.tags)
    assert np.array_equal(np.sort(numbers), np.arange(rule.weights.size))
    for tag, own in rule.parts.items():
        assert np.array_equal(np.flatnonzero(domain.part(places, tag)), own)
    assert (rule.weights > 0).all()
    assert rule.weights.sum() == pytest.approx(np.prod(np.diff(domain.box)), rel=LEAST.get(name, 1e-10))


@needs_gmsh
@pytest.mark.parametrize("name", FITTED)
def test_points_of_curves_are_on_them_and_normals_show_outward(name):
    domain, _, _, curves = rules(name)
    for tag, rule in curves.items():
        shape = domain.shape(tag)
        assert np.abs(shape.project(rule.points) - rule.points).max() < 1e-7
        np.testing.assert_allclose(np.linalg.norm(rule.normals, axis=0), 1, rtol=1e-12)
        assert shape.contains(rule.points - 1e-5 * rule.normals).all()
        assert not shape.contains(rule.points + 1e-5 * rule.normals).any()


@needs_gmsh
@pytest.mark.parametrize("name", FITTED)
def test_gauss_theorem_holds_on_both_sides(name):
    domain, _, rule, curves = rules(name)
    places = domain.places(rule.points)

    def divergence(x):
        return 3 * x[0] ** 2 * x[1] ** 2 - x[1] * np.sin(x[0] * x[1]) + 2 * x[0] * x[1] + 1

    def field(x):
        return np.array([x[0] ** 3 * x[1] ** 2 + np.cos(x[0] * x[1]), x[0] * x[1] ** 2 + x[1]])

    for number, curve in enumerate(curves.values()):
        inside = rule.weights @ (divergence(rule.points) * places.inside[number])
        flux = curve.weights @ (field(curve.points) * curve.normals).sum(axis=0)
        assert inside == pytest.approx(flux, rel=LEAST.get(name, 1e-9))
        assert inside != pytest.approx(-flux, rel=0.1)


def test_polynomials_are_integrated_exactly_without_interfaces():
    rule = cell_rule(pc.unit_square(2), {}, 5)
    for i, j in [(0, 0), (3, 0), (1, 2), (4, 4), (0, 8), (5, 3)]:
        assert rule.weights @ (rule.points[0] ** i * rule.points[1] ** j) == pytest.approx(1 / (i + 1) / (j + 1))
    assert rule.weights @ rule.points[0] ** 16 != pytest.approx(1 / 17, rel=1e-13)
    assert rule.parts == {} and rule.normals is None


@needs_gmsh
def test_moments_of_the_disc():
    _, _, rule, curves = rules("circle")
    inside, curve = rule.parts["inside"], curves["gamma"]
    x, w = rule.points[:, inside], rule.weights[inside]
    assert w @ (x[0] ** 4 * x[1] ** 2) == pytest.approx(np.pi / 64 * 0.5**8, rel=1e-10)
    assert w @ x[0] ** 2 == pytest.approx(np.pi / 4 * 0.5**4, rel=1e-10)
    assert curve.weights @ curve.points[0] ** 2 == pytest.approx(np.pi * 0.5**3, rel=1e-10)
    # and polynomials over the square, from both sides together
    assert rule.weights @ (rule.points[0] ** 4 * rule.points[1] ** 2) == pytest.approx(4 / 15, rel=1e-12)


def test_cells_with_two_sides_on_an_interface_are_cut():
    corners = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]])
    points = np.hstack([corners, 0.5 * np.array([[0, 1, 0, -1], [-1, 0, 1, 0]])])
    around = [(k, 4 + k, 4 + (k - 1) % 4) for k in range(4)] + [(k, (k + 1) % 4, 4 + k) for k in range(4)]
    cells = np.array([(4, 5, 6), (4, 6, 7), *around]).T
    sides = np.sort([[4, 5, 6, 7], [5, 6, 7, 4]], axis=0)
    mesh = pc.Mesh(points, cells, {"inside": [0, 1], "outside": range(2, 10)}, {"gamma": sides})
    interface = {"gamma": pc.Interface(pc.Circle(0.5))}
    rule, curve = cell_rule(mesh, interface, 14), curve_rule(mesh, "gamma", interface["gamma"], 14)
    inside = rule.parts["inside"]
    assert rule.weights[inside].sum() == pytest.approx(np.pi / 4, rel=1e-8)
    assert rule.weights.sum() == pytest.approx(4, rel=1e-8)
    assert curve.weights.sum() == pytest.approx(np.pi, rel=1e-8)
    assert (np.hypot(*rule.points[:, inside]) < 0.5).all()
    outer = np.setdiff1d(np.arange(rule.weights.size), inside)
    assert (np.hypot(*rule.points[:, outer]) > 0.5).all()


# -- integrals of trial functions --------------------------------------------------------------------------------------


@needs_gmsh
def test_integrals_over_the_domain_see_the_interface():
    domain = CASES["circle"].domain
    [(places, weights)] = on_domain(domain)
    assert weights @ domain.part(places, "inside") == pytest.approx(np.pi / 4, rel=1e-6)
    [(places, weights)] = on_curve(domain, "gamma")
    assert places.inside.all() and weights.sum() == pytest.approx(np.pi, rel=1e-3)
    assert not on_curve(domain, "gamma+")[0][0].inside.any()


def test_integrals_over_time_and_moving_interfaces():
    domain = CASES["moving"].domain
    volume = sum(weights.sum() for _, weights in on_domain(domain))
    assert volume == pytest.approx(4 * 1.2, rel=1e-12)
    inside = sum(weights @ domain.part(places, "inside") for places, weights in on_domain(domain))
    assert inside == pytest.approx(np.pi * 0.16 * 1.2, rel=3e-3)
    moment = sum((places.t**3) * weights.sum() for places, weights in on_curve(domain, "gamma"))
    assert moment == pytest.approx(2 * np.pi * 0.4 * 1.2**4 / 4, rel=2e-3)
    centres = [(places.points @ weights / weights.sum(), places.t) for places, weights in on_curve(domain, "gamma")]
    for centre, t in centres:
        np.testing.assert_allclose(centre, [0.3 * np.cos(t), 0.3 * np.sin(t)], atol=1e-3)


def test_a_rectangle_without_interfaces_is_integrated_over():
    assert CASES["none"].domain.box == SQUARE
    [(places, weights)] = on_domain(CASES["none"].domain)
    assert weights @ (places.points[0] ** 2 * places.points[1] ** 4) == pytest.approx(4 / 15, rel=1e-12)
