"""The control that belongs to an adjoint state, pointwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..problem import L1, Boundary, Box, ControlProblem, Tikhonov
from ..terms.control import soft
from .domain import Domain, Places


class Projection(NamedTuple):
    """u = argmin_v alpha/2 (v - r)^2 + beta |v| + s p v over lower <= v <= upper, with the sign s.

    On an interface s = -1, elsewhere s = 1 (see `Interface`). Bounds and r are arrays, values at points; alpha and beta
    too, where several problems are solved at once.
    """

    alpha: float | Array
    beta: float | Array
    sign: float
    lower: Array
    upper: Array
    reference: Array

    def value(self, p: Array) -> Array:
        """u (n,) for p (n,)."""
        q = self.sign * p
        if np.all(self.alpha > 0):
            return np.clip(soft(self.alpha * self.reference - q, self.beta) / self.alpha, self.lower, self.upper)
        inner = np.clip(0.0, self.lower, self.upper)
        return np.where(q < -self.beta, self.upper, np.where(q > self.beta, self.lower, inner))

    def slope(self, p: Array) -> Array:
        """du/dp: -s/alpha strictly inside the box and off the kink, else zero."""
        v = self.alpha * self.reference - self.sign * p
        u = soft(v, self.beta) / self.alpha
        smooth = (np.abs(v) > self.beta) | np.equal(self.beta, 0)
        return np.where(smooth & (u > self.lower) & (u < self.upper), -self.sign / self.alpha, 0.0)


def projection(problem: ControlProblem, domain: Domain, places: Places) -> Projection:
    """The projection at places."""
    tikhonov, box = problem.term(Tikhonov) or Tikhonov(0.0), problem.term(Box) or Box()
    lower, upper = (
        domain.values(bound, places, f"the {name} bound of Box")
        for name, bound in (("lower", box.lower), ("upper", box.upper))
    )
    reference = domain.values(tikhonov.reference, places, "the reference of Tikhonov")
    beta = (problem.term(L1) or L1(0.0)).beta
    sign = -1.0 if isinstance(problem.control, Boundary) else 1.0
    return Projection(tikhonov.alpha, beta, sign, lower, upper, reference)


def joined(projections: Sequence[Projection]) -> Projection:
    """The projection at all the places of several, with one sign."""
    weights = [(item.alpha, item.beta) for item in projections]
    if len(set(weights)) == 1:
        alpha, beta = weights[0]
    else:
        sizes = [item.lower.size for item in projections]
        alpha, beta = np.repeat(np.array(weights), sizes, axis=0).T
    arrays = (np.concatenate([item[k] for item in projections]) for k in (3, 4, 5))
    return Projection(alpha, beta, projections[0].sign, *arrays)
