"""The bound to the continuous optimum: is it true, how sharp is it, what does it cost, and when does adaptivity pay?

    python benchmarks/continuous.py campaign                 # 2000 random certificates beside finer meshes; 7 minutes
    python benchmarks/continuous.py campaign --problems 50 --seed 3
    python benchmarks/continuous.py table                    # bounds, errors and orders on uniform meshes
    python benchmarks/continuous.py adaptive                 # unknowns and seconds to a certified 1e-2 and 1e-3
    python benchmarks/continuous.py adaptive --case L --most 30000
    python benchmarks/continuous.py cost                     # of a certificate, beside that of `solve`
    python benchmarks/continuous.py cost --size 128 256 --repeat 7

In the campaign errors are told by states of degree 2 on a finer mesh, which has a bound of its own: a violation is an
error beyond the sum of both. Ratios of the bound to the error are those where the reference tells it to a factor of 3
(tests/continua.py). In the table errors are exact, or by such a reference, whose bound stands beside it. All seconds
are CPU, of one thread if OMP_NUM_THREADS=1 is set; those to a tolerance are of all meshes, from a coarse one on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.arrays import Array
from pdecontrol.continuous.analysis import NEGLIGIBLE
from pdecontrol.continuous.bound import Estimator
from pdecontrol.continuous.galerkin import Galerkin
from pdecontrol.continuous.optimum import Optimality
from pdecontrol.continuous.statement import stated
from pdecontrol.linear.direct import sparse_factors

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from continua import DOMAINS, Domain, Judgement, Reference, judgements, sample

MESHES = 5  # of each problem of the campaign
SQUARE = Domain(pc.unit_square)


# -- are bounds true? ------------------------------------------------------------------------------------------------


def campaign(problems: int, seed: int) -> int:
    """The number of violated bounds."""
    print(f"{problems} random problems on {MESHES} meshes each, seed {seed}", flush=True)
    kinds: dict[str, list[Judgement]] = {}
    begin = process_time()
    for number in range(problems):
        for each in judgements(np.random.default_rng([seed, number]), MESHES, given=True):
            kinds.setdefault(kind_of(each), []).append(each)
            if each.violated:
                print(f"  {number} VIOLATED {each}", flush=True)
    print(f"{'bounds of':>12} {'number':>6} {'violated':>8} {'with a ratio':>12} {'least':>6} {'median':>6}")
    for kind, found in sorted(kinds.items()):
        ratios = [each.ratio for each in found if each.informative] or [np.nan]
        print(
            f"{kind:>12} {len(found):6} {sum(each.violated for each in found):8} "
            f"{sum(each.informative for each in found):12} {min(ratios):6.2f} {median(ratios):6.1f}"
        )
    print(f"{process_time() - begin:.0f} s")
    return sum(each.violated for found in kinds.values() for each in found)


def kind_of(judgement: Judgement) -> str:
    """What a bound is of."""
    last = judgement.words.split(", ")[-1]
    return {"P1": "z, degree 1", "P2": "z, degree 2"}.get(last, last.split()[0])


# -- how sharp are they? ---------------------------------------------------------------------------------------------


def layers(alpha: float) -> pc.ControlProblem:
    """The target of S1, without its sparsity, where the diffusion is 1 and 10 in halves of the square."""
    terms = [pc.Tikhonov(alpha), pc.Box(-30, 30)]
    return pc.ControlProblem(
        pc.Elliptic({"one": 1.0, "two": 10.0}), pc.Distributed(), reference.stadler(alpha).problem.tracking, terms,
        {"boundary": pc.Dirichlet()},
    )  # fmt: skip


def sparse(alpha: float, diffusion: Any = 1.0) -> pc.ControlProblem:
    """The target 1 with beta = 1e-3 and -5 <= u <= 5, on any domain."""
    terms = [pc.Tikhonov(alpha), pc.L1(1e-3), pc.Box(-5, 5)]
    return pc.ControlProblem(
        pc.Elliptic(diffusion), pc.Distributed(), pc.Tracking(1.0), terms, {"boundary": pc.Dirichlet()}
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A problem, its domain, and the exact control where it is known."""

    problem: pc.ControlProblem
    domain: Domain = SQUARE
    control: Callable[..., Array] | None = None


def exact(known: reference.Reference) -> Case:
    return Case(known.problem, control=known.control)


TABLE: dict[str, Callable[[], Case]] = {
    **{f"E1 {alpha:.0e}": lambda alpha=alpha: exact(reference.box(alpha)) for alpha in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)},
    **{f"mother {alpha:.0e}": lambda alpha=alpha: exact(reference.poisson(alpha)) for alpha in (1e-2, 1e-4, 1e-6)},
    **{f"S1 {alpha:.0e}": lambda alpha=alpha: exact(reference.stadler(alpha)) for alpha in (1e-4, 1e-5)},
    "ccdist1": lambda: exact(reference.boundary_observation()),
    **{f"layers {alpha:.0e}": lambda alpha=alpha: Case(layers(alpha), DOMAINS["square"]) for alpha in (1e-3, 1e-5)},
    "L 1e-03": lambda: Case(sparse(1e-3), DOMAINS["L"]),
}  # fmt: skip


def table(names: list[str], sizes: list[int], finest: int) -> int:
    """Print bounds beside errors; the number of bounds that are below them."""
    print(f"{'':12} {'P':1} {'n':>4} {'unknowns':>8} {'bound':>9} {'error':>9} {'+-':>7} {'ratio':>6} {'orders':>11}")
    wrong = 0
    for name in names:
        case = TABLE[name]()
        known = None if case.control else Reference(case.problem, case.domain.fine(finest))
        for degree in (1, 2):
            before = (np.nan, np.nan)
            for n in (size // degree for size in sizes):
                mesh = case.domain.make(n)
                result = pc.solve(case.problem, mesh, pc.Embedded(degree=degree), continuous=True)
                found, error, doubt = result.certificate.continuous, *error_of(case, known, result, mesh)
                assert found is not None and found.bound is not None
                orders = np.log2(before[0] / found.bound), np.log2(before[1] / error)
                wrong += error > found.bound + doubt
                print(
                    f"{name:12} {degree} {n:4} {found.unknowns:8} {found.bound:9.2e} {error:9.2e} {doubt:7.0e} "
                    f"{found.bound / error:6.1f} {orders[0]:5.2f} {orders[1]:5.2f}"
                    f"{' VIOLATED' if error > found.bound + doubt else ''}", flush=True
                )  # fmt: skip
                before = found.bound, error
    return wrong


def error_of(case: Case, known: Reference | None, result: pc.Result, mesh: pc.Mesh) -> tuple[float, float]:
    """The error of a control, and what that may be off by."""
    if case.control is None:
        assert known is not None
        return known.distance(result.control), known.known.bound
    points, weights = sample(mesh, order=6)
    return float(np.sqrt(weights @ (result.control(points) - case.control(points)) ** 2)), 0.0


# -- when does adaptivity pay? ---------------------------------------------------------------------------------------

GOALS: dict[str, Case] = {
    "S1 1e-04": Case(reference.stadler(1e-4).problem), "S1 1e-05": Case(reference.stadler(1e-5).problem),
    "L": Case(sparse(1e-3), DOMAINS["L"]),
    "inclusion": Case(sparse(1e-3, {"one": 10.0, "two": 1.0}), DOMAINS["inclusion"]),
}  # fmt: skip
AT_MOST = {("L", 2, True, 1e-2): 8_000, ("L", 2, True, 1e-3): 25_000, ("inclusion", 2, True, 1e-2): 8_000,
           ("inclusion", 2, True, 1e-3): 25_000}  # fmt: skip


def adaptive(names: list[str], first: int, most: float) -> int:
    """Print unknowns and seconds to tolerances, for both degrees, uniform and adaptive; the number that take more."""
    print(f"unknowns, certified relative distance, CPU seconds, meshes; at most {most:.0f} unknowns")
    print(f"{'':10} {'':6} " + "".join(f"{f'P{p} {kind}':>32}" for p in (1, 2) for kind in ("uniform", "adaptive")))
    wrong = 0
    for name in names:
        for tol in (1e-2, 1e-3):
            print(f"{name:10} {tol:6.0e} ", end="", flush=True)
            for degree in (1, 2):
                for adapt in (False, True):
                    text, unknowns = to_tolerance(GOALS[name], first, degree, adapt, tol, most)
                    print(f"{text:>32}", end="", flush=True)
                    wrong += unknowns > AT_MOST.get((name, degree, adapt, tol), np.inf)
            print(flush=True)
    return wrong


def to_tolerance(case: Case, first: int, degree: int, adapt: bool, tol: float, most: float) -> tuple[str, float]:
    """What a tolerance takes, in words, and the unknowns, infinite where it is not met."""
    begin = process_time()
    result = pc.solve(
        case.problem, case.domain.make(first), pc.Embedded(degree=degree), total_tol=tol, adapt=adapt, max_unknowns=most
    )
    seconds, found = process_time() - begin, result.certificate.continuous
    assert found is not None
    mark = "" if result.success else "not at "
    text = f"{mark}{found.unknowns} {found.relative:.1e} {seconds:.1f} s {len(result.levels)}"
    return text, found.unknowns if result.success else np.inf


# -- what does it cost? ----------------------------------------------------------------------------------------------


@dataclass
class Seconds:
    """CPU seconds of the parts of a certificate, beside `solve` and a factorisation of the state equation."""

    solve: float
    factors: float
    data: float
    setup: float
    newton: float
    bound: float
    flux: float

    @property
    def whole(self) -> float:
        """Newton's method and the bounds, with what they set up, without the integrals of data."""
        return self.setup + self.newton + self.bound


def measured(problem: pc.ControlProblem, n: int) -> Seconds:
    """One certificate for states of degree 1, part by part."""
    clock = Clock()
    map: Any = pc.discretise(problem, pc.unit_square(n))
    result = pc.minimise(problem, map)
    solve = clock.lap()
    matrix = map.system.lifting.block(map.system.equation.jacobian(map.system.lifting.initial(), map.control.zeros()))
    clock.lap()
    sparse_factors(matrix, definite=True)
    factors = clock.lap()
    statement = stated(problem, map.system, map.system.engine.mesh)
    data = clock.lap()
    optimality = Optimality(statement, Galerkin(map, statement))
    estimator = Estimator(optimality)
    setup = clock.lap()
    point = optimality.at(result.adjoint.array)
    newton = clock.lap()
    found = estimator.of(point)
    bound = clock.lap()
    goal = NEGLIGIBLE * statement.cost.alpha * (found.control - found.parts.projection)
    if point.residual > goal:
        point = optimality.improve(point, goal)
        newton += clock.lap()
        estimator.of(point)
        bound += clock.lap()
    estimator._fluxes(point.state.y[statement.dofs], point.control, statement.flux)
    return Seconds(solve, factors, data, setup, newton, bound, clock.lap())


class Clock:
    """CPU seconds since the last lap."""

    def __init__(self) -> None:
        self.last = process_time()

    def lap(self) -> float:
        before, self.last = self.last, process_time()
        return self.last - before


def cost(sizes: list[int], repeat: int) -> int:
    """Print seconds and their ratios to `solve`; the number of ratios that are too large."""
    heads = ("solve", "data", "set-up", "Newton", "bound", "ratio", "flux/LU")
    print(f"{'':22} {'n':>4} " + " ".join(f"{head:>7}" for head in heads))
    measured(reference.stadler(1e-5).problem, 16)  # to be warm
    wrong = 0
    for name, problem, most in costly():
        for n in sizes:
            runs = [measured(problem, n) for _ in range(repeat)]
            one = Seconds(*(median(getattr(run, key) for run in runs) for key in Seconds.__annotations__))
            ratio, flux = one.whole / one.solve, one.flux / one.factors
            late = n >= 128 and (ratio > most or flux > 0.2)
            wrong += late
            print(
                f"{name:22} {n:4} {one.solve:7.3f} {one.data:7.3f} {one.setup:7.3f} {one.newton:7.3f} "
                f"{one.bound:7.3f} {ratio:7.2f} {flux:7.2f}{' TOO MUCH' if late else ''}", flush=True
            )  # fmt: skip
    return wrong


def costly() -> Iterator[tuple[str, pc.ControlProblem, float]]:
    """Problems with nodal and variational controls, and the most that a certificate may be of `solve`."""
    cases = (("E1", reference.box), ("S1", reference.stadler))
    for element, most in (("P1", 2.0), ("variational", 1.0)):
        for name, make in cases:
            for alpha in (1e-4, 1e-5):
                problem = replace_control(make(alpha).problem, element)
                yield f"{name} {alpha:.0e} {element}", problem, most


def replace_control(problem: pc.ControlProblem, element: Any) -> pc.ControlProblem:
    return pc.ControlProblem(
        problem.equation, pc.Distributed(element=element), problem.tracking, problem.terms, problem.boundary
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("campaign", "table", "adaptive", "cost"))
    parser.add_argument("--problems", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", nargs="+", help="of the table, or of adaptive refinement")
    parser.add_argument("--size", nargs="+", type=int, help="cells a unit of length; half of it for degree 2")
    parser.add_argument("--finest", type=int, default=96, help="of references of the table")
    parser.add_argument("--first", type=int, default=8, help="the mesh where refinement begins")
    parser.add_argument("--most", type=float, default=70_000, help="unknowns of refined meshes")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    if options.what == "campaign":
        return campaign(options.problems, options.seed)
    if options.what == "table":
        return table(options.case or list(TABLE), options.size or [32, 64, 128], options.finest)
    if options.what == "adaptive":
        return adaptive(options.case or list(GOALS), options.first, options.most)
    return cost(options.size or [64, 128], options.repeat)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
