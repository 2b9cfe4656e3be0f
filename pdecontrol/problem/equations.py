"""Equations as data: what the state solves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from types import NoneType
from typing import Any, Literal

import numpy as np

from ..arrays import Array, Data, Piecewise, real_array
from ..errors import DataError, ProblemError
from .functions import Convection, Quasilinear, Semilinear
from .stated import Stated, check_number

Components = Sequence[Data] | Callable[[Array], Array]
Vector = Components | Mapping[str, Components]


@dataclass(frozen=True, eq=False, repr=False)
class Elliptic(Stated):
    """-div(kappa grad y) + b . grad y + c y + r(y) = f + control, where kappa and b may depend on y.

    Parameters
    ----------
    diffusion : kappa > 0, a number, a function of x, or one of them for each tag of a part of the mesh; or a
        `Quasilinear` one, which depends on y.
    reaction : c, likewise.
    advection : b, dim numbers or a function of x with values (dim, n), or one of them for each tag. It is not
        stabilised: where the cell Peclet number ``|b| h / (2 kappa)`` exceeds 1, with h the extent of a cell along b
        over the degree of the states, an `AdvectionWarning` says so, and where.
    source : f, likewise; zero on the parts that a dictionary leaves out.
    semilinear : r, a `Semilinear` term.
    convection : b(y), a `Convection` term, beside the advection by what is given there.

    Examples
    --------
    >>> equation = Elliptic(diffusion={"inside": 10.0, "outside": 1.0}, source=lambda x: x[0])
    """

    diffusion: Piecewise | Quasilinear = 1.0
    reaction: Piecewise = 0.0
    advection: Vector | None = None
    source: Piecewise = 0.0
    semilinear: Semilinear | None = None
    convection: Convection | None = None

    def __post_init__(self) -> None:
        for name, kind in (("semilinear", Semilinear), ("convection", Convection)):
            if not isinstance(getattr(self, name), (kind, NoneType)):
                raise ProblemError(f"{name} takes {kind.__name__}(function, derivative).")


def burgers(viscosity: Piecewise, direction: Sequence[float] = (1.0,), source: Piecewise = 0.0) -> Elliptic:
    """-div(nu grad y) + y d . grad y = f + control: Burgers' equation, without vectors in more than one dimension.

    Parameters
    ----------
    viscosity : nu > 0, as the diffusion of `Elliptic`.
    direction : d, one number for each dimension.
    source : f.

    Examples
    --------
    >>> equation = burgers(1 / 12)
    """
    along = tuple(direction)
    return Elliptic(
        viscosity, source=source, convection=Convection(lambda y: tuple(d * y for d in along), lambda y: along)
    )


@dataclass(frozen=True, eq=False, repr=False)
class Weak(Stated):
    """F(y; v) = (control, v) for all v: an equation given by its residual as a form of UFL; needs backend="dolfinx".

    Tangent, adjoint and second derivative follow from the form by differentiation. Conditions of the problem are added
    to it, Dirichlet ones as well as Neumann and Robin data; boundary terms of the form itself need none. What the
    form holds is not known: that advection dominates in it gives no warning, as it does in `Elliptic`.

    Parameters
    ----------
    residual : function of (y, v, domain) that returns a form, linear in the test function v. `domain` has `x`, the
        coordinates; `t`, the time in a `Parabolic` equation; `normal`; the measures `dx` and `ds`, which take tags of
        the mesh, as in dx("inside"); and `function(data)`, the interpolant of a number or a function of x (and t) in
        the space of states.
    definite : whether the derivative of F by y is known to be symmetric positive definite, which large problems need
        to be solved iteratively.

    Examples
    --------
    >>> import ufl                                                                          # doctest: +SKIP
    >>> quasilinear = Weak(
    ...     lambda y, v, domain: (1 + y**2) * ufl.inner(ufl.grad(y), ufl.grad(v)) * domain.dx
    ... )                                                                                   # doctest: +SKIP
    """

    residual: Callable[[Any, Any, Any], Any]
    definite: bool = False

    def __post_init__(self) -> None:
        if not callable(self.residual):
            raise ProblemError("Weak takes a function of (y, v, domain) that returns a form of UFL.")


Scheme = Literal["backward-euler", "crank-nicolson"]


@dataclass(frozen=True, eq=False, repr=False)
class Parabolic(Stated):
    """y_t + A(y) = f + control on (t_0, T), y(t_0) = initial, where A(y) = f + control is a steady equation.

    Data of the problem may be functions of (x, t) wherever they may be functions of x: source, coefficients, boundary
    data, targets, bounds, references and shapes. A discrete control is constant on each interval of time: it is a
    function of space for each, and numbers where it is the strength of `Actuators`.

    Parameters
    ----------
    steady : the equation A(y) = f + control, `Elliptic` or `Weak`.
    T, steps : the final time, and the number of steps of equal length from t_0 = 0.
    times : instead of these, t_0 < t_1 < .. < T.
    scheme : "backward-euler" or "crank-nicolson".
    initial : y(t_0), a number, a function of x, a field, or one of them for each tag of a part; or an array (at the
        nodes).
    snapshots : limits the memory of nonlinear equations: at most so many time levels of a trajectory are kept (in
        products with a Hessian two vectors for each), and steps from them computed again where derivatives need them.
        Answers are the same, for more time (3 of 10 levels: several times as much); a `Result` has whole
        trajectories all the same. Needs checkpoint_schedules.

    Notes
    -----
    M (y_n - y_(n-1)) / dt_n + theta e(y_n, u_n) + (1 - theta) e(y_(n-1), u_n) = 0 with e(y, u) = A(y) - f - control at
    t_n or t_(n-1), and theta = 1 or 1/2. Integrals over time in the objective are sums over t_1 < .. < t_N = T, without
    t_0: with the weights dt_n for backward Euler, of first order, and those of the trapezoid rule for Crank-Nicolson,
    the last of which is dt_N/2. Controls have the weights dt_n, their bounds and references are taken at t_n for
    backward Euler, and at the middle of the intervals for Crank-Nicolson: then controls are of second order there.

    Examples
    --------
    >>> heat = Parabolic(Elliptic(source=lambda x, t: t * x[0]), T=1.0, steps=20, initial=lambda x: x[0] * (1 - x[0]))
    """

    steady: Elliptic | Weak
    T: float | None = None
    steps: int | None = None
    times: Any = None
    scheme: Scheme = "backward-euler"
    initial: Piecewise = 0.0
    snapshots: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.steady, (Elliptic, Weak)):
            raise ProblemError(f"Parabolic takes a steady equation, Elliptic(..) or Weak(..), got {self.steady!r}.")
        if self.scheme not in ("backward-euler", "crank-nicolson"):
            raise ProblemError(f"Parabolic: scheme is 'backward-euler' or 'crank-nicolson', not {self.scheme!r}.")
        _ = self.levels
        limit = self.snapshots
        if limit is not None and (not isinstance(limit, Integral) or isinstance(limit, bool) or limit < 1):
            raise ProblemError(f"Parabolic: snapshots is the number of time levels to keep, 1 or more, got {limit!r}.")

    @property
    def levels(self) -> Array:
        """The times t_0, .., t_N."""
        if self.times is None:
            if self.T is None or self.steps is None:
                raise ProblemError("Parabolic takes T and steps, or times.")
            final, steps = check_number(self.T, "Parabolic: T", positive=True), self.steps
            if not isinstance(steps, Integral) or isinstance(steps, bool) or steps < 1:
                raise ProblemError(f"Parabolic: steps must be a positive integer, got {steps!r}.")
            return np.linspace(0.0, final, int(steps) + 1)
        if self.T is not None or self.steps is not None:
            raise ProblemError("Parabolic takes T and steps, or times, not both.")
        try:
            times = real_array(self.times, "times").copy()
        except DataError as error:
            raise ProblemError(f"Parabolic: {error}") from None
        if times.ndim != 1 or times.size < 2 or not np.isfinite(times).all():
            raise ProblemError(f"Parabolic: times are at least two numbers t_0 < .. < T, got the shape {times.shape}.")
        if not (np.diff(times) > 0).all():
            n = int(np.argmin(np.diff(times) > 0))
            raise ProblemError(f"Parabolic: times must increase, but {times[n]:g} is followed by {times[n + 1]:g}.")
        return times

    @property
    def theta(self) -> float:
        """1 for backward Euler, 1/2 for Crank-Nicolson."""
        return 1.0 if self.scheme == "backward-euler" else 0.5
