"""Data of a problem sampled at quadrature points and nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arrays import Array, Data, Indices, Piecewise, at_time, call, sample, undivided
from ..errors import DataError, MeshError, ProblemError
from ..layout import digest
from ..mesh.mesh import Mesh
from .engine import CHUNK, Engine, Region


class Sampler:
    """Values of data at quadrature points and nodes, and the regions of tags.

    `digests` has what each was and where: whoever discretises a problem samples or notes all of its data here, and a
    restart knows it by these. `time` is that at which functions of x and t are sampled.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self._mesh = engine, engine.mesh
        self.time: float | None = None
        self.digests: list[tuple[str, str]] = []
        self._regions: dict[str | None, Region] = {None: engine.cells}

    def members(self, tag: str, name: str) -> Indices:
        """The cells of a part."""
        if tag not in self._mesh.parts:
            raise unknown(self._mesh, tag, "part", name)
        return self.engine.members(tag)

    def region(self, tag: str | None, name: str, kind: str = "part or boundary") -> Region:
        """The domain, a part or a boundary."""
        parts, boundaries = self._mesh.parts, self._mesh.boundaries
        if tag not in boundaries and tag is not None and (kind == "boundary" or tag not in parts):
            raise unknown(self._mesh, tag, kind, name)
        if tag not in self._regions:
            make = self.engine.facets if tag in boundaries else self.engine.part
            self._regions[tag] = make(str(tag))
        return self._regions[tag]

    def __call__(self, data: Data, region: Region, name: str, chosen: Indices | None = None) -> Array:
        """Values (count, quadrature) on a region, or on the chosen cells of it."""
        return self._sample(data, region, name, chosen, self._scalar, 1)[0]

    def components(self, data: Any, region: Region, name: str, chosen: Indices | None = None) -> Array:
        """Values (dim, count, quadrature) of a vector field given by its components, or by a function with those."""
        return self._sample(data, region, name, chosen, self._vector, self._mesh.dim)

    def on_cells(self, coefficient: Any, name: str, default: float | None, vector: bool = False) -> Array:
        """Values (.., cells, quadrature) of a coefficient, which may differ from part to part.

        Where it is not given it is the default; with a default of None every cell needs a value.
        """
        evaluate = self.components if vector else self
        cells, group = self.engine.cells, self.engine.group
        if not isinstance(coefficient, Mapping):
            return evaluate(coefficient, cells, name)
        leading = (self._mesh.dim,) if vector else ()
        values = np.full((*leading, cells.count, cells.quadrature), default or 0.0)
        known = np.zeros(cells.count, dtype=bool)
        if not coefficient:
            raise ProblemError(f"{name}: its parts are given no value, the dictionary is empty.")
        for tag, data in coefficient.items():
            chosen = self.members(tag, name)
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

    def note(self, name: str, region: Region, chosen: Indices | None = None) -> None:
        """Take note of what is on a region, or on some of its cells."""
        keys = region.keys if chosen is None else region.keys[:, chosen]
        self.digests.append((name, digest(self.engine.group, keys, np.zeros(keys.shape[1]))))

    def at_nodes(self, data: Piecewise, dofs: Indices, name: str) -> Array:
        space = self.engine.nodal(dofs, np.ones(dofs.size))
        values = space.interpolate(at_time(data, self.time, name), name)
        rounded = np.round(space.nodes / self._mesh.diameter * 1e9).astype(np.int64)
        self.digests.append((name, digest(self.engine.group, rounded, values)))
        return values

    def _sample(
        self, data: Any, region: Region, name: str, chosen: Indices | None, evaluate: Callable[..., Array], rows: int
    ) -> Array:
        cells = np.arange(region.count) if chosen is None else chosen
        shape, data = (rows, cells.size, region.quadrature), at_time(undivided(data), self.time, name)
        if isinstance(data, (int, float)):
            value = float(evaluate(data, np.zeros((self._mesh.dim, 1)), name)[0, 0])
            self.note(f"{name}: {value!r}", region, cells)
            return np.broadcast_to(value, shape)
        values, sums = np.empty(shape), np.empty(shape[:2])
        with self.engine.group.agree():
            for start in range(0, cells.size, CHUNK):
                part = slice(start, min(start + CHUNK, cells.size))
                points = region.points(cells[part])
                sampled = evaluate(data, points.reshape(len(points), -1), name)
                values[:, part] = sampled.reshape(rows, -1, region.quadrature)
                sums[:, part] = _sums(values[:, part], points / self._mesh.diameter)
        self.digests.append((name, digest(self.engine.group, region.keys[:, cells], sums)))
        return values

    def _scalar(self, data: Any, points: Array, name: str) -> Array:
        if isinstance(data, (list, tuple)) or (isinstance(data, np.ndarray) and data.ndim):
            raise DataError(
                f"{name}: an array has no meaning here, where data are sampled at quadrature points, whose order is "
                "that of the engine: give a number, a function of x, or a field."
            )
        return self._values(data, points, name)

    def _values(self, data: Data, points: Array, name: str) -> Array:
        return sample(data, points, self._mesh.diameter, name)[None]

    def _vector(self, data: Any, points: Array, name: str) -> Array:
        dim, diameter = self._mesh.dim, self._mesh.diameter
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
        return np.vstack([evaluate(at_time(component, self.time, name), points, name) for component in values])


def _sums(values: Array, points: Array) -> Array:
    """Sums (rows, cells) of values (rows, cells, quadrature), weighted in the order of the places of the points."""
    order = np.lexsort(np.round(points, 9)[::-1], axis=-1)
    ordered = np.take_along_axis(values, np.broadcast_to(order, values.shape), axis=2)
    weights = np.arange(1.0, ordered.shape[2] + 1)
    return np.asarray((ordered * weights).sum(axis=2))


def unknown(mesh: Mesh, tag: object, kind: str, name: str) -> MeshError:
    """The error for a tag that a mesh does not have."""
    parts, boundaries = list(mesh.parts), list(mesh.boundaries)
    return MeshError(f"{name}: the mesh has no {kind} {tag!r}; its parts are {parts}, its boundaries {boundaries}.")
