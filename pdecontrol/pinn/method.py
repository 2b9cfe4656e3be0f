"""Interface problems without a mesh of one's own: boundary values and jumps exact, outer weights solved for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Integral
from time import perf_counter
from typing import Any, Unpack

import numpy as np

from ..arrays import Array, Indices
from ..errors import ProblemError
from ..fem.backends import Embedded
from ..fem.interfaces import divided
from ..field import Field
from ..mesh.elements import cell_lagrange, facet_lagrange
from ..mesh.fitted import fitted_mesh
from ..mesh.lagrange import Lagrange
from ..mesh.mesh import Mesh
from ..mesh.shapes import unit_square
from ..optimise import RunOptions, check_problem, minimise
from ..problem import (
    L1,
    Boundary,
    Box,
    ControlProblem,
    Dirichlet,
    Distributed,
    Elliptic,
    Quasilinear,
    Tikhonov,
    check_number,
)
from ..result import Result
from ..space import Space
from .domain import Domain, Places, domain_of
from .features import random_features
from .galerkin import GalerkinMap
from .trial import Projected, Trial

SCALES = (1.5, 2.0, 3.0, 4.5, 6.0)  # among which that of the features is chosen
PROBE = 150  # features for the choice
SIDES = ("left", "right", "bottom", "top")
SHOWN = 60  # cells along the diameter, of figures and files


@dataclass(frozen=True)
class HardConstraint:
    """State and adjoint state g + h N(x, phi(x)), N with one random hidden layer whose outer weights are solved for.

    Boundary values and jumps of the state are satisfied exactly, whatever the weights; the jump of the flux is natural
    in Galerkin's method. The control is the projection of the adjoint state, and feasible everywhere.

    Parameters
    ----------
    features : how many neurons N has, for state and adjoint state each.
    scale : of their slopes, relative to half of the sides of the domain; chosen among five, by the energy that few
        neurons capture, where it is None.
    points : Gauss points in each direction of the cells of the quadrature, more where a finer rule does not agree.
    seed : of the hidden layer.

    Notes
    -----
    M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, The hard-constraint PINNs for interface optimal control problems, SIAM
    J. Sci. Comput. 47 (2025), have the ansatz, and train all weights.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.interface_reference.circle().problem
    >>> result = pc.solve(problem, [(-1, 1), (-1, 1)], method=HardConstraint(features=50, scale=2.0))
    >>> result.success
    True
    """

    features: int = 400
    scale: float | None = None
    points: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("features", 1), ("points", 2), ("seed", 0)):
            value: Any = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ProblemError(f"HardConstraint: {name} is an integer, {least} or more, got {value!r}.")
        if self.scale is not None:
            check_number(self.scale, "HardConstraint: scale", positive=True)


def solve_on_box(
    problem: ControlProblem, box: Any, method: HardConstraint, tol: float, **options: Unpack[RunOptions]
) -> Result:  # fmt: skip
    """A problem on a rectangle by trial functions."""
    begin = perf_counter()
    check_problem(problem, "problem, domain")
    _refuse_others(problem)
    domain = domain_of(problem, box)
    coarse = _mesh(domain, domain.diameter / 5.6, turn=0.8, grading=0.6)
    scale = method.scale or _best_scale(problem, domain, coarse, method)
    features = random_features(domain, method.features, scale, np.random.default_rng(method.seed))
    map = GalerkinMap(problem, features, coarse, method.points)
    result = minimise(problem, map, tol=tol, **options)
    note = (
        f"hard constraints, Galerkin in {map.basis.shape[1]} of {method.features} random features of scale {scale:g}, "
        f"{map.points} points of quadrature; {result.method}"
    )
    dressed = _dressed(result, map, domain)
    return replace(dressed, method=note, seconds=perf_counter() - begin)


def _refuse_others(problem: ControlProblem) -> None:
    """Raise ProblemError for what trial functions are not made for."""
    equation, control = problem.equation, problem.control
    nonlinear = [getattr(equation, name, None) is not None for name in ("semilinear", "convection", "advection")]
    if not isinstance(equation, Elliptic) or any(nonlinear) or isinstance(equation.diffusion, Quasilinear):
        raise ProblemError("method='pinn' solves linear Elliptic equations without advection: take finite elements.")
    if not isinstance(control, Distributed) and not (isinstance(control, Boundary) and control.on in problem.interface):
        raise ProblemError(
            f"method='pinn' takes Distributed controls, or a Boundary control on an interface, not {control!r}."
        )
    given = {tag for tag, condition in problem.boundary.items() if isinstance(condition, Dirichlet)}
    if given != set(problem.boundary) or not (given >= set(SIDES) or "boundary" in given):
        raise ProblemError(
            "method='pinn' needs the state on the whole boundary, {'boundary': Dirichlet(..)}, or on 'left', 'right', "
            f"'bottom' and 'top'; the conditions are {dict(problem.boundary)}."
        )


def _mesh(domain: Domain, size: float, **options: float) -> Mesh:
    """A mesh of the rectangle that fits its interfaces."""
    if domain.interface:
        return fitted_mesh(domain.box, domain.interface, size, outside=domain.outside, **options)
    low, high = np.array(domain.box).T[:, :, None]
    counts = np.ceil((high - low).ravel() / size).astype(int).tolist()
    whole = unit_square(counts).transform(lambda x: low + (high - low) * x)
    return whole.tag_part(domain.outside, lambda x: np.isfinite(x[0]))


def _best_scale(problem: ControlProblem, domain: Domain, mesh: Mesh, method: HardConstraint) -> float:
    """The scale with which few features capture the most energy, of the state without control and its adjoint state."""
    energies = []
    for scale in SCALES:
        features = random_features(domain, min(PROBE, method.features), scale, np.random.default_rng(method.seed))
        map = GalerkinMap(problem, features, mesh, method.points)
        at = map.at(map.control.zeros())
        adjoint = at.solve_adjoint(np.ones(map.observation.size)).state
        assert adjoint is not None
        energies.append((at.state @ at.state, adjoint @ adjoint))
    best = np.max(energies, axis=0)
    missing = [max((best - energy) / best) for energy in np.array(energies)]
    return SCALES[int(np.argmin(missing))]


def _dressed(result: Result, map: GalerkinMap, domain: Domain) -> Result:
    """The result with functions that are known everywhere, and their values at the nodes of elements for figures."""
    problem, control = map.problem, map.problem.control
    mesh = divided(problem, _mesh(domain, domain.diameter / SHOWN), 2)
    states = Embedded(degree=2).engine(mesh).solution()
    y, p = (
        Trial(map.features, map.lifting, map.basis @ field.array, weight)
        for field, weight in ((result.state, 1.0), (result.adjoint, 0.0))
    )
    u = _control(problem, domain, p, map.sign)
    if isinstance(control, Boundary):
        elements = facet_lagrange(mesh, control.on, 1)
    else:
        elements = cell_lagrange(mesh, 1, control.on)
    space = Space(elements.lumped_mass(), elements, diameter=mesh.diameter)
    nodes = _nodes(domain, elements, control.on if isinstance(control, Boundary) else None)
    rows = np.empty((3, elements.size))
    for dofs, places in nodes:
        rows[:, dofs] = u.at(places), *u.data(places)[:2]
    fields: dict[str, Any] = {"control": Field(rows[0], space, "control", u)}
    fields |= {name: Field(row, space, f"{name} bound") for name, row in zip(("lower", "upper"), rows[1:], strict=True)}
    assert states.elements is not None
    for name, function in (("state", y), ("adjoint", p)):
        values = np.empty(states.size)
        for dofs, places in _nodes(domain, states.elements, None):
            values[dofs] = function.at(places)
        fields[name] = Field(values, states, name, function)
    return replace(result, **fields)


def _nodes(domain: Domain, elements: Lagrange, curve: str | None) -> list[tuple[Indices, Places]]:
    """The nodes of elements on the domain, part by part, or of those on a curve, where they are."""
    if curve is not None:
        return [(np.arange(elements.size), domain.on(curve, elements.points, True))]
    dofs = [np.unique(elements.dofs[:, cells]) for cells in elements.parts.values()]
    return [(own, domain.places(elements.points[:, own], tag)) for own, tag in zip(dofs, elements.parts, strict=True)]


def _control(problem: ControlProblem, domain: Domain, adjoint: Trial, sign: float) -> Projected:
    """The control as a projection of the adjoint state."""
    tikhonov, box = problem.term(Tikhonov) or Tikhonov(0.0), problem.term(Box) or Box()
    names = {"lower": box.lower, "upper": box.upper, "reference": tikhonov.reference}

    def data(places: Places) -> tuple[Array, ...]:
        return tuple(domain.values(item, places, f"the {name} bound of Box") for name, item in names.items())

    return Projected(adjoint, sign, tikhonov.alpha, (problem.term(L1) or L1(0.0)).beta, data)
