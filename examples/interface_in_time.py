r"""
Heat in two materials, in time
==============================

Heat is put into a square with a round inclusion that conducts it a third as well.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac12 \|u\|^2, \quad
    y_t - \operatorname{div}(\kappa \nabla y) = f + u \text{ in } (-1,1)^2, \quad
    [y] = [\kappa \partial_n y] = 0 \text{ on } \Gamma = \{r = \tfrac12\}, \quad -1 \le u \le 1

over times in :math:`(0, \tfrac\pi2)`, with :math:`y = 0` on the boundary and at :math:`t = 0`, :math:`\kappa = 1`
inside of :math:`\Gamma` and 3 outside. With :math:`S = (r^2 - \tfrac14) (x_0^2 - 1) (x_1^2 - 1)` the data are chosen
such that :math:`y^* = -5 \sin(t) S / \kappa`, the adjoint state is :math:`5 \cos(t) S / \kappa`, and
:math:`u^* = \min(\max(-5 \cos(t) S / \kappa, -1), 1)`. By the Crank-Nicolson scheme, controls are of second order at
the middle of the steps.

M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, SIAM J. Sci. Comput. 47 (2025), arXiv 2308.06709.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc

KAPPA = {"inside": 1.0, "outside": 3.0}


def bubble(x):
    """The function S."""
    return ((x**2).sum(axis=0) - 0.25) * (x[0] ** 2 - 1) * (x[1] ** 2 - 1)


def laplacian_of_bubble(x):
    """Delta S."""
    a, b = x**2
    return 2 * (a**2 + b**2 + 12 * a * b) - 16.5 * (a + b) + 5


def exact_control(kappa):
    """The optimal control u* where the diffusion is kappa."""
    return lambda x, t: np.clip(-5 * np.cos(t) * bubble(x) / kappa, -1, 1)


def source(kappa):
    """The source f = y*_t - kappa Delta y* - u*."""
    u = exact_control(kappa)
    return lambda x, t: -5 * np.cos(t) * bubble(x) / kappa + 5 * np.sin(t) * laplacian_of_bubble(x) - u(x, t)


def target(kappa):
    """The desired state y_d = y* + p_t + kappa Delta p."""
    return lambda x, t: -10 * np.sin(t) * bubble(x) / kappa + 5 * np.cos(t) * laplacian_of_bubble(x)


def main(output: Path | None = None, size: float = 0.08, steps: int = 20) -> pc.Result:
    """Solve the problem on a mesh of cells of a size, in so many steps, and compare with the exact control."""
    problem = pc.ControlProblem(
        equation=pc.Parabolic(
            pc.Elliptic(diffusion=KAPPA, source={tag: source(kappa) for tag, kappa in KAPPA.items()}),
            T=np.pi / 2, steps=steps, scheme="crank-nicolson",
        ),
        interface={"gamma": pc.Interface(pc.Circle(0.5), inside="inside")},
        boundary={"boundary": pc.Dirichlet()},
        control=pc.Distributed(),
        tracking=pc.Tracking({tag: target(kappa) for tag, kappa in KAPPA.items()}),
        terms=[pc.Tikhonov(1.0), pc.Box(-1, 1)],
    )  # fmt: skip
    mesh = pc.fitted_mesh([(-1, 1), (-1, 1)], problem.interface, size)
    result = pc.solve(problem, mesh)
    pc.report(result)

    space = result.control.space
    exact = space.interpolate({tag: exact_control(kappa) for tag, kappa in KAPPA.items()})
    pc.report(f"||u - u*|| = {space.norm(result.control.array - exact) / space.norm(exact):.2e} ||u*||")
    if output is not None:
        result.plot(output / "interface_in_time.png")
        result.animate(output / "interface_in_time.gif")
        result.save(output / "interface_in_time.npz")
        result.export(output / "interface_in_time.xdmf")
    return result


if __name__ == "__main__":
    main(Path("results"))
