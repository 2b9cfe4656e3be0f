"""Every method and step rule on the problems E1 (box) and S1 (sparse), across alpha and mesh size, in one run.

For each: iterations, PDE solves (norm estimate and certificates included), wall time of the run without discretisation,
the share of it that is neither PDE solves nor factorisation, and the certified relative error. The column `u_k` is
the first iteration at which the iterate itself is within 1e-6 of the discrete optimum, which needs that optimum to be
known. Times are medians of `--repeat` runs in turn, on one process.

    python benchmarks/primal_dual.py                        # N = 64, 128, 256; a few minutes
    python benchmarks/primal_dual.py --n 64 --repeat 1      # seconds
"""

from __future__ import annotations

import argparse
from statistics import median

import numpy as np

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.solvers.method import Start
from pdecontrol.terms import bind

METHODS = {
    "primal-dual classical": pc.PrimalDual(steps="classical"),
    "primal-dual enlarged": pc.PrimalDual(steps="enlarged"),
    "primal-dual balanced": pc.PrimalDual(steps="balanced"),
    "primal-dual accelerated": pc.PrimalDual(steps="accelerated"),
    "FISTA": pc.FISTA(),
    "proximal gradient": pc.ProximalGradient(),
    "semismooth Newton": pc.SemismoothNewton(),
}
PROBLEMS = {"E1": (reference.box, (1e-2, 1e-3, 1e-4, 1e-5)), "S1": (reference.stadler, (1e-4, 1e-5))}
LIMIT = 500


def first_within(problem, map, method, optimum: np.ndarray, tol: float) -> str:
    """The first iteration with ||u_k - u_h|| <= tol ||u_h||, from zero."""
    objective, space = bind(problem, map), map.control
    algorithm = method.algorithm_for(objective, map)
    state = algorithm.begin(objective, map, Start(space.zeros(), cold=True))
    for iteration in range(1, LIMIT + 1):
        state = algorithm.step(objective, map, state)
        if space.norm(state.u - optimum) <= tol * space.norm(optimum):
            return str(iteration)
    return f"> {LIMIT}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[64, 128, 256], help="intervals on each side of the square")
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    columns = f"{'method':<24} {'u_k':>6} {'its':>6} {'solves':>7} {'seconds':>8} {'own':>5} {'certified':>10}  status"
    for n in arguments.n:
        mesh = pc.unit_square(n)
        for name, (make, alphas) in PROBLEMS.items():
            for alpha in alphas:
                problem = make(alpha).problem
                map = pc.discretise(problem, mesh)
                optimum = pc.minimise(problem, map, "semismooth-newton", tol=1e-10).control.array
                print(f"\n{name}, N = {n}, alpha = {alpha:.0e}, to a certified {arguments.tol:.0e}\n{columns}")
                runs = {label: [] for label in METHODS}
                for _ in range(arguments.repeat):
                    for label, method in METHODS.items():
                        options = {"tol": arguments.tol, "max_iterations": LIMIT, "progress": False}
                        runs[label].append(pc.minimise(problem, map, method, **options))
                for label, results in runs.items():
                    result = results[0]
                    seconds = median(r.seconds for r in results)
                    own = median(1.0 - r.solves["seconds"] / r.seconds for r in results)
                    first = "" if label == "semismooth Newton" else first_within(
                        problem, map, METHODS[label], optimum, arguments.tol
                    )  # fmt: skip
                    counts = f"{first:>6} {len(result.history) - 1:>6} {result.solves['total']:>7.0f}"
                    certified = f"{result.certificate.relative:>10.1e}  {result.status.name.lower()}"
                    print(f"{label:<24} {counts} {seconds:>8.2f} {own:>5.0%} {certified}", flush=True)


if __name__ == "__main__":
    main()
