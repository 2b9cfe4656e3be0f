"""Methods as users choose them: parameters, and the algorithm that fits a problem and its map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ProblemError
from ..maps import SolutionMap
from ..problem import check_number
from ..terms import Objective
from .admm import AlternatingDirections
from .fista import AcceleratedProximalGradient
from .fista_nonlinear import RestartedProximalGradient
from .method import Algorithm, Method
from .newton_path import NewtonPath
from .normal_map_newton import NormalMapNewton
from .primal_dual import AffinePrimalDual
from .primal_dual_nonlinear import NonlinearPrimalDual
from .proximal_gradient import ForwardBackward, backtracked_step, fixed_step
from .proximal_point import ProximalPoints
from .steps import RULES, Steps
from .surrogate_newton import SurrogateDualNewton
from .surrogate_normal_map import SurrogateNormalMapNewton


@dataclass(frozen=True)
class PrimalDual(Method):
    """The primal-dual method for affine and nonlinear maps; two solves an iteration.

    Parameters
    ----------
    steps : how r and s are found from alpha and the estimated ||S||.

        - "classical": r = 1/(sqrt(alpha) ||S||), s = alpha r, so that r s ||S||^2 = 1.
        - "enlarged": r larger by (4 + 2 alpha r)/3, the same s.
        - "balanced": s = alpha r with the largest r that the enlarged condition r s ||S||^2 <= (4 + 2 alpha r)/3 and
          the closed form of the contraction factor allow. The default.
        - "accelerated": r = 1/(sqrt(alpha) ||S||), s = alpha r, theta = 1/(1 + 2 alpha r); with alpha = 0, steps that
          change with the strong convexity of F* (Algorithm 2 of Chambolle and Pock).
        - a pair (r, s).

        With alpha = 0 the first three take r/s from the size of the box and of the misfit. For nonlinear maps, where
        no theorem holds, a rule is applied again if ||S'|| has moved by 5 % after 5, 20, 80 or 320 iterations. Where
        the iteration does not contract as it should, it goes back to where it was nearest to a fixed point, and on with
        the steps for the norm there or shorter ones.
    norm : ||S||, at the start of a nonlinear map, estimated by Lanczos iteration (and counted) if None.

    Examples
    --------
    >>> method = PrimalDual(steps="classical")
    """

    steps: Steps = "balanced"
    norm: float | None = None

    name: ClassVar[str] = "primal-dual"

    def __post_init__(self) -> None:
        if isinstance(self.steps, str):
            if self.steps not in RULES:
                raise ProblemError(
                    f"unknown steps {self.steps!r}: take 'classical', 'enlarged', 'balanced', 'accelerated' or (r, s)."
                )
        elif np.shape(self.steps) != (2,):
            raise ProblemError(f"steps must be a rule or a pair of positive numbers (r, s), got {self.steps!r}.")
        else:
            for step in self.steps:
                check_number(step, "each of the steps (r, s)", positive=True)
        _check_norm(self.norm)

    def algorithm_for(self, objective: Objective, map: SolutionMap) -> Algorithm[Any]:
        return (AffinePrimalDual if map.affine else NonlinearPrimalDual)(self.steps, self.norm)


@dataclass(frozen=True)
class SemismoothNewton(Method):
    """Semismooth Newton with a line search, for alpha > 0: on the dual problem of linear equations, on the normal map
    of nonlinear ones.

    Its systems are solved by conjugate gradients, two solves a step. Where alpha is small and the equation linear, it
    follows a path of weights that fall to alpha, and systems of steady equations are solved at once, by multigrid for
    state and adjoint, where that is less work, on intervals by banded factors; with few observed numbers or controls
    they are dense.

    Parameters
    ----------
    forcing : relative tolerance of the conjugate gradients, lowered as the residual falls.
    max_cg : limit of conjugate gradient steps in one Newton step.
    """

    forcing: float = 0.3
    max_cg: int = 500

    name: ClassVar[str] = "semismooth Newton"

    def __post_init__(self) -> None:
        check_number(self.forcing, "SemismoothNewton: forcing", positive=True)
        check_number(self.max_cg, "SemismoothNewton: max_cg", positive=True)
        if self.forcing >= 1 or self.max_cg < 1:
            raise ProblemError(f"SemismoothNewton: 0 < forcing < 1 and max_cg >= 1 are needed, got {self}.")

    def algorithm_for(self, objective: Objective, map: SolutionMap) -> Algorithm[Any]:
        if objective.control.alpha == 0:
            raise ProblemError(
                "SemismoothNewton needs a Tikhonov term with alpha > 0: use ProximalPoint or PrimalDual."
            )
        if map.affine and objective.state.quadratic:
            return NewtonPath(self.forcing, self.max_cg)
        if not map.twice:
            raise ProblemError("SemismoothNewton needs a map with second derivatives: use PrimalDual.")
        _check_smooth(self, objective)
        return NormalMapNewton(self.forcing, self.max_cg)


@dataclass(frozen=True)
class ProximalPoint(Method):
    """u+ = argmin F(S(u)) + G(u) + a/2 ||u - c||^2 by semismooth Newton, c = u+, a falling, for problems without a
    Tikhonov term: linear equations, quadratic tracking. Each Newton step is an iteration.

    Parameters
    ----------
    forcing, max_cg : see `SemismoothNewton`.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(lambda x: x[0]),
    ...     terms=[pc.Box(0.0, 0.6)],
    ... )
    >>> result = pc.minimise(problem, pc.discretise(problem, pc.unit_interval(20)), pc.ProximalPoint())
    >>> result.success, result.certificate.bound
    (True, None)
    """

    forcing: float = 0.3
    max_cg: int = 500

    name: ClassVar[str] = "proximal point"

    def __post_init__(self) -> None:
        SemismoothNewton(self.forcing, self.max_cg)

    def algorithm_for(self, objective: Objective, map: SolutionMap) -> Algorithm[Any]:
        if objective.control.alpha > 0:
            raise ProblemError("ProximalPoint is for problems without a Tikhonov term: use SemismoothNewton.")
        if not (map.affine and objective.state.quadratic):
            raise ProblemError("ProximalPoint needs a linear equation and quadratic tracking: use FISTA or PrimalDual.")
        return ProximalPoints(self.forcing, self.max_cg)


@dataclass(frozen=True)
class FISTA(Method):
    """Accelerated proximal gradient: for affine maps in the strongly convex form where alpha > 0, for nonlinear ones
    with backtracking and restart.

    Parameters
    ----------
    norm : ||S||, estimated by Lanczos iteration (and counted) if None.
    """

    norm: float | None = None

    name: ClassVar[str] = "FISTA"

    def __post_init__(self) -> None:
        _check_norm(self.norm)

    def algorithm_for(self, objective: Objective, map: SolutionMap) -> Algorithm[Any]:
        _check_smooth(self, objective)
        return (AcceleratedProximalGradient if map.affine else RestartedProximalGradient)(self.norm)


@dataclass(frozen=True)
class ProximalGradient(Method):
    """u+ = prox_tG(u - t grad(F o S)(u)) with t = 1/||S||^2; for nonlinear maps t is found by backtracking.

    Parameters
    ----------
    norm : ||S||, estimated by Lanczos iteration (and counted) if None.
    """

    norm: float | None = None

    name: ClassVar[str] = "proximal gradient"

    def __post_init__(self) -> None:
        _check_norm(self.norm)

    def algorithm_for(self, objective: Objective, map: SolutionMap) -> Algorithm[Any]:
        _check_smooth(self, objective)
        return ForwardBackward(self.norm, fixed_step if map.affine else backtracked_step)


@dataclass(frozen=True)
class ADMM(Method):
    """Inexact ADMM: conjugate gradients for the smooth part of the problem, to a tolerance that it finds by itself.

    Two solves a CG step and two more an iteration. For nonlinear maps S is linearised at each iterate.

    Parameters
    ----------
    rho : the penalty; if None, (alpha (alpha + ||S||^2))^1/2 with ||S|| estimated by Lanczos iteration (and counted),
        and balanced at some iterations.

    Examples
    --------
    >>> method = ADMM(rho=1e-3)
    """

    rho: float | None = None

    name: ClassVar[str] = "inexact ADMM"

    def __post_init__(self) -> None:
        if self.rho is not None:
            check_number(self.rho, "ADMM: rho", positive=True)

    def algorithm_for(self, objective: Objective, map: SolutionMap) -> Algorithm[Any]:
        _check_smooth(self, objective)
        return AlternatingDirections(self.rho)


@dataclass(frozen=True)
class SurrogateNewton(Method):
    """Semismooth Newton with directions from a surrogate of the map, for alpha > 0; two exact solves a step.

    It begins at the surrogate's own optimum. What is exact decides: residuals, the line search, and the certificate,
    which each step has for nothing. Where four steps do not halve the residual, the method goes on without the
    surrogate, so that a bad one costs little.

    Parameters
    ----------
    surrogate : a map of the same spaces, such as a learned one, which need not be exact; on several processes its
        vectors are divided as those of the map.
    forcing, max_cg : see `SemismoothNewton`.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(lambda x: x[0]),
    ...     terms=[pc.Tikhonov(1e-4)],
    ... )
    >>> mesh = pc.unit_interval(20)
    >>> from dataclasses import replace
    >>> near = pc.discretise(replace(problem, equation=pc.Elliptic(reaction=1.1)), mesh)
    >>> result = pc.minimise(problem, pc.discretise(problem, mesh), pc.SurrogateNewton(near))
    >>> result.success, result.solves["applications"] > result.solves["total"]
    (True, True)
    """

    surrogate: SolutionMap
    forcing: float = 0.3
    max_cg: int = 500

    name: ClassVar[str] = "surrogate Newton"

    def __post_init__(self) -> None:
        if not isinstance(self.surrogate, SolutionMap):
            raise ProblemError(f"SurrogateNewton takes a map as surrogate, got {type(self.surrogate).__name__}.")
        SemismoothNewton(self.forcing, self.max_cg)

    def __repr__(self) -> str:
        return f"SurrogateNewton({self.surrogate.fingerprint}, forcing={self.forcing}, max_cg={self.max_cg})"

    def algorithm_for(self, objective: Objective, map: SolutionMap) -> Algorithm[Any]:
        sizes = [(one.control.size, one.observation.size) for one in (self.surrogate, map)]
        if map.control.group.any(sizes[0] != sizes[1]):
            raise ProblemError(
                f"the surrogate has {sizes[0][0]} controls and {sizes[0][1]} observed values, the map {sizes[1][0]} "
                f"and {sizes[1][1]}: make it for the spaces of this map."
            )
        exact = SemismoothNewton(self.forcing, self.max_cg).algorithm_for(objective, map)
        if isinstance(exact, NewtonPath):
            return SurrogateDualNewton(self.surrogate, self.forcing, self.max_cg)
        return SurrogateNormalMapNewton(self.surrogate, self.forcing, self.max_cg)


METHODS: dict[str, type[Method]] = {
    "primal-dual": PrimalDual,
    "fista": FISTA,
    "proximal-gradient": ProximalGradient,
    "admm": ADMM,
    "semismooth-newton": SemismoothNewton,
    "proximal-point": ProximalPoint,
}


def choose(method: str | Method, objective: Objective, map: SolutionMap) -> tuple[Method, str]:
    """The method asked for, or for "auto" the one that suits the problem, with the reason."""
    if isinstance(method, Method):
        return method, ""
    if str(method) in METHODS:
        return METHODS[str(method)](), ""
    if method != "auto":
        names = ", ".join(repr(name) for name in ("auto", *METHODS))
        raise ProblemError(f"unknown method {method!r}: take one of {names}, or an object such as PrimalDual().")
    if objective.control.alpha == 0:
        proximal = map.affine and objective.state.quadratic
        return ProximalPoint() if proximal else FISTA(), "auto: there is no Tikhonov term"
    if not map.affine and not map.twice:
        return PrimalDual(), "auto: the map is nonlinear and has no second derivatives"
    kind = "linear" if map.affine else "nonlinear"
    return SemismoothNewton(), f"auto: alpha > 0 and a {kind} equation, where it needs the fewest solves"


def _check_norm(norm: float | None) -> None:
    if norm is not None:
        check_number(norm, "the norm of the map", positive=True)


def _check_smooth(method: Method, objective: Objective) -> None:
    if not objective.state.smooth:
        raise ProblemError(f"{type(method).__name__} needs a cost of the state with a derivative: use PrimalDual.")
