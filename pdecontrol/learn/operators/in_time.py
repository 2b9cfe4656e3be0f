"""Linear maps of controls in time: modes in space, and the memory of each of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import DataError
from .core import fitted, modes
from .network import ControlNetwork

SLICES = 4000  # states at one time, at most, from which modes are taken
RIDGE = 1e-10  # of the largest eigenvalue, in the least squares for memories


class ModesInTime(ControlNetwork):
    """y_k = sum_{j <= k} T diag(c_{k-j}) B u_j at the times k: r modes in space, and the memory c of each.

    Parameters
    ----------
    controls, states : the numbers of all entries of u and y, those at one time times `steps`.
    steps : the number of times, the same for u and y, at equal distances.
    rank : r.

    Notes
    -----
    Evolution equations whose coefficients do not depend on time are of this kind, with their eigenfunctions as modes;
    the transpose runs backwards in time. One application takes 2 r (n + m) operations a step, and r steps^2.

    `prepare` begins with the principal modes of states and gradients, turned such that memories of single modes are
    enough, and with the memories that are best for the training data.

    Examples
    --------
    >>> import torch
    >>> network, u = ModesInTime(controls=12, states=12, steps=4, rank=2), torch.zeros(1, 12)
    >>> u[0, 6] = 1.0  # at the third time
    >>> network(u)[0, :6].tolist() == [0.0] * 6
    True
    """

    on_grid, affine = False, True

    def __init__(self, controls: int, states: int, steps: int, rank: int = 64) -> None:
        super().__init__()
        if steps < 1 or controls % steps or states % steps:
            raise ValueError(f"{controls} controls and {states} states are not so many at each of {steps} times")
        if not 1 <= rank <= min(controls, states) // steps:
            raise ValueError(f"there are from 1 to {min(controls, states) // steps} modes, not {rank}")
        self.steps, self.rank = steps, rank
        self.functions = nn.Parameter(torch.randn(states // steps, rank) / rank**0.5)
        self.control = nn.Linear(controls // steps, rank, bias=False)
        self.memory = nn.Parameter(torch.full((rank, steps), 1.0 / steps))

    def prepare(self, u: Tensor, y: Tensor, w: Tensor | None = None, q: Tensor | None = None) -> None:
        u, y = (x.unflatten(1, (self.steps, -1)) for x in (u, y))
        if u.shape[2] != y.shape[2]:
            return  # control and state are no functions on the same points
        seen = [y] if q is None else [y, q.unflatten(1, (self.steps, -1))]
        slices = torch.cat([x.flatten(0, 1) for x in seen])
        if len(slices) < self.rank:
            raise DataError(f"{self.rank} modes take as many states at single times or more, got {len(slices)}.")
        slices = slices[:: -(-len(slices) // SLICES)].double()
        basis = modes(slices / slices.norm(dim=1, keepdim=True).clamp(min=1e-300), self.rank)
        b, z = u.double() @ basis, y.double() @ basis
        held, gained = b.sum(dim=1), z.sum(dim=1)
        _, turn = torch.linalg.eigh(fitted(held, gained, held, gained))
        b, z, basis = b @ turn, z @ turn, basis @ turn
        with torch.no_grad():
            self.functions.copy_(basis)
            self.control.weight.copy_(basis.T)
            for mode in range(self.rank):
                self.memory[mode] = _memory(b[:, :, mode], z[:, :, mode])

    def encode(self, a: Tensor | None) -> Any:
        """The memories as lower triangular matrices (rank, steps, steps)."""
        times = torch.arange(self.steps, device=self.memory.device)
        lag = times[:, None] - times
        return torch.where(lag >= 0, self.memory[:, lag.clamp(min=0)], 0.0)

    def apply_to(self, encoded: Any, u: Tensor) -> Tensor:
        z = torch.einsum("rkj,bjr->bkr", encoded, self.control(u.unflatten(1, (self.steps, -1))))
        return (z @ self.functions.T).flatten(1)


def _memory(b: Tensor, z: Tensor) -> Tensor:
    """c with the least sum of |z_k - sum_j c_{k-j} b_j|^2 over samples (count, steps)."""
    steps = b.shape[1]
    shifted = torch.stack([torch.nn.functional.pad(b, [lag, 0])[:, :steps] for lag in range(steps)], dim=2)
    rows, wanted = shifted.flatten(0, 1), z.flatten()
    gram = rows.T @ rows
    gram = gram + RIDGE * torch.linalg.eigvalsh(gram)[-1] * torch.eye(steps, dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(gram, rows.T @ wanted)
