"""The route that turns local errors of a flux into a bound in L2."""

from __future__ import annotations

from ..arrays import Array
from ..errors import ProblemError
from .routes import Form, Route, convex, energy
from .triangles import Triangles


def regularity(triangles: Triangles, kappa: Array, reaction: Array, dirichlet: Array) -> Route:
    """||y - y_h|| <= route.bound(rho) for -div(kappa grad y) + c y = r: the best route that is proved there.

    Parameters
    ----------
    triangles : the mesh.
    kappa, reaction : (n,), kappa > 0 and c, constant on each triangle.
    dirichlet : (f,), whether each facet is under Dirichlet conditions; natural ones hold on the rest of the boundary.

    Raises
    ------
    ProblemError
        If no route applies.
    """
    form = Form(triangles, kappa, reaction, dirichlet)
    for route in (convex(form), energy(form)):
        if route is not None:
            return route
    raise ProblemError("no bound")
