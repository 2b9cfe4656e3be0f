"""The optimality system with z = argmin G + <q, .> integrated exactly, by Newton's method from an adjoint state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array
from .galerkin import Galerkin, Solution
from .kinks import Minimiser, minimiser
from .samples import moments_of
from .statement import Statement

STEPS = 10  # of Newton's method
INNER = 30  # of conjugate gradients in each
HALVINGS = 4


@dataclass(frozen=True, eq=False)
class Point:
    """q with z = argmin G + <q, .>, the Galerkin solutions y for f + z and p for w y - (w y_d - l), and ||p - q||."""

    q: Array
    minimiser: Minimiser
    control: Array  # int z lam_i lam_j
    state: Solution
    adjoint: Solution
    residual: float


class Optimality:
    """q = A^-1 (W A^-1 (f + z(q)) - target): the optimality system of a statement on one mesh."""

    def __init__(self, statement: Statement, galerkin: Galerkin) -> None:
        self.statement, self.galerkin = statement, galerkin
        self.degree = galerkin.map.system.engine.degree
        volumes = statement.volumes
        self._source = moments_of(statement.source.local, volumes)
        self._fixed = galerkin.load(self._source, statement.flux)
        self._target = galerkin.load(moments_of(statement.target.local, volumes), -statement.functional)
        self.mass, self.weight = galerkin.mass(np.ones(volumes.size)), galerkin.mass(statement.weight)

    def norm(self, y: Array) -> float:
        """||y||."""
        return float(np.sqrt(max(y @ (self.mass @ y), 0.0)))

    def objective(self, point: Point) -> float:
        """J(z), of the discrete state."""
        statement, z, y = self.statement, point.minimiser, point.state.y
        cost, (reference, *_) = statement.cost, statement.cost.at(z.points)
        of_control = cost.alpha / 2 * (z.z - reference) ** 2 + cost.beta * np.abs(z.z)
        of_state = y @ (self.weight @ y) / 2 - self._target @ y + statement.constant
        return float(of_state + z.points.sums(of_control, statement.volumes.size).sum())

    def at(self, q: Array) -> Point:
        """Two solves."""
        statement, galerkin = self.statement, self.galerkin
        volumes = statement.volumes
        z = minimiser(statement.cost, q, statement.dofs, volumes)
        control = z.points.moments(z.z, volumes.size)
        state = galerkin.solve(self._fixed + galerkin.load(control), lifted=True)
        adjoint = galerkin.solve(self.weight @ state.y - self._target)
        return Point(q, z, control, state, adjoint, self.norm(adjoint.y - q))

    def step(self, point: Point, forcing: float) -> Array:
        """q of Newton's method: (1 + K) s = -A^-1 M_i (p - q)/alpha, K = A^-1 M_i A^-1 W/alpha, q = p + A^-1 W s.

        M_i is the mass where z is inactive. By conjugate gradients in the inner product of W, in which K is
        self-adjoint.
        """
        inverse, weight = self.galerkin.apply, self.weight
        inactive = self._inactive(point)
        r = -inverse(inactive @ (point.adjoint.y - point.q))
        change = np.zeros_like(r)
        direction, weighted = r, weight @ r
        square = first = float(r @ weighted)
        for _ in range(INNER):
            if square <= forcing**2 * first or square == 0.0:
                break
            back = inverse(weight @ direction)
            image = direction + inverse(inactive @ back)
            step = square / float(direction @ (weight @ image))
            change += step * back
            r = r - step * image
            new = float(r @ (weight @ r))
            direction, square = r + new / square * direction, new
        return point.adjoint.y + change

    def _inactive(self, point: Point) -> Any:
        """The mass where z is inactive, divided by alpha."""
        statement, z = self.statement, point.minimiser
        count = statement.volumes.size
        weights, size = z.inactive / statement.cost.alpha, len(statement.dofs)
        if self.degree == 1:
            return self.galerkin.mass(z.points.moments(weights, count))
        basis = [z.points.values(np.broadcast_to(row[:, None], (size, count))) for row in np.eye(size)]
        local = np.empty((size, size, count))
        for i, row in enumerate(basis):
            for j in range(i + 1):
                local[i, j] = local[j, i] = z.points.sums(weights * row * basis[j], count)
        return self.galerkin.mass(local)

    def improve(self, point: Point, goal: float) -> Point:
        """Newton's method until ||p - q|| is no more than a goal, or falls no further."""
        for _ in range(STEPS):
            if point.residual <= goal:
                break
            forcing = min(0.1, max(0.2 * goal / point.residual, 1e-8))
            target = self.step(point, forcing)
            for halving in range(HALVINGS):
                new = self.at(point.q + (target - point.q) / 2**halving)
                if new.residual < 0.9 * point.residual:
                    break
            else:
                return min(point, new, key=lambda item: item.residual)
            point = new
        return point
