"""Parabolic problems: orders in time and space, the convention of J, certificates, bad input."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from cases import CN, PARABOLIC, UNEVEN, ZERO, heat, interval, square, travelling
from test_norms import largest

import pdecontrol as pc
from pdecontrol.errors import ConvergenceError, DataError, ProblemError
from pdecontrol.fem.evolution import Evolution
from pdecontrol.terms import bind
from pdecontrol.verify import observed_orders

PI = np.pi


def sines(x, k=1):
    return np.sin(k * PI * x).prod(axis=0)


# -- orders ------------------------------------------------------------------------------------------------------------


def controlled(steps, scheme, box):
    """A problem in one dimension with smooth data, whose control rests on its bound for two fifths of the time."""
    return pc.ControlProblem(
        pc.Parabolic(pc.Elliptic(diffusion=0.1), T=1.0, steps=steps, scheme=scheme),
        pc.Distributed(),
        pc.Tracking(lambda x, t: sines(x) * (1 - np.cos(3 * t))),
        [pc.Tikhonov(0.1), *([pc.Box(-1.3, 1.3)] if box else [])],
        ZERO,
    )


def order_of_controls(scheme, box):
    """From 9 to 81 steps against 729, compared where controls of the coarse steps are labelled."""
    rows = {}
    for steps in (9, 81, 729):
        result = pc.solve(controlled(steps, scheme, box), pc.unit_interval(6), "skfem", tol=1e-9)
        assert result.success
        rows[steps] = result.control.space.steps(result.control.array)
    errors = []
    for steps in (9, 81):
        ratio = 729 // steps
        first = ratio // 2 if scheme == CN else ratio - 1
        errors.append(np.linalg.norm(rows[steps] - rows[729][first::ratio]) / np.sqrt(steps))
    return np.log(errors[0] / errors[1]) / np.log(9)


@pytest.mark.parametrize("box", [False, True], ids=["free", "box"])
@pytest.mark.parametrize(("scheme", "order"), [(CN, 2.0), ("backward-euler", 1.0)])
def test_order_of_controls_in_time(scheme, order, box):
    assert order_of_controls(scheme, box) == pytest.approx(order, abs=0.15)


def test_with_the_weights_of_backward_euler_crank_nicolson_is_of_first_order(monkeypatch):
    """The planted error: what is tracked at the end counts twice."""
    plain = lambda self, a, b: np.diff(self.times)  # noqa: E731
    monkeypatch.setattr(Evolution, "weights", plain)
    assert order_of_controls(CN, True) < 1.4


@pytest.mark.parametrize(("scheme", "low", "high"), [(CN, 1.9, 2.15), ("backward-euler", 0.85, 1.15)])
def test_order_of_states_with_all_data_in_time(scheme, low, high):
    """y = cos(t) sin(x + 2 y + t) with coefficients, Dirichlet and Robin data of (x, t), on uneven steps."""

    def phase(x, t):
        return x[0] + 2 * x[1] + t

    def exact(x, t):
        return np.cos(t) * np.sin(phase(x, t))

    def gradient(x, t):
        return np.cos(t) * np.cos(phase(x, t)) * np.array([[1.0], [2.0]])

    def kappa(x, t):
        return 1 + x[0] * t

    def source(x, t):
        s, c = np.sin(phase(x, t)), np.cos(phase(x, t))
        rate = -np.sin(t) * s + np.cos(t) * c
        slope = gradient(x, t)
        return rate - t * slope[0] + 5 * kappa(x, t) * np.cos(t) * s + (1 + t) * slope[0] + t * exact(x, t)

    def robin(x, t):
        return kappa(x, t) * gradient(x, t)[0] + (2 + t) * exact(x, t)

    errors, sizes = [], []
    for n in (4, 8, 16):
        times = 0.8 * np.linspace(0, 1, n + 1) ** 1.3
        steady = pc.Elliptic(kappa, lambda x, t: t, lambda x, t: np.stack([1 + t + 0 * x[0], 0 * x[0]]), source)
        stated = heat(
            steady, times=times, scheme=scheme, initial=lambda x: exact(x, 0.0), tracking=pc.Tracking(exact),
            boundary={
                "left": pc.Dirichlet(exact), "top": pc.Dirichlet(exact), "bottom": pc.Dirichlet(exact),
                "right": pc.Robin(lambda x, t: 2 + t, robin),
            },
        )  # fmt: skip
        with pc.discretise(stated, pc.unit_square(2 * n), "skfem") as map:
            state, space = map.field(map.control.zeros()), map.solution
            errors.append(space.norm(state.array - space.interpolate(exact)))
        sizes.append(1 / n)
    orders = observed_orders(errors, sizes)
    assert low <= orders[-1] <= high, orders


# -- the objective -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["backward-euler", CN])
def test_the_objective_is_the_sum_that_is_documented(scheme):
    stated = heat(
        times=UNEVEN, scheme=scheme, boundary=ZERO, initial=sines, alpha=0.3,
        tracking=[pc.Tracking(travelling, weight=2.0), pc.Tracking(1.0, times="final"),
                  pc.Tracking(travelling, times=(0.12, 0.22)), pc.Tracking(0.5, points=[[0.5], [0.5]], times=0.2)],
        terms=[pc.Linear(lambda x, t: t * x[0]), pc.L1(0.2)],
    )  # fmt: skip
    with pc.discretise(stated, square(), "skfem") as map:
        u = map.control.interpolate(travelling)
        at, objective = map.at(u), bind(stated, map)
        states, controls = map.solution.steps(at.state), map.control.steps(u)
        level, base = map.solution.base, map.control.base
        lengths = np.diff(UNEVEN)
        if scheme == CN:
            weights = 0.5 * (lengths + np.append(lengths[1:], 0.0))
            within = 0.5 * (np.array([0, 0.08, 0.02, 0]) + np.array([0.08, 0.02, 0, 0]))
        else:
            weights, within = lengths, np.array([0, 0.08, 0.02, 0])
        total = 0.0
        for t, y, w, v in zip(UNEVEN[1:], states, weights, within, strict=True):
            misfit = y - travelling(level.points, t)
            total += (w + 0.5 * v) * level.norm(misfit) ** 2 + w * t * level.inner(level.points[0], y)
        total += 0.5 * level.norm(states[-1] - 1) ** 2
        point = pc.Field(states[1], level)(np.array([[0.5], [0.5]]))[0]
        total += 0.5 * (point - 0.5) ** 2
        for dt, h in zip(lengths, controls, strict=True):
            total += dt * (0.15 * base.norm(h) ** 2 + 0.2 * base.integral(np.abs(h)))
        assert objective.value(u, at.value) == pytest.approx(total, rel=1e-12)
        middles = 0.5 * (np.array(UNEVEN[1:]) + UNEVEN[:-1]) if scheme == CN else np.array(UNEVEN[1:])
        assert np.allclose(map.control.times, middles, rtol=0, atol=1e-15)
        assert np.allclose(map.adjoints.times, middles) and np.allclose(map.solution.times, UNEVEN[1:])


def test_the_adjoint_field_is_that_of_the_continuous_equation():
    """-p_t - Laplace p = y - y_d backwards from p(T) = 0: of sin sin for the misfit -2 pi^2 sin sin, 1 - e^(..)."""
    for scheme, tolerance in (("backward-euler", 0.05), (CN, 0.004)):
        stated = heat(pc.Elliptic(), steps=60, scheme=scheme, tracking=pc.Tracking(lambda x, t: -2 * PI**2 * sines(x)))
        with pc.discretise(stated, pc.unit_square(32), "skfem") as map:
            at = map.at(map.control.zeros())
            adjoint = at.solve_adjoint(bind(stated, map).state.gradient(at.value))
            exact = map.adjoints.interpolate(lambda x, t: sines(x) * (1 - np.exp(-2 * PI**2 * (0.3 - t))))
            q = map.control.interpolate(lambda x, t: sines(x) * (1 - np.exp(-2 * PI**2 * (0.3 - t))))
            assert map.adjoints.norm(adjoint.state - exact) <= tolerance * map.adjoints.norm(exact)
            assert map.control.norm(adjoint.gradient - q) <= tolerance * map.control.norm(q)


# -- P1 ----------------------------------------------------------------------------------------------------------------


def test_p1_to_a_certified_accuracy():
    """Errors of the diagonal coupling with data at quadrature points: 8.65e-2 in the control, 4.60e-4 in the state."""
    reference = pc.reference.heat(16)
    mesh = pc.unit_square(16)
    for method, iterations, solves in (("semismooth-newton", 7, 100), ("primal-dual", 55, 145)):
        result = pc.solve(reference.problem, mesh, "skfem", method)
        assert result.success and len(result.history) - 1 <= iterations and result.solves["total"] <= solves
        assert result.solves["factorisations"] == 1
        exact, space = result.control.space.interpolate(reference.control), result.control.space
        error = space.norm(result.control.array - exact) / space.norm(exact)
        assert error == pytest.approx(8.65e-2, rel=0.02)
        assert result.objective == pytest.approx(5.4815e-6, rel=1e-4)


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", PARABOLIC, ids=repr)
def test_bounds_hold_along_the_way(case):
    """Against a solution to nine digits more than the bounds of short runs."""
    with case.fresh_map() as map:
        best = pc.minimise(case.problem, map, tol=1e-10)
        for method in ("primal-dual", "semismooth-newton", "fista"):
            for tol in (0.3, 1e-3):
                result = pc.minimise(case.problem, map, method, tol=tol)
                distance = map.control.norm(result.control.array - best.control.array)
                assert result.success and distance <= result.certificate.bound * (1 + 1e-6), (method, tol)
        judged = pc.certify(case.problem, 0.3, map)
        assert map.control.norm(0.3 - best.control.array) <= judged.bound


@pytest.mark.parametrize("case", PARABOLIC[:12], ids=repr)
def test_constants_of_marches_are_from_above(case):
    """||O L^-1 D^1/2|| and ||M_u^-1 C' L^-T D^1/2|| of the whole march L."""
    with case.fresh_map() as map:
        evolution, steps, at = map.evolution, map.linear, map.at(map.control.zeros())
        shape = evolution.lengths.size, evolution.engine.size
        diagonals = np.stack([steps.solver(n).diagonal for n in range(shape[0])])

        def extended(x):
            rows = np.zeros(shape)
            rows[:, evolution.free] = x
            return rows

        def observed(w):
            load = evolution.observation.transposed(w, shape)[:, evolution.free]
            return evolution.observation.apply(extended(steps.forward(diagonals * steps.backward(load)[0])[0]))

        def controlled(h):
            return at.gradient(extended(steps.backward(diagonals * steps.forward(at.coupled(h)[0])[0])[0]))

        for constant, apply, space in (
            (map.constants.observation, observed, map.observation), (map.constants.gradient, controlled, map.control),
        ):  # fmt: skip
            exact = np.sqrt(largest(apply, space))
            assert 0.99 * exact <= constant <= 1.6 * exact
        assert map.norm_bound >= 0.99 * np.sqrt(largest(lambda h: at.adjoint(at.tangent(h)), map.control))


@pytest.mark.parametrize("scheme", ["backward-euler", CN])
def test_loose_multigrid_errs_less_than_it_says(monkeypatch, scheme):
    pytest.importorskip("pyamg", reason="needs pyamg")
    from pdecontrol.linear.multigrid import Multigrid

    monkeypatch.setattr(Multigrid, "tolerance", 1e-4)
    stated = heat(
        scheme=scheme, boundary={"left": pc.Dirichlet(1.0)}, initial=1.0,
        tracking=[pc.Tracking(1.0), pc.Tracking(travelling, on="top", times="final")],
    )  # fmt: skip
    direct, amg = (pc.discretise(stated, pc.unit_square(16), pc.Embedded(1, kind)) for kind in ("direct", "amg"))
    generator = np.random.default_rng(299792)
    for _ in range(3):
        u, w = generator.standard_normal(amg.control.size), generator.standard_normal(amg.observation.size)
        at, exact = amg.at(u), direct.at(u)
        error = amg.observation.norm(at.value - exact.value)
        assert 1e-8 * amg.observation.norm(exact.value) < error <= at.error <= 200 * error
        adjoint = at.solve_adjoint(w)
        assert 0 < amg.control.norm(adjoint.gradient - exact.adjoint(w)) <= adjoint.error


ROUNDED = {
    "stiff": heat(pc.Elliptic({"lower": 1e-6, "upper": 1e6}), boundary={"left": pc.Dirichlet(1.0)}, initial=1.0),
    "cancelling": heat(
        pc.Elliptic(source=lambda x: 1e10 * (1 + x[0])), times=[0.0, 1.0], boundary={},
        initial=lambda x: -1e10 * (1 + x[0])),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUNDED)
def test_rounding_is_part_of_the_bounds(name):
    """Solutions in two orders of the unknowns differ by rounding, and by no more than the two errors."""
    stated = ROUNDED[name]
    mesh = square()
    order = np.random.default_rng(5).permutation(mesh.points.shape[1])
    place = np.argsort(order)
    parts = {tag: mesh.part(tag) for tag in ("lower", "upper")}
    other = pc.Mesh(mesh.points[:, order], place[mesh.cells], parts, {"left": place[mesh.facets("left")]})
    first, second = (pc.discretise(stated, item, "skfem") for item in (mesh, other))
    u = first.control.interpolate(travelling)
    at, again = first.at(u), second.at(first.control.steps(u)[:, order].ravel())
    renumbered = second.solution.steps(again.value)[:, place].ravel()
    difference = first.observation.norm(at.value - renumbered)
    assert 0 < difference <= at.error + again.error <= 1e-6 * max(first.observation.norm(at.value), 1e4)


# -- what users get wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"T": 0.0, "steps": 4}, "T must be positive"),
        ({"T": 1.0, "steps": 0}, "steps must be a positive integer"),
        ({"T": 1.0, "steps": 2.5}, "steps must be a positive integer"),
        ({"T": 1.0}, "takes T and steps, or times"),
        ({"T": 1.0, "steps": 2, "times": [0, 1]}, "not both"),
        ({"times": [0.0, 0.5, 0.5]}, "must increase, but 0.5 is followed by 0.5"),
        ({"times": [0.0, 0.7, 0.5]}, "must increase, but 0.7 is followed by 0.5"),
        ({"times": [0.0]}, "at least two"),
        ({"times": "soon"}, "expected real numbers"),
        ({"T": 1.0, "steps": 2, "scheme": "midpoint"}, "scheme is 'backward-euler' or 'crank-nicolson'"),
    ],
)
def test_times_that_make_no_sense(options, message):
    with pytest.raises(ProblemError, match=message):
        pc.Parabolic(pc.Elliptic(), **options)


@pytest.mark.parametrize(
    ("stated", "kind", "message"),
    [
        (lambda: pc.Parabolic("heat", T=1.0, steps=2), ProblemError, "takes a steady equation"),
        (lambda: pc.Tracking(1.0, times="end"), ProblemError, "'all', 'final', a time, or an interval"),
        (lambda: pc.Tracking(1.0, times=(0.2, 0.1)), ProblemError, "'all', 'final', a time, or an interval"),
        (lambda: replace(heat(), equation=pc.Elliptic(), tracking=pc.Tracking(1.0, times="final")), ProblemError,
         "needs a Parabolic equation"),
        (lambda: replace(heat(), equation=pc.Elliptic(), control=pc.InitialValue()), ProblemError, "of Parabolic"),
        (lambda: pc.discretise(heat(tracking=pc.Tracking(1.0, times=0.1)), square()), ProblemError,
         "t = 0.1 is not among the times"),
        (lambda: pc.discretise(heat(tracking=pc.Tracking(1.0, times=(2.0, 3.0))), square()), ProblemError,
         "nothing in common"),
        (lambda: pc.discretise(replace(heat(), equation=pc.Elliptic(source=travelling)), square()), DataError,
         "function of x and t, but there is no time"),
        (lambda: pc.discretise(heat(pc.Elliptic(lambda x, t: 0.2 - t)), square()), ProblemError,
         r"diffusion at t = 0\.225 must be positive"),
        (lambda: pc.discretise(heat(boundary={"top": pc.Robin(lambda x, t: 0.2 - t)}), square()), ProblemError,
         r"the Robin coefficient on 'top' at t = 0\.225 must not be negative"),
        (lambda: pc.discretise(heat(initial=travelling), square()), DataError, "a function of x alone"),
        (lambda: pc.solve(heat(), square(), discretisation=True), ProblemError, "of steady equations"),
        (lambda: pc.solve(heat(terms=[pc.Box(np.zeros((3, 42)), 1.0)]), square()), DataError, r"168|\(4, 42\)"),
        (lambda: pc.solve(heat(), square(), start=np.zeros((3, 42))), DataError, "168 values"),
        (lambda: pc.discretise(heat(scheme=CN, control=pc.InitialValue()), square(), pc.Embedded(2)), ProblemError,
         "backward-euler"),
    ],
)  # fmt: skip
def test_what_does_not_fit_time(stated, kind, message):
    with pytest.raises(kind, match=message):
        stated()


def test_initial_values_that_do_not_fit_are_named_with_their_place():
    with pytest.warns(pc.InitialValueWarning, match=r"differs .* by 2 at x = \[0.5, 0.0\]"):
        pc.discretise(heat(initial=lambda x: 2.0 * (np.abs(x[0] - 0.5) < 0.1)), pc.unit_square(2), "skfem")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pc.discretise(heat(initial=sines), pc.unit_square(2), "skfem")


def test_blow_up_names_the_step():
    """y_t = y^2 + 10 from 1 explodes near t = 0.4."""
    explosive = pc.Elliptic(1e-3, semilinear=pc.Semilinear(lambda y: -(y**2), lambda y: -2 * y), source=10.0)
    stated = pc.ControlProblem(
        pc.Parabolic(explosive, T=1.0, steps=20, initial=1.0), pc.Distributed(), pc.Tracking(0.0), [pc.Tikhonov(1.0)]
    )
    with pytest.raises(ConvergenceError, match=r"in step \d+ of 20, to t = 0\.\d+: Newton's method"):
        pc.discretise(stated, interval(), "skfem").solve(np.zeros(20 * 13))


# -- forms of UFL ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["backward-euler", CN])
def test_forms_in_time_are_those_of_the_data(scheme):
    """The same equation by a form with domain.t, and by data of (x, t): linear, and with a cubic term."""
    pytest.importorskip("dolfinx")
    import ufl

    def by_form(cubic):
        def form(y, v, domain):
            kappa, source = 1.5 + domain.t + domain.x[0], domain.function(lambda x, t: t * x[1])
            return (kappa * ufl.inner(ufl.grad(y), ufl.grad(v)) + (cubic * y**3 - source) * v) * domain.dx

        return pc.Weak(form)

    def by_data(cubic):
        term = pc.Semilinear(lambda y: cubic * y**3, lambda y: 3 * cubic * y**2) if cubic else None
        return pc.Elliptic(lambda x, t: 1.5 + t + x[0], source=lambda x, t: t * x[1], semilinear=term)

    for cubic in (0.0, 5.0):
        values = []
        for steady in (by_form(cubic), by_data(cubic)):
            stated = heat(steady, 3, scheme, boundary={"left": pc.Dirichlet(), "top": pc.Neumann(travelling)})
            with pc.discretise(stated, pc.unit_square(4), "dolfinx") as map:
                at = map.at(map.control.interpolate(lambda x, t: 30 * travelling(x, t)))
                assert map.affine is (cubic == 0)
                values.append((at.value, at.adjoint(at.value + 1), map.fingerprint))
        for one, other in zip(values[0][:2], values[1][:2], strict=True):
            assert np.abs(one - other).max() <= 1e-10 * np.abs(other).max()
        assert values[0][2] != values[1][2]
    with pytest.raises(ProblemError, match=r"domain\.t"):
        pc.discretise(replace(heat(), equation=by_form(0.0)), pc.unit_square(4), "dolfinx")


@pytest.mark.parametrize("scheme", ["backward-euler", "crank-nicolson"])
def test_actuators_of_very_different_strengths_in_time_do_not_blur_one_another(scheme):
    """What the strength at one time rounds to is not in the state that controls of other times make."""

    def at_first(strength):
        def shape(x, t):
            return (strength if t < 0.3 else 1.0) * (1 + 0.37 * x[0])

        equation = pc.Parabolic(pc.Elliptic(), T=1.0, steps=4, scheme=scheme)
        problem = pc.ControlProblem(
            equation, pc.Actuators([shape]), pc.Tracking(1.0), [pc.Tikhonov(1e-3)], {"left": pc.Dirichlet()}
        )
        return pc.discretise(problem, pc.unit_interval(8))

    later = np.array([0.0, 0.033, 0.077, 0.0911])
    (y, error), (other, _) = ((at.value, at.error) for at in (at_first(s).at(later) for s in (1.0, 1e12)))
    assert np.abs(y - other).max() <= error
