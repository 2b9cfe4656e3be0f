"""Controls as functions: what the optimality condition makes of an adjoint state, at all points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from .arrays import Array, Data, sample, undivided
from .errors import DataError
from .field import Field
from .problem import L1, Box, ControlProblem, Tikhonov
from .terms.control import soft

NAMES = {
    "reference": "the reference of Tikhonov", "lower": "the lower bound of Box", "upper": "the upper bound of Box"
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Projection:
    """z = clip(soft(alpha r - q, beta) / alpha, lower, upper), pointwise.

    Parameters
    ----------
    alpha, beta, reference, lower, upper : of the cost of the control, alpha > 0.
    adjoint : q.
    nodal : a field of the controls, where there are such.
    """

    alpha: float
    beta: float
    reference: Data
    lower: Data
    upper: Data
    adjoint: Field
    nodal: Field

    @classmethod
    def of(cls, problem: ControlProblem, adjoint: Field, nodal: Field) -> Projection:
        """That of the terms of a problem, which has a Tikhonov term."""
        tikhonov, box, l1 = problem.term(Tikhonov), problem.term(Box) or Box(), problem.term(L1) or L1(0.0)
        assert tikhonov is not None
        return cls(tikhonov.alpha, l1.beta, tikhonov.reference, box.lower, box.upper, adjoint, nodal)

    @property
    def numbers(self) -> dict[str, float] | None:
        """The weights and the data where these are numbers; else None."""
        data = {name: getattr(self, name) for name in NAMES}
        if not all(isinstance(item, Real) for item in data.values()):
            return None
        return {"alpha": self.alpha, "beta": self.beta} | {name: float(item) for name, item in data.items()}

    def undivided(self) -> Projection:
        """The same function on every process, each of which may then call it alone."""
        data = {name: undivided(getattr(self, name)) for name in NAMES}
        return replace(self, **data, adjoint=self.adjoint.undivided(), nodal=self.nodal.undivided())

    def gather(self) -> Projection:
        """The same function on rank 0 alone."""
        return replace(self, adjoint=self.adjoint.gather(), nodal=self.nodal.gather())

    def evaluate(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        reference, lower, upper = self._data(points, side)
        z = soft(self.alpha * reference - self.adjoint(points, side=side), self.beta) / self.alpha
        return np.clip(z, lower, upper)

    def gradient(self, points: Array, t: float | None = None, side: str | None = None) -> Array:
        """Zero at the bounds and where z is zero by the L1 term, else -grad q / alpha; for data that are numbers."""
        if self.numbers is None:
            raise DataError("the gradient of a control is known where its bounds and its reference are numbers.")
        reference, lower, upper = self._data(points, side)
        v = self.alpha * reference - self.adjoint(points, side=side)
        z = soft(v, self.beta) / self.alpha
        free = (z > lower) & (z < upper) & ((np.abs(v) > self.beta) | (self.beta == 0))
        return np.asarray(np.where(free, self.adjoint.gradient(points, side=side) / -self.alpha, 0.0))

    def _data(self, points: Array, side: str | None) -> Iterator[Array]:
        """The reference and the bounds at points; those without a control are refused."""
        space = self.nodal.space
        self.nodal(points, side=side)
        for name, title in NAMES.items():
            item = getattr(self, name)
            if not callable(item) and np.ndim(item):
                yield Field(space.interpolate(item, title), space, title)(points, side=side)
            else:
                yield sample(item, points, space.scale, title, infinite=True)
