r"""
A bound on the error of discretisation
======================================

How far a control is from the optimum of the *continuous* problem: a bound, an estimate, and the truth.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2, \quad
    -\Delta y = u + f \text{ in } (0,1)^2, \quad y = 0 \text{ on the boundary}, \quad -\tfrac12 \le u \le \tfrac12

with :math:`\alpha = 10^{-2}` and data for which :math:`u^* = \operatorname{clip}(-\sin 2\pi x_0 \sin 2\pi x_1,
-\tfrac12, \tfrac12)` is known (:func:`pdecontrol.reference.box`). The bound is proved, with all constants. The estimate
compares with the solution on a refined mesh: it takes four times as many unknowns, is near to the error where the
solution is as smooth as here, and proves nothing. All three are of the order of the states, 2 for degree 1 and 3 for
degree 2, although the control has kinks inside of cells.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import pdecontrol as pc
from pdecontrol.parallel import world

EXACT = pc.reference.box(1e-2)
PROBLEM = replace(EXACT.problem, control=pc.Distributed(element="variational"))


def error(result: pc.Result) -> float:
    """The distance of the control, as a function, to the exact one in L2, by the midpoint rule."""
    axis = (np.arange(201) + 0.5) / 201
    x = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    return float(np.sqrt(np.mean((result.control(x) - EXACT.control(x)) ** 2)))


def main(
    output: Path | None = None, sizes: Sequence[int] = (8, 16, 32, 64), backend: Callable[[int], object] = pc.Embedded
) -> list[pc.Result]:
    """Solve on n by n squares for several n, with states of degree 1 and then 2."""
    pc.report("degree   n    bound    error  estimate  bound / error")
    results, rows = [], []
    for degree in (1, 2):
        for n in sizes:
            result = pc.solve(PROBLEM, pc.unit_square(n), backend(degree), continuous=True, discretisation=True)
            bound, estimate = result.certificate.continuous.bound, result.certificate.discretisation
            results.append(result)
            rows.append((bound, error(result), estimate))
            pc.report("{:6d} {:3d} {:8.1e} {:8.1e} {:9.1e} {:14.1f}".format(degree, n, *rows[-1], bound / rows[-1][1]))
    pc.report(f"the bound rests on: {result.certificate.continuous.assumption}")
    if output is not None:
        if world().root:
            plot(sizes, np.array(rows).reshape(2, len(sizes), 3), output / "continuous_bound.png")
        result.save(output / "continuous_bound.npz")
        result.export(output / "continuous_bound.vtu")
    return results


def plot(sizes: Sequence[int], rows: np.ndarray, path: Path) -> None:
    """Draw bounds, errors and estimates against the size of the squares, for each degree, (2, sizes, 3)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    h = 1 / np.array(sizes)
    for degree, each, colour in zip((1, 2), rows, ("#1f4e79", "#d9822b"), strict=True):
        for values, style, name in zip(each.T, ("o-", "s--", "x:"), ("bound", "error", "estimate"), strict=True):
            axes.plot(h, values, style, color=colour, markersize=5, label=f"{name}, degree {degree}")
        slope = 0.5 * each[-1, 1] * (h / h[-1]) ** (degree + 1)
        axes.plot(h, slope, color="0.7", linewidth=1, zorder=0)
        axes.annotate(f"$h^{degree + 1}$", (h[0], slope[0]), color="0.4", va="top")
    axes.set(xscale="log", yscale="log", xlabel="size $h$ of the squares", ylabel=r"$\|u - u^*\|$")
    axes.set_xticks(h, [f"1/{n}" for n in sizes], minor=False)
    axes.minorticks_off()
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main(Path("results"))
