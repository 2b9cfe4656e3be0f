"""Run by test_mpi.py: a run with checkpoints, which may be stopped, killed, and gone on with on other ranks."""

import sys
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world


def main(folder: Path, name: str, method: str, iterations: int, linear_solver: str, restart: bool, pause: bool) -> None:
    def callback(row):
        if pause:
            pc.report("iteration", row.iteration)

    result = pc.solve(
        pc.reference.box(1e-3).problem, pc.unit_square(20), pc.Parallel(linear_solver=linear_solver), method, tol=1e-9,
        max_iterations=iterations, checkpoint=folder / "checkpoint", checkpoint_iterations=1 if pause else 5,
        restart=restart, callback=callback,
    )  # fmt: skip
    whole = result.gather()
    if world().root:
        np.savez(
            folder / f"{name}.npz", control=whole.control.array, dual=whole.dual.array, objective=result.objective,
            bound=result.certificate.bound, iterations=result.history["iteration"],
        )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4]), sys.argv[5], "restart" in sys.argv, "pause" in sys.argv)
