"""What a bound to the continuous optimum needs to know of a problem, on the cells of one mesh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..arrays import Array, Data, Indices, sample
from ..fem.sampler import Sampler
from ..fem.system import System
from ..mesh.mesh import Mesh
from ..problem import (
    L1,
    Box,
    ControlProblem,
    Dirichlet,
    Distributed,
    Elliptic,
    Linear,
    Neumann,
    Quasilinear,
    Robin,
    Tikhonov,
    Tracking,
)
from .data import Integrated, by_parts, function_of, integrated, norms
from .intervals import Intervals
from .kinks import Cost
from .samples import Points, rule, squares
from .triangles import Triangles

SAME = 1e-10  # relative differences of values that are taken for equal


class NoRouteError(Exception):
    """Why there is no bound to the continuous optimum."""


def unsupported(problem: ControlProblem, mesh: Mesh, degree: int) -> str | None:
    """Why there is no bound, as far as the statement of a problem tells."""
    equation = problem.equation
    if degree > 2:
        return f"the states have degree {degree}, and fluxes are for degrees 1 and 2"
    if not isinstance(equation, Elliptic):
        return f"the equation is {type(equation).__name__}, and bounds are for linear elliptic ones"
    if equation.semilinear or equation.convection or isinstance(equation.diffusion, Quasilinear):
        return "the equation is not linear"
    if equation.advection is not None:
        return "the equation has advection"
    if problem.interface:
        return "states jump on interfaces"
    if mesh.dim == 3:
        return "the constants that it takes are known in one and two dimensions, not in three"
    if mesh.bends is not None:
        return "the mesh has bent edges"
    for tag, condition in problem.boundary.items():
        if isinstance(condition, Robin):
            return f"the condition on {tag!r} is a Robin one"
    if not isinstance(problem.control, Distributed):
        return f"the control is {type(problem.control).__name__}, and bounds are for distributed ones"
    for item in problem.observations:
        if isinstance(item, Tracking) and (item.points is not None or item.on in mesh.boundaries):
            return "the state is tracked at points or on a boundary"
    tikhonov = problem.term(Tikhonov)
    if tikhonov is None or tikhonov.alpha == 0:
        return "there is no Tikhonov term"
    return None


@dataclass(frozen=True, eq=False)
class Statement:
    """-div(kappa grad y) + c y = f + u with conditions, and min int w/2 (y - y_d)^2 + l y + G(u), on cells.

    Attributes
    ----------
    cells, dofs : the mesh, and the degrees of freedom (l, n) of states on its cells: corners, then middles of edges.
    corners, volumes : (dim, dim + 1, n) and (n,), of the cells.
    diffusion, reaction, weight : (n,), kappa, c and w.
    dirichlet : (f,), which facets have a Dirichlet condition.
    source, target : f, and w y_d - l.
    flux, functional : (dim, dim, f), product moments of the outward flux of the state and of the adjoint state.
    cost : G.
    off : ||data - interpolants|| of the bounds and the reference, where they are not affine on cells.
    constant : int w/2 y_d^2.
    sampled : what is assumed of coefficients that are given as functions, a clause.
    """

    cells: Triangles | Intervals
    dofs: Indices
    corners: Array
    volumes: Array
    diffusion: Array
    reaction: Array
    weight: Array
    dirichlet: Array
    source: Integrated
    target: Integrated
    flux: Array
    functional: Array
    cost: Cost
    off: float
    constant: float
    sampled: str


def stated(problem: ControlProblem, system: System, mesh: Mesh) -> Statement:
    """The statement of a problem that a system discretises; raises NoRouteError where there is no bound."""
    elements = system.engine.elements  # type: ignore[attr-defined]
    cells: Triangles | Intervals = (Triangles if mesh.dim == 2 else Intervals)(mesh.points, elements.simplices)
    sampler, every = Sampler(system.engine), np.arange(cells.count)
    equation: Any = problem.equation
    diffusion = _constant(sampler.on_cells(equation.diffusion, "diffusion", None), "the diffusion")
    reaction = _constant(sampler.on_cells(equation.reaction, "reaction", 0.0), "the reaction")
    if (reaction < 0).any():
        raise NoRouteError("the reaction is negative")
    if isinstance(cells, Intervals) and cells.boundary.sum() > 2:
        raise NoRouteError("the domain consists of several intervals")
    dirichlet = _conditions(problem, system, sampler, cells)
    integrate, prescribed = (
        partial(_integrate, mesh, cells, elements.dofs),
        partial(_flux, mesh, cells, elements.degree),
    )
    source = integrate(equation.source, every, "source")
    flux, functional, weight = _none(cells), _none(cells), np.zeros(cells.count)
    for tag, condition in problem.boundary.items():
        if isinstance(condition, Neumann):
            flux = flux + prescribed(condition.flux, tag)
    constant = 0.0
    target = integrate(0.0, every, "target")
    for item in problem.observations:
        if isinstance(item, Linear) and item.on in mesh.boundaries:
            functional = functional + prescribed(item.weight, item.on)
            continue
        own = every if item.on is None else mesh.part(item.on)
        if isinstance(item, Linear):
            target = target + integrate(item.weight, own, "the weight of Linear").scaled(-1.0)
        else:
            weight[own] += item.weight
            desired = integrate(item.target, own, "the target of Tracking")
            target = target + desired.scaled(item.weight)
            constant += item.weight / 2 * float((squares(desired.local, mesh.volumes) + desired.rest**2).sum())
    cost, off = _cost(problem, mesh, cells)
    stated_as = [item for data in (equation.diffusion, equation.reaction) for _, item in by_parts(data, mesh, every)]
    sampled = "; coefficients constant on cells, as at their quadrature points" if any(map(callable, stated_as)) else ""
    return Statement(
        cells, elements.dofs, cells.corners, mesh.volumes, diffusion, reaction, weight, dirichlet, source, target,
        flux, functional, cost, off, constant, sampled,
    )  # fmt: skip


def _none(cells: Triangles | Intervals) -> Array:
    dim, count = cells.facets.shape
    return np.zeros((dim, dim, count))


def _constant(values: Array, name: str) -> Array:
    """The numbers on cells of data that are constant on each, by their values (n, q) at points."""
    if (np.ptp(values, axis=1) > SAME * np.abs(values).max()).any():
        raise NoRouteError(f"{name} varies inside of cells")
    return np.asarray(values[:, 0])


def _conditions(problem: ControlProblem, system: System, sampler: Sampler, cells: Triangles | Intervals) -> Array:
    """The facets with a Dirichlet condition; its values must be those of states."""
    chosen = np.zeros(cells.facets.shape[1], dtype=bool)
    y = system.lifting.initial()
    for tag, condition in problem.boundary.items():
        if not isinstance(condition, Dirichlet):
            continue
        region = sampler.region(tag, "boundary", "boundary")
        wanted = sampler(condition.value, region, f"Dirichlet value on {tag!r}")
        if (np.abs(wanted - region.values(y)) > SAME * (1e-300 + np.abs(wanted).max(initial=0.0))).any():
            raise NoRouteError(f"the Dirichlet values on {tag!r} are not those of a finite-element function")
        chosen[facet_numbers(cells, system.engine.mesh.facets(tag))] = True
    return chosen


def facet_numbers(cells: Triangles | Intervals, facets: Indices) -> Indices:
    """The numbers among all facets of those given by their vertices (dim, k)."""
    count = cells.points.shape[1]
    if len(facets) == 1:
        return facets[0]

    def keys(columns: Indices) -> Indices:
        low, high = np.sort(columns.astype(np.int64), axis=0)
        return low * count + high

    own = keys(cells.facets)
    order = np.argsort(own)
    return np.asarray(order[np.searchsorted(own[order], keys(facets))])


def _integrate(
    mesh: Mesh, cells: Triangles | Intervals, dofs: Indices, data: Any, chosen: Indices, name: str
) -> Integrated:
    """Data on some cells, integrated; arrays are values at the nodes of states there."""
    found: Integrated | None = None
    for own, item in by_parts(data, mesh, chosen):
        array = isinstance(item, (np.ndarray, list, tuple)) and np.ndim(item) > 0
        function = _nodal(item, dofs, own, name) if array else function_of(item, cells.corners, mesh.diameter, name)
        degree = 1 if len(dofs) == len(cells.cells) else 2
        part = integrated(function, own, cells.corners, mesh.volumes, not callable(item), degree)
        found = part if found is None else found + part
    assert found is not None
    return found


def _nodal(values: Any, dofs: Indices, chosen: Indices, name: str) -> Callable[[Points], Array]:
    """Values at the nodes of some cells, in ascending order of their degrees of freedom, as a function of points."""
    own = np.unique(dofs[:, chosen])
    if np.shape(values) != own.shape:
        raise NoRouteError(f"{name} is an array of values at other points than the nodes of states")
    nodal = np.zeros(dofs.max() + 1)
    nodal[own] = values
    return lambda points: points.values(nodal[dofs])


def _flux(mesh: Mesh, cells: Triangles | Intervals, degree: int, data: Data, tag: str) -> Array:
    """Product moments of data on the facets of a tag; they must be of one degree less than states there."""
    moments, numbers = _none(cells), facet_numbers(cells, mesh.facets(tag))
    name = f"the flux on {tag!r}"
    if not cells.boundary[numbers].all():
        raise NoRouteError(f"there is a linear functional on {tag!r}, inside the domain")
    if mesh.dim == 1:
        moments[0, 0, numbers] = sample(data, mesh.points[:, numbers], mesh.diameter, name)
        return moments
    ends = mesh.points[:, cells.facets[:, numbers]]
    lam, weights = rule(1, 6)
    places = np.einsum("qv,dvk->dkq", lam, ends)
    values = sample(data, places.reshape(2, -1), mesh.diameter, name).reshape(-1, len(lam)).T
    basis = lam if degree == 2 else np.ones((len(lam), 1))
    weighted = basis.T * weights
    fitted = basis @ np.linalg.solve(weighted @ basis, weighted @ values)
    if (np.abs(fitted - values) > SAME * np.abs(values).max(initial=1e-300)).any():
        kind = "constant" if degree == 1 else "affine"
        raise NoRouteError(f"what is given on {tag!r} is not {kind} on facets")
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=0)
    moments[:, :, numbers] = np.einsum("qi,qj,q,qk->ijk", lam, lam, weights, values) * lengths
    return moments


def _cost(problem: ControlProblem, mesh: Mesh, cells: Triangles | Intervals) -> tuple[Cost, float]:
    """G with interpolants of its data, and how far these are from the data, in L2."""
    tikhonov, box, l1 = problem.term(Tikhonov), problem.term(Box) or Box(), problem.term(L1) or L1(0.0)
    assert tikhonov is not None
    on = problem.control.on
    own = np.arange(cells.count) if on is None else mesh.part(on)
    found, away = [], 0.0
    for data, name in ((tikhonov.reference, "reference"), (box.lower, "lower bound"), (box.upper, "upper bound")):
        if isinstance(data, Mapping):
            raise NoRouteError(f"the {name} is given part by part")
        local = np.zeros(cells.cells.shape)
        if isinstance(data, (np.ndarray, list, tuple)) and np.ndim(data) > 0:
            raise NoRouteError(f"the {name} is an array: give a function, or a field")
        corners = cells.corners[:, :, own].reshape(mesh.dim, -1)
        local[:, own] = sample(data, corners, mesh.diameter, name, infinite=True).reshape(mesh.dim + 1, -1)
        if not np.isfinite(local).all():
            if np.isfinite(local[:, own]).any():
                raise NoRouteError(f"the {name} is finite in places, and infinite in others")
            local[:] = local[0, own[0]]
        elif callable(data):

            def off(points: Points, data: Data = data, name: str = name, local: Array = local) -> Array:
                values = sample(data, points.places(cells.corners), mesh.diameter, name, infinite=True)
                if not np.isfinite(values).all():
                    raise NoRouteError(f"the {name} is finite in places, and infinite in others")
                return values - points.values(local)

            away += norms(off, own, mesh.volumes, mesh.dim)[1]
        found.append(local)
    reference, lower, upper = found
    return Cost(tikhonov.alpha, l1.beta, reference, lower, upper, own), away
