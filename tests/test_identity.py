"""What belongs together: fingerprints and checkpoints to their problem, maps to theirs, answers to the exact map."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from cases import BACKENDS
from matrix_map import MatrixMap, manufactured

import pdecontrol as pc
from pdecontrol.errors import ProblemError, ResultFileError
from pdecontrol.files import read_arrays, write_arrays
from pdecontrol.solvers import loop
from pdecontrol.solvers.method import Start
from pdecontrol.terms import bind

amg = pytest.mark.skipif(find_spec("pyamg") is None, reason="needs pyamg")
ENGINES = ["skfem"] + (["dolfinx"] if find_spec("dolfinx") else [])


def square(left=0.5, inlet=0.5, move=0.0, diagonal=False):
    """A square with a part on the left and an inlet on the bottom; all of `left`, `inlet` and `move` are places."""
    mesh = pc.unit_square(6)
    if diagonal:
        mesh = mesh.transform(lambda x: np.stack([1 - x[0], x[1]]))
    mesh = mesh.transform(lambda x: x + move * np.sin(np.pi * x[0]) * np.sin(np.pi * x[1]))
    parts = {
        "west": lambda x: x[0] < left,
        "east": lambda x: x[0] > left,
        "core": lambda x: np.abs(x - 0.5).max(0) < 0.2,
    }
    for name, inside in parts.items():
        mesh = mesh.tag_part(name, inside)
    mesh = mesh.tag_boundary("inlet", lambda x: (x[1] < 1e-9) & (x[0] < inlet))
    return mesh.tag_boundary("outlet", lambda x: (x[1] < 1e-9) & (x[0] > inlet))


def stated(**changes):
    """A problem with a datum of every kind."""
    given = {
        "diffusion": {"west": 1.0, "east": 2.0}, "reaction": 0.5, "advection": (0.1, 0.0), "source": {"west": 1.0},
        "flux": 1.0, "coefficient": 2.0, "value": 0.3, "fixed": 0.2, "on": "west", "element": "P1",
        "target": 1.0, "part": "east", "points": [[0.25, 0.75], [0.5, 0.5]], "measured": [1.0, 2.0], "weight": 3.0,
        "functional": 0.5, "where": "core", "alpha": 1e-2, "reference": 0.1, "beta": 1e-3, "lower": -1.0, "upper": 2.0,
        "first": 1.0,
    } | changes  # fmt: skip
    names = ("diffusion", "reaction", "advection", "source")
    return pc.ControlProblem(
        pc.Elliptic(**{name: given[name] for name in names}),
        pc.Distributed(given["on"], given["element"]),
        [
            pc.Tracking(given["target"], weight=given["first"]), pc.Tracking(1.0, on=given["part"]),
            pc.Tracking(given["measured"], points=given["points"], weight=given["weight"]),
        ],
        [pc.Tikhonov(given["alpha"], given["reference"]), pc.L1(given["beta"]), pc.Box(given["lower"], given["upper"]),
         pc.Linear(given["functional"], on=given["where"])],
        {"inlet": pc.Dirichlet(given["fixed"]), "outlet": pc.Neumann(given["flux"]),
         "top": pc.Robin(given["coefficient"], given["value"])},
    )  # fmt: skip


DATA = {
    "diffusion of a part": {"diffusion": {"west": 1.5, "east": 2.0}}, "diffusion": {"diffusion": lambda x: 1 + x[0]},
    "parts of the diffusion": {"diffusion": {"west": 2.0, "east": 1.0}}, "reaction": {"reaction": 0.25},
    "reaction of a part": {"reaction": {"west": 0.5}}, "advection": {"advection": (0.0, 0.1)},
    "source": {"source": {"west": 2.0}}, "part of the source": {"source": {"east": 1.0}},
    "flux": {"flux": 2.0}, "Robin coefficient": {"coefficient": 3.0}, "Robin value": {"value": 0.4},
    "Dirichlet value": {"fixed": lambda x: 0.2 + x[0]}, "control on": {"on": "east"},
    "control everywhere": {"on": None}, "element": {"element": "P0"}, "target": {"target": 2.0},
    "target by a function": {"target": lambda x: 1 + 1e-9 * x[0]}, "observed part": {"part": "west"},
    "points": {"points": [[0.3, 0.75], [0.5, 0.5]]}, "measured values": {"measured": [2.0, 1.0]},
    "weight": {"weight": 2.0}, "first weight": {"first": 2.0}, "functional": {"functional": 0.25},
    "place of the functional": {"where": "west"}, "functional on the boundary": {"where": "outlet"},
    "alpha": {"alpha": 2e-2}, "reference": {"reference": lambda x: 0.1 * x[0]}, "beta": {"beta": 2e-3},
    "lower bound": {"lower": -2.0}, "upper bound": {"upper": lambda x: 2 + x[0]},
}  # fmt: skip
PLACES = {
    "the line between the parts": {"left": 0.7}, "the end of the inlet": {"inlet": 0.7},
    "points of the mesh": {"move": 0.01}, "cells of the mesh": {"diagonal": True},
}  # fmt: skip


def identity(problem, mesh, engine, degree=1):
    map = pc.discretise(problem, mesh, BACKENDS[engine](degree))
    return bind(problem, map).fingerprint(map)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_datum_and_every_place_tells_problems_apart(engine):
    prints = [identity(stated(), square(), engine), identity(stated(), square(), engine, 2)]
    assert identity(stated(), square(), engine) == prints[0]
    prints += [identity(stated(**change), square(), engine) for change in DATA.values()]
    prints += [identity(stated(), square(**change), engine) for change in PLACES.values()]
    names = ["nothing", "degree", *DATA, *PLACES]
    same = [(a, b) for i, a in enumerate(names) for j, b in enumerate(names[:i]) if prints[i] == prints[j]]
    assert not same


@pytest.mark.parametrize("which", ["parts", "boundaries", "numbers", "functions"])
def test_what_a_form_of_ufl_hides(which):
    """The signature of a form knows neither where the parts of its measures are nor the values of constants."""
    pytest.importorskip("dolfinx")
    import ufl
    from dolfinx import fem

    def problem(tag, number, mesh):
        def residual(y, v, domain):
            c = fem.Constant(domain.mesh, float(number))
            k = domain.function(lambda x: 1 + number * x[0])
            measure = domain.ds if tag == "inlet" else domain.dx
            extra = c * y * v * domain.dx if which == "numbers" else k * y * v * domain.dx
            return ufl.inner(ufl.grad(y), ufl.grad(v)) * domain.dx + y * v * measure(tag) + extra

        return pc.ControlProblem(pc.Weak(residual), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)]), mesh

    tag = "inlet" if which == "boundaries" else "core"
    base = problem(tag, 1.0, square())
    other = problem(tag, 2.0, square()) if which in ("numbers", "functions") else problem(tag, 1.0, square(inlet=0.7))
    if which == "parts":
        other = problem("west", 1.0, square(left=0.7))
        base = problem("west", 1.0, square())
    assert identity(*base, "dolfinx") == identity(*base, "dolfinx") != identity(*other, "dolfinx")


def moved(x):
    points = [[x], [0.5]]
    terms = [pc.Tikhonov(1e-3)]
    return pc.ControlProblem(
        pc.Elliptic(), pc.Distributed(), pc.Tracking([1.0], points=points), terms, {"boundary": pc.Dirichlet()}
    )


def test_a_restart_of_another_problem_is_refused(tmp_path):
    mesh, run = pc.unit_square(8), {"checkpoint": tmp_path / "run"}
    pc.solve(moved(0.25), mesh, **run)
    with pytest.raises(ResultFileError, match="different problem"):
        pc.solve(moved(0.75), mesh, restart=True, **run)


def test_a_forgotten_restart_destroys_nothing(tmp_path):
    mesh, path = pc.unit_square(8), tmp_path / "run.npz"
    run = {"method": "primal-dual", "tol": 1e-12, "checkpoint": path}
    pc.solve(moved(0.25), mesh, max_iterations=5, **run)
    saved = path.read_bytes()
    with pytest.raises(ResultFileError, match=r"after 5 iterations.*restart=True"):
        pc.solve(moved(0.25), mesh, **run)
    result = pc.solve(moved(0.25), mesh, max_iterations=2)
    result.save(tmp_path / "result")
    for name in ("result.npz", "notes.npz"):
        (tmp_path / "notes.npz").write_text("not a checkpoint")
        before = (tmp_path / name).read_bytes()
        with pytest.raises(ResultFileError, match=name):
            pc.solve(moved(0.25), mesh, **run | {"checkpoint": tmp_path / name})
        assert (tmp_path / name).read_bytes() == before
    assert path.read_bytes() == saved
    assert pc.solve(moved(0.25), mesh, max_iterations=7, restart=True, **run).history["iteration"][-1] == 7


def test_a_certificate_from_a_file_is_computed_again(tmp_path):
    """A bound that was planted in a checkpoint does not end the run that goes on from it."""
    problem, mesh, path = moved(0.25), pc.unit_square(8), tmp_path / "run.npz"
    run = {"method": "primal-dual", "checkpoint": path}
    pc.solve(problem, mesh, tol=1e-12, max_iterations=3, **run)
    header, arrays = read_arrays(path, "checkpoint")
    header["best"] |= {"bound": 0.0, "norm": 1.0, "optimal": False, "floor": 0.0}
    arrays["best.control"] = arrays["best.control"] + 1.0
    del header["format"]
    write_arrays(path, header, arrays)
    result = pc.solve(problem, mesh, tol=1e-6, restart=True, **run)
    exact = pc.solve(problem, mesh, tol=1e-9)
    error = exact.control.space.norm(result.control.array - exact.control.array)
    assert result.success and 0 < error <= result.certificate.bound + exact.certificate.bound


def test_solves_of_an_earlier_run_are_the_results_not_the_maps(tmp_path):
    problem, run = moved(0.25), {"method": "fista", "tol": 1e-13, "checkpoint": tmp_path / "run"}
    first = pc.solve(problem, pc.unit_square(8), max_iterations=4, **run)
    map = pc.discretise(problem, pc.unit_square(8))
    second = pc.minimise(problem, map, max_iterations=8, restart=True, **run)
    assert second.solves["total"] > first.solves["total"]
    assert map.solves.total < second.solves["total"]


# -- maps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["minimise", "certify"])
def test_the_map_of_another_problem_is_refused(call):
    map = pc.discretise(stated(), square())
    run = {"minimise": lambda p: pc.minimise(p, map, tol=1e-3), "certify": lambda p: pc.certify(p, 0.0, map)}[call]
    free = {"target", "measured values", "alpha", "reference", "beta", "lower bound", "upper bound"}
    for name, change in DATA.items():
        if name.removesuffix(" by a function") in free:
            run(stated(**change))
        else:
            with pytest.raises(ProblemError, match="the map belongs to another problem: its"):
                run(stated(**change))
    run(stated(diffusion={"west": 1.0, "east": 2.0}))  # the same, stated again
    with pytest.raises(ProblemError, match=r"belongs to another problem: its equation.reaction is 0.5, .* is 0.25"):
        run(stated(reaction=0.25))


def test_the_map_of_another_form_is_refused():
    pytest.importorskip("dolfinx")
    import ufl

    def problem(c):
        form = pc.Weak(lambda y, v, domain: (ufl.inner(ufl.grad(y), ufl.grad(v)) + c * y * v) * domain.dx)
        return pc.ControlProblem(form, pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)])

    map = pc.discretise(problem(1.0), pc.unit_square(4), "dolfinx")
    assert pc.certify(problem(1.0), 0.0, map).bound > 0
    with pytest.raises(ProblemError, match="belongs to another problem"):
        pc.certify(problem(2.0), 0.0, map)


class Learned(MatrixMap):
    exact = False


def test_only_answers_of_exact_maps_are_called_certified():
    objective, map, optimum = manufactured(np.random.default_rng(1), 1e-2)
    learned = Learned(map.matrix, map.offset, map.control, map.observation)
    stopping, start = loop.Stopping(1e-6, 0.0, 100, np.inf), Start(np.zeros(map.control.size), cold=True)
    for one, status in ((map, pc.Status.CERTIFIED), (learned, pc.Status.CONVERGED)):
        result = loop.minimise(objective, one, pc.SemismoothNewton(), start, stopping, progress=False)
        assert result.status is status and result.success
        assert map.control.norm(result.control.array - optimum) <= result.certificate.bound + 1e-12
    assert "not the exact one" in result.certificate.assumption and "certify" in result.message


# -- what is returned, and zero ---------------------------------------------------------------------------------------


def test_what_is_returned_without_a_certificate_has_the_least_objective():
    """A callback that stops the run before the first certificate could be had."""
    problem, map = moved(0.25), pc.discretise(moved(0.25), pc.unit_square(8))
    objective = bind(problem, map)
    stopping, start = loop.Stopping(1e-12, 0.0, 8, 9), Start(map.control.zeros(), cold=True)
    run = loop._Run(objective, map, pc.FISTA(norm=0.1), stopping, None, None, loop.Printer(False))
    run.begin(start)
    run.least = (-1.0, map.control.zeros() + 3.0)
    run.limit = map.solves.total
    result = run.finish(pc.Status.SOLVES, "")
    assert result.certificate.bound is None and (result.control.array == 3.0).all()


@pytest.mark.parametrize("linear_solver", ["direct", pytest.param("amg", marks=amg)])
@pytest.mark.parametrize("method", ["auto", "primal-dual", "fista"])
def test_zero_is_recognised_where_data_are_not(method, linear_solver):
    """The errors of S(0) and of q are part of the test: at the threshold of beta, they decide."""
    problem = pc.ControlProblem(
        pc.Elliptic(source=1.0), pc.Distributed(), pc.Tracking(0.2), [pc.Tikhonov(1e-3), pc.L1(1.0)],
        {"boundary": pc.Dirichlet(0.1)},
    )  # fmt: skip
    result = pc.solve(problem, pc.unit_square(12), pc.Embedded(linear_solver=linear_solver), method=method)
    assert result.success and result.certificate.optimal and result.certificate.bound == 0.0
    assert result.solves["total"] <= 40


@pytest.mark.parametrize("which", ["state_noise", "adjoint_noise"])
def test_zero_is_not_declared_where_errors_could_hide_a_control(which):
    """The true |q| is 1: with beta below that u* is not zero, though an error of S(0) or of q makes it seem so."""
    from pdecontrol.certificate import certify_projection
    from pdecontrol.space import Space
    from pdecontrol.terms import ControlCost, Objective, Quadratic, StateCost

    class WithGain(MatrixMap):
        norm_bound = 1.0

    space, one = Space(np.ones(1)), np.ones(1)
    for size, beta, optimal in ((1e-9, 1.01, True), (1e-3, 1.01, True), (1e-3, 0.9995, False)):
        map = WithGain(np.eye(1), np.zeros(1), space, space, **{which: lambda size=size: size * one})
        cost = ControlCost(space, 1.0, np.zeros(1), beta, -np.full(1, np.inf), np.full(1, np.inf))
        objective = Objective(StateCost([Quadratic(space, one)]), cost)
        certified = certify_projection(objective, map, (size - 1) * one if which == "state_noise" else -one)
        assert not certified.control.any() and certified.certificate.optimal is optimal


def test_no_estimate_of_the_discretisation_where_there_is_no_bound():
    """Without alpha the gap says nothing of the distance of controls, on neither mesh."""
    problem = pc.ControlProblem(
        pc.Elliptic(), pc.Distributed(), pc.Tracking(lambda x: 0.02 * np.sin(2 * np.pi * x[0])), [pc.Box(-1, 1)],
        {"boundary": pc.Dirichlet()},
    )  # fmt: skip
    with pytest.warns(UserWarning, match="no estimate of the discretisation error: there is no bound"):
        result = pc.solve(problem, pc.unit_square(8), tol=1e-2, discretisation=True)
    assert result.success and result.certificate.discretisation is None


def test_the_estimate_for_controls_on_cells():
    """(4/3)^(1/2) times the distance in L2 to the control of the refined mesh; 4/3 of it would be 15 per cent more."""
    from pdecontrol import reference

    problem = replace(reference.box(1e-2).problem, control=pc.Distributed(element="P0"))
    mesh = pc.unit_square(8)
    result = pc.solve(problem, mesh, tol=1e-9, discretisation=True)
    fine = pc.solve(problem, mesh.refine(), tol=1e-9)
    parents = np.tile(result.control.array, 4)
    distance = fine.control.space.norm(fine.control.array - parents)
    assert result.certificate.discretisation == pytest.approx((4 / 3) ** 0.5 * distance, rel=0.03)


# -- what an attack found ----------------------------------------------------------------------------------------------


def jump(t):
    """A jump between two vertices of unit_square(8)."""
    return pc.Elliptic(diffusion=lambda x: 1 + 9.0 * (x[0] < t))


def bent(c):
    """A term that differs for negative states alone, which no coordinate is."""
    term = pc.Semilinear(lambda y: np.where(y > 0, 50, c) * y**3, lambda y: np.where(y > 0, 150, 3 * c) * y**2)
    return pc.Elliptic(semilinear=term)


@pytest.mark.parametrize("pair", [(jump(0.30), jump(0.34)), (bent(50), bent(5))], ids=["between vertices", "y < 0"])
def test_maps_are_compared_by_what_is_discretised(pair):
    one, other = (replace(moved(0.25), equation=equation) for equation in pair)
    map = pc.discretise(one, pc.unit_square(8))
    assert pc.certify(replace(one, terms=[pc.Tikhonov(2e-3)]), 0.0, map).bound > 0
    with pytest.raises(ProblemError, match="the map belongs to another problem"):
        pc.certify(other, 0.0, map)


def test_fingerprints_tell_the_order_of_values_in_a_cell():
    """A saw tooth and its mirror image have the same values in each cell, at other points."""
    tooth = lambda x: 4 * x[0] - np.floor(4 * x[0])  # noqa: E731
    mesh, prints = pc.unit_interval(4), []
    for source in (tooth, lambda x: 1 - tooth(x)):
        stated = pc.ControlProblem(
            pc.Elliptic(source=source), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1.0)], {"left": pc.Dirichlet()}
        )
        prints += [pc.discretise(stated, mesh, engine).fingerprint for engine in ENGINES]
    assert len(set(prints)) == len(prints)


def test_fingerprints_tell_mirrored_functions_of_a_form():
    pytest.importorskip("dolfinx")
    import ufl

    def form(g):
        return pc.Weak(lambda y, v, domain: (ufl.inner(ufl.grad(y), ufl.grad(v)) - domain.function(g) * v) * domain.dx)

    steps = (lambda x: 1.0 * (x[0] < 0.51), lambda x: 1.0 * (x[0] > 0.49))
    prints = [
        pc.discretise(replace(moved(0.25), equation=form(step)), pc.unit_square(4), "dolfinx").fingerprint
        for step in steps
    ]
    assert prints[0] != prints[1]


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    result = pc.solve(moved(0.25), pc.unit_square(4))
    for name, write in (("state.vtu", result.state.save), ("figure.png", result.plot)):
        path = tmp_path / name
        write(path)
        before = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(ResultFileError, match="No space left"):
                write(path)
        assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
        path.unlink()
