"""Linear V-cycles with several channels on plain grids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ...errors import DataError

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
PADDINGS = ("zeros", "reflect", "circular", "replicate")
TRANSFERS = ("even", "nested")
RESTRICTIONS = ("mgnet", "residual")
LINEAR = {3: (0.5, 1.0, 0.5), 4: (0.25, 0.75, 0.75, 0.25)}

Gates = Sequence[Sequence[Tensor]]


def grids(grid: Sequence[int], levels: int, transfer: str, padding: str) -> list[tuple[int, ...]]:
    """The shapes of all levels: sides are halved and rounded up ("even"), or down ("nested"), as 31, 15, 7, 3."""
    if len(grid) not in CONVOLUTIONS:
        raise ValueError(f"a V-cycle takes grids of one or two dimensions, not {list(grid)}")
    found = [tuple(grid)]
    for _ in range(levels - 1):
        found.append(tuple((n + 1) // 2 if transfer == "even" else (n - 1) // 2 for n in found[-1]))
    factor = 2 ** (levels - 1)
    smallest = 2 if padding == "reflect" else 1
    if min(found[-1]) < smallest or any(min(shape) < 2 for shape in found[:-1]):
        fits = factor if transfer == "even" else 2 * factor - 1
        raise ValueError(f"the grid {list(grid)} is too small for {levels} levels; sides of {fits * smallest} would do")
    if padding == "circular" and (transfer != "even" or any(n % factor for n in grid)):
        raise ValueError(
            f"periodic grids of {levels} levels have transfer='even' and sides that {factor} divides, as "
            f"{[max(1, round(n / factor)) * factor for n in grid]}, not {list(grid)}"
        )
    return found


class Prolongation(nn.Module):
    """P, a transposed convolution of stride 2 whose kernels, 3 or 4 wide, give just the sides of the finer grid."""

    def __init__(self, before: int, after: int, coarse: Sequence[int], fine: Sequence[int], even: bool, wrap: bool):
        super().__init__()
        margin = 1 if even else 0
        self.wrap, self.dimension = wrap, len(fine)
        kernel = tuple(n - 2 * (m - 1) + 2 * margin for n, m in zip(fine, coarse, strict=True))
        layer = TRANSPOSED[len(fine)]
        self.layer = layer(before, after, kernel, stride=2, padding=margin + (2 if wrap else 0), bias=False)

    def forward(self, u: Tensor) -> Tensor:
        found: Tensor = self.layer(pad(u, [1] * (2 * self.dimension), mode="circular") if self.wrap else u)
        return found


class VCycle(nn.Module):
    """u = W f, linear: on each level u <- u + S (f - A u), and f, u between levels by convolutions of stride 2.

    Parameters
    ----------
    grid : of f and u.
    data, unknowns : the channels of f and of u on each level.
    smoothing, post : the steps before and after the coarser levels; the last level has those before alone.
    padding : of A and S: "zeros", Dirichlet conditions one cell outside; "reflect", Neumann conditions on nodes;
        "replicate", the same on cells; "circular", periodic.
    transfer : "even", sides 2m -> m; "nested", sides 2m + 1 -> m, as nodes inside nested meshes.
    restriction : "mgnet", f <- R f and u <- Pi u, as published; "residual", f <- R (f - A u) and u = 0.
    bias : of A and S, with which W is affine.
    normed : whether a layer norm follows each correction.
    fixed : whether R, Pi and P are full weighting and linear interpolation, and not trained.

    Raises
    ------
    ValueError
        For grids that have not so many levels, and names and lists that do not fit.

    Notes
    -----
    Source: He, Liu and Xu (arXiv 2310.19809), algorithm 1, with the layout of their program. A side that halving rounds
    gets a kernel of P one narrower or wider, as 211, 106, 53, 27, 14, 7. Periodic cycles wrap R and P as well.
    """

    def __init__(
        self,
        grid: Sequence[int],
        data: Sequence[int],
        unknowns: Sequence[int],
        smoothing: Sequence[int],
        post: Sequence[int] = (),
        padding: str = "zeros",
        transfer: str = "even",
        restriction: str = "mgnet",
        bias: bool = False,
        normed: bool = False,
        fixed: bool = False,
    ) -> None:
        super().__init__()
        for name, known in ((padding, PADDINGS), (transfer, TRANSFERS), (restriction, RESTRICTIONS)):
            if name not in known:
                raise ValueError(f"{name!r} is none of: {', '.join(known)}")
        levels = len(smoothing)
        self.grid, self.levels, self.smoothing = tuple(grid), levels, list(smoothing)
        self.post = [*post, *([0] * (levels - len(post)))]
        if min(smoothing) < 1 or min(self.post) < 0 or self.post[-1] or len(self.post) != levels:
            raise ValueError("a V-cycle smooths once or more on each level, and on the last one only before")
        self.residual = restriction == "residual"
        shapes, even, wrap = grids(grid, levels, transfer, padding), transfer == "even", padding == "circular"
        layer, mode = CONVOLUTIONS[len(grid)], "circular" if wrap else "zeros"

        def stencil(before: int, after: int) -> nn.Module:
            return layer(before, after, 3, padding=1, padding_mode=padding, bias=bias)

        def halved(channels: Sequence[int]) -> nn.ModuleList:
            return nn.ModuleList(
                layer(before, after, 3, stride=2, padding=int(even), padding_mode=mode, bias=False)
                for before, after in pairwise(channels)
            )

        steps, applied = [sum(pair) for pair in zip(smoothing, self.post, strict=True)], []
        for level, count in enumerate(steps):
            from_zero = level == 0 or self.residual
            applied.append(count - from_zero + (self.residual and level < levels - 1))
        channels = list(zip(data, unknowns, strict=True))
        self.smoothers = nn.ModuleList(
            nn.ModuleList(stencil(f, u) for _ in range(n)) for n, (f, u) in zip(steps, channels, strict=True)
        )
        self.operators = nn.ModuleList(
            nn.ModuleList(stencil(u, f) for _ in range(n)) for n, (f, u) in zip(applied, channels, strict=True)
        )
        self.restrictions = halved(data)
        self.injections = None if self.residual else halved(unknowns)
        self.prolongations = nn.ModuleList(
            Prolongation(unknowns[i + 1], unknowns[i], shapes[i + 1], shapes[i], even, wrap) for i in range(levels - 1)
        )
        self.norms = (
            nn.ModuleList(nn.LayerNorm([unknowns[i], *shapes[i]]) for i in range(levels - 1)) if normed else None
        )
        if fixed:
            self._fix()

    def _fix(self) -> None:
        for layer in [*self.restrictions, *(self.injections or [])]:
            interpolate(layer, 0.5 ** len(self.grid))
        for prolongation in self.prolongations:
            interpolate(prolongation.layer, 1.0)

    def forward(self, f: Tensor, gates: Gates | None = None) -> Tensor:
        """W f; gates are factors for all S, then all A, of each level, in the order in which they are applied."""
        if tuple(f.shape[2:]) != self.grid:
            raise DataError(f"a network for the grid {list(self.grid)} got functions on {list(f.shape[2:])}.")
        smoothers = [self._steps(self.smoothers, gates, level, 0) for level in range(self.levels)]
        operators = [
            self._steps(self.operators, gates, level, len(self.smoothers[level])) for level in range(self.levels)
        ]
        data, found, u = [f], [], f
        for level in range(self.levels):
            if level and self.injections is not None:
                u = self.injections[level - 1](u)
            for step in range(self.smoothing[level]):
                if step == 0 and (level == 0 or self.residual):
                    u = next(smoothers[level])(f)
                else:
                    u = u + next(smoothers[level])(f - next(operators[level])(u))
            found.append(u)
            if level < self.levels - 1:
                f = self.restrictions[level](f - next(operators[level])(u) if self.residual else f)
                data.append(f)
        for level in reversed(range(self.levels - 1)):
            u = found[level] + self.prolongations[level](u)
            if self.norms is not None:
                u = self.norms[level](u)
            for _ in range(self.post[level]):
                u = u + next(smoothers[level])(data[level] - next(operators[level])(u))
        return u

    @staticmethod
    def _steps(layers: nn.ModuleList, gates: Gates | None, level: int, first: int) -> Iterator[Callable[..., Tensor]]:
        """The layers of one level one after the other, with their gates."""
        for i, layer in enumerate(layers[level]):
            yield layer if gates is None else partial(gated, layer, gates[level][first + i])


def gated(layer: nn.Module, factor: Tensor, x: Tensor) -> Tensor:
    """factor layer(x), point by point."""
    y: Tensor = layer(x)
    return factor * y


def interpolate(layer: nn.Module, factor: float) -> None:
    """Give all channels a times the kernel of linear interpolation, one by one, and train it no more."""
    weight = layer.weight
    if weight.shape[0] != weight.shape[1]:
        raise ValueError("fixed transfers take the same channels on all levels")
    kernel = torch.ones(())
    for size in weight.shape[2:]:
        kernel = kernel[..., None] * torch.tensor(LINEAR[size])
    with torch.no_grad():
        weight.zero_()
        for i in range(len(weight)):
            weight[i, i] = factor * kernel
    weight.requires_grad_(False)
