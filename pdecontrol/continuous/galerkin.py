"""Galerkin solutions for functions on cells, with bounds on what the solution of the linear systems errs by."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from ..arrays import Array
from ..fem.steady import SteadyMap
from .intervals import Intervals
from .samples import functional, reference
from .statement import Statement

ACCURACY = 1e-10  # of steps of methods


class Solution(NamedTuple):
    """A Galerkin solution nearly, and a bound on the norm of what its residual is as a functional in L2."""

    y: Array
    defect: float


class Galerkin:
    """(kappa grad y, grad v) + (c y, v) = (r, v) + <g, v> for all v, by the factors of a map."""

    def __init__(self, map: SteadyMap, statement: Statement) -> None:
        self.map, self._statement = map, statement
        self.size = map.system.engine.size
        self._lifting = map.system.lifting

    @cached_property
    def _fixed(self) -> tuple[Array, Array]:
        """y_D, and a(y_D, .)."""
        system, zero = self.map.system, self.map.control.zeros()
        y = self._lifting.initial()
        return y, np.asarray(system.equation.jacobian(y, zero) @ y)

    @cached_property
    def _gram(self) -> Array:
        """The mass matrix of a cell of volume 1."""
        corners, count = len(self._statement.cells.cells), len(self._statement.dofs)
        if count > corners:
            return reference(corners).gram
        return (np.eye(corners) + 1) / (corners * (corners + 1))

    @cached_property
    def _least(self) -> Array:
        """A diagonal D (free,) with v' D v <= ||v||^2."""
        statement, gram = self._statement, self._gram
        diagonal = np.diag(gram)
        smallest = np.linalg.eigvalsh(gram / np.sqrt(np.outer(diagonal, diagonal)))[0]
        entries = smallest * np.outer(diagonal, statement.volumes)
        return np.bincount(statement.dofs.ravel(), entries.ravel(), self.size)[self._lifting.free]

    def load(self, moments: Array, flux: Array | None = None) -> Array:
        """(r, phi) + <g, phi> for moments of r on cells and of g on facets."""
        dofs, cells = self._statement.dofs, self._statement.cells
        load = np.bincount(dofs.ravel(), functional(moments, len(dofs)).ravel(), self.size)
        if flux is None or not flux.any():
            return load
        corners, vertices = len(cells.cells), np.empty(cells.points.shape[1], dtype=int)
        vertices[cells.cells] = dofs[:corners]
        if isinstance(cells, Intervals):
            return load + np.bincount(vertices, flux[0, 0], self.size)
        rows = functional(flux, 2 if len(dofs) == corners else 3)
        load += np.bincount(vertices[cells.facets].ravel(), rows[:2].ravel(), self.size)
        if len(dofs) > corners:
            middles = np.empty(cells.facets.shape[1], dtype=int)
            middles[cells.facets_of] = dofs[corners:]
            load += np.bincount(middles, rows[2], self.size)
        return load

    def solve(self, load: Array, lifted: bool = False) -> Solution:
        """The solution for a functional (size,), with the Dirichlet values of the problem or with zero ones."""
        factors, lifting = self.map.factors, self._lifting
        fixed, moved = self._fixed if lifted else (0.0, 0.0)
        b = lifting.restrict(load - moved)
        with self.map.solves.solving("state" if lifted else "adjoint"):
            x = factors.solve(b).x
        r, rounding = factors.residual(x, b, 0.0)
        defect = np.sqrt(((np.abs(r) + rounding) ** 2 / self._least).sum())
        return Solution(fixed + lifting.extend(x), float(defect))

    def apply(self, load: Array) -> Array:
        """The solution with zero Dirichlet values for a functional, to the accuracy of steps of a method."""
        with self.map.solves.solving("tangent"):
            x = self.map.factors.solve(self._lifting.restrict(load), accuracy=ACCURACY).x
        return self._lifting.extend(x)

    def mass(self, weight: Array) -> Any:
        """The matrix int w y v, for w constant on cells (n,), or given by the integrals (l, l, n) of w phi phi."""
        statement = self._statement
        local = weight
        if weight.ndim == 1:
            local = self._gram[:, :, None] * (weight * statement.volumes)
        rows, columns = np.broadcast_arrays(statement.dofs[:, None], statement.dofs[None])
        return csr_matrix((local.ravel(), (rows.ravel(), columns.ravel())), (self.size, self.size))
