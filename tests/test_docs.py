"""The pages of the documentation are tried as they are written."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from marks import needs_torch

import pdecontrol as pc

DOCS = Path(__file__).parent.parent / "docs"


def code(page):
    """The Python of a page, block after block."""
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", (DOCS / page).read_text(encoding="utf-8"))
    return [re.sub(r"(?m)^   ", "", block) for block in blocks]


def test_a_map_of_your_own(capsys):
    blocks, names = code("maps.rst"), {}
    assert len(blocks) == 2 and len([line for line in blocks[0].splitlines() if line.strip()]) <= 34
    for block in blocks:
        exec(block, names)  # noqa: S102
    result = names["result"]
    assert result.status is pc.Status.CERTIFIED and result.certificate.relative <= 1e-6
    assert "rounding and other errors of the map neglected" in result.certificate.assumption
    assert capsys.readouterr().out.count("||u - u*|| <=") == 2
    problem, map = names["problem"], names["map"]
    for method in ("primal-dual", "fista", "semismooth-newton"):
        other = pc.minimise(problem, map, method, tol=1e-4)
        assert other.success and other.control.array == pytest.approx(result.control.array, abs=1e-2)
        error = map.control.norm(other.control.array - result.control.array)
        assert error <= other.certificate.bound + result.certificate.bound
    assert pc.certify(problem, 0.1, map).bound >= map.control.norm(0.1 - result.control.array) * (1 - 1e-6)
    with pytest.raises(pc.ProblemError, match="states no equation"):
        pc.discretise(problem, pc.unit_interval(4))


def test_problems_in_time_and_nonlinear_ones():
    *blocks, form = code("time.rst")
    assert len(blocks) == 4
    names = {}
    for block in blocks:
        exec(block, names)  # noqa: S102
    assert all(result.success for result in [names["result"], *names["results"]])
    assert all(result.control.takes_time for result in names["results"][:2])
    pytest.importorskip("dolfinx")
    exec(form, names)  # noqa: S102
    assert names["result"].success


def test_choosing_weights_and_methods(capsys):
    blocks, names = code("choosing.rst"), {}
    assert len(blocks) == 5
    for block in blocks:
        exec(block, names)  # noqa: S102
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11 and all(" certified " in line for line in lines[:4])
    solves = [int(line.split()[1]) for line in lines[4:7]]
    assert all(line.endswith(" certified") for line in lines[4:7]) and solves[0] < min(solves[1:])
    assert lines[9].startswith("to 1e-02 of the optimum, by ") or lines[9].startswith("to 9e-03 of the optimum, by ")
    for line in lines[7:9]:
        error, bound = (float(word) for word in line.replace(",", "").split()[1::2])
        assert error <= 1.1 * bound  # printed with two digits
    assert all(result.success for result in [*names["results"], names["result"]])


def test_bounds_to_the_continuous_optimum(tmp_path, monkeypatch, capsys):
    blocks, names = code("continuous.rst"), {}
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    exec(blocks[0], names)  # noqa: S102
    first = names["result"].certificate.continuous
    for block in blocks[1:]:
        exec(block, names)  # noqa: S102
    assert first.route == "convex" and first.relative < 2e-2
    assert names["result"].certificate.continuous.meets(3e-2) and (tmp_path / "levels.png").exists()
    given = names["certificate"].continuous
    assert given.parts.distance > 0.5 * given.bound > 0
    printed = capsys.readouterr().out
    assert printed.count("||u - u_continuous|| <=") == 2 and printed.count(" unknowns, bound ") >= 3


def test_problems_with_interfaces():
    blocks, names = code("interfaces.rst"), {}
    assert len(blocks) == 7
    pytest.importorskip("gmsh", reason="fitted meshes need gmsh")
    for block in blocks:
        exec(block, names)  # noqa: S102
    x, law = names["x"], names["law"]
    assert all(names[name].success for name in ("result", "film", "curved"))
    assert names["jump"] == pytest.approx(x[0], abs=5e-3)
    assert 0.1 < (law == -1).mean() < 0.9 and names["optimal"].control.array == pytest.approx(law, abs=1e-6)
    assert (names["flux"] * x / 0.5).sum(axis=0) == pytest.approx(1, abs=0.05)
    assert set(names["many"].parts) == {"plate", "ellipse", "star", "block", "eggs"}
    for mesh, interface in ((names["plate"], names["from_file"]), (names["disc"], names["by_tags"])):
        problem = replace(names["on_gamma"], equation=pc.Elliptic(), interface=interface, control=pc.Distributed(),
                          tracking=pc.Tracking(1.0))  # fmt: skip
        assert pc.solve(problem, mesh).success


def test_networks():
    blocks, names = code("networks.rst"), {}
    assert len(blocks) == 6
    pytest.importorskip("gmsh", reason="fitted meshes need gmsh")
    for block in blocks:
        exec(block, names)  # noqa: S102
    results = [names[name] for name in ("result", "film", "some")]
    assert all(result.success and result.certificate.bound is None for result in results)
    assert names["certificate"].relative < 1e-3
    assert names["jump"] == pytest.approx(names["x"][0], abs=1e-11)
    assert 10 * names["outer"] - names["inner"] == pytest.approx(1, abs=1.0)  # natural, and not exact
    u = names["film"].control.array
    assert u.min() == -0.3 and u.max() == 0.3
    known = pc.discretise(names["known"], names["mesh"], pc.Embedded(degree=2))
    assert pc.certify(names["known"], names["trained"].control, known).relative < 5e-4


@needs_torch
def test_learned_maps(tmp_path, monkeypatch, capsys):
    blocks, names = code("learned.rst"), {}
    assert len(blocks) == 6
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(block, names)  # noqa: S102
    assert len([line for line in blocks[0].splitlines() if line.strip()]) <= 12
    printed = capsys.readouterr().out
    assert "surrogate       " in printed and "CONVERGED None" in printed
    result, cold = names["result"], pc.minimise(names["problem"], names["exact"], tol=1e-6)
    assert result.success and result.certificate.relative <= 1e-6
    assert result.solves["total"] < cold.solves["total"]
    assert 1e-3 < names["judged"].relative < 0.3
    assert names["again"].digest == names["trained"].digest
    assert not names["found"].accepts(0.1)
