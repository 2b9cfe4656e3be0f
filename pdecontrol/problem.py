"""The control problem as data: equation, boundary conditions, control, observations and terms.

Nothing here knows a mesh or a finite-element engine. Functions of space take x of shape (dim, n) and return n
values.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any, Literal, TypeVar, cast

import numpy as np

from .arrays import LARGEST, Array, Data, real_array
from .errors import DataError, ProblemError

Coefficient = Data | Mapping[str, Data]
Components = Sequence[Data] | Callable[[Array], Array]
Vector = Components | Mapping[str, Components]
Element = Literal["P0", "P1"]


class _Brief(reprlib.Repr):
    """Short descriptions: arrays by their shape, functions by their name."""

    def __init__(self) -> None:
        super().__init__()
        self.maxother = self.maxstring = 120

    def repr_ndarray(self, array: Array, level: int) -> str:
        return f"<array {array.shape}>"

    def repr_function(self, function: Callable[..., Any], level: int) -> str:
        return f"<{function.__name__.strip('<>')}>"


class Stated:
    """A piece of a problem, a dataclass, which prints on a line what differs from the defaults."""

    def __repr__(self) -> str:
        brief, shown = _Brief(), []
        for item in fields(cast(Any, self)):
            value = getattr(self, item.name)
            if value is not item.default:
                shown.append(f"{item.name}={brief.repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


def check_number(value: object, name: str, positive: bool = False) -> float:
    """The value as a float; raises ProblemError unless it is a finite number that is not negative (or is positive)."""
    number: Any = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    try:
        known = not isinstance(number, bool) and isinstance(number, Real) and math.isfinite(number)
    except OverflowError:  # an integer of hundreds of digits
        known = False
    if not known:
        raise ProblemError(f"{name} must be a finite number, got {reprlib.repr(value)}.")
    number = float(number)
    if number < 0 or (positive and number == 0):
        raise ProblemError(f"{name} must be {'positive' if positive else 'at least zero'}, got {value}.")
    if number > LARGEST:
        raise ProblemError(f"{name} is {number:.1e}, where squares overflow: choose other units.")
    return number


def _tag(value: object, name: str, optional: bool = True) -> None:
    if not isinstance(value, str) and not (optional and value is None):
        raise ProblemError(f"{name}: `on` is the tag of a part or boundary of the mesh, a string, got {value!r}.")


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


@dataclass(frozen=True, eq=False, repr=False)
class Dirichlet(Stated):
    """y = value on the boundary part.

    Where the parts of two Dirichlet conditions meet, as at a corner, the one that comes later in the dictionary of
    conditions gives the value of the nodes that they share, on either engine and any number of processes.

    Examples
    --------
    >>> boundary = {"left": Dirichlet(1.0), "right": Dirichlet(lambda x: x[1])}
    """

    value: Data = 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Neumann(Stated):
    """kappa dy/dn = flux (+ control) on the boundary part. Where no condition is given, the flux is zero.

    Examples
    --------
    >>> boundary = {"top": Neumann(lambda x: x[0] * (1 - x[0]))}
    """

    flux: Data = 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Robin(Stated):
    """kappa dy/dn + coefficient y = value (+ control) on the boundary part.

    Examples
    --------
    >>> cooling = Robin(coefficient=2.0, value=2.0 * 20.0)  # kappa dy/dn = 2 (20 - y)
    """

    coefficient: Data
    value: Data = 0.0


Condition = Dirichlet | Neumann | Robin


def _element(element: object) -> None:
    if element not in ("P0", "P1"):
        raise ProblemError(f"a control is 'P1' (nodal, lumped mass) or 'P0' (constant on cells), not {element!r}.")


@dataclass(frozen=True, eq=False, repr=False)
class Distributed(Stated):
    """A control that is a source term, on the domain or on the part with tag `on`.

    `element` is "P1" (nodal values, diagonal mass) or "P0" (one value a cell).

    Examples
    --------
    >>> control = Distributed(on="heated", element="P0")
    """

    on: str | None = None
    element: Element = "P1"

    def __post_init__(self) -> None:
        _tag(self.on, "Distributed")
        _element(self.element)


@dataclass(frozen=True, eq=False, repr=False)
class Boundary(Stated):
    """A control that is added to the Neumann or Robin data on the boundary part with tag `on`.

    Examples
    --------
    >>> control = Boundary(on="top")
    """

    on: str
    element: Element = "P1"

    def __post_init__(self) -> None:
        _tag(self.on, "Boundary", optional=False)
        _element(self.element)


@dataclass(frozen=True, eq=False, repr=False)
class Actuators(Stated):
    """Finitely many controls: the source sum_i u_i chi_i on the domain, or on the part or boundary with tag `on`.

    Parameters
    ----------
    shapes : the chi_i, functions of x. The control is the vector (u_1, .., u_m) with the Euclidean norm.

    Examples
    --------
    >>> heaters = Actuators([lambda x: x[0] < 0.5, lambda x: x[0] >= 0.5])
    """

    shapes: Sequence[Data]
    on: str | None = None

    def __post_init__(self) -> None:
        _tag(self.on, "Actuators")
        shapes: Any = self.shapes
        if not isinstance(shapes, (list, tuple, np.ndarray)) or len(shapes) == 0:
            raise ProblemError("Actuators takes a list of at least one shape, each a function of x.")
        object.__setattr__(self, "shapes", tuple(shapes))


Control = Distributed | Boundary | Actuators


@dataclass(frozen=True, eq=False, repr=False)
class Tracking(Stated):
    """weight/2 ||y - target||^2 on the domain, on a part or a boundary (`on`), or at points.

    Parameters
    ----------
    target : y_d, a number or a function of x (interpolated in the state space), or an array: of values at `points`, or
        at the nodes of the domain, part or boundary, those of degree 1 in the order of the points of the mesh.
    on : tag of a part (L2 norm over it) or of a boundary (L2 norm along it); None is the whole domain.
    points : shape (dim, k): the sum of squares over these points instead of an L2 norm.
    weight : a positive number.

    Examples
    --------
    >>> tracking = [Tracking(1.0, on="core"), Tracking([0.9, 1.1], points=np.array([[0.2, 0.8], [0.5, 0.5]]))]
    """

    target: Data
    on: str | None = None
    points: Array | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", check_number(self.weight, "the weight of Tracking", positive=True))
        _tag(self.on, "Tracking")
        if self.points is not None:
            if self.on is not None:
                raise ProblemError("Tracking takes a tag (on=) or points, not both.")
            try:
                points = real_array(self.points, "Tracking").copy()
            except DataError as error:
                raise ProblemError(f"Tracking: points must be real numbers in an array (dim, k) ({error})") from None
            if points.ndim != 2 or points.shape[1] == 0 or not np.isfinite(points).all():
                raise ProblemError(f"Tracking: points must be finite and of shape (dim, k), got {points.shape}.")
            object.__setattr__(self, "points", points)


@dataclass(frozen=True, eq=False, repr=False)
class Linear(Stated):
    """The linear functional int weight y of the state, over the domain, a part or a boundary (`on`).

    Examples
    --------
    >>> outflow = Linear(-12.0, on="boundary")
    """

    weight: Data
    on: str | None = None

    def __post_init__(self) -> None:
        _tag(self.on, "Linear")


@dataclass(frozen=True, eq=False, repr=False)
class Tikhonov(Stated):
    """alpha/2 ||u - reference||^2.

    Examples
    --------
    >>> terms = [Tikhonov(1e-4, reference=lambda x: x[0])]
    """

    alpha: float
    reference: Data = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check_number(self.alpha, "the Tikhonov weight alpha"))


@dataclass(frozen=True, eq=False, repr=False)
class L1(Stated):
    """beta ||u||_L1, which makes the control exactly zero on a set.

    Examples
    --------
    >>> terms = [Tikhonov(1e-5), L1(1e-3)]
    """

    beta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", check_number(self.beta, "the L1 weight beta"))


@dataclass(frozen=True, eq=False, repr=False)
class Box(Stated):
    """lower <= u <= upper: numbers, functions of x, or arrays, which are whole vectors of the control space.

    Examples
    --------
    >>> terms = [Tikhonov(1e-4), Box(lower=0.0, upper=lambda x: 1 + x[0])]
    """

    lower: Data = -np.inf
    upper: Data = np.inf

    def __post_init__(self) -> None:
        for name, bound in (("lower", self.lower), ("upper", self.upper)):
            if isinstance(bound, Real) and math.isnan(bound):
                raise ProblemError(f"Box: the {name} bound is NaN.")
        if isinstance(self.lower, Real) and isinstance(self.upper, Real) and self.lower > self.upper:
            raise ProblemError(f"Box: the lower bound {self.lower} is above the upper bound {self.upper}.")


Term = Linear | Tikhonov | L1 | Box
T = TypeVar("T", Tikhonov, L1, Box)


@dataclass(frozen=True, eq=False, repr=False)
class ControlProblem(Stated):
    """min F(S(u)) + alpha/2 ||u - reference||^2 + beta ||u||_L1 over lower <= u <= upper, y = S(u) by a PDE.

    Parameters
    ----------
    equation : the PDE.
    control : how the control acts on it.
    tracking : one `Tracking` or several, which add up to F (together with `Linear` terms).
    terms : at most one each of `Tikhonov`, `L1` and `Box`, and any number of `Linear`. Without a positive
        Tikhonov weight the box must be bounded on both sides.
    boundary : a condition for each tag; no condition means zero flux. At nodes that two Dirichlet conditions share,
        the later one holds; at those of a Dirichlet and another condition, the Dirichlet one.

    Raises
    ------
    ProblemError
        If the problem contradicts itself.

    Examples
    --------
    >>> problem = ControlProblem(
    ...     equation=Elliptic(),
    ...     control=Distributed(),
    ...     tracking=Tracking(lambda x: x[0] * x[1]),
    ...     terms=[Tikhonov(1e-3), L1(1e-4), Box(-1, 1)],
    ...     boundary={"boundary": Dirichlet(0.0)},
    ... )
    """

    equation: Elliptic | Weak
    control: Control
    tracking: Tracking | Sequence[Tracking]
    terms: Sequence[Term]
    boundary: Mapping[str, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tracking, terms = _several(self.tracking), _several(self.terms)
        object.__setattr__(self, "tracking", tracking)
        object.__setattr__(self, "terms", terms)
        if not isinstance(self.equation, (Elliptic, Weak)):
            raise ProblemError(f"equation must be Elliptic(..) or Weak(..), got {self.equation!r}.")
        if not isinstance(self.control, (Distributed, Boundary, Actuators)):
            raise ProblemError(f"control must be Distributed, Boundary or Actuators, got {self.control!r}.")
        if not isinstance(self.boundary, Mapping):
            raise ProblemError(f"boundary takes a condition for each tag, {{tag: condition}}, got {self.boundary!r}.")
        object.__setattr__(self, "boundary", dict(self.boundary))
        if tracking == (None,):
            raise ProblemError("tracking is None: give a Tracking, or [] with a Linear functional among the terms.")
        for item in tracking:
            if not isinstance(item, Tracking):
                raise ProblemError(f"tracking takes Tracking(..) or a list of them, got {item!r}.")
        for tag, condition in self.boundary.items():
            if not isinstance(condition, (Dirichlet, Neumann, Robin)):
                raise ProblemError(f"boundary[{tag!r}] must be Dirichlet, Neumann or Robin, got {condition!r}.")
        for term in terms:
            if not isinstance(term, (Linear, Tikhonov, L1, Box)):
                raise ProblemError(f"terms takes Tikhonov, L1, Box and Linear, or a list of them, got {term!r}.")
        for kind in (Tikhonov, L1, Box):
            if sum(isinstance(term, kind) for term in terms) > 1:
                raise ProblemError(f"there are several {kind.__name__} terms: merge them into one.")
        if isinstance(self.boundary.get(self.control.on or ""), Dirichlet):
            raise ProblemError(
                f"{type(self.control).__name__} control on {self.control.on!r}: Dirichlet control is not supported, "
                "the control is Neumann or Robin data. Give that tag a Neumann or Robin condition."
            )
        if not tracking and not any(isinstance(term, Linear) for term in terms):
            raise ProblemError("there is nothing to observe: give a Tracking or a Linear functional of the state.")
        box, tikhonov = self.term(Box) or Box(), self.term(Tikhonov) or Tikhonov(0.0)
        if tikhonov.alpha == 0 and any(isinstance(b, Real) and math.isinf(b) for b in (box.lower, box.upper)):
            raise ProblemError(
                "alpha = 0 needs a box with finite lower and upper bounds, or there may be no minimiser: "
                "add Box(lower, upper) or a Tikhonov(alpha) with alpha > 0."
            )

    @property
    def observations(self) -> tuple[Tracking | Linear, ...]:
        """What the state is observed for: each Tracking, then each Linear term."""
        linear = [term for term in self.terms if isinstance(term, Linear)]
        return (*cast(tuple[Tracking, ...], self.tracking), *linear)

    def term(self, kind: type[T]) -> T | None:
        """The term of a kind, if the problem has one."""
        return next((term for term in self.terms if isinstance(term, kind)), None)

    def with_weights(self, alpha: float | None = None, beta: float | None = None) -> ControlProblem:
        """The problem with other weights; a term that it lacks is added, and None keeps what there is."""
        terms = list(self.terms)
        if alpha is not None:
            old = self.term(Tikhonov) or Tikhonov(0.0)
            terms = [term for term in terms if not isinstance(term, Tikhonov)] + [replace(old, alpha=alpha)]
        if beta is not None:
            terms = [term for term in terms if not isinstance(term, L1)] + [L1(beta)]
        return replace(self, terms=terms)


def _several(items: Any) -> tuple[Any, ...]:
    """A tuple of what is given, one item or a sequence of them."""
    return tuple(items) if isinstance(items, Sequence) and not isinstance(items, str) else (items,)
