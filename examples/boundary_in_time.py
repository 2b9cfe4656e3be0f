r"""
Heat through the boundary, in time
==================================

The control is the flux through the whole boundary at every time.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2, \quad
    y_t - \Delta y = f, \quad \partial_n y = u + g, \quad -1 \le u \le \tfrac12

over times in :math:`(0,1)`. With :math:`w = 2 \cos(2 \pi x_0) \cos(2 \pi x_1)` the data are chosen such that
:math:`y^* = e^{-t} \cos(\pi x_0) \cos(\pi x_1)`, the adjoint state is :math:`\alpha (1 - t) w`, and
:math:`u^* = \min(\max((1 - t) w, -1), \tfrac12) = -g`. By the Crank-Nicolson scheme, controls are of second order at
the middle of the steps.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def exact_state(x, t):
    """The optimal state y*."""
    return np.exp(-t) * np.cos(np.pi * x[0]) * np.cos(np.pi * x[1])


def wave(x):
    """The adjoint state divided by alpha (1 - t)."""
    return 2 * np.cos(2 * np.pi * x[0]) * np.cos(2 * np.pi * x[1])


def exact_control(x, t):
    """The optimal control u*."""
    return np.clip((1 - t) * wave(x), -1, 0.5)


def main(output: Path | None = None, n: int = 32, alpha: float = 1e-2) -> pc.Result:
    """Solve the problem on n by n squares with n steps and compare with the exact control."""
    problem = pc.ControlProblem(
        equation=pc.Parabolic(
            pc.Elliptic(source=lambda x, t: (2 * np.pi**2 - 1) * exact_state(x, t)),
            T=1.0, steps=n, scheme="crank-nicolson", initial=lambda x: exact_state(x, 0.0),
        ),
        boundary={"boundary": pc.Neumann(lambda x, t: -exact_control(x, t))},
        control=pc.Boundary("boundary"),
        tracking=pc.Tracking(lambda x, t: exact_state(x, t) + alpha * (1 + 8 * np.pi**2 * (1 - t)) * wave(x)),
        terms=[pc.Tikhonov(alpha), pc.Box(-1, 0.5)],
    )  # fmt: skip
    result = pc.solve(problem, pc.unit_square(n))
    pc.report(result)

    space = result.control.space
    exact = space.interpolate(exact_control)
    pc.report(f"||u - u*|| = {space.norm(result.control.array - exact) / space.norm(exact):.2e} ||u*||")
    if output is not None:
        result.plot(output / "boundary_in_time.png")
        result.save(output / "boundary_in_time.npz")
        result.export(output / "boundary_in_time.xdmf")
    return result


if __name__ == "__main__":
    main(Path("results"))
