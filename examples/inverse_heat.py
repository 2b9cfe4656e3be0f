r"""
The initial value behind a final temperature
============================================

The control is the initial value; data are given at the final time alone. Heat forgets fine detail first: what comes
back is the initial value without it, and the weight of the Tikhonov term tells where it ends.

.. math::

    \min_u \; \tfrac12 \|y(T) - y_d\|^2 + \tfrac\alpha2 \|u\|^2, \quad
    y_t - \Delta y = 0, \quad y(0) = u, \quad y = 0 \text{ on the boundary}

The data belong to two hot rectangles. In the products :math:`s` of sines, of eigenvalues :math:`\lambda`, the answer is
known: with :math:`\sigma = e^{-\lambda T}` every coefficient :math:`c` of the rectangles becomes
:math:`c \, \sigma^2 / (\sigma^2 + \alpha)`.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc

RECTANGLES = [((0.15, 0.4), (0.2, 0.8)), ((0.6, 0.85), (0.55, 0.85))]
TIME = 0.01
FREQUENCY = np.pi * np.arange(1, 21)


def coefficients():
    """Those of the rectangles, row j and column k for sin((j + 1) pi x_0) sin((k + 1) pi x_1), and sigma."""
    integrals = [
        [(np.cos(FREQUENCY * a) - np.cos(FREQUENCY * b)) / FREQUENCY for a, b in sides] for sides in RECTANGLES
    ]
    decay = np.exp(-TIME * FREQUENCY**2)
    return 4 * sum(np.outer(*sides) for sides in integrals), np.outer(decay, decay)


def series(values):
    """The function of x with given coefficients."""
    return lambda x: np.einsum("jk,jn,kn->n", values, *(np.sin(np.outer(FREQUENCY, row)) for row in x))


def exact_control(x, alpha: float = 1e-3):
    """The optimal initial value."""
    values, decay = coefficients()
    return series(values * decay**2 / (decay**2 + alpha))(x)


def main(output: Path | None = None, n: int = 48, steps: int = 20, alpha: float = 1e-3) -> pc.Result:
    """Solve the problem on n by n squares and compare with the exact initial value."""
    values, decay = coefficients()
    problem = pc.ControlProblem(
        equation=pc.Parabolic(pc.Elliptic(), T=TIME, steps=steps, scheme="crank-nicolson"),
        boundary={"boundary": pc.Dirichlet()},
        control=pc.InitialValue(),
        tracking=pc.Tracking(series(values * decay), times="final"),
        terms=[pc.Tikhonov(alpha)],
    )
    result = pc.solve(problem, pc.unit_square(n))
    pc.report(result)

    space = result.control.space
    exact = space.interpolate(lambda x: exact_control(x, alpha))
    pc.report(f"||u - u*|| = {space.norm(result.control.array - exact) / space.norm(exact):.2e} ||u*||")
    if output is not None:
        result.plot(output / "inverse_heat.png")
        result.save(output / "inverse_heat.npz")
        result.export(output / "inverse_heat.xdmf")
    return result


if __name__ == "__main__":
    main(Path("results"))
