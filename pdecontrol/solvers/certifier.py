"""What a run knows of its controls: certificates when they are worth their solves, and the best of them."""

from __future__ import annotations

from contextlib import suppress
from operator import itemgetter

import numpy as np

from ..arrays import Array
from ..certificate import Certificate, Certified, certify_by_gap, certify_nonlinear, certify_projection
from ..errors import ConvergenceError, ProblemError, SingularEquationError, SolveLimitError
from ..maps import Adjoint, SolutionMap
from ..result import Status
from ..terms import Objective
from .extrapolation import extrapolate
from .given_control import certify_any
from .method import State, Stopping
from .progress import Ledger
from .schedule import Schedule

ROUNDED = 1e-10  # the relative estimate below which rounding may be all that is left
COSTLY = 6  # solves of a step, beside which the estimate of the error is cheap
LEAST = 1e-140  # smaller norms may be wrong, as squares underflow


class Certifier:
    """Certifies the controls of a run, keeps the best, and tells when no better one is to be had.

    Attributes
    ----------
    best : the best control so far, `unverified` while its certificate comes from a file.
    best_at, certified_at : the solves when it was found, and the iteration of the last certificate.
    considered_at : the solves up to the last iteration.
    lowest : the least objective so far and its control.
    modulus : of convexity, that is assumed for nonlinear maps; None where it is to be computed.
    zero_tested : whether it is known if u = 0 is the optimum.
    concave, unknown : whether there is no bound where one was wanted, or none can be known.
    near : how near the optimum is where the map is not exact, by the method's own estimate, relative to the control.
    reached, exhausted : whether the state meets the target, and rounding is what is left.
    """

    def __init__(self, objective: Objective, map: SolutionMap, stopping: Stopping) -> None:
        self.objective, self.map, self.stopping = objective, map, stopping
        self.ledger, self.schedule = Ledger(map.solves, stopping.solves), Schedule()
        self.success = Status.CERTIFIED if map.exact else Status.CONVERGED
        self.best: Certified | None = None
        self.best_at, self.certified_at, self.considered_at = 0, -1, 0
        self.lowest: tuple[float, Array] = (np.inf, np.zeros(0))
        self.modulus: float | None = 0.8 * objective.control.alpha  # what is computed is seldom less
        self.unverified = self.zero_tested = self.concave = self.unknown = False
        self.reached = self.exhausted = self.converged = False
        self.near = np.inf

    def begin(self, u: Array, state: State) -> None:
        """Certify zero where a run begins there and its state is the target, which leaves nothing to look for."""
        if not self.map.exact:
            return
        self.zero_tested = not self.map.control.any(u)
        if self.zero_tested and self.map.affine and self.objective.state.met_by(state.y):
            with suppress(SolveLimitError), self.ledger.within_limit():
                self.best = certify_projection(self.objective, self.map, self.objective.state.start())
                self.reached, self.exhausted = self.best.certificate.reached, self.best.certificate.exhausted

    def consider(self, state: State, iteration: int) -> tuple[float, float, float]:
        """The objective, the method's own estimate of the error, and a new bound; NaN where they can wait."""
        value = self.objective.value(state.u, state.y)
        self.lowest = min(self.lowest, (value, state.u), key=itemgetter(0))
        self.schedule.evaluated(iteration, value)
        estimate, bound = np.nan, np.nan
        costly, self.considered_at = self.ledger.total - self.considered_at > COSTLY, self.ledger.total
        if state.look or (state.look is None and (costly or self.schedule.estimate_due(iteration))):
            estimate, size = self._estimate(state, value)
            floor = 0.0 if self.best is None else self.best.certificate.floor
            unit = size if self.objective.control.alpha == 0 else 1.0  # of tolerances and of rows
            target = max(self.stopping.tol * size, self.stopping.atol * unit, floor * unit)
            sharp = bool(state.look) and self.zero_tested and size > 0 and estimate > ROUNDED * size
            due = self.schedule.certificate_due(iteration, estimate, target, sharp) or state.own is not None
            if not self.map.exact:
                self._settle(state, estimate, size, target)
            elif due:
                bound = self._certify(state, iteration, estimate)
            estimate /= unit
        return value, estimate, bound

    def verdict(self, objective: float, patience: int, settled: bool = False) -> Status | None:
        """Why a run with this objective should end, if it should; whether its method has settled, or has patience."""
        if not np.isfinite(objective) or self.underflows:
            return Status.OVERFLOW
        if self.converged:
            return self.success
        if self.best is not None and self.unverified and self._meets(self.best):
            self._verify()
        if self.best is not None and self._meets(self.best):
            return self.success
        if self.best is not None and self.exhausted:
            return Status.REACHED if self.reached else Status.ROUNDING
        if self.concave:
            return Status.NONCONVEX
        if self.unknown:
            return Status.SETTLED
        if settled or self.schedule.stalled(patience):
            rounded = settled or self.near_rounding or self.schedule.vanished
            return Status.ROUNDING if rounded else Status.STALLED
        return None

    def finish(self, state: State, iteration: int, status: Status) -> tuple[Certified, Status]:
        """What a run returns, with a modulus that was computed if solves are left for that; and why it ended."""
        if not self.map.exact:
            return self._own_optimum(state), status
        if status is Status.OVERFLOW and (self.best is None or self.best.certificate.norm < LEAST):
            raise ProblemError(Status.OVERFLOW.value)
        earlier, reassessed = self.best, not self.map.affine and status is not self.success
        if reassessed:
            self.best, self.modulus, self.certified_at = None, None, -1
        if self.certified_at < iteration and status is not Status.OVERFLOW:
            with suppress(SolveLimitError):
                self._certify(state, iteration, self._estimate(state, self.objective.value(state.u, state.y))[0])
        self.best = self.best or earlier
        if reassessed and earlier and self.best and earlier.certificate.objective < self.best.certificate.objective:
            self.best, self.unverified = earlier, True
        if reassessed and self.best:
            self._reconsider(self.best)
        if self.unverified:
            with suppress(SolveLimitError, ConvergenceError):
                self._verify()
        best = self._uncertified(state) if self.best is None or self.unverified else self.best
        return best, self.success if self._meets(best) else status

    def _reconsider(self, best: Certified) -> None:
        """Return the control of least objective where the projected one is far off, which nonlinear maps allow."""
        value = best.certificate.objective
        if value - self.lowest[0] > 0.9 * abs(value):
            kept = best, self.unverified
            self.best, self.unverified = best._replace(control=self.lowest[1]), True
            with suppress(SolveLimitError, ConvergenceError):
                self._verify()
            if self.best.certificate.objective > value:  # that of the history may be taken at an extrapolated control
                self.best, self.unverified = kept

    def _settle(self, state: State, estimate: float, size: float, target: float) -> None:
        """Note whether the optimum of a map that is not exact is reached, by what the method itself knows."""
        self.near = min(self.near, estimate / (size or 1.0))
        if estimate <= target:
            self.converged = True
        elif not self.zero_tested:  # no iterate may reach u = 0, whose estimate is then never small beside it
            self.zero_tested = True
            at = self.map.at(self.map.control.zeros())
            q = at.adjoint(self.objective.state.gradient(at.value))
            if not self.map.control.any(self.objective.control.argmin(q)):
                self.converged, self.near = True, 0.0

    def _own_optimum(self, state: State) -> Certified:
        """What a run with a map that is not exact returns: no bound, whatever is known of its own optimum."""
        u = 0.0 * state.u if self.converged and self.near == 0.0 else state.u
        try:
            with self.ledger.within_limit():
                at = self.map.at(u)
                adjoint = at.solve_adjoint(self.objective.state.gradient(at.value))
        except SolveLimitError:
            return self._uncertified(state)
        near = f"{self.near:.0e}" if np.isfinite(self.near) else "an unknown part"
        what = f"nothing: this map is not exact. Of its own optimum the control is within about {near} of its norm"
        norm, value = self.map.control.norm(u), self.objective.value(u, at.value)
        return Certified(u, Certificate(None, norm, None, value, what), at.state, adjoint)

    @property
    def near_rounding(self) -> bool:
        return self.best is not None and self.best.certificate.near_rounding

    @property
    def underflows(self) -> bool:
        """Whether squares are lost: the best control has no norm, but is not zero, or has a bound as small as that."""
        if self.best is None or self.best.certificate.norm >= LEAST:
            return False
        return 0.0 < (self.best.certificate.bound or 0.0) < LEAST or self.map.control.any(self.best.control)

    def _meets(self, certified: Certified) -> bool:
        return certified.certificate.meets(self.stopping.tol, self.stopping.atol)

    def _estimate(self, state: State, value: float) -> tuple[float, float]:
        """What the method's own dual pair says of the error, at no solve, and what it is relative to.

        That of the control, and where alpha = 0 that of the objective: the gap.
        """
        alpha = self.objective.control.alpha
        gap = self.objective.gap(state.u, state.y, state.dual, state.adjoint.gradient)
        if alpha == 0:
            return gap, max(abs(value), abs(value - gap), 1e-300)
        return float(np.sqrt(2.0 * gap / alpha)), self.map.control.norm(state.u)

    def _certify(self, state: State, iteration: int, estimate: float) -> float:
        """The bound of a new certificate (the relative gap where alpha = 0); keeps the best."""
        with self.ledger.within_limit():
            try:
                certified = self._certify_affine(state, estimate) if self.map.affine else self._certify_nonlinear(state)
            except ConvergenceError:  # of the state at a projected control far from the iterate
                self.schedule.certified(iteration, np.inf)
                return np.inf
            if not self.zero_tested and not certified.certificate.excludes_zero:
                with suppress(SolveLimitError, ConvergenceError, SingularEquationError):
                    certified = self._certify_zero() or certified
                self.zero_tested = True
        now = certified.certificate
        if self.best is None or now.rank < 0.9 * self.best.certificate.rank:
            self.best_at = self.ledger.total
        if self.best is None or self.concave or now.rank <= self.best.certificate.rank:
            self.best, self.unverified = certified, False
        self.certified_at = iteration
        self.schedule.certified(iteration, now.rank)
        self.reached |= now.reached
        self.exhausted |= now.exhausted or (now.near_rounding and self.schedule.settled)
        return now.measure

    def _certify_affine(self, state: State, estimate: float) -> Certified:
        """The projected control, or the iterate itself where its own duality gap says more."""
        objective, map = self.objective, self.map
        p, adjoint = best_dual(objective, state)
        certified = certify_projection(objective, map, p, adjoint, state.warm, state.adjoint.state, state.own)
        if state.own is not None:
            return certified
        if estimate < certified.certificate.rank:
            own = certify_by_gap(objective, map, map.at(state.u, state.warm), state.u, state.dual, state.adjoint)
            certified = min(certified, own, key=lambda item: item.certificate.rank)
        return certified

    def _certify_nonlinear(self, state: State) -> Certified:
        """The modulus of convexity is assumed at first, and computed where success is near."""
        objective, map = self.objective, self.map
        q, start = state.adjoint.gradient, state.warm
        if map.observation.any(state.dual - objective.state.gradient(state.y)):  # a dual vector that tells less
            at = map.at(state.u, self.best.state if self.best is not None and state.warm is not None else None)
            q, start = at.adjoint(objective.state.gradient(at.value)), at.warm
        certified, modulus = certify_nonlinear(
            objective, map, q, start, self.modulus, lambda certificate: certificate.meets(*self.stopping[:2])
        )
        self.concave, self.unknown = modulus <= 0, bool(np.isnan(modulus))
        self.modulus = modulus if modulus > 0 else self.modulus
        return certified

    def _certify_zero(self) -> Certified | None:
        """The certificate of u = 0 if that is the fixed point of the optimality system, which no iterate may reach."""
        objective, map = self.objective, self.map
        at = map.at(map.control.zeros())
        if map.affine and objective.state.met_by(at.value):
            return certify_projection(objective, map, objective.state.start())
        p = objective.state.gradient(at.value)
        adjoint = at.solve_adjoint(p)
        if map.control.any(objective.control.argmin(adjoint.gradient)):
            return None
        if map.affine:
            return certify_projection(objective, map, p, adjoint)
        return certify_nonlinear(objective, map, adjoint.gradient, at.warm)[0]

    def _verify(self) -> None:
        """Compute the certificate, the state and the adjoint of the best control again."""
        assert self.best is not None
        u, p = self.best.control, self.best.dual
        with self.ledger.within_limit():
            at = self.map.at(u)
            adjoint = at.solve_adjoint(self.objective.state.gradient(at.value) if p is None else p)
            certificate = certify_any(self.objective, self.map, u, p)
        self.best, self.unverified = Certified(u, certificate, at.state, adjoint, p), False

    def _uncertified(self, state: State) -> Certified:
        """The control with the least objective, with its state and adjoint if solves are left for them."""
        now = self.objective.value(state.u, state.y), state.u
        value, u = min(self.lowest, now, key=itemgetter(0))
        unknown = np.full(self.map.solution.size, np.nan)
        field: Array | None = unknown
        adjoint = Adjoint(np.full(u.size, np.nan), None, unknown)
        with suppress(SolveLimitError, ConvergenceError), self.ledger.within_limit():
            at = self.map.at(u)
            field, value = at.state, self.objective.value(u, at.value)
            adjoint = at.solve_adjoint(self.objective.state.gradient(at.value))
        reason = "nothing: no certificate could be computed, for want of solves or of a state at the projected control"
        return Certified(u, Certificate(None, self.map.control.norm(u), None, value, reason), field, adjoint)


def best_dual(objective: Objective, state: State) -> tuple[Array, Adjoint | None]:
    """The dual vector that gives the best certificate for affine maps, with its adjoint solution where known.

    F' at observations extrapolated from the last four of the primal-dual method, which the slowest modes hardly enter.
    """
    if state.trail:
        return objective.state.gradient(extrapolate(state.trail, objective.state.space)), None
    return state.dual, state.adjoint
