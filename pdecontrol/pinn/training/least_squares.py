"""Least squares for all weights of two networks with one hidden layer: Jacobians by hand, damped steps, the iteration.

The hidden weights begin at random, the outer ones with the solution of the linear problem for them. Then

    1.  J, r: the Jacobian and the residual at the weights w
    2.  (J^T J + mu D) d = -J^T r,  D = diag(J^T J)
    3.  w+ = w + d, or what a method makes of it;  mu grows until |r| decreases
    4.  mu times max(1/3, 1 - (2 g - 1)^3), with the gain g of |r|^2 over that of the linear model

References
----------
D. W. Marquardt, J. SIAM 11 (1963) 431-441 (steps 2 and 3, with his D); H. B. Nielsen, Damping parameter in Marquardt's
method, IMM-REP-1999-05 (step 4).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ...arrays import Array
from ...errors import ProblemError
from ...problem import check_number
from ..functions.ansatz import Ansatz
from ..networks.layer import Layer
from ..networks.network import Shallow
from ..system.system import System
from .archive import Stage
from .monitor import Monitor
from .pair import Pair, by_hidden, by_outer, solved
from .training import Task, Trained, Training

HIDDEN = 1.0  # size of random weights
DAMPING = 1.0  # the first mu
TRIES = 30  # of larger mu, after which nothing improves
TINY = 1e-14  # least of D, beside its sum


@dataclass(frozen=True)
class LeastSquares(Training):
    """Trains two networks of so many neurons for so many seconds or iterations, whichever is over first."""

    neurons: int = 40
    seconds: float = 20.0
    iterations: float = np.inf

    def __post_init__(self) -> None:
        name = type(self).__name__
        if check_number(self.neurons, f"{name}: neurons", positive=True) != int(self.neurons):
            raise ProblemError(f"{name}: neurons must be an integer, got {self.neurons!r}.")
        for limit in ("seconds", "iterations"):
            if getattr(self, limit) != np.inf:
                check_number(getattr(self, limit), f"{name}: {limit}", positive=True)
        if self.seconds == self.iterations == np.inf:
            raise ProblemError(f"{name} needs a limit, of seconds or of iterations.")

    @abstractmethod
    def accept(self, system: System, pair: Pair) -> Pair:
        """What the method makes of the networks after a step."""

    def train(self, task: Task) -> Trained:
        monitor = Monitor(task, f"{type(self).__name__}(neurons={self.neurons})", self.iterations, self.seconds)
        status, note = monitor.run(partial(self._stages, task))
        assert monitor.best is not None
        note = f"{self.neurons} neurons for each field; {note}"
        return Trained(*Pair.from_arrays(monitor.best.weights), monitor.steps, status, note)

    def _stages(self, task: Task, start: int, last: Stage | None) -> Iterator[Stage]:
        system, held_out = task.system, task.held_out
        scales = system.scale, held_out.scale
        if last is None:
            generator = np.random.default_rng([task.seed, start])
            random = Pair(*(self._random(ansatz, generator) for ansatz in (system.state, system.adjoint)))
            pair, iteration, mu = solved(system, random), 0, DAMPING
        else:
            pair, iteration, mu = Pair.from_arrays(last.weights), last.iteration, float(last.rest["damping"])
        r = pair.residual(system)
        while True:
            if last is None or iteration > last.iteration:
                inside, outside = (float(np.linalg.norm(v)) for v in (r, pair.residual(held_out)))
                rest = {"damping": np.array(mu)}
                yield Stage(iteration, inside / scales[0], outside / scales[1], pair.arrays(), rest)
            found = self._step(system, pair, r, mu)
            if found is None:
                return
            (pair, r, mu), iteration = found, iteration + 1

    def _random(self, ansatz: Ansatz, generator: np.random.Generator) -> Shallow:
        """A network with a random hidden layer."""
        weights = generator.uniform(-HIDDEN, HIDDEN, (ansatz.inputs, self.neurons))
        biases = generator.uniform(-HIDDEN, HIDDEN, self.neurons)
        return Shallow(Layer(weights, biases), np.zeros(self.neurons))

    def _step(self, system: System, pair: Pair, r: Array, mu: float) -> tuple[Pair, Array, float] | None:
        """The networks after a step that reduces |r|, their r, and the next mu; None where none does."""
        j = np.hstack([by_hidden(system, pair), by_outer(system, pair)])  # 1
        normal, gradient, before, growth = j.T @ j, j.T @ r, float(r @ r), 2.0
        diagonal = np.diag(normal) + TINY * np.trace(normal)
        for _ in range(TRIES):
            with suppress(LinAlgError):  # of a matrix that is singular to rounding
                d = -cho_solve(cho_factor(normal + np.diag(mu * diagonal), check_finite=False), gradient)  # 2
                trial = self.accept(system, pair.moved(d))  # 3
                new = trial.residual(system)
                after = float(new @ new)
                if after < before:
                    gain = (before - after) / float(d @ (mu * diagonal * d - gradient))
                    return trial, new, mu * float(max(1 / 3, 1 - (2 * gain - 1) ** 3))  # 4
            mu, growth = growth * mu, 2 * growth
        return None
