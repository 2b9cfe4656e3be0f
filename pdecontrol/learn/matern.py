"""Random fields on meshes of any shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import SuperLU

from ..arrays import Array
from ..errors import ProblemError
from ..linear.direct import sparse_factors
from ..mesh.elements import cell_lagrange
from ..mesh.mesh import Mesh
from .norms import gradient_matrix
from .random_fields import RandomField


@dataclass(frozen=True)
class MaternField(RandomField):
    """(kappa^2 - Laplace)^(order/2) g = c W on a mesh, with white noise W and dg/dn = 0: a Gaussian field.

    As the mesh is refined, its covariance tends to deviation^2 2^(1 - nu) / Gamma(nu) (kappa r)^nu K_nu(kappa r) with
    nu = order - dim/2, away from the boundary. On a straight side the variance is twice as large; where this matters,
    take a mesh that goes on for a length.

    Parameters
    ----------
    mesh : the field is given at its vertices.
    length : the distance at which the correlation is about 0.14; kappa = sqrt(8 nu) / length.
    order : an integer larger than dim/2.
    deviation : the standard deviation of g away from the boundary, up to 3 % with cells of an eighth of the length.

    Notes
    -----
    F. Lindgren, H. Rue and J. Lindstroem, An explicit link between Gaussian fields and Gaussian Markov random fields,
    J. R. Stat. Soc. B 73 (2011), 423-498, with linear elements, their lumped mass C and stiffness B'B. For K =
    kappa^2 C + B'B, order 1 is K^-1 (kappa C^(1/2) xi + B' eta) with the covariance K^-1, order 2 is K^-1 C^(1/2) xi,
    and K^-1 C adds 2 to the order.

    Examples
    --------
    >>> from pdecontrol.mesh.shapes import disc
    >>> MaternField(disc(8), length=0.5).sample(np.random.default_rng(5)).shape
    (217,)
    """

    mesh: Mesh
    length: float
    order: int = 2
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.mesh, Mesh):
            raise ProblemError(f"MaternField: mesh must be a Mesh, got {type(self.mesh).__name__}.")
        self._check("length", "deviation", order=self.mesh.dim // 2 + 1)
        size = self.mesh.volumes.mean() ** (1 / self.mesh.dim)
        if self.length < size:
            raise ProblemError(f"MaternField: length must be at least the cell size {size:.2g}, got {self.length}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.mesh.points.shape[1],)

    @property
    def kappa(self) -> float:
        """The parameter sqrt(8 nu) / length of the covariance."""
        return math.sqrt(8 * self.order - 4 * self.mesh.dim) / self.length

    def sample(self, generator: np.random.Generator) -> Array:
        load = np.sqrt(self._mass) * generator.standard_normal(self._mass.size)
        if self.order % 2:
            load = self.kappa * load + self._gradient.T @ generator.standard_normal(self._gradient.shape[0])
        g = self._factors.solve(load)
        for _ in range((self.order - 1) // 2):
            g = self._factors.solve(self._mass * g)
        nu, dim = self.order - self.mesh.dim / 2, self.mesh.dim
        variance = math.gamma(nu) / math.gamma(self.order) / (4 * math.pi) ** (dim / 2) / self.kappa ** (2 * nu)
        return g * (self.deviation / math.sqrt(variance))  # that of the equation on the whole space with c = 1

    @cached_property
    def _mass(self) -> Array:
        return np.asarray(cell_lagrange(self.mesh, 1).lumped_mass())

    @cached_property
    def _gradient(self) -> sp.csr_matrix:
        return gradient_matrix(self.mesh.points, self.mesh.cells)

    @cached_property
    def _factors(self) -> SuperLU:
        matrix = self.kappa**2 * sp.diags(self._mass) + self._gradient.T @ self._gradient
        return sparse_factors(matrix, definite=True)
