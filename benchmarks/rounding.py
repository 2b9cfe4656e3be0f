"""Certificates against optima in extended precision: how many bounds are below the error, and how far above they are.

    python benchmarks/rounding.py                                   10 000 random small problems, ten minutes
    python benchmarks/rounding.py --count 500 --seed 7 --contrasts  fewer, and the table of contrasts

The random problems are of all kinds (see `random_problem`): in one to three dimensions, P1 and P2 states, diffusion
that jumps by up to 1e9, reaction, advection, all controls, up to three weighted observations and a functional, alpha
from 1e-7 to 10 and zero, L1 terms, boxes; tolerances from 1e-4 to 1e-13. Of each problem the answer and a perturbed
control are judged. The optimum is that of the assembled matrices, computed with 64-bit mantissas.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import pdecontrol as pc

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from extended import Extended, judged, random_problem


def random_problems(count: int, seed: int) -> int:
    """The number of violations among the bounds of so many random problems."""
    generator = np.random.default_rng(seed)
    ratios, gaps, violations, unknown, begin = [], 0, 0, 0, time.perf_counter()
    statuses: dict[str, int] = {}
    for number in range(count):
        problem, mesh, degree = random_problem(generator)
        outcome = judged(problem, mesh, degree, generator)
        if outcome is None:
            unknown += 1
            continue
        result, pairs = outcome
        statuses[result.status.name] = statuses.get(result.status.name, 0) + 1
        for error, bound, excess, gap in pairs:
            gaps += 1
            wrong = excess > gap or (bound is not None and error > bound)
            violations += wrong
            if wrong:
                print(f"violated: seed {seed}, problem {number}: error {error} of {bound}, excess {excess} of {gap}")
            if bound is not None and error > 0:
                ratios.append(bound / error)
        if sys.stderr.isatty() and number % 100 == 99:
            print(f"\r{number + 1} problems, {violations} violations", end="", file=sys.stderr)
    print(
        f"{count} problems, {gaps} certificates judged, {unknown} optima unknown, {time.perf_counter() - begin:.0f} s"
    )
    print(f"violations: {violations}")
    print(f"bound / error: median {np.median(ratios):.3g}, least {min(ratios):.3g}")
    print("statuses:", ", ".join(f"{name.lower()} {n}" for name, n in sorted(statuses.items())))
    return violations


def contrasts(sizes=(16, 32)) -> int:
    """Diffusion 2^k in an inner square: the relative bound and the error of answers to a tolerance of 1e-13."""
    print(f"{'n':>4} {'contrast':>8} {'alpha':>8} {'status':>10} {'bound':>9} {'error':>9} {'solves':>7}")
    violations = 0
    for n in sizes:
        for contrast in (0, 10, 20, 30):
            for alpha in (1.0, 1e-3, 1e-5, 1e-8):
                inside = lambda x: (np.abs(x - 0.5) < 0.25).all(axis=0)  # noqa: E731
                mesh = pc.unit_square(n).tag_part("in", inside).tag_part("out", lambda x, inside=inside: ~inside(x))
                problem = pc.ControlProblem(
                    pc.Elliptic({"in": 2.0**contrast, "out": 1.0}), pc.Distributed(),
                    pc.Tracking(lambda x: np.sin(3 * x[0]) * x[1]), [pc.Tikhonov(alpha), pc.Box(-3, 3)],
                    {"boundary": pc.Dirichlet()},
                )  # fmt: skip
                map = pc.discretise(problem, mesh)
                extended = Extended(problem, map)
                result = pc.minimise(problem, map, tol=1e-13, max_solves=2000)
                optimum = extended.optimum(result.control.array)
                error = np.nan if optimum is None else extended.norm(result.control.array - optimum)
                norm = result.certificate.norm
                violations += error > result.certificate.bound + (0 if optimum is None else extended.allowance(optimum))
                print(
                    f"{n:4} {f'2^{contrast}':>8} {alpha:8.0e} {result.status.name.lower():>10} "
                    f"{result.certificate.relative:9.1e} {error / norm:9.1e} {result.solves['total']:7}"
                )
    return violations


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--contrasts", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore", pc.AdvectionWarning)
    found = random_problems(options.count, options.seed)
    if options.contrasts:
        found += contrasts()
    sys.exit(1 if found else 0)
