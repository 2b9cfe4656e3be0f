"""Meshes fitted to interfaces: no cell is cut by a curve or surface Gamma, whose vertices lie exactly on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree

from ..arrays import Array
from ..errors import DataError, MeshError, ProblemError
from ..parallel import world
from ..problem.curves import apart, distances, divided_sides, inside_polygon, signed_area
from ..problem.interfaces import Interface
from ..problem.shapes import Polygon, Shape, Sphere
from .cells import facets_of
from .domains import Domain, box_of, check_tags, corners_of, positive, shapes_of
from .mesh import Mesh
from .mesher import mesh_balls, mesh_polygons

SIDES = (("left", "right"), ("bottom", "top")), (("left", "right"), ("front", "back"), ("bottom", "top"))
RETRIES = 6  # of meshes with tetrahedra that have all vertices on one sphere
TOUCH = 0.1  # of the size: what comes nearer than this touches


def fitted_mesh(
    domain: Domain,
    interface: Mapping[str, Interface],
    size: float,
    *,
    near: float | None = None,
    turn: float | None = None,
    grading: float = 0.3,
    outside: str = "outside",
) -> Mesh:
    """A mesh of triangles or tetrahedra none of which is cut by the interfaces, with their sides as parts.

    The facets on an interface have its tag, as boundaries of the mesh, the cells on its inner side the tag `inside` of
    the interface as part, without those within further interfaces. A rectangle has the boundaries "left", "right" (x0),
    "bottom" and "top" (x1), a box also "front" and "back" (x1; there "bottom" and "top" belong to x2). Under MPI all
    processes call it, and rank 0 meshes for all. The same arguments give the same mesh.

    Parameters
    ----------
    domain : a pair (low, high) for each of two or three axes, or a Polygon.
    interface : for each tag an interface with a shape: any one of the plane, spheres in a box.
    size : the length of edges away from the interfaces.
    near : the length of edges at the interfaces, at most `size`, which it is unless given. Where interfaces come near
        to each other or to the boundary, edges are as short as their distance, at least a tenth of `near`.
    turn : the angle in radians by which an interface may turn from one vertex to the next. Unless given, 0.5, and less
        where `near` is less than a twentieth of the domain, in proportion.
    grading : how much edges grow with the distance from the interfaces, an edge of length h to h + grading * distance.
    outside : the tag of the part that is in no interface.

    Raises
    ------
    MeshError
        If interfaces cross or touch each other or the boundary of the domain, leave it, or cannot be meshed; tags
        clash; or gmsh is not there.

    Examples
    --------
    >>> from pdecontrol.problem.shapes import Circle
    >>> mesh = fitted_mesh([(-1, 1), (-1, 1)], {"gamma": Interface(Circle(0.5))}, size=0.2)
    >>> sorted(mesh.parts), sorted(mesh.boundaries)
    (['inside', 'outside'], ['bottom', 'boundary', 'gamma', 'left', 'right', 'top'])
    >>> np.allclose(np.linalg.norm(mesh.points[:, mesh.facets("gamma")], axis=0), 0.5, rtol=1e-14)
    True
    """
    box = box_of(domain)
    size, grading = positive(size, "size"), positive(grading, "grading")
    near = size if near is None else positive(near, "near")
    if near > size:
        raise MeshError(f"near = {near:g} is the length of edges at the interfaces, at most size = {size:g}.")
    width = max(high - low for low, high in box)
    turn = min(0.5, 10 * near / width) if turn is None else positive(turn, "turn")
    shapes = shapes_of(interface, len(box))
    sides = () if isinstance(domain, Polygon) else SIDES[len(box) - 2]
    check_tags(interface, outside, {name for pair in sides for name in pair})
    inside = {tag: item.inside for tag, item in interface.items()} | {"": outside}

    def meshed() -> Mesh:
        if len(box) == 3:
            points, cells, owners, facets = _in_space(box, shapes, inside, size, near, turn, grading)
        else:
            points, cells, owners, facets = _in_plane(
                corners_of(domain), box, shapes, inside, size, near, turn, grading
            )
        parts: dict[str, Array] = {}
        for tag in ("", *interface):
            found = np.flatnonzero(owners == ["", *interface].index(tag))
            parts[inside[tag]] = np.concatenate([parts.get(inside[tag], np.zeros(0, dtype=int)), found])
        return Mesh(points, cells, parts, facets | _on_sides(points, cells, box, sides))

    return world().on_root(meshed)


def _in_plane(
    corners: Array,
    box: list[tuple[float, float]],
    shapes: Mapping[str, Shape],
    inside: Mapping[str, str],
    size: float,
    near: float,
    turn: float,
    grading: float,
) -> tuple[Array, Array, Array, dict[str, Array]]:
    """Points, cells, for each cell the number of the innermost interface around it (0 for none), facets by tag."""
    curves = _curves(corners, box, shapes, near, turn)
    largest_first = sorted(
        ((tag, loop) for tag, found in curves.items() for loop in found), key=lambda item: -signed_area(item[1])
    )
    tags, loops = [tag for tag, _ in largest_first], [loop for _, loop in largest_first]
    along = np.hstack([np.linalg.norm(np.roll(loop, -1, axis=1) - loop, axis=0) for loop in loops])
    middles = cKDTree(np.hstack([0.5 * (np.roll(loop, -1, axis=1) + loop) for loop in loops]).T)

    def limit(x: Array) -> Array:
        distances, nearest = middles.query(x.T)
        return np.minimum(size, along[nearest] + grading * distances)

    outer = np.hstack(divided_sides(corners, limit))
    around = _around(loops)
    owners: list[str] = []
    for i, loop in enumerate(loops):
        containing = [tag for tag, shape in shapes.items() if shape.contains(_just_inside(loop))[0]]
        owners.append(next((tags[j] for j in around[i] if tags[j] in containing), ""))
        outwards = owners[around[i][1]] if len(around[i]) > 1 else ""
        if tags[i] not in (owners[i], outwards):
            raise MeshError(
                f'Interface "{tags[i]}" has its inside on no side of its curve at x = {loop[:, 0].round(6).tolist()}: '
                "a level set is negative inside, and positive outside."
            )
        if inside[owners[i]] == inside[outwards]:
            raise _one_part(tags[i], inside[outwards])
    regions = [[0], *([1 + i] for i in range(len(loops)))]
    for i, chain in enumerate(around):
        regions[1 + chain[1] if len(chain) > 1 else 0].append(1 + i)
    points, cells, numbers = mesh_polygons([outer, *loops], regions, size, grading)
    facets: dict[str, list[Array]] = {tag: [] for tag in shapes}
    begin = outer.shape[1]
    for tag, loop in zip(tags, loops, strict=True):
        around_it = begin + np.arange(loop.shape[1])
        facets[tag].append(np.array([around_it, np.roll(around_it, -1)]))
        begin += loop.shape[1]
    of_region = np.array([0, *(["", *shapes].index(owner) for owner in owners)])
    return points, cells, of_region[numbers], {tag: np.hstack(found) for tag, found in facets.items()}


def _in_space(
    box: list[tuple[float, float]],
    shapes: Mapping[str, Shape],
    inside: Mapping[str, str],
    size: float,
    near: float,
    turn: float,
    grading: float,
) -> tuple[Array, Array, Array, dict[str, Array]]:
    """Points, cells, for each cell the number of the innermost sphere around it (0 for none), facets by tag."""
    spheres = {tag: shape for tag, shape in shapes.items() if isinstance(shape, Sphere)}
    for tag in shapes.keys() - spheres.keys():
        raise MeshError(f'Interface "{tag}": in space only spheres can be meshed, not {type(shapes[tag]).__name__}.')
    centres = {tag: np.array(shape.centre, dtype=float) for tag, shape in spheres.items()}
    low, high = np.array(box).T
    gaps = {
        tag: float(np.min([centres[tag] - low, high - centres[tag]]) - shape.radius) for tag, shape in spheres.items()
    }
    for tag, gap in gaps.items():
        if gap < TOUCH * near:
            raise _touches(tag, gap, centres[tag])
    for one, other in combinations(spheres, 2):
        apart = float(np.linalg.norm(centres[one] - centres[other]))
        radii = spheres[one].radius, spheres[other].radius
        gap = max(apart - sum(radii), abs(radii[0] - radii[1]) - apart)
        if gap < TOUCH * near:
            raise _cross(one, other, gap, 0.5 * (centres[one] + centres[other]))
        gaps |= {one: min(gaps[one], gap), other: min(gaps[other], gap)}
    for tag, shape in spheres.items():
        wider = [other for other, sphere in spheres.items() if sphere.radius > shape.radius]
        around = [other for other in wider if spheres[other].contains(centres[tag][:, None])[0]]
        if around and inside[min(around, key=lambda other: spheres[other].radius)] == inside[tag]:
            raise _one_part(tag, inside[tag])
    balls = [(centres[tag], shape.radius, min(near, turn * shape.radius, gaps[tag])) for tag, shape in spheres.items()]
    for number in range(RETRIES):
        factor = 0.97**number
        shorter = [(centre, radius, factor * length) for centre, radius, length in balls]
        points, cells, owners, found = mesh_balls(box, shorter, size, grading)
        if not any(np.isin(cells, facets).all(axis=0).any() for facets in found):
            break  # no tetrahedron lies flat on a sphere, where it would be turned over when its edges are bent
    for (_, shape), facets in zip(spheres.items(), found, strict=True):
        vertices = np.unique(facets)
        points[:, vertices] = shape.project(points[:, vertices])
    return points, cells, owners + 1, dict(zip(spheres, found, strict=True))


def _curves(
    corners: Array, box: list[tuple[float, float]], shapes: Mapping[str, Shape], near: float, turn: float
) -> dict[str, list[Array]]:
    """Points on the curves of each interface, as near to each other as these come to others or to the boundary."""

    def points_on(tag: str, size: float) -> list[Array]:
        try:
            return shapes[tag].curves(size, turn, box)
        except (ProblemError, DataError) as error:
            kind = DataError if isinstance(error, DataError) else MeshError
            raise kind(f'Interface "{tag}": {error}') from error

    curves = {tag: points_on(tag, near) for tag in shapes}
    gaps = dict.fromkeys(shapes, near)
    for tag, loops in curves.items():
        x = np.hstack(loops)
        depths = distances(corners, x)
        depths[~inside_polygon(corners, x)] *= -1
        if depths.min() < TOUCH * near:
            raise _touches(tag, depths.min(), x[:, np.argmin(depths)])
        gaps[tag] = min(near, depths.min())
    for one, other in combinations(curves, 2):
        gap, place = apart(curves[one], curves[other], near)
        if gap < TOUCH * near:
            raise _cross(one, other, gap, place)
        gaps |= {tag: min(gaps[tag], gap) for tag in (one, other)}
    return {tag: points_on(tag, gaps[tag]) if gaps[tag] < near else loops for tag, loops in curves.items()}


def _around(loops: list[Array]) -> list[list[int]]:
    """For each loop, the largest being first, its own number and those of the loops around it, the smallest first."""
    return [
        [i, *(j for j in reversed(range(i)) if inside_polygon(loops[j], loop[:, :1])[0])]
        for i, loop in enumerate(loops)
    ]


def _just_inside(loop: Array) -> Array:
    """A point next to the first one of a loop, on its inner side."""
    tangent = loop[:, 1] - loop[:, -1]
    return np.asarray(loop[:, :1] + 0.05 * np.array([[-tangent[1]], [tangent[0]]]))


def _on_sides(
    points: Array, cells: Array, box: list[tuple[float, float]], sides: Sequence[tuple[str, str]]
) -> dict[str, Array]:
    """The facets on the sides of the box, on which points are put exactly."""
    facets = facets_of(cells)
    found = {}
    for axis, names in enumerate(sides):
        for value, name in zip(box[axis], names, strict=True):
            on = np.abs(points[axis] - value) < 1e-10 * (box[axis][1] - box[axis][0])
            points[axis, on] = value
            found[name] = facets[:, on[facets].all(axis=0)]
    return found


def _one_part(tag: str, part: str) -> MeshError:
    return MeshError(
        f'Interface "{tag}" has the part "{part}" on both of its sides; give the inner one of two interfaces '
        "another tag `inside`."
    )


def _touches(tag: str, gap: float, place: Array) -> MeshError:
    where = f"near x = {place.round(6).tolist()}"
    if gap <= 1e-12:
        return MeshError(f'Interface "{tag}" leaves the domain or touches its boundary {where}.')
    return MeshError(
        f'Interface "{tag}" comes as near as {gap:.2g} to the boundary of the domain, {where}; give near= no more than '
        "ten times that."
    )


def _cross(one: str, other: str, gap: float, place: Array) -> MeshError:
    where = f"near x = {place.round(6).tolist()}"
    if gap <= 1e-12:
        return MeshError(f'Interfaces "{one}" and "{other}" cross or touch {where}.')
    return MeshError(
        f'Interfaces "{one}" and "{other}" come as near as {gap:.2g} to each other {where}; give near= no more than '
        "ten times that."
    )
