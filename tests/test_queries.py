"""Families of problems with a learned map and without: certified errors, solves, and the command that prints them."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from marks import needs_torch

import pdecontrol as pc
from pdecontrol import cli
from pdecontrol.errors import DataError, DatasetError, ProblemError
from pdecontrol.learn.darcy_control import DarcyControl
from pdecontrol.learn.families import Darcy
from pdecontrol.learn.queries import break_even, queries
from pdecontrol.learn.trained import Trained

FAMILY = DarcyControl(n=7, pairs=2, shortest=0.2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("queries")


@pytest.fixture(scope="module")
def file(folder):
    dataset = pc.generate(FAMILY, 60, 3, folder / "media", progress=False)
    options = {"rank": 12, "branch": "dense", "widths": [32]}
    return pc.train(dataset, "low-rank", options=options, epochs=10, progress=False).save(folder / "low-rank.npz")


@needs_torch
def test_certified_errors_are_no_less_than_true_ones_for_fewer_solves(file):
    found = list(queries(Trained.load(file), count=4, alpha=1e-3, seed=5))
    for query in found:
        space = query.cold.control.space
        assert query.success and 0 < query.error <= 1e-3
        assert query.result.solves["total"] < query.cold.solves["total"]
        difference = space.norm(query.result.control.array - query.cold.control.array)
        assert difference <= query.result.certificate.bound + query.cold.certificate.bound
        assert difference > 0 and query.result.solves["applications"] > 0 == query.cold.solves["applications"]
    controls = [query.cold.control.array for query in found]
    again = [query.cold.control.array for query in queries(Trained.load(file), count=2, alpha=1e-3, seed=5)]
    assert np.array_equal(controls[:2], again) and not np.allclose(controls[0], controls[1], rtol=0.1)


@needs_torch
def test_the_command_prints_a_line_for_each_problem(file, capsys):
    assert cli.main(["certify", str(file), "--count", "3", "--alpha", "1e-3", "--tol", "1e-2"]) == 0
    title, head, *rows, last = capsys.readouterr().out.splitlines()
    assert title == "darcy-control by low-rank: alpha = 0.001, certified to 0.01"
    assert head.split() == ["error", "exact", "solves", "cold", "applications", "ms", "cold", "ms"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert all(0 < float(row.split()[1]) <= 1e-2 and int(row.split()[2]) < int(row.split()[3]) for row in rows)
    assert last.startswith("break-even ") and (" never: " in last or " after " in last) and "(data " in last


@needs_torch
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "0"], "count must be an integer of at least 1"),
        (["--alpha", "-1"], "alpha must be positive"),
        (["--tol", "nan"], "tol must be a finite number"),
        (["--seed", "-3"], "seed must be an integer of at least 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_anything_is_printed(file, options, message, capsys):
    assert cli.main(["certify", str(file), *options]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(f"pdecontrol: {message}") and printed.err.count("\n") == 1


@needs_torch
def test_networks_of_other_data_are_refused(folder, capsys):
    flow = pc.generate(Darcy(7), 30, 3, folder / "flow", progress=False)
    small = {"branch": "dense", "widths": [8], "trunk": [8], "basis": 4}
    prediction = pc.train(flow, "deeponet", options=small, epochs=1, progress=False)
    assert cli.main(["certify", str(prediction.save(folder / "prediction.npz"))]) == 1
    assert "a prediction is no map of a control problem" in capsys.readouterr().err
    with pytest.raises(DataError, match="no map of a control problem"):
        queries(prediction)
    source = pc.ControlSamples(FAMILY.samples.problem, pc.unit_square(7))
    dataset = pc.generate(source, 40, 3, folder / "own", progress=False)
    own = pc.train(dataset, "low-rank", source=source, options={"rank": 4}, epochs=1, progress=False)
    with pytest.raises(DatasetError, match="give their source"):
        queries(own)
    with pytest.raises(ProblemError, match="count"):
        queries(own, source, count=True)
    assert next(queries(own, source, alpha=1e-2)).success
    assert cli.main(["certify", str(folder / "nix.npz")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@needs_torch
def test_problems_that_are_not_certified_make_the_command_fail(file, capsys):
    assert cli.main(["certify", str(file), "--count", "2", "--tol", "1e-16"]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("not certified") == 2 and "2 of 2 problems were not certified" in printed.err


@needs_torch
def test_without_torch_a_network_says_what_to_install(file):
    code = "import sys; sys.modules['torch'] = None; from pdecontrol import cli; print(cli.main(sys.argv[1:]))"
    run = subprocess.run([sys.executable, "-c", code, "certify", file], capture_output=True, text=True, check=True)
    assert run.stdout == "1\n" and run.stderr == "pdecontrol: networks need torch: pip install torch.\n"


def test_break_even_is_by_medians():
    taken = [SimpleNamespace(seconds=s, cold_seconds=c) for s, c in ((1.0, 3.0), (2.0, 4.0), (9.0, 5.0))]
    assert break_even(taken, 10.0) == "after 5 queries, each of which saves 2000 ms"
    assert break_even(taken[2:], 10.0) == "never: a query takes 4000 ms longer than without"
