"""Run by test_mpi.py on several numbers of ranks: norms of maps, of products of observations and plain numbers too."""

import sys
from pathlib import Path

import pdecontrol as pc
from pdecontrol.maps import map_norm
from pdecontrol.spectrum import smooth_start
from pdecontrol.terms import bind

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import AFFINE
from test_norms import HARD

NAMES = (
    "actuators",
    "tracking at points",
    "tracking in several ways, and linear functionals",
    "reaction, several observations",
)


def main() -> None:
    chosen = [case for case in AFFINE + HARD if case.name in NAMES]
    assert len(chosen) == len(NAMES)
    for case in chosen:
        with case.fresh_map(backend="dolfinx") as map:
            norm = map_norm(map, map.at(map.control.zeros()), bind(case.problem, map).state.free)
            space = map.observation
            moments = [
                space.norm(smooth_start(space)),
                space.inner(smooth_start(space), map.solve(map.control.zeros() + 1)),
            ]
        pc.report(f"{case.name}: {norm:.9e} {moments[0]:.9e} {moments[1]:.9e}")
    with chosen[-1].fresh_map("amg", "dolfinx") as map:  # multigrid is not quite the same on other partitions
        pc.report(f"constants: {map.constants[0]:.3e} {map.constants[1]:.3e}")


if __name__ == "__main__":
    main()
