"""Run by test_isoparametric.py on several ranks: states, adjoints and optima on cells with bent edges."""

import sys
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parent.parent))
from test_isoparametric import BETWEEN, ball, bent, poisson, ringed

CUBIC = (lambda y: y**3, lambda y: 3 * y**2)
ROBIN, PARTS = {"boundary": pc.Robin(1.0, lambda x: x[0])}, {"inside": 1.0, "outside": lambda x: 10 + x[0]}
CASES = {
    "disc": (poisson(), lambda: bent(ringed(6))),
    "P0": (poisson(control=pc.Distributed("inside", "P0")), lambda: bent(ringed(6))),
    "parts": (poisson(equation=pc.Elliptic(diffusion=PARTS, reaction=1.0), boundary=ROBIN),
              lambda: bent(ringed(6), "gamma", 0.5)),
    "interface": (poisson(control=pc.Distributed("outside"), tracking=pc.Tracking(1.0, on="gamma")),
                  lambda: bent(ringed(6), "gamma", 0.5)),
    "boundary": (poisson(control=pc.Boundary("boundary", "P0"), boundary=ROBIN), lambda: bent(ringed(6))),
    "points": (poisson(tracking=pc.Tracking(1.0, points=BETWEEN)), lambda: bent(ringed(6))),
    "semilinear": (poisson(equation=pc.Elliptic(semilinear=pc.Semilinear(*CUBIC))), lambda: bent(ringed(6))),
    "ball": (poisson(), lambda: bent(ball(2))),
    "sphere": (poisson(control=pc.Boundary("boundary"), boundary=ROBIN), lambda: bent(ball(2))),
}  # fmt: skip


def answers(backend):
    """By name, whole arrays: what controls weigh, a state and its adjoint, and an optimum; and fingerprints."""
    found = {}
    for name, (stated, mesh) in CASES.items():
        with pc.discretise(stated, mesh(), backend) as map:
            u = map.control.interpolate(lambda x: np.cos(2 * x[-1]) + x[0])
            at = map.at(u)
            found[f"{name}/mass"] = map.control.gather(map.control.dual(map.control.zeros() + 1))
            found[f"{name}/state"] = map.solution.gather(at.state)
            found[f"{name}/adjoint"] = map.control.gather(at.adjoint(at.value))
            found[f"{name}/fingerprint"] = np.array(map.system.fingerprint)
            if name in ("parts", "interface", "points"):
                result = pc.minimise(stated, map, tol=1e-6)
                found[f"{name}/optimum"] = result.control.gather().array
    return found


if __name__ == "__main__":
    found = answers(pc.Parallel(degree=2))
    if world().root:
        np.savez(sys.argv[1], **found)
