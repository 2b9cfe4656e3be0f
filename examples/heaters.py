r"""
Heaters that are switched in time
=================================

Four heaters in a room that loses heat through its walls. Their powers are functions of time alone, with a price and a
limit; the room shall be warm during the day.

.. math::

    \min_u \; \tfrac12 \int_0^4 \|y - y_d\|^2 \, dt + \int_0^4 \sum_i \bigl( \tfrac\alpha2 u_i^2 + \beta u_i \bigr) dt,
    \quad y_t - \tfrac15 \Delta y = \sum_i u_i(t) \chi_i, \quad 0 \le u_i \le 10

with :math:`y(0) = 0` and :math:`\tfrac15 \partial_n y + \tfrac12 y = 0` on the walls. The target
:math:`y_d = (1 + \tfrac12 x_0 + \tfrac14 x_1) \max(0, \sin \pi t)` asks for two warm days with a night after each.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def heater(*centre):
    """A round heater of radius 0.12."""
    return lambda x: np.exp(-((((x.T - centre) ** 2).sum(axis=1) / 0.12**2) ** 2))


def main(output: Path | None = None, n: int = 24, steps: int = 80) -> pc.Result:
    """Solve the problem on n by n squares and say when the heaters are on."""
    problem = pc.ControlProblem(
        equation=pc.Parabolic(pc.Elliptic(0.2), T=4.0, steps=steps, scheme="crank-nicolson"),
        boundary={"boundary": pc.Robin(0.5)},
        control=pc.Actuators([heater(a, b) for a in (0.25, 0.75) for b in (0.25, 0.75)]),
        tracking=pc.Tracking(lambda x, t: (1 + x[0] / 2 + x[1] / 4) * max(0.0, np.sin(np.pi * t))),
        terms=[pc.Tikhonov(1e-4), pc.L1(0.01), pc.Box(0, 10)],
    )
    result = pc.solve(problem, pc.unit_square(n))
    pc.report(result)

    powers = result.control.space.steps(result.control.array)
    pc.report(f"heaters on during {' '.join(f'{share:.1%}' for share in (powers > 0).mean(axis=0))} of the time")
    if output is not None:
        result.plot(output / "heaters.png")
        result.save(output / "heaters.npz")
        result.export(output / "heaters.xdmf")
    return result


if __name__ == "__main__":
    main(Path("results"))
