"""Shapes of inclusions, as data: closed curves of the plane and closed surfaces, with what is inside of them.

Arrays of points have shape (dim, n), as everywhere.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, real_array
from ..errors import DataError, ProblemError
from .curves import closed_curve, crossing, divided_sides, inside_polygon, nearest_on_polygon, signed_area, traced
from .shape import TINY, Box, Shape, check_numbers, column, direction, newton, turned
from .stated import Stated, check_number

__all__ = ["Circle", "Ellipse", "LevelSet", "Moving", "Polygon", "Shape", "Sphere", "Star"]

STEP = 1e-5  # of differences


class Ball(Shape):
    """A disc or a solid ball, by its centre and radius."""

    radius: float
    centre: Sequence[float]
    entire: ClassVar[bool] = True

    def level(self, x: Array) -> Array:
        return np.asarray(0.5 * (((x - column(self.centre)) ** 2).sum(axis=0) / self.radius - self.radius))

    def gradient(self, x: Array) -> Array:
        return np.asarray((x - column(self.centre)) / self.radius)

    def project(self, x: Array) -> Array:
        return np.asarray(column(self.centre) + self.radius * self.normal(x))


@dataclass(frozen=True, eq=False, repr=False)
class Circle(Ball):
    """||x - centre|| = radius in the plane.

    Examples
    --------
    >>> Circle(0.5).contains(np.array([[0.0, 0.6], [0.0, 0.0]])).tolist()
    [True, False]
    """

    radius: float
    centre: Sequence[float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        check_number(self.radius, "the radius of a circle", positive=True)
        check_numbers(self.centre, "the centre of a circle", 2)

    def curves(self, size: float, turn: float, box: Box) -> list[Array]:
        return [closed_curve(lambda t: column(self.centre) + self.radius * direction(2 * np.pi * t), size, turn)]


@dataclass(frozen=True, eq=False, repr=False)
class Sphere(Ball):
    """||x - centre|| = radius in space.

    Examples
    --------
    >>> Sphere(0.5).distance(np.array([[0.0], [0.7], [0.0]])).round(12).tolist()
    [0.2]
    """

    radius: float
    centre: Sequence[float] = (0.0, 0.0, 0.0)
    dims: ClassVar[tuple[int, ...]] = (3,)

    def __post_init__(self) -> None:
        check_number(self.radius, "the radius of a sphere", positive=True)
        check_numbers(self.centre, "the centre of a sphere", 3)

    def curves(self, size: float, turn: float, box: Box) -> list[Array]:
        raise ProblemError("A sphere is a surface: only shapes of the plane have curves.")


@dataclass(frozen=True, eq=False, repr=False)
class Ellipse(Shape):
    """(xi / a)^2 + (eta / b)^2 = 1 with the semi-axes a and b, in axes xi, eta around the centre, turned by the angle.

    Examples
    --------
    >>> Ellipse((0.6, 0.3)).project(np.array([[0.7], [0.0]])).round(12).tolist()
    [[0.6], [0.0]]
    """

    semi_axes: tuple[float, float]
    centre: Sequence[float] = (0.0, 0.0)
    angle: float = 0.0
    entire: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_numbers(self.semi_axes, "the semi-axes of an ellipse", 2)
        for axis in self.semi_axes:
            check_number(axis, "a semi-axis of an ellipse", positive=True)
        check_numbers(self.centre, "the centre of an ellipse", 2)
        check_numbers([self.angle], "the angle of an ellipse", 1)

    def level(self, x: Array) -> Array:
        return np.asarray(0.5 * min(self.semi_axes) * ((self._own(x) ** 2).sum(axis=0) - 1))

    def gradient(self, x: Array) -> Array:
        return turned(self.angle) @ (min(self.semi_axes) * self._own(x) / column(self.semi_axes))

    def project(self, x: Array) -> Array:
        return newton(self, x, self._radial)

    def curves(self, size: float, turn: float, box: Box) -> list[Array]:
        return [closed_curve(lambda t: self._on_curve(2 * np.pi * t), size, turn)]

    def _own(self, x: Array) -> Array:
        """Coordinates in which the ellipse is the unit circle."""
        return np.asarray(turned(-self.angle) @ (x - column(self.centre)) / column(self.semi_axes))

    def _on_curve(self, parameter: Array) -> Array:
        return np.asarray(column(self.centre) + turned(self.angle) @ (column(self.semi_axes) * direction(parameter)))

    def _radial(self, x: Array) -> Array:
        xi, eta = self._own(x)
        return self._on_curve(np.arctan2(eta, xi))


@dataclass(frozen=True, eq=False, repr=False)
class Star(Shape):
    """r = radius + amplitude sin(arms theta), in polar coordinates around the centre, turned by the angle.

    Examples
    --------
    >>> Star(0.5, 0.2, arms=5).contains(np.array([[0.0, 0.0], [0.6, -0.6]])).tolist()
    [True, False]
    """

    radius: float
    amplitude: float
    arms: int
    centre: Sequence[float] = (0.0, 0.0)
    angle: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.radius, "the radius of a star", positive=True)
        check_numbers([self.amplitude], "the amplitude of a star", 1)
        if isinstance(self.arms, bool) or not isinstance(self.arms, Integral) or self.arms < 1:
            raise ProblemError(f"the arms of a star must be a positive integer, got {self.arms!r}.")
        if abs(self.amplitude) >= self.radius:
            raise ProblemError(
                f"the amplitude {self.amplitude} of a star must be smaller than its radius {self.radius}: else it "
                "crosses itself."
            )
        check_numbers(self.centre, "the centre of a star", 2)
        check_numbers([self.angle], "the angle of a star", 1)

    def level(self, x: Array) -> Array:
        distance, theta = self._polar(x)
        return np.asarray(distance - self._radius_at(theta))

    def gradient(self, x: Array) -> Array:
        distance, theta = self._polar(x)
        away = np.maximum(distance, 1e-9 * self.radius)  # the gradient has no bound at the centre
        slope = self.amplitude * self.arms * np.cos(self.arms * theta) / away
        outwards = direction(theta + self.angle)
        return np.asarray(outwards - slope * np.array([-outwards[1], outwards[0]]))

    def project(self, x: Array) -> Array:
        return newton(self, x, self._radial)

    def curves(self, size: float, turn: float, box: Box) -> list[Array]:
        return [closed_curve(lambda t: self._on_curve(2 * np.pi * t), size, turn)]

    def _polar(self, x: Array) -> tuple[Array, Array]:
        xi, eta = turned(-self.angle) @ (x - column(self.centre))
        return np.hypot(xi, eta), np.arctan2(eta, xi)

    def _radius_at(self, theta: Array) -> Array:
        return np.asarray(self.radius + self.amplitude * np.sin(self.arms * theta))

    def _on_curve(self, theta: Array) -> Array:
        return np.asarray(column(self.centre) + self._radius_at(theta) * direction(theta + self.angle))

    def _radial(self, x: Array) -> Array:
        return self._on_curve(self._polar(x)[1])


@dataclass(frozen=True, eq=False, repr=False)
class Polygon(Shape):
    """A polygon with the corners `vertices`, pairs (x, y) in their order around it; its level is the signed distance.

    Examples
    --------
    >>> Polygon([(0, 0), (2, 0), (2, 1), (0, 1)]).level(np.array([[1.0, 3.0], [0.75, 1.0]])).tolist()
    [-0.25, 1.0]
    """

    vertices: Any

    def __post_init__(self) -> None:
        vertices = real_array(self.vertices, "the vertices of a polygon")
        if vertices.ndim != 2 or vertices.shape[1] != 2 or len(vertices) < 3:
            raise ProblemError(
                f"a polygon takes at least three corners (x, y), got an array of shape {vertices.shape}."
            )
        if not np.isfinite(vertices).all():
            raise ProblemError("the vertices of a polygon must be finite.")
        repeated = (vertices == np.roll(vertices, -1, axis=0)).all(axis=1)
        if repeated.any():
            raise ProblemError(f"a polygon has the corner {vertices[np.argmax(repeated)].tolist()} twice in a row.")
        place = crossing(vertices.T)
        if place is not None:
            raise ProblemError(f"a polygon crosses or touches itself at x = {place.round(6).tolist()}.")

    @cached_property
    def corners(self) -> Array:
        """The corners, shape (2, n), anticlockwise."""
        corners = real_array(self.vertices, "the vertices of a polygon").T
        return corners if signed_area(corners) > 0 else corners[:, ::-1]

    def level(self, x: Array) -> Array:
        return np.where(self.contains(x), -1.0, 1.0) * self.distance(x)

    def gradient(self, x: Array) -> Array:
        foot, side, share = nearest_on_polygon(self.corners, x)
        offset = x - foot
        lengths = np.linalg.norm(offset, axis=0)
        sides = np.roll(self.corners, -1, axis=1) - self.corners
        normals = np.array([sides[1], -sides[0]]) / np.linalg.norm(sides, axis=0)
        # on Gamma the normal of the side, at a corner the mean of both
        count = normals.shape[1]
        other = np.where(share <= 0, side - 1, np.where(share >= 1, side + 1, side)) % count
        own = normals[:, side] + normals[:, other]
        own /= np.linalg.norm(own, axis=0)
        signed = np.where(self.contains(x), -1.0, 1.0) * offset / np.maximum(lengths, TINY)
        return np.where(lengths > 1e-12 * np.abs(self.corners).max(), signed, own)

    def contains(self, x: Array) -> Array:
        return inside_polygon(self.corners, x)

    def project(self, x: Array) -> Array:
        return nearest_on_polygon(self.corners, x)[0]

    def curves(self, size: float, turn: float, box: Box) -> list[Array]:
        return [np.hstack(divided_sides(self.corners, lambda x: np.full(x.shape[1], size)))]


@dataclass(frozen=True, eq=False, repr=False)
class LevelSet(Shape):
    """function(x) = 0, a smooth curve in the plane or a surface in space; the function is negative inside.

    `fitted_mesh` makes meshes for those of the plane; in space, a mesh of one's own is compared with the surface.

    Parameters
    ----------
    function : of x of shape (dim, n), returning n values. Near Gamma it is smooth and its gradient does not vanish.
    derivative : its gradient, of x, returning shape (dim, n); where it is not given, central differences of step 1e-5.

    Examples
    --------
    >>> blob = LevelSet(lambda x: x[0] ** 4 + x[1] ** 4 - 0.1)
    >>> blob.project(np.array([[0.5], [0.5]])).round(9).tolist()
    [[0.472870805], [0.472870805]]
    """

    function: Callable[[Array], Any]
    derivative: Callable[[Array], Any] | None = None
    dims: ClassVar[tuple[int, ...]] = (2, 3)

    def __post_init__(self) -> None:
        given: list[Any] = [self.function, self.derivative or self.function]
        if not all(map(callable, given)):
            raise ProblemError(
                "a level set takes functions of x: one that is negative inside, and its gradient or None."
            )

    def level(self, x: Array) -> Array:
        return self._values("function", self.function, x, (x.shape[1],))

    def gradient(self, x: Array) -> Array:
        if self.derivative is not None:
            return self._values("gradient", self.derivative, x, x.shape)
        steps = STEP * np.eye(len(x))[:, :, None]
        return np.array([(self.level(x + step) - self.level(x - step)) / (2 * STEP) for step in steps])

    def project(self, x: Array) -> Array:
        return newton(self, x, None)

    def curves(self, size: float, turn: float, box: Box) -> list[Array]:
        loops = []
        for polygon in traced(self.level, box, size):
            vertices = self.project(polygon)
            distinct = np.linalg.norm(vertices - np.roll(vertices, -1, axis=1), axis=0) > 1e-6 * size
            loops.append(closed_curve(self._along(vertices[:, distinct]), size, turn))
        return loops

    def _along(self, vertices: Array) -> Callable[[Array], Array]:
        """The curve as a function of the share, from 0 to 1, of the polygon on whose sides points are projected."""
        if signed_area(vertices) < 0:
            vertices = vertices[:, ::-1]
        closed = np.hstack([vertices, vertices[:, :1]])
        lengths = np.linalg.norm(np.diff(closed), axis=0)
        shares = np.concatenate([[0.0], np.cumsum(lengths) / lengths.sum()])
        return lambda t: self.project(np.array([np.interp(t, shares, row) for row in closed]))

    def _values(self, what: str, function: Callable[[Array], Any], x: Array, shape: tuple[int, ...]) -> Array:
        try:
            values = real_array(function(x.copy()), f"the {what} of a level set")
        except Exception as error:
            raise DataError(
                f"the {what} of a level set failed on x of shape {x.shape}: {type(error).__name__}: {error}"
            ) from error
        if values.shape != shape:
            raise DataError(
                f"the {what} of a level set must return the shape {shape} for {x.shape}, got {values.shape}."
            )
        finite = np.isfinite(np.atleast_2d(values)).all(axis=0)
        if not finite.all():
            place = x[:, np.argmin(finite)].round(6).tolist()
            raise DataError(f"the {what} of a level set is NaN or infinite at x = {place}.")
        return values


@dataclass(frozen=True, eq=False, repr=False)
class Moving(Stated):
    """Gamma(t), the boundary of the shape shape_at(t); finite elements refuse it, as no mesh follows it.

    Examples
    --------
    >>> Moving(lambda t: Circle(0.4, (0.2 * t, 0.0))).at(1.0)
    Circle(radius=0.4, centre=(0.2, 0.0))
    """

    shape_at: Callable[[float], Shape]

    def __post_init__(self) -> None:
        if not callable(self.shape_at):
            raise ProblemError(f"a moving shape takes a function of t that returns a shape, got {self.shape_at!r}.")

    def at(self, t: float) -> Shape:
        """The shape at a time; raises ProblemError for what is no shape."""
        shape = self.shape_at(t)
        if not isinstance(shape, Shape):
            raise ProblemError(f"a moving shape must return a shape at t = {t:.6g}, got {reprlib.repr(shape)}.")
        return shape
