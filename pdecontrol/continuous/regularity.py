"""The route that turns local errors of a flux into a bound in L2."""

from __future__ import annotations

import numpy as np

from ..errors import ProblemError
from .computed import computed
from .constants import interpolation_constants
from .corners import corner
from .routes import Form, Route, convex, energy

ENOUGH = 3.0  # times what the bound is on convex polygons, for which no constant is computed on the mesh


def regularity(form: Form) -> Route:
    """||y - y_h|| <= route.bound(rho) for -div(kappa grad y) + c y = r, by the best route that is proved there.

    Routes are compared for local errors rho_K in inverse proportion to C_K, as refinement makes them.

    Raises
    ------
    ProblemError
        If the reaction varies or is negative and the equation is not known to be coercive.

    Examples
    --------
    >>> from pdecontrol.continuous.triangles import Triangles
    >>> from pdecontrol.mesh.shapes import unit_square
    >>> mesh = unit_square(8)
    >>> triangles = Triangles(mesh.points, mesh.cells)
    >>> regularity(Form(triangles, np.ones(128), np.zeros(128), triangles.boundary)).name
    'convex'
    """
    kappa, reaction, count = form.kappa, form.reaction, form.triangles.count
    if not np.isfinite(form.growth):
        raise ProblemError(
            f"reaction: it is between {reaction.min():g} and {reaction.max():g}, and the equation is not known to be "
            "coercive, so that there is no bound on its error in L2."
        )
    route = convex(form)
    if route is not None:
        return route
    explicit, even = corner(form), 1 / interpolation_constants(form.triangles)
    if explicit is not None and explicit.bound(even) <= ENOUGH * form.growth / kappa.min() * np.sqrt(count):
        return explicit
    routes = [each for each in (explicit, computed(form), energy(form)) if each]
    return min(routes, key=lambda each: each.bound(even))
