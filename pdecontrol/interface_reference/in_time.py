"""Reference problems with a heat equation, on a circle that stands still or moves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import Array
from ..problem import ControlProblem, Dirichlet, Distributed, Elliptic, Parabolic, Tikhonov, Tracking
from ..problem.equations import Scheme
from ..problem.interfaces import Interface
from ..problem.shapes import Circle, Moving
from .exact import Element, Function, InterfaceReference, box, bubble, clipped, on_parts, two_sides

END = np.pi / 2
CentredAt = Callable[[float], tuple[Circle, Array]]  # the circle at a time, and the velocity (2,) of its centre


def heat(
    steps: int,
    scheme: Scheme = "backward-euler",
    diffusion: tuple[float, float] = (1.0, 3.0),
    element: Element = "P1",
) -> InterfaceReference:
    """y_t - div(kappa grad y) = u + f up to T = pi/2 without jumps, zero initial and Dirichlet data, -1 <= u <= 1.

    y* = -5 cos(t - T) S/kappa, p* = -5 sin(t - T) S/kappa, u* = P(-p*),
    f = 5 sin(t - T) S/kappa + 5 cos(t - T) Lap S - u*, y_d = y* - 5 sin(t - T) Lap S - 5 cos(t - T) S/kappa.

    Examples
    --------
    >>> problem = heat(16).problem
    """
    still = Circle(0.5)
    return _heat(Interface(still), lambda t: (still, np.zeros(2)), (-1.0, 1.0), steps, scheme, diffusion, element)


def moving(
    steps: int,
    bounds: tuple[float, float] = (-0.3, 0.3),
    scheme: Scheme = "backward-euler",
    diffusion: tuple[float, float] = (1.0, 3.0),
    element: Element = "P1",
) -> InterfaceReference:
    """The heat equation of `heat` on the circle r0 = 0.4 around c(t) = 0.2 (cos 4 t, sin 4 t), which no mesh follows.

    S = ((x - c)^2 - r0^2) (x1^2 - 1) (x2^2 - 1), S_t = -2 c' . (x - c) (x1^2 - 1) (x2^2 - 1), and with y*, p* and u* of
    `heat` f and y_d have the further terms -5 cos(t - T) S_t/kappa and -5 sin(t - T) S_t/kappa. abs(p*) <= 0.78.

    Examples
    --------
    >>> exact = moving(8)
    >>> exact.at(exact.state, np.zeros((2, 1)), 0.0).round(12).tolist()
    [0.0]
    """

    def at(t: float) -> tuple[Circle, Array]:
        cos, sin = np.cos(4 * t), np.sin(4 * t)
        return Circle(0.4, (0.2 * cos, 0.2 * sin)), 0.8 * np.array([-sin, cos])

    return _heat(Interface(Moving(lambda t: at(t)[0])), at, bounds, steps, scheme, diffusion, element)


def _heat(
    interface: Interface,
    at: CentredAt,
    bounds: tuple[float, float],
    steps: int,
    scheme: Scheme,
    diffusion: tuple[float, float],
    element: Element,
) -> InterfaceReference:
    kappas = two_sides(diffusion)

    def value(x: Array, t: float) -> Array:
        return bubble(x, at(t)[0]).value

    def rate(x: Array, t: float) -> Array:
        circle, velocity = at(t)
        offset = x - np.asarray(circle.centre)[:, None]
        return np.asarray(-2 * (velocity @ offset) * bubble(x).value)

    def laplacian(x: Array, t: float) -> Array:
        return bubble(x, at(t)[0]).laplacian

    state = on_parts(lambda kappa: lambda x, t: -5 / kappa * np.cos(t - END) * value(x, t), kappas)
    adjoint = on_parts(lambda kappa: lambda x, t: -5 / kappa * np.sin(t - END) * value(x, t), kappas)
    control = {tag: clipped(lambda x, t, p=p: -p(x, t), *bounds) for tag, p in adjoint.items()}

    def source(tag: str) -> Function:
        def f(x: Array, t: float) -> Array:
            cos, sin = 5 * np.cos(t - END), 5 * np.sin(t - END)
            return (sin * value(x, t) - cos * rate(x, t)) / kappas[tag] + cos * laplacian(x, t) - control[tag](x, t)

        return f

    def target(tag: str) -> Function:
        def wanted(x: Array, t: float) -> Array:
            cos, sin = 5 * np.cos(t - END), 5 * np.sin(t - END)
            return state[tag](x, t) - (cos * value(x, t) + sin * rate(x, t)) / kappas[tag] - sin * laplacian(x, t)

        return wanted

    equation = Elliptic(diffusion=dict(kappas), source={tag: source(tag) for tag in kappas})
    problem = ControlProblem(
        equation=Parabolic(equation, T=END, steps=steps, scheme=scheme),
        interface={"gamma": interface},
        boundary={"boundary": Dirichlet()},
        control=Distributed(element=element),
        tracking=Tracking({tag: target(tag) for tag in kappas}),
        terms=[Tikhonov(1.0), *box(bounds)],
    )
    return InterfaceReference(problem, control, state, adjoint)
