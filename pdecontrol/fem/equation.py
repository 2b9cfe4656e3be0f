"""Discretised equations: data sampled at quadrature points, and the linear and semilinear elliptic equation."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import AdvectionWarning, DataError, ProblemError
from ..lagrange import real_array
from ..problem import Elliptic
from ..space import Array, Data, call, digest, sample, whole_field
from .engine import CHUNK, Engine, Indices, Region


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


class Sampler:
    """Values of data at quadrature points and nodes, with a digest of each and of where they are: a restart knows the
    problem by these.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.digests: list[tuple[str, str]] = []

    def __call__(self, data: Data, region: Region, name: str, chosen: Indices | None = None) -> Array:
        """Values (count, quadrature) on a region, or on the chosen cells of it."""
        return self._sample(data, region, name, chosen, self._scalar, 1)[0]

    def components(self, data: Any, region: Region, name: str, chosen: Indices | None = None) -> Array:
        """Values (dim, count, quadrature) of a vector field given by its components, or by a function with those."""
        return self._sample(data, region, name, chosen, self._vector, self._engine.mesh.dim)

    def place(self, region: Region, name: str, chosen: Indices | None = None) -> None:
        """Take note of a region, or of some of its cells."""
        keys = region.keys if chosen is None else region.keys[:, chosen]
        self.digests.append((name, digest(self._engine.group, keys, np.zeros(keys.shape[1]))))

    def at_nodes(self, data: Data, dofs: Indices, name: str) -> Array:
        space = self._engine.nodal(dofs, np.ones(dofs.size))
        values = space.interpolate(data, name)
        rounded = np.round(space.nodes / self._engine.mesh.diameter * 1e9).astype(np.int64)
        self.digests.append((name, digest(self._engine.group, rounded, values)))
        return values

    def _sample(
        self, data: Any, region: Region, name: str, chosen: Indices | None, evaluate: Callable[..., Array], rows: int
    ) -> Array:
        cells = np.arange(region.count) if chosen is None else chosen
        shape, data = (rows, cells.size, region.quadrature), whole_field(data)
        if isinstance(data, (int, float)):
            value = float(evaluate(data, np.zeros((self._engine.mesh.dim, 1)), name)[0, 0])
            self.place(region, f"{name}: {value!r}", cells)
            return np.broadcast_to(value, shape)
        values, sums = np.empty(shape), np.empty(shape[:2])
        with self._engine.group.agree():
            for start in range(0, cells.size, CHUNK):
                part = slice(start, min(start + CHUNK, cells.size))
                points = region.points(cells[part])
                sampled = evaluate(data, points.reshape(len(points), -1), name)
                values[:, part] = sampled.reshape(rows, -1, region.quadrature)
                sums[:, part] = _sums(values[:, part], points / self._engine.mesh.diameter)
        self.digests.append((name, digest(self._engine.group, region.keys[:, cells], sums)))
        return values

    def _scalar(self, data: Any, points: Array, name: str) -> Array:
        if isinstance(data, (list, tuple)) or (isinstance(data, np.ndarray) and data.ndim):
            raise DataError(
                f"{name}: an array has no meaning here, where data are sampled at quadrature points, whose order is "
                "that of the engine: give a number, a function of x, or a field."
            )
        return self._values(data, points, name)

    def _values(self, data: Data, points: Array, name: str) -> Array:
        return sample(data, points, self._engine.mesh.diameter, name)[None]

    def _vector(self, data: Any, points: Array, name: str) -> Array:
        dim, diameter = self._engine.mesh.dim, self._engine.mesh.diameter
        if not points.shape[1]:
            return np.zeros((dim, 0))
        values, evaluate = (
            (call(data, points, diameter, name), self._values) if callable(data) else (data, self._scalar)
        )
        values = list(values) if isinstance(values, (list, tuple, np.ndarray)) and np.iterable(values) else []
        if len(values) != dim:
            raise DataError(
                f"{name}: expected {dim} components in {dim}D, numbers or a function of x with values (dim, n)."
            )
        return np.vstack([evaluate(component, points, name) for component in values])


def _sums(values: Array, points: Array) -> Array:
    """Sums (rows, cells) of values (rows, cells, quadrature), weighted in the order of the places of the points."""
    order = np.lexsort(np.round(points, 9)[::-1], axis=-1)
    ordered = np.take_along_axis(values, np.broadcast_to(order, values.shape), axis=2)
    weights = np.arange(1.0, ordered.shape[2] + 1)
    return np.asarray((ordered @ weights).reshape(len(values), -1))


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
