"""Linear elliptic equations."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ...arrays import Array
from ...errors import AdvectionWarning, ProblemError
from ...problem import Elliptic, Quasilinear
from ..conditions import Natural
from ..control import Coupling
from ..engine import CHUNK, Engine, Integral, advection, constant_mass, diffusion, mass
from ..sampler import Sampler
from .equation import Affine, StateEquation


class LinearElliptic(StateEquation):
    """-div(kappa grad y) + b . grad y + c y = f + control with natural conditions: e(y, u) = A y - f - C u.

    Of an equation with other terms its linear part; a diffusion that depends on the state is none of it.
    """

    fingerprint = ""

    def __init__(self, equation: Elliptic, sampler: Sampler, natural: Natural, coupling: Coupling) -> None:
        engine = sampler.engine
        kappa = None
        if not isinstance(equation.diffusion, Quasilinear):
            kappa = sampler.on_cells(equation.diffusion, "diffusion", None)
            when = "" if sampler.time is None else f" at t = {sampler.time:g}"
            refuse_unless_positive(kappa, f"diffusion{when}", engine)
        self._reaction = sampler.on_cells(equation.reaction, "reaction", 0.0)
        self._terms = [*([] if kappa is None else [Integral(diffusion, engine.cells, kappa)]), *natural.terms]
        if engine.group.any(bool(self._reaction.any())):
            self._terms.append(Integral(mass, engine.cells, self._reaction))
        if equation.advection is not None:
            flow = sampler.on_cells(equation.advection, "advection", 0.0, vector=True)
            self._terms.append(Integral(advection, engine.cells, flow))
            if kappa is not None:
                warn_of_oscillations(engine, kappa, flow)
        load, sizes = source_load(equation, sampler)
        self._load, self._symmetric = natural.load + load, equation.advection is None
        self._engine, self.coupling = engine, coupling
        self.affine = Affine(natural.sizes + sizes, self._symmetric, self._row_sums())
        self.definite = self.definite_with([], 0.0)

    def _row_sums(self) -> tuple[Array, Array]:
        """A 1 and the sizes of its terms: diffusion and advection annihilate constants."""
        weights = [(region, weight) for integrand, region, weight in self._terms if integrand is mass]
        zero = 0.0 * self._load
        sums = sum((region.functional(weight) for region, weight in weights), zero)
        return sums, sum((region.functional(np.abs(weight)) for region, weight in weights), zero)

    @cached_property
    def _matrix(self) -> Any:
        return self._engine.matrix(self._terms)

    def residual(self, y: Array, u: Array) -> Array:
        return np.asarray(self._matrix @ y - self._load - self.coupling.apply(u))

    def jacobian(self, y: Array, u: Array, shift: float = 0.0) -> Any:
        return self.assemble([constant_mass(self._engine.cells, shift)]) if shift else self._matrix

    def definite_at(self, y: Array, u: Array, shift: float = 0.0) -> bool:
        return self.definite_with([], shift)

    def definite_with(self, more: Sequence[Integral], shift: float) -> bool:
        """Whether A + shift * mass with more terms is known to be symmetric positive definite."""
        reaction = sum((term.weight for term in more), self._reaction + shift)
        negative = self._engine.group.any(bool(np.any(reaction < 0)))
        return self._symmetric and not negative and all(term.integrand is mass for term in more)

    def assemble(self, more: Sequence[Integral]) -> Any:
        """The matrix with more terms."""
        return self._engine.matrix(more, self._matrix)


def refuse_unless_positive(values: Array, name: str, engine: Engine) -> None:
    """Raise ProblemError for a coefficient (cells, quadrature) that is negative or zero somewhere."""
    with engine.group.agree():
        if np.any(values <= 0):
            cell, point = np.argwhere(values <= 0)[0]
            where = place(engine, cell, point)
            raise ProblemError(f"{name} must be positive, it is {values[cell, point]:.6g} at x = {where}.")


def place(engine: Engine, cell: int, point: int) -> list[float]:
    """A quadrature point of a cell, rounded."""
    return list(engine.cells.points(np.array([cell]))[:, 0, point].round(6).tolist())


def source_load(equation: Elliptic, sampler: Sampler) -> tuple[Array, Array]:
    """v -> int f v, and the sizes of its terms, entry by entry."""
    cells, source = sampler.engine.cells, sampler.on_cells(equation.source, "source", 0.0)
    return cells.functional(source), cells.functional(np.abs(source))


def warn_of_oscillations(engine: Engine, kappa: Array, flow: Array) -> None:
    """Warn on rank 0 if the cell Peclet number |b| h / (2 kappa) exceeds 1, h the distance of nodes along b.

    That is the extent of the cell in the direction of b, over the degree of the states: in one dimension, linear states
    without reaction oscillate from 1 on.
    """
    cells, group, mesh = engine.cells, engine.group, engine.mesh
    largest, where = 0.0, np.zeros(mesh.dim)
    for start in range(0, cells.count, CHUNK):
        part = slice(start, start + CHUNK)
        corners = mesh.points[:, mesh.cells[:, cells.keys[0, part]]]
        along = np.einsum("dcq,dvc->vcq", flow[:, part], corners)
        peclet = np.ptp(along, axis=0) / (2 * engine.degree * kappa[part])
        if peclet.max() > largest:
            cell, point = np.unravel_index(np.argmax(peclet), peclet.shape)
            largest, where = float(peclet.max()), cells.points(np.array([start + cell]))[:, 0, point]
    largest, where = max(group.collect((largest, where.tolist())))
    with group.agree():
        if group.root and largest > 1 + 1e-9:  # not for the rounding of h
            warnings.warn(
                f"advection dominates: the cell Peclet number |b| h / (2 kappa) is {largest:.3g} at x = "
                f"{np.round(where, 6).tolist()}, above 1, where discrete states may oscillate, so that what is "
                "certified of the discrete problem says little of the equation. Make the cells there as "
                "many times shorter along b.",
                AdvectionWarning, stacklevel=2,
            )  # fmt: skip
