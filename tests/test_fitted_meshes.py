"""Meshes fitted to interfaces: sides, areas, quality, what is refused, and the check that a mesh fits."""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from marks import needs_gmsh

import pdecontrol as pc
from pdecontrol.errors import MeshError
from pdecontrol.mesh.fit import bent, check_fit, snapped
from pdecontrol.mesh.mesh import Mesh

TWO_MATERIALS = Path(__file__).parent.parent / "meshes" / "two_materials.msh"
SQUARE = [(-1, 1), (-1, 1)]
CUBE = [(-1, 1), (-1, 1), (-1, 1)]
SIDES = {"boundary", "left", "right", "bottom", "top"}
CIRCLE = {"gamma": pc.Interface(pc.Circle(0.5))}
STAR = {"gamma": pc.Interface(pc.Star(0.5, 0.2, arms=5))}
RING = {
    "outer": pc.Interface(pc.Circle(0.7), inside="ring"),
    "inner": pc.Interface(pc.Ellipse((0.4, 0.2), angle=0.3), inside="core"),
}
THREE = {
    "a": pc.Interface(pc.Circle(0.2, (-0.5, 0.0))),
    "b": pc.Interface(pc.Circle(0.25, (0.5, 0.1))),
    "c": pc.Interface(pc.Polygon([(0, 0.5), (0.3, 0.6), (0.1, 0.8)]), inside="roof"),
}


def two_discs(x):
    return ((x[0] - 0.45) ** 2 + x[1] ** 2 - 0.09) * ((x[0] + 0.45) ** 2 + x[1] ** 2 - 0.09)


def annulus(x):
    return (x[0] ** 2 + x[1] ** 2 - 0.09) * (x[0] ** 2 + x[1] ** 2 - 0.49)


CASES = {
    "circle": CIRCLE,
    "star": STAR,
    "ring": RING,
    "three": THREE,
    "two components": {"gamma": pc.Interface(pc.LevelSet(two_discs))},
    "annulus": {"gamma": pc.Interface(pc.LevelSet(annulus))},
}


def area(mesh, part):
    return mesh.volumes[mesh.part(part)].sum()


def smallest_angle(mesh):
    """In degrees: the sine is the area over half the product of the two longer sides."""
    edges = [mesh.points[:, a] - mesh.points[:, b] for a, b in combinations(mesh.cells, 2)]
    lengths = np.sort(np.linalg.norm(edges, axis=1), axis=0)
    return np.degrees(np.arcsin((2 * mesh.volumes / (lengths[1] * lengths[2])).min()))


@needs_gmsh
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [0.2, 0.1, 0.05])
def test_meshes_fit_their_interfaces_with_good_angles(name, size):
    interface = CASES[name]
    mesh = pc.fitted_mesh(SQUARE, interface, size)
    assert set(mesh.boundaries) == SIDES | set(interface)
    assert set(mesh.parts) == {"outside"} | {item.inside for item in interface.values()}
    assert sum(numbers.size for numbers in mesh.parts.values()) == mesh.cells.shape[1]
    assert mesh.volumes.sum() == pytest.approx(4, rel=1e-13)
    assert smallest_angle(mesh) > (25 if name != "three" else 15)
    for tag, item in interface.items():
        check_fit(mesh, tag, item)
        x = mesh.points[:, mesh.facets(tag)]
        assert item.shape.distance(x.reshape(2, -1)).max() < 1e-13
        assert np.linalg.norm(x[:, 0] - x[:, 1], axis=0).max() <= size * (1 + 1e-12)
    edges = [mesh.points[:, a] - mesh.points[:, b] for a, b in combinations(mesh.cells, 2)]
    assert np.linalg.norm(edges, axis=1).max() < 1.7 * size
    for axis, names in enumerate((("left", "right"), ("bottom", "top"))):
        for value, side in zip((-1, 1), names, strict=True):
            assert (mesh.points[axis, mesh.facets(side)] == value).all()


@needs_gmsh
@pytest.mark.parametrize(
    ("interface", "areas"),
    [
        (CIRCLE, {"inside": np.pi / 4}),
        (STAR, {"inside": np.pi * (0.25 + 0.02)}),
        (RING, {"core": np.pi * 0.08, "ring": np.pi * (0.49 - 0.08)}),
        ({"gamma": pc.Interface(pc.LevelSet(two_discs))}, {"inside": np.pi * 0.18}),
    ],
)
def test_areas_of_parts_have_order_two(interface, areas):
    coarse, fine = (pc.fitted_mesh(SQUARE, interface, size) for size in (0.05, 0.025))
    for part, exact in areas.items():
        errors = [abs(area(mesh, part) - exact) for mesh in (coarse, fine)]
        assert 1.8 < np.log2(errors[0] / errors[1]) < 2.2, part


@needs_gmsh
def test_spheres_in_a_box():
    ball, core = pc.Sphere(0.6, (0.1, 0.0, 0.0)), pc.Sphere(0.25, (0.2, 0.1, 0.0))
    interface = {"gamma": pc.Interface(ball, inside="shell"), "inner": pc.Interface(core, inside="core")}
    errors = []
    for size in (0.3, 0.15):
        mesh = pc.fitted_mesh(CUBE, interface, size, turn=size)
        assert set(mesh.boundaries) == SIDES | {"front", "back", "gamma", "inner"}
        assert list(mesh.parts) == ["outside", "shell", "core"]
        for tag, item in interface.items():
            check_fit(mesh, tag, item)
            assert item.shape.distance(mesh.points[:, np.unique(mesh.facets(tag))]).max() < 1e-15
        assert mesh.volumes.sum() == pytest.approx(8, rel=1e-12)
        assert not any(np.isin(mesh.cells, mesh.facets(tag)).all(axis=0).any() for tag in interface)
        errors.append(4 / 3 * np.pi * 0.6**3 - area(mesh, "shell") - area(mesh, "core"))
    assert 1.7 < np.log2(errors[0] / errors[1]) < 2.3
    assert (mesh.points[1, mesh.facets("back")] == 1).all() and (mesh.points[2, mesh.facets("bottom")] == -1).all()


@needs_gmsh
def test_the_same_arguments_give_the_same_mesh():
    for domain, interface, size in ((SQUARE, STAR, 0.1), (CUBE, {"gamma": pc.Interface(pc.Sphere(0.5))}, 0.4)):
        first, again = (pc.fitted_mesh(domain, interface, size) for _ in range(2))
        assert np.array_equal(first.points, again.points) and np.array_equal(first.cells, again.cells)


@needs_gmsh
def test_sizes_grow_away_from_the_interface():
    mesh = pc.fitted_mesh(SQUARE, CIRCLE, 0.2, near=0.02)
    middles = mesh.points[:, mesh.cells].mean(axis=1)
    edges = [mesh.points[:, a] - mesh.points[:, b] for a, b in combinations(mesh.cells, 2)]
    longest, distances = np.linalg.norm(edges, axis=1).max(axis=0), np.abs(np.linalg.norm(middles, axis=0) - 0.5)
    x = mesh.points[:, mesh.facets("gamma")]
    assert np.linalg.norm(x[:, 0] - x[:, 1], axis=0).max() <= 0.02
    assert (longest < 2 * (0.02 + 0.3 * distances)).all() and longest.max() > 0.1
    finer = pc.fitted_mesh(SQUARE, CIRCLE, 0.2, near=0.02, grading=0.1)
    assert finer.points.shape[1] > 1.5 * mesh.points.shape[1]
    ball = {"gamma": pc.Interface(pc.Sphere(0.4, (-0.1, 0.0, 0.1)))}
    mesh = pc.fitted_mesh(CUBE, ball, 0.5, near=0.1)
    edges = [mesh.points[:, a] - mesh.points[:, b] for a, b in combinations(mesh.cells, 2)]
    middles = mesh.points[:, mesh.cells].mean(axis=1)
    longest, distances = np.linalg.norm(edges, axis=1).max(axis=0), ball["gamma"].shape.distance(middles)
    assert (longest < 3 * (0.1 + 0.3 * distances)).all() and longest.max() > 0.3


@needs_gmsh
def test_narrow_gaps_are_meshed_with_short_edges():
    interface = {"a": pc.Interface(pc.Circle(0.4, (-0.42, 0))), "b": pc.Interface(pc.Circle(0.4, (0.42, 0)))}
    mesh = pc.fitted_mesh(SQUARE, interface, 0.2)
    assert smallest_angle(mesh) > 25
    assert smallest_angle(pc.fitted_mesh(SQUARE, {"gamma": pc.Interface(pc.Circle(0.95))}, 0.2)) > 25


@needs_gmsh
def test_a_polygon_as_domain():
    domain = pc.Polygon([(0, 0), (0, 2), (1, 2), (1, 1), (2, 1), (2, 0)])
    mesh = pc.fitted_mesh(domain, {"gamma": pc.Interface(pc.Circle(0.3, (0.5, 0.5)))}, 0.1)
    assert set(mesh.boundaries) == {"boundary", "gamma"} and mesh.volumes.sum() == pytest.approx(3, rel=1e-13)
    with pytest.raises(MeshError, match=r'Interface "gamma" leaves the domain or touches its boundary near x ='):
        pc.fitted_mesh(domain, {"gamma": pc.Interface(pc.Circle(0.3, (1.2, 1.2)))}, 0.1)


@needs_gmsh
def test_an_open_session_of_gmsh_stays_as_it_is():
    import gmsh

    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("Mesh.Algorithm", 1)
        gmsh.model.add("own")
        gmsh.model.geo.addPoint(0.5, 0, 0)
        pc.fitted_mesh(SQUARE, CIRCLE, 0.2)
        assert gmsh.isInitialized() and gmsh.model.getCurrent() == "own" and "own" in gmsh.model.list()
        assert gmsh.option.getNumber("Mesh.Algorithm") == 1 and len(gmsh.model.list()) == 2
        with pytest.raises(MeshError, match="comes as near"):
            pc.fitted_mesh(SQUARE, {"gamma": pc.Interface(pc.Circle(0.995))}, 0.2)
        assert gmsh.model.getCurrent() == "own"
    finally:
        gmsh.finalize()
    assert np.array_equal(pc.fitted_mesh(SQUARE, CIRCLE, 0.2).points, pc.fitted_mesh(SQUARE, CIRCLE, 0.2).points)
    assert not gmsh.isInitialized()


def interface_of(shape, **others):
    return {"gamma": pc.Interface(shape, **others)}


@pytest.mark.parametrize(
    ("domain", "interface", "arguments", "message"),
    [
        (SQUARE, interface_of(pc.Circle(1)), {}, 'Interface "gamma" leaves the domain or touches its boundary near'),
        (SQUARE, interface_of(pc.Circle(0.2, (0.9, 0))), {}, 'Interface "gamma" leaves the domain or touches'),
        (SQUARE, interface_of(pc.Circle(0.2, (3, 0))), {}, 'Interface "gamma" leaves the domain or touches'),
        (SQUARE, interface_of(pc.Circle(0.999)), {}, "comes as near as 0.001.* to the boundary of the domain"),
        (SQUARE, CIRCLE | {"other": pc.Interface(pc.Circle(0.3, (0.4, 0)))}, {}, '"gamma" and "other" cross or touch'),
        (SQUARE, CIRCLE | {"other": pc.Interface(pc.Circle(0.5))}, {}, '"gamma" and "other" cross or touch'),
        (SQUARE, CIRCLE | {"other": pc.Interface(pc.Circle(0.499))}, {}, "come as near as 0.001.* to each other"),
        (SQUARE, CIRCLE | {"other": pc.Interface(pc.Circle(0.3))}, {}, 'has the part "inside" on both of its sides'),
        (SQUARE, interface_of(pc.LevelSet(lambda x: 1 + x[0] ** 2)), {}, '"gamma": The level set has no sign change'),
        (SQUARE, interface_of(pc.LevelSet(lambda x: x[0])), {}, 'Interface "gamma": The level set leaves'),
        (SQUARE, interface_of(pc.LevelSet(lambda x: 0.2 - x[0] ** 2 - x[1] ** 2)), {}, "has its inside on no side"),
        (SQUARE, interface_of(pc.Sphere(0.5)), {}, "Sphere is a shape in 3 dimensions, the domain has 2"),
        (CUBE, CIRCLE, {}, "Circle is a shape in 2 dimensions, the domain has 3"),
        (CUBE, interface_of(pc.LevelSet(two_discs)), {}, "in space only spheres can be meshed, not LevelSet"),
        (CUBE, interface_of(pc.Sphere(1.0)), {}, 'Interface "gamma" leaves the domain or touches'),
        (CUBE, interface_of(pc.Sphere(0.5)) | {"k": pc.Interface(pc.Sphere(0.5, (0.4, 0, 0)))}, {}, "cross or touch"),
        (CUBE, interface_of(pc.Sphere(0.5)) | {"k": pc.Interface(pc.Sphere(0.3))}, {}, 'has the part "inside" on both'),
        (SQUARE, interface_of(pc.Moving(lambda t: pc.Circle(0.5))), {}, "a mesh cannot follow a moving interface"),
        (SQUARE, interface_of(None), {}, 'Interface "gamma" has no shape'),
        (SQUARE, {}, {}, "takes the interfaces of a problem"),
        (SQUARE, {"gamma": pc.Circle(0.5)}, {}, r"An interface is an Interface\(...\)"),
        (SQUARE, CIRCLE, {"size": 0}, "size must be a positive number, got 0"),
        (SQUARE, CIRCLE, {"size": np.nan}, "size must be a positive number, got nan"),
        (SQUARE, CIRCLE, {"near": 0.3}, "near = 0.3 is the length of edges at the interfaces, at most size = 0.1"),
        (SQUARE, CIRCLE, {"grading": -1}, "grading must be a positive number"),
        (SQUARE, CIRCLE, {"turn": 0}, "turn must be a positive number"),
        (SQUARE, CIRCLE, {"outside": "inside"}, '"inside" names the part outside of all interfaces and one inside'),
        (SQUARE, {"left": pc.Interface(pc.Circle(0.5))}, {}, '"left" names an interface and a boundary of the domain'),
        (SQUARE, interface_of(pc.Circle(0.5), inside="gamma"), {}, '"gamma" names both a part and a boundary'),
        (SQUARE, interface_of(pc.Circle(0.5), inside="top"), {}, '"top" names both a part and a boundary'),
        ([(0, 1)], CIRCLE, {}, r"The domain is a Polygon, or pairs \(low, high\)"),
        ([(1, 0), (0, 1)], CIRCLE, {}, r"The domain is a Polygon, or pairs \(low, high\)"),
    ],
)  # fmt: skip
def test_wrong_domains_and_interfaces_are_refused(domain, interface, arguments, message):
    with pytest.raises(MeshError, match=message):
        pc.fitted_mesh(domain, interface, **({"size": 0.1} | arguments))


def test_what_a_level_set_returns_is_checked_with_the_name_of_its_interface():
    for function, message in (
        (lambda x: x, "must return the shape"),
        (lambda x: np.log(x[0]), "is NaN or infinite at x"),
    ):
        with (
            np.errstate(all="ignore"),
            pytest.raises(pc.DataError, match=f'Interface "gamma": the function.*{message}'),
        ):
            pc.fitted_mesh(SQUARE, interface_of(pc.LevelSet(function)), 0.1)


def test_without_gmsh_there_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gmsh", None)
    with pytest.raises(MeshError, match="pip install gmsh"):
        pc.fitted_mesh(SQUARE, CIRCLE, 0.2)


@needs_gmsh
def test_an_old_gmsh_is_refused(monkeypatch):
    import gmsh

    monkeypatch.setattr(gmsh, "GMSH_API_VERSION_MINOR", 8)
    with pytest.raises(MeshError, match=r"is too old to make fitted meshes: pip install 'gmsh>=4.11'"):
        pc.fitted_mesh(SQUARE, CIRCLE, 0.2)


@needs_gmsh
def test_a_mesh_that_takes_long_is_announced_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("pdecontrol.mesh.mesher.PATIENCE", 0.0)
    pc.fitted_mesh(SQUARE, CIRCLE, 0.1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    pc.fitted_mesh(SQUARE, CIRCLE, 0.1)
    assert capsys.readouterr().err == "meshing with the size 0.1 by gmsh\n"


# The check that a mesh fits


def test_a_file_that_fits_and_one_that_does_not():
    mesh = pc.read_mesh(TWO_MATERIALS)
    check_fit(mesh, "interface", pc.Interface(pc.Circle(0.25, (0.5, 0.5))))
    check_fit(mesh, "interface", pc.Interface())
    for shape, message in (
        (pc.Circle(0.26, (0.5, 0.5)), r"a vertex is off Gamma by 0.01 at x = "),
        (pc.Circle(0.25, (0.5, 0.48)), r"a vertex is off Gamma by 0.02 at x = \[0.5, 0.[27]"),
        (pc.Moving(lambda t: pc.Circle(0.25)), "cannot follow a moving"),
        (pc.Sphere(0.25), "Sphere is a shape in 3 dimensions"),
    ):
        with pytest.raises(MeshError, match=message):
            check_fit(mesh, "interface", pc.Interface(shape))
    with pytest.raises(MeshError, match=r'a cell of "outside" lies outside of Gamma by 0.4'):
        check_fit(mesh, "interface", pc.Interface(pc.Circle(0.25, (0.5, 0.5)), inside="outside"))
    with pytest.raises(MeshError, match='"wall" lies on the boundary of the domain'):
        check_fit(mesh, "wall", pc.Interface(pc.Polygon([(0, 0), (1, 0), (1, 1), (0, 1)])))


@needs_gmsh
def test_vertices_may_be_off_gamma_by_what_is_between_chord_and_arc():
    mesh = pc.fitted_mesh(SQUARE, CIRCLE, 0.1)
    x = mesh.points[:, mesh.facets("gamma")]
    allowed = np.linalg.norm(x[:, 0] - x[:, 1], axis=0).max() ** 2 / 8 / 0.5
    check_fit(mesh, "gamma", pc.Interface(pc.Circle(0.5 + 0.9 * allowed)))
    with pytest.raises(MeshError, match="a vertex is off Gamma"):
        check_fit(mesh, "gamma", pc.Interface(pc.Circle(0.5 + 1.1 * allowed)))


@needs_gmsh
def test_vertices_are_nearer_to_gamma_where_its_edges_are_bent():
    mesh = pc.fitted_mesh(SQUARE, CIRCLE, 0.2)
    x = mesh.points[:, mesh.facets("gamma")]
    allowed = np.linalg.norm(x[:, 0] - x[:, 1], axis=0).max() ** 4 / 512 / 0.5**3
    check_fit(mesh, "gamma", pc.Interface(pc.Circle(0.5 + 0.9 * allowed)), degree=2)
    for backend in (pc.Embedded(1), pc.Embedded(2)):
        problem = pc.ControlProblem(
            pc.Elliptic(), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1.0)], {"boundary": pc.Dirichlet()},
            {"gamma": pc.Interface(pc.Circle(0.501))},
        )  # fmt: skip
        if backend.degree == 1:
            assert pc.solve(problem, mesh, backend).success
        else:
            with pytest.raises(MeshError, match=r"a vertex is off Gamma by 0\.001"):
                pc.solve(problem, mesh, backend)


@needs_gmsh
def test_the_largest_mismatch_is_told():
    mesh = pc.fitted_mesh(SQUARE, STAR, 0.1)
    vertices, item = np.unique(mesh.facets("gamma")), STAR["gamma"]
    for number, offset in ((vertices[3], 2e-3), (vertices[40], 4e-3)):
        mesh.points[:, [number]] += offset * item.shape.normal(mesh.points[:, [number]])
    with pytest.raises(MeshError, match=r"a vertex is off Gamma by 0.00[34]") as caught:
        check_fit(mesh, "gamma", item)
    assert f"{mesh.points[0, vertices[40]]:.6g}" in str(caught.value)


@needs_gmsh
def test_sides_and_pieces_that_are_missing_are_found():
    mesh = pc.fitted_mesh(SQUARE, CASES["two components"], 0.1)
    item = CASES["two components"]["gamma"]
    facets, right = mesh.facets("gamma"), mesh.points[0, mesh.facets("gamma")].mean(axis=0) > 0

    def changed(parts=None, gamma=facets):
        return Mesh(mesh.points, mesh.cells, parts or mesh.parts, {"gamma": gamma})

    check_fit(changed(), "gamma", item)
    with pytest.raises(MeshError, match=r"a point of Gamma is away from the facets by 0.9"):
        check_fit(changed(gamma=facets[:, right]), "gamma", item)
    with pytest.raises(MeshError, match='"gamma" is not closed: its facets end at x ='):
        check_fit(changed(gamma=facets[:, 1:]), "gamma", item)
    middles = mesh.points[:, mesh.cells].mean(axis=1)
    left = {"inside": np.flatnonzero(item.shape.contains(middles) & (middles[0] < 0))}
    with pytest.raises(MeshError, match='The part "inside" is on no side of the interface "gamma"'):
        check_fit(changed(left), "gamma", item)
    everything = {"inside": np.arange(mesh.cells.shape[1])}
    with pytest.raises(MeshError, match='The part "inside" is on both sides of the interface "gamma"'):
        check_fit(changed(everything), "gamma", item)


@needs_gmsh
@pytest.mark.parametrize("name", ["three", "ring"])
def test_interfaces_with_one_part_and_nested_ones_fit(name):
    fine = pc.fitted_mesh(SQUARE, CASES[name], 0.1).refine()
    with pytest.raises(MeshError, match=r"a vertex is off Gamma by 0.00"):  # in the middle of a chord
        check_fit(fine, *next(iter(CASES[name].items())))
    for tag, item in CASES[name].items():
        check_fit(snapped(fine, CASES[name]), tag, item)


# Edges bent and vertices moved onto Gamma


@needs_gmsh
def test_bent_edges_give_the_area_with_order_four():
    meshes = [pc.fitted_mesh(SQUARE, CIRCLE, size) for size in (0.2, 0.1, 0.05)]
    errors = [abs(area(bent(m, "gamma", pc.Circle(0.5)), "inside") - np.pi / 4) for m in meshes]
    facets = [m.facets("gamma").shape[1] for m in meshes]
    orders = np.log(np.divide(errors[:-1], errors[1:])) / np.log(np.divide(facets[1:], facets[:-1]))
    assert (orders > 3.8).all() and (orders < 4.2).all()


@needs_gmsh
def test_bends_are_those_of_all_interfaces_and_straight_edges_have_none():
    mesh = pc.fitted_mesh(SQUARE, RING, 0.2)
    for tag, item in RING.items():
        mesh = bent(mesh, tag, item.shape)
    edges, places = mesh.bends
    assert edges.shape == (2, sum(mesh.facets(tag).shape[1] for tag in RING)) and (edges[0] < edges[1]).all()
    off = np.minimum(*(item.shape.distance(places) for item in RING.values()))
    assert off.max() < 1e-13
    assert np.array_equal(bent(mesh, "outer", RING["outer"].shape).bends[0], edges)
    polygon = pc.Polygon([(-0.5, -0.5), (0.5, -0.5), (0, 0.5)])
    assert bent(pc.fitted_mesh(SQUARE, interface_of(polygon), 0.2), "gamma", polygon).bends is None
    solid = bent(pc.fitted_mesh(CUBE, interface_of(pc.Sphere(0.5)), 0.5), "gamma", pc.Sphere(0.5))
    assert np.abs(np.linalg.norm(solid.bends[1], axis=0) - 0.5).max() < 1e-15
    assert solid.bends[0].shape[1] == 3 * solid.facets("gamma").shape[1] // 2


@needs_gmsh
def test_refined_meshes_are_snapped_onto_their_interfaces():
    for interface, domain, size in ((STAR, SQUARE, 0.1), (interface_of(pc.Sphere(0.5)), CUBE, 0.4)):
        coarse = pc.fitted_mesh(domain, interface, size)
        fine = snapped(coarse.refine(), interface)
        assert interface["gamma"].shape.distance(fine.points[:, np.unique(fine.facets("gamma"))]).max() < 1e-13
        assert fine.volumes.min() > 0
        check_fit(fine, "gamma", interface["gamma"])
        exact = np.pi * (0.25 + 0.02) if domain is SQUARE else np.pi / 6
        errors = [abs(area(mesh, "inside") - exact) for mesh in (coarse, fine)]
        assert 1.7 < np.log2(errors[0] / errors[1]) < 2.3
    assert snapped(coarse, {"gamma": pc.Interface()}).points is not coarse.points
    with pytest.raises(MeshError, match="becomes degenerate when the vertices on the interfaces are moved"):
        snapped(pc.fitted_mesh(SQUARE, CIRCLE, 0.1), interface_of(pc.Circle(0.85)))


@needs_gmsh
@pytest.mark.slow
def test_all_processes_get_the_same_mesh():
    pytest.importorskip("mpi4py")
    program = """
import numpy as np, pdecontrol as pc
from pdecontrol.parallel import world
mesh = pc.fitted_mesh([(-1, 1), (-1, 1)], {"gamma": pc.Interface(pc.Circle(0.5))}, 0.1)
hashes = world().collect((mesh.points.tobytes(), mesh.cells.tobytes()))
assert len(hashes) == 2 and hashes[0] == hashes[1]
try:
    pc.fitted_mesh([(-1, 1), (-1, 1)], {"gamma": pc.Interface(pc.Circle(1.0))}, 0.1)
except pc.MeshError as error:
    assert "touches its boundary" in str(error)
    pc.report("agreed")
"""
    environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    run = subprocess.run(
        ["mpirun", "--oversubscribe", "-n", "2", sys.executable, "-c", program],
        check=False, capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    assert run.returncode == 0 and run.stdout.split() == ["agreed"], run.stderr
