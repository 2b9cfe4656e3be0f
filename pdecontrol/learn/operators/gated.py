"""Gated multigrid: V-cycles linear in the control, whose stencils the coefficient scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ...errors import DataError
from .multigrid import CONVOLUTIONS, VCycle
from .network import ControlNetwork
from .resampling import resample


class Pyramid(nn.Module):
    """Features of the coefficient on each level, and the factors 1 + g(a) of all stencils of all cycles there."""

    def __init__(
        self,
        grid: Sequence[int],
        shape: Sequence[int],
        features: int,
        counts: list[list[list[int]]],
        working: Sequence[int],
        ring: str | None,
    ) -> None:
        super().__init__()
        self.working, self.ring = working, ring
        self.shape, self.cells = tuple(shape), list(shape) == [n + 1 for n in grid]
        if not self.cells and list(shape) != list(grid):
            raise ValueError(f"a coefficient of shape {list(shape)} is neither on the nodes {list(grid)} nor on cells")
        self.counts, layer, levels = counts, CONVOLUTIONS[len(grid)], range(len(counts[0]))
        self.first = layer(2 ** len(grid) if self.cells else 1, features, 3, padding=1)
        self.same = nn.ModuleList(layer(features, features, 3, padding=1) for _ in levels)
        self.coarser = nn.ModuleList(layer(features, features, 3, stride=2) for _ in levels[1:])
        self.gates = nn.ModuleList(nn.ModuleList(layer(features, sum(n), 1) for n in cycle) for cycle in counts)

    def forward(self, a: Tensor) -> list[list[tuple[Tensor, ...]]]:
        if tuple(a.shape[1:]) != self.shape:
            raise DataError(f"a network for coefficients of shape {self.shape} got {tuple(a.shape[1:])}.")
        parts = [a]
        for axis in range(1, a.ndim) if self.cells else ():
            parts = [part.narrow(axis, k, part.shape[axis] - 1) for part in parts for k in (0, 1)]
        x = resample(torch.stack(parts, dim=1), self.working, self.ring)
        h, levels = gelu(self.first(x)), []
        for i, same in enumerate(self.same):
            h = h + gelu(same(h))
            levels.append(h)
            if i < len(self.coarser):
                h = gelu(self.coarser[i](h))
        return [
            [(1 + gate(h)).split(n, dim=1) for gate, h, n in zip(gates, levels, counts, strict=True)]
            for gates, counts in zip(self.gates, self.counts, strict=True)
        ]


class GatedMultigrid(ControlNetwork):
    """v <- W_i(a) v + B_i v, y = C v, linear in u = v_0: V-cycles W_i(a) in whose steps S and A have factors 1 + g(a).

    Parameters
    ----------
    grid : of controls and states; for nested transfers sides such as 31, 15, 7, 3.
    coefficient : its shape, that of the grid, or of the cells around the nodes of the grid; None without one.
    channels, features : of v and of the coefficient.
    cycles : W_1, W_2, ..
    smoothing, post, padding : see `VCycle`; "zeros" for nodes without the Dirichlet boundary, "reflect" for all nodes
        of Neumann problems.
    working : see `MgNO`.
    constant : whether a second input is 1 everywhere, with which y is affine in u.

    Notes
    -----
    Nested transfers, the residual restricted, no bias. B_i are 1 x 1 convolutions, the factors 1 x 1 convolutions of
    features of the coefficient.

    Examples
    --------
    >>> import torch
    >>> network, u = GatedMultigrid([7, 7], [8, 8], smoothing=[1, 2]), torch.ones(3, 1, 7, 7)
    >>> encoded = network.encode(torch.ones(1, 8, 8))
    >>> bool(torch.allclose(network.apply_to(encoded, 2 * u), 2 * network.apply_to(encoded, u), atol=1e-6))
    True
    """

    on_grid, affine = True, True

    def __init__(
        self,
        grid: Sequence[int],
        coefficient: Sequence[int] | None = None,
        channels: int = 16,
        features: int = 16,
        cycles: int = 3,
        smoothing: Sequence[int] = (1, 1, 1, 2),
        post: Sequence[int] = (),
        padding: str = "zeros",
        constant: bool = False,
        working: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.grid, self.working = list(grid), list(working or grid)
        self.ring = "constant" if padding == "zeros" else None
        self.constant, levels = constant, len(smoothing)
        sizes = [1 + constant, *([channels] * (cycles - 1))]
        self.cycles = nn.ModuleList(
            VCycle(self.working, [n] * levels, [channels] * levels, smoothing, post, padding, "nested", "residual")
            for n in sizes
        )
        layer = CONVOLUTIONS[len(grid)]
        self.skips = nn.ModuleList(layer(n, channels, 1, bias=False) for n in sizes)
        self.head = layer(channels, 1, 1, bias=False)
        counts = [
            [[channels] * len(s) + [n] * len(a) for s, a in zip(cycle.smoothers, cycle.operators, strict=True)]
            for cycle, n in zip(self.cycles, sizes, strict=True)
        ]
        counts[-1][0].append(channels)  # of the output
        self.pyramid = None
        if coefficient is not None:
            ring = "replicate" if self.ring else None
            self.pyramid = Pyramid(grid, coefficient, features, counts, self.working, ring)

    def encode(self, a: Tensor | None) -> Any:
        """The factors of all stencils."""
        if self.pyramid is None:
            return None
        if a is None:
            raise DataError("this network takes a coefficient.")
        return self.pyramid(a)

    def apply_to(self, encoded: Any, u: Tensor) -> Tensor:
        if list(u.shape[2:]) != self.grid:
            raise DataError(f"a network on the grid {self.grid} got functions on {list(u.shape[2:])}.")
        v = torch.cat([u, torch.ones_like(u)], dim=1) if self.constant else u
        v = resample(v, self.working, self.ring)
        for i, (cycle, skip) in enumerate(zip(self.cycles, self.skips, strict=True)):
            v = cycle(v, None if encoded is None else encoded[i]) + skip(v)
        y = self.head(v if encoded is None else encoded[-1][0][-1] * v)
        return resample(y, self.grid, self.ring)
