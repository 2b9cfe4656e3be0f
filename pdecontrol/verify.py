"""<S'(u) h, w>_Y = <h, S'(u)* w>_U, Taylor's theorem, orders of convergence: what maps are checked with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrays import Array
from .errors import DataError, ProblemError
from .maps import SolutionMap
from .spectrum import smooth_start
from .terms import Objective

STEPS = (2.0**-9, 2.0**-10, 2.0**-11, 2.0**-12)
LONG_STEPS = (2.0**-5, 2.0**-6, 2.0**-7, 2.0**-8)


def adjoint_error(map: SolutionMap, u: Array | None = None, seed: int = 271828, count: int = 3) -> float:
    """<S'(u) h, w>_Y - <h, S'(u)* w>_U over max(||S'(u) h|| ||w||, ||h|| ||S'(u)* w||), the largest of `count` pairs.

    The pairs (h, w) are random, u is a smooth control by default. Exact adjoints err by rounding; NaN if anything is.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> tracking, terms = pc.Tracking(1.0), [pc.Tikhonov(1e-2)]
    >>> problem = pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Distributed(), tracking, terms)
    >>> adjoint_error(pc.discretise(problem, pc.unit_square(4))) < 1e-13
    True
    """
    generator = np.random.default_rng(seed)
    at = map.at(smooth_start(map.control) if u is None else u)
    errors = []
    for _ in range(count):
        h, w = generator.standard_normal(map.control.size), generator.standard_normal(map.observation.size)
        image, gradient = at.tangent(h), at.adjoint(w)
        left = map.observation.norm(image) * map.observation.norm(w)
        right = map.control.norm(h) * map.control.norm(gradient)
        error = abs(map.observation.inner(image, w) - map.control.inner(h, gradient))
        errors.append(error / (np.maximum(left, right) or 1.0))
    return float(np.max(errors))  # which keeps NaN, as Python's max does not


def taylor_rates(
    map: SolutionMap,
    u: Array | None = None,
    h: Array | None = None,
    steps: Sequence[float] = STEPS,
    objective: Objective | None = None,
) -> Array:
    """J(u + e h) - J(u) - e <grad J(u), h> = O(e^2), J = F o S: the observed orders, 2 for an exact adjoint.

    Parameters
    ----------
    map, u : the map to check, and where; at a smooth control by default.
    h : the direction, scaled to ||S'(u) h|| = ||S(u)||; the gradient with noise by default.
    steps : the e, descending. An adjoint that errs by a factor 1 + d shows once e is not much larger than d.
    objective : gives F (see `terms.bind`); by default F(y) = 1/2 ||y||^2.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> tracking, terms = pc.Tracking(1.0), [pc.Tikhonov(1e-2)]
    >>> problem = pc.ControlProblem(pc.Elliptic(reaction=1.0), pc.Distributed(), tracking, terms)
    >>> taylor_rates(pc.discretise(problem, pc.unit_square(4))).round(3).tolist()
    [2.0, 2.0, 2.0]
    """
    test = _Taylor(map, u, h, objective)
    return observed_orders([abs(test.increase(e) - e * test.slope) for e in steps], steps)


def tangent_rates(
    map: SolutionMap, u: Array | None = None, h: Array | None = None, steps: Sequence[float] = LONG_STEPS
) -> Array:
    """||S(u + e h) - S(u) - e S'(u) h|| = O(e^2): the observed orders, 2 for an exact tangent; nonlinear maps only.

    The parameters are those of `taylor_rates`.
    """
    test = _Taylor(map, u, h, None, "S(u + h) - S(u) = S'(u) h")
    tangent = test.at.tangent(test.h)
    return observed_orders([map.observation.norm(test.difference(e) - e * tangent) for e in steps], steps)


def hessian_rates(
    map: SolutionMap,
    u: Array | None = None,
    h: Array | None = None,
    steps: Sequence[float] = LONG_STEPS,
    objective: Objective | None = None,
) -> Array:
    """J(u + e h) - J(u) - e <grad J, h> - e^2/2 <H h, h> = O(e^3): 3 for an exact Hessian; nonlinear maps only.

    The parameters are those of `taylor_rates`.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> equation = pc.Elliptic(reaction=1.0, semilinear=pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2))
    >>> problem = pc.ControlProblem(equation, pc.Distributed(), pc.Tracking(1.0), [pc.Tikhonov(1e-2)])
    >>> map = pc.discretise(problem, pc.unit_square(4))
    >>> bool(abs(hessian_rates(map, u=5.0 + map.control.zeros()) - 3).max() < 0.1)
    True
    """
    test = _Taylor(map, u, h, objective, "grad J(u + h) - grad J(u) = H h")
    curvature = map.control.inner(test.at.second(test.h, test.gradient, test.adjoint, test.outer), test.h)
    errors = [abs(test.increase(e) - e * test.slope - e**2 / 2 * curvature) for e in steps]
    return observed_orders(errors, steps)


def observed_orders(errors: Sequence[float] | Array, sizes: Sequence[float] | Array) -> Array:
    """k in error = C size^k, from each pair of successive errors and sizes; infinite or NaN where an error is 0.

    Examples
    --------
    >>> observed_orders([0.4, 0.1, 0.0125], [1.0, 0.5, 0.25]).tolist()
    [2.0, 3.0]
    """
    e, h = np.asarray(errors, dtype=float), np.asarray(sizes, dtype=float)
    if e.ndim != 1 or e.shape != h.shape or not (np.all(e >= 0) and np.all(h > 0) and np.all(h[1:] != h[:-1])):
        raise DataError(f"expected errors >= 0, none of them NaN, for positive, different sizes, got {e} and {h}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(e[1:] / e[:-1]) / np.log(h[1:] / h[:-1]))


class _Taylor:
    """S and J = F o S along u + e h."""

    def __init__(
        self, map: SolutionMap, u: Array | None, h: Array | None, objective: Objective | None, law: str = ""
    ) -> None:
        if map.affine and law:
            raise ProblemError(f"the map is affine: there is no remainder to observe, {law} up to rounding.")
        self.map, self.u = map, smooth_start(map.control) if u is None else u
        self.at = map.at(self.u)
        self.y = self.at.value
        self.gradient = self.y if objective is None else objective.state.gradient(self.y)
        self.outer = (lambda h: h) if objective is None else objective.state.second(self.y)
        self.adjoint = self.at.solve_adjoint(self.gradient)
        if h is None:
            q, noise = self.adjoint.gradient, np.random.default_rng(314159).standard_normal(map.control.size)
            h = q / (map.control.norm(q) or 1.0) + 0.5 * noise / map.control.norm(noise)
        image = map.observation.norm(self.at.tangent(h))
        self.h = h * ((map.observation.norm(self.y) or 1.0) / (image or 1.0))
        self.slope = map.control.inner(self.adjoint.gradient, self.h)

    def difference(self, e: float) -> Array:
        return self.map.at(self.u + e * self.h, self.at.warm).value - self.y

    def increase(self, e: float) -> float:
        """J(u + e h) - J(u), F by its quadratic model, so that differences of y come first and rounding is small."""
        d = self.difference(e)
        return self.map.observation.inner(self.gradient, d) + 0.5 * self.map.observation.inner(self.outer(d), d)
