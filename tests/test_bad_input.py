"""Wrong input: one error with the culprit and the remedy, before any matrix is factorised."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import meshio
import numpy as np
import pytest
import skfem
from cases import SQUARE, ZERO, materials, problem, square

import pdecontrol as pc
from pdecontrol.errors import (
    ConvergenceError,
    DataError,
    MeshError,
    PdecontrolError,
    ProblemError,
    ResultFileError,
    SingularEquationError,
    StateError,
)
from pdecontrol.fem.skfem import SkfemEngine
from pdecontrol.field import draw, export
from pdecontrol.solvers.primal_dual import AffinePrimalDual
from pdecontrol.terms import bind

MESH = square()


def never(*args, **options):
    raise AssertionError("long work has begun")


@pytest.fixture
def no_work(monkeypatch):
    """Lets everything pass but the factorisation of a matrix."""
    monkeypatch.setattr(SkfemEngine, "solver", never)


def refused(error, match, stated, mesh=None, **options):
    """What `solve` raises for a problem, stated in a function as constructors refuse some errors already."""
    with pytest.raises(error, match=match) as caught:
        pc.solve(stated(), MESH if mesh is None else mesh, **options)
    assert isinstance(caught.value, PdecontrolError)
    assert str(caught.value).count("\n") == 0 and len(str(caught.value)) < 500


# -- functions of space ------------------------------------------------------------------------------------------------


# Where functions of space are taken: the problem with a given one, and how messages name the place.
PLACES = {
    "diffusion": (lambda f: problem(pc.Elliptic(f)), "diffusion"),
    "diffusion by part": (lambda f: problem(pc.Elliptic({"lower": 1.0, "upper": f})), "diffusion on 'upper'"),
    "reaction": (lambda f: problem(pc.Elliptic(reaction=f)), "reaction"),
    "source": (lambda f: problem(pc.Elliptic(source={"patch": f})), "source on 'patch'"),
    "Dirichlet": (lambda f: problem(boundary={"left": pc.Dirichlet(f)}), "Dirichlet value on 'left'"),
    "Neumann": (lambda f: problem(boundary=SQUARE | {"top": pc.Neumann(f)}), "Neumann flux on 'top'"),
    "Robin coefficient": (lambda f: problem(boundary={"top": pc.Robin(f)}), "Robin coefficient on 'top'"),
    "Robin value": (lambda f: problem(boundary={"top": pc.Robin(1.0, f)}), "Robin value on 'top'"),
    "target": (lambda f: problem(tracking=pc.Tracking(f)), "the target of Tracking"),
    "target on a boundary": (
        lambda f: problem(boundary=SQUARE, tracking=[pc.Tracking(1.0), pc.Tracking(f, on="top")]),
        "the target of Tracking 2"),
    "target at points": (
        lambda f: problem(tracking=pc.Tracking(f, points=[[0.2, 0.3], [0.5, 0.5]])), "the target of Tracking"),
    "reference": (lambda f: stated_with(pc.Tikhonov(1.0, f)), "the reference of Tikhonov"),
    "lower bound": (lambda f: stated_with(pc.Tikhonov(1.0), pc.Box(f, 1e9)), "the lower bound of Box"),
    "upper bound": (lambda f: stated_with(pc.Tikhonov(1.0), pc.Box(-1e9, f)), "the upper bound of Box"),
    "shape": (lambda f: problem(control=pc.Actuators([1.0, f])), "shape 2 of Actuators"),
    "weight of Linear": (lambda f: problem(terms=[pc.Linear(f, on="patch")]), "the weight of Linear"),
    "coefficient of Semilinear": (
        lambda f: problem(pc.Elliptic(semilinear=pc.Semilinear(np.sinh, np.cosh, f))), "the coefficient of Semilinear"),
    "advection": (lambda f: problem(pc.Elliptic(advection=f)), "advection"),
    "advection by part": (lambda f: problem(pc.Elliptic(advection={"upper": f})), "advection on 'upper'"),
}  # fmt: skip


def stated_with(*terms):
    return pc.ControlProblem(pc.Elliptic(), pc.Distributed(), pc.Tracking(1.0), list(terms), ZERO)


def fails(x):
    return [1.0, 2.0][x.size]


FUNCTIONS = {
    "NaN": (lambda x: np.where(x[0] >= 0, np.nan, 1.0), "NaN or infinite, the first at x = |components"),
    "one NaN": (
        lambda x: np.where(np.arange(x.shape[1]) == 1, np.nan, 1.0), "1 of .* NaN or infinite, the first|components"),
    "shape": (lambda x: np.ones(3), "expected shape .* got .*return n values|components"),
    "transposed": (lambda x: np.ones((x.shape[1], 1)), "expected shape .* got .*return n values|components"),
    "exception": (fails, "the function failed on x of shape .* IndexError: list index out of range"),
    "another signature": (lambda x, y, z: x, "the function failed on x of shape .* TypeError.*Functions of space"),
    "time": (lambda x, t: x[0], "is a function of x and t, but there is no time|failed on x of shape"),
    "no value": (lambda x: None, "expected a number or .* got NoneType|components"),
    "text": (lambda x: "one", "expected a number or .* got str|components"),
    "complex": (lambda x: 1j * x[0], "expected a number or .* got ndarray|components"),
}  # fmt: skip


def test_all_places_are_here():
    assert (len(PLACES), len(FUNCTIONS)) == (19, 10)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("place", PLACES)
def test_functions_of_space(place, function, no_work):
    state, name = PLACES[place]
    spoilt, message = FUNCTIONS[function]
    refused(DataError, f"^{name}.*({message})", lambda: state(spoilt))


NUMBERS = {
    "NaN": (np.nan, "NaN"), "infinite": (np.inf, "infinite|is above"),
    "None": (None, "expected a number .* got NoneType"),
    "text": ("one", "expected a number .* got str"), "complex": (1j, "expected a number .* got complex"),
    "array": (np.ones(5), r"expected shape \(\d+,\), one value a point, got \(5,\)|an array has no meaning"),
    "matrix": (np.ones((3, 3)), r"expected shape \(\d+,\), one value a point, got \(3, 3\)|an array has no meaning"),
    "parts": ({}, "expected a number .* got dict|its parts are given no value"),
}  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("place", [place for place in PLACES if "advection" not in place])
def test_numbers(place, number, no_work):
    state, name = PLACES[place]
    value, message = NUMBERS[number]
    if "bound" in name:
        name = "the (lower|upper) bound of Box|Box: the (lower|upper) bound"
        value = -np.inf if number == "infinite" and place == "upper bound" else value
    with pytest.raises((DataError, ProblemError), match=f"({name}).*({message})"):
        pc.solve(state(value), MESH)


@pytest.mark.parametrize("place", [place for place in PLACES if "advection" not in place and "bound" not in place])
def test_numbers_whose_squares_overflow(place, no_work):
    state, name = PLACES[place]
    refused(DataError, f"^{name}.* reaches 1.0e\\+200, where squares overflow", lambda: state(-1e200))
    refused(
        DataError, f"^{name}.* reaches 1.0e\\+308, where squares overflow", lambda: state(lambda x: 1e308 + 0 * x[0])
    )


@pytest.mark.parametrize("method", ["auto", "primal-dual", "fista", "admm", "proximal-gradient"])
def test_numbers_that_overflow_or_are_lost_on_the_way(method):
    """The error comes at the first iterate, without a warning, and nothing is certified."""
    for stated in (
        problem(pc.Elliptic(1e-160)),
        problem(alpha=1e-200),
        problem(tracking=pc.Tracking(1e-160)),
        stated_with(pc.Tikhonov(1.0), pc.Box(1e200, np.inf)),
    ):
        with pytest.raises(ProblemError, match="overflow, underflow or are NaN: choose units"):
            pc.solve(stated, MESH, method=method, max_solves=40)


def test_weights_and_meshes_that_overflow():
    for make in (pc.Tikhonov, pc.L1, lambda weight: pc.Tracking(1.0, weight=weight)):
        with pytest.raises(ProblemError, match=r"is 1.0e\+200, where squares overflow: choose other units"):
            make(1e200)
    for scale in (1e100, 1e-100):
        with pytest.raises(MeshError, match="Cell 0 is so large or small"):
            MESH.transform(lambda x, scale=scale: scale * x)


def test_an_overflow_after_a_certificate_is_a_status(monkeypatch):
    """What was certified before is returned."""
    step = AffinePrimalDual.step

    def overflowing(self, objective, map, state):
        after = step(self, objective, map, state)
        return replace(after, u=np.full_like(after.u, 1e200))

    monkeypatch.setattr(AffinePrimalDual, "step", overflowing)
    result = pc.solve(problem(), MESH, method="primal-dual")
    assert result.status is pc.Status.OVERFLOW and not result.success
    assert np.isfinite(result.certificate.bound) and np.isfinite(result.objective)


@pytest.mark.parametrize("value", [2.0, (1.0,), (1.0, 2.0, 3.0), "ab", None, np.ones(3), np.array(1.0), (np.nan, 1.0)])
def test_advection(value, no_work):
    if value is not None:
        message = "^advection: (.* NaN|expected 2 components in 2D|expected a number)"
        refused(DataError, message, lambda: problem(pc.Elliptic(advection=value)))
    refused(DataError, "advection on 'upper'", lambda: problem(pc.Elliptic(advection={"upper": value})))


def test_advection_by_components_of_any_kind():
    for value in ((1.0, lambda x: 0 * x[0]), lambda x: [1.0, 0 * x[0]], lambda x: (1, 0), np.array([1.0, 0.0])):
        map = pc.discretise(problem(pc.Elliptic(advection=value)), MESH)
        reference = pc.discretise(problem(pc.Elliptic(advection=[1.0, 0.0])), MESH)
        u = np.ones(map.control.size)
        assert np.array_equal(map.solve(u), reference.solve(u))


# -- tags --------------------------------------------------------------------------------------------------------------


UNKNOWN = {
    "boundary condition": (lambda tag: problem(boundary={tag: pc.Dirichlet()}), "boundary"),
    "Neumann condition": (lambda tag: problem(boundary={tag: pc.Neumann()}), "boundary"),
    "control": (lambda tag: problem(control=pc.Distributed(tag)), "Distributed control"),
    "boundary control": (lambda tag: problem(boundary={}, control=pc.Boundary(tag)), "Boundary control"),
    "actuators": (lambda tag: problem(control=pc.Actuators([1.0], on=tag)), "Actuators"),
    "tracking": (lambda tag: problem(tracking=pc.Tracking(1.0, on=tag)), "Tracking"),
    "linear": (lambda tag: problem(terms=[pc.Linear(1.0, on=tag)]), "Linear"),
    "diffusion": (lambda tag: problem(pc.Elliptic({tag: 1.0})), "diffusion"),
    "reaction": (lambda tag: problem(pc.Elliptic(reaction={tag: 1.0})), "reaction"),
    "source": (lambda tag: problem(pc.Elliptic(source={"lower": 1.0, tag: 1.0})), "source"),
    "advection": (lambda tag: problem(pc.Elliptic(advection={tag: (1.0, 1.0)})), "advection"),
    "semilinear": (
        lambda tag: problem(pc.Elliptic(semilinear=pc.Semilinear(np.sinh, np.cosh, {tag: 1.0}))),
        "the coefficient of Semilinear"),
}  # fmt: skip


@pytest.mark.parametrize("place", UNKNOWN)
def test_unknown_tags(place, no_work):
    state, name = UNKNOWN[place]
    refused(MeshError, f"^{name}.* no .*'core'; its parts are .*'patch'.*boundaries .*'left'", lambda: state("core"))


@pytest.mark.parametrize("place", UNKNOWN)
def test_tags_of_the_wrong_kind(place, no_work):
    state, name = UNKNOWN[place]
    if place in ("actuators", "tracking", "linear"):
        pc.discretise(problem(pc.Elliptic(), SQUARE, tracking=pc.Tracking(1.0, on="top")), MESH)  # both kinds will do
        return
    kind, tag = ("boundary", "patch") if "boundary" in name.lower() else ("part", "left")
    refused(MeshError, f"^{name}.* no {kind} '{tag}'", lambda: state(tag))


def test_tags_must_be_text():
    for on in (1, ["left"], ("left",), pc.Dirichlet()):
        for make in (pc.Distributed, pc.Boundary, lambda on: pc.Tracking(1.0, on=on), lambda on: pc.Linear(1.0, on=on)):
            with pytest.raises(ProblemError, match="a string, got"):
                make(on)
    with pytest.raises(ProblemError, match="a string, got None"):
        pc.Boundary(None)


def test_parts_of_a_coefficient(no_work):
    part = {"lower": 1.0, "patch": 2.0}
    refused(ProblemError, "diffusion: the part 'patch' overlaps", lambda: problem(pc.Elliptic(part)))
    refused(ProblemError, "source: the part 'patch' overlaps", lambda: problem(pc.Elliptic(source=part)))
    refused(
        ProblemError, r"diffusion: 30 of 60 cells are in none of the parts \['lower'\]: give",
        lambda: problem(pc.Elliptic({"lower": 1.0})),
    )  # fmt: skip


# -- boundary conditions -----------------------------------------------------------------------------------------------


def test_conditions_must_not_overlap_or_lie_inside(no_work):
    overlap = {"left": pc.Neumann(1.0), "boundary": pc.Dirichlet()}
    refused(ProblemError, "'left' and 'boundary' share facets.*at most one", lambda: problem(boundary=overlap))
    for condition in (pc.Dirichlet(), pc.Neumann(1.0), pc.Robin(1.0)):
        refused(
            ProblemError, r"boundary\['interface'\]: .* inside the domain",
            lambda c=condition: problem(boundary={"wall": pc.Dirichlet(), "interface": c}), materials(),
        )  # fmt: skip


def test_dirichlet_control(no_work):
    for control in (pc.Boundary("left"), pc.Actuators([1.0], on="left")):
        refused(
            ProblemError, "control on 'left': Dirichlet control is not supported.*Give that tag a Neumann or Robin",
            lambda c=control: problem(boundary=SQUARE, control=c),
        )  # fmt: skip
        mesh = MESH.tag_boundary("left", lambda x: (x[0] < 0.1) | ((x[1] < 0.1) & (x[0] < 0.5)))
        mesh = mesh.tag_boundary("low", lambda x: x[1] < 0.1)
        refused(
            ProblemError, "control on 'left' meets the Dirichlet condition on 'low': Dirichlet control.*Robin",
            lambda c=control: problem(boundary={"low": pc.Dirichlet()}, control=c), mesh,
        )  # fmt: skip
    refused(
        ProblemError, "Boundary control.* meets the Dirichlet condition on 'boundary'",
        lambda: problem(control=pc.Boundary("left")),
    )  # fmt: skip
    refused(
        ProblemError, "Boundary control: the tag 'interface' names facets inside",
        lambda: problem(control=pc.Boundary("interface"), boundary={"wall": pc.Dirichlet()}), materials(),
    )  # fmt: skip


# -- what makes the equation wrong -------------------------------------------------------------------------------------


def test_diffusion_and_robin_have_signs(no_work):
    for bad in (0.0, -1.0, lambda x: x[0] - 0.5, {"lower": 1.0, "upper": -1.0}):
        refused(
            ProblemError,
            r"diffusion must be positive, it is -?[\d.e-]+ at x = \[",
            lambda b=bad: problem(pc.Elliptic(b)),
        )
    for bad in (-1.0, lambda x: x[0] - 0.5):
        refused(
            ProblemError, "Robin coefficient on 'top' must not be negative, its least value is -",
            lambda b=bad: problem(boundary={"left": pc.Dirichlet(), "top": pc.Robin(b)}),
        )  # fmt: skip


def disconnected():
    """Two squares with the tag "left" on the first alone."""
    one = pc.unit_square(3)
    points = np.hstack([one.points, one.points + 2])
    cells = np.hstack([one.cells, one.cells + one.points.shape[1]])
    return pc.Mesh(points, cells).tag_boundary("left", lambda x: x[0] == 0).tag_part("second", lambda x: x[0] > 2)


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_singular_equations(dim, degree, no_work):
    mesh = {1: pc.unit_interval, 2: pc.unit_square, 3: pc.unit_cube}[dim](3)
    advection = [1.0, -0.5, 2.0][:dim]
    for boundary in ({}, {"left": pc.Neumann(1.0)}, {"left": pc.Robin(0.0)}):
        for wrong in (pc.Elliptic(lambda x: 1 + x[0]), pc.Elliptic(1e-9), pc.Elliptic(advection=advection)):
            refused(
                SingularEquationError, "no unique solution: .*around x = .*Add a Dirichlet or Robin condition, or",
                lambda b=boundary, w=wrong: problem(w, b), mesh, backend=pc.Embedded(degree),
            )  # fmt: skip


def test_singular_on_one_component(no_work):
    dirichlet = {"left": pc.Dirichlet()}
    refused(
        SingularEquationError, r"no unique solution: .*around x = \[2.0, 2.0\]",
        lambda: problem(boundary=dirichlet), disconnected(),
    )  # fmt: skip
    pc.discretise(problem(pc.Elliptic(reaction={"second": 1.0}), dirichlet), disconnected())


def test_nearly_singular_equations_are_solved():
    """Neither a small reaction nor a jump of 1e8 in the diffusion is mistaken for a singular equation."""
    for stated in (
        problem(pc.Elliptic(reaction=1e-7, source=1e-7), {}),
        problem(pc.Elliptic({"inside": 1e8, "outside": 1.0}, source=0.0), {"floor": pc.Dirichlet(1.0)}),
        problem(pc.Elliptic({"inside": 1.0, "outside": 1e8}), {"floor": pc.Robin(1.0, 1.0)}),
    ):
        map = pc.discretise(stated, materials())
        assert np.allclose(map.solve(map.control.zeros()), 1.0, rtol=1e-4)


def test_semilinear():
    cube, slope = (lambda y: y**3), (lambda y: 3 * y**2)
    for wrong in (lambda y: 3.003 * y**2, lambda y: y**2, lambda y: 3 * y, lambda y: 0 * y):
        with pytest.raises(
            ProblemError, match=r"derivative given is not that of the function: at y = .*quotient gives"
        ):
            pc.Semilinear(cube, wrong)
    for function, derivative, message in (
        (1.0, slope, "two functions"),
        (cube, None, "two functions"),
        (fails, slope, "the function failed on an array of 9 values of y: IndexError"),
        (cube, lambda y: y[0, 0], "the derivative failed on an array of 9 values of y: IndexError"),
        (lambda y: y[:2], slope, r"the function must return one value for each value of y, .* \(2,\) for \(9,\)"),
        (cube, lambda y: np.ones((3, 3)), "the derivative must return one value"),
        (lambda y: np.nan * y, slope, "the function is NaN or infinite"),
        (cube, lambda y: np.nan, "the derivative is NaN or infinite"),
        (lambda y: None, slope, "the function is NaN|the function failed|must return"),
        (lambda y: "y", slope, "the function failed"),
    ):
        with pytest.raises(ProblemError, match=f"Semilinear.*{message}"):
            pc.Semilinear(function, derivative)
    with pytest.raises(ProblemError, match="semilinear takes Semilinear"):
        pc.Elliptic(semilinear=cube)
    pc.Semilinear(np.abs, np.sign), pc.Semilinear(lambda y: 2.0 * y, lambda y: 2.0)  # a kink, a constant derivative


def test_convection():
    def square(y):
        return (y**2, 3.0)

    for function, derivative, message in (
        (square, lambda y: (2.1 * y, 0.0), "derivative given is not that of the function: at y = .*quotient gives"),
        (square, lambda y: (2 * y, 0.1), "at y = .* it is 0.1, a difference quotient gives 0"),
        (square, lambda y: 2 * y, "the function has 2 components, its derivative 1"),
        (lambda y: (y[:3], y), lambda y: (1.0, 1.0), r"must return one .* the shape \(3,\) and \(9,\) for \(9,\)"),
        (lambda y: np.ones((2, 4)), lambda y: (0.0, 0.0), r"the function must return one value .*\(2, 4\) for \(9,\)"),
        (lambda y: (np.nan * y, 0.0), lambda y: (np.nan, np.nan), "the derivative is NaN"),
        (1.0, square, "takes two functions"),
    ):
        with pytest.raises(ProblemError, match=f"Convection.*{message}"):
            pc.Convection(function, derivative)
    with pytest.raises(ProblemError, match="convection takes Convection"):
        pc.Elliptic(convection=(1.0, 2.0))
    for components in (1, 3):
        equation = pc.burgers(1.0, components * [1.0])
        with pytest.raises(ProblemError, match=f"function has {components} components in 2D, where it needs 2"):
            pc.discretise(problem(equation), MESH)


def test_diffusion_that_depends_on_the_state():
    with pytest.raises(ProblemError, match="Quasilinear: the derivative given is not that of the function: at y ="):
        pc.Quasilinear(lambda y: 1 + y**2, lambda y: y)
    with pytest.raises(ProblemError, match="the coefficient of Quasilinear must be positive, it is -1 at x = "):
        pc.discretise(problem(pc.Elliptic(pc.Quasilinear(np.exp, np.exp, lambda x: x[0] * 0 - 1))), MESH)
    falling = pc.Quasilinear(lambda y: 1 + y, np.ones_like)
    start = {"boundary": pc.Dirichlet(lambda x: -2 * x[0])}
    with pytest.raises(StateError, match=r"diffusion must be positive, it is .* at y = -.*, which is .* at x = .*Give"):
        pc.solve(problem(pc.Elliptic(falling), start), MESH)
    cold = pc.Parabolic(pc.Elliptic(falling), T=1.0, steps=4, initial=lambda x: -20 * x[0] * (1 - x[0]))
    with pytest.raises(StateError, match=r"in step 1 of 4, to t = 0.25: Quasilinear: the diffusion must be positive"):
        pc.solve(problem(cold, {}), MESH)
    # y + y^2/2 is harmonic but for the source; its first Newton step leads to y < -1
    map = pc.discretise(problem(pc.Elliptic(falling)), MESH)
    y = map.solve(map.control.zeros() - 6.0)
    assert -1 < y.min() < -0.5


def test_coefficients():
    with pytest.raises(ProblemError, match="of='reaction' is what there is, not 'diffusion'"):
        pc.Coefficient("diffusion")
    with pytest.raises(ProblemError, match=r"'P1' .* or 'P0'"):
        pc.Coefficient(element="P2")
    with pytest.raises(ProblemError, match="Coefficient: `on` is the tag"):
        pc.Coefficient(on=3)
    for tag in ("nowhere", "right"):
        with pytest.raises(MeshError, match=f"Coefficient control: the mesh has no part '{tag}'"):
            pc.discretise(problem(pc.Elliptic(), control=pc.Coefficient(on=tag)), MESH)


def test_state_that_does_not_converge():
    """y^2 without a bound from below has no solution for large sources of the wrong sign."""
    falling = pc.Semilinear(lambda y: -50 * np.exp(y), lambda y: -50 * np.exp(y))
    message = r"Newton's method .* no length .* after \d+ steps the residual is .*Check the nonlinear"
    with pytest.raises(ConvergenceError, match=message):
        pc.solve(problem(pc.Elliptic(semilinear=falling)), MESH)
    undefined = pc.Semilinear(lambda y: np.sqrt(y - 0.5), lambda y: 0.5 / np.sqrt(y - 0.5))
    with pytest.raises(ConvergenceError, match="NaN or infinite at its start"):
        pc.discretise(problem(pc.Elliptic(semilinear=undefined)), MESH).solve(np.zeros(MESH.points.shape[1]))


def test_nonlinear_equation_that_is_singular_where_it_starts():
    cubic = pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2)
    message = "r' = 0.*Add a Dirichlet or Robin.*or start from a control"
    with pytest.raises(SingularEquationError, match=message):
        pc.solve(problem(pc.Elliptic(semilinear=cubic), {}), MESH)


# -- terms and observations --------------------------------------------------------------------------------------------


def test_weights():
    for bad in (-1.0, np.nan, np.inf, "1", None, 1j, [1.0], True, np.array([1.0]), np.array(1j), 10**400, np.True_):
        for make, name in (
            (pc.Tikhonov, "the Tikhonov weight alpha"), (pc.L1, "the L1 weight beta"),
            (lambda w: pc.Tracking(1.0, weight=w), "the weight of Tracking"),
        ):  # fmt: skip
            with pytest.raises(ProblemError, match=f"{name} must be"):
                make(bad)
    with pytest.raises(ProblemError, match="weight of Tracking must be positive"):
        pc.Tracking(1.0, weight=0.0)


def test_numbers_of_any_kind():
    for one in (1, 1.0, np.float32(1.0), np.int64(1), np.array(1.0), np.array(1), Fraction(1)):
        assert type(pc.Tikhonov(one).alpha) is float and pc.Tikhonov(one).alpha == 1.0
        assert pc.L1(one).beta == pc.Tracking(0.0, weight=one).weight == 1.0
    box = pc.Box(np.array(-1), np.int8(1))
    stated = problem(tracking=pc.Tracking(np.float32(1.0)), alpha=np.array(1e-2), terms=[box])
    assert pc.solve(stated, pc.unit_interval(8), tol=np.array(1e-3), atol=np.float32(0.0)).success


def test_without_tikhonov_the_box_is_bounded(no_work):
    for terms in ([], [pc.Tikhonov(0.0)], [pc.Box(0.0)], [pc.Box(upper=1.0), pc.L1(1.0)], [pc.Box()]):
        refused(
            ProblemError,
            r"alpha = 0 needs a box with finite .*add Box\(lower, upper\)",
            lambda t=terms: stated_with(*t),
        )
    for box in (
        pc.Box(lambda x: np.where(x[0] > 0.5, -np.inf, 0.0), 1.0),
        pc.Box(-1.0, lambda x: np.where(x[0] > 0.5, np.inf, 0.0)),
    ):
        refused(ProblemError, "alpha = 0 needs bounds that are finite everywhere: add", lambda b=box: stated_with(b))


def test_boxes(no_work):
    for lower, upper in ((1.0, 0.0), (0, -np.inf), (np.inf, 0.0)):
        with pytest.raises(ProblemError, match=r"Box: the lower bound .* is above the upper bound"):
            pc.Box(lower, upper)
    for bounds in ((np.nan, 1.0), (0.0, np.nan)):
        with pytest.raises(ProblemError, match=r"Box: the (lower|upper) bound is NaN"):
            pc.Box(*bounds)
    refused(
        ProblemError, r"Box: the lower bound 0\.\d+ is above the upper bound 0.5 at x = \[",
        lambda: stated_with(pc.Tikhonov(1.0), pc.Box(lambda x: x[0], 0.5)),
    )  # fmt: skip
    nowhere = pc.Box(lambda x: np.where(x[0] > 0.5, np.inf, 0.0))
    refused(ProblemError, "Box: no finite control", lambda: stated_with(pc.Tikhonov(1.0), nowhere))


def test_terms_come_once():
    for term in (pc.Tikhonov(1.0), pc.L1(1.0), pc.Box(-1, 1)):
        with pytest.raises(ProblemError, match=f"several {type(term).__name__} terms: merge"):
            stated_with(pc.Tikhonov(1.0), pc.Box(0, 1), pc.L1(2.0), term)
    stated_with(pc.Tikhonov(1.0), pc.Linear(1.0), pc.Linear(2.0))


def test_something_is_observed():
    for tracking in ([], ()):
        with pytest.raises(ProblemError, match="nothing to observe: give a Tracking or a Linear"):
            problem(tracking=tracking)


def test_points_of_tracking(no_work):
    for points in ([[1.2], [0.5]], [[0.5, 0.2], [0.5, -1e-6]]):
        refused(
            DataError,
            "the points of Tracking: 1 of . points are outside",
            lambda p=points: problem(tracking=pc.Tracking(0, points=p)),
        )
    for points, mesh in (([[1.5]], pc.unit_interval(4)), ([[-1e-3]], pc.unit_interval(4))):
        refused(DataError, "points are outside", lambda p=points: problem(tracking=pc.Tracking(0, points=p)), mesh)
    refused(
        DataError, r"Tracking: points of shape \(3, 1\) in 2D, expected \(2, k\)",
        lambda: problem(tracking=pc.Tracking(0, points=[[0.5], [0.5], [0.5]])),
    )  # fmt: skip
    for bad in ([0.5, 0.5], np.zeros((2, 0)), [[np.nan], [0.5]], [["a"], ["b"]], [[0.1, 0.2], [0.3]], 0.5):
        with pytest.raises(ProblemError, match="Tracking: points must be"):
            pc.Tracking(0.0, points=bad)
    for complex_or_object in (np.ones((2, 3)) * 1j, np.array([[0.5], [None]])):
        with pytest.raises(ProblemError, match="Tracking: points must be real numbers"):
            pc.Tracking(0.0, points=complex_or_object)
    rows = np.full((5, 2), 0.5)
    refused(
        DataError, r"Tracking: points of shape \(5, 2\) in 2D, expected \(2, k\), a point a row: transpose",
        lambda: problem(tracking=pc.Tracking(0.0, points=rows)),
    )  # fmt: skip
    with pytest.raises(ProblemError, match="not both"):
        pc.Tracking(0.0, on="left", points=[[0.5], [0.5]])
    refused(
        DataError, r"the target of Tracking: expected shape \(1,\)",
        lambda: problem(tracking=pc.Tracking(np.zeros(2), points=[[0.5], [0.5]])),
    )  # fmt: skip


# -- wrong types -------------------------------------------------------------------------------------------------------


def test_problems_of_the_wrong_type():
    good = {
        "equation": pc.Elliptic(), "control": pc.Distributed(), "tracking": pc.Tracking(1.0),
        "terms": [pc.Tikhonov(1.0)], "boundary": ZERO,
    }  # fmt: skip
    pc.ControlProblem(**good)
    for name, values, message in (
        ("equation", [None, "Poisson", pc.Dirichlet(), pc.Elliptic], "equation must be Elliptic"),
        ("control", [None, "left", pc.Distributed, [pc.Distributed()]], "control must be Distributed, Boundary"),
        ("tracking", [None, 1.0, "all", [1.0], np.sin, [None]], "tracking"),
        ("terms", [None, 1.0, "Tikhonov", [pc.Tikhonov], [None], [pc.Tracking(1.0)]], "terms takes Tikhonov, L1"),
        ("boundary", [None, pc.Dirichlet(), [pc.Dirichlet()], "left"], "boundary takes a condition for each tag"),
        ("boundary", [{"left": 0.0}, {"left": None}, {"left": pc.Dirichlet}], r"boundary\['left'\] must be Dirichlet"),
    ):
        for value in values:
            with pytest.raises(ProblemError, match=message):
                pc.ControlProblem(**(good | {name: value}))
    pc.ControlProblem(**(good | {"terms": pc.Tikhonov(1.0), "tracking": (pc.Tracking(1.0),)}))


def test_controls_of_the_wrong_type():
    for element in ("P2", "p1", None, 1):
        with pytest.raises(ProblemError, match=r"'P1' .* or 'P0' .*, not"):
            pc.Distributed(element=element)
        with pytest.raises(ProblemError, match=r"'P1' .* or 'P0' .*, not"):
            pc.Boundary("left", element)
    for shapes in ([], np.sin, 1.0, None, {}, iter([1.0]), "abc"):
        with pytest.raises(ProblemError, match="Actuators takes a list of at least one shape"):
            pc.Actuators(shapes)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ProblemError, "unknown backend 'fenics': take one of", {"backend": "fenics"}),
        (ProblemError, "unknown backend None", {"backend": None}),
        (ProblemError, "unknown method 'simplex': take one of", {"method": "simplex"}),
        (ProblemError, "unknown method None", {"method": None}),
        (ProblemError, "unknown method", {"method": pc.PrimalDual}),
        (ProblemError, "degree of the state is 1 or 2, not 3", {"backend": pc.Embedded(3)}),
        (ProblemError, "tol must be positive", {"tol": 0.0}),
        (ProblemError, "tol must be positive", {"tol": -1e-6}),
        (ProblemError, "tol must be a finite number", {"tol": np.nan}),
        (ProblemError, "tol must be a finite number", {"tol": "small"}),
        (ProblemError, "tol must be a finite number", {"tol": np.inf}),
        (ProblemError, "atol must be at least zero", {"atol": -1.0}),
        (ProblemError, "atol must be a finite number", {"atol": np.nan}),
        (ProblemError, "restart=True needs the file", {"restart": True}),
        (ProblemError, "tol must be a finite number, got True", {"tol": True}),
        (ProblemError, "unknown method", {"method": ["fista"]}),
        (ProblemError, "unknown method", {"method": {}}),
        (ProblemError, "max_iterations must be at least zero", {"max_iterations": -1}),
        (ProblemError, "max_iterations must be a finite number", {"max_iterations": "10"}),
        (ProblemError, "max_solves must be a finite number", {"max_solves": np.nan}),
        (ProblemError, "callback takes a function", {"callback": 1}),
        (ProblemError, "checkpoint_iterations must be", {"checkpoint": "a", "checkpoint_iterations": "b"}),
        (ResultFileError, "a path is text or a pathlib.Path, got 5", {"checkpoint": 5}),
        (DataError, "start: expected a number .* got ndarray of complex128", {"start": 1j * np.zeros(42)}),
        (DataError, "start: expected a number .* got ndarray of object", {"start": np.zeros(42, dtype=object)}),
        (DataError, r"start: expected shape \(42,\).*42 values", {"start": np.zeros(7)}),
        (DataError, "start: 42 of 42 values are NaN", {"start": np.nan}),
        (DataError, "start: 1 of 42 values are NaN", {"start": np.where(np.arange(42) == 3, np.nan, 0.0)}),
        (DataError, "start: expected a number", {"start": "zero"}),
        (DataError, "start: the function failed", {"start": fails}),
    ],
)
def test_arguments_of_solve(error, message, options, no_work):
    refused(error, message, problem, **options)


@pytest.mark.parametrize("backend", [pc.Embedded, pc.Parallel])
def test_engines(backend):
    for degree in ("1", True, 0, 1.5):
        with pytest.raises(ProblemError, match="degree of the state is a positive integer, not "):
            backend(degree)
    for wrong in ("lu", None):
        with pytest.raises(ProblemError, match=f"unknown linear_solver {wrong!r}: take"):
            backend(linear_solver=wrong)


def test_meshes_and_problems_of_the_wrong_type():
    for mesh in (None, 8, "square.msh", np.zeros((2, 3)), pc.unit_square):
        with pytest.raises(MeshError, match="expected a mesh"):
            pc.solve(problem(), mesh)
    for wrong in (None, pc.Elliptic(), "problem"):
        with pytest.raises(ProblemError, match="expected a ControlProblem"):
            pc.solve(wrong, MESH)


def test_meshes_of_other_libraries():
    """The message says what to pass instead, and that works."""
    points, cells = MESH.points, MESH.cells
    other = skfem.MeshTri(points, cells)
    with pytest.raises(MeshError, match=r"a mesh of skfem: pass Mesh\(mesh.p, mesh.t\)"):
        pc.solve(problem(), other)
    assert np.array_equal(pc.Mesh(other.p, other.t).points, points)
    read = meshio.Mesh(np.pad(points.T, ((0, 0), (0, 1))), [("triangle", cells.T)])
    with pytest.raises(MeshError, match=r"of meshio: pass Mesh\(mesh.points.T\[:dim\], .*or its file to read_mesh"):
        pc.solve(problem(), read)
    assert np.array_equal(pc.Mesh(read.points.T[:2], read.cells_dict["triangle"].T).points, points)
    for path in ("square.msh", Path("square.msh")):
        with pytest.raises(MeshError, match=r"got a path: read the file first, by read_mesh\('square.msh'\)"):
            pc.solve(problem(), path)
    with pytest.raises(MeshError, match=r"shape \(dim, n\).* a point a row and a cell a row: transpose"):
        pc.Mesh(points.T, cells.T)


def test_meshes_of_dolfinx():
    pytest.importorskip("dolfinx")
    from dolfinx.mesh import create_unit_square
    from mpi4py import MPI

    with pytest.raises(MeshError, match=r"a mesh of dolfinx: pass its points .* as Mesh\(points, cells\)"):
        pc.solve(problem(), create_unit_square(MPI.COMM_SELF, 2, 2))


def test_swapped_arguments(no_work):
    map, swapped = pc.discretise(problem(), MESH), "the order of the arguments is"
    for call, match in (
        (lambda: pc.solve(MESH, problem()), f"expected a ControlProblem, got Mesh: {swapped} problem, mesh"),
        (lambda: pc.discretise(MESH, problem()), f"expected a ControlProblem, got Mesh: {swapped} problem, mesh"),
        (lambda: pc.continuation(MESH, problem(), [1.0]), f"got Mesh: {swapped} problem, mesh"),
        (lambda: pc.minimise(map, problem()), f"got SteadyMap: {swapped} problem, map"),
        (lambda: pc.minimise(problem(), MESH), f"expected a map, .*, got Mesh: {swapped} problem, map"),
        (lambda: pc.certify(problem(), map, 0.0), f"expected a map, .*, got float: {swapped} problem, control, map"),
        (lambda: pc.certify(map, 0.0, problem()), f"got SteadyMap: {swapped} problem, control, map"),
        (lambda: pc.Box(1, -1), "the lower bound 1 is above the upper bound -1"),
        (lambda: pc.Tikhonov(lambda x: x[0], 1.0), "alpha must be a finite number"),
        (lambda: pc.ControlProblem(pc.Distributed(), pc.Elliptic(), pc.Tracking(1), []), "equation must be Elliptic"),
    ):
        with pytest.raises(ProblemError, match=match):
            call()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"alpha": 1e-3}, "alpha is a list of weights, one for each stage, got 0.001"),
        ({"beta": np.array(1.0)}, "beta is a list of weights"),
        ({"alpha": "1e-3"}, "alpha is a list of weights"),
        ({"alpha": [1.0, -1.0]}, "each weight in alpha must be at least zero, got -1.0"),
        ({"alpha": [1.0, "a"]}, "each weight in alpha must be a finite number, got 'a'"),
        ({"beta": [np.nan]}, "each weight in beta must be a finite number"),
        ({"alpha": [[1.0, 2.0]]}, "each weight in alpha must be a finite number"),
        ({"alpha": [1.0], "beta": [1.0, 2.0]}, "of equal length"),
        ({"alpha": []}, "as lists of weights"),
        ({}, "needs alpha or beta as lists of weights"),
        ({"alpha": [1.0, 0.0]}, "alpha = 0 needs a box"),
    ],
)
def test_weights_of_a_continuation(weights, message, no_work):
    with pytest.raises(ProblemError, match=message):
        pc.continuation(problem(), MESH, **weights)


def test_continuation_takes_any_sequence_of_weights():
    results = [pc.continuation(problem(), pc.unit_interval(8), path) for path in ([1, 0.1], np.array([1, 0.1]))]
    assert results[0][1].objective == results[1][1].objective


def test_multigrid_takes_definite_equations(no_work):
    for wrong in (
        pc.Elliptic(advection=(1.0, 0.0)),
        pc.Elliptic(semilinear=pc.Semilinear(np.sinh, np.cosh)),
        pc.Elliptic(reaction=-1.0),
    ):
        refused(
            ProblemError,
            "symmetric positive.*'direct'",
            lambda w=wrong: problem(w),
            backend=pc.Embedded(linear_solver="amg"),
        )


def test_methods_of_the_wrong_type():
    for steps in ("fast", (1.0,), (1.0, -1.0), (np.nan, 1.0)):
        with pytest.raises(ProblemError, match="steps"):
            pc.PrimalDual(steps=steps)
    for method in (pc.PrimalDual, pc.FISTA, pc.ProximalGradient):
        for norm in (0.0, -1.0, np.nan):
            with pytest.raises(ProblemError, match="norm"):
                method(norm=norm)


@pytest.mark.parametrize("steps", [None, ("a", "b")])
def test_steps_of_the_wrong_type(steps):
    with pytest.raises(ProblemError, match="steps"):
        pc.PrimalDual(steps=steps)


def test_meshes_without_free_nodes(no_work):
    for mesh in (pc.unit_interval(1), pc.unit_square(1), pc.unit_cube(1)):
        refused(ProblemError, "every node carries a Dirichlet value, .*: refine the mesh", problem, mesh)
    with pytest.raises(MeshError, match="m > 0"):
        pc.Mesh(np.zeros((2, 0)), np.zeros((3, 0), dtype=int))


def test_points_of_functions():
    result = pc.solve(problem(), MESH)
    points = np.full((5, 2), 0.5)
    with pytest.raises(DataError, match=r"points of shape \(2, p\), got \(5, 2\), a point a row: transpose it"):
        result.state(points)
    assert result.state(points.T).shape == (5,)
    rows = [[0.1], [0.2, 0.3]]
    for bad, message in ((points.T * 1j, "complex128"), ([["a"], ["b"]], "real numbers"), (rows, "rows")):
        with pytest.raises(DataError, match=f"points: expected .*{message}"):
            result.state(bad)
    line = pc.solve(problem(), pc.unit_interval(4)).state
    with pytest.raises(DataError, match=r"points of shape \(1, p\), got \(3,\): write points\[None\]"):
        line([0.1, 0.2, 0.3])


def test_controls_of_the_wrong_shape():
    for map in (pc.discretise(problem(), MESH), pc.discretise(problem(control=pc.Actuators([1.0])), MESH)):
        for u in (np.zeros(map.control.size + 1), np.full(map.control.size, np.nan), np.zeros((map.control.size, 1))):
            with pytest.raises(DataError, match="the control: "):
                map.solve(u)


def test_too_few_solves():
    for method in ("primal-dual", "fista"):
        with pytest.raises(ProblemError, match=r"max_solves = 1 does not suffice to start .*: allow more"):
            pc.solve(problem(), MESH, method=method, max_solves=1)


def test_map_of_another_problem():
    several = problem(tracking=[pc.Tracking(1.0), pc.Tracking(1.0, on="patch")])
    with pytest.raises(ProblemError, match="observes 2 quantities, the map 1: it is the map of another"):
        bind(several, pc.discretise(problem(), MESH))


# -- what is left ------------------------------------------------------------------------------------------------------


class Series:
    """An array in the clothes of another library."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


def read_only(values):
    values = np.array(values)
    values.flags.writeable = False
    return values


def destroys(x):
    values = x[0].copy()
    x[:] = np.nan
    return values


X = MESH.points[0]


@pytest.mark.parametrize(
    "data",
    [
        lambda x: [float(value) for value in x[0]], lambda x: Series(x[0]), destroys, X, Series(X), list(X),
        read_only(X), np.repeat(X, 2)[::2], X.astype(">f8"), np.ma.array(X, mask=False),
    ],
)  # fmt: skip
def test_arrays_of_any_kind_mean_the_same(data):
    def solve(data):
        terms = [pc.Tikhonov(1e-2, data), pc.Box(-1.0, 1.0)]
        stated = pc.ControlProblem(pc.Elliptic(), pc.Distributed(), pc.Tracking(data), terms, ZERO)
        return pc.solve(stated, MESH, start=data)

    assert solve(data).objective == pytest.approx(solve(lambda x: x[0]).objective, rel=1e-12)


def growing(y):
    return y if y.size < 50 else y[:3]


FOREIGN = {
    "masked values": (
        lambda: pc.solve(problem(tracking=pc.Tracking(np.ma.array(X, mask=X > 0.5))), MESH), "expected a number"),
    "generator": (lambda: pc.solve(problem(tracking=pc.Tracking(x for x in X)), MESH), "got generator"),
    "forcing": (lambda: pc.SemismoothNewton(forcing="a"), "forcing must be a finite number"),
    "max_cg": (lambda: pc.SemismoothNewton(max_cg=np.nan), "max_cg must be a finite number"),
    "rho": (lambda: pc.ADMM(rho=0.0), "ADMM: rho must be positive"),
    "radius": (lambda: pc.disc(3, "a"), "positive finite radius, got a"),
    "count": (lambda: pc.unit_square(True), "a positive integer, got True"),
    "predicate that fails": (lambda: MESH.tag_part("a", fails), 'predicate of "a" failed on x of shape .* IndexError'),
    "predicate that is none": (lambda: MESH.tag_boundary("a", 5), 'predicate of "a" failed .* not callable'),
    "tag": (lambda: MESH.tag_part(5, lambda x: x[0] < 0.5), "A tag is a string, got 5"),
    "tags": (lambda: pc.Mesh(MESH.points, MESH.cells, [1]), "parts of a mesh are a dictionary of tags, got list"),
    "no tags": (lambda: pc.Mesh(MESH.points, MESH.cells, {}, None), "boundaries of a mesh .* got NoneType"),
    "look-up": (lambda: MESH.part(["patch"]), "The mesh has no part"),
    "map": (lambda: MESH.transform(fails), "the map of the points failed on x of shape .* IndexError"),
    "path of a mesh": (lambda: pc.read_mesh(5), "read_mesh takes the path of a file, got 5"),
    "path": (lambda: pc.solve(problem(), MESH, checkpoint=""), "a path is text or a pathlib.Path, got ''"),
    "progress": (lambda: pc.solve(problem(), MESH, progress="yes"), "progress is True, False or None"),
    "list to draw": (lambda: draw([1.0]), "draw takes fields by name"),
    "array to export": (lambda: export({"a": X}, "a.vtu"), "export takes fields by name"),
    "semilinear term of another size": (
        lambda: pc.solve(problem(pc.Elliptic(semilinear=pc.Semilinear(growing, np.ones_like))), MESH),
        r"Semilinear: the function must return one value .* \(3,\) for \(\d+,\)"),
    "semilinear term that is complex": (
        lambda: pc.Semilinear(lambda y: y + 0j, np.ones_like), "Semilinear: the function failed .* complex128"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_input(name):
    call, message = FOREIGN[name]
    with pytest.raises(PdecontrolError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
