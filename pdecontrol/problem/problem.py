"""The control problem as data: equation, boundary conditions, control, observations and terms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, TypeVar, cast

from ..errors import ProblemError
from .conditions import Condition, Dirichlet, Neumann, Robin
from .controls import Actuators, Boundary, Coefficient, Control, Distributed, InitialValue
from .equations import Elliptic, Parabolic, Weak
from .interfaces import Interface
from .stated import Stated
from .terms import L1, Box, Linear, Term, Tikhonov, Tracking

T = TypeVar("T", Tikhonov, L1, Box)


@dataclass(frozen=True, eq=False, repr=False)
class ControlProblem(Stated):
    """min F(S(u)) + alpha/2 ||u - reference||^2 + beta ||u||_L1 over lower <= u <= upper, y = S(u) by a PDE.

    Parameters
    ----------
    equation : the PDE; None, as the control, where S is a map of one's own, which `minimise` and `certify` take.
    control : how the control acts on it.
    tracking : one `Tracking` or several, which add up to F (together with `Linear` terms).
    terms : at most one each of `Tikhonov`, `L1` and `Box`, and any number of `Linear`. Without a positive
        Tikhonov weight the box must be bounded on both sides.
    boundary : a condition for each tag; no condition means zero flux. At nodes that two Dirichlet conditions share,
        the later one holds; at those of a Dirichlet and another condition, the Dirichlet one.
    interface : an `Interface` for each tag, closed curves or surfaces inside the domain that do not meet.

    Raises
    ------
    ProblemError
        If the problem contradicts itself.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = ControlProblem(
    ...     equation=Elliptic(),
    ...     control=pc.Distributed(),
    ...     tracking=Tracking(lambda x: x[0] * x[1]),
    ...     terms=[Tikhonov(1e-3), L1(1e-4), Box(-1, 1)],
    ...     boundary={"boundary": Dirichlet(0.0)},
    ... )
    """

    equation: Elliptic | Weak | Parabolic = None  # type: ignore[assignment]  # what discretises it refuses None
    control: Control = None  # type: ignore[assignment]
    tracking: Tracking | Sequence[Tracking] = ()
    terms: Sequence[Term] = ()
    boundary: Mapping[str, Condition] = field(default_factory=dict)
    interface: Mapping[str, Interface] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tracking, terms = _several(self.tracking), _several(self.terms)
        object.__setattr__(self, "tracking", tracking)
        object.__setattr__(self, "terms", terms)
        stated: list[Any] = [self.equation, self.control]
        own = stated == [None, None]
        if not own and not isinstance(self.equation, (Elliptic, Weak, Parabolic)):
            raise ProblemError(f"equation must be Elliptic(..), Weak(..) or Parabolic(..), got {self.equation!r}.")
        if not own and not isinstance(self.control, (Distributed, Boundary, Actuators, Coefficient, InitialValue)):
            kinds = "Distributed, Boundary, Actuators, Coefficient or InitialValue"
            raise ProblemError(f"control must be {kinds}, got {self.control!r}.")
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
        object.__setattr__(self, "interface", _interfaces(self.interface, self.boundary))
        for term in terms:
            if not isinstance(term, (Linear, Tikhonov, L1, Box)):
                raise ProblemError(f"terms takes Tikhonov, L1, Box and Linear, or a list of them, got {term!r}.")
        for kind in (Tikhonov, L1, Box):
            if sum(isinstance(term, kind) for term in terms) > 1:
                raise ProblemError(f"there are several {kind.__name__} terms: merge them into one.")
        if not isinstance(self.equation, Parabolic):
            if isinstance(self.control, InitialValue):
                raise ProblemError("InitialValue is a control of Parabolic equations.")
            for item in self.observations:
                if item.times != "all":
                    raise ProblemError(f"{type(item).__name__}: times={item.times!r} needs a Parabolic equation.")
        if isinstance(self.boundary.get(getattr(self.control, "on", None) or ""), Dirichlet):
            raise ProblemError(
                f"{type(self.control).__name__} control on {self.control.on!r}: Dirichlet control is not supported, "
                "the control is Neumann or Robin data. Give that tag a Neumann or Robin condition."
            )
        if own and (self.boundary or self.interface or any(_placed(item) for item in self.observations)):
            raise ProblemError(
                "a problem without an equation states no conditions, and no parts or weights of what is tracked: these "
                "are the map's, in what it observes and in the inner product of that space."
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


def _interfaces(interface: Any, boundary: Mapping[str, Condition]) -> dict[str, Interface]:
    """The interfaces by tag, checked."""
    if not isinstance(interface, Mapping):
        raise ProblemError(f"interface takes an Interface for each tag, {{tag: Interface(..)}}, got {interface!r}.")
    for tag, item in interface.items():
        if not isinstance(item, Interface):
            raise ProblemError(f"interface[{tag!r}] must be Interface(..), got {item!r}.")
        if not isinstance(tag, str) or tag.endswith("+") or tag == item.inside:
            raise ProblemError(
                f"interface: {tag!r} is no tag of an interface: take a string other than that of the part inside, and "
                "without a + at its end, which names the outer side."
            )
        if tag in boundary:
            raise ProblemError(
                f"boundary[{tag!r}] and interface[{tag!r}] have the same tag: conditions are on the boundary of the "
                "domain, interfaces inside it."
            )
    return dict(interface)


def _placed(item: Tracking | Linear) -> bool:
    """Whether a term of the state says of what, or with which weight."""
    return item.on is not None or not (isinstance(item.weight, Real) and item.weight == 1)


def _several(items: Any) -> tuple[Any, ...]:
    """A tuple of what is given, one item or a sequence of them."""
    return tuple(items) if isinstance(items, Sequence) and not isinstance(items, str) else (items,)
