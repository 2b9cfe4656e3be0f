"""Equations as data: what the state solves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array, Data, real_array
from ..errors import ProblemError
from .stated import Stated

Coefficient = Data | Mapping[str, Data]
Components = Sequence[Data] | Callable[[Array], Array]
Vector = Components | Mapping[str, Components]


@dataclass(frozen=True, eq=False, repr=False)
class Semilinear(Stated):
    """The term c r(y) on the left of the equation, given by r and its derivative r'.

    Parameters
    ----------
    function, derivative : r and r', applied to arrays of values of y and returning arrays of the same shape.
    coefficient : c, a number, a function of x, or one of them for each tag.

    Examples
    --------
    >>> cubic = Semilinear(lambda y: y**3, lambda y: 3 * y**2)
    """

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    coefficient: Coefficient = 1.0

    def __post_init__(self) -> None:
        if not all(map(callable, (self.function, self.derivative))):
            raise ProblemError("Semilinear takes two functions of y: the term and its derivative.")
        y, step = np.linspace(-1.07, 1.13, 9), 1e-5
        above, below = self._values("function", y + step), self._values("function", y - step)
        derivative = self._values("derivative", y)
        with np.errstate(all="ignore"):
            difference = (above - below) / (2 * step)
            error = np.abs(difference - derivative)
            wrong = error > 1e-4 * np.maximum(1.0, np.abs(difference))  # False where either is not finite
        if wrong.sum() > 1:  # a single kink of r may fall on a difference
            at = int(np.argmax(np.where(wrong, error, 0.0)))
            raise ProblemError(
                f"Semilinear: the derivative given is not that of the function: at y = {y[at]:.3g} it is "
                f"{derivative[at]:.6g}, a difference quotient gives {difference[at]:.6g}."
            )

    def _values(self, name: str, y: Array) -> Array:
        try:
            with np.errstate(all="ignore"):
                values = real_array(getattr(self, name)(y), "values")
        except Exception as error:
            raise ProblemError(
                f"Semilinear: the {name} failed on an array of values of y: {type(error).__name__}: {error}"
            ) from error
        if values.shape not in ((), y.shape):
            raise ProblemError(
                f"Semilinear: the {name} must return one value for each value of y, it returned the shape "
                f"{values.shape} for {y.shape}."
            )
        if not np.isfinite(values).any():
            raise ProblemError(f"Semilinear: the {name} is NaN or infinite at all y between -1 and 1.")
        return np.broadcast_to(values, y.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Elliptic(Stated):
    """-div(kappa grad y) + b . grad y + c y + r(y) = f + control.

    Parameters
    ----------
    diffusion : kappa > 0, a number, a function of x, or one of them for each tag of a part of the mesh.
    reaction : c, likewise.
    advection : b, dim numbers or a function of x with values (dim, n), or one of them for each tag. It is not
        stabilised: where the cell Peclet number ``|b| h / (2 kappa)`` exceeds 1, with h the extent of a cell along b
        over the degree of the states, an `AdvectionWarning` says so, and where.
    source : f, likewise; zero on the parts that a dictionary leaves out.
    semilinear : r, a `Semilinear` term.

    Examples
    --------
    >>> equation = Elliptic(diffusion={"inside": 10.0, "outside": 1.0}, source=lambda x: x[0])
    """

    diffusion: Coefficient = 1.0
    reaction: Coefficient = 0.0
    advection: Vector | None = None
    source: Coefficient = 0.0
    semilinear: Semilinear | None = None

    def __post_init__(self) -> None:
        if self.semilinear is not None and not isinstance(self.semilinear, Semilinear):
            raise ProblemError("semilinear takes Semilinear(function, derivative).")


@dataclass(frozen=True, eq=False, repr=False)
class Weak(Stated):
    """F(y; v) = (control, v) for all v: an equation given by its residual as a form of UFL; needs backend="dolfinx".

    Tangent, adjoint and second derivative follow from the form by differentiation. Conditions of the problem are added
    to it, Dirichlet ones as well as Neumann and Robin data; boundary terms of the form itself need none. What the
    form holds is not known: that advection dominates in it gives no warning, as it does in `Elliptic`.

    Parameters
    ----------
    residual : function of (y, v, domain) that returns a form, linear in the test function v. `domain` has `x`, the
        coordinates; `normal`; the measures `dx` and `ds`, which take tags of the mesh, as in dx("inside"); and
        `function(data)`, the interpolant of a number or a function of x in the space of states.
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
