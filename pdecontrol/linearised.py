"""u -> S(v) + S'(v)(u - v): the affine map that touches a nonlinear one at a control v."""

from __future__ import annotations

from functools import cached_property

from .arrays import Array
from .maps import Adjoint, Linearisation, SolutionMap


class Linearised(SolutionMap):
    """u -> S(v) + S'(v)(u - v), by which methods for affine maps solve convex models of nonlinear problems.

    Its solves are those of S, on whose counter they are: a value is a tangent solve of S at v.

    Parameters
    ----------
    map, v, at : S, a control, and S at v.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> cubic = pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2)
    >>> equation = pc.Elliptic(reaction=1.0, semilinear=cubic)
    >>> problem = pc.ControlProblem(equation, pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)])
    >>> map = pc.discretise(problem, pc.unit_interval(8))
    >>> v = map.control.interpolate(2.0)                                # where y = 1, and y + y^3 = u
    >>> tangent = Linearised(map, v, map.at(v))
    >>> bool(abs(tangent.solve(v + 4.0) - 2.0).max() < 1e-12)           # dy/du = 1/4
    True
    """

    affine = True

    def __init__(self, map: SolutionMap, v: Array, at: Linearisation) -> None:
        self.map, self.v, self.touching = map, v, at
        self.control, self.observation, self.solution = map.control, map.observation, map.solution
        self.solves = map.solves
        self.fingerprint = map.fingerprint + map.control.digest(v)

    @cached_property
    def offset(self) -> Array:
        """S(v)."""
        return self.touching.value

    def at(self, u: Array, start: Array | None = None, accuracy: float | None = None) -> Linearisation:
        return _Affine(self, u)


class _Affine(Linearisation):
    """The tangent map at u, whose errors are not known."""

    def __init__(self, model: Linearised, u: Array) -> None:
        self._model, self._u = model, u

    @cached_property
    def value(self) -> Array:
        return self._model.offset + self.tangent(self._u - self._model.v)

    @property
    def error(self) -> float | None:
        return None

    def tangent(self, h: Array) -> Array:
        return self._model.touching.tangent(h)

    def solve_adjoint(self, w: Array, start: Array | None = None) -> Adjoint:
        return self._model.touching.solve_adjoint(w, start)._replace(error=None)
