"""Spaces as arrays in files."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from .arrays import Array
from .mesh.lagrange import Lagrange
from .space import Space, product


def space_arrays(space: Space) -> dict[str, Array]:
    """What a file has of a space, by name; `space_of` makes it again."""
    if space.factors:
        parts = [space_arrays(factor) for factor in space.factors]
        return {f"{number}.{name}": array for number, part in enumerate(parts) for name, array in part.items()}
    if space.levels is not None:
        levels, edges = space.levels, space.levels.times.edges
        arrays = {"times": levels.times.levels, "weights": levels.weights}
        return space_arrays(levels.base) | arrays | ({} if edges is None else {"edges": edges})
    arrays = {"mass": space.mass}
    if not space.diagonal:
        arrays = _matrix_arrays("mass", space.mass)
    if space.elements is not None:
        names = ("vertices", "simplices", "dofs", "degree", "nodes")
        values = {name: getattr(space.elements, name) for name in names}
        arrays |= {name: np.array(value) for name, value in values.items() if value is not None}
        if space.elements.bends is not None:
            arrays["bent.edges"], arrays["bent.places"] = space.elements.bends
        arrays |= {f"part.{tag}": numbers for tag, numbers in space.elements.parts.items()}
    if space.fit is not None:
        arrays |= _matrix_arrays("fit", space.fit)
    if space.points is not None and (space.elements is None or space.fit is not None):
        arrays["points"] = space.points
    return arrays


def space_of(arrays: dict[str, Array], name: str) -> Space:
    """The space that a file has under a name."""
    own = {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}
    if any(key.startswith("0.") for key in own):
        numbers = {key.split(".")[0] for key in own if key[0].isdigit()}
        return product([space_of(own, str(number)) for number in range(len(numbers))])
    if "mass" in own:
        mass = own["mass"]
    else:
        size = own["mass.indptr"].size - 1
        mass = sp.csr_matrix(_compressed(own, "mass"), shape=(size, size))
    elements, fit = None, None
    if "degree" in own:
        bends = (own["bent.edges"], own["bent.places"]) if "bent.edges" in own else None
        parts = {key.removeprefix("part."): array for key, array in own.items() if key.startswith("part.")}
        vertices, simplices, dofs = (own[key] for key in ("vertices", "simplices", "dofs"))
        elements = Lagrange(vertices, simplices, dofs, int(own["degree"]), own.get("nodes"), bends, parts)
    if "fit.indptr" in own:
        fit = sp.csr_matrix(_compressed(own, "fit"), shape=(own["fit.indptr"].size - 1, mass.size))
    members = {}
    if elements is not None and fit is None:
        members = {tag: np.unique(elements.dofs[:, cells]) for tag, cells in elements.parts.items()}
    base = Space(mass, elements, own.get("points"), members=members, fit=fit)
    return base.over(own["times"], own["weights"], own.get("edges")) if "times" in own else base


def _matrix_arrays(name: str, matrix: Any) -> dict[str, Array]:
    rows = sp.csr_matrix(matrix)
    return {f"{name}.data": rows.data, f"{name}.indices": rows.indices, f"{name}.indptr": rows.indptr}


def _compressed(arrays: dict[str, Array], name: str) -> tuple[Array, Array, Array]:
    return arrays[f"{name}.data"], arrays[f"{name}.indices"], arrays[f"{name}.indptr"]
