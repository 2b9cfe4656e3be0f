"""Run by test_mpi.py on several numbers of ranks: Newton systems by the multigrid of PETSc, and what is left."""

import sys
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.fem.collective import Collective
from pdecontrol.maps import map_norm
from pdecontrol.spectrum import smooth_start
from pdecontrol.terms import bind

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import AFFINE

NAMES = (
    "3D, control and observation on boundaries",
    "tracking in several ways, and linear functionals",
    "jumps, P2, control P0 on a part, advection",
    "control P0 on an interface, P2, observed on both sides",
)


def system(name: str, problem: pc.ControlProblem, map: pc.SolutionMap, alpha: float) -> None:
    """Report what the residual of a system is, by solves, and the cycles that it took."""
    objective = bind(problem, map)
    second = objective.state.second(map.observation.zeros())
    at = map.at(map.control.zeros())
    chi = 1.0 * (np.sin(17.0 * map.control.nodes).sum(axis=0) > -0.3)
    r = second(smooth_start(map.observation))
    norm = map_norm(map, at, objective.state.free)
    d, adjoint = map.newton_system(at, r, lambda h: chi * h / alpha, second, 1e-3, 500, norm)
    left = map.observation.norm(d + second(at.tangent(chi * at.adjoint(d) / alpha)) - r) / map.observation.norm(r)
    near = map.control.norm(adjoint.gradient - at.adjoint(d)) <= 1e-3 * map.control.norm(at.adjoint(d))
    solves, size = map.solves.snapshot(), map.observation.norm(d)
    words = name, solves["systems"], solves["cycles"], f"{size:.4e}", left <= 1e-2, near
    pc.report(" | ".join(str(word) for word in words))


def main() -> None:
    Collective.affordable = lambda *_: 0
    for name in NAMES:
        case = next(case for case in AFFINE if case.name == name)
        with case.fresh_map(backend="dolfinx") as map:
            system(name, case.problem, map, 1e-4)
    for mesh in (pc.unit_square(40), pc.unit_cube(10)):
        problem = pc.reference.box(1e-7, mesh.dim).problem
        with pc.discretise(problem, mesh, "dolfinx") as map:
            system(f"{mesh.dim}D", problem, map, 1e-7)


if __name__ == "__main__":
    main()
