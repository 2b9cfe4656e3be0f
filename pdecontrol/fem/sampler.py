"""Data of a problem sampled at quadrature points and nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array, Data, Indices, call, sample, undivided
from ..errors import DataError
from ..layout import digest
from .engine import CHUNK, Engine, Region


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
        shape, data = (rows, cells.size, region.quadrature), undivided(data)
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
