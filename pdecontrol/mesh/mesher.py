"""Gmsh as a mesher: polygons with holes in the plane, and balls in a box."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from math import dist
from threading import Timer
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import MeshError

OPTIONS = {
    "General.Terminal": 0,
    "General.NumThreads": 1,
    "Mesh.RandomSeed": 1,
    "Mesh.RandomFactor": 1e-9,
    "Mesh.Algorithm": 6,  # frontal Delaunay
    "Mesh.Algorithm3D": 10,  # HXT
    "Mesh.ElementOrder": 1,
    "Mesh.RecombineAll": 0,
    "Mesh.SubdivisionAlgorithm": 0,
    "Mesh.Smoothing": 1,
    "Mesh.Optimize": 1,
    "Mesh.MeshSizeFactor": 1,
    "Mesh.MeshSizeMin": 0,
    "Mesh.MeshSizeMax": 1e22,
    "Mesh.MeshSizeExtendFromBoundary": 0,
    "Mesh.MeshSizeFromPoints": 0,
    "Mesh.MeshSizeFromCurvature": 0,
}
PATIENCE = 2.0  # seconds
LIBRARIES = "libgl1 libglu1-mesa libgomp1 libxcursor1 libxft2 libxinerama1"


def mesh_polygons(
    loops: Sequence[Array], regions: Sequence[Sequence[int]], size: float, grading: float
) -> tuple[Array, Array, Array]:
    """Triangles between closed polygons, whose points are the first of the mesh, in their order.

    Parameters
    ----------
    loops : corners (2, n) of polygons that do not cross. No point is added to their sides.
    regions : for each region the numbers of its outer polygon and of its holes.
    size, grading : the length of edges away from the polygons, and how fast it grows from the length there.

    Returns
    -------
    points (2, n), cells (3, m), and the region of each cell.
    """
    with _session() as gmsh, _announced(size):
        geometry, fields = gmsh.model.geo, gmsh.model.mesh.field
        contours, lines = [], []
        for loop in loops:
            points = [geometry.addPoint(*x, 0.0) for x in loop.T]
            sides = [geometry.addLine(*ends) for ends in zip(points, points[1:] + points[:1], strict=True)]
            contours.append(geometry.addCurveLoop(sides))
            lines += sides
        for line in lines:
            geometry.mesh.setTransfiniteCurve(line, 2)
        surfaces = [geometry.addPlaneSurface([contours[i] for i in region]) for region in regions]
        geometry.synchronize()
        field = fields.add("Extend")  # from the sides, as long as they are, to the size at the distance
        fields.setNumbers(field, "CurvesList", lines)
        fields.setNumber(field, "DistMax", size / grading)
        fields.setNumber(field, "SizeMax", size)
        fields.setNumber(field, "Power", 1)
        fields.setAsBackgroundMesh(field)
        gmsh.model.mesh.generate(2)
        places, cells, owners = _simplices(gmsh, 2, surfaces)
    given = np.hstack(loops)
    if not np.array_equal(places[:2, : given.shape[1]], given):
        raise MeshError("gmsh has not kept the points of the interfaces; give another size.")
    return places[:2], cells, owners


def mesh_balls(
    box: Sequence[tuple[float, float]], balls: Sequence[tuple[Array, float, float]], size: float, grading: float
) -> tuple[Array, Array, Array, list[Array]]:
    """Tetrahedra in a box with balls, given by centre, radius and the length of edges at their surfaces.

    Returns
    -------
    points (3, n), cells (4, m), for each cell the smallest ball that it is in or -1, and the vertices (3, k) of the
    facets on each sphere.
    """
    with _session() as gmsh, _announced(size):
        geometry = gmsh.model.occ
        low, high = np.array(box).T
        whole = geometry.addBox(*low, *(high - low))
        solids = [(3, geometry.addSphere(*centre, radius)) for centre, radius, _ in balls]
        made = geometry.fragment([(3, whole)], solids)[1][1:]  # what each ball consists of
        geometry.synchronize()
        largest_first = np.argsort([-radius for _, radius, _ in balls], kind="stable")
        owner = {tag: -1 for _, tag in gmsh.model.getEntities(3)}
        for i in largest_first:
            owner |= {tag: int(i) for _, tag in made[i]}

        def length(dim: int, tag: int, x: float, y: float, z: float, former: float) -> float:
            near_them = (near + grading * abs(dist((x, y, z), centre) - radius) for centre, radius, near in balls)
            return min(size, *near_them)

        # not a field MathEval: that reads beyond its arrays, up to gmsh 4.15, and ends Python where this is checked
        gmsh.model.mesh.setSizeCallback(length)
        gmsh.model.mesh.generate(3)
        volumes = list(owner)
        places, cells, numbers = _simplices(gmsh, 3, volumes)
        surfaces = [gmsh.model.getBoundary(parts, combined=True, oriented=False) for parts in made]
        facets = [_simplices(gmsh, 2, [tag for _, tag in surface])[1] for surface in surfaces]
    used, cells = np.unique(cells, return_inverse=True)
    cells = cells.reshape(4, -1)
    owners = np.array([owner[tag] for tag in volumes])[numbers]
    return places[:, used], cells, owners, [np.searchsorted(used, found) for found in facets]


def _simplices(gmsh: Any, dim: int, entities: Sequence[int]) -> tuple[Array, Array, Array]:
    """All nodes (3, n) in the order of their numbers, the simplices of entities, and the place of each one's entity."""
    tags, coordinates, _ = gmsh.model.mesh.getNodes()
    order = np.argsort(tags, kind="stable")
    found = [
        np.asarray(gmsh.model.mesh.getElementsByType({2: 2, 3: 4}[dim], entity)[1], dtype=np.int64)
        for entity in entities
    ]
    cells = np.searchsorted(tags[order], np.concatenate(found)).reshape(-1, dim + 1).T
    owners = np.repeat(np.arange(len(entities)), [len(nodes) // (dim + 1) for nodes in found])
    return coordinates.reshape(-1, 3)[order].T, cells, owners


@contextmanager
def _session() -> Iterator[Any]:
    """gmsh with a model and options of our own; a session that the user has open stays as it is."""
    try:
        import gmsh
    except ImportError:
        raise MeshError("Fitted meshes are made by gmsh, which is not installed: pip install gmsh.") from None
    except OSError as error:
        raise MeshError(
            f"gmsh cannot be loaded ({error}): install the libraries that it needs, on Debian by apt-get install "
            f"{LIBRARIES}."
        ) from None
    if (gmsh.GMSH_API_VERSION_MAJOR, gmsh.GMSH_API_VERSION_MINOR) < (4, 11):
        raise MeshError(f"gmsh {gmsh.GMSH_API_VERSION} is too old to make fitted meshes: pip install 'gmsh>=4.11'.")
    opened = not gmsh.isInitialized()
    if opened:
        gmsh.initialize(readConfigFiles=False, interruptible=False)
    former, before = gmsh.model.getCurrent(), {name: gmsh.option.getNumber(name) for name in OPTIONS}
    taken = gmsh.model.list()
    try:
        for name, value in OPTIONS.items():
            gmsh.option.setNumber(name, value)
        gmsh.model.add(next(name for name in map("pdecontrol {}".format, count()) if name not in taken))
        try:
            yield gmsh
        except Exception as error:
            raise MeshError(f"gmsh could not mesh the domain: {error}; give another size.") from error
        finally:
            gmsh.model.remove()
    finally:
        for name, value in before.items():
            gmsh.option.setNumber(name, value)
        if opened:
            gmsh.finalize()
        else:
            gmsh.model.setCurrent(former)


@contextmanager
def _announced(size: float) -> Iterator[None]:
    """Say on a terminal what takes long."""
    timer = Timer(PATIENCE, lambda: print(f"meshing with the size {size:g} by gmsh", file=sys.stderr, flush=True))
    if sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
