"""Whether a mesh fits its interfaces; edges bent, and vertices moved, onto them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..arrays import Array
from ..errors import MeshError, ProblemError
from ..problem.interfaces import Interface
from ..problem.shapes import Shape, Sphere
from .cells import edge_determinants, facets_of, number_columns
from .domains import still_shape
from .mesh import Mesh, known


class Mismatch(NamedTuple):
    """How far, where and in what a mesh and an interface differ."""

    size: float
    place: Array
    what: str


def check_fit(mesh: Mesh, tag: str, interface: Interface, degree: int = 1) -> None:
    """Raise MeshError with the largest mismatch, unless the facets of a boundary follow Gamma and its sides are right.

    The vertices of a facet of length h may be off Gamma by h / 8 ||n1 - n2|| + 1e-6 h, where n1 and n2 are the normals
    of the shape at its ends: so much is between a chord and its arc. On one side of each facet are cells of the part
    `inside`; they, and all of this part that are connected with them, have their middles inside the shape, those on
    the other side outside. The facets are closed, and no point of Gamma is far from them.

    Examples
    --------
    >>> from pdecontrol.mesh.gmsh import read_mesh
    >>> from pdecontrol.problem.shapes import Circle
    >>> mesh = read_mesh("meshes/two_materials.msh")
    >>> check_fit(mesh, "interface", Interface(Circle(0.25, (0.5, 0.5))))
    >>> check_fit(mesh, "interface", Interface(Circle(0.25, (0.51, 0.52))))
    Traceback (most recent call last):
    pdecontrol.errors.MeshError: The mesh does not fit the interface "interface": a vertex is off Gamma by 0.022 at x =
    [0.404329, 0.26903]; correct the shape, or mesh it anew (fitted_mesh).
    """
    if interface.shape is None:
        return  # the mesh alone says where it is
    shape = still_shape(tag, interface, mesh.dim)
    facets = mesh.facets(tag)
    try:
        mismatches = [*_vertices(mesh, facets, shape, degree), *_sides(mesh, tag, facets, shape, interface.inside)]
        if not mismatches:
            mismatches = _uncovered(mesh, facets, shape)
    except ProblemError as error:
        raise MeshError(f'The mesh does not fit the interface "{tag}": {error}') from error
    if mismatches:
        largest = max(mismatches, key=lambda mismatch: mismatch.size)
        place = [float(f"{value:.6g}") for value in largest.place]
        raise MeshError(
            f'The mesh does not fit the interface "{tag}": {largest.what} by {largest.size:.2g} at x = {place}; '
            "correct the shape, or mesh it anew (fitted_mesh)."
        )
    _refuse_open(mesh, tag, facets)


def bent(mesh: Mesh, tag: str, shape: Shape) -> Mesh:
    """The mesh with the middles of the edges on a boundary projected on Gamma, as bends of cells of degree 2.

    Edges that Gamma leaves straight are not bent. Other bends of the mesh are kept.

    Examples
    --------
    >>> from pdecontrol.mesh.gmsh import read_mesh
    >>> from pdecontrol.problem.shapes import Circle
    >>> mesh = bent(read_mesh("meshes/two_materials.msh"), "interface", Circle(0.25, (0.5, 0.5)))
    >>> edges, places = mesh.bends
    >>> np.allclose(np.linalg.norm(places - 0.5, axis=0), 0.25, rtol=1e-14)
    True
    """
    facets = mesh.facets(tag)
    edges = np.sort(np.hstack([np.stack(pair) for pair in combinations(facets, 2)]), axis=0)
    edges = edges[:, number_columns(edges)[0]]
    ends = mesh.points[:, edges]
    middles = ends.mean(axis=1)
    places = shape.project(middles)
    curved = np.linalg.norm(places - middles, axis=0) > 1e-13 * np.linalg.norm(ends[:, 0] - ends[:, 1], axis=0)
    edges, places = edges[:, curved], places[:, curved]
    if mesh.bends is not None:
        edges, places = np.hstack([edges, mesh.bends[0]]), np.hstack([places, mesh.bends[1]])
        first = number_columns(edges)[0]  # of edges that are bent already the new bend
        edges, places = edges[:, first], places[:, first]
    bends = (edges, places) if edges.size else None
    return known(mesh.points, mesh.cells, mesh.parts, mesh.boundaries, mesh.weld, bends)


def snapped(mesh: Mesh, interface: Mapping[str, Interface]) -> Mesh:
    """The mesh with the vertices on its interfaces moved onto their shapes, as it is to be after `Mesh.refine`.

    Raises
    ------
    MeshError
        If a cell becomes degenerate.

    Examples
    --------
    >>> from pdecontrol.mesh.gmsh import read_mesh
    >>> from pdecontrol.problem.shapes import Circle
    >>> fine = read_mesh("meshes/two_materials.msh").refine()
    >>> fine = snapped(fine, {"interface": Interface(Circle(0.25, (0.5, 0.5)))})
    >>> x = fine.points[:, fine.facets("interface")]
    >>> np.allclose(np.linalg.norm(x - 0.5, axis=0), 0.25, rtol=1e-14)
    True
    """
    points = mesh.points.copy()
    for tag, item in interface.items():
        if item.shape is None:
            continue
        vertices = np.unique(mesh.facets(tag))
        points[:, vertices] = still_shape(tag, item, mesh.dim).project(points[:, vertices])
    shares = edge_determinants(points, mesh.cells) / edge_determinants(mesh.points, mesh.cells)
    if shares.min() < 0.02:
        worst = np.argmin(shares)
        place = points[:, mesh.cells[:, worst]].mean(axis=1).round(6).tolist()
        raise MeshError(
            f"Cell {worst} at x = {place} becomes degenerate when the vertices on the interfaces are moved onto these; "
            "make the mesh finer there."
        )
    return known(points, mesh.cells, mesh.parts, mesh.boundaries, mesh.weld, mesh.bends)


def _vertices(mesh: Mesh, facets: Array, shape: Shape, degree: int) -> list[Mismatch]:
    """Vertices that are farther from Gamma than a chord, or parabola, from its arc."""
    vertices, numbers = np.unique(facets, return_inverse=True)
    numbers = numbers.reshape(facets.shape)
    x = mesh.points[:, vertices]
    distances, normals = shape.distance(x), shape.normal(x)
    pairs = list(combinations(range(len(facets)), 2))
    lengths = np.max([np.linalg.norm(x[:, numbers[a]] - x[:, numbers[b]], axis=0) for a, b in pairs], axis=0)
    turns = [np.linalg.norm(normals[:, numbers[a]] - normals[:, numbers[b]], axis=0) for a, b in pairs]
    turn = np.max(turns, axis=0)
    allowed = lengths * (turn / 8 if degree == 1 else turn**3 / 512) + 1e-6 * lengths
    off = np.unique(numbers[:, (distances[numbers] > allowed).any(axis=0)])
    return [Mismatch(distances[i], x[:, i], "a vertex is off Gamma") for i in off if distances[i] > allowed.min()]


def _sides(mesh: Mesh, tag: str, facets: Array, shape: Shape, inside: str) -> list[Mismatch]:
    """Cells on the wrong side of Gamma: next to the facets, or connected with these within the part inside."""
    in_part = np.zeros(mesh.cells.shape[1], dtype=bool)
    in_part[mesh.part(inside)] = True
    columns = np.hstack([np.sort(facets_of(mesh.cells), axis=0), facets])
    numbers = number_columns(columns)[1]
    of_cells, tagged = np.split(numbers, [columns.shape[1] - facets.shape[1]])
    order = np.argsort(of_cells, kind="stable")
    cells, ordered = order % mesh.cells.shape[1], of_cells[order]
    begin, end = np.searchsorted(ordered, tagged), np.searchsorted(ordered, tagged, side="right")
    middles = mesh.points[:, facets].mean(axis=1)
    if (end - begin < 2).any():
        place = middles[:, np.argmin(end - begin)].round(6).tolist()
        raise MeshError(f'The interface "{tag}" lies on the boundary of the domain at x = {place}.')
    pairs = np.array([cells[begin], cells[begin + 1]])
    count = in_part[pairs].sum(axis=0)
    if (count != 1).any():
        wrong = np.argmax(count != 1)
        raise MeshError(
            f'The part "{inside}" is on {"both sides" if count[wrong] else "no side"} of the interface "{tag}" at x = '
            f"{middles[:, wrong].round(6).tolist()}."
        )
    inner, outer = np.where(in_part[pairs[0]], pairs, pairs[::-1])
    joined = np.flatnonzero(ordered[1:] == ordered[:-1])
    joined = joined[~np.isin(ordered[joined], tagged)]
    joined = joined[in_part[cells[joined]] & in_part[cells[joined + 1]]]
    links = coo_matrix((np.ones(joined.size), (cells[joined], cells[joined + 1])), 2 * (in_part.size,))
    labels = connected_components(links, directed=False)[1]
    inner, outer = np.flatnonzero(np.isin(labels, labels[inner])), np.unique(outer)
    found = []
    for those, expected in ((inner, True), (outer, False)):
        x = mesh.points[:, mesh.cells[:, those]].mean(axis=1)
        wrong = shape.contains(x) != expected
        if wrong.any():
            x = x[:, wrong]
            distances = shape.distance(x)
            what = f'a cell of "{inside}" lies outside of Gamma' if expected else "a cell on its outer side lies inside"
            found.append(Mismatch(distances.max(), x[:, np.argmax(distances)], what))
    return found


def _uncovered(mesh: Mesh, facets: Array, shape: Shape) -> list[Mismatch]:
    """Points of Gamma that are farther from all facets than these are long."""
    ends = [mesh.points[:, facets[list(pair)]] for pair in combinations(range(len(facets)), 2)]
    lengths = np.max([np.linalg.norm(x[:, 0] - x[:, 1], axis=0) for x in ends], axis=0)
    if isinstance(shape, Sphere):
        # J. H. Hannay, J. F. Nye, Fibonacci numerical integration on a sphere, J. Phys. A 37 (2004)
        height, angle = 1 - 2 * (np.arange(400) + 0.5) / 400, np.pi * (1 + np.sqrt(5)) * np.arange(400)
        across = np.sqrt(1 - height**2)
        on_sphere = np.array([across * np.cos(angle), across * np.sin(angle), height])
        gamma = np.array(shape.centre)[:, None] + shape.radius * on_sphere
    elif mesh.dim == 2:
        box = list(zip(mesh.points.min(axis=1), mesh.points.max(axis=1), strict=True))
        gamma = np.hstack(shape.curves(float(lengths.max()), 0.5, box))
    else:
        return []
    distances, nearest = cKDTree(mesh.points[:, facets].mean(axis=1).T).query(gamma.T)
    far = distances > lengths[nearest]
    what = "a point of Gamma is away from the facets"
    return [Mismatch(distances[i], gamma[:, i], what) for i in np.flatnonzero(far)]


def _refuse_open(mesh: Mesh, tag: str, facets: Array) -> None:
    """The facets around a vertex, in space around an edge, are two or another even number."""
    ridges = facets_of(facets)
    first, numbers = number_columns(np.sort(ridges, axis=0))
    odd = np.bincount(numbers) % 2 == 1
    if odd.any():
        place = mesh.points[:, ridges[:, first[np.argmax(odd)]]].mean(axis=1).round(6).tolist()
        raise MeshError(f'The interface "{tag}" is not closed: its facets end at x = {place}.')
