"""Certificates: computed bounds on the distance of a control to the optimum, with their assumptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .arrays import Array
from .continuum import Continuous
from .curvature import smallest_curvature
from .errors import ProblemError
from .maps import Adjoint, Linearisation, SolutionMap
from .terms import Objective
from .terms.control import EPS


@dataclass(frozen=True)
class Certificate:
    """How far a control u is from the optimum u* of the discrete problem.

    Attributes
    ----------
    bound : an upper bound on ||u - u*|| in the norm of the control space; None where there is none.
    norm : ||u||.
    gap : an upper bound on J(u) - J(u*), the duality gap; None for nonlinear equations.
    objective : J(u).
    assumption : what the bound rests on.
    optimal : whether u = 0 was shown to be the optimum.
    reached : whether the misfit of the state is at its rounding.
    floor : the part of the bound (of the relative gap where there is none) that rounding and the errors of linear
        solvers are answerable for, and that no better dual vector would take away.
    discretisation : an estimate, not a bound, of the distance to the continuous optimum from a refined mesh, in the
        same norm; None if it was not asked for.
    continuous : how far the control, as a function, is from the optimum of the continuous problem; None if it was not
        asked for.
    curvature : for nonlinear equations, no more than the smallest eigenvalue of the Hessian of the smooth part of the
        objective on directions that vanish where u is at a bound or at the kink of the L1 term: where it is positive,
        the second-order condition holds. Found by Lanczos iteration; with one per cent of doubt where it is at least
        three tenths of alpha and the misfit is small, else as far as 40 steps show. None where no second derivatives
        were computed.
    """

    bound: float | None
    norm: float
    gap: float | None
    objective: float
    assumption: str
    optimal: bool = False
    reached: bool = False
    floor: float = 0.0
    discretisation: float | None = None
    curvature: float | None = None
    continuous: Continuous | None = None

    def __post_init__(self) -> None:
        if isinstance(self.continuous, dict):  # of a file
            object.__setattr__(self, "continuous", Continuous(**self.continuous))

    @property
    def relative(self) -> float | None:
        """bound / max(||u||, 1e-300), and 0 if both are 0."""
        if self.bound is None or self.bound == 0.0:
            return self.bound
        return self.bound / max(self.norm, 1e-300)

    @property
    def relative_gap(self) -> float | None:
        """gap / max(abs(P), abs(D)) with the primal value P = J(u) and the dual value D = P - gap; 0 if the gap is."""
        return None if self.gap is None else _relative(self.gap, self.gap, self.objective)

    @property
    def measure(self) -> float:
        """What is compared with tolerances: the bound, else the relative gap, else infinity."""
        value = self.relative_gap if self.bound is None else self.bound
        return np.inf if value is None else value

    @property
    def rank(self) -> float:
        """What certificates of one problem are compared by: the bound, else the gap, else infinity."""
        value = self.gap if self.bound is None else self.bound
        return np.inf if value is None else value

    @property
    def exhausted(self) -> bool:
        """Whether half of the bound or more is owed to rounding and to errors of linear solvers."""
        return not self.optimal and 0 < self.measure <= 2.0 * self.floor

    @property
    def near_rounding(self) -> bool:
        """Whether the bound is not far above what is owed to rounding, or so small that the solves of a method, which
        are not refined, may be what is left of it.
        """
        return self.measure <= max(16.0 * self.floor, 1e-9 * (1.0 if self.bound is None else self.norm))

    @property
    def excludes_zero(self) -> bool:
        """Whether the bound shows that u* is not zero."""
        return self.bound is not None and self.bound < self.norm

    def meets(self, tol: float, atol: float = 0.0) -> bool:
        """bound <= tol (||u|| - bound), or bound <= atol, or u = 0 shown optimal; relative_gap <= tol if alpha = 0."""
        if not np.isfinite(self.objective):
            return False
        if self.optimal:
            return True
        if self.bound is not None:
            return self.bound <= tol * (self.norm - self.bound) or self.bound <= atol
        return self.relative_gap is not None and self.relative_gap <= tol

    def __str__(self) -> str:
        lines = []
        if self.bound is not None:
            share = f"{self.relative:.1e} of " if self.norm > 0 else ""
            lines.append(f"||u - u*|| <= {self.bound:.3e}   ({share}||u|| = {self.norm:.6g})")
        if self.gap is not None:
            lines.append(f"J(u) - J(u*) <= {self.gap:.3e}   ({self.relative_gap:.1e} relative)")
        if self.optimal:
            lines.append("u = 0 is the optimum: it is the fixed point of the optimality system")
        if self.reached:
            lines.append("the state meets the target to rounding")
        if self.curvature is not None:
            outcome = "holds" if self.curvature > 0 else "is not shown"
            lines.append(
                f"second-order condition {outcome}: Hessian on inactive directions >= {self.curvature:.2e}, by Lanczos"
            )
        if self.discretisation is not None:
            lines.append(
                f"||u - u_continuous|| ~ {self.discretisation:.3e}   (estimate from a refined mesh, for smooth data)"
            )
        lines.append(f"assuming {self.assumption}")
        if self.continuous is not None:
            lines.append(str(self.continuous))
        return "\n".join(lines)


class Certified(NamedTuple):
    """A control with its certificate, the PDE solutions behind it, where memory is not limited, and the dual vector."""

    control: Array
    certificate: Certificate
    state: Array | None
    adjoint: Adjoint
    dual: Array | None = None


def error_bound(distance: float, adjoint_error: float, alpha: float) -> float:
    """(e + sqrt(e^2 + alpha d^2)) / (2 alpha), a bound on ||z - u*|| for z = argmin G + <q, .>.

    Parameters
    ----------
    distance : d of `StateCost.distance`, an upper bound of it where S(z) is inexact.
    adjoint_error : e, a bound on ||q - S* p||.

    Notes
    -----
    -q is a subgradient of G at z, and -S* p* one at u* with p* = F'(S(u*)). Strong monotonicity gives
    alpha ||z - u*||^2 <= e ||z - u*|| + <p - p*, S(u*) - S(z)>, where the last term is at most d^2/4: for any F by
    the Fenchel-Young residual, d = 2 residual^1/2, so that ||z - u*|| <= (residual/alpha)^1/2 for exact solves; for
    F = 1/2 ||. - y_d||^2 it is, with a = L (z - u*) and the misfit r = S(z) - y_d - p of norm d, <r - a, a>.
    """
    return (adjoint_error + float(np.hypot(adjoint_error, np.sqrt(alpha) * distance))) / (2.0 * alpha)


def certify_projection(
    objective: Objective,
    map: SolutionMap,
    p: Array,
    adjoint: Adjoint | None = None,
    start: Array | None = None,
    adjoint_start: Array | None = None,
    at: Linearisation | None = None,
) -> Certified:
    """The projected control z = argmin G + <q, .>, q = S* p, of a dual vector p with its certificate, for affine maps.

    Parameters
    ----------
    p : a vector of the observation space in the domain of F*, such as S(u) - y_d.
    adjoint : the adjoint solution for p where it is known with its error, which saves a solve.
    start, adjoint_start : PDE solutions near to those of the certificate, for iterative solvers to begin from.
    at : the map at z where it is known with its error, which saves the other solve.

    Notes
    -----
    One adjoint and one state solve. The gap of z is the residual of F, d^2/2 for tracking, because its residual in G
    vanishes, and e^2/(2 alpha) more if q errs by e. If z = 0, one more adjoint solve tells whether 0 is the fixed point
    of the optimality system, that is u* = 0.
    """
    if adjoint is None or adjoint.error is None:
        p = objective.state.nearest(p)
        near = adjoint_start if adjoint is None else adjoint.state
        adjoint, at = map.at(map.control.zeros()).solve_adjoint(p, near), None  # z is another one then
    control = objective.control
    z = control.argmin(adjoint.gradient)
    if at is None or at.error is None:
        at = map.at(z, start)
    y, value = at.value, objective.value(z, at.value)
    # In exact arithmetic, z is the projected control of a vector at this distance from q.
    error, least = _known(adjoint.error) + control.argmin_error(adjoint.gradient), _state_error(objective, at, p)
    gap = objective.state.residual(y, p, least) + control.raised(error)
    floor = objective.state.residual_from(least) + control.raised(error)
    if control.alpha > 0:
        ends = objective.state.distance(y, p, least), objective.state.distance_from(least)
        bound, floor = (error_bound(d, error, control.alpha) for d in ends)
    else:
        bound, floor = None, _relative(floor, gap, value)
    reached = _reached(objective, y, least)
    known = None if map.observation.any(objective.state.gradient(y) - p) else adjoint
    optimal = not control.space.any(z) and _fixed_at_zero(objective, map, at, known)
    if optimal:
        bound, gap, floor = None if bound is None else 0.0, 0.0, 0.0
    certificate = Certificate(bound, map.control.norm(z), gap, value, _assumption(map), optimal, reached, floor)
    return Certified(z, certificate, at.state, adjoint, p)


def certify_by_gap(
    objective: Objective, map: SolutionMap, at: Linearisation, u: Array, p: Array, adjoint: Adjoint
) -> Certified:
    """A feasible control u with the certificate that the duality gap gives, for affine maps: no solve but that of `at`,
    and of an adjoint whose error is not known.

    Notes
    -----
    alpha/2 ||u - u*||^2 <= J(u) - J(u*) <= gap, the sum of two Fenchel-Young residuals: that of F at S(u) and p, and
    that of G at u. An error e of q moves the latter by at most e ||u - z|| and what it does at z.
    """
    control, y = objective.control, at.value
    if adjoint.error is None:
        adjoint = at.solve_adjoint(p, adjoint.state)
    z, least = control.argmin(adjoint.gradient), _state_error(objective, at, p)
    error = _known(adjoint.error) + control.argmin_error(adjoint.gradient)
    norm, value, distance = map.control.norm(u), objective.value(u, y), map.control.norm(u - z)
    moved = (error * distance if distance > 0 else 0.0) + control.raised(error)  # an error may be infinite
    gap = objective.state.residual(y, p, least) + control.residual(u, adjoint.gradient) + moved
    floor = objective.state.residual_from(least) + moved
    if control.alpha > 0:
        bound, floor = (float(np.sqrt(2.0 * g / control.alpha)) for g in (gap, floor))
    else:
        bound, floor = None, _relative(floor, gap, value)
    certificate = Certificate(bound, norm, gap, value, _assumption(map), False, _reached(objective, y, least), floor)
    return Certified(u, certificate, at.state, adjoint, p)


def certify_nonlinear(
    objective: Objective,
    map: SolutionMap,
    q: Array,
    start: Array | None = None,
    modulus: float | None = None,
    enough: Callable[[Certificate], bool] | None = None,
) -> tuple[Certified, float]:
    """The projected control z = argmin G + <q, .> with the residual form of the certificate.

    Parameters
    ----------
    q : any vector of the control space; near the optimum that is S'(u)* F'(S(u)) of a control u near to it.
    start : from what the solve for the state may begin.
    modulus : kappa, a modulus of strong convexity to be assumed; None to compute one at z.
    enough : whether the certificate with the modulus assumed is worth computing one.

    Returns
    -------
    The certified control and kappa, NaN where it is wanted and the map has no second derivatives.

    Notes
    -----
    grad(F o S)(z) - q is a subgradient of the objective at z, so that ||z - u*|| <= ||q - grad(F o S)(z)|| / kappa
    where the reduced objective is kappa-strongly convex on a ball with z and u*. kappa = alpha + min(0, lambda), with
    lambda the smallest eigenvalue of the Hessian of F o S at z (Lanczos): one point stands for the ball, which the
    assumption says. If that is not positive, the Hessian is restricted to the inactive set of z, which u* is then
    assumed to share. On this set, kappa is below the eigenvalues of the Hessian of the objective in either case. One
    nonlinear state solve and one adjoint one, and with kappa one for the rounding and two a Lanczos step. Rounding of
    nonlinear equations is estimated, by what smooth solutions lose to it.
    """
    alpha, control, space = objective.control.alpha, objective.control, map.control
    z = control.argmin(q)
    at = map.at(z, start)
    y = at.value
    adjoint = at.solve_adjoint(objective.state.gradient(y))
    distance = space.norm(q - adjoint.gradient)
    plain = Certificate(None, space.norm(z), None, objective.value(z, y), "")
    where = "on a ball that holds u and a local optimum"

    def bounded(modulus: float, error: float, how: str) -> Certificate:
        assumption = (
            f"{_whose(map)}the reduced objective is {modulus:.2e}-strongly convex {where}, {how}; {map.arithmetic}"
        )
        return replace(plain, bound=(distance + error) / modulus, floor=error / modulus, assumption=assumption)

    if modulus is not None:
        certificate = bounded(modulus, 0.0, "which was not checked")
        if enough is None or not enough(certificate):
            return Certified(z, certificate, at.state, adjoint), modulus
    if not map.twice:
        assumption = (
            "nothing: the map has no second derivatives, so that no modulus of convexity is known; "
            f"||u - u*|| <= {distance / alpha:.1e} if F o S is convex"
        )
        return Certified(z, replace(plain, assumption=assumption), at.state, adjoint), float("nan")
    modulus = alpha + smallest_curvature(objective, map, at, adjoint, lambda h: h)
    if modulus <= 0:
        where += " with the same active set"
        derivative = control.derivative(adjoint.gradient)
        modulus = alpha + smallest_curvature(objective, map, at, adjoint, lambda h: alpha * derivative(h))
    assumption = f"nothing: the Hessian at u has a negative eigenvalue (modulus {modulus:.2e}), there is no bound"
    certificate = replace(plain, assumption=assumption)
    if modulus > 0:
        certificate = bounded(modulus, _gradient_error(map, at, adjoint), "as its Hessian at u indicates")
    return Certified(z, replace(certificate, curvature=modulus), at.state, adjoint), modulus


def _known(error: float | None) -> float:
    """The error of a solve to full accuracy; raises ProblemError where a map does not say it."""
    if error is None:
        raise ProblemError(
            "the map gives no error of a solve without accuracy=, but None: a certificate needs a bound."
        )
    return error


def _state_error(objective: Objective, at: Linearisation, p: Array) -> float:
    """What errors of S(u) and rounding in its misfit with p may be, as an error of S(u)."""
    state, y = objective.state, at.value
    summed = EPS * state.space.count * state.distance(y, p)  # a norm may be a sum of terms that round alike
    return _known(at.error) + state.rounding(y, p) + summed


def _gradient_error(map: SolutionMap, at: Linearisation, adjoint: Adjoint) -> float:
    """What the errors of a nonlinear state and of its adjoint solution are in the two gradients of a certificate."""
    size, state, error = map.observation.norm(at.value), _known(at.error), _known(adjoint.error)
    if state == 0.0 or size == 0.0:
        return 2.0 * error
    return 2.0 * (error + map.control.norm(at.adjoint(state / size * np.abs(at.value))))


def _fixed_at_zero(objective: Objective, map: SolutionMap, at: Linearisation, adjoint: Adjoint | None) -> bool:
    """Whether 0 = argmin G + <q, .> for every q that S* F'(S(0)) may be, given the map at 0."""
    p = objective.state.gradient(at.value)
    fixed = adjoint or at.solve_adjoint(p)
    error = at.error and _state_error(objective, at, p) / (objective.state.modulus or 1e-300)
    if error and map.norm_bound == 0:  # nothing tells what an error of S(0) is in q
        return False
    return objective.control.vanishes(fixed.gradient, _known(fixed.error) + _known(error) * map.norm_bound)


def _reached(objective: Objective, y: Array, least: float) -> bool:
    """Whether the misfit of y is no more than its error, and tiny."""
    return objective.state.met_by(y) and objective.state.distance(y, 0.0 * y) <= 2 * least


def _assumption(map: SolutionMap) -> str:
    return f"{_whose(map)}an affine equation; {map.arithmetic}"


def _whose(map: SolutionMap) -> str:
    """Whose optimum is meant, where that is not the one of the discrete equation."""
    return "" if map.exact else "that the optimum of this map is meant, which is not the exact one; "


def _relative(part: float, gap: float, value: float) -> float:
    """A part of the gap relative to the larger of the primal value and the dual one."""
    return part if part in (0.0, np.inf) else part / max(abs(value), abs(value - gap))
