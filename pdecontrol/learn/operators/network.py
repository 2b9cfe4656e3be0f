"""What networks between functions are asked for: predictions from given functions, or y = S(u) for coefficients a.

Both see normalised numbers on plain grids or lists of points. Where these points lie in the spaces of a problem, units,
and boundary values are matters of the models around them (`model.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn


class Prediction(nn.Module, ABC):
    """Input functions -> output function.

    Attributes
    ----------
    on_grid : whether functions are tensors (batch, channels, *grid), or lists of values (batch, points), one for each
        input function. Inputs are on all points; outputs only where there are no Dirichlet values.
    """

    on_grid: ClassVar[bool]

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """The output function, ``(batch, 1, *grid)`` or (batch, points)."""

    def place(self, points: Tensor) -> None:
        """Take the places (points, dimension) of the output's values, before anything else, where they are needed."""

    def prepare(self, outputs: Tensor) -> None:
        """Take from the outputs of the training data (count, points) what is no weight, or where weights begin."""


class ControlNetwork(nn.Module, ABC):
    """(u, a) -> y, where the coefficient a is encoded once and used for many controls.

    Attributes
    ----------
    on_grid : whether controls and states are (batch, 1, *grid), or (batch, n) and (batch, m).
    affine : whether y depends on u affinely for every a.

    Notes
    -----
    Law: where it is affine, apply(e, u + h) - apply(e, u) does not depend on u.
    """

    on_grid: ClassVar[bool]
    affine: ClassVar[bool]

    @abstractmethod
    def encode(self, a: Tensor | None) -> Any:
        """What of the coefficient ``(batch, *shape)`` `apply_to` needs; None for problems with a fixed one."""

    @abstractmethod
    def apply_to(self, encoded: Any, u: Tensor) -> Tensor:
        """y for controls u; what is encoded belongs to as many coefficients, or to one for all controls."""

    def place(self, controls: Tensor, states: Tensor, mass: Tensor | None = None) -> None:
        """Take the places (n, dimension) and (m, dimension) of u and y, and the masses (n,) of u, where needed."""

    def prepare(self, u: Tensor, y: Tensor, w: Tensor | None = None, q: Tensor | None = None) -> None:
        """Take where weights begin from pairs y = S(u) and q = S'^T w of the training data, (count, n or m) each."""

    def forward(self, u: Tensor, a: Tensor | None = None) -> Tensor:
        return self.apply_to(self.encode(a), u)
