"""Low-rank maps of control problems: a few numbers of the control, and a few functions of the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import DataError
from .core import Core, fitted, modes, roots, times
from .deeponet import CHANNELS, WIDTHS
from .network import ControlNetwork
from .trunk import Trunk

RANK = 96


class Functions(nn.Module):
    """T (m, r): the values of r functions at m points, trained numbers or those of a trunk."""

    def __init__(self, points: int, dimension: int, rank: int, trunk: Sequence[int] | None, bend: str) -> None:
        super().__init__()
        self.trunk = None if trunk is None else Trunk(points, dimension, rank, trunk, bend)
        self.values = None if trunk is not None else nn.Parameter(torch.randn(points, rank) / rank**0.5)

    def place(self, points: Tensor) -> None:
        if self.trunk is not None:
            self.trunk.place(points)

    def forward(self) -> Tensor:
        if self.values is not None:
            return self.values
        assert self.trunk is not None
        found: Tensor = self.trunk()
        return found


class LowRank(ControlNetwork):
    """y = T C(a) B u + T d(a): T a trunk or a free matrix, C(a) diagonal (a DeepONet linear in u) or full, B free.

    Parameters
    ----------
    controls, states, dimension : the number of points of u and of y, and of the coordinates of the latter.
    rank : r, 96 by default, or as many as there are points.
    core : "diagonal" or "full".
    coefficient : the shape of a, None where there is none: C is a trained matrix then.
    branch, widths, channels, activation : of the coefficient, see `DeepONet`.
    trunk : the hidden widths of the trunk; None for a free matrix T.
    constant : whether there is d(a), for equations whose S_a(0) depends on a.

    Notes
    -----
    The transpose is B^T C(a)^T T^T; where masses are lumped, the adjoint in the spaces is M_u^-1 B^T C^T T^T M_y.
    The coefficient is encoded once: then one control costs 2 r (n + m) operations, and 2 r^2 more for a full core.

    `prepare` lets a free T and B begin as the principal modes of y and of q = S'^T w, turned and scaled such that
    C = I is the best matrix for all samples: training begins at the best map that does not see the coefficient.

    Examples
    --------
    >>> import torch
    >>> network = LowRank(controls=9, states=5, rank=3, coefficient=[2, 2], branch="dense")
    >>> network(torch.zeros(4, 9), torch.ones(4, 2, 2)).tolist() == torch.zeros(4, 5).tolist()
    True
    """

    on_grid, affine = False, True

    def __init__(
        self,
        controls: int,
        states: int,
        dimension: int = 2,
        rank: int | None = None,
        core: str = "full",
        coefficient: Sequence[int] | None = None,
        branch: str = "convolutional",
        widths: Sequence[int] = WIDTHS,
        channels: Sequence[int] = CHANNELS,
        trunk: Sequence[int] | None = None,
        constant: bool = False,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        rank = min(RANK, controls, states) if rank is None else rank
        if not 1 <= rank <= min(controls, states):
            raise ValueError(f"a map from {controls} to {states} numbers has a rank from 1 to the smaller, not {rank}")
        self.functions = Functions(states, dimension, rank, trunk, activation)
        self.control = nn.Linear(controls, rank, bias=False)
        self.core = Core(rank, core, constant, coefficient, branch, widths, channels, activation)
        self.constant = constant

    def place(self, controls: Tensor, states: Tensor, mass: Tensor | None = None) -> None:
        self.functions.place(states)

    def prepare(self, u: Tensor, y: Tensor, w: Tensor | None = None, q: Tensor | None = None) -> None:
        values = self.functions.values
        if values is None or w is None or q is None:
            return
        if self.constant:
            u, y = u - u.mean(dim=0), y - y.mean(dim=0)
        u, y, w, q = u.double(), y.double(), w.double(), q.double()
        _enough(self.core.rank, y, q)
        left, right = modes(y, self.core.rank), modes(q, self.core.rank)
        p, sizes, r = torch.linalg.svd(fitted(u @ right, y @ left, w @ left, q @ right))
        with torch.no_grad():
            values.copy_(left @ p * roots(sizes))
            self.control.weight.copy_(roots(sizes)[:, None] * (r @ right.T))

    def encode(self, a: Tensor | None) -> Any:
        """T, C(a) and d(a)."""
        return self.functions(), *self.core(a)

    def apply_to(self, encoded: Any, u: Tensor) -> Tensor:
        functions, core, constant = encoded
        z = times(core, self.control(u))
        y: Tensor = (z + constant if self.constant else z) @ functions.T
        return y


class SelfAdjoint(ControlNetwork):
    """y = V L(a) L(a)^T V^T M u, self-adjoint and positive semidefinite in <u, v> = u^T M v for all weights.

    Parameters
    ----------
    points, dimension : the number of points, the same for u and y, and of their coordinates.
    rank, core, coefficient, branch, widths, channels, activation : see `LowRank`; "core" is L.
    trunk : the hidden widths of the trunk of V; None for a free matrix.

    Notes
    -----
    M are the lumped masses of the control, divided by their mean, 1 until `place` gives others: S(u) = K^-1 M u has
    this form where the equation is self-adjoint, control and observation are functions on the same points, and the
    control has lumped masses. With masses M_y of the observation the adjoint in the spaces is
    w -> V L L^T V^T M_y w, by the same small matrices: it errs as the map does. One application costs 4 r n operations,
    and 4 r^2 more for a full L.

    `prepare` lets a free V begin as the principal modes of y and q, such that L = I is best for all samples.

    Examples
    --------
    >>> import torch
    >>> S = SelfAdjoint(points=9, rank=3)(torch.eye(9))
    >>> bool(torch.allclose(S, S.T))
    True
    """

    on_grid, affine = False, True
    mass: Tensor

    def __init__(
        self,
        points: int,
        dimension: int = 2,
        rank: int | None = None,
        core: str = "full",
        coefficient: Sequence[int] | None = None,
        branch: str = "convolutional",
        widths: Sequence[int] = WIDTHS,
        channels: Sequence[int] = CHANNELS,
        trunk: Sequence[int] | None = None,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        rank = min(RANK, points) if rank is None else rank
        if not 1 <= rank <= points:
            raise ValueError(f"a map of {points} numbers has a rank from 1 to {points}, not {rank}")
        self.functions = Functions(points, dimension, rank, trunk, activation)
        self.core = Core(rank, core, False, coefficient, branch, widths, channels, activation)
        self.register_buffer("mass", torch.ones(points))

    def place(self, controls: Tensor, states: Tensor, mass: Tensor | None = None) -> None:
        if controls.shape != states.shape or not torch.equal(controls, states):
            raise DataError("a self-adjoint network takes control and observation at the same points.")
        self.functions.place(states)
        if mass is not None:
            if mass.shape != self.mass.shape or not (mass > 0).all():
                raise DataError(f"a self-adjoint network takes {len(self.mass)} positive masses.")
            self.mass.copy_(mass / mass.mean())

    def prepare(self, u: Tensor, y: Tensor, w: Tensor | None = None, q: Tensor | None = None) -> None:
        values, half = self.functions.values, self.mass.double().sqrt()
        if values is None:
            return
        # in the variables M^(1/2) u and M^(1/2) y the map is symmetric, and pairs w, q = S^T w are pairs of it too
        u, y = u.double() * half, y.double() * half
        if w is not None and q is not None:
            u, y = torch.cat([u, w.double() / half]), torch.cat([y, q.double() / half])
        _enough(self.core.rank, y)
        basis = modes(y, self.core.rank)
        u, y = u @ basis, y @ basis
        sizes, p = torch.linalg.eigh(fitted(u, y, u, y))
        with torch.no_grad():
            values.copy_(basis @ p * roots(sizes) / half[:, None])

    def encode(self, a: Tensor | None) -> Any:
        """V and L(a)."""
        return self.functions(), self.core(a)[0]

    def apply_to(self, encoded: Any, u: Tensor) -> Tensor:
        functions, core = encoded
        transposed = core if core.ndim == 2 else core.transpose(1, 2)
        y: Tensor = times(core, times(transposed, (self.mass * u) @ functions)) @ functions.T
        return y


def _enough(rank: int, *samples: Tensor) -> None:
    if any(len(x) < rank for x in samples):
        raise DataError(f"a map of rank {rank} begins with as many samples or more.")
