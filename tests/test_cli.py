"""The command line: exit codes, and what it prints and writes."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import pytest
from pdecontrol.examples import threshold

import pdecontrol as pc
from pdecontrol import cli


def test_info_shows_versions(capsys):
    assert cli.main(["info"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["pdecontrol"] == pc.__version__
    assert rows["numpy"] == version("numpy")
    assert rows["engines"] == ("skfem, dolfinx" if find_spec("dolfinx") else "skfem")


@pytest.mark.parametrize("name", ["pyamg", "torch"])
def test_info_says_how_to_install_what_is_missing(name, capsys, monkeypatch):
    def missing(package):
        if package == name:
            raise PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(cli, "version", missing)
    assert cli.main(["info"]) == 0
    assert f"not installed: pip install {name}\n" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"pdecontrol {pc.__version__}\n"


def test_list_of_examples(capsys):
    assert cli.main(["gallery", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 37
    assert "stadler              Sparse control of the Poisson equation" in lines


def test_unknown_examples_are_named(capsys, tmp_path):
    assert cli.main(["gallery", "stadler", "nix", "--output", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("pdecontrol: there is no example 'nix'; there are: bang_bang, ")
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [[], ["galery"], ["gallery", "--nix"]])
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "pdecontrol: error: " in capsys.readouterr().err


def test_an_example_runs_and_writes(capsys, tmp_path):
    assert cli.main(["gallery", "threshold", "--output", str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("threshold: When doing nothing is optimal\n")
    assert f"files in {tmp_path / 'new'}" in out
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"threshold.png", "threshold.npz", "threshold.vtu", "threshold-control.vtu"}


def test_errors_are_one_line(capsys, monkeypatch, tmp_path):
    def fail(output):
        raise pc.MeshError("the mesh is bad.")

    monkeypatch.setattr(threshold, "main", fail)
    assert cli.main(["gallery", "threshold"]) == 1
    assert capsys.readouterr().err == "pdecontrol: the mesh is bad.\n"
    monkeypatch.undo()
    (tmp_path / "file").touch()
    assert cli.main(["gallery", "threshold", "--output", str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("pdecontrol: ")
    assert error.count("\n") == 1


def interrupt(output):
    raise KeyboardInterrupt


def interrupted(output):
    """As a solve ends that is interrupted: it returns what it has."""

    def stop(row):
        raise KeyboardInterrupt

    problem = pc.ControlProblem(
        equation=pc.Elliptic(reaction=1.0),
        control=pc.Distributed(),
        tracking=pc.Tracking(lambda x: x[0]),
        terms=[pc.Tikhonov(1e-4)],
    )
    return [pc.solve(problem, pc.unit_interval(10), method="primal-dual", callback=stop)]


@pytest.mark.parametrize("main", [interrupt, interrupted])
def test_interrupts(main, capsys, monkeypatch):
    monkeypatch.setattr(threshold, "main", main)
    assert cli.main(["gallery", "threshold"]) == 130
    assert capsys.readouterr().err == "pdecontrol: interrupted\n"


def test_import_needs_no_plotting():
    code = "import sys, pdecontrol.cli; print({'matplotlib', 'meshio', 'pyamg'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
