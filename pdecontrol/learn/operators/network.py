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
        input function.
    """

    on_grid: ClassVar[bool]

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """The output function, (batch, 1, *grid) or (batch, points)."""


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
        """What of the coefficient (batch, *shape) `apply` needs; None for problems with a fixed one."""

    @abstractmethod
    def apply_to(self, encoded: Any, u: Tensor) -> Tensor:
        """y for controls u; what is encoded belongs to as many coefficients, or to one for all controls."""

    def forward(self, u: Tensor, a: Tensor | None = None) -> Tensor:
        return self.apply_to(self.encode(a), u)
