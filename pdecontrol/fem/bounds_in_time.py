"""What residuals and rounding of an affine evolution amount to in the observation and in the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array
from ..counter import Counter
from ..linear.matrix import ROUNDING
from ..spectrum import largest_eigenvalue
from .bounds import Constants
from .evolution import Evolution
from .steps import Steps


def spectral_constants(
    evolution: Evolution, steps: Steps, counter: Counter, coupled: Callable[[Array], tuple[Array, Array]],
    gradient: Callable[[Array], Array],
) -> Constants:  # fmt: skip
    """What residuals r_n of the steps, (sum_n r_n' D^-1 r_n)^1/2, may amount to in the observation and the gradient.

    Notes
    -----
    As for steady equations, with the march L in place of A: ||O L^-1 D^1/2|| and ||M_u^-1 C' L^-T D^1/2|| by Lanczos
    iteration, to thirty per cent and inflated by as much, each application a march forwards and one backwards. D has
    the diagonals of the step matrices, or these matrices themselves where residuals are measured in the energy norm.
    """
    exact, observation, growth, energy = evolution.engine.exact, evolution.observation, [0.0], steps.solver(0).energy
    count, lifting = steps.count, evolution.levels[0].lifting
    diagonals = np.stack([steps.solver(n).diagonal for n in range(count)])

    def metric(x: Array) -> Array:
        return np.stack([steps.solver(n).product(x[n]) for n in range(count)]) if energy else diagonals * x

    def marched(march: Callable[..., tuple[Array, float | None]], functionals: Array) -> Array:
        counter.refinements += exact * count
        with counter.timing() if exact else counter.solving("tangent"):
            return march(functionals, accuracy=1e-3 if exact else None)[0]

    def length(x: Array) -> float:
        return float(np.sqrt(max(evolution.engine.group.sum(np.einsum("ni,ni->", x, metric(x))), 0.0)))

    def squared(functionals: Array, first: Callable[..., Any], second: Callable[..., Any]) -> Array:
        x = marched(first, functionals)
        before = length(x)
        y = marched(second, metric(x))
        if before > 0:
            growth.append(length(y) / before)
        return np.stack([lifting.extend(row) for row in y])

    def observed(w: Array) -> Array:
        load = np.stack([lifting.restrict(row) for row in observation.transposed(w, (count, evolution.engine.size))])
        return observation.apply(squared(load, steps.backward, steps.forward))

    def controlled(h: Array) -> Array:
        return gradient(squared(coupled(h)[0], steps.forward, steps.backward))

    first, second = (
        1.3 * float(np.sqrt(max(largest_eigenvalue(apply, space, accuracy=0.3), 0.0)))
        for apply, space in ((observed, observation.space), (controlled, evolution.control))
    )
    condition = 2.0 * max(growth)
    solvers = [steps.solver(n) for n in range(count)]
    left = 1.0 - 2.0 * (ROUNDING * max(solver.width for solver in solvers) if exact else 1e-10) * condition
    if exact and evolution.levels[1].equation.definite:
        left = 1.0 if max(solver.loss for solver in set(solvers)) < 0.1 else 0.0
    if left < 0.5:
        return Constants(np.inf, np.inf, condition)
    return Constants(first / left, second / left, condition)


def norm_bound(evolution: Evolution, steps: Steps, constants: Constants) -> float:
    """||S|| <= ||O L^-1 D^1/2|| ||D^-1/2 C||, whose last factor is at most the root of the largest row sum of
    M_u^-1 |C|' D^-1 |C|; 0, for not known, where D is not diagonal.
    """
    if steps.solver(0).energy:
        return 0.0
    rows, lifting = evolution.load_sizes(evolution.control.zeros() + 1.0), evolution.levels[0].lifting
    for n in range(steps.count):
        rows[n] = lifting.extend(lifting.restrict(rows[n]) / steps.solver(n).diagonal)
    return constants.observation * float(np.sqrt(evolution.control.max(evolution.gradient_sizes(rows))))
