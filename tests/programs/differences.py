"""Run by test_mpi.py on several ranks: one datum differs on the last of them; says what every rank raised, and when."""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world

sys.path.insert(0, str(Path(__file__).parent.parent))
from cases import heat, problem, square, travelling, wave

sys.path.insert(0, str(Path(__file__).parent))
from generate import Systems

LAST = world().rank == world().size - 1
MESH, POINTS = square(), np.array([[0.3, 0.5, 0.77], [0.2, 0.5, 0.91]])


def solve(*arguments, mesh=MESH, **options):
    """A problem, with arguments that only it takes."""
    pc.solve(problem(*arguments), mesh, **options)


def solve_with(name, value, **options):
    pc.solve(problem(**{name: value}), MESH, **options)


def moved(mesh):
    points = mesh.points.copy()
    points[0, 8] += 1e-9
    return replace(mesh, points=points)


def drawn(x):
    return wave(x) + 0.01 * np.random.default_rng().standard_normal(x.shape[1])


def later(x, t):
    return travelling(x, t) + 1e-3 * (t > 0.9)


def measured(points=POINTS):
    values = np.array([1.0, -1.0, 0.5 + 1e-12 * LAST])
    return pc.Tracking(values, points=points)


def certify(control, dual=None):
    with pc.discretise(problem(), MESH) as map:
        pc.certify(problem(), control, map, dual)


def minimise(stated):
    """With the map of another problem on the last rank."""
    with pc.discretise(problem(), MESH) as map:
        pc.minimise(stated, map)


def restart(folder):
    pc.solve(problem(), MESH, checkpoint=Path(folder) / "file", restart=not LAST)


def choose(usual, there):
    return there if LAST else usual


TAG = pc.unit_square(4)
HEAT = [1.0, lambda x: x[0]]
# What is to be named in the error, and what one calls.
CASES = {
    "Tikhonov.alpha": lambda: pc.solve(problem(alpha=choose(1e-3, 2e-3)), MESH),
    "L1.beta": lambda: solve_with("terms", [pc.L1(choose(1e-3, 1e-4))]),
    "Box.upper": lambda: solve_with("terms", [pc.Box(-1.0, choose(1.0, 2.0))]),
    "Box.lower": lambda: solve_with("terms", [pc.Box(choose(lambda x: -x[0], lambda x: -1.001 * x[0]), 1.0)]),
    "Tikhonov.reference": lambda: minimise(replace(problem(), terms=[pc.Tikhonov(1e-3, choose(0.0, wave))])),
    "problem.terms": lambda: solve_with("terms", choose([pc.L1(1e-3)], [])),
    "problem.tracking": lambda: solve_with("tracking", choose([pc.Tracking(1.0), pc.Tracking(2.0)], pc.Tracking(1.0))),
    "problem.boundary": lambda: solve_with("boundary", {choose("left", "right"): pc.Dirichlet()}),
    "problem.boundary['left'].value": lambda: solve_with("boundary", {"left": pc.Dirichlet(choose(1.0, wave))}),
    "problem.equation.diffusion": lambda: solve(pc.Elliptic(choose(1.0, 1.5))),
    "problem.equation.source['patch']": lambda: solve(pc.Elliptic(source={"patch": choose(1.0, 1.5)})),
    "problem.equation.semilinear.function": lambda: solve(pc.Elliptic(semilinear=pc.Semilinear(
        choose(lambda y: y**3, lambda y: y**3 + 1), lambda y: 3 * y**2))),
    "problem.equation.convection.derivative": lambda: solve(pc.Elliptic(convection=pc.Convection(
        lambda y: (y, 1.0), choose(lambda y: (1.0, 0.0), lambda y: (1.0 + 1e-6 * y, 0.0))))),
    "problem.control": lambda: solve_with("control", choose(pc.Distributed(), pc.Actuators([1.0]))),
    "problem.control.element": lambda: solve_with("control", pc.Distributed(element=choose("P1", "P0"))),
    "problem.control.shapes": lambda: solve_with("control", pc.Actuators(choose(HEAT, HEAT[:1]))),
    "problem.control.shapes, item 2": lambda: solve_with("control", pc.Actuators([HEAT[0], choose(HEAT[1], wave)])),
    "Tracking.target": lambda: solve_with("tracking", measured()),
    "Tracking 2.target": lambda: solve_with("tracking", [pc.Tracking(wave), pc.Tracking(drawn, on="patch")]),
    "Tracking.points": lambda: solve_with("tracking", pc.Tracking(1.0, points=POINTS + 1e-9 * LAST)),
    "Tracking.on": lambda: solve_with("tracking", pc.Tracking(1.0, on=choose(None, "patch"))),
    "Tracking.weight": lambda: solve_with("tracking", pc.Tracking(1.0, weight=choose(1.0, 2.0))),
    "problem.equation.T": lambda: solve(pc.Parabolic(pc.Elliptic(), T=choose(1.0, 2.0), steps=4)),
    "problem.equation.steps": lambda: solve(pc.Parabolic(pc.Elliptic(), T=1.0, steps=choose(4, 5))),
    "problem.equation.times": lambda: solve(pc.Parabolic(pc.Elliptic(), times=[0.0, choose(0.1, 0.2), 1.0])),
    "problem.equation.scheme": lambda: pc.solve(heat(scheme=choose("backward-euler", "crank-nicolson")), MESH),
    "problem.equation.initial": lambda: pc.solve(heat(initial=choose(0.0, wave)), MESH),
    "problem.equation.snapshots": lambda: solve(pc.Parabolic(pc.Elliptic(), T=1.0, steps=4, snapshots=choose(2, 3))),
    "problem.equation.steady.source": lambda: pc.solve(heat(pc.Elliptic(source=choose(travelling, later))), MESH),
    "Tracking.times": lambda: pc.solve(heat(tracking=pc.Tracking(1.0, times=choose("all", "final"))), MESH),
    "backend.march": lambda: pc.solve(heat(), MESH, pc.Parallel(march=choose("sequential", "parallel-in-time"))),
    "mesh.points": lambda: solve(mesh=choose(MESH, moved(MESH))),
    "mesh.points, others": lambda: solve(mesh=pc.unit_square(choose(8, 9))),
    "mesh.points, 3D": lambda: solve(mesh=choose(MESH, pc.unit_cube(2))),
    "mesh.parts": lambda: solve(mesh=choose(MESH, MESH.tag_part("new", lambda x: x[0] < 0.5))),
    "mesh.parts['new']": lambda: solve(mesh=TAG.tag_part("new", lambda x: x[0] < choose(0.3, 0.6))),
    "mesh.boundaries['new']": lambda: solve(mesh=TAG.tag_boundary("new", lambda x: x[choose(0, 1)] == 0)),
    "tol": lambda: solve(tol=choose(1e-6, 1e-7)),
    "tol, invalid": lambda: solve(tol=choose(1e-6, -1.0)),
    "atol": lambda: solve(atol=choose(0.0, 1e-7)),
    "backend.degree": lambda: solve(backend=pc.Parallel(degree=choose(1, 2))),
    "backend.linear_solver": lambda: solve(backend=pc.Parallel(linear_solver=choose("amg", "direct"))),
    "backend.options['state_pc_type']": lambda: solve(
        backend=pc.Parallel(options={"state_pc_type": choose("gamg", "jacobi")})
    ),
    "method": lambda: solve(method=choose("auto", "fista")),
    "method.steps": lambda: solve(method=pc.PrimalDual(steps=choose("classical", "enlarged"))),
    "backend": lambda: solve(backend=choose("dolfinx", "dolphin")),
    "max_iterations": lambda: solve(max_iterations=choose(10, 11)),
    "max_solves": lambda: solve(max_solves=choose(100, 50)),
    "discretisation": lambda: solve(discretisation=choose(True, False)),
    "callback": lambda: solve(callback=choose(lambda row: False, None)),
    "start": lambda: solve(start=choose(0.0, np.zeros(42))),
    "start, wrong": lambda: solve(start=np.zeros(choose(42, 41))),
    "control": lambda: certify(choose(0.1, 0.2)),
    "dual": lambda: certify(0.1, np.zeros(choose(9, 8))),
    "checkpoint": lambda: solve(checkpoint=f"/tmp/{world().rank}.npz"),
    "restart": lambda: restart("/tmp/nowhere"),
    "alpha": lambda: pc.continuation(problem(), MESH, alpha=[1.0, choose(0.1, 0.2)]),
    "beta": lambda: pc.continuation(problem(), MESH, beta=choose([1.0], [1.0, 0.1])),
    "the function called": lambda: choose(pc.solve, pc.discretise)(problem(), MESH),
    "count": lambda: pc.generate(Systems(), choose(4, 8), 1, FOLDER),
    "count, invalid": lambda: pc.generate(Systems(), choose(4, 0), 1, FOLDER),
    "seed": lambda: pc.generate(Systems(), 4, choose(1, 2), FOLDER),
    "tolerance": lambda: pc.generate(Systems(), 4, 1, FOLDER, tolerance=choose(1e-8, 1e-6)),
    "source['shift']": lambda: pc.generate(Systems(shift=choose(4.0, 5.0)), 4, 1, FOLDER),
}  # fmt: skip


if __name__ == "__main__":
    with TemporaryDirectory() as FOLDER:
        for name, call in CASES.items():
            begin = perf_counter()
            try:
                call()
                said = "nothing"
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            everyone = world().collect((said, perf_counter() - begin))
            messages = {message for message, _ in everyone}
            pc.report(f"{name} | {len(messages)} | {max(seconds for _, seconds in everyone):.2f} | {messages.pop()}")
