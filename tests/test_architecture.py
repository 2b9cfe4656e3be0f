"""The rooms of the package: imports only go down, and never in a circle."""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pdecontrol

ROOT = Path(pdecontrol.__file__).parent

# From the ground floor up. What stands on a floor knows the floors below, and a room of several modules itself.
FLOORS = (
    ("errors",), ("arrays", "counter"), ("files", "parallel", "times"), ("problem",), ("mesh",), ("linear",),
    ("plot", "export", "layout"), ("space", "evaluable"), ("field", "space_files"),
    ("agreement", "reference", "interface_reference"), ("spectrum",), ("maps",),
    ("terms", "stacked", "linearised", "few"), ("curvature", "verify", "continuum", "projection"), ("certificate",),
    ("result",), ("solvers",), ("fem",), ("starts", "projected"), ("continuous",), ("optimise",), ("discretisation",),
    ("refinement", "pinn"), ("driver",), ("learn",), ("__init__", "cli"), ("__main__",),
)  # fmt: skip


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module(path): path for path in ROOT.rglob("*.py")}


def imports(name: str, sources: dict[str, str]) -> set[str]:
    """The modules of the package that one imports, anywhere in it: for types and inside of functions too."""
    found = set()
    inside = name in MODULES and MODULES[name].name == "__init__.py"
    package = name.split(".") if inside and name != "__init__" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(sources[name])):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                full = f"{target}.{alias.name}".strip(".")
                found.add(full if full in sources else target or "__init__")
    return found


def check(sources: dict[str, str]) -> int:
    """Raise AssertionError for an import that goes up or in a circle; how many were looked at."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    graph = {name: imports(name, sources) - {name} for name in sources}
    for name, targets in graph.items():
        for target in targets:
            here, there = name.split(".")[0], target.split(".")[0]
            assert here == there or floor[there] < floor[here], f"{name} imports {target}, which is not below"
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(f"a circle: {' -> '.join(error.args[1])}") from None
    return sum(map(len, graph.values()))


def sources() -> dict[str, str]:
    return {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}


def test_imports_only_go_down():
    assert check(sources()) > 200


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("space", "from .driver import solve", "space imports driver"),
        ("mesh.lagrange", "from .elements import cell_lagrange", "a circle"),
        ("maps", "if TYPE_CHECKING:\n    from .solvers.loop import run", "maps imports solvers.loop"),
        ("field", "def plot():\n    from .result import Result", "field imports result"),
        ("linear.cg", "from .. import fem", "linear.cg imports fem"),
    ],
)
def test_an_import_that_goes_up_is_found(name, line, message):
    with pytest.raises(AssertionError, match=message):
        check(sources() | {name: f"{sources()[name]}\n{line}\n"})


def test_modules_and_functions_are_small():
    lines = {name: len(source.splitlines()) for name, source in sources().items()}
    assert max(lines.values()) <= 400 and sum(count > 300 for count in lines.values()) <= 12
    lengths = {}
    for name, source in sources().items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                described = len((ast.get_docstring(node) or "").splitlines())
                lengths[f"{name}.{node.name}"] = node.end_lineno - node.lineno + 1 - described
    assert len(lengths) > 900 and max(lengths.values()) < 60


def test_a_problem_returns_to_no_room_more_than_twice():
    """The rooms in which functions are called with the problem, its own apart, in the order of a call of solve."""
    problem, mesh, walk = pdecontrol.reference.stadler(1e-3).problem, pdecontrol.unit_square(6), []

    def follow(frame, event, _):
        code = frame.f_code
        if event == "call" and Path(code.co_filename).is_relative_to(ROOT):
            arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            room = Path(code.co_filename).relative_to(ROOT).parts[0]
            if room != "problem" and any(frame.f_locals.get(name) is problem for name in arguments):
                walk.append(room)

    before = sys.getprofile()
    sys.setprofile(follow)
    try:
        assert pdecontrol.solve(problem, mesh).success
    finally:
        sys.setprofile(before)
    stays = [room for i, room in enumerate(walk) if i == 0 or room != walk[i - 1]]
    assert stays[0] == "driver.py" and {"optimise.py", "fem", "terms"} <= set(stays)
    assert all(stays.count(room) <= 3 for room in stays), stays
