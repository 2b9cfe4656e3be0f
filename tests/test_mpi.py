"""The distributed engine under mpirun: the same answers on 1, 2 and 3 ranks, errors on all of them, restarts."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, TWO_MATERIALS

import pdecontrol as pc
from pdecontrol import examples

pytest.importorskip("dolfinx", reason="the distributed engine needs dolfinx")
pytest.importorskip("mpi4py")
EXAMPLES = sorted(
    path.stem
    for path in Path(examples.__file__).parent.glob("[a-z]*.py")
    if not path.stem.startswith(("training_data", "network", "learned", "darcy", "out_of"))  # these are not divided
)
PROGRAMS = Path(__file__).parent / "programs"
ENVIRONMENT = os.environ | {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_mpi_yield_when_idle": "1", "PYTHONUNBUFFERED": "1",
}  # fmt: skip


def launch(ranks, *arguments):
    command = ["mpirun", "-n", str(ranks), sys.executable, *map(str, arguments)]
    return subprocess.Popen(
        command, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def mpirun(ranks, *arguments, expect=0):
    """What a program prints; a job that hangs is killed, and fails the test."""
    process = launch(ranks, *arguments)
    try:
        output, errors = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        pytest.fail(f"{arguments} hangs on {ranks} ranks:\n{output[-3000:]}\n{errors[-3000:]}")
    assert expect is None or process.returncode == expect, f"{output[-3000:]}\n{errors[-3000:]}"
    return output if expect is not None else output + errors


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    printed = {ranks: mpirun(ranks, PROGRAMS / "same_answers.py", folder) for ranks in (1, 2, 3)}
    return {ranks: dict(np.load(folder / f"{ranks}.npz")) for ranks in printed}, printed, folder


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
class TestSameAnswers:
    @pytest.mark.parametrize("ranks", [2, 3])
    def test_on_any_number_of_ranks(self, answers, ranks):
        serial, parallel = answers[0][1], answers[0][ranks]
        names = [name.removesuffix(".numbers") for name in serial if name.endswith(".numbers")]
        assert all(any(name.startswith(module) for name in names) for module in EXAMPLES) and len(names) == 39
        for name in names:
            one, other = serial[f"{name}.numbers"], parallel[f"{name}.numbers"]
            exact = name != "E1, amg"
            near = exact and not name.startswith("regularisation_path")  # rounding counts for small weights
            assert other[0] == pytest.approx(one[0], rel=1e-10 if exact else 1e-6, abs=1e-300), name
            u, v = serial[f"{name}.control"], parallel[f"{name}.control"]
            scale = np.linalg.norm(u)
            difference = np.linalg.norm(u - v) / scale if scale else np.linalg.norm(v)
            # with iterative solves, certified answers need be no nearer to each other than their bounds
            assert difference <= (1e-10 if near else (one[2] + other[2]) / one[1]), (name, difference)
            assert other[1] == pytest.approx(one[1], rel=1e-9 if exact else 1e-5), name
            if near:
                assert other[2] == pytest.approx(one[2], rel=0.01, abs=1e-8 * max(one[1], 1e-300)), name
            # dolfinx does not divide a mesh alike in every run, and multigrid's errors with it
            assert abs(other[3] - one[3]) <= (0 if near else 1) and other[4] == one[4], (name, one, other)
            if exact:
                for field in ("state", "adjoint"):
                    a, b = serial[f"{name}.{field}"], parallel[f"{name}.{field}"]
                    assert np.abs(a - b).max() <= 1e-9 * np.abs(a).max(), (name, field)
        awkward = [name for name in serial if name.startswith("awkward/")]
        assert len(awkward) == 13
        for name in awkward:
            small = 1e-6 if name.endswith("elsewhere") else 0.0
            assert parallel[name] == pytest.approx(serial[name], rel=1e-8, abs=small), name
        assert serial["awkward/warnings of all ranks"] == 1
        maps = [name for name in serial if "/" in name and name not in awkward]
        assert len(maps) == 3 * len(CASES)
        for name in maps:
            assert np.abs(serial[name] - parallel[name]).max() <= 1e-10 * np.abs(serial[name]).max(), name
        for solver in ("direct", "amg"):
            for what in ("discretisation", "values"):
                key = f"E1, {solver}.{what}"
                accuracy = (
                    0.02 if (solver, what) == ("amg", "discretisation") else 1e-6
                )  # a fiftieth is what it asks for
                assert parallel[key] == pytest.approx(serial[key], rel=accuracy)

    def test_scripts_print_the_same_once(self, answers):
        printed = answers[1]
        lines = {ranks: [line for line in text.splitlines() if " s " not in line] for ranks, text in printed.items()}
        interesting = [line for line in lines[1] if line.startswith(("heater", "threshold", "u = 0", "objective"))]
        assert len(interesting) > 15
        for ranks in (2, 3):
            assert len(lines[ranks]) == len(lines[1])
            for line in interesting:
                assert line in lines[ranks], line

    def test_files_are_written_once_and_whole(self, answers):
        folder = answers[2] / "stadler"
        assert {"stadler.npz", "stadler.png", "stadler.vtu"} <= {path.name for path in folder.iterdir()}
        result = pc.load(folder / "stadler.npz")
        other = pc.solve(pc.reference.stadler(1e-5).problem, pc.unit_square(24), "skfem", "primal-dual")
        scale = np.abs(other.control.array).max()
        assert np.abs(result.control.array - other.control.array).max() <= 1e-8 * scale
        again = pc.solve(pc.reference.stadler(1e-5).problem, pc.unit_square(24), "skfem", "primal-dual", start=result)
        assert again.solves["total"] < 0.3 * other.solves["total"]


FAILURES = {
    "diffusion_with_nan": "DataError: diffusion: ",
    "negative_diffusion": "ProblemError: diffusion must be positive, it is -1 at x = ",
    "wrong_shape": "DataError: source: expected shape ",
    "function_that_fails": "DataError: the target of Tracking: the function failed on x",
    "bounds_that_cross": "ProblemError: Box: the lower bound 2 is above the upper bound 1 at x = ",
    "singular_part": "SingularEquationError: the equation has no unique solution",
    "unknown_tag": "MeshError: Distributed control: the mesh has no part 'nowhere'",
    "point_outside": "DataError: the points of Tracking: 1 of 2 points are outside",
    "callback_that_fails": "RuntimeError: enough",
    "newton_that_fails": "ConvergenceError: Newton's method for the state",
    "semilinear_term_that_fails": "ProblemError: Semilinear: the function failed on an array of 10",
    "diffusion_negative_at_a_state": "StateError: Quasilinear: the diffusion must be positive, it is -",
    "blow_up_in_a_march": "ConvergenceError: in step ",
    "coefficient_negative_later": "ProblemError: diffusion at t = 0.225 must be positive, it is -1 at x = ",
    "target_that_fails_at_the_end": "DataError: the target of Tracking at t = 0.3: the function failed on x",
    "initial_value_with_nan": "DataError: the initial value: ",
    "initial_value_warning_made_an_error": "InitialValueWarning: the initial value differs from the Dirichlet value",
    "evaluation_before_the_first_time": "DataError: state depends on time: give points and a time t, the same on all",
    "file_that_only_the_first_rank_can_read": "MeshError: read (3, ",
    "file_that_nobody_can_read": "MeshError: ",
    "checkpoint_that_cannot_be_written": "ResultFileError: /proc/nothing/here.npz cannot be written",
    "evaluation_outside": "DataError: 1 of 1 points are outside of the domain",
    "wrong_start": "DataError: start: expected",
}


@pytest.fixture(scope="module")
def raised():
    return mpirun(3, PROGRAMS / "failures.py", TWO_MATERIALS, *FAILURES)


@pytest.mark.xdist_group("mpi")
@pytest.mark.parametrize("failure", FAILURES)
def test_every_rank_raises_the_same_error(failure, raised):
    assert f"{failure}, on all 3 ranks: {FAILURES[failure]}" in raised, raised[-3000:]


@pytest.mark.xdist_group("mpi")
@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("alone", "ZeroDivisionError: unforeseen"),
        ("alone_with_checkpoint", "MemoryError: unforeseen"),
        ("between_calls", "a script's own mistake"),
    ],
)
def test_a_rank_that_fails_alone_ends_the_job(failure, message):
    output = mpirun(3, PROGRAMS / "failures.py", TWO_MATERIALS, failure, expect=None)
    assert message in output and "rank 2 failed alone, the job of 3 processes ends" in output


@pytest.mark.xdist_group("mpi")
def test_a_rank_that_computes_alone_and_ends_is_not_waited_for():
    output = mpirun(3, PROGRAMS / "failures.py", TWO_MATERIALS, "another_engine", expect=None)
    assert "rank 2 has ended while rank 0 is in solve: all processes call it, and none of them with backend" in output


@pytest.mark.xdist_group("mpi")
@pytest.mark.parametrize("ranks", [2, 3])
def test_data_that_differ_between_ranks_are_named_by_all(ranks):
    lines = [line.split(" | ") for line in mpirun(ranks, PROGRAMS / "differences.py").splitlines()]
    assert len(lines) == 64
    for case, messages, seconds, message in lines:
        name = case.partition(", ")[0] if case.endswith(("others", "3D", "invalid", "wrong")) else case
        assert message.startswith(f"ProblemError: {name} differs between the processes: "), message
        assert messages == "1" and float(seconds) < 10, case


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
class TestRestart:
    @pytest.mark.parametrize(
        ("method", "solver", "first", "count"),
        [("primal-dual", "direct", 2, 24), ("auto", "direct", 2, 6), ("fista", "amg", 1, 400)],
    )
    def test_stopped_and_gone_on_with(self, tmp_path, method, solver, first, count):
        half = min(count // 2, 12)
        mpirun(first, PROGRAMS / "restart.py", tmp_path, "whole", method, count, solver)
        (tmp_path / "checkpoint.npz").unlink()
        mpirun(first, PROGRAMS / "restart.py", tmp_path, "half", method, half, solver)
        (tmp_path / "checkpoint.npz").rename(tmp_path / "kept.npz")
        whole = np.load(tmp_path / "whole.npz")
        for ranks in (1, 2, 3):
            (tmp_path / "checkpoint.npz").write_bytes((tmp_path / "kept.npz").read_bytes())
            mpirun(ranks, PROGRAMS / "restart.py", tmp_path, "rest", method, count, solver, "restart")
            rest = np.load(tmp_path / "rest.npz")
            if solver == "amg" and ranks != first:  # another partition has other errors, within the bounds
                distance = np.linalg.norm(rest["control"] - whole["control"]) / 20
                assert distance <= rest["bound"] + whole["bound"]
                continue
            assert np.array_equal(rest["iterations"], whole["iterations"])
            accuracy = 1e-12 if ranks == first else 1e-10
            for name in ("control", "dual", "objective"):
                scale = np.abs(whole[name]).max()
                assert np.abs(rest[name] - whole[name]).max() <= accuracy * scale, (ranks, name)

    def test_killed_at_any_moment(self, tmp_path):
        arguments = (PROGRAMS / "restart.py", tmp_path, "whole", "primal-dual", 30, "direct")
        mpirun(2, *arguments)
        whole = np.load(tmp_path / "whole.npz")["control"]
        (tmp_path / "checkpoint.npz").unlink()
        for moment in (0.0, 0.013, 0.029):
            process = launch(2, *arguments, "restart", "pause")
            for line in process.stdout:
                if line.startswith("iteration") and int(line.split()[1]) >= 2:
                    break
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            with np.load(tmp_path / "checkpoint.npz") as file:
                assert all(np.isfinite(file[name]).all() for name in ("state.u", "state.dual"))
        mpirun(2, *arguments, "restart")
        assert np.abs(np.load(tmp_path / "whole.npz")["control"] - whole).max() <= 1e-12 * np.abs(whole).max()


@pytest.mark.xdist_group("mpi")
def test_proximal_points_on_any_number_of_ranks(tmp_path):
    """Begun by one process, gone on with by one or two, and whole by two."""
    program = (
        "import sys, pdecontrol as pc; from dataclasses import replace;"
        "problem = replace(pc.reference.stadler(1.0).problem, terms=[pc.L1(1e-3), pc.Box(-30, 30)]);"
        "result = pc.solve(problem, pc.unit_square(12), 'dolfinx', max_iterations=int(sys.argv[2]),"
        " checkpoint=sys.argv[1], restart=True);"
        "pc.report(result.status.name, len(result.history), repr(result.objective), result.certificate.relative_gap)"
    )
    mpirun(1, "-c", program, tmp_path / "half", 6)
    (tmp_path / "other.npz").write_bytes((tmp_path / "half.npz").read_bytes())
    runs = [
        mpirun(ranks, "-c", program, tmp_path / name, 100).split()
        for ranks, name in ((1, "half"), (2, "other"), (2, "new"))
    ]
    for status, rows, objective, gap in runs:
        assert status == "CERTIFIED" and rows == runs[0][1]
        assert float(objective) == pytest.approx(float(runs[0][2]), rel=1e-10)
        assert float(gap) == pytest.approx(float(runs[0][3]), rel=1e-5)


@pytest.mark.xdist_group("mpi")
def test_given_controls_and_dual_vectors_on_any_number_of_ranks():
    program = (
        "import numpy as np, pdecontrol as pc; problem = pc.reference.box(1e-7).problem;"
        "map = pc.discretise(problem, pc.unit_square(16), 'dolfinx');"
        "best = pc.minimise(problem, map, tol=1e-8); whole = map.observation.gather(best.dual.array);"
        "whole = map.control.group.share(whole);"
        "given = [pc.certify(problem, lambda x: 0.3 * x[0], map, dual) for dual in (None, best, best.dual, whole)];"
        "pc.report(*(repr(c.bound) for c in given), pc.certify(problem, best.control, map).relative)\n"
        "try: pc.certify(problem, best.control, map, np.zeros(3))\n"
        "except pc.DataError as error: pc.report(error)"
    )
    printed = [mpirun(ranks, "-c", program).splitlines() for ranks in (1, 2)]
    for numbers, error in printed:
        improved, *given, own = map(float, numbers.split())
        assert improved == pytest.approx(float(printed[0][0].split()[0]), rel=1e-3)
        assert given == pytest.approx([float(printed[0][0].split()[1])] * 3, rel=1e-7) and own < 1e-8
        assert error == "dual: expected 289 finite numbers, got an array of shape (3,)."


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
def test_problems_in_time_on_any_number_of_ranks(tmp_path):
    """Solved whole, gone on with from a checkpoint of fewer ranks, saved and loaded: the same digits and iterations."""
    for ranks in (1, 2, 3):
        assert mpirun(ranks, PROGRAMS / "marches.py", tmp_path) == ""
    one, *others = (dict(np.load(tmp_path / f"{ranks}.npz")) for ranks in (1, 2, 3))
    names = [name.removesuffix("/numbers") for name in one if name.endswith("/numbers")]
    assert len(names) == 10
    for other in others:
        for name in names:
            serial, parallel = one[f"{name}/numbers"], other[f"{name}/numbers"]
            assert serial[-1] and np.array_equal(serial[2:], parallel[2:]), name
            assert parallel == pytest.approx(serial, rel=1e-10), name
            size = abs(serial[1])
            # Far below the tolerance of 1e-4, what the last steps of conjugate gradients leave is decided by rounding.
            assert other[f"{name}/bound"] == pytest.approx(one[f"{name}/bound"], rel=1e-4, abs=1e-8 * size), name
        for name, array in one.items():
            if not name.endswith(("/numbers", "/bound")):
                assert np.abs(other[name] - array).max() <= 1e-8 * np.abs(array).max(), name
        assert other["warnings of all ranks/count"] == 1
    for name in ("bilinear", "initial value"):
        for run in (one, *others):
            assert np.array_equal(run[f"{name}, whole/numbers"][2:], run[f"{name}, rest/numbers"][2:])
            assert run[f"{name}, again/iterations"] == 1


@pytest.mark.xdist_group("mpi")
@pytest.mark.parametrize("ranks", [1, 2])
def test_kept_results_hold_no_communicators(ranks):
    """Even where nothing collects the garbage; the last engine may live until the next."""
    output = mpirun(ranks, PROGRAMS / "kept_results.py", 12)
    alive, grown = map(int, re.search(r"12 engines, (\d+) alive, handles grew by (-?\d+)", output).groups())
    assert alive <= 1 and grown <= 0


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
def test_the_command_and_the_engine_that_it_chooses(tmp_path):
    outputs = [mpirun(n, "-m", "pdecontrol", "gallery", "threshold", "--output", tmp_path) for n in (1, 2)]
    # the bounds are at the rounding of the two engines
    quoted = ("certificate", "J(u)", "assuming")
    tables = [
        [line for line in text.splitlines() if " s" not in line and not line.strip().startswith(quoted)]
        for text in outputs
    ]
    assert tables[0] == tables[1] and any(line.startswith("objective") for line in tables[0])


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
def test_datasets_on_any_number_of_ranks(tmp_path):
    pytest.importorskip("zarr", reason="datasets need zarr")

    def generate(ranks, name, source="{}", **options):
        call = {"count": 23, "seed": 7, "chunk": 5, "directory": str(tmp_path / name)} | options
        return mpirun(ranks, PROGRAMS / "generate.py", source, json.dumps(call)).splitlines()

    printed = {ranks: generate(ranks, str(ranks)) for ranks in (1, 2, 3)}
    assert len(printed[1]) == 1 and printed[1] == printed[2] == printed[3]
    manifests = {(tmp_path / str(ranks) / "manifest.json").read_bytes() for ranks in printed}
    assert len(manifests) == 1
    (tmp_path / "3" / "data.zarr" / "solution" / "2.0").unlink()
    (tmp_path / "3" / "chunks" / "000001.json").write_text("{")
    assert generate(2, "3") == printed[1]
    failures = generate(2, "failing", '{"failing": 0.15}')  # the first is in the second chunk, on the second rank
    reasons = {line.partition(": ")[2] for line in failures}
    assert len(failures) == 2 and len(reasons) == 1 and reasons.pop().startswith("ConvergenceError: sample 6: drew ")
    assert [path.name for path in (tmp_path / "failing" / "chunks").iterdir()] == ["000000.json"]
    assert all("leave processes=1" in line for line in generate(2, "both", processes=2))
    assert all("seed is 7 there, 8 here" in line for line in generate(2, "3", seed=8))


@pytest.mark.xdist_group("mpi")
def test_the_example_of_training_data_on_two_ranks(tmp_path):
    """Each rank makes a temporary directory of its own; the dataset is in that of rank 0."""
    program = (
        "import sys; from pathlib import Path; from pdecontrol.examples import training_data;"
        "training_data.main(Path(sys.argv[1]), n=12, count=4, sizes=(7,))"
    )
    printed = mpirun(2, "-c", program, tmp_path)
    assert printed.count("50 samples by strategy") == 1
    assert len(list(tmp_path.glob("*.png"))) == 2


@pytest.mark.xdist_group("mpi")
@pytest.mark.parametrize("strategy", ["refactor", "incomplete"])
def test_ranks_without_a_chunk_do_not_wait_for_petsc(strategy, tmp_path):
    """PETSc begins on all ranks together: a rank that never used it would let the others hang."""
    call = ["-m", "pdecontrol", "generate", "darcy", "n=9", "--count", "4", "--chunk", "4", "--strategy", strategy]
    printed = mpirun(2, *call, "--output", tmp_path / "data")
    assert "4 of 4" in printed and f"strategy        {strategy}" in printed


def test_several_ranks_without_dolfinx_are_an_error(monkeypatch):
    monkeypatch.setattr("pdecontrol.fem.backends.started_ranks", lambda: 2)
    monkeypatch.setitem(sys.modules, "dolfinx", None)
    from pdecontrol.fem import compat

    compat.check.cache_clear()
    problem = pc.reference.poisson(1e-2).problem
    with pytest.raises(pc.ProblemError, match="needs dolfinx"):
        pc.solve(problem, pc.unit_square(4))
    assert pc.solve(problem, pc.unit_square(4), "skfem").success
    compat.check.cache_clear()


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
def test_norms_are_the_same_on_any_number_of_ranks():
    printed = {ranks: mpirun(ranks, PROGRAMS / "norms.py").splitlines() for ranks in (1, 2, 3)}
    assert len(printed[1]) == 5
    for ranks in (2, 3):
        for one, other in zip(printed[1], printed[ranks], strict=True):
            numbers = [[float(word) for word in line.rpartition(": ")[2].split()] for line in (one, other)]
            accuracy = 2e-3 if one.startswith("constants") else 1e-8
            assert numbers[1] == pytest.approx(numbers[0], rel=accuracy), one


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
def test_newton_systems_are_solved_alike_on_any_number_of_ranks():
    """At once, by the multigrid of PETSc: with as many cycles, and what is left of them is little."""
    rows = [
        [line.split(" | ") for line in mpirun(ranks, PROGRAMS / "newton_systems.py").splitlines()]
        for ranks in (1, 2, 3)
    ]
    assert [len(found) for found in rows] == [6, 6, 6]
    for one, *others in zip(*rows, strict=True):
        assert one[1] == "1" and one[-2:] == ["True", "True"]
        for other in others:
            assert other[:2] == one[:2] and other[3:] == one[3:]
            assert abs(int(other[2]) - int(one[2])) <= 1 + 0.1 * int(one[2])


@pytest.mark.slow
@pytest.mark.xdist_group("mpi")
def test_krylov_solvers_on_any_number_of_ranks(tmp_path):
    printed = {n: mpirun(n, PROGRAMS / "krylov.py", tmp_path / f"{n}.npz").splitlines() for n in (1, 2, 3)}
    found = {n: dict(np.load(tmp_path / f"{n}.npz")) for n in printed}
    counts = [name for name in found[1] if name.endswith(".counts")]
    assert len(counts) == 5 and len(found[1]) == 11
    for n in (2, 3):
        for name, serial in found[1].items():
            if name in counts:
                assert np.abs(found[n][name] - serial).max() <= 1, name
            else:
                assert np.abs(found[n][name] - serial).max() <= 1e-9 * np.abs(serial).max(), name
    assert not printed[1]
    for n in (2, 3):  # the program checks that all ranks raise the same
        assert len(printed[n]) == 16
        for line in printed[n]:
            assert ": DataError: " in line or "callback: ArithmeticError: enough" in line, line


def test_the_map_of_another_equation_is_a_surrogate_on_any_number_of_ranks():
    printed = [mpirun(ranks, PROGRAMS / "other_equation.py").split() for ranks in (1, 2, 3)]
    assert printed[0][0] == "CERTIFIED" and printed[0] == printed[1] == printed[2]
