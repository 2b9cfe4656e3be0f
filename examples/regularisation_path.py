r"""
Along the path of Tikhonov weights
==================================

Stadler's problem,

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \beta \|u\|_{L^1}, \quad
    -\Delta y = u \text{ in } (0,1)^2, \quad y = 0 \text{ on the boundary}, \quad -30 \le u \le 30,

for :math:`\alpha` from :math:`10^{-2}` to :math:`10^{-7}`, each solution being the start of the next: with smaller
:math:`\alpha` the control is zero on more of the square and at its bounds on most of the rest.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def target(x):
    """The desired state."""
    return np.sin(2 * np.pi * x[0]) * np.sin(2 * np.pi * x[1]) * np.exp(2 * x[0]) / 6


def shares(result: pc.Result) -> tuple[float, float]:
    """The shares of the square on which the control is zero and at a bound."""
    u, space = result.control.array, result.control.space
    return space.integral(u == 0), space.integral(abs(u) == 30)


def main(output: Path | None = None, n: int = 64, stages: int = 11) -> list[pc.Result]:
    """Solve on n by n squares for weights equally spaced on a logarithmic scale."""
    weights = np.logspace(-2, -7, stages)
    problem = pc.ControlProblem(
        equation=pc.Elliptic(),
        boundary={"boundary": pc.Dirichlet(0.0)},
        control=pc.Distributed(),
        tracking=pc.Tracking(target),
        terms=[pc.Tikhonov(1e-2), pc.L1(1e-3), pc.Box(-30, 30)],
    )
    results = pc.continuation(problem, pc.unit_square(n), alpha=weights.tolist())

    pc.report("   alpha     objective    u = 0   |u| = 30   certified   PDE solves")
    for alpha, result in zip(weights, results, strict=True):
        zero, bound = shares(result)
        pc.report(f"{alpha:8.1e}   {result.objective:11.7f}   {zero:6.1%}   {bound:8.1%}   "
              f"{result.certificate.relative:9.1e}   {result.solves['total']:10.0f}")  # fmt: skip
    if output is not None:
        plot(weights, results, output / "regularisation_path.png")
        results[-1].save(output / "regularisation_path.npz")
        results[-1].export(output / "regularisation_path.vtu")
    return results


def plot(weights, results: list[pc.Result], path: Path) -> None:
    """Draw the shares against alpha."""
    from matplotlib.figure import Figure

    zero, bound = np.array([shares(result) for result in results]).T
    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.stackplot(
        weights, 100 * zero, 100 * (1 - zero - bound), 100 * bound,
        labels=["$u = 0$", "$0 < |u| < 30$", "$|u| = 30$"], colors=["#e4e4e4", "#f2c14e", "#b2182b"],
    )  # fmt: skip
    axes.set(xscale="log", xlim=(weights[0], weights[-1]), ylim=(0, 100), xlabel=r"$\alpha$", ylabel="% of the square")
    axes.legend(loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main(Path("results"))
