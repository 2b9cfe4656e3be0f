"""Run by test_mpi.py on three ranks: something goes wrong on some; says what every rank raised."""

import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import heat, problem, square

MESH = Path(sys.argv[1])
LAST = world().rank == world().size - 1


def in_places(bad, good=1.0):
    """A coefficient that is bad near a corner, which not all ranks see."""
    return lambda x: np.where(x.sum(axis=0) > 1.5, bad, good)


def diffusion_with_nan():
    pc.solve(problem(pc.Elliptic(diffusion=in_places(np.nan))), square())


def negative_diffusion():
    pc.solve(problem(pc.Elliptic(diffusion=in_places(-1.0))), square())


def wrong_shape():
    pc.solve(problem(pc.Elliptic(source=lambda x: np.zeros(3) if x.sum(axis=0).max() > 1.8 else x[0])), square())


def function_that_fails():
    def target(x):
        if x.sum(axis=0).max() > 1.8:
            raise RuntimeError("no data here")
        return x[0]

    pc.solve(problem(tracking=pc.Tracking(target)), square())


def bounds_that_cross():
    pc.solve(problem(terms=[pc.Box(in_places(2.0, 0.0), 1.0)]), square())


def singular_part():
    """Two squares that do not touch, one of which has no Dirichlet condition."""
    mesh = pc.unit_square(4)
    points = np.hstack([mesh.points, mesh.points + np.array([[3.0], [0.0]])])
    two = pc.Mesh(points, np.hstack([mesh.cells, mesh.cells + mesh.points.shape[1]]))
    two = two.tag_boundary("left", lambda x: x[0] < 0.01)
    pc.solve(problem(boundary={"left": pc.Dirichlet()}), two)


def unknown_tag():
    pc.solve(problem(control=pc.Distributed("nowhere")), square())


def point_outside():
    pc.solve(problem(tracking=pc.Tracking(0.0, points=[[0.5, 7.0], [0.5, 7.0]])), square())


def callback_that_fails():
    def callback(row):
        if LAST and row.iteration == 2:
            raise RuntimeError("enough")

    pc.solve(problem(), square(), method="primal-dual", callback=callback)


def newton_that_fails():
    cliff = pc.Semilinear(np.exp, np.exp)
    start = in_places(1e12, 0.0)
    pc.solve(problem(pc.Elliptic(semilinear=cliff)), square(), start=start)


def semilinear_term_that_fails():
    def r(y):
        if y.max(initial=0.0) > 3.0:  # as in the middle of the square
            raise ArithmeticError("no such y")
        return y**3

    hot = pc.Elliptic(source=1e2, semilinear=pc.Semilinear(r, lambda y: 3 * y**2))
    pc.solve(problem(hot), pc.unit_square(16))


def diffusion_negative_at_a_state():
    falling = pc.Quasilinear(lambda y: 1 + y, np.ones_like)
    cold = {"right": pc.Dirichlet(lambda x: np.where(x[1] > 0.6, -2.0, 0.0))}
    pc.solve(problem(pc.Elliptic(falling), cold), pc.unit_square(16))


def blow_up_in_a_march():
    """Near a corner y_t = y^2 + 400 explodes; diffusion reaches nowhere else."""
    growth = pc.Semilinear(lambda y: -(y**2), lambda y: -2 * y)
    pc.solve(heat(pc.Elliptic(1e-6, semilinear=growth, source=in_places(400.0, 0.0)), steps=8), square())


def coefficient_negative_later():
    def diffusion(x, t):
        return 1.0 - 2.0 * (t > 0.2) * (x.sum(axis=0) > 1.5)

    pc.solve(heat(pc.Elliptic(diffusion)), square())


def target_that_fails_at_the_end():
    def target(x, t):
        if t > 0.29 and x.sum(axis=0).max(initial=0.0) > 1.8:
            raise RuntimeError("no data here")
        return x[0] + t

    pc.solve(heat(tracking=pc.Tracking(target)), square())


def initial_value_with_nan():
    pc.solve(heat(initial=in_places(np.nan, 0.0)), square())


def initial_value_warning_made_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error", pc.InitialValueWarning)
        pc.solve(heat(initial=in_places(1.0, 0.0)), square())


def evaluation_before_the_first_time():
    result = pc.solve(heat(), square(), tol=1e-2)
    result.state(np.array([[0.5], [0.5]]), -1.0 if LAST else 0.2)


def file_that_only_the_first_rank_can_read():
    path = MESH
    mesh = pc.read_mesh(path if world().root else path / "not here")
    pc.report(mesh)
    raise pc.MeshError(f"read {mesh.cells.shape}")


def file_that_nobody_can_read():
    pc.read_mesh(MESH / "nothing.msh")


def checkpoint_that_cannot_be_written():
    pc.solve(problem(), square(), checkpoint="/proc/nothing/here")


def evaluation_outside():
    result = pc.solve(problem(), square())
    result.state(np.array([[9.0 if LAST else 0.5], [0.5]]))


def wrong_start():
    pc.solve(problem(), square(), start=np.zeros(3))


def alone():
    """An error that nobody foresaw, on one rank, while the others wait in a reduction."""
    from pdecontrol import parallel
    from pdecontrol.space import Space

    parallel.GRACE = 1.0
    if LAST:

        def broken(space, a, b):
            raise ZeroDivisionError("unforeseen")

        Space.inner = broken
    pc.solve(problem(), square(), method="primal-dual")


def alone_with_checkpoint():
    """As before: what is left of the job does not try to save together."""
    from pdecontrol import parallel
    from pdecontrol.solvers.primal_dual import AffinePrimalDual

    parallel.GRACE = 1.0
    step = AffinePrimalDual.step

    def broken(algorithm, objective, map, state):
        if LAST:
            raise MemoryError("unforeseen")
        return step(algorithm, objective, map, state)

    AffinePrimalDual.step = broken
    with TemporaryDirectory() as folder:
        pc.solve(problem(), square(), method="primal-dual", checkpoint=Path(world().share(folder)) / "file")


def between_calls():
    """An error of the script on one rank, while the others are in the next solve."""
    from pdecontrol import parallel

    parallel.GRACE = 1.0
    pc.solve(problem(), square())
    if LAST:
        sys.excepthook(KeyError, KeyError("a script's own mistake"), None)
    pc.solve(problem(), square(), method="primal-dual")


def another_engine():
    """The last rank computes alone, and ends."""
    pc.solve(problem(), square(), "skfem" if LAST else "dolfinx")
    sys.exit()


if __name__ == "__main__":
    for name in sys.argv[2:]:
        try:
            globals()[name]()
        except Exception as error:
            messages = world().collect(f"{type(error).__name__}: {error}")
            assert len(set(messages)) == 1, messages
            pc.report(f"{name}, on all {len(messages)} ranks: {messages[0]}")
