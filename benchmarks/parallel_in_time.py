"""All steps of a parabolic equation at once against one after the other, by engine, processes and threads.

P1 (pdecontrol.reference.heat), backward Euler, n x n squares and N steps. For each engine the two marches take
turns in one run, and of each time the least is kept. A pair is a state and an adjoint, as a method asks for them:

    cold      without a start: two sweeps each
    near      from the solutions for a control that differs by a thousandth: one sweep
    tight     as certificates do, with bounds on residuals and rounding

and `whole` is a primal-dual run to a certified 1e-6, with its solves and sweeps. All is in milliseconds but for the
whole runs and the factorisations, which are in seconds; `gain` is sequential over parallel in time. Rows of one process
with one thread are in seconds of the processor, which other programs hardly change, others by the clock. `cpu` is the
least share of a core that a process had: where it is much less than 100 %, other programs ran, and times by the clock
say little.

The last table is a model of what more cores would do, with times of one core that this run measured: tau of a back
substitution, c tau of one with complex factors, pi and rho of what else a step costs in the march, and in two sweeps
from afar or one from near.

    python benchmarks/parallel_in_time.py                                  # some minutes
    python benchmarks/parallel_in_time.py --sizes 16,16 --repeat 1         # seconds
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from time import perf_counter, process_time
from typing import Any

import numpy as np

import pdecontrol as pc
from pdecontrol import reference
from pdecontrol.parallel import world

MARCHES = ("sequential", "parallel-in-time")
CORES = (1, 2, 4, 8, 16, 32)
ENVIRONMENT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
HEADER = (
    f"{'engine':<12}{'processes':>10}{'threads':>8}{'cpu':>6} |{'factors s':>14} |{'cold ms':>16}{'gain':>6} |"
    f"{'near ms':>16}{'gain':>6} |{'tight ms':>16}{'gain':>6} |{'solves':>7}{'sweeps':>7}{'whole s':>14}{'gain':>6}"
)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds until all processes have finished, and what an action returns."""
    clock = process_time if world().size == 1 and os.environ["OMP_NUM_THREADS"] == "1" else perf_counter
    world().any(False)  # a barrier
    begin = clock()
    found = action()
    world().any(False)
    return clock() - begin, found


def pair(map: pc.SolutionMap, u: np.ndarray, near: tuple | None = None, accuracy: float | None = None) -> tuple:
    """A state and an adjoint, from those of another control."""
    at = map.at(u, near and near[0].warm, accuracy)
    return at, at.solve_adjoint(at.value, near and near[1].state)


def work(engine: str, n: int, steps: int, repeat: int) -> None:
    """One process of a run; rank 0 prints what was measured."""
    example, mesh = reference.heat(steps), pc.unit_square(n)
    backends = {march: {"skfem": pc.Embedded, "dolfinx": pc.Parallel}[engine](march=march) for march in MARCHES}
    maps = {march: pc.discretise(example.problem, mesh, backend) for march, backend in backends.items()}
    found = {name: dict.fromkeys(MARCHES, np.inf) for name in ("first", "cold", "near", "tight", "whole")}
    # dolfinx does not divide a mesh alike for every map
    controls = {march: map.control.interpolate(example.control) for march, map in maps.items()}
    starts = {}
    for march, map in maps.items():
        found["first"][march] = timed(lambda map=map, v=controls[march]: pair(map, v, None, 1e-2))[0]
        starts[march] = pair(map, controls[march], None, 1e-2)
        pair(map, controls[march])
    begin, used = perf_counter(), process_time()
    for _ in range(repeat):
        for march, map in maps.items():
            v = 1.001 * controls[march]
            for name, near, accuracy in (("cold", None, 1e-2), ("near", starts[march], 1e-2), ("tight", None, None)):
                seconds = timed(lambda map=map, v=v, near=near, accuracy=accuracy: pair(map, v, near, accuracy))[0]
                found[name][march] = min(found[name][march], seconds)
    busy = min(world().collect((process_time() - used) / (perf_counter() - begin)))
    for march in MARCHES:
        found["first"][march] -= found["cold"][march]
    constants = model(maps) if engine == "skfem" else None
    for map in maps.values():
        map.close()
    solves = {}
    for _ in range(max(1, repeat // 3)):
        for march, backend in backends.items():
            seconds, result = timed(lambda backend=backend: pc.solve(example.problem, mesh, backend, "primal-dual"))
            found["whole"][march] = min(found["whole"][march], seconds)
            solves[march] = result.solves
    counts = solves["parallel-in-time"]["total"], solves["parallel-in-time"]["inner"]
    same = counts[0] == solves["sequential"]["total"]
    pc.report(json.dumps({"times": found, "cpu": busy, "counts": counts, "same": same, "model": constants}))


def model(maps: dict[str, pc.SolutionMap]) -> dict[str, float]:
    """tau, c, pi and rho in seconds of the processor, which other programs hardly change: the least of ten."""

    def least(action: Callable[[], object]) -> float:
        times = []
        for _ in range(10):
            begin = process_time()
            action()
            times.append(process_time() - begin)
        return min(times)

    march, steps = (maps[name].linear for name in MARCHES)
    f = np.random.default_rng(0).standard_normal((steps.count, steps.evolution.free.size))
    factors, inverse, count = steps._systems(), march.solver(0).inverse, steps.count
    tau = least(lambda: [inverse.apply(row) for row in f]) / count
    systems = least(lambda: [one.solve(row + 0j) for one, row in zip(factors, f, strict=False)])
    whole = least(lambda: march.forward(f, accuracy=1e-2)) / count
    near = 0.999 * march.forward(f, accuracy=1e-2)[0]
    cold, warm = (least(lambda x=x: steps.forward(f, x, 1e-2)) for x in (None, near))
    return {
        "tau": tau, "c": systems / len(factors) / tau, "pi": whole - tau,
        "cold": (cold - 2 * systems) / count, "near": (warm - systems) / count,
    }  # fmt: skip


def start(engine: str, processes: int, threads: int, n: int, steps: int, repeat: int) -> dict:
    """What a run on so many processes measured."""
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", engine, "--sizes", f"{n},{steps}"]
    command += ["--repeat", str(repeat)]
    if engine == "dolfinx":
        command = ["mpirun", "-n", str(processes), *command]
    environment = os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)}
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} failed ({run.returncode})\n{run.stdout}")
    return json.loads(run.stdout.splitlines()[-1])


def line(engine: str, processes: int, threads: int, run: dict) -> str:
    def cell(name: str, digits: int, scale: float, width: int) -> str:
        one, other = (scale * run["times"][name][march] for march in MARCHES)
        gain = "" if name == "first" else f"{one / other:>6.2f}"
        return f"{one:>{width}.{digits}f}{other:>{width}.{digits}f}{gain}"

    solves, sweeps = run["counts"]
    return (
        f"{engine:<12}{processes:>10}{threads:>8}{run['cpu']:>6.0%} |{cell('first', 2, 1, 7)} |"
        f"{cell('cold', 0, 1e3, 8)} |{cell('near', 0, 1e3, 8)} |"
        f"{cell('tight', 0, 1e3, 8)} |{solves:>7}{sweeps:>7}{cell('whole', 1, 1, 7)}"
        f"{'' if run['same'] else '  other solves than the march'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["32,32", "32,128", "64,64"], metavar="n,N")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--worker", choices=("skfem", "dolfinx"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [tuple(map(int, size.split(","))) for size in arguments.sizes]
    if arguments.worker:
        work(arguments.worker, *sizes[0], arguments.repeat)
        return
    runs = [("skfem", 1, 1), ("skfem", 1, 2), ("dolfinx", 1, 1), ("dolfinx", 2, 1)]
    if find_spec("dolfinx") is None or which("mpirun") is None:
        print("without the distributed engine: that needs dolfinx and mpirun")
        runs = runs[:2]
    print(f"{os.cpu_count()} cores, load at the start {os.getloadavg()[0]:.1f}; sequential, then parallel in time")
    constants = {}
    for n, steps in sizes:
        print(f"\nn = {n}, N = {steps}\n{HEADER}", flush=True)
        for engine, processes, threads in runs:
            run = start(engine, processes, threads, n, steps, arguments.repeat)
            print(line(engine, processes, threads, run), flush=True)
            if threads == 1 and run["model"]:
                constants[n, steps] = run["model"]
    print("\nThe model: gains over the march on one core, from afar and from near")
    print(
        f"{'n':>4}{'N':>5}{'tau ms':>8}{'c':>6}{'pi ms':>7}{'rho ms':>12} |" + "".join(f"{p:>5} cores" for p in CORES)
    )
    for (n, steps), m in constants.items():
        print(f"{n:>4}{steps:>5}{1e3 * m['tau']:>8.3f}{m['c']:>6.2f}{1e3 * m['pi']:>7.3f}{1e3 * m['cold']:>6.2f}"
              f"{1e3 * m['near']:>6.2f} |" + "".join(predicted(m, steps, cores) for cores in CORES))  # fmt: skip


def predicted(m: dict[str, float], steps: int, cores: int) -> str:
    """The gains of the model."""
    march, systems = steps * (m["tau"] + m["pi"]), -(-(steps // 2 + 1) // cores) * m["c"] * m["tau"]
    cold, near = 2 * systems + steps * m["cold"] / cores, systems + steps * m["near"] / cores
    return f"{march / cold:>6.2f}{march / near:>5.2f}"


if __name__ == "__main__":
    main()
