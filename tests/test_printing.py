"""What is printed is short, and pieces of a problem with arrays can be compared and hashed."""

import numpy as np
import pytest
from cases import CUBIC, problem, square

import pdecontrol as pc
from pdecontrol.learn.source import Batch
from pdecontrol.linear.krylov import KrylovResult, Outcome, Products
from pdecontrol.linear.recycle import RecycledSpace
from pdecontrol.solvers.method import Start
from pdecontrol.terms import bind

LONG = np.linspace(0.0, 1.0, 3000)
POINTS = np.full((2, 3000), 0.5)


def printed():
    """Everything that a user may print, with large arrays inside."""
    mesh = pc.unit_square(60)
    values = np.ones(mesh.points.shape[1])
    stated = pc.ControlProblem(
        pc.Elliptic({"lower": values, "upper": lambda x: x[0]}, source=values, semilinear=CUBIC),
        pc.Actuators([values] * 40),
        [pc.Tracking(LONG, points=POINTS), pc.Tracking(values)],
        [pc.Tikhonov(1.0, values), pc.Box(-values, values), pc.Linear(values)],
        {"left": pc.Dirichlet(values), "right": pc.Robin(values, values)},
    )
    small = problem(tracking=[pc.Tracking(values), pc.Tracking(LONG, points=POINTS)])
    map = pc.discretise(small, mesh)
    objective = bind(small, map)
    state = pc.PrimalDual(norm=1.0).begin(objective, map, Start(map.control.zeros()))
    result = pc.solve(small, mesh, tol=1e-2)
    yield from (mesh, map, map.at(map.control.zeros()), map.control, map.solution, map.observation)
    yield from (map.control.elements, objective, objective.control, objective.state, state)
    yield from (result, result.control, stated, *stated.observations, *stated.terms, *stated.boundary.values())
    yield from (stated.equation, stated.control, CUBIC)
    yield pc.layout.Layout(map.control.group, np.zeros((3, 3000), dtype=int), lambda: None)
    space = RecycledSpace(np.ones((3000, 5)), np.ones((3000, 5)))
    yield from (space, KrylovResult(LONG, space, Outcome.CONVERGED, 0.0, Products(), [1.0] * 500))
    yield Batch({"solution": POINTS}, LONG, LONG)


def test_everything_prints_on_two_lines():
    texts = [repr(item) for item in printed()]
    assert len(texts) == 29
    for text in texts:
        assert len(text) < 240 or (text.startswith("ControlProblem") and len(text) < 700), text
        assert "\n" not in text and "0.5, 0.5" not in text, text


def test_pieces_print_what_differs_from_the_defaults():
    assert repr(pc.Tracking(1.0)) == "Tracking(target=1.0)"
    assert repr(pc.Tracking(LONG, points=POINTS)) == "Tracking(target=<array (3000,)>, points=<array (2, 3000)>)"
    assert repr(pc.Box(lambda x: x[0], np.inf)) == "Box(lower=<lambda>)"
    assert repr(pc.Dirichlet()) == "Dirichlet()"
    assert repr(pc.Elliptic({"a": printed}, reaction=2.0)) == "Elliptic(diffusion={'a': <printed>}, reaction=2.0)"


@pytest.mark.parametrize(
    "make",
    [
        lambda: pc.Tracking(LONG, points=POINTS),
        lambda: pc.Box(-LONG, LONG),
        lambda: pc.Tikhonov(1.0, LONG),
        lambda: pc.Dirichlet(LONG),
        lambda: pc.Elliptic(source=LONG),
        lambda: pc.Actuators([LONG]),
        lambda: problem(tracking=pc.Tracking(LONG, points=POINTS)),
        lambda: RecycledSpace(POINTS, POINTS),
    ],
)
def test_comparison_and_hash(make):
    one, other = make(), make()
    assert one == one and one != other and len({one, other, one}) == 2


def test_fields_have_the_size_of_their_space():
    space = pc.discretise(problem(), square()).control
    for bad in (np.zeros(3), np.zeros((space.size, 1)), 1.0):
        with pytest.raises(pc.DataError, match=r"u: expected an array of shape \(42,\), got"):
            pc.Field(bad, space, "u")
    with pytest.raises(pc.DataError, match="u: expected real numbers, got complex128"):
        pc.Field(1j * np.zeros(space.size), space, "u")
