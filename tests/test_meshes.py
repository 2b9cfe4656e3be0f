"""Meshes: conformity, tags, refinement and files."""

import struct
from itertools import combinations
from pathlib import Path

import meshio
import numpy as np
import pytest

import pdecontrol as pc
from pdecontrol.errors import MeshError
from pdecontrol.mesh.elements import facet_lagrange
from pdecontrol.mesh.gmsh import read_mesh
from pdecontrol.mesh.mesh import Mesh
from pdecontrol.mesh.shapes import disc, l_shape, unit_cube, unit_interval, unit_square

TWO_MATERIALS = Path(__file__).parent.parent / "meshes" / "two_materials.msh"

MESHES = {
    "interval": lambda: unit_interval(5),
    "square": lambda: unit_square((3, 4)),
    "cube": lambda: unit_cube((2, 3, 1)),
    "disc": lambda: disc(4),
    "L": lambda: l_shape(2),
    "file": lambda: read_mesh(TWO_MATERIALS),
}


@pytest.fixture(params=MESHES, ids=list(MESHES))
def mesh(request):
    return MESHES[request.param]()


def simplices_of(cells, k):
    """Distinct subsimplices of dimension k, and in how many cells each lies."""
    columns = [cells[list(rows)] for rows in combinations(range(len(cells)), k + 1)]
    return np.unique(np.sort(np.hstack(columns), axis=0), axis=1, return_counts=True)


def measure(mesh, tag):
    return facet_lagrange(mesh, tag, 0).lumped_mass().sum()


def check_conforming(mesh):
    facets, counts = simplices_of(mesh.cells, mesh.dim - 1)
    assert set(counts) <= {1, 2}
    boundary = mesh.facets("boundary")
    assert np.array_equal(np.sort(boundary, axis=0), boundary)
    assert np.array_equal(np.unique(boundary, axis=1), facets[:, counts == 1])
    assert (mesh.volumes > 0).all()
    # Euler characteristic: all these domains are balls
    assert sum((-1) ** k * simplices_of(mesh.cells, k)[0].shape[1] for k in range(mesh.dim + 1)) == 1


def shape_quality(mesh):
    """Volume over the cube (or square) of the longest edge, smallest over the cells."""
    edges = [mesh.points[:, a] - mesh.points[:, b] for a, b in combinations(mesh.cells, 2)]
    return (mesh.volumes / np.linalg.norm(edges, axis=1).max(axis=0) ** mesh.dim).min()


def test_meshes_and_their_refinements_are_conforming(mesh):
    check_conforming(mesh)
    check_conforming(mesh.refine())


def test_unit_meshes_have_exact_points_and_volume():
    for n in (3, 7, 49):
        assert unit_interval(n).points.tolist() == [[i / n for i in range(n + 1)]]
    assert set(unit_square((7, 3)).points[1]) == {0, 1 / 3, 2 / 3, 1}
    for mesh in (unit_interval(7), unit_square((7, 3)), unit_cube((3, 1, 2))):
        assert np.isclose(mesh.volumes.sum(), 1, rtol=1e-14)
        assert np.allclose(mesh.volumes, mesh.volumes[0], rtol=1e-13)
        assert np.isclose(mesh.diameter, np.sqrt(mesh.dim))
    assert unit_cube((3, 1, 2)).cells.shape == (4, 36)


def test_diagonals_of_the_square_go_from_lower_left_to_upper_right():
    square = unit_square(2)
    edges = simplices_of(square.cells, 1)[0]
    steps = square.points[:, edges[1]] - square.points[:, edges[0]]
    diagonals = steps[:, (steps != 0).all(axis=0)]
    assert diagonals.shape[1] == 4
    assert (diagonals[0] * diagonals[1] > 0).all()


@pytest.mark.parametrize(
    ("mesh", "sides"),
    [
        (unit_interval(4), {"left": (0, 0, 1), "right": (0, 1, 1)}),
        (
            unit_square((3, 4)),
            {"left": (0, 0, 4), "right": (0, 1, 4), "bottom": (1, 0, 3), "top": (1, 1, 3)},
        ),
        (
            unit_cube((2, 3, 4)),
            {
                "left": (0, 0, 24),
                "right": (0, 1, 24),
                "front": (1, 0, 16),
                "back": (1, 1, 16),
                "bottom": (2, 0, 12),
                "top": (2, 1, 12),
            },
        ),
    ],
)
def test_sides_of_unit_meshes(mesh, sides):
    assert set(mesh.boundaries) == {"boundary", *sides}
    for tag, (axis, value, count) in sides.items():
        assert mesh.facets(tag).shape == (mesh.dim, count)
        assert (mesh.points[axis, mesh.facets(tag)] == value).all()
        assert np.isclose(measure(mesh, tag), 1)
    assert mesh.facets("boundary").shape[1] == sum(count for _, _, count in sides.values())


def test_disc_converges_to_the_disc_with_order_two_and_good_angles():
    errors = [4 * np.pi - disc(n, 2).volumes.sum() for n in (4, 8, 16)]
    assert np.allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.05)
    for n in (1, 2, 9, 40):
        mesh = disc(n, 2)
        assert mesh.cells.shape[1] == 6 * n**2
        assert np.allclose(np.linalg.norm(mesh.points[:, mesh.facets("boundary")], axis=0), 2, rtol=1e-15)
        corners = mesh.points[:, mesh.cells]
        a, b = np.roll(corners, 1, axis=1) - corners, np.roll(corners, 2, axis=1) - corners
        cosine = (a * b).sum(axis=0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)
        assert np.degrees(np.arccos(cosine.max())) > 40
        assert cosine.min() > -1e-12


@pytest.mark.parametrize("n", [1, 3, 10])
def test_the_l_shape_is_three_squares(n):
    mesh = l_shape(n)
    assert mesh.points.shape[1] == (2 * n + 1) ** 2 - n**2 and mesh.cells.shape[1] == 6 * n**2
    assert set(mesh.points[0]) == set(mesh.points[1]) == {i / n for i in range(-n, n + 1)}
    assert np.allclose(mesh.volumes, 0.5 / n**2) and np.isclose(measure(mesh, "boundary"), 8)
    x, y = mesh.points[:, mesh.cells].mean(axis=1)
    assert ((x < 0) | (y > 0)).all()
    assert [tag for tag, facets in mesh.boundaries.items() if facets.shape[1] == 8 * n] == ["boundary"]
    same = Mesh(mesh.points, mesh.cells)
    assert all(
        np.array_equal(a, b) for a, b in ((same.cells, mesh.cells), (same.facets("boundary"), mesh.facets("boundary")))
    )


@pytest.mark.parametrize("n", [0, -1, 2.5, "4", None, (2, 2, 2, 2), (2, 0), [1.5, 2]])
def test_wrong_number_of_cells_is_refused(n):
    for build in (unit_interval, unit_square, unit_cube, disc, l_shape):
        with pytest.raises(MeshError, match="number"):
            build(n)


def test_wrong_radius_is_refused():
    for radius in (0, -1, np.inf, np.nan):
        with pytest.raises(MeshError, match="radius"):
            disc(3, radius)


def test_refinement_keeps_points_tags_and_parents(mesh):
    mesh = mesh.tag_part("chosen", lambda x: x[0] < 0.4)
    fine = mesh.refine()
    n, m = mesh.points.shape[1], mesh.cells.shape[1]
    assert np.array_equal(fine.points[:, :n], mesh.points)
    assert fine.cells.shape[1] == m * 2**mesh.dim
    assert np.isclose(fine.volumes.sum(), mesh.volumes.sum())
    # each child has its share of the parent and lies in it
    parent = np.arange(fine.cells.shape[1]) % m
    assert np.allclose(fine.volumes, mesh.volumes[parent] / 2**mesh.dim)
    origins = mesh.points[:, mesh.cells[0, parent]].T[:, :, None]
    edges = (mesh.points[:, mesh.cells[1:]] - mesh.points[:, mesh.cells[:1]]).transpose(2, 0, 1)[parent]
    local = np.linalg.solve(edges, fine.points[:, fine.cells].transpose(2, 0, 1) - origins)
    assert local.min() > -1e-12
    assert local.sum(axis=1).max() < 1 + 1e-12
    for tag in mesh.parts:
        assert set(fine.part(tag) % m) == set(mesh.part(tag))
        assert len(fine.part(tag)) == len(mesh.part(tag)) * 2**mesh.dim
    assert set(fine.boundaries) == set(mesh.boundaries)
    for tag in mesh.boundaries:
        facets, children = mesh.facets(tag), fine.facets(tag)
        assert children.shape[1] == facets.shape[1] * 2 ** (mesh.dim - 1)
        assert np.isclose(measure(fine, tag), measure(mesh, tag))
        assert np.array_equal(np.sort(children, axis=0), children)
        if mesh.dim > 1:
            means = fine.points[:, children].mean(axis=1).reshape(mesh.dim, -1, facets.shape[1]).mean(axis=1)
            assert np.allclose(means, mesh.points[:, facets].mean(axis=1))


def test_refined_tetrahedra_keep_their_shape():
    rng = np.random.default_rng(1)
    skew = np.eye(3) + 0.3 * rng.standard_normal((3, 3))
    for mesh in (unit_cube(1), unit_cube(1).transform(lambda x: skew @ x)):
        for order in ([0, 1, 2, 3], [1, 0, 2, 3], [3, 1, 0, 2]):
            refined = Mesh(mesh.points, mesh.cells[order])
            qualities = []
            for _ in range(4):
                qualities.append(shape_quality(refined))
                refined = refined.refine()
            # Bey: at most three classes of congruent tetrahedra, all of them there after two refinements
            assert np.isclose(qualities[3], qualities[2])
            assert qualities[3] > 0.1 * qualities[0]


def test_cells_become_positively_oriented():
    mesh = Mesh([[0, 1, 0], [0, 0, 1]], [[0], [2], [1]])
    assert mesh.volumes.tolist() == [0.5]
    mirrored = unit_cube(2).transform(lambda x: -x)
    assert (mirrored.volumes > 0).all()
    check_conforming(mirrored)


def test_arrays_given_are_copied():
    points, cells = np.array([[0.0, 1.0]]), np.array([[1], [0]])
    mesh = Mesh(points, cells)
    points += 1
    assert mesh.points.tolist() == [[0, 1]]
    assert cells.tolist() == [[1], [0]]
    assert mesh.cells.tolist() == [[0], [1]]


def test_tags_by_midpoints():
    mesh = unit_square(4).tag_part("low", lambda x: x[1] < 0.5).tag_boundary("inlet", lambda x: x[0] < 0.1)
    assert np.isclose(mesh.volumes[mesh.part("low")].sum(), 0.5)
    assert (mesh.points[1, mesh.cells[:, mesh.part("low")]] <= 0.5).all()
    assert np.isclose(measure(mesh, "inlet"), 1)
    moved = mesh.transform(lambda x: 2 * x)
    assert np.array_equal(moved.part("low"), mesh.part("low"))
    assert np.isclose(measure(moved, "inlet"), 2)
    assert len(mesh.tag_part("low", lambda x: x[1] < 0.25).part("low")) == 8


def test_wrong_predicates_are_refused():
    mesh = unit_square(2)
    for tag in (mesh.tag_part, mesh.tag_boundary):
        with pytest.raises(MeshError, match='"far" selects nothing'):
            tag("far", lambda x: x[0] > 2)
        with pytest.raises(MeshError, match="must return booleans"):
            tag("far", lambda x: x[0])
        with pytest.raises(MeshError, match="must return booleans"):
            tag("far", lambda x: x[0, :1] > 0)
    with pytest.raises(MeshError, match="both a part and a boundary"):
        mesh.tag_part("left", lambda x: x[0] < 0.5)
    with pytest.raises(MeshError, match="reserved"):
        mesh.tag_boundary("boundary", lambda x: x[0] < 0.1)
    with pytest.raises(MeshError, match="reserved"):
        mesh.tag_part("boundary", lambda x: x[0] < 0.5)


def test_unknown_tags_are_refused_with_the_known_ones():
    with pytest.raises(MeshError, match=r'no boundary "outlet".*"left", "right"'):
        unit_interval(2).facets("outlet")
    with pytest.raises(MeshError, match='no part "core"; it has: none'):
        unit_interval(2).part("core")


TRIANGLE = [[0, 1, 0], [0, 0, 1]]
FAN = [[0, 1, 0, 1, 0.5], [0, 0, 1, 1, -1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [[0], [1]]), "2 axes"),
        (([[0, 1]], [[0], [1], [0]]), "shape"),
        (([["a", "b"]], [[0], [1]]), "numbers of type float64"),
        (([[0, 1]], [[0.0], [1.0]]), "numbers of type int64"),
        (([[0, 1]], np.zeros((2, 0), int)), "m > 0"),
        (([[0, np.nan]], [[0], [1]]), "Point 1 .* not finite"),
        (([[0, 1]], [[0], [2]]), "Cell 0 refers"),
        (([[0, 1]], [[0], [-1]]), "Cell 0 refers"),
        (([[0, 1, 2, 3]], [[0], [1]]), "2 points belong to no cell, the first is 2"),
        (([[0, 0.1, 0.3], [0, 0.1, 0.3]], [[0], [1], [2]]), "Cell 0 is degenerate"),
        (([[0, 1]], [[0, 0], [1, 0]]), "Cell 1 is degenerate"),
        (([[0, 1]], [[0, 1], [1, 0]]), "Cell 1 has the same vertices"),
        ((FAN, [[0, 0, 0], [1, 1, 1], [2, 3, 4]]), r"vertices \[0, 1\] belongs to more than two"),
        ((TRIANGLE, [[0], [1], [2]], {"a": [0, 1]}), 'Part "a".* from 0 to 0'),
        ((TRIANGLE, [[0], [1], [2]], {"a": []}), 'Part "a"'),
        ((TRIANGLE, [[0], [1], [2]], {"boundary": [0]}), "reserved"),
        ((TRIANGLE, [[0], [1], [2]], {"a": [0]}, {"a": [[0], [1]]}), '"a" names both'),
        ((TRIANGLE, [[0], [1], [2]], {}, {"a": [[0], [3]]}), 'Boundary "a" refers'),
        ((TRIANGLE, [[0], [1], [2]], {}, {"a": [[0], [1], [2]]}), r"shape \(2, k\)"),
        ((TRIANGLE, [[0], [1], [2]], {}, {"boundary": [[0], [1]]}), "reserved"),
    ],
)
def test_wrong_meshes_are_refused(arguments, message):
    with pytest.raises(MeshError, match=message):
        Mesh(*arguments)


def test_thin_cells_are_not_degenerate():
    assert unit_cube(2).transform(lambda x: np.diag([1, 1e-6, 1e-6]) @ x).volumes.min() > 0
    assert unit_cube(2).transform(lambda x: 1e-9 * x).volumes.min() > 0


def test_wrong_transformations_are_refused():
    mesh = unit_square(2)
    with pytest.raises(MeshError, match="folds"):
        mesh.transform(lambda x: np.array([np.abs(x[0] - 0.5), x[1]]))
    with pytest.raises(MeshError, match="degenerate"):
        mesh.transform(lambda x: np.array([x[0], 0 * x[0]]))
    with pytest.raises(MeshError, match="shape"):
        mesh.transform(lambda x: x[0] * np.ones((3, 1)))
    with pytest.raises(MeshError, match="not finite"):
        mesh.transform(lambda x: np.where(x == 1, np.nan, x))


def check_two_materials(mesh, tolerance=1e-9):
    assert mesh.dim == 2
    assert set(mesh.parts) == {"inside", "outside"}
    assert set(mesh.boundaries) == {"boundary", "wall", "floor", "lid", "interface"}
    radius = np.linalg.norm(mesh.points - 0.5, axis=0)
    assert radius[mesh.cells[:, mesh.part("inside")]].max() < 0.25 + tolerance
    assert radius[mesh.cells[:, mesh.part("outside")]].min() > 0.25 - tolerance
    assert np.allclose(radius[mesh.facets("interface")], 0.25, atol=tolerance)
    assert np.isclose(mesh.volumes.sum(), 1)
    assert [round(measure(mesh, tag), 12) for tag in ("wall", "floor", "lid", "boundary")] == [2, 1, 1, 4]
    assert np.isclose(measure(mesh, "interface"), np.pi / 2, rtol=0.01)
    assert len(mesh.part("inside")) + len(mesh.part("outside")) == mesh.cells.shape[1]


def test_file_of_gmsh(capfd):
    check_two_materials(read_mesh(TWO_MATERIALS))
    check_two_materials(read_mesh(str(TWO_MATERIALS)).refine(), tolerance=0.01)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("version", ["2.2", "4.1"])
def test_formats_of_gmsh(tmp_path, version, binary):
    path = tmp_path / "mesh.msh"
    meshio.gmsh.write(path, meshio.gmsh.read(TWO_MATERIALS), version, binary=binary)
    mesh = read_mesh(path)
    check_two_materials(mesh)
    assert np.array_equal(mesh.cells, read_mesh(TWO_MATERIALS).cells)


# The unit square in two triangles, each an entity of its own. Curve 1 is the bottom, curve 2 the diagonal.
# Point 9 is in no cell.
GROUPS_41 = """$MeshFormat
4.1 0 8
$EndMeshFormat
$PhysicalNames
4
1 1 "bottom"
1 2 "both"
2 3 "lower"
2 4 "all of it"
$EndPhysicalNames
$Entities
0 2 2 0
1 0 0 0 1 0 0 2 1 -2 0
2 0 0 0 1 1 0 2 2 7 0
1 0 0 0 1 1 0 3 3 4 8 2 1 -2
2 0 0 0 1 1 0 1 4 0
$EndEntities
$Nodes
1 5 2 9
2 1 0 5
2
9
4
6
8
0 0 0
5 5 0
1 0 0
1 1 0
0 1 0
$EndNodes
$Elements
4 4 1 4
1 1 1 1
1 2 4
1 2 1 1
2 6 2
2 1 2 1
3 2 4 6
2 2 2 1
4 2 6 8
$EndElements
"""

# Format 2.2 lists the elements once for each of their groups.
GROUPS_22 = """$MeshFormat
2.2 0 8
$EndMeshFormat
$PhysicalNames
4
1 1 "bottom"
1 2 "both"
2 3 "lower"
2 4 "all of it"
$EndPhysicalNames
$Nodes
5
2 0 0 0
9 5 5 0
4 1 0 0
6 1 1 0
8 0 1 0
$EndNodes
$Elements
9
1 1 2 1 1 2 4
2 1 2 2 1 2 4
3 1 2 2 2 6 2
4 1 2 7 2 6 2
5 2 2 3 1 2 4 6
6 2 2 4 1 2 4 6
7 2 2 8 1 2 4 6
8 2 2 4 2 2 6 8
9 15 2 0 1 9
$EndElements
"""


@pytest.mark.parametrize("text", [GROUPS_41, GROUPS_22], ids=["4.1", "2.2"])
def test_elements_are_in_all_of_their_groups(tmp_path, text):
    path = tmp_path / "groups.msh"
    path.write_text(text)
    mesh = read_mesh(path)
    assert mesh.points.tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]
    assert mesh.cells.shape == (3, 2)
    assert {tag: cells.tolist() for tag, cells in mesh.parts.items()} == {
        "lower": [0],
        "all of it": [0, 1],
        "8": [0],
    }
    facets = {tag: sorted(map(tuple, facets.T.tolist())) for tag, facets in mesh.boundaries.items()}
    assert facets == {
        "bottom": [(0, 1)],
        "both": [(0, 1), (0, 2)],
        "7": [(0, 2)],
        "boundary": [(0, 1), (0, 3), (1, 2), (2, 3)],
    }


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("version", ["2.2", "4.1"])
def test_truncated_files_are_refused(tmp_path, capfd, version, binary):
    whole, part = tmp_path / "whole.msh", tmp_path / "part.msh"
    meshio.gmsh.write(whole, meshio.gmsh.read(TWO_MATERIALS), version, binary=binary)
    capfd.readouterr()
    content = whole.read_bytes()
    end = content.rindex(b"$EndElements")
    sections = [i for i in range(end) if content[:i].endswith(b"\n") and content[i : i + 1] == b"$"]
    for length in [*sections, *range(0, end, 211)]:
        part.write_bytes(content[:length])
        with pytest.raises(MeshError, match=r"part\.msh"):
            read_mesh(part)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"solid ascii\n",
        bytes(range(256)) * 20,
        b"$MeshFormat\n$EndMeshFormat\n",
        b"$MeshFormat\n9.9 0 8\n$EndMeshFormat\n",
        b"$MeshFormat\n4.1 1 8\n" + bytes(range(256)) + b"\n$EndMeshFormat\n",
        GROUPS_41.replace("2 4 6", "2 4 x").encode(),
        GROUPS_41.replace("2 4 6", "2 4 5").encode(),
        GROUPS_22.replace("2 4 6", "2 4 5").encode(),
        GROUPS_41.replace("0 2 2 0", "0 2 1 0").encode(),
        GROUPS_41.replace("3 2 4 6\n", "").encode(),
        GROUPS_22.replace("8 2 2 4 2 2 6 8\n", "").encode(),
        GROUPS_22.replace("8 0 1 0\n", "").encode(),
        GROUPS_41.replace("4 4 1 4", "4 5 1 5").encode(),
        GROUPS_41.replace("\n1 1 0\n", "\nnan 1 0\n").encode(),
        GROUPS_22.replace("6 1 1 0", "6 1e300 1e300 0").encode(),
    ],
)
def test_garbage_is_refused(tmp_path, capfd, content):
    path = tmp_path / "garbage.msh"
    path.write_bytes(content)
    with pytest.raises(MeshError, match=r"garbage\.msh"):
        read_mesh(path)
    assert capfd.readouterr() == ("", "")


def test_missing_files_are_refused(tmp_path):
    for path in (tmp_path / "missing.msh", tmp_path):
        with pytest.raises(MeshError, match="cannot be opened"):
            read_mesh(path)


def write(path, points, cells, groups):
    """A file of format 2.2 with one physical group for each block of cells."""
    blocks = [np.full(len(data), group) for group, (_, data) in zip(groups, cells, strict=True)]
    raw = meshio.Mesh(points, cells, cell_data={"gmsh:physical": blocks, "gmsh:geometrical": blocks})
    meshio.gmsh.write(path, raw, "2.2", binary=False)
    return path


SQUARE = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("points", "cells", "message"),
    [
        (SQUARE, [("quad", [[0, 1, 2, 3]])], "type quad"),
        (SQUARE, [("triangle", [[0, 1, 2]]), ("quad", [[0, 1, 2, 3]])], "type quad"),
        (SQUARE, [("line3", [[0, 1, 2]])], "type line3.*first order"),
        (SQUARE, [("vertex", [[0]])], "no cells"),
        (np.add(SQUARE, [0, 0, 1]), [("triangle", [[0, 1, 2]])], "x-y plane"),
        (SQUARE, [("line", [[0, 1]])], "cells of dimension 1 only.* give it a physical group.* format 4.1"),
        (SQUARE, [("triangle", [[0, 1, 2]]), ("line", [[2, 3]])], "belong to no cell"),
        (
            SQUARE,
            [("triangle", [[0, 1, 2], [0, 2, 3]]), ("line", [[1, 3]])],
            'Boundary "2" has .* not a facet of any cell',
        ),
        ([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [("triangle", [[0, 1, 2]])], "degenerate"),
    ],
)
def test_files_of_other_meshes_are_refused(tmp_path, points, cells, message):
    path = write(tmp_path / "other.msh", np.array(points, float), cells, range(1, len(cells) + 1))
    with pytest.raises(MeshError, match=message) as caught:
        read_mesh(path)
    assert "other.msh" in str(caught.value)


# Gmsh lists all entities of the geometry, and of the elements those of the physical groups.
INTERVAL_41 = """$MeshFormat
4.1 0 8
$EndMeshFormat
$PhysicalNames
2
0 2 "end"
1 1 "all"
$EndPhysicalNames
$Entities
2 1 0 0
1 0 0 0 0
2 3 0 0 1 2
1 0 0 0 3 0 0 1 1 2 1 -2
$EndEntities
$Nodes
3 3 1 3
0 1 0 1
1
0 0 0
0 2 0 1
3
3 0 0
1 1 0 1
2
1 0 0
$EndNodes
$Elements
2 3 1 3
0 2 15 1
1 3
1 1 1 2
2 1 2
3 2 3
$EndElements
"""


def test_file_of_an_interval_and_of_a_box(tmp_path):
    path = tmp_path / "line.msh"
    path.write_text(INTERVAL_41)
    mesh = read_mesh(path)
    assert mesh.dim == 1
    assert mesh.volumes.tolist() == [1, 2]
    assert mesh.facets("end").tolist() == [[mesh.points[0].argmax()]]
    cube = unit_cube(2)
    cells = [("tetra", cube.cells.T), ("triangle", cube.facets("top").T)]
    mesh = read_mesh(write(tmp_path / "cube.msh", cube.points.T, cells, [1, 2]))
    assert np.array_equal(mesh.cells, cube.cells)
    assert np.isclose(measure(mesh, "2"), 1)


def test_group_named_boundary(tmp_path):
    path = tmp_path / "groups.msh"
    for name, facets in (("bottom", ["1 1 2 1 1 2 4"]), ("bottom", ["1 1 2 1 1 2 4", "2 1 2 1 1 6 2"])):
        text = GROUPS_22.replace(name, "boundary")
        start, end = text.index("$Elements"), text.index("5 2 2 3")
        text = text[:start] + f"$Elements\n{5 + len(facets)}\n" + "\n".join(facets) + "\n" + text[end:]
        path.write_text(text)
        with pytest.raises(MeshError, match=r"groups\.msh.*reserved.*rename"):
            read_mesh(path)
    facets = ["1 1 2 1 1 2 4", "2 1 2 1 1 4 6", "3 1 2 1 1 6 8", "4 1 2 1 1 8 2"]
    path.write_text(text[:start] + "$Elements\n9\n" + "\n".join(facets) + "\n" + text[text.index("5 2 2 3") :])
    assert read_mesh(path).facets("boundary").shape == (2, 4)


def test_domains_of_which_only_a_side_was_saved_are_refused(tmp_path):
    path = tmp_path / "side.msh"
    curve, surface = "1 0 0 0 3 0 0 1 1 2 1 -2", "1 0 0 0 3 3 0 0 1 1"
    path.write_text(INTERVAL_41.replace("2 1 0 0\n", "2 1 1 0\n").replace(curve, f"{curve}\n{surface}"))
    with pytest.raises(MeshError, match=r"side\.msh: the geometry has dimension 2, .* no cells .* physical group"):
        read_mesh(path)
    whole = GROUPS_41.replace("0 2 2 0\n", "0 2 2 1\n").replace("$EndEntities", "1 0 0 0 1 1 1 0 2 1 2\n$EndEntities")
    path.write_text(whole)
    with pytest.raises(MeshError, match=r"side\.msh: the geometry has dimension 3"):
        read_mesh(path)


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (GROUPS_41, '2 3 "lower"', '2 3 "bottom"'),
        (GROUPS_22, '2 3 "lower"', '2 3 "bottom"'),
        (GROUPS_22, '1 2 "both"', '1 2 "bottom"'),
        (GROUPS_41, '2 4 "all of it"', '3 9 "both"'),
    ],
)
def test_a_name_of_two_groups_is_refused(tmp_path, text, old, new):
    path = tmp_path / "names.msh"
    assert old in text
    path.write_text(text.replace(old, new))
    name, dim, number = new.split()[2], new.split()[0], new.split()[1]
    message = f"the name {name} is that of two physical groups, .* number {number} of dimension {dim}; rename"
    with pytest.raises(MeshError, match=rf"names\.msh: {message}"):
        read_mesh(path)


@pytest.mark.parametrize("text", [GROUPS_41, GROUPS_22], ids=["4.1", "2.2"])
def test_a_name_that_is_the_number_of_another_group_is_refused(tmp_path, text):
    path = tmp_path / "names.msh"
    path.write_text(text.replace('"both"', '"7"'))
    with pytest.raises(MeshError, match=r'names\.msh: the name "7" .* number of another'):
        read_mesh(path)


PARTITIONED_41 = GROUPS_41.replace("$Nodes", "$PartitionedEntities\n2\n0\n0 0 0 0\n$EndPartitionedEntities\n$Nodes")
PARTITIONED_22 = GROUPS_22.replace("8 2 2 4 2 2 6 8", "8 2 4 4 2 1 1 2 6 8")


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("text", [PARTITIONED_41, PARTITIONED_22], ids=["4.1", "2.2"])
def test_partitioned_files_are_refused(tmp_path, text, binary):
    path = tmp_path / "part.msh"
    path.write_text(text)
    if binary and text is PARTITIONED_22:
        head, elements = b"$MeshFormat\n2.2 1 8\n" + struct.pack("=i", 1) + b"\n$EndMeshFormat\n", b""
        for row in ([1, 1, 2, 1, 1, 2, 4], [2, 2, 4, 2, 3, 1, 1, 2, 4, 6]):
            kind, tags = row[1], row[2]
            elements += struct.pack(f"=3i{len(row) - 2}i", kind, 1, tags, row[0], *row[3:])
        path.write_bytes(head + b"$Elements\n2\n" + elements + b"\n$EndElements\n")
    with pytest.raises(MeshError, match=r"part\.msh: the mesh is partitioned"):
        read_mesh(path)


def beside(one, other, shift):
    """Points and cells of two meshes, the second moved; none are shared."""
    points = np.hstack([one.points, other.points + np.array(shift)[:, None]])
    return points, np.hstack([one.cells, other.cells + one.points.shape[1]])


UNITS = {1: unit_interval, 2: unit_square, 3: unit_cube}
MIRRORED = unit_cube(2).transform(lambda x: np.array([x[0], 1 - x[1], x[2]]))
BAR = unit_square((1, 3)).transform(lambda x: x * np.array([[0.1], [1.0]]))
ACROSS = unit_square((3, 1)).transform(lambda x: x * np.array([[1.0], [0.1]]))
SMALL = {dim: UNITS[dim](2).transform(lambda x: 0.04 * x) for dim in UNITS}


def right(dim, step=1.0):
    return [step] + [0.0] * (dim - 1)


@pytest.mark.parametrize("dim", UNITS)
def test_points_at_the_same_place_are_refused_merged_or_left_apart(dim):
    one = UNITS[dim](3)
    points, cells = beside(one, one, right(dim))
    count = 4 ** (dim - 1)
    with pytest.raises(MeshError, match=rf"both at x = \[1.0.*\({count} points .*weld=True .*weld=False"):
        Mesh(points, cells)
    side = one.facets("right")
    merged = Mesh(points, cells, {"first": [0]}, {"middle": side}, weld=True)
    assert merged.points.shape[1] == points.shape[1] - count
    assert np.array_equal(merged.points[:, merged.cells], points[:, cells])
    assert np.array_equal(merged.points[:, merged.facets("middle")], points[:, side])
    assert merged.facets("boundary").shape[1] == 2 * (one.facets("boundary").shape[1] - side.shape[1])
    check_conforming(merged)
    apart = Mesh(points, cells, weld=False)
    assert apart.facets("boundary").shape[1] == 2 * one.facets("boundary").shape[1]
    again = apart.refine().tag_part("half", lambda x: x[0] < 1).transform(lambda x: 2 * x)
    assert np.isclose(again.volumes.sum(), 2 * 2**dim)


def slit(weld):
    """The unit square with a cut from (1/2, 0) to its centre, whose tip is one point."""
    mesh = unit_square(8)
    cut = np.flatnonzero((mesh.points[0] == 0.5) & (mesh.points[1] < 0.49))
    other = np.arange(mesh.points.shape[1])
    other[cut] = mesh.points.shape[1] + np.arange(len(cut))
    right_of_it = mesh.points[0, mesh.cells].mean(axis=0) > 0.5
    cells = np.where(right_of_it, other[mesh.cells], mesh.cells)
    return Mesh(np.hstack([mesh.points, mesh.points[:, cut]]), cells, weld=weld)


def test_controls_differ_on_the_sides_of_a_slit():
    """The estimate of the discretisation compares each side with its own refinement."""
    mesh = slit(False).tag_boundary("side", lambda x: x[0] == 1)
    problem = pc.ControlProblem(
        pc.Elliptic(), pc.Distributed(), pc.Tracking(lambda x: x[0] * x[1]), [pc.Tikhonov(1e-3)],
        {"side": pc.Dirichlet(1.0)},
    )  # fmt: skip
    result = pc.solve(problem, mesh, discretisation=True)
    u, same_place = result.control.array, [4, 13, 22, 31]
    assert np.abs(u[-4:] - u[same_place]).min() > 1
    assert 0 < result.certificate.discretisation < 0.05 * result.certificate.norm


def test_slits_are_left_apart_where_they_are_meant():
    with pytest.raises(MeshError, match=r"both at x = \[0.5, 0.0\].*4 points"):
        slit(None)
    assert slit(False).facets("boundary").shape[1] == 32 + 8
    assert slit(False).refine().facets("boundary").shape[1] == 2 * (32 + 8)
    assert slit(True).facets("boundary").shape[1] == 32


# Points and cells, the values of weld with which they are refused, and what is said.
TOUCHING, ALWAYS = (None, True), (None, True, False)
WRONG = {
    "hanging node": (
        beside(unit_square(2), unit_square(3), [1.0, 0.1]), TOUCHING, r"hanging node: at x = \[1.0, 0.1\]"),
    "hanging node in 3D": (beside(unit_cube(2), unit_cube(2), [1.0, 0.1, 0.2]), TOUCHING, "hanging node"),
    "hanging node that is shared": (
        ([[0, 1, 0, 1, 0.5], [0, 0, 1, 1, 0.5]], [[0, 1, 3], [1, 3, 2], [2, 4, 4]]), TOUCHING,
        r"Point 4 .* hanging node: at x = \[0.5, 0.5\]"),
    "diagonals that differ": (beside(unit_cube(2), MIRRORED, right(3)), (True,), "no facet in common"),
    "overlap": (
        beside(unit_square(3), unit_square(3), [0.9, 0.03]), ALWAYS, r"overlap: point .* at x = \[0.9, 0.03\]"),
    "overlap in 1D": (beside(unit_interval(3), unit_interval(2), [0.9]), ALWAYS, r"overlap: .* at x = \[0.9\]"),
    "overlap in 3D": (beside(unit_cube(2), unit_cube(2), [0.9, 0.1, 0.2]), ALWAYS, "overlap"),
    "bars across": (beside(BAR, ACROSS, [-0.35, 0.4]), ALWAYS, "overlap: the boundary of .* crosses"),
    "same side": (([[0, 1, 0, 0.1], [0, 0, 1, 0.3]], [[0, 0], [1, 1], [2, 3]]), ALWAYS, "Cells 0 and 1 overlap.*side"),
    **{f"copy in {dim}D": (
        beside(UNITS[dim](3), UNITS[dim](3), [0.0] * dim), (False,), "overlap: other cells lie over") for dim in UNITS},
    **{f"far inside in {dim}D": (
        beside(UNITS[dim](4), SMALL[dim], [0.31] * dim), ALWAYS, "overlap: other cells lie over") for dim in UNITS},
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_cells_that_overlap_or_do_not_match_are_refused(name):
    (points, cells), choices, message = WRONG[name]
    for weld in choices:
        with pytest.raises(MeshError, match=message):
            Mesh(points, cells, weld=weld)
    if False not in choices:
        assert (Mesh(points, cells, weld=False).volumes > 0).all()


def part_of(mesh, kept):
    vertices, cells = np.unique(mesh.cells[:, kept], return_inverse=True)
    return Mesh(mesh.points[:, vertices], cells.reshape(mesh.dim + 1, -1))


def test_images_that_overlap_are_refused():
    def wound(turns, growth):
        return unit_square((60, 2)).transform(
            lambda x: (1 + growth * x[0] + 0.5 * x[1]) * np.array([np.cos(turns * x[0]), np.sin(turns * x[0])])
        )

    assert wound(9.0, 1.2).dim == wound(6.2, 0.0).dim == 2
    with pytest.raises(MeshError, match="overlap"):
        wound(9.0, 0.3)
    with pytest.raises(MeshError, match=r"both at x = \[1.0, .*\(3 points"):
        wound(2 * np.pi, 0.0)


def test_meshes_of_all_kinds_are_accepted():
    random = np.random.default_rng(5)
    square, cube = unit_square(12), unit_cube(4)
    for mesh in (
        part_of(square, (square.points[:, square.cells].mean(axis=1) < 0.5).any(axis=0)),
        part_of(square, random.random(square.cells.shape[1]) < 0.7),
        part_of(cube, random.random(cube.cells.shape[1]) < 0.7),
        square.transform(lambda x: x**7),
        square.transform(lambda x: np.array([[1.0, 1e-7], [1.0, -1e-7]]) @ x),
        square.transform(lambda x: 1e-2 * x + 5e6),
        cube.transform(lambda x: x**5),
        cube.transform(lambda x: np.array([[1.0], [1e-5], [1e-6]]) * x),
    ):
        again = Mesh(mesh.points, mesh.cells)
        assert np.array_equal(again.cells, mesh.cells)
    # parts that do not touch, near to each other and of very different sizes
    tiny = square.transform(lambda x: 1e-4 * x)
    assert Mesh(*beside(square, tiny, [1 + 1e-9, 0.54])).facets("boundary").shape[1] == 96
    assert Mesh(*beside(cube, cube, [1.001, 0.0, 0.0])).facets("boundary").shape[1] == 2 * 6 * 32
