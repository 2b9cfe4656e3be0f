r"""
When doing nothing is optimal
=============================

.. math::

    \min_u \; \tfrac12 \|S u - y_d\|^2 + \tfrac\alpha2 \|u\|^2 + \beta \|u\|_{L^1}

with :math:`S = (-\Delta)^{-1}` and the data of Stadler's problem has the solution :math:`u = 0` if, and only if,
:math:`\beta \ge \|S^* y_d\|_\infty`. Just above this threshold the control is zero, just below it acts near the point
where :math:`|S^* y_d|` is greatest.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def target(x):
    """The desired state."""
    return np.sin(2 * np.pi * x[0]) * np.sin(2 * np.pi * x[1]) * np.exp(2 * x[0]) / 6


def main(output: Path | None = None, n: int = 64, alpha: float = 1e-5) -> list[pc.Result]:
    """Solve with a large beta, which gives the threshold, then at 1.0001 and 0.99 times the threshold."""

    def solve(beta: float) -> pc.Result:
        problem = pc.ControlProblem(
            equation=pc.Elliptic(),
            boundary={"boundary": pc.Dirichlet(0.0)},
            control=pc.Distributed(),
            tracking=pc.Tracking(target),
            terms=[pc.Tikhonov(alpha), pc.L1(beta), pc.Box(-30, 30)],
        )
        return pc.solve(problem, pc.unit_square(n))

    nothing = solve(beta=1.0)
    threshold = nothing.adjoint.space.max(abs(nothing.adjoint.array))  # for u = 0 the adjoint state is -S* y_d
    above, below = solve(1.0001 * threshold), solve(0.99 * threshold)
    pc.report(below)
    pc.report(f"threshold {threshold:.6f}; greatest |u| above {above.control.space.max(abs(above.control.array)):.4f}, "
          f"below {below.control.space.max(abs(below.control.array)):.4f}")  # fmt: skip
    if output is not None:
        from pdecontrol.field import draw

        panels = {
            r"$S^* y_d$": pc.Field(-nothing.adjoint.array, nothing.adjoint.space),
            r"control for $\beta = 1.0001 \, \|S^* y_d\|_\infty$": above.control,
            r"control for $\beta = 0.99 \, \|S^* y_d\|_\infty$": below.control,
        }
        draw(panels, output / "threshold.png")
        below.save(output / "threshold.npz")
        below.export(output / "threshold.vtu")
    return [nothing, above, below]


if __name__ == "__main__":
    main(Path("results"))
