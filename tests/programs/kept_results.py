"""Solves many times and keeps the results: how many engines, and what MPI numbers communicators, in the end."""

import gc
import sys
import weakref

from mpi4py import MPI

import pdecontrol as pc
from pdecontrol.fem.dolfinx import DolfinxEngine

made = []
before = DolfinxEngine.__init__


def recorded(self, *arguments):
    before(self, *arguments)
    made.append(weakref.ref(self))


def next_handle():
    """The number of a new communicator, which grows with those that live."""
    comm = MPI.COMM_WORLD.Dup()
    handle = comm.py2f()
    comm.Free()
    return handle


DolfinxEngine.__init__ = recorded
gc.disable()
problem = pc.ControlProblem(
    pc.Elliptic(reaction=1.0), pc.Distributed(), pc.Tracking(lambda x: x[0]), [pc.Tikhonov(1e-2), pc.Box(-1, 1)]
)
mesh, kept, handles = pc.unit_square(3), [], []
for _ in range(int(sys.argv[1])):
    kept.append(pc.solve(problem, mesh, "dolfinx", tol=1e-3))
    handles.append(next_handle())
alive = sum(engine() is not None for engine in made)
values = [result.control([[0.5], [0.5]]) for result in kept]
pc.report(f"{len(made)} engines, {alive} alive, handles grew by {handles[-1] - handles[1]}")
