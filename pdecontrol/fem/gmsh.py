"""Meshes from files of Gmsh, with their physical groups as tags."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshError
from ..parallel import world
from .meshes import Mesh, number_columns

Array = NDArray[Any]

_GMSH_SIMPLICES = {"vertex": 0, "line": 1, "triangle": 2, "tetra": 3}


def read_mesh(path: str | Path) -> Mesh:
    """The mesh in a .msh file of Gmsh (format 2.2 or 4.1, text or binary).

    The physical groups of cells become parts and those of facets become boundaries, under their names or,
    where they have none, their numbers ("7"). The facets of a group may lie inside the domain. Points that
    belong to no cell are dropped. Under MPI all processes call it, and rank 0 reads the file for all.

    Raises
    ------
    MeshError
        If the file cannot be read, or holds anything but straight intervals, triangles or tetrahedra that
        fill a domain of their own dimension.

    Examples
    --------
    >>> mesh = read_mesh("meshes/two_materials.msh")
    >>> sorted(mesh.parts)
    ['inside', 'outside']
    >>> sorted(mesh.boundaries)
    ['boundary', 'floor', 'interface', 'lid', 'wall']
    """
    if not isinstance(path, (str, Path)):
        raise MeshError(f"read_mesh takes the path of a file, got {path!r}.")
    return world().on_root(lambda: _read_mesh(Path(path)))


def _read_mesh(path: Path) -> Mesh:
    raw, entity_groups = _read_gmsh(path)
    kinds = {block.type for block in raw.cells if len(block.data)}
    others = sorted(kinds - set(_GMSH_SIMPLICES))
    if others:
        raise MeshError(
            f"{path}: cells of type {', '.join(others)} are not supported; mesh with simplices of first "
            "order (in Gmsh: Mesh.ElementOrder = 1, no recombination)."
        )
    dim = max((_GMSH_SIMPLICES[kind] for kind in kinds), default=0)
    if not dim:
        raise MeshError(f"{path}: the file has no cells; generate the mesh before saving it.")
    cells, parts = _elements(raw, entity_groups, dim)
    facets, boundaries = _elements(raw, entity_groups, dim - 1)
    points = np.asarray(raw.points, dtype=float).T
    if min(cells.min(), facets.min(initial=0)) < 0:
        raise MeshError(f"{path}: an element refers to a point that is not in the file; save the mesh again.")
    used = np.unique(cells)
    points = points[:, used]
    if np.abs(points[dim:]).max(initial=0) > 1e-12 * np.abs(points).max():
        raise MeshError(
            f"{path}: the cells of dimension {dim} do not lie in the "
            f"{'x axis' if dim == 1 else 'x-y plane'}; curves and surfaces in space are not supported."
        )
    # Format 2.2 lists an element once for each of its groups.
    first, numbers = number_columns(np.sort(cells, axis=0))
    kept = np.sort(first)
    cell_of_element = np.searchsorted(kept, first)[numbers]
    compact = np.full(max(used[-1], facets.max(initial=0)) + 1, -1)
    compact[used] = np.arange(len(used))
    outside = {tag for tag, chosen in boundaries.items() if compact[facets[:, chosen]].min() < 0}
    if outside:
        raise MeshError(f'{path}: the physical group "{min(outside)}" has facets that belong to no cell.')
    try:
        return Mesh(
            points[:dim],
            compact[cells[:, kept]],
            {tag: cell_of_element[chosen] for tag, chosen in parts.items()},
            {tag: compact[facets[:, chosen]] for tag, chosen in boundaries.items()},
        )
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from None


def _read_gmsh(path: Path) -> tuple[Any, dict[tuple[int, int], list[int]]]:
    """The file as meshio reads it, and the physical groups of its entities."""
    import meshio

    try:
        content = path.read_bytes()
    except OSError as error:
        raise MeshError(f"{path}: the file cannot be opened ({error.strerror}); check the path.") from None
    if not content.lstrip().startswith(b"$"):
        raise MeshError(f"{path}: this is not a .msh file of Gmsh; save the mesh from Gmsh as .msh.")
    # meshio only warns of a section that is cut off.
    if not content.rstrip().rpartition(b"\n")[2].startswith(b"$End"):
        raise MeshError(f"{path}: the file is truncated; save or copy it again.")
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            raw = meshio.gmsh.read(path)
            for section, found in (("Nodes", len(raw.points)), ("Elements", sum(len(b.data) for b in raw.cells))):
                stated = _stated_count(content, section)
                if found != stated:
                    raise ValueError(f"${section} announces {stated}, there are {found}")
            return raw, _entity_groups(content)
    except Exception as error:  # meshio fails in many ways on a damaged file
        raise MeshError(
            f"{path}: the file cannot be read ({type(error).__name__}: {error}); save it again from Gmsh in "
            "format 4.1 or 2.2, with Mesh.SaveAll = 0."
        ) from None


def _stated_count(content: bytes, section: str) -> int:
    """How many nodes or elements a section says that it has; meshio takes fewer without a word."""
    version, binary = content[content.index(b"$MeshFormat") :].split(maxsplit=3)[1:3]
    start = content.index(b"\n", content.index(b"$" + section.encode())) + 1
    if version.startswith(b"2"):
        return int(content[start : content.index(b"\n", start)])
    if binary == b"1":
        return int(struct.unpack_from("=2Q", content, start)[1])
    return int(content[start : content.index(b"\n", start)].split()[1])


def _entity_groups(content: bytes) -> dict[tuple[int, int], list[int]]:
    """Numbers of the physical groups of each entity, by dimension and entity number, in a file of format 4.1.

    meshio keeps only the first group of an entity and the named ones that are not reversed.
    """
    start = content.find(b"$Entities")
    if start < 0:
        return {}
    section = content[content.index(b"\n", start) + 1 : content.index(b"$EndEntities", start)]
    if content[content.index(b"$MeshFormat") :].split(maxsplit=3)[2] == b"1":
        position = 0

        def take(kind: str, count: int) -> Sequence[Any]:
            nonlocal position
            values = struct.unpack_from(f"={count}{kind}", section, position)
            position += struct.calcsize(f"={count}{kind}")
            return values

    else:
        words = iter(section.split())

        def take(kind: str, count: int) -> Sequence[Any]:
            return [(float if kind == "d" else int)(next(words)) for _ in range(count)]

    groups = {}
    for dim, count in enumerate(take("Q", 4)):
        for _ in range(count):
            (entity,) = take("i", 1)
            take("d", 6 if dim else 3)
            # A negative number means that the group takes the entity with reversed orientation.
            groups[dim, entity] = [abs(number) for number in take("i", *take("Q", 1))]
            if dim:
                take("i", *take("Q", 1))
    return groups


def _elements(raw: Any, entity_groups: dict[tuple[int, int], list[int]], dim: int) -> tuple[Array, dict[str, Array]]:
    """Vertex numbers (dim + 1, k) of the elements of a dimension, and the element numbers of each group."""
    names = {number: name for name, (number, group_dim) in raw.field_data.items() if group_dim == dim}
    columns = [np.zeros((dim + 1, 0), dtype=np.int64)]
    groups: dict[str, list[Array]] = {}
    start = 0
    for i, block in enumerate(raw.cells):
        if not len(block.data) or _GMSH_SIMPLICES[block.type] != dim:
            continue
        columns.append(np.asarray(block.data, dtype=np.int64).T)
        elements = start + np.arange(len(block.data))
        start += len(elements)
        if entity_groups:
            chosen = dict.fromkeys(entity_groups[dim, raw.cell_data["gmsh:geometrical"][i][0]], elements)
        elif "gmsh:physical" in raw.cell_data:
            physical = raw.cell_data["gmsh:physical"][i]
            chosen = {number: elements[physical == number] for number in np.unique(physical[physical != 0])}
        else:
            chosen = {}
        for number, members in chosen.items():
            groups.setdefault(names.get(number, str(number)), []).append(members)
    return np.hstack(columns), {name: np.concatenate(members) for name, members in groups.items()}
