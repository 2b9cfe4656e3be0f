"""Reference problems with interfaces: exact solutions on both sides of them, or values from converged discretisations.

All are posed on the square (-1, 1)^2; where there is one closed curve, its tag is "gamma", that of the parts "inside"
and "outside".

Notes
-----
Those on the circle r0 = 1/2 with kappa = (1, 10) and no jumps, on the star, with a control on the circle and in time
are by M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, SIAM J. Sci. Comput. 47 (2025), arXiv 2308.06709. In them

    S = (r^2 - r0^2) (x1^2 - 1) (x2^2 - 1),
    Lap S = 2 (x1^4 + x2^4 + 12 x1^2 x2^2) - (16 + 2 r0^2) r^2 + 4 (1 + r0^2),

and adjoint states that are multiples of S/kappa have no jumps in value or flux. With several circles S has a factor for
each. P clips to the bounds, and alpha = 1 where it is not said.
"""

from .exact import Element, InterfaceReference, Sides, bubble
from .in_time import heat, moving
from .several import inclusions
from .steady import (
    RADIUS,
    STAR_MAXIMUM,
    STAR_NORM,
    circle,
    control_on_circle,
    flux_control,
    scaled,
    star,
)

__all__ = [
    "RADIUS",
    "STAR_MAXIMUM",
    "STAR_NORM",
    "Element",
    "InterfaceReference",
    "Sides",
    "bubble",
    "circle",
    "control_on_circle",
    "flux_control",
    "heat",
    "inclusions",
    "moving",
    "scaled",
    "star",
]
