"""Problems with interfaces, ways to solve them with networks or without, and the errors of what they find.

Errors are root mean squares of the difference to the exact solution over 128 x 128 points of the whole square, none of
which is on a curve, or 2000 points of the circle where the control is there; and over 15 times. They are relative to
that of the exact solution, but for the equation in time, where they are absolute. On the star the solution of fitted
elements of degree 2 stands for the exact one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from time import process_time
from typing import Any

import numpy as np
from interfaces import both, on_grid

import pdecontrol as pc
from pdecontrol import interface_reference as reference
from pdecontrol.arrays import Array
from pdecontrol.interface_reference import InterfaceReference

SQUARE = [(-1.0, 1.0), (-1.0, 1.0)]
FINEST = 0.0125  # cells of the elements that stand for the exact solution on the star
STEPS = 3.2  # of time, over the size of cells
Function = Callable[..., Array]


def grid(count: int = 128) -> Array:
    """The middles (2, count^2) of the cells of a uniform grid on the square."""
    axis = (2 * np.arange(count) + 1) / count - 1
    return np.stack(np.meshgrid(axis, axis)).reshape(2, -1)


def on_circle(count: int = 2000) -> Array:
    """Points (2, count) of the circle."""
    angle = 2 * np.pi * (np.arange(count) + 0.5) / count
    return reference.RADIUS * np.array([np.cos(angle), np.sin(angle)])


@dataclass(frozen=True, eq=False)
class Case:
    """A problem with its solution; its errors are absolute or relative, and `near` says where f is not smooth."""

    exact: InterfaceReference
    absolute: bool = False
    near: Sequence[tuple[float, float]] = ()
    objective: float | None = None

    @property
    def problem(self) -> pc.ControlProblem:
        return self.exact.problem

    @property
    def times(self) -> list[tuple[float, ...]]:
        """Fifteen; without time the one where nothing is said of it."""
        levels = getattr(self.problem.equation, "levels", None)
        return [()] if levels is None else [(float(t),) for t in levels[-1] * np.arange(1, 16) / 16]

    def errors(self, found: Found) -> dict[str, float]:
        """Those of control and state; with what else is known of the star."""
        exact, points = self.exact, grid() if found.points is None else found.points
        on_curve = exact.control.get("gamma")
        u, y = [], []
        for time in self.times:
            y.append((found.state(points, *time), exact.at(exact.state, points, *time)))
            if on_curve:
                u.append((found.control(on_circle()), on_curve(on_circle())))
            else:
                u.append((found.control(points, *time), exact.at(exact.control, points, *time)))
        measure = absolute if self.absolute else relative
        values = {"u": measure(u), "y": measure(y)}
        if self.objective is not None:
            values["max u"] = float(max(own.max() for own, _ in u)) - reference.STAR_MAXIMUM
            values["J"] = found.objective / self.objective - 1
        return values


Pairs = Sequence[tuple[Array, Array]]  # what is found and what is exact


def absolute(pairs: Pairs) -> float:
    """The root mean square of the difference."""
    return float(np.sqrt(np.mean(np.concatenate([found - exact for found, exact in pairs]) ** 2)))


def relative(pairs: Pairs) -> float:
    """The same relative to that of what is exact."""
    return absolute(pairs) / absolute([(0.0 * exact, exact) for _, exact in pairs])


@dataclass(frozen=True, eq=False)
class Found:
    """State and control, functions of points and times, or of given `points` alone, and what they took.

    Seconds are those of the processor, with all that is set up, meshed and chosen.
    """

    state: Function
    control: Function
    objective: float = np.nan
    seconds: float = np.nan
    said: str = ""
    points: Array | None = None


def timed(solve: Callable[..., Found]) -> Callable[..., Found]:
    """The same with the seconds that it took."""

    def measured(*arguments: Any, **options: Any) -> Found:
        begin = process_time()
        found = solve(*arguments, **options)
        return replace(found, seconds=process_time() - begin)

    return measured


# -- ways to solve ----------------------------------------------------------------------------------------------------


def of_result(case: Case, result: pc.Result) -> Found:
    """State and control; that of elements is the projection of the adjoint state where it is variational."""
    on, control = case.problem.control.on, result.control
    side = {"side": on} if on in case.problem.interface else {}
    variational = control.function is None and not side

    def projected(*at: Any) -> Array:
        box, tikhonov = case.problem.term(pc.Box) or pc.Box(), case.problem.term(pc.Tikhonov)
        return np.clip(-result.adjoint(*at) / tikhonov.alpha, box.lower, box.upper)

    found = projected if variational else lambda *at: control(*at, **side)
    return Found(result.state, found, result.objective, said=result.method)


@timed
def by_networks(case: Case, seed: int, weight: float | None = None, **options: Any) -> Found:
    """Networks with exact conditions, or with rows for them, which have a weight."""
    strong = options.get("training", "auto") not in ("auto", "galerkin")
    options |= {"near": case.near if strong else (), "seed": seed}
    if weight is None:
        method: pc.HardConstraint | pc.SoftConstraint = pc.HardConstraint(**options)
    else:
        method = pc.SoftConstraint(boundary=weight, value=weight, **options)
    return of_result(case, pc.solve(case.problem, SQUARE, method=method))


@timed
def by_elements(case: Case, size: float, degree: int, backend: str = "skfem") -> Found:
    """Elements on a mesh that fits the curve, in time by Crank and Nicolson's method with steps like cells."""
    if case.absolute:
        case = heat(round(STEPS / size))
    mesh = pc.fitted_mesh(SQUARE, case.problem.interface, size=size)
    engine = pc.Embedded(degree=degree) if backend == "skfem" else pc.Parallel(degree=degree)
    return of_result(case, pc.solve(case.problem, mesh, engine))


@timed
def by_grid(case: Case, size: float) -> Found:
    """The Cartesian scheme, which has values at its nodes alone."""
    scheme, found = on_grid(case.exact, size)
    inner, outer = both(case.problem.tracking[0].target)
    apart = found.y - np.where(scheme.inside, inner(scheme.nodes), outer(scheme.nodes))
    objective = 0.5 * scheme.h**2 * float(apart @ apart + found.u @ found.u)
    return Found(lambda _: found.y, lambda _: found.u, objective, points=scheme.nodes)


# -- cases ------------------------------------------------------------------------------------------------------------


@cache
def star(size: float = FINEST) -> Case:
    """The star with the solution of fitted elements of degree 2 in place of the exact one."""
    exact = reference.star(element="variational")
    mesh = pc.fitted_mesh(SQUARE, exact.problem.interface, size=size)
    case = Case(exact, objective=exact.objective)
    found = of_result(case, pc.solve(exact.problem, mesh, pc.Embedded(degree=2)))
    state, control = (dict.fromkeys(("inside", "outside"), own) for own in (found.state, found.control))
    return replace(case, exact=replace(exact, state=state, control=control))


def circle(**options: Any) -> Case:
    """The circle, with f and y_d like r^3."""
    return Case(reference.circle(element="variational", **options), near=[(0.0, 0.0)])


def heat(steps: int = 16) -> Case:
    """The heat equation, whose steps are those of elements."""
    return Case(reference.heat(steps, "crank-nicolson", element="variational"), absolute=True)


CASES: dict[str, Callable[[], Case]] = {
    "circle": circle,
    "unbounded": lambda: circle(bounds=(-np.inf, np.inf)),
    "beta 5": lambda: circle(diffusion=(1.0, 5.0)),
    "star": star,
    "control": lambda: Case(reference.control_on_circle(), near=[(0.0, 0.0)]),
    "heat": heat,
    "alpha 1e-4": lambda: circle(alpha=1e-4, size=10.0),
    "(1, 1e3)": lambda: circle(diffusion=(1.0, 1e3)),
    "(1e3, 1)": lambda: circle(diffusion=(1e3, 1.0)),
    "(1, 1e-3)": lambda: circle(diffusion=(1.0, 1e-3)),
    "(1, 1e3), jumps": lambda: Case(reference.scaled((1.0, 1e3))),
    "(1e3, 1), jumps": lambda: Case(reference.scaled((1e3, 1.0))),
    "(1, 1e-3), jumps": lambda: Case(reference.scaled((1.0, 1e-3))),
    "inclusions": lambda: Case(reference.inclusions()),
    "moving": lambda: Case(reference.moving(16), absolute=True),
}


def family_errors(seed: int, count: int = 40, **options: Any) -> dict[str, float]:
    """Of all members of a family at once, at random radii and diffusions outside, with the seconds."""
    begin = process_time()

    def make(radius: float, outer: float) -> pc.ControlProblem:
        return reference.circle((1.0, outer), radius=radius).problem

    family = pc.Parametric(make, radius=(0.3, 0.7), outer=(2.0, 20.0))
    solution = pc.solve_parametric(family, SQUARE, seed=seed, **options)
    seconds, generator, points = process_time() - begin, np.random.default_rng(2026), grid(32)
    u, y = [], []
    for _ in range(count):
        radius, outer = generator.uniform(0.3, 0.7), generator.uniform(2.0, 20.0)
        member, exact = solution.member(radius=radius, outer=outer), reference.circle((1.0, outer), radius=radius)
        u.append((member.control(points), exact.at(exact.control, points)))
        y.append((member.state(points), exact.at(exact.state, points)))
    return {"u": relative(u), "y": relative(y), "seconds": seconds}
