"""The distance of controls to the optimum of the continuous problem, for one problem on one mesh."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..continuum import Continuous
from ..fem.backends import Embedded
from ..fem.steady import SteadyMap
from ..fem.system import System
from ..field import Field
from ..mesh.mesh import Mesh
from ..problem import ControlProblem
from ..projected import Projection
from .bound import Bound, Estimator
from .data import integrated
from .galerkin import Galerkin
from .optimum import Optimality, Point
from .samples import Points, moments_of
from .statement import NoRouteError, stated, unsupported

NEGLIGIBLE = 0.01  # what is left of the optimality system, relative to the bound


class Analysis:
    """Bounds to the continuous optimum by states of degree 1 or 2 on a mesh; raises NoRouteError where there are none.

    Parameters
    ----------
    problem, mesh, degree : whose optimum is meant, and the states that are compared with those of the equation.
    map : of the problem on this mesh with states of that degree, where the embedded engine has made one.
    """

    def __init__(self, problem: ControlProblem, mesh: Mesh, degree: int, map: SteadyMap | None = None) -> None:
        reason = unsupported(problem, mesh, degree)
        if reason is not None:
            raise NoRouteError(reason)
        self.problem, self.mesh = problem, mesh
        self.map = map or SteadyMap(System(problem, Embedded(degree, "direct").engine(mesh)))
        self.statement = stated(problem, self.map.system, mesh)
        self.optimality = Optimality(self.statement, Galerkin(self.map, self.statement))
        self.estimator = Estimator(self.optimality)

    def improved(self, q: Array) -> tuple[Point, Bound]:
        """Newton's method from an adjoint state until what is left of the optimality system is negligible."""
        point = self.optimality.at(q)
        bound = self.estimator.of(point)
        for _ in range(2):
            goal = NEGLIGIBLE * self.statement.cost.alpha * (bound.control - bound.parts.projection)
            if point.residual <= goal:
                break
            point = self.optimality.improve(point, goal)
            bound = self.estimator.of(point)
        return point, bound

    def certificate(self, bound: Bound, distance: float = 0.0, order: float = np.nan) -> Continuous:
        """What is known of the minimiser at a point, or of a control at a distance from it."""
        return Continuous(
            bound=bound.control + distance,
            norm=bound.norm,
            state_bound=bound.state,
            gap=bound.gap,
            route=self.estimator.route.name,
            unknowns=int(self.map.system.lifting.free.size),
            parts=bound.parts,
            assumption=(
                f"{self.estimator.route.assumption}; integrals of data by two rules that agree to 1e-10 or have their "
                "difference in the bound; rounding of fluxes neglected"
            ),
            order=order,
        )

    def control(self, point: Point) -> Projection:
        """The minimiser at a point as a function."""
        zero = Field(self.map.control.zeros(), self.map.control, "control")
        return Projection(self.problem, Field(point.q, self.map.solution, "adjoint"), zero)

    def distance(self, point: Point, u: Field) -> float:
        """||u - z|| for a control u, known at all points where there is one, by quadrature."""
        statement, q = self.statement, point.q[self.statement.dofs]
        corners, cost = statement.triangles.corners, statement.cost

        def squared(points: Points) -> Array:
            z, _ = cost.argmin(points.values(q), *cost.at(points))
            return (u(points.places(corners)) - z) ** 2

        found = integrated(squared, statement.cost.cells, corners, statement.triangles.areas)
        volumes = statement.triangles.areas
        square = moments_of(found.local, volumes).sum() + found.error * np.sqrt(volumes[statement.cost.cells].sum())
        return float(np.sqrt(max(square, 0.0)) + np.linalg.norm(point.minimiser.off) / statement.cost.alpha)
