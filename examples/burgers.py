r"""
Control of Burgers' equation
============================

A force from below a bound drives a flow towards a constant velocity. The term :math:`y y'` steepens it to the right.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2 + \tfrac\alpha2 \|u\|^2, \quad
    -\nu y'' + y y' = u \text{ in } (0,1), \quad y(0) = y(1) = 0, \quad u \le u_b

Here :math:`\nu = 1/12`, :math:`\alpha = 0.1` and :math:`y_d = u_b = 0.3`. By central differences on 3200 intervals
:math:`J^* = 0.01050234`, :math:`\|u^*\| = 0.236932`, and :math:`y^*` is largest, 0.33326, at 0.584; the bound holds on
0.2795 of the interval.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def main(output: Path | None = None, n: int = 400, method: str = "auto") -> pc.Result:
    """Solve the problem on n intervals and say where the velocity is largest."""
    problem = pc.ControlProblem(
        equation=pc.burgers(viscosity=1 / 12),
        boundary={"boundary": pc.Dirichlet(0.0)},
        control=pc.Distributed(),
        tracking=pc.Tracking(0.3),
        terms=[pc.Tikhonov(0.1), pc.Box(upper=0.3)],
    )
    result = pc.solve(problem, pc.unit_interval(n), method=method, tol=1e-6)
    pc.report(result)

    x = np.linspace(0, 1, 1001)
    y = result.state(x[None])
    pc.report(f"largest velocity {y.max():.5f} at {x[np.argmax(y)]:.3f}")
    pc.report(f"at the bound     {result.control.space.integral(result.control.array == 0.3):.4f}")
    if output is not None:
        result.plot(output / "burgers.png")
        result.save(output / "burgers.npz")
        result.export(output / "burgers.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
