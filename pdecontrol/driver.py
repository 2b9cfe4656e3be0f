"""From a problem and a mesh to a certified result."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, Unpack

import numpy as np

from .agreement import compare
from .discretisation import check_mesh, discretise
from .errors import ProblemError
from .fem.backends import Backend, group_of
from .field import Field
from .mesh.fit import snapped
from .mesh.mesh import Mesh
from .optimise import RunOptions, check_problem, comparable, minimise
from .pinn.method import HardConstraint, NetworkMethod
from .pinn.solve import solve_by_networks
from .problem import ControlProblem, Parabolic, check_number
from .refinement import check_goal, goal_of, of_one_mesh, solve_refined, with_distance
from .result import Result
from .solvers.checkpoint import as_checkpoint
from .solvers.method import Method
from .terms import bind


def solve(
    problem: ControlProblem,
    mesh: Mesh | Sequence[tuple[float, float]],
    backend: str | Backend = "auto",
    method: str | Method | NetworkMethod = "auto",
    tol: float = 1e-6,
    *,
    discretisation: bool = False,
    continuous: bool = False,
    total_tol: float | None = None,
    total_atol: float = 0.0,
    adapt: bool = True,
    max_unknowns: float = 200_000,
    **options: Unpack[RunOptions],
) -> Result:
    """min F(S(u)) + alpha/2 ||u - r||^2 + beta ||u||_L1 over a box: discretise, solve, certify.

    Parameters
    ----------
    problem, mesh, backend : see `discretise`; networks take the sides of a rectangle, [(low, high), (low, high)], for
        the mesh as well.
    method, tol, options : see `minimise`: atol, start, max_iterations, max_solves, callback, checkpoint,
        checkpoint_seconds, restart, progress. With "pinn" or a `HardConstraint` it is solved
        by networks.
    discretisation : also estimate, for steady equations, how far the control is from the continuous optimum, by solving
        on the refined mesh (its solves and time are not counted in the result). An estimate, for where there is no
        bound: take `continuous` where there is one.
    continuous : also bound that distance, `certificate.continuous`, for linear elliptic equations on intervals and
        polygons with distributed controls. The bound is of the function `result.control(x)`, which is improved for it;
        `result.control.array` stays the optimum of the discrete problem. Where there is no bound, its assumption says
        why, and the distance is estimated as above.
    total_tol, total_atol : refine the mesh until that bound is <= total_tol (||u|| - bound), which implies
        ||u - u*|| <= total_tol ||u*|| for the continuous optimum u*, or until it is <= total_atol. `tol` is then the
        tolerance for the discrete optimum, on the last mesh. States of degree 2, `Embedded(degree=2)`, need far fewer
        unknowns. `result.levels` has the meshes.
    adapt : whether cells are refined where the bound comes from, which pays at corners and inclusions, or all of them.
    max_unknowns : limit of the unknowns of a state with total_tol or total_atol; beyond it the result is returned with
        success False, and the assumption of the bound says how many would be needed. max_solves is then a limit for all
        meshes but the last.

    Raises
    ------
    ProblemError
        For a total_tol where there is no bound to the continuous optimum, before any solve; where u = 0 is the optimum,
        which takes a total_atol; and for other bad input.

    Returns
    -------
    The `Result`, with its certificate.

    Examples
    --------
    >>> import numpy as np, pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(diffusion=1.0),
    ...     boundary={"boundary": pc.Dirichlet(0.0)},
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(lambda x: np.sin(2*np.pi*x[0]) * np.sin(2*np.pi*x[1]) * np.exp(2*x[0]) / 6),
    ...     terms=[pc.Tikhonov(1e-5), pc.L1(1e-3), pc.Box(-30, 30)],
    ... )
    >>> result = pc.solve(problem, mesh=pc.unit_square(16), tol=1e-6)
    >>> result.success and result.certificate.relative <= 1e-6
    True
    """
    if method == "pinn" or isinstance(method, NetworkMethod):
        if discretisation or continuous or total_tol is not None or total_atol:
            raise ProblemError(
                "discretisation, continuous and total_tol are of finite elements, not of method='pinn': "
                "certify(problem, result.control, map, continuous=True) tells how far the control of networks is from "
                "the continuous optimum."
            )
        return solve_by_networks(problem, mesh, HardConstraint() if isinstance(method, str) else method, tol, **options)
    begin = perf_counter()
    own: dict[str, Any] = {"method": method, "tol": tol, "discretisation": discretisation, "continuous": continuous}
    own |= {"total_tol": total_tol, "total_atol": total_atol, "adapt": adapt, "max_unknowns": max_unknowns}
    compare(group_of(backend), "solve", own | comparable(options))
    check_problem(problem, "problem, mesh")
    mesh = check_mesh(mesh)
    if discretisation and isinstance(getattr(problem, "equation", None), Parabolic):
        raise ProblemError(
            "discretisation=True estimates the error of steady equations: for one in time, solve with twice the steps "
            "on mesh.refine() too, and compare the controls."
        )
    if total_tol is not None or total_atol:
        goal = goal_of(total_tol, total_atol, adapt, max_unknowns, options)
        check_goal(problem, mesh, backend, {**options, "discretisation": discretisation})
        return solve_refined(problem, mesh, backend, method, tol, goal, **options)
    with discretise(problem, mesh, backend) as map:
        setup = perf_counter() - begin
        result = minimise(problem, map, method, tol, **options)
        result = replace(result, seconds=setup + result.seconds)
        if continuous:
            result = with_distance(problem, map, result)
    unbounded = result.certificate.continuous is not None and result.certificate.continuous.bound is None
    estimated = not isinstance(problem.equation, Parabolic) and of_one_mesh(problem) is None
    if unbounded and result.certificate.bound is not None and estimated:
        discretisation = True
    if discretisation and result.certificate.bound is None:
        warnings.warn(
            "no estimate of the discretisation error: there is no bound on the distance to the discrete optimum, so "
            "that the difference to the control on a refined mesh says nothing.", stacklevel=2,
        )  # fmt: skip
    elif discretisation:
        estimate = estimate_discretisation(problem, result, mesh, backend)
        result = replace(result, certificate=replace(result.certificate, discretisation=estimate))
    return result


def continuation(
    problem: ControlProblem,
    mesh: Mesh,
    alpha: Sequence[float] | None = None,
    beta: Sequence[float] | None = None,
    *,
    backend: str | Backend = "auto",
    method: str | Method = "auto",
    tol: float = 1e-6,
    **options: Unpack[RunOptions],
) -> list[Result]:
    """Solve along a path of weights alpha and beta, each stage started from the one before.

    Parameters
    ----------
    problem, mesh, backend : see `discretise`; the map is built once.
    alpha, beta : the weights of the stages, of equal length where both are given; None keeps the problem's.
    method, tol, options : see `minimise`; limits are those of one stage, and checkpoints have its number at the end.

    Returns
    -------
    One result a stage.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(lambda x: x[0]),
    ...     terms=[pc.Tikhonov(1.0)],
    ... )
    >>> results = pc.continuation(problem, pc.unit_interval(20), alpha=[1.0, 0.1, 0.01])
    >>> [result.success for result in results]
    [True, True, True]
    """
    own = {"alpha": alpha, "beta": beta, "method": method, "tol": tol}
    compare(group_of(backend), "continuation", own | comparable(options))
    check_problem(problem, "problem, mesh")
    paths = [_weights(path, name) for path, name in ((alpha, "alpha"), (beta, "beta")) if path is not None]
    if len({len(path) for path in paths}) != 1 or not paths[0]:
        raise ProblemError(
            "continuation needs alpha or beta as lists of weights, of equal length where both are given."
        )
    stages = [
        problem.with_weights(None if alpha is None else paths[0][i], None if beta is None else paths[-1][i])
        for i in range(len(paths[0]))
    ]
    checkpoint = as_checkpoint(options.pop("checkpoint", None))
    results: list[Result] = []
    with discretise(problem, mesh, backend) as map:
        for number, stage in enumerate(stages):
            if checkpoint is not None:
                path = checkpoint.file.with_name(f"{checkpoint.file.stem}-{number}.npz")
                options["checkpoint"] = replace(checkpoint, path=path)
            results.append(minimise(stage, map, method, tol, **options))
            options["start"] = results[-1]
    return results


def _weights(path: Any, name: str) -> list[float]:
    """The weights of the stages of a continuation, checked."""
    if isinstance(path, (str, bytes)) or not np.iterable(path):
        raise ProblemError(f"continuation: {name} is a list of weights, one for each stage, got {path!r}.")
    return [check_number(weight, f"continuation: each weight in {name}") for weight in path]


def estimate_discretisation(
    problem: ControlProblem, result: Result, mesh: Mesh, backend: str | Backend = "auto"
) -> float | None:
    """||u_h - u|| in the norm of the control space, estimated from the solution on the uniformly refined mesh.

    Parameters
    ----------
    problem, mesh, backend : what was solved, and how.
    result : the result.

    Returns
    -------
    The estimate, or None if the refined problem was not solved.

    Notes
    -----
    For nodal controls and actuators, 4/3 ||u_h - u_{h/2}|| at the nodes of the coarse mesh, as for errors of order 2.
    For P0 controls, where u_h is nearly the projection of u_{h/2}, (4/3)^(1/2) ||u_h - u_{h/2}|| in L2. For variational
    controls 4/3 ||u_h - u_{h/2}|| at the points of the refined mesh, where u_h is what its adjoint state makes it. The
    refined problem is solved from u_h to a fiftieth of that difference.
    """
    finer = snapped(mesh.refine(), problem.interface)
    coarse = result.control.gather()
    u, space = coarse.array, coarse.space
    variational = getattr(problem.control, "element", None) == "variational"

    def estimate(control: Field) -> float:
        if variational:
            return control.space.norm(control.array - start.array) * 4 / 3
        refined = control.gather()
        return result.group.on_root(lambda: distance(refined))

    def distance(refined: Field) -> float:
        if space.elements is None:
            return space.norm(refined.array - u) * 4 / 3
        if space.elements.degree == 1:
            # Vertices keep their numbers in the refined mesh, and copies on interfaces follow in the same order; by
            # place, both sides of a slit would have one value.
            vertices = np.zeros(space.size, dtype=int)
            vertices[space.elements.dofs] = space.elements.simplices
            elements = refined.space.elements
            assert elements is not None  # as the space that was refined has them
            vertices[vertices >= mesh.points.shape[1]] += finer.points.shape[1] - mesh.points.shape[1]
            return space.norm(elements.nodal(refined.array)[vertices] - u) * 4 / 3
        parents = np.tile(u, refined.array.size // u.size)  # child j of cell c is cell c + j m
        return refined.space.norm(refined.array - parents) * (4 / 3) ** 0.5

    with discretise(problem, finer, backend) as fine:
        start, on = result.control, problem.control.on
        if variational:
            p = result.adjoint(fine.control.nodes)
            start = Field(bind(problem, fine).control.argmin(p), fine.control)
        elif problem.interface and on is not None and hasattr(problem.control, "element"):
            # The finer mesh is nearer to curves: some of its points are beyond those of the coarse one.
            start = Field(result.control(fine.control.nodes, side=on), fine.control)
        refined = minimise(problem, fine, tol=1e-3, start=start)
        bound = refined.certificate.bound
        if bound is not None and refined.success and bound > 0.02 * estimate(refined.control):
            refined = minimise(problem, fine, tol=1e-14, atol=0.02 * estimate(refined.control), start=refined)
    if not refined.success:
        warnings.warn(f"no estimate of the discretisation error: on the refined mesh, {refined.message}", stacklevel=3)
        return None
    return estimate(refined.control)
