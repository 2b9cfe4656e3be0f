"""Reference problems with more than one inclusion."""

from __future__ import annotations

from ..arrays import Array
from ..problem.interfaces import Interface
from ..problem.shapes import Circle
from .exact import Element, Function, InterfaceReference, bubble, distributed, on_parts

CIRCLES = (Circle(0.25, (-0.5, -0.45)), Circle(0.2, (0.5, -0.5)), Circle(0.3, (0.45, 0.45)), Circle(0.25, (-0.45, 0.5)))
DIFFUSION = {"first": 1.0, "second": 5.0, "third": 10.0, "fourth": 0.1, "outside": 2.0}


def inclusions(bounds: tuple[float, float] = (-1.0, 1.0), element: Element = "P1") -> InterfaceReference:
    """Four circles with kappa = 1, 5, 10 and 0.1 in 2, y* = 10 (2 + x1) S/kappa, p* = -15 S/kappa.

    No jumps; u* = P(-p*), f = -20 dS/dx1 - 10 (2 + x1) Lap S - u*, y_d = y* - 15 Lap S. The bounds hold on 9 %.

    Examples
    --------
    >>> sorted(inclusions().problem.interface)
    ['gamma 1', 'gamma 2', 'gamma 3', 'gamma 4']
    """

    def force(x: Array) -> Array:
        s = bubble(x, *CIRCLES)
        return -20 * s.gradient[0] - 10 * (2 + x[0]) * s.laplacian

    def state(kappa: float) -> Function:
        return lambda x: 10 / kappa * (2 + x[0]) * bubble(x, *CIRCLES).value

    interface = {
        f"gamma {number}": Interface(circle, inside=tag)
        for number, (tag, circle) in enumerate(zip(DIFFUSION, CIRCLES, strict=False), start=1)
    }
    forces = dict.fromkeys(DIFFUSION, force)
    return distributed(DIFFUSION, interface, on_parts(state, DIFFUSION), forces, 15.0, bounds, element)
