"""Shapes of inclusions: levels, gradients, projections and the points on their curves."""

import numpy as np
import pytest

import pdecontrol as pc
from pdecontrol.errors import DataError, ProblemError
from pdecontrol.problem.curves import signed_area

BOX = [(-1.0, 1.0), (-1.0, 1.0)]
CORNERS = [(-0.5, -0.5), (-0.4, 0.6), (0.5, 0.5), (0.1, 0.1), (0.6, -0.4)]


def two_discs(x):
    return ((x[0] - 0.45) ** 2 + x[1] ** 2 - 0.09) * ((x[0] + 0.45) ** 2 + x[1] ** 2 - 0.09)


SMOOTH = {
    "circle": pc.Circle(0.5, (0.1, -0.2)),
    "ellipse": pc.Ellipse((0.7, 0.3), (0.1, 0.05), angle=0.4),
    "star": pc.Star(0.5, 0.2, arms=5),
    "turned star": pc.Star(0.5, -0.1, arms=3, centre=(0.1, 0.2), angle=0.3),
    "level set": pc.LevelSet(lambda x: x[0] ** 4 + x[1] ** 4 + 0.2 * x[0] - 0.1),
    "level set and gradient": pc.LevelSet(lambda x: np.sinh(x[0]) ** 2 + x[1] ** 2 - 0.2,
                                          lambda x: np.array([np.sinh(2 * x[0]), 2 * x[1]])),
    "two components": pc.LevelSet(two_discs),
}  # fmt: skip
PLANE = SMOOTH | {"polygon": pc.Polygon(CORNERS)}
SPACE = {
    "sphere": pc.Sphere(0.6, (0.1, 0.0, -0.1)),
    "level surface": pc.LevelSet(lambda x: x[0] ** 2 + 2 * x[1] ** 2 + 3 * x[2] ** 2 - 0.5),
}
SHAPES = PLANE | SPACE


def points(name, count=300):
    return np.random.default_rng(7).uniform(-1, 1, (3 if name in SPACE else 2, count))


@pytest.mark.parametrize("name", SHAPES)
def test_projections_lie_on_gamma_and_stay_there(name):
    shape, x = SHAPES[name], points(name)
    if name == "two components":  # the level has a saddle and two minima, from which its gradient leads nowhere
        x = x[:, np.linalg.norm(shape.gradient(x), axis=0) > 0.05]
    on_gamma = shape.project(x)
    scale = np.linalg.norm(shape.gradient(on_gamma), axis=0)
    assert (np.abs(shape.level(on_gamma)) / scale).max() < 1e-13
    assert np.abs(shape.project(on_gamma) - on_gamma).max() < 1e-13
    assert shape.distance(on_gamma).max() < 1e-13


@pytest.mark.parametrize("name", ["circle", "polygon", "sphere"])
def test_exact_projections_are_the_nearest_points(name):
    shape, x = SHAPES[name], points(name, 40)
    if name == "sphere":
        directions = np.random.default_rng(3).normal(size=(3, 4000))
        gamma = shape.project(np.array(shape.centre)[:, None] + directions)
    else:
        gamma = shape.curves(0.002, 0.01, BOX)[0]
    nearest = np.linalg.norm(x[:, :, None] - gamma[:, None], axis=0).min(axis=1)
    assert (shape.distance(x) <= nearest + 1e-14).all()
    assert (nearest - shape.distance(x)).max() < (0.02 if name == "sphere" else 1e-3)


@pytest.mark.parametrize("name", SHAPES)
def test_gradients_are_those_of_the_level(name):
    shape, x = SHAPES[name], points(name)
    if name == "star":
        x = x[:, np.linalg.norm(x, axis=0) > 0.05]
    step = 1e-6
    steps = step * np.eye(len(x))[:, :, None]
    differences = np.array([(shape.level(x + e) - shape.level(x - e)) / (2 * step) for e in steps])
    assert np.quantile(np.abs(differences - shape.gradient(x)), 0.995) < 1e-7  # a polygon's level has kinks


@pytest.mark.parametrize("name", SHAPES)
def test_normals_are_unit_and_lead_outwards(name):
    shape, x = SHAPES[name], points(name)
    normal = shape.normal(x)
    assert np.abs(np.linalg.norm(normal, axis=0) - 1).max() < 1e-14
    if name == "two components":
        x = x[:, np.linalg.norm(shape.gradient(x), axis=0) > 0.05]
    on_gamma = shape.project(x)
    normal = shape.normal(on_gamma)
    assert shape.contains(on_gamma - 1e-6 * normal).all() and not shape.contains(on_gamma + 1e-6 * normal).any()


def test_the_centre_has_a_normal_and_a_projection():
    for shape in (pc.Circle(0.5), pc.Ellipse((0.6, 0.2)), pc.Star(0.5, 0.2, 5), pc.Sphere(0.5)):
        centre = np.zeros((shape.dims[0], 1))
        assert shape.contains(centre).all() and np.isfinite(shape.normal(centre)).all()
        assert np.abs(shape.level(shape.project(centre))).max() < 1e-14


@pytest.mark.parametrize("name", PLANE)
@pytest.mark.parametrize(("size", "turn"), [(0.1, 0.5), (0.05, 0.25), (0.3, 0.2)])
def test_curves_are_anticlockwise_and_as_fine_as_asked(name, size, turn):
    shape = PLANE[name]
    curves = shape.curves(size, turn, BOX)
    assert len(curves) == (2 if name == "two components" else 1)
    for x in curves:
        assert np.abs(shape.level(x)).max() < 1e-14 and signed_area(x) > 0
        lengths = np.linalg.norm(np.roll(x, -1, axis=1) - x, axis=0)
        assert lengths.max() <= size * (1 + 1e-12) and lengths.min() > 0
        if name == "polygon":
            assert all((np.abs(x - np.array(corner)[:, None]).max(axis=0) == 0).any() for corner in CORNERS)
            continue
        ratios = lengths / np.roll(lengths, 1)
        assert max(ratios.max(), 1 / ratios.min()) < 1.5
        normals = shape.normal(x)
        cosines = (normals * np.roll(normals, -1, axis=1)).sum(axis=0)
        turning = np.arccos(np.clip(cosines, -1, 1))
        assert turning.max() <= turn
        assert len(lengths) < 1.4 * (lengths.sum() / size + turning.sum() / turn)


def test_areas_within_curves_have_order_two():
    exact = {"circle": np.pi / 4, "ellipse": np.pi * 0.21, "star": np.pi * (0.25 + 0.02)}
    for name, area in exact.items():
        errors = [area - signed_area(PLANE[name].curves(h, 5 * h, BOX)[0]) for h in (0.04, 0.02)]
        assert 1.9 < np.log2(errors[0] / errors[1]) < 2.1, name


def test_a_moving_shape_is_one_at_each_time():
    moving = pc.Moving(lambda t: pc.Circle(0.4, (t, 0.0)))
    assert moving.at(0.5).centre == (0.5, 0.0)
    with pytest.raises(ProblemError, match=r"must return a shape at t = 1, got 'here'"):
        pc.Moving(lambda t: "here").at(1)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: pc.Circle(-1), "radius of a circle must be positive"),
        (lambda: pc.Circle(np.inf), "radius of a circle must be a finite number"),
        (lambda: pc.Circle(1, (0, 0, 0)), "centre of a circle must be 2 finite numbers"),
        (lambda: pc.Sphere(0), "radius of a sphere must be positive"),
        (lambda: pc.Sphere(1, (0, 0)), "centre of a sphere must be 3 finite numbers"),
        (lambda: pc.Ellipse((1, 0)), "semi-axis of an ellipse must be positive"),
        (lambda: pc.Ellipse(2.0), "semi-axes of an ellipse must be 2 finite numbers"),
        (lambda: pc.Ellipse((1, 2), angle="north"), "angle of an ellipse must be a finite number"),
        (lambda: pc.Star(0.2, 0.2, 5), "amplitude 0.2 of a star must be smaller than its radius 0.2"),
        (lambda: pc.Star(0.2, 0.1, 2.5), "arms of a star must be a positive integer, got 2.5"),
        (lambda: pc.Polygon([(0, 0), (1, 1)]), "at least three corners"),
        (lambda: pc.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), r"crosses or touches itself at x = \[0.5, 0.5\]"),
        (lambda: pc.Polygon([(0, 0), (1, 0), (1, 1), (0.5, 0)]), "crosses or touches itself"),
        (lambda: pc.Polygon([(0, 0), (2, 0), (1, 0), (1, 1)]), "crosses or touches itself"),
        (lambda: pc.Polygon([(0, 0), (1, 0), (1, 0), (1, 1)]), "twice in a row"),
        (lambda: pc.Polygon([(0, 0), (1, 0), (np.nan, 1)]), "must be finite"),
        (lambda: pc.LevelSet(3), "takes functions of x"),
        (lambda: pc.Moving(pc.Circle(1)), "takes a function of t"),
        (lambda: pc.Interface("circle"), "the shape is a Circle"),
        (lambda: pc.Sphere(1).curves(0.1, 0.5, BOX), "only shapes of the plane have curves"),
        (lambda: pc.LevelSet(lambda x: x[0] ** 2 + 1).curves(0.1, 0.5, BOX), r"no sign change on \[-1, 1\] x"),
        (lambda: pc.LevelSet(lambda x: x[0] - 0.1).curves(0.1, 0.5, BOX), r"leaves \[-1, 1\] x \[-1, 1\] at x = \[0.1"),
        (lambda: pc.LevelSet(lambda x: np.abs(x).max(axis=0) - 0.5).curves(0.1, 0.5, BOX), "has a corner"),
        (lambda: pc.LevelSet(lambda x: x[0] ** 2 + 1).project(np.ones((2, 1))), r"cannot be projected from x = \[1.0"),
    ],
)  # fmt: skip
def test_wrong_shapes_are_refused(state, message):
    with pytest.raises(ProblemError, match=message):
        state()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x, r"function of a level set must return the shape \(4,\)"),
        (lambda x: x[0] / 0.0, r"is NaN or infinite at x ="),
        (lambda x: x[5], "failed on x of shape"),
    ],
)
def test_wrong_level_sets_are_refused(function, message):
    with np.errstate(all="ignore"), pytest.raises(DataError, match=message):
        pc.LevelSet(function).level(np.ones((2, 4)))
    with pytest.raises(DataError, match=r"gradient of a level set must return the shape \(2, 4\)"):
        pc.LevelSet(lambda x: x[0], lambda x: x[0]).gradient(np.ones((2, 4)))


def test_shapes_print_on_a_line():
    assert repr(pc.Star(0.5, 0.2, 5)) == "Star(radius=0.5, amplitude=0.2, arms=5)"
    assert repr(pc.Interface(pc.Circle(0.5))) == "Interface(shape=Circle(radius=0.5))"
