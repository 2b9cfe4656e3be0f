"""Control of flow in random media of two phases, as a named source of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..mesh.shapes import unit_square
from ..problem import ControlProblem, Dirichlet, Distributed, Elliptic, Tikhonov, Tracking
from .control import ControlSamples
from .media import Threshold
from .random_fields import CosineField
from .source import Batch, Source


@dataclass(frozen=True)
class DarcyControl(Source):
    """-div(a grad y) = u in the unit square, y = 0 on its boundary: maps u -> y for random coefficients a.

    a = high where a Gaussian field is positive and low elsewhere, on n x n squares.

    Parameters
    ----------
    n : squares along each axis, each cut into two linear elements.
    pairs : of controls u and duals w for each coefficient.
    tau, low, high : inverse length of the field (see `CosineField`), and the two coefficients.
    shortest, longest : the lengths of u and w, see `ControlSamples`; three quarters of the side of a square at least.

    Examples
    --------
    >>> DarcyControl(n=8).shapes["coefficient"]
    (8, 8)
    """

    name: ClassVar[str] = "darcy-control"
    n: int = 32
    pairs: int = 3
    tau: float = 3.0
    low: float = 3.0
    high: float = 12.0
    shortest: float = 0.03
    longest: float = 0.3

    def __post_init__(self) -> None:
        _ = self.samples

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @cached_property
    def samples(self) -> ControlSamples:
        """The source behind it, with the problem, and the exact map for a coefficient."""
        problem = ControlProblem(
            equation=Elliptic(),
            boundary={"boundary": Dirichlet()},
            control=Distributed(),
            tracking=Tracking(0.0),
            terms=[Tikhonov(1.0)],
        )
        media = Threshold(CosineField(self.n, tau=self.tau), self.low, self.high)
        lengths = max(self.shortest, 0.75 / self.n), self.longest
        return ControlSamples(problem, unit_square(self.n), lengths, coefficient=media, pairs=self.pairs)

    @property
    def definition(self) -> dict[str, Any]:
        return {"family": self.name} | asdict(self)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.samples.shapes

    def plan(
        self, generators: Sequence[np.random.Generator], count: int, tolerance: float, strategy: str
    ) -> dict[str, Any]:
        return self.samples.plan(generators, count, tolerance, strategy)

    def batch(self, plan: Mapping[str, Any], generators: Sequence[np.random.Generator], tolerance: float) -> Batch:
        return self.samples.batch(plan, generators, tolerance)
