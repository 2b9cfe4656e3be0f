"""Run by test_mpi.py on several numbers of ranks: every example and case, with whole vectors in a file."""

import sys
from pathlib import Path

import numpy as np
from pdecontrol.examples import (
    bang_bang,
    boundary_control,
    boundary_observation,
    heat_sources,
    regularisation_path,
    semilinear,
    stadler,
    three_dimensions,
    threshold,
)

import pdecontrol as pc
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import CASES

SMALL = {
    stadler: {"n": 24}, bang_bang: {"n": 16}, boundary_control: {"n": 12}, boundary_observation: {"n": 12},
    heat_sources: {"n": 20}, regularisation_path: {"n": 16}, semilinear: {"n": 12}, three_dimensions: {"n": 6},
    threshold: {"n": 16},
}  # fmt: skip


def main(output: Path) -> None:
    found = {}

    def keep(name, result):
        whole, certificate = result.gather(), result.certificate
        numbers = [result.objective, certificate.norm, certificate.measure, len(result.history), result.success]
        found[f"{name}.numbers"] = np.array(numbers, dtype=float)
        for field in (whole.control, whole.state, whole.adjoint):
            found[f"{name}.{field.name}"] = field.array

    for module, size in SMALL.items():
        name = module.__name__.rpartition(".")[2]
        results = module.main(output / name if world().size == 2 else None, **size)
        for number, result in enumerate(results if isinstance(results, list) else [results]):
            keep(f"{name} {number}", result)
    for case in CASES:
        with case.fresh_map(backend="dolfinx") as map:
            at = map.at(map.control.scatter(case.control()))
            found[f"{case.name}/state"] = map.solution.gather(at.state)
            found[f"{case.name}/observed"] = map.observation.gather(at.value)
            found[f"{case.name}/adjoint"] = map.control.gather(at.adjoint(at.value))
    for linear_solver in ("direct", "amg"):
        problem = pc.reference.box(1e-4).problem
        result = pc.solve(problem, pc.unit_square(20), "dolfinx", linear_solver=linear_solver, discretisation=True)
        keep(f"E1, {linear_solver}", result)
        found[f"E1, {linear_solver}.discretisation"] = np.array(result.certificate.discretisation)
        found[f"E1, {linear_solver}.values"] = result.state(np.array([[0.1, 0.7], [0.2, 0.3]]))
    if world().root:
        np.savez(output / f"{world().size}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
