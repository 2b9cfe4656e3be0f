"""Run by test_mpi.py: a learned map and its optimum on several ranks, and the answer that it helps to certify."""

import sys
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol import verify
from pdecontrol.errors import DataError
from pdecontrol.learn.trained import Trained
from pdecontrol.parallel import world

PROBLEM = pc.ControlProblem(
    equation=pc.Elliptic(source=1.0),
    boundary={"boundary": pc.Dirichlet(0.3)},
    control=pc.Distributed(),
    tracking=pc.Tracking(lambda x: np.sin(4 * x[0]) * x[1]),
    terms=[pc.Tikhonov(1e-4), pc.Box(-4, 4)],
)


def answers(trained, backend):
    """By name, whole arrays: a state and an adjoint of the learned map, its optimum, and the certified one."""
    with pc.discretise(PROBLEM, pc.unit_square(8), backend) as map:
        learned, found = trained.map(map), {}
        assert verify.adjoint_error(learned) < 1e-12
        at = learned.at(map.control.interpolate(lambda x: np.cos(3 * x[0]) - x[1]))
        found["state"] = map.observation.gather(at.value)
        found["adjoint"] = map.control.gather(at.adjoint(at.value))
        own = pc.minimise(PROBLEM, learned, tol=1e-8, progress=False)
        assert own.status is pc.Status.CONVERGED and own.certificate.bound is None
        found["optimum"] = own.control.gather().array
        result = pc.certified(PROBLEM, learned, map, 1e-6, progress=False)
        assert result.status is pc.Status.CERTIFIED and result.solves["applications"] > 0
        found["certified"] = result.control.gather().array
        other = pc.discretise(PROBLEM, pc.unit_square(9), backend)
        try:
            trained.map(other)
        except DataError as error:
            pc.report(error)
        return found


if __name__ == "__main__":
    path, folder = map(Path, sys.argv[1:])
    found = answers(Trained.load(path), "dolfinx")
    if world().root:
        np.savez(folder / f"learned{world().size}.npz", **found)
