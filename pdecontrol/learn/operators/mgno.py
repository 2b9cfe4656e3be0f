"""MgNO: nonlinear networks of linear V-cycles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import DataError
from .multigrid import CONVOLUTIONS, VCycle
from .network import ControlNetwork, Prediction
from .resampling import resample

NORMS = ("none", "levels", "layers")
DARCY: dict[str, Any] = {"channels": 24, "smoothing": [1, 1, 1, 1, 1, 2]}
PUBLISHED: dict[str, dict[str, Any]] = {  # with one input each, but two in "pipe"
    "darcy-rough": DARCY | {"grid": [256, 256], "layers": 4},
    "darcy-smooth": DARCY | {"grid": [211, 211], "layers": 5},
    "pipe": DARCY | {"grid": [128, 128], "layers": 5, "post": [0, 0, 0, 0, 1]},
    "navier-stokes": {
        "grid": [64, 64], "layers": 5, "channels": 32, "smoothing": [1, 1, 1, 2, 2], "padding": "circular",
        "bias": True, "skip": False, "norm": "levels", "increment": True,
    },
    "helmholtz": {
        "grid": [101, 101], "layers": 4, "channels": 20, "smoothing": [1, 1, 1, 1, 2], "padding": "reflect",
        "transfer": "nested", "bias": True, "skip": False, "norm": "layers", "growing": True, "head": "cycle",
    },
}  # fmt: skip


class Layers(nn.Module):
    """v <- GELU(W_i v + B_i v), i = 1 .. L, W_i V-cycles, B_i 1 x 1 convolutions, and a linear head; see `MgNO`."""

    def __init__(
        self,
        inputs: int,
        grid: Sequence[int],
        layers: int,
        channels: int,
        skip: bool,
        norm: str,
        growing: bool,
        head: str,
        increment: bool,
        smoothing: Sequence[int],
        **cycle: Any,
    ) -> None:
        super().__init__()
        if norm not in NORMS or head not in ("pointwise", "cycle"):
            raise ValueError(f"norm is one of {', '.join(NORMS)}, head 'pointwise' or 'cycle'")
        pointwise, levels, self.increment = CONVOLUTIONS.get(len(grid), nn.Conv2d), range(len(smoothing)), increment

        def made(before: int, after: int) -> VCycle:
            data, unknowns = ([n * (1 + growing * i) for i in levels] for n in (before, after))
            return VCycle(grid, data, unknowns, smoothing, normed=norm == "levels", **cycle)

        sizes = [inputs, *([channels] * layers)]
        self.cycles = nn.ModuleList(made(n, channels) for n in sizes[:-1])
        self.skips = nn.ModuleList(pointwise(n, channels, 1) for n in sizes[:-1]) if skip else None
        normed = norm == "layers"
        self.norms = nn.ModuleList(nn.LayerNorm([channels, *grid]) for _ in range(layers)) if normed else None
        self.head = made(channels, 1) if head == "cycle" else pointwise(channels, 1, 1, bias=False)

    def forward(self, v: Tensor) -> Tensor:
        given = v
        if v.ndim == 4:
            v = v.contiguous(memory_format=torch.channels_last)  # in which these convolutions take a third less time
        for i, cycle in enumerate(self.cycles):
            w = cycle(v)
            if self.skips is not None:
                w = w + self.skips[i](v)
            if self.norms is not None:
                w = self.norms[i](w)
            v = nn.functional.gelu(w)
        found: Tensor = self.head(v)
        return found + given[:, :1] if self.increment else found


class MgNO(Prediction):
    """v <- GELU(W_i v + B_i v), i = 1 .. L, with linear V-cycles W_i and 1 x 1 convolutions B_i, and a linear head.

    Parameters
    ----------
    inputs : the shape of each input function.
    grid : of all functions, of one or two dimensions; others are refused.
    working : the grid of the cycles where it is another one, for sides that do not fit the transfers: functions are
        interpolated linearly to it and back. That costs accuracy, and is never done unless it is asked for.
    layers, channels : L and the channels of v.
    smoothing, post, padding, transfer, restriction, bias, fixed : see `VCycle`.
    skip : whether there are B_i.
    norm : "none"; "levels", layer norms in the cycles; "layers", after each cycle.
    growing : whether level l has l + 1 times the channels.
    head : "pointwise", or "cycle", one more V-cycle.
    increment : whether the first input is added to the output.
    margin : 1 for inputs with one more point on each side than the grid, where the output has its Dirichlet values: the
        first layer takes them with their neighbours along each axis. Else what a coefficient is there would be lost.

    Notes
    -----
    Source: He, Liu and Xu (arXiv 2310.19809); `PUBLISHED` has the options of their examples. Their program for
    "helmholtz" allocates in each cycle an A that nothing uses; here there is none.

    Examples
    --------
    >>> import torch
    >>> network = MgNO([[256, 256]], **PUBLISHED["darcy-rough"])
    >>> sum(weight.numel() for weight in network.parameters())
    572661
    """

    on_grid = True

    def __init__(
        self,
        inputs: Sequence[Sequence[int]],
        grid: Sequence[int],
        layers: int = 3,
        channels: int = 16,
        smoothing: Sequence[int] = (1, 1, 1, 2),
        post: Sequence[int] = (),
        padding: str = "zeros",
        transfer: str = "even",
        restriction: str = "mgnet",
        bias: bool = False,
        skip: bool = True,
        norm: str = "none",
        growing: bool = False,
        head: str = "pointwise",
        increment: bool = False,
        fixed: bool = False,
        working: Sequence[int] | None = None,
        margin: int = 0,
    ) -> None:
        super().__init__()
        if margin not in (0, 1):
            raise ValueError(f"a margin is 0 or 1 points wide, not {margin}")
        self.grid, self.working, self.zero = list(grid), list(working or grid), padding == "zeros"
        self.given, self.margin = [n + 2 * margin for n in grid], margin
        self.layers = Layers(
            len(inputs) * (1 + 2 * margin * len(grid)), self.working, layers, channels, skip, norm, growing, head,
            increment, smoothing, post=post, padding=padding, transfer=transfer, restriction=restriction, bias=bias,
            fixed=fixed,
        )  # fmt: skip

    def forward(self, *inputs: Tensor) -> Tensor:
        if any(list(x.shape[2:]) != self.given for x in inputs):
            raise DataError(f"a network on the grid {self.given} got functions on {list(inputs[0].shape[2:])}.")
        x = torch.cat(inputs, dim=1)
        x = resample(self._neighbours(x) if self.margin else x, self.working, "replicate" if self.zero else None)
        return resample(self.layers(x), self.grid, "constant" if self.zero else None)

    def _neighbours(self, x: Tensor) -> Tensor:
        """The values at each inner point, and at those before and after it along each axis."""
        inner = tuple(slice(1, -1) for _ in self.grid)
        ends = ((axis, end) for axis in range(len(inner)) for end in (slice(None, -2), slice(2, None)))
        shifted = [(*inner[:axis], end, *inner[axis + 1 :]) for axis, end in ends]
        return torch.cat([x[(..., *cut)] for cut in (inner, *shifted)], dim=1)


class ControlMgNO(ControlNetwork):
    """y = MgNO(u), a nonlinear map of controls for problems with a fixed coefficient.

    Parameters
    ----------
    grid, layers, channels, smoothing, post, padding, transfer, restriction, working : see `MgNO`.

    Examples
    --------
    >>> import torch
    >>> ControlMgNO([15, 15], transfer="nested", smoothing=[1, 1, 2])(torch.zeros(2, 1, 15, 15)).shape
    torch.Size([2, 1, 15, 15])
    """

    on_grid, affine = True, False

    def __init__(
        self,
        grid: Sequence[int],
        layers: int = 3,
        channels: int = 16,
        smoothing: Sequence[int] = (1, 1, 1, 2),
        post: Sequence[int] = (),
        padding: str = "zeros",
        transfer: str = "even",
        restriction: str = "mgnet",
        working: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.grid, self.working = list(grid), list(working or grid)
        self.ring = "constant" if padding == "zeros" else None
        self.layers = Layers(
            1, self.working, layers, channels, True, "none", False, "pointwise", False, smoothing,
            post=post, padding=padding, transfer=transfer, restriction=restriction,
        )  # fmt: skip

    def encode(self, a: Tensor | None) -> Any:
        return None

    def apply_to(self, encoded: Any, u: Tensor) -> Tensor:
        if list(u.shape[2:]) != self.grid:
            raise DataError(f"a network on the grid {self.grid} got functions on {list(u.shape[2:])}.")
        return resample(self.layers(resample(u, self.working, self.ring)), self.grid, self.ring)
