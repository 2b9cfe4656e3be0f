"""Meshes from files of Gmsh, with their physical groups as tags."""

from __future__ import annotations

import contextlib
import io
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import MeshError
from ..parallel import world
from .cells import number_columns
from .mesh import Mesh

_GMSH_SIMPLICES = {"vertex": 0, "line": 1, "triangle": 2, "tetra": 3}
_CORNERS = {15: 1, 1: 2, 2: 3, 4: 4}  # of the simplices, by the numbers that Gmsh gives to the types of elements


def read_mesh(path: str | Path, weld: bool | None = None) -> Mesh:
    """The mesh in a .msh file of Gmsh (format 2.2 or 4.1, text or binary).

    The physical groups of cells become parts and those of facets become boundaries, under their names or, where they
    have none, their numbers ("7"). The facets of a group may lie inside the domain. Gmsh saves only what has a physical
    group: a surface without one is a hole. Points that belong to no cell are dropped. Under MPI all processes call it,
    and rank 0 reads the file for all.

    Parameters
    ----------
    path : of the file.
    weld : what becomes of parts that touch without being connected (see `Mesh`): True merges the points at the same
        place, False leaves them apart, as at a slit.

    Raises
    ------
    MeshError
        If the file cannot be read, is partitioned, gives a name to two groups, or holds anything but straight
        intervals, triangles or tetrahedra that fill a domain of their own dimension and conform. An interval must be
        in format 4.1: in format 2.2 it looks like a curve of a domain whose other cells have not been saved.

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
    return world().on_root(lambda: _read_mesh(Path(path), weld))


def _read_mesh(path: Path, weld: bool | None) -> Mesh:
    content = _content(path)
    _refuse_partitions(path, content)
    names = _group_names(path, content)
    raw, entity_groups = _read_gmsh(path, content)
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
    _refuse_incomplete(path, dim, max((of for of, _ in entity_groups), default=None))
    cells, parts = _elements(path, raw, entity_groups, names, dim)
    facets, boundaries = _elements(path, raw, entity_groups, names, dim - 1)
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
            weld,
        )
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from None


def _content(path: Path) -> bytes:
    """The bytes of a file that begins and ends as one of Gmsh."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MeshError(f"{path}: the file cannot be opened ({error.strerror}); check the path.") from None
    if not content.lstrip().startswith(b"$"):
        raise MeshError(f"{path}: this is not a .msh file of Gmsh; save the mesh from Gmsh as .msh.")
    # meshio only warns of a section that is cut off.
    if not content.rstrip().rpartition(b"\n")[2].startswith(b"$End"):
        raise MeshError(f"{path}: the file is truncated; save or copy it again.")
    return content


def _section(content: bytes, name: bytes) -> bytes:
    """What stands between $name and $Endname, nothing where there is no such section."""
    start = content.find(b"$" + name)
    end = content.find(b"$End" + name, start)
    return content[content.find(b"\n", start) + 1 : end] if 0 <= start < end else b""


def _refuse_partitions(path: Path, content: bytes) -> None:
    # Format 2.2 writes the number of partitions of an element, and which they are, after its two other tags.
    if b"$PartitionedEntities" in content or any(count > 2 for count in _tag_counts(content)):
        raise MeshError(
            f"{path}: the mesh is partitioned, the file may hold a piece of it; save it without partitions (in Gmsh: "
            "Mesh > Unpartition), pdecontrol divides it among processes itself."
        )


def _tag_counts(content: bytes) -> Iterator[int]:
    """Of the elements in a file of format 2.2, how many tags they have."""
    version, binary, *_ = [*_section(content, b"MeshFormat").split(maxsplit=2), b"", b""]
    if not version.startswith(b"2"):
        return
    section = _section(content, b"Elements")
    if binary != b"1":
        lines = (line.split(maxsplit=3) for line in section.splitlines()[1:])
        yield from (int(words[2]) for words in lines if len(words) == 4 and words[2].isdigit())
        return
    position = section.find(b"\n") + 1
    while position + 12 <= len(section):
        kind, count, tags = struct.unpack_from("=3i", section, position)
        if kind not in _CORNERS or count < 1 or tags < 0:
            return  # refused as damaged or as no simplex
        yield tags
        position += 12 + 4 * count * (1 + tags + _CORNERS[kind])


def _group_names(path: Path, content: bytes) -> dict[tuple[int, int], str]:
    """Names of the physical groups by dimension and number; meshio keeps one of several groups with the same name."""
    found = re.findall(rb'^\s*(\d+)\s+(\d+)\s+"(.*)"\s*$', _section(content, b"PhysicalNames"), re.MULTILINE)
    names: dict[tuple[int, int], str] = {}
    for dim, number, text in found:
        name = text.decode(errors="replace")
        other = next((key for key, known in names.items() if known == name), None)
        if other is not None:
            raise MeshError(
                f'{path}: the name "{name}" is that of two physical groups, number {other[1]} of dimension {other[0]} '
                f"and number {int(number)} of dimension {int(dim)}; rename one of them."
            )
        names[int(dim), int(number)] = name
    return names


def _refuse_incomplete(path: Path, dim: int, domain: int | None) -> None:
    """Gmsh saves no cells of the domain where only curves or surfaces have physical groups."""
    remedy = "if the domain has more dimensions, give it a physical group too, or Gmsh does not save its cells"
    if domain is not None and domain > dim:
        raise MeshError(
            f"{path}: the geometry has dimension {domain}, but the file has no cells of a dimension above {dim}; "
            f"{remedy}."
        )
    if domain is None and dim == 1:
        raise MeshError(
            f"{path}: the file has cells of dimension 1 only, and does not tell if they fill the domain; {remedy}; "
            "if it is an interval, save it in format 4.1 (in Gmsh: Mesh.MshFileVersion = 4.1)."
        )


def _read_gmsh(path: Path, content: bytes) -> tuple[Any, dict[tuple[int, int], list[int]]]:
    """The file as meshio reads it, and the physical groups of its entities."""
    import meshio

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
    section = _section(content, b"Entities")
    if not section:
        return {}
    if _section(content, b"MeshFormat").split(maxsplit=2)[1] == b"1":
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


def _elements(
    path: Path, raw: Any, entity_groups: dict[tuple[int, int], list[int]], names: dict[tuple[int, int], str], dim: int
) -> tuple[Array, dict[str, Array]]:
    """Vertex numbers (dim + 1, k) of the elements of a dimension, and the element numbers of each group."""
    columns = [np.zeros((dim + 1, 0), dtype=np.int64)]
    groups: dict[str, list[Array]] = {}
    named = {name for (of, _), name in names.items() if of == dim}
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
            name = names.get((dim, number), str(number))
            if (dim, number) not in names and name in named:
                raise MeshError(
                    f'{path}: the name "{name}" of a physical group is the number of another without name; rename it.'
                )
            groups.setdefault(name, []).append(members)
    return np.hstack(columns), {name: np.concatenate(members) for name, members in groups.items()}
