"""Networks whose weights make the optimality system small at points, in its strong form."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..certificate import Certificate
from ..counter import Counter
from ..errors import ConvergenceError, ProblemError
from ..field import Field
from ..optimise import RunOptions
from ..problem import ControlProblem
from ..result import History, Result, Row
from ..solvers.checkpoint import Checkpoint, as_checkpoint
from ..space import Space
from .ansatz import Ansatz
from .archive import fingerprint
from .collocation import Collocation
from .cubature import objective
from .domain import Domain
from .method import NetworkMethod
from .sampling import draw
from .system import System
from .training import Task, Training
from .trial import Trial, projected
from .weak import SCALES, Found

REFUSED = 0.05  # residual at points held out, relative to the data, beyond which there is no answer
PART, IN_TIME = 400, 1200  # features for each part of the domain, and in time
PROBE = 300  # features for the choice of their scale
RANDOM, TRAINED = 10, 2000  # points in the interior: for each random feature, and for networks that are trained
CURVES = 8  # points in the interior for each one on interfaces, and on the boundary where conditions are rows


def by_training(
    problem: ControlProblem, pair: tuple[Ansatz, Ansatz], method: NetworkMethod, tol: float, options: RunOptions
) -> Found:
    """State and adjoint state with a small residual of the optimality system at points, and at others held out."""
    training = method.training
    if not isinstance(training, Training):
        scale = method.scale or _best_scale(problem, pair, method)
        training = Collocation(method.features or _features(pair[0].domain), scale, method.near)
    count = method.points or (RANDOM * training.features if isinstance(training, Collocation) else TRAINED)
    generator = np.random.default_rng(method.seed)
    system, held_out = (_system(problem, pair, method, n, generator) for n in (count, max(count // 4, 200)))
    task = Task(system, held_out, method.seed, *_run(options))
    trained = training.train(task)
    residual = min((step.held_out for step in trained.steps), default=np.inf)
    if not residual < REFUSED:
        raise ConvergenceError(
            f"the optimality system has a residual of {residual:.1e} at points held out, relative to the data: this is "
            f"no answer ({trained.note}). Curves that turn sharply and steep functions are out of reach in strong "
            "form: take training='galerkin' or finite elements; else more features, points or time."
        )
    y, p = Trial(pair[0], trained.state), Trial(pair[1], trained.adjoint)
    control = projected(problem, p)
    value, norm = objective(problem, y, control)
    kind = "hard constraints" if method.weights is None else "soft constraints"
    certificate = Certificate(
        None, norm, None, value,
        f"nothing: no bound is known; the residual of the optimality system is {residual:.1e} of the data at points "
        "held out",
    )  # fmt: skip
    history = History()
    for step in trained.steps:
        history.append(Row(step.iteration, np.nan, step.held_out, np.nan, step.iteration, step.seconds))
    nothing = Field(np.zeros(0), Space(np.zeros(0)))
    result = Result(
        control=nothing,
        state=nothing,
        adjoint=nothing,
        certificate=certificate,
        status=trained.status,
        method=f"{kind}, {training.name} ({trained.note}",
        history=history,
        solves=Counter().snapshot(),
        seconds=0.0,
        tol=tol,
        fingerprint=fingerprint(task),
    )
    return Found(result, y, p, control)


def _run(options: RunOptions) -> tuple[bool | None, Checkpoint | None]:
    """Progress and checkpoint of a training; raises ProblemError for other options."""
    own: dict[str, Any] = dict(options)
    progress = own.pop("progress", None)
    said = {name: own.pop(f"checkpoint_{name}", None) for name in ("seconds", "iterations")}
    checkpoint = as_checkpoint(own.pop("checkpoint", None), restart=own.pop("restart", False), **said)
    if own:
        raise ProblemError(f"{next(iter(own))} is an option of methods for maps, not of the training of networks.")
    return progress, checkpoint


def _features(domain: Domain) -> int:
    return PART * len(domain.tags) if domain.span is None else IN_TIME


def _system(
    problem: ControlProblem, pair: tuple[Ansatz, Ansatz], method: NetworkMethod, count: int,
    generator: np.random.Generator,
) -> System:  # fmt: skip
    soft = method.weights is not None
    sample = draw(pair[0].domain, count, count // CURVES, count // CURVES * soft, generator, method.near)
    return System(problem, *pair, sample, method.weights)


def _best_scale(problem: ControlProblem, pair: tuple[Ansatz, Ansatz], method: NetworkMethod) -> float:
    """The scale with which few features leave the smallest residual at points held out."""
    generator = np.random.default_rng(method.seed)
    system, held_out = (_system(problem, pair, method, RANDOM * PROBE // part, generator) for part in (1, 2))
    task = Task(system, held_out, method.seed)
    residuals = [Collocation(PROBE, scale, method.near).train(task).steps[-1].held_out for scale in SCALES]
    return SCALES[int(np.argmin(residuals))]
