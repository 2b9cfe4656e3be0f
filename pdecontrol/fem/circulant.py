"""All steps of a linear evolution at once: sweeps with an alpha-circulant matrix in time, which the FFT diagonalises.

M. J. Gander, J. Liu, S.-L. Wu, X. Yue and T. Zhou, ParaDiag, arXiv 2005.09158: ParaDiag-II.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
from scipy.fft import irfft, rfft
from scipy.sparse.linalg import SuperLU

from ..arrays import Array
from ..counter import Counter
from ..errors import ConvergenceError, ProblemError
from ..linear.direct import sparse_factors
from ..linear.matrix import ROUNDING, SharedMatrix
from ..linear.residual import refine
from ..linear.solver import NEAR, TOLERATED, LinearSolver
from ..parallel import started_ranks
from .evolution import Evolution
from .steps import AffineSteps, Steps

ALPHA = 1e-8  # near to the root of eps: a sweep leaves this part of the error at the final time, and about eps over it
SWEEPS = 8  # at most; two or three do unless solutions grow in time, and eight for growth by a factor of 1e6


class CirculantSteps(Steps):
    """The steps of an affine evolution with one matrix for all steps, solved at once, in sweeps x + C^-1 (f - L x).

    L is the march, B x_n - Q x_(n-1) = f_n with x_0 = 0 (N_n = Q), and C the same with x_0 = alpha x_N. With
    g = alpha^(1/N) and d_k = g exp(-2 pi i k / N), the discrete Fourier transform of g^(n-1) (C x)_n = g^(n-1) f_n is

        (B - d_k Q) z_k = f_k,      B - d_k Q = (1 + rest d_k) e_y + s (1 - d_k) M,      k = 0, .., N/2:

    elliptic systems that do not depend on one another, the rest being their complex conjugates. Vectors stay divided in
    space, where transforms in time need no messages; the systems are divided among the processes, each of which
    solves its own on the whole domain by factors, in as many threads as OMP_NUM_THREADS says.

    Sweeps end as refinement of factors does, by the residual of the march, and their errors are bounded by it.
    """

    def __init__(self, evolution: Evolution, counter: Counter) -> None:
        super().__init__(evolution, counter)
        _check(evolution)
        self._steps = AffineSteps(evolution, counter)
        self._factors: list[SuperLU] | None = None
        self._growth = ALPHA ** (np.arange(self.count)[:, None] / self.count)
        systems = np.arange(self.count // 2 + 1)
        self._shares = np.array_split(systems, evolution.engine.group.size)

    def solver(self, n: int) -> LinearSolver:
        return self._steps.solver(n)

    def old(self, n: int) -> SharedMatrix:
        return self._steps.old(n)

    def close(self) -> None:
        self._steps.close()
        self._factors = None

    def forward(
        self, functionals: Array, start: Array | None = None, accuracy: float | None = None, noise: Array | None = None
    ) -> tuple[Array, float | None]:
        return self._solve(functionals, start, noise, accuracy, False)

    def backward(
        self, functionals: Array, start: Array | None = None, accuracy: float | None = None, noise: Array | None = None
    ) -> tuple[Array, float | None]:
        start, noise = (None if rows is None else rows[::-1] for rows in (start, noise))
        x, error = self._solve(functionals[::-1], start, noise, accuracy, True)
        return x[::-1], error

    def _solve(
        self, f: Array, start: Array | None, noise: Array | None, accuracy: float | None, transposed: bool
    ) -> tuple[Array, float | None]:
        """L x = f, or with transposed matrices; see `Steps.forward`."""
        solver = self.solver(0).transposed if transposed else self.solver(0)
        group, weights = self.mass.halo.group, 1.0 / solver.diagonal

        def carried(x: Array) -> Array:
            rows = [self.previous(n, x[n - 1], transposed) for n in range(1, self.count)]
            return np.stack([np.zeros_like(x[0]), *rows])

        def product(x: Array) -> Array:
            return np.stack([solver.product(row) for row in x]) - carried(x)

        def size(r: Array) -> float:
            return float(np.sqrt(group.sum(np.einsum("ni,ni,i->", r, r, weights))))

        def sweep(r: Array, reduction: float = 0.0) -> Array:
            self._counter.inner += 1
            return self._circulant(r, transposed)

        def rounding(x: Array) -> float:
            b, rho = f + carried(x), np.zeros_like(x)
            for n, row in enumerate(x):
                spread = self.previous_sizes(n, x[n - 1], transposed) if n else np.zeros_like(row)
                uncertain = ROUNDING * spread + (0.0 if noise is None else noise[n])
                rho[n] = solver.residual(row, b[n], uncertain)[1]
            return size(rho)

        scale = size(f)
        x, r = (np.zeros_like(f), f) if start is None or scale == 0 else (start, f - product(start))
        if accuracy is None:  # what rounding amounts to is not known before there is a solution
            step = sweep(r)
            x, r = x + step, r - product(step)
        goal = rounding(x) if accuracy is None else TOLERATED * scale
        x, r = refine(x, r, product, sweep, size, goal, SWEEPS)
        left = size(r)
        if not left <= max(NEAR * scale, 10 * goal):
            raise ConvergenceError(
                f"the sweeps of march='parallel-in-time' stopped at a relative residual of {left / scale:.1e}, as "
                "they do where solutions grow in time: take march='sequential'."
            )
        return x, None if accuracy is not None else left + goal

    def _circulant(self, r: Array, transposed: bool) -> Array:
        """C^-1 r."""
        loads, trans = self._gathered(rfft(self._growth * r, axis=0)), "T" if transposed else "N"
        z, factors = np.empty_like(loads), self._systems()

        def solve(k: int) -> None:
            z[k] = factors[k].solve(loads[k], trans)

        with ThreadPoolExecutor(_threads()) as pool:
            list(pool.map(solve, range(len(z))))
        return irfft(self._divided(z), self.count, axis=0) / self._growth

    def _systems(self) -> list[SuperLU]:
        """The factors of the systems of this process."""
        if self._factors is None:
            halo, old, mass = self.mass.halo, self.old(0).whole(), self.mass.whole()
            definite, shift = self.evolution.levels[1].equation.definite, self.evolution.shift(0)

            def factorise(k: int) -> SuperLU:
                d = ALPHA ** (1 / self.count) * np.exp(-2j * np.pi * k / self.count)
                try:
                    return sparse_factors((1.0 + self.rest * d) * old + shift * (1.0 - d) * mass, definite)
                except ProblemError:
                    raise ProblemError(
                        f"the factors of the {self.count // 2 + 1} systems of march='parallel-in-time' do not fit into "
                        "memory: take march='sequential', or more processes."
                    ) from None

            with halo.group.agree(), ThreadPoolExecutor(_threads()) as pool:
                self._factors = list(pool.map(factorise, self._shares[halo.group.rank]))
            self._counter.factorisations += self.count // 2 + 1
        return self._factors

    def _gathered(self, z: Array) -> Array:
        """From all systems at the entries of this process to its systems at all entries."""
        halo, (out, into) = self.mass.halo, self._messages
        parts = np.split(halo.group.exchange(z.ravel(), out, into), np.cumsum(into)[:-1])
        own = self._shares[halo.group.rank].size
        return np.concatenate([part.reshape(own, part.size // own if own else 0) for part in parts], axis=1)

    def _divided(self, z: Array) -> Array:
        """The way back."""
        halo, (out, into) = self.mass.halo, self._messages
        parts = [part.ravel() for part in np.split(z, halo.starts[1:-1], axis=1)]
        return halo.group.exchange(np.concatenate(parts), into, out).reshape(self.count // 2 + 1, halo.owned)

    @cached_property
    def _messages(self) -> tuple[Array, Array]:
        """How many values go to each process for its systems, and how many come for those of this one."""
        halo, counts = self.mass.halo, np.array([share.size for share in self._shares])
        return counts * halo.owned, counts[halo.group.rank] * np.diff(halo.starts)


def _threads() -> int:
    """OMP_NUM_THREADS, else the number of cores, but one where several processes run."""
    named = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if named.isdigit() and int(named) > 0:
        return int(named)
    return (os.cpu_count() or 1) if started_ranks() == 1 else 1


def _check(evolution: Evolution) -> None:
    """Raise ProblemError where the steps do not share their matrices, or these are not to be factorised."""
    reasons = {
        "the equation is not linear, or not known to be": not evolution.affine,
        "coefficients depend on time": len({id(level.equation) for level in evolution.levels}) > 1,
        "the steps are not of one length": len(set(evolution.lengths.tolist())) > 1,
        "linear systems are solved by iterations": not evolution.engine.exact,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ProblemError(
                f"{reason}: march='parallel-in-time' takes linear equations with coefficients constant in time, steps "
                "of one length and linear_solver='direct'. Take march='sequential'."
            )
