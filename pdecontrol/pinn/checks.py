"""Problems that trial spaces are made for: what else is stated is refused before any work."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import MeshError, ProblemError
from ..mesh.domains import check_tags
from ..problem import (
    Boundary,
    ControlProblem,
    Dirichlet,
    Distributed,
    Elliptic,
    Linear,
    Parabolic,
    Polygon,
    Quasilinear,
    Shape,
    Tracking,
)
from ..problem.curves import apart
from .functions.domain import Domain, data_of, domain_of
from .functions.factors import loops_of
from .functions.lifting import SIDES
from .functions.projection import projection

TIMES = 17  # at which moving interfaces are looked at
CLOSE = 1e-3  # of the diameter: interfaces are further apart
SIDE_TAGS = {name for pair in SIDES for name in pair}


def checked_domain(problem: ControlProblem, box: Any) -> Domain:
    """The rectangle with the interfaces of a problem, which is one for trial spaces.

    Raises
    ------
    ProblemError
        If equation, control, conditions or observations are none that they take; tags are unknown; interfaces leave
        the domain, or come near to each other or to its boundary, at any of some times; bounds cross; the diffusion is
        not positive.
    DataError
        If data are not finite, or leave out a part.
    """
    _check_equation(problem)
    _check_control(problem)
    _check_conditions(problem)
    for name, data in data_of(problem):
        for item in data.values() if isinstance(data, Mapping) else [data]:
            if not callable(item) and np.ndim(item):
                raise ProblemError(f"{name}: arrays are values on a mesh, and there is none: give a function of x.")
    domain = domain_of(problem, box)
    _check_tags(problem, domain)
    for item in problem.observations:
        _check_observation(item, domain)
    for t in np.linspace(*domain.span, TIMES).tolist() if domain.span and domain.moves else [None]:
        try:
            _check_curves(domain, t)
        except ProblemError as error:
            raise error if t is None else ProblemError(f"at t = {t:.6g}: {error}") from error
    _check_nesting(domain)
    _check_data(problem, domain)
    return domain


def _check_equation(problem: ControlProblem) -> None:
    equation = problem.equation
    steady = equation.steady if isinstance(equation, Parabolic) else equation
    if not isinstance(steady, Elliptic):
        raise ProblemError(
            f"trial spaces are for Elliptic equations and Parabolic ones made of them, not {equation!r}."
        )
    for name in ("advection", "semilinear", "convection"):
        if getattr(steady, name) is not None:
            raise ProblemError(f"trial spaces are for equations without {name}: take finite elements.")
    if isinstance(steady.diffusion, Quasilinear):
        raise ProblemError("trial spaces are for linear equations, not for a Quasilinear one: take finite elements.")


def _check_control(problem: ControlProblem) -> None:
    control = problem.control
    if isinstance(control, Boundary) and control.on not in problem.interface:
        raise ProblemError(
            f"Boundary control on {control.on!r}: in trial spaces y is given on the boundary, and controls act on "
            f"the domain or on an interface, {list(problem.interface)}."
        )
    if not isinstance(control, (Distributed, Boundary)):
        raise ProblemError(
            f"trial spaces take Distributed controls, or a Boundary control on an interface, not {control!r}."
        )


def _check_conditions(problem: ControlProblem) -> None:
    """y is given on the whole boundary, on that of all sides first."""
    given = list(problem.boundary)
    for tag, condition in problem.boundary.items():
        if tag not in SIDE_TAGS | {"boundary"}:
            raise ProblemError(f"boundary[{tag!r}]: a rectangle has {sorted(SIDE_TAGS)}, and 'boundary' for all.")
        if not isinstance(condition, Dirichlet):
            raise ProblemError(
                f"boundary[{tag!r}]: trial spaces need the state on the boundary, Dirichlet(..), not {condition!r}."
            )
    if "boundary" not in given and not set(given) >= SIDE_TAGS:
        raise ProblemError(
            "trial spaces need the state on the whole boundary, Dirichlet(..) for 'boundary' or for all sides; there "
            f"is none on {sorted(SIDE_TAGS - set(given))}."
        )
    if "boundary" in given[1:]:
        raise ProblemError("boundary: state the condition for 'boundary' before those for sides, as later ones hold.")


def _check_tags(problem: ControlProblem, domain: Domain) -> None:
    try:
        check_tags(domain.interface, domain.outside, SIDE_TAGS)
    except MeshError as error:
        raise ProblemError(str(error)) from None
    control = problem.control
    if isinstance(control, Distributed) and control.on not in (None, *domain.tags):
        raise ProblemError(f"Distributed: there is no part {control.on!r}, the parts are {domain.tags}.")


def _check_observation(item: Tracking | Linear, domain: Domain) -> None:
    name = type(item).__name__
    if item.on in SIDE_TAGS | {"boundary"}:
        raise ProblemError(f"{name} on {item.on!r}: y is given on the boundary, there is nothing to observe.")
    if item.on is not None and item.on.removesuffix("+") in domain.interface and item.on.endswith("+"):
        raise ProblemError(f"{name} on {item.on!r}: trial spaces observe the inner side, {item.on[:-1]!r}.")
    if item.on not in (None, *domain.tags, *domain.interface):
        raise ProblemError(
            f"{name}: there is no part or interface {item.on!r}, the parts are {domain.tags}, the interfaces "
            f"{list(domain.interface)}."
        )
    points = item.points if isinstance(item, Tracking) else None
    if points is not None:
        low, high = np.array(domain.box).T[:, :, None]
        if len(points) != 2 or ((points < low) | (points > high)).any():
            raise ProblemError(f"Tracking: not all points are in the domain {domain.box}.")
    times = item.times if isinstance(item.times, tuple) else (item.times,)
    for t in times:
        if domain.span is not None and not isinstance(t, str) and not domain.span[0] <= t <= domain.span[1]:
            raise ProblemError(f"{name}: the time {t:g} is not between {domain.span[0]:g} and {domain.span[1]:g}.")


def _check_curves(domain: Domain, t: float | None) -> None:
    """At a time, curves are inside the domain, away from its boundary and from each other."""
    corner = np.array(domain.box, dtype=float)[:, :1]
    curves: dict[str, list[Array]] = {}
    for tag in domain.interface:
        shape: Shape = domain.shape(tag, t)
        if isinstance(shape, Polygon):
            raise ProblemError(f"interface {tag!r}: a trial space needs a smooth shape, got {shape!r}.")
        curves[tag] = loops_of(domain, tag, shape)
        if shape.contains(corner)[0]:
            raise ProblemError(
                f"interface {tag!r}: its level is negative on the boundary of the domain; it is negative inside, and "
                "positive outside."
            )
    least = CLOSE * domain.diameter
    for one, other in combinations(curves, 2):
        gap, place = apart(curves[one], curves[other], least)
        if gap < least:
            raise ProblemError(
                f"interfaces {one!r} and {other!r} cross or come near to each other, at x = "
                f"{place.round(6).tolist()}; trial spaces need a distance of {least:.2g}."
            )


def _check_nesting(domain: Domain) -> None:
    """Parts differ from those around them."""
    insides = [item.inside for item in domain.interface.values()]
    for tag, own, around in zip(domain.interface, insides, domain.around, strict=True):
        parents = sorted(around, key=lambda number: len(domain.around[number]))
        if parents and insides[parents[-1]] == own:
            raise ProblemError(
                f"interface {tag!r} has the part {own!r} on both of its sides; give the inner one of two interfaces "
                "another tag `inside`."
            )


def _check_data(problem: ControlProblem, domain: Domain) -> None:
    """Coefficients and bounds on a grid, or on the interface where the control acts, at some times."""
    steady: Any = problem.equation.steady if isinstance(problem.equation, Parabolic) else problem.equation
    grid = np.stack(np.meshgrid(*(np.linspace(low, high, 33) for low, high in domain.box))).reshape(2, -1)
    for t in np.linspace(*domain.span, 5).tolist() if domain.span else [None]:
        places = domain.places(grid, t)
        domain.positive(steady.diffusion, places, "diffusion")
        domain.values(steady.reaction, places, "reaction", 0.0)
        domain.values(steady.source, places, "source", 0.0)
        control = problem.control
        if isinstance(control, Boundary):
            loops = loops_of(domain, control.on, domain.shape(control.on, t))
            places = domain.on(control.on, np.hstack(loops), True, t)
        projection(problem, domain, places)
