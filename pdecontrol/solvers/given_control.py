"""The certificate of a control that is given, with a dual vector that Newton steps improve.

    ||u - u*|| <= ||u - z|| + bound(z),   z = argmin G + <S* p, .>   for any dual vector p.

F'(S(u)) is a poor one where alpha is small: an error of u is amplified by ||S||^2/alpha. From there Newton's method
needs few steps, where u is near to the optimum.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from ..arrays import Array
from ..certificate import Certificate, Certified, certify_by_gap, certify_nonlinear, certify_projection
from ..errors import ConvergenceError, SolveLimitError
from ..few import by_numbers, count
from ..maps import Linearisation, SolutionMap
from ..terms import Objective
from ..terms.control import EPS
from .dual_newton import DualState, newton_step
from .newton_path import DIRECT

LIMIT = 48  # solves of these steps
SHARE = 0.5  # bound(z) beside ||u - z|| at which the bound is at most three times the distance
FORCING, MAX_CG = 0.03, 5  # of conjugate gradients, where a map has nothing better


def certify_given(objective: Objective, map: SolutionMap, u: Array, p: Array | None = None) -> Certificate:
    """The certificate of a control u, optimal or not, feasible or not, by a dual vector p or F'(S(u)) and Newton steps.

    Three solves, and up to LIMIT more while bound(z) is not below SHARE ||u - z||. Without a Tikhonov term, and for
    nonlinear maps, no steps are taken.
    """
    if not (map.affine and objective.control.alpha > 0 and objective.state.quadratic):
        return certify_any(objective, map, u, p)
    at, norm = map.at(u), map.norm_bound or None
    p = objective.state.gradient(at.value) if p is None else objective.state.nearest(p)
    best, state = _judged(objective, map, at, u, p)
    with suppress(SolveLimitError, ConvergenceError), map.solves.limited(map.solves.total + LIMIT):
        while state is not None:
            few = by_numbers(map) if 0 < count(map)[0] <= max(DIRECT) else None
            new, _ = newton_step(objective, map, state, FORCING, MAX_CG, norm, few)
            found, state = _judged(objective, map, at, u, new.dual, new)
            gap = min((item.gap for item in (best, found) if item.gap is not None), default=None)
            state = state and replace(state, at_once=new.at_once)
            best = replace(min(best, found, key=lambda item: item.rank), gap=gap)
    return best


def _judged(
    objective: Objective, map: SolutionMap, at: Linearisation, u: Array, p: Array, step: DualState | None = None
) -> tuple[Certificate, DualState | None]:
    """The certificate of u by a dual vector, which a step may have led to, and the state for one to a better one; None
    where that gains little.
    """
    adjoint = at.solve_adjoint(p, step.adjoint.state if step else None)
    z = objective.control.argmin(adjoint.gradient)
    own = map.at(z, step.warm if step else at.warm)
    projected = certify_projection(objective, map, p, adjoint, at=own)
    gap = certify_by_gap(objective, map, at, u, p, adjoint).certificate
    found, reached = transferred(objective, map, at, u, projected, gap), projected.certificate
    assert reached.bound is not None
    if reached.exhausted or reached.bound <= SHARE * map.control.norm(u - z):
        return found, None
    return found, DualState(z, own.value, p, adjoint, 0.0, warm=own.warm, at_once=step is not None and step.at_once)


def certify_any(objective: Objective, map: SolutionMap, u: Array, p: Array | None = None) -> Certificate:
    """The certificate of a given control u, optimal or not, feasible or not.

    Parameters
    ----------
    p : for affine maps a dual vector, F'(S(u)) if None.
    """
    at = map.at(u)
    if map.affine:
        p = objective.state.gradient(at.value) if p is None else objective.state.nearest(p)
        adjoint = at.solve_adjoint(p)
        own = certify_by_gap(objective, map, at, u, p, adjoint).certificate
        return transferred(objective, map, at, u, certify_projection(objective, map, p, adjoint), own)
    certified, _ = certify_nonlinear(objective, map, at.adjoint(objective.state.gradient(at.value)), at.warm)
    found = transferred(objective, map, at, u, certified)
    return replace(found, assumption=f"that the state is the one found from zero; {found.assumption}")


def transferred(
    objective: Objective,
    map: SolutionMap,
    at: Linearisation,
    u: Array,
    projected: Certified,
    own: Certificate | None = None,
) -> Certificate:
    """The certificate of u by that of a projected control z.

    Notes
    -----
    ||u - u*|| <= ||u - z|| + bound(z); for affine maps the bound from the gap of u, its `own`, infinite where u is
    infeasible, if it is smaller, as it is near the optimum for small alpha.
    """
    certificate = projected.certificate
    bound = None if certificate.bound is None else map.control.norm(u - projected.control) + certificate.bound
    if bound is not None and own is not None and own.bound is not None:
        bound = min(bound, own.bound)
    if bound is not None:  # a norm may be a sum of as many terms that round alike
        bound *= 1 + EPS * (8 + map.control.count)
    return replace(
        certificate,
        bound=bound,
        norm=map.control.norm(u),
        gap=None if own is None else own.gap,
        objective=objective.value(u, at.value),
        optimal=certificate.optimal and not map.control.any(u),
    )
