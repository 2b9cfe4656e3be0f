"""From a problem and a mesh to a map."""

from __future__ import annotations

from pathlib import Path

from .agreement import compare
from .errors import MeshError, ProblemError
from .fem.backends import Backend, chosen, group_of
from .fem.evolution import Evolution
from .fem.interfaces import divided
from .fem.parabolic import ParabolicMap
from .fem.steady import SteadyMap
from .fem.system import System
from .maps import SolutionMap
from .mesh.mesh import Mesh
from .optimise import check_problem
from .problem import ControlProblem, Parabolic


def discretise(problem: ControlProblem, mesh: Mesh, backend: str | Backend = "auto") -> SolutionMap:
    """The exact map u -> y = S(u) of a problem on a mesh.

    Parameters
    ----------
    problem, mesh : what to discretise.
    backend : the finite-element engine: `Embedded` ("skfem"), serial, `Parallel` ("dolfinx"), distributed by MPI, or
        "auto": the distributed engine where the MPI launcher started several processes, and the embedded one else.

    Raises
    ------
    ProblemError, DataError, MeshError, SingularEquationError
        Before any long work, for what cannot be solved.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(),
    ...     boundary={"boundary": pc.Dirichlet()},
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(1.0),
    ...     terms=[pc.Tikhonov(1e-2)],
    ... )
    >>> map = pc.discretise(problem, pc.unit_square(8))
    >>> map.solve(map.control.zeros()).shape
    (81,)
    """
    group, data = group_of(backend), {"backend": backend, "mesh": mesh, "problem": problem}
    compare(group, "discretise", data, getattr(mesh, "points", None))
    check_problem(problem, "problem, mesh")
    if problem.equation is None:
        raise ProblemError("the problem states no equation, and no control of it: minimise takes it with a map.")
    check_mesh(mesh)
    with group.together():
        taken = chosen(backend)
        engine = taken.engine(divided(problem, mesh, taken.degree))
        if isinstance(problem.equation, Parabolic):
            return ParabolicMap(Evolution(problem, engine), taken.march)
        if taken.march != "sequential":
            raise ProblemError(f"march={taken.march!r} is of Parabolic equations: a steady one has no steps.")
        return SteadyMap(System(problem, engine))


def check_mesh(mesh: object) -> Mesh:
    """Raise MeshError for what is no mesh."""
    if not isinstance(mesh, Mesh):
        raise MeshError(f"expected a mesh (unit_square(n), read_mesh(path), ..), got {_no_mesh(mesh)}.")
    return mesh


def _no_mesh(mesh: object) -> str:
    """What was given for a mesh, and how to make one of it."""
    if isinstance(mesh, (str, Path)):
        return f"a path: read the file first, by read_mesh({str(mesh)!r})"
    if isinstance(mesh, (list, tuple)):
        return f"{type(mesh).__name__}: the sides of a rectangle are for networks, method='pinn' or HardConstraint(..)"
    remedies = {
        "dolfinx": "pass its points (dim, n) and cells (dim + 1, m) as Mesh(points, cells), or its file to read_mesh",
        "meshio": "pass Mesh(mesh.points.T[:dim], mesh.cells_dict['triangle'].T), or its file to read_mesh",
        "skfem": "pass Mesh(mesh.p, mesh.t)",
    }
    library = type(mesh).__module__.partition(".")[0]
    if library in remedies:
        return f"a mesh of {library}: {remedies[library]}"
    return type(mesh).__name__
