r"""
Observation on the boundary
===========================

A linear functional of the state along the boundary enters the adjoint equation as a flux.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 - 12 \int_\Gamma y \, ds + \tfrac12 \|u\|^2, \quad
    -\Delta y + y = u + f \text{ in } (0,1)^2, \quad \partial_n y = 0 \text{ on } \Gamma, \quad 0 \le u \le 1

With :math:`r` the distance to the centre, :math:`y_d = 12 r^2 - \tfrac{142}{3}` and :math:`f = 1 - u^*`, the optimal
control is :math:`u^* = \min(\max(12 r^2 - \tfrac13, 0), 1)`; then :math:`y^* = 1`, the minimum is 1026.557989 and
:math:`\|u^*\| = \sqrt{1 - \pi/12}`.

Problem ``ccdist1`` of the library OPTPDE; F. Tröltzsch, Optimal Control of Partial Differential Equations, section
2.9.2.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def squared_radius(x):
    """The squared distance to the centre of the square."""
    return (x[0] - 0.5) ** 2 + (x[1] - 0.5) ** 2


def exact_control(x):
    """The optimal control u*."""
    return np.clip(12 * squared_radius(x) - 1 / 3, 0, 1)


def main(output: Path | None = None, n: int = 64) -> pc.Result:
    """Solve the problem on n by n squares and compare with the exact control."""
    problem = pc.ControlProblem(
        equation=pc.Elliptic(reaction=1.0, source=lambda x: 1 - exact_control(x)),
        control=pc.Distributed(),
        tracking=pc.Tracking(lambda x: 12 * squared_radius(x) - 142 / 3),
        terms=[pc.Linear(-12.0, on="boundary"), pc.Tikhonov(1.0), pc.Box(0, 1)],
    )
    result = pc.solve(problem, pc.unit_square(n))
    pc.report(result)

    space = result.control.space
    error = space.norm(result.control.array - space.interpolate(exact_control))
    pc.report(f"||u - u*|| = {error:.2e}, J - J* = {result.objective - 1026.557989:.2e}")
    if output is not None:
        result.plot(output / "boundary_observation.png")
        result.save(output / "boundary_observation.npz")
        result.export(output / "boundary_observation.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
