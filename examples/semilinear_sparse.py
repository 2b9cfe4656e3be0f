r"""
Sparse control of a semilinear heat equation
============================================

Two warm spots shall appear, one early and one late. The L1 term keeps the control to small sets of space and time.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \beta \|u\|_{L^1}, \quad
    y_t - \Delta y + y (y - \tfrac14) (y + 1) = u, \quad y = 0 \text{ at } t = 0 \text{ and on the boundary},
    \quad -10 \le u \le 20

over :math:`Q = (0,1)^2 \times (0,1)` with :math:`\alpha = 10^{-4}` and :math:`\beta = 0.004`. With consistent masses on
64 by 64 squares and 64 steps :math:`\|u\| = 4.322` and :math:`\|u\|_{L^1} = 1.129`; :math:`u = 0` on 91 % of
:math:`Q`.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def target(x, t):
    """Two spots in space and time."""
    places = np.array([[0.2, 0.2, 0.2], [0.7, 0.7, 0.9]])
    return sum(np.exp(-20 * (((x.T - p[:2]) ** 2).sum(axis=1) + (t - p[2]) ** 2)) for p in places)


def main(output: Path | None = None, n: int = 32) -> pc.Result:
    """Solve the problem on n by n squares with n steps."""
    reaction = pc.Semilinear(lambda y: y * (y - 0.25) * (y + 1), lambda y: 3 * y**2 + 1.5 * y - 0.25)
    problem = pc.ControlProblem(
        equation=pc.Parabolic(pc.Elliptic(semilinear=reaction), T=1.0, steps=n),
        boundary={"boundary": pc.Dirichlet()},
        control=pc.Distributed(),
        tracking=pc.Tracking(target),
        terms=[pc.Tikhonov(1e-4), pc.L1(0.004), pc.Box(-10, 20)],
    )
    result = pc.solve(problem, pc.unit_square(n))
    pc.report(result)

    u, space = result.control.array, result.control.space
    pc.report(f"||u|| = {space.norm(u):.4f}, ||u||_L1 = {space.integral(abs(u)):.4f}")
    if output is not None:
        result.plot(output / "semilinear_sparse.png")
        result.save(output / "semilinear_sparse.npz")
        result.export(output / "semilinear_sparse.xdmf")
    return result


if __name__ == "__main__":
    main(Path("results"))
