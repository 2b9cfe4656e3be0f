r"""
Which heaters to switch on
==========================

Nine heaters warm a plate with an insert that conducts ten times better; the rim is cooled by the air. The temperature
should be 1 at sixteen sensors, and the :math:`\ell^1` term leaves the heaters off that are not worth it.

.. math::

    \min_{u \in \mathbb R^9} \; \tfrac12 \sum_k (y(x_k) - 1)^2 + \tfrac\alpha2 |u|^2 + \beta |u|_1, \quad
    -\operatorname{div}(\kappa \nabla y) = \sum_i u_i \chi_i, \quad \kappa \partial_n y + y = 0 \text{ on } \Gamma,
    \quad 0 \le u_i \le 95
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc

CENTRES = [(a, b) for b in (0.2, 0.5, 0.8) for a in (0.2, 0.5, 0.8)]


def heater(a, b):
    """The indicator function of a square of width 0.1 with the centre (a, b)."""
    return lambda x: (abs(x[0] - a) < 0.05) & (abs(x[1] - b) < 0.05)


def in_insert(x):
    """Whether points lie in the insert, the upper right quarter of the plate."""
    return (x[0] > 0.5) & (x[1] > 0.5)


def main(output: Path | None = None, n: int = 60, beta: float = 2e-3) -> pc.Result:
    """Solve the problem on n by n squares; with n a multiple of 20 they fit the heaters."""
    mesh = pc.unit_square(n).tag_part("insert", in_insert).tag_part("plate", lambda x: ~in_insert(x))
    sensors = np.array([[a, b] for a in (0.05, 0.35, 0.65, 0.95) for b in (0.05, 0.35, 0.65, 0.95)]).T
    problem = pc.ControlProblem(
        equation=pc.Elliptic(diffusion={"plate": 1.0, "insert": 10.0}),
        boundary={"boundary": pc.Robin(1.0, 0.0)},
        control=pc.Actuators([heater(a, b) for a, b in CENTRES]),
        tracking=pc.Tracking(1.0, points=sensors),
        terms=[pc.Tikhonov(1e-6), pc.L1(beta), pc.Box(0, 95)],
    )
    result = pc.solve(problem, mesh)
    pc.report(result)

    for (a, b), power in zip(CENTRES, result.control.gather().array, strict=False):
        pc.report(f"heater at ({a}, {b}): {power:8.4f}")
    temperatures = result.state(sensors)
    pc.report(f"temperature at the sensors: {temperatures.min():.3f} to {temperatures.max():.3f}")
    if output is not None:
        result.plot(output / "heat_sources.png")
        result.save(output / "heat_sources.npz")
        result.export(output / "heat_sources.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
