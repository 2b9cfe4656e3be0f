"""Run by test_spaces.py on several numbers of ranks: spaces over time are the same on all of them."""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world
from pdecontrol.starts import control_on

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import problem, square

TIMES, WEIGHTS = np.array([0.1, 0.4, 1.0]), np.array([0.1, 0.3, 0.6])
EDGES = np.array([0.0, 0.1, 0.4, 1.0])
CONTROLS = {
    "P1": pc.Distributed(), "P0 on a part": pc.Distributed("patch", "P0"),
    "actuators": pc.Actuators([1.0, lambda x: x[0]]),
}  # fmt: skip


def wave(x, t):
    return np.sin(3 * x[0]) + t * x[1]


def numbers(space, data):
    """What a space over time makes of data: whole vectors, reductions and hashes."""
    a = space.interpolate(data)
    b = space.scatter(space.gather(a) ** 2)
    assert np.array_equal(space.scatter(space.gather(b)), b)
    sizes = space.whole.size, 3 * space.base.whole.size, space.count * space.group.root
    assert sizes[0] == sizes[1] == sizes[2]
    whole = space.group.share(space.gather(a))
    for array in (whole, whole.reshape(3, -1)):  # a whole vector is data too, flat or a level a row
        assert np.array_equal(space.interpolate(array), a)
    sums = [space.inner(a, b), space.norm(a), space.integral(a), space.max(a), space.sum(b), space.count]
    return {"whole": space.gather(b), "sums": np.array(sums), "digest": np.array([space.digest(a), space.digest(2.0)])}


def error_of(field, t):
    """What is said to a call at a time."""
    try:
        field(np.array([[0.31], [0.32]]), t)
    except pc.DataError as error:
        return str(error)
    return ""


def result_over_time(folder):
    """The files of a result over time, whose state and control have been replaced; what is read back on rank 0."""
    result = pc.solve(problem(), square(), "dolfinx", tol=1e-3)
    made = {}
    for name, shift in (("state", 0.0), ("adjoint", 0.05), ("control", 0.0)):
        base = getattr(result, name).space
        space = base.over(TIMES - shift, WEIGHTS, EDGES if name == "control" else None)
        made[name] = pc.Field(space.interpolate(wave), space, name)
    result = replace(result, **made, lower=None, upper=None, dual=None)
    group = result.group
    written = [result.save(folder / "run"), *result.export(folder / "run.xdmf")]
    written += [*result.export(folder / "run.pvd"), made["state"].at(0.4).save(folder / "one.xdmf")]
    if group.size == 2:  # rank 0 draws, on any number of them
        result.plot(folder / "run.png")
        written += [result.animate(folder / "run.gif"), folder / "run.png"]
    state = made["state"]
    refused = [error_of(state, 2.0), error_of(state.at(0.4), 0.4)]
    if group.size > 1:
        refused.append(error_of(state, 0.1 * (1 + group.rank)))  # not the same time on all
    assert all(refused) and set(group.collect(str(refused))) == {str(refused)}
    if not group.root:
        return {}
    assert all(path.exists() for path in written)
    assert not list(folder.glob(".*"))
    loaded = pc.load(written[0])
    points = np.array([[0.31, 0.7], [0.32, 0.1]])
    found = {f"loaded {name}": getattr(loaded, name)(points, 0.3) for name in made}
    assert np.array_equal(loaded.control.array, loaded.control.space.interpolate(wave))
    texts = [path.read_text() for path in (folder / "run.xdmf", folder / "run-control.xdmf")]
    return found | {"times in .xdmf": np.array([text.count("<Time Value=") for text in texts])}


def start_over_time():
    """A control of other times, on any partition, as a vector of a control space over time."""
    with pc.discretise(problem(), square(), "dolfinx") as map:
        old, new = map.control.over(TIMES, WEIGHTS, EDGES), map.control.over(np.array([0.3, 1.0]), np.array([0.3, 0.7]))
        start = pc.Field(old.interpolate(wave), old, "u")
        return {"start": new.gather(control_on(SimpleNamespace(control=new), start, "start"))}


def main(path):
    found = {}
    for name, control in CONTROLS.items():
        with pc.discretise(problem(control=control), square(), "dolfinx") as map:
            for kind, base in {"control": map.control, "state": map.solution}.items():
                space = base.over(TIMES, WEIGHTS)
                data = wave
                if (name, kind) == ("actuators", "control"):
                    data = np.arange(6.0)
                    assert np.array_equal(
                        space.interpolate(lambda t: [t, -t]), space.interpolate(np.outer(TIMES, [1, -1]))
                    )
                found |= {f"{name}, {kind}, {key}": a for key, a in numbers(space, data).items()}
                if data is wave:
                    field = pc.Field(space.interpolate(wave), space).at(0.4)
                    found[f"{name}, {kind}, at a point"] = field(np.array([[0.31], [0.32]]))
                    field = pc.Field(space.interpolate(wave), space)
                    found[f"{name}, {kind}, between times"] = field(np.array([[0.31], [0.32]]), 0.55)
    with TemporaryDirectory() as folder:
        found |= result_over_time(Path(world().share(folder)))
        world().collect(None)  # before the folder goes
    found |= start_over_time()
    if world().root:
        np.savez(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
