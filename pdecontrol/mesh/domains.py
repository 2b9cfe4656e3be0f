"""Domains with interfaces as they are stated for a mesh, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import MeshError
from ..problem.interfaces import Interface
from ..problem.shapes import Moving, Polygon, Shape

Domain = Sequence[tuple[float, float]] | Polygon


def corners_of(domain: Domain) -> Array:
    """The corners (2, n) of a plane domain, anticlockwise."""
    if isinstance(domain, Polygon):
        return domain.corners
    (left, right), (bottom, top) = domain
    return np.array([[left, right, right, left], [bottom, bottom, top, top]], dtype=float)


def box_of(domain: Any) -> list[tuple[float, float]]:
    """The lower and the upper end of each axis."""
    if isinstance(domain, Polygon):
        return [(float(row.min()), float(row.max())) for row in domain.corners]
    try:
        pairs = [(float(low), float(high)) for low, high in domain]
    except (TypeError, ValueError):
        pairs = []
    if len(pairs) not in (2, 3) or not all(-math.inf < low < high < math.inf for low, high in pairs):
        raise MeshError(
            f"The domain is a Polygon, or pairs (low, high) with low < high for two or three axes, got {domain!r}."
        )
    return pairs


def shapes_of(interface: Any, dim: int) -> dict[str, Shape]:
    """The shapes of interfaces by tag."""
    if not isinstance(interface, Mapping) or not interface:
        raise MeshError(
            f"fitted_mesh takes the interfaces of a problem, as {{tag: Interface(...)}}, got {interface!r}."
        )
    for tag, item in interface.items():
        if not isinstance(tag, str) or not tag or not isinstance(item, Interface):
            raise MeshError(f"An interface is an Interface(...) with a tag, a string, got {tag!r}: {item!r}.")
    return {tag: still_shape(tag, item, dim) for tag, item in interface.items()}


def still_shape(tag: str, interface: Interface, dim: int) -> Shape:
    """The shape of an interface in the plane or in space; raises MeshError where there is none."""
    shape = interface.shape
    if isinstance(shape, Moving):
        raise MeshError(f'Interface "{tag}": a mesh cannot follow a moving interface.')
    if shape is None:
        raise MeshError(f'Interface "{tag}" has no shape, so that no mesh can be fitted to it.')
    if dim not in shape.dims:
        raise MeshError(
            f'Interface "{tag}": {type(shape).__name__} is a shape in {shape.dims[0]} dimensions, the domain has {dim}.'
        )
    return shape


def check_tags(interface: Mapping[str, Interface], outside: Any, sides: set[str]) -> None:
    """Raise MeshError for a tag of two things."""
    insides = {item.inside for item in interface.values()}
    if not isinstance(outside, str):
        raise MeshError(f"outside is the tag of a part, a string, got {outside!r}.")
    if outside in insides:
        raise MeshError(f'"{outside}" names the part outside of all interfaces and one inside; rename one of them.')
    for tag in interface:
        if tag in sides or tag == "boundary":
            raise MeshError(f'"{tag}" names an interface and a boundary of the domain; rename the interface.')
    for tag in [outside, *insides]:
        if tag in interface or tag in sides or tag == "boundary":
            raise MeshError(f'"{tag}" names both a part and a boundary; rename the part.')


def positive(value: Any, name: str) -> float:
    """The value as a float; raises MeshError unless it is a positive number."""
    number: Any = value
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < number < math.inf:
        raise MeshError(f"fitted_mesh: {name} must be a positive number, got {value!r}.")
    return float(number)
