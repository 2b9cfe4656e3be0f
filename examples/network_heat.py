r"""
Heat in two materials, by a network of space and time
=====================================================

The problem of the example *Heat in two materials, in time*, for which no time is discretised either: the network has
a time among its inputs, and state and adjoint state are functions :math:`t \, h N` and :math:`(T - t) \, h N`, with
initial and final values that are exact.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac12 \|u\|^2, \quad
    y_t - \operatorname{div}(\kappa \nabla y) = f + u \text{ in } (-1,1)^2, \quad
    [y] = [\kappa \partial_n y] = 0 \text{ on } \Gamma = \{r = \tfrac12\}, \quad -1 \le u \le 1

over times in :math:`(0, \tfrac\pi2)`, with :math:`y = 0` on the boundary and at :math:`t = 0`, :math:`\kappa = 1`
inside of :math:`\Gamma` and 3 outside, and :math:`u^* = \min(\max(-5 \cos(t) S / \kappa, -1), 1)` with
:math:`S = (r^2 - \tfrac14) (x_0^2 - 1) (x_1^2 - 1)`.

Its outer weights are those of least squares in the optimality system, at random points of space and time. The
certificate is that of elements of degree 2 and the Crank-Nicolson scheme. Nearly all of the bound is the error of the
scheme, of order 2 in the length of its steps: it is the network that is the more accurate one.

M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, SIAM J. Sci. Comput. 47 (2025), arXiv 2308.06709.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

import pdecontrol as pc

SQUARE = [(-1, 1), (-1, 1)]


def exact(steps: int) -> pc.interface_reference.InterfaceReference:
    """The problem for so many steps, with its solution."""
    return pc.interface_reference.heat(steps, "crank-nicolson", element="variational")


def error(result: pc.Result) -> float:
    """That of the control, relative, at points and times that nobody has used."""
    known, axis = exact(1), (np.arange(60) + 0.5) / 30 - 1
    x = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    times = np.linspace(0, np.pi / 2, 17)
    values = np.array([(result.control(x, t), known.at(known.control, x, t)) for t in times])
    return float(np.linalg.norm(values[:, 0] - values[:, 1]) / np.linalg.norm(values[:, 1]))


def main(
    output: Path | None = None, size: float = 0.1, steps: tuple[int, ...] = (10, 20, 40),
    method: str | pc.HardConstraint = "pinn",
) -> pc.Result:  # fmt: skip
    """Solve the problem by a network, certify its control by schemes of so many steps, compare with the exact one."""
    result = pc.solve(exact(steps[0]).problem, SQUARE, method=method)
    mesh = pc.fitted_mesh(SQUARE, exact(1).problem.interface, size)
    for count in steps:
        problem = exact(count).problem
        map = pc.discretise(problem, mesh, pc.Embedded(degree=2))
        certificate = pc.certify(problem, result.control, map)
        pc.report(f"by {count} steps: ||u - u*|| <= {certificate.relative:.1e} ||u||")
    result = replace(result, certificate=certificate)
    pc.report(result)

    pc.report(f"||u - u*|| = {error(result):.1e} ||u*||")
    if output is not None:
        result.plot(output / "network_heat.png")
        result.save(output / "network_heat.npz")
        result.export(output / "network_heat.xdmf")
    return result


if __name__ == "__main__":
    main(Path("results"))
