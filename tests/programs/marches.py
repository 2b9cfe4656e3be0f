"""Run by test_mpi.py on 1, 2, 3 ranks in turn: problems in time solved whole, and gone on with from the run before."""

import sys
import warnings
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import CN, CUBIC, SQUARE, heat, square, travelling, wave

PROBLEMS = {
    "linear": heat(
        steps=2, terms=[pc.L1(1e-4), pc.Box(-2, lambda x, t: 3 - t)], tracking=pc.Tracking(travelling), alpha=1e-4
    ),
    "linear, Crank-Nicolson": heat(
        steps=2, scheme=CN, initial=wave, boundary=SQUARE, control=pc.Boundary("top"),
        tracking=pc.Tracking(1.0, times="final"),
    ),
    "semilinear": heat(
        pc.Elliptic(semilinear=CUBIC, source=travelling), 2, terms=[pc.L1(1e-4), pc.Box(-60, 60)], alpha=1e-4
    ),
    "bilinear": heat(pc.Elliptic(source=10.0), 2, control=pc.Coefficient(), terms=[pc.Box(0, 50)], alpha=1e-4),
    "actuators": heat(
        steps=2, control=pc.Actuators([lambda x: 1.0 * (x.sum(axis=0) < 0.4), travelling]), terms=[pc.Box(-1, 1)],
        tracking=pc.Tracking(1.0, points=[[0.1, 0.15], [0.1, 0.2]]),
    ),  # seen and driven near one corner, of which some ranks own nothing
    "initial value": heat(
        steps=2, control=pc.InitialValue("patch"), tracking=pc.Tracking(wave, times="final"), alpha=1e-4
    ),
}  # fmt: skip
GONE_ON_WITH = {"bilinear": "primal-dual", "initial value": "fista"}


def kept(name, result):
    whole, certificate = result.gather(), result.certificate
    numbers = [result.objective, certificate.norm, len(result.history), result.solves["total"], result.success]
    found = {f"{name}/numbers": np.array(numbers, dtype=float), f"{name}/bound": np.array(certificate.bound)}
    return found | {f"{name}/{field.name}": field.array for field in (whole.control, whole.state, whole.adjoint)}


def main(folder: Path) -> None:
    found = {}
    for name, problem in PROBLEMS.items():
        found |= kept(name, pc.solve(problem, square(), "dolfinx", tol=1e-4))
    for name, method in GONE_ON_WITH.items():
        options = {"mesh": square(), "backend": "dolfinx", "method": method, "tol": 1e-3}
        whole = pc.solve(PROBLEMS[name], **options)
        before, own = (folder / f"{name}, {size}" for size in (world().size - 1, world().size))
        rest = whole
        if world().size > 1:
            rest = pc.solve(PROBLEMS[name], **options, checkpoint=before, restart=True)
        for run, result in (("whole", whole), ("rest", rest)):
            found |= kept(f"{name}, {run}", result)
        pc.solve(PROBLEMS[name], **options, max_iterations=4, checkpoint=own, checkpoint_iterations=2)
        path = whole.save(folder / f"{name}, saved on {world().size}")
        if world().root:
            loaded, x = pc.load(path), np.array([[0.3, 0.7], [0.4, 0.1]])
            found[f"{name}, {method}/loaded"] = np.array([loaded.state(x, 0.15), loaded.state(x, 0.3)])
        again = pc.solve(PROBLEMS[name], **options, start=whole)
        found[f"{name}, again/iterations"] = np.array(len(again.history))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pc.discretise(heat(initial=1.0), square(), "dolfinx").close()
    found["warnings of all ranks/count"] = np.array(world().sum(len(caught)))
    if world().root:
        np.savez(folder / f"{world().size}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
