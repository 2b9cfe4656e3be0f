"""Sorting Krylov Recycling and its alternatives: products on the published and on the correct operators, and times.

Tables, all of them by default:

    published   the published operator: the published counts, and what of them is owed to deflated restarts, to carrying
                the space from system to system, and to the order
    correct     the same for the finite volumes that the published operator was meant to be
    helmholtz   where carrying pays, and where a preconditioner makes it needless
    constant    families with one matrix
    times       seconds a sample, end to end, of every candidate and of strategy="auto", for all families
    processes   the same dataset by one process and by two, in turn

Products are those with the matrix. `steps` extend Krylov spaces; `refresh` are the hidden ones for the images of the
carried space; `residual` the explicit b - A x at each restart; `all` is their sum. Every residual is the true one, but
for rows marked "left", where the preconditioned residual decides as in the published runs. Everything runs on one
thread. Times are medians of `--repeat` runs, candidates in turn.

    python benchmarks/recycling.py                          # half an hour or so
    python benchmarks/recycling.py published --systems 100
    python benchmarks/recycling.py times --count 100 --repeat 1 --small
"""

from __future__ import annotations

import argparse
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp
from published import PublishedDarcy, PublishedHelmholtz
from threadpoolctl import threadpool_limits

from pdecontrol.errors import ProblemError
from pdecontrol.learn.data import generate
from pdecontrol.learn.families import ConvectionDiffusion, Darcy, Helmholtz, Poisson, Thermal
from pdecontrol.learn.family import Family
from pdecontrol.learn.strategy.candidates import CANDIDATES
from pdecontrol.learn.strategy.ordering import greedy
from pdecontrol.learn.strategy.precondition import ReferenceInverse, mean_operator
from pdecontrol.linear.cg import cg
from pdecontrol.linear.gcrodr import gcrodr
from pdecontrol.linear.krylov import KrylovResult

System = tuple[sp.csr_matrix, np.ndarray]


@dataclass(frozen=True)
class Row:
    """Mean products a system of one method over a sequence."""

    name: str
    systems: int
    converged: int
    steps: float
    refresh: float
    residual: float
    worst: float
    seconds: float
    each: list[int]

    @property
    def all(self) -> float:
        return self.steps + self.refresh + self.residual

    def __str__(self) -> str:
        missed = f"   {self.systems - self.converged} of {self.systems} not converged" * (self.converged < self.systems)
        return (
            f"{self.name:<46} {self.systems:4d} {self.steps:8.1f} {self.refresh:8.1f} {self.residual:9.1f} "
            f"{self.all:8.1f} {self.worst:9.1e} {1e3 * self.seconds:9.2f}{missed}"
        )


HEADER = f"{'':<46} {'sys':>4} {'steps':>8} {'refresh':>8} {'residual':>9} {'all':>8} {'worst':>9} {'ms':>9}"


def none(matrix: sp.csr_matrix) -> Any:
    return None


def diagonal(matrix: sp.csr_matrix) -> Any:
    return sp.diags(1 / matrix.diagonal()).tocsr()


def sequence(
    name: str, systems: Sequence[System], method: Callable[..., KrylovResult] = gcrodr,
    preconditioner: Callable[[sp.csr_matrix], Any] = none, side: str = "right", carry: bool = True,
    order: Sequence[int] | None = None, **options: Any,
) -> Row:  # fmt: skip
    """Solve systems in an order, carrying the space; `side` right is U in solution space, "space" in that of M x."""
    space, found, start = None, list[KrylovResult](), perf_counter()
    for i in range(len(systems)) if order is None else order:
        matrix, b = systems[i]
        inverse = preconditioner(matrix)
        if side == "left":
            solved = method(inverse @ matrix, inverse @ b, space=space, **options)
        elif side == "space":
            solved = method(matrix @ inverse, b, space=space, **options)
        else:
            solved = method(matrix, b, inverse, space=space, **options)
        space = solved.space if carry and solved.converged else space
        found.append(solved)
    spent = (perf_counter() - start) / len(found)
    count: Callable[[str], float] = lambda kind: mean(getattr(s.products, kind) for s in found)  # noqa: E731
    return Row(
        name, len(found), sum(s.converged for s in found), count("steps"), count("refresh"), count("residuals"),
        max(s.residual for s in found), spent, [s.products.total for s in found],
    )  # fmt: skip


def drawn(family: Family, count: int, seed: int = 2401) -> tuple[list[System], list[Any]]:
    samples = [family.draw(np.random.default_rng((seed, i))) for i in range(count)]
    return [family.system(sample) for sample in samples], samples


def decomposition(
    family: Family, count: int, tolerance: float, preconditioner: Callable[[sp.csr_matrix], Any], gmres: int,
    sides: Sequence[str] = ("right",), seed: int = 2401,
) -> Iterator[Row]:  # fmt: skip
    """GMRES, cold GCRO-DR, carried, carried and sorted; GMRES on the first few systems."""
    systems, samples = drawn(family, count, seed)
    order = greedy(family.features(samples)).tolist()
    common: dict[str, Any] = {"preconditioner": preconditioner, "tolerance": tolerance, "max_products": 10_000}
    for m in (40, 100):
        yield sequence(f"GMRES({m})", systems[:gmres], m=m, k=0, carry=False, **common)
    yield sequence("GCRO-DR(40,20), each system cold", systems, carry=False, **common)
    names = {"right": "", "space": ", U in preconditioned space", "left": ", left, published configuration"}
    for side in sides:
        yield sequence(f"carried, unsorted{names[side]}", systems, side=side, **common)
        yield sequence(f"carried, sorted{names[side]}", systems, side=side, order=order, **common)


def published(count: int) -> None:
    print(f"\nThe published operator, n = 48^2, no preconditioner, 1e-5 (published: GMRES 3983, SKR 183)\n{HEADER}")
    rows = list(decomposition(PublishedDarcy(48), count, 1e-5, none, 30))
    print(*rows, sep="\n")
    print(f"GMRES(40) over sorted, in steps, as published: {rows[0].steps / rows[-1].steps:.1f}; "
          f"in all products: {rows[0].all / rows[-1].all:.1f}")  # fmt: skip
    print(f"\nThe published operator, n = 50^2, Jacobi, 1e-8 (published: GMRES 4192, SKR 187)\n{HEADER}")
    sides = ("right", "space", "left")
    rows = list(decomposition(PublishedDarcy(50), count, 1e-8, diagonal, 30, sides))
    print(*rows, sep="\n")
    from_carrying, from_order = 1 - rows[3].all / rows[2].all, 1 - rows[4].steps / rows[3].steps
    print(f"carrying saves {from_carrying:.1%} of all products, the order {from_order:.1%} of the steps")
    systems, samples = drawn(PublishedDarcy(50), 3000)
    order = greedy(PublishedDarcy(50).features(samples)).tolist()
    common: dict[str, Any] = {"preconditioner": diagonal, "tolerance": 1e-8}
    head = sequence("first 60 of 3000, sorted (head of the path)", systems, order=order[:60], **common)
    random = sequence("first 60 of 3000, unsorted", systems, order=range(60), **common)
    print(random, head, sep="\n")
    print(f"the head of a long path flatters the order: {1 - head.steps / random.steps:.1%} of the steps")
    print(f"the same by scipy's gcrotmk: {gcrotmk(systems, order[:20]):.0f} products a system (20 systems, m = k = 20)")


def gcrotmk(systems: Sequence[System], order: Sequence[int]) -> float:
    """Products a system of scipy's recycling GCROT with Jacobi, its images computed anew for each matrix."""
    from inspect import signature

    from scipy.sparse.linalg import LinearOperator, gcrotmk

    counted, carried = 0, []
    tolerance = "rtol" if "rtol" in signature(gcrotmk).parameters else "tol"
    for i in order:
        matrix, b = systems[i]

        def product(v: np.ndarray, matrix: sp.csr_matrix = matrix) -> np.ndarray:
            nonlocal counted
            counted += 1
            return matrix @ v

        given = [(None, u.copy()) for _, u in carried if u is not None]
        operator = LinearOperator(matrix.shape, matvec=product, dtype=float)
        options = {tolerance: 1e-8, "atol": 0.0}
        _, info = gcrotmk(operator, b, M=diagonal(matrix), m=20, k=20, CU=given, maxiter=5000, **options)
        assert info == 0
        carried = given
    return counted / len(order)


def correct(count: int) -> None:
    print(f"\nThe correct operator, -div(a grad u) = 1, n = 50^2, Jacobi, 1e-8\n{HEADER}")
    rows = list(decomposition(Darcy(50), count, 1e-8, diagonal, 30, ("right", "space")))
    systems, _ = drawn(Darcy(50), count)
    common: dict[str, Any] = {"method": cg, "tolerance": 1e-8, "preconditioner": diagonal}
    rows += [
        sequence("CG", systems, carry=False, **common),
        sequence("deflated CG, 20 vectors carried", systems, k=20, **common),
        sequence("CG, mean operator", systems, carry=False, **{**common, "preconditioner": mean_of(Darcy(50))}),
    ]
    print(*rows, sep="\n")
    print(f"GMRES(40) over sorted recycling: {rows[0].all / rows[4].all:.2f} in all products, "
          f"{rows[0].steps / (rows[4].steps + rows[4].refresh):.2f} without residuals")  # fmt: skip


def mean_of(family: Family) -> Callable[[sp.csr_matrix], Any]:
    build = mean_operator(ReferenceInverse(family.reference(), family.grid))
    return lambda matrix: build(matrix, True)


def helmholtz(count: int) -> None:
    family = Helmholtz(64)
    systems, samples = drawn(family, count)
    order = greedy(family.features(samples)).tolist()
    common: dict[str, Any] = {"tolerance": 1e-7, "max_products": 3000}
    strong = {**common, "preconditioner": mean_of(family)}
    print(f"\nHelmholtz, k0 = 10, n = 64^2, 1e-7, at most 3000 products\n{HEADER}")
    rows = [
        sequence("GMRES(40)", systems, k=0, carry=False, **common),
        sequence("GCRO-DR(40,20), each system cold", systems, carry=False, **common),
        sequence("carried, unsorted", systems, **common),
        sequence("carried, sorted", systems, order=order, **common),
        sequence("GMRES(40), mean operator", systems, k=0, carry=False, **strong),
        sequence("carried, mean operator", systems, **strong),
    ]
    print(*rows, sep="\n")
    print(f"carrying pays {rows[1].all / rows[3].all:.2f} times in all products; with the mean operator it costs more "
          "than it saves")  # fmt: skip


def constant(count: int) -> None:
    print(f"\nOne matrix, {count} samples, written to disk")
    for family in (Poisson(98), Thermal(98)):
        plain = timed(family, count, "superposition", 1e-8)
        few = timed(family, 20, "skr", 1e-8)
        print(f"{family.name:<12} superposition {plain.seconds * count:6.2f} s, worst residual {plain.residual:.0e}; "
              f"SKR {1e3 * few.seconds:.1f} ms a sample: {few.seconds / plain.seconds:.0f} times")  # fmt: skip


@dataclass(frozen=True)
class Timed:
    """Seconds a sample of a dataset, end to end, and what its records say."""

    seconds: float
    products: float
    residual: float
    plan: dict[str, Any]


def timed(family: Family, count: int, strategy: str, tolerance: float, processes: int = 1, seed: int = 7) -> Timed:
    """Time `generate` from drawing to writing, in a fresh directory."""
    directory = Path(tempfile.mkdtemp())
    try:
        start = perf_counter()
        made = generate(
            family, count, seed, directory / "data", strategy=strategy, tolerance=tolerance, processes=processes,
            progress=False,
        )  # fmt: skip
        seconds = (perf_counter() - start) / count
    finally:
        shutil.rmtree(directory)
    counts = made.summary["counts"]
    products = sum(value for name, value in counts.items() if name.startswith("products")) / count
    return Timed(seconds, products - counts["products preconditioner"] / count, made.summary["worst_residual"],
                 made.manifest["plan"])  # fmt: skip


def families(small: bool) -> list[Family]:
    chosen: list[Family] = [
        Darcy(50), Darcy(98), Darcy(198), Darcy(127, field="threshold", alpha=2.0, tau=3.0), Darcy(98, deviation=1.5),
        Darcy(31, 3), Darcy(31, 3, deviation=1.5), Poisson(98), Thermal(64), Thermal(64, 2), Helmholtz(64),
        ConvectionDiffusion(63), ConvectionDiffusion(127, diffusion=1e-3), PublishedDarcy(48), PublishedHelmholtz(98),
    ]  # fmt: skip
    if not small:
        return chosen
    return [replace(family, n={50: 20, 98: 30, 198: 40, 127: 31, 31: 10}.get(family.n, 16)) for family in chosen]  # type: ignore[type-var]


def described(family: Family) -> str:
    parameters = {name: value for name, value in family.definition.items() if name != "family"}
    default = type(family)().definition
    return f"{family.name}(" + ", ".join(f"{k}={v}" for k, v in parameters.items() if v != default[k] or k == "n") + ")"


def times(count: int, repeat: int, small: bool, only: Sequence[str] = ()) -> None:
    worst = 0.0
    for family in families(small):
        if only and family.name not in only:
            continue
        unknowns = int(np.prod(family.grid))
        print(f"\n{described(family)}, {unknowns} unknowns, 1e-8: ms a sample, end to end")
        rough: dict[str, Timed] = {}
        for name in CANDIDATES:
            try:
                first = timed(family, 6, name, 1e-8)
                again = int(min(count, 100, 3.0 / first.seconds))
                rough[name] = timed(family, again, name, 1e-8) if again > 6 else first
            except ProblemError as error:
                print(f"  {name:<20} {str(error).partition(': ')[2]}")
            except Exception as error:
                print(f"  {name:<20} fails: {str(error)[:90]}")
        ordered = sorted(rough, key=lambda name: rough[name].seconds)
        for name in ordered:
            item = rough[name]
            print(f"  {name:<20} {1e3 * item.seconds:9.2f} {item.products:9.1f} products, worst residual "
                  f"{item.residual:.0e}")  # fmt: skip
        runs: dict[str, list[float]] = {name: [] for name in [*ordered[:2], "auto"]}
        plans = []
        for _ in range(repeat):
            for name, seconds in runs.items():
                made = timed(family, count, name, 1e-8)
                seconds.append(made.seconds)
                if name == "auto":
                    plans.append(made.plan["strategy"])
        best = min(median(seconds) for name, seconds in runs.items() if name != "auto")
        ratio = median(runs["auto"]) / best
        worst = max(worst, ratio)
        print(f"  {count} samples: " + ", ".join(f"{k} {1e3 * median(v):.2f}" for k, v in runs.items())
              + f"; auto chose {', '.join(sorted(set(plans)))}: {ratio:.2f} times the best")  # fmt: skip
    print(f"\nauto over the best candidate, worst family: {worst:.2f}")


def processes(count: int, repeat: int) -> None:
    print(f"\n{count} samples by one process and by two")
    for family, strategy in ((PublishedDarcy(50), "skr"), (Darcy(63), "auto"), (Darcy(98), "lu")):
        runs: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(repeat):
            for number, seconds in runs.items():
                seconds.append(timed(family, count, strategy, 1e-8, number).seconds * count)
        one, two = median(runs[1]), median(runs[2])
        print(f"{described(family):<28} {strategy:<8} {one:7.2f} s {two:7.2f} s, {one / two:.2f} times faster")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = ("published", "correct", "helmholtz", "constant", "times", "processes")
    parser.add_argument("tables", nargs="*", choices=[*tables, []], help="which tables; all by default")
    parser.add_argument("--systems", type=int, default=60, help="systems in a sequence (default: 60)")
    parser.add_argument("--count", type=int, default=500, help="samples of a dataset (default: 500)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each timed row (default: 3)")
    parser.add_argument("--only", nargs="+", default=(), help="families in the table of times; all by default")
    parser.add_argument("--small", action="store_true", help="small grids in the table of times")
    chosen = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    with threadpool_limits(1):
        for table in chosen.tables or tables:
            if table == "times":
                times(chosen.count, chosen.repeat, chosen.small, chosen.only)
            elif table == "processes":
                processes(chosen.count, chosen.repeat)
            elif table == "constant":
                constant(2 * chosen.count)
            elif table == "helmholtz":
                helmholtz(min(chosen.systems, 20))
            else:
                {"published": published, "correct": correct}[table](chosen.systems)


if __name__ == "__main__":
    main()
