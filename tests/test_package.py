"""The package as a whole: its doctests, what it imports, the architecture."""

import ast
import configparser
import doctest
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from marks import gmsh_loads

import pdecontrol

ROOT = Path(pdecontrol.__file__).parent
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(pdecontrol.__path__, "pdecontrol.")
    if not info.name.startswith("pdecontrol.examples")
)


ABOUT_TORCH = ("pdecontrol.pinn.training.loss", "pdecontrol.learn.operators", "pdecontrol.learn.training")


def test_modules_are_found():
    assert len(MODULES) >= 22 and "pdecontrol.solvers.loop" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name, monkeypatch):
    if name == "pdecontrol.mesh.fitted" and not gmsh_loads():
        pytest.skip("gmsh cannot be loaded")
    monkeypatch.chdir(Path(__file__).parent.parent)
    if name.startswith(ABOUT_TORCH):
        pytest.importorskip("torch")
    outcome = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0


def test_import_needs_no_heavy_library():
    heavy = (
        "matplotlib", "meshio", "pyamg", "qdldl", "dolfinx", "torch", "zarr", "tqdm", "petsc4py", "mpi4py",
        "checkpoint_schedules", "gmsh", "contourpy",
    )  # fmt: skip
    code = f"import sys, pdecontrol; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_few_modules_know_of_the_distributed_engine():
    known = {
        "dolfinx": {"fem/compat.py", "fem/dolfinx.py", "fem/equations/weak.py", "fem/forms.py"},
        "petsc4py": {"fem/compat.py", "linear/cholesky.py", "linear/gamg.py", "linear/petsc.py", "linear/ksp.py"},
        "mpi4py": {"parallel.py", "fem/partition.py", "linear/petsc.py"},
    }
    for package, modules in known.items():
        pattern = re.compile(rf"^\s*(?:from|import) {package}\b", re.MULTILINE)
        paths = ROOT.rglob("*.py")
        assert {str(p.relative_to(ROOT)) for p in paths if pattern.search(p.read_text(encoding="utf-8"))} == modules


def test_public_names_exist():
    assert len(pdecontrol.__all__) == len(set(pdecontrol.__all__))
    for name in pdecontrol.__all__:
        assert getattr(pdecontrol, name).__doc__ or isinstance(getattr(pdecontrol, name), str)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("name", ["run", "test", "docs", "dev"])
def test_every_environment_of_the_makefile_runs_every_example(name, tmp_path):
    """Some of them make datasets; whichever target comes first in a new checkout, `make gallery` may follow."""
    command = ["make", "--dry-run", "--directory", str(ROOT.parent), f"VENV={tmp_path}", str(tmp_path / name)]
    steps = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (extras,) = re.findall(r"--editable '\.\[(.*)\]'", steps)
    assert {"data", "mesh"} <= set(extras.split(",")) and f"touch {tmp_path}/run" in steps
    assert "--constraint tools/constraints.txt" in steps


def test_every_hierarchy_of_pyamg_is_reproducible():
    """Its set-up draws from numpy's global generator: each call stands in a block that gives it a fixed state."""
    found = []
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = {id(node): node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_pyamg(node.func)}
        for block in (node for node in ast.walk(tree) if isinstance(node, ast.With)):
            if any(ast.unparse(item.context_expr) == "calling_pyamg()" for item in block.items):
                for node in ast.walk(block):
                    found += [path.name] if calls.pop(id(node), None) else []
        assert not calls, f"{path.name} calls pyamg outside of calling_pyamg()"
    assert set(found) == {"multigrid.py", "precondition.py", "solves.py"}


def _is_pyamg(function: ast.expr) -> bool:
    return re.fullmatch(r"pyamg(\.\w+)+", ast.unparse(function)) is not None


def test_every_setting_stands_in_one_file():
    """pyproject.toml has the package and ruff, setup.cfg what mypy and pytest read, environment.yml all packages."""
    top = ROOT.parent
    project = tomllib.loads((top / "pyproject.toml").read_text(encoding="utf-8"))
    settings = configparser.RawConfigParser()
    settings.read(top / "setup.cfg", encoding="utf-8")
    assert set(project["tool"]) == {"setuptools", "ruff"}
    assert {section.split("-")[0] for section in settings.sections()} == {"mypy", "tool:pytest"}
    assert not [path.name for path in top.glob("*.ini")] + [path.name for path in top.glob("*ruff.toml")]
    extras = project["project"]["optional-dependencies"]
    (pinned,) = re.findall(r"^torch==", (top / "tools" / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert all("torch]" in extras[name][0] for name in ("test", "docs")) and pinned not in extras["torch"][0]
    wanted = project["project"]["dependencies"] + [line for name in ("amg", "data", "mpi") for line in extras[name]]
    listed = re.findall(r"^  - ([\w-]+)", (top / "environment.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert {re.match(r"[\w-]+", line)[0] for line in wanted} <= set(listed) and "fenics-dolfinx" in listed
