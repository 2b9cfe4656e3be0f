"""Extreme eigenvalues of self-adjoint operators on a space, from starts that are the same on any partition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np

from .arrays import Array
from .space import Space


def smooth_start(space: Space) -> Array:
    """A seeded smooth function of the coordinates, or of the numbers of entries without: the same on any partition."""
    if space.factors:
        return np.concatenate([smooth_start(factor) for factor in space.factors])
    generator = np.random.default_rng(20230701)
    if space.points is None:
        number = np.arange(space.size) if space.layout is None else space.layout.keys[0]
        return 1.0 + 0.5 * np.sin(number**2 + 1.0)
    scaled = space.points / space.scale
    waves = generator.uniform(-3.0, 3.0, (6, scaled.shape[0]))
    return 1.0 + np.cos(waves @ scaled + generator.uniform(0, 6, (6, 1))).sum(axis=0) / 3.0


def rough_start(space: Space, share: float) -> Array:
    """Like `smooth_start`, with a share of all frequencies and signs: for eigenvectors that a smooth start may miss."""
    start = smooth_start(space)
    return start + share * np.modf(1e4 * np.sin(1e3 * start))[0]


def lanczos(apply: Callable[[Array], Array], start: Array, space: Space) -> Iterator[tuple[Array, Array]]:
    """Ritz values of a self-adjoint operator, in ascending order, and their residuals, after each application.

    Some eigenvalue is within the residual of each Ritz value: which one, and whether there are others beyond, is not
    known. The last pair comes when the space is exhausted.
    """
    v = start / space.norm(start)
    basis, diagonal, off = [v], list[float](), list[float]()
    for step in range(space.count):
        w = apply(basis[-1])
        diagonal.append(space.inner(w, basis[-1]))
        for b in basis * 2:  # twice is enough to keep the basis orthogonal
            w = w - space.inner(w, b) * b
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
        beta = space.norm(w) if step + 1 < space.count else 0.0
        yield values, beta * np.abs(vectors[-1])
        if beta <= 1e-14 * np.abs(values).max():
            return
        basis.append(w / beta)
        off.append(beta)


def largest_eigenvalue(apply: Callable[[Array], Array], space: Space, steps: int = 24, accuracy: float = 0.01) -> float:
    """The largest eigenvalue of a positive semidefinite operator on a space, to twice the accuracy from below.

    Notes
    -----
    A smooth start finds the leading modes of diffusion in three steps. Where reaction dominates, smooth functions are
    nearly eigenvectors of smaller eigenvalues, so that a small residual tells nothing before the rough part of the
    start has had its say: the Ritz value must have settled as well, which it cannot in one step.
    """
    before = value = 0.0
    for values, residuals in islice(lanczos(apply, rough_start(space, 0.3), space), steps):
        before, value = value, float(values[-1])
        if residuals[-1] <= accuracy * value and value - before <= 0.25 * accuracy * value:
            break
    return value


def smallest_eigenvalue(apply: Callable[[Array], Array], space: Space, steps: int, resolution: float) -> float:
    """A value below the smallest eigenvalue of a self-adjoint operator, by the resolution, or what many steps leave.

    Ritz values approach from above, and may rest within their residual of another eigenvalue for some steps: hence the
    resolution is subtracted whole, when the residual is a third of it and the last step has moved the value by no more
    than a tenth. An eigenvector that the start hardly holds is missed all the same.
    """
    before = value = residual = np.inf
    for values, residuals in islice(lanczos(apply, rough_start(space, 1.0), space), steps):
        before, value, residual = value, float(values[0]), float(residuals[0])
        if residual <= 0.3 * resolution and before - value <= 0.1 * resolution:
            break
    return value - max(residual, resolution)


def surely_below(apply: Callable[[Array], Array], space: Space, steps: int, resolution: float, floor: float) -> float:
    """A value below the smallest eigenvalue of a self-adjoint operator, whatever its eigenvectors; or minus infinity.

    Notes
    -----
    From a random start, k Lanczos steps miss the ends of the spectrum by more than e times its width with a probability
    of at most 1.65 n^1/2 exp(-(2 k - 1) e^1/2) each. With one per cent for that, the width is at most that of the Ritz
    values divided by 1 - 2 e. The iteration goes on until e times the width is the resolution. Where that would take
    too many steps, or there are eigenvalues below the floor, there is no answer.

    References
    ----------
    J. Kuczynski, H. Wozniakowski, SIAM J. Matrix Anal. Appl. 13 (1992) 1094-1122.
    """
    doubt = np.log(165.0 * np.sqrt(space.count))
    for k, (values, _) in enumerate(islice(lanczos(apply, rough_start(space, 1.0), space), steps), start=1):
        value, width, e = float(values[0]), float(values[-1] - values[0]), (doubt / (2 * k - 1)) ** 2
        enough = e * width <= resolution * (1.0 - 2.0 * e)
        if k == space.count or (k > 1 and enough):
            return value - (0.0 if k == space.count else resolution)
        last = (doubt / (2 * steps - 1)) ** 2
        if value < floor or last * width > resolution * (1.0 - 2.0 * last):
            break
    return -np.inf
