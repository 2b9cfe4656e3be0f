r"""
A coefficient as control
========================

The control multiplies the state, so the equation is linear in either and not in both.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \alpha \|u\|_{L^1}, \quad
    y_t - \Delta y + u y = f, \quad y = 0 \text{ at } t = 0 \text{ and on the boundary}, \quad -1 \le u \le 2

over :math:`Q = (0,1)^2 \times (0,1)` with :math:`\alpha = 0.01`. The data are chosen such that
:math:`y^* = \tfrac12 t \sin(3 \pi x_0) \sin(\pi x_1)`, the adjoint state is
:math:`q^* = \tfrac12 (1 - t) \sin(\pi x_0) \sin(\pi x_1)`, and :math:`u^*` is :math:`q^* y^* / \alpha`, moved by 1
towards zero and cut off at the bounds.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def mode(x, k):
    """The shape of the state (k = 3) and of its adjoint (k = 1)."""
    return np.sin(k * np.pi * x[0]) * np.sin(np.pi * x[1]) / 2


def exact_control(x, t):
    """The optimal control u*."""
    ratio = t * (1 - t) * mode(x, 3) * mode(x, 1) / 0.01
    return np.clip(np.sign(ratio) * np.maximum(abs(ratio) - 1, 0), -1, 2)


def source(x, t):
    """y*_t - Laplace y* + u* y*."""
    return (1 + (10 * np.pi**2 + exact_control(x, t)) * t) * mode(x, 3)


def target(x, t):
    """y* + q*_t + Laplace q* - u* q*."""
    return t * mode(x, 3) - (1 + (2 * np.pi**2 + exact_control(x, t)) * (1 - t)) * mode(x, 1)


def main(output: Path | None = None, n: int = 32) -> pc.Result:
    """Solve the problem on n by n squares with n steps and compare with the exact control."""
    problem = pc.ControlProblem(
        equation=pc.Parabolic(pc.Elliptic(source=source), T=1.0, steps=n),
        boundary={"boundary": pc.Dirichlet()},
        control=pc.Coefficient(of="reaction"),
        tracking=pc.Tracking(target),
        terms=[pc.Tikhonov(0.01), pc.L1(0.01), pc.Box(-1, 2)],
    )
    result = pc.solve(problem, pc.unit_square(n))
    pc.report(result)

    space = result.control.space
    exact = space.interpolate(exact_control)
    pc.report(f"||u - u*|| = {space.norm(result.control.array - exact) / space.norm(exact):.2e} ||u*||")
    if output is not None:
        result.plot(output / "bilinear.png")
        result.save(output / "bilinear.npz")
        result.export(output / "bilinear.xdmf")
    return result


if __name__ == "__main__":
    main(Path("results"))
