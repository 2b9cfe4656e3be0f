"""Integrals over the domain, its interfaces and time, for the objective of trial functions."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import product as pairs

import numpy as np
from scipy.special import roots_legendre

from ...arrays import Array
from ...mesh.fitted import fitted_mesh
from ...mesh.mesh import Mesh
from ...mesh.shapes import unit_square
from ...problem import L1, Boundary, ControlProblem, Tikhonov, Tracking
from .domain import Domain, Places
from .projection import controlled
from .quadrature import cell_rule
from .trial import Projected, Trial

POINTS = 6  # of Gauss, in each direction of cells
CELLS = 24  # in each direction of the rectangle, where no cells are fitted to interfaces
TIMES = 12  # of Gauss

Weighted = list[tuple[Places, Array]]  # places with weights, at each of some times


def can_fit(domain: Domain) -> bool:
    """Whether there are meshes fitted to the interfaces: they stand still, and gmsh is there."""
    return not domain.moves and (not domain.interface or find_spec("gmsh") is not None)


def mesh_of(domain: Domain, size: float, turn: float | None = None, grading: float = 0.6) -> Mesh:
    """A mesh of the rectangle, fitted to its interfaces where that is possible."""
    if domain.interface and can_fit(domain):
        return fitted_mesh(domain.box, domain.interface, size, turn=turn, grading=grading, outside=domain.outside)
    low, high = np.array(domain.box).T[:, :, None]
    counts = np.ceil((high - low).ravel() / size).astype(int).tolist()
    return unit_square(counts).transform(lambda x: low + (high - low) * x).tag_part(domain.outside, _everywhere)


def _everywhere(x: Array) -> Array:
    return np.isfinite(x[0])


def times_of(domain: Domain) -> list[tuple[float | None, float]]:
    """Times with weights; None where there is no time."""
    if domain.span is None:
        return [(None, 1.0)]
    begin, end = domain.span
    nodes, weights = roots_legendre(TIMES)
    return [
        (float(begin + 0.5 * (end - begin) * (1 + node)), float(0.5 * (end - begin) * weight))
        for node, weight in zip(nodes, weights, strict=True)
    ]


def on_domain(domain: Domain) -> Weighted:
    """Of integrals over the domain and time; to a few digits where interfaces cut cells."""
    if can_fit(domain) and domain.interface:
        rule = cell_rule(mesh_of(domain, domain.diameter / 6, 0.8), domain.interface, POINTS)
        points, weights = rule.points, rule.weights
    else:
        axes, shares = [], []
        nodes, parts = roots_legendre(4)
        for low, high in domain.box:
            width = (high - low) / CELLS
            axes.append((low + width * (np.arange(CELLS)[:, None] + 0.5 * (1 + nodes))).ravel())
            shares.append(np.tile(0.5 * width * parts, CELLS))
        points = np.array(list(pairs(*axes))).T
        weights = np.outer(*shares).ravel()
    return [(domain.places(points, t), share * weights) for t, share in times_of(domain)]


def on_curve(domain: Domain, tag: str) -> Weighted:
    """Of integrals along an interface and time, on its inner side, or on its outer one where the tag ends in a plus."""
    name = tag.removesuffix("+")
    found: Weighted = []
    for t, share in times_of(domain):
        loops = domain.shape(name, t).curves(domain.diameter / 200, 0.05, domain.box)
        points = np.hstack(loops)
        lengths = [np.linalg.norm(np.roll(loop, -1, axis=1) - loop, axis=0) for loop in loops]
        weights = np.concatenate([0.5 * (length + np.roll(length, 1)) for length in lengths])
        found.append((domain.on(name, points, name == tag, t), share * weights))
    return found


def objective(problem: ControlProblem, state: Trial, control: Projected) -> tuple[float, float]:
    """J(u) with the state that belongs to trial functions, and the norm of u."""
    domain = state.ansatz.domain
    everywhere, total = on_domain(domain), 0.0
    for item in problem.observations:
        curve = item.on is not None and (item.on.removesuffix("+") in domain.interface)
        observed = on_curve(domain, str(item.on)) if curve else everywhere
        if isinstance(item, Tracking) and item.points is not None:
            observed = [(domain.places(item.points), np.ones(item.points.shape[1]))]
        for places, weights in observed:
            part = weights if curve or item.on is None else weights * domain.part(places, item.on)
            if isinstance(item.times, tuple):
                part = part * (item.times[0] <= (places.t or 0.0) <= item.times[1])
            chosen = part != 0
            places, part = places.only(chosen), part[chosen]
            if isinstance(item, Tracking):
                misfit = state.at(places) - domain.values(item.target, places, "the target of Tracking")
                total += 0.5 * item.weight * float(part @ misfit**2)
            else:
                total += float(part @ (domain.values(item.weight, places, "the weight of Linear") * state.at(places)))
    tikhonov, beta = problem.term(Tikhonov) or Tikhonov(0.0), (problem.term(L1) or L1(0.0)).beta
    on, norm = problem.control.on, 0.0
    for places, weights in on_curve(domain, str(on)) if isinstance(problem.control, Boundary) else everywhere:
        chosen = controlled(problem, domain, places)
        places, part = places.only(chosen), weights[chosen]
        u = control.at(places)
        reference = domain.values(tikhonov.reference, places, "the reference of Tikhonov")
        total += float(part @ (0.5 * tikhonov.alpha * (u - reference) ** 2 + beta * np.abs(u)))
        norm += float(part @ u**2)
    return total, float(np.sqrt(norm))
