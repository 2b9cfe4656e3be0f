"""Samples of the maps of control problems: what they hold, and that a wrong map is caught."""

import numpy as np
import pytest

import pdecontrol as pc
from pdecontrol.errors import ConvergenceError, DatasetError, ProblemError
from pdecontrol.fem.equations import LinearElliptic
from pdecontrol.fem.trajectory import NewtonSteps
from pdecontrol.learn.catalogue import source_of
from pdecontrol.learn.cells import GridFunction
from pdecontrol.learn.darcy_control import DarcyControl
from pdecontrol.learn.media import Threshold
from pdecontrol.learn.random_fields import ChebyshevSeries, CosineField


def problem(equation=None, control=None, tracking=None, boundary=None):
    return pc.ControlProblem(
        equation=equation or pc.Elliptic(source=1.0),
        boundary=boundary or {"boundary": pc.Dirichlet(0.5)},
        control=control or pc.Distributed(),
        tracking=tracking or pc.Tracking(0.0),
        terms=[pc.Tikhonov(1e-2)],
    )


def cubic():
    return pc.Elliptic(reaction=1.0, semilinear=pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2))


def heat(steady=None, **options):
    return pc.Parabolic(steady or pc.Elliptic(reaction=1.0), T=1.0, steps=6, **options)


ROBIN = {"boundary": pc.Robin(1.0, 0.0)}
SOURCES = {
    "distributed": lambda: pc.ControlSamples(problem(), pc.unit_square(8)),
    "piecewise constant": lambda: pc.ControlSamples(problem(control=pc.Distributed(element="P0")), pc.unit_square(8)),
    "quadratic": lambda: pc.ControlSamples(problem(), pc.unit_square(6), degree=2),
    "boundary": lambda: pc.ControlSamples(
        problem(control=pc.Boundary("left"), tracking=pc.Tracking(0.0, on="right"), boundary={"top": pc.Dirichlet()}),
        pc.unit_square(8),
    ),
    "actuators": lambda: pc.ControlSamples(
        problem(control=pc.Actuators([lambda x: x[0], lambda x: x[1]])), pc.unit_square(8)
    ),
    "convection": lambda: pc.ControlSamples(
        problem(pc.Elliptic(reaction=1.0, advection=(1.0, 2.0)), boundary=ROBIN), pc.unit_square(8)
    ),
    "two observations": lambda: pc.ControlSamples(
        problem(tracking=[pc.Tracking(0.0), pc.Tracking(1.0, on="right")], boundary=ROBIN), pc.unit_square(8)
    ),
    "semilinear": lambda: pc.ControlSamples(problem(cubic(), boundary=ROBIN), pc.unit_square(8)),
    "parabolic": lambda: pc.ControlSamples(problem(heat(initial=lambda x: x[0]), boundary=ROBIN), pc.unit_square(5)),
    "parabolic, Crank-Nicolson, final time": lambda: pc.ControlSamples(
        problem(heat(scheme="crank-nicolson"), tracking=pc.Tracking(0.0, times="final"), boundary=ROBIN),
        pc.unit_square(5),
    ),
    "parabolic, actuators, semilinear": lambda: pc.ControlSamples(
        problem(heat(cubic()), pc.Actuators([lambda x: x[0], lambda x: x[1]]), boundary=ROBIN), pc.unit_square(4)
    ),
    "parabolic, initial value": lambda: pc.ControlSamples(
        problem(heat(), pc.InitialValue(), boundary=ROBIN), pc.unit_square(5)
    ),
    "Burgers": lambda: pc.ControlSamples(problem(pc.burgers(0.2)), pc.unit_interval(16)),
    "quasilinear": lambda: pc.ControlSamples(
        problem(pc.Elliptic(pc.Quasilinear(np.exp, np.exp), source=1.0)), pc.unit_square(8)
    ),
    "coefficient": lambda: pc.ControlSamples(problem(control=pc.Coefficient()), pc.unit_square(8)),
    "one dimension": lambda: pc.ControlSamples(problem(), pc.unit_interval(16)),
    "three dimensions": lambda: pc.ControlSamples(problem(), pc.unit_cube(3), length=0.5),
}


def generators(count):
    return [np.random.default_rng((9, i)) for i in range(count)]


def batch(source, count=3, tolerance=1e-8):
    return source.batch(source.plan(generators(12), count, tolerance, "auto"), generators(count), tolerance)


@pytest.mark.parametrize("name", SOURCES)
def test_samples_are_those_of_the_map(name):
    source = SOURCES[name]()
    made = batch(source)
    assert not made.failures and made.residuals.max() <= 1e-10
    assert {key: array.shape[1:] for key, array in made.arrays.items()} == source.shapes
    map = pc.discretise(source.problem, source.mesh, pc.Embedded(degree=source.degree))
    for u, y, w, q in zip(*(made.arrays[key] for key in ("control", "observation", "dual", "gradient")), strict=True):
        at = map.at(u)
        np.testing.assert_allclose(y, at.value, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(q, at.adjoint(w), rtol=1e-9, atol=1e-12)
        assert map.observation.inner(at.tangent(u), w) == pytest.approx(map.control.inner(u, q), rel=1e-8)
        assert u.std() > 0.05 and w.std() > 0.05


def test_bounds_where_the_equation_is_definite():
    assert np.isfinite(batch(SOURCES["distributed"]()).bounds).all()
    assert batch(SOURCES["distributed"]()).bounds.max() <= 1e-12
    assert np.isnan(batch(SOURCES["convection"]()).bounds).all()
    assert np.isnan(batch(SOURCES["semilinear"]()).bounds).all()
    assert np.isnan(batch(SOURCES["parabolic"]()).bounds).all()


def test_a_wrong_adjoint_is_caught(monkeypatch):
    """Planted: adjoints that are off by 0.1 %."""
    right = LinearElliptic.couple_transposed
    monkeypatch.setattr(LinearElliptic, "couple_transposed", lambda *arguments: 1.001 * right(*arguments))
    made = batch(SOURCES["distributed"]())
    assert sorted(made.failures) == [0, 1, 2] and "the residual is" in made.failures[0]


def test_controls_of_time_are_smooth_and_the_same_for_all_steps():
    found = {}
    for steps in (8, 32):
        equation = pc.Parabolic(pc.Elliptic(reaction=1.0), T=2.0, steps=steps)
        source = pc.ControlSamples(problem(equation, boundary=ROBIN), pc.unit_square(3), duration=0.5)
        (part,), times = source._controls.parts, source._map.control.times
        covariance = part.waves @ part.waves.T
        middle = np.abs(times - 1.0).argmin()
        correlation = covariance[middle] / covariance[middle, middle]
        assert correlation == pytest.approx(np.exp(-0.5 * ((times - times[middle]) / 0.25) ** 2), abs=1e-3)
        found[steps] = source._map.control.steps(source._controls.sample(np.random.default_rng(3)))
    assert np.diag(covariance).mean() == pytest.approx(1.0, rel=0.01)
    assert found[8] == pytest.approx(found[32][3::4], rel=1e-10)


def test_datasets_of_parabolic_problems(tmp_path):
    source = SOURCES["parabolic"]()
    made = pc.generate(source, 3, 3, tmp_path / "data", chunk=2)
    assert made.complete and made["control"].shape == (3, 6 * 36) and "duration" in str(made)
    map = pc.discretise(source.problem, source.mesh)
    np.testing.assert_allclose(made["observation"][2], map.solve(made["control"][2]), rtol=1e-10, atol=1e-12)
    assert source.definition["duration"] == 0.3 and "duration" not in SOURCES["distributed"]().definition


def test_a_trajectory_with_a_wrong_step_is_caught(monkeypatch):
    """Planted: states after the steps that are off by 1e-6."""
    source = SOURCES["parabolic, actuators, semilinear"]()
    newton = NewtonSteps._newton
    monkeypatch.setattr(NewtonSteps, "_newton", lambda self, n, before: newton(self, n, before) * (1 + 1e-6))
    assert batch(source).failures


def moved(x):
    """The unit square onto itself, its inner points elsewhere."""
    return x + 0.05 * np.sin(np.pi * x[0]) * np.sin(np.pi * x[1])


def other_diagonals(mesh):
    """The same points, each square cut along its other diagonal."""
    return pc.Mesh(np.vstack([1 - mesh.points[0], mesh.points[1]]), mesh.cells)


def actuators():
    return problem(control=pc.Actuators([lambda x: x[0]]), tracking=pc.Tracking(0.0, points=[[0.5], [0.5]]))


def test_the_definition_tells_problems_meshes_and_fields_apart():
    square = pc.unit_square(8)
    sources = [
        pc.ControlSamples(problem(), square),
        pc.ControlSamples(problem(pc.Elliptic(source=2.0)), square),
        pc.ControlSamples(problem(), pc.unit_square(9)),
        pc.ControlSamples(problem(), square.transform(moved)),
        pc.ControlSamples(problem(), other_diagonals(square)),
        pc.ControlSamples(problem(), square, length=0.4),
        pc.ControlSamples(problem(), square, deviation=2.0),
        pc.ControlSamples(actuators(), square),
        pc.ControlSamples(actuators(), square, deviation=2.0),
        pc.ControlSamples(problem(), square, degree=2),
        pc.ControlSamples(problem(), square, linear_solver="amg"),
    ]
    for line in (0.5, 0.7):  # where a part ends
        warm = square.tag_part("warm", lambda x, line=line: x[0] < line)
        sources.append(pc.ControlSamples(problem(pc.Elliptic(source={"warm": 1.0})), warm))
        assert sources[-1].definition["map"] == pc.discretise(sources[-1].problem, warm).fingerprint
    definitions = [str(source.definition) for source in sources]
    assert len(set(definitions)) == 13
    assert str(pc.ControlSamples(problem(), pc.unit_square(8)).definition) == definitions[0]


def test_the_field_is_that_of_the_points_and_cells_of_the_mesh():
    """So that samples on equally many other points are never taken for those of the first, whatever the map says."""
    square = pc.unit_square(8)
    meshes = [square, square.transform(moved), other_diagonals(square)]
    assert len({mesh.points.shape + mesh.cells.shape for mesh in meshes}) == 1
    fields = [pc.ControlSamples(problem(), mesh).definition["field"] for mesh in meshes]
    assert len({field["mesh"] for field in fields}) == 3
    assert all(field | {"mesh": ""} == fields[0] | {"mesh": ""} for field in fields)


def test_a_dataset_on_another_mesh_is_refused(tmp_path):
    square = pc.unit_square(8)
    pc.generate(pc.ControlSamples(problem(), square), 4, 3, tmp_path / "data")
    with pytest.raises(DatasetError, match=r"holds another dataset: definition.field.mesh is '\w+' there, '\w+' here"):
        pc.generate(pc.ControlSamples(problem(), square.transform(moved)), 8, 3, tmp_path / "data")


def test_a_dataset_of_a_control_problem_is_the_same_from_two_processes(tmp_path):
    source = pc.ControlSamples(problem(), pc.unit_square(8))
    one = pc.generate(source, 7, 3, tmp_path / "one", chunk=2)
    two = pc.generate(source, 7, 3, tmp_path / "two", chunk=2, processes=2)
    assert one.complete and one.summary["digest"] == two.summary["digest"]
    map = pc.discretise(source.problem, source.mesh)
    np.testing.assert_allclose(one["observation"][5], map.solve(one["control"][5]), rtol=1e-12)
    assert "control-problem" in str(one) and "map (of the problem, linear systems solved by sparse factors" in str(one)


def test_a_sample_that_cannot_be_solved_is_named(tmp_path):
    stiff = pc.Semilinear(lambda y: np.where(y > 0.35, np.nan, y**3), lambda y: 3 * y**2)
    source = pc.ControlSamples(
        problem(pc.Elliptic(reaction=1.0, semilinear=stiff), boundary=ROBIN), pc.unit_square(6), deviation=3.0
    )
    with pytest.raises(ConvergenceError, match="Newton's method for the state"):
        pc.generate(source, 12, 3, tmp_path / "stop", chunk=12)
    skipped = pc.generate(source, 12, 3, tmp_path / "skip", chunk=12, on_failure="skip")
    assert 0 < len(skipped.summary["failures"]) < 12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pc.ControlSamples(problem(), pc.unit_square(8), deviation=0.0), "deviation must be positive"),
        (lambda: pc.ControlSamples(problem(), pc.unit_square(8), duration=-1.0), "duration must be positive"),
        (lambda: pc.ControlSamples(problem(), pc.unit_square(8), length=0.01), "length must be at least the cell size"),
        (lambda: pc.ControlSamples(problem(), pc.unit_square(8), degree=3), "higher ones need backend=Parallel"),
        (lambda: media(8, pairs=0), "pairs must be a positive integer"),
        (
            lambda: pc.ControlSamples(problem(), pc.unit_square(8), coefficient=ChebyshevSeries([0.0, 1.0])),
            "a random field on a grid of dimension 2",
        ),
        (
            lambda: pc.ControlSamples(problem(), pc.unit_square(8), coefficient=CosineField(8), varied="advection"),
            "'advection' is no coefficient",
        ),
        (lambda: SOURCES["distributed"]().plan(generators(3), 3, 1e-8, "lu"), "is solved by its map"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ProblemError, match=message):
        make()


def test_bounds_include_rounding():
    """Against extended precision: nearly singular equations, on which plain factors lose six digits."""
    from extended import Extended, Long

    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("no extended precision here")
    for reaction in (1.0, 1e-4, 1e-8):
        stated = pc.ControlProblem(
            pc.Elliptic(reaction=reaction), pc.Distributed(), pc.Tracking(0.0), [pc.Tikhonov(1.0)]
        )
        source = pc.ControlSamples(stated, pc.unit_square(5))
        batch = source.batch({}, [np.random.default_rng(7)], 1e-6)
        map, (u,), (y,) = pc.discretise(stated, source.mesh), batch.arrays["control"], batch.arrays["observation"]
        matrix = map.system.matrix.toarray().astype(Long)
        error = y - Extended(stated, map).state(u.astype(Long))
        energy = float(np.sqrt(error @ (matrix @ error)) / np.sqrt(y @ (matrix @ y)))
        assert energy <= batch.bounds[0] <= 1e-6


def media(n, pairs=2, **options):
    field = Threshold(CosineField(n, tau=3.0), low=3.0, high=12.0)
    return pc.ControlSamples(problem(**options), pc.unit_square(n), (0.2, 0.5), coefficient=field, pairs=pairs)


def test_samples_with_a_random_coefficient_are_those_of_maps_made_by_hand():
    source = media(7)
    made = batch(source, count=2)
    assert not made.failures and {key: array.shape[1:] for key, array in made.arrays.items()} == source.shapes
    assert source.shapes["coefficient"] == (7, 7) and source.shapes["control"] == (2, 64)
    for i in range(2):
        a, u, y, w, q = (made.arrays[key][i] for key in ("coefficient", "control", "observation", "dual", "gradient"))

        def by_hand(x, a=a):
            return a[np.minimum(x[0] * 7, 6).astype(int), np.minimum(x[1] * 7, 6).astype(int)]

        exact = pc.discretise(problem(pc.Elliptic(diffusion=by_hand, source=1.0)), source.mesh)
        assert set(np.unique(a)) == {3.0, 12.0} and source.map_at(a).fingerprint == exact.fingerprint
        at = [exact.at(one) for one in u]
        np.testing.assert_allclose(y, [one.value for one in at], rtol=1e-12)
        np.testing.assert_allclose(q, [one.adjoint(v) for one, v in zip(at, w, strict=True)], rtol=1e-10, atol=1e-14)
        for j in range(2):
            moved = y[j] - exact.solve(exact.control.zeros())
            assert exact.observation.inner(moved, w[j]) == pytest.approx(exact.control.inner(u[j], q[j]), rel=1e-10)
    assert np.abs(made.arrays["coefficient"][0] - made.arrays["coefficient"][1]).max() > 0
    assert made.counts["solves state"] == 2 * 3 and made.counts["solves adjoint"] == 2 * 2


def test_the_coefficient_of_a_parabolic_problem_is_that_of_its_steady_equation():
    source = media(4, equation=heat(), boundary=ROBIN)
    made = batch(source, count=1)
    a, u, y = (made.arrays[key][0] for key in ("coefficient", "control", "observation"))
    steady = pc.Elliptic(reaction=1.0, diffusion=GridFunction(a, (0.0, 0.0), (1.0, 1.0)))
    np.testing.assert_allclose(y[1], pc.discretise(problem(heat(steady), boundary=ROBIN), source.mesh).solve(u[1]))


def test_queries_replace_targets_and_terms():
    source = media(4)
    a = source.coefficient.sample(np.random.default_rng(3))
    query = source.problem_at(a, tracking=pc.Tracking(1.0), terms=[pc.Tikhonov(1e-4), pc.Box(-1, 1)])
    assert query.terms[1].upper == 1 and query.tracking[0].target == 1.0
    assert query.equation.diffusion(np.array([[0.1], [0.9]])) == a[0, 3]


def test_lengths_are_drawn_for_each_vector():
    source = pc.ControlSamples(problem(), pc.unit_square(16), (0.1, 1.0))
    found = [
        np.corrcoef(u[:-1], u[1:])[0, 1] for u in batch(source, count=12).arrays["control"].reshape(12, 17, 17)[:, 8]
    ]
    assert np.ptp(found) > 0.1 and source.definition["field"]["length"] == [0.1, 1.0]


def test_named_samples_are_rebuilt_from_their_manifest(tmp_path):
    source = DarcyControl(n=7, pairs=2, shortest=0.2)
    one = pc.generate(source, 5, 3, tmp_path / "one", chunk=2)
    again = source_of(one.manifest["definition"])
    two = pc.generate(again, 5, 3, tmp_path / "two", chunk=2, processes=2)
    assert one.complete and one.summary["digest"] == two.summary["digest"]
    a, u = one["coefficient"][4], one["control"][4, 1]
    np.testing.assert_allclose(again.samples.map_at(a).solve(u), one["observation"][4, 1], rtol=1e-12)
    with pytest.raises(DatasetError, match="'control-problem', which has no name here"):
        source_of(media(4).definition)
    with pytest.raises(DatasetError, match="of another version"):
        source_of({"family": "darcy-control", "m": 7})
