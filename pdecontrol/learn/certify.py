"""Answers of surrogates, certified by the exact map and corrected where they fall short.

A bound at the optimum u~ of a surrogate S~ costs two exact solves, and one more that of the control projected from its
adjoint, whose error is about kappa = ||S||^2/alpha times that of u~. So the latter is worth its solve where kappa is no
more than about one; where it is large, the dual vector of u~ by the surrogate gives the better bound. Directions from
the surrogate, two exact solves each (`SurrogateNewton`), are for any kappa.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import numpy as np

from ..arrays import Array
from ..certificate import Certified, certify_by_gap, certify_projection
from ..errors import ProblemError
from ..field import Field
from ..maps import SolutionMap, map_norm
from ..optimise import RunOptions, check_problem, minimise
from ..problem import ControlProblem, Tikhonov, check_number
from ..result import Result, Status
from ..solvers import SurrogateNewton
from ..solvers.surrogate import FAILURES
from ..starts import dual_on
from ..terms import Objective, bind

NEAR, FAR = 1.0, 25.0  # kappa up to which the projected control is worth a solve, and from which F'(S(u~)) is not


def screen(problem: ControlProblem, surrogate: SolutionMap, map: SolutionMap, tol: float = 1e-2) -> Result:
    """The optimum of a surrogate with a certificate of the exact map, for two or three exact solves.

    Parameters
    ----------
    problem : with a Tikhonov term.
    surrogate, map : affine maps in the same spaces; the map is exact.
    tol : success is bound <= tol (||u|| - bound). Where the bound at the surrogate's optimum is larger, and
        ||S~||^2 <= alpha, that of the control projected from its exact adjoint is computed too.

    Returns
    -------
    The `Result`, with status SOLVES where the bound is larger than the tolerance: `certified` goes on.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> from pdecontrol.learn.surrogates import SineGalerkin
    >>> problem = pc.reference.box(1e-2).problem
    >>> map = pc.discretise(problem, pc.unit_square(16))
    >>> result = screen(problem, SineGalerkin(map, 8), map)
    >>> result.success, result.solves["total"]  # one of them, that of the surrogate's state without control
    (True, 3)
    """
    check_problem(problem, "problem, surrogate, map", surrogate)
    check_problem(problem, "problem, surrogate, map", map)
    check_number(tol, "tol", positive=True)
    if not (map.exact and map.affine and surrogate.affine and any(isinstance(t, Tikhonov) for t in problem.terms)):
        raise ProblemError(
            "screening takes an exact affine map, an affine surrogate and a Tikhonov term: use certified, or minimise."
        )
    before, applied = map.solves.snapshot(), surrogate.solves.snapshot()
    SurrogateNewton(surrogate).algorithm_for(bind(problem, map), map)  # which compares the spaces
    try:
        own = minimise(problem, surrogate, tol=0.1 * tol, progress=False)
        kappa = _kappa(problem, surrogate, own.control.array)
    except FAILURES as error:
        raise ProblemError(
            f"the surrogate fails ({type(error).__name__}: {error}): certified goes on without it."
        ) from error
    with map.control.group.together():
        objective = bind(problem, map)
        dual = None if own.dual is None or kappa <= FAR else dual_on(map, own.dual)
        best, decision = _judged(objective, map, own.control.array, dual, tol, kappa)
        found = best.certificate
        map.solves.add_applications(surrogate.solves, applied)
        meets = found.meets(tol)
        adjoint = best.adjoint
        known = Field(adjoint.gradient, map.control, "adjoint")
        if adjoint.state is not None:
            known = Field(adjoint.state, map.adjoints, "adjoint")
        at = best.state if best.state is not None else map.at(best.control).full_state()
        return replace(
            own,
            control=Field(best.control, map.control, "control"),
            state=Field(at, map.solution, "state"),
            adjoint=known,
            certificate=found,
            status=Status.CERTIFIED if meets else Status.SOLVES,
            method=f"screening ({decision})",
            solves=map.solves.since(before),
            tol=tol,
            fingerprint=objective.fingerprint(map),
            memory=map.memory,
        )


def certified(
    problem: ControlProblem,
    surrogate: SolutionMap,
    map: SolutionMap,
    tol: float = 1e-3,
    **options: Unpack[RunOptions],
) -> Result:
    """min F(S(u)) + G(u) to a certified tolerance with the help of a surrogate, good or bad.

    Parameters
    ----------
    problem, map : the problem, and the exact map S.
    surrogate : a map in the same spaces, such as a learned one.
    tol, options : see `minimise`.

    Returns
    -------
    The `Result`, whose `method` says how many steps had directions from the surrogate and how many were exact.

    Notes
    -----
    The optimum of the surrogate is certified by two exact solves, which may be all. Else `SurrogateNewton` goes on, two
    exact solves a step with a certificate each, and without the surrogate as soon as that is not worth them.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> from pdecontrol.learn.surrogates import SineGalerkin
    >>> problem = pc.reference.box(1e-3).problem
    >>> map = pc.discretise(problem, pc.unit_square(16))
    >>> result = certified(problem, SineGalerkin(map, 8), map)
    >>> result.success, result.solves["total"] <= 4
    (True, True)
    """
    check_problem(problem, "problem, surrogate, map", map)
    if not map.exact:
        raise ProblemError(f"{map!r} is not exact, and certifies nothing: the order is problem, surrogate, map.")
    result = minimise(problem, map, SurrogateNewton(surrogate), tol, **options)
    return replace(result, method=f"{result.method} ({_steps(result)})")


def _kappa(problem: ControlProblem, surrogate: SolutionMap, u: Array) -> float:
    """||S~||^2/alpha."""
    alpha = next(term.alpha for term in problem.terms if isinstance(term, Tikhonov))
    return map_norm(surrogate, surrogate.at(u), lambda w: w) ** 2 / alpha


def _judged(
    objective: Objective, map: SolutionMap, u: Array, dual: Array | None, tol: float, kappa: float
) -> tuple[Certified, str]:
    """The better of a control and the one projected from its adjoint, as far as the latter is worth a solve."""
    u = np.clip(u, objective.control.lower, objective.control.upper)
    at = map.at(u)
    p = objective.state.gradient(at.value) if dual is None else objective.state.nearest(dual)
    adjoint = at.solve_adjoint(p)
    first = certify_by_gap(objective, map, at, u, p, adjoint)
    if first.certificate.meets(tol):
        return first, "the optimum of the surrogate"
    if not kappa <= NEAR:
        return first, f"the optimum of the surrogate; its projection gains nothing where ||S||^2/alpha = {kappa:.0e}"
    second = certify_projection(objective, map, p, adjoint, at.warm)
    if second.certificate.measure < first.certificate.measure:
        return second, "projected from the exact adjoint at the optimum of the surrogate"
    return first, "the optimum of the surrogate, better than its projection"


def _steps(result: Result) -> str:
    """How many steps had directions from the surrogate."""
    steps, given = len(result.history) - 1, int(result.solves["directions"])
    if steps == 0:
        return "the optimum of the surrogate, certified"
    if given == 0:
        return "the surrogate was of no use"
    return f"{given} of {steps} by the surrogate"
