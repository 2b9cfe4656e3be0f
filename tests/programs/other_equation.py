"""Run by test_mpi.py: the map of another equation as a surrogate on several ranks, and surrogates of one process."""

from dataclasses import replace

import pdecontrol as pc
from pdecontrol import verify
from pdecontrol.learn.surrogates import CoarseMesh, Surrogate, VCycle

PROBLEM = pc.ControlProblem(
    equation=pc.Elliptic(diffusion=lambda x: 1 + x[0], source=lambda x: 1.0 * (x[0] > 0.9)),  # on some ranks alone
    boundary={"left": pc.Dirichlet()},
    control=pc.Distributed(),
    tracking=pc.Tracking(1.0),
    terms=[pc.Tikhonov(1e-4), pc.Box(-30, 30)],
)


def maps():
    """That of the problem, and of a mean coefficient, which dolfinx may divide in another way."""
    mean = replace(PROBLEM, equation=replace(PROBLEM.equation, diffusion=1.5))
    return [pc.discretise(problem, pc.unit_square(12), "dolfinx") for problem in (PROBLEM, mean)]


if __name__ == "__main__":
    map, mean = maps()
    surrogate = Surrogate(mean, map)
    assert verify.adjoint_error(surrogate) < 1e-12
    result = pc.minimise(PROBLEM, map, pc.SurrogateNewton(surrogate), tol=1e-6, progress=False)
    alone = map.control.group.size == 1
    for make in (lambda: VCycle(map), lambda: CoarseMesh(mean, map)):
        try:
            assert verify.adjoint_error(make()) < 1e-12
            taken = True
        except pc.ProblemError:
            taken = False
        assert taken == alone
    if map.control.group.root:
        print(result.status.name, result.solves["total"])
