"""Equations as data: what the state solves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

from ..arrays import Array, Data, Piecewise
from ..errors import ProblemError
from .functions import Convection, Quasilinear, Semilinear
from .stated import Stated

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
