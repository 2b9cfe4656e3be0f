r"""
Sparse control of a semilinear equation
=======================================

The equation is not linear, the problem not convex: the certificate states the ball it relies on.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \alpha \|u\|_{L^1}, \quad
    -\Delta y + y^3 = u + f \text{ in } (0,1)^2, \quad y = 0 \text{ on the boundary}, \quad -1 \le u \le 1

With :math:`w = 3 \sin(2\pi x_0) \sin(2\pi x_1)`, the data are chosen such that :math:`y^* = 2 \sin(\pi x_0)
\sin(\pi x_1)`, the adjoint state is :math:`\alpha w`, and the optimal control :math:`u^* = -\operatorname{sgn}(w) \,
\min(\max(|w| - 1, 0), 1)`.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def exact_state(x):
    """The optimal state y*."""
    return 2 * np.sin(np.pi * x[0]) * np.sin(np.pi * x[1])


def wave(x):
    """The adjoint state divided by alpha."""
    return 3 * np.sin(2 * np.pi * x[0]) * np.sin(2 * np.pi * x[1])


def exact_control(x):
    """The optimal control u*."""
    return -np.sign(wave(x)) * np.clip(abs(wave(x)) - 1, 0, 1)


def main(output: Path | None = None, n: int = 64, alpha: float = 1e-3) -> pc.Result:
    """Solve the problem on n by n squares and compare with the exact control."""
    cubic = pc.Semilinear(lambda y: y**3, lambda y: 3 * y**2)
    problem = pc.ControlProblem(
        equation=pc.Elliptic(
            source=lambda x: 2 * np.pi**2 * exact_state(x) + exact_state(x) ** 3 - exact_control(x),
            semilinear=cubic,
        ),
        boundary={"boundary": pc.Dirichlet(0.0)},
        control=pc.Distributed(),
        tracking=pc.Tracking(lambda x: exact_state(x) - (8 * np.pi**2 + 3 * exact_state(x) ** 2) * alpha * wave(x)),
        terms=[pc.Tikhonov(alpha), pc.L1(alpha), pc.Box(-1, 1)],
    )
    result = pc.solve(problem, pc.unit_square(n))
    pc.report(result)

    space = result.control.space
    exact = space.interpolate(exact_control)
    pc.report(f"||u - u*|| = {space.norm(result.control.array - exact) / space.norm(exact):.2e} ||u*||")
    if output is not None:
        result.plot(output / "semilinear.png")
        result.save(output / "semilinear.npz")
        result.export(output / "semilinear.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
