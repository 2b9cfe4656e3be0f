"""Cells with bent edges, images of the reference cell under quadratic maps: measures, states, controls, files."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import dblquad

import pdecontrol as pc
from pdecontrol.errors import DataError, MeshError, ProblemError
from pdecontrol.field import Field, draw
from pdecontrol.mesh.cut import cut
from pdecontrol.mesh.elements import cell_lagrange, facet_lagrange
from pdecontrol.mesh.lagrange import Lagrange
from pdecontrol.mesh.mesh import known
from pdecontrol.mesh.quadratic import EDGES, Quadratic, simplex_rule
from pdecontrol.mesh.shapes import disc, unit_interval, unit_square
from pdecontrol.mesh.simplices import Simplices
from pdecontrol.space import Space
from pdecontrol.verify import adjoint_error, observed_orders

PROGRAMS = Path(__file__).parent / "programs"

# between the chords and the arcs of disc(6)
BETWEEN = 0.998 * np.array([np.cos([0.0872, 2.8798]), np.sin([0.0872, 2.8798])])


def bent(mesh, tag="boundary", radius=1.0):
    """The edges of the facets of a tag bent to a circle or sphere."""
    facets = mesh.facets(tag)
    pairs = np.hstack([np.sort(facets[[i, j]], axis=0) for i, j in EDGES[: 2 * mesh.dim - 3]])
    edges = np.unique(pairs, axis=1)
    middles = mesh.points[:, edges].mean(axis=1)
    return replace(mesh, bends=(edges, radius * middles / np.linalg.norm(middles, axis=0)))


def ringed(n):
    """The unit disc with the parts "inside" and "outside" of the ring "gamma" of radius 1/2, for even n."""
    mesh, k = disc(n), n // 2
    ring = 1 + 3 * k * (k - 1) + np.arange(6 * k)
    gamma = np.sort([ring, np.roll(ring, -1)], axis=0)
    radii = np.linalg.norm(mesh.points[:, mesh.cells].mean(axis=1), axis=0)
    parts = {"inside": np.flatnonzero(radii < 0.5), "outside": np.flatnonzero(radii > 0.5)}
    return replace(mesh, parts=parts, boundaries={**mesh.boundaries, "gamma": gamma})


def ball(refinements):
    """The unit ball: an octahedron of eight cells, refined and blown up. No cell has two facets on the sphere."""
    points = np.hstack([np.zeros((3, 1)), np.eye(3), -np.eye(3)])
    mesh = pc.Mesh(points, np.array([[0, i, j, k] for i in (1, 4) for j in (2, 5) for k in (3, 6)]).T)
    for _ in range(refinements):
        mesh = mesh.refine()
    return mesh.transform(lambda x: x * np.abs(x).sum(axis=0) / np.maximum(np.linalg.norm(x, axis=0), 1e-300))


def poisson(**options):
    """-lap y = 4 + u on the unit disc, with y = 1 - r^2 for u = 0."""
    stated = {"tracking": pc.Tracking(lambda x: np.cos(3 * x[0]) * x[1]), "terms": [pc.Tikhonov(1e-3)]}
    stated |= {"equation": pc.Elliptic(source=4.0), "boundary": {"boundary": pc.Dirichlet()}}
    return pc.ControlProblem(**{"control": pc.Distributed()} | stated | options)


def inside(mesh, count=12):
    """Coordinates (k + 1, count) and points (dim, count, m) of all cells."""
    coordinates = np.random.default_rng(5).dirichlet(np.ones(mesh.dim + 1), count).T
    return coordinates, Simplices(mesh.points, mesh.cells, mesh.bends).at(coordinates)


def state_error(mesh, backend):
    """The largest error of the state of `poisson` at points of all cells."""
    with pc.discretise(poisson(), mesh, backend) as map:
        y, points = map.field(np.zeros(map.control.size)), inside(mesh)[1].reshape(2, -1)
        return np.abs(y(points) - 1 + (points**2).sum(axis=0)).max()


MESHES = {"disc": lambda: bent(disc(4)), "ball": lambda: bent(ball(2))}


@pytest.fixture(params=MESHES, ids=list(MESHES))
def mesh(request):
    return MESHES[request.param]()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_rules_on_simplices_are_exact(dim):
    from math import factorial

    points, weights = simplex_rule(dim, 4)
    assert np.allclose(points.sum(axis=0), 1) and weights.min() > 0
    for m in range(8):
        exact = factorial(m) * factorial(7 - m) / factorial(7 + dim)
        assert weights @ (points[-1] ** m * points[0] ** (7 - m)) == pytest.approx(exact, rel=1e-12)


def test_area_and_circumference_have_order_four_and_the_ball_too():
    discs = [bent(disc(n)) for n in (4, 8, 16)]
    for measured, exact in (
        ([mesh.volumes.sum() for mesh in discs], np.pi),
        ([cell_lagrange(mesh, 0).lumped_mass().sum() for mesh in discs], np.pi),
        ([facet_lagrange(mesh, "boundary", 1).lumped_mass().sum() for mesh in discs], 2 * np.pi),
        ([bent(ball(n)).volumes.sum() for n in (1, 2, 3)], 4 * np.pi / 3),
        ([facet_lagrange(bent(ball(n)), "boundary", 0).lumped_mass().sum() for n in (1, 2, 3)], 4 * np.pi),
    ):
        orders = observed_orders(np.abs(np.array(measured) - exact), [1 / 4, 1 / 8, 1 / 16])
        assert 3.6 <= orders[-1] <= 4.4, orders
    assert abs(disc(16).volumes.sum() - np.pi) > 1e4 * abs(discs[-1].volumes.sum() - np.pi)


def test_derivatives_are_those_of_the_map():
    rng = np.random.default_rng(3)
    for dim, k in ((2, 1), (2, 2), (3, 2), (3, 3)):
        maps = Quadratic(rng.standard_normal((dim, k + 1, 2)), 0.1 * rng.standard_normal((dim, k * (k + 1) // 2, 2)))
        at = rng.dirichlet(np.ones(k + 1), (2, 4)).transpose(2, 0, 1)
        for direction in range(k):
            step = np.zeros((k + 1, 1, 1))
            step[0], step[direction + 1] = -1e-6, 1e-6
            difference = (maps.points(at + step) - maps.points(at - step)) / 2e-6
            derivative = np.moveaxis(maps.derivatives(at)[..., direction], 2, 0)
            assert np.abs(difference - derivative).max() <= 1e-8


def test_mass_matrices_integrate_functions_of_the_reference_cell():
    """One triangle with a side bent outwards, against adaptive quadrature."""
    d = np.array([0.12, 0.2])
    mesh = pc.Mesh([[0, 1, 0], [0, 0, 1]], [[0], [1], [2]], bends=([[1], [2]], (np.array([0.5, 0.5]) + d)[:, None]))
    dofs = {1: np.array([[0], [1], [2]]), 2: np.arange(6)[:, None]}

    def density(s, t):
        return 1 + 4 * (d[0] * t + d[1] * s)  # det of the derivatives of (s, t) + 4 s t d

    for degree in (1, 2):
        elements = Lagrange(mesh.points, mesh.cells, dofs[degree], degree, bends=mesh.bends)
        matrix = elements.mass_matrix().toarray()
        for i, j in ((0, 0), (1, 2), (len(dofs[degree]) - 1, 2)):

            def product(t, s, i=i, j=j, elements=elements):
                values = elements._shapes(np.array([[1 - s - t], [s], [t]]))[:, 0]
                return values[i] * values[j] * density(s, t)

            exact = dblquad(product, 0, 1, 0, lambda s: 1 - s, epsabs=1e-13)[0]
            assert matrix[i, j] == pytest.approx(exact, rel=1e-10, abs=1e-14)
    hats = cell_lagrange(mesh, 1)
    assert np.allclose(hats.lumped_mass(), np.asarray(hats.mass_matrix().sum(axis=1)).ravel(), rtol=1e-13)
    assert not np.allclose(hats.lumped_mass(), mesh.volumes / 3, rtol=1e-2)


def test_mass_matrices_integrate_polynomials(mesh):
    """Linear functions of x are in the space of degree 2: their products with it against sums at many points."""
    system = pc.discretise(poisson(boundary={"boundary": pc.Robin(1.0, 0.0)}), mesh, pc.Embedded(degree=2)).system
    elements, maps = system.engine.elements, Simplices(mesh.points, mesh.cells, mesh.bends)
    coordinates, weights = simplex_rule(mesh.dim, 6)
    everything = Quadratic(mesh.points[:, mesh.cells], maps._offsets)
    x, dx = everything.points(coordinates[:, None]), everything.densities(coordinates[:, None]) * weights
    x0 = elements.points[0]
    assert x0 @ elements.mass_matrix() @ x0 == pytest.approx((x[0] ** 2 * dx).sum(), rel=1e-12)
    assert elements.lumped_mass is not None and abs(elements.mass_matrix() - elements.mass_matrix().T).max() <= 1e-15
    states = system.engine.solution().mass
    assert abs(states - elements.mass_matrix()).max() <= (1e-15 if mesh.dim == 2 else 1e-3 * abs(states).max())


def test_points_between_chord_and_arc_are_in_the_right_cell(mesh):
    coordinates, points = inside(mesh, 20)
    elements = cell_lagrange(mesh, 0)
    found, at, within = elements._geometry.locate(points.reshape(mesh.dim, -1))
    assert within.all() and np.array_equal(found.reshape(20, -1), np.tile(np.arange(elements.size), (20, 1)))
    assert np.abs(at.reshape(mesh.dim + 1, 20, -1) - coordinates[:, :, None]).max() <= 1e-11
    straight = cell_lagrange(replace(mesh, bends=None), 0)
    outside = ~straight.contains(points.reshape(mesh.dim, -1))
    assert outside.any() and elements.contains(points.reshape(mesh.dim, -1)[:, outside]).all()
    assert not elements.contains(1.01 * mesh.points[:, mesh.facets("boundary")[0]]).any()


def test_edges_bent_inwards_leave_their_points_to_the_other_cell():
    square = unit_square(1)
    diagonal = np.array([[0], [3]])
    mesh = replace(square, bends=(diagonal, np.array([[0.6], [0.4]])))
    elements = cell_lagrange(mesh, 0)
    point = np.array([[0.54], [0.46]])  # between the straight diagonal and the bent one
    one, other = (np.argmax(cell_lagrange(m, 0).sampling(point).toarray()) for m in (mesh, square))
    assert one != other and elements.lumped_mass()[one] > 0.5 and elements.lumped_mass().sum() == pytest.approx(1)


def test_a_large_bent_cell_is_found_among_many_small_ones():
    x, y = (a.ravel() for a in np.meshgrid(0.5 + 0.02 * np.arange(-5, 6), 0.42 + 0.02 * np.arange(4)))
    small = [np.array([x, y]), np.array([x + 0.01, y]), np.array([x, y + 0.01])]
    vertices = np.hstack([np.array([[0, 1, 0.5], [0, 0, -1]]), *small])
    simplices = np.hstack([np.array([[0], [1], [2]]), 3 + np.arange(3 * x.size).reshape(3, -1)])
    shapes = Simplices(vertices, simplices, (np.array([[0], [1]]), np.array([[0.5], [0.4]])))
    found, _, within = shapes.locate(np.array([[0.5, 0.501], [0.399, 0.421]]))
    assert within.all() and found[0] == 0 and found[1] == 6


def test_functions_on_bent_facets_are_evaluated_on_the_arcs(mesh):
    elements = facet_lagrange(mesh, "boundary", 1)
    coordinates = np.random.default_rng(2).dirichlet(np.ones(mesh.dim), 5).T
    points = elements._geometry.at(coordinates)
    values = elements.points[0][elements.dofs]
    expected = np.einsum("iq,im->qm", coordinates, values)
    assert np.abs(elements.evaluate(elements.points[0], points.reshape(mesh.dim, -1)) - expected.ravel()).max() <= 1e-11
    with pytest.raises(DataError, match="outside"):
        elements.evaluate(elements.points[0], 0.999 * points.reshape(mesh.dim, -1))


def test_states_on_the_disc_have_order_three_with_bent_edges_and_two_without():
    for bend, low, high in ((bent, 2.7, 3.3), (lambda mesh: mesh, 1.8, 2.2)):
        errors = [state_error(bend(disc(n)), pc.Embedded(degree=2)) for n in (4, 8, 16)]
        orders = observed_orders(errors, [1 / 4, 1 / 8, 1 / 16])
        assert low <= orders.min() and orders.max() <= high, orders


@pytest.mark.parametrize("element", ["P0", "P1"])
@pytest.mark.parametrize("kind", [pc.Distributed, pc.Boundary])
def test_derivatives_by_controls_are_exact_on_bent_cells(kind, element):
    on = ("boundary",) if kind is pc.Boundary else ()
    stated = poisson(control=kind(*on, element=element), boundary={"boundary": pc.Robin(1.0, 0.0)})
    mesh = bent(disc(4))
    with pc.discretise(stated, mesh, pc.Embedded(degree=2)) as map:
        assert adjoint_error(map) <= 1e-12
        assert map.control.mass.sum() == pytest.approx(2 * np.pi if on else np.pi, rel=2e-5)
        total = map.system.engine.control(stated.control)[1].sum()
        assert total == pytest.approx(map.control.mass.sum(), rel=1e-9)


def test_results_are_saved_exported_and_drawn(tmp_path):
    meshio = pytest.importorskip("meshio")
    pytest.importorskip("matplotlib")
    mesh = bent(disc(3))
    result = pc.solve(poisson(), mesh, pc.Embedded(degree=2))
    again = pc.load(result.save(tmp_path / "disc.npz"))
    points = inside(mesh)[1].reshape(2, -1)
    for name in ("state", "control"):
        one, other = getattr(result, name), getattr(again, name)
        assert np.array_equal(one(points), other(points)) and np.array_equal(one.space.points, other.space.points)
    path = result.export(tmp_path / "disc.vtu")[0]
    read = meshio.read(path)
    assert read.cells[0].type == "triangle6"
    edge = np.hypot(*read.points[:, :2].T) > 1 - 1e-12
    assert edge.sum() == 2 * mesh.facets("boundary").shape[1]
    assert np.allclose(read.point_data["state"][edge], 0, atol=1e-14)
    result.plot(tmp_path / "disc.png")
    assert (tmp_path / "disc.png").stat().st_size > 10_000


def test_sections_through_solids_reach_to_bent_faces():
    pytest.importorskip("matplotlib")
    shown = []
    for mesh in (bent(ball(1)), ball(1)):
        elements = cell_lagrange(mesh, 1)
        figure = draw({"y": Field(elements.points[0], Space(elements.lumped_mass(), elements))})
        shown.append(np.isfinite(np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)).mean())
    assert shown[0] == pytest.approx(np.pi / 4, rel=0.01) and shown[1] < 0.95 * np.pi / 4


MISTAKES = {
    "shape": (([[0, 1]], [[0.1], [0.1]]), r"bends are edges of shape \(2, k\)"),
    "no edge": (([[0], [9]], [[0.5], [0.5]]), r"Bent edge 0, \[0, 9\], is not in the mesh"),
    "twice": (([[0, 1], [1, 0]], [[0.2, 0.2], [0.0, 0.0]]), "twice"),
    "not finite": (([[0], [1]], [[np.nan], [0.5]]), "middle of bent edge 0 is not finite"),
    "folded": (([[0], [1]], [[0.4], [0.3]]), "Cell 0 with its bent edges folds over at x = .*: refine the mesh there"),
}


@pytest.mark.parametrize(("bends", "message"), MISTAKES.values(), ids=list(MISTAKES))
def test_what_is_no_bent_mesh_is_refused(bends, message):
    with pytest.raises(MeshError, match=message):
        replace(unit_square(2), bends=bends)


def test_meshes_with_bent_edges_are_not_refined_nor_take_degree_1():
    mesh = bent(disc(2))
    with pytest.raises(MeshError, match="not refined"):
        mesh.refine()
    with pytest.raises(ProblemError, match="degree=2"):
        pc.discretise(poisson(), mesh)
    with pytest.raises(MeshError, match="in 1D"):
        replace(unit_interval(2), bends=([[0], [1]], [[0.2]]))


def test_bends_move_and_keep_with_the_mesh():
    mesh = bent(disc(3)).tag_part("right", lambda x: x[0] > 0).tag_boundary("top", lambda x: x[1] > 0)
    assert mesh.volumes.sum() == pytest.approx(np.pi, rel=2e-4)
    moved = mesh.transform(lambda x: np.array([[0, 2.0], [1, 0.5]]) @ x + 3)
    assert moved.volumes.sum() == pytest.approx(2 * mesh.volumes.sum(), rel=1e-13)


def test_bends_are_renumbered_where_points_are_merged():
    points = [[0, 1, 1, 0, 1, 0], [0, 0, 1, 0, 1, 1]]
    bends = [[1, 3], [2, 5]], [[1.1, -0.1], [0.5, 0.5]]
    mesh = pc.Mesh(points, [[0, 3], [1, 4], [2, 5]], weld=True, bends=bends)
    assert mesh.points.shape[1] == 4 and mesh.volumes.sum() == pytest.approx(1 + 2 * 2 / 3 * 0.1)


def test_maps_on_bent_and_straight_cells_have_other_fingerprints():
    stated = poisson(tracking=pc.Tracking(1.0))
    meshes = ringed(4), bent(ringed(4), "gamma", 0.5)
    prints = [pc.discretise(stated, mesh, pc.Embedded(degree=2)).fingerprint for mesh in meshes]
    assert prints[0] != prints[1]


def test_engines_refuse_bends_that_fold_cells():
    mesh = disc(2)
    folded = known(mesh.points, mesh.cells, {}, mesh.boundaries, None, (mesh.cells[:2, :1], np.array([[3.0], [0.0]])))
    with pytest.raises(MeshError, match="folds over at x = "):
        pc.discretise(poisson(), folded, pc.Embedded(degree=2))


def test_edges_inside_are_bent_too():
    mesh = bent(ringed(8), "gamma", 0.5)
    inner = cell_lagrange(mesh, 0, "inside").lumped_mass().sum()
    straight = cell_lagrange(ringed(8), 0, "inside").lumped_mass().sum()
    assert abs(inner - np.pi / 4) <= 1e-5 < 5e-3 < abs(straight - np.pi / 4)
    assert mesh.volumes.sum() == pytest.approx(disc(8).volumes.sum(), rel=1e-13)


@pytest.fixture(scope="module")
def embedded():
    pytest.importorskip("dolfinx", reason="the distributed engine needs dolfinx")
    return bent_cells().answers(pc.Embedded(degree=2))


def test_meshes_are_cut_with_their_bends():
    for tag, radius, copies in (("boundary", 1.0, 1), ("gamma", 0.5, 2)):
        mesh = bent(ringed(6), tag, radius)
        halves = cut(mesh, {"gamma": "inside"})
        assert np.abs(halves.volumes - mesh.volumes).max() <= 1e-15
        assert halves.bends[0].shape[1] == copies * mesh.bends[0].shape[1]


class TestDistributed:
    """The distributed engine: the same digits as the embedded one, on any number of processes."""

    def compare(self, found, embedded):
        assert found.keys() == embedded.keys() and len(found) == 39
        for name, expected in embedded.items():
            if not name.endswith("fingerprint"):
                accuracy = 1e-8 if name.endswith("optimum") else 1e-10
                assert np.abs(found[name] - expected).max() <= accuracy * np.abs(expected).max(), name

    def test_answers_are_those_of_the_embedded_engine(self, embedded):
        self.compare(bent_cells().answers(pc.Parallel(degree=2)), embedded)

    @pytest.mark.slow
    @pytest.mark.xdist_group("mpi")
    def test_on_several_ranks(self, embedded, tmp_path):
        from test_mpi import mpirun

        found = []
        for ranks in (1, 2, 3):
            mpirun(ranks, PROGRAMS / "bent_cells.py", tmp_path / "found.npz")
            found.append(dict(np.load(tmp_path / "found.npz")))
            self.compare(found[-1], embedded)
        for name in embedded:
            if name.endswith("fingerprint"):
                assert found[0][name] == found[1][name] == found[2][name], name

    def test_data_are_sampled_at_the_same_points_with_the_same_weights(self, mesh):
        pytest.importorskip("dolfinx")
        tagged = mesh.tag_part("right", lambda x: x[0] > 0.1)
        maps = [pc.discretise(poisson(), tagged, backend(degree=2)) for backend in (pc.Parallel, pc.Embedded)]
        engines = [map.system.engine for map in maps]
        for regions in (
            [engine.cells for engine in engines],
            [engine.part("right") for engine in engines],
            [engine.facets("boundary") for engine in engines],
        ):
            one, other = regions
            points = [r.points(np.arange(r.count)).reshape(mesh.dim, -1) for r in (one, other)]
            rows = [
                np.vstack([x.round(12), weights.ravel()])[:, np.lexsort(x.round(9))]
                for x, weights in zip(points, (one.dx, other.basis.dx), strict=True)
            ]
            assert np.abs(rows[0] - rows[1]).max() <= 1e-11
            states = [map.solution.interpolate(lambda x: x[0] ** 2 + np.sin(x[1])) for map in maps]
            for r, y, x in zip((one, other), states, points, strict=True):
                exact = np.vstack([2 * x[0], np.cos(x[1]), *(0 * x[2:])]).reshape(r.gradients(y).shape)
                assert np.abs(r.gradients(y) - exact).max() <= 0.15 and np.abs(r.values(y)).max() > 0.9
        engine = maps[0].system.engine
        one, other = (map.solution.gather(map.system.engine.cells.functional(*weak(map))) for map in maps)
        assert np.abs(one - other).max() <= 1e-13 * np.abs(other).max() and engine.degree == 2

    def test_weak_forms_are_integrated_on_quadratic_cells(self, mesh):
        pytest.importorskip("dolfinx")
        import ufl

        def form(y, v, domain):
            return (ufl.inner(ufl.grad(y), ufl.grad(v)) - 4.0 * v) * domain.dx

        states = []
        for equation in (pc.Elliptic(source=4.0), pc.Weak(form)):
            with pc.discretise(poisson(equation=equation), mesh, pc.Parallel(degree=2)) as map:
                states.append(map.solve(map.control.zeros()))
        assert np.abs(states[0] - states[1]).max() <= 1e-6 * np.abs(states[0]).max()

    def test_states_of_degree_3_gain_an_order_on_quadratic_cells(self):
        pytest.importorskip("dolfinx")
        errors = [state_error(bent(disc(n)), pc.Parallel(degree=3)) for n in (4, 8)]
        assert 3.6 <= observed_orders(errors, [1 / 4, 1 / 8])[0] <= 4.4

    def test_files_of_all_processes_have_quadratic_cells(self, tmp_path):
        pytest.importorskip("dolfinx")
        result = pc.solve(poisson(), bent(disc(3)), pc.Parallel(degree=3))
        path = result.state.save(tmp_path / "disc.xdmf")
        interpolant = result.state.space.whole.elements.quadratic(result.state.gather().array)[0]
        nodes, radii = interpolant.size, np.linalg.norm(interpolant.points, axis=0)
        assert (radii > 1 - 1e-12).sum() == 2 * 18
        assert "Triangle_6" in path.read_text() and f'Dimensions="{nodes} 1"' in path.read_text()


def bent_cells():
    """The program that is run on several ranks."""
    sys.path.insert(0, str(PROGRAMS))
    import bent_cells

    return bent_cells


def weak(map):
    """A weight and a flux at the points of the cells of a map."""
    cells = map.system.engine.cells
    x = cells.points(np.arange(cells.count))
    return np.exp(x[0]), x**2
