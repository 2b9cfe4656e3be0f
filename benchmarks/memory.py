"""Trajectories of a semilinear heat equation kept by snapshots: memory against steps that are computed again.

For each limit: the peak of memory in a state, an adjoint, a tangent and a product with the Hessian, in trajectories of
the state, beside what the map itself holds; the steps computed again for the adjoint after the state, and for all; and
the time of all of them. The control is that of two actuators, tracked is the final time.

    python benchmarks/memory.py                       # N = 16, 60 steps; a minute
    python benchmarks/memory.py --n 32 --steps 200
"""

from __future__ import annotations

import argparse
import gc
import tracemalloc
from time import perf_counter

import numpy as np

import pdecontrol as pc

LIMITS = (None, 20, 10, 5, 3)


def problem(steps: int, snapshots: int | None) -> pc.ControlProblem:
    """y_t - 0.3 Laplace y + y^3 = u_1 + u_2 x_1, y(T) tracked."""
    cubic = pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2)
    return pc.ControlProblem(
        equation=pc.Parabolic(pc.Elliptic(0.3, semilinear=cubic), T=1.0, steps=steps, snapshots=snapshots),
        control=pc.Actuators([1.0, lambda x: x[0]]),
        boundary={"boundary": pc.Dirichlet()},
        tracking=pc.Tracking(lambda x: np.sin(np.pi * x).prod(axis=0), times="final"),
        terms=[pc.Tikhonov(1e-3)],
    )


def sweep(map: pc.SolutionMap) -> int:
    """A state, an adjoint, a tangent and a product with the Hessian; the steps computed again for the adjoint."""
    u, w = map.control.zeros() + 5.0, np.ones(map.observation.size)
    at = map.at(u)
    before = map.solves.recomputed
    adjoint = at.solve_adjoint(w)
    steps = map.solves.recomputed - before
    at.tangent(u)
    at.second(u, w, adjoint, lambda w: w)
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=16, help="intervals on each side of the square")
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    print(f"N = {arguments.n}, {arguments.steps} steps")
    print(f"{'kept':>6}{'memory':>12}{'adjoint again':>16}{'all again':>12}{'seconds':>10}")
    for limit in LIMITS:
        map = pc.discretise(problem(arguments.steps, limit), pc.unit_square(arguments.n), "skfem")
        sweep(map)  # which makes the factors
        begin, earlier = perf_counter(), map.solves.recomputed
        adjoint = sweep(map)
        seconds, every = perf_counter() - begin, map.solves.recomputed - earlier
        gc.collect()
        tracemalloc.start()
        sweep(map)
        peak = tracemalloc.get_traced_memory()[1] / (8 * map.solution.size)
        tracemalloc.stop()
        print(f"{limit or 'all':>6}{peak:>12.2f}{adjoint:>16}{every:>12}{seconds:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
