r"""
A new problem with an interface, by a network
=============================================

A plate has a tilted elliptic lens that conducts heat twenty times as well. State and flux jump across its rim by
given amounts. Few sources, of limited strength, shall warm it.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \beta \|u\|_{L^1}, \quad
    -\operatorname{div}(\kappa \nabla y) = u \text{ in } (-1,1)^2, \quad
    [y] = g_0, \ [\kappa \partial_n y] = g_1 \text{ on } \Gamma, \quad 0 \le u \le 4

with :math:`y = 0` on the boundary, :math:`n` pointing outwards and :math:`[w]` the value of :math:`w` outside minus
that inside. No exact solution is known, and none is needed: the control that the network finds is judged by finite
elements of degree 2 on a mesh that is fitted to the ellipse, which share nothing with the network but the problem.
That the bound is the same on meshes of two sizes says that it is the network's error.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

import pdecontrol as pc

SQUARE = [(-1, 1), (-1, 1)]
PROBLEM = pc.ControlProblem(
    equation=pc.Elliptic(diffusion={"lens": 20.0, "plate": 1.0}),
    interface={
        "rim": pc.Interface(
            pc.Ellipse((0.6, 0.3), centre=(-0.1, 0.1), angle=0.5),
            value=lambda x: 0.2 * (1 + x[0]),
            flux=lambda x: np.cos(np.pi * x[1]),
            inside="lens",
        )
    },
    boundary={"boundary": pc.Dirichlet(0.0)},
    control=pc.Distributed(element="variational"),
    tracking=pc.Tracking({"lens": 1.0, "plate": lambda x: (1 - x[0] ** 2) * (1 - x[1] ** 2)}),
    terms=[pc.Tikhonov(1e-2), pc.L1(2e-2), pc.Box(0, 4)],
)


def main(
    output: Path | None = None, sizes: tuple[float, ...] = (0.1, 0.05), method: str | pc.HardConstraint = "pinn"
) -> pc.Result:
    """Solve the problem by a network, and certify its control on meshes of cells of some sizes."""
    result = pc.solve(PROBLEM, SQUARE, method=method)
    for size in sizes:
        mesh = pc.fitted_mesh(SQUARE, PROBLEM.interface, size, outside="plate")
        map = pc.discretise(PROBLEM, mesh, pc.Embedded(degree=2))
        certificate = pc.certify(PROBLEM, result.control, map)
        pc.report(f"by cells of the size {size:g}: ||u - u*|| <= {certificate.relative:.2e} ||u||")
    result = replace(result, certificate=certificate)
    pc.report(result)
    if output is not None:
        result.plot(output / "network_ellipse.png")
        result.save(output / "network_ellipse.npz")
        result.export(output / "network_ellipse.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
