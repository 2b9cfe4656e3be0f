"""Exact solutions on both sides of interfaces, and problems that have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ..arrays import Array
from ..problem import Box, ControlProblem, Dirichlet, Distributed, Elliptic, Tikhonov, Tracking
from ..problem.controls import Element as Discrete
from ..problem.interfaces import Interface
from ..problem.shapes import Circle, Moving, Shape

Function = Callable[..., Array]
Sides = Mapping[str, Function]
Element = Discrete | Literal["variational"]  # of distributed controls


@dataclass(frozen=True)
class InterfaceReference:
    """A problem with its exact state, adjoint state and control, functions by the tags of parts (or of the interface).

    `state` and `adjoint` are None where only the objective is known.
    """

    problem: ControlProblem
    control: Sides | None = None
    state: Sides | None = None
    adjoint: Sides | None = None
    objective: float | None = None

    @property
    def shape(self) -> Shape:
        """The curve, where there is one that stands still."""
        shape = self.problem.interface["gamma"].shape
        assert isinstance(shape, Shape)
        return shape

    def at(self, sides: Sides, x: Array, *time: float) -> Array:
        """The values at points (2, n) of functions that are given for all parts."""
        values = sides["outside"](x, *time)
        for item in self.problem.interface.values():
            shape = item.shape.at(*time) if isinstance(item.shape, Moving) else item.shape
            assert shape is not None
            values = np.where(shape.contains(x), sides[item.inside](x, *time), values)
        return values


class Bubble(NamedTuple):
    """A function at points: its values (n,), gradient (2, n) and Laplacian (n,)."""

    value: Array
    gradient: Array
    laplacian: Array

    def times(self, value: Array, gradient: Array, laplacian: Array | float) -> Bubble:
        """The product with another function."""
        return Bubble(
            self.value * value,
            self.value * gradient + value * self.gradient,
            self.value * laplacian + 2 * (self.gradient * gradient).sum(axis=0) + value * self.laplacian,
        )


def bubble(x: Array, *circles: Circle) -> Bubble:
    """S = (x1^2 - 1) (x2^2 - 1) prod_k (|x - c_k|^2 - r_k^2), zero on circles and on the boundary of the square."""
    a, b = x**2 - 1
    product = Bubble(a * b, 2 * x * np.array([b, a]), 2 * (a + b))
    for circle in circles:
        scale = 2 * circle.radius
        product = product.times(scale * circle.level(x), scale * circle.gradient(x), 4.0)
    return product


def on_parts(make: Callable[[float], Function], diffusion: Mapping[str, float]) -> dict[str, Function]:
    """A function on each part, made from kappa there."""
    return {tag: make(kappa) for tag, kappa in diffusion.items()}


def two_sides(diffusion: tuple[float, float]) -> dict[str, float]:
    """kappa by the tags of the parts."""
    return dict(zip(("inside", "outside"), diffusion, strict=True))


def clipped(function: Function, lower: float | Function, upper: float) -> Function:
    """P of a function."""

    def control(x: Array, *time: float) -> Array:
        return np.clip(function(x, *time), lower(x) if callable(lower) else lower, upper)

    return control


def box(bounds: tuple[float, float]) -> list[Box]:
    """The bounds of a control, none where they are infinite."""
    return [Box(*bounds)] if np.isfinite(bounds).all() else []


def distributed(
    diffusion: dict[str, float],
    interface: dict[str, Interface],
    state: Sides,
    force: Sides,
    size: float,
    bounds: tuple[float, float],
    element: Element,
    alpha: float = 1.0,
) -> InterfaceReference:
    """The problem on circles with a given y, force = -div(kappa grad y), and p = -alpha size S/kappa."""
    circles = [item.shape for item in interface.values() if isinstance(item.shape, Circle)]
    adjoint = on_parts(lambda kappa: lambda x: -alpha * size / kappa * bubble(x, *circles).value, diffusion)
    control = {tag: clipped(lambda x, p=p: -p(x) / alpha, *bounds) for tag, p in adjoint.items()}
    target = {
        tag: lambda x, y=y: y(x) - alpha * size * bubble(x, *circles).laplacian for tag, y in state.items()
    }  # fmt: skip
    problem = ControlProblem(
        equation=Elliptic(
            diffusion=dict(diffusion),
            source={tag: lambda x, f=f, u=control[tag]: f(x) - u(x) for tag, f in force.items()},
        ),
        interface=interface,
        boundary={"boundary": Dirichlet(state["outside"])},
        control=Distributed(element=element),
        tracking=Tracking(dict(target)),
        terms=[Tikhonov(alpha), *box(bounds)],
    )
    return InterfaceReference(problem, control, state, adjoint)
