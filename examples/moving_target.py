r"""
Heat that follows a moving target
=================================

Heat is put in and taken away within bounds, and only where it pays, so that a warm spot runs once round the square.

.. math::

    \min_u \; \tfrac12 \int_0^1 \|y - y_d\|^2 \, dt + \tfrac\alpha2 \|u\|^2 + \beta \|u\|_{L^1}, \quad
    y_t - \tfrac1{10} \Delta y = u, \quad y = 0 \text{ at } t = 0 \text{ and on the boundary}, \quad -2 \le u \le 6

over controls on space and time :math:`Q`. The target :math:`y_d` is a spot round the point
:math:`(\tfrac12 + \tfrac14 \cos 2 \pi t, \tfrac12 + \tfrac14 \sin 2 \pi t)`.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def target(x, t):
    """A warm spot on its way round the centre."""
    centre = 0.5 + 0.25 * np.array([[np.cos(2 * np.pi * t)], [np.sin(2 * np.pi * t)]])
    return np.exp(-40 * ((x - centre) ** 2).sum(axis=0))


def main(output: Path | None = None, n: int = 32, steps: int = 40, alpha: float = 1e-4) -> pc.Result:
    """Solve the problem on n by n squares and say how often the control rests."""
    problem = pc.ControlProblem(
        equation=pc.Parabolic(pc.Elliptic(0.1), T=1.0, steps=steps),
        boundary={"boundary": pc.Dirichlet()},
        control=pc.Distributed(),
        tracking=pc.Tracking(target),
        terms=[pc.Tikhonov(alpha), pc.L1(2e-3), pc.Box(-2, 6)],
    )
    result = pc.solve(problem, pc.unit_square(n))
    pc.report(result)

    u, space = result.control.array, result.control.space
    pc.report(f"no control on {space.integral(u == 0):.1%} of space and time")
    if output is not None:
        result.plot(output / "moving_target.png")
        result.animate(output / "moving_target.gif")
        result.save(output / "moving_target.npz")
        result.export(output / "moving_target.xdmf")
    return result


if __name__ == "__main__":
    main(Path("results"))
