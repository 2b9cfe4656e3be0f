"""Run by test_variational.py and test_sides.py on several ranks: variational controls, and functions on one side."""

import sys
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.errors import DataError
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import cube, interval, problem, square, wave
from test_interfaces import disc, stated
from test_isoparametric import bent, poisson, ringed

BOX = pc.Box(-2.0, lambda x: 0.5 + x[0])
VARIATIONAL = {
    "1D": (interval, 2, problem(control=pc.Distributed("upper", "variational"), terms=[BOX])),
    "2D": (square, 1, problem(control=pc.Distributed("patch", "variational"), terms=[BOX])),
    "2D, P2": (square, 2, problem(control=pc.Distributed(element="variational"), terms=[BOX])),
    "2D, P3": (square, 3, problem(control=pc.Distributed("patch", "variational"), terms=[BOX])),
    "3D, P2": (cube, 2, problem(boundary={"left": pc.Dirichlet()}, control=pc.Distributed("lower", "variational"))),
    "3D, P3": (cube, 3, problem(boundary={"left": pc.Dirichlet()}, control=pc.Distributed(element="variational"))),
    "bent": (lambda: bent(ringed(6), "gamma", 0.5), 2, poisson(control=pc.Distributed("inside", "variational"))),
    "interface": (lambda: disc(8), 1, stated(pc.Distributed(element="variational"), terms=[pc.Box(
        {"inside": -1.0, "outside": -0.5}, {"inside": 1.5, "outside": lambda x: 1 + x[0]})])),
}  # fmt: skip
ON_GAMMA = 0.5 * np.stack([np.cos(np.linspace(0, 6, 5)), np.sin(np.linspace(0, 6, 5))])


def answers(backend, names=tuple(VARIATIONAL)):
    """By name, whole arrays: weights and points of the controls, an adjoint, and an optimum with values of it."""
    found = {}
    for name in names:
        make, degree, given = VARIATIONAL[name]
        mesh = make()
        middles = mesh.points[:, mesh.cells[:, mesh.part(given.control.on) if given.control.on else slice(5)]].mean(
            axis=1
        )
        with pc.discretise(given, mesh, backend(degree)) as map:
            at, whole = map.at(map.control.interpolate(wave)), map.control.whole
            found[f"{name}/adjoint"] = map.control.gather(at.adjoint(at.value))
            result = pc.minimise(given, map, tol=1e-9)
            found[f"{name}/optimum"], found[f"{name}/values"] = result.control.gather().array, result.control(middles)
            if world().root:
                found[f"{name}/mass"], found[f"{name}/points"] = whole.mass, whole.points
    return found


def one_sided(backend):
    """The state of an interface problem on both sides, at points that each rank has its own of."""
    found, mine = {}, np.roll(ON_GAMMA, world().rank, axis=1)
    with pc.discretise(stated(), disc(8), backend) as map:
        state = map.field(map.control.zeros())
        for side in ("inside", "outside"):
            values, gradients = state(mine, side=side), state.gradient(mine, side=side)
            found[side] = np.roll(np.vstack([values, gradients]), -world().rank, axis=1)
        try:
            state(mine, side=("inside", "outside")[world().rank % 2])
        except DataError as error:
            found["differ"] = np.array(str(error))
    return found


if __name__ == "__main__":
    found = one_sided("dolfinx") if "sides" in sys.argv else answers(pc.Parallel)
    if world().root:
        np.savez(sys.argv[1], **found)
