"""Run by test_parallel_in_time.py on several ranks: maps by both marches, whole vectors and counts in a file."""

import sys
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parent.parent))
from test_parallel_in_time import ON_RANKS, named, together


def main(output: Path) -> None:
    found = {}
    for case in map(named, ON_RANKS):
        with together(case, "dolfinx") as made:
            at = made.at(made.control.scatter(case.control()))
            adjoint = at.solve_adjoint(at.value)
            found[f"{case.name}/state"] = made.solution.gather(at.state)
            found[f"{case.name}/adjoint"] = made.control.gather(adjoint.gradient)
            assert made.solves.factorisations == 1 + 1 + made.solution.times.size // 2
            small = at.error <= 1e-10 * made.observation.norm(at.value) + 1e-14
            assert small and adjoint.error <= 1e-9 * made.control.norm(adjoint.gradient) + 1e-14
    result = pc.solve(pc.reference.heat(8).problem, pc.unit_square(8), pc.Parallel(march="parallel-in-time"))
    found["P1"] = result.gather().control.array
    if world().root:
        np.savez(output, solves=result.solves["total"], **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
