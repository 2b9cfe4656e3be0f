"""Learned maps on several processes: the same answers as on one."""

import numpy as np
import pytest
from marks import needs_torch
from programs import learned
from test_mpi import PROGRAMS, mpirun

import pdecontrol as pc

pytestmark = needs_torch
pytest.importorskip("zarr")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    source = pc.ControlSamples(learned.PROBLEM, pc.unit_square(8), length=0.4)
    dataset = pc.generate(source, 60, 1, folder / "data", chunk=30)
    found = pc.train(dataset, "low-rank", source=source, options={"rank": 20}, epochs=30, batch=10, progress=False)
    return found, found.save(folder / "network.npz")


@pytest.mark.xdist_group("mpi")
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_learned_map_gives_the_same_on_any_number_of_processes(trained, tmp_path, ranks):
    network, path = trained
    output = mpirun(ranks, PROGRAMS / "learned.py", path, tmp_path)
    assert output.count("the network was trained for 81 of 2") == 1
    there, here = dict(np.load(tmp_path / f"learned{ranks}.npz")), learned.answers(network, "skfem")
    for name, tolerance in {"state": 1e-13, "adjoint": 1e-13, "optimum": 1e-7, "certified": 3e-6}.items():
        assert np.abs(there[name] - here[name]).max() <= tolerance * np.abs(here[name]).max(), name
