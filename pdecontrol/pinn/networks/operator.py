"""What is asked of a network at points: affine functionals with derivatives up to the second order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import Array


@dataclass(frozen=True, eq=False)
class Operator:
    """(L N)_i = a_i N + b_i . grad N + c_i sum_k (d_ki . grad)^2 N + g_i at the inputs x_i of a network N, i = 1..n.

    All that an ansatz Y = g + h N(x, phi(x)) is asked for has this form: its values, gradients, Laplacians and fluxes
    at points are such functionals of N, with coefficients that are products of h, phi and their derivatives.

    Parameters
    ----------
    inputs : x (d, n).
    value, slope : a (n,), b (d, n).
    bend, directions : c (n,) and d (m, d, n); None where there are no second derivatives.
    offset : g (n,).
    """

    inputs: Array
    value: Array
    slope: Array
    bend: Array | None
    directions: Array | None
    offset: Array

    @property
    def size(self) -> int:
        """n."""
        return self.value.size

    def times(self, factors: Array | float) -> Operator:
        """factors_i (L N)_i."""
        bend = None if self.bend is None else factors * self.bend
        return Operator(
            self.inputs, factors * self.value, factors * self.slope, bend, self.directions, factors * self.offset
        )

    def __add__(self, other: Operator) -> Operator:
        """The sum of two at the same inputs, of which one at most has second derivatives."""
        assert self.bend is None or other.bend is None
        second = self if other.bend is None else other
        return Operator(
            self.inputs, self.value + other.value, self.slope + other.slope, second.bend, second.directions,
            self.offset + other.offset,
        )  # fmt: skip

    def __getitem__(self, chosen: Array | slice) -> Operator:
        """Some of the points."""
        bend = None if self.bend is None else self.bend[chosen]
        directions = None if self.directions is None else self.directions[..., chosen]
        return Operator(
            self.inputs[:, chosen], self.value[chosen], self.slope[:, chosen], bend, directions, self.offset[chosen]
        )


def stacked(operators: Sequence[Operator]) -> Operator:
    """One operator at all the points of several, all of which have second derivatives or none."""
    first = operators[0]
    second = first.bend is not None
    return Operator(
        np.hstack([item.inputs for item in operators]),
        np.concatenate([item.value for item in operators]),
        np.hstack([item.slope for item in operators]),
        np.concatenate([item.bend for item in operators if item.bend is not None]) if second else None,
        np.concatenate([item.directions for item in operators if item.directions is not None], axis=-1)
        if second else None,
        np.concatenate([item.offset for item in operators]),
    )  # fmt: skip
