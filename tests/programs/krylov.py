"""Run by test_mpi.py on several numbers of ranks: Krylov solvers with matrices of PETSc, and errors on one rank."""

import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from mpi4py import MPI
from petsc4py import PETSc

import pdecontrol as pc
from pdecontrol.learn.families import Darcy, Helmholtz
from pdecontrol.linear.cg import cg
from pdecontrol.linear.gcrodr import gcrodr
from pdecontrol.linear.krylov import as_operator
from pdecontrol.linear.operator import Operator
from pdecontrol.linear.recycle import RecycledSpace
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from published import PublishedDarcy

GROUP = world()
LAST = GROUP.rank == GROUP.size - 1
ITEMS = []


def distributed(matrix, comm=PETSc.COMM_WORLD, columns=None):
    """A matrix of PETSc, and which of its rows are here."""
    made = PETSc.Mat().create(comm)
    made.setSizes(((None, matrix.shape[0]), (columns, matrix.shape[1])))
    made.setType("aij")
    made.setUp()
    first, last = made.getOwnershipRange()
    own = sp.csr_matrix(matrix)[first:last]
    made.setValuesCSR(own.indptr, own.indices, own.data)
    made.assemble()
    ITEMS.append(made)
    return made, slice(first, last)


def jacobi(matrix):
    made = PETSc.PC().create(matrix.comm)
    made.setOperators(matrix)
    made.setType("jacobi")
    ITEMS.append(made)
    return made


def whole(x):
    return np.concatenate(GROUP.collect(x))


def sequences():
    """Counts and solutions of sequences that carry a space."""
    generator = np.random.default_rng(8)
    cases = [
        ("gcrodr", gcrodr, PublishedDarcy(20), {"m": 24, "k": 10}),
        ("gmres", gcrodr, Darcy(20), {"m": 30, "k": 0}),
        ("indefinite", gcrodr, Helmholtz(20, wavenumber=8.0), {"m": 24, "k": 10}),
        ("cg", cg, Darcy(20), {"k": 0}),
        ("deflated cg", cg, Darcy(20), {"k": 8}),
    ]
    for name, method, family, options in cases:
        space, counts, solutions = None, [], []
        for number in range(3):
            matrix, b = family.system(family.draw(generator))
            A, rows = distributed(matrix)
            for again in (False, True):
                rhs = (b if not again else generator.standard_normal(b.size))[rows]
                found = method(A, rhs, jacobi(A) if number % 2 else None, space=space, same_matrix=again,
                               tolerance=1e-12, **options)  # fmt: skip
                assert found.converged, (name, found.outcome)
                space = found.space
                products = found.products
                counts.append([products.steps, products.refresh, products.residuals, products.preconditioner])
                solutions.append(whole(found.x))
                if space is not None:
                    operator = as_operator(A)
                    images = operator.columns(space.vectors)
                    assert operator.norm((images - space.images).ravel()) <= 1e-8 * operator.norm(images.ravel())
                    left = space.images if method is gcrodr else space.vectors
                    gram = operator.inner(left, space.images)
                    assert np.abs(gram - np.eye(space.size)).max() <= 1e-10
        yield name, np.array(counts), np.stack(solutions)


def preconditioned_by_blocks():
    """Each process has its own preconditioner, for its rows."""
    matrix, b = Darcy(20).system(Darcy(20).draw(np.random.default_rng(2)))
    A, rows = distributed(matrix)
    factors = sp.linalg.splu(sp.csc_matrix(sp.csr_matrix(matrix)[rows, rows]))
    M = Operator(factors.solve, rows.stop - rows.start, np.dtype(float))
    found = cg(A, b[rows], M, tolerance=1e-12)
    assert found.converged and (GROUP.size > 1) == (found.products.steps > 1)
    return whole(found.x)


def subgroups():
    """The last rank by itself, and the others together."""
    comm = MPI.COMM_WORLD.Split(int(LAST))
    matrix, b = PublishedDarcy(12).system(PublishedDarcy(12).draw(np.random.default_rng(3 + LAST)))
    A, rows = distributed(matrix, comm)
    for _ in range(3):
        assert as_operator(A).group is as_operator(A).group
        found = gcrodr(A, b[rows], m=20, k=8)
        assert found.converged
    both = np.concatenate(comm.allgather(found.x))
    assert np.linalg.norm(b - matrix @ both) <= 1e-7 * np.linalg.norm(b)
    while ITEMS:
        ITEMS.pop().destroy()
    comm.Free()


def stop_on_one(method):
    matrix, b = Darcy(12).system(Darcy(12).draw(np.random.default_rng(4)))
    A, rows = distributed(matrix)
    seen = []
    found = method(A, b[rows], callback=lambda _: seen.append(0) or (LAST and len(seen) == 5))
    assert found.products.steps == 5 and found.outcome.name == "STOPPED"


def fail(name, method):
    """Something is wrong on the last rank alone."""
    matrix, b = Darcy(12).system(Darcy(12).draw(np.random.default_rng(4)))
    columns = None
    if name == "layout":
        columns = 50 if GROUP.rank == 0 else 94 if LAST else 0
    if name == "rectangular":
        matrix = matrix[:-1]
    A, rows = distributed(matrix, columns=columns)
    b = b[rows].copy()
    options = {}
    if name == "nan" and LAST:
        b[-1] = np.nan
    if name == "shape" and LAST:
        b = b[:-1]
    if name == "start":
        options["start"] = b[LAST:]
    if name == "space":
        size = b.size - LAST
        options["space"] = RecycledSpace(np.ones((size, 1)), np.ones((size, 1)))
    if name == "not the same":
        wrong = np.random.default_rng(GROUP.rank).standard_normal((b.size, 3))
        options |= {"space": RecycledSpace(wrong, wrong if LAST else 0 * wrong), "same_matrix": True, "k": 3}
    if name == "callback":

        def callback(_):
            if LAST:
                raise ArithmeticError("enough")

        options["callback"] = callback
    method(A, b, **options)


FAILURES = ["nan", "shape", "start", "space", "not the same", "callback", "rectangular", "layout"]


def main(output):
    found = {}
    for name, counts, solutions in sequences():
        found[f"{name}.counts"], found[f"{name}.solutions"] = counts, solutions
    found["blocks.solutions"] = preconditioned_by_blocks()
    for method in (gcrodr, cg):
        stop_on_one(method)
        for name in FAILURES if GROUP.size > 1 else []:
            try:
                fail(name, method)
            except Exception as error:
                messages = GROUP.collect(f"{type(error).__name__}: {error}")
                assert len(set(messages)) == 1, messages
                pc.report(f"{method.__name__}, {name}: {messages[0]}")
    while ITEMS:
        ITEMS.pop().destroy()
    subgroups()
    if GROUP.root:
        np.savez(output, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
