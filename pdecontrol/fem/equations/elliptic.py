"""Discretised equations: data sampled at quadrature points, and the linear and semilinear elliptic equation."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...arrays import Array, Indices, real_array
from ...errors import AdvectionWarning, ProblemError
from ...problem import Elliptic
from ..engine import CHUNK, Engine, Region
from ..sampler import Sampler


class Load(NamedTuple):
    """The data of conditions as a functional, and the sizes of its terms, however much of them cancels."""

    values: Array
    sizes: Array


class Equation(Protocol):
    """apply(y) = A y + R(y) - load, and its derivatives; `symmetric` and `definite` tell of A, where R is not there."""

    affine: bool
    symmetric: bool
    definite: bool

    @property
    def fingerprint(self) -> str: ...
    @property
    def load_size(self) -> Array: ...  # of the terms of the load
    @property
    def row_sums(self) -> tuple[Array, Array] | None: ...  # A 1 and the sizes of its terms, where they are known
    def apply(self, y: Array) -> Array: ...
    def matrix(self, y: Array) -> Any: ...
    def definite_at(self, y: Array) -> bool: ...  # with R
    def curvature(self, y: Array, p: Array, eta: Array) -> Array: ...  # R''(y)[eta, .] p


def warn_of_oscillations(engine: Engine, kappa: Array, advection: Array) -> None:
    """Warn on rank 0 if the cell Peclet number |b| h / (2 kappa) exceeds 1, h the distance of nodes along b.

    That is the extent of the cell in the direction of b, over the degree of the states: in one dimension, linear states
    without reaction oscillate from 1 on.
    """
    cells, group, mesh = engine.cells, engine.group, engine.mesh
    largest, where = 0.0, np.zeros(mesh.dim)
    for start in range(0, cells.count, CHUNK):
        part = slice(start, start + CHUNK)
        corners = mesh.points[:, mesh.cells[:, cells.keys[0, part]]]
        along = np.einsum("dcq,dvc->vcq", advection[:, part], corners)
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


def _probed(function: Callable[[Array], Array], probe: Array) -> bytes:
    """The values of a function of y, one by one where it is not defined at all of them."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.asarray(function(probe), dtype=float).tobytes()
        except Exception as error:
            if probe.size == 1:
                return type(error).__name__.encode()
            return b"".join(_probed(function, value) for value in np.split(probe, probe.size))


class EllipticEquation:
    """-div(kappa grad y) + b . grad y + c y + r(y) = f with natural conditions: apply(y) = A y + R(y) - load."""

    def __init__(
        self,
        equation: Elliptic,
        engine: Engine,
        sampler: Sampler,
        boundary: list[tuple[str, Region, Array]],
        load: Load,
        members: Callable[[str, str], Indices],
    ) -> None:
        self._engine, self._sampler = engine, sampler
        on_cells = partial(self._on_cells, members)
        cells = engine.cells
        kappa = on_cells(equation.diffusion, "diffusion", None)
        with engine.group.agree():
            if np.any(kappa <= 0):
                cell, point = np.argwhere(kappa <= 0)[0]
                where = cells.points(np.array([cell]))[:, 0, point].round(6).tolist()
                raise ProblemError(f"diffusion must be positive, it is {kappa[cell, point]:.6g} at x = {where}.")
        reaction = on_cells(equation.reaction, "reaction", 0.0)
        terms = [("diffusion", cells, kappa), *boundary]
        if engine.group.any(bool(reaction.any())):
            terms.append(("mass", cells, reaction))
        if equation.advection is not None:
            advection = on_cells(equation.advection, "advection", 0.0, vector=True)
            terms.append(("advection", cells, advection))
            warn_of_oscillations(engine, kappa, advection)
        self._terms = terms
        source = on_cells(equation.source, "source", 0.0)
        self._load = load.values + cells.functional(source)
        self.load_size = load.sizes + cells.functional(np.abs(source))
        self.symmetric = equation.advection is None
        self.definite = self.symmetric and not engine.group.any(bool(np.any(reaction < 0)))
        self._semilinear = equation.semilinear
        self.affine = equation.semilinear is None
        if equation.semilinear is not None:
            self._r_weight = on_cells(equation.semilinear.coefficient, "the coefficient of Semilinear", 0.0)

    @cached_property
    def _linear(self) -> Any:
        return self._engine.matrix(self._terms)

    @cached_property
    def row_sums(self) -> tuple[Array, Array] | None:
        if self._semilinear is not None:
            return None
        terms = [(region, weight) for kind, region, weight in self._terms if kind == "mass"]
        zero = 0.0 * self._load  # diffusion and advection annihilate constants
        sums = sum((region.functional(weight) for region, weight in terms), zero)
        return sums, sum((region.functional(np.abs(weight)) for region, weight in terms), zero)

    def apply(self, y: Array) -> Array:
        result = self._linear @ y - self._load
        if self._semilinear is not None:
            r = self._evaluate(self._semilinear.function, self._engine.cells.values(y))
            result += self._engine.cells.functional(self._r_weight * r)
        return np.asarray(result)

    def matrix(self, y: Array) -> Any:
        if self._semilinear is None:
            return self._linear
        return self._engine.matrix([*self._terms, ("mass", self._engine.cells, self._slope(y))])

    def definite_at(self, y: Array) -> bool:
        """Whether the matrix at y is symmetric positive definite."""
        return self.definite and not self._engine.group.any(bool(np.any(self._slope(y) < 0)))

    def curvature(self, y: Array, p: Array, eta: Array) -> Array:
        assert self._semilinear is not None  # affine equations are not asked
        cells = self._engine.cells
        values = cells.values(y)
        # r'' only steers Newton's method for the control: a difference quotient of r' is exact enough.
        step = 1e-5 * (1.0 + np.abs(values))
        derivative = self._semilinear.derivative
        second = (self._evaluate(derivative, values + step) - self._evaluate(derivative, values - step)) / (2 * step)
        return cells.functional(self._r_weight * second * cells.values(p) * cells.values(eta))

    @property
    def fingerprint(self) -> str:
        """Of what the sampled data do not tell: the function r and its derivative."""
        if self._semilinear is None:
            return ""
        far = np.append(np.geomspace(2.0, 1e6, 60), np.geomspace(1e7, 1e150, 40))
        probe = np.concatenate([np.linspace(-2.0, 2.0, 41), far, -far])
        functions = self._semilinear.function, self._semilinear.derivative
        return hashlib.sha256(b"".join(_probed(f, probe) for f in functions)).hexdigest()

    def _slope(self, y: Array) -> Array:
        assert self._semilinear is not None
        return self._r_weight * self._evaluate(self._semilinear.derivative, self._engine.cells.values(y))

    def _evaluate(self, function: Callable[[Array], Array], values: Array) -> Array:
        # Newton's method backtracks where values overflow.
        with self._engine.group.agree(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            try:
                result = np.broadcast_to(real_array(function(values.ravel()), "the values"), values.size)
            except Exception as error:
                raise ProblemError(
                    f"Semilinear: a function failed on an array of {values.size} values of y: "
                    f"{type(error).__name__}: {error}"
                ) from error
            return result.reshape(values.shape)

    def _on_cells(
        self,
        members: Callable[[str, str], Indices],
        coefficient: Any,
        name: str,
        default: float | None,
        vector: bool = False,
    ) -> Array:
        """Values (.., cells, quadrature points) of a coefficient, which may differ from part to part.

        Where it is not given it is the default; with a default of None every cell needs a value.
        """
        evaluate = self._sampler.components if vector else self._sampler
        cells, group = self._engine.cells, self._engine.group
        if not isinstance(coefficient, Mapping):
            return evaluate(coefficient, cells, name)
        leading = (self._engine.mesh.dim,) if vector else ()
        values = np.full((*leading, cells.count, cells.quadrature), default or 0.0)
        known = np.zeros(cells.count, dtype=bool)
        if not coefficient:
            raise ProblemError(f"{name}: its parts are given no value, the dictionary is empty.")
        for tag, data in coefficient.items():
            chosen = members(tag, name)
            with group.agree():
                if known[chosen].any():
                    raise ProblemError(f"{name}: the part {tag!r} overlaps another part that has a value too.")
            known[chosen] = True
            values[..., chosen, :] = evaluate(data, cells, f"{name} on {tag!r}", chosen)
        missing, total = group.sum((~known).sum()), group.sum(cells.count)
        if default is None and missing:
            raise ProblemError(
                f"{name}: {missing:.0f} of {total:.0f} cells are in none of the parts {list(coefficient)}: give "
                "the others a value too."
            )
        return values
