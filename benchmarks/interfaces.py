"""Elliptic and parabolic control with interfaces: fitted elements, and a Cartesian grid, against exact solutions.

    python benchmarks/interfaces.py fitted                         # every case, sizes 0.2 to 0.025, degrees 1 and 2
    python benchmarks/interfaces.py fitted --case star --size 0.1 0.05 0.025 0.0125
    python benchmarks/interfaces.py fitted --case circle --backend dolfinx
    python benchmarks/interfaces.py time --size 0.2 0.1 0.05       # orders in time, then in space
    python benchmarks/interfaces.py cartesian --size 0.1 0.05 0.025 0.0125    # beside fitted elements, in the same run

Errors are relative to the exact solution. Those of fitted elements are u, in the norm of the space of controls, which
is that of their values at nodes or, where they are variational, at points of quadrature; y, the root mean square over
six points in each cell, on the side of the cell and with its area as weight; y*, the same over the corners of cells.
Those of the Cartesian grid, u and y*, are the root mean square over its nodes. On the star there is no exact solution,
and J, ||u|| and max u are compared with those of `reference`. In time errors of states are over up to 16 of the steps.
Seconds are those of the mesh and of the solve with all that it sets up; states are the unknowns of the state equation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from cartesian import Cartesian, Curve, Optimum, optimise

import pdecontrol as pc
from pdecontrol import interface_reference as reference
from pdecontrol.arrays import Array
from pdecontrol.interface_reference import InterfaceReference

CONTRASTS = ((1.0, 10.0), (1.0, 1e3), (1e3, 1.0), (1.0, 1e-3), (1e-3, 1.0))
A, B = 0.445948490915965, 0.091576213509771  # of the rule of degree 4 with six points on a triangle
RULE = np.array([(A, A, 1 - 2 * A), (A, 1 - 2 * A, A), (1 - 2 * A, A, A), (B, B, 1 - 2 * B), (B, 1 - 2 * B, B),
                 (1 - 2 * B, B, B)]).T  # fmt: skip
SHARES = np.repeat([0.223381589678011, 0.109951743655322], 3)
EVERYWHERE = [(-1.0, 1.0), (-1.0, 1.0)]


class Sample:
    """Points in all cells of a mesh, by default those of the rule, with weights, and the side of each."""

    def __init__(self, mesh: pc.Mesh, coordinates: Array = RULE, shares: Array = SHARES) -> None:
        self.points = np.einsum("dim,iq->dmq", mesh.points[:, mesh.cells], coordinates).reshape(2, -1)
        self.weights = np.outer(mesh.volumes, shares).ravel()
        inside = np.zeros(mesh.cells.shape[1], dtype=bool)
        inside[mesh.part("inside")] = True
        self.inside = np.repeat(inside, shares.size)

    @classmethod
    def at_vertices(cls, mesh: pc.Mesh) -> Sample:
        """The corners of all cells, a millionth nearer to the middle, which is on the side of the cell."""
        return cls(mesh, (1 - 1e-6) * np.eye(3) + 1e-6 / 3, np.full(3, 1 / 3))

    def exact(self, sides: reference.Sides, *time: float) -> Array:
        return np.where(self.inside, sides["inside"](self.points, *time), sides["outside"](self.points, *time))

    def square(self, values: Array) -> float:
        return float(self.weights @ values**2)


def control_error(exact: InterfaceReference, control: pc.Field) -> float:
    """The relative error of the control in the norm of its space."""
    sides = exact.control
    if "gamma" in sides:
        optimum = control.space.interpolate(sides["gamma"])
    elif control.takes_time:
        optimum = control.space.interpolate(lambda x, t: exact.at(sides, x, t))
    else:
        optimum = control.space.interpolate(lambda x: exact.at(sides, x))
    return control.space.norm(control.array - optimum) / control.space.norm(optimum)


def state_error(exact: InterfaceReference, state: pc.Field, sample: Sample) -> float:
    """The relative error of the state in the root mean square."""
    times: list[tuple[float, ...]] = [()]
    if state.takes_time:
        times = [(t,) for t in state.space.times[:: max(1, state.space.times.size // 16)]]
    apart, size = 0.0, 0.0
    for time in times:
        optimum = sample.exact(exact.state, *time)
        apart += sample.square(state(sample.points, *time) - optimum)
        size += sample.square(optimum)
    return float(np.sqrt(apart / size))


@dataclass(frozen=True)
class Run:
    """A solved problem: errors of control and state, or what is known instead of them, and what they took."""

    values: dict[str, float]
    states: int
    solves: int
    relative: float
    seconds: tuple[float, float]


def against_star(objective: float, norm: float, largest: float) -> dict[str, float]:
    """How far the numbers of a solution on the star are from those that are known."""
    exact = reference.star()
    return {
        "J": objective / exact.objective - 1, "||u||": norm / reference.STAR_NORM - 1,
        "max u": largest / reference.STAR_MAXIMUM - 1,
    }  # fmt: skip


def run(exact: InterfaceReference, size: float, backend: str, degree: int, tol: float) -> Run:
    """Mesh and solve."""
    start = perf_counter()
    mesh = pc.fitted_mesh(EVERYWHERE, exact.problem.interface, size=size)
    meshed = perf_counter() - start
    engine = pc.Embedded(degree=degree) if backend == "skfem" else pc.Parallel(degree=degree)
    result = pc.solve(exact.problem, mesh, engine, tol=tol)
    if exact.state is None:
        u, space = result.control.array, result.control.space
        found = (result.objective, space.norm(u), space.max(u))
        values = against_star(*found)
    else:
        values = {
            "u": control_error(exact, result.control),
            "y": state_error(exact, result.state, Sample(mesh)),
            "y*": state_error(exact, result.state, Sample.at_vertices(mesh)),
        }
    levels = result.state.space.times.size if result.state.takes_time else 1
    states = result.state.space.count // levels
    return Run(values, states, result.solves["total"], result.certificate.relative, (meshed, result.seconds))


def table(title: str, label: str, steps: Sequence[float], solve: Callable[[float], Run]) -> list[Run]:
    """Print a line for each size or number of steps, with the orders from one to the next."""
    print(f"\n{title}")
    runs: list[Run] = []
    for step in steps:
        new = solve(step)
        if not runs:
            columns = "".join(f"{name:>10}{'order':>6}" for name in new.values)
            print(f"{label:>7}{'states':>8}{'solves':>8}{'mesh s':>8}{'solve s':>9}{'certified':>11}{columns}")
        seconds = f"{new.seconds[0]:>8.2f}{new.seconds[1]:>9.2f}"
        line = f"{step:>7g}{new.states:>8}{new.solves:>8}{seconds}{new.relative:>11.1e}"
        for name, value in new.values.items():
            order = "-"
            if runs:
                ratio = abs(runs[-1].values[name] / value)
                order = f"{np.log(ratio) / abs(np.log(steps[len(runs) - 1] / step)):.2f}"
            line += f"{value:>10.1e}{order:>6}"
        print(line, flush=True)
        runs.append(new)
    return runs


def fitted(arguments: argparse.Namespace) -> None:
    """The tables of fitted elements."""
    for degree in arguments.degree:
        for case in arguments.case:
            for name, exact in CASES[case](arguments.element).items():
                table(
                    f"{name}, degree {degree}", "h", arguments.size,
                    lambda h, exact=exact, degree=degree: run(exact, h, arguments.backend, degree, arguments.tol),
                )  # fmt: skip


def in_time(arguments: argparse.Namespace) -> None:
    """Orders in time on one mesh, for both schemes, then in space with many steps."""
    for scheme in ("backward-euler", "crank-nicolson"):
        table(
            f"heat, {scheme}, degree {max(arguments.degree)}, h = {arguments.size[-1]:g}", "steps", arguments.steps,
            lambda n, scheme=scheme: run(
                reference.heat(int(n), scheme, element=arguments.element), arguments.size[-1], arguments.backend,
                max(arguments.degree), arguments.tol,
            ),
        )  # fmt: skip
    exact = reference.heat(arguments.steps[-1], "crank-nicolson", element=arguments.element)
    for degree in arguments.degree:
        table(
            f"heat, {arguments.steps[-1]} steps of Crank-Nicolson, degree {degree}", "h", arguments.size,
            lambda h, degree=degree: run(exact, h, arguments.backend, degree, arguments.tol),
        )  # fmt: skip


def median_of(count: int, solve: Callable[[float], Run]) -> Callable[[float], Run]:
    """Solve several times; the seconds are the medians."""

    def several(step: float) -> Run:
        runs = [solve(step) for _ in range(count)]
        mesh, solution = (median(run.seconds[i] for run in runs) for i in (0, 1))
        return replace(runs[0], seconds=(mesh, solution))

    return several


def curve_of(exact: InterfaceReference) -> Curve:
    """The curve of a problem in polar coordinates."""
    shape = exact.shape
    if isinstance(shape, pc.Star):
        return Curve(lambda theta: shape.radius + shape.amplitude * np.sin(shape.arms * theta))
    return Curve(lambda theta: np.full_like(theta, reference.RADIUS))


def function(data: Any) -> Callable[[Array], Array]:
    """Data as a function."""
    return data if callable(data) else lambda x: np.full(x.shape[1], float(data))


def both(data: Any) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Data inside and outside of the curve."""
    return (data["inside"], data["outside"]) if isinstance(data, dict) else (function(data), function(data))


def on_grid(exact: InterfaceReference, size: float) -> tuple[Cartesian, Optimum]:
    """The problem by the immersed interface method on a Cartesian grid."""
    problem = exact.problem
    equation, gamma, box = problem.equation, problem.interface["gamma"], problem.term(pc.Box) or pc.Box()
    scheme = Cartesian(round(2 / size), curve_of(exact), (equation.diffusion["inside"], equation.diffusion["outside"]))
    found = optimise(
        scheme, both(equation.source), both(problem.tracking[0].target), function(gamma.value), function(gamma.flux),
        function(problem.boundary["boundary"].value), (box.lower, box.upper), problem.term(pc.Tikhonov).alpha,
    )  # fmt: skip
    return scheme, found


def immersed(exact: InterfaceReference, size: float) -> Run:
    """Solve on a grid."""
    start = perf_counter()
    scheme, found = on_grid(exact, size)
    seconds = perf_counter() - start

    def square(values: Array) -> float:
        return float(scheme.h**2 * (values @ values))

    if exact.state is None:
        apart = found.y - function(exact.problem.tracking[0].target)(scheme.nodes)
        cost = 0.5 * square(apart) + 0.5 * square(found.u)
        values = against_star(cost, float(np.sqrt(square(found.u))), float(found.u.max()))
    else:
        optima = [exact.at(sides, scheme.nodes) for sides in (exact.control, exact.state)]
        pairs = zip(("u", "y*"), (found.u, found.y), optima, strict=True)
        values = {name: float(np.sqrt(square(a - b) / square(b))) for name, a, b in pairs}
    return Run(values, scheme.inside.size, found.solves, float("nan"), (0.0, seconds))


def cartesian(arguments: argparse.Namespace) -> None:
    """The Cartesian grid, then fitted elements of both degrees, a case after the other."""
    for case in arguments.case:
        for name, exact in CASES[case](arguments.element).items():
            solvers = {"Cartesian": lambda h, exact=exact: immersed(exact, h)} | {
                f"fitted, degree {degree}": lambda h, exact=exact, degree=degree: run(
                    exact, h, arguments.backend, degree, arguments.tol
                )
                for degree in arguments.degree
            }
            for label, solve in solvers.items():
                table(f"{name}, {label}", "h", arguments.size, median_of(arguments.repeat, solve))


CASES: dict[str, Callable[[reference.Element], dict[str, InterfaceReference]]] = {
    "circle": lambda element: {"circle": reference.circle(element=element)},
    "unbounded": lambda element: {"circle without bounds": reference.circle(bounds=(-np.inf, np.inf), element=element)},
    "contrasts": lambda element: {
        f"circle with jumps, kappa = ({a:g}, {b:g})": reference.scaled((a, b), element) for a, b in CONTRASTS
    },
    "star": lambda element: {"star": reference.star(element)},
    "control": lambda element: {
        "control on the circle": reference.control_on_circle(),
        "control on the circle, with jumps": reference.flux_control(),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = parser.add_subparsers(required=True)
    for name, show, cases in (
        ("fitted", fitted, list(CASES)),
        ("time", in_time, None),
        ("cartesian", cartesian, ["circle", "contrasts", "star"]),
    ):
        own = tables.add_parser(name, help=show.__doc__)
        own.set_defaults(show=show)
        own.add_argument("--size", type=float, nargs="+", default=[0.2, 0.1, 0.05, 0.025])
        own.add_argument("--degree", type=int, nargs="+", default=[1, 2], choices=(1, 2))
        own.add_argument("--backend", choices=("skfem", "dolfinx"), default="skfem")
        own.add_argument("--element", default="variational", help="of distributed controls")
        own.add_argument("--tol", type=float, default=1e-8)
        if cases:
            own.add_argument("--case", nargs="+", choices=cases, default=cases)
        if name == "time":
            own.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32, 64])
        if name == "cartesian":
            own.add_argument("--repeat", type=int, default=3, help="runs whose median is the time")
    arguments = parser.parse_args()
    arguments.show(arguments)


if __name__ == "__main__":
    main()
