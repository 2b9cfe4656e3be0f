r"""
Sparse control of the Poisson equation
======================================

Stadler's problem: the :math:`L^1` term makes the control exactly zero on most of the square, and the box is active on a
quarter of it.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \beta \|u\|_{L^1}, \quad
    -\Delta y = u \text{ in } (0,1)^2, \quad y = 0 \text{ on the boundary}, \quad -30 \le u \le 30

with :math:`y_d = \tfrac16 \sin(2\pi x_0) \sin(2\pi x_1) e^{2 x_0}`, :math:`\alpha = 10^{-5}` and
:math:`\beta = 10^{-3}`. On fine meshes the minimum tends to 0.016887, and :math:`u = 0` on 61 % of the square.

G. Stadler, Comput. Optim. Appl. 44 (2009) 159-181.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def target(x):
    """The desired state."""
    return np.sin(2 * np.pi * x[0]) * np.sin(2 * np.pi * x[1]) * np.exp(2 * x[0]) / 6


def main(
    output: Path | None = None, n: int = 128, alpha: float = 1e-5, beta: float = 1e-3, method: str = "auto"
) -> pc.Result:
    """Solve Stadler's problem on n by n squares."""
    problem = pc.ControlProblem(
        equation=pc.Elliptic(diffusion=1.0),
        boundary={"boundary": pc.Dirichlet(0.0)},
        control=pc.Distributed(),
        tracking=pc.Tracking(target),
        terms=[pc.Tikhonov(alpha), pc.L1(beta), pc.Box(-30, 30)],
    )
    result = pc.solve(problem, pc.unit_square(n), method=method, tol=1e-6, progress=True)
    pc.report(result)

    u, space = result.control.array, result.control.space
    pc.report(f"u = 0 on {space.integral(u == 0):.1%} of the square, |u| = 30 on {space.integral(abs(u) == 30):.1%}")
    if output is not None:
        result.plot(output / "stadler.png")
        result.save(output / "stadler.npz")
        result.export(output / "stadler.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
