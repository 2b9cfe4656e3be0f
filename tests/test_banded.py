"""Newton systems on intervals by banded factors, against conjugate gradients with the map itself."""

import numpy as np
import pytest

import pdecontrol as pc
from pdecontrol.fem.system import System
from pdecontrol.linear import banded
from pdecontrol.terms import bind

STIFF = pc.Elliptic(lambda x: np.where(abs(x[0] - 0.5) < 0.2, 1e6, 1.0))
DIRICHLET, NEUMANN = {"boundary": pc.Dirichlet()}, {"boundary": pc.Neumann()}
VARIED = {
    "Dirichlet": {},
    "Neumann": {"equation": pc.Elliptic(reaction=1.0), "boundary": NEUMANN},
    "advection": {"equation": pc.Elliptic(0.1, advection=[2.0])},
    "resonant": {"equation": pc.Elliptic(reaction=-90.0)},
    "stiff": {"equation": STIFF},
    "P0": {"control": pc.Distributed(element="P0")},
    "variational": {"control": pc.Distributed(element="variational")},
    "points": {"tracking": pc.Tracking(0.0, points=np.linspace(0.01, 0.99, 130)[None])},
}


def problem(alpha, *terms, **stated):
    target = pc.Tracking(lambda x: np.sin(2 * np.pi * x[0]) * np.exp(2 * x[0]) / 6)
    usual = {"equation": pc.Elliptic(), "boundary": DIRICHLET, "control": pc.Distributed(), "tracking": target}
    return pc.ControlProblem(terms=[pc.Tikhonov(alpha), *terms], **(usual | stated))


def shuffled(n):
    """An interval whose points have random numbers, as those of mesh generators may."""
    mesh, places = pc.unit_interval(n), np.random.default_rng(3).permutation(n + 1)
    return pc.Mesh(mesh.points[:, np.argsort(places)], places[mesh.cells])


def newton(map, problem, alpha, noise=1.0):
    """The solution of a random Newton system, what its adjoint solution errs by, and the work."""
    second, rng = bind(problem, map).state.second(map.observation.zeros()), np.random.default_rng(1)
    weights = (rng.random(map.control.size) < 0.6) / alpha
    r = second(1.0 + noise * rng.standard_normal(map.observation.size))
    at, before = map.at(map.control.zeros()), map.solves.snapshot()
    d, adjoint = map.newton_system(at, r, lambda h: weights * h, second, 1e-14, 500)
    solves = map.solves.since(before)
    return d, map.control.norm(adjoint.gradient - at.adjoint(d)), solves


@pytest.fixture
def by_gradients(monkeypatch):
    """Conjugate gradients on intervals too."""
    return lambda: monkeypatch.setattr(System, "banded", False)


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("name", VARIED)
def test_solutions_are_those_of_conjugate_gradients(name, degree, by_gradients):
    cases = [(alpha, problem(alpha, **VARIED[name])) for alpha in (1e-2, 1e-5, 1e-8)]
    found = []
    for alpha, stated in cases:
        map = pc.discretise(stated, shuffled(60), pc.Embedded(degree))
        d, error, solves = newton(map, stated, alpha)
        assert (solves["systems"], solves["total"], solves["cycles"]) == (1, 0, 0) and error <= 1e-10
        found.append(d)
    by_gradients()
    for (alpha, stated), d in zip(cases, found, strict=True):
        map = pc.discretise(stated, shuffled(60), pc.Embedded(degree))
        exact, _, solves = newton(map, stated, alpha)
        assert solves["systems"] == 0 and solves["total"] >= 12
        assert map.observation.norm(d - exact) <= (1e-9 if name == "stiff" else 1e-11) * map.observation.norm(exact)


@pytest.mark.parametrize(("degree", "width"), [(1, 3), (2, 5)])
@pytest.mark.parametrize("element", ["P1", "P0", "variational"])
def test_bands_are_narrow_however_points_are_numbered(degree, width, element):
    stated = problem(1e-6, control=pc.Distributed(element=element))
    map = pc.discretise(stated, shuffled(80), pc.Embedded(degree))
    system = map._collective(bind(stated, map).state.second(map.observation.zeros()))._kkt
    assert max(system._widths) <= width


@pytest.mark.parametrize(("passes", "enough"), [(0, False), (2, True)])
def test_residuals_in_differences_refine_what_stiff_equations_lose(passes, enough, monkeypatch):
    monkeypatch.setattr(banded, "PASSES", passes)
    stated = problem(1e-5, equation=STIFF)
    solves = newton(pc.discretise(stated, pc.unit_interval(2000)), stated, 1e-5, noise=0.0)[2]
    assert solves["systems"] == 1 and (solves["total"] == 0) == enough


def test_conjugate_gradients_where_a_system_is_singular_to_rounding(monkeypatch):
    stated = problem(1e-4)
    map = pc.discretise(stated, pc.unit_interval(40))
    exact, *_ = newton(map, stated, 1e-4)
    monkeypatch.setattr(banded, "USABLE", -1.0)
    d, _, solves = newton(map, stated, 1e-4)
    assert solves["systems"] == 1 and solves["total"] > 10 and np.allclose(d, exact, rtol=1e-10)
    assert newton(map, stated, 1e-4)[2]["systems"] == 0  # nor are weights as large tried again


@pytest.mark.parametrize("terms", [[pc.Box(-20, 20)], [pc.L1(1e-3), pc.Box(-20, 20)]], ids=["box", "sparse"])
@pytest.mark.parametrize(("alpha", "most"), [(1e-2, 11), (1e-4, 26), (1e-6, 40), (1e-8, 58)])
def test_answers_take_few_solves(terms, alpha, most, by_gradients):
    stated, mesh = problem(alpha, *terms), pc.unit_interval(200)
    fast = pc.solve(stated, mesh)
    by_gradients()
    slow = pc.solve(stated, mesh)
    assert fast.success and slow.success and fast.solves["total"] <= min(most, slow.solves["total"] / 2)
    space = fast.control.space
    assert space.norm(fast.control.array - slow.control.array) <= fast.certificate.bound + slow.certificate.bound
