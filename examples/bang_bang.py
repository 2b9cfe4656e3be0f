r"""
Bang-bang control
=================

Without a Tikhonov term the control jumps between its bounds, and the duality gap is the certificate.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|^2, \quad
    -\Delta y = u + f \text{ in } (0,1)^2, \quad y = 0 \text{ on the boundary}, \quad -1 \le u \le 1

The data are chosen such that :math:`y^* = \sin(\pi x_0) \sin(\pi x_1)`, the adjoint state is :math:`q^* = \tfrac1{200}
\sin(2\pi x_0) \sin(2\pi x_1)`, and the optimal control :math:`u^* = -\operatorname{sgn}(q^*)`. The minimum is
:math:`\pi^4/5000`.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc

MINIMUM = np.pi**4 / 5000


def exact_state(x):
    """The optimal state y*."""
    return np.sin(np.pi * x[0]) * np.sin(np.pi * x[1])


def exact_adjoint(x):
    """The adjoint state q*."""
    return np.sin(2 * np.pi * x[0]) * np.sin(2 * np.pi * x[1]) / 200


def main(output: Path | None = None, n: int = 64, tol: float = 1e-5) -> pc.Result:
    """Solve the problem on n by n squares and compare with the exact minimum."""
    problem = pc.ControlProblem(
        equation=pc.Elliptic(source=lambda x: 2 * np.pi**2 * exact_state(x) + np.sign(exact_adjoint(x))),
        boundary={"boundary": pc.Dirichlet(0.0)},
        control=pc.Distributed(element="P0"),
        tracking=pc.Tracking(lambda x: exact_state(x) - 8 * np.pi**2 * exact_adjoint(x)),
        terms=[pc.Box(-1, 1)],
    )
    result = pc.solve(problem, pc.unit_square(n), tol=tol)
    pc.report(result)

    u, space = result.control.array, result.control.space
    pc.report(f"|u| = 1 on {space.integral(abs(u) == 1):.1%} of the square, J / J* = {result.objective / MINIMUM:.6f}")
    if output is not None:
        result.plot(output / "bang_bang.png")
        result.save(output / "bang_bang.npz")
        result.export(output / "bang_bang.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
