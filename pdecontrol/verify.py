"""<S'(u) h, w>_Y = <h, S'(u)* w>_U, Taylor's theorem and orders of convergence: what maps are checked with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import DataError, ProblemError
from .maps import Adjoint, Linearisation, SolutionMap, smooth_start
from .space import Array
from .terms import Objective

STEPS = (2.0**-9, 2.0**-10, 2.0**-11, 2.0**-12)
HESSIAN_STEPS = (2.0**-5, 2.0**-6, 2.0**-7, 2.0**-8)


def adjoint_error(map: SolutionMap, u: Array | None = None, seed: int = 271828, count: int = 3) -> float:
    """|<S'(u) h, w>_Y - <h, S'(u)* w>_U|, relative, the largest over `count` random pairs (h, w).

    Parameters
    ----------
    map, u : the map to check, and where; at a smooth control by default.

    Returns
    -------
    The error over max(||S'(u) h|| ||w||, ||h|| ||S'(u)* w||), NaN if anything is. It is the rounding of the linear
    solver for an exact adjoint, and about d / sqrt(dim) for one that errs by the factor 1 + d.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(1.0),
    ...     terms=[pc.Tikhonov(1e-2)],
    ... )
    >>> adjoint_error(pc.discretise(problem, pc.unit_square(4))) < 1e-13
    True
    """
    generator = np.random.default_rng(seed)
    at = map.at(smooth_start(map.control) if u is None else u)
    errors = []
    for _ in range(count):
        h = generator.standard_normal(map.control.size)
        w = generator.standard_normal(map.observation.size)
        image, gradient = at.tangent(h), at.adjoint(w)
        difference = map.observation.inner(image, w) - map.control.inner(h, gradient)
        scales = (
            map.observation.norm(image) * map.observation.norm(w),
            map.control.norm(h) * map.control.norm(gradient),
        )
        errors.append(abs(difference) / (np.max(scales) or 1.0))
    return float(np.max(errors))  # unlike Python's max, it keeps NaN


def taylor_rates(
    map: SolutionMap,
    u: Array | None = None,
    h: Array | None = None,
    steps: Sequence[float] = STEPS,
    objective: Objective | None = None,
) -> Array:
    """|J(u + e h) - J(u) - e <grad J(u), h>| = O(e^2), J = F o S: the observed orders, 2 for an exact adjoint.

    Parameters
    ----------
    map : the map to check.
    u, h : where and in which direction; smooth, and the gradient with noise, by default. h is scaled to
        ||S'(u) h|| = ||S(u)||.
    steps : the e, descending; an adjoint that errs by a relative amount d shows once e is not much larger than d.
    objective : gives F (see `terms.bind`); by default F(y) = 1/2 ||y||^2.

    Returns
    -------
    One order for each pair of successive steps.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(1.0),
    ...     terms=[pc.Tikhonov(1e-2)],
    ... )
    >>> taylor_rates(pc.discretise(problem, pc.unit_square(4))).round(3).tolist()
    [2.0, 2.0, 2.0]
    """
    test = _Taylor(map, u, h, objective)
    return observed_orders([abs(test.increase(e) - e * test.slope) for e in steps], steps)


def tangent_rates(
    map: SolutionMap, u: Array | None = None, h: Array | None = None, steps: Sequence[float] = HESSIAN_STEPS
) -> Array:
    """||S(u + e h) - S(u) - e S'(u) h|| = O(e^2): the observed orders, 2 for an exact tangent.

    For nonlinear maps, with the parameters of `taylor_rates`; an affine one has no remainder to observe.
    """
    _refuse_affine(map, "S(u + h) - S(u) = S'(u) h")
    test = _Taylor(map, u, h, None)
    tangent = test.at.tangent(test.h)
    errors = [map.observation.norm(test.value(e) - test.at.value - e * tangent) for e in steps]
    return observed_orders(errors, steps)


def hessian_rates(
    map: SolutionMap,
    u: Array | None = None,
    h: Array | None = None,
    steps: Sequence[float] = HESSIAN_STEPS,
    objective: Objective | None = None,
) -> Array:
    """|J(u + e h) - J(u) - e <grad J(u), h> - e^2/2 <H h, h>| = O(e^3): the orders, 3 for an exact Hessian.

    For nonlinear maps, with the parameters of `taylor_rates`; an affine one has no remainder to observe.

    Examples
    --------
    >>> import pdecontrol as pc
    >>> problem = pc.ControlProblem(
    ...     equation=pc.Elliptic(reaction=1.0, semilinear=pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2)),
    ...     control=pc.Distributed(),
    ...     tracking=pc.Tracking(1.0),
    ...     terms=[pc.Tikhonov(1e-2)],
    ... )
    >>> bool(abs(hessian_rates(pc.discretise(problem, pc.unit_square(4))) - 3).max() < 0.1)
    True
    """
    _refuse_affine(map, "grad J(u + h) - grad J(u) = H h")
    test = _Taylor(map, u, h, objective)
    curvature = map.control.inner(test.at.hessian(test.h, test.adjoint, test.weights), test.h)
    remainders = [abs(test.increase(e) - e * test.slope - e**2 / 2 * curvature) for e in steps]
    return observed_orders(remainders, steps)


def observed_orders(errors: Sequence[float] | Array, sizes: Sequence[float] | Array) -> Array:
    """k in error = C size^k, from each pair of successive errors and sizes; infinite or NaN where an error is 0.

    Examples
    --------
    >>> observed_orders([0.4, 0.1, 0.0125], [1.0, 0.5, 0.25]).tolist()
    [2.0, 3.0]
    """
    errors, sizes = np.asarray(errors, dtype=float), np.asarray(sizes, dtype=float)
    if errors.ndim != 1 or errors.shape != sizes.shape or errors.size < 2:
        raise DataError(f"expected one error for each of at least two sizes, got {errors.shape}, {sizes.shape}.")
    if not (np.all(errors >= 0) and np.all(sizes > 0) and np.all(sizes[1:] != sizes[:-1])):
        raise DataError("errors must not be negative or NaN, sizes must be positive and change.")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(errors[1:] / errors[:-1]) / np.log(sizes[1:] / sizes[:-1]))


class _Taylor:
    """J = F o S along u + e h."""

    def __init__(self, map: SolutionMap, u: Array | None, h: Array | None, objective: Objective | None) -> None:
        self.map, self.objective = map, objective
        self.u = smooth_start(map.control) if u is None else u
        self.at: Linearisation = map.at(self.u)
        y = self.at.value
        self.weights = np.ones_like(y) if objective is None else objective.state.tracked
        self.adjoint: Adjoint = self.at.solve_adjoint(y if objective is None else objective.state.gradient(y))
        if h is None:
            q = self.adjoint.gradient
            noise = np.random.default_rng(314159).standard_normal(q.size)
            h = q / (map.control.norm(q) or 1.0) + 0.5 * noise / map.control.norm(noise)
        size = map.observation.norm(self.at.tangent(h))
        self.h = h * ((map.observation.norm(y) or 1.0) / (size or 1.0))
        self.slope = map.control.inner(self.adjoint.gradient, self.h)

    def value(self, e: float) -> Array:
        return self.map.at(self.u + e * self.h, self.at.state).value

    def increase(self, e: float) -> float:
        """J(u + e h) - J(u), F being quadratic: the difference of y first, which rounding harms least."""
        y = self.at.value
        d = self.value(e) - y
        gradient = y if self.objective is None else self.objective.state.gradient(y)
        half = 0.5 * self.map.observation.norm(self.weights * d) ** 2
        return self.map.observation.inner(gradient, d) + half


def _refuse_affine(map: SolutionMap, law: str) -> None:
    if map.affine:
        raise ProblemError(f"the map is affine, so that {law} up to rounding: check that.")
