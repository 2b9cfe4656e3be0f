"""Networks as a method for problems on rectangles: what a user chooses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal

import numpy as np

from ..arrays import Array, Piecewise
from ..errors import ProblemError
from ..problem import ControlProblem, Dirichlet, Parabolic, Tikhonov, check_number
from .functions.ansatz import Ansatz, Function, adjoint_of, hard, soft
from .functions.domain import Domain
from .functions.given import given_factor, given_kink, given_lifting
from .functions.learned import learned_factor, learned_kink, learned_lifting
from .functions.lifting import Lifting
from .training.training import Training

KNOWN = ("auto", "galerkin", "collocation")
Learned = Literal["learned"]


@dataclass(frozen=True)
class NetworkMethod(ABC):
    """State and adjoint state by networks; the parameters that methods have in common, see `HardConstraint`."""

    training: str | Training = "auto"
    features: int | None = None
    scale: float | None = None
    points: int | None = None
    near: Sequence[Sequence[float]] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if not isinstance(self.training, Training) and self.training not in KNOWN:
            raise ProblemError(f"{kind}: training is one of {KNOWN} or a Training, got {self.training!r}.")
        for name, least in (("features", 2), ("points", 2), ("seed", 0)):
            value: Any = getattr(self, name)
            integer = isinstance(value, Integral) and not isinstance(value, bool)
            if (value is not None or name == "seed") and not (integer and value >= least):
                raise ProblemError(f"{kind}: {name} is an integer, {least} or more, got {value!r}.")
        if self.scale is not None:
            check_number(self.scale, f"{kind}: scale", positive=True)
        places = np.asarray(self.near) if self.near else np.zeros((0, 2))
        if places.ndim != 2 or places.shape[1] != 2 or places.dtype.kind not in "iuf" or not np.isfinite(places).all():
            raise ProblemError(f"{kind}: near is a list of places (x, y), got {self.near!r}.")

    @abstractmethod
    def trial_functions(self, problem: ControlProblem, domain: Domain) -> tuple[Ansatz, Ansatz]:
        """Those of the state and of the adjoint state."""

    @property
    @abstractmethod
    def weights(self) -> tuple[float, float] | None:
        """Of rows for boundary values and for jumps, None where trial functions have these by themselves."""


@dataclass(frozen=True)
class HardConstraint(NetworkMethod):
    """State and adjoint state g + h N(x, phi(x)) with networks N: boundary values, jumps and bounds hold exactly.

    h vanishes on the boundary, g has the data there and the jumps, phi has a kink at each interface; so conditions hold
    whatever the weights of N are. The control is the projection of the adjoint state, and feasible everywhere.

    Parameters
    ----------
    training : how the weights are found. "galerkin": a random hidden layer, whose outer weights solve the weak form;
        the jump of the flux is natural there, and the quadrature is verified. "collocation": a random hidden layer,
        with outer weights by least squares in the strong form. "auto": Galerkin's method for steady equations with
        interfaces that meshes of gmsh fit (for quadrature alone), else collocation. Or a `Training` of all weights, as
        `LevenbergMarquardt`, `VariableProjection` or `Adam`.
    features : how many neurons a random hidden layer has, for state and adjoint state each. By default 400 and more
        until they suffice in Galerkin's method, and 600, 200 more for each interface, or 1200 in time, in collocation.
    scale : of their slopes, relative to half of the sides of the domain. By default 2, and 3 or 4.5 where Galerkin's
        method takes more features; chosen among five in collocation, by the residual that fewer features leave.
    points : of collocation in the interior, ten for each feature by default, and 2000 for a `Training`; or Gauss points
        in each direction of the cells of Galerkin's quadrature at first, which grow until a finer rule agrees.
    near : places (x, y) where functions are not smooth: points and features of collocation are clustered there.
    seed : of random numbers.
    factor, lifting, kink : h, g and phi, where they are not made from the geometry: functions of x (and t), g also one
        for each part, {tag: function}, phi always; or "learned", random features fitted to what they must satisfy.

    Notes
    -----
    M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, The hard-constraint PINNs for interface optimal control problems, SIAM
    J. Sci. Comput. 47 (2025), Algorithm 2, have the ansatz, and train all weights.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.interface_reference.circle().problem
    >>> method = HardConstraint(training="collocation", features=100, scale=1.5)
    >>> result = pc.solve(problem, [(-1, 1), (-1, 1)], method=method)
    >>> result.success
    True
    """

    factor: Callable[..., Array] | Learned | None = None
    lifting: Piecewise | Learned | None = None
    kink: Mapping[str, Callable[..., Array]] | Learned | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("factor", "lifting", "kink"):
            if isinstance(value := getattr(self, name), str) and value != "learned":
                raise ProblemError(f"HardConstraint: {name} is a function or 'learned', got {value!r}.")

    def trial_functions(self, problem: ControlProblem, domain: Domain) -> tuple[Ansatz, Ansatz]:
        fixed = {tag: item for tag, item in problem.boundary.items() if isinstance(item, Dirichlet)}
        jumps = {tag: item.value for tag, item in domain.interface.items()}
        conditions = fixed, jumps, problem.equation.initial if isinstance(problem.equation, Parabolic) else None
        if self.lifting is None:
            lifting: Function = Lifting(domain, *conditions)
        elif isinstance(self.lifting, str):
            lifting = learned_lifting(domain, *conditions)
        else:
            lifting = given_lifting(domain, self.lifting, *conditions)
        state, _ = hard(domain, lifting, 1.0)
        factor, kink = self.factor, self.kink
        if factor is not None:
            made = learned_factor(domain) if isinstance(factor, str) else given_factor(domain, factor)
            state = replace(state, factor=made)
        if kink is not None:
            made = learned_kink(domain) if isinstance(kink, str) else given_kink(domain, kink)
            state = replace(state, kink=made)
        return state, adjoint_of(state, unit_of(problem))

    @property
    def weights(self) -> None:
        return None


@dataclass(frozen=True)
class SoftConstraint(NetworkMethod):
    """State and adjoint state N(x, z) with the label z of the part: all conditions are met in least squares only.

    The baseline with which hard constraints are compared; of no use otherwise.

    Parameters
    ----------
    training, features, scale, points, near, seed : see `HardConstraint`; there is no "galerkin".
    boundary, value : the weights of boundary values and of jumps of values.

    Notes
    -----
    Algorithm 1 of the paper that `HardConstraint` names.

    Examples
    --------
    >>> method = SoftConstraint(boundary=10.0, value=10.0)
    """

    boundary: float = 1.0
    value: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("boundary", "value"):
            check_number(getattr(self, name), f"SoftConstraint: {name}", positive=True)
        if self.training == "galerkin":
            raise ProblemError("SoftConstraint: Galerkin's method needs functions that satisfy the conditions.")

    def trial_functions(self, problem: ControlProblem, domain: Domain) -> tuple[Ansatz, Ansatz]:
        return soft(domain, unit_of(problem))

    @property
    def weights(self) -> tuple[float, float]:
        return self.boundary, self.value


def unit_of(problem: ControlProblem) -> float:
    """In which adjoint states are measured: alpha, or 1 without a Tikhonov term."""
    return (problem.term(Tikhonov) or Tikhonov(0.0)).alpha or 1.0
