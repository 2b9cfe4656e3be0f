"""Which finite-element engine discretises a problem, as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral

from ..errors import ProblemError
from ..mesh.mesh import Mesh
from ..parallel import ALONE, Group, started_ranks, world
from .engine import Engine


@dataclass(frozen=True)
class Backend(ABC):
    """An engine with the degree of its states and its linear solvers.

    Parameters
    ----------
    degree : of the state; controls are P1 with lumped mass, or P0.
    linear_solver : "direct", "amg" (conjugate gradients with algebraic multigrid), or "auto": multigrid for large
        symmetric problems.
    march : of parabolic equations, "sequential", one step after the other, or "parallel-in-time", all at once, where
        they are linear with coefficients constant in time and steps of one length: that takes N/2 factorisations for N
        steps, and pays on many cores (see "The same script on a cluster").
    """

    degree: int = 1
    linear_solver: str = "auto"
    march: str = field(default="sequential", kw_only=True)

    def __post_init__(self) -> None:
        if self.linear_solver not in ("auto", "direct", "amg"):
            raise ProblemError(f"unknown linear_solver {self.linear_solver!r}: take 'auto', 'direct' or 'amg'.")
        if self.march not in ("sequential", "parallel-in-time"):
            raise ProblemError(f"unknown march {self.march!r}: take 'sequential' or 'parallel-in-time'.")
        if not isinstance(self.degree, Integral) or isinstance(self.degree, bool) or self.degree < 1:
            raise ProblemError(f"the degree of the state is a positive integer, not {self.degree!r}.")

    @abstractmethod
    def engine(self, mesh: Mesh) -> Engine:
        """The engine on a mesh."""


@dataclass(frozen=True)
class Embedded(Backend):
    """The embedded engine, scikit-fem: each process by itself; states of degree 1 or 2.

    Parameters
    ----------
    degree : of the state, 1 or 2; controls are P1 with lumped mass, or P0.
    linear_solver : "direct", "amg" (conjugate gradients with algebraic multigrid), or "auto": multigrid for large
        symmetric problems in 3D.
    march : of parabolic equations, "sequential", one step after the other, or "parallel-in-time", all at once, where
        they are linear with coefficients constant in time and steps of one length: that takes N/2 factorisations for N
        steps, and pays on many cores (see "The same script on a cluster").

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)])
    >>> pc.solve(problem, pc.unit_square(4), pc.Embedded(degree=2)).success
    True
    """

    def engine(self, mesh: Mesh) -> Engine:
        if self.degree > 2:
            remedy = f"higher ones need backend=Parallel(degree={self.degree})"
            raise ProblemError(f"the degree of the state is 1 or 2, not {self.degree}: {remedy}.")
        from .skfem import SkfemEngine

        return SkfemEngine(mesh, self.degree, self.linear_solver)


@dataclass(frozen=True)
class Parallel(Backend):
    """The distributed engine, FEniCSx with PETSc: all processes of MPI together; states of any degree.

    Parameters
    ----------
    degree : of the state; controls are P1 with lumped mass, or P0.
    linear_solver : "direct", "amg" (conjugate gradients with algebraic multigrid), or "auto": multigrid for large
        symmetric problems.
    march : of parabolic equations, "sequential", one step after the other, or "parallel-in-time", all at once, where
        they are linear with coefficients constant in time and steps of one length: that takes N/2 factorisations for N
        steps, and pays on many cores (see "The same script on a cluster").
    options : of PETSc, with the prefix ``state_`` or ``adjoint_``, such as {"state_pc_type": "hypre"}. Those of the
        command line win.

    Examples
    --------
    >>> backend = Parallel(degree=3, options={"state_pc_type": "hypre"})
    """

    options: Mapping[str, object] = field(default_factory=dict)

    def engine(self, mesh: Mesh) -> Engine:
        from .dolfinx import DolfinxEngine

        return DolfinxEngine(mesh, self.degree, self.linear_solver, self.options)


BACKENDS = {"skfem": Embedded, "dolfinx": Parallel}


def group_of(backend: object) -> Group:
    """The processes that compute together: all, also where it is no engine, so that all hear of it."""
    alone = backend == "skfem" or isinstance(backend, Embedded) or started_ranks() == 1
    return ALONE if alone else world()


def chosen(backend: object) -> Backend:
    """The engine of a name; "auto" takes the distributed one where the MPI launcher started several processes."""
    if isinstance(backend, Backend):
        return backend
    if backend == "auto":
        return Parallel() if started_ranks() > 1 else Embedded()
    if not isinstance(backend, str) or backend not in BACKENDS:
        names = ", ".join(map(repr, ("auto", *BACKENDS)))
        raise ProblemError(f"unknown backend {backend!r}: take one of {names}, Embedded(..) or Parallel(..).")
    return BACKENDS[backend]()
