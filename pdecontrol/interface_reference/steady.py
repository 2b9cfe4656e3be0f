"""Reference problems with one curve that stands still."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..problem import Boundary, Box, ControlProblem, Dirichlet, Distributed, Elliptic, Tikhonov, Tracking
from ..problem.controls import Element as Discrete
from ..problem.interfaces import Interface
from ..problem.shapes import Circle, Star
from .exact import Element, Function, InterfaceReference, bubble, clipped, distributed, on_parts, two_sides

RADIUS = 0.5
STAR_NORM, STAR_MAXIMUM = 0.012215364, 0.0198289


def _cubic(diffusion: tuple[float, float], radius: float = RADIUS) -> dict[str, Function]:
    """r^3/kappa, outside plus the constant that makes it continuous: its flux is too."""
    gap = (1 / diffusion[0] - 1 / diffusion[1]) * radius**3
    return {
        "inside": lambda x: np.hypot(x[0], x[1]) ** 3 / diffusion[0],
        "outside": lambda x: np.hypot(x[0], x[1]) ** 3 / diffusion[1] + gap,
    }


def circle(
    diffusion: tuple[float, float] = (1.0, 10.0),
    bounds: tuple[float, float] = (-1.0, 1.0),
    element: Element = "P1",
    radius: float = RADIUS,
    alpha: float = 1.0,
    size: float = 5.0,
) -> InterfaceReference:
    """-div(kappa grad y) = u + f without jumps, y* = r^3/kappa (+ a constant outside), p* = -alpha c S/kappa, c = size.

    u* = P(c S/kappa), f = -9 r - u*, y_d = y* - alpha c Lap S. With kappa = (1, 10) and c = 5 the bound holds on
    3.2 % of the square and the root mean square of u* is 0.2908912355, without bounds (infinite ones) 0.3054824636,
    that of y* 0.1779840973; for c = 10 it holds on a tenth, whatever alpha is.

    Examples
    --------
    >>> exact = circle()
    >>> exact.at(exact.control, np.array([[0.0, 0.4], [0.0, 0.4]])).round(4).tolist()
    [-1.0, 0.0247]
    """
    kappas, interface = two_sides(diffusion), {"gamma": Interface(Circle(radius))}
    force = on_parts(lambda kappa: lambda x: -9 * np.hypot(x[0], x[1]), kappas)
    return distributed(kappas, interface, _cubic(diffusion, radius), force, size, bounds, element, alpha)


def _smooth(scale: float, diffusion: tuple[float, float]) -> tuple[dict[str, Function], Function, Function]:
    """y = scale/kappa exp(x1 + x2) inside and scale/kappa sin x1 sin x2 outside, with [y] and [kappa dy/dn]."""
    inside, outside = scale / diffusion[0], scale / diffusion[1]
    state: dict[str, Function] = {
        "inside": lambda x: inside * np.exp(x[0] + x[1]),
        "outside": lambda x: outside * np.sin(x[0]) * np.sin(x[1]),
    }

    def value(x: Array) -> Array:
        return state["outside"](x) - state["inside"](x)

    def flux(x: Array) -> Array:
        n = x / np.hypot(x[0], x[1])
        outer = n[0] * np.cos(x[0]) * np.sin(x[1]) + n[1] * np.sin(x[0]) * np.cos(x[1])
        return np.asarray(scale * (outer - (n[0] + n[1]) * np.exp(x[0] + x[1])))

    return state, value, flux


def scaled(diffusion: tuple[float, float] = (1.0, 10.0), element: Element = "P1") -> InterfaceReference:
    """The circle with jumps in value and flux, for any contrast: y* = C/kappa exp(x1 + x2) and C/kappa sin x1 sin x2.

    C = min kappa, p* = -5 C S/kappa, u* = P(-p*) with the bounds +-1, n = x/r and with the outer minus the inner side

        f = -2 C exp(x1 + x2) - u* and 2 C sin x1 sin x2 - u*,    y_d = y* - 5 C Lap S,    g0 = [y*],
        g1 = C (n1 cos x1 sin x2 + n2 sin x1 cos x2 - (n1 + n2) exp(x1 + x2)).

    Fluxes are of the size of C on both sides; so errors can be compared between contrasts.

    Examples
    --------
    >>> problem = scaled((1e3, 1.0)).problem
    """
    scale = min(diffusion)
    state, value, flux = _smooth(scale, diffusion)
    force: dict[str, Function] = {
        "inside": lambda x: -2 * scale * np.exp(x[0] + x[1]),
        "outside": lambda x: 2 * scale * np.sin(x[0]) * np.sin(x[1]),
    }
    interface = {"gamma": Interface(Circle(RADIUS), value=value, flux=flux)}
    return distributed(two_sides(diffusion), interface, state, force, 5 * scale, (-1.0, 1.0), element)


def star(element: Element = "P1") -> InterfaceReference:
    """The star r = 0.5 + 0.2 sin(5 theta): kappa = (1, 10), f = 2 kappa (2 - r^2), y_d = (1 - x1^2) (1 - x2^2), y = 0.

    No jumps; the bounds +-1 do not bind. No exact solution is known; fitted isoparametric elements of degree 2 converge
    to J* = 0.07193714, ||u*|| = 0.012215364 and max u* = 0.0198289.

    Examples
    --------
    >>> exact = star()
    """
    source = on_parts(lambda kappa: lambda x: 2 * kappa * (2 - (x**2).sum(axis=0)), two_sides((1.0, 10.0)))
    problem = ControlProblem(
        equation=Elliptic(diffusion={"inside": 1.0, "outside": 10.0}, source=source),
        interface={"gamma": Interface(Star(0.5, 0.2, arms=5))},
        boundary={"boundary": Dirichlet()},
        control=Distributed(element=element),
        tracking=Tracking(lambda x: (1 - x[0] ** 2) * (1 - x[1] ** 2)),
        terms=[Tikhonov(1.0), Box(-1.0, 1.0)],
    )
    return InterfaceReference(problem, objective=0.07193714)


def control_on_circle(diffusion: tuple[float, float] = (1.0, 10.0), element: Discrete = "P1") -> InterfaceReference:
    """-div(kappa grad y) = f, [kappa dy/dn] = g1 + u on the circle, sin 2 pi x1 <= u <= 1: y*, p* and y_d of `circle`.

    p* = 0 on the circle, so u* = max(sin 2 pi x1, 0), f = -9 r, g1 = -u*.

    Examples
    --------
    >>> exact = control_on_circle()
    """

    def wave(x: Array) -> Array:
        return np.asarray(np.sin(2 * np.pi * x[0]))

    still, kappas, state = Circle(RADIUS), two_sides(diffusion), _cubic(diffusion)
    adjoint = on_parts(lambda kappa: lambda x: -5 / kappa * bubble(x, still).value, kappas)
    problem = ControlProblem(
        equation=Elliptic(
            diffusion=dict(kappas),
            source=lambda x: -9 * np.hypot(x[0], x[1]),
        ),
        interface={"gamma": Interface(still, flux=lambda x: -np.maximum(wave(x), 0))},
        boundary={"boundary": Dirichlet(state["outside"])},
        control=Boundary(on="gamma", element=element),
        tracking=Tracking({tag: lambda x, y=y: y(x) - 5 * bubble(x, still).laplacian for tag, y in state.items()}),
        terms=[Tikhonov(1.0), Box(wave, 1.0)],
    )
    return InterfaceReference(problem, {"gamma": lambda x: np.maximum(wave(x), 0)}, state, adjoint)


def flux_control(
    diffusion: tuple[float, float] = (1.0, 10.0), alpha: float = 0.1, element: Discrete = "P1"
) -> InterfaceReference:
    """[kappa dy/dn] = g1 + u on the circle with jumps, Dirichlet data and an adjoint state that is not zero there.

    u* = P(+p*/alpha) with bounds -1 and 2: that sign belongs to n from the inside to the outside. With h = (x1^2 - 1)
    (x2^2 - 1) and s = (kappa_out - kappa_in)/(2 r0^2) x1 (1 - 3 r^2 + 5 x1^2 x2^2), p* = x1 h outside and
    x1 h + (r^2 - r0^2) s/kappa inside; y* = exp(x1 + x2)/kappa inside and sin x1 sin x2/kappa outside,
    f = -kappa Lap y*, y_d = y* + kappa Lap p*, g0 = [y*], g1 = [kappa dy*/dn] - u*.

    Examples
    --------
    >>> exact = flux_control()
    """
    state, value, flux = _smooth(1.0, diffusion)
    slope = (diffusion[1] - diffusion[0]) / (2 * RADIUS**2)

    def radial(x: Array) -> Array:
        return np.asarray((x**2).sum(axis=0) - RADIUS**2)

    def outer(x: Array) -> Array:
        return np.asarray(x[0] * (x[0] ** 2 - 1) * (x[1] ** 2 - 1))

    def laplacian(x: Array) -> Array:
        return np.asarray(x[0] * (2 * (x**2).sum(axis=0) - 4 + 4 * (x[1] ** 2 - 1)))

    def extra(x: Array, a: float, b: float, c: float) -> Array:
        return np.asarray(slope * x[0] * (a + b * (x**2).sum(axis=0) + c * x[0] ** 2 * x[1] ** 2))

    def laplacian_of_product(x: Array) -> Array:
        """Lap((r^2 - r0^2) s) = 4 s + 4 r ds/dr + (r^2 - r0^2) Lap s."""
        bent = slope * x[0] * (10 * x[0] ** 2 + 30 * x[1] ** 2 - 24)
        return 4 * extra(x, 1, -3, 5) + 4 * extra(x, 1, -9, 25) + radial(x) * bent

    adjoint: dict[str, Function] = {
        "inside": lambda x: outer(x) + radial(x) * extra(x, 1, -3, 5) / diffusion[0],
        "outside": outer,
    }
    target: dict[str, Function] = {
        "inside": lambda x: state["inside"](x) + diffusion[0] * laplacian(x) + laplacian_of_product(x),
        "outside": lambda x: state["outside"](x) + diffusion[1] * laplacian(x),
    }
    control = clipped(lambda x: outer(x) / alpha, -1.0, 2.0)
    problem = ControlProblem(
        equation=Elliptic(
            diffusion=dict(two_sides(diffusion)),
            source={
                "inside": lambda x: -2 * np.exp(x[0] + x[1]),
                "outside": lambda x: 2 * np.sin(x[0]) * np.sin(x[1]),
            },
        ),
        interface={"gamma": Interface(Circle(RADIUS), value=value, flux=lambda x: flux(x) - control(x))},
        boundary={"boundary": Dirichlet(state["outside"])},
        control=Boundary(on="gamma", element=element),
        tracking=Tracking(target),
        terms=[Tikhonov(alpha), Box(-1.0, 2.0)],
    )
    return InterfaceReference(problem, {"gamma": control}, state, adjoint)
