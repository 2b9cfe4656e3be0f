"""Reference problems: with exact solutions, or with values known from other discretisations.

Tests, benchmarks and users check solvers against them. All are posed on the unit square, some on the unit cube too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .arrays import Array
from .problem import (
    L1,
    Box,
    Coefficient,
    ControlProblem,
    Dirichlet,
    Distributed,
    Elliptic,
    Linear,
    Neumann,
    Parabolic,
    Scheme,
    Semilinear,
    Tikhonov,
    Tracking,
)

Function = Callable[..., Array]
PI = np.pi


@dataclass(frozen=True)
class Reference:
    """A problem with the continuous optimal control and objective, where they are known."""

    problem: ControlProblem
    control: Function | None = None
    objective: float | None = None


def sines(k: int) -> Function:
    """The product of sin(k pi x_i) over the axes."""
    return lambda x: np.asarray(np.sin(k * PI * x).prod(axis=0))


def poisson(alpha: float) -> Reference:
    """The mother problem: -Lap y = u, y_d = sin(pi x) sin(pi y)/(2 pi^2), no constraints.

    u* = sin(pi x) sin(pi y)/(1 + 4 alpha pi^4), J* = alpha/(8 (1 + 4 pi^4 alpha)).

    Examples
    --------
    >>> round(poisson(1e-2).objective, 10)
    0.0002552915
    """
    problem = ControlProblem(
        equation=Elliptic(),
        boundary={"boundary": Dirichlet()},
        control=Distributed(),
        tracking=Tracking(lambda x: sines(1)(x) / (2 * PI**2)),
        terms=[Tikhonov(alpha)],
    )
    factor = 1 / (1 + 4 * alpha * PI**4)
    return Reference(problem, lambda x: factor * sines(1)(x), alpha * factor / 8)


def box(alpha: float, dimension: int = 2) -> Reference:
    """E1: -Lap y = u + f with -1/2 <= u <= 1/2 active on 37 % of the square, y* = sin(pi x) sin(pi y), or in the cube.

    With d the dimension, 2 or 3, and products of d sines, y* = s(pi x), q* = alpha s(2 pi x),
    u* = clip(-q*/alpha, -1/2, 1/2), f = d pi^2 y* - u*, y_d = y* - 4 d pi^2 q*;
    J* = 8 d^2 pi^4 alpha^2/2^d + alpha/2 ||u*||^2 with ||u*||^2 = 0.134022 in 2D, 0.0834398 in 3D.
    """

    def control(x: Array) -> Array:
        return np.clip(-sines(2)(x), -0.5, 0.5)

    problem = ControlProblem(
        equation=Elliptic(source=lambda x: dimension * PI**2 * sines(1)(x) - control(x)),
        boundary={"boundary": Dirichlet()},
        control=Distributed(),
        tracking=Tracking(lambda x: sines(1)(x) - 4 * dimension * PI**2 * alpha * sines(2)(x)),
        terms=[Tikhonov(alpha), Box(-0.5, 0.5)],
    )
    square = {2: 0.134022, 3: 0.0834398}[dimension]
    return Reference(problem, control, 8 * dimension**2 * PI**4 * alpha**2 / 2**dimension + alpha / 2 * square)


def heat(steps: int, alpha: float = 1e-4, scheme: Scheme = "backward-euler") -> Reference:
    """P1: y_t - Lap y = u + f up to T = 1, -1/2 <= u <= 1/2, y* = (1 - t) sin(pi x) sin(pi y).

    With s_k the product of sin(k pi x_i), q* = alpha (1 - t) s_2, u* = clip(-q*/alpha, -1/2, 1/2),
    f = y*_t - Lap y* - u*, y_d = y* - alpha s_2 - 8 pi^2 q*; J* = 5.836965e-6 and ||u*|| = 0.250577 at alpha = 1e-4.

    Examples
    --------
    >>> problem = heat(16).problem
    """

    def control(x: Array, t: float) -> Array:
        return np.clip(-(1 - t) * sines(2)(x), -0.5, 0.5)

    def source(x: Array, t: float) -> Array:
        return (2 * PI**2 * (1 - t) - 1) * sines(1)(x) - control(x, t)

    def target(x: Array, t: float) -> Array:
        return (1 - t) * sines(1)(x) - alpha * (1 + 8 * PI**2 * (1 - t)) * sines(2)(x)

    problem = ControlProblem(
        equation=Parabolic(Elliptic(source=source), T=1.0, steps=steps, scheme=scheme, initial=sines(1)),
        boundary={"boundary": Dirichlet()},
        control=Distributed(),
        tracking=Tracking(target),
        terms=[Tikhonov(alpha), Box(-0.5, 0.5)],
    )
    return Reference(problem, control, 5.836965e-6 if alpha == 1e-4 else None)


def stadler(alpha: float, beta: float = 1e-3) -> Reference:
    """S1, a sparse control: -Lap y = u, y_d = sin(2 pi x) sin(2 pi y) exp(2 x)/6, -30 <= u <= 30, L1 weight beta.

    No exact solution is known; J is about 0.025053 at alpha = 1e-4 and 0.016887 at 1e-5 (beta = 1e-3). G. Stadler,
    Comput. Optim. Appl. 44 (2009) 159-181.
    """
    problem = ControlProblem(
        equation=Elliptic(),
        boundary={"boundary": Dirichlet()},
        control=Distributed(),
        tracking=Tracking(lambda x: sines(2)(x) * np.exp(2 * x[0]) / 6),
        terms=[Tikhonov(alpha), L1(beta), Box(-30, 30)],
    )
    return Reference(problem)


def boundary_observation(element: str = "P1") -> Reference:
    """ccdist1 of the OPTPDE library: -Lap y + y = u + e with Neumann conditions and a functional on the boundary.

    J = 1/2 ||y - y_O||^2 - 12 int y ds + 1/2 ||u||^2 over 0 <= u <= 1, y_O = -142/3 + 12 r^2 with r the distance to the
    centre; y* = 1, u* = clip(12 r^2 - 1/3, 0, 1), J* = 1026.557989.
    """

    def radius_squared(x: Array) -> Array:
        return (x[0] - 0.5) ** 2 + (x[1] - 0.5) ** 2

    def control(x: Array) -> Array:
        return np.clip(12 * radius_squared(x) - 1 / 3, 0, 1)

    problem = ControlProblem(
        equation=Elliptic(reaction=1.0, source=lambda x: 1 - control(x)),
        boundary={"boundary": Neumann()},
        control=Distributed(element="P0" if element == "P0" else "P1"),
        tracking=Tracking(lambda x: -142 / 3 + 12 * radius_squared(x)),
        terms=[Tikhonov(1.0), Box(0, 1), Linear(-12.0, on="boundary")],
    )
    return Reference(problem, control, 96677 / 90 - 48 + (1 - PI / 12) / 2)


def semilinear_heat(steps: int) -> Reference:
    """A sparse control: y_t - Lap y + y (y - 1/4) (y + 1) = u up to T = 1, y(0) = 0, -10 <= u <= 20.

    alpha = 1e-4, L1 weight 0.004, y_d = exp(-20 |(x, t) - (0.2, 0.2, 0.2)|^2) + exp(-20 |(x, t) - (0.7, 0.7, 0.9)|^2).
    No exact solution is known. On 64 by 64 squares with 64 steps of backward Euler ||u|| = 4.32 to 4.33 and
    ||u||_L1 = 1.13, u = 0 on 91 % and 20 on 3 % of space and time, max y = 0.453 at the point reached from u = 0; the
    problem is not convex. The data are those of experiments with primal-dual methods; see arXiv 2003.14141.

    Examples
    --------
    >>> problem = semilinear_heat(16).problem
    """

    def target(x: Array, t: float) -> Array:
        def bump(place: float, time: float) -> Array:
            return np.asarray(np.exp(-20 * (((x - place) ** 2).sum(axis=0) + (t - time) ** 2)))

        return bump(0.2, 0.2) + bump(0.7, 0.9)

    term = Semilinear(lambda y: y * (y - 0.25) * (y + 1), lambda y: 3 * y**2 + 1.5 * y - 0.25)
    problem = ControlProblem(
        equation=Parabolic(Elliptic(semilinear=term), T=1.0, steps=steps),
        boundary={"boundary": Dirichlet()},
        control=Distributed(),
        tracking=Tracking(target),
        terms=[Tikhonov(1e-4), L1(0.004), Box(-10, 20)],
    )
    return Reference(problem)


def bilinear_heat(steps: int) -> Reference:
    """A sparse coefficient as control: y_t - Lap y + u y = f up to T = 1, y(0) = 0, -1 <= u <= 2.

    With alpha = beta = 0.01, the weights of Tikhonov and L1 terms, B = 1/2 and s(j, k) = sin(j pi x_0) sin(k pi x_1),
    y* = B t s(3, 1), the adjoint state is q* = B (1 - t) s(1, 1), u* = clip(soft(q* y*, beta)/alpha, -1, 2),
    f = y*_t - Lap y* + u* y*, y_d = y* + q*_t + Lap q* - u* q*; J* = 4.6498, ||u*|| = 0.52411, ||u*||_L1 = 0.24684.

    Examples
    --------
    >>> problem = bilinear_heat(16).problem
    """
    weight, size = 0.01, 0.5

    def modes(x: Array, j: int) -> Array:
        return np.asarray(size * np.sin(j * PI * x[0]) * np.sin(PI * x[1]))

    def control(x: Array, t: float) -> Array:
        product = (1 - t) * modes(x, 1) * t * modes(x, 3)
        return np.clip(np.sign(product) * np.maximum(abs(product) - weight, 0) / weight, -1, 2)

    def source(x: Array, t: float) -> Array:
        return (1 + (10 * PI**2 + control(x, t)) * t) * modes(x, 3)

    def target(x: Array, t: float) -> Array:
        return t * modes(x, 3) - (1 + (2 * PI**2 + control(x, t)) * (1 - t)) * modes(x, 1)

    problem = ControlProblem(
        equation=Parabolic(Elliptic(source=source), T=1.0, steps=steps),
        boundary={"boundary": Dirichlet()},
        control=Coefficient(of="reaction"),
        tracking=Tracking(target),
        terms=[Tikhonov(weight), L1(weight), Box(-1, 2)],
    )
    return Reference(problem, control, 4.6498)
