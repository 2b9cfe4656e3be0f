"""Rows of a least-squares problem for two networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...arrays import Array
from ..functions.projection import Projection, joined
from ..networks.operator import Operator, stacked

Apply = Callable[[Operator], Array]  # L N of a network, its offset included


@dataclass(frozen=True, eq=False)
class Block:
    """Rows sum_k L_k N + factor v - load = 0, with a network N; v is the other one's, or the control made of it.

    Parameters
    ----------
    name : what the rows say.
    of_state : whether N is that of the state, or of the adjoint state.
    operators : the L_k, each with n points.
    load, factor : (n,); no factor where nothing of the other network is there.
    other : v of the other network.
    control : the projection, where v is the control.
    kind : whether they are an equation, the jump of a flux, or a condition on values.
    """

    name: str
    of_state: bool
    operators: tuple[Operator, ...]
    load: Array
    factor: Array | None = None
    other: Operator | None = None
    control: Projection | None = None
    kind: Literal["equation", "flux", "value"] = "equation"

    def residual(self, own: Apply, other: Apply) -> Array:
        """The values (n,) of the rows."""
        total = sum(own(operator) for operator in self.operators) - self.load
        if self.other is not None:
            v = other(self.other)
            total += self.factor * (v if self.control is None else self.control.value(v))
        return np.asarray(total)

    def slope(self, v: Array) -> Array:
        """The derivative (n,) of the rows by v."""
        assert self.factor is not None
        return self.factor if self.control is None else self.factor * self.control.slope(v)

    def right(self, other: Apply) -> Array:
        """load - factor v (n,) at the present v."""
        if self.other is None:
            return self.load
        v = other(self.other)
        return np.asarray(self.load - self.factor * (v if self.control is None else self.control.value(v)))

    def weighted(self, weight: float) -> Block:
        """The rows times a number."""
        operators = tuple(operator.times(weight) for operator in self.operators)
        factor = None if self.factor is None else weight * self.factor
        return replace(self, operators=operators, load=weight * self.load, factor=factor)


def joined_blocks(blocks: Sequence[Block]) -> Block:
    """All the rows of blocks that say the same."""
    first = blocks[0]
    operators = tuple(map(stacked, zip(*(block.operators for block in blocks), strict=True)))
    block = replace(first, operators=operators, load=np.concatenate([block.load for block in blocks]))
    if first.other is None:
        return block
    others = stacked([block.other for block in blocks if block.other is not None])
    controls = [block.control for block in blocks if block.control is not None]
    factor = np.concatenate([block.factor for block in blocks if block.factor is not None])
    return replace(block, factor=factor, other=others, control=joined(controls) if controls else None)


class Blocks:
    """r(Y, P) = 0 in blocks of rows."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = tuple(blocks)

    @property
    def size(self) -> int:
        """The number of rows."""
        return sum(block.load.size for block in self.blocks)

    def residual(self, state: Apply, adjoint: Apply) -> Array:
        """r."""
        return np.concatenate(
            [block.residual(*((state, adjoint) if block.of_state else (adjoint, state))) for block in self.blocks]
        )

    def left(self, state: Apply, adjoint: Apply) -> float:
        """The larger of the residuals of state and adjoint state, each relative to what is given in its rows.

        For the adjoint state that is the misfit. It may be a small part of the data, when |r| tells nothing of it.
        """
        found = []
        for of_state, own, other in ((True, state, adjoint), (False, adjoint, state)):
            blocks = [block for block in self.blocks if block.of_state == of_state]
            residual = np.concatenate([block.residual(own, other) for block in blocks])
            given = [block.right(other) for block in blocks]
            given += [operator.offset for block in blocks for operator in block.operators]
            found.append(np.linalg.norm(residual) / (np.linalg.norm(np.concatenate(given)) or 1.0))
        return float(max(found))

    @property
    def scale(self) -> float:
        """|r| for Y = P = 0 but for what the trial functions have anyway, relative to which residuals are small; 1 for
        data that are zero.
        """
        return float(np.linalg.norm(self.residual(lambda op: op.offset, lambda op: op.offset))) or 1.0
