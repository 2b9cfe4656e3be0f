r"""
Out of distribution
===================

A network that has learned flow through one kind of media is asked about others. It answers all questions with the same
confidence; the residual bound of *Predictions of flow, with bounds* tells which answers are to be believed.

.. math:: -\mathrm{div}(a \nabla y) = 1 \text{ in } (0,1)^2, \quad y = 0 \text{ on the boundary}

The network has seen :math:`a = 12` and 3 in large patches. A prediction is accepted where its relative error in the
energy norm is shown to be at most 25 %. Small patches are within its reach; what is a hundred times more permeable, ten
times less, or smoothly varying is not. Not one prediction with a larger error is accepted. What is rejected is solved.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

import pdecontrol as pc
from pdecontrol.learn.families import Darcy
from pdecontrol.learn.residual import FamilyBound
from pdecontrol.learn.trained import Trained


class Judged(NamedTuple):
    """Errors in the energy norm, relative to the solutions, and their bounds, of predictions for one kind of media."""

    errors: np.ndarray
    bounds: np.ndarray

    def accepted(self, tolerance: float) -> np.ndarray:
        """Which predictions are."""
        return self.bounds <= tolerance


def kinds(n: int) -> dict[str, Darcy]:
    """The media, those of the training first."""
    patches = {"field": "threshold", "alpha": 2.0}
    return {
        "12 and 3, as trained": Darcy(n, tau=3.0, **patches),
        "small patches": Darcy(n, tau=9.0, **patches),
        "100 and 1": Darcy(n, tau=3.0, low=1.0, high=100.0, **patches),
        "1.2 and 0.3": Darcy(n, tau=3.0, low=0.3, high=1.2, **patches),
        "lognormal": Darcy(n, deviation=1.0),
    }


def learned(family: Darcy, count: int, epochs: int) -> Trained:
    """A network, trained on so many solutions."""
    options = {"transfer": "nested", "channels": 16, "smoothing": [1, 1, 1, 2]}
    with TemporaryDirectory() as directory:
        dataset = pc.generate(family, count, seed=1, directory=Path(directory) / "darcy")
        return pc.train(dataset, "mgno", options=options, epochs=epochs, batch=10, rate=2e-3)


def judged(trained: Trained, family: Darcy, tests: int) -> Judged:
    """So many predictions, with the true errors, which take a solve each."""
    bounds, found = FamilyBound(family), []
    for i in range(tests):
        sample = family.draw(np.random.default_rng((2, i)))
        prediction = trained.predict(sample["coefficient"])
        matrix, b = family.system(sample)
        x = splu(sp.csc_matrix(matrix)).solve(b)
        e = x - prediction[1:-1, 1:-1].ravel()
        error = np.sqrt(e @ (matrix @ e) / (x @ (matrix @ x)))
        found.append((error, bounds.bound(sample, prediction).relative))
    return Judged(*np.array(found).T)


def main(
    output: Path | None = None,
    n: int = 31,
    count: int = 400,
    epochs: int = 20,
    tests: int = 50,
    tolerance: float = 0.25,
) -> dict[str, Judged]:
    """Train on grids of n by n inner nodes, and judge so many predictions of each kind."""
    media = kinds(n)
    trained = learned(next(iter(media.values())), count, epochs)
    found = {name: judged(trained, family, tests) for name, family in media.items()}
    pc.report(f"{'':<22}{'accepted':>10}{'median error':>14}{'median bound':>14}{'worst accepted':>16}")
    for name, item in found.items():
        accepted = item.accepted(tolerance)
        worst = f"{item.errors[accepted].max():.1%}" if accepted.any() else "-"
        medians = "".join(f"{np.median(values):14.1%}" for values in item)
        pc.report(f"{name:<22}{accepted.mean():10.0%}{medians}{worst:>16}")
    if output is not None:
        plot(found, tolerance, output / "out_of_distribution.png")
    return found


def plot(found: dict[str, Judged], tolerance: float, path: Path) -> None:
    """Draw bounds against errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    largest = max(np.max(item.errors) for item in found.values())
    for name, item in found.items():
        axes.plot(item.errors, np.minimum(item.bounds, 10 * largest), ".", label=name)
    ends = np.array([min(item.errors.min() for item in found.values()), largest])
    axes.plot(ends, ends, "k-", lw=0.8)
    axes.axhline(tolerance, color="grey", ls="--", lw=0.8)
    axes.set(xscale="log", yscale="log", xlabel="error", ylabel="certified bound (those at the top are infinite)")
    axes.legend(fontsize="small", loc="center left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main(Path("results"))
