"""An array means what the function means that it was made from; run by test_arrays.py, on several ranks too."""

import sys
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import problem, square, wave

MESH = square()
LEFT = {"left": pc.Dirichlet()}
POINTS = np.array([[0.3, 0.5, 0.77], [0.2, 0.5, 0.91]])
PATCH, TOP, RIGHT = MESH.cells[:, MESH.part("patch")], MESH.facets("top"), MESH.facets("right")


def vertices(simplices):
    return MESH.points[:, np.unique(simplices)]


def middles(simplices):
    return MESH.points[:, simplices].mean(axis=1)


CONTROLS = {
    "P1": (pc.Distributed(), MESH.points),
    "P0": (pc.Distributed(element="P0"), middles(MESH.cells)),
    "P1 on a part": (pc.Distributed("patch"), vertices(PATCH)),
    "P0 on a part": (pc.Distributed("patch", "P0"), middles(PATCH)),
    "P1 on a boundary": (pc.Boundary("right"), vertices(RIGHT)),
    "P0 on a boundary": (pc.Boundary("right", "P0"), middles(RIGHT)),
}
TARGETS = {
    "the domain": ({}, MESH.points),
    "a part": ({"on": "patch"}, vertices(PATCH)),
    "a boundary": ({"on": "top"}, vertices(TOP)),
    "points": ({"points": POINTS}, POINTS),
}


def cases(backend):
    """The name of each datum, what comes of it, and the points at which an array has its values."""

    def whole(result):
        return np.append(result.control.gather().array, result.objective)

    def solved(problem, degree=1):
        return whole(pc.solve(problem, MESH, backend(degree=degree)))

    for name, (where, points) in TARGETS.items():
        tracked = lambda g, where=where: problem(boundary=LEFT, tracking=pc.Tracking(g, **where))  # noqa: E731
        yield f"target on {name}", lambda g, tracked=tracked: solved(tracked(g)), points
    quadratic = pc.discretise(problem(), MESH, pc.Embedded(degree=2)).solution.points
    yield "target, P2", lambda g: solved(problem(tracking=pc.Tracking(g)), 2), quadratic
    yield (
        "Dirichlet value",
        lambda g: solved(problem(boundary={"left": pc.Dirichlet(g)})),
        vertices(MESH.facets("left")),
    )
    for name, (control, points) in CONTROLS.items():

        def stated(*terms, alpha=1e-3, control=control):
            return problem(boundary=LEFT, control=control, terms=terms, alpha=alpha)

        with pc.discretise(stated(), MESH, backend()) as map:
            yield f"lower bound, {name}", lambda g, map=map: whole(pc.minimise(stated(pc.Box(g, 5.0)), map)), points
            yield f"upper bound, {name}", lambda g, map=map: whole(pc.minimise(stated(pc.Box(-5.0, g)), map)), points
            yield f"start, {name}", lambda g, map=map: whole(
                pc.minimise(stated(), map, "primal-dual", start=g, max_iterations=0)), points  # fmt: skip
            yield f"certify, {name}", lambda g, map=map: np.array([pc.certify(stated(), g, map).bound]), points

            def reference(g, map=map, control=control):
                terms = [pc.Tikhonov(1e-2, g)]
                return whole(
                    pc.minimise(pc.ControlProblem(pc.Elliptic(), control, pc.Tracking(wave), terms, LEFT), map)
                )

            yield f"reference, {name}", reference, points


def compared(backend):
    """For each datum what comes of the function, of its values as an array, and of those in another order."""
    found = {}
    for name, compute, points in cases(backend):
        given = wave, wave(points), np.roll(wave(points), 1)
        found[name] = [compute(g) for g in given[: 3 if world().size == 1 else 2]]
    return found


if __name__ == "__main__":
    found = {f"{name}/{i}": a for name, arrays in compared(pc.Parallel).items() for i, a in enumerate(arrays)}
    if world().root:
        np.savez(sys.argv[1], **found)
