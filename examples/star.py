r"""
A star of another material
==========================

The interface is a star with five arms, in whose valleys it is so curved that cells have to be small: their size is
chosen by the angle by which the curve turns.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac12 \|u\|^2, \quad
    -\operatorname{div}(\kappa \nabla y) = f + u \text{ in } (-1,1)^2, \quad
    [y] = [\kappa \partial_n y] = 0 \text{ on } \Gamma, \quad y = 0 \text{ on the boundary}, \quad -1 \le u \le 1

where :math:`\Gamma` is the curve :math:`r = 0.5 + 0.2 \sin 5 \theta`, :math:`\kappa = 1` inside and 10 outside,
:math:`f = 2 \kappa (2 - r^2)` and :math:`y_d = (1 - x_0^2) (1 - x_1^2)`. No exact solution is known; converged
discretisations have :math:`\max u^* = 0.0198`, far from the bounds.

M.-C. Lai, Y. Song, X. Yuan, H. Yue, T. Zeng, SIAM J. Sci. Comput. 47 (2025), arXiv 2308.06709.
"""

from pathlib import Path

import pdecontrol as pc

KAPPA = {"inside": 1.0, "outside": 10.0}


def target(x):
    """The desired state."""
    return (1 - x[0] ** 2) * (1 - x[1] ** 2)


def main(output: Path | None = None, size: float = 0.02) -> pc.Result:
    """Solve the problem on a mesh of cells of a size."""
    source = {tag: lambda x, kappa=kappa: 2 * kappa * (2 - (x**2).sum(axis=0)) for tag, kappa in KAPPA.items()}
    problem = pc.ControlProblem(
        equation=pc.Elliptic(diffusion=KAPPA, source=source),
        interface={"gamma": pc.Interface(pc.Star(0.5, 0.2, arms=5), inside="inside")},
        boundary={"boundary": pc.Dirichlet()},
        control=pc.Distributed(),
        tracking=pc.Tracking(target),
        terms=[pc.Tikhonov(1.0), pc.Box(-1, 1)],
    )
    mesh = pc.fitted_mesh([(-1, 1), (-1, 1)], problem.interface, size)
    result = pc.solve(problem, mesh)
    pc.report(result)

    u, space = result.control.array, result.control.space
    pc.report(f"max u = {space.max(u):.5f}, ||u|| = {space.norm(u):.6f}")
    if output is not None:
        result.plot(output / "star.png")
        result.save(output / "star.npz")
        result.export(output / "star.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
