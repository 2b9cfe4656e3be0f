"""Meshes refined in places: conforming, with their tags, and of bounded angles."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import Delaunay

import pdecontrol as pc
from pdecontrol.errors import MeshError
from pdecontrol.mesh.bisection import bisection
from pdecontrol.mesh.elements import facet_lagrange
from pdecontrol.mesh.mesh import Mesh
from pdecontrol.mesh.shapes import disc, unit_cube, unit_interval, unit_square

TWO_MATERIALS = Path(__file__).parent.parent / "meshes" / "two_materials.msh"


def scattered(seed=0, count=40):
    """Triangles of all shapes, but for those nearly flat."""
    points = np.random.default_rng(seed).random((2, count))
    mesh = Mesh(points, Delaunay(points.T).simplices.T)
    return mesh if smallest_angle(mesh) > 0.02 else scattered(seed + 1, count)


def tagged(mesh):
    """With a part and the facets between it and the others, where those are curves."""
    mesh = mesh.tag_part("half", lambda x: x[0] < 0.45)
    return mesh.tag_interface("between", "half").tag_boundary("low", lambda x: x[-1] < 0.4)


MESHES = {
    "interval": lambda: tagged(unit_interval(5)),
    "square": lambda: tagged(unit_square((3, 4))),
    "disc": lambda: tagged(disc(3)),
    "L": lambda: tagged(pc.l_shape(2)),
    "scattered": lambda: tagged(scattered()),
    "file": lambda: pc.read_mesh(TWO_MATERIALS),
}


@pytest.fixture(params=MESHES, ids=list(MESHES))
def mesh(request):
    return MESHES[request.param]()


def smallest_angle(mesh):
    corners = mesh.points[:, mesh.cells]
    a, b = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    return np.abs(np.arctan2(a[0] * b[1] - a[1] * b[0], (a * b).sum(axis=0))).min()


def at(mesh, place):
    """The cells that have a vertex at a place."""
    return (mesh.points[:, mesh.cells] == np.reshape(place, (-1, 1, 1))).all(axis=0).any(axis=0)


def edges(mesh):
    """The edges (.., m) of each cell, as pairs of numbers."""
    return [set(map(tuple, np.sort(cell[list(combinations(range(len(cell)), 2))], axis=1))) for cell in mesh.cells.T]


def columns(facets):
    return set(map(tuple, np.sort(facets, axis=0).T))


def test_bisected_meshes_conform_and_keep_their_tags(mesh):
    rng, coarse = np.random.default_rng(1), mesh
    for _ in range(4):
        mesh = mesh.bisect(rng.random(mesh.cells.shape[1]) < 0.2)
        checked = Mesh(mesh.points, mesh.cells, mesh.parts, mesh.boundaries)  # refuses what overlaps or hangs
        assert set(mesh.parts) == set(coarse.parts) and set(mesh.boundaries) == set(coarse.boundaries)
        for tag, facets in mesh.boundaries.items():
            assert np.array_equal(np.sort(facets, axis=0), facets) and len(columns(facets)) == facets.shape[1]
            lengths = [facet_lagrange(one, tag, 0).lumped_mass().sum() for one in (coarse, mesh)]
            assert lengths[1] == pytest.approx(lengths[0], rel=1e-12)
            assert columns(facets) == columns(checked.facets(tag))
        for tag, numbers in mesh.parts.items():
            assert np.array_equal(np.unique(numbers), numbers)
            assert mesh.volumes[numbers].sum() == pytest.approx(coarse.volumes[coarse.part(tag)].sum(), rel=1e-12)
        assert columns(Mesh(mesh.points, mesh.cells).facets("boundary")) == columns(mesh.facets("boundary"))
        if "between" in mesh.boundaries:
            assert columns(mesh.tag_interface("between", "half").facets("between")) == columns(mesh.facets("between"))
    assert mesh.cells.shape[1] > (1.5 if mesh.dim == 1 else 3) * coarse.cells.shape[1]


def test_marked_cells_are_cut_at_all_edges_and_the_others_keep_their_numbers(mesh):
    n, m = mesh.points.shape[1], mesh.cells.shape[1]
    marked = np.random.default_rng(2).choice(m, m // 4, replace=False)
    fine, cut = mesh.bisect(marked), bisection(mesh.points, mesh.cells, marked)
    assert np.array_equal(fine.points[:, :n], mesh.points)
    assert np.array_equal(fine.points[:, n:], mesh.points[:, cut.edges].mean(axis=1))
    assert np.array_equal(cut.parents[:m], np.arange(m))
    assert np.allclose(np.bincount(cut.parents, fine.volumes), mesh.volumes, rtol=1e-12, atol=0)
    children = np.bincount(cut.parents)
    assert (children[marked] == 2**mesh.dim).all()
    of_marked = np.isin(cut.parents, marked)
    assert np.allclose(fine.volumes[of_marked], mesh.volumes[cut.parents[of_marked]] / 2**mesh.dim, rtol=1e-10)
    before, halved = edges(mesh), columns(cut.edges)
    assert all(before[cell] <= halved for cell in marked)
    same = np.flatnonzero([not (cell & halved) for cell in before])
    assert np.array_equal(fine.cells[:, same], mesh.cells[:, same]) and (children[same] == 1).all()
    assert (children[np.setdiff1d(np.arange(m), same)] > 1).all()
    for tag, facets in mesh.boundaries.items():
        whole = np.flatnonzero([column not in halved for column in map(tuple, facets.T)])
        assert np.array_equal(fine.facets(tag)[:, whole], facets[:, whole])


@pytest.mark.parametrize("seed", range(4))
def test_angles_are_at_least_half_of_the_smallest(seed):
    coarse = scattered(10 * seed)
    least, rng = smallest_angle(coarse), np.random.default_rng(seed)
    corner, anywhere = coarse, coarse
    for level in range(10):
        corner = corner.bisect(at(corner, coarse.points[:, seed]))
        if level < 5:
            anywhere = anywhere.bisect(rng.random(anywhere.cells.shape[1]) < 0.1)
        assert min(smallest_angle(corner), smallest_angle(anywhere)) >= 0.5 * least
    around = at(corner, coarse.points[:, seed])
    size, wide = (np.sqrt(one.volumes[at(one, coarse.points[:, seed])].max()) for one in (corner, coarse))
    assert size <= 1.001 * 2.0**-10 * wide and 3 <= around.sum() <= 40


def test_right_angled_triangles_stay_so():
    mesh = unit_square(2)
    for _ in range(12):
        mesh = mesh.bisect(at(mesh, (0.0, 0.0)))
        assert smallest_angle(mesh) == pytest.approx(np.pi / 4, rel=1e-12)
    longest = mesh.volumes[at(mesh, (0.0, 0.0))]
    assert longest.max() <= 1.001 * 4.0**-12 / 8 and mesh.cells.shape[1] < 8 + 30 * 12  # as many a level


def test_all_cells_marked_is_a_refinement_of_all():
    for mesh in (unit_interval(3), unit_square(3)):
        fine, regular = mesh.bisect(np.ones(mesh.cells.shape[1], dtype=bool)), mesh.refine()
        assert fine.cells.shape == regular.cells.shape
        assert {*map(tuple, fine.points.T)} == {*map(tuple, regular.points.T)}


def test_no_cells_marked_is_the_same_mesh(mesh):
    for none in ([], np.zeros(mesh.cells.shape[1], dtype=bool)):
        same = mesh.bisect(none)
        assert np.array_equal(same.points, mesh.points) and np.array_equal(same.cells, mesh.cells)
        assert all(np.array_equal(same.facets(tag), facets) for tag, facets in mesh.boundaries.items())


def test_intervals_are_cut_in_two():
    mesh = tagged(unit_interval(4)).bisect([3, 0])
    assert mesh.points.tolist() == [[0, 0.25, 0.5, 0.75, 1, 0.125, 0.875]]
    assert mesh.cells.T.tolist() == [[0, 5], [1, 2], [2, 3], [3, 6], [5, 1], [6, 4]]
    assert mesh.part("half").tolist() == [0, 1, 4]
    assert mesh.facets("boundary").tolist() == [[0, 4]] and mesh.facets("between").tolist() == [[2]]


def test_the_sides_of_a_slit_are_cut_each_for_itself():
    square = unit_square(4)
    above = square.points[1, square.cells].mean(axis=0) > 0.5
    on = np.flatnonzero((square.points[1] == 0.5) & (square.points[0] > 0.5))
    points, cells = np.hstack([square.points, square.points[:, on]]), square.cells.copy()
    for new, old in enumerate(on, square.points.shape[1]):
        cells[:, above] = np.where(cells[:, above] == old, new, cells[:, above])
    fine = Mesh(points, cells, weld=False).bisect(above)
    for _ in range(3):
        fine = fine.bisect(at(fine, (0.5, 0.5)))
    checked = Mesh(fine.points, fine.cells, weld=False)
    assert fine.weld is False and columns(checked.facets("boundary")) == columns(fine.facets("boundary"))


@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ([8], "numbers from 0 to 7, got 8"),
        ([0, -1], "numbers from 0 to 7, got -1"),
        (np.ones(7, dtype=bool), r"shape \(8,\), got \(7,\)"),
        (np.ones((1, 8), dtype=bool), r"shape \(8,\), got \(1, 8\)"),
        ([0.5], "numbers of type int64 for the marked cells"),
        ([[0, 1]], "1 axes for the marked cells"),
        (3, "1 axes for the marked cells"),
        (["0"], "numbers of type int64 for the marked cells"),
        (None, "numbers of type int64 for the marked cells"),
    ],
)
def test_what_marks_no_cells_is_refused(marked, message):
    with pytest.raises(MeshError, match=message):
        unit_square(2).bisect(marked)


def test_tetrahedra_and_bent_edges_are_refused():
    with pytest.raises(MeshError, match=r"Tetrahedra are not bisected; refine\(\)"):
        unit_cube(1).bisect([0])
    bent = Mesh([[0, 1, 0], [0, 0, 1]], [[0], [1], [2]], bends=([[1], [2]], [[0.6], [0.6]]))
    with pytest.raises(MeshError, match="bent edges is not bisected: bisect the straight mesh"):
        bent.bisect([0])


def test_cells_too_small_for_floating_point_numbers_are_refused():
    mesh = unit_interval(1).transform(lambda x: x + 1.0)
    for _ in range(52):
        mesh = mesh.bisect(at(mesh, 2.0))
    assert np.diff(np.sort(mesh.points[0])).min() == np.finfo(float).eps
    with pytest.raises(MeshError, match="degenerate"):
        mesh.bisect(at(mesh, 2.0))
