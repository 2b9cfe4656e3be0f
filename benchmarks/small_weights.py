"""Small Tikhonov weights: are bounds true, are Newton systems few, and what does a run cost beside that at 1e-2?

    python benchmarks/small_weights.py campaign              # 50 random problems, 5 weights, factors and multigrid
    python benchmarks/small_weights.py campaign --tol 1e-13  # the same down to their rounding
    python benchmarks/small_weights.py counts                # systems, cycles and solves of E1 and S1; some minutes
    python benchmarks/small_weights.py ratios                # CPU of E1 and S1 over that at 1e-2; the largest take long

The campaign compares bounds with errors: its optima are those of the assembled matrices, in extended precision, by
active sets on the whole optimality system (tests/optima.py). `at rounding` are runs that say so: what rounding alone
may do to the control is more than the tolerance. CPU times are those of `minimise`, the median of `--repeat` runs: with
hierarchy, factors, estimates and certificate, but without the discretisation.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.fem.collective import Collective

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from optima import Optimality, random_problem

WEIGHTS = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)
MEANT = ("CERTIFIED", "ROUNDING", "REACHED")  # how runs may end
E1S1: dict[str, Callable[[float], pc.ControlProblem]] = {
    "E1": lambda alpha: reference.box(alpha).problem,
    "S1": lambda alpha: reference.stadler(alpha).problem,
}
CUBES = E1S1 | {"E1": lambda alpha: reference.box(alpha, 3).problem}


@dataclass(frozen=True)
class Run:
    """What a run took and found; `error` and `bound` relative to the control, NaN where the optimum is not known."""

    status: str
    solves: int
    systems: int
    cycles: int
    bound: float
    error: float
    seconds: float

    @property
    def violated(self) -> bool:
        return self.error > self.bound

    @property
    def a_system(self) -> float:
        """Cycles for each system."""
        return self.cycles / max(self.systems, 1)


def run(problem: pc.ControlProblem, mesh: pc.Mesh, backend: pc.Embedded, tol: float, judge: bool = False) -> Run:
    """A cold run by the method that the program chooses, and its error where it is to be judged."""
    map = pc.discretise(problem, mesh, backend)
    begin = process_time()
    result = pc.minimise(problem, map, tol=tol, max_solves=20_000)
    seconds, certificate, count = process_time() - begin, result.certificate, result.solves
    size, error = max(certificate.norm, 1e-300), np.nan
    if judge:
        error = error_of(Optimality(problem, map), result.control.array) / size
    bound = np.inf if certificate.bound is None else certificate.bound / size
    return Run(result.status.name, count["total"], count["systems"], count["cycles"], bound, error, seconds)


def error_of(optimality: Optimality, u: np.ndarray) -> float:
    """The distance of a control to the optimum, less what that may err by."""
    found = optimality.optimum(u)
    return np.nan if found is None else optimality.norm(found[0] - u) - found[1]


# -- are bounds true? ------------------------------------------------------------------------------------------------


def campaign(problems: int, seed: int, solvers: list[str], tol: float) -> int:
    """The number of violated bounds and of runs that end as they should not."""
    print(f"{problems} random problems, seed {seed}, to {tol:.0e}")
    wrong = 0
    for solver in solvers:
        runs: dict[float, list[Run]] = {alpha: [] for alpha in WEIGHTS}
        for number in range(problems):
            problem, mesh, degree, words = random_problem(np.random.default_rng([seed, number]))
            kind = "direct" if "advection" in words else solver  # multigrid is for definite equations
            for alpha, done in runs.items():
                backend = pc.Embedded(degree=degree, linear_solver=kind)
                one = run(problem.with_weights(alpha, None), mesh, backend, tol, judge=True)
                done.append(one)
                if one.violated or one.status not in MEANT or np.isnan(one.error):
                    print(f"  {number} {words}, {solver}, {alpha:.0e}: {one}", flush=True)
                wrong += one.violated or one.status not in MEANT
        summary(solver, runs)
    return wrong


def summary(solver: str, runs: dict[float, list[Run]]) -> None:
    """Statuses, violations and counts for each weight: median/90 %/max."""
    print(f"{solver:8} {'certified':>9} {'rounding':>8} {'else':>4} {'violated':>8} {'unknown':>7} "
          f"{'solves':>15} {'systems':>12} {'cycles a system':>15}  least bound/error")  # fmt: skip
    for alpha, done in runs.items():
        ends = Counter(one.status for one in done)
        at_rounding = ends["ROUNDING"] + ends["REACHED"]
        tried = [one for one in done if one.systems]
        ratios = [one.bound / one.error for one in done if one.error > 0]
        print(
            f"{alpha:8.0e} {ends['CERTIFIED']:9} {at_rounding:8} {len(done) - ends['CERTIFIED'] - at_rounding:4} "
            f"{sum(one.violated for one in done):8} {sum(np.isnan(one.error) for one in done):7} "
            f"{spread([one.solves for one in done]):>15} {spread([one.systems for one in tried]):>12} "
            f"{spread([round(one.a_system) for one in tried]):>15}  {min(ratios, default=np.nan):.3g}", flush=True
        )  # fmt: skip
    total = [one for done in runs.values() for one in done]
    certified, meant = (sum(one.status in ends for one in total) for ends in (("CERTIFIED",), MEANT))
    print(f"{solver}: {certified} of {len(total)} certified, {meant} certified or at their rounding, "
          f"{sum(one.violated for one in total)} bounds violated")  # fmt: skip


def spread(numbers: list[int]) -> str:
    """Median/90 %/max."""
    return "/".join(f"{np.quantile(numbers, q):.0f}" for q in (0.5, 0.9, 1.0)) if numbers else "-"


# -- are systems few? ------------------------------------------------------------------------------------------------


@contextmanager
def always() -> Iterator[None]:
    """All systems of the path by multigrid, whatever conjugate gradients would take."""
    before, Collective.affordable = Collective.affordable, lambda *_: 0
    yield
    Collective.affordable = before


def counts(sizes: list[int], cubes: list[int]) -> int:
    """Print what runs take beside what they may take; the number of those that take more."""
    print(
        f"{'':4} {'':>8} {'':>7} {'systems':>8} {'at most':>7} {'a system':>8} {'at most':>7} "
        f"{'solves':>6} {'bound':>8}"
    )
    wrong = 0
    cycles = {2: (12, 12, 14, 20, 35), 3: (22, 22, 26, 30, 36)}
    for dim, sides, cases in ((2, sizes, E1S1), (3, cubes, CUBES)):
        for name, case in cases.items():
            for n in sides:
                for alpha, most_cycles in zip(WEIGHTS[1:], cycles[dim][1:], strict=True):
                    most = {1e-8: 20 if n == 32 and dim == 3 else 16, 1e-10: 32}.get(alpha, np.inf)
                    mesh, backend = grid(dim, n)
                    with always():
                        one = run(case(alpha), mesh, backend, 1e-6)
                    good = one.status == "CERTIFIED" and one.systems <= most and one.a_system <= most_cycles
                    wrong += not good
                    print(
                        f"{name:4} {alpha:8.0e} n = {n:3} {one.systems:8} {most:7} {one.a_system:8.1f} {most_cycles:7} "
                        f"{one.solves:6} {one.bound:8.1e} {'' if good else 'FAILED ' + one.status}", flush=True
                    )  # fmt: skip
    return wrong + gradients_alone(128) + points() + cold()


def grid(dim: int, n: int) -> tuple[pc.Mesh, pc.Embedded]:
    """The square with factors, the cube with multigrid."""
    if dim == 2:
        return pc.unit_square(n), pc.Embedded(linear_solver="direct")
    return pc.unit_cube(n), pc.Embedded(linear_solver="amg")


def verdict(what: str, got: float, most: float) -> int:
    """Print a count beside what it may be; 1 if it is more."""
    print(f"{what}: {got:g}, at most {most:g}{'' if got <= most else ' FAILED'}", flush=True)
    return int(got > most)


def gradients_alone(n: int) -> int:
    """E1 at 1e-8 where conjugate gradients solve all systems."""
    found, Collective.of = Collective.of, classmethod(lambda *_: None)
    one = run(E1S1["E1"](1e-8), *grid(2, n), 1e-6)
    Collective.of = found
    return verdict(f"E1 by conjugate gradients alone, 1e-8, n = {n}, {one.status}, solves", one.solves, 900)


def points() -> int:
    """25 sensors: the solves of a run."""
    inner = np.stack(np.meshgrid(*[np.linspace(0.15, 0.85, 5)] * 2)).reshape(2, -1)
    wrong = 0
    for alpha in WEIGHTS:
        sensors = pc.Tracking(np.sin(7 * inner[0]) * inner[1], points=inner)
        terms = [pc.Tikhonov(alpha), pc.L1(1e-3), pc.Box(-30, 30)]
        problem = pc.ControlProblem(
            pc.Elliptic(), pc.Distributed(), sensors, terms, {"boundary": pc.Dirichlet()}
        )  # fmt: skip
        one = run(problem, *grid(2, 64), 1e-6)
        wrong += verdict(f"25 points, n = 64, {alpha:.0e}, {one.status}, solves", one.solves, 30)
    return wrong


COLD = {"E1": (15, 28, 42, 61), "S1": (20, 27, 48, 84)}  # solves at 1e-2, 1e-3, .., n = 64


def cold() -> int:
    """Where little is gained by a path, it costs nothing."""
    wrong = 0
    for name, most in COLD.items():
        for alpha, limit in zip((1e-2, 1e-3, 1e-4, 1e-5), most, strict=True):
            one = run(E1S1[name](alpha), *grid(2, 64), 1e-6)
            wrong += verdict(f"{name}, n = 64, {alpha:.0e}, {one.status}, solves", one.solves, limit)
    return wrong


# -- what does a run cost? -------------------------------------------------------------------------------------------

ALLOWED = {(2, 256, 1e-8): 9.0, (3, 0, 1e-8): 8.0, (3, 0, 1e-10): 10.0}


def ratios(names: list[str], sizes: list[int], cubes: list[int], weights: list[float], repeat: int) -> int:
    """Print the CPU of runs over that of the run at 1e-2; the number of ratios that are too large."""
    wrong = 0
    for dim, sides, cases in ((2, sizes, E1S1), (3, cubes, CUBES)):
        run(cases["E1"](1e-8), *grid(dim, 6), 1e-6)  # to be warm
        for name in names:
            for n in sides:
                base = 0.0
                for alpha in (1e-2, *weights):
                    mesh, backend = grid(dim, n)
                    done = [run(cases[name](alpha), mesh, backend, 1e-6) for _ in range(repeat)]
                    seconds, one = median(item.seconds for item in done), done[0]
                    base = base or seconds
                    allowed = ALLOWED.get((dim, n if dim == 2 else 0, alpha), np.inf)
                    wrong += seconds / base > allowed
                    print(
                        f"{name} {dim}D n = {n:3} {alpha:8.0e} {seconds:8.2f} s  ratio {seconds / base:6.2f}"
                        f"{'' if allowed == np.inf else f' of at most {allowed:g}'}  solves {one.solves:5} "
                        f"systems {one.systems:3} cycles {one.cycles:5} bound {one.bound:.1e} {one.status}"
                        f"{' FAILED' if seconds / base > allowed else ''}", flush=True
                    )  # fmt: skip
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("campaign", "counts", "ratios"))
    parser.add_argument("--problems", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--solver", nargs="+", default=["direct", "amg"])
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--case", nargs="+", default=list(E1S1))
    parser.add_argument("--size", nargs="*", type=int, default=[64, 128, 256], help="of the square")
    parser.add_argument("--cube", nargs="*", type=int, default=[16, 24, 32])
    parser.add_argument("--weight", nargs="+", type=float, default=WEIGHTS[1:])
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", pc.AdvectionWarning)
    if options.what == "campaign":
        return campaign(options.problems, options.seed, options.solver, options.tol)
    if options.what == "counts":
        return counts(options.size, options.cube)
    return ratios(options.case, options.size, options.cube, options.weight, options.repeat)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
