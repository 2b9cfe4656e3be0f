"""Control problems of a family by surrogates of its maps: exact solves, applications and seconds, and when they pay.

    python benchmarks/learned_control.py                            # both contrasts, all rows; trains for some minutes
    python benchmarks/learned_control.py --case heat                # 270 400 controls, 25 ms an exact solve
    python benchmarks/learned_control.py --case 12/3 --alpha 1e-4 1e-6 --row cold coarse gated-multigrid
    python benchmarks/learned_control.py --quick                    # seconds: small grids, few samples, no claim
    python benchmarks/learned_control.py --device cuda              # where there is one: trains and applies there

A query is a coefficient and a target that no network has seen, minimised to a certified relative error by
`SurrogateNewton`, cold by the semismooth Newton method that "auto" takes. Exact solves are those of the whole run, with
norms and certificates; medians of the queries, the largest in brackets. Seconds are those of the run and of what a row
sets up for each query (coarse matrices, bases, encoding), not of the exact map. What is made once, data and training,
pays after so many queries as it takes to win back, or never. Set OMP_NUM_THREADS=1; networks are kept in --output.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from learned_cases import CASES, Flow, Heat, Query, has_cuda

import pdecontrol as pc

TOLERANCES = (1e-2, 1e-6)


@dataclass
class Row:
    """What a way took for all queries at one alpha."""

    solves: dict[float, list[int]] = field(default_factory=lambda: {tol: [] for tol in TOLERANCES})
    applications: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    missed: int = 0

    def add(self, query: Query, surrogate: Callable[[], pc.SolutionMap] | None) -> None:
        for tol in TOLERANCES:
            query.map.solves.applications = 0
            start = perf_counter()
            method: Any = "auto" if surrogate is None else pc.SurrogateNewton(surrogate())
            result = pc.minimise(query.problem, query.map, method, tol=tol, progress=False)
            seconds = perf_counter() - start
            self.solves[tol].append(int(result.solves["total"]))
            error = query.map.control.norm(result.control.array - query.optimum)
            norm = query.map.control.norm(query.optimum)
            if not result.success or error > result.certificate.bound + query.error or error > 2 * tol * norm:
                self.missed += 1
        self.applications.append(int(result.solves["applications"]))
        self.seconds.append(seconds)

    def text(self, name: str, cold: Row, offline: float) -> str:
        counts = [f"{median(found):.0f} ({max(found)})" for found in self.solves.values()]
        gain = median(cold.seconds) - median(self.seconds)
        after = "" if self is cold else f"{np.ceil(offline / gain):.0f}" if gain > 0 else "never"
        missed = f"  {self.missed} MISSED" if self.missed else ""
        return (
            f"  {name:<18} {counts[0]:>10} {counts[1]:>10} {median(self.applications):>8.0f} "
            f"{1e3 * median(self.seconds):>10.1f} {offline:>9.0f} {after:>9}{missed}"
        )


def run(case: Flow | Heat, rows: list[str], alphas: list[float], count: int) -> None:
    """Print a table for each alpha."""
    ways = {name: case.ways[name]() for name in rows if name != "cold"}
    queries = case.queries(count)
    for alpha in alphas:
        print(f"\n{case.name}, alpha = {alpha:g}, {count} queries, {case.size} controls")
        heads = ("solves 1e-2", "1e-6", "applied", "ms a query", "offline s", "pays after")
        print(f"  {'':<18} {heads[0]:>10} {heads[1]:>10} {heads[2]:>8} {heads[3]:>10} {heads[4]:>9} {heads[5]:>9}")
        cold, table = Row(), {name: Row() for name in ways}
        for query in (made(alpha) for made in queries):
            cold.add(query, None)
            for name, way in ways.items():
                table[name].add(query, lambda way=way, query=query: way.surrogate(query))
        if "cold" in rows:
            print(cold.text("cold", cold, 0.0), flush=True)
        for name, row in table.items():
            print(row.text(name, cold, ways[name].offline), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--alpha", type=float, nargs="+")
    parser.add_argument("--row", nargs="+")
    parser.add_argument("--queries", type=int)
    parser.add_argument("--seed", type=int, default=1, help="of the networks")
    parser.add_argument("--output", type=Path, default=Path("results") / "learned_control")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not has_cuda():
        print("there is no CUDA device here: nothing was run.")
        return
    for name in arguments.case:
        case = CASES[name](arguments.output, arguments.seed, arguments.device, arguments.quick)
        known = ["cold", *case.ways]
        rows = [row for row in arguments.row or known if row in known]
        count = arguments.queries or (2 if arguments.quick else case.count)
        run(case, rows, arguments.alpha or case.alphas, count)


if __name__ == "__main__":
    main()
