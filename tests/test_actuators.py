"""Actuators as sparse columns: the products of dense ones, to rounding, at the cost of what does not vanish."""

import numpy as np
import pytest
import scipy.sparse as sp

import pdecontrol as pc
from pdecontrol.fem.rectangular import NarrowMatrix, transpose
from pdecontrol.parallel import ALONE


def squares(m):
    """The indicator functions of m x m squares in the unit square."""

    def square(i, j):
        return lambda x: 1.0 * (np.floor(m * x[0]) == i) * (np.floor(m * x[1]) == j)

    return [square(i, j) for i in range(m) for j in range(m)]


@pytest.mark.parametrize("degree", [1, 2])
def test_products_are_those_of_dense_columns(degree):
    problem = pc.ControlProblem(
        pc.Elliptic(), pc.Actuators([*squares(3), 1.0]), pc.Tracking(1.0), [pc.Tikhonov(1e-3)],
        {"boundary": pc.Dirichlet()},
    )  # fmt: skip
    coupling = pc.discretise(problem, pc.unit_square(12), pc.Embedded(degree=degree)).system.equation.coupling
    dense = np.stack([coupling.apply(e) for e in np.eye(10)], axis=1)
    assert dense[:, :9].sum(axis=1) == pytest.approx(dense[:, 9], abs=1e-15)
    rng = np.random.default_rng(4)
    u, p = rng.standard_normal(10), rng.standard_normal(len(dense))
    assert coupling.apply(u) == pytest.approx(dense @ u, abs=1e-15)
    assert coupling.transposed(p) == pytest.approx(dense.T @ p, abs=1e-15)
    assert coupling.absolute.transposed(abs(p)) == pytest.approx(abs(dense).T @ abs(p), abs=1e-15)
    assert u @ coupling.transposed(p) == pytest.approx(coupling.apply(u) @ p, abs=1e-14)


def test_only_what_does_not_vanish_is_stored():
    problem = pc.ControlProblem(
        pc.Elliptic(reaction=1.0), pc.Actuators(squares(10)), pc.Tracking(1.0), [pc.Tikhonov(1e-3)]
    )
    matrix = pc.discretise(problem, pc.unit_square(64)).system.equation.coupling._matrix
    stored = sum(vars(matrix)[name].data.nbytes for name in ("_columns", "_rows"))
    assert stored < 0.05 * 8 * 65**2 * 100


def test_long_columns_are_summed_in_pairs():
    """One after the other, equal terms would err by 1e-11; an empty column has no part in those beside it."""
    n = 2**20
    column = np.full((n, 1), 0.1)
    matrix = NarrowMatrix(ALONE, sp.hstack([sp.csc_matrix((n, 1)), sp.csc_matrix(column), sp.csc_matrix((n, 1))]))
    sums = transpose(matrix) @ np.ones(n)
    assert sums[0] == sums[2] == 0.0 and abs(sums[1] / (0.1 * n) - 1.0) <= 1e-14
    none = NarrowMatrix(ALONE, sp.csc_matrix((5, 0)))
    assert (transpose(none) @ np.ones(5)).shape == (0,) and not (none @ np.zeros(0)).any()
