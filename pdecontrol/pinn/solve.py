"""Problems on rectangles without a mesh: boundary values and jumps are exact, the weights of networks are sought."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any, Unpack

import numpy as np

from ..errors import ProblemError
from ..mesh.mesh import Mesh
from ..optimise import RunOptions, check_problem
from ..parallel import world
from ..problem import ControlProblem
from ..result import Result
from .checks import checked_domain
from .functions.cubature import can_fit, mesh_of
from .functions.domain import Domain
from .method import NetworkMethod
from .outcome import SHOWN, result_of
from .strong import by_training
from .training.training import Training
from .weak import by_galerkin


def solve_by_networks(
    problem: ControlProblem, domain: Any, method: NetworkMethod, tol: float, **options: Unpack[RunOptions]
) -> Result:
    """A problem on a rectangle, which is given by its sides or by a mesh of it.

    Raises
    ------
    ProblemError, DataError
        If the problem is none for trial functions.
    ConvergenceError
        If no quadrature is found, or what is left of the optimality system is no small part of the data.
    """
    begin = perf_counter()
    check_problem(problem, "problem, domain")
    if world().size > 1 and options.get("checkpoint") is not None:
        raise ProblemError(
            "networks are not divided among processes: each would write the checkpoint. Run one process."
        )
    where = checked_domain(problem, _box(domain))
    shown = domain if isinstance(domain, Mesh) else mesh_of(where, where.diameter / SHOWN)
    if problem.control.on in where.interface and problem.control.on not in shown.boundaries:
        raise ProblemError(
            f"the control on {problem.control.on!r} has values at nodes of a mesh fitted to it: take gmsh, or a fitted "
            "mesh for the rectangle; controls on interfaces that move have none."
        )
    pair = method.trial_functions(problem, where)
    training, why = _chosen(where, method)
    found = by_galerkin if training == "galerkin" else by_training
    outcome = found(problem, pair, replace(method, training=training), tol, options)
    result = result_of(problem, outcome._replace(method=f"{outcome.method}{why})"), shown, tol, 0.0)
    return replace(result, seconds=perf_counter() - begin)


def _box(domain: Any) -> Any:
    """The sides of a rectangle, also of one that is given by a mesh."""
    if not isinstance(domain, Mesh):
        return domain
    box = [(float(row.min()), float(row.max())) for row in domain.points]
    lengths = [high - low for low, high in box]
    if len(box) != 2 or abs(domain.volumes.sum() - np.prod(lengths)) > 1e-9 * np.prod(lengths):
        raise ProblemError("method='pinn' solves problems on rectangles, and the mesh is none of a rectangle.")
    return box


def _chosen(domain: Domain, method: NetworkMethod) -> tuple[str | Training, str]:
    """How weights are found, and why."""
    if method.training != "auto":
        return method.training, ""
    if method.weights is None and domain.span is None and can_fit(domain):
        return "galerkin", "; as the equation is steady, with a quadrature that can be verified"
    why = "in time" if domain.span is not None else "without gmsh"
    return "collocation", "" if method.weights is not None else f"; as there is no verified quadrature {why}"
