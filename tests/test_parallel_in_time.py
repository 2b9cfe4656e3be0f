"""All steps at once by sweeps with a circulant matrix: the march, its adjoint and its certificates; what is refused."""

from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from cases import BACKENDS, CN, NONLINEAR_PARABOLIC, PARABOLIC, Case, heat, interval, problem, rotation, square
from test_mpi import PROGRAMS, mpirun

import pdecontrol as pc
from pdecontrol.errors import ConvergenceError, ProblemError
from pdecontrol.fem import circulant
from pdecontrol.fem.circulant import CirculantSteps
from pdecontrol.fem.parabolic import ParabolicMap

ENGINES = [
    "skfem",
    pytest.param("dolfinx", marks=pytest.mark.skipif(find_spec("dolfinx") is None, reason="needs dolfinx")),
]
UNFIT = {"heat, uneven Crank-Nicolson, P2", "actuators in time, points over an interval", "all data in time",
         "coefficients in time, Crank-Nicolson", "jumps in time, Crank-Nicolson, control on an interface"}  # fmt: skip
EVEN = [case for case in PARABOLIC if case.name not in UNFIT] + [
    Case("advection, odd steps", heat(pc.Elliptic(0.3, advection=rotation), steps=5), square),
    Case("advection, Crank-Nicolson", heat(pc.Elliptic(0.3, 1.0, rotation), scheme=CN), square, 2),
    Case("one step", heat(steps=1), square),
    Case("one unknown", heat(), lambda: pc.unit_interval(2)),
]
ON_RANKS = ["initial value", "moving actuators", "advection, odd steps", "one step", "one unknown"]


def named(name):
    return next(case for case in [*PARABOLIC, *EVEN] if case.name == name)


def together(case, backend="skfem"):
    return pc.discretise(case.problem, case.mesh, BACKENDS[backend](case.degree, march="parallel-in-time"))


def test_no_case_is_left_out():
    assert len(EVEN) == len(PARABOLIC) - len(UNFIT) + 4 and len(UNFIT) == 5


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("case", EVEN, ids=repr)
def test_the_march_and_its_derivatives(case, backend):
    """Whatever accuracy is asked for, with a start or without one; the adjoint is exact, not only near to another."""
    generator = np.random.default_rng(141421)
    with case.fresh_map(backend=backend) as march, together(case, backend) as map:
        assert isinstance(map.linear, CirculantSteps) and map.fingerprint == march.fingerprint
        u = case.control() if backend == "skfem" else map.control.scatter(case.control())
        h = generator.standard_normal(u.shape)
        w = generator.standard_normal(map.observation.size)
        warm = map.solve(u + 0.01 * h)
        for accuracy in (None, 1e-2):
            close = 1e-12 if accuracy is None else 1e-8
            start = None if accuracy is None else map.at(u + 0.01 * h).warm
            at, other = map.at(u, start, accuracy), march.at(u, accuracy=accuracy)
            for name, ours, theirs in (
                ("state", at.state, other.state),
                ("value", at.value, other.value),
                ("tangent", at.tangent(h), other.tangent(h)),
                ("adjoint", at.adjoint(w), other.adjoint(w)),
                ("second", *(item.second(h, w, item.solve_adjoint(w), np.copy) for item in (at, other))),
            ):
                assert np.abs(ours - theirs).max() <= close * np.abs(theirs).max(), (name, accuracy)
        at = map.at(u)
        sides = map.observation.inner(at.tangent(h), w), map.control.inner(h, at.adjoint(w))
        scale = map.observation.norm(at.tangent(h)) * map.observation.norm(w)
        assert abs(sides[0] - sides[1]) <= 1e-12 * scale
        assert warm.shape == at.value.shape


@pytest.mark.parametrize("backend", ENGINES)
def test_p1_has_the_iterates_of_the_march_in_three_sweeps(backend, monkeypatch):
    """To 1e-8; it is 2e-10, as sweeps go on to a residual of 1e-10 of the right-hand side."""
    visited, at = [], ParabolicMap.at

    def spy(self, u, *arguments, **options):
        visited.append(u)
        return at(self, u, *arguments, **options)

    monkeypatch.setattr(ParabolicMap, "at", spy)
    results, controls = [], []
    for march in ("sequential", "parallel-in-time"):
        visited.clear()
        chosen = BACKENDS[backend](march=march)
        results.append(pc.solve(pc.reference.heat(16).problem, pc.unit_square(16), chosen, "primal-dual"))
        controls.append(list(visited))
    one, other = results
    assert one.success and other.success and len(one.history) == len(other.history)
    assert len(controls[0]) == len(controls[1]) > 50
    scale = np.linalg.norm(one.control.array)
    for u, v in zip(*controls, strict=True):
        assert np.linalg.norm(u - v) <= 1e-9 * scale
    assert all(one.solves[kind] == other.solves[kind] for kind in ("state", "tangent", "adjoint"))
    assert other.solves["total"] < other.solves["inner"] < 1.6 * other.solves["total"]
    assert one.solves["factorisations"] == 1 and other.solves["factorisations"] == 1 + 9
    assert other.certificate.relative == pytest.approx(one.certificate.relative, rel=1e-3)


def test_no_solve_of_p1_takes_more_than_three_sweeps():
    with pc.discretise(pc.reference.heat(16).problem, pc.unit_square(8), pc.Embedded(march="parallel-in-time")) as map:
        u = map.control.interpolate(pc.reference.heat(16).control)
        _ = map.constants
        for accuracy, most in ((None, 3), (1e-2, 2)):
            before = map.solves.inner
            at = map.at(u, accuracy=accuracy)
            adjoint = at.adjoint(at.value)
            assert np.any(adjoint) and 2 <= map.solves.inner - before <= 2 * most


def test_a_sweep_leaves_as_little_as_it_says(monkeypatch):
    """One sweep leaves alpha and eps/alpha of the solution; with larger alpha so much more."""
    case = EVEN[0]
    with case.fresh_map() as march:
        exact = march.solve(case.control())
        size = march.observation.norm(exact)
        for alpha, low, high in ((1e-8, 1e-12, 1e-6), (1e-4, 1e-8, 1e-3), (1e-2, 1e-6, 1e-1)):
            monkeypatch.setattr(circulant, "ALPHA", alpha)
            for sweeps in (1, 2, 3):
                with together(case) as map, monkeypatch.context() as limited:
                    _ = map.constants
                    limited.setattr(circulant, "SWEEPS", sweeps - 1)
                    limited.setattr(circulant, "NEAR", 1.0)
                    at = map.at(case.control())
                    error = march.observation.norm(at.value - exact)
                    assert error <= (high**sweeps + 1e-14) * size and error <= at.error
                    if sweeps == 1:
                        assert error > low * size


class TestPlantedErrors:
    """What goes wrong in a sweep is seen in the residual of the march."""

    @pytest.fixture
    def map(self):
        with together(EVEN[1]) as map:
            yield map

    @pytest.mark.parametrize("wrong", ["conjugate", "scaled", "noise"])
    def test_systems_that_are_wrong(self, map, monkeypatch, wrong):
        solve, generator = CirculantSteps._divided, np.random.default_rng(3)
        errors = {
            "conjugate": np.conj,
            "scaled": lambda z: 0.4 * z,
            "noise": lambda z: z + generator.standard_normal(z.shape) * np.abs(z).max(),
        }
        monkeypatch.setattr(CirculantSteps, "_divided", lambda self, z: solve(self, errors[wrong](z)))
        u = EVEN[1].control()
        for accuracy in (None, 1e-2):
            with pytest.raises(ConvergenceError, match="sweeps of march='parallel-in-time' stopped at a relative res"):
                _ = map.at(u, accuracy=accuracy).value

    def test_a_small_one_costs_sweeps_alone(self, map, monkeypatch):
        solve, u = CirculantSteps._divided, EVEN[1].control()
        exact = map.solve(u)
        monkeypatch.setattr(CirculantSteps, "_divided", lambda self, z: 1.001 * solve(self, z))
        before = map.solves.inner
        at = map.at(u)
        error = map.observation.norm(at.value - exact)
        assert map.solves.inner - before > 3
        assert error <= 1e-12 * map.observation.norm(exact) and error <= 2 * at.error

    def test_the_transpose_is_not_the_matrix(self, monkeypatch):
        case = named("advection, odd steps")
        with together(case) as map:
            sweep = CirculantSteps._circulant
            monkeypatch.setattr(CirculantSteps, "_circulant", lambda self, r, transposed: sweep(self, r, False))
            at = map.at(case.control())
            assert at.error < 1e-10
            before = map.solves.inner
            try:
                at.adjoint(at.value)
            except ConvergenceError:
                return
            assert map.solves.inner - before > 5


@pytest.mark.parametrize(("reaction", "context"), [
    (-5.0, nullcontext()), (-16.0, nullcontext()),
    (-30.0, pytest.raises(ConvergenceError, match="solutions grow in time: take march='sequential'")),
])  # fmt: skip
def test_growth_in_time(reaction, context):
    """exp(-c T) up to 1e6 costs sweeps; beyond, they end in an error and not in a wrong solution."""
    stated = problem(pc.Parabolic(pc.Elliptic(reaction=reaction), T=1.0, steps=40, scheme=CN, initial=1.0), {})
    march = pc.discretise(stated, interval(), "skfem")
    map = pc.discretise(stated, interval(), pc.Embedded(march="parallel-in-time"))
    u = march.control.zeros()
    with context:
        at = map.at(u)
        assert map.observation.norm(at.value - march.solve(u)) <= at.error + march.at(u).error
        assert at.error <= 2 * march.at(u).error


def test_bounds_hold_along_the_way():
    for case in EVEN[:3]:
        best = pc.minimise(case.problem, case.map, tol=1e-10)
        with together(case) as map:
            result = pc.minimise(case.problem, map, tol=1e-3)
            distance = map.control.norm(result.control.array - best.control.array)
            assert result.success and distance <= result.certificate.bound * (1 + 1e-6)


def test_nothing_to_solve_needs_no_start():
    with together(EVEN[0]) as map:
        at = map.at(EVEN[0].control(), accuracy=1e-2)
        start = at.solve_adjoint(at.value).state
        assert not at.solve_adjoint(map.observation.zeros(), start).gradient.any()


def test_threads_change_nothing(monkeypatch):
    case, answers = EVEN[0], []
    for threads in ("1", "3", "", "many", "2,4"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        with together(case) as map:
            answers.append(map.solve(case.control()))
    assert all(np.array_equal(answer, answers[0]) for answer in answers)


def test_a_closed_map_factorises_again():
    case = EVEN[0]
    with together(case) as map:
        first = map.solve(case.control())
        count = map.solves.factorisations
    assert np.array_equal(map.solve(case.control()), first) and map.solves.factorisations == 2 * count


def test_factors_that_do_not_fit(monkeypatch):
    def none(*_, **__):
        raise MemoryError

    with together(EVEN[0]) as map:
        _ = map.linear.solver(0)
        monkeypatch.setattr("pdecontrol.linear.direct.splu", none)
        with pytest.raises(ProblemError, match=r"factors of the 3 systems .* march='sequential'"):
            map.solve(EVEN[0].control())


@pytest.mark.parametrize(
    ("case", "options", "message"),
    [
        (named("actuators in time, points over an interval"), {}, "the steps are not of one length"),
        (named("coefficients in time, Crank-Nicolson"), {},
         "coefficients depend on time: march='parallel-in-time' takes linear equations with coefficients constant"),
        (NONLINEAR_PARABOLIC[0], {}, "the equation is not linear"),
        (EVEN[0], {"linear_solver": "amg"}, "solved by iterations: .* linear_solver='direct'"),
        (Case("steady", problem(), square), {}, "is of Parabolic equations"),
        (EVEN[0], {"march": "backwards"}, "unknown march 'backwards': take 'sequential' or 'parallel-in-time'"),
    ],
)  # fmt: skip
def test_what_is_refused(case, options, message):
    if "linear_solver" in options:
        pytest.importorskip("pyamg")
    with pytest.raises(ProblemError, match=message):
        pc.discretise(case.problem, case.mesh, pc.Embedded(**({"march": "parallel-in-time"} | options)))


def test_the_path_of_weights_goes_on_with_it():
    stated = replace(pc.reference.heat(8).problem)
    results = pc.continuation(
        stated, pc.unit_square(6), alpha=[1e-3, 1e-4], backend=pc.Embedded(march="parallel-in-time")
    )
    assert all(result.success for result in results)


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
def test_on_any_number_of_ranks(tmp_path):
    """Among them ranks without a system, and without an unknown."""
    pytest.importorskip("dolfinx", reason="the distributed engine needs dolfinx")
    found = {}
    for ranks in (1, 3):
        mpirun(ranks, PROGRAMS / "parallel_in_time.py", tmp_path / f"{ranks}.npz")
        found[ranks] = dict(np.load(tmp_path / f"{ranks}.npz"))
    assert len(found[1]) == 2 * len(ON_RANKS) + 2
    for name, one in found[1].items():
        # Rounding may decide about the last of a hundred steps of conjugate gradients, which takes two solves.
        assert np.abs(found[3][name] - one).max() <= (2 if name == "solves" else 1e-10 * np.abs(one).max()), name
