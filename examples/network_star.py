r"""
A star of another material, by a network
========================================

The problem of the example *A star of another material*. In the valleys of the star the solution varies sharply, and
networks fail there by the equation in strong form, at points, trained or not. Here the weak form is solved.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac12 \|u\|^2, \quad
    -\operatorname{div}(\kappa \nabla y) = f + u \text{ in } (-1,1)^2, \quad
    [y] = [\kappa \partial_n y] = 0 \text{ on } \Gamma, \quad y = 0 \text{ on the boundary}, \quad -1 \le u \le 1

where :math:`\Gamma` is the curve :math:`r = 0.5 + 0.2 \sin 5 \theta`, :math:`\kappa = 1` inside and 10 outside. The
published control has a maximum of 0.0145; that of the optimal one is 0.0198. Linear finite elements on a mesh that is
graded by the curvature have smaller errors in the same time (*numbers*).

M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, SIAM J. Sci. Comput. 47 (2025), arXiv 2308.06709.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

import pdecontrol as pc

SQUARE = [(-1, 1), (-1, 1)]


def main(output: Path | None = None, size: float = 0.025, method: str | pc.HardConstraint = "pinn") -> pc.Result:
    """Solve the problem by a network, and certify its control on a mesh of cells of a size."""
    problem = pc.interface_reference.star(element="variational").problem
    result = pc.solve(problem, SQUARE, method=method)
    mesh = pc.fitted_mesh(SQUARE, problem.interface, size)
    map = pc.discretise(problem, mesh, pc.Embedded(degree=2))
    result = replace(result, certificate=pc.certify(problem, result.control, map))
    pc.report(result)

    axis = np.linspace(-1, 1, 201)
    pc.report(f"max u = {result.control(np.stack(np.meshgrid(axis, axis)).reshape(2, -1)).max():.5f}")
    if output is not None:
        result.plot(output / "network_star.png")
        result.save(output / "network_star.npz")
        result.export(output / "network_star.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
