"""The program against what its users would take instead, on the same matrices, in one run.

A line for each problem, weight and mesh: the process CPU seconds of `pc.minimise` to a certified 1e-6, factorisations
and certificate included, mesh and assembly not; then the ratio to the best peer (above 1 the program loses), and the
peers in their order. Each solver runs in a process of its own, forked from one that holds the matrices, on one thread.

Peers are stopped by an oracle, at no cost to them: methods that iterate on controls at the first within 1e-6 of the
optimum, solvers of quadratic programs at the loosest tolerance that leads there, of those from 1e-5 to 1e-13, and of
all options in `peer_solvers.PEERS` the best counts. They take the fastest factors of all that are there. The optimum is
found by active sets in long double. Only answers whose true error is at most 1e-6 count, those of the program as well;
with alpha = 0 it is the excess of the objective, relative to it. A bound of the program below its true error ends the
run. Of runs below a second the median of `--repeat` is taken.

    python benchmarks/peers.py                                     # every problem: an hour or two
    python benchmarks/peers.py E1 S1 --size 64 --weight 1e-4 1e-8  # a minute
    pip install piqp osqp clarabel qdldl                           # peers; what is missing is named and left out
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
from peer_problems import CASES, Array, Matrices, matrices_of, optimum, replace, splu
from peer_solvers import PEERS, Peer, by_petsc, cpu_seconds, fastest
from threadpoolctl import threadpool_limits

import pdecontrol as pc

TOL = 1e-6
PATIENCE = 2  # times the seconds of the best so far, and a second: longer runs are given up
PACKAGES = ("numpy", "scipy", "petsc4py", "piqp", "osqp", "clarabel", "qdldl", "pyamg")


class Reached(Exception):
    """The optimum is near enough."""


class Optimum:
    """What errors are measured by: the optimal control, or without a Tikhonov term the least objective."""

    def __init__(self, m: Matrices) -> None:
        # In another process: threads that CHOLMOD starts would be missing in those that are forked from this one.
        best = forked(lambda: {"factors": fastest(m.A)}, 100.0)
        self.m, self._solve = replace(m, **best), splu(m.A).solve
        self.control = optimum(m if m.alpha > 0 else replace(m, alpha=1e-12))  # far below what can be seen
        self.objective = self._value(self.control)

    def _value(self, u: Array) -> float:
        return self.m.objective(u, self._solve(self.m.b + self.m.C @ u))

    def error(self, u: Array) -> float:
        """Relative, of the control in its norm, or of the objective."""
        if not np.isfinite(u).all():
            return np.inf
        if self.m.alpha == 0:
            return self._value(np.clip(u, self.m.lower, self.m.upper)) / self.objective - 1.0
        return self.m.norm(u - self.control) / self.m.norm(self.control)


class Watch:
    """Looks at controls, and keeps the CPU time that this takes; what was done so far is in `work`."""

    def __init__(self, optimum: Optimum) -> None:
        self._optimum, self._begun, self._own = optimum, cpu_seconds(), 0.0
        self.error, self.work = np.inf, ""

    def __call__(self, u: Array) -> None:
        begun = cpu_seconds()
        self.error = self._optimum.error(u)
        self._own += cpu_seconds() - begun
        if self.error <= TOL:
            raise Reached

    @property
    def seconds(self) -> float:
        return cpu_seconds() - self._begun - self._own


# -- runs ------------------------------------------------------------------------------------------------------------


def forked(task: Callable[[], dict[str, Any]], limit: float) -> dict[str, Any]:
    """What a task returns in a process of its own, or {"failed": why}; the limit is in CPU seconds."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (int(np.ceil(limit)), int(np.ceil(limit)) + 1))
        signal.alarm(int(60 + 20 * limit))  # for what waits
        try:
            answer = task()
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"[:60]}
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said) if said else {"failed": f"> {limit:.0f} s"}


def of_peer(peer: Peer, option: Any, best: Optimum) -> dict[str, Any]:
    """A run of a peer: seconds, error, work."""
    watch = Watch(best)
    with suppress(Reached):
        watch.work = peer.solve(best.m, watch, option) or watch.work
    return {"seconds": watch.seconds, "error": watch.error, "work": str(watch.work)}


def attempt(peer: Peer, best: Optimum, limit: float, option: Any) -> dict[str, Any]:
    """The same in a process of its own."""
    return forked(lambda: of_peer(peer, option, best), limit)


def of_program(problem: pc.ControlProblem, map: pc.SolutionMap, best: Optimum) -> dict[str, Any]:
    """A run of the program, with its bound; solves, and Newton systems where it counts them, are the work."""
    begun = cpu_seconds()
    result = pc.minimise(problem, map, tol=TOL, progress=False)
    seconds, certificate, counts = cpu_seconds() - begun, result.certificate, result.solves
    bound = certificate.relative_gap if certificate.bound is None else certificate.bound / best.m.norm(best.control)
    others = [f"{counts[name]:.0f} {name}" for name in ("systems", "cycles") if counts.get(name)]
    error, work = best.error(result.control.array), ", ".join([f"{counts['total']:.0f} solves", *others])
    return {"seconds": seconds, "error": error, "bound": bound, "work": work, "success": bool(result.success),
            "method": result.method.partition(" (")[0], "status": result.status.name.lower()}  # fmt: skip


def repeated(run: Callable[[], dict[str, Any]], first: dict[str, Any], repeat: int) -> dict[str, Any]:
    """The first run with the median of seconds of several, where they are short."""
    if first.get("seconds", 1.0) >= 1.0:
        return first
    runs = [first, *(run() for _ in range(repeat - 1))]
    return first | {"seconds": median(r["seconds"] for r in runs if "seconds" in r)}


def reached(run: dict[str, Any]) -> bool:
    return "failed" not in run and run["error"] <= TOL


def best_run(peer: Peer, run: Callable[[Any], dict[str, Any]], repeat: int) -> dict[str, Any]:
    """The best of the options of a peer: of tolerances the loosest that suffices, of others the fastest."""
    options = list(peer.options)
    if isinstance(options[0], float):
        runs, low, high = {}, 0, len(options)
        while low < high:
            middle = (low + high) // 2
            runs[middle] = run(options[middle])
            low, high = (low, middle) if reached(runs[middle]) else (middle + 1, high)
            if runs[middle].get("failed", "").startswith(">"):
                return runs[middle]
        place = min(low, len(options) - 1)
    else:
        runs = {place: run(option) for place, option in enumerate(options)}
        place = min(runs, key=lambda i: (not reached(runs[i]), runs[i].get("seconds", np.inf)))
    return repeated(lambda: run(options[place]), runs[place], repeat) if reached(runs[place]) else runs[place]


# -- the table -------------------------------------------------------------------------------------------------------


def available(names: Sequence[str]) -> tuple[dict[str, Peer], list[str]]:
    """The peers whose packages are there, and the names of the others."""
    missing = [name for name in names if find_spec(PEERS[name].package) is None]
    return {name: PEERS[name] for name in names if name not in missing}, missing


def warm_up(peers: dict[str, Peer]) -> None:
    """Whatever is loaded or made when it is first used, before any time is taken."""
    for alpha in (1e-2, 1e-8):
        problem = CASES["S1"].make(alpha)
        for solver in ("direct", "amg") if find_spec("pyamg") else ("direct",):
            map = pc.discretise(problem, pc.unit_square(12), pc.Embedded(linear_solver=solver))
            pc.minimise(problem, map, progress=False, max_iterations=40)
    problem = CASES["E1"].make(1e-2)
    best = Optimum(matrices_of(problem, pc.discretise(problem, pc.unit_square(4))))
    if find_spec("petsc4py"):
        by_petsc(best.m.A)
    for peer in peers.values():
        if peer.package != "petsc4py":  # which exceptions leave in disorder
            of_peer(peer, peer.options[0], best)


def row(name: str, alpha: float, n: int, peers: dict[str, Peer], limit: float, repeat: int) -> float:
    """Print a line; the ratio, or what it is below where no peer gets there in its time, infinite without an answer."""
    problem = CASES[name].make(alpha)
    map = pc.discretise(problem, CASES[name].mesh(n))
    best = Optimum(matrices_of(problem, map))
    runs: dict[str, dict[str, Any]] = {}

    def ours() -> dict[str, Any]:
        return forked(lambda: of_program(problem, map, best), limit)

    own = repeated(ours, ours(), repeat)
    check_bound(own, f"{name}, alpha = {alpha:.0e}, N = {n}")
    least = own["seconds"] if succeeded(own) else limit
    for label, peer in peers.items():
        if peer.fits(best.m):
            enough = min(limit, 1 + PATIENCE * least)
            runs[label] = best_run(peer, partial(attempt, peer, best, enough), repeat)
            least = min(least, runs[label]["seconds"]) if reached(runs[label]) else least
    order = sorted(filter(lambda label: reached(runs[label]), runs), key=lambda label: runs[label]["seconds"])
    first = runs[order[0]]["seconds"] if order else min(limit, 1 + PATIENCE * least)
    ratio = own["seconds"] / first if succeeded(own) else np.inf
    said = [f"{label} {runs[label]['seconds']:.3f} ({runs[label]['work']})" for label in order] or ["none"]
    failed = [f"{label} {failure(runs[label])}" for label in runs if label not in order]
    print(f"{name:<9}{alpha:>6.0e} {n:>5}  {told(own)}  {'' if order else '<'}{ratio:.2f}  "
          + ", ".join(said) + "; not: " * bool(failed) + ", ".join(failed), flush=True)  # fmt: skip
    return ratio


def check_bound(own: dict[str, Any], where: str) -> None:
    """Raise an error for a bound of the program that is below its error, but for the rounding of the reference."""
    if "failed" not in own and own["bound"] is not None and own["error"] > own["bound"] * (1 + 1e-6) + 1e-13:
        raise RuntimeError(f"FALSE CERTIFICATE: {where}: {own['bound']:.3e} for an error of {own['error']:.3e}.")


def succeeded(own: dict[str, Any]) -> bool:
    return reached(own) and own["success"]


def told(own: dict[str, Any]) -> str:
    """Of the program: seconds, bound, error, work, and what is to be known."""
    if "failed" in own:
        return f"{own['failed']:<60}"
    note = "" if own["success"] else f" {own['status']}"
    bound = "-" if own["bound"] is None else f"{own['bound']:.0e}"
    return f"{own['seconds']:7.3f} {bound:>6} {own['error']:>6.0e} {own['method']}: {own['work']}{note}".ljust(60)


def failure(run: dict[str, Any]) -> str:
    return run.get("failed") or f"{run['error']:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--size", type=int, nargs="+", help="intervals on a side; without problems, of the table's")
    parser.add_argument("--weight", type=float, nargs="+", help="alpha, instead of those of the table")
    parser.add_argument("--peer", nargs="+", choices=list(PEERS), default=list(PEERS), help="all by default")
    parser.add_argument("--limit", type=float, default=120.0, help="CPU seconds of a run (default: 120)")
    parser.add_argument("--repeat", type=int, default=5, help="runs of what takes less than a second (default: 5)")
    chosen = parser.parse_args()
    if unknown := set(chosen.problems) - set(CASES):
        parser.error(f"no such problems: {sorted(unknown)}")
    peers, missing = available(chosen.peer)
    versions = [f"{package} {metadata.version(package)}" for package in PACKAGES if find_spec(package)]
    print(f"{platform.machine()}, Python {platform.python_version()}, " + ", ".join(versions))
    print(f"missing: {', '.join(missing) or 'none'}\n")
    print(
        f"{'problem':<9}{'alpha':>6} {'N':>5}  {'CPU s':>7} {'bound':>6} {'error':>6} "
        f"{'of the program':<38}  ratio  peers"
    )
    lost = []
    with threadpool_limits(1):
        warm_up(peers)
        for name in chosen.problems or CASES:
            sizes = chosen.size or CASES[name].sizes
            for n in sizes if chosen.problems else set(sizes) & set(CASES[name].sizes):
                for alpha in (a for a in CASES[name].weights if chosen.weight is None or a in chosen.weight):
                    ratio = row(name, alpha, n, peers, chosen.limit, chosen.repeat)
                    if ratio > 1.0:
                        lost.append(f"{name} {alpha:.0e} {n}")
    print(f"\nlost: {', '.join(lost) or 'none'}")


if __name__ == "__main__":
    main()
