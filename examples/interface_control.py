r"""
Control on an interface
=======================

The control is added to the jump of the flux across a circle on which the diffusion changes by a factor of ten.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac12 \|u\|_{L^2(\Gamma)}^2, \quad
    -\operatorname{div}(\kappa \nabla y) = f \text{ in } (-1,1)^2, \quad
    [\kappa \partial_n y] = g_1 + u \text{ on } \Gamma = \{r = \tfrac12\}, \quad \sin 2 \pi x_0 \le u \le 1

with :math:`y` given on the boundary, :math:`\kappa = 1` inside of :math:`\Gamma` and 10 outside, :math:`n` pointing
outwards and :math:`[w]` the value of :math:`w` outside minus that inside. Then
:math:`\int_\Omega \kappa \nabla y \cdot \nabla v = \int_\Omega f v - \int_\Gamma (g_1 + u) v`, and the optimal
control is :math:`u^* = \min(\max(p, \sin 2 \pi x_0), 1)`, in which the adjoint state :math:`p` has a plus. With
:math:`S = (r^2 - \tfrac14) (x_0^2 - 1) (x_1^2 - 1)` the data are chosen such that :math:`p = -5 S / \kappa`, which
vanishes on :math:`\Gamma`, that :math:`u^* = \max(\sin 2 \pi x_0, 0)` and that :math:`y^* = r^3 / \kappa`, outside
plus the constant that makes it continuous.

M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, SIAM J. Sci. Comput. 47 (2025), arXiv 2308.06709.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc

KAPPA = {"inside": 1.0, "outside": 10.0}


def laplacian_of_bubble(x):
    """Delta S."""
    a, b = x**2
    return 2 * (a**2 + b**2 + 12 * a * b) - 16.5 * (a + b) + 5


def exact_state(kappa):
    """The optimal state y* where the diffusion is kappa."""
    return lambda x: (np.linalg.norm(x, axis=0) ** 3 - 0.125) / kappa + 0.125


def lower_bound(x):
    """The lower bound of the control."""
    return np.sin(2 * np.pi * x[0])


def exact_control(x):
    """The optimal control u*."""
    return np.maximum(lower_bound(x), 0)


def main(output: Path | None = None, size: float = 0.02) -> pc.Result:
    """Solve the problem on a mesh of cells of a size and compare with the exact control."""
    problem = pc.ControlProblem(
        equation=pc.Elliptic(diffusion=KAPPA, source=lambda x: -9 * np.linalg.norm(x, axis=0)),
        interface={"gamma": pc.Interface(pc.Circle(0.5), flux=lambda x: -exact_control(x), inside="inside")},
        boundary={"boundary": pc.Dirichlet(exact_state(10.0))},
        control=pc.Boundary(on="gamma"),
        tracking=pc.Tracking(
            {
                tag: lambda x, kappa=kappa: exact_state(kappa)(x) - 5 * laplacian_of_bubble(x)
                for tag, kappa in KAPPA.items()
            }
        ),
        terms=[pc.Tikhonov(1.0), pc.Box(lower_bound, 1)],
    )
    mesh = pc.fitted_mesh([(-1, 1), (-1, 1)], problem.interface, size)
    result = pc.solve(problem, mesh)
    pc.report(result)

    space = result.control.space
    exact = space.interpolate(exact_control)
    pc.report(
        f"||u - u*|| = {space.norm(result.control.array - exact) / space.norm(exact):.2e} ||u*|| on the interface"
    )
    if output is not None:
        result.plot(output / "interface_control.png")
        result.save(output / "interface_control.npz")
        result.export(output / "interface_control.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
