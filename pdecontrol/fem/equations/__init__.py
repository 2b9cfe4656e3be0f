"""Equations, one a file: a new one is a class in its file and an entry here."""

from __future__ import annotations

from collections.abc import Callable

from ...problem import Elliptic, Weak
from ..conditions import Natural
from ..control import Coupling
from ..sampler import Sampler
from .elliptic import LinearElliptic
from .equation import StateEquation
from .semilinear import SemilinearElliptic
from .weak import WeakEquation


def elliptic(equation: Elliptic, sampler: Sampler, natural: Natural, coupling: Coupling) -> StateEquation:
    """The linear equation, or the semilinear one."""
    linear = LinearElliptic(equation, sampler, natural, coupling)
    return linear if equation.semilinear is None else SemilinearElliptic(equation.semilinear, linear, sampler)


EQUATIONS: dict[type, Callable[..., StateEquation]] = {Elliptic: elliptic, Weak: WeakEquation}
