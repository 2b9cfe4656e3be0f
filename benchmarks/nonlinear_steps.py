"""The primal-dual method on semilinear equations, from starting norms that are wrong by factors of 1/10, 1/3 and 3.

For each problem and factor: iterations, PDE solves and status of a run to a certified tolerance, and the spread, the
largest number of iterations over that with the estimated norm. Steps follow the norm where it is found to have moved: a
spread above 1.5, or a run that is not certified, is a fault.

    python benchmarks/nonlinear_steps.py                    # N = 16, tol = 1e-5; a few minutes
    python benchmarks/nonlinear_steps.py --n 8              # a minute
"""

from __future__ import annotations

import argparse

import numpy as np

import pdecontrol as pc
from pdecontrol.maps import map_norm
from pdecontrol.terms import bind

FACTORS = (1.0, 1 / 10, 1 / 3, 3.0)


def target(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.sin(2 * np.pi * x[0]) * np.sin(2 * np.pi * x[1]) * np.exp(2 * x[0]) / 6)


def semilinear(cubic: float, alpha: float, linear: float = 0.0, reaction: float = 0.0) -> pc.ControlProblem:
    """-Laplace y + reaction y + cubic y^3 + linear y = u, y = 0 on the boundary, with an L1 term and a box."""
    term = pc.Semilinear(lambda y: cubic * y**3 + linear * y, lambda y: 3 * cubic * y**2 + linear)
    return pc.ControlProblem(
        equation=pc.Elliptic(reaction=reaction, semilinear=term),
        control=pc.Distributed(),
        boundary={"boundary": pc.Dirichlet()},
        tracking=pc.Tracking(target),
        terms=[pc.Tikhonov(alpha), pc.L1(1e-3), pc.Box(-30, 30)],
    )


PROBLEMS = {
    "y^3, alpha 1e-4": semilinear(1.0, 1e-4),
    "100 y^3, alpha 1e-5": semilinear(100.0, 1e-5),
    "y^3, alpha 1e-6": semilinear(1.0, 1e-6),
    "y^3 - 20 y + y, alpha 1e-2": semilinear(1.0, 1e-2, -20.0, 1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=16, help="intervals on each side of the square")
    parser.add_argument("--tol", type=float, default=1e-5)
    arguments = parser.parse_args()
    print(f"N = {arguments.n}, tol = {arguments.tol:g}: iterations (solves) by factor of the norm at the start")
    print(f"{'problem':<28}" + "".join(f"{f'x {factor:.3g}':>22}" for factor in FACTORS) + f"{'spread':>8}")
    for name, problem in PROBLEMS.items():
        map = pc.discretise(problem, pc.unit_square(arguments.n))
        norm = map_norm(map, map.at(map.control.zeros()), bind(problem, map).state.free)
        runs = [
            pc.minimise(problem, map, pc.PrimalDual(norm=factor * norm), tol=arguments.tol, max_iterations=2000)
            for factor in FACTORS
        ]
        counts = [len(run.history) - 1 for run in runs]
        cells = [f"{c} ({r.solves['total']}) {r.status.name.lower()}" for c, r in zip(counts, runs, strict=True)]
        print(f"{name:<28}" + "".join(f"{cell:>22}" for cell in cells) + f"{max(counts) / counts[0]:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
