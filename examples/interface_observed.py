r"""
Leaks in a wall, seen from outside
==================================

The wall of a vessel takes up heat at two leaks, which are to be found from temperatures farther out: those at the
boundary of a disc around it, which the air warms.

.. math::

    \min_u \; \tfrac12 \|y - y_d\|_{L^2(r = 1)}^2 + \tfrac\alpha2 \|u\|_{L^2(\Gamma)}^2
    + \beta \|u\|_{L^1(\Gamma)}, \quad
    -\operatorname{div}(\kappa \nabla y) = 0 \text{ in } r < 1, \quad
    [\kappa \partial_n y] = u \text{ on } \Gamma = \{r = \tfrac12\}, \quad u \ge 0

with :math:`\kappa \partial_n y + y = 0` at :math:`r = 1`, :math:`\kappa = 0.1` in the vessel and 1 around it,
:math:`n` pointing outwards and :math:`[w]` the value of :math:`w` outside minus that inside: what flows to the wall
from outside and not on to the inside. Where :math:`u = \cos k \theta`, the temperature at :math:`r = 1` is
:math:`s_k \cos k \theta` with

.. math::

    1 / s_k = 0.9 \, (k - 1) \, 2^{-k} - 1.1 \, (k + 1) \, 2^k

so that :math:`y_d` is a series, and details of the wall are hardly seen. The :math:`L^1` term gives two leaks all the
same.
"""

from pathlib import Path

import numpy as np

import pdecontrol as pc


def leaks(angle):
    """What is to be found: the heat that the wall takes up, at an angle."""
    return 2 * np.exp(60 * (np.cos(angle - 1) - 1)) + np.exp(60 * (np.cos(angle + 2) - 1))


def measured(x):
    """The temperature at the boundary, by the Fourier series of the leaks."""
    samples = leaks(2 * np.pi * np.arange(256) / 256)
    k = np.arange(40)
    seen = np.fft.rfft(samples)[:40] / 128 / (0.9 * (k - 1) * 0.5**k - 1.1 * (k + 1) * 2.0**k)
    seen[0] /= 2
    return (seen[:, None] * np.exp(1j * k[:, None] * np.arctan2(x[1], x[0]))).real.sum(axis=0)


def main(output: Path | None = None, n: int = 64, alpha: float = 1e-5, beta: float = 1e-3) -> pc.Result:
    """Solve the problem on a disc of n rings of triangles, n even, and say where the leaks are."""
    mesh = pc.disc(n).tag_part("vessel", lambda x: np.linalg.norm(x, axis=0) < 0.5)
    mesh = mesh.tag_part("around", lambda x: np.linalg.norm(x, axis=0) > 0.5).tag_interface("wall", "vessel")
    problem = pc.ControlProblem(
        equation=pc.Elliptic(diffusion={"vessel": 0.1, "around": 1.0}),
        interface={"wall": pc.Interface(pc.Circle(0.5), inside="vessel")},
        boundary={"boundary": pc.Robin(1.0)},
        control=pc.Boundary(on="wall"),
        tracking=pc.Tracking(measured, on="boundary"),
        terms=[pc.Tikhonov(alpha), pc.L1(beta), pc.Box(0)],
    )
    result = pc.solve(problem, mesh)
    pc.report(result)

    u, space = result.control.array, result.control.space
    for name, half in (("upper", space.points[1] > 0), ("lower", space.points[1] < 0)):
        share = space.integral(u * half)
        place = [space.integral(u * half * x) / share for x in space.points]
        pc.report(f"the {name} leak takes up {share:.4f}, at the angle {np.arctan2(place[1], place[0]):.3f}")
    if output is not None:
        result.plot(output / "interface_observed.png")
        result.save(output / "interface_observed.npz")
        result.export(output / "interface_observed.vtu")
    return result


if __name__ == "__main__":
    main(Path("results"))
