r"""
Two materials, by a network without a mesh
==========================================

The state of a problem with a circular interface is sought among functions :math:`g + h N(x, \varphi(x))`, which have
the boundary values, and which are continuous with a kink at the circle, whatever the network :math:`N` is.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac12 \|u\|^2, \quad
    -\operatorname{div}(\kappa \nabla y) = f + u \text{ in } (-1,1)^2, \quad
    [y] = [\kappa \partial_n y] = 0 \text{ on } \Gamma = \{r = \tfrac12\}, \quad -1 \le u \le 1

with :math:`y` given on the boundary, :math:`\kappa = 1` inside of :math:`\Gamma` and 10 outside. The data are chosen
such that :math:`y^* = r^3 / \kappa`, outside plus a constant, and :math:`u^* = \min(\max(5 S / \kappa, -1), 1)` with
:math:`S = (r^2 - \tfrac14) (x_0^2 - 1) (x_1^2 - 1)`.

The hidden layer of :math:`N` is random, and its outer weights solve the weak form of the optimality system: nothing
is trained. The control is then judged by finite elements of degree 2 on a mesh that is fitted to the circle: the
bound on its distance to their optimum has the error of both.

M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, SIAM J. Sci. Comput. 47 (2025), arXiv 2308.06709, have the problem and
the functions, and train all weights.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

import pdecontrol as pc

SQUARE = [(-1, 1), (-1, 1)]
EXACT = pc.interface_reference.circle(element="variational")


def errors(result: pc.Result) -> list[float]:
    """Of control, state and adjoint state, relative, at points of a grid that nobody has used."""
    axis = (np.arange(200) + 0.5) / 100 - 1
    x = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    pairs = [(result.control, EXACT.control), (result.state, EXACT.state), (result.adjoint, EXACT.adjoint)]
    values = [(field(x), EXACT.at(sides, x)) for field, sides in pairs]
    return [float(np.linalg.norm(found - exact) / np.linalg.norm(exact)) for found, exact in values]


def main(output: Path | None = None, size: float = 0.025, method: str | pc.HardConstraint = "pinn") -> pc.Result:
    """Solve the problem by a network, certify its control on a mesh of cells of a size, compare with the exact one."""
    problem = EXACT.problem
    result = pc.solve(problem, SQUARE, method=method)
    mesh = pc.fitted_mesh(SQUARE, problem.interface, size)
    map = pc.discretise(problem, mesh, pc.Embedded(degree=2))
    result = replace(result, certificate=pc.certify(problem, result.control, map))
    pc.report(result)

    for name, error in zip(("u", "y", "p"), errors(result), strict=True):
        pc.report(f"||{name} - {name}*|| = {error:.1e} ||{name}*||")
    if output is not None:
        result.plot(output / "network_circle.png")
        result.save(output / "network_circle.npz")
        result.export(output / "network_circle.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
