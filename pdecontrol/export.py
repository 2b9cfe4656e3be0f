"""Files of functions for ParaView and other viewers, from elements and arrays, through meshio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import meshio
import numpy as np
from meshio.xdmf import TimeSeriesWriter

from .arrays import Array
from .errors import DataError
from .files import discard, replacing, settle, stage
from .mesh.lagrange import Lagrange
from .mesh.quadratic import EDGES

# By number of corners, and whether the cells are quadratic; the nodes are in the order of Lagrange.
_CELL_TYPES = {
    (1, False): "vertex", (2, False): "line", (3, False): "triangle", (4, False): "tetra",
    (2, True): "line3", (3, True): "triangle6", (4, True): "tetra10",
}  # fmt: skip
_HDF5 = (".cgns", ".h5m", ".hmf", ".med")
Functions = Mapping[str, tuple[Lagrange | None, Array]]  # by name, as elements and coefficients


def write(frames: Sequence[tuple[float, Functions]], path: Path) -> None:
    """Write functions on the same cells at times to a file, whose ending tells the format (see `field.export`)."""
    kind = path.suffix.lower()
    _check_format(path)
    if kind in (".xdmf", ".xmf"):
        with _refusals(path), replacing(path) as temporary:
            _write_xdmf(frames, temporary)
    elif kind == ".pvd":
        _write_collection(frames, path)
    elif len(frames) == 1:
        _write_mesh(frames[0][1], path)
    else:
        raise DataError(
            f"{path}: functions of time are written to .pvd or .xdmf files; field.at(t).save(path) writes one time."
        )


def _write_mesh(functions: Functions, path: Path) -> None:
    mesh = _meshio_mesh(functions)
    with _refusals(path), replacing(path) as temporary:
        meshio.write(temporary, mesh)


def _write_xdmf(frames: Sequence[tuple[float, Functions]], path: Path) -> None:
    """With the numbers in it, so that it is one file and needs no h5py."""
    with TimeSeriesWriter(path, data_format="XML") as file:
        for number, (t, functions) in enumerate(frames):
            mesh = _meshio_mesh(functions)
            if number == 0:
                file.write_points_cells(mesh.points, mesh.cells)
            file.write_data(t, mesh.point_data, mesh.cell_data)


def _write_collection(frames: Sequence[tuple[float, Functions]], path: Path) -> None:
    """As a list of .vtu files in a folder beside it."""
    pieces = f"{path.stem}-times"
    folder = path.with_name(pieces)
    if folder.exists() and not (folder.is_dir() and all(item.suffix == ".vtu" for item in folder.iterdir())):
        raise DataError(
            f"{path}: its times go to the folder {folder}, where there is something else: take another name."
        )
    root = ElementTree.Element("VTKFile", type="Collection", version="0.1")
    collection = ElementTree.SubElement(root, "Collection")
    staged = stage(path)
    try:
        for number, (t, functions) in enumerate(frames):
            piece = f"{pieces}/{number:04d}.vtu"
            _write_mesh(functions, staged.parent / piece)
            ElementTree.SubElement(collection, "DataSet", timestep=repr(t), part="0", file=piece)
        with replacing(staged) as temporary:
            ElementTree.ElementTree(root).write(temporary, xml_declaration=True, encoding="utf-8")
        settle(staged, path)
    finally:
        discard(staged)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """A block in which what meshio says of a format becomes a DataError."""
    try:
        yield
    except (meshio.WriteError, meshio.ReadError, KeyError, ImportError) as error:
        raise DataError(f"{path}: meshio cannot write this format ({error}); take .vtu or .vtk.") from None


def _check_format(path: Path) -> None:
    """Raise DataError for a format of meshio that needs h5py, where that is missing."""
    if path.suffix.lower() in _HDF5 and find_spec("h5py") is None:
        raise DataError(
            f"{path}: {path.suffix} files need h5py: take .vtu, or pip install h5py (beside dolfinx, with whose HDF5 "
            "that of pip clashes, python3-h5py of Debian or h5py of conda-forge)."
        )


def _meshio_mesh(functions: Functions) -> meshio.Mesh:
    known = {name: _at_most_quadratic(name, *function) for name, function in functions.items()}
    frame = max((elements for elements, _ in known.values()), key=lambda elements: elements.degree)
    nodes = frame.dofs if frame.degree == 2 else frame.simplices
    points = frame.points if frame.degree == 2 else frame.vertices
    used, cells = np.unique(nodes, return_inverse=True)
    cells = cells.reshape(nodes.shape)
    point_data, cell_data = {}, {}
    for name, (elements, array) in known.items():
        if not _same_cells(elements, frame):
            raise DataError(f"{name} lives on other cells than the other fields: write it to its own file.")
        if elements.degree == 0:
            cell_data[name] = [array[elements.dofs[0]]]
        else:
            point_data[name] = np.empty(used.size)
            point_data[name][cells] = _values_at_nodes(elements, array, frame)
    padded = np.zeros((used.size, 3))
    padded[:, : len(points)] = points[:, used].T
    kind = _CELL_TYPES[len(frame.simplices), frame.degree == 2]
    return meshio.Mesh(padded, [(kind, cells.T)], point_data, cell_data)


def _at_most_quadratic(name: str, elements: Lagrange | None, array: Array) -> tuple[Lagrange, Array]:
    """The function, or its interpolant of degree 2: viewers know no higher degree."""
    if elements is None:
        raise DataError(
            f"{name} is a vector of {array.size} numbers, not a function of space: save the result instead."
        )
    return (elements, array) if elements.degree <= 2 else elements.quadratic(array)


def _same_cells(one: Lagrange, other: Lagrange) -> bool:
    """Whether two functions live on the same cells, whatever the order of the corners of each."""
    numbers = [(one.vertices, other.vertices), (np.sort(one.simplices, axis=0), np.sort(other.simplices, axis=0))]
    if one.degree == other.degree == 2:
        numbers.append((np.sort(one.dofs, axis=0), np.sort(other.dofs, axis=0)))
    return all(np.array_equal(a, b) for a, b in numbers)


def _values_at_nodes(elements: Lagrange, array: Array, frame: Lagrange) -> Array:
    """Values (nodes, m) at the corners of each simplex of a frame and, if that has degree 2, on its edges."""
    if elements.degree == 2:
        return np.asarray(array[frame.dofs])
    corners = elements.nodal(array)[frame.simplices]
    if frame.degree < 2:
        return corners
    edges = EDGES[: len(frame.dofs) - len(corners)]
    return np.vstack([corners, *((corners[i] + corners[j])[None] / 2 for i, j in edges)])
