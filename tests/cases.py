"""The list of small problems on which every map and every method is tested."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.spectrum import smooth_start
from pdecontrol.terms import bind

TWO_MATERIALS = Path(__file__).parent.parent / "meshes" / "two_materials.msh"

BACKENDS = {"skfem": pc.Embedded, "dolfinx": pc.Parallel}


@dataclass(frozen=True)
class Case:
    """A problem with its mesh; `size` is that of the controls at which it is tested."""

    name: str
    problem: pc.ControlProblem
    make_mesh: Callable[[], pc.Mesh]
    degree: int = 1
    size: float = 1.0

    @cached_property
    def mesh(self):
        return self.make_mesh()

    @property
    def affine(self):
        return self in AFFINE or self in PARABOLIC

    @cached_property
    def map(self):
        """One map for all tests that do not count its solves."""
        return self.fresh_map()

    def fresh_map(self, linear_solver="direct", backend="skfem"):
        return pc.discretise(self.problem, self.mesh, BACKENDS[backend](self.degree, linear_solver))

    def control(self):
        """A smooth control, with some noise."""
        space = self.map.control
        noise = np.random.default_rng(577215).standard_normal(space.size)
        return self.size * (smooth_start(space) + 0.2 * noise)

    def __repr__(self):
        return self.name


def wave(x):
    return np.cos(3 * x).sum(axis=0) + x[0]


def positive(x):
    return 1.5 + np.sin(4 * x).prod(axis=0)


def rotation(x):
    return np.stack([-(x[1] - 0.3), x[0] - 0.6])


SQUARE = {side: pc.Dirichlet() for side in ("left", "right")} | {"top": pc.Neumann(1.0), "bottom": pc.Robin(2.0)}
ZERO = {"boundary": pc.Dirichlet()}
CUBIC = pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2)
STATED = pc.Quasilinear(lambda y: 0.3 + y**2, lambda y: 2 * y)


@cache
def interval():
    halves = pc.unit_interval(12).tag_part("lower", lambda x: x[0] < 0.5).tag_part("upper", lambda x: x[0] > 0.5)
    return halves.transform(lambda x: 0.6 * x + 0.4 * x**2)


@cache
def square():
    mesh = pc.unit_square((6, 5)).transform(lambda x: x + 0.03 * np.sin(2 * np.pi * x) * np.sin(5 * x[::-1]))
    lower = mesh.tag_part("lower", lambda x: x[0] < 0.5).tag_part("upper", lambda x: x[0] >= 0.5)
    return lower.tag_part("patch", lambda x: np.hypot(x[0] - 0.5, x[1] - 0.4) < 0.3)


@cache
def cube():
    mesh = pc.unit_cube((3, 2, 2)).tag_part("lower", lambda x: x[2] < 0.5).tag_part("upper", lambda x: x[2] > 0.5)
    return mesh.tag_boundary("corner", lambda x: (x[0] == 0) & (x[1] < 0.5))


@cache
def materials():
    return pc.read_mesh(TWO_MATERIALS)


@cache
def disc():
    return pc.disc(4, 2.0).tag_boundary("right", lambda x: x[0] > 1).tag_part("core", lambda x: np.hypot(*x) < 1)


@cache
def rings():
    """A disc with two interfaces, one in the other."""
    core = disc().tag_part("ring", lambda x: (np.hypot(*x) > 1) & (np.hypot(*x) < 1.5))
    core = core.tag_part("shell", lambda x: np.hypot(*x) > 1.5).tag_part("bulk", lambda x: np.hypot(*x) < 1.5)
    return core.tag_interface("inner", "core").tag_interface("outer", "bulk")


@cache
def box():
    mesh = pc.unit_cube((4, 4, 4)).tag_part("core", lambda x: np.abs(x - 0.5).max(axis=0) < 0.25)
    return mesh.tag_interface("inner", "core")


def problem(
    equation=None, boundary=None, control=None, tracking=None, terms=(), alpha=1e-3, interface=None
) -> pc.ControlProblem:
    """-Laplace y = u, y = 0 on the boundary, y tracked everywhere, but for what is given."""
    return pc.ControlProblem(
        equation=pc.Elliptic() if equation is None else equation,
        boundary=ZERO if boundary is None else boundary,
        control=pc.Distributed() if control is None else control,
        tracking=pc.Tracking(wave) if tracking is None else tracking,
        terms=[pc.Tikhonov(alpha), *terms],
        interface={} if interface is None else interface,
    )


JUMPS = {"inner": pc.Interface(None, wave, positive, "core"), "outer": pc.Interface(None, -1.0, wave, "bulk")}
KAPPA = {"core": 1.0, "ring": positive, "shell": 20.0}

AFFINE = [
    # state, control and dimension
    Case("1D", problem(), interval),
    Case("1D, P2, control P0", problem(control=pc.Distributed(element="P0")), interval, 2),
    Case("1D, Neumann control on both ends", problem(
        pc.Elliptic(reaction=positive), {}, pc.Boundary("boundary")), interval),
    Case("1D, Robin control P0 on an end", problem(
        pc.Elliptic(source=wave), {"left": pc.Dirichlet(1.0), "right": pc.Robin(3.0, 1.0)},
        pc.Boundary("right", "P0"), pc.Tracking(0.0, on="right")), interval, 2),
    Case("2D", problem(terms=[pc.L1(1e-3), pc.Box(-3, 3)]), square),
    Case("2D, P2", problem(), square, 2),
    Case("2D, control P0", problem(control=pc.Distributed(element="P0")), square),
    Case("2D, P2, control P0 on a part", problem(control=pc.Distributed("patch", "P0")), square, 2),
    Case("2D, control on a part", problem(control=pc.Distributed("patch"), terms=[pc.L1(1e-3)]), square),
    Case("2D, P2, variational control on a part", problem(
        control=pc.Distributed("patch", "variational"), terms=[pc.Box(-3, 3)]), square, 2),
    Case("3D", problem(pc.Elliptic(reaction=2.0), {"bottom": pc.Dirichlet()}), cube),
    Case("3D, P2, control P0 on a part", problem(
        pc.Elliptic(), {"left": pc.Dirichlet(wave), "right": pc.Robin(positive, wave)},
        pc.Distributed("lower", "P0")), cube, 2),
    Case("3D, control and observation on boundaries", problem(
        boundary={"right": pc.Dirichlet(0.5)}, control=pc.Boundary("corner"),
        tracking=pc.Tracking(wave, on="bottom")), cube),
    Case("3D, P2, control P0 on a boundary", problem(
        boundary={"right": pc.Dirichlet(0.5), "left": pc.Neumann(wave)}, control=pc.Boundary("left", "P0"),
        tracking=pc.Tracking(wave, on="upper")), cube, 2),
    # boundary controls and actuators
    Case("Neumann control", problem(boundary=SQUARE, control=pc.Boundary("top")), square),
    Case("Robin control", problem(boundary=SQUARE, control=pc.Boundary("bottom")), square, 2),
    Case("Robin control P0", problem(boundary=SQUARE, control=pc.Boundary("bottom", "P0")), square),
    Case("control where no condition is given", problem(
        boundary={"left": pc.Dirichlet()}, control=pc.Boundary("right", "P0")), square, 2),
    Case("control of the whole boundary", problem(
        pc.Elliptic(reaction=1.0), {}, pc.Boundary("boundary"), pc.Tracking(1.0)), square),
    Case("actuators", problem(
        control=pc.Actuators([lambda x: x[0] < 0.5, 2.0, wave]), tracking=pc.Tracking(1.0)), square),
    Case("actuators on a part", problem(control=pc.Actuators([1.0, wave], on="patch")), square, 2),
    Case("actuators on a boundary", problem(
        boundary={"left": pc.Dirichlet()}, control=pc.Actuators([1.0, lambda x: x[1]], on="right")), square),
    # observations
    Case("tracking on a part", problem(tracking=pc.Tracking(wave, on="patch", weight=3.0)), square),
    Case("tracking on the boundary", problem(
        boundary=SQUARE, control=pc.Distributed("lower"), tracking=pc.Tracking(wave, on="top")), square, 2),
    Case("tracking at points", problem(
        tracking=pc.Tracking(np.array([1.0, -1.0, 0.5]), points=[[0.3, 0.5, 0.77], [0.2, 0.5, 0.91]], weight=0.5)),
        square),
    Case("tracking in several ways, and linear functionals", problem(
        boundary=SQUARE,
        tracking=[
            pc.Tracking(wave, weight=0.1), pc.Tracking(1.0, on="patch", weight=5.0), pc.Tracking(0.3, on="top"),
            pc.Tracking(2.0, points=[[0.25], [0.5]]),
        ],
        terms=[pc.Linear(wave), pc.Linear(-0.1, on="patch"), pc.Linear(wave, on="bottom")]), square, 2),
    Case("a linear functional alone", problem(
        tracking=[], terms=[pc.Linear(positive), pc.Box(-1, 1)], alpha=0.0), square),
    # coefficients and data
    Case("variable diffusion", problem(pc.Elliptic(diffusion=positive)), square),
    Case("diffusion by part, reaction, source", problem(
        pc.Elliptic({"lower": 1e-2, "upper": positive}, {"patch": 5.0}, source={"upper": wave})), square, 2),
    Case("constant advection", problem(pc.Elliptic(0.2, advection=(2.0, -1.0)), SQUARE), square),
    Case("variable advection", problem(pc.Elliptic(0.1, advection=rotation, reaction=1.0)), square, 2),
    Case("advection by part", problem(
        pc.Elliptic(0.5, advection={"lower": (1.0, 3.0), "upper": rotation})), square),
    Case("advection in 1D", problem(pc.Elliptic(0.2, advection=[4.0], source=1.0)), interval, 2),
    Case("advection in 3D", problem(
        pc.Elliptic(advection=lambda x: x[::-1], source=wave), {"left": pc.Dirichlet(), "top": pc.Robin(1.0, wave)}),
        cube),
    Case("inhomogeneous conditions", problem(
        pc.Elliptic(source=1.0),
        {"left": pc.Dirichlet(wave), "right": pc.Robin(positive, wave), "top": pc.Neumann(wave),
         "bottom": pc.Neumann(2.0)}), square),
    # meshes
    Case("gmsh, two materials", problem(
        pc.Elliptic({"inside": 100.0, "outside": 1.0}), {"floor": pc.Dirichlet(), "lid": pc.Robin(1.0, 1.0)},
        pc.Distributed("inside"), pc.Tracking(wave, on="outside")), materials),
    Case("gmsh, interface observed and controlled", problem(
        pc.Elliptic({"inside": 0.1, "outside": 1.0}), {"wall": pc.Dirichlet()},
        pc.Actuators([1.0, wave], on="interface"), pc.Tracking(wave, on="interface")), materials, 2),
    Case("disc", problem(
        boundary={"right": pc.Dirichlet(1.0)}, control=pc.Distributed("core"), terms=[pc.Box(lambda x: -x[0] ** 2, 4)]),
        disc),
    Case("scaled domain", problem(
        pc.Elliptic(1e3, 1e-5)), lambda: square().transform(lambda x: 1e4 * x + 7e4)),
    # interfaces
    Case("jumps", problem(
        pc.Elliptic(KAPPA), tracking=pc.Tracking({"core": wave, "ring": 2.0, "shell": -1.0}), interface=JUMPS,
        terms=[pc.Box({"bulk": -1.0, "shell": -0.2}, 3.0)]), rings),
    Case("jumps, P2, control P0 on a part, advection", problem(
        pc.Elliptic(KAPPA, 1.0, advection=rotation), {}, pc.Distributed("core", "P0"), interface=JUMPS), rings, 2),
    Case("jumps, variational control", problem(
        pc.Elliptic(KAPPA), control=pc.Distributed(element="variational"), interface=JUMPS,
        terms=[pc.L1(1e-3), pc.Box({"bulk": -1.0, "shell": -0.2}, 3.0)]), rings),
    Case("control on an interface", problem(
        pc.Elliptic(KAPPA), {"right": pc.Dirichlet(wave)}, pc.Boundary("outer"), interface=JUMPS), rings),
    Case("control P0 on an interface, P2, observed on both sides", problem(
        pc.Elliptic(KAPPA), control=pc.Boundary("inner", "P0"), interface=JUMPS,
        tracking=[pc.Tracking(1.0, on="outer"), pc.Tracking(wave, on="outer+"), pc.Tracking(1.0, on="ring")],
        terms=[pc.Linear(1.0, on="inner+")]), rings, 2),
    Case("actuators on an interface", problem(
        pc.Elliptic(KAPPA), control=pc.Actuators([1.0, wave], on="inner"), interface=JUMPS), rings),
    Case("jump at a point in 1D", problem(
        pc.Elliptic({"lower": 0.1, "upper": 1.0}), interface={"middle": pc.Interface(None, 0.5, -2.0, "lower")},
        control=pc.Boundary("middle")), lambda: interval().tag_interface("middle", "lower"), 2),
    Case("jumps in 3D", problem(
        interface={"inner": pc.Interface(None, wave, positive, "core")}, tracking=pc.Tracking(wave, on="core")), box),
]  # fmt: skip

NONLINEAR = [
    Case("cubic in 1D", problem(pc.Elliptic(1.0, semilinear=CUBIC)), interval, 2, 40.0),
    Case("cubic", problem(pc.Elliptic(0.5, semilinear=CUBIC, source=wave), terms=[pc.L1(1e-3), pc.Box(-50, 50)]),
         square, 1, 20.0),
    Case("exponential, P2", problem(
        pc.Elliptic(1.0, semilinear=pc.Semilinear(np.exp, np.exp, 2.0)), SQUARE), square, 2, 10.0),
    Case("cubic by part, control P0", problem(
        pc.Elliptic(1.0, 1.0, semilinear=pc.Semilinear(CUBIC.function, CUBIC.derivative, {"patch": 200.0})), {},
        pc.Distributed(element="P0"), pc.Tracking(wave, on="patch")), square, 1, 3.0),
    Case("variable coefficient, advection", problem(
        pc.Elliptic(0.2, advection=rotation, semilinear=pc.Semilinear(np.sinh, np.cosh, positive))), square, 2, 10.0),
    Case("boundary control, points and a functional", problem(
        pc.Elliptic(1.0, semilinear=pc.Semilinear(CUBIC.function, CUBIC.derivative, 30.0)),
        {"left": pc.Dirichlet(wave), "right": pc.Robin(1.0, 2.0)}, pc.Boundary("right"),
        pc.Tracking(1.0, points=[[0.3, 0.9], [0.6, 0.2]]), [pc.Linear(wave, on="top")]), square, 1, 5.0),
    Case("cubic in 3D", problem(
        pc.Elliptic(1.0, semilinear=pc.Semilinear(CUBIC.function, CUBIC.derivative, 50.0)), {"left": pc.Dirichlet()}),
        cube, 1, 40.0),
    Case("gmsh, monotone and bounded", problem(
        pc.Elliptic({"inside": 0.1, "outside": 1.0}, semilinear=pc.Semilinear(
            lambda y: y / np.sqrt(1 + y**2), lambda y: (1 + y**2) ** -1.5, {"inside": 5.0})), ZERO,
        pc.Actuators([1.0, wave], on="inside")), materials, 1, 8.0),
    # convection and diffusion that depend on the state
    Case("Burgers", problem(pc.burgers(1 / 12, source=lambda x: 2 * (0.1 + x[0] ** 3))), interval, 1, 3.0),
    Case("Burgers, P2, conditions of all kinds", problem(
        pc.burgers(1 / 12, source=1.0), {"left": pc.Dirichlet(1.0), "right": pc.Robin(1.0, 0.3)},
        pc.Boundary("right")), interval, 2, 0.5),
    Case("convection along a curve", problem(pc.Elliptic(
        0.3, 1.0, convection=pc.Convection(lambda y: (y, np.sin(2 * y)), lambda y: (1.0, 2 * np.cos(2 * y)))), SQUARE),
        square, 1, 10.0),
    Case("quasilinear", problem(pc.Elliptic(STATED)), square, 1, 10.0),
    Case("quasilinear and semilinear, P2, control on a part", problem(
        pc.Elliptic(pc.Quasilinear(np.exp, np.exp, positive), 2.0, semilinear=CUBIC), SQUARE,
        pc.Distributed("patch")), square, 2, 10.0),
    Case("quasilinear with advection and convection in 3D", problem(
        pc.Elliptic(STATED, advection=(1.0, 0.0, 0.0), convection=pc.Convection(
            lambda y: (y, y**2, 0.0), lambda y: (1.0, 2 * y, 0.0))), {"left": pc.Dirichlet(0.5)}), cube, 1, 10.0),
    # controls that are coefficients
    Case("bilinear", problem(pc.Elliptic(source=5.0), ZERO, pc.Coefficient()), square, 1, 20.0),
    Case("bilinear, P2, control P0", problem(
        pc.Elliptic(source=wave), SQUARE, pc.Coefficient(element="P0")), square, 2, 5.0),
    Case("bilinear on a part, cubic", problem(
        pc.Elliptic(0.5, semilinear=CUBIC, source=20.0), ZERO, pc.Coefficient(on="patch"),
        terms=[pc.L1(1e-3), pc.Box(-1, 50)]), square, 1, 20.0),
    # interfaces
    Case("jumps, quasilinear and cubic", problem(
        pc.Elliptic(STATED, semilinear=CUBIC), interface=JUMPS, tracking=pc.Tracking({"bulk": wave, "shell": 0.0})),
        rings, 1, 10.0),
    Case("jumps, bilinear, P2", problem(
        pc.Elliptic(KAPPA, source=wave), ZERO, pc.Coefficient(), interface=JUMPS), rings, 2, 2.0),
]  # fmt: skip


def heat(steady=None, steps=4, scheme="backward-euler", initial=0.0, times=None, **others):
    """y_t - Laplace y = u up to T = 0.3, but for what is given."""
    grid = {"T": 0.3, "steps": steps} if times is None else {"times": times}
    steady = pc.Elliptic() if steady is None else steady
    return problem(pc.Parabolic(steady, scheme=scheme, initial=initial, **grid), **others)


def bump(x):
    return 3 * (x * (1 - x)).prod(axis=0) * wave(x)


def travelling(x, t):
    return np.cos(3 * x.sum(axis=0) - 5 * t)


MOVING_JUMPS = {
    "inner": pc.Interface(None, travelling, lambda x, t: t * x[0], "core"),
    "outer": pc.Interface(None, 1.0, travelling, "bulk"),
}


def broken(t):
    """A function with the jumps of these at a time."""
    return {
        "core": wave, "ring": lambda x: wave(x) + travelling(x, t), "shell": lambda x: wave(x) + travelling(x, t) + 1.0,
    }  # fmt: skip


UNEVEN = [0.1, 0.12, 0.2, 0.22, 0.3]
CN = "crank-nicolson"

PARABOLIC = [
    Case("heat", heat(terms=[pc.L1(1e-4), pc.Box(lambda x, t: -2 - t, 3)], tracking=pc.Tracking(travelling)), square),
    Case("heat, Crank-Nicolson, tracked in several ways", heat(
        scheme=CN, initial=wave, boundary={"left": pc.Dirichlet(wave)},
        tracking=[pc.Tracking(travelling, weight=2.0), pc.Tracking(wave, times="final"),
                  pc.Tracking(travelling, on="patch", times=(0.075, 0.225))],
        terms=[pc.Linear(lambda x, t: t * x[0], on="right"), pc.Linear(1.0, times=0.15)]), square),
    Case("heat, uneven Crank-Nicolson, P2", heat(
        times=UNEVEN, scheme=CN, initial=bump, boundary=SQUARE), square, 2),
    Case("heat, boundary control in time", heat(
        boundary=SQUARE, control=pc.Boundary("top", "P0"),
        tracking=pc.Tracking(travelling, on="bottom", times="final")), square),
    Case("actuators in time, points over an interval", heat(
        times=UNEVEN, boundary=SQUARE, control=pc.Actuators([1.0, wave], on="patch"),
        tracking=pc.Tracking(1.0, points=[[0.3, 0.6], [0.2, 0.7]], times=(0.1, 0.2))), square),
    Case("variational control in time, Crank-Nicolson", heat(
        scheme=CN, initial=bump, control=pc.Distributed(element="variational"), terms=[pc.Box(-3, 3)]), square),
    Case("moving actuators", heat(
        scheme=CN, control=pc.Actuators([travelling, 1.0]), terms=[pc.Box(-1, 1)]), square),
    Case("initial value", heat(
        control=pc.InitialValue(), tracking=pc.Tracking(wave, times="final")), square, 2),
    Case("initial value on a part, Crank-Nicolson", heat(
        scheme=CN, initial=bump, boundary=SQUARE, control=pc.InitialValue("patch")), square),
    Case("all data in time", heat(
        pc.Elliptic(
            lambda x, t: 1.5 + t + x[0], lambda x, t: t * x[1], lambda x, t: np.stack([1 + t + x[0], x[1]]),
            {"lower": travelling}),
        times=UNEVEN, initial=lambda x: travelling(x, 0.1),
        boundary={"left": pc.Dirichlet(travelling), "top": pc.Robin(lambda x, t: 1 + t + x[0], travelling),
                  "right": pc.Neumann(travelling)}), square),
    Case("coefficients in time, Crank-Nicolson", heat(
        pc.Elliptic(lambda x, t: 1.5 + t + x[0], 0.5, (2.0, 1.0)), scheme=CN, boundary=SQUARE), square),
    Case("no flux in 1D", heat(
        pc.Elliptic(source=travelling), boundary={}, initial=wave, control=pc.Distributed("lower", "P0")), interval, 2),
    Case("growth in 1D", heat(pc.Elliptic(reaction=-8.0), boundary={}, scheme=CN), interval),
    Case("jumps in time", heat(
        pc.Elliptic(KAPPA, source=travelling), interface=MOVING_JUMPS,
        initial=broken(0.0), boundary={}, tracking=pc.Tracking({"bulk": travelling, "shell": wave})), rings),
    Case("jumps in time, Crank-Nicolson, control on an interface", heat(
        pc.Elliptic(KAPPA), times=UNEVEN, scheme=CN, interface=MOVING_JUMPS, control=pc.Boundary("outer"),
        boundary={"right": pc.Robin(1.0, travelling)}, initial=broken(0.1)), rings, 2),
    Case("jumps and an initial value", heat(
        pc.Elliptic(KAPPA), interface=MOVING_JUMPS, control=pc.InitialValue("bulk"), initial=broken(0.0),
        boundary={}), rings),
    Case("heat in 3D", heat(steps=2, boundary={"left": pc.Dirichlet()}, control=pc.Distributed("lower")), cube),
]  # fmt: skip

NONLINEAR_PARABOLIC = [
    Case("cubic in time", heat(
        pc.Elliptic(0.5, semilinear=CUBIC, source=travelling), initial=bump, terms=[pc.L1(1e-4), pc.Box(-60, 60)]),
        square, 1, 40.0),
    Case("exponential in time, Crank-Nicolson, boundary control", heat(
        pc.Elliptic(semilinear=pc.Semilinear(np.exp, np.exp, lambda x, t: 2.0 + t)), times=UNEVEN, scheme=CN,
        boundary=SQUARE, control=pc.Boundary("top"),
        tracking=[pc.Tracking(1.0, points=[[0.3, 0.9], [0.6, 0.2]]), pc.Tracking(wave, times="final")],
        terms=[pc.Linear(wave, on="top")]), square, 1, 10.0),
    Case("cubic with advection, actuators in time", heat(
        pc.Elliptic(0.2, advection=rotation, semilinear=CUBIC), control=pc.Actuators([travelling, wave])),
        square, 2, 150.0),
    Case("initial value of a cubic equation", heat(
        pc.Elliptic(0.1, semilinear=pc.Semilinear(lambda y: y**3 - y, lambda y: 3 * y**2 - 1, 10.0)), boundary={},
        scheme=CN, control=pc.InitialValue(), tracking=pc.Tracking(wave, times="final")), square, 1, 3.0),
    Case("jumps in time, cubic", heat(
        pc.Elliptic(KAPPA, semilinear=CUBIC), scheme=CN, interface=MOVING_JUMPS, terms=[pc.Box(-20, 20)],
        initial=broken(0.0), boundary={}), rings, 1, 5.0),
    Case("Burgers in time", heat(
        pc.burgers(1 / 12), initial=bump, control=pc.Distributed("lower", "P0"), terms=[pc.Box(-20, 20)]),
        interval, 2, 20.0),
    Case("quasilinear with convection, Crank-Nicolson", heat(
        pc.Elliptic(
            pc.Quasilinear(STATED.function, STATED.derivative, lambda x, t: 1 + t + x[0]),
            convection=pc.Convection(lambda y: (y, y**2), lambda y: (1.0, 2 * y))),
        times=UNEVEN, scheme=CN, boundary=SQUARE), square, 1, 30.0),
    Case("bilinear in time", heat(
        pc.Elliptic(source=travelling), initial=bump, control=pc.Coefficient(), terms=[pc.L1(1e-4), pc.Box(-5, 50)]),
        square, 1, 20.0),
    Case("bilinear and cubic, control P0 on a part, Crank-Nicolson", heat(
        pc.Elliptic(lambda x, t: 1.5 + t + x[0], semilinear=CUBIC, source=20.0), times=UNEVEN, scheme=CN,
        boundary=SQUARE, control=pc.Coefficient(on="patch", element="P0")), square, 2, 20.0),
]  # fmt: skip

STEADY = AFFINE + NONLINEAR
CASES = STEADY + PARABOLIC + NONLINEAR_PARABOLIC


def with_optimum(problem, mesh, u):
    """A problem without L1 term, with the reference for which u inside the box is stationary, and its map.

    That is alpha (u - reference) + S'(u)* F'(S(u)) = 0.
    """
    map = pc.discretise(problem, mesh)
    at, alpha = map.at(u), problem.term(pc.Tikhonov).alpha
    q = at.adjoint(bind(problem, map).state.gradient(at.value))
    terms = [term for term in problem.terms if not isinstance(term, pc.Tikhonov)]
    return replace(problem, terms=[pc.Tikhonov(alpha, reference=u + q / alpha), *terms]), map
