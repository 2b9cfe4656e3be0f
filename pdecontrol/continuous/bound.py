"""||z - u*|| for the continuous optimum u*, by equilibrated fluxes of a state and an adjoint state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..continuum import Parts
from ..errors import ProblemError
from .constants import poincare_constants
from .flux import LinearFlux
from .intervals import IntervalFlux, Intervals, interval_route, lowest_eigenvalue
from .optimum import Optimality, Point
from .quadratic_flux import QuadraticFlux
from .regularity import regularity
from .routes import Form
from .samples import moments_of, quadratic, squares
from .statement import NoRouteError

Fluxes = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True, eq=False)
class Bound:
    """||z - u*|| <= (e + sqrt(e^2 + alpha d^2)) / (2 alpha) with e and d by their parts.

    Attributes
    ----------
    control, state, gap : bounds on ||z - u*||, on ||S(z) - S(u*)|| in the norm of what is tracked, on J(z) - J(u*).
    norm : ||z||, less what interpolated data may make of it.
    parts : what adds up to the bound of the control.
    shares : (n,), what each cell adds to the parts of the adjoint and the state.
    """

    control: float
    state: float
    gap: float
    norm: float
    parts: Parts
    shares: Array


class Estimator:
    """The bound for points of an optimality system, by a route from fluxes to states.

    Notes
    -----
    Let q~ be any function, z = argmin G + <q~, .>, and y any function in the space of states. With the misfit
    m = w y - (w y_d - l), e >= ||q~ - S* m|| and d >= |S(z) - y| = (int w (S(z) - y)^2)^(1/2), strong convexity of G
    gives alpha ||z - u*||^2 + |S(z) - S(u*)|^2 <= e ||z - u*|| + d |S(z) - S(u*)|. Here y and p are Galerkin solutions
    for f + z and for m, so that d and e are errors of Galerkin solutions with known data, and ||p - q~||. What is
    returned holds for the minimiser of q.
    """

    def __init__(self, optimality: Optimality) -> None:
        self.optimality, statement = optimality, optimality.statement
        cells, diffusion, reaction, dirichlet = (
            statement.cells, statement.diffusion, statement.reaction, statement.dirichlet
        )  # fmt: skip
        try:
            if isinstance(cells, Intervals):
                self.lowest = lowest_eigenvalue(cells, diffusion, reaction, dirichlet)
                self.route = interval_route(cells, diffusion, reaction, self.lowest)
                self._fluxes: Fluxes = IntervalFlux(cells, diffusion, dirichlet)
                self._poincare = cells.volumes / np.pi
            else:
                form = Form(cells, diffusion, reaction, dirichlet)
                self.lowest = form.lowest
                self.route = regularity(form)
                flux = LinearFlux if optimality.degree == 1 else QuadraticFlux
                self._fluxes = flux(cells, diffusion, dirichlet)
                self._poincare = poincare_constants(cells)
        except ProblemError as error:
            raise NoRouteError(str(error)) from None
        if not self.lowest > 0:
            raise NoRouteError("the equation is not known to be coercive")
        self._corners, self._degree = len(cells.cells), optimality.degree

    def of(self, point: Point) -> Bound:
        """The bound at a point."""
        statement, route, lowest = self.optimality.statement, self.route, self.lowest
        alpha, weighted = statement.cost.alpha, float(np.sqrt(statement.weight.max()))
        rho_state, rho_adjoint = self._state(point), self._adjoint(point)
        # What integrals of data err by acts on the state, and is a load of which the flux takes no notice.
        state = weighted * (route.bound(rho_state) + (point.state.defect + 2 * statement.source.error) / lowest)
        adjoint = route.bound(rho_adjoint) + (point.adjoint.defect + 2 * statement.target.error) / lowest
        data, off = weighted * statement.off / lowest, float(np.linalg.norm(point.minimiser.off))
        apart = off / alpha  # the minimiser of q and that of q~, of which y is the state, are no farther apart
        e, d = adjoint + point.residual + off, state + data
        both = max(float(np.hypot(e, np.sqrt(alpha) * d)), float(np.finfo(float).tiny))
        of_e, of_d = (1 + e / both) / (2 * alpha), d / (2 * both)  # (e + both) / (2 alpha) = of_e e + of_d d
        own_e, own_d = adjoint + point.residual, d + weighted * apart / lowest
        norm = float(np.sqrt(point.minimiser.points.sums(point.minimiser.z**2, statement.volumes.size).sum()))
        return Bound(
            control=(e + both) / (2 * alpha) + apart,
            state=(own_d + float(np.hypot(own_d, own_e / np.sqrt(alpha)))) / 2,
            gap=own_d**2 / 2 + own_e**2 / (2 * alpha),
            norm=max(norm - apart - statement.off, 0.0),
            parts=Parts(of_e * adjoint, of_e * (point.residual + off) + apart, of_d * state, of_d * data),
            shares=of_e * route.shares(rho_adjoint) + of_d * weighted * route.shares(rho_state),
        )

    def _state(self, point: Point) -> Array:
        """rho of y, for the right-hand side f + z - c y."""
        statement, z = self.optimality.statement, point.minimiser
        volumes, degree = statement.volumes, self._degree - 1
        local: Array = statement.source.local - statement.reaction * quadratic(
            point.state.y, statement.dofs, self._corners
        )
        moments = moments_of(local, volumes) + point.control
        left = np.sqrt(squares(local, volumes, degree) + statement.source.rest**2)
        left += z.points.oscillation(z.z, volumes, degree)
        return self._fluxes(point.state.y[statement.dofs], moments, statement.flux) + self._poincare * left

    def _adjoint(self, point: Point) -> Array:
        """rho of p, for the right-hand side w y - (w y_d - l) - c p."""
        statement = self.optimality.statement
        volumes, degree = statement.volumes, self._degree - 1
        y, p = (quadratic(a, statement.dofs, self._corners) for a in (point.state.y, point.adjoint.y))
        local: Array = statement.weight * y - statement.target.local - statement.reaction * p
        left = np.sqrt(squares(local, volumes, degree) + statement.target.rest**2)
        moments = moments_of(local, volumes)
        return self._fluxes(point.adjoint.y[statement.dofs], moments, statement.functional) + self._poincare * left
