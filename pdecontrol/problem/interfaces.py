"""Interfaces between parts of the domain, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from ..arrays import Data
from ..errors import ProblemError
from .shapes import Moving, Shape
from .stated import Stated, check_tag


@dataclass(frozen=True, eq=False, repr=False)
class Interface(Stated):
    """[y] = value and [kappa dy/dn] = flux (+ control) on a closed curve or surface inside the domain.

    The normal n points outwards, from the part inside, and jumps [w] are w outside minus w inside. So the equation is
    int kappa grad y . grad v = int (f + u) v - int (flux) v with the last integral over the interface, and a control on
    it, `Boundary(on=tag)`, is added to the flux.

    Parameters
    ----------
    shape : where it is: a `Circle`, `Ellipse`, `Star`, `Polygon`, `Sphere` or `LevelSet`, or `Moving`. None where the
        mesh says it, by facets with the tag of the interface.
    value : the jump of the state, a number or a function of x (or of x and t).
    flux : the jump of the flux, likewise.
    inside : the tag of the part within; on the other side is whatever part surrounds it.

    Notes
    -----
    States of a problem with interfaces have two values there, and so have targets, bounds, references and initial
    values that are given for each part, {tag: data}. Controls on the domain have two values there too.

    Examples
    --------
    >>> from pdecontrol.problem.shapes import Circle
    >>> interface = {"gamma": Interface(Circle(0.5), value=lambda x: x[0], flux=1.0, inside="core")}
    """

    shape: Shape | Moving | None = None
    value: Data = 0.0
    flux: Data = 0.0
    inside: str = "inside"

    def __post_init__(self) -> None:
        check_tag(self.inside, "Interface", optional=False)
        shape: Any = self.shape
        if not isinstance(shape, (Shape, Moving, NoneType)):
            raise ProblemError(f"Interface: the shape is a Circle, Polygon, .., Moving or None, got {shape!r}.")
        jumps: tuple[Any, Any] = self.value, self.flux
        if any(isinstance(jump, (str, Mapping)) for jump in jumps):
            raise ProblemError("Interface: value and flux are numbers or functions of x.")
