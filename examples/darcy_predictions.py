r"""
Predictions of flow, with bounds
================================

A network of multigrid cycles (MgNO) predicts the pressure of a flow in media that it has not seen,

.. math:: -\mathrm{div}(a \nabla y) = 1 \text{ in } (0,1)^2, \quad y = 0 \text{ on the boundary}, \quad a = 3, 12 .

Nobody who uses a prediction knows its error. Its residual :math:`r` is known, and bounds the error :math:`e` in the
norm of the energy,

.. math:: e^T A e \le \tfrac1c \, r^T K^{-1} r, \qquad A \ge c K,

for one solve with the matrix :math:`K` of the coefficient 1, the same for all media, where :math:`c = 3` here. The
bound is never below the error, and at most :math:`\sqrt{12/3} = 2` times as large; relative to the solution it is some
more, as of its size no more is known than those of prediction and bound.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

import pdecontrol as pc
from pdecontrol.learn.families import Darcy
from pdecontrol.learn.family import Family, Sample
from pdecontrol.learn.residual import FamilyBound
from pdecontrol.learn.trained import Trained


class Judged(NamedTuple):
    """A medium, prediction and solution, and the error in the energy norm relative to the solution, with its bound."""

    coefficient: np.ndarray
    prediction: np.ndarray
    solution: np.ndarray
    error: float
    bound: float


def learned(family: Darcy, count: int, epochs: int) -> Trained:
    """A network, trained on so many solutions."""
    options = {"transfer": "nested", "channels": 16, "smoothing": [1, 1, 1, 2]}
    with TemporaryDirectory() as directory:
        dataset = pc.generate(family, count, seed=1, directory=Path(directory) / "darcy")
        return pc.train(dataset, "mgno", options=options, epochs=epochs, batch=10, rate=2e-3)


def judged(trained: Trained, family: Family, bounds: FamilyBound, sample: Sample) -> Judged:
    """The prediction for a sample, its bound, and the true error, which takes a solve."""
    prediction = trained.predict(sample["coefficient"])
    matrix, b = family.system(sample)
    x = splu(sp.csc_matrix(matrix)).solve(b)
    solution = family.solution(sample, x)
    e = x - prediction[1:-1, 1:-1].ravel()
    error = np.sqrt(e @ (matrix @ e) / (x @ (matrix @ x)))
    return Judged(sample["coefficient"], prediction, solution, error, bounds.bound(sample, prediction).relative)


def main(output: Path | None = None, n: int = 31, count: int = 600, epochs: int = 25, tests: int = 100) -> list[Judged]:
    """Train on grids of n by n inner nodes, and judge so many predictions."""
    family = Darcy(n, field="threshold", alpha=2.0, tau=3.0)
    trained, bounds = learned(family, count, epochs), FamilyBound(family)
    draws = (np.random.default_rng((2, i)) for i in range(tests))
    found = [judged(trained, family, bounds, family.draw(draw)) for draw in draws]
    errors, bound = np.array([[item.error, item.bound] for item in found]).T
    l2 = [np.linalg.norm(item.prediction - item.solution) / np.linalg.norm(item.solution) for item in found]
    pc.report(f"{trained.parameters} parameters, {trained.header['metrics']['cpu seconds']:.0f} s of training")
    pc.report(f"error in L2          median {np.median(l2):.2%}, worst {max(l2):.2%}")
    pc.report(f"error in energy      median {np.median(errors):.2%}, worst {max(errors):.2%}")
    pc.report(f"certified bound      median {np.median(bound):.2%}, worst {max(bound):.2%}")
    pc.report(f"bound / error        from {min(bound / errors):.2f} to {max(bound / errors):.2f}")
    if output is not None:
        plot(found, output / "darcy_predictions.png")
    return found


def plot(found: list[Judged], path: Path) -> None:
    """Draw the medium, prediction and error of median size, and all bounds against errors."""
    from matplotlib.figure import Figure

    shown = sorted(found, key=lambda item: item.error)[len(found) // 2]
    figure = Figure(figsize=(11, 2.6), layout="constrained")
    *maps, bounds = figure.subplots(1, 4)
    drawn = {"a": shown.coefficient, "prediction": shown.prediction, "error": shown.prediction - shown.solution}
    for axes, (title, values) in zip(maps, drawn.items(), strict=True):
        figure.colorbar(axes.imshow(values.T, origin="lower", extent=(0, 1, 0, 1)), ax=axes, shrink=0.8)
        axes.set(title=title, xticks=[], yticks=[])
    errors = np.array([item.error for item in found])
    bounds.plot(errors, [item.bound for item in found], ".")
    bounds.plot([0, max(errors)], [0, max(errors)], "k-", lw=0.8)
    bounds.set(xlabel="error", ylabel="bound", title="energy, relative")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main(Path("results"))
