"""Training by Adam, with L-BFGS afterwards, as physics-informed networks are usually trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from scipy.optimize import minimize

from ...arrays import Array
from ...errors import ProblemError
from ...problem import check_number
from ...problem.stated import Stated
from ..networks.deep import ACTIVATIONS, Activation, Deep, drawn
from ..system.block import Block
from .archive import Stage
from .monitor import Monitor
from .training import Task, Trained, Training

FIRST, SECOND, SMALL = 0.9, 0.999, 1e-8  # of Adam: decay of the two means, and what is added to the root
MEMORY = 50  # pairs that L-BFGS keeps
PUBLISHED = ((0, 1e-3), (5_000, 5e-4), (10_000, 2e-4), (20_000, 1e-4), (30_000, 3e-5))


@dataclass(frozen=True, repr=False)
class Adam(Stated, Training):
    """min sum_b w_b ||r_b(N_y, N_p)||^2 by the weights of both networks, over the blocks b of an optimality system.

    All points in each step. The networks are drawn at random, W_l and b_l uniform in +-1/sqrt(d_{l-1}).

    Parameters
    ----------
    widths : neurons of each hidden layer.
    steps : of Adam.
    rates : (step, rate), from which step on which rate.
    refinement : steps of L-BFGS afterwards.
    weights : w_b of the state equation, of jumps of its flux, of the adjoint equation, and of jumps of its flux. Those
        jumps are measured by the larger kappa, see `System`. Conditions on values have the weight 1.
    activation : "tanh" or "sigmoid".
    seconds : the limit of time.
    every : after how many steps the residual at the points held out is computed; so many steps of L-BFGS are one run.
    device : "auto" is CUDA where there is one, and the CPU else.

    Raises
    ------
    ProblemError
        For parameters out of range, and if torch is missing.

    Notes
    -----
    The defaults are those of M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, SIAM J. Sci. Comput. 47 (2025), for their
    first example, kappa = (1, 10), where fluxes are not scaled: their weight 1 is 100 here.

    Examples
    --------
    >>> Adam(widths=(50, 50), steps=2000, rates=[(0, 1e-3)], refinement=500)
    Adam(widths=(50, 50), steps=2000, rates=((0, 0.001),), refinement=500)
    """

    name: ClassVar[str] = "Adam"

    widths: Sequence[int] = (100,)
    steps: int = 40_000
    rates: Sequence[tuple[int, float]] = PUBLISHED
    refinement: int = 0
    weights: Sequence[float] = (3.0, 100.0, 1.0, 100.0)
    activation: Activation = "tanh"
    seconds: float = np.inf
    every: int = 500
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for name in ("widths", "rates", "weights"):
            given: Any = getattr(self, name)
            if not isinstance(given, Sequence) or isinstance(given, str):
                raise ProblemError(f"Adam: {name} is a list or a tuple, got {given!r}.")
            object.__setattr__(self, name, tuple(given))
        if not self.widths:
            raise ProblemError("Adam: a network has a hidden layer at least, widths=(100,).")
        for width in self.widths:
            _check_count(width, "each of widths", 1)
        for name, least in (("steps", 0), ("refinement", 0), ("every", 1)):
            _check_count(getattr(self, name), name, least)
        if self.seconds != np.inf:
            check_number(self.seconds, "Adam: seconds", positive=True)
        pairs: Sequence[Any] = self.rates
        begins = [pair[0] for pair in pairs if isinstance(pair, Sequence) and len(pair) == 2]
        if len(begins) < max(len(pairs), 1) or begins != sorted(begins) or begins[0] != 0:
            raise ProblemError(f"Adam: rates are pairs (step, rate) from step 0 on, in order, got {self.rates}.")
        for _, rate in self.rates:
            check_number(rate, "Adam: a rate", positive=True)
        if len(self.weights) != 4:
            raise ProblemError(f"Adam: there are four weights, got {self.weights}.")
        for weight in self.weights:
            check_number(weight, "Adam: a weight", positive=True)
        if self.activation not in ACTIVATIONS:
            raise ProblemError(f"Adam: activation is 'tanh' or 'sigmoid', got {self.activation!r}.")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ProblemError(f"Adam: device is 'auto', 'cpu' or 'cuda', got {self.device!r}.")

    def train(self, task: Task) -> Trained:
        try:
            from .loss import Loss
        except ImportError as error:
            raise ProblemError(f"Adam needs torch: pip install 'pdecontrol[torch]' ({error}).") from None
        systems, shape = (task.system, task.held_out), self._drawn(task, 0)
        scales = [system.scale for system in systems]
        loss = Loss(task.system, [self._weight(block) for block in task.system.blocks], shape, self.device)

        def networks(theta: Array) -> tuple[Deep, Deep]:
            state, adjoint = shape
            return state.at(theta[: state.flat.size]), adjoint.at(theta[state.flat.size :])

        def stages(start: int, last: Stage | None) -> Iterator[Stage]:
            if last is None:
                theta = np.concatenate([network.flat for network in self._drawn(task, start)])
                begin = Iterate(0, theta, 0 * theta, 0 * theta)
            else:
                begin = Iterate(last.iteration, last.weights["theta"], last.rest["mean"], last.rest["square"])
            for at in self._iterates(loss, begin, last is None):
                functions = [network.apply for network in networks(at.theta)]
                sizes = [float(np.linalg.norm(system.residual(*functions))) for system in systems]
                residual, held_out = (size / scale for size, scale in zip(sizes, scales, strict=True))
                yield Stage(at.step, residual, held_out, {"theta": at.theta}, {"mean": at.mean, "square": at.square})

        method = repr(replace(self, refinement=0, seconds=np.inf, device="auto"))
        monitor = Monitor(task, method, self.steps + self.refinement, self.seconds)
        status, note = monitor.run(stages)
        assert monitor.best is not None
        return Trained(*networks(monitor.best.weights["theta"]), monitor.steps, status, note)

    def _drawn(self, task: Task, start: int) -> list[Deep]:
        """Random networks of the state and of the adjoint state."""
        generator = np.random.default_rng([task.seed, start])
        ansatzes = task.system.state, task.system.adjoint
        return [drawn(ansatz.inputs, self.widths, self.activation, generator) for ansatz in ansatzes]

    def _weight(self, block: Block) -> float:
        if block.kind == "value":
            return 1.0
        return self.weights[(0 if block.of_state else 2) + (block.kind == "flux")]

    def _iterates(self, loss: Callable[[Array], tuple[float, Array]], at: Iterate, first: bool) -> Iterator[Iterate]:
        """Those after each `every` steps, which are all that a run needs to go on, and the first one."""
        if first:
            yield at
        step, theta, mean, square = at
        while step < self.steps:
            rate = [rate for begin, rate in self.rates if begin <= step][-1]
            step += 1
            _, gradient = loss(theta)
            mean = FIRST * mean + (1 - FIRST) * gradient
            square = SECOND * square + (1 - SECOND) * gradient**2
            root = np.sqrt(square / (1 - SECOND**step)) + SMALL
            theta = theta - rate / (1 - FIRST**step) * mean / root
            if step % self.every == 0 or step == self.steps:
                yield Iterate(step, theta, mean, square)
        while True:
            options = {"maxiter": self.every, "maxfun": 10 * self.every, "maxcor": MEMORY, "ftol": 0.0, "gtol": 0.0}
            found = minimize(loss, theta, jac=True, method="L-BFGS-B", options=options)
            if found.nit == 0:
                return
            step, theta = step + found.nit, found.x
            yield Iterate(step, theta, mean, square)


class Iterate(NamedTuple):
    """The weights theta of both networks after some steps, with the means of gradients and of their squares."""

    step: int
    theta: Array
    mean: Array
    square: Array


def _check_count(value: Any, name: str, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ProblemError(f"Adam: {name} must be an integer of at least {least}, got {value!r}.")
