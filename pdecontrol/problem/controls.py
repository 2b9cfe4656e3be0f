"""How the control acts on the equation, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..arrays import Data
from ..errors import ProblemError
from .stated import Stated, check_tag

Element = Literal["P0", "P1"]


def _element(element: object, kind: str) -> None:
    if element == "variational" and kind != "Distributed":
        raise ProblemError(f"{kind}: a control is variational where it is Distributed, others are 'P1' or 'P0'.")
    if element not in ("P0", "P1", "variational"):
        more = ", or 'variational' (at quadrature points)" if kind == "Distributed" else ""
        kinds = "'P1' (nodal, lumped mass) or 'P0' (constant on cells)"
        raise ProblemError(f"{kind}: a control is {kinds}{more}, not {element!r}.")


@dataclass(frozen=True, eq=False, repr=False)
class Distributed(Stated):
    """A control that is a source term, on the domain or on the part with tag `on`.

    `element` is "P1" (nodal values, diagonal mass), "P0" (one value a cell) or "variational".

    Notes
    -----
    A "P1" control enters the equation as loads at nodes. Its values there, `result.control.array`, are more accurate
    than the function of degree 1 through them, which has no kinks inside of cells and is of order 3/2. At points,
    `result.control(x)` is therefore what the optimality condition makes of the adjoint state, for distributed controls
    of steady linear equations with a Tikhonov term, and of second order. States of degree 2 are then of second order
    too, and their gradients of first. Take another element where states of higher degree are meant to be more accurate.

    A variational control is not discretised: it is what the optimality condition makes of the adjoint state, of which
    integrals need the values at quadrature points, and these are the entries of its vectors. Its error is of the order
    of the states, 3 for those of degree 2, bounds that are active included; there are 3 to 24 values a cell. Between
    the points, figures and files show the polynomials of the degree of the states that fit the values of each cell
    best; near kinks they may go beyond bounds, where `result.control(x)` does not. M. Hinze, Comput. Optim. Appl. 30
    (2005) 45-61.

    Examples
    --------
    >>> control = Distributed(on="heated", element="P0")
    """

    on: str | None = None
    element: Element | Literal["variational"] = "P1"

    def __post_init__(self) -> None:
        check_tag(self.on, "Distributed")
        _element(self.element, "Distributed")


@dataclass(frozen=True, eq=False, repr=False)
class Boundary(Stated):
    """A control that is added to the Neumann or Robin data on the boundary part with tag `on`.

    On an interface it is added to the jump of the flux (see `Interface`).

    Examples
    --------
    >>> control = Boundary(on="top")
    """

    on: str
    element: Element = "P1"

    def __post_init__(self) -> None:
        check_tag(self.on, "Boundary", optional=False)
        _element(self.element, "Boundary")


@dataclass(frozen=True, eq=False, repr=False)
class Actuators(Stated):
    """Finitely many controls: the source sum_i u_i chi_i on the domain, or on the part or boundary with tag `on`.

    On an interface they are added to the jump of the flux (see `Interface`).

    Parameters
    ----------
    shapes : the chi_i, functions of x. The control is the vector (u_1, .., u_m) with the Euclidean norm; in time
        there is one on each interval, and `result.control.at(t).array` is that at t.

    Examples
    --------
    >>> heaters = Actuators([lambda x: x[0] < 0.5, lambda x: x[0] >= 0.5])
    """

    shapes: Sequence[Data]
    on: str | None = None

    def __post_init__(self) -> None:
        check_tag(self.on, "Actuators")
        shapes: Any = self.shapes
        if not isinstance(shapes, (list, tuple, np.ndarray)) or len(shapes) == 0:
            raise ProblemError("Actuators takes a list of at least one shape, each a function of x.")
        object.__setattr__(self, "shapes", tuple(shapes))


@dataclass(frozen=True, eq=False, repr=False)
class Coefficient(Stated):
    """A control that multiplies the state: the term u y on the left of the equation, on the domain or on a part.

    Parameters
    ----------
    of : "reaction", which u adds to.
    on, element : as of `Distributed`.

    Notes
    -----
    Discretised, the term is (u P y, P v) in the inner product of the controls, where P y has the values of y at the
    nodes of u, or its means over cells; so the gradient of the objective is -P y P p in every entry, p the adjoint
    state. The equation is known to have a solution only where the whole reaction is not negative: state a `Box`.

    Examples
    --------
    >>> control = Coefficient(of="reaction")
    """

    of: Literal["reaction"] = "reaction"
    on: str | None = None
    element: Element = "P1"

    def __post_init__(self) -> None:
        if self.of != "reaction":
            raise ProblemError(f"Coefficient: of='reaction' is what there is, not {self.of!r}.")
        check_tag(self.on, "Coefficient")
        _element(self.element, "Coefficient")


@dataclass(frozen=True, eq=False, repr=False)
class InitialValue(Stated):
    """A control that is added to the initial value of a parabolic equation, on the domain or on the part `on`.

    It has nodal values with a diagonal mass D; there is no control in the equation itself. In the first step, where
    the initial value has M y_0 with the mass matrix M of the states, the control has D u.

    Examples
    --------
    >>> control = InitialValue()
    """

    on: str | None = None

    def __post_init__(self) -> None:
        check_tag(self.on, "InitialValue")


Control = Distributed | Boundary | Actuators | Coefficient | InitialValue
