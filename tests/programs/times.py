"""Run by test_spaces.py on several numbers of ranks: spaces over time are the same on all of them."""

import sys
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import problem, square

TIMES, WEIGHTS = np.array([0.1, 0.4, 1.0]), np.array([0.1, 0.3, 0.6])
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


def main(path):
    found = {}
    for name, control in CONTROLS.items():
        with pc.discretise(problem(control=control), square(), "dolfinx") as map:
            for kind, base in {"control": map.control, "state": map.solution}.items():
                space = base.over(TIMES, WEIGHTS)
                data = np.arange(6.0) if (name, kind) == ("actuators", "control") else wave
                found |= {f"{name}, {kind}, {key}": a for key, a in numbers(space, data).items()}
                if data is wave:
                    field = pc.Field(space.interpolate(wave), space).at(0.4)
                    found[f"{name}, {kind}, at a point"] = field(np.array([[0.31], [0.32]]))
    if world().root:
        np.savez(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
