"""What differs between versions of dolfinx, and nothing else: 0.5.2 (Debian 12) to 0.11."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ProblemError

TESTED = ((0, 5), (0, 9), (0, 11))
CELLS = {1: "interval", 2: "triangle", 3: "tetrahedron"}


@cache
def check() -> None:
    """Import dolfinx and petsc4py, or raise ProblemError with what to install; warn of untested versions."""
    install = "install it with 'conda install -c conda-forge fenics-dolfinx' or 'apt-get install python3-dolfinx'"
    try:
        import dolfinx
        import petsc4py.PETSc
    except ImportError as error:
        raise ProblemError(f"backend='dolfinx' needs dolfinx with PETSc ({error}): {install}.") from None
    if np.issubdtype(petsc4py.PETSc.ScalarType, np.complexfloating):
        raise ProblemError(
            "this PETSc is built for complex numbers, pdecontrol needs a real one: on Debian python3-dolfinx-real and "
            "python3-petsc4py-real, with conda fenics-dolfinx and petsc=*=real*."
        )
    version = number()
    if version < TESTED[0]:
        raise ProblemError(f"dolfinx {dolfinx.__version__} is too old, 0.5.2 is the oldest that works: {install}.")
    if version not in TESTED:
        known = ", ".join(f"{major}.{minor}" for major, minor in TESTED)
        warnings.warn(f"dolfinx {dolfinx.__version__} is not among the tested versions ({known}).", stacklevel=2)


def number() -> tuple[int, int]:
    """The first two numbers of the version of dolfinx."""
    import dolfinx

    major, minor = dolfinx.__version__.split(".")[:2]
    return int(major), int(minor)


@contextmanager
def quiet(level: int = logging.INFO) -> Iterator[None]:
    """Without the information that old form compilers log, nor (level=logging.ERROR) the errors that UFL raises too."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        yield
    finally:
        logging.disable(before)


def create_mesh(comm: Any, cells: NDArray[np.int64], points: NDArray[np.float64], dim: int) -> Any:
    """A mesh of simplices from the rows of cells and points (n, dim) that this process contributes.

    Cells have their vertices (m, dim + 1) or, if they are quadratic, after these the middles of their edges, in the
    order of `reference_edges`.
    """
    import ufl
    from dolfinx import mesh

    degree = 1 if cells.shape[1] == dim + 1 else 2
    try:
        import basix.ufl

        element = basix.ufl.element("Lagrange", CELLS[dim], degree, shape=(dim,))
    except ImportError:
        element = ufl.VectorElement("Lagrange", ufl.Cell(CELLS[dim], geometric_dimension=dim), degree)
    domain = ufl.Mesh(element)
    return mesh.create_mesh(comm, cells, *((domain, points) if number() >= (0, 10) else (points, domain)))


def reference_edges(dim: int) -> list[list[int]]:
    """The ends of the edges of the reference cell."""
    import basix

    return [list(edge) for edge in basix.topology(getattr(basix.CellType, CELLS[dim]))[1]]


def lagrange_space(mesh: Any, degree: int) -> Any:
    """Continuous piecewise polynomials."""
    from dolfinx import fem

    build = fem.functionspace if hasattr(fem, "functionspace") else fem.FunctionSpace
    with quiet():
        return build(mesh, ("Lagrange" if degree else "DG", degree))


def quadrature_space(mesh: Any, dim: int, order: int) -> Any:
    """Values at the points of the default quadrature rule of an order."""
    from dolfinx import fem

    with quiet():
        try:
            import basix.ufl
        except ImportError:
            import ufl

            element = ufl.FiniteElement("Quadrature", CELLS[dim], degree=order, quad_scheme="default")
            return fem.FunctionSpace(mesh, element)
        return fem.functionspace(mesh, basix.ufl.quadrature_element(CELLS[dim], scheme="default", degree=order))


def form(expression: Any) -> Any:
    """The form, compiled."""
    from dolfinx import fem

    with quiet():
        return fem.form(expression)


def cell_dofs(space: Any) -> NDArray[np.int64]:
    """The dofs (cells, local) of every cell of a process, ghosts included."""
    dofs = space.dofmap.list
    if not isinstance(dofs, np.ndarray):
        dofs = dofs.array
    return dofs.reshape(-1, space.dofmap.dof_layout.num_dofs).astype(np.int64)


def cell_vertices(mesh: Any) -> NDArray[np.int64]:
    """The number (cells, dim + 1), in the arrays that the mesh was made from, of the vertices of every cell."""
    geometry = mesh.geometry
    dofs = geometry.dofmaps[0] if hasattr(geometry, "dofmaps") else geometry.dofmap
    if callable(dofs):
        dofs = dofs(0)
    if not isinstance(dofs, np.ndarray):
        dofs = dofs.array
    cells, corners = mesh.topology.index_map(mesh.topology.dim), mesh.topology.dim + 1
    count = cells.size_local + cells.num_ghosts
    nodes = np.asarray(dofs).reshape(count, -1 if count else corners)  # the middles of edges come after the vertices
    return np.asarray(geometry.input_global_indices, dtype=np.int64)[nodes[:, :corners]]


def quadrature_rule(dim: int, order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (n, dim) and weights (n,) of the default rule on the reference simplex."""
    import basix

    return basix.make_quadrature(getattr(basix.CellType, CELLS[dim]), order)


@cache
def sound_order(dim: int, order: int) -> int:
    """The least order from this one on whose default rule has positive weights at points strictly inside.

    On tetrahedra about half of the first ten have not: they could make a matrix indefinite where coefficients jump,
    and leave it open on which side of an interface a point lies.
    """
    while True:
        points, weights = quadrature_rule(dim, order)
        if min(weights.min(), points.min(), 1 - points.sum(axis=1).max()) > 1e-12:
            return order
        order += 1


def reference_element(dim: int, degree: int) -> Any:
    """The element of basix that `lagrange_space` has."""
    import basix

    kind = getattr(basix.CellType, CELLS[dim])
    return basix.create_element(basix.ElementFamily.P, kind, degree, basix.LagrangeVariant.gll_warped)


def write_functions(
    mesh: Any, functions: list[Any], times: Iterable[float], path: Path, degree: int, highest: int
) -> None:
    """Write functions of the degree on a mesh to an .xdmf file, or a .bp file (VTX).

    In .xdmf, higher degrees become the highest that is wanted: that of the cells.

    They are written at times that ascend, and have their values of each when `times` gives it.
    """
    from dolfinx import fem, io

    if path.suffix == ".bp":
        if not hasattr(io, "VTXWriter") or not degree:
            reason = "this dolfinx has no VTX writer" if degree else "VTX takes no functions constant on cells"
            raise DataError(f"{path.name}: {reason}; take .xdmf or .vtu.")
        with io.VTXWriter(mesh.comm, str(path), functions) as file:
            for t in times:
                file.write(t)
        return
    written = functions
    if degree > highest:
        low_space = lagrange_space(mesh, highest)
        written = [fem.Function(low_space) for _ in functions]
        for low, function in zip(written, functions, strict=True):
            low.name = function.name
    with io.XDMFFile(mesh.comm, str(path), "w") as file:
        file.write_mesh(mesh)
        for t in times:
            for low, function in zip(written, functions, strict=True):
                if degree > highest:
                    low.interpolate(function)
                file.write_function(low, t)
