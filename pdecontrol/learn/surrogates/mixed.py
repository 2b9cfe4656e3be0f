"""The state of a surrogate with exact derivatives."""

from __future__ import annotations

import numpy as np

from ...arrays import Array
from ...errors import ProblemError
from ...maps import Adjoint, Linearisation, SolutionMap


class SurrogateState(SolutionMap):
    """S~(u) with S'(u) and S'(u)*: the state of a surrogate with the tangents and adjoints of an affine exact map.

    Methods see S'* F'(S~(u)) for a gradient. It errs by S'* (F'(S~(u)) - F'(S(u))) alone, not by the adjoint of the
    surrogate. But it is no gradient of F(S~(.)): they find a fixed point of their proximal step, which is the optimum
    of neither map, and line searches end where F(S~(.)) no longer falls along it. Exact states are not solved.

    Parameters
    ----------
    surrogate, exact : maps in the same spaces. What each of them does is on its own counter; that of this map is the
        exact one's.

    Raises
    ------
    ProblemError
        For maps that are not affine: exact derivatives of others need the exact state.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> map = pc.discretise(pc.reference.box(1e-3).problem, pc.unit_square(8))
    >>> from pdecontrol.learn.surrogates import SineGalerkin
    >>> mixed = SurrogateState(SineGalerkin(map, 4), map)
    >>> mixed.at(map.control.zeros()).solve_adjoint(map.observation.zeros() + 1.0).error < 1e-12
    True
    """

    affine = True

    def __init__(self, surrogate: SolutionMap, exact: SolutionMap) -> None:
        if not (exact.affine and surrogate.affine):
            raise ProblemError("SurrogateState takes affine maps: the derivatives of others depend on the exact state.")
        self.surrogate, self.map = surrogate, exact
        self.control, self.observation, self.adjoints = exact.control, exact.observation, exact.adjoints
        self.solution, self.solves = surrogate.solution, exact.solves
        self.fingerprint = f"state of {surrogate.fingerprint}, adjoint of {exact.fingerprint}"

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        return _Mixed(self.surrogate.at(u, start, accuracy), self.map.at(u, None, accuracy))


class _Mixed(Linearisation):
    error = np.inf

    def __init__(self, surrogate: Linearisation, exact: Linearisation) -> None:
        self._surrogate, self._exact = surrogate, exact

    @property
    def value(self) -> Array:
        return self._surrogate.value

    @property
    def state(self) -> Array | None:
        return self._surrogate.state

    def tangent(self, h: Array) -> Array:
        return self._exact.tangent(h)

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        return self._exact.solve_adjoint(w, start)
