"""Piecewise polynomials: evaluation, nodes, values at vertices and lumped mass."""

import time
from itertools import combinations_with_replacement

import numpy as np
import pytest
import skfem

from pdecontrol.errors import DataError, MeshError
from pdecontrol.mesh.elements import cell_lagrange, facet_lagrange
from pdecontrol.mesh.lagrange import Lagrange
from pdecontrol.mesh.shapes import disc, unit_cube, unit_interval, unit_square

EDGES = ((0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3))

MESHES = {
    "interval": unit_interval(7),
    "square": unit_square((5, 4)),
    "disc": disc(5, 2.0),
    "cube": unit_cube((3, 2, 2)),
    "sheared": unit_square(6).transform(lambda x: np.array([[3, 1], [1, 0.5]]) @ x - 100),
    "stretched": unit_square(8).transform(lambda x: np.array([x[0] + x[1], 1e-5 * x[1]])),
    "graded": unit_square(24).transform(lambda x: x**6 + 1e-5 * x),
    "thin box": unit_cube(3).transform(lambda x: np.array([[1], [1e-4], [10]]) * x),
}


@pytest.fixture(params=MESHES, ids=list(MESHES))
def mesh(request):
    return MESHES[request.param]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def quadratic(vertices, simplices):
    """Continuous piecewise quadratics with degrees of freedom at the vertices, then on the edges."""
    corners = len(simplices)
    pairs = np.array([np.sort(simplices[list(e)], axis=0) for e in EDGES[: corners * (corners - 1) // 2]])
    count = vertices.shape[1]
    keys = pairs[:, 0] * count + pairs[:, 1] if corners > 1 else np.zeros((0, simplices.shape[1]), int)
    used, corner_dofs = np.unique(simplices, return_inverse=True)
    edge_dofs = np.unique(keys, return_inverse=True)[1].reshape(keys.shape) + len(used)
    return Lagrange(vertices, simplices, np.vstack([corner_dofs.reshape(simplices.shape), edge_dofs]), 2)


def spaces(mesh, degree):
    """Spaces on the cells, on one part and on the boundary."""
    chosen = mesh.tag_part("half", lambda x: x[0] <= np.median(x[0]))
    if degree < 2:
        return [
            cell_lagrange(mesh, degree),
            cell_lagrange(chosen, degree, "half"),
            facet_lagrange(mesh, "boundary", degree),
        ]
    simplices = [mesh.cells, mesh.cells[:, chosen.part("half")], mesh.facets("boundary")]
    return [quadratic(mesh.points, s) for s in simplices]


def points_in(space, rng, count=500):
    """Random points of random simplices: inside, on faces and at vertices."""
    chosen = rng.integers(0, space.simplices.shape[1], count)
    weights = rng.dirichlet(np.ones(len(space.simplices)), count).T
    weights[:, : count // 4] = np.where(weights[:, : count // 4] < 0.3, 0, weights[:, : count // 4]) + 1e-30
    weights /= weights.sum(axis=0)
    return chosen, np.einsum("ip,dip->dp", weights, space.vertices[:, space.simplices[:, chosen]])


def polynomial(mesh, degree, rng):
    """A random polynomial in coordinates scaled to the bounding box."""
    low, extent = mesh.points.min(axis=1, keepdims=True), np.ptp(mesh.points, axis=1, keepdims=True)
    powers = [c for k in range(degree + 1) for c in combinations_with_replacement(range(mesh.dim), k)]
    factors = rng.standard_normal(len(powers))

    def function(x):
        x = (x - low) / extent
        return sum(a * np.prod(x[list(c)], axis=0) for a, c in zip(factors, powers, strict=True))

    return function


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_polynomials_are_exact(mesh, degree, rng):
    function = polynomial(mesh, degree, rng)
    for space in spaces(mesh, degree):
        assert np.isfinite(space.points).all()
        assert space.points.shape == (mesh.dim, space.size)
        array = function(space.points) * np.ones(space.size)
        _, points = points_in(space, rng)
        # stretching by s costs s roundings of the points
        assert np.allclose(space.evaluate(array, points), function(points), rtol=0, atol=1e-9)


def test_constants_of_each_simplex_are_found(mesh, rng):
    for space in spaces(mesh, 0):
        chosen, points = points_in(space, rng)
        found = space.evaluate(np.arange(space.size), points)
        inside = np.arange(len(chosen)) >= len(chosen) // 4
        assert np.array_equal(found[inside], chosen[inside])
        assert np.array_equal(space.evaluate(np.arange(space.size), space.points), np.arange(space.size))


@pytest.mark.parametrize("degree", [1, 2])
def test_continuous_functions_do_not_depend_on_the_side(mesh, degree, rng):
    for space in spaces(mesh, degree):
        array = rng.standard_normal(space.size)
        assert np.allclose(space.evaluate(array, space.points), array, rtol=0, atol=1e-8)
        shuffled = rng.permutation(space.simplices.shape[1])
        other = Lagrange(space.vertices, space.simplices[:, shuffled], space.dofs[:, shuffled], degree)
        _, points = points_in(space, rng)
        assert np.allclose(space.evaluate(array, points), other.evaluate(array, points), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("mesh", "element"),
    [
        (skfem.MeshLine(np.linspace(0, 1, 5)), skfem.ElementLineP2()),
        (skfem.MeshTri().refined(2), skfem.ElementTriP2()),
        (skfem.MeshTet().refined(1), skfem.ElementTetP2()),
    ],
    ids=["interval", "triangle", "tetrahedron"],
)
def test_local_order_of_degree_two_is_that_of_scikit_fem(mesh, element, rng):
    basis = skfem.Basis(mesh, element)
    space = Lagrange(mesh.p, mesh.t, basis.element_dofs, 2)
    assert np.allclose(space.points, basis.doflocs)
    array = rng.standard_normal(space.size)
    points = rng.random((mesh.dim(), 50))
    assert np.allclose(space.evaluate(array, points), basis.probes(points) @ array)


def test_numbering_is_compact_and_ascending():
    mesh = unit_square(2).tag_part("right half", lambda x: x[0] > 0.5)
    part = cell_lagrange(mesh, 1, "right half")
    used = np.unique(mesh.cells[:, mesh.part("right half")])
    assert part.size == len(used) == 6
    assert np.array_equal(part.points, mesh.points[:, used])
    top = facet_lagrange(mesh, "top", 0)
    assert top.dofs.tolist() == [[0, 1]]
    assert np.array_equal(top.points, mesh.points[:, mesh.facets("top")].mean(axis=1))
    assert np.array_equal(cell_lagrange(mesh, 1).dofs, mesh.cells)


def test_points_outside_are_refused():
    diameter = np.sqrt(2)
    cells, side = cell_lagrange(unit_square(4), 1), facet_lagrange(unit_square(4), "left", 1)
    # just outside is still accepted, for points that carry rounding errors
    edge = np.array([[-0.5e-8 * diameter, 0.3], [0.4, 1 + 0.5e-8 * diameter]])
    assert np.allclose(cells.evaluate(cells.points[0], edge), [0, 0.3], atol=1e-7)
    assert np.allclose(side.evaluate(side.points[1], edge[:, :1]), 0.4)
    beyond = np.array([[0.5, -2e-8 * diameter, 7.0], [0.5, 0.25, 0.0]])
    with pytest.raises(DataError, match=r"2 of 3 points .* point 1 at x = \[-2.8"):
        cells.evaluate(cells.points[0], beyond)
    with pytest.raises(DataError, match=r"3 of 3 points .* point 0 at x = \[0.5, 0.5\]"):
        side.evaluate(side.points[0], beyond)
    with pytest.raises(DataError, match=r"point 0 at x = \[nan, 0.5\]"):
        cells.evaluate(cells.points[0], [[np.nan], [0.5]])
    with pytest.raises(DataError, match="1 of 1 points"):
        side.evaluate(side.points[0], [[0.0], [1.0001]])


def test_part_and_hole_refuse_points_of_the_rest():
    mesh = disc(8).tag_part("ring", lambda x: np.hypot(*x) > 0.5)
    ring = cell_lagrange(mesh, 0, "ring")
    assert ring.evaluate(np.ones(ring.size), [[0.8], [0.0]]) == 1
    with pytest.raises(DataError, match="outside"):
        ring.evaluate(np.ones(ring.size), [[0.1], [0.0]])


def test_contained_points_are_those_that_are_evaluated(rng):
    diameter = np.sqrt(2)
    cells, side = cell_lagrange(unit_square(4), 1), facet_lagrange(unit_square(4), "left", 0)
    points = np.array([[0.3, 1.0, -0.5e-8 * diameter, -2e-8 * diameter, 7.0, np.nan], [0.4, 1.0, 0.5, 0.5, 0, 0]])
    assert cells.contains(points).tolist() == [True, True, True, False, False, False]
    assert side.contains(points).tolist() == [False, False, True, False, False, False]
    mesh = disc(8).tag_part("ring", lambda x: np.hypot(*x) > 0.5)
    ring = cell_lagrange(mesh, 0, "ring")
    points = rng.uniform(-1, 1, (2, 2000))
    radius = np.hypot(*points)
    assert ring.contains(points)[(radius > 0.6) & (radius < 0.99)].all()
    assert not ring.contains(points)[(radius < 0.4) | (radius > 1)].any()
    with pytest.raises(DataError, match=r"points of shape \(2, p\)"):
        cells.contains(np.zeros((3, 1)))


def test_points_as_simplices():
    mesh = unit_interval(4)
    for degree in (0, 1):
        both = facet_lagrange(mesh, "boundary", degree)
        assert both.points.tolist() == [[0, 1]]
        assert both.evaluate([3.0, 4.0], [[1.0, 0.0, 1 - 1e-9]]).tolist() == [4, 3, 4]
        assert both.lumped_mass().tolist() == [1, 1]
        assert np.array_equal(both.nodal([3.0, 4.0]), [3, np.nan, np.nan, np.nan, 4], equal_nan=True)
        right = facet_lagrange(mesh, "right", degree)
        assert right.evaluate([5.0], [[1.0]]).tolist() == [5]
        with pytest.raises(DataError, match="outside"):
            right.evaluate([5.0], [[0.5]])


def test_no_points_have_no_values():
    space = cell_lagrange(unit_square(2), 1)
    assert space.evaluate(np.zeros(space.size), np.zeros((2, 0))).shape == (0,)


@pytest.mark.parametrize("degree", [1, 2])
def test_nodal_values_are_those_at_the_vertices(mesh, degree, rng):
    function = polynomial(mesh, degree, rng)
    for space in spaces(mesh, degree):
        values = space.nodal(function(space.points))
        used = np.unique(space.simplices)
        assert np.allclose(values[used], function(mesh.points[:, used]))
        assert np.isnan(np.delete(values, used)).all()


def test_nodal_values_of_constants_are_weighted_means():
    mesh = unit_interval(3).transform(lambda x: x**2)
    assert np.allclose(cell_lagrange(mesh, 0).nodal([1.0, 2.0, 6.0]), [1, 1.75, 2 + 4 * 5 / 8, 6])
    square = unit_square(1).tag_part("lower", lambda x: x[0] > x[1])
    lower = cell_lagrange(square, 0, "lower").nodal([2.0])
    assert np.isnan(lower).sum() == 1
    assert np.nanmax(lower) == np.nanmin(lower) == 2


@pytest.mark.parametrize("degree", [0, 1])
def test_lumped_mass(mesh, degree):
    cells, part, _ = spaces(mesh, degree)
    assert np.isclose(cells.lumped_mass().sum(), mesh.volumes.sum(), rtol=1e-10)
    chosen = mesh.volumes[mesh.tag_part("half", lambda x: x[0] <= np.median(x[0])).part("half")]
    assert np.isclose(part.lumped_mass().sum(), chosen.sum(), rtol=1e-10)
    # exact for linear functions
    centre = (mesh.points[:, mesh.cells].mean(axis=1) * mesh.volumes).sum(axis=1)
    assert np.allclose(cells.points @ cells.lumped_mass(), centre, rtol=1e-9)


def test_lumped_mass_of_boundaries():
    for degree in (0, 1):
        assert np.isclose(facet_lagrange(unit_cube(3), "top", degree).lumped_mass().sum(), 1)
        perimeter = facet_lagrange(disc(20, 2.0), "boundary", degree).lumped_mass().sum()
        assert np.isclose(perimeter, 120 * 4 * np.sin(np.pi / 120))
    assert np.allclose(facet_lagrange(unit_square(2), "left", 1).lumped_mass(), [0.25, 0.5, 0.25])
    cubic = Lagrange(unit_interval(1).points, np.array([[0], [1]]), np.arange(4)[:, None], 3, np.array(
        [[3, 0], [0, 3], [2, 1], [1, 2]]) / 3)  # fmt: skip
    for space, degree in ((spaces(unit_square(2), 2)[0], 2), (cubic, 3)):
        with pytest.raises(DataError, match=f"degree {degree} have no positive lumped mass"):
            space.lumped_mass()


def test_wrong_arguments_are_refused():
    mesh = unit_square(2)
    space = cell_lagrange(mesh, 1)
    for wrong in (2, -1, "P1", None):
        with pytest.raises(DataError, match="degree 0 or 1"):
            cell_lagrange(mesh, wrong)
        with pytest.raises(DataError, match="degree 0 or 1"):
            facet_lagrange(mesh, "left", wrong)
    with pytest.raises(DataError, match="must be 0, 1 or 2"):
        Lagrange(mesh.points, mesh.cells, mesh.cells, 3)
    with pytest.raises(DataError, match=r"takes dofs of shape \(6, 8\), got \(3, 8\)"):
        Lagrange(mesh.points, mesh.cells, mesh.cells, 2)
    with pytest.raises(DataError, match="Expected 9 coefficients"):
        space.evaluate(np.zeros(8), np.zeros((2, 1)))
    with pytest.raises(DataError, match="Expected 9 coefficients"):
        space.nodal(np.zeros((9, 1)))
    with pytest.raises(DataError, match=r"points of shape \(2, p\)"):
        space.evaluate(np.zeros(9), np.zeros((3, 1)))
    with pytest.raises(MeshError, match="no part"):
        cell_lagrange(mesh, 1, "core")
    with pytest.raises(MeshError, match="no boundary"):
        facet_lagrange(mesh, "outlet", 1)


def test_many_points_are_fast(rng):
    space = cell_lagrange(unit_square(128).transform(lambda x: np.array([x[0], 1e-3 * x[1]])), 1)
    points = rng.random((2, 100_000)) * [[1], [1e-3]]
    start = time.perf_counter()
    values = space.evaluate(space.points[0], points)
    assert time.perf_counter() - start < 5
    assert np.allclose(values, points[0], rtol=0, atol=1e-12)
