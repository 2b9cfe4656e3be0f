"""A solution map given by a matrix: S(u) = L u + offset in weighted inner products, with errors on request."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pdecontrol.counter import Counter
from pdecontrol.maps import Adjoint, Linearisation, SolutionMap
from pdecontrol.space import Space, product
from pdecontrol.terms import ControlCost, Objective, Quadratic, StateCost


class MatrixMap(SolutionMap):
    affine = True
    exact = twice = True
    arithmetic = "products with a matrix"

    def __init__(
        self, matrix, offset, control: Space, observation: Space, adjoint_noise=None, state_noise=None
    ) -> None:
        self.matrix, self.offset = matrix, offset
        self.control, self.observation, self.solution = control, product([observation]), observation
        self.adjoint_noise, self.state_noise = adjoint_noise, state_noise
        self.solves = Counter()
        self.fingerprint = "matrix"

    def at(self, u, start=None, accuracy=None):
        return MatrixLinearisation(self, u)


class MatrixLinearisation(Linearisation):
    def __init__(self, map: MatrixMap, u) -> None:
        self.map, self.u = map, u

    @cached_property
    def _solved(self):
        with self.map.solves.solving("state"):
            y = self.map.matrix @ self.u + self.map.offset
        noise = self.map.state_noise() if self.map.state_noise is not None else np.zeros_like(y)
        return y + noise, self.map.observation.norm(noise)

    @property
    def value(self):
        return self._solved[0]

    state = value

    @property
    def error(self):
        return self._solved[1]

    def tangent(self, h):
        with self.map.solves.solving("tangent"):
            return self.map.matrix @ h

    def solve_adjoint(self, w, start=None):
        with self.map.solves.solving("adjoint"):
            q = self.map.control.riesz(self.map.matrix.T @ self.map.observation.dual(w))
        error = 0.0
        if self.map.adjoint_noise is not None:
            noise = self.map.adjoint_noise()
            q, error = q + noise, self.map.control.norm(noise)
        return Adjoint(q, error, w)

    def second(self, h, adjoint, outer):
        return self.adjoint(outer(self.tangent(h)))


def random_spd(generator, size: int):
    factor = generator.normal(size=(size, size))
    return factor @ factor.T / size + 0.1 * np.eye(size)


def random_problem(generator, alpha: float, noise: float = 0.0) -> tuple[Objective, MatrixMap]:
    """A problem with random size, ill-conditioned L, weights, box (with or without zero), L1 weight and reference."""
    m, n = generator.integers(3, 20, size=2)
    left, _ = np.linalg.qr(generator.normal(size=(m, m)))
    right, _ = np.linalg.qr(generator.normal(size=(n, n)))
    values = np.exp(-generator.uniform(0.0, 6.0, min(m, n)))
    matrix = left[:, : values.size] @ np.diag(values) @ right[: values.size]
    control = Space(generator.uniform(0.1, 2.0, n))
    observation = Space(random_spd(generator, m) if generator.random() < 0.5 else generator.uniform(0.1, 2.0, m))
    centre = generator.normal(size=n)
    width = np.exp(generator.uniform(-2.0, 3.0)) * generator.uniform(0.5, 1.5, n)
    infinite = generator.random() < 0.2
    lower = np.full(n, -np.inf) if infinite else centre - width
    upper = np.full(n, np.inf) if infinite else centre + width
    beta = generator.choice([0.0, 0.01, 0.3])
    reference = generator.choice([0.0, 1.0]) * generator.normal(size=n)

    def errors(space: Space, size: float):
        def draw():
            v = generator.normal(size=space.size)
            return size * v / space.norm(v)

        return draw if noise else None

    map = MatrixMap(
        matrix, generator.normal(size=m), control, observation, errors(control, noise),
        errors(observation, noise / np.sqrt(alpha)),
    )  # fmt: skip
    target = generator.normal(size=m)
    state = StateCost([Quadratic(observation, target)])
    return Objective(state, ControlCost(control, alpha, reference, beta, lower, upper)), map


def manufactured(generator, alpha: float) -> tuple[Objective, MatrixMap, np.ndarray]:
    """A random problem whose optimum is known: y_d is chosen such that u* = argmin G + <S*(S(u*) - y_d), .>.

    Where L* is onto, p* with S* p* = q* exists for any q*: hence fewer controls than observations.
    """
    n = int(generator.integers(2, 8))
    m = n + int(generator.integers(2, 8))
    matrix = generator.normal(size=(m, n)) / np.sqrt(m)
    control = Space(generator.uniform(0.5, 2.0, n))
    observation = Space(generator.uniform(0.5, 2.0, m))
    beta = float(generator.choice([0.0, 0.5])) * alpha
    cost = ControlCost(control, alpha, np.zeros(n), beta, -np.ones(n), np.ones(n))
    q = alpha * generator.normal(size=n) * 1.5
    optimum = cost.argmin(q)
    map = MatrixMap(matrix, generator.normal(size=m), control, observation)
    p = np.linalg.lstsq(matrix.T @ np.diag(observation.mass), control.dual(q), rcond=None)[0]
    target = matrix @ optimum + map.offset - p
    return Objective(StateCost([Quadratic(observation, target)]), cost), map, optimum
