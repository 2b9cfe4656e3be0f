"""Certificates: computed bounds on the distance of a control to the optimum, with their assumptions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .arrays import Array
from .maps import Adjoint, Linearisation, SolutionMap, smallest_eigenvalue
from .terms import EPS, Objective


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

    @property
    def relative(self) -> float | None:
        """bound / max(||u||, 1e-300), and 0 if both are 0."""
        if self.bound is None or self.bound == 0.0:
            return self.bound
        return self.bound / max(self.norm, 1e-300)

    @property
    def relative_gap(self) -> float | None:
        """gap / max(abs(P), abs(D)) with the primal value P = J(u) and the dual value D = P - gap; 0 if the gap is."""
        return None if self.gap is None else _relative(self.gap, self.objective)

    @property
    def measure(self) -> float:
        """What certificates are compared by: the bound, else the relative gap, else infinity."""
        value = self.relative_gap if self.bound is None else self.bound
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
        if self.discretisation is not None:
            lines.append(
                f"||u - u_continuous|| ~ {self.discretisation:.3e}   (estimate from a refined mesh, for smooth data)"
            )
        lines.append(f"assuming {self.assumption}")
        return "\n".join(lines)


class Certified(NamedTuple):
    """A control with its certificate and the PDE solutions behind it."""

    control: Array
    certificate: Certificate
    state: Array
    adjoint: Array


def error_bound(distance: float, adjoint_error: float, alpha: float) -> float:
    """(e + sqrt(e^2 + alpha d^2)) / (2 alpha), a bound on ||z - u*|| for z = argmin G + <q, .>.

    Parameters
    ----------
    distance : d = ||S(z) - y_d - p||, an upper bound of it where S(z) is inexact.
    adjoint_error : e, a bound on ||q - S* p||.

    Notes
    -----
    -q is a subgradient of G at z, and -S*(S(u*) - y_d) one at u*. Strong monotonicity gives, with a = L (z - u*) and
    the misfit r = S(z) - y_d - p of norm d, alpha ||z - u*||^2 <= e ||z - u*|| + <r - a, a> <= e ||z - u*|| + d^2/4.
    """
    return (adjoint_error + float(np.hypot(adjoint_error, np.sqrt(alpha) * distance))) / (2.0 * alpha)


def dual_error(objective: Objective, adjoint_error: float) -> float:
    """How much an error of norm e in q raises the residual of z = argmin G + <q, .>: e^2/(2 alpha), or e diam(box)."""
    control = objective.control
    if adjoint_error == 0.0 or control.alpha > 0:
        return adjoint_error and adjoint_error**2 / (2 * control.alpha)
    return adjoint_error * control.diameter


class Near(NamedTuple):
    """PDE solutions near to those of a certificate, for iterative solvers to begin from."""

    state: Array | None = None
    adjoint: Array | None = None


def project(
    objective: Objective, map: SolutionMap, p: Array, adjoint: Adjoint | None = None, near: Near | None = None
) -> Certified:
    """The projected control z = argmin G + <q, .>, q = S* p, of a dual vector p with its certificate, for affine maps.

    Parameters
    ----------
    p : a vector of the observation space in the domain of F*, such as S(u) - y_d.
    adjoint : the adjoint solution for p where it is known with its error, which saves a solve.
    near : where solves begin.

    Notes
    -----
    One adjoint and one state solve. The gap of z is d^2/2, because its residual in G vanishes, and e^2/(2 alpha) more
    if q errs by e. If z = 0, one more adjoint solve tells whether 0 is the fixed point of the optimality system, that
    is u* = 0.
    """
    near = near or Near()
    if adjoint is None or adjoint.error == np.inf:
        p = objective.state.in_domain(p)
        adjoint = map.at(map.control.zeros()).solve_adjoint(p, near.adjoint if adjoint is None else adjoint.field)
    control = objective.control
    z = control.argmin(adjoint.gradient)
    at = map.at(z, near.state)
    y, value = at.value, objective.value(z, at.value)
    # In exact arithmetic, z is the projected control of a vector at this distance from q.
    error = adjoint.error + control.argmin_error(adjoint.gradient)
    least = _distance_error(objective, at, p)
    distance = objective.state.distance(y, p) + least
    gap, floor = (0.5 * d**2 + dual_error(objective, error) for d in (distance, least))
    if control.alpha > 0:
        bound, floor = (error_bound(d, error, control.alpha) for d in (distance, least))
    else:
        bound, floor = None, _relative(floor, value)
    reached = _reached(objective, y, least)
    known = None if map.observation.any(objective.state.gradient(y) - p) else adjoint
    optimal = not control.space.any(z) and _fixed_at_zero(objective, map, at, known)
    if optimal:
        bound, gap, floor = None if bound is None else 0.0, 0.0, 0.0
    certificate = Certificate(bound, map.control.norm(z), gap, value, _assumption(map), optimal, reached, floor)
    return Certified(z, certificate, at.state, adjoint.field)


def _distance_error(objective: Objective, at: Linearisation, p: Array) -> float:
    """What errors of S(u) and rounding may be in d = ||S(u) - y_d - p||."""
    state, y = objective.state, at.value
    summed = EPS * state.space.count * state.distance(y, p)  # a norm may be a sum of terms that round alike
    return at.error + state.distance_error(y, p) + summed


def _fixed_at_zero(objective: Objective, map: SolutionMap, at: Linearisation, adjoint: Adjoint | None) -> bool:
    """Whether 0 = argmin G + <q, .> for every q that S*(S(0) - y_d) may be, given the map at 0."""
    control, p = objective.control, objective.state.gradient(at.value)
    fixed = adjoint or at.solve_adjoint(p)
    error = at.error and _distance_error(objective, at, p)
    if error > 0 and map.gain == 0:
        return False  # nothing tells what an error of S(0) is in q
    # At each node; where there is a reference, alpha reference - q is rounded before it is compared with beta.
    spread = (fixed.error + error * map.gain) / np.sqrt(control.space.mass)
    size = np.abs(fixed.gradient) + control.alpha * np.abs(control.reference) + control.beta
    spread = spread + np.where(np.asarray(control.reference) == 0.0, 0.0, 4 * EPS * size)
    ends = control.argmin(fixed.gradient - spread), control.argmin(fixed.gradient + spread)
    return not control.space.any(ends[0]) and not control.space.any(ends[1])


def _reached(objective: Objective, y: Array, least: float) -> bool:
    """Whether the misfit of y is no more than its error, and tiny."""
    return objective.state.met_by(y) and objective.state.distance(y, 0.0 * y) <= 2 * least


def _assumption(map: SolutionMap) -> str:
    return f"{_whose(map)}an affine equation; {map.arithmetic}"


def _whose(map: SolutionMap) -> str:
    """Whose optimum is meant, where that is not the one of the discrete equation."""
    return "" if map.exact else "that the optimum of this map is meant, which is not the exact one; "


def _relative(gap: float, value: float) -> float:
    return gap if gap in (0.0, np.inf) else gap / max(abs(value), abs(value - gap))


def weigh(objective: Objective, at: Linearisation, map: SolutionMap, u: Array, p: Array, adjoint: Adjoint) -> Certified:
    """A feasible control u with the certificate that the duality gap gives, for affine maps: no solve but that of `at`,
    and of an adjoint whose error is not known.

    Notes
    -----
    alpha/2 ||u - u*||^2 <= J(u) - J(u*) <= gap, the sum of two Fenchel-Young residuals: d^2/2, d = ||S(u) - y_d - p||,
    and that of G at u. An error e of q moves the latter by at most e ||u - z|| and what it does at z.
    """
    control, y = objective.control, at.value
    if adjoint.error == np.inf:
        adjoint = at.solve_adjoint(p, adjoint.field)
    z, least = control.argmin(adjoint.gradient), _distance_error(objective, at, p)
    error = adjoint.error + control.argmin_error(adjoint.gradient)
    norm, value = map.control.norm(u), objective.value(u, y)
    moved = error * map.control.norm(u - z) + dual_error(objective, error)
    floor = 0.5 * least**2 + moved
    distance = objective.state.distance(y, p) + least
    gap = 0.5 * distance**2 + control.residual(u, adjoint.gradient) + moved
    if control.alpha > 0:
        bound, floor = (float(np.sqrt(2.0 * g / control.alpha)) for g in (gap, floor))
    else:
        bound, floor = None, _relative(floor, value)
    certificate = Certificate(bound, norm, gap, value, _assumption(map), False, _reached(objective, y, least), floor)
    return Certified(u, certificate, at.state, adjoint.field)


def project_nonlinear(
    objective: Objective, map: SolutionMap, at_u: Linearisation, modulus: float | None = None
) -> tuple[Certified, float]:
    """The projected control z = argmin G + <q, .>, q = S'(u)* F'(S(u)), with the residual form of the certificate.

    Parameters
    ----------
    at_u : the map at a control u.
    modulus : kappa, a modulus of strong convexity to be assumed; None to compute one at z.

    Returns
    -------
    The certified control and kappa.

    Notes
    -----
    grad(F o S)(z) - q is a subgradient of the objective at z, so that ||z - u*|| <= ||q - grad(F o S)(z)|| / kappa
    where the reduced objective is kappa-strongly convex on a ball with z and u*. kappa = alpha + min(0, lambda), with
    lambda the smallest eigenvalue of the Hessian of F o S at z (Lanczos): one point stands for the ball, which the
    assumption says. If that is not positive, the Hessian is restricted to the inactive set of z, which u* is then
    assumed to share. One nonlinear state solve and two adjoint ones, and with kappa one for the rounding and two a
    Lanczos step. Rounding of nonlinear equations is estimated, by what smooth solutions lose to it.
    """
    q = at_u.adjoint(objective.state.gradient(at_u.value))
    z = objective.control.argmin(q)
    at = map.at(z, at_u.state)
    y = at.value
    adjoint = at.solve_adjoint(objective.state.gradient(y))
    where, how, error = "on a ball that holds u and a local optimum", "which was not checked", 0.0
    if modulus is None:
        error = _gradient_error(map, at, adjoint)
        how = "as its Hessian at u indicates"
        modulus = objective.control.alpha + smallest_curvature(objective, map, at, adjoint, np.ones_like(z))
        if modulus <= 0:
            where += " with the same active set"
            inactive = objective.control.inactive(adjoint.gradient).astype(float)
            modulus = objective.control.alpha + smallest_curvature(objective, map, at, adjoint, inactive)
    floor = 0.0
    if modulus > 0:
        bound, floor = (map.control.norm(q - adjoint.gradient) + error) / modulus, error / modulus
        assumption = (
            f"{_whose(map)}the reduced objective is {modulus:.2e}-strongly convex {where}, {how}; {map.arithmetic}"
        )
    else:
        bound = None
        assumption = f"nothing: the Hessian at u has a negative eigenvalue (modulus {modulus:.2e}), there is no bound"
    certificate = Certificate(bound, map.control.norm(z), None, objective.value(z, y), assumption, floor=floor)
    return Certified(z, certificate, at.state, adjoint.field), modulus


def _gradient_error(map: SolutionMap, at: Linearisation, adjoint: Adjoint) -> float:
    """What the errors of a nonlinear state and of its adjoint solution are in the two gradients of a certificate."""
    size = map.observation.norm(at.value)
    if at.error == 0.0 or size == 0.0:
        return 2.0 * adjoint.error
    moved = at.adjoint(at.error / size * np.abs(at.value))
    return 2.0 * (adjoint.error + map.control.norm(moved))


def smallest_curvature(
    objective: Objective, map: SolutionMap, at: Linearisation, adjoint: Adjoint, mask: Array
) -> float:
    """min(0, smallest eigenvalue of the Hessian of F o S on the set of a mask), from below to a twentieth of alpha.

    At most 40 Lanczos steps, two solves each; what they leave unresolved makes the value smaller.
    """
    tracked, resolution = objective.state.tracked, 0.05 * objective.control.alpha

    def apply(h: Array) -> Array:
        return mask * at.hessian(mask * h, adjoint, tracked)

    if not map.control.any(mask):
        return 0.0
    return min(0.0, smallest_eigenvalue(apply, map.control, 40, resolution))


def judge(objective: Objective, map: SolutionMap, u: Array) -> Certificate:
    """The certificate of a given control u, optimal or not, feasible or not.

    Notes
    -----
    ||u - u*|| <= ||u - z|| + bound(z) with the projected control z of S(u) - y_d; for affine maps the bound from the
    gap of u, infinite where u is infeasible, if it is smaller, as it is near the optimum for small alpha.
    """
    at = map.at(u)
    p = objective.state.gradient(at.value)
    gap = None
    if map.affine:
        adjoint = at.solve_adjoint(p)
        certified = project(objective, map, p, adjoint)
        own = weigh(objective, at, map, u, p, adjoint).certificate
        gap = own.gap
    else:
        certified, _ = project_nonlinear(objective, map, at)
        certificate = certified.certificate
        assumption = f"that the state is the one found from zero; {certificate.assumption}"
        certified, own = certified._replace(certificate=replace(certificate, assumption=assumption)), None
    projected = certified.certificate
    bound = None if projected.bound is None else map.control.norm(u - certified.control) + projected.bound
    if bound is not None and own is not None and own.bound is not None:
        bound = min(bound, own.bound)
    if bound is not None:  # a norm may be a sum of as many terms that round alike
        bound *= 1 + EPS * (8 + map.control.count)
    return replace(
        projected,
        bound=bound,
        norm=map.control.norm(u),
        gap=gap,
        objective=objective.value(u, at.value),
        optimal=projected.optimal and not map.control.any(u),
    )
