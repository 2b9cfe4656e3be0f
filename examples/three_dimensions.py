r"""
A problem in three dimensions
=============================

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \alpha \|u\|_{L^1}, \quad
    -\Delta y = u + f \text{ in } (0,1)^3, \quad y = 0 \text{ on the boundary}, \quad -1 \le u \le 1

With :math:`s = \sin(\pi x_0) \sin(\pi x_1) \sin(\pi x_2)`, the data are chosen such that :math:`y^* = s`, the adjoint
state is :math:`-3 \alpha s`, and the optimal control :math:`u^* = \min(\max(3 s - 1, 0), 1)`.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def exact_state(x):
    """The optimal state y*."""
    return np.sin(np.pi * x).prod(axis=0)


def exact_control(x):
    """The optimal control u*."""
    return np.clip(3 * exact_state(x) - 1, 0, 1)


def main(output: Path | None = None, n: int = 12, alpha: float = 1e-2) -> pc.Result:
    """Solve the problem on n by n by n cubes and compare with the exact control."""
    problem = pc.ControlProblem(
        equation=pc.Elliptic(source=lambda x: 3 * np.pi**2 * exact_state(x) - exact_control(x)),
        boundary={"boundary": pc.Dirichlet(0.0)},
        control=pc.Distributed(),
        tracking=pc.Tracking(lambda x: (1 + 9 * np.pi**2 * alpha) * exact_state(x)),
        terms=[pc.Tikhonov(alpha), pc.L1(alpha), pc.Box(-1, 1)],
    )
    result = pc.solve(problem, pc.unit_cube(n))
    pc.report(result)

    space = result.control.space
    exact = space.interpolate(exact_control)
    pc.report(f"||u - u*|| = {space.norm(result.control.array - exact) / space.norm(exact):.2e} ||u*||")
    if output is not None:
        result.plot(output / "three_dimensions.png")
        result.save(output / "three_dimensions.npz")
        result.export(output / "three_dimensions.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
