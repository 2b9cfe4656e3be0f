"""Sparse factors of the embedded engine side by side in one run: SuperLU, QDLDL, CHOLMOD, and multigrid where asked.

For each mesh and kind: CPU time of the factorisation, of a solve, of each of 25 solves at once, and of the whole
`pc.solve` of E1 (box constraints, in 3D its like), to a certified 1e-6. Ratios are those of SuperLU to the kind:
`solves` of a factorisation and 42 solves, `run` of the whole. Kinds whose library is missing are left out.

    python benchmarks/factors.py                               # N = 64, 128, 256 and n = 16, 24, 32; two minutes
    python benchmarks/factors.py --square 32 --cube 8          # seconds
    python benchmarks/factors.py --square --cube 40 48 --kinds CHOLMOD multigrid    # where multigrid begins
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from time import process_time
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.counter import Counter
from pdecontrol.linear import cholesky
from pdecontrol.linear.direct import direct_solver

COLUMNS, SOLVES = 25, 42
KINDS = ("SuperLU", "QDLDL", "CHOLMOD", "multigrid")
THERE = {
    "SuperLU": lambda: True,
    "QDLDL": cholesky.has_qdldl,
    "CHOLMOD": cholesky.has_cholmod,
    "multigrid": lambda: find_spec("pyamg") is not None,
}


class Row(NamedTuple):
    """Seconds of CPU time, and what was certified; NaN for what multigrid has not."""

    factorisation: float
    solve: float
    column: float
    run: float
    solves: float
    error: float

    @property
    def total(self) -> float:
        """Of a factorisation and as many solves as a run takes."""
        return self.factorisation + SOLVES * self.solve


@contextmanager
def only(kind: str) -> Iterator[None]:
    """A block in which definite matrices have factors of one kind."""
    with (
        patch.object(cholesky, "LOADED", 0),
        patch.object(cholesky, "SPARSE", np.inf),
        patch.object(cholesky, "has_cholmod", lambda: kind == "CHOLMOD"),
        patch.object(cholesky, "has_qdldl", lambda: kind == "QDLDL"),
    ):
        yield


def problem_on(dim: int, n: int, alpha: float) -> tuple[pc.ControlProblem, pc.Mesh]:
    """E1 in the square, and in the cube the same equation with a target that its box does not admit."""
    if dim == 2:
        return reference.box(alpha).problem, pc.unit_square(n)
    problem = pc.ControlProblem(
        pc.Elliptic(), pc.Distributed(), pc.Tracking(lambda x: np.prod(np.sin(np.pi * x), axis=0)),
        [pc.Tikhonov(alpha), pc.Box(-20.0, 20.0)], {"boundary": pc.Dirichlet()},
    )  # fmt: skip
    return problem, pc.unit_cube(n)


def seconds(action: Callable[[], object], repeat: int = 1) -> float:
    """Of CPU time for one of so many calls."""
    start = process_time()
    for _ in range(repeat):
        action()
    return (process_time() - start) / repeat


def measure(kind: str, dim: int, n: int, alpha: float = 1e-4) -> Row:
    """The row of a kind on a mesh."""
    problem, mesh = problem_on(dim, n, alpha)
    backend = pc.Embedded(linear_solver="amg" if kind == "multigrid" else "direct")
    with only(kind):
        times = (np.nan,) * 3
        if kind != "multigrid":
            with pc.discretise(problem, mesh, backend) as map:
                matrix = map.system.matrix
            start = process_time()
            solver = direct_solver(matrix, Counter(), True)
            factorisation = process_time() - start
            b = np.random.default_rng(0).standard_normal((matrix.shape[0], COLUMNS))
            apply, repeat = solver.inverse.apply, max(3, 10**6 // b.shape[0])
            times = factorisation, seconds(lambda: apply(b[:, 0]), repeat), seconds(lambda: apply(b)) / COLUMNS
            solver.close()
        start = process_time()
        result = pc.solve(problem, mesh, backend, progress=False)
        run = process_time() - start
    return Row(*times, run, result.solves["total"], float(result.certificate.relative))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--square", type=int, nargs="*", default=[64, 128, 256], help="intervals on each side")
    parser.add_argument("--cube", type=int, nargs="*", default=[16, 24, 32], help="those of the cube")
    parser.add_argument("--alpha", type=float, default=1e-4)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS[:3])
    arguments = parser.parse_args()
    kinds = [kind for kind in arguments.kinds if THERE[kind]()]
    for dim, sizes in ((2, arguments.square), (3, arguments.cube)):
        for n in sizes:
            print(f"\n{dim}D, {n} intervals a side, alpha = {arguments.alpha:.0e}; milliseconds of CPU time")
            print(f"{'kind':<10}{'factors':>9}{'solve':>8}{'of 25':>8}{'run':>9}{'solves':>7}  ratios: solves, run")
            rows = {kind: measure(kind, dim, n, arguments.alpha) for kind in kinds}
            first = rows[kinds[0]]
            for kind, row in rows.items():
                ratios = f"{first.total / row.total:>6.2f} {first.run / row.run:>6.2f}"
                factors, solve, column, run = (1e3 * t for t in row[:4])
                times = f"{factors:>9.1f}{solve:>8.2f}{column:>8.2f}{run:>9.0f}"
                print(f"{kind:<10}{times}{row.solves:>7.0f}  {ratios}   certified {row.error:.0e}", flush=True)


if __name__ == "__main__":
    main()
