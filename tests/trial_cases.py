"""Trial spaces of all shapes, on which their tests run."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

import pdecontrol as pc
from pdecontrol.pinn.checks import checked_domain
from pdecontrol.pinn.functions.ansatz import hard, soft
from pdecontrol.pinn.functions.lifting import Lifting
from pdecontrol.pinn.networks.layer import Layer
from pdecontrol.pinn.networks.network import Shallow
from pdecontrol.problem import Interface

SQUARE = ((-1.0, 1.0), (-1.0, 1.0))


def edge(x, t):
    return np.exp(x[0]) * np.cos(2 * x[1]) * (1 + t**2)


def jump(x, t):
    return np.sin(3 * x[0] + x[1]) + t * x[0]


def growing(x, t):
    return t * (1 + x[0])


def still_edge(x):
    return edge(x, 0.0)


def still_jump(x):
    return jump(x, 0.0)


def starting(x):
    return still_edge(x) - still_jump(x)


@dataclass(frozen=True, eq=False)
class Case:
    """A domain with interfaces, and in time the initial values that match."""

    interface: dict[str, Interface]
    box: tuple[tuple[float, float], ...] = SQUARE
    initial: object = None

    @cached_property
    def problem(self):
        steady = pc.Elliptic()
        return pc.ControlProblem(
            equation=steady if self.initial is None else pc.Parabolic(steady, T=1.2, steps=3, initial=self.initial),
            control=pc.Distributed(),
            tracking=pc.Tracking(1.0),
            terms=[pc.Tikhonov(0.1), pc.Box(-0.3, 0.2)],
            boundary={"boundary": pc.Dirichlet(still_edge if self.initial is None else edge)},
            interface=self.interface,
        )

    @cached_property
    def domain(self):
        return checked_domain(self.problem, self.box)

    @cached_property
    def spaces(self):
        """Those of state and adjoint state."""
        jumps = {tag: item.value for tag, item in self.interface.items()}
        return hard(self.domain, Lifting(self.domain, self.problem.boundary, jumps, self.initial), 0.1)

    @cached_property
    def free(self):
        """Those that satisfy no condition."""
        return soft(self.domain, 0.1)

    @cached_property
    def times(self):
        return [None] if self.domain.span is None else [*self.domain.span, 0.37, 0.8]


STILL = {
    "circle": {"gamma": Interface(pc.Circle(0.5), value=still_jump)},
    "ellipse": {"gamma": Interface(pc.Ellipse((0.6, 0.25), (0.1, -0.2), 0.7), value=still_jump)},
    "star": {"gamma": Interface(pc.Star(0.5, 0.2, 5), value=still_jump)},
    "two": {
        "one": Interface(pc.Circle(0.3, (-0.5, 0.4)), value=still_jump, inside="first"),
        "two": Interface(pc.Star(0.3, 0.05, 3, (0.45, -0.2)), value=1.0, inside="second"),
    },
    "nested": {
        "core": Interface(pc.Circle(0.25, (0.1, 0.0)), value=still_jump, inside="kernel"),
        "shell": Interface(pc.Ellipse((0.7, 0.6)), value=-2.0, inside="middle"),
    },
    "level set": {"gamma": Interface(pc.LevelSet(lambda x: x[0] ** 4 + x[1] ** 4 - 0.1), value=still_jump)},
    "none": {},
}
WIDE = ((-1.0, 2.0), (-0.9, 1.1))
CASES = {
    **{name: Case(interface) for name, interface in STILL.items()},
    "wide": Case(STILL["ellipse"], WIDE),
    "in time": Case(
        {"gamma": Interface(pc.Circle(0.5), value=jump)},
        initial={"inside": starting, "outside": still_edge},
    ),
    "moving": Case(
        {"gamma": Interface(pc.Moving(lambda t: pc.Circle(0.4, (0.3 * np.cos(t), 0.3 * np.sin(t)))), value=growing)},
        initial=still_edge,
    ),
    "moving star": Case(
        {"gamma": Interface(pc.Moving(lambda t: pc.Star(0.4, 0.1, 4, angle=t)), value=growing)}, initial=still_edge
    ),
}


def random_network(ansatz, generator, count=30):
    """A network with random weights."""
    layer = Layer(generator.standard_normal((ansatz.inputs, count)), generator.standard_normal(count))
    return Shallow(layer, generator.standard_normal(count))
