"""Networks whose weights make the optimality system small at points, in its strong form."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..counter import Counter
from ..errors import ConvergenceError, ProblemError
from ..optimise import RunOptions
from ..problem import ControlProblem
from ..result import Status
from ..solvers.checkpoint import Checkpoint, as_checkpoint
from .functions.ansatz import Ansatz
from .functions.domain import Domain
from .functions.sampling import draw
from .functions.trial import Trial, projected
from .method import NetworkMethod
from .outcome import Outcome, history_of
from .reporter import Reporter
from .system.system import System
from .training.archive import fingerprint
from .training.collocation import Collocation
from .training.training import Task, Training

SCALES = (0.7, 1.0, 1.5, 2.0, 3.0)  # among which that of the features is chosen
REFUSED = 0.05  # residual at points held out, relative to what is given, beyond which there is no answer
FEATURES, INTERFACE, IN_TIME = 600, 200, 1200  # features, more of them for each interface, and those in time
PROBE = 1 / 3  # of the features, for the choice of their scale
RANDOM, TRAINED = 10, 2000  # points in the interior: for each random feature, and for networks that are trained
CURVES = 8  # points in the interior for each one on interfaces, and on the boundary where conditions are rows


def by_training(
    problem: ControlProblem, pair: tuple[Ansatz, Ansatz], method: NetworkMethod, tol: float, options: RunOptions
) -> Outcome:
    """State and adjoint state with a small residual of the optimality system at points, and at others held out."""
    training, report, run = method.training, Reporter(options.get("progress")), _run(options)
    if not isinstance(training, Training):
        features = method.features or _features(pair[0].domain)
        scale = method.scale or _best_scale(problem, pair, method, round(PROBE * features), report)
        training = Collocation(features, scale, method.near)
    count = method.points or (RANDOM * training.features if isinstance(training, Collocation) else TRAINED)
    generator = np.random.default_rng(method.seed)
    system, held_out = (_system(problem, pair, method, n, generator) for n in (count, max(count // 4, 200)))
    task = Task(system, held_out, method.seed, *run)
    trained = training.train(task)
    residual = held_out.left(trained.state.apply, trained.adjoint.apply)
    if not residual < REFUSED and trained.status is not Status.INTERRUPTED:
        raise ConvergenceError(
            f"the residual of the optimality system is {residual:.1e} of what is given at points held out: this "
            f"is no answer ({trained.note}). Curves that turn sharply and steep functions are out of reach in strong "
            "form: take training='galerkin' or finite elements; else more features, points or time."
        )
    y, p = Trial(pair[0], trained.state), Trial(pair[1], trained.adjoint)
    kind = "hard constraints" if method.weights is None else "soft constraints"
    return Outcome(
        y, p, projected(problem, p), left(residual), trained.status,
        f"{kind}, {training.name} ({trained.note}", history_of(trained.steps), Counter().snapshot(), fingerprint(task),
    )  # fmt: skip


def left(residual: float) -> str:
    """What is left of the optimality system, in words."""
    return f"the residual of the optimality system is {residual:.1e} of what is given in its rows, at points held out"


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
    return FEATURES + INTERFACE * len(domain.interface) if domain.span is None else IN_TIME


def _system(
    problem: ControlProblem, pair: tuple[Ansatz, Ansatz], method: NetworkMethod, count: int,
    generator: np.random.Generator,
) -> System:  # fmt: skip
    soft = method.weights is not None
    sample = draw(pair[0].domain, count, count // CURVES, count // CURVES * soft, generator, method.near)
    return System(problem, *pair, sample, method.weights)


def _best_scale(
    problem: ControlProblem, pair: tuple[Ansatz, Ansatz], method: NetworkMethod, features: int, report: Reporter
) -> float:  # fmt: skip
    """The scale with which so many features leave the smallest residual at points held out."""
    generator = np.random.default_rng(method.seed)
    system, held_out = (_system(problem, pair, method, RANDOM * features // part, generator) for part in (1, 2))
    task = Task(system, held_out, method.seed, progress=False)
    residuals = []
    for scale in SCALES:
        residuals.append(Collocation(features, scale, method.near).train(task).steps[-1].held_out)
        report(f"{features} features of scale {scale:g}: residual {residuals[-1]:.1e} at points held out")
    return SCALES[int(np.argmin(residuals))]
