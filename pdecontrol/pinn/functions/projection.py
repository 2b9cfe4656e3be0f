"""The control that belongs to an adjoint state, pointwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...errors import ProblemError
from ...problem import L1, Boundary, Box, ControlProblem, Tikhonov
from ...terms.control import soft
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


def controlled(problem: ControlProblem, domain: Domain, places: Places) -> Array:
    """Whether the control acts at places, which are on the interface where it acts on one."""
    on = problem.control.on
    if on is None or isinstance(problem.control, Boundary):
        return np.ones(places.points.shape[1], dtype=bool)
    return domain.part(places, on)


def projection(problem: ControlProblem, domain: Domain, places: Places) -> Projection:
    """The projection at places, zero where no control acts; raises ProblemError where bounds cross."""
    tikhonov, box = problem.term(Tikhonov) or Tikhonov(0.0), problem.term(Box) or Box()
    chosen = controlled(problem, domain, places)
    data = {
        "the lower bound of Box": box.lower,
        "the upper bound of Box": box.upper,
        "the reference of Tikhonov": tikhonov.reference,
    }
    lower, upper, reference = np.zeros((3, chosen.size))
    for values, (name, item) in zip((lower, upper, reference), data.items(), strict=True):
        values[chosen] = domain.values(item, places.only(chosen), name)
    crossed = lower > upper
    if crossed.any():
        k = int(np.argmax(crossed))
        where = f"x = {places.points[:, k].round(6).tolist()}" + ("" if places.t is None else f", t = {places.t:.6g}")
        raise ProblemError(f"Box: the lower bound {lower[k]:.6g} is above the upper bound {upper[k]:.6g} at {where}.")
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
