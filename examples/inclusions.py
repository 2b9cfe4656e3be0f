r"""
Inclusions of many shapes
=========================

A plate is to be warmed evenly and holds a disc, an ellipse, an L and two eggs of other materials, whose
conductivities range over three decades. The :math:`L^1` term puts heat only where it pays.

.. math::

    \min_u \; \tfrac12 \|y - 1\|^2 + \tfrac\alpha2 \|u\|^2 + \beta \|u\|_{L^1}, \quad
    -\operatorname{div}(\kappa \nabla y) = u \text{ in } (-1,1)^2, \quad
    [y] = [\kappa \partial_n y] = 0 \text{ on each } \Gamma_i, \quad y = 0 \text{ on the boundary}, \quad 0 \le u \le 10

Each interface is stated by its shape. The eggs are one interface, where a function of x is zero. At a corner of the L
the flux is not bounded, so that the order of states is less than 2 there, whatever their degree.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc

KAPPA = {"plate": 1.0, "disc": 100.0, "ellipse": 0.1, "L": 10.0, "eggs": 0.3}


def eggs(x):
    """A function that is negative in two eggs: a product of squared distances to two points, less a constant."""
    distances = [(x[0] - a) ** 2 + (x[1] + 0.5) ** 2 for a in (0.2, 0.75)]
    return distances[0] * distances[1] - 0.25**4


def main(output: Path | None = None, size: float = 0.02, alpha: float = 5e-4, beta: float = 1.4e-2) -> pc.Result:
    """Solve the problem on a mesh of cells of a size."""
    corners = [(-0.8, -0.75), (-0.2, -0.75), (-0.2, -0.55), (-0.55, -0.55), (-0.55, -0.15), (-0.8, -0.15)]
    problem = pc.ControlProblem(
        equation=pc.Elliptic(diffusion=KAPPA),
        interface={
            "rim of the disc": pc.Interface(pc.Circle(0.25, (-0.5, 0.45)), inside="disc"),
            "rim of the ellipse": pc.Interface(pc.Ellipse((0.4, 0.2), (0.45, 0.4), angle=0.5), inside="ellipse"),
            "rim of the L": pc.Interface(pc.Polygon(corners), inside="L"),
            "shells": pc.Interface(pc.LevelSet(eggs), inside="eggs"),
        },
        boundary={"boundary": pc.Dirichlet()},
        control=pc.Distributed(),
        tracking=pc.Tracking(1.0),
        terms=[pc.Tikhonov(alpha), pc.L1(beta), pc.Box(0, 10)],
    )
    mesh = pc.fitted_mesh([(-1, 1), (-1, 1)], problem.interface, size, outside="plate")
    result = pc.solve(problem, mesh)
    pc.report(result)

    u, space = result.control.array, result.control.space
    pc.report(f"u = 0 on {space.integral(u == 0) / space.integral(np.ones(u.size)):.1%} of the plate")
    if output is not None:
        result.plot(output / "inclusions.png")
        result.save(output / "inclusions.npz")
        result.export(output / "inclusions.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
