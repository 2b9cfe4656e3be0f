"""The distance of controls to the optimum of the continuous problem, for one problem on one mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..arrays import Array, Data, sample
from ..continuum import Continuous
from ..fem.backends import Embedded
from ..fem.steady import SteadyMap
from ..fem.system import System
from ..mesh.mesh import Mesh
from ..problem import ControlProblem
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

    def certificate(self, bound: Bound, order: float = np.nan) -> Continuous:
        """What is known of the minimiser at a point."""
        return Continuous(
            bound=bound.control,
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

    def certificate_of(self, u: Data, point: Point, bound: Bound) -> Continuous:
        """What is known of a control u, a number or a function: ||u - u*|| <= ||u - z|| + ||z - u*||, by quadrature."""
        q, corners, cost = point.q[self.statement.dofs], self.statement.corners, self.statement.cost

        def values(points: Points) -> Array:
            return sample(u, points.places(corners), self.mesh.diameter, "the control")

        def off(points: Points) -> Array:
            return values(points) - cost.argmin(points.values(q), *cost.at(points))[0]

        distance = self._norm(off) + float(np.linalg.norm(point.minimiser.off)) / cost.alpha
        own = self.certificate(bound)
        return replace(
            own, bound=bound.control + distance, norm=self._norm(values), state_bound=None, gap=None,
            parts=own.parts._replace(distance=distance),
        )  # fmt: skip

    def _norm(self, function: Callable[[Points], Array]) -> float:
        """The norm of a function where there is a control, and what two rules differ by."""
        volumes, cells = self.statement.volumes, self.statement.cost.cells
        found = integrated(lambda points: function(points) ** 2, cells, self.statement.corners, volumes)
        square = moments_of(found.local, volumes).sum() + found.error * np.sqrt(volumes[cells].sum())
        return float(np.sqrt(max(square, 0.0)))
