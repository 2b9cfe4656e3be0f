r"""
Fifty geometries from one solve
===============================

Circles of many radii and materials: a network whose inputs are :math:`x`, the kink, the radius and the contrast
solves the problem of *Two materials, by a network without a mesh* for all of them at once.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac12 \|u\|^2, \quad
    -\operatorname{div}(\kappa \nabla y) = f + u \text{ in } (-1,1)^2, \quad
    [y] = [\kappa \partial_n y] = 0 \text{ on } \Gamma = \{r = \rho\}, \quad -1 \le u \le 1

with :math:`\kappa = 1` inside of :math:`\Gamma`, for radii :math:`\rho` from 0.3 to 0.7 and :math:`\kappa` outside
from 2 to 20. The optimality systems of a few hundred members are one problem of least squares. Fifty others are then
asked for, and each is certified by elements of degree 2 on a mesh that is fitted to its circle. The bounds are near
to the errors, which exact solutions tell here: about a thousandth, where a network for one member has 2e-6.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

import pdecontrol as pc

SQUARE = [(-1, 1), (-1, 1)]
RANGES = {"radius": (0.3, 0.7), "contrast": (2.0, 20.0)}


class Judged(NamedTuple):
    """A member, the bound on the error of its control relative to it, and that error."""

    radius: float
    contrast: float
    bound: float
    error: float


def exact(radius: float, contrast: float) -> pc.interface_reference.InterfaceReference:
    """A member with its solution."""
    return pc.interface_reference.circle((1.0, contrast), radius=radius, element="variational")


def judged(solution: pc.ParametricSolution, radius: float, contrast: float, size: float) -> Judged:
    """A member, judged by elements on a mesh of cells of a size, and by the exact control."""
    control, known = solution.member(radius=radius, contrast=contrast).control, exact(radius, contrast)
    mesh = pc.fitted_mesh(SQUARE, known.problem.interface, size)
    map = pc.discretise(known.problem, mesh, pc.Embedded(degree=2))
    bound, space = pc.certify(known.problem, control, map).relative, map.control
    best = space.interpolate(known.control)
    return Judged(radius, contrast, bound, space.norm(control(space.points) - best) / space.norm(best))


def main(
    output: Path | None = None, count: int = 50, size: float = 0.1, features: int = 1000, members: int = 500
) -> list[Judged]:
    """Solve for all members at once, and certify so many of them."""
    family = pc.Parametric(lambda **parameters: exact(**parameters).problem, **RANGES)
    solution = pc.solve_parametric(family, SQUARE, features=features, members=members)
    generator = np.random.default_rng(7)
    found = [judged(solution, *(generator.uniform(*ends) for ends in RANGES.values()), size) for _ in range(count)]
    pc.report("radius contrast   bound   error")
    for item in found:
        pc.report("{:6.3f} {:8.2f} {:7.1e} {:7.1e}".format(*item))
    if output is not None:
        plot(found, output / "network_family.png")
    return found


def plot(found: list[Judged], path: Path) -> None:
    """Draw bounds and errors against radii."""
    from matplotlib.figure import Figure

    radius, contrast, bound, error = np.array(found).T
    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    points = axes.scatter(radius, bound, c=contrast, norm="log", label="certified bound")
    axes.scatter(radius, error, marker="_", color="black", label="error")
    axes.set(yscale="log", xlabel="radius", ylabel=r"relative to $\|u\|$")
    axes.legend()
    figure.colorbar(points, label="contrast")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


if __name__ == "__main__":
    main(Path("results"))
