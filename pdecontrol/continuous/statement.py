"""What a bound to the continuous optimum needs to know of a problem, on the cells of one mesh."""

from __future__ import annotations

from collections.abc import Callable
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
from .data import Integrated, by_parts, function_of, integrated
from .kinks import Cost
from .samples import Points, squares
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
    triangles, dofs : the cells, and the degrees of freedom (3 or 6, n) of states on them.
    diffusion, reaction, weight : (n,), kappa, c and w.
    dirichlet : (f,), which facets have a Dirichlet condition.
    source, target : f, and w y_d - l.
    flux, functional : (2, 2, f), product moments of the outward flux of the state and of the adjoint state.
    cost : G.
    off : ||data - interpolants|| of the bounds and the reference, where they are not affine on cells.
    constant : int w/2 y_d^2.
    """

    triangles: Triangles
    dofs: Indices
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


def stated(problem: ControlProblem, system: System, mesh: Mesh) -> Statement:
    """The statement of a problem that a system discretises; raises NoRouteError where there is no bound."""
    elements = system.engine.elements  # type: ignore[attr-defined]
    triangles, sampler = Triangles(mesh.points, elements.simplices), Sampler(system.engine)
    equation: Any = problem.equation
    diffusion = _constant(sampler.on_cells(equation.diffusion, "diffusion", None), "the diffusion")
    reaction = _constant(sampler.on_cells(equation.reaction, "reaction", 0.0), "the reaction")
    if (reaction < 0).any():
        raise NoRouteError("the reaction is negative")
    dirichlet = _conditions(problem, system, sampler, triangles)
    integrate = partial(_integrate, mesh, triangles, elements.dofs)
    source = integrate(equation.source, np.arange(triangles.count), "source")
    flux, functional, weight = _none(triangles), _none(triangles), np.zeros(triangles.count)
    for tag, condition in problem.boundary.items():
        if isinstance(condition, Neumann):
            flux = flux + _flux(condition.flux, tag, mesh, triangles, elements.degree)
    constant = 0.0
    target = integrate(0.0, np.arange(triangles.count), "target")
    for item in problem.observations:
        if isinstance(item, Linear) and item.on in mesh.boundaries:
            functional = functional + _flux(item.weight, str(item.on), mesh, triangles, elements.degree)
            continue
        cells = np.arange(triangles.count) if item.on is None else mesh.part(item.on)
        if isinstance(item, Linear):
            target = target + integrate(item.weight, cells, "the weight of Linear").scaled(-1.0)
        else:
            weight[cells] += item.weight
            desired = integrate(item.target, cells, "the target of Tracking")
            target = target + desired.scaled(item.weight)
            constant += item.weight / 2 * float((squares(desired.local, triangles.areas) + desired.rest**2).sum())
    cost, off = _cost(problem, mesh, triangles)
    return Statement(
        triangles, elements.dofs, diffusion, reaction, weight, dirichlet, source, target, flux, functional, cost, off,
        constant,
    )  # fmt: skip


def _none(triangles: Triangles) -> Array:
    return np.zeros((2, 2, triangles.facets.shape[1]))


def _constant(values: Array, name: str) -> Array:
    """The numbers on cells of data that are constant on each, by their values (n, q) at points."""
    if (np.ptp(values, axis=1) > SAME * np.abs(values).max()).any():
        raise NoRouteError(f"{name} varies inside of cells")
    return np.asarray(values[:, 0])


def _conditions(problem: ControlProblem, system: System, sampler: Sampler, triangles: Triangles) -> Array:
    """The facets with a Dirichlet condition; its values must be those of states."""
    chosen = np.zeros(triangles.facets.shape[1], dtype=bool)
    y = system.lifting.initial()
    for tag, condition in problem.boundary.items():
        if not isinstance(condition, Dirichlet):
            continue
        region = sampler.region(tag, "boundary", "boundary")
        wanted = sampler(condition.value, region, f"Dirichlet value on {tag!r}")
        if (np.abs(wanted - region.values(y)) > SAME * (1e-300 + np.abs(wanted).max(initial=0.0))).any():
            raise NoRouteError(f"the Dirichlet values on {tag!r} are not those of a finite-element function")
        chosen[facet_numbers(triangles, system.engine.mesh.facets(tag))] = True
    return chosen


def facet_numbers(triangles: Triangles, facets: Indices) -> Indices:
    """The numbers among the facets of triangles of those given by their vertices (2, k)."""
    count = triangles.points.shape[1]

    def keys(columns: Indices) -> Indices:
        low, high = np.sort(columns.astype(np.int64), axis=0)
        return low * count + high

    own = keys(triangles.facets)
    order = np.argsort(own)
    return np.asarray(order[np.searchsorted(own[order], keys(facets))])


def _integrate(mesh: Mesh, triangles: Triangles, dofs: Indices, data: Any, cells: Indices, name: str) -> Integrated:
    """Data on some cells, integrated; arrays are values at the nodes of degree 1."""
    found: Integrated | None = None
    for own, item in by_parts(data, mesh, cells):
        exact, function = not callable(item), None
        if exact and np.ndim(item) > 0:
            function = _nodal(np.asarray(item, dtype=float), triangles, dofs, own, name)
        else:
            function = function_of(item, triangles.corners, mesh.diameter, name)
        part = integrated(function, own, triangles.corners, triangles.areas, exact)
        found = part if found is None else found + part
    assert found is not None
    return found


def _nodal(values: Array, triangles: Triangles, dofs: Indices, cells: Indices, name: str) -> Callable[[Points], Array]:
    """Values at the nodes of some cells, in ascending order of their degrees of freedom, as a function of points."""
    own = np.unique(dofs[:, cells])
    if values.shape != own.shape:
        raise NoRouteError(f"{name} is an array of values at other points than the nodes of states")
    local = np.zeros(dofs.max() + 1)
    local[own] = values
    return lambda points: points.values(local[dofs])


def _flux(data: Data, tag: str, mesh: Mesh, triangles: Triangles, degree: int) -> Array:
    """Product moments (2, 2, f) of data on the facets of a tag, that must be of one degree less than states there."""
    numbers = facet_numbers(triangles, mesh.facets(tag))
    ends = triangles.points[:, triangles.facets[:, numbers]]
    s = np.array([0.0469100770306680, 0.2307653449471585, 0.5, 0.7692346550528415, 0.9530899229693320])
    lam = np.stack([1 - s, s])
    places = np.einsum("vq,dvk->dkq", lam, ends)
    values = sample(data, places.reshape(2, -1), mesh.diameter, f"the flux on {tag!r}").reshape(-1, s.size)
    basis = np.ones((1, s.size)) if degree == 1 else lam
    coefficients = np.linalg.lstsq(basis.T, values.T, rcond=None)[0]
    if (np.abs(basis.T @ coefficients - values.T) > SAME * np.abs(values).max(initial=1e-300)).any():
        kind = "constant" if degree == 1 else "affine"
        raise NoRouteError(f"what is given on {tag!r} is not {kind} on facets")
    first, second = (coefficients[0], coefficients[0]) if degree == 1 else coefficients
    moments = _none(triangles)
    lengths = triangles.facet_lengths[numbers] / 12
    moments[0, 0, numbers] = lengths * (3 * first + second)
    moments[0, 1, numbers] = moments[1, 0, numbers] = lengths * (first + second)
    moments[1, 1, numbers] = lengths * (first + 3 * second)
    return moments


def _cost(problem: ControlProblem, mesh: Mesh, triangles: Triangles) -> tuple[Cost, float]:
    """G with interpolants of its data, and how far these are from the data, in L2."""
    tikhonov, box, l1 = problem.term(Tikhonov), problem.term(Box) or Box(), problem.term(L1) or L1(0.0)
    assert tikhonov is not None
    on = problem.control.on
    cells = np.arange(triangles.count) if on is None else mesh.part(on)
    points = Points.on(cells, triangles.areas, 4, 3)
    found, away = [], 0.0
    for data, name in ((tikhonov.reference, "reference"), (box.lower, "lower bound"), (box.upper, "upper bound")):
        local = np.zeros(triangles.cells.shape)
        if not callable(data) and np.ndim(np.asarray(data)) > 0:
            raise NoRouteError(f"the {name} is an array: give a function, or a field")
        corners = triangles.corners[:, :, cells].reshape(2, -1)
        local[:, cells] = sample(data, corners, mesh.diameter, name, infinite=True).reshape(3, -1)
        if not np.isfinite(local).all():
            if np.isfinite(local[:, cells]).any():
                raise NoRouteError(f"the {name} is finite in places, and infinite in others")
            local[:] = local[0, cells[0]]
        elif callable(data):
            off = sample(data, points.places(triangles.corners), mesh.diameter, name) - points.values(local)
            away += np.sqrt(points.sums(off**2, triangles.count).sum())
        found.append(local)
    reference, lower, upper = found
    return Cost(tikhonov.alpha, l1.beta, reference, lower, upper, cells), float(away)
