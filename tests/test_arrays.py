"""Arrays mean the same everywhere: the values of a function in the order of whole vectors, on any engine and ranks."""

import sys

import numpy as np
import pytest
from test_mpi import PROGRAMS, mpirun

import pdecontrol as pc

sys.path.insert(0, str(PROGRAMS))
import arrays
from cases import problem, square, wave

pytest.importorskip("dolfinx", reason="the distributed engine needs dolfinx")


@pytest.fixture(scope="module")
def embedded():
    return arrays.compared(pc.Embedded)


def same(a, b, accuracy=1e-7):  # of what runs to 1e-6 find, by rounding another way
    return a.shape == b.shape and np.abs(a - b).max() <= accuracy * np.abs(b).max()


def test_on_the_embedded_engine(embedded):
    assert len(embedded) == len(arrays.TARGETS) + 2 + 5 * len(arrays.CONTROLS) == 36
    for name, (function, array, moved) in embedded.items():
        assert same(array, function), name
        assert not same(moved, function, 1e-4), name  # the order is seen


def test_on_the_distributed_engine(embedded):
    for name, (function, array, moved) in arrays.compared(pc.Parallel).items():
        expected = embedded[name]
        assert same(function, expected[0]) and same(array, expected[1]) and same(moved, expected[2]), name


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
@pytest.mark.parametrize("ranks", [2, 3])
def test_on_several_ranks(embedded, ranks, tmp_path):
    mpirun(ranks, PROGRAMS / "arrays.py", tmp_path / "found.npz")
    found = dict(np.load(tmp_path / "found.npz"))
    assert len(found) == 2 * len(embedded)
    for name, expected in embedded.items():
        assert same(found[f"{name}/0"], expected[0]) and same(found[f"{name}/1"], expected[1]), name


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("control", [pc.Distributed(), pc.Distributed("patch", "P0")], ids=["P1", "P0 on a part"])
def test_arrays_of_results_are_whole_vectors_on_one_process(control, degree):
    stated = problem(control=control)
    one, other = (pc.solve(stated, square(), backend(degree=degree)) for backend in (pc.Parallel, pc.Embedded))
    for name in ("control", "state", "adjoint", "dual"):
        field = getattr(one, name)
        assert same(field.array, getattr(other, name).array, 1e-7), name
        assert np.array_equal(field.array, field.gather().array), name
    again = problem(tracking=pc.Tracking(one.state.array), control=control)
    assert pc.solve(again, square(), pc.Parallel(degree=degree)).objective == pytest.approx(
        pc.solve(
            problem(tracking=pc.Tracking(other.state), control=control), square(), pc.Embedded(degree=degree)
        ).objective,
        rel=1e-6,
    )
    with pc.discretise(stated, square(), pc.Parallel(degree)) as map:
        assert pc.certify(stated, one.control.array, map).bound <= 2e-6 * one.certificate.norm
        assert pc.minimise(stated, map, "primal-dual", start=one.control.array).solves["total"] < 20


@pytest.mark.parametrize("backend", ["skfem", "dolfinx"])
@pytest.mark.parametrize(
    ("name", "stated"),
    {
        "diffusion": lambda g: problem(pc.Elliptic(g)),
        "reaction on 'patch'": lambda g: problem(pc.Elliptic(reaction={"patch": g})),
        "source": lambda g: problem(pc.Elliptic(source=g)),
        "advection": lambda g: problem(pc.Elliptic(advection=np.array([g, g]))),
        "Neumann flux on 'top'": lambda g: problem(boundary={"left": pc.Dirichlet(), "top": pc.Neumann(g)}),
        "Robin coefficient on 'top'": lambda g: problem(boundary={"top": pc.Robin(g)}),
        "Robin value on 'top'": lambda g: problem(boundary={"top": pc.Robin(1.0, g)}),
        "shape 1 of Actuators": lambda g: problem(control=pc.Actuators([g])),
        "the weight of Linear": lambda g: problem(terms=[pc.Linear(g)]),
        "the coefficient of Semilinear": lambda g: problem(pc.Elliptic(
            semilinear=pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2, g))),
    }.items(),
)  # fmt: skip
def test_arrays_at_quadrature_points_are_refused(name, stated, backend):
    """Whatever their length: the order of those points is that of the engine."""
    engine = pc.discretise(problem(), square(), backend).system.engine
    for region in (engine.cells, engine.facets("top")):
        values = wave(region.points(np.arange(region.count)).reshape(2, -1)) + 3.0
        with pytest.raises(pc.DataError, match=f"^{name}: an array has no meaning here"):
            pc.discretise(stated(values), square(), backend)
