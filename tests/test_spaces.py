"""Spaces: functions of time as explicit loops over levels, on several ranks too, and evaluation."""

import sys

import numpy as np
import pytest
from cases import problem, square
from test_mpi import PROGRAMS, mpirun

import pdecontrol as pc
from pdecontrol.arrays import takes_time
from pdecontrol.mesh.elements import cell_lagrange
from pdecontrol.space import Space, product

sys.path.insert(0, str(PROGRAMS))
from times import EDGES, TIMES, WEIGHTS, wave

MESH = pc.unit_square(4)
LINEAR, FLAT = cell_lagrange(MESH, 1), cell_lagrange(MESH, 0)
BASES = {
    "lumped": Space(LINEAR.lumped_mass(), LINEAR),
    "consistent": Space(LINEAR.mass_matrix(), LINEAR),
    "P0": Space(FLAT.lumped_mass(), FLAT),
    "numbers": Space(np.array([2.0, 0.5, 1.0])),
    "product": product([Space(FLAT.lumped_mass(), FLAT), Space(LINEAR.mass_matrix(), LINEAR)]),
}


def levels(base, space, a):
    """The vectors (N, n) of the levels, of products too."""
    if not base.factors:
        return space.steps(a)
    parts = zip(base.factors, space.factors, space.split(a), strict=True)
    return np.hstack([levels(*part) for part in parts])


@pytest.mark.parametrize("name", BASES)
def test_a_space_over_time_is_a_loop_over_its_levels(name):
    base = BASES[name]
    space = base.over(TIMES, WEIGHTS)
    generator = np.random.default_rng(20261126)
    a, b = generator.normal(size=(2, space.size))
    rows = list(zip(WEIGHTS, levels(base, space, a), levels(base, space, b), strict=True))
    assert space.count == space.size == 3 * base.size and not space.zeros().any()
    assert space.diagonal == base.diagonal
    assert space.inner(a, b) == pytest.approx(sum(w * base.inner(x, y) for w, x, y in rows), rel=1e-13)
    assert space.norm(a) ** 2 == pytest.approx(sum(w * base.norm(x) ** 2 for w, x, _ in rows), rel=1e-13)
    assert space.integral(a) == pytest.approx(sum(w * base.integral(x) for w, x, _ in rows), rel=1e-12)
    assert space.max(a) == a.max() and space.any(a)
    expected = np.stack([w * base.dual(x) for w, x, _ in rows])
    assert levels(base, space, space.dual(a)) == pytest.approx(expected, rel=1e-14)
    if base.diagonal:
        assert space.riesz(space.dual(a)) == pytest.approx(a, rel=1e-14)
    assert np.array_equal(space.gather(a), a) and np.array_equal(space.scatter(a), a) and space.whole.size == space.size
    moved = a.copy()
    moved[[0, -1]] = moved[[-1, 0]]
    assert space.digest(a) == space.digest(a.copy()) != space.digest(moved)


def test_levels_are_views_and_fields():
    space = BASES["P0"].over(TIMES, WEIGHTS)
    a = space.interpolate(wave)
    space.steps(a)[1] = 7.0
    assert np.array_equal(space.at(a, 0.4), np.full(FLAT.size, 7.0)) and np.shares_memory(space.at(a, 0.4), a)
    field = pc.Field(a, space, "u")
    assert field.at(0.4)([[0.3], [0.3]]) == 7.0 and field.at(1).name == "u at t = 1"
    with pytest.raises(pc.DataError, match=r"there are no values at t = 1.1, but from t = 0.1 to 1"):
        field.at(1.1)
    with pytest.raises(pc.DataError, match=r"u depends on time: give points and a time t"):
        field(np.array([[0.3], [0.3]]))
    with pytest.raises(pc.DataError, match="is not one over time"):
        pc.Field(BASES["P0"].zeros(), BASES["P0"]).at(0.4)
    with pytest.raises(pc.DataError, match="u does not depend on time: give it points alone"):
        pc.Field(BASES["P0"].zeros(), BASES["P0"], "u")(np.array([[0.3], [0.3]]), 0.4)


POINTS = np.array([[0.31, 0.7, 1.0], [0.32, 0.1, 0.5]])


def test_functions_are_linear_between_times():
    field = pc.Field(BASES["lumped"].over(TIMES, WEIGHTS).interpolate(wave), BASES["lumped"].over(TIMES, WEIGHTS), "y")
    for t in (0.1, 0.25, 0.4, 0.999999, 1, np.float64(0.7)):
        line = pc.Field(BASES["lumped"].interpolate(lambda x, t=t: wave(x, t)), BASES["lumped"])  # wave is linear in t
        assert field(POINTS, t) == pytest.approx(line(POINTS), rel=1e-13)
        assert np.array_equal(field(POINTS, t), field.at(t)(POINTS))
    for t, level in zip(TIMES, field.space.steps(field.array), strict=True):
        assert np.shares_memory(field.at(t * (1 + 1e-12)).array, level)
    for t in (0.0, 0.0999, 1.0001, np.inf, np.nan):
        with pytest.raises(pc.DataError, match=rf"there are no values at t = {t:g}, but from t = 0.1 to 1"):
            field(POINTS, t)
    for wrong in (TIMES, "final", [0.1]):
        with pytest.raises(pc.DataError, match=rf"a time is a number, .* got {type(wrong).__name__}"):
            field(POINTS, wrong)
    one = BASES["numbers"].over([0.5], [1.0])
    assert np.array_equal(one.at(np.arange(3.0), 0.5), [0, 1, 2])
    with pytest.raises(pc.DataError, match=r"from t = 0.5 to 0.5"):
        one.at(np.arange(3.0), 0.6)


@pytest.mark.parametrize("times", [EDGES[1:], (EDGES[:-1] + EDGES[1:]) / 2], ids=["ends", "midpoints"])
def test_functions_are_constant_on_intervals(times):
    """Their intervals are those of the edges, the right ends included, wherever their times are in them."""
    space = BASES["numbers"].over(times, WEIGHTS, EDGES)
    rows = np.arange(9.0).reshape(3, 3)
    for t, level in ((0, 0), (0.05, 0), (0.1, 0), (0.1 + 1e-12, 0), (0.11, 1), (0.4, 1), (0.7, 2), (1.0, 2)):
        assert np.array_equal(space.at(rows.ravel(), t), rows[level]), t
    for t, row in zip(times, rows, strict=True):
        assert np.array_equal(space.at(rows.ravel(), t), row)
    with pytest.raises(pc.DataError, match="from t = 0 to 1"):
        space.at(rows.ravel(), 1.1)
    both = product([BASES["numbers"], BASES["P0"]]).over(times, WEIGHTS, EDGES)
    assert [factor.levels.times.span for factor in both.factors] == [(0.0, 1.0)] * 2
    for edges in (EDGES[1:], EDGES[::-1], [0.0, 0.05, 0.06, 0.07], [0, np.nan, 0.4, 1], "abcd"):
        with pytest.raises(pc.DataError, match=r"3 ascending edges around|4 ascending edges around|edges of intervals"):
            BASES["numbers"].over(times, WEIGHTS, edges)


def test_functions_of_time_alone():
    space = BASES["numbers"].over(TIMES, WEIGHTS)
    rows = space.steps(space.interpolate(lambda t: [t, 2.0, -t]))
    assert np.array_equal(rows, np.stack([TIMES, np.full(3, 2.0), -TIMES], axis=1))
    assert np.array_equal(space.interpolate(lambda t: t**2), np.repeat(TIMES**2, 3))
    assert np.array_equal(space.interpolate(rows), rows.ravel())
    assert np.array_equal(space.interpolate(4.0), np.full(9, 4.0))
    assert np.array_equal(space.interpolate(lambda t: [-np.inf, 0, np.inf], infinite=True)[:3], [-np.inf, 0, np.inf])
    for data, message in (
        (
            lambda t: [t, t],
            r"u at t = 0\.1: got an array of shape \(2,\)\. Functions of time take a number t and return",
        ),
        (
            lambda x, t: t,
            r"u: the function failed at t = 0\.1: .*Functions of time take a number t and return 3 values",
        ),
        (lambda t: [t, np.nan, t], "u: 3 of 9 values are NaN or infinite"),
        (lambda t: "abc", "u: the function failed at t = 0.1: u: expected real numbers"),
    ):
        with pytest.raises(pc.DataError, match=message):
            space.interpolate(data, "u")


def test_arrays_of_a_wrong_time_shape_are_named_with_the_right_one():
    space = BASES["numbers"].over([0.25, 0.5, 0.75, 1.0], np.full(4, 0.25))
    assert np.array_equal(space.interpolate([1.0, 2.0, 3.0]), np.tile([1.0, 2.0, 3.0], 4))
    for shape, hint in (((3, 4), ": transpose it"), ((4,), ""), ((5, 3), ""), ((13,), ""), ((4, 3, 1), "")):
        with pytest.raises(pc.DataError) as caught:
            space.interpolate(np.zeros(shape), "u")
        expected = f"u: expected shape (4, 3), 4 times with 3 values each, or flat (12,), got {shape}{hint}."
        assert str(caught.value) == expected


def test_fields_are_data_of_spaces_over_time():
    space = BASES["lumped"].over(TIMES, WEIGHTS)
    other = BASES["P0"].over([0.05, 2.0], [1.0, 1.0])
    moving = pc.Field(other.interpolate(lambda x, t: t), other, "start")
    assert space.interpolate(moving) == pytest.approx(np.repeat(TIMES, LINEAR.size))
    still = pc.Field(BASES["lumped"].interpolate(lambda x: x[0]), BASES["lumped"])
    assert np.array_equal(space.interpolate(still), np.tile(LINEAR.points[0], 3))
    with pytest.raises(pc.DataError, match=r"target: the function failed on x of shape.*start depends on time"):
        BASES["lumped"].interpolate(moving, "target")
    short = pc.Field(np.zeros(FLAT.size), BASES["P0"].over([0.4], [1.0]), "start")
    with pytest.raises(pc.DataError, match=r"there are no values at t = 0.1, but from t = 0.4 to 0.4"):
        space.interpolate(short, "u")


def test_data_are_sampled_a_level_at_a_time():
    base = BASES["lumped"]
    space, seen = base.over(TIMES, WEIGHTS), []

    def both(x, t):
        seen.append((x.shape, t))
        return wave(x, t)

    expected = np.stack([wave(LINEAR.points, t) for t in TIMES])
    assert np.array_equal(space.steps(space.interpolate(both)), expected)
    assert seen == [(LINEAR.points.shape, t) for t in TIMES]
    for data in (expected, expected.ravel()):
        assert np.array_equal(space.interpolate(data), expected.ravel())
    assert np.array_equal(space.interpolate(lambda x: x[0]), np.tile(LINEAR.points[0], 3))
    assert np.array_equal(space.interpolate(2), np.full(space.size, 2.0))
    assert np.array_equal(space.interpolate(LINEAR.points[0]), np.tile(LINEAR.points[0], 3))
    assert np.array_equal(space.points, np.vstack([np.tile(LINEAR.points, 3), np.repeat(TIMES, LINEAR.size)]))
    for data, message in (
        (
            lambda x, t: x[0] / (t - 0.4) ** 0 * np.where(t == 0.4, np.nan, 1.0),
            r"u at t = 0\.4: 25 of 25 values are NaN",
        ),
        (lambda x, t: x, r"u at t = 0\.1: expected shape \(25,\)"),
        (np.ones(24), r"u: expected shape \(3, 25\), 3 times with 25 values each, or flat \(75,\), got \(24,\)"),
        (lambda x, t, s: x[0], "u: the function failed"),
    ):
        with pytest.raises(pc.DataError, match=message):
            space.interpolate(data, "u")
    with pytest.raises(pc.DataError, match="the function failed on x of shape"):
        base.interpolate(wave)
    with pytest.raises(pc.DataError, match=r"the function failed at t = 0.1"):
        BASES["numbers"].over(TIMES, WEIGHTS).interpolate(wave)


def test_functions_of_time_have_two_arguments_without_defaults():
    shift = 2.0
    assert takes_time(wave) and takes_time(lambda x, t, shift=shift: x[0] + t + shift)
    for function in (
        lambda x: x[0],
        lambda x, shift=shift: x[0] + shift,
        np.sin,
        max,
        pc.Field.gather,
        lambda *x: x[0],
    ):
        assert not takes_time(function)


@pytest.mark.parametrize(
    ("times", "weights"),
    [
        ([], []),
        ([0.5, 0.5], [1, 1]),
        ([1, 0.5], [1, 1]),
        ([1], [0]),
        ([1], [1, 2]),
        ([[1]], [[1]]),
        ([1, np.nan], [1, 1]),
    ],
)
def test_times_ascend_and_weights_are_positive(times, weights):
    with pytest.raises(pc.DataError, match=r"times of a function ascend|as many positive weights"):
        BASES["P0"].over(times, weights)


def test_evaluation_belongs_to_the_space():
    """So that functions without elements can be fields too."""
    space = Space(np.ones(2), evaluator=lambda a, points: a[0] + a[1] * points[0] ** 2)
    field = pc.Field(np.array([1.0, 2.0]), space, "network")
    assert np.array_equal(field([[0.0, 0.5]]), [1.0, 1.5])
    assert np.array_equal(BASES["lumped"].interpolate(field), 1 + 2 * LINEAR.points[0] ** 2)
    assert np.array_equal(space.over(TIMES, WEIGHTS).at(np.arange(6.0), 1.0), [4.0, 5.0])
    with pytest.raises(pc.DataError, match="y is a vector of 3 numbers, not a function of space"):
        pc.Field(np.ones(3), BASES["numbers"], "y")([[0.5]])


@pytest.mark.xdist_group("mpi")
def test_spaces_over_time_on_any_number_of_ranks(tmp_path):
    pytest.importorskip("dolfinx", reason="the distributed engine needs dolfinx")
    found = {}
    for ranks in (1, 2, 3):
        mpirun(ranks, PROGRAMS / "times.py", tmp_path / f"{ranks}.npz")
        found[ranks] = dict(np.load(tmp_path / f"{ranks}.npz"))
    assert len(found[1]) == 6 * 3 + 5 * 2 + 5
    assert found[1]["times in .xdmf"].tolist() == [3, 3]
    for ranks in (2, 3):
        for name, one in found[1].items():
            other = found[ranks][name]
            if name.endswith(("sums", "between times")) or name.startswith("loaded"):
                assert other == pytest.approx(one, rel=1e-12), name
            else:
                assert np.array_equal(other, one), name
    map = pc.discretise(problem(), square(), "dolfinx")  # whole vectors are those of functions, a level after the other
    states = [map.solution.gather(map.solution.interpolate(lambda x, t=t: wave(x, t) ** 2)) for t in TIMES]
    assert np.array_equal(found[1]["P1, state, whole"], np.concatenate(states))
