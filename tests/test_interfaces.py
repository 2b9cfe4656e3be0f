"""Interfaces: the signs of jumps and of controls, orders of convergence, what meshes must be, and wrong statements."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

import pdecontrol as pc
from pdecontrol.mesh.cut import cut
from pdecontrol.terms import bind
from pdecontrol.verify import observed_orders

ENGINES = {"skfem": pc.Embedded, "dolfinx": pc.Parallel}
there = pytest.mark.skipif(find_spec("dolfinx") is None, reason="the distributed engine needs dolfinx")
BACKENDS = ["skfem", pytest.param("dolfinx", marks=there)]
INSIDE, OUTSIDE = 1.0, 10.0  # the diffusion


def disc(n, radius=0.5):
    """The unit disc with a core whose boundary is fitted: there are points of the mesh on the circle."""
    mesh = pc.disc(n).tag_part("inside", lambda x: np.hypot(*x) < radius)
    return mesh.tag_part("outside", lambda x: np.hypot(*x) > radius).tag_interface("gamma", "inside")


def y_inside(x):
    return np.exp(x[0] + x[1])


def y_outside(x):
    return np.sin(x[0]) * np.sin(x[1])


def value(x):
    """[y]: outside less inside."""
    return y_outside(x) - y_inside(x)


def flux(x):
    """[kappa dy/dn], n from inside to outside."""
    inside = INSIDE * np.stack([y_inside(x), y_inside(x)])
    outside = OUTSIDE * np.stack([np.cos(x[0]) * np.sin(x[1]), np.sin(x[0]) * np.cos(x[1])])
    return ((outside - inside) * x / np.linalg.norm(x, axis=0)).sum(axis=0)


def stated(control=None, tracking=None, alpha=1e-2, terms=(), **interface):
    """A problem whose state without control is y_inside and y_outside."""
    source = {"inside": lambda x: -2 * INSIDE * y_inside(x), "outside": lambda x: 2 * OUTSIDE * y_outside(x)}
    return pc.ControlProblem(
        pc.Elliptic({"inside": INSIDE, "outside": OUTSIDE}, source=source),
        control or pc.Distributed(),
        tracking or pc.Tracking({"inside": y_inside, "outside": y_outside}),
        [pc.Tikhonov(alpha), *terms],
        {"boundary": pc.Dirichlet(y_outside)},
        {"gamma": pc.Interface(**({"value": value, "flux": flux} | interface))},
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_states_with_jumps_of_value_and_flux_are_of_second_order(backend):
    errors = []
    for n in (8, 16, 32):
        with pc.discretise(stated(), disc(n), backend) as map:
            target = bind(stated(), map).state.functionals[0].target
            errors.append(map.observation.norm(map.solve(map.control.zeros()) - target))
    orders = observed_orders(errors, [4.0, 2.0, 1.0])
    assert orders.min() > 1.9 and orders.max() < 2.1 and errors[-1] < 1e-4


@pytest.mark.parametrize("planted", [{"value": lambda x: -value(x)}, {"flux": lambda x: -flux(x)}])
def test_the_other_sign_of_a_jump_gives_another_state(planted):
    with pc.discretise(stated(**planted), disc(16)) as map:
        target = bind(stated(), map).state.functionals[0].target
        assert map.observation.norm(map.solve(map.control.zeros()) - target) > 0.05


@pytest.mark.parametrize("element", ["P0", "P1"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_control_on_an_interface_is_added_to_the_jump_of_the_flux(backend, element):
    control = pc.Boundary("gamma", element)
    half, none = (stated(control, flux=jump) for jump in (lambda x: 0.5 * flux(x), 0.0))
    shares = []
    for problem, share in ((half, 0.5), (none, 1.0)):
        with pc.discretise(problem, disc(16), backend) as map:
            u = map.control.interpolate(lambda x, share=share: share * flux(x))
            target = bind(problem, map).state.functionals[0].target
            shares.append(map.observation.norm(map.solve(u) - target))
    assert max(shares) < 2e-3  # 0.05 with the other sign, see above


def test_a_source_on_a_circle_has_the_sign_of_the_radial_solution():
    # -y'' - y'/r = 0, y(1) = 0 and [y'] = u at r = 1/2: y = u log(2)/-2 inside, which falls where u grows.
    problem = pc.ControlProblem(
        pc.Elliptic(),
        pc.Boundary("gamma"),
        pc.Tracking(0.0),
        [pc.Tikhonov(1.0)],
        {"boundary": pc.Dirichlet()},
        {"gamma": pc.Interface()},
    )
    result = [pc.discretise(problem, disc(n)).field(np.ones(6 * n // 2))(np.zeros((2, 1)))[0] for n in (16, 32)]
    errors = np.abs(np.array(result) + 0.5 * np.log(2))
    assert errors[1] < 1e-3 and 1.8 < np.log2(errors[0] / errors[1]) < 2.2


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_optimal_control_on_an_interface_is_the_projection_of_plus_p_over_alpha(backend):
    box, alpha = pc.Box(-5.0, 5.0), 2e-4
    problem = stated(pc.Boundary("gamma"), pc.Tracking(0.4), alpha, [box], flux=0.0)
    result = pc.solve(problem, disc(16), backend, tol=1e-9)
    u, space = result.control.array, result.control.space
    p = result.adjoint(space.points * (1 - 1e-9))
    assert result.success and np.abs(p).max() > 1e-3
    assert 0.1 < (np.abs(u) == 5).mean() < 0.9
    assert np.abs(u - np.clip(p / alpha, -5, 5)).max() < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("control", [pc.Boundary("gamma"), pc.Distributed()], ids=["interface", "distributed"])
def test_gradients_are_those_of_the_objective_in_five_random_directions(control, backend):
    problem = stated(control, pc.Tracking(1.0))
    with pc.discretise(problem, disc(16), backend) as map:
        objective, generator = bind(problem, map), np.random.default_rng(299792)
        u = generator.standard_normal(map.control.size)
        at = map.at(u)
        gradient = 1e-2 * u + at.solve_adjoint(objective.state.gradient(at.value)).gradient
        for _ in range(5):
            h = generator.standard_normal(map.control.size)
            ends = [objective.value(v, map.solve(v)) for v in (u + h, u - h)]  # quadratic: exact for any step
            slope = map.control.inner(gradient, h)
            assert abs((ends[0] - ends[1]) / 2 - slope) < 1e-6 * abs(slope)


@pytest.mark.parametrize("backend", BACKENDS)
def test_certificates_hold_at_any_contrast(backend):
    """The bounds of two controls that were found independently must not contradict their distance."""
    for contrast in (1e-6, 1e6):
        problem = replace(
            stated(pc.Distributed(), terms=[pc.Box(-1, 1)]),
            equation=pc.Elliptic({"inside": contrast, "outside": 1.0}, source=1.0),
        )
        with pc.discretise(problem, disc(8), backend) as map:
            results = [pc.minimise(problem, map, method, tol=1e-9) for method in ("semismooth-newton", "primal-dual")]
            assert all(result.certificate.bound is not None for result in results)
            distance = map.control.norm(results[0].control.array - results[1].control.array)
            assert distance <= sum(result.certificate.bound for result in results)


def test_jumps_over_time_are_those_of_each_time():
    equation = pc.Parabolic(stated().equation, T=1.0, steps=4, initial={"inside": 0.0, "outside": 1.0})
    jump = pc.Interface(value=lambda x, t: 1 + t * x[0], flux=lambda x, t: t * x[1])
    problem = replace(stated(), equation=equation, interface={"gamma": jump}, tracking=pc.Tracking(0.0),
                      boundary={"boundary": pc.Dirichlet(1.0)})  # fmt: skip
    mesh = disc(4)
    with pc.discretise(problem, mesh) as map:
        y = map.field(map.control.zeros())
        halves = map.evolution.engine.mesh
        for t in (0.25, 1.0):
            nodal = y.at(t).space.elements.nodal(y.at(t).array)
            inner, outer = (np.unique(halves.facets(tag)) for tag in ("gamma", "gamma+"))
            assert np.array_equal(halves.points[:, inner], halves.points[:, outer])
            assert np.abs(nodal[outer] - nodal[inner] - (1 + t * halves.points[0, inner])).max() < 1e-12


@pytest.mark.parametrize("scheme", [None, "backward-euler", "crank-nicolson"])
@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "control", [pc.Boundary("gamma"), pc.Boundary("gamma", "P0"), pc.Actuators([1.0], on="gamma")],
    ids=["P1", "P0", "actuator"],
)  # fmt: skip
def test_a_control_is_the_jump_of_the_flux_at_every_time(control, backend, degree, scheme):
    def problem(flux):
        """With a jump of the flux that is the same along the circle, and linear in time."""
        steady, jump = pc.Elliptic({"inside": INSIDE, "outside": OUTSIDE}), (lambda x, t: flux * (1 + t))
        equation = steady if scheme is None else pc.Parabolic(steady, T=0.5, steps=3, scheme=scheme)
        interface = {"gamma": pc.Interface(pc.Circle(0.5), flux=flux if scheme is None else jump)}
        given = stated(control, pc.Tracking(0.0))
        return replace(given, equation=equation, interface=interface, boundary={"boundary": pc.Dirichlet()})

    states = []
    for flux in (1.0, 0.0):
        with pc.discretise(problem(flux), disc(4), ENGINES[backend](degree)) as map:
            if scheme is None:
                u = map.control.zeros() + 1.0
            else:
                u = np.repeat(1 + map.control.times, map.control.base.size)
            states.append(map.solve((1 - flux) * u))
    assert np.abs(states[0]).max() > 0.01
    assert states[0] == pytest.approx(states[1], rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_quadratic_states_are_of_third_order_where_the_shape_is_stated(backend):
    errors = []
    for n in (4, 8, 16):
        with pc.discretise(stated(shape=pc.Circle(0.5)), disc(n), ENGINES[backend](2)) as map:
            cells, inside = map.system.engine.cells, map.system.engine.members("inside")
            x = cells.points(np.arange(cells.count))
            exact = y_outside(x)
            exact[inside] = y_inside(x[:, inside])
            missing = cells.values(map.at(map.control.zeros()).state) - exact
            errors.append(np.sqrt(cells.functional(missing**2).sum()))
    assert 2.8 < observed_orders(errors, [4.0, 2.0, 1.0])[-1] < 3.2


def test_the_jump_of_the_flux_is_part_of_the_sizes_that_rounding_is_told_from():
    sizes = []
    for jump in (-3.0, 0.0):
        with pc.discretise(stated(flux=jump), disc(8)) as map:
            sizes.append(map.system.equation.affine.load_size.sum())
    edges = np.linalg.norm(np.subtract(*np.moveaxis(disc(8).points[:, disc(8).facets("gamma")], 1, 0)), axis=0)
    assert sizes[0] - sizes[1] == pytest.approx(3.0 * edges.sum(), rel=1e-10)


def test_an_initial_value_without_the_jump_is_warned_of():
    equation = pc.Parabolic(stated().equation, T=1.0, steps=1)
    given = replace(stated(value=1.0), equation=equation, boundary={"boundary": pc.Dirichlet()})
    with pytest.warns(pc.InitialValueWarning, match="in its jump from that of an interface, at t = 0 by 1 at x = "):
        pc.discretise(given, disc(4))


def test_meshes_that_are_refined_for_the_estimate_follow_the_shape():
    given = stated(tracking=pc.Tracking(1.0), shape=pc.Circle(0.5))
    assert 0.0 < pc.solve(given, disc(8), discretisation=True).certificate.discretisation < 0.5


def test_the_discretisation_error_is_estimated_with_two_values_on_interfaces():
    problem = stated(tracking=pc.Tracking(1.0), alpha=1e-1)
    results = [pc.solve(problem, disc(n), discretisation=True) for n in (8, 16)]
    estimates = [result.certificate.discretisation for result in results]
    assert 1.5 < np.log2(estimates[0] / estimates[1]) < 2.5


# -- meshes --------------------------------------------------------------------------------------------------------


def test_a_cut_mesh_has_copies_of_the_points_on_interfaces_and_both_sides_of_facets():
    mesh = disc(8)
    halves = cut(mesh, {"gamma": "inside"})
    count = mesh.facets("gamma").shape[1]
    assert halves.points.shape[1] == mesh.points.shape[1] + count
    assert np.array_equal(halves.points[:, halves.facets("gamma")], halves.points[:, halves.facets("gamma+")])
    assert np.isin(halves.facets("gamma"), halves.cells[:, mesh.part("inside")]).all()
    assert not np.isin(halves.facets("gamma+"), halves.cells[:, mesh.part("inside")]).any()
    assert np.array_equal(halves.facets("boundary"), mesh.facets("boundary"))
    assert np.array_equal(halves.volumes, mesh.volumes)


def test_other_facets_at_an_interface_follow_the_cells_that_they_belong_to():
    mesh = disc(8).tag_part("half", lambda x: (np.hypot(*x) < 0.5) & (x[0] > 1e-3)).tag_interface("line", "half")
    facets = cut(mesh, {"gamma": "inside"}).facets("line")
    halves = cut(mesh, {"gamma": "inside"})
    sides = {tuple(side) for i in range(3) for side in np.sort(np.delete(halves.cells, i, axis=0), axis=0).T.tolist()}
    assert all(tuple(facet) in sides for facet in facets.T.tolist())
    assert np.array_equal(halves.points[:, facets], mesh.points[:, mesh.facets("line")])


def broken_off():
    """The facets of half a circle."""
    mesh = disc(8)
    facets = mesh.facets("gamma")
    kept = facets[:, mesh.points[0, facets].mean(axis=0) > 0]
    return pc.Mesh(mesh.points, mesh.cells, mesh.parts, {"gamma": kept})


def touching():
    mesh = pc.unit_square(4).tag_part("inside", lambda x: x[0] < 0.5).tag_part("outside", lambda x: x[0] > 0.5)
    return mesh.tag_interface("gamma", "inside")


def crossing():
    mesh = pc.unit_square(6).tag_part("inside", lambda x: (np.abs(x - 0.4) < 0.2).all(axis=0))
    mesh = mesh.tag_part("other", lambda x: (np.abs(x - 0.6) < 0.2).all(axis=0))
    return mesh.tag_interface("gamma", "inside").tag_interface("delta", "other")


def around():
    mesh = pc.disc(8).tag_part("inside", lambda x: np.hypot(*x) > 0.5)
    return mesh.tag_interface("gamma", "inside")


def swapped():
    mesh = disc(8)
    return pc.Mesh(mesh.points, mesh.cells, {"inside": [0, 1, 2]}, {"gamma": mesh.facets("gamma")})


@pytest.mark.parametrize(
    ("mesh", "inside", "message"),
    [
        (lambda: pc.disc(4), {"gamma": "inside"}, "interface 'gamma': the mesh has no boundary 'gamma'"),
        (lambda: disc(4), {"gamma": "core"}, "interface 'gamma': the mesh has no part 'core'"),
        (broken_off, {"gamma": "inside"}, "interface 'gamma' has gaps: it ends at the facet around x = "),
        (touching, {"gamma": "inside"}, "interface 'gamma' touches the boundary of the domain at x = "),
        (around, {"gamma": "inside"}, "interface 'gamma': the part 'inside' lies on its outer side"),
        (crossing, {"gamma": "inside", "delta": "other"}, "the interfaces 'gamma' and 'delta' meet at x = "),
        (
            swapped,
            {"gamma": "inside"},
            "the facet around x = .* neither belong to the part 'inside'",
        ),
    ],
)
def test_meshes_that_have_no_such_interface_are_refused(mesh, inside, message):
    with pytest.raises(pc.MeshError, match=message):
        cut(mesh(), inside)


# -- statements ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interface": pc.Interface()}, "interface takes an Interface for each tag"),
        ({"interface": {"gamma": 1.0}}, r"interface\['gamma'\] must be Interface\(\.\.\), got 1.0"),
        ({"interface": {"gamma+": pc.Interface()}}, "'gamma\\+' is no tag of an interface"),
        ({"interface": {"inside": pc.Interface()}}, "'inside' is no tag of an interface"),
        ({"interface": {"boundary": pc.Interface()}}, "have the same tag"),
    ],
)  # fmt: skip
def test_wrong_statements_are_refused(change, message):
    with pytest.raises(pc.ProblemError, match=message):
        replace(stated(), **change)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (lambda: stated(value=lambda x: np.nan * x[0]), "the jump of y on 'gamma': .* NaN"),
        (lambda: stated(flux=lambda x: x), "the jump of the flux on 'gamma': expected shape"),
        (lambda: stated(value=lambda x, t: t), "the jump of y on 'gamma' is a function of x and t"),
        (lambda: stated(tracking=pc.Tracking({"inside": 1.0})), "the parts \\['inside'\\] leave out the point"),
        (lambda: stated(tracking=pc.Tracking({"core": 1.0})), "there is no part 'core' here"),
        (lambda: replace(stated(), equation=pc.Elliptic({"inside": -1.0, "outside": 1.0})), "positive, it is -1"),
        (lambda: replace(stated(), equation=pc.Elliptic({"inside": 1.0, "outside": 0.0})), "must be positive, it is 0"),
        (lambda: replace(stated(), interface={}, control=pc.Boundary("gamma")), "controls act there on an Interface"),
        (lambda: stated(inside="core"), "the mesh has no part 'core'"),
        (lambda: stated(inside="outside"), "the part 'outside' lies on its outer side"),
        (lambda: stated(pc.Actuators([1.0], on="gamma+")), "Actuators control on 'gamma\\+': .*; take on='gamma'"),
        (lambda: stated(tracking=pc.Tracking([0.0, 0.0], points=[[0.1, 0.5], [0.2, 0.0]])),
         "the point x = \\[0.5, 0.0\\] is on the interface 'gamma', where y has two values"),
        (lambda: replace(stated(), interface={"delta": pc.Interface()}), "interface 'delta': the mesh has no boundary"),
    ],
)  # fmt: skip
def test_wrong_data_are_named(problem, message):
    with pytest.raises((pc.ProblemError, pc.DataError, pc.MeshError), match=message):
        pc.solve(problem(), disc(4))


def test_points_on_an_interface_are_tracked_where_the_state_has_one_value():
    problem = stated(tracking=pc.Tracking([0.3], points=[[0.5], [0.0]]), value=0.0)
    result = pc.solve(problem, disc(4), tol=1e-9)
    sides = [result.state(np.array([[0.5], [0.0]]), side=side) for side in ("inside", "outside")]
    assert sides[0] == pytest.approx(sides[1], rel=1e-10)


def test_functions_have_two_values_on_interfaces_alone():
    problem = replace(stated(), interface={}, tracking=pc.Tracking({"inside": 1.0, "outside": 2.0}))
    with pytest.raises(pc.DataError, match=r"parts that meet at x = .* have different values"):
        pc.solve(problem, disc(4))


def test_a_map_is_that_of_a_problem_with_the_same_interfaces():
    with pc.discretise(stated(), disc(4)) as map:
        with pytest.raises(pc.ProblemError, match=r"its interfaces are \['gamma'\], those of this problem are \[\]"):
            pc.minimise(replace(stated(), interface={}), map)
        with pytest.raises(pc.ProblemError, match="the map belongs to another problem: its interface"):
            pc.minimise(stated(value=1.0), map)
        for other in ({"shape": pc.Circle(0.3)}, {"inside": "outside"}):
            with pytest.raises(pc.ProblemError, match="the map belongs to another problem: its interface 'gamma' is"):
                pc.minimise(stated(**other), map)


# -- what is read off --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_side_functions_on_interfaces_have_their_outer_values(backend):
    with pc.discretise(stated(), disc(8), backend) as map:
        y = map.field(map.control.zeros())
    for share in (0.0, 0.3):  # vertices, and points between them
        ends = 0.5 * np.array([np.cos(np.pi / 12 * np.arange(25)), np.sin(np.pi / 12 * np.arange(25))])
        x = (1 - share) * ends[:, :-1] + share * ends[:, 1:]
        assert np.abs(y(x) - y(x, side="outside")).max() < 1e-12
        assert np.abs(y(x) - y(x, side="inside")).min() > 0.1
    assert np.abs(y.gradient(x) - y.gradient(x, side="outside")).max() < 1e-10  # within a facet


def test_controls_on_interfaces_are_evaluated_on_the_curve_too():
    result = pc.solve(stated(pc.Boundary("gamma")), disc(16))
    angle = np.linspace(0, 6, 100)
    x = 0.5 * np.array([np.cos(angle), np.sin(angle)])
    coarse = np.interp(angle, np.pi / 24 * np.arange(49), result.control(0.5 * np.array([
        np.cos(np.pi / 24 * np.arange(49)), np.sin(np.pi / 24 * np.arange(49))])))  # fmt: skip
    assert np.abs(result.control(x, side="gamma") - coarse).max() < 1e-2 * np.abs(coarse).max()
    with pytest.raises(pc.DataError, match="outside of the domain"):
        result.control(x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_pieces_of_an_interface_are_seen_from_inside_and_by_a_plus_from_outside(backend):
    mesh = disc(8)
    facets = mesh.facets("gamma")
    piece = facets[:, mesh.points[0, facets].mean(axis=0) > 0]
    mesh = pc.Mesh(mesh.points, mesh.cells, mesh.parts, {"gamma": facets, "right": piece})
    problem = stated(value=1.0, flux=0.0, tracking=[pc.Tracking(0.0, on="right"), pc.Tracking(0.0, on="right+")])
    problem = replace(problem, equation=pc.Elliptic(), boundary={"boundary": pc.Dirichlet(0.0)})
    with pc.discretise(problem, mesh, backend) as map:
        inner, outer = map.observation.split(map.solve(map.control.zeros()))
    assert inner.size == outer.size == piece.shape[1] + 1
    assert np.abs(inner + 1).max() < 1e-12 and np.abs(outer).max() < 1e-12  # y = -1 inside and 0 outside


@pytest.mark.parametrize("backend", BACKENDS)
def test_functions_given_part_by_part_are_interpolated_in_the_spaces_of_results(backend, tmp_path):
    result = pc.solve(stated(), disc(16), backend)
    loaded = pc.load(result.save(tmp_path / "jumps.npz"))
    for field in (result.state, result.adjoint, result.control, loaded.state, loaded.control):
        values = field.space.interpolate({"inside": 1.0, "outside": 2.0})
        assert set(values) == {1.0, 2.0} and field.space.norm(values) ** 2 == pytest.approx(
            np.pi * (0.25 + 4 * 0.75), rel=2e-2
        )
