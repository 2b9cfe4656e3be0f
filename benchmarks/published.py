"""The operators of the published comparison of Sorting Krylov Recycling, which are not those of its equations.

Source: arXiv 2401.09516 and the code of its authors. They are kept to reproduce its numbers, and to show what a test of
the physics would have found; no dataset should be made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from pdecontrol.arrays import Array
from pdecontrol.learn.family import Family, Sample
from pdecontrol.learn.grid import diffusion, faces
from pdecontrol.learn.random_fields import PeriodicField


@dataclass(frozen=True)
class PublishedDarcy(Family):
    """L diag(a) u = h^2 with one slip of the index: what was solved in place of -div(a grad u) = 1.

    The row of the node (i, j) has 4 a_ij on the diagonal, -a of the neighbour off it. But for the neighbour (i - 1, j)
    the indices of the unknown before the last are taken: a_{i-1,j-2}, in the first two columns a_{i-2,n-2+j}.

    Parameters
    ----------
    n : inner nodes along each axis.

    Notes
    -----
    Neither symmetric nor definite, and nearly singular: GMRES(40) stalls on it.

    Examples
    --------
    >>> family = PublishedDarcy(n=30)
    >>> matrix, b = family.system(family.draw(np.random.default_rng(1)))
    >>> bool(abs(matrix - matrix.T).max() > 0.01)
    True
    """

    name: ClassVar[str] = "published-darcy"
    n: int = 48

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.n, self.n)

    @cached_property
    def _gaussian(self) -> PeriodicField:
        return PeriodicField(self.n + 2)

    def draw(self, generator: np.random.Generator) -> Sample:
        return {"coefficient": np.exp(self._gaussian.sample(generator))}

    def system(self, sample: Sample) -> tuple[sp.csr_matrix, Array]:
        a, n = sample["coefficient"], self.n
        inner = a[1:-1, 1:-1]
        p = np.arange(n * n)
        i, j = np.divmod(p - 2, n)
        slipped = a[i, j + 1].reshape(n, n)  # a_{i'-1,j'} with the indices i' = i + 1, j' = j + 1 of unknown p - 2
        rows = p.reshape(n, n)
        entries = [
            (rows, rows, 4 * inner),
            (rows[:, 1:], rows[:, :-1], -inner[:, :-1]),
            (rows[:, :-1], rows[:, 1:], -inner[:, 1:]),
            (rows[:-1], rows[1:], -inner[1:]),
            (rows[1:], rows[:-1], -slipped[1:]),
        ]
        row, column, value = (np.concatenate([entry[k].ravel() for entry in entries]) for k in range(3))
        return sp.csr_matrix((value, (row, column)), (n * n, n * n)), np.full(n * n, (n - 1.0) ** -2)

    def reference(self) -> sp.csr_matrix:
        return diffusion(faces(np.ones((self.n + 2, self.n + 2))))

    def coercivity(self, sample: Sample) -> float | None:
        return None

    def features(self, samples: Sequence[Sample]) -> Array:
        return np.stack([sample["coefficient"].ravel() for sample in samples])

    def solution(self, sample: Sample, x: Array) -> Array:
        return np.pad(x.reshape(self.grid), 1)


@dataclass(frozen=True)
class PublishedHelmholtz(Family):
    """The matrix of `PublishedDarcy` less h^2 k^2, with one wave number k, uniform in (0, 1), a sample.

    Examples
    --------
    >>> family = PublishedHelmholtz(n=30)
    >>> family.draw(np.random.default_rng(1))["wavenumber"].shape
    (1,)
    """

    name: ClassVar[str] = "published-helmholtz"
    n: int = 98

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.n, self.n)

    @cached_property
    def _darcy(self) -> PublishedDarcy:
        return PublishedDarcy(self.n)

    def draw(self, generator: np.random.Generator) -> Sample:
        return {**self._darcy.draw(generator), "wavenumber": generator.uniform(0.0, 1.0, 1)}

    def system(self, sample: Sample) -> tuple[sp.csr_matrix, Array]:
        matrix, b = self._darcy.system(sample)
        shift = (sample["wavenumber"][0] / (self.n - 1.0)) ** 2
        return sp.csr_matrix(matrix - shift * sp.identity(matrix.shape[0])), b

    def reference(self) -> sp.csr_matrix:
        return self._darcy.reference()

    def coercivity(self, sample: Sample) -> float | None:
        return None

    def features(self, samples: Sequence[Sample]) -> Array:
        return np.stack([np.append(sample["coefficient"], sample["wavenumber"]) for sample in samples])

    def solution(self, sample: Sample, x: Array) -> Array:
        return np.pad(x.reshape(self.grid), 1)
