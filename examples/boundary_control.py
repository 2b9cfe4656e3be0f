r"""
Control on the boundary
=======================

A disc is heated and cooled along its rim; what happens in its core is observed.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2_{L^2(r < 1/2)} + \tfrac\alpha2 \|u\|^2_{L^2(\Gamma)} + \alpha \|u\|_{L^1(\Gamma)},
    \quad -\Delta y = 0, \quad \partial_n y + y = u + g \text{ on } \Gamma, \quad -1 \le u \le 1

The data :math:`g = 2 x_0 - u^*` and :math:`y_d = x_0 - 3456 \, \alpha \, (x_0^2 - x_1^2)` are chosen such that
:math:`y^* = x_0`, the adjoint state on the rim is :math:`3 \alpha \cos 2\theta`, and the optimal control
:math:`u^* = -\operatorname{sgn}(\cos 2\theta) \, \min(\max(3 |\cos 2\theta| - 1, 0), 1)`.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def exact_control(x):
    """The optimal control u* as a function of the angle."""
    wave = 3 * np.cos(2 * np.arctan2(x[1], x[0]))
    return -np.sign(wave) * np.clip(abs(wave) - 1, 0, 1)


def main(output: Path | None = None, n: int = 40, alpha: float = 1e-3) -> pc.Result:
    """Solve the problem on a disc of n rings, n even, and compare with the exact control."""
    mesh = pc.disc(n).tag_part("core", lambda x: np.hypot(*x) < 0.5)
    problem = pc.ControlProblem(
        equation=pc.Elliptic(),
        boundary={"boundary": pc.Robin(1.0, lambda x: 2 * x[0] - exact_control(x))},
        control=pc.Boundary("boundary"),
        tracking=pc.Tracking(lambda x: x[0] - 3456 * alpha * (x[0] ** 2 - x[1] ** 2), on="core"),
        terms=[pc.Tikhonov(alpha), pc.L1(alpha), pc.Box(-1, 1)],
    )
    result = pc.solve(problem, mesh)
    pc.report(result)

    space = result.control.space
    exact = space.interpolate(exact_control)
    pc.report(f"||u - u*|| = {space.norm(result.control.array - exact) / space.norm(exact):.2e} ||u*||")
    if output is not None:
        result.plot(output / "boundary_control.png")
        result.save(output / "boundary_control.npz")
        result.export(output / "boundary_control.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
