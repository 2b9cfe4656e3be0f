"""The distance of controls to the optimum of the continuous problem, for one problem on one mesh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..arrays import Array, Data, sample
from ..continuum import Continuous
from ..fem.backends import Embedded
from ..fem.steady import SteadyMap
from ..fem.system import System
from ..field import Field
from ..mesh.mesh import Mesh
from ..problem import ControlProblem
from .bound import Bound, Estimator
from .data import norms
from .galerkin import Galerkin
from .optimum import Optimality, Point
from .samples import Points
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
        self.problem, self.mesh, self.degree = problem, mesh, degree
        self.map = map or SteadyMap(System(problem, Embedded(degree, "direct").engine(mesh)))
        self.statement = stated(problem, self.map.system, mesh)
        self.optimality = Optimality(self.statement, Galerkin(self.map, self.statement))
        self.estimator = Estimator(self.optimality)

    def on_nodes(self, adjoint: Field) -> Array:
        """An adjoint state, of any mesh, by its values at the nodes of this one."""
        own = adjoint.space is self.map.solution
        return adjoint.array if own else adjoint(self.map.system.engine.nodes)

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
                f"difference in the bound{self.statement.sampled}; rounding of fluxes neglected"
            ),
            order=order,
        )

    def certificate_of(self, u: Data, point: Point, bound: Bound) -> Continuous:
        """What is known of a control u, a number or a function: ||u - u*|| <= ||u - z|| + ||z - u*||, by quadrature."""
        statement = self.statement
        q, cost = point.q[statement.dofs], statement.cost

        def values(points: Points) -> Array:
            return sample(u, points.places(statement.corners), self.mesh.diameter, "the control")

        def off(points: Points) -> Array:
            return values(points) - cost.argmin(points.values(q), *cost.at(points))[0]

        (_, distance), (norm, _) = (norms(each, cost.cells, statement.volumes, self.mesh.dim) for each in (off, values))
        own, distance = self.certificate(bound), distance + statement.off
        return replace(
            own, bound=bound.control + distance, norm=norm, state_bound=None, gap=None,
            parts=own.parts._replace(distance=distance),
        )  # fmt: skip
