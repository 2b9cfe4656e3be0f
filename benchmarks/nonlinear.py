"""Problems of the papers on primal-dual methods in time and with nonlinear equations, with published steps and our own.

For each problem, size and method: iterations until the published stopping rule (k >= 3, changes of u and p at most 1e-5
of max(1, norm), from u = p = 0), then iterations and PDE solves of a run to a certified tolerance, certificates
included, and the objective, the norms of the control and the error where an exact control is known, all of that run.
Published steps are the pair (r, s) of the authors' programs, without their relaxation. Last the time of a state of the
semilinear equation over that of one of the heat equation on the same mesh, at a control of the size of the optimum.

    python benchmarks/nonlinear.py                                     # sizes 16 and 32, Burgers 100 and 400
    python benchmarks/nonlinear.py --size 64 --problem bilinear --limit 300
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.solvers.method import Start
from pdecontrol.terms import bind


def burgers(steps: int) -> reference.Reference:
    """-y''/12 + y y' = u on the interval, y_d = 0.3, u <= 0.3, alpha = 0.1."""
    return reference.Reference(
        pc.ControlProblem(
            equation=pc.burgers(1 / 12),
            boundary={"boundary": pc.Dirichlet()},
            control=pc.Distributed(),
            tracking=pc.Tracking(0.3),
            terms=[pc.Tikhonov(0.1), pc.Box(upper=0.3)],
        )
    )


PROBLEMS: dict[str, tuple[Callable[[int], reference.Reference], tuple[float, float] | None]] = {
    "heat": (reference.heat, None),
    "burgers": (burgers, (1.0, 0.2)),
    "semilinear": (reference.semilinear_heat, (500.0, 0.4)),
    "bilinear": (reference.bilinear_heat, (200.0, 0.4)),
}


def published_rule(problem: pc.ControlProblem, map: pc.SolutionMap, method: pc.PrimalDual, limit: int) -> int | None:
    """Iterations from zero until the published stopping rule holds; None if that is not within the limit."""
    objective, control, observation = bind(problem, map), map.control, map.observation
    algorithm = method.algorithm_for(objective, map)
    state = algorithm.begin(objective, map, Start(control.zeros(), cold=True))
    for iteration in range(1, limit + 1):
        new = algorithm.step(objective, map, state)
        changes = (
            control.norm(new.u - state.u) / max(1.0, control.norm(state.u)),
            observation.norm(new.dual - state.dual) / max(1.0, observation.norm(state.dual)),
        )
        if iteration >= 3 and max(changes) <= 1e-5:
            return iteration
        state = new
    return None


def show(name: str, size: int, tol: float, limit: int) -> None:
    """Print a line for each method."""
    make, pair = PROBLEMS[name]
    exact = make(size)
    mesh = pc.unit_interval(size) if name == "burgers" else pc.unit_square(size)
    methods = {
        **({f"primal-dual {pair}": pc.PrimalDual(steps=pair)} if pair else {}),
        "primal-dual automatic": pc.PrimalDual(),
        "semismooth Newton": pc.SemismoothNewton(),
        "ADMM": pc.ADMM(),
        "FISTA": pc.FISTA(),
    }
    print(f"\n{name}, size {size}")
    print(f"{'method':<26}{'rule':>6}{'its':>6}{'solves':>8}{'J':>15}{'||u||':>9}{'L1':>9}{'error':>10}  status")
    for label, method in methods.items():
        map = pc.discretise(exact.problem, mesh)
        rule = published_rule(exact.problem, map, method, limit) if isinstance(method, pc.PrimalDual) else None
        run = pc.minimise(exact.problem, map, method, tol, max_iterations=limit)
        u, space = run.control.array, run.control.space
        error = "-"
        if exact.control is not None:
            optimum = space.interpolate(exact.control)
            error = f"{space.norm(u - optimum) / space.norm(optimum):.2e}"
        print(
            f"{label:<26}{rule or '-':>6}{len(run.history) - 1:>6}{run.solves['total']:>8}{run.objective:>15.7e}"
            f"{space.norm(u):>9.5f}{space.integral(abs(u)):>9.5f}{error:>10}  {run.status.name.lower()}",
            flush=True,
        )


def seconds(problem: pc.ControlProblem, mesh: pc.Mesh, repeat: int) -> float:
    """The time of a state, the median of some, without that of the factorisation."""
    map = pc.discretise(problem, mesh)
    u = map.control.interpolate(lambda x, t: 20.0 * (((x - 0.3) ** 2).sum(axis=0) < 0.01))
    map.observation.norm(map.at(u).value)
    times = []
    for _ in range(repeat):
        start = perf_counter()
        map.observation.norm(map.at(np.nextafter(u, np.inf)).value)
        times.append(perf_counter() - start)
    return median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--size", type=int, nargs="+", help="intervals on each side and in time")
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--limit", type=int, default=500, help="iterations of each method")
    arguments = parser.parse_args()
    for name in arguments.problem:
        for size in arguments.size or ([100, 400] if name == "burgers" else [16, 32]):
            show(name, size, arguments.tol, arguments.limit)
            if name == "semilinear":
                mesh = pc.unit_square(size)
                linear, semilinear = (
                    seconds(make(size).problem, mesh, 3) for make in (reference.heat, reference.semilinear_heat)
                )
                print(f"a state takes as long as {semilinear / linear:.1f} of the heat equation")


if __name__ == "__main__":
    main()
