"""Equations, one a file: a new one is a class in its file and an entry here."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import ProblemError
from ...problem import Coefficient, Control, Elliptic, Stated, Weak
from ..conditions import Natural
from ..control import Coupling
from ..sampler import Sampler
from .coefficient import ControlledReaction
from .elliptic import LinearElliptic
from .equation import StateEquation
from .nonlinear import NonlinearElliptic
from .terms import nonlinear_terms
from .weak import WeakEquation


def elliptic(equation: Elliptic, sampler: Sampler, natural: Natural, coupling: Coupling) -> StateEquation:
    """The linear equation, or one with nonlinear terms."""
    linear, terms = LinearElliptic(equation, sampler, natural, coupling), nonlinear_terms(equation, sampler)
    return NonlinearElliptic(linear, terms, sampler.engine) if terms else linear


EQUATIONS: dict[type, Callable[..., StateEquation]] = {Elliptic: elliptic, Weak: WeakEquation}


def state_equation(
    steady: Stated, control: Control, sampler: Sampler, natural: Natural, coupling: Coupling
) -> StateEquation:
    """The equation of a problem, or of its steps in time, with the control in it."""
    if (kind := type(steady)) not in EQUATIONS:
        raise ProblemError(f"there is no discretisation of {kind.__name__}: EQUATIONS has those there are.")
    equation = EQUATIONS[kind](steady, sampler, natural, coupling)
    return ControlledReaction(equation, control, sampler.engine) if isinstance(control, Coefficient) else equation
