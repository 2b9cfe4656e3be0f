"""A solution map given by a matrix: S(u) = L u + offset in weighted inner products, with errors on request."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pdecontrol.counter import Counter
from pdecontrol.maps import Adjoint, Linearisation, SolutionMap
from pdecontrol.space import Space, product
from pdecontrol.terms import ControlCost, LinearFunctional, Objective, Quadratic, StateCost


class MatrixMap(SolutionMap):
    affine = True
    exact = twice = True
    arithmetic = "products with a matrix"

    def __init__(
        self, matrix, offset, control: Space, observation: Space, adjoint_noise=None, state_noise=None
    ) -> None:
        self.matrix, self.offset = matrix, offset
        self.control, self.solution = control, observation
        self.observation = observation if observation.factors else product([observation])
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

    def second(self, h, w, adjoint, outer):
        return self.adjoint(outer(self.tangent(h)))


def random_spd(generator, size: int):
    factor = generator.normal(size=(size, size))
    return factor @ factor.T / size + 0.1 * np.eye(size)


def random_problem(
    generator, alpha: float, noise: float = 0.0, functionals: int | None = None, observations: int | None = None
):
    """A problem with its map and its optimum: u* = argmin G + <S* p, .> for any p, and the target S(u*) - p.

    Of random size, with ill-conditioned L, weights, one or two observations, up to two linear functionals, or as many
    as given, box (with or without zero), L1 weight and reference; alpha = 0 too. Solves err by `noise`.
    """
    n = int(generator.integers(2, 20))
    spaces = []
    for m in generator.integers(3, 12, size=observations or generator.integers(1, 3)):
        weights = np.exp(generator.uniform(-2.0, 2.0)) * generator.uniform(0.1, 2.0, m)
        spaces.append(Space(random_spd(generator, m) if generator.random() < 0.5 else weights))
    tracked = sum(space.size for space in spaces)
    linear = int(generator.integers(0, 3)) if functionals is None else functionals
    observation = product([*spaces, Space(np.ones(linear))]) if linear else product(spaces)

    left, _ = np.linalg.qr(generator.normal(size=(tracked, tracked)))
    right, _ = np.linalg.qr(generator.normal(size=(n, n)))
    values = np.exp(-generator.uniform(0.0, 6.0, min(tracked, n)))
    matrix = left[:, : values.size] @ np.diag(values) @ right[: values.size]
    size = (alpha or 1.0) * np.exp(generator.uniform(-1.0, 1.0))  # of S* p
    control = Space(generator.uniform(0.1, 2.0, n))
    matrix = np.vstack([matrix, size * generator.normal(size=(linear, n))])

    centre, width = generator.normal(size=n), np.exp(generator.uniform(-2.0, 3.0)) * generator.uniform(0.5, 1.5, n)
    infinite = alpha > 0 and generator.random() < 0.2
    lower = np.full(n, -np.inf) if infinite else centre - width
    upper = np.full(n, np.inf) if infinite else centre + width
    reference = generator.choice([0.0, 1.0]) * generator.normal(size=n)
    cost = ControlCost(control, alpha, reference, size * generator.choice([0.0, 0.1, 0.5]), lower, upper)

    def errors(space: Space, size: float):
        def draw():
            v = generator.normal(size=space.size)
            return size * v / space.norm(v)

        return draw if noise else None

    map = MatrixMap(
        matrix, generator.normal(size=tracked + linear), control, observation, errors(control, noise),
        errors(observation, noise / np.sqrt(alpha or 1.0)),
    )  # fmt: skip
    p = np.concatenate([generator.normal(size=tracked), np.ones(linear)])
    p[:tracked] *= size / np.abs(control.riesz(matrix.T @ observation.dual(p))).max()
    optimum = cost.argmin(control.riesz(matrix.T @ observation.dual(p)))
    targets = observation.split(matrix @ optimum + map.offset - p)
    functionals = [Quadratic(space, target) for space, target in zip(spaces, targets, strict=False)]
    functionals += [LinearFunctional(observation.factors[-1])] if linear else []
    return Objective(StateCost(functionals), cost), map, optimum
