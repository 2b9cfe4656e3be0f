"""Bounds to the continuous optimum on several processes; run by test_total_tolerance.py."""

import sys
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world

PROBLEM = pc.ControlProblem(
    pc.Elliptic(), pc.Distributed(), pc.Tracking(1.0),
    [pc.Tikhonov(1e-3), pc.L1(1e-3), pc.Box(-5.0, lambda x: 5 + x[0])], {"boundary": pc.Dirichlet()},
)  # fmt: skip
POINTS = np.array([[-0.3, 0.2, -0.51], [0.3, 0.6, -0.77]])


def answers(backend, folder):
    """The numbers of a bound on one mesh, of refined meshes, and of a given control, and controls at points."""
    one = pc.solve(PROBLEM, pc.l_shape(4), backend(degree=1), continuous=True)
    refined = pc.solve(PROBLEM, pc.l_shape(2), backend(degree=2), total_tol=0.1)
    refined.plot_levels(folder / f"{backend.__name__}.png")
    with pc.discretise(PROBLEM, pc.l_shape(4), backend()) as map:
        given = pc.certify(PROBLEM, refined.control, map, continuous=True)
    found = [result.certificate.continuous for result in (one, refined)] + [given.continuous]
    numbers = [(item.bound, item.norm, *item.parts) for item in found]
    return np.concatenate([*numbers, one.control(POINTS), refined.control(POINTS), refined.history["bound"]])


if __name__ == "__main__":
    folder = Path(sys.argv[1]).parent
    values = answers(pc.Parallel, folder)
    if world().root:
        np.save(sys.argv[1], values)
