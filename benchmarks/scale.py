"""E1 (Poisson, box constraints) with a million unknowns in 2D and 3D on the distributed engine, by number of processes.

The whole program is mesh, discretisation, preconditioner, optimisation and certificate. Imports are left out, and
forms are compiled before it begins. Its floor is what PETSc alone would need: the time of one bare solve, times the
number of PDE solves. The bare solve has the matrix, a right-hand side and the options of the product (CG with GAMG),
and goes from zero to 1e-10 in the norm that PETSc has by default; its set-up is timed apart and not in the floor.

The solves are all of `result.solves`: norm estimates, certificates and the one that estimates the spectrum included. So
are the inner iterations; `share` compares them with as many bare solves.
Applications of the preconditioner for error bounds are in the times only. `s/solve` has the set-up in it.

The script starts itself under mpirun, `--repeat` times for each row, the numbers of processes in turn. Every number is
the median of these runs; a bare solve is the median of three in each. Meshes are not divided alike in all runs, so that
counts differ by a few. Memory is the greatest resident size until the whole program has ended, summed over the
processes: shared libraries count once for each. `cpu` is the share of the time for which the process that had least of
a core had one; much less than 100 % means that other programs ran.

    python benchmarks/scale.py                                    # 2D and 3D, 1 and 2 processes; an hour or so
    python benchmarks/scale.py --ladder                           # 60 000 and 250 000 unknowns in 2D as well
    python benchmarks/scale.py --unknowns 20000 --repeat 1        # seconds
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from statistics import median, median_low
from time import perf_counter, process_time

import numpy as np

import pdecontrol as pc
from pdecontrol import reference

ALPHA = 1e-4
LIMIT, WANTED = 1.25, 1.5
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
HEADER = (
    f"{'':>2} {'ranks':>5} {'unknowns':>9} {'its':>4} {'solves':>6} {'inner':>6} {'a solve':>7} {'share':>6} "
    f"{'s/solve':>8} {'whole s':>8} {'cpu':>4} {'GiB':>6} {'certified':>9} | {'bare s':>8} {'its':>5} {'set-up s':>8} "
    f"{'floor s':>8} {'whole/floor':>11}"
)


def build(dimension: int, unknowns: int) -> pc.Mesh:
    """The mesh with about so many inner nodes."""
    n = round(unknowns ** (1 / dimension)) + 1
    return pc.unit_square(n) if dimension == 2 else pc.unit_cube(n)


def work(dimension: int, unknowns: int, tol: float) -> None:
    """One process of a run; rank 0 prints what was measured."""
    from mpi4py import MPI

    comm, example = MPI.COMM_WORLD, reference.box(ALPHA, dimension)
    engine = {"backend": pc.Parallel(linear_solver="amg")}
    pc.solve(example.problem, build(dimension, 50), **engine, progress=False)  # compiles the forms
    comm.Barrier()

    begin, used = perf_counter(), process_time()
    mesh = build(dimension, unknowns)
    result = pc.solve(example.problem, mesh, tol=tol, **engine, progress=False)
    comm.Barrier()
    whole = perf_counter() - begin
    busy = comm.allreduce((process_time() - used) / whole, op=MPI.MIN)
    unit = 1 if sys.platform == "darwin" else 1024
    memory = comm.allreduce(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)

    with pc.discretise(example.problem, mesh, **engine) as map:
        u = map.control.interpolate(example.control)
        b = -map.system.residual(map.system.lifting.initial(), u)
        seconds, inner, setup = bare(map, b)
        count = comm.allreduce(b.size)
    floor = seconds * result.solves["total"]
    pc.report(json.dumps({
        "unknowns": count, "iterations": len(result.history) - 1, "solves": int(result.solves["total"]),
        "inner": result.solves["inner"], "share": result.solves["inner"] / result.solves["total"] / inner,
        "solve": result.solves["seconds"] / result.solves["total"], "whole": whole, "cpu": busy,
        "memory": memory, "certified": result.certificate.relative, "status": result.status.name.lower(),
        "bare": seconds, "bare_inner": inner, "setup": setup, "floor": floor, "ratio": whole / floor,
    }))  # fmt: skip


def bare(map: pc.SolutionMap, b: np.ndarray) -> tuple[float, int, float]:
    """The time of a solve by PETSc alone, its iterations, and the time of its set-up."""
    from mpi4py import MPI
    from petsc4py import PETSc

    from pdecontrol.linear.ksp import PetscOptions

    matrix = map.factors.inverse.matrix
    x, right = matrix.createVecs()
    right.array[:] = b
    ksp = PETSc.KSP().create(matrix.getComm())
    ksp.setOperators(matrix)
    ksp.setTolerances(rtol=1e-10, atol=0.0, max_it=1000)
    MPI.COMM_WORLD.Barrier()
    begin = perf_counter()
    PetscOptions(None).apply(ksp, "state_", "amg", definite=True)
    setup, times = perf_counter() - begin, []
    for _ in range(3):
        MPI.COMM_WORLD.Barrier()
        begin = perf_counter()
        ksp.solve(right, x)
        MPI.COMM_WORLD.Barrier()
        times.append(perf_counter() - begin)
        if ksp.getConvergedReason() < 0:
            raise SystemExit(f"the bare solve did not converge (reason {ksp.getConvergedReason()})")
    return median(times), ksp.getIterationNumber(), setup


def start(dimension: int, ranks: int, unknowns: int, tol: float) -> dict[str, float | str]:
    """What a run on so many processes measured."""
    command = ["mpirun", "-n", str(ranks), sys.executable, str(Path(__file__).resolve()), "--worker"]
    command += [str(dimension), "--unknowns", str(unknowns), "--tol", str(tol)]
    run = subprocess.run(command, env=os.environ | ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} failed ({run.returncode})\n{run.stdout}")
    return json.loads(run.stdout.splitlines()[-1])


def middle(runs: list[dict[str, float | str]]) -> dict[str, float | str]:
    """The medians of several runs."""
    return {name: median_low([run[name] for run in runs]) for name in runs[0]}


def line(dimension: int, ranks: int, run: dict[str, float | str]) -> str:
    status = "" if run["status"] == "certified" else f"  {run['status']}"
    return (
        f"{dimension}D {ranks:>5} {run['unknowns']:>9} {run['iterations']:>4} {run['solves']:>6} {run['inner']:>6} "
        f"{run['inner'] / run['solves']:>7.1f} {run['share']:>6.0%} {run['solve']:>8.4f} {run['whole']:>8.2f} "
        f"{run['cpu']:>4.0%} {run['memory'] / 2**30:>6.2f} {run['certified']:>9.1e} | {run['bare']:>8.4f} "
        f"{run['bare_inner']:>5} {run['setup']:>8.2f} {run['floor']:>8.2f} {run['ratio']:>11.2f}{status}"
    )


def machine() -> str:
    """What the numbers were measured on."""
    import dolfinx
    from petsc4py import PETSc

    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [row.partition(":")[2].strip() for row in information.read_text().splitlines() if "model name" in row]
        processor = names[0] if names else processor
    petsc = ".".join(map(str, PETSc.Sys.getVersion()))
    return (
        f"{processor}, {os.cpu_count()} cores, {platform.system()}; dolfinx {dolfinx.__version__}, PETSc {petsc}; "
        f"load at the start {os.getloadavg()[0]:.1f}"
    )


def number(text: str) -> int:
    return int(float(text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unknowns", type=number, default=1_000_000, help="in each dimension (default: 1e6)")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[2, 3], choices=(2, 3))
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--ladder", type=number, nargs="*", metavar="UNKNOWNS",
        help="also so many in 2D, on the first number of ranks (6e4 2.5e5 where none are given)",
    )  # fmt: skip
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.unknowns, arguments.tol)
        return
    if find_spec("dolfinx") is None or which("mpirun") is None:
        print("benchmarks/scale.py was not run: it needs dolfinx and mpirun")
        return

    print(f"E1, alpha = {ALPHA:.0e}, to a certified {arguments.tol:.0e}; medians of {arguments.repeat}\n{machine()}\n")
    print(HEADER, flush=True)
    ladder = [60_000, 250_000] if arguments.ladder == [] else arguments.ladder or []
    for unknowns in ladder:
        runs = [start(2, arguments.ranks[0], unknowns, arguments.tol) for _ in range(arguments.repeat)]
        print(line(2, arguments.ranks[0], middle(runs)), flush=True)
    gains = []
    for dimension in arguments.dimensions:
        runs = {ranks: [] for ranks in arguments.ranks}
        for _ in range(arguments.repeat):
            for ranks in arguments.ranks:
                runs[ranks].append(start(dimension, ranks, arguments.unknowns, arguments.tol))
        medians = {ranks: middle(measured) for ranks, measured in runs.items()}
        for ranks, run in medians.items():
            print(line(dimension, ranks, run), flush=True)
        if {1, 2} <= set(medians):
            whole, alone = (medians[1][name] / medians[2][name] for name in ("whole", "bare"))
            gains.append(f"{dimension}D: the whole {whole:.2f} times, the bare solve {alone:.2f} times")
    print(f"\nwhole/floor: at most {LIMIT} is the aim")
    if gains:
        print(f"faster on 2 ranks than on 1, the aim being {WANTED} for the whole; {'; '.join(gains)}")


if __name__ == "__main__":
    main()
