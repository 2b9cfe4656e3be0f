"""The small matrices in the middle of low-rank maps, functions of the coefficient, and where their factors begin."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .branch import Branch

CORES = ("diagonal", "full")
SMALLEST = 1e-6  # of the singular values with which factors begin, relative to the largest one


class Core(nn.Module):
    """C(a) = I + E(a), r x r or diagonal, and d(a): what a branch of the coefficient gives, or trained numbers.

    Parameters
    ----------
    rank, kind : r, and "diagonal" or "full".
    constant : whether there are d(a), r numbers.
    coefficient, branch, widths, channels, bend : see `Branch`; a coefficient of None has trained numbers instead.

    Notes
    -----
    E and d begin as 0.
    """

    def __init__(
        self,
        rank: int,
        kind: str,
        constant: bool,
        coefficient: Sequence[int] | None,
        branch: str,
        widths: Sequence[int],
        channels: Sequence[int],
        bend: str,
    ) -> None:
        super().__init__()
        if kind not in CORES:
            raise ValueError(f"there is no core {kind!r}; there are: {', '.join(CORES)}")
        if branch == "stacked":
            raise ValueError("the branch of a core is 'dense' or 'convolutional'")
        self.rank, self.full = rank, kind == "full"
        self.size = rank**2 if self.full else rank
        count = self.size + (rank if constant else 0)
        if coefficient is None:
            self.values: nn.Parameter | None = nn.Parameter(torch.zeros(1, count))
        else:
            self.values, self.branch = None, Branch(coefficient, count, branch, widths, channels, bend)
            for weight in self.branch.layers[-1].parameters():
                nn.init.zeros_(weight)

    def forward(self, a: Tensor | None) -> tuple[Tensor, Tensor]:
        """C (batch, r, r) or (batch, r), and d (batch, r) or (batch, 0)."""
        found = self.values if self.values is not None else self.branch(a)
        matrix, constant = found[:, : self.size], found[:, self.size :]
        if not self.full:
            return 1.0 + matrix, constant
        matrix = matrix.unflatten(1, (self.rank, self.rank))
        return matrix + torch.eye(self.rank, dtype=matrix.dtype, device=matrix.device), constant


def times(core: Tensor, z: Tensor) -> Tensor:
    """C z for z (batch, r)."""
    return core * z if core.ndim == 2 else (core @ z[:, :, None])[:, :, 0]


def modes(x: Tensor, count: int) -> Tensor:
    """Orthonormal principal modes (n, count) of samples (samples, n)."""
    return torch.linalg.svd(x, full_matrices=False)[2][:count].T


def fitted(u: Tensor, y: Tensor, w: Tensor, q: Tensor) -> Tensor:
    """The matrix C with the least sum of |y - C u|^2 + |q - C^T w|^2, the samples in rows."""
    left, right = w.T @ w, u.T @ u
    (alpha, p), (beta, r) = torch.linalg.eigh(left), torch.linalg.eigh(right)
    # left C + C right = y^T u + w^T q
    inner = p.T @ (y.T @ u + w.T @ q) @ r / (alpha[:, None] + beta[None]).clamp(min=1e-12 * (alpha[-1] + beta[-1]))
    return p @ inner @ r.T


def roots(values: Tensor) -> Tensor:
    """Square roots of singular values or eigenvalues, where they are too small those of the smallest that is not."""
    return values.clamp(min=float(SMALLEST * values.abs().max())).sqrt()
